"""ALIGN: a dual encoder like CLIP's, from an EfficientNet and a BERT, on data so large that it may be noisy.

Source: Jia et al., Scaling Up Visual and Vision-Language Representation Learning With Noisy Text, section 4.
With the weights of transformers' AlignModel it gives what that gives (`course parity`).
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.encoders.bert import BERT, BERTConfig
from course_lib.encoders.efficientnet import EfficientNet, EfficientNetConfig
from course_lib.errors import InputError
from course_lib.models.clip import CLIPOutput
from course_lib.pretrained import align as published
from course_lib.pretrained.weights import filled


@dataclass(frozen=True)
class ALIGNConfig:
    """Two encoders; the defaults are those of the published base model: EfficientNet-B7 and BERT-base.

    The picture's vector is the encoder's own, so `projection_dim` has to be the width of the vision encoder.
    """

    vision: EfficientNetConfig = field(default_factory=EfficientNetConfig)
    text: BERTConfig = field(default_factory=BERTConfig)
    projection_dim: int = 640
    temperature_init: float = 1.0

    def to_dict(self) -> dict:
        """The configuration as JSON can hold it; `from_dict` makes it again."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "ALIGNConfig":
        """The configuration that `to_dict` wrote."""
        vision = {name: tuple(value) if isinstance(value, list) else value for name, value in values["vision"].items()}
        return cls(**values | {"vision": EfficientNetConfig(**vision), "text": BERTConfig(**values["text"])})


class ALIGN(nn.Module):
    """Two encoders, a projection of the text's first token, and a learned temperature that divides the similarity."""

    def forward(
        self,
        pixel_values: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> CLIPOutput:
        """Compares every picture with every text.

        Args:
            pixel_values: (N, 3, H, W), any size.
            input_ids: (M, T).
            attention_mask: (M, T), 0 at padding.
            token_type_ids: (M, T), 0 if left out.

        Raises:
            InputError: wrong shapes or ids.
        """
        image_embeds = F.normalize(self.encode_image(pixel_values), dim=-1)
        text_embeds = F.normalize(self.encode_text(input_ids, attention_mask, token_type_ids), dim=-1)
        logits_per_image = image_embeds @ text_embeds.T / self.temperature
        return CLIPOutput(logits_per_image, logits_per_image.T, image_embeds, text_embeds)

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, D), not normalised."""
        return self.vision_model(pixel_values)

    def encode_text(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """(M, T) -> (M, D), not normalised."""
        return self.text_projection(self.text_model(input_ids, attention_mask, token_type_ids)[:, 0])

    def __init__(self, config: ALIGNConfig):
        super().__init__()
        if config.projection_dim != config.vision.width:
            raise InputError(
                f"projection_dim is {config.projection_dim} and the vision encoder's width {config.vision.width}; "
                "they should be the same, for the picture is not projected"
            )
        self.config = config
        self.vision_model = EfficientNet(config.vision)
        self.text_model = BERT(config.text)
        self.text_projection = nn.Linear(config.text.width, config.projection_dim)
        self.temperature = nn.Parameter(torch.tensor(float(config.temperature_init)))
        nn.init.xavier_uniform_(self.text_projection.weight)
        nn.init.zeros_(self.text_projection.bias)

    @classmethod
    def from_weights(cls, config: dict, state: dict[str, Tensor], source: str | Path = "the state dict") -> "ALIGN":
        """An ALIGN of a configuration as `ALIGNConfig.to_dict` gives it, with these weights, in evaluation mode.

        Raises:
            FileError: the weights do not fit the configuration.
        """
        return filled(lambda: cls(ALIGNConfig.from_dict(config)), dict(state), source)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> "ALIGN":
        """A published ALIGN in evaluation mode: a folder or a Hub id ("kakaobrain/align-base").

        Raises:
            OfflineError, FileError, InputError: as `CLIP.from_pretrained`, whose arguments these are.
        """
        config, state = published.load(source)
        return filled(lambda: cls(ALIGNConfig.from_dict(config)), state, source, dtype, device)
