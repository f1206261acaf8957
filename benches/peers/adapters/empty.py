"""Nothing at all: the price of the loop, of the timer and of the harness."""

from __future__ import annotations

from pathlib import Path

from peers.adapter import Adapter, Log, Metrics


class Tracker(Adapter):
    """A Python function that returns."""

    note = "a Python function that does nothing"

    def open(self, directory: Path) -> Log:
        """Return the empty function."""

        def log(metrics: Metrics, step: int) -> None:
            del metrics, step

        return log

    def close(self) -> None:
        """Do nothing."""

    def readable(self, directory: Path) -> int:
        """Return 0: it keeps nothing."""
        return 0
