"""A pytest plugin beside nbval: what of a notebook's outputs is compared when it is executed again.

Text is, to the letter, but for what follows "≈" (tests/nbval_sanitize.cfg). Pictures are not, for a library's next
version draws them a little differently, and progress bars are not, for they show how long something took.

With `--elsewhere` the notebooks run as on another machine than the one that built them: on a processor without AVX, and
with one thread (lessons) or four (the short solutions: four threads on two busy cores take several times as long)
instead of two. `make machines` tries each notebook on each of these alone.
"""

from pathlib import Path

import pytest


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


def elsewhere(notebook: Path) -> dict[str, str]:
    """The environment variables that make this machine another for a notebook."""
    threads = "4" if notebook.parent.name == "solutions" else "1"
    return {"ATEN_CPU_CAPABILITY": "default", "COURSE_THREADS": threads}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--elsewhere", action="store_true", help="run notebooks as on another machine (with --nbval)")


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

    compare, start = IPyNbCell.compare_outputs, IPyNbFile.setup

    def compare_outputs(self, test, ref, skip_compare=None):
        return compare(self, _compared(test), _compared(ref), skip_compare)

    def setup(self):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in elsewhere(self.path).items() if config.option.elsewhere else ():
                patch.setenv(name, value)
            for name, value in kernel_environment(config.rootpath).items():
                patch.setenv(name, value)
            start(self)

    IPyNbCell.compare_outputs, IPyNbFile.setup = compare_outputs, setup
