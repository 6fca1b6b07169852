"""Convolution blocks."""

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from course_lib.layers.activations import activation


class ConvBlock(nn.Module):
    """A 3 x 3 convolution, BatchNorm and ReLU.

    Args:
        in_channels: C.
        out_channels: D.
        stride: 2 halves height and width.

    Source: Ioffe and Szegedy, Batch Normalization, section 3.2 (no bias: the norm subtracts it again).
    """

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H / stride, W / stride), rounded up."""
        return self.activation(self.norm(self.convolution(feature_map)))

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = nn.ReLU(inplace=True)
        nn.init.kaiming_normal_(self.convolution.weight, nonlinearity="relu")


class AveragingBottleneck(nn.Module):
    """Fewer channels, a 3 x 3 convolution, four times as many channels; added to what came in.

    A stride is an average over stride x stride places, in the branch and in the shortcut, so that no place is skipped.

    Args:
        in_channels: C.
        channels: of the 3 x 3 convolution; 4 times as many come out.
        stride: 2 halves height and width.

    Source: He et al., Deep Residual Learning, figure 5; the averages: Radford et al., CLIP, section 2.4.
    """

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 4 · channels, H / stride, W / stride)."""
        branch = F.relu(self.bn1(self.conv1(feature_map)))
        branch = F.relu(self.bn2(self.conv2(branch)))
        branch = self.bn3(self.conv3(self.average(branch)))
        return F.relu(branch + self.shortcut(feature_map))

    def __init__(self, in_channels: int, channels: int, stride: int = 1):
        super().__init__()
        out_channels = 4 * channels
        self.conv1, self.bn1 = nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv3, self.bn3 = nn.Conv2d(channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
        self.average = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                OrderedDict(
                    average=nn.AvgPool2d(stride),
                    conv=nn.Conv2d(in_channels, out_channels, 1, bias=False),
                    bn=nn.BatchNorm2d(out_channels),
                )
            )
        nn.init.zeros_(self.bn3.weight)  # each block starts as its shortcut (Goyal et al. 2017, section 5.1)


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm of a feature map: each place by itself, over its channels."""

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return super().forward(feature_map.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SqueezeExcite(nn.Module):
    """Each channel is scaled by a number in (0, 1) that depends on the averages of all channels.

    Args:
        channels: C.
        squeezed: width of the layer between.
        activation_name: after that layer.

    Source: Hu et al., Squeeze-and-Excitation Networks, figure 1.
    """

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        squeezed = self.activation(self.reduce(feature_map.mean((2, 3), keepdim=True)))
        return feature_map * self.expand(squeezed).sigmoid()

    def __init__(self, channels: int, squeezed: int, activation_name: str = "silu"):
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.activation = activation(activation_name)


class MBConv(nn.Module):
    """The mobile inverted bottleneck: more channels, a convolution of each alone, squeeze-excite, fewer channels.

    Args:
        in_channels: C.
        out_channels: D.
        kernel_size: of the depthwise convolution.
        stride: its stride.
        expansion: how many times more channels inside; 1 leaves the first step out.
        squeezed: width inside squeeze-excite.
        residual: whether the input is added, which needs stride 1 and D = C.
        drop_rate: share of samples whose branch is left out in training, where there is a residual.
        square_padding: pads a strided convolution alike on all sides, not one less at top and left as TensorFlow does.
        activation_name: its activation.
        norm_eps: added to the variance.
        norm_momentum: how much of a new batch's statistics enters the running ones.

    Source: Sandler et al., MobileNetV2, figure 3; Tan and Le, EfficientNet, section 4.
    """

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H / stride, W / stride), rounded up."""
        inner = feature_map
        if self.expansion is not None:
            inner = self.activation(self.expansion_norm(self.expansion(inner)))
        inner = self.activation(self.depthwise_norm(self.depthwise(F.pad(inner, self.padding))))
        inner = self.projection_norm(self.projection(self.squeeze_excite(inner)))
        return feature_map + self.drop(inner) if self.residual else inner

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        expansion: int,
        squeezed: int,
        residual: bool,
        drop_rate: float = 0.0,
        square_padding: bool = False,
        activation_name: str = "silu",
        norm_eps: float = 1e-3,
        norm_momentum: float = 0.01,
    ):
        super().__init__()
        channels = in_channels * expansion

        def norm(size: int) -> nn.BatchNorm2d:
            # TensorFlow's momentum of 0.99 is what the old value keeps; PyTorch's is what the new one brings.
            return nn.BatchNorm2d(size, eps=norm_eps, momentum=norm_momentum)

        self.expansion, self.expansion_norm = None, None
        if expansion != 1:
            self.expansion, self.expansion_norm = nn.Conv2d(in_channels, channels, 1, bias=False), norm(channels)
        after = kernel_size // 2
        before = after if stride == 1 or square_padding else after - 1
        self.padding = (before, after, before, after)
        self.depthwise = nn.Conv2d(channels, channels, kernel_size, stride, groups=channels, bias=False)
        self.depthwise_norm = norm(channels)
        self.squeeze_excite = SqueezeExcite(channels, squeezed, activation_name)
        self.projection, self.projection_norm = nn.Conv2d(channels, out_channels, 1, bias=False), norm(out_channels)
        self.activation = activation(activation_name)
        self.residual, self.drop = residual, StochasticDepth(drop_rate, "row")
