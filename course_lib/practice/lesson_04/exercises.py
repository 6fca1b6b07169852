"""Exercise set 04: ways to make one of two modalities, from a scale and a shift to a fusion that learns to bind."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.errors import InputError
from course_lib.layers import fusion
from course_lib.practice.exercise import Case, Exercise, Measure, Mistake, wrong_choices


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Normal numbers that depend on the seed alone."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Why a mechanical change to a model solution may change nothing.
A_TENSOR = "a number that is kept as a tensor is as good"
SAME_SWAP = "two dimensions change places whichever of them is named first"

# 04.1 ---------------------------------------------------------------------------------------------------------------


def film(feature_map: torch.Tensor, condition: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The library's layer with these weights; it wants the channels last."""
    layer = fusion.FiLM(feature_map.shape[1], condition.shape[1])
    given = {"scale_shift.weight": weight, "scale_shift.bias": bias}
    return torch.func.functional_call(layer, given, (feature_map.movedim(1, -1), condition)).movedim(-1, 1)


def film_case(about: str, seed: int, shape: tuple[int, int, int, int], width: int, **more: Any) -> Case:
    """A case of FiLM: the feature map's shape (B, D, h, w), and the condition's width."""
    dtype = more.pop("dtype", torch.float32)
    inputs = {
        "feature_map": 2 * normal(seed, *shape, dtype=dtype) + 1,
        "condition": normal(seed + 1, shape[0], width, dtype=dtype),
        "weight": normal(seed + 2, 2 * shape[1], width, dtype=dtype),
        "bias": normal(seed + 3, 2 * shape[1], dtype=dtype),
    }
    return Case(about, inputs, **more)


def film_cases(seed: int) -> list[Case]:
    by_hand = {
        "feature_map": torch.tensor([[[[1.0, 2.0]], [[10.0, 20.0]]]]),
        "condition": torch.tensor([[1.0]]),
        "weight": torch.tensor([[2.0], [-1.0], [0.0], [5.0]]),
        "bias": torch.tensor([0.0, 0.0, 0.5, 0.0]),
    }
    return [
        Case("two channels of two cells, worked out by hand", by_hand),
        film_case("three channels on a map of three by three", 10 * seed + 5, (3, 3, 3, 3), 4),
    ]


def _film(
    x: torch.Tensor,
    c: torch.Tensor,
    w: torch.Tensor,
    b: torch.Tensor,
    one: float = 1.0,
    halves: Callable = lambda both: both.chunk(2, -1),
    place: tuple[Any, ...] = (slice(None), slice(None), None, None),
    join: Callable = lambda x, scale, shift: scale * x + shift,
) -> torch.Tensor:
    """FiLM with a step to be replaced by a mistake."""
    scale, shift = halves(F.linear(c, w, b))
    return join(x, (one + scale)[place], shift[place])


def _film_with(**changes: Any) -> Callable[..., torch.Tensor]:
    return lambda x, c, w, b: _film(x, c, w, b, **changes)


FILM = Exercise(
    id="04.1",
    title="Steer the channels: FiLM",
    name="film",
    signature="def film(feature_map: Tensor, condition: Tensor, weight: Tensor, bias: Tensor) -> Tensor",
    asked="function",
    difficulty=1,
    minutes=8,
    points=1,
    hints=(
        "One linear layer makes 2D numbers of each condition: D changes of scale and D shifts. Every cell of channel d "
        "is then treated alike.",
        "F.linear(condition, weight, bias) is (B, 2D), and .chunk(2, dim=-1) cuts it into halves, each (B, D). The "
        "scale is 1 plus the first half.",
        "To meet a map of shape (B, D, h, w), a scale of shape (B, D) needs two more dimensions at its end: "
        "scale[:, :, None, None].",
    ),
    cases=film_cases,
    reference=film,
    mistakes=(
        Mistake(
            "one left out",
            "The first half is a change of scale: the scale is 1 plus it, so that a layer of zeros changes nothing.",
            _film_with(one=0.0),
        ),
        Mistake(
            "halves exchanged",
            "Scale and shift are exchanged: the first D numbers belong to the scale, the last D to the shift.",
            _film_with(halves=lambda both: both.chunk(2, -1)[::-1]),
        ),
        Mistake(
            "every other number",
            "Scales and shifts are taken in turns: the first D numbers are the scales, the last D the shifts.",
            _film_with(halves=lambda both: (both[:, ::2], both[:, 1::2])),
        ),
        Mistake(
            "shift left out",
            "The channels are scaled and not shifted: the second half of the numbers is to be added.",
            _film_with(join=lambda x, scale, shift: scale * x),
        ),
        Mistake(
            "scale left out",
            "The channels are shifted and not scaled: that is a sum, and a sum cannot switch a channel off.",
            _film_with(join=lambda x, scale, shift: x + shift),
        ),
        Mistake(
            "shifted before it is scaled",
            "The shift is added before the scale multiplies, so that it is scaled too: scale first, then shift.",
            _film_with(join=lambda x, scale, shift: scale * (x + shift)),
        ),
        Mistake(
            "along the width",
            "The scales lie along the map's last dimension, its columns: channels are dimension 1 of (B, D, h, w).",
            _film_with(place=(slice(None), None, None, slice(None))),
        ),
        Mistake(
            "dimensions not added",
            "A scale of shape (B, D) lines up with the map's last two dimensions, its rows and columns: channels are "
            "dimension 1 of (B, D, h, w).",
            _film_with(place=(...,)),
        ),
        Mistake(
            "bias left out",
            "The linear layer has a bias too: it is missing.",
            lambda x, c, w, b: _film(x, c, w, torch.zeros_like(b)),
        ),
    ),
    explanation="A scale of 0 switches a channel off, one of -1 turns it round. So a question can choose what a "
    "convolutional network looks for, with two numbers a channel and nothing that depends on the place.",
)


# 04.2 ---------------------------------------------------------------------------------------------------------------


def low_rank_bilinear(x: torch.Tensor, y: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """torch's bilinear form, with the weight that the factors stand for."""
    return F.bilinear(x, y, torch.einsum("okd,oke->ode", u, v))


def bilinear_case(about: str, seed: int, sizes: tuple[int, int, int, int, int], **more: Any) -> Case:
    """A case of the bilinear form: `sizes` are B, D, E, O and K."""
    batch, width, other, out, rank = sizes
    dtype = more.pop("dtype", torch.float32)
    inputs = {
        "x": normal(seed, batch, width, dtype=dtype),
        "y": normal(seed + 1, batch, other, dtype=dtype),
        "u": normal(seed + 2, out, rank, width, dtype=dtype),
        "v": normal(seed + 3, out, rank, other, dtype=dtype),
    }
    return Case(about, inputs, **more)


def bilinear_cases(seed: int) -> list[Case]:
    by_hand = {
        "x": torch.tensor([[1.0, 2.0]]),
        "y": torch.tensor([[3.0, 4.0]]),
        "u": torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]),
        "v": torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]),
    }
    return [
        Case("one output of rank 2, worked out by hand", by_hand),
        bilinear_case("four examples, three outputs", 10 * seed + 5, (4, 5, 6, 3, 2)),
    ]


