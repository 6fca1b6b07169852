"""Practice for lesson 06, CLIP."""
