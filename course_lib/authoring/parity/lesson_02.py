"""Lesson 02: vision encoders beside torchvision's and transformers'."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.authoring.parity.rows import ParityRow, difference, disturb, small_transformer, tell_apart
from course_lib.models.image_classifier import ImageClassifier, encoder_from_weights
from course_lib.pretrained import torchvision as torchvision_names
from course_lib.pretrained import vision as transformers_names

PICTURES = 4


def vgg_beside_torchvision(
    stages: tuple = (8, "M", 12, "M", 16, 16, "M"), size: int = 40, seed: int = 0
) -> list[ParityRow]:
    """VGG beside torchvision's VGG; `stages` as torchvision writes them, "M" where height and width are halved."""
    from torchvision.models.vgg import VGG, make_layers

    torch.manual_seed(seed)
    with torch.device("meta"):  # torchvision has no smaller fully connected layers: they are put in afterwards
        theirs = VGG(nn.Identity(), num_classes=7, init_weights=False)
    theirs.features = make_layers(list(stages))
    theirs.classifier[0] = nn.Linear(stages[-2] * 49, 24)
    theirs.classifier[3], theirs.classifier[6] = nn.Linear(24, 24), nn.Linear(24, 7)
    return _beside_torchvision("VGG", theirs, torchvision_names.vgg, size, seed)


def resnet_beside_torchvision(
    bottleneck: bool = False, layers: tuple[int, ...] = (1, 2, 1, 1), size: int = 64, seed: int = 0
) -> list[ParityRow]:
    """ResNet beside torchvision's ResNet, with its basic blocks or its bottlenecks."""
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

    torch.manual_seed(seed)
    theirs = ResNet(Bottleneck if bottleneck else BasicBlock, list(layers), num_classes=7)
    name = "ResNet (bottleneck)" if bottleneck else "ResNet (basic)"
    return _beside_torchvision(name, theirs, torchvision_names.resnet, size, seed)


