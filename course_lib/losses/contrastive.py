"""Losses that pull an image and its own text together and push every other pairing apart.

All take one batch of matching pairs: row `i` of the images belongs to row `i` of the texts, and every other row is
taken as a negative, even where it happens to fit (a false negative); `info_nce` can be told of those.
"""

import torch
import torch.nn.functional as F

from course_lib.errors import InputError
from course_lib.losses.ranking import pairs_that_fit


def info_nce(scores: torch.Tensor, positives: torch.Tensor | None = None) -> torch.Tensor:
    """Picks for each row its own column out of all: the mean of `-log softmax(scores)_ii`.

    `log B` minus its value on unseen pairs never exceeds, on average, the mutual information between what the rows
    and what the columns stand for, whatever function the scores come from. `clip_loss` is the mean of
    `info_nce(logits)` and `info_nce(logits.T)`.

    Args:
        scores: `(B, B)`, how well each column fits each row; the own pairs on the diagonal.
        positives: `(B, B)` bool, true where a pair fits although it is off the diagonal: such a pair is left out, being
            neither the answer nor a wrong one. If None, all are wrong answers.

    Returns:
        The loss, a scalar; guessing gives `log B`.

    Raises:
        InputError: `scores` is not square, has fewer than two rows or a number that is not finite, or `positives` does
            not fit it.

    Source: van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding", equation 4; the
        bound: section 2.3.
    """
    fits = pairs_that_fit(scores, positives)
    own = torch.arange(len(scores), device=scores.device)
    if positives is not None:
        scores = scores.masked_fill(fits.fill_diagonal_(False), -torch.inf)
    return F.cross_entropy(scores, own)


def clip_loss(image_embeds: torch.Tensor, text_embeds: torch.Tensor, logit_scale: torch.Tensor | float) -> torch.Tensor:
    """CLIP's symmetric InfoNCE: classify each image's text among the batch's texts, and each text's image, and average.

    With `logits = logit_scale * image_embeds @ text_embeds.T`, it is the mean of the cross-entropy along the rows and
    along the columns, the right answer lying on the diagonal. Guessing gives `log B`.

    Args:
        image_embeds: `(B, D)`, each row of length 1.
        text_embeds: `(B, D)`, each row of length 1.
        logit_scale: 1 / temperature, already exponentiated (a model keeps its logarithm).

    Returns:
        The loss, a scalar.

    Raises:
        InputError: the shapes do not match, the batch is empty or holds one pair only, or an embedding is not finite.

    Source: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision", figure 3.
    Equal to `open_clip.ClipLoss`, except that one pair is refused: its loss is 0 whatever the model says.
    """
    check_pairs(image_embeds, text_embeds)
    if len(image_embeds) == 1:
        raise InputError(
            "a batch of one pair has nothing to tell apart, its loss is 0 and teaches nothing: give at least two pairs"
        )
    logits_per_image = logit_scale * image_embeds @ text_embeds.T
    own = torch.arange(len(image_embeds), device=image_embeds.device)
    return (F.cross_entropy(logits_per_image, own) + F.cross_entropy(logits_per_image.T, own)) / 2


def siglip_loss(
    image_embeds: torch.Tensor,
    text_embeds: torch.Tensor,
    logit_scale: torch.Tensor | float,
    logit_bias: torch.Tensor | float,
) -> torch.Tensor:
    """SigLIP's loss: each of the B x B pairings is its own yes-or-no question, and no softmax ties them together.

    `-sum_ij log sigmoid(z_ij * (logit_scale * image_i . text_j + logit_bias)) / B`, where `z_ij` is 1 on the diagonal
    and -1 elsewhere. The bias starts low (-10), because almost every pairing is a no.

    Args:
        image_embeds: `(B, D)`, each row of length 1.
        text_embeds: `(B, D)`, each row of length 1.
        logit_scale: 1 / temperature, already exponentiated.
        logit_bias: added to every logit.

    Returns:
        The loss, a scalar.

    Raises:
        InputError: the shapes do not match, the batch is empty, or an embedding is not finite. (One pair is a question
            too.)

    Source: Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training", algorithm 1. Equal to
        `open_clip.loss.SigLipLoss`.
    """
    check_pairs(image_embeds, text_embeds)
    logits = logit_scale * image_embeds @ text_embeds.T + logit_bias
    return yes_or_no(logits, torch.eye(len(logits), device=logits.device, dtype=torch.bool))


def yes_or_no(logits: torch.Tensor, belongs: torch.Tensor) -> torch.Tensor:
    """SigLIP's questions for one block of pairings: `-sum log sigmoid(+-logits) / rows`, plus where they belong."""
    return -F.logsigmoid(torch.where(belongs, logits, -logits)).sum() / len(logits)


def check_pairs(image_embeds: torch.Tensor, text_embeds: torch.Tensor) -> None:
    """Raises InputError, saying what is wrong, unless both are `(B, D)` with the same B and D, B > 0, and finite."""
    for name, embeds in (("image_embeds", image_embeds), ("text_embeds", text_embeds)):
        if embeds.ndim != 2:
            raise InputError(f"{name} has shape {tuple(embeds.shape)}; it should be (pairs, embedding size)")
    if len(image_embeds) != len(text_embeds):
        raise InputError(
            f"{len(image_embeds)} images and {len(text_embeds)} texts are not pairs: give one text for each image"
        )
    if image_embeds.shape[1] != text_embeds.shape[1]:
        raise InputError(
            f"images are embedded in {image_embeds.shape[1]} numbers and texts in {text_embeds.shape[1]}: "
            "project both to one size"
        )
    if len(image_embeds) == 0:
        raise InputError("the batch is empty: give at least two pairs")
    for name, embeds in (("image_embeds", image_embeds), ("text_embeds", text_embeds)):
        if not torch.isfinite(embeds).all():
            raise InputError(
                f"{name} holds a number that is not finite (nan or infinite): look for a division by zero, "
                "an overflow, or too high a learning rate before the loss"
            )
