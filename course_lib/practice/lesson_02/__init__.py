"""Practice for lesson 02, vision encoders."""
