"""What is said and asked about scenes: captions, noise, questions, referring expressions, held to the scene graph."""

from collections import Counter, defaultdict
from itertools import product

import pytest

from course_lib.authoring.dataset import distinctness, guessing
from course_lib.data.microworld import (
    ANSWERS,
    HELD_OUT,
    QUESTION_TYPES,
    VOCABULARY,
    Object,
    Scene,
    annotators,
    balanced_questions,
    captions,
    is_true,
    noisy_captions,
    questions,
    referring_expressions,
    sample_scenes,
)
from course_lib.data.microworld.expressions import resolve
from course_lib.data.microworld.noise import BOILERPLATE
from course_lib.data.microworld.phrases import Phrase
from course_lib.data.microworld.questions import TYPICAL, answer
from course_lib.data.microworld.reading import read
from course_lib.errors import InputError

RED_RING = Object("ring", "red", "small", "shiny", 0.2, 0.3, 0.13, 0.0)
BLUE_STAR = Object("star", "blue", "large", "plain", 0.7, 0.32, 0.2, 0.0)
RED_STAR = Object("star", "red", "large", "dotted", 0.5, 0.78, 0.19, 0.0)
SCENE = Scene((RED_RING, BLUE_STAR, RED_STAR), "checks", 0, 0.0, 12345)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return sample_scenes(800, 21) + sample_scenes(200, 21, "held_out")


def test_every_caption_is_true_of_its_scene(scenes):
    for scene in scenes:
        said = captions(scene)
        assert len(said) == 5 and said == captions(scene)
        for text in said:
            assert is_true(text, scene), text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a small shiny red ring left of a large plain blue star and above a large dotted red star", True),
        ("a small shiny red ring right of a large plain blue star", False),
        ("the little glossy red ring is to the left of the blue star", True),
        ("the red star is over the red ring", False),
        ("the red star is under the red ring", True),
        ("two stars and one ring on a chequered backdrop", True),
        ("two stars and one ring on a cloudy backdrop", False),
        ("one star and one ring", False),
        ("three stars", False),
        ("a blue star and a blue star", False),
        ("a red star and a red ring", True),
        ("a single red ring", False),
        ("the only shape is a red ring", False),
        ("a red ring at the top left", True),
        ("a red ring at the left", False),
        ("a red star at the bottom and a blue star at the top right", True),
        ("a picture of a striped red ring", False),
        ("", True),
    ],
)
def test_what_captions_mean(text, expected):
    assert is_true(text, SCENE) is expected


def test_captions_that_cannot_be_read_are_refused():
    for text in ("a red dog", "left of a red ring", "a red ring above", "a red ring floating", "at the top"):
        with pytest.raises(InputError, match="cannot read"):
            read(text)


def test_the_first_caption_says_everything(scenes):
    for scene in scenes[:300]:
        claims = read(captions(scene)[0])
        said = sorted(tuple(sorted(thing.items())) for thing in claims.things)
        names = ("colour", "material", "shape", "size")
        assert said == sorted(tuple((name, getattr(o, name)) for name in names) for o in scene.objects)
        assert claims.background == scene.background
        assert len(claims.relations) + len(claims.places) >= 1


def test_the_first_caption_is_true_of_no_other_picture_of_a_thousand():
    first, *others = distinctness(sample_scenes(1000, 1, "test"))
    assert first >= 0.97
    assert all(other < first for other in others)


def test_vocabulary_is_every_word_and_no_other(scenes):
    used = set()
    for scene in scenes:
        asked = questions(scene, rounds=2)
        texts = [*captions(scene), *(q.text for q in asked), *(q.answer for q in asked)]
        used.update(word for text in texts + [e.text for e in referring_expressions(scene)] for word in text.split())
        assert max(len(text.split()) for text in texts) <= 29  # 31 with a start and an end token
    assert used == set(VOCABULARY) and list(VOCABULARY) == sorted(VOCABULARY) and len(VOCABULARY) < 110


def test_noise_is_what_its_label_says(scenes):
    noisy = noisy_captions(scenes, 5, rate=0.5)
    assert noisy == noisy_captions(scenes, 5, rate=0.5) != noisy_captions(scenes, 6, rate=0.5)
    kinds = Counter(caption.kind for caption in noisy)
    assert abs(kinds["clean"] / len(noisy) - 0.5) < 0.05
    assert all(kinds[kind] / len(noisy) > 0.12 for kind in ("swapped", "detail", "boilerplate"))
    boilerplate = {text.split()[0] for text in BOILERPLATE}
    for scene, caption in zip(scenes, noisy, strict=True):
        if caption.kind == "boilerplate":
            assert caption.text.split()[0] in boilerplate and not caption.is_true
            with pytest.raises(InputError):
                read(caption.text)
        else:
            assert is_true(caption.text, scene) is caption.is_true is (caption.kind == "clean")
    assert all(caption.is_true for caption in noisy_captions(scenes[:50], 0, rate=0))
    assert not any(caption.is_true for caption in noisy_captions(scenes[:50], 0, rate=1))
    alone = noisy_captions([SCENE] * 40, 0, rate=1)  # nothing to swap with
    assert {caption.kind for caption in alone} <= {"detail", "boilerplate"}


