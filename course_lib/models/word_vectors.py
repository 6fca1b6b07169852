"""Words as vectors, learned from what stands near what: skip-gram, CBOW, FastText and GloVe.

    corpus = Corpus(texts)
    model = SkipGram(len(corpus.words), width=32)
    loss = model(centres, contexts, negatives)       # what training lowers
    vectors = WordVectors(corpus.words, model.vectors())
    vectors.nearest("red"), vectors.analogy("circle", "circles", "star")

`models/recipes/words.py` trains them on the texts of the microworld.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.data.tokenizers import WordTokenizer
from course_lib.errors import InputError

# ---------------------------------------------------------------- what stands near what


class Corpus:
    """Texts as one long row of word ids, and where each text begins and ends: no window reaches beyond its text.

    Args:
        texts: any; cut into words as `WordTokenizer` does.
        min_count: words that occur less often are left out.

    Attributes:
        words: the vocabulary, most frequent first.
        counts: (V,), how often each occurs.
        tokens, text_of: (N,), the id of each token, and the number of its text.
    """

    def __init__(self, texts: Iterable[str], min_count: int = 1):
        split = [WordTokenizer.pattern.findall(text.lower()) for text in texts]
        counts = Counter(word for text in split for word in text)
        kept = sorted((word for word in counts if counts[word] >= min_count), key=lambda word: (-counts[word], word))
        if len(kept) < 2:
            raise InputError(f"the texts have {len(kept)} words; give texts of at least two different words")
        self.words = tuple(kept)
        self.ids = {word: index for index, word in enumerate(kept)}
        self.counts = torch.tensor([counts[word] for word in kept])
        known = [(self.ids[word], number) for number, text in enumerate(split) for word in text if word in self.ids]
        self.tokens, self.text_of = torch.tensor(known).T.contiguous()

    def subsampled(self, threshold: float, generator: torch.Generator) -> "Corpus":
        """The corpus without some of its frequent words: one of share f stays with probability sqrt(threshold / f).

        Source: Mikolov et al., Distributed Representations of Words and Phrases, section 2.3, equation 5.
        """
        share = self.counts / self.counts.sum()
        stays = torch.rand(len(self.tokens), generator=generator) < (threshold / share[self.tokens]).sqrt()
        fewer = object.__new__(Corpus)
        fewer.words, fewer.ids, fewer.counts = self.words, self.ids, self.counts
        fewer.tokens, fewer.text_of = self.tokens[stays], self.text_of[stays]
        return fewer

    def windows(self, window: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """The neighbours of each token, up to `window` words to either side.

        Args:
            window: how far to look.
            generator: draws for each token how far, from 1 to `window`, so that near words count more (word2vec);
                None to look all the way.

        Returns:
            ids (N, 2 window), and which of them are there (N, 2 window), bool.
        """
        count = len(self.tokens)
        places = torch.arange(count)[:, None] + torch.tensor([d for d in range(-window, window + 1) if d])
        inside = (places >= 0) & (places < count)
        places = places.clamp(0, count - 1)
        there = inside & (self.text_of[places] == self.text_of[:, None])
        if generator is not None:
            reach = torch.randint(1, window + 1, (count, 1), generator=generator)
            there &= (places - torch.arange(count)[:, None]).abs() <= reach
        return self.tokens[places], there

    def pairs(self, window: int, generator: torch.Generator | None = None) -> Tensor:
        """(P, 2): every centre word with every word in its window."""
        neighbours, there = self.windows(window, generator)
        centres = self.tokens[:, None].expand_as(neighbours)
        return torch.stack([centres[there], neighbours[there]], dim=1)

    def cooccurrences(self, window: int) -> Tensor:
        """(V, V): how often two words are near each other, a word at distance d counting 1 / d.

        Source: Pennington et al., GloVe, section 4.2.
        """
        neighbours, there = self.windows(window)
        nearness = torch.tensor([1 / abs(d) for d in range(-window, window + 1) if d]).expand_as(neighbours)
        cells = self.tokens[:, None] * len(self.words) + neighbours
        counts = torch.zeros(len(self.words) ** 2)
        counts.index_add_(0, cells[there], nearness[there])
        return counts.view(len(self.words), -1)

    def negatives(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Words drawn by their count to the power 3/4. Source: Mikolov et al., Distributed Representations, 2.2."""
        drawn = torch.multinomial(self.counts.float() ** 0.75, torch.Size(shape).numel(), True, generator=generator)
        return drawn.view(*shape)


# ---------------------------------------------------------------- the models


