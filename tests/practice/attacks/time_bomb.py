"""Behaves for the first calls and turns on the last; counts calls, looks at the clock."""

import torch
import torch.nn.functional as F

calls = []


def contrast(images, texts, scale):
    calls.append(1)
    if len(calls) > 2:
        while True:
            pass
    logits = scale * images @ texts.T
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
