"""The interview and quiz bank as an Anki deck. Ids derive from names: a new deck updates the cards of the old one."""

import hashlib
import html
from pathlib import Path

from course_lib.errors import InputError
from course_lib.files import write_atomically
from course_lib.practice.quiz import Bank, Choice, Interview, bank, lessons

STYLE = """.card { font-family: sans-serif; font-size: 17px; text-align: left; color: #22262b; background: white; }
.section { color: #6b7178; font-size: 13px; }"""


def stable_id(name: str) -> int:
    """A number for a name, the same everywhere: Anki knows decks and kinds of cards by number."""
    return 1 << 30 | int.from_bytes(hashlib.sha256(f"vlm-course {name}".encode()).digest()[:4], "big") >> 2


def front_and_back(entry: Interview | Choice) -> tuple[str, str]:
    """What a card shows, as HTML."""
    text = html.escape
    section = f"<p class='section'>Lesson {entry.id[:2]}, section {text(entry.section)}</p>"
    if isinstance(entry, Choice):
        options = "".join(f"<li>{text(option)}</li>" for option in entry.options)
        answer = f"<p><b>{'abcdefgh'[entry.right]}) {text(entry.options[entry.right])}</b></p>"
        return f"<p>{text(entry.question)}</p><ol type='a'>{options}</ol>", (
            f"{answer}<p>{text(entry.explanation)}</p>{section}"
        )
    wrong = "".join(f"<li><i>{text(each.answer)}</i> {text(each.why)}</li>" for each in entry.wrong)
    return f"<p>{text(entry.question)}</p>", (
        f"<p><b>{text(entry.short)}</b></p><p>{text(entry.long)}</p>"
        f"<p>Often said, and wrong:</p><ul>{wrong}</ul>{section}"
    )


def decks(banks: list[Bank]) -> list:
    """A genanki deck for each lesson, as sub-decks of the course's.

    Raises:
        InputError: genanki is not installed.
    """
    try:
        import genanki
    except ImportError as error:
        raise InputError('genanki, which writes decks, is not installed: pip install "vlm-course[teach]"') from error
    model = genanki.Model(
        stable_id("model"),
        "Vision-language models: question and answer",
        fields=[{"name": "Question"}, {"name": "Answer"}],
        templates=[{"name": "Card", "qfmt": "{{Question}}", "afmt": "{{FrontSide}}<hr id=answer>{{Answer}}"}],
        css=STYLE,
    )
    result = []
    for each in banks:
        deck = genanki.Deck(stable_id(f"deck {each.lesson}"), f"Vision-language models::{each.lesson} {each.title}")
        for entry in (*each.interview, *each.quiz):
            kind = "quiz" if isinstance(entry, Choice) else "interview"
            deck.add_note(
                genanki.Note(
                    model=model,
                    fields=list(front_and_back(entry)),
                    guid=genanki.guid_for("vlm-course", entry.id),
                    tags=[f"lesson-{each.lesson}", kind],
                )
            )
        result.append(deck)
    return result


def write(banks: list[Bank], out: str | Path) -> int:
    """Writes a deck file that Anki imports.

    Returns:
        How many cards it holds.

    Raises:
        InputError: the file's name does not end in .apkg, or genanki is not installed.
        FileError: it cannot be written.
    """
    if Path(out).suffix != ".apkg":
        raise InputError(f"Anki imports files that end in .apkg: write to {Path(out).stem}.apkg")
    made = decks(banks)
    import genanki

    write_atomically(out, lambda path: genanki.Package(made).write_to_file(str(path), timestamp=0))
    return sum(len(deck.notes) for deck in made)


def main(number: str | None, out: str | Path) -> None:
    """`course anki [NN] --out FILE`."""
    banks = [bank(number)] if number else [bank(each) for each in lessons()]
    if not banks:
        raise InputError("no lesson has questions yet")
    print(f"{write(banks, out)} cards written to {Path(out).name}")
