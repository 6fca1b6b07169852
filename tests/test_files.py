"""Files are written whole or not at all, and verified before they are read."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from course_lib import files
from course_lib.authoring.lessons import root_folder
from course_lib.errors import FileError


@pytest.fixture
def data(tmp_path: Path, monkeypatch) -> Path:
    """A data folder with one embedded file."""
    folder = tmp_path / "data"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints/clip.bin").write_bytes(b"weights")
    files.write_manifest(folder)
    monkeypatch.setattr(files, "data_folder", lambda: folder)
    return folder


def test_a_file_is_written_with_its_folder(tmp_path):
    for content in (b"abc", "abc", lambda path: path.write_text("abc")):
        path = files.write_atomically(tmp_path / "a" / "b.txt", content)
        assert path.read_bytes() == b"abc"
    assert [each.name for each in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_a_file_may_be_read_by_whom_any_other_may(tmp_path):
    other = tmp_path / "other"
    other.write_text("")
    assert files.write_atomically(tmp_path / "a", "").stat().st_mode == other.stat().st_mode


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full: free some space"),
        (errno.EDQUOT, "your disk quota is used up"),
        (errno.EROFS, "the disk is read-only: choose a folder you can write to"),
        (errno.EACCES, "you may not write there"),
        (errno.EIO, "choose another place"),
    ],
)
@pytest.mark.parametrize("when", ["writing", "making the folder", "renaming"])
def test_a_failed_write_changes_nothing_and_says_why(tmp_path, monkeypatch, number, said, when):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    path = tmp_path / "kept" / "a.txt"
    files.write_atomically(path, "old")
    content = "new"
    if when == "writing":
        content = fail
    elif when == "renaming":
        monkeypatch.setattr(files.os, "replace", fail)
    else:
        monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(FileError, match=f"^cannot write a.txt: .*{said}.*; nothing was changed$"):
        files.write_atomically(path, content)
    assert path.read_text() == "old"
    assert [each.name for each in path.parent.iterdir()] == ["a.txt"]


def test_a_really_full_disk(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with pytest.raises(FileError, match="the disk is full"), files.writing(tmp_path / "a"):
        with open("/dev/full", "wb", buffering=0) as full:
            full.write(b"x")


def test_a_path_below_a_file(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(FileError, match="cannot write b.txt"):
        files.write_atomically(tmp_path / "a" / "b.txt", "")


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def interrupt(path: Path):
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write_atomically(tmp_path / "a", interrupt)
    assert list(tmp_path.iterdir()) == []


def test_an_embedded_file_is_verified(data):
    path = files.embedded("checkpoints/clip.bin")
    assert path.read_bytes() == b"weights"
    path.write_bytes(b"weightz")
    with pytest.raises(FileError, match="clip.bin is damaged .* git checkout data/checkpoints/clip.bin"):
        files.embedded("checkpoints/clip.bin")
    path.unlink()
    with pytest.raises(FileError, match="clip.bin is missing: restore it"):
        files.embedded("checkpoints/clip.bin")
    with pytest.raises(FileError, match="embeds no file 'other.bin': `course doctor` lists"):
        files.embedded("other.bin")


@pytest.mark.parametrize("content", ["", "{", None])
def test_a_damaged_manifest(data, content):
    (data / "manifest.json").write_text(content) if content is not None else (data / "manifest.json").unlink()
    with pytest.raises(FileError, match="manifest.json is missing or damaged: restore it"):
        files.embedded("checkpoints/clip.bin")


def test_the_manifest_of_the_course_holds():
    """Every file below data/ is in the manifest with its own hash, and nothing else is."""
    folder = files.data_folder()
    listed = json.loads((folder / "manifest.json").read_text())
    there = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json" and not path.name.startswith(".")
    }
    assert listed.keys() == there.keys()
    for name, path in there.items():
        assert listed[name] == {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "mine"))
    assert files.cache_folder() == tmp_path / "mine"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(FileError, match="^cannot write below"):
        files.cache_folder()


@pytest.mark.slow
def test_an_installed_wheel_brings_its_data(tmp_path):
    """The wheel, unpacked where nothing else is, finds and verifies every embedded file: what Colab gets."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(build, cwd=root_folder(), check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    code = (
        "from course_lib import files\nprint(files.data_folder())\nfor name in files.manifest(): files.embedded(name)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    assert Path(found.stdout.strip()) == installed / "course_lib" / "_data"
    tops = {path.name for path in installed.iterdir()}
    assert tops == {"course_lib", next(name for name in tops if name.endswith(".dist-info"))}
