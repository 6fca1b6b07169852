"""Lesson 01: attention and transformer blocks beside torch's."""

from collections.abc import Callable

import torch
from torch import nn

from course_lib.authoring.parity.rows import ParityRow, difference, disturb
from course_lib.layers.attention import MultiHeadAttention
from course_lib.layers.blocks import PostNormBlock, PreNormBlock


def attention_beside_torch(width: int = 24, heads: int = 3, causal: bool = False, seed: int = 0) -> list[ParityRow]:
    """MultiHeadAttention beside torch.nn.MultiheadAttention."""
    torch.manual_seed(seed)
    ours, theirs = MultiHeadAttention(width, heads), nn.MultiheadAttention(width, heads, batch_first=True)
    disturb(theirs, seed)
    copy_attention(ours, theirs)
    hidden_states = torch.randn(4, 7, width)
    hidden = torch.ones(7, 7, dtype=torch.bool).triu(1) if causal else None
    with torch.no_grad():
        wanted, weights = theirs(*[hidden_states] * 3, attn_mask=hidden, average_attn_weights=False)
        got = ours(hidden_states, is_causal=causal)
        looked_at = ours.weights(hidden_states, is_causal=causal)
    return [
        ParityRow("MultiHeadAttention", "torch nn.MultiheadAttention", "output", difference(got, wanted)),
        ParityRow("MultiHeadAttention", "torch nn.MultiheadAttention", "weights", difference(looked_at, weights)),
    ]


def blocks_beside_torch(seed: int = 0) -> list[ParityRow]:
    """PreNormBlock and PostNormBlock beside torch.nn.TransformerEncoderLayer."""
    rows = []
    for ours_class, first in ((PreNormBlock, True), (PostNormBlock, False)):
        torch.manual_seed(seed)
        theirs = nn.TransformerEncoderLayer(24, 3, 50, activation="gelu", batch_first=True, norm_first=first)
        disturb(theirs, seed)
        ours = ours_class(24, 3, 50, layer_norm_eps=1e-5).eval()
        copy_attention(ours.attention, theirs.self_attn)
        for own, other in ((ours.norm1, theirs.norm1), (ours.norm2, theirs.norm2)):
            own.load_state_dict(other.state_dict())
        ours.mlp.fc1.load_state_dict(theirs.linear1.state_dict())
        ours.mlp.fc2.load_state_dict(theirs.linear2.state_dict())
        hidden_states = torch.randn(4, 7, 24)
        with torch.no_grad():
            apart = difference(ours(hidden_states), theirs(hidden_states))
        rows.append(ParityRow(ours_class.__name__, "torch nn.TransformerEncoderLayer", "output", apart))
    return rows


def copy_attention(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> None:
    ours.qkv.load_state_dict({"weight": theirs.in_proj_weight, "bias": theirs.in_proj_bias})
    ours.out.load_state_dict(theirs.out_proj.state_dict())


COMPARISONS: list[Callable[[], list[ParityRow]]] = [attention_beside_torch, blocks_beside_torch]
