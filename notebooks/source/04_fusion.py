# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["course-header"]
# # 04 · Fusion: where picture and question meet
#
# **Time.** About 100 minutes of reading and trying. All cells together run in three minutes on two CPU cores.
#
# **You should know** what attention is (lesson 01), what a vision backbone gives (lesson 02), and what word vectors
# and hidden states are (lesson 03). Everything else is explained here.
#
# **Afterwards you can**
#
# - fuse a picture and a question in ten ways, write each in a few lines, and say what each costs;
# - prove that a sum cannot bind and a product can, and sketch a product of millions of numbers with a few hundred;
# - build FiLM, co-attention and gated cross-attention, equal to the reference implementations;
# - rank fusions honestly: several seeds, their spread, chance, and a baseline that never sees the picture;
# - say why a network with all the information can stay at chance on "left of", find the three things that it lacks,
#   and build one that solves it.

# %% [markdown]
# ## 1 Both are understood, and then?
#
# Lesson 02 ended with a network that knows what is in a picture and where. Lesson 03 ended with one that knows what
# words follow which. Give the first a picture and the second a question about it, and each understands its part. To
# answer, they have to meet.
#
# **The question of this lesson:** *when picture and question are each understood, how do they meet, and what can each
# way of meeting tell?*
#
# Here are four questions, each asked of two pictures that answer it differently. Nobody gets more than half of them
# right by reading the question alone, and nobody gets more than half right by looking at the picture alone.

# %%
import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import nn

from course_lib import runtime
from course_lib.data import microworld
from course_lib.viz import attention, figures, fusion
from course_lib.viz.code import code_of
from course_lib.viz.style import show

runtime.seed_everything(4)
scenes = microworld.sample_scenes(3_000, seed=4, split="test")
asked = microworld.balanced_questions(scenes)
examples = []
for kind in ["spatial", "comparison", "existence", "colour"]:
    first = next(a for a in asked if a.question.type == kind and len(scenes[a.scene].objects) == 3)
    examples += [first, asked[first.partner]]
show(
    figures.image_grid(
        microworld.render([scenes[a.scene] for a in examples], size=128),
        [f"{a.question.text}? {a.question.answer}" for a in examples],
        columns=4,
    )
)

# %% [markdown]
# Two of the things that are needed have names.
#
# - **Binding** is knowing what belongs to what: that *this* thing is both red and a star. Knowing that there is
#   something red and that there is a star is not enough.
# - A **relation** is a fact about two things at once: that the one is left of the other.
#
# At the end of lesson 06 you meet a CLIP that knows neither, though it has read captions full of both. This lesson
# asks which ways of joining two encoders make them learnable.

# %% [markdown]
# ## 2 What comes in: regions and words
#
# ### Regions
#
# The vision checkpoint of lesson 02 says for every cell of an 8 x 8 grid whether an object's centre lies there. The
# cells that are surer than all their neighbours are the *regions* of a picture: for each we take the 96 numbers of
# the feature map at that cell, and the box that was found.

# %%
from course_lib.models.dense_detector import DenseDetector, DenseDetectorConfig, detections
from course_lib.models.recipes.inputs import pixel_values
from course_lib.pretrained import course

checkpoint, weights, _ = course.load("vision")
detector = DenseDetector(DenseDetectorConfig.from_dict(checkpoint)).eval()
detector.load_state_dict(weights)


def kinds(scene, attribute):
    return len({getattr(thing, attribute) for thing in scene.objects})


three = [scene for scene in scenes if len(scene.objects) == 3 and {thing.size for thing in scene.objects} == {"large"}]
scene = next(scene for scene in three if kinds(scene, "colour") == kinds(scene, "shape") == 3)
with torch.no_grad():
    feature_map = detector.trunk(pixel_values(microworld.render([scene])))  # (1, 96, 8, 8)
    found = detections(detector.heads(feature_map))[0]
found = sorted(found, key=lambda one: one.box[0])  # from left to right
regions = torch.stack([feature_map[0, :, row, column] for row, column in (one.cell for one in found)])  # (R, 96)
boxes = torch.tensor([one.box for one in found])  # (R, 4): left, top, right, bottom
print("feature map:", tuple(feature_map.shape), "-> regions:", tuple(regions.shape), "boxes:", tuple(boxes.shape))

# %%
names = [f"{one.attributes['colour']} {one.attributes['shape']}" for one in found]
drawn = microworld.render([scene], size=256)[0]
show(figures.image_grid([drawn], boxes=[list(zip(names, (256 * boxes).tolist(), strict=True))], size=2.6))

# %% [markdown]
# A picture is now a small *set* of vectors. (Real systems do the same: from 2018 on most of them took 36 regions of a
# Faster R-CNN. Today's take the tokens of a ViT; to a fusion it is all one.)
#
# ### Words
#
# The language checkpoint of lesson 03 gives a vector for each word of the question: first the plain *embedding* of
# the word, then, after its blocks, a *hidden state* that has read the words before it.

# %%
from course_lib.models.recipes.language import load_language

language_model, tokenizer = load_language()
question = f"is the {names[0]} left of the {names[-1]}"
input_ids = torch.tensor([tokenizer.encode(question)])  # (1, T)
with torch.no_grad():
    embeddings = language_model.token_embedding(input_ids)  # (1, T, D)
    placed = embeddings + language_model.position_embedding[: input_ids.shape[1]]
    hidden_states = language_model.final_norm(language_model.transformer(placed, is_causal=True))  # (1, T, D)
print("question:", tokenizer.decode(input_ids[0]))
print("embeddings:", tuple(embeddings.shape), "· hidden states:", tuple(hidden_states.shape))

# %% [markdown]
# ### For many pictures
#
# The library does this for thousands of pictures at once: up to five regions each, whose boxes do not cover one
# another, and for each region 100 numbers: the 96 features, then x, y, size and certainty, every one with mean 0 and
# variance 1 over training pictures. The detector is frozen, so it sees each picture once; what remains to be trained
# is the fusion. For most of this lesson we take pictures of two things and three kinds of question.

# %%
from course_lib.models.recipes import fusion as recipes

data, test = recipes.short_data("train"), recipes.short_data("test")
print(
    "of each picture",
    tuple(data.regions.shape[1:]),
    "numbers; of each question up to",
    data.input_ids.shape[1],
    "words",
)
for kind in recipes.SHORT_TYPES:
    part = data.of_type(kind)
    example = f"{part.texts([0])[0]}? {microworld.ANSWERS[part.answers[0]]}"
    print(f"{kind:8} {len(part):6,} questions to train on, such as: {example}")

# %% [markdown]
# The questions are *balanced*: of any text, no answer is right more than half the time.
#
# ### When do they meet, and as what?
#
# Two questions sort all that follows.
#
# - **When?** *Early*, before either has been understood on its own; *late*, when each has already given its answer;
#   or in between, which is what nearly everybody does.
# - **As what?** As two *vectors*, each the mean of its set; as a vector that steers a set; or as two *sets*, whose
#   members may ask each other.
#
# | | meets as | writes |
# |---|---|---|
# | concatenation, sum | vector and vector | $W[x; y]$, $Ux + Vy$ |
# | late fusion | answer and answer | the mean of two probabilities |
# | product, bilinear forms | vector and vector | $x_i\, y_j$ |
# | FiLM | set and vector | $\gamma(y) \circ x_r + \beta(y)$ |
# | cross-attention, co-attention | set and set | $\sum_r a_{tr}\, x_r$ |
#
# From here on $x$ is a vector of the picture, of $D$ numbers, or $x_r$ that of its region $r$ of $R$; $y$ is a vector
# of the question, of $E$ numbers, or $y_t$ that of its word $t$ of $T$; and $z$, of $O$ numbers, is what comes out.

