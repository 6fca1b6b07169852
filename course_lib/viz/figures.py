"""The figures that most lessons draw: pictures, bars, lines. `show` displays what they return."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from course_lib.errors import InputError
from course_lib.viz.given import array, pictures, same_length, shorten, wrap
from course_lib.viz.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PALETTE,
    QUIET,
    VERMILION,
    bare,
    canvas,
    describe,
    empty_figure,
)


def _box(axes, box, colour: str, label: str | None, width: int) -> None:
    x0, y0, x1, y1 = (float(value) for value in box)
    if x1 < x0 or y1 < y0:
        raise InputError(f"a box is (left, top, right, bottom) in pixels, and {tuple(box)} ends before it begins")
    for thick, edge in ((3.4, "white"), (1.8, colour)):  # a white edge keeps the box visible on any ground
        axes.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor=edge, linewidth=thick))
    if label:
        right = x0 > 0.6 * width  # near the right edge the label ends where the box ends
        axes.annotate(
            label,
            (x1 if right else x0, y0),
            xytext=(-1 if right else 1, 2),
            textcoords="offset points",
            fontsize=7,
            color="white",
            va="bottom",
            ha="right" if right else "left",
            bbox={"boxstyle": "square,pad=0.25", "facecolor": colour, "edgecolor": "none"},
        )


def image_grid(
    images,
    titles: Sequence[str] | None = None,
    boxes: Sequence | None = None,
    *,
    columns: int | None = None,
    size: float | None = None,
    marks: Sequence[bool | None] | None = None,
    title: str | None = None,
) -> Figure:
    """Pictures in rows, with what is said of each below it.

    Args:
        images: (N, H, W, 3) bytes, (N, 3, H, W) floats in [0, 1], or a list of pictures of any sizes.
        titles: one per picture; long ones are wrapped.
        boxes: per picture a list of boxes, each (x0, y0, x1, y1) in pixels or (label, (x0, y0, x1, y1)).
        columns: how many side by side; chosen to fill the width when left out.
        size: the side of one picture in inches.
        marks: per picture True (a green frame: right), False (a vermilion one: wrong) or None.
        title: over all.

    Raises:
        InputError: no pictures, or titles, boxes or marks that are not one per picture.
    """
    images = pictures(images)
    count = len(images)
    for name, values in (("titles", titles), ("boxes", boxes), ("marks", marks)):
        if values is not None:
            same_length(name, values, count, "pictures")
    columns = min(count, columns or (count if count <= 5 else 4 if count in (7, 8) else 6))
    rows = math.ceil(count / columns)
    size = size or min(2.6, 7.8 / columns)
    wrapped = [wrap(text, int(size * 14)) for text in titles] if titles is not None else [""] * count
    tall = [
        size * max(image.shape[0] / image.shape[1] for image in images[row * columns : (row + 1) * columns])
        for row in range(rows)
    ]
    lines = [
        max(text.count("\n") + 1 for text in wrapped[row * columns : (row + 1) * columns]) if titles is not None else 0
        for row in range(rows)
    ]
    # Placed by hand, in inches: automatic layouts make room for captions by shrinking pictures.
    head = 0.32 if title else 0.0
    gap = 0.2 if boxes is not None else 0.06  # above a row: the names of boxes stand there
    below = [0.155 * each + (0.1 if each else 0) for each in lines]
    height = head + sum(tall) + sum(below) + rows * gap
    figure = empty_figure(size * columns, height)
    axes = []
    bottom = height - head
    for row in range(rows):
        bottom -= gap + tall[row]
        for column in range(columns):
            corner = (column * size + 0.03) / (size * columns), bottom / height
            axes.append(figure.add_axes((*corner, (size - 0.06) / (size * columns), tall[row] / height), anchor="S"))
        bottom -= below[row]
    for index, place in enumerate(axes):
        bare(place)
        if index >= count:
            place.set_visible(False)
            continue
        place.imshow(images[index], interpolation="nearest" if images[index].shape[0] <= 100 else "antialiased")
        if titles is not None:
            place.set_xlabel(wrapped[index], fontsize=8, labelpad=3)
        if marks is not None and marks[index] is not None:
            for spine in place.spines.values():
                spine.set(visible=True, color=GREEN if marks[index] else VERMILION, linewidth=2.5)
            place.xaxis.label.set_color(GREEN if marks[index] else VERMILION)
        for number, box in enumerate(boxes[index] if boxes is not None else ()):
            label, corners = box if len(box) == 2 else (None, box)
            _box(place, corners, PALETTE[number % len(PALETTE)], label, images[index].shape[1])
    if title:
        figure.suptitle(title, x=0.03 / (size * columns), y=1 - 0.06 / height, ha="left", va="top")
    said = f", titled {'; '.join(str(text) for text in titles[:6])}" if titles is not None else ""
    return describe(figure, f"{title or 'Pictures'}: {count} picture{'s' * (count > 1)}{said}.")


def predictions(
    images,
    probabilities,
    labels: Sequence[str],
    truths: Sequence[int] | None = None,
    *,
    top: int = 5,
    title: str | None = None,
) -> Figure:
    """Zero-shot classification as bars: beside each picture, its most probable classes.

    Args:
        images: N pictures.
        probabilities: (N, C), each row from 0 to 1.
        labels: C class names.
        truths: N right classes; their bars are green, wrong first choices vermilion.
        top: how many classes to show.
        title: over all.

    Raises:
        InputError: shapes that do not fit, or rows that are no probabilities.
    """
    images, probabilities = pictures(images), array(probabilities, "probabilities", 2)
    same_length("probabilities", probabilities, len(images), "pictures")
    same_length("labels", labels, probabilities.shape[1], "columns of probabilities")
    if truths is not None:
        same_length("truths", truths, len(images), "pictures")
    if probabilities.min() < 0 or probabilities.max() > 1 + 1e-4:
        raise InputError("probabilities lie between 0 and 1: take the softmax of the logits first")
    top = min(top, len(labels))
    tints = {"right": "#7CCBB3", "wrong": "#F0A27A", "other": "#B5DCF3"}  # pale, for names are written on the bars
    columns = min(4, len(images))
    rows = math.ceil(len(images) / columns)
    figure, axes = canvas(
        2.05 * columns,
        rows * (1.35 + 0.19 * top) + (0.3 if title else 0),
        rows * 2,
        columns,
        height_ratios=[1.25, 0.19 * top] * rows,
    )
    for place in axes:
        place.set_visible(False)
    for index, image in enumerate(images):
        above = axes[(index // columns) * 2 * columns + index % columns]
        below = axes[((index // columns) * 2 + 1) * columns + index % columns]
        above.set_visible(True)
        below.set_visible(True)
        bare(above).imshow(image, interpolation="nearest" if image.shape[0] <= 100 else "antialiased")
        order = probabilities[index].argsort(kind="stable")[::-1][:top]
        for place, label in enumerate(order):
            right = truths is not None and int(truths[index]) == label
            wrong = truths is not None and place == 0 and not right
            tint = tints["right" if right else "wrong" if wrong else "other"]
            below.barh(place, probabilities[index, label], color=tint, height=0.78)
            name = below.text(0.02, place, shorten(labels[label], 32), va="center", fontsize=7, color=INK)
            name.set_in_layout(False)  # a long name may run over its bar, and should not squeeze it
        below.set(xlim=(0, 1), ylim=(top - 0.4, -0.6))
        bare(below).set_facecolor("#F3F5F7")
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    told = "; the right class is green, a wrong first choice vermilion" if truths is not None else ""
    return describe(
        figure,
        f"{title or 'Zero-shot predictions'}: {len(images)} pictures, each with its {top} most probable classes "
        f"as bars{told}.",
    )


def bars(
    values: Mapping[str, float],
    *,
    reference: Mapping[str, float] | None = None,
    title: str | None = None,
    value: str = "accuracy",
    highlight: str | None = None,
    digits: int = 2,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """One bar per name, with dashed lines for what to compare with (chance, a baseline).

    Args:
        values: name -> number.
        reference: name -> number, each a dashed line.
        title: of the figure.
        value: what the numbers are.
        highlight: the name whose bar stands out.
        digits: decimals of the numbers written at the bars.
        limits: of the axis; from 0 to what is needed when left out.

    Raises:
        InputError: no values, or a highlight that is not among them.
    """
    names, numbers = list(values), array(list(values.values()), "values", 1)
    if highlight is not None and highlight not in values:
        raise InputError(f"highlight is {highlight!r}, which is none of the bars: {', '.join(names)}")
    reference = dict(reference or {})
    wrapped = [wrap(name, 42) for name in names]
    text_lines = sum(max(1, name.count("\n") + 1) for name in wrapped)
    figure, (axes,) = canvas(6.6, 0.62 + 0.2 * text_lines + 0.09 * len(names) + (0.2 if reference else 0))
    tint = [ORANGE if name == highlight else BLUE for name in names]
    axes.barh(range(len(names)), numbers, color=tint, height=0.68)
    ceiling = max([numbers.max(), *reference.values()])
    span = limits or (min(0.0, numbers.min()), 1.0 if 0.5 < ceiling <= 1 else ceiling * 1.05)
    for place, number in enumerate(numbers):
        inside = number > span[0] + 0.14 * (span[1] - span[0])
        axes.annotate(
            f"{number:.{digits}f}",
            (number, place),
            xytext=(-4 if inside else 4, 0),
            textcoords="offset points",
            va="center",
            ha="right" if inside else "left",
            fontsize=8,
            color="white" if inside else INK,
            fontweight="bold" if inside else "normal",
        )
    for level, (name, number) in enumerate(sorted(reference.items(), key=lambda pair: pair[1])):
        axes.axvline(number, color=INK, linestyle="--", linewidth=1)
        axes.annotate(
            f"{name} {number:.{digits}f}",
            (number, 1),
            xycoords=("data", "axes fraction"),
            fontsize=7.5,
            color=QUIET,
            xytext=(2, 2 + 9 * (level % 2)),
            textcoords="offset points",
            va="bottom",
        )
    axes.set(xlim=span, ylim=(len(names) - 0.45, -0.55), xlabel=value)
    axes.set_yticks(range(len(names)), wrapped)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    if title:
        axes.set_title(title, x=0, pad=20 if reference else 6)
    against = f", against {', '.join(reference)}" if reference else ""
    return describe(figure, f"{title or value}: one bar of {value} for each of {', '.join(names)}{against}.")


def prompt_comparison(
    scores: Mapping[str, float],
    *,
    chance: float | None = None,
    highlight: str | None = None,
    title: str = "The prompt matters",
    value: str = "zero-shot accuracy",
    digits: int = 2,
) -> Figure:
    """One bar per prompt template (or ensemble of them), with a line where guessing would be.

    Args:
        scores: template -> accuracy.
        chance: accuracy of guessing.
        highlight: the template that stands out (say, the ensemble).
        title: of the figure.
        value: what is measured.
        digits: decimals.
    """
    reference = None if chance is None else {"chance": chance}
    return bars(scores, reference=reference, title=title, value=value, highlight=highlight, digits=digits)


def compare(
    scores: Mapping[str, Mapping[str, float]],
    *,
    chance: float | None = None,
    title: str | None = None,
    value: str = "accuracy",
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Methods compared on several test sets: one row per method, one dot per test set, a line between the dots.

    Made for fine-tuning: what a method gains where it was trained, and what it loses where the pictures differ.

    Args:
        scores: method -> {test set: number}; every method on the same test sets.
        chance: the number that guessing would give, as a dashed line.
        title: of the figure.
        value: what is measured.
        limits: of the axis.

    Raises:
        InputError: no scores, or methods measured on different test sets.
    """
    methods = list(scores)
    if not methods or not scores[methods[0]]:
        raise InputError("there is nothing to compare: give method -> {test set: number}")
    sets = list(scores[methods[0]])
    for method in methods:
        if set(scores[method]) != set(sets):
            raise InputError(f"{method} was measured on {sorted(scores[method])}, the first method on {sorted(sets)}")
    numbers = array([[scores[method][name] for name in sets] for method in methods], "scores", 2)
    figure, (axes,) = canvas(6.6, 0.95 + 0.34 * len(methods))
    rows = np.arange(len(methods))
    axes.hlines(rows, numbers.min(1), numbers.max(1), color="#B9C0C7", linewidth=3.5, zorder=1)
    for column, name in enumerate(sets):
        marker = "osD^vP"[column % 6]
        axes.scatter(
            numbers[:, column],
            rows,
            s=62,
            marker=marker,
            color=PALETTE[column % len(PALETTE)],
            label=name,
            zorder=2,
            edgecolor="white",
            linewidth=0.8,
        )
    low, high = float(numbers.min()), float(numbers.max())
    if chance is not None:
        axes.axvline(chance, color=INK, linestyle="--", linewidth=1)
        axes.annotate(
            "chance",
            (chance, 1),
            xycoords=("data", "axes fraction"),
            fontsize=7.5,
            color=QUIET,
            xytext=(2, 2),
            textcoords="offset points",
        )
        low = min(low, chance)
    margin = 0.06 * ((high - low) or 1)
    axes.set(xlim=limits or (low - margin, high + margin), ylim=(len(methods) - 0.5, -0.5), xlabel=value)
    axes.set_yticks(rows, [wrap(method, 34) for method in methods])
    axes.spines["left"].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=len(sets), handletextpad=0.2)
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return describe(
        figure,
        f"{title or 'Methods compared'}: {value} of {', '.join(methods)} on {' and '.join(sets)}, one dot for each.",
    )