RING, STAR, RED, BLUE = Phrase(shape="ring"), Phrase(shape="star"), Phrase(colour="red"), Phrase(colour="blue")


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (("exists", RING), "yes"),
        (("exists", Phrase(colour="blue", shape="ring")), "no"),
        (("count", STAR), "2"),
        (("count", Phrase(shape="heart")), "0"),
        (("query", "colour", RING), "red"),
        (("query", "material", BLUE), "plain"),
        (("query", "size", RING), "small"),
        (("query", "colour", STAR), None),
        (("query", "colour", Phrase(shape="heart")), None),
        (("left", RING, BLUE), "yes"),
        (("right", RING, BLUE), "no"),
        (("above", RING, BLUE), None),  # level with it
        (("below", Phrase(colour="red", shape="star"), RING), "yes"),
        (("more", STAR, RING), "yes"),
        (("more", BLUE, RED), "no"),
        (("larger", BLUE, RING), "yes"),
        (("larger", RING, BLUE), "no"),
        (("larger", BLUE, Phrase(material="dotted")), None),
        (("same", "colour", RING, Phrase(material="dotted")), "yes"),
        (("same", "shape", RING, BLUE), "no"),
        (("same", "shape", RING, RING), None),
    ],
)
def test_answers_follow_from_the_scene_graph(program, expected):
    assert answer(program, SCENE) == expected


def test_questions_have_the_answer_of_their_program(scenes):
    types = Counter()
    for scene in scenes:
        asked = questions(scene, rounds=2)
        assert len({q.text for q in asked}) == len(asked)
        for question in asked:
            assert question.answer == answer(question.program, scene) and question.answer in ANSWERS
            types[question.type] += 1
    assert set(types) == set(QUESTION_TYPES) and min(types.values()) > len(scenes) / 2
    assert {q.type for q in questions(SCENE, rounds=5, types=["spatial"])} == {"spatial"}


def test_a_text_means_one_program(scenes):
    programs = defaultdict(set)
    for scene in scenes:
        for question in questions(scene):
            programs[question.text].add(question.program)
    assert all(len(found) == 1 for found in programs.values())


def test_raw_questions_are_biased_and_balanced_ones_are_not(scenes):
    raw = [question for scene in scenes for question in questions(scene)]
    balanced = balanced_questions(scenes)
    for i, (index, question, partner) in enumerate(balanced):
        other = balanced[partner]
        assert other.partner == i and other.question.text == question.text
        assert other.question.answer != question.answer and other.scene != index
        assert question.answer == answer(question.program, scenes[index])
    texts = defaultdict(Counter)
    for asked in balanced:
        texts[asked.question.text][asked.question.answer] += 1
    assert all(2 * max(counts.values()) <= counts.total() for counts in texts.values())

    def yes(some):
        there = [question.answer for question in some if question.type == "existence"]
        return there.count("yes") / len(there)

    assert yes(raw) > 0.65 and yes([asked.question for asked in balanced]) == 0.5
    coloured = [q for q in raw if q.type == "colour" and q.text.startswith("what colour is the ")]
    for colour, shape in TYPICAL.items():
        about = Counter(q.answer for q in coloured if q.text == f"what colour is the {shape}")
        assert about.most_common(1)[0][0] == colour and (colour, shape) not in HELD_OUT
    assert guessing([q for q in raw if q.type == "colour"]) > 0.05 + guessing(
        [asked.question for asked in balanced if asked.question.type == "colour"]
    )


def test_ten_annotators_of_whom_most_are_right(scenes):
    slips = Counter()
    for scene in scenes[:300]:
        for question in questions(scene):
            given = annotators(question, scene)
            assert len(given) == 10 and given == annotators(question, scene)
            assert Counter(given).most_common(1)[0][0] == question.answer and set(given) <= set(ANSWERS)
            slips[10 - given.count(question.answer)] += 1
    assert slips[0] > slips[1] > 0 and max(slips) <= 3


def test_referring_expressions_mean_one_object(scenes):
    kinds, objects = Counter(), 0
    for scene in scenes:
        objects += len(scene.objects)
        said = referring_expressions(scene)
        for expression in said:
            assert resolve(expression.program, scene) == [expression.target]
            assert expression.box == scene.objects[expression.target].box
            kinds[expression.type] += 1
        # No two objects of a scene share a phrase.
        assert len({(e.text, e.target) for e in said}) == len({e.text for e in said})
    assert kinds["attribute"] > 0.95 * objects and kinds["place"] > 0.7 * objects and kinds["relation"] > 0.7 * objects


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (("attribute", RING), [0]),
        (("attribute", STAR), [1, 2]),
        (("place", STAR, "rightmost"), [1]),
        (("place", Phrase(), "leftmost"), [0]),
        (("place", Phrase(), "topmost"), [0, 1]),  # level: not clear which
        (("place", RED, "bottommost"), [2]),
        (("relation", STAR, "right", RING), [1, 2]),
        (("relation", STAR, "below", BLUE), [2]),
        (("relation", RING, "left", Phrase(shape="heart")), []),
    ],
)
def test_what_expressions_mean(program, expected):
    assert resolve(program, SCENE) == expected


def test_twins_get_no_attribute_expression():
    twins = [Object("heart", "pink", "small", "plain", x, 0.5, 0.13, 0.0) for x in (0.3, 0.7)]
    said = referring_expressions(Scene(tuple(twins), "plain", 0, 0.0, 3))
    assert {e.text for e in said} >= {"the leftmost heart", "the rightmost heart"}
    assert "attribute" not in {e.type for e in said}


def test_relations_are_never_both_ways():
    for relation, other in (("left", "right"), ("above", "below")):
        for a, b in product(SCENE.objects, repeat=2):
            text = f"a {a.colour} {a.shape} {relation}{' of' * (relation == 'left')} a {b.colour} {b.shape}"
            back = f"a {a.colour} {a.shape} {other}{' of' * (other == 'right')} a {b.colour} {b.shape}"
            assert not (is_true(text, SCENE) and is_true(back, SCENE))
