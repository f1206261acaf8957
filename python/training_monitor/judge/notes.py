"""What was found, as lines for the writer of the database, and back."""

from __future__ import annotations

import json
from dataclasses import fields
from math import isfinite, nan

from training_monitor.detect.finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from training_monitor.predict.phase import Transition

__all__ = ["alert_line", "finding_line", "finding_of", "phase_line"]

_NUMBERS = frozenset(("time", "value", "reference", "sigma", "threshold"))


def finding_line(finding: Finding) -> bytes:
    """Return a finding as a line; the same one has the same id, whoever finds it again."""
    facts = {field.name: _plain(getattr(finding, field.name)) for field in fields(finding)}
    place = finding.step if finding.since is None else finding.since
    parts = (finding.kind, finding.metric, finding.rank, place, finding.severity, finding.over,
             _moment(finding.time))  # fmt: skip
    return _line("detected", facts, finding.step, finding.time, "/".join(map(str, parts)))


def finding_of(facts: Mapping[str, Any]) -> Finding:
    """Return the finding that a line was made of."""
    known = {field.name for field in fields(Finding)}
    values = {name: value for name, value in facts.items() if name in known}
    for name in _NUMBERS:
        number = values.get(name)
        values[name] = float(number) if number is not None else nan
    return Finding(**values)


def phase_line(transition: Transition) -> bytes:
    """Return a change of the phase as a line."""
    facts = {
        "before": transition.before.value,
        "after": transition.after.value,
        "reason": transition.reason,
        "step": _plain(transition.step),
    }
    step = int(transition.step) if isfinite(transition.step) else None
    id_ = f"{facts['before']}/{facts['after']}/{step}/{_moment(transition.time)}"
    return _line("phase", facts, step, transition.time, id_)


def alert_line(facts: Mapping[str, Any], *, time: float) -> bytes:
    """Return an alert that was told as a line; its id is its own."""
    return _line("told", dict(facts), None, time, str(facts["id"]))


def _line(kind: str, facts: dict[str, Any], step: int | None, time: float, id_: str) -> bytes:
    line = {
        "kind": kind,
        "note": {**facts, "id": id_},
        "step": step,
        "time_ns": int(time * 1e9) if isfinite(time) else 0,
    }
    return json.dumps(line, allow_nan=False, ensure_ascii=True).encode() + b"\n"


def _moment(time: float) -> int:
    """Return a time in milliseconds: a later attempt may find the same at the same step."""
    return int(time * 1e3) if isfinite(time) else 0


def _plain(value: Any) -> Any:
    """Return what JSON has a word for."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value
