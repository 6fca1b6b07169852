"""The bank is whole; the drill remembers; what is damaged is put aside."""

import copy
import datetime
import html.parser
import json
import os
import random
import sqlite3
import zipfile

import pytest
import yaml

from course_lib.errors import FileError, InputError
from course_lib.files import embedded
from course_lib.practice import anki, quiz

TODAY = datetime.date(2030, 1, 1)


def values():
    return yaml.safe_load(embedded("interview/06.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("number", quiz.lessons())
def test_each_bank_is_worth_drilling(number):
    bank = quiz.bank(number)
    assert len(bank.interview) >= 10 and len(bank.quiz) >= 5
    for entry in bank.interview:
        assert entry.question.endswith("?") or "." in entry.question
        assert len(entry.short) < len(entry.long) and len(entry.long.split()) >= 50, entry.id
        assert len(entry.follow_ups) >= 2 and len(entry.wrong) >= 2, entry.id
    assert len({entry.difficulty for entry in bank.interview}) >= 3
    for entry in bank.quiz:
        assert len(entry.options) == 4 and len(set(entry.options)) == 4, entry.id
    rights = [entry.right for entry in bank.quiz]
    assert max(rights.count(place) for place in range(4)) <= len(rights) / 2  # always (b) would not pass


def test_lesson_06_refers_to_its_own_sections():
    sections = {entry.section for entry in (*quiz.bank("6").interview, *quiz.bank("06").quiz)}
    assert len(sections) >= 10 and all(1 <= int(section.split()[0]) <= 13 for section in sections)


def change(path, value):
    def apply(all_values):
        target = all_values
        for step in path[:-1]:
            target = target[step]
        if value is None:
            del target[path[-1]]
        else:
            target[path[-1]] = value
        return all_values

    return apply


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (["lesson"], 6, "lesson is 6; it should be '06'"),
        (["quiz"], None, "should have the fields"),
        (["interview"], "many", "interview should be a list"),
        (["interview", 2], "x", "interview 3 should be a mapping"),
        (["interview", 0, "long"], None, r"interview 1 \(06.i01\) lacks long"),
        (["interview", 0, "hint"], "x", r"\(06.i01\) has hint"),
        (["interview", 0, "difficulty"], 6, "difficulty is 6; it should be a number from 1 to 5"),
        (["interview", 0, "question"], 5, "question should be text, and is int"),
        (["interview", 0, "follow_ups"], "x", "follow_ups should be a list of texts"),
        (["interview", 0, "wrong"], [{"answer": "x"}], "fields answer and why"),
        (["interview", 0, "id"], "07.i01", "should look like 06.i01"),
        (["interview", 1, "id"], "06.i01", "the id 06.i01 is used twice"),
        (["interview", 0, "section"], "somewhere", "section is 'somewhere'"),
        (["quiz", 0, "right"], 4, "right is 4; it should be a number from 0 to 3"),
        (["quiz", 0, "right"], True, "right is True"),
    ],
)
def test_a_wrong_field_is_named(path, value, sentence):
    with pytest.raises(FileError, match=sentence):
        quiz.parse(change(path, value)(copy.deepcopy(values())), "interview/06.yml", "06")


def test_a_lesson_without_questions_says_which_have_some():
    with pytest.raises(InputError, match="lesson '99' has no questions yet; those that do: .*06"):
        quiz.bank("99")


BANK = quiz.bank("06")
ENTRIES = {entry.id: entry for entry in (*BANK.interview, *BANK.quiz)}


def drill(memory, answers, today=TODAY, seed=0):
    said, answers = [], iter(answers)

    def ask(_):
        try:
            return next(answers)
        except StopIteration:
            raise EOFError from None

    return quiz.drill([BANK], memory, ask, said.append, today, seed), said


def perfect(queue):
    for key in queue:
        entry = ENTRIES[key]
        yield from ["abcd"[entry.right]] if isinstance(entry, quiz.Choice) else ["", "y"]


def test_what_is_known_comes_back_later_and_what_is_not_at_once(tmp_path):
    order = quiz.Memory(tmp_path / "quiz.json")
    ids = list(ENTRIES)
    random.Random(0).shuffle(ids)
    (known, asked), said = drill(order, perfect(ids))
    assert known == asked == len(ids) and f"{known} of {asked} known." in said[-1]
    (_, again), said = drill(order, [])
    assert again == 0 and "Nothing is due today. The next question comes on 2030-01-02" in said[0]
    assert order.due(ids, TODAY + datetime.timedelta(days=1)) and quiz.Memory.load(order.path).boxes == order.boxes

    key = ids[0]
    for days in (2, 4, 8, 16, 16):
        order.record(key, True, TODAY)
        assert order.boxes[key][1] == TODAY + datetime.timedelta(days=days)
    order.record(key, False, TODAY)
    assert order.due([key], TODAY) == [key]


