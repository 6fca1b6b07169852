# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["course-header"]
# # 01 · Exercises: build a transformer block and the loop that trains it
#
# **Time.** About 95 minutes for seven exercises, the easy ones first; 20 points. Everything runs on a CPU in seconds.
#
# **You should have read** lesson 01, or at least its parts on backpropagation, optimisers, normalisation, attention and
# positions.
#
# **How it works.** Replace `raise NotImplementedError()` by your code and run the cell, then the cell below it. The check
# answers at once: it shows what was given, what was expected and what came, and says which mistake it looks like. Some
# cases are held back: you are told what they test and not their numbers.
#
# | | |
# |---|---|
# | `check("01.1", layer_norm)` | checks your answer; the number below its report is the points you get |
# | `hint("01.1")` | shows a hint; call it again for the next one, there are three |
# | `solution("01.1")` | shows the solution, folded up |
# | `progress()` | shows what you have done; it is remembered |

# %%
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# %%
from course_lib.practice import check, hint, progress, solution
from course_lib.practice.lesson_01.figures import largest_weights, random_tokens_run, three_rates
from course_lib.viz import figures
from course_lib.viz.style import show

# %% [markdown]
# ## 01.1 Layer norm
#
# ●○○○○ · 7 minutes · 1 point
#
# **What.** Normalise each vector of $D$ numbers by itself: subtract its mean $\mu$, divide by its standard deviation, then
# scale and shift every feature:
#
# $$y_i = \frac{x_i - \mu}{\sqrt{\sigma^2 + \varepsilon}}\, w_i + b_i \qquad \mu = \frac{1}{D}\sum_i x_i \qquad
# \sigma^2 = \frac{1}{D}\sum_i (x_i - \mu)^2$$
#
# **Why.** It stands before or after every part of every transformer. Write it with `mean`, not with `F.layer_norm`: the check
# cannot see the difference, you can.
#
# **Shapes.** `x` $(\ldots, D)$ with any number of dimensions before the last; `weight` and `bias` $(D)$; `eps` a number, added to
# the variance. The result has the shape of `x`. Derivatives must flow, so make new tensors.
#
# **Example.** (1, 3) has the mean 2 and the variance 1, and becomes (-1, 1) before it is scaled and shifted.


