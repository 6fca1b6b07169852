# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["course-header"]
# # 06 · CLIP: pictures and words in one space
#
# **Time.** About 100 minutes of reading and trying. All cells together run in three minutes on two CPU cores.
#
# **You should know** what a transformer block is (lesson 01), what a convolution and a ViT do (lesson 02), what a token
# is (lesson 03), and how cross-entropy is computed. Everything else is explained here.
#
# **Afterwards you can**
#
# - write CLIP's loss from memory, say why it is symmetric and what the temperature does;
# - train CLIP from scratch and measure it: Recall@K, zero-shot accuracy, AUC, contrastive accuracy;
# - turn class names into a classifier, and tell how much prompts and their ensembles bring;
# - choose between a linear probe, CoOp, LoRA, full fine-tuning and WiSE-FT, with numbers;
# - say what SigLIP and ALIGN change, use OpenCLIP, and load published weights into the model you built;
# - name what CLIP cannot see, and show it.

# %% [markdown]
# ## 1 One space for pictures and words
#
# An image classifier knows the classes that it was trained on and nothing else. To teach it one more, somebody has to
# collect and label pictures. But pictures with a *sentence* beside them are everywhere, and a sentence can name
# anything.
#
# **The question of this lesson:** can a model learn, from nothing but pictures and their captions, to recognise things
# that nobody ever labelled?
#
# Here are eight pictures of the small world in which the whole course lives, each with one of its captions. A *scene*
# holds one to four objects; each has a shape, a colour, a size and a material.

# %%
import copy
import dataclasses
import math

import torch
import torch.nn.functional as F

from course_lib import runtime
from course_lib.data import microworld
from course_lib.viz import embedding, figures
from course_lib.viz.attention import attention_map
from course_lib.viz.style import show

runtime.seed_everything(6)
scenes = microworld.sample_scenes(8, seed=11, split="test")
captions = [microworld.captions(scene)[0] for scene in scenes]
show(figures.image_grid(microworld.render(scenes, size=128), captions, columns=4))

# %% [markdown]
# **The idea of CLIP** (Radford et al., 2021) in one sentence: *train a picture encoder and a text encoder together, so
# that a picture and its own caption get vectors that point the same way, and a picture and somebody else's caption get
# vectors that do not.*
#
# If that works, recognising becomes comparing. To ask whether a picture shows a red star, encode the sentence "a red
# star" and look at the angle between two vectors. No label was needed, and no list of classes was fixed beforehand.
#
# The course carries a small CLIP that was trained in the way this lesson shows. Here is what it makes of the eight
# pictures (rows) and their eight captions (columns): the cosine of the angle between the two vectors, 1 if they point
# the same way.

# %%
from course_lib.evaluation.embedding import embed_images, embed_texts
from course_lib.models.clip import CLIP, CLIPConfig
from course_lib.models.recipes import clip as recipes
from course_lib.pretrained import course

device = runtime.device()
checkpoint, weights, card = course.load("clip")
course_clip = CLIP.from_weights(checkpoint, weights).to(device)

words = recipes.word_tokenizer()
picture_vectors = embed_images(course_clip, recipes.pixel_values(microworld.render(scenes)))  # (8, D), of length 1
caption_vectors = embed_texts(course_clip, words(captions))  # (8, D), of length 1
cosines = picture_vectors @ caption_vectors.T
show(embedding.similarity_matrix(cosines, microworld.render(scenes, 96), captions, mark="diagonal"))

# %% [markdown]
# The framed cells are the true pairs. Section 4 trains such a model from nothing, section 7 a better one in less time.

# %% [markdown]
# ## 2 The contrastive loss
#
# Take a *batch* of $N$ pictures with their $N$ captions. The picture encoder turns each picture into a vector of $D$
# numbers, the text encoder does the same with each caption. Divide every vector by its length, so that only its
# direction is left:
#
# - $x_i$ is the unit vector of picture $i$; all of them are the rows of `image_embeds`, of shape `(N, D)`;
# - $y_j$ is the unit vector of caption $j$; all of them are the rows of `text_embeds`, of shape `(N, D)`.
#
# The product of two unit vectors is the cosine of the angle between them: 1 for the same direction, 0 for a right
# angle, -1 for opposite directions. One matrix product gives all $N \times N$ cosines at once.

# %%
N, D = 8, 32
generator = torch.Generator().manual_seed(0)
image_embeds = F.normalize(torch.randn(N, D, generator=generator), dim=-1)
text_embeds = F.normalize(torch.randn(N, D, generator=generator), dim=-1)

similarity = image_embeds @ text_embeds.T
print("similarity:", tuple(similarity.shape), "· between -1 and 1:", bool((similarity.abs() <= 1).all()))

# %% [markdown]
# Now read the matrix as $2N$ multiple-choice questions. Row $i$ asks: *which of these $N$ captions belongs to picture
# $i$?* The right answer is number $i$. Column $j$ asks: *which of these $N$ pictures belongs to caption $j$?* The right
# answer is number $j$. For multiple choice there is a loss, the cross-entropy of a softmax:
#
# $$\ell_i^{\,\text{row}} = -\log \frac{\exp(s\, x_i\cdot y_i)}{\sum_{k=1}^{N}\exp(s\, x_i\cdot y_k)},
# \qquad \ell_j^{\,\text{column}} = -\log \frac{\exp(s\, x_j\cdot y_j)}{\sum_{k=1}^{N}\exp(s\, x_k\cdot y_j)}$$
#
# CLIP's loss is the mean over all $2N$ questions. It is *symmetric*: swap pictures and captions and it stays the same.
# The factor $s$, the *logit scale*, is there because cosines live between -1 and 1, and a softmax over such small
# numbers can never be sure of anything. CLIP learns $s$ along with the weights. Its inverse $\tau = 1/s$ is called the
# *temperature*.


# %%
def contrastive_loss(image_embeds, text_embeds, logit_scale):
    """CLIP's loss for N pairs of unit vectors, (N, D) and (N, D)."""
    logits = logit_scale * image_embeds @ text_embeds.T  # (N, N)
    right_answer = torch.arange(len(logits))  # picture i belongs to caption i
    which_caption = F.cross_entropy(logits, right_answer)  # a question per row
    which_picture = F.cross_entropy(logits.T, right_answer)  # a question per column
    return (which_caption + which_picture) / 2


untrained = contrastive_loss(image_embeds, text_embeds, logit_scale=1.0)
perfect = contrastive_loss(image_embeds, image_embeds, logit_scale=100.0)
print(f"guessing blindly among {N}, that is ln {N}: {math.log(N):.2f}")
print(f"captions that have nothing to do with the pictures: {untrained:.2f}")
print(f"captions whose vectors equal those of the pictures: {perfect:.2f}")

# %% [markdown]
# Two numbers to remember: a model that knows nothing has a loss near $\ln N$, a perfect one near 0. The first thing to
# look at in a CLIP training run is whether its curve starts near $\ln N$.
#
# Here is the same batch as logits and as the two softmaxes, once over each row and once over each column, for vectors
# that are half-way to perfect. The loss is the mean of $-\log$ of the framed numbers in the two right-hand panels.

# %%
half_way = F.normalize(0.45 * image_embeds + text_embeds, dim=-1)
show(embedding.two_softmaxes(10 * image_embeds @ half_way.T))

# %% [markdown]
# **What the temperature does.** The first row of cosines again (the right answer is number 0), divided by three
# temperatures before the softmax:

# %%
show(embedding.softmax_at(image_embeds[0] @ half_way.T, temperatures=[1.0, 0.1, 0.01]))

# %% [markdown]
# At $\tau=1$ every caption gets about one eighth, however good the vectors are: the loss cannot fall far below $\ln N$.
# At $\tau=0.01$ the largest cosine takes everything, here a wrong one, and the loss hears nothing but that. CLIP starts
# at $\tau=0.07$, learns $\log s$ (so that $s$ stays positive), and never lets $s$ pass 100. Section 11 measures what
# happens with other temperatures.
#
# **What the loss pulls and what it pushes.** Let $p_{ij}$ be the softmax of row $i$. The derivative of the row half
# with respect to logit $(i, j)$ is $(p_{ij} - 1)/N$ for $j = i$ and $p_{ij}/N$ otherwise: the own caption is pulled by
# as much as it is not yet believed, every other caption is pushed away by as much as it is believed. Autograd agrees:

