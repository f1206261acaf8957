"""All detectors of one run: columns of its metrics go in, findings come out."""

from __future__ import annotations

import re
from itertools import chain
from math import inf

from training_monitor.detect.column import A_SECOND, Column
from training_monitor.detect.forgetting import Forgetting
from training_monitor.detect.gradients import GradientNorm
from training_monitor.detect.hacking import RewardHacking, ZeroSpread
from training_monitor.detect.logged_memory import LoggedMemory
from training_monitor.detect.loss_scale import LossScale
from training_monitor.detect.names import Names
from training_monitor.detect.overfitting import Overfitting
from training_monitor.detect.plateau import Plateau
from training_monitor.detect.policy import ClippedShare, CompletionLength, EntropyCollapse, KlBlowUp
from training_monitor.detect.rewards import Reward
from training_monitor.detect.schedule import LearningRate
from training_monitor.detect.screening import Screening
from training_monitor.detect.series import Clock, Series
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
    from training_monitor.detect.series import Push

__all__ = ["Watch", "is_zero_spread"]

# Beyond so many metrics the others are looked at for what is not finite alone.
_MOST_WATCHED = 512
_SCREENED = frozenset(("loss", "grad_norm", "step_time", "throughput", "mfu"))
# The clipped share is that of completions, and not that of the ratios of PPO.
_WRITTEN = ("completion", "length", "response", "trunc")
# What needs the points of one metric alone, by its kind, and where its thresholds are.
_ALONE: dict[str, tuple[Any, str]] = {
    "entropy": (EntropyCollapse, "policy"),
    "grad_norm": (GradientNorm, "gradient"),
    "kl": (KlBlowUp, "policy"),
    "length": (CompletionLength, "policy"),
    "loss_scale": (LossScale, "loss_scale"),
    "lr": (LearningRate, "schedule"),
    "memory": (LoggedMemory, "memory"),
    "reward": (Reward, "reward"),
}
# How the share of groups is called whose answers all get the same reward, as by GRPO.
_SPREAD = frozenset(("zero_std", "zero_var", "zero_advantage", "std_zero", "zero_spread"))
_SHARES = frozenset(("frac", "fraction", "ratio", "share", "percentage", "percent", "pct", "rate"))
_PARTS = re.compile(r"[^a-z]+")
_TIMES = frozenset(("step_time", "throughput", "mfu"))


