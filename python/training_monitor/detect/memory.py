"""What fills up: the memory of a GPU, that of the host, a disk, /dev/shm."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan

from training_monitor.detect.episode import Episode
from training_monitor.detect.trend import Trend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.detect.finding import Finding

__all__ = ["Filling", "FillingThresholds", "GpuMemory", "GpuMemoryThresholds"]

_GIB = 2.0**30
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class GpuMemoryThresholds:
    """When the memory of a GPU leaks, and when it will not suffice.

    Attributes:
        leak_per_hour: A leak is a steady rise of so much of the capacity in an hour,
        leak: and so much of it in the time that was looked at.
        full: The memory counts as full at this share of the capacity.
        risk_secs: A warning when it is full in so many seconds, or before the run ends.
        critical_secs: Critical when it is full in so many seconds.
        calm_secs: A leak is over when nothing has been seen of it for so long.
    """

    leak_per_hour: float = 0.02
    leak: float = 0.005
    full: float = 0.98
    risk_secs: float = 2 * _HOUR
    critical_secs: float = 900.0
    calm_secs: float = 2400.0


class GpuMemory:
    """Watches what one GPU, or one rank of it, uses.

    A high level alone says nothing: frameworks take nearly all memory at the start.

    Args:
        source: What it is about, as gpu0.
        capacity_bytes: What there is.
        rank: Whose memory it is; None: all of the GPU.
        thresholds: When something is said.
        first_secs: The first width of a window of samples.
    """

    __slots__ = ("_capacity", "_leak", "_leaked_at", "_ok", "_risk", "_source", "_trend",
                 "seconds_left")  # fmt: skip

    def __init__(
        self,
        source: str,
        *,
        capacity_bytes: float,
        rank: int | None = None,
        thresholds: GpuMemoryThresholds | None = None,
        first_secs: float = 20.0,
    ) -> None:
        self._source = source
        self._capacity = capacity_bytes
        self._ok = GpuMemoryThresholds() if thresholds is None else thresholds
        self._trend = Trend(first_secs=first_secs)
        self._leak = Episode("memory_leak", source, rank)
        self._risk = Episode("out_of_memory_risk", source, rank)
        self._leaked_at = -inf
        # Until the run is over, where somebody knows.
        self.seconds_left = inf

    def push(self, step: int | None, value: float, time: float) -> list[Finding]:
        """Take a sample of the bytes that are used."""
        if not self._trend.push(time, value):
            return []
        ok, trend, capacity = self._ok, self._trend, self._capacity
        per_hour = trend.slope * _HOUR
        leaks = per_hour > ok.leak_per_hour * capacity and trend.rise > ok.leak * capacity
        if not (trend.steady and leaks) or capacity <= 0:
            return self._calm(step, time, value)
        self._leaked_at = time
        left = max(ok.full * capacity - value, 0.0) / trend.slope
        used = f"{value / _GIB:.1f} of {capacity / _GIB:.1f} GiB are used"
        found = self._leak.say(
            "warning",
            step,
            time,
            f"{self._source} leaks {per_hour / _GIB:.2f} GiB of memory an hour: {used}, "
            f"{_duration(left)} are left",
            advice="Look for tensors that are kept from step to step: a loss that is summed up "
            "without .item(), outputs in a list, a graph that is retained.",
            value=per_hour / capacity,
            reference=0.0,
            threshold=ok.leak_per_hour,
        )
        severity = "critical" if left < ok.critical_secs else "warning"
        # Most leaks do not matter before the run is over.
        if left < min(ok.risk_secs, self.seconds_left) and not self._risk.said(severity):
            found += self._risk.say(
                severity,
                step,
                time,
                f"{self._source} runs out of memory in {_duration(left)}: {used}, "
                f"{per_hour / _GIB:.2f} GiB more an hour",
                advice="Write a checkpoint now, and restart before the memory is full.",
                value=left,
                reference=min(ok.risk_secs, self.seconds_left),
                threshold=ok.critical_secs if severity == "critical" else ok.risk_secs,
            )
        return found

    def _calm(self, step: int | None, time: float, value: float) -> list[Finding]:
        if 0 <= time - self._leaked_at < self._ok.calm_secs:
            return []
        text = f"the memory of {self._source} does not grow any more: {value / _GIB:.1f} GiB"
        return self._leak.end(step, time, text) + self._risk.end(step, time, text)


@dataclass(frozen=True, slots=True)
class FillingThresholds:
    """When a memory or a disk of the host is about to be full.

    Attributes:
        free_share: A warning below this share of free space, as long as it is below
        free_bytes: so many bytes.
        critical_share: Critical below this share of free space, as long as it is below
        critical_bytes: so many bytes.
        per_hour: A slope below this share of the capacity in an hour says nothing, nor does
        rise: less than this share in the time that was looked at.
        risk_secs: A warning when it is full in so many seconds.
        critical_secs: Critical when it is full in so many seconds.
        used_share: It is more than so full when time alone is the reason.
    """

    free_share: float = 0.05
    free_bytes: float = 8 * _GIB
    critical_share: float = 0.02
    critical_bytes: float = 1 * _GIB
    per_hour: float = 0.01
    rise: float = 0.005
    risk_secs: float = 2 * _HOUR
    critical_secs: float = 600.0
    used_share: float = 0.5


_ADVICE = {
    "ram_exhaustion": "Fewer workers of the data loader, or smaller caches; look which process "
    "grows. The kernel ends the largest one when memory is gone.",
    "disk_exhaustion": "Remove old checkpoints, or write them elsewhere: the next one may not "
    "fit any more.",
    "shm_exhaustion": "Workers of the data loader share batches there: fewer workers, a smaller "
    "prefetch, or a larger --shm-size of the container.",
}


class Filling:
    """Watches one memory or file system of the host.

    Args:
        kind: ram_exhaustion, disk_exhaustion or shm_exhaustion.
        source: What it is about, as host or the path of a disk.
        thresholds: When something is said.
        first_secs: The first width of a window of samples.
    """

    __slots__ = ("_episode", "_kind", "_ok", "_source", "_trend")

    def __init__(
        self,
        kind: str,
        source: str,
        *,
        thresholds: FillingThresholds | None = None,
        first_secs: float = 20.0,
    ) -> None:
        self._kind = kind
        self._source = source
        self._ok = FillingThresholds() if thresholds is None else thresholds
        self._trend = Trend(first_secs=first_secs)
        self._episode = Episode(kind, source)

    def push(
        self, step: int | None, value: float, time: float, *, capacity_bytes: float
    ) -> list[Finding]:
        """Take a sample of the bytes that are used, of so many."""
        if not (0 <= value <= capacity_bytes and 0 < capacity_bytes < inf):
            return []
        self._trend.push(time, value)
        ok, free = self._ok, capacity_bytes - value
        left = self._seconds_left(value, free, capacity_bytes)
        floor = min(ok.critical_share * capacity_bytes, ok.critical_bytes)
        low = min(ok.free_share * capacity_bytes, ok.free_bytes)
        if free < floor or left < ok.critical_secs:
            severity = "critical"
        elif free < low or left < ok.risk_secs:
            severity = "warning"
        else:
            if free < 1.3 * low or left < 2 * ok.risk_secs:
                return []
            text = f"{self._source} has {free / _GIB:.1f} GiB free again"
            return self._episode.end(step, time, text, value=free)
        if self._episode.said(severity):
            return []
        share = free / capacity_bytes
        text = f"{self._source} has {free / _GIB:.2f} GiB free ({share:.1%})"
        if left < inf:
            rate = self._trend.slope * _HOUR / _GIB
            text += f" and is full in {_duration(left)}: {rate:.2f} GiB more an hour"
        return self._episode.say(
            severity,
            step,
            time,
            text,
            advice=_ADVICE.get(self._kind, ""),
            value=free,
            reference=capacity_bytes,
            sigma=nan,
            threshold=floor if severity == "critical" else low,
        )

    def _seconds_left(self, value: float, free: float, capacity: float) -> float:
        trend, ok = self._trend, self._ok
        if trend.slope * _HOUR < ok.per_hour * capacity or trend.rise < ok.rise * capacity:
            return inf
        if value < ok.used_share * capacity:
            return inf
        return free / trend.slope


def _duration(secs: float) -> str:
    """Return a time for people."""
    if secs < 90:
        return f"{secs:.0f} s"
    if secs < 2 * _HOUR:
        return f"{secs / 60:.0f} min"
    return f"{secs / _HOUR:.1f} h" if secs < 100 * _HOUR else f"{secs / _HOUR / 24:.0f} days"
