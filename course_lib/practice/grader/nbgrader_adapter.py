"""nbgrader with this grader inside: a class keeps its gradebook, its forms and its feedback; the code runs in the jail.

In the course's `nbgrader_config.py`:

    from course_lib.practice.grader.nbgrader_adapter import configure

    configure(get_config())

After that `nbgrader autograde` (or the button) works as ever, on assignments whose notebook is an exercise set of this
course. nbgrader's own execution, which runs what students hand in with the rights of whoever grades, does not happen.
"""

import atexit
import re
from typing import Any

import nbformat
from nbconvert.preprocessors import ClearMetadataPreprocessor
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    ClearOutput,
    DeduplicateIds,
    IgnorePattern,
    LimitOutput,
    NbGraderPreprocessor,
    OverwriteCells,
    OverwriteKernelspec,
    SaveAutoGrades,
)
from nbgrader.utils import is_grade, is_solution
from traitlets import Unicode

from course_lib.errors import InputError
from course_lib.practice.grader.grade import Grader, Mark

_graders: dict[tuple[str, str | None], Grader] = {}


def grader_of(lesson: str, unsafe_mode: str | None) -> Grader:
    """The grader of a lesson, made once for all students of a run."""
    key = lesson, unsafe_mode
    if key not in _graders:
        _graders[key] = Grader(lesson, unsafe_mode)
        atexit.register(_graders[key].close)
    return _graders[key]


class MendCells(NbGraderPreprocessor):
    """Puts back test cells that lost their marks, and takes nbgrader's mark off copies of cells.

    nbgrader itself gives a notebook without metadata 0 points and says nothing, and stops for everybody where a student
    copied a test cell.
    """

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        seen = set()
        for cell in nb.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if name in seen:
                del cell.metadata["nbgrader"]
            elif name is not None:
                seen.add(name)
        about = resources["nbgrader"]
        with Gradebook(about["db_url"]) as gradebook:
            for graded in gradebook.find_notebook(about["notebook"], about["assignment"]).grade_cells:
                if graded.name in seen:
                    continue
                kept = gradebook.find_source_cell(graded.name, about["notebook"], about["assignment"])
                grading = {
                    "grade_id": graded.name,
                    "grade": True,
                    "solution": False,
                    "task": False,
                    "locked": True,
                    "points": graded.max_score,
                    "cell_type": kept.cell_type,
                    "checksum": kept.checksum,
                    "schema_version": 3,
                }
                nb.cells.append(nbformat.v4.new_code_cell(kept.source, metadata={"nbgrader": grading}))
        return nb, resources


class GradeInJail(NbGraderPreprocessor):
    """Stands where nbgrader executes: grades the notebook in the jail, and says under each test what came of it."""

    unsafe_mode = Unicode(
        None, allow_none=True, help="a weaker protection to make do with, by its name: landlock or bare"
    ).tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        name = resources["nbgrader"]["notebook"]
        lesson = re.match(r"(\d\d)(?!\d)", name)
        if lesson is None:
            raise InputError(f"{name} is no exercise set of the course: those begin with two digits, as 06_clip does")
        grader = grader_of(lesson[1], self.unsafe_mode)
        result = grader.grade(nbformat.writes(nb).encode("utf-8", "surrogatepass"))
        marks = {f"test_{answer}": mark for answer, mark in zip(grader.names, result.marks, strict=True)}
        for cell in nb.cells:
            if cell.cell_type != "code":
                continue
            cell.outputs, cell.execution_count = [], None
            if is_grade(cell) and not is_solution(cell):
                mark = marks.get(cell.metadata.nbgrader.grade_id)
                cell.outputs = [output_of(mark, result.problem)]
        return nb, resources


def output_of(mark: Mark | None, problem: str) -> NotebookNode:
    """What stands under a test cell: an error makes nbgrader give no points, a text gives all."""
    if mark is not None and mark.points == mark.out_of:
        return nbformat.v4.new_output(
            "stream", name="stdout", text=f"{mark.exercise}: all {mark.cases} cases are right\n"
        )
    message = problem or (mark.message if mark is not None else "the course has no exercise for this cell")
    kind = mark.mistake or "error" if mark is not None else "unknown exercise"
    return nbformat.v4.new_output("error", ename=kind, evalue=message, traceback=[f"{kind}: {message}"])


def configure(config: Any) -> None:
    """Puts the jail into an nbgrader configuration, in the place of nbgrader's own execution."""
    config.Autograde.sanitize_preprocessors = [
        ClearOutput,
        MendCells,
        DeduplicateIds,
        OverwriteKernelspec,
        OverwriteCells,
        CheckCellMetadata,
    ]
    config.Autograde.autograde_preprocessors = [
        GradeInJail,
        IgnorePattern,
        ClearMetadataPreprocessor,
        LimitOutput,
        SaveAutoGrades,
        AssignLatePenalties,
        CheckCellMetadata,
    ]
