"""The machine under the course: seeds, scale, precision, progress in a notebook, errors as one sentence."""

import math

import nbformat
import numpy as np
import pytest
import torch

from course_lib import runtime
from course_lib.authoring import notebooks
from course_lib.authoring.lessons import root_folder
from course_lib.errors import InputError


def test_a_seed_gives_the_same_numbers():
    import random

    draws = []
    for _ in range(2):
        runtime.seed_everything(7)
        draws.append((random.random(), np.random.rand(), torch.rand(()).item()))
    assert draws[0] == draws[1]
    runtime.seed_everything(8)
    assert (random.random(), np.random.rand(), torch.rand(()).item()) != draws[0]
    assert torch.get_num_threads() == runtime.THREADS


def test_the_scale_can_be_chosen(monkeypatch):
    monkeypatch.setenv("COURSE_SCALE", "full")
    assert runtime.scale() == "full"
    monkeypatch.setenv("COURSE_SCALE", "huge")
    with pytest.raises(InputError, match="COURSE_SCALE is 'huge'; it can be 'small' or 'full'"):
        runtime.scale()
    for asked, scale, size in (("small", "small", 5), ("full", "full", 700), ("rehearsal", "full", 5)):
        monkeypatch.setenv("COURSE_SCALE", asked)
        assert (runtime.scale(), runtime.sized(5, 700)) == (scale, size)
        assert runtime.downloads() is (asked == "full")
    monkeypatch.delenv("COURSE_SCALE")
    assert runtime.scale() == ("full" if torch.cuda.is_available() else "small")


def test_the_number_of_threads_can_be_chosen(monkeypatch):
    assert runtime.threads() == 2
    monkeypatch.setenv("COURSE_THREADS", "1")
    runtime.seed_everything(0)
    assert torch.get_num_threads() == 1
    for wrong in ("0", "two"):
        monkeypatch.setenv("COURSE_THREADS", wrong)
        with pytest.raises(InputError, match=f"COURSE_THREADS is '{wrong}'"):
            runtime.threads()
    monkeypatch.undo()
    runtime.pin_threads()


def test_one_thread_holds_through_seeding_and_ends_after_an_error():
    with pytest.raises(ZeroDivisionError), runtime.one_thread():
        runtime.seed_everything(0)
        assert torch.get_num_threads() == runtime.threads() == 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == runtime.threads() == 2


@pytest.mark.parametrize(
    ("gigabytes", "capability", "bfloat16", "batch"),
    [(15.8, (7, 5), False, 128), (24, (8, 9), True, 128), (42.4, (8, 0), True, 256), (85, (9, 0), True, 512)],
)
def test_settings_for_a_t4_grow_on_a_larger_gpu(monkeypatch, gigabytes, capability, bfloat16, batch):
    """What is decided from what a GPU says of itself; that it then computes so is for a machine with one to show."""
    from types import SimpleNamespace

    monkeypatch.setenv("COURSE_DEVICE", "cuda")
    properties = SimpleNamespace(total_memory=int(gigabytes * 1e9))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    # As torch answers: a T4 has bfloat16 if emulation counts.
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or bfloat16
    )
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype: (kind, dtype))
    monkeypatch.setattr(torch, "compile", lambda model: "compiled")
    assert runtime.larger(128) == batch
    assert runtime.autocast() == ("cuda", torch.bfloat16 if bfloat16 else torch.float16)
    model = torch.nn.Linear(1, 1)
    assert runtime.compiled(model) == ("compiled" if bfloat16 else model)


def test_a_cpu_keeps_sizes_and_models_as_they_are():
    model = torch.nn.Linear(1, 1)
    assert runtime.larger(128) == 128 and runtime.compiled(model) is model
    assert torch.cuda.is_available() or runtime.peak_memory() is None


def test_the_device_can_be_chosen(monkeypatch):
    monkeypatch.setenv("COURSE_DEVICE", "meta")
    assert runtime.device() == torch.device("meta")


def test_a_cpu_computes_in_float32():
    with runtime.autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_computes_in_half_precision():
    with runtime.autocast(torch.device("cuda")):
        product = torch.ones(2, 2, device="cuda") @ torch.ones(2, 2, device="cuda")
    assert product.dtype in (torch.bfloat16, torch.float16)


def test_measured_numbers_are_marked():
    assert runtime.measured(0.92831) == "≈ 0.928"
    assert runtime.measured(12.34, 1) == "≈ 12.3"
    assert runtime.measured(math.nan) == "≈ nan"


def test_progress_in_a_terminal_passes_everything_on(capsys):
    assert list(runtime.progress(range(5), "steps")) == list(range(5))
    captured = capsys.readouterr()
    assert captured.out == "" and "steps: 100%" in captured.err


CELLS = """
from course_lib.errors import InputError
from course_lib.runtime import progress
for step in progress(range(4), "a <b>"):
    pass
###
bar = progress(total=10, description="loss")
bar.update(3)
bar.set_postfix(loss=0.5)
bar.close()
###
raise InputError("pixel_values is (2, 3, 64); it should be (B, 3, H, W)")
""".split("###\n")


@pytest.mark.slow
def test_a_notebook_shows_bars_in_place_and_an_error_as_one_sentence(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in CELLS])
    with pytest.raises(notebooks.BuildError, match="it should be"):
        notebooks.execute(notebook, tmp_path, notebooks.kernel_environment(root_folder()))
    first, second, third = (cell.outputs for cell in notebook.cells)
    assert len(first) == len(second) == len(third) == 1
    assert first[0].metadata == {"progress": True}
    assert first[0].data["text/html"].startswith("<pre>a &lt;b&gt;: 100%|") and "4/4" in first[0].data["text/html"]
    assert "loss:  30%" in second[0].data["text/plain"] and "loss=0.5" in second[0].data["text/plain"]
    assert third[0].output_type == "error"
    assert third[0].traceback == ["InputError: pixel_values is (2, 3, 64); it should be (B, 3, H, W)"]
