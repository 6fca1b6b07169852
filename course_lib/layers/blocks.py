"""Transformer blocks and stacks of them."""

from collections.abc import Callable

from torch import Tensor, nn

from course_lib.layers.attention import MultiHeadAttention, pick
from course_lib.layers.mlp import MLP


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

    Source: Xiong et al., On Layer Normalization in the Transformer Architecture, figure 1b.
    """

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        is_causal: bool = False,
        read: Tensor | int | None = None,
    ) -> Tensor:
        """(B, T, D) -> (B, T, D), or (B, D) with `read`; arguments as in `MultiHeadAttention`."""
        mixed = self.attention(self.norm1(hidden_states), attention_mask, is_causal, read)
        hidden_states = pick(hidden_states, read) + mixed
        return hidden_states + self.mlp(self.norm2(hidden_states))

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_width: int,
        activation: str = "gelu",
        layer_norm_eps: float = 1e-5,
        attention_dropout: float = 0.0,
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, layer_norm_eps)
        self.attention = MultiHeadAttention(width, heads, attention_dropout)
        self.norm2 = nn.LayerNorm(width, layer_norm_eps)
        self.mlp = MLP(width, mlp_width, activation)


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
    ) -> Tensor:
        """(B, T, D) -> (B, T, D), or (B, D) with `read`; arguments as in `MultiHeadAttention`."""
        mixed = self.dropout(self.attention(hidden_states, attention_mask, is_causal, read))
        hidden_states = self.norm1(pick(hidden_states, read) + mixed)
        return self.norm2(hidden_states + self.dropout(self.mlp(hidden_states)))

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
    ) -> Tensor:
        """(B, T, D) -> (B, T, D), or (B, D) with `read`; arguments as in `MultiHeadAttention`.

        What is read is one position, so the last block computes only that one: the same numbers, a block's MLP saved.
        """
        for block in self.blocks[:-1]:
            hidden_states = block(hidden_states, attention_mask, is_causal)
        return self.blocks[-1](hidden_states, attention_mask, is_causal, read)

    def __init__(self, block: Callable[[], nn.Module], layers: int):
        super().__init__()
        self.blocks = nn.ModuleList(block() for _ in range(layers))
