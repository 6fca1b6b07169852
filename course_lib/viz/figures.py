"""The figures of the lessons. Each takes arrays or tensors, and returns a matplotlib Figure that `show` displays."""

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from course_lib.errors import InputError
from course_lib.viz.live import LiveCurve, learning_curve
from course_lib.viz.style import (
    BLUE,
    GREEN,
    HEAT,
    INK,
    LOW_TO_HIGH,
    ORANGE,
    PALETTE,
    QUIET,
    VERMILION,
    bare,
    canvas,
    describe,
    empty_figure,
    show,
)

__all__ = [
    "LiveCurve",
    "attention_map",
    "bars",
    "compare",
    "embedding_scatter",
    "image_grid",
    "learning_curve",
    "lines",
    "predictions",
    "principal_components",
    "prompt_comparison",
    "show",
    "similarity_matrix",
    "softmax_at",
    "token_map",
    "trade_off",
    "two_softmaxes",
]


def array(values, name: str, dimensions: int | None = None) -> np.ndarray:
    """A NumPy array of finite numbers, out of a tensor on any device, an array or nested lists.

    Raises:
        InputError: not numbers, not finite, empty, or not with as many dimensions as wanted.
    """
    try:
        if hasattr(values, "detach"):
            values = values.detach().float().cpu().numpy()
        result = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} should be numbers, all rows of one length") from error
    if dimensions is not None and result.ndim != dimensions:
        raise InputError(f"{name} should have {dimensions} dimensions, and has shape {result.shape}")
    if not result.size:
        raise InputError(f"{name} is empty: there is nothing to draw")
    if not np.isfinite(result).all():
        raise InputError(f"{name} holds values that are not finite (nan or inf): look for where they arise first")
    return result


def picture(image) -> np.ndarray:
    """One picture as uint8 (H, W, 3).

    Args:
        image: PIL, uint8 (H, W, 3) or (H, W), or floats in [0, 1] as (H, W, 3) or (3, H, W).

    Raises:
        InputError: it is none of these.
    """
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if hasattr(image, "detach"):
        image = image.detach().cpu().numpy()
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[0] == 3 and image.shape[2] != 3:
        image = image.transpose(1, 2, 0)
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(f"a picture has shape (H, W, 3), and this has {image.shape}")
    if image.dtype == np.uint8:
        return image
    if not np.issubdtype(image.dtype, np.floating) or not np.isfinite(image).all():
        raise InputError(f"a picture holds bytes, or finite floats from 0 to 1; this holds {image.dtype}")
    if image.min() < -1e-3 or image.max() > 1 + 1e-3:
        raise InputError(
            f"a picture of floats lies between 0 and 1, and this between {image.min():.2f} and {image.max():.2f}: "
            "undo the normalisation (times std, plus mean) before you draw it"
        )
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def pictures(images) -> list[np.ndarray]:
    """Several pictures, each as `picture` gives it; never none."""
    result = [picture(image) for image in images]
    if not result:
        raise InputError("there is no picture to draw")
    return result


def _same_length(name: str, values: Sequence, count: int, of: str) -> None:
    if len(values) != count:
        raise InputError(f"{name} has {len(values)} entries for {count} {of}")


def _wrap(text, width: int) -> str:
    return "\n".join(textwrap.wrap(str(text), max(width, 6), break_long_words=False)) or str(text)


def _shorten(text, width: int) -> str:
    return str(text) if len(str(text)) <= width else str(text)[: width - 2] + " …"


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


def _frame(axes, row: int, column: int, width: float) -> None:
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=ORANGE, linewidth=width))


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
            _same_length(name, values, count, "pictures")
    columns = min(count, columns or (count if count <= 5 else 4 if count in (7, 8) else 6))
    rows = math.ceil(count / columns)
    size = size or min(2.6, 7.8 / columns)
    wrapped = [_wrap(text, int(size * 14)) for text in titles] if titles is not None else [""] * count
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


