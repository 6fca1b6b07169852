"""Exercise set 07: how a search is measured, trained, compressed, and made exact again by a second stage."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.evaluation import protocols, retrieval
from course_lib.losses import ranking
from course_lib.practice.exercise import Case, Exercise, Measure, Mistake, wrong_choices


def normal(seed: int, *shape: int) -> Tensor:
    """Normal numbers that depend on the seed alone."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def right_ones(seed: int, queries: int, candidates: int, most: int) -> Tensor:
    """`(queries, candidates)` bool: one to `most` right candidates for each query, the first query having `most`."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(queries, candidates, generator=generator).argsort(dim=1).argsort(dim=1)
    count = torch.randint(1, most + 1, (queries, 1), generator=generator)
    count[0] = most
    return places < count


# Why a mechanical change to a model solution may change nothing.
A_TENSOR = "a number that is kept as a tensor is as good"
A_RATE = "another learning rate is no mistake: what is asked for is reached"

# 07.1 ---------------------------------------------------------------------------------------------------------------


def ranks_and_recall(similarity: Tensor, positives: Tensor, k: int) -> tuple[Tensor, float]:
    """The library's ranks, and its Recall@K."""
    return retrieval.ranks(similarity, positives), retrieval.recall_at_k(similarity, k, positives)


def rank_case(seed: int, about: str, queries: int, candidates: int, most: int, k: int, shift: float = 0.0) -> Case:
    """Scores in steps of a tenth, so that many are equal, and right candidates that tend to score higher."""
    right = right_ones(seed, queries, candidates, most)
    scores = ((5 * torch.rand(queries, candidates, generator=torch.Generator().manual_seed(seed + 1))).round() / 10) * 2
    return Case(about, {"similarity": scores + 0.2 * right + shift, "positives": right, "k": k})


def rank_cases(seed: int) -> list[Case]:
    by_hand = {
        "similarity": torch.tensor([[0.9, 0.2, 0.5, 0.1], [0.2, 0.8, 0.6, 0.8], [0.3, 0.4, 0.4, 0.1]]),
        "positives": torch.tensor([[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 1]]).bool(),
        "k": 2,
    }
    return [
        Case("three queries worked out by hand, the second with two equal scores at the top", by_hand),
        rank_case(
            100 * seed + 1, "twelve queries with up to three right candidates and many equal scores", 12, 9, 3, 3
        ),
    ]


def _ranked(first: Tensor, k: int) -> tuple[Tensor, float]:
    return first, (first <= k).double().mean().item()


def _best_right(s: Tensor, p: Tensor) -> Tensor:
    return s.masked_fill(~p, -torch.inf).amax(dim=1, keepdim=True)


def _by_sorting(s: Tensor, p: Tensor, k: int, descending: bool = True) -> tuple[Tensor, float]:
    order = s.argsort(dim=1, descending=descending, stable=True)
    return _ranked(p.gather(1, order).int().argmax(dim=1) + 1, k)


def _last_right(s: Tensor, p: Tensor, k: int) -> tuple[Tensor, float]:
    worst = s.masked_fill(~p, torch.inf).amin(dim=1, keepdim=True)
    return _ranked(1 + ((s >= worst) & ~p).sum(dim=1), k)


RANKS = Exercise(
    id="07.1",
    title="Ranks and recall with several right answers",
    name="ranks_and_recall",
    signature="def ranks_and_recall(similarity: Tensor, positives: Tensor, k: int) -> tuple[Tensor, float]",
    asked="function",
    difficulty=1,
    minutes=8,
    points=2,
    hints=(
        "Nothing needs to be sorted. The rank of a query is 1 plus the number of wrong candidates that stand before "
        "its best right one.",
        "The score of the best right candidate: put minus infinity wherever positives is False (masked_fill), and take "
        "the maximum of each row. keepdim=True keeps the shape (Q, 1), to compare it with all scores.",
        "A wrong candidate stands before it if it is not right and its score is greater *or equal*: count those with "
        ".sum(dim=1) and add 1. Recall@K is the share of queries whose rank is at most k.",
    ),
    cases=rank_cases,
    reference=ranks_and_recall,
    mistakes=(
        Mistake(
            "ties in favour",
            "Wrong candidates with the same score as the right one should count as found before it. Yours come after, "
            "so that a model that gives every pair the same score would be perfect.",
            lambda s, p, k: _ranked(1 + ((s > _best_right(s, p)) & ~p).sum(dim=1), k),
        ),
        Mistake(
            "ties by position",
            "Equal scores stand in the order in which sorting happens to leave them, so that the result depends on how "
            "the gallery is numbered. A wrong candidate with the same score counts as found before.",
            _by_sorting,
        ),
        Mistake(
            "counted from 0",
            "Ranks are counted from 1: whoever finds a right candidate at once has rank 1.",
            lambda s, p, k: _ranked(retrieval.ranks(s, p) - 1, k),
        ),
        Mistake(
            "last right candidate",
            "That is the rank at which the last right candidate is found: the first one is what counts.",
            _last_right,
        ),
        Mistake(
            "right ones counted as before",
            "Right candidates are counted among those that stand before: only wrong ones do.",
            lambda s, p, k: _ranked(1 + (s >= _best_right(s, p)).sum(dim=1), k),
        ),
        Mistake(
            "only the diagonal",
            "Candidate q is taken to be the right one of query q: which are right is said by positives.",
            lambda s, p, k: _ranked(1 + ((s >= s.diagonal()[:, None]) & ~torch.eye(*s.shape).bool()).sum(dim=1), k),
        ),
        Mistake(
            "first right column",
            "Only the first right candidate by number is looked at: the best one by score is what counts.",
            lambda s, p, k: _ranked(1 + ((s >= s.gather(1, p.int().argmax(1, keepdim=True))) & ~p).sum(dim=1), k),
        ),
        Mistake(
            "worst first",
            "The candidate with the lowest score stands first: a higher similarity is better.",
            lambda s, p, k: _ranked(retrieval.ranks(-s, p), k),
        ),
        Mistake(
            "sorted worst first",
            "argsort puts the lowest score first unless descending=True.",
            lambda s, p, k: _by_sorting(s, p, k, descending=False),
        ),
        Mistake(
            "k left out",
            "The ranks are right. Recall@K counts the ranks up to and including k; yours stop before k.",
            lambda s, p, k: (retrieval.ranks(s, p), retrieval.recall_at_k(s, k - 1, p) if k > 1 else 0.0),
        ),
        Mistake(
            "share of the right candidates",
            "The ranks are right. In the papers on retrieval Recall@K is the share of queries that find *one* right "
            "candidate among their first k, not the share of right candidates that are found.",
            lambda s, p, k: (retrieval.ranks(s, p), retrieval.share_found(s, k, p)),
        ),
        Mistake(
            "precision",
            "The ranks are right, but this is the share of the first k that is right: Recall@K asks of each query only "
            "whether one is there.",
            lambda s, p, k: (
                retrieval.ranks(s, p),
                p.gather(1, s.topk(k, dim=1).indices).double().mean().item(),
            ),
        ),
    ),
    equivalents={
        "return (first, (first <= k).double().mean())": A_TENSOR,
    },
    explanation="A model whose scores are all equal gets the worst ranks there are, which is what a collapsed model "
    "deserves. Compare with the library's retrieval.ranks.",
)


