"""Recurrent networks: one state, carried from token to token. The plain one, the LSTM and the GRU, written out.

A *cell* makes the next state from the last one and an input; a *layer* runs a cell along a sequence. With the weights
of torch's nn.RNN, nn.LSTM and nn.GRU they give what those give, states and gradients too (`course parity`).
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.errors import InputError


class Cell(nn.Module):
    """The two matrices of a cell, one for the input and one for the last state, with a block of rows for each gate."""

    gates: int
    states = 1  # how many vectors are carried along

    def forward(self, inputs: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """One step: inputs (B, C) and the last state, vectors (B, D), to the next state; its first vector comes out."""
        return self.step(self.project(inputs), state)

    def project(self, inputs: Tensor) -> Tensor:
        """(..., C) -> (..., gates * D): the part that does not wait for the last state, so all tokens go at once."""
        return F.linear(inputs, self.weight_ih, self.bias_ih)

    def recur(self, hidden: Tensor) -> Tensor:
        """(B, D) -> (B, gates * D)."""
        return F.linear(hidden, self.weight_hh, self.bias_hh)

    def step(self, projected: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The step itself, from the projected input."""
        raise NotImplementedError

    def __init__(self, input_width: int, width: int):
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(self.gates * width, input_width))
        self.weight_hh = nn.Parameter(torch.empty(self.gates * width, width))
        self.bias_ih = nn.Parameter(torch.empty(self.gates * width))
        self.bias_hh = nn.Parameter(torch.empty(self.gates * width))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(width), 1 / math.sqrt(width))


