"""What all tokenizers share: texts become rows of ids of one length, with marks before and after."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from course_lib.errors import InputError


class Tokenizer:
    """A vocabulary of pieces, and how a text is cut into them; a subclass says how in `encode_plain` and `join`.

    Args:
        pieces: all pieces; the place in this list is a piece's id.
        prefix, suffix: ids put before and after each text in a row.
        pad_token_id: what fills a row.
        special: marks such as "[MASK]" that may stand in a text and are one id each, whatever surrounds them.
        context_length: default length of a row; None for that of the longest text.
    """

    def __init__(
        self,
        pieces: Iterable[str],
        prefix: Sequence[int] = (),
        suffix: Sequence[int] = (),
        pad_token_id: int = 0,
        special: dict[str, int] | None = None,
        context_length: int | None = None,
    ):
        self.pieces = list(pieces)
        self.ids = {piece: index for index, piece in enumerate(self.pieces)}
        self.vocab_size = len(self.pieces)
        self.prefix, self.suffix, self.pad_token_id = tuple(prefix), tuple(suffix), pad_token_id
        self.context_length = context_length
        self._read_marks(special or {})

    def encode_plain(self, text: str) -> list[int]:
        """The ids of a text that holds no special mark."""
        raise NotImplementedError

    def join(self, pieces: list[str]) -> str:
        """The text that these pieces are of."""
        raise NotImplementedError

    def encode(self, text: str) -> list[int]:
        """The ids of one text, without those put before and after it.

        Raises:
            InputError: it is no text.
        """
        if not isinstance(text, str):
            raise InputError(f"a text is a {type(text).__name__}; every text should be a str")
        if self._marks is None:
            return self.encode_plain(text)
        ids: list[int] = []
        for part in self._marks.split(text):
            ids += [self.special[part]] if part in self.special else self.encode_plain(part) if part else []
        return ids

    def tokenize(self, text: str) -> list[str]:
        """The pieces of one text."""
        return [self.pieces[index] for index in self.encode(text)]

    def __call__(self, texts: str | Sequence[str], context_length: int | None = None) -> Tensor:
        """Texts to ids.

        Args:
            texts: one, or a sequence of B.
            context_length: L, the length of a row; longer texts are cut and keep what is put after them.

        Returns:
            (B, L), int64.

        Raises:
            InputError: no text, or something that is none; no room for the marks.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            raise InputError("there is no text to tokenise; give at least one")
        context_length = self.context_length if context_length is None else context_length
        marks = len(self.prefix) + len(self.suffix)
        if context_length is not None and context_length < max(1, marks):
            wanted = f"{marks} or more, for the marks before and after a text" if marks else "1 or more"
            raise InputError(f"context_length is {context_length}; it should be {wanted}")
        encoded = [self.encode(text) for text in texts]
        length = max(1, marks + max(map(len, encoded))) if context_length is None else context_length
        rows = np.full((len(encoded), length), self.pad_token_id, dtype=np.int64)
        for row, ids in zip(rows, encoded, strict=True):
            ids = [*self.prefix, *ids[: length - marks], *self.suffix]
            row[: len(ids)] = ids
        return torch.from_numpy(rows)

    def _read_marks(self, special: dict[str, int]) -> None:
        self.special = special
        longest_first = sorted(special, key=len, reverse=True)
        self._marks = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")") if longest_first else None

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """The text of one row: without the marks, and up to the first end mark.

        Raises:
            InputError: an id that this tokenizer does not have.
        """
        pieces: list[str] = []
        for place, index in enumerate(map(int, ids)):
            if not 0 <= index < self.vocab_size:
                raise InputError(f"{index} is no id of this tokenizer; its ids are 0 to {self.vocab_size - 1}")
            if index in self.suffix:
                break
            if index not in self.prefix[place : place + 1]:
                pieces.append(self.pieces[index])
        return self.join(pieces)
