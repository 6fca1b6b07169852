"""The course's own checkpoints: trained by `make checkpoints`, embedded in `data/`, verified before they are used."""

import json

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from course_lib.errors import FileError
from course_lib.files import embedded, manifest


def names() -> list[str]:
    """The checkpoints there are."""
    files = (name.removeprefix("checkpoints/") for name in manifest() if name.startswith("checkpoints/"))
    return sorted(name.removesuffix(".safetensors") for name in files if name.endswith(".safetensors"))


def load(name: str) -> tuple[dict, dict[str, torch.Tensor], dict]:
    """A checkpoint of the course.

        config, state_dict, card = load("clip")
        model = CLIP(CLIPConfig.from_dict(config))
        model.load_state_dict(state_dict)
        tokenizer = WordTokenizer(card["vocabulary"])

    Args:
        name: "vision" (the densely supervised backbone) or "clip".

    Returns:
        The model's configuration, its weights by name, and its card: how it was made and what it reached.

    Raises:
        FileError: there is no such checkpoint, or it is missing or damaged.
    """
    if name not in names():
        raise FileError(
            f"the course has no checkpoint {name!r}: it has {', '.join(names()) or 'none; run make checkpoints'}"
        )
    weights, card = embedded(f"checkpoints/{name}.safetensors"), embedded(f"checkpoints/{name}.json")
    mend = f"restore it with git checkout data/checkpoints/{name}"
    try:
        card = json.loads(card.read_text(encoding="utf-8"))
        config = card["config"]
    except (ValueError, KeyError, TypeError) as error:
        raise FileError(f"the card {name}.json cannot be read: {mend}.json") from error
    try:
        return config, load_file(weights), card
    except SafetensorError as error:
        raise FileError(f"{name}.safetensors is no safetensors file: {mend}.safetensors") from error
