"""Multi-head attention."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.errors import InputError


class MultiHeadAttention(nn.Module):
    """Self-attention: every position asks every position it may see, several times in parallel.

    One product makes queries, keys and values together: three small ones would keep the processor less busy.

    Args:
        width: D, the size of a hidden state.
        heads: number of heads; each has D / heads dimensions.
        dropout: share of attention weights dropped in training.

    Source: Vaswani et al., Attention Is All You Need, section 3.2.
    """

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        is_causal: bool = False,
        read: Tensor | int | None = None,
    ) -> Tensor:
        """Mixes the positions of a sequence.

        Args:
            hidden_states: (B, T, D).
            attention_mask: None, or boolean (B, 1, T, T), true where a query (row) may look at a key (column).
            is_causal: each position sees itself and those before it; with no `attention_mask`.
            read: None for all positions; or the one that will be read, in all sequences (int) or in each (B).

        Returns:
            (B, T, D); (B, D) with `read`.
        """
        query, key, value = self.project(hidden_states)
        if read is not None:
            return self.out(self.ask_once(query, key, value, attention_mask, is_causal, read))
        mixed = F.scaled_dot_product_attention(
            query, key, value, attention_mask, self.dropout if self.training else 0.0, is_causal
        )
        return self.out(mixed.transpose(1, 2).flatten(2))

    def __init__(self, width: int, heads: int, dropout: float = 0.0):
        super().__init__()
        if width % heads:
            raise InputError(f"a width of {width} does not divide among {heads} heads; choose a multiple of {heads}")
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def project(self, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, heads, T, D / heads), of hidden states (B, T, D)."""
        batch, length, width = hidden_states.shape
        qkv = self.qkv(hidden_states).view(batch, length, 3, self.heads, width // self.heads)
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)

    def ask_once(self, query, key, value, attention_mask, is_causal: bool, read: Tensor | int) -> Tensor:
        """(B, D): what one position of each sequence is answered; the others do not ask."""
        if is_causal:
            length = key.shape[2]
            last = torch.as_tensor(read, device=key.device).remainder(length).view(-1, 1, 1, 1)
            attention_mask = torch.arange(length, device=key.device) <= last
        elif attention_mask is not None:
            attention_mask = pick(attention_mask.transpose(1, 2), read).unsqueeze(2)
        query = pick(query.transpose(1, 2), read).unsqueeze(2)
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(query, key, value, attention_mask, dropout).flatten(1)

    def weights(self, hidden_states: Tensor, attention_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """The attention weights (B, heads, T, T) behind `forward`, rows summing to 1: to look at, not to train with."""
        query, key, _ = self.project(hidden_states)
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        if is_causal:
            attention_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        if attention_mask is not None:
            scores = scores.masked_fill(~attention_mask, float("-inf"))
        return scores.softmax(-1)


def pick(sequence: Tensor, read: Tensor | int | None) -> Tensor:
    """The position that is read: (B, T, ...) -> (B, ...), at one place in all (int) or in each (B); None picks all."""
    if read is None:
        return sequence
    if isinstance(read, int):
        return sequence[:, read]
    return sequence[torch.arange(len(sequence), device=sequence.device), read]


def padding_mask(attention_mask: Tensor | None, causal: bool = False) -> Tensor | None:
    """What `MultiHeadAttention` wants of a tokenizer's mask.

    Args:
        attention_mask: (B, T), not 0 where there is a token and 0 where there is padding; or None.
        causal: whether a position is also kept from those after it.

    Returns:
        boolean (B, 1, T, T); None where nothing is padded, so that the fast path without a mask is taken.
    """
    if attention_mask is None or attention_mask.all():
        return None
    length = attention_mask.shape[1]
    allowed = attention_mask.bool()[:, None, None, :].expand(-1, 1, length, -1)
    if causal:
        allowed = allowed & torch.ones(length, length, dtype=torch.bool, device=allowed.device).tril()
    return allowed
