"""The check that a learner meets, hints and solutions: `check("06.2", clip_loss)`, `hint("06.2")`, `solution("06.2")`.

Both show something and never raise: whatever a learner's answer does, a notebook runs on. `examine` is the part that
computes, for programs. `check` shows its report and returns the points, which is how nbgrader's autograder scores a
cell that ends with it: it takes a number for the points of that cell.
"""

import html
import textwrap
from dataclasses import dataclass
from typing import Any

import torch

from course_lib.errors import CourseError
from course_lib.practice.asking import Given, Unknown, ask
from course_lib.practice.exercise import Case, Exercise, exercise, held_back, solution_source
from course_lib.practice.judging import Verdict, judge, kind_of, telling
from course_lib.practice.memory import recall, remember, tried
from course_lib.runtime import in_notebook

# Tensors up to this size are shown number by number.
SHOWN_ROWS, SHOWN_COLUMNS = 8, 8
# Characters in a line of text in a terminal.
WIDTH = 100
SEED = 0


@dataclass(frozen=True)
class Result:
    """One case, its verdict, and whether its numbers may be shown."""

    case: Case
    verdict: Verdict
    visible: bool
    device: str = "cpu"
    printed: str = ""


@dataclass(frozen=True)
class Report:
    """What a check found: HTML in a notebook, text elsewhere.

    Args:
        exercise: what was checked.
        results: a result for each case that was tried; cases after one that was too slow are not.
        left_out: how many were not tried.
    """

    exercise: Exercise
    results: tuple[Result, ...]
    left_out: int = 0

    @property
    def passed(self) -> bool:
        """Whether every case is right."""
        return not self.left_out and all(result.verdict.passed for result in self.results)

    @property
    def points(self) -> int:
        """All points of the exercise or none."""
        return self.exercise.points if self.passed else 0

    @property
    def failure(self) -> Result | None:
        """The failed case that says most (`judging.telling`)."""
        place = telling([result.verdict for result in self.results])
        return None if place is None else self.results[place]

    def _headline(self) -> str:
        one = self.exercise
        outcome = "right" if self.passed else "not yet"
        points = f"{self.points} of {one.points} point{'s' if one.points != 1 else ''}"
        return f"{'✓' if self.passed else '✗'} {one.id} {one.title}: {outcome}, {points}"

    def _lines(self) -> list[tuple[str, str]]:
        """(mark, property) of every case."""
        lines = [
            (
                "✓" if result.verdict.passed else "✗",
                result.case.about
                + ("" if result.visible else " (held back)")
                + (f" (on {result.device})" if result.device != "cpu" else ""),
            )
            for result in self.results
        ]
        return lines + ([("·", f"{self.left_out} more not tried")] if self.left_out else [])

    def _details(self) -> list[tuple[str, str]]:
        """(label, text) of what was given, expected and got in the failed case that is shown."""
        result = self.failure
        if result is None or not result.visible or result.verdict.mistake in ("not written", "too slow"):
            return []
        details = []
        if self.exercise.asked == "module":
            details.append(("built with", ", ".join(f"{k}={v!r}" for k, v in result.case.construct.items())))
        if self.exercise.asked != "value":
            details += [(name, shown(value)) for name, value in result.case.inputs.items()]
        verdict = result.verdict
        if self.exercise.measure is None and verdict.expected is not None:
            details.append(("expected", shown(verdict.expected)))
            details.append(("got", shown(verdict.got, verdict.expected)))
        return details

    def __str__(self) -> str:
        text = [self._headline()]
        text += [f"  {mark} {about}" for mark, about in self._lines()]
        if result := self.failure:
            text += ["", *textwrap.wrap(result.verdict.message, WIDTH)]
            details = self._details()
            width = max((len(label) for label, _ in details), default=0)
            if details:
                text += ["", f"Shown for: {result.case.about}"]
            for label, value in details:
                first, *rest = value.split("\n")
                text += [f"  {label.ljust(width)}  {first}", *(f"  {' ' * width}  {line}" for line in rest)]
            if result.printed:
                text += ["", "Your answer printed:", *(f"  {line}" for line in result.printed.splitlines()[:20])]
            text += ["", f'Stuck? hint("{self.exercise.id}")']
        elif self.exercise.explanation:
            text += ["", *textwrap.wrap(self.exercise.explanation, WIDTH)]
        return "\n".join(text)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        escape = html.escape
        colour = "#0072B2" if self.passed else "#D55E00"
        parts = [f"<p><b>{escape(self._headline())}</b></p>"]
        parts.append(
            "<ul style='list-style:none;padding-left:0.5em;margin:0'>"
            + "".join(f"<li>{mark} {escape(about)}</li>" for mark, about in self._lines())
            + "</ul>"
        )
        if result := self.failure:
            parts.append(f"<p>{escape(result.verdict.message)}</p>")
            if details := self._details():
                rows = "".join(
                    f"<tr><td style='text-align:left;vertical-align:top'><b>{escape(label)}</b></td>"
                    f"<td style='text-align:left'><pre style='margin:0'>{escape(value)}</pre></td></tr>"
                    for label, value in details
                )
                parts.append(f"<p>Shown for: {escape(result.case.about)}</p><table>{rows}</table>")
            if result.printed:
                parts.append(f"<p>Your answer printed:</p><pre>{escape(result.printed)}</pre>")
            parts.append(f"<p>Stuck? <code>hint(&quot;{self.exercise.id}&quot;)</code></p>")
        elif self.exercise.explanation:
            parts.append(f"<p>{escape(self.exercise.explanation)}</p>")
        return f"<div style='border-left:4px solid {colour};padding-left:1em'>{''.join(parts)}</div>"


