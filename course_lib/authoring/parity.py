"""What each system is compared with, and how far apart they are: computed now, with random weights. `course parity`.

A small random configuration of the reference gives its weights to ours by the same name maps that load published
checkpoints; both get the same input; the largest absolute difference of what they give is the row. The tests call the
same functions with other configurations.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from course_lib.data.tokenizers import BytePairTokenizer
from course_lib.encoders.efficientnet import EfficientNetConfig
from course_lib.layers.attention import MultiHeadAttention
from course_lib.layers.blocks import PostNormBlock, PreNormBlock
from course_lib.losses.contrastive import clip_loss, siglip_loss
from course_lib.models.align import ALIGN
from course_lib.models.clip import CLIP
from course_lib.models.siglip import SigLIP
from course_lib.pretrained import align as align_names
from course_lib.pretrained import clip as clip_names
from course_lib.pretrained import open_clip as open_clip_names
from course_lib.pretrained import siglip as siglip_names
from course_lib.pretrained.weights import without_warnings

TOLERANCE = 1e-5


@dataclass(frozen=True)
class ParityRow:
    """One comparison: our `system`, the `reference`, `what` was compared, how far apart, how far it may be."""

    system: str
    reference: str
    what: str
    max_abs_difference: float
    tolerance: float = TOLERANCE

    @property
    def holds(self) -> bool:
        """Whether the difference is within the tolerance (a nan is not)."""
        return self.max_abs_difference <= self.tolerance


def disturb(model: nn.Module, seed: int, **inputs: Tensor) -> nn.Module:
    """Moves every weight a little, so that none is 0 or 1 and none can be left out unnoticed.

    Batch normalisation gets the statistics of `inputs`; with those that it starts with, a deep network would let
    nothing through, and all pictures would be alike.
    """
    generator = torch.Generator().manual_seed(seed)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
        if norms:
            for norm in norms:
                norm.momentum = 1.0
            model.train()(**inputs)
    return model.eval()


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest absolute difference of two tensors of one shape; nan if they are of two, or hold no number at all."""
    if ours.shape != theirs.shape:
        return float("nan")
    return (ours.double() - theirs.double()).abs().max().item()


def clip_beside_transformers(
    vision: dict | None = None, text: dict | None = None, mask: str | None = None, seed: int = 0
) -> list[ParityRow]:
    """CLIP beside transformers' CLIPModel.

    Args:
        vision, text: what differs from the small default of the two towers' configurations.
        mask: None, "right" or "left": where the attention mask hides two tokens of each text.
        seed: of weights and input.
    """
    from transformers import CLIPConfig, CLIPModel

    vision = {"image_size": 32, "patch_size": 8} | _tower(48, 4) | (vision or {})
    special = {"bos_token_id": 94, "eos_token_id": 95, "pad_token_id": 0}
    text = {"vocab_size": 96, "max_position_embeddings": 20} | special | _tower(32, 2) | (text or {})
    torch.manual_seed(seed)
    theirs = disturb(CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=24)), seed)
    ours = CLIP.from_weights(*clip_names.from_transformers(theirs.config.to_dict(), theirs.state_dict()))
    pixel_values = torch.randn(5, vision.get("num_channels", 3), vision["image_size"], vision["image_size"])
    input_ids, attention_mask = _texts(text["vocab_size"], 6, text["max_position_embeddings"] - 3, mask)
    with torch.no_grad():
        wanted = theirs(input_ids=input_ids, pixel_values=pixel_values, attention_mask=attention_mask)
        got = ours(pixel_values, input_ids, attention_mask)
    return _rows("CLIP", "transformers CLIPModel", got, wanted)


def clip_beside_open_clip(
    vision: dict | None = None, text: dict | None = None, quick_gelu: bool = False, seed: int = 0
) -> list[ParityRow]:
    """CLIP beside open_clip's, with a ViT; or with CLIP's ResNet where `vision` gives four `layers`."""
    from open_clip.model import CLIP as OpenCLIP
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    vision = {"layers": 3, "width": 48, "head_width": 12, "patch_size": 8, "image_size": 32} | (vision or {})
    text = {"context_length": 20, "vocab_size": 96, "width": 32, "heads": 2, "layers": 2} | (text or {})
    vision_cfg, text_cfg = CLIPVisionCfg(**vision), CLIPTextCfg(**text)
    torch.manual_seed(seed)
    theirs = OpenCLIP(24, vision_cfg, text_cfg, quick_gelu=quick_gelu)
    size = vision["image_size"]
    pixel_values = torch.randn(5, 3, *((size, size) if isinstance(size, int) else size))
    input_ids, _ = _texts(text["vocab_size"], 6, text["context_length"])
    disturb(theirs, seed, image=pixel_values)
    config = {"embed_dim": 24, "vision_cfg": asdict(vision_cfg), "text_cfg": asdict(text_cfg), "quick_gelu": quick_gelu}
    ours = CLIP.from_weights(*open_clip_names.from_open_clip(config, theirs.state_dict()))
    with torch.no_grad():
        got = ours(pixel_values, input_ids)
        images, texts = theirs.encode_image(pixel_values, normalize=True), theirs.encode_text(input_ids, normalize=True)
        wanted = theirs.get_logits(pixel_values, input_ids)[0]
    tower = "ViT" if isinstance(vision["layers"], int) else "ModifiedResNet"
    _tell_apart(images, texts)
    embeds = max(difference(got.image_embeds, images), difference(got.text_embeds, texts))
    return [
        ParityRow("CLIP", f"open_clip CLIP ({tower})", "embeddings", embeds),
        ParityRow("CLIP", f"open_clip CLIP ({tower})", "logits", difference(got.logits_per_image, wanted)),
    ]


