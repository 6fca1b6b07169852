# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["course-header"]
# # 05 · Contrastive learning: pull together, push apart
#
# **Time.** About 90 minutes of reading and trying. All cells together run in two to three minutes on two CPU cores.
#
# **You should know** what a softmax, a cross-entropy and a gradient are (lesson 01), and that a network can turn a
# picture or a sentence into a vector (lessons 02 and 03). Everything else is explained here.
#
# **Afterwards you can**
#
# - derive InfoNCE from mutual information, and say why it wants many negatives;
# - write the losses of CLIP, SigLIP, triplets, VSE++ and image-text matching, and say whom each of them pushes;
# - choose temperature, batch size and negatives with measured curves in front of you;
# - count the false negatives of a batch, and do something about them;
# - measure a joint space: alignment, uniformity, modality gap; and move the gap;
# - spread one batch over several processes without changing the result.

# %% [markdown]
# ## 1 Learning by telling apart
#
# A caption is no label. "A big red star on a plain background" is not one of a list of classes, and no other picture
# has quite the same sentence. Yet the sentence is *about* its picture, and about no other. That can be made a task:
# here is a picture; which of these sentences is its own?
#
# **The question of this lesson:** what does a network learn from playing that game, and what do its rules (how many
# wrong answers, which ones, how they are weighed) decide?
#
# Below, the course's CLIP plays it: four pictures, eight sentences, and the sentences it finds most probable.

# %%
import math

import torch
import torch.nn.functional as F
from torch import nn

from course_lib import runtime
from course_lib.data import microworld
from course_lib.evaluation.embedding import embed_images, embed_texts, measuring
from course_lib.models.clip import CLIP
from course_lib.models.recipes import clip as recipes
from course_lib.pretrained import course
from course_lib.viz import curves, embedding, figures
from course_lib.viz.code import code_of
from course_lib.viz.papers import paper_card
from course_lib.viz.style import show

course_clip = CLIP.from_weights(*course.load("clip")[:2]).to(runtime.device())
words = recipes.word_tokenizer()
game = microworld.sample_scenes(8, seed=3, split="test", max_objects=2)
sentences = [microworld.captions(scene)[3] for scene in game]
x = embed_images(course_clip, recipes.pixel_values(microworld.render(game)))
y = embed_texts(course_clip, words(sentences))
probabilities = (course_clip.logit_scale.exp().item() * x @ y.T).softmax(dim=1)
show(figures.predictions(microworld.render(game[:4], 96), probabilities[:4], sentences, range(4), top=3))

# %% [markdown]
# Nobody has to label anything for this game, and its answers are known: the sentence that came with the picture. The
# wrong answers are called **negatives**, and they are free as well: they are the other pictures' sentences.
#
# To win, a network has to put into the vector of a picture what its sentence will say. This is the whole idea. Now for
# what it means.

# %% [markdown]
# ## 2 How much does one thing say about another?
#
# Let $X$ be a picture and $Y$ a sentence, drawn together from a distribution $p(x, y)$. Drawn separately, they would
# have the distribution $p(x)\,p(y)$. The **mutual information** is by how much, on average, the pair is more probable
# together than apart:
#
# $$I(X;Y) = \mathbb{E}_{p(x,y)}\Big[\log \frac{p(x,y)}{p(x)\,p(y)}\Big] =
# \mathbb{E}\Big[\log\frac{p(y\mid x)}{p(y)}\Big]$$
#
# It is 0 if the picture says nothing about the sentence. In natural logarithms it is counted in *nats*; one nat is
# 1.44 bits.
#
# For pictures nobody knows $p$. So start where everything is known: $X$ and $Y$ are vectors of $D$ numbers from a
# normal distribution, and each number of $X$ has correlation $\rho$ with the same number of $Y$. Then
# $I = -\frac{D}{2}\log(1-\rho^2)$.

# %%
D, rho = 4, 0.9
information = -D / 2 * math.log(1 - rho**2)


def gaussian_pairs(batches, N, generator):
    """N pairs in each batch: x and y, (batches, N, D), with correlation rho number by number."""
    x, noise = torch.randn(2, batches, N, D, generator=generator)
    return x, rho * x + math.sqrt(1 - rho**2) * noise


generator = torch.Generator().manual_seed(0)
x, y = gaussian_pairs(64, 256, generator)
print("x and y:", tuple(x.shape), tuple(y.shape))
print(f"each says about the other: {information:.2f} nats = {information / math.log(2):.2f} bits")

# %% [markdown]
# ### The guessing game
#
# I give you one $x$ and $N$ candidates $y_1 \dots y_N$. One of them, the **positive**, was drawn together with $x$; the
# others were drawn from $p(y)$ alone. Which one is it? Bayes' rule gives the best possible answer. Candidate $i$ is the
# right one with probability
#
# $$p(i \mid x, y_1 \dots y_N) = \frac{r(x, y_i)}{\sum_j r(x, y_j)}, \qquad r(x, y) = \frac{p(y\mid x)}{p(y)}$$
#
# That is a softmax over $\log r$, and $r$ is the very ratio inside the mutual information. A network that plays the
# game has to learn it, up to a factor that may depend on $x$ but not on $y$: such a factor drops out of the softmax.
#
# With the cross-entropy of that softmax as the loss $\mathcal{L}_N$ (its name is **InfoNCE**), van den Oord and others
# proved for *every* scoring function
#
# $$I(X;Y) \;\geq\; \log N - \mathcal{L}_N$$
#
# Blind guessing has $\mathcal{L}_N=\log N$: a bound of 0. Every nat by which you beat it is a nat of proven
# information. Here is the best possible player, at several $N$:


# %%
def log_ratio(x, y):
    """log r of every x with every y of its batch: (batches, N, N)."""
    near = (y[:, None] - rho * x[:, :, None]).square().sum(-1) / (1 - rho**2)  # of p(y | x)
    return (y.square().sum(-1)[:, None] - near) / 2  # less that of p(y); the constants drop out of the softmax


def loss_of(scores):
    """The guessing game's cross-entropy; the right answers lie on the diagonal."""
    return -scores.log_softmax(dim=-1).diagonal(dim1=-2, dim2=-1).mean().item()


