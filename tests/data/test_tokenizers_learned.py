"""Tokenizers that are learned: equal to the field's on varied text, worked examples by hand, round trips, bad files."""

import json
import math
import random
from collections import Counter

import pytest
import torch

from course_lib.authoring.parity import lesson_03_text as parity
from course_lib.data.tokenizers import (
    BytePairTokenizer,
    CharacterTokenizer,
    GPT2Tokenizer,
    LlamaTokenizer,
    UnigramTokenizer,
    WordPieceTokenizer,
    learn_merges,
    merge_pieces,
)
from course_lib.data.tokenizers.sentence_piece import Normaliser, read_model
from course_lib.data.tokenizers.unigram import expected_counts, learn_pieces, spaced_words, viterbi
from course_lib.data.tokenizers.word_piece import basic_words
from course_lib.errors import FileError, InputError

CAPTIONS = parity.caption_texts(30)
# The words and counts of Sennrich et al., figure 1.
FIGURE = {"low": 5, "lowest": 2, "newer": 6, "wider": 3}


def few_letters(seed: int) -> list[str]:
    """Texts of few letters, in which the same piece arises from several merges and letters repeat."""
    numbers = random.Random(seed)
    return ["".join(numbers.choice("aaab é.") for _ in range(numbers.randint(1, 60))) for _ in range(100)]


@pytest.mark.parametrize("seed", [0, 1])
def test_they_are_the_fields(seed):
    texts = [*CAPTIONS, *few_letters(seed)]
    rows = [*parity.byte_pairs_beside_tokenizers(texts, 400 + 40 * seed), *parity.word_piece_beside_tokenizers(texts)]
    rows += parity.word_piece_beside_tokenizers(texts, lower_case=False)
    rows += parity.sentence_pieces_beside_sentencepiece(CAPTIONS)  # no ties: rounding would decide which way is cut
    assert len(rows) == 7 and all(row.holds for row in rows), rows


def test_published_files_are_read_as_transformers_reads_them():
    rows = parity.published_beside_transformers(CAPTIONS)
    assert len(rows) == 4 and all(row.holds for row in rows), rows


def test_tokenizers_that_transformers_saved(tmp_path):
    from transformers import AutoTokenizer

    for name, (kind, marks) in parity.write_published(tmp_path, CAPTIONS).items():
        saved = tmp_path / f"{name} saved"
        theirs = AutoTokenizer.from_pretrained(tmp_path / name)
        theirs.save_pretrained(saved)
        assert [path.name for path in saved.glob("*") if path.name != "tokenizer_config.json"] == ["tokenizer.json"]
        ours = kind.from_pretrained(saved)
        for text in [*CAPTIONS, *(f"naïve {mark} b" for mark in marks)]:
            assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)


def test_merges_of_the_papers_figure():
    words = {(*word[:-1], word[-1] + "</w>"): count for word, count in FIGURE.items()}
    symbols = sorted({symbol for word in words for symbol in word})
    merges = learn_merges(words, symbols, len(symbols) + 4)
    assert merges[:2] == [("e", "r</w>"), ("l", "o")], "9 times and 7 times, as no other pair"
    assert merge_pieces(["w", "i", "d", "e", "r</w>"], {("e", "r</w>"): 0, ("w", "i"): 1}) == ["wi", "d", "er</w>"]


def test_every_merge_is_of_a_most_frequent_pair():
    words = dict(Counter(tuple(word) for text in few_letters(3) for word in text.split()))
    symbols = sorted({symbol for word in words for symbol in word})
    spelled = {word: list(word) for word in words}
    for pair in learn_merges(words, symbols, len(symbols) + 25):
        counts = Counter()
        for word, pieces in spelled.items():
            for here in zip(pieces, pieces[1:], strict=False):
                counts[here] += words[word]
        assert counts[pair] == max(counts.values())
        spelled = {word: merge_pieces(pieces, {pair: 0}) for word, pieces in spelled.items()}


@pytest.mark.parametrize("kind", [GPT2Tokenizer, LlamaTokenizer], ids=["gpt2", "llama"])
def test_bytes_bring_any_text_back(kind, tmp_path):
    if kind is GPT2Tokenizer:
        tokenizer = GPT2Tokenizer.train(CAPTIONS, 300)
    else:
        parity.train_sentencepiece(tmp_path / "tokenizer.model", CAPTIONS, "bpe")
        tokenizer = LlamaTokenizer.from_pretrained(tmp_path)
    for text in [*parity.ODD_TEXTS, *CAPTIONS[:20]]:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_others_bring_captions_back():
    for tokenizer in (
        BytePairTokenizer.train(CAPTIONS, 600),
        WordPieceTokenizer.train(CAPTIONS, 150),
        UnigramTokenizer.train(CAPTIONS, 150),
        CharacterTokenizer.from_captions(CAPTIONS, context_length=None),
    ):
        rows = tokenizer(CAPTIONS)
        assert rows.dtype == torch.int64 and rows.shape[0] == len(CAPTIONS) and rows.max() < tokenizer.vocab_size
        assert [tokenizer.decode(row) for row in rows] == CAPTIONS
        assert tokenizer.tokenize("a red circle") == [tokenizer.pieces[i] for i in tokenizer.encode("a red circle")]


