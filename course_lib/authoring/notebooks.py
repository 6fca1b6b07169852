"""From text to notebooks: a jupytext `py:percent` source becomes an executed, cleaned `.ipynb`, the same every time.

`notebooks/source/NN_slug.py` gives `notebooks/NN_slug.ipynb`; `solutions/source/NN_slug.py` gives
`solutions/NN_slug.ipynb` (executed) and `exercises/NN_slug.ipynb` (stubs in the place of solutions, no outputs).

What an author writes beside ordinary cells:

- one Markdown cell tagged `course-header`, first: `# %% [markdown] tags=["course-header"]`. A link to Colab is put
  under its title, and after it comes the cell that installs the course there.
- a Markdown cell tagged `course-lessons` is filled with the table of lessons.
- nbgrader's metadata as cell options: `# %% nbgrader={"grade_id": "06.1", "solution": true, "schema_version": 3, ...}`.
- `### BEGIN SOLUTION` / `### END SOLUTION` and `### BEGIN HIDDEN TESTS` / `### END HIDDEN TESTS`, as in nbgrader.
"""

import argparse
import atexit
import base64
import contextlib
import copy
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jupytext
import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from course_lib.authoring.lessons import Lesson, published, readme_with_table, root_folder, table
from course_lib.errors import CourseError, FileError, InputError
from course_lib.files import write_atomically

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
STUB = "# YOUR CODE HERE\nraise NotImplementedError()"  # nbgrader's own, so that its release version equals ours
TEXT_STUB = "YOUR ANSWER HERE"
TIMEOUT = 1800  # seconds one cell may take


class BuildError(CourseError):
    """A source cannot be built as it is."""


# --- from source to cells ---------------------------------------------------------------------------------------------


def convert(source: Path, target: str, root: Path | None = None) -> NotebookNode:
    """A source as a notebook that was not executed: the same source gives the same bytes.

    Args:
        source: the py:percent file.
        target: the notebook's path in the repository ("notebooks/06_clip.ipynb"), which Colab's link needs.
        root: the clone.

    Raises:
        BuildError: the source has no header cell.
    """
    root = root or root_folder()
    read = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    cells, headers = [], 0
    for cell in read.cells:
        if cell.cell_type == "raw":
            continue  # jupytext keeps what it does not know of the file's front matter in such a cell
        tags = cell.metadata.get("tags", [])
        if "course-lessons" in tags:
            cell.source = table(root, "../")
        if "course-header" in tags:
            headers += 1
            cells += [_header(cell, target, root), _install(root, cell.metadata.get("extra"))]
        else:
            cells.append(cell)
    if headers != 1:
        raise BuildError(f'{source.name} has {headers} cells tagged "course-header"; one is needed, as its first cell')
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": dict(KERNEL), "language_info": {"name": "python"}}, nbformat_minor=5
    )
    notebook.cells = [_clean_cell(cell) for cell in cells]
    _name_cells(notebook)
    notebook.metadata["course"] = {"source_sha256": _fingerprint(notebook)}
    if target.startswith("notebooks/"):
        notebook.metadata["accelerator"] = "GPU"  # what Colab then offers first
    return notebook


def _header(cell: NotebookNode, target: str, root: Path) -> NotebookNode:
    """The header cell with a link to Colab under its title; the notebook holds its picture."""
    repository, branch = published(root)
    link = f"https://colab.research.google.com/github/{repository}/blob/{branch}/{target}"
    title, _, rest = cell.source.partition("\n")
    header = nbformat.v4.new_markdown_cell(
        f"{title}\n\n[![Open in Colab](attachment:colab.png)]({link})\n{rest}".rstrip(), metadata=cell.metadata
    )
    badge = (Path(__file__).parent / "colab.png").read_bytes()
    header["attachments"] = {"colab.png": {"image/png": base64.b64encode(badge).decode()}}
    return header


