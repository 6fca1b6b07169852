"""Answers to set 01: model solutions, right answers written differently, wrong ones that learners write.

A class is not given this file. Each answer stands alone: it uses `torch`, `nn`, `F`, `math` and what it defines itself,
so that its source can be put into a notebook as it is.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.practice.exercise import Mutant
from course_lib.practice.lesson_01.exercises import READING

# 01.1 ---------------------------------------------------------------------------------------------------------------


def norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    return centred / torch.sqrt(variance + eps) * weight + bias


def norm_by_loops(x, weight, bias, eps):
    rows = []
    for row in x.reshape(-1, x.shape[-1]):
        mean = sum(row) / len(row)
        variance = sum((number - mean) ** 2 for number in row) / len(row)
        rows.append(
            torch.stack([(row[i] - mean) / (variance + eps) ** 0.5 * weight[i] + bias[i] for i in range(len(row))])
        )
    return torch.stack(rows).reshape(x.shape)


def norm_by_var(x, weight, bias, eps):
    variance, mean = torch.var_mean(x.double(), dim=-1, unbiased=False, keepdim=True)
    return (torch.rsqrt(variance + eps) * (x - mean)).to(x.dtype) * weight + bias


def norm_by_moments(x, weight, bias, eps):
    x = x.double()
    mean = torch.einsum("...d->...", x).unsqueeze(-1) / x.size(-1)
    variance = ((x - mean) ** 2).sum(-1, keepdim=True).div(x.size(-1))
    return torch.addcmul(bias.double(), (x - mean) * (variance + eps).pow(-0.5), weight.double()).float()


def norm_unbiased(x, weight, bias, eps):
    return (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True) + eps) * weight + bias


def norm_of_batch(x, weight, bias, eps):
    variance, mean = torch.var_mean(x, dim=0, correction=0)
    return (x - mean) / torch.sqrt(variance + eps) * weight + bias


def norm_of_everything(x, weight, bias, eps):
    return (x - x.mean()) / torch.sqrt(((x - x.mean()) ** 2).mean() + eps) * weight + bias


def norm_root_mean_square(x, weight, bias, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight + bias


def norm_by_variance(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + eps) * weight + bias


def norm_eps_outside(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True).sqrt() + eps) * weight + bias


def norm_without_eps(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdim=True)
    return centred / centred.pow(2).mean(-1, keepdim=True).sqrt() * weight + bias


def norm_alone(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + eps)


def norm_shifted_first(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdim=True)
    return (centred / torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + eps) + bias) * weight


def norm_without_keepdim(x, weight, bias, eps):
    centred = x - x.mean(-1)
    return centred / torch.sqrt(centred.pow(2).mean(-1) + eps) * weight + bias


def norm_in_place(x, weight, bias, eps):
    x -= x.mean(-1, keepdim=True)
    x /= torch.sqrt(x.pow(2).mean(-1, keepdim=True) + eps)
    return x * weight + bias


# 01.2 ---------------------------------------------------------------------------------------------------------------


def choosing(**other: str) -> dict[str, str]:
    """The right choices with some exchanged for others."""
    return READING | other


# 01.3 ---------------------------------------------------------------------------------------------------------------


def backward(x: Tensor, labels: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> tuple[Tensor, ...]:
    before = x @ w1 + b1
    hidden = before.relu()
    logits = hidden @ w2 + b2
    error = (logits.softmax(dim=1) - F.one_hot(labels, len(b2))) / len(x)
    error_hidden = (error @ w2.T) * (before > 0)
    return x.T @ error_hidden, error_hidden.sum(dim=0), hidden.T @ error, error.sum(dim=0)


def backward_by_autograd(x, labels, w1, b1, w2, b2):
    weights = [w.clone().requires_grad_() for w in (w1, b1, w2, b2)]
    hidden = F.relu(x @ weights[0] + weights[1])
    F.cross_entropy(hidden @ weights[2] + weights[3], labels).backward()
    return [w.grad for w in weights]


def backward_one_example_at_a_time(x, labels, w1, b1, w2, b2):
    found = [torch.zeros_like(w) for w in (w1, b1, w2, b2)]
    for example, label in zip(x, labels.tolist(), strict=True):
        hidden = torch.clamp(w1.T @ example + b1, min=0)
        logits = w2.T @ hidden + b2
        error = torch.exp(logits - torch.logsumexp(logits, 0))
        error[label] -= 1
        error = error / len(x)
        error_hidden = torch.where(hidden > 0, w2 @ error, torch.zeros_like(hidden))
        for total, part in zip(
            found, (torch.outer(example, error_hidden), error_hidden, torch.outer(hidden, error), error), strict=True
        ):
            total += part
    return tuple(found)


def backward_summed(x, labels, w1, b1, w2, b2):
    before = x @ w1 + b1
    hidden = before.relu()
    error = (hidden @ w2 + b2).softmax(dim=1) - F.one_hot(labels, len(b2))
    error_hidden = (error @ w2.T) * (before > 0)
    return x.T @ error_hidden, error_hidden.sum(dim=0), hidden.T @ error, error.sum(dim=0)


def backward_without_labels(x, labels, w1, b1, w2, b2):
    before = x @ w1 + b1
    hidden = before.relu()
    error = (hidden @ w2 + b2).softmax(dim=1) / len(x)
    error_hidden = (error @ w2.T) * (before > 0)
    return x.T @ error_hidden, error_hidden.sum(dim=0), hidden.T @ error, error.sum(dim=0)


def backward_without_softmax(x, labels, w1, b1, w2, b2):
    before = x @ w1 + b1
    hidden = before.relu()
    error = (hidden @ w2 + b2 - F.one_hot(labels, len(b2))) / len(x)
    error_hidden = (error @ w2.T) * (before > 0)
    return x.T @ error_hidden, error_hidden.sum(dim=0), hidden.T @ error, error.sum(dim=0)


def backward_downhill(x, labels, w1, b1, w2, b2):
    before = x @ w1 + b1
    hidden = before.relu()
    error = (F.one_hot(labels, len(b2)) - (hidden @ w2 + b2).softmax(dim=1)) / len(x)
    error_hidden = (error @ w2.T) * (before > 0)
    return x.T @ error_hidden, error_hidden.sum(dim=0), hidden.T @ error, error.sum(dim=0)


def backward_without_relu(x, labels, w1, b1, w2, b2):
    hidden = (x @ w1 + b1).relu()
    error = ((hidden @ w2 + b2).softmax(dim=1) - F.one_hot(labels, len(b2))) / len(x)
    error_hidden = error @ w2.T
    return x.T @ error_hidden, error_hidden.sum(dim=0), hidden.T @ error, error.sum(dim=0)


def backward_relu_again(x, labels, w1, b1, w2, b2):
    hidden = (x @ w1 + b1).relu()
    error = ((hidden @ w2 + b2).softmax(dim=1) - F.one_hot(labels, len(b2))) / len(x)
    error_hidden = (error @ w2.T).relu()
    return x.T @ error_hidden, error_hidden.sum(dim=0), hidden.T @ error, error.sum(dim=0)


def backward_times_hidden(x, labels, w1, b1, w2, b2):
    hidden = (x @ w1 + b1).relu()
    error = ((hidden @ w2 + b2).softmax(dim=1) - F.one_hot(labels, len(b2))) / len(x)
    error_hidden = (error @ w2.T) * hidden
    return x.T @ error_hidden, error_hidden.sum(dim=0), hidden.T @ error, error.sum(dim=0)


def backward_before_activation(x, labels, w1, b1, w2, b2):
    before = x @ w1 + b1
    error = ((before.relu() @ w2 + b2).softmax(dim=1) - F.one_hot(labels, len(b2))) / len(x)
    error_hidden = (error @ w2.T) * (before > 0)
    return x.T @ error_hidden, error_hidden.sum(dim=0), before.T @ error, error.sum(dim=0)


def backward_mean_of_biases(x, labels, w1, b1, w2, b2):
    before = x @ w1 + b1
    hidden = before.relu()
    error = ((hidden @ w2 + b2).softmax(dim=1) - F.one_hot(labels, len(b2))) / len(x)
    error_hidden = (error @ w2.T) * (before > 0)
    return x.T @ error_hidden, error_hidden.mean(dim=0), hidden.T @ error, error.mean(dim=0)


def backward_overflowing(x, labels, w1, b1, w2, b2):
    before = x @ w1 + b1
    hidden = before.relu()
    powers = torch.exp(hidden @ w2 + b2)
    error = (powers / powers.sum(dim=1, keepdim=True) - F.one_hot(labels, len(b2))) / len(x)
    error_hidden = (error @ w2.T) * (before > 0)
    return x.T @ error_hidden, error_hidden.sum(dim=0), hidden.T @ error, error.sum(dim=0)


def backward_rows_of_biases(x, labels, w1, b1, w2, b2):
    before = x @ w1 + b1
    hidden = before.relu()
    error = ((hidden @ w2 + b2).softmax(dim=1) - F.one_hot(labels, len(b2))) / len(x)
    error_hidden = (error @ w2.T) * (before > 0)
    return x.T @ error_hidden, error_hidden, hidden.T @ error, error


def backward_loss_first(x, labels, w1, b1, w2, b2):
    loss = F.cross_entropy((x @ w1 + b1).relu() @ w2 + b2, labels)
    return loss, w1, b1, w2, b2


# 01.4 ---------------------------------------------------------------------------------------------------------------


def attend(query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, is_causal: bool) -> Tensor:
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    allowed = attention_mask[:, None, None, :]
    if is_causal:
        length = query.shape[2]
        allowed = allowed & torch.ones(length, length, dtype=torch.bool, device=query.device).tril()
    weights = scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1)
    return weights.nan_to_num(0.0) @ value


def attend_by_loops(query, key, value, attention_mask, is_causal):
    batch, heads, length, width = query.shape
    rows = []
    for b in range(batch):
        for h in range(heads):
            for i in range(length):
                seen = [j for j in range(key.shape[2]) if attention_mask[b, j] and (j <= i or not is_causal)]
                if not seen:
                    rows.append(value[b, h, 0] * 0)
                    continue
                scores = torch.stack([query[b, h, i].dot(key[b, h, j]) / width**0.5 for j in seen])
                powers = torch.exp(scores - scores.max())
                rows.append(sum(power * value[b, h, j] for power, j in zip(powers, seen, strict=True)) / powers.sum())
    return torch.stack(rows).view(batch, heads, length, -1)


def attend_by_adding(query, key, value, attention_mask, is_causal):
    hidden = torch.zeros(attention_mask.shape, dtype=query.dtype).masked_fill(attention_mask.logical_not(), -1e30)
    scores = torch.einsum("bhtd,bhsd->bhts", query * query.size(-1) ** -0.5, key) + hidden[:, None, None]
    if is_causal:
        scores = scores + torch.full(scores.shape[-2:], -1e30, dtype=query.dtype).triu(1)
    weights = torch.softmax(scores, -1)
    return torch.where(scores.amax(-1, keepdim=True) < -1e29, 0.0, torch.einsum("bhts,bhsv->bhtv", weights, value))


def attend_by_torch(query, key, value, attention_mask, is_causal):
    allowed = attention_mask[:, None, None, :].repeat(1, 1, query.shape[2], 1)
    if is_causal:
        ahead = torch.arange(key.shape[2])[None, :] > torch.arange(query.shape[2])[:, None]
        allowed = torch.logical_and(allowed, ~ahead)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)


def attend_unscaled(query, key, value, attention_mask, is_causal):
    scores = query @ key.mT
    allowed = attention_mask[:, None, None, :]
    if is_causal:
        allowed = allowed & torch.ones(query.shape[2], query.shape[2], dtype=torch.bool).tril()
    return scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1).nan_to_num(0.0) @ value


def attend_over_width(query, key, value, attention_mask, is_causal):
    scores = query @ key.mT / query.shape[-1]
    allowed = attention_mask[:, None, None, :]
    if is_causal:
        allowed = allowed & torch.ones(query.shape[2], query.shape[2], dtype=torch.bool).tril()
    return scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1).nan_to_num(0.0) @ value


def attend_ahead(query, key, value, attention_mask, is_causal):
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    return scores.masked_fill(~attention_mask[:, None, None, :], -torch.inf).softmax(dim=-1).nan_to_num(0.0) @ value


def attend_to_padding(query, key, value, attention_mask, is_causal):
    return F.scaled_dot_product_attention(query, key, value, is_causal=is_causal)


def attend_to_everything(query, key, value, attention_mask, is_causal):
    return (query @ key.mT / math.sqrt(query.shape[-1])).softmax(dim=-1) @ value


def attend_to_hidden(query, key, value, attention_mask, is_causal):
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(attention_mask[:, None, None, :], -torch.inf)
    if is_causal:
        scores = scores.masked_fill(~torch.ones(scores.shape[-2:], dtype=torch.bool).tril(), -torch.inf)
    return scores.softmax(dim=-1).nan_to_num(0.0) @ value


def attend_masked_late(query, key, value, attention_mask, is_causal):
    weights = (query @ key.mT / math.sqrt(query.shape[-1])).softmax(dim=-1)
    weights = weights * attention_mask[:, None, None, :]
    if is_causal:
        weights = weights.tril()
    return weights @ value


def attend_to_zeros(query, key, value, attention_mask, is_causal):
    scores = query @ key.mT / math.sqrt(query.shape[-1]) * attention_mask[:, None, None, :]
    if is_causal:
        scores = scores.tril()
    return scores.softmax(dim=-1) @ value


def attend_strictly(query, key, value, attention_mask, is_causal):
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    allowed = attention_mask[:, None, None, :]
    if is_causal:
        allowed = allowed & torch.ones(query.shape[2], query.shape[2], dtype=torch.bool).tril(-1)
    return scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1).nan_to_num(0.0) @ value


def attend_upside_down(query, key, value, attention_mask, is_causal):
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    allowed = attention_mask[:, None, None, :]
    if is_causal:
        allowed = allowed & torch.ones(query.shape[2], query.shape[2], dtype=torch.bool).triu()
    return scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1).nan_to_num(0.0) @ value


def attend_over_queries(query, key, value, attention_mask, is_causal):
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    allowed = attention_mask[:, None, None, :]
    if is_causal:
        allowed = allowed & torch.ones(query.shape[2], query.shape[2], dtype=torch.bool).tril()
    return scores.masked_fill(~allowed, -torch.inf).softmax(dim=-2).nan_to_num(0.0) @ value


def attend_nan(query, key, value, attention_mask, is_causal):
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    allowed = attention_mask[:, None, None, :]
    if is_causal:
        allowed = allowed & torch.ones(query.shape[2], query.shape[2], dtype=torch.bool).tril()
    return scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1) @ value


def attend_very_low(query, key, value, attention_mask, is_causal):
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    allowed = attention_mask[:, None, None, :]
    if is_causal:
        allowed = allowed & torch.ones(query.shape[2], query.shape[2], dtype=torch.bool).tril()
    return scores.masked_fill(~allowed, -1e9).softmax(dim=-1) @ value


def attend_weights(query, key, value, attention_mask, is_causal):
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    allowed = attention_mask[:, None, None, :]
    if is_causal:
        allowed = allowed & torch.ones(query.shape[2], query.shape[2], dtype=torch.bool).tril()
    return scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1).nan_to_num(0.0)


def attend_with_nan_derivatives(query, key, value, attention_mask, is_causal):
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    bias = torch.zeros(attention_mask.shape, dtype=query.dtype).masked_fill(~attention_mask, -torch.inf)
    scores = scores + bias[:, None, None, :]
    if is_causal:
        scores = scores + torch.full(scores.shape[-2:], -torch.inf, dtype=query.dtype).triu(1)
    return scores.softmax(dim=-1).nan_to_num(0.0) @ value


# 01.5 ---------------------------------------------------------------------------------------------------------------


def turn(x: Tensor, positions: Tensor, base: float) -> Tensor:
    half = x.shape[-1] // 2
    frequencies = base ** (-torch.arange(half, device=x.device) / half)
    angles = positions[:, None] * frequencies
    cos, sin = angles.cos(), angles.sin()
    first, second = x[..., :half], x[..., half:]
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def turn_as_llama(x, positions, base):
    inverse = 1.0 / (base ** (torch.arange(0, x.shape[-1], 2).float() / x.shape[-1]))
    angles = torch.outer(positions.float(), inverse)
    angles = torch.cat([angles, angles], dim=-1)
    first, second = x.chunk(2, dim=-1)
    return x * angles.cos() + torch.cat([-second, first], dim=-1) * angles.sin()


def turn_as_complex_numbers(x, positions, base):
    first, second = x.double().chunk(2, dim=-1)
    exponents = torch.arange(first.shape[-1], dtype=torch.float64) / first.shape[-1]
    angles = positions.double().unsqueeze(-1) * torch.exp(-math.log(base) * exponents)
    turned = torch.complex(first, second) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([turned.real, turned.imag], dim=-1).to(x.dtype)


def turn_by_loops(x, positions, base):
    planes = x.shape[-1] // 2
    columns = [None] * x.shape[-1]
    for i in range(planes):
        angle = positions * base ** (-2 * i / x.shape[-1])
        columns[i] = x[..., i] * torch.cos(angle) - x[..., i + planes] * torch.sin(angle)
        columns[i + planes] = x[..., i] * torch.sin(angle) + x[..., i + planes] * torch.cos(angle)
    return torch.stack(columns, dim=-1)


def turn_neighbours(x, positions, base):
    angles = positions[:, None] * base ** (-torch.arange(0, x.shape[-1], 2) / x.shape[-1])
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack(
        [even * angles.cos() - odd * angles.sin(), odd * angles.cos() + even * angles.sin()], dim=-1
    ).flatten(-2)


def turn_backwards(x, positions, base):
    half = x.shape[-1] // 2
    angles = positions[:, None] * base ** (-torch.arange(half) / half)
    first, second = x[..., :half], x[..., half:]
    return torch.cat(
        [first * angles.cos() + second * angles.sin(), second * angles.cos() - first * angles.sin()], dim=-1
    )


def turn_and_stretch(x, positions, base):
    half = x.shape[-1] // 2
    angles = positions[:, None] * base ** (-torch.arange(half) / half)
    first, second = x[..., :half], x[..., half:]
    return torch.cat(
        [first * angles.cos() - second * angles.sin(), second * angles.cos() - first * angles.sin()], dim=-1
    )


def turn_over_width(x, positions, base):
    half = x.shape[-1] // 2
    angles = positions[:, None] * base ** (-torch.arange(half) / x.shape[-1])
    first, second = x[..., :half], x[..., half:]
    return torch.cat(
        [first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], dim=-1
    )


def turn_ever_faster(x, positions, base):
    half = x.shape[-1] // 2
    angles = positions[:, None] * base ** (torch.arange(half) / half)
    first, second = x[..., :half], x[..., half:]
    return torch.cat(
        [first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], dim=-1
    )


def turn_from_zero(x, positions, base):
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[-2])[:, None] * base ** (-torch.arange(half) / half)
    first, second = x[..., :half], x[..., half:]
    return torch.cat(
        [first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], dim=-1
    )


def turn_from_one(x, positions, base):
    half = x.shape[-1] // 2
    angles = (positions[:, None] + 1) * base ** (-torch.arange(half) / half)
    first, second = x[..., :half], x[..., half:]
    return torch.cat(
        [first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], dim=-1
    )


def turn_ten_thousand(x, positions, base):
    half = x.shape[-1] // 2
    angles = positions[:, None] * 10_000 ** (-torch.arange(half) / half)
    first, second = x[..., :half], x[..., half:]
    return torch.cat(
        [first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], dim=-1
    )


def turn_added(x, positions, base):
    half = x.shape[-1] // 2
    angles = positions[:, None] * base ** (-torch.arange(half) / half)
    return x + torch.cat([angles.sin(), angles.cos()], dim=-1)


def turn_half(x, positions, base):
    half = x.shape[-1] // 2
    angles = positions[:, None] * base ** (-torch.arange(half) / half)
    first, second = x[..., :half], x[..., half:]
    return first * angles.cos() - second * angles.sin()


def turn_in_place(x, positions, base):
    half = x.shape[-1] // 2
    angles = positions[:, None] * base ** (-torch.arange(half) / half)
    x[..., :half] = x[..., :half] * angles.cos() - x[..., half:] * angles.sin()
    x[..., half:] = x[..., half:] * angles.cos() + x[..., :half] * angles.sin()
    return x


# 01.6 ---------------------------------------------------------------------------------------------------------------


class TransformerBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def attend(self, hidden_states: Tensor) -> Tensor:
        parts = self.qkv(hidden_states).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def forward(self, hidden_states: Tensor) -> Tensor:
        hidden_states = hidden_states + self.attend(self.norm1(hidden_states))
        return hidden_states + self.fc2(F.gelu(self.fc1(self.norm2(hidden_states))))


class TransformerBlockByEinsum(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.width, self.heads = width, heads
        self.fc2 = nn.Linear(4 * width, width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.out = nn.Linear(width, width)
        self.qkv = nn.Linear(width, 3 * width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.act = nn.GELU()

    def forward(self, hidden_states):
        batch, length, width = hidden_states.shape
        qkv = self.qkv(self.norm1(hidden_states)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.unbind(2)
        scores = torch.einsum("bthd,bshd->bhts", query, key) / math.sqrt(width // self.heads)
        scores = scores.masked_fill(torch.ones(length, length, dtype=torch.bool).triu(1), float("-inf"))
        mixed = torch.einsum("bhts,bshd->bthd", scores.softmax(-1), value).reshape(batch, length, width)
        hidden_states = hidden_states + self.out(mixed)
        return hidden_states + self.fc2(self.act(self.fc1(self.norm2(hidden_states))))


class TransformerBlockByLoops(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=True)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.size = width // heads

    def forward(self, hidden_states):
        width = hidden_states.shape[-1]
        results = []
        for sequence in hidden_states:
            qkv = self.qkv(self.norm1(sequence))
            heads = []
            for start in range(0, width, self.size):
                query = qkv[:, start : start + self.size]
                key = qkv[:, width + start : width + start + self.size]
                value = qkv[:, 2 * width + start : 2 * width + start + self.size]
                rows = []
                for place in range(len(sequence)):
                    weights = (key[: place + 1] @ query[place] / self.size**0.5).softmax(0)
                    rows.append(weights @ value[: place + 1])
                heads.append(torch.stack(rows))
            middle = sequence + self.out(torch.cat(heads, dim=1))
            inner = self.fc1(self.norm2(middle))
            inner = 0.5 * inner * (1 + torch.erf(inner / 2**0.5))
            results.append(middle + self.fc2(inner))
        return torch.stack(results)


class BlockPostNorm(TransformerBlock):
    def forward(self, hidden_states):
        hidden_states = self.norm1(hidden_states + self.attend(hidden_states))
        return self.norm2(hidden_states + self.fc2(F.gelu(self.fc1(hidden_states))))


class BlockOverwritten(TransformerBlock):
    def forward(self, hidden_states):
        hidden_states = self.norm1(hidden_states)
        hidden_states = hidden_states + self.attend(hidden_states)
        hidden_states = self.norm2(hidden_states)
        return hidden_states + self.fc2(F.gelu(self.fc1(hidden_states)))


class BlockNotAdded(TransformerBlock):
    def forward(self, hidden_states):
        hidden_states = self.attend(self.norm1(hidden_states))
        return self.fc2(F.gelu(self.fc1(self.norm2(hidden_states))))


class BlockMLPNotAdded(TransformerBlock):
    def forward(self, hidden_states):
        hidden_states = hidden_states + self.attend(self.norm1(hidden_states))
        return self.fc2(F.gelu(self.fc1(self.norm2(hidden_states))))


class BlockInParallel(TransformerBlock):
    def forward(self, hidden_states):
        mlp = self.fc2(F.gelu(self.fc1(self.norm2(hidden_states))))
        return hidden_states + self.attend(self.norm1(hidden_states)) + mlp


class BlockReLU(TransformerBlock):
    def forward(self, hidden_states):
        hidden_states = hidden_states + self.attend(self.norm1(hidden_states))
        return hidden_states + self.fc2(F.relu(self.fc1(self.norm2(hidden_states))))


class BlockNotCausal(TransformerBlock):
    def attend(self, hidden_states):
        parts = self.qkv(hidden_states).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).flatten(2))


class BlockMixedHeads(TransformerBlock):
    def attend(self, hidden_states):
        batch, length, width = hidden_states.shape
        parts = self.qkv(hidden_states).chunk(3, dim=-1)
        query, key, value = (part.reshape(batch, self.heads, length, width // self.heads) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))


class BlockHeadsBesideHeads(TransformerBlock):
    def attend(self, hidden_states):
        parts = self.qkv(hidden_states).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(mixed.flatten(2))


class BlockJoinedWrongly(TransformerBlock):
    def attend(self, hidden_states):
        parts = self.qkv(hidden_states).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(mixed.reshape(hidden_states.shape))


class BlockOneHead(TransformerBlock):
    def attend(self, hidden_states):
        query, key, value = self.qkv(hidden_states).chunk(3, dim=-1)
        return self.out(F.scaled_dot_product_attention(query, key, value, is_causal=True))


class BlockScaledByWidth(TransformerBlock):
    def attend(self, hidden_states):
        length, width = hidden_states.shape[1:]
        parts = self.qkv(hidden_states).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        scores = (query @ key.mT / math.sqrt(width)).masked_fill(~torch.ones(length, length).bool().tril(), -torch.inf)
        return self.out((scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2))


class BlockThirdsOfHeads(TransformerBlock):
    def attend(self, hidden_states):
        heads = self.qkv(hidden_states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(*heads.chunk(3, dim=-1), is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))


class BlockWithoutOut(TransformerBlock):
    def attend(self, hidden_states):
        parts = self.qkv(hidden_states).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return mixed.transpose(1, 2).flatten(2)


class BlockWithoutBias(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, hidden_states):
        parts = self.qkv(self.norm1(hidden_states)).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden_states = hidden_states + self.out(mixed.transpose(1, 2).flatten(2))
        return hidden_states + self.fc2(F.gelu(self.fc1(self.norm2(hidden_states))))


# 01.7 ---------------------------------------------------------------------------------------------------------------


def training(
    weights: Tensor,
    gradient: Callable[[Tensor], Tensor],
    steps: int,
    warmup_steps: int,
    peak: float,
    weight_decay: float,
    max_norm: float,
) -> Tensor:
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    visited = []
    for step in range(steps):
        g = gradient(weights)
        g = g * min(1, max_norm / g.norm())
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        if step < warmup_steps:
            rate = peak * (step + 1) / warmup_steps
        else:
            rate = peak * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps))) / 2
        update = mean / (1 - 0.9 ** (step + 1)) / ((square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
        weights = weights - rate * (weight_decay * weights + update)
        visited.append(weights)
    return torch.stack(visited)


def training_in_place(weights, gradient, steps, warmup_steps, peak, weight_decay, max_norm):
    weights = weights.clone()
    visited = torch.empty(steps, len(weights))
    first, second = torch.zeros(len(weights)), torch.zeros(len(weights))
    for t in range(1, steps + 1):
        grad = gradient(weights).clone()
        norm = torch.linalg.vector_norm(grad)
        if norm > max_norm:
            grad *= max_norm / (norm + 1e-6)
        first.mul_(0.9).add_(grad, alpha=1 - 0.9)
        second.mul_(0.999).addcmul_(grad, grad, value=1 - 0.999)
        if t <= warmup_steps:
            rate = peak * t / warmup_steps
        else:
            rate = 0.5 * peak * (1 + math.cos(math.pi * (t - 1 - warmup_steps) / (steps - warmup_steps)))
        weights.mul_(1 - rate * weight_decay)
        denominator = (second.sqrt() / math.sqrt(1 - 0.999**t)).add_(1e-8)
        weights.addcdiv_(first, denominator, value=-rate / (1 - 0.9**t))
        visited[t - 1] = weights
    return visited


def training_in_double(weights, gradient, steps, warmup_steps, peak, weight_decay, max_norm):
    rates = [peak * (step + 1) / warmup_steps for step in range(warmup_steps)]
    falling = steps - warmup_steps
    rates += [peak * math.cos(math.pi * step / falling / 2) ** 2 for step in range(falling)]
    gradients, visited, now = [], [], weights
    for t, rate in enumerate(rates, start=1):
        found = gradient(now).double()
        gradients.append(found * torch.clamp(max_norm / found.norm(), max=1.0))
        m = sum(0.1 * 0.9 ** (t - 1 - i) * g for i, g in enumerate(gradients)) / (1 - 0.9**t)
        v = sum(0.001 * 0.999 ** (t - 1 - i) * g * g for i, g in enumerate(gradients)) / (1 - 0.999**t)
        now = ((1 - rate * weight_decay) * now.double() - rate * m / (v**0.5 + 1e-8)).float()
        visited.append(now)
    return torch.stack(visited)


def training_decay_in_the_gradient(weights, gradient, steps, warmup_steps, peak, weight_decay, max_norm):
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    visited = []
    for step in range(steps):
        g = gradient(weights)
        g = g * min(1, max_norm / g.norm()) + weight_decay * weights
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        rate = peak * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps))) / 2
        if step < warmup_steps:
            rate = peak * (step + 1) / warmup_steps
        weights = weights - rate * mean / (1 - 0.9 ** (step + 1)) / ((square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
        visited.append(weights)
    return torch.stack(visited)


def training_decay_alone(weights, gradient, steps, warmup_steps, peak, weight_decay, max_norm):
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    visited = []
    for step in range(steps):
        g = gradient(weights)
        g = g * min(1, max_norm / g.norm())
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        rate = peak * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps))) / 2
        if step < warmup_steps:
            rate = peak * (step + 1) / warmup_steps
        update = mean / (1 - 0.9 ** (step + 1)) / ((square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
        weights = weights - weight_decay * weights - rate * update
        visited.append(weights)
    return torch.stack(visited)


def training_uncorrected(weights, gradient, steps, warmup_steps, peak, weight_decay, max_norm):
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    visited = []
    for step in range(steps):
        g = gradient(weights)
        g = g * min(1, max_norm / g.norm())
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        rate = peak * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps))) / 2
        if step < warmup_steps:
            rate = peak * (step + 1) / warmup_steps
        weights = weights - rate * (weight_decay * weights + mean / (square.sqrt() + 1e-8))
        visited.append(weights)
    return torch.stack(visited)


def training_corrected_from_zero(weights, gradient, steps, warmup_steps, peak, weight_decay, max_norm):
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    visited = []
    for step in range(steps):
        g = gradient(weights)
        g = g * min(1, max_norm / g.norm())
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        rate = peak * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps))) / 2
        if step < warmup_steps:
            rate = peak * (step + 1) / warmup_steps
        update = mean / (1 - 0.9**step) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
        weights = weights - rate * (weight_decay * weights + update)
        visited.append(weights)
    return torch.stack(visited)


def training_eps_inside(weights, gradient, steps, warmup_steps, peak, weight_decay, max_norm):
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    visited = []
    for step in range(steps):
        g = gradient(weights)
        g = g * min(1, max_norm / g.norm())
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        rate = peak * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps))) / 2
        if step < warmup_steps:
            rate = peak * (step + 1) / warmup_steps
        update = mean / (1 - 0.9 ** (step + 1)) / (square / (1 - 0.999 ** (step + 1)) + 1e-8).sqrt()
        weights = weights - rate * (weight_decay * weights + update)
        visited.append(weights)
    return torch.stack(visited)


def training_unclipped(weights, gradient, steps, warmup_steps, peak, weight_decay, max_norm):
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    visited = []
    for step in range(steps):
        g = gradient(weights)
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        rate = peak * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps))) / 2
        if step < warmup_steps:
            rate = peak * (step + 1) / warmup_steps
        update = mean / (1 - 0.9 ** (step + 1)) / ((square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
        weights = weights - rate * (weight_decay * weights + update)
        visited.append(weights)
    return torch.stack(visited)


def training_clamped(weights, gradient, steps, warmup_steps, peak, weight_decay, max_norm):
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    visited = []
    for step in range(steps):
        g = gradient(weights).clamp(-max_norm, max_norm)
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        rate = peak * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps))) / 2
        if step < warmup_steps:
            rate = peak * (step + 1) / warmup_steps
        update = mean / (1 - 0.9 ** (step + 1)) / ((square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
        weights = weights - rate * (weight_decay * weights + update)
        visited.append(weights)
    return torch.stack(visited)


def training_stretched(weights, gradient, steps, warmup_steps, peak, weight_decay, max_norm):
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    visited = []
    for step in range(steps):
        g = gradient(weights)
        g = g / g.norm() * max_norm
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        rate = peak * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps))) / 2
        if step < warmup_steps:
            rate = peak * (step + 1) / warmup_steps
        update = mean / (1 - 0.9 ** (step + 1)) / ((square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
        weights = weights - rate * (weight_decay * weights + update)
        visited.append(weights)
    return torch.stack(visited)


def training_warmed_from_zero(weights, gradient, steps, warmup_steps, peak, weight_decay, max_norm):
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    visited = []
    for step in range(steps):
        g = gradient(weights)
        g = g * min(1, max_norm / g.norm())
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        rate = peak * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps))) / 2
        if step < warmup_steps:
            rate = peak * step / warmup_steps
        update = mean / (1 - 0.9 ** (step + 1)) / ((square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
        weights = weights - rate * (weight_decay * weights + update)
        visited.append(weights)
    return torch.stack(visited)


def training_long_cosine(weights, gradient, steps, warmup_steps, peak, weight_decay, max_norm):
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    visited = []
    for step in range(steps):
        g = gradient(weights)
        g = g * min(1, max_norm / g.norm())
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        rate = peak * (1 + math.cos(math.pi * step / steps)) / 2
        if step < warmup_steps:
            rate = peak * (step + 1) / warmup_steps
        update = mean / (1 - 0.9 ** (step + 1)) / ((square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
        weights = weights - rate * (weight_decay * weights + update)
        visited.append(weights)
    return torch.stack(visited)


def training_one_tensor(weights, gradient, steps, warmup_steps, peak, weight_decay, max_norm):
    weights = weights.clone()
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    visited = []
    for step in range(steps):
        g = gradient(weights)
        g = g * min(1, max_norm / g.norm())
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        rate = peak * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps))) / 2
        if step < warmup_steps:
            rate = peak * (step + 1) / warmup_steps
        update = mean / (1 - 0.9 ** (step + 1)) / ((square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
        weights -= rate * (weight_decay * weights + update)
        visited.append(weights)
    return torch.stack(visited)


def training_the_argument(weights, gradient, steps, warmup_steps, peak, weight_decay, max_norm):
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    visited = []
    for step in range(steps):
        g = gradient(weights)
        g = g * min(1, max_norm / g.norm())
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        rate = peak * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps))) / 2
        if step < warmup_steps:
            rate = peak * (step + 1) / warmup_steps
        update = mean / (1 - 0.9 ** (step + 1)) / ((square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
        weights -= rate * (weight_decay * weights + update)
        visited.append(weights.clone())
    return torch.stack(visited)


def training_last_only(weights, gradient, steps, warmup_steps, peak, weight_decay, max_norm):
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    for step in range(steps):
        g = gradient(weights)
        g = g * min(1, max_norm / g.norm())
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        rate = peak * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps))) / 2
        if step < warmup_steps:
            rate = peak * (step + 1) / warmup_steps
        update = mean / (1 - 0.9 ** (step + 1)) / ((square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
        weights = weights - rate * (weight_decay * weights + update)
    return weights


SOLUTIONS = {
    "01.1": norm,
    "01.2": READING,
    "01.3": backward,
    "01.4": attend,
    "01.5": turn,
    "01.6": TransformerBlock,
    "01.7": training,
}

ALTERNATIVES = {
    "01.1": (norm_by_loops, norm_by_var, norm_by_moments),
    "01.2": ({key: READING[key].upper() for key in reversed(READING)}, {key: f" {READING[key]} " for key in READING}),
    "01.3": (backward_by_autograd, backward_one_example_at_a_time),
    "01.4": (attend_by_loops, attend_by_adding, attend_by_torch),
    "01.5": (turn_as_llama, turn_as_complex_numbers, turn_by_loops),
    "01.6": (TransformerBlockByEinsum, TransformerBlockByLoops),
    "01.7": (training_in_place, training_in_double),
}

MUTANTS = {
    "01.1": (
        Mutant(norm_unbiased, "variance over D - 1"),
        Mutant(norm_of_batch, "batch norm"),
        Mutant(norm_of_everything, "over everything"),
        Mutant(norm_root_mean_square, "mean not subtracted"),
        Mutant(norm_by_variance, "divided by the variance"),
        Mutant(norm_eps_outside, "eps outside the root"),
        Mutant(norm_without_eps, "eps left out"),
        Mutant(norm_alone, "scale and shift left out"),
        Mutant(norm_shifted_first, "shifted before it is scaled"),
        Mutant(norm_without_keepdim, "error"),
        Mutant(norm_in_place, "changed its argument"),
    ),
    "01.2": (
        *(
            Mutant(choosing(**{key: option}), f"{key} {option}")
            for key in READING
            for option in "abcd"
            if option != READING[key]
        ),
        Mutant(choosing(leak="?"), "not written"),
        Mutant(choosing(rates="e"), "wrong type"),
        Mutant("b", "wrong type"),
    ),
    "01.3": (
        Mutant(backward_summed, "not divided by the batch"),
        Mutant(backward_without_labels, "one-hot not subtracted"),
        Mutant(backward_without_softmax, "softmax left out"),
        Mutant(backward_downhill, "wrong sign"),
        Mutant(backward_without_relu, "ReLU forgotten"),
        Mutant(backward_relu_again, "ReLU of the gradient"),
        Mutant(backward_times_hidden, "ReLU's value for its derivative"),
        Mutant(backward_before_activation, "before the activation"),
        Mutant(backward_mean_of_biases, "mean for the biases"),
        Mutant(backward_overflowing, "not finite"),
        Mutant(backward_rows_of_biases, "wrong shape"),
        Mutant(backward_loss_first, "wrong type"),
    ),
    "01.4": (
        Mutant(attend_unscaled, "not scaled"),
        Mutant(attend_over_width, "scaled by d"),
        Mutant(attend_ahead, "causal mask left out"),
        Mutant(attend_to_padding, "padding mask left out"),
        Mutant(attend_to_everything, "both masks left out"),
        Mutant(attend_to_hidden, "mask turned round"),
        Mutant(attend_masked_late, "masked after the softmax"),
        Mutant(attend_to_zeros, "filled with 0"),
        Mutant(attend_strictly, "cannot see itself"),
        Mutant(attend_upside_down, "looks ahead"),
        Mutant(attend_over_queries, "softmax over the queries"),
        Mutant(attend_nan, "nan where nothing is seen"),
        Mutant(attend_very_low, "mean where nothing is seen"),
        Mutant(attend_weights, "wrong shape"),
        Mutant(attend_with_nan_derivatives, "wrong gradient"),
    ),
    "01.5": (
        Mutant(turn_neighbours, "interleaved pairs"),
        Mutant(turn_backwards, "turned backwards"),
        Mutant(turn_and_stretch, "not a rotation"),
        Mutant(turn_over_width, "exponent over d"),
        Mutant(turn_ever_faster, "frequencies rise"),
        Mutant(turn_from_zero, "positions not used"),
        Mutant(turn_from_one, "positions from 1"),
        Mutant(turn_ten_thousand, "base not used"),
        Mutant(turn_added, "added"),
        Mutant(turn_half, "wrong shape"),
        Mutant(turn_in_place, "changed its argument"),
    ),
    "01.6": (
        Mutant(BlockPostNorm, "post-norm"),
        Mutant(BlockOverwritten, "residual of the normalised"),
        Mutant(BlockNotAdded, "nothing added"),
        Mutant(BlockMLPNotAdded, "MLP not added"),
        Mutant(BlockInParallel, "in parallel"),
        Mutant(BlockReLU, "ReLU"),
        Mutant(BlockNotCausal, "not causal"),
        Mutant(BlockMixedHeads, "heads by a view alone"),
        Mutant(BlockHeadsBesideHeads, "attention between heads"),
        Mutant(BlockJoinedWrongly, "joined without a transpose"),
        Mutant(BlockOneHead, "one head"),
        Mutant(BlockScaledByWidth, "scaled by the whole width"),
        Mutant(BlockThirdsOfHeads, "thirds of each head"),
        Mutant(BlockWithoutOut, "out left out"),
        Mutant(BlockWithoutBias, "error"),
    ),
    "01.7": (
        Mutant(training_decay_in_the_gradient, "decay in the gradient"),
        Mutant(training_decay_alone, "decay without the rate"),
        Mutant(training_uncorrected, "not corrected"),
        Mutant(training_corrected_from_zero, "not finite"),
        Mutant(training_eps_inside, "eps under the root"),
        Mutant(training_unclipped, "not clipped"),
        Mutant(training_clamped, "each number clipped"),
        Mutant(training_stretched, "short gradients stretched"),
        Mutant(training_warmed_from_zero, "warm-up from 0"),
        Mutant(training_long_cosine, "cosine from the first step"),
        Mutant(training_one_tensor, "one tensor kept many times"),
        Mutant(training_the_argument, "changed its argument"),
        Mutant(training_last_only, "wrong shape"),
    ),
}