class RNNCell(Cell):
    """h' = tanh(W x + U h + b): every step multiplies what came before by the same matrix.

    Source: Elman, Finding Structure in Time, 1990.
    """

    gates = 1

    def step(self, projected: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(B, D) and the last h to the next h."""
        (hidden,) = state
        return (torch.tanh(projected + self.recur(hidden)),)


class LSTMCell(Cell):
    """A memory c beside the state: what the forget gate keeps, plus what the input gate lets in; a sum, so it lasts.

    i, f, o = sigmoid(...), g = tanh(...);  c' = f c + i g;  h' = o tanh(c').

    Source: Hochreiter and Schmidhuber, Long Short-Term Memory, 1997; the forget gate is Gers et al.'s, 2000.
    """

    gates, states = 4, 2

    def step(self, projected: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(B, 4 D) and the last (h, c) to the next (h, c)."""
        hidden, memory = state
        i, f, g, o = (projected + self.recur(hidden)).chunk(4, dim=-1)
        memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(memory), memory


class GRUCell(Cell):
    """Two gates and no second vector: z says how much of the old state stays, r how much of it the new one looks at.

    r, z = sigmoid(...), n = tanh(W x + r (U h));  h' = (1 - z) n + z h.

    Source: Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, section 2.3; r after the product, as
    in cuDNN and torch.
    """

    gates = 3

    def step(self, projected: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(B, 3 D) and the last h to the next h."""
        (hidden,) = state
        from_input, from_state = projected.chunk(3, dim=-1), self.recur(hidden).chunk(3, dim=-1)
        r, z = (torch.sigmoid(from_input[gate] + from_state[gate]) for gate in (0, 1))
        new = torch.tanh(from_input[2] + r * from_state[2])
        return ((1 - z) * new + z * hidden,)


class Recurrent(nn.Module):
    """Layers of cells, one above the other, each run along the sequence; in both directions if so wished.

    Args:
        input_width: C, of the vectors that come in.
        width: D, of the state.
        layers: how many above one another.
        bidirectional: a second cell in each layer reads from the end, and the outputs stand side by side.
        dropout: of the outputs of all layers but the last, while training.
    """

    cell: type[Cell]

    def forward(
        self, inputs: Tensor, state: Tensor | tuple[Tensor, ...] | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor | tuple[Tensor, ...]]:
        """A batch of sequences to all outputs and the last states.

        Args:
            inputs: (B, T, C).
            state: (layers * directions, B, D), for the LSTM two of them, as the call before gave it; None for zeros.
            lengths: (B,), how many of the T are real; beyond them outputs are 0 and states stay, as when packed.

        Returns:
            outputs (B, T, directions * D), and the state after the last (real) token, in the form of `state`.

        Raises:
            InputError: wrong shapes.
        """
        first = self._first_states(inputs, state, lengths)
        last: list[tuple[Tensor, ...]] = []
        hidden = inputs
        for depth, cells in enumerate(self.layers):
            hidden = self.dropout(hidden) if depth else hidden
            outputs = []
            for cell, reverse in zip(cells, (False, True), strict=False):
                output, end = run(cell, hidden, first[len(last)], lengths, reverse)
                outputs.append(output)
                last.append(end)
            hidden = torch.cat(outputs, dim=-1)
        stacked = tuple(torch.stack(vectors) for vectors in zip(*last, strict=True))
        return hidden, stacked if self.cell.states > 1 else stacked[0]

    def _first_states(self, inputs: Tensor, state, lengths: Tensor | None) -> list[tuple[Tensor, ...]]:
        if inputs.ndim != 3 or inputs.shape[2] != self.input_width or 0 in inputs.shape:
            raise InputError(f"inputs have shape {tuple(inputs.shape)}; they should be (B, T, {self.input_width})")
        batch, length, _ = inputs.shape
        if lengths is not None and (lengths.shape != (batch,) or lengths.min() < 1 or lengths.max() > length):
            raise InputError(f"lengths should be {batch} numbers from 1 to {length}, one for each sequence")
        wanted = (sum(map(len, self.layers)), batch, self.width)
        if state is None:
            vectors: Sequence[Tensor] = [inputs.new_zeros(wanted)] * self.cell.states
        else:
            vectors = [state] if isinstance(state, Tensor) else list(state)
        if len(vectors) != self.cell.states or any(vector.shape != wanted for vector in vectors):
            found = [tuple(vector.shape) for vector in vectors]
            raise InputError(f"state has shapes {found}; it should be {self.cell.states} of {wanted}")
        return list(zip(*vectors, strict=True))

    def __init__(
        self, input_width: int, width: int, layers: int = 1, bidirectional: bool = False, dropout: float = 0.0
    ):
        super().__init__()
        self.input_width, self.width = input_width, width
        self.directions = 2 if bidirectional else 1
        widths = [input_width] + [width * self.directions] * (layers - 1)
        self.layers = nn.ModuleList(
            nn.ModuleList(self.cell(below, width) for _ in range(self.directions)) for below in widths
        )
        self.dropout = nn.Dropout(dropout)


class RNN(Recurrent):
    """Layers of `RNNCell`; with torch's weights nn.RNN."""

    cell = RNNCell


class LSTM(Recurrent):
    """Layers of `LSTMCell`; with torch's weights nn.LSTM. Its state is a pair (h, c)."""

    cell = LSTMCell


class GRU(Recurrent):
    """Layers of `GRUCell`; with torch's weights nn.GRU."""

    cell = GRUCell


def run(
    cell: Cell, inputs: Tensor, state: tuple[Tensor, ...], lengths: Tensor | None = None, reverse: bool = False
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Runs one cell along (B, T, C), from the end if `reverse`: outputs (B, T, D) and the last state."""
    projected = cell.project(inputs).unbind(dim=1)
    outputs: list[Tensor] = [inputs] * len(projected)
    places = range(len(projected))
    for place in reversed(places) if reverse else places:
        new = cell.step(projected[place], state)
        if lengths is None:
            outputs[place], state = new[0], new
        else:
            real = (place < lengths)[:, None]
            state = tuple(torch.where(real, after, before) for after, before in zip(new, state, strict=True))
            outputs[place] = new[0] * real
    return torch.stack(outputs, dim=1), state


def from_torch(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of the weights in nn.RNN, nn.LSTM and nn.GRU -> ours: weight_ih_l0_reverse -> layers.0.1.weight_ih."""
    ours = {}
    for name, tensor in state.items():
        kind, _, place = name.removesuffix("_reverse").rpartition("_l")
        ours[f"layers.{place}.{int(name.endswith('_reverse'))}.{kind}"] = tensor
    return ours
