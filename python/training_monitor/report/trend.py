"""Which way a metric goes at the end of its points, in one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from training_monitor.predict.wording import number
from training_monitor.predict.wording import step as said_step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = ["Trend", "trend_of"]

# The trend is that of the last part of the points, so large, and of at least so many.
_PART = 0.3
_LEAST_POINTS = 8
# A difference below so many standard errors is none; nor is one below this share of the value.
_SIGMA = 3.0
_LEAST_SHARE = 1e-4
_DEVIATION = 1.4826
_MEDIAN_ERROR = 1.2533


@dataclass(frozen=True, slots=True)
class Trend:
    """Which way a metric goes.

    Attributes:
        metric: Its name.
        way: "falls", "rises" or "is steady".
        since: The step from which on it was looked at.
        before: Its median in the first half from there on.
        after: Its median in the second half.
        per_step: How much it changes with a step; 0 where it is steady.
        spread: The standard deviation of the points around these medians.
    """

    metric: str
    way: str
    since: int
    before: float
    after: float
    per_step: float
    spread: float

    def __str__(self) -> str:
        since = f"since step {said_step(self.since)}"
        if self.way == "is steady":
            return f"{self.metric} is steady near {number(self.after)} {since}{self._width()}"
        unit = self._unit()
        per = "step" if unit == 1 else f"{unit:,} steps"
        change = f"{number(self.before)} to {number(self.after)}"
        return (
            f"{self.metric} {self.way}: {change} {since} "
            f"({number(self.per_step * unit, 2)} per {per})"
        )

    def _width(self) -> str:
        share = self.spread / abs(self.after) if self.after else 0.0
        return f" (+-{share:.1%})" if 0.0005 <= share < 1.0 else ""

    def _unit(self) -> int:
        """Return the number of steps with which it changes by about a hundredth or more."""
        unit, least = 1, 0.005 * max(abs(self.after), abs(self.before))
        while unit < 1_000_000 and abs(self.per_step) * unit < least:
            unit *= 10
        return unit


def trend_of(metric: str, steps: ArrayLike, values: ArrayLike) -> Trend | None:
    """Return the trend of a metric; None: it has too few points."""
    at, seen = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    good = np.isfinite(seen)
    at, seen = at[good], seen[good]
    count = max(int(_PART * len(seen)), min(len(seen), _LEAST_POINTS))
    at, seen = at[len(at) - count :], seen[len(seen) - count :]
    if count < _LEAST_POINTS or at[-1] <= at[0]:
        return None
    half = count // 2
    first, second = seen[:half], seen[half:]
    before, after = float(np.median(first)), float(np.median(second))
    spread = (_deviation(first, before) + _deviation(second, after)) / 2.0
    error = _MEDIAN_ERROR * spread * sqrt(2.0 / half)
    change = after - before
    least = max(_SIGMA * error, _LEAST_SHARE * max(abs(before), abs(after)))
    moved = abs(change) > least
    way = ("rises" if change > 0 else "falls") if moved else "is steady"
    apart = float(np.median(at[half:]) - np.median(at[:half]))
    return Trend(
        metric=metric,
        way=way,
        since=int(at[0]),
        before=before,
        after=after,
        per_step=change / apart if moved and apart > 0 else 0.0,
        spread=spread,
    )


def _deviation(values: Floats, middle: float) -> float:
    return _DEVIATION * float(np.median(np.abs(values - middle)))
