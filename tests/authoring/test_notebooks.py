"""The builder of notebooks: same source, same bytes; nothing stored that may not be; exercises from solutions."""

import json
import shutil
from pathlib import Path

import nbformat
import pytest

from course_lib.authoring import notebooks
from course_lib.authoring.lessons import Lesson, root_folder
from course_lib.authoring.notebooks import BuildError
from course_lib.errors import FileError

HEADER = """# %% [markdown] tags=["course-header"]
# # A lesson
#
# What it is about.

"""
LESSON = (
    HEADER
    + """# %%
print("two and two:", 2 + 2)

# %%
x = 1

# %%
x = 1

# %% [markdown]
# The end.
"""
)
GRADED = '"grade": true, "locked": true, "schema_version": 3, "solution": false'
SOLUTION = (
    HEADER
    + f"""# %% nbgrader={{"grade": false, "grade_id": "ex-1", "locked": false, "schema_version": 3, "solution": true}}
def double(x: int) -> int:
    \"\"\"Twice x.\"\"\"
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% nbgrader={{"grade_id": "ex-1-test", "points": 2, {GRADED}}}
assert double(2) == 4
### BEGIN HIDDEN TESTS
assert double(21) == 42
### END HIDDEN TESTS

# %% [markdown] nbgrader={{"grade_id": "ex-2", "points": 1, {GRADED.replace("false", "true")}}}
# Because the loss is symmetric.
"""
)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with one lesson and one exercise set."""
    for folder in ("notebooks/source", "solutions/source", "exercises"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(root_folder() / "pyproject.toml", tmp_path)
    (tmp_path / "notebooks/source/06_clip.py").write_text(LESSON)
    (tmp_path / "solutions/source/06_clip.py").write_text(SOLUTION)
    return tmp_path


def lesson(clone: Path, text: str) -> Path:
    source = clone / "notebooks/source/06_clip.py"
    source.write_text(HEADER + text)
    return source


def quietly(_: str) -> None:
    pass


def test_the_same_source_gives_the_same_notebook(clone):
    source = clone / "notebooks/source/06_clip.py"
    first, second = (notebooks.convert(source, "notebooks/06_clip.ipynb", clone) for _ in range(2))
    assert nbformat.writes(first) == nbformat.writes(second)
    names = [cell["id"] for cell in first.cells]
    assert len(set(names)) == len(names)
    assert names[4] == names[3] + "-2"  # the two equal cells
    # Another cell before them changes no other cell's name.
    lesson(clone, "# %%\nprint(0)\n\n" + LESSON.removeprefix(HEADER))
    third = notebooks.convert(source, "notebooks/06_clip.ipynb", clone)
    assert [cell["id"] for cell in third.cells if cell["id"] in names] == names


def test_the_header_links_to_colab_where_the_project_file_says(clone):
    notebook = notebooks.convert(clone / "notebooks/source/06_clip.py", "notebooks/06_clip.ipynb", clone)
    header, install = notebook.cells[:2]
    assert header.source.startswith(
        "# A lesson\n\n[![Open in Colab](attachment:colab.png)](https://colab.research.google.com"
    )
    assert "/blob/main/notebooks/06_clip.ipynb)" in header.source
    assert "What it is about." in header.source
    assert "git+https://github.com/vlm-course/vlm-course@main" in install.source
    text = (clone / "pyproject.toml").read_text()
    (clone / "pyproject.toml").write_text(
        text.replace('repository = "vlm-course/vlm-course"', 'repository = "ann/vlm"')
    )
    moved = notebooks.convert(clone / "notebooks/source/06_clip.py", "notebooks/06_clip.ipynb", clone)
    assert "github/ann/vlm/blob" in moved.cells[0].source and "github.com/ann/vlm@main" in moved.cells[1].source


def test_a_source_without_a_header_is_refused(clone):
    source = clone / "notebooks/source/06_clip.py"
    source.write_text("# %%\nx = 1\n")
    with pytest.raises(BuildError, match="06_clip.py has 0 cells tagged"):
        notebooks.convert(source, "notebooks/06_clip.ipynb", clone)


@pytest.mark.slow
def test_a_rebuild_without_a_change_writes_nothing(clone):
    source, built = clone / "notebooks/source/06_clip.py", clone / "notebooks/06_clip.ipynb"
    assert notebooks.in_step(source, clone) == ["notebooks/06_clip.ipynb is not built: run make notebooks"]
    assert notebooks.build(source, clone, say=quietly) == [built]
    before = built.read_bytes()
    assert notebooks.build(source, clone, say=quietly) == []
    assert built.read_bytes() == before
    assert notebooks.in_step(source, clone) == []
    notebook = json.loads(before)
    assert notebook["cells"][2]["outputs"][0]["text"] == ["two and two: 4\n"]
    assert notebook["metadata"]["language_info"] == {"name": "python"}
    assert "execution" not in notebook["cells"][2]["metadata"]
    # Executed again, all but the time it took is as it was.
    assert notebooks.build(source, clone, force=True, say=quietly) == [built]
    again = json.loads(built.read_text())
    again["metadata"]["course"]["seconds"] = notebook["metadata"]["course"]["seconds"]
    assert again == notebook
    # A changed source is built again.
    source.write_text(LESSON.replace("2 + 2", "2 + 3"))
    assert "another text" in notebooks.in_step(source, clone)[0]
    assert notebooks.build(source, clone, say=quietly) == [built]
    assert "two and two: 5" in built.read_text()
    # A notebook that was edited by hand is found out.
    built.write_text(built.read_text().replace("x = 1", "x = 2"))
    assert "edited by hand" in notebooks.in_step(source, clone)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# %%\n1 / 0\n", "ZeroDivisionError"),
        ("# %%\nimport warnings\nwarnings.warn('old')\n", "writes to stderr"),
        ("# %%\nimport sys\nprint('x', file=sys.stderr)\n", "writes to stderr"),
        ("# %%\nimport os\nprint(os.getcwd())\n", "a place on this machine"),
        ("# %%\nimport torch\ntorch.__file__\n", "a place on this machine"),
        ("# %%\nobject()\n", "an address in memory"),
        ('# %% tags=["raises-exception"]\nint("x")\n', "stores an error"),
        (
            "# %%\nfrom course_lib.errors import InputError\nraise InputError('a wrong shape')\n",
            "^a cell failed: a wrong shape$",
        ),
    ],
)
def test_what_no_notebook_may_store_is_refused_and_nothing_is_written(clone, text, said):
    source = lesson(clone, text)
    with pytest.raises(BuildError, match=said):
        notebooks.build(source, clone, say=quietly)
    assert [path.name for path in (clone / "notebooks").iterdir()] == ["source"]


@pytest.mark.slow
def test_exercises_are_solutions_with_stubs(clone):
    source = clone / "solutions/source/06_clip.py"
    written = notebooks.build(source, clone, say=quietly)
    assert written == [clone / "solutions/06_clip.ipynb", clone / "exercises/06_clip.ipynb"]
    solution, exercise = (notebooks.read(path) for path in written)
    code = [cell for cell in exercise.cells if cell.cell_type == "code"]
    assert code[1].source == (
        'def double(x: int) -> int:\n    """Twice x."""\n    # YOUR CODE HERE\n    raise NotImplementedError()'
    )
    assert code[2].source == "assert double(2) == 4"
    assert exercise.cells[-1].source == "YOUR ANSWER HERE"
    assert code[1].metadata["nbgrader"] == {
        "grade": False, "grade_id": "ex-1", "locked": False, "schema_version": 3, "solution": True,
    }  # fmt: skip
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert [cell["id"] for cell in exercise.cells][2:] == [cell["id"] for cell in solution.cells][2:]
    assert "blob/main/exercises/06_clip.ipynb" in exercise.cells[0].source
    assert "return 2 * x" in solution.cells[2].source
    assert notebooks.in_step(source, clone) == []
    assert notebooks.build(source, clone, say=quietly) == []


@pytest.mark.slow
def test_what_a_learner_wrote_stays_until_its_source_changes(clone):
    source, exercise = clone / "solutions/source/06_clip.py", clone / "exercises/06_clip.ipynb"
    notebooks.build(source, clone, say=quietly)
    exercise.write_text(exercise.read_text().replace("raise NotImplementedError()", "return x + x"))
    assert notebooks.build(source, clone, say=quietly) == []
    assert "return x + x" in exercise.read_text()
    assert notebooks.build(source, clone, force=True, say=quietly)
    assert "return x + x" not in exercise.read_text()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("### END SOLUTION", "", "has no END SOLUTION"),
        ('"solution": true}\ndef', '"solution": false}\ndef', '"solution": true'),
        ("### END SOLUTION", "### BEGIN SOLUTION\n    ### END SOLUTION", "begins inside another"),
    ],
)
def test_a_wrong_region_is_refused(clone, old, new, said):
    source = clone / "solutions/source/06_clip.py"
    source.write_text(SOLUTION.replace(old, new))
    with pytest.raises(BuildError, match=said):
        notebooks.build(source, clone, say=quietly)


@pytest.mark.slow
def test_nbgrader_makes_the_same_exercises(clone):
    from nbgrader.preprocessors import ClearHiddenTests, ClearSolutions

    notebook = notebooks.convert(clone / "solutions/source/06_clip.py", "exercises/06_clip.ipynb", clone)
    theirs = nbformat.from_dict(notebook)
    for preprocessor in (ClearSolutions(), ClearHiddenTests()):
        theirs, _ = preprocessor.preprocess(theirs, {})
    ours = notebooks.clear_solutions(notebook)
    assert [cell.source for cell in ours.cells] == [cell.source for cell in theirs.cells]


@pytest.mark.slow
def test_a_lesson_runs_without_a_browser(clone):
    said = []
    copy = notebooks.run(Lesson("06", "clip", "CLIP", True), clone, said.append)
    assert copy == clone / "build/06_clip.ipynb"
    assert "two and two: 4" in said
    assert notebooks.read(copy).cells[2].outputs[0].text == "two and two: 4\n"
    assert not (clone / "notebooks/06_clip.ipynb").exists()


def test_an_execution_sees_nothing_of_the_one_before(clone):
    first, second = (notebooks.kernel_environment(clone)["COURSE_CACHE"] for _ in range(2))
    assert first != second and list(Path(first).iterdir()) == list(Path(second).iterdir()) == []


@pytest.mark.slow
def test_what_a_browser_would_show_is_left_out_of_what_is_printed(clone):
    lesson(
        clone,
        """# %% [markdown]
