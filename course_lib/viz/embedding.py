"""Contrastive learning, seen: whom a loss pushes, where a margin lies, vectors on a circle, a space by two measures."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from course_lib.errors import InputError
from course_lib.viz.curves import STROKES
from course_lib.viz.figures import array
from course_lib.viz.style import BLUE, FAINT, INK, ORANGE, PALETTE, QUIET, VERMILION, bare, canvas, describe

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
    for place, (name, (pictures, texts)) in zip(axes, panels.items(), strict=True):
        pictures, texts = array(pictures, "pictures", 2), array(texts, "texts", 2)
        if pictures.shape != texts.shape or pictures.shape[1] != 2:
            raise InputError(f"{name} has {pictures.shape} and {texts.shape}; both should be (pairs, 2)")
        bare(place).plot(np.cos(angle), np.sin(angle), color=FAINT, linewidth=1.2, zorder=0)
        for one, other in zip(pictures, 1.13 * texts, strict=True):
            place.plot(*np.stack([one, other]).T, color=QUIET, linewidth=0.7, zorder=1)
        place.scatter(*pictures.T, s=24, color=BLUE, edgecolor="white", linewidth=0.4, label="pictures", zorder=2)
        place.scatter(
            *(1.13 * texts).T, s=22, marker="s", color=ORANGE, edgecolor="white", linewidth=0.4, label="texts", zorder=2
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
