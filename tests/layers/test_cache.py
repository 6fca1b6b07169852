"""The cache: position by position gives what all at once gives, for every attention that takes one."""

import pytest
import torch

from course_lib.authoring.parity.rows import disturb
from course_lib.errors import InputError
from course_lib.layers.attention import GroupedQueryAttention, MultiHeadAttention, padding_mask
from course_lib.layers.blocks import (
    PostNormBlock,
    PostNormDecoderBlock,
    PreNormBlock,
    PreNormDecoderBlock,
    Transformer,
    TransformerDecoder,
)
from course_lib.layers.cache import KeyValueCache, LayerCache
from course_lib.layers.positions import RotaryEmbedding

# How seven positions may come: one by one, all at once, several and then one, one and then several.
PARTS = [[1] * 7, [7], [4, 1, 1, 1], [1, 3, 3]]


@pytest.mark.parametrize("parts", PARTS, ids=str)
@pytest.mark.parametrize("block", [PreNormBlock, PostNormBlock])
def test_step_by_step_is_all_at_once(block, parts):
    transformer = disturb(Transformer(lambda: block(12, 3, 20), 2), seed=1)
    tokens, cache = torch.randn(2, 7, 12), KeyValueCache(2, 7)
    got = torch.cat([transformer(part, is_causal=True, cache=cache) for part in tokens.split(parts, 1)], 1)
    assert torch.allclose(got, transformer(tokens, is_causal=True), atol=1e-5)
    assert cache.length == 7


@pytest.mark.parametrize("parts", PARTS, ids=str)
@pytest.mark.parametrize("block", [PreNormDecoderBlock, PostNormDecoderBlock])
def test_decoder_blocks_step_by_step(block, parts):
    decoder = disturb(TransformerDecoder(lambda: block(12, 3, 20, context_width=10), 2), seed=1)
    tokens, context, cache = torch.randn(2, 7, 12), torch.randn(2, 5, 10), KeyValueCache(2, 7)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]).bool()[:, None, None]
    got = [decoder(part, context, context_mask=mask, cache=cache) for part in tokens.split(parts, 1)]
    assert torch.allclose(torch.cat(got, 1), decoder(tokens, context, context_mask=mask), atol=1e-5)


@pytest.mark.parametrize("parts", PARTS, ids=str)
@pytest.mark.parametrize("key_value_heads", [1, 2, 6])
def test_grouped_queries_step_by_step(key_value_heads, parts):
    attention = disturb(GroupedQueryAttention(24, 6, key_value_heads), seed=1)
    tokens, cache, rotary = torch.randn(2, 7, 24), LayerCache(9), RotaryEmbedding(4)
    got, start = [], 0
    for part in tokens.split(parts, 1):
        positions = torch.arange(start, start + part.shape[1])
        got.append(attention(part, rotary(positions), cache=cache))
        start += part.shape[1]
    assert torch.allclose(torch.cat(got, 1), attention(tokens, rotary(torch.arange(7))), atol=1e-5)
    assert cache.keys.shape == (2, key_value_heads, 9, 4)


def test_reading_the_last_position_with_a_cache():
    transformer = disturb(Transformer(lambda: PreNormBlock(12, 3, 20), 2), seed=1)
    tokens, cache = torch.randn(2, 7, 12), KeyValueCache(2, 7)
    wanted = transformer(tokens, is_causal=True)
    assert torch.allclose(transformer(tokens[:, :4], is_causal=True, read=-1, cache=cache), wanted[:, 3], atol=1e-5)
    assert torch.allclose(transformer(tokens[:, 4:6], is_causal=True, read=0, cache=cache), wanted[:, 4], atol=1e-5)


def test_padding_on_the_left_is_not_seen():
    transformer = disturb(Transformer(lambda: PreNormBlock(12, 3, 20), 2), seed=1)
    tokens, mask = torch.randn(2, 6, 12), torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
    cache = KeyValueCache(2, 6)
    first = transformer(tokens[:, :4], padding_mask(mask[:, :4], causal=True), cache=cache)
    later = [transformer(tokens[:, i : i + 1], padding_mask(mask[:, : i + 1], True, 1), cache=cache) for i in (4, 5)]
    got = torch.cat([first, *later], 1)
    assert torch.allclose(got[0, 2:], transformer(tokens[:1, 2:], is_causal=True)[0], atol=1e-5)
    assert torch.allclose(got[1], transformer(tokens[1:], is_causal=True)[0], atol=1e-5)


def test_reordering_exchanges_the_past():
    attention, cache = MultiHeadAttention(12, 3), KeyValueCache(1, 4)
    past, now = torch.randn(3, 3, 12), torch.randn(3, 1, 12)
    attention(past, is_causal=True, cache=cache[0])
    rows = torch.tensor([2, 2, 0])
    cache.reorder(rows)
    wanted = attention(torch.cat([past[rows], now], 1), is_causal=True)[:, -1:]
    assert torch.allclose(attention(now, is_causal=True, cache=cache[0]), wanted, atol=1e-6)


def test_the_context_is_projected_once_and_reordered():
    block, cache = disturb(PreNormDecoderBlock(12, 3, 20), seed=1), KeyValueCache(1, 4)
    tokens, context, rows = torch.randn(2, 2, 12), torch.randn(2, 5, 12), torch.tensor([1, 0])
    block(tokens[:, :1], context, cache=cache[0])
    cache.reorder(rows)
    later = block(tokens[:, 1:], torch.full_like(context, torch.nan), cache=cache[0])
    wanted = block(torch.cat([tokens[rows, :1], tokens[:, 1:]], 1), context[rows])
    assert torch.allclose(later, wanted[:, 1:], atol=1e-5)


def test_bad_input():
    attention, tokens = MultiHeadAttention(12, 3), torch.randn(2, 3, 12)
    cache = KeyValueCache(1, 4)
    attention(tokens, cache=cache[0])
    with pytest.raises(InputError, match="room for 4 positions and was given 6"):
        attention(tokens, cache=cache[0])
    with pytest.raises(InputError, match="holds 2 sequences and was given 1"):
        attention(tokens[:1, :1], cache=cache[0])
    with pytest.raises(InputError, match="at least one layer"):
        KeyValueCache(0, 4)
