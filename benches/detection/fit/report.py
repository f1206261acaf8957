"""Tables of how far the fitted constants hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from detection.fit.cases import Case
from detection.fit.crossfit import improved

Array = NDArray[np.float64]

AT = (0.1, 0.3, 0.5, 0.7)


def parts(cases: list[Case]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return the rows of a table: all kinds of runs, then all sources."""
    curves = np.array([case.curve for case in cases])
    sources = np.array([case.source for case in cases])
    found = [(f"**{name}**", curves == name) for name in sorted(set(curves))]
    return found + [(name, sources == name) for name in sorted(set(sources))]


def forecast_table(cases: list[Case], value: Array, bounds: Array) -> Iterable[str]:
    """Yield Markdown: mean errors in widths of the run, and coverage at 30 %."""
    final = np.array([case.final for case in cases])
    width = np.array([case.width for case in cases])
    last = np.array([case.past.last for case in cases])
    share = np.array([case.share for case in cases])
    rivals: dict[str, Array] = {
        "last": last,
        "best": np.array([case.past.best for case in cases]),
        "mean of 3": last + np.array([case.levels[1] for case in cases]),
        "power law": np.array([power_law(case) for case in cases]),
    }
    names = [f"{at:.0%}" for at in AT] + list(rivals) + ["50 %", "80 %", "90 %", "width"]
    yield "| runs | n | " + " | ".join(names) + " |"
    yield "|---" * (len(names) + 2) + "|"
    for name, chosen in parts(cases):
        cells = []
        for at in AT:
            here = chosen & (share == at)
            cells.append(_mean(np.abs(value - final)[here] / width[here]))
        here = chosen & (share == 0.3)
        cells += [_mean(np.abs(rival - final)[here] / width[here]) for rival in rivals.values()]
        for low, high in ((2, 3), (1, 4), (0, 5)):
            inside = (bounds[:, low] <= final) & (final <= bounds[:, high])
            cells.append(_mean(inside[here].astype(float)))
        cells.append(_median((bounds[:, 5] - bounds[:, 0])[here] / width[here]))
        yield f"| {name} | {int(here.sum())} | " + " | ".join(cells) + " |"


def power_law(case: Case) -> float:
    """Return the end of the best-fitting level + slope * time^-exponent."""
    times = case.past.steps / case.past.last_step
    keep = times > 0.02
    times, values = times[keep], case.past.values[keep]
    if times.size < 3:
        return case.past.last
    best, found = np.inf, case.past.last
    for exponent in (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0):
        basis = np.stack([np.ones_like(times), times**-exponent], axis=1)
        weights, *_ = np.linalg.lstsq(basis, values, rcond=None)
        error = float(((basis @ weights - values) ** 2).sum())
        if error < best:
            best, found = error, float(weights[0] + weights[1] * case.horizon**-exponent)
    return found


def advice_table(cases: list[Case], chance: Array, limit: float = 0.1) -> Iterable[str]:
    """Yield Markdown: how often stopping was wrong, and what it saved."""
    came = np.array([improved(case) for case in cases])
    share = np.array([case.share for case in cases])
    twice = twice_below(cases, chance, limit)
    yield (
        "| runs | cases | improved | Brier | base | P<0.1 | wrong | twice | wrong "
        "| first stops | wrong | saved |"
    )
    yield "|---" * 12 + "|"
    for name, chosen in parts(cases):
        base = float(came[chosen].mean())
        told, sure = chosen & (chance < limit), chosen & twice
        first = first_of_runs(cases, sure)
        yield (
            f"| {name} | {int(chosen.sum())} | {base:.2f} "
            f"| {float(((chance - came)[chosen] ** 2).mean()):.3f} | {base * (1 - base):.3f} "
            f"| {int(told.sum())} | {_mean(came[told].astype(float))} "
            f"| {int(sure.sum())} | {_mean(came[sure].astype(float))} "
            f"| {int(first.sum())} | {_mean(came[first].astype(float))} "
            f"| {_mean(1 - share[first])} |"
        )


def reliability(cases: list[Case], chance: Array) -> Iterable[str]:
    """Yield Markdown: what came of predicted chances."""
    came = np.array([improved(case) for case in cases])
    yield "| predicted | cases | mean | came |"
    yield "|---|---|---|---|"
    for low in np.arange(0.0, 1.0, 0.1):
        here = (chance >= low) & (chance < low + 0.1 + 1e-9)
        yield (
            f"| {low:.1f}-{low + 0.1:.1f} | {int(here.sum())} | {_mean(chance[here])} "
            f"| {_mean(came[here].astype(float))} |"
        )


def twice_below(cases: list[Case], chance: Array, limit: float) -> NDArray[np.bool_]:
    """Return where the chance is below the limit now and was at the cut before."""
    places = [(case.run, round(case.share, 2)) for case in cases]
    low = {place for place, p in zip(places, chance, strict=True) if p < limit}
    before = [(run, round(share - 0.1, 2)) for run, share in places]
    return np.array([a in low and b in low for a, b in zip(places, before, strict=True)])


def first_of_runs(cases: list[Case], chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return of the chosen cases the earliest of each run."""
    seen: set[str] = set()
    found = np.zeros(len(cases), dtype=bool)
    for at in np.argsort([case.share for case in cases], kind="stable"):
        if chosen[at] and cases[at].run not in seen:
            seen.add(cases[at].run)
            found[at] = True
    return found


def _mean(values: Array) -> str:
    return _said(values, np.mean)


def _median(values: Array) -> str:
    return _said(values, np.median)


def _said(values: Array, take: Callable[[Array], np.floating]) -> str:
    return f"{float(take(values)):.3f}" if values.size else "-"
