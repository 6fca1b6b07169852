"""The named systems, one file each, composed of encoders and layers as in the paper's figure."""
