"""How lesson 03's word vectors are trained, on what the microworld says, and which analogies they are asked.

An analogy asks twice: for the words nearest to b - a + c, and, as its baseline, for the words nearest to c alone. Where
both are right, the vectors of a and b had nothing to say (Linzen, Issues in evaluating semantic spaces using word
analogies, 2016). In the microworld "left" is to "right" as "above" to "below" without any arithmetic: each is the
other's nearest word. From "small" to "little" as from "large" to "big" needs it. And plurals need the letters: nothing
that is said of stars sets them apart from circles, so that only FastText, which sees "star" in "stars", knows them.
"""

from dataclasses import replace
from itertools import permutations

import torch

from course_lib.data.microworld import captions, questions, referring_expressions, sample_scenes
from course_lib.errors import InputError
from course_lib.models.word_vectors import CBOW, Corpus, FastText, GloVe, SkipGram, WordVectors
from course_lib.training.loop import History, TrainingConfig, train

WINDOW, NEGATIVES, SUBSAMPLE = 4, 5, 1e-2
SHAPES_AND_PLURALS = [(word, "crosses" if word == "cross" else f"{word}s") for word in
    ("circle", "square", "triangle", "star", "heart", "cross", "ring", "crescent")]  # fmt: skip
# Pairs of words that stand in one relation; every two of them make an analogy.
RELATIONS = {
    "one and many": SHAPES_AND_PLURALS,
    "usual and other word": [("small", "little"), ("large", "big"), ("shiny", "glossy"), ("striped", "stripy"),
        ("dotted", "spotted"), ("above", "over"), ("below", "under")],
    "opposites": [("left", "right"), ("above", "below"), ("over", "under"), ("top", "bottom"), ("small", "large"),
        ("little", "big"), ("leftmost", "rightmost"), ("topmost", "bottommost"), ("yes", "no")],
}  # fmt: skip


def word_texts(count: int = 3000, seed: int = 1) -> list[str]:
    """What is said and asked of `count` training scenes: captions, questions with their answers, expressions."""
    texts = []
    for scene in sample_scenes(count, seed, "train"):
        texts += captions(scene)
        texts += [f"{question.text} {question.answer}" for question in questions(scene)]
        texts += [expression.text for expression in referring_expressions(scene)]
    return texts


WORDS = TrainingConfig(steps=600, batch_size=2048, learning_rate=1e-2, warmup_steps=20, weight_decay=0.0)


def train_skip_gram(
    corpus: Corpus, width: int = 32, seed: int = 0, config: TrainingConfig = WORDS
) -> tuple[SkipGram, History]:
    """A skip-gram model of a corpus."""
    torch.manual_seed(seed)
    return _on_pairs(SkipGram(len(corpus.words), width), corpus, seed, config)


def train_fasttext(
    corpus: Corpus, width: int = 32, seed: int = 0, config: TrainingConfig = WORDS
) -> tuple[FastText, History]:
    """A FastText model of a corpus."""
    torch.manual_seed(seed)
    return _on_pairs(FastText(corpus.words, width), corpus, seed, config)


def train_cbow(corpus: Corpus, width: int = 32, seed: int = 0, config: TrainingConfig = WORDS) -> tuple[CBOW, History]:
    """A CBOW model of a corpus."""
    torch.manual_seed(seed)
    model, generator = CBOW(len(corpus.words), width), torch.Generator().manual_seed(seed)
    part = corpus.subsampled(SUBSAMPLE, generator)
    neighbours, there = part.windows(WINDOW, generator)
    rows_with_some = there.any(dim=1).nonzero()[:, 0]

    def batch_loss(model: CBOW, generator: torch.Generator) -> torch.Tensor:
        rows = rows_with_some[torch.randint(len(rows_with_some), (config.batch_size,), generator=generator)]
        negatives = corpus.negatives((config.batch_size, NEGATIVES), generator)
        return model(neighbours[rows], there[rows], part.tokens[rows], negatives)

    return model, train(model, batch_loss, replace(config, seed=seed))


def train_glove(
    corpus: Corpus, width: int = 32, seed: int = 0, config: TrainingConfig = WORDS
) -> tuple[GloVe, History]:
    """A GloVe model of a corpus; every pair of words that ever meet is in every batch."""
    torch.manual_seed(seed)
    counts = corpus.cooccurrences(WINDOW)
    words, others = counts.nonzero(as_tuple=True)
    model = GloVe(len(corpus.words), width)
    return model, train(model, lambda model, _: model(words, others, counts[words, others]), replace(config, seed=seed))


def _on_pairs(model, corpus: Corpus, seed: int, config: TrainingConfig):
    generator = torch.Generator().manual_seed(seed)
    pairs = corpus.subsampled(SUBSAMPLE, generator).pairs(WINDOW, generator)

    def batch_loss(model, generator: torch.Generator) -> torch.Tensor:
        rows = pairs[torch.randint(len(pairs), (config.batch_size,), generator=generator)]
        return model(rows[:, 0], rows[:, 1], corpus.negatives((config.batch_size, NEGATIVES), generator))

    return model, train(model, batch_loss, replace(config, seed=seed))


def analogies(pairs: list[tuple[str, str]]) -> list[tuple[str, str, str, str]]:
    """Every two pairs (a, b) and (c, d) of a relation, each way round: a is to b as c to d."""
    return [(*first, *second) for first, second in permutations(pairs, 2)]


def measure_analogies(vectors: WordVectors, asked: list[tuple[str, str, str, str]]) -> dict[str, float]:
    """How often the word nearest to b - a + c is d, and how often the one nearest to c alone is.

    Raises:
        InputError: nothing is asked.
    """
    if not asked:
        raise InputError("no analogy is asked; give at least one (a, b, c, d)")
    right = {"b - a + c": 0, "c alone": 0}
    for a, b, c, d in asked:
        right["b - a + c"] += vectors.analogy(a, b, c, 1)[0][0] == d
        right["c alone"] += vectors.nearest(c, 1, leave_out={a, b})[0][0] == d
    return {how: count / len(asked) for how, count in right.items()}
