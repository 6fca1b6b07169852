"""Hangs where Python cannot look: in a regular expression, in a sum, in a lock."""
# keeps: 99.4

import itertools
import re
import threading


def unit_rows(x):
    return re.match(r"(a+)+$", "a" * 64 + "b")


def contrast(images, texts, scale):
    return sum(itertools.repeat(1))


choices = {"a": "x", "b": "y"}


def fit(x, y, held_back):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
