"""Fusion: two modalities become one, from a sum of two vectors to sequences that ask each other.

In the order in which they can bind more: two vectors that are put side by side, added, multiplied (`ConcatFusion`,
`SumFusion`, `ProductFusion`); every product of two of their numbers (`CompactBilinear`, `LowRankBilinear`); one vector
that scales and shifts the channels of many (`FiLM`); and sequences whose members ask each other
(`CrossAttentionLayer`, `CoAttentionBlock`, `GatedCrossAttentionBlock`).
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.layers.attention import CrossAttention
from course_lib.layers.blocks import PostNormBlock, drop
from course_lib.layers.mlp import MLP

# ---------------------------------------------------------------- two vectors become one


class ConcatFusion(nn.Module):
    """Both vectors side by side, through one linear layer: W [x; y] + b.

    Args:
        width: D of the first vector.
        other_width: E of the second.
        out_width: O.

    Source: early fusion, Baltrušaitis et al., Multimodal Machine Learning, section 6.1.
    """

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, D) and (B, E) -> (B, O).

        Raises:
            InputError: other widths, or two batches of different size.
        """
        check_pair(x, y, *self.widths)
        return self.linear(torch.cat([x, y], -1))

    def __init__(self, width: int, other_width: int, out_width: int):
        super().__init__()
        self.widths = width, other_width
        self.linear = nn.Linear(width + other_width, out_width)


class SumFusion(nn.Module):
    """Both vectors in one space, added: U x + V y + b. The same functions as `ConcatFusion`, with W = [U V].

    Args:
        width, other_width, out_width: as in `ConcatFusion`.

    Raises, of `forward`: InputError for other widths, or two batches of different size.
    """

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, D) and (B, E) -> (B, O)."""
        check_pair(x, y, *self.widths)
        return self.first(x) + self.second(y)

    def __init__(self, width: int, other_width: int, out_width: int):
        super().__init__()
        self.widths = width, other_width
        self.first = nn.Linear(width, out_width)
        self.second = nn.Linear(other_width, out_width, bias=False)


class ProductFusion(nn.Module):
    """Both vectors in one space, multiplied number by number: (U x + b) ∘ (V y + c).

    Args:
        width, other_width, out_width: as in `ConcatFusion`.

    Raises, of `forward`: InputError for other widths, or two batches of different size.

    Source: Antol et al., VQA, section 4.2.
    """

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, D) and (B, E) -> (B, O)."""
        check_pair(x, y, *self.widths)
        return self.first(x) * self.second(y)

    def __init__(self, width: int, other_width: int, out_width: int):
        super().__init__()
        self.widths = width, other_width
        self.first = nn.Linear(width, out_width)
        self.second = nn.Linear(other_width, out_width)


def late_fusion(logits: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
    """Several models have answered, each alone: the logarithm of the mean of their probabilities.

    Args:
        logits: of each model, (B, C) each.
        weights: how much each counts, above 0; None for all the same.

    Returns:
        (B, C), logarithms of probabilities: they serve as logits.

    Raises:
        InputError: no model, different shapes, or weights that are not one above 0 for each model.

    Source: Kittler et al., On Combining Classifiers, equation 11 (the sum rule).
    """
    logits = list(logits)
    if not logits or any(one.shape != logits[0].shape for one in logits):
        raise InputError(
            f"logits have shapes {[tuple(one.shape) for one in logits]}; give at least one model's, all (B, C)"
        )
    weights = [1.0] * len(logits) if weights is None else list(weights)
    if len(weights) != len(logits) or min(weights) <= 0:
        raise InputError(f"weights are {weights}; they should be {len(logits)} numbers above 0, one for each model")
    share = logits[0].new_tensor(weights) / sum(weights)
    return torch.logsumexp(torch.stack([one.log_softmax(-1) for one in logits], -1) + share.log(), -1)


# ---------------------------------------------------------------- every product of two of their numbers


def count_sketch(x: Tensor, index: Tensor, sign: Tensor, size: int) -> Tensor:
    """Every number of x is given a sign and added to one of M places: (..., D) -> (..., M).

    With random places and signs, the inner product of two sketches is, on average, that of the two vectors.

    Args:
        x: (..., D).
        index: (D), int64, the place of each number, 0 to M - 1.
        sign: (D), +1 or -1.
        size: M.

    Raises:
        InputError: widths that differ, or a place that there is not.

    Source: Charikar et al., Finding Frequent Items in Data Streams, section 3; as used by Pham and Pagh, section 3.1.
    """
    if index.shape != x.shape[-1:] or sign.shape != index.shape:
        raise InputError(
            f"x has width {x.shape[-1]}, index {tuple(index.shape)} and sign {tuple(sign.shape)}; give one place and "
            "one sign for each number of x"
        )
    if len(index) and (int(index.min()) < 0 or int(index.max()) >= size):
        raise InputError(f"index holds {int(index.min())} to {int(index.max())}; places are 0 to {size - 1}")
    return x.new_zeros(*x.shape[:-1], size).index_add(-1, index, x * sign)


def circular_convolution(x: Tensor, y: Tensor) -> Tensor:
    """out[k] = sum over i of x[i] y[(k - i) mod M], by Fourier's way: (..., M) and (..., M) -> (..., M).

    A convolution is a product of spectra, so M log M steps do what would take M².
    """
    if x.shape[-1] != y.shape[-1]:
        raise InputError(f"x has length {x.shape[-1]} and y {y.shape[-1]}; a circular convolution needs one length")
    return torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(y), n=x.shape[-1])


