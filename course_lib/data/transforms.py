"""From pictures to `pixel_values`: resize, crop, scale to [0, 1], normalise.

The pictures of the microworld stay in memory as uint8, and a batch is indexed out of them and converted when needed:
for pictures this small that is ten times as fast as a DataLoader with workers.
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from course_lib.errors import InputError

# Mean and standard deviation of red, green and blue in CLIP's training pictures (openai/CLIP, clip.py `_transform`).
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
# What SigLIP and many later models use: [0, 1] becomes [-1, 1].
HALF_MEAN = HALF_STD = (0.5, 0.5, 0.5)


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
