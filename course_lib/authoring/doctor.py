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


def damaged_files() -> list[str]:
    """The embedded files that are not what the manifest says, a sentence each; none if all is well."""
    folder, wrong = data_folder(), []
    for name, entry in manifest().items():
        if not (folder / name).is_file():
            wrong.append(f"data/{name} is missing: restore it with git checkout data/{name}")
        elif sha256(folder / name) != entry["sha256"]:
            wrong.append(f"data/{name} is damaged: restore it with git checkout data/{name}")
    return wrong


def check() -> str:
    """Verifies the embedded files; what the start page calls.

    Raises:
        FileError: one is missing or damaged.
    """
    if wrong := damaged_files():
        raise FileError("; ".join(wrong))
    return "The course is installed and its files are whole."


def _machine() -> list[tuple[str, str]]:
    import torch

    from course_lib.runtime import THREADS, device, scale

    where = device()
    accelerator = torch.cuda.get_device_name() if where.type == "cuda" else f"{os.cpu_count()} cores"
    return [
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("device", f"{where.type} ({accelerator})"),
        ("mixed precision", "none on a CPU" if where.type == "cpu" else
         "bfloat16" if torch.cuda.is_bf16_supported() else "float16"),
        ("threads", f"{THREADS} (what seed_everything sets; torch would take {torch.get_num_threads()})"),
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
    wrong = damaged_files()
    entries = manifest()
    console.print(
        f"embedded files: {len(entries) - len(wrong)} of {len(entries)} whole, "
        f"{sum(entry['bytes'] for entry in entries.values()) / 1e6:.1f} MB",
        highlight=False,
    )
    for sentence in wrong:
        console.print(sentence, style="bold red", highlight=False)
    if needed := [name for name in missing if _requirements()[name]]:
        console.print(f"not installed: {', '.join(needed)}; set the course up again (make lab)", style="bold red")
    return 1 if wrong or needed else 0
