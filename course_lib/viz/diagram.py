"""Architecture diagrams drawn from the code: what `trace` saw of one forward pass, as boxes and arrows."""

import dataclasses
from collections.abc import Iterable, Mapping
from itertools import pairwise

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import nn

from course_lib.viz.style import INK, QUIET, canvas, describe
from course_lib.viz.trace import Box, trace

LINE = "#7A828A"
TINTS = {"left": ("#E3F0F9", "#0072B2"), "right": ("#FDF3DF", "#B87F00"), "middle": ("#E2F4EE", "#007A5A")}
"""Fill and edge of the boxes that the first input reaches, that the second one reaches, and that both reach."""
WIDTH, HEIGHT, ROW, COLUMN = 2.05, 0.42, 0.9, 3.0
"""Of a box, and between the middles of two rows and of two towers; in the units of the drawing, nearly inches."""
ABOVE, BELOW, TURN = 0.31, 0.13, 0.1
"""Over the boxes of a group up to its frame, where its name stands; under them; and where an arrow turns above a box,
below that name."""
SMALL_WIDTH, SMALL_HEIGHT = 1.04, 0.28
APART = 0.86
"""Between the middles of two boxes of one row, in columns: less, and they would cover each other."""


def letters(boxes: list[Box]) -> dict[int, str]:
    """Names for batch sizes: the first input's first dimension is N, the second's M; equal ones share a letter."""
    names: dict[int, str] = {}
    for box in boxes:
        if box.kind == "input" and box.shape and box.shape[0] not in names:
            names[box.shape[0]] = "NMKL"[len(names) % 4]
    return names


def written_shape(shape: tuple[int | str, ...], names: Mapping[int, str], both: bool = False) -> str:
    """A shape as a reader writes it: (N, 65, 128); `both` names the second dimension too, as in (N, M) logits."""
    parts = [
        names.get(size, str(size)) if index == 0 or (both and index == 1) else str(size)
        for index, size in enumerate(shape)
    ]
    return f"({', '.join(parts)})"


