"""What a model is told of a run before it looks for itself."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from functools import cached_property

from training_monitor.analysis.digest.digest import Digest
from training_monitor.analysis.fencing import fenced
from training_monitor.analysis.history import earlier
from training_monitor.analysis.model.privacy import LEVELS, allows
from training_monitor.analysis.prompt import Section, clipped
from training_monitor.predict.wording import duration
from training_monitor.report.progress import progress_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from training_monitor.analysis.describing import CodeNotes
    from training_monitor.machine import Finding
    from training_monitor.query import RunView
    from training_monitor.report.progress import Progress

__all__ = ["Briefing", "numeric"]

# Shares of the room, in the order in which a person would ask.
_SHARES = {
    "Run": 0.10,
    "Findings and outlook": 0.17,
    "Last steps": 0.24,
    "Metrics": 0.20,
    "What the metrics measure": 0.10,
    "Code": 0.10,
    "Machine": 0.04,
    "Said before": 0.05,
}
_LAST_STEPS = 20
_FENCE_CHARS = 120


class Briefing:
    """The sections of a prompt about one run.

    Args:
        run: The run.
        notes: What is known of its code.
        privacy: full, no-code or numbers-only.
        sig_figs: Significant figures of values.
        history_chars: The room for what was said before, at most.
        messages: Whether the conversation belongs to that.
        now: Wall clock.
    """

    def __init__(
        self,
        run: RunView,
        notes: CodeNotes,
        *,
        privacy: str,
        sig_figs: int,
        history_chars: int,
        now: float,
        messages: bool = True,
    ) -> None:
        self._run = run
        self._notes = notes
        self._privacy = privacy
        self._history_chars = history_chars
        self._now = now
        self._messages = messages
        self._digest = Digest(run, sig_figs=sig_figs, privacy=privacy, now=now)

    @cached_property
    def progress(self) -> Progress:
        """How the run goes, by mathematics alone."""
        attempts = self._run.attempts
        is_over = bool(attempts) and attempts[-1].ended is not None
        state = "ended" if is_over else "recording"
        found = progress_of(self._run, state=state, now=self._now)
        if allows(self._privacy, "text"):
            return found
        # What others than the detectors say may name files and machines.
        return replace(
            found,
            findings=[_in_a_word(one) for one in found.findings],
            past=[_in_a_word(one) for one in found.past],
        )

    def sections(self) -> list[Section]:
        """Return what is told, part by part."""
        told: dict[str, Callable[[int], str]] = {
            "Run": self._facts,
            "Findings and outlook": self._course,
            "Last steps": lambda most: self._digest.steps(most, last=_LAST_STEPS),
            "Metrics": self._digest.metrics,
            "Machine": self._digest.machine,
            "Said before": self._before,
        }
        if allows(self._privacy, "code"):
            told["What the metrics measure"] = self._descriptions
            told["Code"] = lambda most: clipped(self._notes.summary, most)
        return [Section(name, share, told[name]) for name, share in _SHARES.items() if name in told]

    def _facts(self, most: int) -> str:
        """Name, command, attempts and configuration."""
        attempts = self._run.attempts
        lines = []
        config: Mapping[str, Any] = self._run.config
        if allows(self._privacy, "command"):
            command = self._run.launch.get("training_command")
            lines += [f"name: {self._run.name}"]
            lines += [f"command: {command}"] if command else []
        else:
            config = numeric(config)
        if attempts:
            ago = duration(max(self._now - attempts[-1].started, 0.0))
            lines.append(f"attempts: {len(attempts)}; the last one began {ago} ago")
        said = time.strftime("%Y-%m-%d %H:%M", time.localtime(self._now))
        lines += [f"now: {said}", f"config: {json.dumps(config, default=str)}"]
        return _fenced_within(lines, most)

    def _course(self, most: int) -> str:
        """Return status, trends, outlook and findings in sentences, as the report has them."""
        sections = self.progress.sections()
        lines: list[str] = []
        for heading, said in sections.items():
            lines += [f"{heading}:", *(f"  {line}" for line in said)]
        return _fenced_within(lines, most)

    def _descriptions(self, most: int) -> str:
        """Return what each metric measures, those in a finding first."""
        known = self._notes.descriptions
        found = {one.source for one in self.progress.findings}
        names = sorted(known, key=lambda name: (name not in found, name))
        return _fenced_within([f"{name}: {known[name]}" for name in names], most)

    def _before(self, most: int) -> str:
        room = min(most, self._history_chars) - _FENCE_CHARS
        # What was said when more could be seen may hold it.
        levels = LEVELS[LEVELS.index(self._privacy) :]
        analyses = [one for one in self._run.analyses() if one.privacy in levels]
        messages = self._run.messages() if self._messages else []
        messages = [one for one in messages if one.privacy in levels]
        said = earlier(analyses, messages, max(room, 0))
        return fenced(said.splitlines()) if said else ""


def _in_a_word(one: Finding) -> Finding:
    if one.by == "detector":
        return one
    return replace(one, text=one.name.replace("_", " "), advice="")


def _fenced_within(lines: list[str], most: int) -> str:
    """Return lines behind bars, as many as there is room for; the last one may be cut."""
    kept: list[str] = []
    room = most - _FENCE_CHARS
    for line in lines:
        if room < len(line) + 3:
            kept += [clipped(line, room)] if room > _FENCE_CHARS else []
            break
        kept.append(line)
        room -= len(line) + 3
    return fenced(kept) if kept else ""


def numeric(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a configuration is numbers and switches; texts, and lists of them, go."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        kept = numeric(value) if isinstance(value, dict) else value
        if _is_numeric(kept) and kept != {}:
            found[name] = kept
    return found


def _is_numeric(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_numeric, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, (bool, int, dict))