# %%
logits = (10 * similarity).requires_grad_()
F.cross_entropy(logits, torch.arange(N)).backward()
by_hand = (logits.softmax(dim=1) - torch.eye(N)) / N
print("the formula is what autograd computes:", torch.allclose(logits.grad, by_hand, atol=1e-6))

# %% [markdown]
# The library's version is the same few lines behind checks of its input. It is printed here from its file, not copied:

# %%
from course_lib.losses.contrastive import clip_loss
from course_lib.viz.code import code_of

print(code_of(clip_loss))

# %% [markdown]
# Three programs, one number: the cell above, the library, and OpenCLIP, the open reimplementation with which the
# largest public CLIPs were trained.

# %%
from open_clip.loss import ClipLoss

ours = contrastive_loss(image_embeds, half_way, 10.0)
for name, other in [("course_lib", clip_loss), ("open_clip", ClipLoss())]:
    print(f"{name:10} agrees to 1e-6:", bool((ours - other(image_embeds, half_way, 10.0)).abs() < 1e-6))

# %% [markdown]
# One more thing the formula says: with a single pair there is only one answer to choose from, so the loss is 0 whatever
# the model does. A batch of one teaches nothing; **the negatives are the other members of the batch**. The library says
# so instead of training on nothing:

# %%
from course_lib.errors import InputError

try:
    clip_loss(image_embeds[:1], text_embeds[:1], 10.0)
except InputError as error:
    print(error)

# %% [markdown]
# ## 3 The two towers
#
# CLIP is two encoders, two matrices and one number:
#
# | part | takes | gives |
# |---|---|---|
# | image tower | pixels `(N, 3, H, W)` | one vector a picture |
# | text tower | token ids `(M, T)` | one vector a text |
# | two projections | those vectors | `(N, D)` and `(M, D)`, the same $D$ |
# | logit scale | | $\log s$, one number |
#
# The towers never look at each other. That is the point, and the price. Every picture and every text can be encoded
# once and compared with anything later: a million pictures with one query. But no part of the model ever sees a picture
# *together with* a sentence. Section 12 shows what that costs.
#
# ### From text to ids
#
# CLIP's own tokenizer is *byte-pair encoding*: it starts from bytes, so that it can spell anything, and merges the
# pairs of neighbours that were most frequent in its training text, so that common words become one token. `</w>` marks
# the end of a word; the ids of the start and the end token are the two largest.

# %%
from course_lib.data.tokenizers import BytePairTokenizer, WordTokenizer

bpe = BytePairTokenizer()
for text in ["a photo of a crescent", "a chequered backdrop", "naïve café", "🐈"]:
    print(f"{text:22}", [bpe.pieces[index] for index in bpe.encode(text)])
print("one row of ids:", bpe("a photo of a crescent", context_length=10).tolist())

# %% [markdown]
# Rows are filled with zeros to one length (77 in CLIP). The captions of the microworld use about a hundred different
# words, so its models get by with one id per word: the same call, a smaller table.

# %%
few_words = WordTokenizer.from_captions(captions)
input_ids = few_words(captions[:2])
print("input_ids:", tuple(input_ids.shape), "· vocabulary:", few_words.vocab_size)
print(input_ids[0].tolist())
print(few_words.decode(input_ids[0]))

# %% [markdown]
# ### The text tower
#
# A transformer with *causal* attention: a token sees itself and what stands before it. So the one token that has seen
# the whole sentence is the last, the end token, and its hidden state becomes the vector of the text. That is all
# `forward` does:

# %%
from course_lib.encoders.clip_text import CLIPText

print(code_of(CLIPText.forward))

# %% [markdown]
# The claim that an early token cannot see a later one can be tested: change the last word of a caption, and the hidden
# states of all earlier tokens must stay exactly as they were.

# %%
from course_lib.encoders.clip_text import CLIPTextConfig

text_config = CLIPTextConfig(vocab_size=words.vocab_size, context_length=32, width=96, layers=2, heads=4, mlp_width=384)
tower = CLIPText(text_config).eval()
heart_or_cross = words(["a pink heart", "a pink cross"])  # start, a, pink, heart or cross, end
with torch.no_grad():
    heart, cross = tower.forward_features(heart_or_cross)
print("the same at start, a, pink, heart/cross, end:", [torch.equal(heart[i], cross[i]) for i in range(5)])

# %% [markdown]
# ### The image tower
#
# CLIP's authors used two kinds: a ViT, whose class token becomes the picture's vector, and a ResNet that ends in
# *attention pooling*: the mean of the last feature map asks all its places a question, and their answers, weighted by
# attention, are the vector. On a million pictures or more the ViT wins. We have twenty thousand and two cores: a small
# convolutional network with attention pooling learns the microworld in a minute, and a ViT does not.

# %%
from course_lib.encoders.convnet import ConvNet, ConvNetConfig
from course_lib.encoders.vit import ViT, ViTConfig

pixels = torch.zeros(2, 3, 64, 64)
convnet = ConvNet(ConvNetConfig()).eval()
vit = ViT(ViTConfig(image_size=64, patch_size=8, width=96, layers=2, heads=4, mlp_width=384)).eval()
with torch.no_grad():
    print("feature map:", tuple(convnet.forward_features(pixels).shape), "-> vector:", tuple(convnet(pixels).shape))
    print("ViT tokens :", tuple(vit.forward_features(pixels).shape), "-> vector:", tuple(vit(pixels).shape))

# %% [markdown]
# ### CLIP
#
# Put together, in the library's own words:

# %%
print(code_of(CLIP.forward))
print(code_of(CLIP.encode_image))
print(code_of(CLIP.encode_text))

# %% [markdown]
# And drawn from the code, by following three pictures and five captions through it:

# %%
from course_lib.viz.diagram import architecture

config = CLIPConfig(vision=ConvNetConfig(), text=text_config, projection_dim=96)
runtime.seed_everything(0)
model = CLIP(config)
show(architecture(model, torch.zeros(3, 3, 64, 64), words(captions[:5])))

# %% [markdown]
# **Is this CLIP, or only something like it?** A fair test: build the reference implementation with random weights, copy
# the weights into ours, give both the same input. Every number must agree. The name maps that do the copying also load
# the published checkpoints, which section 13 uses.

# %%
from transformers import CLIPConfig as ReferenceConfig
from transformers import CLIPModel
from transformers.utils import logging as transformers_logging

from course_lib.pretrained.clip import from_transformers

transformers_logging.set_verbosity_error()  # it warns of settings that such tiny models never use
small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
reference = CLIPModel(
    ReferenceConfig(
        vision_config=small | {"image_size": 48, "patch_size": 16},
        text_config=small | {"vocab_size": 300, "eos_token_id": 299, "bos_token_id": 298},
        projection_dim=32,
    )
).eval()
ours = CLIP.from_weights(*from_transformers(reference.config.to_dict(), reference.state_dict()))

sample_pixels, sample_ids = torch.randn(4, 3, 48, 48), torch.randint(1, 298, (5, 12))
sample_ids[:, -1] = 299
with torch.no_grad():
    difference = (
        ours(sample_pixels, sample_ids).logits_per_image
        - reference(input_ids=sample_ids, pixel_values=sample_pixels).logits_per_image
    ).abs()
print("logits:", tuple(difference.shape), "· equal to transformers to 1e-5:", bool(difference.max() < 1e-5))

# %% [markdown]
# The published CLIPs load into this same class (section 13). What they were, in one card:

# %%
from course_lib.viz.papers import paper_card

paper_card("clip")

# %% [markdown]
# ## 4 Training from scratch
#
# Twelve thousand pictures with five captions each. Pictures stay bytes in memory and become numbers between -1 and 1
# batch by batch. For measuring there are a thousand other pictures, from scenes that no training picture shows.

# %%
full_scale = runtime.scale() == "full"
data = recipes.training_pairs(100_000 if full_scale else 12_000)
print("pictures: ", tuple(data.pictures.shape[1:]), data.pictures.dtype)
print("input_ids:", tuple(data.input_ids.shape[1:]), "five captions each, for example:")
for ids in data.input_ids[0]:
    print("  ", recipes.word_tokenizer().decode(ids))

# %% [markdown]
# The whole training step, written out. The first of the five captions is the complete one, so it says most about which
# picture is meant; `clamp_logit_scale` keeps $s$ at 100 or below.


