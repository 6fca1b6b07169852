"""Judges what came of a question: right or wrong, and which mistake it looks like.

It sees an `Outcome` (what an answer returned) and never the answer, so it serves alike the check in the learner's own
notebook and the grader, whose learners' code runs in a jail.
"""

from dataclasses import dataclass
from typing import Any

import torch

from course_lib.errors import InputError
from course_lib.practice.asking import Outcome, Unknown, ask
from course_lib.practice.exercise import Case, Exercise

# What can be wrong with any answer, and how a verdict names it. A `Mistake` of an exercise has a name of its own.
FAULTS = (
    "not written",
    "error",
    "too slow",
    "returned nothing",
    "wrong type",
    "wrong shape",
    "wrong precision",
    "not finite",
    "changed its argument",
    "not differentiable",
    "wrong gradient",
    "wrong device",
    "wrong value",
    "wrong start",
    "not good enough",
)

# How exact each floating type is, worst first.
PRECISION = {torch.bfloat16: 1, torch.float16: 1, torch.float32: 2, torch.float64: 3}


@dataclass(frozen=True)
class Verdict:
    """The judgement on one case.

    Args:
        passed: whether it was right.
        mistake: the name of the mistake or fault; "" if right.
        message: one or two sentences for the learner; "" if right.
        expected: what would have been right.
        got: what was returned.
        score: the measure's value, where there is one.
    """

    passed: bool
    mistake: str = ""
    message: str = ""
    expected: Any = None
    got: Any = None
    score: float | None = None


@dataclass(frozen=True)
class Difference:
    """Where two values part: one of FAULTS, and a sentence."""

    fault: str
    sentence: str


def expected_of(exercise: Exercise, case: Case) -> Outcome:
    """What the reference makes of a case. Whoever judges many answers on the same cases computes it once."""
    return ask(exercise.reference, exercise.question(case))


def judge(
    exercise: Exercise, case: Case, outcome: Outcome, expected: Outcome | None = None, device: str = "cpu"
) -> Verdict:
    """Judges the outcome of one case.

    Args:
        exercise: whose reference, mistakes and measure are used.
        case: what was asked.
        outcome: what came of it.
        expected: `expected_of(exercise, case)`, if it is already known.
        device: where it was asked to run; tolerances are wider on a GPU.
    """
    if outcome.error:
        return _error(exercise, outcome)
    if outcome.changed:
        names = " and ".join(outcome.changed)
        return Verdict(
            False,
            "changed its argument",
            f"Your answer changed {names}, which belongs to whoever called it: work on a copy, or use operations that "
            "make a new tensor (x = x / y, not x /= y).",
        )
    if exercise.measure is not None:
        return _measured(exercise, case, outcome)
    if exercise.asked == "value":
        return _chosen(exercise, case, outcome)

    if expected is None:
        expected = expected_of(exercise, case)
    if expected.error:
        said = f"{expected.error}: {expected.message}"
        raise RuntimeError(f"the reference of {exercise.id} fails on {case.about!r}: {said}")

    def wrong(mistake: str, message: str) -> Verdict:
        return Verdict(False, mistake, message, expected.value, outcome.value)

    difference = compare(expected.value, outcome.value, device)
    if difference is None and case.gradients:
        difference = compare_gradients(expected.gradients, outcome.gradients, device)
    if difference is None:
        for name, right in expected.initial.items():
            if compare(right, outcome.initial.get(name), device):
                start = outcome.initial.get(name)
                value = f"{start.item():.4g}" if start is not None and start.numel() == 1 else "something else"
                should = f"{right.item():.4g}" if right.numel() == 1 else "other values"
                sentence = f"The results are right, but {name} starts at {value} and should start at {should}."
                difference = Difference("wrong start", sentence)
    if difference is None and outcome.device and outcome.device != device:
        difference = Difference(
            "wrong device",
            f"The inputs are on {device} and the result is on {outcome.device}: make new tensors with device=x.device.",
        )
    if difference is None:
        return Verdict(True, expected=expected.value, got=outcome.value)
    for mistake in exercise.mistakes:
        if mistake.sign is not None:
            made = _safely(mistake.sign, case, outcome.value)
        else:
            same = ask(mistake.answer, exercise.question(case))
            made = (
                not same.error
                and compare(same.value, outcome.value, device) is None
                and (
                    difference.fault not in ("not differentiable", "wrong gradient")
                    or compare_gradients(same.gradients, outcome.gradients, device) is None
                )
                and not (
                    compare(expected.value, same.value, device) is None
                    and difference.fault not in ("not differentiable", "wrong gradient")
                )
            )
        if made:
            return wrong(mistake.name, mistake.message)
    return wrong(difference.fault, difference.sentence)


