"""The exceptions of the package, and the words in which they speak.

::

    Exception
    └── TrainingMonitorError
        ├── StoreError              the database could not be read or written
        ├── SpoolError              the lanes could not be made or read
        ├── RejectedError           log() refused a value (strict=True); also a ValueError
        ├── QueryError              a query is wrong, refused or too long; also a ValueError
        ├── MissingLibraryError     an optional library is not installed; also an ImportError
        ├── SettingError            a setting has a value it may not have; also a ValueError
        │   └── UnknownSettingError a keyword that nobody knows; also a TypeError
        ├── RunDirError             the run directory cannot be used; also an OSError
        └── RunNotFoundError        no such run; also a LookupError

    UserWarning
    └── TrainingMonitorWarning      something was ignored or rejected; training goes on

The first five and the warning are born in Rust, where most of them are raised.
"""

from __future__ import annotations

import sys
import warnings

from training_monitor._core import (
    QueryError,
    RejectedError,
    SpoolError,
    StoreError,
    TrainingMonitorError,
    TrainingMonitorWarning,
    redact,
)

__all__ = [
    "MissingLibraryError",
    "QueryError",
    "RejectedError",
    "RunDirError",
    "RunNotFoundError",
    "SettingError",
    "SpoolError",
    "StoreError",
    "TrainingMonitorError",
    "TrainingMonitorWarning",
    "UnknownSettingError",
    "closest",
    "plain",
    "shown",
    "told",
    "warned",
]

_SHOWN_CHARS = 80
# Looked at for secrets; of a longer text the message shows the beginning only.
_READ_CHARS = 4000


class SettingError(TrainingMonitorError, ValueError):
    """A setting has a value it may not have; the message says what is allowed."""


class UnknownSettingError(SettingError, TypeError):
    """A keyword, flag or command that does not exist."""


class MissingLibraryError(TrainingMonitorError, ImportError):
    """What was asked for needs a library that is not installed."""

    def __init__(self, what: str, library: str, command: str) -> None:
        super().__init__(f"{what} needs {library}, which is not installed: {command}")


class RunDirError(TrainingMonitorError, OSError):
    """The run directory cannot be made or written."""


class RunNotFoundError(TrainingMonitorError, LookupError):
    """There is no run of that name or at that path."""


def shown(value: object) -> str:
    """Return ``repr(value)`` fit for a message: one line, short, no secret in it."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 -- a broken __repr__ must not hide the error we report
        text = f"<{type(value).__name__}>"
    text = plain(redact(text[:_READ_CHARS]))
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 3]}..."


def plain(text: str) -> str:
    """Return `text` on one line, with what a terminal would obey written out as an escape."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def closest(word: str, words: list[str]) -> str | None:
    """Return the one of ``words`` most like ``word``, or None when none is close."""
    from difflib import get_close_matches

    matches = get_close_matches(word, words, n=1, cutoff=0.6)
    return matches[0] if matches else None


def told(text: str, *, quiet: bool) -> None:
    """Print one line for the user on stderr, if there is one and nobody asked for quiet."""
    if quiet or sys.stderr is None:
        return
    try:
        print(f"training_monitor: {plain(text)}", file=sys.stderr, flush=True)
    except Exception:  # noqa: BLE001 -- a closed or replaced stderr is no reason to stop a training
        return


def warned(text: str, *, stacklevel: int) -> None:
    """Warn at the user's line; where warnings are errors the text goes to stderr instead.

    Args:
        text: What was ignored, or is other than asked for.
        stacklevel: How many frames above this one the user's line is.
    """
    try:
        warnings.warn(text, TrainingMonitorWarning, stacklevel=stacklevel + 1)
    except Exception:  # noqa: BLE001 -- a filter or a hook of the user's must not end the training
        told(text, quiet=False)
