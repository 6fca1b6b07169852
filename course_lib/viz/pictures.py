"""The figures of lesson 02: pictures as numbers, what a cell sees, patches and windows, boxes, masks and matchings."""

from collections.abc import Mapping, Sequence

import matplotlib.patheffects as effects
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from course_lib.errors import InputError
from course_lib.viz.given import array, picture, pictures, same_length
from course_lib.viz.style import (
    BLUE,
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
    frame_cell,
    write_cells,
)

HALO = [effects.withStroke(linewidth=2, foreground="white")]


def pixels(image, corner: tuple[int, int], side: int = 6, *, title: str | None = None) -> Figure:
    """A picture, and beside it a few of its pixels so large that their three numbers can be read.

    Args:
        image: the picture, (H, W, 3) bytes.
        corner: row and column of the upper left of those pixels.
        side: how many of them, each way.
        title: over all.

    Raises:
        InputError: the pixels lie outside the picture.
    """
    image = picture(image)
    top, left = corner
    if top < 0 or left < 0 or top + side > image.shape[0] or left + side > image.shape[1]:
        raise InputError(f"{side} x {side} pixels from {corner} reach beyond a picture of {image.shape[:2]}")
    part = image[top : top + side, left : left + side]
    figure, (whole, close) = canvas(7.6, 4.1 + (0.25 if title else 0), 1, 2, width_ratios=[1, 1.25])
    bare(whole).imshow(image, interpolation="nearest")
    for width, colour in ((3, "white"), (1.5, VERMILION)):
        whole.add_patch(Rectangle((left - 0.5, top - 0.5), side, side, fill=False, edgecolor=colour, linewidth=width))
    whole.set_xlabel(f"{image.shape[0]} x {image.shape[1]} pixels", fontsize=8)
    bare(close).imshow(part, interpolation="nearest")
    for row in range(side):
        for column in range(side):
            dark = part[row, column].astype(float) @ (0.299, 0.587, 0.114) < 128
            text = "\n".join(str(number) for number in part[row, column])
            close.text(
                column, row, text, ha="center", va="center", fontsize=7.5, color="white" if dark else INK, linespacing=1
            )
    close.set_xlabel(
        f"rows {top} to {top + side - 1}, columns {left} to {left + side - 1}: red, green, blue", fontsize=8
    )
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return describe(
        figure,
        f"{title or 'Pixels'}: a picture with a framed window of {side} by {side} pixels, and the window enlarged with "
        "the red, green and blue number of each pixel written on it.",
    )


def filters(image, kernels: Mapping[str, object], maps, *, title: str | None = None) -> Figure:
    """Convolution kernels with their numbers, and below each the map it makes of a picture.

    Args:
        image: the picture, drawn at the left.
        kernels: name -> (k, k) numbers.
        maps: one (h, w) map per kernel; middle grey is zero, white the highest, black the lowest.
        title: over all.
    """
    image = picture(image)
    same_length("maps", maps, len(kernels), "kernels")
    count = len(kernels) + 1
    figure, axes = canvas(min(8.0, 1.6 * count), 3.0 + (0.25 if title else 0), 2, count, height_ratios=[0.62, 1])
    axes[0].set_visible(False)
    bare(axes[count]).imshow(image, interpolation="nearest")
    axes[count].set_xlabel("the picture", fontsize=8)
    for column, ((name, kernel), result) in enumerate(zip(kernels.items(), maps, strict=True), 1):
        kernel, result = array(kernel, name, 2), array(result, f"the map of {name}", 2)
        place, below = bare(axes[column]), bare(axes[count + column])
        reach = np.abs(kernel).max() or 1
        place.imshow(kernel, cmap="gray", vmin=-1.6 * reach, vmax=1.6 * reach)
        for row in range(kernel.shape[0]):
            for across in range(kernel.shape[1]):
                number = f"{kernel[row, across]:.2g}".replace("0.", ".").replace("-.", "-.")
                dark = kernel[row, across] < 0
                place.text(across, row, number, ha="center", va="center", fontsize=7, color="white" if dark else INK)
        place.set_title(name, fontsize=8.5)
        strongest = np.abs(result).max() or 1
        below.imshow(result, cmap="gray", vmin=-strongest, vmax=strongest, interpolation="nearest")
        below.set_xlabel(f"{result.shape[0]} x {result.shape[1]}", fontsize=8)
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return describe(
        figure,
        f"{title or 'Kernels and what they find'}: {', '.join(kernels)}, each as a small table of numbers with the map "
        "it makes of the picture; grey is zero, lighter is positive, darker is negative.",
    )


