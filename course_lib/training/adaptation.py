"""Fitting a trained model to a new task, from the cheapest change to the dearest.

Linear probe and few-shot (the model only embeds), CoOp (some word vectors are learned), LoRA (a thin layer beside each
frozen one), full fine-tuning, and WiSE-FT (between the weights before and after it).
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.errors import InputError

# ---------------------------------------------------------------- linear probe, few-shot


class LinearProbe(nn.Linear):
    """Logistic regression on embeddings: `(B, D) -> (B, C)` logits."""


def linear_probe(embeds: Tensor, labels: Tensor, classes: int, strength: float = 1.0, steps: int = 200) -> LinearProbe:
    """Fits a linear probe with L-BFGS, which needs no learning rate: the problem is convex and small.

    Minimises `strength * sum of cross-entropies + |weight|^2 / 2`; the bias is not held back.

    Args:
        embeds: `(N, D)`.
        labels: `(N,)` int, below `classes`.
        classes: C.
        strength: how much the data count against the penalty (scikit-learn's `C`).
        steps: at most this many iterations.

    Raises:
        InputError: the shapes do not fit, or there is no example.

    Source: Radford et al. 2021, section 3.2; the objective is that of `sklearn.linear_model.LogisticRegression`.
    """
    if embeds.ndim != 2 or labels.shape != embeds.shape[:1] or not len(labels):
        raise InputError(
            f"embeds {tuple(embeds.shape)} and labels {tuple(labels.shape)} do not fit: they should be (N, D) and "
            f"(N,), N > 0"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(f"labels should lie between 0 and {classes - 1}, the classes there are")
    probe = LinearProbe(embeds.shape[1], classes, dtype=torch.float64)
    nn.init.zeros_(probe.weight)
    nn.init.zeros_(probe.bias)
    optimiser = torch.optim.LBFGS(
        probe.parameters(), max_iter=steps, tolerance_grad=1e-7, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )
    embeds, labels = embeds.detach().cpu().double(), labels.cpu()

    def objective() -> Tensor:
        optimiser.zero_grad()
        fit = F.cross_entropy(probe(embeds), labels, reduction="sum")
        # Divided by N, so that the tolerances mean the same for few and many examples.
        loss = (strength * fit + probe.weight.square().sum() / 2) / len(labels)
        loss.backward()
        return loss

    optimiser.step(objective)
    return probe.float()


def few_shot(labels: Tensor, shots: int, generator: torch.Generator) -> Tensor:
    """The rows of a balanced few-shot training set: `shots` of each class, in random order.

    Args:
        labels: `(N,)` int.
        shots: how many of each class.
        generator: decides which.

    Returns:
        `(classes * shots,)` rows.

    Raises:
        InputError: a class has fewer examples.
    """
    order = torch.randperm(len(labels), generator=generator)
    chosen = []
    for label in labels.unique():
        rows = order[labels[order] == label]
        if len(rows) < shots:
            raise InputError(f"class {int(label)} has {len(rows)} examples, not {shots}: ask for fewer shots")
        chosen.append(rows[:shots])
    chosen = torch.cat(chosen)
    return chosen[torch.randperm(len(chosen), generator=generator)]


# ---------------------------------------------------------------- CoOp


class LearnedPrompt(nn.Module):
    """CoOp: the words before a class's name are vectors that are learned; everything else of the model stays as it is.

    Where prompt engineering searches for the right words, this follows the gradient between them. `forward` gives the
    classifier, so `image_embeds @ prompt().T` are cosine similarities, and `loss` is what is minimised.

    Args:
        model: a `CLIP`; it is frozen.
        tokenizer: texts -> `(B, L)` input ids.
        class_names: C names.
        start_from: the words whose vectors the learned ones start as.

    Raises:
        InputError: no class, or a name that leaves no room for the words.

    Source: Zhou et al. 2022, "Learning to Prompt for Vision-Language Models", section 3.2, unified context.
    """

    def forward(self) -> Tensor:
        """`(C, D)`, rows of length 1."""
        words = self.context.expand(len(self.input_ids), -1, -1)
        sentences = torch.cat([self.before, words, self.after], dim=1)
        hidden_states = self.text_model.forward_embeddings(sentences)
        ends = hidden_states[torch.arange(len(sentences)), self.text_model.end_positions(self.input_ids)]
        return F.normalize(self.projection(ends), dim=-1)

    def loss(self, image_embeds: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the images `(B, D)` over the classes, at the model's own temperature."""
        return F.cross_entropy(self.logit_scale * image_embeds @ self().T, labels)

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Callable[[list[str]], Tensor],
        class_names: Sequence[str],
        start_from: str = "a picture of a",
    ):
        super().__init__()
        if not class_names:
            raise InputError("a classifier needs at least one class name")
        model.requires_grad_(False)
        self.text_model, self.projection = model.text_model, model.text_projection
        self.logit_scale = model.logit_scale.exp().item()
        where = model.logit_scale.device
        count = int((tokenizer([start_from])[0] != 0).sum()) - 2  # without start and end token
        input_ids = tokenizer([f"{start_from} {name}" for name in class_names]).to(where)
        if count < 1 or (self.text_model.end_positions(input_ids) <= count + 1).any():
            raise InputError("there is no room for the learned words: the prompt needs a word, and each class a name")
        with torch.no_grad():
            vectors = self.text_model.token_embedding(input_ids)
        self.register_buffer("input_ids", input_ids)
        self.register_buffer("before", vectors[:, :1])
        self.register_buffer("after", vectors[:, 1 + count :])
        self.context = nn.Parameter(vectors[:1, 1 : 1 + count].clone())


