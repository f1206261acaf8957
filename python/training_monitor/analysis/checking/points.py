"""A metric as its checks need it: arrays over steps, windows of them, and their landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Curve", "Floats", "Ints", "sorted_curve"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Points shortly before or after a step that may be meant by "from" and "back to".
_NEAR_POINTS = 5
_SPANS = (10, 20, 50, 100)
# A point that stands out: so many times the usual distance from its neighbours.
_STANDS_OUT = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The points of one metric, by step; of several ranks all of them.

    Attributes:
        step: Ascending.
        value: What is no finite number is NaN.
        recent: From which index on a point may have been the last one when the model saw them.
    """

    step: Ints
    value: Floats
    recent: int

    def __len__(self) -> int:
        return len(self.step)

    def finite(self) -> Floats:
        """Return the finite values, in order."""
        return self.value[np.isfinite(self.value)]

    def at(self, step: float, reach: float = 0.0) -> Floats:
        """Return the values at a step, or within a reach of it."""
        low = np.searchsorted(self.step, step - reach, "left")
        high = np.searchsorted(self.step, step + reach, "right")
        return self.value[low:high]

    def carried(self, step: float) -> Floats:
        """Return the last value at or before a step: what it was there."""
        index = int(np.searchsorted(self.step, step, "right"))
        return self.at(float(self.step[index - 1])) if index else self.value[:0]

    def window(self, first: float | None, last: float | None) -> Curve:
        """Return the points from one step to another, both included."""
        low = 0 if first is None else int(np.searchsorted(self.step, first, "left"))
        high = len(self) if last is None else int(np.searchsorted(self.step, last, "right"))
        high = max(low, high)
        recent = min(max(self.recent - low, 0), max(high - low - 1, 0))
        return Curve(self.step[low:high], self.value[low:high], recent)

    def newest(self) -> list[float]:
        """Return the values that may be called the last one."""
        if not len(self):
            return []
        tail = self.value[self.recent :] if self.recent < len(self) else self.value[-1:]
        # All ranks of the last step.
        return _few(np.concatenate((tail, self.at(float(self.step[-1])))))

    def oldest(self) -> list[float]:
        """Return the values at the first step."""
        return _few(self.at(float(self.step[0]))) if len(self) else []

    def extremes(self) -> tuple[list[float], list[float]]:
        """Return the least and the greatest value, now and when the model saw them."""
        low: list[float] = []
        high: list[float] = []
        for values in (self.value, self.value[: self.recent + 1]):
            finite = values[np.isfinite(values)]
            if len(finite):
                low.append(float(finite.min()))
                high.append(float(finite.max()))
        return low, high

    def middles(self) -> list[float]:
        """Return means and medians, now and when the model saw them."""
        found: list[float] = []
        for values in (self.value, self.value[: self.recent + 1]):
            finite = values[np.isfinite(values)]
            if len(finite):
                found += [float(finite.mean()), float(np.median(finite))]
        return found

    def recents(self) -> list[float]:
        """Return means and medians of some last points."""
        finite = self.finite()
        tails = [finite[-span:] for span in _SPANS if len(finite) >= span]
        return [float(reduce(tail)) for tail in tails for reduce in (np.mean, np.median)]

    def around(self, step: float) -> tuple[list[float], list[float]]:
        """Return what a value may have been shortly before a step, and shortly after it."""
        low = int(np.searchsorted(self.step, step, "left"))
        high = int(np.searchsorted(self.step, step, "right"))
        before, after = self.value[max(0, low - 100) : low], self.value[high : high + 100]
        return (
            _few(before[-_NEAR_POINTS:]) + _medians(before[::-1]),
            _few(after[:_NEAR_POINTS]) + _medians(after),
        )

    def where(self, value: float, half: float) -> Ints:
        """Return the steps at which a value may be written so."""
        return self.step[np.abs(self.value - value) <= half]

    def stands_out(self, step: float, reach: float) -> bool:
        """Whether a step near this one has a value far off its neighbours', or none."""
        low = int(np.searchsorted(self.step, step - reach, "left"))
        high = int(np.searchsorted(self.step, step + reach, "right"))
        if low == high:
            return False
        inside = self.value[low:high]
        if not np.isfinite(inside).all():
            return True
        near = np.concatenate((self.value[max(0, low - 20) : low], self.value[high : high + 20]))
        near = near[np.isfinite(near)]
        if not len(near):
            return True
        middle = float(np.median(near))
        usual = float(np.median(np.abs(near - middle))) * 1.4826
        return bool(np.abs(inside - middle).max() > _STANDS_OUT * max(usual, 1e-3 * abs(middle)))


def sorted_curve(step: Ints, value: Floats, time: Floats, since: float | None) -> Curve:
    """Return points in the order of their steps; `since` is when the model first saw some."""
    order = np.argsort(step, kind="stable")
    step, value = step[order], np.where(np.isfinite(value), value, np.nan)[order]
    if since is None or not len(step):
        return Curve(step, value, max(len(step) - 1, 0))
    before = np.flatnonzero(time[order] <= since)
    return Curve(step, value, int(before[-1]) if len(before) else 0)


def _few(values: Floats) -> list[float]:
    return [float(value) for value in np.unique(values[np.isfinite(values)])]


def _medians(values: Floats) -> list[float]:
    finite = values[np.isfinite(values)]
    spans = [finite[:span] for span in _SPANS if len(finite) >= span]
    return [float(reduce(span)) for span in spans for reduce in (np.mean, np.median)]
