"""A small set of exercises, one of each kind, and notebooks for the tests of the grader."""

import json
import re

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.errors import InputError
from course_lib.practice.exercise import Case, Exercise, Measure

HINTS = ("one", "two", "three")


def unit_rows(x):
    return F.normalize(x, dim=-1)


def unit_row_cases(seed):
    draw = torch.Generator().manual_seed(seed)
    return [Case("any rows", {"x": torch.randn(3, 5, generator=draw)}, gradients=True)]


def contrast(images, texts, scale):
    logits = scale * images @ texts.T
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def contrast_cases(seed):
    draw = torch.Generator().manual_seed(seed)
    pairs = [(torch.randn(n, 6, generator=draw), torch.randn(n, 6, generator=draw)) for n in (1, 4, 7)]
    return [Case("some pairs", {"images": images, "texts": texts, "scale": 2.0}) for images, texts in pairs]


class Project(nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.linear = nn.Linear(width, out)

    def forward(self, x):
        return torch.tanh(self.linear(x))


def project_cases(seed):
    draw = torch.Generator().manual_seed(seed)
    weight, bias = torch.randn(3, 4, generator=draw), torch.randn(3, generator=draw)
    return [
        Case(
            "given weights",
            {"x": torch.randn(2, 4, generator=draw)},
            construct={"width": 4, "out": 3},
            state={"linear.weight": weight, "linear.bias": bias},
        )
    ]


def fit_cases(seed):
    draw = torch.Generator().manual_seed(seed)
    rule = torch.randn(8, generator=draw)
    x = torch.randn(256, 8, generator=draw)
    held_back = torch.randn(200, 8, generator=draw)
    inputs = {"x": x, "y": (x @ rule > 0).long(), "held_back": held_back}
    return [Case("unseen points", inputs, hidden={"y": (held_back @ rule > 0).long()})]


def accuracy(case, value):
    right = case.hidden["y"]
    if not isinstance(value, torch.Tensor) or value.shape != right.shape:
        raise InputError(f"return one class for each point, a tensor of shape {tuple(right.shape)}")
    return float((value == right).double().mean())


def fit(x, y, held_back):
    weight = torch.zeros(8, requires_grad=True)
    for _ in range(60):
        loss = F.binary_cross_entropy_with_logits(x @ weight, y.double().float())
        (gradient,) = torch.autograd.grad(loss, weight)
        weight = (weight - 5 * gradient).detach().requires_grad_()
    return (held_back @ weight > 0).long()


def _exercise(number, name, cases, reference, **more):
    settings = {
        "id": f"99.{number}", "title": name, "name": name, "signature": f"{name}(...)", "asked": "function",
        "difficulty": 1, "minutes": 1, "points": number, "hints": HINTS, "cases": cases, "reference": reference,
        "mistakes": (), "seconds": 0.5,
    }  # fmt: skip
    return Exercise(**settings | more)


EXERCISES = (
    _exercise(1, "unit_rows", unit_row_cases, unit_rows),
    _exercise(2, "contrast", contrast_cases, contrast),
    _exercise(3, "Project", project_cases, Project, asked="module"),
    _exercise(
        4, "choices", lambda seed: [Case("the figure")], {"a": "x", "b": "y"}, asked="value",
        keys={"a": ("x", "y"), "b": ("x", "y")},
    ),
    _exercise(5, "fit", fit_cases, fit, measure=Measure("accuracy", accuracy, at_least=0.9, chance=0.5, baseline=0.6)),
)  # fmt: skip

HONEST = """
# %%
%matplotlib inline
import torch
import torch.nn as nn
import torch.nn.functional as F
import a_package_that_nobody_has
from course_lib.practice import check

# %%
!nvidia-smi
raise RuntimeError("a demo that fails")

# %%
EPSILON = 0
def unit_rows(x):
    raise NotImplementedError

# %%
def length(x):
    return x.pow(2).sum(-1, keepdim=True).sqrt() + EPSILON

def unit_rows(x):
    return x / length(x)

check("99.1", unit_rows)

# %%
def contrast(images, texts, scale):
    logits = scale * images @ texts.T
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2

while True:
    contrast(torch.eye(2), torch.eye(2), 1.0)

# %%
this is no Python

# %%
class Project(nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.linear = nn.Linear(width, out)

    def forward(self, x):
        return self.linear(x).tanh()

# %%
choices = {"a": "x", "b": "..."}
choices["b"] = "y"

# %%
def fit(x, y, held_back):
    weight = torch.zeros(8, requires_grad=True)
    optimiser = torch.optim.SGD([weight], lr=5.0)
    for _ in range(60):
        optimiser.zero_grad()
        F.binary_cross_entropy_with_logits(x @ weight, y.float()).backward()
        optimiser.step()
    return (held_back @ weight > 0).long()
"""


def notebook(source: str) -> bytes:
    """A notebook whose code cells are those of a py:percent source."""
    cells = [part.strip("\n") for part in re.split(r"^# %%\n", source, flags=re.MULTILINE)]
    return json.dumps(
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {},
            "cells": [
                {
                    "cell_type": "code",
                    "id": f"c{i}",
                    "metadata": {},
                    "outputs": [],
                    "execution_count": None,
                    "source": cell,
                }
                for i, cell in enumerate(cells)
                if cell
            ],
        }
    ).encode()
