"""The tables of parity and speed: that they are computed, and that they can say no."""

import time

import pytest
import torch

from course_lib.authoring.bench import lesson_06, timing
from course_lib.authoring.bench import table as bench_table
from course_lib.authoring.parity import table as parity_table
from course_lib.authoring.parity.rows import ParityRow, difference
from course_lib.errors import InputError


def test_every_row_holds():
    rows = parity_table.rows()
    assert {row.system for row in rows} >= {"CLIP", "SigLIP", "ALIGN", "BytePairTokenizer", "clip_loss", "PreNormBlock"}
    assert all(row.holds for row in rows), [row for row in rows if not row.holds]


def test_a_difference_is_reported(monkeypatch, capsys):
    monkeypatch.setattr(parity_table, "rows", lambda: [ParityRow("ours", "theirs", "logits", 2e-5)])
    with pytest.raises(SystemExit):
        parity_table.main()
    assert "DIFFERENT" in capsys.readouterr().out
    assert not ParityRow("ours", "theirs", "logits", float("nan")).holds


def test_two_shapes_are_different():
    assert difference(torch.zeros(2), torch.zeros(3)) != 0
    assert difference(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 2.0])) == 0.5


def test_the_three_training_steps_are_the_same_step():
    """Same weights, input and optimiser: the losses agree step after step, so the times compare like with like."""
    steps = lesson_06.clip_steps(batch=4, width=32, layers=1, vocab_size=40)
    for _ in range(3):
        losses = [step() for step in steps.values()]
        assert losses == pytest.approx([losses[0]] * 3, abs=1e-5)
    assert list(steps) == ["course", "open_clip", "transformers"]


def test_medians_of_alternating_calls():
    order = []

    def slow() -> None:
        order.append("slow")
        time.sleep(0.02)

    medians = timing.alternate({"slow": slow, "quick": lambda: order.append("quick")}, repeats=3, warm_up=1)
    assert order == ["slow", "quick"] * 4
    assert medians["slow"] > medians["quick"]
    assert timing.Comparison("x", "a", "b", medians["quick"], medians["slow"]).ratio < 1


def test_the_table(monkeypatch, capsys):
    rows = [
        timing.Comparison("work", "ours", "theirs", 0.2, 0.1, 1.0),
        timing.Comparison("more", "ours", "theirs", 1, 2),
    ]
    monkeypatch.setattr(bench_table, "comparisons", lambda asked: [lambda: rows])
    bench_table.main()
    output = capsys.readouterr().out
    assert "2.00" in output and "<= 1 NO" in output and "0.50" in output


def test_each_lesson_is_measured_by_itself():
    assert {"06", "course"} <= set(bench_table.parts())
    assert bench_table.comparisons(["06"]) == lesson_06.COMPARISONS
    with pytest.raises(InputError, match="nothing to measure for 17; there is: .*06"):
        bench_table.comparisons(["17"])
