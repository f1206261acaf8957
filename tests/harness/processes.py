"""Start real training scripts, wait for events, look at and end real processes."""

from __future__ import annotations

import fnmatch
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
# A wait ends with its event; only what hangs takes as long as this.
PATIENCE_SECS = 60.0
_started: list[subprocess.Popen[str]] = []
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD
_LONGEST_EXEC_SECS = 10.0
_without_command: dict[int, float] = {}
PRELUDE = "import os, sys, time\nimport training_monitor as tm\n"


def until(condition: Callable[[], T], what: str, *, within_secs: float = PATIENCE_SECS) -> T:
    """Poll until `condition` is truthy and return it; fail with `what` at the deadline."""
    deadline = time.monotonic() + within_secs
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_secs:g} s: {what}")
        time.sleep(0.005)


def start_script(
    directory: Path,
    body: str,
    *args: object,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    session: bool = False,
) -> subprocess.Popen[str]:
    """Write a training script into `directory` and start it; its output is piped."""
    script = directory / "train.py"
    script.write_text(PRELUDE + textwrap.dedent(body))
    argv = [sys.executable, str(script), *map(str, args)]
    return start_prepared(
        argv, {**os.environ, **(env or {})}, cwd=cwd or directory, session=session
    )


def start_prepared(
    argv: list[str], env: Mapping[str, str], *, cwd: Path | None = None, session: bool = False
) -> subprocess.Popen[str]:
    """Start a command with exactly this environment; its output is piped."""
    process = subprocess.Popen(
        argv,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=session,
    )
    _started.append(process)
    return process


def end_started() -> None:
    """End the scripts of a test that failed, and close their pipes."""
    while _started:
        process = _started.pop()
        process.kill()
        process.communicate()


def finish(
    process: subprocess.Popen[str], *, within_secs: float = PATIENCE_SECS, code: int = 0
) -> str:
    """Wait for the script, check its exit code and return what it printed."""
    try:
        out, err = process.communicate(timeout=within_secs)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"still running after {within_secs:g} s\n{out}\n{err}") from None
    assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
    return out


def run_script(
    directory: Path,
    body: str,
    *args: object,
    env: Mapping[str, str] | None = None,
    within_secs: float = PATIENCE_SECS,
    code: int = 0,
) -> str:
    """Run a training script to its end and return what it printed."""
    return finish(start_script(directory, body, *args, env=env), within_secs=within_secs, code=code)


def training_monitor(
    *args: object, within_secs: float = PATIENCE_SECS
) -> subprocess.CompletedProcess[str]:
    """Run the command line tool."""
    return subprocess.run(
        [sys.executable, "-m", "training_monitor", *map(str, args)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within_secs,
    )


def is_alive(pid: int) -> bool:
    """Return whether the process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def monitor_pid(run_dir: Path) -> int:
    """Return the pid of the run's living monitor, or 0."""
    try:
        pid = int((run_dir / ".monitor.lock").read_text().split()[0])
    except (FileNotFoundError, ValueError, IndexError):
        return 0
    return pid if is_alive(pid) else 0


def mentioning(path: Path) -> list[int]:
    """Return the processes, other than this one, whose command or environment names `path`."""
    wanted, own = str(path).encode(), os.getpid()
    return [pid for pid in _all_pids() if pid != own and _names(pid, wanted)]


def have_left(path: Path) -> bool:
    """Return whether nobody whose command or environment names `path` runs any more.

    A monitor that dies is followed by one that its watcher starts before it leaves. So one look is
    not enough: the new one may not be in the list yet, and the watcher gone when it is looked at.
    And who goes through exec has neither command nor environment for a moment.
    """
    wanted = str(path).encode()
    return not any(_anybody(wanted) for _look in range(2))


def _anybody(wanted: bytes) -> bool:
    own = os.getpid()
    return any(_names(pid, wanted) or _goes_through_exec(pid) for pid in _all_pids() if pid != own)


def _names(pid: int, wanted: bytes) -> bool:
    """Return whether command or environment of a living process holds `wanted`."""
    try:
        texts = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
    except OSError:
        return False
    return any(wanted in text for text in texts) and is_alive(pid)


def _goes_through_exec(pid: int) -> bool:
    """Return whether a process has no command line yet; some never have one."""
    if not _has_no_command(pid):
        _without_command.pop(pid, None)
        return False
    since = _without_command.setdefault(pid, time.monotonic())
    return time.monotonic() - since < _LONGEST_EXEC_SECS


def _has_no_command(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return not command and stat[0] not in "ZX" and not int(stat[6]) & _KERNEL_THREAD


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def commands(pids: list[int]) -> dict[int, str]:
    """Return the command lines of processes, for messages."""
    lines = {}
    for pid in pids:
        try:
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        lines[pid] = raw.replace(b"\0", b" ").decode(errors="replace").strip()
    return lines


def files_below(directory: Path, pattern: str) -> list[str]:
    """Return the files whose names match; a directory that vanishes meanwhile is not an error.

    `Path.glob` raises when a directory goes between its listing and its scan.
    """
    return sorted(
        os.path.join(parent, name)
        for parent, _, names in os.walk(directory)
        for name in fnmatch.filter(names, pattern)
    )


def kill(pid: int) -> None:
    """SIGKILL a process that may be gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def kill_all_mentioning(path: Path) -> None:
    """End every process of a test; they restart one another, so this takes rounds."""
    for _ in range(100):
        pids = mentioning(path)
        if not pids:
            return
        for pid in pids:
            kill(pid)
        time.sleep(0.01)
    raise AssertionError(f"cannot be ended: {commands(mentioning(path))}")
