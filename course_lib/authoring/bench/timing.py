"""Two ways of doing the same work, timed in turns.

They take turns in one process, so that whatever else the machine does falls on both; the ratio of their medians is what
is compared, for the seconds themselves differ from machine to machine.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

REPEATS = 20


@dataclass(frozen=True)
class Comparison:
    """One row: our median seconds and theirs; a `ratio` below 1 means that ours is faster."""

    what: str
    ours: str
    theirs: str
    our_seconds: float
    their_seconds: float
    bound: float | None = None

    @property
    def ratio(self) -> float:
        """Ours over theirs."""
        return self.our_seconds / self.their_seconds


def alternate(
    candidates: dict[str, Callable[[], object]], repeats: int = REPEATS, warm_up: int = 3
) -> dict[str, float]:
    """Median seconds of each candidate, all called in turn, `repeats` times after `warm_up`."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(warm_up + repeats):
        for name, candidate in candidates.items():
            start = time.perf_counter()
            candidate()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}
