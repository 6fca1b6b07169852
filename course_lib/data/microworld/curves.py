"""Curves that pixels are made of, from operations that IEEE 754 rounds correctly, on float32 arrays."""

import numpy as np

HALF, ONE, TWO = np.float32(0.5), np.float32(1), np.float32(2)


def clip01(x: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(x, np.float32(0), out=x), ONE, out=x)


def smooth(x: np.ndarray) -> np.ndarray:
    """0 to 1 without a kink at either end, 3x^2 - 2x^3, of what is clipped to [0, 1]."""
    x = clip01(x)
    return x * x * (np.float32(3) - TWO * x)


def wave(x: np.ndarray) -> np.ndarray:
    """A triangle wave of period 1 between 0 (at the integers) and 1 (half-way)."""
    return np.abs(TWO * (x - np.floor(x)) - ONE)
