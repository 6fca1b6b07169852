"""The grader on what classes hand in: honest work in odd notebooks, files that are none, tables that survive."""

import ast
import csv
import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from course_lib.errors import FileError, InputError
from course_lib.practice.asking import Outcome, Question
from course_lib.practice.grader import protocol, submission
from course_lib.practice.grader.grade import (
    columns,
    find_submissions,
    grade_files,
    library,
    read_submission,
    student_of,
)
from course_lib.practice.grader.jail import Jail, JailError, around, located, sealed
from course_lib.practice.grader.report import Report, cell, printable

SLOW = pytest.mark.slow


# --- what crosses the wall --------------------------------------------------------------------------------------------


def test_outcomes_and_questions_cross_whole():
    value = {"a": [torch.arange(3), (1, 2.5, None, True)], "b": "tëxt\n"}
    (outcome,) = protocol.parse_outcomes(protocol.dump([Outcome(value=value, gradients={"x": torch.ones(2)})]), 1)
    assert torch.equal(outcome.value["a"][0], torch.arange(3))
    assert outcome.value["a"][1] == (1, 2.5, None, True) and outcome.value["b"] == "tëxt\n"
    assert torch.equal(outcome.gradients["x"], torch.ones(2))
    question = protocol.parse(protocol.dump(Question("function", {"x": torch.eye(2, dtype=torch.float64)})))
    assert question.asked == "function" and question.inputs["x"].dtype == torch.float64


def _payload(tree, blob=b"\x02\0\0\0\0\0\0\0{}"):
    text = json.dumps(tree).encode() if not isinstance(tree, bytes) else tree
    return struct.pack("<I", len(text)) + text + blob


GIVEN = ["dict", ["(kind)", "Given"], ["source", "raise SystemExit"], ["name", "x"]]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xff\xff\xff",
        _payload({"a": 1}),
        _payload(["tensor", "0"]),
        _payload(["dict", ["(kind)", "Outcome"], ["error", 3]]),
        _payload(["list"] + [["list"]] * 3),
        _payload(["list", ["dict", ["(kind)", "Outcome"], ["value", GIVEN]]]),
        _payload(["list", ["dict", ["(kind)", "Outcome"], ["seconds", -1.0]]]),
        _payload(["list", ["dict", ["(kind)", "Outcome"], ["message", "x" * 5_000]]]),
        _payload(b"[" * 50_000),
        _payload(["list"], b"\xff" * 8 + b"{}"),
        _payload(["list"], b""),
    ],
    ids=range(12),
)  # fmt: skip
def test_forged_payloads_are_refused(payload):
    with pytest.raises(protocol.ProtocolError):
        protocol.parse_outcomes(payload, 1)


def test_a_stream_is_cut_where_it_stops_making_sense():
    good = protocol.frame(b"one") + protocol.frame(b"two")
    assert [bytes(part) for part in protocol.unframe(good, 5)[0]] == [b"one", b"two"]
    assert protocol.unframe(good[:-1], 5) == ([b"one"], "")
    assert protocol.unframe(good + b"x" * 20, 5)[1] != ""
    assert protocol.unframe(good, 1)[1] != "", "more messages than were asked for"


def test_what_a_child_is_given_cannot_be_changed():
    handle = sealed(b"questions", "questions")
    with pytest.raises(OSError):
        os.write(handle, b"x")
    with pytest.raises(OSError):
        os.open(f"/proc/self/fd/{handle}", os.O_WRONLY | os.O_TRUNC)
    assert os.read(handle, 20) == b"questions"
    os.close(handle)


# --- finding the answers ----------------------------------------------------------------------------------------------


def found(*cells: str) -> submission.Code:
    return submission.code({"cells": [{"cell_type": "code", "source": cell} for cell in cells]})


def run(code: submission.Code, name: str) -> dict:
    space: dict = {}
    for index in submission.needed(code, name):
        exec(compile(ast.Module([code.statements[index]], []), "<test>", "exec", code.flags, True), space)
    return space


