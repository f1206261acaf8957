"""Fit the intervals of the remaining time, and say how often they hold on runs not fitted on.

    PYTHONPATH=benches .venv/bin/python benches/detection/fit/eta.py CURVES [EVERY]

Prints the constants of `training_monitor/predict/eta.py`, then what the estimates are off by and
how often the intervals hold. Runs are dealt into five folds by their group; each fold is judged by
constants from the four others. The package has them rounded, and a little wider.
"""

from __future__ import annotations

import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detection import curves, remaining
from detection.curves import Flags, Floats
from training_monitor.predict.eta import FLOOR, GENERATING, LEVELS, WEIGHTS, EtaEstimator

FOLDS = 5
NAMES = tuple(WEIGHTS)
# Few increments are rare in the data: their weight is set, not fitted.
FITTED = tuple(name for name in NAMES if name != "few")
# Degrees of freedom of Student's t, whose heavy tails keep single runs from deciding.
FREEDOM = 2.0
# A source with many runs counts more, but not by their number.
SHARE_POWER = 0.35


@dataclass(frozen=True, slots=True)
class Estimates:
    """What was said at the cuts of all runs: the log of truth over estimate, and the signs."""

    source: np.ndarray
    sort: np.ndarray
    cut: Floats
    fold: np.ndarray
    error: Floats
    signs: Floats
    weight: Floats


def main() -> None:
    every = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    said = collect(curves.load(Path(sys.argv[1]), every=every))
    weights = fit(said, np.ones(len(said.error), dtype=np.bool_))
    print("WEIGHTS", {name: round(float(one), 2) for name, one in zip(NAMES, weights, strict=True)})
    quantiles = quantiles_of(said.error / spreads(said.signs, weights), said.weight)
    print("QUANTILES", {level: tuple(np.round(two, 2)) for level, two in quantiles.items()})
    inside, width = held_out(said)
    for title, rows in parts_of(said):
        ape = np.abs(np.expm1(-said.error[rows]))
        held = ", ".join(
            f"{level} %: {inside[level][rows].mean():.2f} width {np.median(width[level][rows]):.2f}"
            for level in LEVELS
        )
        print(
            f"{title:38}{rows.sum():6}  APE {np.median(ape):.4f} p90 {np.quantile(ape, 0.9):.2f}"
            f"  within {held}"
        )


def collect(runs: list[curves.Run]) -> Estimates:
    """Ask the estimator at the cuts of the bench."""
    rows: list[tuple[str, str, float, str, float, list[float]]] = []
    for run in runs:
        wall = remaining.clock_of(run)
        if wall is None:
            continue
        end = float(wall.steps[-1])
        for cut in remaining.CUTS:
            at = wall.steps[0] + cut * (end - wall.steps[0])
            known = int(np.searchsorted(wall.steps, at, side="right"))
            truth = float(wall.seconds[-1] - wall.seconds[known - 1])
            if known < remaining.MIN_KNOWN or truth <= 0:
                continue
            estimator = EtaEstimator(GENERATING if run.kind == "grpo" else None)
            estimator.push_many(wall.steps[:known], wall.seconds[:known])
            ahead = estimator.outlook(end)
            if ahead is None or ahead.seconds <= 0:
                continue
            signs = [float(getattr(ahead.signs, name)) for name in NAMES]
            error = float(np.log(truth / ahead.seconds))
            rows.append((run.source, remaining.sort_of(run, wall), cut, run.group, error, signs))
    source, sort, cuts, group = (np.array([row[at] for row in rows]) for at in range(4))
    return Estimates(
        source=source,
        sort=sort,
        cut=cuts,
        fold=np.array([zlib.crc32(str(one).encode()) % FOLDS for one in group]),
        error=np.array([row[4] for row in rows]),
        signs=np.array([row[5] for row in rows]),
        weight=weigh(source, cuts, group),
    )


