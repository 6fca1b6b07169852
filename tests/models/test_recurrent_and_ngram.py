"""The language models before the transformer: what they compute, by the formula written out another way."""

import math

import pytest
import torch

from course_lib.errors import InputError
from course_lib.generation import beam_search, greedy
from course_lib.models.ngram import KneserNey, NGram
from course_lib.models.recurrent import RecurrentDecoding, RecurrentLM, RecurrentLMConfig


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_token_by_token_is_all_at_once(cell):
    torch.manual_seed(0)
    model = RecurrentLM(RecurrentLMConfig(20, width=16, layers=2, cell=cell)).eval()
    input_ids, cache = torch.randint(20, (3, 8)), RecurrentDecoding(model)
    logits = model(input_ids)
    steps = [model(input_ids[:, [place]], cache=cache) for place in range(8)]
    assert logits.shape == (3, 8, 20)
    torch.testing.assert_close(torch.cat(steps, dim=1), logits)
    cache.reorder(torch.tensor([2, 2, 0]))
    after = model(torch.tensor([[1], [2], [3]]), cache=cache)
    wanted = model(torch.cat([input_ids[[2, 2, 0]], torch.tensor([[1], [2], [3]])], dim=1))[:, -1:]
    torch.testing.assert_close(after, wanted)


def test_a_recurrent_model_learns_what_follows():
    torch.manual_seed(0)
    model = RecurrentLM(RecurrentLMConfig(6, width=16))
    input_ids = torch.tensor([[0, 1, 2, 3, 0, 4, 2, 5]])  # after 2 comes what depends on the token before it
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model(input_ids)[0, :-1], input_ids[0, 1:])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    said = model(input_ids).argmax(-1)[0]
    assert said[2] == 3 and said[6] == 5


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_recurrent_model_writes(cell):
    torch.manual_seed(0)
    model = RecurrentLM(RecurrentLMConfig(20, width=16, cell=cell)).eval()
    written = prompt = torch.randint(20, (3, 4))
    for _ in range(6):
        written = torch.cat([written, model(written)[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(greedy(RecurrentDecoding(model), prompt, max_new_tokens=6), written)
    # As many beams as there are words: of two tokens, none is lost, so the best of all 400 is found.
    best = beam_search(RecurrentDecoding(model), prompt, max_new_tokens=2, beams=20)
    first = model(prompt)[:, -1].log_softmax(-1)
    for row in range(3):
        after = torch.cat([prompt[row].expand(20, 4), torch.arange(20)[:, None]], dim=1)
        both = first[row][:, None] + model(after)[:, -1].log_softmax(-1)
        assert best[row, 4:].tolist() == list(divmod(both.argmax().item(), 20))


def test_a_recurrent_model_says_what_is_wrong():
    with pytest.raises(InputError, match="there is no cell 'lstn'"):
        RecurrentLM(RecurrentLMConfig(6, cell="lstn"))
    with pytest.raises(InputError, match="ids"):
        RecurrentLM(RecurrentLMConfig(6))(torch.tensor([[7]]))


SEQUENCES = [[0, 1, 2, 3], [0, 1, 2, 4, 2, 3], [0, 5, 2, 4, 1, 2, 3, 3], [0, 1, 2, 3]]


def test_add_k_is_its_formula():
    model = NGram(3, 7, k=0.5).fit(SEQUENCES)
    triples = [tuple(s[i - 2 : i + 1]) for s in SEQUENCES for i in range(2, len(s))]
    for a, b, w in [(1, 2, 3), (1, 2, 4), (1, 2, 6), (6, 6, 1)]:
        seen = sum(triple[:2] == (a, b) for triple in triples)
        assert model.probabilities((a, b))[w] == pytest.approx((triples.count((a, b, w)) + 0.5) / (seen + 0.5 * 7))


def kneser_ney(sequences: list[list[int]], order: int, size: int, d: float, context: tuple, word: int) -> float:
    """The textbook's recursion over lists of n-grams, for contexts that are wholly inside a sequence or padded."""
    padded = [[-1] * (order - 2) + s if order > 2 else list(s) for s in sequences]
    grams = [tuple(s[i - order + 1 : i + 1]) for s in padded for i in range(order - 1, len(s))]
    tables = {order: grams}
    for length in range(order - 1, 0, -1):
        tables[length] = [gram[1:] for gram in sorted(set(tables[length + 1]))]

    def probability(context: tuple, word: int) -> float:
        table = tables[len(context) + 1]
        shorter = probability(context[1:], word) if context else 1 / size
        here = [gram for gram in table if gram[:-1] == context]
        if not here:
            return shorter
        kinds = len(set(here))
        return max(here.count((*context, word)) - d, 0) / len(here) + d * kinds / len(here) * shorter

    return probability(context, word)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_kneser_ney_is_its_formula(order):
    model = KneserNey(order, 7, discount=0.6).fit(SEQUENCES)
    for sequence in [*SEQUENCES, [0, 6, 6, 1, 2, 3]]:
        logits = model(torch.tensor([sequence]))[0]
        for place in range(1, len(sequence)):
            context = model.context(sequence[:place])
            wanted = kneser_ney(SEQUENCES, order, 7, 0.6, context, sequence[place])
            assert logits[place - 1, sequence[place]].exp().item() == pytest.approx(wanted, rel=1e-5)


def test_probabilities_are_probabilities():
    for model in (NGram(2, 7), KneserNey(1, 7), KneserNey(3, 7), KneserNey(5, 7, 0.75)):
        logits = model.fit(SEQUENCES)(torch.randint(7, (4, 6)))
        torch.testing.assert_close(logits.logsumexp(-1), torch.zeros(4, 6), atol=1e-5, rtol=0)


def test_a_frequent_word_with_one_predecessor_is_unlikely_elsewhere():
    # 3 is as frequent as 4, always after 2; 4 comes after many.
    sequences = [[0, 2, 3]] * 6 + [[0, a, 4] for a in (1, 2, 3, 5, 6, 4)]
    model = KneserNey(2, 8, discount=0.5).fit(sequences)
    never_seen = model.probabilities((7,))
    assert never_seen[4] > 3 * never_seen[3]


def test_padding_is_not_counted():
    rows = torch.tensor([[4, 1, 2, 5, 0, 0], [4, 2, 1, 2, 5, 0]])
    model = KneserNey(2, 6).fit(rows, ignore=0)
    assert 0 not in {w for after in model.counts.values() for w in after} and (0,) not in model.counts
    assert model.fit(rows, ignore=0).counts[(4,)].total() == 4, "fitting again adds"


def test_counting_models_say_what_is_wrong():
    with pytest.raises(InputError, match="k is 0"):
        NGram(2, 5, k=0)
    with pytest.raises(InputError, match="order is 0"):
        KneserNey(0, 5)
    with pytest.raises(InputError, match="discount is 1"):
        KneserNey(2, 5, 1)
    with pytest.raises(InputError, match="the ids are 0 to 9"):
        NGram(2, 5).fit([[0, 9]])
    with pytest.raises(InputError, match="counted nothing"):
        KneserNey(2, 5)(torch.tensor([[1]]))
    assert math.isfinite(NGram(2, 5)(torch.tensor([[1]])).sum())
