"""Alerts on the terminal of a monitor that runs in the foreground."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO

from training_monitor.notify.outbox import Outcome, delivered, refused
from training_monitor.notify.texts import line_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Terminal"]


class Terminal:
    """Prints a line per alert to stderr.

    Not for a monitor in the background: its lines would break the progress bars of the training.

    Args:
        stream: Where to; None: sys.stderr.
    """

    name = "terminal"

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def deliver(self, alert: Mapping[str, Any], sending: Callable[[], None]) -> Outcome:
        """Print one alert; a terminal that is gone is not waited for."""
        sending()
        try:
            print(line_of(alert), file=self._stream or sys.stderr, flush=True)
        except (OSError, ValueError) as error:
            return refused(f"cannot be printed: {type(error).__name__}")
        return delivered
