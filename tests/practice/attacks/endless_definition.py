"""Hangs when it is defined, not when it is called."""
# keeps: 99.4


def forever():
    while True:
        pass


DELAY = forever()


def unit_rows(x, width=DELAY):
    return x


choices = {"a": "x", "b": "y"}