sizes = [2, 4, 16, 64, 256, 1024]
bounds = []
for N in sizes:
    x, y = gaussian_pairs(max(8, 2048 // N), N, generator)
    bounds.append(math.log(N) - loss_of(log_ratio(x, y)))
lines = {"log N − loss": bounds, "log N": [math.log(N) for N in sizes], "the information": [information] * len(sizes)}
show(figures.lines(sizes, lines, across="N, candidates", value="nats", log=True, title="What the game can prove"))
print("never above log N:", all(bound <= math.log(N) for bound, N in zip(bounds, sizes, strict=True)))
print("never above the information, but for chance:", all(bound <= information + 0.1 for bound in bounds))

# %% [markdown]
# Two lessons lie in this picture. **The bound never exceeds $\log N$**: who can choose among four candidates cannot
# prove more than $\log 4$ nats, however much there is. Much information needs many negatives. And it comes close to the
# truth only well beyond that: this is the first reason for CLIP's batch of 32,768.
#
# ### Two towers learn the ratio
#
# Now forget the formula for $r$. Let one small network read $x$, another read $y$, each give a vector, and let the
# score be the product of both vectors. Trained on nothing but the game:


# %%
class Towers(nn.Module):
    """Two small networks; the score of x and y is the product of what they give."""

    def forward(self, x, y):
        return self.read_x(x) @ self.read_y(y).transpose(-1, -2)

    def __init__(self):
        super().__init__()
        self.read_x, self.read_y = (nn.Sequential(nn.Linear(D, 64), nn.GELU(), nn.Linear(64, 16)) for _ in range(2))


# %%
from course_lib.training.loop import TrainingConfig, train


def play(towers, generator):
    x, y = gaussian_pairs(1, 256, generator)
    return -towers(x, y).log_softmax(dim=-1).diagonal(dim1=-2, dim2=-1).mean()


runtime.seed_everything(0)
towers = Towers()
history = train(towers, play, TrainingConfig(steps=300, learning_rate=5e-3, warmup_steps=20, weight_decay=0.0))
proven = [math.log(256) - loss for loss in history.losses]
show(curves.runs({"two towers": proven}, value="log N − loss, nats", level=information, level_label="the information"))
with torch.no_grad():
    learned = math.log(256) - loss_of(towers(*gaussian_pairs(64, 256, generator)))
print(
    f"proven by the best player: {runtime.measured(bounds[4], 2)}, by the towers: {runtime.measured(learned, 2)} nats"
)
print("the towers prove at least 85 % of what there is:", learned >= 0.85 * information)

# %% [markdown]
# Two encoders, a product, a softmax over a batch: that *is* CLIP, with pictures for $x$ and captions for $y$. What it
# learns has a meaning: the logit of a picture and a text estimates how many times more probable the text is beside this
# picture than anywhere.

# %%
paper_card("cpc")

# %% [markdown]
# ## 3 From InfoNCE to CLIP and SigLIP
#
# In code, the game is a cross-entropy whose right answers are $0, 1, 2, \dots$ From here on, $x_i$ and $y_j$ are *unit*
# vectors of pictures and texts, so that $x_i \cdot y_j$ is the cosine of their angle, and scores are cosines divided by
# a **temperature** $\tau$ (CLIP learns $\log 1/\tau$).


# %%
def infonce(scores):
    """Each row should pick its own column: scores (N, N), right answers on the diagonal."""
    return F.cross_entropy(scores, torch.arange(len(scores)))


N, width, tau = 8, 32, 0.1
image_embeds, noise = F.normalize(torch.randn(2, N, width, generator=generator), dim=-1)
text_embeds = F.normalize(image_embeds + noise, dim=-1)
logits = image_embeds @ text_embeds.T / tau
print("which caption for this picture?", runtime.measured(infonce(logits).item()))
print("which picture for this caption?", runtime.measured(infonce(logits.T).item()))

# %% [markdown]
# CLIP plays it both ways and takes the mean. The library's `info_nce` has one more argument, which section 7 needs:

# %%
from open_clip.loss import ClipLoss, SigLipLoss

from course_lib.losses.contrastive import clip_loss, info_nce, siglip_loss

print(code_of(info_nce))
both_ways = (infonce(logits) + infonce(logits.T)) / 2
for name, other in [("course_lib", clip_loss), ("open_clip", ClipLoss())]:
    print(f"{name:10} gives the same:", torch.allclose(both_ways, other(image_embeds, text_embeds, 1 / tau), atol=1e-6))

# %%
paper_card("clip")

# %% [markdown]
# **SigLIP** asks each pair by itself: do these two belong together? With $z_{ij}=1$ on the diagonal and $-1$ elsewhere,
# a learned bias $b$ and $\sigma$ the logistic function, the loss is $-\frac1N \sum_{ij} \log\sigma(z_{ij}(x_i\cdot
# y_j/\tau + b))$. There is no softmax, so no pair has to know of any other. Lesson 06 says more of it.

# %%
bias = -5.0
signs = 2 * torch.eye(N) - 1
by_hand = -F.logsigmoid(signs * (logits + bias)).sum() / N
for name, other in [("course_lib", siglip_loss), ("open_clip", SigLipLoss())]:
    print(f"{name:10} gives the same:", torch.allclose(by_hand, other(image_embeds, text_embeds, 1 / tau, bias)))

# %%
paper_card("siglip")

# %% [markdown]
# ## 4 A laboratory
#
# What follows are questions of more or less: which temperature, how many negatives, which loss. To answer them we need
# many short training runs that differ in one thing. The pictures pass the course's vision checkpoint (lesson 02) once;
# a run trains what comes after it: attention pooling, a text transformer of two layers, two projections.

# %%
full_scale = runtime.scale() == "full"
scenes = microworld.sample_scenes(20_000 if full_scale else 4_000, seed=1)
test_scenes = microworld.sample_scenes(1_000, seed=5, split="test")
untrained = recipes.clip_on_vision(seed=0)
maps, test_maps = (
    recipes.feature_maps(untrained, torch.from_numpy(microworld.render(part))) for part in (scenes, test_scenes)
)
captions, test_captions = ([microworld.captions(scene)[0] for scene in part] for part in (scenes, test_scenes))
print("feature maps:", tuple(maps.shape[1:]), "and for measuring", len(test_maps), "others")
print("a caption:", captions[0])

# %%
from course_lib.viz.diagram import architecture

show(architecture(untrained, torch.zeros(3, 3, 64, 64), words(captions[:5])))


# %%
def encode(model, maps, texts):
    """Unit vectors of pictures, from their feature maps, and of texts."""
    image_embeds = F.normalize(recipes.encode_feature_maps(model, maps), dim=-1)
    return image_embeds, F.normalize(model.encode_text(texts.to(model.logit_scale.device)), dim=-1)


def trained(loss, steps=45, batch_size=128, scale=None, texts=captions, maps=maps):
    """A model after a short run. `loss` takes image_embeds, text_embeds, the logit scale and the rows drawn."""
    model, input_ids = recipes.clip_on_vision(seed=0), words(texts)
    if scale is not None:
        model.logit_scale.requires_grad_(False).fill_(math.log(scale))

    def batch_loss(model, generator):
        rows = torch.randperm(len(input_ids), generator=generator)[:batch_size]
        return loss(*encode(model, maps[rows], input_ids[rows]), model.logit_scale.exp(), rows)

    warmup = min(10, steps // 4)
    train(model, batch_loss, TrainingConfig(steps, learning_rate=2e-3, warmup_steps=warmup, weight_decay=0.1))
    return model


# %%
from course_lib.evaluation.retrieval import recall_at_k


def test_vectors(model):
    """Unit vectors of the test pictures and captions, on the CPU."""
    with measuring(model):
        return [vectors.float().cpu() for vectors in encode(model, test_maps, words(test_captions))]


def recall(image_embeds, text_embeds):
    """R@1 among 1,000: how often the right one comes first, the mean of both directions. Chance is 0.001."""
    similarity = image_embeds @ text_embeds.T
    return (recall_at_k(similarity) + recall_at_k(similarity.T)) / 2


def clips(image_embeds, text_embeds, scale, rows):
    return clip_loss(image_embeds, text_embeds, scale)


models = {"CLIP": trained(clips)}
spaces = {"untrained": test_vectors(untrained), "CLIP": test_vectors(models["CLIP"])}
for name, vectors in spaces.items():
    print(f"{name:9} R@1 among 1,000 {runtime.measured(recall(*vectors))}")
print("45 steps reach at least 0.75:", recall(*spaces["CLIP"]) >= 0.75, "(chance: 0.001)")

# %% [markdown]
# Every model of this lesson is measured with the same thousand pictures and captions. `spaces` keeps the vectors of
# each, for sections 9 and 10.

# %% [markdown]
# ## 5 Temperature: whom the loss pushes
#
# Differentiate InfoNCE. With $p_{ij}$ the softmax of row $i$, the derivative of $\ell_i$ with respect to the cosine
# $x_i \cdot y_j$ is
#
# $$\frac{\partial \ell_i}{\partial (x_i\cdot y_j)} = \frac{p_{ij}}{\tau}\ (j \neq i), \qquad
# \frac{\partial \ell_i}{\partial (x_i\cdot y_i)} = -\frac{1 - p_{ii}}{\tau} = -\sum_{j\neq i} \frac{p_{ij}}{\tau}$$
#
# The pull on the own caption equals all pushes together, and negative $j$ gets the share $p_{ij}/\sum_{k\neq i} p_{ik}$
# of them: a softmax over the negatives alone.

# %%
cosines = (image_embeds @ text_embeds.T).requires_grad_()
F.cross_entropy(cosines / tau, torch.arange(N), reduction="sum").backward()
p = (cosines / tau).softmax(dim=1)
print("the formula is what autograd computes:", torch.allclose(cosines.grad, (p - torch.eye(N)) / tau, atol=1e-5))
print("pull and pushes are in balance:", bool(cosines.grad.sum(dim=1).abs().max() < 1e-5))

# %% [markdown]
# Here are the 127 negatives of one test picture in a batch of 128, and the shares they get:

# %%
pictures, texts = (vectors[:128] for vectors in spaces["CLIP"])
row = pictures[0] @ texts.T
show(embedding.pushes(row[1:], [1.0, 0.1, 0.03, 0.01], own=row[0], title="Who is pushed, and how hard"))

# %% [markdown]
# At $\tau=1$ everybody is pushed alike, the caption that is wrong in one word no more than one that is wrong in
# everything. At $\tau = 0.01$ one or two neighbours get all. The temperature is a dial between *everyone* and *the
# hardest one*, and neither end is good. With the scale $1/\tau$ fixed instead of learned:

# %%
scales = [1.0, 10.0, 30.0, 100.0]
for scale in scales:
    models[f"1/τ = {scale:g}"] = trained(clips, scale=scale)
    spaces[f"1/τ = {scale:g}"] = test_vectors(models[f"1/τ = {scale:g}"])
by_scale = [recall(*spaces[f"1/τ = {scale:g}"]) for scale in scales]
learned_scale = models["CLIP"].logit_scale.exp().item()
show(
    figures.lines(
        scales,
        {"scale fixed": by_scale, "scale learned": [recall(*spaces["CLIP"])] * len(scales)},
        across="logit scale 1/τ",
        value="R@1 among 1,000",
        log=True,
        mark=learned_scale,
        mark_label="where it is learned to",
    )
)
print("R@1 by scale:", {scale: runtime.measured(value) for scale, value in zip(scales, by_scale, strict=True)})
print("both ends are worse than the middle:", max(by_scale[0], by_scale[3]) + 0.05 < max(by_scale[1:3]))

# %% [markdown]
# A learned temperature lands in the middle by itself. It starts at $1/\tau = 14$, and with more training it rises: once
# the easy negatives are far away, only the near ones are left to learn from. (The course's CLIP, trained for 900 steps,
# stands at 28; OpenAI's at its ceiling of 100.)

# %% [markdown]
# ## 6 Margins: triplets and the hardest negative
#
# Before softmaxes, ranking was learned with a **margin** $\alpha$. Let $a$ be an anchor, $p$ what belongs to it, $n$
# what does not; the negative should be further away than the positive by $\alpha$, and beyond that nothing is asked:
#
# $$\ell = \max\big(0,\; \lVert a - p\rVert - \lVert a - n\rVert + \alpha\big)$$

# %%
paper_card("facenet")

# %%
from course_lib.losses.ranking import hardest_negative_loss, hinge_sum_loss, triplet_loss


def triplets(anchor, positive, negative, margin):
    near, far = (anchor - positive).norm(dim=-1), (anchor - negative).norm(dim=-1)
    return (near - far + margin).relu().mean()


next_text = text_embeds.roll(1, dims=0)  # as good as any: the next pair's text
ours = triplets(image_embeds, text_embeds, next_text, 0.5)
for name, other in [("course_lib", triplet_loss), ("torch", F.triplet_margin_loss)]:
    print(
        f"{name:10} gives the same:", torch.allclose(ours, other(image_embeds, text_embeds, next_text, 0.5), atol=1e-5)
    )

# %% [markdown]
# One negative for each anchor is little, when the batch has $N - 1$. **VSE** takes them all: with $s_{ij} = x_i\cdot
# y_j$, the sum of $\max(0, \alpha - s_{ii} + s_{ij})$ over $j$, and the same for the columns. **VSE++** takes the
# largest of them instead of the sum. A few lines hold both:


# %%
def hinges(similarity, margin):
    """What each negative costs the picture of its row and the text of its column: (N, N) twice."""
    own = similarity.diagonal()
    wrong = 1 - torch.eye(len(similarity))
    return wrong * (margin - own[:, None] + similarity).relu(), wrong * (margin - own + similarity).relu()


similarity = image_embeds @ text_embeds.T
by_row, by_column = hinges(similarity, 0.2)
vse = (by_row + by_column).sum() / N
vse_pp = (by_row.amax(dim=1) + by_column.amax(dim=0)).mean()
print("VSE  , course_lib gives the same:", torch.allclose(vse, hinge_sum_loss(similarity, 0.2)))
print("VSE++, course_lib gives the same:", torch.allclose(vse_pp, hardest_negative_loss(similarity, 0.2)))

# %%
paper_card("vse_pp")

# %% [markdown]
# The negatives of the same picture as before, seen by a margin of 0.2:

# %%
show(embedding.margins(row[1:], float(row[0]), 0.2, title="Whom a margin hears"))

# %% [markdown]
# A softmax never stops pushing, a margin does: most negatives are far enough and cost nothing. And the hinge's slope
# is 1 for everyone within it, where the softmax weighs. Now train with each: a random negative for each anchor, the
# sum, the hardest from the first step, and the hardest after 15 steps of the sum.


# %%
def one_random_negative(image_embeds, text_embeds, scale, rows):
    """Two triplets a pair: rows are drawn at random, so the next row's is a random negative."""
    picture_first = triplet_loss(image_embeds, text_embeds, text_embeds.roll(1, dims=0), 0.5)
    return (picture_first + triplet_loss(text_embeds, image_embeds, image_embeds.roll(1, dims=0), 0.5)) / 2


def margin_loss(of_step):
    """The loss that `of_step` gives for the number of the step, on the cosines of the batch, with a margin of 0.2."""
    steps = iter(range(10_000))
    return lambda image_embeds, text_embeds, scale, rows: of_step(next(steps))(image_embeds @ text_embeds.T, 0.2)


def first_all_then_hardest(step):
    return hinge_sum_loss if step < 15 else hardest_negative_loss


losses = {
    "a random negative": one_random_negative,
    "sum of hinges": margin_loss(lambda step: hinge_sum_loss),
    "hardest only": margin_loss(lambda step: hardest_negative_loss),
    "sum, then hardest": margin_loss(first_all_then_hardest),
    "SigLIP": lambda image_embeds, text_embeds, scale, rows: siglip_loss(image_embeds, text_embeds, 10.0, -5.0),
}
for name, loss in losses.items():
    spaces[name] = test_vectors(trained(loss))

# %%
found = {name: recall(*spaces[name]) for name in ["CLIP", *losses]}
show(figures.bars(found, reference={"chance": 0.001}, value="R@1 among 1,000 after 45 steps"))
for name, value in found.items():
    print(f"{name:18} {runtime.measured(value)}")
print("many negatives beat one:", found["sum of hinges"] > found["a random negative"])
print("the hardest alone, from the start, learns nothing:", found["hardest only"] < 0.1)

# %% [markdown]
# **Break it: only the hardest negative, from the first step.** It does not learn slowly, it *collapses*. Look at its
# vectors: at the start all cosines are nearly alike, so whatever moves the hardest negative away moves all of them, the
# own caption included, and the cheapest way out is to give every input the same vector. Then every cosine is 1, and
# each pair costs exactly twice the margin, for ever.

# %%
for name in ["CLIP", "sum of hinges", "hardest only", "sum, then hardest"]:
    pictures, texts = spaces[name]
    typical = (pictures @ pictures.T)[~torch.eye(1000, dtype=torch.bool)].mean().item()
    print(f"{name:18} cosine of two pictures, on average: {runtime.measured(typical, 2)}")

# %% [markdown]
# After 15 steps with all negatives the hardest one is a fair teacher. VSE++ was trained from a network that had learned
# ImageNet, with a low rate, and FaceNet took *semi-hard* negatives (within the margin, but further away than the
# positive), for the same reason. (A run of 45 steps is too short to say which of the two hinge losses wins in the end.)

# %% [markdown]
# ## 7 Negatives: how many, and how many are false
#
# ### How many
#
# The batch size changes two things at once: the number of negatives, and the pictures seen in a given number of steps.
# First the negatives alone: always 128 pairs, but each may choose only among $K$ random negatives; `info_nce` leaves
# out what it is told to.


# %%
def with_few_negatives(K):
    generator = torch.Generator().manual_seed(0)

    def loss(image_embeds, text_embeds, scale, rows):
        N = len(rows)
        chance = torch.rand(N, N, generator=generator).fill_diagonal_(2)  # the own one first, then K by lot
        left_out = chance.argsort(dim=1, descending=True).argsort(dim=1) > K
        logits = scale * image_embeds @ text_embeds.T
        return (info_nce(logits, left_out) + info_nce(logits.T, left_out)) / 2

    return loss


counts = [1, 7, 31, 127]
for K in counts[:-1]:
    spaces[f"{K} negatives"] = test_vectors(trained(with_few_negatives(K)))
by_count = [recall(*spaces[f"{K} negatives"]) for K in counts[:-1]] + [found["CLIP"]]
show(
    figures.lines(counts, {"128 pairs a step": by_count}, across="negatives of each", value="R@1 among 1,000", log=True)
)
print("R@1 by negatives:", {K: runtime.measured(value) for K, value in zip(counts, by_count, strict=True)})
print("from 1 to 7 to 31, more is better:", by_count[0] < by_count[1] < by_count[2])

# %% [markdown]
# Every pair was encoded all the same: the other negatives would have cost nothing but a matrix product. Now the batch
# size itself, once with equal steps, once with equally many pairs seen (so a quarter of the batch has four times the
# steps):

# %%
batch_sizes = [8, 32, 128]
equal_steps = [recall(*test_vectors(trained(clips, batch_size=size))) for size in batch_sizes[:-1]] + [found["CLIP"]]
equal_pairs = [
    recall(*test_vectors(trained(clips, batch_size=size, steps=45 * 128 // size))) for size in batch_sizes[:-1]
]
equal_pairs += [found["CLIP"]]
show(
    figures.lines(
        batch_sizes,
        {"equally many steps": equal_steps, "equally many pairs": equal_pairs},
        across="batch size",
        value="R@1 among 1,000",
        log=True,
    )
)
for name, values in [("steps", equal_steps), ("pairs", equal_pairs)]:
    print(f"equal {name}:", {size: runtime.measured(value) for size, value in zip(batch_sizes, values, strict=True)})
print("with equal steps the larger batch wins:", equal_steps[0] < equal_steps[1] < equal_steps[2])
print("with equal pairs a batch of 8 still loses clearly:", equal_pairs[0] + 0.1 < min(equal_pairs[1:]))

# %% [markdown]
# With equal steps the larger batch wins by far, and most of that is simply more data. With equal pairs a batch of 32
# does as well as one of 128, for it takes four times as many steps; but no number of steps makes up for having only
# seven negatives. **The batch has to be large enough to contain hard choices; beyond that, steps count.** How large
# that is depends on the data: a thousand web pictures have little in common, so CLIP needs tens of thousands to meet
# near misses.

# %% [markdown]
# ### How many are false
#
# The loss takes every caption of the batch but one for wrong. In the microworld a program reads captions and says of
# which scenes they are true, so the **false negatives** can be counted: pairs off the diagonal that fit all the same.

# %%
from course_lib.evaluation.embedding_space import false_negative_rate, fitting_pairs

batch = scenes[:128]
for kind, name in enumerate(["complete", "relation", "counting", "places", "short"]):
    kind_captions = [microworld.captions(scene)[kind] for scene in batch]
    rate = false_negative_rate(fitting_pairs(batch, kind_captions))
    print(f"{name:9} {rate:6.2%} of the negatives fit, {127 * rate:4.1f} of the 127   e.g. {kind_captions[0][:58]!r}")

# %% [markdown]
# The less a caption says, the more pictures it fits; and their *number* grows with the batch. For a counting caption,
# the two of a batch of 128 would be five hundred in a batch of 32,768.
#
# What do they do? To see it clearly, take the worst case: pictures of a single object, and captions that name nothing
# but its shape. Of any seven negatives, about one is false.

# %%
singles = microworld.sample_scenes(2_000, seed=7, max_objects=1)
single_maps = recipes.feature_maps(untrained, torch.from_numpy(microworld.render(singles)))
shapes = [scene.objects[0].shape for scene in singles]
which = torch.tensor([microworld.SHAPES.index(shape) for shape in shapes])
rate = false_negative_rate(which[:128, None] == which[None, :128])
print(f"{rate:.1%} of the negatives are false")


def told_which_fit(image_embeds, text_embeds, scale, rows):
    """CLIP's loss, but a pair that fits is neither the answer nor a wrong one."""
    fits = which[rows, None] == which[None, rows]
    logits = scale * image_embeds @ text_embeds.T
    return (info_nce(logits, fits) + info_nce(logits.T, fits.T)) / 2


shape_names = [f"a {shape}" for shape in microworld.SHAPES]
effect = {}
for name, loss in [("false negatives pushed", clips), ("left out", told_which_fit)]:
    model = trained(loss, texts=[f"a {shape}" for shape in shapes], maps=single_maps)
    with measuring(model):
        pictures, names = encode(model, single_maps[:128], words(shape_names))
        plain = clip_loss(pictures, names[which[:128]], model.logit_scale.exp()).item()
        cosines = (pictures @ names.T).float().cpu()
    effect[name] = cosines[torch.arange(128), which[:128]].mean().item()
    accuracy = (cosines.argmax(dim=1) == which[:128]).double().mean().item()
    print(f"{name:22} cosine of what fits {runtime.measured(effect[name], 2)}", end="   ")
    print(f"shape named {runtime.measured(accuracy, 2)}   CLIP's loss {runtime.measured(plain, 2)}")
print(f"with 8 captions for 128 pictures, CLIP's loss cannot go far below ln(128 / 8) = {math.log(16):.2f}")
print("left out, what fits lies closer:", effect["left out"] > effect["false negatives pushed"] + 0.05)

# %% [markdown]
# The classes are found either way: a few false pushes cancel over many batches, since all that fits is pushed and
# pulled alike. But what belongs together ends further apart, the loss has a floor that has nothing to do with the
# model, and every cosine loses its meaning. Remedies: deduplicate the data; write captions that say more; leave out
# what is known to fit (as here); soften the targets for what a slower copy of the model finds likely (ALBEF); draw
# among the hard negatives instead of taking the hardest, which is so often a false one.

# %% [markdown]
# ## 8 Image-text matching: ask about the hard ones
#
# The two towers never see a picture *together with* a sentence. **Image-text matching** (ITM) adds a small network that
# does: the words look at the picture by cross-attention (lesson 04), and two logits say *no* or *yes*. The loss is a
# cross-entropy. Its only difficulty is: which pairs should it be asked about? Random pairs are told apart by the towers
# already, and teach nothing. The cosines of the batch are known, so ALBEF draws a hard negative for each picture and
# each text, in proportion to the contrastive softmax without the own pair:

# %%
paper_card("albef")

# %%
from course_lib.losses.matching import hard_negative_rows, itm_loss

print(code_of(hard_negative_rows))
pictures, texts = (vectors[:128] for vectors in spaces["CLIP"])
logits = learned_scale * pictures @ texts.T
drawn, _ = hard_negative_rows(logits, torch.Generator().manual_seed(0))
random_ones, _ = hard_negative_rows(torch.zeros_like(logits), torch.Generator().manual_seed(0))
row_numbers = torch.arange(128)
print("no own caption among them:", bool((drawn != row_numbers).all()))
print("cosine of a random negative:", runtime.measured((pictures @ texts.T)[row_numbers, random_ones].mean().item(), 2))
print("cosine of a hard negative  :", runtime.measured((pictures @ texts.T)[row_numbers, drawn].mean().item(), 2))

# %%
shown = [4, int(drawn[4]), int(random_ones[4])]
show(
    figures.image_grid(
        microworld.render([test_scenes[i] for i in shown], 128),
        [f"{kind}: {test_captions[i]}" for kind, i in zip(["own", "hard", "random"], shown, strict=True)],
    ),
    alt="A picture, and the pictures whose captions were drawn as its hard and as its random negative, with captions.",
)

# %% [markdown]
# *Align before fuse*: the matching network gets the aligned vectors' product, and what each word found in the picture.
# Both towers stay frozen, so their states are computed once.

# %%
from course_lib.layers.fusion import CrossAttentionLayer


class Matching(nn.Module):
    """Two logits, no and yes, from a caption's hidden states, a picture's map, and the product of their vectors."""

    def forward(self, hidden_states, mask, places, product):
        heard = self.look(hidden_states, self.norm(places))  # words ask places
        mean = (heard * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        return self.head(torch.cat([mean, self.product_norm(product)], dim=-1))

    def __init__(self, width=96, joint=128):
        super().__init__()
        self.look, self.norm = CrossAttentionLayer(width, heads=4), nn.LayerNorm(width)
        self.product_norm = nn.LayerNorm(joint)
        self.head = nn.Sequential(nn.Linear(width + joint, 192), nn.GELU(), nn.Linear(192, 2))


# %%
def frozen_states(model, maps, texts):
    """Of each pair: hidden states of the words, their mask, the map's places, both unit vectors."""
    input_ids = words(texts)
    with measuring(model):
        x, y = encode(model, maps, input_ids)
        hidden = model.text_model.forward_features(input_ids.to(x.device))
    places = maps.float().flatten(2).transpose(1, 2)  # (pictures, 64, 96)
    return [part.cpu() for part in (hidden, (input_ids != 0).float(), places, x, y)]


def asked(matching, states, text_rows, picture_rows):
    hidden, mask, places, x, y = states
    length = int(mask[text_rows].sum(dim=1).max())
    product = x[picture_rows] * y[text_rows]
    return matching(hidden[text_rows, :length], mask[text_rows, :length], places[picture_rows], product)


states = frozen_states(models["CLIP"], maps[:4000], captions[:4000])
test_states = frozen_states(models["CLIP"], test_maps, test_captions)
runtime.seed_everything(0)
matching = Matching().eval()
print("logits:", tuple(asked(matching, states, torch.arange(5), torch.arange(5)).shape))

# %%
five = torch.arange(5)
show(architecture(matching, states[0][five], states[1][five], states[2][five], states[3][five] * states[4][five]))


# %%
def trained_matching(hard, steps=150, pairs=96):
    """Trains the matching network on each pair and two negatives of it, drawn hard or at random."""
    runtime.seed_everything(0)
    matching = Matching()
    labels = torch.tensor([1] * pairs + [0] * 2 * pairs)

    def batch_loss(matching, generator):
        rows = torch.randperm(len(states[0]), generator=generator)[:pairs]
        logits = learned_scale * states[3][rows] @ states[4][rows].T
        text, picture = hard_negative_rows(logits if hard else torch.zeros_like(logits), generator)
        text_rows = torch.cat([rows, rows[text], rows])
        return itm_loss(asked(matching, states, text_rows, torch.cat([rows, rows, rows[picture]])), labels)

    train(matching, batch_loss, TrainingConfig(steps, learning_rate=2e-3, warmup_steps=10))
    return matching


# %%
own = torch.arange(1000)
test_logits = learned_scale * spaces["CLIP"][0] @ spaces["CLIP"][1].T
exam = {"random": torch.zeros_like(test_logits), "hard": test_logits}
exam = {name: hard_negative_rows(logits, torch.Generator().manual_seed(1))[0] for name, logits in exam.items()}


def yes(matching, text_rows):
    with measuring(matching):
        return asked(matching, test_states, text_rows, own).softmax(dim=1)[:, 1]


right = {}
for hard in (False, True):
    matching = trained_matching(hard)
    for name, negatives in exam.items():
        true, false = yes(matching, own) > 0.5, yes(matching, negatives) > 0.5
        right[hard, name] = (true.double().mean().item() + 1 - false.double().mean().item()) / 2
    told = "   ".join(f"{name} negatives {runtime.measured(right[hard, name], 2)}" for name in exam)
    print(f"trained on {'hard' if hard else 'random'} negatives, right answers on {told}")
print("hard choices are learned from hard choices:", right[True, "hard"] > right[False, "hard"])

# %% [markdown]
# Trained on random pairs, the network is nearly perfect, on random pairs: it answers what the cosine knew already.
# Trained on hard ones it is worse on the easy exam and better on the one that matters. (These steps are few for words
# that have to learn to look. Lesson 07 trains longer, and lets such a network re-rank what the towers have found.)

# %% [markdown]
# ## 9 Alignment and uniformity
#
# Why does minimising this loss give *good* vectors? Wang and Isola read two wishes out of it, each of which can be
# measured alone. **Alignment**: the two of a pair lie close together. **Uniformity**: all vectors together spread over
# the sphere. Lower is better for both:
#
# $$\text{alignment} = \mathbb{E}\,\lVert x_i - y_i\rVert^2, \qquad
# \text{uniformity} = \log\, \mathbb{E}_{i \neq j}\; e^{-2\lVert x_i - x_j\rVert^2}$$

# %%
paper_card("alignment_uniformity")

# %% [markdown]
# In the plane one can watch. Sixteen pairs of points on a circle, moved by gradient descent on four wishes:


# %%
def spread(points):
    return torch.pdist(points).square().mul(-2).exp().mean().log()


wishes = {
    "only alignment": lambda x, y: (x - y).square().sum(dim=1).mean(),
    "only uniformity": lambda x, y: spread(x) + spread(y),
    "both": lambda x, y: (x - y).square().sum(dim=1).mean() + (spread(x) + spread(y)) / 2,
    "InfoNCE, τ = 0.2": lambda x, y: clip_loss(x, y, 5.0),
}
start = torch.randn(2, 16, 2, generator=torch.Generator().manual_seed(1))
panels = {"at the start": F.normalize(start, dim=-1)}
for name, wish in wishes.items():
    points = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([points], lr=0.03)
    for _ in range(300):
        optimiser.zero_grad()
        wish(*F.normalize(points, dim=-1)).backward()
        optimiser.step()
    panels[name] = F.normalize(points, dim=-1).detach()
show(embedding.circles(panels))

# %% [markdown]
# Alignment alone is content with a collapse: everything may end wherever it likes, as long as pairs coincide.
# Uniformity alone ignores the pairs. The contrastive loss asks for both: its pull is alignment, its pushes are
# uniformity. Now the models of this lesson, by the library's measures:

# %%
from course_lib.evaluation.embedding_space import alignment, uniformity

shown = ["untrained", "1/τ = 1", "CLIP", "1/τ = 100", "a random negative", "sum of hinges", "hardest only", "SigLIP"]
space_shapes = {}
for name in shown:
    pictures, texts = spaces[name]
    spread_of_both = (uniformity(pictures) + uniformity(texts)) / 2
    space_shapes[name] = (alignment(pictures, texts), spread_of_both, recall(pictures, texts))
show(embedding.landscape(space_shapes))
print(f"{'':18} alignment   uniformity   R@1")
for name, numbers in space_shapes.items():
    print(f"{name:18} " + "     ".join(runtime.measured(number, 2) for number in numbers))

# %% [markdown]
# Whoever retrieves well lies in the lower left corner. Neither measure suffices alone: $1/\tau = 1$ aligns better than
# CLIP and retrieves worse, because it spreads less; at $1/\tau = 100$ and with SigLIP the pairs are still far apart
# after so few steps. The collapsed model sits at the top, where nothing is spread.

# %% [markdown]
# ## 10 The modality gap
#
# One space, but do pictures and texts really *share* it? Take the vector between the two centres,
# $\Delta = \bar x - \bar y$; its length is the **modality gap** (Liang et al., 2022).

# %%
paper_card("modality_gap")

# %%
from course_lib.evaluation.embedding_space import modality_gap, move_apart

for name in ["untrained", "CLIP", "1/τ = 100"]:
    pictures, texts = spaces[name]
    show(embedding.scatter({"pictures": pictures[:60], "captions": texts[:60]}, title=name))
gaps = {}
for name in ["untrained", "1/τ = 10", "CLIP", "1/τ = 30", "1/τ = 100"]:
    gaps[name] = modality_gap(*spaces[name]).norm().item()
for name, gap in gaps.items():
    print(f"{name:10} gap {runtime.measured(gap, 2)}")
print("the colder, the wider:", gaps["1/τ = 10"] < gaps["1/τ = 30"] < gaps["1/τ = 100"])

# %% [markdown]
# **Where it comes from.** Two networks with random weights put their outputs into two narrow cones; that is the gap
# before training. **Why it stays.** The softmax compares a picture's cosines with *each other*; shift all texts by one
# vector, and every cosine of a picture changes alike. So hardly any gradient closes a gap, except that of pushing
# negatives apart in all directions, which is what a warm softmax does to everyone and a cold one to a few.
#
# **Does it matter?** Move both clouds along $\Delta$, back onto the sphere, and measure. Share 0 is the model as
# trained, -1 closes the gap, 1 doubles it:

# %%
shares = [-1.5, -1.0, -0.75, -0.5, -0.25, 0.0, 0.5, 1.0, 2.0]
moved, losses_moved = {}, {}
for name in ["CLIP", "1/τ = 100"]:
    scale = models[name].logit_scale.exp().item()
    both = [move_apart(*spaces[name], share) for share in shares]
    moved[name] = [recall(*vectors) for vectors in both]
    losses_moved[name] = [clip_loss(*vectors, scale).item() for vectors in both]
by_share = {"R@1 among 1,000": moved, "CLIP's loss": losses_moved}
show(curves.functions(shares, by_share, across="share by which the gap grows"))

# %%
for name in moved:
    closed, as_trained, doubled = (moved[name][shares.index(share)] for share in (-1.0, 0.0, 1.0))
    told = zip(["closed", "as trained", "doubled"], [closed, as_trained, doubled], strict=True)
    print(f"{name:10} " + "   ".join(f"{how} {runtime.measured(value)}" for how, value in told))
    best = shares[max(range(len(shares)), key=lambda place: moved[name][place])]
    print(f"{'':10} opening it further costs:", doubled < as_trained, "· best at a share of", runtime.measured(best, 2))

# %% [markdown]
# Opening the gap costs, in both models. Closing it helps the warm model a little. The cold one gains while part of the
# gap is closed and *loses* when all of it is: its vectors were arranged for the gap that they had. There is no rule
# that a smaller gap is better, which is what Liang et al. found with CLIP at full scale.
#
# The gap does matter where pictures and texts stand in **one list**. Put 500 pictures and 500 other captions into one
# index, and look for the pictures with their own captions:

# %%
for name in ["CLIP", "1/τ = 100"]:
    pictures, texts = spaces[name]
    index = torch.cat([pictures[:500], texts[500:]])
    best = (texts[:500] @ index.T).argmax(dim=1)
    found_own = (best == torch.arange(500)).double().mean().item()
    print(f"{name:10} first is the picture {runtime.measured(found_own, 2)}", end="   ")
    print(f"first is some other caption {runtime.measured((best >= 500).double().mean().item(), 2)}")
    if name == "1/τ = 100":
        print("with a wide gap a text meets only texts:", (best >= 500).double().mean().item() > 0.9)

# %% [markdown]
# A text is closer to other texts than to its own picture. So a search over both kinds ranks each kind by itself, and
# merges afterwards.

# %% [markdown]
# ## 11 What a joint space is good for
#
# Two encoders could also be trained apart. What does it bring that they meet? With the course's CLIP, and pictures of
# one object:
#
# **Classes from words.** Nobody trained a classifier, and none is needed (lesson 06 says more):

# %%
examples = microworld.single_object_scenes(320, seed=5)
pairs_shown = [scene.objects[0].pair for scene in examples]
x = embed_images(course_clip, recipes.pixel_values(microworld.render(examples)))
names = embed_texts(course_clip, words(list(recipes.CLASS_NAMES)))  # (64, D): colour x shape
answers = [microworld.PAIRS[index] for index in (x @ names.T).argmax(dim=1).tolist()]
accuracy = sum(answer == pair for answer, pair in zip(answers, pairs_shown, strict=True)) / len(examples)
print(f"64 classes, no label: {runtime.measured(accuracy)}   at least 0.9: {accuracy >= 0.9}   (chance: 0.016)")

# %% [markdown]
# **Arithmetic.** If pictures and words share directions, then *this picture, but blue* is a sum: the picture's vector,
# minus the word vector of its colour, plus that of another. The direction of a colour is the mean text vector over all
# shapes. Then look for the nearest *picture*:

# %%
colour_vectors = dict(zip(microworld.COLOURS, names.view(8, 8, -1).mean(dim=1), strict=True))


def recoloured(number, colour, weight=1.0):
    """The picture nearest to picture `number` with its colour exchanged: its number."""
    change = colour_vectors[colour] - colour_vectors[pairs_shown[number][0]]
    similarity = x @ F.normalize(x[number] + weight * change, dim=0)
    similarity[number] = -1
    return int(similarity.argmax())


colours = microworld.COLOURS
others = [[colour for colour in colours if colour != pair[0]] for pair in pairs_shown]
asked_for = [seven[number % 7] for number, seven in enumerate(others)]
hits = {}
for weight in [0.0, 0.5, 1.0]:
    got = [pairs_shown[recoloured(i, colour, weight)] for i, colour in enumerate(asked_for)]
    hits[weight] = sum(a == (c, p[1]) for a, c, p in zip(got, asked_for, pairs_shown, strict=True)) / len(got)
    print(f"weight {weight}: asked-for colour and same shape {runtime.measured(hits[weight], 2)}")
print("picture minus word plus word works at least 8 times of 10:", hits[1.0] >= 0.8, "(chance: 0.016)")

# %%
firsts = [0, 5, 10, 15]
grid = [examples[i] for i in firsts] + [examples[recoloured(i, asked_for[i])] for i in firsts]
labels = [" ".join(pairs_shown[i]) for i in firsts] + [f"but {asked_for[i]}" for i in firsts]
show(figures.image_grid(microworld.render(grid, 96), labels, columns=4))

# %% [markdown]
# **Untrained towers can do none of it**: their spaces have nothing to do with each other.

# %%
blank = CLIP(recipes.clip_config()).to(runtime.device())
x_blank = embed_images(blank, recipes.pixel_values(microworld.render(examples)))
names_blank = embed_texts(blank, words(list(recipes.CLASS_NAMES)))
answers = [microworld.PAIRS[index] for index in (x_blank @ names_blank.T).argmax(dim=1).tolist()]
accuracy = sum(answer == pair for answer, pair in zip(answers, pairs_shown, strict=True)) / len(examples)
print(f"64 classes, untrained: {runtime.measured(accuracy)}   below 0.1: {accuracy < 0.1}")

# %% [markdown]
# ## 12 One batch over several processes
#
# If negatives matter, batches grow until no single GPU holds one. Then every process encodes its part, and the
# embeddings travel: a few hundred numbers a picture. CLIP's softmax needs all embeddings at once, so they are
# *gathered*; SigLIP's questions are independent, so the texts are passed *round a ring* while the pictures stay.

# %%
from course_lib.training.distributed import clip_loss_across_processes, siglip_loss_across_processes

print(code_of(clip_loss_across_processes))
print(code_of(siglip_loss_across_processes))

# %% [markdown]
# What must come out is known: the loss and the gradients of one process with the whole batch. Two real processes, their
# parts beside open_clip's (which also splits its losses), their mean beside one process:

# %%
from course_lib.authoring.parity.lesson_05 import split_losses_beside_open_clip

for line in split_losses_beside_open_clip(processes=2):
    print(f"{line.system:29} equal to {line.reference:34} to 1e-5: {line.max_abs_difference < 1e-5}")

# %% [markdown]
# Around them the engine is the one that you know. This trains the course's CLIP with a batch of 128 over two processes;
# on a machine with eight GPUs write 8 for 2, and on several machines add `--nnodes` and `--rdzv-endpoint` (the module's
# docstring shows it):
#
# ```text
# torchrun --nproc_per_node=2 -m course_lib.training.clip --steps 250 --batch-size 128 --out build/clip.safetensors
# ```
#
# The tests run it over two processes (twenty steps) and four (five): the loss curve and the weights are those of a
# single process with the same batch, to 1e-5.

# %% [markdown]
# ## 13 At full scale
#
# With a GPU and a network the same measures are taken of OpenAI's CLIP on COCO's photographs: five hundred pictures,
# their first captions. Elsewhere a stand-in runs through the same cells: a file of the same format with random weights,
# on the dozen photographs that the course carries. What it says means nothing.

# %%
from course_lib import runtime
from course_lib.authoring import stand_ins
from course_lib.data import hub
from course_lib.data.preprocessing import Preprocessing
from course_lib.data.tokenizers import HubCLIPTokenizer
from course_lib.models.clip import CLIP

if not runtime.downloads():
    stand_ins.serve(stand_ins.clip, data=["coco_captions"])

name = "openai/clip-vit-base-patch32"
openai_clip = CLIP.from_pretrained(name, device=runtime.device())
prepare, tokenizer = Preprocessing.from_pretrained(name), HubCLIPTokenizer.from_pretrained(name)
samples = [(sample.image, sample.captions[0]) for sample in hub.load("coco_captions", limit=500)]
pictures, captions = zip(*samples, strict=True)
space = embed_images(openai_clip, prepare(pictures)), embed_texts(openai_clip, tokenizer(captions))
print("vectors of", len(samples), "pictures and as many captions")

# %%
scale = openai_clip.logit_scale.exp().item()
measures = {
    "logit scale 1/τ": scale,
    "alignment": alignment(*space),
    "uniformity of pictures": uniformity(space[0]),
    "uniformity of captions": uniformity(space[1]),
    "modality gap": modality_gap(*space).norm().item(),
    "R@1": recall(*space),
}
for name, value in measures.items():
    print(f"{name:23} {runtime.measured(value, 2)}")

# %%
moved = [move_apart(*space, share) for share in shares]
by_share = {
    "R@1": {"CLIP ViT-B/32": [recall(*vectors) for vectors in moved]},
    "CLIP's loss": {"CLIP ViT-B/32": [clip_loss(*vectors, scale).item() for vectors in moved]},
}
if full_scale:
    show(curves.functions(shares, by_share, across="share by which the gap grows"))
    show(embedding.scatter({"pictures": space[0][:100], "captions": space[1][:100]}, title="CLIP ViT-B/32"))
else:
    print("These weights are random: run this on a GPU to see the gap of the real CLIP.")

# %% [markdown]
# ## 14 Looking back
#
# | | |
# |---|---|
# | the bound | $I(X;Y) \geq \log N - \mathcal{L}_N$, and never more than $\log N$ |
# | InfoNCE | cross-entropy of rows, the right answers on the diagonal; CLIP: rows and columns |
# | its push on negative $j$ | $p_{ij}/\tau$; together they equal the pull |
# | SigLIP | $-\frac1N\sum_{ij}\log\sigma(z_{ij}(x_i\cdot y_j/\tau + b))$ |
# | triplet | $\max(0, \lVert a-p\rVert - \lVert a-n\rVert + \alpha)$ |
# | VSE, VSE++ | sum, or maximum, over negatives of $\max(0, \alpha - s_{ii} + s_{ij})$, both directions |
# | ITM | two-way cross-entropy of fused pairs, negatives drawn by the softmax |
# | alignment, uniformity | $\mathbb{E}\lVert x_i-y_i\rVert^2$; $\log\mathbb{E}\,e^{-2\lVert x_i-x_j\rVert^2}$ |
# | modality gap | $\Delta = \bar x-\bar y$ |
#
# - A contrastive loss estimates how much more probable two things are together than apart.
# - The temperature decides whom it pushes: everyone, or the nearest.
# - Negatives have to be many enough to contain hard ones; the hardest alone, from the start, lead to collapse.
# - Some negatives are false, more of them the less captions say.
# - A joint space has a shape that can be measured, and a gap that can be moved.
#
# A few quick questions, answers folded:

# %%
from course_lib.practice.quiz import show_interview, show_quiz

show_quiz("05")

# %% [markdown]
# And those an interviewer may ask:

# %%
show_interview("05")

# %% [markdown]
# **Now build it yourself:** the exercises are in
# [`exercises/05_contrastive_learning.ipynb`](../exercises/05_contrastive_learning.ipynb). Each answer is checked at
# once.
