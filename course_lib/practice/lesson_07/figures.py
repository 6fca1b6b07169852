"""What exercise 07.3 gives to read, all of it computed: two indexes of one gallery, and a search in two stages."""

import torch
from torch import Tensor

CELLS, WIDTH, PARTS, WORDS = 64, 32, 8, 16
PROBES = (1, 2, 4, 8, 16, 32, 64)
DEPTHS = (1, 2, 4, 8, 16, 32, 64, 128)
FOUND = 10


def two_indexes() -> dict[str, list[float]]:
    """Recall@10 of two indexes of one gallery, for the numbers of cells searched in `PROBES`.

    Both sort 4,000 vectors into 64 cells around their centres and search the cells next to the query. "A" compares the
    query with the vectors themselves, "B" with their product-quantised codes of 4 bytes each.
    """
    gallery, queries, generator = _world()
    distances = {"A": torch.cdist(queries, gallery), "B": torch.cdist(queries, _rebuilt(gallery, generator))}
    true = _nearest(distances["A"], FOUND)
    centres = _k_means(gallery, CELLS, generator)
    cell = _nearest_of(gallery, centres)
    visited = torch.cdist(queries, centres).argsort(dim=1)
    recall: dict[str, list[float]] = {"A": [], "B": []}
    for probes in PROBES:
        seen = (cell[None, :, None] == visited[:, None, :probes]).any(dim=2)
        for name, distance in distances.items():
            recall[name].append(_share(_nearest(distance.masked_fill(~seen, torch.inf), FOUND), true))
    return recall


def codes_then_vectors(best: int = 100) -> float:
    """Recall@10 where the `best` candidates by their codes, of the whole gallery, are compared once more, exactly."""
    gallery, queries, generator = _world()
    exact = torch.cdist(queries, gallery)
    candidates = _nearest(torch.cdist(queries, _rebuilt(gallery, generator)), best)
    order = _nearest(exact.gather(1, candidates), FOUND)
    return _share(candidates.gather(1, order), _nearest(exact, FOUND))


def two_stages(queries: int = 1000, candidates: int = 1000) -> dict[str, list[float]]:
    """A search in two stages for the depths of `DEPTHS`: recall@k of the first, and recall@1 after the second.

    Both stages see how well a candidate fits under noise of their own, the second under less of it.
    """
    generator = torch.Generator().manual_seed(5)
    own = torch.zeros(queries, dtype=torch.long)  # each query's right candidate stands in the first column
    first, second = (torch.randn(queries, candidates, generator=generator) for _ in range(2))
    first[:, 0] += 3.4
    second[:, 0] += 3.9
    recall: dict[str, list[float]] = {"first stage: recall@k": [], "both stages: recall@1": []}
    for depth in DEPTHS:
        best = first.topk(depth, dim=1).indices
        recall["first stage: recall@k"].append(float((best == own[:, None]).any(dim=1).float().mean()))
        chosen = best.gather(1, second.gather(1, best).argmax(dim=1, keepdim=True))[:, 0]
        recall["both stages: recall@1"].append(float((chosen == own).float().mean()))
    return recall


def _world() -> tuple[Tensor, Tensor, torch.Generator]:
    """A gallery of 4,000 vectors in 200 clouds, 100 queries from the same clouds, and the generator that drew them."""
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    centres = draw(200, WIDTH)
    gallery, queries = (
        centres[torch.randint(len(centres), (count,), generator=generator)] + 0.6 * draw(count, WIDTH)
        for count in (4000, 100)
    )
    return gallery, queries, generator


def _k_means(vectors: Tensor, count: int, generator: torch.Generator, rounds: int = 6) -> Tensor:
    """`(count, D)` centres by Lloyd's algorithm; one that nothing is nearest to stays where it is."""
    centres = vectors[torch.randperm(len(vectors), generator=generator)[:count]].clone()
    for _ in range(rounds):
        nearest = _nearest_of(vectors, centres)
        sizes = torch.bincount(nearest, minlength=count)[:, None]
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        centres = torch.where(sizes > 0, sums / sizes.clamp(min=1), centres)
    return centres


def _rebuilt(gallery: Tensor, generator: torch.Generator) -> Tensor:
    """The gallery as its codes say: each of 8 parts of a vector replaced by the nearest of 16 words."""
    parts = []
    for part in gallery.chunk(PARTS, dim=1):
        words = _k_means(part, WORDS, generator)
        parts.append(words[_nearest_of(part, words)])
    return torch.cat(parts, dim=1)


def _nearest_of(vectors: Tensor, centres: Tensor) -> Tensor:
    return torch.cdist(vectors, centres).argmin(dim=1)


def _nearest(distances: Tensor, count: int) -> Tensor:
    return distances.topk(count, dim=1, largest=False).indices


def _share(found: Tensor, true: Tensor) -> float:
    """Which share of the true neighbours was found."""
    return float((found[:, :, None] == true[:, None, :]).any(dim=2).float().mean())
