"""The position-wise networks of a transformer block."""

from torch import Tensor, nn

from course_lib.layers.activations import activation


class MLP(nn.Module):
    """Two linear layers with an activation between them, the same at every position.

    Args:
        width: D.
        hidden: width between the two layers, usually 4 D.
        activation_name: one of `course_lib.layers.activations.ACTIVATIONS`.
        bias: whether the layers have one.

    Source: Vaswani et al., Attention Is All You Need, section 3.3.
    """

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.fc2(self.activation(self.fc1(hidden_states)))

    def __init__(self, width: int, hidden: int, activation_name: str = "gelu", bias: bool = True):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden, bias=bias)
        self.fc2 = nn.Linear(hidden, width, bias=bias)
        self.activation = activation(activation_name)


class GatedMLP(nn.Module):
    """One half of the hidden numbers, activated, multiplies the other half: a gate that the input itself opens.

    With SiLU it is SwiGLU (Llama), with GELU it is GEGLU (the later T5).

    Args:
        width: D.
        hidden: width of each half.
        activation_name: that of the gate.
        bias: whether the layers have one.

    Source: Shazeer, GLU Variants Improve Transformer, equation 6.
    """

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        gate, value = self.gate_value(hidden_states).chunk(2, -1)
        return self.out(self.activation(gate) * value)

    def __init__(self, width: int, hidden: int, activation_name: str = "silu", bias: bool = False):
        super().__init__()
        self.gate_value = nn.Linear(width, 2 * hidden, bias=bias)
        self.out = nn.Linear(hidden, width, bias=bias)
        self.activation = activation(activation_name)
