"""Medians, noise and trends that a few wild points do not move; bounded memory, no numpy."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections import deque
from math import erfc, nan, sqrt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Noise", "Summary", "mad_sigma", "mann_kendall", "median", "theil_sen"]

# The standard deviation of a normal distribution is so many times its median absolute deviation,
_MAD = 1.4826
# and so many times its mean absolute deviation.
_MEAN = 1.2533
# A difference of two values is so many times as noisy as one.
_DIFFERENCE = sqrt(2.0)
_FEW = 16


def median(values: Iterable[float]) -> float:
    """Return the median; NaN of nothing."""
    ordered = sorted(values)
    if not ordered:
        return nan
    half = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[half]
    return ordered[half - 1] / 2 + ordered[half] / 2


def mad_sigma(values: Sequence[float]) -> float:
    """Return the standard deviation of the bulk of the values."""
    middle = median(values)
    return _MAD * median(abs(value - middle) for value in values)


class Noise:
    """The noise of a series, from its first differences: a trend does not count as noise.

    Where most differences are zero, as with counts and sparse rewards, their mean stands in; of
    few differences the larger of the two estimates counts.

    Args:
        size: So many of the last differences count.
    """

    __slots__ = ("_differences", "_fresh", "_last", "_next", "_sigma", "_size")

    def __init__(self, size: int = 64) -> None:
        self._size = size
        self._differences = array("d")
        self._next = self._fresh = 0
        self._last: float | None = None
        self._sigma = 0.0

    def __len__(self) -> int:
        return len(self._differences)

    def push(self, value: float) -> None:
        """Take the next value."""
        if self._last is not None:
            difference = abs(value - self._last)
            if len(self._differences) < self._size:
                self._differences.append(difference)
            else:
                self._differences[self._next] = difference
                self._next = (self._next + 1) % self._size
            self._fresh += 1
        self._last = value

    @property
    def sigma(self) -> float:
        """The standard deviation of one value; 0 of a constant series, and without values."""
        # Sorting is what costs: an eighth of the window may be new before it is done again.
        if self._fresh and (self._fresh * 8 > len(self._differences) or self._sigma == 0.0):
            self._fresh = 0
            sigma = _MAD * median(self._differences) / _DIFFERENCE
            if sigma == 0.0 or len(self._differences) < _FEW:
                mean = sum(self._differences) / len(self._differences)
                sigma = max(sigma, _MEAN * mean / _DIFFERENCE)
            self._sigma = sigma
        return self._sigma


class Summary:
    """A whole series in a few medians of equally many points each, which grow wider as it grows.

    Args:
        limit: Never more than so many medians; even.

    Attributes:
        width: So many points make one; its median is taken of the last 64 of them.
        places: The place (a step, a time) of the last point of each.
        values: The medians, the oldest first.
    """

    __slots__ = ("_limit", "_missing", "_open", "places", "values", "width")

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._missing = 1
        self._open: deque[float] = deque(maxlen=64)
        self.width = 1
        self.places = array("d")
        self.values = array("d")

    def push(self, place: float, value: float) -> bool:
        """Take the next point; return whether a median was added."""
        self._open.append(value)
        self._missing -= 1
        if self._missing:
            return False
        self.values.append(median(self._open))
        self.places.append(place)
        self._open.clear()
        if len(self.values) >= self._limit:
            pairs = zip(self.values[::2], self.values[1::2], strict=True)
            self.values = array("d", (one / 2 + two / 2 for one, two in pairs))
            self.places = self.places[1::2]
            self.width *= 2
        self._missing = self.width
        return True


def theil_sen(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return the median slope over all pairs of points; NaN when there is none."""
    return median(
        (ys[j] - ys[i]) / (xs[j] - xs[i])
        for i in range(len(xs))
        for j in range(i + 1, len(xs))
        if xs[j] > xs[i]
    )


def mann_kendall(values: Sequence[float]) -> float:
    """Return how likely so clear a rise is by chance (one-sided, by the normal approximation)."""
    count = len(values)
    if count < 4:
        return 1.0
    score, before = 0, list[float]()
    for value in values:
        below = bisect_left(before, value)
        score += below - (len(before) - bisect_right(before, value, lo=below))
        insort(before, value)
    ties: dict[float, int] = {}
    for value in values:
        ties[value] = ties.get(value, 0) + 1
    variance = count * (count - 1) * (2 * count + 5)
    variance -= sum(tie * (tie - 1) * (2 * tie + 5) for tie in ties.values())
    if variance <= 0 or score <= 0:
        return 1.0
    return erfc((score - 1) / sqrt(variance / 18) / _DIFFERENCE) / 2
