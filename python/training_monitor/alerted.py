"""The alerts of a run: those of the user's code, and what was told of findings and phases."""

from __future__ import annotations

import json

from training_monitor.answers import Alert

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from training_monitor import _core

__all__ = ["all_alerts"]

_LEVELS = {"info": "INFO", "warning": "WARN", "critical": "ERROR"}
# The key of a notice that only hands on what the user's code said: that is among the others.
_OF_USER = "user:"


def all_alerts(reader: _core.RunReader) -> list[Alert]:
    """Return all alerts, the oldest first."""
    fields = ("time", "step", "rank", "attempt", "level", "title", "text")
    given = [Alert(**{name: row[name] for name in fields}) for row in reader.alerts()]
    notes = reader.events("told")
    if not notes:
        return given
    begins = sorted((attempt["started"], attempt["id"]) for attempt in reader.attempts())
    told = [_told(json.loads(detail), time, begins) for time, detail in notes]
    both = [*given, *(one for one in told if not one.kind.startswith(_OF_USER))]
    return sorted(both, key=lambda one: one.time)


def _told(facts: dict[str, Any], time: float, begins: list[tuple[float, int]]) -> Alert:
    """Return what was told, from its note."""
    severity = str(facts.get("severity", "warning"))
    at = float(facts.get("time") or time)
    ranks = facts.get("ranks") or []
    before = [number for started, number in begins if started <= at]
    return Alert(
        time=at,
        step=facts.get("step"),
        rank=int(ranks[0]) if len(ranks) == 1 else None,
        attempt=before[-1] if before else 1,
        level=_LEVELS.get(severity, "WARN"),
        # The severity stands in front of it, for those who see nothing else.
        title=str(facts.get("title", "")).removeprefix(f"{severity}: "),
        text=str(facts.get("text", "")),
        by="monitor",
        kind=str(facts.get("kind", "")),
        metric=str(facts.get("metric", "")),
        advice=str(facts.get("advice", "")),
        state=str(facts.get("state", "")),
    )