def _two_sides(x: torch.Tensor, y: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both vectors projected, (B, O, K) each."""
    return torch.einsum("bd,okd->bok", x, u), torch.einsum("be,oke->bok", y, v)


def _sides(join: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    return lambda *inputs: join(*_two_sides(*inputs))


LOW_RANK = Exercise(
    id="04.2",
    title="Every product, at a low rank",
    name="low_rank_bilinear",
    signature="def low_rank_bilinear(x: Tensor, y: Tensor, u: Tensor, v: Tensor) -> Tensor",
    asked="function",
    difficulty=2,
    minutes=10,
    points=2,
    hints=(
        "Do not make the matrix W. What is x^T (u v^T) y, if you bracket it the other way?",
        "It is (u . x) (v . y): two projections and one product. Project x by all of u, y by all of v, multiply number "
        "by number, and sum over the rank alone.",
        'torch.einsum("bd,okd->bok", x, u) projects x; y is projected likewise. Both are (B, O, K): after the product, '
        "the last dimension is summed.",
    ),
    cases=bilinear_cases,
    reference=low_rank_bilinear,
    mistakes=(
        Mistake(
            "added",
            "The two projections are added: a sum of projections holds no product of a number of x with one of y.",
            _sides(lambda first, second: (first + second).sum(-1)),
        ),
        Mistake(
            "summed before the product",
            "Each side is summed over the rank before they are multiplied, which multiplies every u with every v: "
            "multiply u_k with its own v_k first.",
            _sides(lambda first, second: first.sum(-1) * second.sum(-1)),
        ),
        Mistake(
            "averaged over the rank",
            "The mean over the rank is taken: a matrix of rank K is a sum of K products.",
            _sides(lambda first, second: (first * second).mean(-1)),
        ),
        Mistake(
            "not summed over the rank",
            "The rank is still there: sum over k, so that one number is left for each output.",
            _sides(lambda first, second: first * second),
        ),
        Mistake(
            "summed over the outputs",
            "The outputs are summed and the rank is left: the other way round.",
            _sides(lambda first, second: (first * second).sum(1)),
        ),
        Mistake(
            "one of the ranks",
            "Only the first of the K products counts: add them all up.",
            _sides(lambda first, second: (first * second)[..., 0]),
        ),
        Mistake(
            "the first side only",
            "Only x takes part: multiply by what v makes of y.",
            _sides(lambda first, second: first.sum(-1)),
        ),
    ),
    explanation="K (D + E) numbers for each output in the place of D E: with 2,048 and 1,024 wide vectors and rank 5, "
    "15 thousand in the place of 2.1 million. torch's bilinear form with the assembled W gives the same.",
)


# 04.3 ---------------------------------------------------------------------------------------------------------------

READING = {
    "network_b": "c",
    "network_c": "a",
    "network_d": "b",
    "scale_because": "d",
    "late": "c",
    "late_because": "a",
}

_WHY_NOT = {
    ("network_b", "a"): "Without the order of the words it could still tell in which half the one thing lies that is "
    "asked about: there is only one colour in that question. B cannot.",
    ("network_b", "b"): "With too few questions it would know those that it was taught: look at the last column.",
    ("network_b", "d"): "Without colours it could not say whether there is a red thing: look at the first column.",
    ("network_c", "b"): "With too few questions it would know those that it was taught: look at the last column.",
    ("network_c", "c"): "Without positions it could not tell halves: look at the second column. What has the third "
    "that the second has not?",
    ("network_c", "d"): "Without colours it could not say whether there is a red thing: look at the first column.",
    ("network_d", "a"): "Without the order of the words the questions it was taught would be as hard as new ones: look "
    "at the last column.",
    ("network_d", "c"): "Without positions it could not tell halves: look at the second column.",
    ("network_d", "d"): "Without colours it could not say whether there is a red thing: look at the first column.",
    ("scale_because", "a"): "A ReLU cuts off what is below 0, not what is small.",
    ("scale_because", "b"): "float32 keeps seven digits at any size: 0.017 is as exact as 1.7.",
    ("scale_because", "c"): "What the pointers point at is decided by colour. The coordinates come along with what was "
    "found, after the softmax.",
    ("late", "a"): "What is the half that the model of the pictures brings? Of the red things, half are asked about as "
    "red and half as blue.",
    ("late", "b"): "Each has seen its part, and a mean adds nothing: write down what each can say in the four cases.",
    ("late", "d"): "No weights will do: write the four cases as four inequalities and add them up.",
    ("late_because", "b"): "Calibration moves the probabilities, not the side of one half on which they lie.",
    ("late_because", "c"): "The questions are balanced: the words alone tell nothing about the answer.",
    ("late_because", "d"): "More pictures make each of the two models surer of what it can know alone, which is "
    "nothing.",
}  # fmt: skip


READ = Exercise(
    id="04.3",
    title="Read a failure: what is missing?",
    name="answers_04_3",
    signature="answers_04_3: dict[str, str]",
    asked="value",
    difficulty=2,
    minutes=10,
    points=2,
    hints=(
        "For each kind of question, list what an answer needs: colours, positions, the order of the words. Then look "
        "in each row for the first column that fails.",
        "Training questions right and new ones wrong is another failure than both wrong. For the scale: how large "
        "would the weights on x and y have to become?",
        "For the late fusion: the sum of both models' logits is f(picture) + g(question). Add up what the two cases "
        "with the answer yes ask of it, and what the two with no ask.",
    ),
    cases=lambda seed: [Case("all six questions")],
    reference=READING,
    mistakes=wrong_choices(_WHY_NOT),
    keys={key: ("a", "b", "c", "d") for key in READING},
    explanation="Three ingredients, and each lost one leaves its own trace. A table by question type and by split "
    "finds it; one accuracy over everything would have shown three similar failures.",
)


# 04.4 ---------------------------------------------------------------------------------------------------------------


def compact_bilinear(
    x: torch.Tensor,
    y: torch.Tensor,
    index_x: torch.Tensor,
    sign_x: torch.Tensor,
    index_y: torch.Tensor,
    sign_y: torch.Tensor,
    size: int,
) -> torch.Tensor:
    """The library's two steps."""
    sketch = fusion.count_sketch(x, index_x, sign_x, size)
    return fusion.circular_convolution(sketch, fusion.count_sketch(y, index_y, sign_y, size))


def sketch_case(about: str, seed: int, sizes: tuple[int, int, int, int], **more: Any) -> Case:
    """A case of compact bilinear pooling: `sizes` are B, D, E and M."""
    batch, width, other, size = sizes
    dtype = more.pop("dtype", torch.float32)
    generator = torch.Generator().manual_seed(seed + 2)
    inputs: dict[str, Any] = {
        "x": normal(seed, batch, width, dtype=dtype),
        "y": normal(seed + 1, batch, other, dtype=dtype),
    }
    for name, count in (("x", width), ("y", other)):
        inputs[f"index_{name}"] = torch.randint(size, (count,), generator=generator)
        inputs[f"sign_{name}"] = (2 * torch.randint(2, (count,), generator=generator) - 1).to(dtype)
    return Case(about, inputs | {"size": size}, **more)


def sketch_cases(seed: int) -> list[Case]:
    by_hand = {
        "x": torch.tensor([[1.0, 2.0, 3.0]]),
        "y": torch.tensor([[10.0, 100.0]]),
        "index_x": torch.tensor([0, 3, 0]),
        "sign_x": torch.tensor([1.0, 1.0, -1.0]),
        "index_y": torch.tensor([1, 2]),
        "sign_y": torch.tensor([1.0, -1.0]),
        "size": 4,
    }
    return [
        Case("a sketch of four places, worked out by hand", by_hand),
        sketch_case("two vectors of one width", 10 * seed + 5, (3, 8, 8, 6)),
    ]


def _sketched(x, y, ix, sx, iy, sy, m, join: Callable[..., torch.Tensor] = fusion.circular_convolution):
    """Compact bilinear pooling with another way of joining the two sketches."""
    return join(fusion.count_sketch(x, ix, sx, m), fusion.count_sketch(y, iy, sy, m))


def _joined(join: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    return lambda *inputs: _sketched(*inputs, join=join)


def _overwritten(x, y, ix, sx, iy, sy, m):
    """Of numbers that share a place, one is kept."""
    sketches = []
    for vector, index, sign in ((x, ix, sx), (y, iy, sy)):
        sketch = vector.new_zeros(len(vector), m)
        sketch[:, index] = vector * sign
        sketches.append(sketch)
    return fusion.circular_convolution(*sketches)


def _spectra(join: Callable[..., torch.Tensor], back: Callable[..., torch.Tensor] | None = None) -> Callable:
    """Another use of the spectra."""

    def joined(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        whole = join(torch.fft.rfft(x), torch.fft.rfft(y))
        return back(whole, x.shape[-1]) if back else torch.fft.irfft(whole, n=x.shape[-1])

    return _joined(joined)


def _not_circular(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    size = x.shape[-1]
    return torch.fft.irfft(torch.fft.rfft(x, 2 * size) * torch.fft.rfft(y, 2 * size), n=2 * size)[..., :size]


COMPACT = Exercise(
    id="04.4",
    title="Compact bilinear pooling: sketches and a convolution",
    name="compact_bilinear",
    signature="def compact_bilinear(x: Tensor, y: Tensor, index_x: Tensor, sign_x: Tensor, index_y: Tensor, "
    "sign_y: Tensor, size: int) -> Tensor",
    asked="function",
    difficulty=3,
    minutes=15,
    points=3,
    hints=(
        "A sketch first: number i of x, times its sign, is added to place index_x[i] of M places. Several numbers may "
        "share a place, and all of them count.",
        "zeros.index_add(1, index, values) adds column i of the values to column index[i], however many meet there. "
        "Then the two sketches are convolved, round in a circle.",
        "A circular convolution is a product of spectra: torch.fft.rfft of both, multiply, torch.fft.irfft of the "
        "product. Tell irfft the length, or an odd M comes back one short.",
    ),
    cases=sketch_cases,
    reference=compact_bilinear,
    mistakes=(
        Mistake(
            "overwritten",
            "Of the numbers that share a place only one is left: sketch[:, index] = ... overwrites, where a sketch "
            "adds up.",
            _overwritten,
        ),
        Mistake(
            "signs left out",
            "The signs are missing: they are what makes the errors of shared places cancel on average.",
            lambda x, y, ix, sx, iy, sy, m: _sketched(x, y, ix, sx.abs(), iy, sy.abs(), m),
        ),
        Mistake(
            "places of x for both",
            "Both vectors are sketched into the places of x: y has places of its own, index_y.",
            lambda x, y, ix, sx, iy, sy, m: _sketched(x, y, ix, sx, ix, sy, m),
        ),
        Mistake(
            "signs of x for both",
            "Both vectors get the signs of x: y has signs of its own, sign_y.",
            lambda x, y, ix, sx, iy, sy, m: _sketched(x, y, ix, sx, iy, sx, m),
        ),
        Mistake(
            "multiplied, not convolved",
            "The sketches are multiplied place by place: that pairs few numbers of x with few of y. What multiplies "
            "are their spectra.",
            _joined(lambda x, y: x * y),
        ),
        Mistake(
            "spectra added",
            "The spectra are added, which is a sum of the sketches: a product of the spectra is a convolution.",
            _spectra(lambda x, y: x + y),
        ),
        Mistake(
            "correlated",
            "One of the spectra is conjugated, which is a correlation: places are subtracted where they should be "
            "added.",
            _spectra(lambda x, y: x.conj() * y),
        ),
        Mistake(
            "correlated the other way",
            "One of the spectra is conjugated, which is a correlation: places are subtracted where they should be "
            "added.",
            _spectra(lambda x, y: x * y.conj()),
        ),
        Mistake(
            "not circular",
            "What runs over the end is cut off: the convolution is circular, place M is place 0 again.",
            _joined(_not_circular),
        ),
        Mistake(
            "length not told",
            "The length is even, or one too small, whatever M is: a half spectrum does not say whether it came from "
            "an odd length, so tell irfft n.",
            _spectra(lambda x, y: x * y, lambda whole, size: torch.fft.irfft(whole)),
        ),
        Mistake(
            "spectrum",
            "This is the spectrum, complex numbers: go back with the inverse transform.",
            sign=lambda case, value: isinstance(value, torch.Tensor) and value.is_complex(),
        ),
        Mistake(
            "every product",
            "These are all D times E products: they are to be sketched into M places.",
            lambda x, y, ix, sx, iy, sy, m: torch.einsum("bd,be->bde", x * sx, y * sy).flatten(1),
        ),
    ),
    explanation="Product x_i y_j lands at place index_x[i] + index_y[j] (round the circle) with sign sign_x[i] "
    "sign_y[j]: the result is the count sketch of all D E products, which are never made. Inner products of such "
    "sketches are those of the outer products, on average.",
)


# 04.5 ---------------------------------------------------------------------------------------------------------------


def two_hop_read(
    states: torch.Tensor,
    words: torch.Tensor,
    word_mask: torch.Tensor,
    regions: torch.Tensor,
    xy: torch.Tensor,
    region_mask: torch.Tensor,
    control: torch.Tensor,
    pointer: torch.Tensor,
) -> torch.Tensor:
    """torch's attention, twice."""
    query = control.expand(len(words), -1, -1)
    read = F.scaled_dot_product_attention(query, states, words, attn_mask=word_mask[:, None])
    value = torch.cat([regions, xy], -1)
    return F.scaled_dot_product_attention(read @ pointer.T, regions, value, attn_mask=region_mask[:, None])


def pointer_case(about: str, seed: int, sizes: tuple[int, int, int, int, int, int], **more: Any) -> Case:
    """A case of the pointer: `sizes` are B, T words, D, R regions, C and K reads; masks of varying length."""
    batch, length, width, count, channels, reads = sizes
    dtype = more.pop("dtype", torch.float32)
    generator = torch.Generator().manual_seed(seed + 7)
    masks = []
    for places in (length, count):
        lengths = torch.randint(1, places + 1, (batch,), generator=generator)
        lengths[0] = max(1, places - 1)  # something is always hidden, where there is more than one
        masks.append(torch.arange(places)[None] < lengths[:, None])
    inputs = {
        "states": 1.5 * normal(seed, batch, length, width, dtype=dtype),
        "words": normal(seed + 1, batch, length, width, dtype=dtype),
        "word_mask": masks[0],
        "regions": 1.5 * normal(seed + 2, batch, count, channels, dtype=dtype),
        "xy": normal(seed + 3, batch, count, 2, dtype=dtype),
        "region_mask": masks[1],
        "control": 1.5 * normal(seed + 4, reads, width, dtype=dtype),
        "pointer": 1.5 * normal(seed + 5, channels, width, dtype=dtype),
    }
    return Case(about, inputs, **more)


def pointer_cases(seed: int) -> list[Case]:
    return [
        pointer_case("one question of three words, two regions, one read", 10 * seed + 1, (1, 3, 4, 2, 4, 1)),
        pointer_case("questions and scenes of different length", 10 * seed + 20, (4, 6, 8, 5, 6, 3)),
    ]


def _hops(
    states: torch.Tensor,
    words: torch.Tensor,
    word_mask: torch.Tensor,
    regions: torch.Tensor,
    xy: torch.Tensor,
    region_mask: torch.Tensor,
    control: torch.Tensor,
    pointer: torch.Tensor,
    scale: tuple[bool, bool] = (True, True),
    value: Callable[..., torch.Tensor] = lambda regions, xy: torch.cat([regions, xy], -1),
    late_mask: bool = False,
    axes: tuple[int, int] = (-1, -1),
) -> torch.Tensor:
    """Both hops, with a step to be replaced by a mistake."""

    def weights(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor, scaled: bool, axis: int) -> torch.Tensor:
        scores = query @ key.mT / (key.shape[-1] ** 0.5 if scaled else 1.0)
        if late_mask:
            return scores.softmax(axis) * mask[:, None]
        return scores.masked_fill(~mask[:, None], -torch.inf).softmax(axis).nan_to_num(0.0)

    read = weights(control, states, word_mask, scale[0], axes[0]) @ words
    return weights(read @ pointer.T, regions, region_mask, scale[1], axes[1]) @ value(regions, xy)


def _hops_with(**changes: Any) -> Callable[..., torch.Tensor]:
    return lambda *inputs: _hops(*inputs, **changes)


def _everywhere(mask: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(mask)


def _mean_word(s, w, wm, r, xy, rm, c, p):
    """The question pooled: every read is the mean of the words."""
    mean = (w * wm[..., None]).sum(1, keepdim=True) / wm.sum(1)[:, None, None]
    return _hops(mean, mean, wm[:, :1], r, xy, rm, c, p)


def _hard(s, w, wm, r, xy, rm, c, p):
    """The best region alone."""
    read = F.scaled_dot_product_attention(c.expand(len(w), -1, -1), s, w, attn_mask=wm[:, None])
    scores = (read @ p.T @ r.mT).masked_fill(~rm[:, None], -torch.inf)
    return F.one_hot(scores.argmax(-1), r.shape[1]).to(r) @ torch.cat([r, xy], -1)


POINTER = Exercise(
    id="04.5",
    title="Read a word, point at a region",
    name="two_hop_read",
    signature="def two_hop_read(states: Tensor, words: Tensor, word_mask: Tensor, regions: Tensor, xy: Tensor, "
    "region_mask: Tensor, control: Tensor, pointer: Tensor) -> Tensor",
    asked="function",
    difficulty=4,
    minutes=16,
    points=4,
    hints=(
        "It is attention twice. First hop: K control vectors ask the words' states, and what they take home are the "
        "raw words. Second hop: what was read asks the regions.",
        "Scores are dot products over the root of the width of what is asked; hidden places get minus infinity before "
        "the softmax, which runs over the words, and in the second hop over the regions. A mask (B, T) meets scores "
        "(B, K, T) as mask[:, None].",
        "The second hop's queries are read @ pointer.T, its keys the regions, and its values torch.cat([regions, xy], "
        "dim=-1), so that each pointer brings home where it points.",
    ),
    cases=pointer_cases,
    reference=two_hop_read,
    mistakes=(
        Mistake(
            "states read",
            "What the first hop takes home are the states, in which every word is mixed with the others: let the "
            "states decide where to read, and read the raw words.",
            lambda s, w, *rest: _hops(s, s, *rest),
        ),
        Mistake(
            "words asked",
            "The first hop decides by the raw words, which do not know their places or their neighbours: it asks the "
            "states.",
            lambda s, w, *rest: _hops(w, w, *rest),
        ),
        Mistake(
            "words and states exchanged",
            "States and words are exchanged: the states are asked, the words are read.",
            lambda s, w, *rest: _hops(w, s, *rest),
        ),
        Mistake(
            "coordinates left out",
            "What was pointed at comes home without its coordinates: the values are [features, x, y].",
            _hops_with(value=lambda regions, xy: regions),
        ),
        Mistake(
            "coordinates first",
            "The coordinates stand before the features: they come last.",
            _hops_with(value=lambda regions, xy: torch.cat([xy, regions], -1)),
        ),
        Mistake(
            "padding read",
            "Padded words are read: their scores should be minus infinity before the softmax.",
            lambda s, w, wm, *rest: _hops(s, w, _everywhere(wm), *rest),
        ),
        Mistake(
            "padding pointed at",
            "Regions that are not there are pointed at: their scores should be minus infinity before the softmax.",
            lambda s, w, wm, r, xy, rm, *rest: _hops(s, w, wm, r, xy, _everywhere(rm), *rest),
        ),
        Mistake(
            "masks ignored",
            "Neither mask is used: padded words are read, and regions that are not there are pointed at.",
            lambda s, w, wm, r, xy, rm, *rest: _hops(s, w, _everywhere(wm), r, xy, _everywhere(rm), *rest),
        ),
        Mistake(
            "mask the wrong way round",
            "A mask is the wrong way round: it is true where there is something.",
            lambda s, w, wm, r, xy, rm, *rest: _hops(s, w, ~wm, r, xy, ~rm, *rest),
        ),
        Mistake(
            "masked after the softmax",
            "The weights are masked after the softmax, so that they do not add up to 1 any more: mask the scores.",
            _hops_with(late_mask=True),
        ),
        Mistake(
            "not scaled",
            "The scores are not divided by the root of the width.",
            _hops_with(scale=(False, False)),
        ),
        Mistake(
            "first hop not scaled",
            "The scores of the words are not divided by the root of their width.",
            _hops_with(scale=(False, True)),
        ),
        Mistake(
            "second hop not scaled",
            "The scores of the regions are not divided by the root of their width.",
            _hops_with(scale=(True, False)),
        ),
        Mistake(
            "softmax over the reads",
            "The softmax of the first hop runs over the K reads: each read divides itself among the words, dim=-1.",
            _hops_with(axes=(1, -1)),
        ),
        Mistake(
            "second softmax over the reads",
            "The softmax of the second hop runs over the K reads: each divides itself among the regions, dim=-1.",
            _hops_with(axes=(-1, 1)),
        ),
        Mistake(
            "question pooled",
            "All words are averaged: then every read is the same, and nothing tells the two things of a relation "
            "apart.",
            _mean_word,
        ),
        Mistake(
            "one region chosen",
            "The best region alone is taken: an argmax passes no derivative. Weigh all regions by the softmax.",
            _hard,
        ),
        Mistake(
            "where the words are",
            "This is what was read, and not what was pointed at: the second hop is missing.",
            lambda s, w, wm, r, xy, rm, c, p: F.scaled_dot_product_attention(
                c.expand(len(w), -1, -1), s, w, attn_mask=wm[:, None]
            ),
        ),
    ),
    explanation="All three ingredients of this lesson's pointer are in it: single words are read, each finds its own "
    "region, and where that lies comes back as two numbers that no mean has blurred.",
)


# 04.6 ---------------------------------------------------------------------------------------------------------------


class GatedCrossAttention(nn.Module):
    """Flamingo's block; names and sizes as in the exercise."""

    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(context_width, width, bias=False)
        self.v_proj = nn.Linear(context_width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)
        self.attention_gate = nn.Parameter(torch.zeros(1))
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.mlp_gate = nn.Parameter(torch.zeros(1))

    def forward(self, hidden_states: torch.Tensor, context: torch.Tensor, context_mask: torch.Tensor) -> torch.Tensor:
        heard = self.attend(self.norm1(hidden_states), context, context_mask)
        hidden_states = hidden_states + self.open(self.attention_gate) * heard
        return hidden_states + self.open(self.mlp_gate) * self.think(self.norm2(hidden_states))

    # The steps that a likely mistake changes.
    def open(self, gate: torch.Tensor) -> torch.Tensor:
        return torch.tanh(gate)

    def attend(self, hidden: torch.Tensor, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        query, key, value = self.q_proj(hidden), self.k_proj(context), self.v_proj(context)
        return self.o_proj(self.join(self.mix(self.split(query), self.split(key), self.split(value), mask)))

    def split(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def mix(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        # Where nothing may be looked at, torch gives zeros.
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])

    def join(self, mixed: torch.Tensor) -> torch.Tensor:
        return mixed.transpose(1, 2).flatten(2)

    def think(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(hidden)))


class _PlainGate(GatedCrossAttention):
    def open(self, gate):
        return gate


class _SigmoidGate(GatedCrossAttention):
    def open(self, gate):
        return gate.sigmoid()


class _NoGate(GatedCrossAttention):
    def open(self, gate):
        return torch.ones_like(gate)


class _OneGate(GatedCrossAttention):
    def forward(self, hidden_states, context, context_mask):
        heard = self.attend(self.norm1(hidden_states), context, context_mask)
        hidden_states = hidden_states + self.open(self.attention_gate) * heard
        return hidden_states + self.open(self.attention_gate) * self.think(self.norm2(hidden_states))


class _MLPNotGated(GatedCrossAttention):
    def forward(self, hidden_states, context, context_mask):
        heard = self.attend(self.norm1(hidden_states), context, context_mask)
        hidden_states = hidden_states + self.open(self.attention_gate) * heard
        return hidden_states + self.think(self.norm2(hidden_states))


class _Exchanged(GatedCrossAttention):
    def forward(self, hidden_states, context, context_mask):
        heard = self.attend(self.norm1(hidden_states), context, context_mask)
        hidden_states = hidden_states + self.open(self.mlp_gate) * heard
        return hidden_states + self.open(self.attention_gate) * self.think(self.norm2(hidden_states))


class _WeighedUp(GatedCrossAttention):
    """(1 - g) x + g f(x), as in a highway network."""

    def forward(self, hidden_states, context, context_mask):
        gate = self.open(self.attention_gate)
        heard = self.attend(self.norm1(hidden_states), context, context_mask)
        hidden_states = (1 - gate) * hidden_states + gate * heard
        gate = self.open(self.mlp_gate)
        return (1 - gate) * hidden_states + gate * self.think(self.norm2(hidden_states))


class _WholeGated(GatedCrossAttention):
    """g (x + f(x))."""

    def forward(self, hidden_states, context, context_mask):
        heard = self.attend(self.norm1(hidden_states), context, context_mask)
        hidden_states = self.open(self.attention_gate) * (hidden_states + heard)
        return self.open(self.mlp_gate) * (hidden_states + self.think(self.norm2(hidden_states)))


class _NoResidual(GatedCrossAttention):
    def forward(self, hidden_states, context, context_mask):
        heard = self.attend(self.norm1(hidden_states), context, context_mask)
        hidden_states = self.open(self.attention_gate) * heard
        return self.open(self.mlp_gate) * self.think(self.norm2(hidden_states))


class _Parallel(GatedCrossAttention):
    def forward(self, hidden_states, context, context_mask):
        heard = self.attend(self.norm1(hidden_states), context, context_mask)
        thought = self.think(self.norm2(hidden_states))
        return hidden_states + self.open(self.attention_gate) * heard + self.open(self.mlp_gate) * thought


class _NoNorms(GatedCrossAttention):
    def forward(self, hidden_states, context, context_mask):
        heard = self.attend(hidden_states, context, context_mask)
        hidden_states = hidden_states + self.open(self.attention_gate) * heard
        return hidden_states + self.open(self.mlp_gate) * self.think(hidden_states)


class _PostNorm(GatedCrossAttention):
    def forward(self, hidden_states, context, context_mask):
        heard = self.attend(hidden_states, context, context_mask)
        hidden_states = self.norm1(hidden_states + self.open(self.attention_gate) * heard)
        return self.norm2(hidden_states + self.open(self.mlp_gate) * self.think(hidden_states))


class _NotMasked(GatedCrossAttention):
    def mix(self, query, key, value, mask):
        return F.scaled_dot_product_attention(query, key, value)


class _MaskedWrong(GatedCrossAttention):
    def mix(self, query, key, value, mask):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=~mask[:, None, None])


class _AlmostMasked(GatedCrossAttention):
    """A large negative number for minus infinity: where nothing may be looked at, everything is, alike."""

    def mix(self, query, key, value, mask):
        scores = query @ key.mT / query.shape[-1] ** 0.5
        return scores.masked_fill(~mask[:, None, None], -1e9).softmax(-1) @ value


class _NotANumber(GatedCrossAttention):
    def mix(self, query, key, value, mask):
        scores = query @ key.mT / query.shape[-1] ** 0.5
        return scores.masked_fill(~mask[:, None, None], -torch.inf).softmax(-1) @ value


class _NotScaled(GatedCrossAttention):
    def mix(self, query, key, value, mask):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None], scale=1.0)


class _ScaledByWidth(GatedCrossAttention):
    def mix(self, query, key, value, mask):
        scale = (query.shape[-1] * self.heads) ** -0.5
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None], scale=scale)


