# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["course-header"]
# # 02 · Vision encoders: CNNs and vision transformers
#
# **Time.** About 110 minutes of reading and trying. All cells together run in three minutes on two CPU cores.
#
# **You should know** what a layer, a loss and a training step are, and how attention works (lesson 01). Everything
# else is explained here.
#
# **Afterwards you can**
#
# - say what numbers a picture is, in RGB, YUV and HSV, and prepare it for a network without spoiling it;
# - write a convolution by hand, and compute and draw what a cell of a feature map can see;
# - name the one new idea of VGG, ResNet, EfficientNet, ViT, Swin and ConvNeXt, and load published weights into each;
# - compare a CNN with a vision transformer honestly: by data, by time, by parameters;
# - choose between a linear probe, fine-tuning and training from scratch, with numbers;
# - explain how Faster R-CNN, Mask R-CNN and DETR find objects, and compute IoU, NMS, RoIAlign and a matching.


# %% [markdown]
# ## 1 What a picture is to a program
#
# Show a child eight pictures, and she says: a small blue ring, a large dotted star. Show them to a program, and it gets
# 12,288 numbers each. Between those numbers and the words lies the **vision encoder**, the first half of every
# vision-language model.
#
# **The question of this lesson:** which functions turn pixels into vectors from which shapes, colours and places can be
# read, and which of them can be learned with the data, time and memory that we have?
#
# At the end of the lesson stands a network that was trained in this way. It is embedded in the course, and here is what
# it says of eight pictures it never saw:

# %%
import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from course_lib import runtime
from course_lib.data import microworld
from course_lib.models.dense_detector import DenseDetector, DenseDetectorConfig, dense_targets, detections
from course_lib.models.recipes.inputs import pixel_values
from course_lib.pretrained import course
from course_lib.viz import figures
from course_lib.viz import pictures as drawings
from course_lib.viz.attention import attention_map, token_map
from course_lib.viz.style import show

runtime.seed_everything(2)
config, weights, card = course.load("vision")
backbone = DenseDetector(DenseDetectorConfig.from_dict(config)).eval()
backbone.load_state_dict(weights)

scenes = microworld.sample_scenes(8, seed=16, split="test")
images = microworld.render(scenes)  # uint8 (8, 64, 64, 3)


# %%
def seen(model, images, side):
    """The boxes of what `model` finds, in pixels of pictures with that side, each with its colour and shape."""
    with torch.no_grad():
        found = detections(model(pixel_values(images)))
    return [
        [(f"{d.attributes['colour']} {d.attributes['shape']}", [side * edge for edge in d.box]) for d in picture]
        for picture in found
    ]


show(
    figures.image_grid(microworld.render(scenes, 192), boxes=seen(backbone, images, 192), columns=4),
    alt="Eight pictures of the microworld; around each object a box, labelled with its colour and shape.",
)

# %% [markdown]
# Back to the beginning: what went in. A picture is a grid of pixels, a pixel three numbers from 0 to 255: how much red,
# green and blue light.

# %%
print("a batch of pictures:", images.shape, images.dtype, "·", images[0].size, "numbers a picture")
show(drawings.pixels(images[0], corner=(14, 12)))

# %% [markdown]
# Files and screens keep the three numbers of a pixel together: `(N, H, W, 3)`, *channels last*. Networks in PyTorch
# want the three colour planes one after the other, `(N, 3, H, W)`, *channels first*. Two operations give that shape.
# One of them is a classic mistake, and no error message will tell you:

# %%
batch = torch.from_numpy(images)  # (8, 64, 64, 3)
moved = batch.permute(0, 3, 1, 2)  # moves the axes: element (n, h, w, c) is now at (n, c, h, w)
cut = batch.reshape(8, 3, 64, 64)  # keeps the order in memory and cuts it anew: wrong
print("the same shape:", moved.shape == cut.shape, "· the same numbers in place:", torch.equal(moved, cut))
show(figures.image_grid([moved[0] / 255, cut[0] / 255], ["permute(0, 3, 1, 2)", "reshape(8, 3, 64, 64)"], size=1.8))

# %% [markdown]
# ## 2 Colour: RGB, YUV, HSV
#
# Red, green and blue are how screens make colour, not how people speak of it. Two other ways to write the same three
# numbers separate what RGB mixes.
#
# **YUV** separates brightness from colour. The *luma* $Y$ is a weighted mean, for eyes are most sensitive to green; $U$
# and $V$ say how far blue and red are from it (all channels scaled to $[0, 1]$):
#
# $$Y = 0.299\,R + 0.587\,G + 0.114\,B, \qquad U = 0.492\,(B - Y), \qquad V = 0.877\,(R - Y)$$
#
# **HSV** separates which colour from how much of it. The *value* is $\max(R,G,B)$, the *saturation* is
# $(\max-\min)/\max$, and the *hue* is an angle on the circle red, yellow, green, cyan, blue, magenta, red, counted from
# 0 to 1. Which sixth of the circle it is in depends on which channel is the largest:


