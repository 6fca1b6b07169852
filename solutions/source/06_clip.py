# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["course-header"]
# # 06 · Exercises: build CLIP
#
# **Time.** About 95 minutes for seven exercises, the easy ones first; 20 points. Everything runs on a CPU in seconds.
#
# **You should have read** lesson 06, or at least its parts on the loss, zero-shot classification and SigLIP.
#
# **How it works.** Replace `raise NotImplementedError()` by your code and run the cell, then the cell below it. The check
# answers at once: it shows what was given, what was expected and what came, and says which mistake it looks like. Some
# cases are held back: you are told what they test and not their numbers.
#
# | | |
# |---|---|
# | `check("06.1", similarity_logits)` | checks your answer; the number below its report is the points you get |
# | `hint("06.1")` | shows a hint; call it again for the next one, there are three |
# | `solution("06.1")` | shows the solution, folded up |
# | `progress()` | shows what you have done; it is remembered |

# %%
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# %%
from course_lib.practice import check, hint, progress, solution
from course_lib.practice.lesson_06.figures import batch_similarity, watched_run
from course_lib.viz import embedding, figures
from course_lib.viz.style import show

# %% [markdown]
# ## 06.1 Similarities as logits
#
# ●○○○○ · 6 minutes · 1 point
#
# **What.** Given features of $N$ pictures and $M$ texts, return the logits that a softmax will turn into probabilities:
# the cosine of every picture with every text, divided by a temperature $\tau$:
#
# $$\text{logits}_{ij} = \frac{1}{\tau}\,\frac{x_i \cdot y_j}{\lVert x_i\rVert\,\lVert y_j\rVert}$$
#
# **Why.** This matrix is all that CLIP computes from its two embeddings: for training, for retrieval and for zero-shot
# classification.
#
# **Shapes.** `image_features` $(N, D)$, `text_features` $(M, D)$, `temperature` a number; the result is $(N, M)$. The features
# are not normalised. Derivatives must flow through your function, so leave the features as they are and make new tensors.
#
# **Example.** A picture (3, 4) and a text (1, 0) have the cosine 3/5 = 0.6; at a temperature of 0.5 the logit is 1.2.


# %% nbgrader={"grade": false, "grade_id": "similarity_logits", "locked": false, "schema_version": 3, "solution": true, "task": false}
def similarity_logits(image_features: Tensor, text_features: Tensor, temperature: float) -> Tensor:
    """Cosine of every picture with every text over the temperature: (N, D), (M, D) -> (N, M)."""
    ### BEGIN SOLUTION
    image_embeds = F.normalize(image_features, dim=-1)
    text_embeds = F.normalize(text_features, dim=-1)
    return image_embeds @ text_embeds.T / temperature
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_similarity_logits", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("06.1", similarity_logits)

# %% [markdown]
# ## 06.2 The symmetric contrastive loss
#
# ●●○○○ · 12 minutes · 3 points
#
# **What.** Write CLIP's loss for a batch of $B$ matching pairs. Each picture looks for its text among the $B$ texts: a
# classification with $B$ classes, in which row $i$ belongs to column $i$. Each text looks for its picture in the same way. The
# loss is the mean of both cross-entropies.
#
# **Why.** It is the one objective behind CLIP, ALIGN and OpenCLIP, and the question "write it on the board" is asked in
# interviews.
#
# **Shapes.** `image_embeds` and `text_embeds` are $(B, D)$ with rows of length 1; `logit_scale` is a scalar tensor, $1/\tau$, and
# already exponentiated: multiply by it. The result is a scalar that derivatives flow through, to `logit_scale` as well.
#
# **Example.** If all embeddings are the same, every row of logits is constant and the loss is $\log B$, that of guessing.


# %% nbgrader={"grade": false, "grade_id": "clip_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def clip_loss(image_embeds: Tensor, text_embeds: Tensor, logit_scale: Tensor) -> Tensor:
    """CLIP's symmetric loss of a batch of matching pairs: (B, D), (B, D), () -> ()."""
    ### BEGIN SOLUTION
    logits_per_image = logit_scale * image_embeds @ text_embeds.T
    labels = torch.arange(len(logits_per_image), device=logits_per_image.device)
    loss_images = F.cross_entropy(logits_per_image, labels)
    loss_texts = F.cross_entropy(logits_per_image.T, labels)
    return (loss_images + loss_texts) / 2
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_clip_loss", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("06.2", clip_loss)

# %% [markdown]
# ## 06.3 Read a figure, choose and justify
#
# ●●○○○ · 10 minutes · 2 points
#
# **What.** Two figures and two decisions. Answer each of six questions with one letter, in the dict below.
#
# **Why.** Most of the time spent on a model goes into looking at what it does and saying why. A choice without its reason
# is a guess, so two of the questions ask for the reason.

