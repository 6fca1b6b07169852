"""A joint space seen: similarities and their softmax, whom a loss pushes, vectors in the plane, a space by measures."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from course_lib.errors import InputError
from course_lib.viz.curves import STROKES
from course_lib.viz.given import array, pictures, same_length, shorten
from course_lib.viz.style import (
    BLUE,
    FAINT,
    INK,
    LOW_TO_HIGH,
    ORANGE,
    PALETTE,
    QUIET,
    VERMILION,
    bare,
    canvas,
    describe,
    frame_cell,
    write_cells,
)

MARKERS = "osD^vPX*"


def pushes(cosines, temperatures: Sequence[float], own: float | None = None, *, title: str | None = None) -> Figure:
    """How the softmax shares its push out among the negatives of one picture, at several temperatures.

    Args:
        cosines: (N,) of the negatives.
        temperatures: each gives a line.
        own: cosine of the own caption: a vertical line.
        title: of the figure.

    Raises:
        InputError: a temperature that is not positive.
    """
    cosines = np.sort(array(cosines, "cosines", 1))
    if not len(temperatures) or min(temperatures) <= 0:
        raise InputError("temperatures are positive numbers, one at least")
    figure, (axes,) = canvas(5.8, 3.0)
    for index, temperature in enumerate(temperatures):
        shares = np.exp((cosines - cosines.max()) / temperature)
        look = {"color": PALETTE[index % len(PALETTE)], "linestyle": STROKES[index % len(STROKES)]}
        marker = MARKERS[index % len(MARKERS)]
        axes.plot(cosines, shares / shares.sum(), marker=marker, markersize=3.5, label=f"τ = {temperature:g}", **look)
    axes.axhline(1 / len(cosines), color=QUIET, linewidth=0.9, linestyle=":")
    axes.annotate(
        "all alike", (cosines.min(), 1 / len(cosines)), xytext=(0, 4), textcoords="offset points", color=QUIET
    )
    if own is not None:
        axes.axvline(float(own), color=INK, linewidth=1)
        axes.annotate(
            "own caption",
            (float(own), 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.set(xlabel="cosine of picture and wrong caption", ylabel="share of the push", yscale="log", ylim=(1e-5, 1.5))
    axes.legend(loc="upper left")
    if title:
        axes.set_title(title)
    named = ", ".join(f"{temperature:g}" for temperature in temperatures)
    return describe(
        figure,
        f"{title or 'Whom the loss pushes'}: the share of the push that each wrong caption gets over its cosine, as "
        f"lines for the temperatures {named}; the lower the temperature, the more goes to the most similar ones.",
    )


def margins(cosines, own: float, margin: float, *, title: str | None = None) -> Figure:
    """One picture's negatives on a line, and which of them a ranking loss with a margin hears.

    Args:
        cosines: (N,) of the negatives.
        own: cosine of the own caption.
        margin: by which it should lead.
        title: of the figure.
    """
    cosines = array(cosines, "cosines", 1)
    costs = np.maximum(0, margin - own + cosines)
    figure, (axes,) = canvas(6.6, 2.5)
    quiet = costs == 0
    axes.vlines(cosines[~quiet], 0, costs[~quiet], color=ORANGE, linewidth=1.6)
    axes.scatter(
        cosines[quiet], costs[quiet], s=22, facecolor="white", edgecolor=QUIET, label="far enough: no cost", zorder=3
    )
    axes.scatter(
        cosines[~quiet], costs[~quiet], s=26, marker="s", color=ORANGE, label="within the margin: costs", zorder=3
    )
    if not quiet.all():
        axes.scatter(
            cosines[costs.argmax()],
            costs.max(),
            s=150,
            marker="*",
            color=VERMILION,
            label="the hardest: all VSE++ hears",
            zorder=4,
        )
    top = max(float(costs.max()), 0.5 * margin)
    for place, name, side in ((own, "own caption", 1), (own - margin, "own − margin", -1)):
        axes.axvline(place, color=INK, linewidth=1, linestyle="-" if place == own else "--")
        axes.annotate(
            name,
            (place, 1.32 * top),
            xytext=(3 * side, -3),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="top",
            fontsize=8,
        )
    axes.set(xlabel="cosine of picture and caption", ylabel="cost", ylim=(-0.08 * top, 1.35 * top))
    axes.legend(loc="upper left")
    if title:
        axes.set_title(title)
    return describe(
        figure,
        f"{title or 'A margin'}: the wrong captions of one picture as points over their cosine. Those further than the "
        "margin below the own caption cost nothing; the cost of the others grows in a straight line; the hardest is "
        "marked with a star.",
    )


def circles(panels: Mapping[str, tuple[object, object]], *, title: str | None = None) -> Figure:
    """Pairs of unit vectors in the plane: pictures as circles, texts as squares, each pair joined.

    Args:
        panels: name -> pictures (N, 2) and texts (N, 2).
        title: over all.

    Raises:
        InputError: no panel, or vectors that are no pairs in the plane.
    """
    if not panels:
        raise InputError("there is no panel to draw")
    figure, axes = canvas(min(8.2, 2.1 * len(panels)), 2.5 + (0.25 if title else 0), 1, len(panels))
    angle = np.linspace(0, 2 * np.pi, 200)
    for place, (name, pairs) in zip(axes, panels.items(), strict=True):
        ours, theirs = array(pairs[0], "pictures", 2), array(pairs[1], "texts", 2)
        if ours.shape != theirs.shape or ours.shape[1] != 2:
            raise InputError(f"{name} has {ours.shape} and {theirs.shape}; both should be (pairs, 2)")
        bare(place).plot(np.cos(angle), np.sin(angle), color=FAINT, linewidth=1.2, zorder=0)
        for one, other in zip(ours, 1.13 * theirs, strict=True):
            place.plot(*np.stack([one, other]).T, color=QUIET, linewidth=0.7, zorder=1)
        place.scatter(*ours.T, s=24, color=BLUE, edgecolor="white", linewidth=0.4, label="pictures", zorder=2)
        place.scatter(
            *(1.13 * theirs).T,
            s=22,
            marker="s",
            color=ORANGE,
            edgecolor="white",
            linewidth=0.4,
            label="texts",
            zorder=2,
        )
        place.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal")
        place.set_title(name, fontsize=8.5)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return describe(
        figure,
        f"{title or 'Vectors on a circle'}: unit vectors of pictures as circles and of texts as squares just outside, "
        f"each pair joined by a line, for {', '.join(panels)}.",
    )


def landscape(
    models: Mapping[str, tuple[float, float, float]], *, value: str = "R@1", title: str | None = None
) -> Figure:
    """Models by the shape of their space: alignment across, uniformity down, and how well each retrieves in its label.

    Args:
        models: name -> (alignment, uniformity, the value written beside the name).
        value: what that value is.
        title: of the figure.

    Raises:
        InputError: no model.
    """
    if not models:
        raise InputError("there is no model to draw")
    figure, (axes,) = canvas(7.2, 3.6)
    best = max(score for *_, score in models.values())
    for index, (name, (aligned, uniform, score)) in enumerate(models.items()):
        axes.scatter(
            aligned,
            uniform,
            s=30 + 150 * max(0.0, score / (best or 1)),
            marker=MARKERS[index % len(MARKERS)],
            color=PALETTE[index % len(PALETTE)],
            edgecolor="white",
            zorder=3,
            label=f"{name} ({score:.2f})",
        )
    axes.set(xlabel="alignment: distance within pairs (lower is better)", ylabel="uniformity (lower is better)")
    axes.margins(0.1, 0.1)
    figure.legend(loc="outside right center", title=f"name ({value})", title_fontsize=8)
    if title:
        axes.set_title(title)
    return describe(
        figure,
        f"{title or 'The shape of the space'}: {', '.join(models)} as points, alignment across and uniformity upwards, "
        f"lower being better for both; the larger a point, the higher its {value}.",
    )


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
        same_length("images", images, height, "rows")
    if rows is not None:
        same_length("rows", rows, height, "rows")
    if labels is not None:
        same_length("labels", labels, width, "columns")
    if mark not in (None, "diagonal", "best"):
        raise InputError(f"mark is {mark!r}; it can be 'diagonal', 'best' or left out")
    cell = min(0.62, (5.0 if labels is not None or images is not None else 3.3) / max(height, width))
    columns = [shorten(text, 46) for text in labels] if labels is not None else []
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
    if width <= 10 and height <= 16:
        write_cells(axes, matrix, digits, drawn.get_clim(), size=7.5)
    if mark:
        for row in range(min(height, width) if mark == "diagonal" else height):
            column = row if mark == "diagonal" else int(matrix[row].argmax())
            frame_cell(axes, row, column, 1.8 if cell > 0.2 else 1)
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
        same_length("labels", labels, len(logits), "similarities")
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
            limits = (0, 1) if index else (values.min(), values.max())
            write_cells(place, values, 2 if index else 1, limits, size=7)
        for row in range(len(matrix)):
            frame_cell(place, row, row, 1.6)
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return describe(
        figure,
        f"{title or 'Two softmaxes of one matrix'}: {len(matrix)} by {len(matrix)} logits, their softmax along rows "
        "(which text belongs to this picture?) and along columns (which picture belongs to this text?); "
        "the matching pairs are framed.",
    )


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


def scatter(
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
        same_length("labels", labels, len(parts[0]), "points")
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
