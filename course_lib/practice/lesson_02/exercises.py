"""Exercise set 02: from bytes to a residual block, a vision transformer's first layer, a probe, and shifted windows."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.data.transforms import to_pixel_values
from course_lib.errors import InputError
from course_lib.layers.windows import neighbours, windows
from course_lib.practice.exercise import Case, Exercise, Measure, Mistake, wrong_choices


def generator(seed: int) -> torch.Generator:
    """Random numbers that depend on the seed alone, which may be larger than PyTorch takes."""
    return torch.Generator().manual_seed(seed % 2**63)


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Normal numbers that depend on the seed alone."""
    return torch.randn(*shape, generator=generator(seed), dtype=dtype)


def bytes_of(seed: int, *shape: int) -> torch.Tensor:
    """Random bytes from 0 to 255, uint8."""
    return torch.randint(0, 256, shape, generator=generator(seed), dtype=torch.uint8)


# 02.1 ---------------------------------------------------------------------------------------------------------------

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pixel_values(images: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """The library's own: uint8 `(N, H, W, 3)` -> float32 `(N, 3, H, W)`."""
    return to_pixel_values(images, mean.tolist(), std.tolist())


def picture_case(about: str, images: torch.Tensor, mean: Any = IMAGENET_MEAN, std: Any = IMAGENET_STD) -> Case:
    return Case(about, {"images": images, "mean": torch.tensor(mean), "std": torch.tensor(std)})


def picture_cases(seed: int) -> list[Case]:
    two = torch.tensor([[[[255, 0, 51], [102, 204, 0]]]], dtype=torch.uint8)
    return [
        picture_case("one picture of two pixels worked out by hand", two, (0.5, 0.5, 0.2), (0.5, 0.25, 0.1)),
        picture_case(
            "three pictures, higher than wide, with ImageNet's mean and deviation", bytes_of(seed + 1, 3, 4, 2, 3)
        ),
    ]


def _normalised(i: torch.Tensor, m: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """Pictures in their order of channels, not yet scaled: what most mistakes differ in is m and s."""
    return (i.permute(0, 3, 1, 2).float() - m[:, None, None]) / s[:, None, None]


def _each_by_its_own(case: Case, value: Any) -> bool:
    """Mean 0 in every channel of every picture; or over the whole batch, which is the same mistake."""
    spread = value.flatten(2).std(dim=2, correction=0)
    each, all_of_them = value.mean(dim=(2, 3)), value.mean(dim=(0, 2, 3))
    return bool((spread > 0.3).all() and min(each.abs().max(), all_of_them.abs().max()) < 1e-4)


PIXELS = Exercise(
    id="02.1",
    title="From bytes to pixel values",
    name="pixel_values",
    signature="def pixel_values(images: Tensor, mean: Tensor, std: Tensor) -> Tensor",
    asked="function",
    difficulty=1,
    minutes=6,
    points=1,
    hints=(
        "Three things happen, in this order: the bytes become numbers from 0 to 1, the channels move before height "
        "and width, and each channel is normalised.",
        "images.permute(0, 3, 1, 2) moves the channels; mean and std were measured on numbers from 0 to 1.",
        "mean has shape (3,) and the pictures (N, 3, H, W): mean[:, None, None] has shape (3, 1, 1) and so one number "
        "for each channel. (x / 255 - mean) / std.",
    ),
    cases=picture_cases,
    reference=pixel_values,
    mistakes=(
        Mistake(
            "not scaled to 0 to 1",
            "The bytes were not divided by 255 first: mean and std were measured on numbers from 0 to 1, so that the "
            "network would meet numbers in the hundreds.",
            _normalised,
        ),
        Mistake(
            "scaled after normalising",
            "The division by 255 comes too late: the mean was taken from numbers up to 255.",
            lambda i, m, s: _normalised(i, m, s) / 255,
        ),
        Mistake(
            "mean and deviation exchanged",
            "Are mean and std exchanged? The mean is subtracted, and the deviation divides.",
            lambda i, m, s: pixel_values(i, s, m),
        ),
        Mistake(
            "mean not subtracted",
            "The mean is not subtracted: every input would be positive.",
            lambda i, m, s: _normalised(i / 255, 0 * m, s),
        ),
        Mistake(
            "not divided by the deviation",
            "The deviation is missing: the numbers spread over less than 1.",
            lambda i, m, s: _normalised(i / 255, m, torch.ones_like(s)),
        ),
        Mistake(
            "multiplied by the deviation",
            "Did you multiply by std? Divide by it: a channel that varies little is stretched.",
            lambda i, m, s: _normalised(i / 255, m, 1 / s),
        ),
        Mistake(
            "mean added",
            "The mean is added; subtract it.",
            lambda i, m, s: _normalised(i / 255, -m, s),
        ),
        Mistake(
            "divided by 256",
            "Was it divided by 256? The largest byte is 255 and becomes exactly 1.",
            lambda i, m, s: _normalised(i / 256, m, s),
        ),
        Mistake(
            "reshaped instead of permuted",
            "A view or reshape to (N, 3, H, W) only cuts the same row of numbers in other places, and mixes the "
            "colours: the axes have to be moved.",
            lambda i, m, s: (i.reshape(len(i), 3, *i.shape[1:3]) / 255 - m[:, None, None]) / s[:, None, None],
        ),
        Mistake(
            "channels last",
            "The channels are still last: a network expects (N, 3, height, width).",
            lambda i, m, s: (i / 255 - m) / s,
        ),
        Mistake(
            "height and width exchanged",
            "Height and width are exchanged: the pictures lie on their side. Which axis is which after the move?",
            lambda i, m, s: pixel_values(i, m, s).transpose(2, 3),
        ),
        Mistake(
            "colours reversed",
            "Red and blue are exchanged: the channels stay in the order they come in.",
            lambda i, m, s: pixel_values(i.flip(-1), m, s),
        ),
        Mistake(
            "each picture by its own mean",
            "These are normalised by their own statistics: use the mean and std that are given. Otherwise a dark "
            "picture and a bright one of the same scene look alike.",
            sign=_each_by_its_own,
        ),
        Mistake(
            "computed in bytes",
            "The subtraction or division was done in whole numbers, which cuts off what comes after the point: turn "
            "the bytes into floats first.",
            lambda i, m, s: _normalised(torch.div(i, 255, rounding_mode="floor"), m, s),
        ),
    ),
    explanation="A wrong normalisation raises no error: the network runs, and is just worse. That is why this is the "
    "first thing to look at when a published model disappoints.",
)


# 02.2 ---------------------------------------------------------------------------------------------------------------


def convolve(
    feature_map: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, stride: int, padding: int
) -> torch.Tensor:
    """PyTorch's own convolution."""
    return F.conv2d(feature_map, weight, bias, stride, padding)


def convolution_case(
    seed: int,
    about: str,
    sizes: tuple[int, int, int, int],
    kernel: tuple[int, int, int],
    stride: int,
    padding: int,
    dtype: torch.dtype = torch.float32,
    **more: Any,
) -> Case:
    """A feature map of `sizes` (B, C, H, W) and a kernel (D, KH, KW)."""
    filters, *window = kernel
    inputs = {
        "feature_map": normal(seed, *sizes, dtype=dtype) + 1,
        "weight": normal(seed + 1, filters, sizes[1], *window, dtype=dtype),
        "bias": 2 * normal(seed + 2, filters, dtype=dtype),
        "stride": stride,
        "padding": padding,
    }
    return Case(about, inputs, **more)


def convolution_cases(seed: int) -> list[Case]:
    edge = {
        "feature_map": torch.tensor([[[[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 2.0, 3.0]]]]),
        "weight": torch.tensor([[[[-1.0, 1.0], [0.0, 0.5]]]]),
        "bias": torch.tensor([0.25]),
        "stride": 1,
        "padding": 0,
    }
    return [
        Case("one channel and a small kernel, worked out by hand", edge),
        convolution_case(10 * seed + 3, "two pictures, padding and a stride", (2, 3, 7, 6), (4, 3, 3), 2, 1),
    ]


CONVOLVE = Exercise(
    id="02.2",
    title="Convolution from its definition",
    name="convolve",
    signature="def convolve(feature_map: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor",
    asked="function",
    difficulty=2,
    minutes=14,
    points=3,
    hints=(
        "Every output is a sum of products: the kernel laid over one window of the padded map. So first collect the "
        "windows, then multiply and add.",
        "padded.unfold(2, KH, stride) cuts the rows into windows and puts the window's rows at the end; a second "
        "unfold along dimension 3 does the columns. The result has shape (B, C, H', W', KH, KW). Two loops over the "
        "output's places do as well.",
        "F.pad(x, (left, right, top, bottom)) pads with zeros. torch.einsum('bchwij,dcij->bdhw', windows, weight) "
        "sums over channels and over the window; bias[:, None, None] is added to each channel.",
    ),
    cases=convolution_cases,
    reference=convolve,
    mistakes=(
        Mistake(
            "kernel flipped",
            "The kernel is turned round. That is convolution as mathematics has it; networks leave it as it is "
            "(a cross-correlation).",
            lambda x, w, b, s, p: convolve(x, w.flip(2, 3), b, s, p),
        ),
        Mistake(
            "kernel transposed",
            "Rows and columns of the kernel are exchanged: weight is (D, C, rows, columns).",
            lambda x, w, b, s, p: convolve(x, w.transpose(2, 3), b, s, p),
        ),
        Mistake(
            "bias left out",
            "The bias is missing: one number for each output channel.",
            lambda x, w, b, s, p: convolve(x, w, 0 * b, s, p),
        ),
        Mistake(
            "bias subtracted",
            "The bias is subtracted; add it.",
            lambda x, w, b, s, p: convolve(x, w, -b, s, p),
        ),
        Mistake(
            "bias for every channel of the input",
            "The bias is added more than once: is it inside the sum over the channels or the window?",
            lambda x, w, b, s, p: convolve(x, w, b * w.shape[1], s, p),
        ),
        Mistake(
            "padding left out",
            "The padding is missing: the map should be framed by zeros before the kernel is laid over it.",
            lambda x, w, b, s, p: convolve(x, w, b, s, 0),
        ),
        Mistake(
            "padded on one side",
            "Only one side of each axis is padded: the frame goes all round.",
            lambda x, w, b, s, p: convolve(F.pad(x, (p, 0, p, 0)), w, b, s, 0),
        ),
        Mistake(
            "padded with copies of the edge",
            "The frame holds copies of the edge; here it is zeros.",
            lambda x, w, b, s, p: convolve(F.pad(x, (p, p, p, p), mode="replicate"), w, b, s, 0),
        ),
        Mistake(
            "stride left out",
            "The kernel moves by one place at a time: it should move by `stride`.",
            lambda x, w, b, s, p: convolve(x, w, b, 1, p),
        ),
        Mistake(
            "stride only along rows",
            "The stride is used along one axis only.",
            lambda x, w, b, s, p: F.conv2d(x, w, b, (s, 1), p),
        ),
        Mistake(
            "channels not summed",
            "Only one channel of the input takes part: an output sums over all of them.",
            lambda x, w, b, s, p: convolve(x[:, :1], w[:, :1], b, s, p),
        ),
        Mistake(
            "mean instead of sum",
            "The products are averaged over the window; a convolution adds them up.",
            lambda x, w, b, s, p: convolve(x, w / w[0].numel(), b, s, p),
        ),
        Mistake(
            "largest instead of sum",
            "The largest product of each window is taken: that would be a kind of pooling.",
            lambda x, w, b, s, p: (
                (F.unfold(x, w.shape[2:], padding=p, stride=s)[:, None] * w.flatten(1)[None, :, :, None]).amax(dim=2)
                + b[:, None]
            ).view_as(convolve(x, w, b, s, p)),
        ),
    ),
    explanation="Written with windows as columns it is one matrix product, (D, C·KH·KW) by (C·KH·KW, places): so "
    "libraries have long computed it. torch.nn.functional.conv2d is what your answer was compared with.",
)


# 02.3 ---------------------------------------------------------------------------------------------------------------

READING = {
    "curves": "b",
    "curves_because": "c",
    "colours": "d",
    "deep": "a",
    "field": "c",
    "tokens": "d",
}

_WHY_NOT = {
    ("curves", "a"): "Who starts from nothing has nothing but the few labels: at 64 examples it is the lowest of the "
    "three.",
    ("curves", "c"): "Frozen features cannot get better: look which curve has stopped rising at 4,096 examples.",
    ("curves", "d"): "At 4,096 examples A is the lowest. Fine-tuning may change every weight, and has more to give.",
    ("curves_because", "a"): "A probe has far fewer weights to fit, and so overfits less. That is its strength at 64 "
    "examples.",
    ("curves_because", "b"): "The learning rate does not tell the three apart: with more examples the same one serves.",
    ("curves_because", "d"): "All three are measured on the same test examples, which none has seen.",
    ("colours", "a"): "Dividing by 255 twice makes every picture nearly black: orange would not become blue.",
    ("colours", "b"): "A turned or mirrored picture has the same colours.",
    ("colours", "c"): "An untrained network would guess the shapes too; here they are right.",
    ("deep", "b"): "Overfitting shows as a low training loss and a high test loss. This is the training loss, and it "
    "is high.",
    ("deep", "c"): "The deep plain network could copy the shallow one and do nothing in the other layers: it can "
    "express what is needed, and more.",
    ("deep", "d"): "The residual network has the same depth, the same width and the same data, and learns.",
    ("field", "a"): "That adds up the kernels less one, as if no layer had a stride. After a stride of 2 one step "
    "covers two pixels.",
    ("field", "b"): "The pooling is a layer too: its window adds (2 - 1) steps, and its stride doubles what comes "
    "after it.",
    ("field", "d"): "Is each layer's own stride counted for that layer already? It only counts for those that follow.",
    ("tokens", "a"): "The number of tokens grows with the area: twice the side is four times the patches.",
    ("tokens", "b"): "Four times as many tokens; but each of them is compared with each other one.",
    ("tokens", "c"): "Eight would be the volume of a cube. Count tokens first, then pairs of tokens.",
}  # fmt: skip


READ = Exercise(
    id="02.3",
    title="Read curves and failures, choose and justify",
    name="answers_02_3",
    signature="answers_02_3: dict[str, str]",
    asked="value",
    difficulty=2,
    minutes=12,
    points=2,
    hints=(
        "For the curves, look at both ends: who has least to learn from 64 examples, and who can learn most from "
        "4,096?",
        "For the colours, write down orange, blue and black as (r, g, b), and ask what simple change makes blue of "
        "orange, orange of blue, and leaves black as it is. For the receptive field, keep two numbers: its size, and "
        "how many pixels one step is.",
        "Each layer adds (kernel - 1) times the step so far to the size, and then multiplies the step by its stride: "
        "begin with size 1 and step 1. For the tokens: (448 / 16) squared, and attention compares all pairs.",
    ),
    cases=lambda seed: [Case("all six questions")],
    reference=READING,
    mistakes=wrong_choices(_WHY_NOT),
    keys={key: ("a", "b", "c", "d") for key in READING},
    explanation="With little data, change little: a probe first, fine-tuning as labels grow. And a loss that is high "
    "in training is no overfitting: the optimisation fails, and shortcuts mend that.",
)


# 02.4 ---------------------------------------------------------------------------------------------------------------


class ResidualBlock(nn.Module):
    """ResNet's basic block under torchvision's names. The steps that a likely mistake changes are methods."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))

    def forward(self, feature_map: torch.Tensor) -> torch.Tensor:
        return self.join(self.branch(feature_map), self.shortcut(feature_map))

    def branch(self, feature_map: torch.Tensor) -> torch.Tensor:
        return self.bn2(self.conv2(F.relu(self.bn1(self.conv1(feature_map)))))

    def shortcut(self, feature_map: torch.Tensor) -> torch.Tensor:
        return feature_map if self.downsample is None else self.downsample(feature_map)

    def join(self, branch: torch.Tensor, shortcut: torch.Tensor) -> torch.Tensor:
        return F.relu(branch + shortcut)


class _NoShortcut(ResidualBlock):
    def join(self, branch, shortcut):
        return F.relu(branch)


class _NoLastReLU(ResidualBlock):
    def join(self, branch, shortcut):
        return branch + shortcut


class _ReLUBeforeSum(ResidualBlock):
    def join(self, branch, shortcut):
        return F.relu(branch) + shortcut


class _ReLUTwice(ResidualBlock):
    def join(self, branch, shortcut):
        return F.relu(F.relu(branch) + shortcut)


class _NoFirstReLU(ResidualBlock):
    def branch(self, feature_map):
        return self.bn2(self.conv2(self.bn1(self.conv1(feature_map))))


class _NormAfterReLU(ResidualBlock):
    def branch(self, feature_map):
        return self.bn2(self.conv2(self.bn1(F.relu(self.conv1(feature_map)))))


class _NoNorms(ResidualBlock):
    def branch(self, feature_map):
        return self.conv2(F.relu(self.conv1(feature_map)))


class _NoSecondNorm(ResidualBlock):
    def branch(self, feature_map):
        return self.conv2(F.relu(self.bn1(self.conv1(feature_map))))


class _NormsExchanged(ResidualBlock):
    def branch(self, feature_map):
        return self.bn1(self.conv2(F.relu(self.bn2(self.conv1(feature_map)))))


class _ShortcutWithoutNorm(ResidualBlock):
    def shortcut(self, feature_map):
        return feature_map if self.downsample is None else self.downsample[0](feature_map)


class _ReLUInShortcut(ResidualBlock):
    def shortcut(self, feature_map):
        return F.relu(super().shortcut(feature_map))


class _Product(ResidualBlock):
    def join(self, branch, shortcut):
        return F.relu(branch * shortcut)


class _LateStride(ResidualBlock):
    def branch(self, feature_map):
        first = F.conv2d(feature_map, self.conv1.weight, padding=1)
        return self.bn2(F.conv2d(F.relu(self.bn1(first)), self.conv2.weight, stride=self.conv1.stride, padding=1))


class _AlwaysTraining(ResidualBlock):
    def forward(self, feature_map):
        return self.train()._run(feature_map)

    def _run(self, feature_map):
        return ResidualBlock.forward(self, feature_map)


def block_case(
    seed: int, about: str, sizes: tuple[int, int, int, int], out_channels: int, stride: int, **more: Any
) -> Case:
    """A feature map of `sizes` (B, C, H, W), and weights as a trained block might have them."""
    in_channels = sizes[1]
    offset = iter(range(1, 100))

    def weights(*shape: int) -> torch.Tensor:
        return normal(seed + next(offset), *shape) / (shape[1] * shape[2] * shape[3]) ** 0.5

    def norm(name: str) -> dict[str, torch.Tensor]:
        return {
            f"{name}.weight": 1 + 0.4 * normal(seed + next(offset), out_channels),
            f"{name}.bias": 0.5 * normal(seed + next(offset), out_channels),
            f"{name}.running_mean": 0.5 * normal(seed + next(offset), out_channels),
            f"{name}.running_var": 0.3 + normal(seed + next(offset), out_channels).square(),
            f"{name}.num_batches_tracked": torch.tensor(7),
        }

    state = {"conv1.weight": weights(out_channels, in_channels, 3, 3), **norm("bn1")}
    state |= {"conv2.weight": weights(out_channels, out_channels, 3, 3), **norm("bn2")}
    if stride != 1 or in_channels != out_channels:
        state |= {"downsample.0.weight": weights(out_channels, in_channels, 1, 1), **norm("downsample.1")}
    construct = {"in_channels": in_channels, "out_channels": out_channels, "stride": stride}
    return Case(about, {"feature_map": 1.5 * normal(seed, *sizes)}, construct=construct, state=state, **more)


def block_cases(seed: int) -> list[Case]:
    return [
        block_case(100 * seed, "a block that keeps its shape", (1, 2, 3, 3), 2, 1),
        block_case(100 * seed + 30, "twice the channels at half the size", (2, 3, 6, 8), 6, 2),
    ]


BLOCK = Exercise(
    id="02.4",
    title="A residual block",
    name="ResidualBlock",
    signature="class ResidualBlock(nn.Module)",
    asked="module",
    difficulty=3,
    minutes=14,
    points=3,
    hints=(
        "Write the branch first: convolution, norm, ReLU, convolution, norm. The second ReLU waits until the shortcut "
        "was added.",
        "The shortcut is the input itself where branch and input have one shape. They do not where stride is not 1, or "
        "where the number of channels changes: in either case `downsample` brings the input to the branch's shape.",
        "downsample = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), "
        "nn.BatchNorm2d(out_channels)); return F.relu(branch + shortcut). Only conv1 and downsample have the stride.",
    ),
    cases=block_cases,
    reference=ResidualBlock,
    mistakes=(
        Mistake(
            "shortcut left out",
            "The shortcut is missing: what came in is to be added to what the branch gives.",
            _NoShortcut,
        ),
        Mistake(
            "last ReLU left out",
            "The ReLU after the sum is missing: some of the results are negative.",
            _NoLastReLU,
        ),
        Mistake(
            "ReLU before the sum",
            "The ReLU stands before the sum: the branch could only ever add. Add first, then apply it.",
            _ReLUBeforeSum,
        ),
        Mistake(
            "branch cut off before the sum",
            "There is a ReLU after the second norm as well as after the sum: the branch could never take away.",
            _ReLUTwice,
        ),
        Mistake(
            "first ReLU left out",
            "There is no ReLU between the two convolutions: without it they are but one convolution.",
            _NoFirstReLU,
        ),
        Mistake(
            "norm after the ReLU",
            "The first norm comes after the ReLU: the order is convolution, norm, ReLU.",
            _NormAfterReLU,
        ),
        Mistake("norms left out", "The norms of the branch are not applied.", _NoNorms),
        Mistake("second norm left out", "The norm after the second convolution is not applied.", _NoSecondNorm),
        Mistake("norms exchanged", "bn1 and bn2 are exchanged: bn1 follows conv1.", _NormsExchanged),
        Mistake(
            "shortcut without its norm",
            "The shortcut's convolution is applied and its norm is not.",
            _ShortcutWithoutNorm,
        ),
        Mistake(
            "ReLU in the shortcut",
            "There is a ReLU in the shortcut: the way round has no activation, so that gradients pass it unchanged.",
            _ReLUInShortcut,
        ),
        Mistake("multiplied", "Branch and shortcut are multiplied: add them.", _Product),
        Mistake(
            "stride in the second convolution",
            "The stride is in the second convolution: here the first one halves the map, as in torchvision's ResNet.",
            _LateStride,
        ),
        Mistake(
            "norm by the batch",
            "The norms use the statistics of this batch instead of those that were learnt: does something call train() "
            "or F.batch_norm with training=True?",
            _AlwaysTraining,
        ),
    ),
    explanation="A ResNet-18 is a stem, eight of these in four stages (64, 128, 256, 512 channels), a mean over places "
    "and a linear layer; torchvision's weights for its blocks fit yours by name.",
)


# 02.5 ---------------------------------------------------------------------------------------------------------------


class ViTEmbedding(nn.Module):
    """A vision transformer's first layer; the patches are cut by the convolution that this is, with its weights."""

    def __init__(self, image_size: tuple[int, int], patch_size: int, channels: int, width: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        patches = (image_size[0] // patch_size) * (image_size[1] // patch_size)
        self.projection = nn.Linear(channels * patch_size**2, width)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embedding = nn.Parameter(torch.zeros(1, 1 + patches, width))

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        token = self.class_token.expand(len(pixel_values), -1, -1)
        return self.join(token, self.patches(pixel_values), self.position_embedding)

    def patches(self, pixel_values: torch.Tensor) -> torch.Tensor:
        size = self.patch_size
        kernel = self.kernel(self.projection.weight, pixel_values.shape[1], size)
        cells = F.conv2d(pixel_values, kernel, self.projection.bias, stride=size)
        return self.in_order(cells)

    # The steps that a likely mistake changes.
    def kernel(self, weight: torch.Tensor, channels: int, size: int) -> torch.Tensor:
        return weight.view(-1, channels, size, size)

    def in_order(self, cells: torch.Tensor) -> torch.Tensor:
        return cells.flatten(2).transpose(1, 2)

    def join(self, token: torch.Tensor, patches: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return torch.cat([token, patches], dim=1) + positions


class _ColorsLast(ViTEmbedding):
    def kernel(self, weight, channels, size):
        return weight.view(-1, size, size, channels).permute(0, 3, 1, 2)


class _PatchOnItsSide(ViTEmbedding):
    def kernel(self, weight, channels, size):
        return super().kernel(weight, channels, size).transpose(2, 3)


class _ColumnByColumn(ViTEmbedding):
    def in_order(self, cells):
        return cells.transpose(2, 3).flatten(2).transpose(1, 2)


class _PlainView(ViTEmbedding):
    def patches(self, pixel_values):
        return self.projection(pixel_values.reshape(len(pixel_values), -1, self.projection.in_features))


class _RowsOfPatches(ViTEmbedding):
    """Cuts rightly, and forgets to bring the two numbers of the grid together before flattening."""

    def patches(self, pixel_values):
        batch, channels, height, width = pixel_values.shape
        size = self.patch_size
        cut = pixel_values.reshape(batch, channels, height // size, size, width // size, size)
        return self.projection(cut.permute(0, 2, 3, 1, 4, 5).reshape(batch, -1, self.projection.in_features))


class _TokenLast(ViTEmbedding):
    def join(self, token, patches, positions):
        return torch.cat([patches, token], dim=1) + positions


class _NoPositions(ViTEmbedding):
    def join(self, token, patches, positions):
        return torch.cat([token, patches], dim=1)


class _TokenWithoutPosition(ViTEmbedding):
    def join(self, token, patches, positions):
        return torch.cat([token, patches + positions[:, 1:]], dim=1)


class _ShiftedPositions(ViTEmbedding):
    def join(self, token, patches, positions):
        return torch.cat([token + positions[:, -1:], patches + positions[:, :-1]], dim=1)


class _PositionsTimes(ViTEmbedding):
    def join(self, token, patches, positions):
        return torch.cat([token, patches], dim=1) * positions


class _NoToken(ViTEmbedding):
    def join(self, token, patches, positions):
        return patches + positions[:, 1:]


class _ZeroToken(ViTEmbedding):
    def join(self, token, patches, positions):
        return torch.cat([torch.zeros_like(token), patches], dim=1) + positions


def embedding_case(
    seed: int,
    about: str,
    batch: int,
    image_size: tuple[int, int],
    patch_size: int,
    channels: int,
    width: int,
    **more: Any,
) -> Case:
    """Pictures, and weights as a trained layer might have them."""
    patches = (image_size[0] // patch_size) * (image_size[1] // patch_size)
    inside = channels * patch_size**2
    state = {
        "projection.weight": normal(seed + 1, width, inside) / inside**0.5,
        "projection.bias": 0.5 * normal(seed + 2, width),
        "class_token": normal(seed + 3, 1, 1, width),
        "position_embedding": normal(seed + 4, 1, 1 + patches, width),
    }
    construct = {"image_size": image_size, "patch_size": patch_size, "channels": channels, "width": width}
    inputs = {"pixel_values": normal(seed + 5, batch, channels, *image_size)}
    return Case(about, inputs, construct=construct, state=state, **more)


def embedding_cases(seed: int) -> list[Case]:
    starts = {"initial": ("class_token", "position_embedding")}
    return [
        embedding_case(100 * seed, "one grey picture of two patches", 1, (2, 4), 2, 1, 3, **starts),
        embedding_case(100 * seed + 10, "three pictures in colour, wider than high", 3, (8, 12), 4, 3, 6),
    ]


EMBEDDING = Exercise(
    id="02.5",
    title="A picture as a sequence: the vision transformer's first layer",
    name="ViTEmbedding",
    signature="class ViTEmbedding(nn.Module)",
    asked="module",
    difficulty=3,
    minutes=16,
    points=3,
    hints=(
        "Cut each axis in two: (H, W) becomes (H/P, P, W/P, P) by a reshape, which moves nothing in memory. Then bring "
        "the two grid numbers together, and the three numbers of a patch.",
        "reshape(B, C, H // P, P, W // P, P), then permute so that the order is batch, grid row, grid column, channel, "
        "row in the patch, column in the patch; a last reshape flattens to (B, N, C·P·P).",
        "permute(0, 2, 4, 1, 3, 5). torch.cat([class_token for each picture, projected patches], dim=1), and the "
        "positions are added to all 1 + N tokens at the end.",
    ),
    cases=embedding_cases,
    reference=ViTEmbedding,
    mistakes=(
        Mistake(
            "pixels in another order",
            "The patches are the right ones, but the pixels in them are in another order: channel first, then row, "
            "then column, as in the weights of a convolution.",
            _ColorsLast,
        ),
        Mistake(
            "patches on their side",
            "Rows and columns inside a patch are exchanged.",
            _PatchOnItsSide,
        ),
        Mistake(
            "column by column",
            "The patches are in the wrong order: row by row, from left to right within each, as one reads.",
            _ColumnByColumn,
        ),
        Mistake(
            "reshaped without moving axes",
            "A single reshape cuts the picture's memory into pieces of equal length: these are stripes, not patches. "
            "Axes have to be moved in between.",
            _PlainView,
        ),
        Mistake(
            "rows of neighbouring patches mixed",
            "Pixels of neighbouring patches are mixed: after the cut, the grid's row and column have to come together "
            "before anything of the patch.",
            _RowsOfPatches,
        ),
        Mistake(
            "class token last",
            "The class token is at the end: it comes first, where the classifier reads it.",
            _TokenLast,
        ),
        Mistake(
            "positions left out",
            "The positions are missing: without them the transformer sees a bag of patches.",
            _NoPositions,
        ),
        Mistake(
            "class token without position",
            "The class token got no position: there are 1 + N of them, and the first is its own.",
            _TokenWithoutPosition,
        ),
        Mistake(
            "positions shifted",
            "The positions are shifted by one: the first belongs to the class token, the second to the first patch.",
            _ShiftedPositions,
        ),
        Mistake("positions multiplied", "The positions are multiplied: add them.", _PositionsTimes),
        Mistake(
            "class token left out",
            "The class token is missing: 1 + N tokens should come out.",
            _NoToken,
        ),
        Mistake(
            "class token not used",
            "The class token is all zeros: use self.class_token.",
            _ZeroToken,
        ),
    ),
    explanation="It is a convolution whose stride is its kernel: nn.Conv2d(C, D, P, stride=P) with these weights gives "
    "the same, which is how the published code writes it. Behind it come the blocks of lesson 01, and you have a ViT.",
)


# 02.6 ---------------------------------------------------------------------------------------------------------------

CLASSES, WIDTH = 8, 96
TRAINING, VALIDATION, HELD_BACK = 112, 200, 1000
PENALTIES = (0.01, 1.0, 30.0, 10_000.0)


def frozen_features(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features `(count, 96)` as a frozen encoder might give, and labels from 0 to 7, each as often as the others.

    Classes lie along directions of their own, six strong directions say nothing of the class, and every third column
    has numbers in the thousands where the others have thousandths.
    """
    drawn = generator(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=drawn)

    directions = torch.linalg.qr(draw(WIDTH, CLASSES + 6))[0].T
    scale = torch.where(torch.arange(WIDTH) % 3 == 0, 300.0, 0.001)
    labels = torch.arange(count) % CLASSES
    centres = 5.5 * (directions[:CLASSES] - directions[:CLASSES].mean(dim=0))
    features = centres[labels] + 15 * draw(count, 6) @ directions[CLASSES:] + draw(count, WIDTH)
    return features * scale, labels


def probe_case(seed: int, about: str) -> Case:
    """112 examples to fit, 200 to choose by, 1,000 that only the judge sees."""
    features, labels = frozen_features(seed, TRAINING + VALIDATION + HELD_BACK)
    split = [TRAINING, VALIDATION, HELD_BACK]
    (train, validation, held_back), (own, others, hidden) = features.split(split), labels.split(split)
    return Case(
        about,
        {
            "features": train, "labels": own, "validation_features": validation, "validation_labels": others,
            "penalties": list(PENALTIES),
        },
        hidden={"features": held_back, "labels": hidden},
    )  # fmt: skip


def fit_probe(
    features: torch.Tensor,
    labels: torch.Tensor,
    validation_features: torch.Tensor,
    validation_labels: torch.Tensor,
    penalties: list[float],
) -> torch.Tensor:
    """Ridge regression on columns of one scale, for each penalty; the best on the validation split."""
    scale = features.double().std(dim=0)
    inputs, targets = features / scale, F.one_hot(labels, CLASSES).double()
    best, chosen = -1.0, None
    for penalty in penalties:
        square = inputs.T @ inputs + penalty * torch.eye(WIDTH, dtype=torch.float64, device=features.device)
        weight = (torch.linalg.solve(square, inputs.T @ targets) / scale[:, None]).float()
        right = accuracy(validation_features @ weight, validation_labels)
        if right > best:
            best, chosen = right, weight
    return chosen


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """How often the largest logit is the label's."""
    return float((logits.argmax(dim=1) == labels).float().mean())


def _weight(value: Any) -> torch.Tensor:
    """The weight that was returned."""
    if type(value) is not torch.Tensor:
        raise InputError(f"One tensor of shape {(WIDTH, CLASSES)} is expected: the weight.")
    if tuple(value.shape) != (WIDTH, CLASSES):
        turned = " It is transposed." if tuple(value.shape) == (CLASSES, WIDTH) else ""
        raise InputError(f"The weight should have shape {(WIDTH, CLASSES)}, and has {tuple(value.shape)}.{turned}")
    if not value.is_floating_point() or not torch.isfinite(value).all():
        raise InputError("The weight should hold finite floating numbers: did the fit diverge?")
    return value.float()


def held_back_accuracy(case: Case, value: Any) -> float:
    """Accuracy on the examples that were held back."""
    return accuracy(case.hidden["features"] @ _weight(value), case.hidden["labels"])


def _training_accuracy(case: Case, value: Any) -> float:
    return accuracy(case.inputs["features"] @ _weight(value), case.inputs["labels"])


def _meant_for_one_scale(case: Case, value: Any) -> float:
    """What the weight would reach on columns of one scale."""
    scale = case.inputs["features"].std(dim=0)
    return accuracy(case.hidden["features"] / scale @ _weight(value), case.hidden["labels"])


def _small_columns(case: Case, value: Any) -> float:
    """The share of the logits' spread that comes from the columns with small numbers: two thirds of all columns."""
    spread = (_weight(value) * case.inputs["features"].std(dim=0)[:, None]).square().sum(dim=1)
    return float(spread[torch.arange(WIDTH) % 3 != 0].sum() / spread.sum())


PROBE = Exercise(
    id="02.6",
    title="A linear probe that holds for unseen pictures",
    name="fit_probe",
    signature="def fit_probe(features: Tensor, labels: Tensor, validation_features: Tensor, validation_labels: Tensor, "
    "penalties: list[float]) -> Tensor",
    asked="function",
    difficulty=4,
    minutes=14,
    points=4,
    hints=(
        "Look at the features first: features.std(dim=0). A penalty treats all weights alike, so the columns have to "
        "be brought to one scale before it.",
        "Ridge regression onto one-hot targets needs no loop over steps: W = solve(X.T @ X + penalty * I, X.T @ Y), "
        "with X the scaled features. Fit one for each penalty, and keep the one with the best accuracy on the "
        "validation split: on the training split the smallest penalty always looks best.",
        "The probe meets features as they come: (x / std) @ W is x @ (W / std[:, None]), so return that. "
        "torch.linalg.solve and F.one_hot(labels).float() do the work.",
    ),
    cases=lambda seed: [probe_case(1000 + seed, "a first set of features")],
    reference=fit_probe,
    measure=Measure(
        f"accuracy on {HELD_BACK:,} held-back pictures",
        held_back_accuracy,
        at_least=0.9,
        chance=1 / CLASSES,
        baseline=0.75,
    ),
    mistakes=(
        Mistake(
            "scale not folded in",
            "These weights would do well on columns of one scale; the check gives the features as they come. Fold the "
            "scale into the weights.",
            sign=lambda case, value: _meant_for_one_scale(case, value) > 0.8,
        ),
        Mistake(
            "not fitted",
            "That is about what guessing gets: is the weight fitted to these labels, in this order?",
            sign=lambda case, value: _training_accuracy(case, value) < 0.3,
        ),
        Mistake(
            "columns of different scale",
            "Nearly all that the probe says comes from the columns with large numbers. A penalty on the weights hits "
            "columns with small numbers hardest: bring all columns to one scale first.",
            sign=lambda case, value: _small_columns(case, value) < 0.4,
        ),
        Mistake(
            "learnt by heart",
            "All training examples are right and too few unseen ones: the probe learnt them by heart. With 96 weights "
            "for 112 examples it takes a penalty, chosen on the validation split.",
            sign=lambda case, value: _training_accuracy(case, value) > 0.995,
        ),
        Mistake(
            "too stiff",
            "Not even the training examples are right: is the penalty too large, or the training too short?",
            sign=lambda case, value: _training_accuracy(case, value) <= 0.995,
        ),
    ),
    equivalents={
        "square = inputs.T @ inputs + torch.eye(inputs.shape[1])": "a penalty of 1, one of those offered, reaches the "
        "measure too",
    },
    explanation="This is how CLIP's paper compares encoders on 27 data sets: a linear probe whose penalty is swept on "
    "a validation split. What it says of an encoder is only as good as that sweep.",
    seconds=30.0,
)


# 02.7 ---------------------------------------------------------------------------------------------------------------


def shifted_windows(feature_map: torch.Tensor, size: int, shift: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The library's windows of a rolled map, and which places of a window were neighbours before."""
    height, width = feature_map.shape[1:3]
    parts = windows(feature_map.roll((-shift, -shift), (1, 2)), size)
    return parts, neighbours(height, width, size, (shift, shift)).to(feature_map.device)


def window_case(seed: int, about: str, sizes: tuple[int, int, int, int], size: int, shift: int, **more: Any) -> Case:
    """A feature map of `sizes` (B, H, W, D)."""
    return Case(about, {"feature_map": normal(seed, *sizes), "size": size, "shift": shift}, **more)


def window_cases(seed: int) -> list[Case]:
    numbered = torch.arange(16.0).view(1, 4, 4, 1)
    return [
        Case("sixteen places, numbered, in four windows", {"feature_map": numbered, "size": 2, "shift": 1}),
        window_case(10 * seed + 1, "two maps, wider than high", (2, 4, 8, 3), 4, 2),
        window_case(10 * seed + 2, "no shift, where every place may look at its whole window", (1, 6, 3, 2), 3, 0),
    ]


def _both(parts: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return parts, mask


def _unmasked(x: torch.Tensor, size: int, shift: int) -> tuple[torch.Tensor, torch.Tensor]:
    parts, mask = shifted_windows(x, size, shift)
    return parts, torch.ones_like(mask)


def _rolled_back(x: torch.Tensor, size: int, shift: int) -> tuple[torch.Tensor, torch.Tensor]:
    return windows(x.roll((shift, shift), (1, 2)), size), shifted_windows(x, size, shift)[1]


def _rows_only(x: torch.Tensor, size: int, shift: int) -> tuple[torch.Tensor, torch.Tensor]:
    return shifted_windows(x, size, shift)[0], neighbours(*x.shape[1:3], size, (shift, 0)).to(x.device)


def _columns_only(x: torch.Tensor, size: int, shift: int) -> tuple[torch.Tensor, torch.Tensor]:
    return shifted_windows(x, size, shift)[0], neighbours(*x.shape[1:3], size, (0, shift)).to(x.device)


def _wrapped_or_not(x: torch.Tensor, size: int, shift: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three regions instead of four: whatever came round, by rows or by columns, is taken for one."""
    height, width = x.shape[1:3]
    rows, columns = torch.arange(height) >= height - shift, torch.arange(width) >= width - shift
    part = windows((rows[:, None] | columns)[None, :, :, None], size)[0, :, :, 0]
    return shifted_windows(x, size, shift)[0], (part[:, :, None] == part[:, None]).to(x.device)


def _region_added(x: torch.Tensor, size: int, shift: int) -> tuple[torch.Tensor, torch.Tensor]:
    height, width = x.shape[1:3]
    rows, columns = torch.arange(height) >= height - shift, torch.arange(width) >= width - shift
    part = windows((rows.long()[:, None] + columns.long())[None, :, :, None], size)[0, :, :, 0]
    return shifted_windows(x, size, shift)[0], (part[:, :, None] == part[:, None]).to(x.device)


def _first_places(x: torch.Tensor, size: int, shift: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The mask for a map that was not rolled: what comes round is looked for at the beginning."""
    height, width = x.shape[1:3]
    rows, columns = torch.arange(height) < shift, torch.arange(width) < shift
    part = windows((2 * rows.long()[:, None] + columns)[None, :, :, None], size)[0, :, :, 0]
    return shifted_windows(x, size, shift)[0], (part[:, :, None] == part[:, None]).to(x.device)


def _strips(x: torch.Tensor, size: int, shift: int) -> tuple[torch.Tensor, torch.Tensor]:
    parts, mask = shifted_windows(x, size, shift)
    return x.roll((-shift, -shift), (1, 2)).reshape(parts.shape), mask


def _column_major(x: torch.Tensor, size: int, shift: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The windows of a column one after the other, mask and all."""
    parts, mask = shifted_windows(x, size, shift)
    rows, columns = x.shape[1] // size, x.shape[2] // size
    order = torch.arange(rows * columns).view(rows, columns).T.flatten()
    return parts[:, order], mask[order]


WINDOWS = Exercise(
    id="02.7",
    title="Shifted windows and their mask",
    name="shifted_windows",
    signature="def shifted_windows(feature_map: Tensor, size: int, shift: int) -> tuple[Tensor, Tensor]",
    asked="function",
    difficulty=5,
    minutes=18,
    points=4,
    hints=(
        "Do the first half alone: torch.roll by -shift along both axes, then cut rows and columns as you cut patches: "
        "a reshape, a permute, a reshape. The case with numbered places shows at once whether it is right.",
        "For the mask, mark which rows of the rolled map came round from the top: the last `shift` of them. The same "
        "for columns. Two places of a window were neighbours before only if they agree in both marks.",
        "Stack both marks to a map (1, H, W, 2) and cut it with the very function that cuts the features: (n, size², "
        "2). Then compare each place with each: (marks[:, :, None] == marks[:, None]).all(dim=3).",
    ),
    cases=window_cases,
    reference=shifted_windows,
    mistakes=(
        Mistake(
            "not rolled",
            "The map is cut without a shift: roll it by -shift along both axes first.",
            lambda x, size, shift: _both(windows(x, size), shifted_windows(x, size, shift)[1]),
        ),
        Mistake(
            "rolled the other way",
            "The map is rolled down and to the right: what stands at row `shift` should come to row 0, so roll by "
            "-shift.",
            _rolled_back,
        ),
        Mistake(
            "rolled along one axis",
            "The map is rolled along one axis only: rows and columns are shifted.",
            lambda x, size, shift: _both(windows(x.roll(-shift, 1), size), shifted_windows(x, size, shift)[1]),
        ),
        Mistake(
            "nothing masked",
            "Every place may look at its whole window: what rolling brought together from opposite edges must not see "
            "each other.",
            _unmasked,
        ),
        Mistake(
            "mask turned round",
            "The mask is the wrong way round: True is for those who may look at each other.",
            lambda x, size, shift: _both(shifted_windows(x, size, shift)[0], ~shifted_windows(x, size, shift)[1]),
        ),
        Mistake(
            "only rows masked",
            "Only rows that came round are kept apart: the same holds for columns.",
            _rows_only,
        ),
        Mistake(
            "only columns masked",
            "Only columns that came round are kept apart: the same holds for rows.",
            _columns_only,
        ),
        Mistake(
            "what came round taken for one",
            "In the last window four pieces of the map meet, and the mask knows two: a piece that came round by rows "
            "is no neighbour of one that came round by columns.",
            _wrapped_or_not,
        ),
        Mistake(
            "two regions with one number",
            "In the last window four pieces of the map meet, and two of them have the same number: row mark plus "
            "column mark does not tell them apart.",
            _region_added,
        ),
        Mistake(
            "mask of the first rows",
            "The mask marks the first rows and columns: after rolling, what came round stands at the end.",
            _first_places,
        ),
        Mistake(
            "strips for windows",
            "The map is cut into strips, not into windows: axes have to be moved between the two reshapes.",
            _strips,
        ),
        Mistake(
            "column by column",
            "The windows are in the wrong order: row by row, from left to right within each.",
            _column_major,
        ),
    ),
    equivalents={
        "came_round = torch.stack(torch.broadcast_tensors(columns, rows[:, None]), dim=2)": "both marks have to agree, "
        "in whichever order they stand",
    },
    explanation="Rolling keeps the number of windows and their size: a shifted layer costs what a plain one costs. "
    "With the mask added to the scores as -inf, this and attention are Swin's block.",
)

EXERCISES = (PIXELS, CONVOLVE, READ, BLOCK, EMBEDDING, PROBE, WINDOWS)
