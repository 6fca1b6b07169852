"""Published GPT-2 checkpoints (transformers' format) -> the names of `course_lib.models.gpt2`."""

from pathlib import Path

from torch import Tensor

from course_lib.errors import InputError
from course_lib.pretrained.weights import complete, drop_copy, read_config_of, read_state, rename

NAMES = [
    (r"^transformer\.", ""),
    (r"^wte\.", "token_embedding."),
    (r"^wpe\.weight", "position_embedding"),
    (r"^ln_f\.", "final_norm."),
    (r"^h\.", "transformer.blocks."),
    (r"\.ln_(\d)\.", r".norm\1."),
    (r"\.attn\.c_attn\.", ".attention.qkv."),
    (r"\.attn\.c_proj\.", ".attention.out."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
]


def load(source: str | Path) -> tuple[dict, dict[str, Tensor]]:
    """Reads a GPT-2 checkpoint from a folder or the Hub.

    Returns:
        (configuration for `GPT2Config.from_dict`, state dict for `GPT2`).

    Raises:
        FileError, OfflineError, InputError: as `course_lib.pretrained.clip.load`.
    """
    return from_transformers(read_config_of("gpt2", source), read_state(source))


def from_transformers(config: dict, state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """Translates transformers' GPT2LMHeadModel: its `config.to_dict()` and `state_dict()`.

    Raises:
        InputError: the configuration asks for something that GPT-2 of the paper does not have.
    """
    from transformers import GPT2Config

    config = complete(config, GPT2Config)
    for name, wanted in (
        ("scale_attn_weights", True), ("scale_attn_by_inverse_layer_idx", False), ("add_cross_attention", False),
        ("tie_word_embeddings", True),
    ):  # fmt: skip
        if getattr(config, name) != wanted:
            raise InputError(f"this GPT-2 says {name}={getattr(config, name)}; the paper's has it {wanted}")
    ours = {
        "vocab_size": config.vocab_size,
        "context_length": config.n_positions,
        "width": config.n_embd,
        "layers": config.n_layer,
        "heads": config.n_head,
        "mlp_width": config.n_inner or 4 * config.n_embd,
        "activation": config.activation_function,
        "layer_norm_eps": config.layer_norm_epsilon,
        "dropout": config.resid_pdrop,
        "attention_dropout": config.attn_pdrop,
    }
    state = rename(state, NAMES, drop=r".*\.attn\.(bias|masked_bias)")  # old files keep the causal mask
    state = drop_copy(state, "lm_head.weight", "token_embedding.weight")
    # GPT-2's "Conv1D" multiplies by a matrix (in, out); an nn.Linear keeps the transpose.
    for name in state:
        if name.endswith((".qkv.weight", ".out.weight", ".fc1.weight", ".fc2.weight")):
            state[name] = state[name].T.contiguous()
    return ours, state
