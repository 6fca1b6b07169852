"""Trains a CLIP with one batch spread over several processes.

    torchrun --nproc_per_node=2 -m course_lib.training.clip --steps 250 --batch-size 128 --out build/clip.safetensors

Every process draws the same batch and encodes its own part of it; the embeddings of all are the negatives of each
(`clip_loss_across_processes`), and the gradients are averaged (`DistributedDataParallel`). So the batch size is that of
all processes together, and the run is that of a single process with the same batch, up to rounding: another order of
the same sums. Adam would blow rounding up where a gradient is 0 but for it, as that of a key's bias is: it divides by
the gradient's size. So its epsilon is 1e-6, CLIP's own for transformers (Radford et al., 2021, table 18), not 1e-8.

Without torchrun it is one process. On a machine with several GPUs, one process for each:

    torchrun --nproc_per_node=8 -m course_lib.training.clip --batch-size 4096

On several machines, the same on each; they meet at the first one's address:

    torchrun --nnodes=4 --nproc_per_node=8 --rdzv-backend=c10d --rdzv-endpoint=first-machine:29500 \
        -m course_lib.training.clip --batch-size 32768 --resume

The first process of all writes the checkpoint, and with --resume the state to go on from after an interruption;
the others get that state from it, so no disk needs to be shared. Another CLIP, on other data, is trained by another
task: --task names a function, as `module:function`, that gives a `ContrastiveTask`.
"""

import contextlib
import os
import pkgutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import torch
import torch.distributed as dist
import typer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from course_lib.errors import CourseError, FileError, InputError
from course_lib.runtime import device
from course_lib.training.checkpoints import save_checkpoint
from course_lib.training.contrastive import ContrastiveTask, EncodeRows, embed_pairs, pair_drawer
from course_lib.training.distributed import clip_loss_across_processes, process_group, with_mean_value
from course_lib.training.loop import History, TrainingConfig, train

ADAM_EPS = 1e-6
COURSE_CLIP = "course_lib.models.recipes.contrastive:microworld_clip"


class Towers(nn.Module):
    """Both towers behind one `forward`, for that is what `DistributedDataParallel` watches."""

    def forward(self, rows: Tensor, texts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `embed_pairs`."""
        return embed_pairs(self.model, self.encode_rows, rows, texts)

    def __init__(self, model: nn.Module, encode_rows: EncodeRows):
        super().__init__()
        self.model, self.encode_rows = model, encode_rows


def train_across_processes(
    task: ContrastiveTask, config: TrainingConfig, resume_from: str | Path | None = None
) -> History:
    """Trains `task.model` as `train` with `contrastive_batch_loss` would, each process doing its part.

    Args:
        task: the same in every process.
        config: its batch size is that of all processes together.
        resume_from: as for `train`; only the first process's file counts.

    Returns:
        The losses of the joined batches, the same in every process.

    Raises:
        InputError: the batch cannot be shared out evenly, or a layer would normalise over a part of it.
    """
    processes, rank = dist.get_world_size(), dist.get_rank()
    if config.batch_size % processes:
        raise InputError(f"a batch of {config.batch_size} cannot be shared evenly by {processes} processes")
    towers = Towers(with_shared_statistics(task.model), task.encode_rows)
    shared = DistributedDataParallel(towers, broadcast_buffers=False)
    draw = pair_drawer(task.input_ids, config.batch_size, task.caption_odds)
    mine = slice(rank * config.batch_size // processes, (rank + 1) * config.batch_size // processes)

    def batch_loss(shared: nn.Module, generator: torch.Generator) -> Tensor:
        task.model.clamp_logit_scale()
        rows, texts = draw(generator)
        return with_mean_value(clip_loss_across_processes(*shared(rows[mine], texts[mine])))

    with _only_the_first_shows_progress(), _state_of_the_first(resume_from) as state:
        return train(shared, batch_loss, config, resume_from=state)


def with_shared_statistics(model: nn.Module) -> nn.Module:
    """The model, with every batch normalisation that is trained taking its statistics from all processes' parts.

    Raises:
        InputError: there is one, and the processes run on CPUs, for which torch has no such layer.
    """
    trained = any(
        isinstance(module, nn.modules.batchnorm._BatchNorm)
        and any(parameter.requires_grad for parameter in module.parameters())
        for module in model.modules()
    )
    if not trained or dist.get_world_size() == 1:
        return model
    if next(model.parameters()).device.type == "cpu":
        raise InputError(
            "the model trains a batch normalisation, whose mean would be that of one process's part of the batch: "
            "freeze it, use GPUs, or take a model without one"
        )
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


@contextlib.contextmanager
def _only_the_first_shows_progress() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if dist.get_rank():
            stack.enter_context(contextlib.redirect_stderr(stack.enter_context(open(os.devnull, "w"))))
        yield


@contextlib.contextmanager
def _state_of_the_first(resume_from: str | Path | None) -> Iterator[Path | None]:
    """The first process's file for itself, and a copy of it for each of the others."""
    if resume_from is None:
        yield None
        return
    path = Path(resume_from)
    contents = [path.read_bytes() if dist.get_rank() == 0 and path.exists() else None]
    dist.broadcast_object_list(contents, src=0)
    if dist.get_rank() == 0:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        if contents[0] is not None:
            copy.write_bytes(contents[0])
        yield copy


def find_task(name: str) -> Callable[..., ContrastiveTask]:
    """The function that `module:function` names.

    It is found by name while running, so that this engine needs to know no model: models stand on training, not the
    other way round.

    Raises:
        InputError: there is none of that name.
    """
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"--task is {name!r}, which gives {type(error).__name__}: {error}; "
            f"it should name a function, such as {COURSE_CLIP}"
        ) from error


