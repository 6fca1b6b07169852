"""Retrieval: given an image, find its text among many, and the other way round.

Everything here follows from one thing, the *places* at which a query finds its right candidates. One rule for ties
holds everywhere: of candidates with the same score the wrong ones stand first, so a model that gives every candidate
the same score is the worst there is, not the best by luck.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from course_lib.errors import InputError

CHUNK = 1 << 20  # scores looked at in one go: what is computed on the way stays in the processor's cache
FEW = 16  # for so few right candidates it is faster to go through the scores once for each than to sort them


def places(similarity: Tensor, positives: Tensor | None = None) -> Tensor:
    """The places, counted from 1, at which each query finds its right candidates, the best first.

    A wrong candidate that scores as high as a right one stands before it.

    Args:
        similarity: `(Q, N)`, how well candidate `n` answers query `q`.
        positives: `(Q, N)` bool, which candidates are right; every query needs one. Without it, candidate `q` is.

    Returns:
        `(Q, P)` int64 between 1 and N, where P is the largest number of right candidates of any query; 0 fills the rows
        of queries that have fewer.

    Raises:
        InputError: the shapes do not fit, a score is nan, or a query has no right candidate.
    """
    positives = _checked(similarity, positives)
    count = positives.sum(dim=1)
    if not count.all():
        raise InputError(f"query {int((count == 0).nonzero()[0])} has no right candidate: each needs at least one")
    most = int(count.max())
    return torch.cat([_places(scores, right, most) for scores, right in _chunks(similarity, positives)])


def ranks(similarity: Tensor, positives: Tensor | None = None) -> Tensor:
    """The place, counted from 1, at which each query finds the first candidate that is right.

    A wrong candidate that scores as high as the best right one counts as found before it, so a model that gives every
    candidate the same score is last, not first.

    Args and errors as `places`.

    Returns:
        `(Q,)` int64, between 1 and N.
    """
    return places(similarity, positives)[:, 0]


def recall_at_k(similarity: Tensor, k: int = 1, positives: Tensor | None = None) -> float:
    """The fraction of queries that find a right candidate among their first `k` ("R@k" of the papers on retrieval).

    With several right candidates a query has succeeded when it finds one of them: torchmetrics calls this the hit rate,
    and keeps the name recall for `share_found`.

    Args and errors as `places`; give `similarity.T` (and `positives.T`) for the other direction.
    """
    _check_depth(k)
    return (ranks(similarity, positives) <= k).double().mean().item()


def share_found(similarity: Tensor, k: int = 1, positives: Tensor | None = None) -> float:
    """The fraction of a query's right candidates that are among its first `k`, mean over queries.

    This is recall as information retrieval defines it; with one right candidate a query it equals `recall_at_k`.

    Args and errors as `places`.
    """
    _check_depth(k)
    found = places(similarity, positives)
    there = found > 0
    return (((found <= k) & there).sum(dim=1) / there.sum(dim=1).double()).mean().item()


def median_rank(similarity: Tensor, positives: Tensor | None = None) -> float:
    """The median over queries of the first right candidate's place; of an even number of queries the middle of two.

    Args and errors as `places`.
    """
    return _median(ranks(similarity, positives))


def mean_rank(similarity: Tensor, positives: Tensor | None = None) -> float:
    """The mean over queries of the first right candidate's place: a few lost queries can make it large.

    Args and errors as `places`.
    """
    return ranks(similarity, positives).double().mean().item()


def mean_reciprocal_rank(similarity: Tensor, positives: Tensor | None = None) -> float:
    """The mean over queries of 1 / place of the first right candidate ("MRR").

    Args and errors as `places`. Source: Voorhees, The TREC-8 Question Answering Track Report, section 3.
    """
    return _reciprocal(places(similarity, positives)).mean().item()


def mean_average_precision(similarity: Tensor, positives: Tensor | None = None) -> float:
    """The mean over queries of the average precision ("mAP"): the precision at each right candidate's place, averaged.

    Args and errors as `places`. Source: Manning et al., Introduction to Information Retrieval, section 8.4.
    """
    return _average_precision(places(similarity, positives)).mean().item()


def ndcg(similarity: Tensor, relevance: Tensor | None = None, k: int | None = None) -> float:
    """Normalised discounted cumulative gain: what stands high counts more, and candidates may be right by degrees.

    The gain of a candidate is its relevance, its discount 1 / log2(1 + place); the sum over the first `k` places is
    divided by that of the best possible order.

    Args:
        similarity: `(Q, N)`.
        relevance: `(Q, N)`, 0 or more, how right each candidate is; a bool matrix is 0 and 1. Without it, candidate `q`
            is right and no other.
        k: how many places count; None for all.

    Raises:
        InputError: as `places`, or a relevance is negative or not finite.

    Source: Järvelin and Kekäläinen, Cumulated Gain-Based Evaluation of IR Techniques, section 2.2, with the discount
    that has become usual.
    """
    if k is not None:
        _check_depth(k)
    if relevance is None or relevance.dtype == torch.bool:
        return _binary_gain(places(similarity, relevance), k).mean().item()
    if not torch.isfinite(relevance).all() or (relevance < 0).any():
        raise InputError("relevance should be finite and not below 0")
    some = _checked(similarity, relevance > 0)
    if not some.any(dim=1).all():
        raise InputError(f"query {int((~some.any(dim=1)).nonzero()[0])} has no relevant candidate: each needs one")
    discount = _discount(similarity.shape[1], k, similarity.device)
    gains = []
    for scores, worth in _chunks(similarity, relevance):
        # Sorted by worth first, then by score without changing the order of equals: the worst comes first in a tie.
        ascending, order = worth.double().sort(dim=1)
        order = scores.gather(1, order).argsort(dim=1, descending=True, stable=True)
        gains.append((ascending.gather(1, order) @ discount) / (ascending.flip(1) @ discount))
    return torch.cat(gains).mean().item()


def measures(similarity: Tensor, positives: Tensor | None = None, ks: tuple[int, ...] = (1, 5, 10)) -> dict[str, float]:
    """All measures of one direction from one look at the scores.

    Args and errors as `places`; `ks` are the depths of R@k.

    Returns:
        `{"R@1": ..., "R@5": ..., "R@10": ..., "median_rank": ..., "mean_rank": ..., "MRR": ..., "mAP": ...,
        "nDCG": ...}`.
    """
    for k in ks:
        _check_depth(k)
    found = places(similarity, positives)
    first = found[:, 0]
    return {f"R@{k}": (first <= k).double().mean().item() for k in ks} | {
        "median_rank": _median(first),
        "mean_rank": first.double().mean().item(),
        "MRR": _reciprocal(found).mean().item(),
        "mAP": _average_precision(found).mean().item(),
        "nDCG": _binary_gain(found, None).mean().item(),
    }


def retrieval(similarity: Tensor, owners: Tensor | None = None, ks: tuple[int, ...] = (1, 5, 10)) -> dict:
    """Both directions at once, as papers report them.

    Args:
        similarity: `(I, T)`, images by texts.
        owners: `(T,)` int, the image that each text describes (five captions a picture: `[0, 0, 0, 0, 0, 1, ...]`).
            Without it, text `i` describes image `i`.
        ks: the depths.

    Returns:
        `{"image_to_text": {"R@1": 0.9, ..., "median_rank": 1.0}, "text_to_image": {...}}`.
    """
    positives = None
    if owners is not None:
        if owners.shape != similarity.shape[1:]:
            raise InputError(
                f"owners has shape {tuple(owners.shape)}; it should name one image for each of "
                f"{similarity.shape[1]} texts"
            )
        positives = torch.arange(len(similarity), device=owners.device)[:, None] == owners[None, :]
    found = {
        "image_to_text": ranks(similarity, positives),
        "text_to_image": ranks(similarity.T, None if positives is None else positives.T),
    }
    return {
        way: {f"R@{k}": (place <= k).double().mean().item() for k in ks} | {"median_rank": _median(place)}
        for way, place in found.items()
    }


def _checked(similarity: Tensor, positives: Tensor | None) -> Tensor:
    """The positives as bool (Q, N), after everything that can be wrong with the two was looked for."""
    if similarity.ndim != 2 or 0 in similarity.shape:
        raise InputError(
            f"similarity has shape {tuple(similarity.shape)}; it should be (queries, candidates), neither 0"
        )
    if not similarity.is_floating_point():
        raise InputError(f"similarity holds {similarity.dtype}; scores should be floating-point numbers")
    if torch.isnan(similarity.amax()):  # the largest of numbers of which one is nan is nan
        raise InputError("similarity holds nan, which has no rank: look for it in the embeddings")
    if positives is None:
        if similarity.shape[0] != similarity.shape[1]:
            raise InputError(
                f"{similarity.shape[0]} queries and {similarity.shape[1]} candidates are not pairs: "
                "say which candidates are right with `positives`"
            )
        positives = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    if positives.shape != similarity.shape:
        raise InputError(
            f"positives has shape {tuple(positives.shape)}; it should be that of similarity, {tuple(similarity.shape)}"
        )
    return positives.bool()


def _check_depth(k: int) -> None:
    if k < 1:
        raise InputError(f"k is {k}; it should be 1 or more")


def _chunks(similarity: Tensor, beside: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    rows = max(1, CHUNK // similarity.shape[1])
    return zip(similarity.split(rows), beside.split(rows), strict=True)


def _places(similarity: Tensor, positives: Tensor, most: int) -> Tensor:
    """`places` of a few rows, without checks."""
    rows, columns = positives.nonzero(as_tuple=True)  # row by row
    count = positives.sum(dim=1)
    number = torch.arange(len(rows), device=rows.device) - (count.cumsum(0) - count)[rows]
    right = similarity.new_full((len(similarity), most), -torch.inf)
    right[rows, number] = similarity[rows, columns]
    there = torch.arange(most, device=count.device) < count[:, None]
    # Among the right ones the order is by score. A row that is filled up has -inf at its end, also after sorting: what
    # fills it may change places with a right candidate of score -inf, and the two are alike.
    right = right.sort(dim=1, descending=True).values
    if most <= FEW:
        at_least = torch.stack([_count_at_least(similarity, right[:, p : p + 1]) for p in range(most)], dim=1)
    else:
        at_least = similarity.shape[1] - torch.searchsorted(similarity.sort(dim=1).values, right.contiguous())
    right_at_least = ((right[:, None, :] >= right[:, :, None]) & there[:, None, :]).sum(dim=2)
    own = torch.arange(1, most + 1, device=count.device)
    return (at_least - right_at_least + own) * there


def _count_at_least(similarity: Tensor, threshold: Tensor) -> Tensor:
    """How many scores of each row reach its threshold: (Q, N) and (Q, 1) -> (Q,) int64."""
    if similarity.shape[1] > 1 << 24:  # up to there float32 counts without an error, and far faster than int64
        return (similarity >= threshold).sum(dim=1)
    reached = torch.empty(similarity.shape, dtype=torch.float32, device=similarity.device)
    return torch.ge(similarity, threshold, out=reached).sum(dim=1).long()


def _median(first: Tensor) -> float:
    return torch.quantile(first.double(), 0.5).item()


def _reciprocal(found: Tensor) -> Tensor:
    return 1 / found[:, 0].double()


def _average_precision(found: Tensor) -> Tensor:
    there = found > 0
    precision = torch.arange(1, found.shape[1] + 1, device=found.device) / found.double().clamp(min=1)
    return (precision * there).sum(dim=1) / there.sum(dim=1)


def _discount(count: int, k: int | None, device: torch.device) -> Tensor:
    """1 / log2(1 + place) for the places 1 to count, 0 beyond the k-th."""
    place = torch.arange(1, count + 1, device=device, dtype=torch.float64)
    return torch.where(place <= (k or count), 1 / torch.log2(1 + place), 0.0)


def _binary_gain(found: Tensor, k: int | None) -> Tensor:
    """nDCG of each query where a candidate is right or wrong."""
    there = found > 0
    deepest = int(found.max()) if k is None else k
    gain = torch.where(there & (found <= deepest), 1 / torch.log2(1 + found.double().clamp(min=1)), 0.0).sum(dim=1)
    best = _discount(found.shape[1], k, found.device).cumsum(0)[there.sum(dim=1) - 1]
    return gain / best
