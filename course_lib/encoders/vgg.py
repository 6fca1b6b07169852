"""VGG."""

from dataclasses import dataclass

from torch import Tensor, nn

from course_lib.layers.checks import check_pixel_values


@dataclass(frozen=True)
class VGGConfig:
    """Sizes of a `VGG`; the defaults are VGG-11's (the paper's column A).

    `stages`: for each stage the channels of its convolutions; each stage ends by halving height and width. `pooled` is
    the grid that the map is brought to for the first fully connected layer, `hidden` the width of those two layers.
    """

    stages: tuple[tuple[int, ...], ...] = ((64,), (128,), (256, 256), (512, 512), (512, 512))
    pooled: int = 7
    hidden: int = 4096
    dropout: float = 0.5
    channels: int = 3


class VGG(nn.Module):
    """3 x 3 convolutions and nothing else, halved five times, then two fully connected layers.

    Source: Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, table 1.
    """

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W), any size -> (B, hidden).

        Raises:
            InputError: wrong shape, or no picture.
        """
        return self.hidden(self.pool(self.forward_features(pixel_values)).flatten(1))

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H / 32, W / 32), the last feature map."""
        check_pixel_values(pixel_values, self.config.channels, None)
        feature_map = pixel_values
        for stage in self.stages:
            feature_map = stage(feature_map)
        return feature_map

    def __init__(self, config: VGGConfig | None = None):
        super().__init__()
        self.config = config = config or VGGConfig()
        self.width = config.hidden
        self.stages = nn.ModuleList()
        in_channels = config.channels
        for stage in config.stages:
            layers: list[nn.Module] = []
            for channels in stage:
                layers += [nn.Conv2d(in_channels, channels, 3, padding=1), nn.ReLU(inplace=True)]
                in_channels = channels
            self.stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        self.pool = nn.AdaptiveAvgPool2d(config.pooled)
        self.hidden = nn.Sequential(
            nn.Linear(in_channels * config.pooled**2, config.hidden), nn.ReLU(inplace=True), nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden), nn.ReLU(inplace=True), nn.Dropout(config.dropout),
        )  # fmt: skip
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
