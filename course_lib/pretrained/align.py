"""Published ALIGN checkpoints (transformers' format) -> the names of `course_lib.models.align`."""

from pathlib import Path

from torch import Tensor

from course_lib.errors import InputError
from course_lib.pretrained.bert import ENCODER, encoder_sizes
from course_lib.pretrained.weights import complete, fuse, read_config_of, read_state, rename

EFFICIENTNET = [
    (r"^(vision_model)\.embeddings\.convolution\.", r"\1.stem."),
    (r"^(vision_model)\.embeddings\.batchnorm\.", r"\1.stem_norm."),
    (r"^(vision_model)\.encoder\.blocks\.", r"\1.blocks."),
    (r"\.expansion\.expand_conv\.", ".expansion."),
    (r"\.expansion\.expand_bn\.", ".expansion_norm."),
    (r"\.depthwise_conv\.depthwise_conv\.", ".depthwise."),
    (r"\.depthwise_conv\.depthwise_norm\.", ".depthwise_norm."),
    (r"\.projection\.project_conv\.", ".projection."),
    (r"\.projection\.project_bn\.", ".projection_norm."),
]


def load(source: str | Path) -> tuple[dict, dict[str, Tensor]]:
    """Reads an ALIGN checkpoint from a folder or the Hub.

    Returns:
        (configuration for `ALIGNConfig.from_dict`, state dict for `ALIGN`).

    Raises:
        FileError, OfflineError, InputError: as `course_lib.pretrained.clip.load`.
    """
    return from_transformers(read_config_of("align", source), read_state(source))


def from_transformers(config: dict, state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """Translates transformers' AlignModel: its `config.to_dict()` and `state_dict()`.

    BERT's pooler is left out: ALIGN reads the first token's hidden state itself, and the pooler was never used.
    """
    from transformers import AlignConfig

    config = complete(config, AlignConfig)
    vision, text = config.vision_config, config.text_config
    if vision.pooling_type != "mean":
        raise InputError(f"this ALIGN pools by {vision.pooling_type!r}; the paper's takes the mean")
    ours = {
        "vision": {
            "width_coefficient": vision.width_coefficient,
            "depth_coefficient": vision.depth_coefficient,
            "depth_divisor": vision.depth_divisor,
            "in_channels": tuple(vision.in_channels),
            "out_channels": tuple(vision.out_channels),
            "kernel_sizes": tuple(vision.kernel_sizes),
            "strides": tuple(vision.strides),
            "repeats": tuple(vision.num_block_repeats),
            "expansions": tuple(vision.expand_ratios),
            "squeeze_ratio": vision.squeeze_expansion_ratio,
            "square_padding": tuple(vision.depthwise_padding),
            "drop_rate": vision.drop_connect_rate,
            "activation": vision.hidden_act,
            "norm_eps": vision.batch_norm_eps,
            "channels": vision.num_channels,
        },
        "text": encoder_sizes(text),
        "projection_dim": config.projection_dim,
        "temperature_init": config.temperature_init_value,
    }
    unused = r".*\.(position_ids|token_type_ids)|text_model\.pooler\..*"
    state = rename(state, [*ENCODER, *EFFICIENTNET], unused)
    return ours, fuse(state, ("query", "key", "value"), "qkv")