# %%
def to_yuv(rgb):
    """(..., 3) in [0, 1] -> Y, U, V."""
    red, green, blue = rgb.unbind(-1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return torch.stack([luma, 0.492111 * (blue - luma), 0.877283 * (red - luma)], dim=-1)


def to_hsv(rgb):
    """(..., 3) in [0, 1] -> hue, saturation, value, all in [0, 1]."""
    red, green, blue = rgb.unbind(-1)
    value, largest = rgb.max(dim=-1)
    spread = value - rgb.min(dim=-1).values
    step = spread.clamp(min=1e-12)
    sixth = torch.stack([(green - blue) / step, 2 + (blue - red) / step, 4 + (red - green) / step])
    hue = (sixth.gather(0, largest[None])[0] / 6) % 1  # grey has none: 0
    return torch.stack([hue, spread / value.clamp(min=1e-12), value], dim=-1)


rgb = batch / 255
yuv, hsv = to_yuv(rgb), to_hsv(rgb)
print("shapes:", tuple(yuv.shape), tuple(hsv.shape))

# %% [markdown]
# The same as the library's functions, and as scikit-image's?

# %%
from skimage import color

from course_lib.data import colour

for name, ours, library, reference in [
    ("YUV", yuv, colour.rgb_to_yuv(rgb), color.rgb2yuv(rgb.numpy())),
    ("HSV", hsv, colour.rgb_to_hsv(rgb), color.rgb2hsv(rgb.numpy())),
]:
    close = torch.allclose(ours, torch.as_tensor(library), atol=1e-5)
    print(name, "as course_lib to 1e-5:", close, "· as skimage to 1e-5:", np.allclose(ours, reference, atol=1e-5))

# %%
planes = [images[1], *rgb[1].unbind(-1), images[1], yuv[1, ..., 0], yuv[1, ..., 1] + 0.5, yuv[1, ..., 2] / 1.3 + 0.5]
planes += [images[1], *hsv[1].unbind(-1)]
names = ["", "red", "green", "blue", "", "Y: luma", "U: blue or not", "V: red or not", "", "hue", "saturation", "value"]
show(figures.image_grid([np.asarray(p) for p in planes], names, columns=4, size=1.5))

# %% [markdown]
# **What it is good for (1): saving.** Nearly all of the shape is in $Y$. JPEG and every video codec keep $U$ and $V$ at
# half the resolution each way, because nobody sees it. Here at an eighth, and then $Y$ treated the same way instead:


# %%
def coarse(planes, factor=8):
    """(N, H, W, C) -> the same, averaged over squares of `factor` pixels."""
    small = F.avg_pool2d(planes.permute(0, 3, 1, 2), factor)
    return F.interpolate(small, scale_factor=factor, mode="bilinear").permute(0, 2, 3, 1)


large = torch.from_numpy(microworld.render(scenes[1:2], 128)) / 255
parts = to_yuv(large)
colour_coarse = torch.cat([parts[..., :1], coarse(parts[..., 1:])], dim=-1)
luma_coarse = torch.cat([coarse(parts[..., :1]), parts[..., 1:]], dim=-1)
shown = [large[0]] + [colour.yuv_to_rgb(each)[0].clamp(0, 1) for each in (colour_coarse, luma_coarse)]
names = ["as it is", "U and V at an eighth", "Y at an eighth"]
show(figures.image_grid([each.numpy() for each in shown], names, size=2.2))

# %% [markdown]
# **What it is good for (2): changing colours.** Add a third of a turn to the hue: red becomes green, blue becomes red
# (and orange and yellow become tints that have no name in this world). The answers about colours turn along, those
# about shapes stay: the network knows the two apart.

# %%
turned = hsv.clone()
turned[..., 0] = (turned[..., 0] + 1 / 3) % 1
turned = (colour.hsv_to_rgb(turned) * 255).round().to(torch.uint8).numpy()
both = np.concatenate([images[:4], turned[:4]]).repeat(3, axis=1).repeat(3, axis=2)
boxes = seen(backbone, images[:4], 192) + seen(backbone, turned[:4], 192)
show(
    figures.image_grid(both, boxes=boxes, columns=4),
    alt="Four pictures, and below them the same with another hue; the colours named change, the shapes stay.",
)

# %% [markdown]
# ## 3 From a picture to pixel values: resize, crop, normalise, augment
#
# A network is trained on pictures of one size, with numbers in one range. Whatever is done before it, the
# *preprocessing*, is part of the model, though it is in no weight file. Most mysterious failures of published models
# are mistakes made here.
#
# **Resize.** Taking every third pixel (*nearest*) loses what is finer than three pixels, or turns it into patterns that
# were not there. *Antialiasing* averages first. A piece of a photographed page, brought to a third in both ways:

# %%
from PIL import Image

from course_lib.data.photos import photos

page = max(photos(), key=lambda one: one.image.width / one.image.height).image  # the widest
fine = page.crop((0, 0, 180, 180))
nearest = fine.resize((60, 60), Image.Resampling.NEAREST)
smooth = fine.resize((60, 60), Image.Resampling.BICUBIC)  # PIL's bicubic averages when it makes smaller
show(figures.image_grid([fine, nearest, smooth], ["180 pixels", "60, every third pixel", "60, antialiased"], size=2.4))

# %% [markdown]
# **Crop.** Photographs are rarely square, networks' inputs are. There are three ways, and each gives something up:
# *squash* bends shapes, *crop* loses the edges, *pad* spends pixels on nothing. CLIP, ResNet and ViT scale the shorter
# side and crop the middle; detectors pad, for they must not lose an object.

# %%
from PIL import ImageOps

from course_lib.data.transforms import resize

three = [page.resize((128, 128)), resize(page, 128), ImageOps.pad(page, (128, 128))]
show(figures.image_grid([page, *three], ["a photograph", "squashed", "resized and cropped", "padded"], size=1.9))

# %% [markdown]
# **Normalise.** Scale to $[0, 1]$, subtract a mean $\mu_c$ and divide by a standard deviation $\sigma_c$, one of each
# per channel $c$:
#
# $$x'_{c} = \frac{x_c / 255 - \mu_c}{\sigma_c}$$
#
# so that the numbers lie around 0 with size about 1, where initial weights and learning rates expect them. Which $\mu$
# and $\sigma$ matters less than that they are *the same as in training*. The course's models use 0.5 for both, CLIP and
# ImageNet models the statistics of their training pictures.

# %%
from course_lib.data.transforms import CLIP_MEAN, CLIP_STD, to_pixel_values

by_hand = (rgb.permute(0, 3, 1, 2) - 0.5) / 0.5
print("the course's pixel_values:", torch.allclose(by_hand, pixel_values(images), atol=1e-6))
print(
    "from", by_hand.min().item() >= -1, "to", by_hand.max().item() <= 1, "within [-1, 1]; shape", tuple(by_hand.shape)
)

# %% [markdown]
# What if it is *not* the same? The backbone, asked for shape and colour in the grid cell of every object's centre, on
# 500 test pictures that were prepared rightly and in six wrong ways:

# %%
exam_scenes = microworld.sample_scenes(500, seed=5, split="test")
exam = torch.from_numpy(microworld.render(exam_scenes))  # (500, 64, 64, 3)
truth = dense_targets(exam_scenes)
centre = truth.objectness > 0  # (500, 8, 8): the cells that hold an object's centre


def attributes_right(pixels):
    """Share of objects whose shape, and whose colour, the backbone names rightly."""
    with torch.no_grad():
        said = backbone(pixels).attributes
    return {
        name: (said[name].argmax(dim=1) == truth.attributes[name])[centre].double().mean().item()
        for name in ("shape", "colour")
    }


right = pixel_values(exam)
ways = {
    "right: -1 to 1": right,
    "CLIP's mean and std": to_pixel_values(exam, CLIP_MEAN, CLIP_STD),
    "0 to 1, never centred": right / 2 + 0.5,
    "blue and red swapped": right.flip(1),
    "normalised twice": (right - 0.5) / 0.5,
    "bytes, 0 to 255": exam.permute(0, 3, 1, 2).float(),
    "reshape for permute": right.permute(0, 2, 3, 1).reshape(right.shape),
}
prepared = {name: attributes_right(pixels) for name, pixels in ways.items()}
show(figures.compare(prepared, chance=1 / 8, value="objects named rightly"))
print("right preparation, shape and colour at least 0.95:", min(prepared["right: -1 to 1"].values()) >= 0.95)
print("CLIP's mean and std, shape below 0.5:", prepared["CLIP's mean and std"]["shape"] < 0.5)
print("bytes, shape below 0.5:", prepared["bytes, 0 to 255"]["shape"] < 0.5)

# %% [markdown]
# No wrong way raised an error. Swapping red and blue, which every user of OpenCV does once, leaves the shapes alone and
# makes the colours wrong. The most harmless-looking of all, the mean and deviation of another model, makes bright
# backgrounds brighter than anything in training, and the shapes are gone. So: take the preprocessing from where the
# weights came from, and measure once on pictures that you know.
#
# **Augment.** In training, and only there, pictures are changed at random in ways that must not change the answer: a
# hundred pictures become a hundred thousand slightly different ones.


# %%
def augmented(pixels, generator, reach=6):
    """(B, 3, H, W) -> the same pictures flipped or not, shifted, brightened or darkened, with a square erased."""
    batch, _, height, width = pixels.shape
    padded = F.pad(pixels, (reach,) * 4, mode="replicate")
    changed = torch.empty_like(pixels)
    for n in range(batch):
        flip, dy, dx, y, x = torch.randint(0, 2**16, (5,), generator=generator).tolist()
        dy, dx, y, x = dy % (2 * reach), dx % (2 * reach), y % height, x % width
        part = padded[n, :, dy : dy + height, dx : dx + width]  # a random crop of the padded picture
        changed[n] = part.flip(-1) if flip % 2 else part
        changed[n] *= 0.8 + 0.4 * torch.rand(1, generator=generator)  # contrast
        changed[n, :, y : y + height // 6, x : x + width // 6] = 0  # random erasing: no part is indispensable
    return changed.clamp(-1, 1)


one = pixel_values(images[2:3]).repeat(8, 1, 1, 1)
many = augmented(one, torch.Generator().manual_seed(0))
print("shape kept:", one.shape == many.shape)
show(figures.image_grid((many + 1) / 2, columns=8, size=0.95), alt="One picture, augmented in eight ways.")

# %% [markdown]
# "Must not change the answer" is a statement about the *question*. A flip is harmless when we ask which shape it is,
# and wrong when the caption says "left of". Changing the hue is harmless for shapes and wrong for colours. A crop is
# harmless until it cuts off what the caption names. Section 12 measures what augmentation is worth.

# %% [markdown]
# ## 4 Convolution
#
# A fully connected layer from a picture of $64 \times 64 \times 3$ to a map of the same size with 24 channels would
# have $12{,}288 \times 98{,}304 \approx 1.2$ billion weights, and would have to learn what an edge is at every place
# anew. A **convolution** makes two assumptions. What belongs together is *near*: each output looks at a small square.
# And what matters here matters there: the weights are *shared* by all places.
#
# With an input $x$ of $C$ channels, a kernel $w$ of $k \times k$ numbers for each pair of output channel $d$ and input
# channel $c$, a bias $b_d$, and stride $s$ (from one output to the next, the square moves by $s$ pixels):
#
# $$y_{d,i,j} = b_d + \sum_{c=1}^{C} \sum_{u=0}^{k-1} \sum_{v=0}^{k-1} w_{d,c,u,v}\; x_{c,\,s i+u,\,s j+v}$$
#
# *Padding* $p$ puts $p$ rows and columns of zeros around $x$ first. An input of side $n$ gives an output of side
# $\lfloor (n + 2p - k)/s \rfloor + 1$.


# %%
def convolve(x, weight, bias, stride=1, padding=0):
    """(C, H, W), (D, C, k, k), (D) -> (D, H', W'), by the formula."""
    x = F.pad(x, (padding,) * 4)
    k = weight.shape[-1]
    height, width = (x.shape[1] - k) // stride + 1, (x.shape[2] - k) // stride + 1
    y = torch.empty(len(weight), height, width)
    for d in range(len(weight)):
        for i in range(height):
            for j in range(width):
                window = x[:, i * stride : i * stride + k, j * stride : j * stride + k]  # (C, k, k)
                y[d, i, j] = bias[d] + (weight[d] * window).sum()
    return y


x = pixel_values(images[:1])[0, :, 16:40, 16:40]  # a piece, for loops are slow
layer = nn.Conv2d(3, 5, kernel_size=3, stride=2, padding=1)
with torch.no_grad():
    slow, fast = convolve(x, layer.weight, layer.bias, stride=2, padding=1), layer(x[None])[0]
print(tuple(x.shape), "->", tuple(slow.shape), "· as torch computes it:", torch.allclose(slow, fast, atol=1e-5))
print("weights:", layer.weight.numel(), "= 5 x 3 x 3 x 3, however large the picture")

# %% [markdown]
# What can nine numbers do? Four kernels, written by hand, on the luma of one picture:

# %%
kernels = {
    "blur": torch.full((3, 3), 1 / 9),
    "edge, vertical": torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]),
    "edge, horizontal": torch.tensor([[-1.0, -2, -1], [0, 0, 0], [1, 2, 1]]),
    "spot": torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]]),
}
luma = yuv[4, ..., 0]
maps = F.conv2d(luma[None, None] - luma.mean(), torch.stack(list(kernels.values()))[:, None], padding=1)[0]
show(drawings.filters(images[4], kernels, maps))

# %% [markdown]
# A trained network finds such kernels by itself. These are the 24 of the backbone's first layer, with their three
# channels drawn as red, green and blue: edges in several directions, differences of colours, and averages.

# %%
first = next(module for module in backbone.modules() if isinstance(module, nn.Conv2d)).weight.detach()  # (24, 3, 3, 3)
drawn = (first / first.abs().amax(dim=(1, 2, 3), keepdim=True) + 1) / 2
show(
    figures.image_grid(drawn, columns=12),
    alt="The 24 kernels of the first layer, three by three pixels each, in colour.",
)

# %% [markdown]
# Sharing weights has a consequence that can be tested. Move the picture, and the feature map moves along:
# $f(\text{shift}(x)) = \text{shift}(f(x))$, up to the edges. This is **translation equivariance**.

# %%
x = pixel_values(images[:1])
with torch.no_grad():
    stride_one = nn.Conv2d(3, 8, 3, padding=1)
    then_moved, moved_then = stride_one(x).roll(5, dims=-1), stride_one(x.roll(5, dims=-1))
inner = (slice(None), slice(None), slice(1, -1), slice(7, -1))
print("equal away from the edges:", torch.allclose(then_moved[inner], moved_then[inner], atol=1e-5))

# %% [markdown]
# ## 5 Pooling, and how far a cell can see
#
# A feature map with fewer, richer cells is cheaper and sees further. **Pooling** makes one cell of several: the maximum
# (was it anywhere here?) or the mean (how much of it was here?). A convolution with stride 2 does the same with learned
# weights, and most networks since ResNet use that.

# %%
corner = torch.tensor([[1.0, 3, 2, 0], [4, 2, 1, 1], [0, 0, 5, 6], [1, 0, 7, 8]])[None, None]
print("max :", F.max_pool2d(corner, 2)[0, 0].tolist())
print("mean:", F.avg_pool2d(corner, 2)[0, 0].tolist())
print(
    "by hand:", corner.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(-2, -1))[0, 0].tolist()
)  # 2 x 2 blocks, their maximum

# %% [markdown]
# The mean over the *whole* map is *global average pooling*: from `(B, D, h, w)` to one vector `(B, D)` a picture, for
# any size of the picture. Most classifiers below end with it.
#
# **The receptive field** of a cell is the square of pixels that can change it. Let $r_l$ be its side after layer $l$,
# and $j_l$ the *jump*, how many pixels apart two neighbouring cells look. With kernel $k_l$ and stride $s_l$, and
# $r_0=j_0=1$:
#
# $$r_l = r_{l-1} + (k_l - 1)\, j_{l-1}, \qquad j_l = j_{l-1}\, s_l$$


# %%
def receptive_field(layers):
    """[(kernel, stride), ...] -> [(field, jump), ...] after each layer."""
    field, jump, after = 1, 1, []
    for kernel, stride in layers:
        field, jump = field + (kernel - 1) * jump, jump * stride
        after.append((field, jump))
    return after


strides = backbone.config.vision.strides
for depth, (field, _) in enumerate(receptive_field([(3, stride) for stride in strides]), 1):
    print(f"after convolution {depth} (stride {strides[depth - 1]}): a cell sees {field:2} x {field:2} pixels")

# %% [markdown]
# The formula says what *can* change a cell. The gradient says what *does*: the derivative of a cell in the middle with
# respect to every pixel, here through the trained backbone. Heat is the size of the gradient, the dashed box is the
# formula.

