"""What all recipes feed their models with: the microworld's words and pictures as tensors."""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from course_lib.data.microworld import VOCABULARY
from course_lib.data.tokenizers import WordTokenizer
from course_lib.data.transforms import HALF_MEAN, HALF_STD, to_pixel_values

OnStep = Callable[[int, float, float], None]


def word_tokenizer() -> WordTokenizer:
    """Every word of the microworld."""
    return WordTokenizer(VOCABULARY)


def pixel_values(pictures: np.ndarray | Tensor) -> Tensor:
    """uint8 (N, H, W, 3) -> float (N, 3, H, W) between -1 and 1, as all the course's own vision models take them."""
    return to_pixel_values(pictures, HALF_MEAN, HALF_STD)
