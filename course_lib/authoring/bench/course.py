"""What belongs to no lesson: drawing the microworld, grading."""

import io
from collections.abc import Callable, Iterator

import numpy as np

from course_lib.authoring.bench.timing import REPEATS, Comparison, alternate


def rendering() -> Iterator[Comparison]:
    """Drawing microworld pictures, beside decoding the same pictures from PNG."""
    from PIL import Image

    from course_lib.data.microworld import render, sample_scenes

    scenes = sample_scenes(256, seed=0)
    files = []
    for picture in render(scenes):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        files.append(buffer.getvalue())

    def decode() -> np.ndarray:
        return np.stack([np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files])

    medians = alternate({"render": lambda: render(scenes), "decode": decode}, repeats=REPEATS // 2)
    rate = len(scenes) / medians["render"]
    what = f"{len(scenes)} pictures of 64 px ({rate:,.0f}/s)"
    yield Comparison(what, "microworld.render", "PNG decoding", medians["render"], medians["decode"])


def grading() -> Iterator[Comparison]:
    """Grading a submission to set 06 in the warm jail, and by nbgrader, which starts a kernel for each."""
    from course_lib.authoring.lessons import root_folder
    from course_lib.practice.grader.speed import seconds_per_submission

    solutions = root_folder() / "solutions" / "06_clip.ipynb"
    for what, left_out in (("set 06", ""), ("set 06 without its training", "train_projections")):
        ours, theirs = seconds_per_submission(solutions, left_out=left_out)
        yield Comparison(f"grading {what}, one submission", "course grade", "nbgrader autograde", ours, theirs)


COMPARISONS: list[Callable[[], Iterator[Comparison]]] = [rendering, grading]
