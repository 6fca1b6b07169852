"""A picture as a sequence: one token for each patch."""

import torch
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.layers.positions import sinusoidal_positions


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a size given as one number or two."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


class PatchEmbedding(nn.Module):
    """Cuts a picture into patches and maps each to a vector: a convolution whose stride is its kernel.

    Args:
        channels: of the picture, C.
        image_size: its height and width; what is left beyond the last whole patch is not seen.
        patch_size: of a patch.
        width: D.
        bias: whether the map has one (CLIP's has none, SigLIP's has).

    Source: Dosovitskiy et al., An Image Is Worth 16x16 Words, equation 1.
    """

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, N, D), rows of patches one after the other."""
        return self.projection(pixel_values).flatten(2).transpose(1, 2)

    def __init__(
        self,
        channels: int,
        image_size: int | tuple[int, int],
        patch_size: int | tuple[int, int],
        width: int,
        bias: bool = True,
    ):
        super().__init__()
        (height, breadth), (rows, columns) = pair(image_size), pair(patch_size)
        if not 0 < rows <= height or not 0 < columns <= breadth:
            raise InputError(f"a patch of {rows} x {columns} does not fit a picture of {height} x {breadth}")
        self.grid = (height // rows, breadth // columns)
        self.projection = nn.Conv2d(channels, width, (rows, columns), (rows, columns), bias=bias)


def prepend(token: Tensor, tokens: Tensor) -> Tensor:
    """(D), (B, N, D) -> (B, 1 + N, D): the same token before every sequence of the batch."""
    return torch.cat([token.to(tokens.dtype).expand(len(tokens), 1, -1), tokens], 1)


def grid_positions(grid: tuple[int, int], width: int) -> Tensor:
    """(h · w, D), row by row: half of the numbers say in which row a patch lies, half in which column, in sinusoids.

    Learned positions that start so know from the beginning which patches are neighbours.

    Raises:
        InputError: D is no multiple of 4.

    Source: Beyer et al., Better plain ViT baselines for ImageNet-1k, section 2.
    """
    if width % 4:
        raise InputError(
            f"a width of {width} does not divide in sines and cosines of rows and columns: choose 4, 8 ..."
        )
    rows, columns = (sinusoidal_positions(length, width // 2) for length in grid)
    there = torch.cat([rows[:, None].expand(-1, grid[1], -1), columns[None].expand(grid[0], -1, -1)], -1)
    return there.flatten(0, 1)
