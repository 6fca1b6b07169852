# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["course-header"] extra="search"
# # 07 · Retrieval: finding the picture
#
# **Time.** About 100 minutes of reading and trying. All cells together run in two to three minutes on two CPU cores.
#
# **You should know** how CLIP puts pictures and words into one space (lesson 06), what a contrastive loss and a hard
# negative are (lesson 05), and how the pointer model of lesson 04 lets words look at regions. Everything else is
# explained here.
#
# **Afterwards you can**
#
# - measure a search: Recall@K, median rank, MRR, mAP, nDCG, with ties, by the protocols of Flickr30k and COCO;
# - train VSE++ and say when its hardest negatives help and when they stall;
# - mine hard negatives, train a re-ranker on them, and say what each stage can and cannot repair;
# - explain cells (IVF), graphs (HNSW) and product quantisation (PQ), and choose among them with numbers;
# - build a search engine over pictures that takes words, a picture, or both.

# %% [markdown]
# ## 1 Ask for a picture
#
# A gallery of two thousand pictures, each encoded once by the course's CLIP. A query is encoded too, and the nearest
# pictures are the answer. That is a search engine, and here it is:

# %%
import dataclasses
import math
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F

from course_lib import runtime
from course_lib.data import microworld
from course_lib.models.clip import CLIP
from course_lib.models.recipes.inputs import pixel_values, word_tokenizer
from course_lib.models.visual_search import VisualSearch
from course_lib.pretrained import course
from course_lib.viz import figures
from course_lib.viz.style import show

runtime.seed_everything(7)
words = word_tokenizer()
clip = CLIP.from_weights(*course.load("clip")[:2])
scenes = microworld.sample_scenes(2_000, seed=7, split="test")
gallery = torch.from_numpy(microworld.render(scenes))
engine = VisualSearch(clip, words, pixel_values)
engine.add(gallery)
print("pictures in the gallery:", len(engine.index), "· numbers a picture:", engine.index.dimension)


# %%
def ask(text=None, picture=None, k=6, text_share=0.5):
    """Shows the k pictures that the engine finds, the best first."""
    hits = engine.search(text, picture, k, text_share)
    large = microworld.render([scenes[hit.id] for hit in hits], 128)
    titles = [f"{place}. cosine {hit.score:.2f}" for place, hit in enumerate(hits, start=1)]
    asked = " and ".join(part for part in (text, "like the picture" if picture is not None else "") if part)
    show(figures.image_grid(large, titles, columns=k, title=asked))


ask("a purple heart")

# %% [markdown]
# Nobody labelled a picture. Now ask for something that can be said with the same words in two ways:

# %%
ask("a green cross and a yellow heart")
ask("a yellow cross and a green heart")

# %% [markdown]
# The two sentences get nearly the same answers. **The question of this lesson:** how good is such a search, how do we
# know, how is it made better where it fails, and how is it kept fast when the gallery holds not two thousand pictures
# but a million?
#
# The plan: measures first (sections 2 and 3), then training with hard negatives (4 to 6) and a second stage that reads
# picture and sentence together (7 and 8), then speed (9 to 12), and at the end a search engine made of all of it (13).

# %% [markdown]
# ## 2 What a ranked list is worth
#
# A *query* $q$ is answered by all $N$ candidates in the order of their scores. Some of them are *right* (also:
# relevant, positive). All measures look only at the **places** of the right ones, counted from 1. Here are three
# queries with the first eight places of their lists:

# %%
from course_lib.viz import search as search_figures

lists = {
    "query A": [True, False, False, False, False, False, False, False],
    "query B": [False, True, False, True, False, False, True, False],
    "query C": [False, False, False, False, False, True, False, False],
}
show(search_figures.ranked_lists(lists, title="Where the right answers stand"))

# %% [markdown]
# Let $p_1 < p_2 < \dots < p_R$ be the places of a query's $R$ right candidates.
#
# | measure | of one query | asks |
# |---|---|---|
# | Recall@K (R@K) | 1 if $p_1 \le K$, else 0 | is there a right one on the first page? |
# | rank | $p_1$ | how far must I scroll? (reported as the median or the mean over queries) |
# | reciprocal rank (RR) | $1 / p_1$ | the same; place 1 or 2 matters, 50 or 60 does not |
# | average precision (AP) | $\frac1R \sum_{i=1}^{R} \frac{i}{p_i}$ | how pure is the list down to each right one? |
# | nDCG | $\sum_i \frac{1}{\log_2(1 + p_i)} \Big/ \sum_{i=1}^{R} \frac{1}{\log_2(1 + i)}$ | how near the best order? |
#
# The mean over queries of RR is the **MRR**, that of AP the **mAP**. In code, from the list of places:


# %%
def by_hand(marks):
    """All measures of one query, from whether the answer at each place is right."""
    p = [place for place, right in enumerate(marks, start=1) if right]
    best = sum(1 / math.log2(1 + i) for i in range(1, len(p) + 1))
    return {
        "R@1": float(p[0] <= 1),
        "R@5": float(p[0] <= 5),
        "rank": p[0],
        "RR": 1 / p[0],
        "AP": sum(i / place for i, place in enumerate(p, start=1)) / len(p),
        "nDCG": sum(1 / math.log2(1 + place) for place in p) / best,
    }


for name, marks in lists.items():
    print(name, "  ".join(f"{measure} {value:.3f}" for measure, value in by_hand(marks).items()))

# %% [markdown]
# Query B shows where they differ. R@5 calls it a full success, AP does not: two of its three right answers come late.
#
# ### Places without sorting
#
# The place of a right candidate is one plus the number of candidates that stand before it. Nothing has to be sorted: it
# is enough to *count* the scores that are higher. The library does that, for a whole matrix of queries by candidates:

# %%
from course_lib.evaluation import retrieval
from course_lib.viz.code import code_of

print(code_of(retrieval._count_at_least))
print(code_of(retrieval._average_precision))

# %%
scores = torch.tensor([[9, 8, 7, 6, 5, 4, 3, 2.0]]).expand(3, -1)  # the three lists as scores, the best first
right = torch.tensor(list(lists.values()))
print("places:", retrieval.places(scores, right).tolist(), "(0 fills up)")
mean = {name: sum(by_hand(marks)[name] for marks in lists.values()) / 3 for name in ("RR", "AP", "nDCG")}
print("MRR  equals the mean by hand:", math.isclose(retrieval.mean_reciprocal_rank(scores, right), mean["RR"]))
print("mAP  equals the mean by hand:", math.isclose(retrieval.mean_average_precision(scores, right), mean["AP"]))
print("nDCG equals the mean by hand:", math.isclose(retrieval.ndcg(scores, right), mean["nDCG"]))

# %% [markdown]
# And beside `torchmetrics`, the measures that most projects use, on random scores:

# %%
from course_lib.authoring.parity.lesson_07 import measures_beside_torchmetrics

for row in measures_beside_torchmetrics(queries=40, candidates=200):
    print(f"{row.system:16} {row.reference:38} equal to 1e-6: {row.holds}")

