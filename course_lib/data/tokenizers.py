"""Tokenizers: words or pieces of words, as rows of ids. CLIP's byte-pair one, and a small one of whole words.

Both put a start token before a text and an end token after it, cut what is too long so that the end token stays, and
fill rows with 0. In both the end token is the highest id: CLIP reads a text's vector there.
"""

import gzip
import html
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import ftfy
import numpy as np
import regex
import torch
from torch import Tensor

from course_lib.errors import FileError, InputError

# CLIP's merges, a file of open_clip's package; those after the first 48,894 belong to a larger vocabulary.
MERGES, MERGE_COUNT = "bpe_simple_vocab_16e6.txt.gz", 49152 - 256 - 2
# Bytes that are a character one can see, and the order in which CLIP numbers all bytes: those first.
VISIBLE = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
BYTE_ORDER = VISIBLE + [byte for byte in range(256) if byte not in VISIBLE]


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
        context_length = self.context_length if context_length is None else context_length
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


class BytePairTokenizer:
    """CLIP's tokenizer: pieces of words, learned by merging the pair of neighbours that occurs most, again and again.

    A text is UTF-8 bytes, so that no character is unknown; each byte is written as one visible character, and the last
    one of a word carries the mark `</w>`. Ids: 256 bytes, the same ending a word, one for each merge in the order
    learned, start, end. The merges are CLIP's own, as open_clip ships them.

    Source: Sennrich et al., Neural Machine Translation of Rare Words with Subword Units, section 3.2; Radford et al.,
    GPT-2, section 2.2 (bytes); CLIP, section 2.4 (lower case, 49,152 pieces and two marks).
    """

    START, END = "<start_of_text>", "<end_of_text>"

    def __init__(self, context_length: int = 77):
        self.context_length = context_length
        self.byte_symbols = _visible_bytes()
        merges = read_merges()
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        symbols = [self.byte_symbols[byte] for byte in BYTE_ORDER]
        pieces = symbols + [symbol + "</w>" for symbol in symbols] + ["".join(pair) for pair in merges]
        self.pieces = [*pieces, self.START, self.END]
        self.ids = {piece: index for index, piece in enumerate(self.pieces)}
        self.vocab_size = len(self.pieces)
        self.pad_token_id, self.start_token_id, self.end_token_id = 0, self.ids[self.START], self.ids[self.END]
        self._known = {mark: [self.ids[mark]] for mark in (self.START, self.END)}
        # Contractions, runs of letters, single digits, runs of anything else; `regex` knows the letters of all scripts.
        self.pattern = regex.compile(
            rf"{self.START}|{self.END}|'s|'t|'re|'ve|'m|'ll|'d|\p{{L}}+|\p{{N}}|[^\s\p{{L}}\p{{N}}]+", regex.IGNORECASE
        )

    def merge(self, word: str) -> list[str]:
        """Splits one word, written in visible bytes, into pieces: the merge that was learned first is made first."""
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            best = min(pairwise(pieces), key=lambda pair: self.ranks.get(pair, math.inf))
            if best not in self.ranks:
                break
            merged, index = [], 0
            while index < len(pieces):
                step = 2 if tuple(pieces[index : index + 2]) == best else 1
                merged.append("".join(pieces[index : index + step]))
                index += step
            pieces = merged
        return pieces

    def encode(self, text: str) -> list[int]:
        """The ids of one text, without start and end."""
        ids = []
        for word in self.pattern.findall(clean(text)):
            if word not in self._known:
                visible = "".join(self.byte_symbols[byte] for byte in word.encode())
                self._known[word] = [self.ids[piece] for piece in self.merge(visible)]
            ids += self._known[word]
        return ids

    def __call__(self, texts: str | Sequence[str], context_length: int | None = None) -> Tensor:
        """Texts to ids.

        Args:
            texts: one, or a sequence of B.
            context_length: L, the length of a row; longer texts are cut and keep their end token.

        Returns:
            (B, L), int64, the same as open_clip's.

        Raises:
            InputError: no text, or something that is none.
        """
        context_length = self.context_length if context_length is None else context_length
        texts = _texts(texts, context_length)
        return _rows([self.encode(text) for text in texts], self.start_token_id, self.end_token_id, context_length)

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """The text of one row up to its end token: lower case, a space after each word."""
        pieces = []
        for index in map(int, ids):
            if index == self.end_token_id:
                break
            if not 0 <= index < self.vocab_size:
                raise InputError(f"{index} is no id of this tokenizer; its ids are 0 to {self.vocab_size - 1}")
            if index != self.start_token_id:
                pieces.append(self.pieces[index])
        bytes_of = {symbol: byte for byte, symbol in self.byte_symbols.items()}
        raw = bytes(bytes_of[symbol] for symbol in "".join(pieces))
        return raw.decode(errors="replace").replace("</w>", " ").strip()


def read_merges() -> list[tuple[str, str]]:
    """CLIP's merges, in the order they were learned, from open_clip's package found without importing it.

    Raises:
        FileError: open_clip is not installed, or without this file.
    """
    package = find_spec("open_clip")
    try:
        lines = gzip.decompress(Path(package.origin).with_name(MERGES).read_bytes()).decode().split("\n")
    except (AttributeError, OSError, EOFError) as error:
        raise FileError(f"open_clip's {MERGES} is missing or damaged: run pip install open_clip_torch") from error
    return [(first, second) for first, second in map(str.split, lines[1 : 1 + MERGE_COUNT])]


def clean(text: str) -> str:
    """Mends wrongly decoded characters, resolves HTML entities (twice, as some are escaped twice), lower-cases.

    Source: CLIP's published code, `simple_tokenizer.py`.
    """
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


def _visible_bytes() -> dict[int, str]:
    """Byte -> one visible character: itself where it is one, else one of those after U+0100, in order."""
    hidden = iter(range(256, 512))
    return {byte: chr(byte) if byte in VISIBLE else chr(next(hidden)) for byte in range(256)}
