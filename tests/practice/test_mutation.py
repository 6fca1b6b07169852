"""The proof of the checks: what it makes, and what it says of set 06."""

import ast
import functools
import re
from dataclasses import replace

import pytest
import torch

from course_lib.practice import mutation
from course_lib.practice.exercise import Case, exercise, exercises, lessons

SET = [one for lesson in lessons() for one in exercises(lesson)]


@functools.cache
def changes_of(id: str) -> list[mutation.Change]:
    """Made once for all tests of this file."""
    return mutation.changes(exercise(id))


def test_every_kind_of_change_is_made():
    kinds = {change.kind for one in SET for change in changes_of(one.id)}
    assert kinds == {"sign", "axis", "reduction", "term", "number", "order", "constant", "call"}


@pytest.mark.parametrize("one", SET, ids=lambda one: one.id)
def test_changes_are_whole_different_and_of_one_line(one):
    made = changes_of(one.id)
    assert (len(made) > 10) == (one.asked != "value")
    assert len({change.source for change in made}) == len(made)
    for change in made:
        ast.parse(change.source)
        assert change.line != change.changed
        assert not re.search(r"(?m)^\s*#", change.source)


def test_annotations_are_left_alone():
    original = [line for line in mutation.solution_source(exercise("06.2")).split("\n") if line.startswith("def ")]
    assert all(original[0] in change.source for change in changes_of("06.2"))


def test_every_equivalent_that_is_listed_is_met():
    """A reason for a change that is no longer made is out of date."""
    for one in SET:
        made = {change.changed for change in changes_of(one.id)}
        assert set(one.equivalents) <= made


def test_a_check_that_lets_everything_pass_is_found_out():
    """The proof itself can fail: with a case that asks for nothing, mutants survive and are said to."""
    empty = {"image_features": torch.zeros(0, 2), "text_features": torch.zeros(0, 2), "temperature": 1.0}
    lax = replace(exercise("06.1"), id="99.1", cases=lambda seed: [Case("nothing", empty)])
    assert mutation.examine(lax, lambda i, t, s: i @ t.T).passed
    assert not mutation.examine(exercise("06.1"), lambda i, t, s: i @ t.T).passed


@pytest.mark.slow
@pytest.mark.parametrize("one", SET, ids=lambda one: one.id)
def test_all_wrong_answers_are_killed_all_right_ones_accepted_and_95_percent_of_changes(one):
    proof = mutation.prove(one)
    assert len(proof.written) >= 4 and len(proof.right) >= 2
    assert [name for name, expected, named, killed in proof.written if not killed or expected != named] == []
    assert [name for name, accepted, _ in proof.right if not accepted] == []
    assert proof.rate >= 0.95  # of all that were made; those explained count as alive
    assert [change.name for change in proof.survivors] == []  # each is explained, or the check has a hole


def test_axes_by_name_are_turned_and_devices_left_alone():
    one = replace(exercise("06.2"), name="f")
    source = "def f(x):\n    return x.sum(dim=-1) + F.normalize(x, dim=0) + torch.ones(3, device=x.device)"
    made = {change.changed for change in mutation.changes(one, source)}
    assert "return x.sum(dim=0) + F.normalize(x, dim=0) + torch.ones(3, device=x.device)" in made
    assert "return x.sum(dim=-1) + F.normalize(x, dim=-1) + torch.ones(3, device=x.device)" in made
    assert "return x.sum() + F.normalize(x, dim=0) + torch.ones(3, device=x.device)" in made
    assert "return x.sum(dim=-1) + F.normalize(x) + torch.ones(3, device=x.device)" not in made
    assert not any("torch.ones(3)" in change for change in made)
