"""Every exercise set: wrong answers fail and are told why, right ones pass, and nothing that a set needs is missing."""

import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from course_lib.practice import quiz
from course_lib.practice.checking import examine
from course_lib.practice.exercise import (
    alternatives,
    exercises,
    held_back,
    lessons,
    mutants,
    solution_source,
    source_of,
)
from course_lib.practice.grader.grade import Grader
from course_lib.practice.grader.jail import JailError
from course_lib.practice.judging import FAULTS, expected_of

SETS = {lesson: exercises(lesson) for lesson in lessons()}
ALL = [one for each in SETS.values() for one in each]
COMPARED = [one for one in ALL if one.measure is None]
TRAINED = [one for one in ALL if one.measure is not None]


def name_of(value) -> str:
    return getattr(value, "__name__", None) or getattr(value, "id", None) or str(value)[:30]


def each(of, among):
    return [pytest.param(one, answer, id=f"{one.id}-{name_of(answer)}") for one in among for answer in of(one)]


def wrong(among):
    return [
        pytest.param(one, mutant, id=f"{one.id}-{name_of(mutant.answer)}-{mutant.mistake}")
        for one in among
        for mutant in mutants(one)
    ]


@pytest.mark.parametrize("lesson", SETS)
def test_a_set_takes_ninety_minutes_becomes_harder_and_has_all_kinds(lesson):
    found = SETS[lesson]
    assert 5 <= len(found) <= 8
    assert [one.id for one in found] == [f"{lesson}.{number}" for number in range(1, len(found) + 1)]
    assert len({one.name for one in found}) == len(found)
    assert 80 <= sum(one.minutes for one in found) <= 105
    levels = [one.difficulty for one in found]
    assert levels == sorted(levels) and levels[0] == 1 and levels[-1] == 5
    assert {one.asked for one in found} == {"function", "module", "value"}


@pytest.mark.parametrize("one", ALL, ids=name_of)
def test_an_exercise_has_all_its_parts(one):
    assert len(one.hints) == 3 and all(one.hints) and one.explanation
    assert len(mutants(one)) >= 4
    assert len(alternatives(one)) >= 2
    assert one.cases(0) and (held_back(one, 0) or one.asked == "value" or one.measure)
    own = {mistake.name for mistake in one.mistakes}
    assert len(own) == len(one.mistakes) and not own & set(FAULTS)
    assert {mutant.mistake for mutant in mutants(one)} <= own | set(FAULTS)
    for mistake in one.mistakes:
        assert (mistake.answer is None) != (mistake.sign is None)
        assert len(mistake.message) > 20 and mistake.message[-1] in ".?"


@pytest.mark.parametrize(("one", "mutant"), wrong(COMPARED))
def test_a_wrong_answer_fails_and_its_mistake_is_named(one, mutant):
    report = examine(one, mutant.answer)
    assert not report.passed
    assert report.failure.verdict.mistake == mutant.mistake, report.failure.verdict.message


@pytest.mark.parametrize(("one", "answer"), each(alternatives, COMPARED))
def test_a_right_answer_written_differently_passes(one, answer):
    report = examine(one, answer)
    assert report.passed, str(report)


@pytest.mark.parametrize("one", COMPARED, ids=name_of)
@pytest.mark.parametrize("seed", [0, 1])
def test_reference_and_solution_pass(one, seed):
    assert examine(one, one.reference, seed).passed
    assert examine(one, solution_of(one), seed).passed


@pytest.mark.slow
@pytest.mark.parametrize("one", COMPARED, ids=name_of)
def test_right_answers_pass_on_every_seed(one):
    """What the grader draws is not what the notebook shows."""
    for seed in (2, 3, 4, 5, 6, 7, 2**31, 2**55):
        for answer in (one.reference, solution_of(one), *alternatives(one)):
            assert examine(one, answer, seed).passed, (name_of(answer), seed)


@pytest.mark.slow
@pytest.mark.parametrize("one", COMPARED, ids=name_of)
@pytest.mark.parametrize("seed", [1, 2, 3, 2**31])
def test_wrong_answers_fail_on_every_seed(one, seed):
    passing = [name_of(mutant.answer) for mutant in mutants(one) if examine(one, mutant.answer, seed).passed]
    assert not passing


@pytest.mark.slow
@pytest.mark.parametrize(("one", "mutant"), wrong(TRAINED))
def test_wrong_training_fails_and_its_mistake_is_named(one, mutant):
    report = examine(one, mutant.answer)
    assert not report.passed
    assert report.failure.verdict.mistake == mutant.mistake, report.failure.verdict.message


