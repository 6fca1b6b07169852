"""Referring expressions: phrases that mean one object of a scene and no other, each with its box and its program.

As in RefCOCO (Kazemzadeh et al. 2014; Yu et al. 2016), by what is said: attributes alone, the place among the like, or
a relation to another object.
"""

from typing import NamedTuple

from course_lib.data.microworld.captions import MARGIN, RELATION_WORDS, Pick, chooser
from course_lib.data.microworld.phrases import Phrase, about, clearly, naming
from course_lib.data.microworld.world import Scene

TYPES = ("attribute", "place", "relation")
EXTREMES = {"leftmost": ("x", -1), "rightmost": ("x", 1), "topmost": ("y", -1), "bottommost": ("y", 1)}
_BY_LENGTH = (("shape",), ("colour",), ("colour", "shape"), ("size", "shape"), ("material", "shape"))


class Expression(NamedTuple):
    """A phrase that means one object.

    Args:
        text: the phrase, as "the red ring left of the large star".
        type: one of `TYPES`.
        target: the object's place in `scene.objects`; its mask is `masks([scene])[0, target]`.
        box: left, top, right, bottom as fractions of the picture's side.
        program: what the phrase means, for `resolve`.
    """

    text: str
    type: str
    target: int
    box: tuple[float, float, float, float]
    program: tuple


def resolve(program: tuple, scene: Scene) -> list[int]:
    """The objects that a phrase can mean; a good expression leaves one."""
    kind, phrase, *rest = program
    fits = phrase.of(scene)
    if kind == "attribute":
        return fits
    if kind == "place":
        axis, sign = EXTREMES[rest[0]]
        far = {i: sign * getattr(scene.objects[i], axis) for i in fits}
        # All those that are not clearly behind the farthest.
        return [i for i in fits if far[i] >= max(far.values()) - MARGIN]
    relation, anchor_phrase = rest
    anchors = anchor_phrase.of(scene)
    return [
        i
        for i in fits
        if any(i != j and clearly(relation, scene.objects[i], scene.objects[j]) is not False for j in anchors)
    ]


def _candidates(target: int, scene: Scene, pick: Pick) -> dict[str, list[tuple]]:
    """Programs of each type that may mean the target, the better ones first."""
    thing = scene.objects[target]
    name = naming(target, scene, pick)
    phrases = [about(thing, names) for names in _BY_LENGTH]
    shared = [phrase for phrase in phrases if len(phrase.of(scene)) > 1]  # where attributes alone are not enough
    anchors = []
    for j in range(len(scene.objects)):
        anchor = naming(j, scene, pick) if j != target else None
        if anchor:
            anchors += [(relation, anchor) for relation in RELATION_WORDS if clearly(relation, thing, scene.objects[j])]
    return {
        "attribute": [("attribute", name)] if name else [],
        "place": [("place", phrase, extreme) for phrase in (*shared, Phrase()) for extreme in EXTREMES],
        "relation": [("relation", phrase, *anchor) for phrase in (*shared, Phrase(), phrases[0]) for anchor in anchors],
    }


def in_words(program: tuple) -> str:
    """The phrase that a program stands for."""
    kind, phrase, *rest = program
    if kind == "place":
        return f"the {rest[0]} {phrase.words()}"
    if kind == "relation":
        return f"the {phrase.words()} {RELATION_WORDS[rest[0]][0]} the {rest[1].words()}"
    return f"the {phrase.words()}"


def referring_expressions(scene: Scene) -> list[Expression]:
    """For each object up to one expression of each type, the same at every call; each means that object only.

    Objects that no words tell apart get none; a scene of one object gets one by its attributes.
    """
    pick = chooser(scene.grain ^ 0x2545F4914F6C)
    expressions = []
    for target, thing in enumerate(scene.objects):
        for kind, programs in _candidates(target, scene, pick).items():
            if kind != "attribute" and len(scene.objects) == 1:
                continue
            good = [program for program in programs if resolve(program, scene) == [target]]
            if good:
                # One of those with the same, best phrase.
                program = pick([program for program in good if program[1] == good[0][1]])
                expressions.append(Expression(in_words(program), kind, target, thing.box, program))
    return expressions
