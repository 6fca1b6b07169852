"""open_clip's CLIP, with a ViT or CLIP's ResNet -> the names of `course_lib.models.clip`."""

from torch import Tensor

from course_lib.errors import InputError
from course_lib.pretrained.weights import fuse, rename

BLOCK = [
    (r"transformer\.resblocks\.", "transformer.blocks."),
    (r"\.attn\.in_proj_(weight|bias)", r".attention.qkv.\1"),
    (r"\.attn\.out_proj\.", ".attention.out."),
    (r"\.ln_(\d)\.", r".norm\1."),
    (r"\.c_fc\.", ".fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
]
TEXT = [
    (r"^text\.", ""),
    *BLOCK,
    (r"^(token_embedding|transformer)\.", r"text_model.\1."),
    (r"^positional_embedding$", "text_model.position_embedding"),
    (r"^ln_final\.", "text_model.final_norm."),
    (r"^text_projection(\.weight)?$", "text_projection.weight"),
]
VIT = [
    (r"^visual\.conv1\.", "vision_model.patch_embedding.projection."),
    (r"^visual\.positional_embedding$", "vision_model.position_embedding"),
    (r"^visual\.ln_(pre|post)\.", r"vision_model.\1_norm."),
    (r"^visual\.proj$", "visual_projection.weight"),
    (r"^visual\.", "vision_model."),
]
RESNET = [
    (r"^visual\.attnpool\.c_proj\.", "visual_projection."),
    (r"^visual\.attnpool\.positional_embedding$", "vision_model.pool.position_embedding"),
    (r"^visual\.attnpool\.q_proj\.", "vision_model.pool.query."),
    (r"^visual\.attnpool\.", "vision_model.pool."),
    (r"^visual\.(conv|bn)(\d)\.", r"vision_model.stem.\1\2."),
    (r"^visual\.layer(\d)\.", r"vision_model.stages.\1."),
    (r"\.downsample\.0\.", ".shortcut.conv."),
    (r"\.downsample\.1\.", ".shortcut.bn."),
]
# What an open_clip configuration may say that makes no other function of the weights.
VISION_KEYS = {"layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size", "norm_kwargs", "act_kwargs"}
TEXT_KEYS = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "norm_kwargs", "act_kwargs"} | {
    "pool_type", "eos_id"
}  # fmt: skip
PLAIN = {
    "pool_type": "tok", "pos_embed_type": "learnable", "proj_type": "linear", "timm_pool": "avg", "timm_proj": "linear",
    "hf_proj_type": "mlp", "hf_pooler_type": "mean_pooler", "hf_model_pretrained": True, "attn_pooler_queries": 256,
    "attn_pooler_heads": 8, "block_type": "default",
}  # fmt: skip
HARMLESS = {"patch_dropout", "output_tokens", "pad_id", "hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode"} | {
    "timm_drop", "timm_drop_path", "timm_model_pretrained", "hf_model_pretrained"
}  # fmt: skip


def from_open_clip(config: dict, state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """Translates open_clip's CLIP.

    Args:
        config: its `model_cfg`: embed_dim, vision_cfg, text_cfg, perhaps quick_gelu (what `open_clip.get_model_config`
            gives and open_clip_config.json holds).
        state: its `state_dict()`.

    Returns:
        (configuration for `CLIPConfig.from_dict`, state dict for `CLIP`).

    Raises:
        InputError: the configuration asks for something that CLIP of the paper does not have.
    """
    vision, text = dict(config["vision_cfg"]), dict(config["text_cfg"])
    _refuse("vision_cfg", vision, VISION_KEYS)
    _refuse("text_cfg", text, TEXT_KEYS)
    if "logit_bias" in state:
        raise InputError("this open_clip model has a logit bias, so it is a SigLIP and not a CLIP")
    quick = config.get("quick_gelu", False)
    width, head_width = vision.get("width", 768), vision.get("head_width", 64)
    layers = vision.get("layers", 12)
    if isinstance(layers, list | tuple):
        encoder = {
            "encoder": "resnet",
            "image_size": vision.get("image_size", 224),
            "layers": tuple(layers),
            "width": width,
            "heads": width * 32 // head_width,
        }
    else:
        encoder = {
            "encoder": "vit",
            "image_size": vision.get("image_size", 224),
            "patch_size": vision.get("patch_size", 16),
            "heads": width // head_width,
        } | _transformer(vision, width, layers, quick)
    pool = text.get("pool_type", "argmax")
    if pool not in ("argmax", "eos"):
        raise InputError(f"this open_clip model reads its text at {pool!r}; CLIP reads it at the end token")
    text_width = text.get("width", 512)
    ours = {
        "vision": encoder,
        "text": {
            "vocab_size": text.get("vocab_size", 49408),
            "context_length": text.get("context_length", 77),
            "heads": text.get("heads", 8),
            "eos_token_id": None if pool == "argmax" else text.get("eos_id", 2),
        }
        | _transformer(text, text_width, text.get("layers", 12), quick),
        "projection_dim": config["embed_dim"],
    }
    # open_clip multiplies by these, matrices (width, dim); an nn.Linear keeps the transpose.
    state = {
        name: tensor.T.contiguous() if name in ("visual.proj", "text_projection", "text.text_projection") else tensor
        for name, tensor in state.items()
    }
    renamed = rename(state, [*(RESNET if encoder["encoder"] == "resnet" else VIT), *TEXT], drop=r"(text\.)?attn_mask")
    if "logit_scale" in renamed:
        renamed["logit_scale"] = renamed["logit_scale"].reshape(())
    return ours, fuse(renamed, ("pool.k_proj", "pool.v_proj"), "pool.key_value")


def _transformer(part: dict, width: int, layers: int, quick: bool) -> dict:
    approximate = (part.get("act_kwargs") or {}).get("approximate", "none")
    return {
        "width": width,
        "layers": layers,
        "mlp_width": int(width * part.get("mlp_ratio", 4.0)),
        "activation": "quick_gelu" if quick else "gelu_pytorch_tanh" if approximate == "tanh" else "gelu",
        "layer_norm_eps": (part.get("norm_kwargs") or {}).get("eps", 1e-5),
    }


def _refuse(where: str, part: dict, known: set[str]) -> None:
    for name, value in part.items():
        if name not in known | HARMLESS and value and PLAIN.get(name) != value:
            raise InputError(
                f"this open_clip model's {where} says {name}={value!r}, which CLIP of the paper does not have; "
                "load it with open_clip.create_model"
            )
