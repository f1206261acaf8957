"""Plateau: a series does not get better any more."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf, isfinite, nan

from training_monitor.detect.episode import Episode
from training_monitor.detect.robust import Noise, Summary, median

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.detect.finding import Finding

__all__ = ["Plateau", "PlateauThresholds"]

_SUMMARY = 64
# A part of the run that is compared has at least so many medians of the summary.
_LEAST = 3
# The window of the rule by steps is cut into so many blocks.
_BLOCKS = 40
# Inside, less is better.
_SIGN = {"min": 1.0, "max": -1.0}


@dataclass(frozen=True, slots=True)
class PlateauThresholds:
    """When a series counts as flat.

    Attributes:
        part: The last two parts of the run, each so large, are compared with the one before.
        open_part: The same for a run whose end is not known: a part of what was so far.
        sigma: Each changed by less than so many standard deviations of the noise of one point, and
        gain: both together by less than this share.
        gained: It has gained so many standard deviations before.
        persist: At so many looks in a row; there are some 40 of them in a run.
        p_gain: Or somebody who knows says so: the probability of a further gain is below this,
        p_gain_times: so many times in a row.
        points: Not before so many points, and
        open_points: so many where the end is not known.
        steps_warning: By steps: the second half of the last so many steps is hardly better than
            the first; takes the place of the rule above where it is set (usual: 500).
        steps_critical: The same for critical (usual: 1000).
        steps_gain: Hardly better, there, is less than this share.
    """

    part: float = 0.1
    open_part: float = 0.25
    sigma: float = 0.25
    gain: float = 0.005
    gained: float = 4.0
    persist: int = 3
    p_gain: float = 0.1
    p_gain_times: int = 2
    points: int = 20
    open_points: int = 80
    steps_warning: int | None = None
    steps_critical: int | None = None
    steps_gain: float = 0.01


class Plateau:
    """Watches one series: a validation loss, a score, or a train loss where there is neither.

    Args:
        metric: The series.
        goal: "min" or "max".
        rank: Whose points these are.
        thresholds: When it is said.

    Attributes:
        end: The last step of the run; None: not known, and what was so far is the run.
    """

    __slots__ = ("_best", "_blocks", "_chance_step", "_episode", "_goal", "_last_step",
                 "_low_chance", "_lr", "_lr_peak", "_metric", "_noise", "_ok",
                 "_seen", "_start", "_streak", "_summary", "end", "said_at")  # fmt: skip

    def __init__(
        self,
        metric: str,
        *,
        goal: str = "min",
        rank: int | None = None,
        thresholds: PlateauThresholds | None = None,
    ) -> None:
        self._metric = metric
        self._goal = _SIGN[goal]
        self._ok = PlateauThresholds() if thresholds is None else thresholds
        self._episode = Episode("plateau", metric, rank)
        self._lr = self._lr_peak = nan
        self._low_chance = 0
        self._chance_step: int | None = None
        self.end: int | None = None
        longest = max(self._ok.steps_warning or 0, self._ok.steps_critical or 0)
        self._blocks = _Blocks(longest) if longest else None
        self._forget()

    def _forget(self) -> None:
        self._summary = Summary(_SUMMARY)
        self._noise = Noise(64)
        self._start = 0
        self._seen = 0
        self._last_step: int | None = None
        self._streak = 0
        self._best = inf
        self.said_at = nan

    def push_lr(self, step: int, value: float, time: float) -> list[Finding]:  # noqa: ARG002
        """Take a point of the learning rate: what is flat now may gain when it decays."""
        if isfinite(value) and value >= 0:
            self._lr = value
            self._lr_peak = value if not self._lr_peak >= value else self._lr_peak
        return []

    def push_p_gain(self, step: int, value: float, time: float) -> list[Finding]:
        """Take a probability of a further gain that somebody has worked out."""
        if not isfinite(value) or step == self._chance_step:
            return []
        self._chance_step = step
        self._low_chance = self._low_chance + 1 if value < self._ok.p_gain else 0
        if self._low_chance < self._ok.p_gain_times or self._episode.said("warning"):
            return []
        text = (
            f"{self._metric} will hardly gain more: at step {step:,} the probability of a further "
            f"{self._ok.gain:.1%} is {value:.0%}"
        )
        return self._say("warning", step, time, text, value, self._ok.p_gain)

    def push(self, step: int, value: float, time: float) -> list[Finding]:
        """Take the next point."""
        if not isfinite(value):
            return []
        found: list[Finding] = []
        if self._last_step is not None and step < self._start + (self._last_step - self._start) / 2:
            text = f"{self._metric} went back to step {step:,}"
            found = self._episode.end(step, time, text)
            self._forget()
        if self._seen == 0:
            self._start = step
        self._last_step = step
        self._seen += 1
        value *= self._goal
        if self._blocks is not None:
            return found + self._judge_steps(self._blocks, step, value, time)
        self._noise.push(value)
        least = self._ok.points if self._ends(step) else self._ok.open_points
        if not self._summary.push(step, value) or self._seen < least:
            return found
        return found + self._judge(step, time)

    def _judge(self, step: int, time: float) -> list[Finding]:
        before, middle, now = self._parts(step)
        ok, sigma = self._ok, self._noise.sigma
        scale = abs(now) or 1.0
        if not isfinite(now):
            return []
        self._best = min(self._best, now)
        if self._episode.severity is not None:
            # A gain since it was said, by more than the noise of a part.
            if self.said_at - now > max(2 * ok.gain * scale, sigma / 2):
                self._low_chance = 0
                text = f"{self._metric} gains again: {self._goal * now:.4g} at step {step:,}"
                return self._episode.end(step, time, text, value=self._goal * now)
            return []
        bound = max(ok.sigma * sigma, ok.gain / 2 * scale)
        # What has got worse is no plateau, but that is for others to say.
        flat = abs(before - middle) < bound and abs(middle - now) < bound
        flat = flat and before - now <= ok.gain * scale
        flat = flat and now - self._best <= max(2 * ok.gain * scale, sigma)
        # What has never gained has not begun to learn: that is another thing.
        flat = flat and max(self._summary.values) - now > max(ok.gained * sigma, ok.gain * scale)
        self._streak = self._streak + 1 if flat else max(self._streak - 1, 0)
        if self._streak < ok.persist:
            return []
        self.said_at = now
        text = (
            f"{self._metric} is flat at {self._goal * now:.4g} at step {step:,}: "
            f"{(before - now) / scale:+.2%} over the last {2 * self._part(step):,.0f} steps"
        )
        return self._say("info", step, time, text, before - now, ok.gain * scale)

    def _ends(self, step: int) -> bool:
        """Return whether it is known where the run ends."""
        return self.end is not None and self.end >= step

    def _part(self, step: int) -> float:
        """Return the steps of one part.

        Of a run whose end is not known only what was so far can be taken, and much of it: early
        on, all of it is little.
        """
        if self.end is not None and self._ends(step):
            return self._ok.part * abs(self.end - self._start)
        return self._ok.open_part * abs(step - self._start)

    def _parts(self, step: int) -> tuple[float, float, float]:
        """Return the median of each of the last three parts of the run; NaN: it is too early."""
        places, values = self._summary.places, self._summary.values
        part = self._part(step)
        count, cuts = len(values), [len(values)]
        if step - self._start < 3 * part or count < 3 * _LEAST:
            return nan, nan, nan
        for number in (1, 2, 3):
            cut = cuts[-1] - _LEAST
            while cut > 0 and places[cut - 1] > step - number * part:
                cut -= 1
            cuts.append(max(cut, 0))
        now, middle, before = (median(values[cuts[n + 1] : cuts[n]]) for n in range(3))
        return before, middle, now

    def _judge_steps(self, blocks: _Blocks, step: int, value: float, time: float) -> list[Finding]:
        blocks.push(step, value)
        ok, found = self._ok, []
        severity, gain = None, nan
        for name, steps in (("warning", ok.steps_warning), ("critical", ok.steps_critical)):
            halves = blocks.halves(step, steps) if steps else None
            if halves is None:
                continue
            gain = (halves[0] - halves[1]) / (abs(halves[0]) or 1.0)
            if gain < ok.steps_gain:
                severity = (name, steps, gain)
            elif severity is None and name == "warning":
                text = f"{self._metric} gains again at step {step:,}"
                found = self._episode.end(step, time, text)
        if severity is None or self._episode.said(severity[0]):
            return found
        name, steps, gain = severity
        text = f"{self._metric} gained {gain:.2%} over {steps:,} steps, at step {step:,}"
        return found + self._say(name, step, time, text, gain, ok.steps_gain)

    def _say(
        self, severity: str, step: int, time: float, text: str, value: float, threshold: float
    ) -> list[Finding]:
        advice = "Stop, or lower the learning rate if it was not lowered yet."
        if self._lr > 0.3 * self._lr_peak:
            text += f"; the learning rate is still {self._lr:.3g}"
            advice = (
                "Flat now, but its decay is still ahead if one is planned: most late gain comes in "
                "the decay. Without one, lower the learning rate."
            )
        return self._episode.say(
            severity, step, time, text, advice=advice, value=value, threshold=threshold
        )


class _Blocks:
    """Means of the values in blocks of steps."""

    __slots__ = ("_blocks", "_width")

    def __init__(self, steps: int) -> None:
        self._width = max(steps // _BLOCKS, 1)
        # Of each block its number, the sum of its values and their count.
        self._blocks: deque[tuple[int, float, int]] = deque(maxlen=_BLOCKS + 1)

    def push(self, step: int, value: float) -> None:
        number = step // self._width
        if self._blocks and self._blocks[-1][0] > number:
            self._blocks.clear()
        if self._blocks and self._blocks[-1][0] == number:
            _, total, count = self._blocks.pop()
            self._blocks.append((number, total + value, count + 1))
        else:
            self._blocks.append((number, value, 1))

    def halves(self, step: int, steps: int) -> tuple[float, float] | None:
        """Return the means of the two halves of the last so many steps; None: too few."""
        if not self._blocks or self._blocks[0][0] > (step - steps) // self._width + 1:
            return None
        sums = [0.0, 0.0]
        counts = [0, 0]
        for number, total, count in self._blocks:
            place = number * self._width
            if place > step - steps:
                half = int(place > step - steps / 2)
                sums[half] += total
                counts[half] += count
        if not all(counts):
            return None
        return sums[0] / counts[0], sums[1] / counts[1]