# %%
def batch_loss(model, generator, batch_size=128):
    """Draws a batch of pairs and returns CLIP's loss."""
    model.clamp_logit_scale()
    rows = torch.randperm(len(data.pictures), generator=generator)[:batch_size]
    pixel_values = recipes.pixel_values(data.pictures[rows]).to(device)
    input_ids = data.input_ids[rows, 0].to(device)
    output = model(pixel_values, input_ids)
    return clip_loss(output.image_embeds, output.text_embeds, model.logit_scale.exp())


# %% [markdown]
# The loop around it (AdamW, a linear warm-up and a cosine for the learning rate, gradients cut to length 1, mixed
# precision on a GPU) is `course_lib.training.loop.train`, which lesson 01 builds. It draws the curve while it runs; the
# dashed line is $\ln 128$, the loss of blind guessing.

# %%
from course_lib.training.loop import TrainingConfig, train
from course_lib.viz.live import LiveCurve

steps = 2_000 if full_scale else recipes.FROM_SCRATCH.steps
config = TrainingConfig(steps=steps, batch_size=128, learning_rate=2e-3, warmup_steps=30, weight_decay=0.1)
runtime.seed_everything(0)
scratch = CLIP(recipes.clip_config()).to(device)
before = recipes.measure_clip(scratch)
with LiveCurve("CLIP from scratch", total=steps, chance=math.log(128)) as live:
    history = train(scratch, batch_loss, config, on_step=live.update)
print("seconds of training:", runtime.measured(history.seconds, 0))

# %% [markdown]
# **Measuring it.** Retrieval, by *Recall at K*: give the model a picture and 100 captions, one of which is right. R@1
# is how often the right one gets the highest cosine, R@5 how often it is among the five highest; then the same with a
# caption and 100 pictures. Our number is the mean of both directions. Within a training batch of $N$ the first of the
# two is called *contrastive accuracy*, with chance $1/N$. By chance R@1 is 1 in 100.

# %%
after = recipes.measure_clip(scratch)
for name in ["R@1 of 100", "R@1 of 1000"]:
    print(f"{name:12} untrained {runtime.measured(before[name])}   trained {runtime.measured(after[name])}")
print("R@1 among 100 is at least 0.9:", after["R@1 of 100"] >= 0.9, "(chance: 0.01)")

# %% [markdown]
# What it gets wrong is instructive. Below are pictures whose own caption did *not* win, with the caption that did.

# %%
from course_lib.evaluation.zero_shot import contrastive_accuracy

test_scenes = microworld.sample_scenes(1_000, seed=5, split="test")
test_pictures = torch.from_numpy(microworld.render(test_scenes))
test_captions = [microworld.captions(scene)[0] for scene in test_scenes]
similarity = embed_images(scratch, recipes.pixel_values(test_pictures)) @ embed_texts(scratch, words(test_captions)).T
print("contrastive accuracy in a batch of 128:", runtime.measured(contrastive_accuracy(similarity[:128, :128])))
chosen = similarity.argmax(dim=1)
wrong = (chosen != torch.arange(len(chosen))).nonzero().flatten()[:4]
show(
    figures.image_grid(
        microworld.render([test_scenes[i] for i in wrong], 128),
        [test_captions[chosen[i]] for i in wrong],
        marks=[False] * len(wrong),
    ),
    alt="Four pictures whose own caption did not win, each with the caption that did.",
)

# %% [markdown]
# ## 5 Zero-shot classification
#
# A trained CLIP is a classifier for any classes that can be put into words: encode a sentence for each class, and give
# a picture the class whose vector is nearest. Nothing is trained, hence *zero-shot*. We ask for one of 64 classes, 8
# colours by 8 shapes, on pictures of a single object. Eight of these 64 pairs never occur in any training picture:
# nobody ever showed the model a green triangle. Chance is 1 in 64.

# %%
from course_lib.data.microworld import COLOURS, HELD_OUT, PAIRS, SEEN, SHAPES

single = {
    "seen": microworld.single_object_scenes(560, 5, SEEN),
    "held out": microworld.single_object_scenes(400, 5, sorted(HELD_OUT)),
}
single_pixels = {name: recipes.pixel_values(microworld.render(part)) for name, part in single.items()}
labels = {name: torch.tensor([PAIRS.index(scene.objects[0].pair) for scene in part]) for name, part in single.items()}
class_names = [f"{'an' if colour == 'orange' else 'a'} {colour} {shape}" for colour, shape in PAIRS]
print(len(class_names), "classes, such as:", ", ".join(class_names[:9]))


# %%
def zero_shot(model, pixel_values, sentences):
    """The class of each picture: the sentence with the highest cosine."""
    text_embeds = embed_texts(model, words(sentences))  # (64, D): the classifier
    return (embed_images(model, pixel_values) @ text_embeds.T).argmax(dim=1)


