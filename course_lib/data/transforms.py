"""From pictures to `pixel_values`: resize, crop, scale to [0, 1], normalise; and how training pictures are varied.

The pictures of the microworld stay in memory as uint8, and a batch is indexed out of them and converted when needed:
for pictures this small that is ten times as fast as a DataLoader with workers.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from course_lib.data.colour import hsv_to_rgb, rgb_to_hsv
from course_lib.errors import InputError

# Mean and standard deviation of red, green and blue in CLIP's training pictures (openai/CLIP, clip.py `_transform`).
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
# What SigLIP and many later models use: [0, 1] becomes [-1, 1].
HALF_MEAN = HALF_STD = (0.5, 0.5, 0.5)
# ImageNet's, which torchvision's and most of transformers' image classifiers were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def resize(image: Image.Image, size: int) -> Image.Image:
    """A picture resized so that its shorter side has `size` pixels, and cropped to the square in its middle.

    Bicubic with antialiasing, in the order and with the rounding of CLIP's own preprocessing.

    Raises:
        InputError: the size is not positive.
    """
    if size < 1:
        raise InputError(f"size is {size}; a picture has at least 1 pixel a side")
    width, height = image.size
    shorter = min(width, height)
    resized = image.resize((int(size * width / shorter), int(size * height / shorter)), Image.Resampling.BICUBIC)
    left, top = round((resized.width - size) / 2), round((resized.height - size) / 2)
    return resized.crop((left, top, left + size, top + size))


def to_pixel_values(
    images: np.ndarray | Tensor | Image.Image | Sequence[Image.Image | np.ndarray],
    mean: Sequence[float] = CLIP_MEAN,
    std: Sequence[float] = CLIP_STD,
    size: int | None = None,
) -> Tensor:
    """Pictures as a model takes them.

    Args:
        images: uint8 (N, H, W, 3) as an array or tensor, one picture (H, W, 3) or PIL, or a list of either.
        mean, std: of red, green and blue, subtracted and divided by after scaling to [0, 1].
        size: resize and crop to this many pixels a side first; else the pictures stay as they are.

    Returns:
        float32 (N, 3, H, W), on the device of the tensor given, else on the CPU.

    Raises:
        InputError: no pictures, pictures of different sizes without `size`, or arrays of another shape or type.
    """
    if isinstance(images, (np.ndarray, Tensor)) and size is None:
        batch = torch.as_tensor(images)
        batch = batch[None] if batch.ndim == 3 else batch
    else:
        pictures = [images] if isinstance(images, Image.Image) or getattr(images, "ndim", 0) == 3 else list(images)
        if not pictures:
            raise InputError("there are no pictures; give at least one")
        pictures = [_rgb(picture) for picture in pictures]
        if size is not None:
            pictures = [resize(picture, size) for picture in pictures]
        sizes = {picture.size for picture in pictures}
        if len(sizes) > 1:
            raise InputError(f"the pictures differ in size ({len(sizes)} sizes); give `size` to bring them to one")
        batch = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
    _check(batch)
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise InputError("mean and std need one number for each of red, green and blue, those of std above 0")
    # x / 255 - mean, over std, as one multiplication and one addition.
    scale = torch.tensor([1 / (255 * s) for s in std], dtype=torch.float32, device=batch.device)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], dtype=torch.float32, device=batch.device)
    values = batch.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return values.mul_(scale[:, None, None]).add_(shift[:, None, None])


def _rgb(picture: Image.Image | np.ndarray | Tensor) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    array = np.asarray(picture)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3:
        raise InputError(
            f"a picture is {array.dtype} {tuple(array.shape)}; it should be a PIL image or uint8 (height, width, 3)"
        )
    return Image.fromarray(array)


def _check(batch: Tensor) -> None:
    if batch.dtype != torch.uint8 or batch.ndim != 4 or batch.shape[-1] != 3:
        raise InputError(
            f"the pictures are {str(batch.dtype).removeprefix('torch.')} {tuple(batch.shape)}; "
            "they should be uint8 (N, height, width, 3), not scaled or normalised yet"
        )
    if not len(batch):
        raise InputError("there are no pictures; give at least one")


# ---------------------------------------------------------------- on tensors (N, C, H, W)


def normalise(values: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(N, C, H, W) -> the same shape: each channel minus its mean, over its standard deviation."""
    return (values - _channels(mean, values)) / _channels(std, values)


