"""Noun phrases that questions and referring expressions are made of: some attributes, and the objects they fit."""

from collections.abc import Collection
from itertools import combinations
from typing import NamedTuple

from course_lib.data.microworld.captions import Pick, plural
from course_lib.data.microworld.reading import holds
from course_lib.data.microworld.world import Object, Scene


class Phrase(NamedTuple):
    """What is said of a thing; None where nothing is. `Phrase(colour="red")` is "red thing"."""

    size: str | None = None
    material: str | None = None
    colour: str | None = None
    shape: str | None = None

    def words(self, many: bool = False) -> str:
        """The phrase in words, without an article."""
        noun = self.shape or "thing"
        said = [word for word in self[:3] if word]
        return " ".join([*said, plural(noun) if many else noun])

    def fits(self, thing: Object) -> bool:
        """Whether all that is said is so of an object."""
        size, material, colour, shape = self
        return (
            (shape is None or shape == thing.shape)
            and (colour is None or colour == thing.colour)
            and (size is None or size == thing.size)
            and (material is None or material == thing.material)
        )

    def of(self, scene: Scene) -> list[int]:
        """The places, in the scene's list, of the objects it fits."""
        return [i for i, thing in enumerate(scene.objects) if self.fits(thing)]


ATTRIBUTES = Phrase._fields
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
_NAMES = [[frozenset(names) for names in combinations(ATTRIBUTES, length)] for length in (1, 2, 3, 4)]


def about(thing: Object, attributes: Collection[str]) -> Phrase:
    """The phrase that says these attributes of an object."""
    return Phrase(*[getattr(thing, name) if name in attributes else None for name in ATTRIBUTES])


def naming(index: int, scene: Scene, pick: Pick, without: str | None = None) -> Phrase | None:
    """A shortest phrase that fits this object of the scene and no other; None if there is none.

    Args:
        without: an attribute that must not be said, because it is what is asked for.
    """
    thing = scene.objects[index]
    # What each of the others has in common with it; a name must say something that none of them has.
    common = [
        {name for name in ATTRIBUTES if getattr(other, name) == getattr(thing, name)}
        for i, other in enumerate(scene.objects)
        if i != index
    ]
    for names_of_a_length in _NAMES:
        free = [names for names in names_of_a_length if without not in names]
        alone = [names for names in free if not any(names <= had for had in common)]
        if alone:
            # A name with a noun reads better than "the striped thing", so it is taken wherever it is as short.
            return about(thing, pick([names for names in alone if "shape" in names] or alone))
    return None


def clearly(relation: str, a: Object, b: Object) -> bool | None:
    """Whether a is left of, right of, above or below b; None where the centres are too close to tell."""
    if holds(relation, a, b):
        return True
    return False if holds(OPPOSITE[relation], a, b) else None
