"""SigLIP beside transformers' SiglipModel."""

import json
import math

import pytest
import torch

from course_lib.authoring.parity import lesson_06 as parity
from course_lib.errors import InputError
from course_lib.models.siglip import SigLIP, SigLIPConfig, SigLIPTextConfig, SigLIPVisionConfig

VISION = SigLIPVisionConfig(image_size=32, patch_size=8, width=24, layers=2, heads=2, mlp_width=40)
TEXT = SigLIPTextConfig(vocab_size=50, context_length=8, width=16, layers=1, heads=2, mlp_width=20, projection_dim=24)


@pytest.mark.parametrize(
    ("vision", "text", "mask"),
    [
        ({}, {}, None),
        ({"image_size": 37, "patch_size": 9, "hidden_act": "gelu"}, {"num_hidden_layers": 1}, "right"),
        ({"hidden_size": 40, "layer_norm_eps": 1e-3}, {"projection_size": 40, "hidden_act": "relu"}, "left"),
    ],
)
def test_the_same_as_transformers(vision, text, mask):
    rows = parity.siglip_beside_transformers(vision, text, mask, seed=5)
    assert all(row.holds for row in rows), rows


def test_starts_as_in_the_paper():
    """Scale 10 and bias -10: every pair is held for mismatched, with a probability that hardly depends on the pair."""
    torch.manual_seed(0)
    model = SigLIP(SigLIPConfig(VISION, TEXT)).eval()
    output = model(torch.randn(3, 3, 32, 32), torch.randint(0, 50, (4, 8)))
    assert model.logit_scale.item() == pytest.approx(math.log(10)) and model.logit_bias.item() == -10
    assert output.logits_per_image.shape == (3, 4)
    assert (output.logits_per_image.sigmoid() < 0.5).all()
    assert torch.allclose(output.logits_per_image, 10 * output.image_embeds @ output.text_embeds.T - 10, atol=1e-5)
    output.logits_per_image.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_configuration_survives_json():
    config = SigLIPConfig(VISION, TEXT)
    assert SigLIPConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_bad_input():
    model = SigLIP(SigLIPConfig(VISION, TEXT)).eval()
    with pytest.raises(InputError, match=r"takes \(B, 3, 32, 32\)"):
        model.encode_image(torch.zeros(1, 3, 64, 64))
    with pytest.raises(InputError, match="9 tokens a row"):
        model.encode_text(torch.zeros(1, 9, dtype=torch.long))
    with pytest.raises(InputError, match="projection_dim is 768 and the image tower's width 24"):
        SigLIP(SigLIPConfig(VISION, SigLIPTextConfig(vocab_size=5, width=16, layers=1, heads=2, mlp_width=8)))
