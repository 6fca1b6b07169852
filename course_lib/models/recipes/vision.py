"""The vision backbone of lesson 02, from which later lessons start."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import box_iou

from course_lib.data.microworld import COLOURS, HELD_OUT, SHAPES, Scene, render, sample_scenes
from course_lib.encoders.convnet import ConvNetConfig
from course_lib.encoders.vit import ViTConfig
from course_lib.evaluation.embedding import measuring
from course_lib.layers.patches import grid_positions
from course_lib.models.dense_detector import (
    ATTRIBUTES,
    DenseDetector,
    DenseDetectorConfig,
    DenseTargets,
    Detection,
    dense_targets,
    detection_loss,
    detections,
)
from course_lib.models.recipes.inputs import OnStep, pixel_values
from course_lib.pretrained import course
from course_lib.runtime import device, seed_everything
from course_lib.training.loop import History, TrainingConfig, train

VISION = ConvNetConfig(channels=(24, 48, 48, 96, 96), strides=(2, 2, 1, 2, 1))
DENSE_VISION = TrainingConfig(steps=2000, batch_size=64, learning_rate=4e-3, warmup_steps=50, weight_decay=0.05)
GREY_SHARE = 0.4  # of each batch is shown without colour, so that shapes are learnt apart from colours


def train_vision(
    count: int = 24_000,
    seed: int = 0,
    config: TrainingConfig = DENSE_VISION,
    on_step: OnStep | None = None,
    resume_from: str | Path | None = None,
) -> tuple[DenseDetector, History]:
    """The densely supervised backbone, on pictures of the split "train" alone: no held-out pair is among them.

    A part of each batch is turned to grey, by a different mixture of red, green and blue for each picture, and not
    asked for colours: so shapes are learnt apart from the colours they come in, and are known in other colours too.

    Args:
        count: training pictures.
        seed: of the pictures, the first weights, everything.
        config: its seed is replaced by `seed`.
        on_step, resume_from: as for `train`.
    """
    seed_everything(seed)
    scenes = sample_scenes(count, seed, "train")
    pictures, targets = torch.from_numpy(render(scenes)), dense_targets(scenes, VISION.grid)
    model = DenseDetector().to(device())

    def batch_loss(model: DenseDetector, generator: torch.Generator) -> Tensor:
        rows = torch.randperm(count, generator=generator)[: config.batch_size]
        grey = int(GREY_SHARE * config.batch_size)
        shown, wanted = without_colour(pixel_values(pictures[rows]), targets[rows], grey, generator)
        where = next(model.parameters()).device
        return detection_loss(model(shown.to(where)), wanted.to(where))

    return model, train(model, batch_loss, dataclasses.replace(config, seed=seed), on_step, resume_from)


def without_colour(
    pictures: Tensor, targets: DenseTargets, count: int, generator: torch.Generator
) -> tuple[Tensor, DenseTargets]:
    """The first `count` pictures (B, 3, H, W) in grey, each by weights of its own, with no colour to say."""
    weights = torch.rand(count, 3, 1, 1, generator=generator).square() + 1e-3
    grey = (
        (pictures[:count] * weights / weights.sum(dim=1, keepdim=True)).sum(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    )
    colour = targets.attributes["colour"].clone()
    colour[:count] = -1
    attributes = targets.attributes | {"colour": colour}
    return torch.cat([grey, pictures[count:]]), dataclasses.replace(targets, attributes=attributes)


def measure_vision(model: DenseDetector, count: int = 1000, seed: int = 5) -> dict[str, float]:
    """How often attributes are right at an object's centre, and how well objects are found, in pictures it never saw.

    "shape", "colour", "size", "material" on the split "test"; "held-out shape" and "held-out colour" of the objects
    whose pair was held out; precision and recall of the boxes of `detections` at IoU 0.5, and the mean IoU of those.
    """
    where = next(model.parameters()).device
    scores: dict[str, float] = {}
    for split in ("test", "held_out"):
        scenes = sample_scenes(count, seed, split)
        targets = dense_targets(scenes, model.config.vision.grid)
        with measuring(model):
            outputs = [model(part.to(where)) for part in pixel_values(render(scenes)).split(250)]
        said = {name: torch.cat([o.attributes[name].argmax(1).cpu() for o in outputs]) for name in ATTRIBUTES}
        centre = targets.objectness > 0
        right = {name: said[name] == targets.attributes[name] for name in ATTRIBUTES}
        if split == "held_out":
            colour, shape = targets.attributes["colour"], targets.attributes["shape"]
            pair_held_out = torch.tensor([[(c, s) in HELD_OUT for s in SHAPES] for c in COLOURS])
            centre &= pair_held_out[colour, shape]
            scores |= {f"held-out {name}": right[name][centre].double().mean().item() for name in ("shape", "colour")}
            continue
        scores |= {name: right[name][centre].double().mean().item() for name in ATTRIBUTES}
        scores |= _boxes_found(sum(map(detections, outputs), []), scenes)
    return scores


def _boxes_found(found: list[list[Detection]], scenes: list[Scene]) -> dict[str, float]:
    """Precision and recall of boxes that overlap an object's by half or more, and the mean overlap of those."""
    right: list[float] = []
    for ones, scene in zip(found, scenes, strict=True):
        if ones:
            boxes = torch.tensor([one.box for one in ones])
            best = box_iou(torch.tensor([thing.box for thing in scene.objects]), boxes).amax(dim=1)
            right += best[best >= 0.5].tolist()
    said, there = sum(map(len, found)), sum(len(scene.objects) for scene in scenes)
    return {
        "precision": len(right) / max(1, said),
        "recall": len(right) / there,
        "box IoU": sum(right) / max(1, len(right)),
    }


