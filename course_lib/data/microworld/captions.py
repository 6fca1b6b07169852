"""Five captions of a scene, from a small grammar with paraphrase.

Words are lower case and separated by single spaces, without punctuation. `reading.py` reads the captions back, so that
a program can say of any caption of this grammar whether it is true of a scene.
"""

from collections.abc import Callable, Sequence

from course_lib.data.microworld.world import Object, Scene

# What a word of the scene graph can be called; the first is the usual one, which captions(scene)[0] keeps to.
SIZE_WORDS = {"small": ("small", "little"), "large": ("large", "big")}
MATERIAL_WORDS = {
    "plain": ("plain",),
    "shiny": ("shiny", "glossy"),
    "striped": ("striped", "stripy"),
    "dotted": ("dotted", "spotted"),
}
BACKGROUND_WORDS = {
    "plain": ("plain", "blank"),
    "gradient": ("gradient", "shaded"),
    "noise": ("cloudy", "noisy"),
    "checks": ("checked", "chequered"),
    "stripes": ("striped", "stripy"),
}
RELATION_WORDS = {
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}
PLURALS = {"cross": "crosses"}  # the other shapes take an s
NUMBERS = ("zero", "one", "two", "three", "four")
KINDS = ("object", "shape", "thing")
OPENINGS = ("a picture of", "an image of", "a drawing of", "here is", "there is", "")
MARGIN = 0.05  # a relation holds if the centres are farther apart than this along its axis

Pick = Callable[[Sequence], object]


def chooser(seed: int) -> Pick:
    """A function that picks one of several, differently each time: a linear congruential generator (Knuth's MMIX)."""
    state = seed

    def pick(options: Sequence):
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        return options[(state >> 33) % len(options)]

    return pick


def relation(a: Object, b: Object) -> str:
    """Where a is, seen from b, along the axis on which they are farther apart: "left", "right", "above" or "below"."""
    dx, dy = a.x - b.x, a.y - b.y
    if abs(dx) >= abs(dy):
        return "left" if dx < 0 else "right"
    return "above" if dy < 0 else "below"


def region(thing: Object) -> str:
    """The ninth of the picture that an object's centre is in: "top left", "middle", "right", ..."""
    down = "top" if thing.y < 0.4 else "bottom" if thing.y > 0.6 else ""
    across = "left" if thing.x < 0.4 else "right" if thing.x > 0.6 else ""
    return f"{down} {across}".strip() or "middle"


def plural(shape: str) -> str:
    return PLURALS.get(shape, shape + "s")


def _with_article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def _full(thing: Object) -> str:
    """All that can be said of an object, in the usual words."""
    return f"{thing.size} {thing.material} {thing.colour} {thing.shape}"


def _some(thing: Object, pick: Pick) -> str:
    """Colour and shape, and sometimes size and material."""
    words = f"{thing.colour} {thing.shape}"
    said = pick((0, 1, 2, 3))
    if said & 1 and thing.material != "plain":
        words = f"{pick(MATERIAL_WORDS[thing.material])} {words}"
    if said & 2:
        words = f"{pick(SIZE_WORDS[thing.size])} {words}"
    return words


def _place(thing: Object) -> str:
    where = region(thing)
    return f"in the {where}" if where == "middle" else f"at the {where}"


def _shuffled(things: Sequence[Object], pick: Pick) -> list[Object]:
    rest, order = list(things), []
    while rest:
        order.append(rest.pop(pick(range(len(rest)))))
    return order


def _complete(scene: Scene, pick: Pick) -> str:
    """Every object with every attribute, relations and the background, in at most 29 words."""
    things = _shuffled(scene.objects, pick)
    say = [f"a {_full(thing)}" for thing in things]

    def seen_from(a: int, b: int) -> str:
        return RELATION_WORDS[relation(things[a], things[b])][0]

    if len(things) == 1:
        text = f"a single {_full(things[0])} {_place(things[0])}"
    elif len(things) == 2:
        text = f"{say[0]} {seen_from(0, 1)} {say[1]}"
    elif len(things) == 3:
        text = f"{say[0]} {seen_from(0, 1)} {say[1]} and {seen_from(0, 2)} {say[2]}"
    else:
        text = f"{say[0]} {seen_from(0, 1)} {say[1]} and {say[2]} {seen_from(2, 3)} {say[3]}"
    return f"{text} on a {BACKGROUND_WORDS[scene.background][0]} background"


def _relational(scene: Scene, pick: Pick) -> str:
    """A sentence on where one object is, seen from another, or in the picture if it is alone."""
    things = _shuffled(scene.objects, pick)
    if len(things) == 1:
        kind = pick(KINDS)
        return f"the only {kind} is {_with_article(_some(things[0], pick))} {_place(things[0])}"
    a, b = things[:2]
    where = pick(RELATION_WORDS[relation(a, b)])
    return f"{_definite(a, scene, pick)} is {where} {_definite(b, scene, pick)}"


def _definite(thing: Object, scene: Scene, pick: Pick) -> str:
    """'the ...' with enough words that no other object of the scene is meant, or 'one ...' where none are enough."""
    rivals = [other for other in scene.objects if other is not thing and other.pair == thing.pair]
    if not rivals:
        return f"the {_some(thing, pick)}"
    if any((other.size, other.material) == (thing.size, thing.material) for other in rivals):
        return f"one {thing.colour} {thing.shape}"
    return f"the {_full(thing)}"


def _counting(scene: Scene, pick: Pick) -> str:
    """How many of each shape, and the background."""
    shapes = [thing.shape for thing in scene.objects]
    counts = [(shape, shapes.count(shape)) for shape in dict.fromkeys(shapes)]
    listed = " and ".join(f"{NUMBERS[n]} {shape if n == 1 else plural(shape)}" for shape, n in counts)
    return f"{listed} on {_with_article(pick(BACKGROUND_WORDS[scene.background]))} {pick(('background', 'backdrop'))}"


def _placed(scene: Scene, pick: Pick) -> str:
    """One or two objects and where in the picture they are."""
    things = _shuffled(scene.objects, pick)[:2]
    return " and ".join(f"{_with_article(_some(thing, pick))} {_place(thing)}" for thing in things)


def _short(scene: Scene, pick: Pick) -> str:
    """All the objects, as alternative text would have them."""
    listed = " and ".join(_with_article(_some(thing, pick)) for thing in _shuffled(scene.objects, pick))
    return f"{pick(OPENINGS)} {listed}".strip()


def captions(scene: Scene) -> list[str]:
    """Five captions of a scene, the same at every call; all of them are true.

    The first is complete: every object with size, material, colour and shape, relations between them (the place in the
    picture, if there is but one object), and the background. The others tell less: a relation, the counts, places, a
    plain list of the objects.
    """
    pick = chooser(scene.grain)
    return [
        _complete(scene, pick),
        _relational(scene, pick),
        _counting(scene, pick),
        _placed(scene, pick),
        _short(scene, pick),
    ]
