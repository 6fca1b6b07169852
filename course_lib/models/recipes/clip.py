"""CLIP, from nothing and from the vision checkpoint, and how lesson 06 measures it."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from course_lib.data.microworld import HELD_OUT, PAIRS, SEEN, pairs, render, single_object_scenes
from course_lib.encoders.clip_text import CLIPTextConfig
from course_lib.errors import InputError
from course_lib.evaluation.embedding import embed_images, embed_texts, measuring
from course_lib.evaluation.retrieval import recall_at_k
from course_lib.evaluation.zero_shot import accuracy, text_classifier
from course_lib.models.clip import CLIP, CLIPConfig
from course_lib.models.recipes.inputs import OnStep, pixel_values, word_tokenizer
from course_lib.models.recipes.vision import VISION
from course_lib.pretrained import course
from course_lib.runtime import autocast, device, seed_everything
from course_lib.training.contrastive import contrastive_batch_loss
from course_lib.training.loop import History, TrainingConfig, train

PROMPTS = ("{}", "a picture of {}", "an image of {}", "a drawing of {}", "here is {}", "there is {}")
# Colour x shape, 64 classes, as captions say them.
CLASS_NAMES = tuple(f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {shape}" for colour, shape in PAIRS)


def clip_config() -> CLIPConfig:
    """The course's CLIP: a small convolutional network and a text transformer of two layers; 0.45 M parameters."""
    text = CLIPTextConfig(
        word_tokenizer().vocab_size, context_length=32, width=96, layers=2, heads=4, mlp_width=384, activation="gelu"
    )
    return CLIPConfig(vision=VISION, text=text, projection_dim=128)


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


def clip_on_vision(seed: int = 0, vision: dict[str, Tensor] | None = None) -> CLIP:
    """A new CLIP whose convolutions are those of a vision checkpoint, and frozen.

    Args:
        seed: of the new weights.
        vision: weights of a `DenseDetector`; the course's checkpoint if None.
    """
    seed_everything(seed)
    model = CLIP(clip_config()).to(device())
    vision = course.load("vision")[1] if vision is None else vision
    trunk = model.vision_model.trunk
    trunk.load_state_dict({name[6:]: value for name, value in vision.items() if name.startswith("trunk.")})
    trunk.requires_grad_(False)
    return model


def feature_maps(model: CLIP, pictures: Tensor) -> Tensor:
    """uint8 (N, 64, 64, 3) -> (N, 96, 8, 8), what the frozen convolutions see: computed once, as they stay the same."""
    trunk, where = model.vision_model.trunk, model.logit_scale.device
    with measuring(model), autocast(where):
        return torch.cat([trunk(pixel_values(part.to(where))).half() for part in pictures.split(250)])


def encode_feature_maps(model: CLIP, maps: Tensor) -> Tensor:
    """`(B, 96, 8, 8) -> (B, D)`, the part of the image tower that is trained; not normalised."""
    return model.visual_projection(model.vision_model.pool(maps.to(model.logit_scale)))


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
    model = clip_on_vision(seed, vision)
    maps = feature_maps(model, data.pictures)

    def encode(model: CLIP, rows: Tensor) -> Tensor:
        return encode_feature_maps(model, maps[rows.to(maps.device)])

    loss = contrastive_batch_loss(encode, data.input_ids, config.batch_size, (10, 1, 1, 1, 4))
    history = train(model, loss, dataclasses.replace(config, seed=seed), on_step, resume_from)
    model.vision_model.trunk.requires_grad_(True)
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
