"""What `course doctor` finds."""

import io

import pytest
from rich.console import Console

from course_lib import files
from course_lib.authoring import doctor
from course_lib.errors import FileError


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data folder of one file beside the list of Colab's versions."""
    (tmp_path / "test.json").write_text("{}")
    (tmp_path / "colab_versions.txt").write_bytes((files.data_folder() / "colab_versions.txt").read_bytes())
    files.write_manifest(tmp_path)
    for module in (files, doctor):
        monkeypatch.setattr(module, "data_folder", lambda: tmp_path)
    return tmp_path


def report() -> tuple[int, str]:
    text = io.StringIO()
    return doctor.main(Console(file=text, width=120)), text.getvalue()


def test_all_is_well(data):
    status, text = report()
    assert status == 0
    assert text.count("as in the manifest") == 2
    row = next(line for line in text.splitlines() if "torchvision" in line)
    assert "0.26.0" in row and "as on Colab" in row
    assert "device: " in text and "threads: 2 " in text


def test_a_damaged_file_is_named(data):
    (data / "test.json").write_text("{ }")
    status, text = report()
    assert status == 1
    assert text.count("as in the manifest") == 1
    assert "data/test.json is damaged: restore it with git checkout data/test.json" in text
    with pytest.raises(FileError, match="data/test.json is damaged"):
        doctor.check()


def test_a_missing_file_is_named(data):
    (data / "test.json").unlink()
    status, text = report()
    assert status == 1 and "data/test.json is missing: restore it" in text


def test_a_missing_package_is_named(data, monkeypatch):
    monkeypatch.setattr(doctor, "_requirements", lambda: {"not-there": True, "left-out": False})
    status, text = report()
    assert status == 1 and "not installed: not-there; set the course up again" in text
