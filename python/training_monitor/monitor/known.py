"""What earlier brains found and told: a new one goes on from there."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, isfinite

from training_monitor.detect.finding import SEVERITIES, Finding
from training_monitor.found import read_phases
from training_monitor.judge.judge import key_of
from training_monitor.judge.notes import finding_of
from training_monitor.notify.causes import is_event
from training_monitor.predict.phase import Phase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from training_monitor import _core
    from training_monitor.judge.judge import Judge, Key
    from training_monitor.predict.phase import Transition

__all__ = ["Known"]

# What stood, and is not found again in what is stored, is over when as much has come since as a
# detector needs to find it anew: so many points of the metric, but not before so many seconds;
_POINTS = 200
_LEAST_SECS = 180.0
# or so many seconds, where it is not about a metric.
_SECS = 900.0


class Known:
    """The findings and phases of a run so far, whoever has judged it.

    Args:
        reader: The run.
        until: How far it was judged and told for sure, in seconds of the wall clock; None: as far
            as the last that was told.

    Attributes:
        standing: What was told and is not over.
        phase: The phase that was told last; None: none was.
        until: How far it was judged and told.
    """

    def __init__(self, reader: _core.RunReader, *, until: float | None) -> None:
        found = [finding_of(json.loads(detail)) for _, detail in reader.events("detected")]
        phases = read_phases(reader)
        began = max((attempt["started"] for attempt in reader.attempts()), default=0.0)
        self._told = {key_of(one): one.time for one in found if isfinite(one.time)}
        self.standing = {
            key: one
            for key, one in {key_of(one): one for one in found}.items()
            if not (one.over or is_event(one.kind)) and one.time >= began
        }
        self.phase = Phase(phases[-1].after) if phases else None
        self._phase_time = phases[-1].time if phases else -inf
        told = (*self._told.values(), self._phase_time)
        self.until = max(told) if until is None else until
        self._orphans: dict[Key, _Orphan] = {}

    def admit(self, finding: Finding, *, is_past: bool) -> Finding | None:
        """Return a finding as it is to be told; None: it was, or goes on as it was told.

        Args:
            finding: It.
            is_past: Whether it was found in what was stored before this brain began.
        """
        key = key_of(finding)
        if finding.time <= self._told.get(key, -inf):
            return None
        if is_past and finding.time <= self.until:
            return None
        stood = self.standing.get(key)
        if stood is not None and not is_event(finding.kind):
            is_inherited = is_past or self._orphans.pop(key, None) is not None
            if is_inherited and not finding.over and not _is_worse(finding, stood):
                return None
            # It began where it was first told to have begun, on the ranks that were told.
            since = finding.since if stood.since is None else stood.since
            finding = replace(finding, since=since, rank=stood.rank)
        elif finding.over and is_past:
            return None
        if finding.over:
            self.standing.pop(key, None)
        elif not is_event(finding.kind):
            self.standing[key] = finding
        return finding

    def has_told(self, transition: Transition) -> bool:
        """Return whether a change of the phase that is found in what was stored is no news."""
        return transition.time <= max(self.until, self._phase_time)

    def adopt(self, judge: Judge, now: float) -> None:
        """Let a judge that has seen what is stored go on where the ones before it were."""
        for key, finding in self.standing.items():
            if key not in judge.standing:
                judge.adopt(finding)
                self._orphans[key] = _Orphan(now, judge.points(finding.metric))

    def over(self, judge: Judge, now: float) -> Iterator[Finding]:
        """Yield the end of what stood and is not found any more."""
        for key, orphan in list(self._orphans.items()):
            finding = self.standing.get(key)
            if finding is None:
                del self._orphans[key]
                continue
            points = judge.points(finding.metric)
            if not orphan.is_over(now, points):
                continue
            del self._orphans[key]
            at = "" if judge.step is None else f" at step {judge.step:,}"
            text = f"{finding.metric}: nothing is seen any more of the {_words(finding.kind)}{at}"
            yield Finding(
                finding.kind, "info", finding.metric, judge.step, now, text,
                rank=finding.rank, since=finding.since, over=True,
            )  # fmt: skip


class _Orphan:
    """Something that stood, and that the new detectors have not found."""

    __slots__ = ("_points", "_since")

    def __init__(self, now: float, points: int | None) -> None:
        self._since = now
        self._points = points

    def is_over(self, now: float, points: int | None) -> bool:
        secs = abs(now - self._since)
        if self._points is None or points is None:
            return secs >= _SECS
        return points - self._points >= _POINTS and secs >= _LEAST_SECS


def _is_worse(finding: Finding, stood: Finding) -> bool:
    return SEVERITIES.index(finding.severity) > SEVERITIES.index(stood.severity)


def _words(kind: str) -> str:
    return kind.replace("_", " ")
