"""Unigram, the tokenizer of T5: every piece has a probability, and a text is cut in the most probable way.

Cutting is Viterbi's algorithm. Learning goes the other way round than byte-pair encoding: from many pieces to few. The
probabilities come from EM, in which every way to cut a word counts by how probable it is; then the pieces that are
missed least are dropped.
"""

import base64
import math
import string
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from scipy.special import digamma

from course_lib.data.tokenizers.base import Tokenizer
from course_lib.data.tokenizers.published import read_tokenizer_json, special_marks
from course_lib.data.tokenizers.sentence_piece import (
    NORMAL,
    SPACE,
    UNIGRAM,
    Normaliser,
    read_model,
)
from course_lib.errors import FileError, InputError
from course_lib.pretrained.weights import find

PAD, END, UNKNOWN = MARKS = ("<pad>", "</s>", "<unk>")
PENALTY = 10.0  # how much less probable than the least probable piece an unknown character is, in log, as published
LONGEST = 16  # characters of a learned piece, as published


class UnigramTokenizer(Tokenizer):
    """T5's tokenizer: words with the space before them as "▁", cut into the pieces of highest total log-probability.

    A text becomes "... </s>". Characters that no piece has are unknown, neighbouring ones together.

    Args:
        scored: each piece and its log-probability, in the order of the ids; "<pad>", "</s>", "<unk>" among them.
        special: marks -> ids besides these three, such as T5's "<extra_id_0>".
        normalise: what is done to a text first.
        context_length: default length of a row.

    Raises:
        InputError: a mark is missing, or a piece is there twice.

    Source: Kudo, Subword Regularization, 2018, section 3; Kudo and Richardson, SentencePiece, 2018.
    """

    def __init__(
        self,
        scored: Sequence[tuple[str, float]],
        special: Mapping[str, int] | None = None,
        normalise: Normaliser | None = None,
        context_length: int | None = None,
    ):
        ids = {piece: index for index, (piece, _) in enumerate(scored)}
        missing = [mark for mark in MARKS if mark not in ids]
        if missing or len(ids) < len(scored):
            wanted = f"it should have {', '.join(MARKS)} and each piece once"
            raise InputError(f"the vocabulary {f'lacks {missing[0]}' if missing else 'has a piece twice'}; {wanted}")
        special = {mark: ids[mark] for mark in MARKS} | dict(special or {})
        super().__init__(ids, (), [ids[END]], ids[PAD], special, context_length)
        self.end_token_id, self.unknown_token_id = ids[END], ids[UNKNOWN]
        self.scores = {piece: float(score) for piece, score in scored if piece not in special}
        self.normalise = normalise or Normaliser(b"")
        self._unknown = min(self.scores.values(), default=0.0) - PENALTY
        self._longest = max(map(len, self.scores), default=1)
        self._known: dict[str, list[int]] = {}

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, context_length: int | None = None) -> "UnigramTokenizer":
        """A tokenizer whose pieces are learned from texts; `vocab_size` counts the three marks.

        Raises:
            InputError: no text, or a `vocab_size` that has no room for every character.
        """
        words = Counter(word for text in texts for word in spaced_words(text))
        scores = learn_pieces(words, vocab_size - len(MARKS))
        return cls([*((mark, 0.0) for mark in MARKS), *scores.items()], context_length=context_length)

    @classmethod
    def from_pretrained(cls, source: str | Path, context_length: int | None = None) -> "UnigramTokenizer":
        """A published tokenizer: a folder or a Hub id ("google-t5/t5-small") with tokenizer.json or spiece.model.

        Raises:
            FileError: no such file, a damaged one, or one of another kind of tokenizer.
            OfflineError, InputError: as `course_lib.pretrained.weights.fetch`.
        """
        path = find(source, "tokenizer.json", "spiece.model")
        if path is None:
            raise FileError(f"{source} has no tokenizer.json or spiece.model; a unigram tokenizer has one of them")
        if path.suffix == ".json":
            whole = read_tokenizer_json(path, "Unigram")
            scored = [(piece, score) for piece, score in whole["model"]["vocab"]]
            charsmap, marks = _charsmap(whole.get("normalizer")), special_marks(whole)
        else:
            model = read_model(path)
            if model.kind != UNIGRAM:
                raise FileError(f"{path.name} of {source} is a BPE model: read it with LlamaTokenizer")
            scored, charsmap = model.scores, model.charsmap
            marks = {piece: index for index, (piece, _, kind) in enumerate(model.pieces) if kind != NORMAL}
        return cls(scored, {m: i for m, i in marks.items() if i < len(scored)}, Normaliser(charsmap), context_length)

    def encode_plain(self, text: str) -> list[int]:
        """Each word's most probable pieces; a word that was met before is looked up."""
        ids: list[int] = []
        for word in spaced_words(self.normalise(text)):
            if word not in self._known:
                self._known[word] = self._ids_of(word)
            ids += self._known[word]
        return ids

    def _ids_of(self, word: str) -> list[int]:
        ids: list[int] = []
        for piece in viterbi(word, self.scores, self._unknown, self._longest):
            index = self.ids[piece] if piece in self.scores else self.unknown_token_id
            if index != self.unknown_token_id or ids[-1:] != [index]:
                ids.append(index)
        return ids

    def join(self, pieces: list[str]) -> str:
        """The text: "▁" is a space, the first one aside."""
        return "".join(piece for piece in pieces if piece != PAD).replace(SPACE, " ").strip()


