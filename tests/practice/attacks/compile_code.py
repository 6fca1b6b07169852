"""Uses torch's own ways to run other programs: extensions, compilers, loading of pickles."""

import io
import os
import pickle

import torch


class Run:
    def __reduce__(self):
        return (os.system, ("touch @VICTIM@/loaded",))


def unit_rows(x):
    for way in (
        lambda: torch.load(io.BytesIO(pickle.dumps(Run())), weights_only=False),
        lambda: torch.compile(lambda y: y + 1)(x),
        lambda: __import__("torch.utils.cpp_extension").utils.cpp_extension.load_inline("x", "int f() {return 1;}"),
        lambda: torch.ops.load_library("@PLACE@/evil.so"),
    ):
        try:
            way()
        except BaseException:
            pass
    return x
