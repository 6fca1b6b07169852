"""The part "At full scale" of a lesson, to be rehearsed where there is neither a GPU nor a network.

A rehearsal runs the cells of the notebook itself, with `COURSE_SCALE=rehearsal`: every branch of full scale, small
sizes, and stand-ins under the published names. The cells before that part train for minutes, so they are left out but
for what they import, the functions and constants that they define, and what they ask the machine (`runtime`).
"""

import ast
import copy
import re
import textwrap
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from course_lib.authoring.notebooks import execute, kernel_environment
from course_lib.errors import InputError

NEXT = re.compile(r"^## ", re.MULTILINE)
HEADING = re.compile(r"^## +\d+ +At full scale *$", re.MULTILINE)


def section(notebook: NotebookNode) -> NotebookNode:
    """A notebook of two parts: a cell of definitions, and the code cells of the part "At full scale"; a copy.

    Raises:
        InputError: the notebook has no such part.
    """
    cells = [cell for cell in notebook.cells if "course-install" not in cell.metadata.get("tags", [])]
    starts = [i for i, cell in enumerate(cells) if cell.cell_type == "markdown" and HEADING.search(cell.source)]
    if len(starts) != 1:
        raise InputError(f'the notebook has {len(starts)} headings "## N At full scale"; one is needed')
    rest = range(starts[0] + 1, len(cells))
    following = (i for i in rest if cells[i].cell_type == "markdown" and NEXT.search(cells[i].source))
    end = next(following, len(cells))
    earlier = "\n\n".join(definitions(cell.source) for cell in cells[: starts[0]] if cell.cell_type == "code")
    found = copy.deepcopy(notebook)
    found.cells = [new_code_cell(earlier)]
    found.cells += [new_code_cell(cell.source) for cell in cells[starts[0] : end] if cell.cell_type == "code"]
    return found


def definitions(source: str) -> str:
    """What of a cell can be run without the cells before it.

    Imports, functions, classes, constants written out, and questions to the machine.
    """
    source = "\n".join("pass" if line.startswith(("%", "!")) else line for line in source.split("\n"))
    kept = []
    for statement in ast.parse(source).body:
        if _is_known(statement) or isinstance(statement, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
            text = ast.get_source_segment(source, statement)
            if isinstance(statement, ast.FunctionDef) and (statement.args.defaults or statement.decorator_list):
                # What an earlier cell computed may be a default here.
                text = f"try:\n{textwrap.indent(text, '    ')}\nexcept NameError:\n    pass"
            kept.append(text)
    return "\n".join(kept)


def _is_known(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Assign) or not all(isinstance(target, ast.Name) for target in statement.targets):
        return False
    if re.match(r"runtime\.(scale|device)\(", ast.unparse(statement.value)):
        return True
    try:
        ast.literal_eval(statement.value)
    except ValueError:
        return False
    return True


def rehearse(notebook: NotebookNode, root: Path, folder: Path) -> NotebookNode:
    """Runs that part in rehearsal.

    Args:
        notebook: a built lesson.
        root: the clone.
        folder: where the kernel runs.

    Returns:
        the part, executed.

    Raises:
        BuildError: a cell failed.
        InputError: the notebook has no such part.
    """
    part = section(notebook)
    execute(part, folder, kernel_environment(root) | {"COURSE_SCALE": "rehearsal"})
    return part
