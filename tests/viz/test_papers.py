"""Paper cards: each has all its fields, and a wrong card is named."""

import pytest
import yaml

from course_lib.errors import FileError, InputError
from course_lib.files import embedded
from course_lib.viz import papers


def test_the_cards_of_lesson_06_are_there():
    assert {"clip", "siglip", "align", "open_clip"} <= set(papers.names())


@pytest.mark.parametrize("name", papers.names())
def test_each_card_is_whole_and_shows(name, capsys):
    card = papers.paper(name)
    assert 1940 <= card.year <= 2030 and str(card.year) in card.venue
    if "arxiv.org" in papers.where(card)[1]:
        assert int(card.arxiv[:2]) + 2000 <= card.year
    assert "$" in card.objective and card.objective.count("$") % 2 == 0
    assert "|" not in card.objective  # it would end the cell of the table
    markdown = papers.card_markdown(card)
    table = [line for line in markdown.splitlines() if line.startswith("| **")]
    assert len(table) == 7 and all(line.endswith(" |") and line.count("|") == 3 for line in table)
    assert f"]({papers.where(card)[1]})" in markdown and card.arxiv in papers.where(card)[1]
    papers.paper_card(name)
    assert card.title in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"idea": ""}, "lacks idea"),
        ({"colour": "x"}, "has colour, which no card has"),
        ({"year": "2021"}, "year should be int, and is str"),
        ({"authors": "A"}, "authors should be list"),
        ({"arxiv": "cs/1"}, "arxiv is 'cs/1'"),
    ],
)
def test_a_wrong_card_is_named(change, sentence):
    values = yaml.safe_load(embedded("papers/clip.yml").read_text())
    with pytest.raises(FileError, match=f"clip.yml.* {sentence}" if "should" in sentence else sentence):
        papers.parse(values | change, "clip.yml")


def test_a_paper_that_never_was_on_arxiv_has_a_doi_or_an_address():
    values = yaml.safe_load(embedded("papers/clip.yml").read_text())
    doi = papers.parse(values | {"arxiv": "10.1162/neco.1997.9.8.1735"}, "x.yml")
    assert papers.where(doi) == ("doi 10.1162/neco.1997.9.8.1735", "https://doi.org/10.1162/neco.1997.9.8.1735")
    address = papers.parse(values | {"arxiv": "https://example.org/paper.pdf"}, "x.yml")
    assert "[the paper](https://example.org/paper.pdf)" in papers.card_markdown(address)


def test_an_unknown_card_lists_those_there_are():
    with pytest.raises(InputError, match="no paper card 'gpt'; there are .*clip"):
        papers.paper("gpt")
    with pytest.raises(FileError, match="mapping"):
        papers.parse(["a"], "x.yml")
