"""BERT's encoder."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.layers.attention import padding_mask
from course_lib.layers.blocks import PostNormBlock, Transformer
from course_lib.layers.checks import check_input_ids


@dataclass(frozen=True)
class BERTConfig:
    """Sizes of a `BERT`; the defaults are those of BERT-base."""

    vocab_size: int = 30522
    context_length: int = 512
    token_types: int = 2
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    activation: str = "gelu"
    layer_norm_eps: float = 1e-12
    dropout: float = 0.1
    attention_dropout: float = 0.1


class BERT(nn.Module):
    """Words, positions and segments added, then a transformer in which every token sees every other.

    Source: Devlin et al., BERT, section 3 and figure 2.
    """

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Token ids to hidden states.

        Args:
            input_ids: (B, T).
            attention_mask: (B, T), 0 at padding.
            token_type_ids: (B, T), the segment of each token; 0 if left out.

        Returns:
            (B, T, D).

        Raises:
            InputError: wrong shapes, types or ids.
        """
        check_input_ids(input_ids, self.config.vocab_size, self.config.context_length, attention_mask)
        types = self.type_embedding.weight[0] if token_type_ids is None else self.type_embedding(token_type_ids)
        embeddings = self.token_embedding(input_ids) + types + self.position_embedding[: input_ids.shape[1]]
        return self.transformer(self.dropout(self.norm(embeddings)), padding_mask(attention_mask))

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.config, self.width = config, config.width
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.type_embedding = nn.Embedding(config.token_types, config.width)
        self.position_embedding = nn.Parameter(torch.empty(config.context_length, config.width))
        self.norm = nn.LayerNorm(config.width, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.transformer = Transformer(
            lambda: PostNormBlock(
                config.width, config.heads, config.mlp_width, config.activation, config.layer_norm_eps,
                config.dropout, config.attention_dropout,
            ),
            config.layers,
        )  # fmt: skip
        self.initialise()

    def initialise(self) -> None:
        """BERT's initial weights: normal with standard deviation 0.02, biases 0 (published code)."""
        nn.init.normal_(self.position_embedding, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