for name in single:
    predicted = zero_shot(scratch, single_pixels[name], class_names)
    colour_right = (predicted // 8 == labels[name] // 8).double().mean().item()
    shape_right = (predicted % 8 == labels[name] % 8).double().mean().item()
    print(
        f"{name:8}: colour {runtime.measured(colour_right)}   shape {runtime.measured(shape_right)}   (chance: 0.125)"
    )

# %% [markdown]
# The model from scratch knows its colours and hardly any shapes. Yet it finds the right caption among a hundred! Both
# are true: a complete caption names up to four colours, four sizes and materials, and that is enough to tell it from 99
# others. **A high recall does not say that a model knows everything the captions say**, only that it knows enough to
# win the choices it was given. In a small world with a small budget, colour is learned in seconds and shape takes far
# longer.
#
# Section 7 mends this by standing on a vision backbone that was trained for shapes. The course's embedded checkpoint
# was made that way; here it is on the same pictures:

# %%
for name in single:
    predicted = zero_shot(course_clip, single_pixels[name], class_names)
    accuracy = (predicted == labels[name]).double().mean().item()
    print(f"{name:8}: 64-way accuracy {runtime.measured(accuracy)}   at least 0.8: {accuracy >= 0.8}   (chance: 0.016)")

# %% [markdown]
# The pairs it never saw are recognised nearly as well as the others: it has learned *green* and *triangle*, not a list
# of 56 pairs. A few pictures of held-out pairs, with their three most probable classes:

# %%
with torch.no_grad():
    output = course_clip(single_pixels["held out"][:8].to(device), words(class_names).to(device))
probabilities = output.logits_per_image.softmax(dim=-1).cpu()
drawn = microworld.render(single["held out"][:8], 96)
show(figures.predictions(drawn, probabilities, [" ".join(pair) for pair in PAIRS], labels["held out"][:8], top=3))

# %% [markdown]
# **A score instead of a class.** To ask "is there a star?" of pictures with several objects, the cosine with "a star"
# is a score, not an answer: it needs a threshold. The *area under the ROC curve* (AUC) judges the score without one. It
# is the probability that a picture with a star scores higher than one without; chance is 0.5.

# %%
from course_lib.evaluation.zero_shot import roc_auc

image_vectors = embed_images(course_clip, recipes.pixel_values(test_pictures))
for shape in ["star", "ring", "crescent"]:
    there = torch.tensor([any(thing.shape == shape for thing in scene.objects) for scene in test_scenes])
    score = image_vectors @ embed_texts(course_clip, words([f"a {shape}"]))[0]
    print(f"a {shape:9} AUC {runtime.measured(roc_auc(score, there))}")

# %% [markdown]
# **Where does it look?** Attention pooling weighs the places of the last feature map. Seen over the picture:

# %%
shown = scenes[4]
pool = course_clip.vision_model
with torch.no_grad():
    feature_map = pool.forward_features(recipes.pixel_values(microworld.render([shown])).to(device))
    weights = pool.pool.weights(feature_map)[0].cpu()  # (heads, 8, 8)
show(attention_map(microworld.render([shown], 256)[0], weights))

# %% [markdown]
# Nobody told it where the objects are, yet the heads share them out: each looks at some of the objects, none at the
# empty background.

# %% [markdown]
# ## 6 Prompts
#
# A class name is not yet a caption. CLIP has read sentences, so its text tower knows best what to do with sentences.
# Two remedies cost nothing but words: put the name into a *template* such as "a photo of {}", and average the vectors
# of several templates (*ensembling*). With $y_c^{(k)}$ the unit vector of class $c$ in template $k$ of $K$:
#
# $$w_c = \frac{\bar y_c}{\lVert \bar y_c \rVert}, \qquad \bar y_c = \frac{1}{K} \sum_{k=1}^{K} y_c^{(k)}$$
#
# Average first, divide by the length last: a template that is unsure of a class contributes less to its direction.

# %%
templates = ["{}", "a picture of {}", "an image of {}", "here is {}", "there is {}", "a drawing of {}"]
per_template = torch.stack([embed_texts(course_clip, words([t.format(n) for n in class_names])) for t in templates])
ensemble = F.normalize(per_template.mean(dim=0), dim=-1)  # (64, D)
print("vectors of all templates:", tuple(per_template.shape), "-> classifier:", tuple(ensemble.shape))

# %% [markdown]
# On clear pictures nearly every answer is right already, and there is nothing to compare. So make it hard: fog.


# %%
def in_fog(pictures, share=0.5):
    """Blends uint8 pictures (N, H, W, 3) with a light grey; `share` is that of the fog."""
    return ((1 - share) * torch.as_tensor(pictures).float() + share * 225).to(torch.uint8)


every_single = single["seen"] + single["held out"]
foggy = embed_images(course_clip, recipes.pixel_values(in_fog(microworld.render(every_single))))
every_label = torch.cat([labels["seen"], labels["held out"]])


def accuracy_of(classifier):
    return ((foggy @ classifier.T).argmax(dim=1) == every_label).double().mean().item()


bare = embed_texts(course_clip, words([" ".join(pair) for pair in PAIRS]))
scores = {"red star": accuracy_of(bare)}
scores |= {t.format("a red star"): accuracy_of(w) for t, w in zip(templates, per_template, strict=True)}
average = "the six with an article, averaged"
scores |= {average: accuracy_of(ensemble)}
show(figures.prompt_comparison(scores, chance=1 / 64, highlight=average, title="Prompts in fog", digits=3))
one_by_one = [accuracy_of(w) for w in per_template]
print("six templates one by one: worst", runtime.measured(min(one_by_one)), " mean", end=" ")
print(runtime.measured(sum(one_by_one) / 6), " best", runtime.measured(max(one_by_one)))
print("six templates averaged  :", runtime.measured(accuracy_of(ensemble)))

# %% [markdown]
# The templates differ by a few points, and there is no telling beforehand which is best. The ensemble need not beat the
# best of them, and here it does not; it lands above their mean, and spares you the choice. Our captions all come from
# one grammar, so the gain is small. On ImageNet, whose class names are ambiguous ("crane", "boxer"), CLIP's authors
# report 1.3 points from "A photo of a {}." and 3.5 more from 80 templates averaged (section 3.1.4 of the paper).

# %% [markdown]
# The library's version is `text_classifier`; it must give the same classifier:

# %%
from course_lib.evaluation.zero_shot import text_classifier

print("equal:", torch.allclose(text_classifier(course_clip, words, class_names, templates), ensemble, atol=1e-6))

# %% [markdown]
# ## 7 Standing on a vision checkpoint
#
# Nobody trains a captioner, a detector or a chatbot from random weights: they start from a tower that somebody trained
# before. So does the course. Lesson 02's *vision checkpoint* is a convolutional network that was asked, in every cell
# of an 8 x 8 grid, what object is there and where its edges are: dense supervision, from which shapes are learned fast.
#
# We put its convolutions into CLIP's image tower and **freeze** them; only the attention pooling, the text tower, the
# projections and the temperature are trained. This is *locked-image tuning* (LiT, Zhai et al. 2022). Since frozen
# layers always give the same answer, every picture passes them once, before training starts, and the steps are cheap.

# %%
print(code_of(recipes.clip_on_vision))

# %%
print(code_of(recipes.encode_feature_maps))
print(code_of(recipes.train_clip_from_vision))

# %%
steps = 2_000 if full_scale else recipes.FROM_VISION.steps
config = dataclasses.replace(recipes.FROM_VISION, steps=steps)
with LiveCurve("CLIP on the vision checkpoint", total=steps, chance=math.log(128)) as live:
    lit, history = recipes.train_clip_from_vision(data, config=config, on_step=live.update)
print("seconds of training:", runtime.measured(history.seconds, 0))

# %%
thresholds = {"R@1 of 100": 0.97, "R@1 of 1000": 0.93, "zero-shot seen": 0.95, "zero-shot held out": 0.9}
lit_scores = recipes.measure_clip(lit)
print(f"{'':20} from scratch   on vision   threshold")
for name, threshold in thresholds.items():
    met = lit_scores[name] >= threshold
    columns = f"{runtime.measured(after[name])}        {runtime.measured(lit_scores[name])}"
    print(f"{name:18}  {columns}     {threshold:.2f} met: {met}")
show(figures.compare({"from scratch": after, "on the vision checkpoint": lit_scores}, value="rate"))

# %% [markdown]
# Fewer seconds, and now the shapes are there too, for pairs that were never shown.
#
# **The modality gap.** Two networks with random weights put pictures into one narrow cone of the space and captions
# into another. Does training bring them together? The distance between the mean picture and the mean caption tells, and
# so does a look from the two directions in which the vectors differ most; lines join the true pairs.

# %%
runtime.seed_everything(0)
untrained = CLIP(recipes.clip_config()).to(device)
for name, model in [("untrained", untrained), ("trained", lit)]:
    vectors = {
        "pictures": embed_images(model, recipes.pixel_values(test_pictures[:60])),
        "captions": embed_texts(model, words(test_captions[:60])),
    }
    gap = (vectors["pictures"].mean(dim=0) - vectors["captions"].mean(dim=0)).norm().item()
    print(f"{name:9} distance of the means {runtime.measured(gap)}")
    show(embedding.scatter(vectors, title=name))

# %% [markdown]
# Before training there are two clouds, after it one: this little CLIP closed its gap. Large CLIPs do not quite. Their
# pictures and captions stay apart (Liang et al., 2022), for with a sharp softmax only the *order* of similarities
# counts, not their size. That is why a cosine of 0.3 can be a perfect match there. Lesson 05 opens and closes the gap.

# %% [markdown]
# ## 8 Adapting CLIP
#
# What if the pictures that matter look different from those CLIP has learned from? Take more of the fog of section 6.

# %%
from course_lib.training.adaptation import few_shot


def pair_labels(scenes):
    return torch.tensor([PAIRS.index(scene.objects[0].pair) for scene in scenes])


candidates = microworld.sample_scenes(3_000, seed=7, max_objects=1)
chosen = few_shot(pair_labels(candidates), 8, torch.Generator().manual_seed(0))  # 8 pictures of each of 56 classes
few = [candidates[i] for i in chosen]
few_pixels, few_labels = recipes.pixel_values(in_fog(microworld.render(few), 0.6)), pair_labels(few)
sheet = in_fog(microworld.render(single["seen"][:6], 96), 0.6).numpy()
show(figures.image_grid(sheet, [" ".join(scene.objects[0].pair) for scene in single["seen"][:6]]))

# %% [markdown]
# We are given eight labelled pictures of each of the 56 seen classes, in fog, and want three things: to be good in fog;
# to stay good on clear pictures; and to stay *open*, that is, good on the eight pairs for which we have no picture, in
# fog.

# %%
fog_pixels = {name: recipes.pixel_values(in_fog(microworld.render(part), 0.6)) for name, part in single.items()}
exams = {
    "fog": (fog_pixels["seen"], labels["seen"]),
    "fog, new classes": (fog_pixels["held out"], labels["held out"]),
    "clear": (single_pixels["seen"], labels["seen"]),
}


def examine(model, classify):
    """Accuracy on the three test sets of `classify`, which takes image vectors (B, D) to scores (B, 64)."""
    rates = {}
    for name, (pixels, right) in exams.items():
        scores = classify(embed_images(model, pixels))
        rates[name] = (scores.argmax(dim=1) == right).double().mean().item()
    return rates


results = {"zero-shot": examine(course_clip, lambda vectors: vectors @ ensemble.T)}

# %% [markdown]
# **Linear probe.** Forget the words; fit a logistic regression from image vectors to classes (by L-BFGS, as CLIP's
# authors did). It can only answer classes it has pictures of.

# %%
from course_lib.training.adaptation import linear_probe

few_vectors = embed_images(course_clip, few_pixels)  # (448, D): computed once, the model does not change
in_fog_rate = []
for shots in [1, 2, 4, 8]:
    rows = few_shot(few_labels, shots, torch.Generator().manual_seed(0))
    probe = linear_probe(few_vectors[rows], few_labels[rows], classes=64, strength=100.0)
    rates = examine(course_clip, lambda vectors, probe=probe: probe(vectors).detach())
    in_fog_rate.append(rates["fog"])
results["linear probe"] = rates
zero = [results["zero-shot"]["fog"]] * 4
show(
    figures.lines(
        [1, 2, 4, 8],
        {"linear probe": in_fog_rate, "zero-shot": zero},
        across="labelled pictures per class",
        value="accuracy in fog",
    )
)

# %% [markdown]
# In fog a single labelled picture per class already beats words that were learned in clear weather. On clear pictures
# no number of labels could: there zero-shot is right nearly always. Labels pay where the pictures differ from those of
# training.

# %% [markdown]
# **CoOp** (Zhou et al., 2022) keeps the words and learns the *prompt*: the vectors in front of the class name, which
# begin as those of "a picture of", become parameters. Both towers stay as they are; a few hundred numbers are trained.

# %%
from course_lib.training.adaptation import LearnedPrompt

prompt = LearnedPrompt(copy.deepcopy(course_clip), words, class_names, start_from="a picture of")


def prompt_loss(prompt, generator):
    rows = torch.randint(len(few_labels), (128,), generator=generator)
    return prompt.loss(few_vectors[rows].to(device), few_labels[rows].to(device))


train(prompt, prompt_loss, TrainingConfig(steps=60, learning_rate=2e-2, weight_decay=0.0))
learned_classifier = prompt().detach().cpu()
results["CoOp"] = examine(course_clip, lambda vectors: vectors @ learned_classifier.T)
print("numbers learned:", prompt.context.numel())

# %% [markdown]
# **LoRA** (Hu et al., 2021) puts beside each weight matrix $W$ of the image tower a product of two thin ones: $W +
# \frac{\alpha}{r} B A$, with $A$ of shape $(r, \text{in})$, $B$ of shape $(\text{out}, r)$ and $B = 0$ at the start.
# The *rank* $r$ (here 4) says how thin, the constant $\alpha$ how loudly the product speaks. Only $A$ and $B$ are
# trained. **Full fine-tuning** trains the whole image tower. Both learn against the classifier written in words, so all
# 64 classes stay.

# %%
from course_lib.training.adaptation import classification_loss, inject_lora, merge_lora

towards_words = classification_loss(ensemble.to(device), few_pixels, few_labels, batch_size=56)
brief = TrainingConfig(steps=40, learning_rate=1e-3, warmup_steps=5, weight_decay=0.0)

lora = copy.deepcopy(course_clip).requires_grad_(False)
trainable = inject_lora(lora.vision_model, rank=4)
train(lora, towards_words, brief)
merge_lora(lora)
results["LoRA"] = examine(lora, lambda vectors: vectors @ ensemble.T)

# %%
tuned = copy.deepcopy(course_clip).requires_grad_(False)
tuned.vision_model.requires_grad_(True)
train(tuned, towards_words, brief)
results["full fine-tuning"] = examine(tuned, lambda vectors: vectors @ ensemble.T)
whole = sum(parameter.numel() for parameter in tuned.vision_model.parameters())
print(f"numbers trained: LoRA {trainable:,}, full fine-tuning {whole:,}")

# %% [markdown]
# **WiSE-FT** (Wortsman et al., 2022) asks for no more training: average the *weights* of the model before and after
# fine-tuning, $(1-\lambda)\,\theta_{\text{before}} + \lambda\,\theta_{\text{after}}$. Each $\lambda$ is one model, and
# costs nothing at inference.

# %%
from course_lib.training.adaptation import wise_ft

path = {}
for mix in [0.0, 0.25, 0.5, 0.65, 0.8, 1.0]:
    between = copy.deepcopy(course_clip)
    between.load_state_dict(wise_ft(course_clip.state_dict(), tuned.state_dict(), mix))
    path[mix] = examine(between, lambda vectors: vectors @ ensemble.T)
results["WiSE-FT, 0.65"] = path[0.65]
show(figures.compare(results, chance=1 / 64))

# %%
curve = [(rates["fog"], rates["clear"]) for rates in path.values()]
single_points = {name: [(results[name]["fog"], results[name]["clear"])] for name in ["linear probe", "CoOp", "LoRA"]}
show(
    figures.trade_off(
        {"WiSE-FT": curve} | single_points,
        labels={"WiSE-FT": [f"{mix:g}" for mix in path]},
        across="accuracy in fog",
        value="accuracy on clear pictures",
    )
)

# %%
print(f"{'':17} " + "  ".join(f"{name:17}" for name in exams))
for method, rates in results.items():
    print(f"{method:17} " + "  ".join(f"{runtime.measured(rates[name]):17}" for name in exams))

# %% [markdown]
# Read the table by column. *In fog* everything that was trained beats zero-shot. *New classes* separate the methods:
# the linear probe has no answer for a class without pictures, and whatever kept the words kept the classes. *Clear
# pictures* show the price: the tower that was tuned for fog has forgotten clear weather, and WiSE-FT buys most of it
# back along a curve on which you may choose your point. CoOp changes only the words, so it can neither gain nor lose as
# much.

# %% [markdown]
# ## 9 SigLIP
#
# CLIP's softmax ties the whole batch together: to know one probability you need all $N$ logits of its row and column.
# That is awkward when the batch is spread over many machines. SigLIP (Zhai et al., 2023) asks a simpler question, once
# for each of the $N \times N$ pairings: *do these two belong together, yes or no?*

# %%
paper_card("siglip")

# %% [markdown]
# With $z_{ij} = 1$ if $i = j$ and $-1$ otherwise, $\sigma(t) = 1/(1+e^{-t})$, the scale $s$ and a learned bias $b$:
#
# $$\ell = -\frac{1}{N} \sum_{i=1}^{N} \sum_{j=1}^{N} \log \sigma\big(z_{ij}\,(s\, x_i \cdot y_j + b)\big)$$


# %%
def sigmoid_loss(image_embeds, text_embeds, logit_scale, logit_bias):
    """SigLIP's loss for N pairs of unit vectors, (N, D) and (N, D)."""
    logits = logit_scale * image_embeds @ text_embeds.T + logit_bias  # (N, N)
    belongs = 2 * torch.eye(len(logits)) - 1  # z: 1 on the diagonal, -1 elsewhere
    return -F.logsigmoid(belongs * logits).sum() / len(logits)


from open_clip.loss import SigLipLoss

from course_lib.losses.contrastive import siglip_loss

ours = sigmoid_loss(image_embeds, half_way, 10.0, -10.0)
print("course_lib agrees:", torch.allclose(ours, siglip_loss(image_embeds, half_way, 10.0, -10.0)))
print("open_clip agrees :", torch.allclose(ours, SigLipLoss()(image_embeds, half_way, 10.0, -10.0)))

# %% [markdown]
# **Why there is a bias, and why it starts at -10.** Of the $N^2$ questions, $N$ have the answer yes. An untrained model
# with $b = 0$ says "maybe" to all of them, and its loss is dominated by $N^2 - N$ easy corrections in the same
# direction. With $b = -10$ it starts by saying no to everything, which is nearly always right:

# %%
for count in [8, 128, 1024]:
    flat = torch.zeros(count, 1)  # vectors that know nothing: every cosine is 0
    losses = [sigmoid_loss(flat, flat, 10.0, bias).item() for bias in (0.0, -10.0)]
    print(f"batch of {count:4}: loss with b = 0: {losses[0]:6.1f}   with b = -10: {losses[1]:5.1f}")

# %% [markdown]
# **Why it is kinder to memory.** A sum can be made piece by piece. The loss of a large batch needs only a block of the
# matrix at a time, where a softmax needs whole rows and columns. Here in blocks of two pictures:

# %%
whole = sigmoid_loss(image_embeds, half_way, 10.0, -10.0)
belongs = 2 * torch.eye(N) - 1
by_blocks = 0.0
for start in range(0, N, 2):
    block = 10.0 * image_embeds[start : start + 2] @ half_way.T - 10.0  # (2, N) and never (N, N)
    by_blocks = by_blocks - F.logsigmoid(belongs[start : start + 2] * block).sum() / N
print("block by block it is the same loss:", torch.allclose(whole, by_blocks))

# %% [markdown]
# SigLIP's towers differ from CLIP's in a few places: no class token but an attention-pooling head on the image side, no
# causal mask but the last position on the text side, and the bias. The library's `SigLIP` has all of them:

# %%
from transformers import SiglipConfig, SiglipModel

from course_lib.models.siglip import SigLIP
from course_lib.pretrained import siglip as siglip_weights

reference = SiglipModel(
    SiglipConfig(
        vision_config=small | {"image_size": 48, "patch_size": 16},
        text_config=small
        | {"vocab_size": 300, "max_position_embeddings": 12, "projection_size": 64}
        | {"bos_token_id": 298, "eos_token_id": 299},
    )
).eval()
siglip = SigLIP.from_weights(*siglip_weights.from_transformers(reference.config.to_dict(), reference.state_dict()))
with torch.no_grad():
    expected = reference(input_ids=sample_ids, pixel_values=sample_pixels).logits_per_image
    print(
        "equal to transformers to 1e-5:",
        bool((siglip(sample_pixels, sample_ids).logits_per_image - expected).abs().max() < 1e-5),
    )

# %%
show(architecture(siglip, sample_pixels, sample_ids))

# %% [markdown]
# **Does it learn as well?** To compare, we need many short runs that differ in one thing. Frozen convolutions make them
# cheap: the feature maps of 4,000 training and 1,000 test pictures are computed once, and each run trains attention
# pooling, text tower and projections for 45 steps.

# %%
from course_lib.evaluation.embedding import measuring
from course_lib.evaluation.retrieval import recall_at_k

short_scenes = microworld.sample_scenes(4_000, seed=1)
trunk = course_clip.vision_model.trunk
with measuring(course_clip):
    parts = data.pictures[:4_000].split(250), test_pictures.split(250)
    features, test_features = (torch.cat([trunk(recipes.pixel_values(p).to(device)) for p in part]) for part in parts)
print("feature maps:", tuple(features.shape), tuple(test_features.shape))


# %%
def vectors_of(model, feature_maps, input_ids):
    """Unit vectors of pictures, from their feature maps, and of texts."""
    image_embeds = F.normalize(model.visual_projection(model.vision_model.pool(feature_maps)), dim=-1)
    return image_embeds, F.normalize(model.encode_text(input_ids.to(device)), dim=-1)


def short_run(texts, loss=clip_loss, batch_size=128, logit_scale=None):
    """Trains 45 steps on 4,000 pairs; returns R@1 among 1,000 test pictures, the mean of both directions."""
    runtime.seed_everything(0)
    model = CLIP(recipes.clip_config()).to(device)
    model.vision_model.trunk.requires_grad_(False)
    if logit_scale is not None:
        model.logit_scale.requires_grad_(False).fill_(math.log(logit_scale))
    input_ids = words(texts)

    def batch_loss(model, generator):
        rows = torch.randperm(len(texts), generator=generator)[:batch_size]
        image_embeds, text_embeds = vectors_of(model, features[rows], input_ids[rows])
        return loss(image_embeds, text_embeds, model.logit_scale.exp())

    train(model, batch_loss, TrainingConfig(steps=45, learning_rate=2e-3, warmup_steps=10, weight_decay=0.1))
    with measuring(model):
        image_embeds, text_embeds = vectors_of(model, test_features, words(test_captions))
    similarity = image_embeds @ text_embeds.T
    return (recall_at_k(similarity) + recall_at_k(similarity.T)) / 2


# %%
def sigmoid_with_bias(bias):
    """SigLIP's loss; in 45 steps a learned bias would hardly move from where it starts, so it is fixed here."""
    return lambda image_embeds, text_embeds, logit_scale: siglip_loss(image_embeds, text_embeds, 10.0, bias)


complete = [microworld.captions(scene)[0] for scene in short_scenes]
recall = {"CLIP's softmax": short_run(complete)}
recall["sigmoid, bias -10"] = short_run(complete, sigmoid_with_bias(-10.0))
recall["sigmoid, bias -5"] = short_run(complete, sigmoid_with_bias(-5.0))
for name, value in recall.items():
    print(f"{name:17} R@1 among 1,000 {runtime.measured(value)} (chance: 0.001)")

# %% [markdown]
# In so short a run the softmax wins, and where the bias starts matters: -10 suits batches of 32,768, in which one
# pairing of 32,768 is right, and for our 128 a bias near $-\ln 127 \approx -5$ is closer to the truth. At full length
# the SigLIP paper finds the two losses level at large batches and the sigmoid ahead below 16,384.

# %% [markdown]
# ## 10 ALIGN and OpenCLIP
#
# CLIP's 400 million pairs were selected and cleaned. ALIGN (Jia et al., 2021) asked what happens without: 1.8 billion
# pictures with the alternative text of their web pages, hardly filtered.

# %%
paper_card("align")

# %% [markdown]
# Its towers are an EfficientNet and a BERT; the picture is not projected, the text is projected to the picture's width.
# Built for real and compared with the reference:

# %%
from course_lib.authoring.parity.lesson_06 import align_beside_transformers
from course_lib.encoders.bert import BERTConfig
from course_lib.encoders.efficientnet import EfficientNetConfig
from course_lib.models.align import ALIGN, ALIGNConfig

for row in align_beside_transformers():
    print(f"{row.what:20} equal to transformers to 1e-5:", row.max_abs_difference < 1e-5)

# %%
vision = EfficientNetConfig(width_coefficient=0.25, depth_coefficient=0.4)
bert = BERTConfig(vocab_size=300, context_length=32, width=64, layers=2, heads=4, mlp_width=128)
align = ALIGN(ALIGNConfig(vision, bert, projection_dim=vision.width)).eval()
show(architecture(align, torch.randn(4, 3, 64, 64), sample_ids))

# %% [markdown]
# **How much does noise cost?** The microworld can tell, because it knows which captions are wrong. `noisy_captions`
# exchanges a share of them for another picture's caption, for one with a wrong word, or for the filler that web pages
# are full of:

# %%
for noisy in microworld.noisy_captions(scenes, seed=3, rate=0.6)[:4]:
    print(f"{noisy.kind:12} {noisy.text}")

# %%
rates = [0.0, 0.4, 0.8]
with_noise = []
for rate in rates:
    texts = [noisy.text for noisy in microworld.noisy_captions(short_scenes, seed=3, rate=rate)]
    with_noise.append(short_run(texts))
show(
    figures.lines(
        rates,
        {"45 steps on 4,000 pairs": with_noise},
        across="share of wrong captions",
        value="R@1 among 1,000",
        chance=0.001,
    )
)
print("with no / 40 % / 80 % wrong captions:", *map(runtime.measured, with_noise))

# %% [markdown]
# At a fixed number of steps noise is dear. (With no noise, recall is below that of section 9: here any of the five
# captions may come, and they say less.) Yet even with four captions of five wrong it stays far above chance, for every
# wrong caption is wrong in its own way, while the right ones pull together. That is ALIGN's bet: take more data rather
# than better data. Lesson 12 takes the other side, where BLIP filters.

# %% [markdown]
# ### OpenCLIP as a library
#
# `open_clip` is where most public CLIPs live: one call builds any of its architectures, another lists the weights that
# were published for them. Its models load into ours by another name map.

# %%
paper_card("open_clip")

# %%
import open_clip

from course_lib.pretrained.open_clip import from_open_clip

print(
    len(open_clip.list_models()) > 100,
    "· the weights published for ViT-B-32 include",
    open_clip.list_pretrained_tags_by_model("ViT-B-32")[:3],
)

# %%
recipe = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 48, "layers": 2, "width": 64, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2},
}
theirs = open_clip.model.CLIP(**recipe).eval()
ours = CLIP.from_weights(*from_open_clip(recipe, theirs.state_dict()))
sentences = ["a red star", "a photo of a crescent", "naïve café 🐈"]
with torch.no_grad():
    expected = theirs.encode_text(open_clip.SimpleTokenizer()(sentences))
    print("the same ids:", torch.equal(bpe(sentences), open_clip.SimpleTokenizer()(sentences)))
    print("the same vectors to 1e-5:", bool((ours.encode_text(bpe(sentences)) - expected).abs().max() < 1e-5))