# %% [markdown]
# **Two names, two things.** What papers on vision and language call Recall@K, `torchmetrics` calls the *hit rate*. Its
# `RetrievalRecall` is the recall of the textbooks, the *share* of the right candidates that was found
# (`retrieval.share_found` here). With one right answer a query they are the same, with five captions they are not.
#
# ### Ties
#
# A model that gives every candidate the same score has learned nothing. What is its R@1? If the right candidate happens
# to come first in memory, a sort that keeps the order says 1. **Our rule: among equal scores the wrong candidates stand
# first.** A constant model is then the worst there is, wherever the right candidate lies:

# %%
from torchmetrics.functional.retrieval import retrieval_reciprocal_rank

constant, target = torch.full((100,), 0.5), torch.zeros(100, dtype=torch.long)
target[0] = 1
ours = retrieval.mean_reciprocal_rank(constant[None], target[None].bool())
luck = [retrieval_reciprocal_rank(constant, target.roll(place)).item() for place in range(100)]
print("a constant model, one right answer among 100:")
print(f"  ours: {ours:.2f} wherever the right one lies · torchmetrics: as high as 1/1 somewhere: {max(luck) == 1}")

# %% [markdown]
# Ties are no rarity: half precision, quantised vectors and captions that occur twice all make them. There is a second
# trap in `torchmetrics`: it takes a right candidate with a score of 0 or less for wrong, because it expects
# probabilities. Cosines can be negative, so give it $(1 + \cos) / 2$.

# %%
negative, one_right = torch.tensor([-0.1, -0.2, -0.3]), torch.tensor([1, 0, 0])
print("the right one is first, with a cosine of -0.1")
print("  torchmetrics:", retrieval_reciprocal_rank(negative, one_right).item())
print("  torchmetrics on (1 + cosine) / 2:", retrieval_reciprocal_rank((1 + negative) / 2, one_right).item())
print("  ours:", retrieval.mean_reciprocal_rank(negative[None], one_right[None].bool()))

# %% [markdown]
# ## 3 Protocols: what "R@1 = 58.4" means
#
# A recall says little without its gallery. Among 5,000 pictures the right one is harder to find than among 1,000, and
# one of five right captions is easier to find than the only one. The field agreed on three set-ups:

# %%
from course_lib.viz.papers import paper_card

paper_card("karpathy")

# %% [markdown]
# | protocol | pictures | captions | how |
# |---|---|---|---|
# | Flickr30k 1K | 1,000 | 5,000 | one gallery |
# | COCO 5K | 5,000 | 25,000 | one gallery |
# | COCO 1K | 5,000 | 25,000 | five galleries of 1,000 pictures, the mean of the five |
#
# *Picture to text*: a picture has succeeded when **any** of its five captions is among the first K of all captions.
# *Text to picture*: every caption is a query of its own, and one picture is right. The sum of R@1, R@5 and R@10 of both
# directions, in percent, is called **rsum**. Written out for a matrix of `(pictures, 5 * pictures)`:


# %%
def flickr_recall(similarity, k):
    """R@k of pictures to texts and of texts to pictures; captions 5 i to 5 i + 4 belong to picture i."""
    pictures, texts = similarity.shape
    owner = torch.arange(texts) // 5
    first_captions = owner[similarity.topk(k, dim=1).indices]  # (pictures, k): whose captions stand first
    picture_found = (first_captions == torch.arange(pictures)[:, None]).any(dim=1)
    first_pictures = similarity.topk(k, dim=0).indices  # (k, texts)
    text_found = (first_pictures == owner).any(dim=0)
    return picture_found.double().mean().item(), text_found.double().mean().item()


# %% [markdown]
# The microworld has five captions a picture too. A thousand test pictures, by the protocol of Flickr30k:

# %%
from course_lib.evaluation.embedding import embed_texts
from course_lib.evaluation.protocols import COCO_1K, COCO_5K, FLICKR30K, Protocol, five_captions

pictures = engine.embed(gallery[:1_000])  # (1000, D)
sentences = five_captions([microworld.captions(scene) for scene in scenes[:1_000]])
texts = embed_texts(clip, words(sentences))  # (5000, D)
similarity = pictures @ texts.T
found = FLICKR30K(similarity)
for way in ("image_to_text", "text_to_image"):
    print(way, "  ".join(f"{name} {runtime.measured(value)}" for name, value in found[way].items()))
apart = [abs(a - found[way]["R@5"]) for way, a in zip(list(found)[:2], flickr_recall(similarity, 5), strict=True)]
print("the function above says the same at K = 5, to 0.005:", max(apart) < 0.005)
print("captions that another picture has word for word:", 5_000 - len(set(sentences)))

# %% [markdown]
# (To 0.005 and not exactly: some captions occur twice, their scores are equal, and our rule for ties is stricter than
# `topk`.) The first caption tells everything, the other four tell less, so pictures find one of theirs nearly always,
# and many captions do not find their picture. Now the same scores as five galleries of 200, which is how COCO 1K
# treats the pictures of COCO 5K:

# %%
five_folds = Protocol("five times 200", pictures=1_000, folds=5)(similarity)
print("COCO's sizes:", COCO_5K.pictures, "in one gallery, or in", COCO_1K.folds, "parts")
for name, result in [("one gallery of 1,000", found), ("five galleries of 200", five_folds)]:
    recall = runtime.measured(result["text_to_image"]["R@1"])
    print(f"{name:22} text to picture R@1 {recall}   rsum {runtime.measured(result['both']['rsum'], 1)}")
print("the smaller gallery looks better:", five_folds["both"]["rsum"] > found["both"]["rsum"] + 20)

# %% [markdown]
# The same model, the same pictures, and a number far higher. Never compare a 1K with a 5K number.
#
# **Right answers that count as wrong.** The protocol knows one right picture for each caption. In the microworld a
# program can read a caption and tell whether it is true of a picture, so we can ask: of the captions that "failed" at
# R@1, how many got a picture of which they *are* true?

# %%
from course_lib.data.microworld.reading import is_true

first = similarity.argmax(dim=0)  # the picture that each caption found
owners = torch.arange(5_000) // 5
for kind, name in enumerate(["complete", "relation", "counting", "places", "short"]):
    rows = [t for t in range(kind, 5_000, 5) if first[t] != owners[t]]
    true = sum(is_true(sentences[t], scenes[first[t]]) for t in rows)
    share = runtime.measured(true / max(1, len(rows)), 2)
    print(f"{name:9} failed {runtime.measured(len(rows) / 1_000, 2)} of all; of these the caption was true: {share}")

# %% [markdown]
# Of the short captions that "failed", most are true of the picture that they found: nothing failed but the protocol.
# (Counting captions are another matter: CLIP counts badly.) Real captions are like that ("a man riding a wave"), which
# is why COCO has been annotated again (ECCV Caption, CxC), and why degrees of relevance are worth having. nDCG takes
# them: let a candidate be worth 2 if it is the caption's own picture, 1 if the caption is true of it, and 0 otherwise.

# %%
asked = list(range(4, 5_000, 25))  # the short captions of every fifth picture
worth = torch.tensor([[is_true(sentences[t], scene) for scene in scenes[:1_000]] for t in asked]).long()
worth[torch.arange(len(asked)), owners[asked]] = 2
queries = similarity.T[asked]
print("pictures of which a caption is true, on average:", f"{(worth > 0).sum(dim=1).double().mean():.1f}")
print("R@1 with one right picture:", runtime.measured(retrieval.recall_at_k(queries, 1, worth == 2)))
print("R@1 with all of which it is true:", runtime.measured(retrieval.recall_at_k(queries, 1, worth > 0)))
print("nDCG@10 with degrees:", runtime.measured(retrieval.ndcg(queries, worth, k=10)))

