import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
import torch.nn.functional as F

from course_lib.authoring.parity.lesson_05 import open_clip_losses
from course_lib.errors import InputError
from course_lib.losses.contrastive import clip_loss, siglip_loss
from course_lib.training.distributed import (
    clip_loss_across_processes,
    process_group,
    siglip_loss_across_processes,
    with_mean_value,
)

PAIRS = 5  # of each process


def embeds(weights, part, processes):
    """Both towers are one linear map here: its gradient holds what every pair of every process says about it."""
    generator = torch.Generator().manual_seed(0)
    image, text = (torch.randn(processes * PAIRS, 6, generator=generator)[part] for _ in range(2))
    return F.normalize(image @ weights, dim=-1), F.normalize(text @ weights.T, dim=-1)


def start(numbers):
    """The weights; and a logarithm of the scale, and for SigLIP a bias."""
    weights = torch.randn(6, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()
    return [weights, *(torch.tensor(value, requires_grad=True) for value in (2.0, -3.0)[:numbers])]


def called(loss, leaves, part, processes):
    weights, log_scale, *bias = leaves
    return loss(*embeds(weights, part, processes), log_scale.exp(), *bias)


def worker(rank, processes, meeting, results):
    open_clip = open_clip_losses()
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=processes)
    where = {"rank": rank, "world_size": processes}
    losses = {
        "clip, ours": (clip_loss_across_processes, 1),
        "clip, local": (open_clip.ClipLoss(local_loss=True, gather_with_grad=True, **where), 1),
        "clip, whole": (open_clip.ClipLoss(local_loss=False, gather_with_grad=True, **where), 1),
        "siglip, ours": (siglip_loss_across_processes, 2),
        "siglip, both ways": (open_clip.SigLipLoss(dist_impl="bidir", **where), 2),
        "siglip, one way": (open_clip.SigLipLoss(dist_impl="shift", **where), 2),
    }
    found = {}
    for name, (loss, numbers) in losses.items():
        leaves = start(numbers)
        value = called(loss, leaves, slice(rank * PAIRS, (rank + 1) * PAIRS), processes)
        reported = with_mean_value(value)
        reported.backward()
        mine = [value.detach().clone(), *(leaf.grad.clone() for leaf in leaves)]
        means = [tensor.clone() for tensor in mine]
        for tensor in means:  # what DistributedDataParallel does with gradients
            dist.all_reduce(tensor)
            tensor /= processes
        found[name] = {"mine": mine, "means": means, "reported": reported.detach()}
    torch.save(found, f"{results}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_have_the_loss_and_gradients_of_one_with_the_joined_batch(tmp_path, processes):
    multiprocessing.spawn(worker, (processes, tmp_path / "meeting", tmp_path), nprocs=processes)
    expected = {}
    for kind, loss, numbers in (("clip", clip_loss, 1), ("siglip", siglip_loss, 2)):
        leaves = start(numbers)
        value = called(loss, leaves, slice(None), processes)
        value.backward()
        expected[kind] = [value.detach(), *(leaf.grad for leaf in leaves)]

    def near(got, wanted, name):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6, msg=lambda m: f"{name}: {m}")

    for rank in range(processes):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, values in found.items():
            wanted = expected[name.split(",")[0]]
            near(values["means"], wanted, name)
            near(values["reported"], wanted[0], name)
        # Part by part too: each process has the loss and the gradients that open_clip gives it.
        near(found["clip, ours"]["mine"], found["clip, local"]["mine"], "clip, each part")
        near(found["siglip, ours"]["mine"], found["siglip, both ways"]["mine"], "siglip, each part")


def test_a_group_of_one_has_the_losses_of_one_process():
    with process_group():
        for across, loss, numbers in (
            (clip_loss_across_processes, clip_loss, 1),
            (siglip_loss_across_processes, siglip_loss, 2),
        ):
            ours, theirs = start(numbers), start(numbers)
            values = called(across, ours, slice(None), 1), called(loss, theirs, slice(None), 1)
            torch.testing.assert_close(*values)
            for value in values:
                value.backward()
            torch.testing.assert_close([leaf.grad for leaf in ours], [leaf.grad for leaf in theirs])
        with pytest.raises(InputError, match="one process with one pair"):
            clip_loss_across_processes(torch.eye(1), torch.eye(1), 1.0)
    assert not dist.is_initialized()


@pytest.mark.parametrize(
    "loss, numbers", [(clip_loss_across_processes, (1.0,)), (siglip_loss_across_processes, (1.0, 0.0))]
)
def test_without_a_process_group_it_says_what_to_do(loss, numbers):
    with pytest.raises(InputError, match="there is no process group"):
        loss(torch.eye(2), torch.eye(2), *numbers)
