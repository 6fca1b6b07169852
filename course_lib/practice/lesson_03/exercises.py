"""Exercise set 03: measuring a language model, cutting text into tokens, remembering, and choosing what comes next."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.generation.sampling import adjust
from course_lib.practice.exercise import Case, Exercise, Mistake, given, wrong_choices


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Normal numbers that depend on the seed alone."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Why a mechanical change to a model solution may change nothing.
ONE_MORE = "one more, or one less, for every pair changes nothing in their order"
SAME_SWAP = "two dimensions change places whichever of them is named first"

# 03.1 ---------------------------------------------------------------------------------------------------------------


def perplexity(logits: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """torch's cross-entropy, told to ignore padding."""
    labels = input_ids.masked_fill(attention_mask == 0, -100)[:, 1:]
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels.flatten()).exp()


def perplexity_case(
    about: str,
    seed: int,
    lengths: list[int],
    vocabulary: int,
    scale: float = 2.0,
    dtype: torch.dtype = torch.float32,
    **more: Any,
) -> Case:
    """A case of the perplexity: sequences of these lengths, padded at the end to the longest plus one."""
    longest = max(lengths) + 1
    generator = torch.Generator().manual_seed(seed + 1)
    mask = (torch.arange(longest)[None, :] < torch.tensor(lengths)[:, None]).long()
    inputs = {
        "logits": scale * normal(seed, len(lengths), longest, vocabulary, dtype=dtype),
        "input_ids": torch.randint(1, vocabulary, (len(lengths), longest), generator=generator) * mask,
        "attention_mask": mask,
    }
    return Case(about, inputs, **more)


