"""Score estimates of the remaining time at 10, 30, 50 and 70 % of a run."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from detection.curves import Floats, Run, Wall

__all__ = ["CUTS", "Estimator", "Eta", "EtaErrors", "clock_of", "score", "score_run"]

CUTS = (0.1, 0.3, 0.5, 0.7)
MIN_ENTRIES = 10
MIN_KNOWN = 3


@dataclass(frozen=True, slots=True)
class Eta:
    """Seconds that are left, and intervals by their level in per cent; empty: it gives none."""

    seconds: float
    intervals: Mapping[int, tuple[float, float]] = field(default_factory=dict)


class Estimator(Protocol):
    """What estimates the seconds from the last entry of the clock until `end`.

    `parts` has what of the seconds went into training, evaluation and preemptions so far, where
    the run logged that; `names` are the metrics that it logs.
    """

    def __call__(
        self,
        steps: Floats,
        seconds: Floats,
        *,
        end: float,
        parts: Mapping[str, Floats],
        names: Collection[str],
    ) -> Eta | None: ...


@dataclass(slots=True)
class EtaErrors:
    """What the estimates of one estimator were off by, as shares of the true remaining time."""

    asked: int = 0
    ape: list[float] = field(default_factory=list)
    inside: dict[int, list[bool]] = field(default_factory=lambda: defaultdict(list))
    width: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    seconds: float = 0.0

    def add(self, other: EtaErrors) -> None:
        """Take in the errors of another."""
        self.asked += other.asked
        self.seconds += other.seconds
        self.ape += other.ape
        for level in other.inside:
            self.inside[level] += other.inside[level]
            self.width[level] += other.width[level]

    def coverage(self, level: int) -> float:
        """Return the share of truths inside the interval of a level; NaN: it gave none."""
        return float(np.mean(self.inside[level])) if self.inside.get(level) else float("nan")


# By estimator, share of the run, sort of the clock, source.
Key = tuple[str, float, str, str]


def clock_of(run: Run) -> Wall | None:
    """Return the clock of a run where steps and seconds grow; None: there is too little of it."""
    if run.wall is None:
        return None
    wall = run.wall
    good = np.isfinite(wall.seconds) & np.isfinite(wall.steps)
    ahead = np.maximum.accumulate(np.where(good, wall.steps, -np.inf))
    good &= np.concatenate([[True], wall.steps[1:] > ahead[:-1]])
    late = np.maximum.accumulate(np.where(good, wall.seconds, -np.inf))
    good &= np.concatenate([[True], wall.seconds[1:] >= late[:-1]])
    if good.sum() < MIN_ENTRIES:
        return None
    parts = {name: part[good] for name, part in wall.parts.items()}
    return Wall(wall.steps[good], wall.seconds[good], parts)


def sort_of(run: Run, wall: Wall) -> str:
    """Return what makes this clock hard: preemptions, evaluations, growing steps, or the family."""
    if "preempt" in wall.parts and float(np.nanmax(wall.parts["preempt"])) > 0:
        return f"{run.family}, preempted"
    if "eval" in wall.parts:
        return f"{run.family}, with evaluations"
    return run.family


def score(name: str, estimator: Estimator, runs: Iterable[Run]) -> dict[Key, EtaErrors]:
    """Score one estimator on all runs with a clock."""
    found: dict[Key, EtaErrors] = defaultdict(EtaErrors)
    for run in runs:
        for key, errors in score_run(run, {name: estimator}).items():
            found[key].add(errors)
    return found


def score_run(run: Run, estimators: Mapping[str, Estimator]) -> dict[Key, EtaErrors]:
    """Score estimators on one run."""
    found: dict[Key, EtaErrors] = {}
    wall = clock_of(run)
    if wall is None:
        return found
    sort, end = sort_of(run, wall), float(wall.steps[-1])
    for share in CUTS:
        at = wall.steps[0] + share * (end - wall.steps[0])
        known = int(np.searchsorted(wall.steps, at, side="right"))
        truth = float(wall.seconds[-1] - wall.seconds[known - 1]) if known else 0.0
        if known < MIN_KNOWN or known == len(wall.steps) or truth <= 0:
            continue
        parts = {name: part[:known] for name, part in wall.parts.items()}
        for name, estimator in estimators.items():
            errors = found.setdefault((name, share, sort, run.source), EtaErrors())
            start = time.perf_counter()
            said = estimator(
                wall.steps[:known],
                wall.seconds[:known],
                end=end,
                parts=parts,
                names=run.series.keys(),
            )
            errors.seconds += time.perf_counter() - start
            errors.asked += 1
            if said is not None and np.isfinite(said.seconds):
                errors.ape.append(abs(said.seconds - truth) / truth)
                for level, (low, high) in said.intervals.items():
                    errors.inside[level].append(low <= truth <= high)
                    errors.width[level].append((high - low) / truth)
    return found