# ## The heading

# %%
from IPython.display import HTML, Markdown, display

from course_lib.runtime import progress

for _ in progress(range(2)):
    pass
display(HTML("<b>bold</b>"), Markdown("*text*"))
[1, 2]
""",
    )
    said = []
    notebooks.run(Lesson("06", "clip", "CLIP", True), clone, said.append)
    assert said == ["\n--- A lesson\n", "\n--- The heading\n", "*text*", "[1, 2]"]


def test_a_lesson_whose_copy_cannot_be_written_is_not_begun(clone, monkeypatch):
    (clone / "build").write_text("a file where the folder should be")
    monkeypatch.setattr(notebooks, "execute", lambda *_: pytest.fail("it was executed"))
    with pytest.raises(FileError, match="^cannot write 06_clip.ipynb: "):
        notebooks.run(Lesson("06", "clip", "CLIP", True), clone, quietly)


@pytest.mark.parametrize("content", ["", "{}", '{"cells": 1}', "not a notebook"])
def test_a_damaged_notebook_is_one_sentence(clone, content):
    (clone / "notebooks/06_clip.ipynb").write_text(content)
    with pytest.raises(FileError, match="^06_clip.ipynb is no notebook: restore it"):
        notebooks.run(Lesson("06", "clip", "CLIP", True), clone, quietly)


@pytest.mark.slow
def test_a_lesson_that_fails_keeps_what_came_before(clone):
    lesson(clone, "# %%\nprint('before')\n\n# %%\nraise KeyError('gone')\n")
    with pytest.raises(BuildError, match="KeyError: 'gone'"):
        notebooks.run(Lesson("06", "clip", "CLIP", True), clone, quietly)
    kept = notebooks.read(clone / "build/06_clip.ipynb")
    assert kept.cells[2].outputs[0].text == "before\n"


@pytest.mark.parametrize("source", notebooks.sources(), ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_every_notebook_of_the_course_is_in_step_with_its_source(source):
    assert notebooks.in_step(source) == []


@pytest.mark.parametrize("source", notebooks.sources(), ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_no_notebook_of_the_course_stores_what_it_may_not(source):
    built = notebooks.read(source.parent.parent / f"{source.stem}.ipynb")
    assert notebooks.blemishes(built, root_folder()) == []
