"""What the microworld holds: objects and scenes, and which split a scene belongs to.

A scene is a few flat objects lying on a background, lit from one side. Everything in it is named by a word or by a
number of thousandths, so that it is exactly the same on every machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from course_lib.data.microworld.shapes import HULLS
from course_lib.errors import InputError

SHAPES = ("circle", "square", "triangle", "star", "heart", "ring", "cross", "crescent")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black")
SIZES = ("small", "large")
MATERIALS = ("plain", "shiny", "striped", "dotted")
BACKGROUNDS = ("plain", "gradient", "noise", "checks", "stripes")
SPLITS = ("train", "validation", "test", "held_out")

# Colour i is never seen with shape 3i + 1 (mod 8) outside the split "held_out": a Latin choice, so that every colour
# and every shape is missing exactly one partner, and none is rarer than another.
HELD_OUT = frozenset((colour, SHAPES[(3 * i + 1) % 8]) for i, colour in enumerate(COLOURS))
PAIRS = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)
SEEN = tuple(pair for pair in PAIRS if pair not in HELD_OUT)

MOST_OBJECTS = 4
TINTS = 8  # pairs of background colours, in colours.py


@dataclass(frozen=True, slots=True)
class Object:
    """One object. Lengths are fractions of the picture's side; x runs to the right, y runs down.

    Args:
        x, y: its centre.
        radius: of the circle about the centre that holds all of it.
        tilt: tan of half the angle by which it is turned clockwise (at most 15 degrees either way).
    """

    shape: str
    colour: str
    size: str
    material: str
    x: float
    y: float
    radius: float
    tilt: float

    @property
    def pair(self) -> tuple[str, str]:
        """(colour, shape): the label of zero-shot classification, and what can be held out."""
        return self.colour, self.shape

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The smallest upright box that holds it: left, top, right, bottom as fractions of the picture's side."""
        cosine, sine = turn(self.tilt)
        discs = [(u * cosine - v * sine, u * sine + v * cosine, r) for u, v, r in HULLS[self.shape]]
        return (
            self.x + self.radius * min(u - r for u, _, r in discs),
            self.y + self.radius * min(v - r for _, v, r in discs),
            self.x + self.radius * max(u + r for u, _, r in discs),
            self.y + self.radius * max(v + r for _, v, r in discs),
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene graph: objects (later ones lie on top), the background and the light.

    Args:
        objects: one to four.
        background: its kind, one of `BACKGROUNDS`.
        tint: which pair of background colours.
        light: tan of half the angle of the light's direction, clockwise from straight up.
        grain: 32 random bits that choose everything without a name: the noise, and the paraphrases of its captions.
    """

    objects: tuple[Object, ...]
    background: str
    tint: int
    light: float
    grain: int


@dataclass(frozen=True)
class Table:
    """Scenes as integer arrays, N scenes by 4 places for objects: what is drawn from a seed to become `Scene`s.

    Args:
        count: objects in the scene (N,).
        attributes: shape, colour, size and material as positions in their tuples (N, 4, 4).
        place: x, y, radius, tilt in thousandths (N, 4, 4).
        background, tint, light, grain: as in `Scene`, light in thousandths (N,).
    """

    count: np.ndarray
    attributes: np.ndarray
    place: np.ndarray
    background: np.ndarray
    tint: np.ndarray
    light: np.ndarray
    grain: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> "Table":
        return Table(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def scenes(self) -> list[Scene]:
        """The rows as `Scene`s."""
        count, attributes, place = self.count.tolist(), self.attributes.tolist(), (self.place / 1000).tolist()
        rest = zip(
            self.background.tolist(), self.tint.tolist(), (self.light / 1000).tolist(), self.grain.tolist(), strict=True
        )
        scenes = []
        for n, names, numbers, (background, tint, light, grain) in zip(count, attributes, place, rest, strict=True):
            objects = tuple(
                Object(SHAPES[s], COLOURS[c], SIZES[z], MATERIALS[m], *xyrt)
                for (s, c, z, m), xyrt in zip(names[:n], numbers[:n], strict=True)
            )
            scenes.append(Scene(objects, BACKGROUNDS[background], tint, light, grain))
        return scenes


def table(scenes: Sequence[Scene]) -> Table:
    """Scenes as integer arrays; unused places hold zeros. The inverse of `Table.scenes`.

    Raises:
        InputError: it is one scene, not a list of them.
    """
    if isinstance(scenes, Scene):
        raise InputError("this takes a list of scenes and got one scene; put it in brackets: [scene]")
    n = len(scenes)
    attributes, place = np.zeros((n, MOST_OBJECTS, 4), np.int64), np.zeros((n, MOST_OBJECTS, 4), np.int64)
    index = [{word: i for i, word in enumerate(words)} for words in (SHAPES, COLOURS, SIZES, MATERIALS)]
    shape, colour, size, material = index
    rows = [
        (i, k, shape[o.shape], colour[o.colour], size[o.size], material[o.material], o.x, o.y, o.radius, o.tilt)
        for i, scene in enumerate(scenes)
        for k, o in enumerate(scene.objects)
    ]
    if rows:
        i, k, *columns = (np.array(column) for column in zip(*rows, strict=True))
        attributes[i, k] = np.stack(columns[:4], -1)
        place[i, k] = np.floor(np.stack(columns[4:], -1) * 1000 + 0.5).astype(np.int64)
    return Table(
        np.array([len(scene.objects) for scene in scenes], np.int64),
        attributes,
        place,
        np.array([BACKGROUNDS.index(scene.background) for scene in scenes], np.int64),
        np.array([scene.tint for scene in scenes], np.int64),
        np.floor(np.array([scene.light for scene in scenes], np.float64) * 1000 + 0.5).astype(np.int64),
        np.array([scene.grain for scene in scenes], np.int64),
    )


def turn(tan_half):
    """Cosine and sine of an angle given by the tangent of its half: only + * and /, so the same everywhere."""
    square = tan_half * tan_half
    return (1 - square) / (1 + square), 2 * tan_half / (1 + square)


def mix(x: np.ndarray) -> np.ndarray:
    """Scatters 64-bit integers evenly: the finaliser of SplitMix64 (Steele, Lea and Flood 2014, figure 16)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def splits(drawn: Table) -> np.ndarray:
    """The split of each row, as a position in `SPLITS` (N,).

    A scene with a held-out pair is "held_out". Any other goes by a digest of what can be said of it: the background
    and, in any order, each object's attributes and the cell of an 8 x 8 grid its centre is in. 80 of 100 digests are
    "train", 10 "validation", 10 "test". So the split is a function of the scene alone, and no seed or count can put
    one scene, or two that differ by less than a description, into two splits.
    """
    shape, colour, size, material = np.moveaxis(drawn.attributes, -1, 0)
    cell = drawn.place[..., 0] * 8 // 1000 * 8 + drawn.place[..., 1] * 8 // 1000
    used = np.arange(MOST_OBJECTS) < drawn.count[:, None]
    code = np.where(used, (((shape * 8 + colour) * 2 + size) * 4 + material) * 64 + cell + 1, 0)
    digest = mix(drawn.background.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    for column in np.sort(code, axis=1).T:
        digest = mix(digest ^ (column.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)))
    percent = digest % np.uint64(100)
    held_out = (used & (shape == (3 * colour + 1) % 8)).any(axis=1)
    return np.where(held_out, 3, np.where(percent < 80, 0, np.where(percent < 90, 1, 2)))


def split_of(scene: Scene) -> str:
    """The one split that a scene belongs to."""
    return SPLITS[splits(table([scene]))[0]]
