"""Attention inside windows of a feature map, and windows that are shifted so that neighbours meet."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.layers.attention import MultiHeadAttention


def windows(feature_map: Tensor, size: int) -> Tensor:
    """(B, H, W, D), H and W multiples of `size` -> (B, windows, size², D): the places of each window, row by row."""
    batch, height, width, channels = feature_map.shape
    parts = feature_map.view(batch, height // size, size, width // size, size, channels)
    return parts.transpose(2, 3).reshape(batch, -1, size * size, channels)


def unwindows(parts: Tensor, size: int, height: int, width: int) -> Tensor:
    """(B, windows, size², D) -> (B, height, width, D): undoes `windows`."""
    grid = parts.view(len(parts), height // size, width // size, size, size, -1)
    return grid.transpose(2, 3).reshape(len(parts), height, width, -1)


def neighbours(height: int, width: int, size: int, shift: tuple[int, int]) -> Tensor:
    """Which places of a window lay near each other before the shift.

    Rolling a map brings its first rows beside its last, and its first columns beside its last. Those may not see each
    other.

    Args:
        height, width: of the map, multiples of `size`.
        size: places of a window a side.
        shift: by how many (rows, columns) the map was rolled.

    Returns:
        boolean (windows, size², size²), true where the two places may look at each other.

    Source: Liu et al., Swin Transformer, figure 4.
    """

    def regions(length: int, rolled: int) -> Tensor:
        """2 for what was rolled round to the end, 1 for what is left of the last window, 0 before it."""
        place = torch.arange(length)
        return (place >= length - size).long() + (place >= length - rolled).long()

    region = 3 * regions(height, shift[0])[:, None] + regions(width, shift[1])[None, :]
    part = windows(region[None, :, :, None], size)[0, :, :, 0]
    return part[:, :, None] == part[:, None, :]


class WindowPositionBias(nn.Module):
    """A number for each head and each way (rows, columns) that one place of a window can lie from another.

    Args:
        size: places a side.
        heads: number of attention heads.

    Source: Liu et al., Swin Transformer, equation 4.
    """

    def forward(self) -> Tensor:
        """(heads, size², size²), to be added to the attention scores."""
        return self.table[self.index].permute(2, 0, 1)

    def __init__(self, size: int, heads: int):
        super().__init__()
        self.table = nn.Parameter(torch.empty((2 * size - 1) ** 2, heads))
        nn.init.trunc_normal_(self.table, std=0.02)
        place = torch.cartesian_prod(torch.arange(size), torch.arange(size))  # (size², 2): row, column
        rows, columns = (place[:, None] - place[None, :] + size - 1).unbind(-1)
        self.register_buffer("index", rows * (2 * size - 1) + columns, persistent=False)


class WindowAttention(nn.Module):
    """Multi-head attention in which a place sees its window alone.

    In a shifted layer the map is first rolled by half a window, so that its windows straddle those of the layer before.

    Args:
        width: D.
        heads: number of attention heads.
        size: places of a window a side.
        shift: how far the windows are shifted; 0, or half of `size`.
        dropout: share of attention weights dropped in training.

    Source: Liu et al., Swin Transformer, section 3.2.
    """

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, H, W, D) -> (B, H, W, D). H and W need not be multiples of the window: the rest is filled with zeros."""
        batch, height, width, _ = feature_map.shape
        padded = F.pad(feature_map, (0, 0, 0, -width % self.size, 0, -height % self.size))
        rows, columns = padded.shape[1:3]
        shift = self.shifts(rows, columns)
        parts = windows(padded.roll((-shift[0], -shift[1]), (1, 2)), self.size)
        mixed = self.attention(parts.flatten(0, 1), self.mask(rows, columns).repeat(batch, 1, 1, 1).to(parts.dtype))
        return unwindows(mixed.view_as(parts), self.size, rows, columns).roll(shift, (1, 2))[:, :height, :width]

    def mask(self, rows: int, columns: int) -> Tensor:
        """What is added to the scores in each window, (windows, heads, size², size²): the bias, -inf for the unseen."""
        bias = self.position_bias()
        seen = neighbours(rows, columns, self.size, self.shifts(rows, columns)).to(bias.device)
        return bias.masked_fill(~seen[:, None], float("-inf"))

    def shifts(self, rows: int, columns: int) -> tuple[int, int]:
        """By how much a map is rolled up and left: not at all where it is no longer than one window."""
        return self.shift if rows > self.size else 0, self.shift if columns > self.size else 0

    def __init__(self, width: int, heads: int, size: int, shift: int = 0, dropout: float = 0.0):
        super().__init__()
        self.size, self.shift = size, shift
        self.attention = MultiHeadAttention(width, heads, dropout)
        self.position_bias = WindowPositionBias(size, heads)