def siglip_beside_transformers(
    vision: dict | None = None, text: dict | None = None, mask: str | None = None, seed: int = 0
) -> list[ParityRow]:
    """SigLIP beside transformers' SiglipModel; arguments as in `clip_beside_transformers`."""
    from transformers import SiglipConfig, SiglipModel

    vision = {"image_size": 32, "patch_size": 8} | _tower(48, 4) | (vision or {})
    special = {"bos_token_id": 94, "eos_token_id": 95, "pad_token_id": 0}
    sizes = {"vocab_size": 96, "max_position_embeddings": 20, "projection_size": 48} | _tower(32, 2)
    text = sizes | special | (text or {})
    torch.manual_seed(seed)
    with without_warnings():
        theirs = disturb(SiglipModel(SiglipConfig(vision_config=vision, text_config=text)), seed)
    ours = SigLIP.from_weights(*siglip_names.from_transformers(theirs.config.to_dict(), theirs.state_dict()))
    pixel_values = torch.randn(5, 3, vision["image_size"], vision["image_size"])
    input_ids, attention_mask = _texts(text["vocab_size"], 6, text["max_position_embeddings"], mask)
    with torch.no_grad():
        wanted = theirs(input_ids=input_ids, pixel_values=pixel_values, attention_mask=attention_mask)
        got = ours(pixel_values, input_ids, attention_mask)
    return _rows("SigLIP", "transformers SiglipModel", got, wanted)


def align_beside_transformers(
    vision: dict | None = None, text: dict | None = None, mask: str | None = "right", size: int = 64, seed: int = 0
) -> list[ParityRow]:
    """ALIGN beside transformers' AlignModel; `size` is that of the pictures."""
    from transformers import AlignConfig, AlignModel

    vision = {"width_coefficient": 0.25, "depth_coefficient": 0.4, "hidden_dim": 64} | (vision or {})
    text = {"vocab_size": 96, "max_position_embeddings": 20, "pad_token_id": 0} | _tower(32, 2) | (text or {})
    torch.manual_seed(seed)
    width = EfficientNetConfig(width_coefficient=vision["width_coefficient"]).width
    config = AlignConfig(vision_config=vision, text_config=text, projection_dim=width)
    pixel_values = torch.randn(5, 3, size, size)
    input_ids, attention_mask = _texts(text["vocab_size"], 6, text["max_position_embeddings"] - 3, mask)
    text_inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
    theirs = disturb(AlignModel(config), seed, pixel_values=pixel_values, **text_inputs)
    ours = ALIGN.from_weights(*align_names.from_transformers(theirs.config.to_dict(), theirs.state_dict()))
    with torch.no_grad():
        wanted = theirs(input_ids=input_ids, pixel_values=pixel_values, attention_mask=attention_mask)
        got = ours(pixel_values, input_ids, attention_mask)
    return _rows("ALIGN", "transformers AlignModel", got, wanted)


def attention_beside_torch(width: int = 24, heads: int = 3, causal: bool = False, seed: int = 0) -> list[ParityRow]:
    """MultiHeadAttention beside torch.nn.MultiheadAttention."""
    torch.manual_seed(seed)
    ours, theirs = MultiHeadAttention(width, heads), nn.MultiheadAttention(width, heads, batch_first=True)
    disturb(theirs, seed)
    _copy_attention(ours, theirs)
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
        _copy_attention(ours.attention, theirs.self_attn)
        for own, other in ((ours.norm1, theirs.norm1), (ours.norm2, theirs.norm2)):
            own.load_state_dict(other.state_dict())
        ours.mlp.fc1.load_state_dict(theirs.linear1.state_dict())
        ours.mlp.fc2.load_state_dict(theirs.linear2.state_dict())
        hidden_states = torch.randn(4, 7, 24)
        with torch.no_grad():
            apart = difference(ours(hidden_states), theirs(hidden_states))
        rows.append(ParityRow(ours_class.__name__, "torch nn.TransformerEncoderLayer", "output", apart))
    return rows


