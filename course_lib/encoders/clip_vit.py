"""CLIP's vision transformer."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.layers.blocks import PreNormBlock, Transformer
from course_lib.layers.checks import check_pixel_values
from course_lib.layers.patches import PatchEmbedding, pair, prepend


@dataclass(frozen=True)
class CLIPViTConfig:
    """Sizes of a `CLIPViT`; the defaults are CLIP's ViT-B/32."""

    image_size: int | tuple[int, int] = 224
    patch_size: int | tuple[int, int] = 32
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    activation: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    attention_dropout: float = 0.0
    channels: int = 3


class CLIPViT(nn.Module):
    """Patches and a class token through a transformer; the class token ends as the picture's vector.

    CLIP's differs from the original in one extra LayerNorm before the first block, and no bias in the patch embedding.

    Source: Dosovitskiy et al., An Image Is Worth 16x16 Words, section 3.1; Radford et al., CLIP, section 2.4.
    """

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D), the normalised class token.

        Raises:
            InputError: the pictures are not of the configured size, or none is given.
        """
        return self.post_norm(self.transformer(self.embed(pixel_values), read=0))

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1 + N, D): class token, then patches row by row, as the last block leaves them."""
        return self.transformer(self.embed(pixel_values))

    def embed(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1 + N, D): class token and patches with their positions, as the first block gets them."""
        check_pixel_values(pixel_values, self.config.channels, pair(self.config.image_size))
        tokens = prepend(self.class_embedding, self.patch_embedding(pixel_values))
        return self.pre_norm(tokens + self.position_embedding)

    def __init__(self, config: CLIPViTConfig):
        super().__init__()
        self.config = config
        width, eps = config.width, config.layer_norm_eps
        self.patch_embedding = PatchEmbedding(config.channels, config.image_size, config.patch_size, width, bias=False)
        self.grid = self.patch_embedding.grid
        self.width = width
        # Small enough that a token does not drown its position, nor the other way round (open_clip's choice).
        self.class_embedding = nn.Parameter(torch.randn(width) * width**-0.5)
        self.position_embedding = nn.Parameter(torch.randn(1 + self.grid[0] * self.grid[1], width) * width**-0.5)
        self.pre_norm = nn.LayerNorm(width, eps)
        self.transformer = Transformer(
            lambda: PreNormBlock(
                width, config.heads, config.mlp_width, config.activation, eps, config.attention_dropout
            ),
            config.layers,
        )
        self.post_norm = nn.LayerNorm(width, eps)
