import json
from dataclasses import fields

import pytest
import torch

from course_lib.authoring import search_curve as command
from course_lib.errors import InputError
from course_lib.files import embedded
from course_lib.models.recipes import search
from course_lib.models.recipes.search import Measured, kinds, made_vectors, measure_index
from course_lib.models.vector_index import VectorIndex, flat, ivf


def test_made_vectors_are_unit_vectors_of_a_seed_and_of_one_world():
    vectors = made_vectors(300, seed=3)
    assert vectors.shape == (300, 64) and torch.allclose(vectors.norm(dim=1), torch.ones(300), atol=1e-5)
    assert torch.equal(vectors, made_vectors(300, seed=3)) and not torch.equal(vectors, made_vectors(300, seed=4))
    nearest = (made_vectors(50, seed=4) @ vectors.T).amax(dim=1).mean()
    assert nearest > (torch.nn.functional.normalize(torch.randn(50, 64), dim=1) @ vectors.T).amax(dim=1).mean() + 0.1


def test_a_measured_index_finds_more_with_more_effort():
    vectors, queries = made_vectors(800), made_vectors(40, seed=9)
    exact = VectorIndex(flat(64))
    exact.add(vectors)
    truth = exact.search(queries, 10)[1]
    few, all_cells = measure_index("IVF", lambda: ivf(64, 10), (1, 10), vectors, queries, truth)
    assert (few.setting, all_cells.setting, few.vectors) == ("1", "10", 800)
    assert few.recall < all_cells.recall == 1 and few.bytes_each > 256
    with pytest.raises(InputError, match="exact has shape"):
        measure_index("IVF", lambda: ivf(64, 10), (1,), vectors, queries, truth[:5])


def test_the_command_writes_what_it_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "data_folder", lambda: tmp_path)
    monkeypatch.setattr(command, "write_manifest", lambda: None)
    monkeypatch.setattr(command, "search_curve", lambda size: search.search_curve(size, 20, which=("flat", "IVF")))
    with pytest.raises(InputError, match="should stay below 0.00"):
        command.main(sizes=(600,), most_bytes=1000)
    assert not (tmp_path / command.FILE).exists()
    result = command.main(sizes=(600,), most_bytes=1 << 40)  # what other tests held before counts in this process
    assert json.loads((tmp_path / command.FILE).read_text()) == result
    assert [row["kind"] for row in result["rows"]] == ["flat", "IVF", "IVF", "IVF", "IVF"]
    assert result["rows"][0]["recall"] == 1 and "600" in capsys.readouterr().out


def test_the_kept_measurement_is_of_all_kinds_up_to_a_million_within_two_gigabytes():
    kept = json.loads(embedded(command.FILE).read_text(encoding="utf-8"))
    rows = [Measured(**row) for row in kept["rows"]]
    assert set(kept["rows"][0]) == {field.name for field in fields(Measured)}
    assert {row.vectors for row in rows} == {10_000, 100_000, 1_000_000} == set(command.SIZES)
    assert kept["peak_bytes"] < command.MOST_BYTES
    for size in command.SIZES:
        of_size = {(row.kind, row.setting): row for row in rows if row.vectors == size}
        assert {kind for kind, _ in of_size} == set(kinds(size))
        assert of_size["flat", ""].recall == 1
        assert of_size["HNSW", "256"].recall > 0.9
        assert of_size["IVF", "1"].recall < of_size["IVF", "64"].recall
        assert of_size["PQ", ""].bytes_each < of_size["flat", ""].bytes_each / 6
    million = {(row.kind, row.setting): row for row in rows if row.vectors == 1_000_000}
    assert million["HNSW", "64"].milliseconds < million["flat", ""].milliseconds / 5
