"""What word vectors of the microworld know: thresholds that the lowest of ten seeds passes with room to spare."""

from dataclasses import replace

import pytest
import torch

from course_lib.data.microworld import COLOURS
from course_lib.models.recipes import words as recipes
from course_lib.models.word_vectors import Corpus, WordVectors

TRAINERS = {
    "skip-gram": recipes.train_skip_gram,
    "CBOW": recipes.train_cbow,
    "GloVe": recipes.train_glove,
    "FastText": recipes.train_fasttext,
}


def test_texts_are_the_microworlds():
    texts = recipes.word_texts(20, seed=3)
    assert texts == recipes.word_texts(20, seed=3) != recipes.word_texts(20, seed=4)
    assert any(text.startswith("is there") and text.split()[-1] in ("yes", "no") for text in texts)
    for pairs in recipes.RELATIONS.values():
        assert len(set(pairs)) == len(pairs) >= 7


@pytest.mark.parametrize("name", TRAINERS)
def test_the_same_seed_gives_the_same_vectors(name):
    corpus = Corpus(recipes.word_texts(20))
    few = replace(recipes.WORDS, steps=3, batch_size=64, warmup_steps=1)
    one, two, other = (TRAINERS[name](corpus, 8, seed, few)[0].vectors() for seed in (0, 0, 1))
    assert one.shape == (len(corpus.words), 8) and torch.equal(one, two) and not torch.equal(one, other)


@pytest.mark.slow
def test_what_holds():
    corpus = Corpus(recipes.word_texts())
    assert set(corpus.words) >= {word for pairs in recipes.RELATIONS.values() for pair in pairs for word in pair}
    plurals = {}
    for name, trained in TRAINERS.items():
        vectors = WordVectors(corpus.words, trained(corpus)[0].vectors())
        scores = {
            relation: recipes.measure_analogies(vectors, recipes.analogies(pairs))
            for relation, pairs in recipes.RELATIONS.items()
        }
        assert vectors.analogy("left", "right", "above", 1)[0][0] == "below"
        assert vectors.analogy("small", "little", "large", 1)[0][0] == "big"
        assert {word for word, _ in vectors.nearest("red", 3)} <= set(COLOURS)
        # Other words for the same thing need the arithmetic; opposites do as well without.
        other, opposites = scores["usual and other word"], scores["opposites"]
        assert other["b - a + c"] > other["c alone"] + 0.1
        assert opposites["c alone"] > 0.65
        plurals[name] = scores["one and many"]["b - a + c"]
        assert scores["one and many"]["c alone"] < 0.05
    assert plurals["FastText"] > 0.25 and plurals["FastText"] > max(plurals["skip-gram"], plurals["CBOW"])
