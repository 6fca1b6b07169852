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
from course_lib.errors import CourseError, FileError, InputError

# What is set -> environment variables; of torch's CPU kernels "default" are those without AVX.
VARIABLES = {
    "kernels": {"ATEN_CPU_CAPABILITY": "default"},
    "threads-1": {"COURSE_THREADS": "1"},
    "threads-2": {"COURSE_THREADS": "2"},
    "threads-4": {"COURSE_THREADS": "4"},
}
PYTHONS = {f"python{version}": version for version in environments.PYTHONS}


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


def prepare_another_python(root: Path, uv: str) -> str:
    """Prepares the Python in which `make test` runs half of the notebooks; says which, or why there is none."""
    why = "another Python from 3.11 to 3.13 is not on this machine"
    for version in environments.other_pythons():
        try:
            environments.find_python(version)
        except FileError:
            continue
        try:
            return f"half of the notebooks run in {environments.kernel_with_the_course(uv, version, root)[0]}"
        except environments.EnvironmentProblem as error:
            why = str(error)
    return f"all notebooks run in this Python: {why}"


def main(arguments: list[str] | None = None) -> None:
    """`python -m course_lib.authoring.machines UV [--on SETTING ...] [NN ...]`: the exit status says if all hold."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("uv")
    parser.add_argument("numbers", nargs="*", help="numbers of lessons and exercise sets; all of them if none is given")
    parser.add_argument("--prepare", action="store_true", help="only prepare another Python, for `make test`")
    parser.add_argument("--on", action="append", choices=[*VARIABLES, *PYTHONS], help="this setting only")
    options = parser.parse_intermixed_args(arguments)  # numbers may follow `--on`
    # Python 3.12 lies between the two that are tried.
    others = [f"python{version}" for version in environments.other_pythons() if version != "3.12"]
    settings = options.on or [*VARIABLES, *others]
    root, differing = root_folder(), []
    if options.prepare:
        print(prepare_another_python(root, options.uv))
        return
    try:
        notebooks = chosen_notebooks(root, options.numbers)
        for setting in settings:
            kernel = (
                environments.kernel_with_the_course(options.uv, PYTHONS[setting], root) if setting in PYTHONS else None
            )
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
