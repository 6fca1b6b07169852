"""The encoders by themselves: shapes, sizes known from elsewhere, what their features mean."""

import pytest
import torch
import torchvision

from course_lib.encoders.bert import BERT, BERTConfig
from course_lib.encoders.clip_resnet import CLIPResNet, CLIPResNetConfig
from course_lib.encoders.clip_text import CLIPText, CLIPTextConfig
from course_lib.encoders.clip_vit import CLIPViT, CLIPViTConfig
from course_lib.encoders.convnet import ConvNet, ConvNetConfig, ConvTrunk
from course_lib.encoders.efficientnet import EfficientNet, EfficientNetConfig
from course_lib.encoders.resnet import ResNet, ResNetConfig
from course_lib.encoders.vgg import VGG, VGGConfig
from course_lib.encoders.vit import ViT, ViTConfig
from course_lib.errors import InputError


def parameters(model: torch.nn.Module) -> int:
    return sum(tensor.numel() for tensor in model.parameters())


@pytest.mark.parametrize(
    "config",
    [
        ConvNetConfig(),
        ConvNetConfig(image_size=(40, 56), channels=(8, 8, 16), strides=(2, 1, 2), heads=2),
        ConvNetConfig(image_size=33, channels=(8,), strides=(2,), heads=1),
    ],
)
def test_convnet(config):
    model = ConvNet(config).eval()
    size = config.image_size if isinstance(config.image_size, tuple) else (config.image_size,) * 2
    pixel_values = torch.randn(2, 3, *size)
    feature_map = model.forward_features(pixel_values)
    assert feature_map.shape == (2, config.width, *config.grid)
    assert model(pixel_values).shape == (2, config.width)
    assert torch.equal(model.trunk(pixel_values), feature_map)
    trunk = ConvTrunk(config).eval()
    trunk.load_state_dict(model.trunk.state_dict())
    assert torch.equal(trunk(pixel_values), feature_map)


def test_convnet_in_training_and_evaluation():
    """BatchNorm: in evaluation a picture's features do not depend on the others of the batch."""
    model, pixel_values = ConvNet(ConvNetConfig()), torch.randn(4, 3, 64, 64)
    assert not torch.allclose(model(pixel_values)[:2], model(pixel_values[:2]), atol=1e-4)
    model.eval()
    assert torch.allclose(model(pixel_values)[:2], model(pixel_values[:2]), atol=1e-5)


@pytest.mark.parametrize(("kind", "sizes"), [(ViT, ViTConfig), (CLIPViT, CLIPViTConfig)])
def test_vit(kind, sizes):
    model = kind(sizes(image_size=(16, 24), patch_size=8, width=12, layers=2, heads=2, mlp_width=20)).eval()
    assert model.grid == (2, 3)
    pixel_values = torch.randn(2, 3, 16, 24)
    assert model.forward_features(pixel_values).shape == (2, 7, 12) and model(pixel_values).shape == (2, 12)
    mirrored = model(pixel_values.flip(-1))
    assert not torch.allclose(mirrored, model(pixel_values), atol=1e-4), "positions are told apart"


def test_clip_resnet():
    config = CLIPResNetConfig(image_size=64, layers=(1, 1, 1, 1), width=8, heads=4)
    model = CLIPResNet(config).eval()
    assert model.forward_features(torch.randn(2, 3, 64, 64)).shape == (2, 256, 2, 2)
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 256) and model.width == 256


@pytest.mark.parametrize(
    ("encoder", "published", "without"),
    [
        (lambda: VGG(), "vgg11", "classifier.6"),
        (lambda: ResNet(), "resnet18", "fc"),
        (lambda: ResNet(ResNetConfig((3, 4, 6, 3), bottleneck=True)), "resnet50", "fc"),
        (lambda: ViT(), "vit_b_16", "heads"),
    ],
)
def test_the_defaults_are_the_papers(encoder, published, without):
    """As many parameters as torchvision's model without its last layer."""
    with torch.device("meta"):
        ours, theirs = encoder(), getattr(torchvision.models, published)()
    assert parameters(ours) == parameters(theirs) - parameters(theirs.get_submodule(without))


def test_resnet_and_vgg_take_any_size():
    resnet = ResNet(ResNetConfig((1, 1), width=8, stem_kernel=3, stem_stride=1, stem_pool=False)).eval()
    assert resnet.forward_features(torch.randn(1, 3, 16, 24)).shape == (1, 16, 8, 12)
    vgg = VGG(VGGConfig(((8,), (12, 12)), pooled=2, hidden=20)).eval()
    assert vgg.forward_features(torch.randn(1, 3, 16, 24)).shape == (1, 12, 4, 6)
    for model in (resnet, vgg):
        assert model(torch.randn(2, 3, 16, 24)).shape == model(torch.randn(2, 3, 33, 16)).shape == (2, model.width)


