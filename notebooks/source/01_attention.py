# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["course-header"]
# # 01 · From the perceptron to attention
#
# **Time.** About 110 minutes of reading and trying. All cells together run in two minutes and a half on two CPU cores.
#
# **You should know** Python, what a derivative is, and how to multiply two matrices. Everything else is explained here.
#
# **Afterwards you can**
#
# - write a network with its backward pass by hand, and know what `loss.backward()` does;
# - write SGD, momentum, Adam and AdamW from memory, and say what each of them changed;
# - tell BatchNorm, LayerNorm and RMSNorm apart, by what they average over;
# - build attention with loops, as a matrix product and with several heads, masked and scaled, equal to PyTorch's;
# - give a model the order of its tokens in three ways: sinusoidal, learned and rotary;
# - build the Transformer of Vaswani et al., train it, and generate with it;
# - show by experiment what attention can do that an RNN and an MLP cannot, and what breaks without each of its parts.

# %% [markdown]
# ## 1 Which word looks where?
#
# To understand "a red star and a blue heart", a model has to join *red* to *star* and *blue* to *heart*. The words that
# belong together stand at other places in every sentence. So the connections between them cannot be fixed weights:
# they have to be worked out anew for each sentence, from the words themselves. That is **attention**, and every model
# of this course is built of it.
#
# **The question of this lesson:** how does a network decide, for each sentence, which word should look at which?
#
# Here is a picture of the small world in which the course lives, with its caption. The lines show where each word of
# the caption looks in the text encoder of the course's own CLIP (lesson 06): one panel for each of its four *heads*.

# %%
import copy
import inspect
import math

import torch
import torch.nn.functional as F
from torch import nn

from course_lib import runtime
from course_lib.data import microworld
from course_lib.models.clip import CLIP
from course_lib.models.recipes.inputs import word_tokenizer
from course_lib.pretrained import course
from course_lib.viz import figures
from course_lib.viz.attention import attention_heads, attention_links, attention_map, heat
from course_lib.viz.curves import averaged, functions, paths, regions, runs
from course_lib.viz.style import show

runtime.seed_everything(0)
config, weights, card = course.load("clip")
clip_model = CLIP.from_weights(config, weights)
tokenizer = word_tokenizer()


def text_attention(caption):
    """The words of a caption, and who looks at whom in each layer: (layers, heads, T, T)."""
    words = ["[start]", *caption.split(), "[end]"]
    ids, tower, maps = tokenizer([caption])[:, : len(words)], clip_model.text_model, []
    hidden_states = tower.token_embedding(ids) + tower.position_embedding[: len(words)]
    for block in tower.transformer.blocks:
        maps.append(block.attention.weights(block.norm1(hidden_states), is_causal=True)[0])
        hidden_states = block(hidden_states, is_causal=True)
    return words, torch.stack(maps).detach()


scene = microworld.sample_scenes(40, seed=11, split="test", min_objects=2, max_objects=2)[2]
caption = microworld.captions(scene)[4]
print(caption)
words, maps = text_attention(caption)
show(figures.image_grid(microworld.render([scene], size=160), [caption], size=2.2))
show(attention_links(maps[0], words, titles=[f"head {head + 1}" for head in range(4)], least=0.15))

# %% [markdown]
# The left column of each panel asks, the right column answers, and the thicker a line, the more of the answer comes
# from there. In head 2 *heart* looks at *blue*, in head 1 *circle* looks at *big*. Nobody programmed these lines: they
# were learned, because they help to tell captions apart. (All lines go up or stay level: a word of this encoder sees
# only what stands before it. Section 9 says how.)
#
# To get there from nothing takes six ideas about networks (sections 2 to 7) and six about attention and how models made
# of it are trained (8 to 13). Then come the experiments: a task that attention solves and others do not (14), and
# what breaks when a part is taken away (15).

# %% [markdown]
# ## 2 From the perceptron to the MLP
#
# A **perceptron** (Rosenblatt, 1958) is the smallest thing that learns. It has a weight $w_i$ for each of its inputs
# $x_i$ and a bias $b$, and says 1 if $w \cdot x + b > 0$ and 0 otherwise. When it is wrong, the weights move towards
# the answer $t$ that was wanted:
#
# $$y = [\,w \cdot x + b > 0\,], \qquad w \leftarrow w + (t - y)\,x, \qquad b \leftarrow b + (t - y)$$

# %%
points = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
logical_or, exclusive_or = torch.tensor([0.0, 1.0, 1.0, 1.0]), torch.tensor([0.0, 1.0, 1.0, 0.0])


def perceptron(points, targets, rounds=20):
    """Learns with Rosenblatt's rule; returns weights, bias, and how many answers are right at the end."""
    weight, bias = torch.zeros(2), torch.tensor(0.0)
    for _ in range(rounds):
        for x, target in zip(points, targets, strict=True):
            answer = (weight @ x + bias > 0).float()
            weight, bias = weight + (target - answer) * x, bias + (target - answer)
    right = ((points @ weight + bias > 0).float() == targets).sum().item()
    return weight, bias, right


for name, targets in [("x1 or x2", logical_or), ("either x1 or x2, not both", exclusive_or)]:
    print(f"{name:26}", perceptron(points, targets)[2], "of 4 right")

# %% [markdown]
# A perceptron divides the plane by one straight line. "Or" needs no more. "Either, or" (*XOR*) needs two lines, so no
# weights can solve it, however long they are trained (Minsky and Papert, 1969).
#
# The remedy: perceptrons whose inputs are the answers of other perceptrons. One hidden unit says "at least one",
# another "both"; XOR is the first without the second. That is a **multi-layer perceptron** (MLP), here with weights
# written by hand:


# %%
def step(x):
    return (x > 0).float()


def by_hand(x):
    hidden = step(x @ torch.tensor([[1.0, 1.0], [1.0, 1.0]]) + torch.tensor([-0.5, -1.5]))  # at least one; both
    return step(hidden @ torch.tensor([1.0, -1.0]) - 0.5)


def line(targets):
    weight, bias, _ = perceptron(points, targets)
    return lambda places: step(torch.from_numpy(places) @ weight + bias)


print("XOR by two layers:", int((by_hand(points) == exclusive_or).sum()), "of 4 right")
decide = {"one layer": line(exclusive_or), "two layers": lambda places: by_hand(torch.from_numpy(places))}
show(regions(points, exclusive_or, decide))

# %% [markdown]
# **What stands between the layers matters.** Without the step, two layers would be one: a linear map of a linear map is
# linear. So a network needs a function that bends, its **activation**:

# %%
x = torch.randn(5, 3)
first, second = nn.Linear(3, 8, bias=False), nn.Linear(8, 2, bias=False)
one_layer = x @ (second.weight @ first.weight).T
print("two linear layers are one:", torch.allclose(second(first(x)), one_layer, atol=1e-6))
print("with a bend between them they are not:", not torch.allclose(second(F.relu(first(x))), one_layer, atol=1e-2))

# %% [markdown]
# The step cannot be trained by derivatives: its own is 0 everywhere. What is used instead, with $\sigma(x) =
# 1/(1+e^{-x})$ the *sigmoid* and $\Phi(x)$ the probability that a normally distributed number is below $x$:
#
# $$\mathrm{ReLU}(x) = \max(0, x), \qquad \mathrm{GELU}(x) = x\,\Phi(x), \qquad \mathrm{SiLU}(x) = x\,\sigma(x)$$
#
# GELU and SiLU are smooth versions of ReLU: they let a number through as far as it is large compared with chance, or
# with zero. GELU is what BERT, GPT-2 and ViT use, SiLU what Llama uses.


# %%
def relu(x):
    return x.clamp(min=0)


def gelu(x):
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2  # the second factor is the probability


def silu(x):
    return x / (1 + torch.exp(-x))


x = torch.linspace(-4, 4, 201, requires_grad=True)
activations = {"ReLU": relu, "GELU": gelu, "SiLU": silu, "sigmoid": torch.sigmoid}
values = {name: function(x) for name, function in activations.items()}
slopes = {name: torch.autograd.grad(value.sum(), x)[0] for name, value in values.items()}
show(functions(x, {"activation": values, "its slope": slopes}, across="x", zero=True))
for ours, theirs in [(relu, F.relu), (gelu, F.gelu), (silu, F.silu)]:
    print(f"{ours.__name__} is PyTorch's:", torch.allclose(ours(x), theirs(x), atol=1e-6))

# %% [markdown]
# Look at the slopes. The sigmoid's is a quarter at most and vanishes on both sides; multiplied over many layers nothing
# remains of it. The other three have a slope near 1 wherever they let something through. That, more than anything
# else, made deep networks trainable.