# %%
similarity, captions = batch_similarity()
show(
    embedding.similarity_matrix(
        similarity, labels=list(captions), rows=[f"picture {row}" for row in range(8)], mark="diagonal"
    ),
    alt="A matrix of eight pictures against their eight captions: the diagonal is high, and so are the two cells where "
    "picture 2 meets caption 5 and picture 5 meets caption 2.",
)

# %%
losses, cosines = watched_run()
show(
    figures.lines(
        list(range(0, len(losses), 4)),
        {"contrastive loss": losses[::4], "mean cosine": cosines[::4], "log 64": [math.log(64)] * len(losses[::4])},
        across="step",
    ),
    alt="The contrastive loss falls from about 6 to just under log 64, a level line, and stays there; the mean cosine "
    "between different pictures rises to nearly 1 and stays there too.",
)

# %% [markdown]
# **`matrix`**: The first figure is the similarity matrix of a trained model on a batch of eight. Two cells off the diagonal
# are as high as the diagonal. What do they mean for training?
#
# - a) The model confuses colours here; more steps will put it right.
# - b) Two pairs of the batch say the same: the loss takes a right answer for a wrong one and pushes it away.
# - c) The temperature is too high.
# - d) Pictures and captions of the batch are in a different order.
#
# **`curve`**: The second figure watches a training run on batches of 64 ($\log 64 \approx 4.16$). The mean cosine is that between
# embeddings of *different* pictures. What happened?
#
# - a) The learning rate is so low that the model has hardly moved.
# - b) The model over-fits the batch.
# - c) All embeddings have collapsed into one direction, so that the loss is that of guessing.
# - d) Training is done: this is the least loss possible.
#
# **`temperature`**: You fix the temperature at 1 instead of learning it. The embeddings are normalised, the batch is 64. What
# follows?
#
# - a) Nothing: the projections learn to make up for it.
# - b) Even a perfect model has a loss far above 0, and cannot become sure of itself.
# - c) The logits overflow and training diverges.
# - d) Training becomes faster, because the softmax is flatter.
#
# **`temperature_because`**: Why?
#
# - a) Cosines lie between -1 and 1, so that the right logit is above a wrong one by 2 at most.
# - b) The derivatives become too large.
# - c) A softmax does not change when all its logits are scaled.
# - d) A higher temperature means fewer negatives.
#
# **`binding`**: Your CLIP scores "a red cube and a blue sphere" and "a blue cube and a red sphere" alike for the same picture.
# Which change goes at the cause?
#
# - a) Longer embeddings.
# - b) A lower temperature.
# - c) More templates in the prompt ensemble.
# - d) Captions with the attributes exchanged, as extra negatives of each picture.
#
# **`binding_because`**: Why?
#
# - a) The text encoder cannot represent the order of words.
# - b) The image encoder does not see colours.
# - c) In a batch drawn at random, knowing which words occur is enough to find the right caption, and the loss asks for
#   no more.
# - d) Cosines ignore the length of the embeddings.

# %% nbgrader={"grade": false, "grade_id": "answers_06_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
# Put "a", "b", "c" or "d" in the place of each question mark, and take out what stands below the dict.
answers_06_3 = {
    "matrix": "?",
    "curve": "?",
    "temperature": "?",
    "temperature_because": "?",
    "binding": "?",
    "binding_because": "?",
}
### BEGIN SOLUTION
answers_06_3 = {
    "matrix": "b",
    "curve": "c",
    "temperature": "b",
    "temperature_because": "a",
    "binding": "d",
    "binding_because": "c",
}
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "test_answers_06_3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check("06.3", answers_06_3)

# %% [markdown]
# ## 06.4 Zero-shot classification with prompt ensembling
#
# ●●●○○ · 14 minutes · 3 points
#
# **What.** Classify pictures by class names alone. Say each class in every template ("a photo of a {}"), encode the
# sentences, bring each vector to length 1, average the vectors of a class, and bring the average to length 1 again: that is
# the class's vector. Return the cosine of every picture with every class.
#
# **Why.** This is how CLIP classifies ImageNet without having seen one of its labels; ensembling 80 templates is worth some 3.5
# points of accuracy there.
#
# **Shapes.** `image_features` $(N, D)$, not normalised; `encode_text` takes a **list** of sentences and returns $(\text{len}, D)$, not
# normalised; `class_names` $C$ strings; `templates` strings with one `{}`, to be filled by `template.format(name)`. The result is
# $(N, C)$.
#
# **Example.** With the classes "cube" and "sphere" and the templates "a {}" and "a photo of a {}", four sentences are encoded,
# and the result has two columns.


