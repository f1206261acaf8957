r"""CSV for spreadsheets and dataframes: key, step, time, value, rank, attempt, kind.

Numbers are written so that Python reads them back exactly; `kind` says what a value is: float,
int, bool, none (empty), text. Keys and text come from anywhere, and a spreadsheet runs a cell that
begins like a formula: such a cell gets an apostrophe before it, and one that begins with an
apostrophe a second one. Control characters are written as in Python (``\n``, ``\x1b``), and a
backslash as two, so that no line breaks and no terminal obeys.
"""

from __future__ import annotations

import codecs

from training_monitor.export.points import kind_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from training_monitor.export.points import Points

__all__ = ["Writer", "guarded", "unguarded"]

_FORMULA = ("=", "+", "-", "@", "'", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_HEAD = "key,step,time,value,rank,attempt,kind\n"


class Writer:
    """Appends chunks to an open file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._file.write(_HEAD.encode())

    def write(self, points: Points) -> None:
        """Append one line per point."""
        key = _quoted(guarded(points.key))
        lines = [
            f"{key},{step},{time!r},{_cell(value)},{rank},{attempt},{kind_of(value)}\n"
            for step, time, value, rank, attempt in points.rows()
        ]
        self._file.write("".join(lines).encode())

    def close(self) -> None:
        """End the file; there is nothing to end."""


def guarded(text: str) -> str:
    """Return a text that is neither a formula nor an escape sequence, and can be undone."""
    safe = "".join(char if char.isprintable() and char != "\\" else _escaped(char) for char in text)
    return f"'{safe}" if text.startswith(_FORMULA) else safe


def unguarded(cell: str) -> str:
    """Return the text that `guarded` was given."""
    text = cell.removeprefix("'")
    pieces = text.split("\\\\")
    return "\\".join(_unescaped(piece) for piece in pieces)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _unescaped(piece: str) -> str:
    if "\\" not in piece:
        return piece
    # Only ASCII may pass through the codec: it takes bytes for Latin-1.
    ascii_only = piece.encode("ascii", "backslashreplace")
    return str(codecs.decode(ascii_only, "unicode_escape"))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return _quoted(guarded(value)) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    if any(char in text for char in ',"') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text