def vit_beside_torchvision(size: int = 32, seed: int = 0, **sizes: int) -> list[ParityRow]:
    """ViT beside torchvision's VisionTransformer; `sizes` are its arguments."""
    from torchvision.models import VisionTransformer

    arguments = {"patch_size": 8, "num_layers": 3, "num_heads": 4, "hidden_dim": 32, "mlp_dim": 50} | sizes
    torch.manual_seed(seed)
    theirs = VisionTransformer(image_size=size, num_classes=7, **arguments)

    def names(state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
        return torchvision_names.vit(state, heads=arguments["num_heads"])

    return _beside_torchvision("ViT", theirs, names, size, seed)


def convnext_beside_torchvision(size: int = 64, seed: int = 0) -> list[ParityRow]:
    """ConvNeXt beside torchvision's ConvNeXt; pictures of `size` a side."""
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    torch.manual_seed(seed)
    widths = [(16, 24, 2), (24, 32, 1), (32, 40, 3), (40, None, 1)]
    theirs = ConvNeXt([CNBlockConfig(*sizes) for sizes in widths], layer_scale=0.5, num_classes=7)
    return _beside_torchvision("ConvNeXt", theirs, torchvision_names.convnext, size, seed)


def swin_beside_torchvision(
    window: int = 3, layers: tuple[int, ...] = (2, 2, 3), size: int = 52, seed: int = 0
) -> list[ParityRow]:
    """Swin beside torchvision's SwinTransformer; at 52 pixels no map is a whole number of windows."""
    from torchvision.models import SwinTransformer

    torch.manual_seed(seed)
    heads = [2**stage for stage in range(1, len(layers) + 1)]
    theirs = SwinTransformer([4, 4], 16, list(layers), heads, [window, window], mlp_ratio=2.5, num_classes=7)
    return _beside_torchvision("Swin", theirs, torchvision_names.swin, size, seed)


def efficientnet_beside_torchvision(size: int = 64, seed: int = 0) -> list[ParityRow]:
    """EfficientNet beside torchvision's EfficientNet, with few channels."""
    from torchvision.models.efficientnet import EfficientNet, MBConvConfig

    torch.manual_seed(seed)
    kernels, strides, expansions = (3, 3, 5, 3, 5, 5, 3), (1, 2, 2, 2, 1, 2, 1), (1, 6, 6, 6, 6, 6, 6)
    channels, repeats = (16, 8, 12, 16, 24, 28, 32, 40), (1, 2, 1, 2, 1, 2, 1)
    stages = zip(expansions, kernels, strides, channels, channels[1:], repeats, strict=False)
    theirs = EfficientNet([MBConvConfig(*sizes) for sizes in stages], dropout=0.2, num_classes=7)
    return _beside_torchvision("EfficientNet", theirs, torchvision_names.efficientnet, size, seed)


def vit_beside_transformers(size: int = 32, seed: int = 0, **sizes: object) -> list[ParityRow]:
    """ViT beside transformers' ViTForImageClassification and ViTModel; `sizes` are fields of ViTConfig."""
    from transformers import ViTConfig, ViTForImageClassification, ViTModel

    config = ViTConfig(**({"patch_size": 8, "num_labels": 7} | small_transformer(48, 4) | {"image_size": size} | sizes))
    return _beside_transformers("ViT", ViTForImageClassification, ViTModel, config, size, seed)


def swin_beside_transformers(size: int = 72, seed: int = 0, **sizes: object) -> list[ParityRow]:
    """Swin beside transformers' SwinForImageClassification and SwinModel; `sizes` are fields of SwinConfig."""
    from transformers import SwinConfig, SwinForImageClassification, SwinModel

    small = {
        "embed_dim": 16,
        "depths": [2, 3],
        "num_heads": [2, 4],
        "window_size": 4,
        "mlp_ratio": 2.0,
        "num_labels": 7,
    }
    config = SwinConfig(**(small | {"image_size": size} | sizes))
    return _beside_transformers("Swin", SwinForImageClassification, SwinModel, config, size, seed)


def convnext_beside_transformers(size: int = 64, seed: int = 0, **sizes: object) -> list[ParityRow]:
    """ConvNeXt beside transformers' ConvNextForImageClassification and ConvNextModel; `sizes`: fields of its config."""
    from transformers import ConvNextConfig, ConvNextForImageClassification, ConvNextModel

    small = {"hidden_sizes": [16, 24, 32, 40], "depths": [2, 1, 3, 1], "layer_scale_init_value": 0.5, "num_labels": 7}
    config = ConvNextConfig(**(small | sizes))
    return _beside_transformers("ConvNeXt", ConvNextForImageClassification, ConvNextModel, config, size, seed)


def resnet_beside_transformers(size: int = 64, seed: int = 0, **sizes: object) -> list[ParityRow]:
    """ResNet beside transformers' ResNetForImageClassification and ResNetModel; `sizes` are fields of its config."""
    from transformers import ResNetConfig, ResNetForImageClassification, ResNetModel

    small = {"embedding_size": 8, "hidden_sizes": [32, 64, 128], "depths": [1, 2, 1], "num_labels": 7}
    config = ResNetConfig(**(small | sizes))
    return _beside_transformers("ResNet", ResNetForImageClassification, ResNetModel, config, size, seed)


def _beside_transformers(
    system: str, classifier: type, encoder: type, config: object, size: int, seed: int
) -> list[ParityRow]:
    """Three rows: the logits of the one; the last hidden states and the vector of the other."""
    rows = []
    for theirs_class in (classifier, encoder):
        torch.manual_seed(seed)
        pixel_values = torch.randn(PICTURES, 3, size, size)
        theirs = disturb(theirs_class(config), seed, pixel_values=pixel_values)
        names = transformers_names.from_transformers(config.to_dict(), theirs.state_dict())
        reference = f"transformers {theirs_class.__name__}"
        with torch.no_grad():
            wanted = theirs(pixel_values=pixel_values)
            if theirs_class is classifier:
                tell_apart(wanted.logits)
                apart = difference(ImageClassifier.from_weights(*names)(pixel_values), wanted.logits)
                rows.append(ParityRow(system, reference, "logits", apart))
                continue
            ours = encoder_from_weights(*names)
            features, vector = ours.forward_features(pixel_values), ours(pixel_values)
        hidden_states = wanted.last_hidden_state
        if features.ndim > hidden_states.ndim:  # Swin: our map of places is their row of places
            features = features.flatten(2).transpose(1, 2)
        # ViTModel's pooler is one more layer, which its classifier does not use: the vector is the class token.
        pooled = hidden_states[:, 0] if system == "ViT" else wanted.pooler_output.flatten(1)
        rows.append(ParityRow(system, reference, "last hidden state", difference(features, hidden_states)))
        rows.append(ParityRow(system, reference, "vector", difference(vector, pooled)))
    return rows


def _beside_torchvision(
    system: str, theirs: nn.Module, names: Callable, size: int, seed: int, tolerance: float = 1e-5
) -> list[ParityRow]:
    """One row, the logits."""
    pixel_values = torch.randn(PICTURES, 3, size, size)
    disturb(theirs, seed, **_first_argument(theirs, pixel_values))
    ours = ImageClassifier.from_weights(*names(theirs.state_dict()))
    with torch.no_grad():
        wanted, got = theirs(pixel_values), ours(pixel_values)
    tell_apart(wanted)
    reference = f"torchvision {type(theirs).__name__}"
    return [ParityRow(system, reference, "logits", difference(got, wanted), tolerance)]


def _first_argument(model: nn.Module, pixel_values: Tensor) -> dict[str, Tensor]:
    """The pictures under the name that torchvision's model gives its argument."""
    return {model.forward.__code__.co_varnames[1]: pixel_values}


COMPARISONS: list[Callable[[], list[ParityRow]]] = [
    vgg_beside_torchvision,
    resnet_beside_torchvision,
    lambda: resnet_beside_torchvision(bottleneck=True),
    efficientnet_beside_torchvision,
    convnext_beside_torchvision,
    vit_beside_torchvision,
    swin_beside_torchvision,
    resnet_beside_transformers,
    convnext_beside_transformers,
    vit_beside_transformers,
    swin_beside_transformers,
]
