"""An autograder for Gradescope: a zip to upload, and what runs in it for each submission.

Gradescope unpacks the zip as `source/`, runs `setup.sh` once, and `run_autograder` for each submission, which finds the
files in `submission/` and writes `results/results.json`. Where its containers allow no namespaces, the jail is made of
Landlock and seccomp; where there is neither, nothing is graded and the results say why.
"""

import importlib.metadata
import json
import re
import sys
import time
import zipfile
from pathlib import Path

from course_lib.errors import CourseError, InputError
from course_lib.files import data_folder, write_atomically
from course_lib.practice.exercise import exercises
from course_lib.practice.grader.grade import Grader, Result, find_submissions, read_submission
from course_lib.practice.grader.jail import PACKAGE
from course_lib.practice.grader.report import printable

SETUP = """#!/usr/bin/env bash
# Run once by Gradescope, when the autograder is built: a Python of its own, with what the grader needs.
set -euo pipefail
cd "$(dirname "$0")"
apt-get update
apt-get install -y --no-install-recommends python3-venv libseccomp2
python3 -m venv /autograder/uv
/autograder/uv/bin/pip install uv
# Not below root's home: submissions run as another user.
export UV_PYTHON_INSTALL_DIR=/autograder/python
/autograder/uv/bin/uv venv --python 3.12 /autograder/venv
/autograder/uv/bin/uv pip install --python /autograder/venv/bin/python --torch-backend cpu -r requirements.txt
"""

RUN = """#!/usr/bin/env bash
# Run by Gradescope for each submission.
root="${{AUTOGRADER:-/autograder}}"
cd "$root/source"
export OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1
exec "${{AUTOGRADER_PYTHON:-$root/venv/bin/python}}" -m course_lib.practice.grader.gradescope {lesson} "$root"
"""


def main(number: str, out: Path | None = None) -> Path:
    """`course gradescope`: writes the zip. Returns its path.

    Raises:
        InputError: the lesson has no exercises.
        FileError: it cannot be written.
    """
    lesson = number.zfill(2)
    exercises(lesson)
    out = Path(out) if out is not None else Path(f"{lesson}_gradescope.zip")
    write_atomically(out, lambda path: _write_zip(path, lesson))
    print(f"{out}: upload it to Gradescope as the autograder of a programming assignment.")
    return out


def _write_zip(path: Path, lesson: str) -> None:
    # Python's own packages lie outside, so what is imported is the package in the zip, whatever else is installed.
    files = {"setup.sh": SETUP, "run_autograder": RUN.format(lesson=lesson), "requirements.txt": requirements()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o755 if name != "requirements.txt" else 0o644) << 16
            archive.writestr(entry, text)
        for folder, inside in ((PACKAGE, "course_lib"), (data_folder(), "data")):
            for file in sorted(folder.rglob("*")):
                parts = file.relative_to(folder).parts
                if file.is_file() and not any(part.startswith((".", "__pycache__", "_data")) for part in parts):
                    archive.write(file, "/".join((inside, *parts)))


def requirements() -> str:
    """What the course needs at run time, and the filter of system calls, at the versions installed here."""
    names = [
        re.match(r"[\w.-]+", line)[0]
        for line in importlib.metadata.requires("vlm-course") or []
        if "extra ==" not in line or line.startswith("pyseccomp")
    ]
    return "".join(f"{name}=={importlib.metadata.version(name).split('+')[0]}\n" for name in sorted(names))


def results_of(result: Result, names: list[str], said: str = "") -> dict:
    """A result as Gradescope's results.json has it: one test for each exercise, visible to the student."""
    tests = [
        {
            "number": mark.exercise,
            "name": f"{mark.exercise} {name}",
            "score": mark.points,
            "max_score": mark.out_of,
            "status": "passed" if mark.points == mark.out_of else "failed",
            "output_format": "text",
            "output": printable(mark.message) or f"All {mark.cases} cases are right.",
        }
        for mark, name in zip(result.marks, names, strict=True)
    ]
    return {
        "score": result.points,
        "output": printable(said or result.problem),
        "output_format": "text",
        "execution_time": round(result.seconds),
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
    }


def run(lesson: str, root: Path) -> int:
    """What `run_autograder` does: grades the notebook in `submission/` and writes `results/results.json`.

    Where this machine cannot grade, the file says why and has no score, which Gradescope shows as the autograder's
    failure and not as the student's.
    """
    start = time.monotonic()
    try:
        found = find_submissions([root / "submission"])
        if len(found) > 1:
            names = ", ".join(one.name for one in found[:5])
            raise InputError(f"hand in one notebook, not {len(found)} ({names})")
        content = read_submission(found[0].path)
    except (InputError, OSError) as error:
        results = {"score": 0, "output": printable(str(error)), "output_format": "text", "visibility": "visible"}
    else:
        try:
            with Grader(lesson) as grader:
                result = grader.grade(content)
                results = results_of(result, grader.names)
        except CourseError as error:
            results = {"output": f"Nothing was graded: {error}", "output_format": "text", "visibility": "visible"}
    results["execution_time"] = round(time.monotonic() - start)
    write_atomically(root / "results" / "results.json", json.dumps(results, indent=1) + "\n")
    return 0 if "score" in results else 1


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], Path(sys.argv[2])))
