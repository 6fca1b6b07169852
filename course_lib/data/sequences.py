"""Small tasks on sequences of symbols, on which it can be seen what an architecture can do: copy, sort, recall.

All of them are endless, made from a seed in a moment, and have exact answers: the same seed gives the same sequences on
every machine.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.errors import InputError

PAD, START, END, FIRST_SYMBOL = 0, 1, 2, 3
"""The ids that are no symbols, and the first that is one: symbol s has id FIRST_SYMBOL + s."""
IGNORED = -100
"""The label of a position that has none: what `torch.nn.functional.cross_entropy` leaves out by default."""


@dataclass(frozen=True)
class SequencePairs:
    """Sequences and what they should become, ready for an encoder-decoder.

    input_ids (N, S): symbols, then PAD. decoder_input_ids (N, T): START, the answer, PAD.
    labels (N, T): the answer, END, then IGNORED: at each place what follows the decoder's input there.
    """

    input_ids: Tensor
    decoder_input_ids: Tensor
    labels: Tensor

    @property
    def attention_mask(self) -> Tensor:
        """Boolean (N, S): where `input_ids` holds a symbol."""
        return self.input_ids != PAD

    def __len__(self) -> int:
        return len(self.input_ids)


def copying(count: int, symbols: int = 10, lengths: tuple[int, int] = (4, 10), seed: int = 0) -> SequencePairs:
    """Sequences to be repeated as they are.

    Args:
        count: N.
        symbols: how many different ones there are; their ids are FIRST_SYMBOL to FIRST_SYMBOL + symbols - 1.
        lengths: the shortest and the longest sequence; all lengths between are equally frequent.
        seed: same seed, same sequences.

    Raises:
        InputError: a count, a number of symbols or lengths that make no sequence.
    """
    source, present = _draw(count, symbols, lengths, seed)
    return _pairs(source, source, present)


def sorting(count: int, symbols: int = 10, lengths: tuple[int, int] = (4, 10), seed: int = 0) -> SequencePairs:
    """Sequences to be put in ascending order, equal symbols staying as many as they were.

    Args and Raises: as `copying`.
    """
    source, present = _draw(count, symbols, lengths, seed)
    last = FIRST_SYMBOL + symbols  # behind every symbol while sorting
    ordered = source.masked_fill(~present, last).sort(dim=1).values
    return _pairs(source, ordered.masked_fill(~present, PAD), present)


@dataclass(frozen=True)
class Recall:
    """Lists of pairs, and questions about them.

    input_ids (N, 2 P + Q): value, key, value, key, ..., and then the Q keys that are asked for. labels (N, Q): their
    values. Keys have the ids 0 to keys - 1, values the ids keys to keys + values - 1; `labels` count values from 0.
    """

    input_ids: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.input_ids)


def associative_recall(count: int, pairs: int, keys: int, values: int, questions: int = 1, seed: int = 0) -> Recall:
    """Which value stood before this key? ("red star, blue heart, green ring; star?": "red".)

    Keys of one list are all different, values need not be, and what belongs to what changes with every list: nothing
    can be learned by heart, the answer has to be looked up.

    Args:
        count: N.
        pairs: P, at most `keys`.
        keys: how many different keys there are.
        values: how many different values.
        questions: Q, at most `pairs`: no key is asked for twice.
        seed: same seed, same lists.

    Raises:
        InputError: more pairs than keys, more questions than pairs, or a number that is not positive.

    Source: the task goes back to Ba et al., Using Fast Weights to Attend to the Recent Past, section 4.1.
    """
    if min(count, pairs, keys, values, questions) < 1 or not questions <= pairs <= keys:
        raise InputError(
            f"count {count}, pairs {pairs}, keys {keys}, values {values}, questions {questions}: all should be 1 or "
            "more, pairs at most keys, for keys of one list differ, and questions at most pairs"
        )
    generator = torch.Generator().manual_seed(seed)
    key = torch.rand(count, keys, generator=generator).argsort(dim=1)[:, :pairs]
    value = torch.randint(values, (count, pairs), generator=generator)
    asked = torch.rand(count, pairs, generator=generator).argsort(dim=1)[:, :questions]
    listed = torch.stack([keys + value, key], dim=2).flatten(1)
    return Recall(torch.cat([listed, key.gather(1, asked)], dim=1), value.gather(1, asked))


def _draw(count: int, symbols: int, lengths: tuple[int, int], seed: int) -> tuple[Tensor, Tensor]:
    """Random sequences (N, S), PAD behind their ends, and boolean (N, S), where there is a symbol."""
    shortest, longest = lengths
    if min(count, symbols, shortest) < 1 or longest < shortest:
        raise InputError(
            f"count {count}, symbols {symbols}, lengths {lengths}: all should be 1 or more, "
            "and lengths the shortest and the longest, in this order"
        )
    generator = torch.Generator().manual_seed(seed)
    length = torch.randint(shortest, longest + 1, (count, 1), generator=generator)
    present = torch.arange(longest) < length
    drawn = torch.randint(FIRST_SYMBOL, FIRST_SYMBOL + symbols, (count, longest), generator=generator)
    return drawn.masked_fill(~present, PAD), present


def _pairs(source: Tensor, answer: Tensor, present: Tensor) -> SequencePairs:
    begin = torch.full((len(source), 1), START)
    follows = torch.cat([answer.masked_fill(~present, IGNORED), torch.full_like(begin, IGNORED)], dim=1)
    labels = follows.scatter(1, present.sum(dim=1, keepdim=True), END)
    return SequencePairs(source, torch.cat([begin, answer], dim=1), labels)