# %%
pixels = pixel_values(images[5:6]).requires_grad_()
maps, boxes, names, signal = [], [], [], pixels
fields = receptive_field([(3, stride) for stride in strides])
inside = True
for stage, (field, jump) in zip(backbone.trunk.stages, fields, strict=True):
    signal = stage(signal)
    middle = signal.shape[-1] // 2
    (gradient,) = torch.autograd.grad(signal[0, :, middle, middle].sum(), pixels, retain_graph=True)
    maps.append(gradient[0].abs().sum(dim=0))
    at = middle * jump + 0.5  # padding by 1 keeps the centres of the kernels on every j-th pixel
    boxes.append((at - field / 2, at - field / 2, at + field / 2, at + field / 2))
    rows = maps[-1].nonzero()[:, 0]
    inside &= rows.min().item() >= boxes[-1][1] and rows.max().item() + 1 <= boxes[-1][3]
    names.append(f"{field} x {field}")
show(drawings.receptive_fields(images[5], torch.stack(maps), boxes, names))
print("no gradient outside the field computed:", inside)

# %% [markdown]
# Two things to see. The field grows slowly with 3 x 3 kernels and faster after each stride. And the gradient is
# concentrated in the middle of its box: of the many paths through the layers, most lead to the centre. The *effective*
# receptive field is smaller than the formula's (Luo et al., 2016). A vision transformer's cell sees the whole picture
# from the first layer; sections 9 and 12 ask what that costs.

# %% [markdown]
# ## 6 VGG: small kernels, many of them
#
# By 2014 convolutional networks were won by hand: 11 x 11 kernels here, 5 x 5 there. VGG asks what *depth* alone can
# do, and uses one layer only, the 3 x 3 convolution with a ReLU. By the formula of section 5, two of them in a row see
# 5 x 5 pixels and three see 7 x 7. They do it with fewer weights, and with a non-linearity in between:

# %%
C = 64  # channels in and out
for count in (1, 2, 3):
    field = receptive_field([(3, 1)] * count)[-1][0]
    print(
        f"{count} of 3 x 3 sees {field} x {field}: {count * 9 * C * C:7,} weights;  one of {field} x {field}:", end=" "
    )
    print(f"{field**2 * C * C:7,}")

# %%
from course_lib.viz.papers import paper_card

paper_card("vgg")

# %% [markdown]
# The library's VGG in a small configuration, drawn from the code by following a batch of three pictures through it.
# Each stage halves height and width by a maximum; then two fully connected layers:

# %%
from course_lib.encoders.vgg import VGG, VGGConfig
from course_lib.models.image_classifier import ImageClassifier
from course_lib.viz.diagram import architecture

small_vgg = VGG(VGGConfig(stages=((16,), (32, 32), (64, 64)), pooled=4, hidden=64))
show(architecture(small_vgg, torch.zeros(3, 3, 32, 32)))

# %%
from course_lib.viz.code import code_of

print(code_of(VGG.forward))
print(code_of(VGG.forward_features))

# %% [markdown]
# Where are the parameters? For VGG-16 as published, counted without allocating them (PyTorch's *meta* device knows
# shapes and holds no numbers):

# %%
sixteen = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
with torch.device("meta"):
    vgg16 = ImageClassifier(VGG(VGGConfig(sixteen)), classes=1000)


def parameters(module):
    return sum(each.numel() for each in module.parameters())


convolutions = parameters(vgg16.encoder.stages)
print(f"all {parameters(vgg16):,} · convolutions {convolutions:,} ({convolutions / parameters(vgg16):.0%})")

# %% [markdown]
# Nine tenths sit in the fully connected layers, which look at a grid of 7 x 7 x 512 numbers all at once. Every later
# network drops them and takes the mean over the grid.
#
# **Is this VGG, or only something like it?** The fair test, which every system of this course has to pass: build the
# reference implementation with random weights, copy them into ours, and give both the same pictures. `course parity`
# runs all these comparisons; here is VGG's.

# %%
from course_lib.authoring.parity import lesson_02 as beside


def compare_with_reference(*rows):
    for row in rows:
        print(f"{row.system:18} beside {row.reference:26} {row.what}: equal to {row.tolerance:.0e}: {row.holds}")


compare_with_reference(*beside.vgg_beside_torchvision())

# %% [markdown]
# ## 7 ResNet: add, do not replace
#
# Deeper is better, so why stop at 19 layers? Because at some depth networks get *worse*, on the training pictures too.
# So it is not overfitting: they cannot be trained. That is strange. A deeper network could copy the shallower one and
# let its other layers do nothing. But "do nothing", $F(x) = x$, is hard to learn for a stack of convolutions and ReLUs.
#
# The **residual block** makes it the easiest thing in the world. The layers compute what to *add*:
#
# $$x_{l+1} = \operatorname{ReLU}\big(x_l + F_l(x_l)\big)$$
#
# With $F_l = 0$ the block passes its input on. And the gradient always has one way back through all blocks on which it
# meets no weights. Written out for a block of two convolutions (BatchNorm, from lesson 01, after each):


