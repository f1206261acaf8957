"""Estimates of the remaining time as other tools make them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np

from detection.curves import Floats
from detection.remaining import Estimator, Eta

__all__ = ["ema_rate", "mean_rate", "rivals"]

_Z = {50: 0.674, 80: 1.282, 90: 1.645}


def mean_rate(
    steps: Floats,
    seconds: Floats,
    *,
    end: float,
    parts: Mapping[str, Floats],
    names: Collection[str],
) -> Eta | None:
    """Take the mean seconds per step so far, with the standard error of the mean."""
    left = end - steps[-1]
    rates = np.diff(seconds) / np.diff(steps)
    mean = float((seconds[-1] - seconds[0]) / (steps[-1] - steps[0]))
    error = float(rates.std(ddof=1)) / math.sqrt(len(rates)) if len(rates) > 1 else 0.0
    around = {
        level: (left * (mean - z * error), left * (mean + z * error)) for level, z in _Z.items()
    }
    return Eta(left * mean, around)


def ema_rate(
    steps: Floats,
    seconds: Floats,
    *,
    end: float,
    parts: Mapping[str, Floats],
    names: Collection[str],
) -> Eta | None:
    """Take a moving average of the seconds per step with smoothing 0.3, as tqdm does."""
    rate, weight = 0.0, 0.0
    for one in (np.diff(seconds) / np.diff(steps)).tolist():
        rate = 0.3 * one + 0.7 * rate
        weight = 0.3 + 0.7 * weight
    return Eta(float((end - steps[-1]) * rate / weight))


def rivals() -> dict[str, Estimator]:
    """Return the estimators to compare with."""
    return {"mean rate, standard error": mean_rate, "EMA 0.3 (tqdm)": ema_rate}
