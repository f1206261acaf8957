"""Runs a command and accounts for every process it leaves behind, detached ones too. Linux only."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
LINGER_SECS = 15.0
LOOK_SECS = 0.02


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command and its descendants ended.

    Attributes:
        code: The exit code of the command, negative for a signal.
        cpu_secs: What the command and all its descendants used.
        timed_out: Whether the command was killed for taking too long.
        leftovers: Descendants that had to be killed, because they stayed.
    """

    code: int
    cpu_secs: float
    timed_out: bool
    leftovers: int


def adopt_orphans() -> None:
    """Become the parent of descendants whose parents end, so that wait4 tells their CPU."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot become the reaper of orphans")


def descendants(root: int) -> list[int]:
    """Return the living descendants of a process."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := stat_of(int(entry.name))):
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def stat_of(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def cpu_secs(pid: int) -> float:
    """Return what a process and its waited-for children used; 0 when it is gone.

    The scheduler's nanoseconds know living threads only, the clock ticks all of them, coarsely.
    """
    ticks = os.sysconf("SC_CLK_TCK")
    stat = stat_of(pid)
    if not stat:
        return 0.0
    own, children = sum(map(int, stat[11:13])) / ticks, sum(map(int, stat[13:15])) / ticks
    return max(own, exact_cpu_secs(pid)) + children


def exact_cpu_secs(pid: int) -> float:
    """Return what the living threads of a process used; 0 when it is going or gone."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except (OSError, IndexError):
        return 0.0


def services_cpu_secs(root: int, trainer: int) -> float:
    """Return what everything below `root` used, except for the trainer itself."""
    waited_for = resource.getrusage(resource.RUSAGE_CHILDREN)
    living = sum(cpu_secs(pid) for pid in descendants(root) if pid != trainer)
    return living + waited_for.ru_utime + waited_for.ru_stime


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path,
    env: Mapping[str, str],
    output: Path,
    limit_secs: float,
) -> Ended:
    """Run a command to the end of all its descendants; call `adopt_orphans` before.

    Args:
        command: What to run; this process must have no other children.
        cwd: Its working directory.
        env: Its whole environment.
        output: Takes what it prints.
        limit_secs: After so long it is killed, with all descendants.
    """
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    code: int | None = None
    cpu, leftovers, timed_out = 0.0, 0, False
    deadline = time.monotonic() + limit_secs
    while True:
        pid, status, usage = wait_any()
        if pid:
            cpu += usage.ru_utime + usage.ru_stime
            if pid == process.pid:
                code = process.returncode = os.waitstatus_to_exitcode(status)
                deadline = time.monotonic() + LINGER_SECS
            continue
        if code is not None and not descendants(os.getpid()):
            return Ended(code, cpu, timed_out, leftovers)
        if time.monotonic() > deadline:
            timed_out = timed_out or code is None
            leftovers = len(kill_descendants())
            deadline = time.monotonic() + 1.0
        time.sleep(LOOK_SECS)


def wait_any() -> tuple[int, int, resource.struct_rusage]:
    """Return an ended child, its status and what it used; pid 0 when none has ended."""
    try:
        return os.wait4(-1, os.WNOHANG)
    except ChildProcessError:
        return 0, 0, resource.getrusage(resource.RUSAGE_CHILDREN)


def kill_descendants() -> list[int]:
    """SIGKILL all that is below this process, and return whom."""
    found = descendants(os.getpid())
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found
