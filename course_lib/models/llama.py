"""Llama: GPT-2's plan with RMSNorm, rotary positions, a gated MLP, and keys and values shared by several heads.

Source: Touvron et al., LLaMA, section 2.2; Llama 2, section 2.2 (grouped-query attention).
With the weights of transformers' LlamaForCausalLM it gives that model's logits (`course parity`).
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.layers.attention import GroupedQueryAttention, padding_mask, pick
from course_lib.layers.cache import KeyValueCache, LayerCache
from course_lib.layers.checks import check_input_ids
from course_lib.layers.mlp import GatedMLP
from course_lib.layers.norms import RMSNorm
from course_lib.layers.positions import RotaryEmbedding, RotaryStretch
from course_lib.pretrained import llama as published
from course_lib.pretrained.weights import filled


@dataclass(frozen=True)
class LlamaConfig:
    """Sizes of a `Llama`; the defaults are those of Llama 2 with 7 billion parameters."""

    vocab_size: int = 32000
    context_length: int = 4096
    width: int = 4096
    layers: int = 32
    heads: int = 32
    key_value_heads: int = 32
    head_width: int | None = None
    mlp_width: int = 11008
    activation: str = "silu"
    rms_norm_eps: float = 1e-5
    rotary_base: float = 10_000.0
    rotary_stretch: RotaryStretch | None = None  # from Llama 3.1 on
    attention_dropout: float = 0.0
    attention_bias: bool = False
    mlp_bias: bool = False
    tie_embeddings: bool = False

    def to_dict(self) -> dict:
        """The configuration as JSON can hold it; `from_dict` makes it again."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "LlamaConfig":
        """The configuration that `to_dict` wrote."""
        stretch = values.get("rotary_stretch")
        return cls(**values | {"rotary_stretch": RotaryStretch(**stretch) if isinstance(stretch, dict) else stretch})


class LlamaBlock(nn.Module):
    """Normalise, mix positions, add; normalise, transform each position, add: no bias, no mean, no position added."""

    def forward(
        self,
        hidden_states: Tensor,
        rotary: tuple[Tensor, Tensor],
        attention_mask: Tensor | None = None,
        is_causal: bool = True,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """(B, T, D) -> (B, T, D); arguments as in `GroupedQueryAttention`."""
        mixed = self.attention(self.norm1(hidden_states), rotary, attention_mask, is_causal, cache)
        hidden_states = hidden_states + mixed
        return hidden_states + self.mlp(self.norm2(hidden_states))

    def __init__(self, config: LlamaConfig):
        super().__init__()
        self.norm1 = RMSNorm(config.width, config.rms_norm_eps)
        self.attention = GroupedQueryAttention(
            config.width, config.heads, config.key_value_heads, config.head_width, config.attention_dropout,
            config.attention_bias,
        )  # fmt: skip
        self.norm2 = RMSNorm(config.width, config.rms_norm_eps)
        self.mlp = GatedMLP(config.width, config.mlp_width, config.activation, config.mlp_bias)


class Llama(nn.Module):
    """Tokens, blocks that turn queries and keys by their positions, a norm, and a layer of its own for the logits.

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
        """What may come next, after each token; arguments, result and errors as those of `GPT2.forward`."""
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
        hidden_states, length = token_embeddings, token_embeddings.shape[1]
        rotary = self.angles(hidden_states, position_ids, cache)
        mask = padding_mask(attention_mask, causal=True, queries=length)
        for number, block in enumerate(self.blocks):
            hidden_states = block(hidden_states, rotary, mask, mask is None, None if cache is None else cache[number])
        hidden_states = self.final_norm(pick(hidden_states, read))
        return F.linear(hidden_states, self.token_embedding.weight if self.head is None else self.head.weight)

    def angles(
        self, hidden_states: Tensor, position_ids: Tensor | None, cache: KeyValueCache | None
    ) -> tuple[Tensor, Tensor]:
        """Cosines and sines of the positions of hidden states (B, T, D), as `RotaryEmbedding` gives them.

        In the first step of a cache, those of all the positions that it has room for are computed, and it keeps them.
        """
        dtype, device, length = hidden_states.dtype, hidden_states.device, hidden_states.shape[1]
        start, end = (0, length) if cache is None else (cache.length, cache.length + length)
        if position_ids is None and cache is not None and end <= cache.capacity:
            if cache.rotary is None:
                cos, sin = self.rotary(torch.arange(cache.capacity, device=device))
                cache.rotary = cos.to(dtype), sin.to(dtype)
            cos, sin = cache.rotary
            return cos.narrow(0, start, length), sin.narrow(0, start, length)
        cos, sin = self.rotary(torch.arange(start, end, device=device) if position_ids is None else position_ids)
        return cos.to(dtype), sin.to(dtype)

    def __init__(self, config: LlamaConfig):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        head_width = config.head_width or config.width // config.heads
        self.rotary = RotaryEmbedding(head_width, config.rotary_base, config.rotary_stretch)
        self.blocks = nn.ModuleList(LlamaBlock(config) for _ in range(config.layers))
        self.final_norm = RMSNorm(config.width, config.rms_norm_eps)
        self.head = None if config.tie_embeddings else nn.Linear(config.width, config.vocab_size, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    @classmethod
    def from_weights(cls, config: dict, state: dict[str, Tensor], source: str | Path = "the state dict") -> "Llama":
        """A Llama of a configuration as `LlamaConfig.to_dict` gives it, with these weights, in evaluation mode.

        Raises:
            FileError: the weights do not fit the configuration.
        """
        return filled(lambda: cls(LlamaConfig.from_dict(config)), dict(state), source)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> "Llama":
        """A published Llama in evaluation mode: a folder or a Hub id ("HuggingFaceTB/SmolLM2-135M").

        Raises:
            OfflineError, FileError, InputError: as `CLIP.from_pretrained`, whose arguments these are.
        """
        config, state = published.load(source)
        return filled(lambda: cls(LlamaConfig.from_dict(config)), state, source, dtype, device)
