"""BART: the first transformer's encoder and decoder, trained to restore a text that was damaged.

Source: Lewis et al., BART, section 2.
With the weights of transformers' BartForConditionalGeneration it gives that model's logits (`course parity`).
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.layers.attention import padding_mask
from course_lib.layers.blocks import PostNormBlock, PostNormDecoderBlock, Transformer, TransformerDecoder
from course_lib.layers.cache import KeyValueCache
from course_lib.layers.checks import check_input_ids
from course_lib.pretrained import bart as published
from course_lib.pretrained.weights import filled


@dataclass(frozen=True)
class BARTConfig:
    """Sizes of a `BART`; the defaults are those of BART-base."""

    vocab_size: int = 50265
    context_length: int = 1024
    width: int = 768
    layers: int = 6
    decoder_layers: int = 6
    heads: int = 12
    decoder_heads: int = 12
    mlp_width: int = 3072
    decoder_mlp_width: int = 3072
    activation: str = "gelu"
    layer_norm_eps: float = 1e-5
    dropout: float = 0.1
    attention_dropout: float = 0.1
    scale_embedding: bool = False
    decoder_start_token_id: int = 2

    def to_dict(self) -> dict:
        """The configuration as JSON can hold it; `from_dict` makes it again."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "BARTConfig":
        """The configuration that `to_dict` wrote."""
        return cls(**values)


class BARTEmbedding(nn.Module):
    """Tokens and learned positions added, and normalised."""

    def forward(self, token_embeddings: Tensor, earlier: int = 0) -> Tensor:
        """(B, T, D) -> (B, T, D); `earlier` tokens came before these."""
        length = token_embeddings.shape[1]
        return self.dropout(self.norm(token_embeddings + self.position_embedding[earlier : earlier + length]))

    def __init__(self, config: BARTConfig):
        super().__init__()
        self.position_embedding = nn.Parameter(torch.empty(config.context_length, config.width))
        self.norm = nn.LayerNorm(config.width, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.normal_(self.position_embedding, std=0.02)


class BART(nn.Module):
    """An encoder that sees all of the damaged text, a decoder that asks it while it writes, one embedding table.

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
        """What may come next in each answer, after each of its tokens: (B, S) and (B, T) -> logits (B, T, V).

        Args:
            input_ids: (B, S), the text that is given.
            decoder_input_ids: (B, T), the answer, beginning with `config.decoder_start_token_id`.
            attention_mask: (B, S), 0 at padding.
            decoder_attention_mask: (B, T), 0 at padding.

        Raises:
            InputError: wrong shapes, types or ids, or more tokens than positions.
        """
        encoder_states = self.encode(input_ids, attention_mask)
        return self.decode(decoder_input_ids, encoder_states, attention_mask, decoder_attention_mask)

    def encode(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(B, S) -> hidden states (B, S, D)."""
        check_input_ids(input_ids, self.config.vocab_size, self.config.context_length, attention_mask)
        return self.encoder(self.encoder_embedding(self.embed(input_ids)), padding_mask(attention_mask))

    def decode(
        self,
        decoder_input_ids: Tensor,
        encoder_states: Tensor,
        attention_mask: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """(B, T) and what `encode` gave -> logits (B, T, V); with a cache, T more after those it holds."""
        config, earlier = self.config, 0 if cache is None else cache.length
        check_input_ids(decoder_input_ids, config.vocab_size, config.context_length, decoder_attention_mask, earlier)
        hidden_states = self.decoder_embedding(self.embed(decoder_input_ids), earlier)
        mask = padding_mask(decoder_attention_mask, causal=True, queries=decoder_input_ids.shape[1])
        context_mask = padding_mask(attention_mask, queries=1)
        hidden_states = self.decoder(hidden_states, encoder_states, mask, context_mask, mask is None, cache)
        return F.linear(hidden_states, self.token_embedding.weight, self.logit_bias)

    def embed(self, input_ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, D), times √D where the configuration says so."""
        embeddings = self.token_embedding(input_ids)
        return embeddings * self.config.width**0.5 if self.config.scale_embedding else embeddings

    def __init__(self, config: BARTConfig):
        super().__init__()
        self.config = config
        details = config.activation, config.layer_norm_eps, config.dropout, config.attention_dropout
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.encoder_embedding = BARTEmbedding(config)
        self.encoder = Transformer(
            lambda: PostNormBlock(config.width, config.heads, config.mlp_width, *details), config.layers
        )
        self.decoder_embedding = BARTEmbedding(config)
        self.decoder = TransformerDecoder(
            lambda: PostNormDecoderBlock(config.width, config.decoder_heads, config.decoder_mlp_width, *details),
            config.decoder_layers,
        )
        self.register_buffer("logit_bias", torch.zeros(config.vocab_size))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    @classmethod
    def from_weights(cls, config: dict, state: dict[str, Tensor], source: str | Path = "the state dict") -> "BART":
        """A BART of a configuration as `BARTConfig.to_dict` gives it, with these weights, in evaluation mode.

        Raises:
            FileError: the weights do not fit the configuration.
        """
        return filled(lambda: cls(BARTConfig.from_dict(config)), dict(state), source)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> "BART":
        """A published BART in evaluation mode: a folder or a Hub id ("facebook/bart-base").

        Raises:
            OfflineError, FileError, InputError: as `CLIP.from_pretrained`, whose arguments these are.
        """
        config, state = published.load(source)
        return filled(lambda: cls(BARTConfig.from_dict(config)), state, source, dtype, device)
