"""What the poller sends to the monitor: samples and findings, a line of JSON each, in a pipe."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time

from training_monitor.machine import WELL
from training_monitor.monitor.told import Told
from training_monitor.system.samples import GpuSample, numbers_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from training_monitor.monitor.journal import Journal
    from training_monitor.system.samples import Finding, Look, Sample

__all__ = ["Sender"]

# The monitor may be stopped for a while; what does not fit is left out and counted.
_BACKLOG_BYTES = 2**20


class Sender:
    """Writes lines into the pipe, whole or not at all, from any thread, without waiting."""

    def __init__(self, pipe: int, journal: Journal) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._journal = journal
        self._host = os.uname().nodename
        self._lock = threading.Lock()
        self._waiting = b""
        self._left_out = 0
        self._told = Told()
        self._throttled: set[tuple[str, str]] = set()

    def look(self, probe: str, look: Look) -> None:
        """Send what a probe saw, and what that says of earlier findings."""
        values: dict[str, dict[str, float]] = {}
        for source, sample in look.samples.items():
            values |= self._numbers(source, sample)
        with self._lock:
            self._told.looked(probe, look)
            self._tell()
            if values:
                facts = {name: _facts(facts) for name, facts in look.facts.items()}
                self._send({"probe": probe, "values": values, "facts": facts})

    def found(self, finding: Finding) -> None:
        """Send a finding, unless it was told."""
        with self._lock:
            self._told.found(finding)
            self._tell()

    def inherit(self, findings: Iterable[Finding], is_watched: Callable[[str], bool]) -> None:
        """Take over what an earlier poller told; what nobody watches any more is over.

        Args:
            findings: What it told and nobody has taken back.
            is_watched: Whether a probe looks at a source.
        """
        findings = list(findings)
        with self._lock:
            self._told.inherit(findings)
            for finding in findings:
                if not is_watched(finding.source):
                    self._told.leave(finding.source)
            self._tell()

    def tell(self) -> None:
        """Send what had to wait: for the monitor, or lest a flapping finding be a flood."""
        with self._lock:
            self._tell()
            self._flush()

    def _tell(self) -> None:
        for finding in self._told.due():
            tell = self._journal.info if finding.name in WELL else self._journal.warn
            tell(f"{finding.source}: {finding.text}")
            words = {"source": finding.source, "text": finding.text, "by": finding.by}
            self._send({"finding": finding.name, **words})

    def _numbers(self, source: str, sample: Sample) -> dict[str, dict[str, float]]:
        """Return the numbers of a sample by source; words become numbers that are 0 or 1."""
        numbers = numbers_of(sample)
        by_source = {source: numbers}
        if isinstance(sample, GpuSample):
            if sample.throttle_reasons is not None:
                self._throttled.update((source, word) for word in sample.throttle_reasons)
                for of, word in self._throttled:
                    if of == source:
                        numbers[f"throttle_{word}"] = int(word in sample.throttle_reasons)
            for rank, held_bytes in sample.trainer_memory_used_bytes.items():
                by_source[f"{source}/rank{rank}"] = {"memory_used_bytes": held_bytes}
        return {name: values for name, values in by_source.items() if values}

    def _send(self, line: dict[str, object]) -> None:
        # Whole milliseconds: they compress better, and nobody can tell.
        line |= {"host": self._host, "time_ns": time.time_ns() // 1_000_000 * 1_000_000}
        text = json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        # Findings are few, and what was told is not told again: they always fit.
        if "finding" in line or len(self._waiting) + len(text) <= _BACKLOG_BYTES:
            self._waiting += text
        else:
            if not self._left_out:
                self._journal.warn("the monitor takes no samples: they are left out until it does")
            self._left_out += 1
        self._flush()

    def _flush(self) -> None:
        # A monitor that is gone or stopped takes nothing; whether it is gone, the watch sees.
        with contextlib.suppress(OSError):
            while self._waiting:
                written = os.write(self._pipe, self._waiting)
                self._waiting = self._waiting[written:]
        if self._left_out and not self._waiting:
            self._journal.warn(f"the monitor took no samples: {self._left_out:,} were left out")
            self._left_out = 0


def _facts(facts: object) -> dict[str, object]:
    names = facts.__dataclass_fields__  # type: ignore[attr-defined]
    return {name: getattr(facts, name) for name in names}