class SigLIPTokenizer(UnigramTokenizer):
    """SigLIP's tokenizer: small letters, no punctuation, and rows of 64 that are filled up with end marks.

    Source: the published code of SigLIP (big_vision), `canonicalize_text`.
    """

    def __init__(self, scored, special=None, normalise=None, context_length: int | None = None):
        super().__init__(scored, special, normalise, context_length or 64)
        self.pad_token_id = self.end_token_id

    def encode_plain(self, text: str) -> list[int]:
        """The ids of what is left of a text when capitals and punctuation are gone."""
        return super().encode_plain(text.lower().translate(_NO_PUNCTUATION))


_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def spaced_words(text: str) -> list[str]:
    """The words of a text, each with the space before it; so has the first."""
    return [SPACE + word for word in text.replace(SPACE, " ").split()]


def viterbi(word: str, scores: Mapping[str, float], unknown: float, longest: int) -> list[str]:
    """The most probable way to cut a word.

    best[end] is the highest total score of any way to cut word[:end]: the maximum over all pieces that may come last.

    Args:
        word: any string.
        scores: piece -> log-probability.
        unknown: score of a single character that is no piece.
        longest: no piece is longer, in characters.

    Source: Kudo, Subword Regularization, section 3.2; Viterbi, 1967.
    """
    best = [0.0] + [-math.inf] * len(word)
    start_of = [0] * (len(word) + 1)
    for start in range(len(word)):
        for end in range(start + 1, min(len(word), start + longest) + 1):
            score = scores.get(word[start:end], unknown if end == start + 1 else None)
            if score is not None and best[start] + score > best[end]:
                best[end], start_of[end] = best[start] + score, start
    pieces, end = [], len(word)
    while end:
        pieces.append(word[start_of[end] : end])
        end = start_of[end]
    return pieces[::-1]


def expected_counts(words: Mapping[str, int], scores: Mapping[str, float]) -> tuple[dict[str, float], float]:
    """The E-step: how often each piece occurs, over all ways to cut each word, each weighed by its probability.

    Forward and backward sums, as in a hidden Markov model: a piece from `start` to `end` has the probability
    forward[start] · p(piece) · backward[end] / forward[whole word].

    Args:
        words: how often each occurs.
        scores: piece -> log-probability; every character should be one.

    Returns:
        piece -> expected count, and the log-likelihood of all words.
    """
    longest = max(map(len, scores))
    probabilities = {piece: math.exp(score) for piece, score in scores.items()}
    counts: dict[str, float] = defaultdict(float)
    likelihood = 0.0
    for word, count in words.items():
        length = len(word)
        spans = [
            (start, end, word[start:end])
            for start in range(length)
            for end in range(start + 1, min(length, start + longest) + 1)
            if word[start:end] in probabilities
        ]
        forward, backward = [1.0] + [0.0] * length, [0.0] * length + [1.0]
        for start, end, piece in spans:
            forward[end] += forward[start] * probabilities[piece]
        for start, end, piece in reversed(spans):
            backward[start] += probabilities[piece] * backward[end]
        for start, end, piece in spans:
            counts[piece] += count * forward[start] * probabilities[piece] * backward[end] / forward[length]
        likelihood += count * math.log(forward[length])
    return counts, likelihood


