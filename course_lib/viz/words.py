"""Figures about text: pieces, word vectors, next-token probabilities, splits, search trees and caches."""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from course_lib.errors import InputError
from course_lib.viz.embedding import principal_components
from course_lib.viz.given import array
from course_lib.viz.style import BLUE, FAINT, INK, ORANGE, PALETTE, QUIET, bare, canvas, describe, empty_figure

MONO = "DejaVu Sans Mono"
CHARACTER, PADDING, LINE, GAP = 0.068, 0.1, 0.27, 0.035  # of a piece of text at 8 points, in inches


def pieces(
    rows: Mapping[str, Sequence[str]],
    *,
    marks: Mapping[str, Collection[int]] | None = None,
    title: str | None = None,
    marked: str | None = None,
    width: float = 7.8,
) -> Figure:
    """Texts cut into pieces: a row for each text, a box for each piece; long rows go on in the next line.

    Args:
        rows: label -> pieces, in the order of the text.
        marks: label -> indices of the pieces that stand out, drawn on orange in a thick frame.
        title: of the figure.
        marked: what the marked pieces are, said under the figure.
        width: of the figure in inches.

    Raises:
        InputError: no rows, an empty row, or marks of a row that is not there.
    """
    marks = dict(marks or {})
    if not rows or not all(len(row) for row in rows.values()):
        raise InputError("there is nothing to draw: give at least one row, each with at least one piece")
    if missing := set(marks) - set(rows):
        raise InputError(f"marks are given for {', '.join(sorted(missing))}, which is no row")
    left = 0.15 + 0.072 * max(map(len, rows))
    placed: list[tuple[str, int, float, int, float]] = []  # label, index, x, line, width of the box
    starts, line = {}, 0
    for label, row in rows.items():
        starts[label], x = line, left
        for index, piece in enumerate(row):
            wide = CHARACTER * max(1, len(piece)) + PADDING
            if x + wide > width and x > left:
                x, line = left, line + 1
            placed.append((label, index, x, line, wide))
            x += wide + GAP
        line += 1
    head, foot = (0.32 if title else 0.06), (0.26 if marked else 0.06)
    height = head + foot + LINE * line + 0.06 * len(rows)
    figure = empty_figure(width, height)
    axes = bare(figure.add_axes((0, 0, 1, 1)))
    axes.set(xlim=(0, width), ylim=(0, height))
    order = {label: number for number, label in enumerate(rows)}

    def y_of(at: int, label: str) -> float:
        return height - head - LINE * (at + 1) - 0.06 * order[label] + 0.03

    for label, start in starts.items():
        axes.text(left - 0.1, y_of(start, label) + 0.1, label, ha="right", va="center", fontsize=8, color=QUIET)
    for label, index, x, at, wide in placed:
        standing = index in marks.get(label, ())
        look = ("#FBD99B", ORANGE, 1.8) if standing else (("#E3F0F9", "#EEF1F3")[index % 2], "#B9C6D0", 0.8)
        axes.add_patch(Rectangle((x, y_of(at, label)), wide, 0.21, facecolor=look[0], edgecolor=look[1], lw=look[2]))
        shown = rows[label][index].replace(" ", "␣")
        axes.text(x + wide / 2, y_of(at, label) + 0.1, shown, ha="center", va="center", fontsize=8, family=MONO)
    if title:
        axes.text(0.05, height - 0.1, title, va="top", fontsize=10, fontweight="bold")
    if marked:
        axes.add_patch(Rectangle((left, 0.07), 0.2, 0.12, facecolor="#FBD99B", edgecolor=ORANGE, lw=1.8))
        axes.text(left + 0.28, 0.125, marked, va="center", fontsize=8, color=QUIET)
    alt = "; ".join(f"{label}: {' | '.join(row[:24])}{' …' if len(row) > 24 else ''}" for label, row in rows.items())
    return describe(figure, f"{title or 'Texts cut into pieces'}. {alt}.")


