# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["course-header"]
# # 03 · Exercises: from text to tokens, from tokens to text
#
# **Time.** About 95 minutes for seven exercises, the easy ones first; 20 points. Everything runs on a CPU in seconds.
#
# **You should have read** lesson 03, or at least its parts on tokens, perplexity, recurrent networks, the KV cache and choosing
# the next token.
#
# **How it works.** Replace `raise NotImplementedError()` by your code and run the cell, then the cell below it. The check
# answers at once: it shows what was given, what was expected and what came, and says which mistake it looks like. Some
# cases are held back: you are told what they test and not their numbers.
#
# | | |
# |---|---|
# | `check("03.1", perplexity)` | checks your answer; the number below its report is the points you get |
# | `hint("03.1")` | shows a hint; call it again for the next one, there are three |
# | `solution("03.1")` | shows the solution, folded up |
# | `progress()` | shows what you have done; it is remembered |

# %%
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# %%
from course_lib.practice import check, hint, progress, solution
from course_lib.practice.lesson_03.figures import ORDERS, perplexities, three_temperatures
from course_lib.viz import figures
from course_lib.viz.style import show

# %% [markdown]
# ## 03.1 Perplexity
#
# ●○○○○ · 8 minutes · 1 point
#
# **What.** Measure a language model on a batch of padded texts. The logits at position $t$ are about the token at $t + 1$. Take the
# mean of $-\log p(\text{token})$ over all tokens of the batch that the model had to predict, padding left out, and return its
# exponential:
#
# $$\text{perplexity} = \exp\left(-\frac{1}{N}\sum \log p(x_{t+1} \mid x_1 \ldots x_t)\right)$$
#
# **Why.** It is the number by which language models are compared. Off by one position, or with padding counted, it looks fine and
# means nothing.
#
# **Shapes.** `logits` $(B, T, V)$, `input_ids` $(B, T)$ int64, `attention_mask` $(B, T)$, 1 for tokens and 0 for padding, which stands at
# the end. The first token of a text is given and predicted by none. The result is a scalar that derivatives flow through.
#
# **Example.** If all logits are 0, every one of the $V$ tokens is as likely as any other, and the perplexity is $V$.