class Watch:
    """Watches one run.

    The findings about one metric do not depend on how its points are cut into columns. Detectors
    that need several metrics take them in the order in which they are fed.

    Args:
        thresholds: When something is said; None means the defaults.
        definitions: What the user has said of metrics.
        end: The step at which the run ends; None: not known.

    Attributes:
        a_second: Detectors in Python see so many points of a metric in a second. Where of a long
            past fewer were to be had it is no more from then on, as a stretch that is seen ten
            times as densely as the rest would pass for most of the run.
        thinned_until: Before this time points are missing: what lies between two is no step.
    """

    def __init__(
        self,
        *,
        thresholds: Thresholds | None = None,
        definitions: Iterable[Definition] = (),
        end: int | None = None,
    ) -> None:
        self._ok = Thresholds() if thresholds is None else thresholds
        self._names = Names(definitions)
        self._end = end
        self._series: dict[tuple[str, int], Series] = {}
        self._silence: dict[int, Silence] = {}
        self._shared: dict[int, _Shared] = {}
        self.a_second = A_SECOND
        self.thinned_until = -inf

    @property
    def headline(self) -> str | None:
        """The metric by which the run is judged; None: there is none."""
        return self._names.headline

    @property
    def meanings(self) -> dict[str, Meaning]:
        """What each metric is taken for."""
        return self._names.meanings

    @property
    def held_out(self) -> set[str]:
        """The metrics of data that are not trained on."""
        return self._names.held_out

    def define(self, definition: Definition) -> None:
        """Take note of what the user says of a metric, for what is fed from now on."""
        self._names.define(definition)

    def knows(self, metrics: Iterable[str]) -> None:
        """Learn that there are these metrics, before their points come."""
        self._names.learn(metrics)

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
            self._names.learn((metric,))
        column = Column.of(steps, values, times)
        key = (metric, rank)
        if key not in self._series:
            # Of further ranks so many in all: the first one tells most.
            watched = rank == 0 or len(self._series) < _MOST_WATCHED
            self._series[key] = self._made(metric, rank, watched=watched)
        series = self._series[key]
        found = series.feed(column, self.a_second, self.thinned_until)
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

    def _made(self, metric: str, rank: int, *, watched: bool) -> Series:
        """Return the detectors of one series."""
        meaning = self.meanings[metric]
        if not watched:
            return Series(Screening(metric, "other", rank=rank, thresholds=self._ok, minor=True))
        shared = self._shared.setdefault(rank, _Shared(self._ok, rank))
        kind = meaning.kind
        is_loss = kind == "loss" and "reward" not in self._names.kinds
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
        return Series(screening, pushes, clock=clock, turns=kind == "lr")

    def _logs_times(self) -> bool:
        return not self._names.kinds.isdisjoint(_TIMES)

    def _pushes(self, metric: str, meaning: Meaning, rank: int, shared: _Shared) -> Iterable[Push]:
        """Yield what takes the points of a metric one by one."""
        ok, kind = self._ok, meaning.kind
        if meaning.goal is not None and kind in ("loss", "score", "error", "reward"):
            yield from self._judged(metric, meaning, shared)
        if kind == "lr":
            yield shared.push_lr
        for detector, thresholds in self._alone(metric, kind):
            yield detector(metric, rank=rank, thresholds=getattr(ok, thresholds)).push
        if kind in ("reward", "reward_part", "reward_std", "entropy", "length"):
            yield from shared.hacking(metric, meaning)

    @staticmethod
    def _alone(metric: str, kind: str) -> Iterable[tuple[Any, str]]:
        """Yield the detectors that need this metric alone, and where their thresholds are."""
        if kind in _ALONE:
            yield _ALONE[kind]
        elif kind == "clip_fraction" and any(word in metric.lower() for word in _WRITTEN):
            yield ClippedShare, "policy"
        elif kind == "other" and is_zero_spread(metric):
            yield ZeroSpread, "hacking"

    def _judged(self, metric: str, meaning: Meaning, shared: _Shared) -> Iterable[Push]:
        """Yield what judges how good the model is."""
        goal = meaning.goal or "min"
        if meaning.held_out and meaning.kind != "reward" and self._names.is_first_held_out(metric):
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

    def _push_train(
        self, shared: _Shared, metric: str, step: int, value: float, time: float
    ) -> list[Finding]:
        for held_out, overfitting in shared.overfittings.items():
            if self._names.partner(held_out) == metric:
                overfitting.push_train(step, value, time)
        return []

    def _push_headline(
        self, shared: _Shared, metric: str, step: int, value: float, time: float
    ) -> None:
        for held_out, overfitting in shared.overfittings.items():
            if held_out != metric and held_out not in shared.headless:
                overfitting.push_headline(step, value, time)


def is_zero_spread(metric: str) -> bool:
    """Return whether this is the share of groups whose answers all get the same reward."""
    words = _PARTS.split(metric.lower())
    name = "_".join(words)
    return any(one in name for one in _SPREAD) and not _SHARES.isdisjoint(words)


class _Shared:
    """What the metrics of one rank share."""

    def __init__(self, thresholds: Thresholds, rank: int) -> None:
        self.rank = rank
        self._ok = thresholds
        self.overfittings: dict[str, Overfitting] = {}
        self.headless: set[str] = set()
        self.plateaus: dict[str, Plateau] = {}
        self.forgetting = Forgetting(rank=rank, thresholds=thresholds.forgetting)
        self._clock_of: tuple[str, Clock] | None = None
        self._hacking: RewardHacking | None = None
        self._reward = ""

    def clock(self, metric: str) -> Clock | None:
        """Return the clock of the steps, for the first metric that asks."""
        if self._clock_of is not None:
            return None
        clock = Clock(self.rank, self._ok)
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
