"""Exercise set 06: from cosine similarities to a trained pair of projections, all that CLIP adds to two encoders."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.errors import InputError
from course_lib.evaluation.retrieval import recall_at_k
from course_lib.evaluation.zero_shot import text_classifier
from course_lib.losses.contrastive import clip_loss, siglip_loss
from course_lib.practice.exercise import Case, Exercise, Measure, Mistake, given, wrong_choices


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Normal numbers that depend on the seed alone."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def pairs(seed: int, batch: int, width: int, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Embeddings of length 1 of matching pairs that are somewhat alike: `image_embeds` and `text_embeds`, `(B, D)`."""
    shared, own, other = (normal(3 * seed + part, batch, width) for part in range(3))
    embeds = [F.normalize((shared + part).to(dtype), dim=-1) for part in (own, other)]
    return {"image_embeds": embeds[0], "text_embeds": embeds[1]}


# Why a mechanical change to a model solution may change nothing.
MORE_STEPS = "one step more or less is no mistake: what is asked for is reached"
A_TENSOR = "a number that is kept as a tensor is as good"

# 06.1 ---------------------------------------------------------------------------------------------------------------


def similarity_logits(image_features: torch.Tensor, text_features: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cosine of every image with every text over the temperature: `(N, D)`, `(M, D)` -> `(N, M)`."""
    return F.normalize(image_features, dim=-1) @ F.normalize(text_features, dim=-1).T / temperature


def logit_cases(seed: int) -> list[Case]:
    small = {
        "image_features": torch.tensor([[3.0, 4.0], [0.0, 2.0]]),
        "text_features": torch.tensor([[1.0, 0.0], [0.0, 5.0], [6.0, 8.0]]),
        "temperature": 0.5,
    }
    wide = {
        "image_features": 3 * normal(seed + 1, 4, 6),
        "text_features": 2 * normal(seed + 2, 4, 6),
        "temperature": 0.07,
    }
    return [
        Case("two images and three texts worked out by hand", small),
        Case("as many texts as images, and CLIP's first temperature", wide),
    ]


LOGITS = Exercise(
    id="06.1",
    title="Similarities as logits",
    name="similarity_logits",
    signature="def similarity_logits(image_features: Tensor, text_features: Tensor, temperature: float) -> Tensor",
    asked="function",
    difficulty=1,
    minutes=6,
    points=1,
    hints=(
        "The cosine of two vectors is the dot product of the two after each was brought to length 1.",
        "torch.nn.functional.normalize(x, dim=-1) brings every row to length 1; then one matrix product compares every "
        "image with every text.",
        "The shapes are (N, D) @ (D, M) -> (N, M): transpose the texts. At the end, divide by the temperature.",
    ),
    cases=logit_cases,
    reference=similarity_logits,
    mistakes=(
        Mistake(
            "not normalised",
            "These are dot products, not cosines: long vectors win. Did you bring both sides to length 1?",
            lambda i, t, s: i @ t.T / s,
        ),
        Mistake(
            "images not normalised",
            "The texts have length 1, the images have not: normalise both sides.",
            lambda i, t, s: i @ F.normalize(t, dim=-1).T / s,
        ),
        Mistake(
            "texts not normalised",
            "The images have length 1, the texts have not: normalise both sides.",
            lambda i, t, s: F.normalize(i, dim=-1) @ t.T / s,
        ),
        Mistake(
            "normalised along the batch",
            "The columns were brought to length 1 instead of the rows: each vector lies along the last dimension "
            "(dim=-1).",
            lambda i, t, s: F.normalize(i, dim=0) @ F.normalize(t, dim=0).T / s,
        ),
        Mistake(
            "normalised over everything",
            "The whole matrix was divided by one norm: norm() needs dim=-1 and keepdim=True to give one length per "
            "row.",
            lambda i, t, s: (i / i.norm()) @ (t / t.norm()).T / s,
        ),
        Mistake(
            "temperature multiplied",
            "Did you multiply by the temperature? A low temperature makes the logits larger.",
            lambda i, t, s: similarity_logits(i, t, 1 / s),
        ),
        Mistake(
            "temperature left out",
            "These are the cosines alone: the temperature is missing.",
            lambda i, t, s: similarity_logits(i, t, 1.0),
        ),
        Mistake(
            "temperature divided twice",
            "Did you divide by the temperature twice, once on each side?",
            lambda i, t, s: similarity_logits(i, t, s * s),
        ),
        Mistake(
            "transposed",
            "Rows should be images and columns texts; yours are the other way round.",
            lambda i, t, s: similarity_logits(t, i, s),
        ),
        Mistake(
            "softmax",
            "These are probabilities: logits are what goes into a softmax, so return them before it.",
            lambda i, t, s: similarity_logits(i, t, s).softmax(dim=-1),
        ),
    ),
    explanation="A temperature of 0.07 stretches cosines from [-1, 1] to [-14.3, 14.3]: room enough for a sharp "
    "softmax.",
)


# 06.2 ---------------------------------------------------------------------------------------------------------------


def loss_cases(seed: int) -> list[Case]:
    two = {
        "image_embeds": torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        "text_embeds": torch.tensor([[0.6, 0.8], [0.0, 1.0]]),
        "logit_scale": torch.tensor(2.0),
    }
    alike = F.normalize(normal(seed + 5, 1, 3), dim=-1).expand(4, 3).contiguous()
    return [
        Case("two pairs worked out by hand", two),
        Case("five pairs at CLIP's first scale", pairs(seed + 1, 5, 8) | {"logit_scale": torch.tensor(1 / 0.07)}),
        Case(
            "embeddings that are all alike, where the loss is log 4",
            {"image_embeds": alike, "text_embeds": alike.clone(), "logit_scale": torch.tensor(10.0)},
        ),
    ]


def _directions(i: torch.Tensor, t: torch.Tensor, s: torch.Tensor, **how: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The two cross-entropies of the contrastive loss."""
    logits, own = s * i @ t.T, torch.arange(len(i))
    return F.cross_entropy(logits, own, **how), F.cross_entropy(logits.T, own, **how)


def _no_diagonal(i: torch.Tensor, t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    logits = s * i @ t.T
    others = logits.masked_fill(torch.eye(len(i), dtype=torch.bool), -torch.inf)
    own = logits.diagonal()
    return ((others.logsumexp(1) - own).mean() + (others.logsumexp(0) - own).mean()) / 2


CLIP_LOSS = Exercise(
    id="06.2",
    title="The symmetric contrastive loss",
    name="clip_loss",
    signature="def clip_loss(image_embeds: Tensor, text_embeds: Tensor, logit_scale: Tensor) -> Tensor",
    asked="function",
    difficulty=2,
    minutes=12,
    points=3,
    hints=(
        "Row i of the logits is a classification: which of the B texts belongs to image i? What is the right class of "
        "row i?",
        "The right class of row i is i: labels = torch.arange(B). F.cross_entropy(logits, labels) is one half of the "
        "loss; which matrix gives the other half, where each text looks for its image?",
        "logits = logit_scale * image_embeds @ text_embeds.T; the loss is the mean of F.cross_entropy(logits, labels) "
        "and F.cross_entropy(logits.T, labels).",
    ),
    cases=loss_cases,
    reference=clip_loss,
    mistakes=(
        Mistake(
            "images to texts only",
            "Only one direction is there: each image looks for its text. Each text should look for its image as well.",
            lambda i, t, s: _directions(i, t, s)[0],
        ),
        Mistake(
            "texts to images only",
            "Only one direction is there: each text looks for its image. Each image should look for its text as well.",
            lambda i, t, s: _directions(i, t, s)[1],
        ),
        Mistake(
            "not halved",
            "The two directions are added: the loss is their mean, so divide by 2.",
            lambda i, t, s: sum(_directions(i, t, s)),
        ),
        Mistake(
            "divided by the scale",
            "Did you divide by logit_scale? It is 1 / temperature already: multiply by it.",
            lambda i, t, s: clip_loss(i, t, 1 / s),
        ),
        Mistake(
            "exponentiated twice",
            "Did you take exp(logit_scale)? It comes exponentiated already; the model keeps its logarithm.",
            lambda i, t, s: clip_loss(i, t, s.exp()),
        ),
        Mistake(
            "scale left out",
            "The scale is missing: without it the logits are cosines, and the softmax can hardly tell them apart.",
            lambda i, t, s: clip_loss(i, t, torch.ones_like(s)),
        ),
        Mistake(
            "scaled twice",
            "Did you multiply by logit_scale twice, once on each side?",
            lambda i, t, s: clip_loss(i, t, s * s),
        ),
        Mistake(
            "summed over the batch",
            "The terms of the batch are added up: take their mean, so that the loss does not grow with the batch.",
            lambda i, t, s: sum(_directions(i, t, s, reduction="sum")) / 2,
        ),
        Mistake(
            "softmax before the cross-entropy",
            "Is there a softmax before F.cross_entropy? That function takes logits and applies the softmax itself.",
            lambda i, t, s: (
                (
                    F.cross_entropy((s * i @ t.T).softmax(1), torch.arange(len(i)))
                    + F.cross_entropy((s * i @ t.T).T.softmax(1), torch.arange(len(i)))
                )
                / 2
            ),
        ),
        Mistake(
            "all labels 0",
            "Every row has the label 0, so that all images should match the first text: row i belongs to column i.",
            lambda i, t, s: (
                (
                    F.cross_entropy(s * i @ t.T, torch.zeros(len(i), dtype=torch.long))
                    + F.cross_entropy((s * i @ t.T).T, torch.zeros(len(i), dtype=torch.long))
                )
                / 2
            ),
        ),
        Mistake(
            "wrong sign",
            "The loss has the wrong sign: minimising it would push matching pairs apart. It is minus the "
            "log-probability.",
            lambda i, t, s: -clip_loss(i, t, s),
        ),
        Mistake(
            "partner left out of the denominator",
            "The right partner is missing from the denominator: the softmax runs over all B candidates, the right one "
            "included.",
            _no_diagonal,
        ),
        Mistake(
            "images compared with images",
            "Are images compared with images? The logits compare image_embeds with text_embeds.",
            lambda i, t, s: clip_loss(i, i, s),
        ),
    ),
    explanation="Guessing costs log B: a loss that stays there has learnt nothing. Compare with open_clip's ClipLoss.",
)


# 06.3 ---------------------------------------------------------------------------------------------------------------

READING = {
    "matrix": "b",
    "curve": "c",
    "temperature": "b",
    "temperature_because": "a",
    "binding": "d",
    "binding_because": "c",
}

_WHY_NOT = {
    ("matrix", "a"): "A model that confused colours would be high wherever two colours meet; here two captions are "
    "the same.",
    ("matrix", "c"): "A temperature scales every cell alike: it cannot raise two cells and leave the others.",
    ("matrix", "d"): "If texts and images were shifted against each other, the diagonal would be low; it is high.",
    ("curve", "a"): "A model that had hardly moved would not have embeddings that all point the same way.",
    ("curve", "b"): "Over-fitting would drive this loss on the training batch towards 0; it settles near log 64.",
    ("curve", "d"): "log 64 is the loss of guessing among 64, far from the least possible, which is 0.",
    ("temperature", "a"): "The embeddings are normalised, so they have no length that could take over the scale's "
    "work.",
    ("temperature", "c"): "Logits between -1 and 1 are small: nothing can overflow or diverge.",
    ("temperature", "d"): "A flat softmax pulls on all negatives alike, and its loss has a floor far above 0: work "
    "that out for a perfect model.",
    ("temperature_because", "b"): "Small logits make for small, bounded derivatives.",
    ("temperature_because", "c"): "Softmax ignores a shift of all logits, not a scaling: doubling them makes it "
    "sharper.",
    ("temperature_because", "d"): "The number of negatives is the same at every temperature.",
    ("binding", "a"): "A longer vector could hold more, yet nothing in the loss would ask it to.",
    ("binding", "b"): "A lower temperature sharpens the comparison with what is in the batch; the exchanged caption is "
    "not.",
    ("binding", "c"): "Averaging templates smooths over wording; both captions gain alike.",
    ("binding_because", "a"): "The text encoder is a transformer with position embeddings: it can tell word order if "
    "it has to.",
    ("binding_because", "b"): "Zero-shot classification of colours works well: the colours are seen.",
    ("binding_because", "d"): "Lengths are indeed ignored, but the two captions could still point in different "
    "directions.",
}  # fmt: skip


READ = Exercise(
    id="06.3",
    title="Read a figure, choose and justify",
    name="answers_06_3",
    signature="answers_06_3: dict[str, str]",
    asked="value",
    difficulty=2,
    minutes=10,
    points=2,
    hints=(
        "For the matrix, read the captions beside it. For the curve, compute log(64).",
        "For the temperature: a perfect model has cosine 1 on the diagonal and at best -1 elsewhere. Put these into "
        "the loss.",
        "For the binding: a loss teaches only what it needs to tell apart the members of a batch. What would a bag of "
        "words get wrong in a random batch?",
    ),
    cases=lambda seed: [Case("all six questions")],
    reference=READING,
    mistakes=wrong_choices(_WHY_NOT),
    keys={key: ("a", "b", "c", "d") for key in READING},
    explanation="At scale 1 a perfect model still pays log(1 + 63 exp(-2)), about 2.25, in a batch of 64. Two pairs "
    "with one caption are false negatives. A bag of words wins a random batch, so binding is not learnt.",
)


# 06.4 ---------------------------------------------------------------------------------------------------------------


class ByteTextEncoder(nn.Module):
    """A frozen text encoder: N sentences -> `(N, D)`, not normalised; a longer sentence gives a longer vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(256, width)

    def forward(self, sentences: list[str]) -> torch.Tensor:
        if isinstance(sentences, str):
            raise TypeError("encode_text takes a list of sentences, and got one string: put it into a list")
        rows = []
        for sentence in sentences:
            ids = torch.tensor(list(sentence.encode()), device=self.table.weight.device)
            place = torch.arange(len(ids), device=ids.device).to(self.table.weight.dtype)
            rows.append((self.table(ids) * (1 + torch.cos(0.7 * place))[:, None]).sum(dim=0))
        return torch.stack(rows)


def zero_shot_logits(
    image_features: torch.Tensor, encode_text: nn.Module, class_names: list[str], templates: list[str]
) -> torch.Tensor:
    """The library's classifier, which takes a model and a tokenizer, on an encoder that takes sentences."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encode_text

        def encode_text(self, input_ids: torch.Tensor) -> torch.Tensor:
            return self.encoder([sentences[row] for row in input_ids.flatten().tolist()])

    sentences: list[str] = []

    def tokenizer(texts: list[str]) -> torch.Tensor:
        sentences.extend(texts)
        return torch.arange(len(texts))[:, None]

    classifier = text_classifier(Model(), tokenizer, class_names, templates)
    return F.normalize(image_features, dim=-1) @ classifier.T.to(image_features)


def text_encoder(seed: int, width: int) -> Any:
    """The encoder as a part that can be sent to where the learner's code runs."""
    return given(ByteTextEncoder, {"width": width}, {"table.weight": normal(seed, 256, width)})


def zero_shot_cases(seed: int) -> list[Case]:
    return [
        Case(
            "two classes and one template",
            {
                "image_features": 2 * normal(seed, 2, 4),
                "encode_text": text_encoder(seed + 1, 4),
                "class_names": ["cube", "sphere"],
                "templates": ["a picture of a {}"],
            },
        ),
        Case(
            "three classes and two templates of different length",
            {
                "image_features": 3 * normal(seed + 2, 4, 6),
                "encode_text": text_encoder(seed + 3, 6),
                "class_names": ["red cube", "blue sphere", "green star"],
                "templates": ["a {}", "a small picture in which one can see a {} in front of a plain wall"],
            },
        ),
    ]


def _ensemble(
    image_features: torch.Tensor,
    encode_text: nn.Module,
    class_names: list[str],
    templates: list[str],
    before: bool = True,
    after: bool = True,
    images: bool = True,
) -> torch.Tensor:
    """Prompt ensembling with its three normalisations, each of which a learner may leave out."""

    def unit(x: torch.Tensor, wanted: bool) -> torch.Tensor:
        return F.normalize(x, dim=-1) if wanted else x

    classes = [unit(encode_text([t.format(name) for t in templates]), before).mean(dim=0) for name in class_names]
    return unit(image_features, images) @ unit(torch.stack(classes), after).T


def _mixed_up(i: torch.Tensor, e: nn.Module, names: list[str], templates: list[str]) -> torch.Tensor:
    """All templates of a class come one after the other, and are taken for all classes of a template."""
    embeds = F.normalize(e([t.format(name) for name in names for t in templates]), dim=-1)
    classes = embeds.view(len(templates), len(names), -1).mean(dim=0)
    return F.normalize(i, dim=-1) @ F.normalize(classes, dim=-1).T


ZERO_SHOT = Exercise(
    id="06.4",
    title="Zero-shot classification with prompt ensembling",
    name="zero_shot_logits",
    signature="def zero_shot_logits(image_features: Tensor, encode_text: Callable[[list[str]], Tensor], "
    "class_names: list[str], templates: list[str]) -> Tensor",
    asked="function",
    difficulty=3,
    minutes=14,
    points=3,
    hints=(
        "Make one vector per class first: say the class in every template, encode the sentences, and average what "
        "comes out.",
        "A longer vector would count more in the average: bring every sentence's vector to length 1 before the mean. "
        "The mean of unit vectors is shorter than 1: bring it to length 1 again.",
        "For one class: F.normalize(F.normalize(encode_text([t.format(name) for t in templates]), dim=-1).mean(dim=0), "
        "dim=-1). Stack the classes to (C, D), normalise the images too, and multiply.",
    ),
    cases=zero_shot_cases,
    reference=zero_shot_logits,
    mistakes=(
        Mistake(
            "not normalised before the mean",
            "Sentences of a class are averaged before each has length 1: those with long vectors outweigh the others.",
            lambda i, e, n, t: _ensemble(i, e, n, t, before=False),
        ),
        Mistake(
            "not normalised after the mean",
            "The mean of unit vectors is shorter than 1, and more so where templates disagree: normalise each class "
            "again after the mean.",
            lambda i, e, n, t: _ensemble(i, e, n, t, after=False),
        ),
        Mistake(
            "never normalised the texts",
            "The texts are not normalised at all: cosines need length 1 on both sides.",
            lambda i, e, n, t: _ensemble(i, e, n, t, before=False, after=False),
        ),
        Mistake(
            "images not normalised",
            "The classes have length 1, the images have not: the result should be cosines, between -1 and 1.",
            lambda i, e, n, t: _ensemble(i, e, n, t, images=False),
        ),
        Mistake(
            "first template only",
            "Only the first template is used: average over all of them.",
            lambda i, e, n, t: _ensemble(i, e, n, t[:1]),
        ),
        Mistake(
            "last template only",
            "Only the last template counts: is the result of the loop overwritten each time round?",
            lambda i, e, n, t: _ensemble(i, e, n, t[-1:]),
        ),
        Mistake(
            "names without templates",
            "The bare class names are encoded: put each into the templates with template.format(name).",
            lambda i, e, n, t: _ensemble(i, e, n, ["{}"]),
        ),
        Mistake(
            "template not filled in",
            "The templates are encoded with {} still in them, so that all classes are alike: use "
            "template.format(name).",
            lambda i, e, n, t: _ensemble(i, e, n, [one.replace("{}", "{{}}") for one in t]),
        ),
        Mistake(
            "classes and templates mixed up",
            "Sentences of different classes are averaged together: check the order of the sentences against the view "
            "or reshape that follows.",
            _mixed_up,
        ),
        Mistake(
            "softmax",
            "These are probabilities: return the cosines.",
            lambda i, e, n, t: _ensemble(i, e, n, t).softmax(dim=-1),
        ),
        Mistake(
            "best template instead of the mean",
            "The best-matching template is taken for each class; ensembling averages the vectors.",
            lambda i, e, n, t: torch.stack([_ensemble(i, e, n, [one]) for one in t]).amax(dim=0),
        ),
    ),
    equivalents={
        "classes.append(embeds.sum(dim=0))": "a sum points where the mean points",
    },
    explanation="The classifier is made once and costs nothing afterwards: 80 templates are as fast as one.",
)


# 06.5 ---------------------------------------------------------------------------------------------------------------


def siglip_cases(seed: int) -> list[Case]:
    two = {
        "image_embeds": torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        "text_embeds": torch.tensor([[0.6, 0.8], [0.0, 1.0]]),
        "logit_scale": torch.tensor(2.0),
        "logit_bias": torch.tensor(-1.0),
    }
    start = {"logit_scale": torch.tensor(10.0), "logit_bias": torch.tensor(-10.0)}
    return [
        Case("two pairs worked out by hand", two),
        Case("five pairs at SigLIP's first scale and bias", pairs(seed + 1, 5, 8) | start),
    ]


def _signs(n: int) -> torch.Tensor:
    return 2 * torch.eye(n) - 1


SIGLIP_LOSS = Exercise(
    id="06.5",
    title="SigLIP: a yes or no for every pairing",
    name="siglip_loss",
    signature="def siglip_loss(image_embeds: Tensor, text_embeds: Tensor, logit_scale: Tensor, logit_bias: Tensor) -> "
    "Tensor",
    asked="function",
    difficulty=3,
    minutes=14,
    points=3,
    hints=(
        "Each of the B x B cells is its own question, with the answer yes on the diagonal and no elsewhere. Write the "
        "answers as a matrix z of +1 and -1.",
        "The probability of the right answer in a cell is sigmoid(z * logit). The loss adds up -log of it over all B x "
        "B cells and divides by B, not by B * B.",
        "z = 2 * torch.eye(B) - 1; -F.logsigmoid(z * (logit_scale * image_embeds @ text_embeds.T + logit_bias)).sum() "
        "/ B. Why logsigmoid and not log(sigmoid)? Try a logit of -120.",
    ),
    cases=siglip_cases,
    reference=siglip_loss,
    mistakes=(
        Mistake(
            "mean over all cells",
            "The sum is divided by B * B; SigLIP divides by B, the number of pairs, so that the negatives keep their "
            "weight.",
            lambda i, t, s, b: siglip_loss(i, t, s, b) / len(i),
        ),
        Mistake(
            "not divided by the batch",
            "The sum over all cells is not divided by the number of pairs B.",
            lambda i, t, s, b: siglip_loss(i, t, s, b) * len(i),
        ),
        Mistake(
            "negatives left out",
            "Only the diagonal is counted: the other cells are questions too, with the answer no.",
            lambda i, t, s, b: -F.logsigmoid((s * i @ t.T + b).diagonal()).mean(),
        ),
        Mistake(
            "all cells taken for positive",
            "Every cell is taken for a yes: off the diagonal the sign z is -1.",
            lambda i, t, s, b: -F.logsigmoid(s * i @ t.T + b).sum() / len(i),
        ),
        Mistake(
            "0 and 1 for signs",
            "Is z 0 off the diagonal? It should be -1 there; with 0 each of those cells costs log 2 whatever the "
            "logit.",
            lambda i, t, s, b: -F.logsigmoid(torch.eye(len(i)) * (s * i @ t.T + b)).sum() / len(i),
        ),
        Mistake(
            "bias outside the sign",
            "The bias is added after the sign: it belongs to the logit, so z multiplies both.",
            lambda i, t, s, b: -F.logsigmoid(_signs(len(i)) * (s * i @ t.T) + b).sum() / len(i),
        ),
        Mistake(
            "bias left out",
            "The bias is missing: it starts low because nearly every pairing is a no.",
            lambda i, t, s, b: siglip_loss(i, t, s, 0 * b),
        ),
        Mistake(
            "bias subtracted",
            "The bias is subtracted: add it, its value is negative already.",
            lambda i, t, s, b: siglip_loss(i, t, s, -b),
        ),
        Mistake(
            "bias scaled",
            "The bias is multiplied by the scale: scale the cosine first, then add the bias.",
            lambda i, t, s, b: siglip_loss(i, t, s, s * b),
        ),
        Mistake(
            "exponentiated twice",
            "Did you take exp(logit_scale)? It comes exponentiated already.",
            lambda i, t, s, b: siglip_loss(i, t, s.exp(), b),
        ),
        Mistake(
            "divided by the scale",
            "Did you divide by logit_scale? It is 1 / temperature already: multiply by it.",
            lambda i, t, s, b: siglip_loss(i, t, 1 / s, b),
        ),
        Mistake(
            "wrong sign",
            "The loss has the wrong sign: it is minus the log-probability of the right answers.",
            lambda i, t, s, b: -siglip_loss(i, t, s, b),
        ),
        Mistake(
            "signs exchanged",
            "The signs are the wrong way round: +1 on the diagonal, -1 elsewhere.",
            lambda i, t, s, b: -F.logsigmoid(-_signs(len(i)) * (s * i @ t.T + b)).sum() / len(i),
        ),
        Mistake(
            "log of sigmoid",
            "log(sigmoid(x)) is minus infinity as soon as the sigmoid rounds to 0, at about x = -104: F.logsigmoid(x) "
            "is the same and safe.",
            lambda i, t, s, b: -torch.log(torch.sigmoid(_signs(len(i)) * (s * i @ t.T + b))).sum() / len(i),
        ),
        Mistake(
            "softmax instead",
            "This is CLIP's loss: in SigLIP no softmax ties the cells of a row together.",
            lambda i, t, s, b: clip_loss(i, t, s),
        ),
    ),
    explanation="No cell needs any other, so the batch can be cut up over many devices without a global softmax.",
)


# 06.6 ---------------------------------------------------------------------------------------------------------------


class CLIPHead(nn.Module):
    """All of CLIP that is neither of its encoders; names and sizes as in the exercise."""

    def __init__(self, vision_width: int, text_width: int, embed_dim: int) -> None:
        super().__init__()
        self.post_layernorm = nn.LayerNorm(vision_width)
        self.visual_projection = nn.Linear(vision_width, embed_dim, bias=False)
        self.final_layer_norm = nn.LayerNorm(text_width)
        self.text_projection = nn.Linear(text_width, embed_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(
        self, image_hidden: torch.Tensor, text_hidden: torch.Tensor, input_ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        image_embeds = self.visual_projection(self.post_layernorm(self.image_token(image_hidden)))
        text_embeds = self.text_projection(self.final_layer_norm(self.text_token(text_hidden, input_ids)))
        logits_per_image = self.scale() * self.unit(image_embeds) @ self.unit(text_embeds).T
        return logits_per_image, logits_per_image.T

    # The steps that a likely mistake changes.
    def image_token(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden[:, 0]

    def text_token(self, hidden: torch.Tensor, input_ids: torch.Tensor) -> torch.Tensor:
        return hidden[torch.arange(len(hidden)), input_ids.argmax(dim=-1)]

    def unit(self, embeds: torch.Tensor) -> torch.Tensor:
        return F.normalize(embeds, dim=-1)

    def scale(self) -> torch.Tensor:
        return self.logit_scale.exp()


class _ImageMean(CLIPHead):
    def image_token(self, hidden):
        return hidden.mean(dim=1)


class _ImageLast(CLIPHead):
    def image_token(self, hidden):
        return hidden[:, -1]


class _TextLast(CLIPHead):
    def text_token(self, hidden, input_ids):
        return hidden[:, -1]


class _TextFirst(CLIPHead):
    def text_token(self, hidden, input_ids):
        return hidden[:, 0]


class _TextMean(CLIPHead):
    def text_token(self, hidden, input_ids):
        return hidden.mean(dim=1)


class _TextBefore(CLIPHead):
    def text_token(self, hidden, input_ids):
        return hidden[torch.arange(len(hidden)), input_ids.argmax(dim=-1) - 1]


class _TextBeforePadding(CLIPHead):
    def text_token(self, hidden, input_ids):
        return hidden[torch.arange(len(hidden)), (input_ids != 0).sum(dim=-1)]


class _NoUnit(CLIPHead):
    def unit(self, embeds):
        return embeds


class _UnitColumns(CLIPHead):
    def unit(self, embeds):
        return F.normalize(embeds, dim=0)


class _PlainScale(CLIPHead):
    def scale(self):
        return self.logit_scale


class _DividedScale(CLIPHead):
    def scale(self):
        return (-self.logit_scale).exp()


class _NoScale(CLIPHead):
    def scale(self):
        return torch.ones_like(self.logit_scale)


class _Probabilities(CLIPHead):
    def forward(self, *inputs):
        return tuple(logits.softmax(dim=-1) for logits in super().forward(*inputs))


class _Exchanged(CLIPHead):
    def forward(self, *inputs):
        return super().forward(*inputs)[::-1]


class _NotTransposed(CLIPHead):
    def forward(self, *inputs):
        logits = super().forward(*inputs)[0]
        return logits, logits


class _NoLayerNorms(CLIPHead):
    def forward(self, image_hidden, text_hidden, input_ids):
        image = self.visual_projection(image_hidden[:, 0])
        text = self.text_projection(self.text_token(text_hidden, input_ids))
        logits = self.scale() * self.unit(image) @ self.unit(text).T
        return logits, logits.T


def head_case(seed: int, about: str, batch: int, length: int, sizes: tuple[int, int, int], **more: Any) -> Case:
    """A case of the module: captions of different lengths, begun by 62, ended by 63 and padded with 0 to `length`."""
    vision, text, embed = sizes
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randperm(length - 2, generator=generator)[:batch] + 1
    ids = torch.randint(1, 62, (batch, length), generator=generator)
    ids[:, 0] = 62
    ids[torch.arange(length)[None, :] > ends[:, None]] = 0
    ids[torch.arange(batch), ends] = 63
    state = {
        "post_layernorm.weight": 1 + 0.3 * normal(seed + 1, vision),
        "post_layernorm.bias": 0.3 * normal(seed + 2, vision),
        "visual_projection.weight": normal(seed + 3, embed, vision),
        "final_layer_norm.weight": 1 + 0.3 * normal(seed + 4, text),
        "final_layer_norm.bias": 0.3 * normal(seed + 5, text),
        "text_projection.weight": normal(seed + 6, embed, text),
        "logit_scale": torch.tensor(1.7),
    }
    inputs = {
        "image_hidden": 2 * normal(seed + 7, batch, 5, vision) + 1,
        "text_hidden": 2 * normal(seed + 8, batch, length, text) - 1,
        "input_ids": ids,
    }
    construct = {"vision_width": vision, "text_width": text, "embed_dim": embed}
    return Case(about, inputs, construct=construct, state=state, **more)


def head_cases(seed: int) -> list[Case]:
    return [
        head_case(
            100 * seed, "two pictures with captions of different lengths", 2, 6, (4, 3, 2), initial=("logit_scale",)
        ),
        head_case(100 * seed + 10, "five pictures, wider encoders", 5, 9, (12, 8, 6)),
    ]


HEAD = Exercise(
    id="06.6",
    title="From two encoders to CLIP",
    name="CLIPHead",
    signature="class CLIPHead(nn.Module)",
    asked="module",
    difficulty=4,
    minutes=18,
    points=4,
    hints=(
        "Follow one picture: its class token is image_hidden[:, 0]; layer norm, then projection. And one caption: at "
        "which position does its summary stand, if the mask is causal and the caption ends before the padding?",
        "The end-of-text token has the highest id of the vocabulary, so its position is input_ids.argmax(dim=-1). To "
        "take another position from every row, index with two tensors: text_hidden[torch.arange(B), positions].",
        "image = F.normalize(self.visual_projection(self.post_layernorm(image_hidden[:, 0])), dim=-1), the text "
        "likewise; logits = self.logit_scale.exp() * image @ text.T; return logits, logits.T.",
    ),
    cases=head_cases,
    reference=CLIPHead,
    mistakes=(
        Mistake(
            "last text token",
            "The text is read at its last position, which is padding for all but the longest caption: read it where "
            "the end-of-text token stands.",
            _TextLast,
        ),
        Mistake(
            "first text token",
            "The text is read at its first position: the mask is causal, so that position has seen nothing but itself.",
            _TextFirst,
        ),
        Mistake(
            "mean of the text",
            "The text's positions are averaged, padding included: CLIP reads the end-of-text position alone.",
            _TextMean,
        ),
        Mistake(
            "one before the end",
            "The text is read one position before the end-of-text token: argmax gives its position already.",
            _TextBefore,
        ),
        Mistake(
            "one after the end",
            "The text is read one position after the end-of-text token: counting the tokens gives its position plus "
            "one.",
            _TextBeforePadding,
        ),
        Mistake(
            "mean of the image",
            "The image's tokens are averaged: CLIP's vision transformer reads the class token, the first.",
            _ImageMean,
        ),
        Mistake(
            "last image token",
            "The image is read at its last patch: the class token is the first, [:, 0].",
            _ImageLast,
        ),
        Mistake(
            "not normalised",
            "The embeddings are not brought to length 1 before they are compared.",
            _NoUnit,
        ),
        Mistake(
            "normalised along the batch",
            "The embeddings are normalised along the batch: the vector lies along the last dimension (dim=-1).",
            _UnitColumns,
        ),
        Mistake(
            "scale not exponentiated",
            "logit_scale is the logarithm of the scale: multiply by its exp().",
            _PlainScale,
        ),
        Mistake(
            "divided by the scale",
            "The logits are divided by exp(logit_scale): the scale is 1 / temperature, multiply by it.",
            _DividedScale,
        ),
        Mistake("scale left out", "The logits are not scaled: multiply by logit_scale.exp().", _NoScale),
        Mistake(
            "layer norms left out",
            "The layer norms are not applied: a pre-norm transformer needs one after its last block.",
            _NoLayerNorms,
        ),
        Mistake("softmax", "These are probabilities: return the logits.", _Probabilities),
        Mistake("exchanged", "The two results are exchanged: logits_per_image comes first.", _Exchanged),
        Mistake(
            "not transposed",
            "Both results are the same matrix: logits_per_text is the transpose of logits_per_image.",
            _NotTransposed,
        ),
    ),
    explanation="With a vision and a text transformer before it and clip_loss behind it, this is CLIP.",
)


# 06.7 ---------------------------------------------------------------------------------------------------------------

EMBED_DIM, PAIRS, HELD_BACK_PAIRS = 16, 256, 200
IMAGE_WIDTH, TEXT_WIDTH = 48, 40


def feature_pairs(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of matching pictures and captions, `(count, 48)` and `(count, 40)`, as two frozen encoders might give.

    Both hold the same 8 numbers of content, mixed differently, under 10 numbers each that the other knows nothing of.
    """

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    generator = torch.Generator().manual_seed(seed)
    content = draw(count, 8)
    return tuple(
        content @ draw(8, width) / 8**0.5
        + 1.2 * draw(count, 10) @ draw(10, width) / 10**0.5
        + 0.1 * draw(count, width)
        + 0.3 * draw(width)
        for width in (IMAGE_WIDTH, TEXT_WIDTH)
    )


def projection_case(seed: int, about: str) -> Case:
    """256 pairs to train on, 200 that only the judge sees, and where both projections start."""
    images, texts = feature_pairs(seed, PAIRS + HELD_BACK_PAIRS)
    return Case(
        about,
        {
            "image_features": images[:PAIRS],
            "text_features": texts[:PAIRS],
            "image_projection": 0.02 * normal(seed + 1, IMAGE_WIDTH, EMBED_DIM),
            "text_projection": 0.02 * normal(seed + 2, TEXT_WIDTH, EMBED_DIM),
            "logit_scale": 10.0,
        },
        hidden={"image_features": images[PAIRS:], "text_features": texts[PAIRS:]},
    )


def train_projections(
    image_features: torch.Tensor,
    text_features: torch.Tensor,
    image_projection: torch.Tensor,
    text_projection: torch.Tensor,
    logit_scale: float,
) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
    """Trains both projections by gradient descent on CLIP's loss."""
    projections = [start.clone().requires_grad_() for start in (image_projection, text_projection)]
    losses = []
    for _ in range(40):
        image_embeds = F.normalize(image_features @ projections[0], dim=-1)
        text_embeds = F.normalize(text_features @ projections[1], dim=-1)
        loss = clip_loss(image_embeds, text_embeds, logit_scale)
        losses.append(loss.item())
        with torch.no_grad():
            for projection, gradient in zip(projections, torch.autograd.grad(loss, projections), strict=True):
                projection -= 0.01 * gradient
    return *projections, losses


def _trained(value: Any) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
    """What was returned, if it can be judged."""
    if not isinstance(value, (tuple, list)) or len(value) != 3 or not all(type(w) is torch.Tensor for w in value[:2]):
        raise InputError("Three things are expected: image_projection, text_projection and the list of losses.")
    for name, weight, width in zip(("image", "text"), value, (IMAGE_WIDTH, TEXT_WIDTH), strict=False):
        wanted = (width, EMBED_DIM)
        if tuple(weight.shape) != wanted:
            turned = " It is transposed." if tuple(weight.shape) == wanted[::-1] else ""
            raise InputError(f"{name}_projection should have shape {wanted}, and has {tuple(weight.shape)}.{turned}")
        if not weight.is_floating_point() or not torch.isfinite(weight).all():
            raise InputError(f"{name}_projection should hold finite floating numbers: did the training diverge?")
    losses = value[2].tolist() if isinstance(value[2], torch.Tensor) and value[2].ndim == 1 else value[2]
    if isinstance(losses, (tuple, list)):
        losses = [one.item() if isinstance(one, torch.Tensor) and one.numel() == 1 else one for one in losses]
        if len(losses) > 1 and all(type(one) in (int, float) and math.isfinite(one) for one in losses):
            return value[0], value[1], losses
    raise InputError("The third thing should be a list of at least two finite numbers: the loss of every step.")


def _embeds(value: Any, features: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of length 1 of a split under the projections that were returned."""
    image_projection, text_projection, _ = _trained(value)
    image = features["image_features"] @ image_projection.float()
    text = features["text_features"] @ text_projection.float()
    return F.normalize(image, dim=-1), F.normalize(text, dim=-1)


def held_back_recall(case: Case, value: Any) -> float:
    """Mean recall@1 of both directions on the pairs that were held back."""
    image, text = _embeds(value, case.hidden)
    similarity = image @ text.T
    return (recall_at_k(similarity, 1) + recall_at_k(similarity.T, 1)) / 2


def _start(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """Both embeddings before the first step, not of length 1."""
    given = case.inputs
    return given["image_features"] @ given["image_projection"], given["text_features"] @ given["text_projection"]


def first_loss(case: Case) -> float:
    """CLIP's loss before the first step."""
    image, text = (F.normalize(part, dim=-1) for part in _start(case))
    return clip_loss(image, text, case.inputs["logit_scale"]).item()


def _first_loss_is_wrong(case: Case, value: Any) -> str:
    right, got = first_loss(case), _trained(value)[2][0]
    if math.isclose(right, got, rel_tol=1e-3):
        return ""
    return f"The first loss should be {right:.4f}, CLIP's loss at the given start over all pairs, and is {got:.4f}."


def _first_loss_is(other: Callable[..., torch.Tensor]) -> Callable[[Case, Any], bool]:
    """Whether the first loss is `other(case, image, text, logit_scale)` of the embeddings before the first step."""

    def sign(case: Case, value: Any) -> bool:
        return math.isclose(
            float(other(*_start(case), case.inputs["logit_scale"])), _trained(value)[2][0], rel_tol=1e-3
        )

    return sign


def _one_way(image: torch.Tensor, text: torch.Tensor, scale: float) -> torch.Tensor:
    logits = scale * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    return F.cross_entropy(logits, torch.arange(len(logits)))


def _both_ways(image: torch.Tensor, text: torch.Tensor, scale: float) -> torch.Tensor:
    return clip_loss(F.normalize(image, dim=-1), F.normalize(text, dim=-1), scale)


def _dot_products(image: torch.Tensor, text: torch.Tensor, scale: float) -> torch.Tensor:
    return (_long(image, text, scale) + _long(text, image, scale)) / 2


def _long(image: torch.Tensor, text: torch.Tensor, scale: float) -> torch.Tensor:
    return F.cross_entropy(scale * image @ text.T, torch.arange(len(image)))


def _pulled(image: torch.Tensor, text: torch.Tensor, scale: float) -> torch.Tensor:
    return F.cosine_similarity(image, text).mean()


TRAIN = Exercise(
    id="06.7",
    title="Train until unseen pairs find each other",
    name="train_projections",
    signature="def train_projections(image_features: Tensor, text_features: Tensor, image_projection: Tensor, "
    "text_projection: Tensor, logit_scale: float) -> tuple[Tensor, Tensor, list[float]]",
    asked="function",
    difficulty=5,
    minutes=20,
    points=4,
    hints=(
        "This is CLIP's training with the encoders frozen. What is trained are clones of the two projections with "
        "requires_grad; the loss is that of 06.2 on normalised embeddings; all 256 pairs are one batch.",
        "A step: compute the loss and keep loss.item(); get the gradients; move each projection against its gradient. "
        "Either torch.optim does that, or one line per projection under torch.no_grad().",
        "With plain gradient descent, a learning rate of about 0.01 and forty steps will do, since the projections "
        "start small; with Adam about 0.002. If the losses rise or jump, the rate is too high.",
    ),
    cases=lambda seed: [projection_case(1000 + seed, "features of pairs")],
    reference=train_projections,
    measure=Measure(
        f"recall@1 on {HELD_BACK_PAIRS} held-back pairs",
        held_back_recall,
        at_least=0.8,
        chance=1 / HELD_BACK_PAIRS,
        baseline=0.17,
        besides=_first_loss_is_wrong,
    ),
    mistakes=(
        Mistake(
            "one direction",
            "That is the loss of one direction only: CLIP's is the mean of both.",
            sign=lambda case, value: (
                _first_loss_is(_one_way)(case, value)
                or _first_loss_is(lambda image, text, scale: _one_way(text, image, scale))(case, value)
            ),
        ),
        Mistake(
            "not halved",
            "That is the sum of both directions: CLIP's loss is their mean.",
            sign=_first_loss_is(lambda image, text, scale: 2 * _both_ways(image, text, scale)),
        ),
        Mistake(
            "scale left out",
            "That is the loss of the bare cosines: they are multiplied by logit_scale first.",
            sign=_first_loss_is(lambda image, text, scale: _both_ways(image, text, 1.0)),
        ),
        Mistake(
            "not normalised",
            "That is the loss of dot products: bring the embeddings to length 1 first, in every step.",
            sign=_first_loss_is(_dot_products),
        ),
        Mistake(
            "no negatives",
            "That only pulls matching pairs together: without negatives nothing keeps the others apart. CLIP's loss is "
            "a cross-entropy over all pairs of the batch.",
            sign=lambda case, value: any(
                _first_loss_is(lambda *start, form=form: form(_pulled(*start)))(case, value)
                for form in (lambda cosine: -cosine, lambda cosine: 1 - cosine)
            ),
        ),
        Mistake(
            "a part of the pairs",
            "Is a smaller batch the reason? Every step here uses all the pairs.",
            sign=lambda case, value: 1.0 < _trained(value)[2][0] < 0.9 * first_loss(case),
        ),
        Mistake(
            "not trained",
            "The loss stays what it was. Does every step change the projections that the next one uses, and are those "
            "the ones that you return?",
            sign=lambda case, value: _trained(value)[2][-1] > 0.95 * _trained(value)[2][0],
        ),
        Mistake(
            "returned the start",
            "The losses fall, but what you return is no better than the start: return the projections that were "
            "trained.",
            sign=lambda case, value: torch.equal(_trained(value)[0], case.inputs["image_projection"]),
        ),
        Mistake(
            "unfinished",
            "The loss was still falling, or never fell smoothly: take more steps, or another learning rate.",
            sign=lambda case, value: held_back_recall(case, value) < 0.8,
        ),
    ),
    equivalents={
        "for _ in range(41):": MORE_STEPS,
        "for _ in range(39):": MORE_STEPS,
        "losses.append(loss)": A_TENSOR,
    },
    explanation="Two frozen encoders and two matrices: that is LiT's idea at its smallest, and the loop is CLIP's.",
    seconds=60.0,
)

EXERCISES = (LOGITS, CLIP_LOSS, READ, ZERO_SHOT, SIGLIP_LOSS, HEAD, TRAIN)
