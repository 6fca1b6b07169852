"""Transformer blocks and stacks of them."""

from collections.abc import Callable

from torch import Tensor, nn

from course_lib.layers.attention import CrossAttention, MultiHeadAttention, pick
from course_lib.layers.cache import KeyValueCache, LayerCache
from course_lib.layers.mlp import MLP


def drop(dropout: nn.Dropout, states: Tensor) -> Tensor:
    """`dropout(states)`; not called in evaluation, for where one token is written at a time, idle calls take time."""
    return dropout(states) if dropout.training else states


class PreNormBlock(nn.Module):
    """Normalise, mix positions, add; normalise, transform each position, add.

    The residual stream itself is never normalised, which is why deep stacks of these train without a long warm-up.

    Args:
        width: D.
        heads: number of attention heads.
        mlp_width: hidden width of the MLP.
        activation: its activation.
        layer_norm_eps: added to the variance.
        attention_dropout: share of attention weights dropped in training.
        dropout: share of each branch's output dropped in training.

    Source: Xiong et al., On Layer Normalization in the Transformer Architecture, figure 1b.
    """

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        is_causal: bool = False,
        read: Tensor | int | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """(B, T, D) -> (B, T, D), or (B, D) with `read`; arguments as in `MultiHeadAttention`."""
        mixed = self.attention(self.norm1(hidden_states), attention_mask, is_causal, read, cache)
        hidden_states = pick(hidden_states, read) + drop(self.dropout, mixed)
        return hidden_states + drop(self.dropout, self.mlp(self.norm2(hidden_states)))

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_width: int,
        activation: str = "gelu",
        layer_norm_eps: float = 1e-5,
        attention_dropout: float = 0.0,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, layer_norm_eps)
        self.attention = MultiHeadAttention(width, heads, attention_dropout)
        self.norm2 = nn.LayerNorm(width, layer_norm_eps)
        self.mlp = MLP(width, mlp_width, activation)
        self.dropout = nn.Dropout(dropout)


class PostNormBlock(nn.Module):
    """Mix positions, add, normalise; transform each position, add, normalise: the original order, and BERT's.

    Args:
        width: D.
        heads: number of attention heads.
        mlp_width: hidden width of the MLP.
        activation: its activation.
        layer_norm_eps: added to the variance.
        dropout: share of each branch's output dropped in training.
        attention_dropout: share of attention weights dropped in training.

    Source: Vaswani et al., Attention Is All You Need, section 3.1; Devlin et al., BERT, section 3.
    """

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        is_causal: bool = False,
        read: Tensor | int | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """(B, T, D) -> (B, T, D), or (B, D) with `read`; arguments as in `MultiHeadAttention`."""
        mixed = drop(self.dropout, self.attention(hidden_states, attention_mask, is_causal, read, cache))
        hidden_states = self.norm1(pick(hidden_states, read) + mixed)
        return self.norm2(hidden_states + drop(self.dropout, self.mlp(hidden_states)))

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_width: int,
        activation: str = "gelu",
        layer_norm_eps: float = 1e-12,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
    ):
        super().__init__()
        self.attention = MultiHeadAttention(width, heads, attention_dropout)
        self.norm1 = nn.LayerNorm(width, layer_norm_eps)
        self.mlp = MLP(width, mlp_width, activation)
        self.norm2 = nn.LayerNorm(width, layer_norm_eps)
        self.dropout = nn.Dropout(dropout)


class PreNormDecoderBlock(nn.Module):
    """Mix the positions so far, ask the context, transform each position; each after a normalisation, each added.

    Args:
        width: D.
        heads: number of attention heads, of both attentions.
        mlp_width: hidden width of the MLP.
        activation: its activation.
        layer_norm_eps: added to the variance.
        dropout: share of each branch's output dropped in training.
        attention_dropout: share of attention weights dropped in training.
        context_width: C, the size of a context state; None for D.

    Source: Vaswani et al., Attention Is All You Need, section 3.1, with the norms moved as Xiong et al. do.
    """

    def forward(
        self,
        hidden_states: Tensor,
        context: Tensor,
        attention_mask: Tensor | None = None,
        context_mask: Tensor | None = None,
        is_causal: bool = True,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """One block of a decoder.

        Args:
            hidden_states: (B, T, D).
            context: (B, S, C), the encoder's hidden states.
            attention_mask: among the T positions, as in `MultiHeadAttention`; then `is_causal` has to be False.
            context_mask: boolean (B, 1, 1 or T, S), true where a position may look at a context state.
            is_causal: each position sees itself and those before it.
            cache: keys and values of the positions before these, and of the context.

        Returns:
            (B, T, D).
        """
        mixed = self.attention(self.norm1(hidden_states), attention_mask, is_causal, None, cache)
        hidden_states = hidden_states + drop(self.dropout, mixed)
        fetched = self.cross_attention(self.norm2(hidden_states), context, context_mask, cache)
        hidden_states = hidden_states + drop(self.dropout, fetched)
        return hidden_states + drop(self.dropout, self.mlp(self.norm3(hidden_states)))

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_width: int,
        activation: str = "gelu",
        layer_norm_eps: float = 1e-5,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        context_width: int | None = None,
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, layer_norm_eps)
        self.attention = MultiHeadAttention(width, heads, attention_dropout)
        self.norm2 = nn.LayerNorm(width, layer_norm_eps)
        self.cross_attention = CrossAttention(width, heads, context_width, attention_dropout)
        self.norm3 = nn.LayerNorm(width, layer_norm_eps)
        self.mlp = MLP(width, mlp_width, activation)
        self.dropout = nn.Dropout(dropout)