def lines(
    x,
    series: Mapping[str, Sequence[float]],
    *,
    title: str | None = None,
    across: str = "",
    value: str = "",
    log: bool = False,
    chance: float | None = None,
    mark: float | None = None,
    mark_label: str = "",
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Curves over one quantity: a temperature, a batch size, shots per class, a mixing coefficient.

    Args:
        x: (N,) values of the quantity.
        series: name -> (N,) numbers, or (S, N) for S seeds (a line for the median, a band from least to most).
        title: of the figure.
        across: name of the quantity.
        value: what is measured.
        log: a logarithmic axis for the quantity.
        chance: a dashed horizontal line.
        mark: a vertical line at this value of the quantity (the one chosen, or learned).
        mark_label: written above that line.
        limits: of the vertical axis.

    Raises:
        InputError: lengths that differ, or values a logarithmic axis cannot show.
    """
    x = array(x, "x", 1)
    if not series:
        raise InputError("there is no series to draw")
    if log and x.min() <= 0:
        raise InputError("a logarithmic axis shows positive values only")
    figure, (axes,) = canvas(5.6, 3.0)
    for index, (name, numbers) in enumerate(series.items()):
        numbers = array(numbers, name)
        numbers = numbers[None] if numbers.ndim == 1 else numbers
        if numbers.ndim != 2 or numbers.shape[1] != len(x):
            raise InputError(f"{name} has shape {numbers.shape} for {len(x)} values of x")
        colour = PALETTE[index % len(PALETTE)]
        axes.plot(x, np.median(numbers, 0), marker="osD^vP"[index % 6], color=colour, label=name)
        if len(numbers) > 1:
            axes.fill_between(x, numbers.min(0), numbers.max(0), color=colour, alpha=0.15, linewidth=0)
    if log:
        axes.set_xscale("log")
        if len(x) <= 9:
            axes.set_xticks(x, [f"{number:g}" for number in x])
            axes.minorticks_off()
    if chance is not None:
        axes.axhline(chance, color=QUIET, linestyle="--", linewidth=1)
        axes.annotate(
            "chance",
            (1, chance),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            color=QUIET,
            fontsize=8,
        )
    if mark is not None:
        axes.axvline(mark, color=INK, linestyle=":", linewidth=1.2)
        axes.annotate(
            mark_label,
            (mark, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),  # above the axes, where no curve passes
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=INK,
        )
    axes.set(xlabel=across, ylabel=value)
    if limits:
        axes.set_ylim(*limits)
    if len(series) > 1:
        axes.legend(loc="best")
    if title:
        axes.set_title(title)
    return describe(figure, f"{title or value}: {value} of {', '.join(series)} over {across or 'x'}, as lines.")


def trade_off(
    paths: Mapping[str, Sequence[tuple[float, float]]],
    *,
    labels: Mapping[str, Sequence[str]] | None = None,
    across: str = "accuracy where it was trained",
    value: str = "accuracy where pictures differ",
    title: str | None = None,
) -> Figure:
    """Points in the plane of two measures, joined where they are one family (WiSE-FT's mixing coefficient, say).

    Args:
        paths: name -> [(x, y), ...]; a single point is drawn as a star.
        labels: name -> one short text per point of that path.
        across: what x is.
        value: what y is.
        title: of the figure.
    """
    if not paths:
        raise InputError("there is no point to draw")
    figure, (axes,) = canvas(5.4, 3.6)
    for index, (name, points) in enumerate(paths.items()):
        points = array(points, name, 2)
        if points.shape[1] != 2:
            raise InputError(f"{name} should be pairs of numbers, and has shape {points.shape}")
        colour = PALETTE[index % len(PALETTE)]
        if len(points) == 1:
            axes.scatter(*points[0], marker="*", s=150, color=colour, label=name, zorder=3, edgecolor="white")
        else:
            axes.plot(*points.T, marker="o", color=colour, label=name)
        if labels and name in labels:
            same_length(f"labels of {name}", labels[name], len(points), "points")
            for text, point in zip(labels[name], points, strict=True):
                axes.annotate(text, point, xytext=(5, 5), textcoords="offset points", fontsize=7.5, color=QUIET)
    axes.set(xlabel=across, ylabel=value)
    axes.margins(0.12)
    axes.legend(loc="best")
    if title:
        axes.set_title(title)
    return describe(figure, f"{title or 'Trade-off'}: {value} over {across} for {', '.join(paths)}.")