@pytest.mark.parametrize(
    "cells",
    [
        ["%load_ext autoreload\n!pip install x\nN = 2", "def f(x):\n    return x * N", "f?"],
        ["%%time\nN = 2\ndef f(x):\n    return x * N"],
        ["%%bash\nrm -rf /", "N = 1\nN = 2\nN += 0", "f = lambda x: x * N"],
        ["def f(x):\n    return 0", "def f(x):\n    return x * two()", "def two(): return 2"],
        ["def f(x): return x * 2", "def f(x):\n    '''Doc.'''\n    raise NotImplementedError"],
        ["def f(x): return x * 2", "while True: f(1)", "f(3", "files = !ls"],
        ["try:\n    import fast\nexcept ImportError:\n    fast = None", "def f(x):\n    return x * (1 if fast else 2)"],
        ["class A:\n    pass\ndef g(self, x): return x * 2\nA.g = g", "def f(x): return A().g(x)"],
        ["from math import *", "def f(x): return x * int(sqrt(4))"],
        ["T = {}", "T['a'] = 2", "def f(x): return x * T['a']"],
        ["async def later(): pass", "def f(x: 'Tensor') -> 'Tensor':\n    global C\n    return x * C", "C = 2"],
        ["for i in range(3):\n    N = i", "def f(x): return x * N"],
        ["def outer(g):\n    return lambda x: g(x) * 2", "@outer\ndef f(x): return x"],
        ["from __future__ import annotations\nimport math\ndef f(x: Undefined): return x * 2"],
    ],
)
def test_the_answer_is_found_with_what_it_needs(cells):
    code = found(*cells)
    assert submission.defines(code, "f") == "yes"
    assert run(code, "f")["f"](21) == 42


def test_nothing_else_is_run():
    code = found(
        "import os\nos.abort()\nx = y = os.abort()",
        "def f(x):\n    y = [z for z in x]\n    return y",
        "print(f(os.abort()))\ndel f",
    )
    assert [ast.unparse(code.statements[i]) for i in submission.needed(code, "f")] == [
        "def f(x):\n    y = [z for z in x]\n    return y"
    ]


def test_what_is_missing_is_told():
    code = found("def g(): pass", "def f(:\n    pass", "def h():\n    raise NotImplementedError()")
    assert submission.defines(code, "f") == "broken"
    assert submission.broken_cell(code, "f")[:2] == (2, 1)
    assert submission.defines(code, "h") == "stub"
    assert submission.defines(code, "k") == "no"


NOTEBOOK = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "not text"),
        (b"hello", "not JSON"),
        (json.dumps(NOTEBOOK | {"cells": [{"cell_type": "code", "source": "x = 1"}]}).encode()[:-20], "cut off"),
        (b"[" * 200_000, "no notebook editor"),
        (b"[1, 2]", "no list of cells"),
        (b'{"worksheets": []}', "format 3"),
        (b'{"cells": {"a": 1}}', "no list of cells"),
        (b" " * (submission.MAX_BYTES + 1) + b"{}", "MB"),
    ],
    ids=["empty", "picture", "text", "cut", "nested", "list", "format 3", "no cells", "large"],
)
def test_files_that_are_no_notebooks(content, said):
    with pytest.raises(submission.NotANotebook, match=said):
        submission.read_notebook(content)


def test_cells_that_no_editor_writes_are_passed_over():
    cells = [
        1,
        None,
        {},
        {"cell_type": "code"},
        {"cell_type": "code", "source": 5},
        {"cell_type": "code", "source": [1]},
    ]
    cells += [
        {"cell_type": "markdown", "source": "x = 1"},
        {"cell_type": "code", "source": ["def f(x):\n", "  return x"]},
    ]
    code = submission.code({"cells": cells, "metadata": 3})
    assert len(code.statements) == 1 and code.count == 8


# --- whole notebooks, in the jail -------------------------------------------------------------------------------------


def test_an_honest_notebook_gets_all(grader, grader_set):
    result = grader.grade(grader_set.notebook(grader_set.HONEST))
    assert result.points == grader.out_of, result
    assert result.problem == ""


def test_each_mistake_costs_its_exercise_and_is_named(grader, grader_set):
    wrong = grader_set.HONEST.replace("return x / length(x)", "return x * length(x)").replace('"a": "x"', '"a": "y"')
    result = grader.grade(grader_set.notebook(wrong))
    assert {mark.exercise for mark in result.marks if not mark.points} == {"99.1", "99.4"}
    assert "any rows" in result.marks[0].message
    assert result.points == grader.out_of - 5


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def unit_rows(x):\n    raise NotImplementedError", "Not written yet"),
        ("# %%\ndef other(): pass\n# %%\ndef unit_rows(x:\n    return x", "cell 2"),
        ("def unit_rows(x):\n    return helper(x)", "helper"),
        (
            "import nothing_of_that_name as no\ndef unit_rows(x):\n    return no.rows(x)",
            "no module nothing_of_that_name",
        ),
        ("def unit_rows(x):\n    y = x\n    return y.nope", "return y.nope"),
        ("def unit_rows(x):\n    print('a' * 10_000_000)\n    return x", "times|right|value"),
        ("def contrast(a, b, c): return 1", "defines no unit_rows"),
        ("from open_clip.loss import ClipLoss\ndef unit_rows(x):\n    return ClipLoss()(x)", "no module open_clip"),
    ],
)
def test_why_there_are_no_points_is_said(grader, grader_set, source, said):
    import re

    mark = grader.grade(grader_set.notebook(source)).marks[0]
    assert mark.points == 0
    assert re.search(said, mark.message), mark.message


