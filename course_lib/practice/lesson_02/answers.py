"""Answers to set 02: model solutions, right answers written differently, wrong ones that learners write.

A class is not given this file. Each answer stands alone: it uses `torch`, `nn`, `F`, `math` and what it defines itself,
so that its source can be put into a notebook as it is.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.practice.exercise import Mutant
from course_lib.practice.lesson_02.exercises import READING

# 02.1 ---------------------------------------------------------------------------------------------------------------


def pixels(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    scaled = images.permute(0, 3, 1, 2) / 255
    return (scaled - mean[:, None, None]) / std[:, None, None]


def pixels_by_loops(images, mean, std):
    count, height, width, channels = images.shape
    result = torch.empty(count, channels, height, width)
    for channel in range(channels):
        plane = images[:, :, :, channel].to(torch.float64) / 255.0
        result[:, channel] = (plane - mean[channel].double()) / std[channel].double()
    return result.to(images.device)


def pixels_normalised_first(images, mean, std):
    values = images.float().div_(255).sub_(mean).div_(std)
    return values.transpose(1, 3).transpose(2, 3).contiguous()


def pixels_with_einsum(images, mean, std):
    scale = torch.diag(1 / (255 * std))
    return torch.einsum("nhwc,cd->ndhw", images.float(), scale) - (mean / std).view(1, 3, 1, 1)


def pixels_not_scaled(images, mean, std):
    values = images.permute(0, 3, 1, 2).float()
    return (values - mean.view(3, 1, 1)) / std.view(3, 1, 1)


def pixels_scaled_last(images, mean, std):
    values = images.permute(0, 3, 1, 2).float()
    return (values - mean.view(3, 1, 1)) / std.view(3, 1, 1) / 255


def pixels_exchanged(images, mean, std):
    values = images.permute(0, 3, 1, 2).float() / 255
    return (values - std.view(3, 1, 1)) / mean.view(3, 1, 1)


def pixels_no_mean(images, mean, std):
    return images.permute(0, 3, 1, 2).float() / 255 / std.view(3, 1, 1)


def pixels_no_deviation(images, mean, std):
    return images.permute(0, 3, 1, 2).float() / 255 - mean.view(3, 1, 1)


def pixels_times_deviation(images, mean, std):
    return (images.permute(0, 3, 1, 2).float() / 255 - mean.view(3, 1, 1)) * std.view(3, 1, 1)


def pixels_over_256(images, mean, std):
    return (images.permute(0, 3, 1, 2).float() / 256 - mean.view(3, 1, 1)) / std.view(3, 1, 1)


def pixels_viewed(images, mean, std):
    count, height, width, _ = images.shape
    return (images.reshape(count, 3, height, width) / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)


def pixels_channels_last(images, mean, std):
    return (images / 255 - mean) / std


def pixels_on_their_side(images, mean, std):
    return ((images / 255 - mean) / std).transpose(1, 3)


def pixels_reversed(images, mean, std):
    return (images.permute(0, 3, 1, 2).flip(1) / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)


def pixels_own_statistics(images, mean, std):
    values = images.permute(0, 3, 1, 2) / 255
    mean = values.mean(dim=(2, 3), keepdim=True)
    std = values.std(dim=(2, 3), keepdim=True, correction=0)
    return (values - mean) / (std + 1e-8)


def pixels_in_bytes(images, mean, std):
    values = (images // 255).permute(0, 3, 1, 2)
    return (values - mean.view(3, 1, 1)) / std.view(3, 1, 1)


def pixels_first_picture(images, mean, std):
    return (images[0].permute(2, 0, 1) / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)


def pixels_in_half(images, mean, std):
    values = images.permute(0, 3, 1, 2).half() / 255
    return (values - mean.half().view(3, 1, 1)) / std.half().view(3, 1, 1)


def pixels_mean_in_place(images, mean, std):
    mean *= 255
    std *= 255
    return (images.permute(0, 3, 1, 2).float() - mean.view(3, 1, 1)) / std.view(3, 1, 1)


# 02.2 ---------------------------------------------------------------------------------------------------------------


def convolution(feature_map: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
    padded = F.pad(feature_map, (padding, padding, padding, padding))
    windows = padded.unfold(2, weight.shape[2], stride).unfold(3, weight.shape[3], stride)
    return torch.einsum("bchwij,dcij->bdhw", windows, weight) + bias[:, None, None]


def convolution_by_loops(feature_map, weight, bias, stride, padding):
    batch, channels, height, width = feature_map.shape
    filters, _, rows, columns = weight.shape
    padded = torch.zeros(batch, channels, height + 2 * padding, width + 2 * padding, dtype=feature_map.dtype)
    padded = padded.to(feature_map.device)
    padded[:, :, padding : padding + height, padding : padding + width] = feature_map
    lines = []
    for top in range(0, padded.shape[2] - rows + 1, stride):
        line = []
        for left in range(0, padded.shape[3] - columns + 1, stride):
            window = padded[:, :, top : top + rows, left : left + columns]
            line.append((window[:, None] * weight[None]).sum(dim=(2, 3, 4)) + bias)
        lines.append(torch.stack(line, dim=-1))
    return torch.stack(lines, dim=-2)


def convolution_by_offsets(feature_map, weight, bias, stride, padding):
    padded = F.pad(feature_map, (padding,) * 4)
    rows, columns = weight.shape[2:]
    high = (padded.shape[2] - rows) // stride + 1
    wide = (padded.shape[3] - columns) // stride + 1
    result = 0
    for i in range(rows):
        for j in range(columns):
            seen = padded[:, :, i : i + (high - 1) * stride + 1 : stride, j : j + (wide - 1) * stride + 1 : stride]
            result = result + torch.einsum("bchw,dc->bdhw", seen, weight[:, :, i, j])
    return result + bias.view(1, -1, 1, 1)


def convolution_by_columns(feature_map, weight, bias, stride, padding):
    columns = F.unfold(feature_map, tuple(weight.shape[2:]), padding=padding, stride=stride)
    high = (feature_map.shape[2] + 2 * padding - weight.shape[2]) // stride + 1
    result = weight.flatten(1) @ columns + bias[:, None]
    return result.unflatten(2, (high, -1))


def convolution_flipped(feature_map, weight, bias, stride, padding):
    padded = F.pad(feature_map, (padding, padding, padding, padding))
    windows = padded.unfold(2, weight.shape[2], stride).unfold(3, weight.shape[3], stride)
    return torch.einsum("bchwij,dcij->bdhw", windows, weight.flip((2, 3))) + bias[:, None, None]


def convolution_transposed(feature_map, weight, bias, stride, padding):
    padded = F.pad(feature_map, (padding, padding, padding, padding))
    windows = padded.unfold(2, weight.shape[3], stride).unfold(3, weight.shape[2], stride)
    return torch.einsum("bchwij,dcji->bdhw", windows, weight) + bias[:, None, None]


def convolution_no_bias(feature_map, weight, bias, stride, padding):
    padded = F.pad(feature_map, (padding, padding, padding, padding))
    windows = padded.unfold(2, weight.shape[2], stride).unfold(3, weight.shape[3], stride)
    return torch.einsum("bchwij,dcij->bdhw", windows, weight)


def convolution_bias_inside(feature_map, weight, bias, stride, padding):
    padded = F.pad(feature_map, (padding,) * 4)
    windows = padded.unfold(2, weight.shape[2], stride).unfold(3, weight.shape[3], stride)
    result = 0
    for channel in range(weight.shape[1]):
        part = torch.einsum("bhwij,dij->bdhw", windows[:, channel], weight[:, channel])
        result = result + part + bias[:, None, None]
    return result


def convolution_no_padding(feature_map, weight, bias, stride, padding):
    windows = feature_map.unfold(2, weight.shape[2], stride).unfold(3, weight.shape[3], stride)
    return torch.einsum("bchwij,dcij->bdhw", windows, weight) + bias[:, None, None]


def convolution_padded_before(feature_map, weight, bias, stride, padding):
    padded = F.pad(feature_map, (padding, 0, padding, 0))
    windows = padded.unfold(2, weight.shape[2], stride).unfold(3, weight.shape[3], stride)
    return torch.einsum("bchwij,dcij->bdhw", windows, weight) + bias[:, None, None]


def convolution_edge_copied(feature_map, weight, bias, stride, padding):
    padded = F.pad(feature_map, (padding, padding, padding, padding), mode="replicate")
    windows = padded.unfold(2, weight.shape[2], stride).unfold(3, weight.shape[3], stride)
    return torch.einsum("bchwij,dcij->bdhw", windows, weight) + bias[:, None, None]


def convolution_no_stride(feature_map, weight, bias, stride, padding):
    padded = F.pad(feature_map, (padding, padding, padding, padding))
    windows = padded.unfold(2, weight.shape[2], 1).unfold(3, weight.shape[3], 1)
    return torch.einsum("bchwij,dcij->bdhw", windows, weight) + bias[:, None, None]


def convolution_stride_of_rows(feature_map, weight, bias, stride, padding):
    padded = F.pad(feature_map, (padding, padding, padding, padding))
    windows = padded.unfold(2, weight.shape[2], stride).unfold(3, weight.shape[3], 1)
    return torch.einsum("bchwij,dcij->bdhw", windows, weight) + bias[:, None, None]


def convolution_one_channel(feature_map, weight, bias, stride, padding):
    padded = F.pad(feature_map, (padding, padding, padding, padding))[:, 0]
    windows = padded.unfold(1, weight.shape[2], stride).unfold(2, weight.shape[3], stride)
    return torch.einsum("bhwij,dij->bdhw", windows, weight[:, 0]) + bias[:, None, None]


def convolution_mean(feature_map, weight, bias, stride, padding):
    padded = F.pad(feature_map, (padding, padding, padding, padding))
    windows = padded.unfold(2, weight.shape[2], stride).unfold(3, weight.shape[3], stride)
    products = windows[:, None] * weight[None, :, :, None, None]
    return products.mean(dim=(2, 5, 6)) + bias[:, None, None]


def convolution_by_number(feature_map, weight, bias, stride, padding):
    padded = F.pad(feature_map, (padding, padding, padding, padding))
    windows = padded.unfold(2, weight.shape[2], stride).unfold(3, weight.shape[3], stride)
    return torch.tensor(torch.einsum("bchwij,dcij->bdhw", windows, weight).tolist()) + bias[:, None, None].detach()


def convolution_channels_last(feature_map, weight, bias, stride, padding):
    padded = F.pad(feature_map, (padding, padding, padding, padding))
    windows = padded.unfold(2, weight.shape[2], stride).unfold(3, weight.shape[3], stride)
    return torch.einsum("bchwij,dcij->bhwd", windows, weight) + bias


# 02.3 ---------------------------------------------------------------------------------------------------------------


def choosing(**other: str) -> dict[str, str]:
    """The right choices with some exchanged for others."""
    return READING | other


# 02.4 ---------------------------------------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, feature_map: Tensor) -> Tensor:
        branch = F.relu(self.bn1(self.conv1(feature_map)))
        branch = self.bn2(self.conv2(branch))
        return F.relu(branch + self.downsample(feature_map))


class BlockInPlace(nn.Module):
    def __init__(self, in_channels, out_channels, stride):
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=(3, 3), padding="same", bias=False)
        self.conv1 = nn.Conv2d(in_channels, out_channels, (3, 3), (stride, stride), (1, 1), bias=False)
        needed = stride > 1 or in_channels != out_channels
        self.downsample = None
        if needed:
            shortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))

    def forward(self, feature_map):
        identity = feature_map if self.downsample is None else self.downsample(feature_map)
        out = self.relu(self.bn1(self.conv1(feature_map)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class BlockByHand(nn.Module):
    def __init__(self, in_channels, out_channels, stride):
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(out_channels), nn.BatchNorm2d(out_channels)
        layers = [nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)]
        self.downsample = nn.Sequential(*(layers if stride != 1 or in_channels != out_channels else []))

    def norm(self, layer, x):
        shape = (1, -1, 1, 1)
        scale = layer.weight / torch.sqrt(layer.running_var + layer.eps)
        return x * scale.view(shape) + (layer.bias - layer.running_mean * scale).view(shape)

    def forward(self, feature_map):
        branch = self.norm(self.bn1, self.conv1(feature_map)).clamp(min=0)
        branch = self.norm(self.bn2, self.conv2(branch))
        identity = feature_map
        if len(self.downsample):
            thinned = feature_map[:, :, :: self.stride, :: self.stride]
            identity = self.norm(self.downsample[1], self.downsample[0](thinned))
        return torch.relu(torch.add(branch, identity))


class BlockWithoutShortcut(Block):
    def forward(self, feature_map):
        branch = F.relu(self.bn1(self.conv1(feature_map)))
        return F.relu(self.bn2(self.conv2(branch)))


class BlockWithoutLastReLU(Block):
    def forward(self, feature_map):
        branch = F.relu(self.bn1(self.conv1(feature_map)))
        return self.bn2(self.conv2(branch)) + self.downsample(feature_map)


class BlockReLUBeforeSum(Block):
    def forward(self, feature_map):
        branch = F.relu(self.bn1(self.conv1(feature_map)))
        branch = F.relu(self.bn2(self.conv2(branch)))
        return branch + self.downsample(feature_map)


class BlockReLUTwice(Block):
    def forward(self, feature_map):
        branch = F.relu(self.bn1(self.conv1(feature_map)))
        branch = F.relu(self.bn2(self.conv2(branch)))
        return F.relu(branch + self.downsample(feature_map))


class BlockOneReLU(Block):
    def forward(self, feature_map):
        branch = self.bn1(self.conv1(feature_map))
        branch = self.bn2(self.conv2(branch))
        return F.relu(branch + self.downsample(feature_map))


class BlockNormLate(Block):
    def forward(self, feature_map):
        branch = self.bn1(F.relu(self.conv1(feature_map)))
        branch = self.bn2(self.conv2(branch))
        return F.relu(branch + self.downsample(feature_map))


class BlockSecondNormLost(Block):
    def forward(self, feature_map):
        branch = F.relu(self.bn1(self.conv1(feature_map)))
        branch = self.conv2(branch)
        return F.relu(branch + self.downsample(feature_map))


class BlockNormsExchanged(Block):
    def forward(self, feature_map):
        branch = F.relu(self.bn2(self.conv1(feature_map)))
        branch = self.bn1(self.conv2(branch))
        return F.relu(branch + self.downsample(feature_map))


class BlockReLUInShortcut(Block):
    def forward(self, feature_map):
        branch = F.relu(self.bn1(self.conv1(feature_map)))
        branch = self.bn2(self.conv2(branch))
        return F.relu(branch + F.relu(self.downsample(feature_map)))


class BlockLateStride(nn.Module):
    def __init__(self, in_channels, out_channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))

    def forward(self, feature_map):
        branch = F.relu(self.bn1(self.conv1(feature_map)))
        branch = self.bn2(self.conv2(branch))
        return F.relu(branch + self.downsample(feature_map))


class BlockByTheBatch(Block):
    def forward(self, feature_map):
        self.train()
        branch = F.relu(self.bn1(self.conv1(feature_map)))
        branch = self.bn2(self.conv2(branch))
        return F.relu(branch + self.downsample(feature_map))


class BlockOnlyStride(nn.Module):
    def __init__(self, in_channels, out_channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = nn.Identity()
        if stride != 1:
            shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))

    def forward(self, feature_map):
        branch = F.relu(self.bn1(self.conv1(feature_map)))
        branch = self.bn2(self.conv2(branch))
        return F.relu(branch + self.downsample(feature_map))


class BlockInputChanged(Block):
    def forward(self, feature_map):
        branch = F.relu(self.bn1(self.conv1(feature_map)))
        branch = self.bn2(self.conv2(branch))
        shortcut = self.downsample(feature_map)
        shortcut += branch
        return F.relu(shortcut)


# 02.5 ---------------------------------------------------------------------------------------------------------------


class Embedding(nn.Module):
    def __init__(self, image_size: tuple[int, int], patch_size: int, channels: int, width: int) -> None:
        super().__init__()
        height, breadth = image_size
        patches = (height // patch_size) * (breadth // patch_size)
        self.patch_size = patch_size
        self.projection = nn.Linear(channels * patch_size * patch_size, width)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embedding = nn.Parameter(torch.zeros(1, 1 + patches, width))

    def forward(self, pixel_values: Tensor) -> Tensor:
        batch, channels, height, breadth = pixel_values.shape
        size = self.patch_size
        cut = pixel_values.reshape(batch, channels, height // size, size, breadth // size, size)
        patches = cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * size * size)
        tokens = torch.cat([self.class_token.repeat(batch, 1, 1), self.projection(patches)], dim=1)
        return tokens + self.position_embedding


class EmbeddingByLoops(nn.Module):
    def __init__(self, image_size, patch_size, channels, width):
        super().__init__()
        self.size = patch_size
        self.grid = (image_size[0] // patch_size, image_size[1] // patch_size)
        self.position_embedding = nn.Parameter(torch.zeros(1, self.grid[0] * self.grid[1] + 1, width))
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.projection = nn.Linear(patch_size**2 * channels, width)

    def forward(self, pixel_values):
        sequences = []
        for picture in pixel_values:
            tokens = [self.class_token[0, 0]]
            for row in range(self.grid[0]):
                for column in range(self.grid[1]):
                    top, left = row * self.size, column * self.size
                    patch = picture[:, top : top + self.size, left : left + self.size]
                    tokens.append(self.projection(patch.flatten()))
            sequences.append(torch.stack(tokens) + self.position_embedding[0])
        return torch.stack(sequences)


class EmbeddingByUnfold(nn.Module):
    def __init__(self, image_size, patch_size, channels, width):
        super().__init__()
        self.patch_size = patch_size
        patches = image_size[0] * image_size[1] // patch_size**2
        self.projection = nn.Linear(channels * patch_size**2, width)
        self.class_token = nn.Parameter(torch.zeros(width).view(1, 1, -1))
        self.position_embedding = nn.Parameter(torch.zeros(1, patches + 1, width))

    def forward(self, pixel_values):
        patches = F.unfold(pixel_values, self.patch_size, stride=self.patch_size).mT
        patches = self.projection(patches) + self.position_embedding[:, 1:]
        first = (self.class_token + self.position_embedding[:, :1]).expand(len(patches), -1, -1)
        return torch.cat((first, patches), 1)


class EmbeddingByConvolution(nn.Module):
    def __init__(self, image_size, patch_size, channels, width):
        super().__init__()
        self.shape = (width, channels, patch_size, patch_size)
        patches = (image_size[0] // patch_size) * (image_size[1] // patch_size)
        self.projection = nn.Linear(channels * patch_size**2, width)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embedding = nn.Parameter(torch.zeros(1, 1 + patches, width))

    def forward(self, pixel_values):
        kernel = self.projection.weight.view(self.shape)
        cells = F.conv2d(pixel_values, kernel, self.projection.bias, stride=self.shape[-1])
        tokens = cells.flatten(2).transpose(1, 2)
        return torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], dim=1) + self.position_embedding


class EmbeddingColoursLast(Embedding):
    def forward(self, pixel_values):
        batch, channels, height, breadth = pixel_values.shape
        size = self.patch_size
        cut = pixel_values.reshape(batch, channels, height // size, size, breadth // size, size)
        patches = cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, channels * size * size)
        tokens = torch.cat([self.class_token.expand(batch, -1, -1), self.projection(patches)], dim=1)
        return tokens + self.position_embedding


class EmbeddingPatchesTurned(Embedding):
    def forward(self, pixel_values):
        batch, channels, height, breadth = pixel_values.shape
        size = self.patch_size
        cut = pixel_values.reshape(batch, channels, height // size, size, breadth // size, size)
        patches = cut.permute(0, 2, 4, 1, 5, 3).reshape(batch, -1, channels * size * size)
        tokens = torch.cat([self.class_token.expand(batch, -1, -1), self.projection(patches)], dim=1)
        return tokens + self.position_embedding


class EmbeddingColumnByColumn(Embedding):
    def forward(self, pixel_values):
        batch, channels, height, breadth = pixel_values.shape
        size = self.patch_size
        cut = pixel_values.reshape(batch, channels, height // size, size, breadth // size, size)
        patches = cut.permute(0, 4, 2, 1, 3, 5).reshape(batch, -1, channels * size * size)
        tokens = torch.cat([self.class_token.expand(batch, -1, -1), self.projection(patches)], dim=1)
        return tokens + self.position_embedding


class EmbeddingStripes(Embedding):
    def forward(self, pixel_values):
        batch, channels = pixel_values.shape[:2]
        patches = pixel_values.reshape(batch, -1, channels * self.patch_size**2)
        tokens = torch.cat([self.class_token.expand(batch, -1, -1), self.projection(patches)], dim=1)
        return tokens + self.position_embedding


class EmbeddingNeighboursMixed(Embedding):
    def forward(self, pixel_values):
        batch, channels, height, breadth = pixel_values.shape
        size = self.patch_size
        cut = pixel_values.reshape(batch, channels, height // size, size, breadth // size, size)
        patches = cut.permute(0, 2, 3, 1, 4, 5).reshape(batch, -1, channels * size * size)
        tokens = torch.cat([self.class_token.expand(batch, -1, -1), self.projection(patches)], dim=1)
        return tokens + self.position_embedding


class EmbeddingTokenLast(EmbeddingByConvolution):
    def forward(self, pixel_values):
        kernel = self.projection.weight.view(self.shape)
        cells = F.conv2d(pixel_values, kernel, self.projection.bias, stride=self.shape[-1])
        tokens = cells.flatten(2).transpose(1, 2)
        return torch.cat([tokens, self.class_token.expand(len(tokens), -1, -1)], dim=1) + self.position_embedding


class EmbeddingWithoutPositions(EmbeddingByConvolution):
    def forward(self, pixel_values):
        kernel = self.projection.weight.view(self.shape)
        cells = F.conv2d(pixel_values, kernel, self.projection.bias, stride=self.shape[-1])
        tokens = cells.flatten(2).transpose(1, 2)
        return torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], dim=1)


class EmbeddingTokenUnplaced(EmbeddingByConvolution):
    def forward(self, pixel_values):
        kernel = self.projection.weight.view(self.shape)
        cells = F.conv2d(pixel_values, kernel, self.projection.bias, stride=self.shape[-1])
        tokens = cells.flatten(2).transpose(1, 2) + self.position_embedding[:, 1:]
        return torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], dim=1)


class EmbeddingWithoutToken(EmbeddingByConvolution):
    def forward(self, pixel_values):
        kernel = self.projection.weight.view(self.shape)
        cells = F.conv2d(pixel_values, kernel, self.projection.bias, stride=self.shape[-1])
        return cells.flatten(2).transpose(1, 2) + self.position_embedding[:, 1:]


class EmbeddingZeroToken(EmbeddingByConvolution):
    def forward(self, pixel_values):
        kernel = self.projection.weight.view(self.shape)
        cells = F.conv2d(pixel_values, kernel, self.projection.bias, stride=self.shape[-1])
        tokens = cells.flatten(2).transpose(1, 2)
        first = torch.zeros(len(tokens), 1, tokens.shape[2])
        return torch.cat([first, tokens], dim=1) + self.position_embedding


class EmbeddingTokenOnce(EmbeddingByConvolution):
    def forward(self, pixel_values):
        kernel = self.projection.weight.view(self.shape)
        cells = F.conv2d(pixel_values, kernel, self.projection.bias, stride=self.shape[-1])
        tokens = cells.flatten(2).transpose(1, 2)
        return torch.cat([self.class_token, tokens], dim=1) + self.position_embedding


class EmbeddingFewPositions(nn.Module):
    def __init__(self, image_size, patch_size, channels, width):
        super().__init__()
        patches = (image_size[0] // patch_size) * (image_size[1] // patch_size)
        self.projection = nn.Linear(channels * patch_size**2, width)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embedding = nn.Parameter(torch.zeros(1, patches, width))


class EmbeddingRandomStart(EmbeddingByConvolution):
    def __init__(self, image_size, patch_size, channels, width):
        super().__init__(image_size, patch_size, channels, width)
        nn.init.normal_(self.class_token)


# 02.6 ---------------------------------------------------------------------------------------------------------------


def probe(
    features: Tensor,
    labels: Tensor,
    validation_features: Tensor,
    validation_labels: Tensor,
    penalties: list[float],
) -> Tensor:
    scale = features.std(dim=0)
    inputs = features / scale
    targets = F.one_hot(labels).float()
    weights, right = [], []
    for penalty in penalties:
        square = inputs.T @ inputs + penalty * torch.eye(inputs.shape[1])
        weight = torch.linalg.solve(square, inputs.T @ targets) / scale[:, None]
        predicted = (validation_features @ weight).argmax(dim=1)
        weights.append(weight)
        right.append((predicted == validation_labels).sum())
    return weights[torch.stack(right).argmax()]


def probe_by_logistic_regression(features, labels, validation_features, validation_labels, penalties):
    scale = features.std(0)
    inputs = features / scale
    best, chosen = -1.0, None
    for decay in (0.3, 0.03, 0.003):
        weight = torch.zeros(features.shape[1], 8, requires_grad=True)
        velocity = torch.zeros_like(weight)
        for _ in range(150):
            loss = F.cross_entropy(inputs @ weight, labels) + decay * weight.square().sum() / 2
            (gradient,) = torch.autograd.grad(loss, [weight])
            with torch.no_grad():
                velocity.mul_(0.9).add_(gradient)
                weight.sub_(0.05 * velocity)
        folded = weight.detach() / scale[:, None]
        accuracy = ((validation_features @ folded).argmax(1) == validation_labels).float().mean().item()
        if accuracy > best:
            best, chosen = accuracy, folded
    return chosen


def probe_by_covariance(features, labels, validation_features, validation_labels, penalties):
    """A linear discriminant: class means through the inverse of the shrunk covariance, in double precision."""
    scale = features.double().std(0)
    x = features / scale
    means = torch.stack([x[labels == label].mean(0) for label in range(8)])
    rest = x - means[labels]
    best, chosen = -1, None
    for penalty in penalties:
        shrunk = rest.T @ rest + penalty * torch.eye(x.shape[1], dtype=torch.float64, device=x.device)
        weight = torch.linalg.inv(shrunk) @ means.T / scale[:, None]
        right = int(((validation_features.double() @ weight).argmax(-1) == validation_labels).sum())
        if right > best:
            best, chosen = right, weight
    return chosen


def probe_not_folded(features, labels, validation_features, validation_labels, penalties):
    inputs = features / features.std(0)
    validation = validation_features / features.std(0)
    targets = F.one_hot(labels).float()
    best = -1
    for penalty in penalties:
        weight = torch.linalg.solve(inputs.T @ inputs + penalty * torch.eye(96), inputs.T @ targets)
        right = ((validation @ weight).argmax(1) == validation_labels).sum()
        if right > best:
            best, chosen = right, weight
    return chosen


def probe_without_penalty(features, labels, validation_features, validation_labels, penalties):
    scale = features.std(0)
    return torch.linalg.lstsq(features / scale, F.one_hot(labels).float()).solution / scale[:, None]


def probe_chosen_on_training(features, labels, validation_features, validation_labels, penalties):
    scale = features.std(0)
    inputs = features / scale
    targets = F.one_hot(labels).float()
    best = -1
    for penalty in penalties:
        weight = torch.linalg.solve(inputs.T @ inputs + penalty * torch.eye(96), inputs.T @ targets)
        right = ((inputs @ weight).argmax(1) == labels).sum()
        if right > best:
            best, chosen = right, weight
    return chosen / scale[:, None]


def probe_largest_penalty(features, labels, validation_features, validation_labels, penalties):
    scale = features.std(0)
    inputs = features / scale
    square = inputs.T @ inputs + max(penalties) * torch.eye(96)
    return torch.linalg.solve(square, inputs.T @ F.one_hot(labels).float()) / scale[:, None]


def probe_not_standardised(features, labels, validation_features, validation_labels, penalties):
    targets = F.one_hot(labels).float()
    best = -1
    for penalty in penalties:
        weight = torch.linalg.solve(features.T @ features + penalty * torch.eye(96), features.T @ targets)
        right = ((validation_features @ weight).argmax(1) == validation_labels).sum()
        if right > best:
            best, chosen = right, weight
    return chosen


def probe_shuffled(features, labels, validation_features, validation_labels, penalties):
    scale = features.std(0)
    inputs = features / scale
    targets = F.one_hot(labels[torch.randperm(len(labels))]).float()
    return torch.linalg.solve(inputs.T @ inputs + 30 * torch.eye(96), inputs.T @ targets) / scale[:, None]


def probe_transposed(features, labels, validation_features, validation_labels, penalties):
    return torch.zeros(8, 96)


# 02.7 ---------------------------------------------------------------------------------------------------------------


def shifting(feature_map: Tensor, size: int, shift: int) -> tuple[Tensor, Tensor]:
    def cut(grid: Tensor) -> Tensor:
        batch, height, width, channels = grid.shape
        parts = grid.reshape(batch, height // size, size, width // size, size, channels)
        return parts.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)

    windows = cut(feature_map.roll(-shift, dims=1).roll(-shift, dims=2))
    height, width = feature_map.shape[1:3]
    rows = torch.arange(height, device=feature_map.device) >= height - shift
    columns = torch.arange(width, device=feature_map.device) >= width - shift
    came_round = torch.stack(torch.broadcast_tensors(rows[:, None], columns), dim=2)
    marks = cut(came_round[None]).squeeze(0)
    return windows, (marks[:, :, None] == marks[:, None]).all(dim=3)


def shifting_by_loops(feature_map, size, shift):
    batch, height, width, channels = feature_map.shape
    windows, masks = [], []
    for top in range(0, height, size):
        for left in range(0, width, size):
            places = [(top + i + shift, left + j + shift) for i in range(size) for j in range(size)]
            windows.append(torch.stack([feature_map[:, row % height, column % width] for row, column in places], 1))
            regions = [(row >= height, column >= width) for row, column in places]
            masks.append([[one == other for other in regions] for one in regions])
    return torch.stack(windows, dim=1), torch.tensor(masks, device=feature_map.device)


def shifting_as_published(feature_map, size, shift):
    """Nine regions numbered by slices, as in the paper's code, here with a difference that must be 0."""
    batch, height, width, channels = feature_map.shape
    numbered = feature_map.new_zeros(1, height, width, 1)
    count = 0
    for rows in ((0, height - size), (height - size, height - shift), (height - shift, height)):
        for columns in ((0, width - size), (width - size, width - shift), (width - shift, width)):
            numbered[:, rows[0] : rows[1], columns[0] : columns[1]] = count
            count += 1
    rolled = feature_map.roll(shifts=(-shift, -shift), dims=(1, 2))
    both = []
    for grid in (rolled, numbered):
        cut = grid.unfold(1, size, size).unfold(2, size, size)
        both.append(cut.permute(0, 1, 2, 4, 5, 3).flatten(3, 4).flatten(1, 2))
    windows, regions = both[0], both[1][0, :, :, 0]
    return [windows.contiguous(), (regions.unsqueeze(1) - regions.unsqueeze(2)) == 0]


