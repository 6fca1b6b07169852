"""Where a token stands: added to it, turned into it, or added to the scores of attention."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.errors import InputError


def sinusoidal_positions(length: int, width: int) -> Tensor:
    """Position vectors made of sines and cosines, from fast to slow: (T, D), to be added to the tokens.

    Column 2i holds sin(t / 10000^(2i/D)) and column 2i + 1 the cosine, so that the vector of position t + k is a
    rotation of that of t, the same for all t.

    Args:
        length: T.
        width: D, an even number.

    Raises:
        InputError: an odd or non-positive width, or a negative length.

    Source: Vaswani et al., Attention Is All You Need, section 3.5.
    """
    if width < 2 or width % 2 or length < 0:
        raise InputError(f"sinusoidal positions need an even width and a length of 0 or more, not {width} and {length}")
    angles = torch.outer(torch.arange(length).float(), frequencies(width, 10_000.0))
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def frequencies(width: int, base: float) -> Tensor:
    """(D / 2), radians by which each pair of dimensions turns from one position to the next: base^(-2i/D)."""
    return 1.0 / base ** (torch.arange(0, width, 2).float() / width)


@dataclass(frozen=True)
class RotaryStretch:
    """How Llama 3.1 and later stretch their positions, to read texts longer than those they were first trained on.

    factor: slow pairs turn this many times slower; original_length: of the first training, in tokens; slow_turns,
    fast_turns: pairs that turn less often than this over that length are slow, and more often fast, which stay as they
    are; those between are blended.
    """

    factor: float
    original_length: int
    slow_turns: float = 1.0
    fast_turns: float = 4.0


def stretched(turns: Tensor, stretch: RotaryStretch) -> Tensor:
    """(D / 2), the radians of `frequencies`, made smaller for the pairs that turn slowly.

    A slow pair tells far places apart, and met only a part of its circle in training: slowed down, longer texts keep
    within that part. A fast pair tells neighbours apart, and has to stay.

    Source: The Llama 3 herd of models, section 3.4.2, and the code published with Llama 3.1.
    """
    over_length = stretch.original_length * turns / (2 * math.pi)
    fast = ((over_length - stretch.slow_turns) / (stretch.fast_turns - stretch.slow_turns)).clamp(0, 1)
    return fast * turns + (1 - fast) * turns / stretch.factor


class RotaryEmbedding(nn.Module):
    """The angles by which queries and keys are turned, pair of dimensions by pair: their product then depends on
    how far apart they are, and not on where.

    Args:
        head_width: d, an even number.
        base: the slowest pair turns by about 1 / base radians from one position to the next.
        stretch: how positions are stretched; not at all if left out.

    Raises:
        InputError: an odd head width.

    Source: Su et al., RoFormer, section 3.2.2; the pairing of dimension i with i + d/2 is Llama's.
    """

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of all angles, ready for `rotate`.

        Args:
            positions: integers (T), or (B, T) where sequences have positions of their own.

        Returns:
            (cos, sin), each (T, d), or (B, 1, T, d): the second dimension is that of the heads. The sine of the first
            coordinate of a pair is negative.
        """
        angles = positions[..., None] * self.frequencies
        if positions.ndim == 2:
            angles = angles.unsqueeze(1)
        return angles.cos(), angles.sin()

    def __init__(self, head_width: int, base: float = 10_000.0, stretch: RotaryStretch | None = None):
        super().__init__()
        if head_width % 2:
            raise InputError(f"a head of {head_width} dimensions has no pairs to rotate; choose an even number")
        # Negative for the first coordinates: the cosine does not mind, and the sine comes with the sign it needs.
        turns = frequencies(head_width, base)
        turns = turns if stretch is None else stretched(turns, stretch)
        self.register_buffer("frequencies", torch.cat([-turns, turns]), persistent=False)


def rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns queries or keys (B, heads, T, d) by the angles of their positions.

    Dimension i and dimension i + d/2 are the two coordinates of a point: (x, y) -> (x cos - y sin, y cos + x sin).

    Args:
        states: (B, heads, T, d).
        cos, sin: what `RotaryEmbedding` gives, (T, d) or (B, 1, T, d); the minus sign is in `sin`.

    Source: Su et al., RoFormer, equation 34.
    """
    swapped = states.roll(states.shape[-1] // 2, -1)  # (x, y) -> (y, x)
    return torch.addcmul(states * cos, swapped, sin)


class RelativePositionBias(nn.Module):
    """A learned number for each head and distance, added to the scores: near distances one by one, far ones together.

    Half of the buckets hold one distance each; the others hold ranges that grow logarithmically, and all from
    `max_distance` on share the last.

    Args:
        heads: number of attention heads.
        buckets: number of learned numbers for each head.
        max_distance: from here on all distances are one.
        bidirectional: whether keys after the query have buckets of their own (an encoder); if not, they share that
            of distance 0, and a mask has to hide them (a decoder).

    Source: Raffel et al., Exploring the Limits of Transfer Learning (T5), section 2.1.
    """

    def forward(self, queries: int, keys: int) -> Tensor:
        """(1, heads, T, S): the bias of T queries, the last ones of S positions, for S keys."""
        device = self.embedding.weight.device
        positions = torch.arange(keys, device=device)
        distance = positions[None, :] - positions[keys - queries :, None]
        return self.embedding(self.bucket(distance)).permute(2, 0, 1).unsqueeze(0)

    def __init__(self, heads: int, buckets: int = 32, max_distance: int = 128, bidirectional: bool = True):
        super().__init__()
        self.buckets, self.max_distance, self.bidirectional = buckets, max_distance, bidirectional
        self.embedding = nn.Embedding(buckets, heads)

    def bucket(self, distance: Tensor) -> Tensor:
        """The bucket (0 to buckets - 1) of each distance, key position minus query position; any shape."""
        buckets = self.buckets
        if self.bidirectional:
            buckets //= 2
            first = (distance > 0) * buckets
            distance = distance.abs()
        else:
            first = 0
            distance = (-distance).clamp(min=0)
        exact = buckets // 2
        growth = torch.log(distance.clamp(min=1).float() / exact) / math.log(self.max_distance / exact)
        far = (exact + (growth * (buckets - exact)).long()).clamp(max=buckets - 1)
        return first + torch.where(distance < exact, distance, far)
