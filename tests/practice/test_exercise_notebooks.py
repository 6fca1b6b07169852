"""The exercise notebooks: in step with their sources and with the definitions, and good for nbgrader as they are."""

import ast
import contextlib
import json
import os
import shutil
import sys
from pathlib import Path

import jupytext
import pytest

from course_lib.authoring.notebooks import in_step
from course_lib.practice.exercise import exercises, solution_source

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "solutions" / "source").glob("[0-9][0-9]_*.py"))


def cells_of(source):
    return jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent").cells


def set_of(source):
    return exercises(source.name[:2])


def solution_cells(source):
    return [cell for cell in cells_of(source) if cell.metadata.get("nbgrader", {}).get("solution")]


def graded_cells(source):
    return [cell for cell in cells_of(source) if cell.metadata.get("nbgrader", {}).get("grade")]


def bare(text, name):
    """The last definition of the name, without what changes nothing: docstrings, annotations, comments, layout."""
    tree = ast.parse(text)
    found = [
        node
        for node in tree.body
        if getattr(node, "name", "") == name
        or (isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name)
    ][-1]
    for node in ast.walk(found):
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(found)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_source_solution_and_stubs_are_in_step(source):
    assert in_step(source) == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_notebook_says_what_the_definition_says(source):
    texts = [cell.source for cell in cells_of(source) if cell.cell_type == "markdown"]
    for one in set_of(source):
        (text,) = [text for text in texts if text.startswith(f"## {one.id} ")]
        assert text.split("\n")[0] == f"## {one.id} {one.title}"
        points = f"{one.points} point{'s' if one.points > 1 else ''}"
        level = "●" * one.difficulty + "○" * (5 - one.difficulty)
        assert f"{level} · {one.minutes} minutes · {points}" in text
        assert "**What.**" in text and "**Why.**" in text
        assert one.asked == "value" or ("**Shapes.**" in text and "**Example.**" in text)
    assert any(f"{sum(one.points for one in set_of(source))} points" in text for text in texts)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_exercise_has_a_stub_and_a_locked_test(source):
    found = {cell.metadata["nbgrader"]["grade_id"]: cell for cell in graded_cells(source)}
    assert len(solution_cells(source)) == len(found) == len(set_of(source))
    for one, stub in zip(set_of(source), solution_cells(source), strict=True):
        test = found[f"test_{one.name}"]
        grading = test.metadata["nbgrader"]
        assert stub.metadata["nbgrader"]["grade_id"] == one.name and not stub.metadata["nbgrader"]["locked"]
        assert grading["locked"] and grading["points"] == one.points and grading["schema_version"] == 3
        assert test.source == f'check("{one.id}", {one.name})'


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_solution_of_the_notebook_is_the_one_that_is_mutated(source):
    for one, cell in zip(set_of(source), solution_cells(source), strict=True):
        assert bare(cell.source, one.name) == bare(solution_source(one), one.name)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_stub_holds_no_line_of_the_solution(source):
    stubs = json.loads((ROOT / "exercises" / f"{source.stem}.ipynb").read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in stubs if cell["cell_type"] == "code")
    for cell in solution_cells(source):
        inside = cell.source.split("### BEGIN SOLUTION")[1:]
        lines = [line.strip() for part in inside for line in part.split("### END SOLUTION")[0].split("\n")]
        telling = [line for line in lines if len(line) > 20]
        assert (telling or "answers" in cell.source) and not [line for line in telling if line in text]
    assert not [cell for cell in stubs if cell.get("outputs")]


def noisy_and_once_wrong(source):
    """The solution's notebook with a first answer that is wrong, and others that warn and print."""
    notebook = json.loads((ROOT / "solutions" / f"{source.stem}.ipynb").read_text(encoding="utf-8"))
    first, *others = set_of(source)
    for cell in notebook["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id")
        text = "".join(cell["source"])
        if name == first.name:
            text += f"\n\n\ndef {name}(*given):\n    return None"
        elif name in {one.name for one in others if one.asked == "function"}:
            noise = 'import warnings\n    warnings.warn("careful")\n    print("here")\n    ### BEGIN'
            text = text.replace("### BEGIN", noise, 1)
        cell["source"] = text
    return notebook


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Object of type")  # nbgrader's own use of its database
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_nbgrader_makes_the_same_stubs_and_gives_the_right_marks(source, tmp_path, monkeypatch):
    """nbgrader's own generate_assignment and autograde, on our notebooks as they are."""
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    name, points = source.stem, sum(one.points for one in set_of(source))
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    tools = Path(sys.executable).parent  # nbgrader calls alembic by its bare name
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    course = tmp_path / "course"
    folder = course / "source" / name
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "solutions" / f"{name}.ipynb", folder)

    config = Config()
    config.CourseDirectory.root = str(course)
    config.CourseDirectory.course_id = "course"
    config.ExecutePreprocessor.timeout = 300
    with contextlib.chdir(course):
        api = NbGraderAPI(config=config)
        made = api.generate_assignment(name)
        assert made["success"], made.get("error") or made.get("log")

        released = json.loads((course / "release" / name / f"{name}.ipynb").read_text())
        ours = json.loads((ROOT / "exercises" / f"{name}.ipynb").read_text())
        both = [["".join(cell["source"]) for cell in notebook["cells"]] for notebook in (released, ours)]
        assert both[0][1:] == both[1][1:]  # the header's link to Colab is each notebook's own

        submissions = {
            "everything": json.loads((ROOT / "solutions" / f"{name}.ipynb").read_text()),
            "nothing": ours,
            "noisy": noisy_and_once_wrong(source),
        }
        for student, notebook in submissions.items():
            place = course / "submitted" / student / name
            place.mkdir(parents=True)
            (place / f"{name}.ipynb").write_text(json.dumps(notebook))
            graded = api.autograde(name, student)
            assert graded["success"], graded.get("error") or graded.get("log")
        with api.gradebook as book:
            scores = {student: book.find_submission(name, student) for student in submissions}
            assert {student: found.max_score for student, found in scores.items()} == dict.fromkeys(submissions, points)
            assert scores["everything"].score == points and not scores["everything"].needs_manual_grade
            assert scores["nothing"].score == 0
            assert scores["noisy"].score == points - set_of(source)[0].points
