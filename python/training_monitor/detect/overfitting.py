"""Overfitting: the validation gets worse while the training gets better."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf, isfinite, log, nan, sqrt

from training_monitor.detect.episode import Episode
from training_monitor.detect.robust import Noise, median

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.detect.finding import Finding

__all__ = ["Overfitting", "OverfittingThresholds"]

# Evaluations, or train points between two of them, whose median is the level of now.
_LEVEL = 3
_TRAIN_POINTS = 32
# Inside, less is better.
_SIGN = {"min": 1.0, "max": -1.0}


@dataclass(frozen=True, slots=True)
class OverfittingThresholds:
    """When the validation counts as getting worse.

    Attributes:
        watch: Median of the last three evaluations above the best, as a share of the best: info.
        alarm: The same for a warning.
        severe: The same for critical.
        watch_sigma: It must be so many standard deviations of the evaluations' noise, too, beyond
            what chance alone makes of the best of so many.
        alarm_sigma: The same for a warning.
        evaluations: At least so many since the best.
        persist: On so many evaluations in a row.
        train: The train level is below its value at the best by this share.
        train_sigma: And by so many standard deviations of its noise from one evaluation to the
            next.
        headline: With a headline score, the last three of it are worse than its best by this
            share, or it is watched only: a validation loss may rise while the score still climbs.
    """

    watch: float = 0.02
    alarm: float = 0.04
    severe: float = 0.20
    watch_sigma: float = 1.5
    alarm_sigma: float = 1.5
    evaluations: int = 3
    persist: int = 2
    train: float = 0.005
    train_sigma: float = 2.0
    headline: float = 0.003


class Overfitting:
    """Watches one validation series beside its train series.

    The order of arrival pairs the two, not the steps: one may count epochs and the other steps.

    Args:
        metric: The validation series.
        goal: "min" for a loss or an error, "max" for a score.
        train_goal: Of the train series; None: as `goal`.
        headline_goal: Of the headline score.
        rank: Whose points these are.
        thresholds: When it is said.
    """

    __slots__ = ("_best", "_best_step", "_best_train", "_count", "_episode", "_first", "_goal",
                 "_headline", "_headline_best", "_headline_sign", "_last_step", "_metric", "_noise",
                 "_ok", "_recent", "_since_best", "_streak", "_train", "_train_new", "_train_noise",
                 "_train_sign", "_watch_streak")  # fmt: skip

    def __init__(
        self,
        metric: str,
        *,
        goal: str = "min",
        train_goal: str | None = None,
        headline_goal: str = "max",
        rank: int | None = None,
        thresholds: OverfittingThresholds | None = None,
    ) -> None:
        self._metric = metric
        self._goal = 1.0 if goal == "min" else -1.0
        self._train_sign = (
            self._goal if train_goal is None else 1.0 if train_goal == "min" else -1.0
        )
        self._headline_sign = 1.0 if headline_goal == "min" else -1.0
        self._ok = OverfittingThresholds() if thresholds is None else thresholds
        self._episode = Episode("overfitting", metric, rank)
        self._train: deque[float] = deque(maxlen=_TRAIN_POINTS)
        self._train_new = 0
        self._headline: deque[float] = deque(maxlen=_LEVEL)
        self._headline_best = inf
        self._forget()

    def _forget(self) -> None:
        """Start the references anew."""
        self._best, self._best_step, self._best_train = inf, 0, nan
        self._first: list[float] = []
        self._count = self._since_best = self._streak = self._watch_streak = 0
        self._last_step: int | None = None
        self._noise = Noise(48)
        self._train_noise = Noise(24)
        self._recent: deque[float] = deque(maxlen=_LEVEL)

    def push_train(self, step: int, value: float, time: float) -> list[Finding]:  # noqa: ARG002
        """Take a point of the train series."""
        if isfinite(value):
            self._train.append(self._train_sign * value)
            self._train_new += 1
        return []

    def push_headline(self, step: int, value: float, time: float) -> list[Finding]:  # noqa: ARG002
        """Take a point of the score that decides which checkpoint is the best."""
        if isfinite(value):
            value *= self._headline_sign
            self._headline.append(value)
            self._headline_best = min(self._headline_best, value)
        return []

    def push(self, step: int, value: float, time: float) -> list[Finding]:
        """Take an evaluation."""
        if not isfinite(value):
            return []
        found: list[Finding] = []
        if self._last_step is not None and step <= self._last_step and step <= self._best_step:
            # The run went back to before the best: what comes now is another one.
            found = self._episode.end(step, time, f"{self._metric} went back to step {step:,}")
            self._forget()
        self._last_step = step
        value *= self._goal
        self._noise.push(value)
        self._recent.append(value)
        self._count += 1
        if len(self._first) < _LEVEL:
            self._first.append(value)
        train, self._train_new = self._train_level(), 0
        if isfinite(train):
            self._train_noise.push(train)
        if value < self._best:
            text = f"{self._metric} has a new best of {self._goal * value:.4g} at step {step:,}"
            found += self._episode.end(step, time, text, value=self._goal * value)
            self._best, self._best_step, self._best_train = value, step, train
            self._since_best = self._streak = self._watch_streak = 0
            return found
        self._since_best += 1
        return found + self._judge(step, time, train)

    def _train_level(self) -> float:
        """Return the median of the train points since the evaluation before, of three at least."""
        count = max(_LEVEL, self._train_new)
        return median(list(self._train)[-count:])

    def _judge(self, step: int, time: float, train: float) -> list[Finding]:
        ok = self._ok
        if self._since_best < ok.evaluations or not self._train_fell(train):
            self._streak = self._watch_streak = 0
            return []
        level, sigma = median(self._recent), self._noise.sigma
        rise, scale = level - self._best, self._scale()
        # The best of n values of pure noise lies so far from the middle.
        lucky = sqrt(2 * log(self._count))
        watched = rise > max(ok.watch * scale, (ok.watch_sigma + lucky) * sigma)
        alarmed = rise > max(ok.alarm * scale, (ok.alarm_sigma + lucky) * sigma)
        self._watch_streak = self._watch_streak + 1 if watched else 0
        self._streak = self._streak + 1 if alarmed else 0
        if self._streak >= ok.persist and self._headline_fell():
            severity = "critical" if rise > ok.severe * scale else "warning"
        elif self._watch_streak >= ok.persist:
            severity = "info"
        else:
            return []
        if self._episode.said(severity):
            return []
        return self._say(severity, step, time, train, level, sigma)

    def _scale(self) -> float:
        """Return what the rise is a share of: the best, or the way to it where that may be zero."""
        if self._best > 0:
            return self._best
        return max(abs(self._best), median(self._first) - self._best)

    def _train_fell(self, train: float) -> bool:
        least = self._ok.train * abs(self._best_train)
        return self._best_train - train > max(least, self._ok.train_sigma * self._train_noise.sigma)

    def _headline_fell(self) -> bool:
        if len(self._headline) < _LEVEL:
            return True
        fall = min(self._headline) - self._headline_best
        return fall > self._ok.headline * abs(self._headline_best)

    def _say(
        self, severity: str, step: int, time: float, train: float, level: float, sigma: float
    ) -> list[Finding]:
        best, now = self._goal * self._best, self._goal * level
        change = f"{abs(level - self._best) / self._scale():.1%}"
        text = (
            f"{self._metric} is {now:.4g} at step {step:,}, {change} worse than its best "
            f"{best:.4g} at step {self._best_step:,}, while the train value went from "
            f"{self._train_sign * self._best_train:.4g} to {self._train_sign * train:.4g}"
        )
        advice = (
            f"Keep the checkpoint of step {self._best_step:,}. Stop, or go on with more "
            "regularisation, more data or a lower learning rate."
        )
        if severity == "info":
            advice = "Watch it: the best checkpoint so far is of step " + f"{self._best_step:,}."
        return self._episode.say(
            severity,
            step,
            time,
            text,
            advice=advice,
            value=now,
            reference=best,
            sigma=abs(level - self._best) / sigma if sigma > 0 else nan,
            threshold=self._ok.watch if severity == "info" else self._ok.alarm,
            since=self._best_step,
        )
