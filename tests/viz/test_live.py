"""The live curve: silent in a terminal, one figure in a notebook."""

import nbclient
import nbformat
import numpy as np
import pytest

from course_lib.errors import InputError
from course_lib.viz.live import LiveCurve, smooth


def test_smoothing_starts_at_the_first_value_and_keeps_a_constant():
    assert np.allclose(smooth([5, 5, 5]), 5)
    values = smooth([4.0, 0.0, 0.0])
    assert values[0] == pytest.approx(4) and values[0] > values[1] > values[2] > 0


def test_it_collects_what_the_loop_says_and_draws_it(capsys):
    with LiveCurve("Run", total=10, chance=2.0) as live:
        for step in range(5):
            live.update(step, 2 - step / 10, 1e-3)
        live.update(5, 1.0, 1e-3, recall=0.5)
    assert capsys.readouterr().out == ""
    figure = live.figure()
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["recall"]
    assert live.measures == {"recall": ([5], [0.5])}
    live.update(6, 1.0)  # a step without a rate: the rates are left out, the rest stays
    assert len(live.figure().axes) == 2


def test_nothing_to_draw_is_an_error_in_words():
    with pytest.raises(InputError, match="one at least"):
        LiveCurve().figure()


@pytest.mark.slow
def test_a_notebook_keeps_one_finished_figure():
    code = """
from course_lib.viz.live import LiveCurve
import time
with LiveCurve("Run", alt="A falling loss.") as live:
    live._next = 0
    for step in range(40):
        live.update(step, 1 / (step + 1), 1e-3)
        live._next = 0
drawn = live._handle is not None
assert drawn
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook).execute()
    image, words = notebook.cells[0].outputs
    assert image.data["text/plain"] == "Figure: A falling loss."
    assert {"image/png", "image/jpeg"} & set(image.data)
    assert "A falling loss." in words.data["text/html"]
