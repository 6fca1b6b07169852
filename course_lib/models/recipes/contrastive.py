"""Contrastive learning on the microworld, as a task for the trainer of several processes (`training.clip`)."""

from course_lib.models.recipes.clip import clip_on_vision, encode_feature_maps, feature_maps, training_pairs
from course_lib.training.contrastive import ContrastiveTask


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
