"""The level of a positive series against what it was shortly before, in factors."""

from __future__ import annotations

from array import array
from collections import deque
from math import exp, isfinite, log

from training_monitor.detect.robust import Noise, median

__all__ = ["Shift"]

_LEVEL = 5
_NOISE_POINTS = 64


class Shift:
    """Compares the median of the last five points with the levels of the hundred before them.

    Args:
        lag: Levels so young do not count as before.
        memory: Levels so old do not count any more.

    Attributes:
        low: The factor by which the level is below the lowest level before; 1 or less: it is not.
        high: The factor by which it is above the highest level before.
        sigma: The noise of one point, as a logarithm.
        level: The level of now.
    """

    __slots__ = ("_lag", "_levels", "_most", "_noise", "_recent", "_warm_up", "high", "highest",
                 "level", "low", "lowest", "sigma")  # fmt: skip

    def __init__(self, *, warm_up: int = 20, lag: int = 10, memory: int = 100) -> None:
        self._warm_up = warm_up
        self._lag = lag
        self._most = lag + memory
        self._levels = array("d")
        self._recent: deque[float] = deque(maxlen=_LEVEL)
        self._noise = Noise(_NOISE_POINTS)
        self.low = self.high = 1.0
        self.lowest = self.highest = self.level = 0.0
        self.sigma = 0.0

    def push(self, value: float) -> bool:
        """Take the next point; return whether there is enough to compare with."""
        if not isfinite(value) or value <= 0:
            return False
        point = log(value)
        self._noise.push(point)
        self._recent.append(point)
        if len(self._recent) < _LEVEL:
            return False
        level = median(self._recent)
        self._levels.append(level)
        if len(self._levels) > self._most:
            del self._levels[0]
        if len(self._levels) < self._warm_up + self._lag:
            return False
        before = self._levels[: -self._lag]
        lowest, highest = min(before), max(before)
        self.level, self.lowest, self.highest = exp(level), exp(lowest), exp(highest)
        self.low, self.high = _factor(lowest - level), _factor(level - highest)
        self.sigma = self._noise.sigma
        return True


def _factor(change: float) -> float:
    return exp(min(change, 700.0))
