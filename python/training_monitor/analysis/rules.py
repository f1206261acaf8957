"""What can be said of a run without any model: findings, phase and forecast, as an analysis."""

from __future__ import annotations

from math import isfinite

from training_monitor.analyses import Evidence, Issue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.machine import Finding
    from training_monitor.report.progress import Progress

__all__ = ["issues_of", "recommendations_of", "status_of", "summary_of"]

_STATUS = {"critical": "critical", "warning": "warning"}
_ORDER = ("critical", "warning", "ok")
_MOST_ISSUES = 10


def status_of(progress: Progress) -> str:
    """Return ok, warning or critical: that of the worst finding that stands."""
    found = {_STATUS.get(one.severity, "ok") for one in progress.findings}
    return next((status for status in _ORDER if status in found), "ok")


def summary_of(progress: Progress) -> str:
    """Return how the run goes, in a few sentences."""
    sections = progress.sections()
    lines = [*sections["Current Status"], *(sections["Estimates"] if progress.is_live else ())]
    count = len(progress.findings)
    found = "Nothing is wrong" if not count else f"{count} finding{'s'[: count > 1]} stand"
    if count == 1:
        found += "s"
    return ". ".join(line.rstrip(".") for line in [*lines, found]) + "."


def issues_of(progress: Progress) -> tuple[Issue, ...]:
    """Return the findings that stand, the worst first."""
    return tuple(_issue(one) for one in progress.findings[:_MOST_ISSUES])


def recommendations_of(progress: Progress) -> tuple[str, ...]:
    """Return what to do."""
    return tuple(progress.sections()["Recommendations"])


def _issue(finding: Finding) -> Issue:
    has_place = finding.step is not None and isfinite(finding.value)
    evidence = Evidence(metric=finding.source, step=finding.step, value=finding.value)
    return Issue(
        title=f"{finding.name.replace('_', ' ')}: {finding.source}",
        severity=finding.severity,
        explanation=" ".join(part for part in (finding.text, finding.advice) if part),
        evidence=(evidence,) if has_place else (),
    )