def receptive_fields(
    image,
    maps,
    boxes: Sequence[Sequence[float]],
    titles: Sequence[str] | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """How strongly each pixel moves one cell of a feature map, as heat, in the box that kernels and strides allow.

    Args:
        image: the picture, (H, W, 3).
        maps: (N, H, W) sizes of gradients, one map per layer; drawn by their square root, so that small ones show.
        boxes: N boxes (left, top, right, bottom) in pixels; may reach beyond the picture.
        titles: one per map.
        title: over all.
    """
    image, maps = picture(image), array(maps, "maps", 3)
    same_length("boxes", boxes, len(maps), "maps")
    height, width = image.shape[:2]
    figure, axes = canvas(8.0, 8.0 / len(maps) + (0.35 if titles else 0.1) + (0.25 if title else 0), 1, len(maps))
    for index, (place, heat) in enumerate(zip(axes, maps, strict=True)):
        bare(place)
        # Mixed here and not by matplotlib, whose array of opacities is lost in small panels.
        share = np.sqrt(heat / (heat.max() or 1))[..., None]
        grey = (image.mean(2, keepdims=True) / 255 * 0.6 + 0.4).repeat(3, 2)
        colours = HEAT(share[..., 0])[..., :3]
        opacity = np.where(share > 0, 0.25 + 0.75 * share, 0)
        place.imshow(grey * (1 - opacity) + colours * opacity, extent=(0, width, height, 0), interpolation="nearest")
        left, top, right, bottom = (float(edge) for edge in boxes[index])
        for thick, colour, style in ((3.2, "white", "-"), (1.6, BLUE, "--")):
            place.add_patch(
                Rectangle(
                    (left, top), right - left, bottom - top,
                    fill=False, edgecolor=colour, linewidth=thick, linestyle=style, clip_on=True,
                )
            )  # fmt: skip
        place.set(xlim=(0, width), ylim=(height, 0))
        if titles is not None:
            place.set_xlabel(str(titles[index]), fontsize=8)
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return describe(
        figure,
        f"{title or 'Receptive fields'}: for {len(maps)} depths of a network, heat where a pixel moves the cell in the "
        "middle, within a dashed box that is the field computed from kernels and strides; both grow with depth.",
    )


def patches(image, patch: int, *, title: str | None = None) -> Figure:
    """A picture, the same cut into numbered patches, and the row of tokens they become.

    Args:
        image: the picture, (H, W, 3); its sides are multiples of the patch.
        patch: side of a patch in pixels.
        title: over all.
    """
    image = picture(image)
    height, width = image.shape[:2]
    if height % patch or width % patch:
        raise InputError(f"patches of {patch} pixels do not tile a picture of {height} x {width}")
    rows, columns = height // patch, width // patch
    gap = max(2, patch // 6)
    spread = np.full((rows * (patch + gap) - gap, columns * (patch + gap) - gap, 3), 255, np.uint8)
    shown = 10
    line = np.full((patch, shown * (patch + gap) - gap, 3), 255, np.uint8)
    for row in range(rows):
        for column in range(columns):
            part = image[row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
            y, x, number = row * (patch + gap), column * (patch + gap), row * columns + column
            spread[y : y + patch, x : x + patch] = part
            if number < shown:
                line[:, number * (patch + gap) : number * (patch + gap) + patch] = part
    figure = canvas(7.6, 4.6)[0]
    figure.clear()
    grid = figure.add_gridspec(2, 2, height_ratios=[3.4, 1])
    places = [figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, :])]
    for place, drawn in zip(places, (image, spread, line), strict=True):
        bare(place).imshow(drawn, interpolation="nearest")
    for number in range(rows * columns):
        y, x = divmod(number, columns)
        places[1].text(
            x * (patch + gap) + 0.8, y * (patch + gap) + 0.8, str(number), fontsize=6, va="top", color=INK,
            path_effects=HALO,
        )  # fmt: skip
    for number in range(shown):
        places[2].text(
            number * (patch + gap) + patch / 2, patch + 1, str(number), fontsize=7, va="top", ha="center", color=INK
        )
    places[0].set_xlabel(f"{height} x {width} pixels", fontsize=8)
    places[1].set_xlabel(f"{rows} x {columns} patches of {patch} x {patch}", fontsize=8)
    places[2].set_xlabel(f"the first {shown} of {rows * columns} tokens, in reading order", fontsize=8, labelpad=16)
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return describe(
        figure,
        f"{title or 'Patches as tokens'}: a picture, the same picture cut into {rows} by {columns} numbered patches, "
        "and the first of them side by side as a sequence.",
    )


def windows(cells: int, window: int, shift: int, *, title: str | None = None) -> Figure:
    """How Swin groups the cells of a feature map: windows, windows moved by a shift, and what rolling makes of those.

    Args:
        cells: the map has that many cells each way.
        window: side of a window in cells.
        shift: by how many cells the windows move.
        title: over all.

    Raises:
        InputError: windows that do not tile the map, or a shift that is none.
    """
    if cells % window or not 0 < shift < window:
        raise InputError(
            f"windows of {window} tile {cells} cells only if they divide them, with a shift below {window}"
        )
    figure, axes = canvas(8.0, 3.2 + (0.25 if title else 0), 1, 3)
    tints = ["#DCEBF7", "#FBE9CC", "#D9F0E8", "#F7DDD0", "#F1E0EA", "#E3E6E9", "#FAF6CF", "#DDF2FB", "#EFEFEF"]
    edges = sorted({0, cells, *range(shift, cells, window)})
    part = np.searchsorted(edges, np.arange(cells), side="right") - 1  # which piece of a row a cell lies in
    regular = np.arange(cells) // window
    rolled = (np.arange(cells) + shift) % cells
    names = ("windows", f"moved by {shift}", "rolled, so that all are full")
    for panel, (place, name) in enumerate(zip(axes, names, strict=True)):
        group = regular if panel == 0 else part if panel == 1 else part[rolled]
        many = group.max() + 1
        bare(place).set(xlim=(0, cells), ylim=(cells, 0), aspect="equal")
        for row in range(cells):
            for column in range(cells):
                which = group[row] * many + group[column]
                place.add_patch(
                    Rectangle(
                        (column, row), 1, 1, facecolor=tints[which % len(tints)], edgecolor="white", linewidth=0.8
                    )
                )
                place.text(
                    column + 0.5, row + 0.5, chr(ord("A") + which), ha="center", va="center", fontsize=7, color=QUIET
                )
        lines = edges if panel == 1 else range(0, cells + 1, window)
        for edge in lines:
            place.plot([0, cells], [edge, edge], color=INK, linewidth=1.8, clip_on=False)
            place.plot([edge, edge], [0, cells], color=INK, linewidth=1.8, clip_on=False)
        place.set_xlabel(name, fontsize=8.5)
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return describe(
        figure,
        f"{title or 'Windows and shifted windows'}: {cells} by {cells} cells in windows of {window} by {window}; the "
        f"same moved by {shift}, with smaller windows at the edges; and rolled round, so that all are full again and "
        "hold cells of different letters, which must not see each other.",
    )


def masks_over(images, masks, labels=None, *, title: str | None = None) -> Figure:
    """Pictures with the mask of each object laid over them, outlined and numbered.

    Args:
        images: N pictures.
        masks: per picture a list of (H, W) booleans.
        labels: per picture a list of short texts, one per mask; numbers when left out.
        title: over all.
    """
    images = pictures(images)
    same_length("masks", masks, len(images), "pictures")
    size = min(2.6, 8.0 / len(images))
    figure, axes = canvas(size * len(images), size + (0.35 if title else 0.1), 1, len(images))
    for index, (place, image) in enumerate(zip(axes, images, strict=True)):
        bare(place)
        faded = (0.45 * image.mean(2, keepdims=True).repeat(3, 2) + 0.55 * 235).astype(np.uint8)
        for mask in masks[index]:
            mask = np.asarray(mask, bool)
            faded[mask] = image[mask]
        place.imshow(faded, interpolation="nearest")
        for number, mask in enumerate(masks[index]):
            mask = np.asarray(mask, float)
            if mask.min() == mask.max():
                continue
            place.contour(mask, levels=[0.5], colors=[PALETTE[number % len(PALETTE)]], linewidths=1.8)
            down, across = np.nonzero(mask > 0.5)
            text = labels[index][number] if labels is not None else str(number + 1)
            place.text(
                across.mean(), down.mean(), text, ha="center", va="center", fontsize=7, color=INK, path_effects=HALO
            )
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return describe(
        figure,
        f"{title or 'Masks'}: {len(images)} pictures faded where there is no object, each object outlined and named.",
    )


def overlaps(pairs: Sequence[tuple[Sequence[float], Sequence[float]]], texts: Sequence[str]) -> Figure:
    """Pairs of boxes, the first drawn solid and the second dashed, what they share hatched.

    Args:
        pairs: boxes (left, top, right, bottom) between 0 and 1.
        texts: what is said below each.
    """
    same_length("texts", texts, len(pairs), "pairs")
    figure, axes = canvas(8.0, 8.0 / len(pairs) + 0.4, 1, len(pairs))
    for place, (one, other), text in zip(axes, pairs, texts, strict=True):
        bare(place).set(xlim=(0, 1), ylim=(1, 0), aspect="equal", facecolor="#F6F7F9")
        for box, colour, style in ((one, BLUE, "-"), (other, VERMILION, "--")):
            left, top, right, bottom = box
            place.add_patch(
                Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, lw=2, ls=style)
            )
        left, top = max(one[0], other[0]), max(one[1], other[1])
        right, bottom = min(one[2], other[2]), min(one[3], other[3])
        if right > left and bottom > top:
            place.add_patch(
                Rectangle(
                    (left, top), right - left, bottom - top, facecolor="#E3E6E9", edgecolor=QUIET, hatch="//", lw=0
                )
            )
        place.set_xlabel(text, fontsize=8.5)
    return describe(
        figure, f"Pairs of boxes, one solid and one dashed, with what they share hatched: {'; '.join(texts)}."
    )


