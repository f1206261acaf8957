"""The detectors of the machine, over its samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training_monitor.detect.hardware import Gpu
from training_monitor.detect.memory import Filling, GpuMemory
from training_monitor.detect.power import Power
from training_monitor.machine import latest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from training_monitor import _core
    from training_monitor.detect.finding import Finding
    from training_monitor.machine import Latest

__all__ = ["MachineWatch"]

# So far back, and in so many samples, it is recalled how memory and disks were.
_RECALLED_SECS = 6 * 3600.0
_MOST_RECALLED = 1000
# The file system that workers of a data loader share batches in.
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 -- it is looked at, not written to


class MachineWatch:
    """Watches hosts, disks and GPUs of a run by their newest samples.

    Attributes:
        seconds_left: Until the end of the run; infinite: not known.
        is_slow: Whether steps take longer than they did.
    """

    def __init__(self) -> None:
        self._filling: dict[str, Filling] = {}
        self._gpus: dict[str, Gpu] = {}
        self._memory: dict[str, GpuMemory] = {}
        self._seen: dict[str, float] = {}
        self._hosts: set[str] = set()
        self._power: dict[str, Power] = {}
        self.seconds_left = float("inf")
        self.is_slow = False

    def look(
        self, sources: Iterable[Latest], *, step: int | None, is_training: bool
    ) -> list[Finding]:
        """Look at the newest sample of each source; one that was seen already is left out.

        Args:
            sources: The newest samples.
            step: Of the run.
            is_training: Whether steps are logged at present.
        """
        known = list(sources)
        self._hosts.update(one.host for one in known)
        busy = {one.host: one.numbers.get("cpu_percent") for one in known if one.source == "host"}
        found: list[Finding] = []
        for one in known:
            name = one.source if len(self._hosts) == 1 else f"{one.host}:{one.source}"
            if self._seen.get(name) == one.time:
                continue
            self._seen[name] = one.time
            if one.source.startswith("gpu"):
                found += self._look_at_gpu(name, one, busy.get(one.host), step, is_training)
            else:
                found += self._look_at_room(name, one, step)
        return found

    def recall(self, reader: _core.RunReader) -> list[Finding]:
        """Look at what was sampled before: what fills up does so over hours."""
        found: list[Finding] = []
        sources = latest(reader)
        self._hosts.update(one.host for one in sources)
        for one in sources:
            for metric in ("memory_used_bytes", "used_bytes"):
                if metric not in one.numbers:
                    continue
                since = one.time - _RECALLED_SECS
                columns = reader.system(
                    one.host, one.source, metric, since=since, max_points=_MOST_RECALLED
                )
                times, values = (np.frombuffer(column, np.float64) for column in columns[:2])
                for time, value in zip(times.tolist(), values.tolist(), strict=True):
                    if time < one.time:
                        before = replace(one, time=time, numbers={**_room(one), metric: value})
                        found += self.look((before,), step=None, is_training=False)
        return found

    def _look_at_room(self, name: str, one: Latest, step: int | None) -> list[Finding]:
        numbers = one.numbers
        if one.source in ("host", "cgroup"):
            kind, used = "ram_exhaustion", numbers.get("memory_used_bytes")
            total = numbers.get("memory_total_bytes") or numbers.get("memory_limit_bytes")
        elif one.source.startswith("disk"):
            shared = _SHARED_MEMORY in (one.source.partition(":")[2], one.facts.get("path"))
            kind = "shm_exhaustion" if shared else "disk_exhaustion"
            used, total = numbers.get("used_bytes"), numbers.get("total_bytes")
        else:
            return []
        if used is None or not total:
            return []
        filling = self._filling.setdefault(name, Filling(kind, name))
        return filling.push(step, used, one.time, capacity_bytes=total)

    def _look_at_gpu(
        self, name: str, one: Latest, host: float | None, step: int | None, is_training: bool
    ) -> list[Finding]:
        numbers = one.numbers
        gpu = self._gpus.setdefault(name, Gpu(name))
        found = gpu.push(
            one.time,
            step=step,
            utilization_percent=numbers.get("utilization_percent"),
            temperature_celsius=numbers.get("temperature_celsius"),
            sm_clock_mhz=numbers.get("sm_clock_mhz"),
            host_cpu_percent=host,
            is_training=is_training,
        )
        watts = numbers.get("power_watts")
        if watts is not None:
            power = self._power.setdefault(name, Power(name))
            is_slow = self.is_slow
            found += power.push(step, watts, one.time, is_training=is_training, is_slow=is_slow)
        used, total = numbers.get("memory_used_bytes"), numbers.get("memory_total_bytes")
        if used is not None and total:
            memory = self._memory.setdefault(name, GpuMemory(name, capacity_bytes=total))
            memory.seconds_left = self.seconds_left
            found += memory.push(step, used, one.time)
        return found


def _room(one: Latest) -> dict[str, float]:
    """Return how large it is, which does not change."""
    return {
        name: value for name, value in one.numbers.items() if "total" in name or "limit" in name
    }