def _install(root: Path, extra: str | None = None) -> NotebookNode:
    """The cell that installs the course on Colab, with an extra where the header cell names one (`extra="search"`).

    The constraints keep every package at the version Colab ships.
    """
    repository, branch = published(root)
    package = f"vlm-course[{extra}]" if extra else "vlm-course"
    return nbformat.v4.new_code_cell(
        "# On Colab this installs the course and changes no package that is there; elsewhere it does nothing.\n"
        "import importlib.metadata\n"
        "import pathlib\n"
        "import sys\n"
        "\n"
        'if "google.colab" in sys.modules:\n'
        "    kept = {package.name: package.version for package in importlib.metadata.distributions()}\n"
        '    pathlib.Path("kept.txt").write_text("".join(f"{name}=={kept[name]}\\n" for name in kept))\n'
        f'    %pip install --quiet --constraint kept.txt "{package} @ git+https://github.com/{repository}@{branch}"',
        metadata={"tags": ["course-install"]},
    )


def _clean_cell(cell: NotebookNode) -> NotebookNode:
    make = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
    clean = make(
        cell.source, metadata={key: value for key, value in cell.metadata.items() if not key.startswith("lines_to_")}
    )
    if "attachments" in cell:
        clean["attachments"] = cell["attachments"]
    return clean


def _name_cells(notebook: NotebookNode) -> None:
    """Names each cell after its content, so that a rebuild names it the same; equal cells are counted."""
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        name = hashlib.sha256(f"{cell.cell_type}\0{cell.source}".encode()).hexdigest()[:12]
        seen[name] = seen.get(name, 0) + 1
        cell["id"] = name if seen[name] == 1 else f"{name}-{seen[name]}"


def _authored(notebook: NotebookNode) -> list[tuple]:
    """What of a notebook's cells comes from its source: all but outputs and execution counts."""
    return [
        (cell.cell_type, cell["id"], cell.source, cell.metadata, cell.get("attachments", {})) for cell in notebook.cells
    ]


def _fingerprint(notebook: NotebookNode) -> str:
    return hashlib.sha256(json.dumps(_authored(notebook), sort_keys=True).encode()).hexdigest()


# --- exercises --------------------------------------------------------------------------------------------------------


def clear_solutions(notebook: NotebookNode) -> NotebookNode:
    """The exercise set of a solution: stubs for solutions, no hidden tests, no outputs; a copy.

    Raises:
        BuildError: a region is not closed, or stands in a cell that nbgrader would not know to be one of its own.
    """
    exercise = copy.deepcopy(notebook)
    for cell in exercise.cells:
        grading = cell.metadata.get("nbgrader", {})
        stub = STUB if cell.cell_type == "code" else TEXT_STUB
        source, solutions = _replace_regions(cell.source, "SOLUTION", stub)
        source, hidden = _replace_regions(source, "HIDDEN TESTS", None)
        if solutions and not grading.get("solution"):
            raise BuildError(f'a cell holds a solution and has no nbgrader={{"solution": true}}: {_first_line(cell)}')
        if hidden and not grading.get("grade"):
            raise BuildError(f'a cell holds hidden tests and has no nbgrader={{"grade": true}}: {_first_line(cell)}')
        cell.source = stub if grading.get("solution") and not solutions else source
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return exercise


def _replace_regions(source: str, name: str, stub: str | None) -> tuple[str, int]:
    """Replaces what stands between `BEGIN name` and `END name` with the stub, indented alike; how many there were."""
    lines, inside, count = [], False, 0
    for line in source.split("\n"):
        if f"BEGIN {name}" in line:
            if inside:
                raise BuildError(f"a region BEGIN {name} begins inside another")
            inside, count = True, count + 1
            indent = line[: len(line) - len(line.lstrip())]
            lines += [indent + part for part in stub.split("\n")] if stub else []
        elif f"END {name}" in line:
            inside = False
        elif not inside:
            lines.append(line)
    if inside:
        raise BuildError(f"a region BEGIN {name} has no END {name}")
    return "\n".join(lines), count


def _first_line(cell: NotebookNode) -> str:
    return cell.source.split("\n")[0][:80]


# --- execution --------------------------------------------------------------------------------------------------------


