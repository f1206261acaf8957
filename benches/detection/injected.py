"""Score detectors on injected faults: recall, precision, delay; the clean twin cancels a case."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from detection.alarms import Alarm, Detector, cooled, indexes
from detection.cases import Case, Host, cases

__all__ = ["Tallies", "Tally", "score", "score_host"]


@dataclass(slots=True)
class Tally:
    """What a detector did on cases of one sort."""

    cases: int = 0
    cancelled: int = 0
    hits: int = 0
    false: int = 0  # alarms on the same series before the onset, after cool-down
    delays: list[int] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """Return the share of the cases that were found; NaN: there are none."""
        asked = self.cases - self.cancelled
        return self.hits / asked if asked else float("nan")

    @property
    def precision(self) -> float:
        """Return the share of its alarms that were right; NaN: it raised none."""
        raised = self.hits + self.false
        return self.hits / raised if raised else float("nan")

    @property
    def f1(self) -> float:
        """Return the harmonic mean of precision and recall, 0 where one of them has no value."""
        p, r = np.nan_to_num(self.precision), np.nan_to_num(self.recall)
        return float(2 * p * r / (p + r)) if p + r else 0.0

    def delay(self, quantile: float) -> float:
        """Return a quantile of the points from onset to alarm; NaN: nothing was found."""
        return float(np.quantile(self.delays, quantile)) if self.delays else float("nan")

    @property
    def worth(self) -> float:
        """Return hits minus misses minus 0.11 per false alarm, per case (the NAB profile)."""
        asked = self.cases - self.cancelled
        return (2 * self.hits - asked - 0.11 * self.false) / asked if asked else float("nan")

    def add(self, other: Tally) -> None:
        """Take in the counts of another tally."""
        self.cases += other.cases
        self.cancelled += other.cancelled
        self.hits += other.hits
        self.false += other.false
        self.delays += other.delays


# By detector, kind of fault, size, source and role of the series.
Key = tuple[str, str, str, str, str]
Tallies = dict[Key, Tally]


def score(detector: Detector, hosts: Iterable[Host]) -> Tallies:
    """Score one detector on all cases that can be made of these hosts."""
    found: Tallies = defaultdict(Tally)
    for host in hosts:
        for key, tally in score_host(host, [detector]).items():
            found[key].add(tally)
    return found


def score_host(
    host: Host, detectors: Sequence[Detector], *, only: frozenset[str] = frozenset()
) -> Tallies:
    """Score detectors on the cases of one host; the clean twin is replayed once for each.

    `only` narrows the kinds of faults; empty: all.
    """
    made = [case for case in cases(host) if not only or case.fault.kind in only]
    found: Tallies = defaultdict(Tally)
    for detector in detectors:
        asked = [case for case in made if case.fault.kind in detector.kinds]
        if not asked:
            continue
        clean = detector.replay(host.run)
        for case in asked:
            key = (detector.name, case.fault.kind, case.fault.label, host.run.source, host.role)
            found[key].add(_judge(case, clean, detector.replay(case.run)))
    return found


def _judge(case: Case, clean: Sequence[Alarm], raised: Sequence[Alarm]) -> Tally:
    kinds, metric = {case.fault.kind}, case.host.metric
    window = range(case.onset, case.until)
    places = indexes(raised, kinds, metric)
    before = cooled([place for place in places if place < case.onset])
    one = Tally(cases=1, false=len(before))
    if any(place in window for place in indexes(clean, kinds, metric)):
        one.cancelled = 1
        return one
    hit = next((place for place in places if place in window), None)
    if hit is not None:
        one.hits, one.delays = 1, [hit - case.onset]
    return one
