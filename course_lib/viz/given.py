"""What a figure is given, checked and put into one form: numbers, pictures, words."""

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image

from course_lib.errors import InputError


def array(values, name: str, dimensions: int | None = None) -> np.ndarray:
    """A NumPy array of finite numbers, out of a tensor on any device, an array or nested lists.

    Raises:
        InputError: not numbers, not finite, empty, or not with as many dimensions as wanted.
    """
    try:
        if hasattr(values, "detach"):
            values = values.detach().float().cpu().numpy()
        result = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} should be numbers, all rows of one length") from error
    if dimensions is not None and result.ndim != dimensions:
        raise InputError(f"{name} should have {dimensions} dimensions, and has shape {result.shape}")
    if not result.size:
        raise InputError(f"{name} is empty: there is nothing to draw")
    if not np.isfinite(result).all():
        raise InputError(f"{name} holds values that are not finite (nan or inf): look for where they arise first")
    return result


def picture(image) -> np.ndarray:
    """One picture as uint8 (H, W, 3).

    Args:
        image: PIL, uint8 (H, W, 3) or (H, W), or floats in [0, 1] as (H, W, 3) or (3, H, W).

    Raises:
        InputError: it is none of these.
    """
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if hasattr(image, "detach"):
        image = image.detach().cpu().numpy()
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[0] == 3 and image.shape[2] != 3:
        image = image.transpose(1, 2, 0)
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(f"a picture has shape (H, W, 3), and this has {image.shape}")
    if image.dtype == np.uint8:
        return image
    if not np.issubdtype(image.dtype, np.floating) or not np.isfinite(image).all():
        raise InputError(f"a picture holds bytes, or finite floats from 0 to 1; this holds {image.dtype}")
    if image.min() < -1e-3 or image.max() > 1 + 1e-3:
        raise InputError(
            f"a picture of floats lies between 0 and 1, and this between {image.min():.2f} and {image.max():.2f}: "
            "undo the normalisation (times std, plus mean) before you draw it"
        )
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def pictures(images) -> list[np.ndarray]:
    """Several pictures, each as `picture` gives it; never none."""
    result = [picture(image) for image in images]
    if not result:
        raise InputError("there is no picture to draw")
    return result


def same_length(name: str, values: Sequence, count: int, of: str) -> None:
    """Refuses titles, labels and the like of which there are not as many as of what they belong to.

    Raises:
        InputError: the lengths differ.
    """
    if len(values) != count:
        raise InputError(f"{name} has {len(values)} entries for {count} {of}")


def wrap(text, width: int) -> str:
    """The text in lines of at most `width` letters."""
    return "\n".join(textwrap.wrap(str(text), max(width, 6), break_long_words=False)) or str(text)


def shorten(text, width: int) -> str:
    """The text, cut off after `width` letters."""
    return str(text) if len(str(text)) <= width else str(text)[: width - 2] + " …"
