"""How the course's own models are trained: the recipes of its lessons and of `make checkpoints`.

Every recipe counts steps, not seconds, and draws everything from its seed: on one machine it gives the same weights
each time. What they reach on two CPU cores is in the cards beside the checkpoints, `data/checkpoints/README.md`.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from course_lib.data.microworld import (
    COLOURS,
    HELD_OUT,
    PAIRS,
    SEEN,
    SHAPES,
    VOCABULARY,
    Scene,
    pairs,
    render,
    sample_scenes,
    single_object_scenes,
)
from course_lib.data.tokenizers import WordTokenizer
from course_lib.data.transforms import HALF_MEAN, HALF_STD, to_pixel_values
from course_lib.encoders.clip_text import CLIPTextConfig
from course_lib.encoders.convnet import ConvNetConfig
from course_lib.errors import InputError
from course_lib.evaluation.embedding import embed_images, embed_texts, measuring
from course_lib.evaluation.retrieval import recall_at_k
from course_lib.evaluation.zero_shot import accuracy, text_classifier
from course_lib.models.clip import CLIP, CLIPConfig
from course_lib.models.dense_detector import (
    ATTRIBUTES,
    DenseDetector,
    DenseTargets,
    Detection,
    dense_targets,
    detection_loss,
    detections,
)
from course_lib.pretrained import course
from course_lib.runtime import autocast, device, seed_everything
from course_lib.training.contrastive import contrastive_batch_loss
from course_lib.training.loop import History, TrainingConfig, train

OnStep = Callable[[int, float, float], None]

VISION = ConvNetConfig(channels=(24, 48, 48, 96, 96), strides=(2, 2, 1, 2, 1))
PROMPTS = ("{}", "a picture of {}", "an image of {}", "a drawing of {}", "here is {}", "there is {}")
# Colour x shape, 64 classes, as captions say them.
CLASS_NAMES = tuple(f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {shape}" for colour, shape in PAIRS)


def word_tokenizer() -> WordTokenizer:
    """Every word of the microworld."""
    return WordTokenizer(VOCABULARY)


def pixel_values(pictures: np.ndarray | Tensor) -> Tensor:
    """uint8 (N, H, W, 3) -> float (N, 3, H, W) between -1 and 1, as all the course's own vision models take them."""
    return to_pixel_values(pictures, HALF_MEAN, HALF_STD)


def clip_config() -> CLIPConfig:
    """The course's CLIP: a small convolutional network and a text transformer of two layers; 0.45 M parameters."""
    text = CLIPTextConfig(
        word_tokenizer().vocab_size, context_length=32, width=96, layers=2, heads=4, mlp_width=384, activation="gelu"
    )
    return CLIPConfig(vision=VISION, text=text, projection_dim=128)