class _OneHead(GatedCrossAttention):
    def split(self, hidden):
        return hidden.unsqueeze(1)


class _WrongView(GatedCrossAttention):
    def split(self, hidden):
        return hidden.reshape(len(hidden), self.heads, hidden.shape[1], -1)


class _WrongJoin(GatedCrossAttention):
    def join(self, mixed):
        return mixed.reshape(len(mixed), mixed.shape[2], -1)


class _NoOut(GatedCrossAttention):
    def attend(self, hidden, context, mask):
        query, key, value = self.q_proj(hidden), self.k_proj(context), self.v_proj(context)
        return self.join(self.mix(self.split(query), self.split(key), self.split(value), mask))


class _Linear(GatedCrossAttention):
    def think(self, hidden):
        return self.fc2(self.fc1(hidden))


class _ReLU(GatedCrossAttention):
    def think(self, hidden):
        return self.fc2(F.relu(self.fc1(hidden)))


def gated_case(about: str, seed: int, sizes: tuple[int, int, int, int, int, int], **more: Any) -> Case:
    """A case of the block: `sizes` are B, T, D, S, C and heads. `gates` are both gates' values; `lengths` is how many
    context states there are for each sequence, all but one of them if it is left out."""
    batch, length, width, count, context_width, heads = sizes
    gates = more.pop("gates", (0.8, -1.1))
    lengths = torch.tensor(more.pop("lengths", [max(1, count - row % 3) for row in range(batch)]))
    state = {
        "norm1.weight": 1 + 0.3 * normal(seed + 1, width),
        "norm1.bias": 0.3 * normal(seed + 2, width),
        "q_proj.weight": 1.5 * normal(seed + 3, width, width) / width**0.5,
        "k_proj.weight": 1.5 * normal(seed + 4, width, context_width) / context_width**0.5,
        "v_proj.weight": normal(seed + 5, width, context_width) / context_width**0.5,
        "o_proj.weight": normal(seed + 6, width, width) / width**0.5,
        "attention_gate": torch.tensor([gates[0]]),
        "norm2.weight": 1 + 0.3 * normal(seed + 7, width),
        "norm2.bias": 0.3 * normal(seed + 8, width),
        "fc1.weight": normal(seed + 9, 4 * width, width) / width**0.5,
        "fc1.bias": 0.3 * normal(seed + 10, 4 * width),
        "fc2.weight": normal(seed + 11, width, 4 * width) / width**0.5,
        "fc2.bias": 0.3 * normal(seed + 12, width),
        "mlp_gate": torch.tensor([gates[1]]),
    }
    inputs = {
        "hidden_states": 2 * normal(seed + 13, batch, length, width) + 0.5,
        "context": normal(seed + 14, batch, count, context_width),
        "context_mask": torch.arange(count)[None] < lengths[:, None],
    }
    return Case(
        about,
        inputs,
        construct={"width": width, "context_width": context_width, "heads": heads},
        state=state,
        initial=("attention_gate", "mlp_gate"),
        **more,
    )