def next_tokens(
    panels: Mapping[str, Mapping[str, float]],
    *,
    kept: Mapping[str, Collection[str]] | None = None,
    columns: int = 3,
    limit: float | None = None,
    title: str | None = None,
) -> Figure:
    """Probabilities of the next token, a panel for each context or setting.

    Args:
        panels: name of the panel -> token -> probability, in the order in which they are drawn.
        kept: name of the panel -> the tokens that may be chosen; the bars of the others are hollow.
        columns: panels side by side.
        limit: where the axis ends; the largest probability when left out.
        title: of the figure.

    Raises:
        InputError: no panel, or an empty one.
    """
    if not panels or not all(panels.values()):
        raise InputError("there is no token to draw: give each panel at least one")
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    most = max(map(len, panels.values()))
    figure, places = canvas(7.8, rows * (0.62 + 0.165 * most) + (0.3 if title else 0), rows, columns)
    limit = limit or max(max(panel.values()) for panel in panels.values())
    for place in places[len(panels) :]:
        bare(place)
    for place, (name, panel) in zip(places, panels.items(), strict=False):
        tokens, numbers = list(panel), array(list(panel.values()), name, 1)
        for row, (token, number) in enumerate(zip(tokens, numbers, strict=True)):
            free = kept is None or token in kept.get(name, panel)
            look = {"color": BLUE} if free else {"facecolor": "white", "edgecolor": QUIET, "hatch": "////", "lw": 0.7}
            place.barh(row, number, height=0.7, **look)
            place.annotate(
                f"{number:.2f}", (number, row), (3, 0), textcoords="offset points", va="center", fontsize=7, color=QUIET
            )
        place.set_yticks(range(len(tokens)), [token.replace(" ", "␣") for token in tokens], fontsize=8)
        place.set(ylim=(most - 0.4, -0.6), xlim=(0, 1.18 * limit))
        place.set_xticks([])
        place.grid(False)
        place.spines[["bottom", "left"]].set_visible(False)
        place.set_title(name, fontsize=8.5, fontweight="normal")
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    hollow = " Hollow bars are tokens that may not be chosen." if kept else ""
    return describe(
        figure,
        f"{title or 'Probabilities of the next token'}: one panel of bars for each of {'; '.join(panels)}.{hollow}",
    )


def _spread(axes, points: np.ndarray, texts: Sequence[str]) -> None:
    """Writes each text beside its point, on the side on which its neighbours leave most room."""
    from matplotlib.transforms import Bbox

    figure = axes.figure
    figure.canvas.draw()
    spots = axes.transData.transform(points)
    taken = [Bbox.from_extents(x - 4, y - 4, x + 4, y + 4) for x, y in spots]
    scale = figure.dpi / 72
    choices = [
        (5, 0, "left", "center"),
        (-5, 0, "right", "center"),
        (0, 5, "center", "bottom"),
        (0, -5, "center", "top"),
    ]
    choices += [(4, 5, "left", "bottom"), (4, -5, "left", "top"), (-4, 5, "right", "bottom"), (-4, -5, "right", "top")]
    for (x, y), text, own in zip(spots, texts, list(taken), strict=True):
        best = None
        wide, tall = 4.6 * scale * len(text), 8.5 * scale
        for dx, dy, ha, va in choices:
            x0 = x + dx * scale - {"left": 0, "right": wide, "center": wide / 2}[ha]
            y0 = y + dy * scale - {"bottom": 0, "top": tall, "center": tall / 2}[va]
            box = Bbox.from_bounds(x0, y0, wide, tall)
            clash = sum(box.overlaps(other) for other in taken if other is not own)
            if best is None or clash < best[0]:
                best = clash, (dx, dy, ha, va), box
        _, (dx, dy, ha, va), box = best
        taken.append(box)
        axes.annotate(text, axes.transData.inverted().transform((x, y)), (dx, dy), textcoords="offset points",
                      ha=ha, va=va, fontsize=7.5, color=INK)  # fmt: skip


