"""What a learner has done so far, remembered between sessions: one small file for each exercise.

One file each, replaced in one step: two notebooks open at once do not overwrite each other's progress, and a damaged
file costs one line. What cannot be read or written is left out, never raised: a full disk stops nobody from practising.
"""

import html
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from course_lib.errors import CourseError
from course_lib.files import cache_folder, write_atomically
from course_lib.practice.exercise import Exercise, exercises, lessons


@dataclass
class Done:
    """One exercise so far.

    Args:
        tries: how often it was checked.
        passed: whether it was right once; a later try that fails does not take it away.
        hints: how many hints were shown.
    """

    tries: int = 0
    passed: bool = False
    hints: int = 0


def _file(id: str) -> Path:
    return cache_folder() / "progress" / f"{id}.json"


def recall(id: str) -> Done:
    """What is remembered of an exercise; nothing, if its file is missing or damaged."""
    try:
        found = json.loads(_file(id).read_text(encoding="utf-8"))
        done = Done(**found)
        if type(done.tries) is int and type(done.passed) is bool and type(done.hints) is int and done.hints <= 3:
            return done
    except (OSError, ValueError, TypeError):
        pass
    return Done()


def remember(id: str, done: Done) -> bool:
    """Remembers it; False where it cannot be written."""
    try:
        write_atomically(_file(id), json.dumps(asdict(done)) + "\n")
    except (CourseError, OSError):
        return False
    return True


def tried(exercise: Exercise, passed: bool) -> Done:
    """Counts one try, and returns what is remembered now."""
    done = recall(exercise.id)
    done.tries += 1
    done.passed = done.passed or passed
    remember(exercise.id, done)
    return done


HEAD = ("", "id", "exercise", "level", "time", "points", "tries", "hints")


@dataclass(frozen=True)
class Table:
    """Exercises and what was done of them: a table in a notebook, text elsewhere."""

    rows: tuple[tuple[Exercise, Done], ...]

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                "✓" if done.passed else "·",
                one.id,
                one.title,
                "●" * one.difficulty + "○" * (5 - one.difficulty),
                f"{one.minutes} min",
                f"{one.points if done.passed else 0}/{one.points}",
                f"{done.tries}",
                f"{done.hints}",
            )
            for one, done in self.rows
        ]

    def _total(self) -> str:
        earned = sum(one.points for one, done in self.rows if done.passed)
        right = sum(done.passed for _, done in self.rows)
        points = sum(one.points for one, _ in self.rows)
        return f"{right} of {len(self.rows)} exercises right, {earned} of {points} points"

    def __str__(self) -> str:
        cells = [HEAD, *self._cells()]
        widths = [max(len(row[i]) for row in cells) for i in range(len(HEAD))]
        padded = (zip(row, widths, strict=True) for row in cells)
        lines = ["  ".join(cell.ljust(width) for cell, width in row).rstrip() for row in padded]
        return "\n".join([*lines, self._total()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in HEAD)
        body = "".join(
            "<tr>" + "".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._cells()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{html.escape(self._total())}</p>"


def progress(lesson: str | None = None) -> Table:
    """What you have done of the exercises, of one lesson or all: the last line of a notebook cell shows the table.

    Raises:
        InputError: that lesson has no exercises.
    """
    names = [lesson] if lesson else lessons()
    return Table(tuple((one, recall(one.id)) for name in names for one in exercises(name)))
