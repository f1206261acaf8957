"""Whether steps that take longer wait for data, where a run logs how long it waits."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from math import isfinite, nan

from training_monitor.detect.column import Column
from training_monitor.detect.robust import median

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from training_monitor.detect.finding import Finding
    from training_monitor.judge.news import News

__all__ = ["Stalls"]

_MOST_POINTS = 1200
_LEAST_POINTS = 5
# Of the time that a step takes longer, so much is waiting for data.
_SHARE = 0.5
# A wait is a part of its step; in another unit it would not be.
_MOST_OF_STEP = 1.05


class Stalls:
    """Says of a slowdown that the data are why.

    The wait alone is no finding: where it is hidden behind the work of the GPU it costs nothing.
    """

    def __init__(self) -> None:
        self._points: deque[tuple[int, float]] = deque(maxlen=_MOST_POINTS)
        self._last_time = nan
        self._metric = ""
        self._standing: Finding | None = None

    def take(self, news: News) -> None:
        """Take new points of the time that steps wait for data; the first such metric counts."""
        if self._metric not in ("", news.metric):
            return
        self._metric = news.metric
        column = Column(news.steps, news.values, news.times)
        for at in column.thinned(self._last_time):
            value = float(news.values[at])
            if isfinite(value):
                self._points.append((int(news.steps[at]), value))
        self._last_time = column.last_time()

    def look(self, findings: Iterable[Finding]) -> list[Finding]:
        """Return what is to be said of slowdowns that were just found, or are over."""
        found = []
        for one in findings:
            if one.kind != "slowdown" or one.rank:
                continue
            if one.over:
                found += self._end(one)
            elif one.severity != "info" and self._explains(one):
                found.append(self._say(one))
        return found

    def _explains(self, slow: Finding) -> bool:
        before, now = self._waits(slow)
        if len(before) < _LEAST_POINTS or len(now) < _LEAST_POINTS:
            return False
        if median(now) > _MOST_OF_STEP * slow.value:
            return False
        return median(now) - median(before) >= _SHARE * (slow.value - slow.reference)

    def _waits(self, slow: Finding) -> tuple[list[float], list[float]]:
        """Return the waits before a slowdown and since."""
        since = slow.step if slow.since is None else slow.since
        if since is None:
            return [], []
        before = [value for step, value in self._points if step < since]
        return before, [value for step, value in self._points if step >= since]

    def _say(self, slow: Finding) -> Finding:
        before, now = (median(waits) for waits in self._waits(slow))
        at = "" if slow.since is None else f" since step {slow.since:,}"
        text = f"{self._metric} is {now:.4g}{at}, {before:.4g} before: steps wait for data"
        self._standing = replace(
            slow,
            kind="data_stall",
            metric=self._metric,
            text=text,
            advice="More workers or a larger prefetch of the data loader; look at the disk or the "
            "network that the data come from.",
            value=now,
            reference=before,
            sigma=nan,
            threshold=_SHARE,
        )
        return self._standing

    def _end(self, slow: Finding) -> list[Finding]:
        stood, self._standing = self._standing, None
        if stood is None:
            return []
        text = f"{stood.metric}: steps do not take longer any more"
        return [
            replace(stood, severity="info", step=slow.step, time=slow.time, text=text, advice="",
                    over=True)
        ]  # fmt: skip
