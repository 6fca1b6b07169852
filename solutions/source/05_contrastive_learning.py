# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["course-header"]
# # 05 · Exercises: pull together, push apart
#
# **Time.** About 95 minutes for seven exercises, the easy ones first; 20 points. Everything runs on a CPU in seconds.
#
# **You should have read** lesson 05. CLIP's own loss and SigLIP's are asked for in set 06; here is what lies around them.
#
# **How it works.** Replace `raise NotImplementedError()` by your code and run the cell, then the cell below it. The check
# answers at once: it shows what was given, what was expected and what came, and says which mistake it looks like. Some
# cases are held back: you are told what they test and not their numbers.
#
# | | |
# |---|---|
# | `check("05.1", triplet_loss)` | checks your answer; the number below its report is the points you get |
# | `hint("05.1")` | shows a hint; call it again for the next one, there are three |
# | `solution("05.1")` | shows the solution, folded up |
# | `progress()` | shows what you have done; it is remembered |

# %%
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# %%
from course_lib.practice import check, hint, progress, solution
from course_lib.practice.lesson_05.figures import (
    BATCHES,
    NEGATIVES,
    TEMPERATURES,
    bits_vouched_for,
    temperatures,
    two_runs,
)
from course_lib.viz import figures
from course_lib.viz.style import show

# %% [markdown]
# ## 05.1 Triplet loss
#
# ●○○○○ · 7 minutes · 1 point
#
# **What.** A triplet is an anchor $a$, a positive $p$ that belongs to it and a negative $n$ that does not. The negative should be
# further from the anchor than the positive by a margin $m$; what is missing is what the triplet costs, and one that is fine costs
# nothing. Return the mean over the triplets:
#
# $$L = \frac{1}{B}\sum_{i} \max\bigl(0,\; \lVert a_i - p_i\rVert - \lVert a_i - n_i\rVert + m\bigr)$$
#
# **Why.** It is the oldest of the losses that learn a space from comparisons alone: FaceNet learnt faces with it.
#
# **Shapes.** `anchor`, `positive` and `negative` are $(B, D)$, `margin` is a number; the result is a scalar that derivatives flow
# through. The distance is Euclidean: the length of the difference, not its square.
#
# **Example.** A positive at distance 5 and a negative at distance 6, with a margin of 2, cost 5 - 6 + 2 = 1.


# %% nbgrader={"grade": false, "grade_id": "triplet_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def triplet_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """Mean of what the triplets lack: (B, D), (B, D), (B, D), a number -> ()."""
    ### BEGIN SOLUTION
    near, far = ((anchor - other).square().sum(dim=-1).sqrt() for other in (positive, negative))
    return (near - far + margin).relu().mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_triplet_loss", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("05.1", triplet_loss)

# %% [markdown]
# ## 05.2 Read the curves, choose and justify
#
# ●●○○○ · 12 minutes · 2 points
#
# **What.** Three figures, all computed here, and a decision. Answer each of six questions with one letter, in the dict below.
#
# **Why.** Temperature, batch size and negatives are what one turns when contrastive training does not work. Which of them it is can be read
# from a curve, if one knows what the curve can and cannot show.

# %%
recalls, shares = temperatures()
show(
    figures.lines(
        list(TEMPERATURES),
        {"recall at 1, held-back pairs": recalls, "gradient's share on the hardest negative": shares},
        across="temperature",
        log=True,
        limits=(0, 1),
    ),
    alt="Two curves against the temperature, from 0.01 to 10. Recall rises from about 0.25 at 0.01 to 0.6 at 0.3 and falls to "
    "below 0.5 at 10. The share of the gradient that falls on the hardest negative falls from 0.9 to below 0.01.",
)

# %%
bits = bits_vouched_for()
show(
    figures.lines(
        list(NEGATIVES),
        {"log2(K + 1)": [math.log2(count + 1) for count in NEGATIVES]}
        | {f"world {name}": values for name, values in bits.items()},
        across="negatives K",
        value="bits that InfoNCE vouches for",
        log=True,
    ),
    alt="Bits against the number of negatives, from 1 to 63. The curve of world A bends and levels off just below 2. That of "
    "world B rises all the way to 5.3, just below the curve of log2(K + 1), which ends at 6.",
)

