"""Image classifiers beside torchvision's and transformers', their files, their bad input."""

import re

import pytest
import torch
import torchvision

from course_lib.authoring.parity import lesson_02 as parity
from course_lib.authoring.parity.rows import disturb
from course_lib.encoders.resnet import ResNet, ResNetConfig
from course_lib.errors import FileError, InputError, OfflineError
from course_lib.models.image_classifier import (
    ENCODERS,
    ImageClassifier,
    encoder_from_dict,
    encoder_from_pretrained,
    encoder_to_dict,
)
from course_lib.pretrained import torchvision as torchvision_names
from course_lib.pretrained import vision as transformers_names

SMALL = ResNetConfig((1, 1), width=8)


@pytest.mark.parametrize(
    "compare",
    [
        lambda: parity.vgg_beside_torchvision((4, 4, "M", 6, 6, 6, "M", 8, "M"), size=33, seed=1),
        lambda: parity.resnet_beside_torchvision(layers=(1, 1, 1, 2), size=45, seed=1),
        lambda: parity.resnet_beside_torchvision(bottleneck=True, layers=(2, 1, 1, 1), size=39, seed=1),
        lambda: parity.efficientnet_beside_torchvision(size=71, seed=1),
        lambda: parity.convnext_beside_torchvision(size=71, seed=1),
        lambda: parity.vit_beside_torchvision(size=36, seed=1, patch_size=12, num_layers=1, num_heads=2),
        lambda: parity.swin_beside_torchvision(window=4, layers=(2, 2), size=41, seed=1),
        lambda: parity.swin_beside_torchvision(window=7, layers=(2, 2), size=24, seed=1),
        lambda: parity.resnet_beside_transformers(37, 1, layer_type="basic", hidden_sizes=[8, 16], depths=[2, 1]),
        lambda: parity.convnext_beside_transformers(48, 1, hidden_sizes=[8, 16], depths=[1, 2], num_stages=2),
        lambda: parity.vit_beside_transformers(30, 1, patch_size=10, hidden_act="gelu_new", layer_norm_eps=1e-3),
        lambda: parity.swin_beside_transformers(60, 1, window_size=3, depths=[2, 2, 1], num_heads=[1, 2, 4]),
    ],
)
def test_the_same_as_the_reference(compare):
    rows = compare()
    assert rows and all(row.holds for row in rows), rows


@pytest.mark.parametrize("name", ["position_bias.table", "layer_scale", "shortcut.bn.weight", "class_embedding"])
def test_a_changed_weight_shows_in_the_comparison(monkeypatch, name):
    """The comparisons can fail: with one number of ours off, they do."""
    from_weights = ImageClassifier.from_weights
    changed = []

    def wrong(*args):
        model = from_weights(*args)
        for own, parameter in model.named_parameters():
            if own.endswith(name):
                parameter.detach().view(-1)[0] += 0.5
                changed.append(own)
        return model

    monkeypatch.setattr(ImageClassifier, "from_weights", wrong)
    compare = {
        "position_bias.table": parity.swin_beside_torchvision,
        "layer_scale": parity.convnext_beside_torchvision,
        "shortcut.bn.weight": parity.resnet_beside_torchvision,
        "class_embedding": parity.vit_beside_torchvision,
    }[name]
    assert not any(row.holds for row in compare()) and changed


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["vgg11", "resnet18", "resnet50", "efficientnet_b0", "convnext_tiny", "swin_t", "vit_b_16"]
)
def test_the_published_sizes(name):
    """The whole models, with random weights, at 224 x 224: <= 1e-4, for sums of hundreds of layers' rounding."""
    torch.manual_seed(0)
    theirs, pixel_values = getattr(torchvision.models, name)().eval(), torch.randn(2, 3, 224, 224)
    if name.startswith(("resnet", "efficientnet")):
        for module in theirs.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():
            theirs.train()(torch.randn(4, 3, 224, 224))
        theirs.eval()
    if name.startswith("vit"):
        torch.nn.init.normal_(theirs.heads.head.weight, std=0.02)  # torchvision's starts as 0
    family = next(family for family in torchvision_names.FAMILIES if re.match(family, name))
    ours = ImageClassifier.from_weights(*torchvision_names.FAMILIES[family](theirs.state_dict()))
    with torch.no_grad():
        wanted, got = theirs(pixel_values), ours(pixel_values)
    assert wanted.std(0).max() > 1e-3
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_is_made_again_from_its_configuration(name):
    with torch.device("meta"):
        encoder = ENCODERS[name][1](ENCODERS[name][0]())
        values = encoder_to_dict(encoder)
        assert values["encoder"] == name and encoder_from_dict(values).config == encoder.config


def test_a_classifier_learns():
    torch.manual_seed(0)
    model = ImageClassifier(ResNet(SMALL), 3, dropout=0.1)
    pixel_values, labels = torch.randn(12, 3, 16, 16), torch.arange(12) % 3
    optimiser = torch.optim.AdamW(model.parameters(), 1e-2)
    losses = []
    for _ in range(20):
        losses.append(torch.nn.functional.cross_entropy(model(pixel_values), labels))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[0] > 0.9 and losses[-1] < 0.2 * losses[0]


