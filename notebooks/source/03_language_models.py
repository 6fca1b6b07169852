# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["course-header"]
# # 03 · Language models: tokens, BERT, GPT, T5
#
# **Time.** About 120 minutes of reading and trying. All cells together run in two minutes and a half on two CPU cores.
#
# **You should know** what attention, a mask and a transformer block are (lesson 01). Everything else is explained here.
#
# **Afterwards you can**
#
# - train byte-pair, WordPiece and unigram tokenizers, and say what each one counts;
# - train word vectors in three ways, and read neighbours and analogies off them;
# - measure any language model by its perplexity, from counting to GPT;
# - show why a plain recurrent network forgets, and how the LSTM and the GRU do not;
# - build BERT, GPT-2, T5, BART and a Llama-style decoder, and load published weights into them;
# - say what each of them is trained to predict: MLM, NSP, CLM, span corruption, denoising;
# - decode with a KV cache: greedy, sampling with temperature, top-k and top-p, beam search;
# - turn a language model into one that answers.

# %% [markdown]
# ## 1 What comes next?
#
# Somebody describes a picture: *a large shiny blue star left of a small plain* … You can go on with that sentence. Not
# with certainty, but you know what kind of word comes next, and that some words never do.
#
# **The question of this lesson:** can a machine learn a language from nothing but this game, *which word comes next*,
# and what else has it learned once it plays it well?
#
# Here is the simplest player there is. It has read 5,000 captions of the microworld, and for the last two words that it
# is given it looks up what came after them, and how often:

# %%
import math
import random
from collections import Counter
from itertools import pairwise

import torch
import torch.nn.functional as F

from course_lib import runtime
from course_lib.data import microworld
from course_lib.training.loop import TrainingConfig, train
from course_lib.viz import embedding, figures
from course_lib.viz import words as drawings
from course_lib.viz.code import code_of
from course_lib.viz.papers import paper_card
from course_lib.viz.style import show

runtime.seed_everything(3)

captions = [text for scene in microworld.sample_scenes(1_000, seed=1) for text in microworld.captions(scene)]
after = {}
for words in map(str.split, captions):
    for first, second, third in zip(words, words[1:], words[2:], strict=False):
        after.setdefault(f"… {first} {second}", Counter())[third] += 1
beginnings = ["… a small", "… left of", "… on a", "… shiny blue", "… at the", "… one star"]
shares = {b: {word: n / after[b].total() for word, n in after[b].most_common(5)} for b in beginnings}
show(drawings.next_tokens(shares, title="What comes next?"))

# %% [markdown]
# A table of counts, and it has found colours, shapes and backgrounds, and that *and* may follow a thing. It is a
# *language model*: something that gives every next word a probability. This lesson builds better and better ones, from
# this table (section 4) to the architectures behind BERT, GPT, T5 and Llama, and measures all of them in the same way.

# %% [markdown]
# ## 2 From text to tokens
#
# A network computes with numbers, so a text has to become a row of integers, the *ids*. The units that get an id are
# called *tokens*, all of them together the *vocabulary*, and the program that cuts is the *tokenizer*. What should the
# units be?
#
# Our text is the captions of 4,000 scenes, five each; those of 400 other scenes are kept for testing.


# %%
def captions_of(count, seed, split="train"):
    """The captions of so many scenes, five each, in one list."""
    return [text for scene in microworld.sample_scenes(count, seed, split) for text in microworld.captions(scene)]


texts, test_texts = captions_of(4_000, seed=3), captions_of(400, seed=3, split="test")
counts = Counter(word for text in texts for word in text.split())  # word -> how often it occurs
print(len(texts), "captions,", len(counts), "different words,", sum(counts.values()), "words in all; the commonest:")
print(counts.most_common(8))

# %% [markdown]
# ### Characters and words
#
# The two obvious answers are the smallest unit and the largest:

# %%
characters = sorted(set("".join(texts)))
sample = "two striped crescents and a turquoise star"
as_characters = list(sample)
as_words = [word if word in counts else "[UNK]" for word in sample.split()]
print("characters:", len(characters), "in the vocabulary,", len(as_characters), "tokens, e.g. ids", end=" ")
print([characters.index(letter) for letter in sample[:7]])
print("words     :", len(counts), "in the vocabulary,", len(as_words), "tokens:", " ".join(as_words))

# %% [markdown]
# Both have a price. *Characters* make texts long, and the work of attention grows with the square of the length; a
# model has to learn spelling before it can learn anything else. *Words* are short, but every word that was not in the
# training text becomes the one unknown token `[UNK]`, names and typing errors first of all; and a real language needs a
# table of millions. What is in between? *Pieces* of words: frequent words whole, rare words in parts, nothing unknown.
#
# ### Byte-pair encoding
#
# *Byte-pair encoding* (BPE; Sennrich et al., 2016) lets the text decide. Start with characters, the last one of a word
# marked with `</w>`. Then again and again: count all pairs of neighbours, and merge the commonest pair into a new
# token. The list of merges, in the order they were made, *is* the tokenizer.


# %%
def merge(pieces, pair):
    """Joins the two pieces of a pair wherever they stand side by side."""
    merged, at = [], 0
    while at < len(pieces):
        width = 2 if pieces[at : at + 2] == pair else 1
        merged.append("".join(pieces[at : at + width]))
        at += width
    return tuple(merged)


def train_bpe(counts, merges):
    """Learns merges from a table of words and how often each occurs."""
    splits, learned = {word: (*word[:-1], word[-1] + "</w>") for word in counts}, []
    for _ in range(merges):
        pairs = Counter()
        for word, pieces in splits.items():
            for pair in pairwise(pieces):
                pairs[pair] += counts[word]
        learned.append(max(pairs, key=lambda pair: (pairs[pair], pair)))
        splits = {word: merge(pieces, learned[-1]) for word, pieces in splits.items()}
    return learned


merges = train_bpe(counts, 150)
print("the first merges:", ["".join(pair) for pair in merges[:10]])
print("the last ones   :", ["".join(pair) for pair in merges[-6:]])

# %% [markdown]
# It begins with frequent pairs of letters and ends with whole words of the microworld. To *encode* a word, make the
# same merges in the same order. Here it happens to "purple", step by step; a merge that finds nothing is left out:


# %%
def encode_bpe(word, merges):
    """The pieces of a word, and what it looked like on the way."""
    pieces = (*word[:-1], word[-1] + "</w>")
    steps = [pieces]
    for pair in merges:
        pieces = merge(pieces, pair)
        if pieces != steps[-1]:
            steps.append(pieces)
    return steps


steps = encode_bpe("purple", merges)
show(drawings.pieces({f"{number} merges": step for number, step in enumerate(steps)}))
print("a word nobody saw:", encode_bpe("turquoise", merges)[-1])

# %% [markdown]
# "turquoise" never occurred, and is no problem: it is spelled, in the largest pieces there are. Letters that never
# occurred are the last gap. GPT-2 closed it by starting from the 256 *bytes* of UTF-8 instead of characters: then no
# text at all is unknown. The library's `BytePairTokenizer` does so; with CLIP's published merges:

# %%
from course_lib.data.tokenizers import BytePairTokenizer, WordTokenizer

clip_tokens = BytePairTokenizer()
for text in ["a striped crescent", "turquoise", "naïve café", "🐈"]:
    print(f"{text:20}", clip_tokens.tokenize(text))

# %% [markdown]
# (A cat is several bytes, and each is written as some visible character; `decode` puts them together again.)

# %%
paper_card("bpe")

# %% [markdown]
# ### WordPiece
#
# WordPiece, BERT's tokenizer, differs twice. Pieces *inside* a word carry the mark `##`, instead of the last one
# carrying `</w>`. And the pair that is merged is not the commonest, but the one that occurs together most for how often
# its parts occur:
#
# $$\text{score}(a, b) = \frac{\text{count}(ab)}{\text{count}(a)\,\text{count}(b)}$$


# %%
def wordpiece_scores(counts):
    """Every pair of neighbours in words spelled with ## inside, with its score."""
    single, pairs = Counter(), Counter()
    for word, count in counts.items():
        pieces = [word[0], *("##" + letter for letter in word[1:])]
        for piece in pieces:
            single[piece] += count
        for pair in pairwise(pieces):
            pairs[pair] += count
    return {pair: number / (single[pair[0]] * single[pair[1]]) for pair, number in pairs.items()}, pairs


scores, frequency = wordpiece_scores(counts)
by_score, by_count = sorted(scores, key=scores.get)[::-1][:4], sorted(frequency, key=frequency.get)[::-1][:4]
print("best by score    :", [f"{a} {b}" for a, b in by_score])
print("best by frequency:", [f"{a} {b}" for a, b in by_count])

# %% [markdown]
# By frequency, the winners are letters that are everywhere; by score, letters that hardly occur without each other. To
# *encode*, BERT no longer looks at merges at all, only at the vocabulary: take the longest piece that fits, then the
# longest that fits after it. If nothing fits, the whole word is `[UNK]`.


# %%
def longest_first(word, vocabulary):
    """WordPiece as BERT applies it."""
    pieces, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocabulary:
                break
        else:
            return ["[UNK]"]
        pieces.append(piece)
        start = end
    return pieces


vocabulary = {"star", "str", "striped", "cres", "##cent", "##cents", "##s", "##i", "##ng", "##r", "##e"}
for word in ["stars", "crescents", "string", "stray"]:
    print(f"{word:10}", longest_first(word, vocabulary))

# %%
paper_card("wordpiece")

# %% [markdown]
# ### Unigram
#
# BPE and WordPiece grow a vocabulary; the *unigram* tokenizer (Kudo, 2018; the usual one of SentencePiece) shrinks one.
# It is a probability model. Every piece $x$ has a probability $p(x)$, a way to split a word is as probable as the
# product of its pieces, and the word is as probable as all its splits together. Begin with every substring that occurs,
# with $p$ by its frequency:


# %%
def substrings(counts, longest=5):
    """All substrings of up to so many characters, as probabilities."""
    found = Counter()
    for word, count in counts.items():
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + longest) + 1):
                found[word[start:end]] += count
    return {piece: number / found.total() for piece, number in found.items()}


def splits_of(word, probabilities):
    """All ways to split a word into known pieces."""
    if not word:
        yield ()
    for end in range(1, len(word) + 1):
        if word[:end] in probabilities:
            yield from ((word[:end], *rest) for rest in splits_of(word[end:], probabilities))


probabilities = substrings(counts)
ways = list(splits_of("stars", probabilities))
print(len(probabilities), "pieces;", len(ways), "ways to split 'stars', such as", *ways[:3], ways[-1])

