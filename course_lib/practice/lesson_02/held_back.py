"""Cases of set 02 that a learner is told the property of, and not the numbers. A class is not given this file."""

import torch

from course_lib.practice.exercise import Case
from course_lib.practice.lesson_02.exercises import (
    block_case,
    bytes_of,
    convolution_case,
    embedding_case,
    picture_case,
    probe_case,
    window_case,
)


def pixels(seed: int) -> list[Case]:
    return [
        picture_case(
            "pictures of three by three pixels, where no shape tells the axes apart", bytes_of(seed + 11, 2, 3, 3, 3)
        ),
        picture_case(
            "wider than high, with another mean and deviation",
            bytes_of(seed + 12, 4, 2, 5, 3),
            (0.1, 0.5, 0.9),
            (0.05, 0.5, 0.3),
        ),
        picture_case("a single white picture", torch.full((1, 2, 3, 3), 255, dtype=torch.uint8)),
    ]


def convolutions(seed: int) -> list[Case]:
    seed = 100 * seed
    return [
        convolution_case(seed + 20, "a kernel higher than wide", (1, 2, 8, 9), (3, 4, 2), 1, 1),
        convolution_case(seed + 30, "a stride of 3, which leaves a rest at the edge", (2, 3, 9, 11), (5, 3, 3), 3, 2),
        convolution_case(seed + 40, "a kernel of one place", (2, 4, 5, 6), (3, 1, 1), 2, 0),
        convolution_case(seed + 50, "double precision", (1, 3, 6, 5), (2, 2, 3), 2, 1, torch.float64),
        convolution_case(seed + 60, "derivatives", (2, 2, 5, 6), (3, 3, 2), 2, 1, gradients=True),
    ]


def blocks(seed: int) -> list[Case]:
    seed = 1000 * seed
    return [
        block_case(seed + 200, "half the size with as many channels", (2, 4, 5, 7), 4, 2),
        block_case(seed + 300, "other channels at the same size", (2, 5, 4, 4), 3, 1),
        block_case(seed + 400, "derivatives of inputs and weights", (2, 3, 5, 5), 4, 2, gradients=True),
    ]


def embeddings(seed: int) -> list[Case]:
    seed = 1000 * seed
    return [
        embedding_case(seed + 200, "a picture that is a single patch", 2, (3, 3), 3, 2, 5),
        embedding_case(seed + 300, "higher than wide", 2, (15, 6), 3, 3, 8),
        embedding_case(seed + 400, "derivatives of inputs and weights", 2, (4, 6), 2, 3, 4, gradients=True),
    ]


def shifted(seed: int) -> list[Case]:
    seed = 100 * seed
    return [
        window_case(seed + 20, "two maps, higher than wide, and a shift of one", (2, 9, 6, 2), 3, 1),
        window_case(seed + 30, "a map that is a single window", (2, 4, 4, 3), 4, 2),
        window_case(seed + 40, "a shift of more than half a window", (1, 4, 12, 5), 4, 3),
        window_case(seed + 50, "derivatives", (2, 4, 6, 3), 2, 1, gradients=True),
    ]


CASES = {
    "02.1": pixels,
    "02.2": convolutions,
    "02.4": blocks,
    "02.5": embeddings,
    "02.6": lambda seed: [probe_case(2_000_000 + seed, "another set of features")],
    "02.7": shifted,
}
