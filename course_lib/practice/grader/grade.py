"""Grades submitted notebooks that nobody trusts: the code runs in a jail, what it returns is judged here.

The cases are drawn from a seed that is made anew for each run and never leaves this process, so that nobody can prepare
answers to them; the references and what only the judge may see never enter the jail.
"""

import hashlib
import os
import re
import secrets
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from course_lib.errors import InputError
from course_lib.practice.asking import Outcome
from course_lib.practice.exercise import Case, Exercise, exercises, held_back
from course_lib.practice.grader import protocol
from course_lib.practice.grader.jail import PACKAGE, Jail, JailError
from course_lib.practice.grader.report import Report, printable
from course_lib.practice.grader.submission import MAX_BYTES
from course_lib.practice.judging import expected_of, judge

# Submissions are graded beside others on a machine that may be slower than the learner's own.
PATIENCE = 2.0
READING = 20.0  # seconds to find the answers in a notebook
MODES = ("namespaces", "landlock", "bare")
# What every submission may import of the course. None of it is an exercise's answer.
LIBRARY = ("course_lib", "course_lib.errors", "course_lib.files", "course_lib.runtime")


@dataclass(frozen=True)
class Mark:
    """What one exercise got.

    Args:
        exercise: its id.
        points: what it got.
        out_of: what it can get.
        passed: how many cases were right.
        cases: how many there are.
        mistake: the name of the mistake of the first case that was not right; "" if all were.
        message: what to say about it.
    """

    exercise: str
    points: float
    out_of: float
    passed: int
    cases: int
    mistake: str = ""
    message: str = ""


@dataclass(frozen=True)
class Result:
    """What one submission got. `problem` says why nothing, or not everything, of it could be graded; "" if all
    could.
    """

    marks: tuple[Mark, ...]
    problem: str = ""
    seconds: float = 0.0

    @property
    def points(self) -> float:
        return sum(mark.points for mark in self.marks)

    @property
    def out_of(self) -> float:
        return sum(mark.out_of for mark in self.marks)


@dataclass
class Asked:
    """An exercise with this run's cases, and what the reference makes of them."""

    exercise: Exercise
    cases: list[Case]
    expected: list[Outcome | None] = field(default_factory=list)

    @property
    def limit(self) -> float:
        """Seconds after which an answer that does not let itself be stopped is."""
        return 3.0 + (len(self.cases) + 1) * self.exercise.seconds * PATIENCE


