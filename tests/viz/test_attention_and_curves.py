"""The figures of lesson 01: each draws, has words that say what is in it, and refuses what does not fit."""

import numpy as np
import pytest
import torch

from course_lib.errors import InputError
from course_lib.viz import attention, curves
from course_lib.viz.style import bundle

WORDS = ["a", "red", "star"]
WEIGHTS = torch.full((2, 3, 3), 1 / 3)
X = np.linspace(-1, 1, 9)
POINTS = np.array([[0, 0], [1, 1], [0, 1], [1, 0]])
FIGURES = {
    "heads": lambda: attention.attention_heads(WEIGHTS, WORDS, digits=2),
    "many heads": lambda: attention.attention_heads(WEIGHTS.repeat(3, 1, 1), WORDS),
    "links": lambda: attention.attention_links(WEIGHTS, WORDS, titles=["star one", "star two"]),
    "heat": lambda: attention.heat(torch.randn(4, 6), across="place", down="star", value="size"),
    "functions": lambda: curves.functions(X, {"star": {"a": X, "b": X**2}, "two": {"c": X}}, zero=True),
    "runs": lambda: curves.runs({"star": [3, 2, 1], "b": [2.0, 2.0]}, level=1.5),
    "regions": lambda: curves.regions(
        POINTS, [0, 0, 1, 1], {"star": lambda places: (places[:, 0] > 0.5).astype(float)}
    ),
    "paths": lambda: curves.paths(lambda x, y: x**2 + y**2, {"star": [[1, 1], [0.5, 0.5]]}, span=(-1, 1, -1, 1)),
    "averaged": lambda: curves.averaged({"star": [[0, 1], [0, 1]], "row": [[0, 0], [1, 1]]}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_each_draws_and_says_what_it_shows(name):
    data, _ = bundle(FIGURES[name]())
    assert "star" in data["text/plain"]


def test_a_line_for_each_look_that_counts():
    weights = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.05, 0.05, 0.9]])
    (axes,) = attention.attention_links(weights, WORDS).axes
    assert len(axes.lines) == 4


@pytest.mark.parametrize(
    ("draw", "sentence"),
    [
        (lambda: attention.attention_heads(WEIGHTS, WORDS[:2]), r"\(heads, 2, 2\)"),
        (lambda: attention.attention_heads(WEIGHTS, WORDS, titles=["one"]), "1 titles for 2 heads"),
        (lambda: attention.attention_links(WEIGHTS, WORDS, ["x"]), r"\(panels, 3, 1\)"),
        (lambda: attention.attention_links(WEIGHTS * float("nan"), WORDS), "not finite"),
        (lambda: curves.functions(X, {}), "no panel"),
        (lambda: curves.functions(X, {"a": {"b": X[:3]}}), "3 values for 9"),
        (lambda: curves.runs({}), "no run"),
        (lambda: curves.regions(POINTS, [0, 1], {}), "N classes"),
    ],
)
def test_what_does_not_fit_is_named(draw, sentence):
    with pytest.raises(InputError, match=sentence):
        draw()
