"""Shares that are too high for long: of answers that are cut, of groups without a gradient."""

from __future__ import annotations

from collections import deque
from math import isfinite

from training_monitor.detect.episode import Episode
from training_monitor.detect.robust import median

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.detect.finding import Finding

__all__ = ["HighShare"]

# Points whose median is the level of now.
_LEVEL = 9


class HighShare:
    """Watches a share, from 0 to 1, that should stay below a bound.

    Args:
        kind: Of the findings.
        metric: The series.
        rank: Whose points these are.
        bound: A warning above it.
        back: It is over below this share of the bound.
        what: The sentence; `{level}` and `{step}` stand in it.
        advice: What to do.
    """

    __slots__ = ("_advice", "_back", "_bound", "_episode", "_metric", "_recent", "_what")

    def __init__(
        self,
        kind: str,
        metric: str,
        rank: int | None,
        *,
        bound: float,
        back: float,
        what: str,
        advice: str,
    ) -> None:
        self._metric = metric
        self._bound = bound
        self._back = back * bound
        self._what = what
        self._advice = advice
        self._episode = Episode(kind, metric, rank)
        self._recent: deque[float] = deque(maxlen=_LEVEL)

    def push(self, step: int, value: float, time: float) -> list[Finding]:
        """Take the next point."""
        if not isfinite(value):
            return []
        self._recent.append(value)
        if len(self._recent) < _LEVEL:
            return []
        level = median(self._recent)
        if level < self._back:
            text = f"{self._metric} is back at {level:.0%} at step {step:,}"
            return self._episode.end(step, time, text, value=level)
        if level <= self._bound or self._episode.said("warning"):
            return []
        text = f"{self._what.format(level=f'{level:.0%}', step=f'{step:,}')} ({self._metric})"
        return self._episode.say(
            "warning",
            step,
            time,
            text,
            advice=self._advice,
            value=level,
            threshold=self._bound,
        )
