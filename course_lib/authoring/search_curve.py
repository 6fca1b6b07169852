"""Measures search at ten thousand, a hundred thousand and a million vectors, and keeps it in `data/experiments`.

python -m course_lib.authoring.search_curve         # about three minutes on two cores, below 2 GB of memory
"""

import dataclasses
import json
import resource
import sys

from course_lib.errors import InputError
from course_lib.files import data_folder, write_atomically, write_manifest
from course_lib.models.recipes.search import search_curve
from course_lib.runtime import pin_threads

FILE = "experiments/search.json"
SIZES = (10_000, 100_000, 1_000_000)
MOST_BYTES = 2 * 1024**3


def main(sizes: tuple[int, ...] = SIZES, most_bytes: int = MOST_BYTES) -> dict:
    """Measures, writes and returns what was measured.

    Args:
        sizes: of the galleries.
        most_bytes: that this process may have held at its peak, with all that it did before.

    Raises:
        InputError: it took more than `most_bytes`; nothing is written.
    """
    pin_threads()
    rows = []
    for size in sizes:
        for row in search_curve(size):
            rows.append(dataclasses.asdict(row))
            print(f"{row.vectors:>9,} {row.kind:9} {row.setting:4} recall {row.recall:.3f} {row.milliseconds:8.3f} ms "
                  f"{row.bytes_each:6.1f} bytes each, built in {row.building:.1f} s", flush=True)  # fmt: skip
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    if peak > most_bytes:
        raise InputError(f"measuring took {peak / 1024**3:.2f} GB; it should stay below {most_bytes / 1024**3:.2f}")
    result = {"made_by": "python -m course_lib.authoring.search_curve", "peak_bytes": peak, "rows": rows}
    write_atomically(data_folder() / FILE, json.dumps(result, indent=1) + "\n")
    write_manifest()
    return result


if __name__ == "__main__":
    main()