# %% [markdown]
# **Training is EM.** *E step*: share every word out among its splits, by how probable each is, and count how often each
# piece is expected to be used. *M step*: the new probabilities are these counts, divided by their sum. Each round makes
# the text at least as probable as it was before; between rounds, pieces that are hardly used are dropped.


# %%
def em_round(counts, probabilities):
    """One round of EM: new probabilities, and the log-likelihood of the text under the old ones."""
    expected, log_likelihood = Counter(), 0.0
    for word, count in counts.items():
        ways = list(splits_of(word, probabilities))
        chances = [math.prod(probabilities[piece] for piece in way) for way in ways]
        log_likelihood += count * math.log(sum(chances))
        for way, chance in zip(ways, chances, strict=True):
            for piece in way:
                expected[piece] += count * chance / sum(chances)
    return {piece: number / expected.total() for piece, number in expected.items()}, log_likelihood


likelihoods = []
for _ in range(4):
    probabilities, log_likelihood = em_round(counts, probabilities)
    likelihoods.append(log_likelihood)
rises = all(later >= earlier for earlier, later in pairwise(likelihoods))
print("every round makes the text more probable:", rises)
while len(probabilities) > 124:  # drop a quarter of the pieces, never a single letter, and do another round
    ranked = sorted(probabilities, key=lambda piece: (len(piece) == 1, probabilities[piece]), reverse=True)
    kept = {piece: max(probabilities[piece], 1e-6) for piece in ranked[: max(124, int(0.75 * len(ranked)))]}
    probabilities, _ = em_round(counts, kept)
probabilities = {piece: max(p, 1e-6) for piece, p in probabilities.items()}
print(len(probabilities), "pieces are left, e.g.:", sorted(probabilities, key=probabilities.get)[-9:])

# %% [markdown]
# To encode, take the most probable split. There are up to $2^{n-1}$ of them for $n$ letters, but they need not be tried
# one by one. *Viterbi*: the best split up to a place ends in some piece, and what comes before that piece is the best
# split up to where the piece begins. One pass from left to right finds it.


# %%
def viterbi(word, probabilities):
    """The most probable split of a word."""
    best = [(0.0, ())] + [(-math.inf, ())] * len(word)  # for each place: log probability, pieces so far
    for end in range(1, len(word) + 1):
        for start in range(end):
            piece = word[start:end]
            if piece in probabilities:
                best[end] = max(best[end], (best[start][0] + math.log(probabilities[piece]), (*best[start][1], piece)))
    return best[-1][1]


def arcs(word, probabilities):
    """The pieces of a word that are known, by where they begin and end."""
    spans = [(a, b) for a in range(len(word)) for b in range(a + 1, len(word) + 1) if word[a:b] in probabilities]
    return {(a, b): probabilities[word[a:b]] for a, b in spans}


word = "starred"
cut = viterbi(word, probabilities)
ends = [sum(map(len, cut[: number + 1])) for number in range(len(cut))]
show(drawings.lattice(word, arcs(word, probabilities), list(zip([0, *ends[:-1]], ends, strict=True))))
brute = max(splits_of(word, probabilities), key=lambda way: math.prod(probabilities[piece] for piece in way))
print("Viterbi finds what trying all of them finds:", cut == brute)

# %%
paper_card("unigram")

# %% [markdown]
# ### Side by side
#
# The same text, cut in five ways. Nobody in the microworld ever said "turquoise", "starred" or "triangular":

# %%
sample = "two triangular crescents and a starred turquoise heart"


def pieces_of(cut):
    return [piece for word in sample.split() for piece in cut(word)]


wordpiece_vocabulary = {*probabilities} | {"##" + piece for piece in probabilities}  # borrowed, to show the marks
rows = {
    "characters": list(sample),
    "words": [word if word in counts else "[UNK]" for word in sample.split()],
    "BPE": pieces_of(lambda word: encode_bpe(word, merges)[-1]),
    "WordPiece": pieces_of(lambda word: longest_first(word, wordpiece_vocabulary)),
    "unigram": pieces_of(lambda word: viterbi(word, probabilities)),
}
unknown = {"words": [index for index, piece in enumerate(rows["words"]) if piece == "[UNK]"]}
show(drawings.pieces(rows, marks=unknown, marked="unknown: what it was is lost"))

# %% [markdown]
# The library has all of them, with the details that published vocabularies need: spaces, accents, marks, bytes. Trained
# on our captions to 300 pieces each (GPT-2's has its 256 bytes besides), this is what they make of a caption:

# %%
from course_lib.data.tokenizers import GPT2Tokenizer, UnigramTokenizer, WordPieceTokenizer

for kind, size in [(GPT2Tokenizer, 556), (WordPieceTokenizer, 300), (UnigramTokenizer, 300)]:
    library = kind.train(texts[:2_000], size)
    count = sum(len(library.encode(text)) for text in test_texts[:500])
    print(f"{kind.__name__:19}", *library.tokenize("a striped turquoise star"), f"· {count:,} tokens for 500 captions")

# %% [markdown]
# Are they the real thing? Beside Hugging Face's `tokenizers` and Google's `sentencepiece`: the same merges are learned,
# and with the same vocabulary every id is the same, also for texts full of accents, emoji and odd spaces.

# %%
from course_lib.authoring.parity import lesson_03_text as text_parity


def print_rows(rows):
    """Rows of `course parity`: what was compared with what, and whether it is equal within the tolerance."""
    for row in rows:
        print(f"{row.system:18} beside {row.reference:40} {row.what:22} equal to {row.tolerance:g}: {row.holds}")


for compare in (
    text_parity.byte_pairs_beside_tokenizers,
    text_parity.word_piece_beside_tokenizers,
    text_parity.sentence_pieces_beside_sentencepiece,
):
    print_rows(compare())

# %% [markdown]
# ## 3 Words as vectors
#
# An id says nothing of what it stands for: 17 is not more like 18 than like 80. So a model's first layer is a table,
# the *embedding*, with a vector of $D$ numbers for each token, and the vectors are learned. What should a good vector
# know? Firth's answer of 1957 is still the best: *you shall know a word by the company it keeps*. Words in the same
# company should get vectors alike.
#
# ### Skip-gram
#
# Word2Vec makes a task of it. Go through the text; each word in turn is the *centre* $c$, and each word at most $k$
# places away is a *neighbour* $o$. Given the centre, tell true neighbours from words drawn at random. Every word has
# two vectors, $v_w$ as a centre and $u_w$ as a neighbour, and the score of a pair is their product $v_c \cdot u_o$.
# With $\sigma(t) = 1/(1+e^{-t})$ and $K$ random words $w_1 \ldots w_K$ (*negative samples*):
#
# $$\ell = -\log \sigma(v_c \cdot u_o) - \sum_{k=1}^{K} \log \sigma(-v_c \cdot u_{w_k})$$
#
# A softmax over the whole vocabulary would do too, but costs a sum over all words for each pair; this costs $K + 1$
# products. The pairs of one caption:


# %%
def pairs_of(text, window):
    """Every centre with every neighbour at most so many words away."""
    words = text.split()
    places = range(len(words))
    return [(words[i], words[j]) for i in places for j in places if 0 < abs(i - j) <= window]


print(pairs_of("a small red star", window=1))


# %%
def skip_gram_loss(centres, neighbours, negatives):
    """Vectors of centres (B, D), of true neighbours (B, D) and of K words drawn for each (B, K, D)."""
    true = (centres * neighbours).sum(dim=-1)  # (B,): should be high
    drawn = torch.einsum("bd,bkd->bk", centres, negatives)  # (B, K): should be low
    return -(F.logsigmoid(true) + F.logsigmoid(-drawn).sum(dim=1)).mean()


from course_lib.models.word_vectors import Corpus, FastText, GloVe, SkipGram, WordVectors, negative_sampling_loss

centres, neighbours, negatives = torch.randn(4, 8), torch.randn(4, 8), torch.randn(4, 5, 8)
ours, library = (f(centres, neighbours, negatives) for f in (skip_gram_loss, negative_sampling_loss))
print("loss:", tuple(ours.shape), "· the library's is the same:", torch.allclose(ours, library))

# %% [markdown]
# Now train it. `Corpus` holds the text as ids and knows the pairs; words to compare with are drawn by their frequency
# to
# the power 3/4, so that rare ones come a little more often than they occur.

# %%
print(code_of(SkipGram.forward))
print(code_of(Corpus.negatives))


# %%
def train_vectors(model, corpus, window, steps, rate=2e-2, batch_size=2048):
    """Trains skip-gram, or a model called like it, on a corpus; returns its word vectors."""
    # For each centre the window's reach is drawn from 1 to `window`, so that near words count more.
    pairs = corpus.pairs(window, torch.Generator().manual_seed(0))

    def batch_loss(model, generator):
        rows = pairs[torch.randint(len(pairs), (batch_size,), generator=generator)]
        return model(rows[:, 0], rows[:, 1], corpus.negatives((batch_size, 5), generator))

    train(model, batch_loss, TrainingConfig(steps=steps, learning_rate=rate, weight_decay=0.0))
    return WordVectors(corpus.words, model.vectors())


captions_corpus = Corpus(texts)
runtime.seed_everything(0)
narrow = train_vectors(SkipGram(len(captions_corpus.words), 16), captions_corpus, window=2, steps=400)
print("vectors:", tuple(narrow.vectors.shape))

# %% [markdown]
# **Neighbours.** Whose vectors point the same way? And from the two directions in which they differ most:

# %%
shown = {word: dict(narrow.nearest(word, 5)) for word in ["red", "star", "left"]}
show(drawings.next_tokens(shown, title="Nearest words, by cosine"))

# %%
shapes = list(microworld.SHAPES)
plurals = ["crosses" if shape == "cross" else shape + "s" for shape in shapes]
kinds = {
    "colours": list(microworld.COLOURS),
    "shapes": shapes,
    "several": plurals,
    "sizes": ["small", "little", "large", "big"],
    "surfaces": ["shiny", "glossy", "striped", "stripy", "dotted", "spotted"],
    "places": ["left", "right", "above", "below", "over", "under", "top", "bottom"],
}
some_of_each = {kind: words[:4] for kind, words in kinds.items()}
show(drawings.word_map(narrow, some_of_each, title="Skip-gram, two words to either side"))


# %%
def same_kind(vectors):
    """How often the nearest word of a colour is a colour, and that of a shape a shape."""
    asked = [(word, kinds[kind]) for kind in ("colours", "shapes") for word in kinds[kind]]
    return sum(vectors.nearest(word, 1)[0][0] in kind for word, kind in asked) / len(asked)


chance = sum(8 * 7 for _ in range(2)) / (16 * (len(narrow.words) - 1))
print(f"nearest word of the same kind: at least 0.9: {same_kind(narrow) >= 0.9} (chance: {chance:.2f})")