# %% [markdown]
# ## 3 Losses
#
# A **loss** is one number that says how wrong the model is; training makes it smaller. Two of them carry nearly the
# whole course. For numbers (boxes, pixels, noise) the *mean squared error*, for choices among $C$ classes the
# *cross-entropy*: how surprised the model is by the right answer. With $y$ what the model says and $t$ what is right;
# with $z_1 \dots z_C$ the model's scores (**logits**) and $c$ the right class:
#
# $$\mathrm{MSE} = \frac1n \sum_i (y_i - t_i)^2, \qquad
# \mathrm{CE} = -\log p_c, \quad p_k = \mathrm{softmax}(z)_k = \frac{e^{z_k}}{\sum_j e^{z_j}}$$
#
# The **softmax** turns any numbers into probabilities: positive, with sum 1, the order kept. Subtracting the largest
# logit first changes nothing and keeps $e^{z}$ from overflowing.


# %%
def softmax(z):
    powers = torch.exp(z - z.max(dim=-1, keepdim=True).values)
    return powers / powers.sum(dim=-1, keepdim=True)


def cross_entropy(logits, right):
    return -torch.log(softmax(logits)[torch.arange(len(logits)), right]).mean()


logits, right = torch.randn(6, 4), torch.tensor([0, 3, 1, 1, 2, 0])
print("cross-entropy is PyTorch's:", torch.allclose(cross_entropy(logits, right), F.cross_entropy(logits, right)))
print("with logits of a thousand it stays finite:", bool(cross_entropy(1000 * logits, right) >= 0))
print(f"a model that knows nothing, among 4: ln 4 = {cross_entropy(torch.zeros(6, 4), right):.3f}")

# %% [markdown]
# Why not simply the squared error of the probability? Take a single yes-or-no logit $z$ with the right answer "yes",
# $p = \sigma(z)$, and look at the slopes:

# %%
z = torch.linspace(-8, 8, 201, requires_grad=True)
losses = {"cross-entropy": -F.logsigmoid(z), "squared error": (1 - torch.sigmoid(z)) ** 2}
slopes = {name: torch.autograd.grad(value.sum(), z)[0] for name, value in losses.items()}
show(functions(z, {"loss when the answer is yes": losses, "its slope": slopes}, across="logit z"))

# %% [markdown]
# On the left the model is sure, and wrong. There the squared error is flat: the worse the mistake, the less is learned
# from it. The cross-entropy pulls with full force until the answer is right.

# %% [markdown]
# ## 4 Backpropagation
#
# To make the loss smaller we need its derivative with respect to every weight: the **gradient**. Backpropagation is
# the chain rule, applied from the loss backwards, layer by layer, so that each product is computed once. We derive it
# here, once in your life, for an MLP with one hidden layer. For a batch of $n$ rows $X$:
#
# $$A = X W_1 + b_1, \quad H = \mathrm{ReLU}(A), \quad Z = H W_2 + b_2, \quad L = \mathrm{CE}(Z)$$
#
# Write $\bar Z$ for $\partial L / \partial Z$, and so on: same shape as the thing itself. Going backwards:
#
# 1. The softmax and the logarithm together have a simple derivative: what the model believes minus what is true.
#    $\bar Z = (P - T)/n$, with $P$ the probabilities and $T$ a 1 at each right class and 0 elsewhere.
# 2. $Z = H W_2 + b_2$ is linear. A weight $w_{jk}$ touches $z_{ik}$ with factor $h_{ij}$ in every row $i$, so
#    $\bar W_2 = H^\top \bar Z$; the bias touches every row with factor 1, so $\bar b_2$ is the sum over rows; and
#    $h_{ij}$ acts through all $k$: $\bar H = \bar Z\, W_2^\top$.
# 3. ReLU lets the derivative through where it let the number through: $\bar A = \bar H \odot [A > 0]$, element by
#    element.
# 4. $A = X W_1 + b_1$ is step 2 again: $\bar W_1 = X^\top \bar A$, $\bar b_1$ the sum over rows.


# %%
def forward_and_backward(inputs, right, W1, b1, W2, b2):
    """Loss and the four gradients of a two-layer MLP; inputs (n, D), right (n)."""
    A = inputs @ W1 + b1
    H = A.clamp(min=0)
    P = softmax(H @ W2 + b2)
    loss = -torch.log(P[torch.arange(len(P)), right]).mean()

    dZ = (P - F.one_hot(right, P.shape[1])) / len(P)  # believed minus true
    dH = dZ @ W2.T
    dA = dH * (A > 0)
    return loss, (inputs.T @ dA, dA.sum(dim=0), H.T @ dZ, dZ.sum(dim=0))


generator = torch.Generator().manual_seed(0)
inputs, right = torch.randn(16, 2, generator=generator), torch.randint(3, (16,), generator=generator)
shapes = [(2, 8), (8,), (8, 3), (3,)]
parameters = [torch.randn(*shape, generator=generator).requires_grad_() for shape in shapes]
loss, by_hand_gradients = forward_and_backward(inputs, right, *parameters)
loss.backward()  # autograd: PyTorch recorded each operation above and now walks them backwards
for name, parameter, ours in zip(["W1", "b1", "W2", "b2"], parameters, by_hand_gradients, strict=True):
    print(f"{name}: {tuple(ours.shape)!s:8} equal to autograd's:", torch.allclose(ours, parameter.grad, atol=1e-6))

# %% [markdown]
# What autograd does is no more than this. Every operation leaves a note of how to turn the gradient of its output into
# those of its inputs; `backward()` reads the notes from last to first. There is a third way to know a gradient, slow
# and without any thinking: change one weight a little, and see what the loss does. It is how you check a backward pass
# that you wrote yourself.

# %%
W1 = parameters[0].detach()
nudge = torch.zeros_like(W1)
nudge[0, 3] = 1e-3
others = [parameter.detach() for parameter in parameters[1:]]
up, down = (forward_and_backward(inputs, right, W1 + sign * nudge, *others)[0] for sign in (1, -1))
measured_slope = (up - down) / 2e-3
print("one weight nudged:", bool((measured_slope - parameters[0].grad[0, 3]).abs() < 1e-3))

# %% [markdown]
# And with the gradients, the network learns. Crosses inside a ring of circles: no line can part them. Weights move
# against the gradient, by a *learning rate* of 0.5:

# %%
generator = torch.Generator().manual_seed(1)
inputs = torch.randn(120, 2, generator=generator)
right = (inputs.norm(dim=1) < 1).long()
parameters = [0.5 * torch.randn(*shape, generator=generator) for shape in [(2, 16), (16,), (16, 2), (2,)]]
for _ in range(400):
    loss, gradients = forward_and_backward(inputs, right, *parameters)
    parameters = [p - 0.5 * gradient for p, gradient in zip(parameters, gradients, strict=True)]


def cross_probability(places):
    W1, b1, W2, b2 = parameters
    return softmax((torch.from_numpy(places) @ W1 + b1).clamp(min=0) @ W2 + b2)[:, 1]


accuracy = ((cross_probability(inputs.numpy()) > 0.5) == right).float().mean().item()
print("right:", runtime.measured(accuracy), "· at least 0.95:", accuracy >= 0.95)
show(regions(inputs, right, {"learned with our own gradients": cross_probability}))

# %% [markdown]
# ## 5 Optimisers
#
# The gradient says which way is down, not how far to go. Let $w$ be the weights, $g$ the gradient and $\eta$ the
# learning rate.
#
# **SGD** (*stochastic gradient descent*: the gradient is that of a random batch) takes $w \leftarrow w - \eta\,g$. In a
# long narrow valley it zigzags: across the valley the slope is steep and $\eta$ must be small, along it the slope is
# gentle and small steps take for ever.
#
# **Momentum** keeps a running sum $v$ of gradients, with a memory $\mu$ below 1. What points now here, now there,
# cancels; what always points the same way adds up, to $1/(1-\mu)$ times as much.
#
# **Adam** gives each weight a step size of its own. It keeps two running means, $m$ of the gradient and $s$ of its
# square, with memories $\beta_1$ and $\beta_2$, and divides one by the root of the other. Both start at zero, so in
# step $t$ they are too small by the factor $1-\beta^t$; dividing by it puts that right.
#
# $$m \leftarrow \beta_1 m + (1-\beta_1)\,g, \quad s \leftarrow \beta_2 s + (1-\beta_2)\,g^2, \quad
# w \leftarrow w - \eta\, \frac{m/(1-\beta_1^t)}{\sqrt{s/(1-\beta_2^t)} + \varepsilon}$$


# %%
def sgd(w, g, state, rate):
    return w - rate * g


def momentum(w, g, state, rate, memory=0.9):
    state["v"] = memory * state.get("v", 0) + g
    return w - rate * state["v"]