# %% nbgrader={"grade": false, "grade_id": "layer_norm", "locked": false, "schema_version": 3, "solution": true, "task": false}
def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Each vector brought to mean 0 and variance 1, then scaled and shifted: (..., D), (D), (D) -> (..., D)."""
    ### BEGIN SOLUTION
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    return centred / torch.sqrt(variance + eps) * weight + bias
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_layer_norm", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("01.1", layer_norm)

# %% [markdown]
# ## 01.2 Read the curves, choose and justify
#
# ●●○○○ · 10 minutes · 2 points
#
# **What.** Three figures, four decisions, two reasons. Answer each of six questions with one letter, in the dict below.
#
# **Why.** A model that does not train tells you so in its curves, and rarely in an error message.

# %%
runs = {name: losses[::3] for name, losses in three_rates().items()}
show(
    figures.lines(list(range(0, 80, 3)), runs, across="step", value="loss", limits=(0, 4)),
    alt="Three training curves. A falls slowly and smoothly from 1.2 to 0.7. B falls fast at first and then steadily to 0.3. C "
    "jumps up at the first step and stays above its start, going up and down.",
)

# %%
first, second = random_tokens_run(masked=True), random_tokens_run(masked=False)
show(
    figures.lines(
        list(range(0, 80, 3)),
        {"first model": first[::3], "second model": second[::3], "log 16": [math.log(16)] * 27},
        across="step",
        value="next-token loss",
    ),
    alt="The loss of the first model falls to log 16, a level line, and stays there. That of the second model falls to 0 within "
    "twenty steps.",
)

# %%
widths = (4, 16, 64, 256, 1024)
show(
    figures.lines(
        list(widths),
        largest_weights(widths),
        across="width d of queries and keys",
        value="largest of 32 weights",
        log=True,
    ),
    alt="The largest of 32 attention weights against the width. With the scale it stays near 0.16; without, it rises from "
    "0.33 at width 4 to 0.95 at width 1024.",
)

# %% [markdown]
# **`rates`**: The first figure shows one small network trained three times, with plain gradient descent and everything the same
# but the learning rate. Which run has a sensible rate?
#
# - a) A: its curve is the smoothest. B and C are in too much of a hurry.
# - b) B: the rate of A is too low, that of C too high.
# - c) C: it has the highest rate that does not end in infinity, and so will learn most.
# - d) The rates are not to blame: A lacks momentum, and the batches of C are too small.
#
# **`leak`**: In the second figure two language models learn to predict the next token. The tokens are drawn evenly and
# independently from 16, and every step draws a new batch. What happened to the second model?
#
# - a) It has memorised its training data.
# - b) Its learning rate is too high.
# - c) Its positions can see the tokens that they should predict.
# - d) It has more layers, and learnt what the first model could not.
#
# **`leak_because`**: How can you tell?
#
# - a) Whoever does not see such a token can expect no loss below $\log 16$.
# - b) A model this small could never be so sure.
# - c) A cross-entropy cannot reach 0.
# - d) The tokens of a sequence depend on each other, which takes longer to learn.
#
# **`scale`**: The third figure shows the largest of 32 attention weights for random queries and keys, with and without the
# division by $\sqrt{d}$. You leave the division out in a model whose heads have a width of 1024. What follows?
#
# - a) All weights of a query become equal.
# - b) The exponentials overflow, and the loss is nan.
# - c) Nothing: the projections learn to make up for it within a few steps.
# - d) From the start nearly all weight goes to one key, and hardly any gradient passes the softmax.
#
# **`scale_because`**: Why?
#
# - a) A wider model has more keys, among which one stands out.
# - b) A dot product of $d$ independent terms of variance 1 has the variance $d$.
# - c) Every score grows by the same amount, which is $d$.
# - d) The values become longer with the width.
#
# **`positions`**: A transformer encoder without positions and without masks classifies sentences; its logits come from the mean
# of its last hidden states. What does it make of "dog bites man" and "man bites dog"?
#
# - a) It fails: attention cannot be computed without positions.
# - b) Different logits, as the mean is taken over the words in another order.
# - c) The same logits.
# - d) The same after one layer, different ones after several.

# %% nbgrader={"grade": false, "grade_id": "answers_01_2", "locked": false, "schema_version": 3, "solution": true, "task": false}
# Put "a", "b", "c" or "d" in the place of each question mark, and take out what stands below the dict.
answers_01_2 = {
    "rates": "?",
    "leak": "?",
    "leak_because": "?",
    "scale": "?",
    "scale_because": "?",
    "positions": "?",
}
### BEGIN SOLUTION
answers_01_2 = {
    "rates": "b",
    "leak": "c",
    "leak_because": "a",
    "scale": "d",
    "scale_because": "b",
    "positions": "c",
}
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "test_answers_01_2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check("01.2", answers_01_2)

# %% [markdown]
# ## 01.3 A backward pass by hand
#
# ●●●○○ · 15 minutes · 3 points
#
# **What.** A network with one hidden layer classifies $N$ examples; its loss is the mean cross-entropy:
#
# $$a = x\,w_1 + b_1 \qquad h = \max(0, a) \qquad z = h\,w_2 + b_2 \qquad
# L = -\frac{1}{N}\sum_n \log \text{softmax}(z_n)_{\text{label}_n}$$
#
# Return the gradients of $L$ by $w_1$, $b_1$, $w_2$ and $b_2$, computed with the chain rule. (`loss.backward()` would give the same
# numbers, and pass. It is there for all the days after this one.)
#
# **Why.** Who has done this once knows what autograd does, what it has to keep in memory, and why a gradient vanishes.
#
# **Shapes.** `x` $(N, D)$, `labels` $(N)$ int64, `w1` $(D, H)$, `b1` $(H)$, `w2` $(H, C)$, `b2` $(C)$. Return a tuple of four tensors
# with the shapes of `w1`, `b1`, `w2`, `b2`. The logits may be several hundred: use a softmax that does not overflow.
#
# **Example.** With two classes, logits (0, 0) and the label 0, the gradient at the logits of a single example is (-0.5, 0.5):
# up with the first, down with the second. That is also the gradient of $b_2$.


# %% nbgrader={"grade": false, "grade_id": "mlp_gradients", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mlp_gradients(
    x: Tensor, labels: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of the mean cross-entropy by w1 (D, H), b1 (H), w2 (H, C) and b2 (C)."""
    ### BEGIN SOLUTION
    before = x @ w1 + b1
    hidden = before.relu()
    logits = hidden @ w2 + b2
    error = (logits.softmax(dim=1) - F.one_hot(labels, len(b2))) / len(x)
    error_hidden = (error @ w2.T) * (before > 0)
    return x.T @ error_hidden, error_hidden.sum(dim=0), hidden.T @ error, error.sum(dim=0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_mlp_gradients", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("01.3", mlp_gradients)

# %% [markdown]
# ## 01.4 Attention with two masks
#
# ●●●○○ · 14 minutes · 3 points
#
# **What.** Write scaled dot-product attention. Each query gets a mean of the values, weighted by the softmax of its scores:
#
# $$\text{attention}(Q, K, V) = \text{softmax}\!\left(\frac{Q K^\top}{\sqrt{d}}\right) V$$
#
# Two masks may take keys away from a query. `attention_mask` says which keys of a sequence are tokens (True) and which padding
# (False). With `is_causal`, position $i$ sees itself and those before it. A query that is left with no key at all gets **zeros**.
#
# **Why.** Batched generation pads at the beginning of a sequence, so that the first positions may see nothing. A softmax over
# nothing is 0/0: one such row is enough to turn a whole training run into nan.
#
# **Shapes.** `query` $(B, H, T, d)$, `key` $(B, H, S, d)$, `value` $(B, H, S, d_v)$ for $H$ heads; `attention_mask` $(B, S)$ bool;
# `is_causal` a bool, only true when $T = S$. The result is $(B, H, T, d_v)$. Derivatives must flow, and be finite.
#
# **Example.** A causal mask leaves position 0 a single key, its own, with the weight 1: its result is `value[:, :, 0]`.


# %% nbgrader={"grade": false, "grade_id": "attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def attention(query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, is_causal: bool) -> Tensor:
    """Scaled dot-product attention: (B, H, T, d), (B, H, S, d), (B, H, S, v), mask (B, S) -> (B, H, T, v)."""
    ### BEGIN SOLUTION
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    allowed = attention_mask[:, None, None, :]
    if is_causal:
        length = query.shape[2]
        allowed = allowed & torch.ones(length, length, dtype=torch.bool, device=query.device).tril()
    weights = scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1)
    return weights.nan_to_num(0.0) @ value
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_attention", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("01.4", attention)