# %%
losses, _ = two_runs()
show(
    figures.lines(list(BATCHES), losses, across="batch size", value="loss at the end", log=True, limits=(0, 0.5)),
    alt="The loss at the end of training against the batch size, from 4 to 256. Run A falls to 0.07 and stays there; run B falls "
    "a little up to a batch of 16 and then rises to 0.4.",
)

# %% [markdown]
# **`cold`**: In the first figure runs differ in their temperature alone: same pairs, same batches of 128, same number of steps. Why is recall low
# at the left end, at a temperature of 0.01?
#
# - a) A low temperature leaves fewer negatives.
# - b) The logits are so large that the softmax overflows.
# - c) Each picture learns from its hardest negative alone, and little from the other 126.
# - d) The softmax is so flat that nothing can be told apart.
#
# **`hot`**: Why does it fall again at the right end?
#
# - a) All negatives pull with nearly the same strength, whether they are easy or hard.
# - b) The gradient vanishes, because the loss is nearly 0.
# - c) Only the hardest negatives are left.
# - d) The model memorises its training pairs.
#
# **`bound`**: In the second figure, $K$ negatives per query are compared by the best critic there is. How many bits do query and positive share
# in world B?
#
# - a) 5.3, where the curve ends.
# - b) At least 5.3; 63 negatives could not show more than 6, however many bits there are.
# - c) At most 6, the logarithm of 64.
# - d) That cannot be said without the temperature.
#
# **`floor`**: In the third figure both runs minimise the hardest-negative loss, summed over both directions, with a margin of 0.2, on 1,024
# pictures that share 150 captions. They differ in one line of code. What holds run B up at 0.4?
#
# - a) The gradient of a large batch is noisier.
# - b) The margin of 0.2 is too small.
# - c) It would need more steps.
# - d) In nearly every row and column of its batches, the hardest negative is a pair with the same caption.
#
# **`gap`**: You put 1,000 pictures and their captions, embedded by a CLIP with a wide modality gap, into one index. The query is a caption; the
# fifty nearest entries are all captions, though in an index of pictures alone the right picture comes first. Which change helps, and costs nothing?
#
# - a) Multiply all cosines by the learnt scale.
# - b) Subtract from each picture the mean picture, from each caption the mean caption, and bring all to length 1.
# - c) Ask for more neighbours.
# - d) Bring the embeddings to length 1 first.
#
# **`gap_because`**: Why?
#
# - a) Pictures and captions hold different content.
# - b) Fewer dimensions are left, so that distances become smaller.
# - c) The gap is nearly the same vector for all of them: it says which kind an entry is, and not what it shows.
# - d) The pictures are ranked better among themselves.

# %% nbgrader={"grade": false, "grade_id": "answers_05_2", "locked": false, "schema_version": 3, "solution": true, "task": false}
# Put "a", "b", "c" or "d" in the place of each question mark, and take out what stands below the dict.
answers_05_2 = {
    "cold": "?",
    "hot": "?",
    "bound": "?",
    "floor": "?",
    "gap": "?",
    "gap_because": "?",
}
### BEGIN SOLUTION
answers_05_2 = {
    "cold": "c",
    "hot": "a",
    "bound": "b",
    "floor": "d",
    "gap": "b",
    "gap_because": "c",
}
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "test_answers_05_2", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check("05.2", answers_05_2)

