"""What training minimises, one family of losses per file."""