# %% [markdown]
# Nobody told it what a colour is. But *red* and *blue* stand between the same words, so they got vectors alike.
#
# **Analogies.** If directions mean something, then the step from *star* to *stars* should be the step from *ring* to
# *rings*, and $v_{\text{stars}} - v_{\text{star}} + v_{\text{ring}}$ should lie near $v_{\text{rings}}$. There are 56
# such questions about the eight shapes. A fair test has a *baseline*: is the arithmetic needed at all, or is *rings*
# simply the word nearest to *ring*?

# %%
pluralised = dict(zip(shapes, plurals, strict=True))
asked = [(a, pluralised[a], c, pluralised[c]) for a in shapes for c in shapes if a != c]


def analogy_rates(vectors):
    """Share of right answers: by b - a + c, and by taking what is nearest to c."""
    arithmetic = sum(vectors.analogy(a, b, c, 1)[0][0] == d for a, b, c, d in asked)
    nearest = sum(vectors.nearest(c, 1)[0][0] == d for *_, c, d in asked)
    return arithmetic / len(asked), nearest / len(asked)


print("arithmetic, nearest word:", *map(runtime.measured, analogy_rates(narrow)))
said = [narrow.analogy(*question[:3], 1)[0][0] for question in asked]
plural_rate = sum(word in plurals for word in said) / len(said)
print("the answer is the plural of some shape:", runtime.measured(plural_rate))

# %% [markdown]
# It knows *several*, but not of *what*: with two words to either side, nothing in the text ties "ring" to "rings". What
# does tie them is the *topic*: where one caption of a scene says "two rings", another says "a ring". So let the window
# reach: join the five captions of a scene to one text, and let the window go up to 20 words.

# %%
descriptions = [" ".join(texts[start : start + 5]) for start in range(0, len(texts), 5)]
scene_corpus = Corpus(descriptions)
runtime.seed_everything(0)
wide = train_vectors(SkipGram(len(scene_corpus.words), 32), scene_corpus, window=20, steps=600)
right, baseline = analogy_rates(wide)
print("arithmetic right at least 0.6:", right >= 0.6, "·", runtime.measured(right))
print("the nearest word alone       :", runtime.measured(baseline), "· worse:", baseline < right)
near = sum(pluralised[shape] in dict(wide.nearest(shape, 10)) for shape in shapes)
print("the plural is among the ten nearest words, for 4 or more of 8:", near >= 4, "·", runtime.measured(near, 0))

# %%
show(drawings.analogies(wide, list(pluralised.items())[:6], title="From one to several, window of 20"))

# %% [markdown]
# **What a vector knows is what its window saw.** A narrow window finds words that could take each other's place (*red*,
# *blue*); a wide one finds words that are spoken of together (*star*, *stars*). Neither is wrong. That is also the
# limit
# of all such vectors: opposites such as *left* and *right* take each other's place, so they come out as neighbours.

# %%
paper_card("word2vec")

# %% [markdown]
# ### CBOW
#
# *Continuous bag of words* is the other half of Word2Vec: the mean of the neighbours predicts the centre. One
# prediction
# for a whole window makes it faster; the averaging blurs rare words.

# %%
from course_lib.models.word_vectors import CBOW

print(code_of(CBOW.forward))
print("and the vectors it is trained into find the same kinds:", end=" ")
runtime.seed_everything(0)
cbow = CBOW(len(captions_corpus.words), 16)
around, there = captions_corpus.windows(2)
some = there.any(dim=1).nonzero()[:, 0]  # a text of a single word has no neighbours


def cbow_loss(model, generator):
    rows = some[torch.randint(len(some), (2048,), generator=generator)]
    negatives = captions_corpus.negatives((2048, 5), generator)
    return model(around[rows], there[rows], captions_corpus.tokens[rows], negatives)


train(cbow, cbow_loss, TrainingConfig(steps=400, learning_rate=2e-2, weight_decay=0.0))
print(same_kind(WordVectors(captions_corpus.words, cbow.vectors())) >= 0.75)

# %% [markdown]
# ### GloVe
#
# Skip-gram reads the text pair by pair, many times over. GloVe counts first: $X_{ij}$ says how often word $j$ stands
# near word $i$ (at distance $d$ it counts $1/d$). Then it fits vectors $w_i$, $\tilde w_j$ and biases $b_i$,
# $\tilde b_j$ to the logarithms:
#
# $$\mathcal{J} = \sum_{ij} f(X_{ij})\,\big(w_i \cdot \tilde w_j + b_i + \tilde b_j - \log X_{ij}\big)^2,
# \qquad f(x) = \min\big(1, (x / x_{\max})^{3/4}\big)$$
#
# The weight $f$ keeps very frequent pairs from drowning the others; pairs that never occur are left out, as $\log 0$
# asks for.

# %%
X = captions_corpus.cooccurrences(2)  # (V, V)
print("counts:", tuple(X.shape), "· symmetric:", torch.allclose(X, X.T))
print(code_of(GloVe.forward))

# %%
runtime.seed_everything(0)
glove = GloVe(len(captions_corpus.words), 16)
one, other = X.nonzero(as_tuple=True)
config = TrainingConfig(steps=400, learning_rate=5e-2, weight_decay=0.0)
train(glove, lambda model, _: model(one, other, X[one, other]), config)
by_counting = WordVectors(captions_corpus.words, glove.vectors())
print("nearest word of the same kind at least 0.75:", same_kind(by_counting) >= 0.75)
shown = shapes[:4] + plurals[:4]
fit = (glove.word.weight @ glove.other.weight.T + glove.word_bias.weight + glove.other_bias.weight.T).detach()
error = (fit - X.clamp(min=1e-9).log())[X > 1].abs().median().item()
print("median error of log X:", runtime.measured(error, 2))

# %%
paper_card("glove")

# %% [markdown]
# ### FastText
#
# A vector for each word has none for a new word, and learns nothing for "rings" from "ring". FastText looks inside: a
# word is the sum of the vectors of its character *n-grams*, with `<` and `>` at its ends.

# %%
from course_lib.models.word_vectors import ngrams

print(ngrams("ring", lengths=(3, 4)))
print(code_of(FastText.vectors_of))

# %%
runtime.seed_everything(0)
fasttext = FastText(captions_corpus.words, 32)
with_parts = train_vectors(fasttext, captions_corpus, window=2, steps=400, rate=1e-2)
print("plurals by arithmetic at least 0.8:", analogy_rates(with_parts)[0] >= 0.8)
print("the nearest word alone            :", runtime.measured(analogy_rates(with_parts)[1]))

# %% [markdown]
# With the same narrow window that left skip-gram near chance, the analogy is solved, since "rings" *contains* "ring".
# And there are vectors for words that never occurred, wrong spellings among them:

# %%
for word, meant in [("starr", "star"), ("crescentt", "crescent"), ("purplle", "purple"), ("trianglular", "triangle")]:
    near = [name for name, _ in with_parts.nearest(fasttext.vector(word), 3)]
    print(f"{word:13} {meant} is among the three nearest words:", meant in near)

# %%
paper_card("fasttext")

# %% [markdown]
# ## 4 Counting, and perplexity
#
# Now the game itself. A *language model* gives a text $x_1 \ldots x_T$ a probability. By the chain rule that is one
# next-word question after the other:
#
# $$p(x_1, \ldots, x_T) = \prod_{t=1}^{T} p(x_t \mid x_1, \ldots, x_{t-1})$$
#
# The oldest answer is to count. An *n-gram model* believes that only the last $n-1$ words matter, and takes the share
# of times that each word followed them. With $n = 2$:

# %%
followers = {}
for text in texts:
    for word, after in pairwise(["[START]", *text.split(), "[END]"]):
        followers.setdefault(word, Counter())[after] += 1
shown = {}
for word in ["a", "left", "on"]:
    shown["… " + word] = {after: count / followers[word].total() for after, count in followers[word].most_common(5)}
show(drawings.next_tokens(shown, title="What follows, by counting pairs"))

# %% [markdown]
# It can already write. Draw a word by these shares, go on from it, until the end comes:

# %%
dice, word, written = random.Random(1), "[START]", []
while word != "[END]" and len(written) < 25:
    word = dice.choices(list(followers[word]), followers[word].values())[0]
    written.append(word)
print(" ".join(written[:-1]))

# %% [markdown]
# Each two neighbours fit, the whole makes little sense: after two words the model has forgotten what it was about.
#
# **How good is it?** Let it read texts that it has not seen, and note the probability that it gave each word before it
# was shown. The mean of $-\log p$ is the *cross-entropy*; its exponential is the **perplexity**:
#
# $$\text{PPL} = \exp\Big(-\frac{1}{T} \sum_{t=1}^{T} \log p(x_t \mid x_{<t})\Big)$$
#
# Read it as a number of choices: a model with perplexity 5 is as unsure as if it had to choose among 5 equally likely
# words each time. A model that knows nothing has the size of the vocabulary.


# %%
def perplexity(probabilities):
    """The perplexity of a text, from the probabilities that its words were given."""
    return math.exp(-sum(math.log(p) for p in probabilities) / len(probabilities))


print("always one in five:", round(perplexity([1 / 5] * 10), 6))
print("half sure, half of the time nearly wrong:", round(perplexity([0.5, 0.01] * 5), 2))

# %% [markdown]
# One zero, and the perplexity is infinite: a pair that never occurred in training must still get some probability.
# *Smoothing* provides it. The simplest adds a little to every count. A better one, by Kneser and Ney, takes a fixed bit
# off every count, and shares out what it gained as a model with a shorter context would. In the library a count-based
# model is called like any other language model, and gives logits:

# %%
from course_lib.models.ngram import KneserNey, NGram

print(code_of(NGram.probabilities))

# %% [markdown]
# From here on all language models of this lesson play the same game, so let us fix it. A *description* is all five
# captions of a scene, one after the other with full stops between: about 73 tokens. So what
# comes late can be guessed from what came early, *if* a model remembers it.

# %%
tokenizer = WordTokenizer([*microworld.VOCABULARY, ".", "?"], context_length=96)


def descriptions_as_ids(count, seed, split="train"):
    """Descriptions of so many scenes as rows of ids (N, 96): start, words, end, zeros."""
    scenes = microworld.sample_scenes(count, seed, split)
    return tokenizer([" . ".join(microworld.captions(scene)) for scene in scenes])


train_ids, test_ids = descriptions_as_ids(8_000, 3), descriptions_as_ids(300, 3, "test")
print("training:", tuple(train_ids.shape), "· test:", tuple(test_ids.shape), "· vocabulary:", tokenizer.vocab_size)
print(tokenizer.decode(test_ids[0]))


