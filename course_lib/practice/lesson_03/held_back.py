"""Cases of set 03 that a learner is told the property of, and not the numbers. A class is not given this file."""

import torch

from course_lib.practice.exercise import Case
from course_lib.practice.lesson_03.exercises import (
    beam_case,
    cache_case,
    lstm_case,
    merge_case,
    nucleus_case,
    perplexity_case,
    table_case,
)


def perplexities(seed: int) -> list[Case]:
    return [
        perplexity_case("a single sequence", 10 * seed + 31, [5], 9),
        perplexity_case("very different lengths", 10 * seed + 33, [2, 9, 4], 5),
        perplexity_case("logits in the hundreds for the wrong token", 10 * seed + 35, [3, 4], 4, scale=8.0),
        perplexity_case("double precision", 10 * seed + 37, [4, 6], 6, dtype=torch.float64),
        perplexity_case("derivatives", 10 * seed + 39, [3, 4], 5, scale=1.0, gradients=True),
    ]


def merges(seed: int) -> list[Case]:
    return [
        merge_case("twenty words, twelve merges", 10 * seed + 31, 20, 12),
        merge_case("words that all occur once, where ties decide", 10 * seed + 32, 8, 6, most=1),
        Case("more merges than there are pairs", {"counts": {"abc": 2, "bc": 1, "de": 1, "f": 9}, "merges": 10}),
        Case("a pair twice in a word, and words in no order", {"counts": {"zaza": 2, "tata": 2, "za": 1}, "merges": 3}),
        Case("five letters that are all the same", {"counts": {"aaaaa": 2, "aab": 3}, "merges": 3}),
        merge_case("no merges at all", 10 * seed + 33, 4, 0),
    ]


def memories(seed: int) -> list[Case]:
    return [
        lstm_case("a long sequence", 100 * seed + 40, 1, 12, 4, 3),
        lstm_case("a state as wide as the inputs", 100 * seed + 50, 3, 3, 4, 4),
        lstm_case("derivatives of inputs and weights", 100 * seed + 60, 2, 3, 3, 2, gradients=True),
    ]


def nuclei(seed: int) -> list[Case]:
    return [
        nucleus_case("a small top_p, where one token remains", seed + 31, 3, 8, 1.0, 0.05),
        nucleus_case("top_p 1, where all remain", seed + 32, 2, 5, 0.7, 1.0),
        nucleus_case("a low temperature", seed + 33, 4, 12, 0.5, 0.9),
        nucleus_case("a high temperature", seed + 34, 4, 12, 1.7, 0.5),
        nucleus_case("a single distribution over many tokens", seed + 35, 1, 60, 1.3, 0.8),
    ]


def caches(seed: int) -> list[Case]:
    return [
        cache_case("as many key-value heads as heads", 100 * seed + 40, 2, 3, 2, 3, 3),
        cache_case("a single key-value head", 100 * seed + 50, 1, 5, 4, 4, 1),
        cache_case("six heads that share two, wide ones", 100 * seed + 60, 2, 6, 3, 6, 2, head_width=4),
        cache_case("derivatives of inputs and weights", 100 * seed + 70, 1, 2, 3, 4, 2, gradients=True),
    ]


def searches(seed: int) -> list[Case]:
    pruned = {0: {2: 0.6, 3: 0.4}, 2: {4: 0.5, 5: 0.45}, 3: {6: 0.6}, 6: {1: 0.99}}
    running = {0: {1: 0.3, 2: 0.6}, 2: {2: 0.97}}
    emptied = {0: {1: 0.5, 2: 0.3, 3: 0.19}, 3: {4: 0.97}, 4: {1: 0.97}}
    return [
        beam_case("one beam", 10 * seed + 31, 6, 1, 5, 1.0, ends=0.5),
        beam_case("more beams than tokens", 10 * seed + 33, 4, 6, 4, 0.7, ends=0.5),
        beam_case("texts that end early, no length penalty", 10 * seed + 35, 7, 4, 7, 0.0, ends=1.0),
        beam_case("texts that end early, a length penalty of 1", 10 * seed + 37, 7, 3, 8, 1.0, ends=1.0),
        beam_case("texts that end early, a length penalty of 2", 10 * seed + 41, 7, 3, 8, 2.0, ends=1.5),
        beam_case("texts that never end", 10 * seed + 43, 6, 3, 5, 0.5, ends=-20.0),
        table_case("the best text is one that the search has to lose", pruned, 2, 3, 0.0),
        table_case("a running text is better than one that has ended", running, 2, 3, 0.0),
        table_case("a text that ends leaves its place empty", emptied, 2, 4, 2.0),
        beam_case("texts that end at once", 10 * seed + 45, 5, 2, 6, 1.0, ends=9.0),
    ]


CASES = {
    "03.1": perplexities,
    "03.3": merges,
    "03.4": memories,
    "03.5": nuclei,
    "03.6": caches,
    "03.7": searches,
}