def gated_cases(seed: int) -> list[Case]:
    return [
        gated_case(
            "both gates at 0, where the block changes nothing", 100 * seed, (1, 3, 4, 2, 4, 2), gates=(0.0, 0.0)
        ),
        gated_case("two sequences, three heads, open gates", 100 * seed + 20, (2, 4, 12, 5, 8, 3)),
    ]


GATED = Exercise(
    id="04.6",
    title="A gate that begins shut",
    name="GatedCrossAttention",
    signature="class GatedCrossAttention(nn.Module)",
    asked="module",
    difficulty=4,
    minutes=18,
    points=4,
    hints=(
        "Write forward as two lines, each of the form x = x + tanh(gate) * part(norm(x)): first cross-attention, then "
        "the MLP. With both gates at 0 nothing is left but x.",
        "Queries come from norm1(hidden_states), keys and values from the context as it is. Split each into heads: "
        ".unflatten(-1, (heads, -1)).transpose(1, 2) gives (B, heads, T, d). The mask (B, S) meets scores (B, heads, "
        "T, S) as mask[:, None, None].",
        "Scores over sqrt(d), with d = D / heads; minus infinity where the mask is false; softmax; nan_to_num(0.0) for "
        "sequences without any context. Join the heads by .transpose(1, 2).flatten(2), then o_proj.",
    ),
    cases=gated_cases,
    reference=GatedCrossAttention,
    mistakes=(
        Mistake(
            "gate without tanh",
            "The gates multiply as they are: take tanh of each, which keeps them between -1 and 1.",
            _PlainGate,
        ),
        Mistake(
            "sigmoid",
            "The gates pass a sigmoid, which is 1/2 at 0: the block would not begin as one that changes nothing. Use "
            "tanh.",
            _SigmoidGate,
        ),
        Mistake(
            "not gated",
            "Nothing is gated: multiply what attention and MLP add by the tanh of their gates.",
            _NoGate,
        ),
        Mistake(
            "MLP not gated",
            "The MLP adds without its gate: then the block changes the language model from the first step on.",
            _MLPNotGated,
        ),
        Mistake(
            "one gate for both",
            "One gate serves for both: the MLP has a gate of its own, mlp_gate.",
            _OneGate,
        ),
        Mistake(
            "gates exchanged",
            "The gates are exchanged: attention_gate belongs to the attention, mlp_gate to the MLP.",
            _Exchanged,
        ),
        Mistake(
            "weighed against the input",
            "What came in is weighed down by 1 - gate: it passes as it is, and the gate weighs only what is added.",
            _WeighedUp,
        ),
        Mistake(
            "the whole is gated",
            "The gate weighs what came in as well: with both at 0 nothing would be left. Gate only what is added.",
            _WholeGated,
        ),
        Mistake(
            "no residual",
            "What came in is lost: each part is added to it.",
            _NoResidual,
        ),
        Mistake(
            "side by side",
            "The MLP reads what came in: it reads the sum after the attention.",
            _Parallel,
        ),
        Mistake(
            "no layer norms",
            "The layer norms are not applied: each part reads its input normalised.",
            _NoNorms,
        ),
        Mistake(
            "norm after the sum",
            "The norms are applied to the sums: then closed gates would still change what came in. Normalise what each "
            "part reads.",
            _PostNorm,
        ),
        Mistake(
            "mask ignored",
            "Context that is not there is looked at: use the mask.",
            _NotMasked,
        ),
        Mistake(
            "mask the wrong way round",
            "The mask is the wrong way round: it is true where one may look.",
            _MaskedWrong,
        ),
        Mistake(
            "something out of nothing",
            "A sequence without any context hears the mean of what is hidden: a large negative number is no minus "
            "infinity. It should hear zeros.",
            _AlmostMasked,
        ),
        Mistake(
            "nan without a context",
            "A sequence without any context becomes nan: a softmax over minus infinities alone divides 0 by 0. It "
            "should hear zeros.",
            _NotANumber,
        ),
        Mistake("not scaled", "The scores are not divided by the root of a head's width.", _NotScaled),
        Mistake(
            "scaled by the whole width",
            "The scores are divided by the root of D: it is the root of one head's width, D / heads.",
            _ScaledByWidth,
        ),
        Mistake("one head", "There is one head of full width: split queries, keys and values.", _OneHead),
        Mistake(
            "heads cut from the wrong axis",
            "The reshape mixes positions and heads: split the last dimension first, then exchange two dimensions.",
            _WrongView,
        ),
        Mistake(
            "heads joined wrongly",
            "The heads are joined without exchanging dimensions back, which mixes positions: transpose, then flatten.",
            _WrongJoin,
        ),
        Mistake("o_proj left out", "o_proj is not applied to the joined heads.", _NoOut),
        Mistake("no activation", "There is no GELU between fc1 and fc2.", _Linear),
        Mistake("ReLU", "The activation is a ReLU: it should be a GELU.", _ReLU),
    ),
    equivalents={
        "query = self.q_proj(hidden).unflatten(-1, (self.heads, -1)).transpose(2, 1)": SAME_SWAP,
        "key = self.k_proj(context).unflatten(-1, (self.heads, -1)).transpose(2, 1)": SAME_SWAP,
        "value = self.v_proj(context).unflatten(-1, (self.heads, -1)).transpose(2, 1)": SAME_SWAP,
        "return self.o_proj(heard.transpose(2, 1).flatten(2))": SAME_SWAP,
    },
    explanation="Put between the layers of a frozen language model, it says at first exactly what that says. The "
    "derivative of tanh at 0 is 1, so that the gates open as soon as there is something worth hearing.",
)