def kernel_environment(root: Path) -> dict[str, str]:
    """What notebooks are built and tested in: small scale, two threads, no network, nothing of the user's.

    Nor of an earlier execution: what the course remembers begins empty, in a folder that goes when this process ends.
    `$COURSE_THREADS` asks for another number of threads.
    """
    cache = tempfile.mkdtemp(prefix="course-")
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
    return os.environ | {
        "COURSE_CACHE": cache,
        "COURSE_DEVICE": "cpu",
        "COURSE_SCALE": "small",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "IPYTHONDIR": str(root / "build" / "ipython"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "OMP_NUM_THREADS": os.environ.get("COURSE_THREADS") or "2",
        "OMP_WAIT_POLICY": "passive",
        "PYTHONHASHSEED": "0",
        "TOKENIZERS_PARALLELISM": "false",
    }


class _Client(NotebookClient):
    """Runs cells in this environment's own Python (never in a kernel of the same name installed elsewhere), and tells
    of every output and of every step of a progress bar as it comes."""

    listener: Callable[[int, NotebookNode], None] | None = None
    ticker: Callable[[str], None] | None = None

    def create_kernel_manager(self):
        manager = super().create_kernel_manager()
        manager.kernel_spec_manager = KernelSpecManager(kernel_dirs=[])
        if manager.has_trait("transport_encryption"):
            manager.transport_encryption = "auto"  # other users of the machine cannot listen; else the kernel warns
        return manager

    def process_message(self, msg, cell, cell_index):
        if self.ticker is not None and msg["content"].get("metadata", {}).get("progress"):
            self.ticker(msg["content"]["data"]["text/plain"])
        return super().process_message(msg, cell, cell_index)

    def output(self, outs, msg, display_id, cell_index):
        out = super().output(outs, msg, display_id, cell_index)
        if out is not None and self.listener is not None:
            self.listener(cell_index, out)
        return out


def execute(
    notebook: NotebookNode,
    folder: Path,
    environment: dict[str, str],
    listener: Callable[[int, NotebookNode], None] | None = None,
    ticker: Callable[[str], None] | None = None,
) -> float:
    """Executes a notebook's cells in place.

    Args:
        notebook: the notebook; its cells get outputs.
        folder: the folder its kernel runs in.
        environment: the kernel's environment variables, all of them.
        listener: called with a cell's index and each of its outputs, as they come.
        ticker: called with the text of a progress bar, each time that one moves.

    Returns:
        How long it took, in seconds.

    Raises:
        BuildError: a cell failed; the outputs up to it, its error included, are in the notebook.
    """
    client = _Client(
        notebook,
        timeout=TIMEOUT,
        kernel_name=KERNEL["name"],
        record_timing=False,
        coalesce_streams=True,
        allow_errors=False,
    )
    client.listener, client.ticker = listener, ticker
    start = time.perf_counter()
    try:
        client.execute(cwd=str(folder), env=environment)
    except CellExecutionError as error:
        # A CourseError already is the one sentence to show; of anything else the traceback is worth having.
        if error.ename in ("InputError", "FileError", "OfflineError", "CourseError"):
            raise BuildError(f"a cell failed: {error.evalue}") from None
        raise BuildError(f"a cell failed:\n{_COLOUR.sub('', error.traceback)}") from None
    except (CellTimeoutError, DeadKernelError) as error:
        raise BuildError(f"the kernel gave up: {str(error).splitlines()[0]}") from None
    return time.perf_counter() - start


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_PLACES = re.compile(
    r"(?<![\w.])(?:/(?:home|Users|root|tmp|var/folders)/|[A-Za-z]:\\Users\\)[\w.-]+|site-packages|ipykernel_\d+"
)
_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")


def tidy(notebook: NotebookNode) -> None:
    """Takes out of an executed notebook what differs from one execution to the next without meaning anything."""
    fingerprint = {key: value for key, value in notebook.metadata.items() if key in ("course", "accelerator")}
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": dict(KERNEL), "language_info": {"name": "python"}} | fingerprint
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            output.pop("transient", None)
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)


