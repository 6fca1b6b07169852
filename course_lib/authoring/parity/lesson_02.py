"""Lesson 02: vision encoders beside torchvision's and transformers'."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.authoring.parity.rows import ParityRow, difference, disturb, tell_apart
from course_lib.models.image_classifier import ImageClassifier
from course_lib.pretrained import torchvision as torchvision_names

PICTURES = 4


def vgg_beside_torchvision(
    stages: tuple = (8, "M", 12, "M", 16, 16, "M"), size: int = 40, seed: int = 0
) -> list[ParityRow]:
    """VGG beside torchvision's VGG; `stages` as torchvision writes them, "M" where height and width are halved."""
    from torchvision.models.vgg import VGG, make_layers

    torch.manual_seed(seed)
    theirs = VGG(make_layers(list(stages)), num_classes=7)
    last = stages[-2]
    theirs.classifier[0] = nn.Linear(last * 49, 24)
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


def _beside_torchvision(
    system: str, theirs: nn.Module, names: Callable, size: int, seed: int, tolerance: float = 1e-5
) -> list[ParityRow]:
    """Two rows: the logits, and the vector before the last layer."""
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
]
