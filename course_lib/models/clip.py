"""CLIP: pictures and texts in one space, learned from which text came with which picture.

Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision, figures 1 and 3.
With the weights of transformers' CLIPModel or of an open_clip model it gives what they give (`course parity`).
"""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.encoders.clip_resnet import CLIPResNet, CLIPResNetConfig
from course_lib.encoders.clip_text import CLIPText, CLIPTextConfig
from course_lib.encoders.clip_vit import CLIPViT, CLIPViTConfig
from course_lib.encoders.convnet import ConvNet, ConvNetConfig
from course_lib.pretrained import clip as published
from course_lib.pretrained.weights import filled

VISION = {
    "vit": (CLIPViTConfig, CLIPViT),
    "resnet": (CLIPResNetConfig, CLIPResNet),
    "convnet": (ConvNetConfig, ConvNet),
}


@dataclass(frozen=True)
class CLIPConfig:
    """Two encoders and the space they meet in; the defaults are CLIP's ViT-B/32."""

    vision: CLIPViTConfig | CLIPResNetConfig | ConvNetConfig = field(default_factory=CLIPViTConfig)
    text: CLIPTextConfig = field(default_factory=CLIPTextConfig)
    projection_dim: int = 512
    logit_scale_init: float = math.log(1 / 0.07)
    logit_scale_max: float = math.log(100)

    def to_dict(self) -> dict:
        """The configuration as JSON can hold it; `from_dict` makes it again."""
        encoder = next(name for name, (config, _) in VISION.items() if isinstance(self.vision, config))
        return asdict(self) | {"vision": {"encoder": encoder} | asdict(self.vision)}

    @classmethod
    def from_dict(cls, values: dict) -> "CLIPConfig":
        """The configuration that `to_dict` wrote."""
        vision = {name: tuple(value) if isinstance(value, list) else value for name, value in values["vision"].items()}
        config_class, _ = VISION[vision.pop("encoder")]
        return cls(**values | {"vision": config_class(**vision), "text": CLIPTextConfig(**values["text"])})


@dataclass
class CLIPOutput:
    """What CLIP says of N pictures and M texts.

    logits_per_image (N, M): cosine similarity times the scale; logits_per_text (M, N): the same, transposed;
    image_embeds (N, D) and text_embeds (M, D): of length 1.
    """

    logits_per_image: Tensor
    logits_per_text: Tensor
    image_embeds: Tensor
    text_embeds: Tensor


class CLIP(nn.Module):
    """Two encoders, two linear projections into one space, and a learned scale of the cosine similarity.

    Args:
        config: `vision` may be a CLIPViTConfig or a CLIPResNetConfig, as in the paper, or the course's ConvNetConfig.
    """

    def forward(self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor | None = None) -> CLIPOutput:
        """Compares every picture with every text.

        Args:
            pixel_values: (N, 3, H, W), normalised as in training.
            input_ids: (M, T).
            attention_mask: (M, T), 0 at padding; needed only if padding comes before the end token.

        Raises:
            InputError: wrong shapes or ids.
        """
        image_embeds = F.normalize(self.encode_image(pixel_values), dim=-1)
        text_embeds = F.normalize(self.encode_text(input_ids, attention_mask), dim=-1)
        logits_per_image = self.logit_scale.exp() * image_embeds @ text_embeds.T
        return CLIPOutput(logits_per_image, logits_per_image.T, image_embeds, text_embeds)

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, D), not normalised."""
        return self.visual_projection(self.vision_model(pixel_values))

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(M, T) -> (M, D), not normalised."""
        return self.text_projection(self.text_model(input_ids, attention_mask))

    def __init__(self, config: CLIPConfig):
        super().__init__()
        self.config = config
        vision_class = next(model for kind, model in VISION.values() if isinstance(config.vision, kind))
        self.vision_model = vision_class(config.vision)
        self.text_model = CLIPText(config.text)
        # The paper's ResNets end in an attention layer whose output layer is this projection, and has a bias.
        biased = isinstance(config.vision, CLIPResNetConfig)
        self.visual_projection = nn.Linear(self.vision_model.width, config.projection_dim, bias=biased)
        self.text_projection = nn.Linear(self.text_model.width, config.projection_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init)))
        for projection in (self.visual_projection, self.text_projection):
            nn.init.normal_(projection.weight, std=projection.in_features**-0.5)

    @classmethod
    def from_weights(cls, config: dict, state: dict[str, Tensor], source: str | Path = "the state dict") -> "CLIP":
        """A CLIP of a configuration as `CLIPConfig.to_dict` gives it, with these weights, in evaluation mode.

        `CLIP.from_weights(*pretrained.clip.from_transformers(model.config.to_dict(), model.state_dict()))` copies a
        transformers model; `*pretrained.open_clip.from_open_clip(model_cfg, model.state_dict())` an open_clip one.

        Raises:
            FileError: the weights do not fit the configuration.
        """
        return filled(lambda: cls(CLIPConfig.from_dict(config)), dict(state), source)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> "CLIP":
        """A published CLIP, in evaluation mode.

        Args:
            source: a folder or a Hub id ("openai/clip-vit-base-patch32"), in transformers' or open_clip's format.
            dtype: of its weights; torch.bfloat16 or torch.float16 take half the memory.
            device: where they go, one by one; the CPU if left out.

        Raises:
            OfflineError: it has to be downloaded and there is no network.
            FileError: its files are damaged or incomplete.
            InputError: there is no such checkpoint, or it is of another architecture.
        """
        config, state = published.load(source)
        return filled(lambda: cls(CLIPConfig.from_dict(config)), state, source, dtype, device)

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Keeps the scale at 100 or less; to be called after each optimiser step.

        Without it the scale can grow until the softmax is a step and the gradient noise. Source: CLIP, section 2.5.
        """
        self.logit_scale.clamp_(max=self.config.logit_scale_max)
