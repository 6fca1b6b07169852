"""One contrastive batch spread over several processes: each encodes its own part, all are negatives for all."""

import torch
import torch.distributed as dist
import torch.nn.functional as F

from course_lib.errors import InputError
from course_lib.losses.contrastive import check_pairs


class _Gather(torch.autograd.Function):
    """Every process's rows, in order of rank; backwards, every process's gradient of my rows, summed."""

    @staticmethod
    def forward(context, mine: torch.Tensor) -> torch.Tensor:
        everyones = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
        dist.all_gather(everyones, mine.contiguous())
        return torch.cat(everyones)

    @staticmethod
    def backward(context, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


def gather(mine: torch.Tensor) -> torch.Tensor:
    """All processes' rows joined, with gradients that find their way back to the process each row came from.

    `torch.distributed.all_gather` alone would return constants: the other processes' losses would not teach my encoder.

    Args:
        mine: `(B, D)`, the same B in each process.

    Returns:
        `(processes * B, D)`, the same in each process.
    """
    return _Gather.apply(mine)


def clip_loss_across_processes(
    image_embeds: torch.Tensor, text_embeds: torch.Tensor, logit_scale: torch.Tensor | float
) -> torch.Tensor:
    """`clip_loss` over the joined batch of all processes, each computing only its own rows: `(B, processes * B)`
    logits.

    The mean of the processes' losses is the loss of the joined batch, and the mean of their parameters' gradients,
    which `DistributedDataParallel` takes, is its gradient.

    Args:
        image_embeds: `(B, D)`, this process's part, rows of length 1.
        text_embeds: `(B, D)`, likewise.
        logit_scale: 1 / temperature, already exponentiated.

    Returns:
        This process's part of the loss, a scalar.

    Raises:
        InputError: no process group is set up, or the embeddings are not what `clip_loss` takes.

    Source: Radford et al. 2021, section 2.5. Equal to `open_clip.ClipLoss(local_loss=True, gather_with_grad=True)`.
    """
    if not dist.is_initialized():
        raise InputError(
            "there is no process group: start with torchrun and call torch.distributed.init_process_group, "
            "or use clip_loss"
        )
    check_pairs(image_embeds, text_embeds)
    if len(image_embeds) * dist.get_world_size() == 1:
        raise InputError("one process with one pair has nothing to tell apart: give at least two pairs")
    own = torch.arange(len(image_embeds), device=image_embeds.device) + dist.get_rank() * len(image_embeds)
    logits_per_image = logit_scale * image_embeds @ gather(text_embeds).T
    logits_per_text = logit_scale * text_embeds @ gather(image_embeds).T
    return (F.cross_entropy(logits_per_image, own) + F.cross_entropy(logits_per_text, own)) / 2
