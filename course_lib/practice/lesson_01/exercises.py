"""Exercise set 01: from layer norm and a backward pass by hand to a transformer block and the loop that trains it."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.layers import positions as positioned
from course_lib.practice.exercise import Case, Exercise, Mistake, given, wrong_choices
from course_lib.training.optimisers import AdamW, clip_gradients
from course_lib.training.schedules import warmup_cosine


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Normal numbers that depend on the seed alone."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Why a mechanical change to a model solution may change nothing.
SAME_SWAP = "two dimensions change places whichever of them is named first"
EVEN = "a cosine is the same for an angle and for minus that angle"

# 01.1 ---------------------------------------------------------------------------------------------------------------


def layer_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float) -> torch.Tensor:
    """torch's own."""
    return F.layer_norm(x, (x.shape[-1],), weight, bias, eps)


def norm_case(about: str, seed: int, *shape: int, eps: float = 1e-5, scale: float = 3.0, **more: Any) -> Case:
    """A case of the layer norm: features with a mean that is not 0 and a spread that is not 1."""
    inputs = {
        "x": scale * (normal(seed, *shape) + 0.5),
        "weight": 1 + 0.5 * normal(seed + 1, shape[-1]),
        "bias": normal(seed + 2, shape[-1]),
        "eps": eps,
    }
    return Case(about, inputs, **more)


def norm_cases(seed: int) -> list[Case]:
    by_hand = {
        "x": torch.tensor([[1.0, 3.0], [0.0, 10.0]]),
        "weight": torch.tensor([1.0, 2.0]),
        "bias": torch.tensor([0.0, 0.5]),
        "eps": 1e-5,
    }
    return [
        Case("two vectors of two numbers, worked out by hand", by_hand),
        norm_case("a batch of three sequences", 10 * seed + 3, 3, 4, 6),
    ]


def _norm(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    eps: float,
    over: tuple[int, ...] = (-1,),
    correction: int = 0,
) -> torch.Tensor:
    """Layer norm over other axes, or with another divisor of the variance."""
    mean = x.mean(over, keepdim=True)
    return (x - mean) / (x.var(over, correction=correction, keepdim=True) + eps).sqrt() * weight + bias


LAYER_NORM = Exercise(
    id="01.1",
    title="Layer norm",
    name="layer_norm",
    signature="def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor",
    asked="function",
    difficulty=1,
    minutes=7,
    points=1,
    hints=(
        "Each vector along the last dimension is normalised by itself: its own mean is subtracted, and what is left is "
        "divided by its own standard deviation.",
        "x.mean(dim=-1, keepdim=True) keeps the dimension, so that the subtraction broadcasts. The variance is the "
        "mean of the squared deviations: divide by D, not by D - 1.",
        "eps is added to the variance, under the root. At the end comes * weight + bias, one of each per feature.",
    ),
    cases=norm_cases,
    reference=layer_norm,
    mistakes=(
        Mistake(
            "variance over D - 1",
            "The variance is divided by D - 1: torch.var and torch.std do so unless told correction=0. Layer norm "
            "divides by D.",
            lambda x, w, b, e: _norm(x, w, b, e, correction=1),
        ),
        Mistake(
            "batch norm",
            "The mean and the variance were taken over the batch: that is batch norm. Each vector is normalised by "
            "itself, along the last dimension (dim=-1).",
            lambda x, w, b, e: _norm(x, w, b, e, over=(0,)),
        ),
        Mistake(
            "along the sequence",
            "The mean and the variance were taken along the sequence: each position's vector is normalised by itself "
            "(dim=-1).",
            lambda x, w, b, e: _norm(x, w, b, e, over=(-2,)),
        ),
        Mistake(
            "over everything",
            "One mean and one variance were taken over the whole tensor: give dim=-1 and keepdim=True, so that every "
            "vector has its own.",
            lambda x, w, b, e: _norm(x, w, b, e, over=tuple(range(x.ndim))),
        ),
        Mistake(
            "mean not subtracted",
            "The mean is not subtracted: dividing by the root of the mean square alone is RMS norm.",
            lambda x, w, b, e: x / (x.square().mean(-1, keepdim=True) + e).sqrt() * w + b,
        ),
        Mistake(
            "divided by the variance",
            "You divide by the variance: take its root, the standard deviation.",
            lambda x, w, b, e: (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + e) * w + b,
        ),
        Mistake(
            "eps outside the root",
            "eps is added to the standard deviation: it belongs to the variance, under the root.",
            lambda x, w, b, e: (x - x.mean(-1, keepdim=True)) / (x.std(-1, correction=0, keepdim=True) + e) * w + b,
        ),
        Mistake(
            "eps left out",
            "eps is missing: a vector of equal numbers has the variance 0, and what is divided by it is nan.",
            lambda x, w, b, e: _norm(x, w, b, 0.0),
        ),
        Mistake(
            "scale and shift left out",
            "The normalisation is right; * weight + bias is missing, with which the layer can undo it.",
            lambda x, w, b, e: _norm(x, torch.ones_like(w), torch.zeros_like(b), e),
        ),
        Mistake(
            "shift left out",
            "The bias is missing: after * weight comes + bias.",
            lambda x, w, b, e: _norm(x, w, torch.zeros_like(b), e),
        ),
        Mistake(
            "scale left out",
            "The weight is missing: before + bias comes * weight.",
            lambda x, w, b, e: _norm(x, torch.ones_like(w), b, e),
        ),
        Mistake(
            "shifted before it is scaled",
            "The bias is added before the weight multiplies: scale first, then shift.",
            lambda x, w, b, e: _norm(x, w, b * w, e),
        ),
    ),
    explanation="No number of another vector takes part, so it does the same in training and in use, for a batch of "
    "one and for any length. Leave out the mean and the bias, and it is RMS norm, which Llama uses.",
)


# 01.2 ---------------------------------------------------------------------------------------------------------------

READING = {
    "rates": "b",
    "leak": "c",
    "leak_because": "a",
    "scale": "d",
    "scale_because": "b",
    "positions": "c",
}

