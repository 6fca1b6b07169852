"""Cases of set 07 that a learner is told the property of, and not the numbers. A class is not given this file."""

import torch

from course_lib.practice.exercise import Case
from course_lib.practice.lesson_07.exercises import (
    average_precision_case,
    fold_case,
    mining_case,
    normal,
    quantizer_case,
    rank_case,
    right_ones,
)


def ranks(seed: int) -> list[Case]:
    start = 100 * seed
    return [
        Case(
            "a model that gives every candidate the same score",
            {"similarity": torch.full((5, 8), 0.5), "positives": right_ones(start + 11, 5, 8, 3), "k": 6},
        ),
        rank_case(start + 13, "scores below zero", 10, 7, 2, 2, shift=-3.0),
        rank_case(start + 15, "as many queries as candidates, and k as large as both", 8, 8, 2, 8),
        rank_case(start + 17, "forty queries among sixty candidates", 40, 60, 4, 5),
        rank_case(start + 19, "a single query", 1, 30, 2, 10),
    ]


def average_precision(seed: int) -> list[Case]:
    start = 100 * seed
    return [
        average_precision_case(start + 11, "a right candidate for each query and no more", 7, 9, 1),
        average_precision_case(start + 13, "thirty queries among fifty candidates", 30, 50, 8),
        average_precision_case(start + 15, "as many queries as candidates", 10, 10, 3),
        Case(
            "a perfect order, which gives 1",
            {
                "similarity": torch.linspace(1, -1, 6).repeat(3, 1) + 0.01 * normal(start + 17, 3, 6),
                "positives": torch.arange(6).repeat(3, 1) < torch.tensor([[1], [3], [2]]),
            },
        ),
    ]


def folds(seed: int) -> list[Case]:
    start = 100 * seed
    return [
        fold_case(start + 11, "a single fold, which is the whole gallery", 15, 1, 3, 2.0),
        fold_case(start + 13, "five folds, and k = 2", 40, 5, 2, 2.0),
        fold_case(start + 15, "more folds than pictures in a fold", 30, 6, 1, 1.5),
    ]


def mining(seed: int) -> list[Case]:
    start = 100 * seed
    return [
        mining_case(start + 11, "all similarities below zero", [1, 2, 2, 3, 1, 4], 0.2, shift=-1.5),
        mining_case(start + 12, "a margin so wide that every negative is within it", [0, 1, 2, 3, 3, 1], 2.0),
        mining_case(start + 13, "twenty pairs, most of which lead by the margin", [*range(16), 3, 5, 7, 7], 0.02),
        mining_case(start + 14, "derivatives", [5, 6, 6, 8, 9], 0.4, gradients=True),
    ]


def quantizer(seed: int) -> list[Case]:
    start = 100 * seed
    return [
        quantizer_case(start + 31, "a single part, which is plain quantisation", (6, 1, 5), 2, 7),
        quantizer_case(start + 41, "as many parts as numbers", (4, 4, 3), 3, 6),
        quantizer_case(start + 51, "sixteen words, and more queries than vectors", (16, 4, 16), 9, 4),
    ]


CASES = {
    "07.1": ranks,
    "07.2": average_precision,
    "07.4": folds,
    "07.5": mining,
    "07.6": quantizer,
}
