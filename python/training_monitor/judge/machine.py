"""The detectors of the machine, over its samples."""

from __future__ import annotations

from training_monitor.detect.hardware import Gpu
from training_monitor.detect.memory import Filling, GpuMemory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from training_monitor.detect.finding import Finding
    from training_monitor.machine import Latest

__all__ = ["MachineWatch"]

# The file system that workers of a data loader share batches in.
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 -- it is looked at, not written to


class MachineWatch:
    """Watches hosts, disks and GPUs of a run by their newest samples."""

    def __init__(self) -> None:
        self._filling: dict[str, Filling] = {}
        self._gpus: dict[str, Gpu] = {}
        self._memory: dict[str, GpuMemory] = {}
        self._seen: dict[str, float] = {}
        self.seconds_left = float("inf")

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
        hosts = {one.host for one in known}
        busy = {one.host: one.numbers.get("cpu_percent") for one in known if one.source == "host"}
        found: list[Finding] = []
        for one in known:
            name = one.source if len(hosts) == 1 else f"{one.host}:{one.source}"
            if self._seen.get(name) == one.time:
                continue
            self._seen[name] = one.time
            if one.source.startswith("gpu"):
                found += self._look_at_gpu(name, one, busy.get(one.host), step, is_training)
            else:
                found += self._look_at_room(name, one, step)
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
        used, total = numbers.get("memory_used_bytes"), numbers.get("memory_total_bytes")
        if used is not None and total:
            memory = self._memory.setdefault(name, GpuMemory(name, capacity_bytes=total))
            memory.seconds_left = self.seconds_left
            found += memory.push(step, used, one.time)
        return found
