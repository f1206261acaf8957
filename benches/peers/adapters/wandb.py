"""wandb, offline."""

from __future__ import annotations

from collections.abc import Iterator
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
        rows = self._rows(directory)
        return sum((item.key or "/".join(item.nested_key)) in KEYS for row in rows for item in row)

    def points(self, directory: Path) -> list[tuple[int, float]]:
        """Return the history of all files, as `wandb sync` reads them."""
        points = []
        for row in self._rows(directory):
            values = {item.key or "/".join(item.nested_key): item.value_json for item in row}
            if "loss" in values:
                points.append((int(values["_step"]), float(values["loss"])))
        return points

    def _rows(self, directory: Path) -> Iterator[Any]:
        from wandb.proto import wandb_internal_pb2

        for path in {found.resolve() for found in directory.rglob("*.wandb")}:
            for raw in records(path):
                record = wandb_internal_pb2.Record()
                record.ParseFromString(raw)
                yield record.history.item
