"""How long grading takes beside nbgrader's own autograder, on the same notebooks, in turns."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from course_lib.practice.grader.grade import Grader


def seconds_per_submission(solutions: Path, turns: int = 3, left_out: str = "") -> tuple[float, float]:
    """Median seconds for one submission: this grader after its warm-up, and nbgrader, each `turns` times.

    Both grade a notebook in which everything is right: nothing is stopped early.

    Args:
        solutions: the notebook with solutions, "06_clip.ipynb".
        turns: how often nbgrader grades it; this grader does ten times as often.
        left_out: the name of an answer whose cells are emptied first.
    """
    import nbformat

    notebook = nbformat.read(solutions, as_version=4)
    for cell in notebook.cells:
        if left_out and cell.metadata.get("nbgrader", {}).get("grade_id") == left_out:
            cell.source = f"{left_out} = None"
    text = nbformat.writes(notebook)
    name = solutions.stem
    with tempfile.TemporaryDirectory() as folder, Grader(name[:2]) as grader:
        course = Path(folder)
        (course / "source" / name).mkdir(parents=True)
        shutil.copy(solutions, course / "source" / name)
        _nbgrader(course, "generate_assignment", name)
        ours, theirs = [], []
        grader.grade(text.encode())
        for turn in range(turns):
            submitted = course / "submitted" / f"student{turn}" / name
            submitted.mkdir(parents=True)
            (submitted / f"{name}.ipynb").write_text(text, encoding="utf-8")
            start = time.perf_counter()
            _nbgrader(course, "autograde", name, f"--student=student{turn}")
            theirs.append(time.perf_counter() - start)
            for _ in range(10):
                start = time.perf_counter()
                grader.grade(text.encode())
                ours.append(time.perf_counter() - start)
        graded = json.loads((course / "autograded" / "student0" / name / f"{name}.ipynb").read_text(encoding="utf-8"))
        assert any(cell.get("outputs") for cell in graded["cells"]), "nbgrader executed nothing"
    return statistics.median(ours), statistics.median(theirs)


def _nbgrader(course: Path, *command: str) -> None:
    # nbgrader runs alembic by its name.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    cache = str(course / "cache")
    subprocess.run(
        [sys.executable, "-m", "nbgrader", *command, "--ExecutePreprocessor.timeout=300"],
        cwd=course, env=os.environ | {"PATH": path, "COURSE_CACHE": cache}, check=True, capture_output=True,
    )  # fmt: skip
