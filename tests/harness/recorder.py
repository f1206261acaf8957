"""A producer in a directory of its own, and its way back through ingest and reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from harness.processes import PATIENCE_SECS
from training_monitor import _core


class Recorder:
    """Opens a producer without init(), a monitor or settings."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.open()

    def open(
        self, *, strict: bool = False, device_tensors: str = "sync", config_json: str = "{}"
    ) -> None:
        _core.open_producer(
            run_dir=str(self.run_dir),
            job_key="test",
            rank=0,
            local_rank=0,
            world=1,
            local_world=1,
            strict=strict,
            device_tensors=device_tensors,
            node_limit_bytes=1 << 30,
            config_json=config_json,
        )

    def stored(self) -> _core.RunReader:
        """Bring everything home and open it."""
        ingest = _core.Ingest(str(self.run_dir))
        outcome = _core.close_producer(PATIENCE_SECS)
        status = ingest.finish(PATIENCE_SECS)
        assert outcome["durable"], (outcome, status)
        assert status["gaps"] == 0
        return _core.RunReader(str(self.run_dir))

    def values(self, key: str) -> list[Any]:
        """Bring everything home and return every value of a key."""
        return column(self.stored(), key)

    def rejected(self) -> dict[str, int]:
        """Return the counts by reason; calls between two runs belong to none."""
        counts: dict[str, int] = dict(_core.health()["rejected_by"])  # type: ignore[call-overload]
        counts.pop("no_producer", None)
        return counts


def column(reader: _core.RunReader, key: str) -> list[Any]:
    """Return every stored value of a key, in the order of arrival."""
    value = reader.series(key, raw=True)[2]
    return value if isinstance(value, list) else np.asarray(value).tolist()
