"""Writes rubbish to the result pipe and to every other handle there may be."""

import os


def unit_rows(x):
    for handle in range(64):
        try:
            os.write(handle, b"\x00" * 100_000)
        except OSError:
            pass
    return x