# %% [markdown]
# ## 4 VSE++: only the hardest one counts
#
# Before CLIP, joint spaces were trained by *ranking losses*, and one of them is still the best introduction to what
# this lesson is about.

# %%
paper_card("vse_pp")

# %% [markdown]
# Let $S$ be the cosines of a batch, $S_{ij}$ of picture $i$ and text $j$, and $\alpha$ the margin. The loss that was
# usual before (VSE0) adds up every negative that comes too near; VSE++ takes only the nearest:
#
# $$\ell_{\text{sum}} = \sum_{j \ne i} [\alpha + S_{ij} - S_{ii}]_+ \qquad \ell_{\max} = \max_{j \ne i}\, [\alpha +
# S_{ij} - S_{ii}]_+ \qquad [t]_+ = \max(t, 0)$$
#
# for pictures, and the same over columns for texts.


# %%
def hinges(similarity, margin=0.2):
    """What each negative costs: (N, N) for the pictures (rows) and for the texts (columns)."""
    own = similarity.diagonal()
    off = 1 - torch.eye(len(similarity))
    return (margin + similarity - own[:, None]).relu() * off, (margin + similarity - own[None, :]).relu() * off


def vse_sum(similarity):
    for_pictures, for_texts = hinges(similarity)
    return (for_pictures + for_texts).sum() / len(similarity)


def vse_max(similarity):
    for_pictures, for_texts = hinges(similarity)
    return (for_pictures.amax(dim=1) + for_texts.amax(dim=0)).mean()


# %%
from course_lib.losses.ranking import hardest_negative_loss, hinge_sum_loss

example = torch.randn(8, 8, generator=torch.Generator().manual_seed(0)) / 3
print("sum of hinges equals the library's:", torch.allclose(vse_sum(example), hinge_sum_loss(example)))
print("max of hinges equals the library's:", torch.allclose(vse_max(example), hardest_negative_loss(example)))

# %% [markdown]
# Why it matters: a list with one wrong answer just above the right one, or with twenty wrong ones just below it. R@1
# fails in the first and succeeds in the second. Which loss agrees?

# %%
one_above, many_below = torch.eye(21) * 0.5, torch.eye(21) * 0.5
one_above[0, 1] = 0.55  # a wrong text beats the own one
many_below[0, 1:] = 0.33  # twenty wrong texts, each a little inside the margin
for name, matrix in [("one wrong above", one_above), ("many wrong below", many_below)]:
    print(f"{name:17} sum {hinges(matrix)[0][0].sum():.2f}   max {hinges(matrix)[0][0].max():.2f}")

# %% [markdown]
# The sum prefers the list that fails. The two encoders of VSE++ are plain: the mean of a CNN's features with a linear
# layer, and the last state of a GRU. Drawn from the code:

# %%
from course_lib.models.recipes.vision import VISION
from course_lib.models.vse import VSE, VSEConfig
from course_lib.viz.diagram import architecture

show(architecture(VSE(VSEConfig(words.vocab_size, VISION)), torch.zeros(3, 3, 64, 64), words(sentences[:5]), depth=1))

# %% [markdown]
# Its GRU is lesson 03's, which equals PyTorch's; here with the same weights on five captions:

# %%
from course_lib.layers.recurrent import GRU, from_torch

theirs = torch.nn.GRU(16, 24, batch_first=True)
ours = GRU(16, 24)
ours.load_state_dict(from_torch(theirs.state_dict()))
inputs = torch.randn(5, 9, 16, generator=torch.Generator().manual_seed(1))
with torch.no_grad():
    print("equal to nn.GRU to 1e-6:", torch.allclose(ours(inputs)[1], theirs(inputs)[1], atol=1e-6))

# %% [markdown]
# ## 5 A gallery in which the wrong answers are hard
#
# In a random gallery, the things present nearly always suffice: CLIP finds 93 of 100 complete captions among a thousand
# (lesson 06). To see who *reads* the caption, each picture gets three look-alikes: one with its two **colours
# exchanged**, one **mirrored** (so that "left of" becomes "right of"), and one with **another material**.

# %%
from course_lib.data.microworld.look_alikes import look_alikes

families = look_alikes(250, seed=5, split="test")
shown = [scene for family in families[:3] for scene in family]
titles = [microworld.captions(scene)[0] for scene in shown]
show(figures.image_grid(microworld.render(shown, 128), titles, columns=4))

# %% [markdown]
# 250 such families make a gallery of 1,000 pictures with a caption each. The convolutions of all models of this lesson
# are those of the course's vision checkpoint and stay frozen, so that every picture passes them once
# (`feature_maps`). For the re-ranker of section 7, the checkpoint's detector also names the objects it sees
# (`regions`, lesson 04).

# %%
from course_lib.models.recipes import retrieval as recipes

test = recipes.look_alike_data(250, seed=5, split="test")
train_data = recipes.look_alike_data(runtime.sized(1_500, 4_000), seed=1)
print("test:", len(test), "pictures · training:", "no scene in common")
for name in ("feature_maps", "regions", "region_mask", "input_ids"):
    print(f"  {name:13} {tuple(getattr(test, name).shape)}")

# %%
image_embeds, text_embeds = recipes.embed(clip, test)
clip_scores = image_embeds @ text_embeds.T  # (1000, 1000), pictures by texts
easy = recipes.both_ways(clip_scores[::4, ::4])  # one of each family: 250 unrelated pictures
hard = recipes.both_ways(clip_scores)
for name, result in [("250 unrelated pictures", easy), ("1,000 with look-alikes", hard)]:
    recall = "  ".join(f"{k} {runtime.measured(result['image_to_text'][k])}" for k in ("R@1", "R@5", "R@10"))
    print(f"{name:23} picture to text: {recall}")

# %% [markdown]
# Where does it go wrong? For every picture, let its own caption compete with that of one look-alike; chance is one
# half.

# %%
against = {"CLIP of lesson 06": recipes.against_look_alikes(clip_scores)}
show(figures.bars(against["CLIP of lesson 06"], reference={"chance": 0.5}, value="own caption preferred"))

# %% [markdown]
# R@5 is nearly perfect, R@1 is not half: CLIP always finds the *family*, and within it tells materials and guesses
# about the rest. **A perfect R@5 and R@10 with a poor R@1 is the sign that a second look pays.** But first: can
# training on such pictures mend it?
#
# VSE on the look-alikes: 150 steps with the sum of hinges, then as many with the hardest negative only. (Starting with
# the hardest at once is a known trap: section 8 falls into it.)

# %%
from course_lib.viz.live import LiveCurve

steps = recipes.VSE_TRAINING.steps
with LiveCurve("VSE, sum of hinges", total=steps) as live:
    vse_zero, _ = recipes.train_vse(train_data, hinge_sum_loss, on_step=live.update)
with LiveCurve("VSE++, hardest negative", total=steps) as live:
    vse_hard, _ = recipes.train_vse(train_data, hardest_negative_loss, start=vse_zero, on_step=live.update)

