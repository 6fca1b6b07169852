"""Cases of set 04 that a learner is told the property of, and not the numbers. A class is not given this file."""

import torch

from course_lib.practice.exercise import Case
from course_lib.practice.lesson_04.exercises import (
    bilinear_case,
    film_case,
    gated_case,
    normal,
    pointer_case,
    sketch_case,
)


def film(seed: int) -> list[Case]:
    still = film_case("", 10 * seed + 101, (2, 4, 3, 4), 3).inputs
    still |= {"weight": torch.zeros(8, 3), "bias": torch.zeros(8)}
    return [
        Case("a layer of zeros, which changes nothing", still),
        film_case("a map that is not square", 10 * seed + 105, (2, 5, 3, 7), 6),
        film_case("a single example of a single channel", 10 * seed + 110, (1, 1, 4, 4), 2),
        film_case("double precision", 10 * seed + 115, (2, 3, 2, 3), 4, dtype=torch.float64),
        film_case("derivatives", 10 * seed + 120, (2, 4, 2, 4), 3, gradients=True),
    ]


def bilinear(seed: int) -> list[Case]:
    return [
        bilinear_case("rank 1", 10 * seed + 101, (3, 4, 5, 4, 1)),
        bilinear_case("both vectors of one width", 10 * seed + 105, (5, 6, 6, 2, 3)),
        bilinear_case("a rank as large as the widths, a single example", 10 * seed + 110, (1, 4, 4, 5, 4)),
        bilinear_case("double precision", 10 * seed + 115, (2, 3, 5, 3, 2), dtype=torch.float64),
        bilinear_case("derivatives", 10 * seed + 120, (3, 4, 5, 2, 3), gradients=True),
    ]


def sketch(seed: int) -> list[Case]:
    zero = sketch_case("", 10 * seed + 130, (2, 5, 4, 6)).inputs
    return [
        sketch_case("an odd number of places", 10 * seed + 101, (2, 6, 6, 7)),
        sketch_case("fewer places than numbers, so that many share one", 10 * seed + 105, (3, 16, 16, 5)),
        sketch_case("more places than numbers", 10 * seed + 110, (2, 7, 7, 64)),
        Case("a vector of zeros", zero | {"y": torch.zeros_like(zero["y"])}),
        sketch_case("double precision", 10 * seed + 115, (2, 6, 6, 9), dtype=torch.float64),
        sketch_case("derivatives", 10 * seed + 120, (2, 6, 6, 8), gradients=True),
    ]


def pointer(seed: int) -> list[Case]:
    alone = pointer_case("", 10 * seed + 101, (3, 4, 6, 1, 5, 2)).inputs
    far = pointer_case("", 10 * seed + 105, (2, 5, 6, 4, 6, 2)).inputs
    return [
        Case(
            "a single region, which every read points at", alone | {"region_mask": torch.ones(3, 1, dtype=torch.bool)}
        ),
        Case("coordinates far from 0", far | {"xy": 100 * normal(10 * seed + 111, 2, 4, 2)}),
        pointer_case("words and regions of other widths, many reads", 10 * seed + 115, (3, 7, 5, 6, 9, 8)),
        pointer_case("double precision", 10 * seed + 130, (2, 4, 6, 3, 4, 2), dtype=torch.float64),
        pointer_case("derivatives", 10 * seed + 140, (3, 5, 4, 4, 6, 2), gradients=True),
    ]


def gated(seed: int) -> list[Case]:
    return [
        gated_case("a sequence without any context", 100 * seed + 30, (3, 4, 8, 4, 8, 2), lengths=[4, 0, 2]),
        gated_case("gates far open", 100 * seed + 50, (2, 5, 6, 3, 10, 3), gates=(2.5, -3.0)),
        gated_case("a single head, a single context state", 100 * seed + 70, (2, 3, 4, 1, 6, 1)),
        gated_case(
            "derivatives of inputs and weights, from closed gates too",
            100 * seed + 90,
            (2, 3, 6, 4, 5, 2),
            gates=(0.0, 0.5),
            gradients=True,
        ),
    ]


CASES = {
    "04.1": film,
    "04.2": bilinear,
    "04.4": sketch,
    "04.5": pointer,
    "04.6": gated,
}