def test_order_is_seeded_and_due_cards_come_first(tmp_path):
    def first(seed, memory):
        _, said = drill(memory, ["q"], seed=seed)
        return said[1].split("] ")[1]

    orders = {first(seed, quiz.Memory(tmp_path / f"{seed}.json")) for seed in range(6)}
    assert len(orders) > 1
    assert first(3, quiz.Memory(tmp_path / "a")) == first(3, quiz.Memory(tmp_path / "b"))
    memory = quiz.Memory(tmp_path / "m.json")
    memory.record("06.i12", False, TODAY - datetime.timedelta(days=3))
    assert first(0, memory) == ENTRIES["06.i12"].question


def test_unusable_answers_are_asked_again_and_an_end_of_input_stops(tmp_path):
    memory = quiz.Memory(tmp_path / "quiz.json")
    memory.record("06.q01", False, TODAY)
    (known, asked), said = drill(memory, ["z", "", "A)"])
    assert (known, asked) == (1, 1)
    assert said.count("Please type one letter from a to d, or q to stop.") == 2
    memory = quiz.Memory(tmp_path / "wrong.json")
    memory.record("06.q01", False, TODAY)
    (known, asked), said = drill(memory, ["b"])
    assert (
        (known, asked) == (0, 1)
        and memory.boxes["06.q01"][0] == 0
        and any(line.startswith("No: a) 0.") for line in said)
    )


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"boxes": 3}', '{"boxes": {"06.i01": [99, "2030-01-01"]}}', '{"boxes": {"a": [1, "soon"]}}'],
)
def test_a_damaged_memory_is_kept_aside_and_said(tmp_path, content):
    path = tmp_path / "quiz.json"
    for round_ in ("", "-2"):
        path.write_text(content)
        memory = quiz.Memory.load(path)
        assert memory.boxes == {} and f"quiz.damaged{round_}.json" in memory.said
        assert (tmp_path / f"quiz.damaged{round_}.json").read_text() == content
    assert quiz.Memory.load(path).said == ""


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    memory = quiz.Memory(tmp_path / "quiz.json")
    memory.record("06.i01", True, TODAY)
    before = memory.path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(FileError, match="the disk is full"):
        memory.record("06.i02", True, TODAY)
    assert memory.path.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == ["quiz.json"]


def test_the_command_runs_in_a_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    (tmp_path / "quiz.json").write_text("?")
    monkeypatch.setattr("builtins.input", lambda prompt: "q")
    quiz.main("06", seed=1)
    printed = capsys.readouterr()
    assert "questions are due" in printed.out and "0 of 0 known." in printed.out
    assert "kept as quiz.damaged.json" in printed.err


class Balanced(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_notebook_html_is_balanced_and_folds_the_answer(capsys):
    for entry in ENTRIES.values():
        page = quiz.quiz_html(entry) if isinstance(entry, quiz.Choice) else quiz.interview_html(entry)
        parser = Balanced()
        parser.feed(page)
        assert not parser.open and "<details>" in page
    quiz.show_interview("06", ["06.i02"])
    quiz.show_quiz("06", ["06.q01"])
    printed = capsys.readouterr().out
    assert "Why is the loss symmetric?" in printed and "a) 0" in printed
    with pytest.raises(InputError, match="no question 06.i99"):
        quiz.show_interview("06", ["06.i99"])


def test_the_anki_deck_holds_every_question_under_stable_ids(tmp_path):
    bank = quiz.bank("06")
    for name in ("one.apkg", "two.apkg"):
        assert anki.write([bank], tmp_path / name) == len(bank.interview) + len(bank.quiz)
    ids = []
    for name in ("one", "two"):
        with zipfile.ZipFile(tmp_path / f"{name}.apkg") as archive:
            archive.extract("collection.anki2", tmp_path / name)
        base = sqlite3.connect(tmp_path / name / "collection.anki2")
        notes = base.execute("select guid, flds from notes order by guid").fetchall()
        decks = json.loads(base.execute("select decks from col").fetchone()[0])
        base.close()
        assert len(notes) == len(bank.interview) + len(bank.quiz)
        assert any(deck["name"] == "Vision-language models::06 CLIP" for deck in decks.values())
        ids.append(([note[0] for note in notes], sorted(decks)))
    assert ids[0] == ids[1]
    with pytest.raises(InputError, match="write to deck.apkg"):
        anki.write([bank], tmp_path / "deck.txt")
