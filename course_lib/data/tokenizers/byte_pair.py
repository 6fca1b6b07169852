"""Byte-pair encoding: pieces of words, learned by merging the pair of neighbours that occurs most, again and again.

First the two steps that the name stands for, learning merges and making them; then the two tokenizers that the course's
models were published with: CLIP's, and GPT-2's.
"""

import gzip
import heapq
import html
import json
import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import ftfy
import regex

from course_lib.data.tokenizers.base import Tokenizer
from course_lib.data.tokenizers.published import pairs_of, read_tokenizer_json, special_marks
from course_lib.errors import FileError, InputError
from course_lib.pretrained.weights import find, read_json

# CLIP's merges, a file of open_clip's package; those after the first 48,894 belong to a larger vocabulary.
MERGES, MERGE_COUNT = "bpe_simple_vocab_16e6.txt.gz", 49152 - 256 - 2
# Bytes that are a character one can see, and the order in which CLIP and GPT-2 number all bytes: those first.
VISIBLE = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
BYTE_ORDER = VISIBLE + [byte for byte in range(256) if byte not in VISIBLE]

Merge = tuple[str, str]


def learn_merges(
    words: Mapping[tuple[str, ...], int],
    symbols: Sequence[str],
    vocab_size: int,
    min_count: int = 2,
    joined: Callable[[str, str], str] = str.__add__,
) -> list[Merge]:
    """Learns which neighbours to merge: always the pair that occurs most; of equally frequent ones the oldest symbols.

    Counting all pairs anew after each merge would take a pass over the words each time. Only words that hold the
    merged pair change, so the counts are kept, and a heap gives the highest; an entry whose count has become wrong
    meanwhile is put back with the right one.

    Args:
        words: each word as a tuple of symbols, and how often it occurs.
        symbols: what the words are written in, the beginning of the vocabulary.
        vocab_size: symbols and pieces that there shall be; fewer if there is nothing left to merge.
        min_count: pairs that occur less often are not merged.
        joined: the piece that two pieces make.

    Returns:
        the merges in the order learned; the same as those of `tokenizers`' BpeTrainer.

    Raises:
        InputError: a `vocab_size` that has no room for the symbols.

    Source: Sennrich et al., Neural Machine Translation of Rare Words with Subword Units, section 3.2, algorithm 1.
    """
    if vocab_size < len(symbols):
        raise InputError(f"vocab_size is {vocab_size}; it should be {len(symbols)} or more, to hold every symbol")
    ids = {symbol: index for index, symbol in enumerate(symbols)}
    spelled, occurrences = [list(word) for word in words], list(words.values())
    counts: Counter[Merge] = Counter()
    where: dict[Merge, set[int]] = defaultdict(set)
    for index, word in enumerate(spelled):
        for pair in pairwise(word):
            counts[pair] += occurrences[index]
            where[pair].add(index)

    def entry(pair: Merge) -> tuple[int, int, int, Merge]:
        return -counts[pair], ids[pair[0]], ids[pair[1]], pair

    heap = [entry(pair) for pair in counts]
    heapq.heapify(heap)
    merges: list[Merge] = []
    while heap and len(ids) < vocab_size:
        negative, *_, pair = heapq.heappop(heap)
        if -negative != counts[pair]:
            heapq.heappush(heap, entry(pair))
            continue
        if counts[pair] < max(1, min_count):
            break
        merges.append(pair)
        piece = joined(*pair)
        ids.setdefault(piece, len(ids))
        appeared: set[Merge] = set()
        for index in where.pop(pair):
            counts.subtract({old: n * occurrences[index] for old, n in Counter(pairwise(spelled[index])).items()})
            spelled[index] = merge_pair(spelled[index], pair, piece)
            for new in pairwise(spelled[index]):
                counts[new] += occurrences[index]
                where[new].add(index)
                if piece in new:
                    appeared.add(new)
        for new in appeared:
            heapq.heappush(heap, entry(new))
    return merges


