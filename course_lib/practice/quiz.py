"""The interview and quiz bank: read and checked, drilled in the terminal with spaced repetition, shown in notebooks.

`data/interview/NN.yml` holds, for lesson NN:

    lesson, title
    interview: a list of entries with
        id ("06.i01"), question, short (the answer in two sentences), long (the answer worth giving), follow_ups (a
        list),
        wrong (a list of {answer, why}: common wrong answers and what is wrong with them), difficulty (1-5), section
        (of the lesson, that explains it)
    quiz: a list of entries with
        id ("06.q01"), question, options (a list), right (the index of the right one), explanation, section

Spaced repetition is Leitner's: a card that is known moves to the next box and comes back after 1, 2, 4, 8, 16 days; one
that is not goes back to the first box.
"""

import datetime
import html
import json
import random
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path

import yaml

from course_lib.errors import FileError, InputError
from course_lib.files import cache_folder, embedded, manifest, write_atomically


@dataclass(frozen=True)
class Wrong:
    """A common wrong answer, and what is wrong with it."""

    answer: str
    why: str


@dataclass(frozen=True)
class Interview:
    """A question that interviewers ask, with an answer worth giving. Fields as in the module's docstring."""

    id: str
    question: str
    short: str
    long: str
    follow_ups: tuple[str, ...]
    wrong: tuple[Wrong, ...]
    difficulty: int
    section: str


@dataclass(frozen=True)
class Choice:
    """A quick multiple-choice question. Fields as in the module's docstring."""

    id: str
    question: str
    options: tuple[str, ...]
    right: int
    explanation: str
    section: str


@dataclass(frozen=True)
class Bank:
    """All questions of a lesson."""

    lesson: str
    title: str
    interview: tuple[Interview, ...]
    quiz: tuple[Choice, ...]


def lessons() -> list[str]:
    """The numbers of the lessons that have a bank."""
    return sorted(match[1] for name in manifest() if (match := re.fullmatch(r"interview/(\d\d)\.yml", name)))


def bank(number: str) -> Bank:
    """The questions of a lesson.

    Args:
        number: "06" (or "6").

    Raises:
        InputError: no such lesson has questions.
        FileError: the file is damaged; the message names entry and field.
    """
    asked = str(number).zfill(2)
    if asked not in lessons():
        raise InputError(f"lesson {number!r} has no questions yet; those that do: {', '.join(lessons()) or 'none'}")
    path = embedded(f"interview/{asked}.yml")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise FileError(f"interview/{path.name} is not YAML: {' '.join(str(error).split())}") from error
    return parse(values, f"interview/{path.name}", asked)


def parse(values, source: str, number: str) -> Bank:
    """A bank from what its file holds, checked field by field.

    Raises:
        FileError: names the file, the entry and the field, and says what should be there.
    """
    if not isinstance(values, dict) or set(values) != {"lesson", "title", "interview", "quiz"}:
        raise FileError(f"{source} should have the fields lesson, title, interview and quiz, and no other")
    if values["lesson"] != number:
        raise FileError(f"{source}: lesson is {values['lesson']!r}; it should be {number!r}, in quotes")
    interview = _entries(Interview, values["interview"], f"{source}, interview", number)
    quiz = _entries(Choice, values["quiz"], f"{source}, quiz", number)
    seen: set[str] = set()
    for entry in [*interview, *quiz]:
        if entry.id in seen:
            raise FileError(f"{source}: the id {entry.id} is used twice")
        seen.add(entry.id)
    return Bank(number, str(values["title"]), tuple(interview), tuple(quiz))


def _entries(kind: type, values, where: str, number: str) -> list:
    if not isinstance(values, list):
        raise FileError(f"{where} should be a list of entries")
    return [_entry(kind, value, f"{where} {place}", number) for place, value in enumerate(values, start=1)]


def _entry(kind: type, value, where: str, number: str):
    if not isinstance(value, dict):
        raise FileError(f"{where} should be a mapping of field to text")
    if isinstance(value.get("id"), str):
        where = f"{where} ({value['id']})"
    names = [each.name for each in fields(kind)]
    if missing := [name for name in names if value.get(name) in (None, "", [])]:
        raise FileError(f"{where} lacks {', '.join(missing)}")
    if unknown := [str(name) for name in value if name not in names]:
        raise FileError(f"{where} has {', '.join(unknown)}, which no entry has")
    given = {}
    for name, part in value.items():
        if name in ("follow_ups", "options"):
            if not isinstance(part, list) or not all(isinstance(text, str) and text for text in part):
                raise FileError(f"{where}: {name} should be a list of texts")
            given[name] = tuple(part)
        elif name == "wrong":
            good = isinstance(part, list) and all(
                isinstance(each, dict) and set(each) == {"answer", "why"} for each in part
            )
            if not good:
                raise FileError(f"{where}: wrong should be a list of entries with the fields answer and why")
            given[name] = tuple(Wrong(str(each["answer"]), str(each["why"])) for each in part)
        elif name in ("difficulty", "right"):
            highest = 5 if name == "difficulty" else len(value["options"]) - 1
            lowest = 1 if name == "difficulty" else 0
            if not isinstance(part, int) or isinstance(part, bool) or not lowest <= part <= highest:
                raise FileError(f"{where}: {name} is {part!r}; it should be a number from {lowest} to {highest}")
            given[name] = part
        elif not isinstance(part, str):
            raise FileError(f"{where}: {name} should be text, and is {type(part).__name__}: put it in quotes")
        else:
            given[name] = " ".join(part.split())
    letter = "i" if kind is Interview else "q"
    if not re.fullmatch(rf"{number}\.{letter}\d\d", given["id"]):
        raise FileError(f"{where}: the id should look like {number}.{letter}01")
    if not re.match(r"\d+ \w", given["section"]):
        raise FileError(f"{where}: section is {given['section']!r}; it should be one of the lesson's, '5 Zero-shot'")
    return kind(**given)


