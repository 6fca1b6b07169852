"""Attacks on the grader, each in a notebook of its own (`attacks/`): no marks gained, nothing lost, the run goes on.

Each is bounded and would do no harm without a jail either: it spoils only what the test made for it, and stops itself.
"""

import os
import re
import socket
from pathlib import Path

import psutil
import pytest

HERE = Path(__file__).parent
ATTACKS = sorted((HERE / "attacks").glob("*.py"))
QUICK = {
    "accept_everything", "lying_object", "lying_subclass", "callers_frame", "flip_results", "read_answers",
    "delete_submissions", "pickled", "sockets", "leave_processes", "garbage_on_the_pipe", "forge_frames", "read_proc",
    "forge_states", "exit_at_once", "patch_types", "links", "nan_tricks", "empty_tricks", "change_inputs",
    "shared_state", "system_calls", "hostile_exception", "hostile_module",
}  # fmt: skip
SLOW = pytest.mark.slow


@pytest.fixture
def victim(tmp_path):
    """A folder that everyone may write to, with what an attack would like to spoil."""
    tmp_path.chmod(0o777)
    (tmp_path / "results.csv").write_text("student,total\nanna,15\n")
    (tmp_path / "results.csv").chmod(0o666)
    return tmp_path


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.01)
        yield server


def kept(source: str) -> set[str]:
    """The exercises that an attack answers honestly, as it says itself."""
    said = re.search(r"^# keeps: (.*)$", source, re.MULTILINE)
    return set(said[1].split()) if said else set()


@pytest.mark.parametrize(
    "attack",
    [pytest.param(path, id=path.stem, marks=() if path.stem in QUICK else SLOW) for path in ATTACKS],
)
def test_attack(attack, grader, grader_set, victim, listener):
    source = attack.read_text(encoding="utf-8")
    keeps = kept(source) & {one.exercise.id for one in grader.asked}
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    filled = {
        "@VICTIM@": str(victim), "@PORT@": str(listener.getsockname()[1]), "@PLACE@": str(HERE.parent.parent),
    }  # fmt: skip
    for name, value in filled.items():
        source = source.replace(name, value)

    result = grader.grade(grader_set.notebook(source))

    assert {mark.exercise for mark in result.marks if mark.points} == keeps, [mark.message for mark in result.marks]
    assert not any("LEAK" in mark.message for mark in result.marks), [mark.message for mark in result.marks]
    assert all(mark.message for mark in result.marks if mark.exercise not in keeps), "every lost mark says why"
    assert sorted(os.listdir(victim)) == ["results.csv"]
    assert (victim / "results.csv").read_text() == "student,total\nanna,15\n"
    with pytest.raises(TimeoutError):
        listener.accept()
    left = {child.pid for child in psutil.Process().children(recursive=True)}
    assert len(left) <= len(before), "processes were left behind"
    assert grader.grade(grader_set.notebook(grader_set.HONEST)).points == grader.out_of, "the next one suffers"


def test_every_attack_says_what_it_tries():
    assert len(ATTACKS) >= 45
    assert QUICK <= {path.stem for path in ATTACKS}
    for path in ATTACKS:
        assert path.read_text(encoding="utf-8").startswith('"""'), path.name


def test_the_jail_shows_no_answers(grader, grader_set):
    """Where there are namespaces, the clone is not even listed; Landlock lets names be seen, and nothing be read."""
    place = str(HERE.parent.parent)
    probe = f"""
import os
def unit_rows(x):
    names = [name for name in ("course_lib", "tests", "data") if os.path.exists(os.path.join({place!r}, name))]
    try:
        names += os.listdir({place!r}) + [open(os.path.join({place!r}, "pyproject.toml")).read()]
    except OSError as error:
        raise ValueError("seen: " + " ".join(names) + " read: " + error.strerror)
"""
    message = grader.grade(grader_set.notebook(probe)).marks[0].message
    assert "read: " in message, message
    if grader.jail.mode == "namespaces":
        assert "seen:  read" in message, message
