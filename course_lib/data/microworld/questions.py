"""Questions about scenes, each with the small program that answers it: raw, with natural biases, and balanced.

The raw questions have the faults of VQA v1 (Antol et al. 2015): what people ask about is usually there, and things
have typical colours. Balanced ones come in complementary pairs as in VQA v2 (Goyal et al. 2017): one question, two
pictures, two answers, so that nobody does better than chance without looking. The types are those of CLEVR and GQA.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from course_lib.data.microworld.captions import RELATION_WORDS, Pick, chooser
from course_lib.data.microworld.phrases import Phrase, about, clearly, naming
from course_lib.data.microworld.world import COLOURS, MATERIALS, SHAPES, SIZES, Scene

TYPES = ("existence", "counting", "colour", "shape", "size", "material", "spatial", "comparison")
ANSWERS = ("yes", "no", "0", "1", "2", "3", "4", *COLOURS, *SHAPES, *SIZES, *MATERIALS)
# What colour a shape usually has in the questions people raise: the bias of the raw set. All are seen pairs.
TYPICAL = dict(zip(("blue", "green", "orange", "yellow", "red", "black", "pink", "purple"), SHAPES, strict=True))
_RELATIONS = tuple(RELATION_WORDS)


class Question(NamedTuple):
    """A question, its answer for the scene it was asked about, and the program that gives the answer.

    Args:
        text: the question, lower case, without a question mark.
        type: one of `TYPES`.
        answer: one of `ANSWERS`.
        program: an operation and its arguments, for `answer`.
    """

    text: str
    type: str
    answer: str
    program: tuple


class Asked(NamedTuple):
    """A question of a balanced set.

    Args:
        scene: which scene it is asked about, as a position in the list of scenes.
        question: the question, with the answer for that scene.
        partner: where in the balanced set the same question with another answer is.
    """

    scene: int
    question: Question
    partner: int


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def answer(program: tuple, scene: Scene) -> str | None:
    """The answer to a program for a scene; None where it supposes what is not so (no such thing, or several)."""
    operation, *arguments = program
    phrases = [argument for argument in arguments if isinstance(argument, Phrase)]
    found = [phrase.of(scene) for phrase in phrases]
    if operation == "exists":
        return _yes(bool(found[0]))
    if operation == "count":
        return str(len(found[0]))
    if operation == "more":
        return _yes(len(found[0]) > len(found[1]))
    if any(len(places) != 1 for places in found):
        return None
    things = [scene.objects[places[0]] for places in found]
    if operation == "query":
        return getattr(things[0], arguments[0])
    if things[0] is things[1]:
        return None
    if operation == "same":
        return _yes(getattr(things[0], arguments[0]) == getattr(things[1], arguments[0]))
    if operation == "larger":
        return _yes(things[0].size == "large") if things[0].size != things[1].size else None
    where = clearly(operation, *things)
    return None if where is None else _yes(where)


def in_words(program: tuple, pick: Pick) -> str:
    """The question that a program answers."""
    operation, *arguments = program
    if operation == "exists":
        a = arguments[0].words()
        return pick((f"is there {_a(a)}", f"does the picture show {_a(a)}"))
    if operation == "count":
        return pick(("how many {} are there", "how many {} do you see")).format(arguments[0].words(many=True))
    if operation == "more":
        return f"are there more {arguments[0].words(many=True)} than {arguments[1].words(many=True)}"
    if operation == "query":
        return f"what {arguments[0]} is the {arguments[1].words()}"
    if operation == "same":
        return f"are the {arguments[1].words()} and the {arguments[2].words()} the same {arguments[0]}"
    a, b = (phrase.words() for phrase in arguments)
    return f"is the {a} {'larger than' if operation == 'larger' else RELATION_WORDS[operation][0]} the {b}"


def _a(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def _programs(scene: Scene, pick: Pick) -> list[tuple[str, tuple | None]]:
    """One program of each type, in the order of `TYPES`; None where the scene has nothing to ask about."""
    things, spots = scene.objects, range(len(scene.objects))

    def about_something() -> Phrase:
        return about(pick(things), pick((("colour", "shape"), ("colour",), ("shape",), ("material", "shape"))))

    def query(attribute: str, index: int) -> tuple | None:
        phrase = naming(index, scene, pick, without=attribute)
        return phrase and ("query", attribute, phrase)

    # Raw questions mostly ask for what is there: three in four answers are "yes", few counts are zero.
    other = about(pick(things), ("shape",))._replace(colour=pick(COLOURS))
    exists = ("exists", pick((about_something(), about_something(), other)))
    there = about(pick(things), pick((("shape",), ("colour",), ("size",))))
    count = ("count", pick((there, there, Phrase(shape=pick(SHAPES)))))
    usual = [i for i in spots if TYPICAL.get(things[i].colour) == things[i].shape]
    # People ask for the colour of a thing mostly when it is the usual one, and every second time when it is not.
    coloured = pick(usual) if usual else pick((pick(spots), None))
    spatial = comparison = None
    if len(things) > 1:
        first = pick(spots)
        second = pick([i for i in spots if i != first])
        a, b = naming(first, scene, pick), naming(second, scene, pick)
        if a and b:
            spatial = (pick(_RELATIONS), a, b)
            attribute = pick(("colour", "shape", "size", "material"))
            c, d = (naming(i, scene, pick, without=attribute) for i in (first, second))
            kind = pick((("shape",), ("colour",)))
            more = ("more", about(things[first], kind), about(things[second], kind))
            same = ("same", attribute, c, d) if c and d else more
            comparison = pick((("larger", a._replace(size=None), b._replace(size=None)), same, more))
    return [
        ("existence", exists),
        ("counting", count),
        ("colour", None if coloured is None else query("colour", coloured)),
        ("shape", query("shape", pick(spots))),
        ("size", query("size", pick(spots))),
        ("material", query("material", pick(spots))),
        ("spatial", spatial),
        ("comparison", comparison),
    ]


def questions(scene: Scene, rounds: int = 1, types: Sequence[str] = TYPES) -> list[Question]:
    """Raw questions about a scene, the same at every call: up to one of each type per round, none twice.

    A language model without eyes does well on them: most things asked for are there, and hearts are red.

    Args:
        scene: the scene.
        rounds: how often to go through the types.
        types: which of `TYPES` to ask.
    """
    pick = chooser(scene.grain ^ 0x5DEECE66D)
    asked: dict[str, Question] = {}
    for _ in range(rounds):
        for kind, program in _programs(scene, pick):
            reply = answer(program, scene) if program and kind in types else None
            if reply is not None:
                text = in_words(program, pick)
                asked.setdefault(text, Question(text, kind, reply, program))
    return list(asked.values())


def balanced_questions(scenes: Sequence[Scene], rounds: int = 2, types: Sequence[str] = TYPES) -> list[Asked]:
    """Questions in complementary pairs: each has a partner of the same text, for another scene, answered otherwise.

    Made from the raw questions by pairing opposite answers and leaving out what finds no partner. So, of every text,
    no answer is right more than half the time.

    Args:
        scenes: what the questions are about; the more scenes, the more partners.
        rounds: rounds of raw questions to draw on.
        types: which of `TYPES` to ask.
    """
    asked: dict[str, dict[str, list[tuple[int, Question]]]] = defaultdict(lambda: defaultdict(list))
    for index, scene in enumerate(scenes):
        for question in questions(scene, rounds, types):
            asked[question.text][question.answer].append((index, question))
    balanced: list[Asked] = []
    for answers in asked.values():
        # Two of the answers with most questions left, again and again: as many pairs as there can be.
        while True:
            most = sorted((rest for rest in answers.values() if rest), key=len, reverse=True)[:2]
            if len(most) < 2:
                break
            for offset, (index, question) in enumerate(rest.pop() for rest in most):
                balanced.append(Asked(index, question, len(balanced) + 1 - 2 * offset))
    return balanced


def annotators(question: Question, scene: Scene) -> list[str]:
    """Ten answers as ten people would give them, for the soft accuracy of VQA; most agree with the true one.

    At most one in ten slips, and up to three where it is hard: a count of three or four is off by one, a surface is
    taken for another, a colour for its neighbour.
    """
    pick = chooser(scene.grain ^ int.from_bytes(question.text.encode()[-8:], "big"))
    right = question.answer
    if right in ("yes", "no"):
        wrong, slips = [{"yes": "no", "no": "yes"}[right]], (0, 0, 0, 1)
    elif right.isdigit():
        wrong = [str(n) for n in (int(right) - 1, int(right) + 1) if 0 <= n <= 4]
        slips = (0, 0, 1) if int(right) < 3 else (0, 1, 2, 3)
    else:
        words = next(words for words in (COLOURS, SHAPES, SIZES, MATERIALS) if right in words)
        at = words.index(right)
        wrong = [words[i] for i in (at - 1, at + 1) if 0 <= i < len(words)]
        slips = (0, 1, 1, 2) if words is MATERIALS else (0, 0, 1)
    mistaken = pick(slips)
    return [right] * (10 - mistaken) + [pick(wrong) for _ in range(mistaken)]
