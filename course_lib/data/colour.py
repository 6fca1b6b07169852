"""Colour spaces: the same picture in other coordinates.

RGB says how much of each light; YUV how bright, and two differences of colour; HSV which hue, how pure, how light.
All functions take pictures (..., 3), channels last: uint8 from 0 to 255 or floating-point from 0 to 1.
"""

import numpy as np
import torch
from torch import Tensor

from course_lib.errors import InputError

# Rows: brightness Y, U = 0.492 (B - Y), V = 0.877 (R - Y). Source: ITU-R BT.470-6, table 2 (the analogue PAL signal),
# with the digits that scikit-image carries.
YUV_FROM_RGB = torch.tensor(
    [
        [0.299, 0.587, 0.114],
        [-0.14714119, -0.28886916, 0.43601035],
        [0.61497538, -0.51496512, -0.10001026],
    ],
    dtype=torch.float64,
)
# How much red, green and blue add to what the eye sees as brightness. Source: Poynton, ColorFAQ, question 9 (the
# primaries of today's screens, ITU-R BT.709).
LUMINANCE = torch.tensor([0.2125, 0.7154, 0.0721], dtype=torch.float64)


def as_floats(pictures: np.ndarray | Tensor) -> Tensor:
    """uint8 (..., 3) -> float32 from 0 to 1; floating-point stays as it is.

    Raises:
        InputError: the last axis is not 3 long, or another type of number.
    """
    values = torch.as_tensor(pictures)
    if values.ndim < 1 or values.shape[-1] != 3:
        raise InputError(f"the pictures are {tuple(values.shape)}; the last axis should be red, green, blue: (..., 3)")
    if values.dtype == torch.uint8:
        return values.float() / 255
    if not values.is_floating_point():
        raise InputError(f"the pictures are {values.dtype}; they should be uint8 (0 to 255) or floating-point (0 to 1)")
    return values


def rgb_to_yuv(rgb: np.ndarray | Tensor) -> Tensor:
    """(..., 3) -> (..., 3): Y from 0 to 1, U from -0.436 to 0.436, V from -0.615 to 0.615. A linear map."""
    values = as_floats(rgb)
    return values @ YUV_FROM_RGB.to(values).T


def yuv_to_rgb(yuv: np.ndarray | Tensor) -> Tensor:
    """(..., 3) -> (..., 3): undoes `rgb_to_yuv`. Not every YUV is a colour: some have an RGB outside 0 to 1."""
    values = as_floats(yuv)
    return values @ torch.linalg.inv(YUV_FROM_RGB).to(values).T


def grey(rgb: np.ndarray | Tensor) -> Tensor:
    """(..., 3) -> (...): luminance from 0 to 1, a weighted mean in which green counts most."""
    values = as_floats(rgb)
    return values @ LUMINANCE.to(values)


def rgb_to_hsv(rgb: np.ndarray | Tensor) -> Tensor:
    """(..., 3) -> (..., 3): hue, saturation and value, each from 0 to 1.

    Hue goes round: 0 and 1 are red, 1/3 is green, 2/3 blue. A grey has no hue and gets 0.

    Source: Smith, Color Gamut Transform Pairs, algorithm "RGB to HSV".
    """
    values = as_floats(rgb)
    red, green, blue = values.unbind(-1)
    value, span = values.amax(-1), values.amax(-1) - values.amin(-1)
    some = torch.where(span > 0, span, torch.ones_like(span))
    # Which of the three is greatest says in which third of the circle we are; the other two, where in it.
    hue = (green - blue) / some
    hue = torch.where(green == value, (blue - red) / some + 2, hue)
    hue = torch.where(blue == value, (red - green) / some + 4, hue)
    hue = torch.where(span > 0, (hue / 6).remainder(1.0), torch.zeros_like(hue))
    saturation = torch.where(value > 0, span / torch.where(value > 0, value, torch.ones_like(value)), value)
    return torch.stack([hue, saturation, value], -1)


def hsv_to_rgb(hsv: np.ndarray | Tensor) -> Tensor:
    """(..., 3) -> (..., 3): undoes `rgb_to_hsv`.

    Source: Smith, Color Gamut Transform Pairs, algorithm "HSV to RGB".
    """
    values = as_floats(hsv)
    hue, saturation, value = values.unbind(-1)
    sixth = (hue * 6).floor()
    within = hue * 6 - sixth
    low = value * (1 - saturation)
    falling, rising = value * (1 - within * saturation), value * (1 - (1 - within) * saturation)
    # Going round, each of the three is in turn full, falling, low, low, rising, full.
    ring = torch.stack([value, falling, low, low, rising, value], -1)
    which = torch.stack([sixth, sixth - 2, sixth - 4], -1).long() % 6
    return ring.gather(-1, which)
