"""Cases of set 05 that a learner is told the property of, and not the numbers. A class is not given this file."""

import torch.nn.functional as F

from course_lib.practice.exercise import Case
from course_lib.practice.lesson_05.exercises import (
    large_case,
    nce_case,
    normal,
    ranking_case,
    sampling_case,
    space_case,
    triplet_case,
)


def triplets(seed: int) -> list[Case]:
    return [
        triplet_case("triplets that all cost nothing", 10 * seed + 31, 4, 6, 0.2, far=8.0),
        triplet_case("a single triplet", 10 * seed + 41, 1, 7, 3.0),
        triplet_case("as many triplets as numbers in a vector", 10 * seed + 51, 6, 6, 0.2),
        triplet_case("derivatives", 10 * seed + 61, 5, 4, 0.3, gradients=True),
    ]


def bounds(seed: int) -> list[Case]:
    return [
        nce_case("a single negative each", 10 * seed + 31, 5, 1, 4),
        nce_case("a single query", 10 * seed + 41, 1, 5, 6),
        nce_case("as many queries as negatives as numbers in a vector", 10 * seed + 51, 4, 4, 4),
        nce_case("cosines at a scale of 100", 10 * seed + 61, 6, 8, 5, scale=4.6052, alike=3.0),
        nce_case("derivatives of inputs and of the scale", 10 * seed + 71, 3, 4, 5, gradients=True),
    ]


def rankings(seed: int) -> list[Case]:
    doubled = ranking_case("double precision", 10 * seed + 71, [3, 0, 1, 3, 2])
    doubled.inputs["similarity"] = doubled.inputs["similarity"].double()
    return [
        ranking_case("six captions, no two alike", 10 * seed + 31, [5, 3, 0, 1, 4, 2]),
        ranking_case("negatives whose similarity is below 0", 10 * seed + 41, [0, 1, 2, 1, 3], shift=-1.2),
        ranking_case(
            "pairs that are all far ahead", 10 * seed + 51, [0, 1, 2, 3, 4, 0], margin=0.01, own=40.0, noise=0.01
        ),
        ranking_case("a batch in which all captions are the same", 10 * seed + 61, [2, 2, 2]),
        ranking_case(
            "ten pairs with four captions, and equal columns for equal captions",
            10 * seed + 81,
            [0, 1, 2, 3, 2, 1, 0, 3, 1, 2],
            noise=0.0,
        ),
        doubled,
        ranking_case("derivatives", 10 * seed + 91, [0, 1, 0, 2, 3, 2], gradients=True),
    ]


def samplings(seed: int) -> list[Case]:
    return [
        sampling_case("two negatives each", 10 * seed + 31, [1, 0, 1, 0]),
        sampling_case("own pairs far behind their negatives", 10 * seed + 41, [0, 1, 2, 3, 4, 5, 6, 2], -50.0),
    ]


def spaces(seed: int) -> list[Case]:
    alike = F.normalize(normal(seed + 91, 5, 4), dim=-1)
    return [
        space_case("two pairs", 10 * seed + 31, 2, 3, -0.6),
        space_case("as many pairs as numbers in a vector", 10 * seed + 41, 6, 6, -0.4),
        space_case("a gap that is widened", 10 * seed + 51, 7, 4, 0.8),
        space_case("a gap that is turned round", 10 * seed + 61, 5, 8, -1.8),
        Case(
            "pictures that lie on their texts",
            {"image_embeds": alike, "text_embeds": alike.clone(), "share": -1.0},
        ),
    ]


def batches(seed: int) -> list[Case]:
    return [
        large_case("one pair at a time", 10 * seed + 31, 5, 1, (4, 3, 3)),
        large_case("a limit that is larger than the batch", 10 * seed + 41, 3, 8, (3, 5, 4)),
        large_case("seventeen pairs, three at a time, at a high scale", 10 * seed + 51, 17, 3, (4, 4, 4), scale=30.0),
    ]


CASES = {
    "05.1": triplets,
    "05.3": bounds,
    "05.4": rankings,
    "05.5": samplings,
    "05.6": spaces,
    "05.7": batches,
}