class CompactBilinear(nn.Module):
    """A sketch of all D · E products of two vectors that never makes them: the convolution of both vectors' sketches.

    Places and signs are drawn once and never trained.

    Args:
        width: D of the first vector.
        other_width: E of the second.
        out_width: M, the size of the sketch; the larger, the closer its inner products are to those of the products.
        seed: of the places and signs.

    Source: Gao et al., Compact Bilinear Pooling, algorithm 2; Fukui et al., Multimodal Compact Bilinear Pooling (MCB),
    algorithm 1.
    """

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, D) and (B, E) -> (B, M).

        Raises:
            InputError: other widths, or two batches of different size.
        """
        check_pair(x, y, len(self.sign), len(self.other_sign))
        sketch = count_sketch(x, self.index, self.sign, self.out_width)
        return circular_convolution(sketch, count_sketch(y, self.other_index, self.other_sign, self.out_width))

    def __init__(self, width: int, other_width: int, out_width: int, seed: int = 0):
        super().__init__()
        self.out_width = out_width
        generator = torch.Generator().manual_seed(seed)
        for name, count in (("", width), ("other_", other_width)):
            self.register_buffer(f"{name}index", torch.randint(out_width, (count,), generator=generator))
            self.register_buffer(f"{name}sign", 2.0 * torch.randint(2, (count,), generator=generator) - 1)


class LowRankBilinear(nn.Module):
    """Bilinear forms z_o = xᵀ W_o y whose matrices are sums of K products of two vectors: W_o = Σ_k u_ok v_okᵀ.

    So z = Σ_k (U_k x) ∘ (V_k y): K (D + E) numbers to learn for each output in the place of D · E.

    Args:
        width, other_width, out_width: as in `ConcatFusion`.
        rank: K. With 1 it is the low-rank bilinear pooling of Kim et al. (MLB), with more, Yu et al.'s (MFB).

    Source: Kim et al., Hadamard Product for Low-rank Bilinear Pooling, equation 3; Yu et al., Multi-modal Factorized
    Bilinear Pooling, equation 3.
    """

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, D) and (B, E) -> (B, O).

        Raises:
            InputError: other widths, or two batches of different size.
        """
        check_pair(x, y, *self.widths)
        return (self.first(x) * self.second(y)).unflatten(-1, (-1, self.rank)).sum(-1)

    def __init__(self, width: int, other_width: int, out_width: int, rank: int = 5):
        super().__init__()
        if rank < 1:
            raise InputError(f"rank is {rank}; it should be 1 or more")
        self.widths, self.rank = (width, other_width), rank
        self.first = nn.Linear(width, out_width * rank, bias=False)
        self.second = nn.Linear(other_width, out_width * rank, bias=False)

    def matrices(self) -> Tensor:
        """The forms themselves, W (O, D, E): what `torch.nn.Bilinear` would have for its weight."""
        first = self.first.weight.unflatten(0, (-1, self.rank))
        return torch.einsum("okd,oke->ode", first, self.second.weight.unflatten(0, (-1, self.rank)))


