"""Everything that is scored, over all runs, with all systems under test."""

from __future__ import annotations

import multiprocessing
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
from typing_extensions import Self

from detection import churn, events, final, healthy, injected, ours, remaining, stopping
from detection.alarms import Detector, Together
from detection.cases import Host
from detection.curves import Run
from detection.labels import Label
from detection.rivals import final as final_rivals
from detection.rivals import remaining as remaining_rivals
from detection.rivals import series as series_rivals
from detection.rivals import several, spikes
from detection.rivals import stopping as stopping_rivals

__all__ = ["PARTS", "Cost", "Results", "Systems", "measure", "systems"]

# Runs of a source that go through the state machines.
MAX_STATES_PER_SOURCE = 150
PARTS = ("final", "stop", "eta", "phases")
_T = TypeVar("_T")
_A = TypeVar("_A", bound="_Adds")


class _Adds(Protocol):
    def add(self, other: Self, /) -> None: ...


@dataclass(slots=True)
class Cost:
    """What a system took."""

    points: int = 0
    seconds: float = 0.0

    def add(self, other: Cost) -> None:
        """Take in another."""
        self.points += other.points
        self.seconds += other.seconds


@dataclass(slots=True)
class Results:
    """All counts, by the keys of their modules."""

    injected: injected.Tallies = field(default_factory=dict)
    quiet: dict[healthy.Key, healthy.Quiet] = field(default_factory=dict)
    events: dict[events.Key, events.Events] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)
    final: dict[final.Key, final.Errors] = field(default_factory=dict)
    stops: dict[stopping.Key, stopping.Stops] = field(default_factory=dict)
    etas: dict[remaining.Key, remaining.EtaErrors] = field(default_factory=dict)
    states: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, other: Results) -> None:
        """Take in the counts of another part of the runs."""
        for name in ("injected", "quiet", "events", "costs", "final", "stops", "etas"):
            into(getattr(self, name), getattr(other, name))
        for key, counts in other.states.items():
            self.states.setdefault(key, []).extend(counts)


def into(sums: dict[_T, _A], more: Mapping[_T, _A]) -> None:
    """Add counts to those with the same key."""
    for key, one in more.items():
        if key in sums:
            sums[key].add(one)
        else:
            sums[key] = one


@dataclass(frozen=True, slots=True)
class Systems:
    """What is put to the test, and what of ours is not there."""

    detectors: Sequence[Detector]
    predictors: Mapping[str, final.Predictor]
    advisors: Mapping[str, stopping.Advisor]
    estimators: Mapping[str, remaining.Estimator]
    machines: Sequence[churn.Machine]
    missing: Sequence[str] = ()


def systems() -> Systems:
    """Return ours, where it is there, and the rules of others."""
    missing: list[str] = []

    def own(make: Callable[[], _T]) -> list[_T]:
        try:
            return [make()]
        except ours.AbsentError as error:
            missing.append(str(error))
            return []

    def named(make: Callable[[], _T]) -> dict[str, _T]:
        return dict(zip([ours.NAME], own(make), strict=False))

    by_name: dict[str, list[Detector]] = defaultdict(list)
    for rule in [*spikes.rivals(), *series_rivals.rivals(), *several.rivals()]:
        by_name[rule.name].append(rule)
    rivals = [Together(name, tuple(rules)) for name, rules in by_name.items()]
    return Systems(
        detectors=[*own(ours.detector), *rivals],
        predictors={**named(ours.predictor), **final_rivals.rivals()},
        advisors={**named(ours.advisor), **stopping_rivals.rivals()},
        estimators={**named(ours.estimator), **remaining_rivals.rivals()},
        machines=[*own(ours.machine), churn.Percentages()],
        missing=missing,
    )


def measure(
    runs: Sequence[Run],
    hosts: Sequence[Host],
    labels: Mapping[str, Label],
    tested: Systems,
    *,
    extra: Sequence[Run] = (),
    only: frozenset[str] = frozenset(),
    jobs: int = 1,
) -> Results:
    """Score everything, or the kinds of alarms and PARTS in `only`, in `jobs` processes.

    `extra` are runs that are only replayed: nobody is asked to predict them.
    """
    work = partial(_measure, labels=labels, tested=tested, only=only, calm=_calm(runs, labels))
    shares = [(runs[part::jobs], hosts[part::jobs], extra[part::jobs]) for part in range(jobs)]
    if jobs == 1:
        return work(shares[0])
    results = Results()
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        for part in pool.imap(work, shares):
            results.add(part)
    return results


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def _measure(
    share: tuple[Sequence[Run], Sequence[Host], Sequence[Run]],
    *,
    labels: Mapping[str, Label],
    tested: Systems,
    only: frozenset[str],
    calm: frozenset[str],
) -> Results:
    runs, hosts, extra = share
    results = Results()
    chosen = [d for d in tested.detectors if not only or d.kinds & only]
    for host in hosts:
        into(results.injected, injected.score_host(host, chosen, only=only))
    for run in [*runs, *extra]:
        if chosen and run.family != "samplesize":
            _replay(results, run, labels[run.id], chosen)
    for run in runs:
        if run.family != "device":
            _predict(results, run, labels[run.id], tested, only)
        if run.id in calm and (not only or "phases" in only):
            _count_states(results, run, tested.machines)
    return results


def _replay(results: Results, run: Run, label: Label, detectors: Iterable[Detector]) -> None:
    """Replay a whole run once for each detector, and count what it said there."""
    seen = healthy.watched(run)
    free = healthy.exempt_of(seen) if label.healthy else {}
    points = sum(len(series) for series in seen.series.values())
    for detector in detectors:
        start = time.perf_counter()
        raised = detector.replay(seen)
        cost = Cost(points, time.perf_counter() - start)
        into(results.costs, {detector.name: cost})
        into(results.events, events.count(seen, label, detector, raised))
        if label.healthy:
            into(results.quiet, healthy.count(seen, detector, raised, free))
            into(results.quiet, healthy.heard(seen, detector, raised))


def _predict(
    results: Results, run: Run, label: Label, tested: Systems, only: frozenset[str]
) -> None:
    if not only or "final" in only:
        into(results.final, final.score_run(run, label, tested.predictors))
    if not only or "stop" in only:
        into(results.stops, stopping.score_run(run, label, tested.advisors))
    if not only or "eta" in only:
        into(results.etas, remaining.score_run(run, tested.estimators))


def _calm(runs: Iterable[Run], labels: Mapping[str, Label]) -> frozenset[str]:
    """Return the runs that go through the state machines: the first healthy ones of a source."""
    chosen: dict[str, list[str]] = defaultdict(list)
    for run in runs:
        trained = run.family not in ("samplesize", "device")
        if trained and labels[run.id].healthy and len(chosen[run.source]) < MAX_STATES_PER_SOURCE:
            chosen[run.source].append(run.id)
    return frozenset(name for names in chosen.values() for name in names)


def _count_states(results: Results, run: Run, machines: Iterable[churn.Machine]) -> None:
    headline = run.headline
    if headline is None or len(headline) < final.MIN_POINTS:
        return
    for machine in machines:
        passed = machine.states(run)
        results.states.setdefault((machine.name, run.family), []).append(max(0, len(passed) - 1))
