"""CLIP's ResNet."""

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from course_lib.layers.checks import check_pixel_values
from course_lib.layers.convolution import AveragingBottleneck
from course_lib.layers.patches import pair
from course_lib.layers.pooling import AttentionPool2d


@dataclass(frozen=True)
class CLIPResNetConfig:
    """Sizes of a `CLIPResNet`; the defaults are CLIP's RN50."""

    image_size: int | tuple[int, int] = 224
    layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: int = 64
    heads: int = 32

    @property
    def grid(self) -> tuple[int, int]:
        """(H, W) of the last feature map."""
        height, width = pair(self.image_size)
        return height // 32, width // 32


class CLIPResNet(nn.Module):
    """A ResNet-D with blurred strides and attention pooling, the first of CLIP's two families of image encoders.

    Source: Radford et al., CLIP, section 2.4; He et al., Bag of Tricks, figure 2 (the three-convolution stem, and the
    shortcut that averages first); Zhang, Making Convolutional Networks Shift-Invariant Again (average, then stride).
    """

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 32 · width).

        Raises:
            InputError: the pictures are not of the configured size, or none is given.
        """
        return self.pool(self.forward_features(pixel_values))

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 32 · width, H / 32, W / 32), the last feature map."""
        check_pixel_values(pixel_values, 3, pair(self.config.image_size))
        feature_map = self.stem(pixel_values)
        for stage in self.stages.values():
            feature_map = stage(feature_map)
        return feature_map

    def __init__(self, config: CLIPResNetConfig):
        super().__init__()
        self.config, self.width, self.grid = config, 32 * config.width, config.grid
        half, full = config.width // 2, config.width
        self.stem = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(3, half, 3, 2, 1, bias=False), bn1=nn.BatchNorm2d(half), act1=nn.ReLU(inplace=True),
                conv2=nn.Conv2d(half, half, 3, 1, 1, bias=False), bn2=nn.BatchNorm2d(half), act2=nn.ReLU(inplace=True),
                conv3=nn.Conv2d(half, full, 3, 1, 1, bias=False), bn3=nn.BatchNorm2d(full), act3=nn.ReLU(inplace=True),
                pool=nn.AvgPool2d(2),
            )
        )  # fmt: skip
        self.stages = nn.ModuleDict()
        channels = full
        for number, layers in enumerate(config.layers, 1):
            inner, stride = full * 2 ** (number - 1), 1 if number == 1 else 2
            blocks = [AveragingBottleneck(channels, inner, stride)]
            blocks += [AveragingBottleneck(4 * inner, inner) for _ in range(layers - 1)]
            self.stages[str(number)] = nn.Sequential(*blocks)
            channels = 4 * inner
        self.pool = AttentionPool2d(self.grid[0] * self.grid[1], self.width, config.heads)