def similarity_matrix(
    matrix,
    images=None,
    labels: Sequence[str] | None = None,
    *,
    rows: Sequence[str] | None = None,
    title: str | None = None,
    value: str = "cosine similarity",
    digits: int = 2,
    limits: tuple[float, float] | None = None,
    mark: str | None = None,
) -> Figure:
    """A matrix of every picture against every text, with the pictures as rows and the texts as columns.

    Args:
        matrix: (N, M) similarities, logits or probabilities.
        images: N pictures, drawn beside the rows.
        labels: M texts, written over the columns.
        rows: N names of the rows, where there are no pictures.
        title: of the figure.
        value: what the numbers are; named at the colour bar.
        digits: decimals; the numbers are written into the cells as long as there are at most 10 columns.
        limits: (lowest, highest) of the colours; the matrix's own when left out.
        mark: "diagonal" frames the matching pairs, "best" the highest cell of each row.

    Raises:
        InputError: images, labels or rows do not fit the matrix.
    """
    matrix = array(matrix, "the matrix", 2)
    height, width = matrix.shape
    if images is not None:
        images = pictures(images)
        _same_length("images", images, height, "rows")
    if rows is not None:
        _same_length("rows", rows, height, "rows")
    if labels is not None:
        _same_length("labels", labels, width, "columns")
    if mark not in (None, "diagonal", "best"):
        raise InputError(f"mark is {mark!r}; it can be 'diagonal', 'best' or left out")
    cell = min(0.62, (5.0 if labels is not None or images is not None else 3.3) / max(height, width))
    columns = [_shorten(text, 46) for text in labels] if labels is not None else []
    # Slanted labels stand over the matrix and reach out to its right: the last one by its own length.
    top = 0.12 + 0.036 * max(map(len, columns), default=0)
    reach = max((0.05 * len(text) - (width - 1 - place) * cell for place, text in enumerate(columns)), default=0)
    left = cell if images is not None else (max(len(str(text)) for text in rows) * 0.062 if rows is not None else 0.3)
    across = max(3.0, width * cell + left + (max(reach, 0.3) if columns else 1.3))
    figure, (axes,) = canvas(
        across, max(1.6, height * cell + top + (0.55 if columns else 0) + (0.3 if title else 0.05))
    )
    drawn = axes.imshow(matrix, cmap=LOW_TO_HIGH, **({"vmin": limits[0], "vmax": limits[1]} if limits else {}))
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xticks(range(width) if labels is not None else [])
    axes.set_yticks(range(height) if rows is not None else [])
    if labels is not None:
        axes.set_xticklabels(
            columns,
            rotation=38,
            ha="left",
            rotation_mode="anchor",
            fontsize=7.5,
        )
        axes.xaxis.tick_top()
    if rows is not None:
        axes.set_yticklabels(rows, fontsize=8)
    if labels is None and rows is None and images is None:
        axes.set_xlabel("texts")
        axes.set_ylabel("pictures")
    for index, image in enumerate(images or ()):
        side = 0.9
        tall, wide = image.shape[:2]
        spot = axes.inset_axes(
            (-1.5 - side / 2, index - side / 2 * min(1, tall / wide), side, side * min(1, tall / wide)),
            transform=axes.transData,
        )
        bare(spot).imshow(image, aspect="auto")
        spot.set_in_layout(True)
    if images is not None:
        axes.set_xlim(-2.05, width - 0.5)
    low, high = drawn.get_clim()
    if width <= 10 and height <= 16:
        for row in range(height):
            for column in range(width):
                dark = (matrix[row, column] - low) / ((high - low) or 1) > 0.55
                axes.text(
                    column,
                    row,
                    f"{matrix[row, column]:.{digits}f}",
                    ha="center",
                    va="center",
                    fontsize=7.5,
                    color="white" if dark else INK,
                )
    if mark:
        for row in range(min(height, width) if mark == "diagonal" else height):
            column = row if mark == "diagonal" else int(matrix[row].argmax())
            _frame(axes, row, column, 1.8 if cell > 0.2 else 1)
    where = {"location": "bottom", "shrink": 0.6, "aspect": 30} if columns else {"aspect": 22}
    bar = figure.colorbar(drawn, ax=axes, fraction=0.04, pad=0.02, **where)
    bar.outline.set_visible(False)
    bar.set_label(value, fontsize=8)
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    framed = {"diagonal": "; the matching pairs are framed", "best": "; the highest of each row is framed"}
    return describe(
        figure,
        f"{title or 'Similarity matrix'}: {value} of {height} pictures (rows) with {width} texts (columns), "
        f"the darker the higher{framed.get(mark, '')}.",
    )


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
    _same_length("probabilities", probabilities, len(images), "pictures")
    _same_length("labels", labels, probabilities.shape[1], "columns of probabilities")
    if truths is not None:
        _same_length("truths", truths, len(images), "pictures")
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
            name = below.text(0.02, place, _shorten(labels[label], 32), va="center", fontsize=7, color=INK)
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
    wrapped = [_wrap(name, 42) for name in names]
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
    axes.set_yticks(rows, [_wrap(method, 34) for method in methods])
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


