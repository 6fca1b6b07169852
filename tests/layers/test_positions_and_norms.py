"""Positions and norms: beside torch's and transformers', and by what they are for."""

import math

import pytest
import torch

from course_lib.authoring.parity import lesson_01_layers as parity
from course_lib.errors import InputError
from course_lib.layers.attention import CrossAttention, GroupedQueryAttention, causal_mask, dot_product_attention
from course_lib.layers.norms import batch_norm
from course_lib.layers.positions import (
    RelativePositionBias,
    RotaryEmbedding,
    RotaryStretch,
    frequencies,
    rotate,
    sinusoidal_positions,
    stretched,
)


@pytest.mark.parametrize("compare", parity.COMPARISONS)
def test_the_same_as_the_reference(compare):
    rows = compare()
    assert rows and all(row.holds for row in rows), rows


@pytest.mark.parametrize("context_width", [24, 7])
def test_cross_attention_with_other_contexts(context_width):
    assert all(row.holds for row in parity.cross_attention_beside_torch(context_width, padded=False, seed=3))


def test_other_configurations():
    assert all(row.holds for row in parity.decoder_blocks_beside_torch(padded=False, seed=5))
    assert all(row.holds for row in parity.norms_beside_torch(seed=6))
    assert all(row.holds for row in parity.rotary_beside_transformers(500_000.0, padded=False, seed=7))


def test_sinusoidal_positions():
    positions = sinusoidal_positions(50, 8)
    assert positions.shape == (50, 8)
    assert torch.equal(positions[0], torch.tensor([0.0, 1.0] * 4))
    assert positions[3, 2].item() == pytest.approx(math.sin(3 / 10000 ** (2 / 8)))
    assert positions[3, 3].item() == pytest.approx(math.cos(3 / 10000 ** (2 / 8)))
    products = positions @ positions.T
    assert torch.allclose(products.diagonal(4), products[0, 4].expand(46), atol=1e-4)  # depends on the distance only


def test_rotation_keeps_lengths_and_makes_products_relative():
    rotary, query, key = RotaryEmbedding(16), torch.randn(16), torch.randn(16)

    def product(m: int, n: int) -> float:
        q, k = (rotate(x.view(1, 1, 1, -1), *rotary(torch.tensor([p]))) for x, p in ((query, m), (key, n)))
        assert q.norm().item() == pytest.approx(query.norm().item(), rel=1e-5)
        return (q * k).sum().item()

    assert product(5, 2) == pytest.approx(product(103, 100), abs=1e-3)
    assert abs(product(5, 2) - product(5, 3)) > 1e-3


def test_stretched_positions_keep_fast_pairs_and_slow_the_others_down():
    turns = frequencies(64, 500_000.0)
    slower = turns / stretched(turns, RotaryStretch(8.0, 8192))
    per_length = 8192 * turns / (2 * math.pi)
    assert torch.allclose(slower[per_length >= 4], torch.tensor(1.0))
    assert torch.allclose(slower[per_length <= 1], torch.tensor(8.0))
    between = slower[(per_length > 1) & (per_length < 4)]
    assert len(between) and ((between > 1) & (between < 8)).all() and (slower.diff() > -1e-4).all()


@pytest.mark.parametrize("bidirectional", [True, False])
def test_relative_position_bias_is_t5s(bidirectional):
    from transformers.models.t5.modeling_t5 import T5Attention

    ours = RelativePositionBias(3, 8, 20, bidirectional)
    distance = torch.arange(-60, 61)
    assert torch.equal(ours.bucket(distance), T5Attention._relative_position_bucket(distance, bidirectional, 8, 20))
    everything = ours(9, 9)
    assert everything.shape == (1, 3, 9, 9)
    assert torch.equal(ours(1, 9), everything[:, :, 8:]) and torch.equal(ours(4, 9), everything[:, :, 5:])


def test_the_causal_mask_takes_queries_for_the_last_positions():
    assert causal_mask(2, 4).tolist() == [[True, True, True, False], [True, True, True, True]]
    query, states = torch.randn(2, 1, 2, 4), torch.randn(2, 1, 4, 4)
    last = dot_product_attention(torch.cat([states[:, :, :2], query], 2), states, states, is_causal=True)[1]
    assert torch.allclose(dot_product_attention(query, states, states, is_causal=True)[1], last[:, :, 2:])


def test_batch_norm_of_one_sample_depends_on_no_neighbour():
    x, mean, variance = torch.randn(5, 3), torch.zeros(3), torch.ones(3)
    alone = batch_norm(x[:1], mean, variance)
    assert torch.equal(batch_norm(x, mean, variance)[:1], alone)
    assert not torch.allclose(batch_norm(x, mean, variance, training=True)[:1], alone)


def test_bad_input():
    states = torch.randn(2, 3, 8)
    with pytest.raises(InputError, match="do not go together"):
        dot_product_attention(states, torch.randn(2, 3, 4), states)
    with pytest.raises(InputError, match="should be boolean"):
        dot_product_attention(states, states, states, torch.ones(3, 3))
    with pytest.raises(InputError, match="a width of 10 does not divide"):
        CrossAttention(10, 3)
    with pytest.raises(InputError, match=r"takes \(B, S, 6\)"):
        CrossAttention(8, 2, 6)(states, states)
    with pytest.raises(InputError, match="4 heads cannot share 3"):
        GroupedQueryAttention(8, 4, 3)
    with pytest.raises(InputError, match="no pairs to rotate"):
        GroupedQueryAttention(12, 4, 2)
    with pytest.raises(InputError, match="even width"):
        sinusoidal_positions(4, 7)
    with pytest.raises(InputError, match="more than one value"):
        batch_norm(torch.randn(1, 3), torch.zeros(3), torch.ones(3), training=True)
