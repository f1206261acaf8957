"""What is told beside the judgement of points: ends, silence, the machine, alerts of the script."""

from __future__ import annotations

from training_monitor.detect.finding import Finding
from training_monitor.machine import WELL, read_findings
from training_monitor.notify.notices import of_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from training_monitor import _core
    from training_monitor.machine import Finding as Seen
    from training_monitor.notify.alert import Notice

__all__ = ["Reported"]

_SEVERITIES = {
    "crashed": "critical",
    "exception": "critical",
    "exited": "critical",
    "gpu_lost": "critical",
    "killed": "critical",
    "out_of_memory": "critical",
    "stuck": "critical",
    # What is not watched, or asked again soon, is nobody's business but the log's.
    "gpu_missing": "info",
    "nvml_missing": "info",
    "probe_failed": "info",
    "probe_hangs": "info",
}
# What was noticed before this brain began may not have been told by the one before it.
_BEFORE_SECS = 60.0


class Reported:
    """Reads what ingest, the probes and the script have to say, each once.

    Args:
        reader: The run.
        since: What is older was told, in seconds of the wall clock.
    """

    def __init__(self, reader: _core.RunReader, *, since: float) -> None:
        self._reader = reader
        self._since = since - _BEFORE_SECS
        self._seen: set[tuple[float, str, str]] = set()
        self._standing: dict[tuple[str, str], Seen] = {}
        self._alerts = 0

    def findings(self) -> Iterator[Finding]:
        """Yield what is new, and what is over."""
        for one in read_findings(self._reader):
            key = (one.time, one.source, one.name)
            if key in self._seen:
                continue
            self._seen.add(key)
            place = (one.host, one.source)
            if one.name in WELL:
                stood = self._standing.pop(place, None)
                if stood is not None and one.time > self._since:
                    yield _told(stood, time=one.time, text=one.text, over=True)
                continue
            self._standing[place] = one
            if one.time > self._since:
                yield _told(one, time=one.time, text=one.text)

    def alerts(self) -> Iterator[Notice]:
        """Yield the alerts that the script gave."""
        rows = self._reader.alerts()
        for row in rows[self._alerts :]:
            if row["time"] > self._since:
                yield of_user(
                    row["title"],
                    row["text"],
                    row["level"],
                    time=row["time"],
                    wait_secs=row["wait_duration"],
                    step=row["step"],
                )
        self._alerts = len(rows)


def _told(one: Seen, *, time: float, text: str, over: bool = False) -> Finding:
    severity = "info" if over else _SEVERITIES.get(one.name, "warning")
    return Finding(one.name, severity, one.source, one.step, time, text, rank=one.rank, over=over)