# %% [markdown]
# ## 05.3 InfoNCE, and how many bits it vouches for
#
# ●●○○○ · 14 minutes · 3 points
#
# **What.** Write InfoNCE as a module with a learnt scale. Each query has one positive and $K$ negatives of its own. Compare the query with all
# $K + 1$ by cosine, scaled by $\exp$ of the parameter `logit_scale`; the loss is the cross-entropy of picking the positive, averaged
# over the queries, in nats (natural logarithm). Return it together with what it vouches for: a lower bound on the mutual information of
# query and positive, in **bits**,
#
# $$\text{bound} = \log_2(K + 1) - \frac{\text{loss}}{\ln 2}$$
#
# **Why.** CPC, MoCo and CLIP all minimise this loss; they differ in where the negatives come from. The bound says why they want many.
#
# **Shapes.** `query` and `positive` $(B, D)$, `negatives` $(B, K, D)$, none of them normalised: bring them to length 1 yourself. Return the
# pair `(loss, bound)`, two scalars that derivatives flow through.
#
# | parameter | shape | |
# |---|---|---|
# | `logit_scale` | a scalar `nn.Parameter` | starts at $\log(1/\text{temperature})$ |
#
# **Example.** With one negative whose cosine is that of the positive, the loss is $\log 2$ nats, or 1 bit, and the bound is 0.


# %% nbgrader={"grade": false, "grade_id": "InfoNCE", "locked": false, "schema_version": 3, "solution": true, "task": false}
class InfoNCE(nn.Module):
    """Cross-entropy of picking the positive among K + 1 candidates, and the bits that it vouches for."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))
        ### END SOLUTION

    def forward(self, query: Tensor, positive: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D), (B, D), (B, K, D) -> loss (), bound ()."""
        ### BEGIN SOLUTION
        query = F.normalize(query, dim=-1)
        own = (query * F.normalize(positive, dim=-1)).sum(dim=-1, keepdim=True)
        others = torch.einsum("bd,bkd->bk", query, F.normalize(negatives, dim=-1))
        logits = self.logit_scale.exp() * torch.cat([own, others], dim=-1)
        loss = -logits.log_softmax(dim=-1)[:, 0].mean()
        bound = math.log2(logits.shape[1]) - loss / math.log(2)
        return loss, bound
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_InfoNCE", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("05.3", InfoNCE)

# %% [markdown]
# ## 05.4 The hardest negative that is one
#
# ●●●○○ · 14 minutes · 3 points
#
# **What.** Write VSE++'s loss for a batch in which captions may repeat. Entry $(i, j)$ of `similarity` says how similar picture $i$ and text $j$
# are; the own pairs lie on the diagonal. Pair $i$ costs, for its picture and for its text,
#
# $$\max\bigl(0,\; m - s_{ii} + \max_{j \in N_i} s_{ij}\bigr) + \max\bigl(0,\; m - s_{ii} + \max_{j \in N_i} s_{ji}\bigr)$$
#
# where the negatives $N_i$ are the pairs whose caption is not that of pair $i$: `caption_ids` gives equal captions equal numbers. Return the mean over
# the pairs. A pair without any negative costs nothing.
#
# **Why.** The hardest negative teaches most, and it is the most likely to be none: this is where false negatives do their damage, as the last
# figure above shows.
#
# **Shapes.** `similarity` $(B, B)$, `caption_ids` $(B,)$ int64, `margin` a number; the result is a scalar that derivatives flow through.
#
# **Example.** With the ids `[4, 2, 4]`, the only negative of the first and of the last pair is the one in the middle.


# %% nbgrader={"grade": false, "grade_id": "hardest_negative_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def hardest_negative_loss(similarity: Tensor, caption_ids: Tensor, margin: float) -> Tensor:
    """What the hardest true negatives cost, both directions added, mean over the pairs: (B, B), (B,), a number -> ()."""
    ### BEGIN SOLUTION
    same = caption_ids[:, None] == caption_ids[None, :]
    others = similarity.masked_fill(same, -math.inf)
    own = similarity.diagonal()
    of_pictures = (margin - own + others.amax(dim=1)).relu()
    of_texts = (margin - own + others.amax(dim=0)).relu()
    return (of_pictures + of_texts).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_hardest_negative_loss", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("05.4", hardest_negative_loss)