def blemishes(notebook: NotebookNode, root: Path) -> list[str]:
    """What a notebook must not store: errors, warnings, places and addresses of the machine; one sentence for each."""
    places = [
        str(place)
        for place in {root, Path.home(), Path(tempfile.gettempdir()), Path(sys.prefix)}
        if len(str(place)) > 1
    ]
    found = []
    for number, cell in enumerate(notebook.cells):
        where = f"cell {number} ({_first_line(cell)!r})"
        if cell.cell_type == "code" and cell.source.strip() and cell.execution_count is None:
            found.append(f"{where} was not executed")
        for output in cell.get("outputs", []):
            texts = [output.get("text", "")] + [
                value
                for kind, value in output.get("data", {}).items()
                if isinstance(value, str) and not kind.startswith("image/")
            ]
            text = "\n".join(texts)
            if output.output_type == "error":
                found.append(f"{where} stores an error: {output.ename}: {output.evalue}")
            if output.get("name") == "stderr":
                found.append(f"{where} writes to stderr: {output.text.strip()[:300]}")
            if place := next((place for place in places if place + os.sep in text or text.endswith(place)), None):
                found.append(f"{where} shows a place on this machine: {place}")
            elif match := _PLACES.search(text):
                found.append(f"{where} shows a place on this machine: {match[0]}")
            if match := _ADDRESS.search(text):
                found.append(f"{where} shows an address in memory ({match[0]}), which differs each time")
    return found


# --- building ---------------------------------------------------------------------------------------------------------


def sources(root: Path | None = None) -> list[Path]:
    """Every notebook source of the clone: lessons, exercise sets, and last the start page, which lists them."""
    root = root or root_folder()
    found = [
        path for room in ("notebooks", "solutions") for path in sorted((root / room / "source").glob("[0-9][0-9]_*.py"))
    ]
    return sorted(found, key=lambda path: path.stem.startswith("00"))


def write(notebook: NotebookNode, path: Path) -> None:
    """Writes a notebook as Jupyter does, in one piece."""
    nbformat.validate(notebook)
    write_atomically(path, nbformat.writes(notebook, version=4).rstrip("\n") + "\n")


def read(path: Path) -> NotebookNode:
    """Reads a notebook.

    Raises:
        FileError: the file is not there or is no notebook.
    """
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise FileError(f"{path.name} is missing: build it with make notebooks") from None
    except Exception as error:  # nbformat raises a different type for each way in which JSON can be wrong
        raise FileError(
            f"{path.name} is no notebook: restore it with git checkout, or build it with make notebooks"
        ) from error


def in_step(source: Path, root: Path | None = None) -> list[str]:
    """Whether what is built from a source is what the source says: a sentence for everything that is not."""
    root = root or root_folder()
    room, wrong = source.parent.parent.name, []
    for target, wanted in _wanted(source, root).items():
        path = root / target
        if not path.is_file():
            wrong.append(f"{target} is not built: run make notebooks")
        elif _stale(wanted, path):
            wrong.append(f"{target} was built from another text than {room}/source/{source.name}: run make notebooks")
        elif _authored(read(path)) != _authored(wanted):
            wrong.append(f"{target} was edited by hand: edit {room}/source/{source.name}, then make notebooks FORCE=1")
    return wrong


def _wanted(source: Path, root: Path) -> dict[str, NotebookNode]:
    """What is built from a source, before execution: path in the repository -> notebook."""
    room = source.parent.parent.name
    target = f"{room}/{source.stem}.ipynb"
    wanted = {target: convert(source, target, root)}
    if room == "solutions":
        exercise = f"exercises/{source.stem}.ipynb"
        wanted[exercise] = clear_solutions(convert(source, exercise, root))
    return wanted


def build(
    source: Path, root: Path | None = None, force: bool = False, say: Callable[[str], None] = print
) -> list[Path]:
    """Builds what a source gives, executing it if its text changed since it last was.

    Args:
        source: the py:percent file.
        root: the clone.
        force: execute it even so.
        say: is told what is done.

    Returns:
        The files that were written; none if nothing had changed.

    Raises:
        BuildError: a cell failed, or an output holds what no notebook may store. Nothing is written then.
    """
    root = root or root_folder()
    written = []
    for target, notebook in _wanted(source, root).items():
        path = root / target
        if not force and path.is_file() and not _stale(notebook, path):
            continue  # whoever works in a notebook keeps what they wrote, as long as its source is the same
        if target.startswith("exercises/"):
            write(notebook, path)
            written.append(path)
            continue
        say(f"{target}: executing")
        seconds = execute(notebook, path.parent, kernel_environment(root))
        tidy(notebook)
        if found := blemishes(notebook, root):
            raise BuildError(
                f"{target} is not written, for it would store what no notebook may:\n  " + "\n  ".join(found)
            )
        notebook.metadata["course"]["seconds"] = round(seconds)
        write(notebook, path)
        written.append(path)
        say(f"{target}: written, {seconds:.0f} s")
    return written