def adam(w, g, state, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    t = state["t"] = state.get("t", 0) + 1
    m = state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
    s = state["s"] = beta2 * state.get("s", 0) + (1 - beta2) * g**2
    return w - rate * (m / (1 - beta1**t)) / ((s / (1 - beta2**t)) ** 0.5 + eps)


# %% [markdown]
# A valley fifty times steeper across than along, $f(w) = (w_1^2 + 50\,w_2^2)/2$, and thirty steps of each:

# %%
valley = torch.tensor([1.0, 50.0])


def walk(optimiser, rate, steps=30):
    """The places that an optimiser comes through on its way down."""
    w, state, places = torch.tensor([-8.0, 1.2]), {}, []
    for _ in range(steps):
        places.append(w.tolist())
        w = optimiser(w, valley * w, state, rate)  # the gradient of f is (w1, 50 w2)
    return places


walks = {"SGD, 0.035": walk(sgd, 0.035), "momentum, 0.01": walk(momentum, 0.01), "Adam, 0.6": walk(adam, 0.6)}
show(paths(lambda a, b: (a**2 + 50 * b**2) / 2, walks, span=(-9, 5, -2, 2)))
for name, places in walks.items():
    print(
        f"{name:15} after 30 steps {math.hypot(*places[-1]):.1f} from the bottom, at first {math.hypot(*places[0]):.1f}"
    )

# %% [markdown]
# SGD jumps from wall to wall and creeps along the floor. Momentum and Adam run past the bottom and come back, as
# a ball would. Adam hears nothing of the valley's shape: in each direction it starts with steps of length $\eta$,
# whatever the slope.
#
# Here is the library's Adam, the same in the words of a class (its tests know more cases):

# %%
from course_lib.training.optimisers import SGD, Adam, AdamW
from course_lib.viz.code import code_of

print(code_of(Adam.step))
print(code_of(Adam.move))

# %% [markdown]
# **AdamW.** *Weight decay* pulls weights towards zero, so that none grows without need. The old way was to add
# $\lambda w$ to the gradient. But then Adam divides it like any gradient: a weight whose gradients are large is hardly
# decayed. AdamW (Loshchilov and Hutter) shrinks the weights past the division, and nothing else is different:

# %%
print(code_of(AdamW.step))
for optimiser in [Adam, AdamW]:
    weight = torch.tensor([1.0, 10.0], requires_grad=True)
    weight.grad = torch.tensor([100.0, 100.0])
    optimiser([weight], learning_rate=0.01, weight_decay=1.0).step()
    print(
        f"{optimiser.__name__:5} takes {(torch.tensor([1.0, 10.0]) - weight).tolist()[0]:.2f} from a weight of 1 and",
        end=" ",
    )
    print(f"{(torch.tensor([1.0, 10.0]) - weight).tolist()[1]:.2f} from a weight of 10")

# %% [markdown]
# In Adam both weights lose the same, so the larger one is not pulled harder: the decay is lost. Are these really
# the optimisers that everybody uses? Fifty steps on one MLP, beside PyTorch's:

# %%
pairs = {
    "SGD": (SGD, torch.optim.SGD, {"momentum": 0.9}),
    "Adam": (Adam, torch.optim.Adam, {}),
    "AdamW": (AdamW, torch.optim.AdamW, {"weight_decay": 0.1}),
}
for name, (ours_class, theirs_class, options) in pairs.items():
    ours = nn.Sequential(nn.Linear(2, 16), nn.GELU(), nn.Linear(16, 2))
    theirs = copy.deepcopy(ours)
    both = (
        (ours, ours_class(ours.parameters(), 0.01, **options)),
        (theirs, theirs_class(theirs.parameters(), 0.01, **options)),
    )
    for _ in range(50):
        for network, optimiser in both:
            optimiser.zero_grad()
            F.cross_entropy(network(inputs), right).backward()
            optimiser.step()
    apart = max((a - b).abs().max() for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    print(f"{name:5} after 50 steps the same weights to 1e-5:", bool(apart < 1e-5))

# %%
from course_lib.viz.papers import paper_card

paper_card("adam")
paper_card("adamw")

# %% [markdown]
# ## 6 Dropout and weight decay
#
# A network with many weights can learn its training examples by heart, mistakes included. Here are 60 points of the
# ring, a fifth of them with the wrong mark. A network of 34,000 weights that gets them all right has learned nonsense;
# what counts is how it does on 2,000 other points with right marks.
#
# Two remedies. **Weight decay** keeps the weights small, and with small weights a function cannot bend sharply.
# **Dropout** (Srivastava et al., 2014) sets a random share $p$ of the hidden numbers to zero in each training step and
# divides the rest by $1-p$, so that their sum stays the same on average. No unit can rely on another one being there.
# When the model is used, nothing is dropped.


# %%
def dropout(x, p, generator):
    keep = torch.rand(x.shape, generator=generator) >= p
    return x * keep / (1 - p)


ones = torch.ones(100_000)
thinned = dropout(ones, 0.4, torch.Generator().manual_seed(0))
print("values:", [round(value, 3) for value in thinned.unique().tolist()], "· mean within 0.01 of 1:", end=" ")
print(bool((thinned.mean() - 1).abs() < 0.01))
layer = nn.Dropout(0.4)
print(
    "nn.Dropout in training drops:", bool((layer(ones) == 0).any()), "· in use:", bool((layer.eval()(ones) == 0).any())
)

# %%
generator = torch.Generator().manual_seed(3)
few, many = torch.randn(60, 2, generator=generator), torch.randn(2_000, 2, generator=generator)
truth = (many.norm(dim=1) < 1).long()
marks = (few.norm(dim=1) < 1).long()
wrong = torch.randperm(60, generator=generator)[:12]
marks[wrong] = 1 - marks[wrong]


def fit(p=0.0, weight_decay=0.0, steps=300):
    """An MLP trained on the 60 marked points; its accuracy on them, on the others, and the network."""
    torch.manual_seed(0)
    layers = [nn.Linear(2, 128), nn.ReLU(), nn.Dropout(p), nn.Linear(128, 256), nn.ReLU(), nn.Dropout(p)]
    network = nn.Sequential(*layers, nn.Linear(256, 2))
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=weight_decay)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(network(few), marks).backward()
        optimiser.step()
    network.eval()
    scores = [
        (network(points).argmax(dim=1) == answers).float().mean().item()
        for points, answers in ((few, marks), (many, truth))
    ]
    return *scores, network


fits = {"neither": fit(), "dropout 0.5": fit(p=0.5), "weight decay 2": fit(weight_decay=2.0)}
for name, (on_few, on_many, _) in fits.items():
    print(f"{name:15} on its 60 points {runtime.measured(on_few)}   on 2,000 others {runtime.measured(on_many)}")
views = {
    name: lambda places, network=network: network(torch.from_numpy(places)).softmax(dim=-1)[:, 1]
    for name, (*_, network) in fits.items()
}
show(regions(few, marks, views))

# %% [markdown]
# The first network draws a coast around every mistaken point. The other two draw something rounder, get fewer of their
# own 60 points "right", and more of the 2,000 others.

# %% [markdown]
# ## 7 Normalisation
#
# A layer learns best when its inputs have a steady size. But they are the outputs of layers that are learning too, so
# their size drifts. **Normalisation** puts it right within the network: subtract a mean $\mu$, divide by a standard
# deviation $\sigma$, then scale and shift by learned numbers $\gamma$ and $\beta$ (so that nothing is lost that the
# network wants):
#
# $$y = \gamma\, \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta$$
#
# The kinds differ in one thing only: *over which numbers* the mean is taken. Cells with the same letter share one.

# %%
groups = torch.arange(5).expand(4, 5)
show(averaged({"BatchNorm": groups, "LayerNorm, RMSNorm": torch.arange(4)[:, None].expand(4, 5)}))


# %%
def normalise(x, dim, eps=1e-5):
    """To mean 0 and variance 1 over one dimension."""
    mean = x.mean(dim=dim, keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=dim, keepdim=True)  # divided by the count, not by one less
    return (x - mean) / torch.sqrt(variance + eps)


def rms_normalise(x, eps=1e-6):
    """RMSNorm subtracts nothing: each vector is divided by the root of the mean of its squares."""
    return x / torch.sqrt((x**2).mean(dim=-1, keepdim=True) + eps)


x = 3 * torch.randn(4, 5) + 2  # 4 samples of 5 features
print("BatchNorm:", torch.allclose(normalise(x, dim=0), nn.BatchNorm1d(5)(x), atol=1e-5))
print("LayerNorm:", torch.allclose(normalise(x, dim=1), nn.LayerNorm(5)(x), atol=1e-5))
print("RMSNorm  :", torch.allclose(rms_normalise(x), nn.RMSNorm(5, eps=1e-6)(x), atol=1e-5))

# %% [markdown]
# What follows from the letters. In **BatchNorm** a sample's result depends on who else is in the batch. That works for
# pictures in large batches, and needs a second set of statistics (running means) for when the model is used: forget
# `model.eval()` and predictions depend on their neighbours. In **LayerNorm** every vector is normalised by itself. A
# sentence's length, its padding and its neighbours change nothing, which is why transformers use it. **RMSNorm**
# leaves out the mean, which is cheaper, and as good: Llama and T5 use it.

# %%
sample, neighbours = x[:1], [torch.zeros(3, 5), 9 * torch.ones(3, 5)]
for name, norm in [
    ("BatchNorm, training", nn.BatchNorm1d(5)),
    ("BatchNorm, in use", nn.BatchNorm1d(5).eval()),
    ("LayerNorm", nn.LayerNorm(5)),
]:
    results = [norm(torch.cat([sample, others]))[0] for others in neighbours]
    print(f"{name:20} a sample's result is the same in two batches:", torch.allclose(*results, atol=1e-6))

# %% [markdown]
# The library has all three written out, to be read, and held to PyTorch's, gradients and running statistics included:

# %%
from course_lib.layers.norms import batch_norm, layer_norm, rms_norm

print(code_of(layer_norm))
print(code_of(rms_norm))
moving = torch.zeros(5), torch.ones(5)
print("batch_norm is normalise over the batch:", torch.allclose(batch_norm(x, *moving, training=True), normalise(x, 0)))
paper_card("layer_norm")

# %% [markdown]
# ## 8 Attention, built three times
#
# **The idea.** Every word sends out three vectors, each a learned linear map of its own vector $h_i$:
#
# - a *query* $q_i$: what I am looking for ("I am a noun; where is my colour?");
# - a *key* $k_i$: what I can be found by ("I am a colour");
# - a *value* $v_i$: what I say when I am asked ("pink").
#
# The product $q_i \cdot k_j$ is the *score* of word $j$ for word $i$: high if the key fits the query. A softmax turns
# the scores of word $i$ into weights $a_{ij}$, which are positive and have sum 1, and the answer $o_i$ that word $i$
# receives is the weighted mean of the values. With $d$ the number of dimensions of queries and keys:
#
# $$a_{ij} = \frac{\exp(q_i \cdot k_j / \sqrt d)}{\sum_{l} \exp(q_i \cdot k_l / \sqrt d)}, \qquad
# o_i = \sum_j a_{ij}\, v_j$$
#
# **First, with loops,** exactly as the sentence says:


# %%
def attention_by_loops(query, key, value):
    """Queries, keys and values of T words, each (T, d), to the T answers (T, d)."""
    answers = []
    for q in query:  # word i asks ...
        scores = torch.stack([(q * k).sum() / math.sqrt(len(q)) for k in key])  # ... every word j
        weights = softmax(scores)
        answers.append(sum(weight * v for weight, v in zip(weights, value, strict=True)))
    return torch.stack(answers)


torch.manual_seed(0)
T, d = 6, 8
query, key, value = torch.randn(T, d), torch.randn(T, d), torch.randn(T, d)
print("answers:", tuple(attention_by_loops(query, key, value).shape))

# %% [markdown]
# **Second, as matrices.** All scores at once are the product $Q K^\top$ of shape `(T, T)`: the queries are its
# rows, the keys its columns. And all weighted means at once are the product of the weights with $V$:
#
# $$\mathrm{Attention}(Q, K, V) = \mathrm{softmax}\Big(\frac{Q K^\top}{\sqrt d}\Big)\, V$$


# %%
def attention(query, key, value):
    """The same for any leading dimensions: (..., T, d), (..., S, d), (..., S, e) -> (..., T, e)."""
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return softmax(scores) @ value


expected = F.scaled_dot_product_attention(query[None], key[None], value[None])[0]
print(
    "loops and matrices agree:",
    torch.allclose(attention_by_loops(query, key, value), attention(query, key, value), atol=1e-6),
)
print("and PyTorch agrees      :", torch.allclose(attention(query, key, value), expected, atol=1e-6))

# %% [markdown]
# **Third, with several heads.** One softmax can look at one kind of thing. A word may want to know its colour *and*
# its neighbour. So the vector of $D$ numbers is divided among $H$ *heads* of $d = D/H$ numbers each; every head attends
# by itself, their answers are put side by side, and a last linear map mixes them. It costs no more than one large head.


# %%
def multi_head_attention(hidden_states, heads, to_qkv, to_out):
    """(B, T, D) -> (B, T, D); to_qkv maps D to 3 D numbers, to_out D to D."""
    B, T, D = hidden_states.shape
    qkv = to_qkv(hidden_states).view(B, T, 3, heads, D // heads)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, T, D / heads)
    mixed = attention(query, key, value)  # every head by itself
    return to_out(mixed.transpose(1, 2).reshape(B, T, D))  # side by side, then mixed


theirs = nn.MultiheadAttention(24, 3, batch_first=True)
to_qkv, to_out = nn.Linear(24, 72), theirs.out_proj
to_qkv.weight, to_qkv.bias = theirs.in_proj_weight, theirs.in_proj_bias
hidden_states = torch.randn(2, T, 24)
ours = multi_head_attention(hidden_states, 3, to_qkv, to_out)
print("shape:", tuple(ours.shape), "· equal to nn.MultiheadAttention:", end=" ")
print(torch.allclose(ours, theirs(hidden_states, hidden_states, hidden_states)[0], atol=1e-6))

# %% [markdown]
# The library's layer does the same, with PyTorch's fused kernel in the place of our two products; the kernel never
# keeps the `(T, T)` weights, which saves memory. Where the weights are to be looked at, there is `.weights(...)`.

# %%
from course_lib.layers.attention import MultiHeadAttention, dot_product_attention

print(code_of(MultiHeadAttention.forward))
ours = MultiHeadAttention(24, 3)
ours.qkv.load_state_dict(to_qkv.state_dict())
ours.out.load_state_dict(to_out.state_dict())
expected = multi_head_attention(hidden_states, 3, to_qkv, to_out)
print("the library agrees:", torch.allclose(ours(hidden_states), expected, atol=1e-6))

# %% [markdown]
# **Why divide by $\sqrt d$?** Let the entries of $q$ and $k$ be independent, with mean 0 and variance 1. Their product
# is a sum of $d$ terms of variance 1, so its standard deviation is $\sqrt d$: the larger the heads, the larger the
# scores. And large scores make the softmax a choice of one, whose slope is nearly 0. For 32 keys:

# %%
widths = [4, 16, 64, 256, 1024]
torch.manual_seed(0)
spread, largest, slope = [], {"divided": [], "not divided": []}, {"divided": [], "not divided": []}
for width in widths:
    scores = torch.randn(500, 1, width) @ torch.randn(500, 32, width).transpose(1, 2)  # (500, 1, 32)
    spread.append(scores.std().item() / math.sqrt(width))
    for name, scaled in [("divided", scores / math.sqrt(width)), ("not divided", scores)]:
        p = softmax(scaled)
        largest[name].append(p.max(dim=-1).values.mean().item())
        slope[name].append((p * (1 - p)).sum(dim=-1).mean().item())  # the diagonal of the softmax's derivative
print("the standard deviation of the scores is √d to 5 %:", all(abs(value - 1) < 0.05 for value in spread))
show(figures.lines(widths, largest, across="d, dimensions of a head", value="largest weight", log=True, limits=(0, 1)))
show(figures.lines(widths, slope, across="d, dimensions of a head", value="slope of the softmax", log=True))

# %% [markdown]
# Divided, the size of a head makes no difference. Not divided, a head of 1,024 puts nearly everything on one key before
# it has learned anything, and the gradient that could tell it otherwise is almost gone. Section 15 shows what that does
# to training.

# %% [markdown]
# ## 9 Masks
#
# Not every word may look everywhere. A *mask* says where it may: true at row $i$, column $j$ if word $i$ may look at
# word $j$. Where it is false, the score becomes $-\infty$, and $e^{-\infty} = 0$ is a weight of exactly nothing. (A
# score of 0 would not do: $e^0 = 1$.) Two masks are everywhere:
#
# - the **causal** mask of a decoder: each word sees itself and those before it. Then a model that predicts the next
#   word cannot look at it;
# - the **padding** mask: sentences of a batch have different lengths, shorter ones are filled up, and nobody may
#   look at the filling.


# %%
def masked_attention(query, key, value, mask):
    """As `attention`; boolean mask (..., T, S), true where a query may look. Also gives the weights."""
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    weights = softmax(scores.masked_fill(~mask, -math.inf))
    return weights @ value, weights


causal = torch.ones(T, T, dtype=torch.bool).tril()  # the lower triangle
padding = (torch.arange(T) < 4).expand(T, T)  # columns 4 and 5 are filling
both = {"no mask": torch.ones(T, T, dtype=torch.bool), "causal": causal, "padding": padding, "both": causal & padding}
maps = torch.stack([masked_attention(query, key, value, mask)[1] for mask in both.values()])
show(attention_heads(maps, [f"word {i}" for i in range(T)], titles=list(both), digits=1))
print("all rows still have the sum 1:", torch.allclose(maps.sum(dim=-1), torch.ones(4, T)))

# %%
mixed, weights = dot_product_attention(query, key, value, attention_mask=causal)  # the library's
ours, expected = (
    masked_attention(query, key, value, causal)[0],
    F.scaled_dot_product_attention(query[None], key[None], value[None], is_causal=True)[0],
)
print(
    "the library and PyTorch agree:", torch.allclose(ours, mixed, atol=1e-6), torch.allclose(ours, expected, atol=1e-6)
)
changed = value.clone()
changed[-1] += 100  # the last word says something else
before, after = (masked_attention(query, key, values, causal)[0] for values in (value, changed))
print("whose answer changes with the last word:", (before != after).any(dim=-1).tolist())

# %% [markdown]
# ## 10 Positions
#
# Something is missing. Shuffle the words, and each still gets the same answer: a weighted mean does not know in which
# order its terms came. Attention is *equivariant to permutations*, and "the dog bites the man" says the same as
# "the man bites the dog".

# %%
order = torch.randperm(T)
shuffled = attention(query[order], key[order], value[order])
print(
    "shuffled words get their own old answers:",
    torch.allclose(shuffled, attention(query, key, value)[order], atol=1e-6),
)

# %% [markdown]
# So the order has to be put in. **Sinusoidal** positions (the original Transformer): add to the word at place $t$ a
# vector of sines and cosines, from fast to slow, like the hands of many clocks:
#
# $$P_{t,\,2i} = \sin\big(t / 10000^{2i/D}\big), \qquad P_{t,\,2i+1} = \cos\big(t / 10000^{2i/D}\big)$$


# %%
def sinusoids(length, width):
    speeds = 10_000 ** (-torch.arange(0, width, 2) / width)  # (D / 2), radians a step
    angles = torch.arange(length)[:, None] * speeds
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)  # sine, cosine, sine, ...


from course_lib.layers.positions import RotaryEmbedding, rotate, sinusoidal_positions

positions = sinusoids(60, 64)
print("the library agrees:", torch.allclose(positions, sinusoidal_positions(60, 64), atol=1e-5))
show(heat(positions.T, across="place t", down="dimension", value="value"))

# %% [markdown]
# The product of two such vectors depends on how far apart they are, not on where: each clock contributes
# $\sin a \sin b + \cos a \cos b = \cos(a - b)$. And by and large, near places have a larger product than far ones:

# %%
products = positions @ positions.T
same = all(torch.allclose(products.diagonal(gap), products[0, gap].expand(60 - gap), atol=1e-4) for gap in range(60))
print("the product is the same wherever the distance is the same:", same)
distance = torch.arange(-20, 21)
show(functions(distance, {"product with place 30": {"sinusoidal": products[30, 10:51]}}, across="distance"))

# %% [markdown]
# **Learned** positions (BERT, GPT-2, CLIP, ViT): a table with a free vector for each place, trained like any weight.
# Simple and good; but a place beyond the table has no vector.
#
# **Rotary** positions (RoPE, Su et al., 2021; Llama and most language models since): add nothing; *turn* queries and
# keys. Take dimensions $i$ and $i + d/2$ as the two coordinates of a point, and turn it by the angle $t\,\theta_i$ at
# place $t$, with $\theta_i = 10000^{-2i/d}$. The product of two turned points depends on the *difference* of their
# angles. So a score depends on the distance of two words, and on nothing else about where they stand:


# %%
def rope(states, places):
    """Turns queries or keys (T, d) by the angles of their places (T)."""
    half = states.shape[-1] // 2
    speeds = 10_000 ** (-torch.arange(half) / half)
    angles = places[:, None] * speeds  # (T, d / 2)
    x, y = states[:, :half], states[:, half:]
    return torch.cat([x * angles.cos() - y * angles.sin(), y * angles.cos() + x * angles.sin()], dim=-1)


here, there = torch.arange(T), torch.arange(T) + 100
scores = rope(query, here) @ rope(key, here).T
print(
    "moved by 100 places, the same scores:", torch.allclose(scores, rope(query, there) @ rope(key, there).T, atol=1e-3)
)
print("lengths do not change:", torch.allclose(rope(query, there).norm(dim=-1), query.norm(dim=-1), atol=1e-4))
print("the library agrees:", torch.allclose(rope(query, there), rotate(query, *RotaryEmbedding(d)(there)), atol=1e-4))

# %%
from course_lib.authoring.parity.lesson_01_layers import rotary_beside_transformers

for row in rotary_beside_transformers():
    print(f"{row.system:22} equal to transformers' Llama to 1e-5:", row.holds)
paper_card("rope")

# %% [markdown]
# ## 11 The transformer block
#
# Attention lets words talk. What each then makes of what it heard is the work of an **MLP**, the same for every
# word, usually four times as wide inside. Two more things make it possible to stack such pairs a hundred deep. A
# **residual connection**: what a part computes is *added* to what came in, $x + f(x)$. So there is a path from the last
# layer to the first on which the gradient passes unchanged. And a **norm**, which has two possible places:
#
# $$\text{post-norm: } x \leftarrow \mathrm{LN}\big(x + f(x)\big) \qquad\quad
# \text{pre-norm: } x \leftarrow x + f\big(\mathrm{LN}(x)\big)$$
#
# Post-norm is the original Transformer and BERT; pre-norm is nearly everything since GPT-2, ViT included. In pre-norm
# the sum itself, the *residual stream*, is never normalised, so its path stays free.


# %%
def pre_norm_block(x, block):
    x = x + block.attention(block.norm1(x))
    return x + block.mlp(block.norm2(x))


def post_norm_block(x, block):
    x = block.norm1(x + block.attention(x))
    return block.norm2(x + block.mlp(x))


from course_lib.layers.blocks import PostNormBlock, PreNormBlock, Transformer

for ours, library in [(pre_norm_block, PreNormBlock(24, 3, 96)), (post_norm_block, PostNormBlock(24, 3, 96))]:
    library.eval()
    agree = torch.allclose(ours(hidden_states, library), library(hidden_states), atol=1e-6)
    print(f"{type(library).__name__:13} agrees: {agree}, parameters: {sum(p.numel() for p in library.parameters()):,}")
print(code_of(PreNormBlock.forward))

# %% [markdown]
# What this is worth: the gradient that arrives at the input of a stack of untrained layers, for plain MLPs and for MLPs
# with a norm and a residual connection. (In powers of ten: -2 means a hundredth.)


# %%
def arriving(depth, residual):
    """The length of the gradient at the input, relative to that at the output, of a stack of untrained MLPs."""
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32)) for _ in range(depth)]
    x = start = torch.randn(16, 32, requires_grad=True)
    for layer in layers:
        x = x + layer(layer_norm(x)) if residual else layer(x)
    towards = torch.randn(16, 32)
    return (torch.autograd.grad(x, start, towards)[0].norm() / towards.norm()).item()


