"""Raises SystemExit while the notebook is read, and in the imports."""
# keeps: 99.4

import sys

NUMBER = sys.exit(0)


def unit_rows(x):
    return NUMBER


choices = {"a": "x", "b": "y"}