def tiny_vit(folder, head: bool = True):
    from transformers import ViTConfig, ViTForImageClassification, ViTModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20}
    torch.manual_seed(0)
    config = ViTConfig(image_size=16, patch_size=8, num_labels=5, **sizes)
    model = disturb((ViTForImageClassification if head else ViTModel)(config), 0)
    model.save_pretrained(folder)
    return model


PICTURES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_from_pretrained(tmp_path):
    """The file on disk has other names than the model in memory: those of published checkpoints."""
    theirs = tiny_vit(tmp_path)
    ours = ImageClassifier.from_pretrained(tmp_path)
    assert not ours.training
    with torch.no_grad():
        torch.testing.assert_close(ours(PICTURES), theirs(PICTURES).logits, atol=1e-5, rtol=0)
        encoder = encoder_from_pretrained(tmp_path)
        torch.testing.assert_close(encoder(PICTURES), theirs.vit(PICTURES).last_hidden_state[:, 0], atol=1e-5, rtol=0)


def test_a_swin_from_its_file(tmp_path):
    from transformers import SwinConfig, SwinForImageClassification

    torch.manual_seed(0)
    config = SwinConfig(image_size=32, patch_size=2, embed_dim=8, depths=[2, 1], num_heads=[2, 2], window_size=4)
    theirs = disturb(SwinForImageClassification(config), 0)
    theirs.save_pretrained(tmp_path)
    pixel_values = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        ours = ImageClassifier.from_pretrained(tmp_path)(pixel_values)
        torch.testing.assert_close(ours, theirs(pixel_values).logits, atol=1e-5, rtol=0)


def test_a_checkpoint_without_a_head(tmp_path):
    theirs = tiny_vit(tmp_path, head=False)
    with torch.no_grad():
        wanted = theirs(PICTURES).last_hidden_state
        torch.testing.assert_close(
            encoder_from_pretrained(tmp_path).forward_features(PICTURES), wanted, atol=1e-5, rtol=0
        )
    with pytest.raises(FileError, match="head.weight is missing"):
        ImageClassifier.from_pretrained(tmp_path)


def test_from_a_torchvision_file(tmp_path):
    theirs = torchvision.models.resnet18(num_classes=4).eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    ours = ImageClassifier.from_torchvision("resnet18", tmp_path / "resnet18.pth")
    pixel_values = torch.randn(2, 3, 40, 40)
    with torch.no_grad():
        torch.testing.assert_close(ours(pixel_values), theirs(pixel_values), atol=1e-5, rtol=0)
    with pytest.raises(FileError, match="not that of a ViT"):
        ImageClassifier.from_torchvision("vit_b_16", tmp_path / "resnet18.pth")
    (tmp_path / "resnet18.pth").write_bytes((tmp_path / "resnet18.pth").read_bytes()[:5000])
    with pytest.raises(FileError, match="resnet18.pth is no state dict"):
        ImageClassifier.from_torchvision("resnet18", tmp_path / "resnet18.pth")
    with pytest.raises(FileError, match="there is no file nowhere.pth"):
        ImageClassifier.from_torchvision("resnet18", tmp_path / "nowhere.pth")


def test_torchvision_without_a_network(monkeypatch, tmp_path):
    from urllib.error import URLError

    def fail(*_, **__):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", fail)
    with pytest.raises(OfflineError, match="the weights of resnet18 need a network once"):
        ImageClassifier.from_torchvision("resnet18")


def test_bad_input():
    with pytest.raises(InputError, match="there is no model 'alexnet' here; names begin with vgg, resnet"):
        ImageClassifier.from_torchvision("alexnet")
    with pytest.raises(InputError, match="torchvision has no model 'resnet19'"):
        ImageClassifier.from_torchvision("resnet19")
    with pytest.raises(InputError, match="there is no encoder 'lenet'"):
        encoder_from_dict({"encoder": "lenet"})
    with pytest.raises(InputError, match="a Linear is none of the encoders"):
        encoder_to_dict(torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match="classes is 0"):
        ImageClassifier(ResNet(SMALL), 0)
    with pytest.raises(FileError, match="VGG without batch normalisation"):
        torchvision_names.vgg(torchvision.models.resnet18().state_dict())
    for family, config, message in (
        ("vit", {"qkv_bias": False}, "this ViT has qkv_bias=False"),
        ("swin", {"use_absolute_embeddings": True}, "this Swin has use_absolute_embeddings=True"),
        ("resnet", {"downsample_in_bottleneck": True}, "this ResNet has downsample_in_bottleneck=True"),
        ("resnet", {"hidden_sizes": [256, 512, 1024, 1025]}, "each is twice the one before"),
    ):
        with pytest.raises(InputError, match=message):
            transformers_names.from_transformers({"model_type": family} | config, {})
