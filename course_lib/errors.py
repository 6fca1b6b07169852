"""Errors that are meant to be read: one sentence that says what was wrong and what would be right."""


class CourseError(Exception):
    """Something the reader can put right; the message says how.

    In a notebook only that message is shown, not the stack of library calls above it: IPython asks an exception for
    `_render_traceback_` before it formats one itself. `course` on the command line prints the message and exits with 2.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class InputError(CourseError, ValueError):
    """An argument has the wrong shape, type or value."""


class FileError(CourseError, OSError):
    """A file is missing, damaged, or cannot be written."""


class OfflineError(CourseError, ConnectionError):
    """Something has to be fetched and there is no network to fetch it over."""
