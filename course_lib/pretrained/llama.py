"""Published Llama checkpoints (transformers' format) -> the names of `course_lib.models.llama`."""

from pathlib import Path

from torch import Tensor

from course_lib.errors import InputError
from course_lib.pretrained.weights import complete, drop_copy, fuse, read_config_of, read_state, rename

NAMES = [
    (r"^model\.embed_tokens\.", "token_embedding."),
    (r"^model\.norm\.", "final_norm."),
    (r"^lm_head\.", "head."),
    (r"^model\.layers\.", "blocks."),
    (r"\.self_attn\.", ".attention."),
    (r"\.o_proj\.", ".out."),
    (r"\.down_proj\.", ".out."),
    (r"\.input_layernorm\.", ".norm1."),
    (r"\.post_attention_layernorm\.", ".norm2."),
]


def load(source: str | Path) -> tuple[dict, dict[str, Tensor]]:
    """Reads a Llama checkpoint from a folder or the Hub.

    Returns:
        (configuration for `LlamaConfig.from_dict`, state dict for `Llama`).

    Raises:
        FileError, OfflineError, InputError: as `course_lib.pretrained.clip.load`.
    """
    return from_transformers(read_config_of("llama", source), read_state(source))


def from_transformers(config: dict, state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """Translates transformers' LlamaForCausalLM: its `config.to_dict()` and `state_dict()`.

    Raises:
        InputError: its positions are stretched otherwise than from Llama 3.1 on.
    """
    from transformers import LlamaConfig

    config = complete(config, LlamaConfig)
    rope = config.rope_parameters
    kind = rope.get("rope_type", "default")
    if kind not in ("default", "llama3"):
        raise InputError(f"this Llama stretches its positions ({kind}) in a way that no Llama of its authors does")
    stretch = (
        {
            "factor": rope["factor"],
            "original_length": rope["original_max_position_embeddings"],
            "slow_turns": rope["low_freq_factor"],
            "fast_turns": rope["high_freq_factor"],
        }
        if kind == "llama3"
        else None
    )
    ours = {
        "vocab_size": config.vocab_size,
        "context_length": config.max_position_embeddings,
        "width": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "key_value_heads": config.num_key_value_heads,
        "head_width": config.head_dim,
        "mlp_width": config.intermediate_size,
        "activation": config.hidden_act,
        "rms_norm_eps": config.rms_norm_eps,
        "rotary_base": rope["rope_theta"],
        "rotary_stretch": stretch,
        "attention_dropout": config.attention_dropout,
        "attention_bias": config.attention_bias,
        "mlp_bias": config.mlp_bias,
        "tie_embeddings": config.tie_word_embeddings,
    }
    if config.tie_word_embeddings:
        state = drop_copy(state, "lm_head.weight", "model.embed_tokens.weight")
    state = rename(state, NAMES, drop=r".*\.rotary_emb\.inv_freq")
    state = fuse(state, ("q_proj", "k_proj", "v_proj"), "qkv")
    return ours, fuse(state, ("gate_proj", "up_proj"), "gate_value")