def run(
    steps: Annotated[int, typer.Option(min=1, help="optimiser steps")] = 250,
    batch_size: Annotated[int, typer.Option(min=2, help="pairs a step, of all processes together")] = 128,
    pictures: Annotated[int, typer.Option(min=2, help="training pictures")] = 12_000,
    learning_rate: Annotated[float, typer.Option(help="the highest, after the warm-up")] = 2e-3,
    seed: Annotated[int, typer.Option(help="of weights, data order, everything")] = 0,
    out: Annotated[Path | None, typer.Option(help="the checkpoint to write, NAME.safetensors")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="save the state as NAME.run, and go on from it")] = False,
    save_every: Annotated[int, typer.Option(min=1, help="steps between two saved states")] = 100,
    task: Annotated[str, typer.Option(help="what to train: module:function")] = COURSE_CLIP,
    double: Annotated[bool, typer.Option("--double", help="compute in float64, to compare two runs")] = False,
) -> None:
    """Train a CLIP with one batch spread over the processes that torchrun has started."""
    if out is not None and out.suffix != ".safetensors":
        raise FileError(f"--out is {out.name}; it should end in .safetensors")
    if resume and out is None:
        raise InputError("--resume needs --out: the state is kept beside the checkpoint")
    config = TrainingConfig(
        steps,
        batch_size,
        learning_rate,
        min(30, steps // 4),
        weight_decay=0.1,
        adam_eps=ADAM_EPS,
        seed=seed,
        save_every=save_every,
    )
    with process_group():
        chosen = find_task(task)(pictures, seed)
        if double:
            chosen.model.double()
        state = out.with_suffix(".run") if resume else None
        history = train_across_processes(chosen, config, state)
        if dist.get_rank():
            return
        print(f"{dist.get_world_size()} process(es), {batch_size} pairs a step, on {device().type}")
        print(f"loss {history.losses[0]:.3f} at first, {history.losses[-1]:.3f} after {steps} steps", end=" ")
        print(f"and {history.seconds:.0f} seconds")
        if out is not None:
            card = chosen.card | {
                "command": " ".join(["python -m course_lib.training.clip", *sys.argv[1:]]),
                "processes": dist.get_world_size(),
                "batch_size": batch_size,
                "seed": seed,
                "losses": history.losses,
            }
            save_checkpoint(out, chosen.model.state_dict(), card)


def main() -> None:
    """Runs the command line. What the user can put right is one sentence on stderr, with exit status 2."""
    try:
        typer.run(run)
    except CourseError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
