"""Published ViT, Swin, ConvNeXt and ResNet (transformers' format) -> `course_lib.models.image_classifier`."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from course_lib.errors import FileError, InputError
from course_lib.pretrained.weights import complete, find, fuse, read_json, read_state, rename

# Before a name's first part: that of a model with a head ("vit.embeddings. ..."), or nothing.
PREFIX = (r"^(vit|swin|convnext|resnet)\.", "")
HEAD = (r"^classifier\.(1\.)?(weight|bias)$", r"head.\2")
BLOCK = [
    (r"\.attention\.(attention|self)\.(query|key|value)\.", r".attention.\2."),
    (r"\.attention\.q_proj\.", ".attention.query."),
    (r"\.attention\.k_proj\.", ".attention.key."),
    (r"\.attention\.v_proj\.", ".attention.value."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".attention.out."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
]
QKV = ("query", "key", "value")


def load(source: str | Path) -> tuple[dict, dict[str, Tensor]]:
    """Reads an image encoder, with its classification head if it has one, from a folder or the Hub.

    Returns:
        (configuration for `ImageClassifier.from_weights`, state dict for it).

    Raises:
        FileError: it is no such checkpoint, or a damaged one.
        OfflineError: it has to be downloaded and cannot be.
        InputError: there is no such checkpoint, or it is of an architecture that is not here.
    """
    path = find(source, "config.json")
    if path is None:
        raise FileError(f"{source} holds no checkpoint: config.json is not there")
    config = read_json(path)
    if config.get("model_type") not in FAMILIES:
        raise InputError(
            f"{source} holds a model of type {config.get('model_type')!r}; this wants one of {', '.join(FAMILIES)}"
        )
    return FAMILIES[config["model_type"]](config, read_state(source))


def from_transformers(config: dict, state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """Translates transformers' ViT, Swin, ConvNext or ResNet, with or without "ForImageClassification".

    What only pretraining used (the pooler of ViTModel, mask tokens) is left out.

    Args:
        config: what its `config.to_dict()` gives, or its config.json.
        state: its `state_dict()`, or what its file holds.
    """
    return FAMILIES[config["model_type"]](config, state)


def vit(config: dict, state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """ViTModel and ViTForImageClassification."""
    from transformers import ViTConfig  # here, for it takes seconds to import; it knows what old files leave out

    config = complete(config, ViTConfig)
    _refuse(config, "ViT", qkv_bias=True, hidden_dropout_prob=0.0)
    ours = {
        "encoder": "vit",
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "width": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "mlp_width": config.intermediate_size,
        "activation": config.hidden_act,
        "layer_norm_eps": config.layer_norm_eps,
        "attention_dropout": config.attention_probs_dropout_prob,
        "channels": config.num_channels,
    }
    rules = [
        PREFIX,
        HEAD,
        (r"^embeddings\.cls_token$", "encoder.class_embedding"),
        (r"^embeddings\.position_embeddings$", "encoder.position_embedding"),
        (r"^embeddings\.patch_embeddings\.projection\.", "encoder.patch_embedding.projection."),
        (r"^layernorm\.", "encoder.post_norm."),
        (r"^(encoder\.layer|layers)\.", "encoder.transformer.blocks."),
        *BLOCK,
    ]
    state = rename(state, rules, drop=r"(vit\.)?(pooler\..*|embeddings\.mask_token)")
    renamed = fuse(state, QKV, "qkv")
    if {"encoder.class_embedding", "encoder.position_embedding"} <= renamed.keys():
        renamed["encoder.class_embedding"] = renamed["encoder.class_embedding"].flatten()
        renamed["encoder.position_embedding"] = renamed["encoder.position_embedding"].flatten(0, 1)
    return ours, renamed


def swin(config: dict, state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """SwinModel and SwinForImageClassification; transformers keeps a merging with the stage before it, we after."""
    from transformers import SwinConfig

    config = complete(config, SwinConfig)
    _refuse(config, "Swin", qkv_bias=True, hidden_dropout_prob=0.0, use_absolute_embeddings=False)
    ours = {
        "encoder": "swin",
        "patch_size": config.patch_size,
        "width": config.embed_dim,
        "layers": tuple(config.depths),
        "heads": tuple(config.num_heads),
        "window": config.window_size,
        "mlp_ratio": config.mlp_ratio,
        "activation": config.hidden_act,
        "layer_norm_eps": config.layer_norm_eps,
        "attention_dropout": config.attention_probs_dropout_prob,
        "drop_rate": config.drop_path_rate,
        "channels": config.num_channels,
    }
    rules = [
        PREFIX,
        HEAD,
        (r"^embeddings\.patch_embeddings\.projection\.", "encoder.patch_embedding."),
        (r"^embeddings\.norm\.", "encoder.patch_norm."),
        (r"^layernorm\.", "encoder.post_norm."),
        (r"\.relative_position_bias_table$", ".table"),
        (r"\.attention\.(self|relative_position_bias)\.table$", ".attention.position_bias.table"),
        *BLOCK,
        (r"\.attention\.(query|key|value|out)\.", r".attention.attention.\1."),
    ]
    for stage, count in enumerate(config.depths):
        old, new = rf"^encoder\.layers\.{stage}\.", f"encoder.stages.{stage}."
        rules += [(rf"{old}blocks\.{block}\.", f"{new}{block + (stage > 0)}.") for block in range(count)]
        rules.append((rf"{old}downsample\.", f"encoder.stages.{stage + 1}.0."))
    drop = r".*\.relative_position_index|(swin\.)?embeddings\.mask_token"
    state = rename(state, rules, drop)
    return ours, fuse(state, QKV, "qkv")


def convnext(config: dict, state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """ConvNextModel and ConvNextForImageClassification."""
    from transformers import ConvNextConfig

    config = complete(config, ConvNextConfig)
    ours = {
        "encoder": "convnext",
        "patch_size": config.patch_size,
        "widths": tuple(config.hidden_sizes),
        "layers": tuple(config.depths),
        "activation": config.hidden_act,
        "layer_scale": config.layer_scale_init_value,
        "pool_norm_eps": config.layer_norm_eps,
        "drop_rate": config.drop_path_rate,
        "channels": config.num_channels,
    }
    rules = [
        PREFIX,
        HEAD,
        (r"^embeddings\.patch_embeddings\.", "encoder.stem."),
        (r"^embeddings\.layernorm\.", "encoder.stem_norm."),
        (r"^layernorm\.", "encoder.pool_norm."),
        (r"^encoder\.stages\.(\d+)\.downsampling_layer\.0\.", r"encoder.stages.\1.0.norm."),
        (r"^encoder\.stages\.(\d+)\.downsampling_layer\.1\.", r"encoder.stages.\1.0.convolution."),
        (r"\.dwconv\.", ".depthwise."),
        (r"\.layernorm\.", ".norm."),
        (r"\.pwconv(\d)\.", r".mlp.fc\1."),
        (r"\.layer_scale_parameter$", ".layer_scale"),
    ]
    for stage, count in enumerate(config.depths):
        old, new = rf"^encoder\.stages\.{stage}\.layers\.", f"encoder.stages.{stage}."
        rules += [(rf"{old}{block}\.", f"{new}{block + (stage > 0)}.") for block in range(count)]
    return ours, rename(state, rules)


def resnet(config: dict, state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """ResNetModel and ResNetForImageClassification."""
    from transformers import ResNetConfig

    config = complete(config, ResNetConfig)
    bottleneck = config.layer_type == "bottleneck"
    _refuse(config, "ResNet", hidden_act="relu", downsample_in_first_stage=False, downsample_in_bottleneck=False)
    width = config.hidden_sizes[0] // (4 if bottleneck else 1)
    if config.embedding_size != width or config.hidden_sizes != [
        config.hidden_sizes[0] * 2**stage for stage in range(len(config.depths))
    ]:
        raise InputError(f"this ResNet has widths {config.hidden_sizes}; in the paper's each is twice the one before")
    ours = {
        "encoder": "resnet",
        "layers": tuple(config.depths),
        "bottleneck": bottleneck,
        "width": width,
        "channels": config.num_channels,
    }
    rules = [
        PREFIX,
        HEAD,
        (r"^embedder\.embedder\.convolution\.", "encoder.stem."),
        (r"^embedder\.embedder\.normalization\.", "encoder.stem_norm."),
        (r"^encoder\.stages\.(\d+)\.layers\.", r"encoder.stages.\1."),
        (r"\.shortcut\.convolution\.", ".shortcut.conv."),
        (r"\.shortcut\.normalization\.", ".shortcut.bn."),
    ]
    for place in range(3):
        rules.append((rf"\.layer\.{place}\.convolution\.", f".conv{place + 1}."))
        rules.append((rf"\.layer\.{place}\.normalization\.", f".bn{place + 1}."))
    return ours, rename(state, rules)


def _refuse(config: object, name: str, **wanted: object) -> None:
    """Raises InputError unless the configuration says of each of these what the paper's architecture has."""
    for field, value in wanted.items():
        if getattr(config, field) != value:
            raise InputError(f"this {name} has {field}={getattr(config, field)}; the paper's has {value}")


FAMILIES: dict[str, Callable[[dict, dict[str, Tensor]], tuple[dict, dict[str, Tensor]]]] = {
    "vit": vit,
    "swin": swin,
    "convnext": convnext,
    "resnet": resnet,
}