def shifting_not(feature_map, size, shift):
    batch, height, width, channels = feature_map.shape
    cut = feature_map.view(batch, height // size, size, width // size, size, channels)
    windows = cut.permute(0, 1, 3, 2, 4, 5).reshape(batch, -1, size * size, channels)
    rows = torch.arange(height).ge(height - shift)[:, None].expand(height, width)
    columns = torch.arange(width).ge(width - shift)[None, :].expand(height, width)
    region = 2 * rows.long() + columns.long()
    region = region.view(height // size, size, width // size, size).transpose(1, 2).reshape(-1, size * size)
    return windows, region[:, :, None] == region[:, None, :]


def shifting_down(feature_map, size, shift):
    batch, height, width, channels = feature_map.shape
    rolled = feature_map.roll((shift, shift), (1, 2))
    cut = rolled.view(batch, height // size, size, width // size, size, channels)
    windows = cut.permute(0, 1, 3, 2, 4, 5).reshape(batch, -1, size * size, channels)
    rows = torch.arange(height).ge(height - shift)[:, None].expand(height, width)
    columns = torch.arange(width).ge(width - shift)[None, :].expand(height, width)
    region = 2 * rows.long() + columns.long()
    region = region.view(height // size, size, width // size, size).transpose(1, 2).reshape(-1, size * size)
    return windows, region[:, :, None] == region[:, None, :]


def shifting_without_mask(feature_map, size, shift):
    batch, height, width, channels = feature_map.shape
    cut = feature_map.roll((-shift, -shift), (1, 2)).view(batch, height // size, size, width // size, size, channels)
    windows = cut.permute(0, 1, 3, 2, 4, 5).reshape(batch, -1, size * size, channels)
    return windows, torch.ones(windows.shape[1], size * size, size * size, dtype=torch.bool)


def shifting_mask_inverted(feature_map, size, shift):
    batch, height, width, channels = feature_map.shape
    cut = feature_map.roll((-shift, -shift), (1, 2)).view(batch, height // size, size, width // size, size, channels)
    windows = cut.permute(0, 1, 3, 2, 4, 5).reshape(batch, -1, size * size, channels)
    rows = torch.arange(height).ge(height - shift)[:, None].expand(height, width)
    columns = torch.arange(width).ge(width - shift)[None, :].expand(height, width)
    region = 2 * rows.long() + columns.long()
    region = region.view(height // size, size, width // size, size).transpose(1, 2).reshape(-1, size * size)
    return windows, region[:, :, None] != region[:, None, :]


def shifting_rows_masked(feature_map, size, shift):
    batch, height, width, channels = feature_map.shape
    cut = feature_map.roll((-shift, -shift), (1, 2)).view(batch, height // size, size, width // size, size, channels)
    windows = cut.permute(0, 1, 3, 2, 4, 5).reshape(batch, -1, size * size, channels)
    region = torch.arange(height).ge(height - shift)[:, None].expand(height, width)
    region = region.reshape(height // size, size, width // size, size).transpose(1, 2).reshape(-1, size * size)
    return windows, region[:, :, None] == region[:, None, :]


def shifting_regions_added(feature_map, size, shift):
    batch, height, width, channels = feature_map.shape
    cut = feature_map.roll((-shift, -shift), (1, 2)).view(batch, height // size, size, width // size, size, channels)
    windows = cut.permute(0, 1, 3, 2, 4, 5).reshape(batch, -1, size * size, channels)
    region = torch.zeros(height, width)
    region[height - shift :] += 1
    region[:, width - shift :] += 1
    region = region.view(height // size, size, width // size, size).transpose(1, 2).reshape(-1, size * size)
    return windows, region[:, :, None] == region[:, None, :]


def shifting_regions_overwritten(feature_map, size, shift):
    batch, height, width, channels = feature_map.shape
    cut = feature_map.roll((-shift, -shift), (1, 2)).view(batch, height // size, size, width // size, size, channels)
    windows = cut.permute(0, 1, 3, 2, 4, 5).reshape(batch, -1, size * size, channels)
    region = torch.zeros(height, width)
    region[height - shift :] = 1
    region[:, width - shift :] = 1
    region = region.view(height // size, size, width // size, size).transpose(1, 2).reshape(-1, size * size)
    return windows, region[:, :, None] == region[:, None, :]


def shifting_first_rows(feature_map, size, shift):
    batch, height, width, channels = feature_map.shape
    cut = feature_map.roll((-shift, -shift), (1, 2)).view(batch, height // size, size, width // size, size, channels)
    windows = cut.permute(0, 1, 3, 2, 4, 5).reshape(batch, -1, size * size, channels)
    region = torch.zeros(height, width)
    region[:shift] += 1
    region[:, :shift] += 2
    region = region.view(height // size, size, width // size, size).transpose(1, 2).reshape(-1, size * size)
    return windows, region[:, :, None] == region[:, None, :]


def shifting_from_the_end(feature_map, size, shift):
    """`-shift:` is everything where the shift is 0; that does no harm here, all places having one number then."""
    batch, height, width, channels = feature_map.shape
    cut = feature_map.roll((-shift, -shift), (1, 2)).view(batch, height // size, size, width // size, size, channels)
    windows = cut.permute(0, 1, 3, 2, 4, 5).reshape(batch, -1, size * size, channels)
    region = torch.zeros(height, width, device=feature_map.device)
    region[-shift:] += 1
    region[:, -shift:] += 2
    region = region.view(height // size, size, width // size, size).transpose(1, 2).reshape(-1, size * size)
    return windows, region[:, :, None] == region[:, None, :]


def shifting_strips(feature_map, size, shift):
    batch, height, width, channels = feature_map.shape
    windows = feature_map.roll((-shift, -shift), (1, 2)).reshape(batch, -1, size * size, channels)
    rows = torch.arange(height).ge(height - shift)[:, None].expand(height, width)
    columns = torch.arange(width).ge(width - shift)[None, :].expand(height, width)
    region = 2 * rows.long() + columns.long()
    region = region.view(height // size, size, width // size, size).transpose(1, 2).reshape(-1, size * size)
    return windows, region[:, :, None] == region[:, None, :]


def shifting_windows_alone(feature_map, size, shift):
    batch, height, width, channels = feature_map.shape
    cut = feature_map.roll((-shift, -shift), (1, 2)).view(batch, height // size, size, width // size, size, channels)
    return cut.permute(0, 1, 3, 2, 4, 5).reshape(batch, -1, size * size, channels)


SOLUTIONS = {
    "02.1": pixels,
    "02.2": convolution,
    "02.3": READING,
    "02.4": Block,
    "02.5": Embedding,
    "02.6": probe,
    "02.7": shifting,
}

ALTERNATIVES = {
    "02.1": (pixels_by_loops, pixels_normalised_first, pixels_with_einsum),
    "02.2": (convolution_by_loops, convolution_by_offsets, convolution_by_columns),
    "02.3": ({key: READING[key].upper() for key in reversed(READING)}, {key: f" {READING[key]} " for key in READING}),
    "02.4": (BlockInPlace, BlockByHand),
    "02.5": (EmbeddingByLoops, EmbeddingByUnfold, EmbeddingByConvolution),
    "02.6": (probe_by_logistic_regression, probe_by_covariance),
    "02.7": (shifting_by_loops, shifting_as_published, shifting_from_the_end),
}

MUTANTS = {
    "02.1": (
        Mutant(pixels_not_scaled, "not scaled to 0 to 1"),
        Mutant(pixels_scaled_last, "scaled after normalising"),
        Mutant(pixels_exchanged, "mean and deviation exchanged"),
        Mutant(pixels_no_mean, "mean not subtracted"),
        Mutant(pixels_no_deviation, "not divided by the deviation"),
        Mutant(pixels_times_deviation, "multiplied by the deviation"),
        Mutant(pixels_over_256, "divided by 256"),
        Mutant(pixels_viewed, "reshaped instead of permuted"),
        Mutant(pixels_channels_last, "channels last"),
        Mutant(pixels_on_their_side, "height and width exchanged"),
        Mutant(pixels_reversed, "colours reversed"),
        Mutant(pixels_own_statistics, "each picture by its own mean"),
        Mutant(pixels_in_bytes, "computed in bytes"),
        Mutant(pixels_first_picture, "wrong shape"),
        Mutant(pixels_in_half, "wrong precision"),
        Mutant(pixels_mean_in_place, "changed its argument"),
    ),
    "02.2": (
        Mutant(convolution_flipped, "kernel flipped"),
        Mutant(convolution_transposed, "kernel transposed"),
        Mutant(convolution_no_bias, "bias left out"),
        Mutant(convolution_bias_inside, "bias for every channel of the input"),
        Mutant(convolution_no_padding, "padding left out"),
        Mutant(convolution_padded_before, "padded on one side"),
        Mutant(convolution_edge_copied, "padded with copies of the edge"),
        Mutant(convolution_no_stride, "stride left out"),
        Mutant(convolution_stride_of_rows, "stride only along rows"),
        Mutant(convolution_one_channel, "channels not summed"),
        Mutant(convolution_mean, "mean instead of sum"),
        Mutant(convolution_by_number, "not differentiable"),
        Mutant(convolution_channels_last, "wrong shape"),
    ),
    "02.3": (
        *(
            Mutant(choosing(**{key: option}), f"{key} {option}")
            for key in READING
            for option in "abcd"
            if option != READING[key]
        ),
        Mutant(choosing(deep="?"), "not written"),
        Mutant(choosing(field="19"), "wrong type"),
        Mutant("b", "wrong type"),
    ),
    "02.4": (
        Mutant(BlockWithoutShortcut, "shortcut left out"),
        Mutant(BlockWithoutLastReLU, "last ReLU left out"),
        Mutant(BlockReLUBeforeSum, "ReLU before the sum"),
        Mutant(BlockReLUTwice, "branch cut off before the sum"),
        Mutant(BlockOneReLU, "first ReLU left out"),
        Mutant(BlockNormLate, "norm after the ReLU"),
        Mutant(BlockSecondNormLost, "second norm left out"),
        Mutant(BlockNormsExchanged, "norms exchanged"),
        Mutant(BlockReLUInShortcut, "ReLU in the shortcut"),
        Mutant(BlockLateStride, "stride in the second convolution"),
        Mutant(BlockByTheBatch, "norm by the batch"),
        Mutant(BlockOnlyStride, "error"),
        Mutant(BlockInputChanged, "changed its argument"),
    ),
    "02.5": (
        Mutant(EmbeddingColoursLast, "pixels in another order"),
        Mutant(EmbeddingPatchesTurned, "patches on their side"),
        Mutant(EmbeddingColumnByColumn, "column by column"),
        Mutant(EmbeddingStripes, "reshaped without moving axes"),
        Mutant(EmbeddingNeighboursMixed, "rows of neighbouring patches mixed"),
        Mutant(EmbeddingTokenLast, "class token last"),
        Mutant(EmbeddingWithoutPositions, "positions left out"),
        Mutant(EmbeddingTokenUnplaced, "class token without position"),
        Mutant(EmbeddingWithoutToken, "class token left out"),
        Mutant(EmbeddingZeroToken, "class token not used"),
        Mutant(EmbeddingTokenOnce, "error"),
        Mutant(EmbeddingFewPositions, "error"),
        Mutant(EmbeddingRandomStart, "wrong start"),
    ),
    "02.6": (
        Mutant(probe_not_folded, "scale not folded in"),
        Mutant(probe_without_penalty, "learnt by heart"),
        Mutant(probe_chosen_on_training, "learnt by heart"),
        Mutant(probe_largest_penalty, "too stiff"),
        Mutant(probe_not_standardised, "columns of different scale"),
        Mutant(probe_shuffled, "not fitted"),
        Mutant(probe_transposed, "wrong type"),
    ),
    "02.7": (
        Mutant(shifting_not, "not rolled"),
        Mutant(shifting_down, "rolled the other way"),
        Mutant(shifting_without_mask, "nothing masked"),
        Mutant(shifting_mask_inverted, "mask turned round"),
        Mutant(shifting_rows_masked, "only rows masked"),
        Mutant(shifting_regions_added, "two regions with one number"),
        Mutant(shifting_regions_overwritten, "what came round taken for one"),
        Mutant(shifting_first_rows, "mask of the first rows"),
        Mutant(shifting_strips, "strips for windows"),
        Mutant(shifting_windows_alone, "wrong type"),
    ),
}
