"""Memory that the training logs itself, in a unit and with a capacity that nobody knows."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite

from training_monitor.detect.episode import Episode
from training_monitor.detect.trend import Trend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.detect.finding import Finding

__all__ = ["LoggedMemory", "LoggedMemoryThresholds"]

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class LoggedMemoryThresholds:
    """When memory that is logged as a metric leaks.

    Attributes:
        per_hour: A leak is a steady rise of so much of what is used, in an hour,
        rise: and so much of it in the time that was looked at.
        lasts_secs: It has gone on for so long,
        straight: at no less than this share of its fastest: a cache that fills up gets slower.
        calm_secs: A leak is over when nothing has been seen of it for so long.
    """

    per_hour: float = 0.05
    rise: float = 0.05
    lasts_secs: float = 3600.0
    straight: float = 0.6
    calm_secs: float = 2400.0


class LoggedMemory:
    """Watches one metric of memory, as that of `torch.cuda.memory_allocated()`.

    Caches that fill up rise ever more slowly, and a peak rises in steps: neither is a steady rise.

    Args:
        metric: Its name.
        rank: Whose points these are.
        thresholds: When something is said.
    """

    __slots__ = ("_began", "_episode", "_fastest", "_leaked_at", "_metric", "_ok", "_trend")

    def __init__(
        self,
        metric: str,
        *,
        rank: int | None = None,
        thresholds: LoggedMemoryThresholds | None = None,
    ) -> None:
        self._metric = metric
        self._ok = LoggedMemoryThresholds() if thresholds is None else thresholds
        self._trend = Trend()
        self._episode = Episode("memory_leak", metric, rank)
        self._leaked_at = -inf
        self._began, self._fastest = inf, 0.0

    def push(self, step: int, value: float, time: float) -> list[Finding]:
        """Take the next point."""
        if not (isfinite(value) and value > 0.0 and self._trend.push(time, value)):
            return []
        ok, trend = self._ok, self._trend
        per_hour = trend.slope * _HOUR
        if not (trend.steady and per_hour > ok.per_hour * value and trend.rise > ok.rise * value):
            if 0 <= time - self._leaked_at < ok.calm_secs:
                return []
            self._began, self._fastest = inf, 0.0
            text = f"{self._metric} does not grow any more: {value:.4g} at step {step:,}"
            return self._episode.end(step, time, text, value=value)
        self._leaked_at = time
        self._began = min(self._began, time)
        self._fastest = max(self._fastest, per_hour)
        if time - self._began < ok.lasts_secs or per_hour < ok.straight * self._fastest:
            return []
        return self._episode.say(
            "warning",
            step,
            time,
            f"{self._metric} grows steadily: {value:.4g} at step {step:,}, {per_hour:.3g} more an "
            f"hour ({per_hour / value:.0%})",
            advice="Look for tensors that are kept from step to step: a loss that is summed up "
            "without .item(), outputs in a list, a graph that is retained.",
            value=per_hour / value,
            reference=0.0,
            threshold=ok.per_hour,
        )
