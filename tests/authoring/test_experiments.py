"""The stored experiments: that a table goes on where it stopped, and that what lesson 04 claims is in its data."""

import json
import statistics

import pytest

from course_lib.authoring import experiments
from course_lib.files import embedded
from course_lib.models.recipes import fusion


def test_a_table_goes_on_where_it_stopped(tmp_path, monkeypatch):
    measured = []

    def table(training: str, stop_after: int):
        def run(seed: int):
            def measure():
                if len(measured) == stop_after:
                    raise KeyboardInterrupt
                measured.append(seed)
                return {"spatial": 0.5 + seed / 10}

            return {"fusion": "sum", "without": "nothing", "seed": seed}, measure

        return lambda: ({"training": training}, (run(seed) for seed in range(3)))

    monkeypatch.setitem(experiments.EXPERIMENTS, "fusion", table("short", 2))
    with pytest.raises(KeyboardInterrupt):
        experiments.make("fusion", tmp_path)
    assert len(json.loads((tmp_path / "fusion.json").read_text())["runs"]) == 2
    monkeypatch.setitem(experiments.EXPERIMENTS, "fusion", table("short", 9))
    experiments.make("fusion", tmp_path)
    stored = json.loads((tmp_path / "fusion.json").read_text())
    assert measured == [0, 1, 2] and [row["spatial"] for row in stored["runs"]] == [0.5, 0.6, 0.7]
    assert stored["training"] == "short" and stored["command"].endswith("course_lib.authoring.experiments fusion")
    monkeypatch.setitem(experiments.EXPERIMENTS, "fusion", table("longer", 9))
    experiments.make("fusion", tmp_path)  # trained otherwise: nothing of the old table is kept
    assert measured == [0, 1, 2, 0, 1, 2]


def stored(name: str) -> dict:
    return json.loads(embedded(f"experiments/{name}.json").read_text(encoding="utf-8"))


def median(rows: list[dict], kind: str) -> float:
    return statistics.median(row[kind] for row in rows)


def test_the_stored_tables_were_made_by_the_recipes_as_they_are():
    for name, table in experiments.EXPERIMENTS.items():
        about, _ = table()
        about.pop("measured_on")
        assert stored(name).items() >= json.loads(json.dumps(about)).items(), f"{name}.json is of another recipe"


def test_the_pointers_do_what_the_lesson_says():
    runs = [row for row in stored("fusion_full")["runs"] if row["fusion"] == "pointers"]
    assert [row["seed"] for row in runs] == list(experiments.SEEDS)  # none was left out
    assert median(runs, "spatial") >= 0.97 and median(runs, "comparison") >= 0.95
    assert all(median(runs, kind) >= 0.97 for kind in fusion.QUESTION_TYPES if kind != "comparison")


def test_without_an_ingredient_relations_stay_at_chance():
    runs = [row for row in stored("fusion")["runs"] if row["fusion"] == "pointers"]
    for name in fusion.ABLATIONS:
        rows = [row for row in runs if row["without"] == name]
        assert len(rows) == 5 and median(rows, "colour") > 0.95
        assert median(rows, "spatial") > 0.8 if name == "nothing" else median(rows, "spatial") < 0.6


def test_what_pools_before_it_meets_cannot_bind_and_only_pointers_relate():
    for row in stored("fusion")["runs"]:
        if row["fusion"] in ("late", "concat", "sum", "product", "MCB", "low-rank"):
            assert row["colour"] < 0.7 and row["shape"] < 0.7, row
        if row["fusion"] != "pointers":
            assert row["spatial"] < 0.6, row


def test_a_joint_transformer_binds_with_more_of_everything_and_does_not_relate():
    runs = {row["changed"]: row for row in stored("fusion_joint")["runs"]}
    assert len(runs) == 6
    for row in runs.values():
        assert row["colour"] > 0.95 and row["shape"] > 0.95, row
        assert row["spatial"] < 0.6, row