# %%
results = {"CLIP of lesson 06": hard}
for name, model in [("VSE, sum of hinges", vse_zero), ("VSE++, hardest negative", vse_hard)]:
    image_embeds, text_embeds = recipes.embed(model, test)
    results[name] = recipes.both_ways(image_embeds @ text_embeds.T)
    against[name] = recipes.against_look_alikes(image_embeds @ text_embeds.T)
for name, result in results.items():
    row = "   ".join(f"{way.replace('_', ' ')} R@1 {runtime.measured(result[way]['R@1'])}" for way in result)
    print(f"{name:24} {row}")

# %%
show(figures.compare(against, chance=0.5, value="own caption preferred to that of a look-alike"))

# %% [markdown]
# Two findings. The hinges hear of nothing but the hard cases (all others are beyond the margin), so a GRU learns to say
# *whose* colour it is where CLIP's softmax over everything did not. And no training will teach this model left from
# right: its picture vector is a *mean over places*, which hardly changes when two things change places. A loss cannot
# repair what the architecture has thrown away.
#
# ## 6 Mining hard negatives
#
# In a random batch of 128 from $M$ pictures, how often does a picture meet one of its three look-alikes? Rarely: the
# expected number is $127 \cdot 3 / (M - 1)$.

# %%
print("look-alikes met in a random batch:", f"{127 * 3 / (len(train_data) - 1):.3f} a picture")

# %% [markdown]
# So bring them together on purpose. *Hard-negative mining* asks the model itself: **which wrong texts does it rank
# highest for this picture?** In four lines:


# %%
def mine_by_hand(image_embeds, text_embeds, count):
    """For each picture the wrong texts nearest to it, (N, count)."""
    similarity = image_embeds @ text_embeds.T
    similarity.fill_diagonal_(-1)  # the own text is not wrong
    return similarity.topk(count, dim=1).indices


