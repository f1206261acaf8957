"""Which finished runs have to go, by number, age and room; the oldest first.

What counts and what goes is ours alone: files of a training in the directory of a run are neither
weighed nor removed.
"""

from __future__ import annotations

import json
import os
import stat
import time
from dataclasses import dataclass

from training_monitor import _core
from training_monitor.catalog import last_used, list_runs
from training_monitor.errors import TrainingMonitorError
from training_monitor.monitor.lock import holder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.monitor.journal import Journal

__all__ = [
    "Doomed",
    "Limits",
    "disk_bytes",
    "doomed_runs",
    "enforce_launched",
    "foreign_text",
    "is_finished",
    "remove",
]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may stay under a root directory; None means no limit."""

    keep_runs: int | None = None
    keep_days: float | None = None
    disk_budget: int | None = None

    def __bool__(self) -> bool:
        return not (self.keep_runs is self.keep_days is self.disk_budget is None)


@dataclass(frozen=True, slots=True)
class Doomed:
    """A run that has to go, and why.

    Attributes:
        name: Its name.
        dir: Its directory.
        bytes: The room that its removal gives back.
        unused_days: For how long nobody wrote to it.
        reason: Which limit it breaks.
        foreign: Names in its directory that are not ours, and stay there.
    """

    name: str
    dir: str
    bytes: int
    unused_days: float
    reason: str
    foreign: tuple[str, ...] = ()


def is_finished(run_dir: str) -> bool:
    """Return whether nobody records, nobody monitors and nothing waits to be brought home."""
    if holder(run_dir) is not None:
        return False
    try:
        producers = _core.producers(run_dir)
    except (TrainingMonitorError, OSError):
        return False  # what cannot be read is not ours to judge
    # "unknown": its files are on another machine, say; it may be alive and hold unread points.
    over = ("closed", "dead")
    return all(row["life"] in over and not row["backlog_bytes"] for row in producers)


def is_out_of_reach(run_dir: str) -> bool:
    """Return whether files of a producer, or the database, are on another machine, or were lost."""
    if _core.find_database(run_dir)[1]:
        return True
    try:
        return any(row["life"] == "unknown" for row in _core.producers(run_dir))
    except (TrainingMonitorError, OSError):
        return True


def doomed_runs(root: str, limits: Limits, *, spared: str | None = None) -> list[Doomed]:
    """Return the runs to remove, the oldest first.

    Args:
        root: The root directory.
        limits: What may stay; runs that are not finished count, and always stay. Runs of which
            something is out of reach stay, too, and do not count: newer ones would go for them.
        spared: The directory of a run that stays whatever the limits say.
    """
    if not limits:
        return []
    now = time.time()
    candidates = [path for path in list_runs(root) if not os.path.islink(path)]
    runs = [path for path in candidates if _core.is_run(path) and not is_out_of_reach(path)]
    sizes = {path: disk_bytes(path) for path in runs}
    total, count = sum(sizes.values()), len(runs)
    doomed = []
    for path in reversed(runs):
        days = (now - last_used(path)) / 86_400
        if limits.keep_runs is not None and count > limits.keep_runs:
            reason = f"{count} runs, and {limits.keep_runs} may stay"
        elif limits.keep_days is not None and days > limits.keep_days:
            reason = f"unused for {days:.1f} days, and {limits.keep_days:g} are allowed"
        elif limits.disk_budget is not None and total > limits.disk_budget:
            reason = f"all runs take {total} bytes, and {limits.disk_budget} are allowed"
        else:
            continue
        if (spared and os.path.samefile(path, spared)) or not is_finished(path):
            continue
        foreign = tuple(_belongings(path)[1])
        doomed.append(Doomed(os.path.basename(path), path, sizes[path], days, reason, foreign))
        total, count = total - sizes[path], count - 1
    return doomed


def enforce_launched(run_dir: str, launch_json: str, journal: Journal) -> None:
    """Keep the limits that a launch was given, under the root directory of its run."""
    settings = json.loads(launch_json).get("settings") or {}
    limits = Limits(**{name: settings.get(name) for name in Limits.__dataclass_fields__})
    root = os.path.dirname(run_dir)
    if not limits:
        return
    try:
        _core.sweep_removed(root)
        doomed = doomed_runs(root, limits, spared=run_dir)
    except OSError as error:
        journal.error(f"cannot look for runs to remove: {error}")
        return
    for run in doomed:
        trouble = remove(run)
        if trouble:
            journal.error(f"cannot remove run {run.name}: {trouble}")
        else:
            left = f"; {foreign_text(run.dir, run.foreign)}" if run.foreign else ""
            journal.info(f"removed run {run.name} ({run.bytes} bytes): {run.reason}{left}")


def remove(run: Doomed) -> str | None:
    """Remove a run; return why that was not possible."""
    try:
        _core.remove_run(*os.path.split(run.dir))
    except (TrainingMonitorError, OSError) as error:
        return str(error)
    return None


def foreign_text(run_dir: str, foreign: tuple[str, ...]) -> str:
    """Say what stays in the directory of a run that is removed."""
    named = ", ".join(foreign[:5]) + (f" and {len(foreign) - 5} more" if len(foreign) > 5 else "")
    return f"in {run_dir} stays what is not of training_monitor: {named}"


def disk_bytes(run_dir: str) -> int:
    """Return the room that what is ours in a run directory takes; links are not followed."""
    total = 0
    pending = [os.path.join(run_dir, name) for name in _belongings(run_dir)[0]]
    live_dir = os.path.dirname(_core.find_database(run_dir)[0])
    if os.path.realpath(live_dir) != os.path.realpath(run_dir):
        pending.append(live_dir)
    while pending:
        path = pending.pop()
        try:
            facts = os.lstat(path)
            total += facts.st_blocks * 512
            if stat.S_ISDIR(facts.st_mode):
                pending += [entry.path for entry in os.scandir(path)]
        except OSError:
            continue
    return total


def _belongings(run_dir: str) -> tuple[list[str], list[str]]:
    try:
        return _core.belongings(run_dir)
    except OSError:
        return [], []
