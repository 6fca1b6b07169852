"""The Transformer: an encoder that sees the whole input, and a decoder that asks it while it writes the answer.

Source: Vaswani et al., Attention Is All You Need, figure 1.
With the weights of a torch.nn.Transformer it gives what that gives (`course parity`).
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.layers.attention import padding_mask
from course_lib.layers.blocks import PostNormBlock, PostNormDecoderBlock, Transformer, TransformerDecoder
from course_lib.layers.cache import KeyValueCache
from course_lib.layers.checks import check_input_ids
from course_lib.layers.positions import sinusoidal_positions


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of an `EncoderDecoder`; the defaults are the paper's base model (section 3, table 3).

    `decoder_start_token_id` is what every answer begins with.
    """

    vocab_size: int = 37000
    context_length: int = 512
    width: int = 512
    layers: int = 6
    decoder_layers: int = 6
    heads: int = 8
    mlp_width: int = 2048
    activation: str = "relu"
    layer_norm_eps: float = 1e-5
    dropout: float = 0.1
    decoder_start_token_id: int = 1

    def __post_init__(self):
        if self.width % 2:
            raise InputError(f"width is {self.width}; sinusoidal positions need an even one")


class PositionalEmbedding(nn.Module):
    """Token vectors times √D, plus the sines and cosines of their positions.

    Source: Vaswani et al., sections 3.4 and 3.5.
    """

    def forward(self, token_embeddings: Tensor, earlier: int = 0) -> Tensor:
        """(B, T, D) -> (B, T, D); `earlier` tokens came before these."""
        length, width = token_embeddings.shape[1:]
        return self.dropout(token_embeddings * width**0.5 + self.positions[earlier : earlier + length])

    def __init__(self, config: TransformerConfig):
        super().__init__()
        positions = sinusoidal_positions(config.context_length, config.width)
        self.register_buffer("positions", positions, persistent=False)
        self.dropout = nn.Dropout(config.dropout)


class EncoderDecoder(nn.Module):
    """Two stacks of post-norm blocks, and one table that turns tokens into vectors and back.

    Args:
        config: the sizes.
    """

    def forward(self, input_ids: Tensor, decoder_input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """What may come next in each answer, after each of its tokens: (B, S) and (B, T) -> logits (B, T, V).

        Args:
            input_ids: (B, S), what is given.
            decoder_input_ids: (B, T), the answer so far, beginning with `config.decoder_start_token_id`. Padding
                behind its end needs no mask: no earlier position sees it.
            attention_mask: (B, S), 0 or False at padding.

        Raises:
            InputError: wrong shapes, types or ids, or more tokens than positions.
        """
        return self.decode(decoder_input_ids, self.encode(input_ids, attention_mask), attention_mask)

    def encode(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(B, S) -> hidden states (B, S, D): each has seen the whole input."""
        check_input_ids(input_ids, self.config.vocab_size, self.config.context_length, attention_mask)
        hidden_states = self.positional_embedding(self.token_embedding(input_ids))
        return self.encoder(hidden_states, padding_mask(attention_mask))

    def decode(
        self,
        decoder_input_ids: Tensor,
        encoder_states: Tensor,
        attention_mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """(B, T) and what `encode` gave -> logits (B, T, V); with a cache, T more after those it holds."""
        earlier = 0 if cache is None else cache.length
        check_input_ids(decoder_input_ids, self.config.vocab_size, self.config.context_length - earlier)
        hidden_states = self.positional_embedding(self.token_embedding(decoder_input_ids), earlier)
        context_mask = padding_mask(attention_mask, queries=1)
        hidden_states = self.decoder(hidden_states, encoder_states, context_mask=context_mask, cache=cache)
        return F.linear(hidden_states, self.token_embedding.weight)

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        sizes = config.width, config.heads, config.mlp_width, config.activation, config.layer_norm_eps
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.positional_embedding = PositionalEmbedding(config)
        self.encoder = Transformer(lambda: PostNormBlock(*sizes, config.dropout, 0.0), config.layers)
        self.decoder = TransformerDecoder(lambda: PostNormDecoderBlock(*sizes, config.dropout), config.decoder_layers)
        # Times √D a token vector then has entries of size 1, like the sines beside it.
        nn.init.normal_(self.token_embedding.weight, std=config.width**-0.5)
