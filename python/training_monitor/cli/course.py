"""The course of a run as `status` and `show` print it: phase, time left, findings, advice, cost."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass, field

from training_monitor import _core
from training_monitor.analyses import read_analyses
from training_monitor.analysis.wording import confirmed, harmless
from training_monitor.cli import render
from training_monitor.errors import TrainingMonitorError
from training_monitor.foresight.course import Course
from training_monitor.foresight.words import eta_text, final_text, stop_text, total_text
from training_monitor.found import all_findings, read_phases
from training_monitor.query import RunView

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from training_monitor.analyses import Analysis
    from training_monitor.found import PhaseChange
    from training_monitor.judge.prospect import Prospect
    from training_monitor.machine import Finding
    from training_monitor.predict.cost import Cost
    from training_monitor.predict.eta import Eta
    from training_monitor.predict.total import Total

__all__ = ["Ahead", "course_facts", "course_lines", "look_ahead", "print_findings", "standing"]

_SEVERITIES = ("critical", "warning", "info")
_SHOWN = 8
_INDENT = 12
_ANALYSIS_CHARS = 300


@dataclass(frozen=True, slots=True)
class Ahead:
    """Where a run is, and what is to come.

    Attributes:
        phase: The last change of the phase; None: there was none.
        step: The last step; None: there is none.
        total: The step at which it ends; None: nobody knows.
        eta: How long it still takes; None: it is over, or not known.
        prospect: How the headline will end; None: it is over, or not known.
        cost: What it costs; None: neither a price nor a GPU is known.
        findings: What was found in the metrics.
        analysis: What was said of the run last; None: nothing was.
    """

    phase: PhaseChange | None = None
    step: int | None = None
    total: Total | None = None
    eta: Eta | None = None
    prospect: Prospect | None = None
    cost: Cost | None = None
    findings: list[Finding] = field(default_factory=list)
    analysis: Analysis | None = None


def look_ahead(path: str, *, is_live: bool) -> Ahead:
    """Return what is known of the course of a run; nothing where nothing can be read.

    Args:
        path: The run.
        is_live: Whether it goes on: only then there is something to come.
    """
    try:
        view = RunView(path)
        reader = _core.RunReader(path)
        course = Course(view)
        if course.last_step is None:
            return Ahead()
        changes = read_phases(reader)
        priced = course.price() is not None or course.has_gpus()
        return Ahead(
            phase=changes[-1] if changes else None,
            step=course.last_step,
            total=course.total(),
            eta=course.eta() if is_live else None,
            prospect=course.prospect() if is_live else None,
            cost=course.cost() if priced else None,
            findings=[one for one in all_findings(reader) if one.by == "detector"],
            analysis=next(reversed(read_analyses(reader)), None),
        )
    except (FileNotFoundError, TrainingMonitorError):
        return Ahead()  # the rest of the answer says why


def standing(findings: list[Finding]) -> list[Finding]:
    """Return the findings that stand, the worst first."""
    found = [one for one in findings if one.stands]
    order = {severity: at for at, severity in enumerate(_SEVERITIES)}
    return sorted(found, key=lambda one: (order.get(one.severity, 1), -one.time))


def course_facts(ahead: Ahead) -> dict[str, Any]:
    """Return the same for JSON; the findings are among those of the machine."""
    return {
        "phase": None if ahead.phase is None else asdict(ahead.phase),
        "total": None if ahead.total is None else asdict(ahead.total),
        "eta": None if ahead.eta is None else asdict(ahead.eta),
        "prospect": None if ahead.prospect is None else asdict(ahead.prospect),
        "cost": None if ahead.cost is None else asdict(ahead.cost),
        "analysis": None if ahead.analysis is None else ahead.analysis.to_json(),
    }


def course_lines(ahead: Ahead, *, now: float | None = None) -> list[tuple[str, str]]:
    """Return a line per thing that is known, each with the word in front of it."""
    lines = []
    if ahead.phase is not None:
        lines.append(("phase", phase_text(ahead.phase, now=now)))
    if ahead.total is not None:
        lines.append(("ends at", total_text(ahead.total, ahead.step)))
    if ahead.eta is not None:
        lines.append(("time left", eta_text(ahead.eta)))
    if ahead.prospect is not None and ahead.prospect.forecast is not None:
        lines.append(("final value", final_text(ahead.prospect)))
    if ahead.prospect is not None and ahead.prospect.stop:
        lines.append(("advice", stop_text(ahead.prospect)))
    if ahead.cost is not None:
        lines.append(("cost", str(ahead.cost)))
    if ahead.analysis is not None:
        lines.append(("analysis", _analysis_text(ahead.analysis, now)))
    return lines


def _analysis_text(analysis: Analysis, now: float | None) -> str:
    """Say "warning, 3.1 min ago: the loss jumped after step 700; 12 of 13 statements confirmed"."""
    said = harmless(analysis.summary, _ANALYSIS_CHARS, lines=False)
    if analysis.checks.checked:
        said += f" ({confirmed(analysis.checks)})"
    return f"{analysis.status}, {render.ago(analysis.time, now)}: {said}"


def phase_text(change: PhaseChange, *, now: float | None = None) -> str:
    """Say "PLATEAU since step 12,000, 3.1 min ago"."""
    since = "" if change.step is None else f" since step {change.step:,}"
    return f"{change.after}{since}, {render.ago(change.time, now)}"


def print_findings(findings: list[Finding]) -> None:
    """Print the findings that stand, with what to do, wrapped to the terminal."""
    found = standing(findings)
    if not found:
        return
    print()
    for one in found[:_SHOWN]:
        _print_wrapped(one.severity, one.text)
        if one.advice:
            _print_wrapped("", one.advice)
    if len(found) > _SHOWN:
        print(f"... and {len(found) - _SHOWN} more findings")


def _print_wrapped(word: str, text: str) -> None:
    lines = textwrap.wrap(render.safe(text), max(render.line_chars() - _INDENT, 20))
    for at, line in enumerate(lines):
        print(f"  {word if not at else '':<{_INDENT - 2}}{line}")
