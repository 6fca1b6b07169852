# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["course-header"]
# # 02 · Exercises: towards a ResNet and a vision transformer
#
# **Time.** About 95 minutes for seven exercises, the easy ones first; 20 points. Everything runs on a CPU in seconds.
#
# **You should have read** lesson 02, or at least its parts on convolution, ResNet, ViT, Swin and transfer.
#
# **How it works.** Replace `raise NotImplementedError()` by your code and run the cell, then the cell below it. The check
# answers at once: it shows what was given, what was expected and what came, and says which mistake it looks like. Some
# cases are held back: you are told what they test and not their numbers.
#
# | | |
# |---|---|
# | `check("02.1", pixel_values)` | checks your answer; the number below its report is the points you get |
# | `hint("02.1")` | shows a hint; call it again for the next one, there are three |
# | `solution("02.1")` | shows the solution, folded up |
# | `progress()` | shows what you have done; it is remembered |

# %%
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# %%
from course_lib.practice import check, hint, progress, solution
from course_lib.practice.lesson_02.figures import confused_colours, three_ways, two_depths
from course_lib.viz import embedding, figures
from course_lib.viz.style import show

# %% [markdown]
# ## 02.1 From bytes to pixel values
#
# ●○○○○ · 6 minutes · 1 point
#
# **What.** Turn pictures as they come out of a file into what a network takes: bytes from 0 to 255 become numbers from 0 to 1,
# the channels move before height and width, and each channel has its mean subtracted and is divided by its standard
# deviation.
#
# **Why.** A wrong normalisation raises no error. The network runs and is worse, and nobody knows why.
#
# **Shapes.** `images` $(N, H, W, 3)$, uint8; `mean` and `std` $(3)$, float32, for numbers from 0 to 1. The result is
# $(N, 3, H, W)$, float32.
#
# **Example.** A byte of 204 is 0.8. With a mean of 0.5 and a deviation of 0.25 it becomes $(0.8 - 0.5) / 0.25 = 1.2$.


# %% nbgrader={"grade": false, "grade_id": "pixel_values", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pixel_values(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Bytes to normalised pixel values: uint8 (N, H, W, 3), (3), (3) -> float32 (N, 3, H, W)."""
    ### BEGIN SOLUTION
    scaled = images.permute(0, 3, 1, 2) / 255
    return (scaled - mean[:, None, None]) / std[:, None, None]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_pixel_values", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("02.1", pixel_values)

# %% [markdown]
# ## 02.2 Convolution from its definition
#
# ●●○○○ · 14 minutes · 3 points
#
# **What.** Write a convolution without `F.conv2d`, which is what the check compares with. The map is framed by `padding` rows and
# columns of zeros on every side; the kernel is laid over it at every `stride`-th place; each output is a sum over all input
# channels $c$ and all places $(i, j)$ of the kernel:
#
# $$y_{d,h,w} = b_d + \sum_{c,i,j} W_{d,c,i,j}\; x_{c,\; s h + i,\; s w + j}$$
#
# where $x$ is the framed map and $s$ the stride. A rest at the far edge that is too small for the kernel is left out.
#
# **Why.** Every CNN consists of this, and so does the first layer of a vision transformer. Loops are fine. `Tensor.unfold` cuts out
# all windows at once, and then it is one product.
#
# **Shapes.** `feature_map` $(B, C, H, W)$, `weight` $(D, C, K_h, K_w)$, which need not be square, `bias` $(D)$. The result is
# $(B, D, H', W')$ with $H' = \lfloor (H + 2p - K_h) / s \rfloor + 1$. Derivatives must flow.
#
# **Example.** A row of the map `0 0 1` under a kernel row `-1 1`, stride 1, no padding, gives `0 1`: the edge is found where it is.