# %% [markdown]
# ## 01.5 Rotary positions
#
# ●●●○○ · 12 minutes · 3 points
#
# **What.** Write the rotary position embedding as Llama has it. Of a vector with $d$ numbers, number $i$ and number $i + d/2$ are
# the two coordinates of a point in plane $i$, for $i = 0 \ldots d/2 - 1$. At position $p$ the point is turned by the angle
# $\theta = p \cdot \text{base}^{-i/(d/2)}$:
#
# $$(x_i,\; x_{i+d/2}) \;\to\; (x_i \cos\theta - x_{i+d/2} \sin\theta,\;\; x_{i+d/2} \cos\theta + x_i \sin\theta)$$
#
# **Why.** Attention alone does not know the order of its keys. Turned like this, queries and keys have a dot product that depends
# on how far apart they are, which is what most language models use today.
#
# **Shapes.** `x` $(B, H, T, d)$, queries or keys of $H$ heads, $d$ even; `positions` $(T)$ int64, not always $0, 1, 2, \ldots$: with a
# cache they begin later; `base` a number. The result has the shape of `x`. Derivatives must flow.
#
# **Example.** With $d = 2$ there is one plane, with frequency 1: (1, 0) at position 1 becomes (cos 1, sin 1).


# %% nbgrader={"grade": false, "grade_id": "rotate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def rotate(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """Every plane (i, i + d/2) turned by its position times its frequency: (B, H, T, d), (T) -> (B, H, T, d)."""
    ### BEGIN SOLUTION
    half = x.shape[-1] // 2
    frequencies = base ** (-torch.arange(half, device=x.device) / half)
    angles = positions[:, None] * frequencies
    cos, sin = angles.cos(), angles.sin()
    first, second = x[..., :half], x[..., half:]
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_rotate", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("01.5", rotate)