train_vectors = recipes.embed(vse_zero, train_data)
mined = recipes.mine(*train_vectors, count=3)
print("the library mines the same:", torch.equal(mine_by_hand(*train_vectors, 3), mined[0]))
family = torch.arange(len(train_data))[:, None] // 4
share = (mined[0] // 4 == family).double().mean(dim=0)
for place, value in enumerate(share.tolist(), start=1):
    print(f"hard negative {place}: from the own family {runtime.measured(value, 2)}   (by chance 0.0005)")

# %% [markdown]
# The model knows nothing of families; it finds them because it cannot tell them apart. Now train CLIP further on these
# pictures, twice from the same weights with the same loss: once in random batches, and once in *mined company*, where
# half of each batch is drawn at random and every picture brings along one of its hard negatives, with the picture
# *that* belongs to. (This is how NegCLIP was made.)

# %%
mined = recipes.mine(*recipes.embed(clip, train_data))
steps = recipes.DUAL_TRAINING.steps
with LiveCurve("CLIP, random company", total=steps) as live:
    clip_random, _ = recipes.tune_dual_encoder(clip, train_data, on_step=live.update)
with LiveCurve("CLIP, mined company", total=steps) as live:
    clip_mined, _ = recipes.tune_dual_encoder(clip, train_data, mined, on_step=live.update)

# %%
for name, model in [("CLIP, random company", clip_random), ("CLIP, mined company", clip_mined)]:
    image_embeds, text_embeds = recipes.embed(model, test)
    results[name] = recipes.both_ways(image_embeds @ text_embeds.T)
    against[name] = recipes.against_look_alikes(image_embeds @ text_embeds.T)
for name in ("CLIP of lesson 06", "CLIP, random company", "CLIP, mined company"):
    row = "   ".join(f"{way.replace('_', ' ')} R@1 {runtime.measured(results[name][way]['R@1'])}" for way in hard)
    print(f"{name:21} {row}   colours {runtime.measured(against[name]['colours exchanged'], 2)}")
gained = [results["CLIP, mined company"][way]["R@1"] - results["CLIP, random company"][way]["R@1"] for way in hard]
print("mined company is worth 0.03 or more of R@1, both ways:", min(gained) >= 0.03)

# %% [markdown]
# The same pictures, the same number of steps: what helps is the company. The text tower that read captions as a bag of
# words (lesson 06) now knows whose colour it is, because for the first time something in the batch asked.
#
# The mirror image stays at a coin toss. All of these models squeeze the picture into one vector *before* they know the
# question, and "left of" is a question about two things at once.
#
# ## 7 A second stage that reads both
#
# A *cross-encoder* takes a picture and a sentence **together** and answers one question: do these two belong together?
# Nothing can be encoded beforehand, so it costs a pass for every pair. For $Q$ queries and a gallery of $N$:
#
# | | passes through a network | comparisons |
# |---|---|---|
# | dual encoder | $Q + N$ | $Q \cdot N$ products of vectors, which cost next to nothing |
# | cross-encoder | $Q \cdot N$ | |
# | dual encoder, then re-ranking of the best $k$ | $Q + N + Q \cdot k$ | $Q \cdot N$ products |

# %%
paper_card("albef")

# %% [markdown]
# Our cross-encoder is the pointer model of lesson 04 with two answers, no and yes: words say what to look for, pointers
# find it among the regions, and what they found (with its place) is compared.

# %%
from course_lib.models.reranker import Reranker, rerank

reader = Reranker(recipes.RERANKER)
show(architecture(reader, test.regions[:3], test.region_mask[:3], test.input_ids[:3]))
print(code_of(Reranker.score))

# %% [markdown]
# **Training** is image-text matching (ITM, lesson 05): each true pair, the picture again with a wrong text, the text
# again with a wrong picture. Guessing at random, two of three being no, gives a loss of
# $\frac13 \ln 3 + \frac23 \ln \frac32 = 0.64$. Which wrong ones? Those that the dual encoder mined. Once more the model
# finds, and another one learns what it could not tell.
#
# (A fifth of the run is warm-up. With 30 steps of it one run of ten never learned to tell materials, and stayed at an
# R@1 of 0.48: whoever trains once sees the median or the accident, and cannot know which.)

# %%
steps = runtime.sized(recipes.RERANKER_TRAINING.steps, 2_000)
config = dataclasses.replace(recipes.RERANKER_TRAINING, steps=steps)
with LiveCurve("re-ranker, mined negatives", total=steps, chance=0.637) as live:
    reader, history = recipes.train_reranker(train_data, mined, config=config, on_step=live.update)
print("seconds of training:", runtime.measured(history.seconds, 0))

# %% [markdown]
# **Using it.** The dual encoder's best $k = 10$ of each query are scored again and put in the new order; all others
# stay below, where they were:


# %%
def second_look(similarity, score, k):
    """The first k places of each query in the order of `score(query, candidate)`; (Q, N) -> (Q, N)."""
    best = similarity.topk(k, dim=1).indices  # (Q, k)
    queries = torch.arange(len(similarity))[:, None].expand_as(best)
    again = score(queries.flatten(), best.flatten()).view_as(best)
    return similarity.scatter(1, best, again - again.min() + similarity.max() + 1)


def matching(pictures, sentences):
    with torch.no_grad():
        return reader.score(test.regions[pictures], test.region_mask[pictures], test.input_ids[sentences])


by_hand = second_look(clip_scores[:50], matching, k=10)
ranked = rerank(clip_scores[:50], matching, k=10)
print("the library's puts the same first:", torch.equal(by_hand.argmax(dim=1), ranked.argmax(dim=1)))
print("and scores alike:", torch.allclose(by_hand, ranked, atol=1e-3))

# %%
both = recipes.reranked(reader, test, clip_scores, k=10)
results["CLIP, re-ranked"] = recipes.both_ways(*both)
against["CLIP, re-ranked"] = recipes.against_look_alikes(both[0])
show(figures.compare(against, chance=0.5, value="own caption preferred to that of a look-alike"))

# %% [markdown]
# Colours, sides and materials, all far above chance. And the whole table, as a paper would print it:

# %%
print(f"{'1,000 pictures with look-alikes':32}  picture to text         text to picture")
print(f"{'':32}  " + "  ".join(["R@1    R@5    R@10 "] * 2))
chance = "  ".join(["0.001  0.005  0.010"] * 2)
print(f"{'chance':32}  {chance}")
for name, result in results.items():
    cells = [runtime.measured(result[way][k]) for way in result for k in ("R@1", "R@5", "R@10")]
    print(f"{name:32}  {' '.join(cells)}")
gain = {way: results["CLIP, re-ranked"][way]["R@1"] - hard[way]["R@1"] for way in hard}
print("re-ranking adds 0.15 or more to R@1, both ways:", all(value >= 0.15 for value in gain.values()))
same = all(results["CLIP, re-ranked"][way]["R@10"] == hard[way]["R@10"] for way in hard)
print("R@10 is exactly what it was:", same)

# %% [markdown]
# R@10 cannot change: the second stage re-orders ten candidates and brings none in. **The first stage's recall at k is
# the ceiling of the second.** So is a larger $k$ always better?

# %%
depths = [1, 2, 3, 4, 6, 10, 20]
alone = [recipes.reranked(reader, test, clip_scores, k)[0] for k in depths]
scale = clip.logit_scale.exp().item()  # CLIP's own: it makes a cosine a logit
together = [recipes.reranked(reader, test, clip_scores, k, weight=scale)[0] for k in depths]
series = {
    "ceiling: CLIP's R@k": [retrieval.recall_at_k(clip_scores, k) for k in depths],
    "R@1, the re-ranker decides": [retrieval.recall_at_k(matrix) for matrix in alone],
    "R@1, both vote": [retrieval.recall_at_k(matrix) for matrix in together],
}
show(figures.lines(depths, series, across="k, candidates re-ranked", value="picture to text"))
print("pairs read by the cross-encoder at k = 10:", 1_000 * 10, "· for the whole gallery:", 1_000 * 1_000)

# %% [markdown]
# Left to itself the re-ranker gets *worse* as it sees more candidates. It was taught on the three hardest negatives of
# each pair, which are mostly its family; of strangers with another background, for one, it was told little, and its
# regions show no background at all. **A second stage is good at what it was trained for, and at nothing else.** CLIP
# knows strangers well. So let both vote: the log-odds of the re-ranker plus CLIP's logit, the cosine times its scale.
# (BLIP's published code adds the two scores as well.)

# %%
both = recipes.reranked(reader, test, clip_scores, k=10, weight=scale)
results["CLIP, re-ranked, both vote"] = recipes.both_ways(*both)
for name in ("CLIP of lesson 06", "CLIP, re-ranked", "CLIP, re-ranked, both vote"):
    row = "   ".join(f"{way.replace('_', ' ')} R@1 {runtime.measured(results[name][way]['R@1'])}" for way in hard)
    print(f"{name:27} {row}")
voted, decided = (results[name] for name in ("CLIP, re-ranked, both vote", "CLIP, re-ranked"))
print("two votes are better than one, both ways:", all(voted[way]["R@1"] > decided[way]["R@1"] for way in hard))

# %% [markdown]
# What did it do, on a few pictures that CLIP had got wrong? Below each picture CLIP's choice, then the re-ranker's.

# %%
before, after = clip_scores.argmax(dim=1), both[0].argmax(dim=1)
own = torch.arange(1_000)
mended = ((before != own) & (after == own)).nonzero().flatten()[:3].tolist()
captions = [microworld.captions(scene)[0] for scene in test.scenes]
titles = [f"CLIP: {captions[before[i]]}\n→ {captions[after[i]]}" for i in mended]
alt = "Three pictures: over each, the look-alike's caption that CLIP put first, and its own, which the re-ranker did."
show(figures.image_grid(microworld.render([test.scenes[i] for i in mended], 160), titles, columns=3), alt=alt)
spoiled = ((before == own) & (after != own)).sum().item()
print("queries mended, and queries spoiled:", runtime.measured(((before != own) & (after == own)).sum().item(), 0),
      runtime.measured(spoiled, 0))  # fmt: skip

# %% [markdown]
# ## 8 Break it
#
# **Random negatives.** The same cross-encoder with wrong pairs drawn at random, for 300 steps:

# %%
brief = dataclasses.replace(recipes.RERANKER_TRAINING, steps=300, warmup_steps=60)
easy_reader, easy_history = recipes.train_reranker(train_data, None, config=brief)
unmined = recipes.reranked(easy_reader, test, clip_scores)[0]
print("loss at the end:", runtime.measured(sum(easy_history.losses[-20:]) / 20))
print("R@1 after re-ranking:", runtime.measured(retrieval.recall_at_k(unmined)), "· before:", end=" ")
print(runtime.measured(hard["image_to_text"]["R@1"]))
shares = recipes.against_look_alikes(unmined)
print(
    "the mirror image told apart:", runtime.measured(shares["mirrored"]), "· better than 0.7:", shares["mirrored"] > 0.7
)

# %% [markdown]
# Its loss is nearly 0 after 300 steps, and it has learned hardly more than CLIP knew: against a random wrong caption,
# one word suffices. **A low loss says how easy the negatives were.**
#
# **The hardest negative from the first step.** VSE++ without its warm start:

# %%
steps = 100
brief = dataclasses.replace(recipes.VSE_TRAINING, steps=steps)
with LiveCurve("VSE++ from nothing", total=steps, chance=0.4) as live:
    stalled, history = recipes.train_vse(train_data, hardest_negative_loss, config=brief, on_step=live.update)
image_embeds, text_embeds = recipes.embed(stalled, test)
print("loss of the last 20 steps:", runtime.measured(sum(history.losses[-20:]) / 20), "· twice the margin: 0.4")
print("R@1:", runtime.measured(retrieval.recall_at_k(image_embeds @ text_embeds.T)))

# %% [markdown]
# The loss sits at twice the margin, $2\alpha = 0.4$, for a hundred steps: that is its value when all vectors are alike,
# and the hardest of 127 accidents tells a new model nothing about the direction in which to leave. The sum of hinges
# averages the accidents out. Warm starts, semi-hard negatives and drawing negatives in proportion to their similarity
# (lesson 05's `hard_negative_rows`) are three answers to the same problem.

# %% [markdown]
# ## 9 A million pictures: look into a few cells
#
# So far every query was compared with every picture. That is one matrix product, exact, and fast until the gallery is
# large. From here on *exact* search is the yardstick, and the question is how much of it can be left out. The tool is
# FAISS.

# %%
paper_card("faiss")

# %%
from course_lib.models.recipes.search import made_vectors
from course_lib.models.vector_index import VectorIndex, flat, hnsw, ivf, pq, recall_of

vectors, queries = made_vectors(20_000, seed=0), made_vectors(100, seed=1)
exact = VectorIndex(flat(64))
exact.add(vectors)
scores, nearest = exact.search(queries, k=10)
brute = (queries @ vectors.T).topk(10, dim=1).indices
same = recall_of(nearest, brute) == 1
print("gallery:", tuple(vectors.shape), "· the flat index finds what brute force does:", same)

# %% [markdown]
# (A million pictures would take ten minutes to draw. `made_vectors` makes vectors as a picture's come about, a sum of
# what is in it and some noise, in seconds. All pictures of sections 1 and 13 are real.)
#
# **Cells.** Sort the vectors into cells by *k-means* once; let a query look only into the cells whose centres are
# nearest. The list of what lies in each cell is an *inverted file*, hence the name **IVF**. K-means in a few lines:


# %%
def k_means(points, cells, rounds=10, generator=None):
    """Centres (cells, D) such that points are near to their nearest centre."""
    centres = points[torch.randperm(len(points), generator=generator)[:cells]].clone()
    for _ in range(rounds):
        cell = torch.cdist(points, centres).argmin(dim=1)  # each point to its nearest centre
        for c in cell.unique():
            centres[c] = points[cell == c].mean(dim=0)  # each centre to the mean of its points
    return centres


flat_world = torch.randn(600, 2, generator=torch.Generator().manual_seed(3))
centres = k_means(flat_world, 12, generator=torch.Generator().manual_seed(0))
asked = torch.tensor([0.9, 0.35])
show(search_figures.cells(flat_world, centres, asked, probes=2, title="Twelve cells, two of them looked into"))

# %% [markdown]
# In 64 dimensions, with the same few lines: 64 cells, a query looks into `probes` of them.


# %%
def cell_search(queries, vectors, centres, probes, k=10):
    """Ids (Q, k) of the best among the vectors in the `probes` nearest cells, and the share that was compared."""
    cell = (vectors @ centres.T).argmax(dim=1)
    looked_into = (queries @ centres.T).topk(probes, dim=1).indices  # (Q, probes)
    allowed = (cell[None, None, :] == looked_into[:, :, None]).any(dim=1)  # (Q, N)
    scores = (queries @ vectors.T).masked_fill(~allowed, -1)
    return scores.topk(k, dim=1).indices, allowed.double().mean().item()


centres = F.normalize(k_means(vectors[:4_096], 64, generator=torch.Generator().manual_seed(0)), dim=1)
index = VectorIndex(ivf(64, cells=64))
index.add(vectors)
for probes in (1, 4, 16, 64):
    found, share = cell_search(queries, vectors, centres, probes)
    ours = runtime.measured(recall_of(found, nearest))
    theirs = runtime.measured(recall_of(index.search(queries, 10, effort=probes)[1], nearest))
    print(f"{probes:2} of 64 cells  compared {runtime.measured(share, 2)}  recall@10 ours {ours}  FAISS {theirs}")
print("all cells looked into, nothing is lost:", recall_of(index.search(queries, 10, effort=64)[1], nearest) == 1)

# %% [markdown]
# Mind the word: **recall@10 of an index** is the share of the *exact* ten neighbours that it found. It says nothing
# about whether these are right answers; that is the encoder's business.
#
# What is lost lies beyond a border: a neighbour just across the wall of a cell that was not looked into. More probes
# buy it back.
#
# ## 10 A walk on a graph
#
# **HNSW** keeps no cells. Every vector is linked with some near neighbours, and a query walks: from where it stands to
# the neighbour that is nearest to it, until no neighbour is nearer.


# %%
def greedy_walk(points, links, query, start):
    """The points visited: always on to the neighbour nearest to the query."""
    path = [start]
    while True:
        here = path[-1]
        around = torch.tensor([here, *links[here]])
        nearest = around[(points[around] - query).norm(dim=1).argmin()].item()
        if nearest == here:
            return path
        path.append(nearest)


few = flat_world[:220]
near = torch.cdist(few, few).topk(6, largest=False).indices[:, 1:].tolist()  # five neighbours each
links = [sorted({*near[i], *[j for j in range(220) if i in near[j]]}) for i in range(220)]  # both ways
start = few[:, 0].argmin().item()
path = greedy_walk(few, links, asked, start)
show(search_figures.walk(few, links, path, asked, title="A greedy walk"))
compared = len({start}.union(*[links[i] for i in path]))
at_the_nearest = path[-1] == torch.cdist(few, asked[None]).argmin().item()
print(f"the walk compared {compared} of 220 points and ended at the nearest:", at_the_nearest)

# %% [markdown]
# Two things make this the method of choice for speed. Random long links, in layers above (only a few points live in
# the higher ones), make the first steps large, so that the number of steps grows like $\log N$. And the walk keeps not
# one but the `ef` best candidates, so that a wrong turn does not end it.

# %%
paper_card("hnsw")

# %%
graph = VectorIndex(hnsw(64, links=16))
graph.add(vectors)
for ef in (10, 30, 100):
    print(f"ef {ef:3}: recall@10 {runtime.measured(recall_of(graph.search(queries, 10, effort=ef)[1], nearest))}")
print(f"bytes a vector: flat {exact.bytes / 20_000:.0f}, HNSW", runtime.measured(graph.bytes / 20_000, 0))

# %% [markdown]
# The links cost memory: half as much again as the vectors.
#
# ## 11 Sixteen bytes instead of 256
#
# A million vectors of 64 numbers are 256 MB; a billion are 256 GB. **Product quantisation** cuts each vector into $m$
# pieces, and replaces every piece by the nearest of 256 *code words*: one byte. It needs k-means again, a small one for
# each piece:


# %%
def learn_code_books(vectors, pieces):
    """A code book of 256 words for each piece: (pieces, 256, D / pieces)."""
    parts = vectors.view(len(vectors), pieces, -1).unbind(1)
    return torch.stack([k_means(part, 256, 4, torch.Generator().manual_seed(0)) for part in parts])


def encode(vectors, books):
    """(N, D) -> (N, pieces) bytes: the number of the nearest word for each piece."""
    parts = vectors.view(len(vectors), len(books), -1).transpose(0, 1)
    return torch.cdist(parts, books).argmin(dim=2).T.to(torch.uint8)


def code_scores(query, codes, books):
    """Products of a query (D,) with all coded vectors: a table of (pieces, 256), then one look-up a piece."""
    table = torch.einsum("pd,pwd->pw", query.view(len(books), -1), books)
    return sum(table[piece, codes[:, piece].long()] for piece in range(len(books)))


books = learn_code_books(vectors[:4_096], pieces=16)
codes = encode(vectors, books)
print(
    "code books:",
    tuple(books.shape),
    "· codes:",
    tuple(codes.shape),
    codes.dtype,
    "· bytes a vector: 256 ->",
    codes.shape[1],
)

# %% [markdown]
# The trick is in `code_scores`: the query stays exact, and the 256 products of each of its pieces with the words are
# computed once. Every vector of the gallery then costs sixteen look-ups and additions. Is that what FAISS does? Give
# our function FAISS's code books and codes:

# %%
import faiss

paper_card("pq")
index = VectorIndex(pq(64, pieces=16))
index.add(vectors)
their_books = torch.from_numpy(faiss.vector_to_array(index.index.pq.centroids)).view(16, 256, 4)
their_codes = torch.from_numpy(faiss.vector_to_array(index.index.codes)).view(20_000, 16)
theirs, places = index.search(queries[:1], 10)
ours = code_scores(queries[0], their_codes, their_books)
print(
    "the same codes from the same books:", bool((encode(vectors, their_books) == their_codes).double().mean() > 0.999)
)
print("the same scores:", torch.allclose(ours[places[0]], theirs[0], atol=1e-5))

# %%
coded = torch.stack([code_scores(query, codes, books) for query in queries])
for name, found in [("ours", coded.topk(10, dim=1).indices), ("FAISS", index.search(queries, 10)[1])]:
    print(f"PQ, 16 bytes, {name:5}: recall@10 {runtime.measured(recall_of(found, nearest))}")
wide = index.search(queries, 100)[1]  # a hundred candidates by their codes, re-ranked by the vectors themselves
again = (queries[:, None] * vectors[wide]).sum(dim=2).topk(10, dim=1).indices
print("its best 100 re-ranked exactly: recall@10", runtime.measured(recall_of(wide.gather(1, again), nearest)))

# %% [markdown]
# A sixteenth of the memory, and more than half of the neighbours; the rest are near misses, as the last line shows:
# **re-ranking again**, this time of codes by vectors. Cells and codes together (**IVF + PQ**) code what a vector
# differs by from the centre of its cell; that is the index of choice when memory is what is short.
#
# ## 12 What speed costs
#
# All of them at 100,000 vectors. Each index has one dial (cells to look into, candidates to keep), so each is a curve:
# up and to the left is better.

# %%
from course_lib.models.recipes.search import search_curve


def curves(rows):
    """Kind of index -> (milliseconds, recall, setting) for each setting."""
    named = {}
    for row in rows:
        named.setdefault(f"{row.kind}, {row.bytes_each:.0f} bytes", []).append(
            (row.milliseconds, row.recall, row.setting)
        )
    return named


rows = search_curve(100_000)
alt = "A hundred thousand vectors: recall over time. IVF and HNSW come near 1 far left of flat; PQ stays below."
show(search_figures.recall_and_time(curves(rows), among="100,000", title="A hundred thousand vectors"), alt=alt)
for row in rows:
    what = f"{row.kind} {row.setting}"
    print(f"{what:14} recall@10 {runtime.measured(row.recall)}   ms {runtime.measured(row.milliseconds)}")

# %%
best = {row.kind: row for row in rows}
fast = [row for row in rows if row.recall >= 0.9 and row.kind in ("IVF", "HNSW")]
print("flat finds everything:", best["flat"].recall == 1)
print(
    "an index that finds 9 of 10 in less time than flat:", any(r.milliseconds < best["flat"].milliseconds for r in fast)
)
smaller = best["flat"].bytes_each / best["PQ"].bytes_each
print("PQ is more than ten times smaller:", smaller > 10)

# %% [markdown]
# At a million vectors, building the indexes takes two cores a few minutes, so this was measured beforehand, by
# `python -m course_lib.authoring.search_curve`, and kept with the course:

# %%
import json

from course_lib.files import embedded
from course_lib.models.recipes.search import Measured

kept = json.loads(embedded("experiments/search.json").read_text())
every = [Measured(**row) for row in kept["rows"]]
million = [row for row in every if row.vectors == 1_000_000]
show(search_figures.recall_and_time(curves(million), among="1,000,000", title="A million vectors"))
print(f"memory of the whole measurement: {kept['peak_bytes'] / 1024**3:.2f} GB")

# %%
print(f"{'':14}" + "".join(f"{size:>12,}" for size in (10_000, 100_000, 1_000_000)) + "   vectors")
for kind, setting in [("flat", ""), ("IVF", "16"), ("HNSW", "64"), ("PQ", ""), ("IVF + PQ", "16")]:
    chosen = [row for row in every if (row.kind, row.setting) == (kind, setting)]
    print(f"{kind + ' ' + setting:14}" + "".join(f"{row.milliseconds:9.3f} ms" for row in chosen) + "   a query")
    print(f"{'':14}" + "".join(f"{row.recall:12.3f}" for row in chosen) + "   recall@10")

# %% [markdown]
# Flat search grows with the gallery, a hundredfold from left to right. The graph grows far less. Cells lie between: as
# there are more of them for more vectors, the same number of probes sees a smaller share, and recall falls unless
# the dial is turned. Which index, then?
#
# | gallery | memory | take |
# |---|---|---|
# | up to some 100,000 | whatever | flat: exact, nothing to tune, nothing to build |
# | up to some 10 million | enough | HNSW |
# | larger, or memory is short | short | IVF + PQ, and re-rank the best hundreds by the vectors themselves |
#
# ## 13 The engine
#
# All of it together: pictures and words encoded by CLIP, an index, a file. The class is short:

# %%
print(code_of(VisualSearch.search))
print(code_of(VisualSearch.query))

# %% [markdown]
# **Text to picture, picture to picture, both together.** The query is a point in the shared space, so two queries can
# be averaged: "like this picture, but …".

# %%
ask("a large green star on a striped background")

# %%
example = gallery[11]
ask(picture=example)

# %%
ask("a purple heart", picture=example, text_share=0.5)
ask("a purple heart", picture=example, text_share=0.7)

# %% [markdown]
# Half and half, "purple" is taken from the words and the star from the picture; with more words the hearts come. How
# much each counts is `text_share`. Over a few shares: how many of the ten best show a purple heart, and how near are
# they to the example?

# %%
shares = [0.0, 0.25, 0.5, 0.75, 1.0]
hearts, likeness = [], []
example_vector = engine.query(picture=example)[0]
for share in shares:
    hits = engine.search("a purple heart", example, k=10, text_share=share)
    kinds = [[thing.pair for thing in scenes[hit.id].objects] for hit in hits]
    hearts.append(sum(("purple", "heart") in pairs for pairs in kinds) / 10)
    likeness.append((engine.embed(gallery[[hit.id for hit in hits]]) @ example_vector).mean().item())
series = {"show a purple heart": hearts, "mean cosine with the example": likeness}
show(figures.lines(shares, series, across="text_share", value="of the ten best"))
print("words alone find more of what they name:", hearts[-1] > hearts[0])

# %% [markdown]
# **A file that knows its gallery.** Embedding is the expensive part, so the index is saved. Loaded for other pictures,
# or searched with another model's vectors, it would give answers that look fine and are nonsense: the file therefore
# carries a fingerprint of the pictures and the weights, and hashes of its own contents.

# %%
from course_lib.errors import CourseError

folder = tempfile.TemporaryDirectory()
path = engine.save(Path(folder.name) / "pictures.index", gallery)
again = VisualSearch(clip, words, pixel_values)
again.load(path, gallery)
print("loaded, and the answers are the same:", again.search("a red star", k=5) == engine.search("a red star", k=5))

other = gallery.clone()
other[0, 0, 0, 0] += 1  # one byte of one picture
for pictures_now in (other, gallery):
    try:
        again.load(path, pictures_now)
    except CourseError as error:
        print(error)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # one bit of the file
    path.write_bytes(content)

# %% [markdown]
# What else goes wrong in practice is refused in the same way:

# %%
small = VectorIndex(flat(64))
attempts = {
    "searching an empty gallery": lambda: small.search(queries, 1),
    "vectors that are not of length 1": lambda: small.add(2 * vectors[:3]),
    "the same id twice": lambda: small.add(vectors[:3], torch.tensor([4, 5, 4])),
    "more answers than pictures": lambda: exact.search(queries, 30_000),
    "a vector that is not finite": lambda: exact.search(torch.full((1, 64), math.nan), 1),
}
for what, attempt in attempts.items():
    try:
        attempt()
    except CourseError as error:
        print(f"{what}: {error}")

# %% [markdown]
# Why insist on length 1? An index for products searches by $x \cdot y$, and a long vector has large products with
# everything. Make one picture in a hundred three times as long and it comes first for nearly every query:

# %%
long = vectors.clone()
long[::100] *= 3
answers = (queries @ long.T).topk(10, dim=1).indices
print(
    "long vectors among the gallery: 0.01 · among the answers:",
    runtime.measured((answers % 100 == 0).double().mean(), 2),
)

# %% [markdown]
# **Both stages in one query.** The engine finds ten, then both vote, as in section 7. Ask for a member of the first
# family of the hard gallery:

# %%
hard_vectors = recipes.embed(clip, test)[0]  # the pictures, already encoded
hard_engine = VisualSearch(clip, words, pixel_values, VectorIndex(flat(hard_vectors.shape[1])))
hard_engine.index.add(hard_vectors)


def ask_twice(text, k=10, show_first=4):
    """The engine's best and the re-ranker's best for one sentence."""
    hits = torch.tensor([hit.id for hit in hard_engine.search(text, k=k)])
    cosines = hard_engine.query(text) @ hard_vectors[hits].T
    with torch.no_grad():
        scores = reader.score(test.regions[hits], test.region_mask[hits], words([text]).expand(k, -1))
    again = hits[(scores + scale * cosines[0]).argsort(descending=True)]
    print("Asked for:", text)
    for title, order in [("CLIP's order", hits), ("the order of both", again)]:
        drawn = microworld.render([test.scenes[i] for i in order[:show_first].tolist()], 128)
        show(figures.image_grid(drawn, columns=show_first, title=title))


ask_twice(captions[1])

# %% [markdown]
# **Your turn.** Change the words below, or take the `#` away from the last line: in Jupyter and in Colab it draws a
# text box (where there are no widgets it says so). Words that the microworld does not know are named in a message.

# %%

ask("a yellow ring and a small cross")
# text_box(ask)

# %% [markdown]
# ## 14 At full scale
#
# The same code on published weights and real photographs: CLIP ViT-B/32 as OpenAI trained it, on the 1,000 test
# pictures of Flickr30k with five captions each, by the protocol of section 3. This needs a GPU and a network (a few
# minutes); elsewhere *stand-ins* are found under the published names, a tiny CLIP with random weights and twelve
# photographs that came with the course. They prove that the code runs, and what they find means nothing.

# %%
from itertools import islice

from course_lib import runtime
from course_lib.authoring import stand_ins
from course_lib.data import hub
from course_lib.data.preprocessing import Preprocessing
from course_lib.data.tokenizers import HubCLIPTokenizer
from course_lib.evaluation.embedding import embed_images, embed_texts
from course_lib.evaluation.protocols import Protocol, five_captions
from course_lib.models.clip import CLIP

if not runtime.downloads():
    stand_ins.serve(stand_ins.clip, data=("flickr30k",))

name, device = "openai/clip-vit-base-patch32", runtime.device()
openai_clip = CLIP.from_pretrained(name, device=device)
prepare, tokenizer = Preprocessing.from_pretrained(name), HubCLIPTokenizer.from_pretrained(name)
samples = hub.load("flickr30k", limit=1_000)
picture_parts, sentences = [], []
while part := list(islice(samples, 100)):  # a hundred photographs at a time, as vectors they need no space
    picture_parts.append(embed_images(openai_clip, prepare([sample.image for sample in part])))
    sentences += five_captions([list(sample.captions) for sample in part])
picture_vectors = torch.cat(picture_parts)
sentence_vectors = embed_texts(openai_clip, tokenizer(sentences))
protocol = Protocol("Flickr30k", pictures=len(picture_vectors))
found = protocol.of_embeddings(picture_vectors, sentence_vectors)
print("photographs and captions:", len(picture_vectors), len(sentences))
for way in ("image_to_text", "text_to_image"):
    print(way, "  ".join(f"{k} {runtime.measured(found[way][k])}" for k in ("R@1", "R@5", "R@10", "median_rank")))

# %% [markdown]
# CLIP's authors report R@1 of 88.0 and 68.7 on Flickr30k for their largest model, without training on it; ViT-B/32 is
# below that. Then an index over the photographs, and a question in your own words:

# %%
real_index = VectorIndex(flat(picture_vectors.shape[1]))
real_index.add(picture_vectors)
question = embed_texts(openai_clip, tokenizer(["a dog that runs over grass"]))
_, ids = real_index.search(question, k=4)
print("found:", tuple(ids.shape))
if runtime.scale() == "full":
    photographs = [sample.image for sample in hub.load("flickr30k", limit=1_000)]
    show(figures.image_grid([photographs[i] for i in ids[0].tolist()], columns=4, title="a dog that runs over grass"))

# %% [markdown]
# ## 15 Looking back
#
# | | |
# |---|---|
# | place of a right candidate | 1 + how many stand before it; in a tie, the wrong ones do |
# | R@K | share of queries with a right one among the first K |
# | MRR, mAP | means of $1/p_1$ and of $\frac1R\sum_i i/p_i$ |
# | nDCG | $\sum_i g_i / \log_2(1 + p_i)$ over that of the best order, $g_i$ the gain (1 if right) |
# | VSE++ | $\max_{j\ne i}[\alpha + S_{ij} - S_{ii}]_+$, both ways |
# | ITM | cross-entropy of yes and no, negatives mined by the dual encoder |
# | cost of a query | dual: 1 pass; re-ranking: $1 + k$; cross-encoder alone: $N$ |
# | IVF | $C$ cells, about `probes`$/C$ of the gallery compared |
# | HNSW | a greedy walk, about $\log N$ steps |
# | PQ | $m$ bytes a vector, $m$ look-ups a comparison |
#
# - Say the protocol with the number, and the rule for ties.
# - A loss near zero may mean that the negatives were easy.
# - What the architecture threw away, no negative brings back; what the first stage lost, no second stage finds.
# - Recall of an index and recall of a model are two things.
#
# Ten quick questions, answers folded:

# %%
from course_lib.practice.quiz import show_interview, show_quiz

show_quiz("07")

# %% [markdown]
# And those an interviewer may ask:

# %%
show_interview("07")

# %% [markdown]
# **Now build it yourself:** the exercises are in [`exercises/07_retrieval.ipynb`](../exercises/07_retrieval.ipynb),
# about 90 minutes, from a list of places to a re-ranker that you train. Each answer is checked at once.
