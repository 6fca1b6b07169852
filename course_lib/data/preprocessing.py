"""The preprocessing that a published model was trained with: its file read, its pixel values computed.

Two libraries resize a little differently: Pillow, with which all of these models were trained, and torchvision on
tensors, which transformers takes by default since version 5. One pixel in two hundred differs, by 1 of 255 or 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as torchvision

from course_lib.data.transforms import CLIP_MEAN, CLIP_STD, HALF_MEAN, HALF_STD
from course_lib.errors import FileError, InputError
from course_lib.pretrained.weights import find, read_json

# What transformers' classes do where a file is silent; by the beginning of the name in the file.
BILINEAR, BICUBIC = 2, 3
_HALF = {"image_mean": HALF_MEAN, "image_std": HALF_STD, "rescale_factor": 1 / 255}
KINDS = {
    "CLIP": _HALF | {"image_mean": CLIP_MEAN, "image_std": CLIP_STD, "resample": BICUBIC}
    | {"size": {"shortest_edge": 224}, "crop_size": 224, "do_center_crop": True},
    "Siglip": _HALF | {"size": 224, "resample": BICUBIC},
    "ViT": _HALF | {"size": 224, "resample": BILINEAR},
    "ConvNext": _HALF | {"size": {"shortest_edge": 384}, "resample": BICUBIC, "crop_pct": 224 / 256},
    "EfficientNet": _HALF
    | {"size": 346, "crop_size": 289, "resample": BICUBIC, "rescale_offset": False, "include_top": True},
}  # fmt: skip


@dataclass(frozen=True)
class Preprocessing:
    """Resize, crop, scale, normalise, in this order.

    size: (height, width), or one number for the shorter side.
    crop: (height, width) of the middle that is kept, or None.
    resample: Pillow's number of a filter, 2 bilinear, 3 bicubic.
    scale, offset: a byte becomes `scale * byte - offset`.
    mean, std: of red, green and blue, subtracted and divided by then.
    library: which one resizes.
    """

    size: int | tuple[int, int]
    crop: tuple[int, int] | None
    resample: int
    scale: float
    offset: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    library: Literal["torchvision", "pillow"] = "torchvision"

    def __call__(self, images: Image.Image | Sequence[Image.Image]) -> Tensor:
        """Pictures, PIL of any mode and size -> pixel values (N, 3, H, W), float32.

        A palette becomes its colours, grey three equal ones, transparency goes. A picture is taken as it is stored:
        `open_picture` turns one upright that says how it was held.

        Raises:
            InputError: there are no pictures.
        """
        images = [images] if isinstance(images, Image.Image) else list(images)
        if not images:
            raise InputError("there are no pictures; give at least one")
        batch = torch.stack([self._cut(self._resized(image.convert("RGB"))) for image in images]).float()
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        # scale * byte - offset - mean, over std, from the byte in two steps: as exact as a byte is.
        return (batch - (self.offset + mean) / self.scale) / (std / self.scale)

    def _resized(self, image: Image.Image) -> Tensor:
        """An RGB picture at the size asked for, as bytes (3, H, W)."""
        if isinstance(self.size, int):
            shorter = min(image.size)
            longer = int(self.size * max(image.size) / shorter)
            height, width = (longer, self.size) if image.width == shorter else (self.size, longer)
        else:
            height, width = self.size
        if self.library == "pillow":
            return _bytes(image.resize((width, height), self.resample))
        way = {BILINEAR: torchvision.InterpolationMode.BILINEAR, BICUBIC: torchvision.InterpolationMode.BICUBIC}
        return torchvision.resize(_bytes(image), [height, width], way[self.resample], antialias=True)

    def _cut(self, picture: Tensor) -> Tensor:
        """The middle; black around what is smaller."""
        if self.crop is None:
            return picture
        (height, width), (wanted, across) = picture.shape[-2:], self.crop
        more, wider = max(wanted - height, 0), max(across - width, 0)
        picture = torch.nn.functional.pad(picture, (wider // 2, wider - wider // 2, more // 2, more - more // 2))
        top, left = (picture.shape[-2] - wanted) // 2, (picture.shape[-1] - across) // 2
        return picture[:, top : top + wanted, left : left + across]

    @classmethod
    def from_pretrained(
        cls, source: str | Path, library: Literal["torchvision", "pillow"] = "torchvision"
    ) -> "Preprocessing":
        """The preprocessing of a published model: a folder or a Hub id with preprocessor_config.json.

        Args:
            source: "openai/clip-vit-base-patch32", say.
            library: which one resizes: "torchvision" as transformers 5 does, "pillow" as before and in training.

        Raises:
            FileError: there is no such file, or it is damaged.
            InputError: it is of a kind that is not here: CLIP, SigLIP, ViT (and Swin), ConvNeXt (and ResNet),
                EfficientNet (and ALIGN) are.
            OfflineError: it has to be downloaded and cannot be.
        """
        path = find(source, "preprocessor_config.json", "processor_config.json")
        if path is None:
            raise FileError(f"{source} does not say how pictures are prepared: preprocessor_config.json is not there")
        config = read_json(path)
        return cls.from_config(config.get("image_processor", config), library)

    @classmethod
    def from_config(cls, config: dict, library: Literal["torchvision", "pillow"] = "torchvision") -> "Preprocessing":
        """The same from what such a file holds.

        Raises:
            InputError: it asks for something that is not here.
        """
        kind = str(config.get("image_processor_type") or config.get("feature_extractor_type"))
        known = next((name for name in KINDS if kind.startswith(name)), None)
        if known is None:
            raise InputError(f"this preprocessing is of kind {kind!r}; there are {', '.join(KINDS)}")
        if library not in ("torchvision", "pillow"):
            raise InputError(f"library is {library!r}; it can be 'torchvision' or 'pillow'")
        config = KINDS[known] | {name: value for name, value in config.items() if value is not None}
        for name in ("do_resize", "do_rescale"):
            if not config.get(name, True):
                raise InputError(f"this preprocessing says {name}=false; the published ones say true")
        if config["resample"] not in (BILINEAR, BICUBIC):
            raise InputError(f"this preprocessing resamples with filter {config['resample']}; 2 and 3 are known here")
        size = _size(config["size"], square=known not in ("CLIP", "ConvNext"))
        crop = _size(config["crop_size"], square=True) if config.get("do_center_crop") else None
        if known == "ConvNext":  # pictures of 384 and more are squeezed, smaller ones cut out of a larger one
            size, crop = (int(size / config["crop_pct"]), (size, size)) if size < 384 else ((size, size), None)
        mean, std = tuple(config["image_mean"]), tuple(config["image_std"])
        if not config.get("do_normalize", True):
            mean, std = (0.0,) * 3, (1.0,) * 3
        if config.get("include_top"):
            std = tuple(one * other for one, other in zip(std, config["image_std"], strict=True))
        offset = 1.0 if config.get("rescale_offset") else 0.0
        return cls(size, crop, config["resample"], config["rescale_factor"], offset, mean, std, library)


def open_picture(path: str | Path) -> Image.Image:
    """A picture file as RGB, upright: turned as its camera noted (EXIF).

    Raises:
        FileError: there is no such file, or it is no picture.
    """
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except OSError as error:
        raise FileError(f"{Path(path).name} is not there or is no picture: give a JPEG or PNG file") from error


def _bytes(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _size(size: int | dict, square: bool) -> int | tuple[int, int]:
    """(height, width), or the shorter side; files have a number, or a dictionary that says which."""
    if isinstance(size, int):
        return (size, size) if square else size
    return size["shortest_edge"] if "shortest_edge" in size else (size["height"], size["width"])
