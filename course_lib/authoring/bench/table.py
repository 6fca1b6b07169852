"""The table of all timings, measured on this machine: `make bench`.

python -m course_lib.authoring.bench.table 01 03    # those of two lessons; "course" names what belongs to none
"""

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console
from rich.table import Table

from course_lib.authoring import bench
from course_lib.authoring.bench.timing import Comparison
from course_lib.errors import InputError
from course_lib.runtime import pin_threads


def parts() -> list[str]:
    """What can be measured: "01" for each file `lesson_01.py` beside this one, and "course"."""
    files = sorted(module.name for module in pkgutil.iter_modules(bench.__path__))
    return [name.removeprefix("lesson_") for name in files if name.startswith("lesson_") or name == "course"]


def comparisons(asked: Iterable[str] = ()) -> list[Callable[[], Iterator[Comparison]]]:
    """The comparisons of the parts asked for, or of all.

    Raises:
        InputError: there is no such part; the message names those that there are.
    """
    asked = list(asked) or parts()
    if unknown := [name for name in asked if name not in parts()]:
        raise InputError(f"there is nothing to measure for {', '.join(unknown)}; there is: {', '.join(parts())}")
    files = [name if name == "course" else f"lesson_{name}" for name in asked]
    modules = [importlib.import_module(f"{bench.__name__}.{name}") for name in files]
    return [compare for module in modules for compare in module.COMPARISONS]


def main() -> None:
    """Measures the parts named on the command line, or everything, and prints a table.

    Raises:
        SystemExit: there is no such part.
    """
    try:
        asked = comparisons(sys.argv[1:])
    except InputError as error:
        sys.exit(f"{error}")
    pin_threads()
    table = Table(title="Medians, taking turns; ratio below 1: ours is faster", title_justify="left")
    for column, justify in (("what", "left"), ("ours", "left"), ("beside", "left"), ("ms", "right"), ("ms", "right")):
        table.add_column(column, justify=justify)
    table.add_column("ratio", justify="right")
    table.add_column("wanted")
    for compare in asked:
        for row in compare():
            wanted = "" if row.bound is None else f"<= {row.bound:g} " + ("yes" if row.ratio <= row.bound else "NO")
            table.add_row(
                row.what, row.ours, row.theirs, f"{row.our_seconds * 1e3:.1f}", f"{row.their_seconds * 1e3:.1f}",
                f"{row.ratio:.2f}", wanted,
            )  # fmt: skip
    console = Console()
    console.width = max(console.width, 100)
    console.print(table)


if __name__ == "__main__":
    main()
