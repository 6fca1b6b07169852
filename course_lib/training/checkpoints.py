"""A trained model on disk: its weights (safetensors) and a card (JSON) saying what they are and how they were made."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from course_lib.errors import FileError
from course_lib.files import sha256, verify, write_atomically


def save_checkpoint(path: str | Path, state_dict: dict[str, torch.Tensor], card: dict) -> Path:
    """Writes `NAME.safetensors` and, beside it, `NAME.json`: the card, with the weights' SHA-256 and sizes added.

    Args:
        path: `.../NAME.safetensors`.
        state_dict: the weights, by name.
        card: what JSON can hold: command, steps, seed, config, results, measured_on ...

    Raises:
        FileError: it cannot be written; what was there is as it was.
    """
    path = Path(path)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in state_dict.items()}
    write_atomically(path, save(weights))
    card = card | {
        "parameters": sum(tensor.numel() for tensor in weights.values()),
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
    }
    write_atomically(path.with_suffix(".json"), json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    return path


def load_checkpoint(path: str | Path) -> tuple[dict[str, torch.Tensor], dict]:
    """The weights, verified against the card beside them, and the card.

    Raises:
        FileError: weights or card are missing, damaged, or do not belong together.
    """
    path = Path(path)
    mend = "make it again with the command in its card, or restore it with git checkout"
    try:
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        expected = card["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(f"the card {path.with_suffix('.json').name} is missing or damaged: {mend}") from error
    verify(path, expected, mend)
    try:
        return load_file(path), card
    except SafetensorError as error:
        raise FileError(f"{path.name} is no safetensors file: {mend}") from error
