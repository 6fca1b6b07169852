"""What exercise 05.2 gives to read, all of it computed: seven temperatures, two worlds in bits, a loss with a floor."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.losses.contrastive import clip_loss
from course_lib.losses.ranking import hardest_negative_loss

TEMPERATURES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
NEGATIVES = (1, 3, 7, 15, 31, 63)
BITS = {"A": 2.0, "B": 8.0}
BATCHES = (4, 16, 64, 256)
MARGIN = 0.2


def pairs(seed: int, count: int, kinds: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Features of matching pictures `(count, 48)` and captions `(count, 40)`, and the captions' numbers `(count,)`.

    Both hold the same 16 numbers of content under others of their own. With `kinds`, there are that many captions.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    numbers = torch.randint(kinds, (count,), generator=generator) if kinds else torch.arange(count)
    content = draw(kinds or count, 16)
    sides = []
    for width in (48, 40):
        seen, hidden = draw(16, width) / 4, 0.4 * draw(10, width)
        if width == 48:
            sides.append(content[numbers] @ seen + draw(count, 10) @ hidden + 0.6 * draw(count, width))
        else:
            captions = content @ seen + draw(len(content), 10) @ hidden + 0.6 * draw(len(content), width)
            sides.append(captions[numbers])
    return sides[0], sides[1], numbers


def embedded(features: tuple[Tensor, Tensor], weights: list[Tensor]) -> list[Tensor]:
    """Both sides projected, of length 1."""
    return [F.normalize(side @ weight, dim=-1) for side, weight in zip(features, weights, strict=True)]


def trained(
    features: tuple[Tensor, Tensor], loss: Callable, batch: int, steps: int, seed: int = 0
) -> tuple[list[Tensor], list[float]]:
    """Two projections trained with `loss(image_embeds, text_embeds, rows)`, and the loss of every step."""
    generator = torch.Generator().manual_seed(seed)
    weights = [0.05 * torch.randn(side.shape[1], 16, generator=generator) for side in features]
    optimizer = torch.optim.Adam([weight.requires_grad_() for weight in weights], lr=3e-3)
    losses = []
    for _ in range(steps):
        rows = torch.randperm(len(features[0]), generator=generator)[:batch]
        value = loss(*embedded((features[0][rows], features[1][rows]), weights), rows)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return [weight.detach() for weight in weights], losses


def temperatures(seeds: int = 1) -> tuple[list[float], list[float]]:
    """For `TEMPERATURES`: recall at 1 on 300 held-back pairs after 60 steps, the same steps for all; and what share of
    the gradient on its 127 negatives fell on a picture's hardest one, before the first step."""
    recalls, shares = [], []
    for temperature in TEMPERATURES:
        recall, share = 0.0, 0.0
        for seed in range(seeds):
            images, texts, _ = pairs(seed, 812)
            untrained, _ = trained((images, texts), _contrastive(temperature), 128, 0, seed)
            weights, _ = trained((images[:512], texts[:512]), _contrastive(temperature), 128, 60, seed)
            found, sought = embedded((images[512:], texts[512:]), weights)
            right = torch.arange(300)
            cosines = found @ sought.T
            recall += float(((cosines.argmax(1) == right).float() + (cosines.argmax(0) == right).float()).mean()) / 2
            found, sought = embedded((images[:128], texts[:128]), untrained)
            own = torch.eye(128, dtype=torch.bool)
            pull = (found @ sought.T / temperature).masked_fill(own, -torch.inf).softmax(dim=1)
            share += float(pull.amax(dim=1).mean())
        recalls.append(recall / seeds)
        shares.append(share / seeds)
    return recalls, shares


def _contrastive(temperature: float) -> Callable:
    return lambda image_embeds, text_embeds, rows: clip_loss(image_embeds, text_embeds, 1 / temperature)


def bits_vouched_for(queries: int = 4000) -> dict[str, list[float]]:
    """What InfoNCE vouches for, in bits, with `NEGATIVES` negatives and the best critic there is, in two worlds.

    A query and its positive are 10 pairs of normal numbers, so correlated that they share `BITS` bits.
    """
    generator = torch.Generator().manual_seed(3)
    found = {}
    for world, bits in BITS.items():
        # Ten independent pairs with correlation r share -10 / 2 * log2(1 - r^2) bits.
        squared = 1 - 2 ** (-2 * bits / 10)
        found[world] = []
        for negatives in NEGATIVES:
            query = torch.randn(queries, 1, 10, generator=generator)
            others = torch.randn(queries, negatives + 1, 10, generator=generator)
            others[:, :1] = squared**0.5 * query + (1 - squared) ** 0.5 * others[:, :1]
            # log p(y | x) / p(y), but for a constant.
            critic = (others**2 / 2 - (others - squared**0.5 * query) ** 2 / (2 * (1 - squared))).sum(dim=-1)
            loss = -critic.log_softmax(dim=1)[:, 0].mean()
            found[world].append(float(math.log2(negatives + 1) - loss / math.log(2)))
    return found


def two_runs(steps: int = 150) -> tuple[dict[str, list[float]], dict[str, float]]:
    """The hardest-negative loss at the end of training for the batch sizes `BATCHES`, in two runs on the same pairs.

    1,024 pictures share 150 captions. Run A knows which pairs have the same caption and does not push these apart; run
    B takes every other pair for a negative.

    Returns:
        The mean loss of the last 30 steps of "A" and "B"; how often each finds a right caption for 300 other pictures,
        after training with the largest batch.
    """
    images, texts, captions = pairs(5, 1324, kinds=150)
    known = captions[:1024]

    def run(masked: bool) -> Callable:
        def loss(image_embeds: Tensor, text_embeds: Tensor, rows: Tensor) -> Tensor:
            alike = known[rows][:, None] == known[rows][None, :] if masked else None
            return hardest_negative_loss(image_embeds @ text_embeds.T, MARGIN, alike)

        return loss

    losses: dict[str, list[float]] = {}
    recalls = {}
    for name, masked in (("A", True), ("B", False)):
        losses[name] = []
        for batch in BATCHES:
            weights, curve = trained((images[:1024], texts[:1024]), run(masked), batch, steps)
            losses[name].append(sum(curve[-30:]) / 30)
        found, sought = embedded((images[1024:], texts[1024:]), weights)
        recalls[name] = float((captions[1024:][(found @ sought.T).argmax(1)] == captions[1024:]).float().mean())
    return losses, recalls
