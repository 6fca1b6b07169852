import json

import pytest
import torch

from course_lib.errors import FileError
from course_lib.training.checkpoints import load_checkpoint, save_checkpoint

CARD = {"command": "make checkpoints", "steps": 3, "results": {"R@1": 0.9}}


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    return model, save_checkpoint(tmp_path / "small.safetensors", model.state_dict(), CARD)


def test_what_is_saved_is_loaded_and_the_card_says_what_it_is(saved):
    model, path = saved
    weights, card = load_checkpoint(path)
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert card["parameters"] == 8 and card["results"] == {"R@1": 0.9} and card["bytes"] == path.stat().st_size
    assert sorted(file.name for file in path.parent.iterdir()) == ["small.json", "small.safetensors"]


def test_the_same_weights_give_the_same_bytes(saved, tmp_path):
    model, path = saved
    again = save_checkpoint(tmp_path / "again" / "small.safetensors", model.state_dict(), CARD)
    assert again.read_bytes() == path.read_bytes()


def test_a_changed_byte_is_noticed(saved):
    _, path = saved
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match="small.safetensors is damaged"):
        load_checkpoint(path)


def test_missing_weights_and_missing_or_broken_cards_are_said(saved):
    _, path = saved
    path.unlink()
    with pytest.raises(FileError, match="small.safetensors is missing"):
        load_checkpoint(path)
    path.with_suffix(".json").write_text("{")
    with pytest.raises(FileError, match="card small.json is missing or damaged"):
        load_checkpoint(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(FileError, match="card small.json is missing or damaged"):
        load_checkpoint(path)


def test_a_file_of_another_kind_is_said(saved):
    _, path = saved
    path.write_bytes(b"not weights")
    import hashlib

    path.with_suffix(".json").write_text(json.dumps({"sha256": hashlib.sha256(b"not weights").hexdigest()}))
    with pytest.raises(FileError, match="no safetensors file"):
        load_checkpoint(path)


def test_a_place_that_cannot_be_written_is_said_and_nothing_is_left(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot write small.safetensors"):
        save_checkpoint(tmp_path / "file" / "small.safetensors", {"a": torch.ones(1)}, CARD)
