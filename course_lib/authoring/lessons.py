"""The sixteen lessons: which there will be, which exist, and how long each one runs."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

from course_lib.errors import FileError, InputError

# Number, the name in its file names, the title: the order of the syllabus.
SYLLABUS = (
    ("01", "attention", "From the perceptron to attention"),
    ("02", "vision_encoders", "Vision encoders: CNNs and vision transformers"),
    ("03", "language_models", "Language models: tokens, BERT, GPT, T5"),
    ("04", "fusion", "Fusion: how two modalities meet"),
    ("05", "contrastive_learning", "Contrastive learning"),
    ("06", "clip", "CLIP: one space for pictures and words"),
    ("07", "retrieval", "Cross-modal retrieval"),
    ("08", "captioning", "Image captioning"),
    ("09", "vqa", "Visual question answering"),
    ("10", "pretraining", "Vision-language pretraining"),
    ("11", "grounding", "Grounding: from words to boxes"),
    ("12", "blip", "BLIP, BLIP-2 and InstructBLIP"),
    ("13", "flamingo", "Flamingo: learning from a few examples"),
    ("14", "llava", "LLaVA: instruction tuning and chat"),
    ("15", "image_generation", "Image generation and editing"),
    ("16", "video_and_applications", "Video and applications"),
)


@dataclass(frozen=True)
class Lesson:
    """One lesson: its number ("06"), slug ("clip"), title, and whether its notebook exists in this clone."""

    number: str
    slug: str
    title: str
    exists: bool

    @property
    def stem(self) -> str:
        """What its files are called, without the ending: "06_clip"."""
        return f"{self.number}_{self.slug}"


def root_folder() -> Path:
    """The clone of the repository that this package is part of.

    Raises:
        FileError: the package is installed without its repository, so there are no notebooks here.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / "pyproject.toml").is_file():
        raise FileError("this needs the course's repository: clone it and run the command there (make lab)")
    return root


def lessons(root: Path | None = None) -> list[Lesson]:
    """The sixteen lessons in order; `exists` says which have a notebook (or its source) in this clone."""
    folder = (root or root_folder()) / "notebooks"
    return [
        Lesson(
            number,
            slug,
            title,
            any((folder / name).is_file() for name in (f"{number}_{slug}.ipynb", f"source/{number}_{slug}.py")),
        )
        for number, slug, title in SYLLABUS
    ]


def find_lesson(number: str, root: Path | None = None) -> Lesson:
    """The lesson with this number: "06", "6" and "06_clip" all name lesson 06.

    Raises:
        InputError: no lesson of this number exists; the message names those that do.
    """
    found = [lesson for lesson in lessons(root) if lesson.exists]
    for lesson in found:
        if number in (lesson.number, lesson.number.lstrip("0"), lesson.stem):
            return lesson
    names = ", ".join(f"{lesson.number} ({lesson.slug})" for lesson in found) or "none yet"
    raise InputError(f"there is no lesson {number!r}; those that exist: {names}")


def published(root: Path | None = None) -> tuple[str, str]:
    """Where the course is published, from the one place that says so: (GitHub owner/name, branch)."""
    with open((root or root_folder()) / "pyproject.toml", "rb") as file:
        course = tomllib.load(file)["tool"]["course"]
    return course["repository"], course["branch"]


def minutes(notebook: Path) -> int | None:
    """How long a built notebook took to execute on the machine that built it, in whole minutes, at least 1.

    None where the notebook is not there or was never executed.
    """
    try:
        seconds = json.loads(notebook.read_text(encoding="utf-8"))["metadata"]["course"]["seconds"]
    except (OSError, ValueError, KeyError):
        return None
    return max(1, round(seconds / 60))


def table(root: Path | None = None, folder: str = "") -> str:
    """The lessons as a Markdown table: those that exist linked, with their times; the others marked as planned.

    Args:
        root: the clone.
        folder: what leads from the page that shows the table to the repository's top level ("../" or "").
    """
    root = root or root_folder()
    lines = ["| | Lesson | Runs on two CPU cores in | Exercises |", "|---|---|---|---|"]
    for lesson in lessons(root):
        notebook = f"notebooks/{lesson.stem}.ipynb"
        exercises = f"exercises/{lesson.stem}.ipynb"
        title, time, practice = lesson.title, "planned", "planned"
        if lesson.exists:
            title = f"[{lesson.title}]({folder}{notebook})"
            took = minutes(root / notebook)
            time = f"{took} min" if took else "not built yet"
        if (root / exercises).is_file():
            practice = f"[exercises]({folder}{exercises}), [solutions]({folder}solutions/{lesson.stem}.ipynb)"
        lines.append(f"| {lesson.number} | {title} | {time} | {practice} |")
    return "\n".join(lines)


BEGIN, END = "<!-- lessons -->\n", "\n<!-- end of lessons -->"


def readme_with_table(readme: str, root: Path | None = None) -> str:
    """The README's text with the table of lessons as it is now, between its two markers.

    Raises:
        FileError: the markers are missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise FileError(
            f"README.md has no place for the table of lessons: a line {BEGIN.strip()}, a line {END.strip()}"
        )
    return before + begin + table(root) + end + after