# %%
def next_token_loss(model, input_ids):
    """Mean cross-entropy of each token given those before it; padding (id 0) is not asked for."""
    longest = int((input_ids > 0).sum(dim=1).max())
    logits = model(input_ids[:, : longest - 1])  # (B, T - 1, V): what comes after each token but the last
    return F.cross_entropy(logits.flatten(0, 1), input_ids[:, 1:longest].flatten(), ignore_index=0)


def test_perplexity(model, input_ids=None):
    """On descriptions of scenes that no training text describes."""
    with torch.no_grad():
        return math.exp(next_token_loss(model, test_ids if input_ids is None else input_ids).item())


table = {"one in V": float(tokenizer.vocab_size)}
for order in (1, 2, 3, 4, 5):
    table[f"{order}-gram"] = test_perplexity(KneserNey(order, tokenizer.vocab_size).fit(train_ids.tolist(), ignore=0))
for name, value in table.items():
    print(f"{name:10} perplexity {runtime.measured(value, 2)}")

# %% [markdown]
# More context helps, until it does not: five words in a row have mostly never been seen, and then longer memory is no
# memory. And however long the five words are, what the first caption said is out of sight in the third.

# %% [markdown]
# ## 5 Recurrent networks
#
# Do not store contexts: *summarise*. A **recurrent network** (RNN) keeps a state $h$, a vector of $D$ numbers, and
# updates it with every word's vector $x_t$ by the same matrices:
#
# $$h_t = \tanh(W x_t + U h_{t-1} + b)$$
#
# In principle $h_t$ can hold something of all words so far. Here it is, as a loop:


# %%
def rnn(inputs, W, U, b):
    """Word vectors (B, T, C) to states (B, T, D)."""
    state, states = torch.zeros(len(inputs), len(U)), []
    for x in inputs.unbind(dim=1):
        state = torch.tanh(x @ W.T + state @ U.T + b)
        states.append(state)
    return torch.stack(states, dim=1)


torch.manual_seed(0)
reference = torch.nn.RNN(6, 8, batch_first=True)
inputs = torch.randn(3, 10, 6)
mine = rnn(inputs, reference.weight_ih_l0, reference.weight_hh_l0, reference.bias_ih_l0 + reference.bias_hh_l0)
print("states:", tuple(mine.shape), "· equal to torch's RNN:", torch.allclose(mine, reference(inputs)[0], atol=1e-6))

# %% [markdown]
# **Why it forgets.** To learn that the third word matters for the sixtieth, the gradient has to travel from the
# sixtieth
# back to the third. Each step multiplies it by $U^\top \operatorname{diag}(1 - h_t^2)$. If that shrinks a vector, sixty
# of them shrink it to nothing, and if it grows one, to infinity. This is the *vanishing* (or exploding) gradient. We
# can
# measure it: how much does the last state change when an early input does?

# %%
from course_lib.layers.recurrent import GRU, LSTM, RNN


def reach(network, length=60, width=32):
    """Length of the gradient of the last state with respect to the input so many steps before."""
    inputs = torch.randn(16, length, width, requires_grad=True)
    states, _ = network(inputs)
    states[:, -1].sum().backward()
    return inputs.grad.norm(dim=-1).mean(dim=0).flip(0)  # (T,): 0 steps back first


torch.manual_seed(0)
networks = {"RNN": RNN(32, 32), "GRU": GRU(32, 32), "LSTM": LSTM(32, 32)}
with torch.no_grad():
    for parameter in networks["LSTM"].parameters():
        if parameter.ndim == 1:
            parameter[32:64] = 1.5  # a forget gate that starts out keeping: 0.95 of the memory stays at each step
    for parameter in networks["GRU"].parameters():
        if parameter.ndim == 1:
            parameter[32:64] = 1.5
gradients = {name: reach(network) for name, network in networks.items()}
steps_back = torch.arange(60)
show(
    figures.lines(
        steps_back,
        {name: (row / row[0]).log10() for name, row in gradients.items()},
        across="steps back",
        value="log₁₀ of the gradient, 0 steps back = 0",
        title="How far a gradient reaches",
    )
)
print("the LSTM's is at least a million times the RNN's:", bool(gradients["LSTM"][59] > 1e6 * gradients["RNN"][59]))

# %% [markdown]
# ### LSTM and GRU
#
# The **LSTM** keeps a second vector, the memory $c$, and changes it by *adding*. Three gates, each a vector of numbers
# between 0 and 1 computed from $x_t$ and $h_{t-1}$, decide what is kept ($f$), what is written ($i$) and what is shown
# ($o$); $g$ is what could be written:
#
# $$c_t = f \odot c_{t-1} + i \odot g, \qquad h_t = o \odot \tanh(c_t)$$
#
# Where $f$ is near 1, the gradient passes $c$ unchanged, step after step: that is the flat line in the picture.


# %%
def lstm_step(x, h, c, weights):
    """One step, with torch's four matrices stacked in the order i, f, g, o."""
    i, f, g, o = (x @ weights[0].T + weights[2] + h @ weights[1].T + weights[3]).chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


reference = torch.nn.LSTM(6, 8, batch_first=True)
weights = [parameter.detach() for parameter in reference.parameters()]
h = c = torch.zeros(3, 8)
for x in inputs.unbind(dim=1):
    h, c = lstm_step(x, h, c, weights)
print("equal to nn.LSTM:", torch.allclose(h, reference(inputs)[0][:, -1], atol=1e-6))

# %% [markdown]
# The **GRU** does with two gates and no second vector: $h_t = z \odot h_{t-1} + (1 - z) \odot n$, where $z$ says how
# much
# stays, and a gate $r$ how much of the old state the new candidate $n$ looks at. In the library the three share their
# loop and differ in one step. All of them beside torch's, gradients included:

# %%
from course_lib.layers.recurrent import GRUCell

print(code_of(GRUCell.step))


for name in ("RNN", "LSTM", "GRU"):
    print_rows(text_parity.recurrent_beside_torch(name))

# %%
paper_card("lstm")

# %%
paper_card("gru")

# %% [markdown]
# ### An LSTM as a language model
#
# A table gives every token its vector, the LSTM turns vectors into states, and the same table reads each state: the
# product of a state with each word's vector is that word's logit. (*Tied weights*: one table less, and usually better.)

# %%
from course_lib.models.recurrent import RecurrentLM, RecurrentLMConfig
from course_lib.viz.diagram import architecture
from course_lib.viz.live import LiveCurve

runtime.seed_everything(0)
lstm = RecurrentLM(RecurrentLMConfig(tokenizer.vocab_size, width=128))
show(architecture(lstm, test_ids[:4, :20], depth=1))

# %% [markdown]
# Training is the same for every model of this lesson: draw 32 descriptions, ask for each next token, follow the
# gradient. On the way we note the perplexity on 60 test descriptions.


# %%
def train_language_model(model, steps, learning_rate, name, loss=next_token_loss, batch_size=32, curve=None):
    """Trains on descriptions; notes (step, test perplexity) in `curve`."""

    def batch_loss(model, generator):
        return loss(model, train_ids[torch.randint(len(train_ids), (batch_size,), generator=generator)].to(device))

    def on_step(step, loss, rate):
        live.update(step, loss, rate)
        if curve is not None and (step + 1) % 30 == 0:
            model.eval()
            curve.append((step + 1, test_perplexity(model, test_ids[:60].to(device))))
            model.train()

    config = TrainingConfig(steps, batch_size, learning_rate, warmup_steps=20)
    with LiveCurve(name, total=steps, chance=math.log(tokenizer.vocab_size)) as live:
        return train(model.to(device), batch_loss, config, on_step)


device = runtime.device()
full_scale = runtime.scale() == "full"
budget = 3_000 if full_scale else 240
lstm_curve = []
history = train_language_model(lstm, budget, 5e-3, "LSTM", curve=lstm_curve)
table["LSTM"] = test_perplexity(lstm.cpu())
print("seconds:", runtime.measured(history.seconds, 0), "· perplexity:", runtime.measured(table["LSTM"], 2))

# %% [markdown]
# ## 6 GPT-2: the decoder
#
# A recurrent network squeezes all of the past into one vector. Attention (lesson 01) does not: it keeps the vectors of
# all earlier tokens, and each new one looks up what it needs. A **decoder** is a stack of transformer blocks with a
# *causal mask*: position $t$ sees positions $1 \ldots t$. GPT-2 is just that, with a table of learned positions.
#
# **Its task is causal language modelling (CLM):** the target is the input, moved by one. Every position is one
# question,
# and thanks to the mask all are asked at once:

# %%
shown = tokenizer.tokenize("a small red star on a plain background")
show(drawings.pieces({"input": ["[START]", *shown], "target": [*shown, "[END]"]}, title="Causal language modelling"))

# %%
from course_lib.models.gpt2 import GPT2, GPT2Config

print(code_of(GPT2.forward_embeddings))

# %%
sizes = {"context_length": 96, "width": 96, "layers": 2, "heads": 4, "mlp_width": 384}
runtime.seed_everything(0)
gpt = GPT2(GPT2Config(tokenizer.vocab_size, **sizes, dropout=0.0, attention_dropout=0.0))
show(architecture(gpt, test_ids[:4, :20]))

# %% [markdown]
# The last box has no matrix of its own: the table of tokens reads the result, as in section 5. Is it GPT-2? Give it the
# weights of transformers' `GPT2LMHeadModel`, random ones in a small configuration, and compare:

# %%
from course_lib.authoring.parity import lesson_03 as parity

print_rows(parity.gpt2_beside_transformers())

# %%
paper_card("gpt2")

# %%
gpt_curve = []
history = train_language_model(gpt, budget, 4e-3, "GPT-2", curve=gpt_curve)
table["GPT-2"] = test_perplexity(gpt.cpu())
print("seconds:", runtime.measured(history.seconds, 0), "· perplexity:", runtime.measured(table["GPT-2"], 2))

# %% [markdown]
# Now the comparison, on descriptions of scenes that no training text describes:

# %%
floor = [table["5-gram"]] * len(gpt_curve)
curves = {"LSTM": [value for _, value in lstm_curve], "GPT-2": [value for _, value in gpt_curve], "5-gram": floor}
trained_for = [step for step, _ in gpt_curve]
show(figures.lines(trained_for, curves, across="steps of 32 descriptions", value="test perplexity", limits=(2, 10)))
for name, value in table.items():
    print(f"{name:9} perplexity {runtime.measured(value, 2)}")
print(
    "both networks beat every count:", max(table["LSTM"], table["GPT-2"]) < min(table[f"{n}-gram"] for n in range(1, 6))
)