# %% [markdown]
# ## 3 Side by side, added, averaged
#
# The simplest fusion puts the two vectors side by side and lets one linear layer read both. Written out, the matrix
# falls into a part for the picture and one for the question, so this *is* a sum:
#
# $$z = W \begin{bmatrix} x \\ y \end{bmatrix} = Ux + Vy, \qquad W = [\,U \;\; V\,]$$

# %%
runtime.seed_everything(0)
D, E, OUT = 96, 128, 64
x, y = torch.randn(5, D), torch.randn(5, E)  # five pictures, five questions


def concatenate(x, y, weight):
    """(B, D) and (B, E) -> (B, O), with weight (O, D + E)."""
    return torch.cat([x, y], dim=1) @ weight.T


W = torch.randn(OUT, D + E) / math.sqrt(D + E)
z = concatenate(x, y, W)
U, V = W[:, :D], W[:, D:]
print("z:", tuple(z.shape), "· side by side is a sum:", torch.allclose(z, x @ U.T + y @ V.T, atol=1e-5))

# %% [markdown]
# *Late fusion* goes further apart: one model answers from the picture alone, another from the question alone, and
# their probabilities are averaged. It is what ensembles do, and a sound way of joining two opinions about the *same*
# thing. The library's two, printed from their files, beside the cell above:

# %%
from course_lib.layers.fusion import ConcatFusion, SumFusion, late_fusion

print(code_of(ConcatFusion.forward), code_of(SumFusion.forward), code_of(late_fusion), sep="\n")

# %%
ours, theirs = ConcatFusion(D, E, OUT), SumFusion(D, E, OUT)
theirs.first.weight.data, theirs.second.weight.data = ours.linear.weight[:, :D], ours.linear.weight[:, D:]
theirs.first.bias.data = ours.linear.bias
print("the same z:", torch.allclose(ours(x, y), theirs(x, y), atol=1e-5))
written_out = concatenate(x, y, ours.linear.weight) + ours.linear.bias
print("and as written above:", torch.allclose(ours(x, y), written_out, atol=1e-5))

by_picture, by_question = torch.randn(5, 30), torch.randn(5, 30)  # logits of 30 answers
mean = (by_picture.softmax(-1) + by_question.softmax(-1)) / 2
print("late fusion is the mean of probabilities:", torch.allclose(late_fusion([by_picture, by_question]).exp(), mean))

# %% [markdown]
# It was long the baseline to beat. With it, a bag of words and one picture vector reached 55.9 % where the best of
# its time had 58 %:

# %%
from course_lib.viz.papers import paper_card

paper_card("ibowimg")

# %% [markdown]
# ### What a sum cannot tell
#
# Take the smallest question that needs both: *is the thing in the picture of the colour that was asked for?* Two
# colours, two questions, four cases. The answer is yes when they agree. Whatever functions $f$ and $g$ a sum
# $s(x, y) = f(x) + g(y)$ is made of, this is zero:
#
# $$s(x_1, y_1) - s(x_1, y_2) - s(x_2, y_1) + s(x_2, y_2) = 0$$
#
# since every $f$ and every $g$ stands there once with plus and once with minus. For the answer we want, (1, 0, 0, 1),
# it is 2. So no sum gives it, whatever it is trained on. Here for all eight colours: the table that is wanted, and
# the sum that comes nearest to it (by least squares, over *all* sums there are); then the sum of $K$ products.


# %%
def best_sum(table):
    """The table f[i] + g[j] that is nearest to a table (n, m)."""
    n, m = table.shape
    rows, columns = torch.eye(n).repeat_interleave(m, dim=0), torch.eye(m).repeat(n, 1)
    design = torch.cat([rows, columns], dim=1)  # one number to choose for each row and each column
    chosen = torch.linalg.lstsq(design, table.reshape(-1, 1), driver="gelsd").solution
    return (design @ chosen).view(n, m)


def best_products(table, count):
    """The sum of `count` products u[i] v[j] that is nearest to a table."""
    u, s, v = torch.linalg.svd(table)
    return (u[:, :count] * s[:count]) @ v[:count]


colours = list(microworld.COLOURS)
wanted = torch.eye(8)
tables = {"wanted": wanted, "nearest sum": best_sum(wanted)}
tables |= {f"{count} product{'s' * (count > 1)}": best_products(wanted, count) for count in (1, 4, 8)}
show(fusion.tables(tables, colours, colours, down="asked for", across="seen"))
for name, table in tables.items():
    right = sum(int(table[i].argmax() == i and (table[i] > table[i].mean() + 0.1).any()) for i in range(8))
    print(f"{name:12} tells {right} of 8 colours from the others")

# %% [markdown]
# The nearest sum says one eighth to everything: nothing at all. Each product settles one colour, and eight of them
# give the table exactly. The number of products that are needed is the *rank* of the table; keep that word for
# section 4.
#
# The same with two colours is XOR (here its opposite), and there one can write down by hand how a network gets round
# it. A sum followed by a *nonlinearity* is no longer a sum:

# %%
agree = torch.eye(2)
two = ["red", "blue"]
x2, y2 = torch.tensor([[-1.0, 1.0]]).T, torch.tensor([[-1.0, 1.0]])  # red is -1, blue is +1
hidden = torch.relu(x2 + y2) + torch.relu(-x2 - y2)  # two units that add, bend, and add again
panels = {"wanted": agree, "nearest sum": best_sum(agree), "a product": (x2 * y2 + 1) / 2, "sum, ReLU, sum": hidden / 2}
show(fusion.tables(panels, two, two, down="asked for", across="seen", digits=1))

# %% [markdown]
# So "concatenate, then an MLP" can bind, and "concatenate, then classify" cannot. What the MLP has to *find* from
# examples, the product has built in. How much that matters is not to be argued but measured, in section 8.

# %% [markdown]
# ### What no fusion of pooled vectors can tell
#
# There is a second place where binding is lost: before the question comes. A picture that is *one* vector, the sum of
# what its things are, has forgotten whose colour was whose:

# %%
SHAPES, COLOURS = microworld.SHAPES, microworld.COLOURS


def thing(colour, shape):
    """One thing as 16 numbers: which colour, then which shape."""
    return torch.cat([torch.eye(8)[COLOURS.index(colour)], torch.eye(8)[SHAPES.index(shape)]])


one = torch.stack([thing("red", "star"), thing("blue", "ring")])  # (2 things, 16)
other = torch.stack([thing("blue", "star"), thing("red", "ring")])
print("added up, the two pictures are one:", torch.equal(one.sum(dim=0), other.sum(dim=0)))


def products(things):
    """All products of a thing's colour and shape numbers, then added up over the things."""
    return torch.einsum("tc,ts->cs", things[:, :8], things[:, 8:])


print("added up after multiplying, they differ:", not torch.equal(products(one), products(other)))

# %% [markdown]
# No fusion that comes after the first sum, however clever, can say whether there is a red star: it gets the same
# numbers for both pictures. **Multiply before you add up**, or do not add up. The features of a real network are not
# so clean (neurons do multiply, in their way), but the danger is the same, and the rest of this lesson is about ways
# round it.

# %% [markdown]
# ## 4 Products
#
# ### Every number meets every number
#
# A *bilinear form* has a weight for each pair of numbers, and $z$ has $O$ of them:
#
# $$z_o = x^\top W_o\, y = \sum_{i=1}^{D} \sum_{j=1}^{E} W_{oij}\, x_i\, y_j$$
#
# It is a linear layer on the *outer product* of the two vectors, all $D \cdot E$ products $x_i y_j$. Everything that
# two vectors can say together is in there. So is the price:

