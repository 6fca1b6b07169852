"""T5: an encoder and a decoder that know positions only as distances, trained to fill in spans that were cut out.

Source: Raffel et al., Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer, section 2.1.
With the weights of transformers' T5ForConditionalGeneration it gives that model's logits (`course parity`).
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.layers.attention import CrossAttention, MultiHeadAttention, causal_mask, padding_mask
from course_lib.layers.cache import KeyValueCache, LayerCache
from course_lib.layers.checks import check_input_ids
from course_lib.layers.mlp import MLP, GatedMLP
from course_lib.layers.norms import RMSNorm
from course_lib.layers.positions import RelativePositionBias
from course_lib.pretrained import t5 as published
from course_lib.pretrained.weights import filled


@dataclass(frozen=True)
class T5Config:
    """Sizes of a `T5`; the defaults are those of the first T5's small one.

    T5 1.1 and Flan-T5 have a gated feed-forward ("gelu_new", `gated`) and logits from a layer of their own, so that
    neither `tie_embeddings` nor `scale_outputs` holds.
    """

    vocab_size: int = 32128
    width: int = 512
    head_width: int = 64
    mlp_width: int = 2048
    layers: int = 6
    decoder_layers: int = 6
    heads: int = 8
    activation: str = "relu"
    gated: bool = False
    relative_buckets: int = 32
    relative_max_distance: int = 128
    rms_norm_eps: float = 1e-6
    dropout: float = 0.1
    tie_embeddings: bool = True
    scale_outputs: bool = True
    decoder_start_token_id: int = 0

    def to_dict(self) -> dict:
        """The configuration as JSON can hold it; `from_dict` makes it again."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "T5Config":
        """The configuration that `to_dict` wrote."""
        return cls(**values)


