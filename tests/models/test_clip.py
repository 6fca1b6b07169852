"""CLIP beside its references, its parts, its bad input."""

import json
import math

import pytest
import torch

from course_lib.authoring.parity import lesson_06 as parity
from course_lib.encoders.clip_resnet import CLIPResNetConfig
from course_lib.encoders.clip_vit import CLIPViTConfig
from course_lib.encoders.convnet import ConvNetConfig
from course_lib.errors import FileError, InputError
from course_lib.models.clip import CLIP, CLIPConfig, CLIPTextConfig

TEXT = CLIPTextConfig(vocab_size=50, context_length=12, width=24, layers=2, heads=3, mlp_width=40)
VIT = CLIPViTConfig(image_size=32, patch_size=8, width=24, layers=2, heads=2, mlp_width=40)
CONVNET = ConvNetConfig(image_size=32, channels=(8, 16), strides=(2, 2), heads=2)
RESNET = CLIPResNetConfig(image_size=64, layers=(1, 1, 1, 1), width=8, heads=4)


def make(vision, **sizes) -> CLIP:
    torch.manual_seed(0)
    return CLIP(CLIPConfig(vision, TEXT, projection_dim=20, **sizes)).eval()


def ids(count: int = 3, length: int = 9) -> torch.Tensor:
    input_ids = torch.randint(1, 48, (count, length), generator=torch.Generator().manual_seed(1))
    input_ids[:, -3], input_ids[:, -2:] = 49, 0
    return input_ids


@pytest.mark.parametrize(
    ("vision", "text", "mask"),
    [
        ({}, {}, None),
        ({"image_size": 37, "patch_size": 9}, {"hidden_act": "gelu"}, "right"),
        ({"image_size": 30, "patch_size": 30, "hidden_act": "gelu_pytorch_tanh"}, {"eos_token_id": 2}, None),
        ({"num_channels": 1, "num_hidden_layers": 1, "layer_norm_eps": 1e-3}, {"hidden_size": 36}, "left"),
        ({"attention_dropout": 0.5}, {"eos_token_id": 50, "num_attention_heads": 8}, "right"),
    ],
)
def test_the_same_as_transformers(vision, text, mask):
    rows = parity.clip_beside_transformers(vision, text, mask, seed=len(vision) + len(text))
    assert [row.what for row in rows] == ["embeddings", "logits"]
    assert all(row.holds for row in rows), rows


@pytest.mark.parametrize(
    ("vision", "text", "quick_gelu"),
    [
        ({}, {}, False),
        ({"image_size": (24, 40), "patch_size": (8, 5), "mlp_ratio": 2.6}, {"pool_type": "eos", "eos_id": 95}, True),
        ({"act_kwargs": {"approximate": "tanh"}, "norm_kwargs": {"eps": 1e-6}}, {}, False),
        ({"layers": (1, 2, 1, 1), "width": 8, "head_width": 16, "image_size": 64}, {}, True),
    ],
)
def test_the_same_as_open_clip(vision, text, quick_gelu):
    rows = parity.clip_beside_open_clip(vision, text, quick_gelu, seed=3)
    assert all(row.holds for row in rows), rows


def test_a_changed_weight_shows_in_the_comparison(monkeypatch):
    """The comparison can fail: with one bias of ours off by a hundredth it does."""
    from_weights = CLIP.from_weights

    def wrong(*args):
        model = from_weights(*args)
        with torch.no_grad():
            model.vision_model.transformer.blocks[0].attention.qkv.bias[100] += 0.1
        return model

    monkeypatch.setattr(CLIP, "from_weights", wrong)
    assert not all(row.holds for row in parity.clip_beside_transformers())


def test_sizes_are_the_published_ones():
    """Parameters of ViT-B/32 and RN50, as CLIP's authors published them (open_clip counts the same)."""
    with torch.device("meta"):
        vit = CLIP(CLIPConfig())
        resnet = CLIP(CLIPConfig(CLIPResNetConfig(), CLIPTextConfig(), projection_dim=1024))
    assert sum(tensor.numel() for tensor in vit.parameters()) == 151_277_313
    assert sum(tensor.numel() for tensor in resnet.parameters()) == 102_007_137


@pytest.mark.parametrize("vision", [VIT, CONVNET, RESNET], ids=["vit", "convnet", "resnet"])
def test_output(vision):
    model = make(vision)
    pixel_values = torch.randn(4, 3, vision.image_size, vision.image_size)
    output = model(pixel_values, ids())
    assert output.logits_per_image.shape == (4, 3) and torch.equal(output.logits_per_text, output.logits_per_image.T)
    for embeds in (output.image_embeds, output.text_embeds):
        assert torch.allclose(embeds.norm(dim=-1), torch.ones(len(embeds)))
    cosine = torch.cosine_similarity(model.encode_image(pixel_values)[:, None], model.encode_text(ids())[None], dim=-1)
    assert torch.allclose(output.logits_per_image, cosine / 0.07, atol=1e-5)
    assert model.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    output.logits_per_image.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("vision", [VIT, CONVNET, RESNET], ids=["vit", "convnet", "resnet"])
def test_a_configuration_survives_json(vision):
    config = CLIPConfig(vision, TEXT, projection_dim=20)
    again = CLIPConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    model = CLIP(config).eval()
    copy = CLIP.from_weights(config.to_dict(), model.state_dict())
    assert torch.equal(copy.encode_text(ids()), model.encode_text(ids()))


