"""This project."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from peers.adapter import Adapter, Log
from sample import KEYS


class Tracker(Adapter):
    """tm.log itself; a monitor process brings the points into SQLite."""

    packages = ("training-monitor",)
    note = "tm.log; the monitor is a process of its own, SQLite with synchronous=FULL"
    # The monitor waits ten seconds for latecomers before it leaves; nobody is late here.
    variables = {"TM_GRACE_SECS": "0.1"}
    tm: Any

    def load(self) -> None:
        """Import the extension."""
        import training_monitor

        self.tm = training_monitor

    def open(self, directory: Path) -> Log:
        """Start the run and its monitor."""
        self.tm.init("bench", root_dir=directory, quiet=True)
        log: Log = self.tm.log
        return log

    def close(self) -> None:
        """Wait until all is durable, while somebody is at it, then close."""
        while (health := self.tm.health()).durable < health.accepted and health.monitor_alive:
            time.sleep(0.002)
        self.tm.close()

    def readable(self, directory: Path) -> int:
        """Bring home what a kill left in the lanes, then count."""
        run = self._recovered(directory)
        return sum(len(run.series(key, raw=True).step) for key in KEYS)

    def refused(self) -> int:
        """Return the calls that health() counts as rejected."""
        return int(self.tm.health().rejected)

    def points(self, directory: Path) -> list[tuple[int, float]]:
        """Bring home what is left in the lanes, then read."""
        series = self._recovered(directory).series("loss", raw=True)
        return list(zip(map(int, series.step), map(float, series.value), strict=True))

    def _recovered(self, directory: Path) -> Any:
        import subprocess
        import sys

        import training_monitor

        subprocess.run(
            [sys.executable, "-m", "training_monitor", "recover", str(directory / "bench")],
            stdout=subprocess.DEVNULL, check=True,
        )  # fmt: skip
        return training_monitor.open_run(directory / "bench")
