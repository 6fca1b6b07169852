"""Proves the checks: runs wrong answers and right ones through them, and wrong ones made mechanically from solutions.

A check that lets a wrong answer pass, rejects a right one or names the wrong mistake is worse than none; `course
mutants` shows for each exercise that it does none of these. Mechanical mutants change one thing in the model solution:
a sign, an axis, a reduction, a term, a number by one, the order of two arguments, a constant.

The rate counts all that are made. Some survive rightly, because they change nothing, or nothing that was asked for:
each of those is listed in its exercise with the reason. Two changes are not made, since no check on a CPU could tell:
leaving out a device, and writing the same axis in another way (dim=1 for dim=-1).
"""

import ast
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.practice.checking import Report, examine
from course_lib.practice.exercise import Exercise, alternatives, exercises, lessons, mutants, solution_source

# How long one mechanical mutant may take on one case: a changed loop may not end.
SECONDS = 10.0

# How an axis is named in a call; and what, with no axis named, reduces over all of them.
AXES = ("dim", "axis")
REDUCTIONS = (
    "sum", "mean", "prod", "max", "min", "amax", "amin", "argmax", "argmin", "norm", "std", "var", "all", "any",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One mechanical mutant: what was changed where, and the whole source after it.

    Args:
        kind: "sign", "axis", "reduction", "term", "number", "order", "constant" or "call".
        line: the line before, stripped.
        changed: the line after.
        source: the mutant.
    """

    kind: str
    line: str
    changed: str
    source: str

    @property
    def name(self) -> str:
        """ "line -> line" """
        return f"{self.line} -> {self.changed}"


@dataclass(frozen=True)
class Proof:
    """What an exercise's check makes of all its mutants and alternatives.

    Args:
        exercise: the exercise.
        written: (name of the mutant, mistake expected, mistake named, killed) for each wrong answer written by hand.
        right: (name of the alternative, accepted, report).
        killed: mechanical mutants that fail the check.
        survivors: those that pass, and nobody has said why they may.
        equivalents: those that pass rightly, each with the reason.
    """

    exercise: Exercise
    written: tuple[tuple[str, str, str, bool], ...]
    right: tuple[tuple[str, bool, Report], ...]
    killed: tuple[Change, ...]
    survivors: tuple[Change, ...]
    equivalents: tuple[tuple[Change, str], ...]

    @property
    def rate(self) -> float:
        """The share of mechanical mutants that are killed, of all that were made: those explained count as alive."""
        return len(self.killed) / self.made if self.made else 1.0

    @property
    def made(self) -> int:
        """How many mechanical mutants there are."""
        return len(self.killed) + len(self.survivors) + len(self.equivalents)


def prove(exercise: Exercise, mechanical: bool = True) -> Proof:
    """Runs all wrong and right answers of an exercise through its check."""
    written = []
    for mutant in mutants(exercise):
        report = examine(exercise, mutant.answer)
        named = report.failure.verdict.mistake if report.failure else ""
        written.append((_name(mutant.answer), mutant.mistake, named, not report.passed))
    right = []
    for answer in alternatives(exercise):
        report = examine(exercise, answer)
        right.append((_name(answer), report.passed, report))
    killed, survivors, equivalents = [], [], []
    for change in changes(exercise) if mechanical else ():
        if not _passes(exercise, change):
            killed.append(change)
        elif reason := exercise.equivalents.get(change.changed):
            equivalents.append((change, reason))
        else:
            survivors.append(change)
    return Proof(exercise, tuple(written), tuple(right), tuple(killed), tuple(survivors), tuple(equivalents))


def changes(exercise: Exercise, source: str | None = None) -> list[Change]:
    """All mechanical mutants, each once, of an exercise's model solution (or of another); none for a choice.

    Raises:
        InputError: the solutions were left out of this copy of the course.
    """
    source = source or solution_source(exercise)
    if source is None:
        raise InputError("this copy of the course has no solutions: run course mutants in a clone of the repository")
    if exercise.asked == "value":
        return []
    tree = ast.parse(source)
    original = ast.unparse(tree)
    found: dict[str, Change] = {}
    for kind, mutate in _every_mutation(tree):
        mutant = copy.deepcopy(tree)
        mutate(mutant)
        text = ast.unparse(ast.fix_missing_locations(mutant))
        if text != original and text not in found:
            before, after = _difference(original, text)
            found[text] = Change(kind, before, after, text)
    return list(found.values())


def _passes(exercise: Exercise, change: Change) -> bool:
    space: dict[str, Any] = {
        "torch": torch, "nn": nn, "F": F, "Tensor": Tensor, "math": math, "Callable": Callable, "__name__": "answer",
    }  # fmt: skip
    try:
        exec(compile(change.source, "<mutant>", "exec"), space)
    except Exception:
        return False
    return examine(replace(exercise, seconds=min(exercise.seconds, SECONDS)), space[exercise.name]).passed


def _every_mutation(tree: ast.AST) -> Iterator[tuple[str, Callable[[ast.AST], None]]]:
    """(kind, function that changes one node of a copy of the tree) for everything that can be changed.

    A node is found again in a copy by its place in the order of the walk.
    """
    skipped = _skipped(tree)
    for place, node in enumerate(ast.walk(tree)):
        if node in skipped:
            continue
        for kind, change in _mutations(node):

            def mutate(copied: ast.AST, place: int = place, change: Callable[[Any], Any] = change) -> None:
                target = next(one for number, one in enumerate(ast.walk(copied)) if number == place)
                new = change(target)
                if new is not None:
                    _replace(copied, target, new)

            yield kind, mutate


def _skipped(tree: ast.AST) -> set[ast.AST]:
    """Annotations, docstrings and devices: changing them changes nothing. Axes by name have a change of their own."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation:
            skipped |= set(ast.walk(node.annotation))
        if isinstance(node, ast.FunctionDef) and node.returns:
            skipped |= set(ast.walk(node.returns))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped |= set(ast.walk(node))
        if isinstance(node, ast.keyword) and node.arg in ("device", *AXES):
            skipped |= set(ast.walk(node))
    return skipped


def _mutations(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """What can be changed in one node: a function changes the copied node in place, or returns what replaces it."""

    def operator(new: type[ast.operator]) -> Callable[[Any], Any]:
        def change(target: Any) -> None:
            target.op = new()

        return change

    def value(new: Any) -> Callable[[Any], Any]:
        def change(target: Any) -> None:
            target.value = new

        return change

    def attribute(new: str) -> Callable[[Any], Any]:
        def change(target: Any) -> None:
            target.attr = new

        return change

    def swap(first: int, second: int) -> Callable[[Any], Any]:
        def change(target: Any) -> None:
            target.args[first], target.args[second] = target.args[second], target.args[first]

        return change

    if isinstance(node, ast.BinOp):
        others = {
            ast.Add: ("sign", ast.Sub), ast.Sub: ("sign", ast.Add),
            ast.Mult: ("sign", ast.Div), ast.Div: ("sign", ast.Mult),
        }  # fmt: skip
        if type(node.op) in others:
            kind, new = others[type(node.op)]
            yield kind, operator(new)
        yield "term", lambda target: target.left
        if not isinstance(node.op, ast.MatMult):
            yield "term", lambda target: target.right
        if isinstance(node.op, (ast.MatMult, ast.Sub, ast.Div)):

            def turn(target: Any) -> None:
                target.left, target.right = target.right, target.left

            yield "order", turn
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "sign", lambda target: target.operand
    if isinstance(node, ast.Constant):
        if type(node.value) in (int, float):
            yield "number", value(node.value + 1)
            yield "number", value(node.value - 1)
            if node.value not in (0, 1):
                yield "constant", value(1)
        if type(node.value) is bool:
            yield "constant", value(not node.value)
    if isinstance(node, ast.Attribute):
        for group in (("mean", "sum"), ("argmax", "argmin"), ("exp", "log"), ("T", "H")):
            if node.attr in group and group != ("T", "H"):
                yield "reduction", attribute(group[1 - group.index(node.attr)])
        if node.attr in ("T", "detach"):
            yield "term", lambda target: target.value
    if isinstance(node, ast.Call):
        if len(node.args) == 1 and not node.keywords:
            yield "call", lambda target: target.args[0]
        if isinstance(node.func, ast.Attribute) and not node.args and not node.keywords:
            yield "call", lambda target: target.func.value
        if node.keywords and node.args:
            yield "call", lambda target: target.args[0]
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        for number, keyword in enumerate(node.keywords):
            if keyword.arg in AXES and isinstance(axis := _literal(keyword.value), int):

                def turn_axis(target: Any, number: int = number, axis: int = axis) -> None:
                    target.keywords[number].value = ast.Constant(-1 if axis == 0 else 0)

                yield "axis", turn_axis
            if keyword.arg not in ("device", *AXES) or (keyword.arg in AXES and name in REDUCTIONS):

                def drop(target: Any, number: int = number) -> None:
                    del target.keywords[number]

                yield "axis" if keyword.arg in AXES else "term", drop
        for first in range(len(node.args) - 1):
            yield "order", swap(first, first + 1)
    if isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.ctx, ast.Load):

        def exchange(target: Any) -> None:
            target.elts.reverse()

        yield "order", exchange
    if isinstance(node, (ast.FunctionDef, ast.For)):
        for number, statement in enumerate(node.body):
            if isinstance(statement, (ast.Expr, ast.Assign)) and len(node.body) > 1:

                def remove(target: Any, number: int = number) -> None:
                    del target.body[number]

                yield "term", remove


def _literal(node: ast.expr) -> Any:
    """The number, tuple ... that is written there, None if it is none."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for node in ast.walk(tree):
        for field, part in ast.iter_fields(node):
            if part is old:
                setattr(node, field, new)
                return
            if isinstance(part, list):
                for number, one in enumerate(part):
                    if one is old:
                        part[number] = new
                        return


def _difference(before: str, after: str) -> tuple[str, str]:
    """The line that differs, in both; "" for a line that is missing."""
    old, new = before.split("\n"), after.split("\n")
    for number, (a, b) in enumerate(zip(old, new, strict=False)):
        if a != b:
            return a.strip(), (b.strip() if len(old) == len(new) else "(removed)") if number < len(new) else ""
    return old[-1].strip(), "(removed)"


def _name(answer: Any) -> str:
    if isinstance(answer, dict):
        return "choices"
    return getattr(answer, "__name__", repr(answer))


def main(lesson: str | None = None) -> None:
    """Prints, for each exercise, wrong answers killed, right ones accepted, mistakes named, and the mechanical rate.

    Raises:
        InputError: the lesson has no exercises.
    """
    print(f"{'':5} {'killed':>8} {'named':>8} {'accepted':>9}   mechanical mutants killed")
    proofs = []
    for exercise in [one for name in ([lesson] if lesson else lessons()) for one in exercises(name)]:
        proof = prove(exercise)
        proofs.append(proof)
        killed = sum(one[3] for one in proof.written)
        named = sum(one[1] == one[2] for one in proof.written)
        accepted = sum(one[1] for one in proof.right)
        explained = f", {len(proof.equivalents)} explained" if proof.equivalents else ""
        print(
            f"{exercise.id:5} {killed:>4}/{len(proof.written):<3} {named:>4}/{len(proof.written):<3} "
            f"{accepted:>4}/{len(proof.right):<3}    "
            + (f"{len(proof.killed)}/{proof.made} ({proof.rate:.1%}){explained}" if proof.made else "none: a choice"),
            flush=True,
        )
        for name, expected, got, was_killed in proof.written:
            if not was_killed:
                print(f"      NOT KILLED: {name}")
            elif expected != got:
                print(f"      {name} is told {got!r}; it should be told {expected!r}")
        for name, was_accepted, report in proof.right:
            if not was_accepted:
                print(f"      NOT ACCEPTED: {name}: {report.failure.verdict.message if report.failure else ''}")
        for change in proof.survivors:
            print(f"      survived ({change.kind}): {change.name}")
        for change, reason in proof.equivalents:
            print(f"      explained: {change.name}: {reason}")
    total = sum(len(proof.killed) for proof in proofs)
    made = sum(proof.made for proof in proofs)
    print(f"mechanical mutants killed in all: {total}/{made} ({total / made:.1%})" if made else "")
