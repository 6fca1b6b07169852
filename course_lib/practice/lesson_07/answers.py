"""Answers to set 07: model solutions, right answers written differently, wrong ones that learners write.

A class is not given this file. Each answer stands alone: it uses `torch`, `nn`, `F`, `math` and what it defines itself,
so that its source can be put into a notebook as it is.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.practice.exercise import Mutant
from course_lib.practice.lesson_07.exercises import READING

# 07.1 ---------------------------------------------------------------------------------------------------------------


def ranks(similarity: Tensor, positives: Tensor, k: int) -> tuple[Tensor, float]:
    best_right = similarity.masked_fill(~positives, -torch.inf).amax(dim=1, keepdim=True)
    before = (similarity >= best_right) & ~positives
    first = before.sum(dim=1) + 1
    return first, (first <= k).double().mean().item()


def ranks_by_loops(similarity, positives, k):
    found = []
    for scores, right in zip(similarity.tolist(), positives.tolist(), strict=True):
        best = max(score for score, good in zip(scores, right, strict=True) if good)
        found.append(1 + sum(score >= best and not good for score, good in zip(scores, right, strict=True)))
    return [torch.tensor(found), sum(place <= k for place in found) / len(found)]


def ranks_by_sorting(similarity, positives, k):
    # Right candidates stand last in the gallery, so that a stable sort puts them behind their equals.
    last = positives.int().argsort(dim=1, stable=True)
    order = similarity.gather(1, last).argsort(dim=1, descending=True, stable=True)
    hits = positives.gather(1, last.gather(1, order))
    places = torch.arange(1, hits.shape[1] + 1).expand_as(hits)
    first = places.masked_fill(~hits, hits.shape[1] + 1).amin(dim=1)
    return first, (first <= k).float().mean()


def ranks_in_favour(similarity, positives, k):
    best_right = similarity.masked_fill(~positives, -torch.inf).amax(dim=1, keepdim=True)
    ranks = 1 + ((similarity > best_right) & ~positives).sum(dim=1)
    return ranks, (ranks <= k).float().mean().item()


def ranks_by_order(similarity, positives, k):
    order = similarity.argsort(dim=1, descending=True)
    ranks = positives.gather(1, order).int().argmax(dim=1) + 1
    return ranks, (ranks <= k).float().mean().item()


def ranks_from_zero(similarity, positives, k):
    best_right = similarity.masked_fill(~positives, -torch.inf).amax(dim=1, keepdim=True)
    ranks = ((similarity >= best_right) & ~positives).sum(dim=1)
    return ranks, (ranks <= k).float().mean().item()


def ranks_of_the_last(similarity, positives, k):
    worst_right = similarity.masked_fill(~positives, torch.inf).amin(dim=1, keepdim=True)
    ranks = 1 + ((similarity >= worst_right) & ~positives).sum(dim=1)
    return ranks, (ranks <= k).float().mean().item()


def ranks_with_right_ones(similarity, positives, k):
    best_right = similarity.masked_fill(~positives, -torch.inf).amax(dim=1, keepdim=True)
    ranks = 1 + (similarity >= best_right).sum(dim=1)
    return ranks, (ranks <= k).float().mean().item()


def ranks_of_the_diagonal(similarity, positives, k):
    own = similarity.diagonal()[:, None]
    mine = torch.eye(*similarity.shape, dtype=torch.bool)
    ranks = 1 + ((similarity >= own) & ~mine).sum(dim=1)
    return ranks, (ranks <= k).float().mean().item()


def ranks_of_the_first_column(similarity, positives, k):
    ranks = []
    for scores, right in zip(similarity, positives, strict=True):
        column = right.nonzero()[0, 0]
        ranks.append(1 + ((scores >= scores[column]) & ~right).sum())
    ranks = torch.stack(ranks)
    return ranks, (ranks <= k).float().mean().item()


def ranks_of_distances(similarity, positives, k):
    best_right = similarity.masked_fill(~positives, torch.inf).amin(dim=1, keepdim=True)
    ranks = 1 + ((similarity <= best_right) & ~positives).sum(dim=1)
    return ranks, (ranks <= k).float().mean().item()


def ranks_ascending(similarity, positives, k):
    order = similarity.argsort(dim=1)
    ranks = positives.gather(1, order).int().argmax(dim=1) + 1
    return ranks, (ranks <= k).float().mean().item()


def ranks_below_k(similarity, positives, k):
    best_right = similarity.masked_fill(~positives, -torch.inf).amax(dim=1, keepdim=True)
    ranks = 1 + ((similarity >= best_right) & ~positives).sum(dim=1)
    return ranks, (ranks < k).float().mean().item()


def ranks_and_share(similarity, positives, k):
    best_right = similarity.masked_fill(~positives, -torch.inf).amax(dim=1, keepdim=True)
    ranks = 1 + ((similarity >= best_right) & ~positives).sum(dim=1)
    last = positives.int().argsort(dim=1, stable=True)
    order = similarity.gather(1, last).argsort(dim=1, descending=True, stable=True)
    hits = positives.gather(1, last.gather(1, order))
    return ranks, (hits[:, :k].sum(dim=1) / hits.sum(dim=1)).mean().item()


def ranks_and_precision(similarity, positives, k):
    best_right = similarity.masked_fill(~positives, -torch.inf).amax(dim=1, keepdim=True)
    ranks = 1 + ((similarity >= best_right) & ~positives).sum(dim=1)
    return ranks, positives.gather(1, similarity.topk(k, dim=1).indices).float().mean().item()


def ranks_alone(similarity, positives, k):
    best_right = similarity.masked_fill(~positives, -torch.inf).amax(dim=1, keepdim=True)
    return 1 + ((similarity >= best_right) & ~positives).sum(dim=1)


def ranks_and_hits(similarity, positives, k):
    best_right = similarity.masked_fill(~positives, -torch.inf).amax(dim=1, keepdim=True)
    ranks = 1 + ((similarity >= best_right) & ~positives).sum(dim=1)
    return ranks, (ranks <= k).float()


def ranks_in_place(similarity, positives, k):
    similarity[~positives] -= 1e-9
    right = similarity.clone()
    right[~positives] = -torch.inf
    similarity[positives] = -torch.inf
    ranks = 1 + (similarity >= right.amax(dim=1, keepdim=True)).sum(dim=1)
    return ranks, (ranks <= k).float().mean().item()


# 07.2 ---------------------------------------------------------------------------------------------------------------


def average_precision(similarity: Tensor, positives: Tensor) -> float:
    order = similarity.argsort(dim=1, descending=True)
    hits = positives.gather(1, order).double()
    places = torch.arange(1, hits.shape[1] + 1, device=hits.device)
    precisions = hits.cumsum(dim=1) / places
    return ((precisions * hits).sum(dim=1) / hits.sum(dim=1)).mean().item()


def average_precision_by_loops(similarity, positives):
    total = 0.0
    for scores, right in zip(similarity.tolist(), positives.tolist(), strict=True):
        found, precisions = 0, []
        for place, (_, good) in enumerate(sorted(zip(scores, right, strict=True), reverse=True), start=1):
            if good:
                found += 1
                precisions.append(found / place)
        total += sum(precisions) / len(precisions)
    return total / len(similarity)


def average_precision_by_counting(similarity, positives):
    queries, columns = positives.nonzero(as_tuple=True)
    scores = similarity[queries, columns][:, None]
    at_least = similarity[queries] >= scores
    precision = (at_least & positives[queries]).sum(1) / at_least.sum(1)
    share = precision / positives.sum(1)[queries]
    return share.sum() / len(similarity)


def average_precision_reciprocal(similarity, positives):
    hits = positives.gather(1, similarity.argsort(dim=1, descending=True)).float()
    return (1 / (hits.argmax(dim=1) + 1)).mean().item()


def average_precision_everywhere(similarity, positives):
    hits = positives.gather(1, similarity.argsort(dim=1, descending=True)).float()
    precisions = hits.cumsum(dim=1) / torch.arange(1, hits.shape[1] + 1)
    return precisions.mean(dim=1).mean().item()


def average_precision_over_gallery(similarity, positives):
    hits = positives.gather(1, similarity.argsort(dim=1, descending=True)).float()
    precisions = hits.cumsum(dim=1) / torch.arange(1, hits.shape[1] + 1)
    return (precisions * hits).mean(dim=1).mean().item()


def average_precision_pooled(similarity, positives):
    hits = positives.gather(1, similarity.argsort(dim=1, descending=True))
    precisions = hits.cumsum(dim=1) / torch.arange(1, hits.shape[1] + 1)
    return precisions[hits].mean().item()


def average_precision_ascending(similarity, positives):
    hits = positives.gather(1, similarity.argsort(dim=1)).float()
    precisions = hits.cumsum(dim=1) / torch.arange(1, hits.shape[1] + 1)
    return ((precisions * hits).sum(dim=1) / hits.sum(dim=1)).mean().item()


def average_precision_unsorted(similarity, positives):
    hits = positives.float()
    precisions = hits.cumsum(dim=1) / torch.arange(1, hits.shape[1] + 1)
    return ((precisions * hits).sum(dim=1) / hits.sum(dim=1)).mean().item()


def average_precision_by_rank(similarity, positives):
    rank = similarity.argsort(dim=1, descending=True).argsort(dim=1)
    hits = positives.gather(1, rank).float()
    precisions = hits.cumsum(dim=1) / torch.arange(1, hits.shape[1] + 1)
    return ((precisions * hits).sum(dim=1) / hits.sum(dim=1)).mean().item()


def average_precision_of_recalls(similarity, positives):
    hits = positives.gather(1, similarity.argsort(dim=1, descending=True)).float()
    recalls = hits.cumsum(dim=1) / hits.sum(dim=1, keepdim=True)
    return ((recalls * hits).sum(dim=1) / hits.sum(dim=1)).mean().item()


def average_precision_uncounted(similarity, positives):
    hits = positives.gather(1, similarity.argsort(dim=1, descending=True)).float()
    precisions = hits / torch.arange(1, hits.shape[1] + 1)
    return (precisions.sum(dim=1) / hits.sum(dim=1)).mean().item()


def average_precision_interpolated(similarity, positives):
    hits = positives.gather(1, similarity.argsort(dim=1, descending=True)).float()
    precisions = hits.cumsum(dim=1) / torch.arange(1, hits.shape[1] + 1)
    precisions = precisions.flip(1).cummax(dim=1).values.flip(1)
    return ((precisions * hits).sum(dim=1) / hits.sum(dim=1)).mean().item()


def average_precision_from_zero(similarity, positives):
    hits = positives.gather(1, similarity.argsort(dim=1, descending=True)).float()
    precisions = hits.cumsum(dim=1) / torch.arange(hits.shape[1])
    return ((precisions * hits).sum(dim=1) / hits.sum(dim=1)).mean().item()


def average_precision_per_query(similarity, positives):
    hits = positives.gather(1, similarity.argsort(dim=1, descending=True)).float()
    precisions = hits.cumsum(dim=1) / torch.arange(1, hits.shape[1] + 1)
    return (precisions * hits).sum(dim=1) / hits.sum(dim=1)


# 07.3 ---------------------------------------------------------------------------------------------------------------


def choosing(**other: str) -> dict[str, str]:
    """The right choices with some exchanged for others."""
    return READING | other


# 07.4 ---------------------------------------------------------------------------------------------------------------


def folds(image_embeds: Tensor, text_embeds: Tensor, folds: int, k: int) -> tuple[float, float]:
    size = len(image_embeds) // folds
    to_text, to_image = [], []
    for first in range(0, len(image_embeds), size):
        images = image_embeds[first : first + size]
        texts = text_embeds[5 * first : 5 * (first + size)]
        similarity = images @ texts.T
        owners = torch.arange(len(texts), device=texts.device) // 5
        own = torch.arange(size, device=texts.device)[:, None]
        best_texts = similarity.topk(k, dim=1).indices
        best_images = similarity.topk(k, dim=0).indices
        to_text.append((owners[best_texts] == own).any(dim=1))
        to_image.append((best_images == owners).any(dim=0))
    return torch.cat(to_text).double().mean().item(), torch.cat(to_image).double().mean().item()


def folds_by_loops(image_embeds, text_embeds, folds, k):
    size = len(image_embeds) // folds
    hits_of_images = hits_of_texts = 0
    for image in range(len(image_embeds)):
        start = image // size * size
        scores = text_embeds[5 * start : 5 * (start + size)] @ image_embeds[image]
        best = scores.argsort(descending=True)[:k].tolist()
        hits_of_images += any(5 * image <= 5 * start + text < 5 * (image + 1) for text in best)
    for text in range(len(text_embeds)):
        image = text // 5
        start = image // size * size
        scores = image_embeds[start : start + size] @ text_embeds[text]
        hits_of_texts += image - start in scores.argsort(descending=True)[:k].tolist()
    return [hits_of_images / len(image_embeds), torch.tensor(hits_of_texts / len(text_embeds))]


def folds_by_ranks(image_embeds, text_embeds, folds, k):
    size = len(image_embeds) // folds
    images = image_embeds.double().view(folds, size, -1)
    texts = text_embeds.double().view(folds, 5 * size, -1)
    similarity = torch.einsum("fid,ftd->fit", images, texts)
    fits = torch.eye(size, dtype=torch.bool).repeat_interleave(5, dim=1)
    best = similarity.masked_fill(~fits, -torch.inf).amax(dim=2, keepdim=True)
    image_ranks = 1 + ((similarity >= best) & ~fits).sum(dim=2)
    own = similarity.masked_fill(~fits, -torch.inf).amax(dim=1, keepdim=True)
    text_ranks = (similarity >= own).sum(dim=1)
    return (image_ranks <= k).double().mean(), (text_ranks <= k).double().mean()


def folds_of_everything(image_embeds, text_embeds, folds, k):
    similarity = image_embeds @ text_embeds.T
    owners = torch.arange(len(text_embeds)) // 5
    own = torch.arange(len(image_embeds))[:, None]
    to_text = (owners[similarity.topk(k, dim=1).indices] == own).any(dim=1).float().mean().item()
    to_image = (similarity.topk(k, dim=0).indices == owners).any(dim=0).float().mean().item()
    return to_text, to_image


def folds_overwritten(image_embeds, text_embeds, folds, k):
    for images, texts in zip(image_embeds.chunk(folds), text_embeds.chunk(folds), strict=True):
        similarity = images @ texts.T
        owners, own = torch.arange(len(texts)) // 5, torch.arange(len(images))[:, None]
        to_text = (owners[similarity.topk(k, dim=1).indices] == own).any(dim=1).float().mean().item()
        to_image = (similarity.topk(k, dim=0).indices == owners).any(dim=0).float().mean().item()
    return to_text, to_image


def folds_of_first_captions(image_embeds, text_embeds, folds, k):
    found = []
    for images, texts in zip(image_embeds.chunk(folds), text_embeds[::5].chunk(folds), strict=True):
        similarity = images @ texts.T
        own = torch.arange(len(images))
        to_text = (similarity.topk(k, dim=1).indices == own[:, None]).any(dim=1).float().mean()
        to_image = (similarity.topk(k, dim=0).indices == own).any(dim=0).float().mean()
        found.append(torch.stack([to_text, to_image]))
    return tuple(torch.stack(found).mean(0).tolist())


def folds_in_stripes(image_embeds, text_embeds, folds, k):
    found = []
    for images, texts in zip(image_embeds.chunk(folds), text_embeds.chunk(folds), strict=True):
        similarity = images @ texts.T
        owners, own = torch.arange(len(texts)) % len(images), torch.arange(len(images))[:, None]
        to_text = (owners[similarity.topk(k, dim=1).indices] == own).any(dim=1).float().mean()
        to_image = (similarity.topk(k, dim=0).indices == owners).any(dim=0).float().mean()
        found.append(torch.stack([to_text, to_image]))
    return tuple(torch.stack(found).mean(0).tolist())


def folds_exchanged(image_embeds, text_embeds, folds, k):
    found = []
    for images, texts in zip(image_embeds.chunk(folds), text_embeds.chunk(folds), strict=True):
        similarity = images @ texts.T
        owners, own = torch.arange(len(texts)) // 5, torch.arange(len(images))[:, None]
        to_text = (owners[similarity.topk(k, dim=1).indices] == own).any(dim=1).float().mean()
        to_image = (similarity.topk(k, dim=0).indices == owners).any(dim=0).float().mean()
        found.append(torch.stack([to_image, to_text]))
    return tuple(torch.stack(found).mean(0).tolist())


def folds_all_captions(image_embeds, text_embeds, folds, k):
    found = []
    for images, texts in zip(image_embeds.chunk(folds), text_embeds.chunk(folds), strict=True):
        similarity = images @ texts.T
        owners, own = torch.arange(len(texts)) // 5, torch.arange(len(images))[:, None]
        to_text = ((owners[similarity.topk(k, dim=1).indices] == own).sum(dim=1) == 5).float().mean()
        to_image = (similarity.topk(k, dim=0).indices == owners).any(dim=0).float().mean()
        found.append(torch.stack([to_text, to_image]))
    return tuple(torch.stack(found).mean(0).tolist())


def folds_share_of_captions(image_embeds, text_embeds, folds, k):
    found = []
    for images, texts in zip(image_embeds.chunk(folds), text_embeds.chunk(folds), strict=True):
        similarity = images @ texts.T
        owners, own = torch.arange(len(texts)) // 5, torch.arange(len(images))[:, None]
        to_text = ((owners[similarity.topk(k, dim=1).indices] == own).sum(dim=1) / 5).mean()
        to_image = (similarity.topk(k, dim=0).indices == owners).any(dim=0).float().mean()
        found.append(torch.stack([to_text, to_image]))
    return tuple(torch.stack(found).mean(0).tolist())


def folds_precision(image_embeds, text_embeds, folds, k):
    found = []
    for images, texts in zip(image_embeds.chunk(folds), text_embeds.chunk(folds), strict=True):
        similarity = images @ texts.T
        owners, own = torch.arange(len(texts)) // 5, torch.arange(len(images))[:, None]
        to_text = (owners[similarity.topk(k, dim=1).indices] == own).float().mean()
        to_image = (similarity.topk(k, dim=0).indices == owners).any(dim=0).float().mean()
        found.append(torch.stack([to_text, to_image]))
    return tuple(torch.stack(found).mean(0).tolist())


def folds_any_caption(image_embeds, text_embeds, folds, k):
    found = []
    for images, texts in zip(image_embeds.chunk(folds), text_embeds.chunk(folds), strict=True):
        similarity = images @ texts.T
        owners, own = torch.arange(len(texts)) // 5, torch.arange(len(images))[:, None]
        to_text = (owners[similarity.topk(k, dim=1).indices] == own).any(dim=1).float().mean()
        hits = (similarity.topk(k, dim=0).indices == owners).any(dim=0)
        to_image = hits.view(len(images), 5).any(dim=1).float().mean()
        found.append(torch.stack([to_text, to_image]))
    return tuple(torch.stack(found).mean(0).tolist())


def folds_at_one(image_embeds, text_embeds, folds, k):
    found = []
    for images, texts in zip(image_embeds.chunk(folds), text_embeds.chunk(folds), strict=True):
        similarity = images @ texts.T
        owners, own = torch.arange(len(texts)) // 5, torch.arange(len(images))
        to_text = (owners[similarity.argmax(dim=1)] == own).float().mean()
        to_image = (similarity.argmax(dim=0) == owners).float().mean()
        found.append(torch.stack([to_text, to_image]))
    return tuple(torch.stack(found).mean(0).tolist())


def folds_summed(image_embeds, text_embeds, folds, k):
    to_text = to_image = 0.0
    for images, texts in zip(image_embeds.chunk(folds), text_embeds.chunk(folds), strict=True):
        similarity = images @ texts.T
        owners, own = torch.arange(len(texts)) // 5, torch.arange(len(images))[:, None]
        to_text += (owners[similarity.topk(k, dim=1).indices] == own).any(dim=1).float().mean().item()
        to_image += (similarity.topk(k, dim=0).indices == owners).any(dim=0).float().mean().item()
    return to_text, to_image


def folds_together(image_embeds, text_embeds, folds, k):
    found = []
    for images, texts in zip(image_embeds.chunk(folds), text_embeds.chunk(folds), strict=True):
        similarity = images @ texts.T
        owners, own = torch.arange(len(texts)) // 5, torch.arange(len(images))[:, None]
        to_text = (owners[similarity.topk(k, dim=1).indices] == own).any(dim=1).float().mean()
        to_image = (similarity.topk(k, dim=0).indices == owners).any(dim=0).float().mean()
        found.append((to_text + to_image) / 2)
    return torch.stack(found).mean().item()


# 07.5 ---------------------------------------------------------------------------------------------------------------


def hardest(similarity: Tensor, picture_ids: Tensor, margin: float) -> Tensor:
    fits = picture_ids[:, None] == picture_ids[None, :]
    negatives = similarity.masked_fill(fits, -torch.inf)
    own = similarity.diagonal()
    as_image = (margin - own + negatives.amax(dim=1)).relu()
    as_text = (margin - own + negatives.amax(dim=0)).relu()
    return (as_image + as_text).mean()


def hardest_by_loops(similarity, picture_ids, margin):
    total = 0.0
    count = len(similarity)
    for i in range(count):
        others = [j for j in range(count) if picture_ids[j] != picture_ids[i]]
        for scores in (similarity[i], similarity[:, i]):
            total = total + torch.clamp(margin - similarity[i, i] + torch.max(scores[others]), min=0)
    return total / count


def hardest_of_hinges(similarity, picture_ids, margin):
    differ = (picture_ids.unsqueeze(0) != picture_ids.unsqueeze(1)).to(similarity.dtype)
    own = similarity.diag()
    rows = F.relu(similarity - own.view(-1, 1) + margin) * differ
    columns = F.relu(similarity - own.view(1, -1) + margin) * differ
    return rows.max(dim=1).values.mean() + columns.max(dim=0).values.mean()


def hardest_with_false_ones(similarity, picture_ids, margin):
    mine = torch.eye(len(similarity), dtype=torch.bool)
    negatives = similarity.masked_fill(mine, -torch.inf)
    own = similarity.diagonal()
    as_image = (margin - own + negatives.amax(dim=1)).relu()
    as_text = (margin - own + negatives.amax(dim=0)).relu()
    return (as_image + as_text).mean()


def hardest_with_itself(similarity, picture_ids, margin):
    own = similarity.diagonal()
    as_image = (margin - own + similarity.amax(dim=1)).relu()
    as_text = (margin - own + similarity.amax(dim=0)).relu()
    return (as_image + as_text).mean()


def hardest_all(similarity, picture_ids, margin):
    fits = picture_ids[:, None] == picture_ids[None, :]
    own = similarity.diagonal()
    as_image = (margin - own[:, None] + similarity).relu().masked_fill(fits, 0)
    as_text = (margin - own[None, :] + similarity).relu().masked_fill(fits, 0)
    return (as_image + as_text).sum() / len(similarity)


def hardest_all_and_false(similarity, picture_ids, margin):
    mine = torch.eye(len(similarity), dtype=torch.bool)
    own = similarity.diagonal()
    as_image = (margin - own[:, None] + similarity).relu().masked_fill(mine, 0)
    as_text = (margin - own[None, :] + similarity).relu().masked_fill(mine, 0)
    return (as_image + as_text).sum() / len(similarity)


def hardest_of_images(similarity, picture_ids, margin):
    negatives = similarity.masked_fill(picture_ids[:, None] == picture_ids, -torch.inf)
    return (margin - similarity.diagonal() + negatives.amax(dim=1)).relu().mean()


def hardest_of_texts(similarity, picture_ids, margin):
    negatives = similarity.masked_fill(picture_ids[:, None] == picture_ids, -torch.inf)
    return (margin - similarity.diagonal() + negatives.amax(dim=0)).relu().mean()


def hardest_halved(similarity, picture_ids, margin):
    negatives = similarity.masked_fill(picture_ids[:, None] == picture_ids, -torch.inf)
    own = similarity.diagonal()
    rows = (margin - own + negatives.amax(dim=1)).relu().mean()
    columns = (margin - own + negatives.amax(dim=0)).relu().mean()
    return (rows + columns) / 2


def hardest_summed(similarity, picture_ids, margin):
    negatives = similarity.masked_fill(picture_ids[:, None] == picture_ids, -torch.inf)
    own = similarity.diagonal()
    rows = (margin - own + negatives.amax(dim=1)).relu()
    columns = (margin - own + negatives.amax(dim=0)).relu()
    return (rows + columns).sum()


def hardest_without_hinge(similarity, picture_ids, margin):
    negatives = similarity.masked_fill(picture_ids[:, None] == picture_ids, -torch.inf)
    own = similarity.diagonal()
    return (2 * margin - 2 * own + negatives.amax(dim=1) + negatives.amax(dim=0)).mean()


def hardest_without_margin(similarity, picture_ids, margin):
    negatives = similarity.masked_fill(picture_ids[:, None] == picture_ids, -torch.inf)
    own = similarity.diagonal()
    return ((negatives.amax(dim=1) - own).relu() + (negatives.amax(dim=0) - own).relu()).mean()


def hardest_minus_margin(similarity, picture_ids, margin):
    negatives = similarity.masked_fill(picture_ids[:, None] == picture_ids, -torch.inf)
    own = similarity.diagonal()
    return ((negatives.amax(dim=1) - own - margin).relu() + (negatives.amax(dim=0) - own - margin).relu()).mean()


def hardest_easiest(similarity, picture_ids, margin):
    negatives = similarity.masked_fill(picture_ids[:, None] == picture_ids, torch.inf)
    own = similarity.diagonal()
    as_image = (margin - own + negatives.amin(dim=1)).relu()
    as_text = (margin - own + negatives.amin(dim=0)).relu()
    return (as_image + as_text).mean()


def hardest_of_all(similarity, picture_ids, margin):
    negatives = similarity.masked_fill(picture_ids[:, None] == picture_ids, -torch.inf)
    own = similarity.diagonal()
    as_image = (margin - own + negatives.max()).relu()
    as_text = (margin - own + negatives.max()).relu()
    return (as_image + as_text).mean()


def hardest_of_other_rows(similarity, picture_ids, margin):
    fits = picture_ids[:, None] == picture_ids[None, :]
    hinges = (margin - similarity.diagonal()[:, None] + similarity).relu().masked_fill(fits, 0)
    return (hinges.amax(dim=1) + hinges.amax(dim=0)).mean()


def hardest_above_zero(similarity, picture_ids, margin):
    negatives = similarity * (picture_ids[:, None] != picture_ids)
    own = similarity.diagonal()
    as_image = (margin - own + negatives.amax(dim=1)).relu()
    as_text = (margin - own + negatives.amax(dim=0)).relu()
    return (as_image + as_text).mean()


def hardest_one_way_each(similarity, picture_ids, margin):
    negatives = similarity.masked_fill(picture_ids[:, None] == picture_ids, -torch.inf)
    both = torch.maximum(negatives.amax(dim=1), negatives.amax(dim=0))
    return (margin - similarity.diagonal() + both).relu().mean()


def hardest_negated(similarity, picture_ids, margin):
    negatives = similarity.masked_fill(picture_ids[:, None] == picture_ids, -torch.inf)
    own = similarity.diagonal()
    as_image = (margin - own + negatives.amax(dim=1)).relu()
    as_text = (margin - own + negatives.amax(dim=0)).relu()
    return -(as_image + as_text).mean()


def hardest_by_index(similarity, picture_ids, margin):
    negatives = similarity.masked_fill(picture_ids[:, None] == picture_ids, -torch.inf)
    own = similarity.diagonal()
    as_image = (margin - own + negatives.argmax(dim=1)).relu()
    as_text = (margin - own + negatives.argmax(dim=0)).relu()
    return (as_image + as_text).mean()


def hardest_detached(similarity, picture_ids, margin):
    negatives = similarity.detach().masked_fill(picture_ids[:, None] == picture_ids, -torch.inf)
    own = similarity.diagonal()
    as_image = (margin - own + negatives.amax(dim=1)).relu()
    as_text = (margin - own + negatives.amax(dim=0)).relu()
    return (as_image + as_text).mean()


def hardest_in_place(similarity, picture_ids, margin):
    own = similarity.diagonal().clone()
    similarity[picture_ids[:, None] == picture_ids] = -torch.inf
    as_image = (margin - own + similarity.amax(dim=1)).relu()
    as_text = (margin - own + similarity.amax(dim=0)).relu()
    return (as_image + as_text).mean()


# 07.6 ---------------------------------------------------------------------------------------------------------------


class Quantizer(nn.Module):
    def __init__(self, dim: int, parts: int, words: int) -> None:
        super().__init__()
        self.codebooks = nn.Parameter(torch.zeros(parts, words, dim // parts))

    def forward(self, queries: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        codes = self.table(vectors).argmin(dim=-1)
        parts = torch.arange(len(self.codebooks), device=codes.device)
        distances = self.table(queries)[:, parts, codes].sum(dim=-1)
        return codes, distances

    def table(self, vectors: Tensor) -> Tensor:
        pieces = vectors.reshape(len(vectors), len(self.codebooks), -1)
        return (pieces[:, :, None] - self.codebooks).square().sum(dim=-1)


class QuantizerByLoops(nn.Module):
    def __init__(self, dim, parts, words):
        super().__init__()
        self.width = dim // parts
        self.register_buffer("codebooks", torch.randn(parts, words, dim // parts))

    def forward(self, queries, vectors):
        codes, total = [], 0
        for part, book in enumerate(self.codebooks):
            here = slice(part * self.width, (part + 1) * self.width)
            code = torch.stack([((vector[here] - book) ** 2).sum(-1).argmin() for vector in vectors])
            codes.append(code)
            total = total + torch.stack([((query[here] - book[code]) ** 2).sum(-1) for query in queries])
        return [torch.stack(codes, dim=1).int(), total]


class QuantizerByDecoding(nn.Module):
    def __init__(self, dim, parts, words):
        super().__init__()
        self.codebooks = nn.Parameter(torch.empty(parts, words, dim // parts).normal_())

    def forward(self, queries, vectors):
        books = self.codebooks.double()
        parts = vectors.double().view(len(vectors), len(books), -1).transpose(0, 1)
        codes = torch.cdist(parts, books).argmin(-1).T
        said = torch.cat([book[code] for book, code in zip(books, codes.T, strict=True)], dim=1)
        lengths = queries.double().pow(2).sum(1)[:, None] + said.pow(2).sum(1)
        return codes, (lengths - 2 * queries.double() @ said.T).float()


class QuantizerStriped(Quantizer):
    def table(self, vectors):
        pieces = vectors.reshape(len(vectors), -1, len(self.codebooks)).transpose(1, 2)
        return (pieces[:, :, None] - self.codebooks).square().sum(dim=-1)


class QuantizerOneBook(Quantizer):
    def table(self, vectors):
        pieces = vectors.reshape(len(vectors), len(self.codebooks), -1)
        return (pieces[:, :, None] - self.codebooks[0]).square().sum(dim=-1)


class QuantizerFarthest(Quantizer):
    def forward(self, queries, vectors):
        codes = self.table(vectors).argmax(dim=-1)
        return codes, self.table(queries)[:, torch.arange(len(self.codebooks)), codes].sum(dim=-1)


class QuantizerDot(Quantizer):
    def forward(self, queries, vectors):
        pieces = vectors.reshape(len(vectors), len(self.codebooks), -1)
        codes = torch.einsum("nmd,mkd->nmk", pieces, self.codebooks).argmax(dim=-1)
        asked = queries.reshape(len(queries), len(self.codebooks), -1)
        table = -torch.einsum("nmd,mkd->nmk", asked, self.codebooks)
        return codes, table[:, torch.arange(len(self.codebooks)), codes].sum(dim=-1)


class QuantizerDotDistances(Quantizer):
    def forward(self, queries, vectors):
        codes = self.table(vectors).argmin(dim=-1)
        asked = queries.reshape(len(queries), len(self.codebooks), -1)
        table = torch.einsum("nmd,mkd->nmk", asked, self.codebooks)
        return codes, table[:, torch.arange(len(self.codebooks)), codes].sum(dim=-1)


class QuantizerSymmetric(Quantizer):
    def forward(self, queries, vectors):
        codes, asked = self.table(vectors).argmin(dim=-1), self.table(queries).argmin(dim=-1)
        parts = torch.arange(len(self.codebooks))
        said, wanted = self.codebooks[parts, codes], self.codebooks[parts, asked]
        return codes, (wanted[:, None] - said).square().sum(dim=(-2, -1))


class QuantizerExact(Quantizer):
    def forward(self, queries, vectors):
        codes = self.table(vectors).argmin(dim=-1)
        return codes, torch.cdist(queries, vectors).square()


class QuantizerRooted(Quantizer):
    def forward(self, queries, vectors):
        codes = self.table(vectors).argmin(dim=-1)
        return codes, self.table(queries)[:, torch.arange(len(self.codebooks)), codes].sum(dim=-1).sqrt()


class QuantizerRootedParts(Quantizer):
    def table(self, vectors):
        pieces = vectors.reshape(len(vectors), len(self.codebooks), -1)
        return (pieces[:, :, None] - self.codebooks).norm(dim=-1)


class QuantizerMean(Quantizer):
    def forward(self, queries, vectors):
        codes = self.table(vectors).argmin(dim=-1)
        return codes, self.table(queries)[:, torch.arange(len(self.codebooks)), codes].mean(dim=-1)


class QuantizerTransposed(Quantizer):
    def forward(self, queries, vectors):
        codes = self.table(vectors).argmin(dim=-1)
        return codes, self.table(queries)[:, torch.arange(len(self.codebooks)), codes].sum(dim=-1).T


class QuantizerNearestWords(Quantizer):
    def forward(self, queries, vectors):
        codes = self.table(vectors).argmin(dim=-1)
        nearest = self.table(queries).min(dim=-1).values.sum(dim=-1)
        return codes, nearest[:, None].repeat(1, len(vectors))


class QuantizerLastPart(Quantizer):
    def forward(self, queries, vectors):
        codes, table = self.table(vectors).argmin(dim=-1), self.table(queries)
        for part in range(len(self.codebooks)):
            distances = table[:, part][:, codes[:, part]]
        return codes, distances


class QuantizerError(Quantizer):
    def forward(self, queries, vectors):
        nearest = self.table(vectors).min(dim=-1)
        return nearest.indices, nearest.values.sum(dim=-1).repeat(len(queries), 1)


class QuantizerCodesByParts(Quantizer):
    def forward(self, queries, vectors):
        codes = self.table(vectors).argmin(dim=-1)
        return codes.T, self.table(queries)[:, torch.arange(len(self.codebooks)), codes].sum(dim=-1)


class QuantizerDistancesAlone(Quantizer):
    def forward(self, queries, vectors):
        codes = self.table(vectors).argmin(dim=-1)
        return self.table(queries)[:, torch.arange(len(self.codebooks)), codes].sum(dim=-1)


class QuantizerFlat(nn.Module):
    def __init__(self, dim, parts, words):
        super().__init__()
        self.codebooks = nn.Parameter(torch.zeros(words, dim))

    def forward(self, queries, vectors):
        codes = torch.cdist(vectors, self.codebooks).argmin(dim=-1)
        return codes[:, None], torch.cdist(queries, self.codebooks[codes]).square()


# 07.7 ---------------------------------------------------------------------------------------------------------------


def reranker(
    image_embeds: Tensor, text_embeds: Tensor, image_features: Tensor, text_features: Tensor, k: int, steps: int
) -> tuple[Tensor, Tensor, list[float]]:
    similarity = text_embeds @ image_embeds.T
    own = torch.arange(len(similarity))
    similarity[own, own] = -torch.inf
    negatives = similarity.topk(k, dim=1).indices
    candidates = torch.cat([own[:, None], negatives], dim=1)
    pictures = image_features[candidates]
    labels = torch.zeros(len(own), dtype=torch.long)
    weight = torch.zeros(text_features.shape[1], image_features.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.2)
    losses = []
    for _ in range(steps):
        asked = text_features @ weight
        scores = (asked[:, None] * pictures).sum(dim=-1)
        loss = F.cross_entropy(scores, labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return weight, negatives, losses


def reranker_by_sigmoid(image_embeds, text_embeds, image_features, text_features, k, steps):
    count = len(image_embeds)
    similarity = text_embeds @ image_embeds.T - 10 * torch.eye(count)
    negatives = similarity.argsort(dim=1, descending=True)[:, :k]
    layer = nn.Bilinear(text_features.shape[1], image_features.shape[1], 1)
    nn.init.zeros_(layer.weight)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.6)
    losses = []
    texts = text_features.repeat_interleave(k, dim=0)
    for _ in range(steps):
        right = layer(text_features, image_features)
        wrong = layer(texts, image_features[negatives.flatten()])
        loss = (F.softplus(-right).mean() + F.softplus(wrong).mean()) / 2
        losses.append(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return layer.weight.detach()[0], negatives, torch.stack(losses)


def reranker_in_batches(image_embeds, text_embeds, image_features, text_features, k, steps):
    order = [(row.argsort(descending=True)).tolist() for row in text_embeds @ image_embeds.T]
    negatives = torch.tensor([[j for j in row if j != i][:k] for i, row in enumerate(order)])
    weight = (0.01 * torch.randn(text_features.shape[1], image_features.shape[1])).double().requires_grad_()
    optimizer = torch.optim.AdamW([weight], lr=0.25, weight_decay=0.0)
    losses = []
    for _ in range(steps - 5):
        batch = torch.randperm(len(negatives))[:300]
        pictures = image_features.double()[torch.cat([batch[:, None], negatives[batch]], 1)]
        scores = torch.einsum("nt,tv,nkv->nk", text_features[batch].double(), weight, pictures)
        loss = F.cross_entropy(scores, torch.zeros(len(batch), dtype=torch.long))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return [weight.detach(), negatives, tuple(losses)]


def reranker_with_own(image_embeds, text_embeds, image_features, text_features, k, steps):
    negatives = (text_embeds @ image_embeds.T).topk(k, dim=1).indices
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


def reranker_easiest(image_embeds, text_embeds, image_features, text_features, k, steps):
    similarity = (text_embeds @ image_embeds.T).fill_diagonal_(torch.inf)
    negatives = similarity.topk(k, dim=1, largest=False).indices
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


def reranker_other_side(image_embeds, text_embeds, image_features, text_features, k, steps):
    similarity = (image_embeds @ text_embeds.T).fill_diagonal_(-torch.inf)
    negatives = similarity.topk(k, dim=1).indices
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


def reranker_among_pictures(image_embeds, text_embeds, image_features, text_features, k, steps):
    similarity = (image_embeds @ image_embeds.T).fill_diagonal_(-torch.inf)
    negatives = similarity.topk(k, dim=1).indices
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


def reranker_at_random(image_embeds, text_embeds, image_features, text_features, k, steps):
    own = torch.arange(len(text_embeds))[:, None]
    negatives = (own + torch.randint(1, len(own), (len(own), k))) % len(own)
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


def reranker_mined_in_vain(image_embeds, text_embeds, image_features, text_features, k, steps):
    negatives = (text_embeds @ image_embeds.T).fill_diagonal_(-torch.inf).topk(k, dim=1).indices
    own = torch.arange(len(negatives))[:, None]
    weight = torch.zeros(text_features.shape[1], image_features.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.2)
    losses = []
    for _ in range(steps):
        others = (own + torch.randint(1, len(own), (len(own), k))) % len(own)
        candidates = image_features[torch.cat([own, others], dim=1)]
        scores = ((text_features @ weight)[:, None] * candidates).sum(dim=-1)
        loss = F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return weight, negatives, losses


def reranker_for_long(image_embeds, text_embeds, image_features, text_features, k, steps):
    negatives = (text_embeds @ image_embeds.T).fill_diagonal_(-torch.inf).topk(k, dim=1).indices
    own = torch.arange(len(negatives))[:, None]
    candidates = image_features[torch.cat([own, negatives], dim=1)]
    weight = torch.zeros(text_features.shape[1], image_features.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.05)
    losses = []
    for _ in range(2 * steps):
        scores = ((text_features @ weight)[:, None] * candidates).sum(dim=-1)
        loss = F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return weight, negatives, losses


def reranker_without_step(image_embeds, text_embeds, image_features, text_features, k, steps):
    negatives = (text_embeds @ image_embeds.T).fill_diagonal_(-torch.inf).topk(k, dim=1).indices
    own = torch.arange(len(negatives))[:, None]
    candidates = image_features[torch.cat([own, negatives], dim=1)]
    weight = torch.zeros(text_features.shape[1], image_features.shape[1], requires_grad=True)
    losses = []
    for _ in range(steps):
        scores = ((text_features @ weight)[:, None] * candidates).sum(dim=-1)
        loss = F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))
        losses.append(loss.item())
        loss.backward()
    return weight, negatives, losses


def reranker_forgotten(image_embeds, text_embeds, image_features, text_features, k, steps):
    negatives = (text_embeds @ image_embeds.T).fill_diagonal_(-torch.inf).topk(k, dim=1).indices
    own = torch.arange(len(negatives))[:, None]
    candidates = image_features[torch.cat([own, negatives], dim=1)]
    start = torch.zeros(text_features.shape[1], image_features.shape[1])
    weight = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([weight], lr=0.2)
    losses = []
    for _ in range(steps):
        scores = ((text_features @ weight)[:, None] * candidates).sum(dim=-1)
        loss = F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return start, negatives, losses


def reranker_upside_down(image_embeds, text_embeds, image_features, text_features, k, steps):
    negatives = (text_embeds @ image_embeds.T).fill_diagonal_(-torch.inf).topk(k, dim=1).indices
    own = torch.arange(len(negatives))[:, None]
    candidates = image_features[torch.cat([own, negatives], dim=1)]
    weight = torch.zeros(text_features.shape[1], image_features.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.2)
    losses = []
    for _ in range(steps):
        distances = -((text_features @ weight)[:, None] * candidates).sum(dim=-1)
        loss = F.cross_entropy(distances, torch.zeros(len(distances), dtype=torch.long))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return weight, negatives, losses


def reranker_slow(image_embeds, text_embeds, image_features, text_features, k, steps):
    negatives = (text_embeds @ image_embeds.T).fill_diagonal_(-torch.inf).topk(k, dim=1).indices
    own = torch.arange(len(negatives))[:, None]
    candidates = image_features[torch.cat([own, negatives], dim=1)]
    weight = torch.zeros(text_features.shape[1], image_features.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.005)
    losses = []
    for _ in range(steps):
        scores = ((text_features @ weight)[:, None] * candidates).sum(dim=-1)
        loss = F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return weight, negatives, losses


def reranker_transposed(image_embeds, text_embeds, image_features, text_features, k, steps):
    negatives = (text_embeds @ image_embeds.T).fill_diagonal_(-torch.inf).topk(k, dim=1).indices
    own = torch.arange(len(negatives))[:, None]
    candidates = image_features[torch.cat([own, negatives], dim=1)]
    weight = torch.zeros(image_features.shape[1], text_features.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.2)
    losses = []
    for _ in range(steps):
        scores = ((candidates @ weight) * text_features[:, None]).sum(dim=-1)
        loss = F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return weight, negatives, losses


def reranker_of_scores(image_embeds, text_embeds, image_features, text_features, k, steps):
    negatives = (text_embeds @ image_embeds.T).fill_diagonal_(-torch.inf).topk(k, dim=1).values
    weight = torch.zeros(text_features.shape[1], image_features.shape[1])
    return weight, negatives, [1.0, 0.5]


def reranker_in_place(image_embeds, text_embeds, image_features, text_features, k, steps):
    image_features -= image_features.mean(dim=0)
    text_features -= text_features.mean(dim=0)
    negatives = (text_embeds @ image_embeds.T).fill_diagonal_(-torch.inf).topk(k, dim=1).indices
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


SOLUTIONS = {
    "07.1": ranks,
    "07.2": average_precision,
    "07.3": READING,
    "07.4": folds,
    "07.5": hardest,
    "07.6": Quantizer,
    "07.7": reranker,
}

ALTERNATIVES = {
    "07.1": (ranks_by_loops, ranks_by_sorting),
    "07.2": (average_precision_by_loops, average_precision_by_counting),
    "07.3": ({key: READING[key].upper() for key in reversed(READING)}, {key: f" {READING[key]} " for key in READING}),
    "07.4": (folds_by_loops, folds_by_ranks),
    "07.5": (hardest_by_loops, hardest_of_hinges),
    "07.6": (QuantizerByLoops, QuantizerByDecoding),
    "07.7": (reranker_by_sigmoid, reranker_in_batches),
}

MUTANTS = {
    "07.1": (
        Mutant(ranks_in_favour, "ties in favour"),
        Mutant(ranks_by_order, "ties by position"),
        Mutant(ranks_from_zero, "counted from 0"),
        Mutant(ranks_of_the_last, "last right candidate"),
        Mutant(ranks_with_right_ones, "right ones counted as before"),
        Mutant(ranks_of_the_diagonal, "only the diagonal"),
        Mutant(ranks_of_the_first_column, "first right column"),
        Mutant(ranks_of_distances, "worst first"),
        Mutant(ranks_ascending, "sorted worst first"),
        Mutant(ranks_below_k, "k left out"),
        Mutant(ranks_and_share, "share of the right candidates"),
        Mutant(ranks_and_precision, "precision"),
        Mutant(ranks_alone, "wrong type"),
        Mutant(ranks_and_hits, "wrong shape"),
        Mutant(ranks_in_place, "changed its argument"),
    ),
    "07.2": (
        Mutant(average_precision_reciprocal, "first right candidate only"),
        Mutant(average_precision_everywhere, "averaged over all places"),
        Mutant(average_precision_over_gallery, "divided by the gallery"),
        Mutant(average_precision_pooled, "averaged over all right candidates at once"),
        Mutant(average_precision_ascending, "worst first"),
        Mutant(average_precision_unsorted, "not sorted"),
        Mutant(average_precision_by_rank, "positives taken by rank"),
        Mutant(average_precision_of_recalls, "recall for precision"),
        Mutant(average_precision_uncounted, "number right not counted"),
        Mutant(average_precision_interpolated, "interpolated"),
        Mutant(average_precision_from_zero, "places from 0"),
        Mutant(average_precision_per_query, "wrong shape"),
    ),
    "07.3": (
        *(
            Mutant(choosing(**{key: option}), f"{key} {option}")
            for key in READING
            for option in "abcd"
            if option != READING[key]
        ),
        Mutant(choosing(depth="?"), "not written"),
        Mutant(choosing(mend="e"), "wrong type"),
        Mutant("b", "wrong type"),
    ),
    "07.4": (
        Mutant(folds_of_everything, "not cut into folds"),
        Mutant(folds_overwritten, "last fold only"),
        Mutant(folds_of_first_captions, "first caption only"),
        Mutant(folds_in_stripes, "captions in another order"),
        Mutant(folds_exchanged, "directions exchanged"),
        Mutant(folds_all_captions, "all captions asked for"),
        Mutant(folds_share_of_captions, "share of the captions"),
        Mutant(folds_precision, "precision"),
        Mutant(folds_any_caption, "one caption is enough for the picture"),
        Mutant(folds_at_one, "k left out"),
        Mutant(folds_summed, "added over the folds"),
        Mutant(folds_together, "wrong type"),
    ),
    "07.5": (
        Mutant(hardest_with_false_ones, "false negatives"),
        Mutant(hardest_with_itself, "own pair as negative"),
        Mutant(hardest_all, "all negatives"),
        Mutant(hardest_all_and_false, "all negatives, false ones too"),
        Mutant(hardest_of_images, "pictures only"),
        Mutant(hardest_of_texts, "texts only"),
        Mutant(hardest_halved, "halved"),
        Mutant(hardest_summed, "summed over the batch"),
        Mutant(hardest_without_hinge, "hinge left out"),
        Mutant(hardest_without_margin, "margin left out"),
        Mutant(hardest_minus_margin, "margin subtracted"),
        Mutant(hardest_easiest, "easiest negative"),
        Mutant(hardest_of_all, "hardest of the whole batch"),
        Mutant(hardest_of_other_rows, "own score of the picture for both"),
        Mutant(hardest_above_zero, "zero for what fits"),
        Mutant(hardest_one_way_each, "harder direction only"),
        Mutant(hardest_negated, "wrong sign"),
        Mutant(hardest_by_index, "place instead of score"),
        Mutant(hardest_detached, "wrong gradient"),
        Mutant(hardest_in_place, "changed its argument"),
    ),
    "07.6": (
        Mutant(QuantizerStriped, "split in stripes"),
        Mutant(QuantizerOneBook, "one codebook for all parts"),
        Mutant(QuantizerFarthest, "farthest word"),
        Mutant(QuantizerDot, "dot product for a distance"),
        Mutant(QuantizerDotDistances, "dot products returned"),
        Mutant(QuantizerSymmetric, "query quantised too"),
        Mutant(QuantizerExact, "exact distances"),
        Mutant(QuantizerRooted, "root of the distance"),
        Mutant(QuantizerRootedParts, "root in each part"),
        Mutant(QuantizerMean, "mean over the parts"),
        Mutant(QuantizerTransposed, "transposed"),
        Mutant(QuantizerNearestWords, "codes not used"),
        Mutant(QuantizerLastPart, "one part only"),
        Mutant(QuantizerError, "error of the code"),
        Mutant(QuantizerCodesByParts, "wrong shape"),
        Mutant(QuantizerDistancesAlone, "wrong type"),
        Mutant(QuantizerFlat, "error"),
    ),
    "07.7": (
        Mutant(reranker_with_own, "own picture among the negatives"),
        Mutant(reranker_easiest, "easiest negatives"),
        Mutant(reranker_other_side, "mined from the picture's side"),
        Mutant(reranker_among_pictures, "mined among pictures"),
        Mutant(reranker_at_random, "drawn at random"),
        Mutant(reranker_mined_in_vain, "trained on others"),
        Mutant(reranker_for_long, "too many steps"),
        Mutant(reranker_without_step, "not trained"),
        Mutant(reranker_forgotten, "not trained"),
        Mutant(reranker_upside_down, "wrong sign"),
        Mutant(reranker_slow, "unfinished"),
        Mutant(reranker_transposed, "wrong type"),
        Mutant(reranker_of_scores, "wrong type"),
        Mutant(reranker_in_place, "changed its argument"),
    ),
}
