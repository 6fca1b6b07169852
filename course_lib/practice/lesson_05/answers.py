"""Answers to set 05: model solutions, right answers written differently, wrong ones that learners write.

A class is not given this file. Each answer stands alone: it uses `torch`, `nn`, `F`, `math` and what it defines itself,
so that its source can be put into a notebook as it is.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.practice.exercise import Mutant
from course_lib.practice.lesson_05.exercises import READING

# 05.1 ---------------------------------------------------------------------------------------------------------------


def triplet(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    near, far = ((anchor - other).square().sum(dim=-1).sqrt() for other in (positive, negative))
    return (near - far + margin).relu().mean()


def triplet_by_loops(anchor, positive, negative, margin):
    total = 0.0 * anchor.sum()
    for a, p, n in zip(anchor, positive, negative, strict=True):
        lead = ((a - p) ** 2).sum().sqrt() - ((a - n) ** 2).sum().sqrt() + margin
        if lead > 0:
            total = total + lead
    return total / len(anchor)


def triplet_by_pairwise_distance(anchor, positive, negative, margin):
    return torch.clamp(
        F.pairwise_distance(anchor, positive) - F.pairwise_distance(anchor, negative) + margin, min=0
    ).mean()


def triplet_of_torch(anchor, positive, negative, margin):
    return nn.TripletMarginLoss(margin=margin, p=2)(anchor, positive, negative)


def triplet_uncut(anchor, positive, negative, margin):
    return ((anchor - positive).norm(dim=-1) - (anchor - negative).norm(dim=-1) + margin).mean()


def triplet_cut_late(anchor, positive, negative, margin):
    lead = (anchor - positive).norm(dim=-1) - (anchor - negative).norm(dim=-1) + margin
    return torch.clamp(lead.mean(), min=0)


def triplet_exchanged(anchor, positive, negative, margin):
    near = (anchor - positive).norm(dim=-1)
    far = (anchor - negative).norm(dim=-1)
    return F.relu(far - near + margin).mean()


def triplet_minus_margin(anchor, positive, negative, margin):
    return F.relu((anchor - positive).norm(dim=-1) - (anchor - negative).norm(dim=-1) - margin).mean()


def triplet_without_margin(anchor, positive, negative, margin):
    return F.relu((anchor - positive).norm(dim=-1) - (anchor - negative).norm(dim=-1)).mean()


def triplet_squared(anchor, positive, negative, margin):
    near = (anchor - positive).pow(2).sum(-1)
    far = (anchor - negative).pow(2).sum(-1)
    return F.relu(near - far + margin).mean()


def triplet_mean_square(anchor, positive, negative, margin):
    near = ((anchor - positive) ** 2).mean(dim=1)
    far = ((anchor - negative) ** 2).mean(dim=1)
    return F.relu(near - far + margin).mean()


def triplet_absolute(anchor, positive, negative, margin):
    near = (anchor - positive).abs().sum(dim=1)
    far = (anchor - negative).abs().sum(dim=1)
    return F.relu(near - far + margin).mean()


def triplet_cosines(anchor, positive, negative, margin):
    near = 1 - F.cosine_similarity(anchor, positive)
    far = 1 - F.cosine_similarity(anchor, negative)
    return F.relu(near - far + margin).mean()


def triplet_one_norm(anchor, positive, negative, margin):
    near = torch.norm(anchor - positive)
    far = torch.norm(anchor - negative)
    return F.relu(near - far + margin).mean()


def triplet_columns(anchor, positive, negative, margin):
    near = torch.norm(anchor - positive, dim=0)
    far = torch.norm(anchor - negative, dim=0)
    return F.relu(near - far + margin).mean()


def triplet_from_positive(anchor, positive, negative, margin):
    near = (anchor - positive).norm(dim=-1)
    far = (positive - negative).norm(dim=-1)
    return F.relu(near - far + margin).mean()


def triplet_summed(anchor, positive, negative, margin):
    near = (anchor - positive).norm(dim=-1)
    far = (anchor - negative).norm(dim=-1)
    return F.relu(near - far + margin).sum()


def triplet_active_only(anchor, positive, negative, margin):
    lead = (anchor - positive).norm(dim=-1) - (anchor - negative).norm(dim=-1) + margin
    return lead[lead > 0].mean()


def triplet_each(anchor, positive, negative, margin):
    near = (anchor - positive).norm(dim=-1)
    far = (anchor - negative).norm(dim=-1)
    return F.relu(near - far + margin)


def triplet_number(anchor, positive, negative, margin):
    near = (anchor - positive).norm(dim=-1)
    far = (anchor - negative).norm(dim=-1)
    return F.relu(near - far + margin).mean().item()


# 05.2 ---------------------------------------------------------------------------------------------------------------


def choosing(**other: str) -> dict[str, str]:
    """The right choices with some exchanged for others."""
    return READING | other


# 05.3 ---------------------------------------------------------------------------------------------------------------


class NCE(nn.Module):
    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))

    def forward(self, query: Tensor, positive: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = -logits.log_softmax(dim=-1)[:, 0].mean()
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound


class NCEByLoops(nn.Module):
    def __init__(self, temperature):
        super().__init__()
        self.logit_scale = nn.Parameter(-torch.tensor(temperature).log())

    def forward(self, query, positive, negatives):
        scale = torch.exp(self.logit_scale)
        bits = []
        for q, p, others in zip(query, positive, negatives, strict=True):
            logits = torch.stack([scale * F.cosine_similarity(q, one, dim=0) for one in (p, *others)])
            bits.append((torch.logsumexp(logits, 0) - logits[0]) / math.log(2))
        bits = torch.stack(bits).mean()
        return [bits * math.log(2), math.log(1 + negatives.shape[1]) / math.log(2) - bits]


class NCEByCrossEntropy(nn.Module):
    def __init__(self, temperature):
        super().__init__()
        self.logit_scale = nn.Parameter(torch.ones(()) * math.log(1 / temperature))

    def forward(self, query, positive, negatives):
        candidates = torch.cat([negatives, positive[:, None]], dim=1)
        candidates = candidates / candidates.norm(dim=2, keepdim=True)
        query = query / query.norm(dim=1, keepdim=True)
        logits = torch.bmm(candidates, query[:, :, None])[:, :, 0] * self.logit_scale.exp()
        count = logits.shape[1]
        loss = F.cross_entropy(logits, torch.full((len(logits),), count - 1, device=logits.device))
        return loss, (math.log(count) - loss) / math.log(2)


class NCEWithoutPositive(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = (logits[:, 1:].logsumexp(dim=-1) - logits[:, 0]).mean()
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound


class NCEDotProducts(NCE):
    def forward(self, query, positive, negatives):
        own = (query * positive).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, negatives)
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound


class NCEDefaultAxis(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query)
        own = (query * F.normalize(positive)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives))
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound


class NCEBatchAxis(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=0)
        own = (query * F.normalize(positive, dim=0)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=0))
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound


class NCELongNegatives(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, negatives)
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound


class NCELogScale(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = self.logit_scale * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound


class NCEOverScale(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = torch.cat([own, others], dim=-1) / self.logit_scale.exp()
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound


class NCEWithoutScale(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound


class NCELabelZero(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = self.logit_scale.exp() * torch.cat([others, own], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound


class NCEArange(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.arange(len(logits)))
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound


class NCEEveryones(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = query @ F.normalize(negatives, dim=-1).flatten(0, 1).T
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound


class NCEFirst(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = query @ F.normalize(negatives, dim=-1)[0].T
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound


class NCEFromPositive(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", F.normalize(positive, dim=-1), F.normalize(negatives, dim=-1))
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound


class NCEMeanOfNegatives(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = -(logits[:, 0].exp() / (logits[:, 0].exp() + logits[:, 1:].exp().mean(dim=1))).log().mean()
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound


class NCESoftmaxTwice(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits.softmax(dim=-1), torch.zeros(len(logits), dtype=torch.long))
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound


class NCESummed(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long), reduction="sum")
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound


class NCENoMinus(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = logits.log_softmax(dim=-1)[:, 0].mean()
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound


class NCELogK(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        bound = math.log2(others.shape[1]) - loss / math.log(2)
        return loss, bound


class NCELogBatch(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        bound = math.log2(len(query)) - loss / math.log(2)
        return loss, bound


class NCEInNats(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        bound = math.log(logits.shape[1]) - loss
        return loss, bound


class NCEMixed(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        bound = math.log2(logits.shape[1]) - loss
        return loss, bound


class NCEMinusBound(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        bound = loss / math.log(2) - math.log2(logits.shape[1])
        return loss, bound


class NCEAddedLoss(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        bound = math.log2(logits.shape[1]) + loss / math.log(2)
        return loss, bound


class NCEExchanged(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return bound, loss


class NCELossOnly(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        return loss


class NCEFrozenScale(NCE):
    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = math.exp(self.logit_scale.item()) * torch.cat([own, others], dim=-1)
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound


class NCEHotStart(NCE):
    def __init__(self, temperature):
        super().__init__(temperature)
        self.logit_scale = nn.Parameter(torch.tensor(1 / temperature))


class NCENegativeStart(NCE):
    def __init__(self, temperature):
        super().__init__(temperature)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(temperature)))


class NCEBuffer(nn.Module):
    def __init__(self, temperature):
        super().__init__()
        self.temperature = temperature

    def forward(self, query, positive, negatives):
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = torch.cat([own, others], dim=-1) / self.temperature
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        return loss, math.log2(logits.shape[1]) - loss / math.log(2)


# 05.4 ---------------------------------------------------------------------------------------------------------------


def hardest(similarity: Tensor, caption_ids: Tensor, margin: float) -> Tensor:
    same = caption_ids[:, None] == caption_ids[None, :]
    others = similarity.masked_fill(same, -math.inf)
    own = similarity.diagonal()
    of_pictures = (margin - own + others.amax(dim=1)).relu()
    of_texts = (margin - own + others.amax(dim=0)).relu()
    return (of_pictures + of_texts).mean()


def hardest_by_loops(similarity, caption_ids, margin):
    total = 0.0 * similarity.sum()
    count = len(similarity)
    for i in range(count):
        negatives = [j for j in range(count) if caption_ids[j] != caption_ids[i]]
        for candidates in ([similarity[i, j] for j in negatives], [similarity[j, i] for j in negatives]):
            if candidates:
                total = total + torch.clamp(margin - similarity[i, i] + max(candidates), min=0)
    return total / count


def hardest_by_hinges(similarity, caption_ids, margin):
    negative = (caption_ids.unsqueeze(0) != caption_ids.unsqueeze(1)).to(similarity.dtype)
    own = torch.diag(similarity)
    by_picture = F.relu(similarity - own.view(-1, 1) + margin) * negative
    by_text = F.relu(similarity - own.view(1, -1) + margin) * negative
    return by_picture.max(dim=1).values.mean() + by_text.max(dim=0).values.mean()


def hardest_diagonal_alone(similarity, caption_ids, margin):
    same = torch.eye(len(similarity), dtype=torch.bool)
    others = similarity.masked_fill(same, -math.inf)
    own = similarity.diagonal()
    of_pictures = (margin - own + others.amax(dim=1)).relu()
    of_texts = (margin - own + others.amax(dim=0)).relu()
    return (of_pictures + of_texts).mean()


def hardest_with_the_own(similarity, caption_ids, margin):
    others = similarity
    own = similarity.diagonal()
    of_pictures = (margin - own + others.amax(dim=1)).relu()
    of_texts = (margin - own + others.amax(dim=0)).relu()
    return (of_pictures + of_texts).mean()


def hardest_diagonal_forgotten(similarity, caption_ids, margin):
    same = (caption_ids[:, None] == caption_ids) & ~torch.eye(len(similarity), dtype=torch.bool)
    others = similarity.masked_fill(same, -math.inf)
    own = similarity.diagonal()
    of_pictures = (margin - own + others.amax(dim=1)).relu()
    of_texts = (margin - own + others.amax(dim=0)).relu()
    return (of_pictures + of_texts).mean()


def hardest_filled_with_0(similarity, caption_ids, margin):
    same = caption_ids[:, None] == caption_ids[None, :]
    others = similarity.masked_fill(same, 0.0)
    own = similarity.diagonal()
    of_pictures = (margin - own + others.amax(dim=1)).relu()
    of_texts = (margin - own + others.amax(dim=0)).relu()
    return (of_pictures + of_texts).mean()


def hardest_times_mask(similarity, caption_ids, margin):
    same = caption_ids[:, None] == caption_ids[None, :]
    others = similarity * ~same
    own = similarity.diagonal()
    of_pictures = (margin - own + others.amax(dim=1)).relu()
    of_texts = (margin - own + others.amax(dim=0)).relu()
    return (of_pictures + of_texts).mean()


def hardest_all(similarity, caption_ids, margin):
    same = caption_ids[:, None] == caption_ids[None, :]
    others = similarity.masked_fill(same, -math.inf)
    own = similarity.diagonal()
    of_pictures = (margin - own[:, None] + others).relu().sum(dim=1)
    of_texts = (margin - own[None, :] + others).relu().sum(dim=0)
    return (of_pictures + of_texts).mean()


def hardest_of_pictures(similarity, caption_ids, margin):
    same = caption_ids[:, None] == caption_ids[None, :]
    others = similarity.masked_fill(same, -math.inf)
    own = similarity.diagonal()
    of_pictures = (margin - own + others.amax(dim=1)).relu()
    return of_pictures.mean()


def hardest_of_texts(similarity, caption_ids, margin):
    same = caption_ids[:, None] == caption_ids[None, :]
    others = similarity.masked_fill(same, -math.inf)
    own = similarity.diagonal()
    of_texts = (margin - own + others.amax(dim=0)).relu()
    return of_texts.mean()


def hardest_rows_twice(similarity, caption_ids, margin):
    same = caption_ids[:, None] == caption_ids[None, :]
    others = similarity.masked_fill(same, -math.inf)
    own = similarity.diagonal()
    of_pictures = (margin - own + others.amax(dim=1)).relu()
    of_texts = (margin - own + others.amax(dim=1)).relu()
    return (of_pictures + of_texts).mean()


def hardest_halved(similarity, caption_ids, margin):
    same = caption_ids[:, None] == caption_ids[None, :]
    others = similarity.masked_fill(same, -math.inf)
    own = similarity.diagonal()
    of_pictures = (margin - own + others.amax(dim=1)).relu()
    of_texts = (margin - own + others.amax(dim=0)).relu()
    return (of_pictures + of_texts).mean() / 2


def hardest_maximum(similarity, caption_ids, margin):
    same = caption_ids[:, None] == caption_ids[None, :]
    others = similarity.masked_fill(same, -math.inf)
    own = similarity.diagonal()
    of_pictures = (margin - own + others.amax(dim=1)).relu()
    of_texts = (margin - own + others.amax(dim=0)).relu()
    return torch.maximum(of_pictures, of_texts).mean()


def hardest_summed(similarity, caption_ids, margin):
    same = caption_ids[:, None] == caption_ids[None, :]
    others = similarity.masked_fill(same, -math.inf)
    own = similarity.diagonal()
    of_pictures = (margin - own + others.amax(dim=1)).relu()
    of_texts = (margin - own + others.amax(dim=0)).relu()
    return (of_pictures + of_texts).sum()


def hardest_uncut(similarity, caption_ids, margin):
    same = caption_ids[:, None] == caption_ids[None, :]
    others = similarity.masked_fill(same, -math.inf)
    own = similarity.diagonal()
    of_pictures = margin - own + others.amax(dim=1)
    of_texts = margin - own + others.amax(dim=0)
    return (of_pictures + of_texts).mean()


def hardest_cut_late(similarity, caption_ids, margin):
    same = caption_ids[:, None] == caption_ids[None, :]
    others = similarity.masked_fill(same, -math.inf)
    own = similarity.diagonal()
    of_pictures = margin - own + others.amax(dim=1)
    of_texts = margin - own + others.amax(dim=0)
    return (of_pictures + of_texts).relu().mean()


def hardest_minus_margin(similarity, caption_ids, margin):
    same = caption_ids[:, None] == caption_ids[None, :]
    others = similarity.masked_fill(same, -math.inf)
    own = similarity.diagonal()
    of_pictures = (-margin - own + others.amax(dim=1)).relu()
    of_texts = (-margin - own + others.amax(dim=0)).relu()
    return (of_pictures + of_texts).mean()


def hardest_without_margin(similarity, caption_ids, margin):
    same = caption_ids[:, None] == caption_ids[None, :]
    others = similarity.masked_fill(same, -math.inf)
    own = similarity.diagonal()
    of_pictures = (others.amax(dim=1) - own).relu()
    of_texts = (others.amax(dim=0) - own).relu()
    return (of_pictures + of_texts).mean()


def hardest_distances(similarity, caption_ids, margin):
    same = caption_ids[:, None] == caption_ids[None, :]
    others = similarity.masked_fill(same, -math.inf)
    own = similarity.diagonal()
    of_pictures = (margin + own - others.amax(dim=1)).relu()
    of_texts = (margin + own - others.amax(dim=0)).relu()
    return (of_pictures + of_texts).mean()


def hardest_easiest(similarity, caption_ids, margin):
    same = caption_ids[:, None] == caption_ids[None, :]
    others = similarity.masked_fill(same, math.inf)
    own = similarity.diagonal()
    of_pictures = (margin - own + others.amin(dim=1)).relu()
    of_texts = (margin - own + others.amin(dim=0)).relu()
    return (of_pictures + of_texts).mean()


def hardest_best_own(similarity, caption_ids, margin):
    same = caption_ids[:, None] == caption_ids[None, :]
    others = similarity.masked_fill(same, -math.inf)
    own = similarity.masked_fill(~same, -math.inf).amax(dim=1)
    of_pictures = (margin - own + others.amax(dim=1)).relu()
    of_texts = (margin - own + others.amax(dim=0)).relu()
    return (of_pictures + of_texts).mean()


def hardest_in_place(similarity, caption_ids, margin):
    same = caption_ids[:, None] == caption_ids[None, :]
    own = similarity.diagonal().clone()
    others = similarity.masked_fill_(same, -math.inf)
    of_pictures = (margin - own + others.amax(dim=1)).relu()
    of_texts = (margin - own + others.amax(dim=0)).relu()
    return (of_pictures + of_texts).mean()


def hardest_each(similarity, caption_ids, margin):
    same = caption_ids[:, None] == caption_ids[None, :]
    others = similarity.masked_fill(same, -math.inf)
    own = similarity.diagonal()
    of_pictures = (margin - own + others.amax(dim=1)).relu()
    of_texts = (margin - own + others.amax(dim=0)).relu()
    return of_pictures + of_texts


# 05.5 ---------------------------------------------------------------------------------------------------------------


def draw(similarity: Tensor, caption_ids: Tensor, draws: int) -> Tensor:
    same = caption_ids[:, None] == caption_ids[None, :]
    probabilities = similarity.masked_fill(same, -math.inf).softmax(dim=-1)
    return torch.multinomial(probabilities, draws, replacement=True)


def draw_by_gumbel(similarity, caption_ids, draws):
    noise = -torch.log(torch.empty(draws, *similarity.shape).exponential_())
    same = caption_ids.unsqueeze(0) == caption_ids.unsqueeze(1)
    return torch.where(same, -math.inf, similarity + noise).argmax(dim=-1).T


def draw_one_row_at_a_time(similarity, caption_ids, draws):
    rows = []
    for logits, caption in zip(similarity, caption_ids, strict=True):
        negatives = (caption_ids != caption).nonzero().flatten()
        chosen = torch.distributions.Categorical(logits=logits[negatives]).sample((draws,))
        rows.append(negatives[chosen])
    return torch.stack(rows)


def draw_by_inverse(similarity, caption_ids, draws):
    same = caption_ids[:, None] == caption_ids
    steps = similarity.double().masked_fill(same, -math.inf).softmax(dim=1).cumsum(dim=1)
    steps = steps / steps[:, -1:]
    return torch.searchsorted(steps, torch.rand(len(similarity), draws, dtype=torch.float64), right=True)


def draw_unmasked(similarity, caption_ids, draws):
    probabilities = similarity.softmax(dim=-1)
    return torch.multinomial(probabilities, draws, replacement=True)


def draw_diagonal_alone(similarity, caption_ids, draws):
    same = torch.eye(len(similarity), dtype=torch.bool)
    probabilities = similarity.masked_fill(same, -math.inf).softmax(dim=-1)
    return torch.multinomial(probabilities, draws, replacement=True)


def draw_hardest(similarity, caption_ids, draws):
    same = caption_ids[:, None] == caption_ids[None, :]
    probabilities = similarity.masked_fill(same, -math.inf).softmax(dim=-1)
    return probabilities.argmax(dim=-1, keepdim=True).expand(-1, draws)


def draw_once(similarity, caption_ids, draws):
    same = caption_ids[:, None] == caption_ids[None, :]
    probabilities = similarity.masked_fill(same, -math.inf).softmax(dim=-1)
    return torch.multinomial(probabilities, 1).repeat(1, draws)


def draw_alike(similarity, caption_ids, draws):
    same = caption_ids[:, None] == caption_ids[None, :]
    probabilities = (~same).float()
    return torch.multinomial(probabilities, draws, replacement=True)


def draw_as_in_albef(similarity, caption_ids, draws):
    same = caption_ids[:, None] == caption_ids[None, :]
    probabilities = (similarity.softmax(dim=-1) + 1e-4).masked_fill(same, 0)
    return torch.multinomial(probabilities, draws, replacement=True)


def draw_easy(similarity, caption_ids, draws):
    same = caption_ids[:, None] == caption_ids[None, :]
    probabilities = (-similarity).masked_fill(same, -math.inf).softmax(dim=-1)
    return torch.multinomial(probabilities, draws, replacement=True)


def draw_of_columns(similarity, caption_ids, draws):
    same = caption_ids[:, None] == caption_ids[None, :]
    probabilities = similarity.T.masked_fill(same, -math.inf).softmax(dim=-1)
    return torch.multinomial(probabilities, draws, replacement=True)


def draw_softmax_down(similarity, caption_ids, draws):
    same = caption_ids[:, None] == caption_ids[None, :]
    probabilities = similarity.masked_fill(same, -math.inf).softmax(dim=0)
    return torch.multinomial(probabilities, draws, replacement=True)


def draw_one_row(similarity, caption_ids, draws):
    same = caption_ids[:, None] == caption_ids[None, :]
    probabilities = similarity.mean(dim=0).softmax(dim=-1) * ~same
    return torch.multinomial(probabilities, draws, replacement=True)


def draw_masked_late(similarity, caption_ids, draws):
    same = caption_ids[:, None] == caption_ids[None, :]
    probabilities = similarity.softmax(dim=-1).masked_fill(same, 0)
    return torch.multinomial(probabilities, draws, replacement=True)


def draw_without_replacement(similarity, caption_ids, draws):
    same = caption_ids[:, None] == caption_ids[None, :]
    probabilities = similarity.masked_fill(same, -math.inf).softmax(dim=-1)
    return torch.multinomial(probabilities, draws)


def draw_transposed(similarity, caption_ids, draws):
    same = caption_ids[:, None] == caption_ids[None, :]
    probabilities = similarity.masked_fill(same, -math.inf).softmax(dim=-1)
    return torch.multinomial(probabilities, draws, replacement=True).T


def draw_probabilities(similarity, caption_ids, draws):
    same = caption_ids[:, None] == caption_ids[None, :]
    probabilities = similarity.masked_fill(same, -math.inf).softmax(dim=-1)
    return probabilities


def draw_not_in_proportion(similarity, caption_ids, draws):
    same = caption_ids[:, None] == caption_ids[None, :]
    probabilities = (similarity / 3).masked_fill(same, -math.inf).softmax(dim=-1)
    return torch.multinomial(probabilities, draws, replacement=True)


def draw_nothing(similarity, caption_ids, draws):
    same = caption_ids[:, None] == caption_ids[None, :]
    probabilities = similarity.masked_fill(same, -math.inf).softmax(dim=-1)
    torch.multinomial(probabilities, draws, replacement=True)


# 05.6 ---------------------------------------------------------------------------------------------------------------


def space(image_embeds: Tensor, text_embeds: Tensor, share: float) -> dict[str, Tensor]:
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    images = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    texts = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    spread = [torch.pdist(part).square().mul(-2).exp().mean().log() for part in (images, texts)]
    return {
        "alignment": (images - texts).square().sum(dim=-1).mean(),
        "uniformity": (spread[0] + spread[1]) / 2,
        "gap": (images.mean(dim=0) - texts.mean(dim=0)).norm(),
    }


def space_by_cosines(image_embeds, text_embeds, share):
    middle = image_embeds.mean(0), text_embeds.mean(0)
    moved = []
    for part, step in ((image_embeds, middle[1] - middle[0]), (text_embeds, middle[0] - middle[1])):
        vectors = part - share / 2 * step
        moved.append(vectors / vectors.norm(dim=1, keepdim=True))
    count = len(image_embeds)
    row, column = torch.triu_indices(count, count, 1)
    values = [
        torch.logsumexp(-2 * (2 - 2 * (part @ part.T)[row, column]), dim=0) - math.log(len(row)) for part in moved
    ]
    return {
        "gap": torch.linalg.vector_norm(moved[0].mean(0) - moved[1].mean(0)),
        "uniformity": torch.stack(values).mean(),
        "alignment": 2 - 2 * (moved[0] * moved[1]).sum() / count,
    }


def space_by_loops(image_embeds, text_embeds, share):
    count = len(image_embeds)
    delta = sum(image_embeds) / count - sum(text_embeds) / count
    images = [(x + share / 2 * delta) / (x + share / 2 * delta).norm() for x in image_embeds]
    texts = [(y - share / 2 * delta) / (y - share / 2 * delta).norm() for y in text_embeds]
    alignment, uniformity = 0, 0
    for x, y in zip(images, texts, strict=True):
        alignment = alignment + ((x - y) ** 2).sum() / count
    for side in (images, texts):
        total = 0
        for i in range(count):
            for j in range(count):
                if i != j:
                    total = total + torch.exp(-2 * ((side[i] - side[j]) ** 2).sum())
        uniformity = uniformity + torch.log(total / (count * (count - 1))) / 2
    gap = (sum(images) / count - sum(texts) / count).norm()
    return dict(alignment=alignment, uniformity=uniformity, gap=gap)


def space_wrong_way(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds - share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds + share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_by_twice(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share * delta, dim=-1)
    y = F.normalize(text_embeds - share * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_same_way(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds + share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_pictures_moved(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_texts_moved(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_not_moved(image_embeds, text_embeds, share):
    x = F.normalize(image_embeds, dim=-1)
    y = F.normalize(text_embeds, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_unit_gap(image_embeds, text_embeds, share):
    delta = F.normalize(image_embeds.mean(dim=0) - text_embeds.mean(dim=0), dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_off_the_sphere(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = image_embeds + share / 2 * delta
    y = text_embeds - share / 2 * delta
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_columns(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=0)
    y = F.normalize(text_embeds - share / 2 * delta, dim=0)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_lengths(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).norm(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_mse(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = F.mse_loss(x, y)
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_cosine(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = F.cosine_similarity(x, y).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_with_itself(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.cdist(one, one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_no_log(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_log_first(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().log().mean() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_sum(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().sum().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_unsquared(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_t_1(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-1).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_plus(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_negated(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": -sum(uniformity) / 2, "gap": gap}


def space_of_pictures(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": uniformity[0], "gap": gap}


def space_of_texts(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": uniformity[1], "gap": gap}


def space_added(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity), "gap": gap}


def space_in_one(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = torch.pdist(torch.cat([x, y])).pow(2).mul(-2).exp().mean().log()
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": uniformity, "gap": gap}


def space_gap_squared(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).pow(2).sum()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_gap_of_pairs(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x - y).norm(dim=-1).mean()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_gap_before(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = delta.norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_again(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    image_embeds = image_embeds + share / 2 * delta
    x = F.normalize(image_embeds, dim=-1)
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return {"alignment": alignment, "uniformity": sum(uniformity) / 2, "gap": gap}


def space_tuple(image_embeds, text_embeds, share):
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    x = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    y = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    alignment = (x - y).pow(2).sum(dim=-1).mean()
    uniformity = [torch.pdist(one).pow(2).mul(-2).exp().mean().log() for one in (x, y)]
    gap = (x.mean(dim=0) - y.mean(dim=0)).norm()
    return alignment, sum(uniformity) / 2, gap


# 05.7 ---------------------------------------------------------------------------------------------------------------


def large(
    encode: Callable,
    loss: Callable,
    images: Tensor,
    texts: Tensor,
    image_weight: Tensor,
    text_weight: Tensor,
    limit: int,
) -> tuple[Tensor, Tensor, Tensor]:
    starts = range(0, len(images), limit)
    with torch.no_grad():
        image_embeds = torch.cat([encode(images[i : i + limit], image_weight) for i in starts])
        text_embeds = torch.cat([encode(texts[i : i + limit], text_weight) for i in starts])
    value = loss(image_embeds.requires_grad_(), text_embeds.requires_grad_())
    image_signals, text_signals = torch.autograd.grad(value, [image_embeds, text_embeds])
    image_weight = image_weight.clone().requires_grad_()
    text_weight = text_weight.clone().requires_grad_()
    for i in starts:
        image_part = encode(images[i : i + limit], image_weight)
        (image_part * image_signals[i : i + limit]).sum().backward()
        text_part = encode(texts[i : i + limit], text_weight)
        (text_part * text_signals[i : i + limit]).sum().backward()
    return value, image_weight.grad, text_weight.grad


def large_by_split(encode, loss, images, texts, image_weight, text_weight, limit):
    embeds = []
    for inputs, weight in ((images, image_weight), (texts, text_weight)):
        embeds.append(torch.cat([encode(part, weight) for part in inputs.split(limit)]).requires_grad_())
    value = loss(*embeds)
    value.backward()
    found = []
    for inputs, weight, whole in ((images, image_weight, embeds[0]), (texts, text_weight, embeds[1])):
        total = torch.zeros_like(weight)
        for part, signal in zip(inputs.split(limit), whole.grad.split(limit), strict=True):
            leaf = weight.detach().requires_grad_()
            total += torch.autograd.grad((encode(part, leaf) * signal).sum(), leaf)[0]
        found.append(total)
    return value.item(), *found


def large_by_parts_of_the_loss(encode, loss, images, texts, image_weight, text_weight, limit):
    """All embeddings without a graph; then one part at a time with a graph in its place, and its share of the loss."""
    weights = [image_weight.clone().requires_grad_(), text_weight.clone().requires_grad_()]
    inputs = [images, texts]
    whole = []
    for features, weight in zip(inputs, weights, strict=True):
        rows = [encode(row, weight).detach() for row in features.split(1)]
        whole.append(torch.cat(rows))
    for side in range(2):
        for start in range(0, len(images), limit):
            mixed = [part.clone() for part in whole]
            mixed[side][start : start + limit] = encode(inputs[side][start : start + limit], weights[side])
            loss(*mixed).backward()
    return loss(*whole), weights[0].grad, weights[1].grad


def large_accumulated(encode, loss, images, texts, image_weight, text_weight, limit):
    parts = len(images.split(limit))
    total = 0
    gradients = [torch.zeros_like(image_weight), torch.zeros_like(text_weight)]
    for pictures, captions in zip(images.split(limit), texts.split(limit), strict=True):
        with torch.no_grad():
            embeds = [encode(pictures, image_weight), encode(captions, text_weight)]
        value = loss(embeds[0].requires_grad_(), embeds[1].requires_grad_())
        signals = torch.autograd.grad(value, embeds)
        weights = [image_weight.clone().requires_grad_(), text_weight.clone().requires_grad_()]
        (encode(pictures, weights[0]) * signals[0]).sum().backward()
        (encode(captions, weights[1]) * signals[1]).sum().backward()
        gradients = [total + weight.grad / parts for total, weight in zip(gradients, weights, strict=True)]
        total = total + value.detach() / parts
    return total, *gradients


def large_added_up(encode, loss, images, texts, image_weight, text_weight, limit):
    total = 0
    weights = [image_weight.clone().requires_grad_(), text_weight.clone().requires_grad_()]
    for pictures, captions in zip(images.split(limit), texts.split(limit), strict=True):
        with torch.no_grad():
            embeds = [encode(pictures, weights[0]), encode(captions, weights[1])]
        value = loss(embeds[0].requires_grad_(), embeds[1].requires_grad_())
        signals = torch.autograd.grad(value, embeds)
        (encode(pictures, weights[0]) * signals[0]).sum().backward()
        (encode(captions, weights[1]) * signals[1]).sum().backward()
        total = total + value.detach()
    return total, weights[0].grad, weights[1].grad


def large_reported_alone(encode, loss, images, texts, image_weight, text_weight, limit):
    parts = len(images.split(limit))
    weights = [image_weight.clone().requires_grad_(), text_weight.clone().requires_grad_()]
    for pictures, captions in zip(images.split(limit), texts.split(limit), strict=True):
        with torch.no_grad():
            embeds = [encode(pictures, weights[0]), encode(captions, weights[1])]
        value = loss(embeds[0].requires_grad_(), embeds[1].requires_grad_())
        signals = torch.autograd.grad(value / parts, embeds)
        (encode(pictures, weights[0]) * signals[0]).sum().backward()
        (encode(captions, weights[1]) * signals[1]).sum().backward()
    with torch.no_grad():
        image_embeds = torch.cat([encode(part, image_weight) for part in images.split(limit)])
        text_embeds = torch.cat([encode(part, text_weight) for part in texts.split(limit)])
    return loss(image_embeds, text_embeds), weights[0].grad, weights[1].grad


def large_reported_and_added(encode, loss, images, texts, image_weight, text_weight, limit):
    weights = [image_weight.clone().requires_grad_(), text_weight.clone().requires_grad_()]
    for pictures, captions in zip(images.split(limit), texts.split(limit), strict=True):
        with torch.no_grad():
            embeds = [encode(pictures, weights[0]), encode(captions, weights[1])]
        value = loss(embeds[0].requires_grad_(), embeds[1].requires_grad_())
        signals = torch.autograd.grad(value, embeds)
        (encode(pictures, weights[0]) * signals[0]).sum().backward()
        (encode(captions, weights[1]) * signals[1]).sum().backward()
    with torch.no_grad():
        image_embeds = torch.cat([encode(part, image_weight) for part in images.split(limit)])
        text_embeds = torch.cat([encode(part, text_weight) for part in texts.split(limit)])
    return loss(image_embeds, text_embeds), weights[0].grad, weights[1].grad


def large_all_at_once(encode, loss, images, texts, image_weight, text_weight, limit):
    weights = [image_weight.clone().requires_grad_(), text_weight.clone().requires_grad_()]
    value = loss(encode(images, weights[0]), encode(texts, weights[1]))
    value.backward()
    return value.detach(), weights[0].grad, weights[1].grad


def large_with_all_graphs(encode, loss, images, texts, image_weight, text_weight, limit):
    weights = [image_weight.clone().requires_grad_(), text_weight.clone().requires_grad_()]
    image_embeds = torch.cat([encode(part, weights[0]) for part in images.split(limit)])
    text_embeds = torch.cat([encode(part, weights[1]) for part in texts.split(limit)])
    value = loss(image_embeds, text_embeds)
    value.backward()
    return value.detach(), weights[0].grad, weights[1].grad


def large_last_part(encode, loss, images, texts, image_weight, text_weight, limit):
    with torch.no_grad():
        image_embeds = torch.cat([encode(part, image_weight) for part in images.split(limit)])
        text_embeds = torch.cat([encode(part, text_weight) for part in texts.split(limit)])
    value = loss(image_embeds.requires_grad_(), text_embeds.requires_grad_())
    image_signals, text_signals = torch.autograd.grad(value, [image_embeds, text_embeds])
    weights = [image_weight.clone().requires_grad_(), text_weight.clone().requires_grad_()]
    for part, signal in zip(images.split(limit), image_signals.split(limit), strict=True):
        weights[0].grad = None
        (encode(part, weights[0]) * signal).sum().backward()
    for part, signal in zip(texts.split(limit), text_signals.split(limit), strict=True):
        weights[1].grad = None
        (encode(part, weights[1]) * signal).sum().backward()
    return value.detach(), weights[0].grad, weights[1].grad


def large_first_part(encode, loss, images, texts, image_weight, text_weight, limit):
    with torch.no_grad():
        image_embeds = torch.cat([encode(part, image_weight) for part in images.split(limit)])
        text_embeds = torch.cat([encode(part, text_weight) for part in texts.split(limit)])
    value = loss(image_embeds.requires_grad_(), text_embeds.requires_grad_())
    image_signals, text_signals = torch.autograd.grad(value, [image_embeds, text_embeds])
    weights = [image_weight.clone().requires_grad_(), text_weight.clone().requires_grad_()]
    (encode(images[:limit], weights[0]) * image_signals[:limit]).sum().backward()
    (encode(texts[:limit], weights[1]) * text_signals[:limit]).sum().backward()
    return value.detach(), weights[0].grad, weights[1].grad


def large_averaged(encode, loss, images, texts, image_weight, text_weight, limit):
    with torch.no_grad():
        image_embeds = torch.cat([encode(part, image_weight) for part in images.split(limit)])
        text_embeds = torch.cat([encode(part, text_weight) for part in texts.split(limit)])
    value = loss(image_embeds.requires_grad_(), text_embeds.requires_grad_())
    image_signals, text_signals = torch.autograd.grad(value, [image_embeds, text_embeds])
    weights = [image_weight.clone().requires_grad_(), text_weight.clone().requires_grad_()]
    for part, signal in zip(images.split(limit), image_signals.split(limit), strict=True):
        (encode(part, weights[0]) * signal).sum().backward()
    for part, signal in zip(texts.split(limit), text_signals.split(limit), strict=True):
        (encode(part, weights[1]) * signal).sum().backward()
    return value.detach(), weights[0].grad / len(images.split(limit)), weights[1].grad / len(texts.split(limit))


def large_of_ones(encode, loss, images, texts, image_weight, text_weight, limit):
    with torch.no_grad():
        image_embeds = torch.cat([encode(part, image_weight) for part in images.split(limit)])
        text_embeds = torch.cat([encode(part, text_weight) for part in texts.split(limit)])
    value = loss(image_embeds.requires_grad_(), text_embeds.requires_grad_())
    weights = [image_weight.clone().requires_grad_(), text_weight.clone().requires_grad_()]
    for part in images.split(limit):
        encode(part, weights[0]).sum().backward()
    for part in texts.split(limit):
        encode(part, weights[1]).sum().backward()
    return value.detach(), weights[0].grad, weights[1].grad


def large_exchanged(encode, loss, images, texts, image_weight, text_weight, limit):
    with torch.no_grad():
        image_embeds = torch.cat([encode(part, image_weight) for part in images.split(limit)])
        text_embeds = torch.cat([encode(part, text_weight) for part in texts.split(limit)])
    value = loss(image_embeds.requires_grad_(), text_embeds.requires_grad_())
    image_signals, text_signals = torch.autograd.grad(value, [image_embeds, text_embeds])
    weights = [image_weight.clone().requires_grad_(), text_weight.clone().requires_grad_()]
    for part, signal in zip(images.split(limit), image_signals.split(limit), strict=True):
        (encode(part, weights[0]) * signal).sum().backward()
    for part, signal in zip(texts.split(limit), text_signals.split(limit), strict=True):
        (encode(part, weights[1]) * signal).sum().backward()
    return value.detach(), weights[1].grad, weights[0].grad


def large_texts_frozen(encode, loss, images, texts, image_weight, text_weight, limit):
    with torch.no_grad():
        image_embeds = torch.cat([encode(part, image_weight) for part in images.split(limit)])
        text_embeds = torch.cat([encode(part, text_weight) for part in texts.split(limit)])
    value = loss(image_embeds.requires_grad_(), text_embeds.requires_grad_())
    image_signals, text_signals = torch.autograd.grad(value, [image_embeds, text_embeds])
    weights = [image_weight.clone().requires_grad_(), text_weight.clone().requires_grad_()]
    for part, signal in zip(images.split(limit), image_signals.split(limit), strict=True):
        (encode(part, weights[0]) * signal).sum().backward()
    return value.detach(), weights[0].grad, torch.zeros_like(text_weight)


def large_pictures_frozen(encode, loss, images, texts, image_weight, text_weight, limit):
    with torch.no_grad():
        image_embeds = torch.cat([encode(part, image_weight) for part in images.split(limit)])
        text_embeds = torch.cat([encode(part, text_weight) for part in texts.split(limit)])
    value = loss(image_embeds.requires_grad_(), text_embeds.requires_grad_())
    image_signals, text_signals = torch.autograd.grad(value, [image_embeds, text_embeds])
    weights = [image_weight.clone().requires_grad_(), text_weight.clone().requires_grad_()]
    for part, signal in zip(texts.split(limit), text_signals.split(limit), strict=True):
        (encode(part, weights[1]) * signal).sum().backward()
    return value.detach(), torch.zeros_like(image_weight), weights[1].grad


def large_uphill(encode, loss, images, texts, image_weight, text_weight, limit):
    with torch.no_grad():
        image_embeds = torch.cat([encode(part, image_weight) for part in images.split(limit)])
        text_embeds = torch.cat([encode(part, text_weight) for part in texts.split(limit)])
    value = loss(image_embeds.requires_grad_(), text_embeds.requires_grad_())
    image_signals, text_signals = torch.autograd.grad(value, [image_embeds, text_embeds])
    weights = [image_weight.clone().requires_grad_(), text_weight.clone().requires_grad_()]
    for part, signal in zip(images.split(limit), image_signals.split(limit), strict=True):
        (encode(part, weights[0]) * -signal).sum().backward()
    for part, signal in zip(texts.split(limit), text_signals.split(limit), strict=True):
        (encode(part, weights[1]) * -signal).sum().backward()
    return value.detach(), weights[0].grad, weights[1].grad


def large_signals(encode, loss, images, texts, image_weight, text_weight, limit):
    with torch.no_grad():
        image_embeds = torch.cat([encode(part, image_weight) for part in images.split(limit)])
        text_embeds = torch.cat([encode(part, text_weight) for part in texts.split(limit)])
    value = loss(image_embeds.requires_grad_(), text_embeds.requires_grad_())
    image_signals, text_signals = torch.autograd.grad(value, [image_embeds, text_embeds])
    weights = [image_weight.clone().requires_grad_(), text_weight.clone().requires_grad_()]
    for part, signal in zip(images.split(limit), image_signals.split(limit), strict=True):
        (encode(part, weights[0]) * signal).sum().backward()
    for part, signal in zip(texts.split(limit), text_signals.split(limit), strict=True):
        (encode(part, weights[1]) * signal).sum().backward()
    return value.detach(), image_signals, text_signals


def large_without_loss(encode, loss, images, texts, image_weight, text_weight, limit):
    with torch.no_grad():
        image_embeds = torch.cat([encode(part, image_weight) for part in images.split(limit)])
        text_embeds = torch.cat([encode(part, text_weight) for part in texts.split(limit)])
    value = loss(image_embeds.requires_grad_(), text_embeds.requires_grad_())
    image_signals, text_signals = torch.autograd.grad(value, [image_embeds, text_embeds])
    weights = [image_weight.clone().requires_grad_(), text_weight.clone().requires_grad_()]
    for part, signal in zip(images.split(limit), image_signals.split(limit), strict=True):
        (encode(part, weights[0]) * signal).sum().backward()
    for part, signal in zip(texts.split(limit), text_signals.split(limit), strict=True):
        (encode(part, weights[1]) * signal).sum().backward()
    return weights[0].grad, weights[1].grad


SOLUTIONS = {
    "05.1": triplet,
    "05.2": READING,
    "05.3": NCE,
    "05.4": hardest,
    "05.5": draw,
    "05.6": space,
    "05.7": large,
}

ALTERNATIVES = {
    "05.1": (triplet_by_loops, triplet_by_pairwise_distance, triplet_of_torch),
    "05.2": ({key: READING[key].upper() for key in reversed(READING)}, {key: f" {READING[key]} " for key in READING}),
    "05.3": (NCEByLoops, NCEByCrossEntropy),
    "05.4": (hardest_by_loops, hardest_by_hinges),
    "05.5": (draw_by_gumbel, draw_one_row_at_a_time, draw_by_inverse),
    "05.6": (space_by_cosines, space_by_loops),
    "05.7": (large_by_split, large_by_parts_of_the_loss),
}

MUTANTS = {
    "05.1": (
        Mutant(triplet_uncut, "not cut off at 0"),
        Mutant(triplet_cut_late, "cut off after the mean"),
        Mutant(triplet_exchanged, "positive and negative exchanged"),
        Mutant(triplet_minus_margin, "margin subtracted"),
        Mutant(triplet_without_margin, "margin left out"),
        Mutant(triplet_squared, "squared distances"),
        Mutant(triplet_mean_square, "mean square"),
        Mutant(triplet_absolute, "sum of absolute differences"),
        Mutant(triplet_cosines, "cosines"),
        Mutant(triplet_one_norm, "one distance for the batch"),
        Mutant(triplet_columns, "distance along the batch"),
        Mutant(triplet_from_positive, "negative measured from the positive"),
        Mutant(triplet_summed, "summed over the batch"),
        Mutant(triplet_active_only, "mean of what costs something"),
        Mutant(triplet_each, "wrong shape"),
        Mutant(triplet_number, "not differentiable"),
    ),
    "05.2": (
        *(
            Mutant(choosing(**{key: option}), f"{key} {option}")
            for key in READING
            for option in "abcd"
            if option != READING[key]
        ),
        Mutant(choosing(floor="?"), "not written"),
        Mutant(choosing(cold="e"), "wrong type"),
        Mutant("c", "wrong type"),
    ),
    "05.3": (
        Mutant(NCEWithoutPositive, "positive left out of the denominator"),
        Mutant(NCEDotProducts, "not normalised"),
        Mutant(NCEDefaultAxis, "normalised along the negatives"),
        Mutant(NCEBatchAxis, "normalised along the batch"),
        Mutant(NCELongNegatives, "negatives not normalised"),
        Mutant(NCELogScale, "scale not exponentiated"),
        Mutant(NCEOverScale, "divided by the scale"),
        Mutant(NCEWithoutScale, "scale left out"),
        Mutant(NCELabelZero, "label in the wrong place"),
        Mutant(NCEArange, "labels of a batch"),
        Mutant(NCEEveryones, "negatives of all queries"),
        Mutant(NCEFirst, "negatives of the first query"),
        Mutant(NCEFromPositive, "negatives compared with the positive"),
        Mutant(NCEMeanOfNegatives, "mean of the negatives"),
        Mutant(NCESoftmaxTwice, "softmax before the cross-entropy"),
        Mutant(NCESummed, "summed over the batch"),
        Mutant(NCENoMinus, "wrong sign"),
        Mutant(NCELogK, "log of K"),
        Mutant(NCELogBatch, "log of the batch"),
        Mutant(NCEInNats, "nats"),
        Mutant(NCEMixed, "bits minus nats"),
        Mutant(NCEMinusBound, "bound with the wrong sign"),
        Mutant(NCEAddedLoss, "loss added"),
        Mutant(NCEExchanged, "exchanged"),
        Mutant(NCELossOnly, "wrong type"),
        Mutant(NCEFrozenScale, "not differentiable"),
        Mutant(NCEHotStart, "wrong start"),
        Mutant(NCENegativeStart, "wrong start"),
        Mutant(NCEBuffer, "error"),
    ),
    "05.4": (
        Mutant(hardest_diagonal_alone, "false negatives punished"),
        Mutant(hardest_with_the_own, "own pair among the negatives"),
        Mutant(hardest_diagonal_forgotten, "own pair alone among the negatives"),
        Mutant(hardest_filled_with_0, "left out by 0"),
        Mutant(hardest_times_mask, "left out by 0"),
        Mutant(hardest_all, "all negatives"),
        Mutant(hardest_of_pictures, "pictures only"),
        Mutant(hardest_of_texts, "texts only"),
        Mutant(hardest_rows_twice, "one direction twice"),
        Mutant(hardest_halved, "halved"),
        Mutant(hardest_maximum, "harder direction only"),
        Mutant(hardest_summed, "summed over the batch"),
        Mutant(hardest_uncut, "not cut off at 0"),
        Mutant(hardest_cut_late, "cut off after the sum"),
        Mutant(hardest_minus_margin, "margin subtracted"),
        Mutant(hardest_without_margin, "margin left out"),
        Mutant(hardest_distances, "wrong way round"),
        Mutant(hardest_easiest, "easiest negative"),
        Mutant(hardest_best_own, "another pair's similarity for its own"),
        Mutant(hardest_in_place, "changed its argument"),
        Mutant(hardest_each, "wrong shape"),
    ),
    "05.5": (
        Mutant(draw_unmasked, "own pair drawn"),
        Mutant(draw_diagonal_alone, "false negatives drawn"),
        Mutant(draw_hardest, "hardest only"),
        Mutant(draw_once, "one draw repeated"),
        Mutant(draw_alike, "all negatives alike"),
        Mutant(draw_as_in_albef, "rounded away"),
        Mutant(draw_easy, "easy ones preferred"),
        Mutant(draw_of_columns, "columns for rows"),
        Mutant(draw_softmax_down, "softmax down the columns"),
        Mutant(draw_one_row, "one row for all"),
        Mutant(draw_masked_late, "error"),
        Mutant(draw_without_replacement, "error"),
        Mutant(draw_transposed, "wrong type"),
        Mutant(draw_probabilities, "wrong type"),
        Mutant(draw_not_in_proportion, "not good enough"),
        Mutant(draw_nothing, "returned nothing"),
    ),
    "05.6": (
        Mutant(space_wrong_way, "wrong way"),
        Mutant(space_by_twice, "each by the whole share"),
        Mutant(space_same_way, "both moved the same way"),
        Mutant(space_pictures_moved, "pictures alone moved"),
        Mutant(space_texts_moved, "texts alone moved"),
        Mutant(space_not_moved, "not moved"),
        Mutant(space_unit_gap, "moved along the unit gap"),
        Mutant(space_off_the_sphere, "not normalised after the move"),
        Mutant(space_columns, "normalised along the batch"),
        Mutant(space_lengths, "alignment not squared"),
        Mutant(space_mse, "alignment over all numbers"),
        Mutant(space_cosine, "alignment as a cosine"),
        Mutant(space_with_itself, "vectors compared with themselves"),
        Mutant(space_no_log, "no logarithm"),
        Mutant(space_log_first, "mean of the logarithms"),
        Mutant(space_sum, "sum for the mean"),
        Mutant(space_unsquared, "uniformity of unsquared distances"),
        Mutant(space_t_1, "t = 1"),
        Mutant(space_plus, "exponent without its minus"),
        Mutant(space_negated, "wrong sign"),
        Mutant(space_of_pictures, "uniformity of the pictures"),
        Mutant(space_of_texts, "uniformity of the texts"),
        Mutant(space_added, "uniformities added"),
        Mutant(space_in_one, "both modalities in one"),
        Mutant(space_gap_squared, "gap squared"),
        Mutant(space_gap_of_pairs, "gap within the pairs"),
        Mutant(space_gap_before, "gap before the move"),
        Mutant(space_again, "texts moved by the gap that is left"),
        Mutant(space_tuple, "wrong type"),
    ),
    "05.7": (
        Mutant(large_accumulated, "parts by themselves"),
        Mutant(large_added_up, "sum of the parts"),
        Mutant(large_reported_alone, "right loss, gradients of the parts"),
        Mutant(large_reported_and_added, "right loss, gradients of the parts added"),
        Mutant(large_all_at_once, "error"),
        Mutant(large_with_all_graphs, "error"),
        Mutant(large_last_part, "last part only"),
        Mutant(large_first_part, "first part only"),
        Mutant(large_averaged, "averaged over the parts"),
        Mutant(large_of_ones, "gradient of ones"),
        Mutant(large_exchanged, "gradients exchanged"),
        Mutant(large_texts_frozen, "texts without a gradient"),
        Mutant(large_pictures_frozen, "pictures without a gradient"),
        Mutant(large_uphill, "wrong sign"),
        Mutant(large_signals, "wrong shape"),
        Mutant(large_without_loss, "wrong type"),
    ),
}