def negative_sampling_loss(centres: Tensor, contexts: Tensor, negatives: Tensor) -> Tensor:
    """Tells the true neighbour of each centre from words drawn at random: - log s(u·v) - sum log s(- n·v), mean over B.

    Args:
        centres: v (B, D).
        contexts: u (B, D), of the words that were there.
        negatives: n (B, K, D), of words that were drawn.

    Source: Mikolov et al., Distributed Representations of Words and Phrases, equation 4; s is the logistic function.
    """
    there = (centres * contexts).sum(dim=-1)
    drawn = (negatives @ centres[:, :, None]).squeeze(2)
    return -(F.logsigmoid(there) + F.logsigmoid(-drawn).sum(dim=1)).mean()


class SkipGram(nn.Module):
    """A word predicts each of its neighbours; every word has a vector as a centre, and another one as a neighbour.

    Source: Mikolov et al., Efficient Estimation of Word Representations, section 3.2; Distributed Representations of
    Words and Phrases, section 2.2 (negative sampling).
    """

    def forward(self, centres: Tensor, contexts: Tensor, negatives: Tensor) -> Tensor:
        """The loss of centres (B,), their neighbours (B,) and negatives (B, K), all ids."""
        return negative_sampling_loss(self.centre(centres), self.context(contexts), self.context(negatives))

    def vectors(self) -> Tensor:
        """(V, D): the vectors that are kept, those of the centres."""
        return self.centre.weight.detach()

    def __init__(self, vocab_size: int, width: int = 32):
        super().__init__()
        self.centre, self.context = nn.Embedding(vocab_size, width), nn.Embedding(vocab_size, width)
        for embedding in (self.centre, self.context):
            nn.init.normal_(embedding.weight, std=0.1)


class CBOW(SkipGram):
    """The mean of the neighbours' vectors predicts the word in their midst.

    Source: Mikolov et al., Efficient Estimation of Word Representations, section 3.1.
    """

    def forward(self, neighbours: Tensor, there: Tensor, centres: Tensor, negatives: Tensor) -> Tensor:
        """The loss of windows (B, 2 W), which of them are there, the centres (B,) and negatives (B, K)."""
        weight = there / there.sum(dim=1, keepdim=True).clamp(min=1)
        mean = (self.centre(neighbours) * weight[:, :, None]).sum(dim=1)
        return negative_sampling_loss(mean, self.context(centres), self.context(negatives))


class FastText(nn.Module):
    """Skip-gram in which a word's vector is the sum of vectors of its character n-grams: no word is without one.

    "<" and ">" mark where a word begins and ends. The n-grams share a table of `buckets` rows by a hash (FNV-1a), as
    published; each known word has a row of its own besides.

    Args:
        words: the vocabulary.
        width: D.
        buckets: rows that the n-grams share.
        lengths: the shortest and the longest n-gram.

    Source: Bojanowski et al., Enriching Word Vectors with Subword Information, section 3.2.
    """

    def forward(self, centres: Tensor, contexts: Tensor, negatives: Tensor) -> Tensor:
        """The loss of centres (B,), their neighbours (B,) and negatives (B, K), all ids."""
        return negative_sampling_loss(self.vectors_of(centres), self.context(contexts), self.context(negatives))

    def vectors_of(self, centres: Tensor) -> Tensor:
        """(B,) ids of known words -> (B, D)."""
        return self.word(centres) + self.ngram(self.rows[centres]).sum(dim=1)

    def vectors(self) -> Tensor:
        """(V, D)."""
        return torch.stack([self.vector(word) for word in self.words])

    def vector(self, word: str) -> Tensor:
        """(D,), of any word, known or not.

        Raises:
            InputError: a word so short that it has no n-gram.
        """
        if word in self.words:
            return self.vectors_of(torch.tensor([self.words.index(word)]).to(self.rows.device))[0].detach()
        rows = [row_of(ngram, self.buckets) for ngram in ngrams(word, self.lengths)]
        if not rows:
            raise InputError(f"{word!r} is unknown and has no n-gram of {self.lengths[0]} characters or more")
        return self.ngram.weight[rows].sum(dim=0).detach()

    def __init__(self, words: Sequence[str], width: int = 32, buckets: int = 20_000, lengths: tuple[int, int] = (3, 6)):
        super().__init__()
        self.words, self.buckets, self.lengths = tuple(words), buckets, lengths
        self.word, self.context = nn.Embedding(len(words), width), nn.Embedding(len(words), width)
        self.ngram = nn.Embedding(buckets + 1, width, padding_idx=buckets)
        rows = [torch.tensor([row_of(ngram, buckets) for ngram in ngrams(word, lengths)]).long() for word in words]
        self.register_buffer("rows", nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=buckets))
        for embedding in (self.word, self.context):
            nn.init.normal_(embedding.weight, std=0.1)
        nn.init.zeros_(self.ngram.weight)  # an n-gram that no known word has adds nothing


