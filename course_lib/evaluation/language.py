"""How well a language model expects a text."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.errors import InputError


def next_token_loss(logits: Tensor, input_ids: Tensor, pad_token_id: int = 0, reduction: str = "mean") -> Tensor:
    """Cross-entropy of each token given those before it; the first of a row is given, padding is nobody's.

    Args:
        logits: (B, T, V), those at t of what stands at t + 1.
        input_ids: (B, T).
        pad_token_id: the id that is left out.
        reduction: "mean" or "sum" over the tokens.

    Returns:
        a scalar, in nats.
    """
    return F.cross_entropy(
        logits[:, :-1].flatten(0, 1), input_ids[:, 1:].flatten(), ignore_index=pad_token_id, reduction=reduction
    )


@torch.no_grad()
def perplexity(
    model: Callable[[Tensor], Tensor], input_ids: Tensor, pad_token_id: int = 0, batch_size: int = 128
) -> float:
    """Among how many equally likely tokens the model hesitates, in the geometric mean over all tokens of the texts.

    Whatever gives logits or log-probabilities of next tokens can be measured: an n-gram model, an LSTM, a GPT. Only
    models of one tokenizer can be compared, for a perplexity is one per token.

    Args:
        model: (B, T) -> (B, T, V); in evaluation mode.
        input_ids: (N, T), each row a text with its start and end tokens, then padding.
        pad_token_id: the id of padding, which is not predicted.
        batch_size: rows at a time.

    Returns:
        exp of the mean cross-entropy: 1 at best, the size of the vocabulary for a model that knows nothing.

    Raises:
        InputError: there is no token to predict.
    """
    count = int((input_ids[:, 1:] != pad_token_id).sum())
    if count == 0:
        raise InputError("no text has a second token, so there is nothing to predict; give texts of two tokens or more")
    total = 0.0
    for rows in input_ids.split(batch_size):
        rows = rows[:, : int((rows != pad_token_id).sum(1).max())] if rows[:, 0].ne(pad_token_id).all() else rows
        total += next_token_loss(model(rows).float(), rows, pad_token_id, "sum").item()
    return math.exp(total / count)
