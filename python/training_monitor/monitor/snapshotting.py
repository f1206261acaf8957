"""The code of each attempt is taken by a process of its own: a tree may be large, slow or hostile.

The monitor starts it when an attempt is known, hands it what the trainer told, and writes the line
that it sends into the database. It is given up after its time; a file system that hangs keeps it
for ever, and nobody waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time

from training_monitor.monitor.journal import Journal
from training_monitor.monitor.oom import volunteer
from training_monitor.monitor.poller import Child
from training_monitor.settings import TABLE
from training_monitor.snapshot.attempts import attempts_of
from training_monitor.spawn import monitor_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from training_monitor import _core

__all__ = ["Snapshotting", "snap"]

# It ends by itself before that.
_LONGEST_SECS = 60.0
# A run that ends gets its code, too, where that takes no longer.
_LAST_SECS = 5.0
# What a pipe takes at once, whoever reads it.
_MOST_REQUEST_BYTES = 60_000
_WORD = b"\n"


class Snapshotting:
    """Sees to it that the code of each attempt is kept.

    Args:
        run_dir: The run directory.
        journal: The log.
    """

    def __init__(self, run_dir: str, journal: Journal) -> None:
        self._run_dir = run_dir
        self._journal = journal
        self._child = Child(run_dir, takes_code=True)
        self._waiting: list[dict[str, Any]] = []
        self._asked: set[str] = set()
        self._newest = 0
        self._until = 0.0

    def launched(self, configs: Iterable[tuple[int, str]]) -> None:
        """Take up attempts: what each trainer of this machine told of its launch."""
        for attempt, text in configs:
            launch = json.loads(text)
            order = _order(attempt, launch)
            # A monitor that starts anew hears of all attempts: the code of the old ones is gone.
            if order is None or attempt < self._newest:
                continue
            is_known = attempt == self._newest and launch.get("rank", 0) != 0
            spelled = json.dumps(order, sort_keys=True)
            self._newest = attempt
            if is_known or spelled in self._asked:
                continue
            self._asked.add(spelled)
            if len(spelled) > _MOST_REQUEST_BYTES:
                self._journal.error("the code is not kept: code_snapshot_paths is too long a list")
            elif not self._is_taken(order):
                self._waiting = [order]

    def _is_taken(self, order: dict[str, Any]) -> bool:
        """Return whether an earlier monitor has seen to it."""
        same = ("attempt", "job_key")
        known = attempts_of(self._run_dir)
        return any(all(row.get(key) == order[key] for key in same) for row in known)

    def look(self, ingest: _core.Ingest) -> None:
        """Start the process when there is something to take; write what it tells."""
        if self._child.pid:
            self._write(ingest, self._child.lines())
            if self._child.reap():
                return
            if time.monotonic() > self._until:
                self._journal.error(f"the code is not kept: not done in {_LONGEST_SECS:.0f} s")
                self._child.give_up()
        elif self._waiting and self._child.start():
            self._until = time.monotonic() + _LONGEST_SECS
            self._child.say(json.dumps(self._waiting.pop(0)).encode() + _WORD)

    def leave(self, ingest: _core.Ingest) -> None:
        """Wait for what is being taken, for a few seconds at most: the monitor leaves."""
        end = time.monotonic() + _LAST_SECS
        while (self._waiting or self._child.pid) and time.monotonic() < end:
            self.look(ingest)
            if self._child.pid:
                self._child.wait(0.1)
        self._child.give_up()

    def _write(self, ingest: _core.Ingest, lines: bytes) -> None:
        if lines and not ingest.add_system(lines):
            self._journal.error("what took the code sent what is no note: left it out")


def _order(attempt: int, launch: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the process needs to know; None when the code is not on this machine."""
    if launch.get("host") not in (None, os.uname().nodename):
        return None
    settings = launch.get("settings") or {}
    usual = TABLE["code_snapshot_manifest"].default
    manifest = settings.get("code_snapshot_manifest") or usual
    paths = settings.get("code_snapshot_paths")
    return {
        "attempt": attempt,
        "job_key": str(launch.get("job_key")),
        "cwd": launch.get("cwd"),
        "script": launch.get("script"),
        "manifest": str(manifest),
        "manifest_is_given": manifest != usual,
        "paths": None if paths is None else [str(path) for path in paths],
    }


def snap(run_dir: str, pipe: int, lines: int) -> int:
    """Take the code that the monitor asks for, as a process of its own; return the exit status."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for end in (pipe, lines):
        os.set_inheritable(end, False)
    volunteer()
    with contextlib.suppress(OSError):
        os.nice(10)
    journal = Journal(monitor_log(run_dir), echo=False)
    # Whatever hangs and can be ended is ended, also when the monitor is gone.
    signal.setitimer(signal.ITIMER_REAL, _LONGEST_SECS)
    order = _read_order(pipe)
    if order is None:
        return 1
    try:
        os.write(lines, json.dumps(_take(run_dir, order, journal)).encode() + b"\n")
    except BrokenPipeError:
        return 0
    except OSError as error:
        journal.error(f"the code is not kept: {error}")
        return 1
    return 0


def _read_order(pipe: int) -> dict[str, Any] | None:
    text = b""
    while not text.endswith(_WORD):
        select.select([pipe], [], [])
        piece = os.read(pipe, 2**16)
        if not piece:
            return None
        text += piece
    order: dict[str, Any] = json.loads(text)
    return order


def _take(run_dir: str, order: dict[str, Any], journal: Journal) -> dict[str, Any]:
    """Take the code; return the line for the database."""
    from dataclasses import asdict, replace

    from training_monitor.snapshot.choosing import Request
    from training_monitor.snapshot.taking import take

    attempt, job_key = order.pop("attempt"), order.pop("job_key")
    paths = order.pop("paths")
    request = Request(**order, paths=None if paths is None else tuple(paths))
    request = replace(request, spared=(os.path.dirname(run_dir),))
    taken = take(run_dir, request, attempt=attempt, job_key=job_key)
    skipped = sum(taken.skipped.values())
    journal.info(
        f"attempt {attempt}: kept the code, {taken.files} files, {taken.bytes} bytes "
        f"({taken.how}), {skipped} left out, {taken.redactions} secrets left out"
    )
    if taken.trouble:
        journal.warn(f"code: {taken.trouble}")
    note = asdict(taken) | {"attempt": attempt, "id": f"{attempt}:{job_key}:{taken.hash[:16]}"}
    return {"kind": "snapshot", "note": note, "step": None, "time_ns": time.time_ns()}
