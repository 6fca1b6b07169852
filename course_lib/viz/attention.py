"""Attention seen: who looks at whom, as squares, as lines and over a picture; and other numbers as heat."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from course_lib.errors import InputError
from course_lib.viz.given import array, pictures, same_length, wrap
from course_lib.viz.style import BLUE, HEAT, INK, LOW_TO_HIGH, QUIET, bare, canvas, describe, write_cells


def attention_heads(
    weights,
    queries: Sequence[str],
    keys: Sequence[str] | None = None,
    titles: Sequence[str] | None = None,
    *,
    title: str | None = None,
    digits: int | None = None,
    value: str = "attention",
) -> Figure:
    """A square for each query (row) and key (column), the darker the more of its attention goes there; a panel a head.

    Args:
        weights: (heads, T, S), or (T, S) of one head; 0 where a mask hides a key.
        queries: T words, written at the rows.
        keys: S words, written over the columns; those of the queries when left out.
        titles: one per head; "head 1" and so on when left out, nothing with a single head.
        title: over all.
        digits: decimals of the numbers written into the squares; None for no numbers.
        value: what the numbers are.

    Raises:
        InputError: words or titles that do not fit the weights.
    """
    weights = array(weights, value)
    weights = weights[None] if weights.ndim == 2 else weights
    keys = queries if keys is None else keys
    if weights.ndim != 3 or weights.shape[1:] != (len(queries), len(keys)):
        raise InputError(
            f"{value} has shape {weights.shape}; it should be (heads, {len(queries)}, {len(keys)}) for these words"
        )
    count = len(weights)
    titles = titles if titles is not None else [f"head {index + 1}" for index in range(count)] if count > 1 else [""]
    if len(titles) != count:
        raise InputError(f"{len(titles)} titles for {count} heads")
    columns = count if count <= 4 else math.ceil(count / 2)
    rows = math.ceil(count / columns)
    longest = max(len(str(word)) for word in [*queries, *keys])
    edge = 0.075 * longest + 0.1
    cell = min(0.42, (7.8 - edge) / columns / max(len(keys), 1) - 0.02)
    figure, axes = canvas(
        max(2.2, edge + columns * (cell * len(keys) + 0.15)),
        rows * (cell * len(queries) + edge + (0.28 if any(titles) else 0)) + (0.3 if title else 0.05),
        rows,
        columns,
        sharey=True,
    )
    peak = max(float(weights.max()), 1e-9)
    for place, head, name in zip(axes, weights, titles, strict=False):
        place.imshow(head, cmap=LOW_TO_HIGH, vmin=min(0.0, float(weights.min())), vmax=peak, aspect="auto")
        place.set_xticks(range(len(keys)), keys, rotation=90, fontsize=7.5)
        place.set_yticks(range(len(queries)), queries, fontsize=7.5)
        place.xaxis.tick_top()
        place.grid(False)
        for spine in place.spines.values():
            spine.set_visible(False)
        if name:
            place.set_xlabel(name, fontsize=8.5)
        if digits is not None:
            write_cells(place, head, digits, (0, peak), size=6.5)
    for place in axes[count:]:
        place.set_visible(False)
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return describe(
        figure,
        f"{title or value}: for each of {', '.join(map(str, queries))} (rows) how much {value} goes to each of "
        f"{', '.join(map(str, keys))} (columns), in {count} panel{'s' * (count > 1)}; the darker the more.",
    )


def attention_links(
    weights,
    queries: Sequence[str],
    keys: Sequence[str] | None = None,
    titles: Sequence[str] | None = None,
    *,
    title: str | None = None,
    least: float = 0.08,
) -> Figure:
    """Which word looks where: the words twice, one below the other, and a line from each to those it looks at.

    The thicker a line, the more of the word's attention; what is below `least` is left out.

    Args:
        weights: (panels, T, S), or (T, S).
        queries: T words, on the left of each panel.
        keys: S words, on the right; those of the queries when left out.
        titles: one per panel.
        title: over all.
        least: the smallest weight that gets a line.

    Raises:
        InputError: words or titles that do not fit the weights.
    """
    weights = array(weights, "attention")
    weights = weights[None] if weights.ndim == 2 else weights
    keys = queries if keys is None else keys
    if weights.ndim != 3 or weights.shape[1:] != (len(queries), len(keys)):
        raise InputError(
            f"attention has shape {weights.shape}; it should be (panels, {len(queries)}, {len(keys)}) for these words"
        )
    count, tall = len(weights), max(len(queries), len(keys))
    if titles is not None and len(titles) != count:
        raise InputError(f"{len(titles)} titles for {count} panels")
    figure, axes = canvas(
        min(8.0, 0.3 + 2.6 * count), 0.3 + 0.23 * tall + (0.3 if title else 0) + 0.25, 1, count, sharey=True
    )
    for index, (place, panel) in enumerate(zip(axes, weights, strict=True)):
        for row in range(len(queries)):
            for column in range(len(keys)):
                share = float(panel[row, column])
                if share >= least:
                    look = {"color": BLUE, "alpha": 0.25 + 0.75 * share, "linewidth": 0.4 + 3.2 * share}
                    place.plot([0, 1], [row, column], solid_capstyle="round", **look)
        for words, at, side in ((queries, -0.04, "right"), (keys, 1.04, "left")):
            for row, word in enumerate(words):
                place.text(at, row, word, ha=side, va="center", fontsize=8, color=INK)
        place.set(xlim=(-0.62, 1.62), ylim=(tall - 0.4, -0.6))
        place.set_axis_off()
        if titles is not None:
            place.set_title(titles[index], fontsize=9, loc="center")
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    told = f" ({'; '.join(map(str, titles))})" if titles is not None else ""
    return describe(
        figure,
        f"{title or 'Attention'}{told}: lines from {', '.join(map(str, queries))} to the words they look at among "
        f"{', '.join(map(str, keys))}; the thicker the more.",
    )


def heat(
    matrix, *, across: str, down: str, value: str, title: str | None = None, size: tuple[float, float] = (5.6, 2.7)
) -> Figure:
    """A table of numbers too large to write out: the darker, the higher.

    Args:
        matrix: (rows, columns).
        across: what the columns count.
        down: what the rows count.
        value: what the numbers are.
        title: of the figure.
        size: in inches.
    """
    matrix = array(matrix, "the matrix", 2)
    figure, (axes,) = canvas(*size)
    drawn = axes.imshow(matrix, cmap=LOW_TO_HIGH, aspect="auto")
    axes.grid(False)
    axes.set(xlabel=across, ylabel=down)
    bar = figure.colorbar(drawn, ax=axes, fraction=0.04, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label(value, fontsize=8, color=QUIET)
    if title:
        axes.set_title(title)
    return describe(figure, f"{title or value}: {value} for each {down} (rows) and {across} (columns), as heat.")


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
        same_length("titles", titles, len(maps), "maps")
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
        place.set_xlabel(wrap(text, int(size * 14)), fontsize=8, labelpad=3)
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
