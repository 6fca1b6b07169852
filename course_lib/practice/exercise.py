"""What an exercise is, and where exercises are found.

An exercise of lesson NN lives in the room `course_lib/practice/lesson_NN/`, in three files so that a class can be given
the first without the other two:

    exercises.py   EXERCISES: what is asked, the reference, the cases a learner sees, hints, likely mistakes
    held_back.py   CASES: exercise id -> more cases, of which a learner is shown the property but not the numbers
    answers.py     SOLUTIONS, ALTERNATIVES, MUTANTS: model solutions, right answers written differently, wrong ones

A new lesson adds these three files and nothing else.
"""

import ast
import functools
import importlib
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from course_lib.errors import InputError
from course_lib.practice.asking import Asked, Given, Question


@dataclass(frozen=True)
class Case:
    """One question that an answer must get right.

    Args:
        about: the property it tests, as the end of "it should hold for ...": "a batch of one pair".
        inputs: arguments by name, in order; tensors, numbers, strings, lists, tuples, dicts and `Given` parts.
        construct: keyword arguments that a module is built with.
        state: weights copied into a module, by name.
        initial: names of a module's parameters that must start with the values that the reference's start with.
        gradients: whether the derivatives must be right too.
        hidden: what only the judge sees: the labels of a held-back split.
    """

    about: str
    inputs: dict[str, Any] = field(default_factory=dict)
    construct: dict[str, Any] = field(default_factory=dict)
    state: dict[str, torch.Tensor] = field(default_factory=dict)
    initial: tuple[str, ...] = ()
    gradients: bool = False
    hidden: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Mistake:
    """A likely mistake and what to say to who made it. It is recognised in one of two ways.

    Args:
        name: what tests call it: "one direction".
        message: one or two sentences, addressed to the learner, that name the mistake and not the solution.
        answer: an answer with that mistake; whoever gets the same wrong result made it.
        sign: or what tells it: `sign(case, value) -> bool`, given the case and what was returned.
    """

    name: str
    message: str
    answer: Any = None
    sign: Callable[[Case, Any], bool] | None = None


def wrong_choices(why_not: Mapping[tuple[str, str], str]) -> tuple[Mistake, ...]:
    """The mistakes of a question with choices: what to say to who picked each wrong one.

    Args:
        why_not: (question, wrong option) -> why it is not that one, in a sentence or two.
    """

    def picked(key: str, option: str) -> Mistake:
        return Mistake(
            f"{key} {option}",
            f"{key!r} is not {option!r}. {why_not[key, option]}",
            sign=lambda case, value: str(value[key]).strip().lower() == option,
        )

    return tuple(picked(key, option) for key, option in why_not)


@dataclass(frozen=True)
class Measure:
    """How good an answer must be, where there is not one right result: train until a measure is reached.

    Args:
        name: "recall@1 on 200 held-back pairs".
        value: `value(case, returned) -> float`; it raises InputError where what was returned cannot be measured.
        at_least: the threshold.
        chance: what guessing gets.
        baseline: what the obvious attempt gets; the threshold lies above it.
        besides: `besides(case, returned) -> str`: what else has to be right, and is not; "" if all is.
    """

    name: str
    value: Callable[[Case, Any], float]
    at_least: float
    chance: float
    baseline: float
    besides: Callable[[Case, Any], str] = lambda case, returned: ""


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Args:
        id: "06.2".
        title: "The symmetric contrastive loss".
        name: the function, class or variable that the learner defines.
        signature: the first line of its stub, annotated, without the colon at the end.
        asked: "function", "module" (a class) or "value" (a dict of choices).
        difficulty: 1 to 5.
        minutes: how long it takes.
        points: what it counts.
        hints: three, each saying more than the one before.
        cases: `cases(seed) -> list[Case]`: those a learner is shown; another seed gives others like them.
        reference: a right answer, of the kind that is asked for; the library's own where there is one.
        mistakes: those that learners are likely to make, the most telling first.
        measure: instead of comparing with the reference's result.
        explanation: what there is to know once it is right.
        seconds: how long one case may take.
        keys: for a value, what each key may be: {"figure": ("a", "b", "c")}.
        equivalents: mechanical mutations of the solution that are no mistakes: the changed line -> the reason.
    """

    id: str
    title: str
    name: str
    signature: str
    asked: Asked
    difficulty: int
    minutes: int
    points: int
    hints: tuple[str, str, str]
    cases: Callable[[int], list[Case]]
    reference: Any
    mistakes: tuple[Mistake, ...]
    measure: Measure | None = None
    explanation: str = ""
    seconds: float = 5.0
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    equivalents: dict[str, str] = field(default_factory=dict)

    @property
    def lesson(self) -> str:
        """ "06" """
        return self.id.split(".")[0]

    def question(self, case: Case, device: str = "cpu") -> Question:
        """What the learner's side is told of a case: nothing of what only the judge may see."""
        return Question(
            asked=self.asked,
            inputs=case.inputs,
            construct=case.construct,
            state=case.state,
            initial=case.initial,
            gradients=case.gradients,
            seconds=self.seconds,
            device=device,
        )


