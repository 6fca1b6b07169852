"""EfficientNet."""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.layers.activations import activation
from course_lib.layers.checks import check_pixel_values
from course_lib.layers.convolution import MBConv


@dataclass(frozen=True)
class EfficientNetConfig:
    """Sizes of an `EfficientNet`. The tuples are the seven stages of B0, the coefficients make B7 of it (ALIGN's).

    `top_channels` are those of a last 1 x 1 convolution, 1280 in the paper's classifiers; ALIGN has none (0).
    `square_padding` numbers the blocks, `square_stem` says of the stem, that are padded alike on all sides.
    `norm_momentum` is for long training; a few hundred steps want 0.1, or the running statistics never get there.
    """

    width_coefficient: float = 2.0
    depth_coefficient: float = 3.1
    depth_divisor: int = 8
    stem_channels: int = 32
    in_channels: tuple[int, ...] = (32, 16, 24, 40, 80, 112, 192)
    out_channels: tuple[int, ...] = (16, 24, 40, 80, 112, 192, 320)
    kernel_sizes: tuple[int, ...] = (3, 3, 5, 3, 5, 5, 3)
    strides: tuple[int, ...] = (1, 2, 2, 2, 1, 2, 1)
    repeats: tuple[int, ...] = (1, 2, 2, 3, 3, 4, 1)
    expansions: tuple[int, ...] = (1, 6, 6, 6, 6, 6, 6)
    squeeze_ratio: float = 0.25
    square_padding: tuple[int, ...] = ()
    square_stem: bool = False
    top_channels: int = 0
    drop_rate: float = 0.2
    activation: str = "silu"
    norm_eps: float = 1e-3
    norm_momentum: float = 0.01
    channels: int = 3

    def scaled(self, channels: int) -> int:
        """That many channels of B0, in this width: a multiple of the divisor, never 10 % less than asked for."""
        wanted = channels * self.width_coefficient
        step = self.depth_divisor
        rounded = max(step, int(wanted + step / 2) // step * step)
        return int(rounded + step if rounded < 0.9 * wanted else rounded)

    @property
    def width(self) -> int:
        """Channels of the last feature map."""
        return self.scaled(self.top_channels or self.out_channels[-1])


class EfficientNet(nn.Module):
    """Mobile inverted bottlenecks in seven stages, wider and deeper together by two coefficients; then the mean.

    Source: Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Networks, table 1 and section 3.3.
    """

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W), any size -> (B, D), the mean of the last feature map.

        Raises:
            InputError: wrong shape, or no picture.
        """
        return self.forward_features(pixel_values).mean((2, 3))

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H / 32, W / 32), the last feature map."""
        check_pixel_values(pixel_values, self.config.channels, None)
        # As TensorFlow pads a strided convolution: less at top and left.
        before = 1 if self.config.square_stem else 0
        feature_map = self.activation(self.stem_norm(self.stem(F.pad(pixel_values, (before, 1, before, 1)))))
        for block in self.blocks:
            feature_map = block(feature_map)
        return feature_map if self.top is None else self.activation(self.top_norm(self.top(feature_map)))

    def __init__(self, config: EfficientNetConfig):
        super().__init__()
        self.config, self.width = config, config.width
        stem_width = config.scaled(config.stem_channels)
        self.stem = nn.Conv2d(config.channels, stem_width, 3, 2, bias=False)
        self.stem_norm = nn.BatchNorm2d(stem_width, eps=config.norm_eps, momentum=config.norm_momentum)
        self.activation = activation(config.activation)
        self.blocks = nn.ModuleList()
        repeats = [math.ceil(config.depth_coefficient * count) for count in config.repeats]
        for stage, count in enumerate(repeats):
            out_channels = config.scaled(config.out_channels[stage])
            for number in range(count):
                first, index = number == 0, len(self.blocks)
                in_channels = config.scaled(config.in_channels[stage]) if first else out_channels
                self.blocks.append(
                    MBConv(
                        in_channels,
                        out_channels,
                        config.kernel_sizes[stage],
                        config.strides[stage] if first else 1,
                        config.expansions[stage],
                        squeezed=max(1, int(in_channels * config.squeeze_ratio)),
                        residual=not first,
                        drop_rate=config.drop_rate * index / sum(repeats),
                        square_padding=index in config.square_padding,
                        activation_name=config.activation,
                        norm_eps=config.norm_eps,
                        norm_momentum=config.norm_momentum,
                    )
                )
        self.top, self.top_norm = None, None
        if config.top_channels:
            self.top = nn.Conv2d(config.scaled(config.out_channels[-1]), config.width, 1, bias=False)
            self.top_norm = nn.BatchNorm2d(config.width, eps=config.norm_eps, momentum=config.norm_momentum)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