_WHY_NOT = {
    ("rates", "a"): "A takes steps so small that after 80 of them it has hardly come down: its rate is the lowest.",
    ("rates", "c"): "C is thrown up before it comes down: steps that large overshoot the valley. Which rate does that?",
    ("rates", "d"): "Momentum would not throw a loss far above its start, and a slow, smooth fall needs no batch "
    "size to explain it: look at the size of the steps.",
    ("leak", "a"): "There is nothing to memorise: every step draws a new batch, and a batch is never seen again.",
    ("leak", "b"): "A rate that is too high gives a loss that rises or jumps; this one falls to 0.",
    ("leak", "d"): "With more layers or more steps a model predicts what can be predicted; evenly drawn tokens cannot "
    "be.",
    ("leak_because", "b"): "Size does not matter: no model of any size predicts an even draw better than guessing.",
    ("leak_because", "c"): "A cross-entropy can reach 0, where the answer is known for sure. Is it known here?",
    ("leak_because", "d"): "The tokens are drawn independently: none says anything about the next.",
    ("scale", "a"): "Scores of a larger spread make larger weights larger still, not all of them alike.",
    ("scale", "b"): "Softmax subtracts the highest score first: it does not overflow.",
    ("scale", "c"): "The projections would have to shrink to make up for it, and the gradient that should tell them to "
    "is what has gone.",
    ("scale_because", "a"): "The number of keys is 32 at every width in the figure.",
    ("scale_because", "c"): "Adding the same number to all scores changes no softmax; what grows is their spread.",
    ("scale_because", "d"): "The length of the values scales what comes out; the weights do not depend on them.",
    ("positions", "a"): "Nothing fails: attention takes any set of vectors, in any order.",
    ("positions", "b"): "The words are the same in both: an average over positions cannot tell their order.",
    ("positions", "d"): "Attention between two words depends on their vectors alone, which are the same in both "
    "sentences, so no layer can tell who bites.",
}  # fmt: skip


READ = Exercise(
    id="01.2",
    title="Read the curves, choose and justify",
    name="answers_01_2",
    signature="answers_01_2: dict[str, str]",
    asked="value",
    difficulty=2,
    minutes=10,
    points=2,
    hints=(
        "For the rates: what does a curve look like whose steps are too small, and one whose steps jump over the "
        "valley? For the leak: compute log(16), and ask what the least possible loss on such tokens is.",
        "For the scale: a dot product is a sum of d terms. What is the variance of a sum of d independent terms of "
        "variance 1, and what does softmax make of scores of that size?",
        "For the positions: write the attention of one word over the others without positions. Does any term change "
        "if two words change places?",
    ),
    cases=lambda seed: [Case("all six questions")],
    reference=READING,
    mistakes=wrong_choices(_WHY_NOT),
    keys={key: ("a", "b", "c", "d") for key in READING},
    explanation="A loss below what is possible is the surest sign of a leak: know the least possible loss before "
    "training. Scores of unscaled queries and keys have the variance d, and a saturated softmax passes no gradient.",
)


# 01.3 ---------------------------------------------------------------------------------------------------------------


