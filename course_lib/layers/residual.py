"""Residual blocks: what a layer computes is added to what came in."""

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn


class Shortcut(nn.Sequential):
    """The way round a block whose output has another shape: a 1 x 1 convolution with the block's stride, and a norm.

    (B, C, H, W) -> (B, D, H / stride, W / stride). Source: He et al., Deep Residual Learning, section 3.3, option B.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        convolution = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        super().__init__(OrderedDict(conv=convolution, bn=nn.BatchNorm2d(out_channels)))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions; what came in is added to what they give.

    Args:
        in_channels: C.
        channels: D, of both convolutions.
        stride: 2 halves height and width.

    Source: He et al., Deep Residual Learning, figure 5 left; ResNet-18 and -34.
    """

    expansion = 1

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H / stride, W / stride), rounded up."""
        branch = F.relu(self.bn1(self.conv1(feature_map)))
        branch = self.bn2(self.conv2(branch))
        return F.relu(branch + self.shortcut(feature_map))

    def __init__(self, in_channels: int, channels: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        same = stride == 1 and in_channels == channels
        self.shortcut = nn.Identity() if same else Shortcut(in_channels, channels, stride)


class Bottleneck(nn.Module):
    """1 x 1 to fewer channels, 3 x 3, 1 x 1 to four times as many; what came in is added.

    The stride is in the 3 x 3 convolution, as all published weights have it ("ResNet v1.5").

    Args:
        in_channels: C.
        channels: of the 3 x 3 convolution; 4 times as many come out.
        stride: 2 halves height and width.

    Source: He et al., Deep Residual Learning, figure 5 right; ResNet-50, -101 and -152.
    """

    expansion = 4

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 4 · channels, H / stride, W / stride), rounded up."""
        branch = F.relu(self.bn1(self.conv1(feature_map)))
        branch = F.relu(self.bn2(self.conv2(branch)))
        branch = self.bn3(self.conv3(branch))
        return F.relu(branch + self.shortcut(feature_map))

    def __init__(self, in_channels: int, channels: int, stride: int = 1):
        super().__init__()
        out_channels = self.expansion * channels
        self.conv1, self.bn1 = nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3, self.bn3 = nn.Conv2d(channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
        same = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same else Shortcut(in_channels, out_channels, stride)