# %%
class MyBlock(nn.Module):
    """(B, C, H, W) -> (B, D, H / stride, W / stride)."""

    def __init__(self, in_channels, channels, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        same = stride == 1 and in_channels == channels  # otherwise the shortcut has to change the shape, too
        self.shortcut = nn.Identity() if same else ShapeChange(in_channels, channels, stride)

    def forward(self, x):
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(self.shortcut(x) + residual)


class ShapeChange(nn.Sequential):
    def __init__(self, in_channels, channels, stride):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
        self.bn = nn.BatchNorm2d(channels)


from course_lib.layers.residual import BasicBlock

mine, theirs = MyBlock(16, 32, stride=2), BasicBlock(16, 32, stride=2)
theirs.load_state_dict(mine.state_dict())
x = torch.randn(2, 16, 8, 8)
print(tuple(x.shape), "->", tuple(mine(x).shape), "· as the library's BasicBlock:", torch.equal(mine(x), theirs(x)))

# %%
paper_card("resnet")

# %% [markdown]
# ResNets from 50 layers on use a *bottleneck* in each block: 1 x 1 to fewer channels, 3 x 3 there, 1 x 1 back to four
# times as many. The network around the blocks is short: a stem, four stages (three in this small one), the mean.

# %%
from course_lib.encoders.resnet import ResNet, ResNetConfig

tiny_resnet = ResNetConfig(layers=(1, 1, 1), width=16, stem_kernel=3, stem_stride=2, stem_pool=False)
show(architecture(ResNet(tiny_resnet), torch.zeros(3, 3, 32, 32)))

# %% [markdown]
# The reference comparison once in full, with the real ResNet-18 of torchvision, 11.7 million random weights: its state
# dict goes through a map of names, and into ours.

# %%
import torchvision

from course_lib.pretrained import torchvision as names_of_torchvision

reference = torchvision.models.resnet18(weights=None).eval()
ours = ImageClassifier.from_weights(*names_of_torchvision.resnet(reference.state_dict()))
pixels = torch.randn(2, 3, 96, 96)
with torch.no_grad():
    difference = (ours(pixels) - reference(pixels)).abs().max()
print(f"{parameters(ours):,} parameters · logits equal to 1e-5:", bool(difference < 1e-5))
compare_with_reference(*beside.resnet_beside_torchvision(), *beside.resnet_beside_torchvision(bottleneck=True))

# %% [markdown]
# **What happens without the shortcut?** Take a stack of blocks, and the same with every shortcut replaced by a module
# that passes nothing on. Before any training, send a batch through, and look at the size of the gradient that arrives
# at each block, relative to the last one:


# %%
class Nothing(nn.Module):
    """In the place of a shortcut: nothing comes round."""

    def forward(self, x):
        return torch.zeros((), device=x.device)


def without_shortcuts(model):
    """A copy whose residual blocks only replace, and do not add."""
    plain = copy.deepcopy(model)
    for module in plain.modules():
        if isinstance(module, BasicBlock):
            module.shortcut = Nothing()
    return plain


# %%
DEPTH = 30
torch.manual_seed(0)
stack = nn.Sequential(*(BasicBlock(16, 16) for _ in range(DEPTH)))
for module in stack.modules():
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
arrives = {}
for name, model in [("with shortcuts", stack), ("without", without_shortcuts(stack))]:
    signals = [torch.randn(16, 16, 8, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)]
    for block in model:
        signals.append(block(signals[-1]))
    target = torch.randn(signals[-1].shape, generator=torch.Generator().manual_seed(2))
    gradients = torch.autograd.grad((signals[-1] * target).sum(), signals[:-1])
    sizes = torch.stack([gradient.norm() for gradient in gradients])
    arrives[name] = (sizes / sizes[-1]).log10().tolist()
show(
    figures.lines(
        range(1, DEPTH + 1), arrives, across="block, the last at the right", value="size of the gradient, power of ten"
    )
)

# %% [markdown]
# With shortcuts the gradient at the first block is within a factor of some twenty of that at the last. Without them it
# changes by a factor in every layer, and over thirty blocks by four orders of magnitude: no learning rate suits both
# ends. Section 16 trains both.

# %% [markdown]
# ## 8 EfficientNet: cheaper convolutions, scaled together
#
# A $3\times3$ convolution mixes two things at once: neighbouring *places*, and *channels*. **Depthwise separable**
# convolution does one after the other. First each channel is convolved alone (*depthwise*, $k \times k$ weights each);
# then a $1\times1$ convolution mixes the channels at each place (*pointwise*). With $C$ channels in and $D$ out, that
# is $k^2 C + C D$ weights and not $k^2 C D$:

# %%
C, k = 64, 3
x = torch.randn(2, C, 16, 16)
depthwise = nn.Conv2d(C, C, k, padding=1, groups=C, bias=False)  # groups=C: each channel by itself
pointwise = nn.Conv2d(C, C, 1, bias=False)
alone = torch.cat([F.conv2d(x[:, c : c + 1], depthwise.weight[c : c + 1], padding=1) for c in range(C)], dim=1)
print("each channel alone:", torch.allclose(alone, depthwise(x), atol=1e-5), "·", tuple(pointwise(alone).shape))
print(f"weights: {k * k * C + C * C:,} in place of {k * k * C * C:,}")

# %% [markdown]
# **Squeeze and excitation** (Hu et al., 2018) lets the whole picture decide which channels matter. *Squeeze*: the mean
# of each channel. *Excite*: two small layers, with $W_1$ of shape $(r, C)$ and $W_2$ of shape $(C, r)$, $r < C$, make
# of it a number between 0 and 1 per channel, which that channel is multiplied by ($\sigma$ is the sigmoid):
#
# $$x_c \leftarrow x_c \cdot \sigma\big(W_2\, \operatorname{SiLU}(W_1 \bar x)\big)_c, \qquad
# \bar x_c = \tfrac{1}{HW} \textstyle\sum_{ij} x_{c,i,j}$$

# %%
from course_lib.layers.convolution import SqueezeExcite

library = SqueezeExcite(channels=C, squeezed=8)
with torch.no_grad():
    mean = x.mean(dim=(2, 3))  # (B, C): squeeze
    hidden = F.silu(F.linear(mean, library.reduce.weight[:, :, 0, 0], library.reduce.bias))
    gate = F.linear(hidden, library.expand.weight[:, :, 0, 0], library.expand.bias).sigmoid()  # (B, C), 0 to 1
    print("gates:", tuple(gate.shape), "· as the library:", torch.allclose(x * gate[:, :, None, None], library(x)))

# %% [markdown]
# EfficientNet's block, **MBConv**, puts these together: 1 x 1 to more channels (six times), depthwise, squeeze and
# excitation, 1 x 1 back to few channels with no activation after it, and a shortcut. Wide inside and narrow outside, it
# is an *inverted* bottleneck: what is stored and passed on is the narrow part.

# %%
from course_lib.encoders.efficientnet import EfficientNet, EfficientNetConfig
from course_lib.layers.convolution import MBConv

print(code_of(MBConv.forward))
tiny_efficientnet = EfficientNetConfig(
    width_coefficient=1.0, depth_coefficient=1.0, stem_channels=16, drop_rate=0.0,
    in_channels=(16, 16, 24), out_channels=(16, 24, 48), kernel_sizes=(3, 3, 5), strides=(1, 2, 2),
    repeats=(1, 2, 2), expansions=(1, 4, 4),
)  # fmt: skip
show(architecture(EfficientNet(tiny_efficientnet), torch.zeros(3, 3, 32, 32)))

# %%
paper_card("efficientnet")

# %% [markdown]
# **Compound scaling.** With twice the budget, should a network be deeper, wider, or see larger pictures? All three,
# says the paper, in fixed proportions: depth times $1.2^\phi$, width times $1.1^\phi$, picture side times $1.15^\phi$.
# Since cost grows with depth, with the square of width and with the square of the side, each step of $\phi$ doubles it.
# The library's class in the eight published sizes:

# %%
print(f"1.2 x 1.1² x 1.15² = {1.2 * 1.1**2 * 1.15**2:.2f}")
sizes = [(1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2), (1.8, 2.6), (2.0, 3.1)]
for number, (wide, deep) in enumerate(sizes):
    with torch.device("meta"):
        b = ImageClassifier(EfficientNet(EfficientNetConfig(wide, deep, top_channels=1280)), classes=1000)
    print(
        f"B{number}: width x {wide}, depth x {deep}, {len(b.encoder.blocks):2} blocks, {parameters(b):12,} parameters"
    )
compare_with_reference(*beside.efficientnet_beside_torchvision())

# %% [markdown]
# ## 9 ViT: patches as tokens
#
# Lesson 01 built a machine for sequences. Can a picture be a sequence? One token per pixel would be 4,096 tokens for a
# small picture, and attention compares all pairs. The **vision transformer** (ViT) cuts the picture into square
# *patches* and calls each a word:

# %%
show(drawings.patches(images[3], patch=8))

# %% [markdown]
# A patch of $P \times P$ pixels is a row of $3P^2$ numbers; one matrix $E$ of shape $(3P^2, D)$ maps it to a token of
# width $D$. That is all. It is also a convolution whose stride equals its kernel, which is how everyone computes it:

# %%
P, D = 8, 64
x = pixel_values(images[:2])  # (2, 3, 64, 64)
cut = x.unfold(2, P, P).unfold(3, P, P)  # (2, 3, 8, 8, P, P)
rows = cut.permute(0, 2, 3, 1, 4, 5).reshape(2, 64, 3 * P * P)  # (2, N, 3 P²), patches in reading order
embed = nn.Conv2d(3, D, kernel_size=P, stride=P)
tokens = rows @ embed.weight.flatten(1).T + embed.bias  # E is the kernel, flattened
print("tokens:", tuple(tokens.shape), "· as a convolution:", end=" ")
print(torch.allclose(tokens, embed(x).flatten(2).transpose(1, 2), atol=1e-4))

# %% [markdown]
# Two things are added. A learned **class token** stands before the patches; it has no pixels of its own, collects what
# it needs by attention, and becomes the picture's vector. And each place gets a learned **position** vector, since
# attention itself does not know where a token stands. Then an ordinary transformer encoder (pre-norm, as in lesson 01).
# With $p_i$ the row of numbers of patch $i$, what the first block gets is
#
# $$z_0 = [x_{\text{class}};\; p_1 E;\; \dots;\; p_N E] + E_{\text{pos}}$$

# %%
from course_lib.encoders.vit import ViT, ViTConfig

print(code_of(ViT.embed))
print(code_of(ViT.forward))
tiny_vit = ViTConfig(image_size=32, patch_size=4, width=64, layers=2, heads=4, mlp_width=128)
show(architecture(ViT(tiny_vit), torch.zeros(3, 3, 32, 32)))

# %%
paper_card("vit")

# %% [markdown]
# **What a ViT does not know.** A convolution is told that neighbours belong together, and that places are alike. A ViT
# is told neither. Without the position vectors it could not even tell a picture from a jigsaw puzzle: shuffle the
# patches, and the class token comes out *exactly* the same.

# %%
vit = ViT(tiny_vit).eval()
with torch.no_grad():
    vit.position_embedding.normal_(std=0.5)  # as large as after long training
    patches = vit.patch_embedding(pixel_values(microworld.render(scenes, 32)))  # (8, 64, D)
    order = torch.randperm(64)
    for name, positions in [("with positions", vit.position_embedding), ("without", torch.zeros(65, 64))]:
        first = vit.class_embedding.expand(8, 1, -1)
        whole, puzzle = (torch.cat([first, each], dim=1) + positions for each in (patches, patches[:, order]))
        same = torch.allclose(vit.transformer(whole, read=0), vit.transformer(puzzle, read=0), atol=1e-5)
        print(f"{name:15} picture and puzzle get the same vector:", same)
compare_with_reference(*beside.vit_beside_torchvision())

# %% [markdown]
# **What it gains.** In the first layer already every patch can look at every other: the receptive field is the whole
# picture. The price is in the number of pairs, $N^2$ for $N$ patches. Halve the patch, and there are 4 times as many
# tokens and 16 times as many pairs:

# %%
for patch in (32, 16, 8, 4):
    count = (224 // patch) ** 2
    print(f"224 pixels in patches of {patch:2}: {count:5,} tokens, {count**2:10,} pairs in each head of each layer")

# %% [markdown]
# ## 10 Swin: attention in windows
#
# A detector needs fine patches, and then $N^2$ is too much. **Swin** lets a token look at its *window* of $M \times M$
# tokens only ($M=7$ in the paper), so that the pairs are $N M^2$. But then windows never talk to each other. So in
# every second block the windows are **shifted** by half their side:

# %%
show(drawings.windows(cells=8, window=4, shift=2))

# %% [markdown]
# The middle panel has nine windows of different sizes, which is awkward to compute. The right-hand panel is the paper's
# trick. *Roll* the map, so that what falls off one side comes in at the other; then there are four full windows again,
# and a **mask** forbids attention between tokens that came from different sides (different letters). In the cell:


# %%
def window_parts(x, size):
    """(B, H, W, D) -> (B, windows, size², D)."""
    b, h, w, d = x.shape
    return x.view(b, h // size, size, w // size, size, d).transpose(2, 3).reshape(b, -1, size * size, d)


def shifted_mask(cells, size, shift):
    """(windows, size², size²): may these two tokens look at each other?"""
    slices = (slice(0, -size), slice(-size, -shift), slice(-shift, None))  # of the rolled map
    letter = torch.zeros(1, cells, cells, 1)
    for number, (rows, columns) in enumerate((r, c) for r in slices for c in slices):
        letter[:, rows, columns] = number
    letters = window_parts(letter, size)[0, :, :, 0]  # (windows, size²)
    return letters[:, :, None] == letters[:, None, :]


from course_lib.layers.windows import neighbours, windows

x = torch.randn(2, 8, 8, 5)
mask = shifted_mask(8, size=4, shift=2)
print("windows:", tuple(window_parts(x, 4).shape), "· as the library:", torch.equal(window_parts(x, 4), windows(x, 4)))
print("mask   :", tuple(mask.shape), "· as the library:", torch.equal(mask, neighbours(8, 8, 4, (2, 2))))
print("allowed pairs of 256, by window:", mask.sum(dim=(1, 2)).tolist())

# %% [markdown]
# Does the shift help? Follow the gradient through real Swin blocks: how many of the $16 \times 16$ tokens can change
# the one in the middle, after one, two and four blocks?

# %%
from course_lib.encoders.swin import Swin, SwinBlock, SwinConfig

swin_config = SwinConfig(window=4, drop_rate=0.0)
reach = {}
for name, shift in [("shifted in every second block", 2), ("never shifted", 0)]:
    torch.manual_seed(0)
    blocks = [SwinBlock(32, 2, shift if number % 2 else 0, 0.0, swin_config) for number in range(4)]
    reach[name] = []
    for depth in (1, 2, 4):
        x = torch.randn(1, 16, 16, 32, requires_grad=True)
        y = nn.Sequential(*blocks[:depth])(x)
        (gradient,) = torch.autograd.grad(y[0, 9, 9].sum(), x)
        reach[name].append(int((gradient[0].abs().sum(dim=-1) > 0).sum()))
    print(f"{name:30} tokens seen after 1, 2, 4 blocks:", reach[name])

# %%
paper_card("swin")

# %% [markdown]
# Between stages, *patch merging* lays the four tokens of each $2\times2$ square side by side ($4D$ numbers) and maps
# them to $2D$: half the side, twice the width, as in a ResNet. Inside a window, the scores get a learned number for
# each *relative* position ($B$ in the card), in place of ViT's absolute positions.

# %%
tiny_swin = SwinConfig(2, width=24, layers=(2, 2, 2), heads=(2, 4, 8), window=4, mlp_ratio=2.0, drop_rate=0.0)
show(architecture(Swin(tiny_swin), torch.zeros(3, 3, 32, 32)))
compare_with_reference(*beside.swin_beside_torchvision())

# %% [markdown]
# ## 11 ConvNeXt: what the transformer taught the convolution
#
# Swin beat ResNet. Was it attention? Side by side, the blocks differ in much more than that:
#
# | block | mixes places by | mixes channels by | norm | activation | shape |
# |---|---|---|---|---|---|
# | ResNet | 3 x 3 convolution | the same | BatchNorm, after each layer | ReLU, after each layer | narrow inside |
# | ViT | attention to all | MLP, 4 times wider inside | LayerNorm, before | GELU, once | wide inside |
# | Swin | attention in a window | MLP, 4 times wider inside | LayerNorm, before | GELU, once | wide inside |
# | ConvNeXt | 7 x 7 depthwise convolution | MLP, 4 times wider inside | LayerNorm, before | GELU, once | wide inside |
#
# ConvNeXt walks from the first row to the last, one decision at a time. The end of the walk is a transformer block in
# which a depthwise convolution stands in the place of attention. Here it is in full, with one more modern detail, a
# learned scale $\gamma$ per channel that starts near 0, so that each block starts as the identity:

# %%
from course_lib.encoders.convnext import ConvNeXt, ConvNeXtBlock, ConvNeXtConfig

library = ConvNeXtBlock(32, 0.0, ConvNeXtConfig(layer_scale=0.1))
x = torch.randn(2, 32, 8, 8)
with torch.no_grad():
    places = F.conv2d(x, library.depthwise.weight, library.depthwise.bias, padding=3, groups=32)  # 7 x 7, each channel
    places = places.permute(0, 2, 3, 1)  # (B, H, W, D): the rest works on each place alone
    places = F.layer_norm(places, (32,), library.norm.weight, library.norm.bias, eps=1e-6)
    first, second = (module for module in library.mlp.modules() if isinstance(module, nn.Linear))
    places = second(F.gelu(first(places)))  # 32 -> 128 -> 32
    by_hand = x + (library.layer_scale * places).permute(0, 3, 1, 2)
    print("as the library's block:", torch.allclose(by_hand, library(x), atol=1e-5))

# %%
paper_card("convnext")

# %% [markdown]
# The walk, with the accuracies that the paper reports on ImageNet (figure 2 there). It begins with the same ResNet-50
# and ends above Swin-T:

# %%
walk = {
    "ResNet-50, recipe of 2015": 76.1, "the same, trained as Swin is": 78.8, "stages of 3:3:9:3 blocks": 79.4,
    "stem of 4 x 4 patches": 79.5, "depthwise, and wider": 80.5, "wide inside": 80.6, "kernels of 7 x 7": 80.6,
    "GELU, and only one": 81.3, "fewer norms": 81.4, "LayerNorm": 81.5, "own layers to halve the side": 82.0,
}  # fmt: skip
show(figures.bars(walk, reference={"Swin-T": 81.3}, value="ImageNet top-1, %", digits=1, limits=(74, 83)))

# %% [markdown]
# The largest step is the first one, and it changes no layer: *the training recipe*. Keep that in mind whenever two
# architectures are compared.

# %%
tiny_convnext = ConvNeXtConfig(patch_size=2, widths=(24, 48, 96), layers=(1, 1, 2), layer_scale=0.1, drop_rate=0.0)
show(architecture(ConvNeXt(tiny_convnext), torch.zeros(3, 3, 32, 32)))
compare_with_reference(*beside.convnext_beside_torchvision())

# %% [markdown]
# ## 12 CNN or ViT? By data, by time, by parameters
#
# Now all of them on one task: pictures of 32 pixels with a single object, and eight answers: which *shape* is it?
# Colour, size, material, background and light vary, and give nothing away. Chance is 1/8. The baseline is a linear
# classifier on the pixels themselves. Test pictures show scenes that no training picture shows.

# %%
import dataclasses

from course_lib.models.recipes import recognition
from course_lib.training.loop import TrainingConfig, train

full_scale = runtime.scale() == "full"
device = runtime.device()
training = recognition.recognition_examples(60_000 if full_scale else 8_000, seed=1, of="shape", size=32)
test = recognition.recognition_examples(1_000, seed=5, split="test", of="shape", size=32)
print(
    "pictures:", tuple(training.pictures.shape[1:]), training.pictures.dtype, "· classes:", ", ".join(training.classes)
)
show(figures.image_grid(training.pictures[:12].numpy(), [training.classes[i] for i in training.labels[:12]], size=0.9))


# %% [markdown]
# Six encoders in tiny configurations, each with a linear layer on its vector; 200 steps of 64 pictures for everyone,
# AdamW, the rate that suits each kind. One trap is worth a line. EfficientNet's BatchNorm averages its statistics over
# hundreds of steps (momentum 0.01, TensorFlow's habit). In a run of 200 steps these averages never catch up, and the
# network that was fine in training fails in the test. Here the momentum is 0.1.


# %%
class Flatten(nn.Module):
    """No encoder at all: the pixels in a row."""

    width = 3 * 32 * 32

    def forward(self, pixel_values):
        return pixel_values.flatten(1)


def quick_norms(encoder):
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    return encoder


contenders = {
    "linear on pixels": (Flatten, 1e-3),
    "VGG": (lambda: VGG(VGGConfig(stages=((16,), (32,), (64,)), pooled=4, hidden=64, dropout=0.0)), 1e-3),
    "ResNet": (lambda: ResNet(tiny_resnet), 4e-3),
    "EfficientNet": (
        lambda: quick_norms(EfficientNet(dataclasses.replace(tiny_efficientnet, repeats=(1, 1, 1)))),
        4e-3,
    ),
    "ConvNeXt": (lambda: ConvNeXt(dataclasses.replace(tiny_convnext, widths=(16, 32, 64), layers=(1, 1, 1))), 2e-3),
    "ViT": (lambda: ViT(tiny_vit), 2e-3),
    "Swin": (lambda: Swin(SwinConfig(4, 48, (2, 2), (4, 8), window=4, mlp_ratio=2.0, drop_rate=0.0)), 2e-3),
}
STEPS = 4_000 if full_scale else 200


def fit(name, examples, steps=STEPS, seed=0):
    """A contender trained on the examples: (classifier, its losses and seconds)."""
    make, rate = contenders[name]
    runtime.seed_everything(seed)
    config = TrainingConfig(steps=steps, batch_size=64, learning_rate=rate, warmup_steps=20)
    return recognition.train_recognition(make().to(device), examples, config, seed)


# %%
fitted, losses, results = {}, {}, {}
for name in contenders:
    fitted[name], history = fit(name, training)
    losses[name] = np.convolve(history.losses, np.ones(20) / 20, "valid")[::20]
    results[name] = (history.seconds, recognition.measure_recognition(fitted[name], test), parameters(fitted[name]))

# %%
print(f"{'':17} parameters   shapes right   seconds   (chance 0.125)")
for name, (seconds, reached, size) in results.items():
    print(f"{name:17} {size:10,}   {runtime.measured(reached)}        {runtime.measured(seconds, 0)}")
show(drawings.budget(results, value="shapes right", chance=1 / 8))

# %%
curves = {name: losses[name] for name in ("ResNet", "EfficientNet", "ConvNeXt", "ViT", "Swin")}
show(
    figures.lines(
        np.arange(len(losses["ViT"])) * (STEPS / len(losses["ViT"])), curves, across="step", value="loss, smoothed"
    ),
    alt="The loss of five encoders over the steps: all begin on a plateau; those with BatchNorm leave it first.",
)
print("ResNet at least 0.5:", results["ResNet"][1] >= 0.5, "· ViT below 0.5:", results["ViT"][1] < 0.5 or full_scale)

# %% [markdown]
# All of them begin on a *plateau* at $\ln 8 = 2.08$, the loss of blind guessing. Shape is not in any single pixel, and
# until the first layers see edges, the last have nothing to work with. Convolutions with BatchNorm leave the plateau
# within these few steps; VGG, which has none, does not. ViT and Swin need far longer, and so does ConvNeXt, a
# convolution with the transformers' norms and initial weights: what decides here is not attention alone. Modern designs
# are made for long training with much data. (On a GPU this section gives everyone twenty times the steps and seven
# times the pictures: look there what becomes of the order.)
#
# Is the ViT broken, then? Ask it for something that *can* be read from single patches, the colour:

# %%
colours = recognition.recognition_examples(2_000, seed=1, of="colour", size=32)
colour_test = recognition.recognition_examples(500, seed=5, split="test", of="colour", size=32)
seeing_colour, _ = fit("ViT", colours, steps=100)
named = recognition.measure_recognition(seeing_colour, colour_test)
print("ViT, 100 steps, colours right:", runtime.measured(named), "· at least 0.9:", named >= 0.9)

# %% [markdown]
# **By data.** The same number of steps with fewer different pictures. And for the smallest set once more, with the
# augmentation of section 3 (the library's `augment` crops, flips and recolours):

# %%
from course_lib.data.transforms import HALF_MEAN, HALF_STD, augment, normalise

counts = [250, 1_000, len(training)]
by_data = {
    name: [recognition.measure_recognition(fit(name, training.first(n))[0], test) for n in counts[:-1]]
    + [results[name][1]]
    for name in ("ResNet", "ViT")
}


def augmented_loss(model, generator):
    rows = torch.randint(counts[0], (64,), generator=generator)  # from the first 250 pictures only
    shown = augment(training.pictures[rows].permute(0, 3, 1, 2) / 255, generator, scale=(0.6, 1.0))
    logits = model(normalise(shown, HALF_MEAN, HALF_STD).to(device))
    return F.cross_entropy(logits, training.labels[rows].to(device))


runtime.seed_everything(0)
with_augmentation = ImageClassifier(ResNet(tiny_resnet), 8).to(device)
train(
    with_augmentation, augmented_loss, TrainingConfig(steps=STEPS, batch_size=64, learning_rate=4e-3, warmup_steps=20)
)
show(
    figures.lines(
        counts, by_data, across="different training pictures", value="shapes right", log=True, chance=1 / 8,
        limits=(0, 1.02),
    )
)  # fmt: skip
print("ResNet with 250 pictures:", runtime.measured(by_data["ResNet"][0]), end="   ")
print("augmented:", runtime.measured(recognition.measure_recognition(with_augmentation, test)))
print("more pictures are better for the ResNet:", by_data["ResNet"][0] < by_data["ResNet"][-1])

# %% [markdown]
# The convolutional network turns each new picture into accuracy. The ViT does not yet know what a picture is, and 8,000
# of them are not enough to find out. The paper found the same at its scale: trained on ImageNet's 1.3 million pictures,
# ViTs lose to ResNets; on 300 million they win. Section 13 shows the other way out.

# %% [markdown]
# ## 13 The course's vision checkpoints
#
# Two networks from this lesson are embedded in the course, and nearly all later lessons stand on them.
#
# **The dense backbone** you have met. Its five convolutions end in a grid of 8 x 8 cells with 96 numbers each, and
# three linear heads ask *every cell*: is an object's centre here? which shape, colour, size, material? where are its
# edges? One label per picture teaches shapes slowly, as section 12 showed; sixty-four questions per picture teach them
# fast.

# %%
show(architecture(backbone, torch.zeros(3, 3, 64, 64), depth=1))
print(f"{parameters(backbone):,} parameters; made by: {card['command']}")

# %%
from course_lib.models.recipes.vision import measure_vision

scores = measure_vision(backbone, count=500)
for name, score in scores.items():
    print(f"{name:15} {runtime.measured(score)}")
print("shape on test pictures at least 0.99:", scores["shape"] >= 0.99)

# %% [markdown]
# `held-out` are the eight pairs of colour and shape that no training picture holds (no green triangle, for one): it has
# learned the two apart. Here is what the cells say. Heat is the probability that an object's centre is there; a
# detector's answers stand on these peaks.

# %%
with torch.no_grad():
    output = backbone(pixel_values(images[:4]))
show(token_map(images[:4], output.objectness.sigmoid(), value="probability of a centre", columns=4))

# %% [markdown]
# **The distilled ViT.** Section 12's ViT learned hardly anything about shapes from labels in the time we have. But
# there is a better teacher than labels: a network that already sees. In **distillation** a *student* learns to say what
# a *teacher* says. The backbone gives 96 numbers in every cell of every picture, and a ViT with patches of 8 x 8 pixels
# has exactly one token per cell. So each patch token is asked the backbone's questions (what object, where?), and
# besides has to predict the backbone's 96 numbers there. Later lessons that need *patch tokens* take them from here.

# %%
vit_config, vit_weights, vit_card = course.load("vit")
distilled = DenseDetector(DenseDetectorConfig.from_dict(vit_config)).eval()
distilled.load_state_dict(vit_weights)
with torch.no_grad():
    tokens = distilled.trunk.forward_features(pixel_values(images))
print(f"{parameters(distilled):,} parameters · tokens: {tuple(tokens.shape)}, the class token and 8 x 8 patches")

vit_scores = measure_vision(distilled, count=500)
print(f"{'':15} backbone   distilled ViT")
for name in ("shape", "colour", "recall", "held-out shape"):
    print(f"{name:15} {runtime.measured(scores[name])}    {runtime.measured(vit_scores[name])}")
print("shape of the ViT at least 0.98:", vit_scores["shape"] >= 0.98, "(chance: 0.125)")

# %% [markdown]
# In section 12 a ViT could hardly be brought beyond guessing shapes. With more steps, an answer asked of every patch,
# and a teacher, it sees. What takes longest is to tell shapes apart from the colours they come in: after 1,200 steps of
# this training the ViT named 97 % of the shapes on test pictures, and 73 % on held-out pairs. After 3,000, as here, it
# is nearly as good as its teacher on both.
#
# **What does a patch token know?** Take the tokens of the patches that hold an object's centre, after each of the
# blocks, and fit a linear map from them to the classes, by least squares on one half of the objects. Can the shape of
# the other half be read from that one token? The colour?


# %%
vit = distilled.trunk


def tokens_by_depth(pixels):
    """(depth, B, N, D): the patch tokens as embedded, and after each block."""
    states = [vit.embed(pixels)]
    for block in vit.transformer.blocks:
        states.append(block(states[-1]))
    return torch.stack(states)[:, :, 1:]


def read_from(states, answers, classes=8):
    """Tokens (N, D) and what they should say (N) -> share of the second half read rightly."""
    half = len(states) // 2
    x = F.pad(F.layer_norm(states, states.shape[-1:]), (0, 1), value=1.0)  # a column of ones for the bias
    wanted = F.one_hot(answers[:half], classes).float()
    weight = torch.linalg.solve(x[:half].T @ x[:half] + torch.eye(x.shape[1]), x[:half].T @ wanted)
    return ((x[half:] @ weight).argmax(dim=1) == answers[half:]).double().mean().item()


# %%
with torch.no_grad():
    by_depth = tokens_by_depth(right)  # of the 500 test pictures of section 3
at_centres = by_depth[:, centre.flatten(1)]  # (depth, objects, D)
knows = {
    name: [read_from(states, truth.attributes[name][centre]) for states in at_centres] for name in ("colour", "shape")
}
show(
    figures.lines(
        range(len(at_centres)), knows, across="blocks passed", value="right, from one patch token", chance=1 / 8,
        limits=(0, 1.02),
    )
)  # fmt: skip
print("the shape is known better after the blocks than before:", knows["shape"][-1] > knows["shape"][0] + 0.2)

# %% [markdown]
# A patch of 8 x 8 pixels says much about the colour by itself, and one block settles it. The shape is in no single
# patch: it comes in block by block, through attention, from the neighbours. *From where* can be seen in the attention
# weights. The query is the patch framed below, in the middle of an object:

# %%
which = next(i for i, scene in enumerate(scenes) if len(scene.objects) == 4)
thing = max(scenes[which].objects, key=lambda each: each.radius)
row, column = int(thing.y * 8), int(thing.x * 8)
query = 1 + 8 * row + column
with torch.no_grad():
    state = vit.embed(pixel_values(images[which : which + 1]))
    looks = []
    for block in vit.transformer.blocks:
        weights = block.attention.weights(block.norm1(state))  # (1, heads, 65, 65), rows sum to 1
        looks.append(weights[0, :, query, 1:].mean(dim=0))  # the mean of the heads
        state = block(state)
large = microworld.render([scenes[which]], 256)[0]
framed = [32 * column, 32 * row, 32 * column + 32, 32 * row + 32]
show(
    figures.image_grid([large], boxes=[[("query", framed)]], size=2), alt="A picture with one patch framed: the query."
)
show(attention_map(large, torch.stack(looks), [f"block {n + 1}" for n in range(len(looks))]))

# %% [markdown]
# It looks where the answer is: at its own object and its outline, hardly at the other objects. Nobody said so; asking
# what is *here* was enough.

# %% [markdown]
# ## 14 Transfer: linear probe or fine-tuning
#
# A new task, a few labelled pictures: *how many* objects are there, one to four? Nobody asked the backbone for numbers.
# Four ways, three of which use what it knows:
#
# - a **linear probe**: the backbone is frozen, each picture becomes the mean of its 8 x 8 cells, and a logistic
#   regression is fitted to these vectors;
# - **fine-tuning from the probe**: start with the fitted probe, and train everything at a small rate;
# - **fine-tuning with a new head**: the same, but the last layer starts at random;
# - **from scratch**: the same architecture, all of it random, at the rate that suits it.

# %%
from course_lib.models.recipes.recognition import Examples, PooledTrunk


def counting(number, seed, split):
    many = microworld.sample_scenes(number, seed, split)
    answers = torch.tensor([len(scene.objects) - 1 for scene in many])
    return Examples(torch.from_numpy(microworld.render(many)), answers, ("one", "two", "three", "four"))


count_train, count_test = counting(2_000, 3, "train"), counting(500, 5, "test")
gentle = TrainingConfig(steps=60, batch_size=32, learning_rate=1e-3, warmup_steps=10)
brisk = dataclasses.replace(gentle, learning_rate=4e-3)


def pretrained_trunk():
    return PooledTrunk(copy.deepcopy(backbone.trunk)).to(device)


def tuned_from(probe, examples):
    """The probe and the backbone below it, trained together."""

    def loss(model, generator):
        rows = torch.randint(len(examples), (gentle.batch_size,), generator=generator)
        logits = model(pixel_values(examples.pictures[rows]).to(device))
        return F.cross_entropy(logits, examples.labels[rows].to(device))

    model = copy.deepcopy(probe).to(device)
    train(model, loss, gentle)
    return model


# %%
shots = [25, 100, 2_000]
ways = ("linear probe", "fine-tuning from the probe", "fine-tuning with a new head", "from scratch")
transfer = {name: [] for name in ways}
for number in shots:
    few = count_train.first(number)
    probe = recognition.probe_recognition(pretrained_trunk(), few, strength=0.1).to(device)
    tuned = tuned_from(probe, few)
    new_head, _ = recognition.train_recognition(pretrained_trunk(), few, gentle)
    scratch, _ = recognition.train_recognition(PooledTrunk(DenseDetector().trunk).to(device), few, brisk)
    for name, model in zip(ways, (probe, tuned, new_head, scratch), strict=True):
        transfer[name].append(recognition.measure_recognition(model, count_test))

# %%
most_common = count_test.labels.bincount().max().item() / len(count_test)
show(
    figures.lines(
        shots, transfer, across="labelled pictures", value="numbers right", log=True, chance=most_common, limits=(0, 1)
    )
)
print(f"{'labelled pictures':28}", "  ".join(f"{number:7}" for number in shots))
for name, rates in transfer.items():
    print(f"{name:28}", "  ".join(runtime.measured(rate) for rate in rates))
best = max(transfer["linear probe"][-1], transfer["fine-tuning from the probe"][-1])
print("the checkpoint beats training from scratch by 0.1 or more:", best >= transfer["from scratch"][-1] + 0.1)

# %% [markdown]
# (The dashed line is the answer that is most frequent in the test: chance, for somebody who knows the frequencies.)
# With 100 labels and the checkpoint one gets further than with 2,000 labels and none. Which way to use it depends on
# how many labels there are. A probe has 388 numbers to fit and cannot forget anything: best with few. Fine-tuning
# reshapes the features for the task: best with many. And it needs a decent last layer to begin with: a random one sends
# random gradients down, and they spoil the features before the head has learned to use them. So: probe first, fine-tune
# from there if the labels suffice (Kumar et al., 2022).

# %% [markdown]
# ## 15 Detection and segmentation in outline
#
# Classification gives one answer per picture. A *detector* gives a set: boxes, each with a class and a score. Three
# papers hold nearly all ideas that are in use, and all of their parts can be run on what we have.
#
# **How good is a box?** *Intersection over union* (IoU): the area that two boxes share, over the area that they cover
# together. 1 is the same box, 0 no overlap; from 0.5 on a detection usually counts as right.


# %%
def iou(one, other):
    """Two boxes (left, top, right, bottom) -> their IoU."""
    width = (min(one[2], other[2]) - max(one[0], other[0])).clamp(min=0)
    height = (min(one[3], other[3]) - max(one[1], other[1])).clamp(min=0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


from course_lib.layers.boxes import anchors, box_iou, generalised_box_iou, nms, roi_align

box = torch.tensor([0.2, 0.2, 0.7, 0.7])
others = torch.tensor(
    [[0.25, 0.22, 0.72, 0.75], [0.35, 0.35, 0.85, 0.85], [0.2, 0.2, 0.45, 0.45], [0.75, 0.3, 0.95, 0.6]]
)
values = torch.stack([iou(box, other) for other in others])
print("as the library:", torch.allclose(values, box_iou(box[None], others)[0]), end=" · as torchvision: ")
print(torch.allclose(values, torchvision.ops.box_iou(box[None], others)[0]))
show(drawings.overlaps([(box.tolist(), other.tolist()) for other in others], [f"IoU {value:.2f}" for value in values]))

# %% [markdown]
# ### Faster R-CNN: propose, cut out, decide
#
# At each cell of a feature map stand **anchors**, boxes of several sizes and forms. A small network says for each of
# them whether it holds an object, and how to move its edges to fit. In training an anchor should say yes if its IoU
# with an object is 0.7 or more, or if no other anchor fits that object better. Below: the nine anchors of one cell, and
# the best anchor of each object with its IoU.

# %%
paper_card("faster_rcnn")

# %%
scene = scenes[2]
stride = 8
grid_boxes = (
    anchors((8, 8), stride, sizes=(12, 20, 30), ratios=(0.5, 1.0, 2.0)) + stride / 2
)  # around each cell's middle
truths = torch.tensor([thing.box for thing in scene.objects]) * 64
overlap = box_iou(grid_boxes, truths)  # (576, objects)
print("anchors:", tuple(grid_boxes.shape), "· IoU with each object:", tuple(overlap.shape))
middle = grid_boxes.view(8, 8, 9, 4)[4, 4]
fit_best = [
    (f"{overlap[i, k]:.2f}", grid_boxes[i].tolist()) for k in range(len(truths)) for i in [overlap[:, k].argmax()]
]
picture = microworld.render([scene], 64)[0]
show(
    figures.image_grid(
        [picture, picture], ["nine anchors", "best anchor of each object"], [middle.tolist(), fit_best], size=2.6
    )
)

# %% [markdown]
# Our backbone needs no anchors (each cell speaks for itself), but it makes proposals all the same: 64 boxes with a
# score each, many of them about the same object. **Non-maximum suppression** (NMS) thins them out: take the surest box,
# drop all that overlap it by more than a threshold, go on with what is left.


# %%
def suppress(boxes, scores, threshold=0.5):
    """(N, 4), (N) -> the rows that stay, the surest first."""
    left = scores.argsort(descending=True).tolist()
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if iou(boxes[best], boxes[i]) <= threshold]
    return torch.tensor(kept)


with torch.no_grad():
    output = backbone(pixel_values(picture[None]))
boxes, confidence = output.boxes[0].reshape(64, 4).clamp(0, 1), output.objectness[0].sigmoid().flatten()
confidence, sure = confidence.topk(20)  # the twenty surest cells
boxes = boxes[sure]
kept = suppress(boxes, confidence)
print("as the library:", torch.equal(kept, nms(boxes, confidence, 0.5)), end=" · as torchvision: ")
print(torch.equal(kept, torchvision.ops.nms(boxes, confidence, 0.5)))
large = microworld.render([scene], 192)[0]
stay = [i for i in kept if confidence[i] > 0.5]  # what is left of the unsure goes too
both = [(192 * boxes).tolist(), [(192 * boxes[i]).tolist() for i in stay]]
show(
    figures.image_grid(
        [large, large], ["the boxes of the twenty surest cells", "after NMS, scores above 0.5"], both, size=3
    ),
    alt="The same picture twice: with many boxes on each object, and with one box on each after suppression.",
)

# %% [markdown]
# **Cutting out.** Each proposal is cut out of the feature map (not out of the picture, which would mean to compute all
# features again). Its edges fall between the cells. RoIPool rounded them to whole cells; **RoIAlign** reads the map at
# points inside the box, each by linear interpolation between its four neighbours:


# %%
def align(feature_map, box, side=2):
    """(D, H, W), a box in cells -> (D, side, side), read at the middles of side x side equal parts."""
    left, top, right, bottom = box
    steps = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(top + steps * (bottom - top), left + steps * (right - left), indexing="ij")
    height, width = feature_map.shape[-2:]
    places = torch.stack([2 * x / width - 1, 2 * y / height - 1], dim=-1)  # grid_sample counts from -1 to 1
    return F.grid_sample(feature_map[None], places[None], align_corners=False)[0], torch.stack([x, y], dim=-1)


with torch.no_grad():
    features = backbone.trunk(pixel_values(picture[None]))  # (1, 96, 8, 8)
region = torch.tensor(scene.objects[0].box) * 8  # in cells
read, points = align(features[0], region, side=3)
theirs = torchvision.ops.roi_align(features, [region[None]], output_size=3, sampling_ratio=1, aligned=True)[0]
ours = roi_align(features, [region[None]], (3, 3), samples=1)[0]
print(tuple(read.shape), "· as torchvision:", torch.allclose(read, theirs, atol=1e-4), end=" · as the library: ")
print(torch.allclose(read, ours, atol=1e-4))
show(drawings.sampled(features[0].mean(dim=0), region, points))

# %% [markdown]
# A second head looks at each cut-out and names it. Here the backbone's own attribute head, on the mean of each true
# box's cut-out, beside the same head on the single cell at the centre:

# %%
with torch.no_grad():
    features = backbone.trunk(pixel_values(exam))
    rows, down, across = centre.nonzero(as_tuple=True)
    regions = [8 * truth.boxes[n][centre[n]] for n in range(len(exam))]
    cut = roi_align(features, regions, (3, 3)).mean(dim=(2, 3), keepdim=True)  # (objects, 96, 1, 1)
    of_cut = backbone.attributes(cut)[:, :8, 0, 0].argmax(dim=1)  # the first eight logits are the shapes
    of_cell = backbone.attributes(features)[rows, :8, down, across].argmax(dim=1)
wanted = truth.attributes["shape"][centre]
for name, said in [("cell at the centre", of_cell), ("mean of the region", of_cut)]:
    print(f"{name}: shapes right {runtime.measured((said == wanted).double().mean().item())}")

# %% [markdown]
# ### Mask R-CNN: and which pixels?
#
# A third head draws, for each cut-out, a small **mask**: for each of 28 x 28 cells of the box, does it belong to the
# object? The loss is a binary cross-entropy per cell. We cut regions out of an *early* map of the backbone (16 x 16
# cells, finer than the last), freeze it, and train just the mask head:

# %%
paper_card("mask_rcnn")


# %%
def regions_and_masks(many, size=28):
    """Scenes -> cut-outs of the early feature map (N, 48, 14, 14), their true masks (N, size, size), and the owners."""
    shown = pixel_values(microworld.render(many))
    with torch.no_grad():
        early = backbone.trunk.stages[:3](shown)  # (S, 48, 16, 16)
    found = [torch.tensor([thing.box for thing in scene.objects]) for scene in many]
    covered = torch.from_numpy(microworld.masks(many)).float()  # (S, 4, 64, 64)
    cut = [roi_align(covered[n : n + 1], [64 * each], (size, size)) for n, each in enumerate(found)]
    own = torch.cat([part[torch.arange(len(part)), torch.arange(len(part))] for part in cut])  # object k, mask k
    return roi_align(early, [16 * each for each in found], (14, 14)), (own > 0.5).float(), found


mask_inputs, mask_targets, _ = regions_and_masks(microworld.sample_scenes(400, seed=8))
test_scenes = microworld.sample_scenes(100, seed=9, split="test")
test_inputs, test_masks, test_boxes = regions_and_masks(test_scenes)
print("cut-outs:", tuple(mask_inputs.shape[1:]), "-> masks:", tuple(mask_targets.shape[1:]))

# %%
runtime.seed_everything(0)
mask_head = nn.Sequential(
    nn.Conv2d(48, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
    nn.ConvTranspose2d(32, 16, 2, stride=2), nn.ReLU(), nn.Conv2d(16, 1, 1),
)  # fmt: skip


def mask_loss(model, generator):
    rows = torch.randint(len(mask_inputs), (48,), generator=generator)
    return F.binary_cross_entropy_with_logits(model(mask_inputs[rows])[:, 0], mask_targets[rows])


train(mask_head, mask_loss, TrainingConfig(steps=80, learning_rate=5e-3, warmup_steps=10))
with torch.no_grad():
    drawn_masks = mask_head(test_inputs)[:, 0] > 0


def mask_iou(one, other):
    return ((one & other).sum(dim=(1, 2)) / (one | other).sum(dim=(1, 2))).mean().item()


learned, filled = mask_iou(drawn_masks, test_masks > 0), mask_iou(torch.ones_like(drawn_masks), test_masks > 0)
print("IoU of the masks:", runtime.measured(learned), "  of the boxes filled in:", runtime.measured(filled))
print("the masks beat the filled boxes by 0.1 or more:", learned >= filled + 0.1)

# %% [markdown]
# To show a mask, stretch it to its box and lay it over the picture:


# %%
def pasted(mask, box, side):
    """(28, 28) booleans -> (side, side), the mask where its box is."""
    left, top, right, bottom = (int(round(side * edge)) for edge in box.tolist())
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, side), min(bottom, side)
    stretched = F.interpolate(mask[None, None].float(), (bottom - top, right - left), mode="bilinear")[0, 0] > 0.5
    whole = torch.zeros(side, side, dtype=torch.bool)
    whole[top:bottom, left:right] = stretched
    return whole


shown, first, laid = [3, 4, 5], np.cumsum([0] + [len(b) for b in test_boxes]), []
for n in shown:
    laid.append([pasted(drawn_masks[first[n] + k], box, 128).numpy() for k, box in enumerate(test_boxes[n])])
labels = [[thing.shape for thing in test_scenes[n].objects] for n in shown]
show(drawings.masks_over(microworld.render([test_scenes[n] for n in shown], 128), laid, labels))

# %% [markdown]
# ### DETR: a set, all at once
#
# Anchors, thresholds, suppression: all of it is there because one object may get many answers. DETR lets a transformer
# give a fixed number of answers at once, and *matches* them one to one with the objects. The cost $C$ of giving answer
# $i$ to object $j$ is low if the class $c_j$ is probable and the box is near:
#
# $$C_{ij} = -\hat p_i(c_j) + 5\,\lVert \hat b_i - b_j \rVert_1 + 2\,\big(1 - \text{GIoU}(\hat b_i, b_j)\big)$$
#
# ($\hat p_i$ and $\hat b_i$ are the probabilities and the box of answer $i$, $b_j$ the box of object $j$.) GIoU, the
# *generalised* IoU, also tells how far apart two boxes are that do not meet. The matching with the least total cost is
# found by the Hungarian algorithm. With six answers and three objects there are 120 matchings, so we can try them all
# and compare:

# %%
paper_card("detr")

# %%
from itertools import permutations

from scipy.optimize import linear_sum_assignment

several = next(s for s in scenes if len(s.objects) == 3)
with torch.no_grad():
    output = backbone(pixel_values(microworld.render([several])))
surest = output.objectness[0].flatten().topk(6).indices  # six answers, some about the same object
answer_boxes = output.boxes[0].reshape(64, 4)[surest]
shape_probability = output.attributes["shape"][0].softmax(dim=0).reshape(8, 64).T[surest]  # (6, 8)
object_boxes = torch.tensor([thing.box for thing in several.objects])
object_shapes = torch.tensor([microworld.SHAPES.index(thing.shape) for thing in several.objects])

cost = (
    -shape_probability[:, object_shapes]
    + 5 * torch.cdist(answer_boxes, object_boxes, p=1)
    + 2 * (1 - generalised_box_iou(answer_boxes, object_boxes))
)  # (6, 3)
matched_rows, matched_columns = linear_sum_assignment(cost.numpy())
by_trying = min(permutations(range(6), 3), key=lambda rows: sum(cost[r, c].item() for c, r in enumerate(rows)))
pairs = list(zip(matched_rows.tolist(), matched_columns.tolist(), strict=True))
print(
    "the Hungarian algorithm finds the best of all 120:",
    sorted(pairs) == sorted((r, c) for c, r in enumerate(by_trying)),
)
show(
    drawings.assignment(
        cost, pairs, [f"answer {i + 1}" for i in range(6)], [f"{o.colour} {o.shape}" for o in several.objects]
    )
)

# %% [markdown]
# In training, the matched answers are pulled towards their objects (cross-entropy of the class, distance and GIoU of
# the box), and the three others towards "no object": duplicates cost something, so the network learns not to make them.
# Lesson 11 builds DETR and trains it.

# %% [markdown]
# ## 16 Break it
#
# **Remove the shortcuts.** Two networks with 19 convolutions in a row, the same weights at the start, the same pictures
# in the same order. One of them adds, the other replaces:

# %%
deep_config = dataclasses.replace(tiny_resnet, layers=(3, 3, 3), width=8)
broken, broken_losses = {}, {}
for name, change in [("with shortcuts", lambda model: model), ("without", without_shortcuts)]:
    runtime.seed_everything(0)
    encoder = change(ResNet(deep_config)).to(device)
    config = TrainingConfig(steps=STEPS, batch_size=64, learning_rate=4e-3, warmup_steps=20)
    model, history = recognition.train_recognition(encoder, training, config)
    broken[name] = recognition.measure_recognition(model, test)
    broken_losses[name] = np.convolve(history.losses, np.ones(10) / 10, "valid")[::10]
show(
    figures.lines(
        np.arange(len(broken_losses["without"])) * 10 + 10, broken_losses, across="step", value="loss, smoothed"
    )
)
print("shapes right:", {name: runtime.measured(rate) for name, rate in broken.items()})
print("the one with shortcuts is better:", broken["with shortcuts"] > broken["without"])

# %% [markdown]
# The network without shortcuts has the same layers, the same data and as many parameters, and it learns far less in the
# same steps. Depth is only an advantage if the gradient gets through.
#
# **Forget `eval()`.** In training mode BatchNorm normalises with the mean and deviation of the *batch*. Test the ResNet
# of section 12 in that mode, on batches that happen to hold one class each, as a folder sorted by class would give:

# %%
forgetful = copy.deepcopy(fitted["ResNet"]).train()
hits = {"training mode": 0, "evaluation mode": 0}
with torch.no_grad():
    for label in range(8):
        one_class = pixel_values(test.pictures[test.labels == label]).to(device)
        hits["training mode"] += (forgetful(one_class).argmax(dim=1) == label).sum().item()
        hits["evaluation mode"] += (fitted["ResNet"](one_class).argmax(dim=1) == label).sum().item()
for name, count in hits.items():
    print(f"{name:16} shapes right {runtime.measured(count / len(test))}")
print("the mode decides:", hits["training mode"] < hits["evaluation mode"])

# %% [markdown]
# What made the class different from others was its mean, and that is just what the batch's own statistics take away.
# This mistake gives no error either, and with mixed batches it hardly shows. (A third silent mistake, the wrong
# normalisation, was measured in section 3.)

# %% [markdown]
# **Take the positions away.** The distilled ViT once more, on the 500 test pictures: as it is; with its position
# vectors exchanged among the places; with none; and with the patches themselves shuffled, like a jigsaw puzzle. What
# does the patch with an object's centre, wherever it lies now, say about the object?

# %%
order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
places = vit.position_embedding[1:].detach()


def patch_answers(patch_order, positions):
    """Share of the centre patches that name shape and colour rightly."""
    with torch.no_grad():
        patches = vit.patch_embedding(right)[:, patch_order] + positions
        first = (vit.class_embedding + vit.position_embedding[0]).expand(len(patches), 1, -1)
        tokens = vit.post_norm(vit.transformer(torch.cat([first, patches], dim=1)))[:, 1:]
        said = distilled.heads(tokens.transpose(1, 2).unflatten(2, (8, 8))).attributes
    where = centre.flatten(1)[:, patch_order]
    return {
        name: (said[name].argmax(dim=1).flatten(1) == truth.attributes[name].flatten(1)[:, patch_order])[where]
        .double().mean().item()
        for name in ("shape", "colour")
    }  # fmt: skip


same = torch.arange(64)
shuffled = {
    "as it is": patch_answers(same, places),
    "positions exchanged": patch_answers(same, places[order]),
    "no positions": patch_answers(same, torch.zeros_like(places)),
    "patches shuffled": patch_answers(order, places),
}
show(figures.compare(shuffled, chance=1 / 8, value="right at the centre patch"))
print("without positions the shape suffers:", shuffled["no positions"]["shape"] < shuffled["as it is"]["shape"] - 0.1)

# %% [markdown]
# The colour, which one patch shows by itself, survives nearly everything. The shape needs to know which patch lies
# beside which, and only the position vectors can tell.

# %% [markdown]
# ## 17 At full scale
#
# On a GPU section 12 has run with 60,000 pictures and 4,000 steps. And the classes of this lesson load the weights that
# were published, from torchvision and from the Hub. Elsewhere *stand-ins* are found under the published names: files of
# the same format, tiny, with random weights, which prove that the code runs and mean nothing. The photographs are real
# either way.

# %%
import numpy as np
import torch
import torchvision

from course_lib import runtime
from course_lib.authoring import stand_ins
from course_lib.data.photos import photos
from course_lib.data.preprocessing import Preprocessing
from course_lib.data.transforms import IMAGENET_MEAN, IMAGENET_STD, to_pixel_values
from course_lib.models.image_classifier import ImageClassifier
from course_lib.viz import figures
from course_lib.viz.style import show

full_scale, device = runtime.scale() == "full", runtime.device()
if not runtime.downloads():
    models = (stand_ins.vit, stand_ins.swin, stand_ins.convnext, stand_ins.resnet)
    stand_ins.serve(*models, classifiers=("resnet18", "vit_b_16"))

photographs = [photo.image for photo in photos()[:8]]
says = {}
for name in ("resnet18", "vit_b_16"):
    model = ImageClassifier.from_torchvision(name, device=device)
    pixels = to_pixel_values(photographs, IMAGENET_MEAN, IMAGENET_STD, size=224)  # as these were trained
    with torch.no_grad(), runtime.autocast():
        says[name] = model(pixels.to(device)).float().softmax(dim=-1).cpu()
    print(f"{name:40} {type(model.encoder).__name__:9} photographs x classes: {tuple(says[name].shape)}")

# %% [markdown]
# Models of the Hub bring a file that says how their pictures are prepared: the size, the cut, the filter, the mean and
# the spread. `Preprocessing` reads it and computes the pixel values of the published program, to the last digit.

# %%
names = ("google/vit-base-patch16-224", "microsoft/swin-tiny-patch4-window7-224")
for name in (*names, "facebook/convnext-tiny-224", "microsoft/resnet-50"):
    model = ImageClassifier.from_pretrained(name, device=device)
    pixels = Preprocessing.from_pretrained(name)(photographs)
    with torch.no_grad(), runtime.autocast():
        says[name] = model(pixels.to(device)).float().softmax(dim=-1).cpu()
    print(f"{name:40} {type(model.encoder).__name__:9} photographs x classes: {tuple(says[name].shape)}")

# %%
categories = torchvision.models.get_model_weights("resnet18").DEFAULT.meta["categories"]  # 1,000 names
if full_scale:
    show(figures.predictions(photographs, says["facebook/convnext-tiny-224"], categories, top=3))
else:
    print("These weights are random, so there is nothing to see: run this on a GPU to meet the real networks.")

# %% [markdown]
# A detector with masks, as torchvision has it: Mask R-CNN on a ResNet-50, trained on COCO. Its parts are those of
# section 15: anchors, NMS, RoIAlign, three heads.

# %%
from torchvision.models.detection import maskrcnn_resnet50_fpn

if full_scale and not runtime.downloads():
    stand_ins.serve(classifiers=("maskrcnn_resnet50_fpn",))
sides = {"min_size": runtime.sized(64, 800), "max_size": runtime.sized(96, 1333)}
weights = {"weights": "DEFAULT"} if full_scale else {"weights": None, "weights_backbone": None}
detector = maskrcnn_resnet50_fpn(**weights, **sides).eval().to(device)
with torch.no_grad():
    (found,) = detector([torch.from_numpy(np.array(photographs[0])).permute(2, 0, 1).to(device) / 255])
print({name: tuple(value.shape[1:]) for name, value in found.items() if name in ("boxes", "labels", "scores")})
if full_scale:
    words = torchvision.models.get_model_weights("maskrcnn_resnet50_fpn").DEFAULT.meta["categories"]
    sure = [i for i, score in enumerate(found["scores"].tolist()) if score > 0.7]
    labelled = [(words[found["labels"][i]], found["boxes"][i].tolist()) for i in sure]
    show(figures.image_grid(photographs[:1], boxes=[labelled], size=5))

# %% [markdown]
# ## 18 Looking back
#
# | | |
# |---|---|
# | pixel values | $(x/255 - \mu_c)/\sigma_c$, with the $\mu$ and $\sigma$ of training |
# | luma | $0.299R + 0.587G + 0.114B$ |
# | convolution | $y_{d,i,j} = b_d + \sum_{c,u,v} w_{d,c,u,v}\, x_{c,si+u,sj+v}$ |
# | its side | $\lfloor (n+2p-k)/s \rfloor + 1$ |
# | receptive field | $r_l = r_{l-1} + (k_l-1)\,j_{l-1}$, $j_l = j_{l-1} s_l$ |
# | residual block | $x + F(x)$ |
# | depthwise separable | $k^2C + CD$ weights in place of $k^2CD$ |
# | ViT | $[x_{\text{class}}; p_1E; \dots; p_NE] + E_{\text{pos}}$, then a transformer; $N^2$ pairs |
# | Swin | attention in windows of $M \times M$: $N M^2$ pairs; shifted in every second block |
# | IoU | shared area over covered area |
# | DETR | the one-to-one matching of answers and objects with the least total cost, then losses of the pairs |
#
# - Preprocessing is part of the model, and its mistakes are silent.
# - A convolution assumes that near things belong together and that places are alike. Where that is true, it learns from
#   few pictures. A transformer assumes nothing, and must be shown.
# - Each architecture here is one idea: depth (VGG), addition (ResNet), separation and scaling (EfficientNet), patches
#   (ViT), windows (Swin), a better recipe (ConvNeXt).
# - Start from a checkpoint: probe first, then fine-tune.
#
# Quick questions, answers folded:

# %%
from course_lib.practice.quiz import show_interview, show_quiz

show_quiz("02")

# %% [markdown]
# And those an interviewer may ask:

# %%
show_interview("02")

# %% [markdown]
# **Now build it yourself:** the exercises are in
# [`exercises/02_vision_encoders.ipynb`](../exercises/02_vision_encoders.ipynb): seven of them, about 90 minutes, from
# bytes to shifted windows. Each answer is checked at once.
