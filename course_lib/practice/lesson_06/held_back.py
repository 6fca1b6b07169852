"""Cases of set 06 that a learner is told the property of, and not the numbers. A class is not given this file."""

import torch
import torch.nn.functional as F

from course_lib.practice.exercise import Case
from course_lib.practice.lesson_06.exercises import head_case, normal, pairs, text_encoder


def logits(seed: int) -> list[Case]:
    def features(offset: int, images: int, texts: int, width: int, dtype: torch.dtype = torch.float32) -> dict:
        return {
            "image_features": 4 * normal(seed + offset, images, width).to(dtype),
            "text_features": 0.3 * normal(seed + offset + 1, texts, width).to(dtype),
        }

    return [
        Case("more images than texts", features(11, 7, 2, 5) | {"temperature": 0.3}),
        Case("a single image", features(13, 1, 4, 16) | {"temperature": 0.01}),
        Case("double precision", features(15, 3, 6, 8, torch.float64) | {"temperature": 0.05}),
        Case("derivatives", features(17, 3, 4, 6) | {"temperature": 0.2}, gradients=True),
    ]


def loss(seed: int) -> list[Case]:
    few = pairs(seed + 14, 3, 6)
    return [
        Case("a batch of thirty-two", pairs(seed + 11, 32, 16) | {"logit_scale": torch.tensor(20.0)}),
        Case("CLIP's highest scale, 100", pairs(seed + 12, 6, 8) | {"logit_scale": torch.tensor(100.0)}),
        Case(
            "pairs in the wrong order, where the loss is high",
            {**few, "text_embeds": few["text_embeds"].roll(1, 0), "logit_scale": torch.tensor(30.0)},
        ),
        Case(
            "double precision",
            pairs(seed + 13, 4, 8, torch.float64) | {"logit_scale": torch.tensor(14.0, dtype=torch.float64)},
        ),
        Case("derivatives", pairs(seed + 15, 4, 6) | {"logit_scale": torch.tensor(5.0)}, gradients=True),
    ]


def zero_shot(seed: int) -> list[Case]:
    names = ["small red cube", "torus", "large yellow star", "cone"]
    return [
        Case(
            "three templates, one of them with the name at its beginning",
            {
                "image_features": 5 * normal(seed + 11, 3, 8),
                "encode_text": text_encoder(seed + 12, 8),
                "class_names": names,
                "templates": ["{}", "{} on a table", "a bad, blurred, tilted photo of the {}"],
            },
        ),
        Case(
            "a single image and a single class",
            {
                "image_features": 0.1 * normal(seed + 13, 1, 5),
                "encode_text": text_encoder(seed + 14, 5),
                "class_names": ["cylinder"],
                "templates": ["a {}", "the {} that I saw yesterday"],
            },
        ),
        Case(
            "as many templates as classes",
            {
                "image_features": normal(seed + 15, 4, 8),
                "encode_text": text_encoder(seed + 16, 8),
                "class_names": names[:3],
                "templates": ["a {}", "one {} in a large and rather empty room", "{}?"],
            },
        ),
    ]


def siglip(seed: int) -> list[Case]:
    def scaled(scale: float, bias: float, dtype: torch.dtype = torch.float32) -> dict:
        return {"logit_scale": torch.tensor(scale, dtype=dtype), "logit_bias": torch.tensor(bias, dtype=dtype)}

    opposite = F.normalize(normal(seed + 15, 3, 6), dim=-1)
    return [
        Case("a batch of thirty-two", pairs(seed + 11, 32, 16) | scaled(20.0, -8.0)),
        Case("a single pair", pairs(seed + 12, 1, 4) | scaled(3.0, -2.0)),
        Case(
            "logits as low as -115, where a sigmoid rounds to 0",
            {"image_embeds": opposite, "text_embeds": -opposite} | scaled(105.0, -10.0),
        ),
        Case("double precision", pairs(seed + 13, 4, 8, torch.float64) | scaled(9.0, -6.0, torch.float64)),
        Case("derivatives", pairs(seed + 14, 4, 6) | scaled(4.0, -2.0), gradients=True),
    ]


def head(seed: int) -> list[Case]:
    return [
        head_case(100 * seed + 30, "a single pair", 1, 7, (6, 6, 4)),
        head_case(100 * seed + 40, "both encoders of one width", 4, 11, (8, 8, 8)),
        head_case(100 * seed + 50, "derivatives of inputs and weights", 3, 6, (6, 5, 4), gradients=True),
    ]


CASES = {
    "06.1": logits,
    "06.2": loss,
    "06.4": zero_shot,
    "06.5": siglip,
    "06.6": head,
}
