"""Ways a curve may go on: levels to stay at, trends to follow, and what tells them apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

    from training_monitor.predict.past import Past

__all__ = ["LEVELS", "MAX_GAIN", "TRAITS", "TRENDS", "levels", "traits", "trends"]

Array = NDArray[np.float64]

# Where the curve is now, then what is still to come, then what decides between them. The tables in
# `constants` have these columns and rows in this order.
LEVELS = ("last", "mean of three", "median of a fifth", "best")
TRENDS = ("flat", "late logarithm", "logarithm", "square root", "inverse", "line")
TRAITS = ("one", "horizon", "steady", "rough", "lively", "tall")
# No trend gains more than so many spans of the past.
MAX_GAIN = 3.0
MAX_HORIZON = 100.0
# The first points say nothing about the end: shares of the past from which the fits begin.
LATE, EARLY, BOTTOM, RECENT = 1.0 / 3.0, 0.1, 0.05, 0.6


def levels(past: Past) -> Array:
    """Return how far each of LEVELS stands above the last value."""
    values = past.values
    fifth = max(1, values.size // 5)
    return np.array(
        [
            0.0,
            float(values[-3:].mean()) - past.last,
            float(np.median(values[-fifth:])) - past.last,
            past.top - past.last,
        ]
    )


def trends(past: Past, horizon: float) -> Array:
    """Return what each of TRENDS gains from the last point to `horizon` times its step."""
    line = _gain(past, lambda time: time, RECENT, horizon) / horizon
    gains = [
        0.0,
        _gain(past, np.log, LATE, horizon),
        _gain(past, np.log, BOTTOM, horizon),
        _gain(past, lambda time: -(time**-0.5), EARLY, horizon),
        _gain(past, lambda time: -1.0 / time, EARLY, horizon),
        line,
    ]
    room = MAX_GAIN * past.span
    return np.asarray(np.clip(gains, -room, room), dtype=np.float64)


def traits(past: Past, horizon: float) -> Array:
    """Return TRAITS: numbers without a unit, near zero for an ordinary curve.

    steady: 1 where the newer half only rises, 0 where it wanders; rough: noise against the span;
    lively: how much of the gain since a quarter came in the newer half; tall: that gain against the
    height of the curve over zero.
    """
    half = past.values[past.steps >= 0.5 * past.last_step]
    path = float(np.abs(np.diff(half)).sum())
    gain = float(half[-1] - half[0])
    before = float(half[0] - past.values[int(np.searchsorted(past.steps, 0.25 * past.last_step))])
    return np.array(
        [
            1.0,
            float(np.log(min(max(horizon, 1.0), MAX_HORIZON))) - 1.2,
            max(_share(gain, path), 0.0) ** 4,
            (_log(_share(past.noise, past.span), 1e-3) + 3.0) / 2.0,
            _share(gain, abs(gain) + abs(before)) - 0.4,
            (_log(_share(abs(gain), abs(past.last)), 1e-4) + 4.0) / 2.0,
        ]
    )


def _share(part: float, whole: float) -> float:
    """Return part of whole; of nothing it is nothing."""
    return part / whole if whole > 0.0 else 0.0


def _log(share: float, least: float) -> float:
    """Return the logarithm of a share between `least` and 1."""
    return float(np.log(min(max(share, least), 1.0)))


def _gain(past: Past, basis: Callable[[Array], Array], since: float, horizon: float) -> float:
    """Fit level + slope * basis(time); return the gain from time 1 to `horizon`."""
    times = past.steps / past.last_step
    first = min(int(np.searchsorted(times, since)), max(0, times.size - 3))
    first = max(first, int(np.searchsorted(times, 0.0, side="right")))
    column, values = basis(times[first:]), past.smooth[first:]
    spread = column - column.mean()
    square = float(spread @ spread)
    if square <= 1e-18:
        return 0.0
    now, then = basis(np.array([1.0, horizon]))
    return float(spread @ values) / square * float(then - now)
