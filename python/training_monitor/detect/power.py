"""The power of a GPU, which shows that it waits long before it counts as idle."""

from __future__ import annotations

from collections import deque
from math import isfinite

from training_monitor.detect.episode import Episode
from training_monitor.detect.robust import median

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.detect.finding import Finding

__all__ = ["Power"]

# The last minute against the ten before it.
_NOW_SECS = 60.0
_BEFORE_SECS = 600.0
_LEAST_NOW, _LEAST_BEFORE = 6, 20
# Below this share of what it was the power has dropped; above the other it is back.
_DROP, _BACK = 0.7, 0.85


class Power:
    """Watches one GPU.

    A GPU draws less for many good reasons. It is told only while steps take longer than they did:
    then it says that the GPU is not what is slow.

    Args:
        source: What it is about, as gpu0.
    """

    __slots__ = ("_before", "_episode", "_level", "_now", "_source")

    def __init__(self, source: str) -> None:
        self._source = source
        self._episode = Episode("gpu_power_drop", source)
        self._now: deque[tuple[float, float]] = deque()
        self._before: deque[tuple[float, float]] = deque()
        self._level = 0.0

    def push(
        self, step: int | None, watts: float, time: float, *, is_training: bool, is_slow: bool
    ) -> list[Finding]:
        """Take a sample.

        Args:
            step: Of the run.
            watts: What it draws.
            time: Wall clock.
            is_training: Whether steps are logged at present.
            is_slow: Whether they take longer than they did.
        """
        if not (is_training and isfinite(watts) and isfinite(time)):
            return []
        if self._now and time < self._now[-1][0]:
            self._now.clear()
            self._before.clear()
        self._now.append((time, watts))
        while self._now[0][0] < time - _NOW_SECS:
            # What it draws while it is said that this is too little is no measure of it.
            if self._episode.severity is None:
                self._before.append(self._now[0])
            self._now.popleft()
        while self._before and self._before[0][0] < self._before[-1][0] - _BEFORE_SECS:
            self._before.popleft()
        if len(self._now) < _LEAST_NOW or len(self._before) < _LEAST_BEFORE:
            return []
        return self._judge(step, time, is_slow)

    def _judge(self, step: int | None, time: float, is_slow: bool) -> list[Finding]:
        now = median(watts for _, watts in self._now)
        before = median(watts for _, watts in self._before)
        if now >= _BACK * before or not is_slow:
            text = f"{self._source} draws {now:.0f} W"
            return self._episode.end(step, time, text, value=now, reference=before)
        if now >= _DROP * before:
            return []
        return self._episode.say(
            "warning",
            step,
            time,
            f"{self._source} draws {now:.0f} W, {before:.0f} W before, while steps take longer",
            advice="It waits: for data, for another rank, or for the host.",
            value=now,
            reference=before,
            threshold=_DROP * before,
        )
