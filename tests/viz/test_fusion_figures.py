"""Figures of lesson 04: each draws, says what it shows, and names what does not fit."""

import pytest
import torch

from course_lib.errors import InputError
from course_lib.viz import fusion

PICTURE = torch.zeros(3, 16, 16)
BOXES = torch.tensor([[0.1, 0.1, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9]])


def test_tables_share_one_scale():
    figure = fusion.tables({"wanted": [[0, 1], [1, 0]], "sum": [[0.5, 0.5], [0.5, 0.5]]}, "ab", "cd", digits=1)
    images = [axes.images[0] for axes in figure.axes]
    assert {image.get_clim() for image in images} == {(0, 1)}
    assert [text.get_text() for text in figure.axes[1].texts] == ["0.5"] * 4
    assert "wanted, sum" in figure.get_label()


def test_draws_mark_the_mean_and_the_truth():
    figure = fusion.draws({"small": [1.0, 2.0, 6.0], "large": [2.9, 3.0, 3.1]}, 3.0)
    for axes in figure.axes:
        dashed, mean = axes.lines
        assert dashed.get_xdata()[0] == 3.0 and mean.get_xdata()[0] == pytest.approx(3.0)


def test_modulation_is_white_where_nothing_changes():
    figure = fusion.modulation(torch.ones(2, 3), torch.zeros(2, 3), ["what", "where"])
    for axes, middle in zip(figure.axes, (1.0, 0.0), strict=False):
        low, high = axes.images[0].get_clim()
        assert (low + high) / 2 == pytest.approx(middle)


def test_a_box_is_the_bolder_the_more_weight_it_has():
    figure = fusion.pointing(PICTURE, BOXES, [[0.9, 0.1]], ["red"])
    (axes,) = figure.axes
    strong, weak = axes.patches[1], axes.patches[3]  # each box is drawn on a white edge
    assert strong.get_linewidth() > weak.get_linewidth()
    assert [text.get_text() for text in axes.texts] == [".90", ".10"]


def test_hops_show_words_above_and_regions_below():
    figure = fusion.hops(PICTURE, BOXES, ["red", "star"], [[0.9, 0.1]] * 3, [[0.0, 1.0]] * 3)
    above, below = figure.axes[:3], figure.axes[3:]
    assert [bar.get_width() for bar in above[0].patches] == pytest.approx([0.9, 0.1])
    assert all(axes.images for axes in below)


def test_seeds_have_a_dot_each_and_a_bar_at_the_median():
    results = {"sum": {"colour": [0.1, 0.2, 0.9]}, "product": {"colour": [0.5, 0.6]}}
    figure = fusion.seeds(results, chance={"colour": 0.5})
    (axes,) = figure.axes
    assert [len(dots.get_offsets()) for dots in axes.collections] == [3, 2]
    medians = [line.get_xdata()[0] for line in axes.lines if line.get_color() == fusion.INK]
    assert medians == pytest.approx([0.2, 0.55])


@pytest.mark.parametrize(
    ("draw", "sentence"),
    [
        (lambda: fusion.tables({}, "ab", "cd"), "no table"),
        (lambda: fusion.tables({"wanted": [[1.0]]}, "ab", "cd"), r"wanted is \(1, 1\)"),
        (lambda: fusion.draws({}, 1.0), "nothing to draw"),
        (lambda: fusion.modulation(torch.ones(2, 3), torch.ones(2, 4), ["a", "b"]), "go together"),
        (lambda: fusion.pointing(PICTURE, BOXES, [[1.0]], ["red"]), r"should be \(1, 2\)"),
        (lambda: fusion.pointing(PICTURE, BOXES, [[-1.0, 1.0]], ["red"]), "softmax"),
        (lambda: fusion.hops(PICTURE, BOXES, ["red"], [[1.0]], [[1.0]]), r"\(P, 1\) and \(P, 2\)"),
        (lambda: fusion.seeds({}), "nothing to compare"),
        (lambda: fusion.seeds({"a": {"x": [1.0]}, "b": {"y": [1.0]}}), "b was measured on"),
    ],
)
def test_what_does_not_fit_is_named(draw, sentence):
    with pytest.raises(InputError, match=sentence):
        draw()
