import shutil

import pytest
import torch

from course_lib import files
from course_lib.errors import FileError
from course_lib.pretrained import course
from course_lib.training.checkpoints import save_checkpoint


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data folder of its own, with one small checkpoint and a manifest."""
    monkeypatch.setattr(files, "data_folder", lambda: tmp_path)
    save_checkpoint(tmp_path / "checkpoints/small.safetensors", {"weight": torch.arange(6.0)}, {"config": {"width": 6}})
    files.write_manifest(tmp_path)
    return tmp_path


def test_a_checkpoint_comes_with_its_configuration_and_card(data):
    config, state_dict, card = course.load("small")
    assert course.names() == ["small"]
    assert config == {"width": 6}
    assert torch.equal(state_dict["weight"], torch.arange(6.0))
    assert card["parameters"] == 6


def test_an_unknown_name_is_answered_with_those_there_are(data):
    with pytest.raises(FileError, match="no checkpoint 'large': it has small"):
        course.load("large")


@pytest.mark.parametrize("suffix", ["safetensors", "json"])
def test_a_damaged_or_missing_file_is_said_with_what_restores_it(data, suffix):
    path = data / f"checkpoints/small.{suffix}"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(FileError, match=f"small.{suffix} is damaged.*git checkout data/checkpoints/small.{suffix}"):
        course.load("small")
    path.unlink()
    with pytest.raises(FileError, match=f"small.{suffix} is missing.*git checkout"):
        course.load("small")


@pytest.mark.parametrize(
    "content, words", [("[1]", "card small.json cannot be read"), ("{", "card small.json cannot be read")]
)
def test_a_card_that_is_none_is_said(data, content, words):
    (data / "checkpoints/small.json").write_text(content)
    files.write_manifest(data)
    with pytest.raises(FileError, match=words):
        course.load("small")


def test_weights_that_are_none_are_said(data):
    shutil.copy(data / "checkpoints/small.json", data / "checkpoints/small.safetensors")
    files.write_manifest(data)
    with pytest.raises(FileError, match="no safetensors file"):
        course.load("small")