def word_map(vectors: Mapping[str, object], groups: Mapping[str, Sequence[str]], *, title: str | None = None) -> Figure:
    """Word vectors seen from the two directions in which they differ most; kinds of words by colour and marker.

    Args:
        vectors: word -> (D,).
        groups: kind -> the words of it that are drawn.
        title: of the figure.

    Raises:
        InputError: a word without a vector, or fewer than three words.
    """
    names = [word for group in groups.values() for word in group]
    points = _plane(vectors, names)
    figure, (axes,) = canvas(7.2, 4.4)
    start = 0
    for index, (kind, group) in enumerate(groups.items()):
        part = points[start : start + len(group)]
        start += len(group)
        axes.scatter(*part.T, s=34, marker="osD^vP*X"[index % 8], color=PALETTE[index % len(PALETTE)], label=kind,
                     edgecolor="white", linewidth=0.5, zorder=2)  # fmt: skip
    axes.set(xlabel="first principal component", ylabel="second principal component")
    axes.margins(0.12)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    if title:
        axes.set_title(title)
    _spread(axes, points, names)
    kinds = "; ".join(f"{kind}: {', '.join(group)}" for kind, group in groups.items())
    return describe(figure, f"{title or 'Word vectors'}, in the plane of two principal components, by kind. {kinds}.")


def analogies(vectors: Mapping[str, object], pairs: Sequence[tuple[str, str]], *, title: str | None = None) -> Figure:
    """An arrow from the first word of each pair to the second: alike pairs have arrows alike.

    Args:
        vectors: word -> (D,).
        pairs: such as [("star", "stars"), ("ring", "rings")].
        title: of the figure.

    Raises:
        InputError: a word without a vector, or fewer than two pairs.
    """
    if len(pairs) < 2:
        raise InputError("an analogy compares pairs: give at least two")
    names = [word for pair in pairs for word in pair]
    points = _plane(vectors, names)
    figure, (axes,) = canvas(5.8, 3.9)
    for one, other in zip(points[::2], points[1::2], strict=True):
        axes.add_patch(FancyArrowPatch(one, other, arrowstyle="-|>", mutation_scale=9, color="#8A949C", shrinkA=3,
                                       shrinkB=3, lw=1.1, zorder=1))  # fmt: skip
    axes.scatter(*points[::2].T, s=30, color=BLUE, marker="o", zorder=2)
    axes.scatter(*points[1::2].T, s=34, color=ORANGE, marker="s", zorder=2)
    axes.set(xlabel="first principal component", ylabel="second principal component")
    axes.margins(0.14)
    if title:
        axes.set_title(title)
    _spread(axes, points, names)
    said = ", ".join(f"{one} to {other}" for one, other in pairs)
    return describe(figure, f"{title or 'Analogies'}: arrows in the plane of two principal components, {said}.")


def _plane(vectors: Mapping[str, object], names: Sequence[str]) -> np.ndarray:
    if missing := [name for name in names if name not in vectors]:
        raise InputError(f"there is no vector for {', '.join(missing)}")
    if len(names) < 3:
        raise InputError("a plane needs three words or more")
    return principal_components(np.stack([array(vectors[name], name, 1) for name in names]), 2)[0]


def lattice(
    word: str,
    probabilities: Mapping[tuple[int, int], float],
    best: Sequence[tuple[int, int]],
    *,
    title: str | None = None,
) -> Figure:
    """All splits of a word into known pieces: an arc for each piece, the most probable path in orange and thick.

    Args:
        word: its characters stand along the line.
        probabilities: (start, end) -> probability of the piece word[start:end].
        best: the pieces of the best path, as (start, end), from left to right.
        title: of the figure.

    Raises:
        InputError: a path that does not lead from the beginning of the word to its end over the pieces given.
    """
    path = [(int(start), int(end)) for start, end in best]
    ends = [start for start, _ in path] + [path[-1][1] if path else -1]
    joined = path and all(one[1] == other[0] for one, other in pairwise(path))
    if not joined or ends[0] != 0 or ends[-1] != len(word) or not set(path) <= set(probabilities):
        raise InputError(f"the path {path} does not lead through {word!r} over the pieces given")
    longest = max(end - start for start, end in probabilities)
    figure, (axes,) = canvas(7.8, 1.3 + 0.36 * longest)
    bare(axes)
    for (start, end), probability in sorted(probabilities.items(), key=lambda pair: (pair[0] in path, pair[0])):
        chosen, high = (start, end) in path, 0.62 * (end - start) ** 0.9
        turn = np.linspace(0, np.pi, 40)
        across, up = (start + end) / 2 - (end - start) / 2 * np.cos(turn), 0.12 + high * np.sin(turn)
        axes.plot(across, up, color=ORANGE if chosen else "#AFC3D1", lw=2.8 if chosen else 1.0, zorder=2 + chosen)
        text = f"{word[start:end]}\n{probability:.3f}" if chosen or end - start > 1 else f"{probability:.3f}"
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        axes.text((start + end) / 2, 0.12 + high, text, ha="center", va="center", fontsize=7, bbox=box, zorder=4,
                  fontweight="bold" if chosen else "normal", color=INK if chosen else QUIET)  # fmt: skip
    axes.plot(range(len(word) + 1), [0.12] * (len(word) + 1), "o", color=INK, markersize=4, zorder=5)
    for place, letter in enumerate(word):
        axes.text(place + 0.5, -0.2, letter, ha="center", va="center", fontsize=12, family=MONO)
    axes.set(xlim=(-0.3, len(word) + 0.3), ylim=(-0.45, 0.62 * longest**0.9 + 0.45))
    if title:
        axes.set_title(title)
    said = " | ".join(word[start:end] for start, end in path)
    return describe(
        figure, f"{title or 'Splits of a word'}: arcs over {word!r} for each known piece; the best path is {said}."
    )