class Grader:
    """Grades submissions to one lesson's exercises, as a context manager.

    Args:
        lesson: "06".
        unsafe_mode: a weaker jail to make do with, by its name; None for the best that this machine offers.
        seed: for tests; anything else must leave it to chance.
        own_exercises: for tests: in place of the lesson's.

    Raises:
        InputError: the lesson has no exercises, or there is no mode of that name.
        JailError: this machine offers no safe way.
    """

    def __init__(
        self,
        lesson: str,
        unsafe_mode: str | None = None,
        seed: int | None = None,
        own_exercises: Iterable[Exercise] | None = None,
    ):
        if unsafe_mode is not None and unsafe_mode not in MODES:
            raise InputError(f"there is no mode {unsafe_mode!r}: {', '.join(MODES)}, from the strongest to none at all")
        self.lesson = lesson
        seed = secrets.randbits(63) if seed is None else seed
        own = own_exercises if own_exercises is not None else exercises(lesson)
        self.asked = [Asked(one, _cases(one, seed)) for one in own]
        for one in self.asked:
            compared = one.exercise.measure is None and one.exercise.asked != "value"
            one.expected = [expected_of(one.exercise, case) if compared else None for case in one.cases]
        self._questions = self._payload(self.asked)
        # The first optimiser that a process makes imports torch._dynamo, which takes seconds.
        training = ("torch._dynamo",) if any(one.exercise.measure for one in self.asked) else ()
        self.jail = Jail(library(LIBRARY), imports=(*LIBRARY, *training), mode=unsafe_mode)

    @staticmethod
    def _payload(asked: list[Asked]) -> bytes:
        questions = [[one.exercise.question(case) for case in one.cases] for one in asked]
        for question in (question for each in questions for question in each):
            question.seconds *= PATIENCE
        return protocol.dump(questions)

    @property
    def names(self) -> list[str]:
        """The names of the answers, in the exercises' order."""
        return [one.exercise.name for one in self.asked]

    @property
    def out_of(self) -> float:
        """The points of all exercises."""
        return float(sum(one.exercise.points for one in self.asked))

    def grade(self, content: bytes) -> Result:
        """Grades a notebook, given as the bytes of its file. Whatever is in it, this returns."""
        marks: dict[str, Mark] = {}
        problem, seconds, left = "", 0.0, list(self.asked)
        while left:
            about, found, took, ending = self._run(content, left)
            seconds += took
            if about.get("state") in ("unreadable", "wall"):
                problem = _sentence(about.get("message"), "the file cannot be read")
                break
            if about.get("state") == "read":
                problem = self._problem(about)
            for one, payload in zip(left, found, strict=False):
                marks[one.exercise.id] = self._mark(one, payload)
            left = left[len(found) :]
            if left:  # the one whose turn it was ended its process; those after it get one of their own
                stopped, *left = left
                marks[stopped.exercise.id] = self._lost(stopped, f"Nothing came back: {ending or 'it ended early'}.")
        for one in self.asked:
            if one.exercise.id not in marks:
                marks[one.exercise.id] = self._lost(one, problem)
        return Result(tuple(marks[one.exercise.id] for one in self.asked), problem, seconds)

    def _run(self, content: bytes, left: list[Asked]) -> tuple[dict, list[memoryview], float, str]:
        """Asks what is left in one child: what it says of the notebook, a payload for each exercise, seconds, its
        end.
        """
        job = {"names": self.names, "asked": [one.exercise.name for one in left]}
        try:
            questions = self._questions if len(left) == len(self.asked) else self._payload(left)
            run = self.jail.run(content, questions, job, [READING, *(one.limit for one in left)])
        except JailError as error:
            self.jail.restart()
            return {}, [], 0.0, str(error)
        payloads, wrong = protocol.unframe(run.stream, 1 + len(left))
        ending = wrong or run.ending
        about: object = {}
        if payloads:
            try:
                about = protocol.parse(payloads[0])
            except protocol.ProtocolError as error:
                ending = str(error)
        return about if type(about) is dict else {}, payloads[1:], run.seconds, ending

    def _problem(self, about: dict) -> str:
        """What the whole notebook suffers from. All that is used of what the child says is compared with what is
        known.
        """
        defines = about.get("defines")
        states = [defines.get(name) for name in self.names] if type(defines) is dict else []
        if states and all(state == "no" for state in states):
            other = about.get("lesson")
            other = other if type(other) is str and re.fullmatch(r"\d\d", other) and other != self.lesson else ""
            is_it = f"it is lesson {other}'s" if other else "is it another lesson's?"
            return (
                f"the notebook defines none of the answers of lesson {self.lesson} ({', '.join(self.names)}): {is_it}"
            )
        return ""

    def _mark(self, one: Asked, payload: memoryview) -> Mark:
        try:
            outcomes = protocol.parse_outcomes(payload, len(one.cases))
        except protocol.ProtocolError as error:
            return self._lost(one, f"What came back cannot be read: {error}.")
        passed, mistake, message = 0, "", ""
        for case, expected, outcome in zip(one.cases, one.expected, outcomes, strict=True):
            try:
                verdict = judge(one.exercise, case, outcome, expected)
                good, name, why = verdict.passed is True, verdict.mistake, verdict.message
            except Exception as error:  # a value that nobody thought of: it is not right, and the run goes on
                good, name, why = False, "wrong type", f"What it returned cannot be judged ({type(error).__name__})."
            passed += good
            if not good and not mistake:
                place = f" ({case.about})" if case.about and name != "not written" else ""
                mistake, message = name, f"{why}{place}"
        points = one.exercise.points if passed == len(one.cases) and one.cases else 0
        return Mark(one.exercise.id, points, one.exercise.points, passed, len(one.cases), mistake, message)

    @staticmethod
    def _lost(one: Asked, message: str) -> Mark:
        return Mark(one.exercise.id, 0, one.exercise.points, 0, len(one.cases), "error", message)

    def close(self) -> None:
        """Ends the jail."""
        self.jail.close()

    def __enter__(self) -> "Grader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _cases(exercise: Exercise, seed: int) -> list[Case]:
    """This run's cases: like those that a learner is shown, with other numbers, and like those that are held back.

    A training is asked for once: it is the student's own time, and one more case would double it.
    """
    shown = exercise.cases(_seed_of(seed, exercise.id, "shown"))
    more = held_back(exercise, _seed_of(seed, exercise.id, "held back"))
    return (more or shown)[:1] if exercise.measure else [*shown, *more]