def assignment(costs, pairs: Sequence[tuple[int, int]], rows: Sequence[str], columns: Sequence[str]) -> Figure:
    """A matrix of costs, predictions as rows and objects as columns, with the chosen pairs framed.

    Args:
        costs: (N, M) numbers.
        pairs: (row, column) of the matching.
        rows: N names.
        columns: M names.
    """
    costs = array(costs, "costs", 2)
    same_length("rows", rows, costs.shape[0], "rows")
    same_length("columns", columns, costs.shape[1], "columns")
    figure, (axes,) = canvas(2.2 + 1.15 * len(columns), 0.9 + 0.34 * len(rows))
    axes.imshow(costs, cmap=LOW_TO_HIGH, aspect="auto")
    write_cells(axes, costs, 1, (costs.min(), costs.max()), size=8)
    for row, column in pairs:
        frame_cell(axes, row, column, 2.4)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    return describe(
        figure,
        f"Costs of matching {len(rows)} predictions (rows) with {', '.join(columns)} (columns), the darker the dearer; "
        f"the {len(pairs)} pairs of the matching are framed, at most one in each row and column.",
    )


def sampled(feature_map, box: Sequence[float], points, *, title: str | None = None) -> Figure:
    """A feature map with a box that falls between its cells, and the points at which RoIAlign reads it.

    Args:
        feature_map: (h, w), one channel.
        box: (left, top, right, bottom) in cells; cell (0, 0) reaches from 0 to 1.
        points: (..., 2) of x and y in cells.
        title: over the axes.
    """
    feature_map, points = array(feature_map, "the feature map", 2), array(points, "points").reshape(-1, 2)
    height, width = feature_map.shape
    figure, (axes,) = canvas(3.9, 3.6)
    axes.imshow(feature_map, cmap=LOW_TO_HIGH, extent=(0, width, height, 0), interpolation="nearest")
    axes.set_xticks(range(width + 1), [])
    axes.set_yticks(range(height + 1), [])
    axes.set_axisbelow(False)
    left, top, right, bottom = box
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="white", linewidth=3.6))
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=ORANGE, linewidth=2))
    axes.scatter(*points.T, s=26, color=ORANGE, edgecolor="black", linewidth=0.7, zorder=4)
    if title:
        axes.set_title(title)
    return describe(
        figure,
        f"{title or 'RoIAlign'}: a grid of {height} by {width} cells, a box whose edges fall between them, and the "
        "points inside the box at which the grid is read by interpolation.",
    )


