"""What was told of the machine: each finding once, its end too, and never a flood of them."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace

from training_monitor.machine import WELL
from training_monitor.system.samples import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from training_monitor.system.samples import Look

__all__ = ["Told"]

# So many findings about one source in such a time; later ones wait, and only the last one is told.
_MOST = 10
_PER_SECS = 600.0
_ENDS = {"gpu_lost": "gpu_back", "probe_failed": "probe_back", "probe_hangs": "probe_back"}


class Told:
    """Knows for each source what holds and what was told last; the difference is due.

    Args:
        now: The clock.
    """

    __slots__ = ("_holds", "_inherited", "_now", "_told", "_when")

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._holds: dict[str, Finding] = {}
        self._told: dict[str, Finding] = {}
        # What an earlier poller told, until this one has looked for itself.
        self._inherited: set[str] = set()
        self._when: dict[str, deque[float]] = {}

    def inherit(self, findings: Iterable[Finding]) -> None:
        """Take over what an earlier poller told and nobody has taken back."""
        for finding in findings:
            self._told.setdefault(finding.source, finding)
            if finding.source not in self._holds:
                self._holds[finding.source] = finding
                self._inherited.add(finding.source)

    def found(self, finding: Finding) -> None:
        """Take note that this holds now."""
        self._holds[finding.source] = finding
        self._inherited.discard(finding.source)

    def looked(self, probe: str, look: Look) -> None:
        """Take note of a look, and of what it ends: a source that was sampled is well again."""
        for finding in look.findings:
            self.found(replace(finding, by=probe))
        again = {finding.source for finding in look.findings}
        if probe in again:
            return
        for source in {probe, *look.samples} - again:
            self.end(source)
        for source in [source for source in self._inherited if self._holds[source].by == probe]:
            # A GPU that is lost may not even be listed: only a sample of it says that it is back.
            if self._holds[source].name != "gpu_lost":
                self.end(source)

    def end(self, source: str) -> None:
        """Take note that nothing is wrong with a source, which is news if something was."""
        finding = self._holds.get(source)
        if finding is None:
            return
        if name := _ENDS.get(finding.name):
            self._end(source, name, f"{source} answers again")
        else:
            self._end(source, "over", f"no longer: {finding.text}")

    def leave(self, source: str) -> None:
        """Take note that nobody watches a source any more."""
        self._end(source, "over", f"{source} is not watched any more")

    def _end(self, source: str, name: str, text: str) -> None:
        self._inherited.discard(source)
        if source in self._holds and self._holds[source].name not in WELL:
            self._holds[source] = Finding(name, source, text, self._holds[source].by)

    def due(self) -> list[Finding]:
        """Return what is to be told now; it counts as told."""
        due: list[Finding] = []
        for source, finding in self._holds.items():
            told = self._told.get(source)
            if _same(finding, told) or not self._may_tell(source):
                continue
            if told is not None and told.name == finding.name:
                # The database keeps one of several findings of a name about a source in a row.
                due.append(Finding("over", source, f"no longer: {told.text}", told.by))
            due.append(finding)
            self._told[source] = finding
        return due

    def _may_tell(self, source: str) -> bool:
        now, when = self._now(), self._when.setdefault(source, deque(maxlen=_MOST))
        if len(when) == _MOST and now - when[0] < _PER_SECS:
            return False
        when.append(now)
        return True


def _same(finding: Finding, told: Finding | None) -> bool:
    """Return whether this was told; that a source is well is no news in other words."""
    if told is None or finding.name != told.name:
        return False
    return finding.name in WELL or finding.text == told.text
