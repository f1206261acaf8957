"""Where the live view is drawn: on a terminal with escape sequences, or with rich."""

from __future__ import annotations

import os
import sys

from training_monitor.cli.picture import Line, Section, fitted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    class Screen(Protocol):
        """Draws sections until it is closed."""

        def show(self, sections: Sequence[Section]) -> None: ...
        def close(self) -> None: ...


__all__ = ["PlainScreen", "RichScreen", "print_once", "size"]

_HINT = "q leaves"
_CODES = {"good": "32", "warning": "33", "critical": "1;31", "dim": "2"}
_STYLES = {"good": "green", "warning": "yellow", "critical": "bold red", "dim": "dim"}


def size() -> tuple[int, int]:
    """Return columns and lines of the terminal as it is now."""
    try:
        found = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return 80, 24
    return found.columns or 80, found.lines or 24


def print_once(sections: Sequence[Section]) -> None:
    """Print all of it, for a pipe."""
    for at, section in enumerate(one for one in sections if one.lines):
        print(f"\n{section.title}" if at else section.title)
        for line in section.lines:
            print(f"  {line.text}")


class PlainScreen:
    """Draws lines over those before; nothing but a terminal is needed."""

    def __init__(self) -> None:
        self._has_colour = not os.environ.get("NO_COLOR")
        # Another screen, so that what stood there is back afterwards; no cursor.
        self._write("\x1b[?1049h\x1b[?25l")

    def show(self, sections: Sequence[Section]) -> None:
        """Draw the sections."""
        columns, lines = size()
        drawn = []
        for section in fitted(sections, lines - 1, frame=1):
            drawn.append(self._painted(section.title[:columns], "1"))
            drawn += [self._line(line, columns) for line in section.lines]
        drawn.append(self._painted(_HINT[:columns], "2"))
        self._write("\x1b[H" + "\r\n".join(f"{line}\x1b[K" for line in drawn[:lines]) + "\x1b[J")

    def close(self) -> None:
        """Give the terminal back as it was."""
        self._write("\x1b[?25h\x1b[?1049l")

    def _line(self, line: Line, columns: int) -> str:
        text = f"  {line.text}"[:columns]
        return self._painted(text, _CODES[line.style]) if line.style in _CODES else text

    def _painted(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._has_colour else text

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


class RichScreen:
    """Draws panels with rich."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console()
        self._live = Live(console=self._console, screen=True, auto_refresh=False)
        self._live.start()

    def show(self, sections: Sequence[Section]) -> None:
        """Draw the sections."""
        from rich.console import Group
        from rich.text import Text

        columns, lines = size()
        self._console.size = (columns, lines)
        panels: list[Any] = [
            self._panel(section) for section in fitted(sections, lines - 1, frame=2)
        ]
        self._live.update(Group(*panels, Text(_HINT, style="dim")), refresh=True)

    def close(self) -> None:
        """Give the terminal back as it was."""
        self._live.stop()

    @staticmethod
    def _panel(section: Section) -> Any:
        from rich.panel import Panel
        from rich.text import Text

        text = Text("\n", no_wrap=True, overflow="ellipsis").join(
            Text(line.text, style=_STYLES.get(line.style, ""), no_wrap=True, overflow="ellipsis")
            for line in section.lines
        )
        return Panel(text, title=Text(section.title), title_align="left", padding=(0, 1))