def signed_root(x: Tensor) -> Tensor:
    """sign(x) √|x|, then to length 1: (..., D) -> (..., D). Products spread widely; this brings them together again.

    Source: Fukui et al., MCB, section 3.2; Yu et al., MFB, section 3.1.
    """
    # √ has an infinite slope at 0: the small number keeps gradients finite there.
    return F.normalize(x.sign() * ((x.abs() + 1e-8).sqrt() - 1e-4), dim=-1)


# ---------------------------------------------------------------- one vector steers many


class FiLM(nn.Module):
    """A condition scales and shifts each channel of a feature, everywhere alike: γ(c) ∘ x + β(c).

    It starts as the identity: γ = 1 + Δγ, and Δγ and β begin at 0.

    Args:
        width: D, the channels that are steered.
        condition_width: C, of the vector that steers.

    Source: Perez et al., FiLM: Visual Reasoning with a General Conditioning Layer, equation 2 and section 7.2.
    """

    def forward(self, hidden_states: Tensor, condition: Tensor) -> Tensor:
        """(B, ..., D), steered by (B, C) -> (B, ..., D). A feature map (B, D, h, w) comes as `map.movedim(1, -1)`.

        Raises:
            InputError: other widths, or two batches of different size.
        """
        if hidden_states.shape[-1] != self.width or condition.shape != (len(hidden_states), self.condition_width):
            raise InputError(
                f"hidden_states are {tuple(hidden_states.shape)} and condition {tuple(condition.shape)}; this layer "
                f"takes (B, ..., {self.width}) and (B, {self.condition_width})"
            )
        scale, shift = self.scale_shift(condition).chunk(2, -1)
        shape = (len(condition), *[1] * (hidden_states.ndim - 2), self.width)
        return film(hidden_states, 1 + scale.view(shape), shift.view(shape))

    def __init__(self, width: int, condition_width: int):
        super().__init__()
        self.width, self.condition_width = width, condition_width
        self.scale_shift = nn.Linear(condition_width, 2 * width)
        nn.init.zeros_(self.scale_shift.weight)
        nn.init.zeros_(self.scale_shift.bias)


def film(hidden_states: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """γ ∘ x + β, shapes that broadcast. Source: Perez et al., FiLM, equation 2."""
    return gamma * hidden_states + beta


class FiLMBlock(nn.Module):
    """A residual block whose middle a condition steers: linear, ReLU, linear, norm, FiLM, ReLU; what came in is added.

    Args:
        width: D.
        condition_width: C.

    Source: Perez et al., FiLM, section 3.2 and figure 3, with linear layers for the convolutions: regions have no grid.
    """

    def forward(self, hidden_states: Tensor, condition: Tensor) -> Tensor:
        """(B, R, D), steered by (B, C) -> (B, R, D)."""
        entered = F.relu(self.enter(hidden_states))
        return entered + F.relu(self.film(self.norm(self.middle(entered)), condition))

    def __init__(self, width: int, condition_width: int):
        super().__init__()
        self.enter, self.middle = nn.Linear(width, width), nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)  # scale and shift are the condition's
        self.film = FiLM(width, condition_width)


# ---------------------------------------------------------------- two sequences ask each other