# 07.2 ---------------------------------------------------------------------------------------------------------------


def average_precision_case(seed: int, about: str, queries: int, candidates: int, most: int) -> Case:
    """Scores that are all different."""
    right = right_ones(seed, queries, candidates, most)
    generator = torch.Generator().manual_seed(seed + 1)
    order = torch.rand(queries, candidates, generator=generator).argsort(dim=1).argsort(dim=1)
    # Steps of 0.1 between scores; a right candidate is lifted over two others or so, and is never equal to one.
    return Case(about, {"similarity": 0.1 * order + 0.25 * right - 1.0, "positives": right})


def average_precision_cases(seed: int) -> list[Case]:
    by_hand = {
        "similarity": torch.tensor([[0.9, 0.8, 0.7, 0.1], [0.2, 0.8, 0.6, 0.4]]),
        "positives": torch.tensor([[1, 0, 1, 0], [0, 0, 1, 0]]).bool(),
    }
    return [
        Case("two queries worked out by hand", by_hand),
        average_precision_case(100 * seed + 1, "six queries with one to four right candidates", 6, 12, 4),
    ]


def _in_order(s: Tensor, p: Tensor, descending: bool = True) -> Tensor:
    """Whether the candidate at each place is right: `(Q, N)` of 0 and 1."""
    return p.gather(1, s.argsort(dim=1, descending=descending)).double()


def _precisions(hits: Tensor) -> Tensor:
    return hits.cumsum(dim=1) / torch.arange(1, hits.shape[1] + 1)


def _interpolated(hits: Tensor) -> Tensor:
    return _precisions(hits).flip(1).cummax(dim=1).values.flip(1)


def _of(hits: Tensor, precisions: Tensor) -> float:
    return ((precisions * hits).sum(dim=1) / hits.sum(dim=1)).mean().item()


AVERAGE_PRECISION = Exercise(
    id="07.2",
    title="Mean average precision",
    name="mean_average_precision",
    signature="def mean_average_precision(similarity: Tensor, positives: Tensor) -> float",
    asked="function",
    difficulty=2,
    minutes=10,
    points=2,
    hints=(
        "Put each row in order, best first, and look at which places hold right candidates: a row such as 1 0 1 0. "
        "similarity.argsort(dim=1, descending=True) gives the order, positives.gather(1, order) the row.",
        "The precision at place r is the number of right candidates among the first r, divided by r: a cumsum over "
        "1, 2, 3, ... Which of these precisions are averaged?",
        "Only those at places that hold a right candidate: multiply the precisions by the row of 0 and 1, add up, and "
        "divide by the number of right candidates of that query. At the end, the mean over queries.",
    ),
    cases=average_precision_cases,
    reference=retrieval.mean_average_precision,
    mistakes=(
        Mistake(
            "first right candidate only",
            "That is the mean reciprocal rank: only the first right candidate counts in it. Average precision looks at "
            "all of them.",
            lambda s, p: (1 / retrieval.ranks(s, p).double()).mean().item(),
        ),
        Mistake(
            "averaged over all places",
            "The precisions at all places are averaged: only those at which a right candidate stands count.",
            lambda s, p: _precisions(_in_order(s, p)).mean().item(),
        ),
        Mistake(
            "divided by the gallery",
            "The sum is divided by the number of candidates: divide by the number of right ones, so that a perfect "
            "order gives 1.",
            lambda s, p: (_precisions(_in_order(s, p)) * _in_order(s, p)).mean().item(),
        ),
        Mistake(
            "averaged over all right candidates at once",
            "All right candidates of all queries are averaged together, so that a query with many counts more: average "
            "within each query first.",
            lambda s, p: ((_precisions(_in_order(s, p)) * _in_order(s, p)).sum() / p.sum()).item(),
        ),
        Mistake(
            "worst first",
            "The candidate with the lowest score stands first: sort with descending=True.",
            lambda s, p: _of(_in_order(s, p, False), _precisions(_in_order(s, p, False))),
        ),
        Mistake(
            "not sorted",
            "The candidates stand in the order of the gallery: take positives in the order of the scores, best first.",
            lambda s, p: _of(p.double(), _precisions(p.double())),
        ),
        Mistake(
            "positives taken by rank",
            "argsort says which candidate stands at each place. Yours reads it as the place of each candidate: take "
            "positives with .gather(1, order).",
            lambda s, p: _of(
                p.gather(1, s.argsort(dim=1, descending=True).argsort(dim=1)).double(),
                _precisions(p.gather(1, s.argsort(dim=1, descending=True).argsort(dim=1)).double()),
            ),
        ),
        Mistake(
            "recall for precision",
            "That averages the recall at each right candidate: precision divides by the place, not by the number of "
            "right candidates.",
            lambda s, p: _of(_in_order(s, p), _in_order(s, p).cumsum(dim=1) / _in_order(s, p).sum(dim=1, keepdim=True)),
        ),
        Mistake(
            "number right not counted",
            "One right candidate at every place: the numerator is how many right ones were found up to there.",
            lambda s, p: _of(_in_order(s, p), 1.0 / torch.arange(1, s.shape[1] + 1)),
        ),
        Mistake(
            "interpolated",
            "That is interpolated precision, the best one at this place or later, as in detection. Here it is taken as "
            "it is.",
            lambda s, p: _of(_in_order(s, p), _interpolated(_in_order(s, p))),
        ),
        Mistake(
            "places from 0",
            "The places are counted from 0, so that the first one divides by zero: count from 1.",
            sign=lambda case, value: not math.isfinite(float(value)),
        ),
    ),
    equivalents={
        "hits = positives.gather(1, order)": "cumsum and division make numbers of a bool tensor by themselves",
        "return ((precisions * hits).sum(dim=1) / hits.sum(dim=1)).mean()": A_TENSOR,
    },
    explanation="With one right candidate each, it is the mean reciprocal rank. torchmetrics calls it RetrievalMAP.",
)


# 07.3 ---------------------------------------------------------------------------------------------------------------

