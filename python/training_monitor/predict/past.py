"""One curve's past as predictors read it: finite, in order, thinned, larger is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Goal", "Kind", "Past", "read_past"]

Goal = Literal["min", "max"]
Kind = Literal["loss", "score", "error", "reward"]
Array = NDArray[np.float64]

# Curves with more points than this are read as medians of as many stretches.
MAX_POINTS = 192
# A median is taken of at most so many points of its stretch, so that the work stays bounded.
POINTS_PER_MEDIAN = 33
# How far a point may stand from the median of its neighbours before it is pulled in, in sigma.
SPIKE_SIGMA = 5.0


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of a curve, larger is better.

    Attributes:
        steps: Steps, growing, thinned.
        values: Values at `steps`, multiplied by `sign`; medians where the curve was thinned.
        smooth: `values` with single spikes pulled in.
        sign: 1 where a larger value is better, -1 where a smaller one is.
        count: How many finite points there were.
        best: The best of all finite values, multiplied by `sign`.
        best_step: The step of `best`, the first where several are equal.
        noise: Robust standard deviation of what jumps from point to point.
        span: How far the values lie apart, without the outermost 3 percent on either side.
    """

    steps: Array
    values: Array
    smooth: Array
    sign: float
    count: int
    best: float
    best_step: float
    noise: float
    span: float

    @property
    def last(self) -> float:
        """The newest value, multiplied by `sign`."""
        return float(self.values[-1])

    @property
    def last_step(self) -> float:
        """The newest step."""
        return float(self.steps[-1])


def read_past(steps: ArrayLike, values: ArrayLike, *, goal: Goal) -> Past | None:
    """Read one curve; None: fewer than two finite points at different steps.

    Where steps go back (a restart), the later points count and hide the earlier ones from their
    first step on.
    """
    all_steps = np.asarray(steps, dtype=np.float64).ravel()
    all_values = np.asarray(values, dtype=np.float64).ravel()
    if all_steps.size != all_values.size:
        raise ValueError(f"{all_steps.size} steps, but {all_values.size} values: as many of both")
    sign = 1.0 if goal == "max" else -1.0
    at, seen = _in_order(all_steps, all_values)
    if at.size < 2:
        return None
    place = int(np.argmax(seen) if goal == "max" else np.argmin(seen))
    thin_at, thin = _thin(at, seen)
    signed = sign * thin
    noise = _noise(signed)
    low, high = np.percentile(signed, [3.0, 97.0])
    return Past(
        steps=thin_at,
        values=signed,
        smooth=_without_spikes(signed, noise),
        sign=sign,
        count=int(at.size),
        best=float(sign * seen[place]),
        best_step=float(at[place]),
        noise=noise,
        span=float(high - low),
    )


def _in_order(steps: Array, values: Array) -> tuple[Array, Array]:
    """Return the finite points with growing steps."""
    fine = np.isfinite(values) & np.isfinite(steps)
    if not fine.all():
        steps, values = steps[fine], values[fine]
    if steps.size > 1 and not (steps[1:] > steps[:-1]).all():
        # The smallest step that comes later hides everything from it on.
        later = np.minimum.accumulate(steps[::-1])[::-1]
        keep = np.append(steps[:-1] < later[1:], True)
        steps, values = steps[keep], values[keep]
    return steps, values


def _thin(steps: Array, values: Array) -> tuple[Array, Array]:
    """Return medians of MAX_POINTS stretches with equally many points; short curves as they are."""
    stretch = values.size // MAX_POINTS
    if stretch < 2:
        return steps, values
    # The first points are left out, not the last: the end is what matters.
    start = values.size - stretch * MAX_POINTS
    stride = max(1, stretch // POINTS_PER_MEDIAN)
    shape = (MAX_POINTS, stretch)
    middle = np.median(values[start:].reshape(shape)[:, ::stride], axis=1)
    at = steps[start:].reshape(shape)[:, -1]
    return at.copy(), middle


def _noise(values: Array) -> float:
    """Return the robust standard deviation of noise, from second differences where there are some."""
    if values.size < 4:
        return float(np.std(np.diff(values))) / 1.4142 if values.size > 2 else 0.0
    bend = values[2:] - 2.0 * values[1:-1] + values[:-2]
    return float(1.4826 * np.median(np.abs(bend)) / 2.4495)


def _without_spikes(values: Array, noise: float) -> Array:
    """Return the values, each at most SPIKE_SIGMA away from the median of its neighbours."""
    if values.size < 7 or noise <= 0.0:
        return values
    padded = np.concatenate([values[:1].repeat(2), values, values[-1:].repeat(2)])
    middle = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    room = SPIKE_SIGMA * noise
    return np.clip(values, middle - room, middle + room)
