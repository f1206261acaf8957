"""What can be said about a run at this moment, from its producers and its database."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field

from training_monitor import _core
from training_monitor.answers import Copy
from training_monitor.errors import SpoolError, StoreError
from training_monitor.monitor.elsewhere import open_elsewhere
from training_monitor.monitor.lock import holder
from training_monitor.spawn import relay_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Outline", "take_outline"]


@dataclass(frozen=True, slots=True)
class Outline:
    """A run, in a few facts.

    Attributes:
        name: Its name.
        dir: Its directory.
        state: recording; draining (all ended, a monitor is at work); ended; left behind (points
            that only a monitor or `recover` brings home); damaged (the database cannot be read);
            unknown (a process that logs, or has logged, cannot be looked at from here).
        monitor: Process id of the monitor, 0 when it is not known; None when there is none.
        attempts: How often it was started.
        last_step: The highest step that was logged, durable or not.
        points: Points in the database.
        gaps: How many holes are recorded.
        accepted: Points that the producers still known to the spool have logged.
        backlog_bytes: Bytes that are not in the database yet.
        last_point_at: Wall clock of the newest point in the database; None when there is none.
        producers: The processes that log, or have logged and are not brought home.
        error: Why the database cannot be read; None when it can.
        rejected_by: Calls and values that were refused in processes that ended, by reason.
        rejected_at: Wall clock when calls were last found to have had no place; None when none had.
        out_of_reach: Why producers, or the live database, cannot be looked at from here.
        copy: What is known of the copy that was read; None when it was the live database.
        elsewhere: Ranks on other nodes that still log, as their relays say: "rank 8 on nodeb".
        relay: Process id of the relay of this node, 0 when not known; None when there is none.
    """

    name: str
    dir: str
    state: str
    monitor: int | None
    attempts: int
    last_step: int | None
    points: int
    gaps: int
    accepted: int
    backlog_bytes: int
    last_point_at: float | None
    producers: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None
    rejected_by: dict[str, int] = field(default_factory=dict)
    rejected_at: float | None = None
    out_of_reach: list[str] = field(default_factory=list)
    copy: Copy | None = None
    elsewhere: list[str] = field(default_factory=list)
    relay: int | None = None

    @property
    def monitor_is_here(self) -> bool:
        """Whether the points of this directory go into a database in it."""
        return bool(self.points) or not os.path.exists(relay_lock(self.dir))

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for JSON."""
        return asdict(self)


def take_outline(path: str) -> Outline:
    """Look at the run in a directory, or at a database file, without changing anything."""
    run_dir = os.path.dirname(path) if path.endswith(".db") else path
    monitor = holder(run_dir)
    counts, error, copy = _counts(path)
    producers, unseen = _producers(run_dir)
    elsewhere, unseen = _elsewhere(counts.get("open", {}), producers, unseen, monitor)
    out_of_reach = list(unseen.values())
    if trouble := _core.find_database(path)[1]:
        out_of_reach.append(trouble)
    alive = [producer for producer in producers if producer["life"] == "alive"]
    backlog_bytes = sum(producer["backlog_bytes"] for producer in producers)
    steps = [producer["last_step"] for producer in producers] + [counts.get("last_step")]
    return Outline(
        name=os.path.basename(run_dir),
        dir=run_dir,
        state=_state(
            alive=bool(alive or elsewhere),
            monitor=monitor,
            backlog=backlog_bytes,
            error=error,
            is_unknown=bool(out_of_reach),
        ),
        monitor=monitor,
        attempts=counts.get("attempts", 0),
        last_step=max((step for step in steps if step is not None), default=None),
        points=counts.get("points", 0),
        gaps=counts.get("gaps", 0),
        accepted=sum(producer["accepted"] for producer in producers),
        backlog_bytes=backlog_bytes,
        last_point_at=counts.get("last_time"),
        producers=sorted(producers, key=lambda producer: (producer["rank"], producer["pid"])),
        error=error,
        rejected_by=counts.get("rejected_by", {}),
        rejected_at=counts.get("rejected_at"),
        out_of_reach=out_of_reach,
        copy=copy,
        elsewhere=elsewhere,
        relay=holder(run_dir, relay_lock(run_dir)),
    )


def _state(
    *, alive: bool, monitor: int | None, backlog: int, error: str | None, is_unknown: bool
) -> str:
    if alive:
        return "recording"
    if backlog:
        return "left behind" if monitor is None else "draining"
    if error:
        return "damaged"
    return "unknown" if is_unknown else "ended"


def _counts(path: str) -> tuple[dict[str, Any], str | None, Copy | None]:
    """Return what the database counts, why it cannot be read, and whether it is a copy."""
    try:
        reader = _core.RunReader(path)
        found = reader.copy_of()
        return _read_counts(reader), None, None if found is None else Copy(*found)
    except FileNotFoundError:
        return {}, None, None  # nothing is durable yet
    except (StoreError, OSError) as error:
        return {}, str(error), None


def _read_counts(reader: _core.RunReader) -> dict[str, Any]:
    counts = reader.counts()
    counts["open"] = {
        row["id"]: f"rank {row['rank']} on {row['host']}" for row in open_elsewhere(reader)
    }
    if counts["gaps"]:
        noticed = [gap["noticed"] for gap in reader.gaps() if gap["reason"] == "rejected"]
        counts["rejected_at"] = max(noticed, default=None)
    return counts


def _producers(run_dir: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the producers that can be looked at, and why others cannot, by their ids."""
    try:
        rows: list[dict[str, Any]] = _core.producers(run_dir)
    except (SpoolError, OSError) as error:
        return [], {"": f"cannot look for producers: {error}"}
    known = [row for row in rows if row["life"] != "unknown"]
    unseen = [row for row in rows if row["life"] == "unknown"]
    return known, {row["id"]: f"producer {row['id']}: {row['trouble']}" for row in unseen}


def _elsewhere(
    is_open: dict[str, str],
    producers: list[dict[str, Any]],
    unseen: dict[str, str],
    monitor: int | None,
) -> tuple[list[str], dict[str, str]]:
    """Return the ranks that log on other nodes, and what is out of reach now.

    Args:
        is_open: Those of other hosts that have not ended as far as is known: rank and host.
        producers: Those whose files are here.
        unseen: Those whose files cannot be looked at, and why.
        monitor: The monitor that hears of them; None when there is none.
    """
    here = {producer["id"] for producer in producers}
    remote = {uuid: who for uuid, who in is_open.items() if uuid not in here}
    if monitor is not None:
        return sorted(remote.values()), {u: why for u, why in unseen.items() if u not in remote}
    lost = {
        uuid: f"{who} had not ended when it was last heard: `training-monitor relay` there brings "
        "home what it has"
        for uuid, who in remote.items()
    }
    return [], lost | unseen
