"""How the recorder is doing, as `tm.health()` tells it."""

from __future__ import annotations

from dataclasses import dataclass

from training_monitor import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Health", "health", "made_health"]


@dataclass(frozen=True, slots=True)
class Health:
    """What became of the calls of log() in this process.

    Attributes:
        accepted: Points that log() took; they survive the death of any process.
        accepted_frames: Calls of log() that were taken.
        rejected: Points or calls that log() refused.
        rejected_by: The same by reason.
        durable: Points that are in the database, on disk.
        backlog_bytes: Bytes that the monitor has yet to bring home.
        monitor_alive: Whether the monitor's heartbeat is fresh.
        log_p50_ns: Half of the calls of log() took no longer; None before the first sample.
        log_p99_ns: 99 in 100 calls took no longer; None before the first sample.
        device_syncs: How often log() had to wait for a tensor on a device.
        sampled: Which share of the calls is timed.
        mode: How frames reach the disk, or "disabled", or "closed".
        dir: Where the lanes of this process are; None when it has none.
    """

    accepted: int
    accepted_frames: int
    rejected: int
    rejected_by: dict[str, int]
    durable: int
    backlog_bytes: int
    monitor_alive: bool
    log_p50_ns: int | None
    log_p99_ns: int | None
    device_syncs: int
    sampled: str
    mode: str
    dir: str | None


def health() -> Health:
    """Tell what was accepted, rejected and made durable, and how long log() takes."""
    return made_health(_core.health())


def made_health(facts: dict[str, Any] | None, *, refused_after: int = 0) -> Health:
    """Return the facts of the core as Health.

    Args:
        facts: What the core told; None for a run that never recorded in this process.
        refused_after: Calls of the log() of a run that was closed.
    """
    if facts is None:
        numbers = ("accepted", "accepted_frames", "rejected", "durable", "backlog_bytes")
        facts = dict.fromkeys(Health.__dataclass_fields__) | dict.fromkeys(numbers, 0)
        facts |= {"rejected_by": {}, "monitor_alive": False, "device_syncs": 0}
        facts |= {"sampled": "1/64", "mode": "closed"}
    values = {name: facts[name] for name in Health.__dataclass_fields__}
    if refused_after:
        by = dict(values["rejected_by"])
        by["closed"] = by.get("closed", 0) + refused_after
        values |= {"rejected_by": by, "rejected": values["rejected"] + refused_after}
    return Health(**values)