depths = [1, 4, 8, 12, 16]
powers = {
    name: [math.log10(arriving(depth, residual)) for depth in depths]
    for name, residual in [("norm and residual", True), ("plain", False)]
}
show(figures.lines(depths, powers, across="layers", value="gradient that arrives, log10"))

# %% [markdown]
# ## 12 Encoder, decoder, encoder-decoder
#
# The same block makes three kinds of model. They differ in who may see whom:
#
# | | who sees whom | made for | in this course |
# |---|---|---|---|
# | **encoder** | every word sees every word | understanding what is all there | BERT, ViT |
# | **decoder** | a word sees those before it | writing, word by word | GPT, Llama, LLaVA |
# | **both** | as above, and the decoder asks the encoder | turning one sequence into another | T5, BART |
#
# In an encoder-decoder the decoder's blocks have a third part between the two others: **cross-attention**. Its queries
# come from the decoder, its keys and values from the encoder. A word that is being written asks the words that were
# read. Replace the words that were read by patches of a picture, and you have a captioner (lesson 08).

# %%
from course_lib.layers.blocks import PostNormDecoderBlock
from course_lib.models.transformer import EncoderDecoder, TransformerConfig

print(code_of(PostNormDecoderBlock.forward))
paper_card("transformer")

# %% [markdown]
# The system of the paper, whole, in the library's words: token vectors times $\sqrt D$ plus sinusoids, two stacks, and
# the table of token vectors used once more, to turn vectors back into logits.

