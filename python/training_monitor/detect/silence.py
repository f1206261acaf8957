"""A metric that came again and again does not come any more, while others go on."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite

from training_monitor.detect.episode import Episode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.detect.finding import Finding

__all__ = ["Silence", "SilenceThresholds"]

# The longest pause is forgotten by this share at each point, so that one long pause does not
# make a metric unwatched for ever.
_FORGET = 0.98


@dataclass(frozen=True, slots=True)
class SilenceThresholds:
    """When a metric counts as silent.

    Attributes:
        pauses: So many of its longest pauses have gone by, in time and in steps,
        secs: and so many seconds.
        points: It has come so often before.
    """

    pauses: float = 5.0
    secs: float = 60.0
    points: int = 10


class _Key:
    """What is known of one metric."""

    __slots__ = ("count", "episode", "gap", "pause", "step", "time")

    def __init__(self, step: int, time: float, episode: Episode) -> None:
        self.step, self.time = step, time
        self.gap, self.pause = 0.0, 0.0
        self.count = 1
        self.episode = episode


class Silence:
    """Watches when each metric of a run comes.

    Pauses are taken from the times of the points, so that it makes no difference in which order
    the metrics of a step arrive. A run in which nothing comes at all is not silent here.

    Args:
        rank: Whose points these are.
        thresholds: When it is said.
    """

    __slots__ = ("_keys", "_newest_step", "_newest_time", "_ok", "_rank")

    def __init__(
        self, *, rank: int | None = None, thresholds: SilenceThresholds | None = None
    ) -> None:
        self._ok = SilenceThresholds() if thresholds is None else thresholds
        self._rank = rank
        self._keys: dict[str, _Key] = {}
        self._newest_step = 0
        self._newest_time = -inf

    def push(self, metric: str, step: int, time: float) -> list[Finding]:
        """Take note that a point of a metric came, whatever its value."""
        if not isfinite(time):
            return []
        key = self._keys.get(metric)
        if key is None:
            self._keys[metric] = _Key(step, time, Episode("metric_silent", metric, self._rank))
        else:
            pause, gap = time - key.time, step - key.step
            if gap < 0 or pause < -1.0:
                # A run that went back, or a clock: what was learned of the pauses still holds.
                self._newest_step, self._newest_time = step, time
            elif key.episode.severity is None:
                key.pause = max(pause, key.pause * _FORGET)
                key.gap = max(gap, key.gap * _FORGET)
            key.step, key.time = step, time
            key.count += 1
        if time > self._newest_time:
            self._newest_time = time
        if step > self._newest_step:
            self._newest_step = step
        if key is None or key.episode.severity is None:
            return []
        return key.episode.end(step, time, f"{metric} comes again, at step {step:,}")

    def tick(self) -> list[Finding]:
        """Return what has fallen silent; what it costs grows with the number of metrics."""
        ok, found = self._ok, []
        step, time = self._newest_step, self._newest_time
        for metric, key in self._keys.items():
            if key.count < ok.points or key.episode.severity is not None:
                continue
            silent = time - key.time
            if silent < max(ok.secs, ok.pauses * key.pause):
                continue
            if step - key.step < max(ok.pauses * key.gap, 1.0):
                continue
            text = (
                f"{metric} has not come for {silent:.0f} s, since step {key.step:,}, while others "
                f"are at step {step:,}; its longest pause was {key.pause:.0f} s"
            )
            found += key.episode.say(
                "warning",
                step,
                time,
                text,
                advice="Did the part of the program that logs it stop, or an evaluation hang?",
                value=silent,
                reference=key.pause,
                threshold=ok.pauses,
                since=key.step,
            )
        return found