def _stale(wanted: NotebookNode, path: Path) -> bool:
    return read(path).metadata.get("course", {}).get("source_sha256") != wanted.metadata["course"]["source_sha256"]


# --- running one lesson -----------------------------------------------------------------------------------------------


def run(lesson: Lesson, root: Path | None = None, say: Callable[[str], None] = print) -> Path:
    """Executes a lesson on this machine as it is (its GPU, its network), printing its results as they come.

    Args:
        lesson: which one.
        root: the clone.
        say: is given the text to print.

    Returns:
        The executed copy, `build/NN_slug.ipynb`.

    Raises:
        BuildError: a cell failed; the copy holds everything up to it.
        FileError: the copy could not be written.
    """
    root = root or root_folder()
    built, copied = root / "notebooks" / f"{lesson.stem}.ipynb", root / "build" / f"{lesson.stem}.ipynb"
    source = root / "notebooks" / "source" / f"{lesson.stem}.py"
    notebook = read(built) if built.is_file() else convert(source, f"notebooks/{lesson.stem}.ipynb", root)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    write(notebook, copied)  # what cannot be written is known before the minutes are spent
    shown = 0

    def listen(index: int, output: NotebookNode) -> None:
        nonlocal shown
        for cell in notebook.cells[shown:index]:
            if cell.cell_type == "markdown" and (heading := re.search(r"^#+ +(.+)$", cell.source, re.MULTILINE)):
                say(f"\n--- {heading[1]}\n")
        shown = max(shown, index)
        if text := _as_text(output):
            say(text)

    def tick(text: str) -> None:
        print(f"\r{text}", end="\n" if "100%|" in text else "", file=sys.stderr, flush=True)

    environment = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "OMP_WAIT_POLICY": "passive"}
    with _kept_whatever_happens(notebook, copied):
        execute(notebook, built.parent, environment, listen, tick if sys.stderr.isatty() else None)
    return copied


@contextlib.contextmanager
def _kept_whatever_happens(notebook: NotebookNode, path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        tidy(notebook)
        write(notebook, path)


def _as_text(output: NotebookNode) -> str:
    """What a terminal shows of an output: its text; of a picture or a progress bar nothing."""
    if output.output_type == "stream":
        return output.text.rstrip("\n")
    if output.output_type == "error":
        return ""
    data = output.get("data", {})
    plain = data.get("text/plain", "")
    if output.metadata.get("progress"):
        return ""
    if re.fullmatch(r"<[\w.]+ (?:object|size).*>", plain):  # the name of what a browser would show
        return data.get("text/markdown", "")
    return plain


def main(arguments: list[str] | None = None) -> None:
    """`python -m course_lib.authoring.notebooks [--force] [NN ...]`: builds and executes what changed."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("lessons", nargs="*", help="numbers of lessons and exercise sets; all of them if none is given")
    parser.add_argument("--force", action="store_true", help="execute them even if their sources did not change")
    options = parser.parse_args(arguments)
    root = root_folder()
    chosen = [source for source in sources(root) if not options.lessons or source.stem[:2] in options.lessons]
    try:
        if not chosen:
            raise InputError(
                f"no source of {', '.join(options.lessons) or 'any notebook'}; there are: "
                + ", ".join(str(source.relative_to(root)) for source in sources(root))
            )
        written = [path for source in chosen for path in build(source, root, options.force)]
        readme = root / "README.md"
        before = readme.read_text(encoding="utf-8")
        if (after := readme_with_table(before, root)) != before:
            write_atomically(readme, after)
    except CourseError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(
        f"{len(written)} of the notebooks written, the others were up to date"
        if written
        else "every notebook was up to date"
    )


if __name__ == "__main__":
    main()