def losses_beside_open_clip(pairs: int = 9, seed: int = 0) -> list[ParityRow]:
    """clip_loss and siglip_loss beside open_clip's, value and gradients."""
    import open_clip
    from open_clip.loss import SigLipLoss

    generator = torch.Generator().manual_seed(seed)

    def leaves() -> list[Tensor]:
        generator.manual_seed(seed)
        embeds = [nn.functional.normalize(torch.randn(pairs, 16, generator=generator), dim=-1) for _ in range(2)]
        return [tensor.requires_grad_() for tensor in (*embeds, torch.tensor(20.0), torch.tensor(-5.0))]

    rows = []
    for name, ours, theirs, count in (
        ("clip_loss", clip_loss, open_clip.ClipLoss(), 3),
        ("siglip_loss", siglip_loss, SigLipLoss(), 4),
    ):
        mine, others = leaves()[:count], leaves()[:count]
        got, wanted = ours(*mine), theirs(*others)
        got.backward()
        wanted.backward()
        apart = max(difference(own.grad, other.grad) for own, other in zip(mine, others, strict=True))
        reference = f"open_clip {type(theirs).__name__}"
        rows += [
            ParityRow(name, reference, "loss", difference(got.detach(), wanted.detach())),
            ParityRow(name, reference, "gradients", apart),
        ]
    return rows


def tokenizer_beside_open_clip(texts: list[str] | None = None) -> list[ParityRow]:
    """BytePairTokenizer beside open_clip's SimpleTokenizer: the largest difference of two ids, which has to be 0."""
    import open_clip

    texts = texts or ["a photo of a cat", "Naïve CAFÉ &amp; crème brûlée", "🦄 一只红色的猫", "don't", "", "3.14 " * 60]
    apart = difference(BytePairTokenizer()(texts), open_clip.SimpleTokenizer()(texts))
    return [ParityRow("BytePairTokenizer", "open_clip SimpleTokenizer", "ids", apart, tolerance=0.0)]


COMPARISONS: list[Callable[[], list[ParityRow]]] = [
    clip_beside_transformers,
    lambda: clip_beside_open_clip(),
    lambda: clip_beside_open_clip({"layers": (1, 2, 1, 1), "width": 16, "head_width": 16, "image_size": 64}),
    siglip_beside_transformers,
    align_beside_transformers,
    attention_beside_torch,
    blocks_beside_torch,
    losses_beside_open_clip,
    tokenizer_beside_open_clip,
]


def rows() -> list[ParityRow]:
    """All comparisons, computed now."""
    return [row for compare in COMPARISONS for row in compare()]


def main() -> None:
    """Prints the table.

    Raises:
        SystemExit: a system is further from its reference than it may be.
    """
    table = Table(title="Same weights, same input: how far apart are ours and the reference?", title_justify="left")
    for column in ("system", "reference", "what", "max abs", "allowed", ""):
        table.add_column(column, justify="right" if column in ("max abs", "allowed") else "left")
    computed = rows()
    for row in computed:
        numbers = f"{row.max_abs_difference:.1e}", f"{row.tolerance:.0e}"
        table.add_row(row.system, row.reference, row.what, *numbers, "same" if row.holds else "DIFFERENT")
    console = Console()
    console.width = max(console.width, 100)
    console.print(table)
    if not all(row.holds for row in computed):
        raise SystemExit(1)


def _tower(width: int, heads: int) -> dict:
    return {
        "hidden_size": width,
        "intermediate_size": 2 * width + 3,
        "num_hidden_layers": 3,
        "num_attention_heads": heads,
    }


def _texts(vocab_size: int, count: int, length: int, mask: str | None = None) -> tuple[Tensor, Tensor | None]:
    """Random texts whose last id is the end token, at a place of its own in each; and a mask that hides two tokens."""
    input_ids = torch.randint(3, vocab_size - 2, (count, length))
    for row, place in zip(input_ids, torch.randint(4, length, (count,)).tolist(), strict=True):
        row[place], row[place + 1 :] = vocab_size - 1, 0
    if mask is None:
        return input_ids, None
    attention_mask = torch.ones_like(input_ids)
    attention_mask[:, slice(-2, None) if mask == "right" else slice(0, 2)] = 0
    return input_ids, attention_mask


def _copy_attention(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> None:
    ours.qkv.load_state_dict({"weight": theirs.in_proj_weight, "bias": theirs.in_proj_bias})
    ours.out.load_state_dict(theirs.out_proj.state_dict())


def _tell_apart(*embeds: Tensor) -> None:
    """Raises AssertionError if a reference gives the same for every input: nothing would be compared then."""
    for rows in embeds:
        assert rows.std(0).max() > 1e-3, "the reference gives the same vector for every input"


def _rows(system: str, reference: str, got, wanted) -> list[ParityRow]:
    _tell_apart(wanted.image_embeds, wanted.text_embeds)
    embeds = max(difference(getattr(got, name), getattr(wanted, name)) for name in ("image_embeds", "text_embeds"))
    logits = difference(got.logits_per_image, wanted.logits_per_image)
    logits = max(logits, difference(got.logits_per_text, wanted.logits_per_text))
    return [ParityRow(system, reference, "embeddings", embeds), ParityRow(system, reference, "logits", logits)]
