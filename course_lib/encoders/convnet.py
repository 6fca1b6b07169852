"""The course's small convolutional network: it learns the microworld in a minute on two cores, where a ViT does not."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.layers.checks import check_pixel_values
from course_lib.layers.convolution import ConvBlock
from course_lib.layers.patches import pair
from course_lib.layers.pooling import AttentionPool2d


@dataclass(frozen=True)
class ConvNetConfig:
    """Sizes of a `ConvNet`: a convolution for each entry of `channels`, with the stride of the same place."""

    image_size: int | tuple[int, int] = 64
    channels: tuple[int, ...] = (24, 48, 96, 96)
    strides: tuple[int, ...] = (2, 2, 2, 1)
    heads: int = 4
    in_channels: int = 3

    @property
    def width(self) -> int:
        """Channels of the last feature map."""
        return self.channels[-1]

    @property
    def grid(self) -> tuple[int, int]:
        """(H, W) of the last feature map."""
        height, width = pair(self.image_size)
        for stride in self.strides:
            height, width = math.ceil(height / stride), math.ceil(width / stride)
        return height, width


class ConvTrunk(nn.Module):
    """The convolutions alone, for what needs places and not one vector: detection, captions, question answering.

    Source: Simonyan and Zisserman, Very Deep Convolutional Networks (3 x 3 throughout), with strides for the pooling.
    """

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, h, w), with `config.width` = D and `config.grid` = (h, w).

        Raises:
            InputError: the pictures are not of the configured size, or none is given.
        """
        check_pixel_values(pixel_values, self.config.in_channels, pair(self.config.image_size))
        # Convolutions on a CPU are faster when a place's channels lie side by side in memory.
        return self.stages(pixel_values.contiguous(memory_format=torch.channels_last))

    def __init__(self, config: ConvNetConfig):
        super().__init__()
        if len(config.channels) != len(config.strides) or not config.channels:
            raise InputError(
                f"channels has {len(config.channels)} entries and strides {len(config.strides)}; "
                "give at least one of each, and as many"
            )
        self.config = config
        sizes = zip((config.in_channels, *config.channels), config.channels, config.strides, strict=False)
        self.stages = nn.Sequential(*(ConvBlock(*size) for size in sizes))


class ConvNet(nn.Module):
    """Convolutions, then attention pooling: CLIP's ResNet in small.

    Source: Radford et al., CLIP, section 2.4 (attention pooling in the place of the average).
    """

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D).

        Raises:
            InputError: the pictures are not of the configured size, or none is given.
        """
        return self.pool(self.forward_features(pixel_values))

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, h, w), the last feature map."""
        return self.trunk(pixel_values)

    def __init__(self, config: ConvNetConfig):
        super().__init__()
        self.config = config
        self.width, self.grid = config.width, config.grid
        self.trunk = ConvTrunk(config)
        self.pool = AttentionPool2d(self.grid[0] * self.grid[1], config.width, config.heads)
