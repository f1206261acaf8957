"""Curves from a folder: one JSON object per line, in files *.jsonl or *.jsonl.gz."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Flags", "Floats", "Run", "Series", "Wall", "load", "read", "sources"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of a run in the order of its steps; values may be NaN or infinite."""

    steps: Floats
    values: Floats

    def __len__(self) -> int:
        return len(self.steps)

    def first(self, count: int) -> Series:
        """Return what was known after `count` points."""
        return Series(self.steps[:count], self.values[:count])

    def finite(self) -> Series:
        """Return the points that are finite."""
        good = np.isfinite(self.values) & np.isfinite(self.steps)
        return self if good.all() else Series(self.steps[good], self.values[good])


@dataclass(frozen=True, slots=True)
class Wall:
    """Seconds since the start at steps; `parts` has what of them went into training, …"""

    steps: Floats
    seconds: Floats
    parts: Mapping[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """One training: its series, what it is judged by, and where it comes from."""

    id: str
    source: str
    kind: str
    group: str
    metric: str
    goal: str  # "min" or "max"
    series: Mapping[str, Series]
    wall: Wall | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """Return the kind of source: clips of a kind count with that kind."""
        return self.kind.removesuffix("-clip")

    @property
    def headline(self) -> Series | None:
        """Return the finite points of the metric that the run is judged by; None: it has none."""
        found = self.series.get(self.metric)
        return None if found is None else found.finite()

    def only(self, **series: Series) -> Run:
        """Return the same run with these series alone."""
        return replace(self, series=series, wall=None)

    def with_series(self, series: Mapping[str, Series]) -> Run:
        """Return the same run with other series, and no clock."""
        return replace(self, series=dict(series), wall=None)


def sources(folder: Path) -> list[Path]:
    """Return the files with curves below `folder`, a file itself if it is one."""
    if folder.is_file():
        return [folder]
    found = [path for pattern in ("*.jsonl", "*.jsonl.gz") for path in folder.rglob(pattern)]
    return sorted(found)


def read(path: Path, *, every: int = 1) -> Iterator[Run]:
    """Yield each `every`-th run of a file; lines that are no runs are skipped."""
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else path.open()
    source = path.name.removesuffix(".gz").removesuffix(".jsonl")
    with opened as lines:
        for number, line in enumerate(lines):
            if number % every or not line.strip():
                continue
            raw = json.loads(line)
            if isinstance(raw, dict) and isinstance(raw.get("series"), dict):
                yield _run(raw, source, number)


def load(folder: Path, *, every: int = 1) -> list[Run]:
    """Return each `every`-th run of all files of a folder."""
    return [run for path in sources(folder) for run in read(path, every=every)]


def _numbers(raw: Any) -> Floats:
    return np.array([np.nan if item is None else float(item) for item in raw], dtype=np.float64)


def _series(raw: Mapping[str, Any]) -> Series | None:
    steps, values = _numbers(raw.get("x", [])), _numbers(raw.get("y", []))
    count = min(len(steps), len(values))
    return Series(steps[:count], values[:count]) if count else None


def _wall(raw: Mapping[str, Any] | None) -> Wall | None:
    if not raw or "x" not in raw:
        return None
    steps = _numbers(raw["x"])
    parts = {name: _numbers(raw[name]) for name in raw if name != "x"}
    seconds = parts.pop("t", None)
    if seconds is None:
        seconds = parts.pop("total", None)
    if seconds is None or len(seconds) != len(steps) or len(steps) == 0:
        return None
    return Wall(
        steps, seconds, {name: part for name, part in parts.items() if len(part) == len(steps)}
    )


def _run(raw: Mapping[str, Any], source: str, number: int) -> Run:
    found = {str(name): _series(item) for name, item in raw["series"].items()}
    series = {name: item for name, item in found.items() if item is not None}
    direction = str(raw.get("direction", "min"))
    return Run(
        id=str(raw.get("id", f"{source}/{number}")),
        source=source,
        kind=str(raw.get("kind", "supervised")),
        group=str(raw.get("group", source)),
        metric=str(raw.get("metric", next(iter(series), ""))),
        goal="max" if direction.startswith("max") else "min",
        series=series,
        wall=_wall(raw.get("wall")),
        meta=raw.get("meta") or {},
    )
