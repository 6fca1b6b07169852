"""What an encoder may be given: said in one sentence before a tensor of the wrong shape reaches a matrix product."""

import torch
from torch import Tensor

from course_lib.errors import InputError


def check_pixel_values(pixel_values: Tensor, channels: int, size: tuple[int, int] | None) -> None:
    """Checks a batch of pictures.

    Args:
        pixel_values: should be floating-point (B, C, H, W), B at least 1.
        channels: C.
        size: (H, W); None if any will do.

    Raises:
        InputError: it is not.
    """
    wanted = f"(B, {channels}, {size[0]}, {size[1]})" if size else f"(B, {channels}, H, W)"
    if not isinstance(pixel_values, Tensor):
        raise InputError(f"pixel_values is a {type(pixel_values).__name__}; it should be a tensor {wanted}")
    shape = tuple(pixel_values.shape)
    if len(shape) != 4 or shape[1] != channels or (size and shape[2:] != tuple(size)):
        raise InputError(f"pixel_values has shape {shape}; this model takes {wanted}")
    if len(pixel_values) == 0:
        raise InputError(f"pixel_values is an empty batch; give at least one picture, {wanted} with B >= 1")
    if not pixel_values.is_floating_point():
        raise InputError(
            f"pixel_values is {pixel_values.dtype}; it should be floating-point: scale and normalise it first "
            "(course_lib.data.transforms.to_pixel_values)"
        )


def check_input_ids(
    input_ids: Tensor,
    vocab_size: int,
    context_length: int | None,
    attention_mask: Tensor | None = None,
    earlier: int = 0,
) -> None:
    """Checks a batch of token ids.

    Args:
        input_ids: should be integers (B, T) from 0 to vocab_size - 1, B and T at least 1, T at most `context_length`.
        vocab_size: number of rows of the embedding table.
        context_length: number of positions; None if there is no limit.
        attention_mask: if given, should have the shape of `input_ids`, and as many columns more as there are earlier
            tokens.
        earlier: how many tokens came before these, and are in a cache.

    Raises:
        InputError: they are not.
    """
    if not isinstance(input_ids, Tensor):
        raise InputError(f"input_ids is a {type(input_ids).__name__}; it should be an integer tensor (B, T)")
    if input_ids.ndim != 2:
        raise InputError(
            f"input_ids has shape {tuple(input_ids.shape)}; it should be (B, T): a row of ids for each text"
        )
    if input_ids.dtype not in (torch.int64, torch.int32):
        raise InputError(f"input_ids is {input_ids.dtype}; it should be integer (torch.int64), as a tokenizer gives it")
    if input_ids.numel() == 0:
        raise InputError(f"input_ids is an empty batch, {tuple(input_ids.shape)}; give at least one text of one token")
    if context_length is not None and earlier + input_ids.shape[1] > context_length:
        after = f" after {earlier} in the cache" if earlier else ""
        raise InputError(
            f"input_ids has {input_ids.shape[1]} tokens a row{after}; this model has {context_length} positions: "
            f"tokenise with context_length={context_length} or less"
        )
    # One token at a time is how models write, and a single number is looked at sooner than a range.
    low, high = (int(input_ids),) * 2 if input_ids.numel() == 1 else torch.aminmax(input_ids)
    if low < 0 or high >= vocab_size:
        wrong = int(low if low < 0 else high)
        raise InputError(
            f"input_ids holds {wrong}; this model's vocabulary is 0 to {vocab_size - 1}: "
            "use the tokenizer that the model was made with"
        )
    wanted = (input_ids.shape[0], earlier + input_ids.shape[1])
    if attention_mask is not None and attention_mask.shape != wanted:
        of = "that of the cached tokens and input_ids" if earlier else "that of input_ids"
        raise InputError(f"attention_mask has shape {tuple(attention_mask.shape)}; it should be {of}, {wanted}")
