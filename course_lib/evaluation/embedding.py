"""Embedding many images or texts for measurement: no gradients, evaluation mode, a batch at a time."""

import contextlib
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F

from course_lib.errors import InputError
from course_lib.runtime import autocast


@contextlib.contextmanager
def measuring(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode (no dropout, batch normalisation by running statistics) and no gradients; then all as before."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in training.items():
            module.training = mode


def embed_images(model: torch.nn.Module, pixel_values: torch.Tensor, batch_size: int = 250) -> torch.Tensor:
    """`(N, D)` image embeddings of length 1, on the CPU.

    Args:
        model: anything with `encode_image(pixel_values) -> (B, D)`.
        pixel_values: `(N, 3, H, W)`, as the model wants them.
        batch_size: how many at once.
    """
    return _embed(model, model.encode_image, pixel_values, batch_size)


def embed_texts(model: torch.nn.Module, input_ids: torch.Tensor, batch_size: int = 250) -> torch.Tensor:
    """`(N, D)` text embeddings of length 1, on the CPU.

    Args:
        model: anything with `encode_text(input_ids) -> (B, D)`.
        input_ids: `(N, L)`.
        batch_size: how many at once.
    """
    return _embed(model, model.encode_text, input_ids, batch_size)


def _embed(model: torch.nn.Module, encode: Callable, inputs: torch.Tensor, batch_size: int) -> torch.Tensor:
    if len(inputs) == 0:
        raise InputError("there is nothing to embed: give at least one row")
    where = next(model.parameters()).device
    with measuring(model), autocast(where):
        return torch.cat(
            [F.normalize(encode(part.to(where)).float(), dim=-1).cpu() for part in inputs.split(batch_size)]
        )
