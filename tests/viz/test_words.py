"""Figures about text are drawn, say in words what they show, and refuse what they cannot draw."""

import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure

from course_lib.errors import InputError
from course_lib.viz import style, words

RANDOM = np.random.default_rng(0)
NAMES = ["star", "stars", "ring", "rings", "heart", "hearts"]
VECTORS = {name: RANDOM.normal(size=8) for name in NAMES}
PATH = {(0, 1): 0.1, (1, 2): 0.05, (2, 3): 0.02, (0, 2): 0.2, (1, 3): 0.3, (0, 3): 0.001}
TREE = [
    [(0, "a", -0.5, True), (0, "the", -1.0, True), (0, "one", -2.0, False)],
    [(0, "small", -1.2, True), (0, "large", -1.9, False), (1, "small", -1.6, True), (1, "large", -1.7, False)],
]

FIGURES = {
    "pieces": lambda: words.pieces(
        {"characters": list("a striped crescent") * 5, "words": ["a", "striped", "crescent"]},
        marks={"words": [1]},
        marked="hidden",
        title="A text",
    ),
    "next_tokens": lambda: words.next_tokens(
        {"a small": {"red": 0.5, "blue": 0.3}, "two": {"stars": 0.9}, "three": {"x": 1.0}, "four": {"y": 0.2}},
        kept={"a small": ["red"]},
    ),
    "word_map": lambda: words.word_map(VECTORS, {"one": NAMES[::2], "many": NAMES[1::2]}),
    "analogies": lambda: words.analogies(VECTORS, [("star", "stars"), ("ring", "rings")]),
    "lattice": lambda: words.lattice("abc", PATH, [(0, 1), (1, 3)]),
    "beam_tree": lambda: words.beam_tree(TREE),
    "cache_steps": lambda: words.cache_steps(5),
    "who_sees_whom": lambda: words.who_sees_whom({"BERT": np.ones((4, 4)), "GPT": np.tri(4)}),
    "gates": lambda: words.gates({"forget": [0.1, 0.9], "input": [0.5, 0.2]}, ["a", "star"]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_is_drawn_small_and_described(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        figure = FIGURES[name]()
        assert isinstance(figure, Figure)
        data, metadata = style.bundle(figure)
    assert len(data["text/plain"]) > 40
    (kind,) = metadata
    assert len(data[kind]) < 75_000 * 4 / 3


@pytest.mark.parametrize(
    ("draw", "sentence"),
    [
        (lambda: words.pieces({"a": []}), "nothing to draw"),
        (lambda: words.pieces({"a": ["x"]}, marks={"b": [0]}), "b, which is no row"),
        (lambda: words.next_tokens({"a": {}}), "at least one"),
        (lambda: words.word_map(VECTORS, {"one": ["star", "moon", "ring"]}), "no vector for moon"),
        (lambda: words.analogies(VECTORS, [("star", "stars")]), "at least two"),
        (lambda: words.lattice("abc", PATH, [(0, 1), (2, 3)]), "does not lead"),
        (lambda: words.lattice("abc", PATH, [(0, 1)]), "does not lead"),
        (lambda: words.beam_tree([TREE[0], [(2, "x", -1.0, True)]]), "parent 2, and 2 were kept"),
        (lambda: words.cache_steps(1), "two tokens"),
        (lambda: words.gates({"forget": [0.1]}, ["a", "b"]), "1 values for 2 words"),
    ],
)
def test_what_cannot_be_drawn_is_said(draw, sentence):
    with pytest.raises(InputError, match=sentence):
        draw()


def test_the_words_of_a_figure_say_what_it_shows():
    assert "a | striped | crescent" in FIGURES["pieces"]().get_label()
    assert "15 in all" in FIGURES["cache_steps"]().get_label() and "5 in all" in FIGURES["cache_steps"]().get_label()
    assert "a | bc" in FIGURES["lattice"]().get_label()
    assert "step 2: small, small" in FIGURES["beam_tree"]().get_label()
