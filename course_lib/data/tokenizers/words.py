"""The two simplest tokenizers: a token is a whole word, or a single character."""

import re
from collections import Counter
from collections.abc import Iterable

from course_lib.data.tokenizers.base import Tokenizer
from course_lib.errors import InputError


class WordTokenizer(Tokenizer):
    """Whole words and punctuation marks, lower-cased, from a fixed vocabulary; anything else is one unknown token.

    Enough for the microworld, whose grammar has fewer than a hundred words. Ids: 0 padding, 1 to V the vocabulary, then
    unknown, start, end; so the end token is the highest id, and CLIP reads a text's vector there.

    Args:
        vocabulary: the words, no two alike.
        context_length: default length of a row.
    """

    pattern = re.compile(r"\w+(?:'\w+)?|[^\w\s]")
    between = " "  # what stands between two tokens of a decoded text

    def __init__(self, vocabulary: Iterable[str], context_length: int | None = 32):
        self.vocabulary = tuple(vocabulary)
        if not self.vocabulary or len(set(self.vocabulary)) != len(self.vocabulary):
            raise InputError("the vocabulary is empty or has a word twice; give each word once")
        count = len(self.vocabulary)
        self.unknown_token_id, self.start_token_id, self.end_token_id = count + 1, count + 2, count + 3
        pieces = ["<pad>", *self.vocabulary, "?", "<start>", "<end>"]
        super().__init__(pieces, [self.start_token_id], [self.end_token_id], context_length=context_length)
        self.ids = {word: index for index, word in enumerate(self.vocabulary, 1)}  # a text cannot spell a mark

    @classmethod
    def from_captions(
        cls, captions: Iterable[str], min_count: int = 1, context_length: int | None = 32
    ) -> "WordTokenizer":
        """A tokenizer of the words that captions use at least `min_count` times, in alphabetical order."""
        counts = Counter(word for caption in captions for word in cls.pattern.findall(caption.lower()))
        return cls(sorted(word for word, count in counts.items() if count >= min_count), context_length)

    def encode_plain(self, text: str) -> list[int]:
        """Each word's id."""
        return [self.ids.get(word, self.unknown_token_id) for word in self.pattern.findall(text.lower())]

    def join(self, pieces: list[str]) -> str:
        """The words, joined by spaces; "?" for an unknown one."""
        return self.between.join(piece for piece in pieces if piece not in ("<pad>", "<start>"))


class CharacterTokenizer(WordTokenizer):
    """Single characters, lower-cased, spaces among them: the smallest vocabulary, and the longest rows."""

    pattern = re.compile(r".", re.DOTALL)
    between = ""