def beam_tree(steps: Sequence[Sequence[tuple[int, str, float, bool]]], *, title: str | None = None) -> Figure:
    """A beam search from left to right: what each step tried, what it kept.

    Args:
        steps: per step its candidates, each (index of its parent among those the step before kept, token, log
            probability of the whole beginning, kept or not). The parents of the first step are all 0: the prompt.
        title: of the figure.

    Raises:
        InputError: no steps, or a parent that is not there.
    """
    if not steps or not all(steps):
        raise InputError("there is no candidate to draw: give at least one step, each with at least one")
    most = max(map(len, steps))
    figure, (axes,) = canvas(7.8, 0.7 + 0.34 * most)
    bare(axes)
    parents = [(0.0, (most - 1) / 2)]
    axes.plot(*parents[0], "o", color=INK, markersize=6)
    for number, step in enumerate(steps, 1):
        offset, kept_here = (most - len(step)) / 2, []
        for row, (parent, token, score, kept) in enumerate(step):
            if not 0 <= parent < len(parents):
                raise InputError(f"step {number} names parent {parent}, and {len(parents)} were kept before it")
            spot = float(number), row + offset
            (x0, y0), lean = parents[parent], 0.36 if number > 1 else 0.03
            axes.plot([x0 + lean, spot[0] - 0.36], [y0, spot[1]], color=ORANGE if kept else "#C8D1D8",
                      lw=2.0 if kept else 0.9, zorder=1)  # fmt: skip
            look = {"facecolor": "#FBD99B" if kept else "white", "edgecolor": ORANGE if kept else "#C8D1D8"}
            axes.add_patch(FancyBboxPatch((spot[0] - 0.34, spot[1] - 0.3), 0.68, 0.6, lw=1.6 if kept else 0.8, zorder=2,
                                          boxstyle="round,pad=0,rounding_size=0.08", **look))  # fmt: skip
            axes.text(*spot, f"{token}  {score:.1f}", ha="center", va="center", fontsize=7.5, zorder=3,
                      fontweight="bold" if kept else "normal", color=INK if kept else QUIET)  # fmt: skip
            if kept:
                kept_here.append(spot)
        parents = kept_here
    axes.set(xlim=(-0.15, len(steps) + 0.45), ylim=(most - 0.45, -0.55))
    if title:
        axes.set_title(title)
    kept = "; ".join(f"step {n}: {', '.join(token for _, token, _, k in step if k)}" for n, step in enumerate(steps, 1))
    return describe(figure, f"{title or 'Beam search'}: a tree of candidates from left to right; kept in {kept}.")


