"""The machine under the course: device, threads, seed, precision, scale, progress, and numbers that depend on it."""

import contextlib
import html
import math
import os
import random
import sys
from collections.abc import Iterable, Iterator

# Waiting threads that spin instead of sleeping make two threads five times slower as soon as anything else runs.
# OpenMP reads this once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
import tqdm as tqdm_package

from course_lib.errors import InputError

THREADS = 2
_alone = False  # inside `one_thread`


def threads() -> int:
    """How many CPU threads the course computes with: two. `$COURSE_THREADS` overrides it, and `one_thread` both.

    Raises:
        InputError: `$COURSE_THREADS` is no number above 0.
    """
    if _alone:
        return 1
    asked = os.environ.get("COURSE_THREADS") or str(THREADS)
    if not asked.isdecimal() or int(asked) < 1:
        raise InputError(f"COURSE_THREADS is {asked!r}; it can be 1, 2, 4, ...")
    return int(asked)


def pin_threads(count: int | None = None) -> None:
    """Fixes the number of CPU threads: with another count, sums form in another order and differ in the last bit."""
    torch.set_num_threads(count or threads())


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Computes with one thread, for matrices so small that two multiply them no sooner; then as before."""
    global _alone
    before, _alone = _alone, True
    pin_threads()
    try:
        yield
    finally:
        _alone = before
        pin_threads()


def device() -> torch.device:
    """Where models run: the GPU if there is one, else the CPU. `$COURSE_DEVICE` overrides it."""
    if name := os.environ.get("COURSE_DEVICE"):
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


SCALES = ("small", "full", "rehearsal")


def scale() -> str:
    """How large the notebooks run: "small" (two CPU cores) or "full" (a GPU). `$COURSE_SCALE` overrides it.

    `COURSE_SCALE=rehearsal` runs the code of full scale, which is what this then says, with the sizes of small
    (`sized`): how the tests run it where there is no GPU.

    Raises:
        InputError: `$COURSE_SCALE` is none of these.
    """
    return "small" if _asked_scale() == "small" else "full"


def downloads() -> bool:
    """Whether published weights and data sets are fetched: at full scale. Elsewhere `authoring.stand_ins` serve."""
    return _asked_scale() == "full"


def sized(small: int, full: int) -> int:
    """A size (steps, pictures, width) for this scale: `sized(200, 4_000)`. Full sizes are for a GPU with 16 GB."""
    return full if _asked_scale() == "full" else small


def _asked_scale() -> str:
    asked = os.environ.get("COURSE_SCALE") or ("full" if torch.cuda.is_available() else "small")
    if asked not in SCALES:
        raise InputError(f"COURSE_SCALE is {asked!r}; it can be 'small' or 'full' (or 'rehearsal')")
    return asked


def larger(batch_size: int) -> int:
    """A batch written for a GPU of 16 GB, as large as it may be on this machine.

    Twice that from 32 GB on, 4 times from 64 GB on; on a CPU it stays as it is.
    """
    if device().type != "cuda":
        return batch_size
    gigabytes = torch.cuda.get_device_properties(device()).total_memory / 1e9
    return batch_size * (4 if gigabytes > 64 else 2 if gigabytes > 32 else 1)


def compiled(model: torch.nn.Module) -> torch.nn.Module:
    """The model compiled by torch where that pays: on a GPU from Ampere (A100) on. Elsewhere the model itself.

    It shares its parameters with the model given; the first step takes a minute.
    """
    where = device()
    if where.type != "cuda" or torch.cuda.get_device_capability(where) < (8, 0):
        return model
    return torch.compile(model)


def peak_memory() -> float | None:
    """The most memory that tensors took on the GPU until now, in GB; None on a CPU."""
    return torch.cuda.max_memory_allocated() / 1e9 if device().type == "cuda" else None


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and PyTorch, and pins the thread count: same seed, same machine, same numbers."""
    pin_threads()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def autocast(where: torch.device | None = None) -> contextlib.AbstractContextManager:
    """Mixed precision where the device has it, nothing elsewhere.

    bfloat16 on a GPU that computes in it, float16 on an older one. On a CPU always float32: one without bfloat16
    instructions emulates them, and is 10 to 27 times slower for it.
    """
    where = where or device()
    if where.type != "cuda":
        return contextlib.nullcontext()
    # A T4 only emulates bfloat16.
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast("cuda", torch.bfloat16 if native else torch.float16)


def in_notebook() -> bool:
    """Whether a Jupyter kernel is running this."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


class _NotebookProgress(tqdm_package.tqdm):
    """tqdm's own bar as HTML that updates in place: it needs no widget, and a stored notebook still shows it.

    Each output is marked `progress` in its metadata, by which the tests know not to compare how long something took.
    """

    monitor_interval = 0  # tqdm's watching thread would show the bar in whichever cell runs by then

    def __init__(self, *args, **kwargs):
        self._handle = None
        super().__init__(*args, **kwargs | {"gui": True})  # "gui" keeps tqdm from writing to stderr
        self.display()

    def display(self, msg=None, pos=None):
        from IPython.display import display

        text = msg or self.format_meter(**self.format_dict | {"ncols": 100})
        shown = {"text/html": f"<pre>{html.escape(text)}</pre>", "text/plain": text}
        if self._handle is None:
            self._handle = display(shown, raw=True, metadata={"progress": True}, display_id=True)
        else:
            self._handle.update(shown, raw=True, metadata={"progress": True})

    def clear(self, *_, **__):
        pass

    def close(self):
        if not self.disable:
            super().close()
            self.display()  # where it ended: the last step may have come within the half second after the last update


def progress(
    iterable: Iterable | None = None, description: str = "", total: int | None = None, disable: bool = False
) -> tqdm_package.tqdm:
    """A progress bar (tqdm) that suits where it is: HTML in a notebook, one line on stderr in a terminal."""
    bar = _NotebookProgress if in_notebook() and not disable else tqdm_package.tqdm
    return bar(iterable, desc=description, total=total, mininterval=0.5, disable=disable)


def measured(value: float, digits: int = 3) -> str:
    """A number that depends on the machine, marked so: "≈ 0.928".

    Every number in a notebook that another machine may give differently is printed through this, and the tests mask
    what follows the sign; every other number is compared exactly.
    """
    return "≈ nan" if math.isnan(value) else f"≈ {value:.{digits}f}"
