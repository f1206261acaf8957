"""aim, in a local repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from peers.adapter import Adapter, Log, Metrics
from sample import KEYS


class Tracker(Adapter):
    """RocksDB, written on the calling thread."""

    requirements = ("aim==3.29.1",)
    packages = ("aim",)
    variables = {"AIM_UI_TELEMETRY_ENABLED": "0", "DO_NOT_TRACK": "1"}
    note = "local repository (RocksDB), without hardware metrics and console"
    run: Any
    library: Any

    def load(self) -> None:
        """Import aim."""
        import aim

        self.library = aim

    def open(self, directory: Path) -> Log:
        """Start the run."""
        run = self.run = self.library.Run(
            repo=str(directory),
            experiment="bench",
            system_tracking_interval=None,
            capture_terminal_logs=False,
            log_system_params=False,
        )

        def log(metrics: Metrics, step: int) -> None:
            run.track(metrics, step=step)

        return log

    def close(self) -> None:
        """Close the run."""
        self.run.close()

    def readable(self, directory: Path) -> int:
        """Index the runs, without which aim does not see them, and count."""
        tool = Path(sys.executable).with_name("aim")
        subprocess.run(
            [tool, "storage", "--repo", str(directory), "reindex", "-y"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=60,
        )  # fmt: skip
        import aim

        return sum(
            len(metric.values.sparse_list()[1])
            for name in aim.Repo(str(directory)).list_all_runs()
            for metric in aim.Run(name, repo=str(directory), read_only=True).metrics()
            if metric.name in KEYS
        )