def weigh(source: np.ndarray, cut: Floats, group: np.ndarray) -> Floats:
    """Make sources count by a power of their number of runs, and groups within them by its root."""
    places = list(zip(source, cut, strict=True))
    runs = Counter(places)
    grouped = Counter(zip(source, cut, group, strict=True))
    share = np.array(
        [grouped[(name, at, one)] ** -0.5 for (name, at), one in zip(places, group, strict=True)]
    )
    whole: Counter[tuple[str, float]] = Counter()
    for place, one in zip(places, share, strict=True):
        whole[place] += one
    return np.array(
        [
            one / whole[place] * runs[place] ** SHARE_POWER
            for place, one in zip(places, share, strict=True)
        ]
    )


def spreads(signs: Floats, weights: Floats) -> Floats:
    """The twin of training_monitor.predict.eta.spread for many estimates."""
    wide: Floats = np.sqrt(FLOOR**2 + ((signs * weights) ** 2).sum(axis=1))
    return np.minimum(wide, 2.0)


def misfit(said: Estimates, rows: Flags, weights: Floats) -> float:
    """Return the mean negative log-likelihood of Student's t."""
    scale = spreads(said.signs[rows], weights)
    tails = np.log1p((said.error[rows] / scale) ** 2 / FREEDOM) * (FREEDOM + 1) / 2
    return float(np.average(np.log(scale) + tails, weights=said.weight[rows]))


def fit(said: Estimates, rows: Flags) -> Floats:
    """Find the weights by coordinate search on their logarithms."""
    logs = np.zeros(len(NAMES))
    best, reach = misfit(said, rows, np.exp(logs)), 0.8
    while reach > 0.01:
        before = best
        for name in FITTED:
            for way in (reach, -reach):
                tried = logs.copy()
                tried[NAMES.index(name)] += way
                loss = misfit(said, rows, np.exp(tried))
                if loss < best:
                    logs, best = tried, loss
        if best == before:
            reach *= 0.6
    return np.exp(logs)


def quantiles_of(scaled: Floats, weight: Floats) -> dict[int, tuple[float, float]]:
    """Return how many spreads down and up hold each level."""
    order = np.argsort(scaled)
    share = np.cumsum(weight[order]) / weight.sum()

    def at(quantile: float) -> float:
        return float(scaled[order][np.searchsorted(share, quantile)])

    return {
        level: (-at(0.5 - level / 200), at(min(0.5 + level / 200, share[-1]))) for level in LEVELS
    }


def held_out(said: Estimates) -> tuple[dict[int, Flags], dict[int, Floats]]:
    """Return which truths lay inside, and the widths in shares of the truth, fold by fold."""
    inside = {level: np.zeros(len(said.error), dtype=np.bool_) for level in LEVELS}
    width = {level: np.zeros(len(said.error)) for level in LEVELS}
    for fold in range(FOLDS):
        judged, rest = said.fold == fold, said.fold != fold
        if not judged.any() or not rest.any():
            continue
        weights = fit(said, rest)
        scaled = said.error[rest] / spreads(said.signs[rest], weights)
        error, scale = said.error[judged], spreads(said.signs[judged], weights)
        for level, (down, up) in quantiles_of(scaled, said.weight[rest]).items():
            inside[level][judged] = (error >= -down * scale) & (error <= up * scale)
            width[level][judged] = (np.exp(up * scale) - np.exp(-down * scale)) / np.exp(error)
    return inside, width


def parts_of(said: Estimates) -> Iterator[tuple[str, Flags]]:
    """Name the parts to report: every sort at every cut, every source, and all."""
    for sort in np.unique(said.sort):
        for cut in remaining.CUTS:
            rows = (said.sort == sort) & (said.cut == cut)
            if rows.any():
                yield f"{sort} at {cut:.0%}", rows
    for source in np.unique(said.source):
        yield str(source), said.source == source
    yield "all", np.ones(len(said.error), dtype=np.bool_)


if __name__ == "__main__":
    main()
