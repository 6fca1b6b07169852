"""Raises exceptions that hurt whoever looks at them."""


class Hurting(BaseException):
    def __str__(self):
        raise self

    __repr__ = __str__

    @property
    def __traceback__(self):
        raise self


class Endless(Exception):
    def __str__(self):
        return '=HYPERLINK("http://192.0.2.1")\n' * 1_000_000


def unit_rows(x):
    raise Hurting


def contrast(images, texts, scale):
    raise Endless


def fit(x, y, held_back):
    raise type("=cmd|' /C calc'!A0\n\x00\x1b[2J", (Exception,), {})("@SUM(1+1)")
