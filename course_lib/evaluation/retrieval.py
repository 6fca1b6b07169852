"""Retrieval: given an image, find its text among many, and the other way round."""

import torch

from course_lib.errors import InputError


def ranks(similarity: torch.Tensor, positives: torch.Tensor | None = None) -> torch.Tensor:
    """The place, counted from 1, at which each query finds the first candidate that is right.

    A wrong candidate that scores as high as the best right one counts as found before it, so a model that gives every
    candidate the same score is last, not first.

    Args:
        similarity: `(Q, N)`, how well candidate `n` answers query `q`.
        positives: `(Q, N)` bool, which candidates are right; every query needs one. Without it, candidate `q` is.

    Returns:
        `(Q,)` int64, between 1 and N.

    Raises:
        InputError: the shapes do not fit, a score is nan, or a query has no right candidate.
    """
    if similarity.ndim != 2 or 0 in similarity.shape:
        raise InputError(
            f"similarity has shape {tuple(similarity.shape)}; it should be (queries, candidates), neither 0"
        )
    if torch.isnan(similarity).any():
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
    positives = positives.bool()
    if not positives.any(dim=1).all():
        raise InputError(
            f"query {int((~positives.any(dim=1)).nonzero()[0])} has no right candidate: each needs at least one"
        )
    best_right = similarity.masked_fill(~positives, -torch.inf).amax(dim=1, keepdim=True)
    return 1 + ((similarity >= best_right) & ~positives).sum(dim=1)


def recall_at_k(similarity: torch.Tensor, k: int = 1, positives: torch.Tensor | None = None) -> float:
    """The fraction of queries that find a right candidate among their first `k` ("R@k").

    Args and errors as `ranks`; give `similarity.T` (and `positives.T`) for the other direction.
    """
    if k < 1:
        raise InputError(f"k is {k}; it should be 1 or more")
    return (ranks(similarity, positives) <= k).double().mean().item()


def retrieval(similarity: torch.Tensor, owners: torch.Tensor | None = None, ks: tuple[int, ...] = (1, 5, 10)) -> dict:
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


def _median(places: torch.Tensor) -> float:
    return torch.quantile(places.double(), 0.5).item()
