"""The Gradescope zip, unpacked and run as Gradescope does, in a folder of the test's own."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from course_lib.errors import InputError
from course_lib.practice.grader import gradescope

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def autograder(tmp_path_factory):
    """What Gradescope has after it unpacked the zip."""
    root = tmp_path_factory.mktemp("autograder")
    path = gradescope.main("6", root / "grader.zip")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(root / "source")
        for entry in archive.infolist():
            (root / "source" / entry.filename).chmod(entry.external_attr >> 16 & 0o777)
    return root


def test_the_zip_holds_what_gradescope_looks_for(autograder):
    source = autograder / "source"
    assert os.access(source / "run_autograder", os.X_OK) and os.access(source / "setup.sh", os.X_OK)
    for script in ("run_autograder", "setup.sh"):
        assert subprocess.run(["bash", "-n", str(source / script)]).returncode == 0
    needed = (source / "requirements.txt").read_text().splitlines()
    assert any(line.startswith("pyseccomp==") for line in needed) and not any("+" in line for line in needed)
    assert (source / "course_lib" / "practice" / "lesson_06" / "held_back.py").is_file()
    assert (source / "data" / "manifest.json").is_file()
    assert not list(source.rglob("__pycache__"))


def test_a_lesson_without_exercises_is_refused(tmp_path):
    with pytest.raises(InputError):
        gradescope.main("77", tmp_path / "grader.zip")


def run(root: Path, files: dict[str, bytes]) -> dict:
    for folder in ("submission", "results"):
        (root / folder).mkdir(exist_ok=True)
    for old in (root / "submission").iterdir():
        old.unlink()
    (root / "results" / "results.json").unlink(missing_ok=True)
    for name, content in files.items():
        (root / "submission" / name).write_bytes(content)
    environment = os.environ | {"AUTOGRADER": str(root), "AUTOGRADER_PYTHON": sys.executable, "PYTHONPATH": ""}
    done = subprocess.run(
        [str(root / "source" / "run_autograder")], env=environment, capture_output=True, text=True, timeout=300
    )
    assert (root / "results" / "results.json").is_file(), done.stderr
    return json.loads((root / "results" / "results.json").read_text())


@pytest.mark.slow
def test_submissions_are_graded_as_gradescope_runs_them(autograder):
    solved = (ROOT / "solutions" / "06_clip.ipynb").read_bytes()
    result = run(autograder, {"06_clip.ipynb": solved})
    if "score" not in result:
        pytest.skip(result["output"])
    assert result["score"] == 20 == sum(test["score"] for test in result["tests"])
    assert {test["status"] for test in result["tests"]} == {"passed"}

    wrong = solved.replace(b"(loss_images + loss_texts) / 2", b"loss_images")
    result = run(autograder, {"06_clip.ipynb": wrong})
    (failed,) = [test for test in result["tests"] if test["status"] == "failed"]
    assert failed["number"] == "06.2" and failed["score"] == 0 and "direction" in failed["output"]
    assert result["score"] == 17


@pytest.mark.slow
def test_what_cannot_be_graded_is_said(autograder):
    assert "no notebook" in run(autograder, {"report.pdf": b"%PDF"})["output"]
    assert "one notebook" in run(autograder, {"a.ipynb": b"{}", "b.ipynb": b"{}"})["output"]
    result = run(autograder, {"a.ipynb": b'{"cells": [{"cell_t'})
    assert result.get("score", 0) == 0 and "cut off" in result["output"]