# ---------------------------------------------------------------- LoRA


class LoRA(nn.Module):
    """A frozen linear map or convolution, and a trainable one of low rank: `base(x) + alpha / rank * up(down(x))`.

    `up` starts at zero, so at first nothing is changed. For a convolution, `down` has its kernel and `up` is 1 x 1.

    Args:
        base: `nn.Linear` or `nn.Conv2d` (without groups).
        rank: the width between `down` and `up`.
        alpha: the scale, as a multiple of the rank.

    Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1. Equal to peft's layers.
    """

    def forward(self, x: Tensor) -> Tensor:
        """As `base`."""
        return self.base(x) + self.scale * self.up(self.down(x))

    def merged(self) -> nn.Linear | nn.Conv2d:
        """The one layer that does the same: no cost at inference."""
        with torch.no_grad():
            self.base.weight += self.scale * torch.einsum(
                "or,ri...->oi...", self.up.weight.flatten(1), self.down.weight
            )
        return self.base

    def __init__(self, base: nn.Linear | nn.Conv2d, rank: int = 4, alpha: float = 8.0):
        super().__init__()
        if rank < 1:
            raise InputError(f"rank is {rank}; it should be 1 or more")
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        make = {"device": base.weight.device, "dtype": base.weight.dtype}
        if isinstance(base, nn.Conv2d):
            if base.groups != 1:
                raise InputError("LoRA is defined here for convolutions without groups")
            self.down = nn.Conv2d(
                base.in_channels, rank, base.kernel_size, base.stride, base.padding, base.dilation, bias=False, **make
            )
            self.up = nn.Conv2d(rank, base.out_channels, 1, bias=False, **make)
        else:
            self.down = nn.Linear(base.in_features, rank, bias=False, **make)
            self.up = nn.Linear(rank, base.out_features, bias=False, **make)
        nn.init.kaiming_uniform_(self.down.weight, a=5**0.5)
        nn.init.zeros_(self.up.weight)


def inject_lora(model: nn.Module, rank: int = 4, alpha: float = 8.0, skip: Sequence[str] = ()) -> int:
    """Freezes a model and puts a `LoRA` in the place of each of its linear maps and convolutions.

    Args:
        model: changed in place.
        rank, alpha: of each.
        skip: parts of module names; a module whose name holds one is left frozen, as it is.

    Returns:
        How many parameters can now be trained.

    Raises:
        InputError: the model has no such layer, or has LoRA layers already.
    """
    if any(isinstance(module, LoRA) for module in model.modules()):
        raise InputError("the model has LoRA layers already: merge them first with merge_lora")
    model.requires_grad_(False)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear | nn.Conv2d) and not any(part in name for part in skip):
            _replace(model, name, LoRA(module, rank, alpha))
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    if not trainable:
        raise InputError("the model has no linear map or convolution to put a LoRA layer beside")
    return trainable


def merge_lora(model: nn.Module) -> None:
    """Puts each `LoRA`'s merged layer back in its place: the model has its first shape again, and the new weights."""
    for name, module in list(model.named_modules()):
        if isinstance(module, LoRA):
            _replace(model, name, module.merged())


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


# ---------------------------------------------------------------- fine-tuning, WiSE-FT


def classification_loss(
    classifier: Tensor, pixel_values: Tensor, labels: Tensor, batch_size: int
) -> Callable[[nn.Module, torch.Generator], Tensor]:
    """What `train` needs to fine-tune a CLIP's image tower against a classifier written in words.

    The classifier stays as it is, so the model before and the model after fine-tuning speak of the same classes.

    Args:
        classifier: `(C, D)`, from `text_classifier`.
        pixel_values: `(N, 3, H, W)`.
        labels: `(N,)` int.
        batch_size: how many at each step.
    """
    if len(pixel_values) != len(labels):
        raise InputError(f"{len(pixel_values)} pictures and {len(labels)} labels: give one label for each picture")

    def batch_loss(model: nn.Module, generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(labels), (batch_size,), generator=generator)
        image_embeds = F.normalize(model.encode_image(pixel_values[rows].to(classifier.device)), dim=-1)
        scale = model.logit_scale.detach().exp()
        return F.cross_entropy(scale * image_embeds @ classifier.T, labels[rows].to(classifier.device))

    return batch_loss


def wise_ft(before: dict[str, Tensor], after: dict[str, Tensor], weight: float) -> dict[str, Tensor]:
    """Weights between two models of one shape: `(1 - weight) * before + weight * after`.

    Counters and other integers are taken from `after`.

    Args:
        before: `state_dict()` of the model before fine-tuning.
        after: `state_dict()` of the model after it.
        weight: 0 gives `before`, 1 gives `after`.

    Raises:
        InputError: the models differ in shape.

    Source: Wortsman et al. 2022, "Robust Fine-Tuning of Zero-Shot Models", equation 1.
    """
    shapes = [{name: tensor.shape for name, tensor in weights.items()} for weights in (before, after)]
    if shapes[0] != shapes[1]:
        differ = sorted(name for name in shapes[0] | shapes[1] if shapes[0].get(name) != shapes[1].get(name))
        raise InputError(f"the two models differ in {differ[0]!r}: interpolate between two states of one model")
    return {
        name: torch.lerp(before[name], tensor, weight) if tensor.is_floating_point() else tensor
        for name, tensor in after.items()
    }