# %%
layer = nn.Bilinear(D, E, OUT, bias=False)
outer = torch.einsum("bd,be->bde", x, y)  # (B, D, E): all products
print("all products:", tuple(outer.shape))
z = torch.einsum("bde,ode->bo", outer, layer.weight)
print("z:", tuple(z.shape), "· as torch.nn.Bilinear has it:", torch.allclose(z, layer(x, y), atol=1e-4))
print(f"weights here: {layer.weight.numel():,}; with 2,048 numbers each and 3,000 answers: {2048 * 2048 * 3000:,}")

# %% [markdown]
# Twelve billion weights for one layer. Two ways lead out: sketch the products instead of making them, or bound their
# rank.

# %% [markdown]
# ### Sketching: MCB
#
# A **count sketch** shrinks a vector of $D$ numbers to $M$ without looking at it. Beforehand, draw for each number
# $i$ a place $h_i$ from 1 to $M$ and a sign $s_i = \pm 1$. Then give each number its sign and add it to its place:
#
# $$\Psi(x)_m = \sum_{i:\, h_i = m} s_i\, x_i$$


# %%
def sketch(x, places, signs, size):
    """(B, D) -> (B, M): every number, with its sign, added to its place."""
    result = torch.zeros(len(x), size)
    for i in range(x.shape[1]):
        result[:, places[i]] += signs[i] * x[:, i]
    return result


def draw(count, size, generator):
    """Places and signs for `count` numbers."""
    return torch.randint(size, (count,), generator=generator), torch.randint(2, (count,), generator=generator) * 2 - 1


generator = torch.Generator().manual_seed(0)
places, signs = draw(D, 32, generator)
print("sketch:", tuple(x.shape), "->", tuple(sketch(x, places, signs, 32).shape))

# %% [markdown]
# It looks careless: numbers that share a place are added up and can never be told apart. But a linear layer needs
# only *inner products*, and those are right on average. For two vectors $a$ and $b$ under the same places and signs
#
# $$\mathbb{E}\,\langle \Psi(a), \Psi(b) \rangle = \langle a, b \rangle, \qquad
# \text{Var} \le \frac{2}{M}\,\lVert a \rVert^2 \lVert b \rVert^2$$
#
# In the expansion every number meets itself with sign $s_i^2 = 1$, and every other with $s_i s_j$, which is $+1$ as
# often as $-1$. A thousand draws, for three sizes:

# %%
from course_lib.layers.fusion import count_sketch

a, b = torch.randn(D, generator=generator), torch.randn(D, generator=generator)
b = b + 0.5 * a  # so that they have something in common
estimates = {}
for size in (16, 64, 256):
    products_of_sketches = []
    for _ in range(1_000):
        places, signs = draw(D, size, generator)
        sketches = count_sketch(torch.stack([a, b]), places, signs, size)
        products_of_sketches.append(sketches[0] @ sketches[1])
    estimates[f"M = {size}"] = torch.stack(products_of_sketches)
show(fusion.draws(estimates, (a @ b).item(), across="inner product of sketches"))
for name, drawn_products in estimates.items():
    wide = (2 / int(name[4:])) ** 0.5 * (a.norm() * b.norm())  # the bound on the standard deviation
    near = bool((drawn_products.mean() - a @ b).abs() < 4 * wide / 1_000**0.5)
    narrow = bool(drawn_products.std() < 1.1 * wide)
    print(f"{name:8} mean within 4 standard errors: {near} · spread as the bound says: {narrow}")

# %% [markdown]
# The mean stays where the truth is, and the spread shrinks with $\sqrt{M}$.
#
# **The trick of MCB** (Fukui et al., 2016). We want the sketch of the outer product, *without making the outer
# product*. Let $x_i y_j$ go to place $h_i + h'_j$ (counted round, modulo $M$) with sign $s_i s'_j$. Then the sum over
# all pairs is a *circular convolution* of the two small sketches, and a convolution is a product after a Fourier
# transform:
#
# $$\Psi(x \otimes y) = \Psi(x) * \Psi'(y) = \text{FFT}^{-1}\big(\text{FFT}(\Psi(x)) \circ \text{FFT}(\Psi'(y))\big)$$


# %%
def compact_bilinear(x, y, first, second, size):
    """(B, D) and (B, E) -> (B, M): a sketch of all D · E products, which are never made."""
    spectrum = torch.fft.rfft(sketch(x, *first, size)) * torch.fft.rfft(sketch(y, *second, size))
    return torch.fft.irfft(spectrum, n=size)


M = 512
first, second = draw(D, M, generator), draw(E, M, generator)
compact = compact_bilinear(x, y, first, second, M)

pair_places = (first[0][:, None] + second[0][None, :]) % M  # (D, E): the long way round, for comparison
pair_signs = first[1][:, None] * second[1][None, :]
long_way = sketch(outer.flatten(1), pair_places.flatten(), pair_signs.flatten(), M)
print(f"{D * E:,} products as {M} numbers:", tuple(compact.shape))
print("the same as sketching the outer product:", torch.allclose(compact, long_way, atol=1e-3))

# %% [markdown]
# The library's version, with the places and signs above put into it:

# %%
from course_lib.layers.fusion import CompactBilinear

print(code_of(CompactBilinear.forward))
library = CompactBilinear(D, E, M)
library.index, library.sign, library.other_index, library.other_sign = (
    first[0],
    first[1].float(),
    second[0],
    second[1].float(),
)
print("the same numbers:", torch.allclose(library(x, y), compact, atol=1e-4))

# %%
paper_card("mcb")

# %% [markdown]
# ### Bounding the rank: MLB and its kin
#
# In section 3 a table of rank $K$ was a sum of $K$ products. A bilinear form with a matrix $W_o$ of rank $K$ is the
# same: $W_o = \sum_k u_{ok}\, v_{ok}^\top$, so
#
# $$z_o = x^\top W_o\, y = \sum_{k=1}^{K} (u_{ok} \cdot x)\,(v_{ok} \cdot y)$$
#
# Project both vectors, multiply number by number, add up in groups of $K$. With $K = 1$ this is the *element-wise
# product* (or Hadamard product), written $Ux \circ Vy$, which everybody had used before anybody said what it was.


# %%
def low_rank(x, y, U, V, rank):
    """(B, D) and (B, E) -> (B, O), with U (O · K, D) and V (O · K, E)."""
    products = (x @ U.T) * (y @ V.T)  # (B, O · K)
    return products.view(len(x), -1, rank).sum(dim=2)


from course_lib.layers.fusion import LowRankBilinear

library = LowRankBilinear(D, E, OUT, rank=4)
print(code_of(LowRankBilinear.forward))
z = low_rank(x, y, library.first.weight, library.second.weight, 4)
print("z:", tuple(z.shape), "· the library agrees:", torch.allclose(z, library(x, y), atol=1e-5))
as_bilinear = torch.einsum("bd,ode,be->bo", x, library.matrices(), y)
print("it is a bilinear form whose matrices have rank 4:", torch.allclose(z, as_bilinear, atol=1e-5), end=" ")
print(int(torch.linalg.matrix_rank(library.matrices()[0].detach())))

# %%
paper_card("mlb")

# %% [markdown]
# The plainest of them, one product of two projected vectors, is what the first VQA model used:

# %%
paper_card("vqa")

# %% [markdown]
# What each costs, for vectors of 96 and 128 numbers and 64 results:

# %%
costs = {
    "concatenate": ConcatFusion(D, E, OUT),
    "product": LowRankBilinear(D, E, OUT, rank=1),
    "low rank, K = 4": library,
    "compact bilinear, then linear": nn.Sequential(CompactBilinear(D, E, M), nn.Linear(M, OUT)),
    "all products": layer,
}
for name, module in costs.items():
    print(f"{name:30} {sum(weight.numel() for weight in module.parameters()):9,} numbers to learn")