def learn_pieces(words: Mapping[str, int], size: int, rounds: int = 2, keep: float = 0.75) -> dict[str, float]:
    """Learns pieces and their log-probabilities: EM, then a quarter of the pieces dropped, until `size` are left.

    Args:
        words: how often each occurs.
        size: how many pieces there shall be, at most.
        rounds: of EM between two prunings.
        keep: the share of pieces that a pruning leaves.

    Returns:
        piece -> log-probability, the most probable first.

    Raises:
        InputError: no word, or no room for every character.

    Source: Kudo, Subword Regularization, section 3.2; details (digamma, expected counts below 0.5) from SentencePiece.
    """
    characters = Counter()
    substrings: Counter[str] = Counter()
    for word, count in words.items():
        for start in range(len(word)):
            characters[word[start]] += count
            for end in range(start + 2, min(len(word), start + LONGEST) + 1):
                substrings[word[start:end]] += count
    if not characters or size < len(characters):
        raise InputError(f"{size} pieces were asked for; there are {len(characters)} characters, and each must be one")
    weights = dict(characters) | {piece: n * len(piece) for piece, n in substrings.items() if n > 1}
    total = sum(weights.values())
    scores = {piece: math.log(weight / total) for piece, weight in weights.items()}
    while True:
        for _ in range(rounds):
            counts, _ = expected_counts(words, scores)
            kept = {piece: n for piece, n in counts.items() if n >= 0.5 or piece in characters}
            whole = digamma(sum(kept.values()))
            scores = {piece: float(digamma(max(n, 0.5)) - whole) for piece, n in kept.items()}
        if len(scores) <= max(size, int(size * 1.1)):
            break
        scores = _pruned(words, scores, characters, max(int(size * 1.1), int(keep * len(scores))))
    others = sorted((piece for piece in scores if piece not in characters), key=lambda p: (-scores[p], p))
    chosen = [*characters, *others[: size - len(characters)]]
    return {piece: scores[piece] for piece in sorted(chosen, key=lambda p: (-scores[p], p))}


def _pruned(words: Mapping[str, int], scores: dict[str, float], needed: Iterable[str], size: int) -> dict[str, float]:
    """The `size` pieces whose loss would lower the likelihood most, and all that are needed.

    A piece that is lost is replaced by the best way to cut it without it; that is not much loss if the piece is rare,
    or if what replaces it is nearly as probable.
    """
    longest = max(map(len, scores))
    used: Counter[str] = Counter()
    for word, count in words.items():
        for piece in viterbi(word, scores, -math.inf, longest):
            used[piece] += count
    total = sum(used.values())
    losses = {}
    for piece, score in scores.items():
        if len(piece) > 1:
            without = viterbi(piece, {**_parts(piece, scores)}, -math.inf, len(piece) - 1)
            other = sum(map(scores.__getitem__, without))
            # The counts of its parts grow by its own; so does their total, by one less than the number of parts.
            grown = total + used[piece] * (len(without) - 1)
            losses[piece] = used[piece] * (score - other) + used[piece] * math.log(grown / total)
    needed = set(needed)
    ranked = sorted(losses, key=lambda piece: (-losses[piece], -scores[piece], piece))
    keep = needed | set(ranked[: max(0, size - len(needed))])
    return {piece: score for piece, score in scores.items() if piece in keep}


def _parts(piece: str, scores: Mapping[str, float]) -> dict[str, float]:
    """The pieces that a piece contains, other than itself."""
    inner = {piece[a:b] for a in range(len(piece)) for b in range(a + 1, len(piece) + 1)} - {piece}
    return {part: scores[part] for part in inner if part in scores}


def _charsmap(normaliser: dict | None) -> bytes:
    """The table in the "normalizer" of a tokenizer.json, wherever in it."""
    if not normaliser:
        return b""
    if "precompiled_charsmap" in normaliser:
        return base64.b64decode(normaliser["precompiled_charsmap"] or "")
    return next(filter(None, map(_charsmap, normaliser.get("normalizers", []))), b"")
