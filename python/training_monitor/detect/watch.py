"""All detectors of one run: columns of its metrics go in, findings come out."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from math import isfinite

import numpy as np

from training_monitor.detect.column import A_SECOND, Column
from training_monitor.detect.forgetting import Forgetting
from training_monitor.detect.gradients import GradientNorm
from training_monitor.detect.hacking import RewardHacking
from training_monitor.detect.headline import pairs, understand
from training_monitor.detect.overfitting import Overfitting
from training_monitor.detect.plateau import Plateau
from training_monitor.detect.policy import ClippedShare, CompletionLength, EntropyCollapse, KlBlowUp
from training_monitor.detect.rewards import Reward
from training_monitor.detect.schedule import LearningRate
from training_monitor.detect.screening import Screening
from training_monitor.detect.silence import Silence
from training_monitor.detect.thresholds import Thresholds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from numpy.typing import ArrayLike

    from training_monitor.detect.definition import Definition
    from training_monitor.detect.finding import Finding
    from training_monitor.detect.meaning import Meaning

    Push = Callable[[int, float, float], list[Finding]]

__all__ = ["Watch"]

# Beyond so many metrics the others are looked at for what is not finite alone.
_MOST_WATCHED = 512
_SCREENED = frozenset(("loss", "grad_norm", "step_time", "throughput", "mfu"))
# The clipped share is that of completions, and not that of the ratios of PPO.
_WRITTEN = ("completion", "length", "response", "trunc")
_TIMES = frozenset(("step_time", "throughput", "mfu"))
# The name under which the time between the points of a run is told, where it logs none.
STEP_TIME = "time per step"
_CLOCK_RATIO = 1.3


class Watch:
    """Watches one run.

    The findings about one metric do not depend on how its points are cut into columns. Detectors
    that need several metrics take them in the order in which they are fed.

    Args:
        thresholds: When something is said; None means the defaults.
        definitions: What the user has said of metrics.
        end: The step at which the run ends; None: not known.

    Attributes:
        meanings: What each metric is taken for.
        a_second: Detectors in Python see so many points of a metric in a second. Where of a long
            past fewer were to be had it is no more from then on, as a stretch that is seen ten
            times as densely as the rest would pass for most of the run.
    """

    def __init__(
        self,
        *,
        thresholds: Thresholds | None = None,
        definitions: Iterable[Definition] = (),
        end: int | None = None,
    ) -> None:
        self._ok = Thresholds() if thresholds is None else thresholds
        self._definitions = list(definitions)
        self._end = end
        self._series: dict[tuple[str, int], _Series] = {}
        self._silence: dict[int, Silence] = {}
        self._pairs: dict[str, str] = {}
        self.meanings: dict[str, Meaning] = {}
        self._shared: dict[int, _Shared] = {}
        self.a_second = A_SECOND

    @property
    def headline(self) -> str | None:
        """The metric by which the run is judged; None: there is none."""
        heads = (name for name, meaning in self.meanings.items() if meaning.headline)
        return next(heads, None)

    def define(self, definition: Definition) -> None:
        """Take note of what the user says of a metric, for what is fed from now on."""
        self._definitions.append(definition)
        self._understand(())

    def knows(self, metrics: Iterable[str]) -> None:
        """Learn that there are these metrics, before their points come."""
        self._understand(metrics)

    def set_end(self, end: int | None) -> None:
        """Say at which step the run ends."""
        self._end = end
        for shared in self._shared.values():
            for plateau in shared.plateaus.values():
                plateau.end = end

    def set_gain(self, metric: str, step: int, probability: float, time: float) -> list[Finding]:
        """Say how probable a further gain of a metric is."""
        found = [
            shared.plateaus[metric].push_p_gain(step, probability, time)
            for shared in self._shared.values()
            if metric in shared.plateaus
        ]
        return list(chain.from_iterable(found))

    def feed(
        self,
        metric: str,
        steps: ArrayLike,
        values: ArrayLike,
        times: ArrayLike | None = None,
        rank: int = 0,
    ) -> list[Finding]:
        """Look at new points of a metric.

        Args:
            metric: Its name.
            steps: One per point, in the order of arrival.
            values: One per point.
            times: Wall clock in seconds since 1970, one per point; None: not known.
            rank: Who logged them.

        Returns:
            What was found, in the order of the points for each detector.
        """
        if metric not in self.meanings:
            self._understand((metric,))
        column = Column.of(steps, values, times)
        key = (metric, rank)
        if key not in self._series:
            # Of further ranks so many in all: the first one tells most.
            watched = rank == 0 or len(self._series) < _MOST_WATCHED
            self._series[key] = self._made(metric, rank, watched=watched)
        series = self._series[key]
        found = series.feed(column, self.a_second)
        if times is not None:
            silence = self._silence.setdefault(
                rank, Silence(rank=rank, thresholds=self._ok.silence)
            )
            for at in column.thinned(series.last_time, 1.0):
                found += silence.push(metric, int(column.steps[at]), float(column.times[at]))
        series.note(column)
        return found

    def tick(self, now: float) -> list[Finding]:  # noqa: ARG002 -- the times of the points count
        """Return what time alone tells: metrics that do not come any more."""
        return [finding for silence in self._silence.values() for finding in silence.tick()]

    def _understand(self, new: Iterable[str]) -> None:
        names = dict.fromkeys((*self.meanings, *new))
        self.meanings = understand(dict.fromkeys(names), self._definitions)
        self._pairs = pairs(self.meanings)

    def _made(self, metric: str, rank: int, *, watched: bool) -> _Series:
        """Return the detectors of one series."""
        meaning = self.meanings[metric]
        if not watched:
            return _Series(Screening(metric, "other", rank=rank, thresholds=self._ok, minor=True))
        shared = self._shared.setdefault(rank, _Shared(self._ok, rank))
        in_rl = any(one.kind == "reward" for one in self.meanings.values())
        kind = meaning.kind
        is_loss = kind == "loss" and not in_rl
        screened = kind if kind in _SCREENED and (kind != "loss" or is_loss) else "other"
        screening = Screening(
            metric,
            screened,
            rank=rank,
            thresholds=self._ok,
            minor=meaning.minor or kind not in ("loss", "grad_norm"),
            diverges=is_loss and not meaning.held_out and not meaning.minor,
        )
        clock = None
        if is_loss and not meaning.held_out and not self._logs_times():
            clock = shared.clock(metric)
        pushes = list(self._pushes(metric, meaning, rank, shared))
        return _Series(screening, pushes, clock=clock)

    def _logs_times(self) -> bool:
        return any(meaning.kind in _TIMES for meaning in self.meanings.values())

    def _pushes(self, metric: str, meaning: Meaning, rank: int, shared: _Shared) -> Iterable[Push]:
        """Yield what takes the points of a metric one by one."""
        ok, kind = self._ok, meaning.kind
        if meaning.goal is not None and kind in ("loss", "score", "error", "reward"):
            yield from self._judged(metric, meaning, shared)
        if kind == "grad_norm":
            yield GradientNorm(metric, rank=rank, thresholds=ok.gradient).push
        elif kind == "lr":
            yield LearningRate(metric, rank=rank, thresholds=ok.schedule).push
            yield shared.push_lr
        elif kind == "reward":
            yield Reward(metric, rank=rank, thresholds=ok.reward).push
        elif kind == "entropy":
            yield EntropyCollapse(metric, rank=rank, thresholds=ok.policy).push
        elif kind == "kl":
            yield KlBlowUp(metric, rank=rank, thresholds=ok.policy).push
        elif kind == "length":
            yield CompletionLength(metric, rank=rank, thresholds=ok.policy).push
        elif kind == "clip_fraction" and any(word in metric.lower() for word in _WRITTEN):
            yield ClippedShare(metric, rank=rank, thresholds=ok.policy).push
        if kind in ("reward", "reward_part", "reward_std", "entropy", "length"):
            yield from shared.hacking(metric, meaning)

    def _judged(self, metric: str, meaning: Meaning, shared: _Shared) -> Iterable[Push]:
        """Yield what judges how good the model is."""
        goal = meaning.goal or "min"
        if meaning.held_out and meaning.kind != "reward" and self._judges(metric):
            head = self.headline
            with_head = head not in (None, metric) and self.meanings[head or ""].kind == "score"
            over = Overfitting(
                metric,
                goal=goal,
                headline_goal=self.meanings[head or metric].goal or "max",
                rank=shared.rank,
                thresholds=self._ok.overfitting,
            )
            shared.overfittings[metric] = over
            yield over.push
            if not with_head:
                shared.headless.add(metric)
        elif not meaning.held_out or meaning.kind == "reward":
            yield lambda step, value, time: self._push_train(shared, metric, step, value, time)
        if meaning.held_out and meaning.kind == "score" and not meaning.minor:
            yield lambda step, value, time: shared.forgetting.push(metric, step, value, time)
        plateau = Plateau(metric, goal=goal, rank=shared.rank, thresholds=self._ok.plateau)
        plateau.end = self._end

        def push_plateau(step: int, value: float, time: float) -> list[Finding]:
            found = []
            if metric == self.headline:
                self._push_headline(shared, metric, step, value, time)
                found = plateau.push(step, value, time)
            return found

        shared.plateaus[metric] = plateau
        yield push_plateau

    def _judges(self, metric: str) -> bool:
        """Return whether overfitting is told by this held-out metric and not by a better one.

        The loss on validation data tells it first: a score follows it, test data repeat it.
        """
        places = {
            name: (one.minor, one.split == "test", one.kind != "loss")
            for name, one in self.meanings.items()
            if one.held_out and one.kind in ("loss", "score", "error")
        }
        return places[metric] == min(places.values())

    def _push_train(
        self, shared: _Shared, metric: str, step: int, value: float, time: float
    ) -> list[Finding]:
        for held_out, overfitting in shared.overfittings.items():
            if self._pairs.get(held_out) == metric:
                overfitting.push_train(step, value, time)
        return []

    def _push_headline(
        self, shared: _Shared, metric: str, step: int, value: float, time: float
    ) -> None:
        for held_out, overfitting in shared.overfittings.items():
            if held_out != metric and held_out not in shared.headless:
                overfitting.push_headline(step, value, time)


class _Series:
    """The detectors of one metric of one rank."""

    __slots__ = ("_clock", "_pushes", "_screening", "last_time")

    def __init__(
        self, screening: Screening, pushes: Iterable[Push] = (), *, clock: _Clock | None = None
    ) -> None:
        self._screening = screening
        self._pushes = tuple(pushes)
        self._clock = clock
        self.last_time = np.nan

    def feed(self, column: Column, a_second: float) -> list[Finding]:
        found = self._screening.feed(column.steps, column.times, column.values)
        if self._clock is not None:
            found += self._clock.feed(column)
        if self._pushes:
            for at in column.thinned(self.last_time, a_second):
                point = int(column.steps[at]), float(column.values[at]), float(column.times[at])
                for push in self._pushes:
                    found += push(*point)
        return found

    def note(self, column: Column) -> None:
        """Remember where this column ended."""
        if len(column.times) and isfinite(column.times[-1]):
            self.last_time = column.last_time()


class _Clock:
    """The time of a step, where a run logs none: from the times of a metric that comes often."""

    __slots__ = ("_last", "_screening")

    def __init__(self, rank: int, thresholds: Thresholds) -> None:
        # The time between two points has more in it than the step.
        patient = replace(thresholds.slowdown, ratio=_CLOCK_RATIO)
        self._screening = Screening(
            STEP_TIME, "step_time", rank=rank, thresholds=replace(thresholds, slowdown=patient)
        )
        self._last: tuple[float, float] = (np.nan, np.nan)

    def feed(self, column: Column) -> list[Finding]:
        steps = np.concatenate(([self._last[0]], column.steps.astype(np.float64)))
        times = np.concatenate(([self._last[1]], column.times))
        if len(column.steps):
            self._last = (steps[-1], times[-1])
        with np.errstate(all="ignore"):
            secs = np.diff(times) / np.diff(steps)
        good = np.isfinite(secs) & (np.diff(steps) > 0) & (secs > 0)
        return self._screening.feed(column.steps[good], column.times[good], secs[good])


class _Shared:
    """What the metrics of one rank share."""

    def __init__(self, thresholds: Thresholds, rank: int) -> None:
        self.rank = rank
        self._ok = thresholds
        self.overfittings: dict[str, Overfitting] = {}
        self.headless: set[str] = set()
        self.plateaus: dict[str, Plateau] = {}
        self.forgetting = Forgetting(rank=rank, thresholds=thresholds.forgetting)
        self._clock_of: tuple[str, _Clock] | None = None
        self._hacking: RewardHacking | None = None
        self._reward = ""

    def clock(self, metric: str) -> _Clock | None:
        """Return the clock of the steps, for the first metric that asks."""
        if self._clock_of is not None:
            return None
        clock = _Clock(self.rank, self._ok)
        self._clock_of = (metric, clock)
        return clock

    def push_lr(self, step: int, value: float, time: float) -> list[Finding]:
        """Hand a learning rate to those that ask for it."""
        for plateau in self.plateaus.values():
            plateau.push_lr(step, value, time)
        return []

    def hacking(self, metric: str, meaning: Meaning) -> Iterable[Push]:
        """Yield what tells whether a reward is gamed."""
        if self._hacking is None:
            self._hacking = RewardHacking("reward", rank=self.rank, thresholds=self._ok.hacking)
        hacking, kind = self._hacking, meaning.kind
        take: dict[str, Callable[[float], Any]] = {
            "reward_std": hacking.push_spread,
            "entropy": hacking.push_entropy,
            "length": hacking.push_length,
        }
        if kind == "reward" and meaning.held_out:
            take["reward"] = hacking.push_true
        elif kind == "reward" and self._reward in ("", metric):
            self._reward = metric
            yield hacking.push
            return
        elif kind == "reward_part":
            take["reward_part"] = lambda value: hacking.push_part(metric, value)
        if kind in take:
            yield lambda _step, value, _time: take[kind](value) or []