# %% [markdown]
# ## 05.5 Draw hard negatives for image-text matching
#
# ●●●○○ · 12 minutes · 3 points
#
# **What.** An image-text matching head reads picture and text together, which costs too much for all $B^2$ pairs of a batch: it is shown a few
# hard ones. Draw them as ALBEF does. For each picture, draw `draws` texts, each with the probability that a softmax over *the picture's negatives*
# gives it: never its own text, never one with the same caption, a similar one often, a dissimilar one seldom.
#
# **Why.** Always taking the hardest would bring the same text every time, and often a false negative; drawing evenly would bring easy ones.
#
# **Shapes.** `similarity` $(B, B)$ are logits, pictures by texts, scaled already; `caption_ids` $(B,)$ int64, equal for equal captions; every picture
# has a negative. The result is $(B, \text{draws})$ int64: row $i$ holds the numbers of the texts that were drawn for picture $i$, with
# repetition. The check counts: **at least 92 % of the draws must agree** with the right probabilities, for the picture where they agree least. An
# even draw among the negatives gets 46 %.
#
# **Example.** If picture 0 has the negatives 1 and 2 with the logits 0 and $\log 3$, text 1 is drawn in a quarter of the draws. In a
# trained model the own pair may be ahead by 200, and the softmax over all texts rounds every other probability to 0.


# %% nbgrader={"grade": false, "grade_id": "hard_negatives", "locked": false, "schema_version": 3, "solution": true, "task": false}
def hard_negatives(similarity: Tensor, caption_ids: Tensor, draws: int) -> Tensor:
    """Texts drawn for each picture in proportion to the softmax over its negatives: (B, B), (B,), a number -> (B, draws)."""
    ### BEGIN SOLUTION
    same = caption_ids[:, None] == caption_ids[None, :]
    probabilities = similarity.masked_fill(same, -math.inf).softmax(dim=-1)
    return torch.multinomial(probabilities, draws, replacement=True)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_hard_negatives", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("05.5", hard_negatives)

# %% [markdown]
# ## 05.6 The modality gap: measure it and move it
#
# ●●●●○ · 16 minutes · 4 points
#
# **What.** Pictures lie in one cone of the sphere and texts in another. Move the two and measure what has become of the space.
#
# 1. The gap is the vector from the mean text to the mean picture. Move each picture along it by half of `share`, each text by as much the other
#    way, and bring all to length 1 again. So a share of -1 closes the gap (but for the way back to the sphere), and 0 leaves all as it is.
# 2. Of the moved vectors $x_i$ and $y_i$ return, in a dict:
#    - `"alignment"`: the mean of $\lVert x_i - y_i\rVert^2$ over the pairs;
#    - `"uniformity"`: $\log$ of the mean of $e^{-2\lVert x_i - x_j\rVert^2}$ over all pairs $i < j$ of pictures, the same of texts, and the mean of the
#      two;
#    - `"gap"`: the distance between the mean picture and the mean text.
#
# **Why.** Alignment and uniformity are what a contrastive loss optimises, taken apart; the gap is what it leaves behind. All three can be computed for any
# pair of encoders, without labels.
#
# **Shapes.** `image_embeds` and `text_embeds` $(N, D)$ with rows of length 1, $N \geq 2$; `share` a number. The three values are scalar tensors, or
# numbers.
#
# **Example.** Two pictures at a right angle to each other have a squared distance of 2, and so a uniformity of $\log e^{-4} = -4$.


# %% nbgrader={"grade": false, "grade_id": "measure_space", "locked": false, "schema_version": 3, "solution": true, "task": false}
def measure_space(image_embeds: Tensor, text_embeds: Tensor, share: float) -> dict[str, Tensor]:
    """Alignment, uniformity and gap after the gap has grown by `share` of itself: (N, D), (N, D), a number -> a dict."""
    ### BEGIN SOLUTION
    delta = image_embeds.mean(dim=0) - text_embeds.mean(dim=0)
    images = F.normalize(image_embeds + share / 2 * delta, dim=-1)
    texts = F.normalize(text_embeds - share / 2 * delta, dim=-1)
    spread = [torch.pdist(part).square().mul(-2).exp().mean().log() for part in (images, texts)]
    return {
        "alignment": (images - texts).square().sum(dim=-1).mean(),
        "uniformity": (spread[0] + spread[1]) / 2,
        "gap": (images.mean(dim=0) - texts.mean(dim=0)).norm(),
    }
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_measure_space", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("05.6", measure_space)

