"""What a learner meets: a check that never raises, shows little and enough, and remembers."""

import math
import re
import threading
import time

import pytest
import torch
import torch.nn.functional as F

from course_lib.practice import check, hint, progress, solution
from course_lib.practice.checking import examine, shown
from course_lib.practice.exercise import exercise
from course_lib.practice.judging import compare, tolerance
from course_lib.practice.lesson_06 import answers
from course_lib.practice.lesson_06.exercises import similarity_logits
from course_lib.practice.memory import Done, recall, remember

LOGITS = exercise("06.1")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))


def endless_recursion(i, t, s):
    return endless_recursion(i, t, s)


def leaves(i, t, s):
    raise SystemExit(3)


def interrupted(i, t, s):
    raise KeyboardInterrupt


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def unspeakable(i, t, s):
    raise Unspeakable


class Liar:
    """Says that it equals everything."""

    shape, dtype, ndim = (2, 3), torch.float32, 2

    def __eq__(self, other):
        return True

    def __getattr__(self, name):
        return lambda *args, **kwargs: True


class LyingTensor(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return True


def nested(i, t, s):
    value = []
    for _ in range(10_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (None, "error"),
        (3, "error"),
        ("a string", "error"),
        (lambda: None, "error"),
        (lambda i, t, s: 1 / 0, "error"),
        (lambda i, t, s: undefined, "error"),  # noqa: F821
        (endless_recursion, "error"),
        (leaves, "error"),
        (interrupted, "error"),
        (unspeakable, "error"),
        (lambda i, t, s: None, "returned nothing"),
        (lambda i, t, s: "2.0", "wrong type"),
        (lambda i, t, s: 2.0, "wrong type"),
        (lambda i, t, s: similarity_logits(i, t, s).tolist(), "wrong type"),
        (lambda i, t, s: similarity_logits(i, t, s).detach().numpy(), "wrong type"),
        (lambda i, t, s: (similarity_logits(i, t, s),), "wrong type"),
        (lambda i, t, s: {"logits": similarity_logits(i, t, s)}, "wrong type"),
        (lambda i, t, s: Liar(), "wrong type"),
        (lambda i, t, s: torch.ones(1).as_subclass(LyingTensor), "wrong type"),
        (nested, "wrong type"),
        (lambda i, t, s: similarity_logits(i, t, s).to_sparse(), "wrong type"),
        (lambda i, t, s: similarity_logits(i, t, s) > 0, "wrong type"),
        (lambda i, t, s: similarity_logits(i, t, s).long(), "wrong type"),
        (lambda i, t, s: similarity_logits(i, t, s).to(torch.complex64), "wrong type"),
        (lambda i, t, s: similarity_logits(i, t, s).bfloat16(), "wrong precision"),
        (lambda i, t, s: similarity_logits(i, t, s)[:, :0], "wrong shape"),
        (lambda i, t, s: similarity_logits(i, t, s).mean(), "wrong shape"),
        (lambda i, t, s: similarity_logits(i, t, s) / 0, "not finite"),
        (lambda i, t, s: similarity_logits(i, t, s) + float("nan"), "not finite"),
        (lambda i, t, s: torch.rand(len(i), len(t)), "wrong value"),
        (lambda i, t, s: similarity_logits(i, t, s).detach(), "not differentiable"),
        (lambda i, t, s: similarity_logits(i, t.detach(), s), "not differentiable"),
        (lambda i, t, s: (i.data.mul_(2), similarity_logits(i, t, s))[1], "changed its argument"),
        (torch.nn.Linear, "error"),
    ],
)
def test_it_never_raises_and_says_what_is_wrong(answer, fault, capsys):
    assert check("06.1", answer) == 0
    text = capsys.readouterr().out
    assert text.startswith("✗ 06.1")
    assert "itself failed" not in text
    assert examine(LOGITS, answer).failure.verdict.mistake == fault


def test_an_exercise_that_is_not_there_is_a_sentence(capsys):
    assert check("06.99", 1) == 0
    assert "06.1 to 06.7" in capsys.readouterr().out
    assert check("99.1", 1) == 0
    assert check(6.2, 1) == 0
    assert check(None, 1) == 0
    hint("07")
    solution("x")


