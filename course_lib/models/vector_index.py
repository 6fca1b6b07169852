"""An index of unit vectors: which of a million are nearest to this one?

FAISS does the work; the index kinds of the lesson are one line each. Around them is what FAISS leaves to its caller:
ids of one's own, checked input, an order for ties, and a file that knows which gallery it belongs to.

    index = VectorIndex(flat(64))                 # or ivf, hnsw, pq, ivfpq
    index.add(vectors, ids)                       # (N, 64) of length 1, N different whole numbers
    scores, found = index.search(queries, k=10)   # (Q, 10) cosines, (Q, 10) ids

Sources: Johnson et al., Billion-scale similarity search with GPUs; Douze et al., The Faiss library.
"""

import hashlib
import json
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from course_lib.errors import CourseError, FileError, InputError
from course_lib.files import write_atomically

FORMAT = "vlm-course index 1"


def faiss() -> ModuleType:
    """FAISS, with as many threads as torch has in this course.

    Raises:
        CourseError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise CourseError(
            "search needs FAISS, which is not installed: run `pip install faiss-cpu`, or install the course with "
            "its extra, `pip install vlm-course[search]`"
        ) from error
    faiss.omp_set_num_threads(torch.get_num_threads())
    return faiss


def flat(dimension: int):
    """No index at all: every vector is compared. Exact, and the yardstick of the others."""
    return faiss().IndexFlatIP(dimension)


def ivf(dimension: int, cells: int = 256, probes: int = 8):
    """Inverted file: vectors are sorted into `cells` by k-means, and a query looks into the `probes` nearest ones.

    Source: Sivic and Zisserman, Video Google, 2003; Jégou et al., 2011, section IV.
    """
    index = faiss().IndexIVFFlat(flat(dimension), dimension, cells, faiss().METRIC_INNER_PRODUCT)
    index.nprobe = probes
    return _quick_training(index)


def hnsw(dimension: int, links: int = 16, effort: int = 32, care: int = 64):
    """A graph of near neighbours with a few layers of ever fewer vectors above it; a query walks downhill.

    Args:
        dimension: D.
        links: of each vector, twice as many in the lowest layer.
        effort: how many candidates a query keeps while it walks (efSearch).
        care: how many a vector keeps while it is put in (efConstruction).

    Source: Malkov and Yashunin, Hierarchical Navigable Small World graphs, algorithms 1 to 5.
    """
    index = faiss().IndexHNSWFlat(dimension, links, faiss().METRIC_INNER_PRODUCT)
    index.hnsw.efSearch, index.hnsw.efConstruction = effort, care
    return index


def pq(dimension: int, pieces: int = 8, bits: int = 8):
    """Product quantisation: a vector is cut into `pieces`, each replaced by the nearest of 2 ** `bits` code words.

    A vector of D float32 takes `pieces * bits / 8` bytes instead of 4 D. Source: Jégou et al., 2011, section II.
    """
    _check_pieces(dimension, pieces)
    return _quick_training(faiss().IndexPQ(dimension, pieces, bits, faiss().METRIC_INNER_PRODUCT))


def ivfpq(dimension: int, cells: int = 256, probes: int = 8, pieces: int = 8, bits: int = 8):
    """Cells, and in each what a vector differs by from the cell's centre, product-quantised ("IVFADC").

    Source: Jégou et al., Product Quantization for Nearest Neighbor Search, 2011, section IV.
    """
    _check_pieces(dimension, pieces)
    inner = faiss().METRIC_INNER_PRODUCT
    index = faiss().IndexIVFPQ(flat(dimension), dimension, cells, pieces, bits, inner)
    index.nprobe = probes
    return _quick_training(index)


class VectorIndex:
    """Vectors of length 1 under ids of one's own, found by their cosine.

    **Ties.** Of the k found, those with equal scores come in the order in which they were added. Where several equal
    ones compete for the last places, which of them get in is FAISS's choice.

    Args:
        index: an empty FAISS index for inner products, from `flat`, `ivf`, `hnsw`, `pq` or `ivfpq`; or any other.
    """

    def search(self, queries: Tensor, k: int = 10, effort: int | None = None) -> tuple[Tensor, Tensor]:
        """The k nearest to each query, the nearest first.

        Args:
            queries: `(Q, D)`, of length 1.
            k: how many; no more than there are.
            effort: cells to look into (IVF), candidates to keep (HNSW); None leaves it as it is.

        Returns:
            Scores `(Q, k)` float32, cosines (of a quantised index: approximate ones), and ids `(Q, k)` int64. Where the
            cells that were looked into hold fewer than k, the rest is filled with -inf and id -1.

        Raises:
            InputError: the gallery is empty, k is larger than it, or the queries are not unit vectors of its dimension.
        """
        # After a search the processor's caches hold the gallery, not Python's code: each line here costs, so few do.
        if not 1 <= k <= self.ids.size:
            raise InputError(self._what_is_wrong_with(k))
        rows = self._unit_vectors(queries, "queries")
        if effort is not None:
            self.set_effort(effort)
        scores, places = self.index.search(rows, k)
        equal = scores[:, 1:] == scores[:, :-1]
        if np.count_nonzero(equal):
            for row in np.flatnonzero(equal.any(axis=1)):
                order = np.lexsort((places[row], -scores[row]))
                scores[row], places[row] = scores[row, order], places[row, order]
        found = self.ids[places]
        if np.minimum.reduce(places, axis=None) < 0:
            found[places < 0], scores[places < 0] = -1, -np.inf
        return torch.from_numpy(scores), torch.from_numpy(found)

    def add(self, vectors: Tensor, ids: Tensor | None = None) -> None:
        """Puts vectors into the gallery; the first ones also train an index that has to be trained.

        Args:
            vectors: `(N, D)`, of length 1.
            ids: `(N,)` int, 0 or more, different from each other and from those there are; the next numbers if None.

        Raises:
            InputError: there is nothing to add, the vectors are not unit vectors of this dimension, an id is there
                twice, or there are too few vectors to train on. The gallery is as it was then.
        """
        rows = self._unit_vectors(vectors, "vectors")
        if ids is None:
            ids = torch.arange(len(rows)) + (int(self.ids.max()) + 1 if len(self) else 0)
        new = _whole_numbers(ids, len(rows))
        every = np.concatenate([self.ids, new])
        values, counts = np.unique(every, return_counts=True)
        if (counts > 1).any():
            raise InputError(f"id {values[counts > 1][0]} is there twice: every vector needs an id of its own")
        if not self.index.is_trained:
            if len(rows) < (needed := self._needed()):
                raise InputError(
                    f"{len(rows)} vectors are too few to train this index: it has {needed} cells or code words, "
                    "so give at least as many at first"
                )
            self.index.train(rows)
        self.index.add(rows)
        self.ids = every

    def set_effort(self, effort: int) -> None:
        """How hard a query tries from now on: cells to look into (IVF), candidates to keep (HNSW).

        Raises:
            InputError: it is below 1, or this kind of index has no such choice.
        """
        if effort < 1:
            raise InputError(f"effort is {effort}; it should be 1 or more")
        if hasattr(self.index, "nprobe"):
            self.index.nprobe = effort
        elif hasattr(self.index, "hnsw"):
            self.index.hnsw.efSearch = effort
        else:
            raise InputError(f"{type(self.index).__name__} compares every vector: there is no effort to choose")

    def save(self, path: str | Path, gallery: str) -> Path:
        """Writes the index and its ids to one file, beside its place first and renamed then.

        Args:
            path: where to.
            gallery: what the index was made from, as `fingerprint` gives it; `load` wants the same.

        Raises:
            FileError: it cannot be written; what was there is as it was.
        """
        content = faiss().serialize_index(self.index)
        tensors = {"index": content, "ids": self.ids}
        about = {"format": FORMAT, "gallery": gallery, "sha256": json.dumps(_digests(tensors))}
        return write_atomically(path, lambda beside: save_file(tensors, beside, about))

    @classmethod
    def load(cls, path: str | Path, gallery: str) -> "VectorIndex":
        """The index that `save` wrote.

        Args:
            path: the file.
            gallery: the fingerprint of the gallery that is about to be searched.

        Raises:
            FileError: the file is missing, damaged or no index, or it was made from another gallery.
        """
        name, mend = Path(path).name, "build the index again and save it"
        if not Path(path).is_file():
            raise FileError(f"{name} is missing: {mend}")
        try:
            with safe_open(path, framework="numpy") as file:
                about = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError) as error:
            raise FileError(f"{name} is damaged or no index of this course: {mend}") from error
        if about.get("format") != FORMAT or tensors.keys() != {"index", "ids"}:
            raise FileError(f"{name} is no index of this course: {mend}")
        # FAISS trusts what it reads, and a changed byte can end the program: so it is handed verified bytes only.
        if about.get("sha256") != json.dumps(_digests(tensors)):
            raise FileError(f"{name} is damaged: its contents are not what was saved; {mend}")
        if about.get("gallery") != gallery:
            raise FileError(f"{name} was made from another gallery, or by another model, than the one given: {mend}")
        index = cls(faiss().deserialize_index(tensors["index"]))
        index.ids = tensors["ids"]
        if index.index.ntotal != len(index.ids):
            raise FileError(f"{name} holds {index.index.ntotal} vectors and {len(index.ids)} ids: {mend}")
        return index

    def __init__(self, index):
        if index.metric_type != faiss().METRIC_INNER_PRODUCT:
            raise InputError("the index measures distances; this one searches by inner product, that is by cosine")
        self.index = index
        self.ids = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        """How many vectors the gallery holds."""
        return len(self.ids)

    @property
    def dimension(self) -> int:
        """D."""
        return self.index.d

    @property
    def bytes(self) -> int:
        """How many bytes the index takes, as FAISS writes it: to a file, since memory may hold it only once."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            faiss().write_index(self.index, str(path))
            return path.stat().st_size

    def _what_is_wrong_with(self, k: int) -> str:
        if not len(self):
            return "the gallery is empty: add vectors before searching"
        return f"k is {k}; the gallery holds {len(self)}, so it should be from 1 to {len(self)}"

    def _unit_vectors(self, vectors: Tensor, name: str) -> np.ndarray:
        """The rows, after everything that can be wrong with them; FAISS makes them float32 itself."""
        rows = vectors.numpy(force=True)
        if rows.ndim != 2 or rows.shape[1] != self.dimension or not rows.size:
            raise InputError(f"{name} have shape {rows.shape}; they should be (N, {self.dimension}), N not 0")
        squares = np.vecdot(rows, rows)
        # Neither holds where a number is not finite.
        if np.minimum.reduce(squares) >= 0.998 and np.maximum.reduce(squares) <= 1.002:
            return rows
        row = np.flatnonzero(~(np.abs(squares - 1) <= 0.002))[0]
        if not np.isfinite(squares[row]):
            raise InputError(f"row {row} of the {name} is not finite")
        raise InputError(
            f"row {row} of the {name} has length {squares[row] ** 0.5:.3f}; it should be 1: divide each by its norm"
        )

    def _needed(self) -> int:
        """How many vectors k-means needs at the least: one for each cell, and for each code word of a piece."""
        words = 2**self.index.pq.nbits if hasattr(self.index, "pq") else 1
        return max(getattr(self.index, "nlist", 1), words)


