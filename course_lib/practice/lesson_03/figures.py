"""What exercise 03.2 gives to read: one distribution at three temperatures, and counting models of growing order."""

import math

import numpy as np
import torch

from course_lib.data.microworld import captions, sample_scenes
from course_lib.models.ngram import NGram

WORDS = ("cube", "ball", "cone", "star", "ring", "moon")
TEMPERATURES = {"A": 2.0, "B": 0.5, "C": 1.0}
ORDERS = (1, 2, 3, 4, 5, 6)


def three_temperatures() -> dict[str, list[float]]:
    """The probabilities of `WORDS` after "a red ..." under the same logits, at the three temperatures."""
    logits = torch.tensor([2.0, 1.2, 0.6, 0.0, -0.8, -1.6])
    return {name: (logits / temperature).softmax(0).tolist() for name, temperature in TEMPERATURES.items()}


def texts(count: int, seed: int) -> list[list[str]]:
    """Captions of the microworld as lists of words, one for each of `count` scenes."""
    return [captions(scene)[0].split() for scene in sample_scenes(count, seed=seed)]


def perplexities(count: int = 300) -> tuple[list[float], list[float]]:
    """Perplexity of counting models of the orders `ORDERS`, on the captions they counted and on others."""
    seen, other = texts(count, 1), texts(count, 2)
    ids = {word: index for index, word in enumerate(sorted({word for text in (*seen, *other) for word in text}))}
    found: tuple[list[float], list[float]] = ([], [])
    for order in ORDERS:
        model = NGram(order, len(ids)).fit([[ids[word] for word in text] for text in seen])
        for part, measured in zip((seen, other), found, strict=True):
            losses = []
            for text in part:
                line = [ids[word] for word in text]
                losses += [
                    -np.log(model.probabilities(model.context(line[:place]))[line[place]])
                    for place in range(1, len(line))
                ]
            measured.append(math.exp(np.mean(losses)))
    return found
