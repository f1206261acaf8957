"""How a metric will end, and whether that is worth the rest of the run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training_monitor.answers import boxed, numbers
from training_monitor.detect.headline import choose
from training_monitor.detect.meaning import possible
from training_monitor.predict.advice import Stopper, advise
from training_monitor.predict.forecast import forecast
from training_monitor.predict.learning_rate import LearningRate
from training_monitor.predict.past import ANY
from training_monitor.predict.phase import Phase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training_monitor import _core
    from training_monitor.detect.meaning import Meaning
    from training_monitor.judge.judge import Judge
    from training_monitor.predict.advice import Advice
    from training_monitor.predict.forecast import Forecast

    Points = tuple[NDArray[np.int64], NDArray[np.float64]]

__all__ = ["Prospect", "Prospects", "points_of", "prospect_of"]

_MOST_POINTS = 4000
# Below so many points nothing is said of the end.
_LEAST_POINTS = 5
# Advice to stop costs more when it is wrong.
_LEAST_TO_STOP = 12
_KINDS = frozenset(("loss", "score", "error", "reward"))


@dataclass(frozen=True, slots=True)
class Prospect:
    """How a metric will end.

    Attributes:
        metric: Its name.
        goal: "min" or "max".
        step: The last step of it.
        value: The last value of it.
        forecast: The final value; None: the end of the run is not known.
        advice: What going on may bring; None: too little is known.
        stop: Whether it is better to stop: the chance of a gain was low twice in a row.
    """

    metric: str
    goal: str
    step: int
    value: float
    forecast: Forecast | None
    advice: Advice | None
    stop: bool


class Prospects:
    """Looks ahead for the headline metric of one run.

    Args:
        reader: The run.
    """

    def __init__(self, reader: _core.RunReader) -> None:
        self._reader = reader
        self._stopper = Stopper()
        self._metric = ""

    def look(self, judge: Judge) -> Prospect | None:
        """Return how the headline will end; None: there is none, or too little of it."""
        metric = judge.watch.headline
        if metric is None:
            return None
        meaning = judge.watch.meanings[metric]
        if meaning.kind not in _KINDS or meaning.goal is None:
            return None
        steps, values = points_of(self._reader, metric)
        if len(steps) < _LEAST_POINTS:
            return None
        if metric != self._metric:
            self._metric, self._stopper = metric, Stopper()
        total = judge.total()
        return prospect_of(
            metric,
            meaning,
            (steps, values),
            end=None if total is None else float(total.steps),
            lr=self._rate(judge),
            stopper=self._stopper,
            diverges=judge.phase is Phase.DIVERGING,
        )

    def _rate(self, judge: Judge) -> LearningRate | None:
        name = choose(judge.watch.meanings, "lr")
        if name is None:
            return None
        steps, values = points_of(self._reader, name)
        return LearningRate(steps, values) if len(steps) > 1 else None


def prospect_of(
    metric: str,
    meaning: Meaning,
    points: Points,
    *,
    end: float | None,
    lr: LearningRate | None,
    stopper: Stopper,
    diverges: bool = False,
) -> Prospect:
    """Return how a metric will end, from its points so far.

    Args:
        metric: Its name.
        meaning: What it was taken for; which way is better must be known.
        points: Steps and values.
        end: The step at which the run ends; None: not known.
        lr: The learning rate so far; None: not known.
        stopper: What was looked at before.
        diverges: Whether the run diverges now: then nothing is said of its end.
    """
    steps, values = points
    facts = {
        "end": end,
        "goal": meaning.goal,
        "kind": meaning.kind,
        "lr": lr,
        "possible": _possible(meaning, values),
    }
    advice = None if diverges else advise(steps, values, **facts)  # type: ignore[arg-type]
    stop = False
    if advice is not None and len(steps) >= _LEAST_TO_STOP:
        stop = stopper.push(float(steps[-1]), advice.p_gain)
    return Prospect(
        metric=metric,
        goal=meaning.goal or "min",
        step=int(steps[-1]),
        value=float(values[-1]),
        forecast=None if diverges else forecast(steps, values, **facts),  # type: ignore[arg-type]
        advice=advice,
        stop=stop,
    )


def _possible(meaning: Meaning, values: NDArray[np.float64]) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return possible(meaning, float(known.min()), float(known.max())) if len(known) else ANY


def points_of(reader: _core.RunReader, metric: str) -> Points:
    """Return steps and values of a metric, thinned where there are many; of rank 0 alone."""
    try:
        steps, _, values, ranks, _ = reader.series(metric, max_points=_MOST_POINTS)
    except KeyError:
        return np.empty(0, np.int64), np.empty(0)
    first = np.asarray(ranks) == 0
    known = numbers(boxed(values) if isinstance(values, list) else np.asarray(values))
    return np.asarray(steps)[first], known[first]