def test_rows_of_word_piece_have_its_marks():
    tokenizer = WordPieceTokenizer.train(CAPTIONS, 150)
    row = tokenizer("a red [MASK]", context_length=8)[0].tolist()
    marks = [tokenizer.pieces[index] for index in row]
    assert marks == ["[CLS]", "a", "red", "[MASK]", "[SEP]", "[PAD]", "[PAD]", "[PAD]"]


def test_word_piece_takes_the_longest_piece():
    tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "u", "##aff", "##able", "##a"])
    assert tokenizer.tokenize("Unaffable") == ["un", "##aff", "##able"]
    assert tokenizer.tokenize("unaffected u") == ["[UNK]", "u"], "one part unknown, the whole word is"
    assert tokenizer.tokenize("a" * 101) == ["[UNK]"]
    assert basic_words("Crème brûlée, $5 一只") == ["creme", "brulee", ",", "$", "5", "一", "只"]


def all_cuts(word: str) -> list[list[str]]:
    """Every way to cut a word."""
    if not word:
        return [[]]
    return [[word[:end], *rest] for end in range(1, len(word) + 1) for rest in all_cuts(word[end:])]


SCORES = {"a": -2.0, "b": -1.5, "ab": -2.2, "ba": -2.9, "aba": -5.0, "bb": -2.0}


def test_viterbi_finds_the_best_of_all_cuts():
    for word in ("a", "abab", "bbaab", "abababba", "bbbbb"):
        cuts = [cut for cut in all_cuts(word) if all(piece in SCORES for piece in cut)]
        best = max(sum(map(SCORES.get, cut)) for cut in cuts)
        assert sum(map(SCORES.get, viterbi(word, SCORES, -20.0, 3))) == pytest.approx(best)
    assert viterbi("axb", SCORES, -20.0, 3) == ["a", "x", "b"]


def test_the_e_step_sums_over_all_cuts():
    words = {"abab": 3, "bba": 1}
    wanted, likelihood = Counter(), 0.0
    for word, count in words.items():
        cuts = [cut for cut in all_cuts(word) if all(piece in SCORES for piece in cut)]
        weights = [math.exp(sum(map(SCORES.get, cut))) for cut in cuts]
        likelihood += count * math.log(sum(weights))
        for cut, weight in zip(cuts, weights, strict=True):
            for piece in cut:
                wanted[piece] += count * weight / sum(weights)
    counts, found = expected_counts(words, SCORES)
    assert found == pytest.approx(likelihood)
    assert {piece: n for piece, n in counts.items() if n} == pytest.approx(dict(wanted))


def test_em_raises_the_likelihood():
    words = Counter(word for text in CAPTIONS for word in spaced_words(text))
    scores = learn_pieces(words, 60)
    counts, before = expected_counts(words, scores)
    total = sum(counts.values())
    _, after = expected_counts(words, {piece: math.log(n / total) for piece, n in counts.items()})
    assert len(scores) <= 60 and after >= before


def test_learned_pieces_are_close_to_sentencepieces(tmp_path):
    model = read_model(parity.train_sentencepiece(tmp_path / "spiece.model", CAPTIONS, "unigram"))
    theirs = UnigramTokenizer(model.scores)
    ours = UnigramTokenizer.train(CAPTIONS, len(model.pieces))
    used = [sum(len(tokenizer.encode(text)) for text in CAPTIONS) for tokenizer in (ours, theirs)]
    assert used[0] <= 1.05 * used[1]
    assert len(set(ours.scores) & set(theirs.scores)) >= 0.6 * len(theirs.scores)


@pytest.mark.parametrize(
    "kind, name, content",
    [
        (GPT2Tokenizer, "vocab.json", "{"),
        (WordPieceTokenizer, "vocab.txt", "a\nb\n"),
        (UnigramTokenizer, "spiece.model", "no model"),
        (LlamaTokenizer, "tokenizer.model", "\x0a\x05ab"),
        (UnigramTokenizer, "tokenizer.json", json.dumps({"model": {"type": "BPE", "vocab": {}, "merges": []}})),
        (LlamaTokenizer, "tokenizer.json", "[]"),
    ],
)
def test_bad_files(kind, name, content, tmp_path):
    with pytest.raises(FileError, match="has no"):
        kind.from_pretrained(tmp_path)
    (tmp_path / name).write_text(content)
    (tmp_path / "merges.txt").write_text("a b\n")
    with pytest.raises(FileError, match="damaged|of type|lacks"):
        kind.from_pretrained(tmp_path)


def test_models_of_the_other_kind_are_named(tmp_path):
    parity.train_sentencepiece(tmp_path / "tokenizer.model", CAPTIONS, "unigram")
    with pytest.raises(FileError, match="UnigramTokenizer"):
        LlamaTokenizer.from_pretrained(tmp_path)


def test_bad_input():
    with pytest.raises(InputError, match="vocab_size is 100"):
        GPT2Tokenizer.train(CAPTIONS, 101)
    with pytest.raises(InputError, match="lacks the pieces of merge 'zz q'"):
        tokenizer = GPT2Tokenizer.train(CAPTIONS, 300)
        GPT2Tokenizer(tokenizer.ids, [("zz", "q")])
    with pytest.raises(InputError, match="each must be one"):
        UnigramTokenizer.train(CAPTIONS, 10)
    with pytest.raises(InputError, match=r"lacks \[PAD\]"):
        WordPieceTokenizer(["a"])
    with pytest.raises(InputError, match="every text should be a str"):
        UnigramTokenizer.train(CAPTIONS, 100)([3])
    assert Normaliser(b"")("ｅ") == "ｅ"
