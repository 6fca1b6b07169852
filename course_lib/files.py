"""Files of the course: where they are, how one is written so that none is ever half there, how one is verified.

Every file the course ships is named with its SHA-256 in `data/manifest.json`; `embedded` verifies it before it is read.
"""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from course_lib.errors import FileError

MANIFEST = "manifest.json"


def data_folder() -> Path:
    """The folder of embedded data: `data/` of a clone, or the copy that an installed wheel carries."""
    package = Path(__file__).resolve().parent
    clone, wheel = package.parent / "data", package / "_data"
    for folder in (wheel, clone):
        if folder.is_dir():
            return folder
    raise FileError("the course's data folder is missing: install the course again, or run from a clone")


def cache_folder() -> Path:
    """Where the course keeps what it remembers between runs (progress, interrupted training), made on first use.

    `$COURSE_CACHE`, else the user's cache folder.
    """
    root = os.environ.get("COURSE_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "vlm-course"
    )
    folder = Path(root)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the operating system says about a failed write into one sentence.

    Raises:
        FileError: the disk is full, read-only, or the place may not be written.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, FileError):
            raise
        reason = {
            errno.ENOSPC: "the disk is full: free some space and run this again",
            errno.EDQUOT: "your disk quota is used up: free some space and run this again",
            errno.EROFS: "the disk is read-only: choose a folder you can write to",
            errno.EACCES: "you may not write there: choose a folder you own",
            errno.EPERM: "you may not write there: choose a folder you own",
            errno.ENOTDIR: "part of that path is a file, not a folder: choose another place",
        }.get(error.errno, f"{error.strerror or error}: choose another place or put this right")
        raise FileError(f"cannot write {Path(path).name}: {reason}; nothing was changed") from error


def write_atomically(path: str | Path, content: bytes | str | Callable[[Path], None]) -> Path:
    """Writes a file beside its place and renames it, so that a reader sees the old file or the new one, never a part.

    Args:
        path: where the file goes; its folder is made.
        content: the bytes or text, or a function that writes them to the path it is given.

    Raises:
        FileError: it could not be written; the old file, if any, is as it was and nothing is left beside it.
    """
    path = Path(path)
    temporary = None
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            os.close(handle)
            temporary = Path(name)
            if callable(content):
                content(temporary)
            else:
                temporary.write_bytes(content.encode() if isinstance(content, str) else content)
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            os.replace(temporary, path)
            temporary = None
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
    return path


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def verify(path: str | Path, expected: str, mend: str = "fetch it again") -> Path:
    """Checks that a file is there and has the SHA-256 it should have.

    Args:
        path: the file.
        expected: its SHA-256.
        mend: what the reader should do when it is not so, as the end of a sentence.

    Raises:
        FileError: it is missing or its bytes are not those expected.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path.name} is missing: {mend}")
    if (found := sha256(path)) != expected:
        raise FileError(
            f"{path.name} is damaged (its SHA-256 begins {found[:12]}, it should begin {expected[:12]}): {mend}"
        )
    return path


def manifest(folder: Path | None = None) -> dict[str, dict]:
    """The embedded files: path below `data/` -> {"sha256", "bytes"}."""
    folder = folder or data_folder()
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(
            "data/manifest.json is missing or damaged: restore it with git checkout data/manifest.json"
        ) from error


def embedded(name: str) -> Path:
    """An embedded file, verified against the manifest: `embedded("checkpoints/clip.safetensors")`.

    Raises:
        FileError: no such file is embedded, or it is missing or damaged.
    """
    entries = manifest()
    if name not in entries:
        raise FileError(f"the course embeds no file {name!r}: `course doctor` lists those it does")
    return verify(data_folder() / name, entries[name]["sha256"], f"restore it with git checkout data/{name}")


def write_manifest(folder: Path | None = None) -> None:
    """Lists every embedded file anew; run after one of them was made again (`make data`, `make checkpoints`)."""
    folder = folder or data_folder()
    entries = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST and not path.name.startswith(".")
    }
    write_atomically(folder / MANIFEST, json.dumps(entries, indent=1, sort_keys=True) + "\n")
