"""Pictures of scenes: anti-aliased signed distances, lit from one side, with soft shadows, at any size.

The same scene gives the same bytes on every machine. So only operations that IEEE 754 rounds correctly touch a pixel
(+ - * / sqrt, comparisons, floor), each as its own NumPy call: no sine, exponential or power, whose last bits depend on
the processor, and no sum over an axis, whose order does.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from course_lib.data.microworld.backgrounds import backgrounds
from course_lib.data.microworld.colours import RGB, TONE_RGB
from course_lib.data.microworld.curves import HALF, ONE, clip01, smooth, wave
from course_lib.data.microworld.shapes import DISTANCES
from course_lib.data.microworld.world import (
    COLOURS,
    MATERIALS,
    MOST_OBJECTS,
    SHAPES,
    Scene,
    Table,
    table,
    turn,
)
from course_lib.errors import InputError

SHADOW = np.array([0.30, 0.31, 0.40], np.float32)  # what a full shadow leaves of red, green and blue
SHADOW_STRENGTH, SHADOW_REACH, SHADOW_BLUR = np.float32(0.62), np.float32(0.030), np.float32(0.040)
_CHUNK = 256  # scenes drawn together at 64 px: enough to share the work, few enough to stay in the cache
_PAINT = np.array([RGB[colour] for colour in COLOURS], np.float32)
_TONE = np.array([TONE_RGB[colour] for colour in COLOURS], np.float32)


def _stamps(drawn: Table, size: int, scene: np.ndarray, spot: np.ndarray, window: int) -> tuple[np.ndarray, ...]:
    """Objects of one shape, each drawn in its own window.

    Returns:
        colour (M, 3, window, window) 0 to 255, coverage and shadow (M, window, window) 0 to 1, and the windows' upper
        left corners in pixels (M, 2) as x, y.
    """
    shape, colour, _, material = drawn.attributes[scene, spot].T
    wide = np.s_[:, None, None]
    x, y, radius, tilt = (drawn.place[scene, spot] / 1000).astype(np.float32).T
    up, right = (part[wide] for part in turn((drawn.light[scene] / 1000).astype(np.float32)))  # towards the light
    corner = np.floor(np.stack([x, y], -1) * np.float32(size) - np.float32(window / 2) + HALF)
    x, y, radius, scale = x[:, None], y[:, None], radius[wide], radius[wide] * np.float32(size)
    steps = np.arange(window, dtype=np.float32) + HALF
    dx = ((corner[:, :1] + steps) / np.float32(size) - x)[:, None, :] / radius  # from the centre, in radii
    dy = ((corner[:, 1:] + steps) / np.float32(size) - y)[:, :, None] / radius
    cosine, sine = (part[wide] for part in turn(tilt))
    u, v = cosine * dx + sine * dy, cosine * dy - sine * dx
    distance = DISTANCES[SHAPES[shape[0]]]
    inside = -distance(u, v)  # in radii, positive inside
    depth = inside * scale  # in pixels
    coverage = clip01(depth + HALF)

    # The shadow falls away from the light.
    away = SHADOW_REACH / radius
    sx, sy = dx + away * right, dy - away * up
    under = -distance(cosine * sx + sine * sy, cosine * sy - sine * sx)
    under *= radius / SHADOW_BLUR
    shadow = smooth(under * HALF + HALF) * SHADOW_STRENGTH

    # A rounded rim: how far the surface faces the light is the slope of the depth along the light's direction.
    facing = np.zeros_like(depth)
    facing[:, :, 1:-1] += (depth[:, :, :-2] - depth[:, :, 2:]) * (HALF * right)
    facing[:, 1:-1, :] += (depth[:, 2:, :] - depth[:, :-2, :]) * (HALF * up)
    rim = clip01(ONE - inside * np.float32(4.5))
    rim *= rim
    rim *= facing
    lit = rim * np.float32(0.26)
    lit += (right * dx - up * dy) * np.float32(0.10)  # and the whole face is turned to it a little
    lit += np.float32(0.02)

    paint = _PAINT[colour][:, :, None, None]
    rgb = np.empty((len(scene), 3, window, window), np.float32)
    rgb[:] = paint
    for name, pattern in _PATTERNS.items():
        rows = np.flatnonzero(material == MATERIALS.index(name))
        if len(rows):
            share = pattern(u[rows], v[rows], scale[rows])
            # It ends short of the outline, which keeps the shape whole where a pale tone meets a pale background.
            share *= clip01((inside[rows] - np.float32(0.05)) * scale[rows])
            rgb[rows] += share[:, None] * (_TONE[colour][:, :, None, None] - paint)[rows]
    rows = np.flatnonzero(material == MATERIALS.index("shiny"))
    if len(rows):
        gloss = _gloss(dx[rows], dy[rows], facing[rows], inside[rows], up[rows], right[rows])[:, None]
        rgb[rows] += gloss * (np.float32(255) - rgb[rows])
        lit[rows] *= np.float32(1.5)
    # Lit parts move towards white, others towards black.
    brighter = np.float32(255) - rgb
    brighter *= np.maximum(lit, np.float32(0))[:, None]
    brighter *= np.float32(1.1)
    darker = np.minimum(lit, np.float32(0))[:, None] * rgb
    darker *= np.float32(1.4)
    brighter += darker
    rgb += brighter
    return rgb, coverage, shadow, corner.astype(np.int64)


def _stripes(u: np.ndarray, v: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return clip01((wave((u + v) * np.float32(1.15)) - HALF) * scale * np.float32(0.6) + HALF)


def _dots(u: np.ndarray, v: np.ndarray, scale: np.ndarray) -> np.ndarray:
    u, v = u * np.float32(2), v * np.float32(2)
    u, v = u - np.floor(u + HALF), v - np.floor(v + HALF)  # from the nearest dot's centre
    return clip01((np.float32(0.31) - np.sqrt(u * u + v * v)) * scale * HALF + HALF)


_PATTERNS = {"striped": _stripes, "dotted": _dots}  # how much of the tone there is at a point, 0 to 1


def _gloss(
    dx: np.ndarray, dy: np.ndarray, facing: np.ndarray, inside: np.ndarray, up: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """How much of the light a shiny surface mirrors: a glint on the light's side, and a band along the rim there."""
    x, y = dx - right * np.float32(0.34), dy + up * np.float32(0.34)
    glint = clip01(ONE - (x * x + y * y) * np.float32(7))
    band = clip01(facing * np.float32(1.6) - HALF)
    band *= clip01(ONE - np.abs(inside - np.float32(0.13)) * np.float32(12))
    return np.maximum(glint * glint * np.float32(0.95), band * np.float32(0.9))


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
    canvas = backgrounds(drawn, size)
    keep = (ONE - SHADOW)[:, None, None]
    for (i, _), (rgb, coverage, shadow, left, top) in _all_stamps(drawn, size):
        rows, columns, place = _inside(coverage.shape[0], left, top, size)
        part = canvas[i][:, *place]
        part *= ONE - shadow[rows, columns] * keep
        part += coverage[rows, columns] * (rgb[:, rows, columns] - part)
    canvas += HALF
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
    drawn = table(scenes)
    pictures = np.empty((len(scenes), size, size, 3), np.uint8)
    chunks = _chunks(len(scenes), size)

    def work(chunk: slice) -> None:
        pictures[chunk] = _draw(drawn[chunk], size)

    # NumPy lets other threads run while it computes.
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, chunks))
    return pictures


def _chunks(count: int, size: int) -> list[slice]:
    """Scenes to draw together: halves of a few, for two threads; of many, no more than `_CHUNK` at 64 px."""
    length = max(1, min(_CHUNK * 64 * 64 // (size * size), max(32, (count + 1) // 2)))
    return [slice(start, start + length) for start in range(0, count, length)]


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
    for chunk in _chunks(len(scenes), size):
        for (i, k), (_, coverage, _, left, top) in _all_stamps(drawn[chunk], size):
            rows, columns, place = _inside(coverage.shape[0], left, top, size)
            covered = coverage[rows, columns] > HALF
            seen[chunk][i, :k][:, *place] &= ~covered
            seen[chunk][i, k][place] = covered
    return seen
