"""A pytest plugin beside nbval: what of a notebook's outputs is compared when it is executed again.

Text is, to the letter, but for what follows "≈" (tests/nbval_sanitize.cfg). Pictures are not, for a library's next
version draws them a little differently, and progress bars are not, for they show how long something took.

With `--elsewhere` the notebooks run as on other machines than the one that built them, each as one: without AVX, with
one, two or four threads, and half of them in another Python, where `make test` could prepare one. `make machines` tries
each of these by itself on every notebook.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from course_lib.authoring.environments import another_kernel


def is_progress(output) -> bool:
    """Whether an output is a progress bar: `course_lib.runtime.progress` marks those it shows."""
    return bool(output.get("metadata", {}).get("progress"))


def _shown_as_picture(output) -> bool:
    return any(kind.startswith("image/") for kind in output.get("data", {}))


def _compared(outputs) -> list:
    """The outputs that are compared: no progress bars, and of a picture only that there is one, and its words."""
    kept = []
    for output in outputs:
        if is_progress(output):
            continue
        if _shown_as_picture(output):
            output = type(output)(
                output_type=output["output_type"], data={"text/plain": output["data"].get("text/plain", "")}
            )
        kept.append(output)
    return kept


@dataclass(frozen=True)
class Machine:
    """What a notebook runs on."""

    threads: int
    another_python: bool


def elsewhere(notebook: Path) -> Machine:
    """The machine that `--elsewhere` makes of this one for a notebook.

    A lesson and its solutions are on different ones. (Four threads on two busy cores take up to three times as long:
    lessons 01 and 05, whose tensors are small, do not mind, and solutions are short.)
    """
    number, solution = int(notebook.stem[:2]), notebook.parent.name == "solutions"
    threads = 4 if solution else {1: 4, 3: 2}.get(number % 4, 1)
    return Machine(threads, another_python=(number % 2 == 0) is not solution)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--elsewhere", action="store_true", help="run notebooks as on other machines (with --nbval)")


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    """Says on which machines the notebooks ran."""
    if config.getoption("nbval", False) and config.option.elsewhere:
        other = another_kernel(config.rootpath)
        where = f"half of them in {other[0]}" if other else "all of them in this Python, for no other is prepared"
        terminalreporter.write_line(f"notebooks: without AVX, with one, two or four threads, {where}")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Makes `pytest --nbval` mean the same however it is called: our comparison, mask, kernel and environment."""
    if not config.getoption("nbval", False):
        return
    from nbval.plugin import IPyNbCell, IPyNbFile

    from course_lib.authoring.notebooks import kernel_environment

    config.option.nbval_current_env = not config.option.nbval_kernel_name  # `make colab` and `make machines` name one
    if not config.option.nbval_sanitize_with:
        config.option.nbval_sanitize_with = str(config.rootpath / "tests" / "nbval_sanitize.cfg")

    other = another_kernel(config.rootpath)
    compare, start = IPyNbCell.compare_outputs, IPyNbFile.setup

    def compare_outputs(self, test, ref, skip_compare=None):
        return compare(self, _compared(test), _compared(ref), skip_compare)

    def setup(self):
        with pytest.MonkeyPatch.context() as patch:
            if config.option.elsewhere:
                machine = elsewhere(self.path)
                patch.setenv("ATEN_CPU_CAPABILITY", "default")
                patch.setenv("COURSE_THREADS", str(machine.threads))
                if machine.another_python and other is not None:
                    patch.setattr(config.option, "nbval_current_env", False)
                    patch.setattr(config.option, "nbval_kernel_name", other[0])
                    patch.setenv("JUPYTER_PATH", str(other[1]))
            for name, value in kernel_environment(config.rootpath).items():
                patch.setenv(name, value)
            start(self)

    IPyNbCell.compare_outputs, IPyNbFile.setup = compare_outputs, setup