def denormalise(values: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Undoes `normalise`: pixel values (N, C, H, W) as pictures from 0 to 1 again."""
    return values * _channels(std, values) + _channels(mean, values)


def resize_values(values: Tensor, height: int, width: int) -> Tensor:
    """(N, C, H, W) -> (N, C, height, width), bilinear; a picture made smaller is averaged first (antialiasing)."""
    if height < 1 or width < 1:
        raise InputError(f"the size is {height} x {width}; a picture has at least 1 pixel a side")
    return F.interpolate(values, (height, width), mode="bilinear", antialias=True, align_corners=False)


def centre_crop(values: Tensor, size: int) -> Tensor:
    """(N, C, H, W) -> (N, C, size, size), the square in the middle.

    Raises:
        InputError: the pictures are smaller than that.
    """
    height, width = values.shape[-2:]
    if not 1 <= size <= min(height, width):
        raise InputError(f"a square of {size} does not fit a picture of {height} x {width}")
    top, left = round((height - size) / 2), round((width - size) / 2)
    return values[..., top : top + size, left : left + size]


def random_crop_box(
    height: int,
    width: int,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    generator: torch.Generator | None = None,
) -> tuple[int, int, int, int]:
    """A part of a picture for training: its area a random share, its shape a random ratio, its place random.

    Args:
        height, width: of the picture.
        scale: least and greatest share of its area.
        ratio: least and greatest width over height; drawn so that 1/2 and 2 are as likely.
        generator: what it draws from.

    Returns:
        (top, left, height, width). The middle of the picture if ten tries gave none that fits.

    Source: Szegedy et al., Going Deeper with Convolutions, section 6; as torchvision's RandomResizedCrop draws it.
    """
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        area = height * width * torch.empty(1).uniform_(*scale, generator=generator).item()
        shape = math.exp(torch.empty(1).uniform_(low, high, generator=generator).item())
        part_width, part_height = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < part_width <= width and 0 < part_height <= height:
            top = int(torch.randint(0, height - part_height + 1, (1,), generator=generator))
            left = int(torch.randint(0, width - part_width + 1, (1,), generator=generator))
            return top, left, part_height, part_width
    shape = min(max(width / height, ratio[0]), ratio[1])
    part_width = width if width / height <= shape else round(height * shape)
    part_height = height if width / height >= shape else round(width / shape)
    return (height - part_height) // 2, (width - part_width) // 2, part_height, part_width


def adjust_brightness(pictures: Tensor, factor: float) -> Tensor:
    """(N, 3, H, W) from 0 to 1 -> the same: a blend of black (factor 0) and the picture (1), and beyond it."""
    return (pictures * factor).clamp(0, 1)


def adjust_contrast(pictures: Tensor, factor: float) -> Tensor:
    """(N, 3, H, W) from 0 to 1 -> the same: a blend of each picture's mean grey (factor 0) and the picture (1)."""
    return torch.lerp(_grey(pictures).mean((1, 2, 3), keepdim=True), pictures, factor).clamp(0, 1)


def adjust_saturation(pictures: Tensor, factor: float) -> Tensor:
    """(N, 3, H, W) from 0 to 1 -> the same: a blend of the grey picture (factor 0) and the picture (1)."""
    return torch.lerp(_grey(pictures), pictures, factor).clamp(0, 1)


def adjust_hue(pictures: Tensor, turn: float) -> Tensor:
    """(N, 3, H, W) from 0 to 1 -> the same, all hues turned by a share of the circle, from -0.5 to 0.5."""
    hsv = rgb_to_hsv(pictures.movedim(1, -1))
    turned = torch.cat([(hsv[..., :1] + turn).remainder(1.0), hsv[..., 1:]], -1)
    return hsv_to_rgb(turned).movedim(-1, 1)


def augment(
    pictures: Tensor,
    generator: torch.Generator,
    scale: tuple[float, float] = (0.5, 1.0),
    flip: bool = True,
    jitter: float = 0.2,
    hue: float = 0.0,
) -> Tensor:
    """Each picture cropped, mirrored and recoloured by chance: other numbers, the same meaning.

    What keeps the meaning depends on the task: where colours are asked for, hues may not turn.

    Args:
        pictures: (N, 3, H, W) from 0 to 1, before `normalise`.
        generator: what it draws from.
        scale: least and greatest share of the area that is kept, as in `random_crop_box`.
        flip: whether half of them are mirrored left to right.
        jitter: brightness, contrast and saturation are multiplied by 1 - jitter to 1 + jitter.
        hue: hues turn by up to this share of the circle either way.

    Returns:
        (N, 3, H, W).
    """

    def between(low: float, high: float) -> float:
        return torch.empty(1).uniform_(low, high, generator=generator).item()

    varied = []
    for picture in pictures:
        one = picture[None]
        top, left, height, width = random_crop_box(*one.shape[-2:], scale, generator=generator)
        one = resize_values(one[..., top : top + height, left : left + width], *picture.shape[-2:])
        if flip and between(0, 1) < 0.5:
            one = one.flip(-1)
        for adjust in (adjust_brightness, adjust_contrast, adjust_saturation) if jitter else ():
            one = adjust(one, between(1 - jitter, 1 + jitter))
        varied.append(adjust_hue(one, between(-hue, hue)) if hue else one)
    return torch.cat(varied)


def _grey(pictures: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, 1, H, W), with the weights of ITU-R BT.601, as torchvision and PIL have them."""
    weights = torch.tensor([0.2989, 0.587, 0.114], dtype=pictures.dtype, device=pictures.device)
    return (pictures * weights[:, None, None]).sum(1, keepdim=True)


def _channels(numbers: Sequence[float], values: Tensor) -> Tensor:
    if values.ndim < 3 or len(numbers) != values.shape[-3]:
        raise InputError(
            f"{len(numbers)} numbers do not go with values of shape {tuple(values.shape)}: give one for each channel"
        )
    return torch.tensor(numbers, dtype=values.dtype, device=values.device)[:, None, None]
