"""One comparison with a reference: a row of the table, and what the comparisons of all lessons share.

A small random configuration of the reference gives its weights to ours by the same name maps that load published
checkpoints; both get the same input; the largest absolute difference of what they give is the row. The tests call the
same functions with other configurations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

TOLERANCE = 1e-5


@dataclass(frozen=True)
class ParityRow:
    """One comparison: our `system`, the `reference`, `what` was compared, how far apart, how far it may be."""

    system: str
    reference: str
    what: str
    max_abs_difference: float
    tolerance: float = TOLERANCE

    @property
    def holds(self) -> bool:
        """Whether the difference is within the tolerance (a nan is not)."""
        return self.max_abs_difference <= self.tolerance


def disturb(model: nn.Module, seed: int, **inputs: Tensor) -> nn.Module:
    """Moves every weight a little, so that none is 0 or 1 and none can be left out unnoticed.

    Batch normalisation gets the statistics of `inputs`; with those that it starts with, a deep network would let
    nothing through, and all pictures would be alike.
    """
    generator = torch.Generator().manual_seed(seed)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
        if norms:
            for norm in norms:
                norm.momentum = 1.0
            model.train()(**inputs)
    return model.eval()


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest absolute difference of two tensors of one shape; nan if they are of two, or hold no number at all."""
    if ours.shape != theirs.shape:
        return float("nan")
    return (ours.double() - theirs.double()).abs().max().item()


def small_transformer(width: int, heads: int) -> dict:
    return {
        "hidden_size": width,
        "intermediate_size": 2 * width + 3,
        "num_hidden_layers": 3,
        "num_attention_heads": heads,
    }


def random_texts(vocab_size: int, count: int, length: int, mask: str | None = None) -> tuple[Tensor, Tensor | None]:
    """Random texts whose last id is the end token, at a place of its own in each; and a mask that hides two tokens."""
    input_ids = torch.randint(3, vocab_size - 2, (count, length))
    for row, place in zip(input_ids, torch.randint(4, length, (count,)).tolist(), strict=True):
        row[place], row[place + 1 :] = vocab_size - 1, 0
    if mask is None:
        return input_ids, None
    attention_mask = torch.ones_like(input_ids)
    attention_mask[:, slice(-2, None) if mask == "right" else slice(0, 2)] = 0
    return input_ids, attention_mask


def tell_apart(*embeds: Tensor) -> None:
    """Raises AssertionError if a reference gives the same for every input: nothing would be compared then."""
    for rows in embeds:
        assert rows.std(0).max() > 1e-3, "the reference gives the same vector for every input"
