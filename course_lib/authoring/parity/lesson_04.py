"""Lesson 04: fusions beside torch's bilinear layer and convolution, and beside transformers' LXMERT and IDEFICS."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.authoring.parity.rows import ParityRow, difference, disturb
from course_lib.layers.attention import CrossAttention, MultiHeadAttention
from course_lib.layers.fusion import (
    CoAttentionBlock,
    CompactBilinear,
    CrossAttentionLayer,
    GatedCrossAttentionBlock,
    LowRankBilinear,
    circular_convolution,
)
from course_lib.layers.mlp import GatedMLP
from course_lib.layers.norms import RMSNorm
from course_lib.pretrained.weights import without_warnings


def bilinear_beside_torch(rank: int = 3, width: int = 10, other_width: int = 7, seed: int = 0) -> list[ParityRow]:
    """LowRankBilinear beside torch.nn.Bilinear, which holds the matrices that ours writes as sums of products."""
    torch.manual_seed(seed)
    ours, theirs = LowRankBilinear(width, other_width, 5, rank), nn.Bilinear(width, other_width, 5, bias=False)
    theirs.weight.data = ours.matrices().detach()
    x, y = torch.randn(6, width), torch.randn(6, other_width)
    with torch.no_grad():
        apart = difference(ours(x, y), theirs(x, y))
    return [ParityRow("LowRankBilinear", "torch nn.Bilinear", f"output, rank {rank}", apart)]


def convolution_beside_torch(length: int = 24, seed: int = 0) -> list[ParityRow]:
    """circular_convolution, by Fourier's way, beside torch's conv1d, which multiplies every number with every other."""
    torch.manual_seed(seed)
    x, y = torch.randn(4, length), torch.randn(4, length)
    # conv1d slides without turning its kernel round, and a row at a time has a kernel of its own: groups.
    turned = F.pad(x, (length - 1, 0), mode="circular")
    wanted = F.conv1d(turned[None], y.flip(-1)[:, None], groups=4)[0]
    rows = [ParityRow("circular_convolution", "torch conv1d", "output", difference(circular_convolution(x, y), wanted))]
    fusion = CompactBilinear(9, 6, length, seed)
    x, y = torch.randn(5, 9), torch.randn(5, 6)
    # The same sketch of all products, each made and put in its place.
    places = (fusion.index[:, None] + fusion.other_index) % length
    products = (x * fusion.sign)[:, :, None] * (y * fusion.other_sign)[:, None]
    wanted = torch.zeros(5, length).scatter_add_(1, places.flatten().expand(5, -1), products.flatten(1))
    rows.append(
        ParityRow("CompactBilinear", "torch scatter_add of all products", "output", difference(fusion(x, y), wanted))
    )
    return rows


def lxmert_beside_transformers(
    width: int = 24, heads: int = 3, mlp_width: int = 50, padded: bool = True, seed: int = 0
) -> list[ParityRow]:
    """CrossAttentionLayer and CoAttentionBlock beside LxmertCrossAttentionLayer and LxmertXLayer.

    Args:
        width, heads, mlp_width: sizes.
        padded: whether some words and regions are hidden.
        seed: of weights and input.
    """
    from transformers import LxmertConfig
    from transformers.models.lxmert.modeling_lxmert import LxmertXLayer

    torch.manual_seed(seed)
    config = LxmertConfig(hidden_size=width, num_attention_heads=heads, intermediate_size=mlp_width)
    theirs = disturb(LxmertXLayer(config), seed)
    ours = CoAttentionBlock(width, heads, mlp_width).eval()
    copy_co_attention(ours, theirs)
    words, regions = torch.randn(4, 7, width), torch.randn(4, 5, width)
    word_mask, region_mask = torch.ones(4, 1, 1, 7, dtype=torch.bool), torch.ones(4, 1, 1, 5, dtype=torch.bool)
    if padded:
        word_mask[1:, ..., 4:], region_mask[2:, ..., 3:] = False, False
    added = [torch.where(mask, 0.0, torch.finfo(torch.float32).min) for mask in (word_mask, region_mask)]
    layer: CrossAttentionLayer = ours.cross
    with torch.no_grad():
        heard = difference(layer(words, regions, region_mask), theirs.visual_attention(words, regions, added[1])[0])
        got, wanted = ours(words, regions, word_mask, region_mask), theirs(words, added[0], regions, added[1])
    reference = "transformers LxmertXLayer"
    return [
        ParityRow("CrossAttentionLayer", "transformers LxmertCrossAttentionLayer", "output", heard),
        ParityRow("CoAttentionBlock", reference, "words", difference(got[0], wanted[0])),
        ParityRow("CoAttentionBlock", reference, "regions", difference(got[1], wanted[1])),
    ]


def copy_co_attention(ours: CoAttentionBlock, theirs: nn.Module) -> None:
    copy_queries(ours.cross.cross_attention, theirs.visual_attention.att, theirs.visual_attention.output.dense)
    ours.cross.norm.load_state_dict(theirs.visual_attention.output.LayerNorm.state_dict())
    for block, attention, inner, output in (
        (ours.word_block, theirs.lang_self_att, theirs.lang_inter, theirs.lang_output),
        (ours.region_block, theirs.visn_self_att, theirs.visn_inter, theirs.visn_output),
    ):
        copy_queries(block.attention, attention.self, attention.output.dense)
        block.norm1.load_state_dict(attention.output.LayerNorm.state_dict())
        block.mlp.fc1.load_state_dict(inner.dense.state_dict())
        block.mlp.fc2.load_state_dict(output.dense.state_dict())
        block.norm2.load_state_dict(output.LayerNorm.state_dict())


def copy_queries(ours: CrossAttention | MultiHeadAttention, theirs: nn.Module, out: nn.Linear) -> None:
    """LXMERT's three maps into our one or two."""
    parts = [theirs.query, theirs.key, theirs.value]
    ours.out.load_state_dict(out.state_dict())
    if isinstance(ours, MultiHeadAttention):
        ours.qkv.load_state_dict(together(parts))
        return
    ours.query.load_state_dict(parts[0].state_dict())
    ours.key_value.load_state_dict(together(parts[1:]))


