"""`make colab`: Colab's environment on this machine, the notebooks' own install cell run in it, and lessons after it.

The environment holds exactly data/colab_versions.txt on Colab's Python. The install cell is taken from a built notebook
and installs this clone in place of the address that it names. It must change none of the versions that are there and
take less than a minute; then lessons are executed in Colab's IPython and compared with what they store.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat

from course_lib.authoring import environments
from course_lib.authoring.environments import EnvironmentProblem
from course_lib.authoring.lessons import find_lesson, published, root_folder
from course_lib.authoring.lock import colab_versions
from course_lib.errors import CourseError, FileError

PYTHON = "3.13"
LESSONS = ("01", "06")
SECONDS = 60  # what the install cell may take

# IPython outside a notebook; like Colab it has a module of this name loaded, and nothing of it is used.
SHELL = """
import sys, types
sys.modules["google"], sys.modules["google.colab"] = types.ModuleType("google"), types.ModuleType("google.colab")
from IPython.core.interactiveshell import InteractiveShell
result = InteractiveShell.instance().run_cell(open(sys.argv[1], encoding="utf-8").read())
sys.exit(not result.success)
"""


def install_cell(notebook: Path, root: Path) -> str:
    """The source of a built notebook's install cell, with this clone in the place of the published address.

    Raises:
        FileError: the notebook has no such cell, or one that installs from elsewhere.
    """
    cells = [
        cell.source
        for cell in nbformat.read(notebook, as_version=4).cells
        if "course-install" in cell.metadata.get("tags", [])
    ]
    address = "git+https://github.com/{}@{}".format(*published(root))
    if len(cells) != 1 or address not in cells[0]:
        raise FileError(f"{notebook.name} has no cell that installs {address}: build it again, make notebooks FORCE=1")
    return cells[0].replace(address, root.as_uri())


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What became of packages that were there: a sentence for each that went or has another version."""
    return [
        f"{name} was {version} and is {after.get(name, 'gone')}"
        for name, version in before.items()
        if after.get(name) != version
    ]


def run_install_cell(source: str, python: Path, folder: Path) -> float:
    """Runs the install cell in that environment's IPython, with `google.colab` loaded.

    Returns:
        how long it took, in seconds.

    Raises:
        EnvironmentProblem: it failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cell.py").write_text(source, encoding="utf-8")
    # As on a machine of its own: nothing of this one's environment variables for Python.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["IPYTHONDIR"] = str(folder / "ipython")
    start = time.perf_counter()
    done = subprocess.run(
        [python, "-c", SHELL, "cell.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    # IPython does not say whether the program that `%pip` called succeeded; pip does.
    if done.returncode or "ERROR:" in done.stdout + done.stderr:
        raise EnvironmentProblem(f"the install cell failed:\n{(done.stdout + done.stderr).strip()[-3000:]}")
    return time.perf_counter() - start


def main(arguments: list[str] | None = None) -> None:
    """`python -m course_lib.authoring.colab UV [NN ...]`: all of it; the exit status says whether it holds."""
    uv, *numbers = sys.argv[1:] if arguments is None else arguments
    root = root_folder()
    folder = root / "build" / "colab"
    try:
        start = time.perf_counter()
        python = environments.make(uv, folder, PYTHON, ["install", "-r", str(root / "data" / "colab_versions.txt")])
        before = environments.installed(python)
        wanted = colab_versions()
        if wrong := changes(wanted, before):
            raise EnvironmentProblem("this is not Colab's environment: " + "; ".join(wrong))
        took = time.perf_counter() - start
        print(f"Colab's environment: {len(wanted)} versions as on Colab, made in {took:.0f} s", flush=True)

        chosen = [root / "notebooks" / f"{find_lesson(number, root).stem}.ipynb" for number in numbers or LESSONS]
        seconds = run_install_cell(install_cell(chosen[0], root), python, folder / "cell")
        after = environments.installed(python)
        if wrong := changes(before, after):
            raise EnvironmentProblem("the install cell changed what was there: " + "; ".join(wrong))
        added = sorted(after.keys() - before.keys())
        print(f"install cell: {seconds:.0f} s; nothing changed; added {', '.join(added)}", flush=True)
        if "vlm-course" not in added:
            raise EnvironmentProblem("the install cell did not install the course")
        if seconds >= SECONDS:
            raise EnvironmentProblem(f"the install cell took {seconds:.0f} s; it may take less than {SECONDS}")

        kernel = "colab", environments.add_kernel(python, "colab")
        same = environments.compare(chosen, root, {}, kernel)
    except CourseError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    sys.exit(not same)


if __name__ == "__main__":
    main()
