"""Published CLIP checkpoints, in transformers' format or open_clip's -> the names of `course_lib.models.clip`."""

import contextlib
from pathlib import Path

from torch import Tensor

from course_lib.errors import FileError, InputError, OfflineError
from course_lib.pretrained import open_clip
from course_lib.pretrained.weights import complete, find, fuse, read_json, read_state, rename

BLOCK = [
    (r"\.encoder\.layers\.", ".transformer.blocks."),
    (r"\.self_attn\.", ".attention."),
    (r"\.layer_norm(\d)\.", r".norm\1."),
    (r"\.out_proj\.", ".out."),
]
NAMES = [
    *BLOCK,
    (r"\.embeddings\.patch_embedding\.", ".patch_embedding.projection."),
    (r"\.embeddings\.position_embedding\.weight", ".position_embedding"),
    (r"\.embeddings\.", "."),
    (r"\.pre_layrnorm\.", ".pre_norm."),
    (r"\.post_layernorm\.", ".post_norm."),
    (r"\.final_layer_norm\.", ".final_norm."),
]


def load(source: str | Path) -> tuple[dict, dict[str, Tensor]]:
    """Reads a CLIP checkpoint from a folder or the Hub, in either format.

    Returns:
        (configuration for `CLIPConfig.from_dict`, state dict for `CLIP`).

    Raises:
        FileError: it is no CLIP checkpoint, or a damaged one.
        OfflineError: it has to be downloaded and cannot be.
        InputError: there is no such checkpoint, or it is of an architecture that `CLIP` does not have.
    """
    path = find(source, "config.json", "open_clip_config.json")
    if path is None:
        raise FileError(f"{source} holds no checkpoint: neither config.json nor open_clip_config.json is there")
    config = read_json(path)
    if path.name == "config.json" and config.get("model_type") == "clip":
        return from_transformers(config, read_state(source))
    if path.name == "config.json":
        with contextlib.suppress(OfflineError):  # what is cached is of another type, and there may be no more of it
            config = read_json(find(source, "open_clip_config.json") or path)
    if "model_cfg" in config:
        pickled = "open_clip_pytorch_model.bin"
        return open_clip.from_open_clip(config["model_cfg"], read_state(source, "open_clip_model", pickled))
    raise InputError(f"{source} holds a model of type {config.get('model_type')!r}; CLIP.from_pretrained wants 'clip'")


def from_transformers(config: dict, state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """Translates transformers' CLIPModel.

    Args:
        config: what its `config.to_dict()` gives, or its config.json.
        state: its `state_dict()`.

    Returns:
        (configuration for `CLIPConfig.from_dict`, state dict for `CLIP`).
    """
    from transformers import CLIPConfig  # here, for it takes seconds to import; it knows what old files leave out

    config = complete(config, CLIPConfig)
    vision, text = config.vision_config, config.text_config
    ours = {
        "vision": {
            "encoder": "vit",
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "channels": vision.num_channels,
        }
        | transformer_sizes(vision),
        "text": {
            "vocab_size": text.vocab_size,
            "context_length": text.max_position_embeddings,
            # Until 2023 transformers wrote 2 for an end token that is 49407, and it still reads 2 as "the highest id".
            "eos_token_id": None if text.eos_token_id == 2 else text.eos_token_id,
        }
        | transformer_sizes(text),
        "projection_dim": config.projection_dim,
        "logit_scale_init": config.logit_scale_init_value,
    }
    state = rename(state, NAMES, drop=r".*\.position_ids")
    return ours, fuse(state, ("q_proj", "k_proj", "v_proj"), "qkv")


def transformer_sizes(config) -> dict:
    """The sizes of a transformer, by our names, from the configuration of one of transformers' towers."""
    return {
        "width": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "mlp_width": config.intermediate_size,
        "activation": config.hidden_act,
        "layer_norm_eps": config.layer_norm_eps,
        "attention_dropout": config.attention_dropout,
    }
