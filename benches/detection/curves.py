"""Curves from a folder: one JSON object per line, in files *.jsonl or *.jsonl.gz."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
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


def read(
    path: Path, *, every: int = 1, tell: Callable[[str], None] = lambda _problem: None
) -> Iterator[Run]:
    """Yield each `every`-th run of a file; what is no run is skipped, and `tell` hears of it."""
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else path.open()
    source = path.name.removesuffix(".gz").removesuffix(".jsonl")
    try:
        with opened as lines:
            for number, line in enumerate(lines):
                if number % every or not line.strip():
                    continue
                try:
                    yield _run(json.loads(line), source, number)
                except (ValueError, TypeError, OverflowError) as error:
                    tell(f"{path.name}, line {number + 1}: {error}")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        tell(f"{path.name} cannot be read to its end: {error}")


def load(
    folder: Path, *, every: int = 1, tell: Callable[[str], None] = lambda _problem: None
) -> list[Run]:
    """Return each `every`-th run of all files of a folder."""
    return [run for path in sources(folder) for run in read(path, every=every, tell=tell)]


def _numbers(raw: Any) -> Floats:
    return np.array([np.nan if item is None else float(item) for item in raw], dtype=np.float64)


def _series(raw: Mapping[str, Any]) -> Series | None:
    steps, values = _numbers(raw.get("x", [])), _numbers(raw.get("y", []))
    count = min(len(steps), len(values))
    there = np.isfinite(steps[:count])
    if not there.any():
        return None
    return Series(steps[:count][there], values[:count][there])


def _wall(raw: Mapping[str, Any] | None) -> Wall | None:
    if not isinstance(raw, dict) or "x" not in raw:
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


def _run(raw: Any, source: str, number: int) -> Run:
    """Return the run of a line; ValueError or TypeError: it is none."""
    if not isinstance(raw, dict) or not isinstance(raw.get("series"), dict):
        raise TypeError(
            "no run: an object with series {name: {x: [step], y: [value]}} is asked for"
        )
    if any(not isinstance(item, dict) for item in raw["series"].values()):
        raise TypeError("a series is no object {x: [step], y: [value]}")
    found = {str(name): _series(item) for name, item in raw["series"].items()}
    series = {name: item for name, item in found.items() if item is not None}
    if not series:
        raise ValueError("its series have no points")
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
