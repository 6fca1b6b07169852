"""The photographs, and what is said of them."""

import numpy as np
import pytest

from course_lib.data import photos as module
from course_lib.data.photos import names, photo, photos
from course_lib.errors import InputError, OfflineError


@pytest.fixture(scope="module")
def everything():
    return photos()


def test_all_photographs_come_without_a_network(everything):
    assert [each.name for each in everything] == names()
    assert len(everything) >= 10 and len({each.label for each in everything}) == len(everything)
    for each in everything:
        assert each.image.mode == "RGB" and np.asarray(each.image).std() > 5


def test_annotations_are_whole(everything):
    for each in everything:
        assert len(each.captions) >= 3 and len(set(each.captions)) == len(each.captions)
        assert all(caption[0].isupper() and caption.endswith(".") for caption in each.captions)
        assert len(each.questions) >= 4 and each.source and each.licence
        for question, answer, kind in each.questions:
            assert question.endswith("?") and answer
            assert kind in {"object", "colour", "count", "yes/no", "where", "read"}
            if kind == "yes/no":
                assert answer in ("yes", "no")
            if kind == "count":
                assert answer.isdigit()
    answers = [answer for each in everything for _, answer, kind in each.questions if kind == "yes/no"]
    assert 0 < answers.count("yes") < len(answers)


def test_boxes_lie_in_the_picture_and_hold_something(everything):
    for each in everything:
        assert each.boxes
        for what, (left, top, right, bottom) in each.boxes:
            assert 0 <= left < right <= each.image.width and 0 <= top < bottom <= each.image.height, (each.name, what)
            assert (right - left) * (bottom - top) >= 400


def test_some_boxes_are_where_their_colour_is():
    """Boxes were drawn and looked at; these pixels hold two of them in place."""
    astronaut = np.asarray(photo("astronaut").image).astype(int)
    (left, top, right, bottom) = dict(photo("astronaut").boxes)["mission patch"]
    patch = astronaut[top:bottom, left:right].reshape(-1, 3).mean(0)
    around = astronaut[top:bottom, left - 40 : left].reshape(-1, 3).mean(0)
    assert patch[2] > around[2] + 30  # a blue patch on an orange suit
    flower = np.asarray(photo("flower").image).astype(int)
    orange = (flower[:, :, 0] > 200) & (flower[:, :, 2] < 150)
    columns, rows = np.nonzero(orange[:365].sum(0) > 8)[0], np.nonzero(orange[:365].sum(1) > 8)[0]
    left, top, right, bottom = dict(photo("flower").boxes)["flower"]
    assert abs(columns.min() - left) < 15 and abs(columns.max() - right) < 15
    assert abs(rows.min() - top) < 15 and abs(rows.max() - bottom) < 15


def test_wanted_names_set_the_order():
    assert [each.name for each in photos(["moon", "cat"])] == ["moon", "cat"]
    with pytest.raises(InputError, match="no photograph 'dog'; there are astronaut"):
        photos(["dog"])


def test_a_package_without_the_picture_says_what_to_do(monkeypatch):
    import skimage.data

    def not_there():
        raise ModuleNotFoundError("No module named 'pooch'")

    monkeypatch.setattr(skimage.data, "moon", not_there)
    with pytest.raises(OfflineError, match="does not bring the photograph 'moon' along"):
        module.photo("moon")
