"""Cross-fitting: what is predicted of a group never saw that group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.fit.cases import Case
from detection.fit.gates import fit_gates, gated, table, weights
from detection.fit.widths import fit_logistic, fit_scale, quantiles
from training_monitor.predict.advice import GAIN, clues
from training_monitor.predict.forecast import SHARES, Expectation, doubts, unit_of

Array = NDArray[np.float64]

FOLDS = 5
# Errors beyond so many spans of the past (a reward that was flat and then took off) count as this.
FARTHEST = 20.0


@dataclass(slots=True)
class Fitted:
    """The constants of one kind, and what cross-fitting predicted for each of its cases."""

    gates: Array
    scale: Array
    quantiles: Array
    value: Array
    width: Array
    bounds: Array


def folds_of(labels: Sequence[str], count: int | None = FOLDS) -> NDArray[np.int64]:
    """Return the fold of each label; all cases of a label are in one. None: a fold per label."""
    names = sorted(set(labels))
    order = np.random.default_rng(0).permutation(len(names))
    place = {name: int(order[at] % count) if count else at for at, name in enumerate(names)}
    return np.array([place[label] for label in labels], dtype=np.int64)


def fit_kind(cases: list[Case], folds: NDArray[np.int64]) -> Fitted:
    """Fit the forecast of one kind."""
    data = table(cases)
    last = np.array([case.past.last for case in cases])
    final = np.array([case.final for case in cases])
    value = np.full(len(cases), np.nan)
    for fold in np.unique(folds):
        out = folds == fold
        gates = fit_gates(data.rows(~out)) if not out.all() else fit_gates(data)
        value[out] = last[out] + gated(gates, data.rows(out))
    marks = np.array([doubts(c.past, c.levels, c.trends, c.traits) for c in cases])
    unit = np.array([unit_of(case.past) for case in cases])
    error = np.clip((final - value) / unit, -FARTHEST, FARTHEST)
    # Runs, not groups, are what an interval shall hold for: the weights are softer here.
    weight = weights(cases) ** 0.5
    weight /= weight.sum()
    width, bounds = np.zeros(len(cases)), np.zeros((len(cases), len(SHARES)))
    for fold in np.unique(folds):
        out = folds == fold
        rest = ~out if not out.all() else out
        scale = fit_scale(marks[rest], np.abs(error[rest]), weight[rest])
        sizes = np.exp(np.clip(marks @ scale, -20.0, 20.0))
        bounds[out] = quantiles((error / sizes)[rest], weight[rest], SHARES)
        width[out] = sizes[out] * unit[out]
    scale = fit_scale(marks, np.abs(error), weight)
    sizes = np.exp(np.clip(marks @ scale, -20.0, 20.0))
    return Fitted(
        gates=fit_gates(data),
        scale=scale,
        quantiles=quantiles(error / sizes, weight, SHARES),
        value=value,
        width=width,
        bounds=value[:, None] + bounds * width[:, None],
    )


def improved(case: Case, gain: float = GAIN) -> bool:
    """Return whether the best value still improved by more than `gain` of itself."""
    return case.later_best - case.past.best > gain * abs(case.past.best)


def fit_odds(
    cases: list[Case], value: Array, width: Array, folds: NDArray[np.int64]
) -> tuple[Array, Array]:
    """Fit the chance of a further gain; return constants and cross-fitted chances."""
    marks = np.concatenate(
        [
            clues(c.past, Expectation(v, w, ""), c.horizon, np.array([GAIN * abs(c.past.best)]))
            for c, v, w in zip(cases, value, width, strict=True)
        ]
    )
    came = np.array([float(improved(case)) for case in cases])
    weight = weights(cases) ** 0.5
    weight /= weight.sum()
    chance = np.zeros(len(cases))
    for fold in np.unique(folds):
        out = folds == fold
        rest = ~out if not out.all() else out
        odds = fit_logistic(marks[rest], came[rest], weight[rest])
        chance[out] = 1.0 / (1.0 + np.exp(-np.clip(marks[out] @ odds, -30.0, 30.0)))
    return fit_logistic(marks, came, weight), chance