def mlp_gradients(
    x: torch.Tensor, labels: torch.Tensor, w1: torch.Tensor, b1: torch.Tensor, w2: torch.Tensor, b2: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """What autograd finds."""
    weights = [w.detach().clone().requires_grad_() for w in (w1, b1, w2, b2)]
    logits = torch.relu(x @ weights[0] + weights[1]) @ weights[2] + weights[3]
    return torch.autograd.grad(F.cross_entropy(logits, labels), weights)


def mlp_case(
    about: str,
    seed: int,
    sizes: tuple[int, int, int, int],
    scale: float = 1.0,
    dtype: torch.dtype = torch.float32,
    **more: Any,
) -> Case:
    """A case of the backward pass: `sizes` are the batch, the inputs, the hidden units and the classes."""
    batch, width, hidden, classes = sizes
    generator = torch.Generator().manual_seed(seed + 5)
    inputs = {
        "x": normal(seed, batch, width, dtype=dtype),
        "labels": torch.randint(classes, (batch,), generator=generator),
        "w1": scale * normal(seed + 1, width, hidden, dtype=dtype),
        "b1": normal(seed + 2, hidden, dtype=dtype),
        "w2": scale * normal(seed + 3, hidden, classes, dtype=dtype),
        "b2": normal(seed + 4, classes, dtype=dtype),
    }
    return Case(about, inputs, **more)


def mlp_cases(seed: int) -> list[Case]:
    by_hand = {
        "x": torch.tensor([[1.0, 2.0]]),
        "labels": torch.tensor([0]),
        "w1": torch.tensor([[1.0, -1.0], [0.5, 0.0]]),
        "b1": torch.tensor([0.0, 0.0]),
        "w2": torch.tensor([[1.0, 1.0], [0.0, 2.0]]),
        "b2": torch.tensor([0.0, 0.0]),
    }
    return [
        Case("one example, two hidden units, worked out by hand", by_hand),
        mlp_case("a batch of five with three classes", 10 * seed + 1, (5, 4, 6, 3)),
    ]


def _backward(
    x: torch.Tensor,
    labels: torch.Tensor,
    w1: torch.Tensor,
    b1: torch.Tensor,
    w2: torch.Tensor,
    b2: torch.Tensor,
    error: Callable = lambda logits, own: (logits.softmax(1) - own) / len(logits),
    gate: Callable = lambda before, after: (before > 0).to(after),
) -> tuple[torch.Tensor, ...]:
    """The backward pass with its two decisive steps to be replaced by a mistake."""
    before = x @ w1 + b1
    hidden = before.relu()
    logits = hidden @ w2 + b2
    own = F.one_hot(labels, logits.shape[1]).to(logits)
    above = error(logits, own)
    below = (above @ w2.T) * gate(before, above @ w2.T)
    return x.T @ below, below.sum(0), hidden.T @ above, above.sum(0)


def _relabelled(**changes: Callable) -> Callable:
    """An answer with a mistake: `_backward` with one step changed."""

    def answer(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return _backward(*inputs, **changes)

    return answer


def _inputs_for_hidden(x, labels, w1, b1, w2, b2):
    """The second layer's gradient from what came before the activation."""
    right = _backward(x, labels, w1, b1, w2, b2)
    above = ((x @ w1 + b1).relu() @ w2 + b2).softmax(1) - F.one_hot(labels, w2.shape[1])
    return right[0], right[1], (x @ w1 + b1).T @ (above / len(x)), right[3]


def _mean_of_biases(*inputs):
    right = _backward(*inputs)
    return right[0], right[1] / len(inputs[0]), right[2], right[3] / len(inputs[0])


BACKWARD = Exercise(
    id="01.3",
    title="A backward pass by hand",
    name="mlp_gradients",
    signature="def mlp_gradients(x: Tensor, labels: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> "
    "tuple[Tensor, Tensor, Tensor, Tensor]",
    asked="function",
    difficulty=3,
    minutes=15,
    points=3,
    hints=(
        "Go forward first and keep what you will need: the hidden values before and after the ReLU, and the logits. "
        "Then go back, one step at a time; every gradient has the shape of what it belongs to.",
        "The gradient of the mean cross-entropy by the logits is (softmax(logits) - one_hot(labels)) / N. For y = a @ "
        "w + b with gradient g at y: that of w is a.T @ g, that of b is g.sum(dim=0), that of a is g @ w.T.",
        "At the ReLU the gradient passes where the value before it was positive and is 0 elsewhere: multiply by "
        "(before > 0). Return the gradients of w1, b1, w2, b2, in this order.",
    ),
    cases=mlp_cases,
    reference=mlp_gradients,
    mistakes=(
        Mistake(
            "not divided by the batch",
            "The gradients are those of the sum over the batch: the loss is the mean, so divide by N once, at the "
            "logits.",
            _relabelled(error=lambda logits, own: logits.softmax(1) - own),
        ),
        Mistake(
            "one-hot not subtracted",
            "At the logits stands the softmax alone: the gradient is softmax minus 1 at the right class.",
            _relabelled(error=lambda logits, own: logits.softmax(1) / len(logits)),
        ),
        Mistake(
            "softmax left out",
            "At the logits stand the logits minus the one-hot labels, the gradient of a squared error: cross-entropy "
            "has softmax(logits) there.",
            _relabelled(error=lambda logits, own: (logits - own) / len(logits)),
        ),
        Mistake(
            "wrong sign",
            "All gradients have the wrong sign: they should point uphill; it is the optimiser that goes against them.",
            _relabelled(error=lambda logits, own: (own - logits.softmax(1)) / len(logits)),
        ),
        Mistake(
            "softmax over the batch",
            "The softmax runs over the batch: each example's classes are along dim=1.",
            _relabelled(error=lambda logits, own: (logits.softmax(0) - own) / len(logits)),
        ),
        Mistake(
            "ReLU forgotten",
            "The gradient passes the ReLU everywhere: where the value before it was negative it is 0.",
            _relabelled(gate=lambda before, after: torch.ones_like(after)),
        ),
        Mistake(
            "ReLU of the gradient",
            "The gradient itself was put through the ReLU: what decides is the sign of the value that came forward.",
            _relabelled(gate=lambda before, after: (after > 0).to(after)),
        ),
        Mistake(
            "ReLU's value for its derivative",
            "You multiply by the ReLU's value: its derivative is 1 where the value is positive, whatever its size.",
            _relabelled(gate=lambda before, after: before.relu()),
        ),
        Mistake(
            "before the activation",
            "The gradient of w2 uses the hidden values before the ReLU: w2 multiplied those after it.",
            _inputs_for_hidden,
        ),
        Mistake(
            "mean for the biases",
            "The biases' gradients are divided by N twice: a bias is added to every example, so its gradient is the "
            "sum over the batch of what arrives, and the mean is in there already.",
            _mean_of_biases,
        ),
        Mistake(
            "order",
            "The right gradients in another order: w1, b1, w2, b2 is asked for.",
            lambda *inputs: (*_backward(*inputs)[2:], *_backward(*inputs)[:2]),
        ),
    ),
    explanation="Each weight's gradient is what came in times what came back. Autograd does no more: it keeps what a "
    "step will need on the way back, and multiplies in reverse order.",
)


# 01.4 ---------------------------------------------------------------------------------------------------------------


def attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor, is_causal: bool
) -> torch.Tensor:
    """torch's own, with both masks made one."""
    return F.scaled_dot_product_attention(query, key, value, _allowed(query, key, attention_mask, is_causal))


def _allowed(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor, causal: bool) -> torch.Tensor:
    """Boolean `(B, 1, T, S)`: which query may look at which key."""
    allowed = mask[:, None, None, :].expand(-1, 1, query.shape[2], -1)
    return allowed & torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril() if causal else allowed


def attention_case(
    about: str,
    seed: int,
    mask: list[list[int]],
    causal: bool,
    heads: int = 2,
    queries: int | None = None,
    widths: tuple[int, int] = (4, 4),
    dtype: torch.dtype = torch.float32,
    scale: float = 1.0,
    **more: Any,
) -> Case:
    """A case of masked attention: `mask` says which of each sequence's keys are tokens; `widths` are d and that of
    the values."""
    batch, keys = len(mask), len(mask[0])
    inputs = {
        "query": scale * normal(seed, batch, heads, queries or keys, widths[0], dtype=dtype),
        "key": scale * normal(seed + 1, batch, heads, keys, widths[0], dtype=dtype),
        "value": normal(seed + 2, batch, heads, keys, widths[1], dtype=dtype),
        "attention_mask": torch.tensor(mask, dtype=torch.bool),
        "is_causal": causal,
    }
    return Case(about, inputs, **more)


def attention_cases(seed: int) -> list[Case]:
    one = torch.tensor([[[[2.0, 0.0], [0.0, 2.0]]]])
    by_hand = {
        "query": one,
        "key": one.clone(),
        "value": torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]]),
        "attention_mask": torch.tensor([[True, True]]),
        "is_causal": True,
    }
    return [
        Case("two positions, causal, worked out by hand", by_hand),
        attention_case("two sequences, the second padded at its end", 10 * seed + 1, [[1, 1, 1], [1, 1, 0]], False),
        attention_case(
            "padding at the beginning and a causal mask: a position that may see nothing gets zeros",
            10 * seed + 4,
            [[0, 1, 1], [1, 1, 1]],
            True,
            heads=1,
        ),
    ]


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    causal: bool,
    scale: float | None = None,
    after: bool = False,
    dim: int = -1,
    fill: float = -torch.inf,
) -> torch.Tensor:
    """Attention with likely mistakes: another scale, masks after the softmax, another axis, another filling."""
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    allowed = _allowed(query, key, mask, causal)
    if after:
        return (scores.softmax(dim) * allowed) @ value
    return scores.masked_fill(~allowed, fill).softmax(dim).nan_to_num() @ value


def _strict(query, key, value, mask, causal):
    """A position that does not see itself."""
    allowed = _allowed(query, key, mask, False)
    if causal:
        allowed = allowed & torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril(-1)
    return F.scaled_dot_product_attention(query, key, value, allowed)


