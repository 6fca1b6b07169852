"""Calls itself for ever, with the limit taken away; returns what contains itself."""
# keeps: 99.4

import sys


def unit_rows(x):
    sys.setrecursionlimit(1 << 30)

    def deeper(n):
        return deeper(n + 1)

    return deeper(0)


def contrast(images, texts, scale):
    knot = []
    knot.append(knot)
    return knot


choices = {"a": "x", "b": "y"}


def fit(x, y, held_back):
    nest = []
    for _ in range(100_000):
        nest = [nest]
    return nest
