# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["course-header"]
# # 04 · Exercises: make one of two
#
# **Time.** About 95 minutes for seven exercises, the easy ones first; 20 points. Everything runs on a CPU in seconds.
#
# **You should have read** lesson 04, or at least its parts on products, FiLM and attention.
#
# **How it works.** Replace `raise NotImplementedError()` by your code and run the cell, then the cell below it. The check
# answers at once: it shows what was given, what was expected and what came, and says which mistake it looks like. Some
# cases are held back: you are told what they test and not their numbers.
#
# | | |
# |---|---|
# | `check("04.1", film)` | checks your answer; the number below its report is the points you get |
# | `hint("04.1")` | shows a hint; call it again for the next one, there are three |
# | `solution("04.1")` | shows the solution, folded up |
# | `progress()` | shows what you have done; it is remembered |

# %%
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# %%
from course_lib.practice import check, hint, progress, solution
from course_lib.practice.lesson_04.figures import COLUMNS, four_networks
from course_lib.viz import embedding
from course_lib.viz.style import show

# %% [markdown]
# ## 04.1 Steer the channels: FiLM
#
# ●○○○○ · 8 minutes · 1 point
#
# **What.** A condition, such as a question's vector $c$, steers a picture's feature map $x$. One linear layer makes of $c$ two numbers for
# each of the $D$ channels: a change of scale $\Delta\gamma_d$, and a shift $\beta_d$. Every cell of channel $d$ then becomes
#
# $$(1 + \Delta\gamma_d)\, x_d + \beta_d$$
#
# **Why.** It is the cheapest fusion that multiplies: a question can switch channels on and off. Text-to-image models use the same
# two numbers to tell a network the time step. With the 1, a layer of zeros changes nothing, which is how such layers start.
#
# **Shapes.** `feature_map` $(B, D, h, w)$; `condition` $(B, C)$; `weight` $(2D, C)$ and `bias` $(2D)$ of the linear layer, whose first
# $D$ outputs are $\Delta\gamma$ and last $D$ are $\beta$. The result is $(B, D, h, w)$. Derivatives must flow, so leave the map as it is.
#
# **Example.** With $\Delta\gamma = (2, -1)$ and $\beta = (0.5, 5)$ a first channel $(1, 2)$ becomes $(3.5, 6.5)$, and a second one, whatever it
# held, becomes 5 everywhere.


