"""Exercise set 03: its references are torch's, tokenizers' and the library's, and what it calls right is true."""

import math

import pytest
import torch
from torch import nn

from course_lib.data.tokenizers import byte_pair
from course_lib.layers.attention import GroupedQueryAttention
from course_lib.models.ngram import KneserNey, NGram
from course_lib.practice.asking import ask
from course_lib.practice.exercise import exercise, held_back
from course_lib.practice.lesson_03 import answers
from course_lib.practice.lesson_03.exercises import LSTM, normal
from course_lib.practice.lesson_03.figures import ORDERS, TEMPERATURES, perplexities, texts, three_temperatures


def test_the_merges_asked_for_are_the_librarys_where_nothing_is_tied():
    """The library's are those of `tokenizers`, which settles ties by age; here no two pairs are equally frequent."""
    counts = {"lower": 10, "lowest": 21, "newer": 43, "new": 90, "slow": 5}
    words = {tuple(word): count for word, count in counts.items()}
    symbols = sorted({letter for word in counts for letter in word})
    theirs = byte_pair.learn_merges(words, symbols, len(symbols) + 5, min_count=1)
    assert exercise("03.3").reference(counts, 5) == theirs


def test_the_memory_asked_for_is_torchs_lstm():
    torch.manual_seed(0)
    theirs = nn.LSTM(5, 7, batch_first=True)
    ours, solution = LSTM(5, 7), answers.Memory(5, 7)
    state = {
        "from_input.weight": theirs.weight_ih_l0,
        "from_input.bias": theirs.bias_ih_l0 + theirs.bias_hh_l0,
        "from_state.weight": theirs.weight_hh_l0,
    }
    inputs = torch.randn(3, 9, 5)
    states, (_, memory) = theirs(inputs)
    for module in (ours, solution):
        module.load_state_dict(state)
        found = module(inputs)
        torch.testing.assert_close(found[0], states)
        torch.testing.assert_close(found[1], memory[0])


def test_the_attention_asked_for_is_the_librarys_without_rotations():
    torch.manual_seed(1)
    theirs = GroupedQueryAttention(12, 6, 2)
    ours = exercise("03.6").reference(12, 6, 2)
    query, key, value = theirs.qkv.weight.split((12, 4, 4))
    ours.load_state_dict(
        {"q_proj.weight": query, "k_proj.weight": key, "v_proj.weight": value, "o_proj.weight": theirs.out.weight}
    )
    x = torch.randn(2, 5, 12)
    still = torch.ones(5, 2), torch.zeros(5, 2)  # cosines and sines of no rotation
    expected = theirs(x, still)
    empty = torch.zeros(2, 2, 0, 2)
    whole, keys, values = ours(x, empty, empty)
    torch.testing.assert_close(whole, expected)
    first, *past = ours(x[:, :3], empty, empty)
    second, *_ = ours(x[:, 3:], *past)
    torch.testing.assert_close(torch.cat([first, second], dim=1), expected)


def test_beam_search_finds_the_best_text_where_it_keeps_them_all():
    """With as many beams as there are texts it is exact: compared with trying them one by one."""
    one = exercise("03.7")
    (case,) = [case for case in held_back(one, 0) if "penalty of 1" in case.about]
    model = case.inputs["log_probabilities"].build()
    best = (-math.inf, [])

    def try_all(tokens: list[int], total: float) -> None:
        nonlocal best
        if tokens and (tokens[-1] == 1 or len(tokens) == 3):
            best = max(best, (total / len(tokens), tokens))
            return
        for token, score in enumerate(model([[0, *tokens]])[0].tolist()):
            try_all([*tokens, token], total + score)

    try_all([], 0.0)
    tokens, score = one.reference(model, 0, 1, 10_000, 3, 1.0)
    assert tokens == best[1] and score == pytest.approx(best[0])


def test_one_beam_is_greedy():
    one = exercise("03.7")
    (case,) = [case for case in held_back(one, 0) if case.about == "one beam"]
    assert ask(one.reference, one.question(case)).value == ask(answers.search_greedy, one.question(case)).value


def test_a_perplexity_of_even_logits_is_the_number_of_tokens():
    found = exercise("03.1").reference(torch.zeros(2, 4, 11), torch.ones(2, 4, dtype=torch.long), torch.ones(2, 4))
    assert found.item() == pytest.approx(11, abs=1e-4)


def test_a_nucleus_is_the_smallest_that_has_enough():
    logits = normal(3, 50, 20)
    whole, kept = logits.softmax(-1), exercise("03.5").reference(logits, 1.0, 0.8)
    inside = (whole * (kept > 0)).sum(-1)
    smallest = whole.masked_fill(kept == 0, 2.0).amin(-1)
    assert (inside >= 0.8).all() and (inside - smallest < 0.8).all()


def test_the_choices_are_true():
    """What exercise 03.2 calls right is computed here."""
    assert TEMPERATURES == {"A": 2.0, "B": 0.5, "C": 1.0}
    tops = {name: max(found) for name, found in three_temperatures().items()}
    assert tops["B"] > tops["C"] > tops["A"]

    counted, others = perplexities()
    assert counted == sorted(counted, reverse=True)
    assert ORDERS[others.index(min(others))] == 3 and others[-1] > 4 * min(others)
    assert counted[0] == pytest.approx(others[0], rel=0.05)  # no unknown words

    seen, other = texts(300, 1), texts(300, 2)
    ids = {word: index for index, word in enumerate(sorted({word for text in (*seen, *other) for word in text}))}
    seen, other = ([[ids[word] for word in text] for text in part] for part in (seen, other))
    groups = {tuple(text[i : i + 5]) for text in seen for i in range(len(text) - 4)}
    asked = [tuple(text[i : i + 5]) for text in other for i in range(len(text) - 4)]
    assert sum(group not in groups for group in asked) > len(asked) / 3  # "many"

    def measured(model) -> float:
        losses = [
            -math.log(model.probabilities(model.context(text[:place]))[text[place]])
            for text in other
            for place in range(1, len(text))
        ]
        return math.exp(sum(losses) / len(losses))

    plain = measured(NGram(6, len(ids)).fit(seen))
    assert measured(KneserNey(6, len(ids)).fit(seen)) < plain / 2
    assert measured(NGram(6, len(ids), k=1.0).fit(seen)) > plain
    assert measured(NGram(7, len(ids)).fit(seen)) > plain

    assert 20 < 5**2
    numbers = 2 * 32 * 8 * 128 * 8192
    assert [2 * numbers // 32, numbers, 2 * numbers, 8 * numbers] == [33_554_432, 536_870_912, 1_073_741_824, 4 * 2**30]
