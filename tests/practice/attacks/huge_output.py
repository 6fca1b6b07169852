"""Returns and prints more than anyone wants to read."""
# keeps: 99.4

import torch


def unit_rows(x):
    return torch.zeros(1 << 26)


def contrast(images, texts, scale):
    for _ in range(100_000):
        print("x" * 1_000)
    return "x" * (1 << 25)


class Project(torch.nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.linear = torch.nn.Linear(width, out)

    def forward(self, x):
        return [[0] * 1_000 for _ in range(2_000)]


choices = {"a": "x", "b": "y"}


def fit(x, y, held_back):
    return [torch.zeros(())] * 200_000
