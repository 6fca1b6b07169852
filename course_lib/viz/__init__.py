"""Figures: one look for the course; every function takes arrays and returns a matplotlib Figure, `show` displays it."""