# %% [markdown]
# ## 11 Temperature, false negatives and the batch
#
# Two numbers are chosen before CLIP is trained, and each can ruin it. The first is the temperature. With short runs as
# in section 9, and the scale fixed instead of learned:

# %%
scales = [1.0, 10.0, 30.0, 100.0]
fixed = [short_run(complete, logit_scale=scale) for scale in scales]
show(
    figures.lines(
        scales,
        {"scale fixed": fixed},
        across="logit scale 1/τ",
        value="R@1 among 1,000",
        log=True,
        chance=0.001,
        mark=1 / 0.07,
        mark_label="where CLIP starts",
    )
)
print("R@1 with the scale fixed:", {scale: runtime.measured(value) for scale, value in zip(scales, fixed, strict=True)})

# %% [markdown]
# **Break it: take the temperature away** ($s=1$), and the softmax is so flat that the loss hardly tells a good model
# from a bad one. At $s=100$ from the first step, the loss hears only the nearest wrong answers, and early in training
# these are accidents. In between there is a broad optimum, which a learned scale finds by itself. The second is the
# batch size, for it is the number of wrong answers to choose among:

# %%
sizes = [8, 32, 128]
by_size = [short_run(complete, batch_size=size) for size in sizes[:-1]] + [recall["CLIP's softmax"]]
print(
    "R@1 after 45 steps, by batch size:",
    {size: runtime.measured(value) for size, value in zip(sizes, by_size, strict=True)},
)
print("a larger batch is better:", by_size[0] < by_size[1] < by_size[2])

