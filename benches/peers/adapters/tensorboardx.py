"""tensorboardX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peers.adapter import Adapter, Log, Metrics
from sample import KEYS


class Tracker(Adapter):
    """One event per scalar, written by a thread of the training process."""

    requirements = ("tensorboardX==2.6.5", "tensorboard==2.21.0", "setuptools<81")
    packages = ("tensorboardX", "tensorboard")
    note = "SummaryWriter, ten add_scalar per call; a thread writes"
    writer: Any
    library: Any

    def load(self) -> None:
        """Import the writer."""
        import tensorboardX

        self.library = tensorboardX

    def open(self, directory: Path) -> Log:
        """Open the event file."""
        self.writer = self.library.SummaryWriter(str(directory / "events"))
        add_scalar = self.writer.add_scalar

        def log(metrics: Metrics, step: int) -> None:
            for key, value in metrics.items():
                add_scalar(key, value, step)

        return log

    def close(self) -> None:
        """Close, which waits for the thread."""
        self.writer.close()

    def readable(self, directory: Path) -> int:
        """Count with TensorBoard's own reader."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(directory / "events"), size_guidance={"scalars": 0})
        events.Reload()
        return sum(len(events.Scalars(tag)) for tag in events.Tags()["scalars"] if tag in KEYS)
