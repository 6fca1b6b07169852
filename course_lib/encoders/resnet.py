"""ResNet."""

from dataclasses import dataclass

from torch import Tensor, nn

from course_lib.layers.checks import check_pixel_values
from course_lib.layers.residual import BasicBlock, Bottleneck


@dataclass(frozen=True)
class ResNetConfig:
    """Sizes of a `ResNet`; the defaults are ResNet-18's, `ResNetConfig((3, 4, 6, 3), bottleneck=True)` is ResNet-50.

    `layers` are the blocks of each stage, `width` the channels of the first; each later stage has twice as many.
    `stem_kernel` and `stem_stride` are those of the first convolution; small pictures want 3 and 1, and no `stem_pool`
    (section 4.2 of the paper).
    """

    layers: tuple[int, ...] = (2, 2, 2, 2)
    bottleneck: bool = False
    width: int = 64
    stem_kernel: int = 7
    stem_stride: int = 2
    stem_pool: bool = True
    channels: int = 3

    @property
    def out_channels(self) -> int:
        """Channels of the last feature map."""
        return self.width * 2 ** (len(self.layers) - 1) * (Bottleneck if self.bottleneck else BasicBlock).expansion


class ResNet(nn.Module):
    """Blocks that add to what they are given, so that a hundred of them in a row can be trained; then the mean.

    Source: He et al., Deep Residual Learning for Image Recognition, figure 3 and table 1.
    """

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W), any size -> (B, D), the mean of the last feature map.

        Raises:
            InputError: wrong shape, or no picture.
        """
        return self.forward_features(pixel_values).mean((2, 3))

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H / 32, W / 32), the last feature map; less is divided with another stem."""
        check_pixel_values(pixel_values, self.config.channels, None)
        feature_map = self.stem_pool(self.stem_activation(self.stem_norm(self.stem(pixel_values))))
        for stage in self.stages:
            feature_map = stage(feature_map)
        return feature_map

    def __init__(self, config: ResNetConfig | None = None):
        super().__init__()
        self.config = config = config or ResNetConfig()
        self.width = config.out_channels
        kernel = config.stem_kernel
        self.stem = nn.Conv2d(config.channels, config.width, kernel, config.stem_stride, kernel // 2, bias=False)
        self.stem_norm = nn.BatchNorm2d(config.width)
        self.stem_activation = nn.ReLU(inplace=True)
        self.stem_pool = nn.MaxPool2d(3, 2, 1) if config.stem_pool else nn.Identity()
        block = Bottleneck if config.bottleneck else BasicBlock
        self.stages = nn.ModuleList()
        in_channels = config.width
        for stage, count in enumerate(config.layers):
            channels, stride = config.width * 2**stage, 1 if stage == 0 else 2
            blocks = [block(in_channels, channels, stride)]
            in_channels = channels * block.expansion
            blocks += [block(in_channels, channels) for _ in range(count - 1)]
            self.stages.append(nn.Sequential(*blocks))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
