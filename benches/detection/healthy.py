"""Score detectors where nothing happens: false alarms per 10,000 points and per run."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from detection import hindsight, roles
from detection.alarms import Detector, cooled
from detection.curves import Run, Series
from detection.labels import Label

__all__ = ["Quiet", "score", "score_run", "watched"]

# Which series a kind of alarm is counted on.
KIND_ROLES = {
    "spike": ("loss", "grad_norm"),
    "divergence": ("loss",),
    "slowdown": ("step_time",),
    "throughput_drop": ("throughput",),
    "mfu_drop": ("mfu",),
    "reward_drop": ("reward",),
    "outlier": ("reward",),
    "reward_spike": ("reward",),
    "flatline": ("reward",),
    "kl_blow_up": ("kl",),
    "entropy_collapse": ("entropy",),
    "memory_leak": ("memory",),
    "non_finite": ("loss", "grad_norm"),
}


@dataclass(slots=True)
class Quiet:
    """What a detector did on healthy points of one kind of series."""

    points: int = 0
    alarms: int = 0  # after a cool-down of 20 points
    raw: int = 0
    runs: int = 0
    runs_with_alarm: int = 0
    replayed: int = 0
    seconds: float = 0.0

    def add(self, other: Quiet) -> None:
        """Take in the counts of another."""
        self.points += other.points
        self.alarms += other.alarms
        self.raw += other.raw
        self.runs += other.runs
        self.runs_with_alarm += other.runs_with_alarm
        self.replayed += other.replayed
        self.seconds += other.seconds

    @property
    def per_10k(self) -> float:
        """Return the false alarms per 10,000 healthy points; NaN: there are none."""
        return 1e4 * self.alarms / self.points if self.points else float("nan")

    @property
    def raw_per_10k(self) -> float:
        """Return the same without cool-down."""
        return 1e4 * self.raw / self.points if self.points else float("nan")

    @property
    def run_share(self) -> float:
        """Return the share of the runs that saw an alarm; NaN: there are none."""
        return self.runs_with_alarm / self.runs if self.runs else float("nan")


# By detector, kind of alarm, source and role.
Key = tuple[str, str, str, str]


def watched(run: Run) -> Run:
    """Return a run as a monitor sees it: with the time of a step, and without duplicates."""
    series = dict(run.series)
    times = roles.step_times(run)
    if times is not None and not roles.of_role(run, "step_time"):
        series["step_time"] = times
        series["tokens_per_sec"] = Series(times.steps, 1e6 / times.values)
    return replace(run, series=series)


def score(detector: Detector, runs: Iterable[Run], labels: dict[str, Label]) -> dict[Key, Quiet]:
    """Score one detector on all healthy runs."""
    found: dict[Key, Quiet] = defaultdict(Quiet)
    for run in runs:
        for key, quiet in score_run(run, labels[run.id], [detector]).items():
            found[key].add(quiet)
    return found


def score_run(run: Run, label: Label, detectors: Sequence[Detector]) -> dict[Key, Quiet]:
    """Score detectors on one run; a run to which something happened has no healthy points."""
    found: dict[Key, Quiet] = {}
    if run.family == "samplesize" or not label.healthy:
        return found
    seen = watched(run)
    main = roles.train_loss(run)
    free = {
        name: hindsight.exempt(hindsight.spikes(series.values))
        for name, series in seen.series.items()
        if roles.role(name) in ("loss", "grad_norm")
    }
    for detector in detectors:
        start = time.perf_counter()
        raised = detector.replay(seen)
        took = time.perf_counter() - start
        for name, series in seen.series.items():
            role = roles.role(name)
            if role == "loss" and name != main:
                continue
            exempt = free.get(name, np.zeros(len(series), dtype=bool))
            for kind in detector.kinds:
                if role not in KIND_ROLES.get(kind, ()):
                    continue
                places = sorted(a.index for a in raised if a.kind == kind and a.metric == name)
                places = [place for place in places if not exempt[place]]
                quiet = Quiet(
                    points=int((~exempt).sum()),
                    alarms=len(cooled(places)),
                    raw=len(places),
                    runs=1,
                    runs_with_alarm=int(bool(places)),
                )
                found.setdefault((detector.name, kind, run.source, role), Quiet()).add(quiet)
        _clock(found, detector, seen, took)
    return found


def _clock(found: dict[Key, Quiet], detector: Detector, run: Run, took: float) -> None:
    points = sum(len(series) for series in run.series.values())
    found[detector.name, "time", run.source, "all"] = Quiet(replayed=points, seconds=took)
