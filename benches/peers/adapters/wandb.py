"""wandb, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peers.adapter import Adapter, Log, Metrics
from peers.leveldb import records
from sample import KEYS


class Tracker(Adapter):
    """A service process in Go writes a log of protobuf records."""

    requirements = ("wandb==0.31.0",)
    packages = ("wandb",)
    variables = {
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
    }
    note = "mode=offline; the service wandb-core is a process of its own"
    run: Any
    library: Any

    def load(self) -> None:
        """Import wandb."""
        import wandb

        self.library = wandb

    def open(self, directory: Path) -> Log:
        """Start the run and its service."""
        run = self.run = self.library.init(project="bench", mode="offline", dir=str(directory))

        def log(metrics: Metrics, step: int) -> None:
            run.log(metrics, step=step)

        return log

    def close(self) -> None:
        """Finish, which waits for the service."""
        self.run.finish()

    def readable(self, directory: Path) -> int:
        """Count in the run's file, as `wandb sync` reads it."""
        from wandb.proto import wandb_internal_pb2

        points = 0
        for path in {found.resolve() for found in directory.rglob("*.wandb")}:
            for raw in records(path):
                record = wandb_internal_pb2.Record()
                record.ParseFromString(raw)
                points += sum(
                    (item.key or "/".join(item.nested_key)) in KEYS for item in record.history.item
                )
        return points
