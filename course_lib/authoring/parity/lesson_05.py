"""Lesson 05: contrastive losses beside open_clip's, also over several processes; ranking losses beside torch's."""

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.authoring.parity.rows import ParityRow, difference
from course_lib.losses.contrastive import clip_loss, siglip_loss
from course_lib.losses.ranking import triplet_loss
from course_lib.training.distributed import clip_loss_across_processes, siglip_loss_across_processes


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


def triplets_beside_torch(triplets: int = 9, margin: float = 0.5, seed: int = 0) -> list[ParityRow]:
    """triplet_loss beside torch.nn.functional.triplet_margin_loss, value and gradients."""
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randn(triplets, 16, generator=generator) for _ in range(3)]
    found = []
    for loss in (triplet_loss, F.triplet_margin_loss):
        leaves = [row.clone().requires_grad_() for row in rows]
        value = loss(*leaves, margin=margin)
        value.backward()
        found.append((value.detach(), torch.cat([leaf.grad for leaf in leaves])))
    reference = "torch triplet_margin_loss"
    return [
        ParityRow("triplet_loss", reference, what, difference(ours, theirs))
        for what, ours, theirs in zip(("loss", "gradients"), *found, strict=True)
    ]


def split_losses_beside_open_clip(processes: int = 2, pairs: int = 5, seed: int = 0) -> list[ParityRow]:
    """Both losses over several processes (gloo, on this machine) beside open_clip's over as many.

    Compared is what each process gets: its part of the loss, and its gradients of a shared weight, of the scale and of
    the bias; and the mean over the processes beside the loss of a single process that holds the joined batch.

    Args:
        processes: how many.
        pairs: of each process.
        seed: of the embeddings.
    """
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_one_process, (processes, pairs, seed, folder), nprocs=processes)
        parts = [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(processes)]
    rows = []
    for name, loss in (("clip_loss", clip_loss), ("siglip_loss", siglip_loss)):
        ours, theirs = (torch.stack([part[f"{name} {who}"] for part in parts]) for who in ("ours", "theirs"))
        whole = _loss_and_gradients(loss, name, processes * pairs, slice(None), seed)
        system = f"{name}_across_processes"
        reference = "open_clip " + {"clip_loss": "ClipLoss", "siglip_loss": "SigLipLoss"}[name]
        rows += [
            ParityRow(system, f"{reference}, {processes} processes", "loss, gradients", difference(ours, theirs)),
            ParityRow(system, f"{name}, one process", "loss, gradients", difference(ours.mean(dim=0), whole)),
        ]
    return rows


def open_clip_losses() -> ModuleType:
    """open_clip's file of losses alone: the whole package takes seconds to import, in each process."""
    folder = Path(importlib.util.find_spec("open_clip").origin).parent
    spec = importlib.util.spec_from_file_location("open_clip_losses", folder / "loss.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _loss_and_gradients(loss: Callable, name: str, total: int, part: slice, seed: int) -> Tensor:
    """One vector: the loss of a part of the batch, then its gradients of a weight (a tower), the scale and the bias."""
    generator = torch.Generator().manual_seed(seed)
    images, texts = (torch.randn(total, 6, generator=generator) for _ in range(2))
    leaves = [torch.randn(6, 6, generator=generator), torch.tensor(2.0), torch.tensor(-3.0)]
    weight, log_scale, bias = leaves = [leaf.requires_grad_() for leaf in leaves]
    embeds = [F.normalize(rows[part] @ weight, dim=-1) for rows in (images, texts)]
    value = loss(*embeds, log_scale.exp(), *([bias] if name == "siglip_loss" else []))
    value.backward()
    gradients = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
    return torch.cat([value.detach().view(1), *(gradient.flatten() for gradient in gradients)])


def _one_process(rank: int, processes: int, pairs: int, seed: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes)
    where, theirs = {"rank": rank, "world_size": processes}, open_clip_losses()
    losses = {
        "clip_loss ours": clip_loss_across_processes,
        "clip_loss theirs": theirs.ClipLoss(local_loss=True, gather_with_grad=True, **where),
        "siglip_loss ours": siglip_loss_across_processes,
        "siglip_loss theirs": theirs.SigLipLoss(**where),
    }
    part = slice(rank * pairs, (rank + 1) * pairs)
    found = {
        name: _loss_and_gradients(loss, name.split()[0], processes * pairs, part, seed) for name, loss in losses.items()
    }
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


COMPARISONS: list[Callable[[], list[ParityRow]]] = [
    losses_beside_open_clip,
    triplets_beside_torch,
    split_losses_beside_open_clip,
]