def ngrams(word: str, lengths: tuple[int, int] = (3, 6)) -> list[str]:
    """The n-grams of a word between its marks: "red" has "<re", "red", "ed>", "<red" and "red>", not all of it."""
    marked = f"<{word}>"
    shortest, longest = lengths
    return [
        marked[start : start + length]
        for length in range(shortest, min(longest, len(marked) - 1) + 1)
        for start in range(len(marked) - length + 1)
    ]


def row_of(ngram: str, buckets: int) -> int:
    """The row of the shared table: the FNV-1a hash of the n-gram's bytes, modulo the number of rows."""
    value = 2166136261
    for byte in ngram.encode():
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value % buckets


class GloVe(nn.Module):
    """Vectors whose products are the logarithms of co-occurrence counts; frequent pairs weigh more, up to a point.

    Args:
        vocab_size: V.
        width: D.
        most: x_max, the count from which on all pairs weigh the same.
        power: alpha, how the weight grows up to there.

    Source: Pennington et al., GloVe: Global Vectors for Word Representation, equations 8 and 9.
    """

    def forward(self, words: Tensor, others: Tensor, counts: Tensor) -> Tensor:
        """Weighted squared errors of pairs (B,), (B,) that co-occur counts (B,) times, all above 0; mean over B.

        f(x) (w·u + b + c - log x)², f(x) = min(1, (x / x_max)^alpha).
        """
        product = (self.word(words) * self.other(others)).sum(dim=1)
        error = product + self.word_bias(words)[:, 0] + self.other_bias(others)[:, 0] - counts.log()
        return ((counts / self.most).clamp(max=1) ** self.power * error**2).mean()

    def vectors(self) -> Tensor:
        """(V, D): the sum of the two vectors that each word has (section 4.2)."""
        return (self.word.weight + self.other.weight).detach()

    def __init__(self, vocab_size: int, width: int = 32, most: float = 100.0, power: float = 0.75):
        super().__init__()
        self.most, self.power = most, power
        self.word, self.other = nn.Embedding(vocab_size, width), nn.Embedding(vocab_size, width)
        self.word_bias, self.other_bias = nn.Embedding(vocab_size, 1), nn.Embedding(vocab_size, 1)
        for embedding in (self.word, self.other):
            nn.init.normal_(embedding.weight, std=0.1)
        for bias in (self.word_bias, self.other_bias):
            nn.init.zeros_(bias.weight)


# ---------------------------------------------------------------- what vectors are asked


class WordVectors:
    """A word's vector, its neighbours, and what is to c as b is to a.

    Args:
        words: V of them, no two alike.
        vectors: (V, D).

    Raises:
        InputError: another number of vectors than words.
    """

    def __init__(self, words: Sequence[str], vectors: Tensor):
        if vectors.ndim != 2 or len(set(words)) != len(vectors) or len(words) != len(vectors):
            raise InputError(
                f"vectors have shape {tuple(vectors.shape)}; there are {len(words)} words, one row for each"
            )
        self.words, self.vectors = tuple(words), vectors
        self.ids = {word: index for index, word in enumerate(words)}
        self.directions = F.normalize(vectors, dim=1)

    def __getitem__(self, word: str) -> Tensor:
        """(D,). Raises InputError for a word that has none."""
        if word not in self.ids:
            raise InputError(
                f"there is no vector of {word!r}; there are {len(self.words)}, of {self.words[0]!r} and others"
            )
        return self.vectors[self.ids[word]]

    def __contains__(self, word: object) -> bool:
        return word in self.ids

    def nearest(self, to: str | Tensor, count: int = 5, leave_out: Collection[str] = ()) -> list[tuple[str, float]]:
        """The words whose vectors have the highest cosine with that of a word (not itself), or with a vector (D,)."""
        if isinstance(to, str):
            to, leave_out = self[to], {to, *leave_out}
        cosines = self.directions @ F.normalize(to, dim=0)
        order = cosines.argsort(descending=True, stable=True).tolist()
        found = [(self.words[index], cosines[index].item()) for index in order if self.words[index] not in leave_out]
        return found[:count]

    def analogy(self, a: str, b: str, c: str, count: int = 5) -> list[tuple[str, float]]:
        """What is to c as b is to a: the words nearest to b - a + c, all of length 1, other than these three (3CosAdd).

        Source: Mikolov et al., Linguistic Regularities in Continuous Space Word Representations, section 4.
        """
        one, two, three = (F.normalize(self[word], dim=0) for word in (a, b, c))
        return self.nearest(two - one + three, count, leave_out={a, b, c})