def cache_steps(length: int = 6) -> Figure:
    """What a decoder computes at each step, without a cache and with one.

    Args:
        length: tokens that are written.

    Raises:
        InputError: fewer than two tokens.
    """
    if length < 2:
        raise InputError(f"length is {length}; a cache begins to pay at two tokens")
    figure, places = canvas(6.6, 0.75 + 0.29 * length, 1, 2)
    computed = [length * (length + 1) // 2, length]
    for place, name, total in zip(places, ("without a cache", "with a cache"), computed, strict=True):
        for step in range(length):
            for token in range(step + 1):
                fresh = name.startswith("without") or token == step
                look = {"facecolor": BLUE} if fresh else {"facecolor": "white", "edgecolor": BLUE, "hatch": "////"}
                place.add_patch(Rectangle((token + 0.06, step + 0.06), 0.88, 0.88, linewidth=0.8, **look))
        place.set(xlim=(0, length), ylim=(length, 0), xlabel="keys and values of token", ylabel="step")
        place.set_xticks(np.arange(length) + 0.5, range(1, length + 1))
        place.set_yticks(np.arange(length) + 0.5, range(1, length + 1))
        place.grid(False)
        place.set_title(f"{name}: {total} computed")
    places[1].text(length - 0.1, 0.55, "filled: computed now\nhatched: kept from before", ha="right", va="center",
                   fontsize=7.5, color=QUIET)  # fmt: skip
    return describe(
        figure,
        f"Keys and values over {length} steps of decoding. Without a cache every step computes those of all tokens so "
        f"far, {computed[0]} in all; with one only those of the new token, {computed[1]} in all, and keeps the others.",
    )


def who_sees_whom(
    matrices: Mapping[str, object], *, rows: str = "output at position", columns: str = "input at position"
) -> Figure:
    """Which input a model's output depends on: a filled cell where it does.

    Args:
        matrices: name -> boolean (T, S), row by output position, column by input position.
        rows: what the rows are.
        columns: what the columns are.

    Raises:
        InputError: no matrix.
    """
    if not matrices:
        raise InputError("there is no matrix to draw")
    figure, places = canvas(2.5 * len(matrices), 2.75, 1, len(matrices))
    for place, (name, matrix) in zip(places, matrices.items(), strict=True):
        matrix = array(matrix, name, 2) > 0
        for (row, column), seen in np.ndenumerate(matrix):
            look = {"facecolor": BLUE} if seen else {"facecolor": "white", "edgecolor": FAINT}
            place.add_patch(Rectangle((column + 0.06, row + 0.06), 0.88, 0.88, linewidth=0.8, **look))
        height, width = matrix.shape
        place.set(xlim=(0, width), ylim=(height, 0), xlabel=columns, aspect="equal")
        place.set_xticks(np.arange(width) + 0.5, range(1, width + 1))
        place.set_yticks(np.arange(height) + 0.5, range(1, height + 1))
        place.grid(False)
        place.set_title(name, fontsize=9)
    places[0].set_ylabel(rows)
    return describe(
        figure,
        f"Who sees whom, measured: for {', '.join(matrices)}, a filled cell where an output depends on an input.",
    )


def gates(values: Mapping[str, object], words: Sequence[str], *, title: str | None = None) -> Figure:
    """What the gates of a recurrent network do as it reads, a row for each gate, a column for each word.

    Args:
        values: name of the gate -> (T,) numbers from 0 to 1.
        words: T words.
        title: of the figure.

    Raises:
        InputError: gates that are not one number a word.
    """
    rows = np.stack([array(row, name, 1) for name, row in values.items()])
    if rows.shape[1] != len(words):
        raise InputError(f"{rows.shape[1]} values for {len(words)} words")
    figure, (axes,) = canvas(7.8, 0.9 + 0.3 * len(rows))
    axes.imshow(rows, vmin=0, vmax=1, cmap="course_low_to_high", aspect="auto")
    for (row, column), number in np.ndenumerate(rows):
        axes.text(column, row, f"{number:.1f}", ha="center", va="center", fontsize=7,
                  color="white" if number > 0.55 else INK)  # fmt: skip
    axes.set_xticks(range(len(words)), words, rotation=35, ha="right")
    axes.set_yticks(range(len(rows)), list(values))
    axes.grid(False)
    if title:
        axes.set_title(title)
    return describe(figure, f"{title or 'Gates'}: {', '.join(values)} as a row of cells over {' '.join(words)}.")