# %% [markdown]
# ## 5 One steers the other: FiLM
#
# So far the picture was one vector. Keep its regions, and let the question *steer* them: for every channel $c$ it
# gives a factor $\gamma_c$ and an offset $\beta_c$, the same for all regions (Perez et al., 2018: *feature-wise
# linear modulation*).
#
# $$\text{FiLM}(x_{rc}) = \gamma_c(y)\, x_{rc} + \beta_c(y)$$
#
# To see what that is good for, set it by hand. Let the channels of a region be the probabilities that the detector
# gives to its colour and shape. The question is "is there a red star?". Take $\gamma = 1$ for *red* and *star* and 0
# for all the others, $\beta = -0.5$ everywhere, and a ReLU after it:

# %%
with torch.no_grad():
    output = detector.heads(feature_map)
channels = torch.cat([output.attributes[name][0].softmax(dim=0) for name in ("colour", "shape")])  # (16, 8, 8)
seen = torch.stack([channels[:, row, column] for row, column in (one.cell for one in found)])  # (R, 16)
words = [*COLOURS, *SHAPES]


def steer(x, gamma, beta):
    """(B, R, D), steered by (B, D) and (B, D) -> (B, R, D)."""
    return gamma[:, None, :] * x + beta[:, None, :]


asked_for = names[0].split()  # the colour and shape of the first region
gamma = torch.tensor([[float(word in asked_for) for word in words]])
beta = torch.full_like(gamma, -0.5)
steered = torch.relu(steer(seen[None], gamma, beta))[0]
print(f"is there a {names[0]}?", tuple(seen.shape), "->", tuple(steered.shape))
show(fusion.tables({"regions": seen, "steered, ReLU": steered}, names, words))

# %% [markdown]
# Everything that was not asked for is gone, in all regions at once, with one number a channel. Only a region that
# lights up in *both* remaining channels is what was asked for. Before training FiLM does nothing: the library sets
# $\gamma = 1 + \Delta\gamma$ and lets $\Delta\gamma$ and $\beta$ begin at zero, so that at first all passes as it is.

# %%
from course_lib.layers.fusion import FiLM

print(code_of(FiLM.forward))
library = FiLM(width=D, condition_width=E)
region_batch = torch.randn(5, 7, D)  # five pictures of seven regions
print("untrained, it changes nothing:", torch.equal(library(region_batch, y), region_batch))
nn.init.normal_(library.scale_shift.weight, std=0.1)
delta, beta = library.scale_shift(y).chunk(2, dim=1)
print(
    "trained, it is what was written above:",
    torch.allclose(library(region_batch, y), steer(region_batch, 1 + delta, beta), atol=1e-5),
)

# %%
paper_card("film")

# %% [markdown]
# ## 6 They ask each other: attention
#
# ### Cross-attention
#
# FiLM treats all regions alike. *Cross-attention* chooses among them. Every word asks: its query meets the key of
# each region, a softmax over the regions makes weights of that, and the word receives the weighted mean of their
# values (lesson 01, with queries from one set and keys and values from another):
#
# $$a_{tr} = \text{softmax}_r\Big(\frac{(W_q\, y_t) \cdot (W_k\, x_r)}{\sqrt d}\Big), \qquad
# h_t = \sum_{r=1}^{R} a_{tr}\, W_v\, x_r$$
#
# Once more by hand, so that it is plain what a trained one can become. Keys are the same 16 channels; the query of a
# word is 1 in the channel of that word; nothing is learned.


# %%
def ask(queries, keys, values):
    """(T, d), (R, d), (R, e) -> what each word hears (T, e), and its weights (T, R)."""
    weights = (queries @ keys.T / math.sqrt(keys.shape[1])).softmax(dim=1)
    return weights @ values, weights


question_words = question.split()
one_hot = torch.tensor([[20.0 * (word == channel) for channel in words] for word in question_words])  # (T, 16)
centres = (boxes[:, :2] + boxes[:, 2:]) / 2  # (R, 2): the values are where the regions are
heard, weights = ask(one_hot, seen, centres)
print("words x regions:", tuple(weights.shape), "· what each word hears:", tuple(heard.shape))
nouns = [t for t, word in enumerate(question_words) if word in words]
plain = [t for t in (0, 1) if t not in nouns][:1]
shown = [*nouns, *plain]
show(fusion.pointing(drawn, boxes, weights[shown], [question_words[t] for t in shown], title=f"{question}?"))

# %% [markdown]
# A word that names something *points* at it; a word that names nothing looks at everything alike. That is binding by
# attention: the weight of a region is decided by all its channels together, and whatever is then read from it (here:
# its place) belongs to the thing that was meant.

# %% [markdown]
# ### Co-attention
#
# Why should only words ask? The table of scores $S_{tr}$ between words and regions can be read in both ways: a
# softmax along each row tells the words where to look, a softmax along each column tells the regions which words to
# listen to (Lu et al., 2016).

# %%
scores = one_hot @ seen.T / math.sqrt(len(words))  # (T, R)
both = torch.stack([scores.softmax(dim=1), scores.softmax(dim=0)])
titles = ["a word's look at regions", "a region's look at words"]
show(attention.attention_heads(both, question_words, names, titles, digits=2))
print("rows sum to 1:", torch.allclose(both[0].sum(dim=1), torch.ones(len(question_words))), end=" · ")
print("columns sum to 1:", torch.allclose(both[1].sum(dim=0), torch.ones(len(names))))

# %%
paper_card("hie_coatt")

# %% [markdown]
# ViLBERT and LXMERT (2019) put this into transformer blocks: words ask regions while regions ask words, then each set
# attends to itself and passes an MLP. The library's block is that of LXMERT, in which one cross-attention serves both
# directions:

# %%
from course_lib.layers.fusion import CoAttentionBlock, CrossAttentionLayer

print(code_of(CrossAttentionLayer.forward))
print(code_of(CoAttentionBlock.forward))

# %%
from course_lib.viz.diagram import architecture

block = CoAttentionBlock(width=64, heads=4, mlp_width=256)
words_in, regions_in = torch.randn(2, 11, 64), torch.randn(2, 5, 64)
words_out, regions_out = block(words_in, regions_in)
print("words:", tuple(words_out.shape), "regions:", tuple(regions_out.shape))
show(architecture(block, words_in, regions_in))

# %% [markdown]
# **Is what we wrote cross-attention?** Put the layer's own matrices into `ask`, one head at a time:

# %%
layer = CrossAttentionLayer(width=64, heads=4).eval()
with torch.no_grad():
    cross = layer.cross_attention
    query = cross.query(words_in[0]).split(16, dim=1)
    key, value = (part.split(16, dim=1) for part in cross.key_value(regions_in[0]).chunk(2, dim=1))
    heads = [ask(query[h], key[h], value[h])[0] for h in range(4)]
    by_hand = layer.norm(words_in[0] + cross.out(torch.cat(heads, dim=1)))
    print("the same:", torch.allclose(by_hand, layer(words_in, regions_in)[0], atol=1e-5))

# %%
paper_card("vilbert")

# %%
paper_card("lxmert")

# %% [markdown]
# ### Gated cross-attention
#
# And if one of the two is already a good language model, which we would like to keep? Flamingo (Alayrac et al., 2022)
# puts cross-attention *between* the frozen blocks, behind a gate: one learned number $\alpha$, which starts at 0.
#
# $$h \leftarrow h + \tanh(\alpha)\; \text{CrossAttention}(h, x)$$
#
# As $\tanh(0) = 0$, the model says at first exactly what it said before. The gradient with respect to $\alpha$ is not
# zero, though, so the gate opens as soon as there is something to gain.

# %%
paper_card("flamingo")

# %%
from course_lib.layers.fusion import GatedCrossAttentionBlock

print(code_of(GatedCrossAttentionBlock.forward))