# %% [markdown]
# ## 01.6 A transformer block
#
# ●●●●○ · 18 minutes · 4 points
#
# **What.** Write the block of which GPT-2 is a stack: causal self-attention with several heads, then an MLP, each given a normalised
# copy of the hidden states, each added to the hidden states themselves (*pre-norm*):
#
# $$h' = h + \text{attention}(\text{norm}_1(h)) \qquad h'' = h' + \text{MLP}(\text{norm}_2(h'))$$
#
# 1. `qkv` makes $3D$ numbers of each position: the first $D$ are its query, the next its key, the last its value.
# 2. Each of the three is cut into `heads` slices of $d = D/\text{heads}$ neighbouring numbers: slice 0 belongs to head 0. Every head
#    attends by itself, with scores over $\sqrt{d}$ and a causal mask. `F.scaled_dot_product_attention` and your own `attention` both do.
# 3. The heads' results are put side by side again, $(B, T, D)$, and go through `out`.
# 4. The MLP is `fc1`, GELU (`F.gelu` as it is), `fc2`.
#
# **Why.** Embeddings before a stack of these and a linear layer behind it: that is a language model, or, fed with patches, a vision
# transformer.
#
# **Shapes.** `hidden_states` $(B, T, D)$ in and out; $D$ is `width`, a multiple of `heads`.
#
# | parameter | |
# |---|---|
# | `norm1`, `norm2` | `nn.LayerNorm(width)` |
# | `qkv` | `nn.Linear(width, 3 * width)` |
# | `out` | `nn.Linear(width, width)` |
# | `fc1`, `fc2` | `nn.Linear(width, 4 * width)`, `nn.Linear(4 * width, width)` |
#
# **Example.** With all weights and biases of `out` and `fc2` at 0 the block returns exactly what it is given.


# %% nbgrader={"grade": false, "grade_id": "Block", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Block(nn.Module):
    """A pre-norm transformer block with causal self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        ### END SOLUTION

    def attend(self, hidden_states: Tensor) -> Tensor:
        """Causal self-attention with several heads: (B, T, D) -> (B, T, D)."""
        ### BEGIN SOLUTION
        parts = self.qkv(hidden_states).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))
        ### END SOLUTION

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        ### BEGIN SOLUTION
        hidden_states = hidden_states + self.attend(self.norm1(hidden_states))
        return hidden_states + self.fc2(F.gelu(self.fc1(self.norm2(hidden_states))))
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_Block", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("01.6", Block)

# %% [markdown]
# ## 01.7 The training loop: AdamW, clipping, warm-up and cosine
#
# ●●●●● · 18 minutes · 4 points
#
# **What.** Write the recipe that trains nearly every transformer, without `torch.optim`. For each step $s = 0 \ldots S - 1$, with $t = s + 1$:
#
# 1. $g$ is the gradient at the present weights. If its length is more than `max_norm`, scale it down to that length.
# 2. $m \leftarrow 0.9\, m + 0.1\, g$ and $v \leftarrow 0.999\, v + 0.001\, g^2$, both starting from 0.
# 3. The rate $\eta$: over the first $W$ = `warmup_steps` steps it is $\text{peak} \cdot t / W$; then
#    $\text{peak} \cdot \bigl(1 + \cos(\pi \frac{s - W}{S - W})\bigr) / 2$.
# 4. $w \leftarrow w - \eta\,\lambda\, w - \eta\, \dfrac{m / (1 - 0.9^t)}{\sqrt{v / (1 - 0.999^t)} + 10^{-8}}$, where $\lambda$ is `weight_decay`
#    and the $w$ that shrinks is the one before the step.
#
# **Why.** Five ideas meet in a dozen lines, and each is there because training fails or suffers without it.
#
# **Shapes.** `weights` $(D)$; `gradient` a function, $(D) \to (D)$; the others are numbers. Return the weights after every step,
# $(\text{steps}, D)$. Leave the given `weights` as they are.
#
# **Example.** In the first step $m / (1 - 0.9) = g$ and $v / (1 - 0.999) = g^2$: without decay every weight moves by just $\eta$, whatever the
# size of its gradient.


# %% nbgrader={"grade": false, "grade_id": "train", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train(
    weights: Tensor,
    gradient: Callable[[Tensor], Tensor],
    steps: int,
    warmup_steps: int,
    peak: float,
    weight_decay: float,
    max_norm: float,
) -> Tensor:
    """The weights after every step of AdamW with clipping, warm-up and cosine: (D) -> (steps, D)."""
    ### BEGIN SOLUTION
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    visited = []
    for step in range(steps):
        g = gradient(weights)
        g = g * min(1, max_norm / g.norm())
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        if step < warmup_steps:
            rate = peak * (step + 1) / warmup_steps
        else:
            rate = peak * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps))) / 2
        update = mean / (1 - 0.9 ** (step + 1)) / ((square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
        weights = weights - rate * (weight_decay * weights + update)
        visited.append(weights)
    return torch.stack(visited)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_train", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("01.7", train)

# %% [markdown]
# ## Done?
#
# You have written attention with its masks, positions, layer norm, the block that holds them, a backward pass and the loop that
# trains. What is left of a transformer is an embedding at one end and a linear layer at the other. `progress()` shows your table,
# and `course quiz 01` asks you what an interviewer would.