READING = {
    "plateau": "b",
    "mend": "d",
    "perfect": "c",
    "depth": "b",
    "negatives": "a",
    "negatives_because": "d",
}

_WHY_NOT = {
    ("plateau", "a"): "With all 64 cells searched nothing is left out, and B still misses four neighbours in ten.",
    ("plateau", "c"): "Both search the same cells around the same centres, and A finds them all.",
    ("plateau", "d"): "The queries are the same for A, which finds all their neighbours.",
    ("mend", "a"): "The curve is flat: cells that were not searched are not what is missing.",
    ("mend", "b"): "With fewer cells, each holds more, and the distances inside are as wrong as before.",
    ("mend", "c"): "That would be right, and takes 32 times the memory for the whole gallery, which had to be saved.",
    ("perfect", "a"): "It can only choose among the four that it is given: in one query of four none of them is right.",
    ("perfect", "b"): "Look at the two curves at k = 4: which of them limits which?",
    ("perfect", "d"): "That is what happens at k = 1, where there is nothing to choose.",
    ("depth", "a"): "It is fast enough, but gives up more than a tenth of recall@1 that the 40 ms would pay for.",
    ("depth", "c"): "5 ms and 64 pairs of 1 ms each are 69 ms: too slow.",
    ("depth", "d"): "5 ms and 128 pairs of 1 ms each are 133 ms: too slow, and no better than half of it.",
    ("negatives", "b"): "A larger margin asks for even more distance from captions that are right.",
    ("negatives", "c"): "In a larger batch the hardest negative is even more often another caption of the same scene.",
    ("negatives", "d"): "Easy negatives are no help once the model ranks them right: their hinge is 0.",
    ("negatives_because", "a"): "The hinge of a hard negative is well above 0: there is a gradient, but to where?",
    ("negatives_because", "b"): "A hardest negative is found for pictures and for captions alike.",
    ("negatives_because", "c"): "The learning rate is the one that worked with random negatives.",
}  # fmt: skip


READ = Exercise(
    id="07.3",
    title="Read a figure, choose and justify",
    name="answers_07_3",
    signature="answers_07_3: dict[str, str]",
    asked="value",
    difficulty=2,
    minutes=10,
    points=2,
    hints=(
        "For the indexes: at the right end of the first figure every cell is searched. What can still be wrong there?",
        "For the two stages: the second can only choose among what the first hands on. The time of a query is 5 ms and "
        "1 ms for each pair.",
        "For the negatives: of all captions that are not the picture's own, which will a good model find most similar, "
        "if one in five scenes has a near twin?",
    ),
    cases=lambda seed: [Case("all six questions")],
    reference=READING,
    mistakes=wrong_choices(_WHY_NOT),
    keys={key: ("a", "b", "c", "d") for key in READING},
    explanation="Codes find the neighbourhood and cannot order it: compared exactly, the best 100 by their codes give "
    "a recall@10 of 0.99. A second stage is bounded by recall@k of the first. The hardest negative is where the false "
    "ones are.",
)


# 07.4 ---------------------------------------------------------------------------------------------------------------


def fold_case(seed: int, about: str, pictures: int, folds: int, k: int, noise: float) -> Case:
    """Embeddings of length 1 of pictures, and of the five captions of each, one picture's after the other."""
    image = normal(seed, pictures, 12)
    text = image.repeat_interleave(protocols.CAPTIONS, dim=0)
    text = text + noise * normal(seed + 1, *text.shape)
    embeds = {"image_embeds": F.normalize(image, dim=-1), "text_embeds": F.normalize(text, dim=-1)}
    return Case(about, embeds | {"folds": folds, "k": k})


def _directions(*degrees: float) -> Tensor:
    """Vectors of length 1 in the plane: `(N, 2)`."""
    angles = torch.tensor(degrees).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def fold_cases(seed: int) -> list[Case]:
    by_hand = {
        "image_embeds": _directions(0, 90, 45, 200),
        "text_embeds": _directions(
            *(10, 20, 40, 50, 60), *(5, 30, 70, 85, 100), *(20, 47, 60, 90, 100), *(120, 150, 198, 250, 310)
        ),
        "folds": 2,
        "k": 1,
    }
    return [
        Case("four pictures in the plane, at 0, 90, 45 and 200 degrees, in two folds", by_hand),
        fold_case(100 * seed + 1, "twenty pictures in four folds", 20, 4, 1, 1.6),
    ]


def recall_in_folds(image_embeds: Tensor, text_embeds: Tensor, folds: int, k: int) -> tuple[float, float]:
    """The library's protocol: COCO 1K is `Protocol("COCO 1K", pictures=5_000, folds=5)`."""
    protocol = protocols.Protocol("", pictures=len(image_embeds), folds=folds)
    found = protocol.of_embeddings(image_embeds, text_embeds, ks=(k,))
    return tuple(found[way][f"R@{k}"] for way in ("image_to_text", "text_to_image"))


def _hits(
    i: Tensor, t: Tensor, folds: int, k: int, *, striped: bool = False, one: bool = False
) -> tuple[Tensor, Tensor]:
    """Which of the first k are right, `(folds, pictures, k)` and `(folds, texts, k)`; likely mistakes are captions laid
    out in another order, and only the first caption of each picture."""
    if one:
        t = t[:: protocols.CAPTIONS]
    similarity = i.view(folds, -1, i.shape[1]) @ t.view(folds, -1, t.shape[1]).mT
    own = torch.arange(similarity.shape[1])
    each = similarity.shape[2] // len(own)
    owners = own.repeat(each) if striped else own.repeat_interleave(each)
    to_text = owners[similarity.topk(k, dim=2).indices] == own[:, None]
    return to_text, similarity.mT.topk(k, dim=2).indices == owners[:, None]


def _found(to_text: Tensor, to_image: Tensor) -> tuple[float, float]:
    """Of hits (..., k) the share of queries with one among the first k, both ways."""
    return to_text.any(dim=-1).double().mean().item(), to_image.any(dim=-1).double().mean().item()


def _text_counts(how: Callable[[Tensor], Tensor]) -> Callable[..., tuple[float, float]]:
    """Recall@K with another idea of what a picture must find: `how` makes a number of its hits among the first k."""

    def answer(i: Tensor, t: Tensor, folds: int, k: int) -> tuple[float, float]:
        hits = _hits(i, t, folds, k)
        return how(hits[0].double()).mean().item(), _found(*hits)[1]

    return answer


def _any_caption(i: Tensor, t: Tensor, folds: int, k: int) -> tuple[float, float]:
    """A picture's captions together as one query from text to picture: found if one of them finds it."""
    to_text, to_image = _hits(i, t, folds, k)
    return _found(to_text, to_image.view(len(i), -1))