def count(number: int) -> str:
    """A number of parameters, short: 812, 49.2 k, 1.35 M."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= limit:
            return f"{number / limit:.3g}{unit}"
    return str(number)


@dataclasses.dataclass
class Layout:
    """Where each box stands: middles, in the units of the drawing."""

    x: dict[Box, float]
    y: dict[Box, float]
    joint: set[Box]  # those that more than one input reaches
    beside: list[tuple[Box, Box]]  # (a learned tensor, the box it goes into)

    def tint(self, box: Box) -> tuple[str, str]:
        """Fill and edge."""
        return TINTS["left" if self.x[box] < -1e-6 else "right" if self.x[box] > 1e-6 else "middle"]


def arrange(boxes: list[Box]) -> Layout:
    """Gives every box its place: below all its sources, in the column of the inputs that reach it.

    Args:
        boxes: as `trace` gives them.
    """
    places = [box for box in boxes if box.kind != "parameter"]
    roots = [box for box in places if box.kind == "input"]
    rows: dict[Box, int] = {}
    inputs: dict[Box, frozenset[int]] = {}
    for box in places:
        before = [source for source in box.sources if source in rows]
        rows[box] = 1 + max((rows[source] for source in before), default=-1)
        own = {roots.index(box)} if box in roots else set()
        inputs[box] = frozenset(own.union(*(inputs[source] for source in before)))
    ends = [box for box in places if box.kind == "output" and len(inputs[box]) == 1]
    for box in ends:  # towers end side by side, however many boxes each has
        rows[box] = max(rows[end] for end in ends)
    for box in places:
        if box.kind == "output" and len(inputs[box]) > 1:
            rows[box] = max(rows[box], 1 + max(rows[source] for source in box.sources if source in rows))

    column = {box: sum(inputs[box]) / max(len(inputs[box]), 1) - (len(roots) - 1) / 2 for box in places}
    cells: dict[tuple[int, float], list[Box]] = {}
    for box in places:
        cells.setdefault((rows[box], round(column[box], 6)), []).append(box)
    for cell in cells.values():  # boxes that would cover each other move apart
        for index, box in enumerate(cell):
            column[box] += (index - (len(cell) - 1) / 2) * APART
    for row in set(rows.values()):
        line = sorted((box for box in places if rows[box] == row), key=column.get)
        moved = 0.0
        for left, right in pairwise(line):
            short = column[left] + APART - column[right]
            if short > 1e-6:
                column[right] += short
                moved += short
        for box in line:
            column[box] -= moved / 2
    x = {box: column[box] * COLUMN for box in places}
    y = {box: -rows[box] * ROW for box in places}

    beside = []
    for box in places:
        learned = [source for source in box.sources if source.kind == "parameter"]
        side = -1 if x[box] < -1e-6 else 1
        for index, small in enumerate(learned):
            x[small] = x[box] + side * (WIDTH / 2 + 0.2 + SMALL_WIDTH / 2)
            y[small] = y[box] + ((len(learned) - 1) / 2 - index) * (SMALL_HEIGHT + 0.06)
            beside.append((small, box))
    return Layout(x, y, {box for box in places if len(inputs[box]) > 1}, beside)


def architecture(
    model: nn.Module, *inputs: torch.Tensor, depth: int = 2, title: str | None = None, **more: torch.Tensor
) -> Figure:
    """Draws a model from its code: its boxes, the shapes that pass between them, and what each learns.

    Read it from top to bottom. What comes from the first input stands at the left, what comes from the second at the
    right, and what comes from both in the middle; small boxes at the side are single learned tensors; a dashed frame
    means frozen.

    Args:
        model: any module.
        inputs: what its `forward` takes. Give different batch sizes where the code allows it (3 pictures, 5 texts):
            they are drawn as N and M.
        depth: how deep boxes are opened; 1 shows the model's own children, 2 theirs too.
        title: of the figure; the class's name and size when left out.
        more: inputs by name.

    Raises:
        InputError: no inputs.
    """
    boxes = trace(model, *inputs, depth=depth, **more)
    names, layout = letters(boxes), arrange(boxes)
    places = [box for box in boxes if box.kind != "parameter"]
    half = {box: (SMALL_WIDTH if box.kind == "parameter" else WIDTH) / 2 + 0.25 for box in boxes if box in layout.x}
    left, right = min(layout.x[box] - half[box] for box in half), max(layout.x[box] + half[box] for box in half)
    bottom, top = min(layout.y.values()) - 0.3, 0.3
    width = min(8.4, (right - left) * 1.08)
    figure, (axes,) = canvas(width, (top - bottom) * 0.92 + 0.3)
    inch = width / (right - left)  # of one unit of the drawing
    room = WIDTH * inch
    axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.set_axis_off()
    groups = dict.fromkeys(box.group for box in places if box.group)
    frames = {group: _frame([box for box in places if box.group == group], layout) for group in groups}
    for group, frame in frames.items():
        _draw_group(axes, model.get_submodule(group), group, frame, frames.values(), inch)
    for box in places:
        for source in box.sources:
            if source.kind != "parameter":
                _draw_arrow(axes, source, box, places, layout)
        _draw_box(axes, box, layout, names, room, feeds=any(box in other.sources for other in places))
    for small, box in layout.beside:
        _draw_learned(axes, small, box, layout)
    title = title or f"{type(model).__name__}: {count(sum(each.numel() for each in model.parameters()))} parameters"
    figure.suptitle(title, x=0.01, ha="left")
    chains = "; ".join(
        f"{box.path} from {', '.join(source.path for source in box.sources)}" for box in boxes if box.sources
    )
    return describe(figure, f"{title}. What feeds what: {chains}.")


def _rounded(axes: Axes, x: float, y: float, width: float, height: float, radius: float, **look) -> None:
    shape = f"round,pad=0,rounding_size={radius}"
    axes.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, boxstyle=shape, **look))


Frame = tuple[float, float, float, float]  # left, right, bottom, top


def _frame(inside: list[Box], layout: Layout) -> Frame:
    xs, ys = [layout.x[box] for box in inside], [layout.y[box] for box in inside]
    sides = min(xs) - WIDTH / 2 - 0.1, max(xs) + WIDTH / 2 + 0.1
    return *sides, min(ys) - HEIGHT / 2 - BELOW, max(ys) + HEIGHT / 2 + ABOVE


def _draw_group(axes: Axes, holder: nn.Module, path: str, frame: Frame, others: Iterable[Frame], inch: float) -> None:
    low, high, under, over = frame
    _rounded(
        axes,
        (low + high) / 2,
        (under + over) / 2,
        high - low,
        over - under,
        0.09,
        facecolor="#F6F7F9",
        edgecolor="#D3D8DD",
        linewidth=0.8,
        zorder=0,
    )
    learned = count(sum(each.numel() for each in holder.parameters()))
    text = {"fontsize": 6.6, "color": QUIET, "va": "top", "zorder": 3}  # on both sides of the arrow that enters
    axes.text(low + 0.07, over - 0.05, path, ha="left", **text)
    # Where another frame reaches into this one, its name stands: ours ends before it.
    end = min([high, *(left for left, _, low_end, top in others if low < left < high and low_end < over <= top)])
    about = f"{type(holder).__name__} · {learned}"
    if 0.056 * (len(path) + 2 + len(about)) > (end - low) * inch:  # a letter's width at this size, in inches
        about = learned
    axes.text(end - 0.07, over - 0.05, about, ha="right", **text)


def _arrow_head(axes: Axes, start: tuple[float, float], end: tuple[float, float], width: float = 1.1) -> None:
    look = {"arrowstyle": "-|>", "color": LINE, "linewidth": width, "mutation_scale": 9, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=look, zorder=1)


def _draw_arrow(axes: Axes, source: Box, box: Box, places: list[Box], layout: Layout) -> None:
    x, y = layout.x, layout.y
    start, end = (x[source], y[source] - HEIGHT / 2), (x[box], y[box] + HEIGHT / 2)
    between = [other for other in places if x[other] == x[box] == x[source] and y[box] < y[other] < y[source]]
    if between:  # past them, on the side where no learned tensors stand
        side = 1 if x[box] < -1e-6 else -1
        near, lane = x[box] + side * WIDTH / 2, x[box] + side * (WIDTH / 2 + 0.2)
        axes.plot([near, lane, lane], [y[source], y[source], y[box]], color=LINE, linewidth=1.1, zorder=1)
        _arrow_head(axes, (lane, y[box]), (near, y[box]))
    elif start[0] != end[0]:
        turn = end[1] + TURN
        axes.plot([start[0], start[0], end[0]], [start[1], turn, turn], color=LINE, linewidth=1.1, zorder=1)
        _arrow_head(axes, (end[0], turn + 0.001), end)
    else:
        _arrow_head(axes, start, end)


def _draw_box(axes: Axes, box: Box, layout: Layout, names: Mapping[int, str], room: float, feeds: bool) -> None:
    x, y, joint = layout.x[box], layout.y[box], box in layout.joint
    fill, edge = layout.tint(box)
    module = box.kind == "module"
    _rounded(
        axes,
        x,
        y,
        WIDTH,
        HEIGHT,
        0.06 if module else 0.2,
        facecolor=fill if module else "white",
        edgecolor=edge,
        linewidth=1.2,
        linestyle="--" if box.frozen else "-",
        zorder=2,
    )
    shape = written_shape(box.shape, names, joint)
    if module:
        learned = count(box.parameters) + (", frozen" if box.frozen else "") if box.parameters else ""
        lower = " · ".join(part for part in (box.repeats or box.what, learned) if part)
        if len(box.operations) + len(lower) > 38:  # too small to read: the title has the sum of the numbers
            lower = box.repeats or box.what
    else:
        lower = shape
    if box.operations:
        lower = f"{box.operations}  →  {lower}"
    head = box.name if module else box.path
    size = 8.2 if len(head) < 28 else 6.4
    axes.text(x, y + 0.075, head, ha="center", va="center", color=INK, fontweight="bold", fontsize=size, zorder=4)
    if len(lower) >= 40:
        lower = lower.replace("  ", " ")
    size = min(6.8, 0.93 * room / (0.0074 * len(lower)))  # a letter is about half as wide as its size
    axes.text(x, y - 0.105, lower, ha="center", va="center", fontsize=size, color=INK, zorder=4)
    if module and feeds and box.shape:
        white = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8}
        axes.text(x + 0.07, y - HEIGHT / 2 - 0.06, shape, fontsize=6.8, color=QUIET, va="top", zorder=3, bbox=white)


def _draw_learned(axes: Axes, small: Box, box: Box, layout: Layout) -> None:
    x, y = layout.x[small], layout.y[small]
    side = 1 if x > layout.x[box] else -1
    _arrow_head(axes, (x - side * SMALL_WIDTH / 2, y), (layout.x[box] + side * WIDTH / 2, layout.y[box]), 0.9)
    _rounded(
        axes,
        x,
        y,
        SMALL_WIDTH,
        SMALL_HEIGHT,
        0.05,
        facecolor="white",
        edgecolor="#9AA2AA",
        linewidth=0.9,
        linestyle="--" if small.frozen else "-",
        zorder=2,
    )
    size = written_shape(small.shape, {}) if small.shape else "one number"
    axes.text(x, y + 0.05, small.name, ha="center", va="center", fontsize=6.3, color=INK, zorder=4)
    axes.text(x, y - 0.07, size, ha="center", va="center", fontsize=5.8, color=QUIET, zorder=4)