def merge_pair(pieces: list[str], pair: Merge, piece: str) -> list[str]:
    """Replaces every occurrence of a pair of neighbours, from left to right, by one piece."""
    merged, index = [], 0
    while index < len(pieces):
        here = tuple(pieces[index : index + 2]) == pair
        merged.append(piece if here else pieces[index])
        index += 2 if here else 1
    return merged


def merge_pieces(pieces: list[str], ranks: Mapping[Merge, int]) -> list[str]:
    """Makes merges in a word until none is left to make, the one that was learned first before all others.

    Args:
        pieces: the symbols of the word.
        ranks: each merge -> when it was learned.
    """
    while len(pieces) > 1:
        best = min(pairwise(pieces), key=lambda pair: ranks.get(pair, math.inf))
        if best not in ranks:
            break
        pieces = merge_pair(pieces, best, "".join(best))
    return pieces


def visible_bytes() -> dict[int, str]:
    """Byte -> one visible character: itself where it is one, else one of those after U+0100, in order."""
    hidden = iter(range(256, 512))
    return {byte: chr(byte) if byte in VISIBLE else chr(next(hidden)) for byte in range(256)}


BYTE_SYMBOLS = visible_bytes()
SYMBOL_BYTES = {symbol: byte for byte, symbol in BYTE_SYMBOLS.items()}


def in_bytes(word: str) -> str:
    """A word as its UTF-8 bytes, each written as a visible character."""
    return "".join(map(BYTE_SYMBOLS.__getitem__, word.encode()))


def from_bytes(symbols: str) -> str:
    """What `in_bytes` wrote; bytes that are no UTF-8 become the replacement character."""
    return bytes(map(SYMBOL_BYTES.__getitem__, symbols)).decode(errors="replace")


class BytePairTokenizer(Tokenizer):
    """CLIP's tokenizer: lower-cased words as bytes, the last one of a word marked `</w>`, merged to pieces.

    No character is unknown, for a text is UTF-8 bytes; each is written as one visible character. Ids: 256 bytes, the
    same ending a word, one for each merge in the order learned, start, end.

    Args:
        context_length: default length of a row.
        merges: the merges in the order learned; None for CLIP's own, as open_clip ships them.

    Source: Sennrich et al., Neural Machine Translation of Rare Words with Subword Units, section 3.2; Radford et al.,
    GPT-2, section 2.2 (bytes); CLIP, section 2.4 (lower case, 49,152 pieces and two marks).
    """

    START, END = "<start_of_text>", "<end_of_text>"
    SYMBOLS = tuple(BYTE_SYMBOLS[byte] + ending for ending in ("", "</w>") for byte in BYTE_ORDER)
    # Contractions, runs of letters, single digits, runs of anything else; `regex` knows the letters of all scripts.
    WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
    pattern = regex.compile(f"{START}|{END}|{WORDS}", regex.IGNORECASE)

    def __init__(self, context_length: int | None = 77, merges: Sequence[Merge] | None = None):
        merges = read_merges() if merges is None else merges
        self.ranks = {tuple(pair): rank for rank, pair in enumerate(merges)}
        pieces = dict.fromkeys([*self.SYMBOLS, *map("".join, merges), self.START, self.END])
        self.start_token_id, self.end_token_id = len(pieces) - 2, len(pieces) - 1
        super().__init__(pieces, [self.start_token_id], [self.end_token_id], context_length=context_length)
        self._known = {mark: [self.ids[mark]] for mark in (self.START, self.END)}

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int, min_count: int = 2, context_length: int | None = 77
    ) -> "BytePairTokenizer":
        """A tokenizer whose merges are learned from texts; `vocab_size` counts the 512 bytes and the two marks."""
        words = Counter(word for text in texts for word in cls.words(text) if word not in (cls.START, cls.END))
        spelled = {cls.spell(word): count for word, count in words.items()}
        return cls(context_length, learn_merges(spelled, cls.SYMBOLS, vocab_size - 2, min_count))

    @classmethod
    def words(cls, text: str) -> list[str]:
        """The words of a text, cleaned: what is merged within, and never beyond."""
        return cls.pattern.findall(cls.clean(text))

    @staticmethod
    def clean(text: str) -> str:
        """Mends wrongly decoded characters, resolves HTML entities (twice, as some are escaped twice), lower-cases.

        Source: CLIP's published code, `simple_tokenizer.py`.
        """
        text = html.unescape(html.unescape(ftfy.fix_text(text)))
        return " ".join(text.split()).lower()

    @staticmethod
    def spell(word: str) -> tuple[str, ...]:
        """A word in the symbols that merging begins with: its bytes, the last one with the mark of the end."""
        visible = in_bytes(word)
        return (*visible[:-1], visible[-1] + "</w>")

    def merge(self, word: str) -> list[str]:
        """Splits one word into pieces: the merge that was learned first is made first."""
        return merge_pieces(list(self.spell(word)), self.ranks)

    def encode_plain(self, text: str) -> list[int]:
        """Each word's pieces; a word that was met before is looked up."""
        ids = []
        for word in self.words(text):
            if word not in self._known:
                self._known[word] = [self.ids[piece] for piece in self.merge(word)]
            ids += self._known[word]
        return ids

    def join(self, pieces: list[str]) -> str:
        """Lower case, a space after each word."""
        whole = "".join(piece for piece in pieces if piece != self.START)
        return " ".join(map(from_bytes, whole.split("</w>"))).strip()


