"""How long a run still takes, with the interval in which that lies."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, isfinite, sqrt
from typing import TYPE_CHECKING

import numpy as np

from training_monitor.predict.outlook import EtaRules, Outlook, Part, Signs, look_ahead
from training_monitor.predict.rates import Rates
from training_monitor.predict.wording import duration

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["GENERATING", "LEVELS", "Eta", "EtaEstimator", "EtaRules", "Part", "eta", "spread"]

# The shares of runs, in per cent, that the intervals are made to hold for.
LEVELS = (50, 80, 90)
# How many spreads the interval goes down and up from the estimate, and of what a spread is made.
# benches/detection/fit/eta.py prints them.
QUANTILES = {50: (0.25, 1.1), 80: (1.25, 2.9), 90: (2.9, 5.7)}
WEIGHTS = {"shift": 0.55, "noise": 0.7, "growth": 0.8, "few": 1.0}
FLOOR = 0.002
# For runs that generate what they learn from, as GRPO and PPO of language models do: answers grow
# longer, and the steps with them, mostly later than a trend could show it.
GENERATING = EtaRules(expected_growth=0.25)
# Evaluations of which the step is kept.
MAX_EVALUATIONS = 256


@dataclass(frozen=True, slots=True)
class Eta:
    """How long a run still takes.

    Attributes:
        seconds: The estimate.
        low: The lower ends of the intervals, by level in per cent.
        high: Their upper ends.
        step: The last step that was seen.
        total: The step at which the run ends.
        parts: What the seconds are made of, counted from the last point.
        rate: Seconds per step from here on, pauses aside.
        growth: By which factor steps are slower from here on than lately; 1.0: no trend was found.
        confidence: "high", "medium" or "low": by how wide the 80 % interval is.
    """

    seconds: float
    low: dict[int, float]
    high: dict[int, float]
    step: float
    total: float
    parts: tuple[Part, ...]
    rate: float
    growth: float
    confidence: str

    def __str__(self) -> str:
        low, high = duration(self.low[80]), duration(self.high[80])
        between = low if low == high else f"{low} to {high}"
        return f"{duration(self.seconds)} ({between} with 80%, confidence {self.confidence})"


class EtaEstimator:
    """Learns how long the steps of one run take.

    Memory is bounded however long the run is. What it says does not depend on how points were
    batched.
    """

    def __init__(self, rules: EtaRules | None = None) -> None:
        self._rules = rules or EtaRules()
        self._rates = Rates()
        self._evaluations = np.empty(0)

    def push(self, step: float, time: float) -> None:
        """Take one point."""
        self._rates.push_many([step], [time])

    def push_many(self, steps: ArrayLike, times: ArrayLike) -> None:
        """Take points in the order of arrival."""
        self._rates.push_many(steps, times)

    def evaluated(self, steps: ArrayLike) -> None:
        """Take the steps at which evaluations were logged: long gaps there are evaluations."""
        new = np.asarray(steps, dtype=np.float64).ravel()
        self._evaluations = np.union1d(self._evaluations, new[np.isfinite(new)])[-MAX_EVALUATIONS:]

    def resumed(self, *, gap_seconds: float = 0.0) -> None:
        """Leave the gap before the next point out: another attempt begins.

        Args:
            gap_seconds: How much of the gap to expect again, as where a queue lets a job run for so
                many hours at a time; once such gaps were seen twice they count.
        """
        self._rates.break_off(gap_seconds)

    def outlook(self, total: float) -> Outlook | None:
        """Return the parts of what is left and what says how sure it is; None as for `estimate`."""
        view = self._rates.view()
        step = self._rates.last_step
        if step is None or view.increments == 0 or not isfinite(total):
            return None
        return look_ahead(
            view, step=step, total=total, evaluations=self._evaluations, rules=self._rules
        )

    def estimate(self, total: float, *, now: float | None = None) -> Eta | None:
        """Say how long it takes from the last point, or from `now`, to the step `total`.

        Args:
            total: The last step of the run. Where it is behind already, nothing is left.
            now: Wall clock, in seconds since 1970: what passed since the last point is taken
                off, but a run that hangs comes nearer to its end by one point at most.

        Returns:
            None where too little is known: no two points, or a total that is no number.
        """
        ahead = self.outlook(total)
        step = self._rates.last_step
        if ahead is None or step is None:
            return None
        seconds = ahead.seconds
        left = max(total - step, 0.0)
        if now is not None and isfinite(now) and left > 0.0:
            waited = max(now - self._rates.last_time, 0.0)
            next_point = min(self._rates.view().granularity / left, 1.0)
            seconds = max(seconds - waited, seconds * (1.0 - next_point))
        width = spread(ahead.signs)
        low = {level: seconds * exp(-down * width) for level, (down, _) in QUANTILES.items()}
        high = {level: seconds * exp(up * width) for level, (_, up) in QUANTILES.items()}
        return Eta(
            seconds=seconds,
            low=low,
            high=high,
            step=step,
            total=total,
            parts=ahead.parts,
            rate=ahead.rate,
            growth=exp(ahead.growth),
            confidence=_confidence(QUANTILES[80][1] * width),
        )


def eta(
    steps: ArrayLike,
    times: ArrayLike,
    *,
    total: float,
    now: float | None = None,
    rules: EtaRules | None = None,
) -> Eta | None:
    """Say how long a run with these points takes up to `total`; None: too little is known."""
    estimator = EtaEstimator(rules)
    estimator.push_many(steps, times)
    return estimator.estimate(total, now=now)


def spread(signs: Signs) -> float:
    """Return how far an estimate is usually off, as a logarithm."""
    weighted = (weight * getattr(signs, name) for name, weight in WEIGHTS.items())
    return min(sqrt(FLOOR**2 + sum(one * one for one in weighted)), 2.0)


def _confidence(upward: float) -> str:
    if upward < 0.1:
        return "high"
    return "medium" if upward < 0.3 else "low"
