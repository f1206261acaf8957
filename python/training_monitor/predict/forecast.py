"""The value a curve will end at, with an interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training_monitor.predict.constants import GATES, QUANTILES, SCALES
from training_monitor.predict.families import LEVELS, MAX_GAIN, TRENDS, levels, traits, trends
from training_monitor.predict.learning_rate import LearningRate, clock_of, rate_gain
from training_monitor.predict.past import ANY, Goal, Kind, Past, is_lost, read_past

__all__ = ["Forecast", "forecast"]

Array = NDArray[np.float64]

# Shares of the distribution at which QUANTILES are kept: the bounds of 90, 80 and 50 %.
SHARES = (0.05, 0.1, 0.25, 0.75, 0.9, 0.95)
# How much of the gain comes from the learning rate where it is known and tells how it goes on.
RATE_SHARE = 2.0 / 3.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """The value at the end of a run.

    Attributes:
        value: What is most likely.
        low_50: With `high_50`, the bounds between which it ends in 50 of 100 runs; and so on.
        end: The step it is for.
        scale: The unit of the uncertainty, in the unit of the metric; 0 where nothing is to come.
        method: The level and the trend that weigh most, in words.
    """

    value: float
    low_50: float
    high_50: float
    low_80: float
    high_80: float
    low_90: float
    high_90: float
    end: float
    scale: float
    method: str


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the past says about the end, larger is better."""

    value: float
    scale: float
    method: str


def forecast(
    steps: ArrayLike,
    values: ArrayLike,
    *,
    end: float | None,
    goal: Goal,
    kind: Kind = "loss",
    lr: LearningRate | None = None,
    possible: tuple[float, float] = ANY,
) -> Forecast | None:
    """Predict the value at step `end`.

    Args:
        steps: Steps of the curve so far.
        values: Its values; those that are not finite are skipped.
        end: The planned last step; None: not known.
        goal: Whether a smaller or a larger value is better.
        kind: What the curve is.
        lr: The learning rate so far, where it is logged.
        possible: The least and the greatest value that it can have.

    Returns:
        None where there is nothing to say: no end is known, fewer than two finite points, no
        point after step 0, or a curve that is lost, as after a divergence. Where the end has
        passed already, the last value.
    """
    past = read_past(steps, values, goal=goal)
    if past is None or end is None or not np.isfinite(end) or past.last_step <= 0.0:
        return None
    if is_lost(past) and end > past.last_step:
        return None
    ahead = expect(past, end / past.last_step, kind, lr)
    bounds = np.sort(past.sign * (ahead.value + ahead.scale * np.array(QUANTILES[kind])))
    bounds = np.clip(bounds, *possible)
    low_90, low_80, low_50, high_50, high_80, high_90 = (float(bound) for bound in bounds)
    return Forecast(
        value=float(np.clip(past.sign * ahead.value, *possible)),
        low_50=low_50,
        high_50=high_50,
        low_80=low_80,
        high_80=high_80,
        low_90=low_90,
        high_90=high_90,
        end=float(end),
        scale=ahead.scale,
        method=ahead.method,
    )


def expect(past: Past, horizon: float, kind: Kind, lr: LearningRate | None = None) -> Expectation:
    """Return what to expect at `horizon` times the last step."""
    if horizon <= 1.0:
        return Expectation(value=past.last, scale=0.0, method="the last value")
    seen = traits(past, horizon)
    heads = seen @ np.array(GATES[kind])
    level_share = _shares(heads[: len(LEVELS)])
    trend_share = _shares(heads[len(LEVELS) :])
    at, gains = levels(past), trends(past, horizon)
    gain = float(trend_share @ gains)
    method = f"{LEVELS[int(level_share.argmax())]}, {TRENDS[int(trend_share.argmax())]}"
    clock = clock_of(lr, past, horizon * past.last_step) if lr is not None else None
    if clock is not None:
        room = MAX_GAIN * past.span
        gain += RATE_SHARE * (min(max(rate_gain(past, clock), -room), room) - gain)
        method = f"{LEVELS[int(level_share.argmax())]}, learning rate"
    weights = np.array(SCALES[kind])
    width = float(np.exp(np.clip(weights @ doubts(past, at, gains, seen), -20.0, 20.0)))
    return Expectation(
        value=past.last + float(level_share @ at) + gain,
        scale=width * unit_of(past),
        method=method,
    )


def doubts(past: Past, at: Array, gains: Array, seen: Array) -> Array:
    """Return what the width of the interval depends on, without a unit."""
    unit = unit_of(past)
    return np.array(
        [
            *seen,
            np.log(float(np.std(gains)) / unit + 0.01),
            np.log(float(np.std(at)) / unit + 0.01),
        ]
    )


def unit_of(past: Past) -> float:
    """Return the span of the past, or a thousandth of its height where it has nearly none."""
    return max(past.span, past.noise, 1e-3 * abs(past.last), 1e-300)


def _shares(heads: Array) -> Array:
    """Return weights that add up to one."""
    raised = np.exp(heads - heads.max())
    return np.asarray(raised / raised.sum())
