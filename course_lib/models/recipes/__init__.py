"""How the course's own models are trained: the recipes of its lessons and of `make checkpoints`.

Every recipe counts steps, not seconds, and draws everything from its seed: on one machine it gives the same weights
each time. What they reach on two CPU cores is in the cards beside the checkpoints, `data/checkpoints/README.md`.
"""
