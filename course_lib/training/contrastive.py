"""One step of contrastive training: draw pictures, draw one caption of each, embed both, compare all with all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.losses.contrastive import clip_loss

EncodeRows = Callable[[nn.Module, Tensor], Tensor]


@dataclass
class ContrastiveTask:
    """What `course_lib.training.clip` trains, and on what.

    model: has `encode_text(input_ids)`, `logit_scale` (a logarithm) and `clamp_logit_scale()`, as CLIP; encode_rows,
    input_ids and caption_odds: as `contrastive_batch_loss` takes them; card: what its checkpoint should say.
    """

    model: nn.Module
    encode_rows: EncodeRows
    input_ids: Tensor
    caption_odds: Sequence[float] | None
    card: dict


def contrastive_batch_loss(
    encode_rows: EncodeRows,
    input_ids: Tensor,
    batch_size: int,
    caption_odds: Sequence[float] | None = None,
) -> Callable[[nn.Module, torch.Generator], Tensor]:
    """What `train` needs to train a CLIP.

    Args:
        encode_rows: the model and B row numbers -> `(B, D)`, those pictures' embeddings, not normalised.
        input_ids: `(N, K, L)`: K captions of each of N pictures, 0 where a caption is shorter than L.
        batch_size: pairs at each step; no picture is twice in a batch.
        caption_odds: how often each of the K captions is drawn, in any unit; all alike if None.

    Raises:
        InputError: the shapes do not fit, or the batch is larger than the data.
    """
    draw = pair_drawer(input_ids, batch_size, caption_odds)

    def batch_loss(model: nn.Module, generator: torch.Generator) -> Tensor:
        model.clamp_logit_scale()
        return clip_loss(*embed_pairs(model, encode_rows, *draw(generator)))

    return batch_loss


def pair_drawer(
    input_ids: Tensor, batch_size: int, caption_odds: Sequence[float] | None = None
) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    """A function that draws a batch: `(B,)` pictures' row numbers, and `(B, L)` one caption of each, L the longest's.

    Args and errors: as `contrastive_batch_loss`.
    """
    if input_ids.ndim != 3:
        raise InputError(f"input_ids has shape {tuple(input_ids.shape)}; it should be (pictures, captions, tokens)")
    count, captions, _ = input_ids.shape
    odds = torch.ones(captions) if caption_odds is None else torch.tensor(caption_odds, dtype=torch.float32)
    if odds.shape != (captions,) or odds.min() < 0 or odds.sum() == 0:
        raise InputError(f"caption_odds should be {captions} numbers, one for each caption, not below 0 and not all 0")
    if not 2 <= batch_size <= count:
        raise InputError(f"batch_size is {batch_size}; it should be from 2 to the {count} pictures there are")

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = torch.randperm(count, generator=generator)[:batch_size]
        which = torch.multinomial(odds, batch_size, replacement=True, generator=generator)
        texts = input_ids[rows, which]
        return rows, texts[:, : int((texts != 0).sum(dim=1).max())]

    return draw


def embed_pairs(
    model: nn.Module, encode_rows: EncodeRows, rows: Tensor, texts: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What contrastive losses take: unit vectors `(B, D)` of pictures and of texts, and the scale of their product."""
    image_embeds = F.normalize(encode_rows(model, rows), dim=-1)
    text_embeds = F.normalize(model.encode_text(texts.to(model.logit_scale.device)), dim=-1)
    return image_embeds, text_embeds, model.logit_scale.exp()
