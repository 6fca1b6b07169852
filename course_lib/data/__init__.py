"""Data: the microworld, tokenizers, transforms, photographs, and real data sets by the same sample types."""
