"""The tasks on sequences: their answers are right, their padding is where it says, a seed gives one set."""

import pytest
import torch

from course_lib.data.sequences import END, FIRST_SYMBOL, IGNORED, PAD, START, associative_recall, copying, sorting
from course_lib.errors import InputError


@pytest.mark.parametrize(("task", "answer"), [(copying, list), (sorting, sorted)])
@pytest.mark.parametrize("lengths", [(4, 10), (1, 3), (5, 5)])
def test_answers_are_right_and_end_where_the_sequence_ends(task, answer, lengths):
    data = task(300, symbols=6, lengths=lengths, seed=1)
    seen = set()
    for source, decoder, labels, mask in zip(
        data.input_ids.tolist(),
        data.decoder_input_ids.tolist(),
        data.labels.tolist(),
        data.attention_mask,
        strict=True,
    ):
        length = int(mask.sum())
        symbols = source[:length]
        seen.update(symbols)
        assert lengths[0] <= length <= lengths[1]
        assert source[length:] == [PAD] * (lengths[1] - length)
        wanted = answer(symbols)
        assert decoder == [START, *wanted, *[PAD] * (lengths[1] - length)]
        assert labels == [*wanted, END, *[IGNORED] * (lengths[1] - length)]
    assert seen == set(range(FIRST_SYMBOL, FIRST_SYMBOL + 6))
    assert set(data.attention_mask.sum(1).tolist()) == set(range(lengths[0], lengths[1] + 1))
    assert len(data) == 300


@pytest.mark.parametrize("questions", [1, 3, 5])
def test_what_is_recalled_stood_before_the_key(questions):
    data = associative_recall(500, pairs=5, keys=8, values=7, questions=questions, seed=2)
    assert data.input_ids.shape == (500, 10 + questions) and data.labels.shape == (500, questions) and len(data) == 500
    asked_at = set()
    for ids, labels in zip(data.input_ids.tolist(), data.labels.tolist(), strict=True):
        values, keys, asked = ids[0:10:2], ids[1:10:2], ids[10:]
        assert len(set(keys)) == 5 and set(keys) <= set(range(8)) and set(values) <= set(range(8, 15))
        assert len(set(asked)) == questions
        assert [values[keys.index(key)] for key in asked] == [8 + label for label in labels]
        asked_at.update(keys.index(key) for key in asked)
    assert asked_at == set(range(5))
    assert set(data.labels.flatten().tolist()) == set(range(7))


def test_a_seed_gives_one_set():
    for make in (lambda seed: sorting(50, seed=seed), lambda seed: associative_recall(50, 4, 8, 8, seed=seed)):
        assert torch.equal(make(3).input_ids, make(3).input_ids)
        assert not torch.equal(make(3).input_ids, make(4).input_ids)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: copying(0), "count 0"),
        (lambda: sorting(5, symbols=0), "symbols 0"),
        (lambda: copying(5, lengths=(6, 4)), "in this order"),
        (lambda: sorting(5, lengths=(0, 4)), "1 or more"),
        (lambda: associative_recall(5, pairs=9, keys=8, values=8), "at most keys"),
        (lambda: associative_recall(5, pairs=3, keys=8, values=8, questions=4), "questions at most pairs"),
        (lambda: associative_recall(5, pairs=2, keys=8, values=0), "values 0"),
    ],
)
def test_what_makes_no_sequence_is_named(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()
