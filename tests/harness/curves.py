"""Recorded runs with points that a test has made up, and runs that only look recorded."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import training_monitor as tm
from harness import processes, reading
from training_monitor import _core
from training_monitor.answers import Attempt, Metric, Series
from training_monitor.detect.definition import Definition
from training_monitor.detect.headline import understand
from training_monitor.detect.meaning import Meaning
from training_monitor.statistics import Zoom

__all__ = ["START", "Paper", "falling", "record", "start_live", "write"]

START = 1_767_614_400.0


def falling(count: int, *, noise: float = 0.02, seed: int = 0) -> NDArray[np.float64]:
    """Return a loss that falls from five to two."""
    rng = np.random.default_rng(seed)
    values: NDArray[np.float64] = 2 + 3 * np.exp(-5 * np.arange(count) / count)
    return values + rng.normal(0, noise, count)


def record(root: Path, name: str, curves: dict[str, Any], **settings: Any) -> Path:
    """Record curves, a value per step, and wait until all is stored; NaN at a step is a NaN."""
    columns = {key: np.asarray(values).tolist() for key, values in curves.items()}
    with tm.init(name, root_dir=root, quiet=True, detection=False, **settings):
        for step in range(max(map(len, columns.values()))):
            tm.log({key: one[step] for key, one in columns.items() if step < len(one)}, step)
    reading.settled(root / name)
    return root / name


def write(run_dir: Path, *lines: bytes) -> None:
    """Write notes of a brain into a run that is over."""
    ingest = _core.Ingest(run_dir)
    assert ingest.add_system(b"".join(lines))
    ingest.finish(60.0)


class Paper:
    """A run on paper: its points at the times that a test wants."""

    def __init__(
        self,
        curves: dict[str, tuple[Any, Any]],
        *,
        step_secs: float = 1.0,
        config: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        attempts: list[Attempt] | None = None,
        gpus: int = 0,
        phase: str = "",
    ) -> None:
        """Make it of steps and values by metric; a step takes `step_secs`."""
        self.phase = phase
        self.name = "paper"
        self.dir = self._path = "paper"
        self.config = config or {}
        self.attempts = attempts or [Attempt(1, "job", START, None, 1, 0, {})]
        self._curves = {
            key: (np.asarray(steps), np.asarray(values, np.float64))
            for key, (steps, values) in curves.items()
        }
        self.step_secs = step_secs
        last_step = max((int(steps[-1]) for steps, _ in self._curves.values()), default=0)
        self._reader: Any = _Reader(self, settings or {}, gpus, last_step)

    def metrics(self) -> list[Metric]:
        return [
            Metric(key, "float", len(steps), int(steps[0]), int(steps[-1]), values[-1],
                   float(np.nanmin(values)), float(np.nanmax(values)))
            for key, (steps, values) in self._curves.items()
        ]  # fmt: skip

    def meanings(self) -> dict[str, Meaning]:
        return understand(dict.fromkeys(self._curves))

    def definitions(self) -> list[Definition]:
        return []

    def series(
        self,
        key: str,
        *,
        rank: int | None = None,  # noqa: ARG002 -- there is one rank
        last: int | None = None,
        max_points: int | None = None,  # noqa: ARG002 -- there are few points
    ) -> Series:
        steps, values = self._curves[key]
        taken = slice(-last if last else None, None)
        zeros = np.zeros(len(steps), np.uint32)
        return Series(
            step=steps[taken],
            value=values[taken],
            time=(START + self.step_secs * steps)[taken],
            rank=zeros[taken],
            attempt=zeros[taken] + np.uint32(1),
        )

    def zoom(
        self,
        key: str,
        *,
        buckets: int = 1000,
        since: int | None = None,  # noqa: ARG002 -- nobody asks
        rank: int | None = None,  # noqa: ARG002 -- there is one rank
    ) -> Zoom:
        steps, values = self._curves[key]
        assert len(steps) <= buckets, "no test on paper has so many points"
        ones, none = np.ones(len(steps), np.int64), np.zeros(len(steps), np.int64)
        return Zoom(steps, steps, ones, none, values, values, values, values, values)


class _Reader:
    """What the reader of a run says beside its points."""

    def __init__(self, paper: Paper, settings: dict[str, Any], gpus: int, last_step: int) -> None:
        self._paper = paper
        self._settings = settings
        self._gpus = gpus
        self._last_step = last_step

    def attempts(self) -> list[dict[str, Any]]:
        config = json.dumps({"settings": self._settings})
        return [{"started": one.started, "id": one.number, "config": config}
                for one in self._paper.attempts]  # fmt: skip

    def counts(self) -> dict[str, Any]:
        last_time = START + self._paper.step_secs * self._last_step
        return {"last_step": self._last_step, "last_time": last_time}

    def events(self, kind: str) -> list[tuple[float, str]]:
        if kind != "phase" or not self._paper.phase:
            return []
        change = {"before": "WARMUP", "after": self._paper.phase, "reason": "so it is", "step": 9}
        return [(START, json.dumps(change))]

    def system_latest(self) -> list[dict[str, Any]]:
        return [
            {"host": "h", "source": f"gpu{at}", "metric": "power_watts", "time": START,
             "value": 1.0, "facts": None}
            for at in range(self._gpus)
        ]  # fmt: skip


def start_live(directory: Path, root: Path) -> subprocess.Popen[str]:
    """Start a run "live" that logs until there is a file "stop" in `directory`."""
    process = processes.start_script(
        directory,
        """
        tm.init("live", root_dir=sys.argv[1], quiet=True, config={"max_steps": 1_000_000})
        step = 0
        while not os.path.exists(sys.argv[2]):
            tm.log({"loss": 1 / (step + 1)}, step)
            step += 1
            time.sleep(0.002)
        """,
        root,
        directory / "stop",
    )
    reading.wait_for_points(root / "live", "loss", 100)
    return process
