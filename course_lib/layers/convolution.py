"""Convolution blocks."""

from torch import Tensor, nn


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