def _seed_of(seed: int, exercise: str, part: str) -> int:
    """A seed for each part of each exercise, none of which tells another."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{exercise}/{part}".encode()).digest()[:7], "little")


def _sentence(value: object, otherwise: str) -> str:
    return value[:500] if type(value) is str and value else otherwise


def library(names: Iterable[str]) -> dict[str, str]:
    """The source of modules of `course_lib` and of nothing else: {"course_lib/errors.py": source}."""
    files = {}
    for name in names:
        path = PACKAGE.joinpath(*name.split(".")[1:])
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        files[path.relative_to(PACKAGE.parent).as_posix()] = path.read_text(encoding="utf-8")
    return files


# --- files ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Submission:
    """A file that was handed in: where it lies, what it is called in the table, whose it is."""

    path: Path
    name: str
    student: str


def find_submissions(paths: Iterable[Path], stem: str = "") -> list[Submission]:
    """The submissions among files and folders, each once, in the order given and by name within a folder.

    The student is the first folder below the one given, or for a file that lies there (or is given itself) its name,
    without the exercise set's name and what a learning platform adds.

    Args:
        paths: notebooks, or folders of them at any depth.
        stem: what the exercise set is called, as in "06_clip".

    Raises:
        InputError: a path does not exist, or there is nothing to grade.
    """
    found: dict[Path, Submission] = {}
    for given in map(Path, paths):
        if not os.path.lexists(given):
            raise InputError(f"there is no file or folder {printable(str(given))}")
        if not given.is_dir():
            found.setdefault(given.absolute(), Submission(given, printable(str(given)), student_of(given, stem)))
            continue
        for path in sorted(given.rglob("*"), key=lambda path: str(path).encode("utf-8", "surrogateescape")):
            inside = path.relative_to(given)
            hidden = any(part.startswith(".") for part in inside.parts)
            if path.suffix.lower() != ".ipynb" or hidden or (path.is_dir() and not path.is_symlink()):
                continue
            student = inside.parts[0] if len(inside.parts) > 1 else student_of(path, stem)
            found.setdefault(path.absolute(), Submission(path, printable(str(inside)), printable(student)))
    if not found:
        raise InputError("there is no notebook (.ipynb) to grade there")
    return list(found.values())


def student_of(path: Path, stem: str = "") -> str:
    """Whose file this is by its name; the folder's name where the file's says nothing."""
    name = path.name.removesuffix(".ipynb")
    name = re.sub(r"_(?:LATE_)?\d{3,}_\d{3,}_.*", "", name)  # Canvas: name_id_id_original
    if stem:
        name = re.sub(rf"[\s_.,-]*{re.escape(stem)}[\s_.,-]*", "", name)
    name = re.sub(r"\s*(?:\(\d+\)|-\s*copy|copy)\s*$", "", name, flags=re.IGNORECASE)
    return printable(name.strip() or path.absolute().parent.name)


def read_submission(path: Path) -> bytes:
    """A submission's bytes.

    Raises:
        InputError: it is no ordinary file, or too large. A link is refused: it may lead to somebody else's answers.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            raise InputError("the file is a link to another; hand in the notebook itself") from None
        raise InputError(f"the file cannot be opened: {error.strerror}") from None
    with open(handle, "rb") as file:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise InputError("this is no ordinary file")
        if about.st_size > MAX_BYTES:
            raise InputError(
                f"the file has {about.st_size >> 20} MB; a submission may have {MAX_BYTES >> 20}: clear its outputs"
            )
        return file.read(MAX_BYTES + 1)


