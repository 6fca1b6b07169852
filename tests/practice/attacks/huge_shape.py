"""Returns tensors whose shape promises more than their memory holds."""

import torch


def unit_rows(x):
    return torch.zeros(()).expand(1 << 20, 1 << 20)


def contrast(images, texts, scale):
    return torch.zeros(1 << 40, 0)


def fit(x, y, held_back):
    return torch.empty(1 << 30, device="meta")
