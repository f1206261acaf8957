"""Sampling in the poller: a thread per probe, one line of JSON per look, through a pipe.

A probe may hang: in a driver, or in a file system that is gone. Its thread waits then, the others
and the watch over the monitor go on, and the process can still end.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time

from training_monitor import _core
from training_monitor.errors import SettingError, SpoolError
from training_monitor.settings import TABLE
from training_monitor.system.pace import Pace
from training_monitor.system.samples import Finding, GpuSample, Look, numbers_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from training_monitor.monitor.journal import Journal
    from training_monitor.system.host import TrainerProbe
    from training_monitor.system.samples import Sample

    class Probe(Protocol):
        """What looks at one part of the machine."""

        def look(self) -> Look:
            """Take one sample."""


__all__ = ["Sampling", "configured"]

# Together less than the half of a percent of a core that the poller may take.
_SHARES = {"host": 0.0012, "trainers": 0.0016, "gpu": 0.0018, "disk": 0.0001}
_DISK_SECS = 10.0
_HANGS_AFTER_SECS = 15.0
_WATCH_SECS = 5.0
# The monitor may be stopped for a while; what does not fit is dropped.
_BACKLOG_BYTES = 2**20


def configured() -> tuple[float | None, list[int] | None, list[str]]:
    """Return how often to look, at which GPUs, and what is wrong with the settings of that."""
    wrong: list[str] = []

    def value_of(name: str) -> Any:
        try:
            return TABLE[name].from_environment()
        except SettingError as error:
            wrong.append(str(error))
            return TABLE[name].default

    return value_of("system_interval_secs"), value_of("gpus"), wrong


class Sampling:
    """All probes of one run.

    Args:
        run_dir: The run directory.
        pipe: The writing end of a pipe to the monitor.
        journal: Where findings are told.
        interval_secs: How often to look.
        gpus: The GPUs to watch; None means all.
    """

    def __init__(
        self,
        run_dir: str,
        pipe: int,
        journal: Journal,
        *,
        interval_secs: float,
        gpus: list[int] | None,
    ) -> None:
        self._run_dir = run_dir
        self._journal = journal
        self._interval_secs = interval_secs
        self._gpus = gpus
        self._sender = _Sender(pipe, journal)
        self._hangs_after_secs = _hangs_after_secs()
        self._loops: list[_Loop] = []
        self._trainer_probe: TrainerProbe | None = None

    def start(self) -> None:
        """Start a thread per probe; each imports what it needs by itself."""
        probes = {
            "host": self._host,
            "trainers": self._trainers,
            "disk": self._disk,
            "gpu": self._gpu,
        }
        if self._gpus == []:
            del probes["gpu"]
        for name, make in probes.items():
            secs = max(self._interval_secs, _DISK_SECS if name == "disk" else 0.0)
            loop = _Loop(name, make, Pace(secs, _SHARES[name]), self._sender)
            self._loops.append(loop)
            threading.Thread(
                target=loop.run, args=(self._interval_secs,), name=f"tm-{name}", daemon=True
            ).start()

    @property
    def watch_secs(self) -> float:
        """How often to call `watch`."""
        return min(_WATCH_SECS, self._hangs_after_secs)

    def watch(self) -> None:
        """Tell of each probe that hangs, and of each that came back."""
        for loop in self._loops:
            loop.watch(self._hangs_after_secs)

    def _host(self) -> Probe:
        from training_monitor.system.host import HostProbe

        return HostProbe()

    def _disk(self) -> Probe:
        from training_monitor.system.host import DiskProbe

        return DiskProbe(self._run_dir)

    def _trainers(self) -> Probe:
        from training_monitor.system.host import TrainerProbe

        self._trainer_probe = TrainerProbe(self._find_trainers)
        return self._trainer_probe

    def _gpu(self) -> Probe:
        from training_monitor.system.gpus import GpuProbe

        return GpuProbe(self._gpus, self._rank_of)

    def _rank_of(self) -> dict[int, int]:
        """Return the rank of each process, as the other thread saw it last."""
        return {} if self._trainer_probe is None else self._trainer_probe.rank_of

    def _find_trainers(self) -> list[tuple[int, int]]:
        """Return rank and process id of every producer that lives on this machine."""
        host = os.uname().nodename
        try:
            rows = _core.producers(self._run_dir)
        except (SpoolError, OSError):
            return []
        alive = (row for row in rows if row["life"] == "alive" and row["host"] == host)
        return [(int(str(row["rank"])), int(str(row["pid"]))) for row in alive]


class _Loop:
    """One probe, looked through again and again, in a thread of its own."""

    def __init__(self, name: str, make: Callable[[], Probe], pace: Pace, sender: _Sender) -> None:
        self._name = name
        self._make = make
        self._pace = pace
        self._sender = sender
        self._probe: Probe | None = None
        # Written by the thread, read by `watch`; None: it waits for its next look.
        self._busy_since: float | None = None
        self._is_hanging = False

    def run(self, first_secs: float) -> None:
        """Look until the process ends, or until there is nothing to look at."""
        time.sleep(first_secs)
        failures = 0
        while not getattr(self._probe, "is_done", False):
            began, cpu = time.monotonic(), _cpu_secs()
            self._busy_since = began
            try:
                if self._probe is None:
                    self._probe = self._make()
                self._sender.look(self._name, self._probe.look())
                failures = 0
            except Exception as error:  # noqa: BLE001 -- the other probes and the watch go on
                failures += 1
                text = f"cannot sample: {type(error).__name__}: {error}"
                self._sender.found(Finding("probe_failed", self._name, text))
                if failures >= 10:
                    return
            self._busy_since = None
            self._pace.looked(began, _cpu_secs() - cpu)
            time.sleep(self._pace.wait_secs(time.monotonic()))

    def watch(self, hangs_after_secs: float) -> None:
        """Tell when a look takes too long, and when it ended after all; each once."""
        since = self._busy_since
        secs = 0.0 if since is None else time.monotonic() - since
        if secs >= hangs_after_secs and not self._is_hanging:
            self._is_hanging = True
            asking = getattr(self._probe, "asking", "") or "starting"
            text = f"no answer for {secs:.0f} s ({asking}); the other samples go on"
            self._sender.found(Finding("probe_hangs", self._name, text))
        elif self._is_hanging and secs < hangs_after_secs:
            self._is_hanging = False
            self._sender.found(Finding("probe_back", self._name, "answers again"))


class _Sender:
    """Writes lines into the pipe, whole or not at all, from any thread, without waiting."""

    def __init__(self, pipe: int, journal: Journal) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._journal = journal
        self._host = os.uname().nodename
        self._lock = threading.Lock()
        self._waiting = b""
        self._told: dict[str, str] = {}
        self._throttled: set[tuple[str, str]] = set()

    def look(self, probe: str, look: Look) -> None:
        """Send what a probe saw."""
        for finding in look.findings:
            self.found(finding)
        values: dict[str, dict[str, float]] = {}
        for source, sample in look.samples.items():
            values |= self._numbers(source, sample)
        if values:
            self._send(
                {
                    "probe": probe,
                    "values": values,
                    "facts": {name: _facts(facts) for name, facts in look.facts.items()},
                }
            )

    def found(self, finding: Finding) -> None:
        """Send a finding and tell it in the log, unless it was the last one about its source."""
        with self._lock:
            is_new = self._told.get(finding.source) != finding.name
            self._told[finding.source] = finding.name
            if is_new:
                tell = self._journal.info if finding.name == "no_gpu" else self._journal.warn
                tell(f"{finding.source}: {finding.text}")
        if is_new:
            self._send({"finding": finding.name, "source": finding.source, "text": finding.text})

    def _numbers(self, source: str, sample: Sample) -> dict[str, dict[str, float]]:
        """Return the numbers of a sample by source; words become numbers that are 0 or 1."""
        numbers = numbers_of(sample)
        by_source = {source: numbers}
        if isinstance(sample, GpuSample):
            if sample.throttle_reasons is not None:
                self._throttled.update((source, word) for word in sample.throttle_reasons)
                for of, word in self._throttled:
                    if of == source:
                        numbers[f"throttle_{word}"] = int(word in sample.throttle_reasons)
            for rank, held_bytes in sample.trainer_memory_used_bytes.items():
                by_source[f"{source}/rank{rank}"] = {"memory_used_bytes": held_bytes}
        return {name: values for name, values in by_source.items() if values}

    def _send(self, line: dict[str, object]) -> None:
        # Whole milliseconds: they compress better, and nobody can tell.
        line |= {"host": self._host, "time_ns": time.time_ns() // 1_000_000 * 1_000_000}
        text = json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        with self._lock:
            if len(self._waiting) + len(text) <= _BACKLOG_BYTES:
                self._waiting += text
            # A monitor that is gone or stopped takes nothing; whether it is gone, the watch sees.
            with contextlib.suppress(OSError):
                while self._waiting:
                    written = os.write(self._pipe, self._waiting)
                    self._waiting = self._waiting[written:]


def _facts(facts: object) -> dict[str, object]:
    names = facts.__dataclass_fields__  # type: ignore[attr-defined]
    return {name: getattr(facts, name) for name in names}


def _hangs_after_secs() -> float:
    try:
        return float(os.environ.get("TM_PROBE_HANGS_SECS") or _HANGS_AFTER_SECS)
    except ValueError:
        return _HANGS_AFTER_SECS


def _cpu_secs() -> float:
    """Return what this thread has used, and the commands that were waited for."""
    children = os.times()
    return time.thread_time() + children.children_user + children.children_system
