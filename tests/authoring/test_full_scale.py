"""What a reader with a GPU runs last in every lesson: its cells, from the notebook, in rehearsal."""

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_lib.authoring import full_scale
from course_lib.authoring.lessons import root_folder
from course_lib.authoring.notebooks import BuildError
from course_lib.errors import InputError

LESSONS = sorted((root_folder() / "notebooks").glob("[0-9][0-9]_*.ipynb"))
LESSONS = [lesson for lesson in LESSONS if not lesson.name.startswith("00")]


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_the_cells_at_full_scale_run(lesson, tmp_path):
    part = full_scale.rehearse(nbformat.read(lesson, as_version=4), root_folder(), tmp_path)
    outputs = [output for cell in part.cells for output in cell.outputs]
    assert outputs and all(output.output_type != "error" and output.get("name") != "stderr" for output in outputs)
    # Branches of small scale say so; in a rehearsal none of them is taken.
    assert "run this on a GPU" not in json.dumps(outputs)


def lesson(*cells):
    head = [
        new_code_cell("import math\nx = slow()\n\n\ndef double(y):\n    return 2 * y"),
        new_markdown_cell("## 1 One"),
    ]
    end = [new_markdown_cell("## 3 Looking back"), new_code_cell("1 / 0")]
    return new_notebook(cells=[*head, new_markdown_cell("# T\n\n## 2 At full scale\n\nIt is."), *cells, *end])


def test_only_that_part_is_taken_and_what_it_needs():
    part = full_scale.section(
        lesson(new_code_cell("print(double(math.pi))"), new_markdown_cell("and"), new_code_cell("y"))
    )
    assert [cell.source for cell in part.cells] == [
        "import math\ndef double(y):\n    return 2 * y",
        "print(double(math.pi))",
        "y",
    ]
    kept = full_scale.definitions(
        "%matplotlib inline\ndevice = runtime.device()\nfull = runtime.scale() == 'full'\nz = x\nz[0] = 2\ny = [1]"
    )
    assert kept == "device = runtime.device()\nfull = runtime.scale() == 'full'\ny = [1]"


def test_a_lesson_without_that_part_is_refused():
    with pytest.raises(InputError, match='0 headings "## N At full scale"'):
        full_scale.section(new_notebook(cells=[new_markdown_cell("## 2 At a small scale")]))


@pytest.mark.slow
def test_a_rehearsal_runs_the_branches_of_full_scale_and_says_what_fails(tmp_path):
    cell = "from course_lib import runtime\nprint(runtime.scale(), runtime.sized(3, 900), runtime.downloads())"
    part = full_scale.rehearse(lesson(new_code_cell(cell)), root_folder(), tmp_path)
    assert part.cells[1].outputs[0].text == "full 3 False\n"
    with pytest.raises(BuildError, match="NameError: name 'x' is not defined"):
        full_scale.rehearse(lesson(new_code_cell("print(x)")), root_folder(), tmp_path)