def softmax_at(
    logits, temperatures: Sequence[float], labels: Sequence[str] | None = None, *, title: str | None = None
) -> Figure:
    """The same similarities through a softmax at several temperatures: from one winner to all alike.

    Args:
        logits: (C,) similarities.
        temperatures: what they are divided by; each gives a panel.
        labels: C names.
        title: over all.

    Raises:
        InputError: a temperature that is not positive, or labels that do not fit.
    """
    logits = array(logits, "similarities", 1)
    if not len(temperatures) or min(temperatures) <= 0:
        raise InputError("temperatures are positive numbers, one at least")
    if labels is not None:
        _same_length("labels", labels, len(logits), "similarities")
    count = len(temperatures)
    names = labels if labels is not None else [str(index) for index in range(len(logits))]
    height = 0.75 + 0.23 * len(logits) + (0.25 if title else 0)
    figure, axes = canvas(min(8.0, 1.4 + 1.75 * count), height, 1, count, sharey=True)
    for place, temperature in zip(axes, temperatures, strict=True):
        scaled = logits / temperature
        weights = np.exp(scaled - scaled.max())
        place.barh(range(len(logits)), weights / weights.sum(), color=BLUE, height=0.72)
        place.set(xlim=(0, 1), ylim=(len(logits) - 0.4, -0.6))
        place.set_xticks([0, 0.5, 1])
        place.set_title(f"temperature {temperature:g}", fontsize=8.5)
        place.grid(False, axis="y")
        place.set_yticks(range(len(logits)), names)
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    figure.supxlabel("probability", fontsize=8.5)
    named = ", ".join(f"{temperature:g}" for temperature in temperatures)
    return describe(
        figure,
        f"{title or 'Softmax and temperature'}: {len(logits)} probabilities as bars at temperatures {named}; "
        "the lower the temperature, the more the highest similarity takes.",
    )


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
            _same_length(f"labels of {name}", labels[name], len(points), "points")
            for text, point in zip(labels[name], points, strict=True):
                axes.annotate(text, point, xytext=(5, 5), textcoords="offset points", fontsize=7.5, color=QUIET)
    axes.set(xlabel=across, ylabel=value)
    axes.margins(0.12)
    axes.legend(loc="best")
    if title:
        axes.set_title(title)
    return describe(figure, f"{title or 'Trade-off'}: {value} over {across} for {', '.join(paths)}.")


def _heat_over(axes, image: np.ndarray, heat: np.ndarray, low: float, high: float, grid: bool) -> None:
    tall, wide = image.shape[:2]
    # Colour belongs to the heat, so the picture beneath gives up its own, and shows through where there is little heat.
    grey = image.mean(2) / 255 * 0.6 + 0.4
    where = {"extent": (0, wide, tall, 0)}
    axes.imshow(grey, cmap="gray", vmin=0, vmax=1, interpolation="antialiased", **where)
    opacity = 0.1 + 0.75 * ((heat - low) / ((high - low) or 1)).clip(0, 1)
    smooth = "nearest" if grid else "bicubic"
    axes.imshow(heat, cmap=HEAT, vmin=low, vmax=high, alpha=opacity, interpolation=smooth, **where)
    axes.set(xlim=(0, wide), ylim=(tall, 0))


