"""Fits how wide the interval is, and the logistic model of the stop advice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SHRINKAGE = 1e-2


def fit_scale(doubts: Array, sizes: Array, weight: Array) -> Array:
    """Return the weights with which exp(weights @ doubts) is the mean size of the errors.

    The most likely ones under a Laplace distribution of the errors, by Newton's method.
    """
    found = np.zeros(doubts.shape[1])
    found[0] = np.log(max(float(np.median(sizes)), 1e-6))
    for _ in range(60):
        share = sizes * np.exp(-np.clip(doubts @ found, -20.0, 20.0))
        slope = doubts.T @ (weight * (1.0 - share)) + SHRINKAGE * 1e-2 * found
        bend = (doubts * (weight * (0.5 + 0.5 * np.minimum(share, 10.0)))[:, None]).T @ doubts
        step = np.linalg.solve(bend + 1e-6 * np.eye(bend.shape[0]), slope)
        found -= step / max(1.0, float(np.abs(step).max()) / 0.5)
    return found


def quantiles(values: Array, weight: Array, shares: tuple[float, ...]) -> Array:
    """Return weighted quantiles."""
    order = np.argsort(values)
    grown = np.cumsum(weight[order])
    places = np.searchsorted(grown, np.array(shares) * grown[-1])
    return np.asarray(values[order][np.minimum(places, values.size - 1)])


def fit_logistic(clues: Array, came: Array, weight: Array) -> Array:
    """Return the weights of a logistic model, shrunk a little, by Newton's method."""
    found = np.zeros(clues.shape[1])
    for _ in range(40):
        chance = 1.0 / (1.0 + np.exp(-np.clip(clues @ found, -30.0, 30.0)))
        slope = clues.T @ (weight * (chance - came)) + SHRINKAGE * 1e-1 * found
        bend = (clues * (weight * chance * (1.0 - chance))[:, None]).T @ clues
        found -= np.linalg.solve(bend + SHRINKAGE * 1e-1 * np.eye(bend.shape[0]), slope)
    return found
