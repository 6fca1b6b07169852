"""What exercise 04.3 gives to read: one small network, whole and with one of its ingredients missing, three times.

Its world is small enough to train four networks in seconds: a scene is three things of different colours somewhere in
a square, a question is a few words. What is missing shows in which kinds of questions fail.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

COLOURS, THINGS, WIDTH, READS = 6, 3, 24, 6
# The words after the colours.
IS, THERE, LEFT, OF, HALF, PAD = range(COLOURS, COLOURS + 6)
KINDS = ("is there a red thing?", "is red in the left half?", "is red left of blue?")
COLUMNS = (*KINDS, "the last, on training questions")
# Standardised positions have a spread of 1; B gets them a hundred times smaller.
HEARD, DROWNED = 1.7, 0.017


class Pointer(nn.Module):
    """Reads words, points at things, takes from each [features, x, y], and answers yes or no.

    Args:
        scale: what positions are multiplied by.
        order: whether the reader of the words is told their places.
    """

    def forward(self, features: Tensor, xy: Tensor, words: Tensor) -> Tensor:
        """Things (B, 3, D) at (B, 3, 2), asked about in words (B, 6) -> logits of yes (B)."""
        embedded = self.words(words)
        states = embedded + self.places if self.order else embedded
        read = self.control(states).softmax(1).mT @ embedded
        pointed = (0.3 * self.query(read) @ features.mT).softmax(-1)
        value = pointed @ torch.cat([features, self.scale * xy], -1)
        return self.answer(torch.cat([value.flatten(1), embedded.mean(1)], -1))[:, 0]

    def __init__(self, scale: float, order: bool):
        super().__init__()
        self.scale, self.order = scale, order
        self.words = nn.Embedding(COLOURS + 6, WIDTH)
        self.places = nn.Parameter(torch.randn(6, WIDTH))
        self.control, self.query = nn.Linear(WIDTH, READS, bias=False), nn.Linear(WIDTH, WIDTH)
        self.answer = nn.Sequential(nn.Linear(READS * (WIDTH + 2) + WIDTH, 64), nn.ReLU(), nn.Linear(64, 1))


def questions(kind: str, count: int, looks: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Scenes and balanced questions of one kind: features, positions, words and the answers, 0 or 1."""
    colours = torch.rand(count, COLOURS, generator=generator).argsort(1)
    xy = 2 * torch.rand(count, THINGS, 2, generator=generator) - 1
    first, second, absent = colours[:, 0], colours[:, 1], colours[:, THINGS]
    if kind == KINDS[0]:
        yes = torch.rand(count, generator=generator) < 0.5
        words = (IS, THERE, torch.where(yes, first, absent))
    elif kind == KINDS[1]:
        yes, words = xy[:, 0, 0] < 0, (IS, first, LEFT, HALF)
    else:
        yes, words = xy[:, 0, 0] < xy[:, 1, 0], (IS, first, LEFT, OF, second)
    asked = torch.full((count, 6), PAD)
    for place, word in enumerate(words):
        asked[:, place] = word
    shuffled = torch.rand(count, THINGS, generator=generator).argsort(1)[..., None]
    features = looks[colours[:, :THINGS]]
    features = features + 0.1 * torch.randn(features.shape, generator=generator)
    return [features.take_along_dim(shuffled, 1), xy.take_along_dim(shuffled, 1), asked, yes.float()]


def accuracies(seed: int, scale: float = HEARD, order: bool = True, relations: int = 3072) -> list[float]:
    """Trains the network and measures it on new questions of each kind, and on those of the last that it was taught.

    Args:
        seed: of scenes, questions and weights.
        scale: of the positions.
        order: whether words come with their places.
        relations: how many different questions of the last kind it is taught; 2,048 of each other kind.
    """
    generator = torch.Generator().manual_seed(seed)
    looks = torch.randn(COLOURS, WIDTH, generator=generator)
    counts = (2048, 2048, relations)
    taught = [questions(kind, count, looks, generator) for kind, count in zip(KINDS, counts, strict=True)]
    everything = [torch.cat(parts) for parts in zip(*taught, strict=True)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Pointer(scale, order)
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=600)
    for _ in range(600):
        rows = torch.randint(len(everything[0]), (192,), generator=generator)
        *inputs, labels = (part[rows] for part in everything)
        loss = F.binary_cross_entropy_with_logits(model(*inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    found = []
    with torch.no_grad():
        for *inputs, labels in [*(questions(kind, 1000, looks, generator) for kind in KINDS), taught[-1]]:
            found.append(float(((model(*inputs) > 0) == (labels > 0.5)).float().mean()))
    return found


@cache
def four_networks(seed: int = 0) -> dict[str, list[float]]:
    """The accuracies of the whole network, A, and of three from which something is missing, in the order of COLUMNS."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # what is this small takes longer with two
    try:
        return {
            "A": accuracies(seed),
            "B": accuracies(seed, scale=DROWNED),
            "C": accuracies(seed, order=False),
            "D": accuracies(seed, relations=48),
        }
    finally:
        torch.set_num_threads(threads)
