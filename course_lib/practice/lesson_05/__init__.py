"""Exercises of lesson 05, contrastive learning."""
