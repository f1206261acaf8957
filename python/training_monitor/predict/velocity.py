"""How fast a metric gets better lately, against its way so far and its noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import inf, isfinite, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Trail", "Velocity"]

MAX_BINS = 512
# The stretch that counts as lately is this share of the steps so far, and so many points at least.
LATELY = 1.0 / 3.0
MIN_POINTS = 5
# For the slope, points lately are averaged into so many at most.
MAX_SLOPE_POINTS = 40


@dataclass(frozen=True, slots=True)
class Velocity:
    """How fast a metric gets better; upwards is better, whatever its goal is.

    Losses that are positive are measured in logarithms, so that the fall from 0.02 to 0.01 counts
    like that from 2 to 1.

    Attributes:
        gain: What was gained lately; negative: it got worse.
        error: The standard error of the gain.
        way: What was gained from the worst to the best so far.
        noise: The standard deviation of an average of neighbours lately.
        jitter: The standard deviation of the course around its direction lately, at the resolution
            in which `way` is seen.
        unit: What a relative improvement of 1 is: 1 in logarithms, else the value now.
        span: How many steps lately is.
        points: How many points there are in all.
        since: The step at which lately begins.
        before: The median around that step, as logged.
        after: The median of the last points, as logged.
    """

    gain: float
    error: float
    way: float
    noise: float
    jitter: float
    unit: float
    span: float
    points: int
    since: float
    before: float
    after: float


class Trail:
    """The course of one metric, in bins of which the width doubles when there are too many."""

    def __init__(self, *, goal: str) -> None:
        self._sign = 1.0 if goal == "max" else -1.0
        self._steps: list[float] = []
        self._values: list[float] = []
        self._stride = 1
        self._open = 0
        self._open_step = 0.0
        self._open_value = 0.0
        self._least = inf
        self.count = 0

    def push(self, step: float, value: float) -> None:
        """Take one finite point."""
        if self._steps and step < self._steps[-1]:
            self._cut(step)
        self.count += 1
        self._least = min(self._least, value)
        self._open += 1
        self._open_step += step
        self._open_value += value
        if self._open >= self._stride:
            self._close()
            if len(self._steps) > MAX_BINS:
                self._coarsen()

    def _close(self) -> None:
        if self._open:
            self._steps.append(self._open_step / self._open)
            self._values.append(self._open_value / self._open)
        self._open, self._open_step, self._open_value = 0, 0.0, 0.0

    def _cut(self, step: float) -> None:
        """Forget what lies behind `step`: the run goes on from there once more."""
        self._open, self._open_step, self._open_value = 0, 0.0, 0.0
        kept = sum(one < step for one in self._steps)
        del self._steps[kept:], self._values[kept:]
        self.count = kept * self._stride

    def _coarsen(self) -> None:
        even = len(self._steps) // 2 * 2
        for bins in (self._steps, self._values):
            bins[:] = [(bins[at] + bins[at + 1]) / 2.0 for at in range(0, even, 2)] + bins[even:]
        self._stride *= 2

    def velocity(self) -> Velocity | None:
        """Say how fast it gets better; None: there are fewer than MIN_POINTS points."""
        if len(self._steps) < MIN_POINTS:
            return None
        steps, values = np.array(self._steps), np.array(self._values)
        in_logs = self._sign < 0.0 and self._least > 0.0
        better = self._sign * (np.log(values) if in_logs else values)
        start = steps[-1] - LATELY * (steps[-1] - steps[0])
        first = min(int(np.searchsorted(steps, start)), len(steps) - MIN_POINTS)
        at, level = _averaged(steps[first:]), _averaged(better[first:])
        span = float(at[-1] - at[0])
        if span <= 0.0 or not isfinite(float(level.sum())):
            return None
        slope, error, noise = _slope(at, level)
        low, high = np.quantile(better, [0.02, 0.98])
        few = max(len(values[first:]) // 8, 1)
        before, after = (float(np.median(one)) for one in (values[first:][:few], values[-few:]))
        return Velocity(
            gain=slope * span,
            error=error * span,
            way=float(high - low),
            noise=noise,
            jitter=noise * sqrt((len(steps) - first) / len(at)),
            unit=1.0 if in_logs else abs(after),
            span=span,
            points=self.count,
            since=float(at[0]),
            before=before,
            after=after,
        )


def _averaged(values: Floats) -> Floats:
    """Average neighbours until there are at most MAX_SLOPE_POINTS."""
    every = -(-len(values) // MAX_SLOPE_POINTS)
    if every == 1:
        return values
    rest = len(values) % every
    means: Floats = values[rest:].reshape(-1, every).mean(axis=1)
    return means


@cache
def _pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return all pairs of so many points; there are never more than MAX_SLOPE_POINTS sizes."""
    first, second = np.triu_indices(count, k=1)
    return first, second


def _slope(at: Floats, level: Floats) -> tuple[float, float, float]:
    """Return the median of the slopes between all pairs, its standard error, and the noise."""
    first, second = _pairs(len(at))
    apart = at[second] - at[first]
    good = apart > 0.0
    slope = float(np.median((level[second] - level[first])[good] / apart[good]))
    rest = level - slope * at
    rest = rest - np.median(rest)
    scale = 1.4826 * float(np.median(np.abs(rest)))
    # Where most points lie on one line the others would not count at all.
    scale = max(scale, 0.5 * float(rest.std()))
    noise = scale * sqrt(len(at) / (len(at) - 2.0))
    spread = float(((at - at.mean()) ** 2).sum())
    power = float(rest @ rest)
    echo = min(max(float(rest[1:] @ rest[:-1]) / power, 0.0), 0.8) if power > 0.0 else 0.0
    # Of noise that is normal the median slope knows a twentieth less than the mean one.
    return slope, 1.05 * noise * sqrt((1.0 + echo) / (1.0 - echo) / spread), noise