# %% nbgrader={"grade": false, "grade_id": "zero_shot_logits", "locked": false, "schema_version": 3, "solution": true, "task": false}
def zero_shot_logits(
    image_features: Tensor,
    encode_text: Callable[[list[str]], Tensor],
    class_names: list[str],
    templates: list[str],
) -> Tensor:
    """Cosine of every picture with every class, each class being an ensemble of prompts: (N, D) -> (N, C)."""
    ### BEGIN SOLUTION
    classes = []
    for name in class_names:
        sentences = [template.format(name) for template in templates]
        embeds = F.normalize(encode_text(sentences), dim=-1)
        classes.append(embeds.mean(dim=0))
    classifier = F.normalize(torch.stack(classes), dim=-1)
    return F.normalize(image_features, dim=-1) @ classifier.T
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_zero_shot_logits", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("06.4", zero_shot_logits)

# %% [markdown]
# ## 06.5 SigLIP: a yes or no for every pairing
#
# ●●●○○ · 14 minutes · 3 points
#
# **What.** Write SigLIP's loss. Each of the $B \times B$ pairings is its own question, "do these two belong together?", answered by a
# sigmoid. With $z_{ij} = 1$ on the diagonal and $-1$ elsewhere, scale $t$ and bias $b$:
#
# $$L = -\frac{1}{B}\sum_{i}\sum_{j} \log \sigma\bigl(z_{ij}\,(t\, x_i \cdot y_j + b)\bigr)$$
#
# **Why.** No softmax ties a row together, so that no device needs the whole matrix: SigLIP trains with small batches as
# well as with very large ones.
#
# **Shapes.** `image_embeds` and `text_embeds` $(B, D)$ with rows of length 1; `logit_scale` and `logit_bias` scalar tensors, the scale
# already exponentiated. The result is a scalar. It must stay finite for logits below -100, and derivatives must flow.
#
# **Example.** One pair of equal embeddings at scale 10 and bias -10 has the logit 0, and costs $\log 2 \approx 0.693$.


# %% nbgrader={"grade": false, "grade_id": "siglip_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def siglip_loss(image_embeds: Tensor, text_embeds: Tensor, logit_scale: Tensor, logit_bias: Tensor) -> Tensor:
    """SigLIP's loss of a batch of matching pairs: (B, D), (B, D), (), () -> ()."""
    ### BEGIN SOLUTION
    logits = logit_scale * image_embeds @ text_embeds.T + logit_bias
    signs = 2 * torch.eye(len(logits), device=logits.device) - 1
    return -F.logsigmoid(signs * logits).sum() / len(logits)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_siglip_loss", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("06.5", siglip_loss)

# %% [markdown]
# ## 06.6 From two encoders to CLIP
#
# ●●●●○ · 18 minutes · 4 points
#
# **What.** Write the module that makes CLIP of a vision transformer and a text transformer. It gets their last hidden states.
#
# 1. Picture: take the class token, which is the first; layer norm; project.
# 2. Caption: take the position of the *end-of-text* token, which has the highest id of all tokens; layer norm; project. After
#    it there is only padding (id 0). The text transformer is causal, so that this position alone has read it all.
# 3. Bring both to length 1, multiply every picture with every caption, and scale by `exp(logit_scale)`.
#
# **Why.** Together with your loss this is the whole of CLIP that is not a transformer. The names below are those of
# `transformers`' `CLIPModel`: the published weights would fit.
#
# **Shapes.** `image_hidden` $(B, P + 1, D_v)$, `text_hidden` $(B, L, D_t)$, `input_ids` $(B, L)$ int64. Return the pair
# `(logits_per_image, logits_per_text)`, both $(B, B)$, each the transpose of the other.
#
# | parameter | shape | |
# |---|---|---|
# | `post_layernorm` | `nn.LayerNorm(vision_width)` | for the picture |
# | `visual_projection` | `nn.Linear(vision_width, embed_dim)` | without bias |
# | `final_layer_norm` | `nn.LayerNorm(text_width)` | for the caption |
# | `text_projection` | `nn.Linear(text_width, embed_dim)` | without bias |
# | `logit_scale` | a scalar `nn.Parameter` | starts at $\log(1/0.07)$ |
#
# **Example.** For the ids `[62, 5, 9, 63, 0, 0]` the caption is read at position 3.


