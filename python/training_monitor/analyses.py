"""What was said of a run: analyses and messages, as they are stored and read."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from training_monitor import _core

__all__ = [
    "JOURNAL",
    "Analysis",
    "Checks",
    "Evidence",
    "Issue",
    "Message",
    "Struck",
    "analysis_line",
    "message_line",
    "read_analyses",
    "read_messages",
    "write_down",
]

JOURNAL = "analyses.jsonl"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an issue rests on: a value at a step, or lines of the code.

    Attributes:
        metric: The metric; None: it is about code.
        step: The step of the value.
        value: The value there.
        file: The file of the snapshot; None: it is about a metric.
        line: The line, from 1.
        last_line: The last one of several.
        quote: What stands there.
    """

    metric: str | None = None
    step: int | None = None
    value: float | None = None
    file: str | None = None
    line: int | None = None
    last_line: int | None = None
    quote: str | None = None


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong, or may be.

    Attributes:
        title: In a few words.
        severity: info, warning or critical.
        explanation: In sentences.
        evidence: What shows it.
    """

    title: str
    severity: str
    explanation: str
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Checks:
    """How many statements could be checked, and how many of them did not hold."""

    checked: int
    struck: int


@dataclass(frozen=True, slots=True)
class Struck:
    """A statement that did not hold, and was taken out.

    Attributes:
        text: As the model wrote it.
        why: What is so instead, or that nothing of the kind is known.
    """

    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Analysis:
    """What was said of a run at one moment.

    Attributes:
        id: Its name.
        time: Wall clock, in seconds since 1970.
        step: The last step that was known; None: there was none.
        attempt: In which attempt.
        trigger: Why it was made: interval, forced, finding or asked.
        status: ok, warning or critical.
        summary: In sentences.
        issues: What is wrong.
        recommendations: What to do.
        rung: Who made it: "tools" (a model that looked for itself), "packed" (a model that was
            given everything at once), "rules" (no model: findings, phase and forecast alone).
        model: Which model; empty: none.
        checked: How many statements could be checked.
        struck: Those that did not hold; they are not in the texts above.
        requests: Requests to the server.
        prompt_tokens: What went there.
        completion_tokens: What came back.
        seconds: How long it took.
        snapshot: The hash of the code that it is about; empty: of none.
        trouble: Why it is not made as it should have been; empty: it is.
    """

    id: str
    time: float
    step: int | None
    attempt: int
    trigger: str
    status: str
    summary: str
    issues: tuple[Issue, ...] = ()
    recommendations: tuple[str, ...] = ()
    rung: str = "rules"
    model: str = ""
    checked: int = 0
    struck: tuple[Struck, ...] = ()
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    snapshot: str = ""
    trouble: str = ""

    @property
    def score(self) -> float | None:
        """The share of the checked statements that hold; None: there was none to check."""
        return None if not self.checked else 1.0 - len(self.struck) / self.checked

    @property
    def checks(self) -> Checks:
        """How many statements were checked, and how many struck."""
        return Checks(self.checked, len(self.struck))

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON has it."""
        return asdict(self) | {"score": self.score}


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation about a run.

    Attributes:
        id: Its name.
        time: Wall clock, in seconds since 1970.
        role: user or assistant.
        text: What was said.
        channel: Where: terminal, or telegram.
        checked: How many of its statements could be checked.
        struck: Those that did not hold.
    """

    id: str
    time: float
    role: str
    text: str
    channel: str = "terminal"
    checked: int = 0
    struck: tuple[Struck, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON has it."""
        return asdict(self)


def analysis_line(analysis: Analysis) -> bytes:
    """Return an analysis as a line for the writer of the database."""
    return _line("analysis", analysis.to_json(), analysis.step, analysis.time)


def message_line(message: Message) -> bytes:
    """Return a message as a line for the writer of the database."""
    return _line("message", message.to_json(), None, message.time)


def write_down(run_dir: str, analysis: Analysis) -> None:
    """Append an analysis to `analyses.jsonl` of the run, a line each.

    Raises:
        OSError: It cannot be written.
    """
    line = json.dumps(analysis.to_json(), allow_nan=False, ensure_ascii=False).encode() + b"\n"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(os.path.join(run_dir, JOURNAL), flags, 0o600)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def read_analyses(reader: _core.RunReader) -> list[Analysis]:
    """Return the analyses, the oldest first."""
    rows = [_known(Analysis, json.loads(detail)) for _, detail in reader.events("analysis")]
    found = [
        Analysis(
            **row
            | {
                "issues": tuple(map(_issue, row.get("issues", ()))),
                "recommendations": tuple(row.get("recommendations", ())),
                "struck": _all_struck(row),
            }
        )
        for row in rows
    ]
    return sorted(found, key=lambda one: one.time)


def read_messages(reader: _core.RunReader) -> list[Message]:
    """Return the conversation, the oldest first."""
    rows = [_known(Message, json.loads(detail)) for _, detail in reader.events("message")]
    found = [Message(**row | {"struck": _all_struck(row)}) for row in rows]
    return sorted(found, key=lambda one: one.time)


def _issue(row: Mapping[str, Any]) -> Issue:
    evidence = tuple(Evidence(**_known(Evidence, one)) for one in row.get("evidence", ()))
    return Issue(**_known(Issue, row) | {"evidence": evidence})


def _all_struck(row: Mapping[str, Any]) -> tuple[Struck, ...]:
    return tuple(Struck(**_known(Struck, one)) for one in row.get("struck", ()))


def _known(kind: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a row the dataclass has: a later version may have written more."""
    names = {one.name for one in fields(kind)}
    return {name: value for name, value in row.items() if name in names}


def _line(kind: str, facts: dict[str, Any], step: int | None, time: float) -> bytes:
    line = {"kind": kind, "note": facts, "step": step, "time_ns": int(time * 1e9)}
    return json.dumps(line, allow_nan=False, ensure_ascii=True).encode() + b"\n"