# ---------------------------------------------------------------- the ViT that is distilled from it

POSITION_SCALE = 0.3  # of the ViT's first positions, beside patches whose numbers are about that large
VIT = ViTConfig(image_size=64, patch_size=8, width=96, layers=5, heads=4, mlp_width=384)
DISTILLED_VIT = TrainingConfig(steps=3000, batch_size=64, learning_rate=2e-3, warmup_steps=50, weight_decay=0.05)


def train_vit(
    count: int = 24_000,
    seed: int = 0,
    config: TrainingConfig = DISTILLED_VIT,
    teacher: dict[str, Tensor] | None = None,
    distil: bool = True,
    on_step: OnStep | None = None,
    resume_from: str | Path | None = None,
) -> tuple[DenseDetector, History]:
    """A ViT that answers in each of its patches, and learns besides to say what the backbone says there.

    Labels tell a network what is in a cell; a teacher's features tell it how to see that, 96 numbers in every cell of
    every picture, empty ones too. The class token is to say what the backbone says on average.

    Args:
        count: training pictures.
        seed: of the pictures, the first weights, everything.
        config: its seed is replaced by `seed`.
        teacher: weights of a `DenseDetector` with a convolutional trunk; the course's vision checkpoint if None.
        distil: whether the teacher is asked. Without it, this is the same ViT trained from labels alone.
        on_step, resume_from: as for `train`.

    Source: Hinton et al., Distilling the Knowledge in a Neural Network; features in the place of logits: Romero et al.,
    FitNets, section 2.2; a convolutional teacher for a ViT: Touvron et al., DeiT, section 4.
    """
    seed_everything(seed)
    scenes = sample_scenes(count, seed, "train")
    pictures, targets = torch.from_numpy(render(scenes)), dense_targets(scenes, VIT.grid)
    sees = _teacher(teacher, pictures[:2000])
    model = DenseDetector(DenseDetectorConfig(VIT))
    with torch.no_grad():
        model.trunk.position_embedding[1:] = POSITION_SCALE * grid_positions(VIT.grid, VIT.width)
    # The layer between student and teacher is trained with the student, and thrown away with the teacher.
    student = nn.ModuleDict({"model": model, "say": nn.Linear(VIT.width, VISION.width)}).to(device())

    def batch_loss(student: nn.ModuleDict, generator: torch.Generator) -> Tensor:
        rows = torch.randperm(count, generator=generator)[: config.batch_size]
        grey = int(GREY_SHARE * config.batch_size)
        shown, wanted = without_colour(pixel_values(pictures[rows]), targets[rows], grey, generator)
        where = student["say"].weight.device
        tokens = student["model"].trunk.forward_features(shown.to(where))
        loss = detection_loss(student["model"].heads(student["model"].trunk.feature_map(tokens)), wanted.to(where))
        return loss + F.mse_loss(student["say"](tokens), sees(shown.to(where))) if distil else loss

    return model, train(student, batch_loss, dataclasses.replace(config, seed=seed), on_step, resume_from)


def _teacher(state: dict[str, Tensor] | None, pictures: Tensor) -> Callable[[Tensor], Tensor]:
    """What the backbone says of pictures (B, 3, H, W): (B, 1 + N, D), first its mean over the cells, then each cell.

    Each number is standardised over the cells of `pictures`, so that none counts more than another.
    """
    model = DenseDetector()
    model.load_state_dict(course.load("vision")[1] if state is None else state)
    trunk = model.trunk.eval().requires_grad_(False).to(device())

    @torch.no_grad()
    def features(shown: Tensor) -> Tensor:
        return trunk(shown).flatten(2).transpose(1, 2)

    seen = torch.cat([features(pixel_values(part.to(device()))) for part in pictures.split(250)]).flatten(0, 1)
    mean, deviation = seen.mean(0), seen.std(0) + 1e-3

    def sees(shown: Tensor) -> Tensor:
        cells = (features(shown) - mean) / deviation
        return torch.cat([cells.mean(1, keepdim=True), cells], dim=1)

    return sees
