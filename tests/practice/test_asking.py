"""Asking an answer: what crosses to an untrusted side and back, and what comes of odd answers."""

import json
import math
from dataclasses import fields

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from course_lib.practice.asking import TAG, Given, Outcome, Question, Unknown, ask, from_tree, plain, tree
from course_lib.practice.exercise import exercise, exercises, given, held_back
from course_lib.practice.judging import judge, telling
from course_lib.practice.lesson_06.exercises import ByteTextEncoder, text_encoder


def through_json_and_safetensors(value):
    """As a wire would carry it: nothing but JSON and tensors."""
    tensors = {}

    def out(part):
        if isinstance(part, torch.Tensor):
            tensors[str(len(tensors))] = part.contiguous().clone()
            return {"tensor": str(len(tensors) - 1)}
        if isinstance(part, (list, tuple)):
            return {"list": [out(item) for item in part], "tuple": isinstance(part, tuple)}
        if isinstance(part, dict):
            return {"dict": [[key, out(item)] for key, item in part.items()]}
        return part

    def back(part):
        if isinstance(part, dict) and "tensor" in part:
            return loaded[part["tensor"]]
        if isinstance(part, dict) and "list" in part:
            return (tuple if part["tuple"] else list)(back(item) for item in part["list"])
        if isinstance(part, dict):
            return {key: back(item) for key, item in part["dict"]}
        return part

    text = json.dumps(out(tree(value)))
    loaded = load(save(tensors)) if tensors else {}
    return from_tree(back(json.loads(text)))


@pytest.mark.parametrize("one", exercises("06"), ids=lambda one: one.id)
def test_every_question_and_its_outcome_cross_the_wire(one):
    """What the reference makes of a question that was sent away, and sent back, is judged right."""
    for case in [*one.cases(4), *held_back(one, 4)][: 8 if one.measure is None else 1]:
        question = through_json_and_safetensors(one.question(case))
        assert type(question) is Question
        outcome = through_json_and_safetensors(ask(one.reference, question))
        assert judge(one, case, outcome).passed


def test_a_question_holds_nothing_that_only_the_judge_may_see():
    for one in exercises("06"):
        for case in [*one.cases(0), *held_back(one, 0)]:
            sent = tree(one.question(case))
            assert set(sent) == {TAG} | {part.name for part in fields(Question)}
            assert set(sent["inputs"]) == set(case.inputs) and case.about not in repr(sent)


def test_a_given_part_is_built_where_it_is_used():
    part = text_encoder(3, 4)
    same = through_json_and_safetensors(part)
    assert type(same) is Given
    sentences = ["a red cube", "a cube, red"]
    first, second = part.build()(sentences), same.build()(sentences)
    assert first.shape == (2, 4) and torch.equal(first, second) and not torch.equal(first[0], first[1])
    with pytest.raises(TypeError, match="list of sentences"):
        same.build()("a red cube")
    assert given(ByteTextEncoder).name == "ByteTextEncoder"


@pytest.mark.parametrize(
    "forged",
    [
        {TAG: "Exercise"},
        {TAG: "Given", "source": "x", "evil": 1},
        {TAG: "Outcome", "error": 3},
        {TAG: "Outcome", "changed": "all"},
        {TAG: "Outcome", "gradients": {"x": 3}},
        {TAG: "Outcome", "initial": [1]},
        {TAG: ["Outcome"]},
        {TAG: "Unknown", "type": "x", "more": 1},
    ],
)
def test_a_forged_outcome_is_refused(forged):
    with pytest.raises(ValueError):
        from_tree(forged)


def test_depth_is_limited_both_ways():
    value = []
    for _ in range(100):
        value = [value]
    with pytest.raises(ValueError):
        from_tree(value)
    innermost = plain(value)
    while isinstance(innermost, list):
        innermost = innermost[0]
    assert innermost == Unknown("deeply nested structure")


def test_from_tree_runs_nothing(tmp_path):
    mark = tmp_path / "ran"
    part = from_tree(tree(Given(f"open({str(mark)!r}, 'w')", "X")))
    assert type(part) is Given and not mark.exists()


def test_gradients_are_those_of_autograd():
    inputs = {"a": torch.ones(2), "b": torch.arange(3.0)}
    outcome = ask(lambda a, b: a * b.sum(), Question("function", inputs, gradients=True))
    torch.testing.assert_close(outcome.gradients["a"], torch.tensor([1.5, 4.5]))
    torch.testing.assert_close(outcome.gradients["b"], torch.full((3,), 2.0))
    nothing = ask(lambda a: a.detach(), Question("function", {"a": torch.ones(2)}, gradients=True))
    assert nothing.gradients is None


def test_changed_arguments_are_noticed_wherever_they_lie():
    def spoils(tensor, names, table, number):
        tensor[0] = 5
        names.append("x")
        table["k"].add_(1)
        return 0

    inputs = {"tensor": torch.zeros(2), "names": ["a"], "table": {"k": torch.zeros(1)}, "number": 3}
    assert ask(spoils, Question("function", inputs)).changed == ["tensor", "names", "table"]
    assert inputs["names"] == ["a"] and not inputs["tensor"].any()


def test_nan_in_an_unchanged_argument_is_no_change():
    assert not ask(lambda x: 0, Question("function", {"x": torch.tensor([math.nan, 1.0])})).changed


def test_a_module_gets_the_weights_and_a_wrong_one_is_told_which():
    one = exercise("06.6")

    class NoProjections(nn.Module):
        def __init__(self, vision_width, text_width, embed_dim):
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(3))

    case = one.cases(0)[0]
    verdict = judge(one, case, ask(NoProjections, one.question(case)))
    assert verdict.mistake == "error"
    assert "visual_projection.weight" in verdict.message and '"scale"' in verdict.message
    verdict = judge(one, case, ask(one.reference(4, 3, 2), one.question(case)))
    assert "inherits from nn.Module, not an object" in verdict.message


def test_the_commonest_mistake_tells_most_and_a_known_one_more_than_a_fault():
    one = exercise("06.2")
    right, *_ = [judge(one, case, ask(one.reference, one.question(case))) for case in one.cases(0)]
    assert telling([right, right]) is None

    def verdict(mistake):
        return type(right)(False, mistake, "")

    assert telling([right, verdict("one direction"), verdict("error"), verdict("error")]) == 2
    assert telling([verdict("wrong value"), verdict("one direction")]) == 1
    assert telling([verdict("a"), verdict("b"), verdict("b"), verdict("a")]) == 0


def test_outcomes_begin_empty():
    assert Outcome() == Outcome(value=None, gradients=None, changed=[], error="")
