"""A class of three hundred, fifty of them hostile, graded on set 06: each gets what is due, to the point."""

import csv
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from course_lib.practice.exercise import alternatives, exercises, mutants, solution_source, source_of
from course_lib.practice.grader.grade import Grader, columns, find_submissions, grade_files
from course_lib.practice.grader.jail import JailError
from course_lib.practice.grader.report import Report

pytestmark = pytest.mark.slow

HEAD = """
# %%
%matplotlib inline
import math
import torch
import torch.nn as nn
import torch.nn.functional as F
from collections.abc import Callable
from torch import Tensor
from course_lib.practice.check import check
"""
# These hang on purpose, each for as long as it may; test_attacks.py has them, one of each kind is enough here.
PATIENT = {"endless_in_c", "endless_definition", "endless_stubborn", "recursion", "drip", "huge_output", "memory_bomb"}
# The small set's names, and those of set 06 that stand in for them.
NAMES = {"unit_rows": "06.1", "contrast": "06.2", "choices": "06.3", "Project": "06.6"}


def honest(chance: random.Random, number: int) -> tuple[str, dict[str, float]]:
    """A notebook of right, differently right, wrong and missing answers, and the points that each exercise deserves."""
    source, due = HEAD, {}
    for exercise in exercises("06"):
        kind = chance.choices(["solution", "alternative", "mutant", "missing"], [5, 2, 2, 1])[0]
        if exercise.measure and number % 8:
            kind = "missing"  # it trains: a few do
        if kind == "solution":
            text = solution_source(exercise)
        elif kind == "alternative":
            text = source_of(chance.choice(alternatives(exercise)), exercise.name)
        elif kind == "mutant":
            text = source_of(chance.choice(mutants(exercise)).answer, exercise.name)
        else:
            text = f"# {exercise.id} is not done\n"
        due[exercise.id] = exercise.points if kind in ("solution", "alternative") else 0
        source += f"\n# %%\n{text}\n\ncheck('{exercise.id}', {exercise.name})\nassert not 'a demo'\n"
    return source + f"\n# %%\n# student {number}\n", due


def hostile() -> Iterator[tuple[str, dict[str, float]]]:
    """The attacks, turned on set 06, for as long as anyone wants more, and what they answer honestly."""
    points = {exercise.id: exercise.points for exercise in exercises("06")}
    names = {exercise.id: exercise.name for exercise in exercises("06")}
    number = 0
    while True:
        for path in sorted((Path(__file__).parent / "attacks").glob("*.py")):
            if path.stem in PATIENT:
                continue
            text = path.read_text(encoding="utf-8")
            for small, exercise in NAMES.items():
                text = re.sub(rf"\b{small}\b", names[exercise], text)
            number += 1
            loss = "99.2" in text.split("# keeps:")[1].splitlines()[0] if "# keeps:" in text else False
            yield (
                f"{text}\n\n# number {number}\n",
                dict.fromkeys(points, 0) | ({"06.2": points["06.2"]} if loss else {}),
            )


def test_three_hundred(grader_set, tmp_path):
    chance = random.Random(20)
    due: dict[str, dict[str, float]] = {}
    attacks = hostile()
    folder = tmp_path / "class"
    for number in range(300):
        student = folder / f"student{number:03}"
        student.mkdir(parents=True)
        name = f"student{number:03}/06_clip.ipynb"
        if number % 6 == 3:
            source, due[name] = next(attacks)
        else:
            source, due[name] = honest(chance, number)
        (student / "06_clip.ipynb").write_bytes(grader_set.notebook(source))
    try:
        made = Grader("06")
    except JailError as error:
        pytest.skip(str(error))
    with made as grader:
        report = Report(tmp_path / "results.csv", columns(grader))
        assert grade_files(find_submissions([folder]), grader, report) == 300

    with open(tmp_path / "results.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == sorted(due)
    wrong = [
        (row["file"], exercise.id, row[exercise.id], row["why"])
        for row in rows
        for exercise in exercises("06")
        if float(row[exercise.id]) != due[row["file"]][exercise.id]
    ]
    assert wrong == []
