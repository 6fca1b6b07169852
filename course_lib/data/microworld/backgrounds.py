"""What objects lie on: plain, gradient, noise, checks or stripes, in two pale colours each, lit as the scene is."""

import numpy as np

from course_lib.data.microworld.colours import TINT_RGB
from course_lib.data.microworld.curves import HALF, ONE, TWO, clip01, smooth, wave
from course_lib.data.microworld.world import BACKGROUNDS, Table, mix, turn

_TINTS = np.array(TINT_RGB, np.float32)


def backgrounds(drawn: Table, size: int) -> np.ndarray:
    """The scenes' backgrounds (N, 3, size, size), 0 to 255."""
    n = len(drawn.count)
    at = (np.arange(size, dtype=np.float32) + HALF) / np.float32(size)
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
            share[rows] = smooth(HALF + (y - HALF) * cosine[rows] - (x - HALF) * sine[rows]) * np.float32(1.5)
        elif name == "checks":
            across = (wave(x * 3 + phase[rows]) - HALF) * edge * 2
            down = (wave(y * 3 + phase[rows]) - HALF) * edge * 2
            across, down = (np.minimum(np.maximum(v, -HALF), HALF) for v in (across, down))
            share[rows] = HALF + TWO * across * down
        elif name == "stripes":
            slant = np.where(grain[rows] % np.uint64(2) == 0, ONE, -ONE).astype(np.float32)[:, None, None]
            share[rows] = clip01((wave((x + slant * y) * 4 + phase[rows]) - HALF) * edge * 2 + HALF)
        elif name == "noise":
            coarse, fine = _noise(grain[rows], at, 5), _noise(grain[rows] + np.uint64(1 << 40), at, 12)
            share[rows] = clip01(coarse * np.float32(1.2) + fine * np.float32(0.7) - np.float32(0.45))
    first, second = np.moveaxis(_TINTS[drawn.tint], 1, 0)
    return first[:, :, None, None] + share[:, None] * (second - first)[:, :, None, None]


def _noise(grain: np.ndarray, at: np.ndarray, cells: int) -> np.ndarray:
    """Value noise: random numbers at the corners of a lattice of cells, smooth between them (N, S, S), 0 to 1."""
    corners = np.arange((cells + 1) ** 2, dtype=np.uint64)
    raw = mix((grain[:, None] << np.uint64(12)) + corners + np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    lattice = (raw.astype(np.float32) / np.float32(1 << 24)).reshape(-1, cells + 1, cells + 1)
    cell = np.floor(at * np.float32(cells)).astype(np.int64)
    weight = smooth(at * np.float32(cells) - cell.astype(np.float32))
    rows = lattice[:, cell] + (lattice[:, cell + 1] - lattice[:, cell]) * weight[:, None]
    return rows[:, :, cell] + (rows[:, :, cell + 1] - rows[:, :, cell]) * weight
