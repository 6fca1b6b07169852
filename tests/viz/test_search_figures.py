import builtins

import pytest
import torch

from course_lib.errors import InputError
from course_lib.viz import search
from course_lib.viz.style import bundle

POINTS = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))


def told(figure) -> str:
    return bundle(figure)[0]["text/plain"]


def test_ranked_lists_say_where_the_right_answers_stand():
    text = told(search.ranked_lists({"A": [True, False, True], "B": [False, False, False]}, title="Lists"))
    assert "A: right at 1, 3" in text and "B: right at no place" in text
    for wrong in ({}, {"A": [True], "B": [True, False]}, {"A": []}):
        with pytest.raises(InputError, match="same length"):
            search.ranked_lists(wrong)


def test_cells_count_what_is_looked_at():
    centres, query = POINTS[:4], torch.zeros(2)
    chosen = (centres - query).norm(dim=1).argsort()[:2]
    inside = torch.isin(torch.cdist(POINTS, centres).argmin(dim=1), chosen).sum()
    assert f"the 2 nearest, which hold {inside} points" in told(search.cells(POINTS, centres, query, 2))
    with pytest.raises(InputError, match="there are 4 cells"):
        search.cells(POINTS, centres, query, 5)


def test_a_walk_says_how_far_it_went():
    links = [[(i + 1) % 40] for i in range(40)]
    assert "takes 2 steps" in told(search.walk(POINTS, links, [0, 1, 2], torch.zeros(2)))
    with pytest.raises(InputError, match="at least one point"):
        search.walk(POINTS, links, [], torch.zeros(2))


def test_recall_and_time_name_every_point():
    text = told(search.recall_and_time({"flat": [(2.0, 1.0, "")], "IVF": [(0.1, 0.5, "1"), (0.2, 0.75, "4")]}))
    assert "flat: 1.00 at 2 ms" in text and "0.50 at 0.1 ms, 0.75 at 0.2 ms" in text
    with pytest.raises(InputError, match="at least one point"):
        search.recall_and_time({"flat": []})


def test_the_text_box_asks_what_is_typed_and_shows_errors(monkeypatch, capsys):
    import IPython.display
    import ipywidgets

    shown, asked = [], []
    monkeypatch.setattr(IPython.display, "display", lambda *what: shown.extend(what))

    def ask(text):
        asked.append(text)
        if text == "bad":
            raise InputError("no such word")

    search.text_box(ask)
    box = next(one for one in shown if isinstance(one, ipywidgets.Text))
    box.value = "a star"
    box.value = "bad"
    assert asked == ["a star", "bad"] and "no such word" in capsys.readouterr().out


def test_without_widgets_there_is_a_sentence(monkeypatch, capsys):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "ipywidgets":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    search.text_box(print)
    assert "no widgets here" in capsys.readouterr().out
