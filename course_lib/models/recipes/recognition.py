"""Object recognition, lesson 02's measure of an encoder: what shape and colour the one object of a picture has."""

import dataclasses
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.data.microworld import PAIRS, Scene, render, sample_scenes
from course_lib.errors import InputError
from course_lib.evaluation.embedding import measuring
from course_lib.evaluation.zero_shot import accuracy
from course_lib.models.dense_detector import ATTRIBUTES
from course_lib.models.image_classifier import ImageClassifier
from course_lib.models.recipes.inputs import OnStep, pixel_values
from course_lib.runtime import device, seed_everything
from course_lib.training.adaptation import LinearProbe, linear_probe
from course_lib.training.loop import History, TrainingConfig, train

RECOGNITION = TrainingConfig(steps=200, batch_size=64, learning_rate=4e-3, warmup_steps=20, weight_decay=0.05)


@dataclass(frozen=True)
class Examples:
    """Pictures uint8 (N, S, S, 3) of one object each, its class (N,), and what the classes are called."""

    pictures: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> "Examples":
        """The first `count` of them: so that a smaller training set is part of every larger one."""
        return dataclasses.replace(self, pictures=self.pictures[:count], labels=self.labels[:count])


class PooledTrunk(nn.Module):
    """An encoder out of a trunk that gives a feature map: each channel where it is strongest.

    One object covers few places of the map, so the mean over all of them would say mostly what the background is.

    Args:
        trunk: (B, C, H, W) -> (B, D, h, w), with `config.width` = D, such as the vision checkpoint's.
    """

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D)."""
        return self.trunk(pixel_values).amax((2, 3))

    def __init__(self, trunk: nn.Module):
        super().__init__()
        self.trunk, self.width = trunk, trunk.config.width


def recognition_examples(count: int, seed: int = 1, split: str = "train", of: str = "pair", size: int = 64) -> Examples:
    """Pictures of one object each, and what is asked of them.

    Args:
        count: how many.
        seed: of the scenes.
        split: "train", "test" or "held_out" (the colour x shape pairs that no training picture shows).
        of: "pair" (colour x shape, 64 classes), "shape", "colour", "size" or "material".
        size: pixels a side.

    Raises:
        InputError: nothing of that name can be asked.
    """
    if of != "pair" and of not in ATTRIBUTES:
        raise InputError(f"there is no attribute {of!r}; there are pair, {', '.join(ATTRIBUTES)}")
    scenes = sample_scenes(count, seed, split, 1, 1)
    classes = tuple(" ".join(pair) for pair in PAIRS) if of == "pair" else tuple(ATTRIBUTES[of])
    labels = torch.tensor([classes.index(_class(scene, of)) for scene in scenes])
    return Examples(torch.from_numpy(render(scenes, size)), labels, classes)


def _class(scene: Scene, of: str) -> str:
    (thing,) = scene.objects
    return " ".join(thing.pair) if of == "pair" else getattr(thing, of)


def train_recognition(
    encoder: nn.Module,
    examples: Examples,
    config: TrainingConfig = RECOGNITION,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> tuple[ImageClassifier, History]:
    """An encoder and a new linear layer, trained together: from scratch or fine-tuned, as the encoder comes.

    The parts of the encoder that require no gradient stay as they are.

    Args:
        encoder: (B, 3, S, S) -> (B, D), with `width` = D; trained in place.
        examples: from `recognition_examples`.
        config: its seed is replaced by `seed`.
        seed: of the linear layer and the order of the pictures. That of the encoder's first weights is the caller's.
        on_step: as for `train`.
    """
    seed_everything(seed)
    model = ImageClassifier(encoder, len(examples.classes)).to(device())

    def batch_loss(model: ImageClassifier, generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(examples), (config.batch_size,), generator=generator)
        where = model.head.weight.device
        logits = model(pixel_values(examples.pictures[rows].to(where)))
        return F.cross_entropy(logits, examples.labels[rows].to(where))

    return model, train(model, batch_loss, dataclasses.replace(config, seed=seed), on_step)


def measure_recognition(model: nn.Module, examples: Examples) -> float:
    """Share of pictures whose class has the highest logit."""
    return accuracy(_through(model, examples), examples.labels)


def embed(encoder: nn.Module, examples: Examples) -> Tensor:
    """(N, D): what the encoder makes of each picture, for a linear probe."""
    return _through(encoder, examples)


def probe_recognition(encoder: nn.Module, examples: Examples, strength: float = 1.0) -> ImageClassifier:
    """A frozen encoder and a linear layer fitted to its vectors: logistic regression, nothing else is trained.

    Args:
        encoder: as it is.
        examples: what the layer is fitted to.
        strength: how much the examples count against a small layer, as in `linear_probe`.
    """
    vectors = embed(encoder, examples)
    mean, scale = vectors.mean(0), vectors.std(0) + 1e-6
    probe: LinearProbe = linear_probe((vectors - mean) / scale, examples.labels, len(examples.classes), strength)
    model = ImageClassifier(encoder, len(examples.classes))
    with torch.no_grad():  # the scaling becomes part of the layer
        model.head.weight.copy_(probe.weight / scale)
        model.head.bias.copy_(probe.bias - probe.weight @ (mean / scale))
    return model.eval()


def _through(model: nn.Module, examples: Examples) -> Tensor:
    where = next(model.parameters()).device
    with measuring(model):
        return torch.cat([model(pixel_values(part.to(where))).float().cpu() for part in examples.pictures.split(250)])
