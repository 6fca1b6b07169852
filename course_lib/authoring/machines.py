"""`make machines`: the notebooks executed and compared as on other machines, one setting after the other.

A stored output must not depend on which instructions a processor has, how many threads compute, or which Python runs.
What differs in the last bit is printed through `measured`, or as a threshold met with room to spare.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from course_lib.authoring import environments
from course_lib.authoring.lessons import root_folder
from course_lib.errors import CourseError, InputError

# What is set -> environment variables; of torch's CPU kernels "default" are those without AVX.
VARIABLES = {
    "kernels": {"ATEN_CPU_CAPABILITY": "default"},
    "threads-1": {"COURSE_THREADS": "1"},
    "threads-4": {"COURSE_THREADS": "4"},
}
PYTHONS = {f"python{version}": version for version in ("3.11", "3.12", "3.13")}


def chosen_notebooks(root: Path, numbers: list[str]) -> list[Path]:
    """The built lessons and solutions with these numbers, or all of them.

    Raises:
        InputError: there are none of such a number.
    """
    found = [path for room in ("notebooks", "solutions") for path in sorted((root / room).glob("[0-9][0-9]_*.ipynb"))]
    chosen = [path for path in found if not numbers or path.stem[:2] in numbers]
    if not chosen:
        raise InputError(f"there is no notebook {', '.join(numbers)}; there are {', '.join(p.stem for p in found)}")
    return chosen


def kernel_of(version: str, root: Path, uv: str) -> tuple[str, Path]:
    """An environment with the locked packages on another Python, and its kernel for `environments.compare`."""
    folder = root / "build" / f"python{version}"
    python = environments.make(uv, folder, version, ["sync", "--require-hashes", str(root / "requirements.lock")])
    environments.install(uv, python, ["--no-deps", "--no-build-isolation", "--editable", str(root)])
    return f"python{version}", environments.add_kernel(python, f"python{version}")


def main(arguments: list[str] | None = None) -> None:
    """`python -m course_lib.authoring.machines UV [--on SETTING ...] [NN ...]`: the exit status says if all hold."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("uv")
    parser.add_argument("numbers", nargs="*", help="numbers of lessons and exercise sets; all of them if none is given")
    parser.add_argument("--on", action="append", choices=[*VARIABLES, *PYTHONS], help="this setting only")
    options = parser.parse_intermixed_args(arguments)  # numbers may follow `--on`
    here = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    # Python 3.12 lies between the two that are tried.
    settings = options.on or [*VARIABLES, *(name for name in PYTHONS if name not in (here, "python3.12"))]
    root, differing = root_folder(), []
    try:
        notebooks = chosen_notebooks(root, options.numbers)
        for setting in settings:
            kernel = kernel_of(PYTHONS[setting], root, options.uv) if setting in PYTHONS else None
            for notebook in notebooks:
                start = time.perf_counter()
                print(f"\n{setting}: {notebook.relative_to(root)}", flush=True)
                if not environments.compare([notebook], root, VARIABLES.get(setting, {}), kernel):
                    differing.append(f"{notebook.relative_to(root)} ({setting})")
                print(f"{setting}: {notebook.relative_to(root)}: {time.perf_counter() - start:.0f} s", flush=True)
    except CourseError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    if differing:
        sys.exit(f"differing: {', '.join(differing)}")
    print(f"{len(notebooks)} notebooks give what they store, on {', '.join(settings)}{os.linesep}", end="")


if __name__ == "__main__":
    main()
