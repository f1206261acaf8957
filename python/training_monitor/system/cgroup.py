"""The limits of the container or the job that this process runs in, cgroup v1 and v2.

Each level on the way to the root may have a limit, which its own use is held against: what a step
uses says nothing about the limit of its job. Of several the one nearest to its limit is told.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from training_monitor.system.samples import CgroupSample

__all__ = ["Cgroup"]

# What the kernel shows for "no limit" in v1 is the largest page count; no machine has so much.
_NO_LIMIT_BYTES = 2**60


@dataclass(frozen=True, slots=True)
class _Use:
    """What one level may use, and does; a limit of None is none, the rest is not known."""

    limit: float | None = None
    used: float | None = None
    held_back_percent: float | None = None

    @property
    def percent(self) -> float | None:
        if self.used is None or not self.limit:
            return None
        return round(self.used / self.limit * 100, 2)


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
        # Of each level the directory of its limit, and where its use is counted.
        self._cpu_dirs: list[tuple[str, str]]
        if self._is_v2:
            self._memory_dirs = _levels(mount, groups.get("", "/"))
            self._cpu_dirs = [(level, level) for level in self._memory_dirs]
        else:
            path = groups.get("cpu", "/")
            cpu, counted = os.path.join(mount, "cpu"), os.path.join(mount, "cpuacct")
            self._cpu_dirs = [
                (level, os.path.normpath(os.path.join(counted, os.path.relpath(level, cpu))))
                for level in _levels(cpu, path)
            ]
            self._memory_dirs = _levels(os.path.join(mount, "memory"), groups.get("memory", "/"))
        # By level: when, and the seconds that were used and held back.
        self._before: dict[str, tuple[float, float, float]] = {}

    def sample(self) -> CgroupSample | None:
        """Return what is limited and how much of it is used; None when nothing is limited."""
        cpu = _nearest([use for dirs in self._cpu_dirs if (use := self._cpu(*dirs))])
        memory = _nearest([use for level in self._memory_dirs if (use := self._memory(level))])
        if cpu.limit is None and memory.limit is None:
            return None
        return CgroupSample(
            cpu_limit_cores=cpu.limit,
            cpu_used_cores=cpu.used,
            cpu_percent=cpu.percent,
            cpu_throttled_percent=cpu.held_back_percent,
            memory_limit_bytes=_whole(memory.limit),
            memory_used_bytes=_whole(memory.used),
            memory_percent=memory.percent,
        )

    def _memory(self, level: str) -> _Use | None:
        """Return what counts against a limit and cannot be dropped at once."""
        limit = _text(level, "memory.max" if self._is_v2 else "memory.limit_in_bytes")
        if not limit.isdigit() or not 0 < int(limit) < _NO_LIMIT_BYTES:
            return None
        used = _text(level, "memory.current" if self._is_v2 else "memory.usage_in_bytes")
        if not used.isdigit():
            return _Use(int(limit))
        name = "inactive_file" if self._is_v2 else "total_inactive_file"
        cached = _fields(level, "memory.stat").get(name, 0)
        return _Use(int(limit), max(int(used) - cached, 0))

    def _cpu(self, level: str, counted: str) -> _Use | None:
        """Return the cores in use, and the percentage of time in which they were held back."""
        if self._is_v2:
            words = _text(level, "cpu.max").split()
        else:
            words = [_text(level, f"cpu.cfs_{name}_us") for name in ("quota", "period")]
        if len(words) != 2 or not all(word.isdigit() and int(word) for word in words):
            return None
        cores = int(words[0]) / int(words[1])
        now, before = time.monotonic(), self._before.pop(level, None)
        used, held_back = self._cpu_secs(level, counted)
        if used is None:
            return _Use(cores)
        self._before[level] = (now, used, held_back)
        if before is None or now <= before[0]:
            return _Use(cores)
        secs = now - before[0]
        return _Use(
            cores,
            round(max(used - before[1], 0.0) / secs, 4),
            round(max(held_back - before[2], 0.0) / secs * 100, 2),
        )

    def _cpu_secs(self, level: str, counted: str) -> tuple[float | None, float]:
        stat = _fields(level, "cpu.stat")
        if self._is_v2:
            used = stat.get("usage_usec")
            return None if used is None else used / 1e6, stat.get("throttled_usec", 0) / 1e6
        usage = _text(counted, "cpuacct.usage") or _text(level, "cpuacct.usage")
        return int(usage) / 1e9 if usage.isdigit() else None, stat.get("throttled_time", 0) / 1e9


def _nearest(uses: list[_Use]) -> _Use:
    """Return the level that is nearest to its limit; as long as none is known, the tightest."""
    return max(uses, key=lambda use: (use.percent or 0.0, -(use.limit or 0.0)), default=_Use())


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


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