# %% [markdown]
# Here is a small Flamingo: the language checkpoint of lesson 03, *frozen*, with a gated block before each of its last
# two layers. It has read thousands of questions with their answers, but has never seen a picture.


# %%
class SmallFlamingo(nn.Module):
    """A frozen GPT-2 whose later layers may listen to regions."""

    def forward(self, input_ids, last, regions):
        """(B, T), the position to answer at (B), (B, R, C) -> logits of the next word (B, V)."""
        states = self.language.token_embedding(input_ids) + self.language.position_embedding[: input_ids.shape[1]]
        first, *rest = self.language.transformer.blocks
        states = first(states, is_causal=True)
        for block, gated in zip(rest, self.gated, strict=True):
            states = block(gated(states, regions), is_causal=True)
        states = self.language.final_norm(states[torch.arange(len(last)), last])
        return F.linear(states, self.language.token_embedding.weight)

    def __init__(self, language, context_width):
        super().__init__()
        self.language = language.requires_grad_(False)
        width = language.config.width
        self.gated = nn.ModuleList(GatedCrossAttentionBlock(width, 4, 2 * width, context_width) for _ in range(2))


# %%
def prompts(part):
    """Questions as the language model knows them: ids (Q, T), where the answer comes (Q), its id (Q)."""
    texts = [f"question : {text} answer :" for text in part.texts(range(len(part)))]
    rows = nn.utils.rnn.pad_sequence(
        [torch.tensor([tokenizer.start_token_id, *tokenizer.encode(t)]) for t in texts], True
    )
    answers = torch.tensor([tokenizer.encode(microworld.ANSWERS[index])[0] for index in part.answers])
    return rows, (rows != 0).sum(dim=1) - 1, answers


colour_questions, colour_test = data.of_type("colour"), test.of_type("colour")
rows, last, answers = prompts(colour_questions)
test_rows, test_last, test_answers = prompts(colour_test)
runtime.seed_everything(0)
flamingo = SmallFlamingo(language_model, context_width=100)
with torch.no_grad():
    before = language_model(test_rows[:64], read=test_last[:64])
    told = flamingo(test_rows[:64], test_last[:64], colour_test.regions[colour_test.scene[:64]])
print("gates shut: exactly the language model:", torch.allclose(before, told, atol=1e-5))
print("numbers to train:", f"{sum(w.numel() for w in flamingo.parameters() if w.requires_grad):,}")

# %%
from course_lib.evaluation.embedding import measuring
from course_lib.training.loop import TrainingConfig, train
from course_lib.viz import curves

opened = []


def answer_loss(model, generator):
    opened.append([torch.tanh(block.attention_gate).item() for block in model.gated])
    some = torch.randint(len(answers), (64,), generator=generator)
    return F.cross_entropy(
        model(rows[some], last[some], colour_questions.regions[colour_questions.scene[some]]), answers[some]
    )


def answers_right(model):
    with measuring(model):
        logits = model(test_rows, test_last, colour_test.regions[colour_test.scene])
    return (logits.argmax(dim=1) == test_answers).double().mean().item()


blind_rate = answers_right(flamingo)
train(flamingo, answer_loss, TrainingConfig(steps=150, learning_rate=3e-3, warmup_steps=10, weight_decay=0.0))
print("colours right with the gates shut:", runtime.measured(blind_rate))
print("after 150 steps                  :", runtime.measured(answers_right(flamingo)))

# %%
paths = {f"gate before layer {number + 2}": path.abs() for number, path in enumerate(torch.tensor(opened).T)}
show(curves.functions(range(len(opened)), {"how far each gate is open": paths}, across="step"))

# %% [markdown]
# The gates leave zero at once and settle where listening pays (the sign of $\tanh\alpha$ means nothing; the drawing
# shows its size). The language model's own weights have not changed by one bit: shut the gates, and it is the old
# one.
#
# ### Beside the reference
#
# Three of these are parts of published systems. With the weights of transformers' modules they give what those give:

# %%
from course_lib.authoring.parity import lesson_04 as parity

for compare in (parity.bilinear_beside_torch, parity.lxmert_beside_transformers, parity.gated_beside_transformers):
    for row in compare():
        print(f"{row.system:25} = {row.reference:46} to 1e-5: {row.max_abs_difference < 1e-5}")

# %% [markdown]
# ## 7 One frame for all of them
#
# To compare fusions, all else has to be the same. The library's models take regions and words and give logits over
# the answers of the microworld. They share the encoders (a linear layer for each region; word vectors, and two layers
# in which every word is joined with its neighbours) and the classifier, and differ only in what stands between. Here
# those in which two vectors meet, with a product; put any other fusion of two vectors in its place:

# %%
from course_lib.layers.fusion import ProductFusion
from course_lib.models import fusion as models

print(code_of(models.PooledVQA.forward))
sizes = recipes.CONFIG
pooled = models.PooledVQA(sizes, ProductFusion(sizes.width, sizes.width, sizes.hidden), sizes.hidden)
sample = data.batch(torch.arange(3))
show(architecture(pooled, *sample, depth=1))

# %% [markdown]
# And those that keep the sets:

# %%
for system in (models.FiLMVQA, models.CrossAttentionVQA, models.CoAttentionVQA):
    print(system.__name__, code_of(system.forward), sep="\n")
film = models.FiLMVQA(sizes)
show(architecture(film, *sample, depth=1))

# %%
from course_lib.models.recipes.fusion import FUSIONS

for name, make in FUSIONS.items():
    model = make(sizes)
    learned = sum(weight.numel() for weight in model.parameters())
    print(f"{name:22} {learned:9,} parameters, logits {tuple(model(*sample).shape)}")

# %% [markdown]
# ## 8 Who can bind?
#
# ### The tasks, chance, and a baseline
#
# Pictures of two things, three kinds of question.
#
# - **Binding**: "what colour is the ring", "what shape is the red thing". A model that knows which *two* colours are
#   there, but not whose they are, is right half of the time.
# - **A spatial relation**: "is the ring left of the red thing". Yes or no, one half each.
#
# And the *baseline* that every such table needs: a model that gets all questions and no picture. It is trained like
# the others, on regions that are all zero.

# %%
results = {}
blind, blind_test = (dataclasses.replace(part, regions=torch.zeros_like(part.regions)) for part in (data, test))
model, _ = recipes.train_fusion("concat", blind, config=recipes.SHORT, mix=recipes.SHORT_MIX)
results["question only"] = recipes.accuracy_by_type(model, blind_test)
print({kind: runtime.measured(share) for kind, share in results["question only"].items()})

# %% [markdown]
# Now four ways of meeting, each with the same data, steps, batches and encoders, in 400 steps:

# %%
trained = {}
for name in ["concat", "product", "FiLM", "cross-attention"]:
    trained[name], _ = recipes.train_fusion(name, data, config=recipes.SHORT, mix=recipes.SHORT_MIX)
    results[name] = recipes.accuracy_by_type(trained[name], test)
shown_results = {name: {kind: rates[kind] for kind in recipes.SHORT_TYPES} for name, rates in results.items()}
show(figures.compare(shown_results, chance=0.5, value="right answers", limits=(0, 1)))
for name, rates in shown_results.items():
    print(f"{name:16}", "  ".join(f"{kind} {runtime.measured(rate)}" for kind, rate in rates.items()))

# %% [markdown]
# Three things are to be seen.
#
# - The baseline is far below one half in colour and shape: the answers cannot be guessed from the questions.
# - Two pooled vectors get a little above one half, whether they are put side by side or multiplied: they know which
#   colours are there and not whose. Section 3 said why: what was added up before it met the question has lost that.
#   FiLM keeps the regions apart, and by hand (section 5) it could bind; in 400 steps it has not found out.
# - Where words ask regions, colours and shapes are bound. And on *left of*, nobody is better than a coin.
#
# **What FiLM has learned to do.** The factors and offsets that its first block gives to the 64 channels, for six
# questions (a row each; white is "leave it as it is"):

