"""The proof of the checks: what it makes, and what it says of set 06."""

import ast
import re

import pytest
import torch

from course_lib.practice import mutation
from course_lib.practice.exercise import Case, exercise, exercises, lessons
from course_lib.practice.lesson_06.exercises import projection_case

SET = [one for lesson in lessons() for one in exercises(lesson)]


def test_every_kind_of_change_is_made():
    kinds = {change.kind for one in SET for change in mutation.changes(one)}
    assert kinds == {"sign", "axis", "reduction", "term", "number", "order", "constant", "call"}


@pytest.mark.parametrize("one", SET, ids=lambda one: one.id)
def test_changes_are_whole_different_and_of_one_line(one):
    made = mutation.changes(one)
    assert (len(made) > 10) == (one.asked != "value")
    assert len({change.source for change in made}) == len(made)
    for change in made:
        ast.parse(change.source)
        assert change.line != change.changed
        assert not re.search(r"(?m)^\s*#", change.source)


def test_annotations_are_left_alone():
    original = [line for line in mutation.solution_source(exercise("06.2")).split("\n") if line.startswith("def ")]
    assert all(original[0] in change.source for change in mutation.changes(exercise("06.2")))


def test_every_equivalent_that_is_listed_is_met():
    """A reason for a change that is no longer made is out of date."""
    for one in SET:
        made = {change.changed for change in mutation.changes(one)}
        assert set(one.equivalents) <= made


def test_a_check_that_lets_everything_pass_is_found_out():
    """The proof itself can fail: with a case that asks for nothing, mutants survive and are said to."""
    from dataclasses import replace

    empty = {"image_features": torch.zeros(0, 2), "text_features": torch.zeros(0, 2), "temperature": 1.0}
    lax = replace(exercise("06.1"), id="07.1", cases=lambda seed: [Case("nothing", empty)])
    assert mutation.examine(lax, lambda i, t, s: i @ t.T).passed
    assert not mutation.examine(exercise("06.1"), lambda i, t, s: i @ t.T).passed


@pytest.mark.slow
@pytest.mark.parametrize("one", SET, ids=lambda one: one.id)
def test_all_wrong_answers_are_killed_all_right_ones_accepted_and_95_percent_of_changes(one):
    proof = mutation.prove(one)
    assert len(proof.written) >= 4 and len(proof.right) >= 2
    assert [name for name, expected, named, killed in proof.written if not killed or expected != named] == []
    assert [name for name, accepted, _ in proof.right if not accepted] == []
    assert proof.rate >= 0.95
    assert [change.name for change in proof.survivors] == []  # each is explained, or the check has a hole


@pytest.mark.slow
def test_a_change_that_reaches_the_measure_reaches_it_on_other_features_too():
    """It is no luck: what counts as right for the trained exercise is, by an independent measurement."""
    one = exercise("06.7")
    proof = mutation.prove(one)
    assert proof.killed and proof.equivalents
    case = projection_case(9_000, "")
    images, texts = case.hidden["image_features"], case.hidden["text_features"]
    for change, _ in proof.equivalents:
        space = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, "Tensor": torch.Tensor}
        exec(change.source, space)
        torch.manual_seed(0)
        left, right = (weight.detach() for weight in space[one.name](*case.inputs.values()))
        cosines = torch.cosine_similarity((images @ left)[:, None], (texts @ right)[None], dim=-1)
        own = torch.arange(len(images))
        recall = ((cosines.argmax(1) == own).float().mean() + (cosines.argmax(0) == own).float().mean()) / 2
        assert recall > one.measure.at_least - 0.05, change.name
