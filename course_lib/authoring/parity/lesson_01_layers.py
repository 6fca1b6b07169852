"""Lesson 01: the written-out attention, cross-attention, decoder blocks, norms and rotary positions beside torch's."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.authoring.parity.lesson_01 import copy_attention
from course_lib.authoring.parity.rows import ParityRow, difference, disturb
from course_lib.layers.attention import CrossAttention, GroupedQueryAttention, causal_mask, dot_product_attention
from course_lib.layers.blocks import PostNormDecoderBlock, PreNormDecoderBlock
from course_lib.layers.norms import RMSNorm, batch_norm, layer_norm, rms_norm
from course_lib.layers.positions import RotaryEmbedding, rotate
from course_lib.pretrained.weights import without_warnings


def formula_beside_torch(masking: str = "none", seed: int = 0) -> list[ParityRow]:
    """dot_product_attention beside torch's scaled_dot_product_attention; `masking`: none, causal or mask."""
    torch.manual_seed(seed)
    query, key, value = torch.randn(2, 3, 6, 8), torch.randn(2, 3, 6, 8), torch.randn(2, 3, 6, 5)
    mask = (torch.rand(2, 1, 6, 6) < 0.5) | torch.eye(6, dtype=torch.bool) if masking == "mask" else None
    mixed, weights = dot_product_attention(query, key, value, mask, masking == "causal")
    wanted = F.scaled_dot_product_attention(query, key, value, mask, is_causal=masking == "causal")
    apart = max(difference(mixed, wanted), difference(weights.sum(-1), torch.ones(2, 3, 6)))
    return [ParityRow("dot_product_attention", "torch scaled_dot_product_attention", f"output, {masking}", apart)]


def cross_attention_beside_torch(context_width: int = 20, padded: bool = True, seed: int = 0) -> list[ParityRow]:
    """CrossAttention beside torch.nn.MultiheadAttention, with a context of a width and length of its own."""
    torch.manual_seed(seed)
    theirs = nn.MultiheadAttention(24, 3, kdim=context_width, vdim=context_width, batch_first=True)
    disturb(theirs, seed)
    ours = CrossAttention(24, 3, context_width)
    copy_cross_attention(ours, theirs)
    hidden_states, context = torch.randn(4, 7, 24), torch.randn(4, 5, context_width)
    seen = torch.ones(4, 5, dtype=torch.bool)
    if padded:
        seen[1:, 3:] = False
    with torch.no_grad():
        asked = {"key_padding_mask": ~seen, "average_attn_weights": False}
        wanted, weights = theirs(hidden_states, context, context, **asked)
        got = ours(hidden_states, context, seen[:, None, None])
        looked_at = ours.weights(hidden_states, context, seen[:, None, None])
    return [
        ParityRow("CrossAttention", "torch nn.MultiheadAttention", "output", difference(got, wanted)),
        ParityRow("CrossAttention", "torch nn.MultiheadAttention", "weights", difference(looked_at, weights)),
    ]


def decoder_blocks_beside_torch(padded: bool = True, seed: int = 0) -> list[ParityRow]:
    """PreNormDecoderBlock and PostNormDecoderBlock beside torch.nn.TransformerDecoderLayer."""
    rows = []
    for ours_class, first in ((PreNormDecoderBlock, True), (PostNormDecoderBlock, False)):
        torch.manual_seed(seed)
        theirs = nn.TransformerDecoderLayer(24, 3, 50, activation="gelu", batch_first=True, norm_first=first)
        disturb(theirs, seed)
        ours = ours_class(24, 3, 50).eval()
        copy_attention(ours.attention, theirs.self_attn)
        copy_cross_attention(ours.cross_attention, theirs.multihead_attn)
        for own, other in (
            (ours.norm1, theirs.norm1), (ours.norm2, theirs.norm2), (ours.norm3, theirs.norm3),
            (ours.mlp.fc1, theirs.linear1), (ours.mlp.fc2, theirs.linear2),
        ):  # fmt: skip
            own.load_state_dict(other.state_dict())
        hidden_states, context = torch.randn(4, 7, 24), torch.randn(4, 5, 24)
        seen = torch.ones(4, 5, dtype=torch.bool)
        if padded:
            seen[2:, 2:] = False
        with torch.no_grad():
            masks = {"tgt_mask": ~causal_mask(7), "memory_key_padding_mask": ~seen}
            wanted = theirs(hidden_states, context, **masks)
            apart = difference(ours(hidden_states, context, context_mask=seen[:, None, None]), wanted)
        rows.append(ParityRow(ours_class.__name__, "torch nn.TransformerDecoderLayer", "output", apart))
    return rows


