"""WordPiece, BERT's tokenizer: the longest piece of the vocabulary that a word begins with, then the next longest.

A piece inside a word is written with "##" before it. Where byte-pair encoding replays how its merges were learned,
WordPiece only needs the list of pieces.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from course_lib.data.tokenizers.base import Tokenizer
from course_lib.data.tokenizers.byte_pair import in_order, learn_merges
from course_lib.data.tokenizers.published import read_tokenizer_json
from course_lib.errors import FileError, InputError
from course_lib.pretrained.weights import find

PAD, UNKNOWN, START, END, MASK = MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
INSIDE = "##"
LONGEST_WORD = 100  # characters; a longer one is unknown, as published


class WordPieceTokenizer(Tokenizer):
    """BERT's tokenizer: words and punctuation, lower-cased and without accents, cut by greedy longest match.

    A text becomes "[CLS] ... [SEP]". A word of which some part is no piece is "[UNK]" as a whole.

    Args:
        pieces: the vocabulary in the order of its ids, "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]" among it.
        lower_case: lower-case, and take accents off, as the uncased models do.
        context_length: default length of a row.

    Raises:
        InputError: a mark is missing, or a piece is there twice.

    Source: Schuster and Nakajima, Japanese and Korean Voice Search, 2012; Devlin et al., BERT, section 3, and its
    published code.
    """

    def __init__(self, pieces: Sequence[str], lower_case: bool = True, context_length: int | None = None):
        missing = [mark for mark in MARKS if mark not in pieces]
        if missing:
            raise InputError(f"the vocabulary lacks {missing[0]}; it should have {', '.join(MARKS)}")
        if len(set(pieces)) < len(pieces):
            twice = next(piece for piece, count in Counter(pieces).items() if count > 1)
            raise InputError(f"the vocabulary has {twice!r} twice; give each piece once")
        ids = {mark: list(pieces).index(mark) for mark in MARKS}
        super().__init__(pieces, [ids[START]], [ids[END]], ids[PAD], ids, context_length)
        self.lower_case = lower_case
        self.unknown_token_id, self.mask_token_id = ids[UNKNOWN], ids[MASK]
        self._longest = max(map(len, self.pieces))
        self._known: dict[str, list[int]] = {}

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        min_count: int = 2,
        lower_case: bool = True,
        context_length: int | None = None,
    ) -> "WordPieceTokenizer":
        """A tokenizer whose pieces are learned from texts, by byte-pair merges, as `tokenizers` does.

        The published description merges the pair that raises the likelihood of the text most, but its trainer was
        never published.
        """
        words = Counter(word for text in texts for word in basic_words(text, lower_case))
        spelled = {(word[0], *(INSIDE + character for character in word[1:])): n for word, n in words.items()}
        symbols = sorted({symbol for word in spelled for symbol in word}, key=lambda s: (s.startswith(INSIDE), s))
        merges = learn_merges(spelled, [*MARKS, *symbols], vocab_size, min_count, _joined)
        pieces = dict.fromkeys([*MARKS, *symbols, *(_joined(*pair) for pair in merges)])
        return cls(list(pieces), lower_case, context_length)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, lower_case: bool = True, context_length: int | None = 512
    ) -> "WordPieceTokenizer":
        """A published vocabulary: a folder or a Hub id ("google-bert/bert-base-uncased").

        Its file is vocab.txt, or tokenizer.json.

        Raises:
            FileError: no such file, or it is no vocabulary.
            OfflineError, InputError: as `course_lib.pretrained.weights.fetch`.
        """
        path = find(source, "vocab.txt", "tokenizer.json")
        if path is None:
            raise FileError(f"{source} has no vocab.txt or tokenizer.json; a WordPiece tokenizer has one of them")
        try:
            if path.suffix == ".json":
                pieces = in_order(read_tokenizer_json(path, "WordPiece")["model"]["vocab"])
            else:
                pieces = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
            return cls(pieces, lower_case, context_length)
        except ValueError as error:
            raise FileError(f"{path.name} of {source} is damaged: {error}") from error

    def encode_plain(self, text: str) -> list[int]:
        """Each word's pieces; a word that was met before is looked up."""
        ids = []
        for word in basic_words(text, self.lower_case):
            if word not in self._known:
                self._known[word] = self._split(word)
            ids += self._known[word]
        return ids

    def _split(self, word: str) -> list[int]:
        if len(word) > LONGEST_WORD:
            return [self.unknown_token_id]
        ids, start = [], 0
        while start < len(word):
            inside = INSIDE if start else ""
            for end in range(min(len(word), start + self._longest), start, -1):
                index = self.ids.get(inside + word[start:end])
                if index is not None:
                    break
            else:
                return [self.unknown_token_id]
            ids.append(index)
            start = end
        return ids

    def join(self, pieces: list[str]) -> str:
        """The words, joined by spaces."""
        text = " ".join(piece for piece in pieces if piece not in (PAD, START))
        return text.replace(f" {INSIDE}", "")


def basic_words(text: str, lower_case: bool = True) -> list[str]:
    """Cuts a text into words and single punctuation marks: BERT's basic tokenizer.

    Control characters go, Chinese characters stand alone, and if `lower_case`, accents are taken off letters.

    Source: BERT's published code, `tokenization.py`.
    """
    text = "".join(map(_cleaned, text))
    if lower_case:
        text = "".join(filter(_stays, unicodedata.normalize("NFD", text))).lower()
    return "".join(map(_apart, text)).split()


@cache
def _cleaned(character: str) -> str:
    category = unicodedata.category(character)
    if character in "\t\n\r" or category == "Zs":
        return " "
    if character in "\0\ufffd" or category in ("Cc", "Cf", "Co"):
        return ""
    return f" {character} " if _chinese(ord(character)) else character


@cache
def _stays(character: str) -> bool:
    return unicodedata.category(character) != "Mn"


@cache
def _apart(character: str) -> str:
    """Punctuation with spaces about it: all marks of ASCII, also those that Unicode calls symbols, such as $."""
    mark = character.isascii() and character.isprintable() and not character.isalnum() and character != " "
    return f" {character} " if mark or unicodedata.category(character).startswith("P") else character


def _joined(first: str, second: str) -> str:
    return first + second.removeprefix(INSIDE)


# Blocks of Chinese characters; Japanese and Korean letters are not among them.
_CHINESE = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


def _chinese(point: int) -> bool:
    return any(first <= point <= last for first, last in _CHINESE)