def examine(one: Exercise, answer: Any, seed: int = SEED) -> Report:
    """Tries an answer on every case, the shown and the held-back ones, and on the GPU too if there is one.

    Args:
        one: the exercise.
        answer: what the learner wrote.
        seed: which cases; the same for every learner, unless another is given.
    """
    cases = [(case, True, "cpu") for case in one.cases(seed)]
    if torch.cuda.is_available() and one.asked != "value" and one.measure is None:
        cases.append((cases[0][0], True, "cuda"))
    cases += [(case, False, "cpu") for case in held_back(one, seed)]
    results: list[Result] = []
    for case, visible, device in cases:
        outcome = ask(answer, one.question(case, device))
        results.append(Result(case, judge(one, case, outcome, device=device), visible, device, outcome.printed))
        if outcome.error in ("TimeLimit", "KeyboardInterrupt", "NotImplementedError"):
            break
    return Report(one, tuple(results), len(cases) - len(results))


def check(id: str, answer: Any) -> int:
    """Checks your answer to an exercise, shows what it found, and returns the points it earns. It never raises.

    Args:
        id: the exercise, "06.2".
        answer: your function, class or dict itself: `check("06.2", clip_loss)`, not `clip_loss(...)`.
    """
    try:
        one = exercise(id)
        report = examine(one, answer)
        tried(one, report.passed)
        _show(report)
        return report.points
    except CourseError as error:
        _show(Note(str(error)))
    except Exception as error:  # a fault of ours; the learner's notebook runs on
        _show(Note(f"The check of {id!r:.40} itself failed, which is not your fault: {type(error).__name__}: {error}"))
    return 0


def hint(id: str) -> None:
    """Shows the next hint of an exercise below those shown before; it never raises."""
    try:
        one = exercise(id)
    except CourseError as error:
        _show(Note(str(error)))
        return
    done = recall(id)
    done.hints = min(done.hints + 1, len(one.hints))
    remember(id, done)
    lines = [f"Hint {number}: {text}" for number, text in enumerate(one.hints[: done.hints], start=1)]
    left = len(one.hints) - done.hints
    lines.append(f"{left} more: call it again." if left else "That was the last hint.")
    _show(Note("\n".join(lines)))


