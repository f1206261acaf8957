"""Cases: a curve cut where it had run for a share of its steps, and what came after."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_monitor.predict.families import levels, traits, trends
from training_monitor.predict.past import Goal, Kind, Past, read_past

Array = NDArray[np.float64]

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
FEWEST_POINTS = 6


@dataclass(frozen=True, slots=True)
class Case:
    """What was known at `share` of a run, and how it went on; values with larger as better."""

    source: str
    group: str
    run: str
    curve: str
    kind: Kind
    share: float
    past: Past
    horizon: float
    levels: Array
    trends: Array
    traits: Array
    final: float
    later_best: float
    width: float
    late_width: float


def read_cases(folder: Path, every: int) -> list[Case]:
    """Return the cases of every so many-th run of all files `*.jsonl.gz`."""
    cases: list[Case] = []
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt") as lines:
            for number, line in enumerate(lines):
                if number % every == 0:
                    cases += _cases(path.name.removesuffix(".jsonl.gz"), json.loads(line))
    return cases


def _cases(source: str, run: dict[str, Any]) -> Iterator[Case]:
    series = run["series"].get(run["metric"])
    if series is None:
        return
    steps = np.array([float(step) for step in series["x"]])
    values = np.array([float(value) for value in series["y"]])
    fine = np.isfinite(steps) & np.isfinite(values)
    steps, values = steps[fine], values[fine]
    if values.size < FEWEST_POINTS or steps[-1] <= 0.0:
        return
    goal: Goal = "max" if run["direction"] == "max" else "min"
    width = _width(values)
    if not width > 0.0:
        return
    late_width = max(_width(values[steps >= 0.1 * steps[-1]]), 0.02 * width)
    for share in SHARES:
        cut = _cut(steps, share, log=run["kind"] == "samplesize")
        seen = steps <= cut
        past = None if seen.all() else read_past(steps[seen], values[seen], goal=goal)
        if past is None or not 0.0 < past.last_step < steps[-1]:
            continue
        horizon = float(steps[-1]) / past.last_step
        yield Case(
            source=source,
            group=run["group"],
            run=run["id"],
            curve=run["kind"],
            kind=kind_of(run),
            share=share,
            past=past,
            horizon=horizon,
            levels=levels(past),
            trends=trends(past, horizon),
            traits=traits(past, horizon),
            final=float(past.sign * values[-1]),
            later_best=float((past.sign * values[~seen]).max()),
            width=width,
            late_width=late_width,
        )


def kind_of(run: dict[str, Any]) -> Kind:
    """Return the kind that the forecast is told."""
    metric = str(run["metric"]).rsplit("/", maxsplit=1)[-1]
    if run["kind"] in ("rl", "grpo"):
        return "reward"
    if run["direction"] == "max":
        return "score"
    return "loss" if "loss" in metric else "error"


def _cut(steps: Array, share: float, *, log: bool) -> float:
    if log and steps[0] > 0.0:
        return float(steps[0] ** (1.0 - share) * steps[-1] ** share)
    return float(share * steps[-1])


def _width(values: Array) -> float:
    if values.size < 3:
        return 0.0
    low, high = np.percentile(values, [3.0, 97.0])
    return float(high - low)
