"""Whether a run is worth going on with: the chance that its best value still improves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training_monitor.predict.constants import ODDS
from training_monitor.predict.families import traits
from training_monitor.predict.forecast import Expectation, expect
from training_monitor.predict.past import ANY, Goal, Kind, Past, is_lost, read_past

if TYPE_CHECKING:
    from training_monitor.predict.learning_rate import LearningRate

__all__ = ["CLUES", "Advice", "Stopper", "advise"]

Array = NDArray[np.float64]

# What the chance depends on; ODDS has a column per clue.
CLUES = (
    "one",
    "ahead",
    "since best",
    "left",
    "ahead x done",
    "since best x done",
    "rough",
    "steady",
    "few",
)
# A gain that is hardly worth a name: half a percent of the best value.
GAIN = 0.005
# Without a known end: as many steps again as the run already has.
DOUBLING = 2.0
# Further gains are looked for up to so many units of uncertainty above the prediction.
FARTHEST = 6.0


@dataclass(frozen=True, slots=True)
class Advice:
    """What going on may bring.

    Attributes:
        p_gain: The chance that the best value improves by more than `gain` before `end`.
        gain: The share of the best value that counts as an improvement.
        expected_gain: By how much the best value improves on average, in its own unit.
        expected_share: The same as a share of the best value; NaN where that is zero.
        best_value: The best value so far.
        best_step: The step of it: the checkpoint to keep.
        since_best: The share of the steps so far that passed without a better value; of curves with
            hundreds of points without a better median of neighbours, as a single one says little.
        end: Up to which step this looks: the planned end, or twice the last step.
        end_known: Whether `end` is the planned end.
        left: The share of all steps up to `end` that stopping now would save.
    """

    p_gain: float
    gain: float
    expected_gain: float
    expected_share: float
    best_value: float
    best_step: float
    since_best: float
    end: float
    end_known: bool
    left: float


class Stopper:
    """Says stop when the chance of a gain was below the limit twice in a row, at different steps.

    It goes on saying so until the chance is above `again`.
    """

    __slots__ = ("_again", "_below", "_limit", "_step", "_stop", "_times")

    def __init__(self, limit: float = 0.1, *, times: int = 2, again: float = 0.2) -> None:
        self._limit, self._times, self._again = limit, times, again
        self._below, self._stop = 0, False
        self._step = -np.inf

    def push(self, step: float, p_gain: float) -> bool:
        """Take the chance as it was at `step`; return whether to stop.

        The same step again changes nothing; a step that goes back (a restart) starts anew.
        """
        if step == self._step or not np.isfinite(p_gain):
            return self._stop
        if step < self._step:
            self._below, self._stop = 0, False
        self._step = step
        self._below = self._below + 1 if p_gain < self._limit else 0
        if self._below >= self._times:
            self._stop = True
        elif p_gain >= self._again:
            self._stop = False
        return self._stop


def advise(
    steps: ArrayLike,
    values: ArrayLike,
    *,
    end: float | None,
    goal: Goal,
    kind: Kind = "loss",
    gain: float = GAIN,
    lr: LearningRate | None = None,
    possible: tuple[float, float] = ANY,
) -> Advice | None:
    """Estimate what the steps up to `end` still bring.

    Args:
        steps: Steps of the curve so far.
        values: Its values; those that are not finite are skipped.
        end: The planned last step; None: look as far ahead as the run has come.
        goal: Whether a smaller or a larger value is better.
        kind: What the curve is.
        gain: The share of the best value that counts as an improvement.
        lr: The learning rate so far, where it is logged.
        possible: The least and the greatest value that it can have: none gains more.

    Returns:
        None where there is nothing to say: fewer than two finite points, none after step 0, or a
        curve that is lost, as after a divergence.
    """
    past = read_past(steps, values, goal=goal)
    if past is None or past.last_step <= 0.0 or is_lost(past):
        return None
    known = end is not None and bool(np.isfinite(end))
    horizon = max(float(end) / past.last_step, 1.0) if known and end is not None else DOUBLING
    ahead = expect(past, horizon, kind, lr)
    threshold = gain * abs(past.best)
    room = max(abs(possible[goal == "max"] - past.sign * past.best), 0.0)
    expected = min(_expected(past, ahead, horizon, kind), room)
    return Advice(
        p_gain=chance(past, ahead, horizon, kind, threshold) if threshold < room else 0.0,
        gain=gain,
        expected_gain=expected,
        expected_share=expected / abs(past.best) if past.best != 0.0 else float("nan"),
        best_value=past.sign * past.best,
        best_step=past.best_step,
        since_best=since_best(past),
        end=horizon * past.last_step,
        end_known=known,
        left=1.0 - 1.0 / horizon,
    )


def chance(past: Past, ahead: Expectation, horizon: float, kind: Kind, threshold: float) -> float:
    """Return the chance that the best value improves by more than `threshold`."""
    return float(chances(past, ahead, horizon, kind, np.array([threshold]))[0])


def chances(past: Past, ahead: Expectation, horizon: float, kind: Kind, thresholds: Array) -> Array:
    """Return the chance that the best value improves by more than each of `thresholds`."""
    if horizon <= 1.0:
        return np.zeros(thresholds.size)
    weights = np.array(ODDS["reward" if kind == "reward" else "other"])
    heads = clues(past, ahead, horizon, thresholds) @ weights
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(heads, -30.0, 30.0))))


def clues(past: Past, ahead: Expectation, horizon: float, thresholds: Array) -> Array:
    """Return a row of CLUES per threshold."""
    unit = ahead.scale + 0.25 * past.noise + 1e-9 * abs(past.top) + 1e-300
    distance = np.arcsinh((ahead.value - past.top - thresholds) / unit)
    done = 1.0 / horizon
    since = since_best(past)
    seen, few = traits(past, horizon), past.values.size**-0.5
    found = np.empty((thresholds.size, len(CLUES)))
    found[:] = (1.0, 0.0, since, np.log(horizon), 0.0, since * done, seen[3], seen[2], few)
    found[:, 1], found[:, 4] = distance, distance * done
    return found


def since_best(past: Past) -> float:
    """Return the share of the steps so far that passed without a better value."""
    return min(max(1.0 - past.top_step / past.last_step, 0.0), 1.0)


def _expected(past: Past, ahead: Expectation, horizon: float, kind: Kind) -> float:
    """Return the mean gain: the chances of all gains, added up."""
    top = max(ahead.value - past.top, 0.0) + FARTHEST * ahead.scale
    gains = np.linspace(0.0, top, 33)
    found = chances(past, ahead, horizon, kind, gains)
    return float(((found[1:] + found[:-1]) / 2.0 * np.diff(gains)).sum())
