"""One curve's past as predictors read it: finite, in order, thinned, larger is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ANY", "Goal", "Kind", "Past", "is_lost", "read_past"]

Goal = Literal["min", "max"]
Kind = Literal["loss", "score", "error", "reward"]
Array = NDArray[np.float64]
# The bounds of a metric that has none.
ANY = (-np.inf, np.inf)

# Curves with more points than this are noisy logs of steps: they are read as medians of stretches.
MAX_WHOLE = 1024
MAX_POINTS = 192
# Of longer curves about so many points are read, evenly spread; the best is looked for in all.
MAX_READ = 4096
# How far a point may stand from the median of its neighbours before it is pulled in, in sigma.
SPIKE_SIGMA = 5.0
# A curve is lost when it is worse than its best by so many times what it had gained until then, and
# by so many times the best value, and by so many sigma. Overfitting seldom goes as far.
LOST_GAINS, LOST_SHARE, LOST_SIGMA = 3.0, 2.0, 5.0
LEVEL = 5


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of a curve, larger is better.

    Attributes:
        steps: Steps, growing, thinned.
        values: Values at `steps`, multiplied by `sign`; medians where the curve was thinned.
        smooth: `values` with single spikes pulled in.
        sign: 1 where a larger value is better, -1 where a smaller one is.
        best: The best of all finite values, multiplied by `sign`; those before a restart, too.
        best_step: The step of `best`, the first where several are equal.
        top: The best of `values`. Of a long noisy curve `best` is an outlier, and this is not.
        top_step: The step of `top`.
        noise: Robust standard deviation of what jumps from point to point.
        span: How far the values lie apart, without the outermost 3 percent on either side.
    """

    steps: Array
    values: Array
    smooth: Array
    sign: float
    best: float
    best_step: float
    top: float
    top_step: float
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
    place = _best_place(all_values, goal)
    if place is None:
        return None
    at, seen = _in_order(*_sample(all_steps, all_values))
    if at.size < 2:
        return None
    thin_at, thin = _thin(at, seen)
    signed = sign * thin
    noise = _noise(signed)
    low, high = np.percentile(signed, [3.0, 97.0])
    return Past(
        steps=thin_at,
        values=signed,
        smooth=_without_spikes(signed, noise),
        sign=sign,
        best=float(sign * all_values[place]),
        best_step=float(all_steps[place]),
        top=float(signed.max()),
        top_step=float(thin_at[int(np.argmax(signed))]),
        noise=noise,
        span=float(high - low),
    )


def is_lost(past: Past) -> bool:
    """Return whether a curve of which less is better is so far from its best that it diverged.

    How it went tells nothing then of how it will go on.
    """
    if past.sign > 0 or past.values.size < 2 * LEVEL:
        return False
    levels = np.median(np.lib.stride_tricks.sliding_window_view(past.values, LEVEL), axis=1)
    at = int(np.argmax(levels))
    best = float(levels[at])
    gained, lost = best - float(levels[0]), best - float(levels[-1])
    # What is wild now would hide itself.
    calm = past.values[: at + LEVEL]
    noise = _noise(calm) if calm.size >= 2 * LEVEL else past.noise
    return lost > max(LOST_GAINS * gained, LOST_SHARE * abs(best), LOST_SIGMA * noise)


def _best_place(values: Array, goal: Goal) -> int | None:
    """Return where the best finite value is; None: there is none."""
    if values.size == 0:
        return None
    # Both skip NaN, which costs nothing; copies of a long curve would.
    best = (np.fmax if goal == "max" else np.fmin).reduce(values)
    if np.isinf(best):
        fine = np.isfinite(values)
        if not fine.any():
            return None
        best = values[fine].max() if goal == "max" else values[fine].min()
    elif np.isnan(best):
        return None
    return int(np.argmax(values == best))


def _sample(steps: Array, values: Array) -> tuple[Array, Array]:
    """Return every so many-th point of a long curve, the last among them."""
    stride = values.size // MAX_READ
    if stride < 2:
        return steps, values
    first = (values.size - 1) % stride
    return steps[first::stride], values[first::stride]


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
    if values.size <= MAX_WHOLE:
        return steps, values
    stretch = values.size // MAX_POINTS
    # The first points are left out, not the last: the end is what matters.
    start = values.size - stretch * MAX_POINTS
    shape = (MAX_POINTS, stretch)
    at = steps[start:].reshape(shape)[:, -1]
    return at.copy(), np.median(values[start:].reshape(shape), axis=1)


def _noise(values: Array) -> float:
    """Return the robust standard deviation of noise, from second differences."""
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
