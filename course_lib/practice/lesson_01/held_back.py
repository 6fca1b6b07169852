"""Cases of set 01 that a learner is told the property of, and not the numbers. A class is not given this file."""

import torch

from course_lib.practice.exercise import Case
from course_lib.practice.lesson_01.exercises import (
    attention_case,
    block_case,
    mlp_case,
    norm_case,
    normal,
    rotary_case,
    train_case,
)


def layer_norms(seed: int) -> list[Case]:
    equal = {"x": torch.full((2, 4), 3.0), "weight": normal(seed + 21, 4), "bias": normal(seed + 22, 4), "eps": 1e-6}
    return [
        norm_case("a large eps", seed + 11, 2, 5, eps=0.5),
        norm_case("tiny numbers, where eps counts", seed + 12, 3, 4, scale=2e-3),
        Case("vectors of equal numbers, whose variance is 0", equal),
        norm_case("a batch of pictures' patches", seed + 13, 2, 2, 3, 5),
        norm_case("derivatives", seed + 14, 2, 3, 4, gradients=True),
    ]


def gradients(seed: int) -> list[Case]:
    return [
        mlp_case("a single example", 10 * seed + 31, (1, 3, 5, 4)),
        mlp_case("as many examples as inputs, hidden units and classes", 10 * seed + 41, (4, 4, 4, 4)),
        mlp_case("logits of several hundred, where exp overflows", 10 * seed + 51, (6, 5, 7, 3), scale=12.0),
        mlp_case("double precision", 10 * seed + 61, (3, 6, 4, 2), dtype=torch.float64),
    ]


def attentions(seed: int) -> list[Case]:
    mixed = [[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    return [
        attention_case("cross-attention: three queries, five keys", 10 * seed + 31, mixed, False, queries=3),
        attention_case("values of another width", 10 * seed + 41, mixed, True, widths=(6, 3)),
        attention_case("double precision", 10 * seed + 51, mixed[1:], True, dtype=torch.float64),
        attention_case("scores in the hundreds", 10 * seed + 61, mixed[1:], False, scale=20.0),
        attention_case("derivatives, with a position that sees nothing", 10 * seed + 71, mixed, True, gradients=True),
    ]


def rotations(seed: int) -> list[Case]:
    return [
        rotary_case("Llama 3's base, 500,000", seed + 31, (2, 2, 3, 8), [0, 1, 2], 500_000.0),
        rotary_case("positions with gaps, in any order", seed + 32, (1, 1, 4, 4), [40, 3, 17, 0], 10_000.0),
        rotary_case("derivatives", seed + 33, (1, 2, 3, 4), [1, 2, 3], 50.0, gradients=True),
    ]


def blocks(seed: int) -> list[Case]:
    return [
        block_case("a single head", 100 * seed + 40, 2, 4, 6, 1),
        block_case("a single position", 100 * seed + 60, 3, 1, 8, 4),
        block_case("as many positions as heads, each as wide", 100 * seed + 80, 2, 4, 16, 4),
        block_case("derivatives of inputs and weights", 100 * seed + 90, 1, 3, 4, 2, gradients=True),
    ]


def trainings(seed: int) -> list[Case]:
    return [
        train_case("no warm-up", 10 * seed + 31, 3, 5, 0),
        train_case(
            "eight steps, strong decay, gradients that are never clipped", 10 * seed + 34, 4, 8, 3, 0.2, 0.5, 1e4
        ),
        train_case("a weight whose gradients are nearly 0", 10 * seed + 37, 3, 5, 1, faint=1e-6),
        train_case("gradients that become shorter than max_norm", 10 * seed + 40, 3, 12, 3, peak=1.0, clip=0.5),
    ]


CASES = {
    "01.1": layer_norms,
    "01.3": gradients,
    "01.4": attentions,
    "01.5": rotations,
    "01.6": blocks,
    "01.7": trainings,
}
