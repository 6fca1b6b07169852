"""Reads captions back: what a caption claims, and whether that is true of a scene.

It reads every caption that `captions.py` writes and whatever else is put together from the same phrases, such as the
captions a model generates. So hallucination, noise and hard negatives are measured exactly, without annotators.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import permutations

from course_lib.data.microworld.captions import (
    BACKGROUND_WORDS,
    KINDS,
    MARGIN,
    MATERIAL_WORDS,
    NUMBERS,
    OPENINGS,
    RELATION_WORDS,
    SIZE_WORDS,
    plural,
    region,
)
from course_lib.data.microworld.world import COLOURS, SHAPES, Object, Scene
from course_lib.errors import InputError


def _meanings(words: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {word: meaning for meaning, said in words.items() for word in said}


_SIZES, _MATERIALS, _BACKGROUNDS = _meanings(SIZE_WORDS), _meanings(MATERIAL_WORDS), _meanings(BACKGROUND_WORDS)
_RELATIONS = _meanings(RELATION_WORDS)
_SINGULAR = {plural(shape): shape for shape in SHAPES} | {shape: shape for shape in SHAPES}


def _any(words: Mapping | tuple | list) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


_REGIONS = [f"{down} {across}" for down in ("top", "bottom") for across in ("left", "right")]
_REGIONS += ["top", "bottom", "left", "right", "middle"]
_PHRASE = re.compile(
    rf"(?:an|a|the|one) (?P<single>single )?(?:(?P<size>{_any(_SIZES)}) )?(?:(?P<material>{_any(_MATERIALS)}) )?"
    rf"(?P<colour>{_any(COLOURS)}) (?P<shape>{_any(SHAPES)})\b"
    rf"|(?P<number>{_any(NUMBERS)}) (?P<counted>{_any(_SINGULAR)})\b"
    rf"|the only (?P<only>{_any(KINDS)}) is\b"
    rf"|on an? (?P<background>{_any(_BACKGROUNDS)}) (?:background|backdrop)\b"
    rf"|(?:is )?(?P<relation>{_any(_RELATIONS)})\b"
    rf"|(?:at|in) the (?P<region>{_any(_REGIONS)})\b"
    r"|(?P<conjunction>and)\b"
    rf"|(?P<opening>{_any([opening for opening in OPENINGS if opening])})\b"
)


@dataclass
class Claims:
    """What a caption says: each thing it names, what it says of them, and of the picture.

    Args:
        things: the attributes named of each, as {"colour": "red", "shape": "ring"}.
        relations: (i, relation, j): thing i is left of, right of, above or below thing j.
        places: (i, region): thing i is in that ninth of the picture.
        counts: how many objects of a shape there are, exactly.
        total: how many objects there are in all, if said.
        background: its kind, if said.
    """

    things: list[dict[str, str]] = field(default_factory=list)
    relations: list[tuple[int, str, int]] = field(default_factory=list)
    places: list[tuple[int, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    total: int | None = None
    background: str | None = None


def read(caption: str) -> Claims:
    """What a caption claims.

    Raises:
        InputError: something in it is no phrase of the microworld's captions.
    """
    claims, at, subject, relating = Claims(), 0, None, None
    text = caption.strip()
    while at < len(text):
        found = _PHRASE.match(text, at)
        if not found:
            raise InputError(f"cannot read {text[at:]!r}: it is no phrase of the microworld's captions")
        at = found.end() + 1
        part = {name: word for name, word in found.groupdict().items() if word}
        if "shape" in part:
            claims.total = 1 if part.pop("single", None) else claims.total
            claims.things.append(part | _plain_words(part))
            here = len(claims.things) - 1
            if relating:
                claims.relations.append((subject, relating, here))
            else:
                subject = here
            relating = None
        elif "counted" in part:
            claims.counts[_SINGULAR[part["counted"]]] = NUMBERS.index(part["number"])
        elif "only" in part:
            claims.total = 1
        elif "background" in part:
            claims.background = _BACKGROUNDS[part["background"]]
        elif "region" in part and claims.things:
            claims.places.append((len(claims.things) - 1, part["region"]))
        elif "relation" in part and claims.things:
            relating = _RELATIONS[part["relation"]]
        elif "region" in part or "relation" in part:
            raise InputError(f"cannot read {caption!r}: it says where before it says what")
    if relating:
        raise InputError(f"cannot read {caption!r}: it ends where a thing should be named")
    return claims


def _plain_words(part: dict[str, str]) -> dict[str, str]:
    return {name: words[part[name]] for name, words in (("size", _SIZES), ("material", _MATERIALS)) if name in part}


def holds(relation: str, a: Object, b: Object) -> bool:
    """Whether a is "left" of, "right" of, "above" or "below" b: by more than `MARGIN`, whatever lies the other way."""
    if relation in ("left", "right"):
        return (b.x - a.x if relation == "left" else a.x - b.x) > MARGIN
    return (b.y - a.y if relation == "above" else a.y - b.y) > MARGIN


def is_true(caption: str | Claims, scene: Scene) -> bool:
    """Whether everything that a caption claims is so.

    Things named one after another are different objects; objects that it does not name may be there too.

    Raises:
        InputError: the caption cannot be read.
    """
    claims = read(caption) if isinstance(caption, str) else caption
    if claims.background not in (None, scene.background) or claims.total not in (None, len(scene.objects)):
        return False
    shapes = [thing.shape for thing in scene.objects]
    if any(shapes.count(shape) != count for shape, count in claims.counts.items()):
        return False
    fits = [
        {k for k, o in enumerate(scene.objects) if all(getattr(o, name) == value for name, value in named.items())}
        for named in claims.things
    ]
    if not all(fits):
        return False
    for chosen in permutations(range(len(scene.objects)), len(claims.things)):
        if (
            all(k in fit for k, fit in zip(chosen, fits, strict=True))
            and all(region(scene.objects[chosen[i]]) == place for i, place in claims.places)
            and all(holds(said, scene.objects[chosen[i]], scene.objects[chosen[j]]) for i, said, j in claims.relations)
        ):
            return True
    return False