def tolerance(*dtypes: torch.dtype, device: str = "cpu") -> tuple[float, float]:
    """Relative and absolute tolerance for results in the coarsest of these types; 0 where none is a floating type.

    It is wider on a GPU, where sums are formed in another order and a matrix product may be computed in fewer digits.
    """
    rank = min((PRECISION[dtype] for dtype in dtypes if dtype in PRECISION), default=None)
    if rank is None:
        return 0.0, 0.0
    relative, absolute = {1: (3e-2, 3e-2), 2: (1e-4, 1e-5), 3: (1e-7, 1e-8)}[rank]
    return (relative, absolute) if device == "cpu" else (10 * relative, 10 * absolute)


def compare(expected: Any, got: Any, device: str = "cpu", where: str = "") -> Difference | None:
    """Where two values differ, None if nowhere.

    A number is as good as a tensor that holds one, a list as a tuple; a floating type may be more exact than asked for,
    and not less than single precision; the rest of the structure must be the same.
    """
    place = f" in {where}" if where else ""
    if got is None and expected is not None:
        return Difference("returned nothing", f"Your answer returned None{place}: is a return statement missing?")
    if isinstance(expected, dict):
        if not isinstance(got, dict):
            return Difference("wrong type", f"A dict is expected{place}, and {kind_of(got)} came back.")
        if set(expected) != set(got):
            return Difference("wrong type", f"The dict{place} should have the keys {', '.join(expected)}.")
        parts = [(f"{where}[{key!r}]", expected[key], got[key]) for key in expected]
    elif isinstance(expected, (list, tuple)):
        if not isinstance(got, (list, tuple)):
            return Difference("wrong type", f"{kind_of(expected)} is expected{place}, and {kind_of(got)} came back.")
        if len(expected) != len(got):
            return Difference("wrong type", f"{len(expected)} values are expected{place}, and {len(got)} came back.")
        parts = [(f"{where}[{i}]", *pair) for i, pair in enumerate(zip(expected, got, strict=True))]
    elif isinstance(expected, str) or expected is None:
        if type(got) is not type(expected) or got != expected:
            return Difference("wrong value", f"{expected!r} is expected{place}, and {got!r:.80} came back.")
        return None
    else:
        return _compare_numbers(expected, got, device, place)
    for part in parts:
        if difference := compare(part[1], part[2], device, part[0]):
            return difference
    return None


def compare_gradients(
    expected: dict[str, torch.Tensor | None] | None, got: dict[str, torch.Tensor | None] | None, device: str = "cpu"
) -> Difference | None:
    """Where the derivatives differ, None if nowhere. A derivative that is None counts as zeros."""
    if expected is None:
        return None
    if got is None:
        return Difference(
            "not differentiable",
            "The value is right, but no derivative flows through it, so nothing could be trained with it: .item(), "
            ".detach(), .data, float(), numpy or torch.no_grad() cut the graph.",
        )
    for name, right in expected.items():
        found = got.get(name)
        if right is None:
            right = torch.zeros(())
        if found is None:
            if float(right.abs().max()) > 1e-7:
                return Difference(
                    "not differentiable",
                    f"The value is right, but its derivative with respect to {name} is missing: somewhere {name} is "
                    "taken out of the graph (.item(), .detach(), float(), torch.tensor(...)).",
                )
            continue
        if right.shape != found.shape and right.numel() > 1:
            return Difference("wrong gradient", f"The derivative with respect to {name} has the wrong shape.")
        relative, absolute = tolerance(right.dtype, found.dtype, device=device)
        size = max(1e-3, float(right.abs().max()))
        if not torch.allclose(found.double(), right.double(), rtol=10 * relative, atol=100 * absolute * size):
            return Difference(
                "wrong gradient",
                f"The value is right, but its derivative with respect to {name} is not: part of the computation does "
                "not take part in it (detached, rounded, or clamped in place).",
            )
    return None


