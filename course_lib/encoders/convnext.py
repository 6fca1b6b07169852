"""ConvNeXt."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from course_lib.layers.checks import check_pixel_values
from course_lib.layers.convolution import LayerNorm2d
from course_lib.layers.mlp import MLP


@dataclass(frozen=True)
class ConvNeXtConfig:
    """Sizes of a `ConvNeXt`; the defaults are ConvNeXt-T's."""

    patch_size: int = 4
    widths: tuple[int, ...] = (96, 192, 384, 768)
    layers: tuple[int, ...] = (3, 3, 9, 3)
    kernel_size: int = 7
    activation: str = "gelu"
    layer_scale: float = 1e-6
    layer_norm_eps: float = 1e-6
    pool_norm_eps: float = 1e-6
    drop_rate: float = 0.1
    channels: int = 3


class ConvNeXt(nn.Module):
    """A ResNet rebuilt step by step with what the transformers had brought, and no attention.

    Source: Liu et al., A ConvNet for the 2020s, section 2 and figure 4.
    """

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W), any size -> (B, D), the mean of the last feature map, normalised.

        Raises:
            InputError: wrong shape, or no picture.
        """
        return self.pool_norm(self.forward_features(pixel_values).mean((2, 3)))

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H / 32, W / 32), the last feature map."""
        check_pixel_values(pixel_values, self.config.channels, None)
        feature_map = self.stem_norm(self.stem(pixel_values))
        for stage in self.stages:
            feature_map = stage(feature_map)
        return feature_map

    def __init__(self, config: ConvNeXtConfig | None = None):
        super().__init__()
        self.config = config = config or ConvNeXtConfig()
        self.width = config.widths[-1]
        patch, eps = config.patch_size, config.layer_norm_eps
        self.stem = nn.Conv2d(config.channels, config.widths[0], patch, patch)
        self.stem_norm = LayerNorm2d(config.widths[0], eps)
        drop_rates = np.linspace(0, config.drop_rate, sum(config.layers)).tolist()  # the deeper, the more
        self.stages = nn.ModuleList()
        for stage, (width, count) in enumerate(zip(config.widths, config.layers, strict=True)):
            downsample = [Downsample(config.widths[stage - 1], width, eps)] if stage else []
            blocks = [ConvNeXtBlock(width, drop_rates.pop(0), config) for _ in range(count)]
            self.stages.append(nn.Sequential(*downsample, *blocks))
        self.pool_norm = nn.LayerNorm(self.width, config.pool_norm_eps)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)


class ConvNeXtBlock(nn.Module):
    """A 7 x 7 convolution of each channel alone, then an MLP at each place; scaled, and added to what came in.

    It is a transformer block whose attention has become a depthwise convolution.

    Args:
        width: D.
        drop_rate: share of samples whose branch is left out in training.
        config: kernel, activation, and the layer scale's first value.

    Source: Liu et al., A ConvNet for the 2020s, figure 4; layer scale: Touvron et al., Going Deeper with Image
    Transformers, section 2.
    """

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, D, H, W) -> (B, D, H, W)."""
        places = self.depthwise(feature_map).permute(0, 2, 3, 1)
        branch = self.layer_scale * self.mlp(self.norm(places))
        return feature_map + self.drop(branch.permute(0, 3, 1, 2))

    def __init__(self, width: int, drop_rate: float, config: ConvNeXtConfig):
        super().__init__()
        kernel = config.kernel_size
        self.depthwise = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width, config.layer_norm_eps)
        self.mlp = MLP(width, 4 * width, config.activation)
        self.layer_scale = nn.Parameter(torch.full((width,), config.layer_scale))
        self.drop = StochasticDepth(drop_rate, "row")


class Downsample(nn.Module):
    """Between two stages: a norm, and a convolution that takes each 2 x 2 places to one.

    Args:
        in_channels: C.
        out_channels: D.
        layer_norm_eps: added to the variance.

    Source: Liu et al., A ConvNet for the 2020s, section 2.6 ("separate downsampling layers").
    """

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H / 2, W / 2), rounded down."""
        return self.convolution(self.norm(feature_map))

    def __init__(self, in_channels: int, out_channels: int, layer_norm_eps: float = 1e-6):
        super().__init__()
        self.norm = LayerNorm2d(in_channels, layer_norm_eps)
        self.convolution = nn.Conv2d(in_channels, out_channels, 2, 2)
