"""The seconds that are left, and what says how far they may be off."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, sqrt
from typing import TYPE_CHECKING

import numpy as np

from training_monitor.predict.pauses import expected_share, find_periodic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training_monitor.predict.rates import RatesView

    Floats = NDArray[np.float64]

__all__ = ["EtaRules", "Outlook", "Part", "Signs", "look_ahead"]

# Into so many blocks of equal steps the run so far is cut to see trend and noise.
BLOCKS = 16
# A trend makes steps at most e times slower, and at most twice as fast.
TREND_BOUNDS = (-log(2.0), 1.0)


@dataclass(frozen=True, slots=True)
class EtaRules:
    """What the estimate rests on.

    Attributes:
        window: The share of the steps so far, the last ones, whose mean rate counts.
        trend_t2: How many squared standard errors the trend of the log rate must be away from zero;
            beyond that it counts the more the farther it is.
        trend_reach: How far a trend is carried on, in multiples of the run so far.
        expected_growth: How much the log rate of what is left lies above the present one, per
            share of the run that is left, where no trend is visible.
    """

    window: float = 1.0 / 3.0
    trend_t2: float = 25.0
    trend_reach: float = 1.0
    expected_growth: float = 0.0


@dataclass(frozen=True, slots=True)
class Part:
    """A share of the time that is left.

    Attributes:
        kind: "steps", "evaluations", or "pauses": checkpoints and whatever else takes longer.
        seconds: How long all of it takes.
        count: How many there are; None: they do not come back regularly.
        period: Every how many steps; None as for `count`.
    """

    kind: str
    seconds: float
    count: int | None = None
    period: float | None = None


@dataclass(frozen=True, slots=True)
class Signs:
    """What in the past says how far the estimate may be off; all are logarithms, so free of scale.

    Attributes:
        shift: How much the rate moved from the time before the window to the window.
        noise: The standard error of the rate in the window, from the differences of its blocks.
        growth: How much slower steps are expected to become although nothing in the rates says so.
        few: Large where the increments are too few to show noise.
    """

    shift: float
    noise: float
    growth: float
    few: float


@dataclass(frozen=True, slots=True)
class Outlook:
    """The parts of the time left, the rate ahead in seconds per step, and how sure that is."""

    parts: tuple[Part, ...]
    rate: float
    growth: float
    signs: Signs

    @property
    def seconds(self) -> float:
        """All parts together."""
        return sum(part.seconds for part in self.parts)


def look_ahead(
    view: RatesView, *, step: float, total: float, evaluations: Floats, rules: EtaRules
) -> Outlook:
    """Carry the rates of the last part of a run on to its end."""
    periodic, rest = find_periodic(
        view.pauses,
        granularity=view.granularity,
        first_step=view.first_step,
        evaluations=evaluations,
    )
    seconds = view.seconds + view.excess * expected_share(view.pauses, rest)
    behind = float(view.steps.sum())
    left = max(total - step, 0.0)
    level, before = _levels(view.steps, seconds, rules.window)
    logs = _log_rates(view.steps, seconds)
    slope = _trend(logs, rules.trend_t2)
    # From the middle of the window to the middle of what is left, in multiples of the run so far.
    way = min(rules.window / 2.0 + left / behind / 2.0, rules.trend_reach)
    expected = rules.expected_growth * left / (behind + left) if slope == 0.0 else 0.0
    growth = min(max(slope * way, TREND_BOUNDS[0]), TREND_BOUNDS[1]) + expected
    parts = [Part("steps", level * exp(growth) * left)]
    for one in periodic:
        count = one.left(step, total)
        parts.append(Part(one.kind, count * one.seconds, count, one.period))
    signs = Signs(
        shift=abs(log(level / before)) if level > 0.0 and before > 0.0 else 0.0,
        noise=_roughness(logs) / sqrt(max(rules.window * len(logs), 1.0)),
        growth=expected,
        few=0.1 * exp(-2.0 * (min(view.increments, 50) - 1)),
    )
    return Outlook(tuple(parts), level * exp(growth), growth, signs)


def _levels(steps: Floats, seconds: Floats, window: float) -> tuple[float, float]:
    """Return the mean rate in the window and before it; where nothing is before, the same twice."""
    ends = np.cumsum(steps)
    inside = ends > ends[-1] * (1.0 - window)
    level = float(seconds[inside].sum() / steps[inside].sum())
    if inside.all():
        return level, level
    return level, float(seconds[~inside].sum() / steps[~inside].sum())


def _log_rates(steps: Floats, seconds: Floats) -> Floats:
    """Return (place, log rate) of blocks of equal steps, places in multiples of the run so far."""
    ends = np.cumsum(steps)
    if len(steps) <= BLOCKS:
        width, took = steps, seconds
    else:
        block = np.minimum((BLOCKS * (ends - steps / 2.0) / ends[-1]).astype(int), BLOCKS - 1)
        width = np.bincount(block, steps, BLOCKS).astype(np.float64)
        took = np.bincount(block, seconds, BLOCKS).astype(np.float64)
    good = (width > 0.0) & (took > 0.0)
    places = (np.cumsum(width) - width / 2.0) / ends[-1]
    return np.column_stack((places[good], np.log(took[good] / width[good])))


def _trend(logs: Floats, least_t2: float) -> float:
    """Return the slope of the log rate per run so far, as far as it is beyond doubt."""
    count = len(logs)
    if count < 4:
        return 0.0
    place = logs[:, 0] - logs[:, 0].mean()
    value = logs[:, 1] - logs[:, 1].mean()
    spread = float(place @ place)
    if spread <= 0.0:
        return 0.0
    slope = float(place @ value) / spread
    rest = value - slope * place
    power = float(rest @ rest)
    # Neighbours that err alike are worth less than as many independent ones.
    echo = min(max(float(rest[1:] @ rest[:-1]) / power, 0.0), 0.9) if power > 0.0 else 0.0
    error2 = power / (count - 2) * (1.0 + echo) / (1.0 - echo) / spread
    t2 = slope * slope / max(error2, 1e-12)
    return slope * max(1.0 - least_t2 / t2, 0.0) if t2 > 0.0 else 0.0


def _roughness(logs: Floats) -> float:
    """Return the standard deviation of the log rate of a block, from its differences."""
    if len(logs) < 2:
        return 0.0
    change = np.diff(logs[:, 1])
    return sqrt(float(change @ change) / len(change) / 2.0)
