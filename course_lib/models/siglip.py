"""SigLIP: CLIP with a sigmoid for each pair in the place of a softmax over the batch.

Source: Zhai et al., Sigmoid Loss for Language Image Pre-Training, section 3.2.
With the weights of transformers' SiglipModel it gives what that gives (`course parity`).
"""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.layers.attention import padding_mask
from course_lib.layers.blocks import PreNormBlock, Transformer
from course_lib.layers.checks import check_input_ids, check_pixel_values
from course_lib.layers.patches import PatchEmbedding, pair
from course_lib.layers.pooling import AttentionPoolingHead
from course_lib.models.clip import CLIPOutput
from course_lib.pretrained import siglip as published
from course_lib.pretrained.weights import filled


@dataclass(frozen=True)
class SigLIPVisionConfig:
    """Sizes of the image tower; the defaults are SigLIP-B/16's."""

    image_size: int | tuple[int, int] = 224
    patch_size: int | tuple[int, int] = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    activation: str = "gelu_pytorch_tanh"
    layer_norm_eps: float = 1e-6
    attention_dropout: float = 0.0
    channels: int = 3


@dataclass(frozen=True)
class SigLIPTextConfig:
    """Sizes of the text tower; the defaults are SigLIP-B/16's. `projection_dim` has to be the image tower's width."""

    vocab_size: int = 32000
    context_length: int = 64
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    activation: str = "gelu_pytorch_tanh"
    layer_norm_eps: float = 1e-6
    attention_dropout: float = 0.0
    projection_dim: int = 768


@dataclass(frozen=True)
class SigLIPConfig:
    """Two towers; scale and bias start so that all pairs are held for mismatched, as nearly all are (section 3.2)."""

    vision: SigLIPVisionConfig = field(default_factory=SigLIPVisionConfig)
    text: SigLIPTextConfig = field(default_factory=SigLIPTextConfig)
    logit_scale_init: float = math.log(10)
    logit_bias_init: float = -10.0

    def to_dict(self) -> dict:
        """The configuration as JSON can hold it; `from_dict` makes it again."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "SigLIPConfig":
        """The configuration that `to_dict` wrote."""
        towers = {"vision": SigLIPVisionConfig(**values["vision"]), "text": SigLIPTextConfig(**values["text"])}
        return cls(**values | towers)


class SigLIP(nn.Module):
    """Two towers, and an affine map of the cosine similarity: the logit that picture and text belong together."""

    def forward(self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor | None = None) -> CLIPOutput:
        """Compares every picture with every text, each pair by itself: `logits_per_image.sigmoid()` are probabilities.

        Args:
            pixel_values: (N, 3, H, W).
            input_ids: (M, T), padded to the context length as in training: the vector is read at the last place.
            attention_mask: (M, T); the published models were trained without.

        Raises:
            InputError: wrong shapes or ids.
        """
        image_embeds = F.normalize(self.encode_image(pixel_values), dim=-1)
        text_embeds = F.normalize(self.encode_text(input_ids, attention_mask), dim=-1)
        logits_per_image = self.logit_scale.exp() * image_embeds @ text_embeds.T + self.logit_bias
        return CLIPOutput(logits_per_image, logits_per_image.T, image_embeds, text_embeds)

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, D), not normalised."""
        return self.vision_model(pixel_values)

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(M, T) -> (M, D), not normalised."""
        return self.text_model(input_ids, attention_mask)

    def __init__(self, config: SigLIPConfig):
        super().__init__()
        if config.text.projection_dim != config.vision.width:
            raise InputError(
                f"the text tower's projection_dim is {config.text.projection_dim} and the image tower's width "
                f"{config.vision.width}; they should be the same, for the picture is not projected"
            )
        self.config = config
        self.vision_model = SigLIPVision(config.vision)
        self.text_model = SigLIPText(config.text)
        self.logit_scale = nn.Parameter(torch.tensor([float(config.logit_scale_init)]))
        self.logit_bias = nn.Parameter(torch.tensor([float(config.logit_bias_init)]))

    @classmethod
    def from_weights(cls, config: dict, state: dict[str, Tensor], source: str | Path = "the state dict") -> "SigLIP":
        """A SigLIP of a configuration as `SigLIPConfig.to_dict` gives it, with these weights, in evaluation mode.

        Raises:
            FileError: the weights do not fit the configuration.
        """
        return filled(lambda: cls(SigLIPConfig.from_dict(config)), dict(state), source)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> "SigLIP":
        """A published SigLIP in evaluation mode: a folder or a Hub id ("google/siglip-base-patch16-224").

        Raises:
            OfflineError, FileError, InputError: as `CLIP.from_pretrained`, whose arguments these are.
        """
        config, state = published.load(source)
        return filled(lambda: cls(SigLIPConfig.from_dict(config)), state, source, dtype, device)


class SigLIPVision(nn.Module):
    """A ViT without a class token; attention pooling makes the picture's vector."""

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D)."""
        return self.head(self.forward_features(pixel_values))

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, N, D), a normalised hidden state for each patch, row by row."""
        check_pixel_values(pixel_values, self.config.channels, pair(self.config.image_size))
        return self.post_norm(self.transformer(self.patch_embedding(pixel_values) + self.position_embedding))

    def __init__(self, config: SigLIPVisionConfig):
        super().__init__()
        self.config, self.width = config, config.width
        self.patch_embedding = PatchEmbedding(config.channels, config.image_size, config.patch_size, config.width)
        self.grid = self.patch_embedding.grid
        patches = self.grid[0] * self.grid[1]
        self.position_embedding = nn.Parameter(torch.randn(patches, config.width) * config.width**-0.5)
        self.transformer = Transformer(lambda: _block(config), config.layers)
        self.post_norm = nn.LayerNorm(config.width, config.layer_norm_eps)
        self.head = AttentionPoolingHead(
            config.width, config.heads, config.mlp_width, config.activation, config.layer_norm_eps
        )


class SigLIPText(nn.Module):
    """A transformer whose tokens all see each other; the last place, padding or not, makes the text's vector."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(B, T) -> (B, D)."""
        check_input_ids(input_ids, self.config.vocab_size, self.config.context_length, attention_mask)
        hidden_states = self.token_embedding(input_ids) + self.position_embedding[: input_ids.shape[1]]
        return self.head(self.final_norm(self.transformer(hidden_states, padding_mask(attention_mask), read=-1)))

    def __init__(self, config: SigLIPTextConfig):
        super().__init__()
        self.config, self.width = config, config.width
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.position_embedding = nn.Parameter(torch.randn(config.context_length, config.width) * config.width**-0.5)
        self.transformer = Transformer(lambda: _block(config), config.layers)
        self.final_norm = nn.LayerNorm(config.width, config.layer_norm_eps)
        self.head = nn.Linear(config.width, config.projection_dim)
        nn.init.normal_(self.token_embedding.weight, std=config.width**-0.5)


def _block(config: SigLIPVisionConfig | SigLIPTextConfig) -> PreNormBlock:
    block = PreNormBlock(
        config.width, config.heads, config.mlp_width, config.activation, config.layer_norm_eps, config.attention_dropout
    )
    for layer in (block.mlp.fc1, block.mlp.fc2):  # as big_vision, in which SigLIP was trained
        nn.init.xavier_uniform_(layer.weight)
        nn.init.normal_(layer.bias, std=1e-6)
    return block