@dataclass(frozen=True)
class Mutant:
    """A wrong answer as a learner would write it, and the name of the mistake that the check should recognise.

    Args:
        answer: a function or class of `answers.py`, or a dict of choices.
        mistake: the name of one of the exercise's mistakes, or of a general fault (`practice.judging.FAULTS`).
    """

    answer: Any
    mistake: str


def lessons() -> list[str]:
    """The lessons that have exercises: ["06"]."""
    rooms = (path.parent.name for path in Path(__file__).parent.glob("lesson_*/exercises.py"))
    return sorted(room.removeprefix("lesson_") for room in rooms)


def exercises(lesson: str) -> tuple[Exercise, ...]:
    """The exercises of a lesson, in order.

    Raises:
        InputError: that lesson has none.
    """
    module = _part(lesson, "exercises")
    if module is None:
        raise InputError(f"lesson {lesson!r} has no exercises: lessons are named by two digits, as in '06'")
    return module.EXERCISES


def exercise(id: str) -> Exercise:
    """The exercise of that id, "06.2".

    Raises:
        InputError: there is none of that id.
    """
    lesson, dot, _ = str(id).partition(".")
    if not dot:
        raise InputError(f"{id!r} names no exercise: write lesson and number, as in '06.2'")
    found = exercises(lesson)
    for one in found:
        if one.id == id:
            return one
    raise InputError(f"there is no exercise {id!r}: lesson {lesson} has {found[0].id} to {found[-1].id}")


def held_back(exercise: Exercise, seed: int) -> list[Case]:
    """The cases that a learner is not shown; none where they were left out (`course release`)."""
    module = _part(exercise.lesson, "held_back")
    return module.CASES[exercise.id](seed) if module and exercise.id in module.CASES else []


def mutants(exercise: Exercise) -> list[Mutant]:
    """Wrong answers that learners write."""
    module = _part(exercise.lesson, "answers")
    return list(module.MUTANTS[exercise.id]) if module else []


def alternatives(exercise: Exercise) -> list[Any]:
    """Right answers written differently."""
    module = _part(exercise.lesson, "answers")
    return list(module.ALTERNATIVES[exercise.id]) if module else []


def solution_source(exercise: Exercise) -> str | None:
    """The model solution as a learner's cell would hold it; None where solutions were left out (`course release`)."""
    module = _part(exercise.lesson, "answers")
    return source_of(module.SOLUTIONS[exercise.id], exercise.name) if module else None


def given(part: type, config: dict[str, Any] | None = None, state: dict[str, torch.Tensor] | None = None) -> Given:
    """A part to hand to the learner's function, from its class: see `Given`."""
    return Given(_written(part), part.__name__, config or {}, state or {})


def source_of(answer: Any, name: str) -> str:
    """The source of an answer under the name that the exercise asks for: what a learner's cell would hold.

    Helpers that it calls are not included: an answer uses `torch`, `nn`, `F`, `math` and what it defines. A class
    that inherits from another answer comes with it.
    """
    if not callable(answer):
        return f"{name} = {answer!r}\n"
    text = _written(answer)
    own = ast.parse(text).body[0].name
    keyword = "class" if isinstance(answer, type) else "def"
    text = text.replace(f"{keyword} {own}", f"{keyword} {name}", 1)
    parents = [base for base in getattr(answer, "__bases__", ()) if base.__module__ == answer.__module__]
    return "\n\n".join([*(source_of(base, base.__name__) for base in parents), text])


@functools.cache
def _written(part: Any) -> str:
    """The source of a function or class; kept, since to find a class Python parses its whole file."""
    return textwrap.dedent(inspect.getsource(part))


def _part(lesson: str, part: str) -> Any:
    """A file of a lesson's room, None if it is not there."""
    if not (isinstance(lesson, str) and lesson.isdigit()):
        return None
    module = f"{__package__}.lesson_{lesson}.{part}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and module.startswith(error.name):
            return None
        raise