@pytest.mark.slow
@pytest.mark.parametrize(("one", "answer"), each(alternatives, TRAINED))
def test_training_written_differently_passes(one, answer):
    report = examine(one, answer)
    assert report.passed, str(report)


@pytest.mark.parametrize("one", COMPARED, ids=name_of)
def test_another_seed_asks_something_else(one):
    """Or the numbers of the notebook could be returned from a table."""
    if one.asked == "value":
        return
    for cases in (one.cases, lambda seed: held_back(one, seed)):
        drawn = [[str(expected_of(one, case).value) for case in cases(seed)] for seed in (1, 2)]
        assert drawn[0] != drawn[1]


def runs_by_itself(answer, name):
    imports = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, "math": math, "Tensor": torch.Tensor}
    space = dict(imports, Callable=Callable)
    exec(source_of(answer, name), space)
    return name in space


@pytest.mark.parametrize("one", ALL, ids=name_of)
def test_the_source_of_the_solution_runs_by_itself(one):
    """So that a notebook can show it, and tests of the grader put it into one."""
    assert solution_source(one)
    assert runs_by_itself(solution_of(one), one.name)


@pytest.mark.slow
@pytest.mark.parametrize("one", ALL, ids=name_of)
def test_the_source_of_every_other_answer_runs_by_itself(one):
    for answer in (*alternatives(one), *(mutant.answer for mutant in mutants(one))):
        assert runs_by_itself(answer, one.name), name_of(answer)


@pytest.mark.parametrize("one", [one for one in ALL if one.asked == "function"], ids=name_of)
def test_the_signature_is_that_of_the_solution(one):
    named = re.findall(r"(\w+):", one.signature)
    assert list(inspect.signature(solution_of(one)).parameters) == named
    assert list(one.cases(0)[0].inputs) == named


@pytest.mark.parametrize("one", [one for one in ALL if one.asked == "value"], ids=name_of)
def test_every_wrong_choice_is_answered(one):
    """Each option that is not right has its own word on why not."""
    told = {mistake.name for mistake in one.mistakes}
    options = {f"{key} {option}" for key, keys in one.keys.items() for option in keys if one.reference[key] != option}
    assert told == options
    rights = [one.reference[key] for key in one.keys]
    assert max(rights.count(letter) for letter in "abcd") <= len(rights) / 2  # always (b) would not pass


@pytest.mark.parametrize("one", ALL, ids=name_of)
def test_what_a_learner_reads_of_a_mistake_does_not_give_the_answer_away(one):
    """A message names the mistake; the code of the solution is for solution()."""
    lines = [line.strip().removeprefix("return ") for line in (solution_source(one) or "").split("\n")]
    for mistake in one.mistakes:
        assert not [line for line in lines if len(line) > 25 and line in mistake.message], mistake.name


@pytest.mark.parametrize("lesson", SETS)
def test_the_question_bank_names_sections_of_the_lesson(lesson):
    (source,) = (Path(__file__).resolve().parents[2] / "notebooks" / "source").glob(f"{lesson}_*.py")
    headings = set(re.findall(r"(?m)^# ## (\d.*)$", source.read_text(encoding="utf-8")))
    bank = quiz.bank(lesson)
    named = {entry.section for entry in (*bank.interview, *bank.quiz)}
    assert named <= headings, named - headings
    assert len(named) >= 6


@pytest.mark.slow
@pytest.mark.parametrize("lesson", SETS)
def test_the_grader_gives_the_solutions_all_points_and_the_stubs_none(lesson):
    """In the jail, where nothing of the package is at hand but what the grader lets in."""
    try:
        grader = Grader(lesson)
    except JailError as error:
        pytest.skip(str(error))
    with grader:
        for folder, wanted in (("solutions", sum(one.points for one in SETS[lesson])), ("exercises", 0)):
            (notebook,) = (Path(__file__).resolve().parents[2] / folder).glob(f"{lesson}_*.ipynb")
            result = grader.grade(notebook.read_bytes())
            told = [(mark.exercise, mark.message) for mark in result.marks if mark.points < mark.out_of]
            assert sum(mark.points for mark in result.marks) == wanted, told


def solution_of(one):
    from course_lib.practice.exercise import _part

    return _part(one.lesson, "answers").SOLUTIONS[one.id]
