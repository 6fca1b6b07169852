"""Attention and the blocks: beside PyTorch's, and by what must hold of any attention."""

import pytest
import torch

from course_lib.authoring.parity import lesson_01 as parity
from course_lib.errors import InputError
from course_lib.layers.attention import MultiHeadAttention, padding_mask
from course_lib.layers.blocks import PostNormBlock, PreNormBlock, Transformer


@pytest.mark.parametrize(("width", "heads", "causal"), [(24, 3, False), (20, 5, True), (8, 1, True)])
def test_the_same_as_torch(width, heads, causal):
    assert all(row.holds for row in parity.attention_beside_torch(width, heads, causal))


def test_blocks_are_the_same_as_torchs():
    assert all(row.holds for row in parity.blocks_beside_torch(seed=4))


def test_without_positions_the_order_does_not_matter():
    attention, tokens, order = MultiHeadAttention(12, 3), torch.randn(2, 6, 12), torch.randperm(6)
    assert torch.allclose(attention(tokens)[:, order], attention(tokens[:, order]), atol=1e-6)


def test_causal_attention_does_not_see_the_future():
    attention, tokens = MultiHeadAttention(12, 3), torch.randn(2, 6, 12)
    changed = tokens.clone()
    changed[:, 4] += 1
    before, after = attention(tokens, is_causal=True), attention(changed, is_causal=True)
    assert torch.allclose(before[:, :4], after[:, :4], atol=1e-6)
    assert not torch.allclose(before[:, 4:], after[:, 4:], atol=1e-3)
    assert torch.equal(attention.weights(tokens, is_causal=True).triu(1), torch.zeros(2, 3, 6, 6))


def test_hidden_tokens_are_not_seen():
    attention, tokens = MultiHeadAttention(12, 3), torch.randn(2, 6, 12)
    mask = padding_mask(torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]]))
    assert mask.shape == (2, 1, 6, 6)
    seen = attention(tokens, mask)
    assert torch.allclose(seen[0, :4], attention(tokens[:1, :4])[0], atol=1e-6)
    assert torch.allclose(seen[1], attention(tokens[1:])[0], atol=1e-6)
    weights = attention.weights(tokens, mask)
    assert weights[0, :, :, 4:].abs().max() == 0 and torch.allclose(weights.sum(-1), torch.ones(2, 3, 6))


def test_no_padding_needs_no_mask():
    assert padding_mask(None) is None and padding_mask(torch.ones(2, 3)) is None
    causal = padding_mask(torch.tensor([[1, 0, 1]]), causal=True)
    assert causal[0, 0].tolist() == [[True, False, False], [True, False, False], [True, False, True]]


@pytest.mark.parametrize("block", [PreNormBlock, PostNormBlock])
@pytest.mark.parametrize("read", [0, -1, 2, torch.tensor([3, 0, 5])], ids=["first", "last", "third", "each its own"])
@pytest.mark.parametrize("masking", ["none", "causal", "padding"])
def test_reading_one_position_is_the_same_as_all(block, read, masking):
    transformer, tokens = Transformer(lambda: block(12, 3, 20), 2).eval(), torch.randn(3, 6, 12)
    mask = padding_mask(torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0]]))
    arguments = {"none": (None, False), "causal": (None, True), "padding": (mask, False)}[masking]
    everything = transformer(tokens, *arguments)
    wanted = everything[:, read] if isinstance(read, int) else everything[torch.arange(3), read]
    assert torch.allclose(transformer(tokens, *arguments, read), wanted, atol=1e-5)


def test_dropout_only_in_training():
    attention, tokens = MultiHeadAttention(12, 3, dropout=0.5), torch.randn(2, 6, 12)
    assert not torch.equal(attention(tokens), attention(tokens))
    attention.eval()
    assert torch.equal(attention(tokens), attention(tokens))


def test_heads_that_do_not_divide():
    with pytest.raises(InputError, match="a width of 10 does not divide among 3 heads"):
        MultiHeadAttention(10, 3)
