"""Rewards: a drop, a flat line, a wild value. A rise is learning, never an alarm."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf, isfinite, sqrt

from training_monitor.detect.episode import Episode
from training_monitor.detect.reward_drop import RewardDrop, RewardDropThresholds
from training_monitor.detect.reward_ratios import RatioThresholds, RewardRatios
from training_monitor.detect.robust import Noise, mad_sigma, median

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.detect.finding import Finding

__all__ = [
    "FlatlineThresholds",
    "OutlierThresholds",
    "Reward",
    "RewardFlatline",
    "RewardOutlier",
    "RewardThresholds",
]

# The level that an outlier is held against is the median of so many points.
_LEVEL = 9
_WINDOW = 64


@dataclass(frozen=True, slots=True)
class FlatlineThresholds:
    """When a reward does not vary any more.

    Attributes:
        points: So many points make a flat line, where
        share: their standard deviation is below this share of that of the points before.
        sparse: A reward that often repeats itself, or has never moved, must stand for so many
            times as long; before that it is told as info.
        at_best: Within this share of its range from its best it is told as info only.
        again: One that has stood before must stand for so many times the longest of these.
    """

    points: int = 30
    share: float = 0.01
    sparse: int = 3
    at_best: float = 0.1
    again: int = 2


@dataclass(frozen=True, slots=True)
class OutlierThresholds:
    """When a single value is wild.

    Attributes:
        sigma: It is so many standard deviations from the level before it, and
        low_range: below all values before by this share of their range: a warning, or
        high_range: above them by this share of it, and does not last: info.
    """

    sigma: float = 8.0
    low_range: float = 0.5
    high_range: float = 5.0


@dataclass(frozen=True, slots=True)
class RewardThresholds:
    """When a reward is not well.

    Attributes:
        drop: When it has fallen.
        flatline: When it does not vary any more.
        outlier: When a single value is wild.
        ratios: Rules on ratios, each of which takes the place of the one above it where it is set.
    """

    drop: RewardDropThresholds = field(default_factory=RewardDropThresholds)
    flatline: FlatlineThresholds = field(default_factory=FlatlineThresholds)
    outlier: OutlierThresholds = field(default_factory=OutlierThresholds)
    ratios: RatioThresholds = field(default_factory=RatioThresholds)


class Reward:
    """Watches one reward for all of these.

    Args:
        metric: The series.
        rank: Whose points these are.
        thresholds: When something is said.
    """

    __slots__ = ("_parts",)

    def __init__(
        self, metric: str, *, rank: int | None = None, thresholds: RewardThresholds | None = None
    ) -> None:
        ok = RewardThresholds() if thresholds is None else thresholds
        self._parts: list[RewardDrop | RewardFlatline | RewardOutlier | RewardRatios] = []
        self._parts.append(RewardFlatline(metric, rank=rank, thresholds=ok.flatline))
        if ok.ratios.drop_threshold is None:
            self._parts.append(RewardDrop(metric, rank=rank, thresholds=ok.drop))
        if ok.ratios.std_threshold is None:
            self._parts.append(RewardOutlier(metric, rank=rank, thresholds=ok.outlier))
        if ok.ratios != RatioThresholds():
            self._parts.append(RewardRatios(metric, rank=rank, thresholds=ok.ratios))

    def push(self, step: int, value: float, time: float) -> list[Finding]:
        """Take the next point; a step that goes back counts like any other."""
        return [finding for part in self._parts for finding in part.push(step, value, time)]


class RewardFlatline:
    """Watches whether one reward still varies.

    Args:
        metric: The series.
        rank: Whose points these are.
        thresholds: When it is said.
    """

    __slots__ = ("_best", "_count", "_episode", "_flat", "_longest", "_mean", "_metric", "_ok",
                 "_recent", "_squares", "_ties", "_worst")  # fmt: skip

    def __init__(
        self,
        metric: str,
        *,
        rank: int | None = None,
        thresholds: FlatlineThresholds | None = None,
    ) -> None:
        self._metric = metric
        self._ok = ok = FlatlineThresholds() if thresholds is None else thresholds
        self._episode = Episode("flatline", metric, rank)
        self._recent: deque[float] = deque(maxlen=ok.points)
        self._count = self._flat = self._ties = self._longest = 0
        self._mean = self._squares = 0.0
        self._best, self._worst = -inf, inf

    def push(self, step: int, value: float, time: float) -> list[Finding]:
        """Take the next point; a step that goes back counts like any other."""
        if not isfinite(value):
            return []
        ok, recent = self._ok, self._recent
        if len(recent) == ok.points:
            self._learn(recent[0], recent[1])
        recent.append(value)
        self._best, self._worst = max(self._best, value), min(self._worst, value)
        if len(recent) < ok.points:
            return []
        usual = sqrt(self._squares / self._count) if self._count >= ok.points else 0.0
        # So many standard deviations lie between the ends of 30 values.
        bound = 4 * ok.share * usual
        if abs(value - recent[0]) > 2 * bound or max(recent) - min(recent) > bound:
            self._longest, self._flat = max(self._longest, self._flat), 0
            return self._end(step, value, time, bound)
        self._flat += 1
        return self._say(step, value, time, usual)

    def _end(self, step: int, value: float, time: float, bound: float) -> list[Finding]:
        if self._episode.severity is None or max(self._recent) - min(self._recent) < 2 * bound:
            return []
        text = f"{self._metric} varies again at step {step:,}"
        return self._episode.end(step, time, text, value=value)

    def _learn(self, value: float, after: float) -> None:
        """Take a point that leaves the window into the mean and the variance of before."""
        self._count += 1
        self._ties += value == after
        change = value - self._mean
        self._mean += change / self._count
        self._squares += change * (value - self._mean)

    def _say(self, step: int, value: float, time: float, usual: float) -> list[Finding]:
        ok = self._ok
        points = ok.points + self._flat - 1
        if self._longest and points < ok.again * (ok.points + self._longest - 1):
            # It stood as long before, and moved again.
            return []
        # Nothing found yet is how a sparse reward begins.
        sparse = usual == 0 or self._ties * 5 > self._count
        at_best = value >= self._best - ok.at_best * (self._best - self._worst) > self._worst
        severity = "warning"
        if at_best or (sparse and points < ok.sparse * ok.points):
            severity = "info"
        if self._episode.said(severity):
            return []
        advice = (
            "Check that the reward function sees what the model writes, and that it can tell good "
            "from bad: without a spread there is no gradient."
        )
        if at_best:
            advice = "It is at its best: there may be nothing left to learn here."
        before = f"its standard deviation was {usual:.3g} before" if usual else "it never moved"
        text = (
            f"{self._metric} has stood at {value:.4g} for {points} points at step {step:,}: "
            f"{before}"
        )
        return self._episode.say(
            severity,
            step,
            time,
            text,
            advice=advice,
            value=max(self._recent) - min(self._recent),
            reference=usual,
            threshold=ok.share,
        )


class RewardOutlier:
    """Watches one reward for single wild values.

    Args:
        metric: The series.
        rank: Whose points these are.
        thresholds: When it is said.
    """

    __slots__ = ("_count", "_episode", "_high", "_highest", "_lowest", "_metric", "_noise", "_ok",
                 "_recent", "_sigma", "_window")  # fmt: skip

    def __init__(
        self,
        metric: str,
        *,
        rank: int | None = None,
        thresholds: OutlierThresholds | None = None,
    ) -> None:
        self._metric = metric
        self._ok = OutlierThresholds() if thresholds is None else thresholds
        self._episode = Episode("outlier", metric, rank)
        self._window: deque[float] = deque(maxlen=_WINDOW)
        self._noise = Noise(_WINDOW)
        self._sigma = 0.0
        self._count = 0
        self._recent: deque[float] = deque(maxlen=_LEVEL)
        self._lowest, self._highest = inf, -inf
        self._high: tuple[int, float, float, float, float] | None = None

    def push(self, step: int, value: float, time: float) -> list[Finding]:
        """Take the next point; a step that goes back counts like any other."""
        if not isfinite(value):
            return []
        if len(self._window) < _WINDOW // 2:
            self._take(value)
            return []
        if self._count % 8 == 0:
            self._sigma = max(self._noise.sigma, mad_sigma(self._window))
        self._count += 1
        sigma, level = self._sigma, median(self._recent)
        z = (value - level) / sigma if sigma > 0 else 0.0
        high, self._high = self._high, None
        found = []
        # Failed episodes are part of learning, and so is a first success: what counts lies far
        # outside of all that was seen.
        span = self._highest - self._lowest
        if z < -self._ok.sigma and value < self._lowest - self._ok.low_range * span:
            found = self._say("warning", step, value, time, level, sigma)
        elif z > self._ok.sigma and value > self._highest + self._ok.high_range * span:
            self._high = (step, value, time, level, sigma)
        elif abs(z) < self._ok.sigma:
            if high is not None:
                found = self._say("info", *high)
            text = f"{self._metric} is back at {value:.4g} at step {step:,}"
            found += self._episode.end(step, time, text, value=value, reference=level)
        self._take(value)
        return found

    def _take(self, value: float) -> None:
        self._noise.push(value)
        self._window.append(value)
        self._recent.append(value)
        self._lowest, self._highest = min(self._lowest, value), max(self._highest, value)

    def _say(
        self, severity: str, step: int, value: float, time: float, level: float, sigma: float
    ) -> list[Finding]:
        z = (value - level) / sigma
        text = (
            f"{self._metric} was {value:.4g} at step {step:,}: {level:.4g} is usual "
            f"({abs(z):.0f} sigma)"
        )
        return self._episode.say(
            severity,
            step,
            time,
            text,
            advice="Look at the samples of this step: one broken answer or a fault of the reward "
            "function moves the whole batch.",
            value=value,
            reference=level,
            sigma=z,
            threshold=self._ok.sigma,
        )
