"""torchvision's classification models -> the names of `course_lib.models.image_classifier`.

Their state dicts hold nearly all of a configuration in the shapes of their tensors; what they do not hold (strides, the
number of heads) is what the published models of that family have, or is given.
"""

import re
from functools import partial
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

from course_lib.errors import FileError, InputError, OfflineError
from course_lib.pretrained.weights import rename

HEAD = (r"^(fc|classifier|head|heads\.head)\.(weight|bias)$", r"head.\2")


def load(name: str, path: str | Path | None = None) -> tuple[dict, dict[str, Tensor]]:
    """A published torchvision checkpoint.

    Args:
        name: "resnet18", "vgg11", "efficientnet_b0", "convnext_tiny", "swin_t", "vit_b_16", or others of their kind.
        path: the file of its state dict; None fetches torchvision's default weights into torch.hub's cache, once.

    Returns:
        (configuration for `ImageClassifier.from_weights`, state dict for it).

    Raises:
        InputError: none of these families has a model of that name.
        OfflineError: it has to be downloaded and cannot be.
        FileError: the file is damaged, or of another model.
    """
    family = next((family for family in FAMILIES if re.match(family, name)), None)
    if family is None:
        raise InputError(f"there is no model {name!r} here; names begin with {', '.join(FAMILIES)}")
    return FAMILIES[family](_read(path) if path is not None else _fetch(name))


def _fetch(name: str) -> dict[str, Tensor]:
    from torchvision.models import get_model_weights

    try:
        weights = get_model_weights(name).DEFAULT
    except ValueError as error:
        raise InputError(f"torchvision has no model {name!r}; try resnet18, swin_t or vit_b_16") from error
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except URLError as error:
        raise OfflineError(
            f"the weights of {name} need a network once; run on a machine with one, or give the path of their file"
        ) from error
    except (RuntimeError, EOFError) as error:
        raise FileError(
            f"the cached weights of {name} are damaged ({error}): delete them and fetch them again"
        ) from error


