"""The answer of a tool, within its limits; where it is cut it says how to get the rest."""

from __future__ import annotations

from itertools import islice

from training_monitor.analysis.fencing import CLOSED, OPENED, cut, inert

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from training_monitor.analysis.tools.form import Limits

__all__ = ["Answer", "limited"]

# For the line that says how to get the rest, and the one that ends the data.
_RESERVED_BYTES = 400
_RESERVED_LINES = 3
_SAID_CHARS = 600
_CUT = "\n[cut: the answer was too long]"


class Answer:
    """An answer in the making."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parts: list[str] = []
        self._bytes_left = limits.bytes - _RESERVED_BYTES
        self._lines_left = limits.lines - _RESERVED_LINES

    def say(self, text: str) -> None:
        """Add a line of our own; what it names of the run must be quoted."""
        self._add(cut(inert(text), _SAID_CHARS))

    def data(
        self,
        lines: Iterable[str],
        *,
        rest: Callable[[int], str] | None = None,
        newest: bool = False,
    ) -> int:
        """Add lines of data behind bars, as many as fit; return how many.

        Args:
            lines: What they are; any text.
            rest: Says, for how many were shown, how to get the others.
            newest: Keep the last ones instead of the first ones.
        """
        source = iter(list(lines)[::-1] if newest else lines)
        self._add(OPENED)
        self._take(CLOSED)
        shown = []
        # One more than fits is looked at, to know whether there is a rest.
        for line in islice(source, self._lines_left + 1):
            text = f"| {cut(inert(line), self._limits.line_chars)}"
            if not self._take(text):
                break
            shown.append(text)
        else:
            rest = None
        self._parts += [*(shown[::-1] if newest else shown), CLOSED]
        if rest is not None:
            self._parts.append(cut(inert(rest(len(shown))), _RESERVED_BYTES // 2))
        return len(shown)

    def text(self) -> str:
        """Return the whole."""
        return "\n".join(self._parts)

    def _add(self, text: str) -> None:
        if self._take(text):
            self._parts.append(text)

    def _take(self, text: str) -> bool:
        size = len(text.encode("utf-8", "replace")) + 1
        if size > self._bytes_left or self._lines_left < 1:
            return False
        self._bytes_left -= size
        self._lines_left -= 1
        return True


def limited(text: str, limits: Limits) -> str:
    """Return a text that keeps the limits, whatever it is: the last word on every answer."""
    raw = text.encode("utf-8", "backslashreplace")
    lines = raw.split(b"\n", limits.lines)
    if len(raw) <= limits.bytes and len(lines) <= limits.lines:
        return raw.decode()
    raw = b"\n".join(lines[: limits.lines - 1])
    return raw[: max(limits.bytes - len(_CUT), 0)].decode(errors="ignore") + _CUT
