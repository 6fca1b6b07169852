"""The eight outlines, as signed distances: how far a point lies outside (negative: inside), in radii of the object.

Each function takes u (to the right) and v (down) as float32 arrays of one shape and returns one of the same shape; each
outline fits the unit circle. Corners are a little rounded. Polygons are folded by their own symmetry onto one edge.
"""

import math

import numpy as np

f = np.float32
ROUNDING = f(0.07)


def _length(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sqrt(x * x + y * y)


def _box(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance to a rectangle, from how far the point is beyond its nearer sides."""
    return _length(np.maximum(x, f(0)), np.maximum(y, f(0))) + np.minimum(np.maximum(x, y), f(0))


def _edge(x: np.ndarray, y: np.ndarray, a: tuple[float, float], b: tuple[float, float]) -> np.ndarray:
    """Signed distance to the segment from a to b; the left of it, seen with y upwards, is inside."""
    ax, ay, ex, ey = f(a[0]), f(a[1]), f(b[0] - a[0]), f(b[1] - a[1])
    px, py = x - ax, y - ay
    along = (px * ex + py * ey) / (ex * ex + ey * ey)
    along = np.minimum(np.maximum(along, f(0)), f(1))
    distance = _length(px - ex * along, py - ey * along)
    return np.where(ex * py - ey * px > 0, -distance, distance)


def _reflect(x: np.ndarray, y: np.ndarray, nx: float, ny: float) -> tuple[np.ndarray, np.ndarray]:
    """Points on the negative side of the line through the centre with normal (nx, ny), mirrored to the other."""
    twice = np.minimum(x * f(nx) + y * f(ny), f(0)) * f(2)
    return x - twice * f(nx), y - twice * f(ny)


def circle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _length(u, v) - f(0.94)


def ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.abs(_length(u, v) - f(0.72)) - f(0.26)


def square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _box(np.abs(u) - f(0.63), np.abs(v) - f(0.63)) - f(0.10)


def cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x, y = np.abs(u), np.abs(v)
    x, y = np.maximum(x, y), np.minimum(x, y)  # the arm to the right, its upper half
    arm = f(0.26)
    # In the middle the nearest outline is the inner corner.
    return np.where(x < arm, -_length(x - arm, y - arm), _box(x - f(0.84), y - arm)) - ROUNDING


def triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x, y = _reflect(np.abs(u), -v, -0.5, -0.8660254)  # folded onto the lower edge
    return _edge(x, y, (-0.7621024, -0.44), (0.7621024, -0.44)) - ROUNDING


def star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x, y = _reflect(np.abs(u), -v, -0.8090170, 0.5877853)
    x, y = _reflect(x, y, 0.8090170, 0.5877853)
    x = np.abs(x)
    # From the inner corner, 36 degrees from the vertical, to the tip straight up.
    return _edge(x, y, (0.5877853 * 0.45, 0.8090170 * 0.45), (0, 0.94)) - f(0.05)


def heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    # A square that stands on its corner, and a disc on each of its upper sides; folded onto the right half.
    x, y = np.abs(u), f(0.80) - v
    half = f(0.49)
    a, b = (x + y) * f(0.7071068) - half, (y - x) * f(0.7071068) - half  # along the square's sides, from its centre
    disc = _length(a - half, b) - half
    return np.minimum(disc, _box(np.abs(a) - half, np.abs(b) - half)) - f(0.03)


# A disc about (-0.06, 0) less one about (0.40, 0); the horns are where both circles meet.
_OUTER, _INNER, _SHIFT = 0.88, 0.70, 0.46
_HORN_X = (_OUTER * _OUTER - _INNER * _INNER + _SHIFT * _SHIFT) / (2 * _SHIFT)
_HORN_Y = math.sqrt(_OUTER * _OUTER - _HORN_X * _HORN_X)


def crescent(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x, y = u + f(0.06), np.abs(v)
    body = np.maximum(_length(x, y) - f(_OUTER), f(_INNER) - _length(x - f(_SHIFT), y))
    # Past the lines from both centres through the horn, the horn is what is nearest.
    past = x * f(_HORN_Y) - y * f(_HORN_X)
    past = (past > 0) & (past > (f(_HORN_Y) - y) * f(_SHIFT))
    return np.where(past, _length(x - f(_HORN_X), y - f(_HORN_Y)), body) - f(0.04)


DISTANCES = {
    "circle": circle,
    "square": square,
    "triangle": triangle,
    "star": star,
    "heart": heart,
    "ring": ring,
    "cross": cross,
    "crescent": crescent,
}

_FIVE = [(0, -1), (0.9510565, -0.3090170), (0.5877853, 0.8090170), (-0.5877853, 0.8090170), (-0.9510565, -0.3090170)]
_TURNS = [k / 16 for k in range(-24, 25)]  # tangents of half the angle, along the crescent's outer arc

# Discs (u, v, radius) with the same convex hull as the outline: what a bounding box has to hold.
HULLS = {
    "circle": [(0, 0, 0.94)],
    "ring": [(0, 0, 0.98)],
    "square": [(x, y, 0.10) for x in (-0.63, 0.63) for y in (-0.63, 0.63)],
    "cross": [(x, y, 0.07) for a in (-0.84, 0.84) for b in (-0.26, 0.26) for x, y in ((a, b), (b, a))],
    "triangle": [(0, -0.88, 0.07), (-0.7621024, 0.44, 0.07), (0.7621024, 0.44, 0.07)],
    "star": [(x * 0.94, y * 0.94, 0.05) for x, y in _FIVE],
    "heart": [(0, 0.80, 0.03), (-0.3464823, -0.2394469, 0.52), (0.3464823, -0.2394469, 0.52)],
    "crescent": [
        *((-0.06 - _OUTER * (1 - t * t) / (1 + t * t), _OUTER * 2 * t / (1 + t * t), 0.04) for t in _TURNS),
        (_HORN_X - 0.06, -_HORN_Y, 0.04),
        (_HORN_X - 0.06, _HORN_Y, 0.04),
    ],
}
