"""Every figure is drawn, says in words what it shows, and refuses what it cannot draw."""

import warnings

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from course_lib.errors import FileError, InputError
from course_lib.viz import attention, embedding, figures, given, live, style

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
MATRIX = RANDOM.normal(size=(4, 4))
NAMES = ["a cat", "a dog", "a very long caption of a picture that has to be wrapped", "an owl"]

FIGURES = {
    "image_grid": lambda: figures.image_grid(IMAGES, NAMES, [[(1, 1, 5, 5)], [("x", (2, 2, 9, 9))], [], []]),
    "image_grid of one": lambda: figures.image_grid(IMAGES[:1]),
    "image_grid with marks": lambda: figures.image_grid(IMAGES, NAMES, marks=[True, False, None, True], columns=3),
    "similarity_matrix": lambda: embedding.similarity_matrix(MATRIX, IMAGES, NAMES, mark="diagonal"),
    "similarity_matrix of names": lambda: embedding.similarity_matrix(
        MATRIX[:2], labels=NAMES, rows=["x", "y"], mark="best"
    ),
    "similarity_matrix alone": lambda: embedding.similarity_matrix(torch.eye(30), limits=(-1, 1)),
    "predictions": lambda: figures.predictions(IMAGES, np.full((4, 4), 0.25), NAMES, [0, 1, 2, 3], top=3),
    "bars": lambda: figures.bars({"a": 0.2, "b": 0.9}, reference={"chance": 0.1, "baseline": 0.4}, highlight="b"),
    "prompt_comparison": lambda: figures.prompt_comparison({"a {}": 0.5, "b {}": 0.9}, chance=0.1),
    "compare": lambda: figures.compare({"A": {"seen": 0.9, "new": 0.6}, "B": {"new": 0.7, "seen": 0.8}}, chance=0.5),
    "lines": lambda: figures.lines([0.01, 0.1, 1], {"a": [1, 2, 3], "b": [[1, 2, 3], [2, 3, 4]]}, log=True, mark=0.1),
    "softmax_at": lambda: embedding.softmax_at([0.3, 0.2, 0.1], [0.01, 0.1], ["a", "b", "c"]),
    "trade_off": lambda: figures.trade_off({"a": [(0, 1), (1, 0)], "b": [(0.5, 0.2)]}, labels={"a": ["0", "1"]}),
    "token_map": lambda: attention.token_map(IMAGES, RANDOM.random((4, 4, 4)), NAMES, shared=True),
    "token_map of one": lambda: attention.token_map(IMAGES[0], RANDOM.random((3, 16))),
    "attention_map": lambda: attention.attention_map(IMAGES[0], RANDOM.random((2, 6)), grid=(2, 3)),
    "embedding_scatter": lambda: embedding.scatter({"p": RANDOM.normal(size=(5, 8)), "t": np.ones((5, 8))}),
    "two_softmaxes": lambda: embedding.two_softmaxes(MATRIX),
    "learning_curve": lambda: live.learning_curve([0, 1, 2], [3, 2, 1], [0.1, 0.2, 0.1], chance=3, total=10),
    "learning_curve and more": lambda: live.learning_curve([0, 1], [3, 2], measures={"R@1": ([1], [0.5])}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_is_drawn_small_and_described(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # a layout that does not fit only warns
        figure = FIGURES[name]()
        assert isinstance(figure, Figure)
        data, metadata = style.bundle(figure)
    assert data["text/plain"].startswith("Figure: ") and len(data["text/plain"]) > 25
    (kind,) = metadata
    assert kind in ("image/png", "image/jpeg") and metadata[kind]["alt"] == data["text/plain"][len("Figure: ") :]
    assert len(data[kind]) < 75_000 * 4 / 3  # twenty of these stay below 1.5 MB


def test_a_figure_has_the_same_bytes_each_time():
    assert style.encode(FIGURES["similarity_matrix"]()) == style.encode(FIGURES["similarity_matrix"]())


REFUSED = {
    "no pictures": (lambda: figures.image_grid([]), "no picture"),
    "titles that do not fit": (lambda: figures.image_grid(IMAGES, ["one"]), "titles has 1 entries for 4 pictures"),
    "a normalised picture": (lambda: figures.image_grid([torch.randn(3, 8, 8) * 2]), "undo the normalisation"),
    "no picture at all": (lambda: figures.image_grid(np.zeros((2, 5))), r"has shape \(H, W, 3\)"),
    "a box inside out": (lambda: figures.image_grid(IMAGES[:1], boxes=[[(9, 9, 1, 1)]]), "ends before it begins"),
    "not a matrix": (lambda: embedding.similarity_matrix([1, 2, 3]), "should have 2 dimensions"),
    "nan": (lambda: embedding.similarity_matrix([[np.nan, 1], [1, 1]]), "not finite"),
    "words for numbers": (lambda: embedding.similarity_matrix([["a", "b"]]), "should be numbers"),
    "labels that do not fit": (lambda: embedding.similarity_matrix(MATRIX, labels=["a"]), "1 entries for 4 columns"),
    "an unknown mark": (lambda: embedding.similarity_matrix(MATRIX, mark="row"), "mark is 'row'"),
    "logits for probabilities": (lambda: figures.predictions(IMAGES, MATRIX * 9, NAMES), "softmax"),
    "no bar": (lambda: figures.bars({}), "empty"),
    "a highlight of nothing": (lambda: figures.bars({"a": 1}, highlight="b"), "none of the bars: a"),
    "methods on other sets": (lambda: figures.compare({"a": {"x": 1}, "b": {"y": 1}}), "b was measured on"),
    "a log of zero": (lambda: figures.lines([0, 1], {"a": [1, 2]}, log=True), "positive values only"),
    "a line too short": (lambda: figures.lines([0, 1], {"a": [1]}), "for 2 values of x"),
    "a temperature of zero": (lambda: embedding.softmax_at([1, 2], [0]), "positive"),
    "a class token left in": (lambda: attention.token_map(IMAGES[0], np.ones((1, 17))), "leave the class token out"),
    "maps without pictures": (lambda: attention.token_map(IMAGES[:2], np.ones((3, 4))), "2 pictures for 3 maps"),
    "attention before softmax": (lambda: attention.attention_map(IMAGES[0], -np.ones((1, 4))), "after the softmax"),
    "two widths": (lambda: embedding.scatter({"a": np.ones((2, 3)), "b": np.ones((2, 4))}), "one width"),
    "pairs that are none": (lambda: embedding.scatter({"a": MATRIX, "b": MATRIX[:2]}), "no pairs"),
    "not square": (lambda: embedding.two_softmaxes(MATRIX[:2]), "square"),
    "steps without losses": (lambda: live.learning_curve([1, 2], [1]), "as many steps as losses"),
    "a curve of nothing": (lambda: live.learning_curve([], []), "one at least"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_drawn_is_refused_with_a_sentence(name):
    draw, sentence = REFUSED[name]
    with pytest.raises(InputError, match=sentence):
        draw()


def test_pictures_come_in_every_usual_form():
    as_bytes = IMAGES[0]
    as_floats = torch.from_numpy(as_bytes).permute(2, 0, 1) / 255
    assert np.array_equal(given.picture(as_floats), as_bytes)
    assert np.array_equal(given.picture(as_bytes[:, :, 0])[:, :, 2], as_bytes[:, :, 0])


def test_principal_components_are_those_of_the_covariance():
    vectors = RANDOM.normal(size=(50, 6)) @ RANDOM.normal(size=(6, 6))
    points, shares = embedding.principal_components(vectors, 3)
    values, directions = np.linalg.eigh(np.cov(vectors.T))
    for index in range(3):
        expected = (vectors - vectors.mean(0)) @ directions[:, -1 - index]
        assert np.allclose(np.abs(points[:, index]), np.abs(expected))
        assert np.isclose(shares[index], values[-1 - index] / values.sum())
        assert points[np.abs(points[:, index]).argmax(), index] > 0
    with pytest.raises(InputError, match="at most 6 components"):
        embedding.principal_components(vectors, 7)


def test_the_two_softmaxes_are_of_rows_and_of_columns():
    figure = embedding.two_softmaxes(MATRIX)
    _, rows, columns = (axes.images[0].get_array() for axes in figure.axes)
    assert np.allclose(rows.sum(1), 1) and np.allclose(columns.sum(0), 1)
    assert np.allclose(rows, torch.tensor(MATRIX).softmax(1)) and np.allclose(columns, torch.tensor(MATRIX).softmax(0))


def test_show_prints_the_words_outside_a_notebook(capsys):
    style.show(FIGURES["bars"](), alt="Two bars.")
    assert capsys.readouterr().out == "Figure: Two bars.\n"
    with pytest.raises(InputError, match="needs words"):
        style.show(Figure())
    with pytest.raises(InputError, match="takes a matplotlib Figure"):
        style.show("no figure")


def test_words_are_escaped():
    assert "&lt;b&gt;" in style.words("<b>")["text/html"]


def test_save_writes_both_formats_and_fails_in_words(tmp_path):
    figure = FIGURES["bars"]()
    style.save(figure, tmp_path / "a.png")
    style.save(figure, tmp_path / "a.jpg")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG" and (tmp_path / "a.jpg").read_bytes()[:2] == b"\xff\xd8"
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot write"):
        style.save(figure, tmp_path / "file" / "a.png")


def luminance(colour):
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def seen_without_red(colour):
    """The colour as somebody without long-wave (protanopia) cones sees it (Vienot, Brettel & Mollon 1999)."""
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]) ** 2.2
    to_lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    long, medium, short = to_lms @ values
    return np.linalg.solve(to_lms, [2.02344 * medium - 2.52581 * short, medium, short]).clip(0, 1) ** (1 / 2.2)


def test_colours_differ_for_colour_blind_readers_and_text_is_readable():
    def nearest(palette):
        seen = [seen_without_red(colour) for colour in palette]
        return min(np.linalg.norm(one - other) for index, one in enumerate(seen) for other in seen[index + 1 :])

    assert nearest(style.PALETTE) > 0.14 > nearest(["#d62728", "#2ca02c", "#8c564b"])  # matplotlib's red, green, brown
    for ink in (style.INK, style.QUIET):
        assert 1.05 / (luminance(ink) + 0.05) > 4.5  # WCAG AA against white
