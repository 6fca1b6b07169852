"""Lesson 07: the measures of retrieval beside torchmetrics'."""

from collections.abc import Callable

import torch

from course_lib.authoring.parity.rows import ParityRow
from course_lib.evaluation import retrieval

TIGHT = 1e-6


def measures_beside_torchmetrics(
    queries: int = 60, candidates: int = 300, rate: float = 0.02, seed: int = 0
) -> list[ParityRow]:
    """Every measure beside torchmetrics', on random scores without ties; each query has one right candidate or more.

    The scores are above 0, for torchmetrics counts a right candidate that scores 0 or less as wrong.

    Args:
        queries, candidates: Q and N, the second no smaller.
        rate: the share of candidates that are right, besides one for each query.
        seed: of all that is random.
    """
    import torchmetrics.retrieval as theirs

    generator = torch.Generator().manual_seed(seed)
    scores = torch.randperm(queries * candidates, generator=generator).view(queries, candidates)
    scores = (scores + 1) / (queries * candidates + 1)
    positives = torch.rand(queries, candidates, generator=generator) < rate
    positives[torch.arange(queries), torch.arange(queries)] = True
    degrees = positives * torch.randint(1, 5, positives.shape, generator=generator)
    which = torch.arange(queries)[:, None].expand(-1, candidates)
    pairs = [
        ("mAP", theirs.RetrievalMAP(), retrieval.mean_average_precision(scores, positives)),
        ("MRR", theirs.RetrievalMRR(), retrieval.mean_reciprocal_rank(scores, positives)),
        ("nDCG", theirs.RetrievalNormalizedDCG(), retrieval.ndcg(scores, positives)),
        ("nDCG@5", theirs.RetrievalNormalizedDCG(top_k=5), retrieval.ndcg(scores, positives, 5)),
        ("R@1 (hit rate)", theirs.RetrievalHitRate(top_k=1), retrieval.recall_at_k(scores, 1, positives)),
        ("R@5 (hit rate)", theirs.RetrievalHitRate(top_k=5), retrieval.recall_at_k(scores, 5, positives)),
        ("R@10 (hit rate)", theirs.RetrievalHitRate(top_k=10), retrieval.recall_at_k(scores, 10, positives)),
        ("share found @10", theirs.RetrievalRecall(top_k=10), retrieval.share_found(scores, 10, positives)),
    ]
    rows = []
    for name, metric, ours in pairs:
        wanted = metric(scores, positives, which).item()
        rows.append(ParityRow(name, f"torchmetrics {type(metric).__name__}", "value", abs(ours - wanted), TIGHT))
    graded = theirs.RetrievalNormalizedDCG()(scores, degrees, which).item()
    apart = abs(retrieval.ndcg(scores, degrees) - graded)
    return [*rows, ParityRow("nDCG, degrees", "torchmetrics RetrievalNormalizedDCG", "value", apart, TIGHT)]


COMPARISONS: list[Callable[[], list[ParityRow]]] = [measures_beside_torchmetrics]
