"""One contrastive batch spread over several processes: each encodes its own part, all are negatives for all.

Each process gives the part of the loss that its own rows make up. The mean of the parts is the loss of the joined
batch, and the mean of the parameters' gradients, which `DistributedDataParallel` takes, is its gradient.
"""

import contextlib
import datetime
import os
from collections.abc import Iterator

import torch
import torch.distributed as dist
import torch.nn.functional as F

from course_lib.errors import InputError
from course_lib.losses.contrastive import check_pairs, yes_or_no


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """The processes that torchrun has started, as one group; a process that was started alone is a group of its own.

    On GPUs each process takes the one that its local rank names.
    """
    on_gpu = torch.cuda.is_available() and os.environ.get("COURSE_DEVICE") != "cpu"
    patience = datetime.timedelta(minutes=10)
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    backend = "nccl" if on_gpu else "gloo"
    if "RANK" in os.environ:
        dist.init_process_group(backend, timeout=patience)
    else:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, timeout=patience)
    try:
        yield
    finally:
        dist.destroy_process_group()


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
    """`clip_loss` over the joined batch of all processes, each computing only its own rows and columns.

    A softmax needs every negative of its row at once, so every process meets everybody's embeddings:
    `(B, processes * B)` logits, twice.

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
    check_group("clip_loss")
    check_pairs(image_embeds, text_embeds)
    if len(image_embeds) * dist.get_world_size() == 1:
        raise InputError("one process with one pair has nothing to tell apart: give at least two pairs")
    own = torch.arange(len(image_embeds), device=image_embeds.device) + dist.get_rank() * len(image_embeds)
    logits_per_image = logit_scale * image_embeds @ gather(text_embeds).T
    logits_per_text = logit_scale * text_embeds @ gather(image_embeds).T
    return (F.cross_entropy(logits_per_image, own) + F.cross_entropy(logits_per_text, own)) / 2


class _PassOn(torch.autograd.Function):
    """My rows go to the next process, the previous one's come to me; backwards, their gradients the other way."""

    @staticmethod
    def forward(context, mine: torch.Tensor) -> torch.Tensor:
        return _shift(mine, 1)

    @staticmethod
    def backward(context, gradient: torch.Tensor) -> torch.Tensor:
        return _shift(gradient, -1)


def _shift(mine: torch.Tensor, places: int) -> torch.Tensor:
    """Sends to the process `places` further round the ring, and gives what comes from the other side."""
    rank, processes = dist.get_rank(), dist.get_world_size()
    received = torch.empty_like(mine, memory_format=torch.contiguous_format)
    swap = [
        dist.P2POp(dist.isend, mine.contiguous(), (rank + places) % processes),
        dist.P2POp(dist.irecv, received, (rank - places) % processes),
    ]
    for request in dist.batch_isend_irecv(swap):
        request.wait()
    return received


def siglip_loss_across_processes(
    image_embeds: torch.Tensor,
    text_embeds: torch.Tensor,
    logit_scale: torch.Tensor | float,
    logit_bias: torch.Tensor | float,
) -> torch.Tensor:
    """`siglip_loss` over the joined batch of all processes, in blocks of `(B, B)` logits.

    Its questions do not know of each other, so nobody needs all embeddings at once: the images stay where they are,
    and the texts are passed round the ring of processes until every process has met every part.

    Args:
        image_embeds: `(B, D)`, this process's part, rows of length 1.
        text_embeds: `(B, D)`, likewise; the same B in each process.
        logit_scale: 1 / temperature, already exponentiated.
        logit_bias: added to every logit.

    Returns:
        This process's part of the loss, a scalar.

    Raises:
        InputError: no process group is set up, or the embeddings are not what `siglip_loss` takes.

    Source: Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training", section 3.2 and figure 1. Equal to
        `open_clip.loss.SigLipLoss` with its rank and world size.
    """
    check_group("siglip_loss")
    check_pairs(image_embeds, text_embeds)
    belongs = torch.eye(len(image_embeds), dtype=torch.bool, device=image_embeds.device)
    loss = yes_or_no(logit_scale * image_embeds @ text_embeds.T + logit_bias, belongs)
    for _ in range(dist.get_world_size() - 1):
        text_embeds = _PassOn.apply(text_embeds)
        logits = logit_scale * image_embeds @ text_embeds.T + logit_bias
        loss = loss + yes_or_no(logits, torch.zeros_like(belongs))
    return loss


def with_mean_value(loss: torch.Tensor) -> torch.Tensor:
    """The loss with the value of the processes' mean and the gradient of my part.

    So every process reports the loss of the joined batch, and all of them stop if it is not finite.
    """
    mean = loss.detach().clone()
    dist.all_reduce(mean)
    return loss + (mean / dist.get_world_size() - loss.detach())


def check_group(alone: str) -> None:
    """Raises InputError unless there is a process group; `alone` names the loss that needs none."""
    if not dist.is_initialized():
        raise InputError(
            "there is no process group: start with torchrun and call torch.distributed.init_process_group, "
            f"or use {alone}"
        )