FOLDS = Exercise(
    id="07.4",
    title="The protocol of COCO, both ways",
    name="recall_in_folds",
    signature="def recall_in_folds(image_embeds: Tensor, text_embeds: Tensor, folds: int, k: int) -> "
    "tuple[float, float]",
    asked="function",
    difficulty=3,
    minutes=14,
    points=3,
    hints=(
        "First cut both into folds: tensor.chunk(folds) gives equal pieces, one after the other, and a fold's captions "
        "are exactly those of its pictures. Everything else happens inside a fold; average at the end.",
        "Inside a fold, caption t belongs to picture t // captions. From pictures to texts a row of the similarity "
        "matrix has several right columns, and one of them among the first k is enough.",
        "similarity.topk(k, dim=1).indices are the best captions of each picture: a hit if any of them belongs to it. "
        "topk(k, dim=0).indices, of shape (k, T), are the best pictures of each caption: a hit if its own is there.",
    ),
    cases=fold_cases,
    reference=recall_in_folds,
    mistakes=(
        Mistake(
            "not cut into folds",
            "The whole gallery is searched at once: each fold is searched alone, and the recalls are averaged. A "
            "smaller gallery is easier.",
            lambda i, t, f, k: _found(*_hits(i, t, 1, k)),
        ),
        Mistake(
            "last fold only",
            "That is the recall of the last fold: keep that of every fold, and average.",
            lambda i, t, f, k: _found(*(hits[-1] for hits in _hits(i, t, f, k))),
        ),
        Mistake(
            "added over the folds",
            "The recalls of the folds are added up: divide by their number.",
            lambda i, t, f, k: tuple(f * found for found in _found(*_hits(i, t, f, k))),
        ),
        Mistake(
            "first caption only",
            "Only the first caption of each picture takes part: all of them are in the gallery, and each is a query.",
            lambda i, t, f, k: _found(*_hits(i, t, f, k, one=True)),
        ),
        Mistake(
            "captions in another order",
            "The captions of a picture follow one another: caption t belongs to picture t // captions, not to t % "
            "pictures.",
            lambda i, t, f, k: _found(*_hits(i, t, f, k, striped=True)),
        ),
        Mistake(
            "directions exchanged",
            "The two numbers are exchanged: from pictures to texts comes first.",
            lambda i, t, f, k: _found(*_hits(i, t, f, k))[::-1],
        ),
        Mistake(
            "all captions asked for",
            "A picture counts only if all its captions are among the first k: one of them is enough.",
            _text_counts(lambda hits: (hits.sum(dim=-1) == protocols.CAPTIONS).double()),
        ),
        Mistake(
            "share of the captions",
            "A picture counts by the share of its captions that are found: it counts as found with the first of them.",
            _text_counts(lambda hits: hits.sum(dim=-1) / protocols.CAPTIONS),
        ),
        Mistake(
            "precision",
            "A picture counts by the share of the first k that are its own: it counts as found if one of them is.",
            _text_counts(lambda hits: hits),
        ),
        Mistake(
            "one caption is enough for the picture",
            "From texts to pictures each caption is a query of its own: yours counts a picture as found if one of its "
            "captions finds it.",
            _any_caption,
        ),
        Mistake(
            "k left out",
            "That is recall@1: k says how many candidates may be looked at.",
            lambda i, t, f, k: _found(*_hits(i, t, f, 1)),
        ),
    ),
    equivalents={
        "return (torch.cat(to_text).double().mean(), torch.cat(to_image).double().mean().item())": A_TENSOR,
        "return (torch.cat(to_text).double().mean().item(), torch.cat(to_image).double().mean())": A_TENSOR,
    },
    explanation="Papers report COCO's 5,000 test pictures whole (5K) and as the mean of five folds of 1,000 (1K), in "
    "which the same model looks far better. Say which, and in which direction.",
)


# 07.5 ---------------------------------------------------------------------------------------------------------------


def mining_case(seed: int, about: str, ids: list[int], margin: float, shift: float = 0.0, **more: Any) -> Case:
    """Similarities of a batch in which pairs of one picture are alike, and `ids` that say which these are."""
    number = torch.tensor(ids)
    same = (number[:, None] == number[None, :]).float()
    scores = 0.35 * torch.tanh(normal(seed, len(ids), len(ids))) + 0.4 * same + shift
    return Case(about, {"similarity": scores, "picture_ids": number, "margin": margin}, **more)


def mining_cases(seed: int) -> list[Case]:
    by_hand = {
        "similarity": torch.tensor([[0.5, 0.4, 0.1], [0.6, 0.7, 0.3], [0.4, 0.0, 0.3]]),
        "picture_ids": torch.tensor([4, 4, 9]),
        "margin": 0.25,
    }
    return [
        Case("three pairs worked out by hand, the first two of one picture", by_hand),
        mining_case(100 * seed + 1, "six pairs of six pictures", [3, 1, 4, 0, 5, 9], 0.2),
        mining_case(100 * seed + 2, "eight pairs, of three pictures more than one", [7, 2, 2, 7, 5, 7, 8, 5], 0.3),
    ]


def hardest_negative_loss(similarity: Tensor, picture_ids: Tensor, margin: float) -> Tensor:
    """The library's loss, told which pairs of the batch fit."""
    return ranking.hardest_negative_loss(similarity, margin, picture_ids[:, None] == picture_ids[None, :])


def _same(ids: Tensor) -> Tensor:
    return ids[:, None] == ids[None, :]


def _hardest(
    s: Tensor, ids: Tensor, margin: float, *, fill: float = -torch.inf, hinge: bool = True, rows_own: bool = False
) -> tuple[Tensor, Tensor]:
    """The hinge of each picture and of each text, `(B,)` each, with likely mistakes."""
    negatives, own = s.masked_fill(_same(ids), fill), s.diagonal()
    as_image = margin - own + negatives.amax(dim=1)
    as_text = (margin - own[:, None] + negatives).amax(dim=0) if rows_own else margin - own + negatives.amax(dim=0)
    return (as_image.relu(), as_text.relu()) if hinge else (as_image, as_text)


def _easiest(s: Tensor, ids: Tensor, margin: float) -> Tensor:
    negatives, own = s.masked_fill(_same(ids), torch.inf), s.diagonal()
    return ((margin - own + negatives.amin(1)).relu() + (margin - own + negatives.amin(0)).relu()).mean()


def _of_the_batch(s: Tensor, ids: Tensor, margin: float) -> Tensor:
    hardest = s.masked_fill(_same(ids), -torch.inf).max()
    return 2 * (margin - s.diagonal() + hardest).relu().mean()


def _own_counted(s: Tensor, ids: Tensor, margin: float) -> Tensor:
    own = s.diagonal()
    return ((margin - own + s.amax(dim=1)).relu() + (margin - own + s.amax(dim=0)).relu()).mean()


