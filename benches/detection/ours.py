"""The systems under test of this package, behind the interfaces of the scorer.

Each is imported when it is asked for; what is not there yet is left out, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np

from detection import roles
from detection.alarms import Alarm, Detector
from detection.churn import Machine
from detection.curves import Floats, Run, Series, Wall
from detection.final import LEVELS, Prediction, Predictor
from detection.remaining import Estimator, Eta, clock_of
from detection.stopping import GAIN, Advisor, Said, places

__all__ = [
    "NAME",
    "AbsentError",
    "advisor",
    "detector",
    "estimator",
    "machine",
    "predictor",
    "watched",
]

NAME = "training_monitor"
KINDS = frozenset(
    {
        "divergence", "entropy_collapse", "flatline", "kl_blow_up", "memory_leak", "mfu_drop",
        "non_finite", "outlier", "overfitting", "reward_drop", "reward_hacking", "slowdown",
        "spike", "throughput_drop",
    }
)  # fmt: skip
STOP_BELOW = 0.1
MAX_CHUNKS = 200
# A wall clock for runs that have none: a second a step.
_EPOCH = 1_700_000_000.0


class AbsentError(Exception):
    """A part of the package that is not there."""


def _named(module: str, name: str) -> Any:
    try:
        return getattr(import_module(f"training_monitor.{module}"), name)
    except (ImportError, AttributeError) as error:
        raise AbsentError(f"training_monitor.{module}.{name} is not there") from error


def detector() -> Detector:
    """Return all detectors behind Watch."""
    return watched()


def watched() -> Watched:
    """Return the same, for those who want the findings themselves."""
    return Watched(_named("detect.watch", "Watch"))


def predictor() -> Predictor:
    """Return forecast()."""
    return Forecasts(_named("predict.forecast", "forecast"))


def advisor() -> Advisor:
    """Return advise(), told twice in a row."""
    return Advises(_named("predict.advice", "advise"))


def estimator() -> Estimator:
    """Return eta()."""
    return Etas(
        _named("predict.eta", "eta"),
        _named("detect.headline", "understand"),
        _named("detect.headline", "generates"),
        _named("predict.eta", "GENERATING"),
    )


def machine() -> Machine:
    """Return the state machine."""
    return Phased(_named("predict.phase", "Phases"))


@dataclass(frozen=True, slots=True)
class Watched:
    """All detectors at once: one Watch for a run, fed in the order of the steps."""

    watch: Callable[[], Any]
    name: str = NAME
    kinds: frozenset[str] = KINDS

    def replay(self, run: Run) -> list[Alarm]:
        """Return the findings that are not ends of earlier ones."""
        return [
            Alarm(one.kind, one.severity, one.metric, float(one.step), index)
            for one, index in self._placed(run)
            if not one.over and one.metric in run.series
        ]

    def findings(self, run: Run) -> list[Any]:
        """Return all that is said of a run, the ends of findings as well."""
        return [finding for finding, _ in self._placed(run)]

    def _placed(self, run: Run) -> Iterator[tuple[Any, int]]:
        """Yield what is said, with its place in the series that it is about."""
        watch = self.watch()
        watch.knows(run.series)
        clock = clock_of(run)
        fed = dict.fromkeys(run.series, 0)
        for metric, part in _chunks(run):
            before, fed[metric] = fed[metric], fed[metric] + len(part)
            steps = _whole(part.steps)
            for one in watch.feed(metric, steps, part.values, _times(clock, part.steps)):
                # Steps may go back: the same one may have been there before.
                here = np.flatnonzero((steps == one.step) & (one.metric == metric))
                place = before + int(here[-1]) if len(here) else fed.get(one.metric, 1) - 1
                yield one, max(place, 0)


def _chunks(run: Run) -> list[tuple[str, Series]]:
    """Return the columns of a run cut at the steps of its sparsest series, in order."""
    if len(run.series) == 1:
        return list(run.series.items())
    sparse = min(run.series.values(), key=len).steps
    edges = np.unique(sparse)[:: max(1, len(sparse) // MAX_CHUNKS)]
    parts = []
    for number, (name, series) in enumerate(run.series.items()):
        # Where steps go back, what comes again belongs to the farthest step so far.
        farthest = np.maximum.accumulate(series.steps)
        cuts = np.searchsorted(farthest, edges, side="right")
        bounds = [0, *cuts.tolist(), len(series)]
        for order, (low, high) in enumerate(pairwise(bounds)):
            if high > low:
                cut = Series(series.steps[low:high], series.values[low:high])
                parts.append((order, number, name, cut))
    parts.sort(key=lambda part: part[:2])
    return [(name, cut) for _, _, name, cut in parts]


def _whole(steps: Floats) -> Any:
    return np.round(steps).astype(np.int64)


def _times(clock: Wall | None, steps: Floats) -> Floats:
    if clock is None:
        return _EPOCH + steps
    return _EPOCH + np.interp(steps, clock.steps, clock.seconds)


@dataclass(frozen=True, slots=True)
class Forecasts:
    """The final value."""

    forecast: Callable[..., Any]

    def __call__(
        self, steps: Floats, values: Floats, *, end: float, goal: str, kind: str
    ) -> Prediction | None:
        """Return value and intervals."""
        said = self.forecast(steps, values, end=end, goal=goal, kind=kind)
        return None if said is None else Prediction(float(said.value), _intervals(said))


@dataclass(frozen=True, slots=True)
class Advises:
    """The advice to stop: P(gain) below 0.1 at two places in a row."""

    advise: Callable[..., Any]

    def __call__(
        self, steps: Floats, values: Floats, *, end: float, goal: str, kind: str
    ) -> Sequence[Said]:
        """Return what was said at the places at which it is asked."""
        found, low = [], 0
        for index in places(len(values)):
            advice = self.advise(
                steps[: index + 1], values[: index + 1], end=end, goal=goal, kind=kind, gain=GAIN
            )
            if advice is None:
                low = 0
                continue
            low = low + 1 if advice.p_gain < STOP_BELOW else 0
            found.append(Said(index, low >= 2, float(advice.p_gain)))
        return found


@dataclass(frozen=True, slots=True)
class Etas:
    """The remaining time."""

    eta: Callable[..., Any]
    understand: Callable[..., Any]
    generates: Callable[..., bool]
    generating: Any

    def __call__(
        self,
        steps: Floats,
        seconds: Floats,
        *,
        end: float,
        parts: Mapping[str, Floats],
        names: Collection[str],
    ) -> Eta | None:
        """Return seconds and intervals, from steps, times and names: a monitor sees no parts."""
        del parts
        rules = self.generating if self.generates(self.understand(dict.fromkeys(names))) else None
        said = self.eta(steps, seconds, total=end, rules=rules)
        return None if said is None else Eta(float(said.seconds), _intervals(said))


def _intervals(said: Any) -> dict[int, tuple[float, float]]:
    """Read low and high by level, be they mappings or attributes as low_90."""
    if hasattr(said, "low"):
        return {level: (float(said.low[level]), float(said.high[level])) for level in LEVELS}
    return {
        level: (float(getattr(said, f"low_{level}")), float(getattr(said, f"high_{level}")))
        for level in LEVELS
    }


@dataclass(frozen=True, slots=True)
class Phased:
    """The state machine, fed with the headline metric, the learning rate and the progress."""

    phases: Callable[..., Any]
    name: str = NAME

    def states(self, run: Run) -> Sequence[str]:
        """Return the states that were entered."""
        headline = run.headline
        if headline is None:
            return []
        made, end = self.phases(run.metric, goal=run.goal), float(headline.steps[-1]) or 1.0
        passed, rates = [str(made.phase)], self._rates(run)
        for step, value in zip(headline.steps.tolist(), headline.values.tolist(), strict=True):
            changes = []
            while rates and rates[-1][0] <= step:
                changes.append(made.push_lr(*rates.pop()))
            changes += [made.push(step, value), made.progress(step / end, step=step)]
            passed += [str(change.after) for change in changes if change is not None]
        return passed

    @staticmethod
    def _rates(run: Run) -> list[tuple[float, float]]:
        """Return the learning rates, the last first."""
        found = next(iter(roles.of_role(run, "lr").values()), None)
        if found is None:
            return []
        return list(zip(found.steps.tolist(), found.values.tolist(), strict=True))[::-1]