def test_another_lessons_notebook_is_recognised(grader, grader_set):
    notebook = json.loads(grader_set.notebook("def show_and_tell(): pass"))
    assert "another lesson's" in grader.grade(json.dumps(notebook).encode()).problem
    notebook["cells"][0]["source"] += "\ncheck('05.3', show_and_tell)"
    assert "lesson 05's" in grader.grade(json.dumps(notebook).encode()).problem


@pytest.mark.parametrize(
    "source",
    ["(" * 5_000 + ")" * 5_000, "x = " + "-" * 200_000 + "1", "x = " + "9" * 99_999, "x = 1\n" * 9_000, "f'" + "{" * 9],
    ids=["nesting", "signs", "digits", "statements", "f-string"],
)  # fmt: skip
def test_source_that_is_meant_to_break_the_reader(grader, grader_set, source):
    honest = json.loads(grader_set.notebook(grader_set.HONEST))
    hostile = honest | {"cells": [{"cell_type": "code", "source": source}, *honest["cells"]]}
    result = grader.grade(json.dumps(hostile).encode())
    assert result.points in (0, grader.out_of)  # Python itself may give up on it; then only this submission is lost
    assert grader.grade(json.dumps(honest).encode()).points == grader.out_of


def test_exact_answers_in_other_types_count(grader, grader_set):
    source = """
import numpy as np
import torch
class Rows(torch.Tensor):
    pass
def unit_rows(x):
    return (x / x.norm(dim=-1, keepdim=True))
def contrast(images, texts, scale):
    total = 0.0
    for side, other in ((images, texts), (texts, images)):
        for i in range(len(side)):
            row = [scale * float(side[i] @ other[j]) for j in range(len(side))]
            total += np.log(np.exp(row).sum()) - row[i]
    return torch.tensor(total / (2 * len(images)))
"""
    marks = grader.grade(grader_set.notebook(source)).marks
    assert [mark.points for mark in marks[:2]] == [1, 2], marks


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_folder_of_odd_files(grader, grader_set, tmp_path):
    honest = grader_set.notebook(grader_set.HONEST)
    folder = tmp_path / "class"
    many = json.loads(honest)
    many["cells"] = [{"cell_type": "code", "source": f"v{i} = {i}"} for i in range(10_000)] + many["cells"]
    files = {
        "anna/set.ipynb": honest,
        "bob, the second.ipynb": honest,
        "with\nnewline.ipynb": honest + b" ",
        "-rf.ipynb": honest + b"  ",
        "=cmd|x.ipynb": b"{",
        "\N{SNOWMAN}\N{PILE OF POO}.ipynb": honest + b"\n",
        "x" * 240 + ".ipynb": honest + b"\n\n",
        "empty.ipynb": b"",
        "picture.ipynb": b"\x89PNG\xff",
        "cut.ipynb": honest[: len(honest) // 2],
        "many.ipynb": json.dumps(many).encode(),
        "carl/one.ipynb": honest + b"\n \n",
        "carl/deep/two.ipynb": grader_set.notebook("x = 1"),
        ".hidden.ipynb": honest,
        "anna/.ipynb_checkpoints/set-checkpoint.ipynb": honest,
        "anna/notes.txt": b"not handed in",
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with open(os.fsencode(folder) + b"/bad\xff\xfename.ipynb", "wb") as file:
        file.write(honest)
    (folder / "link.ipynb").symlink_to(folder / "anna" / "set.ipynb")
    (folder / "loop.ipynb").symlink_to("loop.ipynb")
    os.mkfifo(folder / "pipe.ipynb")
    (folder / "folder.ipynb").mkdir()

    submissions = find_submissions([folder])
    report = Report(tmp_path / "results.csv", columns(grader))
    assert grade_files(submissions, grader, report) == len(submissions) == 17

    with open(tmp_path / "results.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 18, "a line for each row"
    by_file = {row["file"]: row for row in rows}
    full = {row["file"] for row in rows if float(row["total"]) == grader.out_of}
    assert full == {
        "anna/set.ipynb", "bob, the second.ipynb", "with\\nnewline.ipynb", "'-rf.ipynb", "☃💩.ipynb", "many.ipynb",
        "x" * 240 + ".ipynb", "carl/one.ipynb", "bad\\udcff\\udcfename.ipynb",
    }  # fmt: skip
    assert "cut off" in by_file["cut.ipynb"]["why"]
    assert "empty" in by_file["empty.ipynb"]["why"]
    assert "link" in by_file["link.ipynb"]["why"] and "link" in by_file["loop.ipynb"]["why"]
    assert "ordinary" in by_file["pipe.ipynb"]["why"]
    assert "another lesson" in by_file["carl/deep/two.ipynb"]["why"]
    assert by_file["carl/one.ipynb"]["student"] == "carl" and "2 files" in by_file["carl/one.ipynb"]["note"]
    assert "the same file as anna/set.ipynb" in by_file["bob, the second.ipynb"]["note"]
    assert by_file["'=cmd|x.ipynb"]["student"] == "'=cmd|x"

    again = Report(tmp_path / "results.csv", columns(grader), resume=True)
    assert grade_files(submissions, grader, again) == 0, "what is there is not graded again"


def test_a_table_that_was_cut_off_goes_on(grader, grader_set, tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.ipynb").write_bytes(grader_set.notebook(grader_set.HONEST + f"\n# {name}"))
    submissions = find_submissions([tmp_path])
    table = tmp_path / "results.csv"
    grade_files(submissions[:2], grader, Report(table, columns(grader)))
    whole = table.read_bytes()
    table.write_bytes(whole[:-30])
    with pytest.raises(InputError, match="--resume"):
        Report(table, columns(grader))
    assert table.read_bytes() == whole[:-30], "refusing changes nothing"
    assert grade_files(submissions, grader, Report(table, columns(grader), resume=True)) == 2
    rows = list(csv.DictReader(table.open(encoding="utf-8", newline="")))
    assert [row["file"] for row in rows] == ["a.ipynb", "b.ipynb", "c.ipynb"]
    assert {float(row["total"]) for row in rows} == {grader.out_of}


def test_a_changed_submission_is_graded_again(grader, grader_set, tmp_path):
    path = tmp_path / "anna.ipynb"
    path.write_bytes(grader_set.notebook("x = 1"))
    table = tmp_path / "results.csv"
    grade_files(find_submissions([path]), grader, Report(table, columns(grader)))
    path.write_bytes(grader_set.notebook(grader_set.HONEST))
    report = Report(table, columns(grader), resume=True)
    assert grade_files(find_submissions([path]), grader, report) == 1
    assert [float(row["total"]) for row in report.rows] == [0, grader.out_of]


def test_a_table_of_other_exercises_is_left_alone(tmp_path):
    table = tmp_path / "results.csv"
    table.write_text("name,grade\nanna,1\n")
    with pytest.raises(InputError, match="columns"):
        Report(table, ["student", "total"], resume=True)
    assert table.read_text() == "name,grade\nanna,1\n"


def test_a_table_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError):
        Report(tmp_path / "file" / "results.csv", ["student"])


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "|calc", "%x"])
def test_no_cell_is_a_formula(text):
    assert cell(text)[0] in "'\\"


def test_cells_are_one_line_and_numbers_stay_numbers():
    assert printable("a\nb\x1b[2J\x00\u202eé") == "a\\nb\\x1b[2J\\x00\\u202eé"
    assert cell(-1.5) == "-1.5" and cell(3.0) == "3"


@pytest.mark.parametrize(
    ("name", "student"),
    [
        ("anna.ipynb", "anna"),
        ("anna_06_clip.ipynb", "anna"),
        ("06_clip - anna (2).ipynb", "anna"),
        ("meieranna_12345_678901_06_clip-1.ipynb", "meieranna"),
        ("meieranna_LATE_12345_678901_set.ipynb", "meieranna"),
        ("06_clip.ipynb", "folder"),
    ],
)
def test_whose_file_it_is(name, student, tmp_path):
    assert student_of(tmp_path / "folder" / name, "06_clip") == student


def test_nothing_to_grade_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no notebook"):
        find_submissions([tmp_path])
    with pytest.raises(InputError, match="no file or folder"):
        find_submissions([tmp_path / "missing"])


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "solution.ipynb").write_text("{}")
    (tmp_path / "mine.ipynb").symlink_to(tmp_path / "solution.ipynb")
    with pytest.raises(InputError, match="link"):
        read_submission(tmp_path / "mine.ipynb")


