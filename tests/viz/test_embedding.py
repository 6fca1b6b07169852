"""The figures of lesson 05: each draws, has words that say what is in it, and refuses what does not fit."""

import numpy as np
import pytest
import torch

from course_lib.errors import InputError
from course_lib.viz import embedding
from course_lib.viz.style import bundle

COSINES = torch.linspace(-0.5, 0.6, 12)
POINTS = torch.nn.functional.normalize(torch.randn(5, 2, generator=torch.Generator().manual_seed(0)), dim=-1)
FIGURES = {
    "pushes": lambda: embedding.pushes(COSINES, [1.0, 0.1], 0.7, title="star"),
    "margins": lambda: embedding.margins(COSINES, 0.7, 0.2, title="star"),
    "no violation": lambda: embedding.margins(COSINES - 1, 0.7, 0.2, title="star"),
    "circles": lambda: embedding.circles({"star": (POINTS, POINTS), "two": (POINTS, -POINTS)}),
    "landscape": lambda: embedding.landscape({"star": (0.4, -3.0, 0.9), "collapsed": (0.0, 0.0, 0.0)}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_each_draws_and_says_what_it_shows(name):
    data, _ = bundle(FIGURES[name]())
    assert "star" in data["text/plain"]


def test_the_push_is_a_softmax_and_goes_to_the_nearest_when_it_is_cold():
    (axes,) = embedding.pushes(COSINES, [1.0, 0.05]).axes
    warm, cold = (line.get_ydata() for line in axes.lines[:2])
    assert np.isclose(warm.sum(), 1) and np.isclose(cold.sum(), 1)
    assert cold[-1] > 0.8 > warm[-1] and (np.diff(cold) > 0).all()


@pytest.mark.parametrize(
    "bad",
    [
        lambda: embedding.pushes(COSINES, [0.0]),
        lambda: embedding.circles({}),
        lambda: embedding.circles({"a": (POINTS, POINTS[:3])}),
        lambda: embedding.landscape({}),
    ],
)
def test_bad_input_is_refused(bad):
    with pytest.raises(InputError):
        bad()
