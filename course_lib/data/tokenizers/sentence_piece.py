"""SentencePiece's files and conventions: a space is a letter, written "▁", and a text is normalised by a table.

And the tokenizer of Llama 1 and 2, which keeps these conventions and merges pairs; `unigram.py` has the other kind.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import regex

from course_lib.data.tokenizers.base import Tokenizer
from course_lib.data.tokenizers.byte_pair import Merge, in_order, merge_pieces
from course_lib.data.tokenizers.published import pairs_of, read_tokenizer_json
from course_lib.errors import FileError, InputError
from course_lib.pretrained.weights import find

SPACE = "▁"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # kinds of pieces
UNIGRAM, BPE = 1, 2  # kinds of models


@dataclass(frozen=True)
class SentencePieceModel:
    """What a SentencePiece file holds: pieces with scores and kinds, by id, and how texts are normalised."""

    pieces: list[tuple[str, float, int]]
    kind: int = UNIGRAM
    charsmap: bytes = b""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True

    @property
    def scores(self) -> list[tuple[str, float]]:
        """Each piece and its score, by id."""
        return [(piece, score) for piece, score, _ in self.pieces]

    def id_of(self, piece: str) -> int | None:
        """The id of a piece, None if there is none of this spelling."""
        return next((index for index, (spelling, *_) in enumerate(self.pieces) if spelling == piece), None)


def read_model(path: str | Path) -> SentencePieceModel:
    """Reads a file such as spiece.model or tokenizer.model: a protocol buffer, `ModelProto` of sentencepiece.

    Raises:
        FileError: it is damaged or something else.
    """
    try:
        message = _fields(Path(path).read_bytes())
        pieces = []
        for content in message[1]:
            piece = _fields(content)
            (score,) = struct.unpack("<f", piece.get(2, [bytes(4)])[-1])
            pieces.append((piece[1][-1].decode(), score, piece.get(3, [NORMAL])[-1]))
        trainer, normaliser = _fields(message[2][-1]), _fields(message[3][-1])
        return SentencePieceModel(
            pieces, trainer.get(3, [UNIGRAM])[-1], normaliser.get(2, [b""])[-1],
            bool(normaliser.get(3, [1])[-1]), bool(normaliser.get(4, [1])[-1]),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error) as error:
        raise FileError(f"{Path(path).name} is no SentencePiece model, or damaged: fetch it again") from error


def _fields(message: bytes) -> dict[int, list]:
    """A protocol buffer's fields: number -> values, integers as they are, everything else as bytes."""
    fields: dict[int, list] = {}
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            value |= (byte & 127) << shift
            place, shift = place + 1, shift + 7
            if byte < 128:
                return value

    while place < len(message):
        number, wire = divmod(varint(), 8)
        if wire == 0:
            value: int | bytes = varint()
        elif wire in (1, 2, 5):
            size = {1: 8, 5: 4}.get(wire) or varint()
            value, place = message[place : place + size], place + size
            if len(value) < size:
                raise ValueError("a field goes beyond the end")
        else:
            raise ValueError(f"there is no wire type {wire}")
        fields.setdefault(number, []).append(value)
    return fields


class Normaliser:
    """Replaces what a SentencePiece table says: the longest entry at each place, and other characters as they are.

    The table is a trie in two arrays in one (Aoe, 1989): from a node's offset, a byte leads to the unit at offset XOR
    byte if that unit bears the byte as its label; a leaf holds where its replacement begins.
    """

    def __init__(self, charsmap: bytes):
        (size,) = struct.unpack_from("<I", charsmap) if charsmap else (0,)
        self.units = struct.unpack_from(f"<{size // 4}I", charsmap, 4) if charsmap else ()
        self.replacements = charsmap[4 + size :]

    def __call__(self, text: str) -> str:
        # The tables that there are leave printable ASCII alone.
        if not self.units or (text.isascii() and text.isprintable()):
            return text
        raw, place, out = text.encode(), 0, bytearray()
        while place < len(raw):
            length, start = self._longest(raw, place)
            if length:
                out += self.replacements[start : self.replacements.index(0, start)]
                place += length
            else:
                end = place + 1
                while end < len(raw) and raw[end] & 0xC0 == 0x80:  # the rest of the character
                    end += 1
                out += raw[place:end]
                place = end
        return out.decode(errors="replace")

    def _longest(self, raw: bytes, place: int) -> tuple[int, int]:
        node, length, value = self._offset(self.units[0]), 0, 0
        for index in range(place, len(raw)):
            node ^= raw[index]
            unit = self.units[node] if node < len(self.units) else 0
            if unit & 0x800000FF != raw[index]:
                break
            node ^= self._offset(unit)
            if unit >> 8 & 1:
                length, value = index + 1 - place, self.units[node] & 0x7FFFFFFF
        return length, value

    @staticmethod
    def _offset(unit: int) -> int:
        return (unit >> 10) << ((unit & 1 << 9) >> 6)


