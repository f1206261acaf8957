"""A learning rate that does not go as a schedule goes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import isfinite

from training_monitor.detect.episode import Episode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.detect.finding import Finding

__all__ = ["LearningRate", "ScheduleThresholds"]

_CHANGES = 20
# So many points without a change end the warm-up.
_STILL = 8
# It grows without end when it has doubled so often and the newer half of that took hardly longer
# than the older one: of a linear warm-up it takes 32 times as long.
_DOUBLINGS = 10
_SLOWER = 1.5


@dataclass(frozen=True, slots=True)
class ScheduleThresholds:
    """When a learning rate is not as planned.

    Attributes:
        up: A warning when it rises by this factor at once, after the warm-up.
        up_critical: Critical when it rises by this factor above its highest value.
        down: Info when it falls by this factor at once, as a step decay does.
        down_warning: A warning when it falls by more than this factor at once.
        smooth: Such a change is no part of a smooth schedule: it is so many times the largest of
            the last twenty.
        restart: A rise from below this share of the peak back to the peak, or to no less than
            this share of it, is a restart: info.
        zero_points: A warning when it is zero for so many points, while training goes on.
    """

    up: float = 3.0
    up_critical: float = 10.0
    down: float = 2.0
    down_warning: float = 20.0
    smooth: float = 5.0
    restart: float = 0.2
    zero_points: int = 20


class LearningRate:
    """Watches one learning rate.

    Args:
        metric: The series.
        rank: Whose points these are.
        thresholds: When it is said.
    """

    __slots__ = ("_after", "_before", "_changes", "_count", "_doubled", "_jump", "_last",
                 "_last_step", "_metric", "_ok", "_peak", "_restarts", "_since_jump", "_still",
                 "_warming", "_zero", "_zeros", "_zeros_since")  # fmt: skip

    def __init__(
        self, metric: str, *, rank: int | None = None, thresholds: ScheduleThresholds | None = None
    ) -> None:
        self._metric = metric
        self._ok = ScheduleThresholds() if thresholds is None else thresholds
        self._jump = Episode("lr_jump", metric, rank)
        self._zero = Episode("lr_zero", metric, rank)
        self._changes: deque[float] = deque(maxlen=_CHANGES)
        self._last, self._peak = -1.0, 0.0
        self._before = self._after = 0.0
        self._since_jump = self._count = 0
        # Whether the jump that stands is the restart of a schedule.
        self._restarts = False
        # Where it had doubled: counts of points, steps and values.
        self._doubled: deque[tuple[int, int, float]] = deque(maxlen=_DOUBLINGS + 1)
        self._last_step: int | None = None
        self._still = self._zeros = self._zeros_since = 0
        # Until it has fallen, or has stood still for a while, it is rising for the first time.
        self._warming = True

    def push(self, step: int, value: float, time: float) -> list[Finding]:
        """Take the next point."""
        if not isfinite(value) or value < 0:
            return []
        if self._last_step is not None and step < self._last_step:
            # Behind a restart the schedule goes on from where it was then.
            self._last, self._zeros = -1.0, 0
            self._changes.clear()
            self._doubled.clear()
        self._count += 1
        found = self._judge_zero(step, value, time)
        if self._last >= 0:
            found += self._judge_change(step, value, time)
        else:
            found += self._judge_end(step, value, time)
        found += self._judge_growth(step, value, time)
        self._last, self._last_step = value, step
        self._peak = max(self._peak, value)
        return found

    def _judge_zero(self, step: int, value: float, time: float) -> list[Finding]:
        if value > 1e-12 * self._peak:
            self._zeros = 0
            text = f"{self._metric} is {value:.3g} again at step {step:,}"
            return self._zero.end(step, time, text, value=value)
        if self._last_step is not None and step <= self._last_step:
            return []
        if self._zeros == 0:
            self._zeros_since = step
        self._zeros += 1
        if self._zeros < self._ok.zero_points or self._zero.said("warning"):
            return []
        text = f"{self._metric} has been zero since step {self._zeros_since:,}, now {step:,}"
        if self._peak == 0:
            text += ": it never was anything else"
        return self._zero.say(
            "warning",
            step,
            time,
            text,
            advice="Nothing is learned: the schedule has ended before the training, or it is "
            "stepped too often, or it was never started.",
            value=value,
            reference=self._peak,
            threshold=self._ok.zero_points,
            since=self._zeros_since,
        )

    def _judge_change(self, step: int, value: float, time: float) -> list[Finding]:
        last, changes = self._last, self._changes
        change = abs(value - last)
        largest = max(changes, default=0.0)
        changes.append(change)
        self._still = self._still + 1 if change == 0 else 0
        if value < last or self._still >= _STILL:
            self._warming = False
        found = self._judge_end(step, value, time)
        if value == last or self._warming or change <= self._ok.smooth * largest:
            return found
        judge = self._judge_rise if value > last else self._judge_fall
        return found + judge(step, value, time)

    def _judge_end(self, step: int, value: float, time: float) -> list[Finding]:
        """A rise stands until it is taken back, a fall for the twenty points that it is news.

        What falls with its schedule alone is as far off as it was, however low it comes; of the
        restart of a schedule that is the way back.
        """
        if self._jump.severity is None:
            return []
        self._since_jump += 1
        if not self._before < self._after:
            stands = self._since_jump <= _CHANGES
        else:
            last = self._after if self._last < 0 else self._last
            at_once = self._restarts or value * (self._after / self._before) ** 0.5 <= last
            stands = value > 1.5 * self._before or not at_once
        if stands:
            return []
        text = f"{self._metric} goes on at {value:.3g} at step {step:,}"
        return self._jump.end(step, time, text, value=value, reference=self._before)

    def _judge_growth(self, step: int, value: float, time: float) -> list[Finding]:
        """A rate that doubles again and again: by the usual warm-ups that takes ever longer."""
        doubled = self._doubled
        if value < self._last or value <= 0:
            doubled.clear()
        elif not doubled or value >= 2 * doubled[-1][2]:
            doubled.append((self._count, step, value))
            return self._say_growth(step, value, time)
        return []

    def _say_growth(self, step: int, value: float, time: float) -> list[Finding]:
        if len(self._doubled) <= _DOUBLINGS or self._jump.said("warning"):
            return []
        half = _DOUBLINGS // 2
        counts = [count for count, _, _ in self._doubled]
        # Before the first doubling it may have stood still.
        if counts[-1] - counts[half + 1] > _SLOWER * (counts[half] - counts[1]):
            return []
        _, since, before = self._doubled[1]
        self._before, self._after, self._since_jump, self._restarts = before, value, 0, False
        text = (
            f"{self._metric} grows without end: {value:.3g} at step {step:,}, {before:.3g} at step "
            f"{since:,}, and it doubles as fast as ever"
        )
        return self._jump.say(
            "warning", step, time, text,
            advice="A search for a learning rate looks like this; a schedule ends its warm-up.",
            value=value, reference=before, threshold=2.0 ** (_DOUBLINGS - 1), since=since,
        )  # fmt: skip

    def _judge_rise(self, step: int, value: float, time: float) -> list[Finding]:
        ok, last, peak = self._ok, self._last, self._peak
        if value < ok.up * last:
            return []
        severity = "warning"
        advice = (
            "Was the schedule started anew, as after a resume without its state, or are two groups "
            "of parameters logged under one name?"
        )
        if value > ok.up_critical * peak:
            severity = "critical"
        elif last <= ok.restart * peak < value <= 1.05 * peak:
            severity, advice = "info", "A restart of the schedule looks like this."
        return self._say(severity, step, value, time, advice, ok.up)

    def _judge_fall(self, step: int, value: float, time: float) -> list[Finding]:
        ok, last = self._ok, self._last
        if value <= 0 or value * ok.down > last:
            return []
        if value * ok.down_warning >= last:
            advice = "A step of a schedule looks like this."
            return self._say("info", step, value, time, advice, ok.down)
        advice = "No usual schedule falls so far at once: look for a wrong unit or a wrong step."
        return self._say("warning", step, value, time, advice, ok.down_warning)

    def _say(
        self, severity: str, step: int, value: float, time: float, advice: str, threshold: float
    ) -> list[Finding]:
        last = self._last
        way = f"{value / last:.3g} times" if value > last > 0 else f"a {last / value:.3g}th"
        if last == 0:
            way = "from zero"
        if not self._jump.said(severity):
            self._before, self._after, self._since_jump = last, value, 0
            self._restarts = severity == "info"
        text = f"{self._metric} went from {last:.3g} to {value:.3g} ({way}) at step {step:,}"
        return self._jump.say(
            severity,
            step,
            time,
            text,
            advice=advice,
            value=value,
            reference=last,
            threshold=threshold,
        )
