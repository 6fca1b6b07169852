import dataclasses

import pytest

from course_lib.data.microworld import HELD_OUT, captions, is_true, split_of
from course_lib.data.microworld.captions import relation
from course_lib.data.microworld.look_alikes import VARIANTS, look_alikes
from course_lib.errors import InputError

FAMILIES = look_alikes(25, seed=3, split="train")


def pairs(scene):
    return {thing.pair for thing in scene.objects}


def test_members_differ_in_what_their_name_says():
    for base, exchanged, mirrored, material in FAMILIES:
        one, two = base.objects
        assert one.shape != two.shape and one.colour != two.colour
        assert pairs(exchanged) == {(two.colour, one.shape), (one.colour, two.shape)}
        assert pairs(mirrored) == pairs(base) == pairs(material)
        opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}
        assert relation(*mirrored.objects) == opposite[relation(*base.objects)]
        assert relation(*exchanged.objects) == relation(*material.objects) == relation(*base.objects)
        assert material.objects[0].material != one.material and material.objects[1].material == two.material
        for other in (exchanged, mirrored):
            assert [thing.material for thing in other.objects] == [one.material, two.material]
        for scene in (exchanged, mirrored, material):
            assert (scene.background, scene.tint, scene.grain) == (base.background, base.tint, base.grain)


def test_a_complete_caption_is_true_of_its_own_picture_only():
    for family in FAMILIES:
        texts = [captions(scene)[0] for scene in family]
        assert len(set(texts)) == len(VARIANTS)
        for text, own in zip(texts, family, strict=True):
            assert [is_true(text, scene) for scene in family] == [scene is own for scene in family]


def test_objects_stay_inside_and_apart():
    for scene in (scene for family in FAMILIES for scene in family):
        one, two = scene.objects
        assert all(0 < edge < 1 for thing in (one, two) for edge in thing.box)
        assert (one.x - two.x) ** 2 + (one.y - two.y) ** 2 >= (0.96 * (one.radius + two.radius)) ** 2


@pytest.mark.parametrize("split", ["train", "test"])
def test_all_members_belong_to_the_split_and_to_pairs_that_may_be_trained_on(split):
    for family in look_alikes(4, seed=5, split=split):
        assert {split_of(scene) for scene in family} == {split}
        assert not any(pairs(scene) & HELD_OUT for scene in family)


def test_the_same_seed_gives_the_same_families_and_fewer_are_the_first_of_more():
    assert look_alikes(7, seed=3) == FAMILIES[:7]
    assert look_alikes(7, seed=4) != FAMILIES[:7]
    assert len({dataclasses.astuple(scene) for family in FAMILIES for scene in family}) == 100


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: look_alikes(0, 1), "count is 0"),
        (lambda: look_alikes(1, 1, "held_out"), "should be one of train, validation, test"),
    ],
)
def test_what_cannot_be_is_refused(call, words):
    with pytest.raises(InputError, match=words):
        call()