def token_map(
    images,
    maps,
    titles: Sequence[str] | None = None,
    *,
    title: str | None = None,
    value: str = "similarity",
    shared: bool = False,
    beside: bool = True,
    columns: int | None = None,
) -> Figure:
    """A number for each cell of a picture (a ViT's patches, a CNN's grid), as heat over the picture.

    Args:
        images: N pictures; or one, used for all maps.
        maps: (N, h, w), or (N, h * w) of a square grid (without class token).
        titles: one per map.
        title: over all.
        value: what the numbers are.
        shared: one scale of colours for all maps, with a bar; else each map from its least to its most.
        beside: show the picture itself next to its heat (with one picture for all maps: once, at the left).
        columns: pairs (or maps) side by side.

    Raises:
        InputError: no square grid, or as many maps as neither 1 nor the number of pictures.
    """
    maps = array(maps, "maps")
    if maps.ndim == 2:
        side = math.isqrt(maps.shape[1])
        if side * side != maps.shape[1]:
            raise InputError(
                f"{maps.shape[1]} numbers are no square grid: leave the class token out, or give maps as (N, h, w)"
            )
        maps = maps.reshape(-1, side, side)
    if maps.ndim != 3:
        raise InputError(f"maps should have shape (N, h, w), and have {maps.shape}")
    if isinstance(images, Image.Image) or getattr(images, "ndim", 4) == 3:
        images = [images]
    images = pictures(images)
    if len(images) not in (1, len(maps)):
        raise InputError(f"{len(images)} pictures for {len(maps)} maps: give one for all, or one each")
    if titles is not None:
        _same_length("titles", titles, len(maps), "maps")
    once = len(images) == 1 and len(maps) > 1
    panels: list[tuple[int, np.ndarray | None, str]] = []  # (picture, heat or None for the picture itself, title)
    for index, heat in enumerate(maps):
        if beside and (index == 0 or not once):
            panels.append((0 if once else index, None, ""))
        panels.append((0 if once else index, heat, str(titles[index]) if titles is not None else ""))
    columns = columns * (2 if beside and not once else 1) if columns else min(len(panels), 8 if len(panels) == 8 else 6)
    rows = math.ceil(len(panels) / columns)
    size = min(2.1, 7.8 / columns)
    tall = max(image.shape[0] / image.shape[1] for image in images)
    height = rows * (size * tall + (0.22 if titles is not None else 0.06)) + (0.28 if title else 0)
    figure, axes = canvas(size * columns + (0.7 if shared else 0), height, rows, columns)
    for place, panel in zip(axes, panels + [None] * (len(axes) - len(panels)), strict=True):
        bare(place)
        if panel is None:
            place.set_visible(False)
            continue
        which, heat, text = panel
        if heat is None:
            place.imshow(images[which], interpolation="nearest" if images[which].shape[0] <= 100 else "antialiased")
        else:
            low, high = (maps.min(), maps.max()) if shared else (heat.min(), heat.max())
            _heat_over(place, images[which], heat, low, high, grid=heat.shape[0] <= 24)
        place.set_xlabel(_wrap(text, int(size * 14)), fontsize=8, labelpad=3)
    if shared:
        scale = ScalarMappable(Normalize(maps.min(), maps.max()), HEAT)  # solid, where the maps let the picture through
        bar = figure.colorbar(scale, ax=axes, fraction=0.03, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_label(value, fontsize=8)
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    told = f" for {'; '.join(map(str, titles))}" if titles is not None else ""
    return describe(
        figure,
        f"{title or 'Map'}: {value} of each cell of a {maps.shape[1]} by {maps.shape[2]} grid, "
        f"as heat over the picture{told}; the redder the higher.",
    )


def attention_map(
    image,
    attention,
    titles: Sequence[str] | None = None,
    *,
    grid: tuple[int, int] | None = None,
    title: str | None = None,
) -> Figure:
    """What one query (the class token, a word) attends to: a map per head over one picture.

    Args:
        image: the picture.
        attention: (heads, h * w), (heads, h, w), or (h * w,) of one head: weights over the patches, class token left
            out.
        titles: one per head; "head 1" and so on when left out.
        grid: (h, w), where it is not square.
        title: over all.
    """
    weights = array(attention, "attention")
    weights = weights[None] if weights.ndim == 1 else weights
    if weights.min() < 0:
        raise InputError("attention weights are not negative: give them after the softmax")
    if grid is not None and weights.ndim == 2:
        if grid[0] * grid[1] != weights.shape[1]:
            raise InputError(f"a grid of {grid[0]} by {grid[1]} has not {weights.shape[1]} cells")
        weights = weights.reshape(-1, *grid)
    names = titles if titles is not None else [f"head {index + 1}" for index in range(len(weights))]
    return token_map([image], weights, names, title=title or "Attention", value="attention")


def principal_components(vectors, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """The directions along which vectors differ most, by the singular value decomposition of the centred matrix.

    Args:
        vectors: (N, D).
        count: how many directions.

    Returns:
        coordinates (N, count), and the share of the variance each direction holds (count,). The sign of a direction,
        which the decomposition leaves open, is set so that its largest coordinate is positive.
    """
    vectors = array(vectors, "vectors", 2)
    if not 0 < count <= min(vectors.shape):
        raise InputError(f"vectors of shape {vectors.shape} have at most {min(vectors.shape)} components, not {count}")
    left, singular, _ = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    points = left[:, :count] * singular[:count]
    points = points * np.where(points[np.abs(points).argmax(0), np.arange(count)] < 0, -1, 1)
    return points, singular[:count] ** 2 / max((singular**2).sum(), 1e-30)


def embedding_scatter(
    groups: Mapping[str, object], *, joined: bool = True, title: str | None = None, labels: Sequence[str] | None = None
) -> Figure:
    """Embeddings seen from the two directions in which they differ most; pictures and texts as two groups.

    Args:
        groups: name -> (N, D) embeddings, all of one D.
        joined: a thin line from each row of the first group to the same row of the second: the matching pairs.
        title: of the figure.
        labels: N short texts, written at the points of the first group.

    Raises:
        InputError: embeddings of different widths, or pairs to join that are not equally many.
    """
    if not groups:
        raise InputError("there is no group of embeddings to draw")
    vectors = [array(values, name, 2) for name, values in groups.items()]
    if len({part.shape[1] for part in vectors}) > 1:
        raise InputError(f"embeddings of one space have one width: got {[part.shape for part in vectors]}")
    joined = joined and len(vectors) > 1
    if joined and len(vectors[0]) != len(vectors[1]):
        raise InputError(
            f"{len(vectors[0])} and {len(vectors[1])} rows make no pairs: give equally many, or joined=False"
        )
    points, shares = principal_components(np.concatenate(vectors), 2)
    parts = np.split(points, np.cumsum([len(part) for part in vectors])[:-1])
    wide, tall = np.ptp(points, axis=0)
    figure, (axes,) = canvas(5.6, float(np.clip(5.0 * tall / (wide or 1) + 1.0, 2.4, 4.6)))
    if joined:
        for one, other in zip(parts[0], parts[1], strict=True):
            axes.plot(*np.stack([one, other]).T, color="#B9C0C7", linewidth=0.6, alpha=0.7, zorder=1)
    for index, (name, part) in enumerate(zip(groups, parts, strict=True)):
        axes.scatter(
            *part.T,
            s=26,
            marker="osD^vP"[index % 6],
            color=PALETTE[index % len(PALETTE)],
            label=name,
            zorder=2,
            edgecolor="white",
            linewidth=0.4,
        )
    if labels is not None:
        _same_length("labels", labels, len(parts[0]), "points")
        for text, point in zip(labels, parts[0], strict=True):
            axes.annotate(text, point, xytext=(4, 3), textcoords="offset points", fontsize=7)
    axes.set(xlabel="first principal component", ylabel="second principal component")
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(loc="best")
    if title:
        axes.set_title(title)
    lined = ", each matching pair joined by a line" if joined else ""
    return describe(
        figure,
        f"{title or 'Embeddings'}: {' and '.join(groups)} as points in the plane of their two principal "
        f"components{lined}.",
    )


def two_softmaxes(matrix, *, title: str | None = None) -> Figure:
    """Where the gradient of CLIP's loss comes from: the two softmaxes of one matrix of logits, by row and by column.

    Args:
        matrix: (N, N) logits, pictures as rows.
        title: over all.
    """
    matrix = array(matrix, "logits", 2)
    if matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"one text for each picture gives a square matrix, and this has shape {matrix.shape}")
    figure, axes = canvas(7.4, 2.9 + (0.3 if title else 0), 1, 3)
    panels = (("logits", matrix), ("softmax of each row", None), ("softmax of each column", None))
    for index, (place, (name, values)) in enumerate(zip(axes, panels, strict=True)):
        if index:
            exponent = np.exp(matrix - matrix.max(2 - index, keepdims=True))
            values = exponent / exponent.sum(2 - index, keepdims=True)
        scale = {} if not index else {"vmin": 0, "vmax": 1}
        bare(place).imshow(values, cmap=LOW_TO_HIGH, **scale)
        place.set_title(name, fontsize=9)
        if len(matrix) <= 8:
            low, high = (values.min(), values.max()) if not index else (0, 1)
            for row in range(len(matrix)):
                for column in range(len(matrix)):
                    dark = (values[row, column] - low) / ((high - low) or 1) > 0.55
                    place.text(
                        column,
                        row,
                        f"{values[row, column]:.1f}" if not index else f"{values[row, column]:.2f}",
                        ha="center",
                        va="center",
                        fontsize=7,
                        color="white" if dark else INK,
                    )
        for row in range(len(matrix)):
            _frame(place, row, row, 1.6)
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return describe(
        figure,
        f"{title or 'Two softmaxes of one matrix'}: {len(matrix)} by {len(matrix)} logits, their softmax along rows "
        "(which text belongs to this picture?) and along columns (which picture belongs to this text?); "
        "the matching pairs are framed.",
    )
