# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["course-header"]
# # 07 · Exercises: build a search engine
#
# **Time.** About 95 minutes for seven exercises, the easy ones first; 20 points. Everything runs on a CPU in seconds.
#
# **You should have read** lesson 07, or at least its parts on the measures, on hard negatives, on the index and on the
# re-ranker.
#
# **How it works.** Replace `raise NotImplementedError()` by your code and run the cell, then the cell below it. The check
# answers at once: it shows what was given, what was expected and what came, and says which mistake it looks like. Some
# cases are held back: you are told what they test and not their numbers.
#
# | | |
# |---|---|
# | `check("07.1", ranks_and_recall)` | checks your answer; the number below its report is the points you get |
# | `hint("07.1")` | shows a hint; call it again for the next one, there are three |
# | `solution("07.1")` | shows the solution, folded up |
# | `progress()` | shows what you have done; it is remembered |

# %%
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# %%
from course_lib.practice import check, hint, progress, solution
from course_lib.practice.lesson_07.figures import DEPTHS, PROBES, two_indexes, two_stages
from course_lib.viz import figures
from course_lib.viz.style import show

# %% [markdown]
# ## 07.1 Ranks and recall with several right answers
#
# ●○○○○ · 8 minutes · 2 points
#
# **What.** Each of $Q$ queries was compared with each of $N$ candidates, of which some are right. Return two things:
#
# 1. the **rank** of each query: the place, counted from 1, at which its first right candidate is found when the candidates
#    stand in the order of their scores, the highest first. A wrong candidate with the *same* score as the best right one
#    counts as found before it;
# 2. **Recall@K**, the share of queries whose rank is at most `k`.
#
# **Why.** Every table on retrieval holds these numbers. The rule for ties decides whether a broken model that gives every
# pair the same score looks perfect or hopeless.
#
# **Shapes.** `similarity` $(Q, N)$; `positives` $(Q, N)$ bool, true where a candidate is right, at least once in each row; `k` a
# number. Return the pair of the ranks, $(Q)$ int64, and the recall, one number.
#
# **Example.** For the scores (0.2, 0.8, 0.6, 0.8), of which only the second is right, the rank is 2: the last candidate is
# wrong and has the same score. Recall@1 of this query is 0, and Recall@2 is 1.


# %% nbgrader={"grade": false, "grade_id": "ranks_and_recall", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ranks_and_recall(similarity: Tensor, positives: Tensor, k: int) -> tuple[Tensor, float]:
    """Ranks of the first right candidates, and Recall@K: (Q, N), (Q, N) bool, k -> (Q,) int64, a number."""
    ### BEGIN SOLUTION
    best_right = similarity.masked_fill(~positives, -torch.inf).amax(dim=1, keepdim=True)
    before = (similarity >= best_right) & ~positives
    first = before.sum(dim=1) + 1
    return first, (first <= k).double().mean().item()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_ranks_and_recall", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check("07.1", ranks_and_recall)

# %% [markdown]
# ## 07.2 Mean average precision
#
# ●●○○○ · 10 minutes · 2 points
#
# **What.** Recall@K is content with the first right candidate. Average precision looks at all of them. Put the candidates of a
# query in order, the highest score first. The *precision* at place $r$ is the share of right candidates among the first $r$. Average
# it over the places at which a right candidate stands; then average over the queries:
#
# $$\text{AP} = \frac{1}{P}\sum_{r\,:\,\text{right}} \frac{\text{right ones among the first } r}{r} \qquad
# \text{mAP} = \frac{1}{Q}\sum_{q} \text{AP}_q$$
#
# where $P$ is the number of right candidates of that query.
#
# **Why.** With five captions to a picture, or many pictures that show what was asked for, a search is good only if it finds all
# of them early.
#
# **Shapes.** `similarity` $(Q, N)$, no two scores of a row being equal; `positives` $(Q, N)$ bool, true at least once in each row.
# The result is one number.
#
# **Example.** If places 1 and 3 of four hold the right candidates, the precisions there are 1/1 and 2/3, and AP is 5/6.


