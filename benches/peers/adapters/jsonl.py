"""What people write themselves: one JSON line per call."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from peers.adapter import Adapter, Log, Metrics


class Tracker(Adapter):
    """json.dumps and a buffered write; flushed and fsynced at the end."""

    note = "json.dumps + buffered write; flush and fsync at close"
    file: TextIO

    def open(self, directory: Path) -> Log:
        """Open the file."""
        self.file = (directory / "log.jsonl").open("w")
        write = self.file.write

        def log(metrics: Metrics, step: int) -> None:
            write(json.dumps({"step": step, **metrics}) + "\n")

        return log

    def close(self) -> None:
        """Flush, fsync and close."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()

    def readable(self, directory: Path) -> int:
        """Count the values of all whole lines."""
        with (directory / "log.jsonl").open() as lines:
            return sum(len(json.loads(line)) - 1 for line in lines if line.endswith("}\n"))

    def points(self, directory: Path) -> list[tuple[int, float]]:
        """Return what stands in lines that are whole."""
        points = []
        with (directory / "log.jsonl").open(errors="replace") as lines:
            for line in lines:
                with suppress(ValueError):
                    row = json.loads(line)
                    points.append((row["step"], row["loss"]))
        return points