# %% [markdown]
# (A larger batch has also seen more pictures after 45 steps. Try giving the small batches as many, and see what
# remains.)

# %% [markdown]
# ### Negatives that are not negative
#
# The loss takes every caption of the batch but one for wrong. Is that so? In the microworld a program can read a
# caption and say whether it is true of a scene, so we can count the *false negatives*: pairs off the diagonal whose
# caption is true all the same.

# %%
from course_lib.data.microworld.reading import is_true

batch = microworld.sample_scenes(128, seed=5)
for kind, name in enumerate(["complete", "relation", "counting", "places", "short"]):
    texts = [microworld.captions(scene)[kind] for scene in batch]
    others = sum(is_true(text, scene) for j, text in enumerate(texts) for i, scene in enumerate(batch) if i != j)
    print(f"{name:9} {others / (128 * 127):7.2%} of the negatives are false   e.g. {texts[0]!r}")

# %% [markdown]
# A complete caption fits no other picture. "Two hearts on a plain background" does: 1.6 % of the negatives of such a
# caption are false, two in every row of 128, and the loss pushes apart what belongs together. In a batch of 32,768 it
# would be five hundred. Web captions are short, so the batch size is not a dial to turn up for ever, and data sets are
# deduplicated for the same reason.
#
# ### One batch on many machines
#
# CLIP's batch of 32,768 pairs fits on no single GPU. Each of $P$ processes encodes its own $N/P$ pairs, then all
# exchange their *embeddings* (a few numbers a picture), and each computes the rows of its own pictures against the
# captions of all. Two things go wrong easily: the right answer of local row $i$ is column $i$ *plus the process's
# offset*, and a plain `all_gather` gives constants, through which no gradient flows back. Here two real processes run,
# and their mean loss is compared with one process that holds the whole batch:

