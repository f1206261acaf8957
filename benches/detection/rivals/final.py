"""Simple predictions of the final value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from detection.curves import Floats
from detection.final import Prediction, Predictor

__all__ = ["log_slope", "power_law", "rivals"]

_EXPONENTS = np.geomspace(0.05, 2.0, 16)


def power_law(steps: Floats, values: Floats, end: float) -> float | None:
    """Return c + a t^-b at `end`, by least squares over a grid of b; None: too few points."""
    if len(values) < 4:
        return None
    times = _times(steps)
    at_end = float(end - steps[0]) + times[0] if len(times) else 1.0
    powers = times[None, :] ** -_EXPONENTS[:, None]
    centred = powers - powers.mean(axis=1, keepdims=True)
    around = values - values.mean()
    slopes = (centred @ around) / np.maximum((centred**2).sum(axis=1), 1e-300)
    misfit = ((around - slopes[:, None] * centred) ** 2).sum(axis=1)
    best = int(misfit.argmin())
    offset = values.mean() - slopes[best] * powers[best].mean()
    return float(offset + slopes[best] * at_end ** -_EXPONENTS[best])


def log_slope(steps: Floats, values: Floats, end: float) -> float | None:
    """Return the line over log(t) through the last two thirds, at `end`; None: too few points."""
    if len(values) < 4:
        return None
    times = _times(steps)
    at_end = np.log(float(end - steps[0]) + times[0])
    late = slice(len(values) // 3, None)
    slope, offset = np.polyfit(np.log(times[late]), values[late], 1)
    return float(offset + slope * at_end)


def _times(steps: Floats) -> Floats:
    """Return steps that begin above zero: from the first step on, one interval at least."""
    first = steps[0] if steps[0] > 0 else max(float(np.median(np.diff(steps))), 1e-9)
    times: Floats = steps - steps[0] + first
    return np.maximum(times, 1e-9)


def _mean_of_three(steps: Floats, values: Floats, end: float, goal: str) -> float | None:
    said = [power_law(steps, values, end), log_slope(steps, values, end), _best(values, goal)]
    known = [value for value in said if value is not None]
    return float(np.mean(known))


def _best(values: Floats, goal: str) -> float:
    return float(values.max() if goal == "max" else values.min())


def _last_value(steps: Floats, values: Floats, end: float, goal: str) -> float:
    return float(values[-1])


def _best_so_far(steps: Floats, values: Floats, end: float, goal: str) -> float:
    return _best(values, goal)


def _last_three(steps: Floats, values: Floats, end: float, goal: str) -> float:
    return float(values[-3:].mean())


def _power(steps: Floats, values: Floats, end: float, goal: str) -> float | None:
    return power_law(steps, values, end)


def _slope(steps: Floats, values: Floats, end: float, goal: str) -> float | None:
    return log_slope(steps, values, end)


@dataclass(frozen=True, slots=True)
class Point:
    """A predictor without intervals."""

    says: Callable[[Floats, Floats, float, str], float | None]

    def __call__(
        self, steps: Floats, values: Floats, *, end: float, goal: str, kind: str
    ) -> Prediction | None:
        """Return the value alone."""
        value = self.says(steps, values, end, goal)
        return None if value is None else Prediction(value)


def rivals() -> dict[str, Predictor]:
    """Return the predictors to compare with."""
    return {
        "last value": Point(_last_value),
        "best so far": Point(_best_so_far),
        "mean of last three": Point(_last_three),
        "power law": Point(_power),
        "log slope": Point(_slope),
        "mean of power law, log slope, best": Point(_mean_of_three),
    }