def test_only_the_read_token_is_the_same_as_all():
    """The last block computes one token; all tokens give the same vector there."""
    model = make(VIT)
    pixel_values, input_ids = torch.randn(2, 3, 32, 32), ids()
    vision, text = model.vision_model, model.text_model
    assert torch.allclose(
        vision(pixel_values), vision.post_norm(vision.forward_features(pixel_values)[:, 0]), atol=1e-6
    )
    everywhere = text.forward_features(input_ids)
    assert text.end_positions(input_ids).tolist() == [6, 6, 6]
    assert torch.allclose(text(input_ids), everywhere[:, 6], atol=1e-6)


def test_nothing_after_the_end_token_counts():
    model, longer = make(VIT), ids()
    longer[:, -2:] = torch.tensor([5, 7])
    assert torch.allclose(model.encode_text(ids()), model.encode_text(longer), atol=1e-6)
    assert torch.allclose(model.encode_text(ids()), model.encode_text(ids()[:, :-2]), atol=1e-6)
    earlier = ids()
    earlier[:, 2] = 11
    assert not torch.allclose(model.encode_text(ids()), model.encode_text(earlier), atol=1e-3)


def test_the_scale_is_kept_at_a_hundred():
    model = make(VIT, logit_scale_init=7.0)
    model.clamp_logit_scale()
    assert model.logit_scale.exp().item() == pytest.approx(100) and model.logit_scale.requires_grad
    model = make(VIT, logit_scale_init=1.0)
    model.clamp_logit_scale()
    assert model.logit_scale.item() == 1.0


def test_one_training_step_lowers_the_loss():
    from course_lib.losses.contrastive import clip_loss

    model, pixel_values, input_ids = make(CONVNET).train(), torch.randn(6, 3, 32, 32), ids(6)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(5):
        output = model(pixel_values, input_ids)
        losses.append(clip_loss(output.image_embeds, output.text_embeds, model.logit_scale.exp()))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("pixel_values", "message"),
    [
        (torch.zeros(2, 3, 31, 32), r"shape \(2, 3, 31, 32\); this model takes \(B, 3, 32, 32\)"),
        (torch.zeros(3, 32, 32), r"this model takes \(B, 3, 32, 32\)"),
        (torch.zeros(2, 1, 32, 32), r"this model takes \(B, 3, 32, 32\)"),
        (torch.zeros(0, 3, 32, 32), "empty batch"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "should be floating-point"),
        ([[0.0]], "is a list; it should be a tensor"),
    ],
)
@pytest.mark.parametrize("vision", [VIT, CONVNET], ids=["vit", "convnet"])
def test_bad_pictures(vision, pixel_values, message):
    with pytest.raises(InputError, match=message):
        make(vision).encode_image(pixel_values)


@pytest.mark.parametrize(
    ("input_ids", "mask", "message"),
    [
        (torch.zeros(2, 5), None, "should be integer"),
        (torch.zeros(5, dtype=torch.long), None, r"should be \(B, T\)"),
        (torch.zeros(2, 13, dtype=torch.long), None, "13 tokens a row; this model has 12 positions"),
        (torch.full((2, 5), 50), None, "holds 50; this model's vocabulary is 0 to 49"),
        (torch.full((2, 5), -1), None, "holds -1"),
        (torch.zeros(0, 5, dtype=torch.long), None, "empty batch"),
        (torch.zeros(2, 0, dtype=torch.long), None, "empty batch"),
        (torch.zeros(2, 5, dtype=torch.long), torch.ones(2, 4), r"attention_mask has shape \(2, 4\)"),
        ("a cat", None, "is a str; it should be an integer tensor"),
    ],
)
def test_bad_texts(input_ids, mask, message):
    with pytest.raises(InputError, match=message):
        make(VIT).encode_text(input_ids, mask)


def test_bad_weights():
    model = make(VIT)
    state = model.state_dict()
    name = "text_model.token_embedding.weight"
    with pytest.raises(FileError, match="logit_scale is missing"):
        CLIP.from_weights(model.config.to_dict(), {key: value for key, value in state.items() if key != "logit_scale"})
    with pytest.raises(FileError, match=r"is \(3, 3\) and should be \(50, 24\)"):
        CLIP.from_weights(model.config.to_dict(), state | {name: torch.zeros(3, 3)})
    with pytest.raises(FileError, match=r"0 is not part of the model; .*; 9 is not.*and 1 more"):
        CLIP.from_weights(model.config.to_dict(), state | {str(number): torch.zeros(1) for number in range(11)})


def test_bad_sizes():
    with pytest.raises(InputError, match="does not divide among 5 heads"):
        make(CLIPViTConfig(image_size=32, patch_size=8, width=24, layers=1, heads=5, mlp_width=8))
    with pytest.raises(InputError, match="a patch of 33 x 33 does not fit"):
        make(CLIPViTConfig(image_size=32, patch_size=33, width=24, layers=1, heads=2, mlp_width=8))
    with pytest.raises(InputError, match="no activation 'swiglu'"):
        make(CLIPViTConfig(image_size=32, patch_size=8, width=24, layers=1, heads=2, mlp_width=8, activation="swiglu"))
    with pytest.raises(InputError, match="give at least one of each"):
        make(ConvNetConfig(channels=(8, 8), strides=(2,)))