# %%
import subprocess
import sys
import tempfile
from pathlib import Path

program = """
import torch, torch.distributed as dist, torch.nn.functional as F
from course_lib.training.distributed import clip_loss_across_processes

dist.init_process_group("gloo")
rank = dist.get_rank()
generator = torch.Generator().manual_seed(0)
pictures, texts = (F.normalize(torch.randn(8, 16, generator=generator), dim=-1) for _ in range(2))
weight = torch.eye(16, requires_grad=True)  # stands for an encoder
mine = slice(4 * rank, 4 * rank + 4)
loss = clip_loss_across_processes(F.normalize(pictures[mine] @ weight, dim=-1), texts[mine], 10.0)
loss.backward()
for value in (loss.detach(), weight.grad):  # what DistributedDataParallel does with gradients
    dist.all_reduce(value)
if rank == 0:
    print(f"{loss.item() / 2:.4f} {weight.grad.norm().item() / 2:.4f}")
dist.destroy_process_group()
"""
with tempfile.TemporaryDirectory() as folder:
    script = Path(folder) / "two_processes.py"
    script.write_text(program)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    together = subprocess.run(launch, capture_output=True, text=True).stdout

generator = torch.Generator().manual_seed(0)
pictures, texts = (F.normalize(torch.randn(8, 16, generator=generator), dim=-1) for _ in range(2))
weight = torch.eye(16, requires_grad=True)
loss = clip_loss(F.normalize(pictures @ weight, dim=-1), texts, 10.0)
loss.backward()
print("two processes: loss and length of the gradient", together.strip())
print(f"one process  : loss and length of the gradient {loss.item():.4f} {weight.grad.norm().item():.4f}")

# %% [markdown]
# ## 12 What CLIP cannot see
#
# A picture becomes *one* vector before any sentence is read, and the training batch rarely holds a sentence that
# differs from the right one in a single detail. So there is little to gain, in training, from knowing more than which
# things are there. The test is a forced choice: the true sentence against one with a single thing wrong. Chance is one
# half.

# %%
import random

from course_lib.data.microworld.captions import NUMBERS, plural, relation

OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
PHRASE = {"left": "left of", "right": "right of", "above": "above", "below": "below"}


def a(colour, shape):
    return f"{'an' if colour == 'orange' else 'a'} {colour} {shape}"


def choices(scene, chance):
    """For a scene of two objects: what is tested -> (true sentence, the same with one thing wrong)."""
    one, two = scene.objects
    true = f"{a(*one.pair)} and {a(*two.pair)}"
    colour = chance.choice([c for c in COLOURS if c not in (one.colour, two.colour)])
    shape = chance.choice([s for s in SHAPES if s not in (one.shape, two.shape)])
    where = relation(one, two)
    yield "a colour", true, f"{a(colour, one.shape)} and {a(*two.pair)}"
    yield "a shape", true, f"{a(one.colour, shape)} and {a(*two.pair)}"
    if one.colour != two.colour and one.shape != two.shape:
        yield "binding", true, f"{a(two.colour, one.shape)} and {a(one.colour, two.shape)}"
    sides = [f"{a(*one.pair)} {PHRASE[side]} {a(*two.pair)}" for side in (where, OPPOSITE[where])]
    yield "a relation", *sides


# %%
def counts(scene, chance):
    """For a scene with several objects of one shape: the right number against one more or one less."""
    for shape in SHAPES:
        number = sum(thing.shape == shape for thing in scene.objects)
        if number >= 2:
            other = min(number + chance.choice([-1, 1]), 4)
            other = number - 1 if other == number else other
            said = [f"{NUMBERS[n]} {shape if n == 1 else plural(shape)}" for n in (number, other)]
            yield "a number", *said


chance = random.Random(0)
two_objects = microworld.sample_scenes(1_000, 8, "test", 2, 2)
crowded = microworld.sample_scenes(1_500, 9, "test", 2, 4)
trials = [(scene, *trial) for scene in two_objects for trial in choices(scene, chance)]
trials += [(scene, *trial) for scene in crowded for trial in counts(scene, chance)]
print(f"{len(trials)} choices, for example:", *trials[2][1:], sep="\n  ")

# %%
every = two_objects + crowded
place = {id(scene): index for index, scene in enumerate(every)}
pictures = embed_images(course_clip, recipes.pixel_values(microworld.render(every)))
pictures = pictures[[place[id(scene)] for scene, *_ in trials]]
true, false = (embed_texts(course_clip, words([trial[k] for trial in trials])) for k in (2, 3))
right = ((pictures * true).sum(dim=1) > (pictures * false).sum(dim=1)).double()
kinds = [trial[1] for trial in trials]
rates = {kind: right[[k == kind for k in kinds]].mean().item() for kind in dict.fromkeys(kinds)}
show(figures.bars(rates, reference={"chance": 0.5}, value="right sentence chosen"))
for kind, rate in rates.items():
    print(f"{kind:11} {runtime.measured(rate)}")

# %% [markdown]
# *Which* colours and *which* shapes are there, it knows almost perfectly. *Whose* colour it is (**binding**) and *which
# side* it is on (**relations**) it does not know at all, though every relation stood in a training caption.
# **Counting** lies between. Retrieval did not show it: among a thousand pictures the things present nearly always
# suffice to find the right one. Large CLIPs fail in the same places (the benchmarks Winoground and ARO test just this).
# Lessons 04, 09 and 11 build models in which words look at places, and which can tell.
#
# **Break it.** Is it the picture tower or the text tower that does not know? Ask the text tower alone: shuffle the
# words of every caption, and look for the pictures again.


# %%
def shuffled(text):
    pieces = text.split()
    return " ".join(chance.sample(pieces, len(pieces)))


own = embed_texts(course_clip, words(test_captions))
mixed = embed_texts(course_clip, words([shuffled(text) for text in test_captions]))
pictures = embed_images(course_clip, recipes.pixel_values(test_pictures))
for name, vectors in [("captions as they are", own), ("words shuffled", mixed)]:
    print(f"{name:21} R@1 among 1,000 {runtime.measured(recall_at_k(pictures @ vectors.T))}")