def together(layers: list[nn.Linear]) -> dict[str, Tensor]:
    """Several linear maps of one input as one."""
    return {name: torch.cat([layer.state_dict()[name] for layer in layers]) for name in layers[0].state_dict()}


def gated_beside_transformers(
    width: int = 24, heads: int = 3, mlp_width: int = 40, context_width: int = 18, padded: bool = True, seed: int = 0
) -> list[ParityRow]:
    """GatedCrossAttentionBlock beside IDEFICS', an open Flamingo with RMS norms and gated MLPs."""
    from transformers import IdeficsConfig
    from transformers.models.idefics.modeling_idefics import IdeficsGatedCrossAttentionLayer

    torch.manual_seed(seed)
    sizes = {"hidden_size": width, "num_attention_heads": heads, "intermediate_size": mlp_width}
    with without_warnings():
        config = IdeficsConfig(
            **sizes, vision_config={"embed_dim": context_width}, qk_layer_norms=False, alpha_initializer="ones",
            alpha_type="float", attn_implementation="sdpa",
        )  # fmt: skip
        theirs = disturb(IdeficsGatedCrossAttentionLayer(config, 0), seed)
    ours = GatedCrossAttentionBlock(width, heads, mlp_width, context_width, RMSNorm, GatedMLP, bias=False).eval()
    attention = theirs.cross_attn
    ours.cross_attention.query.load_state_dict(attention.q_proj.state_dict())
    ours.cross_attention.key_value.load_state_dict(together([attention.k_proj, attention.v_proj]))
    ours.cross_attention.out.load_state_dict(attention.o_proj.state_dict())
    ours.norm1.load_state_dict(theirs.input_layernorm.state_dict())
    ours.norm2.load_state_dict(theirs.post_attention_layernorm.state_dict())
    ours.norm1.eps = ours.norm2.eps = config.rms_norm_eps
    ours.mlp.gate_value.load_state_dict(together([theirs.mlp.gate_proj, theirs.mlp.up_proj]))
    ours.mlp.out.load_state_dict(theirs.mlp.down_proj.state_dict())
    ours.attention_gate.data, ours.mlp_gate.data = theirs.alpha_cross_attn.data, theirs.alpha_dense.data

    hidden_states, context = torch.randn(4, 7, width), torch.randn(4, 5, context_width)
    mask = torch.ones(4, 1, 7, 5, dtype=torch.bool)
    if padded:
        mask[1:, ..., 3:] = False
    with torch.no_grad():
        wanted = theirs(
            hidden_states,
            image_hidden_states=context,
            image_attention_mask=torch.where(mask, 0.0, torch.finfo(torch.float32).min),
            cross_attention_gate=torch.ones(4, 7),
        )
        apart = difference(ours(hidden_states, context, mask), wanted)
    return [ParityRow("GatedCrossAttentionBlock", "transformers IdeficsGatedCrossAttentionLayer", "output", apart)]


COMPARISONS: list[Callable[[], list[ParityRow]]] = [
    bilinear_beside_torch,
    convolution_beside_torch,
    lxmert_beside_transformers,
    gated_beside_transformers,
]
