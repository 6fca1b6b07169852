"""Captions as the web has them: some true, some not, and each known for what it is.

Collected alternative text (Conceptual Captions, ALIGN, LAION) is noisy in three ways, which are imitated here: it
belongs to another picture, it gets a detail wrong, or it is not about a picture at all.
"""

from collections.abc import Sequence
from typing import NamedTuple

from course_lib.data.microworld.captions import Pick, captions, chooser
from course_lib.data.microworld.reading import is_true
from course_lib.data.microworld.world import COLOURS, SHAPES, Scene
from course_lib.errors import InputError

KINDS = ("clean", "swapped", "detail", "boilerplate")
BOILERPLATE = (
    "click here to enlarge",
    "free shipping on all orders",
    "img {} jpg",
    "photo {} of {}",
    "stock image royalty free download",
    "no description available",
    "follow us for more",
    "sale up to {} percent off",
    "page {} of the catalogue",
    "image may be subject to copyright",
)
_OPPOSITES = {"left": "right", "right": "left", "above": "below", "below": "above", "over": "under", "under": "over"}
_OPPOSITES |= {"small": "large", "large": "small", "little": "big", "big": "little"}


class NoisyCaption(NamedTuple):
    """A caption and what is wrong with it: `kind` is one of `KINDS`, "clean" if nothing is."""

    text: str
    kind: str

    @property
    def is_true(self) -> bool:
        """Whether it is true of its picture: the label that a filter has to find."""
        return self.kind == "clean"


def noisy_captions(scenes: Sequence[Scene], seed: int, rate: float = 0.5) -> list[NoisyCaption]:
    """One caption for each scene, of which a share is wrong; of those, each kind of noise has about a third.

    A swapped or changed caption is checked against the scene and is never true of it by accident.

    Args:
        scenes: the pictures' scenes.
        seed: any integer from 0 up; another seed makes other captions wrong, in other ways.
        rate: the share of wrong captions, 0 to 1.

    Raises:
        InputError: a seed or rate that cannot be.
    """
    if not 0 <= rate <= 1:
        raise InputError(f"rate is {rate}; the share of wrong captions is between 0 and 1")
    if seed < 0:
        raise InputError(f"seed is {seed}; it can be any integer from 0 up")
    pick = chooser(seed * 0x9E3779B97F4A7C15 + 1)
    noisy = []
    for scene in scenes:
        wrong = pick(range(1 << 20)) < rate * (1 << 20)
        kind = pick(KINDS[1:]) if wrong else "clean"
        text = None
        if kind == "swapped":
            text = _swapped(scene, scenes, pick)
        if kind == "detail" or (kind == "swapped" and text is None):
            text, kind = _changed(scene, pick), "detail"
        elif kind == "boilerplate":
            text = pick(BOILERPLATE).replace("{}", str(pick(range(10, 99))))
        noisy.append(NoisyCaption(text or pick(captions(scene)), kind))
    return noisy


def _swapped(scene: Scene, scenes: Sequence[Scene], pick: Pick) -> str | None:
    """Another scene's caption that is false of this one; None if twenty tries find none."""
    for _ in range(20):
        text = pick(captions(pick(scenes)))
        if not is_true(text, scene):
            return text
    return None


def _changed(scene: Scene, pick: Pick) -> str:
    """A caption with one word exchanged so that it is false."""
    while True:
        words = pick(captions(scene)).split()
        at = pick(range(len(words)))
        words[at] = changed_word(words[at], pick)
        if words[at - 1] in ("a", "an"):
            words[at - 1] = "an" if words[at][0] in "aeiou" else "a"
        text = " ".join(words)
        if not is_true(text, scene):
            return text


def changed_word(word: str, pick: Pick) -> str:
    """Another word of the same kind: a colour for a colour, a shape for a shape, the opposite side or size."""
    for kind in (COLOURS, SHAPES):
        if word in kind:
            return pick([other for other in kind if other != word])
    return _OPPOSITES.get(word, word)