def fingerprint(*parts: Tensor) -> str:
    """The SHA-256 of tensors, in hexadecimal: what a gallery is made of (pictures, ids, a model's weights)."""
    digest = hashlib.sha256()
    for part in parts:
        array = np.ascontiguousarray(part.detach().cpu().numpy())
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array)
    return digest.hexdigest()


def recall_of(found: Tensor, exact: Tensor) -> float:
    """The share of the true nearest neighbours that an index found ("recall@k" of approximate search).

    Args:
        found: `(Q, k)`, ids from the index.
        exact: `(Q, k)`, ids from an exact search.

    Raises:
        InputError: the shapes differ.
    """
    if found.shape != exact.shape or found.ndim != 2:
        raise InputError(f"found has shape {tuple(found.shape)}, exact {tuple(exact.shape)}; both should be (Q, k)")
    return (exact[:, :, None] == found[:, None, :]).any(dim=2).double().mean().item()


def _quick_training(index):
    """K-means on at most 64 vectors a centre, for ten rounds: a quarter of FAISS's time, and recall hardly differs.

    And on few vectors it runs without a warning on stderr, about which a reader can do nothing.
    """
    for clustering in (getattr(index, "cp", None), getattr(getattr(index, "pq", None), "cp", None)):
        if clustering is not None:
            clustering.min_points_per_centroid, clustering.max_points_per_centroid, clustering.niter = 1, 64, 10
    return index


def _check_pieces(dimension: int, pieces: int) -> None:
    if pieces < 1 or dimension % pieces:
        raise InputError(f"{dimension} numbers cannot be cut into {pieces} equal pieces: choose a divisor")


def _whole_numbers(ids: Tensor, count: int) -> np.ndarray:
    ids = torch.as_tensor(ids)
    if ids.shape != (count,) or ids.is_floating_point() or ids.dtype == torch.bool:
        raise InputError(f"ids have shape {tuple(ids.shape)} of {ids.dtype}; they should be {count} whole numbers")
    if (ids < 0).any():
        raise InputError(f"id {int(ids[ids < 0][0])} is below 0; ids should be 0 or more (-1 stands for none found)")
    return ids.cpu().numpy().astype(np.int64)


def _digests(tensors: dict[str, np.ndarray]) -> dict[str, str]:
    return {name: hashlib.sha256(tensors[name]).hexdigest() for name in sorted(tensors)}