# %% nbgrader={"grade": false, "grade_id": "mean_average_precision", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mean_average_precision(similarity: Tensor, positives: Tensor) -> float:
    """The mean over queries of their average precision: (Q, N), (Q, N) bool -> a number."""
    ### BEGIN SOLUTION
    order = similarity.argsort(dim=1, descending=True)
    hits = positives.gather(1, order).double()
    places = torch.arange(1, hits.shape[1] + 1, device=hits.device)
    precisions = hits.cumsum(dim=1) / places
    return ((precisions * hits).sum(dim=1) / hits.sum(dim=1)).mean().item()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_mean_average_precision", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check("07.2", mean_average_precision)

# %% [markdown]
# ## 07.3 Read a figure, choose and justify
#
# ●●○○○ · 10 minutes · 2 points
#
# **What.** Two figures and two decisions. Answer each of six questions with one letter, in the dict below.
#
# **Why.** A search engine trades what is found for time and memory, at several places. Few people write an index; many have to set
# one up, and to say why it is set like this.

# %%
show(
    figures.lines(PROBES, two_indexes(), across="cells searched, of 64", value="recall@10", log=True, limits=(0, 1.05)),
    alt="Recall@10 of two indexes over the number of cells searched, from 1 to 64. Index A rises from just under 0.9 to 1. "
    "Index B stays level at about 0.6 from the first cell to the last.",
)

# %%
show(
    figures.lines(
        DEPTHS, two_stages(), across="k, pairs handed to the second stage", value="recall", log=True, limits=(0.5, 1)
    ),
    alt="Two curves over the number k of candidates that the first stage hands on. Recall@k of the first stage rises from "
    "0.56 to 0.99. Recall@1 of both stages runs just below it up to about k = 8, is about 0.88 at 32, and does not rise "
    "any further.",
)

# %% [markdown]
# The first figure shows two indexes of the same 4,000 vectors of 32 numbers, sorted into 64 cells. A query visits the cells whose
# centres are nearest to it. Index A compares the query with the vectors in them; index B has kept of each vector only a
# product-quantised code of 4 bytes (the vector itself takes 128) and compares with what the codes say. Recall@10 is the share of
# the ten true nearest neighbours that is found.
#
# **`plateau`**: Why does B stay where it is when all 64 cells are searched?
#
# - a) Too few cells are searched: the neighbours lie in others.
# - b) The neighbours are among those compared; the rounded distances put others before them.
# - c) Its cells were placed badly.
# - d) The queries are unlike the vectors of the gallery.
#
# **`mend`**: B should find nearly all ten, its codes stay as they are, and memory for the whole gallery must stay small. What do
# you do?
#
# - a) Search more cells.
# - b) Use fewer, larger cells.
# - c) Keep all vectors in memory as they are.
# - d) Take the best 100 by their codes, read just their vectors from the disk, and compare exactly.
#
# The second figure shows a search in two stages. A dual encoder hands its best $k$ candidates to a re-ranker that looks at picture
# and text together. Beside recall@1 of both stages you see recall@$k$ of the first.
#
# **`perfect`**: At $k = 4$ you put a *perfect* re-ranker in the place of this one. What is recall@1 then, about?
#
# - a) 1.
# - b) Much more than before, about 0.9.
# - c) About 0.74, hardly more than before.
# - d) About 0.56.
#
# **`depth`**: The first stage takes 5 ms for a query, the re-ranker 1 ms for each pair. A query may take 40 ms. Which $k$?
#
# - a) 4
# - b) 32
# - c) 64
# - d) 128
#
# **`negatives`**: You train VSE++ with the hardest negative of each batch. In your data one scene in five has a twin: other photographs
# of the same thing, with captions that fit all of them. Recall@1 is *lower* than with random negatives. What do you do?
#
# - a) Take the hardest of those negatives that do not fit, leaving out pairs that are known or found to be twins.
# - b) Raise the margin.
# - c) Raise the batch size.
# - d) Take the easiest negatives.
#
# **`negatives_because`**: Why?
#
# - a) Hard negatives have no gradient.
# - b) The hardest negative is found for pictures only.
# - c) Hard negatives ask for a higher learning rate.
# - d) Of all captions that are not its own, a twin's is the most similar to a picture, so that the better the model, the more of
#   its "negatives" are right answers that it is told to push away.

