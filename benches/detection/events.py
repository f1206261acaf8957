"""Score detectors on what really happened: spikes, non-finite values, overfitting, collapses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from detection import hindsight, roles
from detection.alarms import Alarm, Detector, indexes
from detection.curves import Run
from detection.labels import Label, hacked, held_out_loss

__all__ = ["Events", "count"]

SPIKE_WINDOW = 8
LEAD_POINTS = 30
WARNINGS = frozenset({"spike", "divergence", "exploding_gradient"})


@dataclass(slots=True)
class Events:
    """What a detector did about real events of one kind.

    `early` are alarms before the event on runs that had one, `false` runs without one that saw
    an alarm. Delays are in points of the series that the event is in.
    """

    events: int = 0
    hits: int = 0
    early: int = 0
    clean: int = 0
    false: int = 0
    delays: list[float] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """Return the share of the events that were found; NaN: there were none."""
        return self.hits / self.events if self.events else float("nan")

    @property
    def precision(self) -> float:
        """Return the share of the first alarms that were right.

        NaN: there were none, or no clean runs on which they could have been wrong.
        """
        raised = self.hits + self.early + self.false if self.clean else 0
        return self.hits / raised if raised else float("nan")

    @property
    def false_share(self) -> float:
        """Return the share of the clean runs that saw an alarm; NaN: there are none."""
        return self.false / self.clean if self.clean else float("nan")

    def add(self, other: Events) -> None:
        """Take in the counts of another."""
        self.events += other.events
        self.hits += other.hits
        self.early += other.early
        self.clean += other.clean
        self.false += other.false
        self.delays += other.delays


# By detector, kind of event, source.
Key = tuple[str, str, str]


def count(run: Run, label: Label, detector: Detector, raised: Sequence[Alarm]) -> dict[Key, Events]:
    """Count what the alarms of a detector on a whole run were worth."""
    found: dict[str, Events] = {}
    if "spike" in detector.kinds and label.nonfinite is None and not label.diverged:
        found["spike"] = _spikes(run, raised)
    if "overfitting" in detector.kinds and label.overfit is not None:
        found["overfitting"] = _overfitting(run, label, raised)
    if label.nonfinite is not None:
        if "non_finite" in detector.kinds:
            found["non_finite"] = _nonfinite(run, raised)
        if detector.kinds & WARNINGS:
            found["warning before non_finite"] = _lead(run, raised)
    if "divergence" in detector.kinds:
        found["divergence"] = _whole_run(label.diverged, label.healthy, "divergence", raised)
    rewarded = run.family in ("rl", "grpo")
    if rewarded and "reward_drop" in detector.kinds:
        found["reward_drop"] = _collapse(run, label, raised)
    if "reward_hacking" in detector.kinds and run.family == "grpo":
        found["reward_hacking"] = _whole_run(hacked(run), label.healthy, "reward_hacking", raised)
    return {(detector.name, kind, run.source): events for kind, events in found.items()}


def _spikes(run: Run, raised: Sequence[Alarm]) -> Events:
    """An alarm within 8 points of the first point of a hindsight spike finds it."""
    found = Events()
    names = [roles.train_loss(run), *roles.of_role(run, "grad_norm")]
    for name in names:
        if name is None:
            continue
        marks = np.flatnonzero(hindsight.spikes(run.series[name].values))
        places = np.array(indexes(raised, {"spike"}, name), dtype=np.intp)
        last = -(10**9)
        for mark in marks.tolist():
            apart, last = mark - last > hindsight.EXEMPT_AFTER, mark
            if not apart:
                continue
            found.events += 1
            near = places[(places >= mark - 1) & (places < mark + SPIKE_WINDOW)]
            if len(near):
                found.hits += 1
                found.delays.append(float(near[0] - mark))
    return found


def _overfitting(run: Run, label: Label, raised: Sequence[Alarm]) -> Events:
    """The first alarm is right if the run overfits and its best evaluation is past."""
    steps = [alarm.step for alarm in raised if alarm.kind == "overfitting"]
    if label.overfit_from is None:
        return Events(clean=1, false=int(bool(steps)))
    found = Events(events=1)
    if steps and steps[0] < label.overfit_from:
        found.early = 1
    elif steps:
        found.hits = 1
        held = held_out_loss(run)
        if held is not None:
            since = run.series[held].steps
            passed = (since > label.overfit_from) & (since <= steps[0])
            found.delays.append(float(passed.sum()))
    return found


def _nonfinite(run: Run, raised: Sequence[Alarm]) -> Events:
    """Each series with a non-finite value should be told at its first one."""
    found = Events()
    for name, series in run.series.items():
        if roles.role(name) not in ("loss", "grad_norm"):
            continue
        bad = np.flatnonzero(~np.isfinite(series.values))
        if len(bad) == 0:
            continue
        places = indexes(raised, {"non_finite"}, name)
        found.events += 1
        if places and places[0] < bad[0]:
            found.early += 1
        elif places:
            found.hits += 1
            found.delays.append(float(places[0] - bad[0]))
    return found


def _lead(run: Run, raised: Sequence[Alarm]) -> Events:
    """A warning within 30 points before the first non-finite value; the delay is minus its lead."""
    found = Events()
    firsts = {}
    for name, series in run.series.items():
        if roles.role(name) in ("loss", "grad_norm"):
            bad = np.flatnonzero(~np.isfinite(series.values))
            if len(bad) and bad[0] >= LEAD_POINTS:
                firsts[name] = int(bad[0])
    if not firsts:
        return found
    found.events = 1
    leads = [
        first - place
        for name, first in firsts.items()
        for place in indexes(raised, WARNINGS, name)
        if first - LEAD_POINTS <= place < first
    ]
    if leads:
        found.hits = 1
        found.delays.append(-float(max(leads)))
    return found


def _whole_run(happened: bool, healthy: bool, kind: str, raised: Sequence[Alarm]) -> Events:
    said = any(alarm.kind == kind for alarm in raised)
    if happened:
        return Events(events=1, hits=int(said))
    return Events(clean=1, false=int(said)) if healthy else Events()


def _collapse(run: Run, label: Label, raised: Sequence[Alarm]) -> Events:
    """An alarm from the best stretch before the collapse on finds it."""
    steps = [a.step for a in raised if a.kind == "reward_drop" and a.metric == run.metric]
    if label.collapse is None:
        return Events(clean=1, false=int(bool(steps)))
    headline = run.headline
    found = Events(events=1)
    if headline is None:
        return found
    width = max(10, int(np.ceil(0.05 * len(headline))))
    at = int(np.searchsorted(headline.steps, label.collapse))
    begins = headline.steps[max(0, at - 2 * width)]
    right = [step for step in steps if step >= begins]
    found.early = int(any(step < begins for step in steps) and not right)
    if right:
        found.hits = 1
        found.delays.append(float(np.searchsorted(headline.steps, right[0]) - at))
    return found