# %%
print(code_of(EncoderDecoder.encode))
print(code_of(EncoderDecoder.decode))

# %%
from course_lib.viz.diagram import architecture

config = TransformerConfig(
    vocab_size=13, context_length=16, width=64, layers=2, decoder_layers=2, heads=4, mlp_width=128, dropout=0.0
)
torch.manual_seed(0)
model = EncoderDecoder(config)
show(architecture(model, torch.randint(3, 13, (2, 9)), torch.randint(3, 13, (2, 7)), depth=3))

# %%
from course_lib.authoring.parity.lesson_01_layers import decoder_blocks_beside_torch
from course_lib.authoring.parity.lesson_01_transformer import transformer_beside_torch

for row in [*decoder_blocks_beside_torch(), *transformer_beside_torch()]:
    print(f"{row.system:20} equal to {row.reference:32} to 1e-5: {row.holds}")

# %% [markdown]
# ## 13 The training recipe
#
# Five habits that every training run of this course has.
#
# **Warm-up and cosine.** In its first steps Adam has seen few gradients, and its means of their squares are poor.
# So the learning rate rises from 0 over some steps, then falls along half a cosine to 0, so that the last steps
# only settle.

# %%
from course_lib.training.schedules import warmup_cosine

steps = torch.arange(300)
rates = {f"{warm} steps of warm-up": [warmup_cosine(int(t), 300, warm, 3e-3) for t in steps] for warm in (0, 30, 100)}
show(functions(steps, {"learning rate": rates}, across="step"))

