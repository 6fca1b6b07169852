import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
import torch.nn.functional as F

from course_lib.errors import InputError
from course_lib.losses.contrastive import clip_loss
from course_lib.training.distributed import clip_loss_across_processes

PROCESSES, PAIRS = 2, 5


def embeds(weights, part):
    """Both towers are one linear map here: its gradient holds what every pair of every process says about it."""
    generator = torch.Generator().manual_seed(0)
    image, text = (torch.randn(PROCESSES * PAIRS, 6, generator=generator)[part] for _ in range(2))
    return F.normalize(image @ weights, dim=-1), F.normalize(text @ weights.T, dim=-1)


def start():
    weights = torch.randn(6, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()
    return weights, torch.tensor(2.0, requires_grad=True)


def worker(rank, meeting, results):
    import open_clip

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=PROCESSES)
    theirs = {
        local: open_clip.ClipLoss(local_loss=local, gather_with_grad=True, rank=rank, world_size=PROCESSES)
        for local in (True, False)
    }
    found = {}
    for name, loss in [("ours", clip_loss_across_processes), ("local", theirs[True]), ("whole", theirs[False])]:
        weights, log_scale = start()
        value = loss(*embeds(weights, slice(rank * PAIRS, (rank + 1) * PAIRS)), log_scale.exp())
        value.backward()
        means = [value.detach(), weights.grad, log_scale.grad]
        for tensor in means:  # what DistributedDataParallel does with gradients
            dist.all_reduce(tensor)
            tensor /= PROCESSES
        found[name] = means
    torch.save(found, f"{results}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_have_the_loss_and_gradients_of_one_with_the_joined_batch(tmp_path):
    multiprocessing.spawn(worker, (tmp_path / "meeting", tmp_path), nprocs=PROCESSES)
    weights, log_scale = start()
    loss = clip_loss(*embeds(weights, slice(None)), log_scale.exp())
    loss.backward()
    for rank in range(PROCESSES):
        for name, found in torch.load(tmp_path / f"{rank}.pt", weights_only=True).items():
            for got, expected in zip(found, [loss.detach(), weights.grad, log_scale.grad], strict=True):
                torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def test_without_a_process_group_it_says_what_to_do():
    with pytest.raises(InputError, match="there is no process group"):
        clip_loss_across_processes(torch.eye(2), torch.eye(2), 1.0)
