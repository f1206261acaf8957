"""Asks the processes of a run for their Python stacks: by their signal, or with py-spy."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from shutil import which

from training_monitor import _core
from training_monitor.errors import SpoolError
from training_monitor.stackfile import NAME
from training_monitor.stacks import Stack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Answers", "ask", "lines_of"]

_ANSWER_SECS = 5.0
# Between two writes of one answer lie microseconds, unless the machine has no time for either.
_QUIET_SECS = 0.3
_LOOK_SECS = 0.02
_PY_SPY_SECS = 10.0
# The main thread comes last.
_MOST_BYTES = 64 * 1024
_STATES = {"T": "it is stopped", "t": "a debugger holds it", "D": "it waits for a disk or a driver"}


@dataclass(frozen=True, slots=True)
class Answers:
    """What processes answered, and why others did not.

    Attributes:
        stacks: Of each that answered.
        producers: The ids of their producers, in the same order.
        troubles: A line for each that did not.
    """

    stacks: list[Stack]
    producers: list[str]
    troubles: list[str]


class _Asked:
    """One process that was asked by its signal, and has the lock of its file until it answers."""

    __slots__ = ("_file", "_grown_at", "_seen", "_start")

    def __init__(self, producer: dict[str, Any]) -> None:
        path = os.path.join(producer["dir"], NAME)
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            self._grown_at = time.monotonic()
            _lock(self._file)
            head = os.pread(self._file, 64, 0).partition(b"\n")[0].split()
            number = int(head[1]) if len(head) == 2 and head[0] == b"signal" else 0
            self._start = self._seen = os.fstat(self._file).st_size
            trouble = _core.ask_process(producer["dir"], number)
            if trouble is not None:
                raise OSError(trouble)
        except BaseException:
            os.close(self._file)
            raise

    def is_done(self) -> bool:
        """Return whether it has answered, and nothing more has come for a moment."""
        size, now = os.fstat(self._file).st_size, time.monotonic()
        if size != self._seen:
            self._seen, self._grown_at = size, now
        return size > self._start and now - self._grown_at >= _QUIET_SECS

    def close(self) -> str:
        """Return the answer; none when there is none."""
        try:
            begin = max(self._start, self._seen - _MOST_BYTES)
            return os.pread(self._file, self._seen - begin, begin).decode("utf-8", "replace")
        finally:
            os.close(self._file)


class _Found:
    """What is known so far, by the ids of producers."""

    __slots__ = ("texts", "troubles")

    def __init__(self) -> None:
        self.texts: dict[str, tuple[str, str]] = {}
        self.troubles: dict[str, str] = {}

    def knows(self, row: dict[str, Any]) -> bool:
        """Return whether a process has answered, or why it does not is known."""
        return row["id"] in self.texts or row["id"] in self.troubles


def ask(run_dir: str) -> Answers:
    """Ask every process that records into a run on this machine; wait some seconds for answers.

    Processes forked from another one that records are not asked.
    """
    try:
        rows: list[dict[str, Any]] = _core.producers(run_dir)
    except (SpoolError, OSError) as error:
        return Answers([], [], [f"cannot look for processes: {error}"])
    ranks = [row for row in rows if row["life"] == "alive" and row["parent"] is None]
    ranks.sort(key=lambda row: (row["rank"], row["pid"]))
    found = _Found()
    for row in ranks:
        if not row["is_here"]:
            found.troubles[row["id"]] = f"it runs on {row['host']}, or in another container"
    _ask_by_signal([row for row in ranks if not found.knows(row)], found)
    _ask_py_spy([row for row in ranks if not found.knows(row)], found)
    return _answers(ranks, found)


def lines_of(answers: Answers) -> bytes:
    """Return the answers as lines for the database."""
    lines = []
    for stack, producer in zip(answers.stacks, answers.producers, strict=True):
        fields = {name: getattr(stack, name) for name in ("host", "rank", "pid", "how", "text")}
        line = {"stack": {"producer": producer, **fields}, "time_ns": round(stack.time * 1e9)}
        lines.append(json.dumps(line).encode() + b"\n")
    return b"".join(lines)


def _answers(ranks: list[dict[str, Any]], found: _Found) -> Answers:
    # Whole milliseconds, so that the time is the same on its way through the database.
    now = round(time.time(), 3)
    stacks, producers, troubles = [], [], []
    for row in ranks:
        if row["id"] in found.texts:
            how, text = found.texts[row["id"]]
            safe = _core.redact(text)[-_MOST_BYTES:]
            stacks.append(Stack(now, row["host"], row["rank"], row["pid"], how, safe))
            producers.append(row["id"])
        else:
            why = _core.redact(found.troubles[row["id"]])
            troubles.append(f"rank {row['rank']} (pid {row['pid']} on {row['host']}): {why}")
    return Answers(stacks, producers, troubles)


def _ask_by_signal(ranks: list[dict[str, Any]], found: _Found) -> None:
    """Let those answer that have offered to; the others stay unknown."""
    asked = {row["id"]: one for row in ranks if (one := _asked(row, found)) is not None}
    _wait_for(asked)
    for row in ranks:
        if row["id"] in asked and (text := asked[row["id"]].close()):
            found.texts[row["id"]] = ("faulthandler", text)
        elif row["id"] in asked:
            state = _STATES.get(_state(row["pid"]), "it takes no signal")
            found.troubles[row["id"]] = f"no answer within {_ANSWER_SECS:g} s: {state}"


def _asked(row: dict[str, Any], found: _Found) -> _Asked | None:
    """Ask one process; None: it has not offered to answer, or cannot be asked."""
    try:
        return _Asked(row)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        found.troubles[row["id"]] = str(error)
        return None


def _lock(file: int) -> None:
    """Wait for another one who asks: it has an answer, or gives up, within seconds."""
    deadline = time.monotonic() + 2 * _ANSWER_SECS
    while not _has_locked(file):
        if time.monotonic() > deadline:
            raise OSError("another process asks it, and does not end")
        time.sleep(_LOOK_SECS)


def _has_locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for(asked: dict[str, _Asked]) -> None:
    deadline = time.monotonic() + _ANSWER_SECS
    waiting = list(asked.values())
    while waiting and time.monotonic() < deadline:
        time.sleep(_LOOK_SECS)
        waiting = [one for one in waiting if not one.is_done()]


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _ask_py_spy(ranks: list[dict[str, Any]], found: _Found) -> None:
    """Let py-spy read the stacks of processes that have offered no signal."""
    program = which("py-spy") or which("py-spy", path=os.path.join(sys.prefix, "bin"))
    deadline = time.monotonic() + _PY_SPY_SECS
    for row in ranks:
        if program is None:
            found.troubles[row["id"]] = (
                "it offers no stacks (stuck_stacks=True in init(), or TM_STUCK_STACKS=1), and "
                "py-spy is not installed"
            )
            continue
        secs = max(deadline - time.monotonic(), 0.1)
        wrong, text = _py_spy([program, "dump", "--nonblocking", "--pid", str(row["pid"])], secs)
        if wrong:
            found.troubles[row["id"]] = f"py-spy: {wrong}"
        else:
            found.texts[row["id"]] = ("py-spy", text)


def _py_spy(command: list[str], secs: float) -> tuple[str, str]:
    """Return what went wrong, and what it said; one of the two is empty."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=secs,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {secs:.0f} s", ""
    except OSError as error:
        return str(error), ""
    said, wrong = (part.decode("utf-8", "replace").strip() for part in (done.stdout, done.stderr))
    if done.returncode or "Thread" not in said:
        first = (wrong or said or "it said nothing").splitlines()[0]
        return first.removeprefix("Error: "), ""
    # Its first line is the command of the process, with whatever the user wrote there.
    return "", said.partition("\n")[2].lstrip("\n")
