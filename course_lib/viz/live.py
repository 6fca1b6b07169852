"""Training seen while it happens: a loss curve that redraws itself in place."""

import time

import numpy as np
from matplotlib.figure import Figure

from course_lib.errors import InputError
from course_lib.runtime import in_notebook
from course_lib.viz.style import BLUE, ORANGE, QUIET, bundle, canvas, describe, words


def smooth(values: np.ndarray, weight: float = 0.9) -> np.ndarray:
    """Exponential moving average, without the pull of its start (corrected as in Adam: Kingma & Ba 2015, section 3)."""
    values = np.asarray(values, dtype=float)
    average, result = 0.0, np.empty_like(values)
    for index, value in enumerate(values):
        average = weight * average + (1 - weight) * value
        result[index] = average / (1 - weight ** (index + 1))
    return result


def learning_curve(
    steps,
    losses,
    rates=None,
    *,
    chance: float | None = None,
    measures: dict[str, tuple] | None = None,
    title: str = "Training",
    total: int | None = None,
) -> Figure:
    """Loss over training steps, thin as it was and bold as a moving average; the learning rate and measures beside it.

    Args:
        steps: (N,) step numbers.
        losses: (N,) one loss per step.
        rates: (N,) learning rates, drawn on an axis of their own on the right.
        chance: the loss of knowing nothing, as a dashed line (for CLIP's loss, the log of the batch size).
        measures: name -> (steps, values) of what was measured on the way (say, R@1), drawn in a second panel.
        title: of the figure.
        total: how many steps there will be, so that the axis does not move while the curve grows.

    Raises:
        InputError: lengths differ, or there is nothing to draw.
    """
    steps, losses = np.asarray(steps, dtype=float), np.asarray(losses, dtype=float)
    if steps.ndim != 1 or steps.shape != losses.shape or not len(steps):
        raise InputError(
            f"a learning curve needs as many steps as losses, one at least: got shapes {steps.shape} and {losses.shape}"
        )
    if rates is not None and np.shape(rates) != steps.shape:
        raise InputError(f"one learning rate per step, please: {np.shape(rates)} for {steps.shape}")
    measures = measures or {}
    figure, axes = canvas(7.2 if measures else 5.6, 2.7, 1, 2 if measures else 1)
    loss = axes[0]
    loss.plot(steps, losses, color=BLUE, alpha=0.25, linewidth=0.9)
    loss.plot(steps, smooth(losses), color=BLUE)
    if chance is not None:
        loss.axhline(chance, color=QUIET, linestyle="--", linewidth=1)
        loss.annotate(
            "chance",
            (1, chance),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            color=QUIET,
            fontsize=8,
        )
    finite = losses[np.isfinite(losses)]
    top = max(finite.max() if len(finite) else 1.0, chance or 0.0)
    loss.set_ylim(0 if not len(finite) or finite.min() >= 0 else None, 1.15 * top or 1.0)
    loss.set_xlim(steps[0], max(total or 0, steps[-1], steps[0] + 1))
    loss.set_xlabel("step")
    loss.set_ylabel("loss", color=BLUE)
    loss.set_title(title)
    if rates is not None:
        rate = loss.twinx()
        rate.plot(steps, np.asarray(rates, dtype=float), color=ORANGE, linewidth=1.2)
        rate.set_ylim(0, max(float(np.max(rates)) * 1.6, 1e-12))  # below the start of the loss, and of chance
        rate.set_ylabel("learning rate", color=ORANGE)
        rate.grid(False)
        rate.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
    for name, (when, values) in measures.items():
        axes[1].plot(when, values, marker="o", label=name)
    if measures:
        axes[1].set_xlim(*loss.get_xlim())
        axes[1].set_xlabel("step")
        axes[1].set_title("Measured on the way")
        axes[1].legend(loc="best")
    shown = " and the learning rate" if rates is not None else ""
    also = f"; beside it, {', '.join(measures)} measured on the way" if measures else ""
    return describe(figure, f"{title}: the loss{shown} at each training step{also}.")


class LiveCurve:
    """The learning curve of a running training loop, redrawn in place in a notebook; silent in a terminal.

    Pass `live.update` to the loop as its `on_step`. Drawing takes at most a twentieth of the time, on any machine.
    What stays in the notebook is one finished figure.

        with LiveCurve("CLIP from scratch", total=300, chance=math.log(128)) as live:
            train(model, batch_loss, config, on_step=live.update)

    Args:
        title: of the figure.
        total: how many steps there will be, so that the axis stands still.
        chance: the loss of knowing nothing, as a dashed line.
        alt: the words for those who cannot see it.
    """

    def __init__(
        self, title: str = "Training", total: int | None = None, chance: float | None = None, alt: str | None = None
    ):
        self.title, self.total, self.chance, self.alt = title, total, chance, alt
        self.steps: list[int] = []
        self.losses: list[float] = []
        self.rates: list[float | None] = []
        self.measures: dict[str, tuple[list[int], list[float]]] = {}
        self._live = in_notebook()
        self._handle = None
        self._next = time.monotonic() + 0.5

    def update(self, step: int, loss: float, rate: float | None = None, **measures: float) -> None:
        """Takes what one step gave; redraws if it is time.

        Args:
            step: its number.
            loss: its loss (a number or a tensor of one).
            rate: its learning rate.
            measures: anything else, by name; not every step need have it.
        """
        self.steps.append(int(step))
        self.losses.append(float(loss))
        self.rates.append(None if rate is None else float(rate))
        for name, value in measures.items():
            if value is None:
                continue
            when, values = self.measures.setdefault(name, ([], []))
            when.append(int(step))
            values.append(float(value))
        if self._live and time.monotonic() >= self._next:
            started = time.monotonic()
            self._draw()
            self._next = time.monotonic() + max(1.0, 20 * (time.monotonic() - started))

    def figure(self) -> Figure:
        """The curve so far.

        Raises:
            InputError: no step has been taken yet.
        """
        rates = None if any(rate is None for rate in self.rates) else self.rates
        return learning_curve(
            self.steps,
            self.losses,
            rates,
            chance=self.chance,
            measures=self.measures,
            title=self.title,
            total=self.total,
        )

    def close(self) -> None:
        """Draws the last state; what the notebook keeps."""
        if self._live and self.steps:
            from IPython.display import display

            self._draw()
            display(words(self._words()), raw=True)
        self._live = False

    def _words(self) -> str:
        # The same at the first drawing and the last: a notebook's test compares the first with what is stored.
        return self.alt or f"{self.title}: the loss at each training step, as it was and as a moving average."

    def _draw(self) -> None:
        from IPython.display import display

        data, metadata = bundle(self.figure(), self._words())
        if self._handle is None:
            self._handle = display(data, metadata=metadata, raw=True, display_id=True)
        else:
            self._handle.update(data, metadata=metadata, raw=True)

    def __enter__(self) -> "LiveCurve":
        return self

    def __exit__(self, *_) -> None:
        self.close()