# %% [markdown]
# **Gradient clipping.** Now and then a batch has an enormous gradient. If all gradients together, as one long vector,
# are longer than a limit, all are scaled down by the same factor: the direction stays, the jump is bounded.


# %%
def clip(parameters, max_norm):
    length = torch.stack([p.grad.square().sum() for p in parameters]).sum().sqrt()
    for p in parameters:
        p.grad *= min(1.0, max_norm / (length.item() + 1e-6))
    return length


network = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
twin = copy.deepcopy(network)
for each in (network, twin):
    F.cross_entropy(100 * each(inputs), right).backward()
lengths = clip(list(network.parameters()), 1.0), nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
agree = all(
    torch.allclose(a.grad, b.grad, atol=1e-6) for a, b in zip(network.parameters(), twin.parameters(), strict=True)
)
print("longer than 1 before:", bool(lengths[0] > 1), "· clipped as PyTorch clips:", agree)

# %% [markdown]
# **Gradient accumulation.** A batch of 120 that does not fit in memory can be taken in four parts of 30: `backward()`
# *adds* to the gradients, so call it four times, each with a quarter of the loss, and take one step. A trap: if the
# parts are of different sizes (or hold different numbers of tokens), a mean of means is not the mean of all. Weigh each
# part by its size.


# %%
def accumulated(sizes, weigh):
    network.zero_grad()
    for xs, ts in zip(inputs.split(sizes), right.split(sizes), strict=True):
        (F.cross_entropy(network(xs), ts) * weigh(len(xs))).backward()
    return torch.cat([p.grad.flatten() for p in network.parameters()])


whole = accumulated([120], lambda size: 1)
print("four equal parts, each by 1/4 :", torch.allclose(accumulated([30] * 4, lambda size: 1 / 4), whole, atol=1e-6))
uneven = [60, 30, 20, 10]
print("uneven parts, each by 1/4     :", torch.allclose(accumulated(uneven, lambda size: 1 / 4), whole, atol=1e-6))
print("uneven parts, each by its size:", torch.allclose(accumulated(uneven, lambda size: size / 120), whole, atol=1e-6))

# %% [markdown]
# **Mixed precision.** GPUs compute two to sixteen times faster with numbers of 16 bits than with 32. There are two
# kinds. *float16* has fine steps and a small range; *bfloat16* has float32's range and coarse steps. Each fails in its
# own way:

# %%
for kind in (torch.float32, torch.float16, torch.bfloat16):
    info = torch.finfo(kind)
    print(
        f"{str(kind)[6:]:9} largest {info.max:.1e}  smallest normal {info.tiny:.1e}  next after 1: 1 + {info.eps:.1e}"
    )
weight, update = torch.tensor(1.0), torch.tensor(0.001)
print("bfloat16: 1 + 0.001 is", (weight.bfloat16() + update.bfloat16()).item(), "and the update is lost")
gradient = torch.tensor(1e-8)
print(
    "float16: a gradient of 1e-8 becomes",
    gradient.half().item(),
    " and 70,000 becomes",
    torch.tensor(7e4).half().item(),
)
scaled = (gradient * 2**16).half()  # the loss was multiplied by 65,536, so every gradient is
print(f"float16 with the loss scaled by 65,536, and undone in float32: {scaled.float().item() / 2**16:.1e}")

# %% [markdown]
# Hence the recipe: the weights are *kept* in float32 (no update is lost), the products are *computed* in 16 bits
# (`torch.autocast`), and with float16 the loss is multiplied by a large power of two, and the gradients divided by it
# before the step. If one of them overflowed all the same, the step is left out and the factor halved. PyTorch's
# `GradScaler` does that:

# %%
weight = torch.ones(3, requires_grad=True)
optimiser = torch.optim.SGD([weight], lr=0.1)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
for what, size in [("overflow", math.inf), ("normal", 1.0)]:
    optimiser.zero_grad()
    scaler.scale((weight * size).sum()).backward()
    scaler.step(optimiser)
    scaler.update()
    print(f"{what:8}: the weights are {weight.tolist()[0]:.1f}, the factor is {scaler.get_scale():,.0f}")

# %% [markdown]
# On a CPU without 16-bit instructions all this is many times slower, so here the course computes in float32;
# `runtime.autocast()` chooses. The fifth habit is the dullest and the best: **fix the seed, and look at the curve**.
#
# All five are in the loop of the library, from here on used by every lesson. Its heart:

# %%
from course_lib.training.loop import TrainingConfig, train

source = inspect.getsource(train)
print(source[source.index("            with autocast(where)") : source.index("            history.steps.append")])

# %% [markdown]
# ### The Transformer learns to sort
#
# The task: a list of 4 to 10 digits goes in, the same digits in ascending order come out. (Ids 0, 1 and 2 are filling,
# start and end; digit $s$ has the id $s + 3$.) At each place the decoder is given the right answer so far, and is asked
# for the next digit: *teacher forcing*, so that all places are trained at once.

# %%
from course_lib.data.sequences import END, FIRST_SYMBOL, IGNORED, START, associative_recall, copying, sorting

lists, test_lists = sorting(20_000, seed=1), sorting(500, seed=2)
for name in ["input_ids", "decoder_input_ids", "labels"]:
    print(f"{name:18}", getattr(test_lists, name)[0].tolist())


def sequence_loss(data):
    """The loss of a batch of 64, as `train` wants it."""

    def batch_loss(model, generator):
        rows = torch.randint(len(data), (64,), generator=generator)
        logits = model(data.input_ids[rows], data.decoder_input_ids[rows], data.attention_mask[rows])
        return F.cross_entropy(logits.flatten(0, 1), data.labels[rows].flatten(), ignore_index=IGNORED)

    return batch_loss


# %%
from course_lib.viz.live import LiveCurve

recipe = TrainingConfig(steps=300, batch_size=64, learning_rate=3e-3, warmup_steps=50, weight_decay=0.01)
runtime.seed_everything(0)
sorter = EncoderDecoder(config)
with LiveCurve("The Transformer learns to sort", total=300, chance=math.log(10)) as live:
    history = train(sorter, sequence_loss(lists), recipe, on_step=live.update)
print("seconds of training:", runtime.measured(history.seconds, 0))

# %% [markdown]
# To *use* it there is no right answer to be given: the model writes one digit, reads it, writes the next. Always the
# most probable one is **greedy** decoding. The library's `greedy` does the same, and keeps what was computed before
# (lesson 03 explains the cache):


# %%
@torch.no_grad()
def write(model, data, steps=11):
    """Greedy answers to all lists, one token after the other."""
    written = torch.full((len(data), 1), START)
    for _ in range(steps):
        logits = model(data.input_ids, written, data.attention_mask)
        written = torch.cat([written, logits[:, -1:].argmax(dim=-1)], dim=1)
    return written[:, 1:]


def all_right(answers, data):
    """The share of lists of which every token is right."""
    return ((answers == data.labels) | (data.labels == IGNORED)).all(dim=1).double().mean().item()


from course_lib.generation import greedy

sorted_right = all_right(write(sorter, test_lists), test_lists)
print("lists sorted without a mistake:", runtime.measured(sorted_right), "· at least 0.9:", sorted_right >= 0.9)
print(
    "the library writes the same:",
    torch.equal(
        greedy(sorter, test_lists.input_ids, test_lists.attention_mask, max_new_tokens=11)[:, 1:],
        write(sorter, test_lists),
    ),
)

# %% [markdown]
# **Which digit looks where?** The cross-attention of the last layer, while one list is written. Rows are the digits
# that are being written, columns those that were read:

# %%
looks = []


def remember(module, given, answer):
    looks.append(module.weights(*given[:2])[0].detach())


def digits(ids):
    return [{START: "start", END: "end"}.get(token, str(token - FIRST_SYMBOL)) for token in ids]


row = int((test_lists.input_ids[:20] != 0).all(dim=1).nonzero()[0])
handles = [block.cross_attention.register_forward_hook(remember) for block in sorter.decoder.blocks]
with torch.no_grad():
    sorter(test_lists.input_ids[row : row + 1], test_lists.decoder_input_ids[row : row + 1])
for handle in handles:
    handle.remove()
read, wrote = digits(test_lists.input_ids[row].tolist()), digits(test_lists.labels[row].tolist())
show(attention_heads(looks[-1], wrote, read))

# %% [markdown]
# Some heads stand on the very digit that is written next, wherever it is in the list, equal digits shared between
# them. Nobody told them to.

