"""Lesson 07: the measures of retrieval, and search."""

from collections.abc import Callable, Iterator

import torch

from course_lib.authoring.bench.timing import Comparison, alternate
from course_lib.evaluation.retrieval import measures
from course_lib.models.recipes.search import made_vectors
from course_lib.models.vector_index import VectorIndex, flat, hnsw, ivf

KS = (1, 5, 10)


def retrieval_measures(images: int = 5_000, captions: int = 5, turns: int = 1) -> Iterator[Comparison]:
    """mAP, MRR, nDCG and R@1, 5, 10 of 5,000 pictures among 25,000 captions, COCO's sizes: ours and torchmetrics'.

    Raises:
        AssertionError: the two do not give the same values.
    """
    similarity, owners = coco_sized(images, captions)
    positives = torch.arange(images)[:, None] == owners
    ways = {
        "course": lambda: measures(similarity, positives, KS),
        "torchmetrics": lambda: by_torchmetrics(similarity, positives),
    }
    ours, theirs = ways["course"](), by_torchmetrics(similarity[:50], positives[:50])
    few = measures(similarity[:50], positives[:50], KS)
    apart = max(abs(few[name] - value) for name, value in theirs.items())
    assert apart < 1e-5 and ours.keys() >= theirs.keys(), f"ours and torchmetrics' measures are {apart} apart"
    medians = alternate(ways, repeats=turns, warm_up=0)
    yield Comparison(
        f"mAP, MRR, nDCG, R@{{1,5,10}}, {images} x {len(owners)}",
        "course",
        "torchmetrics",
        medians["course"],
        medians["torchmetrics"],
        bound=1 / 3,
    )


def coco_sized(images: int, captions: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random similarities between 0 and 1, in which right captions are likely to score high; and their owners."""
    generator = torch.Generator().manual_seed(0)
    owners = torch.arange(images).repeat_interleave(captions)
    similarity = 0.5 * torch.rand(images, len(owners), generator=generator)
    columns = torch.arange(len(owners))
    similarity[owners, columns] += 0.5 * torch.rand(len(owners), generator=generator)
    return similarity, owners


def by_torchmetrics(similarity: torch.Tensor, positives: torch.Tensor, queries: int = 250) -> dict[str, float]:
    """The same measures by torchmetrics, some queries at a time: in one piece it would take 8 GB."""
    import torchmetrics.retrieval as theirs

    metrics = {f"R@{k}": theirs.RetrievalHitRate(top_k=k) for k in KS}
    metrics |= {"MRR": theirs.RetrievalMRR(), "mAP": theirs.RetrievalMAP(), "nDCG": theirs.RetrievalNormalizedDCG()}
    sums = dict.fromkeys(metrics, 0.0)
    for scores, right in zip(similarity.split(queries), positives.split(queries), strict=True):
        which = torch.arange(len(scores))[:, None].expand_as(scores)
        for name, metric in metrics.items():
            metric.reset()
            metric.update(scores, right, which)
            sums[name] += metric.compute().item() * len(scores)
    return {name: total / len(similarity) for name, total in sums.items()}


def search(count: int = 100_000, dimension: int = 64, queries: int = 200, turns: int = 100) -> Iterator[Comparison]:
    """What our index adds to FAISS: checks of the queries, ids of one's own, the order of ties.

    Many queries at once, as in an evaluation, on three kinds of index; and one query of a flat gallery.
    """
    vectors, asked = made_vectors(count, dimension=dimension), made_vectors(queries, seed=1, dimension=dimension)
    kinds = {"flat": flat(dimension), "IVF": ivf(dimension, 512, 16), "HNSW": hnsw(dimension, effort=64)}
    for name, index in kinds.items():
        ours = VectorIndex(index)
        ours.add(vectors)
        for batch in (asked, asked[:1]) if name == "flat" else (asked,):
            rows = batch.numpy()
            ways = {"course": lambda o=ours, b=batch: o.search(b, 10), "faiss": lambda i=index, r=rows: i.search(r, 10)}
            medians = alternate(ways, repeats=turns)  # milliseconds each: a few turns would show the machine's noise
            what = f"search, {name}, {len(batch)} x {count}"
            yield Comparison(what, "VectorIndex", "FAISS alone", medians["course"], medians["faiss"], bound=1.1)


COMPARISONS: list[Callable[[], Iterator[Comparison]]] = [retrieval_measures, search]
