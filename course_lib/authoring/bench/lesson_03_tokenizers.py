"""Lesson 03: how long 10,000 captions take to become ids, beside `tokenizers`, which is written in Rust."""

from collections.abc import Callable, Iterator

from course_lib.authoring.bench.timing import Comparison, alternate
from course_lib.authoring.parity.lesson_03_text import caption_texts
from course_lib.data.tokenizers import BytePairTokenizer, GPT2Tokenizer, UnigramTokenizer, WordPieceTokenizer

CAPTIONS = 10_000


def encoding() -> Iterator[Comparison]:
    """Each tokenizer, made anew each time so that no word is known yet, beside byte-level BPE of `tokenizers`."""
    import tokenizers
    from tokenizers import models, pre_tokenizers

    texts = caption_texts(CAPTIONS // 5)
    gpt2, word_piece = GPT2Tokenizer.train(texts, 1000), WordPieceTokenizer.train(texts, 500)
    clip, unigram = BytePairTokenizer.train(texts, 1000), UnigramTokenizer.train(texts, 200)
    theirs = tokenizers.Tokenizer(models.BPE(vocab=gpt2.ids, merges=list(gpt2.ranks)))
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    scored = [*((mark, 0.0) for mark in unigram.special), *unigram.scores.items()]
    anew = {
        "GPT2Tokenizer": lambda: GPT2Tokenizer(gpt2.ids, list(gpt2.ranks)),
        "BytePairTokenizer": lambda: BytePairTokenizer(None, list(clip.ranks)),
        "WordPieceTokenizer": lambda: WordPieceTokenizer(word_piece.pieces),
        "UnigramTokenizer": lambda: UnigramTokenizer(scored),
    }
    ways: dict[str, Callable[[], object]] = {name: lambda make=make: make()(texts) for name, make in anew.items()}
    medians = alternate(ways | {"tokenizers": lambda: theirs.encode_batch(texts)}, repeats=5, warm_up=1)
    for name in anew:
        what = f"{CAPTIONS:,} captions to ids, {'within' if medians[name] < 2 else 'NOT WITHIN'} 2 s"
        yield Comparison(what, name, "tokenizers BPE", medians[name], medians["tokenizers"])


COMPARISONS: list[Callable[[], Iterator[Comparison]]] = [encoding]
