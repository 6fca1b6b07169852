import builtins
import json

import faiss
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file, save_file

from course_lib.errors import CourseError, FileError, InputError
from course_lib.models import vector_index
from course_lib.models.vector_index import VectorIndex, fingerprint, flat, hnsw, ivf, ivfpq, pq, recall_of

KINDS = {
    "flat": lambda: flat(16),
    "ivf": lambda: ivf(16, cells=8, probes=2),
    "hnsw": lambda: hnsw(16, links=8),
    "pq": lambda: pq(16, pieces=8, bits=5),
    "ivfpq": lambda: ivfpq(16, cells=8, probes=2, pieces=8, bits=5),
}


def unit(count, seed=0, dimension=16):
    """Unit vectors in a few loose heaps, as embeddings are."""
    generator = torch.Generator().manual_seed(seed)
    heaps = torch.randn(6, dimension, generator=torch.Generator().manual_seed(99))
    which = torch.randint(0, 6, (count,), generator=generator)
    return F.normalize(heaps[which] + 0.5 * torch.randn(count, dimension, generator=generator), dim=1)


def filled(kind, count=400):
    index = VectorIndex(KINDS[kind]())
    index.add(unit(count), torch.arange(count) * 7 + 3)
    return index


def test_flat_is_brute_force():
    scores, ids = filled("flat").search(unit(30, seed=1), 12)
    cosines = (unit(30, seed=1).double() @ unit(400).double().T).sort(dim=1, descending=True)
    assert torch.equal(ids, cosines.indices[:, :12] * 7 + 3)
    assert torch.allclose(scores.double(), cosines.values[:, :12], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_finds_most_of_what_is_near(kind):
    index, queries = filled(kind), unit(50, seed=1)
    scores, found = index.search(queries, 10)
    _, exact = filled("flat").search(queries, 10)
    wanted = {"flat": 1.0, "ivf": 0.7, "hnsw": 0.9, "pq": 0.5, "ivfpq": 0.4}
    assert recall_of(found, exact) >= wanted[kind]
    assert (scores[:, :-1] >= scores[:, 1:]).all() and len(index) == 400


def test_more_effort_finds_more_and_all_cells_find_everything():
    index, queries = filled("ivf"), unit(100, seed=1)
    _, exact = filled("flat").search(queries, 10)
    recalls = [recall_of(index.search(queries, 10, effort)[1], exact) for effort in (1, 3, 8)]
    assert recalls[0] < recalls[1] <= recalls[2] == 1
    with pytest.raises(InputError, match="no effort to choose"):
        filled("flat").search(queries, 10, effort=3)
    with pytest.raises(InputError, match="effort is 0"):
        index.search(queries, 10, effort=0)


def test_of_equal_scores_the_one_that_was_added_first_comes_first():
    vectors = F.normalize(torch.tensor([[0.0, 1], [1, 0], [0, 1], [1, 0], [0, 1], [1, 1]]), dim=1)
    for make in (flat, lambda d: hnsw(d, links=4)):
        index = VectorIndex(make(2))
        index.add(vectors, torch.tensor([9, 8, 7, 6, 5, 4]))
        scores, ids = index.search(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), 6)
        assert ids.tolist() == [[9, 7, 5, 4, 8, 6], [8, 6, 4, 9, 7, 5]]
        assert scores[0, :3].tolist() == [1, 1, 1]


def test_cells_with_too_few_vectors_say_so_with_minus_one():
    index = VectorIndex(ivf(16, cells=50, probes=1))
    index.add(unit(60))
    scores, ids = index.search(unit(20, seed=1), 40)
    assert (ids == -1).any() and torch.isinf(scores[ids == -1]).all() and torch.isfinite(scores[ids >= 0]).all()
    assert recall_of(ids[:, :1], ids[:, :1]) == 1


