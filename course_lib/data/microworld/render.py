"""Pictures of scenes: anti-aliased signed distances, lit from one side, with soft shadows, at any size.

The same scene gives the same bytes on every machine. So only operations that IEEE 754 rounds correctly touch a pixel
(+ - * / sqrt, comparisons, floor), each as its own NumPy call: no sine, exponential or power, whose last bits depend on
the processor, and no sum over an axis, whose order does.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from course_lib.data.microworld import shapes
from course_lib.data.microworld.world import (
    BACKGROUNDS,
    COLOURS,
    MATERIALS,
    MOST_OBJECTS,
    SHAPES,
    Scene,
    Table,
    mix,
    table,
    turn,
)
from course_lib.errors import InputError

# Told apart by lightness as well as hue: at least 18 CIELAB units between any two, as seen with normal vision and with
# protanopia, deuteranopia or tritanopia (Machado et al. 2009).
RGB = {
    "red": (212, 42, 53),
    "orange": (247, 147, 30),
    "yellow": (255, 221, 51),
    "green": (15, 157, 110),
    "blue": (47, 111, 216),
    "purple": (107, 47, 160),
    "pink": (247, 154, 200),
    "black": (38, 38, 46),
}
# Pairs of background colours, pale and of little saturation, so that no object is lost on any of them.
TINT_RGB = np.array(
    [
        [(242, 234, 220), (224, 212, 192)],  # linen
        [(224, 235, 240), (199, 217, 227)],  # mist
        [(229, 238, 226), (204, 221, 202)],  # sage
        [(236, 230, 241), (215, 206, 226)],  # lilac
        [(243, 229, 223), (228, 207, 199)],  # shell
        [(233, 233, 231), (211, 211, 210)],  # stone
        [(223, 238, 236), (196, 219, 216)],  # water
        [(240, 237, 224), (219, 215, 191)],  # straw
    ],
    np.float32,
)
SHADOW = np.array([0.30, 0.31, 0.40], np.float32)  # what a full shadow leaves of red, green and blue
SHADOW_STRENGTH, SHADOW_REACH, SHADOW_BLUR = np.float32(0.62), np.float32(0.030), np.float32(0.040)
_CHUNK = 256  # scenes drawn together at 64 px: enough to share the work, few enough to stay in the cache
# Stripes and dots are a pale tone of the colour, or a deep one where the colour is pale itself.
TONE_RGB = {
    "red": (255, 166, 156),
    "orange": (255, 221, 160),
    "yellow": (222, 150, 20),
    "green": (140, 226, 184),
    "blue": (164, 205, 255),
    "purple": (204, 166, 242),
    "pink": (214, 70, 140),
    "black": (156, 156, 172),
}
_OBJECT_RGB = np.array([RGB[colour] for colour in COLOURS], np.float32)
_TONES = np.array([TONE_RGB[colour] for colour in COLOURS], np.float32)
_half, _one, _two = np.float32(0.5), np.float32(1), np.float32(2)


def _clip01(x: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(x, np.float32(0), out=x), _one, out=x)


def _smooth(x: np.ndarray) -> np.ndarray:
    """0 to 1 without a kink at either end, 3x^2 - 2x^3, of what is clipped to [0, 1]."""
    x = _clip01(x)
    return x * x * (np.float32(3) - _two * x)


def _wave(x: np.ndarray) -> np.ndarray:
    """A triangle wave of period 1 between 0 (at the integers) and 1 (half-way)."""
    return np.abs(_two * (x - np.floor(x)) - _one)


def _backgrounds(drawn: Table, size: int) -> np.ndarray:
    """The scenes' backgrounds (N, 3, size, size), 0 to 255."""
    n = len(drawn.count)
    at = (np.arange(size, dtype=np.float32) + _half) / np.float32(size)
    x, y = at[None, None, :], at[None, :, None]
    share = np.zeros((n, size, size), np.float32)  # of the second colour
    grain = drawn.grain.astype(np.uint64)
    phase = ((grain >> np.uint64(8)) % np.uint64(64)).astype(np.float32)[:, None, None] / np.float32(64)
    cosine, sine = (v[:, None, None] for v in turn((drawn.light / 1000).astype(np.float32)))
    for kind, name in enumerate(BACKGROUNDS):
        rows = np.flatnonzero(drawn.background == kind)
        if not len(rows):
            continue
        edge = np.float32(size) / np.float32(6)  # how steep an edge is, per period of a pattern of six
        if name == "gradient":  # brighter towards the light
            share[rows] = _smooth(_half + (y - _half) * cosine[rows] - (x - _half) * sine[rows]) * np.float32(1.5)
        elif name == "checks":
            across = (_wave(x * 3 + phase[rows]) - _half) * edge * 2
            down = (_wave(y * 3 + phase[rows]) - _half) * edge * 2
            across, down = (np.minimum(np.maximum(v, -_half), _half) for v in (across, down))
            share[rows] = _half + _two * across * down
        elif name == "stripes":
            slant = np.where(grain[rows] % np.uint64(2) == 0, _one, -_one).astype(np.float32)[:, None, None]
            share[rows] = _clip01((_wave((x + slant * y) * 4 + phase[rows]) - _half) * edge * 2 + _half)
        elif name == "noise":
            coarse, fine = _noise(grain[rows], at, 5), _noise(grain[rows] + np.uint64(1 << 40), at, 12)
            share[rows] = _clip01(coarse * np.float32(1.2) + fine * np.float32(0.7) - np.float32(0.45))
    first, second = np.moveaxis(TINT_RGB[drawn.tint], 1, 0)
    return first[:, :, None, None] + share[:, None] * (second - first)[:, :, None, None]


