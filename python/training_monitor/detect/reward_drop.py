"""A reward that falls back on the way from its start to its best."""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass
from math import hypot, inf, isfinite, nan, sqrt

from training_monitor.detect.episode import Episode
from training_monitor.detect.robust import Noise, median

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from training_monitor.detect.finding import Finding

__all__ = ["RewardDrop", "RewardDropThresholds"]

# The level of now is the median of so many bins.
_LEVEL = 9
_NOISE_POINTS = 64
# A bin is one point, two points after so many bins, then four: a long run is judged as coarsely.
_MOST_BINS = 512
# Of the fall that the medians show the means have to show this share: of episodes that either win
# or lose a median goes from one to the other though hardly fewer are won.
_SHOWN = 0.5


@dataclass(frozen=True, slots=True)
class RewardDropThresholds:
    """When a reward counts as fallen. Rewards cross zero: no ratios of rewards.

    Attributes:
        fraction: The level is below this share of the way from the start to the best level.
        critical_fraction: The same for critical.
        sigma: It is so many standard deviations below the best level, too.
        flat_sigma: The same for a reward that has never risen, where there is no way.
        flat_fraction: Such a reward must lose this share of its best as well.
        least: It is below the best level by this share of the range of its values so far, too.
        errors: All bins since it fell are lower in the mean than as many around the best, by so
            many standard errors: where episodes differ much, it takes more of them.
        hold: For so many bins in a row (a bin is one point in the first thousand), and
        hold_share: for this share of the bins so far, though never for more than
        hold_most: so many bins.
    """

    fraction: float = 0.65
    critical_fraction: float = 0.25
    sigma: float = 2.5
    flat_sigma: float = 6.0
    flat_fraction: float = 0.25
    least: float = 0.15
    errors: float = 4.0
    hold: int = 8
    hold_share: float = 0.1
    hold_most: int = 30


class RewardDrop:
    """Watches the level of one reward.

    Args:
        metric: The series.
        rank: Whose points these are.
        thresholds: When it is said.
    """

    __slots__ = ("_best", "_best_at", "_best_step", "_bin", "_bins", "_count", "_episode",
                 "_highest", "_low", "_low_since", "_lowest", "_metric", "_missing", "_noise",
                 "_ok", "_recent", "_start", "_width")  # fmt: skip

    def __init__(
        self,
        metric: str,
        *,
        rank: int | None = None,
        thresholds: RewardDropThresholds | None = None,
    ) -> None:
        self._metric = metric
        self._ok = RewardDropThresholds() if thresholds is None else thresholds
        self._episode = Episode("reward_drop", metric, rank)
        self._noise = Noise(_NOISE_POINTS)
        self._recent: deque[float] = deque(maxlen=_LEVEL)
        self._start, self._best, self._best_step = nan, -inf, 0
        self._lowest, self._highest = inf, -inf
        self._count = self._low = self._low_since = 0
        self._bin: list[float] = []
        # All bins, and how many there were at the best level.
        self._bins = array("d")
        self._best_at = 0
        self._width = self._missing = 1

    def push(self, step: int, value: float, time: float) -> list[Finding]:
        """Take the next point; a step that goes back counts like any other."""
        if not isfinite(value):
            return []
        if self._width > 1:
            if len(self._bin) < 64:
                self._bin.append(value)
            self._missing -= 1
            if self._missing:
                return []
            value = median(self._bin)
            self._bin.clear()
            self._missing = self._width
        return self._push_bin(step, value, time)

    def _push_bin(self, step: int, value: float, time: float) -> list[Finding]:
        self._noise.push(value)
        self._recent.append(value)
        self._bins.append(value)
        self._count += 1
        if self._count >= 2 * _MOST_BINS:
            self._count //= 2
            self._best_at //= 2
            pairs = zip(self._bins[::2], self._bins[1::2], strict=True)
            self._bins = array("d", (one / 2 + two / 2 for one, two in pairs))
            self._width *= 2
            self._missing = self._width
        if self._count < _LEVEL:
            return []
        level = median(self._recent)
        if self._count == _LEVEL:
            self._start = level
        # Of three, so that one wild value is not the range.
        some = median(list(self._recent)[-3:])
        self._lowest, self._highest = min(self._lowest, some), max(self._highest, some)
        if level >= self._best:
            self._best, self._best_step, self._low = level, step, 0
            self._best_at = self._count
            return self._end(step, time, level)
        if self._count < 2 * _LEVEL:
            return []
        return self._judge(step, time, level)

    def _judge(self, step: int, time: float, level: float) -> list[Finding]:
        ok, gain = self._ok, self._best - self._start
        if not self._is_low(level, gain):
            self._low = 0
            back = level > self._start + (ok.fraction + 1) / 2 * gain
            return self._end(step, time, level) if back else []
        if self._low == 0:
            self._low_since = step
        self._low += 1
        if self._low < min(max(ok.hold, ok.hold_share * self._count), ok.hold_most):
            return []
        bad = level < self._start + ok.critical_fraction * gain
        severity = "critical" if bad else "warning"
        if self._episode.said(severity) or not self._is_beyond_noise(level):
            return []
        return self._say(severity, step, time, level)

    def _is_low(self, level: float, gain: float) -> bool:
        ok, fall = self._ok, self._best - level
        if fall < max(1e-9 * abs(self._best), ok.least * (self._highest - self._lowest)):
            return False
        sigma = self._noise.sigma
        if gain > ok.sigma / 2 * sigma and level < self._start + ok.fraction * gain:
            return fall > ok.sigma * sigma
        return fall > max(ok.flat_sigma * sigma, ok.flat_fraction * abs(self._best), gain)

    def _is_beyond_noise(self, level: float) -> bool:
        """Return whether the bins since it fell are another lot than those around the best."""
        count = self._low + _LEVEL // 2
        # The best level is the median of the bins before it.
        first = self._best_at - _LEVEL // 2 - count // 2
        first = max(0, min(first, self._count - 2 * count))
        then, then_error = self._mean(self._bins[first : first + count])
        now, now_error = self._mean(self._bins[-count:])
        least = self._ok.errors * hypot(then_error, now_error)
        return then - now > max(least, _SHOWN * (self._best - level))

    def _mean(self, bins: Sequence[float]) -> tuple[float, float]:
        """Return mean and standard error, without what is beyond the usual range."""
        values = [min(max(value, self._lowest), self._highest) for value in bins]
        count = len(values)
        mean = sum(value / count for value in values)
        # Not by a power: that raises where a product is infinite.
        variance = sum((value - mean) * (value - mean) for value in values) / max(count - 1, 1)
        return mean, sqrt(variance / count)

    def _say(self, severity: str, step: int, time: float, level: float) -> list[Finding]:
        sigma = self._noise.sigma
        text = (
            f"{self._metric} fell to {level:.4g} at step {step:,}: its best level was "
            f"{self._best:.4g} at step {self._best_step:,}, its start {self._start:.4g}"
        )
        return self._episode.say(
            severity,
            step,
            time,
            text,
            advice=(
                f"Go back to a checkpoint near step {self._best_step:,}, and look at KL, entropy "
                "and the parts of the reward since then; a smaller learning rate helps often."
            ),
            value=level,
            reference=self._best,
            sigma=(self._best - level) / sigma if sigma > 0 else nan,
            threshold=self._ok.fraction,
            since=self._low_since,
        )

    def _end(self, step: int, time: float, level: float) -> list[Finding]:
        if self._episode.severity is None:
            return []
        text = f"{self._metric} is back at {level:.4g} at step {step:,}"
        return self._episode.end(step, time, text, value=level, reference=self._best)
