"""Lesson 05: contrastive losses beside open_clip's."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.authoring.parity.rows import ParityRow, difference
from course_lib.losses.contrastive import clip_loss, siglip_loss


def losses_beside_open_clip(pairs: int = 9, seed: int = 0) -> list[ParityRow]:
    """clip_loss and siglip_loss beside open_clip's, value and gradients."""
    import open_clip
    from open_clip.loss import SigLipLoss

    generator = torch.Generator().manual_seed(seed)

    def leaves() -> list[Tensor]:
        generator.manual_seed(seed)
        embeds = [nn.functional.normalize(torch.randn(pairs, 16, generator=generator), dim=-1) for _ in range(2)]
        return [tensor.requires_grad_() for tensor in (*embeds, torch.tensor(20.0), torch.tensor(-5.0))]

    rows = []
    for name, ours, theirs, count in (
        ("clip_loss", clip_loss, open_clip.ClipLoss(), 3),
        ("siglip_loss", siglip_loss, SigLipLoss(), 4),
    ):
        mine, others = leaves()[:count], leaves()[:count]
        got, wanted = ours(*mine), theirs(*others)
        got.backward()
        wanted.backward()
        apart = max(difference(own.grad, other.grad) for own, other in zip(mine, others, strict=True))
        reference = f"open_clip {type(theirs).__name__}"
        rows += [
            ParityRow(name, reference, "loss", difference(got.detach(), wanted.detach())),
            ParityRow(name, reference, "gradients", apart),
        ]
    return rows


COMPARISONS: list[Callable[[], list[ParityRow]]] = [losses_beside_open_clip]
