"""The learning rate as a clock: a curve moves with its sum, and gains once more as it decays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training_monitor.predict.past import Past, read_past

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Clock", "LearningRate", "clock_of", "rate_gain"]

Array = NDArray[np.float64]
Shape = Literal["infer", "constant", "linear", "cosine"]

# A shape is believed where it stays this close to the logged rates, as a share of the peak.
CLOSE = 0.02
# Without any fall seen so far nothing says which shape is planned.
LEAST_FALL = 0.02
FLOORS = (0.0, 0.1)
# What a decay from the peak to zero gains, in gains per e-fold of summed rate, before any is seen.
DECAY_PER_FOLD = 0.3
# How many points that expectation is worth against what the curve itself shows.
DECAY_EVIDENCE = 10.0
POINTS = 256


@dataclass(frozen=True, slots=True)
class LearningRate:
    """What is known of the learning rate.

    Attributes:
        steps: Steps at which it was logged.
        values: The rates.
        shape: How it goes on from its peak to the end; infer: as the logged rates suggest.
        floor: The rate at the end as a share of the peak; of a linear or cosine shape that is told.
    """

    steps: ArrayLike
    values: ArrayLike
    shape: Shape = "infer"
    floor: float = 0.0


@dataclass(frozen=True, slots=True)
class Clock:
    """Summed rates in units of the peak.

    Attributes:
        horizon: The sum at the end in units of the sum so far.
        elapsed: The sum at each step of a past.
        rates: The rate at each step of a past, as a share of the peak.
        now: The rate at the last step, as a share of the peak.
        then: The rate at the end, as a share of the peak.
    """

    horizon: float
    elapsed: Array
    rates: Array
    now: float
    then: float


def clock_of(lr: LearningRate, past: Past, end: float) -> Clock | None:
    """Return the clock of a past; None: the rates do not say how they go on, or there are none."""
    logged = read_past(lr.steps, lr.values, goal="max")
    if logged is None or logged.best <= 0.0 or end <= past.last_step:
        return None
    grid = np.linspace(0.0, end, 2 * POINTS)
    peak = logged.best
    seen = np.interp(grid, logged.steps, np.clip(logged.values / peak, 0.0, 1.0))
    future = _future(lr, logged, peak, grid, end)
    if future is None:
        return None
    rates = np.where(grid <= logged.last_step, seen, future)
    sums = np.concatenate([[0.0], np.cumsum((rates[1:] + rates[:-1]) / 2.0 * np.diff(grid))])
    elapsed = np.interp(past.steps, grid, sums)
    if elapsed[-1] <= 0.0:
        return None
    at = np.interp(past.steps, grid, rates)
    return Clock(
        horizon=float(sums[-1] / elapsed[-1]),
        elapsed=elapsed,
        rates=at,
        now=float(at[-1]),
        then=float(rates[-1]),
    )


def rate_gain(past: Past, clock: Clock) -> float:
    """Return what is still gained: the mean of two trends in the summed rate, and the decay."""
    inner = replace(past, steps=clock.elapsed)
    gains = [_fit(inner, clock, np.log), _fit(inner, clock, lambda time: -2.0 * time**-0.5)]
    return float(np.mean(gains))


def _fit(past: Past, clock: Clock, basis: Callable[[Array], Array]) -> float:
    """Fit level + slope * basis(summed rate) + decay * (peak - rate); return the gain."""
    times = past.steps / past.steps[-1]
    first = max(0, min(int(np.searchsorted(times, 0.2)), times.size - 3))
    first = max(first, int(np.searchsorted(times, 0.0, side="right")))
    times, values, fall = times[first:], past.smooth[first:], 1.0 - clock.rates[first:]
    column = basis(times)
    if times.size < 2 or float(np.ptp(column)) <= 1e-12:
        return 0.0
    # The decay is slope * (DECAY_PER_FOLD + extra), and extra is pulled to zero.
    rows = np.stack([column + DECAY_PER_FOLD * fall, fall], axis=1)
    rows, rest = rows - rows.mean(axis=0), values - values.mean()
    square = rows.T @ rows
    square[1, 1] += DECAY_EVIDENCE * 0.01 + 1e-12
    square[0, 0] += 1e-12
    slope, extra = np.linalg.solve(square, rows.T @ rest)
    now, then = basis(np.array([1.0, clock.horizon]))
    return float(slope * (then - now) + (DECAY_PER_FOLD * slope + extra) * (clock.now - clock.then))


def _future(lr: LearningRate, logged: Past, peak: float, grid: Array, end: float) -> Array | None:
    """Return the rates that are planned at the points of the grid, as shares of the peak."""
    start = _peak_end(logged)
    if lr.shape == "constant":
        return np.full(grid.size, logged.last / peak)
    if lr.shape != "infer":
        return _planned(lr.shape, grid, start, end, lr.floor)
    found, best = None, CLOSE
    after = logged.steps >= start
    if logged.last > (1.0 - LEAST_FALL) * peak:
        return None
    for shape in ("linear", "cosine"):
        for floor in FLOORS:
            guess = _planned(shape, logged.steps[after], start, end, floor)
            error = float(np.sqrt(np.mean((guess - logged.values[after] / peak) ** 2)))
            if error < best:
                found, best = _planned(shape, grid, start, end, floor), error
    return found


def _peak_end(logged: Past) -> float:
    """Return the last step at which the rate is at its peak."""
    high = np.flatnonzero(logged.values >= logged.values.max() * (1.0 - 1e-3))
    return float(logged.steps[high[-1]])


def _planned(shape: str, at: Array, start: float, end: float, floor: float) -> Array:
    """Return the rates of a decay from `start` to `end`, as shares of the peak."""
    done = np.clip((at - start) / max(end - start, 1e-12), 0.0, 1.0)
    fallen = done if shape == "linear" else 0.5 * (1.0 - np.cos(np.pi * done))
    return 1.0 - (1.0 - floor) * fallen
