"""swanlab, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peers.adapter import Adapter, Log, Metrics
from sample import KEYS


class Tracker(Adapter):
    """A queue and a thread in the training process write a log of protobuf records."""

    requirements = ("swanlab==0.10.3",)
    packages = ("swanlab",)
    variables = {"SWANLAB_MODE": "offline", "SWANLAB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    note = "mode=offline; a queue and a thread in the training process"
    library: Any

    def load(self) -> None:
        """Import swanlab."""
        import swanlab

        self.library = swanlab

    def open(self, directory: Path) -> Log:
        """Start the run."""
        library = self.library
        library.init(mode="offline", project="bench", log_dir=str(directory / "swanlog"))

        def log(metrics: Metrics, step: int) -> None:
            library.log(metrics, step=step)

        return log

    def close(self) -> None:
        """Finish, which waits for the thread."""
        self.library.finish()

    def readable(self, directory: Path) -> int:
        """Count with swanlab's own reader of its files."""
        from swanlab.proto.swanlab.record.v1.record_pb2 import Record
        from swanlab.sdk.internal.core_python.store import DataStoreReader

        points = 0
        for path in directory.rglob("*.swanlab"):
            reader = DataStoreReader()
            reader.open(str(path))
            for raw in reader:
                record = Record()
                record.ParseFromString(raw)
                points += record.scalar.key in KEYS
        return points
