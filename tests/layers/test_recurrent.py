"""Recurrent layers beside torch's, by definition, and what they do with bad input."""

import pytest
import torch
from torch import nn

from course_lib.authoring.parity.lesson_03_text import recurrent_beside_torch
from course_lib.errors import InputError
from course_lib.layers.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell

KINDS = [("RNN", RNN), ("LSTM", LSTM), ("GRU", GRU)]


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("layers, bidirectional, packed", [(1, False, False), (3, True, True), (2, False, True)])
def test_they_are_torchs(name, layers, bidirectional, packed):
    rows = recurrent_beside_torch(name, layers, bidirectional, packed, seed=3)
    assert {row.what for row in rows} == {"outputs", "last states", "gradients"}
    assert all(row.holds for row in rows), rows


@pytest.mark.parametrize("ours, theirs", [(RNNCell, nn.RNNCell), (LSTMCell, nn.LSTMCell), (GRUCell, nn.GRUCell)])
def test_cells_are_torchs(ours, theirs):
    torch.manual_seed(0)
    mine, reference = ours(5, 7), theirs(5, 7)
    mine.load_state_dict(reference.state_dict())
    inputs, state = torch.randn(3, 5), tuple(torch.randn(3, 7) for _ in range(ours.states))
    wanted = reference(inputs, state if ours.states > 1 else state[0])
    wanted = wanted if ours.states > 1 else (wanted,)
    for got, other in zip(mine(inputs, state), wanted, strict=True):
        torch.testing.assert_close(got, other)


@pytest.mark.parametrize("name, kind", KINDS)
def test_a_sequence_in_two_parts_is_one_sequence(name, kind):
    torch.manual_seed(0)
    model, inputs = kind(4, 6, layers=2), torch.randn(3, 9, 4)
    outputs, end = model(inputs)
    first, middle = model(inputs[:, :5])
    second, last = model(inputs[:, 5:], middle)
    torch.testing.assert_close(torch.cat([first, second], dim=1), outputs)
    for got, wanted in zip(last, end, strict=True):
        torch.testing.assert_close(got, wanted)


def test_what_is_beyond_a_length_changes_nothing():
    torch.manual_seed(0)
    model, inputs, lengths = LSTM(4, 6, 2, bidirectional=True), torch.randn(3, 9, 4), torch.tensor([9, 4, 1])
    outputs, (hidden, _) = model(inputs, lengths=lengths)
    inputs[1, 4:], inputs[2, 1:] = 100, -100
    changed, (after, _) = model(inputs, lengths=lengths)
    assert torch.equal(outputs, changed) and torch.equal(hidden, after)
    assert (outputs[1, 4:] == 0).all() and (outputs[1, :4] != 0).any()


def test_dropout_lies_between_layers_while_training():
    torch.manual_seed(0)
    inputs = torch.randn(2, 5, 4)
    one, two = GRU(4, 6, 1, dropout=0.5), GRU(4, 6, 2, dropout=0.5)
    assert torch.equal(one(inputs)[0], one(inputs)[0])
    assert not torch.equal(two(inputs)[0], two(inputs)[0])
    two.eval()
    assert torch.equal(two(inputs)[0], two(inputs)[0])


def test_bad_input():
    model = LSTM(4, 6)
    with pytest.raises(InputError, match=r"shape \(2, 3, 5\); they should be \(B, T, 4\)"):
        model(torch.zeros(2, 3, 5))
    with pytest.raises(InputError, match="lengths should be 2 numbers from 1 to 3"):
        model(torch.zeros(2, 3, 4), lengths=torch.tensor([0, 3]))
    with pytest.raises(InputError, match=r"it should be 2 of \(1, 2, 6\)"):
        model(torch.zeros(2, 3, 4), torch.zeros(1, 2, 6))
