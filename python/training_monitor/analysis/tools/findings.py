"""The tool that tells what was found out about a run, and what is to come of it."""

from __future__ import annotations

import time

from training_monitor._core import redact
from training_monitor.analysis.digest.figures import figure
from training_monitor.analysis.fencing import inert
from training_monitor.analysis.tools.parameters import Flag, Text, made_tool
from training_monitor.errors import TrainingMonitorError
from training_monitor.foresight.course import Course
from training_monitor.foresight.words import eta_text, final_text, stop_text, total_text
from training_monitor.found import read_phases
from training_monitor.predict.wording import duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from training_monitor.analysis.tools.form import Tool
    from training_monitor.analysis.tools.sight import Sight
    from training_monitor.answers import Alert
    from training_monitor.machine import Finding

__all__ = ["course_lines", "finding_line", "finding_tools"]

_SEVERITIES = ("critical", "warning", "info")
_MOST = 40
_TEXT_CHARS = 400
_PHASES = 6


def finding_tools(sight: Sight) -> list[Tool]:
    """Return the tool."""
    of = _Findings(sight)
    return [
        made_tool(
            "findings",
            "Tell what was found out about the run by its detectors (spikes, divergence, lost "
            "GPUs, dead ranks and so on), what was told as alerts, in which phase the training is, "
            "how long it still takes, and how it will probably end.",
            (
                Text("severity", "only findings of this severity", choices=_SEVERITIES),
                Flag("include_past", "false: only findings that still stand", True),
            ),
            of.told,
        )
    ]


class _Findings:
    """Answers what was found out."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight

    def told(self, *, severity: str | None, include_past: bool) -> str:
        """Tell findings, alerts and the course."""
        now = time.time()
        found = [one for one in self._sight.findings() if severity in (None, one.severity)]
        standing = sorted((one for one in found if one.stands), key=_worst_first)
        past = [one for one in reversed(found) if not one.stands and not one.over]
        answer = self._sight.answer()
        answer.say(f"{len(standing)} findings stand, {len(past)} are past")
        lines = [*course_lines(self._sight)]
        lines += [f"stands: {finding_line(one, self._sight, now)}" for one in standing[:_MOST]]
        if include_past:
            lines += [f"past: {finding_line(one, self._sight, now)}" for one in past[:_MOST]]
            lines += [f"alert: {_alert_line(one, self._sight, now)}"
                      for one in self._alerts()[:_MOST]]  # fmt: skip
        answer.data(lines or ["nothing was found"], rest=lambda n: f"cut after {n} lines: ask for "
                    "one severity, or include_past=false")  # fmt: skip
        left = sum(max(len(many) - _MOST, 0) for many in (standing, past))
        if left:
            answer.say(f"{left} further findings: ask for one severity")
        return answer.text()

    def _alerts(self) -> list[Alert]:
        """Return what was told, the newest first; words of the script only where text may go."""
        alerts = self._sight.run.alerts()
        return [one for one in reversed(alerts) if one.by != "user" or not self._sight.only_numbers]


def _worst_first(one: Finding) -> tuple[int, float]:
    order = {severity: at for at, severity in enumerate(_SEVERITIES)}
    return order.get(one.severity, 1), -one.time


def course_lines(sight: Sight) -> Iterator[str]:
    """Say phase, end, time left, final value and advice, each on a line."""
    run = sight.run
    course = Course(run)
    yield f"state: {'over' if course.is_over else 'recording'}, last step {course.last_step}"
    for change in read_phases(run._reader)[-_PHASES:]:
        since = "" if change.step is None else f" at step {change.step}"
        yield f"phase: {change.after}{since} (before: {change.before}): {change.reason}"
    try:
        total = course.total()
        if total is not None:
            yield f"ends at: {total_text(total, course.last_step)}"
        if not course.is_over and (eta := course.eta()) is not None:
            yield f"time left: {eta_text(eta)}"
        prospect = course.prospect()
        if prospect is not None and prospect.forecast is not None:
            yield f"final value, forecast: {final_text(prospect)}"
        if prospect is not None and prospect.stop:
            yield f"advice: {stop_text(prospect)}"
    except TrainingMonitorError as error:
        yield f"forecast: none ({error})"


def finding_line(one: Finding, sight: Sight, now: float) -> str:
    """Say one finding on a line."""
    where = [
        f"step {one.step}" if one.step is not None else "",
        f"rank {one.rank}" if one.rank is not None else "",
        f"{duration(now - one.time)} ago",
    ]
    about = f"{one.severity} {one.name} of {one.source or 'the run'}"
    head = f"{about} ({', '.join(filter(None, where))})"
    if sight.only_numbers and one.by != "detector":
        # The words of probes name hosts, paths and commands.
        return head
    numbers = {"value": one.value, "expected": one.reference, "threshold": one.threshold}
    said = [f"{name} {figure(number, sight.sig_figs)}" for name, number in numbers.items()
            if number == number]  # fmt: skip
    text = f"{head}: {redact(one.text)[:_TEXT_CHARS]}"
    text += f" [{', '.join(said)}]" if said else ""
    return text + (f" What to do: {one.advice[:_TEXT_CHARS]}" if one.advice else "")


def _alert_line(one: Alert, sight: Sight, now: float) -> str:
    where = "" if one.step is None else f", step {one.step}"
    head = f"{one.level} by {one.by}, {duration(now - one.time)} ago{where}"
    if sight.only_numbers:
        return f"{head}: {one.kind} {one.metric} {one.state}"
    return f"{head}: {inert(redact(one.title))} {inert(redact(one.text)[:_TEXT_CHARS])}"
