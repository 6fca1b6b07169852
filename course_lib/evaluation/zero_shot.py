"""Classifying without a training example: the classes are described in words, and the nearest description wins."""

from collections.abc import Callable, Hashable, Sequence

import torch
import torch.nn.functional as F

from course_lib.errors import InputError
from course_lib.evaluation.embedding import embed_texts
from course_lib.evaluation.retrieval import recall_at_k


def text_classifier(
    model: torch.nn.Module,
    tokenizer: Callable[[list[str]], torch.Tensor],
    class_names: Sequence[str],
    templates: Sequence[str] = ("{}",),
) -> torch.Tensor:
    """The weights of a linear classifier, written in words.

    Each class is said in every template, each sentence is embedded and brought to length 1, the sentences of a class
    are averaged, and the average is brought to length 1 again (prompt ensembling). `image_embeds @ classifier.T` are
    logits.

    Args:
        model: anything with `encode_text(input_ids) -> (B, D)`.
        tokenizer: texts -> `(B, L)` input ids.
        class_names: C names.
        templates: sentences with one `{}` for the name: `"a picture of {}"`.

    Returns:
        `(C, D)`, rows of length 1.

    Raises:
        InputError: no class or no template, or a template without `{}`.

    Source: Radford et al. 2021, section 3.1.4.
    """
    if not class_names or not templates:
        raise InputError("a classifier needs at least one class name and one template")
    if wrong := [template for template in templates if "{}" not in template]:
        raise InputError(f"the template {wrong[0]!r} has no place for the class name: write {{}} where it goes")
    sentences = [template.replace("{}", name) for name in class_names for template in templates]
    embeds = embed_texts(model, tokenizer(sentences))
    return F.normalize(embeds.view(len(class_names), len(templates), -1).mean(dim=1), dim=-1)


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Top-1 accuracy: the fraction of rows whose largest logit is their label's.

    A wrong class that scores as high as the right one makes the row wrong.

    Args:
        logits: `(N, C)`.
        labels: `(N,)` int, below C.
    """
    return _correct(logits, labels).double().mean().item()


def accuracy_by_group(logits: torch.Tensor, labels: torch.Tensor, groups: Sequence[Hashable]) -> dict[Hashable, float]:
    """Top-1 accuracy of each group of rows: one group per class, say, or "seen" and "held out".

    Args:
        logits: `(N, C)`.
        labels: `(N,)` int, below C.
        groups: N names of groups.

    Returns:
        group -> accuracy, in the order in which the groups first occur.
    """
    correct = _correct(logits, labels).tolist()
    if len(groups) != len(correct):
        raise InputError(f"{len(groups)} groups for {len(correct)} rows: name the group of each row")
    rows: dict[Hashable, list[bool]] = {}
    for group, right in zip(groups, correct, strict=True):
        rows.setdefault(group, []).append(right)
    return {group: sum(right) / len(right) for group, right in rows.items()}


def contrastive_accuracy(logits: torch.Tensor) -> float:
    """The fraction of rows of a batch whose own partner, on the diagonal, scores highest: what the loss trains, as a
    rate.

    It is easier in a small batch: chance is 1/B. Give `logits.T` for the other direction.

    Args:
        logits: `(B, B)`, images by texts.
    """
    return recall_at_k(logits, 1)


def roc_auc(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """Area under the ROC curve: how often a positive scores higher than a negative, a tie counting half. Chance is 0.5.

    Unlike accuracy it needs no threshold and does not change with the share of positives.

    Args:
        scores: `(N,)`.
        labels: `(N,)`, 1 or True for positives.

    Raises:
        InputError: the shapes differ, a score is nan, or one of the two kinds is missing.

    Source: the Mann-Whitney U statistic; equal to `sklearn.metrics.roc_auc_score`.
    """
    scores, labels = torch.as_tensor(scores).double().flatten(), torch.as_tensor(labels).bool().flatten()
    if scores.shape != labels.shape:
        raise InputError(f"{len(scores)} scores and {len(labels)} labels: give one label for each score")
    if torch.isnan(scores).any():
        raise InputError("the scores hold nan, which has no rank: look for it in the embeddings")
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives:
        raise InputError("the labels are all alike: an area under the curve needs positives and negatives")
    _, place, count = scores.unique(return_inverse=True, return_counts=True)
    mean_rank = count.cumsum(0) - (count - 1) / 2
    rank_sum = mean_rank[place][labels].sum().item()
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def _correct(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """`(N,)` bool: the label's logit is larger than every other."""
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise InputError(
            f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} do not fit: they should be (N, C) and (N,)"
        )
    if len(labels) == 0:
        raise InputError("there is no row to measure: give at least one")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise InputError(f"labels should lie between 0 and {logits.shape[1] - 1}, the classes that logits has")
    own = logits.gather(1, labels[:, None])
    return (logits >= own).sum(dim=1) == 1