def test_efficientnet_b0_is_the_paper():
    """As many parameters as torchvision's B0 without its last convolution and its classifier."""
    with torch.device("meta"):
        ours = EfficientNet(EfficientNetConfig(width_coefficient=1.0, depth_coefficient=1.0))
        theirs = torchvision.models.efficientnet_b0().features[:-1]
    assert parameters(ours) == parameters(theirs)
    assert len(ours.blocks) == 16 and ours.width == 320


def test_efficientnet_b7_is_aligns():
    config = EfficientNetConfig()
    assert config.width == 640 and config.scaled(32) == 64 and config.scaled(24) == 48
    with torch.device("meta"):
        ours, theirs = EfficientNet(config), torchvision.models.efficientnet_b7().features[:-1]
    assert parameters(ours) == parameters(theirs) and len(ours.blocks) == 55


def test_efficientnet_takes_any_size():
    model = EfficientNet(EfficientNetConfig(width_coefficient=0.1, depth_coefficient=0.1)).eval()
    assert model(torch.randn(1, 3, 32, 32)).shape == model(torch.randn(1, 3, 49, 70)).shape == (1, model.width)


def test_bert_base_is_the_paper():
    """110 million parameters (Devlin et al., section 3): 108,891,648 without the pooler, as transformers counts."""
    with torch.device("meta"):
        assert parameters(BERT(BERTConfig())) == 108_891_648


def test_bert_segments():
    model = BERT(BERTConfig(vocab_size=20, context_length=8, width=12, layers=1, heads=2, mlp_width=20)).eval()
    input_ids = torch.randint(0, 20, (2, 6))
    assert model(input_ids).shape == (2, 6, 12)
    assert torch.equal(model(input_ids), model(input_ids, token_type_ids=torch.zeros_like(input_ids)))
    assert not torch.allclose(model(input_ids), model(input_ids, token_type_ids=torch.ones_like(input_ids)))


TEXT = CLIPTextConfig(vocab_size=20, context_length=8, width=12, layers=2, heads=2, mlp_width=20, eos_token_id=3)


def test_clip_text_reads_the_first_end_token():
    model = CLIPText(TEXT).eval()
    input_ids = torch.tensor([[1, 5, 3, 19, 3, 0], [3, 1, 1, 1, 1, 1], [1, 2, 4, 5, 6, 7]])
    assert model.end_positions(input_ids).tolist() == [2, 0, 0]
    assert torch.allclose(model(input_ids[:1]), model(input_ids[:1, :3]), atol=1e-6)


def test_clip_text_from_embeddings():
    """A learned prompt enters as vectors: those of the tokens themselves give what the tokens give."""
    model, input_ids = CLIPText(TEXT).eval(), torch.tensor([[1, 5, 9, 3], [1, 3, 0, 0]])
    from_vectors = model.forward_embeddings(model.token_embedding(input_ids), read=model.end_positions(input_ids))
    assert torch.equal(from_vectors, model(input_ids))


def test_clip_text_starts_as_clip():
    """What a block adds shrinks with the number of blocks (CLIP's published code)."""
    torch.manual_seed(0)
    model = CLIPText(CLIPTextConfig(vocab_size=500, width=128, layers=8, heads=4, mlp_width=512))
    block = model.transformer.blocks[3]
    for weight, std in (
        (model.token_embedding.weight, 0.02),
        (model.position_embedding, 0.01),
        (block.attention.qkv.weight, 128**-0.5),
        (block.attention.out.weight, 128**-0.5 / 4),
        (block.mlp.fc1.weight, 256**-0.5),
        (block.mlp.fc2.weight, 128**-0.5 / 4),
    ):
        assert weight.std().item() == pytest.approx(std, rel=0.05)


@pytest.mark.parametrize("model", [ConvTrunk(ConvNetConfig()), CLIPResNet(CLIPResNetConfig(64, (1, 1, 1, 1), 8, 4))])
def test_bad_pictures(model):
    for shape in ((2, 3, 63, 64), (2, 4, 64, 64), (3, 64, 64)):
        with pytest.raises(InputError, match=r"this model takes \(B, 3, 64, 64\)"):
            model(torch.zeros(shape))
    with pytest.raises(InputError, match="empty batch"):
        model(torch.zeros(0, 3, 64, 64))