class HubCLIPTokenizer(BytePairTokenizer):
    """The same pieces, with ids as the processor of a CLIP on the Hub gives them: what transformers users get.

    They differ from OpenAI's own in what is done to a text first (curly quotes stay, HTML entities stay), in how the
    marks are spelled, and in what fills a row. CLIP reads a text's vector at the first end mark, and no token sees what
    comes after it: what fills a row changes no embedding.
    """

    START, END = "<|startoftext|>", "<|endoftext|>"
    pattern = regex.compile(BytePairTokenizer.WORDS)

    @classmethod
    def from_pretrained(cls, source: str | Path, context_length: int | None = 77) -> "HubCLIPTokenizer":
        """A published CLIP's tokenizer: a folder or a Hub id ("openai/clip-vit-base-patch32").

        Raises:
            FileError: there is no tokenizer.json, or it is damaged or no CLIP's.
            OfflineError, InputError: as `course_lib.pretrained.weights.fetch`.
        """
        path, settings = find(source, "tokenizer.json"), find(source, "tokenizer_config.json")
        if path is None:
            raise FileError(f"{source} has no tokenizer.json")
        content = read_tokenizer_json(path, "BPE")
        tokenizer = cls(context_length, pairs_of(content["model"]["merges"]))
        if content["model"]["vocab"] | special_marks(content) != tokenizer.ids:
            raise FileError(f"tokenizer.json of {source} is no CLIP's: its pieces are not bytes, merges and two marks")
        filling = read_json(settings).get("pad_token") if settings else None
        filling = filling["content"] if isinstance(filling, dict) else filling
        tokenizer.pad_token_id = tokenizer.ids.get(filling, tokenizer.end_token_id)
        return tokenizer

    def __init__(self, context_length: int | None = 77, merges: Sequence[Merge] | None = None):
        super().__init__(context_length, merges)
        self._read_marks({mark: self.ids[mark] for mark in (self.START, self.END)})

    @staticmethod
    def clean(text: str) -> str:
        """Composes characters from their parts (NFC) and lower-cases, each for itself."""
        return "".join(map(str.lower, unicodedata.normalize("NFC", text)))


