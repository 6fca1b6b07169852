"""The vision backbone of lesson 02, from which later lessons start."""

import dataclasses
from pathlib import Path

import torch
from torch import Tensor
from torchvision.ops import box_iou

from course_lib.data.microworld import COLOURS, HELD_OUT, SHAPES, Scene, render, sample_scenes
from course_lib.encoders.convnet import ConvNetConfig
from course_lib.evaluation.embedding import measuring
from course_lib.models.dense_detector import (
    ATTRIBUTES,
    DenseDetector,
    DenseTargets,
    Detection,
    dense_targets,
    detection_loss,
    detections,
)
from course_lib.models.recipes.inputs import OnStep, pixel_values
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