def perplexity_cases(seed: int) -> list[Case]:
    half = math.log(2)
    by_hand = {
        "logits": torch.tensor([[[0.0, half, 0.0], [0.0, 0.0, half], [5.0, 0.0, 0.0]]]),
        "input_ids": torch.tensor([[2, 1, 2]]),
        "attention_mask": torch.tensor([[1, 1, 1]]),
    }
    even = {
        "logits": torch.zeros(2, 4, 7),
        "input_ids": torch.tensor([[1, 2, 3, 4], [6, 5, 0, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),
    }
    return [
        Case("three tokens, two predictions, each right with probability 1/2", by_hand),
        Case("even logits over seven tokens, where the perplexity is 7", even),
        perplexity_case("two sequences of different length", 10 * seed + 3, [3, 5], 6),
    ]


def _losses(
    logits: torch.Tensor, input_ids: torch.Tensor, mask: torch.Tensor, shift: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of every prediction `(B, T - 1)`, and 1 where it counts."""
    if shift == 0:
        return -logits.log_softmax(-1).gather(-1, input_ids[..., None])[..., 0], mask
    if shift < 0:
        return -logits[:, 1:].log_softmax(-1).gather(-1, input_ids[:, :-1, None])[..., 0], mask[:, 1:]
    return -logits[:, :-1].log_softmax(-1).gather(-1, input_ids[:, 1:, None])[..., 0], mask[:, 1:]


def _mean(losses: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (losses * mask).sum() / mask.sum()


def _per_sequence(losses: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (losses * mask).sum(1) / mask.sum(1)


PERPLEXITY = Exercise(
    id="03.1",
    title="Perplexity",
    name="perplexity",
    signature="def perplexity(logits: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor",
    asked="function",
    difficulty=1,
    minutes=8,
    points=1,
    hints=(
        "The logits at position t are about the token at position t + 1. Which logits have nothing to predict, and "
        "which token is predicted by none?",
        "Compare logits[:, :-1] with input_ids[:, 1:]. A prediction counts if the token that it predicts is one: "
        "attention_mask[:, 1:].",
        "Boolean indexing picks what counts: with counted = attention_mask[:, 1:].bool(), F.cross_entropy of "
        "logits[:, :-1][counted] and input_ids[:, 1:][counted] is the mean loss; perplexity is its exp().",
    ),
    cases=perplexity_cases,
    reference=perplexity,
    mistakes=(
        Mistake(
            "not shifted",
            "The logits at position t are compared with the token at t, which the model was given: they predict the "
            "token at t + 1.",
            lambda z, i, m: _mean(*_losses(z, i, m, shift=0)).exp(),
        ),
        Mistake(
            "shifted the wrong way",
            "The logits at position t are compared with the token before it: they predict the one after it.",
            lambda z, i, m: _mean(*_losses(z, i, m, shift=-1)).exp(),
        ),
        Mistake(
            "padding counted",
            "Predictions of padding are counted: only tokens with attention_mask 1 are to be predicted.",
            lambda z, i, m: _losses(z, i, m)[0].mean().exp(),
        ),
        Mistake(
            "first padding counted",
            "The first padding after each sequence is counted: what decides is the mask of the token that is "
            "predicted, not of the one that predicts.",
            lambda z, i, m: _mean(_losses(z, i, m)[0], m[:, :-1]).exp(),
        ),
        Mistake(
            "divided by all tokens",
            "The sum is divided by the number of tokens: divide by the number of predictions, for the first token of "
            "a sequence is predicted by none.",
            lambda z, i, m: ((_losses(z, i, m)[0] * m[:, 1:]).sum() / m.sum()).exp(),
        ),
        Mistake(
            "divided by the padded length",
            "Padding is left out of the sum, and counted in the number that it is divided by.",
            lambda z, i, m: (_losses(z, i, m)[0] * m[:, 1:]).mean().exp(),
        ),
        Mistake(
            "mean over sequences",
            "The mean is taken in each sequence and then over sequences, so that tokens of short ones count more: take "
            "one mean over all tokens.",
            lambda z, i, m: _per_sequence(*_losses(z, i, m)).mean().exp(),
        ),
        Mistake(
            "mean of perplexities",
            "This is the mean of the sequences' perplexities: take the mean of the losses first, exp at the end.",
            lambda z, i, m: _per_sequence(*_losses(z, i, m)).exp().mean(),
        ),
        Mistake(
            "exp before the mean",
            "exp was taken of each token's loss and then the mean: take the mean first.",
            lambda z, i, m: _mean(_losses(z, i, m)[0].exp(), m[:, 1:]),
        ),
        Mistake(
            "not exponentiated",
            "This is the mean loss in nats: the perplexity is its exp().",
            lambda z, i, m: _mean(*_losses(z, i, m)),
        ),
        Mistake(
            "two to the power of nats",
            "2 ** loss goes with a loss in bits: this one is in nats, so take exp.",
            lambda z, i, m: 2 ** _mean(*_losses(z, i, m)),
        ),
        Mistake(
            "summed",
            "The losses are added up: take their mean, so that the perplexity does not grow with the text.",
            lambda z, i, m: (_losses(z, i, m)[0] * m[:, 1:]).sum().exp(),
        ),
        Mistake(
            "wrong sign",
            "The sign of the loss is missing: the loss is minus the log-probability, and a perplexity is at least 1.",
            lambda z, i, m: (-_mean(*_losses(z, i, m))).exp(),
        ),
    ),
    explanation="A perplexity of 7 is the uncertainty of a fair choice among 7. It is per token, so it compares models "
    "with the same tokenizer only.",
)


# 03.2 ---------------------------------------------------------------------------------------------------------------

READING = {
    "temperature": "d",
    "order": "b",
    "remedy": "c",
    "units": "a",
    "units_because": "b",
    "cache": "c",
}

_WHY_NOT = {
    ("temperature", "a"): "The other way round: dividing by 0.5 doubles all differences. Which curve is steep?",
    ("temperature", "b"): "The three curves stand in one order of steepness, and so do the temperatures: a higher one "
    "is flatter.",
    ("temperature", "c"): "All three fall in the same order of words, and the ratios of one are powers of those of "
    "another: that is what a temperature does.",
    ("order", "a"): "A model of order 6 looks at five words, wherever in the caption they are: length does not matter.",
    ("order", "c"): "It has the most counts of all, more than it can fill from 300 captions.",
    ("order", "d"): "The words are the same few in all captions; at order 1 both curves are at the same place.",
    ("remedy", "a"): "A longer context is rarer still: the curve goes on rising.",
    ("remedy", "b"): "Adding 1 to every count gives what was never seen far more than it deserves: it takes from the "
    "counts that are known.",
    ("remedy", "d"): "A temperature sharpens or flattens what is known of a context, and here nothing is known of it.",
    ("units", "b"): "Its perplexity is lower per piece, and a word needs two pieces: compare over the same text.",
    ("units", "c"): "Work out both per word: the uncertainty of two pieces multiplies.",
    ("units", "d"): "Perplexities per token cannot be compared as they stand; brought to the same unit they can, since "
    "both give a probability to the same text.",
    ("units_because", "a"): "How much was learnt is what is measured here; it is no reason by itself.",
    ("units_because", "c"): "It does: the same model of the same text has a lower perplexity per piece if the pieces "
    "are shorter.",
    ("units_because", "d"): "A cheaper softmax says nothing about how likely the text is.",
    ("cache", "a"): "That is a single layer.",
    ("cache", "b"): "That is the keys alone.",
    ("cache", "d"): "That is with a key and a value for each of the 32 query heads: only 8 are kept.",
}  # fmt: skip


READ = Exercise(
    id="03.2",
    title="Read the curves, choose and justify",
    name="answers_03_2",
    signature="answers_03_2: dict[str, str]",
    asked="value",
    difficulty=2,
    minutes=10,
    points=2,
    hints=(
        "For the temperature: what happens to the difference of two logits that are divided by 2? For the order: how "
        "many different contexts of five words are there, and how many fit into 300 captions?",
        "For the units: two pieces with five equally likely choices each make how many choices for a word?",
        "For the cache: keys and values, for each layer, each key-value head, each position, each of the head's "
        "numbers; two bytes each.",
    ),
    cases=lambda seed: [Case("all six questions")],
    reference=READING,
    mistakes=wrong_choices(_WHY_NOT),
    keys={key: ("a", "b", "c", "d") for key in READING},
    explanation="Bits per character, or per byte, compare any two models of the same text. A cache of 1.07 GB for one "
    "sequence is why key-value heads are shared.",
)


# 03.3 ---------------------------------------------------------------------------------------------------------------


def learn_merges(counts: dict[str, int], merges: int) -> list[tuple[str, str]]:
    """Byte-pair encoding's training, all counts made anew for every merge."""
    return _merges(counts, merges)


def _count(words: dict[tuple[str, ...], int], weighted: bool = True, once: bool = False) -> dict[tuple, int]:
    pairs: dict[tuple, int] = {}
    for word, count in words.items():
        for pair in set(pairwise(word)) if once else pairwise(word):
            pairs[pair] = pairs.get(pair, 0) + (count if weighted else 1)
    return pairs


def _join(word: tuple[str, ...], pair: tuple[str, str], first_only: bool = False) -> tuple[str, ...]:
    pieces: list[str] = []
    joined = False
    for piece in word:
        if pieces and (pieces[-1], piece) == pair and not (first_only and joined):
            pieces[-1] += piece
            joined = True
        else:
            pieces.append(piece)
    return tuple(pieces)


def _merges(
    counts: dict[str, int],
    merges: int,
    weighted: bool = True,
    once: bool = False,
    tie: Callable = min,
    first_only: bool = False,
    least: bool = False,
    floor: int = 1,
) -> list[tuple[str, str]]:
    """Training with its likely mistakes made choices."""
    words = {tuple(word): count for word, count in counts.items()}
    learned: list[tuple[str, str]] = []
    for _ in range(merges):
        pairs = _count(words, weighted, once)
        if not pairs or max(pairs.values()) < floor:
            break
        wanted = min(pairs.values()) if least else max(pairs.values())
        best = tie(pair for pair, count in pairs.items() if count == wanted)
        learned.append(best)
        words = {_join(word, best, first_only): count for word, count in words.items()}
    return learned


def _counted_once(counts: dict[str, int], merges: int) -> list[tuple[str, str]]:
    """The most frequent pairs of letters; nothing is merged and counted again."""
    pairs = _count({tuple(word): count for word, count in counts.items()})
    return sorted(pairs, key=lambda pair: (-pairs[pair], pair))[:merges]


SYLLABLES = ("lo", "we", "st", "ne", "er", "ing", "an", "ba", "ta")


def merge_case(about: str, seed: int, kinds: int, merges: int, most: int = 12) -> Case:
    """A case of the training: words made of syllables, with how often each occurs; some counts are equal."""
    generator = torch.Generator().manual_seed(seed)

    def draw(high: int) -> int:
        return int(torch.randint(high, (), generator=generator))

    counts: dict[str, int] = {}
    while len(counts) < kinds:
        word = "".join(SYLLABLES[draw(len(SYLLABLES))] for _ in range(1 + draw(3)))
        counts.setdefault(word, 1 + draw(most))
    return Case(about, {"counts": counts, "merges": merges})


def merge_cases(seed: int) -> list[Case]:
    return [
        Case(
            "the textbook's words: low, lower, newest, widest",
            {"counts": {"low": 5, "lower": 2, "newest": 6, "widest": 3}, "merges": 4},
        ),
        Case("a letter that repeats: pairs overlap, merges do not", {"counts": {"aaab": 3, "aa": 1}, "merges": 2}),
        merge_case("six words, five merges", seed + 3, 6, 5),
    ]


MERGES = Exercise(
    id="03.3",
    title="Train a byte-pair encoder",
    name="learn_merges",
    signature="def learn_merges(counts: dict[str, int], merges: int) -> list[tuple[str, str]]",
    asked="function",
    difficulty=3,
    minutes=15,
    points=3,
    hints=(
        "Keep every word as a tuple of pieces, letters at first, with its count. One round: count all pairs of "
        "neighbouring pieces, take the most frequent, merge it in every word.",
        "zip(word, word[1:]) gives the pairs of a word; add the word's count for each of them. For the tie: "
        "max(sorted(pairs), key=pairs.get) returns the first of the most frequent, in alphabetical order.",
        "To merge, walk through the pieces: if the last piece that you kept and the next one are the pair, join them "
        "in its place; otherwise keep the next one. Count everything again before the next merge, and stop when there "
        "are no pairs left.",
    ),
    cases=merge_cases,
    reference=learn_merges,
    mistakes=(
        Mistake(
            "words counted once",
            "Every word counts once here: a word that occurs five times counts its pairs five times.",
            lambda c, m: _merges(c, m, weighted=False),
        ),
        Mistake(
            "counted once for all",
            "These are the most frequent pairs of letters: after each merge the pieces are others, and the pairs have "
            "to be counted again.",
            _counted_once,
        ),
        Mistake(
            "pairs counted once per word",
            "A pair that occurs twice in a word is counted once: every occurrence counts.",
            lambda c, m: _merges(c, m, once=True),
        ),
        Mistake(
            "first occurrence only",
            "Only the first occurrence in a word is merged: merge all of them, from left to right.",
            lambda c, m: _merges(c, m, first_only=True),
        ),
        Mistake(
            "first met of equals",
            "Of pairs that are equally frequent yours is the one that was met first: take the first in the alphabet, "
            "so that the order of the words does not matter.",
            lambda c, m: _merges(c, m, tie=lambda pairs: next(iter(pairs))),
        ),
        Mistake(
            "last of equals",
            "Of pairs that are equally frequent yours is the last in the alphabet: take the first.",
            lambda c, m: _merges(c, m, tie=max),
        ),
        Mistake(
            "rarest pair",
            "The rarest pair is merged: take the most frequent.",
            lambda c, m: _merges(c, m, least=True),
        ),
        Mistake(
            "stops at 1",
            "You stop when no pair occurs twice: here merging goes on as long as there is a pair.",
            lambda c, m: _merges(c, m, floor=2),
        ),
        Mistake(
            "pieces instead of pairs",
            "These are the joined pieces: return the pairs, as tuples of two strings.",
            lambda c, m: ["".join(pair) for pair in _merges(c, m)],
        ),
        Mistake(
            "one merge too many",
            "There is one merge too many.",
            lambda c, m: _merges(c, m + 1),
        ),
    ),
    equivalents={
        "pairs[pair] = pairs.get(pair, 1) + count": ONE_MORE,
        "pairs[pair] = pairs.get(pair, -1) + count": ONE_MORE,
    },
    explanation="Frequent words become one piece, rare ones stay in parts, and nothing is ever unknown. The library's "
    "version updates only what a merge changes, and gives the merges of `tokenizers`.",
    seconds=2.0,
)


# 03.4 ---------------------------------------------------------------------------------------------------------------


class LSTM(nn.Module):
    """One layer of long short-term memory; names and sizes as in the exercise."""

    def __init__(self, input_width: int, width: int) -> None:
        super().__init__()
        self.from_input = nn.Linear(input_width, 4 * width)
        self.from_state = nn.Linear(width, 4 * width, bias=False)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = inputs.new_zeros(len(inputs), self.from_state.in_features)
        memory = hidden
        outputs = []
        for step in range(inputs.shape[1]):
            hidden, memory = self.carry(hidden, memory)
            i, f, g, o = self.gates((self.from_input(inputs[:, step]) + self.from_state(hidden)).chunk(4, dim=-1))
            memory = self.remember(f, memory, i, g)
            hidden = self.show(o, memory)
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), memory

    # The steps that a likely mistake changes.
    def gates(self, parts: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        i, f, g, o = parts
        return i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()

    def remember(self, f: torch.Tensor, memory: torch.Tensor, i: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        return f * memory + i * g

    def show(self, o: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        return o * memory.tanh()

    def carry(self, hidden: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return hidden, memory


class _GatesIFOG(LSTM):
    def gates(self, parts):
        i, f, o, g = parts
        return i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()


class _ForgetExchanged(LSTM):
    def remember(self, f, memory, i, g):
        return i * memory + f * g


class _SigmoidCandidate(LSTM):
    def gates(self, parts):
        return tuple(part.sigmoid() for part in parts)


class _TanhGates(LSTM):
    def gates(self, parts):
        return tuple(part.tanh() for part in parts)


class _NoCandidateTanh(LSTM):
    def gates(self, parts):
        i, f, g, o = parts
        return i.sigmoid(), f.sigmoid(), g, o.sigmoid()


class _NoGateSigmoid(LSTM):
    def gates(self, parts):
        i, f, g, o = parts
        return i, f, g.tanh(), o


class _NoTanhOut(LSTM):
    def show(self, o, memory):
        return o * memory


class _NoOutputGate(LSTM):
    def show(self, o, memory):
        return memory.tanh()


class _NoForget(LSTM):
    def remember(self, f, memory, i, g):
        return memory + i * g


class _OneMinusForget(LSTM):
    def remember(self, f, memory, i, g):
        return (1 - f) * memory + i * g


class _OnlyForget(LSTM):
    def remember(self, f, memory, i, g):
        return f * memory + (1 - f) * g


class _MemoryLost(LSTM):
    def carry(self, hidden, memory):
        return hidden, torch.zeros_like(memory)


class _StateLost(LSTM):
    def carry(self, hidden, memory):
        return torch.zeros_like(hidden), memory


class _MemoryShown(LSTM):
    """The memory after the tanh is carried on."""

    def carry(self, hidden, memory):
        return hidden, memory.tanh()


class _Memories(LSTM):
    """All steps' states are right; the last state is returned for the memory."""

    def forward(self, inputs):
        outputs, _ = super().forward(inputs)
        return outputs, outputs[:, -1]


def lstm_case(about: str, seed: int, batch: int, length: int, input_width: int, width: int, **more: Any) -> Case:
    state = {
        "from_input.weight": normal(seed + 1, 4 * width, input_width),
        "from_input.bias": normal(seed + 2, 4 * width),
        "from_state.weight": normal(seed + 3, 4 * width, width),
    }
    inputs = {"inputs": normal(seed + 4, batch, length, input_width)}
    return Case(about, inputs, construct={"input_width": input_width, "width": width}, state=state, **more)


def lstm_cases(seed: int) -> list[Case]:
    return [
        lstm_case("a single step", 100 * seed, 1, 1, 2, 2),
        lstm_case("two sequences of four steps", 100 * seed + 10, 2, 4, 3, 5),
    ]


MEMORY = Exercise(
    id="03.4",
    title="Long short-term memory",
    name="LSTM",
    signature="class LSTM(nn.Module)",
    asked="module",
    difficulty=3,
    minutes=13,
    points=3,
    hints=(
        "Two vectors are carried from step to step: the hidden state h and the memory c, both zeros at first. Loop "
        "over the steps, inputs[:, step].",
        "(self.from_input(x) + self.from_state(h)).chunk(4, dim=-1) gives i, f, g, o before their activations: a "
        "sigmoid for the three gates, tanh for the candidate g.",
        "c = f * c + i * g, then h = o * torch.tanh(c); collect the h of every step and stack them along dim=1. Return "
        "the stack and the last c.",
    ),
    cases=lstm_cases,
    reference=LSTM,
    mistakes=(
        Mistake(
            "order of the parts",
            "The third part is taken for the output gate and the fourth for the candidate: the order is i, f, g, o.",
            _GatesIFOG,
        ),
        Mistake(
            "forget and input exchanged",
            "The input gate keeps the old memory and the forget gate lets in the new: it is the other way round.",
            _ForgetExchanged,
        ),
        Mistake(
            "candidate by sigmoid",
            "The candidate g goes through a sigmoid, so that the memory can only grow: through tanh.",
            _SigmoidCandidate,
        ),
        Mistake("gates by tanh", "The gates go through tanh: a gate lies between 0 and 1, so sigmoid.", _TanhGates),
        Mistake("candidate without tanh", "The candidate g has no tanh.", _NoCandidateTanh),
        Mistake("gates without sigmoid", "The gates have no sigmoid: they should lie between 0 and 1.", _NoGateSigmoid),
        Mistake(
            "no tanh on the way out",
            "The memory is shown as it is: the state is o times the tanh of the memory.",
            _NoTanhOut,
        ),
        Mistake("no output gate", "The output gate has no effect on the state.", _NoOutputGate),
        Mistake("nothing forgotten", "The forget gate has no effect: the old memory is multiplied by it.", _NoForget),
        Mistake(
            "forgets what it should keep",
            "The old memory is multiplied by 1 - f: a forget gate of 1 keeps everything, whatever its name says.",
            _OneMinusForget,
        ),
        Mistake(
            "one gate for both",
            "What comes in is weighted by 1 - f, as in a GRU: an LSTM has an input gate of its own.",
            _OnlyForget,
        ),
        Mistake(
            "memory lost",
            "The memory begins from zeros at every step: it is what an LSTM carries on.",
            _MemoryLost,
        ),
        Mistake("state lost", "The hidden state begins from zeros at every step: carry it on.", _StateLost),
        Mistake(
            "tanh carried on",
            "The memory is carried on after its tanh: that is for the state only, or it shrinks at every step.",
            _MemoryShown,
        ),
        Mistake(
            "state instead of memory",
            "The second result is the last state: return the last memory.",
            _Memories,
        ),
    ),
    explanation="Along the memory the derivative is the product of the forget gates: near 1 it lasts for hundreds of "
    "steps. nn.LSTM gives the same numbers, and stacks its two biases instead of one.",
)


# 03.5 ---------------------------------------------------------------------------------------------------------------


def nucleus(logits: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """The library's logits, as probabilities."""
    return adjust(logits, temperature=temperature, top_p=top_p).softmax(dim=-1)


def _nucleus(
    logits: torch.Tensor,
    temperature: float,
    top_p: float,
    crossing: str = "kept",
    renormalised: bool = True,
    back: bool = True,
    descending: bool = True,
    late: bool = False,
) -> torch.Tensor:
    """Top-p with its likely mistakes made choices."""
    measured = logits if late else logits / temperature
    ordered, order = measured.softmax(-1).sort(dim=-1, descending=descending)
    together = ordered.cumsum(-1)
    removed = together - ordered >= top_p if crossing == "kept" else together > top_p
    removed[..., 0] = False
    shown = (logits / temperature).softmax(-1).gather(-1, order) if late else ordered
    kept = shown.masked_fill(removed, 0.0)
    if renormalised:
        kept = kept / kept.sum(-1, keepdim=True)
    return torch.zeros_like(kept).scatter(-1, order, kept) if back else kept


def _by_size(z: torch.Tensor, t: float, p: float, least: Callable[[torch.Tensor], Any]) -> torch.Tensor:
    """Tokens above a limit of their own probability."""
    probabilities = (z / t).softmax(-1)
    kept = probabilities.masked_fill(probabilities < least(probabilities), 0.0)
    return kept / kept.sum(-1, keepdim=True)


def nucleus_case(
    about: str, seed: int, rows: int, vocabulary: int, temperature: float, top_p: float, scale: float = 1.5, **more: Any
) -> Case:
    inputs = {"logits": scale * normal(seed, rows, vocabulary), "temperature": temperature, "top_p": top_p}
    return Case(about, inputs, **more)


def nucleus_cases(seed: int) -> list[Case]:
    by_hand = {
        "logits": torch.tensor([[0.1, 0.5, 0.3, 0.1], [0.4, 0.3, 0.1, 0.2]]).log(),
        "temperature": 1.0,
        "top_p": 0.6,
    }
    return [
        Case("probabilities 0.5, 0.3, 0.1, 0.1 at top_p 0.6: the first two remain", by_hand),
        nucleus_case("a temperature of 2", seed + 1, 2, 6, 2.0, 0.7),
    ]


NUCLEUS = Exercise(
    id="03.5",
    title="Top-p sampling",
    name="nucleus",
    signature="def nucleus(logits: Tensor, temperature: float, top_p: float) -> Tensor",
    asked="function",
    difficulty=3,
    minutes=12,
    points=3,
    hints=(
        "First the temperature, then probabilities, then sort them from the largest down. A token stays if those "
        "before it do not yet have top_p together.",
        "ordered, order = probabilities.sort(dim=-1, descending=True). What all tokens *before* each one have together "
        "is ordered.cumsum(dim=-1) - ordered. Set what goes to 0 and divide the rest by its sum.",
        "order says which token stands where; order.argsort(dim=-1) says where each token stands: kept.gather(dim=-1, "
        "index=order.argsort(dim=-1)) brings the numbers back to their tokens.",
    ),
    cases=nucleus_cases,
    reference=nucleus,
    mistakes=(
        Mistake(
            "crossing token removed",
            "The token with which top_p is reached is removed: it stays, so that the tokens left have at least top_p "
            "together, and never none remains.",
            lambda z, t, p: _nucleus(z, t, p, crossing="removed"),
        ),
        Mistake(
            "not renormalised",
            "What is left does not sum to 1: divide it by its sum.",
            lambda z, t, p: _nucleus(z, t, p, renormalised=False),
        ),
        Mistake(
            "left in order",
            "The probabilities are in the order of their size: bring each back to the place of its token.",
            lambda z, t, p: _nucleus(z, t, p, back=False),
        ),
        Mistake(
            "sorted upwards",
            "The sorting starts from the least likely, so that the tail is kept: sort with descending=True.",
            lambda z, t, p: _nucleus(z, t, p, descending=False),
        ),
        Mistake(
            "temperature multiplied",
            "The logits are multiplied by the temperature: divide by it.",
            lambda z, t, p: _nucleus(z, 1 / t, p),
        ),
        Mistake(
            "temperature left out",
            "The temperature has no effect: divide the logits by it first.",
            lambda z, t, p: _nucleus(z, 1.0, p),
        ),
        Mistake(
            "temperature after the cut",
            "The tokens are chosen before the temperature is applied: the temperature comes first, and changes which "
            "tokens make up top_p.",
            lambda z, t, p: _nucleus(z, t, p, late=True),
        ),
        Mistake(
            "probabilities divided by the temperature",
            "The probabilities are divided by the temperature, where the sum takes it out again: divide the logits.",
            lambda z, t, p: _nucleus(z.softmax(-1).div(t).log(), 1.0, p),
        ),
        Mistake(
            "limit on each probability",
            "Tokens are kept whose own probability is at least top_p, or 1 - top_p: top_p is what those that are kept "
            "have together.",
            lambda z, t, p: _by_size(z, t, p, lambda found: 1 - p),
        ),
        Mistake(
            "share of the most likely",
            "Tokens are kept whose probability is a share of the most likely one's: that is min-p.",
            lambda z, t, p: _by_size(z, t, p, lambda found: (1 - p) * found.amax(-1, keepdim=True)),
        ),
        Mistake(
            "nothing removed",
            "Nothing is removed: these are the probabilities of all tokens.",
            lambda z, t, p: (z / t).softmax(-1),
        ),
    ),
    explanation="Where the model is sure few tokens remain, where it is not many do: that is what top-k cannot. It is "
    "the tail of thousands of unlikely tokens that makes plain sampling go astray.",
)


# 03.6 ---------------------------------------------------------------------------------------------------------------


class CachedAttention(nn.Module):
    """Causal attention with fewer key-value heads than heads and a cache; names and sizes as in the exercise."""

    def __init__(self, width: int, heads: int, key_value_heads: int) -> None:
        super().__init__()
        self.heads, self.key_value_heads = heads, key_value_heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width * key_value_heads // heads, bias=False)
        self.v_proj = nn.Linear(width, width * key_value_heads // heads, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(
        self, hidden_states: torch.Tensor, past_keys: torch.Tensor, past_values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        query = self.split(self.q_proj(hidden_states), self.heads)
        keys = self.extend(past_keys, self.split(self.k_proj(hidden_states), self.key_value_heads))
        values = self.extend(past_values, self.split(self.v_proj(hidden_states), self.key_value_heads))
        allowed = self.allowed(query.shape[2], keys.shape[2])
        mixed = F.scaled_dot_product_attention(query, self.share(keys), self.share(values), allowed)
        return self.join(mixed), *self.kept(keys, values, past_keys.shape[2])

    # The steps that a likely mistake changes.
    def split(self, projected: torch.Tensor, heads: int) -> torch.Tensor:
        return projected.unflatten(-1, (heads, -1)).transpose(1, 2)

    def extend(self, past: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        return torch.cat([past, new], dim=2)

    def allowed(self, queries: int, keys: int) -> torch.Tensor:
        return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)

    def share(self, states: torch.Tensor) -> torch.Tensor:
        return states.repeat_interleave(self.heads // self.key_value_heads, dim=1)

    def join(self, mixed: torch.Tensor) -> torch.Tensor:
        return self.o_proj(mixed.transpose(1, 2).flatten(2))

    def kept(self, keys: torch.Tensor, values: torch.Tensor, past: int) -> tuple[torch.Tensor, torch.Tensor]:
        return keys, values


class _NoOffset(CachedAttention):
    def allowed(self, queries, keys):
        return torch.ones(queries, keys, dtype=torch.bool).tril()


class _NoMask(CachedAttention):
    def allowed(self, queries, keys):
        return torch.ones(queries, keys, dtype=torch.bool)


class _NotItself(CachedAttention):
    def allowed(self, queries, keys):
        return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries - 1)


class _OneAhead(CachedAttention):
    def allowed(self, queries, keys):
        return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries + 1)


class _OnlyThePast(CachedAttention):
    """Every query sees what is in the cache and itself, and none of the others that came with it."""

    def allowed(self, queries, keys):
        allowed = torch.ones(queries, keys, dtype=torch.bool)
        allowed[:, keys - queries :] = torch.eye(queries, dtype=torch.bool)
        return allowed


class _Tiled(CachedAttention):
    def share(self, states):
        return states.repeat(1, self.heads // self.key_value_heads, 1, 1)


class _NewFirst(CachedAttention):
    def extend(self, past, new):
        return torch.cat([new, past], dim=2)


class _PastIgnored(CachedAttention):
    def extend(self, past, new):
        return new


class _OnlyNewKept(CachedAttention):
    def kept(self, keys, values, past):
        return keys[:, :, past:], values[:, :, past:]


class _SharedKept(CachedAttention):
    def kept(self, keys, values, past):
        return self.share(keys), self.share(values)


class _ValuesFirst(CachedAttention):
    def kept(self, keys, values, past):
        return values, keys


class _WrongView(CachedAttention):
    def split(self, projected, heads):
        batch, length, width = projected.shape
        return projected.reshape(batch, heads, length, width // heads)


class _NoOut(CachedAttention):
    def join(self, mixed):
        return mixed.transpose(1, 2).flatten(2)


def cache_case(
    about: str, seed: int, batch: int, past: int, new: int, heads: int, shared: int, head_width: int = 2, **more: Any
) -> Case:
    """A case of the cached attention: `past` positions are in the cache, `new` ones come; `shared` key-value heads."""
    width, kept = heads * head_width, shared * head_width
    state = {
        "q_proj.weight": 1.5 * normal(seed + 1, width, width) / width**0.5,
        "k_proj.weight": 1.5 * normal(seed + 2, kept, width) / width**0.5,
        "v_proj.weight": normal(seed + 3, kept, width) / width**0.5,
        "o_proj.weight": normal(seed + 4, width, width) / width**0.5 + torch.eye(width) / 2,
    }
    inputs = {
        "hidden_states": 1.5 * normal(seed + 5, batch, new, width),
        "past_keys": normal(seed + 6, batch, shared, past, head_width),
        "past_values": normal(seed + 7, batch, shared, past, head_width),
    }
    construct = {"width": width, "heads": heads, "key_value_heads": shared}
    return Case(about, inputs, construct=construct, state=state, **more)


def cache_cases(seed: int) -> list[Case]:
    return [
        cache_case("the prompt: three positions, an empty cache", 100 * seed, 1, 0, 3, 2, 1),
        cache_case("one new token after four", 100 * seed + 10, 2, 4, 1, 4, 2),
        cache_case("three new tokens after two", 100 * seed + 20, 1, 2, 3, 4, 2),
    ]


CACHE = Exercise(
    id="03.6",
    title="Grouped-query attention with a cache",
    name="CachedAttention",
    signature="class CachedAttention(nn.Module)",
    asked="module",
    difficulty=4,
    minutes=18,
    points=4,
    hints=(
        "Make queries, keys and values of the new positions only. Put the new keys and values behind the old ones, "
        "along the dimension of positions; that is also what you return.",
        "New position i is position P + i of the whole: it sees keys 0 to P + i. torch.ones(T, P + T, "
        "dtype=torch.bool).tril(P) says that. Heads 0 and 1 share key-value head 0 if there are two heads to one: "
        "repeat_interleave, not repeat.",
        "F.scaled_dot_product_attention(query, keys.repeat_interleave(group, dim=1), values.repeat_interleave(group, "
        "dim=1), allowed) with group = heads // key_value_heads; then transpose, flatten, o_proj. Return keys and "
        "values before they were repeated.",
    ),
    cases=cache_cases,
    reference=CachedAttention,
    mistakes=(
        Mistake(
            "mask without the past",
            "The causal mask begins at the first key, so that new positions see only the oldest of the cache: the "
            "first new position is number P, and sees P + 1 keys.",
            _NoOffset,
        ),
        Mistake(
            "no mask",
            "New positions see those that came with them and stand after them: a causal mask is needed when more than "
            "one token is fed.",
            _NoMask,
        ),
        Mistake("cannot see itself", "A new position does not see itself.", _NotItself),
        Mistake("looks one ahead", "A new position sees the one after it: the mask is one too far.", _OneAhead),
        Mistake(
            "blind to its neighbours",
            "A new position sees the cache and itself, but not the new positions before it.",
            _OnlyThePast,
        ),
        Mistake(
            "heads shared in turns",
            "Key-value heads are handed out in turns (repeat): neighbouring heads share one (repeat_interleave).",
            _Tiled,
        ),
        Mistake("new before old", "The new keys and values stand before the old ones: put them behind.", _NewFirst),
        Mistake("cache ignored", "What is in the cache has no effect.", _PastIgnored),
        Mistake(
            "only the new returned",
            "Only the new keys and values are returned: return all, so that the next call can be given them.",
            _OnlyNewKept,
        ),
        Mistake(
            "repeated heads returned",
            "The keys and values are returned after they were repeated for the heads: keep them as they are, or "
            "nothing is saved.",
            _SharedKept,
        ),
        Mistake("keys and values exchanged", "Keys and values are returned in the wrong order.", _ValuesFirst),
        Mistake(
            "heads by a view alone",
            "The heads are cut out by a view to (B, heads, T, d), which mixes positions and features up: view to (B, "
            "T, heads, d) first, then transpose.",
            _WrongView,
        ),
        Mistake("output projection left out", "o_proj is missing at the end.", _NoOut),
    ),
    equivalents={
        "query = self.q_proj(hidden_states).unflatten(-1, (self.heads, -1)).transpose(2, 1)": SAME_SWAP,
        "key = self.k_proj(hidden_states).unflatten(-1, (self.key_value_heads, -1)).transpose(2, 1)": SAME_SWAP,
        "value = self.v_proj(hidden_states).unflatten(-1, (self.key_value_heads, -1)).transpose(2, 1)": SAME_SWAP,
        "return (self.o_proj(mixed.transpose(2, 1).flatten(2)), keys, values)": SAME_SWAP,
    },
    explanation="Fed token by token with the cache it gives what it gives for the whole text at once. Llama 3's 8B "
    "model has 32 heads and 8 key-value heads: a quarter of the cache.",
)


# 03.7 ---------------------------------------------------------------------------------------------------------------


class ToyLanguageModel(nn.Module):
    """Log-probabilities `(N, V)` of the next token after N token lists, from the last two tokens of each."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.register_buffer("last", torch.zeros(vocabulary, vocabulary))
        self.register_buffer("before", torch.zeros(vocabulary, vocabulary))

    def forward(self, texts: list[list[int]]) -> torch.Tensor:
        if not texts or not all(isinstance(text, list) for text in texts):
            raise TypeError("log_probabilities takes a list of token lists, as in [[0, 3], [0, 5]]")
        logits = torch.stack([self.last[text[-1]] + self.before[text[-2 % len(text)]] for text in texts])
        return logits.log_softmax(dim=-1)


def beam_search(
    log_probabilities: Callable[[list[list[int]]], torch.Tensor],
    start: int,
    end: int,
    beams: int,
    max_new_tokens: int,
    length_penalty: float,
) -> tuple[list[int], float]:
    """Beam search as the exercise asks for it."""
    return _search(log_probabilities, start, end, beams, max_new_tokens, length_penalty)


def _search(
    log_probabilities: Callable[[list[list[int]]], torch.Tensor],
    start: int,
    end: int,
    beams: int,
    max_new_tokens: int,
    length_penalty: float,
    *,
    added: int = 0,
    each: bool = False,
    first_end: bool = False,
    through_end: bool = False,
    unfinished: bool = True,
    refill: bool = False,
    multiply: bool = False,
    worst: bool = False,
    raw: bool = False,
    running: float = 0.0,
) -> tuple[list[int], float]:
    """Beam search with its likely mistakes made choices."""

    def value(one: tuple[list[int], float]) -> float:
        return one[1] / (len(one[0]) + added) ** length_penalty

    def order(one: tuple[list[int], float]) -> float:
        return one[1] / max(1, len(one[0])) ** running

    live: list[tuple[list[int], float]] = [([], 0.0)]
    finished: list[tuple[list[int], float]] = []
    for _ in range(max_new_tokens):
        scores = log_probabilities([[start, *tokens] for tokens, _ in live]).tolist()
        grown = []
        for (tokens, total), row in zip(live, scores, strict=True):
            of_one = [
                ([*tokens, token], total * score if multiply and tokens else total + score)
                for token, score in enumerate(row)
            ]
            grown += sorted(of_one, key=lambda one: one[1], reverse=True)[:beams] if each else of_one
        grown.sort(key=order, reverse=not worst)
        room = len(grown) if each else beams
        best = grown[:room]
        if refill:
            ends = [one for one in grown[: 2 * beams] if one[0][-1] == end]
            finished += ends
            live = [one for one in grown if one[0][-1] != end][:beams]
            continue
        finished += [one for one in best if one[0][-1] == end and not through_end]
        live = [one for one in best if one[0][-1] != end or through_end]
        if not live or (first_end and finished):
            break
    if unfinished or not finished:
        finished += live
    best_one = max(finished, key=(lambda one: one[1]) if raw else value)
    return best_one[0], value(best_one)


def _how(**changes: Any) -> Callable:
    """An answer with a mistake: `_search` with one choice changed."""

    def answer(*inputs: Any) -> tuple[list[int], float]:
        return _search(*inputs, **changes)

    return answer


def _greedy(log_probabilities, start, end, beams, max_new_tokens, length_penalty):
    """One beam, whatever was asked for."""
    return _search(log_probabilities, start, end, 1, max_new_tokens, length_penalty)


def _unnormalised(log_probabilities, start, end, beams, max_new_tokens, length_penalty):
    """The length penalty has no effect."""
    return _search(log_probabilities, start, end, beams, max_new_tokens, 0.0)


def _with_the_start(*inputs: Any) -> tuple[list[int], float]:
    tokens, score = _search(*inputs)
    return [inputs[1], *tokens], score


def _without_the_end(*inputs: Any) -> tuple[list[int], float]:
    tokens, score = _search(*inputs)
    return [token for token in tokens if token != inputs[2]], score


def _raw_score(*inputs: Any) -> tuple[list[int], float]:
    tokens, score = _search(*inputs)
    return tokens, score * len(tokens) ** inputs[5]


def _probability(*inputs: Any) -> tuple[list[int], float]:
    tokens, score = _search(*inputs)
    return tokens, math.exp(score)


def beam_case(
    about: str,
    seed: int,
    vocabulary: int,
    beams: int,
    new: int,
    penalty: float,
    ends: float = 0.0,
    scale: float = 1.5,
) -> Case:
    """A case of beam search: token 0 starts, token 1 ends; `ends` raises or lowers the logit of ending."""
    state = {"last": scale * normal(seed, vocabulary, vocabulary), "before": normal(seed + 1, vocabulary, vocabulary)}
    state["last"][:, 1] += ends
    state["last"][:, 0] -= 8.0
    inputs = {
        "log_probabilities": given(ToyLanguageModel, {"vocabulary": vocabulary}, state),
        "start": 0,
        "end": 1,
        "beams": beams,
        "max_new_tokens": new,
        "length_penalty": penalty,
    }
    return Case(about, inputs)


def table_case(
    about: str, after: dict[int, dict[int, float]], beams: int, new: int, penalty: float, vocabulary: int = 8
) -> Case:
    """A case written out: token -> the probabilities of what follows it; others share what is left."""
    table = torch.zeros(vocabulary, vocabulary)
    for token in range(vocabulary):
        following = after.get(token, {})
        # Unequal, so that no two texts are equally likely.
        shares = {other: 1 + other / (3 + token) for other in range(vocabulary) if other not in following}
        left = max(1e-9, 1 - sum(following.values())) / max(1.0, sum(shares.values()))
        for other in range(vocabulary):
            table[token, other] = following.get(other, left * shares.get(other, 0.0))
    state = {"last": table.log(), "before": torch.zeros(vocabulary, vocabulary)}
    inputs = {
        "log_probabilities": given(ToyLanguageModel, {"vocabulary": vocabulary}, state),
        "start": 0,
        "end": 1,
        "beams": beams,
        "max_new_tokens": new,
        "length_penalty": penalty,
    }
    return Case(about, inputs)


def beam_cases(seed: int) -> list[Case]:
    trap = {0: {2: 0.6, 3: 0.4}, 2: {1: 0.4, 2: 0.3, 3: 0.3}, 3: {1: 0.9, 2: 0.05, 3: 0.05}}
    longer = {0: {1: 0.5, 2: 0.45}, 2: {3: 0.95}, 3: {1: 0.95}}
    return [
        table_case(
            "the likelier first word leads to the less likely text: 0.6 x 0.4 against 0.4 x 0.9", trap, 2, 2, 0.0, 4
        ),
        table_case("the shorter text is likelier, the longer one likelier per token", longer, 2, 4, 1.0, 4),
        beam_case("three beams, four tokens at most, the mean log-probability", 10 * seed + 2, 6, 3, 4, 1.0),
    ]


BEAM = Exercise(
    id="03.7",
    title="Beam search",
    name="beam_search",
    signature="def beam_search(log_probabilities: Callable[[list[list[int]]], Tensor], start: int, end: int, "
    "beams: int, max_new_tokens: int, length_penalty: float) -> tuple[list[int], float]",
    asked="function",
    difficulty=5,
    minutes=20,
    points=4,
    hints=(
        "Keep two lists of (tokens, summed log-probability): texts that go on, at first ([], 0.0) alone, and texts "
        "that have ended.",
        "One round: ask the model for all running texts at once, each with the start token before it; write down every "
        "continuation of every text by every token; sort them all together and take the best `beams`. Those of them "
        "that end with `end` go to the ended ones, the others run on.",
        "After the last round the running texts count as ended too. Return the one with the highest total / "
        "len(tokens) ** length_penalty, and that number. Stop early only when nothing runs on.",
    ),
    cases=beam_cases,
    reference=beam_search,
    mistakes=(
        Mistake(
            "greedy",
            "Only one text is kept at each step: that is greedy decoding. Keep `beams` of them.",
            _greedy,
        ),
        Mistake(
            "beams for each text",
            "The best continuations of each text are kept, so that there are more texts at every step: sort all of "
            "them together and keep `beams` in all.",
            _how(each=True),
        ),
        Mistake(
            "no length penalty",
            "The length penalty has no effect: compare total / length ** length_penalty.",
            _unnormalised,
        ),
        Mistake(
            "compared without the penalty",
            "The best text is chosen by its sum, and only its score is divided: the division is there for the choice.",
            _how(raw=True),
        ),
        Mistake(
            "start counted in the length",
            "The start token is counted in the length: only written tokens are, with the end token.",
            _how(added=1),
        ),
        Mistake(
            "end not counted in the length",
            "The end token is not counted in the length: it was written and has a probability.",
            lambda *inputs: _search_without_end(*inputs),
        ),
        Mistake(
            "stops at the first end",
            "The search stops as soon as one text has ended: a longer one may still be better.",
            _how(first_end=True),
        ),
        Mistake(
            "written on after the end",
            "Texts that have ended are written on: they leave the running ones.",
            _how(through_end=True),
        ),
        Mistake(
            "unfinished texts dropped",
            "Texts that are still running after the last step are dropped: they count like the ended ones.",
            _how(unfinished=False),
        ),
        Mistake(
            "places filled up again",
            "When a text ends its place is given to another, as transformers does with 2 x beams candidates: here the "
            "best `beams` continuations are taken, and those that end leave a place empty.",
            _how(refill=True),
        ),
        Mistake(
            "multiplied",
            "Log-probabilities are multiplied: probabilities multiply, their logarithms add.",
            _how(multiply=True),
        ),
        Mistake("least likely", "The least likely texts are kept: sort from the highest down.", _how(worst=True)),
        Mistake(
            "with the start token",
            "The start token is in the result: return what was written after it.",
            _with_the_start,
        ),
        Mistake(
            "without the end token",
            "The end token is missing from the result: it belongs to what was written.",
            _without_the_end,
        ),
        Mistake(
            "score not divided",
            "The tokens are right; the score is the sum, and should be divided by length ** length_penalty.",
            _raw_score,
        ),
        Mistake("probability", "The tokens are right; the score is exponentiated: return the logarithm.", _probability),
    ),
    equivalents={
        "rows = log_probabilities([[start, *tokens] for tokens, _ in live])": "a tensor of one number is as good as a "
        "number",
    },
    explanation="With one beam it is greedy decoding, with as many as there are texts it is exact. More beams find "
    "likelier texts, and beyond a few those are often shorter and duller ones.",
    seconds=2.0,
)


def _search_without_end(log_probabilities, start, end, beams, max_new_tokens, length_penalty):
    """The length of an ended text without its end token."""

    def value(tokens: list[int], total: float) -> float:
        written = len(tokens) - (tokens[-1] == end)
        return total / max(1, written) ** length_penalty

    live: list[tuple[list[int], float]] = [([], 0.0)]
    finished: list[tuple[list[int], float]] = []
    for _ in range(max_new_tokens):
        scores = log_probabilities([[start, *tokens] for tokens, _ in live]).tolist()
        grown = [
            ([*tokens, token], total + score)
            for (tokens, total), row in zip(live, scores, strict=True)
            for token, score in enumerate(row)
        ]
        best = sorted(grown, key=lambda one: one[1], reverse=True)[:beams]
        finished += [one for one in best if one[0][-1] == end]
        live = [one for one in best if one[0][-1] != end]
        if not live:
            break
    tokens, total = max([*finished, *live], key=lambda one: value(*one))
    return tokens, value(tokens, total)


EXERCISES = (PERPLEXITY, READ, MERGES, MEMORY, NUCLEUS, CACHE, BEAM)
