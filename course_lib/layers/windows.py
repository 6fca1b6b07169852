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


def neighbours(height: int, width: int, size: int, shift: int) -> Tensor:
    """Which places of a window lay near each other before the shift.

    Rolling a map by `shift` brings its first rows beside its last, and the first columns beside the last. Those may
    not see each other.

    Returns:
        boolean (windows, size², size²), true where the two places may look at each other.

    Source: Liu et al., Swin Transformer, figure 4.
    """

    def regions(length: int) -> Tensor:
        """0 before the last window, 1 in the part of it that stayed, 2 in the part that was rolled round."""
        place = torch.arange(length)
        return (place >= length - size).long() + (place >= length - shift).long()

    region = 3 * regions(height)[:, None] + regions(width)[None, :]
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
        _, height, width, _ = feature_map.shape
        padded = F.pad(feature_map, (0, 0, 0, -width % self.size, 0, -height % self.size))
        rows, columns = padded.shape[1:3]
        # A map of one window has no neighbouring windows to meet.
        shift = [self.shift if length > self.size else 0 for length in (rows, columns)]
        parts = windows(padded.roll([-shift[0], -shift[1]], (1, 2)), self.size)
        mixed = self.attend(parts, self.bias(rows, columns, shift).to(parts))
        mixed = unwindows(mixed, self.size, rows, columns).roll(shift, (1, 2))
        return mixed[:, :height, :width]

    def attend(self, parts: Tensor, bias: Tensor) -> Tensor:
        """(B, windows, T, D), bias (1 or windows, heads, T, T) -> (B, windows, T, D): each window by itself."""
        query, key, value = self.attention.project(parts.flatten(0, 1))
        bias = bias.expand(parts.shape[1], -1, -1, -1).repeat(len(parts), 1, 1, 1)
        dropout = self.attention.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, bias, dropout)
        return self.attention.out(mixed.transpose(1, 2).flatten(2)).view_as(parts)

    def bias(self, rows: int, columns: int, shift: list[int]) -> Tensor:
        """(1, heads, T, T), or (windows, heads, T, T) where the map is shifted: minus infinity where nothing is seen."""
        bias = self.position_bias()[None]
        if shift == [0, 0]:
            return bias
        near = self.near(rows, columns, shift).to(bias.device)
        return bias.masked_fill(~near[:, None], float("-inf"))

    def near(self, rows: int, columns: int, shift: list[int]) -> Tensor:
        """`neighbours`, for a map that is perhaps shifted in one direction only."""
        return neighbours(rows, columns, self.size, shift)

    def __init__(self, width: int, heads: int, size: int, shift: int = 0, dropout: float = 0.0):
        super().__init__()
        self.size, self.shift = size, shift
        self.attention = MultiHeadAttention(width, heads, dropout)
        self.position_bias = WindowPositionBias(size, heads)