def kind_of(value: Any) -> str:
    """A value's type as a noun phrase: "a tensor of shape (4, 4), float32"."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}, {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, Unknown):
        return f"an object of type {value.type}"
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeio' else 'a'} {name}"


def _compare_numbers(expected: Any, got: Any, device: str, place: str) -> Difference | None:
    number = not isinstance(expected, torch.Tensor)
    right = torch.as_tensor(expected, dtype=torch.float64 if isinstance(expected, float) else None)
    want = f"a {type(expected).__name__}" if number else kind_of(expected)
    if isinstance(got, torch.Tensor):
        found = got
    elif type(got) in (bool, int, float) and right.ndim == 0:
        found = torch.as_tensor(got, dtype=torch.float64 if type(got) is float else None)
    else:
        return Difference("wrong type", f"{_capital(want)} is expected{place}, and {kind_of(got)} came back.")

    if found.shape != right.shape:
        if number and found.numel() == 1:
            found = found.reshape(())
        else:
            hint = ""
            if right.ndim == 2 and found.shape == right.T.shape:
                hint = " Rows and columns are exchanged."
            elif right.ndim == 0:
                hint = " Was a mean or a sum left out?"
            elif found.ndim == 0:
                hint = " Was a mean or a sum taken where none is asked for?"
            shapes = f"The shape should be {tuple(right.shape)}{place}, and is {tuple(found.shape)}."
            return Difference("wrong shape", shapes + hint)
    if right.dtype == torch.bool or found.dtype == torch.bool:
        if right.dtype != found.dtype:
            return Difference("wrong type", f"{_capital(want)} is expected{place}, and {kind_of(got)} came back.")
        return None if torch.equal(right, found) else Difference("wrong value", f"The answer{place} is not right.")
    if not right.is_floating_point():
        if found.is_floating_point() and not (number and type(got) is float and got == int(got)):
            return Difference("wrong type", f"Whole numbers are expected{place} (int64), and {kind_of(got)} came back.")
        return (
            None
            if torch.equal(right.double(), found.double())
            else Difference("wrong value", _relation(right.double(), found.double(), place))
        )
    if found.is_complex() or found.dtype not in PRECISION and found.is_floating_point():
        return Difference("wrong type", f"{_capital(want)} is expected{place}, and {kind_of(got)} came back.")
    if found.is_floating_point() and not number:
        if PRECISION[found.dtype] < min(PRECISION[right.dtype], 2):
            return Difference(
                "wrong precision",
                f"The inputs are {_type(right)} and the result is {_type(found)}{place}: digits were lost on the way.",
            )
    elif not number and right.ndim > 0:
        return Difference("wrong type", f"{_capital(want)} is expected{place}, and {kind_of(got)} came back.")

    relative, absolute = tolerance(torch.float32 if number else right.dtype, found.dtype, device=device)
    a, b = right.double(), found.double()
    if torch.allclose(b, a, rtol=relative, atol=absolute, equal_nan=True):
        return None
    if torch.isfinite(a).all() and not torch.isfinite(b).all():
        return Difference(
            "not finite",
            f"The result{place} holds {'nan' if b.isnan().any() else 'infinity'}: look for a division by zero, the "
            "logarithm of zero, or an exp that overflows.",
        )
    return Difference("wrong value", _relation(a, b, place))


def telling(verdicts: list[Verdict]) -> int | None:
    """Which of the verdicts on all cases says most: the first with the mistake named most often; None if all passed.

    One wrong answer can look like several mistakes on one small case, and like its own on all of them. Of two mistakes
    named equally often, one of the exercise's own says more than a general fault.
    """
    named = [verdict.mistake for verdict in verdicts if not verdict.passed]
    if not named:
        return None
    best = max(named, key=lambda mistake: (named.count(mistake), mistake not in FAULTS, -named.index(mistake)))
    return next(place for place, verdict in enumerate(verdicts) if not verdict.passed and verdict.mistake == best)


def _relation(right: torch.Tensor, found: torch.Tensor, place: str) -> str:
    """A sentence on how wrong numbers hang together with the right ones, where they do so simply."""
    if right.ndim == 2 and right.shape[0] == right.shape[1] and torch.allclose(found, right.T, rtol=1e-3, atol=1e-5):
        return f"The result{place} is transposed: rows and columns are exchanged."
    if torch.allclose(found, -right, rtol=1e-3, atol=1e-6):
        return f"The result{place} has the wrong sign."
    large = right.abs() > 1e-6
    if large.any() and (right.numel() > 1 or right.abs().max() > 1e-3):
        ratio = float((found[large] / right[large]).median())
        if abs(ratio) > 1e-6 and torch.allclose(found, ratio * right, rtol=1e-3, atol=1e-6):
            for factor in (2, 3, 4, 8, 10, 100):
                for near, words in ((factor, f"{factor} times"), (1 / factor, f"1/{factor} of")):
                    if abs(ratio / near - 1) < 1e-3:
                        return f"The result{place} is {words} what it should be."
            if right.numel() > 1:
                return f"Every entry{place} is {ratio:.4g} times what it should be."
    if right.numel() > 1:
        shift = float((found - right).median())
        if torch.allclose(found, right + shift, rtol=1e-3, atol=1e-6):
            return f"Every entry{place} is off by the same amount, {shift:.4g}."
        wrong = int((~torch.isclose(found, right, rtol=1e-3, atol=1e-5)).sum())
        return f"{wrong} of {right.numel()} entries{place} are not right."
    return f"The value{place} is not right."


def _error(exercise: Exercise, outcome: Outcome) -> Verdict:
    """What to say of an answer that raised."""
    at = f" (at your line: {outcome.line})" if outcome.line else ""
    said = f"{outcome.error}: {outcome.message}" if outcome.message else outcome.error
    said = said.strip().split("\n\n")[0][:400]
    if outcome.error == "NotImplementedError":
        return Verdict(False, "not written", "Not written yet: put your code in place of raise NotImplementedError.")
    if outcome.error == "TimeLimit":
        return Verdict(
            False,
            "too slow",
            f"Your answer was {outcome.message}; it should need far less. Is there a loop that does not end, or a "
            "Python loop over every number?",
        )
    if outcome.error == "KeyboardInterrupt":
        return Verdict(False, "error", "Stopped by you before it was done.")
    if outcome.error == "RecursionError":
        return Verdict(False, "error", f"Your answer calls itself without end{at}.")
    if outcome.error == "MemoryError":
        return Verdict(False, "error", f"Your answer asked for more memory than there is{at}.")
    if outcome.error == "SystemExit":
        return Verdict(False, "error", f"Your answer called exit(){at}: return a value instead.")
    if "modified by an inplace operation" in outcome.message:
        return Verdict(
            False,
            "not differentiable",
            "The value may be right, but a tensor that its derivative needs was changed in place: use operations that "
            "make a new tensor (x = x / y, not x /= y).",
        )
    if "a leaf Variable that requires grad" in outcome.message:
        return Verdict(
            False,
            "changed its argument",
            f"Your answer changes a tensor in place{at}, which would change its argument and break its derivative: use "
            "operations that make a new tensor (x = x / y, not x /= y).",
        )
    if "loading state_dict" in outcome.message:
        detail = " ".join(outcome.message.split("\n\t")[1:]).replace("\t", "")[:300]
        return Verdict(
            False,
            "error",
            f"The weights do not fit your module: {detail} Its parameters should have the names and shapes that the "
            "exercise lists.",
        )
    hint = ""
    if outcome.error == "TypeError" and "positional argument" in outcome.message:
        hint = f" It is called as {exercise.signature.removeprefix('def ')}."
    elif outcome.error == "TypeError" and "not callable" in outcome.message and not outcome.line:
        asked = "class" if exercise.asked == "module" else "function"
        hint = f" Give the {asked} itself: check({exercise.id!r}, {exercise.name})."
    elif "shapes cannot be multiplied" in outcome.message:
        hint = " The inner sizes of a matrix product must agree: is a transpose missing?"
    elif "size of tensor" in outcome.message and "must match" in outcome.message:
        hint = " Two shapes do not broadcast: print them just before this line."
    return Verdict(False, "error", f"It raised {said}{'' if said.endswith('.') else '.'}{at}{hint}")


def _measured(exercise: Exercise, case: Case, outcome: Outcome) -> Verdict:
    measure = exercise.measure
    assert measure is not None
    if outcome.value is None:
        return Verdict(False, "returned nothing", "Your answer returned None: is a return statement missing?")
    wanted = f"at least {measure.at_least:g} (guessing: {measure.chance:g}, the obvious attempt: {measure.baseline:g})"
    try:
        score = float(measure.value(case, outcome.value))
    except InputError as error:
        score, mistake, message = None, "wrong type", str(error)
    else:
        complaint = measure.besides(case, outcome.value)
        if score >= measure.at_least and not complaint:  # nan is not
            return Verdict(True, score=score, expected=measure.at_least, got=score)
        mistake, message = "wrong value", complaint
        if not complaint:
            mistake = "not good enough"
            message = f"{_capital(measure.name)} is {score:.2f}; it should be {wanted}."
    for one in exercise.mistakes:
        if one.sign is not None and _safely(one.sign, case, outcome.value):
            mistake, message = one.name, f"{message} {one.message}"
            break
    return Verdict(False, mistake, message, expected=measure.at_least, got=score, score=score)


def _chosen(exercise: Exercise, case: Case, outcome: Outcome) -> Verdict:
    value = outcome.value
    if isinstance(value, dict):
        value = {key: one.strip().lower() if isinstance(one, str) else one for key, one in value.items()}
    options = exercise.keys
    listed = ", ".join(repr(key) for key in options)
    if not isinstance(value, dict):
        return Verdict(False, "wrong type", f"Give a dict with the keys {listed}; {kind_of(value)} came.")
    if missing := [key for key in options if value.get(key) in (None, "", "?", "...")]:
        return Verdict(False, "not written", f"Still without an answer: {', '.join(map(repr, missing))}.")
    if odd := [key for key in options if value[key] not in options[key]]:
        allowed = ", ".join(map(repr, options[odd[0]]))
        sentence = f"The answer to {odd[0]!r} should be one of {allowed}, not {value[odd[0]]!r:.60}."
        return Verdict(False, "wrong type", sentence)
    wrong = [key for key in options if value[key] != exercise.reference[key]]
    if not wrong:
        return Verdict(True)
    told = f"{len(options) - len(wrong)} of {len(options)} are right. "
    for mistake in exercise.mistakes:
        if mistake.sign is not None and _safely(mistake.sign, case, value):
            return Verdict(False, mistake.name, told + mistake.message)
    return Verdict(False, "wrong value", f"{told}Look again at {wrong[0]!r}.")


def _safely(sign: Any, case: Case, value: Any) -> bool:
    """A sign may meet anything that an answer can return, and is wrong about what it cannot read."""
    try:
        return bool(sign(case, value))
    except Exception:
        return False


def _type(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