# %% nbgrader={"grade": false, "grade_id": "answers_07_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
# Put "a", "b", "c" or "d" in the place of each question mark, and take out what stands below the dict.
answers_07_3 = {
    "plateau": "?",
    "mend": "?",
    "perfect": "?",
    "depth": "?",
    "negatives": "?",
    "negatives_because": "?",
}
### BEGIN SOLUTION
answers_07_3 = {
    "plateau": "b",
    "mend": "d",
    "perfect": "c",
    "depth": "b",
    "negatives": "a",
    "negatives_because": "d",
}
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "test_answers_07_3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check("07.3", answers_07_3)

# %% [markdown]
# ## 07.4 The protocol of COCO, both ways
#
# ●●●○○ · 14 minutes · 3 points
#
# **What.** COCO's test set has 5,000 pictures with five captions each. The "1K" results of papers cut it into five *folds* of 1,000
# pictures, search each fold alone and average. Do this for any number of folds, and return Recall@K in both directions:
#
# 1. **from pictures to texts**: a picture has found its text if *any* of its five captions is among the `k` most similar texts of
#    the fold;
# 2. **from texts to pictures**: every caption is a query of its own, and has found its picture if that is among the `k` most similar
#    pictures of the fold.
#
# **Why.** "R@1 = 70" means nothing without it: among 1,000 pictures the same model looks far better than among 5,000, and one caption
# of five is easier to find than the one picture.
#
# **Shapes.** `image_embeds` $(N, D)$ and `text_embeds` $(5N, D)$ have rows of length 1; captions $5i$ to $5i + 4$ are those of picture $i$.
# `folds` divides $N$: the first fold holds the first $N / \text{folds}$ pictures, and so on. No two similarities are equal. Return a pair
# of numbers, pictures to texts first.
#
# **Example.** Two pictures at 0 and 90 degrees in the plane; the first has captions at 10, 20, 40, 50 and 60 degrees. From text to
# picture, the first three of them find it at `k = 1`, the last two are nearer to the other picture.


# %% nbgrader={"grade": false, "grade_id": "recall_in_folds", "locked": false, "schema_version": 3, "solution": true, "task": false}
def recall_in_folds(image_embeds: Tensor, text_embeds: Tensor, folds: int, k: int) -> tuple[float, float]:
    """Recall@K from pictures to texts and from texts to pictures, averaged over folds: (N, D), (5 N, D) -> two numbers."""
    ### BEGIN SOLUTION
    size = len(image_embeds) // folds
    to_text, to_image = [], []
    for first in range(0, len(image_embeds), size):
        images = image_embeds[first : first + size]
        texts = text_embeds[5 * first : 5 * (first + size)]
        similarity = images @ texts.T
        owners = torch.arange(len(texts), device=texts.device) // 5
        own = torch.arange(size, device=texts.device)[:, None]
        best_texts = similarity.topk(k, dim=1).indices
        best_images = similarity.topk(k, dim=0).indices
        to_text.append((owners[best_texts] == own).any(dim=1))
        to_image.append((best_images == owners).any(dim=0))
    return torch.cat(to_text).double().mean().item(), torch.cat(to_image).double().mean().item()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_recall_in_folds", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("07.4", recall_in_folds)

