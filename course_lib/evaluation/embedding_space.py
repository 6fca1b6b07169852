"""The shape of a space in which images and texts meet: are pairs close, is the space used, do the two kinds mix?"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.data.microworld.reading import is_true, read
from course_lib.data.microworld.world import Scene
from course_lib.errors import InputError

# ---------------------------------------------------------------- alignment and uniformity


def alignment(first: Tensor, second: Tensor, alpha: float = 2.0) -> float:
    """How far apart the two of a pair are: the mean of `|x_i - y_i| ** alpha`. 0 is best.

    Args:
        first: `(N, D)`, rows of length 1.
        second: `(N, D)`, rows of length 1; row `i` belongs to row `i` of `first`.
        alpha: the power.

    Raises:
        InputError: the shapes do not fit, or a row is not of length 1.

    Source: Wang and Isola 2020, "Understanding Contrastive Representation Learning through Alignment and Uniformity on
        the Hypersphere", section 4.1.1.
    """
    _check_pairs(first, second)
    return (first - second).norm(dim=-1).pow(alpha).mean().item()


def uniformity(embeds: Tensor, t: float = 2.0) -> float:
    """How evenly vectors fill the sphere: the log of the mean of `exp(-t |x_i - x_j|^2)` over pairs. Lower is better.

    0 if all are one; for vectors spread evenly over a sphere of many dimensions, near `-2 t`, since two of them are
    at a right angle and so at a squared distance of 2.

    Args:
        embeds: `(N, D)`, rows of length 1, N > 1.
        t: how local the measure is.

    Raises:
        InputError: fewer than two rows, or a row that is not of length 1.

    Source: Wang and Isola 2020, section 4.1.2.
    """
    _check_unit("embeds", embeds)
    if len(embeds) < 2:
        raise InputError("one vector cannot be spread: give at least two")
    return torch.pdist(embeds).square().mul(-t).exp().mean().log().item()


# ---------------------------------------------------------------- the modality gap


def modality_gap(image_embeds: Tensor, text_embeds: Tensor) -> Tensor:
    """`(D,)` from the texts' centre to the images'; its length is the size of the gap.

    Args:
        image_embeds: `(N, D)`, rows of length 1.
        text_embeds: `(M, D)`, rows of length 1.

    Raises:
        InputError: the widths differ, there is none, or a row is not of length 1.

    Source: Liang et al. 2022, "Mind the Gap", the embedding shift experiment.
    """
    for name, embeds in (("image_embeds", image_embeds), ("text_embeds", text_embeds)):
        _check_unit(name, embeds)
    if image_embeds.shape[1] != text_embeds.shape[1]:
        raise InputError(f"images have {image_embeds.shape[1]} dimensions, texts {text_embeds.shape[1]}: one space?")
    return image_embeds.mean(dim=0) - text_embeds.mean(dim=0)


def move_apart(image_embeds: Tensor, text_embeds: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Shifts both clouds along the gap, each by half, and puts the vectors back on the sphere.

    Args:
        image_embeds: `(N, D)`, rows of length 1.
        text_embeds: `(M, D)`, rows of length 1.
        share: of the gap, by which it grows; -1 closes it (but for the way back to the sphere), 0 leaves all as it is.

    Returns:
        Images and texts after the shift, rows of length 1.

    Raises:
        InputError: as `modality_gap`.

    Source: Liang et al. 2022, "Mind the Gap", the embedding shift experiment and figure 3.
    """
    half = share / 2 * modality_gap(image_embeds, text_embeds)
    return F.normalize(image_embeds + half, dim=-1), F.normalize(text_embeds - half, dim=-1)


# ---------------------------------------------------------------- false negatives


def fitting_pairs(scenes: Sequence[Scene], captions: Sequence[str]) -> Tensor:
    """`(S, C)` bool: whether caption `c` is true of scene `s`, as a reader of the microworld's sentences finds it.

    Raises:
        InputError: a caption that cannot be read.
    """
    claims = [read(caption) for caption in captions]
    return torch.tensor([[is_true(claim, scene) for claim in claims] for scene in scenes], dtype=torch.bool)


def false_negative_rate(positives: Tensor) -> float:
    """The share of a batch's negatives, the pairs off the diagonal, that fit all the same.

    Args:
        positives: `(B, B)` bool, true where image `i` and text `j` fit.

    Raises:
        InputError: it is not square, or has no negative.
    """
    if positives.ndim != 2 or positives.shape[0] != positives.shape[1] or len(positives) < 2:
        raise InputError(f"positives has shape {tuple(positives.shape)}; it should be (pairs, pairs), two or more")
    off = ~torch.eye(len(positives), dtype=torch.bool, device=positives.device)
    return positives.bool()[off].double().mean().item()


def _check_pairs(first: Tensor, second: Tensor) -> None:
    _check_unit("first", first)
    _check_unit("second", second)
    if first.shape != second.shape:
        raise InputError(f"{tuple(first.shape)} and {tuple(second.shape)} are not pairs: give two of one shape")


def _check_unit(name: str, embeds: Tensor) -> None:
    if embeds.ndim != 2 or 0 in embeds.shape:
        raise InputError(f"{name} has shape {tuple(embeds.shape)}; it should be (rows, embedding size), neither 0")
    if not torch.allclose(embeds.norm(dim=-1), torch.ones(()).to(embeds), atol=1e-3):
        raise InputError(f"a row of {name} is not of length 1 (or not finite): divide each row by its length first")