def _upside_down(query, key, value, mask, causal):
    """A position sees itself and those after it."""
    allowed = _allowed(query, key, mask, False)
    if causal:
        allowed = allowed & torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).triu()
    return F.scaled_dot_product_attention(query, key, value, allowed)


def _raw_nan(query, key, value, mask, causal):
    """What a softmax over nothing gives: nan."""
    weights = (query @ key.mT / query.shape[-1] ** 0.5).masked_fill(~_allowed(query, key, mask, causal), -torch.inf)
    return weights.softmax(-1) @ value


ATTENTION = Exercise(
    id="01.4",
    title="Attention with two masks",
    name="attention",
    signature="def attention(query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, is_causal: bool) -> "
    "Tensor",
    asked="function",
    difficulty=3,
    minutes=14,
    points=3,
    hints=(
        "Four steps: a score for every query and key, scaled; minus infinity where the query may not look; a softmax "
        "over the keys; the mean of the values with these weights.",
        "attention_mask[:, None, None, :] has the shape (B, 1, 1, S) and so holds for all heads and all queries. "
        "torch.ones(T, T, dtype=torch.bool).tril() is true where a query may look in a causal model; & joins the two.",
        "scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1). A row of nothing but minus infinity becomes nan: "
        "put 0 in its place before you multiply by the values.",
    ),
    cases=attention_cases,
    reference=attention,
    mistakes=(
        Mistake(
            "not scaled",
            "The scores are not scaled: divide them by the root of the width of a query, d.",
            lambda q, k, v, m, c: _attend(q, k, v, m, c, scale=1.0),
        ),
        Mistake(
            "scaled by d",
            "The scores are divided by d: by its root, as the variance of a dot product is d.",
            lambda q, k, v, m, c: _attend(q, k, v, m, c, scale=1 / q.shape[-1]),
        ),
        Mistake(
            "scaled the wrong way",
            "The scores are multiplied by the root of d: divide by it.",
            lambda q, k, v, m, c: _attend(q, k, v, m, c, scale=q.shape[-1] ** 0.5),
        ),
        Mistake(
            "scaled by the length",
            "The scores are divided by the root of the number of keys: it is the width of a query, query.shape[-1].",
            lambda q, k, v, m, c: _attend(q, k, v, m, c, scale=k.shape[-2] ** -0.5),
        ),
        Mistake(
            "causal mask left out",
            "With is_causal, positions still look at those after them.",
            lambda q, k, v, m, c: attention(q, k, v, m, False),
        ),
        Mistake(
            "padding mask left out",
            "Padding is looked at: where attention_mask is False there is no token.",
            lambda q, k, v, m, c: attention(q, k, v, torch.ones_like(m), c),
        ),
        Mistake(
            "both masks left out",
            "Neither mask has an effect.",
            lambda q, k, v, m, c: attention(q, k, v, torch.ones_like(m), False),
        ),
        Mistake(
            "mask turned round",
            "The padding is kept and the tokens are hidden: attention_mask is True where there is a token.",
            lambda q, k, v, m, c: _attend(q, k, v, ~m, c),
        ),
        Mistake(
            "masked after the softmax",
            "The masks are applied after the softmax, so that the weights that are left no longer sum to 1: put minus "
            "infinity into the scores before it.",
            lambda q, k, v, m, c: _attend(q, k, v, m, c, after=True),
        ),
        Mistake(
            "filled with 0",
            "Forbidden scores are set to 0, which is a score like any other: softmax gives such a key a weight. Minus "
            "infinity gets none.",
            lambda q, k, v, m, c: _attend(q, k, v, m, c, fill=0.0),
        ),
        Mistake(
            "cannot see itself",
            "A position does not see itself: the diagonal belongs to what a causal mask allows.",
            _strict,
        ),
        Mistake(
            "looks ahead",
            "The causal mask is the wrong way round: a position sees itself and those before it, the lower triangle.",
            _upside_down,
        ),
        Mistake(
            "softmax over the queries",
            "The softmax runs over the queries: each query's weights over the keys sum to 1 (dim=-1).",
            lambda q, k, v, m, c: _attend(q, k, v, m, c, dim=-2),
        ),
        Mistake(
            "no softmax",
            "There is no softmax: the weights of a query should be positive and sum to 1.",
            lambda q, k, v, m, c: (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~_allowed(q, k, m, c), 0.0) @ v,
        ),
        Mistake(
            "nan where nothing is seen",
            "A query that may see no key gets nan, for its softmax divides 0 by 0: its result should be zeros.",
            _raw_nan,
        ),
        Mistake(
            "mean where nothing is seen",
            "A query that may see no key gets the mean of all values, padding included, as softmax makes equal weights "
            "of equally low scores: its result should be zeros.",
            lambda q, k, v, m, c: _attend(q, k, v, m, c, fill=-1e9),
        ),
    ),
    explanation="F.scaled_dot_product_attention is this in one kernel. Padding at the beginning is what batched "
    "generation uses, and its first rows are where nan comes from.",
)


# 01.5 ---------------------------------------------------------------------------------------------------------------


def rotate(x: torch.Tensor, positions: torch.Tensor, base: float) -> torch.Tensor:
    """The library's, which is Llama's."""
    return positioned.rotate(x, *positioned.RotaryEmbedding(x.shape[-1], base)(positions))


def _rotated(
    x: torch.Tensor,
    positions: torch.Tensor,
    base: float,
    exponent: Callable[[int], torch.Tensor] = lambda half: torch.arange(half) / half,
    sign: int = 1,
    interleaved: bool = False,
    turned: bool = True,
) -> torch.Tensor:
    """Rotary embedding with its likely mistakes: other angles, the other way, other pairs, an unturned half."""
    half = x.shape[-1] // 2
    angles = positions[:, None] * (base ** -exponent(half))
    cos, sin = angles.cos(), sign * angles.sin()
    first, second = (x[..., 0::2], x[..., 1::2]) if interleaved else (x[..., :half], x[..., half:])
    turn = (first * cos - second * sin, second * cos + (1 if turned else -1) * first * sin)
    return torch.stack(turn, -1).flatten(-2) if interleaved else torch.cat(turn, -1)


def rotary_case(about: str, seed: int, shape: tuple[int, ...], positions: list[int], base: float, **more: Any) -> Case:
    inputs = {"x": normal(seed, *shape), "positions": torch.tensor(positions), "base": base}
    return Case(about, inputs, **more)


