"""Environments beside .venv: another Python or other versions, with a kernel in which notebooks are compared.

Kept in build/. What runs the comparison is this environment's pytest; what is compared runs in the other one.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from course_lib.errors import CourseError, FileError
from course_lib.files import write_atomically

PYTHONS = ("3.13", "3.11", "3.12")  # those that the course runs on, in the order in which another one is looked for


class EnvironmentProblem(CourseError):
    """An environment could not be made, or is not what it should be."""


def find_python(version: str) -> Path:
    """A Python of this version on this machine.

    Args:
        version: "3.13".

    Raises:
        FileError: there is none; the message says what to install.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    named = [shutil.which(f"python{version}"), shutil.which("python3"), shutil.which("python")]
    for candidate in [sys.executable, *filter(None, named), *sorted(pyenv.glob(f"{version}.*/bin/python"))]:
        # A name on the PATH may be a shim that refuses to run, so each is asked.
        asked = subprocess.run(
            [candidate, "-c", "import sys; print(sys.base_prefix, *sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0 and asked.stdout.split()[1:] == version.split("."):
            inside = Path(asked.stdout.split()[0]) / "bin" / f"python{version}"
            return inside if inside.is_file() else Path(candidate)
    raise FileError(
        f"no Python {version} is on this machine: install it (Debian, Ubuntu: apt install python{version}-venv; "
        f"pyenv: pyenv install {version}), and run this again"
    )


def make(uv: str | Path, folder: Path, version: str, install: list[str]) -> Path:
    """Makes an environment anew, with pip in it, and installs into it.

    Args:
        uv: the program.
        folder: where; what was there goes.
        version: of Python.
        install: what follows `uv pip`: ["install", "-r", "versions.txt"], say. Tried without a network first.

    Returns:
        its python.

    Raises:
        FileError: there is no such Python.
        EnvironmentProblem: uv could not install this; the message is uv's own, which names what does not fit.
    """
    base = find_python(version)
    python = folder / "bin" / "python"
    _call([str(uv), "venv", "--quiet", "--clear", "--seed", "--python", str(base), str(folder)])
    command = [str(uv), "pip", install[0], "--quiet", "--python", str(python), *install[1:]]
    if subprocess.run([*command, "--offline"], capture_output=True, check=False).returncode:
        _call(command)
    return python


def install(uv: str | Path, python: Path, arguments: list[str]) -> None:
    """Installs something more beside a python: what follows `uv pip install`."""
    _call([str(uv), "pip", "install", "--quiet", "--python", str(python), *arguments])


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentProblem(f"`{' '.join(command[1:4])}` failed:\n{done.stderr.strip()}")


def installed(python: Path) -> dict[str, str]:
    """What is installed beside a python: canonical name -> version."""
    code = (
        "import importlib.metadata, json\n"
        "print(json.dumps({d.name: d.version for d in importlib.metadata.distributions() if d.name}))"
    )
    listed = json.loads(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout)
    from course_lib.authoring.lock import canonical

    return {canonical(name): version for name, version in listed.items()}


def add_kernel(python: Path, name: str) -> Path:
    """Describes a kernel that runs this python; `JUPYTER_PATH` with the folder given back makes Jupyter find it."""
    share = python.parent.parent / "share" / "course"
    described = {
        "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": name,
        "language": "python",
    }
    write_atomically(share / "kernels" / name / "kernel.json", json.dumps(described))
    return share


def kernel_with_the_course(uv: str | Path, version: str, root: Path) -> tuple[str, Path]:
    """The locked packages and this clone on another Python, in build/pythonX.Y; made when it is not there as it should.

    Returns:
        (name, folder) of its kernel, for `compare`.

    Raises:
        FileError, EnvironmentProblem: as `make`.
    """
    folder = root / "build" / f"python{version}"
    if (kernel := kernel_in(folder, root)) is not None:
        return kernel
    python = make(uv, folder, version, ["sync", "--require-hashes", str(root / "requirements.lock")])
    install(uv, python, ["--no-deps", "--no-build-isolation", "--editable", str(root)])
    share = add_kernel(python, folder.name)
    write_atomically(folder / "made-from", _made_from(root))
    return folder.name, share


def kernel_in(folder: Path, root: Path) -> tuple[str, Path] | None:
    """The kernel that `kernel_with_the_course` has put into this folder, if it was made of what is in the clone now."""
    stamp = folder / "made-from"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != _made_from(root):
        return None
    return folder.name, folder / "share" / "course"


def another_kernel(root: Path) -> tuple[str, Path] | None:
    """The first kernel of another Python that was prepared in this clone."""
    kernels = (kernel_in(root / "build" / f"python{version}", root) for version in other_pythons())
    return next(filter(None, kernels), None)


def other_pythons() -> list[str]:
    """The versions among `PYTHONS` that this program does not run on."""
    return [version for version in PYTHONS if version != f"{sys.version_info[0]}.{sys.version_info[1]}"]


def _made_from(root: Path) -> str:
    """The clone's place, which an environment holds, and what it asks to be installed."""
    asked = [(root / name).read_bytes() for name in ("requirements.lock", "pyproject.toml")]
    return f"{root}\n{hashlib.sha256(b''.join(asked)).hexdigest()}\n"


def compare(
    notebooks: Iterable[Path], root: Path, variables: dict[str, str], kernel: tuple[str, Path] | None = None
) -> bool:
    """Executes notebooks again and compares their outputs, as `make test` does; pytest reports to the terminal.

    Args:
        notebooks: their files.
        root: the clone.
        variables: set beside those of this process.
        kernel: (name, folder) from `add_kernel`; None for this environment's own.

    Returns:
        whether every output was as stored.
    """
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += ["-c", str(root / "pyproject.toml"), "--rootdir", str(root)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg", "TOKENIZERS_PARALLELISM": "false"}
    environment |= variables
    if kernel is not None:
        command += ["--nbval-kernel-name", kernel[0]]
        environment["JUPYTER_PATH"] = str(kernel[1])
    done = subprocess.run([*command, *map(str, notebooks)], cwd=root, env=environment, check=False)
    return done.returncode == 0
