"""What exercise 02.3 gives to read, all of it computed: three ways to learn, confused colours, two deep networks."""

import copy
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.data.microworld import test_split
from course_lib.data.microworld.world import COLOURS
from course_lib.data.transforms import HALF_MEAN, HALF_STD, to_pixel_values
from course_lib.models.dense_detector import DenseDetector, DenseDetectorConfig, dense_targets
from course_lib.pretrained.course import load

LABELLED = (64, 256, 1024, 4096)
TESTED = 2000


def three_ways(steps: int = 200) -> tuple[tuple[int, ...], dict[str, list[float]]]:
    """Accuracy of three ways to learn a task of eight classes, for four numbers of labelled examples.

    A small network was trained on two questions about an input of 24 numbers. The task asks these two and a third of
    its own. One way fits a last layer to the frozen network, one goes on training all of it, one starts from nothing.

    Returns:
        The numbers of examples; the accuracies of "A", "B" and "C" on 2,000 others.
    """
    generator = torch.Generator().manual_seed(2)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    turned = torch.linalg.qr(draw(24, 24))[0]

    def world(count: int) -> tuple[Tensor, Tensor]:
        """Inputs (count, 24), and what is asked of them (count, 3): two products that are hard to see, and one sum."""
        inside = draw(count, 8)
        asked = torch.stack([inside[:, 0] * inside[:, 1], inside[:, 2] * inside[:, 3], inside[:, 6]], dim=1)
        return torch.cat([inside, 0.7 * draw(count, 16)], dim=1) @ turned, asked

    def train(weights: Iterable[Tensor], loss: Callable[[Tensor], Tensor], count: int, lr: float, steps: int) -> None:
        optimizer = torch.optim.Adam(weights, lr)
        for _ in range(steps):
            batch = torch.randint(0, count, (min(count, 128),), generator=generator)
            optimizer.zero_grad()
            loss(batch).backward()
            optimizer.step()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        trunk = nn.Sequential(nn.Linear(24, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
        fresh, before, head = copy.deepcopy(trunk), nn.Linear(64, 2), nn.Linear(64, 8)
    inputs, asked = world(8192)
    both = [*trunk.parameters(), *before.parameters()]
    train(both, lambda batch: F.mse_loss(before(trunk(inputs[batch])), asked[batch, :2].tanh()), 8192, 3e-3, 3 * steps)

    inputs, asked = world(max(LABELLED) + TESTED)
    labels = ((asked > 0) * torch.tensor([1, 2, 4])).sum(dim=1)

    def learn(start: nn.Module, last_layer_alone: bool, lr: float, count: int) -> float:
        model = nn.Sequential(copy.deepcopy(start), copy.deepcopy(head))
        weights = model[1].parameters() if last_layer_alone else model.parameters()
        train(weights, lambda batch: F.cross_entropy(model(inputs[batch]), labels[batch]), count, lr, steps)
        with torch.no_grad():
            right = model(inputs[-TESTED:]).argmax(dim=1) == labels[-TESTED:]
        return float(right.float().mean())

    accuracies: dict[str, list[float]] = {"A": [], "B": [], "C": []}
    for count in LABELLED:
        accuracies["A"].append(learn(trunk, True, 1e-2, count))
        accuracies["B"].append(learn(trunk, False, 1e-3, count))
        accuracies["C"].append(learn(fresh, False, 3e-3, count))
    return LABELLED, accuracies


def confused_colours() -> tuple[Tensor, tuple[str, ...], float]:
    """What the course's vision checkpoint says of the objects' colours in production, where one thing is wrong.

    Returns:
        `(8, 8)`: of the places where an object of each colour (rows) is, the share that each colour (columns) is said
        of; the colours; and the share of places of which the shape is said rightly.
    """
    config, state, _ = load("vision")
    model = DenseDetector(DenseDetectorConfig.from_dict(config))
    model.load_state_dict(state)
    samples = test_split()
    with torch.no_grad():
        production = to_pixel_values([sample.image[..., ::-1].copy() for sample in samples], HALF_MEAN, HALF_STD)
        said = {name: values.argmax(dim=1) for name, values in model.eval()(production).attributes.items()}
    true = dense_targets([sample.scene for sample in samples], said["colour"].shape[1:]).attributes
    colour, shape = (true[name][true[name] >= 0] for name in ("colour", "shape"))
    kinds = len(COLOURS)
    counts = torch.bincount(colour * kinds + said["colour"][true["colour"] >= 0], minlength=kinds**2).view(kinds, -1)
    shapes = (said["shape"][true["shape"] >= 0] == shape).float().mean()
    return counts / counts.sum(dim=1, keepdim=True), COLOURS, float(shapes)


def two_depths(steps: int = 81) -> dict[str, list[float]]:
    """Training loss of two networks of 30 layers, alike but for shortcuts, on the same 256 examples of 4 classes."""
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(256, 16, generator=generator)
    labels = (inputs[:, 0] * inputs[:, 1] > 0).long() + 2 * (inputs[:, 2] > 0).long()
    losses: dict[str, list[float]] = {}
    for name, shortcut in (("plain", False), ("with shortcuts", True)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            first, last = nn.Linear(16, 32), nn.Linear(32, 4)
            layers = nn.ModuleList(nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 32), nn.ReLU()) for _ in range(30))
        optimizer = torch.optim.Adam([*first.parameters(), *layers.parameters(), *last.parameters()], lr=1e-3)
        losses[name] = []
        for _ in range(steps):
            hidden = first(inputs)
            for layer in layers:
                hidden = hidden + layer(hidden) if shortcut else layer(hidden)
            loss = F.cross_entropy(last(hidden), labels)
            losses[name].append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return losses