HARDEST = Exercise(
    id="07.5",
    title="The hardest negative that is one",
    name="hardest_negative_loss",
    signature="def hardest_negative_loss(similarity: Tensor, picture_ids: Tensor, margin: float) -> Tensor",
    asked="function",
    difficulty=3,
    minutes=14,
    points=3,
    hints=(
        "Which cells of the matrix are negatives? Compare picture_ids as a column with picture_ids as a row: where the "
        "two are equal, picture and caption fit, on the diagonal as well as off it.",
        "Put minus infinity where they fit. The maximum of each row is then the hardest text of each picture, and the "
        "maximum of each column the hardest picture of each text.",
        "The hinge is (margin - own + hardest).relu(), with own = similarity.diagonal(), once with the maxima of the "
        "rows and once with those of the columns. Add the two, and take the mean over the pairs.",
    ),
    cases=mining_cases,
    reference=hardest_negative_loss,
    mistakes=(
        Mistake(
            "false negatives",
            "Only the diagonal is left out: another caption of the same picture is taken for a negative, and as it "
            "fits it is usually the hardest.",
            lambda s, ids, m: ranking.hardest_negative_loss(s, m),
        ),
        Mistake(
            "own pair as negative",
            "The pair itself is among its negatives: each then costs at least the margin.",
            _own_counted,
        ),
        Mistake(
            "all negatives",
            "All negatives are summed up, as in VSE0: in each direction only the hardest costs.",
            lambda s, ids, m: ranking.hinge_sum_loss(s, m, _same(ids)),
        ),
        Mistake(
            "all negatives, false ones too",
            "All negatives are summed up, those that fit the picture too: only the hardest costs, and it must be a "
            "negative.",
            lambda s, ids, m: ranking.hinge_sum_loss(s, m),
        ),
        Mistake(
            "pictures only",
            "Only the pictures look for their hardest text: the texts look for their hardest picture as well.",
            lambda s, ids, m: _hardest(s, ids, m)[0].mean(),
        ),
        Mistake(
            "texts only",
            "Only the texts look for their hardest picture: the pictures look for their hardest text as well.",
            lambda s, ids, m: _hardest(s, ids, m)[1].mean(),
        ),
        Mistake(
            "halved",
            "That is the mean of both directions: VSE++ adds them.",
            lambda s, ids, m: hardest_negative_loss(s, ids, m) / 2,
        ),
        Mistake(
            "summed over the batch",
            "The pairs are added up: take their mean, so that the loss does not grow with the batch.",
            lambda s, ids, m: hardest_negative_loss(s, ids, m) * len(s),
        ),
        Mistake(
            "hinge left out",
            "Pairs that lead by more than the margin are rewarded for leading even more: their cost is 0, not below it "
            "(relu).",
            lambda s, ids, m: sum(_hardest(s, ids, m, hinge=False)).mean(),
        ),
        Mistake(
            "margin left out",
            "The margin is missing: a pair should be ahead of its hardest negative by that much.",
            lambda s, ids, m: hardest_negative_loss(s, ids, 1e-12),
        ),
        Mistake(
            "margin subtracted",
            "The margin has the wrong sign: a pair that lies within the margin should cost something.",
            lambda s, ids, m: sum(_hardest(s, ids, -m)).mean(),
        ),
        Mistake(
            "easiest negative",
            "The least similar negative is taken: the hardest is the most similar one.",
            _easiest,
        ),
        Mistake(
            "hardest of the whole batch",
            "One negative is taken for the whole batch: each picture and each text has a hardest one of its own "
            "(amax with dim=1, and with dim=0).",
            _of_the_batch,
        ),
        Mistake(
            "own score of the picture for both",
            "In the columns the score of the wrong pair is taken for the own one: the column of text j is compared "
            "with s_jj.",
            lambda s, ids, m: sum(_hardest(s, ids, m, rows_own=True)).mean(),
        ),
        Mistake(
            "zero for what fits",
            "What fits is set to 0, which is the hardest where all negatives have a similarity below 0: set it to "
            "minus infinity.",
            lambda s, ids, m: sum(_hardest(s, ids, m, fill=0.0)).mean(),
        ),
        Mistake(
            "place instead of score",
            "The hinge holds the place of the hardest negative, which argmax gives: take its similarity, amax.",
            lambda s, ids, m: (
                (m - s.diagonal() + s.masked_fill(_same(ids), -torch.inf).argmax(dim=1)).relu()
                + (m - s.diagonal() + s.masked_fill(_same(ids), -torch.inf).argmax(dim=0)).relu()
            ).mean(),
        ),
        Mistake(
            "harder direction only",
            "Only the harder of the two directions costs: add both.",
            lambda s, ids, m: torch.maximum(*_hardest(s, ids, m)).mean(),
        ),
        Mistake(
            "wrong sign",
            "The loss has the wrong sign: the pair's own similarity should make it smaller, a negative's larger.",
            lambda s, ids, m: -hardest_negative_loss(s, ids, m),
        ),
    ),
    explanation="Hard and false negatives are found in the same place. As only the hardest one has a gradient, VSE++ "
    "starts slowly, and a wrong label is the first thing that it looks at.",
)


# 07.6 ---------------------------------------------------------------------------------------------------------------


