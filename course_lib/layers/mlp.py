"""The position-wise network of a transformer block."""

from torch import Tensor, nn

from course_lib.layers.activations import activation


class MLP(nn.Module):
    """Two linear layers with an activation between them, the same at every position.

    Args:
        width: D.
        hidden: width between the two layers, usually 4 D.
        activation_name: one of `course_lib.layers.activations.ACTIVATIONS`.

    Source: Vaswani et al., Attention Is All You Need, section 3.3.
    """

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.fc2(self.activation(self.fc1(hidden_states)))

    def __init__(self, width: int, hidden: int, activation_name: str = "gelu"):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.activation = activation(activation_name)