# %% [markdown]
# Hardly a difference: the text tower reads captions as a *bag of words*. It could do better, a causal transformer sees
# the order, but nothing in the training batch asked it to.

# %% [markdown]
# ## 13 At full scale
#
# Everything above runs unchanged on published weights. With a GPU and a network this section loads CLIP, SigLIP and
# ALIGN as their authors trained them; elsewhere it finds *stand-ins* under the published names: files of the same
# format, tiny, with random weights. They prove that the code runs, and what they say means nothing. The photographs are
# real either way: they come inside scikit-image and scikit-learn, and the course describes them.

# %%
import torch

from course_lib import runtime
from course_lib.authoring import stand_ins
from course_lib.data import hub
from course_lib.data.photos import photos
from course_lib.data.preprocessing import Preprocessing
from course_lib.data.tokenizers import HubCLIPTokenizer, SigLIPTokenizer, WordPieceTokenizer
from course_lib.evaluation.embedding import embed_images, embed_texts
from course_lib.evaluation.retrieval import retrieval
from course_lib.models.align import ALIGN
from course_lib.models.clip import CLIP
from course_lib.models.siglip import SigLIP
from course_lib.viz import figures
from course_lib.viz.style import show

full_scale, device = runtime.scale() == "full", runtime.device()
if not runtime.downloads():
    stand_ins.serve(stand_ins.clip, stand_ins.siglip, stand_ins.align, data=["coco_captions"])

pictures, labels = [photo.image for photo in photos()], [photo.label for photo in photos()]
show(figures.image_grid(pictures, labels, columns=4))

# %% [markdown]
# Each model has its own way to prepare a picture and to cut a text, which a file beside its weights tells:

# %%
prompts, says = [f"a photo of {label}" for label in labels], {}
for system, name, tokenizer_class in [
    (CLIP, "openai/clip-vit-base-patch32", HubCLIPTokenizer),
    (SigLIP, "google/siglip-base-patch16-224", SigLIPTokenizer),
    (ALIGN, "kakaobrain/align-base", WordPieceTokenizer),
]:
    model, tokenizer = system.from_pretrained(name, device=device), tokenizer_class.from_pretrained(name)
    pixels, input_ids = Preprocessing.from_pretrained(name)(pictures), tokenizer(prompts)
    mask = (input_ids != tokenizer.pad_token_id).long() if system is ALIGN else None
    with torch.no_grad(), runtime.autocast():
        output = model(pixels.to(device), input_ids.to(device), mask if mask is None else mask.to(device))
    says[name] = output.logits_per_image.softmax(dim=-1).float().cpu()
    print(f"{system.__name__:7} photographs x prompts: {tuple(says[name].shape)}")

# %%
if full_scale:
    show(figures.predictions(pictures, says["openai/clip-vit-base-patch32"], labels, range(len(labels)), top=3))
else:
    print("These weights are random, so there is nothing to see: run this on a GPU to meet the real CLIP.")

# %% [markdown]
# Retrieval on real captions: of COCO's validation set a GPU takes the first 500 pictures with five captions each.
# The stand-in has COCO's columns and our 12 photographs.

# %%
name = "openai/clip-vit-base-patch32"
openai_clip, bpe = CLIP.from_pretrained(name, device=device), HubCLIPTokenizer.from_pretrained(name)
samples = list(hub.load("coco_captions", limit=500))
texts = [caption for sample in samples for caption in sample.captions]
owners = torch.tensor([i for i, sample in enumerate(samples) for _ in sample.captions])
pixels = Preprocessing.from_pretrained(name)([sample.image for sample in samples])
found = retrieval(embed_images(openai_clip, pixels) @ embed_texts(openai_clip, bpe(texts)).T, owners)
print("similarity of", len(samples), "pictures and", len(texts), "captions; recall with several right captions each:")
for way, rates in found.items():
    print(f"{way:14} " + "  ".join(f"{name} {runtime.measured(value)}" for name, value in rates.items()))

# %% [markdown]
# On a GPU the numbers above are those of OpenAI's model on real photographs. On two cores they are those of random
# weights: about one in twelve, chance.
#
# Training at full scale is the loop of section 4 with a larger CLIP, larger batches and half precision; on an A100 or
# later the model is compiled as well. How well it uses the GPU is told by its *model FLOP utilisation*: the operations
# that the formulas of the two towers ask for, three times over (backward takes twice as many as forward), divided by
# what the GPU could have computed in that time. Well-made programs reach 0.3 to 0.5.

# %%
import time

from course_lib.encoders.clip_text import CLIPTextConfig
from course_lib.encoders.clip_vit import CLIPViTConfig
from course_lib.losses.contrastive import clip_loss
from course_lib.models.clip import CLIPConfig
from course_lib.models.recipes import clip as recipes
from course_lib.models.recipes.inputs import pixel_values
from course_lib.training.loop import TrainingConfig, train

width = runtime.sized(32, 512)
tower = {"width": width, "layers": runtime.sized(1, 8), "heads": runtime.sized(2, 8), "mlp_width": 4 * width}
large = CLIPConfig(
    vision=CLIPViTConfig(image_size=64, patch_size=8, **tower),
    text=CLIPTextConfig(recipes.word_tokenizer().vocab_size, context_length=32, **tower),
    projection_dim=runtime.sized(16, 512),
)
data = recipes.training_pairs(runtime.sized(64, 100_000))
runtime.seed_everything(0)
model = CLIP(large).to(device)
fast = runtime.compiled(model)  # the same parameters
batch_size = runtime.larger(runtime.sized(16, 512))


def batch_loss(model, generator):
    """The step of section 4, through the compiled model."""
    model.clamp_logit_scale()
    rows = torch.randperm(len(data.pictures), generator=generator)[:batch_size]
    output = fast(pixel_values(data.pictures[rows].to(device)), data.input_ids[rows, 0].to(device))
    return clip_loss(output.image_embeds, output.text_embeds, model.logit_scale.exp())


# %%
from course_lib.training import flops

clock, steps = [], runtime.sized(3, 2_000)
config = TrainingConfig(steps, learning_rate=5e-4, warmup_steps=steps // 10)
history = train(model, batch_loss, config, on_step=lambda *_: clock.append(time.perf_counter()))
seconds = (clock[-1] - clock[0]) / (steps - 1)  # the first step, in which the model is compiled, aside
used, memory = flops.utilisation(flops.clip_flops(large), batch_size, seconds, device), runtime.peak_memory()
print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {flops.clip_flops(large):,} operations for a pair")
print("seconds for a step:", runtime.measured(seconds), "· the loss is finite:", history.losses[-1] < 100)
print("model FLOP utilisation:", "not available on a CPU" if used is None else runtime.measured(used, 2))
print("GPU memory in GB:", "not available on a CPU" if memory is None else runtime.measured(memory, 1))

# %% [markdown]
# ## 14 Looking back
#
# | | |
# |---|---|
# | logits | $s\,X Y^\top$, unit vectors, `(N, N)` |
# | CLIP's loss | mean of the cross-entropies of rows and columns, right answers on the diagonal; $\ln N$ at first |
# | its gradient | (softmax − identity) $/ N$ |
# | temperature | $\tau = 1/s$, learned through $\log s$, $s \le 100$ |
# | SigLIP's loss | $-\frac1N\sum_{ij}\log\sigma(z_{ij}(s\,x_i\cdot y_j + b))$, $b$ starts at -10 |
# | zero-shot | $\arg\max_c\; x \cdot w_c$, $w_c$ the normalised mean of a class's prompt vectors |
# | Recall@K | share of queries whose right answer is among the K best |
# | WiSE-FT | $(1-\lambda)\theta_{\text{before}} + \lambda\theta_{\text{after}}$ |
#
# - Two towers, one space: everything can be encoded once and compared with anything.
# - The negatives are the rest of the batch; some of them are not negative.
# - Classes are sentences, so there can be new ones tomorrow.
# - What wins choices among many pictures need not know who is left of whom.
#
# Ten quick questions, answers folded:

# %%
from course_lib.practice.quiz import show_interview, show_quiz

show_quiz("06")

# %% [markdown]
# And those an interviewer may ask:

# %%
show_interview("06")

# %% [markdown]
# **Now build it yourself:** the exercises are in [`exercises/06_clip.ipynb`](../exercises/06_clip.ipynb): seven of
# them, about 90 minutes, from one line to training your own. Each answer is checked at once.
