"""One token after the other: the most likely one, or one drawn by chance."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.generation.decoding import Decoding, end_only, start


def greedy(
    model: nn.Module | Decoding,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    *,
    max_new_tokens: int,
    eos_token_id: int | None = None,
    pad_token_id: int | None = None,
    force_eos: bool = False,
    use_cache: bool = True,
) -> Tensor:
    """Always the most likely token.

    Args:
        model: a decoder such as `GPT2` or `Llama`, an encoder-decoder such as `T5` or `BART`, or a `Decoding`; in
            evaluation mode.
        input_ids: (B, T), the prompts, or what the encoder reads.
        attention_mask: (B, T), 0 at padding, which for a decoder stands on the left.
        max_new_tokens: how many tokens are written at most.
        eos_token_id: the token after which a text is at its end; None writes `max_new_tokens`.
        pad_token_id: what follows the end, where other texts of the batch are longer; None for `eos_token_id`.
        force_eos: whether the last possible token has to be the end token (BART's published configuration).
        use_cache: whether keys and values are kept; without, every step computes the whole text again.

    Returns:
        (B, T + N): the prompts and what follows them; from an encoder-decoder (B, 1 + N): its start token and what
        follows that. N is at most `max_new_tokens`.

    Raises:
        InputError: more tokens than the model has positions for, or prompts padded on the right.
    """
    tokens = _write(
        model, input_ids, attention_mask, max_new_tokens=max_new_tokens, eos_token_id=eos_token_id,
        pad_token_id=pad_token_id, force_eos=force_eos, use_cache=use_cache,
    )  # fmt: skip
    return _after(model, input_ids, tokens)


def sample(
    model: nn.Module | Decoding,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
    eos_token_id: int | None = None,
    pad_token_id: int | None = None,
    force_eos: bool = False,
    use_cache: bool = True,
) -> Tensor:
    """Each token drawn with its probability, after `adjust`.

    Args:
        temperature, top_k, top_p: as in `adjust`.
        generator: where chance comes from; None for torch's own.
        The others, the result and the errors are those of `greedy`.
    """
    check_adjustment(temperature, top_k, top_p)

    def choose(logits: Tensor) -> Tensor:
        probabilities = adjust(logits, temperature, top_k, top_p).softmax(-1)
        return torch.multinomial(probabilities, 1, generator=generator).squeeze(1)

    tokens = _write(
        model, input_ids, attention_mask, max_new_tokens=max_new_tokens, choose=choose, eos_token_id=eos_token_id,
        pad_token_id=pad_token_id, force_eos=force_eos, use_cache=use_cache,
    )  # fmt: skip
    return _after(model, input_ids, tokens)


def most_likely(logits: Tensor) -> Tensor:
    """(B, V) -> (B)."""
    return logits.argmax(-1)


@torch.inference_mode()
def stream(
    model: nn.Module | Decoding,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    *,
    max_new_tokens: int,
    choose: Callable[[Tensor], Tensor] = most_likely,
    eos_token_id: int | None = None,
    pad_token_id: int | None = None,
    force_eos: bool = False,
    use_cache: bool = True,
) -> Iterator[Tensor]:
    """The tokens as they are written, (B) at a time: to show an answer while it grows.

    Args:
        choose: logits (B, V) -> the tokens (B) that follow.
        The others and the errors are those of `greedy`.
    """
    if force_eos and eos_token_id is None:
        raise InputError("force_eos needs the eos_token_id that it should force")
    pad_token_id = eos_token_id if pad_token_id is None else pad_token_id
    decoding, fed = start(model, input_ids, attention_mask, max_new_tokens, use_cache)
    writing = torch.ones(len(input_ids), dtype=torch.bool, device=input_ids.device)
    for number in range(max_new_tokens):
        logits = decoding.step(fed)
        if force_eos and number == max_new_tokens - 1:
            logits = end_only(logits, eos_token_id)
        token = choose(logits)
        if eos_token_id is None:
            yield token
        else:
            token = torch.where(writing, token, pad_token_id)
            yield token
            writing &= token != eos_token_id
            if not writing.any():
                return
        fed = token.unsqueeze(1)


# The same in the mode of whoever calls it: `stream` goes in and out of its mode at each token, and that takes time.
_write: Callable[..., Iterator[Tensor]] = stream.__wrapped__


def adjust(logits: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float = 1.0) -> Tensor:
    """Logits of a sharper, flatter or shorter-tailed distribution; -inf for tokens that cannot be drawn any more.

    Args:
        logits: (B, V).
        temperature: what logits are divided by: below 1 the likely becomes likelier, above 1 all become alike.
        top_k: only the k most likely tokens remain (and those as likely as the k-th).
        top_p: of these, only the most likely that together have probability p: the "nucleus". The one with which p
            is reached remains.

    Returns:
        (B, V).

    Raises:
        InputError: a number out of its range.

    Source: Holtzman et al., The Curious Case of Neural Text Degeneration, section 3.1 (top_p) and 3.2 (the others).
    """
    check_adjustment(temperature, top_k, top_p)
    if temperature != 1.0:
        logits = logits / temperature
    if top_k is not None:
        kth = logits.topk(min(top_k, logits.shape[-1]))[0][..., -1:]
        logits = logits.masked_fill(logits < kth, float("-inf"))
    if top_p < 1.0:
        ordered, order = logits.sort(-1, descending=True)
        probabilities = ordered.softmax(-1)
        likelier = probabilities.cumsum(-1) - probabilities  # what all tokens before this one have together
        removed = (likelier >= top_p).scatter(-1, order, likelier >= top_p)
        logits = logits.masked_fill(removed, float("-inf"))
    return logits


def check_adjustment(temperature: float, top_k: int | None, top_p: float) -> None:
    """Raises InputError for a number out of its range."""
    if temperature <= 0:
        raise InputError(f"temperature is {temperature}; it should be above 0 (for the most likely token use greedy)")
    if top_k is not None and top_k < 1:
        raise InputError(f"top_k is {top_k}; keep at least 1 token, or None for all")
    if not 0 < top_p <= 1:
        raise InputError(f"top_p is {top_p}; it is a probability, above 0 and at most 1")


def _after(model: nn.Module | Decoding, input_ids: Tensor, tokens: Iterator[Tensor]) -> Tensor:
    """What comes first, and the tokens written after it."""
    with torch.inference_mode():
        tokens = list(tokens)
    written = torch.stack(tokens, 1)
    if hasattr(model, "encode"):
        input_ids = torch.full_like(written[:, :1], model.config.decoder_start_token_id)
    return torch.cat([input_ids, written], 1)