class PostNormDecoderBlock(nn.Module):
    """Mix the positions so far, ask the context, transform each position; each added, and the sum normalised.

    Args:
        width, heads, mlp_width, activation, layer_norm_eps, dropout, attention_dropout, context_width: as in
            `PreNormDecoderBlock`.

    Source: Vaswani et al., Attention Is All You Need, section 3.1 and figure 1, on the right; BART's too.
    """

    def forward(
        self,
        hidden_states: Tensor,
        context: Tensor,
        attention_mask: Tensor | None = None,
        context_mask: Tensor | None = None,
        is_causal: bool = True,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """(B, T, D), asking (B, S, C) -> (B, T, D); arguments as in `PreNormDecoderBlock`."""
        mixed = self.attention(hidden_states, attention_mask, is_causal, None, cache)
        hidden_states = self.norm1(hidden_states + drop(self.dropout, mixed))
        fetched = self.cross_attention(hidden_states, context, context_mask, cache)
        hidden_states = self.norm2(hidden_states + drop(self.dropout, fetched))
        return self.norm3(hidden_states + drop(self.dropout, self.mlp(hidden_states)))

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_width: int,
        activation: str = "gelu",
        layer_norm_eps: float = 1e-5,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        context_width: int | None = None,
    ):
        super().__init__()
        self.attention = MultiHeadAttention(width, heads, attention_dropout)
        self.norm1 = nn.LayerNorm(width, layer_norm_eps)
        self.cross_attention = CrossAttention(width, heads, context_width, attention_dropout)
        self.norm2 = nn.LayerNorm(width, layer_norm_eps)
        self.mlp = MLP(width, mlp_width, activation)
        self.norm3 = nn.LayerNorm(width, layer_norm_eps)
        self.dropout = nn.Dropout(dropout)


class Transformer(nn.Module):
    """Blocks one after the other, all with the same masks.

    Args:
        block: makes one block; called `layers` times: `Transformer(lambda: PreNormBlock(64, 4, 256), 6)`.
        layers: how many.
    """

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        is_causal: bool = False,
        read: Tensor | int | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """(B, T, D) -> (B, T, D), or (B, D) with `read`; arguments as in `MultiHeadAttention`.

        What is read is one position, so the last block computes only that one: the same numbers, a block's MLP saved.
        """
        last = len(self.blocks) - 1
        for number, block in enumerate(self.blocks):
            kept = None if cache is None else cache[number]
            hidden_states = block(hidden_states, attention_mask, is_causal, read if number == last else None, kept)
        return hidden_states

    def __init__(self, block: Callable[[], nn.Module], layers: int):
        super().__init__()
        self.blocks = nn.ModuleList(block() for _ in range(layers))


class TransformerDecoder(nn.Module):
    """Decoder blocks one after the other, all with the same context and masks.

    Args:
        block: makes one block; called `layers` times: `TransformerDecoder(lambda: PreNormDecoderBlock(64, 4, 256), 6)`.
        layers: how many.
    """

    def forward(
        self,
        hidden_states: Tensor,
        context: Tensor,
        attention_mask: Tensor | None = None,
        context_mask: Tensor | None = None,
        is_causal: bool = True,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """(B, T, D), asking (B, S, C) -> (B, T, D); arguments as in `PreNormDecoderBlock`."""
        for number, block in enumerate(self.blocks):
            kept = None if cache is None else cache[number]
            hidden_states = block(hidden_states, context, attention_mask, context_mask, is_causal, kept)
        return hidden_states

    def __init__(self, block: Callable[[], nn.Module], layers: int):
        super().__init__()
        self.blocks = nn.ModuleList(block() for _ in range(layers))
