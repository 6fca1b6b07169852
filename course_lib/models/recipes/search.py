"""What an index finds and how long it takes, at ten thousand, a hundred thousand and a million vectors."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.errors import InputError
from course_lib.models.vector_index import VectorIndex, flat, hnsw, ivf, ivfpq, pq, recall_of

DIMENSION = 64


@dataclass(frozen=True)
class Measured:
    """One index with one setting, searched with many queries for 10 each.

    recall: the share of the true ten that it found; milliseconds: a query, of many asked at once; bytes_each: a vector,
    with all that the index keeps beside it; building: seconds to train and fill it.
    """

    kind: str
    setting: str
    vectors: int
    recall: float
    milliseconds: float
    bytes_each: float
    building: float


def made_vectors(count: int, seed: int = 0, dimension: int = DIMENSION) -> Tensor:
    """Unit vectors made as a picture's come about: the sum of what is in it, and a little noise. (count, dimension).

    A million pictures would take ten minutes to draw; these take seconds. Each has one to four things, of 512 kinds,
    and one of five backgrounds, each kind with a direction of its own, the same for every seed.
    """
    kinds = torch.randn(4, 8, dimension, generator=torch.Generator().manual_seed(7))
    kinds[2:] *= 0.5  # size and material are quieter than shape and colour
    backgrounds = torch.randn(5, dimension, generator=torch.Generator().manual_seed(8))
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for start in range(0, count, 100_000):
        rows = min(100_000, count - start)
        things = torch.randint(1, 5, (rows,), generator=generator)
        vectors = backgrounds[torch.randint(5, (rows,), generator=generator)]
        for place in range(4):
            values = [torch.randint(top, (rows,), generator=generator) for top in (8, 8, 2, 4)]
            thing = sum(kinds[attribute, value] for attribute, value in enumerate(values))
            vectors = vectors + thing * (place < things)[:, None]
        noise = torch.randn(rows, dimension, generator=generator)
        parts.append(F.normalize(vectors + 0.7 * noise, dim=-1))
    return torch.cat(parts)


def kinds(count: int, dimension: int = DIMENSION) -> dict[str, tuple[Callable, tuple[int, ...]]]:
    """The indexes that are compared on so many vectors: name -> (what makes it, the efforts to search with).

    As many cells as four square roots of the vectors, the usual rule; for quantised vectors 16 pieces of 8 bits, a
    byte for every 4 numbers of 4 bytes.
    """
    cells = max(64, min(4096, 4 * round(count**0.5)))
    pieces = dimension // 4
    return {
        "flat": (lambda: flat(dimension), ()),
        "IVF": (lambda: ivf(dimension, cells), (1, 4, 16, 64)),
        "HNSW": (lambda: hnsw(dimension), (16, 64, 256)),
        "PQ": (lambda: pq(dimension, pieces), ()),
        "IVF + PQ": (lambda: ivfpq(dimension, cells, pieces=pieces), (1, 4, 16, 64)),
    }


def measure_index(
    kind: str, make: Callable, efforts: tuple[int, ...], vectors: Tensor, queries: Tensor, exact: Tensor
) -> list[Measured]:
    """Builds an index and searches it once with each effort.

    Args:
        kind: its name.
        make: gives an empty index.
        efforts: cells to look into, or candidates to keep; () for an index without such a choice.
        vectors: (N, D), the gallery.
        queries: (Q, D).
        exact: (Q, 10), the true neighbours, by a flat index.

    Raises:
        InputError: `exact` is not of these queries.
    """
    if exact.shape != (len(queries), 10):
        raise InputError(f"exact has shape {tuple(exact.shape)}; it should be ({len(queries)}, 10)")
    index = VectorIndex(make())
    start = time.perf_counter()
    index.add(vectors)
    building = time.perf_counter() - start
    size = index.bytes / len(index)
    rows = []
    for effort in efforts or (None,):
        index.search(queries[:20], 10, effort)  # the first call wakes threads and memory
        seconds = []
        for _ in range(3):  # the quickest of three: what else the machine does can only make it slower
            start = time.perf_counter()
            _, found = index.search(queries, 10, effort)
            seconds.append(time.perf_counter() - start)
        setting = "" if effort is None else f"{effort}"
        milliseconds = 1000 * min(seconds) / len(queries)
        rows.append(Measured(kind, setting, len(index), recall_of(found, exact), milliseconds, size, building))
    return rows


def search_curve(count: int, queries: int = 200, seed: int = 0, which: tuple[str, ...] | None = None) -> list[Measured]:
    """Every kind of index on so many made vectors.

    Args:
        count: vectors in the gallery.
        queries: how many are asked, all at once.
        seed: of the vectors; the queries are others.
        which: names of `kinds`; all if None.
    """
    vectors, asked = made_vectors(count, seed), made_vectors(queries, seed + 1000)
    yardstick = VectorIndex(flat(vectors.shape[1]))
    yardstick.add(vectors)
    _, exact = yardstick.search(asked, 10)
    del yardstick
    rows = []
    for name, (make, efforts) in kinds(count).items():
        if which is None or name in which:
            rows += measure_index(name, make, efforts, vectors, asked, exact)
    return rows
