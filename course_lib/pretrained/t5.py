"""Published T5 checkpoints (transformers' format) -> the names of `course_lib.models.t5`."""

from pathlib import Path

import torch
from torch import Tensor

from course_lib.errors import InputError
from course_lib.pretrained.weights import complete, drop_copy, fuse, read_config_of, read_state, rename

NAMES = [
    (r"^shared\.", "token_embedding."),
    (r"^lm_head\.", "head."),
    (r"^(\w+)\.final_layer_norm\.", r"\1_norm."),
    (r"^(\w+)\.block\.0\.layer\.0\.SelfAttention\.relative_attention_bias\.", r"\1_bias.embedding."),
    (r"^(\w+)\.block\.(\d+)\.layer\.0\.SelfAttention\.(\w)\.", r"\1.\2.attention.\3."),
    (r"^(\w+)\.block\.(\d+)\.layer\.1\.EncDecAttention\.(\w)\.", r"\1.\2.cross_attention.\3."),
    (r"^encoder\.block\.(\d+)\.layer\.1\.layer_norm\.", r"encoder.\1.norm2."),
    (r"^(\w+)\.block\.(\d+)\.layer\.0\.layer_norm\.", r"\1.\2.norm1."),
    (r"^(\w+)\.block\.(\d+)\.layer\.1\.layer_norm\.", r"\1.\2.norm2."),
    (r"^(\w+)\.block\.(\d+)\.layer\.2\.layer_norm\.", r"\1.\2.norm3."),
    (r"^(\w+)\.block\.(\d+)\.layer\.\d\.DenseReluDense\.", r"\1.\2.mlp."),
    (r"attention\.o\.", "attention.out."),
    (r"cross_attention\.q\.", "cross_attention.query."),
]
PLAIN = [(r"\.wi\.", ".fc1."), (r"\.wo\.", ".fc2.")]
GATED = [(r"\.wo\.", ".out.")]


def load(source: str | Path) -> tuple[dict, dict[str, Tensor]]:
    """Reads a T5 checkpoint from a folder or the Hub.

    Returns:
        (configuration for `T5Config.from_dict`, state dict for `T5`).

    Raises:
        FileError, OfflineError, InputError: as `course_lib.pretrained.clip.load`.
    """
    return from_transformers(read_config_of("t5", source), read_state(source))


def from_transformers(config: dict, state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """Translates transformers' T5ForConditionalGeneration: its `config.to_dict()` and `state_dict()`.

    Raises:
        InputError: it has no token to begin an answer with.
    """
    from transformers import T5Config

    config = complete(config, T5Config)
    start = getattr(config, "decoder_start_token_id", None)
    start = config.pad_token_id if start is None else start
    if start is None:
        raise InputError("this T5 has neither a decoder_start_token_id nor a pad_token_id to begin an answer with")
    own_head = "lm_head.weight" in state and not torch.equal(state["lm_head.weight"], state["shared.weight"])
    ours = {
        "vocab_size": config.vocab_size,
        "width": config.d_model,
        "head_width": config.d_kv,
        "mlp_width": config.d_ff,
        "layers": config.num_layers,
        "decoder_layers": config.num_decoder_layers,
        "heads": config.num_heads,
        "activation": config.dense_act_fn,
        "gated": config.is_gated_act,
        "relative_buckets": config.relative_attention_num_buckets,
        "relative_max_distance": config.relative_attention_max_distance,
        "rms_norm_eps": config.layer_norm_epsilon,
        "dropout": config.dropout_rate,
        "tie_embeddings": not own_head,
        "scale_outputs": config.scale_decoder_outputs,
        "decoder_start_token_id": start,
    }
    for copy in (
        "encoder.embed_tokens.weight",
        "decoder.embed_tokens.weight",
        *(() if own_head else ("lm_head.weight",)),
    ):
        state = drop_copy(state, copy, "shared.weight")
    rules = [*NAMES, *(GATED if config.is_gated_act else PLAIN)]
    # Old files hold a bias of the decoder's cross-attention, which T5 never used.
    never_used = r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight"
    state = rename(state, rules, drop=never_used)
    if config.is_gated_act:
        state = fuse(state, ("wi_0", "wi_1"), "gate_value")
    state = fuse(state, ("cross_attention.k", "cross_attention.v"), "cross_attention.key_value")
    return ours, fuse(state, ("q", "k", "v"), "qkv")
