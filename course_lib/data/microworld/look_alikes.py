"""Families of look-alikes: pictures that differ in one thing only, for retrieval in which the wrong answers are hard.

In a random gallery the things present suffice to find the right picture among a thousand. Here they do not: each
picture stands beside one with its colours exchanged, one seen in a mirror, and one with another material.
"""

import dataclasses
from collections.abc import Sequence

from course_lib.data.microworld.captions import chooser, relation
from course_lib.data.microworld.sampling import sample_scenes
from course_lib.data.microworld.world import HELD_OUT, MATERIALS, SPLITS, Object, Scene, splits, table
from course_lib.errors import InputError

VARIANTS = ("as it was", "colours exchanged", "mirrored", "another material")
_TRIES = 64  # places tried for each member before its family is given up


def look_alikes(count: int, seed: int, split: str = "train") -> list[tuple[Scene, ...]]:
    """Families of four scenes with two objects, in the order of `VARIANTS`.

    1. a scene of two objects that differ in shape and in colour, and are both of pairs that may be trained on;
    2. the same with the two colours exchanged: the same words describe it, bound in another way;
    3. the same in a mirror, so that the one that was on the left is on the right (or above and below);
    4. the same but for the material of one object.

    Each member is moved a little, until it belongs to the split. So all four do, and none lies exactly on another.

    Args:
        count: families.
        seed: same seed, same families.
        split: "train", "validation" or "test".

    Raises:
        InputError: count is below 1, or the split is another.
    """
    if count < 1:
        raise InputError(f"count is {count}; it should be 1 or more")
    if split not in SPLITS[:3]:
        raise InputError(f"split is {split!r}; it should be one of {', '.join(SPLITS[:3])}")
    families: list[tuple[Scene, ...]] = []
    done, step = 0, count + count // 2
    while len(families) < count:  # scenes drawn from one seed are the first of more of them, and so are families
        scenes = sample_scenes(done + step, seed, split, 2, 2)[done:]
        done += step
        step = 64 + count // 4
        families += _in_split([_variants(scene) for scene in scenes if _can_be_exchanged(scene)], split)
    return families[:count]


def _in_split(families: Sequence[tuple[Scene, ...]], split: str) -> list[tuple[Scene, ...]]:
    """The families of which every member finds a place in the split, by moving its objects a little."""
    found: dict[tuple[int, int], Scene] = {}
    waiting = {(row, k): scene for row, members in enumerate(families) for k, scene in enumerate(members)}
    for turn in range(_TRIES):
        moved = {place: _moved(scene, turn, place[1]) for place, scene in waiting.items()}
        moved = {place: scene for place, scene in moved.items() if _fits(scene, waiting[place])}
        if moved:
            belongs = splits(table(list(moved.values()))) == SPLITS.index(split)
            found |= {place: scene for (place, scene), yes in zip(moved.items(), belongs, strict=True) if yes}
        waiting = {place: scene for place, scene in waiting.items() if place not in found}
    size = len(VARIANTS)
    complete = [row for row in range(len(families)) if all((row, k) in found for k in range(size))]
    return [tuple(found[row, k] for k in range(size)) for row in complete]


def _moved(scene: Scene, turn: int, variant: int) -> Scene:
    """The scene with its objects elsewhere, by up to a tenth of the side; a function of its arguments alone."""
    pick = chooser(scene.grain + 64 * variant + turn)
    steps = range(-100, 101)

    def elsewhere(thing: Object) -> Object:
        return dataclasses.replace(
            thing, x=(round(1000 * thing.x) + pick(steps)) / 1000, y=(round(1000 * thing.y) + pick(steps)) / 1000
        )

    return _with(scene, *map(elsewhere, scene.objects))


def _fits(scene: Scene, before: Scene) -> bool:
    """Whether the objects are inside, apart (as `sample_scenes` wants them), and as they were to each other."""
    one, two = scene.objects
    inside = all(
        thing.radius + 0.012 <= at <= 0.988 - thing.radius for thing in (one, two) for at in (thing.x, thing.y)
    )
    apart = (one.x - two.x) ** 2 + (one.y - two.y) ** 2 >= (0.96 * (one.radius + two.radius)) ** 2
    return inside and apart and relation(one, two) == relation(*before.objects)


def _can_be_exchanged(scene: Scene) -> bool:
    one, two = scene.objects
    exchanged = {(two.colour, one.shape), (one.colour, two.shape)}
    return one.shape != two.shape and one.colour != two.colour and not exchanged & HELD_OUT


def _variants(scene: Scene) -> tuple[Scene, ...]:
    one, two = scene.objects
    return (
        scene,
        _with(scene, dataclasses.replace(one, colour=two.colour), dataclasses.replace(two, colour=one.colour)),
        _with(scene, *(_mirrored(thing, relation(one, two)) for thing in scene.objects)),
        _with(scene, dataclasses.replace(one, material=_next(one.material)), two),
    )


def _with(scene: Scene, *objects: Object) -> Scene:
    return dataclasses.replace(scene, objects=objects)


def _mirrored(thing: Object, side: str) -> Object:
    if side in ("left", "right"):
        return dataclasses.replace(thing, x=round(1 - thing.x, 3))
    return dataclasses.replace(thing, y=round(1 - thing.y, 3))


def _next(material: str) -> str:
    return MATERIALS[(MATERIALS.index(material) + 1) % len(MATERIALS)]