def solution(id: str) -> None:
    """Shows the model solution of an exercise, folded up in a notebook; it never raises."""
    try:
        one = exercise(id)
    except CourseError as error:
        _show(Note(str(error)))
        return
    source = solution_source(one)
    _show(Folded(f"Solution of {id}", source) if source else Note("This copy of the course comes without solutions."))


@dataclass(frozen=True)
class Folded:
    """Code that a notebook unfolds on a click."""

    title: str
    code: str

    def __str__(self) -> str:
        return f"{self.title}\n\n{self.code}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<details><summary>{html.escape(self.title)}</summary><pre>{html.escape(self.code)}</pre></details>"


@dataclass(frozen=True)
class Note:
    """A few lines of text that a notebook shows as paragraphs."""

    text: str

    def __str__(self) -> str:
        return "\n".join(textwrap.fill(line, WIDTH) for line in self.text.split("\n"))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(f"<p>{html.escape(line)}</p>" for line in self.text.split("\n"))


def shown(value: Any, beside: Any = None) -> str:
    """A value as a learner reads it: small tensors number by number in columns, large ones by their shape.

    Args:
        value: what to show.
        beside: what it should be; entries that differ are marked with an asterisk.
    """
    if isinstance(value, torch.Tensor):
        return _tensor(value, beside if isinstance(beside, torch.Tensor) else None)
    if isinstance(value, Given):
        return f"a frozen {value.name}"
    if isinstance(value, Unknown):
        return f"an object of type {value.type}"
    if isinstance(value, (list, tuple)) and any(isinstance(part, torch.Tensor) for part in value):
        others = beside if isinstance(beside, (list, tuple)) and len(beside) == len(value) else [None] * len(value)
        both = enumerate(zip(value, others, strict=True))
        return "\n".join(f"[{i}] {shown(part, other)}" for i, (part, other) in both)
    if isinstance(value, float):
        return f"{value:.6g}"
    text = repr(value)
    return text if len(text) <= 300 else text[:297] + "..."


def _tensor(value: torch.Tensor, beside: torch.Tensor | None) -> str:
    kind = kind_of(value).removeprefix("a ")
    if value.ndim == 0:
        return f"{_number(value)}  ({str(value.dtype).removeprefix('torch.')})"
    columns = value.shape[-1]
    if value.ndim > 2 or not value.numel() or columns > SHOWN_COLUMNS or value.numel() // columns > SHOWN_ROWS:
        if not value.is_floating_point() or not value.numel():
            return kind
        return f"{kind}, from {_number(value.min())} to {_number(value.max())}"
    rows = value if value.ndim == 2 else value[None]
    marks = torch.zeros(rows.shape, dtype=torch.bool)
    if beside is not None and beside.shape == value.shape and not value.is_complex():
        marks = ~torch.isclose(rows.double(), beside.double().view(rows.shape), rtol=1e-3, atol=1e-4)
        if marks.all():  # a mark on everything says nothing
            marks = torch.zeros_like(marks)
    cells = [
        [_number(entry) + ("*" if mark else " ") for entry, mark in zip(row, line, strict=True)]
        for row, line in zip(rows, marks, strict=True)
    ]
    width = max(len(cell) for row in cells for cell in row)
    return "\n".join([kind, *(" ".join(cell.rjust(width) for cell in row).rstrip() for row in cells)])


def _number(entry: torch.Tensor) -> str:
    if not entry.is_floating_point():
        return str(entry.item())
    number = entry.item()
    return f"{number:.4f}" if number == 0 or 1e-3 <= abs(number) < 1e5 else f"{number:.3g}"


def _show(what: Any) -> None:
    if in_notebook():
        from IPython.display import display

        display(what)
    else:
        print(what)