# %% [markdown]
# ## 05.7 The gradient of a batch that does not fit
#
# ●●●●● · 20 minutes · 4 points
#
# **What.** Your device has memory for `limit` rows, and you want the exact gradient of a contrastive loss over a whole batch of $B$ pairs, with all
# $B - 1$ negatives. Adding up the gradients of small batches is something else: each of their softmaxes sees `limit` candidates only. But the embeddings are
# small. What does not fit is the graph behind them, so compute in three steps:
#
# 1. all embeddings, `limit` rows at a time, without a graph;
# 2. the loss of the whole batch, and its gradient with respect to every embedding;
# 3. the embeddings once more, `limit` rows at a time, this time with a graph, and through each part the gradient that its rows were given.
#
# **Why.** This is GradCache: batch size without memory, and the same idea lets many devices share one batch.
#
# **Shapes.** `encode(features, weight)` embeds $n$ rows, $(n, W)$ and $(W, D)$ to $(n, D)$; it raises a `MemoryError` if $n$ is above `limit`, or if more
# than `limit` rows are kept for a backward pass at once (the memory is free after `backward`, or when the result is thrown away). `loss(image_embeds,
# text_embeds)` is a scalar; it takes the whole batch. `images` is $(B, W_i)$, `texts` $(B, W_t)$, `image_weight` $(W_i, D)$, `text_weight` $(W_t, D)$.
# Return the loss, its gradient with respect to `image_weight`, and that with respect to `text_weight`.
#
# **Example.** How to send a gradient back through a part of a computation: if $g$ is the loss's gradient with respect to $e$, then `(e * g).sum().backward()`
# gives everything behind $e$ the gradient of the loss.

# %%
w = torch.tensor([1.0, 2.0], requires_grad=True)
e = 3 * w  # the part with a graph
g = torch.tensor([10.0, -1.0])  # what the rest said of e
(e * g).sum().backward()
print(w.grad)


# %% nbgrader={"grade": false, "grade_id": "large_batch_gradients", "locked": false, "schema_version": 3, "solution": true, "task": false}
def large_batch_gradients(
    encode: Callable,
    loss: Callable,
    images: Tensor,
    texts: Tensor,
    image_weight: Tensor,
    text_weight: Tensor,
    limit: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The whole batch's loss and its gradients by both weights, never keeping more than `limit` rows: -> (), (Wi, D), (Wt, D)."""
    ### BEGIN SOLUTION
    starts = range(0, len(images), limit)
    with torch.no_grad():
        image_embeds = torch.cat([encode(images[i : i + limit], image_weight) for i in starts])
        text_embeds = torch.cat([encode(texts[i : i + limit], text_weight) for i in starts])
    value = loss(image_embeds.requires_grad_(), text_embeds.requires_grad_())
    image_signals, text_signals = torch.autograd.grad(value, [image_embeds, text_embeds])
    image_weight = image_weight.clone().requires_grad_()
    text_weight = text_weight.clone().requires_grad_()
    for i in starts:
        image_part = encode(images[i : i + limit], image_weight)
        (image_part * image_signals[i : i + limit]).sum().backward()
        text_part = encode(texts[i : i + limit], text_weight)
        (text_part * text_signals[i : i + limit]).sum().backward()
    return value, image_weight.grad, text_weight.grad
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_large_batch_gradients", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("05.7", large_batch_gradients)

# %% [markdown]
# ## Done?
#
# You have written a loss with a margin and one with a softmax, drawn negatives that deserve the name, measured the space that comes of it, and taken the gradient of a
# batch that did not fit. Set 06 builds CLIP from the same parts. `progress()` shows your table, and `course quiz 05` asks you what an interviewer would.
