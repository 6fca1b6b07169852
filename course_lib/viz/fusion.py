"""How two modalities meet, seen: tables a fusion can and cannot make, sketches, steered channels, words that point."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from course_lib.errors import InputError
from course_lib.viz.given import array, picture
from course_lib.viz.style import BLUE, INK, LOW_TO_HIGH, ORANGE, PALETTE, QUIET, bare, canvas, describe, write_cells

BELOW_AND_ABOVE = LinearSegmentedColormap.from_list(
    "course_below_and_above", ["#7A4B00", ORANGE, "#FBE3B5", "#FFFFFF", "#BFD9EC", BLUE, "#06304F"]
)
"""For numbers on both sides of a middle: orange below, blue above, white in between."""
MARKERS = "osD^vP"


def tables(
    panels: Mapping[str, object],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    down: str = "",
    across: str = "",
    title: str | None = None,
    digits: int | None = None,
) -> Figure:
    """Tables of one number for each row and column, side by side on one scale: what is wanted, and what comes near it.

    Args:
        panels: name -> (rows, columns) numbers.
        rows, columns: what they stand for.
        down, across: what the rows and the columns are.
        title: over all.
        digits: decimals written into the squares; None for none.

    Raises:
        InputError: no panel, or one of another shape.
    """
    if not panels:
        raise InputError("there is no table to draw")
    drawn = {name: array(values, name, 2) for name, values in panels.items()}
    for name, values in drawn.items():
        if values.shape != (len(rows), len(columns)):
            raise InputError(f"{name} is {values.shape}; it should be ({len(rows)}, {len(columns)}) for these words")
    low, high = min(values.min() for values in drawn.values()), max(values.max() for values in drawn.values())
    edge = 0.07 * max(len(str(word)) for word in rows) + (0.25 if down else 0.05)
    cell = min(0.42, (7.9 - edge) / len(drawn) / len(columns) - 0.02)
    head = 0.09 * max(len(str(word)) for word in columns) + 0.55 + (0.25 if title else 0)
    wide = max(cell * len(columns), 0.085 * max(len(name) for name in drawn))
    cell = wide / len(columns)  # cells are square: a name that makes a table wider makes it taller
    figure, axes = canvas(
        min(8.2, edge + len(drawn) * (wide + 0.12)), cell * len(rows) + head, 1, len(drawn), sharey=True
    )
    for place, (name, values) in zip(axes, drawn.items(), strict=True):
        place.imshow(values, cmap=LOW_TO_HIGH, vmin=low, vmax=high)
        place.set_xticks(range(len(columns)), columns, rotation=90)
        place.set_yticks(range(len(rows)), rows)
        place.set_title(name, fontsize=9, loc="center")
        place.set_xlabel(across, fontsize=8.5)
        place.grid(False)
        for side in place.spines.values():
            side.set_visible(False)
        if digits is not None:
            write_cells(place, values, digits, (low, high), size=8)
    axes[0].set_ylabel(down, fontsize=8.5)
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return describe(
        figure,
        f"{title or 'Tables'}: {', '.join(drawn)}, each a table of {', '.join(map(str, rows))} (rows) by "
        f"{', '.join(map(str, columns))} (columns), the darker the higher.",
    )


def draws(samples: Mapping[str, object], truth: float, *, across: str = "", title: str | None = None) -> Figure:
    """What random draws of an estimate gave: a histogram for each of several sizes, and the number they estimate.

    Args:
        samples: name -> (N,) estimates.
        truth: a dashed line in each panel; the mean of the estimates is a short mark below.
        across: what is estimated.
        title: over all.

    Raises:
        InputError: nothing was drawn.
    """
    if not samples:
        raise InputError("there is nothing to draw")
    given = {name: array(values, name, 1) for name, values in samples.items()}
    reach = max(float(np.quantile(np.abs(values - truth), 0.995)) for values in given.values()) or 1.0
    edges = np.linspace(truth - reach, truth + reach, 42)
    figure, axes = canvas(min(8.0, 2.6 * len(given) + 0.3), 2.3 + (0.25 if title else 0), 1, len(given), sharey=True)
    for place, (name, values) in zip(axes, given.items(), strict=True):
        place.hist(values, edges, color=BLUE, alpha=0.75)
        place.axvline(truth, color=INK, linestyle="--", linewidth=1.1, label="true")
        place.plot(values.mean(), 0, marker="^", color=ORANGE, markersize=9, clip_on=False, label="mean", zorder=5)
        place.set(title=name, xlabel=across, xlim=(edges[0], edges[-1]))
        place.set_yticks([])
        place.grid(False)
    axes[-1].legend(loc="upper right")
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return describe(
        figure,
        f"{title or 'Random estimates'}: a histogram for each of {', '.join(given)}, round a dashed line at the true "
        "value, with a triangle at the mean of the estimates.",
    )


def modulation(
    gamma, beta, rows: Sequence[str], *, across: str = "channel", title: str | None = None, least: float = 0.5
) -> Figure:
    """What a condition does to each channel: factors on the left, offsets on the right; white leaves it as it is.

    Args:
        gamma: (rows, D) factors.
        beta: (rows, D) offsets.
        rows: what steers, a name for each row.
        across: what the columns are.
        title: over all.
        least: how far from leaving all as it is the scale of colours reaches at least.

    Raises:
        InputError: shapes that differ, or names that are not one per row.
    """
    gamma, beta = array(gamma, "gamma", 2), array(beta, "beta", 2)
    if gamma.shape != beta.shape or len(rows) != len(gamma):
        raise InputError(f"gamma is {gamma.shape}, beta {beta.shape}, with {len(rows)} names; they should go together")
    figure, axes = canvas(8.0, 0.95 + 0.2 * len(rows) + (0.25 if title else 0), 1, 2, sharey=True)
    for place, values, middle, name in ((axes[0], gamma, 1.0, "factor γ"), (axes[1], beta, 0.0, "offset β")):
        reach = max(least, float(np.quantile(np.abs(values - middle), 0.99)))
        drawn = place.imshow(values, cmap=BELOW_AND_ABOVE, vmin=middle - reach, vmax=middle + reach, aspect="auto")
        place.set_yticks(range(len(rows)), rows)
        place.set(title=name, xlabel=across)
        place.grid(False)
        bar = figure.colorbar(drawn, ax=place, fraction=0.05, pad=0.02)
        bar.outline.set_visible(False)
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return describe(
        figure,
        f"{title or 'Modulation'}: factors and offsets of each {across} (columns) for {', '.join(map(str, rows))} "
        "(rows); blue above the value that changes nothing, orange below, white at it.",
    )


def pointing(
    image, boxes, weights, titles: Sequence[str], *, title: str | None = None, columns: int | None = None
) -> Figure:
    """Where each of several words or steps points: one picture each, a box the bolder the more weight it has.

    Args:
        image: the picture.
        boxes: (R, 4), left, top, right, bottom as fractions of the picture's side.
        weights: (P, R), not negative, a row for each panel.
        titles: P, what points.
        title: over all.
        columns: panels side by side.

    Raises:
        InputError: weights that do not fit boxes and titles, or are negative.
    """
    image, boxes, weights = picture(image), array(boxes, "boxes", 2), array(weights, "weights", 2)
    if weights.shape != (len(titles), len(boxes)) or boxes.shape[1:] != (4,):
        raise InputError(
            f"weights are {weights.shape}; they should be ({len(titles)}, {len(boxes)}) for these titles and boxes"
        )
    if weights.min() < 0:
        raise InputError("the weights are not to be negative: give them after the softmax or sigmoid")
    columns = min(len(titles), columns or (len(titles) if len(titles) <= 5 else math.ceil(len(titles) / 2)))
    rows = math.ceil(len(titles) / columns)
    size = min(1.9, 7.9 / columns)
    figure, axes = canvas(columns * size, rows * (size + 0.25) + (0.3 if title else 0), rows, columns)
    for place in axes[len(titles) :]:
        place.set_visible(False)
    for place, name, shares in zip(axes, titles, weights, strict=False):
        _point(place, image, boxes, shares)
        place.set_title(name, fontsize=9, loc="center")
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return describe(
        figure,
        f"{title or 'Pointing'}: one picture for each of {', '.join(map(str, titles))}, in which a box is the bolder "
        "the more weight it has, with the weight written at it.",
    )


def _point(axes, image: np.ndarray, boxes: np.ndarray, shares: np.ndarray) -> None:
    """One picture with its boxes; where a weight is at least a twentieth, it is written at the box."""
    bare(axes)
    height, width = image.shape[:2]
    axes.imshow(image, alpha=0.8)
    for (left, top, right, bottom), share in zip(boxes, shares, strict=True):
        corner, sides = (left * width - 0.5, top * height - 0.5), ((right - left) * width, (bottom - top) * height)
        strong = float(min(1.0, share))
        for thick, edge in ((1.2 + 5 * strong, "white"), (0.5 + 3.2 * strong, INK)):
            axes.add_patch(Rectangle(corner, *sides, fill=False, edgecolor=edge, linewidth=thick))
        if share >= 0.05:
            axes.text(
                min(max((left + right) / 2, 0.1), 0.9) * width,
                min(max((top + bottom) / 2, 0.1), 0.9) * height,
                f"{share:.2f}".removeprefix("0"),
                ha="center",
                va="center",
                fontsize=8,
                color="white",
                bbox={"boxstyle": "round,pad=0.2", "facecolor": INK, "edgecolor": "none", "alpha": 0.35 + 0.6 * strong},
            )
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def hops(
    image, boxes, words: Sequence[str], reads, points, *, names: Sequence[str] | None = None, title: str | None = None
) -> Figure:
    """Steps of a model that reads words and points at regions: above which words it read, below where it pointed.

    Args:
        image: the picture.
        boxes: (R, 4), left, top, right, bottom as fractions of the picture's side.
        words: T, of the question.
        reads: (P, T), how much of each step's attention goes to each word.
        points: (P, R), where each step points.
        names: P, of the steps; "pointer 1" and so on when left out.
        title: over all.

    Raises:
        InputError: shapes that do not go together.
    """
    image, boxes = picture(image), array(boxes, "boxes", 2)
    reads, points = array(reads, "reads", 2), array(points, "points", 2)
    if reads.shape[1] != len(words) or points.shape != (len(reads), len(boxes)):
        raise InputError(
            f"reads are {reads.shape} and points {points.shape}; for {len(words)} words and {len(boxes)} boxes they "
            f"should be (P, {len(words)}) and (P, {len(boxes)})"
        )
    count = len(reads)
    names = names if names is not None else [f"pointer {index + 1}" for index in range(count)]
    size = min(1.95, 7.9 / count)
    tall = 0.19 * len(words) + 0.3
    figure, axes = canvas(
        count * size, size + tall + (0.3 if title else 0), 2, count, gridspec_kw={"height_ratios": [tall, size]}
    )
    for index, name in enumerate(names):
        above, below = axes[index], axes[count + index]
        above.barh(range(len(words)), reads[index], color=BLUE, height=0.7)
        above.set(xlim=(0, 1), ylim=(len(words) - 0.4, -0.6))
        above.set_yticks(range(len(words)), words if index == 0 else [""] * len(words), fontsize=8)
        above.set_xticks([])
        above.grid(False)
        above.spines["bottom"].set_visible(False)
        above.set_title(name, fontsize=9, loc="center")
        _point(below, image, boxes, points[index])
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return describe(
        figure,
        f"{title or 'Reading and pointing'}: for each of {', '.join(map(str, names))} bars over the words "
        f"{' '.join(words)!r}, as it reads them, and below the picture: a box is the bolder the more it points there.",
    )


def seeds(
    results: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    chance: Mapping[str, float] | None = None,
    value: str = "accuracy",
    title: str | None = None,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """What several seeds gave: a dot for each, a bar at their median; a row for each method, a panel for each task.

    Args:
        results: method -> {task: numbers, one per seed}; every method on the same tasks, seeds may differ in number.
        chance: task -> a dashed line.
        value: what is measured.
        title: over all.
        limits: of the axis.

    Raises:
        InputError: nothing to draw, or methods measured on different tasks.
    """
    methods = list(results)
    if not methods or not results[methods[0]]:
        raise InputError("there is nothing to compare: give method -> {task: numbers, one per seed}")
    tasks = list(results[methods[0]])
    for method in methods:
        if set(results[method]) != set(tasks):
            raise InputError(f"{method} was measured on {sorted(results[method])}, the first method on {sorted(tasks)}")
    figure, axes = canvas(
        min(8.2, 1.6 + 2.9 * len(tasks)), 0.9 + 0.27 * len(methods) + (0.25 if title else 0), 1, len(tasks), sharey=True
    )
    everything = [number for method in methods for task in tasks for number in results[method][task]]
    low, high = min([*everything, *(chance or {}).values()]), max(everything)
    limits = limits or (low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1))
    for column, (place, task) in enumerate(zip(axes, tasks, strict=True)):
        colour = PALETTE[column % len(PALETTE)]
        for row, method in enumerate(methods):
            numbers = array(results[method][task], f"{method}, {task}", 1)
            place.plot([numbers.min(), numbers.max()], [row, row], color="#B9C0C7", linewidth=3, zorder=1)
            look = {"s": 26, "color": colour, "alpha": 0.75, "edgecolor": "white", "linewidth": 0.5, "zorder": 2}
            place.scatter(numbers, [row] * len(numbers), marker=MARKERS[column % len(MARKERS)], **look)
            place.plot([np.median(numbers)] * 2, [row - 0.34, row + 0.34], color=INK, linewidth=1.8, zorder=3)
        if chance and task in chance:
            place.axvline(chance[task], color=QUIET, linestyle="--", linewidth=1)
            place.annotate(
                "chance",
                (chance[task], 0),
                xycoords=("data", "axes fraction"),
                xytext=(2, 2),
                textcoords="offset points",
                fontsize=7,
                color=QUIET,
            )
        place.set(xlim=limits, ylim=(len(methods) - 0.5, -0.5), xlabel=value, title=task)
        place.set_yticks(range(len(methods)), methods)
        place.spines["left"].set_visible(False)
        place.grid(False, axis="y")
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return describe(
        figure,
        f"{title or 'Seeds'}: {value} on {', '.join(tasks)} of {', '.join(methods)}, a dot for each seed and a bar at "
        "the median.",
    )
