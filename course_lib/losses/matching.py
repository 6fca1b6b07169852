"""Image-text matching: a model that reads both together answers yes or no, and is asked about the hard cases."""

import torch
import torch.nn.functional as F

from course_lib.errors import InputError
from course_lib.losses.ranking import pairs_that_fit


def itm_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the two-way question "do this image and this text belong together?".

    Args:
        logits: `(N, 2)`, scores of no (0) and yes (1).
        labels: `(N,)` int, 1 where they match, 0 where they do not.

    Returns:
        The loss, a scalar; guessing gives `log 2`.

    Raises:
        InputError: the shapes do not fit, there is no pair, a label is neither 0 nor 1, or a logit is not finite.

    Source: Li et al. 2021, "Align before Fuse" (ALBEF), equation 4.
    """
    if logits.ndim != 2 or logits.shape[1] != 2 or not len(logits):
        raise InputError(f"logits has shape {tuple(logits.shape)}; it should be (pairs, 2), with at least one pair")
    if labels.shape != logits.shape[:1] or labels.is_floating_point() or ((labels != 0) & (labels != 1)).any():
        raise InputError(f"labels should be {len(logits)} integers, 1 where image and text match and 0 where not")
    if not torch.isfinite(logits).all():
        raise InputError("logits holds a number that is not finite (nan or infinite)")
    return F.cross_entropy(logits, labels.long())


@torch.no_grad()
def hard_negative_rows(
    similarity: torch.Tensor, generator: torch.Generator, positives: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws a negative text for each image and a negative image for each text: the more similar, the more likely.

    A negative is drawn with the probability that the contrastive softmax gives it, the own pair (and whatever else
    fits) left out. So the easy ones are rare, and the hardest one is not drawn always: it may be a false negative.

    Args:
        similarity: `(B, B)`, images by texts, as logits: cosines times the logit scale.
        generator: decides.
        positives: `(B, B)` bool, true where image i and text j fit; the diagonal counts as true. If None, only the
            diagonal fits.

    Returns:
        `texts_for_images` `(B,)`, a text's row for each image, and `images_for_texts` `(B,)`, an image's for each text.

    Raises:
        InputError: `similarity` is no finite `(B, B)` with B > 1, `positives` does not fit it, or an image or a text
            has no negative in the batch.

    Source: Li et al. 2021, "Align before Fuse" (ALBEF), section 3.2.
    """
    fits = pairs_that_fit(similarity, positives)
    if fits.all(dim=1).any() or fits.all(dim=0).any():
        raise InputError("everything in the batch fits one of its images or texts: there is no negative to draw")
    # Left out before the softmax, not after: beside a confident own pair all others would round to 0.
    logits = similarity.float().masked_fill(fits, -torch.inf).to(generator.device)
    texts_for_images = torch.multinomial(logits.softmax(dim=1), 1, generator=generator).flatten()
    images_for_texts = torch.multinomial(logits.T.softmax(dim=1), 1, generator=generator).flatten()
    return texts_for_images.to(similarity.device), images_for_texts.to(similarity.device)
