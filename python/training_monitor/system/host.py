"""The host, its disks and the trainers, by psutil."""

from __future__ import annotations

import contextlib
import os
import time

import psutil

from training_monitor.system.cgroup import Cgroup
from training_monitor.system.pace import Pace
from training_monitor.system.samples import DiskSample, HostSample, Look, TrainerSample

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DiskProbe", "HostProbe", "TrainerProbe"]

# Who started whom is read for the whole machine: as often as its share of a core allows.
_FAMILY_SECS = 5.0
_FAMILY_SHARE = 0.0007


class HostProbe:
    """CPU, memory, swap and network of the machine, and what its cgroup may use."""

    __slots__ = ("_cgroup", "_cores", "_cpu", "_network")

    def __init__(self) -> None:
        self._cgroup = Cgroup()
        self._cores = psutil.cpu_count() or 1
        self._cpu: tuple[float, float] | None = None
        self._network: tuple[float, int, int] | None = None

    def look(self) -> Look:
        """Take one sample."""
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        received, sent = self._network_rates()
        used_bytes = memory.total - memory.available
        host = HostSample(
            cpu_percent=self._cpu_percent(),
            cpu_cores=self._cores,
            load_1min=round(os.getloadavg()[0], 2),
            memory_used_bytes=used_bytes,
            memory_total_bytes=memory.total,
            memory_percent=round(used_bytes / memory.total * 100, 2),
            swap_used_bytes=swap.used,
            swap_total_bytes=swap.total,
            network_received_bytes_per_sec=received,
            network_sent_bytes_per_sec=sent,
        )
        cgroup = self._cgroup.sample()
        return Look({"host": host, "cgroup": cgroup} if cgroup else {"host": host})

    def _cpu_percent(self) -> float | None:
        times = psutil.cpu_times()
        # Time of guests is part of that of users.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        idle = times.idle + getattr(times, "iowait", 0.0)
        before, self._cpu = self._cpu, (total, idle)
        if before is None or total <= before[0]:
            return None
        busy = 1 - (idle - before[1]) / (total - before[0])
        return float(round(min(max(busy, 0.0), 1.0) * 100, 2))

    def _network_rates(self) -> tuple[float | None, float | None]:
        counters, now = psutil.net_io_counters(), time.monotonic()
        if counters is None:
            return None, None
        before = self._network
        self._network = (now, counters.bytes_recv, counters.bytes_sent)
        if before is None:
            return None, None
        return _rate(before[0], now, before[1], counters.bytes_recv), _rate(
            before[0], now, before[2], counters.bytes_sent
        )


class DiskProbe:
    """The file systems that hold the run and the root directory.

    Asking one that is mounted over a broken network never returns, so this probe is on its own.
    """

    __slots__ = ("_places",)

    def __init__(self, run_dir: str) -> None:
        self._places = {"disk:run": run_dir, "disk:/": "/"}

    def look(self) -> Look:
        """Take one sample."""
        samples = {}
        for source, path in self._places.items():
            with contextlib.suppress(OSError):  # a run directory may be removed
                usage = psutil.disk_usage(path)
                samples[source] = DiskSample(
                    used_bytes=usage.used,
                    free_bytes=usage.free,
                    total_bytes=usage.total,
                    percent=usage.percent,
                )
        return Look(dict(samples))


