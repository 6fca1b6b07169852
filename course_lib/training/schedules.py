"""How the learning rate changes over a run."""

import math

from course_lib.errors import InputError


def warmup_cosine(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    """The learning rate of one step: up in a straight line from near 0 to the peak, then down along half a cosine to 0.

    The first steps' gradients are large and point anywhere, and AdamW has not yet measured them: hence the warm-up.

    Args:
        step: 0 for the first.
        steps: how many there are.
        warmup_steps: how many of them rise.
        peak: the highest rate.

    Source: Loshchilov & Hutter 2017, "SGDR", equation 5, without restarts; Goyal et al. 2017, section 2.2, for the
        warm-up.
    """
    if not 0 <= warmup_steps < steps:
        raise InputError(
            f"warmup_steps is {warmup_steps}; it should be from 0 to less than the {steps} steps of the run"
        )
    if not 0 <= step < steps:
        raise InputError(f"step is {step}; a run of {steps} steps has steps 0 to {steps - 1}")
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps))) / 2