# --- in a notebook ---------------------------------------------------------------------------------------------------


def show_interview(number: str, ids: list[str] | None = None) -> None:
    """Shows a lesson's interview questions with folded answers; in a terminal it prints the questions.

    Args:
        number: "06".
        ids: only these, such as ["06.i01"].

    Raises:
        InputError: no such lesson or question.
    """
    entries = _pick(bank(number).interview, ids)
    lines = [f"{each.id}  {each.question}" for each in entries]
    _show("".join(interview_html(entry) for entry in entries), "\n".join(lines))


def show_quiz(number: str, ids: list[str] | None = None) -> None:
    """Shows a lesson's multiple-choice questions with folded answers; arguments and errors as `show_interview`."""
    entries = _pick(bank(number).quiz, ids)
    lines = [f"{each.id}  {each.question}  " + "  ".join(_lettered(each.options)) for each in entries]
    _show("".join(quiz_html(entry) for entry in entries), "\n".join(lines))


def interview_html(entry: Interview) -> str:
    """One interview question: the answer unfolds, and in it the long answer, follow-ups and wrong answers."""
    text = html.escape
    follow = "".join(f"<li>{text(each)}</li>" for each in entry.follow_ups)
    wrong = "".join(f"<li><em>{text(each.answer)}</em> {text(each.why)}</li>" for each in entry.wrong)
    stars = "●" * entry.difficulty + "○" * (5 - entry.difficulty)
    return (
        f"<details><summary><b>{text(entry.question)}</b> <small title='difficulty {entry.difficulty} of 5'>{stars}"
        f"</small></summary><blockquote><p><b>In short.</b> {text(entry.short)}</p><p>{text(entry.long)}</p>"
        f"<p><b>What comes next</b></p><ul>{follow}</ul><p><b>Often said, and wrong</b></p><ul>{wrong}</ul>"
        f"<p><small>Explained in section {text(entry.section)}.</small></p></blockquote></details>"
    )


def quiz_html(entry: Choice) -> str:
    """One multiple-choice question: options in view, the answer folded."""
    text = html.escape
    options = "".join(f"<li>{text(option)}</li>" for option in entry.options)
    answer = f"{'abcdefgh'[entry.right]}) {entry.options[entry.right]}"
    return (
        f"<p><b>{text(entry.question)}</b></p><ol type='a'>{options}</ol><details><summary>answer</summary>"
        f"<p><b>{text(answer)}.</b> {text(entry.explanation)} <small>Section {text(entry.section)}.</small></p>"
        "</details>"
    )


def _lettered(options: tuple[str, ...]) -> list[str]:
    return [f"{letter}) {option}" for letter, option in zip("abcdefgh", options, strict=False)]


