"""Answers to set 04: model solutions, right answers written differently, wrong ones that learners write.

A class is not given this file. Each answer stands alone: it uses `torch`, `nn`, `F`, `math` and what it defines itself,
so that its source can be put into a notebook as it is.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.practice.exercise import Mutant
from course_lib.practice.lesson_04.exercises import READING

# 04.1 ---------------------------------------------------------------------------------------------------------------


def steer(feature_map: Tensor, condition: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    scale, shift = F.linear(condition, weight, bias).chunk(2, dim=-1)
    return (1 + scale)[:, :, None, None] * feature_map + shift[:, :, None, None]


def steer_by_loops(feature_map, condition, weight, bias):
    channels = feature_map.shape[1]
    examples = []
    for map_, vector in zip(feature_map, condition, strict=True):
        rows = []
        for d in range(channels):
            scale = 1 + weight[d].dot(vector) + bias[d]
            shift = weight[channels + d].dot(vector) + bias[channels + d]
            rows.append(map_[d] * scale + shift)
        examples.append(torch.stack(rows))
    return torch.stack(examples)


def steer_by_einsum(feature_map, condition, weight, bias):
    both = (condition @ weight.T + bias).unflatten(1, (2, -1))
    return feature_map + torch.einsum("bdhw,bd->bdhw", feature_map, both[:, 0]) + both[:, 1, :, None, None]


def steer_channels_last(feature_map, condition, weight, bias):
    both = torch.addmm(bias, condition, weight.t())
    gamma, beta = both.split(both.shape[1] // 2, dim=1)
    last = feature_map.permute(2, 3, 0, 1)
    return torch.addcmul(last + beta, last, gamma).permute(2, 3, 0, 1)


def steer_from_nothing(feature_map, condition, weight, bias):
    scale, shift = F.linear(condition, weight, bias).chunk(2, dim=-1)
    return scale[:, :, None, None] * feature_map + shift[:, :, None, None]


def steer_shift_first(feature_map, condition, weight, bias):
    shift, scale = F.linear(condition, weight, bias).chunk(2, dim=-1)
    return (1 + scale)[:, :, None, None] * feature_map + shift[:, :, None, None]


def steer_in_turns(feature_map, condition, weight, bias):
    both = (condition @ weight.T + bias)[:, :, None, None]
    return (1 + both[:, 0::2]) * feature_map + both[:, 1::2]


def steer_scale_alone(feature_map, condition, weight, bias):
    scale = F.linear(condition, weight, bias)[:, : feature_map.shape[1]]
    return feature_map * (1 + scale)[..., None, None]


def steer_shift_alone(feature_map, condition, weight, bias):
    shift = F.linear(condition, weight, bias)[:, feature_map.shape[1] :]
    return feature_map + shift[..., None, None]


def steer_shifted_then_scaled(feature_map, condition, weight, bias):
    scale, shift = F.linear(condition, weight, bias)[:, :, None, None].chunk(2, dim=1)
    return (1 + scale) * (feature_map + shift)


def steer_columns(feature_map, condition, weight, bias):
    scale, shift = F.linear(condition, weight, bias).chunk(2, dim=-1)
    return (1 + scale)[:, None, None, :] * feature_map + shift[:, None, None, :]


def steer_without_bias(feature_map, condition, weight, bias):
    scale, shift = (condition @ weight.T).chunk(2, dim=-1)
    return (1 + scale)[:, :, None, None] * feature_map + shift[:, :, None, None]


def steer_without_dimensions(feature_map, condition, weight, bias):
    scale, shift = F.linear(condition, weight, bias).chunk(2, dim=-1)
    return (1 + scale) * feature_map + shift


def steer_in_place(feature_map, condition, weight, bias):
    scale, shift = F.linear(condition, weight, bias).chunk(2, dim=-1)
    feature_map *= (1 + scale)[:, :, None, None]
    feature_map += shift[:, :, None, None]
    return feature_map


def steer_channels_left_last(feature_map, condition, weight, bias):
    scale, shift = F.linear(condition, weight, bias)[:, None, None].chunk(2, dim=-1)
    return (1 + scale) * feature_map.permute(0, 2, 3, 1) + shift


# 04.2 ---------------------------------------------------------------------------------------------------------------


def bilinear(x: Tensor, y: Tensor, u: Tensor, v: Tensor) -> Tensor:
    first = torch.einsum("bd,okd->bok", x, u)
    second = torch.einsum("be,oke->bok", y, v)
    return (first * second).sum(dim=-1)


def bilinear_by_loops(x, y, u, v):
    rows = []
    for one, other in zip(x, y, strict=True):
        row = []
        for us, vs in zip(u, v, strict=True):
            row.append(sum(a.dot(one) * b.dot(other) for a, b in zip(us, vs, strict=True)))
        rows.append(torch.stack(row))
    return torch.stack(rows)


def bilinear_by_matrices(x, y, u, v):
    matrices = u.mT @ v  # (O, D, E)
    return torch.einsum("bd,ode,be->bo", x, matrices, y)


def bilinear_flat(x, y, u, v):
    out, rank, _ = u.shape
    projected = F.linear(x, u.reshape(out * rank, -1)) * F.linear(y, v.reshape(out * rank, -1))
    return projected.view(-1, out, rank).sum(2)


def bilinear_added(x, y, u, v):
    first = torch.einsum("bd,okd->bok", x, u)
    second = torch.einsum("be,oke->bok", y, v)
    return (first + second).sum(dim=-1)


def bilinear_summed_early(x, y, u, v):
    return (x @ u.sum(1).T) * (y @ v.sum(1).T)


def bilinear_mean(x, y, u, v):
    return (torch.einsum("bd,okd->bok", x, u) * torch.einsum("be,oke->bok", y, v)).mean(dim=-1)


def bilinear_rank_left(x, y, u, v):
    return torch.einsum("bd,okd->bok", x, u) * torch.einsum("be,oke->bok", y, v)


def bilinear_outputs_summed(x, y, u, v):
    return torch.einsum("bd,okd,be,oke->bk", x, u, y, v)


def bilinear_first_rank(x, y, u, v):
    return (x @ u[:, 0].T) * (y @ v[:, 0].T)


def bilinear_every_pair(x, y, u, v):
    first = torch.einsum("bd,okd->bok", x, u)
    second = torch.einsum("be,oke->bok", y, v)
    return (first[..., :, None] * second[..., None, :]).sum((-1, -2))


def bilinear_one_side(x, y, u, v):
    return torch.einsum("bd,okd->bo", x, u)


def bilinear_no_return(x, y, u, v):
    (torch.einsum("bd,okd->bok", x, u) * torch.einsum("be,oke->bok", y, v)).sum(dim=-1)


def bilinear_detached(x, y, u, v):
    return torch.tensor(torch.einsum("bd,okd,be,oke->bo", x, u, y, v).tolist(), dtype=x.dtype)


# 04.3 ---------------------------------------------------------------------------------------------------------------


def choosing(**other: str) -> dict[str, str]:
    """The right choices with some exchanged for others."""
    return READING | other


# 04.4 ---------------------------------------------------------------------------------------------------------------


def compact(
    x: Tensor, y: Tensor, index_x: Tensor, sign_x: Tensor, index_y: Tensor, sign_y: Tensor, size: int
) -> Tensor:
    sketch_x = x.new_zeros(len(x), size).index_add(1, index_x, x * sign_x)
    sketch_y = y.new_zeros(len(y), size).index_add(1, index_y, y * sign_y)
    return torch.fft.irfft(torch.fft.rfft(sketch_x) * torch.fft.rfft(sketch_y), n=size)


def compact_of_the_products(x, y, index_x, sign_x, index_y, sign_y, size):
    products = torch.einsum("bd,be->bde", x * sign_x, y * sign_y).flatten(1)
    place = ((index_x[:, None] + index_y[None]) % size).flatten()
    return torch.zeros(len(x), size, dtype=x.dtype).index_add_(1, place, products)


def compact_by_matrices(x, y, index_x, sign_x, index_y, sign_y, size):
    to_x = F.one_hot(index_x, size) * sign_x[:, None]
    to_y = F.one_hot(index_y, size) * sign_y[:, None]
    spectrum = torch.fft.fft((x @ to_x).double()) * torch.fft.fft((y @ to_y).double())
    return torch.fft.ifft(spectrum).real.to(x.dtype)


def compact_by_turning(x, y, index_x, sign_x, index_y, sign_y, size):
    sketches = []
    for vector, index, sign in ((x, index_x, sign_x), (y, index_y, sign_y)):
        places = index.expand(len(vector), -1)
        sketches.append(torch.zeros(len(vector), size, dtype=vector.dtype).scatter_add(1, places, vector * sign))
    first, second = sketches
    return sum(first[:, [i]] * second.roll(i, dims=1) for i in range(size))


def compact_overwritten(x, y, index_x, sign_x, index_y, sign_y, size):
    sketch_x, sketch_y = x.new_zeros(len(x), size), y.new_zeros(len(y), size)
    sketch_x[:, index_x] = x * sign_x
    sketch_y[:, index_y] = y * sign_y
    return torch.fft.irfft(torch.fft.rfft(sketch_x) * torch.fft.rfft(sketch_y), n=size)


def compact_overwritten_plus(x, y, index_x, sign_x, index_y, sign_y, size):
    sketch_x, sketch_y = x.new_zeros(len(x), size), y.new_zeros(len(y), size)
    sketch_x[:, index_x] += x * sign_x
    sketch_y[:, index_y] += y * sign_y
    return torch.fft.irfft(torch.fft.rfft(sketch_x) * torch.fft.rfft(sketch_y), n=size)


def compact_unsigned(x, y, index_x, sign_x, index_y, sign_y, size):
    sketch_x = x.new_zeros(len(x), size).index_add(1, index_x, x)
    sketch_y = y.new_zeros(len(y), size).index_add(1, index_y, y)
    return torch.fft.irfft(torch.fft.rfft(sketch_x) * torch.fft.rfft(sketch_y), n=size)


def compact_multiplied(x, y, index_x, sign_x, index_y, sign_y, size):
    sketch_x = x.new_zeros(len(x), size).index_add(1, index_x, x * sign_x)
    sketch_y = y.new_zeros(len(y), size).index_add(1, index_y, y * sign_y)
    return sketch_x * sketch_y


def compact_added(x, y, index_x, sign_x, index_y, sign_y, size):
    sketch_x = x.new_zeros(len(x), size).index_add(1, index_x, x * sign_x)
    sketch_y = y.new_zeros(len(y), size).index_add(1, index_y, y * sign_y)
    return torch.fft.irfft(torch.fft.rfft(sketch_x) + torch.fft.rfft(sketch_y), n=size)


def compact_correlated(x, y, index_x, sign_x, index_y, sign_y, size):
    sketch_x = x.new_zeros(len(x), size).index_add(1, index_x, x * sign_x)
    sketch_y = y.new_zeros(len(y), size).index_add(1, index_y, y * sign_y)
    return torch.fft.irfft(torch.fft.rfft(sketch_x) * torch.fft.rfft(sketch_y).conj(), n=size)


def compact_even(x, y, index_x, sign_x, index_y, sign_y, size):
    sketch_x = x.new_zeros(len(x), size).index_add(1, index_x, x * sign_x)
    sketch_y = y.new_zeros(len(y), size).index_add(1, index_y, y * sign_y)
    return torch.fft.irfft(torch.fft.rfft(sketch_x) * torch.fft.rfft(sketch_y))


def compact_padded(x, y, index_x, sign_x, index_y, sign_y, size):
    sketch_x = x.new_zeros(len(x), 2 * size).index_add(1, index_x, x * sign_x)
    sketch_y = y.new_zeros(len(y), 2 * size).index_add(1, index_y, y * sign_y)
    return torch.fft.irfft(torch.fft.rfft(sketch_x) * torch.fft.rfft(sketch_y))[:, :size]


def compact_spectrum(x, y, index_x, sign_x, index_y, sign_y, size):
    sketch_x = x.new_zeros(len(x), size).index_add(1, index_x, x * sign_x)
    sketch_y = y.new_zeros(len(y), size).index_add(1, index_y, y * sign_y)
    return torch.fft.fft(sketch_x) * torch.fft.fft(sketch_y)


def compact_complex(x, y, index_x, sign_x, index_y, sign_y, size):
    sketch_x = x.new_zeros(len(x), size).index_add(1, index_x, x * sign_x)
    sketch_y = y.new_zeros(len(y), size).index_add(1, index_y, y * sign_y)
    return torch.fft.ifft(torch.fft.fft(sketch_x) * torch.fft.fft(sketch_y))


def compact_not_at_all(x, y, index_x, sign_x, index_y, sign_y, size):
    return ((x * sign_x)[:, :, None] * (y * sign_y)[:, None, :]).flatten(1)


def compact_one_place(x, y, index_x, sign_x, index_y, sign_y, size):
    sketch_x = x.new_zeros(len(x), size).index_add(1, index_x, x * sign_x)
    sketch_y = y.new_zeros(len(y), size).index_add(1, index_x, y * sign_y)
    return torch.fft.irfft(torch.fft.rfft(sketch_x) * torch.fft.rfft(sketch_y), n=size)


# 04.5 ---------------------------------------------------------------------------------------------------------------


def two_hops(
    states: Tensor,
    words: Tensor,
    word_mask: Tensor,
    regions: Tensor,
    xy: Tensor,
    region_mask: Tensor,
    control: Tensor,
    pointer: Tensor,
) -> Tensor:
    scores = control @ states.mT / math.sqrt(states.shape[-1])
    weights = scores.masked_fill(~word_mask[:, None], -torch.inf).softmax(dim=-1)
    query = weights @ words @ pointer.T
    scores = query @ regions.mT / math.sqrt(regions.shape[-1])
    weights = scores.masked_fill(~region_mask[:, None], -torch.inf).softmax(dim=-1)
    return weights @ torch.cat([regions, xy], dim=-1)


def two_hops_by_loops(states, words, word_mask, regions, xy, region_mask, control, pointer):
    found = []
    for b in range(len(states)):
        heard = states[b, word_mask[b]]
        seen = regions[b, region_mask[b]]
        reads = []
        for one in control:
            weights = torch.softmax(heard @ one / heard.shape[1] ** 0.5, 0)
            query = pointer @ sum(w * word for w, word in zip(weights, words[b, word_mask[b]], strict=True))
            weights = torch.softmax(seen @ query / seen.shape[1] ** 0.5, 0)
            reads.append(torch.cat([weights @ seen, weights @ xy[b, region_mask[b]]]))
        found.append(torch.stack(reads))
    return torch.stack(found)


def two_hops_by_adding(states, words, word_mask, regions, xy, region_mask, control, pointer):
    def hop(query, key, hidden, values):
        scores = torch.einsum("bkd,bnd->bkn", query * key.size(-1) ** -0.5, key)
        weights = torch.softmax(scores + torch.where(hidden, -1e30, 0.0)[:, None].to(scores), 2)
        return [torch.einsum("bkn,bnd->bkd", weights, value) for value in values]

    (read,) = hop(control.unsqueeze(0).expand(len(states), -1, -1), states, ~word_mask, [words])
    return torch.cat(hop(F.linear(read, pointer), regions, ~region_mask, [regions, xy]), -1)


def two_hops_by_torch(states, words, word_mask, regions, xy, region_mask, control, pointer):
    query = control[None].repeat(len(states), 1, 1)
    read = F.scaled_dot_product_attention(query, states, words, attn_mask=word_mask[:, None, :])
    keys = regions @ pointer
    where = region_mask[:, None, :]
    scale = regions.shape[-1] ** -0.5
    return F.scaled_dot_product_attention(read, keys, torch.cat((regions, xy), 2), attn_mask=where, scale=scale)


def two_hops_of_states(states, words, word_mask, regions, xy, region_mask, control, pointer):
    scores = control @ states.mT / math.sqrt(states.shape[-1])
    weights = scores.masked_fill(~word_mask[:, None], -torch.inf).softmax(dim=-1)
    query = weights @ states @ pointer.T
    scores = query @ regions.mT / math.sqrt(regions.shape[-1])
    weights = scores.masked_fill(~region_mask[:, None], -torch.inf).softmax(dim=-1)
    return weights @ torch.cat([regions, xy], dim=-1)


def two_hops_of_words(states, words, word_mask, regions, xy, region_mask, control, pointer):
    scores = control @ words.mT / math.sqrt(words.shape[-1])
    weights = scores.masked_fill(~word_mask[:, None], -torch.inf).softmax(dim=-1)
    query = weights @ words @ pointer.T
    scores = query @ regions.mT / math.sqrt(regions.shape[-1])
    weights = scores.masked_fill(~region_mask[:, None], -torch.inf).softmax(dim=-1)
    return weights @ torch.cat([regions, xy], dim=-1)


def two_hops_without_place(states, words, word_mask, regions, xy, region_mask, control, pointer):
    scores = control @ states.mT / math.sqrt(states.shape[-1])
    weights = scores.masked_fill(~word_mask[:, None], -torch.inf).softmax(dim=-1)
    query = weights @ words @ pointer.T
    scores = query @ regions.mT / math.sqrt(regions.shape[-1])
    weights = scores.masked_fill(~region_mask[:, None], -torch.inf).softmax(dim=-1)
    return weights @ regions


def two_hops_place_first(states, words, word_mask, regions, xy, region_mask, control, pointer):
    scores = control @ states.mT / math.sqrt(states.shape[-1])
    weights = scores.masked_fill(~word_mask[:, None], -torch.inf).softmax(dim=-1)
    query = weights @ words @ pointer.T
    scores = query @ regions.mT / math.sqrt(regions.shape[-1])
    weights = scores.masked_fill(~region_mask[:, None], -torch.inf).softmax(dim=-1)
    return weights @ torch.cat([xy, regions], dim=-1)


def two_hops_of_padding(states, words, word_mask, regions, xy, region_mask, control, pointer):
    weights = (control @ states.mT / math.sqrt(states.shape[-1])).softmax(dim=-1)
    query = weights @ words @ pointer.T
    scores = query @ regions.mT / math.sqrt(regions.shape[-1])
    weights = scores.masked_fill(~region_mask[:, None], -torch.inf).softmax(dim=-1)
    return weights @ torch.cat([regions, xy], dim=-1)


def two_hops_to_nothing(states, words, word_mask, regions, xy, region_mask, control, pointer):
    scores = control @ states.mT / math.sqrt(states.shape[-1])
    weights = scores.masked_fill(~word_mask[:, None], -torch.inf).softmax(dim=-1)
    query = weights @ words @ pointer.T
    weights = (query @ regions.mT / math.sqrt(regions.shape[-1])).softmax(dim=-1)
    return weights @ torch.cat([regions, xy], dim=-1)


def two_hops_unmasked(states, words, word_mask, regions, xy, region_mask, control, pointer):
    weights = (control @ states.mT / math.sqrt(states.shape[-1])).softmax(dim=-1)
    query = weights @ words @ pointer.T
    weights = (query @ regions.mT / math.sqrt(regions.shape[-1])).softmax(dim=-1)
    return weights @ torch.cat([regions, xy], dim=-1)


def two_hops_masked_late(states, words, word_mask, regions, xy, region_mask, control, pointer):
    weights = (control @ states.mT / math.sqrt(states.shape[-1])).softmax(dim=-1) * word_mask[:, None]
    query = weights @ words @ pointer.T
    weights = (query @ regions.mT / math.sqrt(regions.shape[-1])).softmax(dim=-1) * region_mask[:, None]
    return weights @ torch.cat([regions, xy], dim=-1)


def two_hops_unscaled(states, words, word_mask, regions, xy, region_mask, control, pointer):
    weights = (control @ states.mT).masked_fill(~word_mask[:, None], -torch.inf).softmax(dim=-1)
    query = weights @ words @ pointer.T
    weights = (query @ regions.mT).masked_fill(~region_mask[:, None], -torch.inf).softmax(dim=-1)
    return weights @ torch.cat([regions, xy], dim=-1)


def two_hops_half_scaled(states, words, word_mask, regions, xy, region_mask, control, pointer):
    scores = control @ states.mT / math.sqrt(states.shape[-1])
    weights = scores.masked_fill(~word_mask[:, None], -torch.inf).softmax(dim=-1)
    query = weights @ words @ pointer.T
    weights = (query @ regions.mT).masked_fill(~region_mask[:, None], -torch.inf).softmax(dim=-1)
    return weights @ torch.cat([regions, xy], dim=-1)


def two_hops_over_reads(states, words, word_mask, regions, xy, region_mask, control, pointer):
    scores = control @ states.mT / math.sqrt(states.shape[-1])
    weights = scores.masked_fill(~word_mask[:, None], -torch.inf).softmax(dim=1).nan_to_num(0.0)
    query = weights @ words @ pointer.T
    scores = query @ regions.mT / math.sqrt(regions.shape[-1])
    weights = scores.masked_fill(~region_mask[:, None], -torch.inf).softmax(dim=-1)
    return weights @ torch.cat([regions, xy], dim=-1)


def two_hops_pooled(states, words, word_mask, regions, xy, region_mask, control, pointer):
    seen = word_mask[..., None].to(words)
    mean = (words * seen).sum(1) / seen.sum(1)
    query = (mean @ pointer.T)[:, None].expand(-1, len(control), -1)
    scores = query @ regions.mT / math.sqrt(regions.shape[-1])
    weights = scores.masked_fill(~region_mask[:, None], -torch.inf).softmax(dim=-1)
    return weights @ torch.cat([regions, xy], dim=-1)


def two_hops_hard(states, words, word_mask, regions, xy, region_mask, control, pointer):
    scores = control @ states.mT / math.sqrt(states.shape[-1])
    weights = scores.masked_fill(~word_mask[:, None], -torch.inf).softmax(dim=-1)
    scores = (weights @ words @ pointer.T @ regions.mT).masked_fill(~region_mask[:, None], -torch.inf)
    rows = torch.arange(len(regions))[:, None]
    return torch.cat([regions, xy], dim=-1)[rows, scores.argmax(dim=-1)]


def two_hops_one(states, words, word_mask, regions, xy, region_mask, control, pointer):
    scores = control @ states.mT / math.sqrt(states.shape[-1])
    return scores.masked_fill(~word_mask[:, None], -torch.inf).softmax(dim=-1) @ words


def two_hops_flat_mask(states, words, word_mask, regions, xy, region_mask, control, pointer):
    scores = control @ states.mT / math.sqrt(states.shape[-1])
    weights = scores.masked_fill(~word_mask, -torch.inf).softmax(dim=-1)
    query = weights @ words @ pointer.T
    scores = query @ regions.mT / math.sqrt(regions.shape[-1])
    weights = scores.masked_fill(~region_mask, -torch.inf).softmax(dim=-1)
    return weights @ torch.cat([regions, xy], dim=-1)


# 04.6 ---------------------------------------------------------------------------------------------------------------


class Gated(nn.Module):
    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(context_width, width, bias=False)
        self.v_proj = nn.Linear(context_width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)
        self.attention_gate = nn.Parameter(torch.zeros(1))
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.mlp_gate = nn.Parameter(torch.zeros(1))

    def forward(self, hidden_states: Tensor, context: Tensor, context_mask: Tensor) -> Tensor:
        heard = self.attend(self.norm1(hidden_states), context, context_mask)
        hidden_states = hidden_states + torch.tanh(self.attention_gate) * heard
        thought = self.fc2(F.gelu(self.fc1(self.norm2(hidden_states))))
        return hidden_states + torch.tanh(self.mlp_gate) * thought

    def attend(self, hidden: Tensor, context: Tensor, context_mask: Tensor) -> Tensor:
        query = self.q_proj(hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key = self.k_proj(context).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        value = self.v_proj(context).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        scores = query @ key.mT / math.sqrt(query.shape[-1])
        weights = scores.masked_fill(~context_mask[:, None, None], -torch.inf).softmax(dim=-1)
        heard = weights.nan_to_num(0.0) @ value
        return self.o_proj(heard.transpose(1, 2).flatten(2))


class GatedByLoops(nn.Module):
    def __init__(self, width, context_width, heads):
        super().__init__()
        self.heads, self.width = heads, width
        for name in ("norm1", "norm2"):
            self.add_module(name, nn.LayerNorm(width))
        for name in ("q_proj", "o_proj"):
            self.add_module(name, nn.Linear(width, width, bias=False))
        for name in ("k_proj", "v_proj"):
            self.add_module(name, nn.Linear(context_width, width, bias=False))
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.attention_gate, self.mlp_gate = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def forward(self, hidden_states, context, context_mask):
        size = self.width // self.heads
        sequences = []
        for x, answers, there in zip(hidden_states, context, context_mask, strict=True):
            q = self.q_proj(self.norm1(x))
            k, v = self.k_proj(answers[there]), self.v_proj(answers[there])
            heads = []
            for h in range(self.heads):
                part = slice(h * size, (h + 1) * size)
                weights = torch.softmax(q[:, part] @ k[:, part].T * size**-0.5, -1)
                heads.append(weights @ v[:, part])  # without any answer an empty sum, which is 0
            x = x + self.o_proj(torch.cat(heads, -1)) * self.attention_gate.tanh()
            sequences.append(x + self.mlp_gate.tanh() * self.fc2(F.gelu(self.fc1(self.norm2(x)))))
        return torch.stack(sequences)


class GatedByTorch(nn.Module):
    def __init__(self, width, context_width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q_proj, self.o_proj = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.k_proj, self.v_proj = (nn.Linear(context_width, width, bias=False) for _ in range(2))
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.attention_gate = nn.Parameter(torch.tensor([0.0]))
        self.mlp_gate = nn.Parameter(torch.tensor([0.0]))

    def forward(self, hidden_states, context, context_mask):
        def heads(x):
            return x.view(*x.shape[:2], self.heads, -1).permute(0, 2, 1, 3)

        query = heads(self.q_proj(self.norm1(hidden_states)))
        heard = F.scaled_dot_product_attention(
            query, heads(self.k_proj(context)), heads(self.v_proj(context)), attn_mask=context_mask[:, None, None, :]
        )
        heard = self.o_proj(heard.permute(0, 2, 1, 3).reshape(hidden_states.shape))
        after = torch.addcmul(hidden_states, heard, self.attention_gate.tanh())
        return after + self.fc2(F.gelu(self.fc1(self.norm2(after)))) * self.mlp_gate.tanh()


class GatedPlain(Gated):
    def forward(self, hidden_states, context, context_mask):
        heard = self.attend(self.norm1(hidden_states), context, context_mask)
        hidden_states = hidden_states + self.attention_gate * heard
        return hidden_states + self.mlp_gate * self.fc2(F.gelu(self.fc1(self.norm2(hidden_states))))


class GatedSigmoid(Gated):
    def forward(self, hidden_states, context, context_mask):
        heard = self.attend(self.norm1(hidden_states), context, context_mask)
        hidden_states = hidden_states + torch.sigmoid(self.attention_gate) * heard
        return hidden_states + torch.sigmoid(self.mlp_gate) * self.fc2(F.gelu(self.fc1(self.norm2(hidden_states))))


class GatedNot(Gated):
    def forward(self, hidden_states, context, context_mask):
        hidden_states = hidden_states + self.attend(self.norm1(hidden_states), context, context_mask)
        return hidden_states + self.fc2(F.gelu(self.fc1(self.norm2(hidden_states))))


class GatedHalf(Gated):
    def forward(self, hidden_states, context, context_mask):
        heard = self.attend(self.norm1(hidden_states), context, context_mask)
        hidden_states = hidden_states + torch.tanh(self.attention_gate) * heard
        return hidden_states + self.fc2(F.gelu(self.fc1(self.norm2(hidden_states))))


class GatedTwiceAlike(Gated):
    def forward(self, hidden_states, context, context_mask):
        gate = torch.tanh(self.attention_gate)
        hidden_states = hidden_states + gate * self.attend(self.norm1(hidden_states), context, context_mask)
        return hidden_states + gate * self.fc2(F.gelu(self.fc1(self.norm2(hidden_states))))


class GatedWhole(Gated):
    def forward(self, hidden_states, context, context_mask):
        heard = self.attend(self.norm1(hidden_states), context, context_mask)
        hidden_states = torch.tanh(self.attention_gate) * (hidden_states + heard)
        thought = self.fc2(F.gelu(self.fc1(self.norm2(hidden_states))))
        return torch.tanh(self.mlp_gate) * (hidden_states + thought)


class GatedHighway(Gated):
    def forward(self, hidden_states, context, context_mask):
        gate = torch.tanh(self.attention_gate)
        heard = self.attend(self.norm1(hidden_states), context, context_mask)
        hidden_states = torch.lerp(hidden_states, heard, gate)
        thought = self.fc2(F.gelu(self.fc1(self.norm2(hidden_states))))
        return torch.lerp(hidden_states, thought, torch.tanh(self.mlp_gate))


class GatedSideBySide(Gated):
    def forward(self, hidden_states, context, context_mask):
        heard = self.attend(self.norm1(hidden_states), context, context_mask)
        thought = self.fc2(F.gelu(self.fc1(self.norm2(hidden_states))))
        return hidden_states + torch.tanh(self.attention_gate) * heard + torch.tanh(self.mlp_gate) * thought


class GatedBare(Gated):
    def forward(self, hidden_states, context, context_mask):
        heard = self.attend(hidden_states, context, context_mask)
        hidden_states = hidden_states + torch.tanh(self.attention_gate) * heard
        return hidden_states + torch.tanh(self.mlp_gate) * self.fc2(F.gelu(self.fc1(hidden_states)))


class GatedPostNorm(Gated):
    def forward(self, hidden_states, context, context_mask):
        heard = self.attend(hidden_states, context, context_mask)
        hidden_states = self.norm1(hidden_states + torch.tanh(self.attention_gate) * heard)
        return self.norm2(hidden_states + torch.tanh(self.mlp_gate) * self.fc2(F.gelu(self.fc1(hidden_states))))


class GatedUnmasked(Gated):
    def attend(self, hidden, context, context_mask):
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q_proj(hidden), self.k_proj(context), self.v_proj(context))
        )
        return self.o_proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class GatedNan(Gated):
    def attend(self, hidden, context, context_mask):
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q_proj(hidden), self.k_proj(context), self.v_proj(context))
        )
        scores = query @ key.mT / math.sqrt(query.shape[-1])
        weights = scores.masked_fill(~context_mask[:, None, None], float("-inf")).softmax(dim=-1)
        return self.o_proj((weights @ value).transpose(1, 2).flatten(2))


class GatedAlmostMasked(Gated):
    def attend(self, hidden, context, context_mask):
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q_proj(hidden), self.k_proj(context), self.v_proj(context))
        )
        scores = query @ key.mT / math.sqrt(query.shape[-1])
        weights = scores.masked_fill(~context_mask[:, None, None], -1e9).softmax(dim=-1)
        return self.o_proj((weights @ value).transpose(1, 2).flatten(2))


class GatedUnscaled(Gated):
    def attend(self, hidden, context, context_mask):
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q_proj(hidden), self.k_proj(context), self.v_proj(context))
        )
        scores = (query @ key.mT).masked_fill(~context_mask[:, None, None], -torch.inf)
        return self.o_proj((scores.softmax(dim=-1).nan_to_num(0.0) @ value).transpose(1, 2).flatten(2))


class GatedOneHead(Gated):
    def attend(self, hidden, context, context_mask):
        query, key, value = self.q_proj(hidden), self.k_proj(context), self.v_proj(context)
        return self.o_proj(F.scaled_dot_product_attention(query, key, value, attn_mask=context_mask[:, None]))


class GatedWrongView(Gated):
    def attend(self, hidden, context, context_mask):
        query, key, value = (
            part.view(len(part), self.heads, part.shape[1], -1)
            for part in (self.q_proj(hidden), self.k_proj(context), self.v_proj(context))
        )
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=context_mask[:, None, None])
        return self.o_proj(heard.transpose(1, 2).flatten(2))


class GatedWrongJoin(Gated):
    def attend(self, hidden, context, context_mask):
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q_proj(hidden), self.k_proj(context), self.v_proj(context))
        )
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=context_mask[:, None, None])
        return self.o_proj(heard.reshape(hidden.shape))


class GatedOpen(Gated):
    def __init__(self, width, context_width, heads):
        super().__init__(width, context_width, heads)
        self.attention_gate = nn.Parameter(torch.ones(1))


class GatedFrozen(Gated):
    def forward(self, hidden_states, context, context_mask):
        heard = self.attend(self.norm1(hidden_states), context, context_mask)
        hidden_states = hidden_states + math.tanh(self.attention_gate.item()) * heard
        thought = self.fc2(F.gelu(self.fc1(self.norm2(hidden_states))))
        return hidden_states + math.tanh(self.mlp_gate.item()) * thought


class GatedInPlace(Gated):
    def forward(self, hidden_states, context, context_mask):
        hidden_states += torch.tanh(self.attention_gate) * self.attend(self.norm1(hidden_states), context, context_mask)
        hidden_states += torch.tanh(self.mlp_gate) * self.fc2(F.gelu(self.fc1(self.norm2(hidden_states))))
        return hidden_states


class GatedWithBiases(nn.Module):
    def __init__(self, width, context_width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q_proj, self.o_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.k_proj, self.v_proj = nn.Linear(context_width, width), nn.Linear(context_width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.attention_gate, self.mlp_gate = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def forward(self, hidden_states, context, context_mask):
        return hidden_states


# 04.7 ---------------------------------------------------------------------------------------------------------------


def training(
    regions: Tensor,
    questions: Tensor,
    labels: Tensor,
    region_weight: Tensor,
    question_weight: Tensor,
    bias: Tensor,
    steps: int,
) -> tuple[Tensor, Tensor, Tensor, list[float]]:
    u, v, b = (start.clone().requires_grad_() for start in (region_weight, question_weight, bias))
    losses = []
    for _ in range(steps):
        scores = ((regions @ u) * (questions @ v).unsqueeze(1)).sum(dim=-1)
        logits = scores.square().mean(dim=1) + b
        loss = F.binary_cross_entropy_with_logits(logits, labels)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, [u, v, b])
        with torch.no_grad():
            u -= gradients[0]
            v -= gradients[1]
            b -= gradients[2]
    return u, v, b, losses


def training_by_adam(regions, questions, labels, region_weight, question_weight, bias, steps):
    weights = [nn.Parameter(start.clone()) for start in (region_weight, question_weight, bias)]
    optimizer = torch.optim.Adam(weights, lr=0.02)
    losses = []
    for _ in range(steps):
        scores = torch.einsum("nrd,dk,nk->nr", regions, weights[0], questions @ weights[1])
        logits = (scores**2).mean(-1) + weights[2]
        loss = -(labels * F.logsigmoid(logits) + (1 - labels) * F.logsigmoid(-logits)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return [weight.detach() for weight in weights] + [losses]


def training_by_matrix(regions, questions, labels, region_weight, question_weight, bias, steps):
    u, v, b = (start.clone().requires_grad_() for start in (region_weight, question_weight, bias))
    optimizer = torch.optim.SGD([u, v, b], lr=0.2, momentum=0.9)
    losses = torch.zeros(steps)
    for step in range(steps):
        scores = (regions @ (u @ v.T) @ questions.unsqueeze(-1)).squeeze(-1)
        loss = nn.BCEWithLogitsLoss()(scores.pow(2).sum(1) / regions.shape[1] + b, labels)
        losses[step] = loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return u, v, b, losses


def training_on_sums(regions, questions, labels, region_weight, question_weight, bias, steps):
    weights = [start.clone().requires_grad_() for start in (region_weight, question_weight, bias)]
    losses = []
    for _ in range(steps):
        sums = (regions @ weights[0]) + (questions @ weights[1]).unsqueeze(1)
        loss = F.binary_cross_entropy_with_logits(sums.sum(-1).square().mean(1) + weights[2], labels)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= 0.1 * gradient
    return *weights, losses


def training_pooled(regions, questions, labels, region_weight, question_weight, bias, steps):
    weights = [start.clone().requires_grad_() for start in (region_weight, question_weight, bias)]
    losses = []
    for _ in range(steps):
        scores = ((regions.mean(1) @ weights[0]) * (questions @ weights[1])).sum(-1)
        loss = F.binary_cross_entropy_with_logits(scores.square() + weights[2], labels)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= gradient
    return *weights, losses


def training_without_square(regions, questions, labels, region_weight, question_weight, bias, steps):
    weights = [start.clone().requires_grad_() for start in (region_weight, question_weight, bias)]
    losses = []
    for _ in range(steps):
        products = (regions @ weights[0]) * (questions @ weights[1]).unsqueeze(1)
        loss = F.binary_cross_entropy_with_logits(products.sum(-1).mean(1) + weights[2], labels)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= gradient
    return *weights, losses


def training_squared_early(regions, questions, labels, region_weight, question_weight, bias, steps):
    weights = [start.clone().requires_grad_() for start in (region_weight, question_weight, bias)]
    losses = []
    for _ in range(steps):
        products = (regions @ weights[0]) * (questions @ weights[1]).unsqueeze(1)
        loss = F.binary_cross_entropy_with_logits(products.square().sum(-1).mean(1) + weights[2], labels)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= gradient
    return *weights, losses


def training_on_the_sum(regions, questions, labels, region_weight, question_weight, bias, steps):
    weights = [start.clone().requires_grad_() for start in (region_weight, question_weight, bias)]
    losses = []
    for _ in range(steps):
        products = (regions @ weights[0]) * (questions @ weights[1]).unsqueeze(1)
        loss = F.binary_cross_entropy_with_logits(products.sum(-1).square().sum(1) + weights[2], labels)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= 0.3 * gradient
    return *weights, losses


def training_without_bias(regions, questions, labels, region_weight, question_weight, bias, steps):
    weights = [start.clone().requires_grad_() for start in (region_weight, question_weight)]
    losses = []
    for _ in range(steps):
        products = (regions @ weights[0]) * (questions @ weights[1]).unsqueeze(1)
        loss = F.binary_cross_entropy_with_logits(products.sum(-1).square().mean(1), labels)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= gradient
    return *weights, bias, losses


def training_squared_error(regions, questions, labels, region_weight, question_weight, bias, steps):
    weights = [start.clone().requires_grad_() for start in (region_weight, question_weight, bias)]
    losses = []
    for _ in range(steps):
        products = (regions @ weights[0]) * (questions @ weights[1]).unsqueeze(1)
        logits = products.sum(-1).square().mean(1) + weights[2]
        loss = (torch.sigmoid(logits) - labels).pow(2).mean()
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= 4 * gradient
    return *weights, losses


def training_two_sigmoids(regions, questions, labels, region_weight, question_weight, bias, steps):
    weights = [start.clone().requires_grad_() for start in (region_weight, question_weight, bias)]
    losses = []
    for _ in range(steps):
        products = (regions @ weights[0]) * (questions @ weights[1]).unsqueeze(1)
        logits = products.sum(-1).square().mean(1) + weights[2]
        loss = F.binary_cross_entropy_with_logits(torch.sigmoid(logits), labels)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= 4 * gradient
    return *weights, losses


def training_uphill(regions, questions, labels, region_weight, question_weight, bias, steps):
    weights = [start.clone().requires_grad_() for start in (region_weight, question_weight, bias)]
    losses = []
    for _ in range(steps):
        products = (regions @ weights[0]) * (questions @ weights[1]).unsqueeze(1)
        logits = products.sum(-1).square().mean(1) + weights[2]
        loss = F.binary_cross_entropy_with_logits(logits, labels)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight += 0.002 * gradient
    return *weights, losses


def training_without_step(regions, questions, labels, region_weight, question_weight, bias, steps):
    weights = [start.clone().requires_grad_() for start in (region_weight, question_weight, bias)]
    losses = []
    for _ in range(steps):
        products = (regions @ weights[0]) * (questions @ weights[1]).unsqueeze(1)
        logits = products.sum(-1).square().mean(1) + weights[2]
        loss = F.binary_cross_entropy_with_logits(logits, labels)
        losses.append(loss.item())
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight = weight - gradient
    return *weights, losses


def training_too_slow(regions, questions, labels, region_weight, question_weight, bias, steps):
    weights = [start.clone().requires_grad_() for start in (region_weight, question_weight, bias)]
    losses = []
    for _ in range(steps):
        products = (regions @ weights[0]) * (questions @ weights[1]).unsqueeze(1)
        logits = products.sum(-1).square().mean(1) + weights[2]
        loss = F.binary_cross_entropy_with_logits(logits, labels)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= 0.05 * gradient
    return *weights, losses


def training_too_short(regions, questions, labels, region_weight, question_weight, bias, steps):
    weights = [start.clone().requires_grad_() for start in (region_weight, question_weight, bias)]
    losses = []
    for _ in range(steps // 10):
        products = (regions @ weights[0]) * (questions @ weights[1]).unsqueeze(1)
        logits = products.sum(-1).square().mean(1) + weights[2]
        loss = F.binary_cross_entropy_with_logits(logits, labels)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= gradient
    return *weights, losses


def training_forgotten(regions, questions, labels, region_weight, question_weight, bias, steps):
    weights = [start.clone().requires_grad_() for start in (region_weight, question_weight, bias)]
    losses = []
    for _ in range(steps):
        products = (regions @ weights[0]) * (questions @ weights[1]).unsqueeze(1)
        logits = products.sum(-1).square().mean(1) + weights[2]
        loss = F.binary_cross_entropy_with_logits(logits, labels)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= gradient
    return region_weight, question_weight, bias, losses


def training_without_losses(regions, questions, labels, region_weight, question_weight, bias, steps):
    weights = [start.clone().requires_grad_() for start in (region_weight, question_weight, bias)]
    for _ in range(steps):
        products = (regions @ weights[0]) * (questions @ weights[1]).unsqueeze(1)
        logits = products.sum(-1).square().mean(1) + weights[2]
        gradients = torch.autograd.grad(F.binary_cross_entropy_with_logits(logits, labels), weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= gradient
    return tuple(weights)


def training_in_place(regions, questions, labels, region_weight, question_weight, bias, steps):
    weights = [start.requires_grad_() for start in (region_weight, question_weight, bias)]
    losses = []
    for _ in range(steps):
        products = (regions @ weights[0]) * (questions @ weights[1]).unsqueeze(1)
        logits = products.sum(-1).square().mean(1) + weights[2]
        loss = F.binary_cross_entropy_with_logits(logits, labels)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= gradient
    return *weights, losses


SOLUTIONS = {
    "04.1": steer,
    "04.2": bilinear,
    "04.3": READING,
    "04.4": compact,
    "04.5": two_hops,
    "04.6": Gated,
    "04.7": training,
}

ALTERNATIVES = {
    "04.1": (steer_by_loops, steer_by_einsum, steer_channels_last),
    "04.2": (bilinear_by_loops, bilinear_by_matrices, bilinear_flat),
    "04.3": ({key: READING[key].upper() for key in reversed(READING)}, {key: f" {READING[key]} " for key in READING}),
    "04.4": (compact_of_the_products, compact_by_matrices, compact_by_turning),
    "04.5": (two_hops_by_loops, two_hops_by_adding, two_hops_by_torch),
    "04.6": (GatedByLoops, GatedByTorch),
    "04.7": (training_by_adam, training_by_matrix),
}

MUTANTS = {
    "04.1": (
        Mutant(steer_from_nothing, "one left out"),
        Mutant(steer_shift_first, "halves exchanged"),
        Mutant(steer_in_turns, "every other number"),
        Mutant(steer_scale_alone, "shift left out"),
        Mutant(steer_shift_alone, "scale left out"),
        Mutant(steer_shifted_then_scaled, "shifted before it is scaled"),
        Mutant(steer_columns, "along the width"),
        Mutant(steer_without_bias, "bias left out"),
        Mutant(steer_without_dimensions, "dimensions not added"),
        Mutant(steer_in_place, "changed its argument"),
        Mutant(steer_channels_left_last, "wrong shape"),
    ),
    "04.2": (
        Mutant(bilinear_added, "added"),
        Mutant(bilinear_summed_early, "summed before the product"),
        Mutant(bilinear_every_pair, "summed before the product"),
        Mutant(bilinear_mean, "averaged over the rank"),
        Mutant(bilinear_rank_left, "not summed over the rank"),
        Mutant(bilinear_outputs_summed, "summed over the outputs"),
        Mutant(bilinear_first_rank, "one of the ranks"),
        Mutant(bilinear_one_side, "the first side only"),
        Mutant(bilinear_no_return, "returned nothing"),
        Mutant(bilinear_detached, "not differentiable"),
    ),
    "04.3": (
        *(
            Mutant(choosing(**{key: option}), f"{key} {option}")
            for key in READING
            for option in "abcd"
            if option != READING[key]
        ),
        Mutant(choosing(late="?"), "not written"),
        Mutant(choosing(network_b="e"), "wrong type"),
        Mutant("c", "wrong type"),
    ),
    "04.4": (
        Mutant(compact_overwritten, "overwritten"),
        Mutant(compact_overwritten_plus, "overwritten"),
        Mutant(compact_unsigned, "signs left out"),
        Mutant(compact_one_place, "places of x for both"),
        Mutant(compact_multiplied, "multiplied, not convolved"),
        Mutant(compact_added, "spectra added"),
        Mutant(compact_correlated, "correlated the other way"),
        Mutant(compact_padded, "not circular"),
        Mutant(compact_even, "length not told"),
        Mutant(compact_spectrum, "spectrum"),
        Mutant(compact_complex, "spectrum"),
        Mutant(compact_not_at_all, "every product"),
    ),
    "04.5": (
        Mutant(two_hops_of_states, "states read"),
        Mutant(two_hops_of_words, "words asked"),
        Mutant(two_hops_without_place, "coordinates left out"),
        Mutant(two_hops_place_first, "coordinates first"),
        Mutant(two_hops_of_padding, "padding read"),
        Mutant(two_hops_to_nothing, "padding pointed at"),
        Mutant(two_hops_unmasked, "masks ignored"),
        Mutant(two_hops_masked_late, "masked after the softmax"),
        Mutant(two_hops_unscaled, "not scaled"),
        Mutant(two_hops_half_scaled, "second hop not scaled"),
        Mutant(two_hops_over_reads, "softmax over the reads"),
        Mutant(two_hops_pooled, "question pooled"),
        Mutant(two_hops_hard, "one region chosen"),
        Mutant(two_hops_one, "where the words are"),
        Mutant(two_hops_flat_mask, "error"),
    ),
    "04.6": (
        Mutant(GatedPlain, "gate without tanh"),
        Mutant(GatedSigmoid, "sigmoid"),
        Mutant(GatedNot, "not gated"),
        Mutant(GatedHalf, "MLP not gated"),
        Mutant(GatedTwiceAlike, "one gate for both"),
        Mutant(GatedWhole, "the whole is gated"),
        Mutant(GatedHighway, "weighed against the input"),
        Mutant(GatedSideBySide, "side by side"),
        Mutant(GatedBare, "no layer norms"),
        Mutant(GatedPostNorm, "norm after the sum"),
        Mutant(GatedUnmasked, "mask ignored"),
        Mutant(GatedNan, "nan without a context"),
        Mutant(GatedAlmostMasked, "something out of nothing"),
        Mutant(GatedUnscaled, "not scaled"),
        Mutant(GatedOneHead, "one head"),
        Mutant(GatedWrongView, "heads cut from the wrong axis"),
        Mutant(GatedWrongJoin, "heads joined wrongly"),
        Mutant(GatedOpen, "wrong start"),
        Mutant(GatedFrozen, "not differentiable"),
        Mutant(GatedInPlace, "changed its argument"),
        Mutant(GatedWithBiases, "error"),
    ),
    "04.7": (
        Mutant(training_on_sums, "added"),
        Mutant(training_pooled, "pooled first"),
        Mutant(training_without_square, "not squared"),
        Mutant(training_squared_early, "squared before the sum"),
        Mutant(training_on_the_sum, "summed over the regions"),
        Mutant(training_without_bias, "bias left out"),
        Mutant(training_squared_error, "squared error"),
        Mutant(training_two_sigmoids, "sigmoid twice"),
        Mutant(training_uphill, "not trained"),
        Mutant(training_without_step, "not trained"),
        Mutant(training_too_slow, "unfinished"),
        Mutant(training_too_short, "another number of steps"),
        Mutant(training_forgotten, "returned the start"),
        Mutant(training_without_losses, "wrong type"),
        Mutant(training_in_place, "changed its argument"),
    ),
}
