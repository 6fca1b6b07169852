"""Published SigLIP checkpoints (transformers' format) -> the names of `course_lib.models.siglip`."""

from pathlib import Path

from torch import Tensor

from course_lib.errors import InputError
from course_lib.pretrained.clip import NAMES, transformer_sizes
from course_lib.pretrained.weights import complete, fuse, read_config_of, read_state, rename

HEAD = [
    (r"\.head\.attention\.in_proj_(weight|bias)", r".head.qkv.\1"),
    (r"\.head\.attention\.out_proj\.", ".head.out."),
    (r"\.head\.layernorm\.", ".head.norm."),
]


def load(source: str | Path) -> tuple[dict, dict[str, Tensor]]:
    """Reads a SigLIP checkpoint from a folder or the Hub.

    Returns:
        (configuration for `SigLIPConfig.from_dict`, state dict for `SigLIP`).

    Raises:
        FileError, OfflineError, InputError: as `course_lib.pretrained.clip.load`.
    """
    return from_transformers(read_config_of("siglip", source), read_state(source))


def from_transformers(config: dict, state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """Translates transformers' SiglipModel: its `config.to_dict()` and `state_dict()`."""
    from transformers import SiglipConfig

    config = complete(config, SiglipConfig)
    vision, text = config.vision_config, config.text_config
    if not getattr(vision, "vision_use_head", True):
        raise InputError("this SigLIP has no pooling head (vision_use_head is false), so no embeddings of pictures")
    ours = {
        "vision": {
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "channels": vision.num_channels,
        }
        | transformer_sizes(vision),
        "text": {
            "vocab_size": text.vocab_size,
            "context_length": text.max_position_embeddings,
            "projection_dim": text.projection_size,
        }
        | transformer_sizes(text),
    }
    state = rename(state, [*HEAD, *NAMES], drop=r".*\.position_ids")
    renamed = fuse(state, ("q_proj", "k_proj", "v_proj"), "qkv")
    for name in [name for name in renamed if ".head.qkv." in name]:
        # The probe asks and the patches answer, so the query's third of the fused layer stands alone.
        fused = renamed.pop(name)
        width = len(fused) // 3
        renamed[name.replace("qkv", "query")] = fused[:width].clone()
        renamed[name.replace("qkv", "key_value")] = fused[width:].clone()
    if "vision_model.head.probe" in renamed:
        renamed["vision_model.head.probe"] = renamed["vision_model.head.probe"][0]
    return ours, renamed
