"""GPUs that idle, are slowed down or are hot while the training goes on."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import isfinite, nan

from training_monitor.detect.episode import Episode
from training_monitor.detect.robust import median

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from training_monitor.detect.finding import Finding

__all__ = ["Gpu", "GpuThresholds"]

# Reasons that no plan has: at its limit of power (sw_power_cap) a busy GPU is all day.
_SLOWED = {
    "hw_slowdown": "the hardware slows it down",
    "hw_power_brake": "the power supply slows it down",
    "hw_thermal": "it is too hot",
    "sw_thermal": "it is too hot",
}
_MOST_SAMPLES = 256


@dataclass(frozen=True, slots=True)
class GpuThresholds:
    """When a GPU is not well.

    Attributes:
        idle_percent: A warning below this utilisation (the median of the time below),
        idle_secs: for so long, while the training goes on.
        host_busy_percent: A host as busy as that is why.
        throttled_secs: It is slowed down in most samples of so long.
        throttled_clock: Critical when its clock is below this share of its best.
        hot_celsius: Too hot where its own limit is not known: critical.
        hot_margin: A warning so many degrees below the limit.
        hot_secs: For so long.
    """

    idle_percent: float = 10.0
    idle_secs: float = 300.0
    host_busy_percent: float = 90.0
    throttled_secs: float = 60.0
    throttled_clock: float = 0.6
    hot_celsius: float = 90.0
    hot_margin: float = 4.0
    hot_secs: float = 60.0


class Gpu:
    """Watches one GPU by its samples.

    Args:
        source: What it is about, as gpu0.
        limit_celsius: Where it slows itself down; None: not known.
        thresholds: When something is said.
    """

    __slots__ = ("_best_clock", "_busy", "_clock", "_heat", "_hot", "_idle", "_last", "_limit",
                 "_ok", "_reasons", "_slow", "_source", "_throttled")  # fmt: skip

    def __init__(
        self,
        source: str,
        *,
        limit_celsius: float | None = None,
        thresholds: GpuThresholds | None = None,
    ) -> None:
        ok = GpuThresholds() if thresholds is None else thresholds
        self._source = source
        self._ok = ok
        self._limit = ok.hot_celsius if limit_celsius is None else limit_celsius
        self._idle = Episode("gpu_idle", source)
        self._slow = Episode("gpu_throttled", source)
        self._hot = Episode("gpu_hot", source)
        self._best_clock = 0.0
        self._clock = nan
        self._reasons: Collection[str] = ()
        self._last = nan
        self._forget()

    def _forget(self) -> None:
        self._busy = _Span(self._ok.idle_secs)
        self._throttled = _Span(self._ok.throttled_secs)
        self._heat = _Span(self._ok.hot_secs)

    def push(
        self,
        time: float,
        *,
        step: int | None = None,
        utilization_percent: float | None = None,
        temperature_celsius: float | None = None,
        sm_clock_mhz: float | None = None,
        throttle_reasons: Collection[str] | None = None,
        host_cpu_percent: float | None = None,
        is_training: bool = True,
    ) -> list[Finding]:
        """Take a sample; what is None is not known.

        Args:
            time: Wall clock.
            step: Of the run.
            utilization_percent: Share of the time in which it did anything.
            temperature_celsius: Its temperature.
            sm_clock_mhz: Its clock.
            throttle_reasons: Why it is slower than it could be.
            host_cpu_percent: How busy the host is, to tell why a GPU waits.
            is_training: Whether steps are logged: a GPU may idle before, after and in a pause.
        """
        if not isfinite(time):
            return []
        if time < self._last - 1.0:
            self._forget()
        self._last = time
        found = self._judge_use(time, step, utilization_percent, host_cpu_percent, is_training)
        found += self._judge_clock(time, step, sm_clock_mhz, throttle_reasons)
        return found + self._judge_heat(time, step, temperature_celsius)

    def _judge_use(
        self,
        time: float,
        step: int | None,
        percent: float | None,
        host: float | None,
        is_training: bool,
    ) -> list[Finding]:
        if not is_training:
            self._busy.clear()
            return []
        if percent is None or not self._busy.push(time, percent):
            return []
        ok, level = self._ok, median(self._busy.values)
        if level > 2 * ok.idle_percent:
            text = f"{self._source} is {level:.0f} % busy again"
            return self._idle.end(step, time, text, value=level)
        if level >= ok.idle_percent or self._idle.said("warning"):
            return []
        text = (
            f"{self._source} was {level:.0f} % busy over the last {_span(ok.idle_secs)} while the "
            "training goes on"
        )
        advice = "Is the model on this GPU at all? If it is, it waits: look at the time for data."
        if host is not None and host >= ok.host_busy_percent:
            text += f", and the host {host:.0f} %"
            advice = "The host cannot feed it: less work per sample, more cores, or data made ready"
            advice += " before."
        return self._idle.say(
            "warning", step, time, text, advice=advice, value=level, threshold=ok.idle_percent
        )

    def _judge_clock(
        self, time: float, step: int | None, clock: float | None, reasons: Collection[str] | None
    ) -> list[Finding]:
        if clock is not None and isfinite(clock):
            self._clock = clock
            self._best_clock = max(self._best_clock, clock)
        if reasons is None:
            return []
        slowed = [reason for reason in reasons if reason in _SLOWED]
        if slowed:
            self._reasons = tuple(slowed)
        if not self._throttled.push(time, float(bool(slowed))):
            return []
        share = sum(self._throttled.values) / len(self._throttled.values)
        if share < 0.1:
            return self._slow.end(step, time, f"{self._source} is not slowed down any more")
        if share < 0.5:
            return []
        ok = self._ok
        rate = self._clock / self._best_clock if self._best_clock > 0 else nan
        severity = "critical" if rate < ok.throttled_clock else "warning"
        if self._slow.said(severity):
            return []
        why = ", ".join(sorted({_SLOWED[reason] for reason in self._reasons}))
        text = f"{self._source} is slowed down ({why}; {', '.join(sorted(self._reasons))})"
        if isfinite(rate):
            text += f": its clock is {self._clock:.0f} MHz, {rate:.0%} of its best"
        return self._slow.say(
            severity,
            step,
            time,
            text,
            advice="Look at cooling and power of the node. One slow GPU slows down all ranks.",
            value=self._clock,
            reference=self._best_clock,
            threshold=ok.throttled_clock,
        )

    def _judge_heat(self, time: float, step: int | None, celsius: float | None) -> list[Finding]:
        if celsius is None or not self._heat.push(time, celsius):
            return []
        level, warm = median(self._heat.values), self._limit - self._ok.hot_margin
        if level < warm - 3:
            text = f"{self._source} has cooled down to {level:.0f} °C"
            return self._hot.end(step, time, text, value=level)
        if level < warm:
            return []
        severity = "critical" if level >= self._limit else "warning"
        if self._hot.said(severity):
            return []
        return self._hot.say(
            severity,
            step,
            time,
            f"{self._source} is at {level:.0f} °C; it slows itself down at {self._limit:.0f} °C",
            advice="Look at fans, air flow and the neighbours in the rack, or lower the limit of "
            "its power.",
            value=level,
            reference=self._limit,
            threshold=warm,
        )


class _Span:
    """The samples of the last so many seconds; thinned to 256."""

    __slots__ = ("_points", "_secs", "_since")

    def __init__(self, secs: float) -> None:
        self._secs = secs
        self._points: deque[tuple[float, float]] = deque()
        self._since = nan

    def push(self, time: float, value: float) -> bool:
        """Take a sample; return whether they reach back far enough."""
        if not isfinite(value):
            return False
        points = self._points
        if points and time - points[-1][0] > max(self._secs, 120.0):
            points.clear()  # nobody looked for so long
        if not points:
            self._since = time
        if len(points) < _MOST_SAMPLES or time - points[-1][0] >= self._secs / _MOST_SAMPLES:
            points.append((time, value))
        while points and points[0][0] < time - self._secs:
            points.popleft()
        return time - self._since >= self._secs and len(points) >= 3

    def clear(self) -> None:
        self._points.clear()

    @property
    def values(self) -> list[float]:
        return [value for _, value in self._points]


def _span(secs: float) -> str:
    return f"{secs:.0f} s" if secs < 120 else f"{secs / 60:.0f} min"