# 04.7 ---------------------------------------------------------------------------------------------------------------

COLOURS, THINGS = 4, 3
REGION_WIDTH, QUESTION_WIDTH, RANK = 12, 10, 16
SCENES, HELD_BACK_SCENES = 512, 400
STEPS = 300
# Draws of weights and scenes on which gradient descent, momentum and Adam all arrive, at rates from slow to fast. On
# the others of the first 32 the slow ones wait for longer where a weight has to change its sign.
DRAWS = tuple(draw for draw in range(32) if draw not in (3, 6, 19, 21, 27))


def binding_scenes(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scenes of three things, questions "is the red one a cube?" and whether they are right.

    Colours of a scene differ, and so do shapes. Where the answer is no, the shapes of two things have changed places:
    what is in the picture is the same, and only what belongs together differs. Features are the sum of a colour's and a
    shape's direction, and a little noise.

    Returns:
        regions (count, 3, 12), questions (count, 10) and labels (count), 0 or 1.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    colours, shapes = (torch.rand(count, COLOURS, generator=generator).argsort(1)[:, :THINGS] for _ in range(2))
    yes = torch.rand(count, generator=generator) < 0.5
    there = torch.where(yes[:, None], shapes, shapes[:, [1, 0, 2]])

    def features(colour: torch.Tensor, shape: torch.Tensor, width: int) -> torch.Tensor:
        directions = torch.linalg.qr(draw(width, width)).Q[: 2 * COLOURS]
        both = directions[colour] + directions[COLOURS + shape]
        return both + 0.05 * draw(*both.shape)

    regions = features(colours, there, REGION_WIDTH)
    shuffled = torch.rand(count, THINGS, generator=generator).argsort(1)[..., None]
    questions = features(colours[:, 0], shapes[:, 0], QUESTION_WIDTH)
    return regions.take_along_dim(shuffled, 1), questions, yes.float()


def binding_case(seed: int, about: str) -> Case:
    """512 scenes to train on, 400 that only the judge sees, and where the weights start."""
    regions, questions, labels = binding_scenes(seed, SCENES + HELD_BACK_SCENES)
    return Case(
        about,
        {
            "regions": regions[:SCENES],
            "questions": questions[:SCENES],
            "labels": labels[:SCENES],
            "region_weight": 0.15 * normal(seed + 1, REGION_WIDTH, RANK),
            "question_weight": 0.15 * normal(seed + 2, QUESTION_WIDTH, RANK),
            "bias": torch.tensor(-0.5),
            "steps": STEPS,
        },
        hidden={"regions": regions[SCENES:], "questions": questions[SCENES:], "labels": labels[SCENES:]},
    )


def binding_logits(
    regions: torch.Tensor,
    questions: torch.Tensor,
    region_weight: torch.Tensor,
    question_weight: torch.Tensor,
    bias: torch.Tensor,
) -> torch.Tensor:
    """The fusion that is trained: a score of each region with the question, its square, the mean, and a bias."""
    scores = ((regions @ region_weight) * (questions @ question_weight)[:, None]).sum(-1)
    return scores.square().mean(1) + bias


def train_fusion(
    regions: torch.Tensor,
    questions: torch.Tensor,
    labels: torch.Tensor,
    region_weight: torch.Tensor,
    question_weight: torch.Tensor,
    bias: torch.Tensor,
    steps: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[float]]:
    """Trains by gradient descent."""
    weights = [start.clone().requires_grad_() for start in (region_weight, question_weight, bias)]
    losses = []
    for _ in range(steps):
        loss = F.binary_cross_entropy_with_logits(binding_logits(regions, questions, *weights), labels)
        losses.append(loss.item())
        with torch.no_grad():
            for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                weight -= gradient
    return *weights, losses


def _trained(value: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[float]]:
    """What was returned, if it can be judged."""
    if not isinstance(value, (tuple, list)) or len(value) != 4:
        raise InputError("Four things are expected: region_weight, question_weight, bias and the list of losses.")
    weights = [torch.tensor(one) if type(one) is float else one for one in value[:3]]
    wanted = {"region_weight": (REGION_WIDTH, RANK), "question_weight": (QUESTION_WIDTH, RANK), "bias": ()}
    for (name, shape), weight in zip(wanted.items(), weights, strict=True):
        if type(weight) is not torch.Tensor or not weight.is_floating_point() or not torch.isfinite(weight).all():
            raise InputError(f"{name} should be a tensor of finite floating numbers: did the training diverge?")
        if tuple(weight.shape) != shape:
            turned = " It is transposed." if tuple(weight.shape) == shape[::-1] else ""
            raise InputError(f"{name} should have shape {shape}, and has {tuple(weight.shape)}.{turned}")
    losses = value[3].tolist() if isinstance(value[3], torch.Tensor) and value[3].ndim == 1 else value[3]
    if isinstance(losses, (tuple, list)):
        losses = [one.item() if isinstance(one, torch.Tensor) and one.numel() == 1 else one for one in losses]
        if len(losses) > 1 and all(type(one) in (int, float) and math.isfinite(one) for one in losses):
            return *weights, losses
    raise InputError("The fourth thing should be a list of at least two finite numbers: the loss of every step.")


def held_back_accuracy(case: Case, value: Any) -> float:
    """Share of the scenes that were held back on which the trained fusion is right."""
    *weights, _ = _trained(value)
    logits = binding_logits(case.hidden["regions"], case.hidden["questions"], *(one.float() for one in weights))
    return float(((logits > 0) == (case.hidden["labels"] > 0.5)).float().mean())


def _products(case: Case) -> torch.Tensor:
    """The products of the two projections before the first step, (N, 3, RANK)."""
    given = case.inputs
    return (given["regions"] @ given["region_weight"]) * (given["questions"] @ given["question_weight"])[:, None]


def first_loss(case: Case) -> float:
    """The loss before the first step."""
    given = case.inputs
    start = [given[name] for name in ("region_weight", "question_weight", "bias")]
    logits = binding_logits(given["regions"], given["questions"], *start)
    return F.binary_cross_entropy_with_logits(logits, given["labels"]).item()


def _losses_are_wrong(case: Case, value: Any) -> str:
    right, losses = first_loss(case), _trained(value)[-1]
    got = losses[0]
    if math.isclose(right, got, rel_tol=1e-5):
        steps = case.inputs["steps"]
        return (
            "" if len(losses) == steps else f"There should be {steps} losses, one a step, and there are {len(losses)}."
        )
    return f"The first loss should be {right:.5f}, that of the given start over all scenes, and is {got:.5f}."


def _first_loss_is(loss: Callable[[Case], torch.Tensor]) -> Callable[[Case, Any], bool]:
    """Whether the first loss is `loss(case)`."""
    return lambda case, value: math.isclose(float(loss(case)), _trained(value)[-1][0], rel_tol=1e-5)


def _loss_of(logits: Callable[[Case], torch.Tensor], **how: Any) -> Callable[[Case, Any], bool]:
    """Whether the first loss is that of other logits."""
    return _first_loss_is(lambda case: F.binary_cross_entropy_with_logits(logits(case), case.inputs["labels"], **how))


def _right(case: Case) -> torch.Tensor:
    return _products(case).sum(-1).square().mean(1) + case.inputs["bias"]


def _sums(case: Case) -> torch.Tensor:
    given = case.inputs
    return (given["regions"] @ given["region_weight"]) + (given["questions"] @ given["question_weight"])[:, None]


TRAIN = Exercise(
    id="04.7",
    title="Train a fusion until it binds",
    name="train_fusion",
    signature="def train_fusion(regions: Tensor, questions: Tensor, labels: Tensor, region_weight: Tensor, "
    "question_weight: Tensor, bias: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor, list[float]]",
    asked="function",
    difficulty=5,
    minutes=20,
    points=4,
    hints=(
        "Make clones of the three weights that require gradients. A step: the logits of all scenes, their binary "
        "cross-entropy with the labels, the gradients, and each weight moved against its own.",
        "regions @ region_weight is (N, 3, K), questions @ question_weight (N, K): give the latter a dimension in the "
        "middle. Multiply, sum over K, square, average over the three regions, add the bias: (N). Then "
        "F.binary_cross_entropy_with_logits(logits, labels).",
        "The start is small and the gradients are too: with plain gradient descent a learning rate of 1 will do, with "
        "Adam about 0.02. torch.autograd.grad(loss, weights) gives all three gradients; move the weights "
        "under torch.no_grad().",
    ),
    cases=lambda seed: [binding_case(1000 + 10 * DRAWS[seed % len(DRAWS)], "scenes of three things")],
    reference=train_fusion,
    measure=Measure(
        f"accuracy on {HELD_BACK_SCENES} held-back scenes",
        held_back_accuracy,
        at_least=0.9,
        chance=0.5,
        baseline=0.5,
        besides=_losses_are_wrong,
    ),
    mistakes=(
        Mistake(
            "added",
            "The two projections are added: what belongs together is a matter of both at once, and only a product has "
            "that.",
            sign=_loss_of(lambda case: _sums(case).sum(-1).square().mean(1) + case.inputs["bias"]),
        ),
        Mistake(
            "pooled first",
            "The regions are averaged before they are scored: both pictures of a pair then look the same. Score and "
            "square each region, then average.",
            sign=_loss_of(lambda case: _products(case).sum(-1).mean(1).square() + case.inputs["bias"]),
        ),
        Mistake(
            "not squared",
            "The scores are not squared: a mean of plain scores is the score of the mean region, which is the same for "
            "both pictures of a pair.",
            sign=_loss_of(lambda case: _products(case).sum(-1).mean(1) + case.inputs["bias"]),
        ),
        Mistake(
            "squared before the sum",
            "Each of the K products is squared: sum them to the region's score first.",
            sign=_loss_of(lambda case: _products(case).square().sum(-1).mean(1) + case.inputs["bias"]),
        ),
        Mistake(
            "summed over the regions",
            "The squares are added up over the regions: take their mean.",
            sign=_loss_of(lambda case: _products(case).sum(-1).square().sum(1) + case.inputs["bias"]),
        ),
        Mistake(
            "bias left out",
            "The bias is missing: without it every logit is positive, and every answer yes.",
            sign=_loss_of(lambda case: _right(case) - case.inputs["bias"]),
        ),
        Mistake(
            "bias subtracted",
            "The bias is subtracted: add it, it starts negative.",
            sign=_loss_of(lambda case: _right(case) - 2 * case.inputs["bias"]),
        ),
        Mistake(
            "summed over the scenes",
            "That is the sum over the scenes: take the mean.",
            sign=_loss_of(_right, reduction="sum"),
        ),
        Mistake(
            "labels exchanged",
            "That is the loss with yes for no: the label 1 is a yes, and a yes has a high logit.",
            sign=_loss_of(lambda case: -_right(case)),
        ),
        Mistake(
            "wrong sign",
            "The loss has the wrong sign: gradient descent would make it worse.",
            sign=_first_loss_is(lambda case: -F.binary_cross_entropy_with_logits(_right(case), case.inputs["labels"])),
        ),
        Mistake(
            "sigmoid twice",
            "A sigmoid is applied before a loss that applies one itself: give it the logits.",
            sign=_loss_of(lambda case: _right(case).sigmoid()),
        ),
        Mistake(
            "squared error",
            "That is a squared error: a yes or no is taught by the binary cross-entropy of the logit.",
            sign=_first_loss_is(lambda case: F.mse_loss(_right(case).sigmoid(), case.inputs["labels"])),
        ),
        Mistake(
            "another number of steps",
            "Take as many steps as are given, and keep the loss of each.",
            sign=lambda case, value: len(_trained(value)[-1]) != case.inputs["steps"],
        ),
        Mistake(
            "not trained",
            "The loss stays what it was. Does every step change the weights that the next one uses, and in the "
            "direction that lowers the loss?",
            sign=lambda case, value: _trained(value)[-1][-1] > 0.97 * _trained(value)[-1][0],
        ),
        Mistake(
            "returned the start",
            "The losses fall, but what you return is no better than the start: return the weights that were trained.",
            sign=lambda case, value: torch.equal(_trained(value)[0], case.inputs["region_weight"]),
        ),
        Mistake(
            "unfinished",
            "The loss was still falling, or never fell smoothly: try another learning rate, or another optimiser.",
            sign=lambda case, value: held_back_accuracy(case, value) < 0.9,
        ),
    ),
    equivalents={
        "losses.append(loss)": A_TENSOR,
    },
    explanation="A region that is red and a cube scores 2, its square is 4; a red one and a cube apart score 1 each, "
    "and their squares add up to 2. Whatever bends the scores region by region, before the mean, can tell: attention, "
    "a ReLU, this square. A sum, or a mean that comes first, cannot.",
    seconds=60.0,
)

EXERCISES = (FILM, LOW_RANK, READ, COMPACT, POINTER, GATED, TRAIN)
