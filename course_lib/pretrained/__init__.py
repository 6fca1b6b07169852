"""Weights made elsewhere: published checkpoints renamed to our state dicts, and the course's own."""