# --- the jail itself --------------------------------------------------------------------------------------------------


def test_the_protections_are_told(grader):
    walls = {wall.name: wall.present for wall in grader.jail.protections()}
    assert len(walls) == 6 and walls["limits on time, memory, files, threads"]
    assert walls["a list of system calls (seccomp)"]


def test_no_unsafe_mode_without_its_name(monkeypatch):
    monkeypatch.setattr(Jail, "_missing", staticmethod(lambda mode: "not here"))
    with pytest.raises(JailError, match="'bare' by name"):
        Jail()


def test_an_unknown_mode_is_refused():
    from course_lib.practice.grader.grade import Grader

    with pytest.raises(InputError, match="namespaces, landlock, bare"):
        Grader("06", unsafe_mode="none")


def test_the_jail_carries_no_answers():
    files = library(("course_lib", "course_lib.errors", "course_lib.files", "course_lib.runtime"))
    assert set(files) == {
        "course_lib/__init__.py",
        "course_lib/errors.py",
        "course_lib/files.py",
        "course_lib/runtime.py",
    }
    assert located("numpy") and located("a_package_that_nobody_has") == []


def test_a_folder_can_be_shown_without_the_packages_in_it(tmp_path):
    """A Python that is not in an environment has all packages below its standard library."""
    for name in ("os.py", "json/decoder.py", "site-packages/open_clip/loss.py", "deep/site-packages/course_lib/x.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    holes = [f"{tmp_path}/site-packages", f"{tmp_path}/deep/site-packages", f"{tmp_path}/dist-packages"]
    assert around(str(tmp_path), holes) == [f"{tmp_path}/json", f"{tmp_path}/os.py"]


@SLOW
def test_nothing_is_left_on_the_disk(tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    try:
        with Jail() as jail:
            assert jail.process.poll() is None
    except JailError as error:
        pytest.skip(str(error))
    assert os.listdir(tmp_path) == []


@SLOW
def test_a_warden_that_dies_is_replaced(grader, grader_set):
    for child in _descendants(grader.jail.process.pid):
        os.kill(child, signal.SIGKILL)
    result = grader.grade(grader_set.notebook(grader_set.HONEST))
    assert sum(mark.points == 0 for mark in result.marks) <= 1
    assert grader.grade(grader_set.notebook(grader_set.HONEST)).points == grader.out_of


def _descendants(pid: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(pid).children(recursive=True)] or [pid]


@SLOW
def test_an_interrupted_run_keeps_its_rows_and_goes_on(grader_set, tmp_path):
    """The command itself, stopped by Ctrl-C in the middle."""
    script = tmp_path / "run.py"
    script.write_text(
        "import importlib.util, itertools, sys, time\n"
        "from pathlib import Path\n"
        "from course_lib.practice.grader import grade\n"
        f"spec = importlib.util.spec_from_file_location('grader_set', {str(Path(grader_set.__file__))!r})\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
        "grade.exercises = lambda lesson: module.EXERCISES[:4]\n"
        "if '--resume' not in sys.argv:  # however fast this machine grades, Ctrl-C finds it at work\n"
        "    at_once, calls = grade.Grader.grade, itertools.count()\n"
        "    grade.Grader.grade = lambda *given: time.sleep(60 * (next(calls) >= 40)) or at_once(*given)\n"
        "sys.exit(grade.main([Path(sys.argv[1])], lesson='99', out=Path(sys.argv[2]), resume='--resume' in sys.argv))\n"
    )
    folder = tmp_path / "class"
    folder.mkdir()
    for i in range(150):
        (folder / f"student{i:03}.ipynb").write_bytes(grader_set.notebook(grader_set.HONEST + f"\n# {i}"))
    table = tmp_path / "results.csv"
    command = [sys.executable, str(script), str(folder), str(table)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not table.exists() or table.read_text().count("\n") < 10:
        assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    rows = table.read_text().count("\n") - 1
    assert 9 <= rows < 150 and "--resume" in said

    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with open(table, encoding="utf-8", newline="") as file:
        found_rows = list(csv.DictReader(file))
    assert sorted(row["student"] for row in found_rows) == [f"student{i:03}" for i in range(150)]
    assert {float(row["total"]) for row in found_rows} == {10.0}


def test_packages_are_found_as_text_also_after_they_were_imported():
    from transformers import CLIPModel  # noqa: F401  which puts a Path into the spec of its package

    assert located("transformers") and all(isinstance(path, str) for path in located("transformers"))
