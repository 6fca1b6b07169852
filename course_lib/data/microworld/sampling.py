"""Draws scenes from a seed.

Only integers decide what a seed gives, so it gives the same scenes on every machine and with every version of Python
and NumPy: the raw stream of PCG64 is the one that NumPy promises to keep, the distributions of `Generator` are not.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from course_lib.data.microworld.world import BACKGROUNDS, MOST_OBJECTS, PAIRS, SPLITS, TINTS, Scene, Table, splits
from course_lib.errors import InputError

COUNT_WEIGHTS = (15, 25, 28, 32)  # of proposals with 1 to 4 objects; crowded ones are dropped more often
# Half the width of an object in thousandths of the picture: (few objects, many objects) x (small, large).
# In one picture a small object is at most three quarters as wide as a large one, and in any two at most 0.85, so that
# "small" and "large" can be told without a comparison.
RADII = (((128, 150), (215, 255)), ((112, 132), (178, 205)))
_BLOCK = 1024  # proposals that share one seed; a prefix of a sample is the sample of that length
_TRIES = 16  # places tried for each object before a proposal is dropped


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
        yield drawn[np.isin(splits(drawn), wanted)]
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