class TrainerProbe:
    """The processes of each rank on this machine.

    Args:
        trainers: Returns rank and process id of everything that logs here.

    Attributes:
        rank_of: The rank of each process; replaced as a whole, for another thread to read.
    """

    __slots__ = ("_family", "_processes", "_roots", "_secs", "_trainers", "rank_of")

    def __init__(self, trainers: Callable[[], list[tuple[int, int]]]) -> None:
        self._trainers = trainers
        self._family = Pace(_FAMILY_SECS, _FAMILY_SHARE)
        self._processes: dict[int, psutil.Process] = {}
        self._roots: dict[int, int] = {}
        self._secs: dict[int, tuple[float, float]] = {}
        self.rank_of: dict[int, int] = {}

    def look(self) -> Look:
        """Take one sample of each rank that has a process."""
        began, cpu = time.monotonic(), time.thread_time()
        if self._family.is_due(began):
            self._find()
            self._family.looked(began, time.thread_time() - cpu)
        by_rank: dict[int, list[int]] = {}
        for pid, rank in self.rank_of.items():
            by_rank.setdefault(rank, []).append(pid)
        samples = {f"rank{rank}": self._sample(rank, pids) for rank, pids in by_rank.items()}
        return Look({source: sample for source, sample in samples.items() if sample})

    def _find(self) -> None:
        """Find who logs, and the children of each."""
        roots = {pid: rank for rank, pid in self._trainers()}
        # A forked worker that logs belongs to the rank anyway: the lowest pid is the trainer.
        self._roots = {rank: pid for pid, rank in sorted(roots.items(), reverse=True)}
        rank_of = dict(roots)
        children = _children() if roots else {}
        waiting = list(roots)
        while waiting:
            parent = waiting.pop()
            for child in children.get(parent, ()):
                if child not in rank_of and not _is_ours(child):
                    rank_of[child] = rank_of[parent]
                    waiting.append(child)
        self.rank_of = rank_of
        for known in (self._processes, self._secs):
            for pid in known.keys() - rank_of.keys():
                known.pop(pid)

    def _sample(self, rank: int, pids: list[int]) -> TrainerSample | None:
        percent, rss, tree, threads, count = 0.0, 0, 0, 0, 0
        is_first = False
        for pid in pids:
            try:
                process = self._processes.get(pid) or psutil.Process(pid)
                self._processes[pid] = process
                with process.oneshot():
                    times, memory = process.cpu_times(), process.memory_info()
                    threads += process.num_threads()
            except psutil.Error:
                continue  # it has ended, which the next look for families finds too
            count += 1
            tree += memory.rss
            if pid == self._roots.get(rank):
                rss = memory.rss
            now, secs = time.monotonic(), times.user + times.system
            before = self._secs.get(pid)
            self._secs[pid] = (now, secs)
            if before is not None and now > before[0]:
                percent += max(secs - before[1], 0.0) / (now - before[0]) * 100
            elif pid == self._roots.get(rank):
                is_first = True
        if not count:
            return None
        return TrainerSample(
            cpu_percent=None if is_first else round(percent, 1),
            rss_bytes=rss,
            tree_rss_bytes=tree,
            threads=threads,
            open_files=self._open_files(self._roots.get(rank)),
            processes=count,
        )

    def _open_files(self, pid: int | None) -> int | None:
        process = self._processes.get(pid or 0)
        if process is None:
            return None
        try:
            count: int = process.num_fds()
        except psutil.Error:
            return None
        return count


def _children() -> dict[int, list[int]]:
    """Return the children of every process: one pass, where psutil makes one per parent."""
    children: dict[int, list[int]] = {}
    for pid in psutil.pids():
        with contextlib.suppress(OSError, IndexError, ValueError):
            with open(f"/proc/{pid}/stat", "rb") as file:
                # The name may hold anything, parentheses too.
                parent = int(file.read().rpartition(b")")[2].split()[1])
            children.setdefault(parent, []).append(pid)
    return children


def _is_ours(pid: int) -> bool:
    """Return whether this is the monitor or the poller, which a trainer started."""
    if pid in (os.getpid(), os.getppid()):
        return True
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"training_monitor/monitor/bootstrap.py" in file.read(4096)
    except OSError:
        return True


def _rate(since: float, now: float, before: int, value: int) -> float | None:
    """Return so many a second; None when the counter began anew."""
    if now <= since or value < before:
        return None
    return float(round((value - before) / (now - since)))