class ProductQuantizer(nn.Module):
    """Vectors as codes of a few words each, and distances to them from a table; names as in the exercise."""

    def __init__(self, dim: int, parts: int, words: int) -> None:
        super().__init__()
        self.codebooks = nn.Parameter(torch.zeros(parts, words, dim // parts))

    def forward(self, queries: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        codes = self.encode(vectors)
        return codes, self.distances(queries, codes)

    # The steps that a likely mistake changes.
    def split(self, vectors: Tensor) -> Tensor:
        return vectors.reshape(len(vectors), len(self.codebooks), -1)

    def words_of(self, vectors: Tensor) -> Tensor:
        """Squared distance of each part of each vector to each of its words: (N, D) -> (N, M, K)."""
        return (self.split(vectors)[:, :, None] - self.codebooks).square().sum(dim=-1)

    def encode(self, vectors: Tensor) -> Tensor:
        return self.words_of(vectors).argmin(dim=-1)

    def distances(self, queries: Tensor, codes: Tensor) -> Tensor:
        return self.read(self.words_of(queries), codes)

    def read(self, table: Tensor, codes: Tensor) -> Tensor:
        """A table (Q, M, K) at the codes (N, M), added up over the parts: (Q, N)."""
        return table[:, torch.arange(codes.shape[1]), codes].sum(dim=-1)


class _Striped(ProductQuantizer):
    def split(self, vectors):
        return vectors.reshape(len(vectors), -1, len(self.codebooks)).mT


class _FirstBook(ProductQuantizer):
    def words_of(self, vectors):
        return (self.split(vectors)[:, :, None] - self.codebooks[:1]).square().sum(dim=-1)


class _DotWords(ProductQuantizer):
    def words_of(self, vectors):
        return -(self.split(vectors)[:, :, None] * self.codebooks).sum(dim=-1)


class _DotDistances(ProductQuantizer):
    def distances(self, queries, codes):
        return self.read((self.split(queries)[:, :, None] * self.codebooks).sum(dim=-1), codes)


class _Farthest(ProductQuantizer):
    def encode(self, vectors):
        return self.words_of(vectors).argmax(dim=-1)


class _Symmetric(ProductQuantizer):
    def distances(self, queries, codes):
        said = self.codebooks[torch.arange(len(self.codebooks)), self.encode(queries)]
        return super().distances(said.flatten(1), codes)


class _Exact(ProductQuantizer):
    def forward(self, queries, vectors):
        return self.encode(vectors), (queries[:, None] - vectors).square().sum(dim=-1)


class _Rooted(ProductQuantizer):
    def distances(self, queries, codes):
        return super().distances(queries, codes).sqrt()


class _RootedParts(ProductQuantizer):
    def distances(self, queries, codes):
        return self.read(self.words_of(queries).sqrt(), codes)


class _Mean(ProductQuantizer):
    def read(self, table, codes):
        return super().read(table, codes) / codes.shape[1]


class _Transposed(ProductQuantizer):
    def distances(self, queries, codes):
        return super().distances(queries, codes).T


class _NearestWords(ProductQuantizer):
    """Each query's nearest words, whatever the codes say."""

    def read(self, table, codes):
        return table.amin(dim=-1).sum(dim=-1, keepdim=True).expand(-1, len(codes)).contiguous()


class _LastPart(ProductQuantizer):
    def read(self, table, codes):
        return table[:, -1, codes[:, -1]]


class _Loss(ProductQuantizer):
    """How far each vector is from what its code says: right for a query that is the vector."""

    def forward(self, queries, vectors):
        return self.encode(vectors), self.words_of(vectors).amin(dim=-1).sum(dim=-1).expand(len(queries), -1)


def quantizer_case(seed: int, about: str, sizes: tuple[int, int, int], queries: int, vectors: int) -> Case:
    """A case of the module for `sizes` of dim, parts and words."""
    dim, parts, words = sizes
    books = normal(seed, parts, words, dim // parts)
    generator = torch.Generator().manual_seed(seed + 1)
    spoken = torch.randint(words, (vectors, parts), generator=generator)
    near = books[torch.arange(parts), spoken].flatten(1) + 0.4 * normal(seed + 2, vectors, dim)
    return Case(
        about,
        {"queries": normal(seed + 3, queries, dim), "vectors": near},
        construct={"dim": dim, "parts": parts, "words": words},
        state={"codebooks": books},
    )


def quantizer_cases(seed: int) -> list[Case]:
    by_hand = Case(
        "one query and two vectors of four numbers, in two parts, worked out by hand",
        {
            "queries": torch.tensor([[1.0, 0.0, 2.0, 2.0]]),
            "vectors": torch.tensor([[0.9, 0.2, 0.0, 0.4], [0.1, 0.0, 2.5, 2.0]]),
        },
        construct={"dim": 4, "parts": 2, "words": 2},
        state={"codebooks": torch.tensor([[[0.0, 0.0], [1.0, 1.0]], [[3.0, 2.0], [0.0, 1.0]]])},
    )
    return [
        by_hand,
        quantizer_case(100 * seed + 1, "three queries and five vectors, three parts, four words", (12, 3, 4), 3, 5),
    ]


QUANTIZER = Exercise(
    id="07.6",
    title="Product quantisation: a vector in a few bytes",
    name="ProductQuantizer",
    signature="class ProductQuantizer(nn.Module)",
    asked="module",
    difficulty=4,
    minutes=18,
    points=4,
    hints=(
        "Split first: vectors.reshape(N, parts, dim // parts) puts the M parts of each vector beside each other. Then "
        "one table holds everything: the squared distance of each part to each of the K words of its own codebook.",
        "(N, M, 1, d) minus codebooks (M, K, d) broadcasts to (N, M, K, d). Squared and summed over the last dimension "
        "it is the table (N, M, K) of the vectors; its argmin over the words is the code. The same table of the "
        "queries, (Q, M, K), holds all that is needed for the distances.",
        "distance(q, n) = sum over m of table[q, m, codes[n, m]]. With two index tensors that broadcast to (N, M), "
        "table[:, torch.arange(M), codes] has the shape (Q, N, M): sum over the last dimension.",
    ),
    cases=quantizer_cases,
    reference=ProductQuantizer,
    mistakes=(
        Mistake(
            "split in stripes",
            "The parts are made of every M-th number: part m is a run of dim // parts numbers that stand beside each "
            "other.",
            _Striped,
        ),
        Mistake(
            "one codebook for all parts",
            "All parts are looked up in the first codebook: part m has a codebook of its own, codebooks[m].",
            _FirstBook,
        ),
        Mistake(
            "farthest word",
            "The code is the farthest word: take the one at the smallest distance.",
            _Farthest,
        ),
        Mistake(
            "dot product for a distance",
            "Words are compared by dot product: a long word then wins over a near one. Take the squared distance.",
            _DotWords,
        ),
        Mistake(
            "dot products returned",
            "The codes are right, but the second result holds dot products: squared distances are asked for.",
            _DotDistances,
        ),
        Mistake(
            "query quantised too",
            "The codes are right, but the query is replaced by its own code as well: that is the symmetric distance. "
            "The query is known exactly, so keep it as it is.",
            _Symmetric,
        ),
        Mistake(
            "exact distances",
            "The codes are right, but the distances are those to the vectors themselves, which a search no longer has: "
            "measure to the words that the codes name.",
            _Exact,
        ),
        Mistake(
            "root of the distance",
            "The codes are right, but the distances should be squared: the root is left out, as it changes no order.",
            _Rooted,
        ),
        Mistake(
            "root in each part",
            "The codes are right, but the root is taken in each part before the parts are added: squares add up to the "
            "squared distance, roots do not.",
            _RootedParts,
        ),
        Mistake(
            "mean over the parts",
            "The codes are right, but the parts are averaged: their squared distances add up.",
            _Mean,
        ),
        Mistake(
            "transposed",
            "The codes are right; the distances should have a row for each query and a column for each vector.",
            _Transposed,
        ),
        Mistake(
            "codes not used",
            "The codes are right, but the distances are those to the words nearest to the query: read the table at the "
            "words of each vector's code.",
            _NearestWords,
        ),
        Mistake(
            "one part only",
            "The codes are right, but only the last part is measured: is the sum overwritten in a loop?",
            _LastPart,
        ),
        Mistake(
            "error of the code",
            "The codes are right, but the second result is how far each vector is from its own code: the distance is "
            "asked for from each query.",
            _Loss,
        ),
    ),
    equivalents={
        "return (self.codebooks - pieces[:, :, None]).square().sum(dim=-1)": "a square is the same the other way round",
    },
    explanation="128 numbers of 4 bytes become 16 codes of one byte: 32 times less, so that a million vectors fit into "
    "16 MB. FAISS gives the same codes and distances.",
)


# 07.7 ---------------------------------------------------------------------------------------------------------------

PAIRS, HELD_BACK_PAIRS, NEGATIVES, STEPS = 600, 200, 10, 100
IMAGE_WIDTH, TEXT_WIDTH = 24, 20
ALIKE = 8  # pairs of one kind of scene


def scene_pairs(seed: int, count: int) -> dict[str, Tensor]:
    """What a dual encoder and a re-ranker see of matching pictures and captions, by the names of the exercise.

    Eight pairs each show one kind of scene. The embeddings hold the kind alone; the features hold, weakly, what tells
    pairs of a kind apart as well.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    kind, own = draw(count // ALIKE, 6).repeat_interleave(ALIKE, dim=0), draw(count, 10)
    mixed = draw(6, 8)
    found = {}
    for side, width in (("image", IMAGE_WIDTH), ("text", TEXT_WIDTH)):
        found[f"{side}_embeds"] = F.normalize(kind @ mixed + 0.3 * draw(count, 8), dim=-1)
        seen = torch.cat([kind + 0.3 * draw(count, 6), 0.15 * (own + 0.2 * draw(count, 10))], dim=1)
        turned = torch.linalg.qr(draw(width, width))[0][:16]
        found[f"{side}_features"] = seen @ turned + 0.02 * draw(count, width)
    return found


ORDER = ("image_embeds", "text_embeds", "image_features", "text_features")


def reranker_case(seed: int, about: str) -> Case:
    """600 pairs to train on, and 200 of other scenes that only the judge sees."""
    pairs = scene_pairs(seed, PAIRS + HELD_BACK_PAIRS)
    return Case(
        about,
        {name: pairs[name][:PAIRS] for name in ORDER} | {"k": NEGATIVES, "steps": STEPS},
        hidden={name: pairs[name][PAIRS:] for name in ORDER},
    )


def mined(image_embeds: Tensor, text_embeds: Tensor, k: int) -> Tensor:
    """The `k` wrong pictures that are most similar to each text: `(N, k)` int64."""
    similarity = (text_embeds @ image_embeds.T).fill_diagonal_(-torch.inf)
    return similarity.topk(k, dim=1).indices


def train_reranker(
    image_embeds: Tensor, text_embeds: Tensor, image_features: Tensor, text_features: Tensor, k: int, steps: int
) -> tuple[Tensor, Tensor, list[float]]:
    """Trains a bilinear re-ranker by cross-entropy over each text's own picture and the mined ones."""
    negatives = mined(image_embeds, text_embeds, k)
    own = torch.arange(len(negatives))[:, None]
    candidates = image_features[torch.cat([own, negatives], dim=1)]
    weight = torch.zeros(text_features.shape[1], image_features.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.2)
    losses = []
    for _ in range(steps):
        scores = ((text_features @ weight)[:, None] * candidates).sum(dim=-1)
        loss = F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return weight, negatives, losses


def _returned(value: Any) -> tuple[Tensor, Tensor, list[float]]:
    """What was returned, if it can be judged."""
    if not isinstance(value, (tuple, list)) or len(value) != 3 or not all(type(one) is Tensor for one in value[:2]):
        raise InputError("Three things are expected: the weight, the mined negatives and the list of losses.")
    weight, negatives, losses = value
    wanted = (TEXT_WIDTH, IMAGE_WIDTH)
    if tuple(weight.shape) != wanted:
        turned = " It is transposed." if tuple(weight.shape) == wanted[::-1] else ""
        raise InputError(f"The weight should have the shape {wanted}, and has {tuple(weight.shape)}.{turned}")
    if not weight.is_floating_point() or not torch.isfinite(weight).all():
        raise InputError("The weight should hold finite floating numbers: did the training diverge?")
    wanted = (PAIRS, NEGATIVES)
    if tuple(negatives.shape) != wanted or negatives.is_floating_point() or negatives.dtype == torch.bool:
        raise InputError(
            f"The mined negatives should be numbers of pictures, int64 of the shape {wanted}; "
            f"they are {str(negatives.dtype).removeprefix('torch.')} of the shape {tuple(negatives.shape)}."
        )
    losses = losses.tolist() if type(losses) is Tensor and losses.ndim == 1 else losses
    if isinstance(losses, (tuple, list)):
        losses = [one.item() if type(one) is Tensor and one.numel() == 1 else one for one in losses]
        if len(losses) > 1 and all(type(one) in (int, float) and math.isfinite(one) for one in losses):
            return weight, negatives, losses
    raise InputError("The third thing should be a list of at least two finite numbers: the loss of every step.")


def _scores(weight: Tensor, pairs: dict[str, Tensor], pictures: Tensor) -> Tensor:
    """The re-ranker's score of each text with each of the pictures `(N, P)` that are named for it: `(N, P)`."""
    return ((pairs["text_features"] @ weight.float())[:, None] * pairs["image_features"][pictures]).sum(dim=-1)


def two_stage_recall(weight: Tensor, pairs: dict[str, Tensor], k: int = NEGATIVES) -> float:
    """Recall@1 from texts to pictures: the dual encoder's first `k` pictures, put in order by the re-ranker."""
    best = (pairs["text_embeds"] @ pairs["image_embeds"].T).topk(k, dim=1).indices
    chosen = best.gather(1, _scores(weight, pairs, best).argmax(dim=1, keepdim=True))[:, 0]
    return float((chosen == torch.arange(len(best))).float().mean())


def held_back_recall(case: Case, value: Any) -> float:
    """Recall@1 of the search in two stages on the pairs that were held back."""
    return two_stage_recall(_returned(value)[0], case.hidden)


def _besides(case: Case, value: Any) -> str:
    weight, negatives, losses = _returned(value)
    if len(losses) > STEPS:
        return f"There are {len(losses)} losses, and {STEPS} steps are all there are."
    right = mined(case.inputs["image_embeds"], case.inputs["text_embeds"], NEGATIVES)
    if not torch.equal(negatives.sort(dim=1).values, right.sort(dim=1).values):
        wrong = int((negatives.sort(dim=1).values != right.sort(dim=1).values).any(dim=1).sum())
        return f"The mined negatives of {wrong} of {PAIRS} texts are not the {NEGATIVES} hardest."
    return ""


def _mined_are(other: Callable[[Case, Tensor], Tensor]) -> Callable[[Case, Any], bool]:
    """Whether the negatives are `other(case, similarity)`, similarity being texts by pictures."""

    def sign(case: Case, value: Any) -> bool:
        similarity = case.inputs["text_embeds"] @ case.inputs["image_embeds"].T
        return torch.equal(_returned(value)[1].sort(dim=1).values, other(case, similarity).sort(dim=1).values)

    return sign


def _own_among_them(case: Case, value: Any) -> bool:
    return float((_returned(value)[1] == torch.arange(PAIRS)[:, None]).any(dim=1).float().mean()) > 0.5


def _practised_elsewhere(case: Case, value: Any) -> bool:
    """Whether the weight tells any pictures apart, and the losses are far below those of the mined ones."""
    weight, negatives, losses = _returned(value)
    own = torch.arange(HELD_BACK_PAIRS)[:, None]
    unlike = (own + torch.arange(1, NEGATIVES + 1) * 2 * ALIKE + ALIKE) % HELD_BACK_PAIRS  # of other kinds of scene
    sure = _scores(weight, case.hidden, torch.cat([own, unlike], dim=1)).argmax(dim=1) == 0
    own = torch.arange(PAIRS)
    mined_scores = _scores(weight, case.inputs, torch.cat([own[:, None], negatives], dim=1))
    return bool(sure.float().mean() > 0.8 and losses[-1] < 0.5 * F.cross_entropy(mined_scores, torch.zeros_like(own)))


RERANKER = Exercise(
    id="07.7",
    title="Train a re-ranker on negatives that you mine",
    name="train_reranker",
    signature="def train_reranker(image_embeds: Tensor, text_embeds: Tensor, image_features: Tensor, "
    "text_features: Tensor, k: int, steps: int) -> tuple[Tensor, Tensor, list[float]]",
    asked="function",
    difficulty=5,
    minutes=22,
    points=4,
    hints=(
        "Mine once, before the first step: the similarity of all texts with all pictures by the embeddings, minus "
        "infinity on the diagonal, and the k highest of each row. Training then never looks at the embeddings again.",
        "The candidates of a text are its own picture and its k negatives, say in this order. Their scores are a row "
        "of k + 1 numbers, and the right class is 0: a cross-entropy, as in CLIP's loss.",
        "scores = ((text_features @ weight)[:, None] * image_features[candidates]).sum(dim=-1), of shape (N, k + 1). "
        "What tells the candidates apart is small in the features, so take large steps: torch.optim.Adam with a "
        "learning rate of 0.2 gets there within the steps given.",
    ),
    cases=lambda seed: [reranker_case(1000 + seed, "a re-ranker of what a dual encoder confuses")],
    reference=train_reranker,
    measure=Measure(
        f"recall@1 of both stages on {HELD_BACK_PAIRS} held-back pairs",
        held_back_recall,
        at_least=0.75,
        chance=1 / NEGATIVES,
        baseline=0.54,
        besides=_besides,
    ),
    mistakes=(
        Mistake(
            "own picture among the negatives",
            "Each text's own picture is among its negatives: it is the most similar one, and should be left out before "
            "the k highest are taken.",
            sign=_own_among_them,
        ),
        Mistake(
            "easiest negatives",
            "These are the pictures that are least like the text, which nobody confuses: take the most similar ones.",
            sign=_mined_are(
                lambda case, similarity: similarity.fill_diagonal_(torch.inf).topk(NEGATIVES, largest=False).indices
            ),
        ),
        Mistake(
            "mined from the picture's side",
            "These are texts that are similar to each picture: the search goes from text to picture, so that the "
            "negatives are pictures.",
            sign=_mined_are(
                lambda case, similarity: similarity.T.fill_diagonal_(-torch.inf).topk(NEGATIVES, dim=1).indices
            ),
        ),
        Mistake(
            "mined among pictures",
            "These are the pictures most similar to the text's own picture: what the search confuses is said by the "
            "text's similarity.",
            sign=_mined_are(
                lambda case, similarity: (
                    (case.inputs["image_embeds"] @ case.inputs["image_embeds"].T)
                    .fill_diagonal_(-torch.inf)
                    .topk(NEGATIVES, dim=1)
                    .indices
                )
            ),
        ),
        Mistake(
            "drawn at random",
            "Negatives drawn at random are nearly all of another kind of scene: what is hard is never practised.",
            sign=lambda case, value: (
                float(
                    (
                        _returned(value)[1][:, :, None]
                        == mined(case.inputs["image_embeds"], case.inputs["text_embeds"], NEGATIVES)[:, None]
                    )
                    .any(dim=2)
                    .float()
                    .mean()
                )
                < 0.1
            ),
        ),
        Mistake(
            "too many steps",
            "A re-ranker is dear to run, so that the steps are counted: a larger learning rate needs fewer.",
            sign=lambda case, value: len(_returned(value)[2]) > STEPS,
        ),
        Mistake(
            "not trained",
            "The loss stays what it was. Does every step change the weight that the next one uses, and is it the one "
            "that you return?",
            sign=lambda case, value: (
                _returned(value)[2][-1] > 0.97 * _returned(value)[2][0] or not _returned(value)[0].any()
            ),
        ),
        Mistake(
            "wrong sign",
            "The weight puts the right picture last: does the training make the right picture's score higher?",
            sign=lambda case, value: two_stage_recall(-_returned(value)[0], case.hidden) > 0.5,
        ),
        Mistake(
            "trained on others",
            "It tells unlike scenes apart and not those of one kind: are the pictures that were mined the ones that "
            "the loss is computed on?",
            sign=_practised_elsewhere,
        ),
        Mistake(
            "unfinished",
            "The loss was still falling, or jumped about: use all the steps, and try another learning rate.",
            sign=lambda case, value: held_back_recall(case, value) < 0.75,
        ),
    ),
    equivalents={
        "optimizer = torch.optim.Adam([weight], lr=1.2)": A_RATE,
        "optimizer = torch.optim.Adam([weight], lr=1)": A_RATE,
        "losses.append(loss)": A_TENSOR,
    },
    explanation="The first stage is cheap and sees the kind of scene, the second is dear and practised on what the "
    "first confuses: that is how ALBEF and BLIP search COCO.",
    seconds=60.0,
)

EXERCISES = (RANKS, AVERAGE_PRECISION, READ, FOLDS, HARDEST, QUANTIZER, RERANKER)