def _pick(entries: tuple, ids: list[str] | None) -> list:
    if ids is None:
        return list(entries)
    known = {entry.id: entry for entry in entries}
    if unknown := [each for each in ids if each not in known]:
        raise InputError(f"there is no question {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[each] for each in ids]


def _show(as_html: str, as_text: str) -> None:
    from course_lib.runtime import in_notebook

    if not in_notebook():
        print(as_text)
        return
    from IPython.display import display

    display({"text/html": as_html, "text/plain": as_text}, raw=True)


# --- in the terminal -------------------------------------------------------------------------------------------------

DAYS = (0, 1, 2, 4, 8, 16)
"""Box -> days until a card in it is asked again. New cards and forgotten ones are in box 0."""


@dataclass
class Memory:
    """What spaced repetition remembers: question id -> (box, day it is due), in one small file.

    A damaged file is put aside under another name and said so; the drill starts anew and nothing is lost.
    """

    path: Path
    boxes: dict[str, tuple[int, datetime.date]] = field(default_factory=dict)
    said: str = ""

    @classmethod
    def load(cls, path: Path | None = None) -> "Memory":
        """Reads the file, or starts empty where there is none."""
        memory = cls(path or cache_folder() / "quiz.json")
        try:
            content = memory.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return memory
        except (OSError, UnicodeDecodeError):
            content = ""
        try:
            for key, (box, due) in json.loads(content)["boxes"].items():
                if not 0 <= int(box) < len(DAYS):
                    raise ValueError(f"box {box}")
                memory.boxes[str(key)] = int(box), datetime.date.fromisoformat(due)
        except (ValueError, TypeError, KeyError, AttributeError):
            aside = memory.path.with_name(f"{memory.path.stem}.damaged{memory.path.suffix}")
            number = 2
            while aside.exists():
                aside = memory.path.with_name(f"{memory.path.stem}.damaged-{number}{memory.path.suffix}")
                number += 1
            try:
                memory.path.replace(aside)
            except OSError as error:
                raise FileError(f"{memory.path.name} is damaged and cannot be moved: delete it") from error
            memory.boxes = {}
            memory.said = f"What was remembered cannot be read; it is kept as {aside.name}, and the drill starts anew."
        return memory

    def due(self, ids: list[str], today: datetime.date) -> list[str]:
        """Those of `ids` to ask today: what is due, longest overdue first, then what is new in the order given."""
        old = sorted((each for each in ids if each in self.boxes), key=lambda each: self.boxes[each][1])
        return [each for each in old if self.boxes[each][1] <= today] + [each for each in ids if each not in self.boxes]

    def record(self, key: str, known: bool, today: datetime.date) -> None:
        """Moves a card up by one box, or back to the first, and writes the file."""
        box = min(self.boxes.get(key, (0, today))[0] + 1, len(DAYS) - 1) if known else 0
        self.boxes[key] = box, today + datetime.timedelta(days=DAYS[box])
        values = {each: [number, due.isoformat()] for each, (number, due) in sorted(self.boxes.items())}
        write_atomically(self.path, json.dumps({"boxes": values}, indent=1) + "\n")


def drill(
    banks: list[Bank],
    memory: Memory,
    ask: Callable[[str], str],
    say: Callable[[str], None],
    today: datetime.date,
    seed: int | None = None,
) -> tuple[int, int]:
    """Asks what is due, one question after the other, until all are asked or the learner leaves with "q".

    Args:
        banks: whose questions.
        memory: what is due; written after each answer.
        ask: shows a prompt and returns what was typed; may raise EOFError.
        say: prints.
        today: the date.
        seed: of the order in which new questions come; another one each day when left out.

    Returns:
        (known, asked).
    """
    entries = {entry.id: entry for each in banks for entry in (*each.interview, *each.quiz)}
    ids = list(entries)
    random.Random(today.toordinal() if seed is None else seed).shuffle(ids)
    queue = memory.due(ids, today)
    if not queue:
        soonest = min((memory.boxes[key][1] for key in ids if key in memory.boxes), default=today)
        say(f"Nothing is due today. The next question comes on {soonest.isoformat()}.")
        return 0, 0
    say(f"{len(queue)} questions are due. Enter to see the answer, q to stop.")
    known = asked = 0
    for position, key in enumerate(queue, start=1):
        entry = entries[key]
        try:
            put = _ask_choice if isinstance(entry, Choice) else _ask_open
            answer = put(entry, ask, say, position, len(queue))
        except (EOFError, KeyboardInterrupt):
            answer = None
        if answer is None:
            break
        memory.record(key, answer, today)
        asked += 1
        known += answer
    say(f"\n{known} of {asked} known.")
    return known, asked


def _ask_choice(entry: Choice, ask, say, position: int, total: int) -> bool | None:
    say(f"\n[{position}/{total}] {entry.question}")
    for line in _lettered(entry.options):
        say(f"   {line}")
    letters = "abcdefgh"[: len(entry.options)]
    while True:
        typed = ask(f"your choice ({letters[0]}-{letters[-1]}): ").strip().lower().rstrip(")")
        if typed == "q":
            return None
        if len(typed) == 1 and typed in letters:
            break
        say(f"Please type one letter from {letters[0]} to {letters[-1]}, or q to stop.")
    right = letters.index(typed) == entry.right
    say(("Right. " if right else f"No: {_lettered(entry.options)[entry.right]}. ") + entry.explanation)
    return right


def _ask_open(entry: Interview, ask, say, position: int, total: int) -> bool | None:
    say(f"\n[{position}/{total}] {entry.question}")
    if ask("").strip().lower() == "q":
        return None
    say(f"In short: {entry.short}\n\n{entry.long}\n")
    for each in entry.wrong:
        say(f"Often said, and wrong: {each.answer} {each.why}")
    say(f"Section {entry.section}")
    while True:
        typed = ask("did you know it? (y/n): ").strip().lower()
        if typed in ("y", "yes", "n", "no"):
            return typed.startswith("y")
        if typed == "q":
            return None
        say("Please type y or n, or q to stop.")


def main(number: str | None = None, seed: int | None = None) -> None:
    """`course quiz [NN]`: drills one lesson, or all that have questions.

    Raises:
        InputError: the lesson has no questions.
        FileError: what is remembered cannot be written.
    """
    import textwrap

    banks = [bank(number)] if number else [bank(each) for each in lessons()]
    if not banks:
        raise InputError("no lesson has questions yet")
    memory = Memory.load()
    if memory.said:
        print(memory.said, file=sys.stderr)

    def say(text: str) -> None:
        for line in text.split("\n"):
            print(textwrap.fill(line, 100, subsequent_indent="   ") if line.strip() else line)

    drill(banks, memory, input, say, datetime.date.today(), seed)