@pytest.mark.parametrize("where", ["main thread", "another thread"])
def test_an_answer_that_does_not_end_is_stopped(where):
    from dataclasses import replace

    def endless(i, t, s):
        while True:
            try:
                while True:
                    pass
            except Exception:
                pass

    one, reports = replace(LOGITS, seconds=0.3), []
    start = time.perf_counter()
    if where == "main thread":
        reports.append(examine(one, endless))
    else:
        thread = threading.Thread(target=lambda: reports.append(examine(one, endless)))
        thread.start()
        thread.join(60)
    assert reports[0].failure.verdict.mistake == "too slow"
    assert len(reports[0].results) == 1 and reports[0].left_out == 5 and not reports[0].passed
    assert time.perf_counter() - start < 30


def test_what_an_answer_changes_around_it_is_put_back():
    def spoils(i, t, s):
        torch.manual_seed(0)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.set_num_threads(1)
        i.zero_()
        return similarity_logits(i, t, s)

    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    report = examine(LOGITS, spoils)
    assert torch.equal(torch.rand(1), wanted)
    assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()
    assert torch.get_num_threads() == threads
    assert report.failure.verdict.mistake == "changed its argument"
    assert examine(LOGITS, similarity_logits).passed


def test_printing_and_warnings_do_not_leave_the_check(capfd):
    import sys
    import warnings

    def chatty(i, t, s):
        print("shape", i.shape)
        print("!", file=sys.stderr)
        warnings.warn("a warning", stacklevel=1)
        return similarity_logits(i, t, s) * 2

    def right(i, t, s):
        chatty(i, t, s)
        return similarity_logits(i, t, s)

    assert check("06.1", chatty) == 0
    shown_text, errors = capfd.readouterr()
    assert "Your answer printed:\n  shape torch.Size([" in shown_text and errors == ""
    assert check("06.1", right) == 1
    shown_text, errors = capfd.readouterr()
    assert "shape" not in shown_text and errors == ""  # stderr in a test cell makes nbgrader give 0


def test_a_failure_shows_given_expected_and_got_in_columns(capsys):
    check("06.1", answers.logits_dot_products)
    text = capsys.readouterr().out
    assert "image_features  tensor of shape (2, 2), float32" in text
    lines = text.split("\n")
    expected = next(n for n, line in enumerate(lines) if line.startswith("  expected"))
    got = next(n for n, line in enumerate(lines) if line.startswith("  got"))
    assert lines[expected + 1].split() == ["1.2000", "1.6000", "2.0000"]
    assert lines[got + 1].split() == ["6.0000*", "40.0000*", "100.0000*"]
    assert "Did you bring both sides to length 1?" in text


def test_held_back_numbers_are_not_shown(capsys):
    def right_on_two_by_three(i, t, s):
        logits = similarity_logits(i, t, s)
        return logits if len(i) in (2, 4) else logits + 7.125

    assert check("06.1", right_on_two_by_three) == 0
    text = capsys.readouterr().out
    assert "✗ more images than texts (held back)" in text
    assert "expected" not in text and "tensor of shape" not in text


def test_choices_are_not_given_away(capsys):
    check("06.3", answers.choosing(binding="a"))
    text = capsys.readouterr().out
    assert "5 of 6 are right" in text and "'binding' is not 'a'" in text
    assert "'d'" not in text and "expected" not in text


def test_text_and_html_are_the_same_each_time():
    """Notebooks store them, and stored outputs are compared."""
    for answer in (similarity_logits, answers.logits_frobenius):
        one, two = examine(LOGITS, answer), examine(LOGITS, answer)
        assert str(one) == str(two) and one._repr_html_() == two._repr_html_()
        assert not re.search(r"0x[0-9a-f]{6}|/home/|\.py", str(one) + one._repr_html_())


def test_html_is_escaped():
    def hostile(i, t, s):
        raise ValueError("<script>alert(1)</script>")

    text = examine(LOGITS, hostile)._repr_html_()
    assert "<script>" not in text and "&lt;script&gt;" in text


def test_an_answer_that_needs_a_line_of_its_own_is_quoted():
    def broken(i, t, s):
        wide = i.T @ t.T.T.T
        return wide

    message = examine(LOGITS, broken).failure.verdict.message
    assert "(at your line: wide = i.T @ t.T.T.T)" in message and "transpose missing" in message


