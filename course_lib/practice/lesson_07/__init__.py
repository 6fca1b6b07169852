"""Practice for lesson 07, retrieval."""