# %% nbgrader={"grade": false, "grade_id": "convolve", "locked": false, "schema_version": 3, "solution": true, "task": false}
def convolve(feature_map: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
    """A convolution: (B, C, H, W), (D, C, KH, KW), (D) -> (B, D, H', W')."""
    ### BEGIN SOLUTION
    padded = F.pad(feature_map, (padding, padding, padding, padding))
    windows = padded.unfold(2, weight.shape[2], stride).unfold(3, weight.shape[3], stride)
    return torch.einsum("bchwij,dcij->bdhw", windows, weight) + bias[:, None, None]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_convolve", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("02.2", convolve)

# %% [markdown]
# ## 02.3 Read curves and failures, choose and justify
#
# ●●○○○ · 12 minutes · 2 points
#
# **What.** Three figures and six decisions. Answer each question with one letter, in the dict below.
#
# **Why.** What is wrong with a vision model is read from its curves and from what it confuses, seldom from an error message. A
# choice without its reason is a guess, so one of the questions asks for the reason.

# %%
examples, accuracies = three_ways()
show(
    figures.lines(examples, accuracies, across="labelled examples", value="test accuracy", log=True, chance=1 / 8),
    alt="Test accuracy over 64 to 4,096 labelled examples. A begins highest and hardly rises after 256. B begins a little "
    "lower, passes A at 256 and ends highest. C begins far below both, and ends close under B.",
)

# %%
confusion, names, shapes_right = confused_colours()
show(
    embedding.similarity_matrix(
        confusion,
        labels=[f"said: {name}" for name in names],
        rows=[f"is {name}" for name in names],
        title="The colours of objects, as said in production",
        value="share of the places with that colour",
    ),
    alt="A matrix of true colours (rows) against said ones: red is called purple, orange blue, yellow mostly green, green "
    "yellow or green, blue orange or red, purple red or purple, pink purple; black alone is always right.",
)
print("shapes right in more than 95 of 100 places:", shapes_right > 0.95)

# %%
losses = two_depths()
show(
    figures.lines(
        list(range(0, 81, 5)),
        {name: values[::5] for name, values in losses.items()},
        across="step",
        value="training loss",
    ),
    alt="Training loss over 80 steps. The plain network stays above 1. The one with shortcuts falls to 0 within 50 steps.",
)

# %% [markdown]
# **`curves`**: The first figure shows three ways to learn a new task: a **probe** (a last layer on a frozen network that was trained
# on something related), **fine-tuning** (going on training all of that network), and training **from scratch**. Which is which?
#
# - a) A is from scratch, B fine-tuning, C the probe.
# - b) A is the probe, B fine-tuning, C from scratch.
# - c) A is fine-tuning, B the probe, C from scratch.
# - d) A is fine-tuning, B from scratch, C the probe.
#
# **`curves_because`**: Why does A stop rising?
#
# - a) It overfits its many weights.
# - b) Its learning rate is too low for that many examples.
# - c) Its features are fixed: what they do not hold, no label can bring back.
# - d) It is tested on the examples that it was trained on.
#
# **`colours`**: The second figure is a good model in production. Nearly all shapes are right; orange is called blue, blue orange or
# red, black stays black. What happened?
#
# - a) The pictures were divided by 255 twice.
# - b) The pictures were mirrored.
# - c) The weights were never loaded.
# - d) Red and blue are exchanged: pictures were read as BGR.
#
# **`deep`**: The third figure shows the *training* loss of two networks of 30 layers of the same width, one with a shortcut around
# each layer. What is wrong with the plain one?
#
# - a) It cannot be optimised as it is: what passes 30 layers, forwards and backwards, is mangled by each of them.
# - b) It overfits.
# - c) It has too few weights to express the task.
# - d) Thirty layers are too many for so few examples.
#
# **`field`**: How many pixels a side does one cell see after these layers: convolution 3 × 3; convolution 3 × 3, stride 2; convolution
# 3 × 3; max-pooling 2 × 2, stride 2; convolution 3 × 3?
#
# - a) 10
# - b) 13
# - c) 19
# - d) 23
#
# **`tokens`**: A ViT with patches of 16 is given pictures of 448 × 448 instead of 224 × 224. By how much does the cost of its
# attention scores $QK^\top$ grow?
#
# - a) 2 times
# - b) 4 times
# - c) 8 times
# - d) 16 times

# %% nbgrader={"grade": false, "grade_id": "answers_02_3", "locked": false, "schema_version": 3, "solution": true, "task": false}
# Put "a", "b", "c" or "d" in the place of each question mark, and take out what stands below the dict.
answers_02_3 = {
    "curves": "?",
    "curves_because": "?",
    "colours": "?",
    "deep": "?",
    "field": "?",
    "tokens": "?",
}
### BEGIN SOLUTION
answers_02_3 = {
    "curves": "b",
    "curves_because": "c",
    "colours": "d",
    "deep": "a",
    "field": "c",
    "tokens": "d",
}
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "test_answers_02_3", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check("02.3", answers_02_3)

# %% [markdown]
# ## 02.4 A residual block
#
# ●●●○○ · 14 minutes · 3 points
#
# **What.** Write the block of ResNet-18, as torchvision has it:
#
# 1. The branch: 3 × 3 convolution with the stride, batch norm, ReLU, 3 × 3 convolution, batch norm. Both convolutions pad by 1 and
#    have no bias, because the norm would subtract it again.
# 2. The shortcut: the input itself. Where the stride is not 1 or the number of channels changes, shapes do not match, and a
#    1 × 1 convolution with the stride (no bias), and a batch norm, bring it to the branch's shape.
# 3. Add both, then ReLU.
#
# **Why.** The shortcut is what made networks of more than twenty layers trainable; every transformer has it too.
#
# **Shapes.** `feature_map` $(B, C, H, W)$ becomes $(B, D, \lceil H/s \rceil, \lceil W/s \rceil)$.
#
# | parameter | what it is | |
# |---|---|---|
# | `conv1`, `conv2` | `nn.Conv2d`, 3 × 3 | `conv1` has the stride |
# | `bn1`, `bn2` | `nn.BatchNorm2d(out_channels)` | |
# | `downsample` | `nn.Sequential(convolution 1 × 1, norm)` | only where it is needed; without weights else (`nn.Identity()`) |
#
# **Example.** With 64 channels in, 128 out and a stride of 2, a map of 56 × 56 becomes 128 maps of 28 × 28.


# %% nbgrader={"grade": false, "grade_id": "ResidualBlock", "locked": false, "schema_version": 3, "solution": true, "task": false}
class ResidualBlock(nn.Module):
    """ResNet's basic block: two convolutions, added to what came in."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )
        ### END SOLUTION

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H / stride, W / stride), rounded up."""
        ### BEGIN SOLUTION
        branch = F.relu(self.bn1(self.conv1(feature_map)))
        branch = self.bn2(self.conv2(branch))
        return F.relu(branch + self.downsample(feature_map))
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_ResidualBlock", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("02.4", ResidualBlock)

# %% [markdown]
# ## 02.5 A picture as a sequence: the vision transformer's first layer
#
# ●●●○○ · 16 minutes · 3 points
#
# **What.** Write what stands before the transformer in a ViT.
#
# 1. Cut each picture into patches of $P \times P$ pixels, row by row and from left to right, as one reads.
# 2. Flatten each patch: all of its first channel, row by row, then the second, then the third. Project it to `width` numbers.
# 3. Put the class token before the patches.
# 4. Add a position to every token, the class token included.
#
# **Why.** This is all that a ViT knows of pictures. What follows is the transformer of lesson 01, which could as well read text.
#
# **Shapes.** `pixel_values` $(B, C, H, W)$, where $H$ and $W$ are multiples of $P$ and need not be equal; the result is
# $(B, 1 + N, \text{width})$ with $N = HW / P^2$.
#
# | parameter | shape | |
# |---|---|---|
# | `projection` | `nn.Linear(channels * patch_size**2, width)` | with bias |
# | `class_token` | `nn.Parameter`, $(1, 1, \text{width})$ | starts at zero |
# | `position_embedding` | `nn.Parameter`, $(1, 1 + N, \text{width})$ | starts at zero here; many draw it small |
#
# **Example.** A picture of 224 × 224 in patches of 16 gives 14 × 14 = 196 patches of 768 numbers, and 197 tokens.


# %% nbgrader={"grade": false, "grade_id": "ViTEmbedding", "locked": false, "schema_version": 3, "solution": true, "task": false}
class ViTEmbedding(nn.Module):
    """A vision transformer's first layer: patches, class token, positions."""

    def __init__(self, image_size: tuple[int, int], patch_size: int, channels: int, width: int) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        height, breadth = image_size
        patches = (height // patch_size) * (breadth // patch_size)
        self.patch_size = patch_size
        self.projection = nn.Linear(channels * patch_size * patch_size, width)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embedding = nn.Parameter(torch.zeros(1, 1 + patches, width))
        ### END SOLUTION

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1 + N, width)."""
        ### BEGIN SOLUTION
        batch, channels, height, breadth = pixel_values.shape
        size = self.patch_size
        cut = pixel_values.reshape(batch, channels, height // size, size, breadth // size, size)
        patches = cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * size * size)
        tokens = torch.cat([self.class_token.repeat(batch, 1, 1), self.projection(patches)], dim=1)
        return tokens + self.position_embedding
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_ViTEmbedding", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("02.5", ViTEmbedding)

# %% [markdown]
# ## 02.6 A linear probe that holds for unseen pictures
#
# ●●●●○ · 14 minutes · 4 points
#
# **What.** A frozen encoder gave features of 112 pictures of 8 classes. Fit a linear classifier on them, without a bias: one matrix.
# The check multiplies it with the features of 1,000 pictures that you never see, and counts how often the largest of the eight
# numbers is the right class. **At least 0.9 is asked for.** Guessing gets 0.125, and ridge regression on the features as
# they come about 0.75.
#
# Any method will do. A good one is ridge regression onto one-hot targets $Y$, for which no training loop is needed:
#
# $$W = (X^\top X + \lambda I)^{-1} X^\top Y$$
#
# Look at the features before you fit anything: some columns have numbers in the thousands and others thousandths, and a penalty
# $\lambda$ treats all weights alike. Choose $\lambda$ among `penalties` by the accuracy on the validation split.
#
# **Why.** Linear probes are how encoders are compared, and the cheapest way to use one. With nearly as many weights for each class
# as there are examples, they learn by heart unless somebody chooses the penalty well.
#
# **Shapes.** `features` $(112, 96)$, `labels` $(112)$ int64 from 0 to 7, `validation_features` $(200, 96)$, `validation_labels`
# $(200)$, `penalties` a list of numbers. The columns have a mean of about 0. Return the weight $(96, 8)$, detached, so that
# `features @ weight` are the logits of features **as they come**: fold into it whatever you did to them.
#
# **Example.** Zeros of that shape are a complete answer, and get 0.125.


# %% nbgrader={"grade": false, "grade_id": "fit_probe", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fit_probe(
    features: Tensor,
    labels: Tensor,
    validation_features: Tensor,
    validation_labels: Tensor,
    penalties: list[float],
) -> Tensor:
    """A linear classifier of frozen features: (N, D), (N), (M, D), (M) -> (D, classes)."""
    ### BEGIN SOLUTION
    scale = features.std(dim=0)
    inputs = features / scale
    targets = F.one_hot(labels).float()
    weights, right = [], []
    for penalty in penalties:
        square = inputs.T @ inputs + penalty * torch.eye(inputs.shape[1])
        weight = torch.linalg.solve(square, inputs.T @ targets) / scale[:, None]
        predicted = (validation_features @ weight).argmax(dim=1)
        weights.append(weight)
        right.append((predicted == validation_labels).sum())
    return weights[torch.stack(right).argmax()]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_fit_probe", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("02.6", fit_probe)

# %% [markdown]
# ## 02.7 Shifted windows and their mask
#
# ●●●●● · 18 minutes · 4 points
#
# **What.** Prepare a feature map for Swin's attention. It happens inside windows of `size` × `size` places; every second layer
# shifts the windows, so that neighbours on both sides of a border meet.
#
# 1. Roll the map by `shift` places up and to the left: what stood at row `shift`, column `shift` comes to the corner, and what
#    leaves at the top comes back at the bottom.
# 2. Cut it into windows, row by row and from left to right; the places of a window in the same order.
# 3. Say which places of a window may look at each other. Rolling has brought opposite edges of the picture together in the last
#    windows: two places may look at each other only if they lay in one piece before. Without a shift, all may.
#
# **Why.** It makes attention on large pictures affordable, and the mask is where nearly everyone who rewrites Swin goes wrong.
#
# **Shapes.** `feature_map` $(B, H, W, D)$, $H$ and $W$ multiples of `size`; $0 \le$ `shift` $<$ `size`. Return the pair
# `(windows, mask)`: `windows` $(B, n, \text{size}^2, D)$ with $n = HW / \text{size}^2$; `mask` $(n, \text{size}^2, \text{size}^2)$, bool,
# **True where one may look at the other**. The mask is the same for every map of the batch.
#
# **Example.** A map of 4 × 4 places numbered from 0 to 15, windows of 2, a shift of 1. The first window holds 5, 6, 9, 10, which were
# neighbours: all True. The last holds 15, 12, 3, 0, from the four corners: each may look at itself alone.


# %% nbgrader={"grade": false, "grade_id": "shifted_windows", "locked": false, "schema_version": 3, "solution": true, "task": false}
def shifted_windows(feature_map: Tensor, size: int, shift: int) -> tuple[Tensor, Tensor]:
    """Windows of a rolled map and their mask: (B, H, W, D) -> (B, n, size², D), bool (n, size², size²)."""

    ### BEGIN SOLUTION
    def cut(grid: Tensor) -> Tensor:
        batch, height, width, channels = grid.shape
        parts = grid.reshape(batch, height // size, size, width // size, size, channels)
        return parts.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)

    windows = cut(feature_map.roll(-shift, dims=1).roll(-shift, dims=2))
    height, width = feature_map.shape[1:3]
    rows = torch.arange(height, device=feature_map.device) >= height - shift
    columns = torch.arange(width, device=feature_map.device) >= width - shift
    came_round = torch.stack(torch.broadcast_tensors(rows[:, None], columns), dim=2)
    marks = cut(came_round[None]).squeeze(0)
    return windows, (marks[:, :, None] == marks[:, None]).all(dim=3)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_shifted_windows", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("02.7", shifted_windows)

# %% [markdown]
# ## Done?
#
# You have written a convolution, the block of a ResNet, the first layer of a ViT, a linear probe and the windows of Swin. What is
# missing for a ResNet-18 is a stem and a loop over eight blocks; for a ViT, the transformer blocks of lesson 01. `progress()` shows
# your table, and `course quiz 02` asks you what an interviewer would.
