"""Practice for lesson 03, language models."""