# %% [markdown]
# Where does the advantage come from? The captions of a description say different things in turn, so their losses rise
# and fall. What tells is the *distance* between the curves: near the beginning LSTM and GPT-2 are nearly level; the
# farther on, the more lies behind that attention can look up and a state has forgotten.


# %%
def by_place(model):
    """Mean loss by place in the text: (T,), over test descriptions."""
    with torch.no_grad():
        logits = model(test_ids[:, :-1])
    losses = F.cross_entropy(logits.transpose(1, 2), test_ids[:, 1:], ignore_index=0, reduction="none")
    return losses.sum(dim=0) / (test_ids[:, 1:] > 0).sum(dim=0).clamp(min=1)


five_gram = KneserNey(5, tokenizer.vocab_size).fit(train_ids.tolist(), ignore=0)
losses = {name: by_place(model)[:72].view(9, 8).mean(dim=1) for name, model in
          {"5-gram": five_gram, "LSTM": lstm, "GPT-2": gpt}.items()}  # fmt: skip
show(figures.lines(torch.arange(9) * 8 + 4, losses, across="place in the description", value="loss (nats per token)"))
gap = losses["LSTM"] - losses["GPT-2"]
print("the distance grows from the first caption to later ones:", bool(gap[4:].mean() > gap[:2].mean()))

# %% [markdown]
# ## 7 The course's language checkpoint
#
# Later lessons do not train a language model each time; they start from one that the course carries: a GPT-2 of three
# layers that has read all kinds of text of the microworld, captions, questions with answers, and short dialogues. Its
# *card* says how it was made, and one command makes it again.

# %%
from course_lib.models.recipes import language
from course_lib.pretrained import course

course_gpt, course_words = language.load_language()
card = course.load("language")[2]
for field in ("what", "command"):
    print(f"{field:8} {card[field]}")
print("numbers in it:", f"{sum(parameter.numel() for parameter in course_gpt.parameters()):,}")
for kind in language.KINDS:
    print(f"{kind:10} {language.test_texts(1, kind=kind)[0]}")

# %% [markdown]
# A *checkpoint* is nothing but the configuration and the named weights. Its perplexity on texts about scenes it has
# never
# seen, beside a 4-gram that counted the same kinds of text:

# %%
counted = KneserNey(4, course_words.vocab_size).fit(course_words(language.training_texts(1_500)).tolist(), ignore=0)
better = []
for kind in language.KINDS:
    rows = course_words(language.test_texts(100, kind=kind))
    with torch.no_grad():
        both = [math.exp(next_token_loss(model, rows).item()) for model in (counted, course_gpt)]
    better.append(both[1] < both[0])
    print(f"{kind:10} 4-gram {runtime.measured(both[0], 2)} · checkpoint {runtime.measured(both[1], 2)}")
print("the checkpoint is better on every kind of text:", all(better))

# %% [markdown]
# **Let it write.** Give it a beginning, draw a token from its probabilities, append it, repeat (section 12 does this
# with
# care). What may come next, and where a dialogue leads:

# %%
from course_lib.generation import greedy, sample

contexts = ["a large shiny blue", "two", "question : how many stars are there answer :"]
shown = {}
for context in contexts:
    ids = course_words([context])[:, : len(context.split()) + 1]  # the start token and the words
    with torch.no_grad():
        top = course_gpt(ids)[0, -1].softmax(dim=-1).topk(5)
    named = [course_words.decode([index]) or "[END]" for index in top.indices.tolist()]
    shown[context] = dict(zip(named, top.values.tolist(), strict=True))
show(drawings.next_tokens(shown, columns=2, title="The checkpoint's next words"))

# %%
context = "user : describe the picture . assistant : a large shiny blue star on a plain background . user :"
begin = course_words([context])[:, : len(context.split()) + 1]
runtime.seed_everything(1)
written = sample(course_gpt, begin, max_new_tokens=25, temperature=0.7, eos_token_id=course_words.end_token_id)
said = course_words.decode(written[0])
print("it goes on from the beginning it was given:", said.startswith(context))
print("the user asks and the assistant answers:", said[len(context) :].count("assistant :") >= 1)

# %% [markdown]
# (What exactly it writes depends on the machine; `print(said)` shows it.)

# %% [markdown]
# ## 8 BERT: the encoder
#
# A decoder reads from left to right, since it must not see what it is to predict. To *understand* a text that is
# already there, that is half of the evidence thrown away. An **encoder** has no causal mask: every position sees every
# other. But then, what could it predict?
#
# **Masked language modelling (MLM):** hide some tokens, ask for those. BERT chooses 15 % of the places. Of these 80 %
# are shown as `[MASK]`, 10 % as a random token and 10 % as they are, so that the model can trust no token blindly.
#
# **Next-sentence prediction (NSP):** two texts A and B; does B follow A, or come from elsewhere? In the microworld: do
# both captions describe the same scene? `[CLS]` comes first, and its hidden state answers; `[SEP]` ends each text.

# %%
MASK, CLS, SEP = range(tokenizer.vocab_size, tokenizer.vocab_size + 3)
names = {0: "[PAD]", MASK: "[MASK]", CLS: "[CLS]", SEP: "[SEP]"} | dict(enumerate(tokenizer.vocabulary, 1))
bert_scenes = [microworld.captions(scene) for scene in microworld.sample_scenes(6_000, seed=4)]


def sentence_pair(A, B, length=60):
    """Ids of [CLS] A [SEP] B [SEP], padded, and which of the two texts each belongs to."""
    first, second = [CLS, *tokenizer.encode(A), SEP], [*tokenizer.encode(B), SEP]
    ids, types = (first + second)[:length], ([0] * len(first) + [1] * len(second))[:length]
    return ids + [0] * (length - len(ids)), types + [0] * (length - len(types))


def mask_tokens(input_ids, generator):
    """BERT's noise: what the model sees, and which places are asked for."""
    chosen = (torch.rand(input_ids.shape, generator=generator) < 0.15) & (input_ids > 0) & (input_ids < MASK)
    kind = torch.rand(input_ids.shape, generator=generator)
    random_ids = torch.randint(1, len(tokenizer.vocabulary) + 1, input_ids.shape, generator=generator)
    seen = torch.where(chosen & (kind < 0.8), MASK, input_ids)
    return torch.where(chosen & (kind >= 0.9), random_ids, seen), chosen


ids, types = (torch.tensor([row]) for row in sentence_pair(*bert_scenes[0][3:5]))
seen, chosen = mask_tokens(ids, torch.Generator().manual_seed(2))
length = int((ids > 0).sum())
two = {"BERT sees": seen, "text": ids}
rows = {name: [names[index] for index in row[0, :length].tolist()] for name, row in two.items()}
asked_for = set(chosen[0].nonzero().flatten().tolist())
show(drawings.pieces(rows, marks={"BERT sees": asked_for, "text": asked_for}, marked="asked for"))
print("segment of each token:", types[0, :length].tolist())

# %%
from course_lib.encoders.bert import BERTConfig
from course_lib.models.bert import BERTForPretraining

print(code_of(BERTForPretraining.forward))
print_rows(parity.bert_beside_transformers())

# %%
runtime.seed_everything(0)
bert_sizes = {"context_length": 60, "width": 96, "layers": 2, "heads": 4, "mlp_width": 384}
bert = BERTForPretraining(BERTConfig(SEP + 1, **bert_sizes, dropout=0.0, attention_dropout=0.0))
show(architecture(bert, ids.expand(3, -1), (ids > 0).expand(3, -1)))

# %%
paper_card("bert")

# %% [markdown]
# Training, both tasks at once. Half of the pairs are two captions of one scene, half of two scenes.

# %%
import random as dice_box

dice, pairs, same = dice_box.Random(0), [], []
for number, captions in enumerate(bert_scenes):
    together = dice.random() < 0.5
    other = captions if together else bert_scenes[(number + 1) % len(bert_scenes)]
    pairs.append(sentence_pair(captions[0], other[dice.choice([1, 4])]))
    same.append(0 if together else 1)  # BERT's labels: 0 is "follows"
pair_ids, pair_types = (torch.tensor([pair[part] for pair in pairs]) for part in (0, 1))
same = torch.tensor(same)
longest = int((pair_ids > 0).sum(dim=1).max())
pair_ids, pair_types = pair_ids[:, :longest], pair_types[:, :longest]


def bert_loss(model, generator):
    """MLM at the chosen places plus NSP, on 32 of all pairs but the last 500."""
    at = torch.randint(len(pair_ids) - 500, (32,), generator=generator)
    seen, chosen = mask_tokens(pair_ids[at], generator)
    output = model(seen, pair_ids[at] > 0, pair_types[at], chosen)
    masked = F.cross_entropy(output.prediction_logits, pair_ids[at][chosen])
    return masked + F.cross_entropy(output.seq_relationship_logits, same[at])


bert_steps = 2_000 if full_scale else 240
with LiveCurve("BERT: MLM + NSP", total=bert_steps) as live:
    train(bert, bert_loss, TrainingConfig(bert_steps, learning_rate=2e-3, warmup_steps=20), on_step=live.update)

# %%
test_pairs, test_types = pair_ids[-500:], pair_types[-500:]
seen, chosen = mask_tokens(test_pairs, torch.Generator().manual_seed(5))
with torch.no_grad():
    output = bert(seen, test_pairs > 0, test_types)
right = (output.prediction_logits[chosen].argmax(dim=-1) == test_pairs[chosen]).double().mean().item()
commonest = test_pairs[chosen].bincount().max().item() / int(chosen.sum())
follows = (output.seq_relationship_logits.argmax(dim=-1) == same[-500:]).double().mean().item()
print("masked tokens right:", runtime.measured(right), "· always the commonest token:", runtime.measured(commonest))
print("better by 0.1 and more:", right > commonest + 0.1)
print("next sentence right:", runtime.measured(follows), "(chance: 0.5)")

# %% [markdown]
# The first task is well under way after so few steps. The second is not: whether two captions tell of one scene needs a
# comparison of all that they name, and a network learns to compare late. (RoBERTa later found NSP not worth having.)
#
# It fills gaps, and uses what stands *after* the gap, which a decoder could not:


# %%
def fill(text):
    """The most probable tokens for the gap, written as _."""
    ids = [CLS, *(MASK if word == "_" else tokenizer.ids[word] for word in text.split()), SEP]
    with torch.no_grad():
        logits = bert(torch.tensor([ids])).prediction_logits[0, ids.index(MASK)]
    top = logits.softmax(dim=-1).topk(5)
    return {names.get(index, "other"): p for index, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)}


gaps = ["a small shiny red _ left of a large plain blue ring", "a large plain blue ring left _ a small shiny red star"]
gaps += ["a small _ red star on a plain background", "a _ shiny red star on a plain background"]
show(drawings.next_tokens({gap: fill(gap) for gap in gaps}, columns=2, title="What stands in the gap?"))

