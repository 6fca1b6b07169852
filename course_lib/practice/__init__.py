"""Practice: exercises with their cases, likely mistakes and mutants; the check a learner meets; hints and progress.

A notebook needs one line: `from course_lib.practice import check, hint, progress, solution`. They are fetched when
they are asked for, so that what needs no torch (the quiz) does not wait for it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from course_lib.practice.checking import check, hint, solution
    from course_lib.practice.memory import progress

__all__ = ["check", "hint", "progress", "solution"]


def __getattr__(name: str) -> Any:
    if name in ("check", "hint", "solution"):
        from course_lib.practice import checking

        return getattr(checking, name)
    if name == "progress":
        from course_lib.practice import memory

        return memory.progress
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