# %% [markdown]
# ## 07.5 The hardest negative that is one
#
# ●●●○○ · 14 minutes · 3 points
#
# **What.** Write VSE++'s loss for a batch of $B$ pairs, safe against false negatives. $s_{ij}$ is the similarity of picture $i$ with text
# $j$. A batch may hold several captions of one picture: pairs with the same number in `picture_ids` fit each other, and none of
# them is a negative. With the margin $m$ and $[x]_+ = \max(0, x)$:
#
# $$L = \frac{1}{B}\sum_{i} \Bigl(\bigl[m - s_{ii} + \max_{j} s_{ij}\bigr]_+ + \bigl[m - s_{ii} + \max_{j} s_{ji}\bigr]_+\Bigr)$$
#
# where each maximum runs over those $j$ alone that do not fit $i$. The first term is the picture's, which looks along its row, the
# second the text's, which looks along its column.
#
# **Why.** Most negatives of a batch are easy and teach nothing; the hardest one teaches most, if it is one. Hard and false
# negatives are found in the same place.
#
# **Shapes.** `similarity` $(B, B)$, rows pictures and columns texts; `picture_ids` $(B)$ int64, with at least two different numbers; `margin` a
# number. The result is a scalar that derivatives flow through.
#
# **Example.** With the ids (4, 4, 9) the row of picture 0 has one negative, text 2.


# %% nbgrader={"grade": false, "grade_id": "hardest_negative_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def hardest_negative_loss(similarity: Tensor, picture_ids: Tensor, margin: float) -> Tensor:
    """VSE++'s max of hinges over those negatives that do not fit: (B, B), (B,), a number -> ()."""
    ### BEGIN SOLUTION
    fits = picture_ids[:, None] == picture_ids[None, :]
    negatives = similarity.masked_fill(fits, -torch.inf)
    own = similarity.diagonal()
    as_image = (margin - own + negatives.amax(dim=1)).relu()
    as_text = (margin - own + negatives.amax(dim=0)).relu()
    return (as_image + as_text).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_hardest_negative_loss", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("07.5", hardest_negative_loss)

# %% [markdown]
# ## 07.6 Product quantisation: a vector in a few bytes
#
# ●●●●○ · 18 minutes · 4 points
#
# **What.** Write the module that is inside every large index. Each vector of $D$ numbers is cut into $M$ parts of $d = D / M$ numbers that
# stand beside each other. Each part has a *codebook* of its own with $K$ words of $d$ numbers.
#
# 1. **Codes.** A part is replaced by the number of the word that is nearest to it, by squared distance. A vector becomes $M$ small
#    numbers.
# 2. **Distances.** The query is not coded. Its squared distance to a coded vector is the sum, over the parts, of the squared distance
#    from the query's part to the word that the code names. (It is called asymmetric, since only one side is coded.)
#
# **Why.** A million vectors of 512 floats take 2 GB. With 32 codes of one byte each they take 32 MB, and a distance costs 32 additions,
# read from a table that is made once for each query.
#
# **Shapes.** `queries` $(Q, D)$, `vectors` $(N, D)$. Return the pair of the codes, $(N, M)$ int64, and the distances, $(Q, N)$. The weights are one
# parameter (they come from k-means, and the check puts them in):
#
# | parameter | shape | |
# |---|---|---|
# | `codebooks` | $(M, K, d)$ | `parts`, `words`, `dim // parts` |
#
# **Example.** With two parts of two numbers, the words (0, 0) and (1, 1) in the first codebook and (3, 2) and (0, 1) in the second, the
# vector (0.9, 0.2, 0, 0.4) has the code (1, 1): its first part is 0.85 away from (0, 0) and 0.65 from (1, 1). The query (1, 0, 2, 2) is
# 1 + 5 = 6 away from that code.


