"""Figures of search: ranked lists, cells, a walk on a graph, and what speed costs in recall."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from course_lib.errors import CourseError, InputError
from course_lib.viz.curves import STROKES
from course_lib.viz.given import array
from course_lib.viz.style import BLUE, FAINT, GREEN, INK, ORANGE, PALETTE, QUIET, bare, canvas, describe

MARKERS = "osD^vP*X"


def ranked_lists(lists: Mapping[str, Sequence[bool]], *, title: str | None = None) -> Figure:
    """Answers in the order of their scores, a row for each query; a right one is dark and ticked.

    Args:
        lists: name of the query -> whether the answer at each place is right, the best-scored first.
        title: over all.

    Raises:
        InputError: there is no list, or the lists differ in length.
    """
    if not lists or len({len(marks) for marks in lists.values()}) != 1 or not len(next(iter(lists.values()))):
        raise InputError("lists should hold one or more lists of the same length, not empty")
    length = len(next(iter(lists.values())))
    figure, (axes,) = canvas(min(8.0, 1.8 + 0.5 * length), 0.75 + 0.42 * len(lists) + (0.25 if title else 0))
    for row, marks in enumerate(lists.values()):
        for place, right in enumerate(marks):
            axes.add_patch(
                Rectangle((place + 0.55, row - 0.38), 0.9, 0.76, facecolor=BLUE if right else FAINT, edgecolor=QUIET)
            )
            if right:
                axes.text(place + 1, row, "✓", ha="center", va="center", color="white", fontsize=11, weight="bold")
    axes.set(
        xlim=(0.45, length + 0.55), ylim=(len(lists) - 0.5, -0.5), xticks=range(1, length + 1),
        yticks=range(len(lists)), xlabel="place",
    )  # fmt: skip
    axes.set_yticklabels(lists)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title)
    told = "; ".join(
        f"{name}: right at {', '.join(str(i + 1) for i, right in enumerate(marks) if right) or 'no place'}"
        for name, marks in lists.items()
    )
    return describe(figure, f"{title or 'Ranked lists'}: the places of the right answers. {told}.")


def cells(points, centres, query, probes: int, *, title: str | None = None) -> Figure:
    """Points in the plane sorted into the cells of their nearest centres, and those that a query looks into.

    Args:
        points: (N, 2).
        centres: (C, 2).
        query: (2,).
        probes: how many of the nearest cells are looked into; their points are dark.
        title: over all.
    """
    points, centres, query = array(points, "points", 2), array(centres, "centres", 2), array(query, "query", 1)
    if not 1 <= probes <= len(centres):
        raise InputError(f"probes is {probes}; there are {len(centres)} cells")

    def nearest(where: np.ndarray) -> np.ndarray:
        return ((where[:, None] - centres[None]) ** 2).sum(-1).argmin(1)

    looked_into = ((centres - query) ** 2).sum(-1).argsort()[:probes]
    inside = np.isin(nearest(points), looked_into)
    figure, (axes,) = canvas(4.6, 4.2)
    low, high = points.min(0) - 0.1, points.max(0) + 0.1
    across, down = (np.linspace(low[axis], high[axis], 400) for axis in (0, 1))
    plane = np.stack(np.meshgrid(across, down), -1).reshape(-1, 2)
    owner = nearest(plane).reshape(400, 400)
    axes.contour(across, down, owner, levels=np.arange(len(centres)) + 0.5, colors=QUIET, linewidths=0.7)
    axes.contourf(across, down, np.isin(owner, looked_into).astype(float), levels=[0.5, 1.5], colors=["#E8F1F8"])
    axes.scatter(*points[~inside].T, s=6, color="#B9BFC5", label="not looked at")
    axes.scatter(*points[inside].T, s=9, color=BLUE, label="compared with the query")
    axes.scatter(*centres.T, s=42, marker="+", color=INK, linewidths=1.4, label="centre of a cell")
    axes.scatter(*query, s=130, marker="*", color=ORANGE, edgecolors=INK, linewidths=0.8, zorder=5, label="query")
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[], aspect="equal")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncol=2, handletextpad=0.3)
    if title:
        axes.set_title(title)
    return describe(
        figure,
        f"{title or 'Cells'}: {len(points)} points in {len(centres)} cells; a star, the query, looks into the {probes} "
        f"nearest, which hold {int(inside.sum())} points.",
    )


def walk(points, links: Sequence[Sequence[int]], path: Sequence[int], query, *, title: str | None = None) -> Figure:
    """A graph of near neighbours in the plane, and the walk over it to what is nearest to a query.

    Args:
        points: (N, 2).
        links: for each point the numbers of those it is linked with.
        path: numbers of the points that the walk visits, from its start to its end.
        query: (2,).
        title: over all.
    """
    points, query = array(points, "points", 2), array(query, "query", 1)
    if len(links) != len(points) or not len(path):
        raise InputError("links should name the neighbours of every point, and path at least one point")
    figure, (axes,) = canvas(4.6, 4.2)
    for point, others in enumerate(links):
        for other in others:
            axes.plot(*points[[point, int(other)]].T, color="#C9CED3", linewidth=0.6, zorder=1)
    axes.scatter(*points.T, s=9, color=QUIET, zorder=2)
    way = points[list(path)]
    axes.plot(
        *way.T, color=BLUE, linewidth=2.0, marker="o", markersize=5, zorder=3, label=f"walk, {len(path) - 1} steps"
    )
    axes.scatter(*way[0], s=60, marker="s", color=GREEN, edgecolors=INK, zorder=4, label="start")
    axes.scatter(*query, s=130, marker="*", color=ORANGE, edgecolors=INK, linewidths=0.8, zorder=5, label="query")
    axes.set_aspect("equal")
    bare(axes)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncol=3, handletextpad=0.3)
    if title:
        axes.set_title(title)
    return describe(
        figure, f"{title or 'A walk'}: a graph of {len(points)} points; from its start the walk takes {len(path) - 1} "
        "steps along links, each nearer to the query, a star.",
    )  # fmt: skip


def recall_and_time(
    curves: Mapping[str, Sequence[tuple[float, float, str]]], *, title: str | None = None, among: str = ""
) -> Figure:
    """How many of the true neighbours an index finds, over the time a query takes: up and to the left is better.

    Args:
        curves: name of an index -> (milliseconds, recall, label) for each setting, in the order of effort.
        title: over all.
        among: what was searched, for the axis.
    """
    if not curves or not all(curves.values()):
        raise InputError("there is nothing to draw: give each index at least one point")
    figure, (axes,) = canvas(7.2, 3.9)
    for index, (name, spots) in enumerate(curves.items()):
        colour = PALETTE[index % len(PALETTE)]
        time, recall = [spot[0] for spot in spots], [spot[1] for spot in spots]
        axes.plot(
            time, recall, color=colour, marker=MARKERS[index % len(MARKERS)], linestyle=STROKES[index % len(STROKES)],
            label=name,
        )  # fmt: skip
        for x, y, label in spots:
            axes.annotate(label, (x, y), (4, -9), textcoords="offset points", fontsize=7, color=QUIET)
    axes.set_xscale("log")
    axes.set(xlabel="milliseconds a query", ylabel=f"recall@10{' among ' + among if among else ''}", ylim=(-0.03, 1.06))
    axes.legend(loc="lower right")
    if title:
        axes.set_title(title)
    told = "; ".join(
        f"{name}: {', '.join(f'{recall:.2f} at {time:.3g} ms' for time, recall, _ in spots)}"
        for name, spots in curves.items()
    )
    return describe(figure, f"{title or 'Recall and time'}: share of true neighbours found over time. {told}.")


def text_box(ask: Callable[[str], None], example: str = "a yellow ring and a small cross") -> None:
    """A box to type a query into, below which `ask` shows what it finds; a sentence instead where there are no widgets.

    Args:
        ask: takes the text and displays something.
        example: shown in grey in the empty box.
    """
    try:
        import ipywidgets
    except ImportError:
        print('There are no widgets here: call ask("...") with your words instead.')
        return
    from IPython.display import display

    box = ipywidgets.Text(placeholder=example, description="find", continuous_update=False)
    shown = ipywidgets.Output()

    def on_change(change) -> None:
        shown.clear_output()
        with shown:
            try:
                ask(change["new"])
            except CourseError as error:
                print(error)

    box.observe(on_change, names="value")
    display(box, shown)