def _read(path: str | Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise FileError(
            f"there is no file {Path(path).name}: give the path of a state dict saved by torch.save"
        ) from error
    except Exception as error:  # pickle has errors of its own, which share no base with anything
        raise FileError(f"{Path(path).name} is no state dict that torch can read ({error}): fetch it again") from error
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise FileError(f"{Path(path).name} holds no state dict: give a file of names and tensors")
    return state


def vgg(state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """VGG without batch normalisation. Its convolutions are numbered through; a gap of 3 is where a stage ends."""
    numbers = sorted(int(name.split(".")[1]) for name in state if re.fullmatch(r"features\.\d+\.weight", name))
    _need(numbers and f"features.{numbers[0]}.running_mean" not in state, "VGG without batch normalisation")
    stages: list[list[int]] = [[]]
    names, last = {}, 0
    for number in numbers:
        if number - last == 3:
            stages.append([])
        last = number
        names[f"features.{number}."] = f"encoder.stages.{len(stages) - 1}.{2 * len(stages[-1])}."
        stages[-1].append(len(state[f"features.{number}.weight"]))
    hidden, flat = state["classifier.0.weight"].shape
    config = {
        "encoder": "vgg",
        "stages": tuple(map(tuple, stages)),
        "pooled": round((flat / stages[-1][-1]) ** 0.5),
        "hidden": hidden,
        "channels": state["features.0.weight"].shape[1],
    }
    rules = [(rf"^{re.escape(old)}", new) for old, new in names.items()]
    rules += [(r"^classifier\.6\.", "head."), (r"^classifier\.", "encoder.hidden.")]
    return config, rename(state, rules)


def resnet(state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """ResNet with basic or bottleneck blocks; those of wide and grouped ones are refused by their shapes."""
    _need("layer1.0.conv1.weight" in state, "a ResNet")
    stages = _count(state, r"layer(\d+)\.0\.conv1\.weight")
    config = {
        "encoder": "resnet",
        "layers": tuple(_count(state, rf"layer{stage}\.(\d+)\.conv1\.weight") for stage in range(1, stages + 1)),
        "bottleneck": "layer1.0.conv3.weight" in state,
        "width": len(state["conv1.weight"]),
        "stem_kernel": state["conv1.weight"].shape[-1],
        "channels": state["conv1.weight"].shape[1],
    }
    rules = [
        HEAD,
        (r"^conv1\.", "encoder.stem."),
        (r"^bn1\.", "encoder.stem_norm."),
        *((rf"^layer{stage}\.", f"encoder.stages.{stage - 1}.") for stage in range(1, stages + 1)),
        (r"\.downsample\.0\.", ".shortcut.conv."),
        (r"\.downsample\.1\.", ".shortcut.bn."),
    ]
    return config, rename(state, rules)


def vit(state: dict[str, Tensor], heads: int | None = None) -> tuple[dict, dict[str, Tensor]]:
    """ViT; `heads` as published if None: 16 in those of 32 blocks (H/14), else one for each 64 channels."""
    _need("conv_proj.weight" in state, "a ViT")
    width, channels, patch, _ = state["conv_proj.weight"].shape
    layers = _count(state, r"encoder\.layers\.encoder_layer_(\d+)\.ln_1\.weight")
    side = round((state["encoder.pos_embedding"].shape[1] - 1) ** 0.5)
    config = {
        "encoder": "vit",
        "image_size": side * patch,
        "patch_size": patch,
        "width": width,
        "layers": layers,
        "heads": heads or (16 if layers == 32 else width // 64),
        "mlp_width": len(state["encoder.layers.encoder_layer_0.mlp.0.weight"]),
        "channels": channels,
    }
    rules = [
        HEAD,
        (r"^conv_proj\.", "encoder.patch_embedding.projection."),
        (r"^class_token$", "encoder.class_embedding"),
        (r"^encoder\.pos_embedding$", "encoder.position_embedding"),
        (r"^encoder\.ln\.", "encoder.post_norm."),
        (r"^encoder\.layers\.encoder_layer_", "encoder.transformer.blocks."),
        (r"\.ln_(\d)\.", r".norm\1."),
        (r"\.self_attention\.in_proj_", ".attention.qkv."),
        (r"\.self_attention\.out_proj\.", ".attention.out."),
        (r"\.mlp\.0\.", ".mlp.fc1."),
        (r"\.mlp\.3\.", ".mlp.fc2."),
        (r"\.mlp\.linear_(\d)\.", r".mlp.fc\1."),  # as saved before torchvision 0.12
    ]
    renamed = rename(state, rules)
    for name in ("encoder.class_embedding", "encoder.position_embedding"):
        renamed[name] = renamed[name].flatten(0, 1)
    renamed["encoder.class_embedding"] = renamed["encoder.class_embedding"].flatten()
    return config, renamed


def convnext(state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """ConvNeXt. Stages and the layers between them are numbered in one row, from 1."""
    _need("features.1.0.layer_scale" in state, "a ConvNeXt")
    stages = range(_count(state, r"features\.(\d+)\.0\.layer_scale"))
    config = {
        "encoder": "convnext",
        "patch_size": state["features.0.0.weight"].shape[-1],
        "widths": tuple(len(state[f"features.{2 * stage + 1}.0.layer_scale"]) for stage in stages),
        "layers": tuple(_count(state, rf"features\.{2 * stage + 1}\.(\d+)\.layer_scale") for stage in stages),
        "kernel_size": state["features.1.0.block.0.weight"].shape[-1],
        "channels": state["features.0.0.weight"].shape[1],
    }
    rules = [
        (r"^classifier\.2\.", "head."),
        (r"^classifier\.0\.", "encoder.pool_norm."),
        (r"^features\.0\.0\.", "encoder.stem."),
        (r"^features\.0\.1\.", "encoder.stem_norm."),
        (r"\.block\.0\.", ".depthwise."),
        (r"\.block\.2\.", ".norm."),
        (r"\.block\.3\.", ".mlp.fc1."),
        (r"\.block\.5\.", ".mlp.fc2."),
    ]
    for stage in stages:
        # A later stage of ours begins with the layer that makes its map smaller, which moves its blocks by one.
        for block in range(config["layers"][stage]):
            rules.append((rf"^features\.{2 * stage + 1}\.{block}\.", f"encoder.stages.{stage}.{block + (stage > 0)}."))
        rules.append((rf"^features\.{2 * stage}\.0\.", f"encoder.stages.{stage}.0.norm."))
        rules.append((rf"^features\.{2 * stage}\.1\.", f"encoder.stages.{stage}.0.convolution."))
    renamed = rename(state, rules)
    return config, {name: one.flatten() if name.endswith("layer_scale") else one for name, one in renamed.items()}


def swin(state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """Swin (the first version). Stages and the layers between them are numbered in one row, from 1."""
    table = "features.1.0.attn.relative_position_bias_table"
    _need(table in state, "a Swin transformer of the first version")
    stages = range(_count(state, r"features\.(\d+)\.0\.norm1\.weight"))
    width, channels, patch, _ = state["features.0.0.weight"].shape
    config = {
        "encoder": "swin",
        "patch_size": patch,
        "width": width,
        "layers": tuple(_count(state, rf"features\.{2 * stage + 1}\.(\d+)\.norm1\.weight") for stage in stages),
        "heads": tuple(state[table.replace(".1.0.", f".{2 * stage + 1}.0.")].shape[1] for stage in stages),
        "window": (round(len(state[table]) ** 0.5) + 1) // 2,
        "mlp_ratio": len(state["features.1.0.mlp.0.weight"]) / width,
        "channels": channels,
    }
    rules = [
        HEAD,
        (r"^norm\.", "encoder.post_norm."),
        (r"^features\.0\.0\.", "encoder.patch_embedding."),
        (r"^features\.0\.2\.", "encoder.patch_norm."),
        (r"\.attn\.relative_position_bias_table", ".attention.position_bias.table"),
        (r"\.attn\.qkv\.", ".attention.attention.qkv."),
        (r"\.attn\.proj\.", ".attention.attention.out."),
        (r"\.mlp\.0\.", ".mlp.fc1."),
        (r"\.mlp\.3\.", ".mlp.fc2."),
    ]
    for stage in stages:
        # A later stage of ours begins with the layer that merges patches, which moves its blocks by one.
        for block in range(config["layers"][stage]):
            rules.append((rf"^features\.{2 * stage + 1}\.{block}\.", f"encoder.stages.{stage}.{block + (stage > 0)}."))
        rules.append((rf"^features\.{2 * stage}\.(norm|reduction)\.", rf"encoder.stages.{stage}.0.\1."))
    return config, rename(state, rules, drop=r".*\.relative_position_index")


def efficientnet(
    state: dict[str, Tensor], strides: tuple[int, ...] = (1, 2, 2, 2, 1, 2, 1), norm_eps: float = 1e-5
) -> tuple[dict, dict[str, Tensor]]:
    """EfficientNet (the first version); `strides` of its stages as published, `norm_eps` as in B0 to B4 (else 1e-3)."""
    _need("features.1.0.block.1.fc1.weight" in state and "features.8.0.weight" in state, "an EfficientNet B0 to B7")

    def depthwise(stage: int) -> Tensor:
        expands = state[f"features.{stage}.0.block.0.0.weight"].shape[-1] == 1
        return state[f"features.{stage}.0.block.{int(expands)}.0.weight"]

    stages = range(1, 8)
    before = [state["features.0.0.weight"].shape[0]]
    before += [_last_projection(state, stage) for stage in stages]
    layers = [_count(state, rf"features\.{stage}\.(\d+)\.block\.0\.0\.weight") for stage in stages]
    config = {
        "encoder": "efficientnet",
        "width_coefficient": 1.0,
        "depth_coefficient": 1.0,
        "depth_divisor": 1,
        "stem_channels": before[0],
        "in_channels": tuple(before[:-1]),
        "out_channels": tuple(before[1:]),
        "kernel_sizes": tuple(depthwise(stage).shape[-1] for stage in stages),
        "strides": strides,
        "repeats": tuple(layers),
        "expansions": tuple(depthwise(stage).shape[0] // before[stage - 1] for stage in stages),
        "square_padding": tuple(range(sum(layers))),
        "square_stem": True,
        "top_channels": len(state["features.8.0.weight"]),
        "norm_eps": norm_eps,
        "norm_momentum": 0.1 if norm_eps == 1e-5 else 0.01,  # the large ones have TensorFlow's
        "channels": state["features.0.0.weight"].shape[1],
    }
    rules = [
        (r"^classifier\.1\.", "head."),
        (r"^features\.0\.0\.", "encoder.stem."),
        (r"^features\.0\.1\.", "encoder.stem_norm."),
        (r"^features\.8\.0\.", "encoder.top."),
        (r"^features\.8\.1\.", "encoder.top_norm."),
        (r"\.block\.\d\.fc1\.", ".squeeze_excite.reduce."),
        (r"\.block\.\d\.fc2\.", ".squeeze_excite.expand."),
    ]
    number = 0
    for stage, count in zip(stages, layers, strict=True):
        names = ["expansion", "depthwise", "", "projection"][config["expansions"][stage - 1] == 1 :]
        for block in range(count):
            old, new = rf"^features\.{stage}\.{block}\.", f"encoder.blocks.{number}."
            for place, name in enumerate(names):
                rules.append((rf"{old}block\.{place}\.0\.", f"{new}{name}."))
                rules.append((rf"{old}block\.{place}\.1\.", f"{new}{name}_norm."))
            rules.append((old, new))
            number += 1
    return config, rename(state, rules)


def _last_projection(state: dict[str, Tensor], stage: int) -> int:
    """Channels that a stage of EfficientNet gives: those of the last convolution of its first block."""
    last = max(name for name in state if re.fullmatch(rf"features\.{stage}\.0\.block\.\d\.0\.weight", name))
    return len(state[last])


def _need(found: object, what: str) -> None:
    if not found:
        raise FileError(f"this state dict is not that of {what}: check that the name and the file belong together")


def _count(state: dict[str, Tensor], pattern: str) -> int:
    """How many tensors have a name of this pattern."""
    return sum(re.fullmatch(pattern, name) is not None for name in state)


FAMILIES = {
    "vgg": vgg, "resnet": resnet, "vit": vit, "convnext": convnext, "swin": swin,
    "efficientnet_b[567]": partial(efficientnet, norm_eps=1e-3), "efficientnet": efficientnet,
}  # fmt: skip
