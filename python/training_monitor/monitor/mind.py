"""The brain, as the monitor sees it: started when there is something to judge, never waited for."""

from __future__ import annotations

import os
import time

from training_monitor.monitor.poller import Child
from training_monitor.settings import TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from training_monitor import _core
    from training_monitor.monitor.journal import Journal

__all__ = ["Mind"]

# A run that is over by then has nothing that somebody would have to be told. The variable is for
# tests.
_AFTER_SECS = float(os.environ.get("TM_BRAIN_AFTER_SECS") or 5.0)
_LONGEST_PAUSE_SECS = 300.0


class Mind:
    """Looks after the brain of one run.

    Args:
        run_dir: The run directory.
        journal: The log.
    """

    def __init__(self, run_dir: str, journal: Journal) -> None:
        self._child = Child(run_dir, thinks=True)
        self._journal = journal
        self._wanted: bool = TABLE["detection"].from_environment()
        self._since: float | None = None
        self._again = 0.0
        self._deaths = 0
        self._bad_line = False

    def look(self, status: dict[str, Any], ingest: _core.Ingest) -> None:
        """Start the brain when it is time, or anew when it died; write what it has found."""
        if not self._wanted:
            return
        now = time.monotonic()
        if self._child.pid:
            self._take(ingest)
        elif status["producers_alive"] or status["durable_points"]:
            self._since = now if self._since is None else self._since
        if self._since is None or now - self._since < _AFTER_SECS or now < self._again:
            return
        was = self._child.pid
        if not self._child.restart_if_dead():
            return
        if was:
            self._deaths += 1
            pause = min(2.0**self._deaths, _LONGEST_PAUSE_SECS)
            self._again = now + pause
            self._journal.warn(f"the brain died: started another one, pid {self._child.pid}")

    def _take(self, ingest: _core.Ingest) -> None:
        lines = self._child.lines()
        if lines and not ingest.add_system(lines) and not self._bad_line:
            self._bad_line = True
            self._journal.error("the brain sent what is no finding: left it out")

    def leave(self, ingest: _core.Ingest | None) -> None:
        """Take what it has found so far, and tell it that the monitor leaves."""
        if ingest is not None and self._child.pid:
            self._take(ingest)
        self._child.leave()
