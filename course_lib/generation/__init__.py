"""Writing, token by token: greedy, sampling and beam search, over what a decoder keeps between two tokens."""

from course_lib.generation.beams import beam_search
from course_lib.generation.sampling import greedy, sample, stream

__all__ = ["beam_search", "greedy", "sample", "stream"]
