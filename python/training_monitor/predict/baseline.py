"""A run beside another one: at the same step, after the same time, for the same money."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, nan, sqrt
from typing import TYPE_CHECKING

import numpy as np

from training_monitor.predict.wording import duration, money, number
from training_monitor.predict.wording import step as said_step

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = ["AXES", "Comparison", "Curve", "compare"]

AXES = ("step", "time", "cost")
# A value is the median of what lies in this share of the way so far, so that one noisy point
# decides nothing; where fewer than MIN_POINTS lie there, it is read off the line between points.
SPAN = 0.02
MIN_POINTS = 5
# The baseline is looked at in so many places at most.
PLACES = 2000
# A difference below so many standard errors is none.
LEAST_SIGMA = 2.0


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric of one run.

    Attributes:
        steps: Its steps, in any order.
        values: Its values; those that are not finite are left out.
        seconds: Seconds of training at each point, from the start of the run; None: not known.
        cost_per_second: Money per second, of all its GPUs; None: not known.
    """

    steps: ArrayLike
    values: ArrayLike
    seconds: ArrayLike | None = None
    cost_per_second: float | None = None

    def along(self, axis: str) -> tuple[Floats, Floats] | None:
        """Return places on one of AXES, growing, and the values there; None: it has none."""
        places = np.asarray(self.steps if axis == "step" else self.seconds, dtype=np.float64)
        if axis == "cost":
            places = places * (nan if self.cost_per_second is None else self.cost_per_second)
        values = np.asarray(self.values, dtype=np.float64).ravel()
        places = places.ravel()
        size = min(places.size, values.size)
        good = np.isfinite(places[:size]) & np.isfinite(values[:size])
        if not good.any():
            return None
        places, values = places[:size][good], values[:size][good]
        order = np.argsort(places, kind="stable")
        return places[order], values[order]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run beside its baseline at one place of one axis.

    Attributes:
        axis: One of AXES.
        at: The place: where the run is, or where the baseline ended if that is earlier.
        value: What the run has there.
        baseline: What the baseline had there.
        difference: `value` - `baseline`.
        sigma: The difference in standard errors; NaN: there are too few points to know the noise.
        standing: "ahead", "behind" or "level".
        lead: How much farther on the axis the baseline needed for this value, negative where it
            needed less; None: it never had it.
        text: One sentence.
    """

    axis: str
    at: float
    value: float
    baseline: float
    difference: float
    sigma: float
    standing: str
    lead: float | None
    text: str


def compare(
    run: Curve, baseline: Curve, *, goal: str = "min", axis: str = "step", name: str = "this value"
) -> Comparison | None:
    """Compare a run with a baseline.

    Args:
        run: The run.
        baseline: The run to compare with.
        goal: Whether "min" or "max" is better.
        axis: One of AXES.
        name: What the metric is called in the sentence, as "this loss".

    Returns:
        None where they have no common place: a curve is empty or lacks the axis, or the baseline
        begins later than the run is.
    """
    mine, theirs = run.along(axis), baseline.along(axis)
    if mine is None or theirs is None or theirs[0][0] > mine[0][-1] or mine[0][0] > theirs[0][-1]:
        return None
    ended = theirs[0][-1] < mine[0][-1]
    at = float(min(mine[0][-1], theirs[0][-1]))
    span = SPAN * (at - float(min(mine[0][0], theirs[0][0])))
    value, error = _value_at(*mine, at, span)
    other, other_error = _value_at(*theirs, at, span)
    difference = value - other
    noise = sqrt(error**2 + other_error**2)
    sigma = difference / noise if noise > 0.0 else nan
    standing = _standing(difference, sigma, goal)
    lead = _lead(theirs, value, at, span, goal)
    return Comparison(
        axis=axis,
        at=at,
        value=value,
        baseline=other,
        difference=difference,
        sigma=sigma,
        standing=standing,
        lead=lead,
        text=_text(axis, at, value, other, standing, lead, ended=ended, name=name),
    )


def _value_at(places: Floats, values: Floats, at: float, span: float) -> tuple[float, float]:
    """Return the value at a place and its standard error; NaN: it cannot be told."""
    first, stop = np.searchsorted(places, [at - span, at], side="right")
    near = values[first:stop]
    if near.size < MIN_POINTS:
        return float(np.interp(at, places, values)), nan
    spread = 1.4826 * float(np.median(np.abs(near - np.median(near))))
    return float(np.median(near)), 1.2533 * spread / sqrt(near.size)


def _standing(difference: float, sigma: float, goal: str) -> str:
    if difference == 0.0 or abs(sigma) < LEAST_SIGMA:
        return "level"
    return "ahead" if (difference < 0.0) == (goal == "min") else "behind"


def _lead(
    theirs: tuple[Floats, Floats], value: float, at: float, span: float, goal: str
) -> float | None:
    """Return how much behind `at` the baseline first had the value; None: it never had."""
    places, values = theirs
    every = max(len(places) // PLACES, 1)
    looked = places[len(places) - 1 :: -every][::-1]
    smooth = np.array([_value_at(places, values, place, span)[0] for place in looked])
    had = np.flatnonzero(smooth <= value if goal == "min" else smooth >= value)
    if had.size == 0:
        return None
    first = int(had[0])
    if first == 0:
        return float(looked[0]) - at
    before, behind = smooth[first - 1], smooth[first]
    part = (value - before) / (behind - before) if behind != before else 1.0
    place = looked[first - 1] + part * (looked[first] - looked[first - 1])
    return float(place) - at


def _text(
    axis: str,
    at: float,
    value: float,
    other: float,
    standing: str,
    lead: float | None,
    *,
    ended: bool,
    name: str,
) -> str:
    """Say it as "0.03 lower than the baseline at step 12,000; the baseline had this loss …"."""
    place = {"step": f"step {said_step(at)}", "time": duration(at), "cost": money(at)}[axis]
    where = {"step": "at", "time": "after", "cost": "for"}[axis] + f" {place}"
    if ended:
        where += ", where the baseline ended"
    if standing == "level":
        return f"level with the baseline {where}: {number(value)}, baseline {number(other)}"
    size, way = number(abs(value - other), 2), "lower" if value < other else "higher"
    told = f"{size} {way} than the baseline {where}"
    if lead is None:
        return f"{told}; the baseline never had {name}"
    amount = {
        "step": f"{said_step(round(abs(lead)))} steps",
        "time": duration(abs(lead)),
        "cost": money(abs(lead)),
    }[axis]
    if isnan(lead) or lead == 0.0:
        return told
    if axis == "cost":
        return f"{told}; the baseline had {name} for {amount} {'more' if lead > 0 else 'less'}"
    return f"{told}; the baseline had {name} {amount} {'later' if lead > 0 else 'earlier'}"