def test_adding_in_two_parts_is_adding_at_once():
    vectors, queries = unit(400), unit(9, seed=2)
    parts = VectorIndex(flat(16))
    parts.add(vectors[:150])
    parts.add(vectors[150:])
    assert parts.ids.tolist() == list(range(400))
    assert torch.equal(parts.search(queries, 5)[1] * 7 + 3, filled("flat").search(queries, 5)[1])


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: VectorIndex(flat(16)).search(unit(1), 1), "gallery is empty"),
        (lambda: filled("flat").search(unit(1), 401), "k is 401; the gallery holds 400"),
        (lambda: filled("flat").search(unit(1), 0), "k is 0"),
        (lambda: filled("flat").search(unit(1, dimension=15), 1), r"queries have shape \(1, 15\)"),
        (lambda: filled("flat").search(unit(0), 1), r"queries have shape \(0, 16\)"),
        (lambda: filled("flat").search(2 * unit(1), 1), "row 0 of the queries has length 2.000"),
        (lambda: filled("flat").search(torch.full((1, 16), torch.nan), 1), "row 0 of the queries is not finite"),
        (lambda: filled("flat").add(torch.cat([unit(2), 0.5 * unit(1)])), "row 2 of the vectors has length 0.500"),
        (lambda: filled("flat").add(unit(1) / 0), "row 0 of the vectors is not finite"),
        (lambda: filled("flat").add(unit(0)), "N not 0"),
        (lambda: filled("flat").add(unit(2), torch.tensor([5, 5])), "id 5 is there twice"),
        (lambda: filled("flat").add(unit(1), torch.tensor([10])), "id 10 is there twice"),
        (lambda: filled("flat").add(unit(1), torch.tensor([-1])), "below 0"),
        (lambda: filled("flat").add(unit(2), torch.tensor([5])), "2 whole numbers"),
        (lambda: filled("flat").add(unit(1), torch.tensor([5.0])), "whole numbers"),
        (lambda: filled("ivf", count=7), "7 vectors are too few to train this index: it has 8"),
        (lambda: filled("pq", count=31), "it has 32"),
        (lambda: pq(16, pieces=5), "cannot be cut into 5 equal pieces"),
        (lambda: VectorIndex(faiss.IndexFlatL2(16)), "measures distances"),
        (lambda: recall_of(torch.zeros(2, 3), torch.zeros(2, 4)), r"both should be \(Q, k\)"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, words):
    with pytest.raises(InputError, match=words):
        call()


def test_what_was_refused_has_changed_nothing():
    index = filled("flat")
    for vectors, ids in ((unit(2), torch.tensor([900, 3])), (2 * unit(1), None)):
        with pytest.raises(InputError):
            index.add(vectors, ids)
    assert len(index) == 400 == index.index.ntotal


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_index_answers_as_before(kind, tmp_path):
    index, queries = filled(kind), unit(20, seed=3)
    gallery = fingerprint(unit(400))
    index.save(tmp_path / "gallery.index", gallery)
    again = VectorIndex.load(tmp_path / "gallery.index", gallery)
    for ours, theirs in zip(again.search(queries, 5), index.search(queries, 5), strict=True):
        assert torch.equal(ours, theirs)
    again.add(unit(1, seed=8), torch.tensor([2]))
    assert len(again) == 401
    assert [path.name for path in tmp_path.iterdir()] == ["gallery.index"]


def test_an_index_of_another_gallery_is_refused(tmp_path):
    filled("flat").save(tmp_path / "a.index", fingerprint(unit(400)))
    other = unit(400)
    other[399, 3] += 1e-6
    with pytest.raises(FileError, match=r"a\.index was made from another gallery"):
        VectorIndex.load(tmp_path / "a.index", fingerprint(other))


def test_damaged_and_foreign_files_are_refused_before_faiss_reads_them(tmp_path, monkeypatch):
    path = filled("hnsw").save(tmp_path / "a.index", "g")
    content = path.read_bytes()
    monkeypatch.setattr(faiss, "deserialize_index", lambda _: pytest.fail("FAISS was handed damaged bytes"))
    for place in (9, 200, len(content) // 2, len(content) - 5):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(FileError, match=r"a\.index"):
            VectorIndex.load(path, "g")
    for length in (0, 5, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(FileError, match="damaged or no index"):
            VectorIndex.load(path, "g")
    save_file({"x": np.zeros(3)}, path)
    with pytest.raises(FileError, match="is no index of this course"):
        VectorIndex.load(path, "g")
    with pytest.raises(FileError, match="is missing"):
        VectorIndex.load(tmp_path / "b.index", "g")


def test_an_index_with_too_few_ids_is_refused_though_its_hashes_fit(tmp_path):
    path = filled("flat").save(tmp_path / "a.index", "g")
    tensors = load_file(path)
    tensors["ids"] = tensors["ids"][:-1]
    about = {"format": vector_index.FORMAT, "gallery": "g", "sha256": json.dumps(vector_index._digests(tensors))}
    save_file(tensors, path, about)
    with pytest.raises(FileError, match="400 vectors and 399 ids"):
        VectorIndex.load(path, "g")


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = filled("flat").save(tmp_path / "a.index", "g")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(vector_index, "save_file", full)
    with pytest.raises(FileError, match="the disk is full"):
        filled("pq").save(path, "other")
    assert len(VectorIndex.load(path, "g")) == 400 and len(list(tmp_path.iterdir())) == 1


def test_without_faiss_the_reader_is_told_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "faiss":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CourseError, match="pip install faiss-cpu"):
        flat(16)


def test_fingerprints_tell_values_shapes_and_types_apart():
    values = torch.arange(6)
    made = {
        fingerprint(values),
        fingerprint(values.view(2, 3)),
        fingerprint(values.float()),
        fingerprint(values, values),
    }
    assert len(made) == 4 and fingerprint(values) == fingerprint(values.clone())
