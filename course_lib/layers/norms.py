"""Normalisation: written out, to be read; and RMSNorm as a layer.

The systems of the course use `torch.nn.LayerNorm` and `torch.nn.BatchNorm2d`, which compute the same in one step.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.errors import InputError


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Each vector to mean 0 and variance 1 over its own D numbers, then scaled and shifted: (..., D) -> (..., D).

    Args:
        x: (..., D).
        weight, bias: (D), learned; None for 1 and 0.
        eps: added to the variance.

    Source: Ba et al., Layer Normalization, equation 4.
    """
    mean = x.mean(-1, keepdim=True)
    variance = (x - mean).square().mean(-1, keepdim=True)  # divided by D, not by D - 1
    return _scale_and_shift((x - mean) / torch.sqrt(variance + eps), weight, bias)


def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Each vector divided by the root of the mean of its squares; nothing is subtracted: (..., D) -> (..., D).

    Source: Zhang and Sennrich, Root Mean Square Layer Normalization, equation 4.
    """
    return _scale_and_shift(x / torch.sqrt(x.square().mean(-1, keepdim=True) + eps), weight, None)


def batch_norm(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Each of C features to mean 0 and variance 1 over the batch: (B, C) or (B, C, ...) -> the same.

    In training with the statistics of this batch, which also move the running ones (in place); otherwise with the
    running ones, so that a sample's result does not depend on its neighbours.

    Args:
        x: (B, C) or (B, C, ...); further dimensions count as more samples.
        running_mean, running_var: (C).
        weight, bias: (C), learned; None for 1 and 0.
        training: whether to use, and to remember, the statistics of this batch.
        momentum: share of the new statistics in the running ones.
        eps: added to the variance.

    Raises:
        InputError: training on a single sample, which has no variance.

    Source: Ioffe and Szegedy, Batch Normalization, algorithm 1 and 2.
    """
    samples = x.transpose(0, 1).flatten(1)  # (C, everything else)
    if training:
        count = samples.shape[1]
        if count < 2:
            raise InputError("batch normalisation needs more than one value a feature in training; give a larger batch")
        mean = samples.mean(1)
        variance = (samples - mean[:, None]).square().mean(1)
        with torch.no_grad():
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(variance * count / (count - 1), momentum)  # the unbiased estimate is kept
    else:
        mean, variance = running_mean, running_var
    shape = (-1,) + (1,) * (x.ndim - 2)
    normalised = (x - mean.view(shape)) / torch.sqrt(variance.view(shape) + eps)
    return _scale_and_shift(
        normalised, None if weight is None else weight.view(shape), None if bias is None else bias.view(shape)
    )


class RMSNorm(nn.Module):
    """Divides each vector by the root of the mean of its squares, and scales it by a learned weight.

    Args:
        width: D.
        eps: added to the mean of squares.

    Source: Zhang and Sennrich, Root Mean Square Layer Normalization, equation 4; used by T5 and Llama.
    """

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        if not hidden_states.is_cpu or hidden_states.dtype != torch.float32:
            return F.rms_norm(hidden_states, self.weight.shape, self.weight, self.eps)
        # A GPU has one kernel for all of it; a CPU would take eight small steps, and where one token is written at a
        # time the number of steps is what takes the time. These are five: length² / D + eps, its root, two products.
        length = torch.linalg.vector_norm(hidden_states, dim=-1, keepdim=True)
        mean_square = torch.addcmul(self.floor, length, length, value=self.share)
        return hidden_states * mean_square.rsqrt() * self.weight

    def __init__(self, width: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps
        self.floor, self.share = torch.tensor(eps, device="cpu"), 1 / width


def _scale_and_shift(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias
