"""What the microworld holds: objects, scenes, how scenes are drawn from a seed, and which split a scene belongs to.

A scene is a few flat objects lying on a background, lit from one side. Everything in it is named by a word or by a
number on a grid of thousandths, and only integers decide what a seed gives, so that the same seed gives the same scenes
on every machine and with every version of Python and NumPy (`PCG64.random_raw` is the one stream that NumPy promises to
keep; the distributions of `Generator` are not).
"""

from collections.abc import Iterator, Sequence
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
COUNT_WEIGHTS = (15, 25, 28, 32)  # of proposals with 1 to 4 objects; crowded ones are dropped more often
TINTS = 8  # pairs of background colours, in render.py
# Half the width of an object in thousandths of the picture: (few objects, many objects) x (small, large).
# No small object is wider than 0.75 of any large one, so that "small" and "large" need no comparison.
RADII = (((128, 150), (215, 255)), ((112, 132), (178, 205)))
_BLOCK = 1024  # proposals that share one seed; a prefix of a sample is the sample of that length
_TRIES = 16  # places tried for each object before a proposal is dropped


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
    """Scenes as integer arrays; unused places hold zeros. The inverse of `Table.scenes`."""
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


def _splits(drawn: Table) -> np.ndarray:
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
    return SPLITS[_splits(table([scene]))[0]]


def _propose(seed: int, block: int, fewest: int, most: int, pair_of: np.ndarray | None = None) -> Table:
    """`_BLOCK` proposals, less those whose objects found no place; `pair_of` fixes the pair of their only object."""
    stream = np.random.PCG64(np.random.SeedSequence([seed, block]))
    draws = iter(stream.random_raw((5 + most * (6 + 2 * _TRIES)) * _BLOCK).reshape(-1, _BLOCK) >> np.uint64(32))

    def draw(low: np.ndarray | int, high: np.ndarray | int) -> np.ndarray:
        """Integers from low to high, both included, from the upper half of the raw draw: (u * width) >> 32."""
        return low + ((next(draws) * np.asarray(high - low + 1).astype(np.uint64)) >> np.uint64(32)).astype(np.int64)

    steps = np.cumsum(COUNT_WEIGHTS[fewest - 1 : most])
    count = fewest + (draw(0, steps[-1] - 1) >= steps[:-1, None]).sum(axis=0)
    background, tint, light = draw(0, len(BACKGROUNDS) - 1), draw(0, TINTS - 1), draw(-450, 450)
    grain = next(draws).astype(np.int64)
    radii = np.array(RADII)
    attributes = np.zeros((_BLOCK, MOST_OBJECTS, 4), np.int64)
    place = np.zeros((_BLOCK, MOST_OBJECTS, 4), np.int64)
    placed = np.ones(_BLOCK, bool)
    for k in range(most):
        shape, colour, size, material = draw(0, 7), draw(0, 7), draw(0, 1), draw(0, 3)
        if pair_of is not None:
            colour, shape = pair_of // 8, pair_of % 8
        attributes[:, k] = np.stack([shape, colour, size, material], -1)
        low, high = np.moveaxis(radii[(count > 2).astype(np.int64), size], -1, 0)
        radius, tilt = draw(low, high), draw(-130, 130)
        x = np.stack([draw(radius + 12, 988 - radius) for _ in range(_TRIES)])
        y = np.stack([draw(radius + 12, 988 - radius) for _ in range(_TRIES)])
        # Centres keep 0.96 of the sum of both radii apart: outlines may touch, and hardly ever overlap.
        free = np.ones((_TRIES, _BLOCK), bool)
        for other in place[:, :k].transpose(1, 2, 0):
            apart = (x - other[0]) ** 2 + (y - other[1]) ** 2
            free &= apart * 10000 >= ((radius + other[2]) * 96) ** 2
        placed &= free.any(axis=0) | (k >= count)
        first = free.argmax(axis=0), np.arange(_BLOCK)
        place[:, k] = np.stack([x[first], y[first], radius, tilt], -1)
    unused = np.arange(MOST_OBJECTS) >= count[:, None]
    attributes[unused], place[unused] = 0, 0
    return Table(count, attributes, place, background, tint, light, grain)[placed]


def _blocks(
    seed: int, fewest: int, most: int, wanted: Sequence[str], pair_of: np.ndarray | None = None
) -> Iterator[Table]:
    """Endless proposals that belong to the wanted splits."""
    wanted = [SPLITS.index(split) for split in wanted]
    block = 0
    while True:
        drawn = _propose(seed, block, fewest, most, pair_of)
        yield drawn[np.isin(_splits(drawn), wanted)]
        block += 1


def _check(count: int, seed: int) -> None:
    if count < 0:
        raise InputError(f"count is {count}; the number of scenes can be 0 or more")
    if seed < 0:
        raise InputError(f"seed is {seed}; it can be any integer from 0 up")


def sample_scenes(
    count: int, seed: int, split: str = "train", min_objects: int = 1, max_objects: int = MOST_OBJECTS
) -> list[Scene]:
    """Scenes of one split, drawn from a seed. Fewer scenes from the same seed are the first of more.

    Args:
        count: how many.
        seed: any integer from 0 up.
        split: "train", "validation" or "test" (no held-out colour x shape pair in any), or "held_out" (one or more in
            each scene).
        min_objects, max_objects: objects per scene, 1 to 4; `COUNT_WEIGHTS` says how often there are how many.

    Raises:
        InputError: a count, seed, split or number of objects that cannot be.
    """
    _check(count, seed)
    if split not in SPLITS:
        raise InputError(f"there is no split {split!r}; the splits are {', '.join(SPLITS)}")
    if not 1 <= min_objects <= max_objects <= MOST_OBJECTS:
        raise InputError(f"scenes have 1 to {MOST_OBJECTS} objects; asked for {min_objects} to {max_objects}")
    scenes: list[Scene] = []
    blocks = _blocks(seed, min_objects, max_objects, [split])
    while len(scenes) < count:
        scenes += next(blocks)[: count - len(scenes)].scenes()
    return scenes


def single_object_scenes(count: int, seed: int, pairs: Sequence[tuple[str, str]] = PAIRS) -> list[Scene]:
    """Scenes of one object each, none of which training pictures hold: what zero-shot classification is measured on.

    Scene i shows `pairs[i % len(pairs)]`, as `scene.objects[0].pair` says; all else varies. Scenes of a seen pair are
    from the split "test", those of a held-out pair from "held_out".

    Args:
        count: how many.
        seed: any integer from 0 up.
        pairs: the (colour, shape) pairs to show: `PAIRS` (all 64), `SEEN` (56) or `sorted(HELD_OUT)` (8).

    Raises:
        InputError: no pair, or one that is no colour and shape of the microworld.
    """
    _check(count, seed)
    strange = [pair for pair in pairs if tuple(pair) not in PAIRS]
    if strange or not pairs:
        raise InputError(
            f"pairs must be (colour, shape) pairs of the microworld; got {strange[0] if strange else 'none'}"
        )
    scenes: list[Scene] = [None] * count  # type: ignore[list-item]
    for start, pair in enumerate(pairs[:count]):
        spots = range(start, count, len(pairs))
        code = PAIRS.index(tuple(pair))
        # Each pair has its own stream, so that asking for one more pair or picture changes no other picture.
        blocks = _blocks(seed * 64 + code, 1, 1, ["test", "held_out"], np.full(_BLOCK, code))
        found: list[Scene] = []
        while len(found) < len(spots):
            found += next(blocks)[: len(spots) - len(found)].scenes()
        for spot, scene in zip(spots, found, strict=True):
            scenes[spot] = scene
    return scenes
