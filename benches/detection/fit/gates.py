"""Fits the shares of levels and trends: softmax of a linear function of the traits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.fit.cases import Case
from training_monitor.predict.families import LEVELS

Array = NDArray[np.float64]

ROUNDS = 250
RATE = 0.1
SHRINKAGE = 1e-3
# Scores have no zero from which a height counts: the last traits told nothing in cross-fitting.
TRAITS_OF = {"loss": 6, "score": 4, "error": 6, "reward": 6}
# Errors are counted in spans of the run without its first tenth; far ones count less.
SMALL, FAR = 0.01, 1.0


@dataclass(frozen=True, slots=True)
class Table:
    """Cases as columns."""

    levels: Array
    trends: Array
    traits: Array
    gain: Array
    unit: Array
    weight: Array

    def rows(self, chosen: NDArray[np.bool_]) -> Table:
        return Table(*(getattr(self, name)[chosen] for name in self.__slots__))


def table(cases: list[Case]) -> Table:
    """Return the columns; a group counts as the root of its cases, and so does a source."""
    return Table(
        levels=np.array([case.levels for case in cases]),
        trends=np.array([case.trends for case in cases]),
        traits=np.array([case.traits * (np.arange(6) < TRAITS_OF[case.kind]) for case in cases]),
        gain=np.array([case.final - case.past.last for case in cases]),
        unit=np.array([case.late_width for case in cases]),
        weight=weights(cases),
    )


def weights(cases: list[Case]) -> Array:
    """Return how much each case counts, so that no group and no source decides alone."""
    groups: dict[str, int] = {}
    sources: dict[str, int] = {}
    for case in cases:
        groups[case.group] = groups.get(case.group, 0) + 1
        sources[case.source] = sources.get(case.source, 0) + 1
    found = np.array([groups[case.group] ** -0.5 * sources[case.source] ** -0.3 for case in cases])
    return np.asarray(found / found.sum())


def fit_gates(data: Table) -> Array:
    """Return the table of GATES: a row per trait, a column per level and trend."""
    ups, gains = data.levels / data.unit[:, None], data.trends / data.unit[:, None]
    wanted = data.gain / data.unit
    split = len(LEVELS)
    gates = np.zeros((data.traits.shape[1], ups.shape[1] + gains.shape[1]))
    speed, force = np.zeros_like(gates), np.zeros_like(gates)
    for turn in range(1, ROUNDS + 1):
        heads = data.traits @ gates
        up_share, gain_share = softmax(heads[:, :split]), softmax(heads[:, split:])
        up, gain = (up_share * ups).sum(axis=1), (gain_share * gains).sum(axis=1)
        error = up + gain - wanted
        pull = data.weight * error / np.sqrt(error**2 + SMALL**2) / (1.0 + (error / FAR) ** 2)
        pulls = np.hstack([up_share * (ups - up[:, None]), gain_share * (gains - gain[:, None])])
        slope = data.traits.T @ (pulls * pull[:, None]) + SHRINKAGE * gates
        speed = 0.9 * speed + 0.1 * slope
        force = 0.98 * force + 0.02 * slope**2
        step = speed / (1.0 - 0.9**turn) / (np.sqrt(force / (1.0 - 0.98**turn)) + 1e-8)
        gates -= RATE * (1.0 - turn / (ROUNDS + 1)) * step
    return gates


def gated(gates: Array, data: Table) -> Array:
    """Return the gains that the gates predict."""
    heads = data.traits @ gates
    split = len(LEVELS)
    up = (softmax(heads[:, :split]) * data.levels).sum(axis=1)
    return np.asarray(up + (softmax(heads[:, split:]) * data.trends).sum(axis=1))


def softmax(heads: Array) -> Array:
    raised = np.exp(heads - heads.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
