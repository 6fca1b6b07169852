"""What exercise 01.2 gives to read: learning curves, a task that nobody can learn, and softmaxes of many widths."""

import math

import torch
import torch.nn.functional as F

from course_lib.training.optimisers import SGD, Adam

TOKENS, LENGTH = 16, 8
RATES = {"A": 0.003, "B": 0.3, "C": 12.0}


def three_rates(steps: int = 80) -> dict[str, list[float]]:
    """The loss of one small MLP under plain gradient descent, at the three learning rates of `RATES`."""
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(128, 4, generator=generator)
    labels = (inputs[:, 0] * inputs[:, 1] > 0).long()
    found = {}
    for name, rate in RATES.items():
        draw = torch.Generator().manual_seed(3)
        weights = [
            (torch.randn(*shape, generator=draw) * 0.7 / shape[0] ** 0.5).requires_grad_()
            for shape in ((4, 32), (1, 32), (32, 2), (1, 2))
        ]
        optimiser = SGD(weights, rate)
        found[name] = []
        for _ in range(steps):
            hidden = torch.relu(inputs @ weights[0] + weights[1])
            loss = F.cross_entropy(hidden @ weights[2] + weights[3], labels)
            found[name].append(float(loss.detach()))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return found


def random_tokens_run(masked: bool, steps: int = 80, width: int = 32) -> list[float]:
    """The next-token loss of one attention layer on tokens drawn evenly from 16, a new batch at every step.

    Args:
        masked: whether each position is kept from looking at those after it.
        steps: how many batches.
        width: of the vectors.
    """
    generator = torch.Generator().manual_seed(5)

    def draw(*shape: int) -> torch.Tensor:
        return (torch.randn(*shape, generator=generator) / shape[-1] ** 0.5).requires_grad_()

    words, places = draw(TOKENS, width), draw(LENGTH, width)
    ask, answer, tell, read = (draw(width, width) for _ in range(4))
    optimiser = Adam([words, places, ask, answer, tell, read], learning_rate=0.02)
    losses = []
    for _ in range(steps):
        tokens = torch.randint(TOKENS, (32, LENGTH), generator=generator)
        hidden = words[tokens] + places
        scores = (hidden @ ask) @ (hidden @ answer).mT / math.sqrt(width)
        if masked:
            scores = scores.masked_fill(torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1), -torch.inf)
        logits = (scores.softmax(dim=-1) @ (hidden @ tell)) @ read @ words.T * width**0.5
        # The last position's successor is not among the inputs, so only the others are asked for theirs.
        loss = F.cross_entropy(logits[:, :-1].reshape(-1, TOKENS), tokens[:, 1:].reshape(-1))
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return losses


def largest_weights(widths: tuple[int, ...] = (4, 16, 64, 256, 1024), keys: int = 32) -> dict[str, list[float]]:
    """The largest of 32 attention weights, on average, for random queries and keys of several widths: two curves."""
    generator = torch.Generator().manual_seed(7)
    found: dict[str, list[float]] = {"without the scale": [], "with the scale": []}
    for width in widths:
        query = torch.randn(200, 1, width, generator=generator)
        key = torch.randn(200, keys, width, generator=generator)
        scores = (query @ key.mT).squeeze(1)
        found["without the scale"].append(float(scores.softmax(-1).amax(-1).mean()))
        found["with the scale"].append(float((scores / math.sqrt(width)).softmax(-1).amax(-1).mean()))
    return found
