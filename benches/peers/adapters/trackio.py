"""trackio, local."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from peers.adapter import Adapter, Log, Metrics
from sample import KEYS


class Tracker(Adapter):
    """A thread of the training process writes SQLite every half second."""

    requirements = ("trackio==0.43.0",)
    packages = ("trackio",)
    variables = {
        "TRACKIO_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
    }
    note = "local, without hardware metrics; a thread writes SQLite every 0.5 s"
    library: Any

    def load(self) -> None:
        """Import trackio."""
        import trackio

        self.library = trackio

    def open(self, directory: Path) -> Log:
        """Start the run."""
        library = self.library
        library.init(
            project="bench", name="bench", auto_log_cpu=False, auto_log_gpu=False, embed=False
        )

        def log(metrics: Metrics, step: int) -> None:
            library.log(metrics, step=step)

        return log

    def close(self) -> None:
        """Finish, which waits for the thread."""
        self.library.finish()

    def readable(self, directory: Path) -> int:
        """Count with trackio's own storage; the driver's TRACKIO_DIR says where."""
        assert Path(os.environ["TRACKIO_DIR"]).is_relative_to(directory)
        from trackio.sqlite_storage import SQLiteStorage

        return sum(
            sum(key in row for key in KEYS)
            for run in SQLiteStorage.get_runs("bench")
            for row in SQLiteStorage.get_logs("bench", run, max_points=None)
        )

    def points(self, directory: Path) -> list[tuple[int, float]]:
        """Return what trackio's own storage gives."""
        assert Path(os.environ["TRACKIO_DIR"]).is_relative_to(directory)
        from trackio.sqlite_storage import SQLiteStorage

        return [
            (int(row["step"]), float(row["loss"]))
            for run in SQLiteStorage.get_runs("bench")
            for row in SQLiteStorage.get_logs("bench", run, max_points=None)
            if "loss" in row
        ]
