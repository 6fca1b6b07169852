"""The figures of lesson 02 are drawn, say in words what they show, and refuse what they cannot draw."""

import numpy as np
import pytest
import torch

from course_lib.encoders.efficientnet import EfficientNet, EfficientNetConfig
from course_lib.encoders.swin import Swin, SwinConfig
from course_lib.errors import InputError
from course_lib.viz import pictures, style
from course_lib.viz.trace import trace

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 255, (32, 32, 3), dtype=np.uint8)
MASK = np.zeros((32, 32), bool)
MASK[4:12, 6:20] = True

FIGURES = {
    "pixels": lambda: pictures.pixels(IMAGE, (3, 5), 4),
    "filters": lambda: pictures.filters(IMAGE, {"a": torch.eye(3), "b": -torch.eye(3)}, RANDOM.normal(size=(2, 8, 8))),
    "receptive_fields": lambda: pictures.receptive_fields(
        IMAGE, RANDOM.random((2, 32, 32)), [(1, 1, 5, 5), (-3, -3, 40, 40)], ["3 x 3", "all"]
    ),
    "patches": lambda: pictures.patches(IMAGE, 8),
    "windows": lambda: pictures.windows(8, 4, 2),
    "masks_over": lambda: pictures.masks_over([IMAGE] * 2, [[MASK, ~MASK], [np.zeros_like(MASK)]], [["a", "b"], ["c"]]),
    "overlaps": lambda: pictures.overlaps([((0, 0, 0.5, 0.5), (0.2, 0.2, 0.9, 0.9))] * 2, ["x", "y"]),
    "assignment": lambda: pictures.assignment([[1.0, 2.0], [0.5, 3.0]], [(1, 0)], ["p", "q"], ["r", "s"]),
    "sampled": lambda: pictures.sampled(RANDOM.random((4, 4)), (0.5, 0.5, 2.5, 3), torch.rand(2, 2, 2)),
    "budget": lambda: pictures.budget({"a": (3, 0.9, 80_000), "b": (9, 0.3, 60_000)}, chance=0.125),
}


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_is_drawn_and_described(name):
    figure = FIGURES[name]()
    kind, content = style.encode(figure)
    assert kind.startswith("image/") and len(content) > 1000
    assert len(figure.get_label()) > 40


def test_a_field_is_hotter_where_the_gradient_is_larger():
    heat = np.zeros((1, 32, 32))
    heat[0, 10, 10], heat[0, 20, 20] = 1.0, 0.25
    (drawn,) = pictures.receptive_fields(np.full_like(IMAGE, 255), heat, [(0, 0, 32, 32)]).axes[0].get_images()
    light = np.asarray(drawn.get_array()).sum(axis=2)
    assert light[10, 10] < light[20, 20] < light[0, 0]


def test_rolled_windows_hold_what_the_shift_brings_together():
    rolled = pictures.windows(4, 2, 1).axes[2]
    letters = [text.get_text() for text in rolled.texts]
    whole = ["E", "E", "F", "D"] * 2 + ["H", "H", "I", "G", "B", "B", "C", "A"]
    assert letters == whole  # the middle window is whole; the last one joins the four corners


def test_a_diagram_opens_stages_and_says_what_leaves_each():
    swin = Swin(SwinConfig(2, width=8, layers=(1, 2), heads=(1, 2), window=4))
    boxes = {box.name: box for box in trace(swin, torch.zeros(2, 3, 16, 16))}
    assert boxes["stage 1"].shape == (2, 8, 8, 8) and boxes["stage 2"].shape == (2, 4, 4, 16)
    assert boxes["stage 2"].what == "PatchMerging, 2 × SwinBlock"
    blocks = EfficientNetConfig(
        1.0, 1.0, stem_channels=8, repeats=(1, 1), in_channels=(8, 8), out_channels=(8, 16), strides=(1, 2)
    )
    boxes = {box.name: box for box in trace(EfficientNet(blocks), torch.zeros(2, 3, 16, 16))}
    assert boxes["blocks"].shape == (2, 16, 4, 4)  # what the last block gives, not the first


@pytest.mark.parametrize(
    ("draw", "sentence"),
    [
        (lambda: pictures.pixels(IMAGE, (30, 0), 6), "reach beyond"),
        (lambda: pictures.patches(IMAGE, 5), "do not tile"),
        (lambda: pictures.windows(8, 4, 4), "shift below 4"),
        (lambda: pictures.filters(IMAGE, {"a": torch.eye(3)}, np.ones((2, 4, 4))), "maps has 2 entries"),
        (lambda: pictures.budget({}), "no model"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, sentence):
    with pytest.raises(InputError, match=sentence):
        draw()
