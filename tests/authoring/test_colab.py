"""The parts of `make colab` and `make machines`, which themselves take minutes and environments of gigabytes."""

import shutil
import sys
from pathlib import Path

import nbformat
import pytest

from course_lib.authoring import colab, environments, machines, notebooks
from course_lib.authoring.environments import EnvironmentProblem
from course_lib.authoring.lessons import root_folder
from course_lib.authoring.lock import colab_versions
from course_lib.errors import FileError, InputError

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
HEADER = '# %% [markdown] tags=["course-header"]\n# # A lesson\n\n'


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with one built lesson."""
    (tmp_path / "notebooks/source").mkdir(parents=True)
    shutil.copy(root_folder() / "pyproject.toml", tmp_path)
    source = tmp_path / "notebooks/source/06_clip.py"
    source.write_text(HEADER + "# %%\nprint(2 + 2)\n")
    notebooks.write(
        notebooks.convert(source, "notebooks/06_clip.ipynb", tmp_path), tmp_path / "notebooks/06_clip.ipynb"
    )
    return tmp_path


def test_the_install_cell_is_the_notebooks_own_with_the_clone_as_its_address(clone):
    cell = colab.install_cell(clone / "notebooks/06_clip.ipynb", clone)
    stored = nbformat.read(clone / "notebooks/06_clip.ipynb", as_version=4).cells[1].source
    assert f'"vlm-course @ {clone.as_uri()}"' in cell and "github" not in cell
    assert cell.splitlines()[:-1] == stored.splitlines()[:-1]


def test_a_fork_changes_one_line_and_builds_its_notebooks_again(clone):
    project = clone / "pyproject.toml"
    project.write_text(project.read_text().replace('repository = "vlm-course/vlm-course"', 'repository = "ann/fork"'))
    with pytest.raises(FileError, match=r"no cell that installs git\+https://github.com/ann/fork@main: build it again"):
        colab.install_cell(clone / "notebooks/06_clip.ipynb", clone)
    built = notebooks.convert(clone / "notebooks/source/06_clip.py", "notebooks/06_clip.ipynb", clone)
    notebooks.write(built, clone / "notebooks/06_clip.ipynb")
    assert clone.as_uri() in colab.install_cell(clone / "notebooks/06_clip.ipynb", clone)
    assert "vlm-course/vlm-course" not in nbformat.writes(built) and "ann/fork/blob/main" in built.cells[0].source


def test_every_notebook_of_the_clone_names_the_published_place():
    root = root_folder()
    for notebook in sorted(root.glob("[nse]*/[0-9][0-9]_*.ipynb")):
        assert root.as_uri() in colab.install_cell(notebook, root), notebook.name


def test_what_was_changed_is_named_and_what_was_added_is_not():
    before = {"torch": "2.11.0", "numpy": "2.1.3", "pillow": "11.3.0"}
    assert colab.changes(before, before | {"open-clip-torch": "3.3.0"}) == []
    after = {"torch": "2.12.0", "numpy": "2.1.3"}
    assert colab.changes(before, after) == ["torch was 2.11.0 and is 2.12.0", "pillow was 11.3.0 and is gone"]


def test_a_python_that_is_not_there_is_said_with_what_brings_it():
    assert environments.find_python(VERSION).name.startswith("python")
    with pytest.raises(FileError, match="no Python 3.99 is on this machine: install it"):
        environments.find_python("3.99")


def test_what_is_installed_is_found_by_the_names_of_the_list_of_versions():
    found = environments.installed(Path(sys.executable))
    assert found["open-clip-torch"] and found["torch"] == colab_versions()["torch"]


def test_uvs_own_words_are_given(tmp_path):
    with pytest.raises(EnvironmentProblem, match="`install --no-such` failed:\n.*nothing like it"):
        program = tmp_path / "uv"
        program.write_text("#!/bin/sh\necho there is nothing like it >&2\nexit 2\n")
        program.chmod(0o755)
        environments._call([str(program), "install", "--no-such"])


def test_notebooks_are_chosen_by_number():
    root = root_folder()
    chosen = [str(path.relative_to(root)) for path in machines.chosen_notebooks(root, ["06"])]
    assert chosen == ["notebooks/06_clip.ipynb", "solutions/06_clip.ipynb"]
    with pytest.raises(InputError, match="there is no notebook 99; there are 00_start"):
        machines.chosen_notebooks(root, ["99"])


def test_a_setting_and_lessons_are_chosen_together_and_what_differs_is_named(monkeypatch, capsys):
    compared = []

    def compare(notebooks, root, variables, kernel):
        compared.append((notebooks[0].relative_to(root).as_posix(), variables))
        return notebooks[0].parent.name != "solutions"

    monkeypatch.setattr(environments, "compare", compare)
    with pytest.raises(SystemExit, match=r"differing: solutions/03_\S+ \(threads-4\), solutions/06_\S+ \(threads-4\)"):
        machines.main(["uv", "--on", "threads-4", "06", "03"])  # as `make machines ON=threads-4 LESSON="06 03"` does
    assert [name.split("_")[0] for name, _ in compared] == [
        "notebooks/03",
        "notebooks/06",
        "solutions/03",
        "solutions/06",
    ]
    assert all(variables == {"COURSE_THREADS": "4"} for _, variables in compared)


def test_another_python_is_used_while_it_is_made_of_what_the_clone_asks_for(tmp_path):
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text("as it is")
    version = environments.other_pythons()[0]
    folder = tmp_path / "build" / f"python{version}"
    folder.mkdir(parents=True)
    assert environments.another_kernel(tmp_path) is None, "nothing was made"
    (folder / "made-from").write_text(environments._made_from(tmp_path))
    kernel = (f"python{version}", folder / "share" / "course")
    assert environments.another_kernel(tmp_path) == kernel
    assert environments.kernel_with_the_course("no uv", version, tmp_path) == kernel, "it is not made twice"
    (tmp_path / "requirements.lock").write_text("something newer")
    assert environments.another_kernel(tmp_path) is None
    assert VERSION not in environments.other_pythons()


def test_without_another_python_the_tests_run_in_this_one_and_say_so(tmp_path, monkeypatch):
    def nowhere(version):
        raise FileError(f"no Python {version}")

    monkeypatch.setattr(environments, "find_python", nowhere)
    said = machines.prepare_another_python(tmp_path, "uv")
    assert said == "all notebooks run in this Python: another Python from 3.11 to 3.13 is not on this machine"

    def fails(*_):
        raise EnvironmentProblem("`pip sync` failed:\nno space left")

    monkeypatch.setattr(environments, "find_python", lambda version: Path(sys.executable))
    monkeypatch.setattr(environments, "kernel_with_the_course", fails)
    assert machines.prepare_another_python(tmp_path, "uv").endswith("this Python: `pip sync` failed:\nno space left")


@pytest.mark.slow
def test_the_install_cell_runs_in_a_shell_that_looks_like_colab(tmp_path):
    python = Path(sys.executable)
    colab.run_install_cell("import sys\nassert 'google.colab' in sys.modules\n%alias_magic t time", python, tmp_path)
    for wrong in ("assert 'google.colab' not in sys.modules", "!echo ERROR: no such package"):
        with pytest.raises(EnvironmentProblem, match="the install cell failed"):
            colab.run_install_cell(wrong, python, tmp_path)


@pytest.mark.slow
def test_a_notebook_is_compared_in_the_kernel_of_another_environment(tmp_path):
    name, folder = "another", environments.add_kernel(Path(sys.executable), "another")
    try:
        code = "import os, sys\nprint(os.environ['COURSE_THREADS'], os.environ['OMP_NUM_THREADS'], sys.version_info[0])"
        cell = nbformat.v4.new_code_cell(code, execution_count=1)
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="4 4 3\n")]
        for text, same in (("4 4 3\n", True), ("2 2 3\n", False)):
            cell.outputs[0].text = text
            nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "one.ipynb")
            found = environments.compare(
                [tmp_path / "one.ipynb"], root_folder(), {"COURSE_THREADS": "4"}, (name, folder)
            )
            assert found is same
    finally:
        shutil.rmtree(folder)