class LlamaTokenizer(Tokenizer):
    """The tokenizer of Llama 1 and 2: SentencePiece's spaces, merges like GPT-2's, and bytes for what is unknown.

    Args:
        vocabulary: piece -> id, with "<unk>", "<s>", "</s>" and the 256 bytes "<0x00>" to "<0xFF>".
        merges: in the order to make them.
        context_length: default length of a row.

    Source: Kudo and Richardson, SentencePiece, 2018; Touvron et al., LLaMA, section 2.1 (bytes).
    """

    START, END, UNKNOWN = "<s>", "</s>", "<unk>"

    def __init__(self, vocabulary: Mapping[str, int], merges: Sequence[Merge], context_length: int | None = None):
        self.bytes = [f"<0x{byte:02X}>" for byte in range(256)]
        missing = [piece for piece in (self.START, self.END, self.UNKNOWN, *self.bytes) if piece not in vocabulary]
        if missing:
            raise InputError(f"the vocabulary lacks {missing[0]}; Llama's has three marks and 256 bytes")
        marks = {mark: vocabulary[mark] for mark in (self.START, self.END, self.UNKNOWN)}
        self.start_token_id, self.end_token_id = marks[self.START], marks[self.END]
        super().__init__(
            in_order(vocabulary), [self.start_token_id], pad_token_id=self.end_token_id, special=marks,
            context_length=context_length,
        )  # fmt: skip
        self.ranks = {tuple(pair): rank for rank, pair in enumerate(merges)}
        # No piece but a run of spaces has a space anywhere but in front, so words can be looked up one by one.
        apart = all(SPACE not in piece.lstrip(SPACE) for piece in vocabulary)
        self._words = regex.compile(f"{SPACE}+[^{SPACE}]*|[^{SPACE}]+" if apart else r"(?s).+")
        self._known: dict[str, list[int]] = {}

    @classmethod
    def from_pretrained(cls, source: str | Path, context_length: int | None = None) -> "LlamaTokenizer":
        """A published tokenizer: a folder or a Hub id with tokenizer.json or tokenizer.model.

        Raises:
            FileError: no such file, a damaged one, or one of another kind of tokenizer.
            OfflineError, InputError: as `course_lib.pretrained.weights.fetch`.
        """
        path = find(source, "tokenizer.json", "tokenizer.model")
        if path is None:
            raise FileError(f"{source} has no tokenizer.json or tokenizer.model; a Llama tokenizer has one of them")
        if path.suffix == ".json":
            model = read_tokenizer_json(path, "BPE")["model"]
            return cls(model["vocab"], pairs_of(model["merges"]), context_length)
        model = read_model(path)
        if model.kind != BPE:
            raise FileError(f"{path.name} of {source} is a unigram model: read it with UnigramTokenizer")
        return cls({piece: index for index, (piece, *_) in enumerate(model.pieces)}, merges_of(model), context_length)

    def encode(self, text: str) -> list[int]:
        """The ids of one text, which gets a space in front; without the mark put before it."""
        return super().encode(SPACE + text.replace(" ", SPACE) if isinstance(text, str) and text else text)

    def encode_plain(self, text: str) -> list[int]:
        """Each word's pieces; a word that was met before is looked up."""
        ids = []
        for word in self._words.findall(text):
            if word not in self._known:
                self._known[word] = [
                    index for piece in merge_pieces(list(word), self.ranks) for index in self._ids_of(piece)
                ]
            ids += self._known[word]
        return ids

    def _ids_of(self, piece: str) -> list[int]:
        return [self.ids[piece]] if piece in self.ids else [self.ids[self.bytes[byte]] for byte in piece.encode()]

    def join(self, pieces: list[str]) -> str:
        """The text, without the space that was put before it; up to the end mark."""
        kept = pieces[: pieces.index(self.END)] if self.END in pieces else pieces
        numbers = {piece: byte for byte, piece in enumerate(self.bytes)}
        raw = b"".join(
            bytes([numbers[piece]]) if piece in numbers else piece.replace(SPACE, " ").encode() for piece in kept
        )
        return raw.decode(errors="replace").removeprefix(" ")


def merges_of(model: SentencePieceModel) -> list[Merge]:
    """The merges that a SentencePiece BPE model implies: every two pieces that make a third, the best score first."""
    ids = {piece: index for index, (piece, *_) in enumerate(model.pieces)}
    merges = []
    for piece, score, kind in model.pieces:
        if kind == NORMAL:
            cuts = ((piece[:cut], piece[cut:]) for cut in range(1, len(piece)))
            pairs = sorted((ids[a], ids[b], (a, b)) for a, b in cuts if a in ids and b in ids)
            merges += [(-score, order, pair) for order, (*_, pair) in enumerate(pairs)]
    return [pair for *_, pair in sorted(merges, key=lambda merge: merge[0])]