# %% nbgrader={"grade": false, "grade_id": "perplexity", "locked": false, "schema_version": 3, "solution": true, "task": false}
def perplexity(logits: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """The perplexity of a batch of padded texts: (B, T, V), (B, T), (B, T) -> ()."""
    ### BEGIN SOLUTION
    counted = attention_mask[:, 1:].bool()
    predicted = logits[:, :-1][counted]
    labels = input_ids[:, 1:][counted]
    return F.cross_entropy(predicted, labels).exp()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_perplexity", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("03.1", perplexity)

# %% [markdown]
# ## 03.2 Read the curves, choose and justify
#
# ●●○○○ · 10 minutes · 2 points
#
# **What.** Two figures and some arithmetic. Answer each of six questions with one letter, in the dict below.
#
# **Why.** These are the numbers that one meets in every paper and every bill: perplexities, temperatures and gigabytes.

# %%
show(
    figures.lines(list(range(1, 7)), three_temperatures(), across="rank of the word", value="probability"),
    alt="The probabilities of six words, by rank, for A, B and C. B falls most steeply, from 0.78 to nearly 0; C from 0.52 to "
    "0.01; A is the flattest, from 0.34 to 0.06.",
)

# %%
counted, others = perplexities()
show(
    figures.lines(
        list(ORDERS),
        {"captions that were counted": counted, "other captions": others},
        across="order of the n-gram model",
        value="perplexity",
        limits=(0, 32),
    ),
    alt="Perplexity against the order of an n-gram model. On the captions that were counted it falls from 29 at order 1 to 4 at "
    "order 2 and goes on falling to 2. On other captions it falls to 4 at order 3 and then rises to 20 at order 6.",
)

# %% [markdown]
# **`temperature`**: The first figure shows the probabilities that one model gives to six words, at the temperatures 0.5, 1 and 2. Which
# curve is which?
#
# - a) A is 0.5, C is 1, B is 2.
# - b) C is 0.5, A is 1, B is 2.
# - c) That cannot be: no temperature turns one of these curves into another.
# - d) B is 0.5, C is 1, A is 2.
#
# **`order`**: In the second figure models of order 1 to 6 count words in 300 captions; a model of order $n$ predicts a word from the
# $n - 1$ words before it. Why does the model of order 6 do so badly on other captions?
#
# - a) Captions are longer than six words.
# - b) Many groups of five words in them never occurred in those that were counted, so it knows nothing of what follows.
# - c) It has too few counts to remember what it has read.
# - d) The other captions are made of words that it has never seen.
#
# **`remedy`**: What helps it, with the same 300 captions?
#
# - a) Order 7.
# - b) Adding 1 to each of its counts, instead of the 0.01 that was added.
# - c) Mixing in models of lower order, and more so where it has seen little (Kneser-Ney).
# - d) A lower temperature.
#
# **`units`**: Model one predicts words and has a perplexity of 20 per word on a text. Model two predicts pieces and has a perplexity of 5
# per piece on the same text, in which a word has two pieces on average. Which is the better model of this text?
#
# - a) Model one.
# - b) Model two.
# - c) They are equally good.
# - d) That cannot be said of models with different vocabularies.
#
# **`units_because`**: Why?
#
# - a) A model that sees more tokens has learnt more.
# - b) A word's probability is the product of its pieces' probabilities.
# - c) Perplexity does not depend on how a text is cut up.
# - d) A smaller vocabulary makes for a cheaper softmax.
#
# **`cache`**: A decoder has 32 layers, each with 32 query heads and 8 key-value heads of width 128. How much memory does the cache of one
# text of 8,192 tokens take, at two bytes for a number?
#
# - a) 34 MB
# - b) 0.54 GB
# - c) 1.07 GB
# - d) 4.3 GB

# %% nbgrader={"grade": false, "grade_id": "answers_03_2", "locked": false, "schema_version": 3, "solution": true, "task": false}
# Put "a", "b", "c" or "d" in the place of each question mark, and take out what stands below the dict.
answers_03_2 = {
    "temperature": "?",
    "order": "?",
    "remedy": "?",
    "units": "?",
    "units_because": "?",
    "cache": "?",
}
### BEGIN SOLUTION
answers_03_2 = {
    "temperature": "d",
    "order": "b",
    "remedy": "c",
    "units": "a",
    "units_because": "b",
    "cache": "c",
}
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "test_answers_03_2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check("03.2", answers_03_2)

# %% [markdown]
# ## 03.3 Train a byte-pair encoder
#
# ●●●○○ · 15 minutes · 3 points
#
# **What.** Learn which neighbours to merge. Each word begins as its letters. Then, again and again: count how often each pair of
# neighbouring pieces occurs in all words, merge the most frequent pair wherever it stands, and write it down. Count a pair as often as
# the word occurs, and at every place where it stands in it. In "aaa" the pair (a, a) stands twice; merging goes from left to right and
# gives "aa" and "a".
#
# If several pairs are equally frequent, take the first in the alphabet (Python's order of tuples). Stop early if no word has two pieces
# left.
#
# **Why.** This is how the vocabularies of GPT, Llama and CLIP were made, byte for byte where it says letter here.
#
# **Shapes.** `counts` maps words to how often they occur; `merges` says how many to learn. Return the pairs in the order in which they were
# learned, as tuples of two strings. Leave `counts` as it is.
#
# **Example.** With `{"ab": 2, "abc": 1}` the pair (a, b) occurs three times and (b, c) once; the first merge is `("a", "b")`, the second
# `("ab", "c")`.


# %% nbgrader={"grade": false, "grade_id": "learn_merges", "locked": false, "schema_version": 3, "solution": true, "task": false}
def learn_merges(counts: dict[str, int], merges: int) -> list[tuple[str, str]]:
    """The merges that byte-pair encoding learns from words and how often they occur."""
    ### BEGIN SOLUTION
    words = counts  # a word is a sequence of pieces: a string at first, then a tuple
    learned = []
    for _ in range(merges):
        pairs = {}
        for word, count in words.items():
            for i in range(len(word) - 1):
                pair = (word[i], word[i + 1])
                pairs[pair] = pairs.get(pair, 0) + count
        if not pairs:
            break
        best = max(sorted(pairs), key=pairs.get)
        learned.append(best)
        merged = {}
        for word, count in words.items():
            pieces = []
            for piece in word:
                if pieces and (pieces[-1], piece) == best:
                    pieces[-1] += piece
                else:
                    pieces.append(piece)
            merged[tuple(pieces)] = count
        words = merged
    return learned
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_learn_merges", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("03.3", learn_merges)

# %% [markdown]
# ## 03.4 Long short-term memory
#
# ●●●○○ · 13 minutes · 3 points
#
# **What.** Write one layer of an LSTM. At each step, from the input $x$, the last state $h$ and the memory $c$:
#
# $$i, f, g, o = W x + b + U h \qquad c' = \sigma(f)\, c + \sigma(i) \tanh(g) \qquad h' = \sigma(o) \tanh(c')$$
#
# The $4D$ numbers of $W x + b + U h$ are cut into four parts of $D$ in the order $i, f, g, o$. State and memory begin with zeros.
#
# **Why.** The memory is a sum: along it a derivative survives hundreds of steps, where it dies in a plain recurrent network. The same
# thought is behind the residual connection of every transformer.
#
# **Shapes.** `inputs` $(B, T, C)$, $C$ = `input_width`. Return the states of all steps, $(B, T, D)$ with $D$ = `width`, and the memory
# after the last step, $(B, D)$.
#
# | parameter | |
# |---|---|
# | `from_input` | `nn.Linear(input_width, 4 * width)`, which holds $W$ and $b$ |
# | `from_state` | `nn.Linear(width, 4 * width, bias=False)`, which holds $U$ |
#
# **Example.** If the forget gate is 1 and the input gate 0 at every step, the memory stays at zero, and so do all states.


# %% nbgrader={"grade": false, "grade_id": "LSTM", "locked": false, "schema_version": 3, "solution": true, "task": false}
class LSTM(nn.Module):
    """One layer of long short-term memory."""

    def __init__(self, input_width: int, width: int) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.width = width
        self.from_input = nn.Linear(input_width, 4 * width)
        self.from_state = nn.Linear(width, 4 * width, bias=False)
        ### END SOLUTION

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, C) -> the states (B, T, D) and the last memory (B, D)."""
        ### BEGIN SOLUTION
        hidden = memory = inputs.new_zeros(len(inputs), self.width)
        outputs = []
        for x in inputs.unbind(dim=1):
            i, f, g, o = (self.from_input(x) + self.from_state(hidden)).chunk(4, dim=-1)
            memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * memory.tanh()
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), memory
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_LSTM", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("03.4", LSTM)

# %% [markdown]
# ## 03.5 Top-p sampling
#
# ●●●○○ · 12 minutes · 3 points
#
# **What.** Return the distribution from which top-p sampling draws. Divide the logits by the temperature and take the softmax. Then keep
# only the *nucleus*: the most likely tokens, from the top down, until together they have at least `top_p`. The token with which `top_p` is
# reached belongs to them. All others get 0, and what is left is divided by its sum.
#
# **Why.** A vocabulary has tens of thousands of tokens that are wrong here, each hardly likely, together not unlikely. Who draws one of
# them every twenty words writes nonsense.
#
# **Shapes.** `logits` $(B, V)$; `temperature` above 0; `top_p` above 0 and at most 1. The result is $(B, V)$: probabilities, each at the
# place of its own token, rows summing to 1.
#
# **Example.** Probabilities (0.1, 0.5, 0.3, 0.1) with `top_p` 0.6: 0.5 alone is not enough, 0.5 and 0.3 are. The result is (0, 0.625,
# 0.375, 0).


# %% nbgrader={"grade": false, "grade_id": "nucleus", "locked": false, "schema_version": 3, "solution": true, "task": false}
def nucleus(logits: Tensor, temperature: float, top_p: float) -> Tensor:
    """The distribution that top-p sampling draws from: (B, V) -> (B, V)."""
    ### BEGIN SOLUTION
    probabilities = (logits / temperature).softmax(dim=-1)
    ordered, order = probabilities.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    kept = ordered.masked_fill(before >= top_p, 0.0)
    kept = kept / kept.sum(dim=-1, keepdim=True)
    return kept.gather(dim=-1, index=order.argsort(dim=-1))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_nucleus", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("03.5", nucleus)

# %% [markdown]
# ## 03.6 Grouped-query attention with a cache
#
# ●●●●○ · 18 minutes · 4 points
#
# **What.** Write causal self-attention as a decoder uses it while it writes. It is given $T$ new positions, and the keys and values of the
# $P$ positions before them, which were computed in earlier calls.
#
# 1. Make queries, keys and values of the new positions. There are `heads` query heads and fewer key-value heads, all of width
#    $d$ = `width` / `heads`; a head is a slice of $d$ neighbouring numbers of a projection.
# 2. Put the new keys and values behind the old ones: $P + T$ in all. They are what the next call will be given, so return them.
# 3. New position $i$ is position $P + i$ of the whole text: it sees the keys 0 to $P + i$.
# 4. Neighbouring query heads share a key-value head: with 4 heads and 2 key-value heads, heads 0 and 1 use the first, 2 and 3 the second.
#    Scores are divided by $\sqrt{d}$. `F.scaled_dot_product_attention` may be used.
# 5. Put the heads side by side, $(B, T, D)$, and apply `o_proj`.
#
# **Why.** Without a cache every new token costs as much as the whole text. With one, memory is what limits how many people a GPU can serve,
# and sharing keys and values divides it by four or eight.
#
# **Shapes.** `hidden_states` $(B, T, D)$; `past_keys` and `past_values` $(B, K, P, d)$ with $K$ = `key_value_heads`, $P$ possibly 0. Return three
# tensors: the result $(B, T, D)$, all keys and all values $(B, K, P + T, d)$. There are no positions in it, to keep it short.
#
# | parameter | all without bias |
# |---|---|
# | `q_proj` | `nn.Linear(width, width)` |
# | `k_proj`, `v_proj` | `nn.Linear(width, key_value_heads * d)` |
# | `o_proj` | `nn.Linear(width, width)` |
#
# **Example.** A text of five tokens gives the same whether it is fed at once, or as three tokens with an empty cache and then two with the
# cache that came back.


# %% nbgrader={"grade": false, "grade_id": "CachedAttention", "locked": false, "schema_version": 3, "solution": true, "task": false}
class CachedAttention(nn.Module):
    """Causal attention with fewer key-value heads than heads, and with a cache."""

    def __init__(self, width: int, heads: int, key_value_heads: int) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.heads, self.key_value_heads = heads, key_value_heads
        shared_width = width // heads * key_value_heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, shared_width, bias=False)
        self.v_proj = nn.Linear(width, shared_width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)
        ### END SOLUTION

    def forward(self, hidden_states: Tensor, past_keys: Tensor, past_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, D), (B, K, P, d), (B, K, P, d) -> (B, T, D), (B, K, P + T, d), (B, K, P + T, d)."""
        ### BEGIN SOLUTION
        query = self.q_proj(hidden_states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key = self.k_proj(hidden_states).unflatten(-1, (self.key_value_heads, -1)).transpose(1, 2)
        value = self.v_proj(hidden_states).unflatten(-1, (self.key_value_heads, -1)).transpose(1, 2)
        keys = torch.cat((past_keys, key), dim=2)
        values = torch.cat((past_values, value), dim=2)
        past, total = past_keys.shape[2], keys.shape[2]
        allowed = torch.ones(query.shape[2], total, dtype=torch.bool, device=keys.device).tril(past)
        group = self.heads // self.key_value_heads
        mixed = F.scaled_dot_product_attention(
            query, keys.repeat_interleave(group, dim=1), values.repeat_interleave(group, dim=1), allowed
        )
        return self.o_proj(mixed.transpose(1, 2).flatten(2)), keys, values
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_CachedAttention", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("03.6", CachedAttention)

# %% [markdown]
# ## 03.7 Beam search
#
# ●●●●● · 20 minutes · 4 points
#
# **What.** Look for a likely text, keeping `beams` beginnings at a time. A text is a list of tokens, its value so far the sum of their
# log-probabilities. At first there is one running text, the empty one. In each of at most `max_new_tokens` rounds:
#
# 1. Extend every running text by every token of the vocabulary.
# 2. Of all these together, keep the best `beams` by their sum.
# 3. Those of them that end with `end` have ended; the others run on. If none runs on, stop.
#
# After the last round the texts that are still running count as ended too. Return the one with the highest
# $\text{sum} / \text{length}^{\text{length\_penalty}}$, and that number. The length is how many tokens were written, the end token included.
#
# **Why.** Greedy decoding takes the likeliest word each time, and may walk into a corner. Captioning and translation are still decoded like
# this.
#
# **Shapes.** `log_probabilities` takes a list of token lists, each beginning with `start`, and returns $(\text{texts}, V)$ log-probabilities of
# what follows each. Return `(tokens, score)`: a list of int without the start token, but with the end token if it was reached, and a float.
#
# **Example.** With one beam and no length penalty this is greedy decoding, and the score is the text's log-probability.


# %% nbgrader={"grade": false, "grade_id": "beam_search", "locked": false, "schema_version": 3, "solution": true, "task": false}
def beam_search(
    log_probabilities: Callable[[list[list[int]]], Tensor],
    start: int,
    end: int,
    beams: int,
    max_new_tokens: int,
    length_penalty: float,
) -> tuple[list[int], float]:
    """The best text that beam search finds, and its score."""
    ### BEGIN SOLUTION
    live, ended = [([], 0.0)], []
    for _ in range(max_new_tokens):
        rows = log_probabilities([[start, *tokens] for tokens, _ in live]).tolist()
        grown = []
        for number, (tokens, total) in enumerate(live):
            grown += [([*tokens, token], total + score) for token, score in enumerate(rows[number])]
        best = sorted(grown, key=lambda text: text[1], reverse=True)[:beams]
        ended += [text for text in best if text[0][-1] == end]
        live = [text for text in best if text[0][-1] != end]
        if not live:
            break
    score, tokens = max((total / len(tokens) ** length_penalty, tokens) for tokens, total in ended + live)
    return tokens, score
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_beam_search", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("03.7", beam_search)

# %% [markdown]
# ## Done?
#
# You have cut text into tokens, carried a memory along it, attended with a cache, measured a model, and chosen what comes next in two
# ways. Between these stands the transformer block of exercise 01.6. `progress()` shows your table, and `course quiz 03` asks you what an
# interviewer would.
