"""`course doctor`: what is installed beside what Colab ships, the device, and whether the embedded files are whole."""

import importlib.metadata
import os
import platform
import re

from rich.console import Console
from rich.table import Table

from course_lib.authoring.lock import JUPYTER_SIDE, canonical, colab_versions
from course_lib.errors import FileError
from course_lib.files import data_folder, manifest, sha256


def _requirements() -> dict[str, bool]:
    """The packages that the course asks for: canonical name -> is it in every install (or an extra)."""
    asked = importlib.metadata.requires("vlm-course") or []
    return {canonical(re.match(r"[\w.-]+", line)[0]): "extra ==" not in line for line in asked}


def packages() -> list[tuple[str, str | None, str | None]]:
    """The packages that the course asks for or that Colab ships and we have: (name, installed, on Colab), by name."""
    colab = colab_versions()
    installed = {canonical(found.name): found.version for found in importlib.metadata.distributions() if found.name}
    names = sorted(_requirements().keys() | (colab.keys() & installed.keys()))
    return [(name, installed.get(name), colab.get(name)) for name in names]


def embedded_files() -> list[tuple[str, int, str]]:
    """The embedded files as the manifest lists them: (path below data/, bytes, "whole", "missing" or "damaged")."""
    folder, found = data_folder(), []
    for name, entry in manifest().items():
        path = folder / name
        state = "missing" if not path.is_file() else "whole" if sha256(path) == entry["sha256"] else "damaged"
        found.append((name, entry["bytes"], state))
    return found


def _mend(files: list[tuple[str, int, str]]) -> list[str]:
    return [
        f"data/{name} is {state}: restore it with git checkout data/{name}"
        for name, _, state in files
        if state != "whole"
    ]


def check() -> str:
    """Verifies the embedded files; what the start page calls.

    Raises:
        FileError: one is missing or damaged.
    """
    if wrong := _mend(embedded_files()):
        raise FileError("; ".join(wrong))
    return "The course is installed and its files are whole."


def _machine() -> list[tuple[str, str]]:
    import torch

    from course_lib.runtime import device, scale, threads

    where = device()
    accelerator = torch.cuda.get_device_name() if where.type == "cuda" else f"{os.cpu_count()} cores"
    return [
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("device", f"{where.type} ({accelerator})"),
        ("mixed precision", "none on a CPU" if where.type == "cpu" else
         "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"),
        ("threads", f"{threads()} (what seed_everything sets; torch would take {torch.get_num_threads()})"),
        ("scale of the notebooks", scale()),
    ]  # fmt: skip


def main(console: Console | None = None) -> int:
    """Prints the report.

    Returns:
        The exit status: 0, or 1 if a package that the course needs or an embedded file is missing or damaged.
    """
    console = console or Console()
    for what, value in _machine():
        console.print(f"{what}: {value}", highlight=False)
    shown = Table("package", "installed", "on Colab", "", title="Packages", title_justify="left")
    missing = []
    for name, installed, colab in packages():
        note = "not on Colab" if colab is None else "as on Colab" if installed == colab else "differs"
        if note == "differs" and name in JUPYTER_SIDE:
            note = "differs, as it may: Jupyter's side"
        if installed is None:
            note = "not installed"
            missing.append(name)
        shown.add_row(name, installed or "-", colab or "-", note)
    console.print(shown)
    files = embedded_files()
    shown = Table("file below data/", "kB", "SHA-256", title="Embedded files", title_justify="left")
    for name, size, state in files:
        shown.add_row(name, f"{size / 1e3:,.0f}", "as in the manifest" if state == "whole" else state)
    console.print(shown)
    wrong = _mend(files)
    for sentence in wrong:
        console.print(sentence, style="bold red", highlight=False)
    if needed := [name for name in missing if _requirements()[name]]:
        console.print(f"not installed: {', '.join(needed)}; set the course up again (make lab)", style="bold red")
    return 1 if wrong or needed else 0
