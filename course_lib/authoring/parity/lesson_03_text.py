"""Lesson 03, texts: tokenizers beside the field's own, and recurrent networks beside torch's."""

from collections.abc import Callable

import torch
from torch import nn

from course_lib.authoring.parity.rows import ParityRow, difference, disturb
from course_lib.data.tokenizers import BytePairTokenizer
from course_lib.layers import recurrent


def tokenizer_beside_open_clip(texts: list[str] | None = None) -> list[ParityRow]:
    """BytePairTokenizer beside open_clip's SimpleTokenizer: the largest difference of two ids, which has to be 0."""
    import open_clip

    texts = texts or ["a photo of a cat", "Naïve CAFÉ &amp; crème brûlée", "🦄 一只红色的猫", "don't", "", "3.14 " * 60]
    apart = difference(BytePairTokenizer()(texts), open_clip.SimpleTokenizer()(texts))
    return [ParityRow("BytePairTokenizer", "open_clip SimpleTokenizer", "ids", apart, tolerance=0.0)]


def recurrent_beside_torch(
    name: str, layers: int = 2, bidirectional: bool = False, packed: bool = False, seed: int = 0
) -> list[ParityRow]:
    """RNN, LSTM or GRU beside torch's of the same name: outputs, last states, and the gradients of all of them.

    Args:
        name: "RNN", "LSTM" or "GRU".
        layers, bidirectional: of both.
        packed: whether the sequences differ in length, torch's as a PackedSequence.
        seed: of weights and input.
    """
    torch.manual_seed(seed)
    sizes = {"num_layers": layers, "bidirectional": bidirectional, "batch_first": True}
    theirs = disturb(getattr(nn, name)(10, 12, **sizes), seed)
    ours = getattr(recurrent, name)(10, 12, layers, bidirectional)
    ours.load_state_dict(recurrent.from_torch(theirs.state_dict()))
    lengths = torch.tensor([7, 3, 5, 1]) if packed else None
    inputs = torch.randn(4, 7, 10)
    first = [torch.randn(layers * ours.directions, 4, 12) for _ in range(ours.cell.states)]
    leaves = [[tensor.clone().requires_grad_() for tensor in (inputs, *first)] for _ in range(2)]

    sequences, *state = leaves[0]
    got, end = ours(sequences, tuple(state), lengths)
    sequences, *state = leaves[1]
    if packed:
        sequences = nn.utils.rnn.pack_padded_sequence(sequences, lengths, batch_first=True, enforce_sorted=False)
    wanted, last = theirs(sequences, tuple(state) if len(state) > 1 else state[0])
    if packed:
        wanted, _ = nn.utils.rnn.pad_packed_sequence(wanted, batch_first=True)
    ends = [(got, *(end if len(state) > 1 else [end])), (wanted, *(last if len(state) > 1 else [last]))]
    weigh = [torch.randn(tensor.shape) for tensor in ends[0]]
    for outputs in ends:
        sum((tensor * weight).sum() for tensor, weight in zip(outputs, weigh, strict=True)).backward()
    gradients = recurrent.from_torch({key: value.grad for key, value in theirs.named_parameters()})
    apart = [difference(parameter.grad, gradients[key]) for key, parameter in ours.named_parameters()]
    apart += [difference(mine.grad, other.grad) for mine, other in zip(*leaves, strict=True)]
    states = [difference(mine, other) for mine, other in zip(ends[0][1:], ends[1][1:], strict=True)]
    what = f"torch nn.{name}" + (", packed" if packed else "") + (", both directions" if bidirectional else "")
    return [
        ParityRow(name, what, "outputs", difference(got, wanted)),
        ParityRow(name, what, "last states", max(states)),
        ParityRow(name, what, "gradients", max(apart)),
    ]


COMPARISONS: list[Callable[[], list[ParityRow]]] = [
    tokenizer_beside_open_clip,
    lambda: recurrent_beside_torch("RNN"),
    lambda: recurrent_beside_torch("LSTM"),
    lambda: recurrent_beside_torch("LSTM", bidirectional=True, packed=True),
    lambda: recurrent_beside_torch("GRU"),
]
