"""Ends the process in each of the ways there are, so that nothing comes back."""
# keeps: 99.4

import ctypes
import os
import signal
import sys

import torch


def unit_rows(x):
    os._exit(0)


def contrast(images, texts, scale):
    ctypes.string_at(0)


class Project(torch.nn.Module):
    def __init__(self, width, out):
        super().__init__()
        os.kill(os.getpid(), signal.SIGKILL)
        os.abort()


choices = {"a": "x", "b": "y"}


def fit(x, y, held_back):
    sys.exit(0)
