"""What a detector is trained on: every object's box and attributes, as arrays padded to four objects."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from course_lib.data.microworld.shapes import HULLS
from course_lib.data.microworld.world import MOST_OBJECTS, SHAPES, Scene, table, turn


@dataclass(frozen=True)
class Annotations:
    """Dense annotations of N scenes, with places for four objects each.

    Args:
        boxes: left, top, right, bottom as fractions of the picture's side, float32 (N, 4, 4); zeros where unused.
        shape, colour, size, material: positions in `SHAPES`, `COLOURS`, `SIZES`, `MATERIALS`, int64 (N, 4); -1 where
            unused.
        count: objects in the scene, int64 (N,).
    """

    boxes: np.ndarray
    shape: np.ndarray
    colour: np.ndarray
    size: np.ndarray
    material: np.ndarray
    count: np.ndarray


def annotations(scenes: Sequence[Scene]) -> Annotations:
    """The boxes and attributes of scenes; the order of a scene's objects is kept."""
    drawn = table(scenes)
    used = np.arange(MOST_OBJECTS) < drawn.count[:, None]
    x, y, radius, tilt = np.moveaxis(drawn.place / 1000, -1, 0)
    cosine, sine = turn(tilt)
    boxes = np.zeros((len(scenes), MOST_OBJECTS, 4))
    for index, shape in enumerate(SHAPES):
        rows = used & (drawn.attributes[..., 0] == index)
        c, s = cosine[rows], sine[rows]
        discs = [(u * c - v * s, u * s + v * c, r) for u, v, r in HULLS[shape]]
        extent = [
            np.minimum.reduce([u - r for u, _, r in discs]),
            np.minimum.reduce([v - r for _, v, r in discs]),
            np.maximum.reduce([u + r for u, _, r in discs]),
            np.maximum.reduce([v + r for _, v, r in discs]),
        ]
        centre = x[rows], y[rows], x[rows], y[rows]
        boxes[rows] = np.stack([a + radius[rows] * b for a, b in zip(centre, extent, strict=True)], -1)
    shape, colour, size, material = np.where(used[..., None], drawn.attributes, -1).transpose(2, 0, 1)
    return Annotations(boxes.astype(np.float32), shape, colour, size, material, drawn.count)