# %% nbgrader={"grade": false, "grade_id": "CLIPHead", "locked": false, "schema_version": 3, "solution": true, "task": false}
class CLIPHead(nn.Module):
    """What CLIP adds to two encoders: pooling, projection, cosine, scale."""

    def __init__(self, vision_width: int, text_width: int, embed_dim: int) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.post_layernorm = nn.LayerNorm(vision_width)
        self.visual_projection = nn.Linear(vision_width, embed_dim, bias=False)
        self.final_layer_norm = nn.LayerNorm(text_width)
        self.text_projection = nn.Linear(text_width, embed_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        ### END SOLUTION

    def forward(self, image_hidden: Tensor, text_hidden: Tensor, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """(B, P + 1, Dv), (B, L, Dt), (B, L) -> logits_per_image (B, B), logits_per_text (B, B)."""
        ### BEGIN SOLUTION
        image_token = self.post_layernorm(image_hidden[:, 0])
        rows = torch.arange(len(text_hidden), device=text_hidden.device)
        text_token = self.final_layer_norm(text_hidden[rows, input_ids.argmax(dim=-1)])
        image_embeds = F.normalize(self.visual_projection(image_token), dim=-1)
        text_embeds = F.normalize(self.text_projection(text_token), dim=-1)
        logits_per_image = self.logit_scale.exp() * image_embeds @ text_embeds.T
        return logits_per_image, logits_per_image.T
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_CLIPHead", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("06.6", CLIPHead)

# %% [markdown]
# ## 06.7 Train until unseen pairs find each other
#
# ●●●●● · 20 minutes · 4 points
#
# **What.** Two frozen encoders gave features of 256 pairs. Train one matrix for each side, so that a picture and its caption
# find each other in a space of 16 numbers. The check projects 200 pairs that you never see and measures recall@1: how often
# the nearest caption of a picture is its own, and the other way round. **At least 0.8 is asked for.** Guessing gets 0.005;
# predicting the caption's features from the picture's by least squares, which needs no training loop, gets 0.17.
#
# **Why.** It is the whole of contrastive training in one function, small enough to run in a blink: a loss, a gradient, a
# step, and the question whether it holds for what was not trained on.
#
# **Shapes.** `image_features` $(256, 48)$ and `text_features` $(256, 40)$ are what the encoders gave; `image_projection`
# $(48, 16)$ and `text_projection` $(40, 16)$ are where you start, and belong to the caller: train copies. In every step the
# embeddings are `image_features @ image_projection` and `text_features @ text_projection`, normalised, and the loss is CLIP's
# over all 256 pairs at `logit_scale`. Return the two trained projections and the list of the losses, one for each step; the
# first is the loss at the start, by which the check tells whether it is CLIP's.
#
# How many steps, at which learning rate and by which optimiser is up to you.
#
# **Example.** As a reminder, here is the loop on a problem of one number: which $w$ makes $(w - 3)^2$ smallest?

# %%
w = torch.tensor(0.0, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.3)
for _ in range(20):
    loss = (w - 3) ** 2
    optimizer.zero_grad()  # forget the last gradient
    loss.backward()  # the derivative of the loss by w, into w.grad
    optimizer.step()  # w -= 0.3 * w.grad
print(f"{w.item():.3f}")


# %% nbgrader={"grade": false, "grade_id": "train_projections", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_projections(
    image_features: Tensor, text_features: Tensor, image_projection: Tensor, text_projection: Tensor, logit_scale: float
) -> tuple[Tensor, Tensor, list[float]]:
    """Trained projections and losses: (N, Dv), (N, Dt), (Dv, D), (Dt, D), a number -> (Dv, D), (Dt, D), one loss a step."""
    ### BEGIN SOLUTION
    image_projection = image_projection.clone().requires_grad_()
    text_projection = text_projection.clone().requires_grad_()
    labels = torch.arange(len(image_features))
    losses = []
    for _ in range(40):
        image_embeds = F.normalize(image_features @ image_projection, dim=-1)
        text_embeds = F.normalize(text_features @ text_projection, dim=-1)
        logits = logit_scale * image_embeds @ text_embeds.T
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        losses.append(loss.item())
        image_gradient, text_gradient = torch.autograd.grad(loss, [image_projection, text_projection])
        with torch.no_grad():
            image_projection -= 0.01 * image_gradient
            text_projection -= 0.01 * text_gradient
    return image_projection, text_projection, losses
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_train_projections", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("06.7", train_projections)

# %% [markdown]
# ## Done?
#
# You have written what CLIP adds to two transformers, its loss and SigLIP's, its training loop, and its zero-shot classifier.
# Lesson 06 puts the transformers before it. `progress()` shows your table, and `course quiz 06` asks you what an interviewer
# would.
