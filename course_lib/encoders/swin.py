"""Swin."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from course_lib.layers.checks import check_pixel_values
from course_lib.layers.mlp import MLP
from course_lib.layers.windows import WindowAttention


@dataclass(frozen=True)
class SwinConfig:
    """Sizes of a `Swin`; the defaults are Swin-T's. Each stage has twice the width of the one before."""

    patch_size: int = 4
    width: int = 96
    layers: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    mlp_ratio: float = 4.0
    activation: str = "gelu"
    layer_norm_eps: float = 1e-5
    attention_dropout: float = 0.0
    drop_rate: float = 0.2
    channels: int = 3


class Swin(nn.Module):
    """A transformer whose attention stays in windows, and whose patches are merged four to one between stages.

    So its cost grows with the number of patches and not with its square, and its maps shrink as a CNN's do.

    Source: Liu et al., Swin Transformer: Hierarchical Vision Transformer using Shifted Windows, figure 3.
    """

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W), any size -> (B, D), the mean of the last feature map.

        Raises:
            InputError: wrong shape, or no picture.
        """
        return self.forward_features(pixel_values).mean((2, 3))

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H / 32, W / 32), the last feature map, normalised."""
        check_pixel_values(pixel_values, self.config.channels, None)
        feature_map = self.patch_norm(self.patch_embedding(pixel_values).permute(0, 2, 3, 1))
        for stage in self.stages:
            feature_map = stage(feature_map)
        return self.post_norm(feature_map).permute(0, 3, 1, 2)

    def __init__(self, config: SwinConfig | None = None):
        super().__init__()
        self.config = config = config or SwinConfig()
        eps, patch = config.layer_norm_eps, config.patch_size
        self.width = config.width * 2 ** (len(config.layers) - 1)
        self.patch_embedding = nn.Conv2d(config.channels, config.width, patch, patch)
        self.patch_norm = nn.LayerNorm(config.width, eps)
        drop_rates = np.linspace(0, config.drop_rate, sum(config.layers)).tolist()  # the deeper, the more
        self.stages = nn.ModuleList()
        for stage, count in enumerate(config.layers):
            width, rates = config.width * 2**stage, [drop_rates.pop(0) for _ in range(count)]
            # Every second block has its windows shifted by half of one.
            blocks = [
                SwinBlock(width, config.heads[stage], number % 2 * (config.window // 2), rate, config)
                for number, rate in enumerate(rates)
            ]
            merging = [PatchMerging(width // 2, eps)] if stage else []
            self.stages.append(nn.Sequential(*merging, *blocks))
        self.post_norm = nn.LayerNorm(self.width, eps)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)


class SwinBlock(nn.Module):
    """A pre-norm transformer block with attention in windows.

    Args:
        width: D.
        heads: number of attention heads.
        shift: how far the windows are shifted.
        drop_rate: share of samples whose branches are left out in training.
        config: window, width of the MLP, activation.

    Source: Liu et al., Swin Transformer, figure 3b and equation 3.
    """

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, H, W, D) -> (B, H, W, D)."""
        feature_map = feature_map + self.drop(self.attention(self.norm1(feature_map)))
        return feature_map + self.drop(self.mlp(self.norm2(feature_map)))

    def __init__(self, width: int, heads: int, shift: int, drop_rate: float, config: SwinConfig):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, config.layer_norm_eps)
        self.attention = WindowAttention(width, heads, config.window, shift, config.attention_dropout)
        self.norm2 = nn.LayerNorm(width, config.layer_norm_eps)
        self.mlp = MLP(width, int(width * config.mlp_ratio), config.activation)
        self.drop = StochasticDepth(drop_rate, "row")


class PatchMerging(nn.Module):
    """Four neighbours become one place: their channels side by side, normalised, and half of them kept by a linear map.

    Args:
        width: D.
        layer_norm_eps: added to the variance.

    Source: Liu et al., Swin Transformer, section 3.1.
    """

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, H, W, D) -> (B, H / 2, W / 2, 2 · D), rounded up."""
        even = F.pad(feature_map, (0, 0, 0, feature_map.shape[2] % 2, 0, feature_map.shape[1] % 2))
        corners = [even[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, -1)))

    def __init__(self, width: int, layer_norm_eps: float = 1e-5):
        super().__init__()
        self.norm = nn.LayerNorm(4 * width, layer_norm_eps)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
