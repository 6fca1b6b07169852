"""The tables of parity and speed: that they are computed, and that they can say no."""

import time

import pytest
import torch

from course_lib.authoring import bench, parity


def test_every_row_holds():
    rows = parity.rows()
    assert {row.system for row in rows} >= {"CLIP", "SigLIP", "ALIGN", "BytePairTokenizer", "clip_loss", "PreNormBlock"}
    assert all(row.holds for row in rows), [row for row in rows if not row.holds]


def test_a_difference_is_reported(monkeypatch, capsys):
    monkeypatch.setattr(parity, "COMPARISONS", [lambda: [parity.ParityRow("ours", "theirs", "logits", 2e-5)]])
    with pytest.raises(SystemExit):
        parity.main()
    assert "DIFFERENT" in capsys.readouterr().out
    assert not parity.ParityRow("ours", "theirs", "logits", float("nan")).holds


def test_two_shapes_are_different():
    assert parity.difference(torch.zeros(2), torch.zeros(3)) != 0
    assert parity.difference(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 2.0])) == 0.5


def test_the_three_training_steps_are_the_same_step():
    """Same weights, input and optimiser: the losses agree step after step, so the times compare like with like."""
    steps = bench.clip_steps(batch=4, width=32, layers=1, vocab_size=40)
    for _ in range(3):
        losses = [step() for step in steps.values()]
        assert losses == pytest.approx([losses[0]] * 3, abs=1e-5)
    assert list(steps) == ["course", "open_clip", "transformers"]


def test_medians_of_alternating_calls():
    order = []

    def slow() -> None:
        order.append("slow")
        time.sleep(0.02)

    medians = bench.alternate({"slow": slow, "quick": lambda: order.append("quick")}, repeats=3, warm_up=1)
    assert order == ["slow", "quick"] * 4
    assert medians["slow"] > medians["quick"]
    assert bench.Comparison("x", "a", "b", medians["quick"], medians["slow"]).ratio < 1


def test_the_table(monkeypatch, capsys):
    rows = [bench.Comparison("work", "ours", "theirs", 0.2, 0.1, 1.0), bench.Comparison("more", "ours", "theirs", 1, 2)]
    monkeypatch.setattr(bench, "COMPARISONS", [lambda: rows])
    bench.main()
    output = capsys.readouterr().out
    assert "2.00" in output and "<= 1 NO" in output and "0.50" in output
