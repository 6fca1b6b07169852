"""Tokenizers: words or pieces of words, as rows of ids. CLIP's byte-pair one, and a small one of whole words.

Both put a start token before a text and an end token after it, cut what is too long so that the end token stays, and
fill rows with 0. In both the end token is the highest id: CLIP reads a text's vector there.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from course_lib.errors import InputError


def _rows(sequences: list[list[int]], start: int, end: int, context_length: int) -> Tensor:
    """Ids of texts to (B, L), with start and end tokens, cut and padded."""
    rows = np.zeros((len(sequences), context_length), dtype=np.int64)
    for row, ids in zip(rows, sequences, strict=True):
        ids = [start, *ids[: context_length - 2], end]
        row[: len(ids)] = ids
    return torch.from_numpy(rows)


def _texts(texts: str | Sequence[str], context_length: int) -> list[str]:
    texts = [texts] if isinstance(texts, str) else list(texts)
    if not texts:
        raise InputError("there is no text to tokenise; give at least one")
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"a text is a {type(text).__name__}; every text should be a str")
    if context_length < 2:
        raise InputError(f"context_length is {context_length}; it should be 2 or more, for the start and end tokens")
    return texts


class WordTokenizer:
    """Whole words and punctuation marks, lower-cased, from a fixed vocabulary; anything else is one unknown token.

    Enough for the microworld, whose grammar has fewer than a hundred words. Ids: 0 padding, 1 to V the vocabulary, then
    unknown, start, end.

    Args:
        vocabulary: the words, no two alike.
        context_length: default length of a row.
    """

    pattern = re.compile(r"\w+(?:'\w+)?|[^\w\s]")

    def __init__(self, vocabulary: Iterable[str], context_length: int = 32):
        self.vocabulary = tuple(vocabulary)
        if not self.vocabulary or len(set(self.vocabulary)) != len(self.vocabulary):
            raise InputError("the vocabulary is empty or has a word twice; give each word once")
        self.context_length = context_length
        self.ids = {word: index for index, word in enumerate(self.vocabulary, 1)}
        self.pad_token_id = 0
        self.unknown_token_id, self.start_token_id, self.end_token_id = range(len(self.ids) + 1, len(self.ids) + 4)
        self.vocab_size = len(self.ids) + 4

    @classmethod
    def from_captions(cls, captions: Iterable[str], min_count: int = 1, context_length: int = 32) -> "WordTokenizer":
        """A tokenizer of the words that captions use at least `min_count` times, in alphabetical order."""
        counts = Counter(word for caption in captions for word in cls.pattern.findall(caption.lower()))
        return cls(sorted(word for word, count in counts.items() if count >= min_count), context_length)

    def encode(self, text: str) -> list[int]:
        """The ids of one text, without start and end."""
        return [self.ids.get(word, self.unknown_token_id) for word in self.pattern.findall(text.lower())]

    def __call__(self, texts: str | Sequence[str], context_length: int | None = None) -> Tensor:
        """Texts to ids.

        Args:
            texts: one, or a sequence of B.
            context_length: L, the length of a row; longer texts are cut and keep their end token.

        Returns:
            (B, L), int64.

        Raises:
            InputError: no text, or something that is none.
        """
        context_length = context_length or self.context_length
        texts = _texts(texts, context_length)
        return _rows([self.encode(text) for text in texts], self.start_token_id, self.end_token_id, context_length)

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """The words of one row up to its end token, joined by spaces; "?" for an unknown one."""
        words = []
        for index in map(int, ids):
            if index == self.end_token_id:
                break
            if 0 < index <= len(self.vocabulary):
                words.append(self.vocabulary[index - 1])
            elif index == self.unknown_token_id:
                words.append("?")
        return " ".join(words)
