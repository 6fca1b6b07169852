"""A recurrent language model: a word's vector in, the next word's probabilities out, and a state in between.

Source: Mikolov et al., Recurrent neural network based language model, 2010; with the LSTM, Zaremba et al., Recurrent
Neural Network Regularization, 2014, whose dropout lies between the layers only.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.layers.checks import check_input_ids
from course_lib.layers.recurrent import GRU, LSTM, RNN

CELLS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}


@dataclass(frozen=True)
class RecurrentLMConfig:
    """Sizes of a `RecurrentLM`; `cell` is "rnn", "lstm" or "gru"."""

    vocab_size: int
    width: int = 128
    layers: int = 1
    cell: str = "lstm"
    dropout: float = 0.0


class RecurrentLM(nn.Module):
    """Embedding, recurrent layers, and the embedding again to score every word (weights tied)."""

    def forward(self, input_ids: Tensor, cache: "RecurrentDecoding | None" = None) -> Tensor:
        """Token ids to the logits of each next token.

        Args:
            input_ids: (B, T), any T.
            cache: goes on from its state, and leaves the new one there.

        Returns:
            (B, T, V): at t the logits of token t + 1.

        Raises:
            InputError: wrong shapes, types or ids.
        """
        check_input_ids(input_ids, self.config.vocab_size, input_ids.shape[-1])
        cache = RecurrentDecoding(self) if cache is None else cache
        hidden_states, cache.state = self.recurrent(self.dropout(self.token_embedding(input_ids)), cache.state)
        return self.head(self.dropout(hidden_states))

    def __init__(self, config: RecurrentLMConfig):
        super().__init__()
        if config.cell not in CELLS:
            raise InputError(f"there is no cell {config.cell!r}; it should be one of {', '.join(CELLS)}")
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.recurrent = CELLS[config.cell](config.width, config.width, config.layers, dropout=config.dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.width, config.vocab_size)
        nn.init.normal_(self.token_embedding.weight, std=config.width**-0.5)
        self.head.weight = self.token_embedding.weight
        nn.init.zeros_(self.head.bias)


class RecurrentDecoding:
    """A recurrent model in the middle of a text: `greedy(RecurrentDecoding(model), input_ids, ...)` writes with it.

    What it keeps between two tokens is its state, as large after a thousand tokens as after one.
    """

    def step(self, input_ids: Tensor) -> Tensor:
        """The next tokens (B, T) of each text -> logits (B, V) of what follows."""
        return self.model(input_ids, cache=self)[:, -1]

    def reorder(self, rows: Tensor) -> None:
        """Text i becomes what text rows[i] was."""
        if isinstance(self.state, Tensor):
            self.state = self.state[:, rows]
        elif self.state is not None:
            self.state = tuple(vectors[:, rows] for vectors in self.state)

    def __init__(self, model: RecurrentLM):
        self.model = model
        self.state: Tensor | tuple[Tensor, ...] | None = None
