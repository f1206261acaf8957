"""The brain, as the monitor sees it: started when there is work, awaited only at the end."""

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
_LONG_LIFE_SECS = 600.0
# It is not waited for longer than that, and goes on delivering alerts by itself.
_LAST_LOOK_SECS = 5.0


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
        self._started = 0.0
        self._bad_line = False

    def look(self, status: dict[str, Any], ingest: _core.Ingest) -> None:
        """Start the brain when it is time, or anew when it died; write what it has found."""
        if not self._wanted:
            return
        now = time.monotonic()
        if self._child.pid:
            self._take(ingest)
            self._mourn(now)
        elif status["producers_alive"] or status["durable_points"]:
            self._since = now if self._since is None else self._since
        if self._since is None or now - self._since < _AFTER_SECS or now < self._again:
            return
        if not self._child.pid and self._child.start():
            self._started = now

    def _mourn(self, now: float) -> None:
        """If it has died, say so; the next one is started later, and later each time."""
        if not self._child.reap():
            return
        lived = now - self._started
        self._deaths = 1 if lived > _LONG_LIFE_SECS else self._deaths + 1
        pause = min(2.0 ** min(self._deaths - 1, 10), _LONGEST_PAUSE_SECS)
        self._again = now + pause
        self._journal.warn(
            f"the brain died after {lived:.0f} s: another one is started in {pause:.0f} s"
        )

    def _take(self, ingest: _core.Ingest) -> None:
        self._write(ingest, self._child.lines())

    def _write(self, ingest: _core.Ingest, lines: bytes) -> None:
        if lines and not ingest.add_system(lines) and not self._bad_line:
            self._bad_line = True
            self._journal.error("the brain sent what is no finding: left it out")

    def leave(self, ingest: _core.Ingest) -> None:
        """Let it look at the last points, and write what it found: the monitor leaves."""
        self._write(ingest, self._child.finish(_LAST_LOOK_SECS))