def rotary_cases(seed: int) -> list[Case]:
    by_hand = {
        "x": torch.tensor([[[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]]]),
        "positions": torch.tensor([0, 1, 1]),
        "base": 10_000.0,
    }
    return [
        Case("vectors of two numbers: (1, 0) at position 1 becomes (cos 1, sin 1)", by_hand),
        rotary_case("two heads of width six", seed + 1, (1, 2, 4, 6), [0, 1, 2, 3], 10_000.0),
        rotary_case("positions that begin at 5, as with a cache", seed + 2, (2, 1, 2, 4), [5, 6], 100.0),
    ]


ROTARY = Exercise(
    id="01.5",
    title="Rotary positions",
    name="rotate",
    signature="def rotate(x: Tensor, positions: Tensor, base: float) -> Tensor",
    asked="function",
    difficulty=3,
    minutes=12,
    points=3,
    hints=(
        "Take dimension i and dimension i + d/2 as the two coordinates of a point in a plane, and turn it by the angle "
        "position times frequency i.",
        "The frequencies are base ** (-i / (d/2)) for i = 0 ... d/2 - 1, so the first plane turns by one radian per "
        "position. positions[:, None] * frequencies gives the angles, (T, d/2).",
        "With the halves a = x[..., :d/2] and b = x[..., d/2:], a turn takes (a, b) to (a cos - b sin, b cos + a sin); "
        "torch.cat puts the halves together again.",
    ),
    cases=rotary_cases,
    reference=rotate,
    mistakes=(
        Mistake(
            "interleaved pairs",
            "Neighbouring dimensions (2i, 2i + 1) are paired, as in the paper: here, as in Llama, i goes with i + d/2. "
            "Mixing the two up is the usual reason why loaded weights talk nonsense.",
            lambda x, p, b: _rotated(x, p, b, interleaved=True),
        ),
        Mistake(
            "turned backwards",
            "The planes turn the wrong way: (a, b) goes to (a cos - b sin, b cos + a sin).",
            lambda x, p, b: _rotated(x, p, b, sign=-1),
        ),
        Mistake(
            "not a rotation",
            "Both sines have the same sign, so lengths change: a rotation has one minus.",
            lambda x, p, b: _rotated(x, p, b, turned=False),
        ),
        Mistake(
            "exponent over d",
            "The exponents are i / d: they are i / (d/2), or 2i / d, so that they reach nearly 1.",
            lambda x, p, b: _rotated(x, p, b, exponent=lambda half: torch.arange(half) / (2 * half)),
        ),
        Mistake(
            "exponent one too far",
            "The frequencies start one too late: the first plane has i = 0 and turns by one radian per position.",
            lambda x, p, b: _rotated(x, p, b, exponent=lambda half: (torch.arange(half) + 1) / half),
        ),
        Mistake(
            "frequencies rise",
            "The frequencies rise with i: the exponent is negative, so that later planes turn more slowly.",
            lambda x, p, b: _rotated(x, p, b, exponent=lambda half: -torch.arange(half) / half),
        ),
        Mistake(
            "one frequency",
            "All planes turn at the same speed: plane i has the frequency base ** (-i / (d/2)).",
            lambda x, p, b: _rotated(x, p, b, exponent=lambda half: torch.zeros(half)),
        ),
        Mistake(
            "positions not used",
            "The positions are counted from 0 whatever was given: use `positions`, which begin elsewhere when there is "
            "a cache.",
            lambda x, p, b: _rotated(x, torch.arange(len(p)), b),
        ),
        Mistake(
            "positions from 1",
            "Every vector is turned one position too far: position 0 is not turned at all.",
            lambda x, p, b: _rotated(x, p + 1, b),
        ),
        Mistake(
            "base not used",
            "The base is 10,000 whatever was given: models for long texts take a larger one.",
            lambda x, p, b: _rotated(x, p, 10_000.0),
        ),
        Mistake(
            "added",
            "Sines and cosines are added, as sinusoidal position embeddings are: rotary ones multiply.",
            lambda x, p, b: (
                x
                + torch.cat(
                    [
                        f(p[:, None] * b ** -(torch.arange(x.shape[-1] // 2) / (x.shape[-1] // 2)))
                        for f in (torch.sin, torch.cos)
                    ],
                    -1,
                )
            ),
        ),
    ),
    explanation="Turned by m and by n, a query and a key have a dot product that depends on m - n alone: relative "
    "positions, without a parameter, and without touching the values.",
)


# 01.6 ---------------------------------------------------------------------------------------------------------------


class Block(nn.Module):
    """A pre-norm transformer block with causal self-attention; names and sizes as in the exercise."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        hidden_states = hidden_states + self.attend(self.norm1(hidden_states))
        return hidden_states + self.think(self.norm2(hidden_states))

    # The steps that a likely mistake changes.
    def attend(self, hidden: torch.Tensor) -> torch.Tensor:
        mixed = self.mix(*(self.split(part) for part in self.parts(hidden)))
        return self.out(self.join(mixed))

    def parts(self, hidden: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.qkv(hidden).chunk(3, dim=-1)

    def split(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def mix(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(query, key, value, is_causal=True)

    def join(self, mixed: torch.Tensor) -> torch.Tensor:
        return mixed.transpose(1, 2).flatten(2)

    def think(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(hidden)))


class _PostNorm(Block):
    def forward(self, hidden_states):
        hidden_states = self.norm1(hidden_states + self.attend(hidden_states))
        return self.norm2(hidden_states + self.think(hidden_states))


class _NoNorms(Block):
    def forward(self, hidden_states):
        hidden_states = hidden_states + self.attend(hidden_states)
        return hidden_states + self.think(hidden_states)


class _NormedResidual(Block):
    def forward(self, hidden_states):
        hidden_states = self.norm1(hidden_states)
        hidden_states = self.norm2(hidden_states + self.attend(hidden_states))
        return hidden_states + self.think(hidden_states)


class _NoFirstResidual(Block):
    def forward(self, hidden_states):
        hidden_states = self.attend(self.norm1(hidden_states))
        return hidden_states + self.think(self.norm2(hidden_states))


class _NoSecondResidual(Block):
    def forward(self, hidden_states):
        hidden_states = hidden_states + self.attend(self.norm1(hidden_states))
        return self.think(self.norm2(hidden_states))


class _NoResiduals(Block):
    def forward(self, hidden_states):
        return self.think(self.norm2(self.attend(self.norm1(hidden_states))))


class _Parallel(Block):
    def forward(self, hidden_states):
        return hidden_states + self.attend(self.norm1(hidden_states)) + self.think(self.norm2(hidden_states))


class _FirstNormTwice(Block):
    def forward(self, hidden_states):
        hidden_states = hidden_states + self.attend(self.norm1(hidden_states))
        return hidden_states + self.think(self.norm1(hidden_states))


class _NotCausal(Block):
    def mix(self, query, key, value):
        return F.scaled_dot_product_attention(query, key, value)


class _NotScaled(Block):
    def mix(self, query, key, value):
        return F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0)


class _ScaledByWidth(Block):
    def mix(self, query, key, value):
        scale = (query.shape[-1] * self.heads) ** -0.5
        return F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale)


class _OneHead(Block):
    def split(self, hidden):
        return hidden.unsqueeze(1)


class _WrongView(Block):
    def split(self, hidden):
        batch, length, width = hidden.shape
        return hidden.reshape(batch, self.heads, length, width // self.heads)


class _HeadsOverTime(Block):
    def split(self, hidden):
        return hidden.unflatten(-1, (self.heads, -1))

    def join(self, mixed):
        return mixed.flatten(2)

    def mix(self, query, key, value):
        return F.scaled_dot_product_attention(query, key, value, is_causal=True)


class _WrongJoin(Block):
    def join(self, mixed):
        batch, heads, length, width = mixed.shape
        return mixed.reshape(batch, length, heads * width)


class _KeyFirst(Block):
    def mix(self, query, key, value):
        return super().mix(key, query, value)


class _HeadsFirst(Block):
    """qkv read as (heads, 3, d) instead of (3, heads, d)."""

    def parts(self, hidden):
        by_head = self.qkv(hidden).unflatten(-1, (self.heads, 3, -1))
        return tuple(by_head[..., part, :].flatten(-2) for part in range(3))


class _NoOut(Block):
    def attend(self, hidden):
        return self.join(self.mix(*(self.split(part) for part in self.parts(hidden))))


class _ReLU(Block):
    def think(self, hidden):
        return self.fc2(F.relu(self.fc1(hidden)))


class _TanhGELU(Block):
    def think(self, hidden):
        return self.fc2(F.gelu(self.fc1(hidden), approximate="tanh"))


class _Linear(Block):
    def think(self, hidden):
        return self.fc2(self.fc1(hidden))


def block_case(about: str, seed: int, batch: int, length: int, width: int, heads: int, **more: Any) -> Case:
    """A case of the block, with weights large enough for every part of it to show."""
    state = {
        "norm1.weight": 1 + 0.3 * normal(seed + 1, width),
        "norm1.bias": 0.3 * normal(seed + 2, width),
        "qkv.weight": 1.5 * normal(seed + 3, 3 * width, width) / width**0.5,
        "qkv.bias": 0.3 * normal(seed + 4, 3 * width),
        "out.weight": normal(seed + 5, width, width) / width**0.5,
        "out.bias": 0.3 * normal(seed + 6, width),
        "norm2.weight": 1 + 0.3 * normal(seed + 7, width),
        "norm2.bias": 0.3 * normal(seed + 8, width),
        "fc1.weight": normal(seed + 9, 4 * width, width) / width**0.5,
        "fc1.bias": 0.3 * normal(seed + 10, 4 * width),
        "fc2.weight": normal(seed + 11, width, 4 * width) / width**0.5,
        "fc2.bias": 0.3 * normal(seed + 12, width),
    }
    inputs = {"hidden_states": 2 * normal(seed + 13, batch, length, width) + 0.5}
    return Case(about, inputs, construct={"width": width, "heads": heads}, state=state, **more)


def block_cases(seed: int) -> list[Case]:
    return [
        block_case("one sequence of three positions, two heads", 100 * seed, 1, 3, 4, 2),
        block_case("two sequences, three heads", 100 * seed + 20, 2, 5, 12, 3),
    ]


BLOCK = Exercise(
    id="01.6",
    title="A transformer block",
    name="Block",
    signature="class Block(nn.Module)",
    asked="module",
    difficulty=4,
    minutes=18,
    points=4,
    hints=(
        "Write forward as two lines, each of the form x = x + part(norm(x)): first attention, then the MLP. What is "
        "added is x itself, not its normalised form.",
        "qkv gives (B, T, 3D): queries, keys and values are its thirds along the last dimension (.chunk(3, dim=-1)). "
        "Heads are slices of width d = D / heads: .view(B, T, heads, d).transpose(1, 2) gives (B, heads, T, d). A view "
        "to (B, heads, T, d) at once would mix positions and heads up.",
        "mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True); back to (B, T, D) with "
        "mixed.transpose(1, 2).flatten(2), then self.out. The MLP is self.fc2(F.gelu(self.fc1(x))).",
    ),
    cases=block_cases,
    reference=Block,
    mistakes=(
        Mistake(
            "post-norm",
            "The norms stand after the additions: that is the original transformer. Here each part gets a normalised "
            "copy, and what is added up is never normalised.",
            _PostNorm,
        ),
        Mistake("norms left out", "The layer norms are not applied: each part gets a normalised copy.", _NoNorms),
        Mistake(
            "residual of the normalised",
            "The normalised vector is added instead of the one before it: keep x, and normalise only what a part is "
            "given.",
            _NormedResidual,
        ),
        Mistake(
            "attention not added",
            "The attention's result replaces the hidden states: add it to them.",
            _NoFirstResidual,
        ),
        Mistake("MLP not added", "The MLP's result replaces the hidden states: add it to them.", _NoSecondResidual),
        Mistake("nothing added", "Neither part is added to what came in: there are no residuals.", _NoResiduals),
        Mistake(
            "in parallel",
            "Both parts are given the block's input: the MLP is given what the attention was added to.",
            _Parallel,
        ),
        Mistake("one norm twice", "norm1 is used for both parts: the MLP has norm2.", _FirstNormTwice),
        Mistake(
            "not causal",
            "Positions look at those after them: the attention is causal here.",
            _NotCausal,
        ),
        Mistake("not scaled", "The scores are not divided by the root of a head's width.", _NotScaled),
        Mistake(
            "scaled by the whole width",
            "The scores are divided by the root of D: the queries of a head have the width D / heads.",
            _ScaledByWidth,
        ),
        Mistake(
            "one head",
            "There is one head of the whole width: split queries, keys and values into `heads` slices.",
            _OneHead,
        ),
        Mistake(
            "heads by a view alone",
            "The heads are cut out by a view to (B, heads, T, d), which mixes positions and features up: view to (B, "
            "T, heads, d) first, then transpose.",
            _WrongView,
        ),
        Mistake(
            "attention between heads",
            "The heads of a position attend to each other: positions must be the last but one dimension, (B, heads, T, "
            "d).",
            _HeadsOverTime,
        ),
        Mistake(
            "joined without a transpose",
            "The heads are joined by a view of (B, heads, T, d): transpose back to (B, T, heads, d) first.",
            _WrongJoin,
        ),
        Mistake("query and key exchanged", "Queries and keys are exchanged: the first third is the query.", _KeyFirst),
        Mistake(
            "thirds of each head",
            "qkv was cut into heads first and each head into thirds: the thirds come first, queries, keys, values.",
            _HeadsFirst,
        ),
        Mistake("out left out", "The output projection `out` is missing after the heads are joined.", _NoOut),
        Mistake("ReLU", "The MLP has a ReLU: here it is GELU.", _ReLU),
        Mistake(
            "tanh for GELU",
            "This is GELU's tanh approximation, which GPT-2 has: here it is F.gelu as it is.",
            _TanhGELU,
        ),
        Mistake("no activation", "There is no activation between fc1 and fc2, so they are one linear map.", _Linear),
    ),
    equivalents={
        "query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(2, 1) for part in parts)": SAME_SWAP,
        "return self.out(mixed.transpose(2, 1).flatten(2))": SAME_SWAP,
    },
    explanation="Embed tokens, add or rotate positions, stack twelve of these, normalise once more, multiply by the "
    "embeddings: that is GPT-2. Compare with nn.TransformerEncoderLayer(norm_first=True).",
)


# 01.7 ---------------------------------------------------------------------------------------------------------------


class LeastSquares(nn.Module):
    """The gradient of the mean squared error of a linear model: weights `(D,)` -> `(D,)`."""

    def __init__(self, examples: int, width: int) -> None:
        super().__init__()
        self.register_buffer("inputs", torch.zeros(examples, width))
        self.register_buffer("targets", torch.zeros(examples))

    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        error = self.inputs @ weights - self.targets
        return 2 * self.inputs.T @ error / len(error)


def train(
    weights: torch.Tensor,
    gradient: Callable[[torch.Tensor], torch.Tensor],
    steps: int,
    warmup_steps: int,
    peak: float,
    weight_decay: float,
    max_norm: float,
) -> torch.Tensor:
    """The library's optimiser, clipping and schedule."""
    parameter = weights.detach().clone().requires_grad_()
    optimiser = AdamW([parameter], peak, weight_decay=weight_decay)
    visited = []
    for step in range(steps):
        parameter.grad = gradient(parameter.detach()).clone()
        clip_gradients([parameter], max_norm)
        optimiser.learning_rate = warmup_cosine(step, steps, warmup_steps, peak)
        optimiser.step()
        visited.append(parameter.detach().clone())
    return torch.stack(visited)


def train_case(
    about: str,
    seed: int,
    width: int,
    steps: int,
    warmup: int,
    peak: float = 0.3,
    decay: float = 0.1,
    clip: float = 0.8,
    faint: float = 1.0,
) -> Case:
    """A case of the loop on a regression.

    `clip` is max_norm as a share of the first gradient's length; `faint` scales the last feature, and with it its
    weight's gradient.
    """
    inputs = normal(seed, 12, width)
    inputs[:, -1] *= faint
    targets = 2 * normal(seed + 1, 12) + inputs.sum(dim=1)
    weights = 3 * normal(seed + 2, width) + 1
    first = 2 * inputs.T @ (inputs @ weights - targets) / 12
    state = {"inputs": inputs, "targets": targets}
    return Case(
        about,
        {
            "weights": weights,
            "gradient": given(LeastSquares, {"examples": 12, "width": width}, state),
            "steps": steps,
            "warmup_steps": warmup,
            "peak": peak,
            "weight_decay": decay,
            "max_norm": round(clip * float(first.norm()), 2),
        },
    )


def train_cases(seed: int) -> list[Case]:
    return [
        train_case("two steps of a model with two weights", 10 * seed, 2, 2, 1),
        train_case("six steps, of which two are warm-up", 10 * seed + 3, 3, 6, 2),
    ]


def _train(
    weights: torch.Tensor,
    gradient: Callable[[torch.Tensor], torch.Tensor],
    steps: int,
    warmup_steps: int,
    peak: float,
    weight_decay: float,
    max_norm: float,
    *,
    rate: Callable[[int, int, int, float], float] = warmup_cosine,
    clip: str = "norm",
    decay: str = "decoupled",
    correction: bool = True,
    first: int = 1,
    eps: str = "outside",
    betas: tuple[float, float] = (0.9, 0.999),
    fresh: tuple[float, float] | None = None,
    root: bool = True,
    square: bool = True,
    sign: int = -1,
) -> torch.Tensor:
    """The loop with everything that learners get wrong made a choice."""
    mean, power = torch.zeros_like(weights), torch.zeros_like(weights)
    new = fresh or (1 - betas[0], 1 - betas[1])
    visited = []
    for step in range(steps):
        now = rate(step, steps, warmup_steps, peak)
        grad = gradient(weights)
        if decay == "before clipping":
            grad = grad + weight_decay * weights
        if clip == "norm":
            grad = grad * min(1.0, max_norm / float(grad.norm()))
        elif clip == "always":
            grad = grad * max_norm / grad.norm()
        elif clip == "values":
            grad = grad.clamp(-max_norm, max_norm)
        if decay == "in the gradient":
            grad = grad + weight_decay * weights
        mean = betas[0] * mean + new[0] * grad
        power = betas[1] * power + new[1] * (grad**2 if square else grad.abs())
        t = step + first
        m = mean / (1 - betas[0] ** t) if correction else mean
        v = power / (1 - betas[1] ** t) if correction else power
        size = v.sqrt() + 1e-8 if eps == "outside" else (v + 1e-8).sqrt()
        if not root:
            size = v + 1e-8
        shrink = {"decoupled": now, "peak": peak, "without the rate": 1.0}.get(decay, 0.0) * weight_decay
        weights = weights - shrink * weights + sign * now * m / size
        visited.append(weights)
    return torch.stack(visited)


def _with(**changes: Any) -> Callable:
    """An answer with a mistake: `_train` with one choice changed."""

    def answer(*inputs: Any) -> torch.Tensor:
        return _train(*inputs, **changes)

    return answer


def _late(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    """A warm-up that starts from 0: its first step goes nowhere."""
    return peak * step / warmup_steps if step < warmup_steps else warmup_cosine(step, steps, warmup_steps, peak)


def _whole_cosine(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    """A cosine that has run since the first step."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * (1 + math.cos(math.pi * step / steps)) / 2


def _down_to_minus(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    """A cosine that goes from 1 to -1."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps))


def _straight(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * (1 - (step - warmup_steps) / (steps - warmup_steps))


def _moved(case: Case, value: Any) -> bool:
    """All rows are the same: one tensor, changed in place, was kept many times."""
    return value.shape[0] > 1 and bool((value == value[-1]).all())


TRAIN = Exercise(
    id="01.7",
    title="The training loop: AdamW, clipping, warm-up and cosine",
    name="train",
    signature="def train(weights: Tensor, gradient: Callable[[Tensor], Tensor], steps: int, warmup_steps: int, "
    "peak: float, weight_decay: float, max_norm: float) -> Tensor",
    asked="function",
    difficulty=5,
    minutes=18,
    points=4,
    hints=(
        "One step has five parts, in this order: the gradient at the present weights; its length cut to max_norm; the "
        "two running means; the rate of this step; the new weights. Make new tensors rather than change old ones.",
        "Clipping: factor = min(1, max_norm / length of the gradient). Bias correction: after t steps, counted from 1, "
        "divide the running means by 1 - 0.9 ** t and by 1 - 0.999 ** t.",
        "weights = weights - rate * weight_decay * weights - rate * m_hat / (v_hat.sqrt() + 1e-8). The rate: for step "
        "< warmup_steps it is peak * (step + 1) / warmup_steps, then peak * (1 + cos(pi * share)) / 2, where share "
        "goes from 0 at the end of the warm-up to 1 at `steps`.",
    ),
    cases=train_cases,
    reference=train,
    mistakes=(
        Mistake(
            "one tensor kept many times",
            "All rows are the last weights: the same tensor was kept at every step and changed in place. Keep a copy, "
            "or make a new tensor at each step.",
            sign=_moved,
        ),
        Mistake(
            "decay in the gradient",
            "The weight decay is added to the gradient and then divided like any gradient: that is Adam with L2. AdamW "
            "shrinks the weights beside the division.",
            _with(decay="in the gradient"),
        ),
        Mistake(
            "decay clipped",
            "The weight decay is added to the gradient and clipped with it: AdamW shrinks the weights beside all that.",
            _with(decay="before clipping"),
        ),
        Mistake(
            "decay without the rate",
            "The weights shrink by weight_decay of themselves at each step: by rate * weight_decay.",
            _with(decay="without the rate"),
        ),
        Mistake(
            "decay at the peak rate",
            "The weights shrink by peak * weight_decay at each step: the rate of this step counts for the decay too.",
            _with(decay="peak"),
        ),
        Mistake("decay left out", "The weight decay is missing.", _with(decay="none")),
        Mistake(
            "not corrected",
            "The running means start from 0 and are not corrected for it: divide them by 1 - beta ** t.",
            _with(correction=False),
        ),
        Mistake(
            "corrected one step too far",
            "The bias correction counts one step too many: after the first step t is 1.",
            _with(first=2),
        ),
        Mistake(
            "eps under the root",
            "eps is added under the root: Adam adds it to the root. It shows where a gradient is tiny.",
            _with(eps="inside"),
        ),
        Mistake("root left out", "You divide by the mean square itself: by its root.", _with(root=False)),
        Mistake(
            "not squared",
            "The second running mean is of the gradient's size: it is of its square.",
            _with(square=False),
        ),
        Mistake(
            "betas exchanged",
            "The betas are exchanged: 0.9 for the mean, 0.999 for the mean square.",
            _with(betas=(0.999, 0.9)),
        ),
        Mistake(
            "old and new exchanged",
            "The running means take 0.9 of the new and 0.1 of the old: the old has the weight beta.",
            _with(betas=(0.1, 0.001)),
        ),
        Mistake(
            "uphill",
            "The weights go up the gradient: subtract the step.",
            _with(sign=1),
        ),
        Mistake("not clipped", "The gradient is not clipped.", _with(clip="none")),
        Mistake(
            "each number clipped",
            "Each number of the gradient is clipped by itself, which changes its direction: scale the whole vector by "
            "one factor.",
            _with(clip="values"),
        ),
        Mistake(
            "short gradients stretched",
            "Short gradients are stretched to max_norm: the factor is at most 1.",
            _with(clip="always"),
        ),
        Mistake(
            "warm-up from 0",
            "The warm-up starts from a rate of 0, so that the first step goes nowhere: the first of w warm-up steps "
            "has 1 / w of the peak.",
            _with(rate=_late),
        ),
        Mistake(
            "no warm-up",
            "There is no warm-up: the rate should rise over the first warmup_steps steps.",
            _with(rate=lambda s, n, w, p: warmup_cosine(max(s - w, 0), n - w, 0, p)),
        ),
        Mistake(
            "constant rate",
            "The rate is constant: it should rise to the peak, then fall along a cosine.",
            _with(rate=lambda s, n, w, p: p),
        ),
        Mistake(
            "no cosine",
            "The rate stays at the peak after the warm-up: it should fall along half a cosine.",
            _with(rate=lambda s, n, w, p: p * min(1, (s + 1) / max(w, 1))),
        ),
        Mistake(
            "straight instead of cosine",
            "The rate falls in a straight line: along half a cosine.",
            _with(rate=_straight),
        ),
        Mistake(
            "cosine from the first step",
            "The cosine has run since the first step: it begins at 1 where the warm-up ends.",
            _with(rate=_whole_cosine),
        ),
        Mistake(
            "cosine below 0",
            "The cosine itself goes down to -1, so that late steps go uphill: (1 + cos) / 2 ends at 0.",
            _with(rate=_down_to_minus),
        ),
    ),
    equivalents={
        "g = g * min(max_norm / g.norm(), 1)": "the lesser of two numbers is the same in either order",
        "rate = peak * (1 + math.cos(math.pi * (step - warmup_steps) / (warmup_steps - steps))) / 2": EVEN,
        "rate = peak * (1 + math.cos(math.pi * (warmup_steps - step) / (steps - warmup_steps))) / 2": EVEN,
    },
    explanation="Llama was trained by this recipe, with 0.95 in the place of 0.999. torch.optim.AdamW, "
    "nn.utils.clip_grad_norm_ and a schedule give the same numbers.",
)

EXERCISES = (LAYER_NORM, READ, BACKWARD, ATTENTION, ROTARY, BLOCK, TRAIN)
