"""The table of marks: one row for each submission, on the disk as soon as it is known, safe to open in a
spreadsheet.
"""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from course_lib.errors import InputError
from course_lib.files import write_atomically, writing

# A spreadsheet takes a cell that begins so for a formula, and runs it.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "|", "%")


def printable(text: str) -> str:
    """A text in one line that any program can read: control characters, odd spaces and broken bytes are written out."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode("ascii") for char in text
    )


def cell(value: object) -> str:
    """A value as the table holds it: a text that a spreadsheet would take for a formula begins with an apostrophe."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:g}"
    text = printable(str(value))
    return f"'{text}" if text.startswith(FORMULA) else text


class Report:
    """The table as a file that grows by one row at a time.

    Args:
        path: where it lies.
        columns: its first row.
        resume: go on with the rows that are there.

    Raises:
        InputError: there is a table already and it is not to be gone on with, or it is another kind of table.
        FileError: it cannot be written there.
    """

    def __init__(self, path: Path, columns: Sequence[str], resume: bool = False):
        self.path, self.columns = Path(path), list(columns)
        self.rows: list[dict[str, str]] = []
        if self.path.exists():
            if not resume:
                raise InputError(
                    f"{self.path.name} is there already: say --resume to go on with it, or name another file"
                )
            self.rows = self._read()
        # Written anew even to go on: a row that was cut off by a power failure must not run into the next.
        write_atomically(self.path, "".join(map(self._line, [self.columns, *(row.values() for row in self.rows)])))

    def _read(self) -> list[dict[str, str]]:
        text = self.path.read_text(encoding="utf-8", errors="replace")
        lines = list(csv.reader(io.StringIO(text)))
        if lines and lines[0] != self.columns:
            raise InputError(f"{self.path.name} is not a table of these exercises: its columns are others")
        whole = lines[1:] if text.endswith("\n") else lines[1:-1]
        return [dict(zip(self.columns, line, strict=True)) for line in whole if len(line) == len(self.columns)]

    @staticmethod
    def _line(values: Sequence[str]) -> str:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(values)
        return line.getvalue()

    def add(self, values: Sequence[object]) -> None:
        """Adds a row and waits until the disk has it."""
        cells = [cell(value) for value in values]
        self.rows.append(dict(zip(self.columns, cells, strict=True)))
        with writing(self.path), open(self.path, "a", encoding="utf-8", newline="") as file:
            file.write(self._line(cells))
            file.flush()
            os.fsync(file.fileno())
