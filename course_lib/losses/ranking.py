"""Losses that ask for an order and a margin: what belongs together should be closer than what does not.

No probabilities here: once the right answer is ahead by the margin, a ranking loss is 0 and teaches nothing more.
"""

import torch

from course_lib.errors import InputError


def triplet_loss(
    anchor: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, margin: float = 1.0
) -> torch.Tensor:
    """The mean of `max(0, |anchor - positive| - |anchor - negative| + margin)` over triplets of vectors.

    Args:
        anchor: `(N, D)`.
        positive: `(N, D)`, what belongs to each anchor.
        negative: `(N, D)`, what does not.
        margin: by how much the negative should be further away, in the distance's unit.

    Returns:
        The loss, a scalar.

    Raises:
        InputError: the shapes differ, there is no triplet, a number is not finite, or the margin is not positive.

    Source: Schroff et al. 2015, "FaceNet", equation 2, there with squared distances. Equal to
        `torch.nn.functional.triplet_margin_loss`, which adds 1e-6 to each difference: a distance of 0 has no gradient.
    """
    if anchor.ndim != 2 or not anchor.shape == positive.shape == negative.shape or not len(anchor):
        raise InputError(
            f"anchor {tuple(anchor.shape)}, positive {tuple(positive.shape)} and negative {tuple(negative.shape)} "
            "should have one shape, (triplets, embedding size), with at least one triplet"
        )
    for name, vectors in (("anchor", anchor), ("positive", positive), ("negative", negative)):
        if not torch.isfinite(vectors).all():
            raise InputError(f"{name} holds a number that is not finite (nan or infinite)")
    check_margin(margin)
    near = (anchor - positive + 1e-6).norm(dim=-1)
    far = (anchor - negative + 1e-6).norm(dim=-1)
    return (near - far + margin).relu().mean()


def hinge_sum_loss(
    similarity: torch.Tensor, margin: float = 0.2, positives: torch.Tensor | None = None
) -> torch.Tensor:
    """Every negative that comes within the margin of the own pair costs, in both directions (VSE0).

    With `s = similarity`, for pair i: `sum_j max(0, margin - s_ii + s_ij) + sum_j max(0, margin - s_ii + s_ji)` over
    the negatives j; then the mean over the pairs.

    Args:
        similarity: `(B, B)`, images by texts; the own pairs on the diagonal.
        margin: by how much the own pair should lead, in the similarity's unit.
        positives: `(B, B)` bool, true where image i and text j fit, so that they are not pushed apart; the diagonal
            counts as true. If None, only the diagonal fits.

    Returns:
        The loss, a scalar.

    Raises:
        InputError: `similarity` is not square, has fewer than two pairs or a number that is not finite; `positives`
            does not fit it; the margin is not positive.

    Source: Faghri et al. 2018, "VSE++", equations 3 and 5. (The authors' code sums over the pairs instead.)
    """
    as_image, as_text = _hinges(similarity, margin, positives)
    return (as_image + as_text).sum() / len(similarity)


def hardest_negative_loss(
    similarity: torch.Tensor, margin: float = 0.2, positives: torch.Tensor | None = None
) -> torch.Tensor:
    """Only the negative that is most similar costs, in each direction: the max of hinges of VSE++.

    Args and errors: as `hinge_sum_loss`.

    Returns:
        The loss, a scalar: the mean over the pairs.

    Source: Faghri et al. 2018, "VSE++", equations 3 and 6. (The authors' code sums over the pairs instead.)
    """
    as_image, as_text = _hinges(similarity, margin, positives)
    return (as_image.amax(dim=1) + as_text.amax(dim=0)).sum() / len(similarity)


def _hinges(
    similarity: torch.Tensor, margin: float, positives: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """What each negative costs the image of its row, and the text of its column: `(B, B)` each, 0 where it fits."""
    fits = pairs_that_fit(similarity, positives)
    check_margin(margin)
    own = similarity.diagonal()
    as_image = (margin - own[:, None] + similarity).relu().masked_fill(fits, 0.0)
    as_text = (margin - own[None, :] + similarity).relu().masked_fill(fits, 0.0)
    return as_image, as_text


def pairs_that_fit(similarity: torch.Tensor, positives: torch.Tensor | None) -> torch.Tensor:
    """`(B, B)` bool: the diagonal, and whatever `positives` adds to it.

    Raises:
        InputError: `similarity` is no finite `(B, B)` with B > 1, or `positives` is no boolean matrix of its shape.
    """
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1] or len(similarity) < 2:
        raise InputError(
            f"similarity has shape {tuple(similarity.shape)}; it should be (pairs, pairs) with at least two pairs"
        )
    if not torch.isfinite(similarity).all():
        raise InputError("similarity holds a number that is not finite (nan or infinite)")
    fits = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    if positives is None:
        return fits
    if positives.shape != similarity.shape or positives.dtype != torch.bool:
        raise InputError(
            f"positives has shape {tuple(positives.shape)} and type {positives.dtype}; "
            f"it should be {tuple(similarity.shape)} of torch.bool"
        )
    return fits | positives.to(similarity.device)


def check_margin(margin: float) -> None:
    """Raises InputError unless the margin is above 0."""
    if not margin > 0:
        raise InputError(f"margin is {margin}; it should be above 0, or equal vectors would be a perfect answer")