# %% [markdown]
# ### Contextual embeddings
#
# Word2Vec gives "striped" one vector. But a *striped star* and a *striped background* are not the same: the first is a
# surface, the second the whole ground. BERT gives a vector for each *occurrence*. Take captions that say "striped" of
# an
# object or of the background, and look at both kinds of vector:

# %%
occurrences, role = [], []
for captions in bert_scenes:
    words = captions[0].split()
    for place, word in enumerate(words[:-1]):
        if word == "striped":
            occurrences.append((captions[0], place + 1))  # + 1 for [CLS]
            role.append(words[place + 1] in ("background", "backdrop"))
role = torch.tensor(role)
pick = torch.cat([role.nonzero().flatten()[:60], (~role).nonzero().flatten()[:60]])
rows = torch.tensor([sentence_pair(occurrences[index][0], "", longest)[0] for index in pick])
place = torch.tensor([occurrences[index][1] for index in pick])
with torch.no_grad():
    contextual = bert(rows, rows > 0).hidden_states[torch.arange(len(rows)), place]  # (120, D)
static = bert.encoder.token_embedding.weight[rows[torch.arange(len(rows)), place]].detach()  # (120, D)
print("different static vectors:", len(static.unique(dim=0)), "· contextual ones:", tuple(contextual.shape))
show(
    embedding.scatter(
        {"a striped background": contextual[:60], "a striped thing": contextual[60:]},
        joined=False,
        title="The word striped, in 120 captions",
    )
)


