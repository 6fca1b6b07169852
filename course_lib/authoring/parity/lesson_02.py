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
    vit_beside_torchvision,
]
