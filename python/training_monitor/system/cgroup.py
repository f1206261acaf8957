"""The limits of the container or the job that this process runs in, cgroup v1 and v2."""

from __future__ import annotations

import os
import time

from training_monitor.system.samples import CgroupSample

__all__ = ["Cgroup"]

# What the kernel shows for "no limit" in v1 is the largest page count; no machine has so much.
_NO_LIMIT_BYTES = 2**60


class Cgroup:
    """Reads limits and use; rates are since the look before.

    Args:
        membership: The file that names the groups of a process.
        mount: Where the groups are mounted.
    """

    __slots__ = ("_before", "_cpu_dirs", "_is_v2", "_memory_dirs")

    def __init__(
        self, membership: str = "/proc/self/cgroup", mount: str = "/sys/fs/cgroup"
    ) -> None:
        groups = _groups(membership)
        self._is_v2 = os.path.exists(os.path.join(mount, "cgroup.controllers"))
        if self._is_v2:
            self._cpu_dirs = self._memory_dirs = _levels(mount, groups.get("", "/"))
        else:
            self._cpu_dirs = _levels(os.path.join(mount, "cpu"), groups.get("cpu", "/"))
            self._memory_dirs = _levels(os.path.join(mount, "memory"), groups.get("memory", "/"))
        self._before: tuple[float, float, float] | None = None

    def sample(self) -> CgroupSample | None:
        """Return what is limited and how much of it is used; None when nothing is limited."""
        cores, limit_bytes = self._cpu_limit_cores(), self._memory_limit_bytes()
        if cores is None and limit_bytes is None:
            return None
        used_bytes = self._memory_used_bytes() if limit_bytes else None
        used_cores, throttled = self._cpu_rates()
        return CgroupSample(
            cpu_limit_cores=cores,
            cpu_used_cores=used_cores,
            cpu_percent=_percent(used_cores, cores),
            cpu_throttled_percent=throttled,
            memory_limit_bytes=limit_bytes,
            memory_used_bytes=used_bytes,
            memory_percent=_percent(used_bytes, limit_bytes),
        )

    def _cpu_limit_cores(self) -> float | None:
        """Return the tightest limit on the way to the root; None when there is none."""
        limits = []
        for directory in self._cpu_dirs:
            if self._is_v2:
                words = _text(directory, "cpu.max").split()
            else:
                words = [_text(directory, f"cpu.cfs_{name}_us") for name in ("quota", "period")]
            if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and words[1] != "0":
                limits.append(int(words[0]) / int(words[1]))
        return min(limits, default=None)

    def _memory_limit_bytes(self) -> int | None:
        name = "memory.max" if self._is_v2 else "memory.limit_in_bytes"
        texts = [_text(directory, name) for directory in self._memory_dirs]
        limits = [int(text) for text in texts if text.isdigit()]
        return min((limit for limit in limits if limit < _NO_LIMIT_BYTES), default=None)

    def _memory_used_bytes(self) -> int | None:
        """Return what counts against the limit and cannot be dropped at once."""
        for directory in self._memory_dirs:
            used = _text(directory, "memory.current" if self._is_v2 else "memory.usage_in_bytes")
            if used.isdigit():
                name = "inactive_file" if self._is_v2 else "total_inactive_file"
                cached = _fields(directory, "memory.stat").get(name, 0)
                return max(int(used) - cached, 0)
        return None

    def _cpu_rates(self) -> tuple[float | None, float | None]:
        """Return the cores in use, and the percentage of time in which they were held back."""
        now = time.monotonic()
        used, held = self._cpu_secs()
        before, self._before = self._before, None if used is None else (now, used, held)
        if used is None or before is None or now <= before[0]:
            return None, None
        secs = now - before[0]
        return (
            round(max(used - before[1], 0.0) / secs, 4),
            round(max(held - before[2], 0.0) / secs * 100, 2),
        )

    def _cpu_secs(self) -> tuple[float | None, float]:
        for directory in self._cpu_dirs:
            stat = _fields(directory, "cpu.stat")
            if "usage_usec" in stat:
                return stat["usage_usec"] / 1e6, stat.get("throttled_usec", 0) / 1e6
            usage = _text(f"{directory.replace('/cpu', '/cpuacct', 1)}", "cpuacct.usage")
            usage = usage or _text(directory, "cpuacct.usage")
            if usage.isdigit():
                return int(usage) / 1e9, stat.get("throttled_time", 0) / 1e9
        return None, 0.0


def _groups(membership: str) -> dict[str, str]:
    """Return the path of the group by controller; that of v2 stands under the empty name."""
    groups = {}
    try:
        with open(membership, encoding="utf-8", errors="replace") as file:
            for line in file:
                _, _, rest = line.rstrip("\n").partition(":")
                controllers, _, path = rest.partition(":")
                groups.update(dict.fromkeys(controllers.split(","), path))
    except OSError:
        return {}
    return groups


def _levels(mount: str, path: str) -> list[str]:
    """Return the directories from the group up to the root; a container may see only the root."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    levels = [os.path.join(mount, *parts[:count]) for count in range(len(parts), -1, -1)]
    return [level for level in levels if os.path.isdir(level)]


def _text(directory: str, name: str) -> str:
    try:
        with open(os.path.join(directory, name), encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _fields(directory: str, name: str) -> dict[str, int]:
    pairs = (line.split() for line in _text(directory, name).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _percent(used: float | None, limit: float | None) -> float | None:
    return None if used is None or not limit else round(used / limit * 100, 2)