class CrossAttentionLayer(nn.Module):
    """Every position asks the other sequence; what it hears is added, and the sum normalised.

    Args:
        width: D, of what asks.
        heads: number of attention heads.
        context_width: C, of what answers; None for D.
        layer_norm_eps: added to the variance.
        dropout: share of what was heard that is dropped in training.

    Source: Tan and Bansal, LXMERT, section 2.2 ("cross-attention sub-layer"); with the weights of transformers'
    LxmertCrossAttentionLayer it gives what that gives.
    """

    def forward(self, hidden_states: Tensor, context: Tensor, context_mask: Tensor | None = None) -> Tensor:
        """(B, T, D), asking (B, S, C) -> (B, T, D); context_mask: boolean (B, 1, 1, S), true where one may look."""
        heard = self.cross_attention(hidden_states, context, context_mask)
        return self.norm(hidden_states + drop(self.dropout, heard))

    def __init__(
        self,
        width: int,
        heads: int,
        context_width: int | None = None,
        layer_norm_eps: float = 1e-12,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.cross_attention = CrossAttention(width, heads, context_width)
        self.norm = nn.LayerNorm(width, layer_norm_eps)
        self.dropout = nn.Dropout(dropout)


class CoAttentionBlock(nn.Module):
    """Words ask regions while regions ask words; then each asks its own kind, and thinks for itself.

    One cross-attention serves both directions, as in LXMERT. ViLBERT has two, one for each direction: that is two
    `CrossAttentionLayer`s.

    Args:
        width: D, of words and of regions.
        heads: number of heads of all three attentions.
        mlp_width: hidden width of both MLPs.
        activation: theirs.
        layer_norm_eps: added to the variance.
        dropout: share of each branch's output dropped in training.

    Source: Tan and Bansal, LXMERT, section 2.2 and figure 1; Lu et al., ViLBERT, figure 2b. With the weights of
    transformers' LxmertXLayer it gives what that gives.
    """

    def forward(
        self, words: Tensor, regions: Tensor, word_mask: Tensor | None = None, region_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """One round of asking.

        Args:
            words: (B, T, D).
            regions: (B, R, D).
            word_mask, region_mask: boolean (B, 1, 1, T) and (B, 1, 1, R), true where there is something; or None.

        Returns:
            words (B, T, D) and regions (B, R, D).
        """
        heard = self.cross(words, regions, region_mask), self.cross(regions, words, word_mask)
        return self.word_block(heard[0], word_mask), self.region_block(heard[1], region_mask)

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_width: int,
        activation: str = "gelu",
        layer_norm_eps: float = 1e-12,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.cross = CrossAttentionLayer(width, heads, None, layer_norm_eps, dropout)
        self.word_block, self.region_block = (
            PostNormBlock(width, heads, mlp_width, activation, layer_norm_eps, dropout, 0.0) for _ in range(2)
        )


class GatedCrossAttentionBlock(nn.Module):
    """What a position hears, and what it makes of it, passes a gate tanh(α) that begins shut.

    So a language model into which this is put says at first exactly what it said before.

    Args:
        width: D, of what asks.
        heads: number of attention heads.
        mlp_width: hidden width of the MLP.
        context_width: C, of what answers; None for D.
        norm: makes a normalisation of a width.
        mlp: makes an MLP of a width and a hidden width.
        bias: whether the attention's linear maps have one.

    Source: Alayrac et al., Flamingo, section 2.2 and figure 4. With `norm=RMSNorm`, `mlp=GatedMLP` and the weights of
    transformers' IdeficsGatedCrossAttentionLayer it gives what that gives.
    """

    def forward(self, hidden_states: Tensor, context: Tensor, context_mask: Tensor | None = None) -> Tensor:
        """(B, T, D), asking (B, S, C) -> (B, T, D); context_mask: boolean (B, 1, 1 or T, S), true where one looks."""
        heard = self.cross_attention(self.norm1(hidden_states), context, context_mask)
        hidden_states = hidden_states + torch.tanh(self.attention_gate) * heard
        return hidden_states + torch.tanh(self.mlp_gate) * self.mlp(self.norm2(hidden_states))

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_width: int,
        context_width: int | None = None,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
        mlp: Callable[[int, int], nn.Module] = MLP,
        bias: bool = True,
    ):
        super().__init__()
        self.norm1 = norm(width)
        self.cross_attention = CrossAttention(width, heads, context_width, bias=bias)
        self.attention_gate = nn.Parameter(torch.zeros(1))
        self.norm2 = norm(width)
        self.mlp = mlp(width, mlp_width)
        self.mlp_gate = nn.Parameter(torch.zeros(1))


def check_pair(x: Tensor, y: Tensor, width: int, other_width: int) -> None:
    """Raises InputError unless x is (B, width) and y (B, other_width)."""
    if x.ndim != 2 or y.shape != (len(x), other_width) or x.shape[1] != width:
        raise InputError(
            f"the two vectors are {tuple(x.shape)} and {tuple(y.shape)}; this fusion takes (B, {width}) and "
            f"(B, {other_width})"
        )