def budget(
    points: Mapping[str, tuple[float, float, float]],
    *,
    across: str = "seconds of training",
    value: str = "accuracy",
    chance: float | None = None,
    title: str | None = None,
) -> Figure:
    """Models by what they cost and what they reach: a circle each, the larger the more parameters.

    Args:
        points: name -> (cost, accuracy, parameters).
        across: what the cost is.
        value: what is reached.
        chance: of guessing, as a dashed line.
        title: of the figure.
    """
    if not points:
        raise InputError("there is no model to draw")
    numbers = array(list(points.values()), "points", 2)
    most = numbers[:, 2].max()
    figure, (axes,) = canvas(6.4, 3.7)
    for index, (name, (cost, reached, parameters)) in enumerate(points.items()):
        area = 60 + 700 * parameters / most
        colour = PALETTE[index % len(PALETTE)]
        axes.scatter(cost, reached, s=area, color=colour, alpha=0.85, edgecolor="white", linewidth=1, zorder=2)
        axes.annotate(
            f"{name}\n{parameters / 1000:.0f} k",
            (cost, reached),
            xytext=(area**0.5 / 2 + 3, 0),
            textcoords="offset points",
            fontsize=7.5,
            va="center",
            color=INK,
            path_effects=HALO,
        )
    if chance is not None:
        axes.axhline(chance, color=QUIET, linestyle="--", linewidth=1)
        axes.annotate("chance", (1, chance), xycoords=("axes fraction", "data"), xytext=(-2, 3),
                      textcoords="offset points", ha="right", color=QUIET, fontsize=8)  # fmt: skip
    axes.set(xlabel=across, ylabel=value, xlim=(0, numbers[:, 0].max() * 1.25), ylim=(0, 1.08))
    if title:
        axes.set_title(title)
    return describe(
        figure,
        f"{title or 'Models by cost'}: {value} over {across} for {', '.join(points)}, a circle each whose size is the "
        "number of parameters.",
    )
