"""What `pytest --nbval` finds when a stored output is not what the cell gives, and what it lets pass."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from course_lib.authoring import notebooks
from course_lib.authoring.checked_outputs import elsewhere
from course_lib.authoring.environments import another_kernel
from course_lib.authoring.lessons import root_folder

# One cell for each way an output can differ: its text, what is changed in the store, whether nbval must object.
CELLS = {
    "a printed integer": ("print('pairs:', 128)", ("128", "129"), True),
    "a printed word": ("print('seen')", ("seen", "held out"), True),
    "a shown value": ("[1, 2, 3]", ("[1, 2, 3]", "[1, 2, 4]"), True),
    "a measured number": (
        "from course_lib.runtime import measured\nprint('R@1', measured(0.931), 'of 1')",
        ("≈ 0.931", "≈ 0.9"),
        False,
    ),
    "a number beside a measured one": ("print('R@1', measured(0.931), 'of 100')", ("of 100", "of 1000"), True),
    "an HTML table": (
        "from IPython.display import HTML\nHTML('<b>5</b>')",
        ("<b>5</b>", "<b>6</b>"),
        True,
    ),
    "a progress bar": (
        "from course_lib.runtime import progress\nfor _ in progress(range(3), 'steps'):\n    pass\nprint('done')",
        ("100%", " 99%"),
        False,
    ),
    "what stands beside a progress bar": (
        "for _ in progress(range(3)):\n    pass\nprint('loss', 2)",
        ("loss 2", "loss 3"),
        True,
    ),
    "a picture": (
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
        ("iVBORw0KGgo", "iVBORw0KGgp"),
        False,
    ),
    "a picture of another kind": (
        "display({'image/webp': 'UklGRg==', 'text/plain': 'Figure: a curve'}, raw=True)",
        ("UklGRg==", "UklGRh=="),
        False,
    ),
    "the words of a picture": (
        "display({'image/webp': 'UklGRg==', 'text/plain': 'Figure: a curve'}, raw=True)",
        ("a curve", "a grid"),
        True,
    ),
    "a picture that is updated": (
        "figure, axes = plt.subplots()\n"
        "handle = display(figure, display_id=True)\n"
        "for x in range(3):\n"
        "    axes.plot([x, 1])\n"
        "    handle.update(figure)\n"
        "plt.close(figure)",
        ("iVBORw0KGgo", "iVBORw0KGgp"),
        False,
    ),
    "no picture where there was one": ("print('flat')", None, True),
}


@pytest.mark.slow
def test_nbval_finds_what_changed_and_nothing_else(tmp_path: Path):
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(text) for text, _, _ in CELLS.values()]
    notebooks.execute(notebook, tmp_path, notebooks.kernel_environment(root_folder()))
    notebooks.tidy(notebook)
    assert notebooks.blemishes(notebook, root_folder()) == []
    notebooks.write(notebook, tmp_path / "same.ipynb")
    assert _failed(tmp_path / "same.ipynb") == set()

    for cell, (_, change, _) in zip(notebook.cells, CELLS.values(), strict=True):
        if change is None:
            cell.outputs.append(nbformat.v4.new_output("display_data", {"image/png": "", "text/plain": "<Figure>"}))
            continue
        before = nbformat.from_dict({"outputs": cell.outputs})
        cell.outputs = [_changed(output, *change) for output in cell.outputs]
        assert cell.outputs != before.outputs, change
    notebooks.write(notebook, tmp_path / "other.ipynb")
    names = list(CELLS)
    assert {names[number] for number in _failed(tmp_path / "other.ipynb")} == {
        name for name, (_, _, objects) in CELLS.items() if objects
    }


def _changed(output, old: str, new: str):
    if "text" in output:
        output.text = output.text.replace(old, new)
    if "data" in output:
        output.data = {kind: text.replace(old, new) for kind, text in output.data.items()}
    return output


def test_elsewhere_is_every_kind_of_machine():
    lessons = [elsewhere(Path("notebooks", f"{number:02d}_x.ipynb")) for number in range(1, 17)]
    solutions = [elsewhere(Path("solutions", f"{number:02d}_x.ipynb")) for number in range(1, 17)]
    assert {machine.threads for machine in lessons} == {1, 2, 4} and {machine.threads for machine in solutions} == {4}
    for lesson, solution in zip(lessons, solutions, strict=True):
        assert lesson.another_python is not solution.another_python and lesson != solution


@pytest.mark.slow
@pytest.mark.parametrize("name, threads, another", [("03_shows", 2, False), ("02_shows", 1, True)])
def test_elsewhere_is_another_machine(tmp_path: Path, name: str, threads: int, another: bool):
    prepared = another_kernel(root_folder()) if another else None
    prefix = prepared[1].parent.parent if prepared else Path(sys.prefix)
    shown = "import sys, torch\nfrom course_lib.runtime import pin_threads\npin_threads()\n"
    shown += "print(torch.get_num_threads(), torch.backends.cpu.get_cpu_capability(), sys.prefix)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(shown, execution_count=1)])
    output = nbformat.v4.new_output("stream", name="stdout", text=f"{threads} DEFAULT {prefix}\n")
    notebook.cells[0].outputs = [output]
    notebooks.write(notebook, tmp_path / f"{name}.ipynb")
    assert _failed(tmp_path / f"{name}.ipynb", "--elsewhere", cells=1) == set()
    assert _failed(tmp_path / f"{name}.ipynb", cells=1) == {0}


def _failed(path: Path, *options: str, cells: int = len(CELLS)) -> set[int]:
    """The numbers of the cells in which nbval, run as `make test` runs it, finds a difference."""
    root = root_folder()
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--nbval",
            "-q",
            "-rA",
            "-c",
            root / "pyproject.toml",
            "--rootdir",
            root,
            *options,
            path,
        ],
        cwd=root,
        capture_output=True,
        text=True,
    )
    outcomes = dict(re.findall(r"^(?:PASSED|FAILED) \S*::Cell (\d+)()", found.stdout, re.MULTILINE))
    assert len(outcomes) == cells, found.stdout + found.stderr
    return {int(number) for number in re.findall(r"^FAILED \S*::Cell (\d+)", found.stdout, re.MULTILINE)}