# ---------------------------------------------------------------- CLIP


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pictures uint8 (N, 64, 64, 3) and five captions of each as ids (N, 5, 32); the first caption is the fullest."""

    pictures: Tensor
    input_ids: Tensor


def training_pairs(count: int = 12_000, seed: int = 1) -> Pairs:
    """Training pictures and their captions: about 10 seconds for 12,000 on two cores."""
    pictures, texts = pairs(count, seed, "train")
    input_ids = word_tokenizer()([text for five in texts for text in five])
    return Pairs(torch.from_numpy(pictures), input_ids.view(count, len(texts[0]), -1))


FROM_SCRATCH = TrainingConfig(steps=200, batch_size=128, learning_rate=2e-3, warmup_steps=30, weight_decay=0.1)


def train_clip_from_scratch(
    data: Pairs,
    seed: int = 0,
    config: TrainingConfig = FROM_SCRATCH,
    on_step: OnStep | None = None,
    resume_from: str | Path | None = None,
) -> tuple[CLIP, History]:
    """A CLIP that starts from nothing and sees each picture with its fullest caption.

    Args:
        data: from `training_pairs`.
        seed: of the first weights, the order of the pictures, everything.
        config: its seed is replaced by `seed`.
        on_step, resume_from: as for `train`.
    """
    seed_everything(seed)
    model = CLIP(clip_config()).to(device())

    def encode(model: CLIP, rows: Tensor) -> Tensor:
        return model.encode_image(pixel_values(data.pictures[rows].to(model.logit_scale.device)))

    loss = contrastive_batch_loss(encode, data.input_ids, config.batch_size, (1, 0, 0, 0, 0))
    return model, train(model, loss, dataclasses.replace(config, seed=seed), on_step, resume_from)


FROM_VISION = TrainingConfig(steps=250, batch_size=128, learning_rate=2e-3, warmup_steps=30, weight_decay=0.1)


def train_clip_from_vision(
    data: Pairs,
    seed: int = 0,
    config: TrainingConfig = FROM_VISION,
    vision: dict[str, Tensor] | None = None,
    on_step: OnStep | None = None,
    resume_from: str | Path | None = None,
) -> tuple[CLIP, History]:
    """A CLIP whose convolutions are those of the course's vision checkpoint, and stay as they are.

    So each picture passes them once, before training, and a step trains only what is new: the attention pooling, the
    text tower, the projections and the temperature. The fullest caption is drawn most often, short ones often enough
    that "a red circle" means what it says. Source: locked-image tuning, Zhai et al. 2022, "LiT", section 3.

    Args:
        data: from `training_pairs`.
        seed: of the new weights, the order of the pictures, everything.
        config: its seed is replaced by `seed`.
        vision: weights of a `DenseDetector`; the course's checkpoint if None.
        on_step, resume_from: as for `train`.
    """
    seed_everything(seed)
    model = CLIP(clip_config()).to(device())
    trunk = model.vision_model.trunk
    vision = course.load("vision")[1] if vision is None else vision
    trunk.load_state_dict({name[6:]: value for name, value in vision.items() if name.startswith("trunk.")})
    trunk.requires_grad_(False)
    with measuring(model), autocast(device()):
        parts = data.pictures.split(250)
        features = torch.cat([trunk(pixel_values(part.to(device()))).half() for part in parts])

    def encode(model: CLIP, rows: Tensor) -> Tensor:
        feature_map = features[rows.to(features.device)].float()
        return model.visual_projection(model.vision_model.pool(feature_map))

    loss = contrastive_batch_loss(encode, data.input_ids, config.batch_size, (10, 1, 1, 1, 4))
    history = train(model, loss, dataclasses.replace(config, seed=seed), on_step, resume_from)
    trunk.requires_grad_(True)
    return model, history


def measure_clip(model: CLIP, count: int = 1000, seed: int = 5) -> dict[str, float]:
    """What the thresholds of lesson 06 are about, on pictures of the split "test" that no training picture resembles.

    R@1 is the mean of both directions, each picture with its fullest caption, among 100 (mean over disjoint hundreds)
    and among all `count`. Zero-shot is top-1 accuracy among all 64 colour x shape pairs, on single objects of seen
    pairs and of the pairs held out of training, with `PROMPTS` averaged.

    Args:
        model: any CLIP of the microworld's words.
        count: pictures, a multiple of 100.
        seed: of those pictures.
    """
    if count % 100 or count < 100:
        raise InputError(f"count is {count}; it should be a multiple of 100")
    tokenizer = word_tokenizer()
    pictures, texts = pairs(count, seed, "test")
    image_embeds = embed_images(model, pixel_values(pictures))
    text_embeds = embed_texts(model, tokenizer([five[0] for five in texts]))
    similarity = image_embeds @ text_embeds.T
    hundreds = [similarity[start : start + 100, start : start + 100] for start in range(0, count, 100)]
    scores = {
        "R@1 of 100": float(np.mean([recall_at_k(part) + recall_at_k(part.T) for part in hundreds])) / 2,
        f"R@1 of {count}": (recall_at_k(similarity) + recall_at_k(similarity.T)) / 2,
    }
    classifier = text_classifier(model, tokenizer, CLASS_NAMES, PROMPTS)
    for name, shown, number in (("seen", SEEN, 560), ("held out", sorted(HELD_OUT), 400)):
        scenes = single_object_scenes(number, seed, shown)
        labels = torch.tensor([PAIRS.index(scene.objects[0].pair) for scene in scenes])
        scores[f"zero-shot {name}"] = accuracy(embed_images(model, pixel_values(render(scenes))) @ classifier.T, labels)
    return scores


# ---------------------------------------------------------------- the vision backbone


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
