"""BERT in pretraining: an encoder that sees both sides, and two heads that say what was hidden and what follows.

Source: Devlin et al., BERT, section 3.1 and appendix A.
With the weights of transformers' BertForPreTraining it gives that model's logits (`course parity`).
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.encoders.bert import BERT, BERTConfig
from course_lib.layers.activations import activation
from course_lib.pretrained import bert as published
from course_lib.pretrained.weights import filled


@dataclass
class BERTOutput:
    """What BERT says of B pairs of sentences.

    prediction_logits (B, T, V): which token stands at each place; seq_relationship_logits (B, 2): whether the second
    sentence follows the first (0) or is any other (1); hidden_states (B, T, D).
    """

    prediction_logits: Tensor
    seq_relationship_logits: Tensor
    hidden_states: Tensor


class MaskedLanguageHead(nn.Module):
    """What token stands at each place: a layer, an activation, a norm; the embedding table and a bias read it."""

    def forward(self, hidden_states: Tensor, token_embedding: Tensor) -> Tensor:
        """(..., D) and the table (V, D) -> logits (..., V)."""
        return F.linear(self.norm(self.activation(self.transform(hidden_states))), token_embedding, self.bias)

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.transform = nn.Linear(config.width, config.width)
        self.activation = activation(config.activation)
        self.norm = nn.LayerNorm(config.width, config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))


class NextSentenceHead(nn.Module):
    """Whether the second sentence follows the first, from the hidden state of the first token."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(B, T, D) -> (B, 2)."""
        return self.classifier(torch.tanh(self.pooler(hidden_states[:, 0])))

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.pooler = nn.Linear(config.width, config.width)
        self.classifier = nn.Linear(config.width, 2)


class BERTForPretraining(nn.Module):
    """The encoder and its two pretraining heads.

    Args:
        config: the encoder's sizes.
    """

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        masked: Tensor | None = None,
    ) -> BERTOutput:
        """Fills in what was hidden, and judges whether two sentences belong together.

        Args:
            input_ids: (B, T).
            attention_mask: (B, T), 0 at padding.
            token_type_ids: (B, T), 0 in the first sentence and 1 in the second; 0 if left out.
            masked: boolean (B, T), the places whose tokens are asked for; None for all. In training only one place in
                seven is, and the largest layer need not see the others.

        Returns:
            as `BERTOutput` says; prediction_logits is (number of masked places, V) if `masked` is given.

        Raises:
            InputError: wrong shapes, types or ids.
        """
        hidden_states = self.encoder(input_ids, attention_mask, token_type_ids)
        asked = hidden_states if masked is None else hidden_states[masked]
        prediction_logits = self.masked_language(asked, self.encoder.token_embedding.weight)
        return BERTOutput(prediction_logits, self.next_sentence(hidden_states), hidden_states)

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.config = config
        self.encoder = BERT(config)
        self.masked_language = MaskedLanguageHead(config)
        self.next_sentence = NextSentenceHead(config)
        for layer in (self.masked_language.transform, self.next_sentence.pooler, self.next_sentence.classifier):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    @classmethod
    def from_weights(
        cls, config: dict, state: dict[str, Tensor], source: str | Path = "the state dict"
    ) -> "BERTForPretraining":
        """A BERT of the configuration `asdict(BERTConfig(...))`, with these weights, in evaluation mode.

        Raises:
            FileError: the weights do not fit the configuration.
        """
        return filled(lambda: cls(BERTConfig(**config)), dict(state), source)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> "BERTForPretraining":
        """A published BERT in evaluation mode: a folder or a Hub id ("google-bert/bert-base-uncased").

        Raises:
            OfflineError, FileError, InputError: as `CLIP.from_pretrained`, whose arguments these are.
        """
        config, state = published.load(source)
        return filled(lambda: cls(BERTConfig(**config)), state, source, dtype, device)

    def to_dict(self) -> dict:
        """The configuration as JSON can hold it, and `from_weights` takes it."""
        return asdict(self.config)
