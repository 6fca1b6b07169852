"""ALIGN beside transformers' AlignModel."""

import json

import pytest
import torch

from course_lib.authoring.parity import lesson_06 as parity
from course_lib.authoring.parity.rows import disturb
from course_lib.encoders.bert import BERTConfig
from course_lib.encoders.efficientnet import EfficientNetConfig
from course_lib.errors import InputError
from course_lib.models.align import ALIGN, ALIGNConfig

VISION = EfficientNetConfig(width_coefficient=0.1, depth_coefficient=0.3)
TEXT = BERTConfig(vocab_size=50, context_length=8, width=16, layers=1, heads=2, mlp_width=20)


@pytest.mark.parametrize(
    ("vision", "text", "mask", "size"),
    [
        ({}, {}, "right", 64),
        ({"depthwise_padding": [1, 3], "depth_coefficient": 0.6, "width_coefficient": 0.15}, {}, None, 67),
        ({"squeeze_expansion_ratio": 0.5, "batch_norm_eps": 1e-2}, {"hidden_act": "relu"}, "right", 33),
    ],
)
def test_the_same_as_transformers(vision, text, mask, size):
    rows = parity.align_beside_transformers(vision, text, mask, size, seed=2)
    assert all(row.holds for row in rows), rows


def test_output_depends_on_the_picture_and_the_text():
    torch.manual_seed(0)
    pixel_values, input_ids = torch.randn(3, 3, 48, 40), torch.randint(0, 50, (4, 8))
    model = ALIGN(ALIGNConfig(VISION, TEXT, projection_dim=VISION.width))
    output = disturb(model, seed=0, pixel_values=pixel_values, input_ids=input_ids)(pixel_values, input_ids)
    assert output.logits_per_image.shape == (3, 4)
    assert output.image_embeds.std(0).max() > 1e-3 and output.text_embeds.std(0).max() > 1e-3
    assert torch.allclose(output.logits_per_image * model.temperature, output.image_embeds @ output.text_embeds.T)


def test_padding_is_not_seen():
    model = ALIGN(ALIGNConfig(VISION, TEXT, projection_dim=VISION.width)).eval()
    input_ids = torch.randint(0, 50, (2, 8))
    mask = torch.tensor([[1, 1, 1, 1, 1, 0, 0, 0]] * 2)
    other = torch.cat([input_ids[:, :5], torch.randint(0, 50, (2, 3))], 1)
    assert torch.allclose(model.encode_text(input_ids, mask), model.encode_text(other, mask), atol=1e-6)
    assert torch.allclose(model.encode_text(input_ids, mask), model.encode_text(input_ids[:, :5]), atol=1e-6)


def test_a_configuration_survives_json():
    config = ALIGNConfig(VISION, TEXT, projection_dim=VISION.width)
    assert ALIGNConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_bad_input():
    model = ALIGN(ALIGNConfig(VISION, TEXT, projection_dim=VISION.width)).eval()
    with pytest.raises(InputError, match=r"takes \(B, 3, H, W\)"):
        model.encode_image(torch.zeros(1, 4, 64, 64))
    with pytest.raises(InputError, match="vocabulary is 0 to 49"):
        model.encode_text(torch.full((1, 4), 50))
    with pytest.raises(InputError, match="projection_dim is 640"):
        ALIGN(ALIGNConfig(VISION, TEXT))