# %% nbgrader={"grade": false, "grade_id": "ProductQuantizer", "locked": false, "schema_version": 3, "solution": true, "task": false}
class ProductQuantizer(nn.Module):
    """Vectors as codes, and the squared distances of queries to what the codes stand for."""

    def __init__(self, dim: int, parts: int, words: int) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.codebooks = nn.Parameter(torch.zeros(parts, words, dim // parts))
        ### END SOLUTION

    def forward(self, queries: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """(Q, D), (N, D) -> codes (N, M) int64, distances (Q, N)."""
        ### BEGIN SOLUTION
        codes = self.table(vectors).argmin(dim=-1)
        parts = torch.arange(len(self.codebooks), device=codes.device)
        distances = self.table(queries)[:, parts, codes].sum(dim=-1)
        return codes, distances

    def table(self, vectors: Tensor) -> Tensor:
        pieces = vectors.reshape(len(vectors), len(self.codebooks), -1)
        return (pieces[:, :, None] - self.codebooks).square().sum(dim=-1)
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_ProductQuantizer", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("07.6", ProductQuantizer)

# %% [markdown]
# ## 07.7 Train a re-ranker on negatives that you mine
#
# ●●●●● · 22 minutes · 4 points
#
# **What.** A dual encoder confuses scenes of one kind: among 200 pictures the right one is first for about one caption in eight only,
# and among the first ten nearly always. Train a second stage that puts those ten in order.
#
# 1. **Mine.** For each text, find the `k` *wrong* pictures that are most similar to it by the embeddings.
# 2. **Train.** The re-ranker is one matrix $W$ that scores a pair by $\text{score}(i, j) = t_i^\top W\, v_j$, with $t$ a text's and $v$ a picture's
#    features. Starting from zeros will do. For each text its own picture should score above its `k` mined ones: take the cross-entropy over these
#    $k + 1$ scores. All texts are one batch. Make at most `steps` steps.
#
# The check then searches among 200 pairs of other scenes that you never see: the dual encoder's first ten pictures for each text,
# put in order by your $W$. **Recall@1 of at least 0.75 is asked for.** Choosing one of the ten at random gets 0.1. Training with the same
# loss, rate and number of steps on negatives drawn at random gets 0.54.
#
# **Why.** This is how ALBEF and BLIP search COCO, and why they are trained with hard negatives: the second stage only ever sees what the
# first one confuses.
#
# **Shapes.** `image_embeds` and `text_embeds` $(600, 8)$ are the dual encoder's, with rows of length 1; `image_features` $(600, 24)$ and
# `text_features` $(600, 20)$ are what the re-ranker sees; pair $i$ is row $i$ of each. Return three things: $W$ $(20, 24)$; the mined pictures of each
# text, $(600, k)$ int64 in any order; and the list of the losses, one for each step.
#
# The optimiser and its learning rate are up to you.
#
# **Example.** If text 7 is most similar to the pictures 7, 4, 12 and 9 in this order, its two mined negatives are 4 and 12.


# %% nbgrader={"grade": false, "grade_id": "train_reranker", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_reranker(
    image_embeds: Tensor, text_embeds: Tensor, image_features: Tensor, text_features: Tensor, k: int, steps: int
) -> tuple[Tensor, Tensor, list[float]]:
    """A trained re-ranker: (N, D), (N, D), (N, Dv), (N, Dt), k, steps -> W (Dt, Dv), mined (N, k) int64, losses."""
    ### BEGIN SOLUTION
    similarity = text_embeds @ image_embeds.T
    own = torch.arange(len(similarity))
    similarity[own, own] = -torch.inf
    negatives = similarity.topk(k, dim=1).indices
    candidates = torch.cat([own[:, None], negatives], dim=1)
    pictures = image_features[candidates]
    labels = torch.zeros(len(own), dtype=torch.long)
    weight = torch.zeros(text_features.shape[1], image_features.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.2)
    losses = []
    for _ in range(steps):
        asked = text_features @ weight
        scores = (asked[:, None] * pictures).sum(dim=-1)
        loss = F.cross_entropy(scores, labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return weight, negatives, losses
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_train_reranker", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("07.7", train_reranker)

# %% [markdown]
# ## Done?
#
# You have measured a search in the field's way, trained it on what it confuses, packed its gallery into a few bytes a picture, and
# put a second stage behind the first. Lesson 07 does the same with pictures and a million vectors. `progress()` shows your table, and
# `course quiz 07` asks you what an interviewer would.
