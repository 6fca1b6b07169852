"""One look for every figure of the course, and the one way to display a figure.

The colours are those of Okabe and Ito ("Color Universal Design", 2008): readers with any of the common kinds of colour
blindness can tell them apart. The font, DejaVu Sans, ships with matplotlib: a figure looks the same on every machine.
"""

import base64
import html
import io
from collections.abc import Iterator

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from course_lib.errors import InputError

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
PALETTE = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK)
"""The order in which lines and bars take their colours; yellow is left out, being too pale for lines on white."""

INK, QUIET, FAINT = "#22262B", "#6B7178", "#E4E7EA"
"""Text, secondary text and reference lines, grids and frames."""

LOW_TO_HIGH = LinearSegmentedColormap.from_list(
    "course_low_to_high", ["#F7FAFC", "#CFE3F1", "#8CBEDF", "#3D8FC4", "#0B5C94", "#06304F"]
)
"""Heat maps: the darker, the higher. Lightness alone carries the value, so it also survives a grey printer."""

HEAT = LinearSegmentedColormap.from_list("course_heat", ["#FFF1C9", "#FDBB5C", "#EE6A24", "#B3200F", "#5C0512"])
"""Attention and token maps, laid over a grey picture."""

DPI = 90
STYLE = {
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.facecolor": "white",
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "image.cmap": "course_low_to_high",
    "image.interpolation": "nearest",
}

if LOW_TO_HIGH.name not in matplotlib.colormaps:
    matplotlib.colormaps.register(LOW_TO_HIGH)


def use() -> None:
    """Gives every figure drawn from now on, the reader's own included, the look of the course."""
    matplotlib.rcParams.update(STYLE)


def empty_figure(width: float, height: float, layout: str | None = None) -> Figure:
    """A figure in the look of the course, in inches. It is not one of pyplot's: nothing shows it twice or keeps it."""
    use()
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def canvas(width: float, height: float, rows: int = 1, columns: int = 1, **options) -> tuple[Figure, list[Axes]]:
    """A figure in the look of the course and its axes, row by row.

    Args:
        width: in inches; a notebook's column holds about 8.
        height: in inches.
        rows: of axes.
        columns: of axes.
        options: passed to `Figure.subplots`.
    """
    figure = empty_figure(width, height, "constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False, **options).flat)


def bare(axes: Axes) -> Axes:
    """Takes frame, grid and ticks away: for axes that hold a picture."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def colours(count: int) -> Iterator[str]:
    """The first `count` colours of the palette, from its beginning again when it is used up."""
    return (PALETTE[index % len(PALETTE)] for index in range(count))


def describe(figure: Figure, alt: str) -> Figure:
    """Gives a figure the text that stands for it where it cannot be seen."""
    figure.set_label(alt)
    return figure


def encode(figure: Figure) -> tuple[str, bytes]:
    """A figure as the bytes of a small image file.

    Returns:
        ("image/png" or "image/jpeg", the bytes), whichever is smaller: lines and text end as a PNG of at most 256
        colours, a figure full of photographs as a JPEG. Same figure, same bytes.
    """
    raw = io.BytesIO()
    figure.savefig(raw, format="rgba")
    width, height = (int(side) for side in figure.canvas.get_width_height())
    drawn = Image.frombytes("RGBA", (width, height), raw.getvalue()).convert("RGB")
    png, jpeg = io.BytesIO(), io.BytesIO()
    drawn.quantize(256, dither=Image.Dither.NONE).save(png, format="PNG", optimize=True)
    drawn.save(jpeg, format="JPEG", quality=85, subsampling=0, optimize=True)
    if len(jpeg.getvalue()) < len(png.getvalue()):
        return "image/jpeg", jpeg.getvalue()
    return "image/png", png.getvalue()


def bundle(figure: Figure, alt: str | None = None) -> tuple[dict[str, str], dict[str, dict]]:
    """What a notebook stores for a figure: data and metadata, both by MIME type.

    Raises:
        InputError: there is no text for it, neither here nor from the function that drew it.
    """
    if not isinstance(figure, Figure):
        raise InputError(f"show() takes a matplotlib Figure, and this is {type(figure).__name__}")
    alt = (alt or figure.get_label() or "").strip()
    if not alt:
        raise InputError('a figure needs words for readers who cannot see it: show(figure, alt="what it shows")')
    kind, content = encode(figure)
    data = {kind: base64.b64encode(content).decode(), "text/plain": f"Figure: {alt}"}
    return data, {kind: {"alt": alt}}


def words(alt: str) -> dict[str, str]:
    """The folded line under a figure that says in words what it shows.

    JupyterLab, Colab and GitHub each drop the `alt` of a stored image; all three keep this.
    """
    folded = f"<details><summary><small>figure in words</small></summary><small>{html.escape(alt)}</small></details>"
    return {"text/html": folded, "text/plain": ""}


def show(figure: Figure, alt: str | None = None) -> None:
    """Displays a figure in a notebook, with words for those who cannot see it; outside a notebook it prints the words.

    Args:
        figure: what to display.
        alt: what it shows, in a sentence or two, without numbers that another machine may give differently. The
            functions of `course_lib.viz` give their figures a description, which is used where there is none here.

    Raises:
        InputError: this is no figure, or nothing describes it.
    """
    from IPython.display import display

    from course_lib.runtime import in_notebook

    data, metadata = bundle(figure, alt)
    if not in_notebook():
        print(data["text/plain"])
        return
    display(data, metadata=metadata, raw=True)
    display(words(data["text/plain"].removeprefix("Figure: ")), raw=True)


def save(figure: Figure, path) -> None:
    """Writes a figure to a file, as PNG, or as JPEG where the name ends in .jpg.

    Raises:
        FileError: it could not be written.
    """
    from course_lib.files import write_atomically

    kind = "jpeg" if str(path).endswith((".jpg", ".jpeg")) else "png"
    content = io.BytesIO()
    figure.savefig(content, format=kind, metadata={"Software": None} if kind == "png" else None)
    write_atomically(path, content.getvalue())


def frame_cell(axes, row: int, column: int, width: float) -> None:
    """A frame around one cell of a matrix that `imshow` has drawn."""
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=ORANGE, linewidth=width))


def write_cells(axes, matrix, digits: int, limits: tuple[float, float], size: float) -> None:
    """The numbers of a matrix that `imshow` has drawn, each in its cell; white where the cell is dark.

    Args:
        axes: where it was drawn.
        matrix: (N, M).
        digits: decimals.
        limits: the numbers of the lightest and of the darkest colour.
        size: of the letters, in points.
    """
    low, high = limits
    for (row, column), number in np.ndenumerate(matrix):
        dark = (number - low) / ((high - low) or 1) > 0.55
        colour = "white" if dark else INK
        axes.text(column, row, f"{number:.{digits}f}", ha="center", va="center", fontsize=size, color=colour)
