"""The vision transformer."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.layers.blocks import PreNormBlock, Transformer
from course_lib.layers.checks import check_pixel_values
from course_lib.layers.patches import PatchEmbedding, pair, prepend


@dataclass(frozen=True)
class ViTConfig:
    """Sizes of a `ViT`; the defaults are ViT-B/16's."""

    image_size: int | tuple[int, int] = 224
    patch_size: int | tuple[int, int] = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    activation: str = "gelu"
    layer_norm_eps: float = 1e-6
    attention_dropout: float = 0.0
    channels: int = 3

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of patches."""
        (height, width), (rows, columns) = pair(self.image_size), pair(self.patch_size)
        return height // rows, width // columns


class ViT(nn.Module):
    """Patches and a class token through a transformer; the class token ends as the picture's vector.

    Source: Dosovitskiy et al., An Image Is Worth 16x16 Words, section 3.1, equations 1 to 4.
    """

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D), the normalised class token.

        Raises:
            InputError: the pictures are not of the configured size, or none is given.
        """
        return self.post_norm(self.transformer(self.embed(pixel_values), read=0))

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1 + N, D): class token, then patches row by row, all normalised."""
        return self.post_norm(self.transformer(self.embed(pixel_values)))

    def embed(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1 + N, D): class token and patches with their positions, as the first block gets them."""
        check_pixel_values(pixel_values, self.config.channels, pair(self.config.image_size))
        tokens = prepend(self.class_embedding, self.patch_embedding(pixel_values))
        return tokens + self.position_embedding

    def __init__(self, config: ViTConfig | None = None):
        super().__init__()
        self.config = config = config or ViTConfig()
        width, eps = config.width, config.layer_norm_eps
        self.width = width
        self.patch_embedding = PatchEmbedding(config.channels, config.image_size, config.patch_size, width)
        self.grid = self.patch_embedding.grid
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.position_embedding = nn.Parameter(torch.randn(1 + self.grid[0] * self.grid[1], width) * 0.02)
        self.transformer = Transformer(
            lambda: PreNormBlock(
                width, config.heads, config.mlp_width, config.activation, eps, config.attention_dropout
            ),
            config.layers,
        )
        self.post_norm = nn.LayerNorm(width, eps)


class ViTTrunk(ViT):
    """A ViT of which the patches are read and not the class token: for what needs places and not one vector."""

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, h, w), the patches as a feature map, normalised.

        Raises:
            InputError: the pictures are not of the configured size, or none is given.
        """
        return self.feature_map(self.forward_features(pixel_values))

    def feature_map(self, tokens: Tensor) -> Tensor:
        """(B, 1 + N, D) -> (B, D, h, w): the class token left out, the patches where they lie in the picture."""
        return tokens[:, 1:].transpose(1, 2).unflatten(2, self.grid)
