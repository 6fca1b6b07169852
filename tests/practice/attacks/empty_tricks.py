"""Returns nothing of everything: empty tensors, one number for many, other kinds of numbers."""

import torch


def unit_rows(x):
    return torch.zeros(0, 5)


def contrast(images, texts, scale):
    return torch.zeros((), dtype=torch.complex64)


class Project(torch.nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.linear = torch.nn.Linear(width, out)

    def forward(self, x):
        return torch.tensor(0.0)


choices = {"a": ["x", "y"], "b": None}


def fit(x, y, held_back):
    return torch.zeros(0)
