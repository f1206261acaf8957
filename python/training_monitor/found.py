"""What was found out about a run, by whomever, and the phases it went through."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from math import nan

from training_monitor.machine import Finding, read_findings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor import _core

__all__ = ["PhaseChange", "all_findings", "read_phases"]

_BY = "detector"
_NUMBERS = ("value", "reference", "sigma", "threshold")


@dataclass(frozen=True, slots=True)
class PhaseChange:
    """The training went from one phase to another.

    Attributes:
        time: Wall clock, in seconds since 1970.
        step: The step; None: it is not known.
        before: The phase before, as STABLE_CONVERGENCE.
        after: The phase from then on.
        reason: One sentence or two, with numbers.
    """

    time: float
    step: int | None
    before: str
    after: str
    reason: str


def all_findings(reader: _core.RunReader) -> list[Finding]:
    """Return what was found out, the oldest first."""
    began = max((attempt["started"] for attempt in reader.attempts()), default=0.0)
    detected = [_detected(time, detail) for time, detail in reader.events("detected")]
    # A run without ranks has one, which is the first.
    last = {(one.name, one.source, one.rank or 0): id(one) for one in detected}
    standing = set(last.values())
    detected = [
        replace(one, stands=id(one) in standing and not one.over and one.time >= began)
        for one in detected
    ]
    return sorted([*read_findings(reader), *detected], key=lambda one: one.time)


def _detected(time: float, detail: str) -> Finding:
    facts = json.loads(detail)
    value, reference, sigma, threshold = (
        nan if facts.get(name) is None else float(facts[name]) for name in _NUMBERS
    )
    return Finding(
        time=time,
        host="",
        source=str(facts["metric"]),
        name=str(facts["kind"]),
        text=str(facts["text"]),
        by=_BY,
        severity=str(facts["severity"]),
        advice=str(facts.get("advice", "")),
        rank=facts.get("rank"),
        step=facts.get("step"),
        since=facts.get("since"),
        over=bool(facts.get("over")),
        value=value,
        reference=reference,
        sigma=sigma,
        threshold=threshold,
    )


def read_phases(reader: _core.RunReader) -> list[PhaseChange]:
    """Return the changes of the phase, the oldest first."""
    found = []
    for time, detail in reader.events("phase"):
        facts = json.loads(detail)
        step = facts.get("step")
        found.append(
            PhaseChange(
                time=time,
                step=None if step is None else int(step),
                before=str(facts["before"]),
                after=str(facts["after"]),
                reason=str(facts["reason"]),
            )
        )
    return found
