"""Takes all the memory there is."""
# keeps: 99.4

import torch


def unit_rows(x):
    kept = [bytearray(1 << 28) for _ in range(40)]
    return torch.full_like(x, len(kept))


def contrast(images, texts, scale):
    return torch.ones(1 << 36)


choices = {"a": "x", "b": "y"}


def fit(x, y, held_back):
    kept = [torch.ones(1 << 26)]
    for _ in range(16):
        kept.append(kept[-1] + 1)
    return torch.zeros(200)