# %% [markdown]
# ## 14 What attention can do that others cannot
#
# The smallest task that needs what section 1 asked for is **associative recall**: a list of pairs, then questions.
# *"red star, blue heart, green ring ...; heart?"* The answer, *blue*, cannot be learned by heart, because every list
# pairs colours and shapes anew. It has to be looked up. Eight shapes in random order, each with a random colour; then
# all eight are asked for, in another order.

# %%
from course_lib.data.microworld import COLOURS, SHAPES

task = associative_recall(20_000, pairs=8, keys=8, values=8, questions=8, seed=1)
quiz = associative_recall(1_000, pairs=8, keys=8, values=8, questions=8, seed=2)
vocabulary = [*SHAPES, *COLOURS]
print("list     :", *[vocabulary[token] for token in quiz.input_ids[0, :16]])
print("questions:", *[vocabulary[token] for token in quiz.input_ids[0, 16:]])
print("answers  :", *[COLOURS[label] for label in quiz.labels[0]])

# %% [markdown]
# Who has not looked can still guess well: by the colour that stands most often in the list. That is the baseline;
# chance is one in eight.

# %%
listed = F.one_hot(quiz.input_ids[:, 0:16:2] - 8, 8).sum(dim=1)  # (N, 8): how often each colour is in the list
baseline = (listed.argmax(dim=1, keepdim=True) == quiz.labels).double().mean().item()
print(f"the most frequent colour: {baseline:.3f}   chance: {1 / 8:.3f}")

# %% [markdown]
# Four models of about the same size. The first is a decoder of two blocks with a single head each, the second an LSTM
# and the third a plain RNN (lesson 03 explains both: they read one word after the other and carry a state), the fourth
# an MLP that gets the whole list at once.


# %%
class Reader(nn.Module):
    """Two causal blocks over tokens and learned positions; gives 8 scores at each of the last 8 places."""

    def __init__(self, width=64, heads=1, layers=2):
        super().__init__()
        self.tokens, self.places = nn.Embedding(16, width), nn.Parameter(torch.randn(24, width) / 2)
        nn.init.normal_(self.tokens.weight, std=0.5)
        self.blocks = Transformer(lambda: PreNormBlock(width, heads, 2 * width), layers)
        self.norm, self.scores = nn.LayerNorm(width), nn.Linear(width, 8)

    def forward(self, ids):
        hidden_states = self.blocks(self.tokens(ids) + self.places, is_causal=True)
        return self.scores(self.norm(hidden_states[:, -8:]))


# %%
class Recurrent(nn.Module):
    """A recurrent network over the tokens; gives 8 scores at each of the last 8 places."""

    def __init__(self, network, width):
        super().__init__()
        self.tokens, self.network = nn.Embedding(16, width), network(width, width, batch_first=True)
        self.scores = nn.Linear(width, 8)

    def forward(self, ids):
        return self.scores(self.network(self.tokens(ids))[0][:, -8:])


def mlp():
    """The whole list at once: 24 tokens of 32 numbers in, 8 answers of 8 scores out."""
    layers = [nn.Embedding(16, 32), nn.Flatten(), nn.Linear(24 * 32, 96), nn.GELU(), nn.Linear(96, 64)]
    return nn.Sequential(*layers, nn.Unflatten(1, (8, 8)))


# %%
def learn(build, steps=200, seed=0):
    """Trains a model on associative recall; returns it, its accuracy on new lists, and its losses."""

    def batch_loss(model, generator):
        rows = torch.randint(len(task), (64,), generator=generator)
        return F.cross_entropy(model(task.input_ids[rows]).flatten(0, 1), task.labels[rows].flatten())

    runtime.seed_everything(seed)
    model = build()
    recipe = TrainingConfig(steps=steps, learning_rate=3e-3, warmup_steps=20, weight_decay=0.01, seed=seed)
    losses = train(model, batch_loss, recipe).losses
    with torch.no_grad():
        accuracy = (model(quiz.input_ids).argmax(dim=-1) == quiz.labels).double().mean().item()
    return model, accuracy, losses


contestants = {
    "attention": Reader,
    "LSTM": lambda: Recurrent(nn.LSTM, 96),
    "RNN": lambda: Recurrent(nn.RNN, 160),
    "MLP": mlp,
}
learned = {name: learn(build) for name, build in contestants.items()}

# %%
for name, (model, accuracy, _) in learned.items():
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"{name:9} {size:6,} parameters: {runtime.measured(accuracy)}   (baseline {baseline:.3f})")
print(
    "attention at least 0.95:",
    learned["attention"][1] >= 0.95,
    "· none of the others above 0.45:",
    max(learned[name][1] for name in ["LSTM", "RNN", "MLP"]) <= 0.45,
)
show(
    runs(
        {name: losses for name, (*_, losses) in learned.items()},
        level=math.log(8),
        title="Associative recall",
        weight=0.6,
    )
)

# %% [markdown]
# Attention solves it; the other three find out at best which colours are in the list, and get no further. Not that
# it could not be written into their weights: an LSTM has room for eight colours. But it would have to file away
# every pair while it reads, not knowing what will be asked, through one state; and an MLP has to learn the
# comparison anew for each pair of places. Attention has the comparison built in, and once it has found it, it has
# it for all places.
#
# Note the shape of the blue curve: long nothing, then all at once. What it found in that moment can be seen. The lines
# of one list (above a weight of 0.2), in the first and the second layer:

# %%
reader = learned["attention"][0]
words = [vocabulary[token] for token in quiz.input_ids[0]]
words[16:] = [f"{word}?" for word in words[16:]]
with torch.no_grad():
    states, looks = reader.tokens(quiz.input_ids[:1]) + reader.places, []
    for block in reader.blocks.blocks:
        looks.append(block.attention.weights(block.norm1(states), is_causal=True)[0, 0])
        states = block(states, is_causal=True)
show(attention_links(torch.stack(looks), words, titles=["first layer", "second layer"], least=0.2))

# %% [markdown]
# In the **first** layer, each shape of the list looks at the word before it, its colour, and takes it in. In the
# **second**, each question looks for the shape of its own name, and finds the colour there. Two heads, one behind the
# other: such a pair is called an *induction head*, and large language models grow them in the same sudden way (Olsson
# et al., 2022).

# %% [markdown]
# ### Attention over a picture
#
# Nothing in this lesson asked that the tokens be words. Cut a picture into cells, give each a vector, and attention
# works as before. CLIP's image tower ends so: the mean of all cells asks the cells, and what it is answered is the
# vector of the picture. Here is where its heads look in the picture of section 1:

# %%
from course_lib.models.recipes.inputs import pixel_values

with torch.no_grad():
    feature_map = clip_model.vision_model.forward_features(pixel_values(microworld.render([scene])))
    looks = clip_model.vision_model.pool.weights(feature_map)[0]
print("weights of the heads over an 8 x 8 grid of cells:", tuple(looks.shape))
show(attention_map(microworld.render([scene], 256)[0], looks))

# %% [markdown]
# One mechanism for words, for cells of a picture, and (lesson 08 onwards) for words that look at cells: that is why
# vision-language models are built of it.

# %% [markdown]
# ## 15 Break it
#
# Everything in a Transformer has a reason. Take the parts away, one at a time.
#
# ### Without $1/\sqrt d$
#
# The same reader, with scores that are not divided:


# %%
def unscaled():
    model = Reader()
    for block in model.blocks.blocks:
        block.attention.scale = 1.0
    return model


without_scale = learn(unscaled)
print("divided by √d:", runtime.measured(learned["attention"][1]), "  not divided:", runtime.measured(without_scale[1]))
show(runs({"divided by √d": learned["attention"][2], "not divided": without_scale[2]}, level=math.log(8), weight=0.6))

# %% [markdown]
# With heads of 64 dimensions the scores are eight times as large. The softmax is nearly a choice of one from the first
# step, its slope is nearly 0, and the way to look up is found late or, as here, not within the run. (Over ten seeds the
# divided one reached 1.00 every time, the other between 0.24 and 0.6.)
#
# ### Without positions
#
# Take the sinusoids from the Transformer, and let it learn two tasks: to *copy* a list, and to *sort* it.


# %%
def trained_on(data, model=EncoderDecoder, positions=True):
    runtime.seed_everything(0)
    network = model(config)
    if not positions:
        network.positional_embedding.positions.zero_()
    history = train(network, sequence_loss(data), recipe)
    return network, history


copies, test_copies = copying(20_000, seed=1), copying(500, seed=2)
results = {"sort, with positions": sorted_right}
for name, data, test, positions in [
    ("sort, without", lists, test_lists, False),
    ("copy, with positions", copies, test_copies, True),
    ("copy, without", copies, test_copies, False),
]:
    network, _ = trained_on(data, positions=positions)
    results[name] = all_right(write(network, test), test)
show(figures.bars(results, value="lists without a mistake"))
print("copying is lost without positions:", results["copy, without"] < 0.2 < 0.8 < results["copy, with positions"])

# %% [markdown]
# Without positions the encoder sees a *bag* of digits. To sort, a bag is enough. To copy, it is not. (A decoder alone
# can find out a little about order even so: its causal mask lets each word see how many stand before it.)
#
# ### Without the mask
#
# Let the decoder's words see those after them, in training: no causal mask.


