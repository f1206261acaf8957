"""Sampling in the poller: a thread per probe, one line of JSON per look, through a pipe.

A probe may hang: in a driver, or in a file system that is gone. Its thread waits then, the others
and the watch over the monitor go on, and the process can still end.
"""

from __future__ import annotations

import os
import threading
import time

from training_monitor import _core
from training_monitor.errors import SettingError, SpoolError, StoreError
from training_monitor.machine import is_of_the_machine, read_findings, unresolved
from training_monitor.monitor.sender import Sender
from training_monitor.settings import TABLE
from training_monitor.system.pace import Pace
from training_monitor.system.samples import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from training_monitor.monitor.journal import Journal
    from training_monitor.system.host import TrainerProbe
    from training_monitor.system.samples import Look

    class Probe(Protocol):
        """What looks at one part of the machine."""

        def look(self) -> Look:
            """Take one sample."""


__all__ = ["Loop", "Sampling", "configured", "is_watched"]

# Together less than the half of a percent of a core that the poller may take.
_SHARES = {"host": 0.0012, "trainers": 0.0016, "gpu": 0.0018, "disk": 0.0001}
_DISK_SECS = 10.0
_HANGS_AFTER_SECS = 15.0
_WATCH_SECS = 5.0
_LONGEST_PAUSE_SECS = 300.0
# A new attempt may be changing the format of the database.
_READ_TRIES = 10


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


def is_watched(source: str, gpus: list[int] | None) -> bool:
    """Return whether a probe looks at a source, which may be a GPU or all of them."""
    if gpus is None or not source.startswith("gpu"):
        return True
    number = source.removeprefix("gpu").partition("/")[0]
    return int(number) in gpus if number.isdigit() else bool(gpus)


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
        self._sender = Sender(pipe, journal)
        self._hangs_after_secs = _hangs_after_secs()
        self._loops: list[Loop] = []
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
        threading.Thread(target=self._inherit, name="tm-findings", daemon=True).start()
        for name, make in probes.items():
            secs = max(self._interval_secs, _DISK_SECS if name == "disk" else 0.0)
            loop = Loop(name, make, Pace(secs, _SHARES[name]), self._sender)
            self._loops.append(loop)
            threading.Thread(
                target=loop.run, args=(self._interval_secs,), name=f"tm-{name}", daemon=True
            ).start()

    @property
    def watch_secs(self) -> float:
        """How often to call `watch`."""
        return min(_WATCH_SECS, self._hangs_after_secs)

    def watch(self) -> None:
        """Tell of each probe that hangs, and what had to wait before."""
        for loop in self._loops:
            loop.watch(self._hangs_after_secs)
        self._sender.tell()

    def _inherit(self) -> None:
        """Take over the findings of pollers before, so that their end is told too.

        The database is on a disk that may hang, so this has a thread of its own.
        """
        for _ in range(_READ_TRIES):
            earlier = _earlier_findings(self._run_dir)
            if earlier is not None:
                self._sender.inherit(earlier, lambda source: is_watched(source, self._gpus))
                return
            time.sleep(1.0)

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


class Loop:
    """One probe, looked through again and again, in a thread of its own.

    Args:
        name: Of the probe.
        make: Makes the probe; a failure is tried again.
        pace: How often to look.
        sender: Where samples and findings go.
        wait: Sleeps so many seconds.
    """

    __slots__ = ("_busy_since", "_make", "_name", "_pace", "_probe", "_sender", "_told_of", "_wait")

    def __init__(
        self,
        name: str,
        make: Callable[[], Probe],
        pace: Pace,
        sender: Sender,
        *,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name = name
        self._make = make
        self._pace = pace
        self._sender = sender
        self._wait = wait
        self._probe: Probe | None = None
        # Written by the thread, read by `watch`; None: it waits for its next look.
        self._busy_since: float | None = None
        # When the look began that was told to hang.
        self._told_of: float | None = None

    def run(self, interval_secs: float) -> None:
        """Look until the process ends, or until there is nothing to look at."""
        self._wait(interval_secs)
        failures = 0
        while not getattr(self._probe, "is_done", False):
            failures = 0 if self._look() else failures + 1
            pause_secs = _pause_secs(interval_secs, failures) if failures else 0.0
            self._wait(max(self._pace.wait_secs(time.monotonic()), pause_secs))

    def _look(self) -> bool:
        """Look once; return whether that worked."""
        began, cpu = time.monotonic(), _cpu_secs()
        self._busy_since = began
        try:
            if self._probe is None:
                self._probe = self._make()
            self._sender.look(self._name, self._probe.look())
        except Exception as error:  # noqa: BLE001 -- the other probes and the watch go on
            text = f"cannot sample: {type(error).__name__}: {error}"
            self._sender.found(Finding("probe_failed", self._name, text, self._name))
            return False
        finally:
            self._busy_since = None
            self._pace.looked(began, _cpu_secs() - cpu)
        return True

    def watch(self, hangs_after_secs: float) -> None:
        """Tell once of a look that takes too long; that it ended after all, the look tells."""
        since = self._busy_since
        if since is None or since == self._told_of:
            return
        if time.monotonic() - since >= hangs_after_secs:
            self._told_of = since
            asking = getattr(self._probe, "asking", "") or "starting"
            text = f"no answer for {hangs_after_secs:g} s ({asking}); the other samples go on"
            self._sender.found(Finding("probe_hangs", self._name, text, self._name))


def _earlier_findings(run_dir: str) -> list[Finding] | None:
    """Return what earlier pollers found on this machine and nobody has taken back.

    None: the database cannot be read now.
    """
    try:
        found = unresolved(read_findings(_core.RunReader(run_dir)))
    except FileNotFoundError:
        return []
    except (StoreError, OSError, ValueError):
        return None
    host = os.uname().nodename
    return [
        Finding(row.name, row.source, row.text, row.by)
        for row in found
        if row.host == host and is_of_the_machine(row)
    ]


def _pause_secs(interval_secs: float, failures: int) -> float:
    """Return how long to wait after so many failures in a row."""
    return min(interval_secs * 2.0 ** min(failures - 1, 20), _LONGEST_PAUSE_SECS)


def _hangs_after_secs() -> float:
    try:
        return float(os.environ.get("TM_PROBE_HANGS_SECS") or _HANGS_AFTER_SECS)
    except ValueError:
        return _HANGS_AFTER_SECS


def _cpu_secs() -> float:
    """Return what this thread has used, and the commands that were waited for."""
    children = os.times()
    return time.thread_time() + children.children_user + children.children_system
