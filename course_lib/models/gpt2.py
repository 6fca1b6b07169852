"""GPT-2: a transformer that sees only what came before, trained to say what comes next.

Source: Radford et al., Language Models are Unsupervised Multitask Learners, section 2.3.
With the weights of transformers' GPT2LMHeadModel it gives that model's logits (`course parity`).
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.layers.attention import padding_mask
from course_lib.layers.blocks import PreNormBlock, Transformer, drop
from course_lib.layers.cache import KeyValueCache
from course_lib.layers.checks import check_input_ids
from course_lib.pretrained import gpt2 as published
from course_lib.pretrained.weights import filled


@dataclass(frozen=True)
class GPT2Config:
    """Sizes of a `GPT2`; the defaults are those of the smallest published one (124 million parameters)."""

    vocab_size: int = 50257
    context_length: int = 1024
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    activation: str = "gelu_new"
    layer_norm_eps: float = 1e-5
    dropout: float = 0.1
    attention_dropout: float = 0.1

    def to_dict(self) -> dict:
        """The configuration as JSON can hold it; `from_dict` makes it again."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "GPT2Config":
        """The configuration that `to_dict` wrote."""
        return cls(**values)


class GPT2(nn.Module):
    """Tokens and learned positions, pre-norm blocks with a causal mask, a norm; the embedding table reads the result.

    Args:
        config: the sizes.
    """

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: KeyValueCache | None = None,
        read: Tensor | int | None = None,
    ) -> Tensor:
        """What may come next, after each token.

        Args:
            input_ids: (B, T).
            attention_mask: (B, S), 0 at padding; S is T, or with a cache that many more.
            position_ids: (B, T), the place of each token; counted from the cache's length if left out.
            cache: keeps what later tokens need of these, and has what these need of earlier ones.
            read: None for the logits after every token; or the one position that will be read (int, or one in each: B).

        Returns:
            logits (B, T, V); (B, V) with `read`.

        Raises:
            InputError: wrong shapes, types or ids, or more tokens than positions.
        """
        earlier = 0 if cache is None else cache.length
        check_input_ids(input_ids, self.config.vocab_size, self.config.context_length, attention_mask, earlier)
        return self.forward_embeddings(self.token_embedding(input_ids), attention_mask, position_ids, cache, read)

    def forward_embeddings(
        self,
        token_embeddings: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: KeyValueCache | None = None,
        read: Tensor | int | None = None,
    ) -> Tensor:
        """The model from where tokens are vectors, (B, T, D): projected pictures enter here."""
        length, earlier = token_embeddings.shape[1], 0 if cache is None else cache.length
        where = slice(earlier, earlier + length) if position_ids is None else position_ids
        hidden_states = drop(self.dropout, token_embeddings + self.position_embedding[where])
        mask = padding_mask(attention_mask, causal=True, queries=length)
        hidden_states = self.transformer(hidden_states, mask, mask is None, read, cache)
        return F.linear(self.final_norm(hidden_states), self.token_embedding.weight)

    def __init__(self, config: GPT2Config):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.position_embedding = nn.Parameter(torch.empty(config.context_length, config.width))
        self.dropout = nn.Dropout(config.dropout)
        self.transformer = Transformer(
            lambda: PreNormBlock(
                config.width, config.heads, config.mlp_width, config.activation, config.layer_norm_eps,
                config.attention_dropout, config.dropout,
            ),
            config.layers,
        )  # fmt: skip
        self.final_norm = nn.LayerNorm(config.width, config.layer_norm_eps)
        self.initialise()

    def initialise(self) -> None:
        """GPT-2's initial weights: what each branch adds to the residual stream shrinks with the number of branches."""
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.position_embedding, std=0.02)
        branch = 0.02 / (2 * self.config.layers) ** 0.5
        for block in self.transformer.blocks:
            for layer, std in (
                (block.attention.qkv, 0.02), (block.attention.out, branch), (block.mlp.fc1, 0.02),
                (block.mlp.fc2, branch),
            ):  # fmt: skip
                nn.init.normal_(layer.weight, std=std)
                nn.init.zeros_(layer.bias)

    @classmethod
    def from_weights(cls, config: dict, state: dict[str, Tensor], source: str | Path = "the state dict") -> "GPT2":
        """A GPT-2 of a configuration as `GPT2Config.to_dict` gives it, with these weights, in evaluation mode.

        Raises:
            FileError: the weights do not fit the configuration.
        """
        return filled(lambda: cls(GPT2Config.from_dict(config)), dict(state), source)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> "GPT2":
        """A published GPT-2 in evaluation mode: a folder or a Hub id ("openai-community/gpt2").

        Raises:
            OfflineError, FileError, InputError: as `CLIP.from_pretrained`, whose arguments these are.
        """
        config, state = published.load(source)
        return filled(lambda: cls(GPT2Config.from_dict(config)), state, source, dtype, device)