class T5EncoderBlock(nn.Module):
    """Normalise, mix positions by content and distance, add; normalise, transform each position, add."""

    def forward(self, hidden_states: Tensor, bias: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D); `bias` (B or 1, heads, T, T) is added to the scores."""
        hidden_states = hidden_states + self.dropout(self.attention(self.norm1(hidden_states), bias))
        return hidden_states + self.dropout(self.mlp(self.norm2(hidden_states)))

    def __init__(self, config: T5Config):
        super().__init__()
        self.norm1 = RMSNorm(config.width, config.rms_norm_eps)
        self.attention = MultiHeadAttention(config.width, config.heads, *_attention_details(config))
        self.norm2 = RMSNorm(config.width, config.rms_norm_eps)
        self.mlp = _feed_forward(config)
        self.dropout = nn.Dropout(config.dropout)


class T5DecoderBlock(nn.Module):
    """The encoder's block with cross-attention between the two halves."""

    def forward(
        self,
        hidden_states: Tensor,
        context: Tensor,
        bias: Tensor,
        context_mask: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """(B, T, D), asking the encoder's (B, S, D) -> (B, T, D)."""
        mixed = self.attention(self.norm1(hidden_states), bias, cache=cache)
        hidden_states = hidden_states + self.dropout(mixed)
        fetched = self.cross_attention(self.norm2(hidden_states), context, context_mask, cache)
        hidden_states = hidden_states + self.dropout(fetched)
        return hidden_states + self.dropout(self.mlp(self.norm3(hidden_states)))

    def __init__(self, config: T5Config):
        super().__init__()
        details = _attention_details(config)
        self.norm1 = RMSNorm(config.width, config.rms_norm_eps)
        self.attention = MultiHeadAttention(config.width, config.heads, *details)
        self.norm2 = RMSNorm(config.width, config.rms_norm_eps)
        self.cross_attention = CrossAttention(config.width, config.heads, config.width, *details)
        self.norm3 = RMSNorm(config.width, config.rms_norm_eps)
        self.mlp = _feed_forward(config)
        self.dropout = nn.Dropout(config.dropout)


class T5(nn.Module):
    """One embedding table for both sides, two stacks, and one table of distances for each.

    Args:
        config: the sizes.
    """

    def forward(
        self,
        input_ids: Tensor,
        decoder_input_ids: Tensor,
        attention_mask: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
    ) -> Tensor:
        """What may come next in each answer, after each of its tokens.

        Args:
            input_ids: (B, S), the text that is given.
            decoder_input_ids: (B, T), the answer, beginning with `config.decoder_start_token_id`.
            attention_mask: (B, S), 0 at padding.
            decoder_attention_mask: (B, T), 0 at padding.

        Returns:
            logits (B, T, V).

        Raises:
            InputError: wrong shapes, types or ids.
        """
        encoder_states = self.encode(input_ids, attention_mask)
        return self.decode(decoder_input_ids, encoder_states, attention_mask, decoder_attention_mask)

    def encode(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(B, S) -> hidden states (B, S, D)."""
        check_input_ids(input_ids, self.config.vocab_size, None, attention_mask)
        hidden_states, length = self.dropout(self.token_embedding(input_ids)), input_ids.shape[1]
        bias = _hide(self.encoder_bias(length, length), padding_mask(attention_mask))
        for block in self.encoder:
            hidden_states = block(hidden_states, bias)
        return self.dropout(self.encoder_norm(hidden_states))

    def decode(
        self,
        decoder_input_ids: Tensor,
        encoder_states: Tensor,
        attention_mask: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """(B, T) and what `encode` gave -> logits (B, T, V); with a cache, T more after those it holds."""
        earlier, length = 0 if cache is None else cache.length, decoder_input_ids.shape[-1]
        check_input_ids(decoder_input_ids, self.config.vocab_size, None, decoder_attention_mask, earlier)
        hidden_states = self.dropout(self.token_embedding(decoder_input_ids))
        mask = padding_mask(decoder_attention_mask, causal=True, queries=length)
        if mask is None and length > 1:
            mask = causal_mask(length, earlier + length, hidden_states.device)
        bias = _hide(self.decoder_bias(length, earlier + length), mask)
        context_mask = padding_mask(attention_mask, queries=1)
        for number, block in enumerate(self.decoder):
            kept = None if cache is None else cache[number]
            hidden_states = block(hidden_states, encoder_states, bias, context_mask, kept)
        hidden_states = self.dropout(self.decoder_norm(hidden_states))
        if self.config.scale_outputs:
            hidden_states = hidden_states * self.config.width**-0.5
        return F.linear(hidden_states, self.token_embedding.weight if self.head is None else self.head.weight)

    def __init__(self, config: T5Config):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        distances = config.heads, config.relative_buckets, config.relative_max_distance
        self.encoder_bias = RelativePositionBias(*distances, bidirectional=True)
        self.encoder = nn.ModuleList(T5EncoderBlock(config) for _ in range(config.layers))
        self.encoder_norm = RMSNorm(config.width, config.rms_norm_eps)
        self.decoder_bias = RelativePositionBias(*distances, bidirectional=False)
        self.decoder = nn.ModuleList(T5DecoderBlock(config) for _ in range(config.decoder_layers))
        self.decoder_norm = RMSNorm(config.width, config.rms_norm_eps)
        self.head = None if config.tie_embeddings else nn.Linear(config.width, config.vocab_size, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.initialise()

    def initialise(self) -> None:
        """T5's initial weights: scores are not divided by √d, so what makes queries is that much smaller instead."""
        width, inner = self.config.width, self.config.heads * self.config.head_width
        nn.init.normal_(self.token_embedding.weight)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
            elif isinstance(module, RelativePositionBias):
                nn.init.normal_(module.embedding.weight, std=width**-0.5)
        for module in self.modules():
            if isinstance(module, MultiHeadAttention):
                nn.init.normal_(module.qkv.weight[:inner], std=(width * self.config.head_width) ** -0.5)
            elif isinstance(module, CrossAttention):
                nn.init.normal_(module.query.weight, std=(width * self.config.head_width) ** -0.5)

    @classmethod
    def from_weights(cls, config: dict, state: dict[str, Tensor], source: str | Path = "the state dict") -> "T5":
        """A T5 of a configuration as `T5Config.to_dict` gives it, with these weights, in evaluation mode.

        Raises:
            FileError: the weights do not fit the configuration.
        """
        return filled(lambda: cls(T5Config.from_dict(config)), dict(state), source)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> "T5":
        """A published T5 in evaluation mode: a folder or a Hub id ("google-t5/t5-small", "google/flan-t5-small").

        Raises:
            OfflineError, FileError, InputError: as `CLIP.from_pretrained`, whose arguments these are.
        """
        config, state = published.load(source)
        return filled(lambda: cls(T5Config.from_dict(config)), state, source, dtype, device)


def _attention_details(config: T5Config) -> tuple:
    """Dropout, bias, head width and scale of T5's attention: no bias, and scores as they are."""
    return config.dropout, False, config.head_width, 1.0


def _feed_forward(config: T5Config) -> nn.Module:
    kind = GatedMLP if config.gated else MLP
    return kind(config.width, config.mlp_width, config.activation, bias=False)


def _hide(bias: Tensor, mask: Tensor | None) -> Tensor:
    """The bias, and where the mask is false the lowest number there is, so that the softmax gives nothing there."""
    return bias if mask is None else bias.masked_fill(~mask, torch.finfo(bias.dtype).min)
