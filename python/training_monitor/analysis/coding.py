"""Has the model read the code once: a summary of it, and what each metric measures."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from training_monitor.analysis.checking.facts import Facts
from training_monitor.analysis.checking.grounding import ground_text
from training_monitor.analysis.describing import DESCRIBE_TOOL, CodeNotes
from training_monitor.analysis.digest.importance import by_importance
from training_monitor.analysis.fencing import fenced
from training_monitor.analysis.instructions import DESCRIBE, SUMMARISE
from training_monitor.analysis.lenient import objects_in
from training_monitor.analysis.prompt import Section, clipped

if TYPE_CHECKING:
    from training_monitor.analysis.asking import Asking
    from training_monitor.analysis.model.conversing import Outcome
    from training_monitor.query import RunView
    from training_monitor.snapshot.snapshot import Snapshot

__all__ = ["Coding"]

# Metrics that are described at once, and before one analysis.
_AT_ONCE = 40
_MOST_DESCRIBED = 80
_MOST_PLACES = 3
_MOST_FILES = 200


class Coding:
    """Completes what is known of the code of a run.

    Args:
        asking: Asks the model.
        run: The run.
        code: Its code; None: there is none, and the names of the metrics must do.
        notes: Where it is kept.
    """

    def __init__(
        self, asking: Asking, run: RunView, code: Snapshot | None, notes: CodeNotes
    ) -> None:
        self._asking = asking
        self._run = run
        self._code = code
        self._notes = notes

    def complete(self, now: float) -> None:
        """Ask for what is missing: a summary, and descriptions of metrics that have none."""
        self._notes.copy()
        if self._code is None:
            return
        if not self._notes.summary:
            self._summarise(self._code, now)
        known = self._notes.descriptions
        names = [one.name for one in by_importance(self._run) if one.name not in known]
        for at in range(0, min(len(names), _MOST_DESCRIBED), _AT_ONCE):
            if not self._describe(self._code, names[at : at + _AT_ONCE]):
                return

    def _summarise(self, code: Snapshot, now: float) -> None:
        outcome = self._asking.ask(
            SUMMARISE,
            [Section("Files of the snapshot", 1.0, lambda most: clipped(_files(code), most))],
            [{"role": "user", "content": "Summarise this training code."}],
            run=self._run,
            snapshot=code,
            purpose="code summary",
        )
        if outcome.text.strip():
            facts = Facts(self._run, code, since=now)
            self._notes.keep_summary(ground_text(outcome.text.strip(), facts).text)

    def _describe(self, code: Snapshot, names: list[str]) -> bool:
        """Ask what these metrics measure; return whether anything came of it."""

        def read(arguments: object) -> dict[str, str]:
            return CodeNotes.described(arguments, names)

        outcome = self._asking.ask(
            DESCRIBE,
            [
                Section("Metrics, and where their names stand in the code", 0.7,
                        lambda most: clipped(_places(code, names), most)),
                Section("Files of the snapshot", 0.3, lambda most: clipped(_files(code), most)),
            ],
            [{"role": "user", "content": "Describe these metrics."}],
            run=self._run,
            snapshot=code,
            final_tool=DESCRIBE_TOOL,
            read_final=read,
            purpose="metric descriptions",
        )  # fmt: skip
        found = _described(outcome, names)
        self._notes.keep_descriptions(found)
        return bool(found)


def _described(outcome: Outcome, names: list[str]) -> dict[str, str]:
    """Return the descriptions that came back, by the tool or as text."""
    given = [outcome.final] if outcome.final is not None else objects_in(outcome.text)
    found: dict[str, str] = {}
    for one in given:
        with suppress(ValueError):
            found |= CodeNotes.described(one, names)
    return found


def _files(code: Snapshot) -> str:
    lines = [f"{one.path} ({one.lines} lines)" for one in code.entries[:_MOST_FILES]]
    return fenced(lines)


def _places(code: Snapshot, names: list[str]) -> str:
    """Return for each metric the lines of the code in which its name stands."""
    lines = []
    for name in names:
        lines.append(name)
        # Of "val/loss" the code may hold only "loss", in a dict of its own.
        for wanted in (f'"{name}"', f"'{name}'", name.rpartition("/")[2]):
            hits, _ = code.search(wanted, limit=_MOST_PLACES)
            lines += [f"    {hit.path}:{hit.line}: {hit.text.strip()}" for hit in hits]
            if hits:
                break
    return fenced(lines)
