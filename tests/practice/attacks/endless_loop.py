"""Never comes back, and the exercises after it do not suffer."""
# keeps: 99.2 99.4

import torch
import torch.nn.functional as F


def unit_rows(x):
    while True:
        x = x + 1


def contrast(images, texts, scale):
    logits = scale * images @ texts.T
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


choices = {"a": "x", "b": "y"}


def fit(x, y, held_back):
    while True:
        pass
