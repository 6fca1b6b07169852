"""A model in the middle of a text: what it keeps from one token to the next."""

from typing import Protocol

import torch
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.layers.cache import KeyValueCache


class Decoding(Protocol):
    """What greedy, sampling and beam search ask for. Whatever has these two methods can be decoded."""

    def step(self, input_ids: Tensor) -> Tensor:
        """The next tokens (B, T) of each text, after those of earlier steps -> logits (B, V) of what follows."""

    def reorder(self, rows: Tensor) -> None:
        """Text i becomes what text rows[i] was; there may be more rows than there were texts."""


class DecoderOnly:
    """GPT-2's way: the prompt and the answer are one text.

    Args:
        model: called as `GPT2.forward` is.
        attention_mask: (B, T), 0 at the padding of the prompts, which stands on the left; None if there is none.
        capacity: how many tokens may be fed in all.
        use_cache: whether earlier tokens' keys and values are kept, or all computed again in each step.
    """

    def step(self, input_ids: Tensor) -> Tensor:
        """(B, T) -> logits (B, V)."""
        first = self.length
        self.length += input_ids.shape[1]
        if self.cache is None:
            self.input_ids = input_ids if self.input_ids is None else torch.cat([self.input_ids, input_ids], 1)
            input_ids, first = self.input_ids, 0
        if self.mask is None:
            if input_ids.shape[1] == 1:  # there is nothing to pick
                return self.model(input_ids, None, None, self.cache)[:, 0]
            return self.model(input_ids, None, None, self.cache, -1)
        mask, positions = self.mask[:, : self.length], self.positions[:, first : self.length]
        return self.model(input_ids, mask, positions, self.cache, -1)

    def reorder(self, rows: Tensor) -> None:
        """Text i becomes what text rows[i] was."""
        if self.cache is not None:
            self.cache.reorder(rows)
        else:
            self.input_ids = self.input_ids[rows]
        if self.mask is not None:
            self.mask, self.positions = self.mask[rows], self.positions[rows]

    def __init__(self, model: nn.Module, attention_mask: Tensor | None, capacity: int, use_cache: bool = True):
        self.model, self.length = model, 0
        self.cache = KeyValueCache(model.config.layers, capacity) if use_cache else None
        self.input_ids: Tensor | None = None
        self.mask = self.positions = None
        if attention_mask is not None and not attention_mask.all():
            # Made once, for the whole text; each step looks at the beginning of it.
            written = attention_mask.new_ones(len(attention_mask), capacity - attention_mask.shape[1])
            self.mask = torch.cat([attention_mask, written], 1).bool()
            self.positions = (self.mask.cumsum(1) - 1).clamp(min=0)


class EncoderDecoder:
    """T5's way: the given text is read once, and the answer is another text.

    Args:
        model: with `encode` and `decode` as `T5` has them.
        input_ids: (B, S), the given texts.
        attention_mask: (B, S), 0 at their padding; or None.
        capacity: how many tokens of the answer may be fed in all.
        use_cache: whether earlier tokens' keys and values are kept, or all computed again in each step.
    """

    def step(self, input_ids: Tensor) -> Tensor:
        """(B, T) -> logits (B, V)."""
        if self.cache is None:
            self.written = input_ids if self.written is None else torch.cat([self.written, input_ids], 1)
            input_ids = self.written
        return self.model.decode(input_ids, self.encoder_states, self.attention_mask, cache=self.cache)[:, -1]

    def reorder(self, rows: Tensor) -> None:
        """Text i becomes what text rows[i] was."""
        if self.cache is not None:
            self.cache.reorder(rows)
        else:
            self.written = self.written[rows]
        self.encoder_states = self.encoder_states[rows]
        if self.attention_mask is not None:
            self.attention_mask = self.attention_mask[rows]

    def __init__(
        self, model: nn.Module, input_ids: Tensor, attention_mask: Tensor | None, capacity: int, use_cache: bool = True
    ):
        self.model, self.written = model, None
        self.encoder_states = model.encode(input_ids, attention_mask)
        padded = attention_mask is not None and not attention_mask.all()
        self.attention_mask = attention_mask if padded else None
        self.cache = KeyValueCache(model.config.decoder_layers, capacity) if use_cache else None


def start(
    model: nn.Module | Decoding, input_ids: Tensor, attention_mask: Tensor | None, max_new_tokens: int, use_cache: bool
) -> tuple[Decoding, Tensor]:
    """A decoding of these texts, and the tokens (B, T) that its first step takes.

    Args:
        model: a `DecoderOnly` model such as `GPT2`, an encoder-decoder such as `T5`, or a `Decoding` that has begun
            already (of a picture, say), whose next tokens are `input_ids`.
        input_ids: (B, T).
        attention_mask: (B, T), 0 at padding; or None.
        max_new_tokens: how many tokens will be written at most.
        use_cache: as in `DecoderOnly`.

    Raises:
        InputError: no token is to be written, more than the model has positions for, or padding on the right of a
            decoder's prompt.
    """
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens is {max_new_tokens}; ask for at least one token")
    if hasattr(model, "step"):
        return model, input_ids
    limit = getattr(model.config, "context_length", None)
    both = hasattr(model, "encode")
    capacity = max_new_tokens if both else input_ids.shape[-1] + max_new_tokens - 1  # the last one is not fed again
    if limit is not None and capacity > limit:
        first = 1 if both else input_ids.shape[-1]
        raise InputError(
            f"{max_new_tokens} new tokens after {first} need {capacity} positions; this model has {limit}: "
            "ask for fewer, or shorten the prompt"
        )
    if both:
        first = torch.full((len(input_ids), 1), model.config.decoder_start_token_id, device=input_ids.device)
        return EncoderDecoder(model, input_ids, attention_mask, capacity, use_cache), first
    if attention_mask is not None and not attention_mask[:, -1].all():
        raise InputError(
            "a prompt ends in padding, so nothing can be written after it: pad prompts on the left for a decoder"
        )
    return DecoderOnly(model, attention_mask, capacity, use_cache), input_ids


def end_only(logits: Tensor, eos_token_id: int) -> Tensor:
    """Logits (B, V) that leave no choice but the end token."""
    forced = torch.full_like(logits, float("-inf"))
    forced[:, eos_token_id] = 0.0
    return forced
