"""CLIP's text transformer."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.layers.attention import padding_mask
from course_lib.layers.blocks import PreNormBlock, Transformer
from course_lib.layers.checks import check_input_ids


@dataclass(frozen=True)
class CLIPTextConfig:
    """Sizes of a `CLIPText`; the defaults are those of CLIP's ViT-B/32.

    `eos_token_id` is the id whose first place gives the text's vector. None, as in CLIP's code: the place of the
    highest id, which is the end token in CLIP's own vocabulary and in `WordTokenizer`'s.
    """

    vocab_size: int = 49408
    context_length: int = 77
    width: int = 512
    layers: int = 12
    heads: int = 8
    mlp_width: int = 2048
    activation: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    attention_dropout: float = 0.0
    eos_token_id: int | None = None


class CLIPText(nn.Module):
    """Tokens through a causal transformer; the end token, which has seen all others, ends as the text's vector.

    Source: Radford et al., CLIP, section 2.4: GPT-2's architecture, with masked self-attention.
    """

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Token ids to one vector a text.

        Args:
            input_ids: (B, T), T at most `context_length`.
            attention_mask: (B, T), 0 at padding. Padding after the end token needs none: no earlier position sees it.

        Returns:
            (B, D).

        Raises:
            InputError: wrong shape, type or ids.
        """
        self.check(input_ids, attention_mask)
        return self.forward_embeddings(self.token_embedding(input_ids), attention_mask, self.end_positions(input_ids))

    def forward_features(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(B, T) -> (B, T, D), a normalised hidden state for each token."""
        self.check(input_ids, attention_mask)
        return self.forward_embeddings(self.token_embedding(input_ids), attention_mask)

    def forward_embeddings(
        self, token_embeddings: Tensor, attention_mask: Tensor | None = None, read: Tensor | None = None
    ) -> Tensor:
        """The encoder from where tokens are vectors: a learned prompt enters here.

        (B, T, D) -> (B, T, D), or (B, D) at the positions `read` (B), which for CLIP are `end_positions(input_ids)`.
        """
        mask = padding_mask(attention_mask, causal=True)
        hidden_states = token_embeddings + self.position_embedding[: token_embeddings.shape[1]]
        return self.final_norm(self.transformer(hidden_states, mask, mask is None, read))

    def check(self, input_ids: Tensor, attention_mask: Tensor | None) -> None:
        """Raises InputError unless these are ids of this vocabulary, and no more of them than there are positions."""
        check_input_ids(input_ids, self.config.vocab_size, self.config.context_length, attention_mask)

    def end_positions(self, input_ids: Tensor) -> Tensor:
        """(B, T) -> (B), the place of the end token in each text; 0 in a text that has none."""
        if self.config.eos_token_id is None:
            return input_ids.argmax(-1)
        return (input_ids == self.config.eos_token_id).int().argmax(-1)

    def __init__(self, config: CLIPTextConfig):
        super().__init__()
        self.config = config
        width, eps = config.width, config.layer_norm_eps
        self.width = width
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.position_embedding = nn.Parameter(torch.randn(config.context_length, width) * 0.01)
        self.transformer = Transformer(
            lambda: PreNormBlock(
                width, config.heads, config.mlp_width, config.activation, eps, config.attention_dropout
            ),
            config.layers,
        )
        self.final_norm = nn.LayerNorm(width, eps)
        self.initialise()

    def initialise(self) -> None:
        """CLIP's initial weights: what a block adds to the residual stream shrinks with the number of blocks.

        Source: CLIP's published code, as kept in open_clip; the scaling is GPT-2's (Radford et al. 2019, section 2.3).
        """
        width, layers = self.config.width, self.config.layers
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        for block in self.transformer.blocks:
            nn.init.normal_(block.attention.qkv.weight, std=width**-0.5)
            nn.init.normal_(block.attention.out.weight, std=width**-0.5 * (2 * layers) ** -0.5)
            nn.init.normal_(block.mlp.fc1.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.fc2.weight, std=width**-0.5 * (2 * layers) ** -0.5)
