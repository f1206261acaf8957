"""`training-monitor recover`: bring home what dead processes left behind."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field

from training_monitor import _core
from training_monitor.bounds import SECONDS
from training_monitor.catalog import find_run
from training_monitor.cli import render
from training_monitor.cli.options import add_json, add_root_dir, add_run, number_of
from training_monitor.cli.outline import take_outline
from training_monitor.errors import RunDirError, StoreError
from training_monitor.monitor.inbox import Inbox
from training_monitor.monitor.lock import (
    UNKNOWN_PID,
    RunLock,
    holder,
    lock_path,
    monitor_text,
)
from training_monitor.monitor.manifest import write_last_manifest
from training_monitor.settings import TABLE
from training_monitor.spawn import monitor_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

HELP = """\
Bring home what was accepted and is not in the database yet, after trainer
and monitor were killed. Harmless when there is nothing; the next start of
the run does the same by itself.
"""

_POLL_SECS = 0.05
# A monitor at work brings something home every second.
_STUCK_SECS = 30.0


@dataclass(frozen=True, slots=True)
class _Drained:
    """What went wrong, which producers were set aside, and where a damaged database went."""

    error: str | None = None
    set_aside: list[str] = field(default_factory=list)
    moved: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, a time limit, the root directory and --json."""
    add_run(parser, optional=False)
    parser.add_argument(
        "--timeout",
        type=number_of(SECONDS),
        default=600.0,
        metavar="SECS",
        help="give up after (default: 600)",
    )
    parser.add_argument(
        "--from-copy",
        action="store_true",
        help="go on from the copy in the run directory although the live database is on another "
        "machine; what the copy lacks is given up, and recorded as a gap",
    )
    add_root_dir(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Bring home what is there; return 1 when something had to stay."""
    path = find_run(arguments.run, arguments.root_dir)
    run_dir = os.path.dirname(path) if path.endswith(".db") else path
    before = take_outline(run_dir)
    if not before.monitor_is_here:
        raise RunDirError(
            f"what is logged in {run_dir!r} goes to the monitor on another node, and its database "
            "is there: `training-monitor relay` brings home what is left here"
        )
    points_before = before.points
    deadline = time.monotonic() + arguments.timeout
    lock = RunLock.take(run_dir)
    monitor = None if lock else holder(run_dir)
    drained = _Drained()
    if lock is None:
        drained = _Drained(error=_wait_for_the_monitor(run_dir, deadline))
    else:
        try:
            drained = _drain(run_dir, deadline, from_copy=arguments.from_copy)
        finally:
            lock.release()
    after = take_outline(run_dir)
    facts: dict[str, Any] = {
        "run": after.name,
        "dir": after.dir,
        # What the damaged database held is not in the one that took its place.
        "recovered_points": after.points - (0 if drained.moved else points_before),
        "points": after.points,
        "backlog_bytes": after.backlog_bytes,
        "gaps": after.gaps,
        "set_aside": drained.set_aside,
        "monitor": monitor,
        "moved_aside": drained.moved,
        "out_of_reach": after.out_of_reach,
        "error": drained.error or after.error,
    }
    if arguments.json:
        render.print_json(facts)
    else:
        _print(facts)
    done = after.state in ("ended", "recording") and not facts["error"]
    return 0 if done else 1


def _drain(run_dir: str, deadline: float, *, from_copy: bool) -> _Drained:
    """Take in everything there is."""
    ingest = _core.Ingest(
        run_dir,
        node_limit_bytes=TABLE["node_limit"].from_environment(),
        ema_alpha_short=TABLE["ema_alpha_short"].from_environment(),
        ema_alpha_long=TABLE["ema_alpha_long"].from_environment(),
        from_copy=from_copy,
    )
    inbox = Inbox(run_dir, lambda trouble: print(render.safe(trouble), file=sys.stderr))
    inbox.take(ingest)
    status = ingest.status()
    while time.monotonic() < deadline:
        status = ingest.status()
        if status["idle"] or (status["producers_alive"] and not status["backlog_bytes"]):
            break
        time.sleep(_POLL_SECS)
    status = ingest.finish(max(deadline - time.monotonic(), 1.0))
    error = status["last_error"]
    if error is None:
        inbox.close()
        try:
            write_last_manifest(run_dir)
        except (OSError, ValueError, StoreError) as problem:
            error = f"cannot write config.json: {problem}"
    return _Drained(
        error=None if error is None else str(error),
        set_aside=[str(path) for path in status["set_aside"]],
        moved=status["quarantined"],
    )


def _wait_for_the_monitor(run_dir: str, deadline: float) -> str | None:
    """Wait until the monitor has brought everything home; return why that did not happen."""
    least, moved_at = None, time.monotonic()
    while (monitor := holder(run_dir)) is not None:
        backlog, now = take_outline(run_dir).backlog_bytes, time.monotonic()
        if backlog == 0:
            return None
        if least is None or backlog < least:
            least, moved_at = backlog, now
        if now > deadline or now - moved_at > _STUCK_SECS:
            is_known = monitor != UNKNOWN_PID
            how = f"kill {monitor}" if is_known else f"fuser {lock_path(run_dir)} tells its pid"
            return (
                f"{monitor_text(monitor)} holds the run and has brought nothing home for "
                f"{now - moved_at:.0f} s; {monitor_log(run_dir)} may say why. End it "
                f"({how}), then recover again"
            )
        time.sleep(_POLL_SECS)
    return None


def _print(facts: dict[str, Any]) -> None:
    name, points = render.safe(facts["run"]), render.whole(facts["points"])
    monitor = facts["monitor"]
    by = "" if monitor is None else f" by {monitor_text(monitor)}, which is at work"
    print(f"{name}: {render.whole(facts['recovered_points'])} points brought home{by}")
    print(f"{points} points are in {render.safe(facts['dir'])}")
    if facts["moved_aside"]:
        print(f"the database was damaged and is now {render.safe(facts['moved_aside'])};")
        print("what it held is not in the new one, which has what the spool still had")
    if facts["gaps"]:
        print(f"{render.whole(facts['gaps'])} gaps are recorded")
    for path in facts["set_aside"]:
        print(f"set aside, for its meta is missing or damaged: {render.safe(path)}")
    if facts["backlog_bytes"]:
        print(f"{render.in_bytes(facts['backlog_bytes'])} could not be brought home")
    for trouble in facts["out_of_reach"]:
        print(render.safe(f"out of reach: {trouble}; recover the run where its files are"))
    if facts["error"]:
        print(f"error: {render.safe(facts['error'])}")
