"""Score detectors where nothing happens: false alarms per 10,000 points and per run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from detection import hindsight, roles
from detection.alarms import Alarm, Detector, cooled, indexes
from detection.curves import Flags, Run, Series
from detection.labels import Label

__all__ = [
    "ANY",
    "ANY_OF_REWARD",
    "KIND_ROLES",
    "Quiet",
    "count",
    "exempt_of",
    "heard",
    "score",
    "watched",
]

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


# Stands for a role where all series count.
ANY = "any"
# Stands for all kinds of alarms about rewards together.
ANY_OF_REWARD = "any of reward"
_OF_REWARD = frozenset(kind for kind, about in KIND_ROLES.items() if about == ("reward",))


@dataclass(slots=True)
class Quiet:
    """What a detector did on healthy points of one kind of series."""

    points: int = 0
    alarms: int = 0  # after a cool-down of 20 points
    raw: int = 0
    runs: int = 0
    runs_with_alarm: int = 0

    def add(self, other: Quiet) -> None:
        """Take in the counts of another."""
        self.points += other.points
        self.alarms += other.alarms
        self.raw += other.raw
        self.runs += other.runs
        self.runs_with_alarm += other.runs_with_alarm

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
    """Return a run as a monitor sees it: with the time of a step, throughput and MFU."""
    series = dict(run.series)
    times = roles.step_times(run)
    if times is not None and not roles.of_role(run, "step_time"):
        series["step_time"] = times
        series["tokens_per_sec"] = Series(times.steps, 1e6 / times.values)
        usual = float(np.median(times.values))
        series["mfu"] = Series(times.steps, 0.4 * usual / times.values)
    return replace(run, series=series)


def score(detector: Detector, runs: Iterable[Run], labels: dict[str, Label]) -> dict[Key, Quiet]:
    """Score one detector on all healthy runs."""
    found: dict[Key, Quiet] = defaultdict(Quiet)
    for run in runs:
        if run.family != "samplesize" and labels[run.id].healthy:
            seen = watched(run)
            for key, quiet in count(seen, detector, detector.replay(seen), exempt_of(seen)).items():
                found[key].add(quiet)
    return found


def exempt_of(run: Run) -> dict[str, Flags]:
    """Return the points of losses and gradient norms at which nobody is asked for silence."""
    return {
        name: hindsight.exempt(hindsight.spikes(series.values))
        for name, series in run.series.items()
        if roles.role(name) in ("loss", "grad_norm")
    }


def count(
    run: Run, detector: Detector, raised: Sequence[Alarm], free: Mapping[str, Flags]
) -> dict[Key, Quiet]:
    """Count the alarms that a detector raised on a healthy run."""
    found: dict[Key, Quiet] = {}
    main = roles.train_loss(run)
    for name, series in run.series.items():
        role = roles.role(name)
        if role == "loss" and name != main:
            continue
        exempt = free.get(name, np.zeros(len(series), dtype=bool))
        asked = {kind: {kind} for kind in detector.kinds if role in KIND_ROLES.get(kind, ())}
        if role == "reward" and asked:
            asked[ANY_OF_REWARD] = set(_OF_REWARD)
        for kind, kinds in asked.items():
            places = [p for p in indexes(raised, kinds, name) if not exempt[p]]
            quiet = Quiet(
                points=int((~exempt).sum()),
                alarms=len(cooled(places)),
                raw=len(places),
                runs=1,
                runs_with_alarm=int(bool(places)),
            )
            found.setdefault((detector.name, kind, run.source, role), Quiet()).add(quiet)
    return found


def heard(run: Run, detector: Detector, raised: Sequence[Alarm]) -> dict[Key, Quiet]:
    """Count all that was raised on a healthy run, of whatever kind and series.

    The kind is preceded by the severity; "any" stands for all of them.
    """
    kinds = [f"{alarm.severity} {alarm.kind}" for alarm in raised]
    points = max((len(series) for series in run.series.values()), default=0)
    found = {"any": Quiet(points=points, raw=len(raised), runs=1, runs_with_alarm=bool(raised))}
    for kind in set(kinds):
        found[kind] = Quiet(points=points, raw=kinds.count(kind), runs=1, runs_with_alarm=1)
    return {(detector.name, kind, run.source, ANY): quiet for kind, quiet in found.items()}
