"""Paper cards: what a paper asked, did and found, on one page, from `data/papers/NAME.yml`."""

import dataclasses
import re
from dataclasses import dataclass

import yaml

from course_lib.errors import FileError, InputError
from course_lib.files import embedded, manifest


@dataclass(frozen=True)
class Paper:
    """One paper, in our words.

    Attributes:
        system: what the paper's model is called.
        title, authors, year, venue, arxiv: where to find it; `arxiv` is the number alone, or the DOI (10.…) or address
            (https://…) of a paper that never was on arXiv.
        problem: what was wrong before.
        idea: what it does about it.
        objective: the formula, in LaTeX between dollar signs.
        objective_in_words: the same, read aloud.
        data: what it was trained on.
        result: the headline, with numbers.
        limits: what it does not do.
        code: where the course (or a library) has it.
    """

    system: str
    title: str
    authors: tuple[str, ...]
    year: int
    venue: str
    arxiv: str
    problem: str
    idea: str
    objective: str
    objective_in_words: str
    data: str
    result: str
    limits: str
    code: str


def names() -> list[str]:
    """The cards there are: those `paper` takes."""
    return sorted(name[len("papers/") : -len(".yml")] for name in manifest() if re.fullmatch(r"papers/\w+\.yml", name))


def paper(name: str) -> Paper:
    """Reads a card.

    Args:
        name: such as "clip".

    Raises:
        InputError: there is no such card.
        FileError: a field is missing, unknown or of the wrong kind; the message names it.
    """
    if name not in names():
        raise InputError(f"there is no paper card {name!r}; there are {', '.join(names())}")
    path = embedded(f"papers/{name}.yml")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise FileError(f"{path.name} is not YAML: {' '.join(str(error).split())}") from error
    return parse(values, path.name)


def parse(values, source: str) -> Paper:
    """A card from what its file holds.

    Raises:
        FileError: a field is missing, unknown or of the wrong kind.
    """
    if not isinstance(values, dict):
        raise FileError(f"{source} should be a mapping of field to text")
    fields = {field.name: field for field in dataclasses.fields(Paper)}
    if missing := [name for name in fields if not values.get(name)]:
        raise FileError(f"{source} lacks {', '.join(missing)}")
    if unknown := [name for name in values if name not in fields]:
        raise FileError(f"{source} has {', '.join(map(str, unknown))}, which no card has")
    for name, value in values.items():
        right = {"authors": list, "year": int}.get(name, str)
        if not isinstance(value, right) or isinstance(value, bool):
            raise FileError(f"{source}: {name} should be {right.__name__}, and is {type(value).__name__}")
    if not re.fullmatch(r"\d{4}\.\d{4,5}|10\.\d{4,}/\S+|https://\S+", values["arxiv"]):
        raise FileError(f"{source}: arxiv is {values['arxiv']!r}, and no number such as 2103.00020, no DOI, no address")
    return Paper(**values | {"authors": tuple(values["authors"])})


ROWS = ("problem", "idea", "objective", "objective_in_words", "data", "result", "limits", "code")


def _people(card: Paper) -> str:
    few = len(card.authors) <= 4
    return ", ".join(card.authors) if few else f"{card.authors[0]} and {len(card.authors) - 1} others"


def where(card: Paper) -> tuple[str, str]:
    """What to call the place where the paper is, and its address."""
    if card.arxiv.startswith("https://"):
        return "the paper", card.arxiv
    if card.arxiv.startswith("10."):
        return f"doi {card.arxiv}", f"https://doi.org/{card.arxiv}"
    return f"arXiv {card.arxiv}", f"https://arxiv.org/abs/{card.arxiv}"


def card_markdown(card: Paper) -> str:
    """The card as Markdown: a heading and a table, which JupyterLab, Colab and GitHub all show, formula included."""
    rows = []
    for name in ROWS:
        text = " ".join(getattr(card, name).split())
        if name == "objective_in_words":
            rows[-1] = f"{rows[-1][:-2]} <br> {text} |"
            continue
        rows.append(f"| **{name}** | {f'`{text}`' if name == 'code' else text} |")
    name, address = where(card)
    link = f"[{name}]({address})"
    head = f"**{card.system}** · *{card.title}* · {_people(card)} · {card.venue} · {link}"
    return "\n".join([head, "", "| paper card | |", "|:--|:--|", *rows])


def card_text(card: Paper) -> str:
    """The card as plain text, for a terminal."""
    lines = [f"{card.system}: {card.title} ({_people(card)}; {card.venue}; {where(card)[0]})"]
    lines += [f"  {name.replace('_', ' ')}: {' '.join(getattr(card, name).split())}" for name in ROWS]
    return "\n".join(lines)


def paper_card(name: str) -> None:
    """Shows a paper card in a notebook, or prints it in a terminal; errors as in `paper`."""
    from course_lib.runtime import in_notebook

    card = paper(name)
    if not in_notebook():
        print(card_text(card))
        return
    from IPython.display import display

    display({"text/markdown": card_markdown(card), "text/plain": card_text(card)}, raw=True)
