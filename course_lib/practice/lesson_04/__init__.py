"""Practice for lesson 04, fusion."""
