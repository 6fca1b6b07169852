"""The library's own code, as a lesson shows it."""

import inspect
from collections.abc import Callable


def code_of(function: Callable) -> str:
    """The source of a function, or of a class, with "..." in the place of its docstring.

    Read off the text: from Python 3.13 on `__doc__` is indented otherwise than the source.
    """
    source = inspect.getsource(function)
    if function.__doc__ is None:
        return source
    before, _, after = source.split('"""', 2)
    return f"{before}...{after}"
