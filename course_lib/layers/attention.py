"""Attention: one sequence asks itself, or another one, what matters to it."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.layers.cache import LayerCache
from course_lib.layers.positions import rotate


def dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None, is_causal: bool = False
) -> tuple[Tensor, Tensor]:
    """Attention as the formula has it, softmax(q kᵀ / √d) v: to read and to look at.

    The layers below compute the same with `torch.nn.functional.scaled_dot_product_attention`, which never keeps the
    (T, S) weights.

    Args:
        query: (..., T, d): what each of T positions asks.
        key: (..., S, d): what each of S positions offers.
        value: (..., S, e): what it answers.
        attention_mask: boolean, (..., T, S) or what broadcasts to it, true where a query may look at a key.
        is_causal: the queries are the last T of the S positions, and each sees itself and those before it.

    Returns:
        (mixed (..., T, e), weights (..., T, S), whose rows sum to 1). A query that may look at nothing gets nan.

    Raises:
        InputError: shapes that do not go together, or a mask that is not boolean.

    Source: Vaswani et al., Attention Is All You Need, equation 1.
    """
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise InputError(
            f"query {tuple(query.shape)}, key {tuple(key.shape)} and value {tuple(value.shape)} do not go together: "
            "they should be (..., T, d), (..., S, d) and (..., S, e)"
        )
    if attention_mask is not None and attention_mask.dtype != torch.bool:
        raise InputError(
            f"attention_mask is {attention_mask.dtype}; it should be boolean, true where a query may look at a key"
        )
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    if is_causal:
        scores = scores.masked_fill(~causal_mask(*scores.shape[-2:], device=scores.device), float("-inf"))
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, float("-inf"))
    weights = scores.softmax(-1)
    return weights @ value, weights


class MultiHeadAttention(nn.Module):
    """Self-attention: every position asks every position it may see, several times in parallel.

    One product makes queries, keys and values together: three small ones would keep the processor less busy.

    Args:
        width: D, the size of a hidden state.
        heads: number of heads; each has D / heads dimensions.
        dropout: share of attention weights dropped in training.
        bias: whether the four linear maps have one.
        head_width: dimensions of a head, where they are not D / heads.
        scale: what scores are multiplied by, where it is not 1/√(dimensions of a head).

    Raises:
        InputError: the width does not divide among the heads.

    Source: Vaswani et al., Attention Is All You Need, section 3.2.
    """

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        is_causal: bool = False,
        read: Tensor | int | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Mixes the positions of a sequence.

        Args:
            hidden_states: (B, T, D).
            attention_mask: None, or boolean (B, 1, T, S), true where a query (row) may look at a key (column), or a
                number added to each score. S is T, or with a `cache` that many more.
            is_causal: each position sees itself and those before it; with no `attention_mask`.
            read: None for all positions; or the one that will be read, in all sequences (int) or in each (B).
            cache: keys and values of the positions before these, to which those of these are added.

        Returns:
            (B, T, D); (B, D) with `read`.
        """
        query, key, value = self.project(hidden_states)
        if cache is not None:
            key, value = cache.append(key, value)
        if read is not None:  # the others do not ask
            return self.out(self.ask_once(query, key, value, attention_mask, is_causal, read))
        dropout = self.dropout if self.training else 0.0
        return self.out(attend(query, key, value, attention_mask, is_causal, dropout, self.scale))

    def __init__(
        self,
        width: int,
        heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        head_width: int | None = None,
        scale: float | None = None,
    ):
        super().__init__()
        self.heads, self.dropout, self.scale = heads, dropout, scale
        inner = heads * (head_width or divide(width, heads))
        self.qkv = nn.Linear(width, 3 * inner, bias=bias)
        self.out = nn.Linear(inner, width, bias=bias)
        nn.init.xavier_uniform_(self.qkv.weight)
        if bias:
            nn.init.zeros_(self.qkv.bias)
            nn.init.zeros_(self.out.bias)

    def project(self, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, heads, T, d), of hidden states (B, T, D)."""
        batch, length, _ = hidden_states.shape
        qkv = self.qkv(hidden_states).view(batch, length, 3, self.heads, -1)
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)

    def ask_once(self, query, key, value, attention_mask, is_causal: bool, read: Tensor | int) -> Tensor:
        """(B, heads · d): what one position of each sequence is answered; the others do not ask."""
        length, positions = query.shape[2], key.shape[2]
        # Whoever reads the last position sees all the others, and needs no mask.
        if is_causal and not (isinstance(read, int) and read in (-1, length - 1)):
            last = torch.as_tensor(read, device=key.device).remainder(length).view(-1, 1, 1, 1) + positions - length
            attention_mask = torch.arange(positions, device=key.device) <= last
        elif attention_mask is not None:
            attention_mask = pick(attention_mask.transpose(1, 2), read).unsqueeze(2)
        query = pick(query.transpose(1, 2), read).unsqueeze(2)
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(query, key, value, attention_mask, dropout, scale=self.scale).flatten(1)

    def weights(self, hidden_states: Tensor, attention_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """The attention weights (B, heads, T, T) behind `forward`, rows summing to 1: to look at, not to train with."""
        query, key, value = self.project(hidden_states)
        return dot_product_attention(query, key, value, attention_mask, is_causal)[1]


class CrossAttention(nn.Module):
    """Every position of one sequence asks every position of another, its context.

    Args:
        width: D, the size of a hidden state, which asks.
        heads: number of heads; each has D / heads dimensions.
        context_width: C, the size of a context state, which answers; None for D.
        dropout: share of attention weights dropped in training.
        bias: whether the linear maps have one.
        head_width: dimensions of a head, where they are not D / heads.
        scale: what scores are multiplied by, where it is not 1/√(dimensions of a head).

    Raises:
        InputError: the width does not divide among the heads.

    Source: Vaswani et al., Attention Is All You Need, section 3.2.3 ("encoder-decoder attention").
    """

    def forward(
        self,
        hidden_states: Tensor,
        context: Tensor,
        attention_mask: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Fetches from the context what each position asks for.

        Args:
            hidden_states: (B, T, D).
            context: (B, S, C).
            attention_mask: None, or boolean (B, 1, T, S) or (B, 1, 1, S), true where a position may look at a context
                state; or a number added to each score.
            cache: keeps the context's keys and values, so that later steps need not compute them again.

        Returns:
            (B, T, D).

        Raises:
            InputError: the context is of another width or batch.
        """
        query = self.split(self.query(hidden_states))
        if cache is None or cache.context is None:
            key, value = self.project(context)
            if cache is not None:
                cache.context = key, value
        else:
            key, value = cache.context
        dropout = self.dropout if self.training else 0.0
        return self.out(attend(query, key, value, attention_mask, False, dropout, self.scale))

    def __init__(
        self,
        width: int,
        heads: int,
        context_width: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
        head_width: int | None = None,
        scale: float | None = None,
    ):
        super().__init__()
        self.heads, self.dropout, self.scale = heads, dropout, scale
        self.context_width = context_width or width
        inner = heads * (head_width or divide(width, heads))
        self.query = nn.Linear(width, inner, bias=bias)
        self.key_value = nn.Linear(self.context_width, 2 * inner, bias=bias)
        self.out = nn.Linear(inner, width, bias=bias)
        for layer in (self.query, self.key_value):
            nn.init.xavier_uniform_(layer.weight)
        if bias:
            for layer in (self.query, self.key_value, self.out):
                nn.init.zeros_(layer.bias)

    def split(self, states: Tensor) -> Tensor:
        """(B, T, heads · d) -> (B, heads, T, d)."""
        batch, length, _ = states.shape
        return states.view(batch, length, self.heads, -1).transpose(1, 2)

    def project(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """The context's keys and values, each (B, heads, S, d), of (B, S, C)."""
        if context.ndim != 3 or context.shape[-1] != self.context_width:
            raise InputError(f"context has shape {tuple(context.shape)}; this layer takes (B, S, {self.context_width})")
        batch, length, _ = context.shape
        key_value = self.key_value(context).view(batch, length, 2, self.heads, -1)
        return key_value.permute(2, 0, 3, 1, 4).unbind(0)

    def weights(self, hidden_states: Tensor, context: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """The attention weights (B, heads, T, S) behind `forward`, rows summing to 1: to look at."""
        query, (key, value) = self.split(self.query(hidden_states)), self.project(context)
        return dot_product_attention(query, key, value, attention_mask)[1]


class GroupedQueryAttention(nn.Module):
    """Self-attention in which several query heads share one head of keys and values, and positions are rotations.

    A cache then holds `key_value_heads / heads` of what it would. As many key-value heads as heads is multi-head
    attention; a single one is "multi-query" attention.

    Args:
        width: D.
        heads: number of query heads.
        key_value_heads: number of heads of keys and values, a divisor of `heads`.
        head_width: d, an even number; None for D / heads.
        dropout: share of attention weights dropped in training.
        bias: whether the projections to queries, keys and values, and back, have one.

    Raises:
        InputError: heads that do not divide.

    Source: Ainslie et al., GQA, section 2.2; rotations: Su et al., RoFormer, section 3.2.
    """

    def forward(
        self,
        hidden_states: Tensor,
        rotary: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None,
        is_causal: bool = True,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Mixes the positions of a sequence.

        Args:
            hidden_states: (B, T, D).
            rotary: cosines and sines of the positions' angles, what `RotaryEmbedding` gives: (T, d) or (B, 1, T, d).
            attention_mask, is_causal, cache: as in `MultiHeadAttention`.

        Returns:
            (B, T, D).
        """
        query, key, value = self.project(hidden_states, rotary)
        if cache is not None:
            key, value = cache.append(key, value)
        batch, _, length, _ = query.shape
        dropout = self.dropout if self.training else 0.0
        if length == 1:
            # One position asks: the heads that share keys ask as if they were positions, and no key is copied.
            query = query.view(batch, self.key_value_heads, -1, query.shape[-1])
            mixed = F.scaled_dot_product_attention(query, key, value, attention_mask, dropout)
            return self.out(mixed.reshape(batch, 1, -1))
        shared = self.heads // self.key_value_heads
        if shared > 1:
            key, value = key.repeat_interleave(shared, 1), value.repeat_interleave(shared, 1)
        return self.out(attend(query, key, value, attention_mask, is_causal, dropout))

    def __init__(
        self,
        width: int,
        heads: int,
        key_value_heads: int,
        head_width: int | None = None,
        dropout: float = 0.0,
        bias: bool = False,
    ):
        super().__init__()
        if key_value_heads < 1 or heads % key_value_heads:
            raise InputError(f"{heads} heads cannot share {key_value_heads} of keys and values; choose a divisor")
        self.head_width = head_width or divide(width, heads)
        if self.head_width % 2:
            raise InputError(f"a head of {self.head_width} dimensions has no pairs to rotate; choose an even number")
        self.heads, self.key_value_heads, self.dropout = heads, key_value_heads, dropout
        self.qkv = nn.Linear(width, (heads + 2 * key_value_heads) * self.head_width, bias=bias)
        self.out = nn.Linear(heads * self.head_width, width, bias=bias)
        nn.init.xavier_uniform_(self.qkv.weight)
        if bias:
            nn.init.zeros_(self.qkv.bias)
            nn.init.zeros_(self.out.bias)

    def project(self, hidden_states: Tensor, rotary: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries (B, heads, T, d), rotated keys and values (B, key_value_heads, T, d)."""
        batch, length, _ = hidden_states.shape
        qkv = self.qkv(hidden_states).view(batch, length, -1, self.head_width).transpose(1, 2)
        turning, value = qkv.split_with_sizes((self.heads + self.key_value_heads, self.key_value_heads), 1)
        query, key = rotate(turning, *rotary).split_with_sizes((self.heads, self.key_value_heads), 1)
        return query, key, value


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    is_causal: bool = False,
    dropout: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """Attention of all heads, side by side again: (B, heads, T, d) and twice (B, heads, S, d) -> (B, T, heads · d).

    Where there are more keys than queries, the queries are the last T of the S positions; PyTorch's own `is_causal`
    takes them for the first.
    """
    length, positions = query.shape[2], key.shape[2]
    if is_causal and positions > length:
        is_causal = False
        if length > 1:
            attention_mask = causal_mask(length, positions, query.device)
    mixed = F.scaled_dot_product_attention(query, key, value, attention_mask, dropout, is_causal, scale=scale)
    return mixed.transpose(1, 2).flatten(2)


def causal_mask(length: int, positions: int | None = None, device: torch.device | None = None) -> Tensor:
    """Boolean (T, S), true where a query may look at a key: at itself and at what comes before.

    Args:
        length: T, the queries.
        positions: S, the keys, of which the queries are the last; None for T.
    """
    positions = length if positions is None else positions
    return torch.ones(length, positions, dtype=torch.bool, device=device).tril(positions - length)


def divide(width: int, heads: int) -> int:
    """Dimensions of one head.

    Raises:
        InputError: the width does not divide among the heads.
    """
    if width % heads:
        raise InputError(f"a width of {width} does not divide among {heads} heads; choose a multiple of {heads}")
    return width // heads


def pick(sequence: Tensor, read: Tensor | int | None) -> Tensor:
    """The position that is read: (B, T, ...) -> (B, ...), at one place in all (int) or in each (B); None picks all."""
    if read is None:
        return sequence
    if isinstance(read, int):
        return sequence[:, read]
    return sequence[torch.arange(len(sequence), device=sequence.device), read]


def padding_mask(attention_mask: Tensor | None, causal: bool = False, queries: int | None = None) -> Tensor | None:
    """What `MultiHeadAttention` wants of a tokenizer's mask.

    Args:
        attention_mask: (B, S), not 0 where there is a token and 0 where there is padding; or None.
        causal: whether a position is also kept from those after it.
        queries: T, how many of the positions ask, the last ones; None for all S.

    Returns:
        boolean (B, 1, T, S); None where nothing is padded, so that the fast path without a mask is taken.
    """
    if attention_mask is None or attention_mask.all():
        return None
    positions = attention_mask.shape[1]
    queries = positions if queries is None else queries
    allowed = attention_mask.bool()[:, None, None, :].expand(-1, 1, queries, -1)
    if causal and queries > 1:
        allowed = allowed & causal_mask(queries, positions, allowed.device)
    return allowed
