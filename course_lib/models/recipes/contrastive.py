"""Contrastive learning on the microworld: the task of the distributed trainer, and the short runs of lesson 05."""

import torch
from torch import Tensor

from course_lib.evaluation.embedding import measuring
from course_lib.models.clip import CLIP
from course_lib.models.recipes.clip import clip_config, training_pairs
from course_lib.models.recipes.inputs import pixel_values
from course_lib.pretrained import course
from course_lib.runtime import autocast, device, seed_everything
from course_lib.training.contrastive import ContrastiveTask


def clip_on_vision(seed: int = 0) -> CLIP:
    """A new CLIP whose convolutions are those of the course's vision checkpoint, and frozen.

    Source: locked-image tuning, Zhai et al. 2022, "LiT", section 3.
    """
    seed_everything(seed)
    model = CLIP(clip_config()).to(device())
    vision = course.load("vision")[1]
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


def microworld_clip(pictures: int = 12_000, seed: int = 0) -> ContrastiveTask:
    """The course's CLIP on the vision checkpoint and the microworld's training split, as lesson 06 trains it.

    Args:
        pictures: how many, with five captions each.
        seed: of the new weights; the pictures are the same for all.
    """
    data, model = training_pairs(pictures), clip_on_vision(seed)
    maps = feature_maps(model, data.pictures)
    card = {
        "name": "clip",
        "what": "the course's CLIP: an image tower on the frozen vision checkpoint, a text transformer of two layers",
        "data": f"{pictures} pictures of the microworld's split 'train', seed 1, five captions each",
        "config": model.config.to_dict(),
    }
    return ContrastiveTask(
        model, lambda model, rows: encode_feature_maps(model, maps[rows]), data.input_ids, (10, 1, 1, 1, 4), card
    )