# %%
texts = [f"what colour is the {noun}" for noun in ("ring", "star", "large thing")]
texts += [f"what shape is the {name} thing" for name in ("red", "black", "striped")]
asked_ids = nn.utils.rnn.pad_sequence([torch.tensor(recipes.word_tokenizer().encode(text)) for text in texts], True)
with torch.no_grad():
    vectors = trained["FiLM"].question_encoder(asked_ids).vector
    delta, beta = trained["FiLM"].blocks[0].film.scale_shift(vectors).chunk(2, dim=1)
show(fusion.modulation(1 + delta, beta, texts))

# %% [markdown]
# Questions of one kind use the channels alike: what it has learned is to switch between colour and shape. The words
# that name the *thing* change far less, and those are what it would need in order to bind.

# %% [markdown]
# ### All of them, five seeds each
#
# One run is an anecdote. The next figure is from five runs of each fusion, with other first weights and other
# batches, all else the same. It takes half an hour on one core, so it is stored with the course; `python -m
# course_lib.authoring.experiments fusion` makes it again. A dot is a run, the bar their median.

# %%
import json

from course_lib.files import embedded


def stored(name, without="nothing"):
    """Fusion -> {kind of question: rates, one for each seed}, of a stored experiment."""
    found = {}
    for run in json.loads(embedded(f"experiments/{name}.json").read_text(encoding="utf-8"))["runs"]:
        if run["without"] == without:
            rates = found.setdefault(run["fusion"], {})
            for kind in (*microworld.QUESTION_TYPES, "all"):
                if kind in run:
                    rates.setdefault(kind, []).append(run[kind])
    return found


runs = stored("fusion")
five = {name: {kind: runs[name][kind] for kind in recipes.SHORT_TYPES} for name in recipes.FUSIONS}
show(fusion.seeds(five, chance={"spatial": 0.5}, value="right", limits=(-0.03, 1.03)))

# %% [markdown]
# A ranking may be read off only where the spread allows. Say that one fusion is *surely* better than another when its
# worst seed is better than the other's best. How many of the others is each surely better than?


# %%
from statistics import median


def surely_better(results, name, kind):
    """How many fusions stay below this one's worst seed even with their best."""
    return sum(max(other[kind]) < min(results[name][kind]) for other in results.values())


for kind in recipes.SHORT_TYPES:
    print(f"{kind}: median, and how many others it is surely better than")
    for name, rates in five.items():
        beaten = runtime.measured(surely_better(five, name, kind), 0)
        print(f"   {name:22} {runtime.measured(median(rates[kind]))}   {beaten}")

# %% [markdown]
# Read it column by column.
#
# - **Colour and shape.** Everything that met as two vectors lies in one heap a little above one half, products and
#   sketches among it: a product binds question and picture, but the picture had lost its own bindings before. FiLM,
#   the gated block and the joint transformer differ more from seed to seed than from their neighbours, so after 400
#   steps nothing can be said about their order. Words that ask regions stand above all of these in colour, and one
#   model, the last row, above them.
# - *Late fusion* falls below the baseline in colour: its reading half knows that yes and no are frequent answers, its
#   seeing half knows the colours, and an average of two opinions lets neither correct the other.
# - **Spatial questions.** One heap at one half, and again the last row alone outside it. That row is the subject of
#   the next section.

# %% [markdown]
# ## 9 Left and right
#
# *Is the red circle left of the green heart?* That needs no more than section 6 had: point at the one thing, point at
# the other, compare two numbers. Here it is by hand, with nothing trained but the detector:

# %%
SIDES = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "above": (0.0, -1.0), "below": (0.0, 1.0)}
NAMED = [*COLOURS, *SHAPES, *microworld.SIZES, *microworld.MATERIALS]


def place_of(phrase, channels, centres):
    """Where the thing is that a phrase names: all its words ask together, and what they hear is a place (2,)."""
    asks = torch.tensor([[30.0 * (word in phrase) for word in NAMED]])
    return ask(asks, channels, centres)[0][0]


def is_it_so(text, channels, centres):
    """Answers "is the A left of the B": two hops, and a comparison."""
    tokens = text.split()
    middle = next(t for t, word in enumerate(tokens) if word in SIDES)
    first, second = (place_of(part, channels, centres) for part in (tokens[:middle], tokens[middle:]))
    return "yes" if (first - second) @ torch.tensor(SIDES[tokens[middle]]) > 0 else "no"


# %%
about_sides = [a for a in asked if a.question.type == "spatial"][:400]
with torch.no_grad():
    output = detector(pixel_values(microworld.render([scenes[a.scene] for a in about_sides])))
found_in_each = detections(output, threshold=0.01)
named = torch.cat([output.attributes[name].softmax(dim=1) for name in ("colour", "shape", "size", "material")], dim=1)
right = 0
for index, (a, ones) in enumerate(zip(about_sides, found_in_each, strict=True)):
    channels = torch.stack([named[index, :, row, column] for row, column in (one.cell for one in ones)])
    corners = torch.tensor([one.box for one in ones])
    right += is_it_so(a.question.text, channels, (corners[:, :2] + corners[:, 2:]) / 2) == a.question.answer
by_hand = right / len(about_sides)
print(f"right: {runtime.measured(by_hand)} · at least 0.97: {by_hand >= 0.97} (chance: 0.5)")

# %% [markdown]
# **So the answer is there.** Regions and words hold all that is needed, and a dozen lines of attention get it out. A
# transformer can certainly express those lines. Something keeps training from *finding* them. What?
#
# Three suspects follow. Before each, think: *what would a network have to hear to begin to learn this?*
#
# ### Suspect one: the coordinates are too quiet
#
# A region is 100 numbers, and every network begins with sums over all of them. How much of what comes out of a fresh
# linear layer is due to *where* the region is?


# %%
def share_of_place(regions, loudness=1.0):
    """How much of the variance behind a fresh linear layer is due to x and y (numbers 96 and 97)."""
    runtime.seed_everything(0)
    weight = nn.Linear(100, 64).weight.detach()
    louder = regions.clone()
    louder[:, 96:98] *= loudness
    whole, place = (louder @ weight.T).var(dim=0).sum(), (louder[:, 96:98] @ weight[:, 96:98].T).var(dim=0).sum()
    return (place / whole).item()


standardised = data.regions[data.region_mask]  # (all regions, 100)
raw = standardised * recipes.standard()[1]
shares = {
    "as the detector gives them": share_of_place(raw),
    "each number standardised": share_of_place(standardised),
    "and x, y five times as loud": share_of_place(standardised, 5.0),
}
show(figures.bars(shares, value="share of x and y in what a fresh layer gives", limits=(0, 1), digits=4))
print("standardised, the share is about 2 in 100:", 0.01 < shares["each number standardised"] < 0.04)

# %% [markdown]
# As they come, features have a spread of about 2 and coordinates one of 0.2: in what the first layer gives, the place
# is two parts in ten thousand. Standardised, it is two numbers of a hundred. The gradient that would teach a network
# to compare places has to be heard through all the rest. This is why position is so often *added at a scale of its
# own*: the sinusoids of lesson 01 are as large as the word vectors, and LXMERT normalises features and boxes
# separately before it adds them.
#
# ### Suspect two: nobody hears the order of words
#
# These two questions have the same words and, of any picture, opposite answers:

# %%
pair = ["is the red circle left of the green heart", "is the green heart left of the red circle"]
ids = torch.tensor([recipes.word_tokenizer().encode(text) for text in pair])
runtime.seed_everything(0)
with torch.no_grad():
    for name, window in [("each word by itself", 1), ("each word among its neighbours", 5)]:
        vectors = models.QuestionEncoder(dataclasses.replace(sizes, window=window))(ids).vector
        same = torch.allclose(vectors[0], vectors[1], atol=1e-5)
        print(f"{name:31} the mean of the two questions is the same: {same}")

