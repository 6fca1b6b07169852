"""`torchrun -m course_lib.training.clip`: several processes are one process with the same batch."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from course_lib.errors import InputError
from course_lib.models.recipes.contrastive import microworld_clip
from course_lib.training.clip import ADAM_EPS, COURSE_CLIP, find_task, train_across_processes, with_shared_statistics
from course_lib.training.contrastive import ContrastiveTask, contrastive_batch_loss
from course_lib.training.distributed import process_group
from course_lib.training.loop import TrainingConfig, train

PICTURES, BATCH = 300, 32


def launched(processes, out, *options):
    """Runs the command as the reader does; its checkpoint and card."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = ["-m", "course_lib.training.clip", "--pictures", PICTURES, "--batch-size", BATCH, "--out", out, *options]
    done = subprocess.run(
        [*torchrun, *map(str, command)],
        env=os.environ | {"COURSE_DEVICE": "cpu", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"{processes} process(es), {BATCH} pairs a step" in done.stdout
    return load_file(out), json.loads(out.with_suffix(".json").read_text())


def single(steps, dtype):
    """The same run by the engine alone: no process group, the whole batch at once."""
    task = microworld_clip(PICTURES)
    task.model.to(dtype)
    loss = contrastive_batch_loss(task.encode_rows, task.input_ids, BATCH, task.caption_odds)
    config = TrainingConfig(steps, BATCH, 2e-3, min(30, steps // 4), weight_decay=0.1, adam_eps=ADAM_EPS)
    return task.model, train(task.model, loss, config)


def furthest(ours, theirs):
    assert len(ours) == len(theirs)
    return max(abs(a - b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    "processes, steps, dtype",
    [(1, 20, torch.float64), (2, 20, torch.float32), (2, 20, torch.float64), (4, 5, torch.float32)],
)
def test_the_loss_curve_and_the_weights_are_those_of_a_single_process(tmp_path, processes, steps, dtype):
    model, history = single(steps, dtype)
    before = microworld_clip(PICTURES).model.state_dict()
    options = ["--double"] if dtype == torch.float64 else []
    weights, card = launched(processes, tmp_path / "clip.safetensors", "--steps", steps, *options)
    assert furthest(card["losses"], history.losses) < 1e-5
    for name, wanted in model.state_dict().items():
        assert (weights[name] - wanted).abs().max() < 1e-5, name
    moved = (weights["text_projection.weight"] - before["text_projection.weight"]).abs().max()
    assert moved > 1e-3, "otherwise nothing was trained, and equal weights say nothing"
    assert steps < 20 or history.losses[-1] < history.losses[0] - 0.5


class Small(nn.Module):
    """A picture is its row number, a text its first id."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.images, self.texts = nn.Embedding(20, 8), nn.Embedding(100, 8)
        self.logit_scale = nn.Parameter(torch.tensor(2.0))

    def encode_text(self, input_ids):
        return self.texts(input_ids[:, 0])

    def clamp_logit_scale(self):
        pass


def small_task(model=None):
    input_ids = torch.arange(1, 61).view(20, 1, 3)
    return ContrastiveTask(model or Small(), lambda model, rows: model.images(rows), input_ids, None, {})


CONFIG = TrainingConfig(steps=6, batch_size=8, learning_rate=0.05, save_every=2)


def test_one_process_alone_trains_as_the_engine_does_and_goes_on_after_an_interruption(tmp_path):
    plain = small_task()
    whole = train(plain.model, contrastive_batch_loss(plain.encode_rows, plain.input_ids, 8), CONFIG)
    state = tmp_path / "clip.run"
    with process_group():
        task = small_task()
        forward, calls = task.model.encode_text, []

        def interrupted(input_ids):
            calls.append(input_ids)
            if len(calls) == 5:
                raise KeyboardInterrupt
            return forward(input_ids)

        task.model.encode_text = interrupted
        with pytest.raises(KeyboardInterrupt):
            train_across_processes(task, CONFIG, state)
        assert state.exists()
        task = small_task()
        history = train_across_processes(task, CONFIG, state)
    assert furthest(history.losses, whole.losses) < 1e-6 and not state.exists()
    for name, value in task.model.state_dict().items():
        torch.testing.assert_close(value, plain.model.state_dict()[name])


def test_what_does_not_fit_is_said():
    assert find_task(COURSE_CLIP) is microworld_clip
    for name in ("no_such_module:task", "course_lib.models.recipes.contrastive:none", "no name at all"):
        with pytest.raises(InputError, match="--task is"):
            find_task(name)


def test_statistics_of_a_part_of_the_batch_are_refused_and_frozen_ones_are_not(monkeypatch):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    with process_group():
        assert with_shared_statistics(model) is model  # one process sees the whole batch
        monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
        with pytest.raises(InputError, match="batch normalisation"):
            with_shared_statistics(model)
        model[1].requires_grad_(False)
        assert with_shared_statistics(model) is model
        with pytest.raises(InputError, match="cannot be shared evenly by 2"):
            train_across_processes(small_task(), TrainingConfig(steps=1, batch_size=7))