def _noise(grain: np.ndarray, at: np.ndarray, cells: int) -> np.ndarray:
    """Value noise: random numbers at the corners of a lattice of cells, smooth between them (N, S, S), 0 to 1."""
    corners = np.arange((cells + 1) ** 2, dtype=np.uint64)
    raw = mix((grain[:, None] << np.uint64(12)) + corners + np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    lattice = (raw.astype(np.float32) / np.float32(1 << 24)).reshape(-1, cells + 1, cells + 1)
    cell = np.floor(at * np.float32(cells)).astype(np.int64)
    weight = _smooth(at * np.float32(cells) - cell.astype(np.float32))
    rows = lattice[:, cell] + (lattice[:, cell + 1] - lattice[:, cell]) * weight[:, None]
    return rows[:, :, cell] + (rows[:, :, cell + 1] - rows[:, :, cell]) * weight


def _stamps(drawn: Table, size: int, scene: np.ndarray, spot: np.ndarray, window: int) -> tuple[np.ndarray, ...]:
    """Objects of one shape, each drawn in its own window.

    Returns:
        colour (M, 3, window, window) 0 to 255, coverage and shadow (M, window, window) 0 to 1, and the windows' upper
        left corners in pixels (M, 2) as x, y.
    """
    shape, colour, _, material = drawn.attributes[scene, spot].T
    x, y, radius, tilt = (drawn.place[scene, spot] / 1000).astype(np.float32).T
    light_up, light_right = turn((drawn.light[scene] / 1000).astype(np.float32))
    pixels = np.float32(size)
    corner = np.floor(np.stack([x, y], -1) * pixels - np.float32(window / 2) + _half)
    steps = np.arange(window, dtype=np.float32) + _half
    scale = radius * pixels
    wide = np.s_[:, None, None]
    dx = ((corner[:, 0, None] + steps) / pixels - x[:, None])[:, None, :] / radius[wide]  # in radii
    dy = ((corner[:, 1, None] + steps) / pixels - y[:, None])[:, :, None] / radius[wide]
    cosine, sine = (v[wide] for v in turn(tilt))
    u, v = cosine * dx + sine * dy, cosine * dy - sine * dx
    distance_to: Callable = shapes.DISTANCES[SHAPES[shape[0]]]
    inside = -distance_to(u, v)  # in radii, positive inside
    depth = inside * scale[wide]  # in pixels
    coverage = _clip01(depth + _half)

    # The shadow falls away from the light.
    away = SHADOW_REACH / radius
    sx, sy = (dx + (away * light_right)[wide]), (dy - (away * light_up)[wide])
    under = -distance_to(cosine * sx + sine * sy, cosine * sy - sine * sx) * (radius / SHADOW_BLUR)[wide]
    shadow = _smooth(under * _half + _half) * SHADOW_STRENGTH

    # A rounded rim: how far the surface faces the light is the slope of the depth along the light's direction.
    facing = np.zeros_like(depth)
    facing[:, :, 1:-1] += (depth[:, :, :-2] - depth[:, :, 2:]) * (_half * light_right)[wide]
    facing[:, 1:-1, :] += (depth[:, 2:, :] - depth[:, :-2, :]) * (_half * light_up)[wide]
    rim = _clip01(_one - inside * np.float32(4.5))
    rim *= rim
    lit = facing * rim * np.float32(0.26)
    lit += (light_right[wide] * dx - light_up[wide] * dy) * np.float32(0.10)  # and a whole face a little turned to it
    lit += np.float32(0.02)

    paint = _OBJECT_RGB[colour][:, :, None, None]
    pattern = np.zeros_like(depth)
    for kind in (2, 3):
        rows = np.flatnonzero(material == kind)
        if not len(rows):
            continue
        ur, vr, px = u[rows], v[rows], scale[rows][wide]
        if MATERIALS[kind] == "striped":
            pattern[rows] = _clip01((_wave((ur + vr) * np.float32(1.15)) - _half) * px * np.float32(0.6) + _half)
        else:
            gx, gy = ur * np.float32(2.0), vr * np.float32(2.0)
            gx, gy = gx - np.floor(gx + _half), gy - np.floor(gy + _half)
            pattern[rows] = _clip01((np.float32(0.31) - np.sqrt(gx * gx + gy * gy)) * px * _half + _half)
    # They end short of the outline, which keeps the shape in one piece where a pale tone meets a pale background.
    pattern *= _clip01((inside - np.float32(0.05)) * scale[wide])
    tone = _TONES[colour][:, :, None, None]
    rgb = paint + pattern[:, None] * (tone - paint)

    shiny = np.flatnonzero(material == 1)
    if len(shiny):
        hx = dx[shiny] - (light_right[shiny] * np.float32(0.34))[wide]
        hy = dy[shiny] + (light_up[shiny] * np.float32(0.34))[wide]
        glint = _clip01(_one - (hx * hx + hy * hy) * np.float32(7.0))
        band = _clip01(facing[shiny] * np.float32(1.6) - np.float32(0.5))
        band *= _clip01(_one - np.abs(inside[shiny] - np.float32(0.13)) * np.float32(12))
        gloss = np.maximum(glint * glint * np.float32(0.95), band * np.float32(0.9))
        rgb[shiny] += gloss[:, None] * (np.float32(255) - rgb[shiny])
        lit[shiny] *= np.float32(1.5)
    # Lit parts move towards white, others towards black.
    bright, dark = np.maximum(lit, np.float32(0))[:, None], np.minimum(lit, np.float32(0))[:, None]
    rgb += bright * (np.float32(255) - rgb) * np.float32(1.1) + dark * rgb * np.float32(1.4)
    return rgb, coverage, shadow, corner.astype(np.int64)


def _all_stamps(drawn: Table, size: int) -> list[tuple[tuple[int, int], tuple]]:
    """Every object as (scene, place) and (colour, coverage, shadow, left, top) of its window, undermost first."""
    scene, spot = np.nonzero(np.arange(MOST_OBJECTS) < drawn.count[:, None])
    shape = drawn.attributes[scene, spot, 0]
    reach = drawn.place[scene, spot, 2] / 1000 + float(SHADOW_REACH + SHADOW_BLUR)
    step = max(2, size // 16)
    window = (np.floor(reach * 2 * size / step).astype(np.int64) + 2) * step
    stamps = []
    for kind in sorted(set(zip(shape.tolist(), window.tolist(), strict=True))):
        members = np.flatnonzero((shape == kind[0]) & (window == kind[1]))
        layers = _stamps(drawn, size, scene[members], spot[members], kind[1])
        where = zip(scene[members].tolist(), spot[members].tolist(), strict=True)
        *pixels, corner = layers
        stamps += zip(where, zip(*pixels, *corner.T.tolist(), strict=True), strict=True)
    return sorted(stamps, key=lambda stamp: stamp[0])


def _inside(window: int, left: int, top: int, size: int) -> tuple[slice, slice, tuple[slice, slice]]:
    """The rows and columns of a window that lie in the picture, and where they lie in it."""
    rows = slice(max(0, -top), min(window, size - top))
    columns = slice(max(0, -left), min(window, size - left))
    return rows, columns, (slice(top + rows.start, top + rows.stop), slice(left + columns.start, left + columns.stop))


def _draw(drawn: Table, size: int) -> np.ndarray:
    """Pictures (N, size, size, 3) of a chunk of scenes."""
    canvas = _backgrounds(drawn, size)
    keep = (_one - SHADOW)[:, None, None]
    for (i, _), (rgb, coverage, shadow, left, top) in _all_stamps(drawn, size):
        rows, columns, place = _inside(coverage.shape[0], left, top, size)
        part = canvas[i][:, *place]
        part *= _one - shadow[rows, columns] * keep
        part += coverage[rows, columns] * (rgb[:, rows, columns] - part)
    canvas += _half
    np.minimum(np.maximum(canvas, 0, out=canvas), 255, out=canvas)
    return canvas.astype(np.uint8).transpose(0, 2, 3, 1)


def _check_size(size: int) -> None:
    if size < 16:
        raise InputError(f"size is {size}; pictures are drawn from 16 pixels up")


def render(scenes: Sequence[Scene], size: int = 64) -> np.ndarray:
    """Draws scenes.

    Args:
        scenes: N of them.
        size: side of the pictures in pixels, 16 or more.

    Returns:
        RGB pictures, uint8 (N, size, size, 3).

    Raises:
        InputError: the size is too small.
    """
    _check_size(size)
    pictures = np.empty((len(scenes), size, size, 3), np.uint8)
    drawn = table(scenes)
    chunk = max(1, _CHUNK * 64 * 64 // (size * size))

    def work(start: int) -> None:
        pictures[start : start + chunk] = _draw(drawn[slice(start, start + chunk)], size)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(0, len(scenes), chunk)))
    return pictures


def masks(scenes: Sequence[Scene], size: int = 64) -> np.ndarray:
    """Which pixels show which object.

    Args:
        scenes: N of them.
        size: side of the pictures in pixels, 16 or more.

    Returns:
        bool (N, 4, size, size): object k of scene i is what is seen at the pixel; nothing where there is no object k.

    Raises:
        InputError: the size is too small.
    """
    _check_size(size)
    drawn = table(scenes)
    seen = np.zeros((len(scenes), MOST_OBJECTS, size, size), bool)
    for (i, k), (_, coverage, _, left, top) in _all_stamps(drawn, size):
        rows, columns, place = _inside(coverage.shape[0], left, top, size)
        covered = coverage[rows, columns] > _half
        seen[i, :k][:, *place] &= ~covered
        seen[i, k][place] = covered
    return seen