# %% [markdown]
# A bag of words cannot tell them apart. A transformer is told the order by *position vectors* that are added to the
# words, and BERT's custom is to start these at a spread of 0.02. There the words are as small; beside words of spread
# 1, positions are a whisper. Here is how much the logits of a fresh joint transformer (section 10) change when the
# two things change places:

# %%
some_regions, some_mask = data.regions[:1].expand(2, -1, -1), data.region_mask[:1].expand(2, -1)
changes = {}
for std in (0.02, 0.1, 0.5, 1.0):
    runtime.seed_everything(0)
    joint = models.JointTransformerVQA(dataclasses.replace(sizes, position_std=std)).eval()
    with torch.no_grad():
        logits = joint(some_regions, some_mask, ids)
    changes[std] = ((logits[0] - logits[1]).norm() / logits[0].norm()).item()
show(
    figures.lines(
        list(changes),
        {"joint transformer, untrained": list(changes.values())},
        across="spread of the position vectors",
        value="change of the logits",
        log=True,
    )
)
print("ten times as much at spread 1 as at 0.02:", changes[1.0] > 10 * changes[0.02])

# %% [markdown]
# ### Suspect three: there is too little to learn it from
#
# Of all the questions that can be asked about scenes of the microworld one in ten is spatial, and before a network
# can point, "left of" is a coin toss from which there is nothing to learn. In our task of two things these questions
# get half of every batch.
#
# ### A model that has all three
#
# The **pointer model** is section 6 and the program above, with everything in it learned. It reads the question with
# each word joined to its neighbours, and uses that to choose *words*: eight attentions over the words, each of which
# reads the plain word vectors ("red", "circle"), not the states that have seen the whole question. What was read
# *points* at regions: four pointers choose one region (softmax), four choose as many as fit (sigmoid, for counting).
# A pointer brings back what the region is and, five times as loud as the other numbers, where it is. An MLP compares.
#
# $$w_k = \sum_t \text{softmax}_t(c_k \cdot h_t)\; e_t, \qquad
# a_{kr} = \text{softmax}_r\Big(\frac{(Q w_k)\cdot(K x_r)}{\sqrt d}\Big), \qquad
# v_k = \sum_r a_{kr}\,[\,V x_r;\; 5\,(x, y)_r\,]$$
#
# with $e_t$ the vector of word $t$ and $h_t$ its state among its neighbours. The idea of reading words first and
# regions with what was read is from MAC (which takes twelve such steps one after the other):

# %%
paper_card("mac")

# %%
from course_lib.models.pointer_vqa import PointerVQA

print(code_of(PointerVQA.forward))
show(architecture(PointerVQA(sizes), *sample, depth=1))

# %% [markdown]
# Trained like the others, from answers alone. Nobody tells it what to point at:

# %%
from course_lib.viz.live import LiveCurve

with LiveCurve("pointers", total=recipes.SHORT.steps) as live:
    pointers, history = recipes.train_fusion(
        "pointers", data, config=recipes.SHORT, mix=recipes.SHORT_MIX, on_step=live.update
    )
results["pointers"] = recipes.accuracy_by_type(pointers, test)
print({kind: runtime.measured(share) for kind, share in results["pointers"].items()})
print("spatial at least 0.6:", results["pointers"]["spatial"] >= 0.6, "(chance: 0.5)")

# %% [markdown]
# No longer a coin toss. What does it do? Below a test question, above the words that four of its pointers read, and
# beneath where each then points:

# %%
row = next(row for row in range(len(test)) if test.types[row] == 6 and test.region_mask[test.scene[row]].sum() == 2)
with torch.no_grad():
    reads, points = pointers.attention(*test.batch(torch.tensor([row])))
asked_words = test.texts([row])[0].split()
seen_scene = microworld.sample_scenes(1_000, 5, "test", 2, 2)[test.scene[row]]
mean, deviation = recipes.standard()
x, y, size, _ = (test.regions[test.scene[row]] * deviation + mean)[:2, 96:].T
where = torch.stack([x - size / 2, y - size / 2, x + size / 2, y + size / 2], dim=1)  # (2, 4)
show(
    fusion.hops(
        microworld.render([seen_scene], 160)[0],
        where,
        asked_words,
        reads[0, :4, : len(asked_words)],
        points[0, :4, :2],
        title=f"{' '.join(asked_words)}? {microworld.ANSWERS[test.answers[row]]}",
    )
)

# %% [markdown]
# ### Take the ingredients away, one at a time
#
# Three suspects, three experiments: the same model, data, steps and seed, with one thing missing. **Predict before
# you run the cell**: which of them does binding need, and which does *left of* need?

# %%
taken = {"nothing": results["pointers"]}
for name, change in recipes.ABLATIONS.items():
    if change:
        model, _ = recipes.train_fusion("pointers", data, config=recipes.SHORT, **{"mix": recipes.SHORT_MIX} | change)
        taken[name] = recipes.accuracy_by_type(model, test)
taken = {name: {kind: rates[kind] for kind in recipes.SHORT_TYPES} for name, rates in taken.items()}
show(figures.compare(taken, chance=0.5, value="right answers", limits=(0, 1.03), title="What was taken away"))
for name, rates in taken.items():
    print(f"{name:22}", "  ".join(f"{kind} {runtime.measured(rate)}" for kind, rate in rates.items()))

# %% [markdown]
# Each of the three, taken away alone, puts *left of* back to a coin toss, and colours and shapes do not notice. That
# is why the fault is so hard to find: whoever adds one ingredient to a model that lacks two sees nothing happen. And
# there is a fourth that one would not suspect, in the other direction:

# %%
alone = data.of_type("spatial")
model, _ = recipes.train_fusion("pointers", alone, config=recipes.SHORT, mix={})
only = recipes.accuracy_by_type(model, test.of_type("spatial"))
print("trained on nothing but relations:", runtime.measured(only["spatial"]), "(chance: 0.5)")

# %% [markdown]
# With *nothing but* relations it does not learn relations. Asking for colours and shapes is what teaches it to point,
# and only what points can compare. An easy task that needs the first half of the computation is the best teacher of
# the hard one.

# %% [markdown]
# ### The full task
#
# The same model, half as wide again, on all eight kinds of question about one to four things: 1,500 steps of 256
# questions, over a minute on one core of its own. What it reached is stored; set `everything = True` to see for
# yourself.

# %%
for kind, rates in stored("fusion_full")["pointers"].items():
    enough = median(rates) >= {"comparison": 0.95}.get(kind, 0.97)
    print(
        f"{kind:11} {runtime.measured(median(rates))}   as good as asked (0.95 in comparison, 0.97 elsewhere): {enough}"
    )

# %%
everything = False
if everything:
    many, many_test = recipes.question_data(), recipes.question_data(3_000, seed=5, split="test")
    whole, _ = recipes.train_fusion("pointers", many, config=recipes.FULL, sizes=recipes.WIDE)
    for kind, rate in recipes.accuracy_by_type(whole, many_test).items():
        print(f"{kind:11} {runtime.measured(rate)}")

# %% [markdown]
# ## 10 And a plain joint transformer?
#
# The fusion of today is the plainest of all: put words and regions into *one* sequence and let a transformer read it.
# It can express pointing (its heads are pointers). Given all three ingredients, loud coordinates, loud positions and
# half a batch of relations, does it find it, in the same 400 steps?

# %%
print(code_of(models.JointTransformerVQA.forward))
joint, _ = recipes.train_fusion("joint transformer", data, config=recipes.SHORT, mix=recipes.SHORT_MIX)
results["joint transformer"] = recipes.accuracy_by_type(joint, test)
print({kind: runtime.measured(rate) for kind, rate in results["joint transformer"].items()})

