"""Language models that count: the probability of a token after the few before it, from how often that was seen.

    model = KneserNey(order=3, vocab_size=tokenizer.vocab_size).fit(sequences)
    logits = model(input_ids)      # (B, T, V), as any language model of the course gives them

What was never seen gets probability too, in one of two ways: a little is added to every count, or the counts are
discounted, and what that frees is handed to the model of one token less.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from course_lib.errors import InputError
from course_lib.layers.checks import check_input_ids

BEFORE = -1  # fills the context of a sequence's first tokens
Context = tuple[int, ...]


class NGram:
    """Counts of every context of `order` - 1 tokens, and add-k smoothing: p(w | c) = (n(c, w) + k) / (n(c) + k V).

    Args:
        order: 1 for single tokens, 2 for pairs, 3 for triples, ...
        vocab_size: V.
        k: what is added to every count.

    Raises:
        InputError: an order below 1, or a k that leaves what was not seen impossible.
    """

    def __init__(self, order: int, vocab_size: int, k: float = 0.01):
        if order < 1 or vocab_size < 1:
            raise InputError(f"order is {order} and vocab_size {vocab_size}; both should be 1 or more")
        if k <= 0:
            raise InputError(f"k is {k}; it should be above 0, or what was never seen would be impossible")
        self.order, self.vocab_size, self.k = order, vocab_size, k
        self.counts: dict[Context, Counter[int]] = defaultdict(Counter)
        self._known: dict[Context, np.ndarray] = {}

    def fit(self, sequences: Iterable[Sequence[int] | Tensor], ignore: int | None = None) -> "NGram":
        """Counts sequences; may be called again with more.

        The first token of a sequence is given, not predicted, as for every language model of the course.

        Args:
            sequences: of ids, or rows (B, T).
            ignore: an id that is left out: padding.

        Raises:
            InputError: an id beyond the vocabulary.
        """
        for sequence in sequences:
            ids = [index for index in map(int, sequence) if index != ignore]
            if ids and not 0 <= min(ids) <= max(ids) < self.vocab_size:
                raise InputError(f"the ids are {min(ids)} to {max(ids)}; they should be 0 to {self.vocab_size - 1}")
            for place in range(1, len(ids)):
                self.counts[self.context(ids[:place])][ids[place]] += 1
        self._known.clear()
        return self

    def context(self, ids: Sequence[int]) -> Context:
        """The last `order` - 1 of these ids, filled from the left where there are fewer."""
        wanted = self.order - 1
        return (*[BEFORE] * (wanted - len(ids)), *ids[max(0, len(ids) - wanted) :])

    def probabilities(self, context: Context) -> np.ndarray:
        """(V,): the probability of each token after a context of `order` - 1 ids."""
        found = np.full(self.vocab_size, self.k)
        for index, count in self.counts.get(context, {}).items():
            found[index] += count
        return found / found.sum()

    def __call__(self, input_ids: Tensor) -> Tensor:
        """Log-probabilities of each next token.

        Args:
            input_ids: (B, T).

        Returns:
            (B, T, V), float32: at t those of token t + 1.

        Raises:
            InputError: wrong shapes, types or ids.
        """
        check_input_ids(input_ids, self.vocab_size, input_ids.shape[-1])
        logits = np.empty((*input_ids.shape, self.vocab_size), dtype=np.float32)
        for row, ids in zip(logits, input_ids.tolist(), strict=True):
            for place in range(len(ids)):
                context = self.context(ids[max(0, place + 2 - self.order) : place + 1])
                if context not in self._known:
                    self._known[context] = np.log(self.probabilities(context)).astype(np.float32)
                row[place] = self._known[context]
        return torch.from_numpy(logits)


class KneserNey(NGram):
    """Interpolated Kneser-Ney: every count is discounted, and what is freed goes to the model of one token less.

    p(w | c) = max(n(c, w) - d, 0) / n(c)  +  d · (kinds of w after c) / n(c) · p(w | c without its first token)

    The shorter models do not count how often a token occurred but after how many different tokens it did: "francisco"
    is frequent, and yet unlikely anywhere but after "san". The shortest is mixed with 1 / V.

    Args:
        order, vocab_size: as in `NGram`.
        discount: d, between 0 and 1; None for Ney's estimate from how many n-grams occur once and twice, per length.

    Source: Kneser and Ney, Improved backing-off for m-gram language modeling, 1995; interpolated as in Chen and
    Goodman, An Empirical Study of Smoothing Techniques for Language Modeling, 1998, sections 2.7 and 4.1.6.
    """

    def __init__(self, order: int, vocab_size: int, discount: float | None = None):
        if discount is not None and not 0 < discount < 1:
            raise InputError(f"discount is {discount}; it should be between 0 and 1, or None to be estimated")
        super().__init__(order, vocab_size)
        self.discount = discount
        self.levels: list[dict[Context, Counter[int]]] = []

    def fit(self, sequences: Iterable[Sequence[int] | Tensor], ignore: int | None = None) -> "KneserNey":
        """Counts sequences as `NGram.fit`, and after how many tokens each shorter n-gram was seen."""
        super().fit(sequences, ignore)
        self.levels = [self.counts]
        for _ in range(self.order - 1):
            shorter: dict[Context, Counter[int]] = defaultdict(Counter)
            for context, after in self.levels[0].items():
                shorter[context[1:]].update(after.keys())
            self.levels.insert(0, shorter)
        self.discounts = [self.discount or estimated_discount(level) for level in self.levels]
        self._known.clear()
        self._shorter: dict[Context, np.ndarray] = {}
        return self

    def probabilities(self, context: Context) -> np.ndarray:
        """(V,): the probability of each token after a context of at most `order` - 1 ids.

        Raises:
            InputError: nothing was counted yet.
        """
        if not self.levels:
            raise InputError("this model has counted nothing yet: call fit with some sequences first")
        if context in self._shorter:
            return self._shorter[context]
        shorter = self.probabilities(context[1:]) if context else np.full(self.vocab_size, 1 / self.vocab_size)
        after, discount = self.levels[len(context)].get(context), self.discounts[len(context)]
        found = shorter
        if after:
            total = after.total()
            found = shorter * (discount * len(after) / total)
            for index, count in after.items():
                found[index] += max(count - discount, 0) / total
        self._shorter[context] = found
        return found


def estimated_discount(counts: dict[Context, Counter[int]]) -> float:
    """n1 / (n1 + 2 n2), of the n-grams that occur once and twice; 0.5 where none occurs once.

    Source: Ney et al., On structuring probabilistic dependences in stochastic language modelling, 1994.
    """
    kinds = Counter(count for after in counts.values() for count in after.values())
    return kinds[1] / (kinds[1] + 2 * kinds[2]) if kinds[1] and kinds[2] else 0.5