def test_progress_is_remembered(capsys):
    check("06.1", None)
    check("06.1", similarity_logits)
    check("06.1", None)
    assert recall("06.1") == Done(tries=3, passed=True, hints=0)
    assert "1 of 7 exercises right, 1 of 20 points" in str(progress("06"))
    assert str(progress("06")).split("\n")[1].split() in [line.split() for line in str(progress()).split("\n")]
    assert "<td style='text-align:left'>1/1</td>" in progress("06")._repr_html_()


def test_hints_unfold_one_after_another(capsys):
    for number in (1, 2, 3, 3):
        hint("06.2")
        text = capsys.readouterr().out
        assert [f"Hint {n}" in text for n in (1, 2, 3)] == [n <= number for n in (1, 2, 3)]
    assert recall("06.2").hints == 3


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"tries": "1"}', b'{"tries": 1, "passed": 1}', b"\xff\xfe", b'{"odd": 1}'],
)
def test_a_damaged_progress_file_costs_only_its_own_exercise(content, tmp_path, capsys):
    remember("06.2", Done(tries=2, passed=True))
    check("06.1", similarity_logits)
    (tmp_path / "progress" / "06.1.json").write_bytes(content)
    assert recall("06.1") == Done() and recall("06.2").passed
    assert "1 of 7" in str(progress("06"))
    assert check("06.1", similarity_logits) == 1
    assert "2 of 7" in str(progress("06"))


def test_a_place_that_cannot_be_written_stops_nobody(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file"))
    assert check("06.1", similarity_logits) == 1
    hint("06.1")
    assert "0 of 7" in str(progress("06"))


@pytest.mark.parametrize(("dtype", "step"), [(torch.float64, 1e-6), (torch.float32, 1e-3), (torch.bfloat16, 0.2)])
def test_tolerance_follows_the_type(dtype, step):
    value = torch.tensor([1.0, -2.0, 3.0], dtype=dtype)
    relative, absolute = tolerance(dtype)
    assert compare(value, value + step) is not None
    assert compare(value, value * (1 + relative / 4)) is None
    assert all(b > a for a, b in zip((relative, absolute), tolerance(dtype, device="cuda"), strict=True))


def test_a_double_answer_to_a_single_question_is_right_and_a_half_one_is_not():
    assert compare(torch.ones(2), torch.ones(2, dtype=torch.float64)) is None
    assert compare(torch.ones(2), torch.ones(2, dtype=torch.float16)).fault == "wrong precision"
    assert compare(torch.ones(2, dtype=torch.float64), torch.ones(2)) is None
    assert compare(torch.ones(2, dtype=torch.int64), torch.ones(2, dtype=torch.int32)) is None
    assert compare(0.5, torch.tensor(0.5)) is None and compare(1.0, 1) is None
    assert compare(1.0, True) is not None and compare(1, 1.5) is not None


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda x: 2 * x, "2 times what it should be"),
        (lambda x: x / 2, "1/2 of what it should be"),
        (lambda x: -x, "wrong sign"),
        (lambda x: x.T, "transposed"),
        (lambda x: x + 1.5, "off by the same amount, 1.5"),
        (lambda x: x + torch.eye(3), "3 of 9 entries"),
    ],
)
def test_a_wrong_value_is_described(made, words):
    right = torch.arange(1.0, 10.0).view(3, 3) ** 1.5
    assert words in compare(right, made(right)).sentence


def test_values_are_shown_by_size():
    assert shown(torch.tensor(math.pi)) == "3.1416  (float32)"
    assert shown(torch.zeros(3, 4, 5)) == "tensor of shape (3, 4, 5), float32, from 0.0000 to 0.0000"
    assert shown(torch.arange(3)) == "tensor of shape (3,), int64\n0  1  2"
    assert shown(torch.zeros(0, 2)) == "tensor of shape (0, 2), float32"
    assert len(shown("x" * 1_000)) == 300
    assert F.__name__  # what an answer has at hand


def test_without_held_back_cases_and_answers_the_check_still_works(monkeypatch, capsys):
    """A class is given neither file."""
    from course_lib.practice import exercise as definition

    real = definition._part
    monkeypatch.setattr(
        definition, "_part", lambda lesson, part: real(lesson, part) if part == "exercises" else real(lesson, "missing")
    )
    report = examine(LOGITS, similarity_logits)
    assert report.passed and len(report.results) == len(LOGITS.cases(0))
    assert check("06.1", similarity_logits) == 1
    assert check("06.1", answers.logits_frobenius) == 0
    solution("06.1")
    assert "comes without solutions" in capsys.readouterr().out