def columns(grader: Grader) -> list[str]:
    """The table's first row."""
    return [
        "student",
        "file",
        "total",
        "out_of",
        *(one.exercise.id for one in grader.asked),
        "failed",
        "why",
        "note",
        "sha256",
    ]


def grade_files(
    submissions: list[Submission], grader: Grader, report: Report, show: Callable[[Iterable], Iterable] = iter
) -> int:
    """Grades what the table does not have yet, a row for each as soon as it is known. Returns how many were graded.

    Args:
        submissions: from `find_submissions`.
        grader: that grades them.
        report: the table.
        show: wraps the loop, as a progress bar does.
    """
    done = {(row["file"], row["sha256"]) for row in report.rows}
    students = Counter(one.student for one in submissions)
    same: dict[str, str] = {row["sha256"]: row["file"] for row in reversed(report.rows)}
    graded = 0
    for one in show(submissions):
        notes = []
        if students[one.student] > 1:
            notes.append(f"{students[one.student]} files of this student")
        try:
            content = read_submission(one.path)
            digest = hashlib.sha256(content).hexdigest()
        except (InputError, OSError) as error:
            content, digest, problem = None, "", str(error)
        if (_as_in_table(one.name), digest) in done:
            continue
        if content is None:
            result = Result(tuple(grader._lost(asked, problem) for asked in grader.asked), problem)
        else:
            if digest in same and same[digest] != _as_in_table(one.name):
                notes.append(f"the same file as {same[digest]}")
            same.setdefault(digest, _as_in_table(one.name))
            result = grader.grade(content)
        failed = [mark for mark in result.marks if mark.points < mark.out_of]
        why = result.problem or " | ".join(f"{mark.exercise}: {mark.message}" for mark in failed)
        report.add(
            [
                one.student,
                one.name,
                result.points,
                result.out_of,
                *(mark.points for mark in result.marks),
                " ".join(mark.exercise for mark in failed),
                why[:8_000],
                "; ".join(notes),
                digest,
            ]  # fmt: skip
        )
        graded += 1
    return graded


def _as_in_table(name: str) -> str:
    from course_lib.practice.grader.report import cell

    return cell(name)


def main(files: list[Path], lesson: str, out: Path, resume: bool = False, unsafe_mode: str | None = None) -> int:
    """`course grade`: says how the machine protects itself, grades, and says what came of it. Returns the exit
    status.
    """
    from course_lib.runtime import progress

    lesson = lesson.zfill(2)
    stem = next((path.stem for path in (PACKAGE.parent / "exercises").glob(f"{lesson}_*.ipynb")), "")
    submissions = find_submissions(files, stem)
    with Grader(lesson, unsafe_mode) as grader:
        report = Report(out, columns(grader), resume)
        print(f"Protection of this machine: {grader.jail.mode}")
        for wall in grader.jail.protections():
            print(f"  {'yes' if wall.present else 'NO '}  {wall.name}{f' ({wall.detail})' if wall.detail else ''}")
        before = len(report.rows)
        try:
            grade_files(submissions, grader, report, lambda every: progress(every, "grading"))
        except KeyboardInterrupt:
            print(f"Stopped. {len(report.rows)} of {len(submissions)} rows are in {out.name}; go on with --resume.")
            return 130
    totals = [float(row["total"]) for row in report.rows]
    mean = sum(totals) / len(totals) if totals else 0.0
    print(f"{len(report.rows) - before} graded, {before} kept: {out}. Mean {mean:.1f} of {grader.out_of:g} points.")
    return 0