# %% nbgrader={"grade": false, "grade_id": "film", "locked": false, "schema_version": 3, "solution": true, "task": false}
def film(feature_map: Tensor, condition: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Each channel scaled and shifted by the condition: (B, D, h, w), (B, C), (2D, C), (2D) -> (B, D, h, w)."""
    ### BEGIN SOLUTION
    scale, shift = F.linear(condition, weight, bias).chunk(2, dim=-1)
    return (1 + scale)[:, :, None, None] * feature_map + shift[:, :, None, None]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_film", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("04.1", film)

# %% [markdown]
# ## 04.2 Every product, at a low rank
#
# ●●○○○ · 10 minutes · 2 points
#
# **What.** A bilinear form weighs every product of a number of $x$ with a number of $y$: $z_o = x^\top W_o\, y$. Write it for matrices of
# rank $K$, which are sums of $K$ products of two vectors, $W_o = \sum_k u_{ok} v_{ok}^\top$, without ever making a $W_o$.
#
# **Why.** $W$ has $D \cdot E$ numbers for each output: two million for a picture's 2,048 and a question's 1,024. At a low rank it is two
# projections and a product, which is MLB and MFB, and what most "multiply the two" layers are.
#
# **Shapes.** `x` $(B, D)$, `y` $(B, E)$, `u` $(O, K, D)$, `v` $(O, K, E)$. The result is $(B, O)$.
#
# **Example.** With $x = (1, 2)$, $y = (3, 4)$, $u = ((1, 0), (0, 1))$ and $v = ((0, 1), (1, 0))$ the one output is $1 \cdot 4 + 2 \cdot 3 = 10$.


# %% nbgrader={"grade": false, "grade_id": "low_rank_bilinear", "locked": false, "schema_version": 3, "solution": true, "task": false}
def low_rank_bilinear(x: Tensor, y: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """O bilinear forms of rank K: (B, D), (B, E), (O, K, D), (O, K, E) -> (B, O)."""
    ### BEGIN SOLUTION
    first = torch.einsum("bd,okd->bok", x, u)
    second = torch.einsum("be,oke->bok", y, v)
    return (first * second).sum(dim=-1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_low_rank_bilinear", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check("04.2", low_rank_bilinear)

# %% [markdown]
# ## 04.3 Read a failure: what is missing?
#
# ●●○○○ · 10 minutes · 2 points
#
# **What.** A table of four trained networks, and a decision. Answer each of six questions with one letter, in the dict below.
#
# **Why.** A model that fails does not say why. What it fails *at* does, if the test set is cut into the right pieces.
#
# **The networks.** The cell below trains a small pointer network four times; give it some ten seconds. A scene is three things of different
# colours, each somewhere in a square. The network reads words and points at things, as in the lesson; each thing comes as features,
# which tell its colour, and its coordinates $x$ and $y$. There are three kinds of questions, all with as many yes as no. Network A has
# everything. From each of B, C and D one thing is missing, in training and in use alike. The table shows accuracies on new questions
# and, in its last column, on the training questions of the third kind.

# %%
networks = four_networks()
show(
    embedding.similarity_matrix(
        list(networks.values()), labels=list(COLUMNS), rows=list(networks), value="accuracy", limits=(0, 1)
    ),
    alt="A table of accuracies. A is right everywhere. B finds red things and guesses at halves and at left of, also on "
    "training questions. C finds red things and halves and guesses at left of, also on training questions. D finds red "
    "things and halves, is right on most of the training questions of left of and on far fewer new ones.",
)

# %% [markdown]
# **`network_b`**, **`network_c`**, **`network_d`**: What is missing from B, from C, from D? The same four options for each.
#
# - a) The order of the words: what reads the question is not told their places.
# - b) Training questions of the third kind: 48 different ones in the place of 3,072.
# - c) Coordinates at a scale that the network can hear: they come a hundred times smaller.
# - d) Features that tell the colours apart.
#
# **`scale_because`**: In one of the networks the coordinates are there, only a hundred times smaller, and a linear layer could multiply by
# a hundred. Why does it not?
#
# - a) The ReLU cuts small numbers off.
# - b) float32 cannot hold differences that small.
# - c) The softmax of the pointers does not notice small coordinates.
# - d) The few weights on $x$ and $y$ would have to become a hundred times as large as the others, with steps no larger than theirs.
#
# **`late`**: A picture shows a red or a blue thing, a question asks "is it red?" or "is it blue?", all four cases equally often. One
# model sees the pictures alone, another the questions alone, and each is trained as well as it can be; then their logits are averaged. How
# often is the answer right?
#
# - a) Three quarters of the time: each model brings its half.
# - b) Always: together they have seen everything.
# - c) Half of the time, as if guessed.
# - d) It depends on the weights of the average; with learned ones, always.
#
# **`late_because`**: Why?
#
# - a) The logit is $f(\text{picture}) + g(\text{question})$: going from red to blue moves it by the same amount, in the same direction, whatever
#   is asked.
# - b) Neither of the two models is calibrated.
# - c) The words alone give the answer away, so that the picture is ignored.
# - d) Two models need more data than one.

# %% nbgrader={"grade": false, "grade_id": "answers_04_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
# Put "a", "b", "c" or "d" in the place of each question mark, and take out what stands below the dict.
answers_04_3 = {
    "network_b": "?",
    "network_c": "?",
    "network_d": "?",
    "scale_because": "?",
    "late": "?",
    "late_because": "?",
}
### BEGIN SOLUTION
answers_04_3 = {
    "network_b": "c",
    "network_c": "a",
    "network_d": "b",
    "scale_because": "d",
    "late": "c",
    "late_because": "a",
}
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "test_answers_04_3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check("04.3", answers_04_3)

# %% [markdown]
# ## 04.4 Compact bilinear pooling: sketches and a convolution
#
# ●●●○○ · 15 minutes · 3 points
#
# **What.** Keep a sketch of all $D \cdot E$ products of two vectors, in $M$ numbers, without making the products.
#
# 1. *Count sketch* of $x$: every number $x_i$ has a sign $s_i$ and a place $h_i$ among $M$, both drawn once at random. It is added there with its
#    sign; numbers that share a place add up: $\psi(x)_m = \sum_{i:\,h_i = m} s_i x_i$. The same for $y$, with places and signs of its own.
# 2. *Circular convolution* of both sketches: $z_k = \sum_m \psi(x)_m\, \psi(y)_{(k - m) \bmod M}$. It is the product of their spectra, so that the
#    fast Fourier transform does it in $M \log M$ steps: transform both, multiply, transform back.
#
# **Why.** Multimodal compact bilinear pooling won the VQA challenge of 2016 with it: 16,000 numbers in the place of four million products. The
# product $x_i y_j$ lands at place $h_i + h'_j$ with sign $s_i s'_j$, so $z$ is itself a count sketch of all products; inner products of such
# sketches are, on average, those of what was sketched.
#
# **Shapes.** `x` $(B, D)$, `y` $(B, E)$; `index_x` $(D)$ and `index_y` $(E)$, int64, from 0 to $M - 1$; `sign_x` and `sign_y`, $+1$ or $-1$; `size` is $M$, odd or
# even. The result is $(B, M)$, real.
#
# **Example.** Four places. $x = (1, 2, 3)$ with places $(0, 3, 0)$ and signs $(+, +, -)$ has the sketch $(-2, 0, 0, 2)$; $y = (10, 100)$ with places
# $(1, 2)$ and signs $(+, -)$ has $(0, 10, -100, 0)$. The convolution is $(20, -220, 200, 0)$.


# %% nbgrader={"grade": false, "grade_id": "compact_bilinear", "locked": false, "schema_version": 3, "solution": true, "task": false}
def compact_bilinear(
    x: Tensor, y: Tensor, index_x: Tensor, sign_x: Tensor, index_y: Tensor, sign_y: Tensor, size: int
) -> Tensor:
    """A sketch of the outer product of x and y: (B, D), (B, E), places and signs (D) and (E), M -> (B, M)."""
    ### BEGIN SOLUTION
    sketch_x = x.new_zeros(len(x), size).index_add(1, index_x, x * sign_x)
    sketch_y = y.new_zeros(len(y), size).index_add(1, index_y, y * sign_y)
    return torch.fft.irfft(torch.fft.rfft(sketch_x) * torch.fft.rfft(sketch_y), n=size)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_compact_bilinear", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("04.4", compact_bilinear)

# %% [markdown]
# ## 04.5 Read a word, point at a region
#
# ●●●●○ · 16 minutes · 4 points
#
# **What.** "Is the red circle left of the blue square?" To answer, find the red circle, find the blue square, and compare where they are. Write
# the two hops that find things:
#
# 1. *Read.* $K$ learned control vectors attend to the words. The scores are dot products of a control vector with the words' **states**
#    (which know what stands around a word), over $\sqrt{D}$, a softmax over the words; what is taken home is the weighted sum of the **raw words**.
# 2. *Point.* Each read, multiplied by the matrix `pointer`, attends to the regions: dot products with the regions, over $\sqrt{C}$, a softmax over
#    the regions. What is taken home is the weighted sum of $[\text{features}, x, y]$: what was found, *and where it is*.
#
# **Why.** This is the part of the lesson's pointer network that makes relations solvable. Take away the raw words, the single reads or
# the coordinates, and left and right become a coin toss.
#
# **Shapes.** `states` and `words` $(B, T, D)$; `word_mask` $(B, T)$, boolean, true where there is a word; `regions` $(B, R, C)$; `xy` $(B, R, 2)$, already
# standardised; `region_mask` $(B, R)$; `control` $(K, D)$; `pointer` $(C, D)$, to be applied as a linear layer's weight is. Each question has a word
# and each scene a region at least. The result is $(B, K, C + 2)$, coordinates last.
#
# **Example.** In a scene with a single region every read brings home that region's features and coordinates.


# %% nbgrader={"grade": false, "grade_id": "two_hop_read", "locked": false, "schema_version": 3, "solution": true, "task": false}
def two_hop_read(
    states: Tensor,
    words: Tensor,
    word_mask: Tensor,
    regions: Tensor,
    xy: Tensor,
    region_mask: Tensor,
    control: Tensor,
    pointer: Tensor,
) -> Tensor:
    """What K reads of the words find among the regions, and where: -> (B, K, C + 2)."""
    ### BEGIN SOLUTION
    scores = control @ states.mT / math.sqrt(states.shape[-1])
    weights = scores.masked_fill(~word_mask[:, None], -torch.inf).softmax(dim=-1)
    query = weights @ words @ pointer.T
    scores = query @ regions.mT / math.sqrt(regions.shape[-1])
    weights = scores.masked_fill(~region_mask[:, None], -torch.inf).softmax(dim=-1)
    return weights @ torch.cat([regions, xy], dim=-1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_two_hop_read", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("04.5", two_hop_read)

# %% [markdown]
# ## 04.6 A gate that begins shut
#
# ●●●●○ · 18 minutes · 4 points
#
# **What.** Write Flamingo's gated cross-attention block, which lets the positions of a language model look at a picture. In two lines:
#
# $$h \leftarrow h + \tanh(\alpha)\,\text{attention}(\text{norm}_1(h), \text{context}) \qquad h \leftarrow h + \tanh(\beta)\,\text{MLP}(\text{norm}_2(h))$$
#
# Queries come from $\text{norm}_1(h)$, keys and values from the context as it is. There are `heads` heads of $d = D / \text{heads}$ numbers; the scores are
# divided by $\sqrt{d}$. The MLP is `fc1`, GELU, `fc2`. Both gates, $\alpha$ and $\beta$, begin at 0.
#
# **Why.** With closed gates the block is the identity: put it between the layers of a frozen language model, and nothing is forgotten.
#
# **Shapes.** `hidden_states` $(B, T, D)$; `context` $(B, S, C)$; `context_mask` $(B, S)$, boolean, true where one may look. The result is $(B, T, D)$. A
# sequence may come **without any context**, its mask false everywhere: its attention then hears zeros. (A softmax over minus
# infinities alone is nan; `nan_to_num` is one way out.)
#
# | parameter | shape | |
# |---|---|---|
# | `norm1`, `norm2` | `nn.LayerNorm(width)` | |
# | `q_proj`, `o_proj` | `nn.Linear(width, width)` | without bias |
# | `k_proj`, `v_proj` | `nn.Linear(context_width, width)` | without bias |
# | `fc1` | `nn.Linear(width, 4 * width)` | |
# | `fc2` | `nn.Linear(4 * width, width)` | |
# | `attention_gate`, `mlp_gate` | `nn.Parameter` of shape $(1)$ | start at 0 |
#
# **Example.** Just built, the block returns `hidden_states` as they are, whatever the context.


# %% nbgrader={"grade": false, "grade_id": "GatedCrossAttention", "locked": false, "schema_version": 3, "solution": true, "task": false}
class GatedCrossAttention(nn.Module):
    """Cross-attention and an MLP, each through a gate that begins shut."""

    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(context_width, width, bias=False)
        self.v_proj = nn.Linear(context_width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)
        self.attention_gate = nn.Parameter(torch.zeros(1))
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.mlp_gate = nn.Parameter(torch.zeros(1))
        ### END SOLUTION

    def forward(self, hidden_states: Tensor, context: Tensor, context_mask: Tensor) -> Tensor:
        """(B, T, D), looking at (B, S, C) where (B, S) is true -> (B, T, D)."""
        ### BEGIN SOLUTION
        heard = self.attend(self.norm1(hidden_states), context, context_mask)
        hidden_states = hidden_states + torch.tanh(self.attention_gate) * heard
        thought = self.fc2(F.gelu(self.fc1(self.norm2(hidden_states))))
        return hidden_states + torch.tanh(self.mlp_gate) * thought

    def attend(self, hidden: Tensor, context: Tensor, context_mask: Tensor) -> Tensor:
        query = self.q_proj(hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key = self.k_proj(context).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        value = self.v_proj(context).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        scores = query @ key.mT / math.sqrt(query.shape[-1])
        weights = scores.masked_fill(~context_mask[:, None, None], -torch.inf).softmax(dim=-1)
        heard = weights.nan_to_num(0.0) @ value
        return self.o_proj(heard.transpose(1, 2).flatten(2))
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_GatedCrossAttention", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("04.6", GatedCrossAttention)

# %% [markdown]
# ## 04.7 Train a fusion until it binds
#
# ●●●●● · 20 minutes · 4 points
#
# **What.** A picture shows three things, such as a red cube, a blue star and a green cone; a question names a colour and a shape, "is there a red
# cube?". Where the answer is no, two things have exchanged their shapes: a red star, a blue cube and a green cone. The same colours and the
# same shapes are there, only *which belongs to which* differs. Train a fusion that can tell. The check asks it about 400
# scenes that you never see. **An accuracy of at least 0.9 is asked for**; guessing gets 0.5, and so does every fusion that first
# averages the regions, or that only adds.
#
# For scene $n$ with regions $x_{nr}$ and question $q_n$, a low-rank bilinear form scores each region; the scores are squared, and averaged over the
# three regions:
#
# $$s_{nr} = \sum_k (U^\top x_{nr})_k\, (V^\top q_n)_k \qquad \text{logit}_n = \frac{1}{3} \sum_r s_{nr}^2 + b$$
#
# **Why.** This is binding, in its smallest form: an answer that depends on what belongs together needs a product of both
# sides, and something that bends, region by region, *before* the regions become one.
#
# **Shapes.** `regions` $(512, 3, 12)$, `questions` $(512, 10)$, `labels` $(512)$, 1 for yes and 0 for no. `region_weight` $U$ $(12, 16)$, `question_weight` $V$
# $(10, 16)$ and `bias` $b$, a scalar tensor, are where you start, and belong to the caller: train copies. Take `steps` steps, 300; in each the
# loss is the mean binary cross-entropy of the logits of all 512 scenes. Return the three trained weights and the list of the losses, one
# for each step; the first is the loss at the start, by which the check tells whether it is the one that is asked for.
#
# At which learning rate and by which optimiser is up to you. All of it takes a fraction of a second.
#
# **Example.** A region that fits in colour and shape scores 2, the others 0: the squares add up to 4. Two regions that fit by half score 1
# each: their squares add up to 2.


# %% nbgrader={"grade": false, "grade_id": "train_fusion", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_fusion(
    regions: Tensor,
    questions: Tensor,
    labels: Tensor,
    region_weight: Tensor,
    question_weight: Tensor,
    bias: Tensor,
    steps: int,
) -> tuple[Tensor, Tensor, Tensor, list[float]]:
    """Trained weights and losses: (N, 3, Dr), (N, Dq), (N), (Dr, K), (Dq, K), (), a number -> (Dr, K), (Dq, K), (), losses."""
    ### BEGIN SOLUTION
    u, v, b = (start.clone().requires_grad_() for start in (region_weight, question_weight, bias))
    losses = []
    for _ in range(steps):
        scores = ((regions @ u) * (questions @ v).unsqueeze(1)).sum(dim=-1)
        logits = scores.square().mean(dim=1) + b
        loss = F.binary_cross_entropy_with_logits(logits, labels)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, [u, v, b])
        with torch.no_grad():
            u -= gradients[0]
            v -= gradients[1]
            b -= gradients[2]
    return u, v, b, losses
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_train_fusion", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("04.7", train_fusion)

# %% [markdown]
# ## Done?
#
# You have written fusions from a scale and a shift to a pointer, the gate by which language models learn to see, and trained one that
# binds. Lesson 04 puts them side by side on one task. `progress()` shows your table, and `course quiz 04` asks you what an
# interviewer would.
