"""Exercise set 05: margins, InfoNCE and what it can measure, hard negatives, the gap, and a batch that does not fit."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.errors import InputError
from course_lib.evaluation.embedding_space import alignment, modality_gap, move_apart, uniformity
from course_lib.losses.matching import hard_negative_rows
from course_lib.losses.ranking import hardest_negative_loss as library_hardest_negative_loss
from course_lib.losses.ranking import hinge_sum_loss, triplet_loss
from course_lib.practice.exercise import Case, Exercise, Measure, Mistake, given, wrong_choices


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Normal numbers that depend on the seed alone."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Why a mechanical change to a model solution may change nothing.
SYMMETRIC = "a distance is the same from either end"
EITHER_FIRST = "the mean of two numbers does not depend on their order"
OWN_LEAF = "a tensor that is given and requires a gradient now has the values that it had"

# 05.1 ---------------------------------------------------------------------------------------------------------------


def triplet_case(about: str, seed: int, count: int, width: int, margin: float, far: float = 0.8, **more: Any) -> Case:
    """A case of the triplet loss: a few triplets whose positive is far off, among many that cost nothing."""
    anchor = normal(seed, count, width)
    near = torch.tensor([2.0, 0.1, 0.1, 1.2, 0.1, 0.1] * count)[:count, None]
    inputs = {
        "anchor": anchor,
        "positive": anchor + near * normal(seed + 1, count, width),
        "negative": anchor + far * normal(seed + 2, count, width),
        "margin": margin,
    }
    return Case(about, inputs, **more)


def triplet_cases(seed: int) -> list[Case]:
    by_hand = {
        "anchor": torch.tensor([[0.0, 0.0], [1.0, 1.0]]),
        "positive": torch.tensor([[6.0, 8.0], [1.0, 1.0]]),
        "negative": torch.tensor([[3.0, 0.0], [1.0, 12.5]]),
        "margin": 2.0,
    }
    return [
        Case("two triplets worked out by hand, one of which costs nothing", by_hand),
        triplet_case("six triplets", 10 * seed + 3, 6, 5, 0.2),
    ]


def _triplet(
    anchor: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
    margin: float,
    distance: Callable = lambda a, b: (a - b).norm(dim=-1),
    cost: Callable = lambda lead: lead.relu().mean(),
) -> torch.Tensor:
    """The loss with its two steps to be replaced by a mistake."""
    return cost(distance(anchor, positive) - distance(anchor, negative) + margin)


TRIPLET = Exercise(
    id="05.1",
    title="Triplet loss",
    name="triplet_loss",
    signature="def triplet_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor",
    asked="function",
    difficulty=1,
    minutes=7,
    points=1,
    hints=(
        "Two distances per triplet: from the anchor to its positive, and from the anchor to its negative. The second "
        "should be larger by the margin; what is missing is what the triplet costs.",
        "The Euclidean distance is the length of the difference: (a - b).norm(dim=-1), one number per row. What a "
        "triplet costs is near - far + margin, and never less than 0.",
        "Cut each triplet off at 0 first (relu), then take the mean over all of them: a triplet that is good already "
        "must not make up for one that is not.",
    ),
    cases=triplet_cases,
    reference=triplet_loss,
    mistakes=(
        Mistake(
            "not cut off at 0",
            "A triplet that is ahead by more than the margin gives a negative number here, as if it could pay for the "
            "others: each costs at least 0.",
            lambda a, p, n, m: _triplet(a, p, n, m, cost=lambda lead: lead.mean()),
        ),
        Mistake(
            "cut off after the mean",
            "The mean is cut off at 0, and not each triplet: those that are far ahead pay for those that are not.",
            lambda a, p, n, m: _triplet(a, p, n, m, cost=lambda lead: lead.mean().relu()),
        ),
        Mistake(
            "positive and negative exchanged",
            "The positive and the negative are exchanged: this loss falls when the positive moves away.",
            lambda a, p, n, m: _triplet(a, n, p, m),
        ),
        Mistake(
            "margin subtracted",
            "The margin is subtracted, so that a negative may even be nearer than the positive: add it.",
            lambda a, p, n, m: _triplet(a, p, n, -m),
        ),
        Mistake(
            "margin left out",
            "The margin is missing: a negative that is a hair further away than the positive costs nothing.",
            lambda a, p, n, m: _triplet(a, p, n, 0.0),
        ),
        Mistake(
            "squared distances",
            "The distances are squared, as in FaceNet: here they are lengths, so take the root.",
            lambda a, p, n, m: _triplet(a, p, n, m, lambda x, y: (x - y).square().sum(dim=-1)),
        ),
        Mistake(
            "mean square",
            "The squared differences are averaged: the square of a length is their sum, and its root is the length.",
            lambda a, p, n, m: _triplet(a, p, n, m, lambda x, y: (x - y).square().mean(dim=-1)),
        ),
        Mistake(
            "sum of absolute differences",
            "These are sums of absolute differences: the Euclidean distance is the root of the sum of squares.",
            lambda a, p, n, m: _triplet(a, p, n, m, lambda x, y: (x - y).abs().sum(dim=-1)),
        ),
        Mistake(
            "cosines",
            "One minus the cosine is used for the distance: here it is the length of the difference.",
            lambda a, p, n, m: _triplet(a, p, n, m, lambda x, y: 1 - F.cosine_similarity(x, y, dim=-1)),
        ),
        Mistake(
            "one distance for the batch",
            "norm() without dim=-1 is one number for the whole batch: each triplet has its own two distances.",
            lambda a, p, n, m: _triplet(a, p, n, m, lambda x, y: (x - y).norm()),
        ),
        Mistake(
            "distance along the batch",
            "The norm is taken along the batch: a vector lies along the last dimension (dim=-1).",
            lambda a, p, n, m: _triplet(a, p, n, m, lambda x, y: (x - y).norm(dim=0)),
        ),
        Mistake(
            "negative measured from the positive",
            "The second distance starts at the positive: both start at the anchor.",
            lambda a, p, n, m: _triplet(
                a, p, n, m, lambda x, y: (x - y).norm(dim=-1) if y is p else (p - y).norm(dim=-1)
            ),
        ),
        Mistake(
            "summed over the batch",
            "The costs are added up: take their mean.",
            lambda a, p, n, m: _triplet(a, p, n, m, cost=lambda lead: lead.relu().sum()),
        ),
        Mistake(
            "mean of what costs something",
            "The mean is over those triplets only that cost something: count the others too, with 0.",
            lambda a, p, n, m: _triplet(a, p, n, m, cost=lambda lead: lead[lead > 0].mean()),
        ),
    ),
    equivalents={
        "near, far = ((other - anchor).square().sum(dim=-1).sqrt() for other in (positive, negative))": SYMMETRIC,
    },
    explanation="Once every negative is far enough away the loss is 0 and so is its gradient: which triplets are drawn "
    "decides what is learnt. Compare with F.triplet_margin_loss.",
)


# 05.2 ---------------------------------------------------------------------------------------------------------------

READING = {
    "cold": "c",
    "hot": "a",
    "bound": "b",
    "floor": "d",
    "gap": "b",
    "gap_because": "c",
}

_WHY_NOT = {
    ("cold", "a"): "All runs see the same batches: the number of negatives does not depend on the temperature.",
    ("cold", "b"): "A softmax subtracts the largest logit first, so that large logits do not overflow.",
    ("cold", "d"): "That is the other end: a low temperature makes the softmax sharp, not flat.",
    ("hot", "b"): "With a flat softmax the loss cannot come near 0, but its gradient does not vanish: look at the "
    "other curve, which says where the gradient goes.",
    ("hot", "c"): "Each negative has the same weight there, a hard one no more than an easy one.",
    ("hot", "d"): "These pairs are held back from training: what was memorised would not help with them.",
    ("bound", "a"): "An estimate that ends beside its ceiling says where the ceiling is, not where the truth is.",
    ("bound", "c"): "InfoNCE is a lower bound: it never promises that there is no more.",
    ("bound", "d"): "It is a bound for every temperature and every critic; these two use the best critic there is.",
    ("floor", "a"): "A larger batch gives a steadier gradient, not a noisier one; and A learns from the same batches.",
    ("floor", "b"): "Both runs have the same margin, and A comes far below B.",
    ("floor", "c"): "Both take the same steps at every batch size, and with small batches B comes down as well as A.",
    ("gap", "a"): "A scale multiplies all cosines alike and changes no order: the captions stay in front.",
    ("gap", "c"): "More neighbours bring more captions, until all of them have come.",
    ("gap", "d"): "They have length 1 already, and so a cosine does not care.",
    ("gap_because", "a"): "If they did, recall from captions to pictures would be poor; here it is high.",
    ("gap_because", "b"): "Subtracting the mean leaves the number of dimensions as it was.",
    ("gap_because", "d"): "The pictures are ranked as well as before: nothing was wrong with the order among them.",
}  # fmt: skip


READ = Exercise(
    id="05.2",
    title="Read the curves, choose and justify",
    name="answers_05_2",
    signature="answers_05_2: dict[str, str]",
    asked="value",
    difficulty=2,
    minutes=12,
    points=2,
    hints=(
        "For the temperature: the gradient on a negative is its softmax weight over the temperature. Who has that "
        "weight at the left end, and who at the right? For the bound: what is the most that log2(K + 1) minus a loss "
        "can be?",
        "For the floor: two of the pairs of a batch have the same caption, word for word. How much larger than its own "
        "similarity is that of a picture with its hardest negative then?",
        "For the gap: write a caption as a vector of its own plus what all captions have in common. What does the "
        "second part add to its cosine with another caption, and what to that with a picture?",
    ),
    cases=lambda seed: [Case("all six questions")],
    reference=READING,
    mistakes=wrong_choices(_WHY_NOT),
    keys={key: ("a", "b", "c", "d") for key in READING},
    explanation="A loss near its floor, or an estimate near its ceiling, says nothing of the model: know both before "
    "you train. For the bound the ceiling is log2(K + 1) bits; for hardest negatives, equal captions set a floor.",
)


# 05.3 ---------------------------------------------------------------------------------------------------------------


class InfoNCE(nn.Module):
    """InfoNCE with K negatives of each query's own and a learnt scale; names as in the exercise."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))

    def forward(
        self, query: torch.Tensor, positive: torch.Tensor, negatives: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        own, others = self.cosines(query, positive, negatives)
        logits = self.scale() * torch.cat([own[:, None], others], dim=1)
        loss = self.loss(logits)
        return loss, self.bound(loss, logits)

    # The steps that a likely mistake changes.
    def cosines(self, query, positive, negatives):
        query, positive, negatives = (self.unit(part) for part in (query, positive, negatives))
        return (query * positive).sum(dim=-1), torch.einsum("bd,bkd->bk", query, negatives)

    def unit(self, vectors: torch.Tensor) -> torch.Tensor:
        return F.normalize(vectors, dim=-1)

    def scale(self) -> torch.Tensor:
        return self.logit_scale.exp()

    def loss(self, logits: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))

    def bound(self, loss: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        return math.log2(logits.shape[1]) - loss / math.log(2)


class _NoUnit(InfoNCE):
    def unit(self, vectors):
        return vectors


class _UnitSecond(InfoNCE):
    def unit(self, vectors):
        return F.normalize(vectors)


class _UnitBatch(InfoNCE):
    def unit(self, vectors):
        return F.normalize(vectors, dim=0)


class _LongNegatives(InfoNCE):
    def unit(self, vectors):
        return vectors if vectors.ndim == 3 else super().unit(vectors)


class _PlainScale(InfoNCE):
    def scale(self):
        return self.logit_scale


class _DividedScale(InfoNCE):
    def scale(self):
        return (-self.logit_scale).exp()


class _NoScale(InfoNCE):
    def scale(self):
        return torch.ones_like(self.logit_scale)


class _NoPositive(InfoNCE):
    def loss(self, logits):
        return (logits[:, 1:].logsumexp(dim=1) - logits[:, 0]).mean()


class _MeanNegatives(InfoNCE):
    def loss(self, logits):
        both = torch.stack([logits[:, 0], logits[:, 1:].logsumexp(dim=1) - math.log(logits.shape[1] - 1)], dim=1)
        return super().loss(both)


class _LabelAtEnd(InfoNCE):
    def loss(self, logits):
        return super().loss(logits.roll(-1, 1))


class _ArangeLabels(InfoNCE):
    def loss(self, logits):
        return F.cross_entropy(logits, torch.arange(len(logits)))


class _Sum(InfoNCE):
    def loss(self, logits):
        return len(logits) * super().loss(logits)


class _WrongSign(InfoNCE):
    def loss(self, logits):
        return -super().loss(logits)


class _SoftmaxFirst(InfoNCE):
    def loss(self, logits):
        return super().loss(logits.softmax(dim=1))


class _EveryonesNegatives(InfoNCE):
    def cosines(self, query, positive, negatives):
        own, _ = super().cosines(query, positive, negatives)
        return own, self.unit(query) @ self.unit(negatives).flatten(0, 1).T


class _FirstNegatives(InfoNCE):
    def cosines(self, query, positive, negatives):
        own, _ = super().cosines(query, positive, negatives)
        return own, self.unit(query) @ self.unit(negatives)[0].T


class _FromThePositive(InfoNCE):
    def cosines(self, query, positive, negatives):
        own, _ = super().cosines(query, positive, negatives)
        return own, super().cosines(positive, query, negatives)[1]


class _LogNegatives(InfoNCE):
    def bound(self, loss, logits):
        return math.log2(logits.shape[1] - 1) - loss / math.log(2)


class _LogBatch(InfoNCE):
    def bound(self, loss, logits):
        return math.log2(len(logits)) - loss / math.log(2)


class _Nats(InfoNCE):
    def bound(self, loss, logits):
        return math.log(logits.shape[1]) - loss


class _MixedUnits(InfoNCE):
    def bound(self, loss, logits):
        return math.log2(logits.shape[1]) - loss


class _MinusBound(InfoNCE):
    def bound(self, loss, logits):
        return -super().bound(loss, logits)


class _AddedLoss(InfoNCE):
    def bound(self, loss, logits):
        return math.log2(logits.shape[1]) + loss / math.log(2)


class _ExchangedResults(InfoNCE):
    def forward(self, *inputs):
        return super().forward(*inputs)[::-1]


def nce_case(
    about: str, seed: int, batch: int, negatives: int, width: int, scale: float = 1.2, alike: float = 1.0, **more: Any
) -> Case:
    """A case of InfoNCE: positives somewhat `alike` their queries, vectors of all lengths; `scale` is a logarithm."""
    query = normal(seed, batch, width)
    inputs = {
        "query": 2 * query,
        "positive": 3 * (alike * query + normal(seed + 1, batch, width)),
        "negatives": 0.7 * normal(seed + 2, batch, negatives, width) + 0.2,
    }
    return Case(about, inputs, construct={"temperature": 0.07}, state={"logit_scale": torch.tensor(scale)}, **more)


def nce_cases(seed: int) -> list[Case]:
    by_hand = {
        "query": torch.tensor([[3.0, 4.0]]),
        "positive": torch.tensor([[0.0, 2.0]]),
        "negatives": torch.tensor([[[5.0, 0.0], [-4.0, 3.0], [0.0, -1.0]]]),
    }
    state = {"logit_scale": torch.tensor(math.log(5.0))}
    return [
        Case(
            "one query and three negatives, worked out by hand; and where the scale starts",
            by_hand,
            construct={"temperature": 0.1},
            state=state,
            initial=("logit_scale",),
        ),
        nce_case("four queries with six negatives each", 10 * seed + 1, 4, 6, 5),
    ]


INFO_NCE = Exercise(
    id="05.3",
    title="InfoNCE, and how many bits it vouches for",
    name="InfoNCE",
    signature="class InfoNCE(nn.Module)",
    asked="module",
    difficulty=2,
    minutes=14,
    points=3,
    hints=(
        "For every query there is a classification with K + 1 candidates, of which the positive is one. Put its cosine "
        "into the first column, those of the K negatives behind it: then the label of every row is the same.",
        "Each query has negatives of its own: torch.einsum('bd,bkd->bk', query, negatives) multiplies query b with the "
        "K vectors of row b alone. Bring everything to length 1 along the last dimension before.",
        "loss = F.cross_entropy(self.logit_scale.exp() * cosines, zeros). It is in nats, to the base e: divide by "
        "log(2) for bits. The bound is log2(K + 1) minus the loss in bits.",
    ),
    cases=nce_cases,
    reference=InfoNCE,
    mistakes=(
        Mistake(
            "positive left out of the denominator",
            "The positive is missing from the denominator: the softmax runs over all K + 1 candidates.",
            _NoPositive,
        ),
        Mistake(
            "not normalised",
            "The vectors are not brought to length 1: these are dot products, not cosines.",
            _NoUnit,
        ),
        Mistake(
            "normalised along the negatives",
            "F.normalize without dim=-1 normalises along dimension 1, which for the negatives counts them: a vector "
            "lies along the last dimension.",
            _UnitSecond,
        ),
        Mistake(
            "normalised along the batch",
            "The vectors are normalised along the batch: each lies along the last dimension.",
            _UnitBatch,
        ),
        Mistake("negatives not normalised", "The negatives are not brought to length 1.", _LongNegatives),
        Mistake(
            "scale not exponentiated",
            "logit_scale is the logarithm of the scale: multiply by its exp().",
            _PlainScale,
        ),
        Mistake(
            "divided by the scale",
            "The cosines are divided by exp(logit_scale): it is 1 / temperature, multiply by it.",
            _DividedScale,
        ),
        Mistake("scale left out", "The cosines are not scaled: multiply by logit_scale.exp().", _NoScale),
        Mistake(
            "label in the wrong place",
            "The label is 0, and the positive is not in column 0: the first negative is taken for the right answer.",
            _LabelAtEnd,
        ),
        Mistake(
            "labels of a batch",
            "The labels count up as in CLIP's loss: here the positive is in the same column in every row.",
            _ArangeLabels,
        ),
        Mistake(
            "negatives of all queries",
            "Each query is compared with the negatives of all queries: it has K of its own, in its row.",
            _EveryonesNegatives,
        ),
        Mistake(
            "negatives of the first query",
            "All queries are compared with the negatives of the first one: take those of their own row.",
            _FirstNegatives,
        ),
        Mistake(
            "negatives compared with the positive",
            "The negatives are compared with the positive: it is the query that asks.",
            _FromThePositive,
        ),
        Mistake(
            "mean of the negatives",
            "The negatives are averaged in the denominator: they are added up, each a candidate of its own.",
            _MeanNegatives,
        ),
        Mistake(
            "softmax before the cross-entropy",
            "Is there a softmax before F.cross_entropy? That function takes logits and applies the softmax itself.",
            _SoftmaxFirst,
        ),
        Mistake("summed over the batch", "The loss is added up over the queries: take the mean.", _Sum),
        Mistake("wrong sign", "The loss has the wrong sign: it is minus the log-probability.", _WrongSign),
        Mistake(
            "log of K",
            "The loss is right; the bound counts K candidates, and with the positive there are K + 1.",
            _LogNegatives,
        ),
        Mistake(
            "log of the batch",
            "The loss is right; the bound has the logarithm of the batch size. How many candidates has a query here?",
            _LogBatch,
        ),
        Mistake("nats", "The loss is right; the bound is in nats: divide by log(2) for bits.", _Nats),
        Mistake(
            "bits minus nats",
            "The loss is right; the bound takes a loss in nats from bits: bring the loss to bits first.",
            _MixedUnits,
        ),
        Mistake(
            "bound with the wrong sign",
            "The loss is right; the bound has the wrong sign: it grows when the loss falls.",
            _MinusBound,
        ),
        Mistake(
            "loss added",
            "The loss is right; the bound adds it: it grows when the loss falls.",
            _AddedLoss,
        ),
        Mistake("exchanged", "The two results are exchanged: the loss comes first.", _ExchangedResults),
    ),
    explanation="With K = 1 the bound can vouch for 1 bit at most, with 65,535 negatives for 16: this, and not noise, "
    "is why contrastive learning wants many negatives.",
)


# 05.4 ---------------------------------------------------------------------------------------------------------------


def _alike(caption_ids: torch.Tensor) -> torch.Tensor:
    return caption_ids[:, None] == caption_ids[None, :]


def hardest_negative_loss(similarity: torch.Tensor, caption_ids: torch.Tensor, margin: float) -> torch.Tensor:
    """The library's, told which pairs fit."""
    return library_hardest_negative_loss(similarity, margin, _alike(caption_ids))


def ranking_case(
    about: str,
    seed: int,
    ids: list[int],
    margin: float = 0.2,
    own: float = 0.3,
    shift: float = 0.0,
    noise: float = 0.1,
    **more: Any,
) -> Case:
    """A case of the ranking loss: cosines of pairs with these captions, whose columns are equal but for the noise."""
    caption_ids = torch.tensor(ids)
    texts = normal(seed, max(ids) + 1, 6)[caption_ids]
    images = own * texts + normal(seed + 1, len(ids), 6)
    similarity = 0.5 * F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T + shift
    similarity = similarity + noise * normal(seed + 2, len(ids), len(ids))
    return Case(about, {"similarity": similarity, "caption_ids": caption_ids, "margin": margin}, **more)


def ranking_cases(seed: int) -> list[Case]:
    by_hand = {
        "similarity": torch.tensor([[0.9, 0.35, 0.8], [0.7, 0.4, 0.5], [0.6, 0.1, 0.5]]),
        "caption_ids": torch.tensor([4, 2, 4]),
        "margin": 0.2,
    }
    return [
        Case("three pairs worked out by hand; the first and the last have the same caption", by_hand),
        ranking_case("seven pairs, two captions twice", 10 * seed + 1, [0, 1, 2, 1, 3, 4, 3]),
    ]


def _hardest(
    s: torch.Tensor,
    ids: torch.Tensor,
    m: float,
    own: Callable = lambda s, fits: s.diagonal(),
    fits: Callable = _alike,
    fill: float | None = -1e4,
    pick: str = "amax",
    cost: Callable = lambda by_row, by_column: (by_row.relu() + by_column.relu()).mean(),
) -> torch.Tensor:
    """The loss with its steps to be replaced by a mistake."""
    same = fits(ids)
    others = s * ~same if fill is None else s.masked_fill(same, fill)
    mine = own(s, same)
    return cost(m - mine + getattr(others, pick)(dim=1), m - mine + getattr(others, pick)(dim=0))


def _nobody(ids: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(ids), len(ids), dtype=torch.bool)


HARDEST = Exercise(
    id="05.4",
    title="The hardest negative that is one",
    name="hardest_negative_loss",
    signature="def hardest_negative_loss(similarity: Tensor, caption_ids: Tensor, margin: float) -> Tensor",
    asked="function",
    difficulty=3,
    minutes=14,
    points=3,
    hints=(
        "First the matrix of what is no negative: entry (i, j) is true where pairs i and j have the same caption. The "
        "own pair is among them. Comparing a column of ids with a row of ids gives it at once.",
        "The hardest negative of picture i is the largest entry of row i among the negatives; that of text j the "
        "largest of column j. Fill what is no negative with minus infinity before you take the maximum; 0 will not do, "
        "for a cosine may be below 0.",
        "others = similarity.masked_fill(same, -math.inf); own = similarity.diagonal(); the picture of pair i costs "
        "(margin - own + others.amax(dim=1)).relu(), its text the same with dim=0. Add the two, take the mean.",
    ),
    cases=ranking_cases,
    reference=hardest_negative_loss,
    mistakes=(
        Mistake(
            "false negatives punished",
            "Another pair with the very same caption counts as a negative here, and so as the hardest one: leave out "
            "every pair whose caption_ids are equal, not the own pair alone.",
            lambda s, ids, m: library_hardest_negative_loss(s, m),
        ),
        Mistake(
            "own pair among the negatives",
            "The own pair is among its negatives: it is often the largest entry, and then every pair costs the margin.",
            lambda s, ids, m: _hardest(s, ids, m, fits=_nobody),
        ),
        Mistake(
            "own pair alone among the negatives",
            "Pairs with the same caption are left out, and the own pair is not: the diagonal is no negative either.",
            lambda s, ids, m: _hardest(
                s, ids, m, fits=lambda ids: _alike(ids) & ~torch.eye(len(ids), dtype=torch.bool)
            ),
        ),
        Mistake(
            "left out by 0",
            "What is no negative was set to 0, and where all negatives are below 0 the maximum is that 0: use minus "
            "infinity.",
            lambda s, ids, m: _hardest(s, ids, m, fill=None),
        ),
        Mistake(
            "all negatives",
            "All negatives within the margin are added up (VSE0): only the hardest one counts, in each direction.",
            lambda s, ids, m: hinge_sum_loss(s, m, _alike(ids)),
        ),
        Mistake(
            "pictures only",
            "Only the pictures look for their hardest text: each text looks for its hardest picture as well.",
            lambda s, ids, m: _hardest(s, ids, m, cost=lambda by_row, by_column: by_row.relu().mean()),
        ),
        Mistake(
            "texts only",
            "Only the texts look for their hardest picture: each picture looks for its hardest text as well.",
            lambda s, ids, m: _hardest(s, ids, m, cost=lambda by_row, by_column: by_column.relu().mean()),
        ),
        Mistake(
            "one direction twice",
            "The rows were taken twice: the second half of the loss runs down the columns.",
            lambda s, ids, m: _hardest(s, ids, m, cost=lambda by_row, by_column: 2 * by_row.relu().mean()),
        ),
        Mistake(
            "halved",
            "The two directions are averaged: here they are added.",
            lambda s, ids, m: hardest_negative_loss(s, ids, m) / 2,
        ),
        Mistake(
            "harder direction only",
            "Only the harder of the two directions counts: add both.",
            lambda s, ids, m: _hardest(s, ids, m, cost=lambda r, c: torch.maximum(r, c).relu().mean()),
        ),
        Mistake(
            "summed over the batch",
            "The costs are added up over the pairs: take their mean.",
            lambda s, ids, m: hardest_negative_loss(s, ids, m) * len(s),
        ),
        Mistake(
            "not cut off at 0",
            "A pair that is ahead by more than the margin gives a negative number here: it costs 0.",
            lambda s, ids, m: _hardest(s, ids, m, cost=lambda r, c: (r + c).mean()),
        ),
        Mistake(
            "cut off after the sum",
            "The sum of both directions is cut off at 0, and not each: the easy one pays for the hard one.",
            lambda s, ids, m: _hardest(s, ids, m, cost=lambda r, c: (r + c).relu().mean()),
        ),
        Mistake(
            "margin subtracted",
            "The margin is subtracted: add it, or a negative may even be ahead of the own pair.",
            lambda s, ids, m: _hardest(s, ids, -m),
        ),
        Mistake("margin left out", "The margin is missing.", lambda s, ids, m: _hardest(s, ids, 0.0)),
        Mistake(
            "wrong way round",
            "It costs something here to be ahead of the negatives: similarities are not distances, the own one should "
            "be the larger.",
            lambda s, ids, m: _hardest(s, ids, m, cost=lambda r, c: ((2 * m - r).relu() + (2 * m - c).relu()).mean()),
        ),
        Mistake(
            "easiest negative",
            "This is the easiest negative, the smallest similarity: the hardest is the largest.",
            lambda s, ids, m: _hardest(s, ids, m, fill=1e4, pick="amin"),
        ),
        Mistake(
            "another pair's similarity for its own",
            "The own similarity is that of picture i with text i, on the diagonal, and not the best or the mean of the "
            "pairs with that caption.",
            lambda s, ids, m: _hardest(s, ids, m, own=lambda s, same: s.masked_fill(~same, -1e4).amax(dim=1)),
        ),
    ),
    explanation="Equal captions are the easy half of false negatives: here an id tells them. A caption in other words, "
    "or one that happens to fit, needs a model to find it, or a loss that does not look at the hardest alone.",
)


# 05.5 ---------------------------------------------------------------------------------------------------------------

DRAWS = 2_000


def sampling_case(about: str, seed: int, ids: list[int], lead: float = 1.0) -> Case:
    """A case of the drawing: logits of pairs with these captions; the own pair is ahead by `lead`."""
    caption_ids = torch.tensor(ids)
    similarity = 1.2 * normal(seed, len(ids), len(ids)) + lead * _alike(caption_ids)
    return Case(about, {"similarity": similarity, "caption_ids": caption_ids, "draws": DRAWS})


def sampling_cases(seed: int) -> list[Case]:
    return [
        sampling_case("six pairs with six captions", 10 * seed + 1, [0, 1, 2, 3, 4, 5]),
        sampling_case("seven pairs, two captions twice", 10 * seed + 2, [3, 0, 3, 1, 4, 0, 2]),
        sampling_case(
            "own pairs that are ahead by 200, as in a confident model", 10 * seed + 3, [5, 0, 1, 5, 2, 3], 200.0
        ),
    ]


def hard_negatives(similarity: torch.Tensor, caption_ids: torch.Tensor, draws: int) -> torch.Tensor:
    """The library's, which draws one text for each picture, as often as is asked for."""
    generator = torch.Generator().manual_seed(0)
    drawn = [hard_negative_rows(similarity, generator, _alike(caption_ids))[0] for _ in range(draws)]
    return torch.stack(drawn, dim=1)


def wanted_odds(case: Case) -> torch.Tensor:
    """`(B, B)`: how likely each text should be drawn for each picture."""
    same = _alike(case.inputs["caption_ids"])
    return case.inputs["similarity"].double().masked_fill(same, -torch.inf).softmax(dim=1)


def _drawn(case: Case, value: Any) -> torch.Tensor:
    """What was returned, if it can be judged."""
    count, wanted = len(case.inputs["similarity"]), (len(case.inputs["similarity"]), DRAWS)
    if not isinstance(value, torch.Tensor):
        raise InputError(f"A tensor of shape (pairs, draws) is expected, {wanted} here.")
    if tuple(value.shape) != wanted:
        turned = " It is transposed." if tuple(value.shape) == wanted[::-1] else ""
        raise InputError(f"The shape should be (pairs, draws), {wanted} here, and is {tuple(value.shape)}.{turned}")
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise InputError("Numbers of texts are expected, whole numbers (int64), from 0 to pairs - 1.")
    if value.min() < 0 or value.max() >= count:
        raise InputError(
            f"Numbers of texts go from 0 to {count - 1} here, and yours from {value.min()} to {value.max()}."
        )
    return value.long()


def _odds(case: Case, value: Any) -> torch.Tensor:
    """`(B, B)`: how often each text was drawn for each picture."""
    drawn = _drawn(case, value)
    return F.one_hot(drawn, len(drawn)).double().mean(dim=1)


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest total variation distance of two distributions over the pictures."""
    return float((one - other).abs().sum(dim=1).max()) / 2


def agreement(case: Case, value: Any) -> float:
    """What share of the draws agrees with the wanted odds, for the picture where it is least."""
    return 1 - _apart(_odds(case, value), wanted_odds(case))


def _draws_what_fits(case: Case, value: Any) -> str:
    fits = int(_alike(case.inputs["caption_ids"]).gather(1, _drawn(case, value)).sum())
    return f"{fits} of the {_drawn(case, value).numel()} draws are texts that fit their picture." if fits else ""


def _own(case: Case, value: Any) -> bool:
    drawn = _drawn(case, value)
    return bool((drawn == torch.arange(len(drawn))[:, None]).any())


def _hardest_only(case: Case, value: Any) -> bool:
    return bool((_drawn(case, value) == wanted_odds(case).argmax(dim=1, keepdim=True)).all())


def _one_draw(case: Case, value: Any) -> bool:
    drawn = _drawn(case, value)
    return bool((drawn == drawn[:, :1]).all())


def _odds_are(other: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[[Case, Any], bool]:
    """Whether the draws follow `other(similarity, what fits)`, and not what is wanted."""

    def sign(case: Case, value: Any) -> bool:
        similarity, same = case.inputs["similarity"].double(), _alike(case.inputs["caption_ids"])
        found = _odds(case, value)
        apart = _apart(found, other(similarity, same))
        return apart < 0.07 and apart < _apart(found, wanted_odds(case))

    return sign


DRAW = Exercise(
    id="05.5",
    title="Draw hard negatives for image-text matching",
    name="hard_negatives",
    signature="def hard_negatives(similarity: Tensor, caption_ids: Tensor, draws: int) -> Tensor",
    asked="function",
    difficulty=3,
    minutes=12,
    points=3,
    hints=(
        "Three steps: which texts are no negatives of a picture; the probabilities of the others; drawing. For the "
        "last there is torch.multinomial, which takes a row of probabilities for each picture.",
        "What must not be drawn gets the logit minus infinity, and so the probability 0, before the softmax. After it "
        "is too late: beside an own pair that is far ahead, all others have been rounded to 0.",
        "same = caption_ids[:, None] == caption_ids[None, :]; logits = similarity.masked_fill(same, -math.inf); "
        "torch.multinomial(probabilities, draws, replacement=True) draws one row after the other.",
    ),
    cases=sampling_cases,
    reference=hard_negatives,
    measure=Measure(
        "agreement of the draws with the softmax over the negatives (of the picture where it is least)",
        agreement,
        at_least=0.92,
        chance=0.4,
        baseline=0.46,
        besides=_draws_what_fits,
    ),
    mistakes=(
        Mistake(
            "own pair drawn",
            "Among them are pictures' own texts: a matching pair would be shown with the label no.",
            sign=_own,
        ),
        Mistake(
            "false negatives drawn",
            "These are texts of other pairs with the very same caption: leave out all that have the same caption_ids.",
            sign=lambda case, value: bool(_draws_what_fits(case, value)),
        ),
        Mistake(
            "hardest only",
            "Always the hardest is drawn: it should be drawn often, in proportion, and the others too. The hardest of "
            "all may be a false negative.",
            sign=_hardest_only,
        ),
        Mistake(
            "one draw repeated",
            "Each picture gets the same text again and again: draw anew each time.",
            sign=_one_draw,
        ),
        Mistake(
            "rounded away",
            "All negatives are equally likely here, for beside the own pair the softmax had rounded all of them to 0: "
            "leave it out before the softmax.",
            sign=lambda case, value: (
                case.inputs["similarity"].max() > 100
                and _odds_are(lambda s, same: (~same) / (~same).sum(dim=1, keepdim=True))(case, value)
            ),
        ),
        Mistake(
            "all negatives alike",
            "All negatives are equally likely: a text that is similar to the picture should be drawn more often.",
            sign=_odds_are(lambda s, same: (~same) / (~same).sum(dim=1, keepdim=True)),
        ),
        Mistake(
            "easy ones preferred",
            "The least similar texts are drawn most: those are the easy ones.",
            sign=_odds_are(lambda s, same: (-s).masked_fill(same, -torch.inf).softmax(dim=1)),
        ),
        Mistake(
            "columns for rows",
            "Pictures were drawn for texts: the probabilities of picture i are along row i.",
            sign=_odds_are(lambda s, same: s.T.masked_fill(same, -torch.inf).softmax(dim=1)),
        ),
        Mistake(
            "softmax down the columns",
            "The softmax runs down the columns: for each picture it runs over the texts, along its row.",
            sign=_odds_are(lambda s, same: _shares(s.masked_fill(same, -torch.inf).softmax(dim=0))),
        ),
        Mistake(
            "one row for all",
            "All pictures draw from the same probabilities: each has its own row.",
            sign=_odds_are(lambda s, same: _shares(s.mean(dim=0).softmax(dim=0) * ~same)),
        ),
    ),
    explanation="ALBEF and BLIP train their matching head on such draws: a third of the pairs match, two thirds are "
    "negatives that the contrastive loss finds hard, one for each picture and one for each text.",
)


def _shares(weights: torch.Tensor) -> torch.Tensor:
    return weights / weights.sum(dim=1, keepdim=True)


# 05.6 ---------------------------------------------------------------------------------------------------------------


def measure_space(image_embeds: torch.Tensor, text_embeds: torch.Tensor, share: float) -> dict[str, float]:
    """The library's measures after the library's move."""
    images, texts = move_apart(image_embeds, text_embeds, share)
    return {
        "alignment": alignment(images, texts),
        "uniformity": (uniformity(images) + uniformity(texts)) / 2,
        "gap": modality_gap(images, texts).norm().item(),
    }


def _space(
    image_embeds: torch.Tensor,
    text_embeds: torch.Tensor,
    share: float,
    move: Callable = lambda x, y, share, gap: (x + share / 2 * gap, y - share / 2 * gap),
    unit: Callable = lambda vectors: F.normalize(vectors, dim=-1),
    aligned: Callable = lambda x, y: (x - y).square().sum(dim=-1).mean(),
    uniform: Callable = lambda vectors: (-2 * torch.pdist(vectors).square()).exp().mean().log(),
    both: Callable = lambda of, x, y: (of(x) + of(y)) / 2,
    gap: Callable = lambda x, y: (x.mean(dim=0) - y.mean(dim=0)).norm(),
) -> dict[str, torch.Tensor]:
    """The measures with their steps to be replaced by a mistake."""
    x, y = move(image_embeds, text_embeds, share, image_embeds.mean(dim=0) - text_embeds.mean(dim=0))
    x, y = unit(x), unit(y)
    return {"alignment": aligned(x, y), "uniformity": both(uniform, x, y), "gap": gap(x, y)}


def _with(**changes: Callable) -> Callable:
    """An answer with a mistake: `_space` with one step changed."""

    def answer(image_embeds: torch.Tensor, text_embeds: torch.Tensor, share: float) -> dict[str, torch.Tensor]:
        return _space(image_embeds, text_embeds, share, **changes)

    return answer


def _square_distances(vectors: torch.Tensor) -> torch.Tensor:
    """`(N, N)`, the diagonal included."""
    return (vectors[:, None] - vectors[None, :]).square().sum(dim=-1)


def space_case(
    about: str, seed: int, count: int, width: int, share: float, dtype: torch.dtype = torch.float32, **more: Any
) -> Case:
    """A case of the measures: pairs that are somewhat alike, in two cones."""
    shared = normal(seed, count, width, dtype=dtype)
    cones = 1.5 * normal(seed + 1, 2, width, dtype=dtype)
    embeds = [
        F.normalize(shared + 0.7 * normal(seed + 2 + side, count, width, dtype=dtype) + cones[side], dim=-1)
        for side in range(2)
    ]
    return Case(about, {"image_embeds": embeds[0], "text_embeds": embeds[1], "share": share}, **more)


def space_cases(seed: int) -> list[Case]:
    by_hand = {
        "image_embeds": torch.tensor([[1.0, 0.0], [0.6, 0.8]]),
        "text_embeds": torch.tensor([[0.0, 1.0], [-0.6, 0.8]]),
        "share": 0.0,
    }
    return [
        Case("two pairs worked out by hand, not moved", by_hand),
        space_case("six pairs, the gap all but closed", 10 * seed + 1, 6, 5, -1.0),
    ]


SPACE = Exercise(
    id="05.6",
    title="The modality gap: measure it and move it",
    name="measure_space",
    signature="def measure_space(image_embeds: Tensor, text_embeds: Tensor, share: float) -> dict[str, Tensor]",
    asked="function",
    difficulty=4,
    minutes=16,
    points=4,
    hints=(
        "First move, then measure. The gap is the vector from the mean text to the mean picture; with a positive share "
        "pictures move along it and texts against it, each by half, and then all are brought back to length 1.",
        "Alignment: squared distance of each picture to its own text, averaged. Uniformity: squared distances of all "
        "N (N - 1) / 2 pairs within one modality; torch.pdist gives these distances, each pair once. Average the "
        "pictures' and the texts' values at the end.",
        "delta = image_embeds.mean(0) - text_embeds.mean(0); x = F.normalize(image_embeds + share / 2 * delta, dim=-1)."
        " The uniformity of x: torch.pdist(x).square().mul(-2).exp().mean().log(). The gap is that of the moved ones.",
    ),
    cases=space_cases,
    reference=measure_space,
    mistakes=(
        Mistake(
            "wrong way",
            "Pictures and texts move the wrong way: a positive share takes them apart, a negative one together.",
            _with(move=lambda x, y, s, gap: (x - s / 2 * gap, y + s / 2 * gap)),
        ),
        Mistake(
            "each by the whole share",
            "Each modality moves by the whole share, so that the gap changes by twice of it: half of it is for each.",
            _with(move=lambda x, y, s, gap: (x + s * gap, y - s * gap)),
        ),
        Mistake(
            "both moved the same way",
            "Both modalities move the same way, so that they keep their distance: they move against each other.",
            _with(move=lambda x, y, s, gap: (x + s / 2 * gap, y + s / 2 * gap)),
        ),
        Mistake(
            "pictures alone moved",
            "Only the pictures are moved: the texts move as well, the other way.",
            _with(move=lambda x, y, s, gap: (x + s / 2 * gap, y)),
        ),
        Mistake(
            "texts alone moved",
            "Only the texts are moved: the pictures move as well, the other way.",
            _with(move=lambda x, y, s, gap: (x, y - s / 2 * gap)),
        ),
        Mistake(
            "not moved",
            "This is measured before anything was moved: measure the moved embeddings.",
            _with(move=lambda x, y, s, gap: (x, y)),
        ),
        Mistake(
            "texts moved by the gap that is left",
            "The gap was taken again after the pictures had moved: take it once, from the embeddings that came in.",
            lambda x, y, s: _space(
                x,
                y,
                s,
                move=lambda x, y, s, gap: (x + s / 2 * gap, y - s / 2 * ((x + s / 2 * gap).mean(0) - y.mean(0))),
            ),
        ),
        Mistake(
            "moved along the unit gap",
            "The gap was brought to length 1 before the move: share counts in gaps, -1 closes it.",
            _with(move=lambda x, y, s, gap: (x + s / 2 * gap / gap.norm(), y - s / 2 * gap / gap.norm())),
        ),
        Mistake(
            "not normalised after the move",
            "The moved vectors are not brought back to length 1: they left the sphere.",
            _with(unit=lambda vectors: vectors),
        ),
        Mistake(
            "normalised along the batch",
            "The columns were brought to length 1: each vector lies along the last dimension (dim=-1).",
            _with(unit=lambda vectors: F.normalize(vectors, dim=0)),
        ),
        Mistake(
            "alignment not squared",
            "The alignment averages distances: it averages their squares.",
            _with(aligned=lambda x, y: (x - y).norm(dim=-1).mean()),
        ),
        Mistake(
            "alignment over all numbers",
            "The alignment is averaged over the coordinates too: add up each pair's squares, then average over pairs.",
            _with(aligned=lambda x, y: (x - y).square().mean()),
        ),
        Mistake(
            "alignment as a cosine",
            "The alignment is a mean cosine: it is a mean squared distance, 2 - 2 cos for vectors of length 1.",
            _with(aligned=lambda x, y: (x * y).sum(dim=-1).mean()),
        ),
        Mistake(
            "vectors compared with themselves",
            "The uniformity counts each vector's distance to itself, which is 0 whatever the model does: take pairs of "
            "different vectors alone.",
            _with(uniform=lambda v: (-2 * _square_distances(v)).exp().mean().log()),
        ),
        Mistake(
            "no logarithm",
            "The uniformity lacks its logarithm.",
            _with(uniform=lambda v: (-2 * torch.pdist(v).square()).exp().mean()),
        ),
        Mistake(
            "mean of the logarithms",
            "The logarithm was taken before the mean, and undoes the exponential: average first.",
            _with(uniform=lambda v: (-2 * torch.pdist(v).square()).mean()),
        ),
        Mistake(
            "sum for the mean",
            "The uniformity adds the pairs up: average over them, so that it does not grow with their number.",
            _with(uniform=lambda v: (-2 * torch.pdist(v).square()).exp().sum().log()),
        ),
        Mistake(
            "uniformity of unsquared distances",
            "The uniformity's distances are not squared.",
            _with(uniform=lambda v: (-2 * torch.pdist(v)).exp().mean().log()),
        ),
        Mistake(
            "t = 1",
            "The factor 2 is missing in the uniformity's exponent.",
            _with(uniform=lambda v: (-torch.pdist(v).square()).exp().mean().log()),
        ),
        Mistake(
            "exponent without its minus",
            "The exponent has no minus: near pairs should count, and not far ones.",
            _with(uniform=lambda v: (2 * torch.pdist(v).square()).exp().mean().log()),
        ),
        Mistake(
            "wrong sign",
            "The uniformity has the wrong sign: it is the logarithm of a mean below 1, and so never above 0.",
            _with(uniform=lambda v: -(-2 * torch.pdist(v).square()).exp().mean().log()),
        ),
        Mistake(
            "uniformity of the pictures",
            "The uniformity is that of the pictures alone: average it with that of the texts.",
            _with(both=lambda of, x, y: of(x)),
        ),
        Mistake(
            "uniformity of the texts",
            "The uniformity is that of the texts alone: average it with that of the pictures.",
            _with(both=lambda of, x, y: of(y)),
        ),
        Mistake(
            "uniformities added",
            "The two uniformities are added: take their mean.",
            _with(both=lambda of, x, y: of(x) + of(y)),
        ),
        Mistake(
            "both modalities in one",
            "The uniformity is that of pictures and texts thrown together: it is taken within each, then averaged.",
            _with(both=lambda of, x, y: of(torch.cat([x, y]))),
        ),
        Mistake(
            "gap squared",
            "The gap is squared: it is a length.",
            _with(gap=lambda x, y: (x.mean(dim=0) - y.mean(dim=0)).square().sum()),
        ),
        Mistake(
            "gap within the pairs",
            "The mean distance of a picture to its own text is no gap, but alignment: take the two means first, then "
            "their distance.",
            _with(gap=lambda x, y: (x - y).norm(dim=-1).mean()),
        ),
        Mistake(
            "gap before the move",
            "The gap is the one before the move: measure it after, like the other two.",
            lambda x, y, s: _space(x, y, s) | {"gap": (x.mean(dim=0) - y.mean(dim=0)).norm()},
        ),
    ),
    equivalents={
        "spread = [torch.pdist(part).square().mul(-2).exp().mean().log() for part in (texts, images)]": EITHER_FIRST,
        "return {'alignment': (images - texts).square().sum(dim=-1).mean(), 'uniformity': (spread[0] + spread[1]) / 2, "
        "'gap': (texts.mean(dim=0) - images.mean(dim=0)).norm()}": SYMMETRIC,
        "return {'alignment': (texts - images).square().sum(dim=-1).mean(), 'uniformity': (spread[0] + spread[1]) / 2, "
        "'gap': (images.mean(dim=0) - texts.mean(dim=0)).norm()}": SYMMETRIC,
    },
    explanation="CLIP's own gap is about 0.8 long. Moving everybody by one vector changes little in the order "
    "within one kind; in an index that holds pictures and texts together, it decides which kind comes first.",
)


# 05.7 ---------------------------------------------------------------------------------------------------------------


class SmallMemory(nn.Module):
    """An encoder on a device with little memory: features `(n, W)` and weights `(W, D)` -> `(n, D)`, of length 1.

    It takes `limit` rows at a time, and keeps what the backward pass needs of that many at most: the memory is free
    again after the backward pass, or once the result is thrown away.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.kept = []  # (reference to what a graph may hold on to, its rows)

    def forward(self, features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        rows = len(features)
        if rows > self.limit:
            raise MemoryError(f"{rows} rows do not fit: at most {self.limit} at a time")
        self.kept = [(held, count) for held, count in self.kept if not held.expired()]
        before = sum(count for _, count in self.kept)
        projected = features @ weight
        if projected.requires_grad and before + rows > self.limit:
            raise MemoryError(
                f"{before} rows are still kept for a backward pass, and {rows} more do not fit beside them: at most "
                f"{self.limit} in all"
            )
        hidden = torch.tanh(projected)
        self.kept.append((torch.multiprocessing.reductions.StorageWeakRef(hidden.untyped_storage()), rows))
        return nn.functional.normalize(hidden, dim=-1)


class WholeLoss(nn.Module):
    """InfoNCE of a whole batch, each picture looking for its text: `(B, D)`, `(B, D)` -> a scalar."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, image_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
        logits = self.scale * image_embeds @ text_embeds.T
        return nn.functional.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def large_batch_gradients(
    encode: nn.Module,
    loss: nn.Module,
    images: torch.Tensor,
    texts: torch.Tensor,
    image_weight: torch.Tensor,
    text_weight: torch.Tensor,
    limit: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What autograd finds where memory is no matter."""
    weights = [weight.detach().clone().requires_grad_() for weight in (image_weight, text_weight)]
    embeds = [F.normalize(torch.tanh(x @ w), dim=-1) for x, w in zip((images, texts), weights, strict=True)]
    value = loss(*embeds)
    return value.detach(), *torch.autograd.grad(value, weights)


def large_case(about: str, seed: int, batch: int, limit: int, sizes: tuple[int, int, int], scale: float = 5.0) -> Case:
    """A case of the large batch: `sizes` are the widths of pictures, texts and embeddings."""
    image, text, embed = sizes
    return Case(
        about,
        {
            "encode": given(SmallMemory, {"limit": limit}),
            "loss": given(WholeLoss, {"scale": scale}),
            "images": normal(seed, batch, image),
            "texts": normal(seed + 1, batch, text),
            "image_weight": 0.7 * normal(seed + 2, image, embed),
            "text_weight": 0.7 * normal(seed + 3, text, embed),
            "limit": limit,
        },
    )


def large_cases(seed: int) -> list[Case]:
    return [
        large_case("four pairs, of which two fit at a time", 10 * seed + 1, 4, 2, (3, 2, 2)),
        large_case("ten pairs, of which four fit, so that the last part is smaller", 10 * seed + 5, 10, 4, (5, 4, 3)),
    ]


def _in_parts(
    encode: nn.Module,
    loss: nn.Module,
    images: torch.Tensor,
    texts: torch.Tensor,
    image_weight: torch.Tensor,
    text_weight: torch.Tensor,
    limit: int,
    join: Callable = lambda losses, parts: sum(losses) / len(losses),
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradient accumulation as for other losses: each part by itself."""
    found = [
        large_batch_gradients(encode, loss, *part, image_weight, text_weight, limit)
        for part in zip(images.split(limit), texts.split(limit), strict=True)
    ]
    return tuple(join(list(values), len(images)) for values in zip(*found, strict=True))


def _by_the_gradients_of_embeds(
    *inputs: Any,
    change: Callable = lambda gradient, limit: gradient,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The right way, with the gradients of the embeddings changed before they are sent back."""
    _, loss, *tensors, limit = inputs
    sides = zip(tensors[:2], tensors[2:], strict=True)
    embeds = [F.normalize(torch.tanh(x @ w), dim=-1).detach().requires_grad_() for x, w in sides]
    value = loss(*embeds)
    sent = [change(gradient, limit) for gradient in torch.autograd.grad(value, embeds)]
    weights = [weight.clone().requires_grad_() for weight in tensors[2:]]
    again = [F.normalize(torch.tanh(x @ w), dim=-1) for x, w in zip(tensors[:2], weights, strict=True)]
    total = sum((one * signal).sum() for one, signal in zip(again, sent, strict=True))
    return value.detach(), *torch.autograd.grad(total, weights)


def _last_only(gradient: torch.Tensor, limit: int) -> torch.Tensor:
    last = len(gradient.split(limit)[-1])
    return torch.cat([torch.zeros_like(gradient[:-last]), gradient[-last:]])


def _first_only(gradient: torch.Tensor, limit: int) -> torch.Tensor:
    return torch.cat([gradient[:limit], torch.zeros_like(gradient[limit:])])


LARGE = Exercise(
    id="05.7",
    title="The gradient of a batch that does not fit",
    name="large_batch_gradients",
    signature="def large_batch_gradients(encode: Callable, loss: Callable, images: Tensor, texts: Tensor, "
    "image_weight: Tensor, text_weight: Tensor, limit: int) -> tuple[Tensor, Tensor, Tensor]",
    asked="function",
    difficulty=5,
    minutes=20,
    points=4,
    hints=(
        "The embeddings of the whole batch are small; what does not fit is the graph that leads to them. So make the "
        "embeddings without a graph, part after part: from them the loss of the whole batch can be computed.",
        "The loss's gradient with respect to the embeddings is what each encoder needs to know of the other pairs. Get "
        "it with torch.autograd.grad(value, [image_embeds, text_embeds]), the embeddings being leaves that require a "
        "gradient.",
        "Then once more, part by part, with a graph: (encode(part, weight) * gradient_of_that_part).sum().backward(), "
        "with weight a clone that requires a gradient. backward adds up into weight.grad, and frees the memory.",
    ),
    cases=large_cases,
    reference=large_batch_gradients,
    mistakes=(
        Mistake(
            "parts by themselves",
            "The loss is the mean of the parts' losses: there each pair is compared with its own part alone. The loss "
            "of the whole batch compares every picture with every text.",
            _in_parts,
        ),
        Mistake(
            "sum of the parts",
            "The parts' losses are added up: each compares its own pairs only. The loss of the whole batch compares "
            "every picture with every text.",
            lambda *inputs: _in_parts(*inputs, join=lambda losses, count: sum(losses)),
        ),
        Mistake(
            "right loss, gradients of the parts",
            "The loss is that of the whole batch, the gradients are those of parts by themselves: send the gradient "
            "of the whole loss back through each part.",
            lambda *inputs: (large_batch_gradients(*inputs)[0], *_in_parts(*inputs)[1:]),
        ),
        Mistake(
            "right loss, gradients of the parts added",
            "The loss is that of the whole batch, the gradients are sums over parts by themselves: send the gradient "
            "of the whole loss back through each part.",
            lambda *inputs: (
                large_batch_gradients(*inputs)[0],
                *_in_parts(*inputs, join=lambda values, count: sum(values))[1:],
            ),
        ),
        Mistake(
            "last part only",
            "The gradients are those of the last part: is the sum overwritten each time round, or set to zero?",
            lambda *inputs: _by_the_gradients_of_embeds(*inputs, change=_last_only),
        ),
        Mistake(
            "first part only",
            "The gradients are those of the first part: each part has its share.",
            lambda *inputs: _by_the_gradients_of_embeds(*inputs, change=_first_only),
        ),
        Mistake(
            "averaged over the parts",
            "The gradients are divided by the number of parts: the loss of the whole batch is a mean already, so add "
            "them up.",
            lambda *inputs: _by_the_gradients_of_embeds(
                *inputs, change=lambda gradient, limit: gradient / len(gradient.split(limit))
            ),
        ),
        Mistake(
            "gradient of ones",
            "It was the sum of the embeddings that was sent back: give backward the loss's gradient with respect to "
            "them.",
            lambda *inputs: _by_the_gradients_of_embeds(
                *inputs, change=lambda gradient, limit: torch.ones_like(gradient)
            ),
        ),
        Mistake(
            "gradients exchanged",
            "The gradients of the two weights are exchanged: the pictures' comes first.",
            lambda *inputs: (
                large_batch_gradients(*inputs)[0],
                *large_batch_gradients(*inputs)[:0:-1],
            ),
        ),
        Mistake(
            "texts without a gradient",
            "The texts' weight has a gradient of 0: they are embedded with a graph, part by part, like the pictures.",
            lambda *inputs: (
                *large_batch_gradients(*inputs)[:2],
                torch.zeros_like(inputs[5]),
            ),
        ),
        Mistake(
            "pictures without a gradient",
            "The pictures' weight has a gradient of 0: they are embedded with a graph, part by part, like the texts.",
            lambda *inputs: (
                large_batch_gradients(*inputs)[0],
                torch.zeros_like(inputs[4]),
                large_batch_gradients(*inputs)[2],
            ),
        ),
        Mistake(
            "wrong sign",
            "The gradients have the wrong sign: whoever trains subtracts them.",
            lambda *inputs: (
                large_batch_gradients(*inputs)[0],
                *(-gradient for gradient in large_batch_gradients(*inputs)[1:]),
            ),
        ),
    ),
    equivalents={
        "image_weight = image_weight.requires_grad_()": OWN_LEAF,
        "text_weight = text_weight.requires_grad_()": OWN_LEAF,
    },
    seconds=20.0,  # the first backward pass of a session may have to wait for an import
    explanation="This is GradCache (Gao et al., 2021): the memory of a small batch, one more forward pass, and exactly "
    "the large batch's gradient. Across several devices the embeddings are gathered in the same way.",
)

EXERCISES = (TRIPLET, READ, INFO_NCE, HARDEST, DRAW, SPACE, LARGE)
"""Practice for lesson 05, contrastive learning."""
