"""Published BART checkpoints (transformers' format) -> the names of `course_lib.models.bart`."""

from pathlib import Path

import torch
from torch import Tensor

from course_lib.pretrained.weights import complete, drop_copy, fuse, read_config_of, read_state, rename

NAMES = [
    (r"^model\.", ""),
    (r"^shared\.", "token_embedding."),
    (r"^(\w+)\.embed_positions\.weight", r"\1_embedding.position_embedding"),
    (r"^(\w+)\.layernorm_embedding\.", r"\1_embedding.norm."),
    (r"^final_logits_bias", "logit_bias"),
    (r"^(\w+)\.layers\.", r"\1.blocks."),
    (r"\.self_attn\.", ".attention."),
    (r"\.encoder_attn\.", ".cross_attention."),
    (r"\.out_proj\.", ".out."),
    (r"\.cross_attention\.q_proj\.", ".cross_attention.query."),
    (r"\.self_attn_layer_norm\.", ".norm1."),
    (r"\.encoder_attn_layer_norm\.", ".norm2."),
    (r"\.fc(\d)\.", r".mlp.fc\1."),
    (r"^encoder\.(.*)\.final_layer_norm\.", r"encoder.\1.norm2."),
    (r"^decoder\.(.*)\.final_layer_norm\.", r"decoder.\1.norm3."),
]


def load(source: str | Path) -> tuple[dict, dict[str, Tensor]]:
    """Reads a BART checkpoint from a folder or the Hub.

    Returns:
        (configuration for `BARTConfig.from_dict`, state dict for `BART`).

    Raises:
        FileError, OfflineError, InputError: as `course_lib.pretrained.clip.load`.
    """
    return from_transformers(read_config_of("bart", source), read_state(source))


def from_transformers(config: dict, state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """Translates transformers' BartForConditionalGeneration: its `config.to_dict()` and `state_dict()`."""
    from transformers import BartConfig

    config = complete(config, BartConfig)
    ours = {
        "vocab_size": config.vocab_size,
        "context_length": config.max_position_embeddings,
        "width": config.d_model,
        "layers": config.encoder_layers,
        "decoder_layers": config.decoder_layers,
        "heads": config.encoder_attention_heads,
        "decoder_heads": config.decoder_attention_heads,
        "mlp_width": config.encoder_ffn_dim,
        "decoder_mlp_width": config.decoder_ffn_dim,
        "activation": config.activation_function,
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "scale_embedding": config.scale_embedding,
        "decoder_start_token_id": config.decoder_start_token_id,
    }
    state = rename(state, NAMES)
    for copy in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"):
        state = drop_copy(state, copy, "token_embedding.weight")
    for name in ("encoder_embedding.position_embedding", "decoder_embedding.position_embedding"):
        if name in state:
            state[name] = state[name][2:].clone()  # the first two rows are of no position, and never used
    # A constant that is 0 in all published files, and left out of some.
    state["logit_bias"] = state.get("logit_bias", torch.zeros(config.vocab_size)).reshape(-1)
    state = fuse(state, ("cross_attention.k_proj", "cross_attention.v_proj"), "cross_attention.key_value")
    return ours, fuse(state, ("q_proj", "k_proj", "v_proj"), "qkv")
