"""Activations, patches, attention pooling, convolution blocks."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.models.efficientnet import MBConv as TorchMBConv
from torchvision.models.efficientnet import MBConvConfig
from torchvision.ops import SqueezeExcitation

from course_lib.authoring.parity.rows import disturb
from course_lib.errors import InputError
from course_lib.layers.activations import ACTIVATIONS, activation, quick_gelu
from course_lib.layers.convolution import AveragingBottleneck, ConvBlock, MBConv, SqueezeExcite
from course_lib.layers.patches import PatchEmbedding
from course_lib.layers.pooling import AttentionPool2d, AttentionPoolingHead


def test_quick_gelu_is_its_formula():
    x = torch.linspace(-8, 8, 400, requires_grad=True)
    wanted = x * torch.sigmoid(1.702 * x)
    assert torch.allclose(quick_gelu(x), wanted, atol=1e-6)
    assert torch.allclose(*(torch.autograd.grad(y.sum(), x)[0] for y in (quick_gelu(x), wanted)), atol=1e-6)
    assert (quick_gelu(x) - F.gelu(x)).abs().max() < 0.03


def test_activations_are_transformers():
    from transformers.activations import ACT2FN

    x = torch.linspace(-4, 4, 100)
    for name in ACTIVATIONS:
        assert torch.allclose(activation(name)(x), ACT2FN[name](x), atol=1e-6), name


def test_a_patch_is_seen_by_its_own_token():
    patches, picture = PatchEmbedding(3, (12, 17), (4, 5), 7), torch.randn(1, 3, 12, 17)
    assert patches.grid == (3, 3) and patches(picture).shape == (1, 9, 7)
    changed = picture.clone()
    changed[..., 4:8, 5:10] += 1  # row 1, column 1: token 4
    apart = (patches(picture) - patches(changed)).abs().amax(-1)[0]
    assert apart[4] > 1e-3 and apart.count_nonzero() == 1


def test_attention_pool_of_equal_places_is_their_value():
    """If all places and positions are alike, whatever the weights, the answer is the one value there is."""
    pool = AttentionPool2d(9, 8, 2)
    pool.position_embedding.data.zero_()
    one = torch.randn(2, 8)
    pooled = pool(one[:, :, None, None].expand(-1, -1, 3, 3))
    assert torch.allclose(pooled, pool.key_value(one)[:, 8:], atol=1e-6)


def test_attention_pool_is_its_weights_times_its_values():
    pool, feature_map = AttentionPool2d(12, 8, 2), torch.randn(2, 8, 3, 4)
    weights, values = pool.weights(feature_map), pool.values(feature_map)
    assert weights.shape == (2, 2, 3, 4) and values.shape == (2, 12, 8)
    own = 1 - weights.sum((2, 3))  # the mean is one of the places that answer
    assert ((own > 0) & (own < 1)).all()
    mean = pool.project(feature_map)[2][:, :, 0]  # (B, heads, d)
    mixed = torch.einsum("bhn,bnhd->bhd", weights.flatten(2), values.unflatten(-1, (2, 4))) + own[..., None] * mean
    assert torch.allclose(mixed.flatten(1), pool(feature_map), atol=1e-5)


def test_attention_pooling_head_does_not_mind_the_order():
    head, tokens = disturb(AttentionPoolingHead(8, 2, 16), seed=0), torch.randn(2, 5, 8)
    assert head(tokens).shape == (2, 8)
    assert torch.allclose(head(tokens), head(tokens[:, torch.randperm(5)]), atol=1e-6)


@pytest.mark.parametrize(("size", "stride", "wanted"), [(8, 1, 8), (8, 2, 4), (9, 2, 5)])
def test_conv_block(size, stride, wanted):
    block = ConvBlock(3, 6, stride)
    output = block(torch.randn(2, 3, size, size))
    assert output.shape == (2, 6, wanted, wanted) and (output >= 0).all()


def test_a_bottleneck_starts_as_its_shortcut():
    block, feature_map = AveragingBottleneck(16, 4).eval(), torch.randn(2, 16, 4, 4)
    assert torch.equal(block(feature_map), F.relu(feature_map))
    assert AveragingBottleneck(16, 8, stride=2)(feature_map).shape == (2, 32, 2, 2)


def test_squeeze_excite_is_torchvisions():
    theirs = SqueezeExcitation(8, 2, activation=torch.nn.SiLU)
    ours = SqueezeExcite(8, 2)
    ours.reduce.load_state_dict(theirs.fc1.state_dict())
    ours.expand.load_state_dict(theirs.fc2.state_dict())
    feature_map = torch.randn(2, 8, 5, 5)
    assert torch.allclose(ours(feature_map), theirs(feature_map), atol=1e-6)


@pytest.mark.parametrize(("stride", "kernel", "out"), [(1, 3, 8), (2, 5, 16)])
def test_mbconv_is_torchvisions(stride, kernel, out):
    """The same tensors in the same order; PyTorch pads alike on all sides."""
    feature_map = torch.randn(2, 8, 9, 9)
    config = MBConvConfig(3, kernel, stride, 8, out, num_layers=1)
    theirs = TorchMBConv(config, 0.0, lambda size: torch.nn.BatchNorm2d(size, eps=1e-3))
    disturb(theirs, 1, input=feature_map)
    ours = MBConv(8, out, kernel, stride, 3, squeezed=2, residual=stride == 1, square_padding=True).eval()
    names = {
        "block.0.0": "expansion",
        "block.0.1": "expansion_norm",
        "block.1.0": "depthwise",
        "block.1.1": "depthwise_norm",
        "block.2.fc1": "squeeze_excite.reduce",
        "block.2.fc2": "squeeze_excite.expand",
        "block.3.0": "projection",
        "block.3.1": "projection_norm",
    }
    state = {}
    for name, tensor in theirs.state_dict().items():
        module, _, kind = name.rpartition(".")
        state[f"{names[module]}.{kind}"] = tensor
    ours.load_state_dict(state)
    assert torch.allclose(ours(feature_map), theirs(feature_map), atol=1e-5)


def test_bad_heads():
    with pytest.raises(InputError, match="does not divide among 3 heads"):
        AttentionPool2d(4, 8, 3)
