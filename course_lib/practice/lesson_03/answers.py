"""Answers to set 03: model solutions, right answers written differently, wrong ones that learners write.

A class is not given this file. Each answer stands alone: it uses `torch`, `nn`, `F`, `math` and what it defines itself,
so that its source can be put into a notebook as it is.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.practice.exercise import Mutant
from course_lib.practice.lesson_03.exercises import READING

# 03.1 ---------------------------------------------------------------------------------------------------------------


def measure(logits: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    counted = attention_mask[:, 1:].bool()
    predicted = logits[:, :-1][counted]
    labels = input_ids[:, 1:][counted]
    return F.cross_entropy(predicted, labels).exp()


def measure_by_loops(logits, input_ids, attention_mask):
    total, count = 0.0, 0
    for row in range(len(input_ids)):
        for place in range(1, input_ids.shape[1]):
            if attention_mask[row, place]:
                total = total + logits[row, place - 1].logsumexp(0) - logits[row, place - 1, input_ids[row, place]]
                count += 1
    return torch.exp(total / count)


def measure_by_gather(logits, input_ids, attention_mask):
    found = logits.double().log_softmax(-1)[:, :-1].gather(2, input_ids[:, 1:].unsqueeze(2)).squeeze(2)
    weights = attention_mask[:, 1:].double() / attention_mask[:, 1:].sum()
    return (2 ** (-(found / math.log(2) * weights).sum())).to(logits.dtype)


def measure_unshifted(logits, input_ids, attention_mask):
    counted = attention_mask.bool()
    return F.cross_entropy(logits[counted], input_ids[counted]).exp()


def measure_backwards(logits, input_ids, attention_mask):
    counted = attention_mask[:, 1:].bool()
    return F.cross_entropy(logits[:, 1:][counted], input_ids[:, :-1][counted]).exp()


def measure_with_padding(logits, input_ids, attention_mask):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), input_ids[:, 1:].flatten()).exp()


def measure_one_padding(logits, input_ids, attention_mask):
    counted = attention_mask[:, :-1].bool()
    return F.cross_entropy(logits[:, :-1][counted], input_ids[:, 1:][counted]).exp()


def measure_over_all(logits, input_ids, attention_mask):
    counted = attention_mask[:, 1:].bool()
    total = F.cross_entropy(logits[:, :-1][counted], input_ids[:, 1:][counted], reduction="sum")
    return (total / attention_mask.sum()).exp()


def measure_by_sequence(logits, input_ids, attention_mask):
    losses = F.cross_entropy(logits[:, :-1].mT, input_ids[:, 1:], reduction="none") * attention_mask[:, 1:]
    return (losses.sum(dim=1) / attention_mask[:, 1:].sum(dim=1)).mean().exp()


def measure_mean_of_perplexities(logits, input_ids, attention_mask):
    losses = F.cross_entropy(logits[:, :-1].mT, input_ids[:, 1:], reduction="none") * attention_mask[:, 1:]
    return (losses.sum(dim=1) / attention_mask[:, 1:].sum(dim=1)).exp().mean()


def measure_loss(logits, input_ids, attention_mask):
    counted = attention_mask[:, 1:].bool()
    return F.cross_entropy(logits[:, :-1][counted], input_ids[:, 1:][counted])


def measure_bits(logits, input_ids, attention_mask):
    counted = attention_mask[:, 1:].bool()
    return 2 ** F.cross_entropy(logits[:, :-1][counted], input_ids[:, 1:][counted])


def measure_number(logits, input_ids, attention_mask):
    counted = attention_mask[:, 1:].bool()
    return torch.tensor(math.exp(F.cross_entropy(logits[:, :-1][counted], input_ids[:, 1:][counted]).item()))


# 03.2 ---------------------------------------------------------------------------------------------------------------


def choosing(**other: str) -> dict[str, str]:
    """The right choices with some exchanged for others."""
    return READING | other


# 03.3 ---------------------------------------------------------------------------------------------------------------


def merges(counts: dict[str, int], merges: int) -> list[tuple[str, str]]:
    words = counts
    learned = []
    for _ in range(merges):
        pairs = {}
        for word, count in words.items():
            for i in range(len(word) - 1):
                pair = (word[i], word[i + 1])
                pairs[pair] = pairs.get(pair, 0) + count
        if not pairs:
            break
        best = max(sorted(pairs), key=pairs.get)
        learned.append(best)
        merged = {}
        for word, count in words.items():
            pieces = []
            for piece in word:
                if pieces and (pieces[-1], piece) == best:
                    pieces[-1] += piece
                else:
                    pieces.append(piece)
            merged[tuple(pieces)] = count
        words = merged
    return learned


def merges_by_index(counts, merges):
    words = [(list(word), count) for word, count in counts.items()]
    learned = []
    while len(learned) < merges:
        pairs = {}
        for pieces, count in words:
            for i in range(len(pieces) - 1):
                pair = (pieces[i], pieces[i + 1])
                pairs[pair] = pairs.get(pair, 0) + count
        if len(pairs) == 0:
            return learned
        left, right = sorted(pairs, key=lambda pair: (-pairs[pair], pair))[0]
        learned.append((left, right))
        for pieces, _ in words:
            i = 0
            while i < len(pieces) - 1:
                if pieces[i] == left and pieces[i + 1] == right:
                    pieces[i : i + 2] = [left + right]
                i += 1
    return learned


def merges_in_one_text(counts, merges):
    texts = {word: "\n" + "\n".join(word) + "\n" for word in counts}
    learned = []
    for _ in range(merges):
        best, most = None, 0
        pairs = {}
        for word, text in texts.items():
            pieces = text.strip("\n").split("\n")
            for i in range(1, len(pieces)):
                pairs.setdefault((pieces[i - 1], pieces[i]), []).append(counts[word])
        for pair, found in pairs.items():
            if sum(found) > most or (sum(found) == most and pair < best):
                best, most = pair, sum(found)
        if best is None:
            break
        learned.append(list(best))
        for word, text in texts.items():
            while f"\n{best[0]}\n{best[1]}\n" in text:
                text = text.replace(f"\n{best[0]}\n{best[1]}\n", f"\n{best[0]}{best[1]}\n", 1)
            texts[word] = text
    return learned


def merges_of_kinds(counts, merges):
    words = [tuple(word) for word in counts]
    learned = []
    for _ in range(merges):
        pairs = {}
        for word in words:
            for pair in zip(word, word[1:], strict=False):
                pairs[pair] = pairs.get(pair, 0) + 1
        if not pairs:
            break
        best = max(sorted(pairs), key=pairs.get)
        learned.append(best)
        merged = []
        for word in words:
            pieces = []
            for piece in word:
                if pieces and (pieces[-1], piece) == best:
                    pieces[-1] += piece
                else:
                    pieces.append(piece)
            merged.append(tuple(pieces))
        words = merged
    return learned


def merges_counted_once(counts, merges):
    pairs = {}
    for word, count in counts.items():
        for pair in zip(word, word[1:], strict=False):
            pairs[pair] = pairs.get(pair, 0) + count
    return sorted(pairs, key=lambda pair: (-pairs[pair], pair))[:merges]


def merges_first_met(counts, merges):
    words = {tuple(word): count for word, count in counts.items()}
    learned = []
    for _ in range(merges):
        pairs = {}
        for word, count in words.items():
            for pair in zip(word, word[1:], strict=False):
                pairs[pair] = pairs.get(pair, 0) + count
        if not pairs:
            break
        best = max(pairs, key=pairs.get)
        learned.append(best)
        merged = {}
        for word, count in words.items():
            pieces = []
            for piece in word:
                if pieces and (pieces[-1], piece) == best:
                    pieces[-1] += piece
                else:
                    pieces.append(piece)
            merged[tuple(pieces)] = count
        words = merged
    return learned


def merges_last_in_the_alphabet(counts, merges):
    words = {tuple(word): count for word, count in counts.items()}
    learned = []
    for _ in range(merges):
        pairs = {}
        for word, count in words.items():
            for pair in zip(word, word[1:], strict=False):
                pairs[pair] = pairs.get(pair, 0) + count
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        learned.append(best)
        merged = {}
        for word, count in words.items():
            pieces = []
            for piece in word:
                if pieces and (pieces[-1], piece) == best:
                    pieces[-1] += piece
                else:
                    pieces.append(piece)
            merged[tuple(pieces)] = count
        words = merged
    return learned


def merges_first_in_each_word(counts, merges):
    words = [(list(word), count) for word, count in counts.items()]
    learned = []
    for _ in range(merges):
        pairs = {}
        for pieces, count in words:
            for pair in zip(pieces, pieces[1:], strict=False):
                pairs[pair] = pairs.get(pair, 0) + count
        if not pairs:
            break
        best = max(sorted(pairs), key=pairs.get)
        learned.append(best)
        for pieces, _ in words:
            for i in range(len(pieces) - 1):
                if (pieces[i], pieces[i + 1]) == best:
                    pieces[i : i + 2] = [best[0] + best[1]]
                    break
    return learned


def merges_until_single(counts, merges):
    words = [(list(word), count) for word, count in counts.items()]
    learned = []
    for _ in range(merges):
        pairs = {}
        for pieces, count in words:
            for pair in zip(pieces, pieces[1:], strict=False):
                pairs[pair] = pairs.get(pair, 0) + count
        if not pairs or max(pairs.values()) < 2:
            break
        best = max(sorted(pairs), key=pairs.get)
        learned.append(best)
        for pieces, _ in words:
            i = 0
            while i < len(pieces) - 1:
                if (pieces[i], pieces[i + 1]) == best:
                    pieces[i : i + 2] = [best[0] + best[1]]
                i += 1
    return learned


def merges_as_pieces(counts, merges):
    words = [(list(word), count) for word, count in counts.items()]
    learned = []
    for _ in range(merges):
        pairs = {}
        for pieces, count in words:
            for pair in zip(pieces, pieces[1:], strict=False):
                pairs[pair] = pairs.get(pair, 0) + count
        if not pairs:
            break
        best = max(sorted(pairs), key=pairs.get)
        learned.append(best[0] + best[1])
        for pieces, _ in words:
            i = 0
            while i < len(pieces) - 1:
                if (pieces[i], pieces[i + 1]) == best:
                    pieces[i : i + 2] = [best[0] + best[1]]
                i += 1
    return learned


def merges_without_end(counts, merges):
    words = {tuple(word): count for word, count in counts.items()}
    learned = []
    for _ in range(merges):
        pairs = {}
        for word, count in words.items():
            for pair in zip(word, word[1:], strict=False):
                pairs[pair] = pairs.get(pair, 0) + count
        best = max(sorted(pairs), key=pairs.get)
        learned.append(best)
        merged = {}
        for word, count in words.items():
            pieces = []
            for piece in word:
                if pieces and (pieces[-1], piece) == best:
                    pieces[-1] += piece
                else:
                    pieces.append(piece)
            merged[tuple(pieces)] = count
        words = merged
    return learned


# 03.4 ---------------------------------------------------------------------------------------------------------------


class Memory(nn.Module):
    def __init__(self, input_width: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.from_input = nn.Linear(input_width, 4 * width)
        self.from_state = nn.Linear(width, 4 * width, bias=False)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        hidden = memory = inputs.new_zeros(len(inputs), self.width)
        outputs = []
        for x in inputs.unbind(dim=1):
            i, f, g, o = (self.from_input(x) + self.from_state(hidden)).chunk(4, dim=-1)
            memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * memory.tanh()
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), memory


class MemoryByTorch(nn.Module):
    def __init__(self, input_width, width):
        super().__init__()
        self.from_input = nn.Linear(input_width, 4 * width)
        self.from_state = nn.Linear(width, 4 * width, bias=False)

    def forward(self, inputs):
        batch, length, _ = inputs.shape
        width = self.from_state.in_features
        projected = self.from_input(inputs)
        state = torch.zeros(batch, width, dtype=inputs.dtype), torch.zeros(batch, width, dtype=inputs.dtype)
        outputs = torch.zeros(batch, 0, width, dtype=inputs.dtype)
        for step in range(length):
            parts = (projected[:, step] + self.from_state(state[0])).view(batch, 4, width)
            gates = torch.sigmoid(parts[:, [0, 1, 3]])
            memory = gates[:, 1] * state[1] + gates[:, 0] * torch.tanh(parts[:, 2])
            state = gates[:, 2] * torch.tanh(memory), memory
            outputs = torch.cat([outputs, state[0].unsqueeze(1)], dim=1)
        return [outputs, state[1]]


class MemoryOneSequenceAtATime(nn.Module):
    def __init__(self, input_width, width):
        super().__init__()
        self.from_state = nn.Linear(width, 4 * width, bias=False)
        self.from_input = nn.Linear(input_width, 4 * width, bias=True)
        self.width = width

    def forward(self, inputs):
        all_outputs, memories = [], []
        for sequence in inputs:
            h, c, outputs = torch.zeros(self.width), torch.zeros(self.width), []
            for x in sequence:
                z = self.from_input.weight @ x + self.from_input.bias + self.from_state.weight @ h
                i, f, g, o = z[: self.width], z[self.width : 2 * self.width], z[2 * self.width : -self.width], None
                o = z[-self.width :]
                c = c / (1 + torch.exp(-f)) + (2 / (1 + torch.exp(-2 * g)) - 1) / (1 + torch.exp(-i))
                h = torch.tanh(c) / (1 + torch.exp(-o))
                outputs.append(h)
            all_outputs.append(torch.stack(outputs))
            memories.append(c)
        return torch.stack(all_outputs), torch.stack(memories)


class MemoryIFOG(Memory):
    def forward(self, inputs):
        hidden = memory = inputs.new_zeros(len(inputs), self.width)
        outputs = []
        for x in inputs.unbind(dim=1):
            i, f, o, g = (self.from_input(x) + self.from_state(hidden)).chunk(4, dim=-1)
            memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * memory.tanh()
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), memory


class MemoryExchanged(Memory):
    def forward(self, inputs):
        hidden = memory = inputs.new_zeros(len(inputs), self.width)
        outputs = []
        for x in inputs.unbind(dim=1):
            f, i, g, o = (self.from_input(x) + self.from_state(hidden)).chunk(4, dim=-1)
            memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * memory.tanh()
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), memory


class MemorySigmoids(Memory):
    def forward(self, inputs):
        hidden = memory = inputs.new_zeros(len(inputs), self.width)
        outputs = []
        for x in inputs.unbind(dim=1):
            i, f, g, o = (self.from_input(x) + self.from_state(hidden)).sigmoid().chunk(4, dim=-1)
            memory = f * memory + i * g
            hidden = o * memory.tanh()
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), memory


class MemoryBare(Memory):
    def forward(self, inputs):
        hidden = memory = inputs.new_zeros(len(inputs), self.width)
        outputs = []
        for x in inputs.unbind(dim=1):
            i, f, g, o = (self.from_input(x) + self.from_state(hidden)).chunk(4, dim=-1)
            memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * memory
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), memory


class MemoryKeepsAll(Memory):
    def forward(self, inputs):
        hidden = memory = inputs.new_zeros(len(inputs), self.width)
        outputs = []
        for x in inputs.unbind(dim=1):
            i, f, g, o = (self.from_input(x) + self.from_state(hidden)).chunk(4, dim=-1)
            memory = memory + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * memory.tanh()
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), memory


class MemoryForgets(Memory):
    def forward(self, inputs):
        hidden = memory = inputs.new_zeros(len(inputs), self.width)
        outputs = []
        for x in inputs.unbind(dim=1):
            i, f, g, o = (self.from_input(x) + self.from_state(hidden)).chunk(4, dim=-1)
            memory = (1 - f.sigmoid()) * memory + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * memory.tanh()
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), memory


class MemoryNotCarried(Memory):
    def forward(self, inputs):
        hidden = inputs.new_zeros(len(inputs), self.width)
        outputs = []
        for x in inputs.unbind(dim=1):
            memory = torch.zeros_like(hidden)
            i, f, g, o = (self.from_input(x) + self.from_state(hidden)).chunk(4, dim=-1)
            memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * memory.tanh()
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), memory


class MemoryStateless(Memory):
    def forward(self, inputs):
        hidden = memory = inputs.new_zeros(len(inputs), self.width)
        outputs = []
        for x in inputs.unbind(dim=1):
            i, f, g, o = (self.from_input(x) + self.from_state(hidden)).chunk(4, dim=-1)
            memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
            outputs.append(o.sigmoid() * memory.tanh())
        return torch.stack(outputs, dim=1), memory


class MemoryLastState(Memory):
    def forward(self, inputs):
        outputs, _ = super().forward(inputs)
        return outputs, outputs[:, -1]


class MemoryTimeFirst(Memory):
    def forward(self, inputs):
        outputs, memory = super().forward(inputs)
        return outputs.transpose(0, 1), memory


class MemoryTwoBiases(nn.Module):
    def __init__(self, input_width, width):
        super().__init__()
        self.from_input = nn.Linear(input_width, 4 * width)
        self.from_state = nn.Linear(width, 4 * width)

    def forward(self, inputs):
        return inputs, inputs


class MemoryDetached(Memory):
    def forward(self, inputs):
        hidden = memory = inputs.new_zeros(len(inputs), self.width)
        outputs = []
        for x in inputs.unbind(dim=1):
            i, f, g, o = (self.from_input(x) + self.from_state(hidden.detach())).chunk(4, dim=-1)
            memory = f.sigmoid() * memory.detach() + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * memory.tanh()
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), memory


# 03.5 ---------------------------------------------------------------------------------------------------------------


def cut(logits: Tensor, temperature: float, top_p: float) -> Tensor:
    probabilities = (logits / temperature).softmax(dim=-1)
    ordered, order = probabilities.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    kept = ordered.masked_fill(before >= top_p, 0.0)
    kept = kept / kept.sum(dim=-1, keepdim=True)
    return kept.gather(dim=-1, index=order.argsort(dim=-1))


def cut_by_loops(logits, temperature, top_p):
    rows = []
    for row in logits.double():
        probabilities = torch.exp(row / temperature - (row / temperature).logsumexp(0)).tolist()
        kept, together = [0.0] * len(probabilities), 0.0
        for token in sorted(range(len(probabilities)), key=lambda token: -probabilities[token]):
            if together >= top_p:
                break
            kept[token] = probabilities[token]
            together += probabilities[token]
        rows.append(torch.tensor(kept) / together)
    return torch.stack(rows).to(logits.dtype)


def cut_logits(logits, temperature, top_p):
    logits = logits / temperature
    ordered, order = torch.sort(logits, descending=True)
    together = torch.cumsum(F.softmax(ordered, dim=-1), dim=-1)
    removed = together > top_p
    removed[..., 1:] = removed[..., :-1].clone()
    removed[..., 0] = False
    back = order.argsort(dim=-1)
    return logits.masked_fill(removed.gather(-1, back), -torch.inf).softmax(dim=-1)


def cut_by_comparing(logits, temperature, top_p):
    probabilities = F.softmax(logits.double() / temperature, dim=-1)
    likelier = probabilities[:, None, :] > probabilities[:, :, None]
    before = (likelier * probabilities[:, None, :]).sum(dim=-1)
    kept = torch.where(before < top_p, probabilities, 0)
    return (kept / kept.sum(dim=-1)[:, None]).float()


def cut_too_much(logits, temperature, top_p):
    probabilities = (logits / temperature).softmax(dim=-1)
    ordered, order = probabilities.sort(dim=-1, descending=True)
    kept = ordered.masked_fill(ordered.cumsum(dim=-1) > top_p, 0.0)
    return torch.zeros_like(kept).scatter(-1, order, kept / kept.sum(dim=-1, keepdim=True))


def cut_too_much_but_one(logits, temperature, top_p):
    probabilities = (logits / temperature).softmax(dim=-1)
    ordered, order = probabilities.sort(dim=-1, descending=True)
    removed = ordered.cumsum(dim=-1) > top_p
    removed[:, 0] = False
    kept = ordered.masked_fill(removed, 0.0)
    return torch.zeros_like(kept).scatter(-1, order, kept / kept.sum(dim=-1, keepdim=True))


def cut_unnormalised(logits, temperature, top_p):
    probabilities = (logits / temperature).softmax(dim=-1)
    ordered, order = probabilities.sort(dim=-1, descending=True)
    kept = ordered.masked_fill(ordered.cumsum(dim=-1) - ordered >= top_p, 0.0)
    return torch.zeros_like(kept).scatter(-1, order, kept)


def cut_in_order(logits, temperature, top_p):
    ordered = (logits / temperature).softmax(dim=-1).sort(dim=-1, descending=True)[0]
    kept = ordered.masked_fill(ordered.cumsum(dim=-1) - ordered >= top_p, 0.0)
    return kept / kept.sum(dim=-1, keepdim=True)


def cut_the_head(logits, temperature, top_p):
    probabilities = (logits / temperature).softmax(dim=-1)
    ordered, order = probabilities.sort(dim=-1)
    kept = ordered.masked_fill(ordered.cumsum(dim=-1) - ordered >= top_p, 0.0)
    return torch.zeros_like(kept).scatter(-1, order, kept / kept.sum(dim=-1, keepdim=True))


def cut_multiplied(logits, temperature, top_p):
    probabilities = (logits * temperature).softmax(dim=-1)
    ordered, order = probabilities.sort(dim=-1, descending=True)
    kept = ordered.masked_fill(ordered.cumsum(dim=-1) - ordered >= top_p, 0.0)
    return torch.zeros_like(kept).scatter(-1, order, kept / kept.sum(dim=-1, keepdim=True))


def cut_without_temperature(logits, temperature, top_p):
    probabilities = logits.softmax(dim=-1)
    ordered, order = probabilities.sort(dim=-1, descending=True)
    kept = ordered.masked_fill(ordered.cumsum(dim=-1) - ordered >= top_p, 0.0)
    return torch.zeros_like(kept).scatter(-1, order, kept / kept.sum(dim=-1, keepdim=True))


def cut_before_temperature(logits, temperature, top_p):
    ordered, order = logits.softmax(dim=-1).sort(dim=-1, descending=True)
    removed = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, ordered.cumsum(dim=-1) - ordered >= top_p)
    return (logits.masked_fill(removed, -torch.inf) / temperature).softmax(dim=-1)


def cut_each(logits, temperature, top_p):
    probabilities = (logits / temperature).softmax(dim=-1)
    kept = probabilities * (probabilities >= 1 - top_p)
    return kept / kept.sum(dim=-1, keepdim=True)


def cut_nothing(logits, temperature, top_p):
    return (logits / temperature).softmax(dim=-1)


def cut_drawn(logits, temperature, top_p):
    probabilities = (logits / temperature).softmax(dim=-1)
    ordered, order = probabilities.sort(dim=-1, descending=True)
    kept = ordered.masked_fill(ordered.cumsum(dim=-1) - ordered >= top_p, 0.0)
    return order.gather(-1, kept.multinomial(1))


# 03.6 ---------------------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, key_value_heads: int) -> None:
        super().__init__()
        self.heads, self.key_value_heads = heads, key_value_heads
        shared_width = width // heads * key_value_heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, shared_width, bias=False)
        self.v_proj = nn.Linear(width, shared_width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, hidden_states: Tensor, past_keys: Tensor, past_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query = self.q_proj(hidden_states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key = self.k_proj(hidden_states).unflatten(-1, (self.key_value_heads, -1)).transpose(1, 2)
        value = self.v_proj(hidden_states).unflatten(-1, (self.key_value_heads, -1)).transpose(1, 2)
        keys = torch.cat((past_keys, key), dim=2)
        values = torch.cat((past_values, value), dim=2)
        past, total = past_keys.shape[2], keys.shape[2]
        allowed = torch.ones(query.shape[2], total, dtype=torch.bool, device=keys.device).tril(past)
        group = self.heads // self.key_value_heads
        mixed = F.scaled_dot_product_attention(
            query, keys.repeat_interleave(group, dim=1), values.repeat_interleave(group, dim=1), allowed
        )
        return self.o_proj(mixed.transpose(1, 2).flatten(2)), keys, values


class AttentionByHeads(nn.Module):
    def __init__(self, width, heads, key_value_heads):
        super().__init__()
        self.heads, self.group, self.size = heads, heads // key_value_heads, width // heads
        self.o_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, self.size * key_value_heads, bias=False)
        self.k_proj = nn.Linear(width, self.size * key_value_heads, bias=False)
        self.q_proj = nn.Linear(width, width, bias=False)

    def forward(self, hidden_states, past_keys, past_values):
        queries = self.q_proj(hidden_states).split(self.size, dim=-1)
        keys = torch.cat([past_keys, torch.stack(self.k_proj(hidden_states).split(self.size, dim=-1), dim=1)], dim=-2)
        values = torch.cat(
            [past_values, torch.stack(self.v_proj(hidden_states).split(self.size, dim=-1), dim=1)], dim=-2
        )
        past = past_keys.shape[-2]
        heads = []
        for head in range(self.heads):
            rows = []
            for place in range(hidden_states.shape[1]):
                seen = past + place + 1
                scores = (keys[:, head // self.group, :seen] @ queries[head][:, place, :, None]).squeeze(-1)
                weights = (scores / self.size**0.5).softmax(dim=-1)
                rows.append((weights[:, :, None] * values[:, head // self.group, :seen]).sum(dim=1))
            heads.append(torch.stack(rows, dim=1))
        return [self.o_proj(torch.cat(heads, dim=-1)), keys, values]


class AttentionByGroups(nn.Module):
    def __init__(self, width, heads, key_value_heads):
        super().__init__()
        self.shared, self.size = key_value_heads, width // heads
        self.q_proj = nn.Linear(width, heads * self.size, bias=False)
        self.k_proj = nn.Linear(width, key_value_heads * self.size, bias=False)
        self.v_proj = nn.Linear(width, key_value_heads * self.size, bias=False)
        self.o_proj = nn.Linear(heads * self.size, width, bias=False)

    def forward(self, hidden_states, past_keys, past_values):
        batch, length, width = hidden_states.shape
        query = self.q_proj(hidden_states).view(batch, length, self.shared, -1, self.size)
        key = self.k_proj(hidden_states).view(batch, length, self.shared, self.size).permute(0, 2, 1, 3)
        value = self.v_proj(hidden_states).view(batch, length, self.shared, self.size).permute(0, 2, 1, 3)
        keys, values = torch.cat([past_keys, key], 2), torch.cat([past_values, value], 2)
        scores = torch.einsum("btkgd,bksd->bkgts", query, keys) * self.size**-0.5
        places = torch.arange(length)[:, None] + past_keys.size(2)
        scores = scores.masked_fill(torch.arange(keys.size(2))[None, :] > places, float("-inf"))
        mixed = torch.einsum("bkgts,bksd->btkgd", scores.softmax(-1), values)
        return self.o_proj(mixed.reshape(batch, length, width)), keys, values


class AttentionCausalFromZero(Attention):
    def forward(self, hidden_states, past_keys, past_values):
        query = self.q_proj(hidden_states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key = self.k_proj(hidden_states).unflatten(-1, (self.key_value_heads, -1)).transpose(1, 2)
        value = self.v_proj(hidden_states).unflatten(-1, (self.key_value_heads, -1)).transpose(1, 2)
        keys, values = torch.cat((past_keys, key), dim=2), torch.cat((past_values, value), dim=2)
        group = self.heads // self.key_value_heads
        mixed = F.scaled_dot_product_attention(
            query, keys.repeat_interleave(group, dim=1), values.repeat_interleave(group, dim=1), is_causal=True
        )
        return self.o_proj(mixed.transpose(1, 2).flatten(2)), keys, values


class AttentionUnmasked(Attention):
    def forward(self, hidden_states, past_keys, past_values):
        query = self.q_proj(hidden_states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key = self.k_proj(hidden_states).unflatten(-1, (self.key_value_heads, -1)).transpose(1, 2)
        value = self.v_proj(hidden_states).unflatten(-1, (self.key_value_heads, -1)).transpose(1, 2)
        keys, values = torch.cat((past_keys, key), dim=2), torch.cat((past_values, value), dim=2)
        group = self.heads // self.key_value_heads
        mixed = F.scaled_dot_product_attention(
            query, keys.repeat_interleave(group, dim=1), values.repeat_interleave(group, dim=1)
        )
        return self.o_proj(mixed.transpose(1, 2).flatten(2)), keys, values


class AttentionOneTooFar(Attention):
    def forward(self, hidden_states, past_keys, past_values):
        query = self.q_proj(hidden_states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key = self.k_proj(hidden_states).unflatten(-1, (self.key_value_heads, -1)).transpose(1, 2)
        value = self.v_proj(hidden_states).unflatten(-1, (self.key_value_heads, -1)).transpose(1, 2)
        keys, values = torch.cat((past_keys, key), dim=2), torch.cat((past_values, value), dim=2)
        allowed = torch.ones(query.shape[2], keys.shape[2], dtype=torch.bool).tril(past_keys.shape[2] + 1)
        group = self.heads // self.key_value_heads
        mixed = F.scaled_dot_product_attention(
            query, keys.repeat_interleave(group, dim=1), values.repeat_interleave(group, dim=1), allowed
        )
        return self.o_proj(mixed.transpose(1, 2).flatten(2)), keys, values


class AttentionInTurns(Attention):
    def forward(self, hidden_states, past_keys, past_values):
        query = self.q_proj(hidden_states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key = self.k_proj(hidden_states).unflatten(-1, (self.key_value_heads, -1)).transpose(1, 2)
        value = self.v_proj(hidden_states).unflatten(-1, (self.key_value_heads, -1)).transpose(1, 2)
        keys, values = torch.cat((past_keys, key), dim=2), torch.cat((past_values, value), dim=2)
        allowed = torch.ones(query.shape[2], keys.shape[2], dtype=torch.bool).tril(past_keys.shape[2])
        group = self.heads // self.key_value_heads
        mixed = F.scaled_dot_product_attention(
            query, keys.repeat(1, group, 1, 1), values.repeat(1, group, 1, 1), allowed
        )
        return self.o_proj(mixed.transpose(1, 2).flatten(2)), keys, values


class AttentionNewFirst(Attention):
    def forward(self, hidden_states, past_keys, past_values):
        query = self.q_proj(hidden_states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key = self.k_proj(hidden_states).unflatten(-1, (self.key_value_heads, -1)).transpose(1, 2)
        value = self.v_proj(hidden_states).unflatten(-1, (self.key_value_heads, -1)).transpose(1, 2)
        keys, values = torch.cat((key, past_keys), dim=2), torch.cat((value, past_values), dim=2)
        allowed = torch.ones(query.shape[2], keys.shape[2], dtype=torch.bool).tril(past_keys.shape[2])
        group = self.heads // self.key_value_heads
        mixed = F.scaled_dot_product_attention(
            query, keys.repeat_interleave(group, dim=1), values.repeat_interleave(group, dim=1), allowed
        )
        return self.o_proj(mixed.transpose(1, 2).flatten(2)), keys, values


class AttentionForgetful(Attention):
    def forward(self, hidden_states, past_keys, past_values):
        return super().forward(hidden_states, past_keys[:, :, :0], past_values[:, :, :0])


class AttentionOnlyNew(Attention):
    def forward(self, hidden_states, past_keys, past_values):
        mixed, keys, values = super().forward(hidden_states, past_keys, past_values)
        return mixed, keys[:, :, past_keys.shape[2] :], values[:, :, past_keys.shape[2] :]


class AttentionRepeated(Attention):
    def forward(self, hidden_states, past_keys, past_values):
        mixed, keys, values = super().forward(hidden_states, past_keys, past_values)
        group = self.heads // self.key_value_heads
        return mixed, keys.repeat_interleave(group, dim=1), values.repeat_interleave(group, dim=1)


class AttentionMixedHeads(Attention):
    def forward(self, hidden_states, past_keys, past_values):
        batch, length, width = hidden_states.shape
        query = self.q_proj(hidden_states).reshape(batch, self.heads, length, -1)
        key = self.k_proj(hidden_states).reshape(batch, self.key_value_heads, length, -1)
        value = self.v_proj(hidden_states).reshape(batch, self.key_value_heads, length, -1)
        keys, values = torch.cat((past_keys, key), dim=2), torch.cat((past_values, value), dim=2)
        allowed = torch.ones(length, keys.shape[2], dtype=torch.bool).tril(past_keys.shape[2])
        group = self.heads // self.key_value_heads
        mixed = F.scaled_dot_product_attention(
            query, keys.repeat_interleave(group, dim=1), values.repeat_interleave(group, dim=1), allowed
        )
        return self.o_proj(mixed.transpose(1, 2).flatten(2)), keys, values


class AttentionWithoutOutput(Attention):
    def forward(self, hidden_states, past_keys, past_values):
        query = self.q_proj(hidden_states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key = self.k_proj(hidden_states).unflatten(-1, (self.key_value_heads, -1)).transpose(1, 2)
        value = self.v_proj(hidden_states).unflatten(-1, (self.key_value_heads, -1)).transpose(1, 2)
        keys, values = torch.cat((past_keys, key), dim=2), torch.cat((past_values, value), dim=2)
        allowed = torch.ones(query.shape[2], keys.shape[2], dtype=torch.bool).tril(past_keys.shape[2])
        group = self.heads // self.key_value_heads
        mixed = F.scaled_dot_product_attention(
            query, keys.repeat_interleave(group, dim=1), values.repeat_interleave(group, dim=1), allowed
        )
        return mixed.transpose(1, 2).flatten(2), keys, values


class AttentionUnshared(nn.Module):
    def __init__(self, width, heads, key_value_heads):
        super().__init__()
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, hidden_states, past_keys, past_values):
        return hidden_states, past_keys, past_values


# 03.7 ---------------------------------------------------------------------------------------------------------------


def search(
    log_probabilities: Callable[[list[list[int]]], Tensor],
    start: int,
    end: int,
    beams: int,
    max_new_tokens: int,
    length_penalty: float,
) -> tuple[list[int], float]:
    live, ended = [([], 0.0)], []
    for _ in range(max_new_tokens):
        rows = log_probabilities([[start, *tokens] for tokens, _ in live]).tolist()
        grown = []
        for number, (tokens, total) in enumerate(live):
            grown += [([*tokens, token], total + score) for token, score in enumerate(rows[number])]
        best = sorted(grown, key=lambda text: text[1], reverse=True)[:beams]
        ended += [text for text in best if text[0][-1] == end]
        live = [text for text in best if text[0][-1] != end]
        if not live:
            break
    score, tokens = max((total / len(tokens) ** length_penalty, tokens) for tokens, total in ended + live)
    return tokens, score


def search_by_tensors(log_probabilities, start, end, beams, max_new_tokens, length_penalty):
    texts, totals = [[start]], torch.zeros(1)
    best_tokens, best_score = None, -math.inf
    for length in range(1, max_new_tokens + 1):
        grown = totals[:, None] + log_probabilities(texts).detach()
        totals, places = grown.flatten().topk(min(beams, grown.numel()))
        texts = [texts[place // grown.shape[1]] + [place % grown.shape[1]] for place in places.tolist()]
        running = []
        for number, text in enumerate(texts):
            if text[-1] == end or length == max_new_tokens:
                score = float(totals[number]) / length**length_penalty
                if score > best_score:
                    best_tokens, best_score = text[1:], score
            else:
                running.append(number)
        if not running:
            break
        texts, totals = [texts[number] for number in running], totals[running]
    return best_tokens, best_score


def search_by_recursion(log_probabilities, start, end, beams, max_new_tokens, length_penalty):
    def go_on(live, ended, left):
        if left == 0 or not live:
            return ended + live
        grown = []
        for total, text in live:
            row = log_probabilities([[start] + text])[0]
            grown += [(total + float(row[token]), text + [token]) for token in range(len(row))]
        grown = sorted(grown, key=lambda one: -one[0])[:beams]
        ended = ended + [one for one in grown if one[1][-1] == end]
        return go_on([one for one in grown if one[1][-1] != end], ended, left - 1)

    found = go_on([(0.0, [])], [], max_new_tokens)
    total, text = max(found, key=lambda one: one[0] * len(one[1]) ** -length_penalty)
    return [text, total * len(text) ** -length_penalty]


def search_greedy(log_probabilities, start, end, beams, max_new_tokens, length_penalty):
    tokens, total = [], 0.0
    for _ in range(max_new_tokens):
        row = log_probabilities([[start, *tokens]])[0]
        token = int(row.argmax())
        tokens.append(token)
        total += float(row[token])
        if token == end:
            break
    return tokens, total / len(tokens) ** length_penalty


def search_for_each(log_probabilities, start, end, beams, max_new_tokens, length_penalty):
    live, ended = [([], 0.0)], []
    for _ in range(max_new_tokens):
        rows = log_probabilities([[start, *tokens] for tokens, _ in live])
        grown = []
        for (tokens, total), row in zip(live, rows, strict=True):
            scores, best = row.topk(min(beams, len(row)))
            grown += [
                ([*tokens, token], total + score) for score, token in zip(scores.tolist(), best.tolist(), strict=True)
            ]
        ended += [text for text in grown if text[0][-1] == end]
        live = [text for text in grown if text[0][-1] != end]
        if not live:
            break
    score, tokens = max((total / len(tokens) ** length_penalty, tokens) for tokens, total in ended + live)
    return tokens, score


def search_without_penalty(log_probabilities, start, end, beams, max_new_tokens, length_penalty):
    live, ended = [([], 0.0)], []
    for _ in range(max_new_tokens):
        rows = log_probabilities([[start, *tokens] for tokens, _ in live]).tolist()
        grown = [
            ([*tokens, token], total + score)
            for (tokens, total), row in zip(live, rows, strict=True)
            for token, score in enumerate(row)
        ]
        best = sorted(grown, key=lambda text: text[1], reverse=True)[:beams]
        ended += [text for text in best if text[0][-1] == end]
        live = [text for text in best if text[0][-1] != end]
        if not live:
            break
    return max(ended + live, key=lambda text: text[1])


def search_with_start_in_length(log_probabilities, start, end, beams, max_new_tokens, length_penalty):
    live, ended = [([start], 0.0)], []
    for _ in range(max_new_tokens):
        rows = log_probabilities([tokens for tokens, _ in live]).tolist()
        grown = [
            ([*tokens, token], total + score)
            for (tokens, total), row in zip(live, rows, strict=True)
            for token, score in enumerate(row)
        ]
        best = sorted(grown, key=lambda text: text[1], reverse=True)[:beams]
        ended += [text for text in best if text[0][-1] == end]
        live = [text for text in best if text[0][-1] != end]
        if not live:
            break
    score, tokens = max((total / len(tokens) ** length_penalty, tokens) for tokens, total in ended + live)
    return tokens[1:], score


def search_with_start(log_probabilities, start, end, beams, max_new_tokens, length_penalty):
    live, ended = [([start], 0.0)], []
    for _ in range(max_new_tokens):
        rows = log_probabilities([tokens for tokens, _ in live]).tolist()
        grown = [
            ([*tokens, token], total + score)
            for (tokens, total), row in zip(live, rows, strict=True)
            for token, score in enumerate(row)
        ]
        best = sorted(grown, key=lambda text: text[1], reverse=True)[:beams]
        ended += [text for text in best if text[0][-1] == end]
        live = [text for text in best if text[0][-1] != end]
        if not live:
            break
    score, tokens = max((total / (len(tokens) - 1) ** length_penalty, tokens) for tokens, total in ended + live)
    return tokens, score


def search_first_end(log_probabilities, start, end, beams, max_new_tokens, length_penalty):
    live, ended = [([], 0.0)], []
    for _ in range(max_new_tokens):
        rows = log_probabilities([[start, *tokens] for tokens, _ in live]).tolist()
        grown = [
            ([*tokens, token], total + score)
            for (tokens, total), row in zip(live, rows, strict=True)
            for token, score in enumerate(row)
        ]
        best = sorted(grown, key=lambda text: text[1], reverse=True)[:beams]
        ended += [text for text in best if text[0][-1] == end]
        live = [text for text in best if text[0][-1] != end]
        if ended:
            break
    score, tokens = max((total / len(tokens) ** length_penalty, tokens) for tokens, total in ended + live)
    return tokens, score


def search_past_the_end(log_probabilities, start, end, beams, max_new_tokens, length_penalty):
    live = [([], 0.0)]
    for _ in range(max_new_tokens):
        rows = log_probabilities([[start, *tokens] for tokens, _ in live]).tolist()
        grown = [
            ([*tokens, token], total + score)
            for (tokens, total), row in zip(live, rows, strict=True)
            for token, score in enumerate(row)
        ]
        live = sorted(grown, key=lambda text: text[1], reverse=True)[:beams]
    score, tokens = max((total / len(tokens) ** length_penalty, tokens) for tokens, total in live)
    return tokens, score


def search_ended_only(log_probabilities, start, end, beams, max_new_tokens, length_penalty):
    live, ended = [([], 0.0)], []
    for _ in range(max_new_tokens):
        rows = log_probabilities([[start, *tokens] for tokens, _ in live]).tolist()
        grown = [
            ([*tokens, token], total + score)
            for (tokens, total), row in zip(live, rows, strict=True)
            for token, score in enumerate(row)
        ]
        best = sorted(grown, key=lambda text: text[1], reverse=True)[:beams]
        ended += [text for text in best if text[0][-1] == end]
        live = [text for text in best if text[0][-1] != end]
        if not live:
            break
    score, tokens = max((total / len(tokens) ** length_penalty, tokens) for tokens, total in ended or live)
    return tokens, score


def search_refilled(log_probabilities, start, end, beams, max_new_tokens, length_penalty):
    live, ended = [([], 0.0)], []
    for _ in range(max_new_tokens):
        rows = log_probabilities([[start, *tokens] for tokens, _ in live]).tolist()
        grown = [
            ([*tokens, token], total + score)
            for (tokens, total), row in zip(live, rows, strict=True)
            for token, score in enumerate(row)
        ]
        grown.sort(key=lambda text: text[1], reverse=True)
        ended += [text for text in grown[: 2 * beams] if text[0][-1] == end]
        live = [text for text in grown if text[0][-1] != end][:beams]
    score, tokens = max((total / len(tokens) ** length_penalty, tokens) for tokens, total in ended + live)
    return tokens, score


def search_score_undivided(log_probabilities, start, end, beams, max_new_tokens, length_penalty):
    live, ended = [([], 0.0)], []
    for _ in range(max_new_tokens):
        rows = log_probabilities([[start, *tokens] for tokens, _ in live]).tolist()
        grown = [
            ([*tokens, token], total + score)
            for (tokens, total), row in zip(live, rows, strict=True)
            for token, score in enumerate(row)
        ]
        best = sorted(grown, key=lambda text: text[1], reverse=True)[:beams]
        ended += [text for text in best if text[0][-1] == end]
        live = [text for text in best if text[0][-1] != end]
        if not live:
            break
    return max(ended + live, key=lambda text: text[1] / len(text[0]) ** length_penalty)


def search_one_list(log_probabilities, start, end, beams, max_new_tokens, length_penalty):
    log_probabilities([start])
    return [end], 0.0


SOLUTIONS = {
    "03.1": measure,
    "03.2": READING,
    "03.3": merges,
    "03.4": Memory,
    "03.5": cut,
    "03.6": Attention,
    "03.7": search,
}

ALTERNATIVES = {
    "03.1": (measure_by_loops, measure_by_gather),
    "03.2": ({key: READING[key].upper() for key in reversed(READING)}, {key: f" {READING[key]} " for key in READING}),
    "03.3": (merges_by_index, merges_in_one_text),
    "03.4": (MemoryByTorch, MemoryOneSequenceAtATime),
    "03.5": (cut_by_loops, cut_logits, cut_by_comparing),
    "03.6": (AttentionByHeads, AttentionByGroups),
    "03.7": (search_by_tensors, search_by_recursion),
}

MUTANTS = {
    "03.1": (
        Mutant(measure_unshifted, "not shifted"),
        Mutant(measure_backwards, "shifted the wrong way"),
        Mutant(measure_with_padding, "padding counted"),
        Mutant(measure_one_padding, "first padding counted"),
        Mutant(measure_over_all, "divided by all tokens"),
        Mutant(measure_by_sequence, "mean over sequences"),
        Mutant(measure_mean_of_perplexities, "mean of perplexities"),
        Mutant(measure_loss, "not exponentiated"),
        Mutant(measure_bits, "two to the power of nats"),
        Mutant(measure_number, "not differentiable"),
    ),
    "03.2": (
        *(
            Mutant(choosing(**{key: option}), f"{key} {option}")
            for key in READING
            for option in "abcd"
            if option != READING[key]
        ),
        Mutant(choosing(units="?"), "not written"),
        Mutant(choosing(cache="e"), "wrong type"),
        Mutant("b", "wrong type"),
    ),
    "03.3": (
        Mutant(merges_of_kinds, "words counted once"),
        Mutant(merges_counted_once, "counted once for all"),
        Mutant(merges_first_met, "first met of equals"),
        Mutant(merges_last_in_the_alphabet, "last of equals"),
        Mutant(merges_first_in_each_word, "first occurrence only"),
        Mutant(merges_until_single, "stops at 1"),
        Mutant(merges_as_pieces, "pieces instead of pairs"),
        Mutant(merges_without_end, "error"),
    ),
    "03.4": (
        Mutant(MemoryIFOG, "order of the parts"),
        Mutant(MemoryExchanged, "forget and input exchanged"),
        Mutant(MemorySigmoids, "candidate by sigmoid"),
        Mutant(MemoryBare, "no tanh on the way out"),
        Mutant(MemoryKeepsAll, "nothing forgotten"),
        Mutant(MemoryForgets, "forgets what it should keep"),
        Mutant(MemoryNotCarried, "memory lost"),
        Mutant(MemoryStateless, "state lost"),
        Mutant(MemoryLastState, "state instead of memory"),
        Mutant(MemoryTimeFirst, "wrong shape"),
        Mutant(MemoryTwoBiases, "error"),
        Mutant(MemoryDetached, "wrong gradient"),
    ),
    "03.5": (
        Mutant(cut_too_much, "crossing token removed"),
        Mutant(cut_too_much_but_one, "crossing token removed"),
        Mutant(cut_unnormalised, "not renormalised"),
        Mutant(cut_in_order, "left in order"),
        Mutant(cut_the_head, "sorted upwards"),
        Mutant(cut_multiplied, "temperature multiplied"),
        Mutant(cut_without_temperature, "temperature left out"),
        Mutant(cut_before_temperature, "temperature after the cut"),
        Mutant(cut_each, "limit on each probability"),
        Mutant(cut_nothing, "nothing removed"),
        Mutant(cut_drawn, "wrong shape"),
    ),
    "03.6": (
        Mutant(AttentionCausalFromZero, "mask without the past"),
        Mutant(AttentionUnmasked, "no mask"),
        Mutant(AttentionOneTooFar, "looks one ahead"),
        Mutant(AttentionInTurns, "heads shared in turns"),
        Mutant(AttentionNewFirst, "new before old"),
        Mutant(AttentionForgetful, "cache ignored"),
        Mutant(AttentionOnlyNew, "only the new returned"),
        Mutant(AttentionRepeated, "repeated heads returned"),
        Mutant(AttentionMixedHeads, "heads by a view alone"),
        Mutant(AttentionWithoutOutput, "output projection left out"),
        Mutant(AttentionUnshared, "error"),
    ),
    "03.7": (
        Mutant(search_greedy, "greedy"),
        Mutant(search_for_each, "beams for each text"),
        Mutant(search_without_penalty, "no length penalty"),
        Mutant(search_with_start_in_length, "start counted in the length"),
        Mutant(search_with_start, "with the start token"),
        Mutant(search_first_end, "stops at the first end"),
        Mutant(search_past_the_end, "written on after the end"),
        Mutant(search_ended_only, "unfinished texts dropped"),
        Mutant(search_refilled, "places filled up again"),
        Mutant(search_score_undivided, "score not divided"),
        Mutant(search_one_list, "error"),
    ),
}