def norms_beside_torch(seed: int = 0) -> list[ParityRow]:
    """layer_norm, batch_norm, rms_norm and RMSNorm beside torch's layers: output, gradient, running statistics."""
    torch.manual_seed(seed)
    x = torch.randn(6, 12, 5) * 3 + 1
    by_feature, places = x.transpose(1, 2), disturb(nn.BatchNorm1d(12, eps=1e-3), seed).train()
    layers, squares = disturb(nn.LayerNorm(12), seed), disturb(nn.RMSNorm(12, eps=1e-6), seed)
    ours = RMSNorm(12)
    ours.load_state_dict(squares.state_dict())
    mean, variance = torch.zeros(12), torch.ones(12)
    scale = places.weight, places.bias

    def rows_of(name: str, reference: str, got: Callable[[Tensor], Tensor], wanted: Callable[[Tensor], Tensor], given):
        mine, others = (given.clone().requires_grad_() for _ in range(2))
        outputs = got(mine), wanted(others)
        towards = torch.randn_like(outputs[1])
        gradients = [torch.autograd.grad(o, i, towards)[0] for o, i in zip(outputs, (mine, others), strict=True)]
        apart = max(difference(*(o.detach() for o in outputs)), difference(*gradients))
        return ParityRow(name, reference, "output, gradient", apart)

    rows = [
        rows_of("layer_norm", "torch nn.LayerNorm", lambda x: layer_norm(x, layers.weight, layers.bias), layers,
                by_feature),
        rows_of("rms_norm", "torch nn.RMSNorm", lambda x: rms_norm(x, squares.weight), squares, by_feature),
        rows_of("RMSNorm", "torch nn.RMSNorm", ours, squares, by_feature),
        rows_of("batch_norm (training)", "torch nn.BatchNorm1d",
                lambda x: batch_norm(x, mean, variance, *scale, training=True, eps=1e-3), places, x),
    ]  # fmt: skip
    apart = max(difference(mean, places.running_mean), difference(variance, places.running_var))
    places.eval()
    rows += [
        ParityRow("batch_norm (training)", "torch nn.BatchNorm1d", "running statistics", apart),
        rows_of("batch_norm (evaluation)", "torch nn.BatchNorm1d",
                lambda x: batch_norm(x, mean, variance, *scale, eps=1e-3), places, x),
    ]  # fmt: skip
    return rows


def rotary_beside_transformers(base: float = 10_000.0, padded: bool = True, seed: int = 0) -> list[ParityRow]:
    """RotaryEmbedding, rotate and GroupedQueryAttention beside transformers' Llama."""
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaAttention, LlamaRotaryEmbedding, apply_rotary_pos_emb

    torch.manual_seed(seed)
    sizes = {"hidden_size": 24, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 8}
    rope = {"rope_type": "default", "rope_theta": base}
    with without_warnings():
        config = LlamaConfig(**sizes, rope_parameters=rope, attention_bias=True, attn_implementation="sdpa")
    theirs, reference = disturb(LlamaAttention(config, 0), seed), LlamaRotaryEmbedding(config)
    hidden_states, query, key = torch.randn(3, 7, 24), torch.randn(3, 6, 7, 8), torch.randn(3, 2, 7, 8)
    positions = torch.arange(7).expand(3, -1) + (torch.tensor([[0], [5], [40]]) if padded else 0)
    cos, sin = RotaryEmbedding(8, base)(positions)
    wanted_cos, wanted_sin = reference(hidden_states, positions)
    signs = torch.tensor([-1.0, 1.0]).repeat_interleave(4)  # ours has the rotation's minus sign in it
    apart = max(difference(cos[:, 0], wanted_cos), difference(sin[:, 0], signs * wanted_sin))
    turned = apply_rotary_pos_emb(query, key, wanted_cos, wanted_sin)
    rotated = max(difference(rotate(query, cos, sin), turned[0]), difference(rotate(key, cos, sin), turned[1]))

    ours = GroupedQueryAttention(24, 6, 2, head_width=8, bias=True)
    for kind in ("weight", "bias"):
        parts = [getattr(getattr(theirs, name), kind) for name in ("q_proj", "k_proj", "v_proj")]
        getattr(ours.qkv, kind).data = torch.cat(parts)
    ours.out.load_state_dict(theirs.o_proj.state_dict())
    with torch.no_grad():
        output = theirs(hidden_states, (wanted_cos, wanted_sin), causal_mask(7)[None, None].expand(3, 1, 7, 7))[0]
        mixed = difference(ours(hidden_states, (cos, sin)), output)
    return [
        ParityRow("RotaryEmbedding", "transformers LlamaRotaryEmbedding", "cosines, sines", apart),
        ParityRow("rotate", "transformers apply_rotary_pos_emb", "queries, keys", rotated),
        ParityRow("GroupedQueryAttention", "transformers LlamaAttention", "output", mixed),
    ]


def copy_cross_attention(ours: CrossAttention, theirs: nn.MultiheadAttention) -> None:
    if theirs.in_proj_weight is None:
        query, key, value = theirs.q_proj_weight, theirs.k_proj_weight, theirs.v_proj_weight
    else:
        query, key, value = theirs.in_proj_weight.chunk(3)
    width = len(query)
    ours.query.load_state_dict({"weight": query, "bias": theirs.in_proj_bias[:width]})
    ours.key_value.load_state_dict({"weight": torch.cat([key, value]), "bias": theirs.in_proj_bias[width:]})
    ours.out.load_state_dict(theirs.out_proj.state_dict())


COMPARISONS: list[Callable[[], list[ParityRow]]] = [
    formula_beside_torch,
    lambda: formula_beside_torch("causal"),
    lambda: formula_beside_torch("mask"),
    cross_attention_beside_torch,
    decoder_blocks_beside_torch,
    norms_beside_torch,
    rotary_beside_transformers,
]
