"""neptune-scale, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peers.adapter import Adapter, Log, Metrics
from sample import KEYS


class Tracker(Adapter):
    """SQLite, written on the calling thread."""

    requirements = ("neptune-scale==0.30.0",)
    packages = ("neptune-scale",)
    variables = {"NEPTUNE_API_TOKEN": "", "NEPTUNE_PROJECT": "bench/bench", "DO_NOT_TRACK": "1"}
    note = "mode=offline, without capture of the console; SQLite on the calling thread"
    run: Any
    library: Any

    def load(self) -> None:
        """Import neptune_scale."""
        import neptune_scale

        self.library = neptune_scale

    def open(self, directory: Path) -> Log:
        """Start the run."""
        run = self.run = self.library.Run(
            mode="offline",
            experiment_name="bench",
            project="bench/bench",
            log_directory=str(directory),
            enable_console_log_capture=False,
        )

        def log(metrics: Metrics, step: int) -> None:
            run.log_metrics(metrics, step=step)

        return log

    def close(self) -> None:
        """Close the run."""
        self.run.close()

    def readable(self, directory: Path) -> int:
        """Count with the repository class that its uploader reads with."""
        from neptune_scale.sync.operations_repository import OperationsRepository, OperationType

        return sum(
            sum(key in operation.operation.append for key in KEYS)
            for path in directory.rglob("*.sqlite3")
            for operation in OperationsRepository(path.absolute()).get_operations(10**10)
            if operation.operation_type == OperationType.UPDATE_SNAPSHOT
        )
