"""Rewards judged by ratios and fixed standard deviations, for those who are used to that."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import isfinite, sqrt

from training_monitor.detect.episode import Episode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.detect.finding import Finding

__all__ = ["RatioThresholds", "RewardRatios"]


@dataclass(frozen=True, slots=True)
class RatioThresholds:
    """Rules that mean little for rewards near zero: each is off until it is set.

    Attributes:
        std_threshold: A value so many standard deviations from the mean of the window is an
            outlier (usual: 3.0).
        drop_threshold: The fast moving average is below the slow one by this share (0.5).
        spike_threshold: The fast moving average is more than so many times the slow one (2.0).
        window_size: So many points are the window, and come before the first judgement of it.
        ema_alpha_short: Of the fast moving average.
        ema_alpha_long: Of the slow one.
    """

    std_threshold: float | None = None
    drop_threshold: float | None = None
    spike_threshold: float | None = None
    window_size: int = 100
    ema_alpha_short: float = 0.1
    ema_alpha_long: float = 0.01


# Before so many points there is nothing to compare with.
_WARM_UP = 20


class RewardRatios:
    """Watches one reward by those rules that are set.

    Args:
        metric: The series.
        rank: Whose points these are.
        thresholds: The rules.
    """

    __slots__ = ("_count", "_drop", "_fast", "_ok", "_outlier", "_slow", "_spike", "_window")

    def __init__(
        self, metric: str, *, rank: int | None = None, thresholds: RatioThresholds | None = None
    ) -> None:
        self._ok = RatioThresholds() if thresholds is None else thresholds
        self._outlier = Episode("outlier", metric, rank)
        self._drop = Episode("reward_drop", metric, rank)
        self._spike = Episode("spike", metric, rank)
        self._window: deque[float] = deque(maxlen=self._ok.window_size)
        self._count = 0
        self._fast = self._slow = 0.0

    def push(self, step: int, value: float, time: float) -> list[Finding]:
        """Take the next point; a step that goes back counts like any other."""
        if not isfinite(value):
            return []
        found = self._judge_value(step, value, time)
        self._window.append(value)
        if self._count == 0:
            self._fast = self._slow = value
        self._count += 1
        self._fast += self._ok.ema_alpha_short * (value - self._fast)
        self._slow += self._ok.ema_alpha_long * (value - self._slow)
        if self._count >= _WARM_UP:
            found += self._judge_averages(step, time)
        return found

    def _judge_value(self, step: int, value: float, time: float) -> list[Finding]:
        bound, window = self._ok.std_threshold, self._window
        if bound is None or len(window) < min(_WARM_UP, self._ok.window_size):
            return []
        mean = sum(window) / len(window)
        sigma = sqrt(sum((it - mean) * (it - mean) for it in window) / len(window))
        if abs(value - mean) <= bound * sigma:
            text = f"the reward is {value:.4g} again at step {step:,}"
            return self._outlier.end(step, time, text, value=value, reference=mean)
        if sigma == 0:
            return []
        z = (value - mean) / sigma
        text = (
            f"the reward was {value:.4g} at step {step:,}, {abs(z):.1f} standard deviations from "
            f"the mean {mean:.4g} of the last {len(window)}"
        )
        return self._outlier.say(
            "warning", step, time, text, value=value, reference=mean, sigma=z, threshold=bound
        )

    def _judge_averages(self, step: int, time: float) -> list[Finding]:
        fast, slow, found = self._fast, self._slow, []
        numbers = f"{fast:.4g} at step {step:,}, the slow one {slow:.4g}"
        bound = self._ok.drop_threshold
        if bound is not None and slow > 0:
            if fast < (1 - bound) * slow:
                text = f"the fast moving average of the reward is {numbers}: down by {bound:.0%}"
                found += self._drop.say(
                    "warning", step, time, text, value=fast, reference=slow, threshold=bound
                )
            elif fast > (1 - bound / 2) * slow:
                text = f"the fast moving average of the reward is back: {numbers}"
                found += self._drop.end(step, time, text, value=fast, reference=slow)
        bound = self._ok.spike_threshold
        if bound is not None and slow > 0:
            if fast > bound * slow:
                text = (
                    f"the fast moving average of the reward is {numbers}: {bound:g} times as high"
                )
                found += self._spike.say(
                    "info", step, time, text, value=fast, reference=slow, threshold=bound
                )
            elif fast < (1 + bound) / 2 * slow:
                text = f"the fast moving average of the reward is back: {numbers}"
                found += self._spike.end(step, time, text, value=fast, reference=slow)
        return found
