"""The companion library of the course on vision-language models: the parts of a model, each in its own room.

Read it from the bottom up: `runtime`, `data`, `layers`, `encoders`, `losses`, `evaluation`, `training`, `models`.
The README has a line for each folder. Imports run one way only, from a room to those below it.
"""

__version__ = "0.1.0"
