"""What a class receives: all it needs, and no answer that was left out."""

import subprocess
import sys
from pathlib import Path

import pytest

from course_lib.authoring import release
from course_lib.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class") / "course"
    release.main(folder)
    return folder


def test_it_holds_the_course(released):
    for name in (
        "notebooks",
        "exercises/06_clip.ipynb",
        "course_lib/practice/lesson_06/exercises.py",
        "pyproject.toml",
    ):
        assert (released / name).exists(), name
    assert (released / "data" / "manifest.json").is_file()
    assert {path.name for path in released.iterdir()} == {*release.FOLDERS, *release.FILES, "README.md"}


def test_it_holds_no_solutions_and_no_held_back_cases(released):
    names = {path.name for path in released.rglob("*")}
    assert not names & {*release.LEFT_OUT, "solutions", "tests", ".git"}
    assert not [path for path in (released / "exercises").rglob("*") if b"BEGIN SOLUTION" in path.read_bytes()]
    held_back = (ROOT / "course_lib/practice/lesson_06/held_back.py").read_text(encoding="utf-8")
    telling = [line for line in held_back.splitlines() if "Case(" in line and len(line) > 60]
    assert telling
    everything = "\n".join(path.read_text(encoding="utf-8") for path in released.rglob("*.py"))
    assert not [line for line in telling if line.strip() in everything]


@pytest.mark.slow
def test_its_check_works_without_what_was_left_out(released, tmp_path):
    code = """
import course_lib, torch.nn.functional as F
from course_lib.practice import check
from course_lib.practice.exercise import exercise, held_back, solution_source
right = lambda i, t, s: F.normalize(i, dim=-1) @ F.normalize(t, dim=-1).T / s
assert check("06.1", right) == 1
assert check("06.1", lambda i, t, s: i @ t.T / s) == 0
assert held_back(exercise("06.1"), 0) == [] and solution_source(exercise("06.1")) is None
print(course_lib.__file__)
"""
    environment = {"PYTHONPATH": str(released), "COURSE_CACHE": str(tmp_path), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(released) in done.stdout.splitlines()[-1]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="not empty"):
        release.main(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interrupted_release_leaves_none(tmp_path, monkeypatch):
    def stop(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(release.shutil, "copyfile", stop)
    with pytest.raises(KeyboardInterrupt):
        release.main(tmp_path / "course")
    assert list(tmp_path.iterdir()) == []


def test_a_copy_without_git_gives_the_same_files(released, tmp_path):
    again = release._files(released)
    kept = {path.relative_to(released).as_posix() for path in released.rglob("*") if path.is_file()}
    assert set(again) == {name for name in kept if "__pycache__" not in name} - {"README.md"}
