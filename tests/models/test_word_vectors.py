"""Word vectors: losses beside the formulas written out in loops, gradients derived by hand, corpus counts by hand."""

import math

import pytest
import torch

from course_lib.errors import InputError
from course_lib.models.recipes.words import analogies, measure_analogies
from course_lib.models.word_vectors import CBOW, Corpus, FastText, GloVe, SkipGram, WordVectors, ngrams, row_of

CENTRES, CONTEXTS, NEGATIVES = torch.tensor([0, 3, 2]), torch.tensor([1, 1, 4]), torch.tensor([[4, 5], [0, 3], [4, 4]])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def loops(centre: list[list[float]], context: list[list[float]]) -> float:
    """Equation 4 of Mikolov et al., in loops over plain numbers; centre is one vector for each of the three rows."""
    total = 0.0
    for row, vector in enumerate(centre):
        for word, sign in [(CONTEXTS[row], 1), *((word, -1) for word in NEGATIVES[row])]:
            total -= math.log(sigmoid(sign * sum(a * b for a, b in zip(vector, context[word], strict=True))))
    return total / len(centre)


def test_skip_gram_is_its_formula():
    torch.manual_seed(0)
    model = SkipGram(6, 4).double()
    torch.nn.init.normal_(model.centre.weight)
    torch.nn.init.normal_(model.context.weight)
    wanted = loops(model.centre.weight[CENTRES].tolist(), model.context.weight.tolist())
    assert model(CENTRES, CONTEXTS, NEGATIVES).item() == pytest.approx(wanted)


def test_skip_grams_gradient_is_that_derived_by_hand():
    torch.manual_seed(0)
    model = SkipGram(6, 4).double()
    model(CENTRES, CONTEXTS, NEGATIVES).backward()
    v, u = model.centre.weight.detach(), model.context.weight.detach()
    of_v, of_u = torch.zeros_like(v), torch.zeros_like(u)
    for row, c in enumerate(CENTRES.tolist()):
        for word, label in [(CONTEXTS[row].item(), 1.0), *((n, 0.0) for n in NEGATIVES[row].tolist())]:
            error = (torch.sigmoid(v[c] @ u[word]) - label) / len(CENTRES)
            of_v[c] += error * u[word]
            of_u[word] += error * v[c]
    torch.testing.assert_close(model.centre.weight.grad, of_v)
    torch.testing.assert_close(model.context.weight.grad, of_u)


def test_cbow_is_its_formula():
    torch.manual_seed(0)
    model = CBOW(6, 4).double()
    neighbours = torch.tensor([[1, 2, 0], [4, 4, 5], [3, 0, 0]])
    there = torch.tensor([[True, True, False], [True, True, True], [False, True, False]])
    means = [
        model.centre.weight[[word for word, real in zip(words, reals, strict=True) if real]].mean(0).tolist()
        for words, reals in zip(neighbours.tolist(), there.tolist(), strict=True)
    ]
    wanted = loops(means, model.context.weight.tolist())
    assert model(neighbours, there, CONTEXTS, NEGATIVES).item() == pytest.approx(wanted)


WORDS = ("red", "star", "stars", "a", "of", "on")


def test_fasttext_is_its_formula():
    torch.manual_seed(0)
    model = FastText(WORDS, 4, buckets=50).double()
    torch.nn.init.normal_(model.ngram.weight)
    with torch.no_grad():
        model.ngram.weight[50] = 0  # the row that fills up
    vectors = []
    for index, word in enumerate(WORDS):
        total = model.word.weight[index].clone()
        for ngram in ngrams(word):
            total += model.ngram.weight[row_of(ngram, 50)]
        vectors.append(total.tolist())
    wanted = loops([vectors[index] for index in CENTRES.tolist()], model.context.weight.tolist())
    assert model(CENTRES, CONTEXTS, NEGATIVES).item() == pytest.approx(wanted)
    torch.testing.assert_close(model.vectors(), torch.tensor(vectors, dtype=torch.float64))


def test_ngrams_and_their_hash():
    assert ngrams("where", (3, 3)) == ["<wh", "whe", "her", "ere", "re>"], "the example of Bojanowski et al."
    assert ngrams("red") == ["<re", "red", "ed>", "<red", "red>"] and ngrams("a") == []
    # Published test values of 32-bit FNV-1a.
    assert [row_of(text, 2**32) for text in ("", "a", "foobar")] == [0x811C9DC5, 0xE40C292C, 0xBF9CF968]