# %% [markdown]
# It does not: the three are necessary, not sufficient. In this budget it has not even learned to bind colours, and
# what cannot point cannot compare. Perhaps it only needs *more*? So it got three times the pictures and ten times the
# steps, and then, one at a time, whatever might help it. These runs take twelve minutes, so they were made beforehand,
# by `python -m course_lib.authoring.experiments fusion_joint`:

# %%
tries = json.loads(embedded("experiments/fusion_joint.json").read_text(encoding="utf-8"))
for row in tries["runs"]:
    rates = [f"{kind} {runtime.measured(row[kind])}" for kind in recipes.SHORT_TYPES]
    print(f"changed: {row['changed']:20}", "   ".join(rates))
print("every one binds:", all(row["colour"] > 0.95 for row in tries["runs"]))
print("one relates:", any(row["spatial"] > 0.6 for row in tries["runs"]))

# %% [markdown]
# With enough steps it does learn to point: colours and shapes are all but solved. Relations stay at a coin toss, with
# quieter positions or louder coordinates, four fifths of a batch of relations, twice the layers, or thirty times the
# steps. None of it brought a plain joint transformer there; that is what was tried, not a proof that nothing can.
#
# The pointer model has a head start that no data gave it: it *must* read single words, it *must* look for what it
# read, and the place comes back untouched by any further layer. Such a built-in preference is called an *inductive
# bias*. Large joint transformers learn from very many more examples and steps; what an architecture does not bring
# along, data has to teach.
#
# ## 11 Break it
#
# A high score says that a model is right, not why. Whoever can change the *input* can ask. Three changes to the test
# set; the pointer model stays as it is. What should each do to the three kinds of question?


# %%
def spoiled(regions=None, input_ids=None):
    """The test set with other regions or words; what the model then says to the questions."""
    changed = dataclasses.replace(
        test,
        regions=test.regions if regions is None else regions,
        input_ids=test.input_ids if input_ids is None else input_ids,
    )
    return {kind: rate for kind, rate in recipes.accuracy_by_type(pointers, changed).items() if kind != "all"}


no_place = test.regions.clone()
no_place[..., 96:98] = 0
mirrored = test.regions.clone()
mirrored[..., 96:98] *= -1
words_mixed = test.input_ids.clone()
generator = torch.Generator().manual_seed(0)
for row_ids in words_mixed:
    length = int((row_ids != 0).sum())
    row_ids[:length] = row_ids[torch.randperm(length, generator=generator)]
broken = {
    "as it was": spoiled(),
    "no coordinates": spoiled(no_place),
    "x and y reversed": spoiled(mirrored),
    "words shuffled": spoiled(input_ids=words_mixed),
}
show(figures.compare(broken, chance=0.5, value="right answers", limits=(0, 1)))
for name, rates in broken.items():
    print(f"{name:17}", "  ".join(f"{kind} {runtime.measured(rate)}" for kind, rate in rates.items()))
print("reversed, it mostly says the opposite:", broken["x and y reversed"]["spatial"] < 0.4)

# %% [markdown]
# Without coordinates *left of* is a coin toss and colours are as before. With x and y reversed, it is *wrong* nearly
# every time: it does use the place, and in the way we think. (A model at chance would have stayed at chance.)
# Shuffled words hurt all three: which word to read it has learned from the words beside it, and of two things that
# were named it can no longer know which came first.

# %% [markdown]
# ## 12 At full scale
#
# LXMERT's five cross-modality layers are five of our co-attention blocks. With a GPU and a network, this section
# loads LXMERT as its authors published it (210 million parameters); elsewhere it finds a *stand-in* under that name,
# tiny and with random weights, which proves that the code runs and means nothing. The weights of its layers go into
# our blocks, and both get the same words and regions.

# %%
import torch
from transformers import LxmertModel
from transformers.utils import logging as transformers_logging

from course_lib import runtime
from course_lib.authoring import stand_ins
from course_lib.authoring.parity.lesson_04 import copy_co_attention
from course_lib.layers.fusion import CoAttentionBlock

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()
if not runtime.downloads():
    stand_ins.serve(stand_ins.lxmert)
lxmert = LxmertModel.from_pretrained("unc-nlp/lxmert-base-uncased").eval()
config = lxmert.config
layers = lxmert.encoder.x_layers
blocks = [CoAttentionBlock(config.hidden_size, config.num_attention_heads, config.intermediate_size) for _ in layers]
for ours, theirs in zip(blocks, layers, strict=True):
    copy_co_attention(ours.eval(), theirs)
print(len(blocks), "blocks")

# %%
entered = []
layers[0].register_forward_hook(lambda layer, given, result: entered.extend((given[0], given[2])))
runtime.seed_everything(0)
token_ids = torch.randint(1, 200, (2, 9))
features, corners = torch.randn(2, 36, config.visual_feat_dim), torch.rand(2, 36, 4)
with torch.no_grad():
    expected = lxmert(input_ids=token_ids, visual_feats=features, visual_pos=corners)
    states = entered
    for block in blocks:
        states = block(*states)
print("words:", tuple(states[0].shape[:2]), "regions:", tuple(states[1].shape[:2]))
print("words equal to transformers to 1e-3:", bool((states[0] - expected.language_output).abs().max() < 1e-3))
print("regions equal to transformers to 1e-3:", bool((states[1] - expected.vision_output).abs().max() < 1e-3))

# %% [markdown]
# LXMERT wants regions of a certain Faster R-CNN, 36 vectors of 2,048 numbers a picture, which no library carries any
# more; so here it hears noise. That was the price of region features, and the reason why today's models read the
# tokens of a ViT. Lesson 09 builds LXMERT whole and trains it on our own regions.
#
# ## 13 Looking back
#
# | | |
# |---|---|
# | concatenation, sum | $W[x;y] = Ux + Vy$; cannot bind |
# | late fusion | $\frac12 (p_x + p_y)$; cannot bind |
# | bilinear form | $z_o = x^\top W_o\, y$; $D \cdot E \cdot O$ weights |
# | low rank | $z_o = \sum_k (u_{ok}\cdot x)(v_{ok}\cdot y)$; $K O (D + E)$ weights |
# | count sketch | $\Psi(x)_m = \sum_{i: h_i = m} s_i x_i$; inner products right on average |
# | compact bilinear | $\Psi(x \otimes y) = \text{FFT}^{-1}(\text{FFT}\,\Psi(x) \circ \text{FFT}\,\Psi'(y))$ |
# | FiLM | $\gamma(y) \circ x_r + \beta(y)$ |
# | cross-attention | $\sum_r \text{softmax}_r(q_t \cdot k_r / \sqrt d)\, v_r$ |
# | gate | $h + \tanh(\alpha)\, f(h, x)$, $\alpha = 0$ at first |
#
# - A sum never binds; a product does; a sum with a nonlinearity after it can, if it finds out.
# - What is added up before it is multiplied has lost whose was what. Keep the set until the words have asked.
# - A network can hold all the information, be able to express the solution, and still stay at chance.
# - For relations three things had to be there at once: places loud enough to hear, word order, and enough relation
#   questions, among easier ones that teach to point.
# - Ablate one thing at a time from what works; adding one thing at a time to what does not shows nothing.
#
# Thirteen quick questions, answers folded:

# %%
from course_lib.practice.quiz import show_interview, show_quiz

show_quiz("04")

# %% [markdown]
# And those an interviewer may ask:

# %%
show_interview("04")

# %% [markdown]
# **Now build it yourself:** the exercises are in [`exercises/04_fusion.ipynb`](../exercises/04_fusion.ipynb): seven
# of them, about 95 minutes, from a sketch to a model that has to bind. Each answer is checked at once.
