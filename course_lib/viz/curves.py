"""Curves, regions and paths: functions drawn over a line or a plane, and training runs side by side."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from course_lib.errors import InputError
from course_lib.viz.given import array
from course_lib.viz.live import smooth
from course_lib.viz.style import BLUE, INK, LOW_TO_HIGH, ORANGE, PALETTE, QUIET, canvas, describe

STROKES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))


def functions(
    x,
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    across: str = "",
    title: str | None = None,
    zero: bool = False,
) -> Figure:
    """Functions of one variable, as lines that differ in colour and stroke; a panel for each group.

    Args:
        x: (N,) where they were computed.
        panels: title of a panel -> {name: (N,) values}.
        across: name of the variable.
        title: over all.
        zero: whether to draw the axes through zero.

    Raises:
        InputError: no panel, or values that are not one per x.
    """
    x = array(x, "x", 1)
    if not panels:
        raise InputError("there is no panel to draw")
    figure, axes = canvas(min(8.0, 3.9 * len(panels) + 0.6), 2.6 + (0.25 if title else 0), 1, len(panels))
    for place, (head, series) in zip(axes, panels.items(), strict=True):
        for index, (name, values) in enumerate(series.items()):
            values = array(values, name, 1)
            if len(values) != len(x):
                raise InputError(f"{name} has {len(values)} values for {len(x)} values of x")
            look = {"color": PALETTE[index % len(PALETTE)], "linestyle": STROKES[index % len(STROKES)]}
            place.plot(x, values, label=name, **look)
        if zero:
            place.axhline(0, color=QUIET, linewidth=0.8, zorder=0)
            place.axvline(0, color=QUIET, linewidth=0.8, zorder=0)
        place.set(xlabel=across, title=head)
        if len(series) > 1:
            place.legend(loc="best")
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    told = "; ".join(f"{head}: {', '.join(series)}" for head, series in panels.items())
    return describe(figure, f"{title or 'Functions'} over {across or 'x'}, as lines. {told}.")


def runs(
    losses: Mapping[str, Sequence[float]],
    *,
    title: str | None = None,
    value: str = "loss",
    level: float | None = None,
    level_label: str = "chance",
    log: bool = False,
    weight: float = 0.9,
) -> Figure:
    """Training runs side by side: each a moving average over its steps, thin beneath it what it was.

    Args:
        losses: name -> a loss for each step; runs may differ in length.
        title: of the figure.
        value: what is drawn.
        level: a dashed line to compare with.
        level_label: what that line is.
        log: a logarithmic axis for the losses.
        weight: of the past in the moving average.

    Raises:
        InputError: no run, or one without finite numbers.
    """
    if not losses:
        raise InputError("there is no run to draw")
    figure, (axes,) = canvas(5.8, 2.9)
    top = 0.0
    for index, (name, values) in enumerate(losses.items()):
        values = array(values, name, 1)
        colour = PALETTE[index % len(PALETTE)]
        axes.plot(values, color=colour, alpha=0.18, linewidth=0.8)
        axes.plot(smooth(values, weight), color=colour, linestyle=STROKES[index % len(STROKES)], label=name)
        top = max(top, float(np.quantile(values, 0.98)))
    if level is not None:
        axes.axhline(level, color=INK, linestyle=(0, (2, 2)), linewidth=1)
        axes.annotate(
            level_label,
            (1, level),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            color=QUIET,
            fontsize=8,
        )
        top = max(top, level)
    if log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.12 * top)
    axes.set(xlabel="step", ylabel=value)
    axes.legend(loc="best")
    if title:
        axes.set_title(title)
    return describe(figure, f"{title or value}: {value} at each training step of {', '.join(losses)}, as lines.")


def regions(
    points, classes, decide: Mapping[str, Callable[[np.ndarray], Sequence[float]]], *, title: str | None = None
) -> Figure:
    """How classifiers divide a plane: what each says of every place, with the points it was to learn.

    Args:
        points: (N, 2).
        classes: N zeros and ones: circles and crosses.
        decide: name -> function from places (M, 2), an array, to M numbers between 0 and 1 (the share of class 1).
        title: over all.

    Raises:
        InputError: points or classes of another shape.
    """
    points, classes = array(points, "points", 2), array(classes, "classes", 1)
    if points.shape[1] != 2 or len(classes) != len(points):
        raise InputError(f"points should be (N, 2) with N classes, not {points.shape} with {len(classes)}")
    low, high = points.min() - 0.4, points.max() + 0.4
    side = np.linspace(low, high, 120)
    places = np.stack([part.ravel() for part in np.meshgrid(side, side)], axis=1).astype(np.float32)
    figure, axes = canvas(min(8.0, 2.6 * len(decide) + 0.3), 2.6 + (0.25 if title else 0), 1, len(decide), sharey=True)
    for place, (name, function) in zip(axes, decide.items(), strict=True):
        said = array(function(places), name, 1).reshape(120, 120)
        place.contourf(side, side, said, levels=np.linspace(-0.001, 1.001, 11), cmap=LOW_TO_HIGH, alpha=0.75)
        if said.min() < 0.5 < said.max():
            place.contour(side, side, said, levels=[0.5], colors=[INK], linewidths=1.2)
        for kind, marker, colour in ((0, "o", "white"), (1, "X", ORANGE)):
            here = points[classes == kind]
            place.scatter(*here.T, marker=marker, s=34, color=colour, edgecolor=INK, linewidth=0.7, zorder=3)
        place.set(title=name, aspect="equal")
        place.grid(False)
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return describe(
        figure,
        f"{title or 'Regions'}: circles and crosses in a plane, and how {', '.join(decide)} divide it; "
        "the darker, the surer of a cross, with a line where it is undecided.",
    )


def paths(
    height: Callable[[np.ndarray, np.ndarray], np.ndarray],
    walks: Mapping[str, Sequence[Sequence[float]]],
    *,
    span: tuple[float, float, float, float],
    title: str | None = None,
) -> Figure:
    """Ways down a landscape of two numbers: contour lines, and the steps of each optimiser, a panel each.

    Args:
        height: from two arrays of coordinates to heights.
        walks: name -> (steps, 2) places.
        span: (left, right, bottom, top) of the plane that is shown.
        title: over all.
    """
    left, right, bottom, top = span
    across, up = np.meshgrid(np.linspace(left, right, 160), np.linspace(bottom, top, 120))
    heights = height(across, up)
    figure, axes = canvas(
        min(8.0, 2.1 * len(walks) + 0.3), 2.1 + (0.25 if title else 0), 1, len(walks), sharex=True, sharey=True
    )
    levels = np.quantile(heights, np.linspace(0.0, 1.0, 12) ** 2)
    for place, (name, walk) in zip(axes, walks.items(), strict=True):
        walk = array(walk, name, 2)
        place.contour(across, up, heights, levels=np.unique(levels), colors=[QUIET], linewidths=0.6, alpha=0.7)
        place.plot(*walk.T, color=BLUE, marker="o", markersize=2.6, linewidth=1.1)
        place.plot(*walk[0], marker="s", color=ORANGE, markersize=6)
        place.plot(0, 0, marker="*", color=INK, markersize=8)
        place.set(title=name, xlim=(left, right), ylim=(bottom, top))
        place.grid(False)
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return describe(
        figure,
        f"{title or 'Ways down'}: contour lines of a valley, and the steps of {', '.join(walks)} from a square "
        "towards the star at the bottom.",
    )


def averaged(kinds: Mapping[str, Sequence[Sequence[int]]], *, down: str = "sample", across: str = "feature") -> Figure:
    """Which numbers of a table share one average: those of one group are framed together and carry one letter.

    Args:
        kinds: name -> (rows, columns) group numbers from 0.
        down: what the rows are.
        across: what the columns are.
    """
    figure, axes = canvas(min(8.0, 2.5 * len(kinds)), 2.3, 1, len(kinds), sharey=True)
    for place, (name, groups) in zip(axes, kinds.items(), strict=True):
        groups = array(groups, name, 2)
        place.imshow(groups % 2, cmap=LOW_TO_HIGH, vmin=-0.4, vmax=2.6)
        for row in range(groups.shape[0]):
            for column in range(groups.shape[1]):
                letter = chr(ord("a") + int(groups[row, column]))
                place.text(column, row, letter, ha="center", va="center", fontsize=9, color=INK)
        place.set(title=name, xlabel=across)
        place.set_xticks([])
        place.set_yticks([])
        place.grid(False)
    axes[0].set_ylabel(down)
    return describe(
        figure,
        f"Tables of {down}s (rows) by {across}s (columns), for {', '.join(kinds)}: cells with the same letter share an "
        "average.",
    )