def test_fasttext_has_vectors_for_words_it_never_met():
    model = FastText(WORDS, 4)
    torch.nn.init.normal_(model.ngram.weight)
    unseen = model.vector("starry")
    shared = set(ngrams("starry")) & set(ngrams("stars"))
    assert unseen.shape == (4,) and len(shared) >= 4
    with pytest.raises(InputError, match="'x' is unknown"):
        model.vector("x")


def test_glove_is_its_formula():
    torch.manual_seed(0)
    model = GloVe(5, 3, most=10.0).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    words, others, counts = torch.tensor([0, 1, 4]), torch.tensor([2, 2, 4]), torch.tensor([0.5, 4.0, 30.0]).double()
    total = 0.0
    for i, j, x in zip(words.tolist(), others.tolist(), counts.tolist(), strict=True):
        product = sum(a * b for a, b in zip(model.word.weight[i].tolist(), model.other.weight[j].tolist(), strict=True))
        biases = model.word_bias.weight[i].item() + model.other_bias.weight[j].item()
        total += min(1.0, (x / 10) ** 0.75) * (product + biases - math.log(x)) ** 2
    assert model(words, others, counts).item() == pytest.approx(total / 3)
    torch.testing.assert_close(model.vectors(), (model.word.weight + model.other.weight).detach())


TEXTS = ["a red star", "a red ring of a star", "blue"]


def test_windows_stay_within_a_text():
    corpus = Corpus(TEXTS)
    assert corpus.words[0] == "a" and corpus.counts.tolist()[0] == 3 and len(corpus.tokens) == 10
    wanted = []
    for text in TEXTS:
        words = text.split()
        for i, word in enumerate(words):
            wanted += [(word, words[j]) for j in range(len(words)) if 0 < abs(i - j) <= 2]
    got = [(corpus.words[a], corpus.words[b]) for a, b in corpus.pairs(2).tolist()]
    assert sorted(got) == sorted(wanted)
    nearer = corpus.pairs(2, torch.Generator().manual_seed(0))
    assert {tuple(pair) for pair in nearer.tolist()} <= {tuple(pair) for pair in corpus.pairs(2).tolist()}
    assert len(nearer) < len(got)


def test_cooccurrences_count_nearness():
    corpus = Corpus(TEXTS)
    counts = corpus.cooccurrences(2)
    place = corpus.ids
    assert counts[place["a"], place["red"]] == 2 and counts[place["red"], place["star"]] == 1
    assert counts[place["a"], place["star"]] == 0.5 + 1 and torch.equal(counts, counts.T)
    assert counts[place["blue"]].sum() == 0


def test_draws():
    corpus = Corpus(["a " * 1000 + "b " * 10])
    drawn = corpus.negatives((50, 400), torch.Generator().manual_seed(0))
    share = (drawn == corpus.ids["b"]).float().mean().item()
    assert share == pytest.approx(10**0.75 / (10**0.75 + 1000**0.75), rel=0.15)
    fewer = corpus.subsampled(0.01, torch.Generator().manual_seed(0))
    assert (fewer.tokens == corpus.ids["b"]).sum() == 10, "a word of 1 % stays"
    assert (fewer.tokens == corpus.ids["a"]).sum().item() == pytest.approx(100, rel=0.3), "one of 99 % mostly goes"


def test_neighbours_and_analogies():
    vectors = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1], [-1, 0, 0.2]])
    table = WordVectors(("king", "queen", "man", "woman", "stone"), vectors)
    assert table.nearest("king", 1) == [("queen", pytest.approx(0.5**0.5))]
    assert table.analogy("king", "queen", "man", 1)[0][0] == "woman"
    assert "king" in table and "prince" not in table
    assert analogies([("a", "b"), ("c", "d")]) == [("a", "b", "c", "d"), ("c", "d", "a", "b")]
    scores = measure_analogies(table, [("king", "queen", "man", "woman"), ("king", "queen", "man", "stone")])
    assert scores["b - a + c"] == 0.5


def test_bad_input():
    with pytest.raises(InputError, match="at least two different words"):
        Corpus(["a a a"])
    table = WordVectors(("a", "b"), torch.eye(2))
    with pytest.raises(InputError, match="no vector of 'c'"):
        table.nearest("c")
    with pytest.raises(InputError, match="there are 3 words"):
        WordVectors(("a", "b", "c"), torch.eye(2))
    with pytest.raises(InputError, match="no analogy"):
        measure_analogies(table, [])