class GPT2Tokenizer(Tokenizer):
    """GPT-2's tokenizer: nothing is lower-cased or lost; a word takes the space before it along (written "Ġ").

    Args:
        vocabulary: piece -> id.
        merges: in the order learned.
        special: marks -> id; GPT-2 has one, which stands between two texts and ends each.
        context_length: default length of a row.

    Source: Radford et al., Language Models are Unsupervised Multitask Learners, section 2.2, and its published code.
    """

    END = "<|endoftext|>"
    SYMBOLS = tuple(BYTE_SYMBOLS[byte] for byte in BYTE_ORDER)
    pattern = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        merges: Sequence[Merge],
        special: Mapping[str, int] | None = None,
        context_length: int | None = None,
    ):
        special = (
            {self.END: vocabulary[self.END]} if special is None and self.END in vocabulary else dict(special or {})
        )
        pieces = in_order({**vocabulary, **special})
        missing = [symbol for symbol in self.SYMBOLS if symbol not in vocabulary]
        lost = [pair for pair in merges if not {*pair, "".join(pair)} <= vocabulary.keys()]
        if missing or lost:
            what = f"byte {missing[0]!r}" if missing else f"merge {' '.join(lost[0])!r}"
            raise InputError(f"the vocabulary lacks the pieces of {what}; vocabulary and merges should be of one model")
        self.end_token_id = special.get(self.END)
        super().__init__(pieces, pad_token_id=self.end_token_id or 0, special=special, context_length=context_length)
        self.ranks = {tuple(pair): rank for rank, pair in enumerate(merges)}
        self._known: dict[str, list[int]] = {}

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int, min_count: int = 2, context_length: int | None = None
    ) -> "GPT2Tokenizer":
        """A tokenizer whose merges are learned from texts; `vocab_size` counts the 256 bytes and the end mark."""
        words = Counter(word for text in texts for word in cls.pattern.findall(text))
        spelled = {tuple(in_bytes(word)): count for word, count in words.items()}
        merges = learn_merges(spelled, cls.SYMBOLS, vocab_size - 1, min_count)
        pieces = dict.fromkeys([*cls.SYMBOLS, *map("".join, merges), cls.END])
        return cls({piece: index for index, piece in enumerate(pieces)}, merges, context_length=context_length)

    @classmethod
    def from_pretrained(cls, source: str | Path, context_length: int | None = None) -> "GPT2Tokenizer":
        """A published byte-level tokenizer: a folder or a Hub id ("openai-community/gpt2").

        Its files are vocab.json and merges.txt, or tokenizer.json alone.

        Raises:
            FileError: no such files, or they are damaged.
            OfflineError, InputError: as `course_lib.pretrained.weights.fetch`.
        """
        files = [find(source, name) for name in ("vocab.json", "merges.txt")]
        whole = find(source, "tokenizer.json") if None in files else None
        if None in files and whole is None:
            raise FileError(f"{source} has no vocab.json and merges.txt, nor tokenizer.json")
        if whole is not None:
            content = read_tokenizer_json(whole, "BPE")
            model, special = content["model"], special_marks(content)
            return cls(model["vocab"] | special, pairs_of(model["merges"]), special, context_length)
        try:
            vocabulary = json.loads(files[0].read_text(encoding="utf-8"))
            lines = files[1].read_text(encoding="utf-8").split("\n")
        except ValueError as error:
            raise FileError(f"vocab.json or merges.txt of {source} is damaged: fetch it again") from error
        merges = pairs_of(line for line in lines if line and not line.startswith("#version"))
        return cls(vocabulary, merges, context_length=context_length)

    def encode_plain(self, text: str) -> list[int]:
        """Each word's pieces; a word that was met before is looked up."""
        ids = []
        for word in self.pattern.findall(text):
            if word not in self._known:
                self._known[word] = [self.ids[piece] for piece in merge_pieces(list(in_bytes(word)), self.ranks)]
            ids += self._known[word]
        return ids

    def join(self, pieces: list[str]) -> str:
        """The very text that was encoded, up to the end mark."""
        kept = pieces[: pieces.index(self.END)] if self.END in pieces else pieces
        return from_bytes("".join(kept))


def in_order(vocabulary: Mapping[str, int]) -> list[str]:
    """The pieces of a vocabulary by id.

    Raises:
        InputError: the ids are not 0 to V - 1, each once.
    """
    pieces = sorted(vocabulary, key=vocabulary.__getitem__)
    if not pieces or [vocabulary[piece] for piece in pieces] != list(range(len(pieces))):
        raise InputError(f"the ids of the vocabulary should be 0 to {max(0, len(pieces) - 1)}, each once")
    return pieces


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
