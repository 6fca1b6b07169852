"""Answers to set 06: model solutions, right answers written differently, wrong ones that learners write.

A class is not given this file. Each answer stands alone: it uses `torch`, `nn`, `F`, `math` and what it defines itself,
so that its source can be put into a notebook as it is.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.practice.exercise import Mutant
from course_lib.practice.lesson_06.exercises import READING

# 06.1 ---------------------------------------------------------------------------------------------------------------


def logits(image_features: Tensor, text_features: Tensor, temperature: float) -> Tensor:
    image_embeds = F.normalize(image_features, dim=-1)
    text_embeds = F.normalize(text_features, dim=-1)
    return image_embeds @ text_embeds.T / temperature


def logits_by_loops(image_features, text_features, temperature):
    rows = []
    for image in image_features:
        row = []
        for text in text_features:
            row.append((image * text).sum() / (image.pow(2).sum().sqrt() * text.pow(2).sum().sqrt()) / temperature)
        rows.append(torch.stack(row))
    return torch.stack(rows)


def logits_in_double(image_features, text_features, temperature):
    images = image_features.double()
    texts = text_features.double()
    lengths = images.norm(dim=1, keepdim=True) * texts.norm(dim=1)
    return (torch.einsum("nd,md->nm", images, texts) / lengths / temperature).to(image_features.dtype)


def logits_on_own_copies(image_features, text_features, temperature):
    images, texts = image_features.clone(), text_features.clone()
    images /= image_features.norm(dim=-1, keepdim=True)
    texts /= text_features.norm(dim=-1, keepdim=True)
    return F.cosine_similarity(images[:, None], texts[None], dim=-1) / temperature


def logits_dot_products(image_features, text_features, temperature):
    return (image_features @ text_features.T) / temperature


def logits_normalised_columns(image_features, text_features, temperature):
    image_features = image_features / image_features.norm(dim=0)
    text_features = text_features / text_features.norm(dim=0)
    return image_features @ text_features.T / temperature


def logits_frobenius(image_features, text_features, temperature):
    image_features = image_features / image_features.norm()
    text_features = text_features / text_features.norm()
    return image_features @ text_features.T / temperature


def logits_times_temperature(image_features, text_features, temperature):
    return F.normalize(image_features, dim=1) @ F.normalize(text_features, dim=1).T * temperature


def logits_without_temperature(image_features, text_features, temperature):
    return F.cosine_similarity(image_features[:, None, :], text_features[None, :, :], dim=2)


def logits_texts_by_images(image_features, text_features, temperature):
    return F.normalize(text_features, dim=-1) @ F.normalize(image_features, dim=-1).T / temperature


def logits_probabilities(image_features, text_features, temperature):
    scores = F.normalize(image_features, dim=-1) @ F.normalize(text_features, dim=-1).T
    return F.softmax(scores / temperature, dim=1)


def logits_images_only(image_features, text_features, temperature):
    return F.normalize(image_features, dim=-1) @ text_features.T / temperature


def logits_divided_twice(image_features, text_features, temperature):
    images = F.normalize(image_features, dim=-1) / temperature
    texts = F.normalize(text_features, dim=-1) / temperature
    return images @ texts.T


def logits_in_place(image_features, text_features, temperature):
    image_features /= image_features.norm(dim=-1, keepdim=True)
    text_features /= text_features.norm(dim=-1, keepdim=True)
    return image_features @ text_features.T / temperature


def logits_in_place_on_copies(image_features, text_features, temperature):
    images, texts = image_features.clone(), text_features.clone()
    images /= images.norm(dim=-1, keepdim=True)
    texts /= texts.norm(dim=-1, keepdim=True)
    return images @ texts.T / temperature


def logits_no_return(image_features, text_features, temperature):
    F.normalize(image_features, dim=-1) @ F.normalize(text_features, dim=-1).T / temperature  # noqa: B018


def logits_rounded(image_features, text_features, temperature):
    similarity = F.normalize(image_features.half(), dim=-1) @ F.normalize(text_features.half(), dim=-1).T
    return similarity / temperature


# 06.2 ---------------------------------------------------------------------------------------------------------------


def loss(image_embeds: Tensor, text_embeds: Tensor, logit_scale: Tensor) -> Tensor:
    logits_per_image = logit_scale * image_embeds @ text_embeds.T
    labels = torch.arange(len(logits_per_image), device=logits_per_image.device)
    loss_images = F.cross_entropy(logits_per_image, labels)
    loss_texts = F.cross_entropy(logits_per_image.T, labels)
    return (loss_images + loss_texts) / 2


def loss_by_loops(image_embeds, text_embeds, logit_scale):
    total = 0.0
    count = len(image_embeds)
    for i in range(count):
        row = torch.stack([logit_scale * image_embeds[i].dot(text_embeds[j]) for j in range(count)])
        column = torch.stack([logit_scale * image_embeds[j].dot(text_embeds[i]) for j in range(count)])
        total = total + torch.logsumexp(row, 0) - row[i] + torch.logsumexp(column, 0) - column[i]
    return total / (2 * count)


def loss_by_log_softmax(image_embeds, text_embeds, logit_scale):
    logits = (image_embeds.double() @ text_embeds.double().t()).mul_(logit_scale.double())
    rows = logits.log_softmax(dim=1).diagonal()
    columns = logits.log_softmax(dim=0).diagonal()
    return -0.5 * (rows.mean() + columns.mean())


def loss_one_way(image_embeds, text_embeds, logit_scale):
    logits = logit_scale * image_embeds @ text_embeds.T
    return F.cross_entropy(logits, torch.arange(logits.shape[0]))


def loss_twice_the_same_way(image_embeds, text_embeds, logit_scale):
    logits = logit_scale * image_embeds @ text_embeds.T
    labels = torch.arange(logits.shape[0])
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits, labels)) / 2


def loss_other_way(image_embeds, text_embeds, logit_scale):
    logits_per_text = logit_scale * text_embeds @ image_embeds.T
    return -logits_per_text.log_softmax(dim=1).diag().mean()


def loss_not_halved(image_embeds, text_embeds, logit_scale):
    logits = logit_scale * image_embeds @ text_embeds.T
    labels = torch.arange(len(logits))
    return F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)


def loss_over_scale(image_embeds, text_embeds, logit_scale):
    logits = image_embeds @ text_embeds.T / logit_scale
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def loss_exp_again(image_embeds, text_embeds, logit_scale):
    logits = torch.exp(logit_scale) * image_embeds @ text_embeds.T
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def loss_without_scale(image_embeds, text_embeds, logit_scale):
    logits = torch.matmul(image_embeds, text_embeds.transpose(0, 1))
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def loss_double_softmax(image_embeds, text_embeds, logit_scale):
    logits = logit_scale * image_embeds @ text_embeds.T
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits.softmax(1), labels) + F.cross_entropy(logits.T.softmax(1), labels)) / 2


def loss_summed(image_embeds, text_embeds, logit_scale):
    logits = logit_scale * image_embeds @ text_embeds.T
    return -(logits.log_softmax(1).diagonal().sum() + logits.log_softmax(0).diagonal().sum()) / 2


def loss_zero_labels(image_embeds, text_embeds, logit_scale):
    logits = logit_scale * image_embeds @ text_embeds.T
    labels = torch.zeros(len(logits), dtype=torch.long)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def loss_no_minus(image_embeds, text_embeds, logit_scale):
    logits = logit_scale * image_embeds @ text_embeds.T
    return (logits.log_softmax(1).diagonal().mean() + logits.log_softmax(0).diagonal().mean()) / 2


def loss_number(image_embeds, text_embeds, logit_scale):
    logits = logit_scale.item() * image_embeds @ text_embeds.T
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def loss_detached(image_embeds, text_embeds, logit_scale):
    logits = logit_scale * image_embeds @ text_embeds.T
    labels = torch.arange(len(logits))
    return ((F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2).item()


def loss_per_pair(image_embeds, text_embeds, logit_scale):
    logits = logit_scale * image_embeds @ text_embeds.T
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels, reduction="none") + F.cross_entropy(logits.T, labels, reduction="none")) / 2


def loss_no_transpose(image_embeds, text_embeds, logit_scale):
    logits = logit_scale * image_embeds @ text_embeds
    return F.cross_entropy(logits, torch.arange(len(logits)))


# 06.3 ---------------------------------------------------------------------------------------------------------------


def choosing(**other: str) -> dict[str, str]:
    """The right choices with some exchanged for others."""
    return READING | other


# 06.4 ---------------------------------------------------------------------------------------------------------------


def zero_shot(
    image_features: Tensor,
    encode_text: Callable[[list[str]], Tensor],
    class_names: list[str],
    templates: list[str],
) -> Tensor:
    classes = []
    for name in class_names:
        sentences = [template.format(name) for template in templates]
        embeds = F.normalize(encode_text(sentences), dim=-1)
        classes.append(embeds.mean(dim=0))
    classifier = F.normalize(torch.stack(classes), dim=-1)
    return F.normalize(image_features, dim=-1) @ classifier.T


def zero_shot_at_once(image_features, encode_text, class_names, templates):
    sentences = [template.replace("{}", name) for template in templates for name in class_names]
    embeds = encode_text(sentences)
    embeds = embeds / embeds.norm(dim=1, keepdim=True)
    classes = embeds.reshape(len(templates), len(class_names), -1).sum(0)
    classes /= classes.norm(dim=1, keepdim=True)
    images = image_features / image_features.norm(dim=1, keepdim=True)
    return torch.einsum("nd,cd->nc", images, classes)


def zero_shot_one_sentence_at_a_time(image_features, encode_text, class_names, templates):
    scores = torch.zeros(len(image_features), len(class_names), dtype=torch.float64)
    for column, name in enumerate(class_names):
        mean = 0
        for template in templates:
            vector = encode_text([template.format(name)])[0].double()
            mean = mean + vector / vector.norm() / len(templates)
        for row, image in enumerate(image_features.double()):
            scores[row, column] = image.dot(mean) / image.norm() / mean.norm()
    return scores


def zero_shot_raw_mean(image_features, encode_text, class_names, templates):
    classes = []
    for name in class_names:
        embeds = encode_text([template.format(name) for template in templates])
        classes.append(embeds.mean(dim=0))
    classifier = F.normalize(torch.stack(classes), dim=-1)
    return F.normalize(image_features, dim=-1) @ classifier.T


def zero_shot_short_mean(image_features, encode_text, class_names, templates):
    images = F.normalize(image_features, dim=-1)
    scores = 0
    for template in templates:
        embeds = F.normalize(encode_text([template.format(name) for name in class_names]), dim=-1)
        scores = scores + images @ embeds.T
    return scores / len(templates)


def zero_shot_long_images(image_features, encode_text, class_names, templates):
    classes = []
    for name in class_names:
        embeds = F.normalize(encode_text([template.format(name) for template in templates]), dim=-1)
        classes.append(F.normalize(embeds.mean(dim=0), dim=0))
    return image_features @ torch.stack(classes).T


def zero_shot_first_template(image_features, encode_text, class_names, templates):
    classifier = F.normalize(encode_text([templates[0].format(name) for name in class_names]), dim=-1)
    return F.normalize(image_features, dim=-1) @ classifier.T


def zero_shot_overwritten(image_features, encode_text, class_names, templates):
    for template in templates:
        classifier = F.normalize(encode_text([template.format(name) for name in class_names]), dim=-1)
    return F.normalize(image_features, dim=-1) @ classifier.T


def zero_shot_bare_names(image_features, encode_text, class_names, templates):
    classifier = F.normalize(encode_text(class_names), dim=-1)
    return F.normalize(image_features, dim=-1) @ classifier.T


def zero_shot_wrong_view(image_features, encode_text, class_names, templates):
    sentences = [template.format(name) for name in class_names for template in templates]
    embeds = F.normalize(encode_text(sentences), dim=-1)
    classifier = F.normalize(embeds.view(len(templates), len(class_names), -1).mean(0), dim=-1)
    return F.normalize(image_features, dim=-1) @ classifier.T


def zero_shot_unfilled(image_features, encode_text, class_names, templates):
    classes = []
    for name in class_names:
        for template in templates:
            template.format(name)
        embeds = F.normalize(encode_text(templates), dim=-1)
        classes.append(F.normalize(embeds.mean(dim=0), dim=-1))
    return F.normalize(image_features, dim=-1) @ torch.stack(classes).T


def zero_shot_softmax(image_features, encode_text, class_names, templates):
    classes = []
    for name in class_names:
        embeds = F.normalize(encode_text([template.format(name) for template in templates]), dim=-1)
        classes.append(F.normalize(embeds.mean(dim=0), dim=-1))
    return (F.normalize(image_features, dim=-1) @ torch.stack(classes).T).softmax(dim=-1)


def zero_shot_classes(image_features, encode_text, class_names, templates):
    classes = []
    for name in class_names:
        embeds = F.normalize(encode_text([template.format(name) for template in templates]), dim=-1)
        classes.append(F.normalize(embeds.mean(dim=0), dim=-1))
    return (F.normalize(image_features, dim=-1) @ torch.stack(classes).T).argmax(dim=-1)


# 06.5 ---------------------------------------------------------------------------------------------------------------


def siglip(image_embeds: Tensor, text_embeds: Tensor, logit_scale: Tensor, logit_bias: Tensor) -> Tensor:
    logits = logit_scale * image_embeds @ text_embeds.T + logit_bias
    signs = 2 * torch.eye(len(logits), device=logits.device) - 1
    return -F.logsigmoid(signs * logits).sum() / len(logits)


def siglip_by_loops(image_embeds, text_embeds, logit_scale, logit_bias):
    total = 0.0
    for i, image in enumerate(image_embeds):
        for j, text in enumerate(text_embeds):
            logit = logit_scale * (image * text).sum() + logit_bias
            total = total + F.softplus(-logit if i == j else logit)
    return total / len(image_embeds)


def siglip_by_binary_cross_entropy(image_embeds, text_embeds, logit_scale, logit_bias):
    logits = image_embeds.mm(text_embeds.t()).mul(logit_scale).add(logit_bias)
    yes = torch.eye(logits.size(0), dtype=logits.dtype, device=logits.device)
    return F.binary_cross_entropy_with_logits(logits, yes, reduction="none").sum(dim=1).mean()


def siglip_mean(image_embeds, text_embeds, logit_scale, logit_bias):
    logits = logit_scale * image_embeds @ text_embeds.T + logit_bias
    labels = torch.eye(len(logits), dtype=logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, labels)


def siglip_sum(image_embeds, text_embeds, logit_scale, logit_bias):
    logits = logit_scale * image_embeds @ text_embeds.T + logit_bias
    labels = torch.eye(len(logits), dtype=logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="sum")


def siglip_positives(image_embeds, text_embeds, logit_scale, logit_bias):
    logits = logit_scale * (image_embeds * text_embeds).sum(dim=-1) + logit_bias
    return -F.logsigmoid(logits).mean()


def siglip_all_yes(image_embeds, text_embeds, logit_scale, logit_bias):
    logits = logit_scale * image_embeds @ text_embeds.T + logit_bias
    return -F.logsigmoid(logits).sum() / len(logits)


def siglip_zeros(image_embeds, text_embeds, logit_scale, logit_bias):
    logits = logit_scale * image_embeds @ text_embeds.T + logit_bias
    z = torch.eye(len(logits))
    return -F.logsigmoid(z * logits).sum() / len(logits)


def siglip_bias_outside(image_embeds, text_embeds, logit_scale, logit_bias):
    z = 2 * torch.eye(len(image_embeds)) - 1
    logits = z * logit_scale * (image_embeds @ text_embeds.T) + logit_bias
    return -F.logsigmoid(logits).sum() / len(logits)


def siglip_no_bias(image_embeds, text_embeds, logit_scale, logit_bias):
    z = 2 * torch.eye(len(image_embeds)) - 1
    return -F.logsigmoid(z * logit_scale * (image_embeds @ text_embeds.T)).sum() / len(z)


def siglip_minus_bias(image_embeds, text_embeds, logit_scale, logit_bias):
    logits = logit_scale * image_embeds @ text_embeds.T - logit_bias
    z = 2 * torch.eye(len(logits)) - 1
    return -F.logsigmoid(z * logits).sum() / len(logits)


def siglip_log_of_sigmoid(image_embeds, text_embeds, logit_scale, logit_bias):
    logits = logit_scale * image_embeds @ text_embeds.T + logit_bias
    z = 2 * torch.eye(len(logits)) - 1
    return -torch.log(torch.sigmoid(z * logits)).sum() / len(logits)


def siglip_softmax(image_embeds, text_embeds, logit_scale, logit_bias):
    logits = logit_scale * image_embeds @ text_embeds.T + logit_bias
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def siglip_signs_exchanged(image_embeds, text_embeds, logit_scale, logit_bias):
    logits = logit_scale * image_embeds @ text_embeds.T + logit_bias
    z = 1 - 2 * torch.eye(len(logits))
    return -F.logsigmoid(z * logits).sum() / len(logits)


def siglip_in_place(image_embeds, text_embeds, logit_scale, logit_bias):
    logit_scale *= 1.0
    logits = logit_scale * image_embeds @ text_embeds.T
    logits += logit_bias
    image_embeds.mul_(2)
    z = 2 * torch.eye(len(logits)) - 1
    return -F.logsigmoid(z * logits).sum() / len(logits)


# 06.6 ---------------------------------------------------------------------------------------------------------------


class Head(nn.Module):
    def __init__(self, vision_width: int, text_width: int, embed_dim: int) -> None:
        super().__init__()
        self.post_layernorm = nn.LayerNorm(vision_width)
        self.visual_projection = nn.Linear(vision_width, embed_dim, bias=False)
        self.final_layer_norm = nn.LayerNorm(text_width)
        self.text_projection = nn.Linear(text_width, embed_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, image_hidden: Tensor, text_hidden: Tensor, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        image_token = self.post_layernorm(image_hidden[:, 0])
        rows = torch.arange(len(text_hidden), device=text_hidden.device)
        text_token = self.final_layer_norm(text_hidden[rows, input_ids.argmax(dim=-1)])
        image_embeds = F.normalize(self.visual_projection(image_token), dim=-1)
        text_embeds = F.normalize(self.text_projection(text_token), dim=-1)
        logits_per_image = self.logit_scale.exp() * image_embeds @ text_embeds.T
        return logits_per_image, logits_per_image.T


class HeadByLoops(nn.Module):
    def __init__(self, vision_width, text_width, embed_dim):
        super().__init__()
        self.logit_scale = nn.Parameter(-torch.tensor(0.07).log())
        self.text_projection = nn.Linear(text_width, embed_dim, bias=False)
        self.visual_projection = nn.Linear(vision_width, embed_dim, bias=False)
        self.final_layer_norm = nn.LayerNorm(text_width)
        self.post_layernorm = nn.LayerNorm(vision_width)

    def forward(self, image_hidden, text_hidden, input_ids):
        images, texts = [], []
        for hidden in image_hidden:
            vector = self.visual_projection(self.post_layernorm(hidden))[0]
            images.append(vector / vector.norm())
        for hidden, ids in zip(text_hidden, input_ids.tolist(), strict=True):
            vector = self.text_projection(self.final_layer_norm(hidden))[ids.index(max(ids))]
            texts.append(vector / vector.norm())
        scale = torch.exp(self.logit_scale)
        logits = torch.stack([torch.stack([scale * image.dot(text) for text in texts]) for image in images])
        return [logits, logits.t()]


class HeadOfParameters(nn.Module):
    def __init__(self, vision_width, text_width, embed_dim):
        super().__init__()
        self.post_layernorm = nn.LayerNorm(vision_width, eps=1e-5)
        self.final_layer_norm = nn.LayerNorm(text_width, eps=1e-5)
        self.visual_projection = nn.Linear(vision_width, embed_dim, bias=False)
        self.text_projection = nn.Linear(text_width, embed_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.ones([]) * math.log(1 / 0.07))

    def forward(self, image_hidden, text_hidden, input_ids):
        at_end = F.one_hot((input_ids == 63).int().argmax(-1), input_ids.shape[1]).to(text_hidden)
        pooled = torch.einsum("bl,bld->bd", at_end, self.final_layer_norm(text_hidden))
        text = self.text_projection(pooled)
        image = self.visual_projection(self.post_layernorm(image_hidden.select(1, 0)))
        lengths = image.norm(dim=1)[:, None] * text.norm(dim=1)[None, :]
        per_image = image @ text.T * self.logit_scale.exp() / lengths
        per_text = text @ image.T * self.logit_scale.exp() / lengths.T
        return per_image, per_text


class HeadLastToken(Head):
    def forward(self, image_hidden, text_hidden, input_ids):
        image = F.normalize(self.visual_projection(self.post_layernorm(image_hidden[:, 0])), dim=-1)
        text = F.normalize(self.text_projection(self.final_layer_norm(text_hidden[:, -1])), dim=-1)
        logits = self.logit_scale.exp() * image @ text.T
        return logits, logits.T


class HeadFirstToken(Head):
    def forward(self, image_hidden, text_hidden, input_ids):
        image = F.normalize(self.visual_projection(self.post_layernorm(image_hidden[:, 0])), dim=-1)
        text = F.normalize(self.text_projection(self.final_layer_norm(text_hidden[:, 0])), dim=-1)
        logits = self.logit_scale.exp() * image @ text.T
        return logits, logits.T


class HeadPatchMean(Head):
    def forward(self, image_hidden, text_hidden, input_ids):
        ends = text_hidden[torch.arange(len(text_hidden)), input_ids.argmax(-1)]
        image = F.normalize(self.visual_projection(self.post_layernorm(image_hidden.mean(1))), dim=-1)
        text = F.normalize(self.text_projection(self.final_layer_norm(ends)), dim=-1)
        logits = self.logit_scale.exp() * image @ text.T
        return logits, logits.T


class HeadLogScale(Head):
    def forward(self, image_hidden, text_hidden, input_ids):
        ends = text_hidden[torch.arange(len(text_hidden)), input_ids.argmax(-1)]
        image = F.normalize(self.visual_projection(self.post_layernorm(image_hidden[:, 0])), dim=-1)
        text = F.normalize(self.text_projection(self.final_layer_norm(ends)), dim=-1)
        logits = self.logit_scale * image @ text.T
        return logits, logits.T


class HeadLongVectors(Head):
    def forward(self, image_hidden, text_hidden, input_ids):
        ends = text_hidden[torch.arange(len(text_hidden)), input_ids.argmax(-1)]
        image = self.visual_projection(self.post_layernorm(image_hidden[:, 0]))
        text = self.text_projection(self.final_layer_norm(ends))
        logits = self.logit_scale.exp() * image @ text.T
        return logits, logits.T


class HeadBare(Head):
    def forward(self, image_hidden, text_hidden, input_ids):
        ends = text_hidden[torch.arange(len(text_hidden)), input_ids.argmax(-1)]
        image = F.normalize(self.visual_projection(image_hidden[:, 0]), dim=-1)
        text = F.normalize(self.text_projection(ends), dim=-1)
        logits = self.logit_scale.exp() * image @ text.T
        return logits, logits.T


class HeadSameTwice(Head):
    def forward(self, image_hidden, text_hidden, input_ids):
        ends = text_hidden[torch.arange(len(text_hidden)), input_ids.argmax(-1)]
        image = F.normalize(self.visual_projection(self.post_layernorm(image_hidden[:, 0])), dim=-1)
        text = F.normalize(self.text_projection(self.final_layer_norm(ends)), dim=-1)
        logits = self.logit_scale.exp() * image @ text.T
        return logits, logits


class HeadOneLogits(Head):
    def forward(self, image_hidden, text_hidden, input_ids):
        ends = text_hidden[torch.arange(len(text_hidden)), input_ids.argmax(-1)]
        image = F.normalize(self.visual_projection(self.post_layernorm(image_hidden[:, 0])), dim=-1)
        text = F.normalize(self.text_projection(self.final_layer_norm(ends)), dim=-1)
        return self.logit_scale.exp() * image @ text.T


class HeadWithBias(nn.Module):
    def __init__(self, vision_width, text_width, embed_dim):
        super().__init__()
        self.post_layernorm = nn.LayerNorm(vision_width)
        self.visual_projection = nn.Linear(vision_width, embed_dim)
        self.final_layer_norm = nn.LayerNorm(text_width)
        self.text_projection = nn.Linear(text_width, embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, image_hidden, text_hidden, input_ids):
        ends = text_hidden[torch.arange(len(text_hidden)), input_ids.argmax(-1)]
        image = F.normalize(self.visual_projection(self.post_layernorm(image_hidden[:, 0])), dim=-1)
        text = F.normalize(self.text_projection(self.final_layer_norm(ends)), dim=-1)
        logits = self.logit_scale.exp() * image @ text.T
        return logits, logits.T


class HeadFrozenScale(Head):
    def forward(self, image_hidden, text_hidden, input_ids):
        ends = text_hidden[torch.arange(len(text_hidden)), input_ids.argmax(-1)]
        image = F.normalize(self.visual_projection(self.post_layernorm(image_hidden[:, 0])), dim=-1)
        text = F.normalize(self.text_projection(self.final_layer_norm(ends)), dim=-1)
        logits = math.exp(self.logit_scale.item()) * image @ text.T
        return logits, logits.T


class HeadColdStart(Head):
    def __init__(self, vision_width, text_width, embed_dim):
        super().__init__(vision_width, text_width, embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07))


# 06.7 ---------------------------------------------------------------------------------------------------------------


def training(
    image_features: Tensor, text_features: Tensor, image_projection: Tensor, text_projection: Tensor, logit_scale: float
) -> tuple[Tensor, Tensor, list[float]]:
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


def training_by_adam(image_features, text_features, image_projection, text_projection, logit_scale):
    image_layer, text_layer = nn.Linear(48, 16, bias=False), nn.Linear(40, 16, bias=False)
    image_layer.weight.data = image_projection.T.clone()
    text_layer.weight.data = text_projection.T.clone()
    optimizer = torch.optim.Adam([*image_layer.parameters(), *text_layer.parameters()], lr=2e-3)
    labels, losses = torch.arange(len(image_features)), []
    for _ in range(80):
        image_embeds = F.normalize(image_layer(image_features), dim=-1)
        text_embeds = F.normalize(text_layer(text_features), dim=-1)
        logits = logit_scale * image_embeds @ text_embeds.T
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        losses.append(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return image_layer.weight.detach().T, text_layer.weight.detach().T, torch.stack(losses)


def training_with_momentum(image_features, text_features, image_projection, text_projection, logit_scale):
    images, texts = image_features.double(), text_features.double()
    weights = [image_projection.double().clone(), text_projection.double().clone()]
    speed = [torch.zeros_like(weight) for weight in weights]
    curve = []
    for _ in range(60):
        for weight in weights:
            weight.requires_grad_()
        logits = logit_scale * F.normalize(images @ weights[0], dim=1) @ F.normalize(texts @ weights[1], dim=1).T
        loss = -(logits.log_softmax(0).diagonal().mean() + logits.log_softmax(1).diagonal().mean()) / 2
        curve.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        speed = [0.5 * velocity + gradient for velocity, gradient in zip(speed, gradients, strict=True)]
        weights = [(weight - 0.005 * velocity).detach() for weight, velocity in zip(weights, speed, strict=True)]
    return [*weights, tuple(curve)]


def training_one_way(image_features, text_features, image_projection, text_projection, logit_scale):
    projections = [start.clone().requires_grad_() for start in (image_projection, text_projection)]
    labels, losses = torch.arange(len(image_features)), []
    for _ in range(40):
        image_embeds = F.normalize(image_features @ projections[0], dim=-1)
        text_embeds = F.normalize(text_features @ projections[1], dim=-1)
        logits = logit_scale * image_embeds @ text_embeds.T
        loss = F.cross_entropy(logits, labels)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, projections)
        with torch.no_grad():
            for projection, gradient in zip(projections, gradients, strict=True):
                projection -= 0.01 * gradient
    return projections[0], projections[1], losses


def training_on_the_sum(image_features, text_features, image_projection, text_projection, logit_scale):
    projections = [start.clone().requires_grad_() for start in (image_projection, text_projection)]
    labels, losses = torch.arange(len(image_features)), []
    for _ in range(40):
        image_embeds = F.normalize(image_features @ projections[0], dim=-1)
        text_embeds = F.normalize(text_features @ projections[1], dim=-1)
        logits = logit_scale * image_embeds @ text_embeds.T
        loss = F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, projections)
        with torch.no_grad():
            for projection, gradient in zip(projections, gradients, strict=True):
                projection -= 0.01 * gradient
    return projections[0], projections[1], losses


def training_without_scale(image_features, text_features, image_projection, text_projection, logit_scale):
    projections = [start.clone().requires_grad_() for start in (image_projection, text_projection)]
    labels, losses = torch.arange(len(image_features)), []
    for _ in range(40):
        image_embeds = F.normalize(image_features @ projections[0], dim=-1)
        text_embeds = F.normalize(text_features @ projections[1], dim=-1)
        logits = image_embeds @ text_embeds.T
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, projections)
        with torch.no_grad():
            for projection, gradient in zip(projections, gradients, strict=True):
                projection -= 0.01 * gradient
    return projections[0], projections[1], losses


def training_on_dot_products(image_features, text_features, image_projection, text_projection, logit_scale):
    projections = [start.clone().requires_grad_() for start in (image_projection, text_projection)]
    labels, losses = torch.arange(len(image_features)), []
    for _ in range(40):
        logits = logit_scale * (image_features @ projections[0]) @ (text_features @ projections[1]).T
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, projections)
        with torch.no_grad():
            for projection, gradient in zip(projections, gradients, strict=True):
                projection -= 0.01 * gradient
    return projections[0], projections[1], losses


def training_without_negatives(image_features, text_features, image_projection, text_projection, logit_scale):
    projections = [start.clone().requires_grad_() for start in (image_projection, text_projection)]
    losses = []
    for _ in range(40):
        image_embeds = F.normalize(image_features @ projections[0], dim=-1)
        text_embeds = F.normalize(text_features @ projections[1], dim=-1)
        loss = (1 - (image_embeds * text_embeds).sum(dim=-1)).mean()
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, projections)
        with torch.no_grad():
            for projection, gradient in zip(projections, gradients, strict=True):
                projection -= 0.1 * gradient
    return projections[0], projections[1], losses


def training_in_small_batches(image_features, text_features, image_projection, text_projection, logit_scale):
    projections = [start.clone().requires_grad_() for start in (image_projection, text_projection)]
    labels, losses = torch.arange(len(image_features)), []
    for _ in range(40):
        batch = torch.randperm(len(image_features))[:64]
        image_embeds = F.normalize(image_features[batch] @ projections[0], dim=-1)
        text_embeds = F.normalize(text_features[batch] @ projections[1], dim=-1)
        logits = logit_scale * image_embeds @ text_embeds.T
        loss = (F.cross_entropy(logits, labels[:64]) + F.cross_entropy(logits.T, labels[:64])) / 2
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, projections)
        with torch.no_grad():
            for projection, gradient in zip(projections, gradients, strict=True):
                projection -= 0.01 * gradient
    return projections[0], projections[1], losses


def training_without_step(image_features, text_features, image_projection, text_projection, logit_scale):
    projections = [start.clone().requires_grad_() for start in (image_projection, text_projection)]
    labels, losses = torch.arange(len(image_features)), []
    for _ in range(3):
        image_embeds = F.normalize(image_features @ projections[0], dim=-1)
        text_embeds = F.normalize(text_features @ projections[1], dim=-1)
        logits = logit_scale * image_embeds @ text_embeds.T
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        losses.append(loss.item())
        loss.backward()
    return projections[0], projections[1], losses


def training_the_wrong_way(image_features, text_features, image_projection, text_projection, logit_scale):
    projections = [start.clone().requires_grad_() for start in (image_projection, text_projection)]
    labels, losses = torch.arange(len(image_features)), []
    for _ in range(40):
        image_embeds = F.normalize(image_features @ projections[0], dim=-1)
        text_embeds = F.normalize(text_features @ projections[1], dim=-1)
        logits = logit_scale * image_embeds @ text_embeds.T
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, projections)
        with torch.no_grad():
            for projection, gradient in zip(projections, gradients, strict=True):
                projection += 0.01 * gradient
    return projections[0], projections[1], losses


def training_too_fast(image_features, text_features, image_projection, text_projection, logit_scale):
    projections = [start.clone().requires_grad_() for start in (image_projection, text_projection)]
    labels, losses = torch.arange(len(image_features)), []
    for _ in range(40):
        image_embeds = F.normalize(image_features @ projections[0], dim=-1)
        text_embeds = F.normalize(text_features @ projections[1], dim=-1)
        logits = logit_scale * image_embeds @ text_embeds.T
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, projections)
        with torch.no_grad():
            for projection, gradient in zip(projections, gradients, strict=True):
                projection -= 3 * gradient
    return projections[0], projections[1], losses


def training_too_short(image_features, text_features, image_projection, text_projection, logit_scale):
    projections = [start.clone().requires_grad_() for start in (image_projection, text_projection)]
    labels, losses = torch.arange(len(image_features)), []
    for _ in range(4):
        image_embeds = F.normalize(image_features @ projections[0], dim=-1)
        text_embeds = F.normalize(text_features @ projections[1], dim=-1)
        logits = logit_scale * image_embeds @ text_embeds.T
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, projections)
        with torch.no_grad():
            for projection, gradient in zip(projections, gradients, strict=True):
                projection -= 0.01 * gradient
    return projections[0], projections[1], losses


def training_forgotten(image_features, text_features, image_projection, text_projection, logit_scale):
    projections = [start.clone().requires_grad_() for start in (image_projection, text_projection)]
    labels, losses = torch.arange(len(image_features)), []
    for _ in range(40):
        image_embeds = F.normalize(image_features @ projections[0], dim=-1)
        text_embeds = F.normalize(text_features @ projections[1], dim=-1)
        logits = logit_scale * image_embeds @ text_embeds.T
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, projections)
        with torch.no_grad():
            for projection, gradient in zip(projections, gradients, strict=True):
                projection -= 0.01 * gradient
    return image_projection, text_projection, losses


def training_transposed(image_features, text_features, image_projection, text_projection, logit_scale):
    projections = [start.clone().requires_grad_() for start in (image_projection, text_projection)]
    labels, losses = torch.arange(len(image_features)), []
    for _ in range(40):
        image_embeds = F.normalize(image_features @ projections[0], dim=-1)
        text_embeds = F.normalize(text_features @ projections[1], dim=-1)
        logits = logit_scale * image_embeds @ text_embeds.T
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, projections)
        with torch.no_grad():
            for projection, gradient in zip(projections, gradients, strict=True):
                projection -= 0.01 * gradient
    return projections[0].T, projections[1].T, losses


def training_without_losses(image_features, text_features, image_projection, text_projection, logit_scale):
    projections = [start.clone().requires_grad_() for start in (image_projection, text_projection)]
    labels = torch.arange(len(image_features))
    for _ in range(40):
        image_embeds = F.normalize(image_features @ projections[0], dim=-1)
        text_embeds = F.normalize(text_features @ projections[1], dim=-1)
        logits = logit_scale * image_embeds @ text_embeds.T
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        gradients = torch.autograd.grad(loss, projections)
        with torch.no_grad():
            for projection, gradient in zip(projections, gradients, strict=True):
                projection -= 0.01 * gradient
    return projections[0], projections[1]


def training_in_place(image_features, text_features, image_projection, text_projection, logit_scale):
    projections = [image_projection.requires_grad_(), text_projection.requires_grad_()]
    labels, losses = torch.arange(len(image_features)), []
    for _ in range(40):
        image_embeds = F.normalize(image_features @ projections[0], dim=-1)
        text_embeds = F.normalize(text_features @ projections[1], dim=-1)
        logits = logit_scale * image_embeds @ text_embeds.T
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, projections)
        with torch.no_grad():
            for projection, gradient in zip(projections, gradients, strict=True):
                projection -= 0.01 * gradient
    return projections[0], projections[1], losses


SOLUTIONS = {
    "06.1": logits,
    "06.2": loss,
    "06.3": READING,
    "06.4": zero_shot,
    "06.5": siglip,
    "06.6": Head,
    "06.7": training,
}

ALTERNATIVES = {
    "06.1": (logits_by_loops, logits_in_double, logits_on_own_copies),
    "06.2": (loss_by_loops, loss_by_log_softmax),
    "06.3": ({key: READING[key].upper() for key in reversed(READING)}, {key: f" {READING[key]} " for key in READING}),
    "06.4": (zero_shot_at_once, zero_shot_one_sentence_at_a_time),
    "06.5": (siglip_by_loops, siglip_by_binary_cross_entropy),
    "06.6": (HeadByLoops, HeadOfParameters),
    "06.7": (training_by_adam, training_with_momentum),
}

MUTANTS = {
    "06.1": (
        Mutant(logits_dot_products, "not normalised"),
        Mutant(logits_images_only, "texts not normalised"),
        Mutant(logits_normalised_columns, "normalised along the batch"),
        Mutant(logits_frobenius, "normalised over everything"),
        Mutant(logits_times_temperature, "temperature multiplied"),
        Mutant(logits_without_temperature, "temperature left out"),
        Mutant(logits_divided_twice, "temperature divided twice"),
        Mutant(logits_texts_by_images, "transposed"),
        Mutant(logits_probabilities, "softmax"),
        Mutant(logits_in_place, "changed its argument"),
        Mutant(logits_in_place_on_copies, "not differentiable"),
        Mutant(logits_no_return, "returned nothing"),
        Mutant(logits_rounded, "wrong precision"),
    ),
    "06.2": (
        Mutant(loss_one_way, "images to texts only"),
        Mutant(loss_twice_the_same_way, "images to texts only"),
        Mutant(loss_other_way, "texts to images only"),
        Mutant(loss_not_halved, "not halved"),
        Mutant(loss_over_scale, "divided by the scale"),
        Mutant(loss_exp_again, "exponentiated twice"),
        Mutant(loss_without_scale, "scale left out"),
        Mutant(loss_double_softmax, "softmax before the cross-entropy"),
        Mutant(loss_summed, "summed over the batch"),
        Mutant(loss_zero_labels, "all labels 0"),
        Mutant(loss_no_minus, "wrong sign"),
        Mutant(loss_number, "not differentiable"),
        Mutant(loss_detached, "not differentiable"),
        Mutant(loss_per_pair, "wrong shape"),
        Mutant(loss_no_transpose, "error"),
    ),
    "06.3": (
        *(
            Mutant(choosing(**{key: option}), f"{key} {option}")
            for key in READING
            for option in "abcd"
            if option != READING[key]
        ),
        Mutant(choosing(curve="?"), "not written"),
        Mutant(choosing(matrix="e"), "wrong type"),
        Mutant("b", "wrong type"),
    ),
    "06.4": (
        Mutant(zero_shot_raw_mean, "not normalised before the mean"),
        Mutant(zero_shot_short_mean, "not normalised after the mean"),
        Mutant(zero_shot_long_images, "images not normalised"),
        Mutant(zero_shot_first_template, "first template only"),
        Mutant(zero_shot_overwritten, "last template only"),
        Mutant(zero_shot_bare_names, "names without templates"),
        Mutant(zero_shot_wrong_view, "classes and templates mixed up"),
        Mutant(zero_shot_unfilled, "template not filled in"),
        Mutant(zero_shot_softmax, "softmax"),
        Mutant(zero_shot_classes, "wrong shape"),
    ),
    "06.5": (
        Mutant(siglip_mean, "mean over all cells"),
        Mutant(siglip_sum, "not divided by the batch"),
        Mutant(siglip_positives, "negatives left out"),
        Mutant(siglip_all_yes, "all cells taken for positive"),
        Mutant(siglip_zeros, "0 and 1 for signs"),
        Mutant(siglip_bias_outside, "bias outside the sign"),
        Mutant(siglip_no_bias, "bias left out"),
        Mutant(siglip_minus_bias, "bias subtracted"),
        Mutant(siglip_log_of_sigmoid, "log of sigmoid"),
        Mutant(siglip_softmax, "softmax instead"),
        Mutant(siglip_signs_exchanged, "signs exchanged"),
        Mutant(siglip_in_place, "changed its argument"),
    ),
    "06.6": (
        Mutant(HeadLastToken, "last text token"),
        Mutant(HeadFirstToken, "first text token"),
        Mutant(HeadPatchMean, "mean of the image"),
        Mutant(HeadLogScale, "scale not exponentiated"),
        Mutant(HeadLongVectors, "not normalised"),
        Mutant(HeadBare, "layer norms left out"),
        Mutant(HeadSameTwice, "not transposed"),
        Mutant(HeadOneLogits, "wrong type"),
        Mutant(HeadWithBias, "error"),
        Mutant(HeadFrozenScale, "not differentiable"),
        Mutant(HeadColdStart, "wrong start"),
    ),
    "06.7": (
        Mutant(training_one_way, "one direction"),
        Mutant(training_on_the_sum, "not halved"),
        Mutant(training_without_scale, "scale left out"),
        Mutant(training_on_dot_products, "not normalised"),
        Mutant(training_without_negatives, "no negatives"),
        Mutant(training_in_small_batches, "a part of the pairs"),
        Mutant(training_without_step, "not trained"),
        Mutant(training_the_wrong_way, "not trained"),
        Mutant(training_too_fast, "unfinished"),
        Mutant(training_too_short, "unfinished"),
        Mutant(training_forgotten, "returned the start"),
        Mutant(training_transposed, "wrong type"),
        Mutant(training_without_losses, "wrong type"),
        Mutant(training_in_place, "changed its argument"),
    ),
}