# %%
class Peeking(EncoderDecoder):
    """A decoder without its causal mask."""

    def decode(self, decoder_input_ids, encoder_states, attention_mask=None, cache=None):
        hidden_states = self.positional_embedding(self.token_embedding(decoder_input_ids))
        context_mask = None if attention_mask is None else attention_mask[:, None, None]
        hidden_states = self.decoder(hidden_states, encoder_states, context_mask=context_mask, is_causal=False)
        return hidden_states @ self.token_embedding.weight.T


peeking, peeking_history = trained_on(lists, Peeking)
show(runs({"with the mask": history.losses, "without": peeking_history.losses}, log=True, title="Training looks fine"))
for name, network in [("with the mask", sorter), ("without", peeking)]:
    with torch.no_grad():
        forced = network(test_lists.input_ids, test_lists.decoder_input_ids, test_lists.attention_mask).argmax(dim=-1)
    print(f"{name:14} given the right answer so far {runtime.measured(all_right(forced, test_lists))}", end="   ")
    print(f"writing by itself {runtime.measured(all_right(write(network, test_lists), test_lists))}")
nonsense = write(peeking, test_lists)[row].tolist()
print("read   ", "".join(read))
print("wrote ≈", "".join(str(token - FIRST_SYMBOL) if token >= FIRST_SYMBOL else "." for token in nonsense))

# %% [markdown]
# The loss falls even faster: the next digit stands right there, one place further on, and is simply copied. Even a test
# with teacher forcing is passed. Only when it has to write, when there is nothing to copy yet, does it come out that it
# learned nothing about sorting: it read the list above, and wrote what stands below it. **A loss that is too good
# to be true is a mask that is missing.**

# %% [markdown]
# ### Pre-norm and post-norm without a warm-up
#
# Twelve blocks, each way, with a brisk learning rate, from the first step or after a warm-up. The task is to sort
# again, now by an encoder that answers all eight places at once. Knowing nothing costs $\ln 10$.


# %%
class DeepSorter(nn.Module):
    """Twelve blocks over eight digits; gives ten scores at each place."""

    def __init__(self, block, pre_norm):
        super().__init__()
        self.tokens, self.blocks = nn.Embedding(10, 32), Transformer(block, 12)
        self.norm = nn.LayerNorm(32) if pre_norm else nn.Identity()  # a pre-norm stack ends in a norm
        self.scores = nn.Linear(32, 10)

    def forward(self, ids):
        return self.scores(self.norm(self.blocks(self.tokens(ids) + sinusoidal_positions(8, 32))))


def sort_at_once(pre_norm, warmup, steps=120, seed=0):
    """The losses of a run; the learning rate stays where it is after the warm-up."""
    torch.manual_seed(seed)
    kind = (lambda: PreNormBlock(32, 4, 64)) if pre_norm else (lambda: PostNormBlock(32, 4, 64, "gelu", 1e-5, 0.0, 0.0))
    model, losses = DeepSorter(kind, pre_norm), []
    optimiser = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), fused=True)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 0.01 * min(1, (step + 1) / max(warmup, 1))
        numbers = torch.randint(10, (32, 8))
        loss = F.cross_entropy(model(numbers).flatten(0, 1), numbers.sort(dim=1).values.flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
    return losses


# %%
four = {
    f"{'pre' if pre_norm else 'post'}-norm, {'warm-up' if warmup else 'no warm-up'}": sort_at_once(pre_norm, warmup)
    for pre_norm in (True, False)
    for warmup in (60, 0)
}
show(runs(four, level=math.log(10), title="Twelve blocks"))
ends = {name: sum(losses[-20:]) / 20 for name, losses in four.items()}
for name, end in ends.items():
    print(f"{name:22} loss at the end {runtime.measured(end)}")
print("post-norm without a warm-up learned nothing:", ends["post-norm, no warm-up"] > 2.0, end=" ")
print("· the other three did:", max(end for name, end in ends.items() if name != "post-norm, no warm-up") < 1.5)

# %% [markdown]
# Post-norm needs the warm-up, pre-norm does not. At the start the gradients of a post-norm stack are large near its
# output whatever its depth (Xiong et al., 2020); full steps at once throw it into a place where all inputs look alike,
# and it stays there.

# %%
paper_card("pre_norm")

# %% [markdown]
# ## 16 At full scale
#
# The same system with longer lists, more layers and, on a GPU, in half precision with loss scaling: the loop that
# section 13 took apart, written out. The sizes are meant for a GPU with 16 GB; a larger one takes larger batches, and
# bfloat16, which needs no scaling. On two cores it takes three steps of a tiny configuration in float32, which proves
# that it runs and no more.

# %%
import torch
import torch.nn.functional as F
from torch import nn

from course_lib import runtime
from course_lib.data.sequences import FIRST_SYMBOL, sorting
from course_lib.generation.sampling import greedy
from course_lib.models.transformer import EncoderDecoder, TransformerConfig
from course_lib.training.schedules import warmup_cosine

full_scale, device = runtime.scale() == "full", runtime.device()
longest, symbols, size = runtime.sized(8, 64), runtime.sized(10, 50), runtime.sized(32, 256)
steps, batch_size = runtime.sized(3, 3_000), runtime.larger(128)
large = TransformerConfig(
    symbols + FIRST_SYMBOL, longest + 1, size, 4, 4, heads=4, mlp_width=4 * size, dropout=0.1, activation="relu"
)
torch.manual_seed(0)
network = EncoderDecoder(large).to(device)
optimiser = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.98))
precision = getattr(runtime.autocast(device), "fast_dtype", torch.float32)  # float16, bfloat16, or none of them
scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
print(f"{sum(p.numel() for p in network.parameters()):,} parameters, lists of up to {longest}")

# %%
for step in runtime.progress(range(steps), "training"):
    optimiser.param_groups[0]["lr"] = warmup_cosine(step, steps, steps // 10, 5e-4)
    data = sorting(batch_size, symbols, (longest // 2, longest), seed=step)  # endless: every batch is new
    with runtime.autocast(device):
        logits = network(data.input_ids.to(device), data.decoder_input_ids.to(device), data.attention_mask.to(device))
        loss = F.cross_entropy(logits.flatten(0, 1), data.labels.flatten().to(device))
    optimiser.zero_grad()
    scaler.scale(loss).backward()
    scaler.unscale_(optimiser)  # before clipping: the limit is meant for the true gradients
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    scaler.step(optimiser)
    scaler.update()
print("the loss is finite:", bool(loss.isfinite()), "· the step was taken in", str(precision).removeprefix("torch."))

# %%
network.eval()
data = sorting(200, symbols, (longest // 2, longest), seed=10**6)
written = greedy(network, data.input_ids.to(device), data.attention_mask.to(device), max_new_tokens=longest + 1)
if full_scale:
    print("lists sorted without a mistake:", runtime.measured(all_right(written[:, 1:].cpu(), data)))
else:
    print("written:", tuple(written.shape), "· after three steps there is nothing to see: run this on a GPU")

# %% [markdown]
# ## 17 Looking back
#
# | | |
# |---|---|
# | cross-entropy | $-\log \mathrm{softmax}(z)_c$; its gradient: probabilities minus one-hot |
# | a linear layer, backwards | $\bar W = H^\top \bar Z$, $\bar b = \sum_i \bar Z_i$, $\bar H = \bar Z W^\top$ |
# | Adam | $w \leftarrow w - \eta\, \hat m / (\sqrt{\hat s} + \varepsilon)$; AdamW also takes $\eta \lambda w$ away |
# | LayerNorm | over the features of one vector; BatchNorm over the batch; RMSNorm without the mean |
# | attention | $\mathrm{softmax}(Q K^\top / \sqrt d)\, V$ |
# | causal mask | position $i$ sees $j \le i$; elsewhere the score is $-\infty$ |
# | RoPE | $(R_m q) \cdot (R_n k)$ depends on $n - m$ only |
# | post-norm, pre-norm | $\mathrm{LN}(x + f(x))$, $x + f(\mathrm{LN}(x))$ |
# | encoder-decoder | queries from the decoder, keys and values from the encoder |
#
# - Attention works out its connections anew for every input: what is fixed is only how to look.
# - Without $1/\sqrt d$ it does not find what to look at; without positions it sees a bag; without the mask it cheats.
# - A falling loss proves nothing. Let the model do what it is for.
#
# Some quick questions, answers folded:

# %%
from course_lib.practice.quiz import show_interview, show_quiz

show_quiz("01")

# %% [markdown]
# And those an interviewer may ask:

# %%
show_interview("01")

# %% [markdown]
# **Now build it yourself:** the exercises are in [`exercises/01_attention.ipynb`](../exercises/01_attention.ipynb),
# from layer norm and a backward pass by hand to rotary positions, a transformer block and the loop that trains it. Each
# answer is checked at once.
