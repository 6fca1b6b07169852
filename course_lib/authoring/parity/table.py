"""The table of all comparisons, computed now, with random weights: `course parity`."""

import importlib
import pkgutil
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from course_lib.authoring import parity
from course_lib.authoring.parity.rows import ParityRow


def comparisons() -> list[Callable[[], list[ParityRow]]]:
    """Those of every file `lesson_*.py` beside this one, in the order of the lessons."""
    files = sorted(module.name for module in pkgutil.iter_modules(parity.__path__))
    lessons = [importlib.import_module(f"{parity.__name__}.{name}") for name in files if name.startswith("lesson_")]
    return [compare for lesson in lessons for compare in lesson.COMPARISONS]


def rows() -> list[ParityRow]:
    """All comparisons, computed now."""
    return [row for compare in comparisons() for row in compare()]


def main() -> None:
    """Prints the table.

    Raises:
        SystemExit: a system is further from its reference than it may be.
    """
    table = Table(title="Same weights, same input: how far apart are ours and the reference?", title_justify="left")
    for column in ("system", "reference", "what", "max abs", "allowed", ""):
        table.add_column(column, justify="right" if column in ("max abs", "allowed") else "left")
    computed = rows()
    for row in computed:
        numbers = f"{row.max_abs_difference:.1e}", f"{row.tolerance:.0e}"
        table.add_row(row.system, row.reference, row.what, *numbers, "same" if row.holds else "DIFFERENT")
    console = Console()
    console.width = max(console.width, 100)
    console.print(table)
    if not all(row.holds for row in computed):
        raise SystemExit(1)
