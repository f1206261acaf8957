"""Injected faults as cases: a clean series, the same with a fault, and when an alarm counts."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from detection import hindsight, roles
from detection.alarms import Places
from detection.curves import Flags, Floats, Run, Series, Wall
from detection.faults import FAULTS, Fault, Place
from detection.labels import Label, held_out_loss

__all__ = ["Case", "Host", "cases", "hosts"]

WARM_POINTS = 40  # nobody is asked for alarms before
MAX_PER_SOURCE = 200
_MIN_POINTS = WARM_POINTS + 30


@dataclass(frozen=True, slots=True)
class Host:
    """A clean series that can carry faults: `run` holds it alone, or with those it is judged by."""

    run: Run
    metric: str
    role: str
    # How many seconds a step takes: this, times or divided by the value.
    per: tuple[float, int] | None = None

    @property
    def series(self) -> Series:
        """Return the series itself."""
        return self.run.series[self.metric]


@dataclass(frozen=True, slots=True)
class Case:
    """One fault in one series; an alarm in [onset, until) counts."""

    fault: Fault
    host: Host
    run: Run
    onset: int
    until: int


def hosts(runs: Iterable[Run], labels: dict[str, Label]) -> list[Host]:
    """Return the series of healthy runs that can carry faults, at most 200 a source and role."""
    found: dict[tuple[str, str], list[tuple[int, Host]]] = defaultdict(list)
    for run in runs:
        if run.family == "samplesize" or not labels[run.id].healthy:
            continue
        for host in _hosts_of(run, labels[run.id]):
            if len(host.series) >= (25 if host.role == "val_loss" else _MIN_POINTS):
                found[run.source, host.role].append((_seed(run.id, host.metric), host))
    return [
        host
        for drawn in found.values()
        for _, host in sorted(drawn, key=lambda item: item[0])[:MAX_PER_SOURCE]
    ]


def cases(host: Host) -> Iterator[Case]:
    """Yield the cases of a host, each at its own seeded place."""
    values = host.series.values
    if not np.isfinite(values).all():
        return
    around = hindsight.neighbours(values)
    free = hindsight.exempt(hindsight.spikes(values, around))
    for fault in FAULTS:
        if host.role in fault.roles:
            made = _case(host, fault, around, free)
            if made is not None:
                yield made


def _case(host: Host, fault: Fault, around: hindsight.Neighbours, free: Flags) -> Case | None:
    values = host.series.values
    places = _places(host, fault, free)
    if len(places) == 0:
        return None
    seed = _seed(host.run.id, host.metric, fault.kind, fault.label)
    onset = int(np.random.default_rng(seed).choice(places))
    before = values[max(0, onset - 20) : onset]
    middle = float(np.median(before))
    sigma = (
        float(around.sigma[onset])
        if np.isfinite(around.sigma[onset])
        else float(1.4826 * np.median(np.abs(before - middle)))
    )
    place = Place(onset, middle, sigma, float(np.median(values[:10])), seed)
    if fault.kind == "reward_drop" and place.level - place.start < 4 * sigma:
        return None  # there is nothing to lose yet
    changed = fault.inject(values, place)
    # The first point that differs is the onset: a drift begins after its best value.
    different = np.flatnonzero(~((changed == values) | (np.isnan(changed) & np.isnan(values))))
    if len(different) == 0:
        return None
    onset = int(different[0])
    until = min(len(values), onset + fault.window) if fault.window else len(values)
    if fault.kind == "memory_leak":
        full = np.flatnonzero(changed >= 0.95)
        until = int(full[0]) if len(full) else until
    return Case(fault, host, _cut(host, changed, until), onset, until)


def _places(host: Host, fault: Fault, free: Flags) -> Places:
    """Return where a fault may begin: warm, away from events, and its window within the series."""
    values, window = host.series.values, fault.window or 1
    warm = 5 if host.role == "val_loss" else int(np.clip(len(values) // 3, WARM_POINTS, 100))
    ahead = min(window, max(20, len(values) // 3)) if window > 25 else window
    places = np.arange(warm, len(values) - ahead)
    if fault.kind == "overfitting":
        best = np.minimum.accumulate(values)
        places = places[values[places] <= best[places]]
    if fault.window is None:
        places = places[places < len(values) // 2]
    if fault.kind == "reward_drop":
        places = places[places > 0.3 * len(values)]
    seen = np.concatenate([[0], np.cumsum(free)])
    ends = np.minimum(places + window, len(free))
    good: Places = places[seen[ends] == seen[np.maximum(places - 20, 0)]]
    return good


def _cut(host: Host, changed: Floats, until: int) -> Run:
    steps = host.series.steps[:until]
    end = steps[-1]
    others = {
        name: item.first(int(np.searchsorted(item.steps, end, side="right")))
        for name, item in host.run.series.items()
        if name != host.metric
    }
    mine = Series(steps, changed[:until])
    wall = _clock(mine, host.per) if host.per else None
    return replace(host.run, series={**others, host.metric: mine}, wall=wall)


def _clock(series: Series, per: tuple[float, int]) -> Wall | None:
    """Return the clock that such step times make; None: where steps go back there is none."""
    ahead = np.diff(series.steps)
    if len(ahead) == 0 or not (ahead > 0).all():
        return None
    usual, power = per
    took = np.concatenate([[np.median(ahead)], ahead]) * usual * series.values**power
    return Wall(series.steps, np.cumsum(took))


def _hosts_of(run: Run, known: Label) -> Iterator[Host]:
    def alone(name: str, role: str, series: Series, per: tuple[float, int] | None = None) -> Host:
        wall = _clock(series, per) if per else None
        return Host(replace(run, series={name: series}, wall=wall), name, role, per)

    main = roles.train_loss(run)
    for name, series in run.series.items():
        role = roles.role(name)
        if (
            (role in ("grad_norm", "kl", "entropy", "memory"))
            or name == main
            or (role == "reward" and name == run.metric)
        ):
            yield alone(name, role, series)
    times = roles.step_times(run)
    if times is not None:
        steps, usual = times.steps, float(np.median(times.values))
        yield alone("step_time", "step_time", times, (1.0, 1))
        yield alone("tokens_per_sec", "throughput", Series(steps, 1e6 / times.values), (1e6, -1))
        mfu = Series(steps, 0.4 * usual / times.values)
        yield alone("mfu", "mfu", mfu, (0.4 * usual, -1))
    held = held_out_loss(run)
    twin = roles.twin_of(run, held) if held else None
    if held and twin and known.overfit is False:
        pair = {twin: run.series[twin], held: run.series[held]}
        yield Host(run.with_series(pair), held, "val_loss")


def _seed(*parts: str) -> int:
    return zlib.crc32("\0".join(parts).encode())
