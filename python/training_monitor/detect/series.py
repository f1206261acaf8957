"""The detectors of one series, fed with its columns."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

import numpy as np

from training_monitor.detect.screening import Screening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from training_monitor.detect.column import Column
    from training_monitor.detect.finding import Finding
    from training_monitor.detect.thresholds import Thresholds

    Push = Callable[[int, float, float], list[Finding]]

__all__ = ["STEP_TIME", "Clock", "Series"]

# The name under which the time between the points of a run is told, where it logs none.
STEP_TIME = "time per step"
_CLOCK_RATIO = 1.3


class Series:
    """The detectors of one metric of one rank."""

    __slots__ = ("_clock", "_last_value", "_pushes", "_screening", "_turns", "last_time")

    def __init__(
        self,
        screening: Screening,
        pushes: Iterable[Push] = (),
        *,
        clock: Clock | None = None,
        turns: bool = False,
    ) -> None:
        self._screening = screening
        self._pushes = tuple(pushes)
        self._clock = clock
        # Whether jumps are to be seen where they are, though points are thinned.
        self._turns = turns
        self.last_time = self._last_value = np.nan

    def feed(self, column: Column, a_second: float, thinned_until: float) -> list[Finding]:
        """Look at new points.

        Args:
            column: They.
            a_second: Detectors in Python see so many of them in a second.
            thinned_until: Before this time points are missing.
        """
        found = self._screening.feed(column.steps, column.times, column.values)
        if self._clock is not None:
            found += self._clock.feed(column, thinned_until)
        if self._pushes:
            chosen = column.thinned(self.last_time, a_second)
            if self._turns:
                chosen = column.with_turns(chosen, self._last_value)
            for at in chosen:
                point = int(column.steps[at]), float(column.values[at]), float(column.times[at])
                for push in self._pushes:
                    found += push(*point)
        return found

    def note(self, column: Column) -> None:
        """Remember where this column ended."""
        if len(column.times) and isfinite(column.times[-1]):
            self.last_time = column.last_time()
            self._last_value = float(column.values[-1])


class Clock:
    """The time of a step, where a run logs none: from the times of a metric that comes often."""

    __slots__ = ("_last", "_screening")

    def __init__(self, rank: int, thresholds: Thresholds) -> None:
        # The time between two points has more in it than the step.
        patient = replace(thresholds.slowdown, ratio=_CLOCK_RATIO)
        self._screening = Screening(
            STEP_TIME, "step_time", rank=rank, thresholds=replace(thresholds, slowdown=patient)
        )
        self._last: tuple[float, float] = (np.nan, np.nan)

    def feed(self, column: Column, thinned_until: float) -> list[Finding]:
        """Look at the times of new points, as far as all of them are there."""
        steps = np.concatenate(([self._last[0]], column.steps.astype(np.float64)))
        times = np.concatenate(([self._last[1]], column.times))
        if len(column.steps):
            self._last = (steps[-1], times[-1])
        with np.errstate(all="ignore"):
            secs = np.diff(times) / np.diff(steps)
        # Where no times are known none of them is before that one.
        good = ~(times[:-1] < thinned_until) & np.isfinite(secs) & (np.diff(steps) > 0) & (secs > 0)
        return self._screening.feed(column.steps[good], column.times[good], secs[good])
