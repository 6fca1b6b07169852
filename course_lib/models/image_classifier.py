"""A picture's class: an encoder, and a linear layer that reads its vector.

With the weights of torchvision's or transformers' image classifiers it gives their logits (`course parity`).
"""

from dataclasses import asdict, is_dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from course_lib.encoders.convnet import ConvNet, ConvNetConfig
from course_lib.encoders.convnext import ConvNeXt, ConvNeXtConfig
from course_lib.encoders.efficientnet import EfficientNet, EfficientNetConfig
from course_lib.encoders.resnet import ResNet, ResNetConfig
from course_lib.encoders.swin import Swin, SwinConfig
from course_lib.encoders.vgg import VGG, VGGConfig
from course_lib.encoders.vit import ViT, ViTConfig
from course_lib.errors import InputError
from course_lib.pretrained import torchvision as torchvision_names
from course_lib.pretrained import vision as transformers_names
from course_lib.pretrained.weights import filled

ENCODERS = {
    "vgg": (VGGConfig, VGG),
    "resnet": (ResNetConfig, ResNet),
    "efficientnet": (EfficientNetConfig, EfficientNet),
    "convnext": (ConvNeXtConfig, ConvNeXt),
    "vit": (ViTConfig, ViT),
    "swin": (SwinConfig, Swin),
    "convnet": (ConvNetConfig, ConvNet),
}


def encoder_from_dict(values: dict) -> nn.Module:
    """An encoder from what `encoder_to_dict` gives: its name, "encoder", and the fields of its configuration.

    Raises:
        InputError: there is no encoder of that name.
    """
    values = dict(values)
    name = values.pop("encoder", None)
    if name not in ENCODERS:
        raise InputError(f"there is no encoder {name!r}; there are {', '.join(ENCODERS)}")
    config_class, encoder_class = ENCODERS[name]
    return encoder_class(config_class(**{field: _tuples(value) for field, value in values.items()}))


def encoder_to_dict(encoder: nn.Module) -> dict:
    """An encoder's kind and sizes as JSON can hold them; `encoder_from_dict` makes one again."""
    name = next((name for name, (_, kind) in ENCODERS.items() if type(encoder) is kind), None)
    if name is None or not is_dataclass(encoder.config):
        raise InputError(f"a {type(encoder).__name__} is none of the encoders here: {', '.join(ENCODERS)}")
    return {"encoder": name} | asdict(encoder.config)


def _tuples(value: object) -> object:
    return tuple(_tuples(one) for one in value) if isinstance(value, list | tuple) else value


class ImageClassifier(nn.Module):
    """Any encoder that makes one vector of a picture, dropout, and a linear layer.

    Args:
        encoder: (B, C, H, W) -> (B, D), with `width` = D: one of `course_lib.encoders`.
        classes: K.
        dropout: share of the vector dropped in training.
    """

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, K).

        Raises:
            InputError: pictures of a shape that the encoder does not take.
        """
        return self.head(self.dropout(self.encoder(pixel_values)))

    def __init__(self, encoder: nn.Module, classes: int, dropout: float = 0.0):
        super().__init__()
        if classes < 1:
            raise InputError(f"classes is {classes}; it should be 1 or more")
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.width, classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    @classmethod
    def from_weights(
        cls, config: dict, state: dict[str, Tensor], source: str | Path = "the state dict"
    ) -> "ImageClassifier":
        """A classifier with these weights, in evaluation mode.

        `ImageClassifier.from_weights(*pretrained.torchvision.resnet(model.state_dict()))` copies a torchvision model.

        Args:
            config: as `encoder_to_dict` gives it.
            state: of encoder and head, by our names; the number of classes is in it.
            source: what to call it in a message.

        Raises:
            FileError: the weights do not fit the configuration.
        """
        return cls._filled(config, dict(state), source)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> "ImageClassifier":
        """A published ViT, Swin, ConvNeXt or ResNet with its head, in evaluation mode.

        Args:
            source: a folder or a Hub id ("google/vit-base-patch16-224", "microsoft/swin-tiny-patch4-window7-224"), in
                transformers' format. Of a checkpoint without a head, `encoder_from_pretrained` gives the encoder.
            dtype: of its weights; torch.bfloat16 or torch.float16 take half the memory.
            device: where they go, one by one; the CPU if left out.

        Raises:
            OfflineError: it has to be downloaded and there is no network.
            FileError: its files are damaged or incomplete.
            InputError: there is no such checkpoint, or it is of another architecture.
        """
        return cls._filled(*transformers_names.load(source), source, dtype, device)

    @classmethod
    def from_torchvision(
        cls,
        name: str,
        path: str | Path | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> "ImageClassifier":
        """A published torchvision model, in evaluation mode: `ImageClassifier.from_torchvision("resnet18")`.

        Args:
            name: of the model in torchvision.
            path: the file of its state dict; None fetches the default weights once, into torch.hub's cache.
            dtype, device: as for `from_pretrained`.

        Raises:
            InputError, OfflineError, FileError: as `course_lib.pretrained.torchvision.load`.
        """
        return cls._filled(*torchvision_names.load(name, path), path or name, dtype, device)

    @classmethod
    def _filled(cls, config: dict, state: dict[str, Tensor], source: str | Path, *where) -> "ImageClassifier":
        head = state.get("head.weight")
        return filled(lambda: cls(encoder_from_dict(config), 1 if head is None else len(head)), state, source, *where)


def encoder_from_pretrained(
    source: str | Path, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
) -> nn.Module:
    """The encoder of a published checkpoint, in evaluation mode; its head, if it has one, is left out.

    Args:
        source, dtype, device: as for `ImageClassifier.from_pretrained`.

    Raises:
        OfflineError, FileError, InputError: as there.
    """
    config, state = transformers_names.load(source)
    state = _of_the_encoder(state)
    return filled(lambda: encoder_from_dict(config), state, source, dtype, device)


def encoder_from_weights(config: dict, state: dict[str, Tensor], source: str | Path = "the state dict") -> nn.Module:
    """An encoder of `ENCODERS` with these weights, named as in an `ImageClassifier`, in evaluation mode.

    Raises:
        FileError: the weights do not fit the configuration.
    """
    return filled(lambda: encoder_from_dict(config), _of_the_encoder(state), source)


def _of_the_encoder(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("encoder."): value for name, value in state.items() if not name.startswith("head.")}