# %%
def roles_told_apart(vectors):
    """Share of held-back occurrences that are nearer to the mean of their own role: 20 + 20, means of 40 + 40."""
    means = torch.stack([vectors[:40].mean(dim=0), vectors[60:100].mean(dim=0)])
    asked = torch.cat([vectors[40:60], vectors[100:]])
    nearer = torch.cdist(asked, means).argmin(dim=1)
    return (nearer == torch.arange(40) // 20).double().mean().item()


print("static    :", roles_told_apart(static), "(chance: 0.5)")
print("contextual: at least 0.9:", roles_told_apart(contextual) >= 0.9)

# %% [markdown]
# ## 9 T5 and BART: encoder and decoder
#
# The third family has both: an encoder reads the given text, every position seeing every other, and a decoder writes
# another text, each of its positions seeing what it has written so far and, by cross-attention, all of the given one.
# Who sees whom can be *measured*: change one input token, and note which outputs change.


# %%
def sees(outputs, input_ids):
    """(T, S): whether output t changes when input token s does."""
    columns = []
    with torch.no_grad():
        before = outputs(input_ids)
        for place in range(input_ids.shape[1]):
            changed = input_ids.clone()
            changed[:, place] = changed[:, place] % 90 + 3
            columns.append((outputs(changed) - before).abs().amax(dim=(0, 2)) > 0)
    return torch.stack(columns, dim=1)


tiny_bert, tiny_gpt, tiny_t5 = (pair()[0] for pair in (parity.bert_pair, parity.gpt2_pair, parity.t5_pair))
some_ids = torch.arange(10, 16)[None]
views = {
    "BERT": sees(lambda ids: tiny_bert(ids).prediction_logits, some_ids),
    "GPT-2": sees(tiny_gpt, some_ids),
    "T5, given text": sees(lambda ids: tiny_t5(ids, some_ids), some_ids),
}
show(drawings.who_sees_whom(views))
own = sees(lambda ids: tiny_t5(some_ids, ids), some_ids)
causal = torch.ones(6, 6, dtype=torch.bool).tril()
print(
    "BERT sees all:", bool(views["BERT"].all()), "· GPT-2 only what came before:", torch.equal(views["GPT-2"], causal)
)
print(
    "T5's decoder sees all of the given text:", bool(views["T5, given text"].all()), "· of its own as GPT-2:", end=" "
)
print(torch.equal(own, causal))

# %% [markdown]
# | family | sees | trained by | made for |
# |---|---|---|---|
# | encoder (BERT) | everything | MLM, NSP | vectors of texts: search, classification |
# | decoder (GPT-2, Llama) | what came before | CLM | going on with a text; everything put as text |
# | encoder-decoder (T5, BART) | all of the input, the output so far | span corruption, denoising | text to text |
#
# **T5's objective, span corruption:** cut some spans out, put one *sentinel* token `<0>`, `<1>`, … in the place of
# each,
# and let the decoder write each sentinel and what it stands for. **BART's, denoising:** damage the text, and let the
# decoder write *all* of it. Here a span becomes one mask, however long it was, and the sentences change places.

# %%
FIRST_SENTINEL = SEP + 1  # four sentinels after the tokens so far


def corrupt_spans(ids, dice):
    """T5: two spans of one to three tokens are cut out; input and target, the latter ending with the end token."""
    lengths = dice.randint(1, 3), dice.randint(1, 3)
    first = dice.randint(0, max(0, len(ids) // 2 - lengths[0]))
    second = dice.randint(min(len(ids) // 2 + 1, len(ids) - 1), max(len(ids) // 2 + 1, len(ids) - lengths[1]))
    one, other = FIRST_SENTINEL, FIRST_SENTINEL + 1
    first_end, second_end = first + lengths[0], second + lengths[1]
    given = [*ids[:first], one, *ids[first_end:second], other, *ids[second_end:]]
    target = [one, *ids[first:first_end], other, *ids[second:second_end]]
    return given, [*target, tokenizer.end_token_id]


def add_noise(sentences, dice):
    """BART: a span of each sentence becomes one mask, and the sentences change places; the target is the whole text."""
    noisy = []
    for ids in sentences:
        length, stop = dice.choice([1, 2, 3]), tokenizer.ids["."]
        start = dice.randint(0, len(ids) - length)
        noisy.append([*ids[:start], MASK, *ids[start + length :], stop])
    dice.shuffle(noisy)
    whole = [index for ids in sentences for index in (*ids, tokenizer.ids["."])]
    return [index for ids in noisy for index in ids], [*whole, tokenizer.end_token_id]


names |= {FIRST_SENTINEL + number: f"<{number}>" for number in range(4)} | {tokenizer.end_token_id: "[END]"}
encoded = [[tokenizer.encode(caption) for caption in captions] for captions in bert_scenes]
shown = {"text": tokenizer.tokenize(bert_scenes[0][3])}
for name, (given, target) in {
    "T5": corrupt_spans(encoded[0][3], dice_box.Random(1)),
    "BART": add_noise(encoded[0][3:5], dice_box.Random(1)),
}.items():
    shown |= {f"{name} reads": [names[index] for index in given], f"{name} writes": [names[index] for index in target]}
special = {label: [i for i, piece in enumerate(row) if piece[0] in "<["] for label, row in shown.items()}
show(drawings.pieces(shown, marks=special, marked="special tokens"))

# %%
from course_lib.models.bart import BART, BARTConfig
from course_lib.models.t5 import T5, T5Config

print(code_of(T5.forward))
print_rows(parity.t5_beside_transformers())
print_rows(parity.bart_beside_transformers())

# %% [markdown]
# T5 has RMSNorm before each part, no biases, and positions only as *distances*: a learned number for each bucket of
# distances is added to the scores. BART is the Transformer of 2017 with learned positions and GELU.

# %%
vocabulary_size = FIRST_SENTINEL + 4
runtime.seed_everything(0)
t5 = T5(T5Config(vocabulary_size, 64, 16, 256, 2, 2, 4, dropout=0.0))
bart_sizes = {"context_length": 80, "width": 64, "layers": 2, "decoder_layers": 2, "heads": 4, "decoder_heads": 4}
bart_sizes |= {"mlp_width": 256, "decoder_mlp_width": 256, "dropout": 0.0, "attention_dropout": 0.0}
bart = BART(BARTConfig(vocabulary_size, **bart_sizes))
show(architecture(t5, torch.ones(3, 12, dtype=torch.long), torch.ones(3, 8, dtype=torch.long), depth=1))
show(architecture(bart, torch.ones(3, 12, dtype=torch.long), torch.ones(3, 8, dtype=torch.long)))

# %%
paper_card("t5")

# %%
paper_card("bart")


# %%
def padded(rows):
    """Lists of ids as one tensor, filled with zeros."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


t5_data = [corrupt_spans(captions[0], dice_box.Random(number)) for number, captions in enumerate(encoded)]
bart_data = [add_noise(captions[3:5], dice_box.Random(number)) for number, captions in enumerate(encoded)]
text_to_text = {
    "T5": (t5, [padded([pair[part] for pair in t5_data]) for part in (0, 1)]),
    "BART": (bart, [padded([pair[part] for pair in bart_data]) for part in (0, 1)]),
}


def teacher_forced(model, given, target):
    """Logits of each target token, given the text and the target tokens before it."""
    start = torch.full((len(target), 1), model.config.decoder_start_token_id)
    return model(given, torch.cat([start, target[:, :-1]], dim=1), given > 0)


for name, (model, (given, target)) in text_to_text.items():

    def loss(model, generator, given=given, target=target):
        at = torch.randint(len(given) - 300, (48,), generator=generator)
        logits = teacher_forced(model, given[at], target[at])
        return F.cross_entropy(logits.flatten(0, 1), target[at].flatten(), ignore_index=0)

    steps = 2_000 if full_scale else 130
    with LiveCurve(name, total=steps, chance=math.log(vocabulary_size)) as live:
        train(model, loss, TrainingConfig(steps, learning_rate=4e-3, warmup_steps=20), on_step=live.update)
    with torch.no_grad():
        guessed = teacher_forced(model, given[-300:], target[-300:]).argmax(dim=-1)
    there = target[-300:] > 0
    right = (guessed == target[-300:])[there].double().mean().item()
    common = target[-300:][there].bincount().max().item() / int(there.sum())
    print(f"{name:5} tokens right {runtime.measured(right)} · always the commonest {runtime.measured(common)}", end=" ")
    print("· better:", right > common + 0.1)

# %% [markdown]
# ## 10 Llama: the decoder of today
#
# Between GPT-2 (2019) and Llama (2023) the plan stayed and four parts were exchanged:
#
# | GPT-2 | Llama | why |
# |---|---|---|
# | LayerNorm | **RMSNorm** $\;x / \sqrt{\text{mean}(x^2)} \cdot w$ | no mean, no bias: as good, cheaper |
# | learned positions, added | **RoPE**: queries and keys are turned by their positions | scores depend on distances |
# | MLP with GELU | **SwiGLU** $\;(\text{SiLU}(x W_g) \odot x W_u) W_d$ | one product gates another |
# | keys and values for each head | **grouped-query attention (GQA)**: heads share them | a smaller cache |
#
# Lesson 01 builds RMSNorm and RoPE. The other two in a few lines each:


# %%
def swiglu(x, gate, up, down):
    """SwiGLU without biases: x (..., D), gate and up (D, H), down (H, D)."""
    return (F.silu(x @ gate) * (x @ up)) @ down


def share(keys, heads):
    """Keys (or values) of G groups (B, G, T, d) for so many heads: head h uses those of group h * G // heads."""
    return keys.repeat_interleave(heads // keys.shape[1], dim=1)


from course_lib.layers.mlp import GatedMLP

gated = GatedMLP(8, 16)
matrices = [layer.weight.detach().T for layer in gated.children() if isinstance(layer, torch.nn.Linear)]
print("matrices of the library's:", [tuple(matrix.shape) for matrix in matrices])
keys = torch.arange(2.0).view(1, 2, 1, 1)
print("8 heads, 2 groups; head by head the group's keys:", share(keys, 8).flatten().int().tolist())

# %%
from course_lib.models.llama import Llama, LlamaBlock, LlamaConfig

print(code_of(LlamaBlock.forward))
print_rows(parity.llama_beside_transformers())

# %%
runtime.seed_everything(0)
llama_sizes = {"context_length": 96, "width": 96, "layers": 2, "heads": 4, "key_value_heads": 2, "mlp_width": 256}
llama = Llama(LlamaConfig(tokenizer.vocab_size, **llama_sizes))
show(architecture(llama, test_ids[:4, :20]))

# %%
paper_card("llama")

# %%
llama_curve = []
history = train_language_model(llama, budget, 2e-3, "Llama", curve=llama_curve)
table["Llama"] = test_perplexity(llama.cpu())
curves["Llama"] = [value for _, value in llama_curve]
show(figures.lines(trained_for, curves, across="steps of 32 descriptions", value="test perplexity", limits=(2, 10)))
for name in ("5-gram", "LSTM", "GPT-2", "Llama"):
    print(f"{name:7} perplexity {runtime.measured(table[name], 2)}")
print("Llama beats GPT-2 at equal steps and width:", table["Llama"] < table["GPT-2"])

# %% [markdown]
# ## 11 The KV cache
#
# To write token $t + 1$, a decoder needs the keys and values of tokens $1 \ldots t$. Those of $1 \ldots t - 1$ it has
# computed before, and they have not changed, for no token sees a later one. So keep them. What has to be computed:

# %%
show(drawings.cache_steps(6))

# %%
from course_lib.layers.cache import KeyValueCache, LayerCache

print(code_of(LayerCache.append))

# %% [markdown]
# The same tokens with and without it, and how much time each takes:

# %%
import time

prompt = test_ids[:1, :8]
timings, outputs = {}, {}
for use_cache in (False, True, False, True, False, True):
    start = time.perf_counter()
    outputs[use_cache] = greedy(llama, prompt, max_new_tokens=80, use_cache=use_cache)
    timings[use_cache] = min(timings.get(use_cache, math.inf), time.perf_counter() - start)
print("the same tokens:", torch.equal(outputs[True], outputs[False]), "·", outputs[True].shape[1] - 8, "written")
print("without the cache it takes", runtime.measured(timings[False] / timings[True], 1), "times as long")

# %% [markdown]
# The longer the text, the more it saves: without it the work for $T$ tokens grows with $T^2$ positions, with it with
# $T$. It costs memory, $2 \cdot \text{layers} \cdot \text{heads} \cdot d \cdot T$ numbers for each text; which is why
# Llama's heads share keys and values.

# %%
cache = KeyValueCache(llama.config.layers, capacity=96)
with torch.no_grad():
    llama(test_ids[:1, :40], cache=cache)
kept = sum(layer.keys[:, :, : cache.length].numel() * 2 for layer in cache.layers)
print("numbers kept for 40 tokens:", kept, "= 2 · 2 layers · 2 groups · 24 · 40:", kept == 2 * 2 * 2 * 24 * 40)
print("with a key and a value for each of the 4 heads:", 2 * kept)

# %% [markdown]
# ## 12 Choosing the next token
#
# A model gives probabilities; what is written depends on how one chooses. **Greedy** takes the most probable token.
# **Sampling** draws, usually from a distribution that was changed first: the **temperature** $\tau$ divides the logits
# (below 1 sharper, above 1 flatter), **top-k** keeps the $k$ most probable tokens, **top-p** as many of the most
# probable
# as are needed to reach probability $p$. All three, after the same beginning:


# %%
def adjust(logits, temperature=1.0, top_k=None, top_p=1.0):
    """Probabilities (V,) to draw from, from logits (V,)."""
    p = (logits / temperature).softmax(dim=-1)
    order = p.argsort(descending=True)
    ranked = p[order]
    stays = ranked.cumsum(dim=-1) - ranked < top_p  # what comes before it has not yet reached p
    if top_k is not None:
        stays &= torch.arange(len(p)) < top_k
    kept = torch.zeros_like(p).scatter(0, order, ranked * stays)
    return kept / kept.sum()


beginning = tokenizer(["a small red star left of a"])[:, :8]
with torch.no_grad():
    logits = llama(beginning)[0, -1]
settings = {"as it is": {}, "temperature 0.5": {"temperature": 0.5}, "temperature 2": {"temperature": 2.0},
            "top-k 3": {"top_k": 3}, "top-p 0.6": {"top_p": 0.6}, "top-p 0.9": {"top_p": 0.9}}  # fmt: skip
top = logits.topk(7).indices.tolist()


def word_of(index):
    return tokenizer.vocabulary[index - 1] if 0 < index <= len(tokenizer.vocabulary) else "[END]"


panels, kept = {}, {}
for name, setting in settings.items():
    p = adjust(logits, **setting)
    panels[name] = {word_of(index): p[index].item() for index in top}
    kept[name] = [word for word, chance in panels[name].items() if chance > 0]
show(drawings.next_tokens(panels, kept=kept, title="a small red star left of a …"))

# %%
from course_lib.generation import sampling

for name, setting in settings.items():
    library = sampling.adjust(logits[None], **setting).softmax(dim=-1)[0]
    print(f"{name:16} the library's is the same: {torch.allclose(library, adjust(logits, **setting), atol=1e-6)}")

# %% [markdown]
# Top-k always keeps $k$, whether the model is sure or not; top-p keeps few when it is sure and many when it is not.
# What
# it does to whole texts, written twenty times: how many are different, and how probable are they per token?

# %%
prompt = tokenizer(["a"])[:, :2].expand(20, -1)


def mean_log_probability(texts):
    """Mean log probability that the model gives the tokens of texts (N, T)."""
    with torch.no_grad():
        chances = llama(texts[:, :-1]).log_softmax(dim=-1)
    return chances.gather(2, texts[:, 1:, None]).mean().item()


runtime.seed_everything(0)
written = {"greedy": greedy(llama, prompt, max_new_tokens=12)}
for name in ("temperature 0.5", "top-p 0.9", "temperature 2"):
    written[name] = sample(llama, prompt, max_new_tokens=12, **settings[name])
for name, rows in written.items():
    different, likely = len({tuple(row) for row in rows.tolist()}), mean_log_probability(rows)
    print(f"{name:16} different texts: {runtime.measured(different, 0)} of 20 · log p: {runtime.measured(likely, 2)}")

# %% [markdown]
# ### Beam search
#
# Greedy may take a token after which everything is improbable. **Beam search** keeps the $K$ most probable *beginnings*
# and extends all of them in each step. Written out, with what each step tried:


# %%
def beam_search(model, input_ids, beams, steps, tried=4):
    """The most probable texts, and per step its candidates: (parent, token, log probability, kept)."""
    kept, scores, tree = input_ids, torch.zeros(1), []
    for _ in range(steps):
        with torch.no_grad():
            log_p = model(kept)[:, -1].log_softmax(dim=-1) + scores[:, None]  # (K, V)
        best = log_p.flatten().topk(beams)
        parents, tokens = best.indices // log_p.shape[1], best.indices % log_p.shape[1]
        survivors = set(zip(parents.tolist(), tokens.tolist(), strict=True))
        candidates = [(row, index) for row in range(len(kept)) for index in log_p[row].topk(tried).indices.tolist()]
        candidates = sorted({*candidates, *survivors}, key=lambda c: (c not in survivors, -log_p[c[0], c[1]]))
        candidates = candidates[: len(survivors) + 3]
        tree.append([(row, word_of(i), log_p[row, i].item(), (row, i) in survivors) for row, i in candidates])
        kept, scores = torch.cat([kept[parents], tokens[:, None]], dim=1), best.values
    return kept, scores, tree


start_of_text = tokenizer(["a"])[:, :2]
texts_kept, scores, tree = beam_search(llama, start_of_text, beams=3, steps=5)
alt = "Three beams after “a”: a tree of candidates from left to right, of which three are kept at each of five steps."
show(drawings.beam_tree(tree, title="Three beams after “a”"), alt=alt)

# %%
from course_lib.generation import beam_search as library_beams

found = library_beams(llama, start_of_text, max_new_tokens=5, beams=3, length_penalty=0.0)
best = found.sequences[0] if hasattr(found, "sequences") else found[0]
alone = greedy(llama, start_of_text, max_new_tokens=5)
print("the library finds the same best text:", torch.equal(best.flatten()[:7], texts_kept[0]))
print("at least as probable as greedy's:", mean_log_probability(texts_kept[:1]) >= mean_log_probability(alone) - 1e-5)

# %% [markdown]
# Token for token these are transformers' own results, for decoders and for encoder-decoders:

# %%
for pair in (parity.gpt2_pair, parity.llama_pair, parity.t5_pair, parity.bart_pair):
    for way in ({}, {"num_beams": 3}):
        print_rows(parity.generation_beside_transformers(pair, way))

# %% [markdown]
# The most probable text is often a dull one. Beam search suits tasks with one right answer (translation, captions),
# sampling suits writing.

# %% [markdown]
# ## 13 Instruction tuning
#
# The Llama of section 10 goes on with descriptions. Asked a question, it would go on with the question. **Instruction
# tuning**
# (FLAN, InstructGPT's first step) is more training on pairs of instruction and answer, with one change: the loss counts
# the tokens of the *answer* only. The instruction is given; the model need not learn to write it.

# %%
tuning = []
for scene in microworld.sample_scenes(5_000, seed=8):
    for question in microworld.questions(scene)[:4]:
        prompt = [tokenizer.start_token_id, *tokenizer.encode(f"{microworld.captions(scene)[0]} . {question.text} ?")]
        tuning.append((prompt, [*tokenizer.encode(question.answer), tokenizer.end_token_id]))
prompt, answer = tuning[0]
shown = [*(names.get(index, "[START]") for index in prompt), *(names[index] for index in answer)]
answer_places = range(len(prompt), len(shown))
show(drawings.pieces({"text": shown}, marks={"text": answer_places}, marked="tokens whose loss counts"))

# %%
tuning = [pair for pair in tuning if len(pair[0]) + len(pair[1]) <= 60]
dice_box.Random(0).shuffle(tuning)
full = padded([prompt + answer for prompt, answer in tuning])
targets = padded([[0] * len(prompt) + answer for prompt, answer in tuning])  # 0 is not asked for
held_back = 400


def answer_loss(model, generator):
    """Cross-entropy of the answers' tokens."""
    at = torch.randint(len(full) - held_back, (48,), generator=generator)
    return F.cross_entropy(model(full[at, :-1]).flatten(0, 1), targets[at, 1:].flatten(), ignore_index=0)


def answers_right(model):
    """Share of held-back questions whose answer's first token is the most probable."""
    rows, starts = full[-held_back:], torch.tensor([len(prompt) for prompt, _ in tuning[-held_back:]])
    with torch.no_grad():
        guessed = model(rows).argmax(dim=-1)[torch.arange(held_back), starts - 1]
    return (guessed == rows[torch.arange(held_back), starts]).double().mean().item()


before = answers_right(llama)
first = Counter(answer[0] for _, answer in tuning[-held_back:])
steps = 2_000 if full_scale else 120
import copy

tuned = copy.deepcopy(llama)
with LiveCurve("instruction tuning", total=steps) as live:
    train(tuned, answer_loss, TrainingConfig(steps, learning_rate=2e-3, warmup_steps=10), on_step=live.update)
after = answers_right(tuned)
print("answers right before:", runtime.measured(before), "· after:", runtime.measured(after), end=" ")
print("· always the commonest answer:", runtime.measured(first.most_common(1)[0][1] / held_back))
print("better than before, and than always the commonest:", after > max(before, first.most_common(1)[0][1] / held_back))

# %%
paper_card("flan")

# %%
paper_card("instructgpt")

# %% [markdown]
# What follows in practice is *preference tuning*: people say which of two answers they like better, and the model is
# moved towards those (RLHF, DPO). Lesson 14 runs it.

# %% [markdown]
# ## 14 Break it
#
# Take away what a GPT cannot do without, and look. Short runs on single captions; what differs is one thing.

# %%
caption_ids = WordTokenizer([*microworld.VOCABULARY, ".", "?"], context_length=32)(texts)
test_caption_ids = WordTokenizer([*microworld.VOCABULARY, ".", "?"], context_length=32)(test_texts[:500])


def unmasked(model, input_ids):
    """GPT-2 without its causal mask: every position sees every other."""
    hidden_states = model.token_embedding(input_ids) + model.position_embedding[: input_ids.shape[1]]
    return F.linear(model.final_norm(model.transformer(hidden_states)), model.token_embedding.weight)


def broken_run(forward, positions=True):
    """Trains a small GPT-2 for 120 steps with another forward pass; its model and last training loss."""
    runtime.seed_everything(0)
    model = GPT2(GPT2Config(tokenizer.vocab_size, 32, 64, 2, 4, 256, dropout=0.0, attention_dropout=0.0))
    if not positions:
        model.position_embedding.requires_grad_(False).zero_()

    def batch_loss(model, generator):
        rows = caption_ids[torch.randint(len(caption_ids), (64,), generator=generator)]
        return F.cross_entropy(forward(model, rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten(), ignore_index=0)

    history = train(model, batch_loss, TrainingConfig(120, learning_rate=4e-3, warmup_steps=10))
    return model, history.losses[-1]


def masked(model, input_ids):
    """As it should be."""
    return model(input_ids)


runs = {
    "as it should be": broken_run(masked),
    "without the mask": broken_run(unmasked),
    "without positions": broken_run(masked, positions=False),
}
honest = {}
for name, (model, last) in runs.items():
    with torch.no_grad():  # the test is the game itself: only what came before may be seen
        logits = model(test_caption_ids[:, :-1])
    honest[name] = F.cross_entropy(logits.flatten(0, 1), test_caption_ids[:, 1:].flatten(), ignore_index=0).item()
    print(f"{name:18} training loss {runtime.measured(last, 2)} · as a writer {runtime.measured(honest[name], 2)}")
print("without the mask, training looks better and writing is worse:", end=" ")
right, leaking = "as it should be", "without the mask"
print(runs[leaking][1] < runs[right][1] and honest[leaking] > honest[right])

# %% [markdown]
# *Without the mask* the training loss falls below anything possible: position $t$ looks at position $t + 1$ and copies
# the answer. When it has to write, there is no position $t + 1$ to look at, and nothing was learned. A loss that is too
# good is the first sign of a leak.
#
# *Without positions* the damage is smaller than one might think: the causal mask is itself a source of order. The first
# token sees one token, the tenth ten, and a decoder learns to count from that (Haviv et al., 2022). An encoder has no
# such mask. Without positions it sees a bag of words, exactly:

# %%
bag = copy.deepcopy(tiny_bert).eval()
with torch.no_grad():
    bag.encoder.position_embedding.zero_()
    swapped = some_ids.flip(1)
    one, other = (bag(ids).hidden_states for ids in (some_ids, swapped))
print("BERT without positions gives the same vectors in any order:", torch.allclose(one, other.flip(1), atol=1e-5))

# %% [markdown]
# ## 15 At full scale
#
# The classes of this lesson load what their authors published, weights and tokenizers. With a GPU and a network that is
# what this section fetches; elsewhere it finds *stand-ins* under the published names: tiny models with random weights,
# written by transformers, in the same files. They prove that the code runs; what they say means nothing.

# %%
import torch

from course_lib import runtime
from course_lib.authoring import stand_ins
from course_lib.data.tokenizers import GPT2Tokenizer, UnigramTokenizer, WordPieceTokenizer
from course_lib.generation.sampling import sample
from course_lib.models.bart import BART
from course_lib.models.bert import BERTForPretraining
from course_lib.models.gpt2 import GPT2
from course_lib.models.llama import Llama
from course_lib.models.t5 import T5

full_scale, device = runtime.scale() == "full", runtime.device()
if not runtime.downloads():
    stand_ins.serve(stand_ins.gpt2, stand_ins.bert, stand_ins.t5, stand_ins.bart, stand_ins.llama)

beginning = "The picture shows a small red star and"
for system, name in [(GPT2, "openai-community/gpt2"), (Llama, "HuggingFaceTB/SmolLM2-135M")]:
    model, tokenizer = system.from_pretrained(name, device=device), GPT2Tokenizer.from_pretrained(name)
    input_ids = tokenizer(beginning)[:, -20:].to(device)
    with runtime.autocast():
        written = sample(model, input_ids, max_new_tokens=16, top_p=0.9)
    print(f"{system.__name__:5} {written.shape[1] - input_ids.shape[1]} tokens written")
    if full_scale:
        print(tokenizer.decode(written[0]))

# %% [markdown]
# BERT fills the gap. T5 and BART take a text in and write another: T5 translates when told to, BART was trained to
# mend a text with holes.

# %%
name = "google-bert/bert-base-uncased"
bert, tokenizer = BERTForPretraining.from_pretrained(name, device=device), WordPieceTokenizer.from_pretrained(name)
gap = torch.tensor([tokenizer.encode("[CLS] the cat sat on the [MASK] . [SEP]")], device=device)[:, :20]
with torch.no_grad(), runtime.autocast():
    filled = bert(gap).prediction_logits.argmax(dim=-1)
print("BERT  a token for every place:", filled.shape == gap.shape)
if full_scale:
    print(tokenizer.decode(filled[0]))

for system, name, kind, text in [
    (T5, "google-t5/t5-small", UnigramTokenizer, "translate English to German: The cat sat on the mat."),
    (BART, "facebook/bart-base", GPT2Tokenizer, "<s>The cat<mask> on the mat.</s>"),
]:
    model, tokenizer = system.from_pretrained(name, device=device), kind.from_pretrained(name)
    start = torch.full((1, 1), model.config.decoder_start_token_id, device=device)
    with torch.no_grad(), runtime.autocast():
        logits = model(tokenizer(text).to(device)[:, :20], start)
    print(f"{system.__name__:5} a first token of its answer:", logits.shape[:2] == (1, 1))
    if full_scale:
        print("it begins with", repr(tokenizer.decode(logits[0, -1:].argmax(dim=-1))))
if not full_scale:
    print("These weights are random, so there is nothing to read: run this on a GPU to meet the real ones.")

# %% [markdown]
# ## 16 Looking back
#
# | | |
# |---|---|
# | language model | $p(x_1 \ldots x_T) = \prod_t p(x_t \mid x_{<t})$ |
# | perplexity | $\exp\big(-\frac1T \sum_t \log p(x_t \mid x_{<t})\big)$; the vocabulary's size if nothing is known |
# | BPE | merge the commonest pair, again and again |
# | WordPiece | merge by $\text{count}(ab) / (\text{count}(a)\,\text{count}(b))$; apply longest first |
# | unigram | $\prod_i p(x_i)$, trained by EM, split by Viterbi |
# | skip-gram | $-\log \sigma(v_c \cdot u_o) - \sum_k \log \sigma(-v_c \cdot u_{w_k})$ |
# | GloVe | $f(X_{ij})(w_i \cdot \tilde w_j + b_i + \tilde b_j - \log X_{ij})^2$ |
# | LSTM | $c_t = f \odot c_{t-1} + i \odot g,\; h_t = o \odot \tanh c_t$ |
# | CLM, MLM | next token from those before; hidden tokens from both sides |
# | span corruption, denoising | write what was cut out; write the whole text |
# | SwiGLU | $(\text{SiLU}(x W_g) \odot x W_u) W_d$ |
# | KV cache | $2 \cdot \text{layers} \cdot \text{heads} \cdot d \cdot T$ numbers |
#
# - A vector knows what its window saw; a contextual vector knows its sentence.
# - Counting forgets after a few words, an RNN by its gradient; attention looks back.
# - Encoder, decoder and encoder-decoder differ in who sees whom, and so in what they can be asked.
# - How one chooses the next token matters as much as the model.
#
# Ten quick questions, answers folded:

# %%
from course_lib.practice.quiz import show_interview, show_quiz

show_quiz("03")

# %% [markdown]
# And those an interviewer may ask:

# %%
show_interview("03")

# %% [markdown]
# **Now build it yourself:** the exercises are in
# [`exercises/03_language_models.ipynb`](../exercises/03_language_models.ipynb): seven of them, from perplexity to beam
# search. Each answer is checked at once.
