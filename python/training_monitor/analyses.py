"""What was said of a run: analyses and messages, as they are stored and read."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from math import isfinite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, TypeVar

    from training_monitor import _core

    T = TypeVar("T", "Analysis", "Message")

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
        privacy: What the model could see: full, no-code or numbers-only.
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
    privacy: str = "full"
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
        facts: dict[str, Any] = _strict(asdict(self) | {"score": self.score})
        return facts


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
        privacy: What the model could see when it was said.
    """

    id: str
    time: float
    role: str
    text: str
    channel: str = "terminal"
    privacy: str = "full"
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
    line = json.dumps(analysis.to_json(), allow_nan=False).encode() + b"\n"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(os.path.join(run_dir, JOURNAL), flags, 0o600)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def read_analyses(reader: _core.RunReader) -> list[Analysis]:
    """Return the analyses, the oldest first."""
    return _all(reader.events("analysis"), _analysis)


def read_messages(reader: _core.RunReader) -> list[Message]:
    """Return the conversation, the oldest first."""
    return _all(reader.events("message"), _message)


def _all(events: Iterable[tuple[float, str]], made: Callable[[dict[str, Any]], T]) -> list[T]:
    """Return what events say; one that is odd is left out, for all the others count."""
    found: list[T] = []
    for _, detail in events:
        with suppress(ValueError, TypeError, AttributeError, KeyError):
            found.append(made(json.loads(detail)))
    return sorted(found, key=lambda one: one.time)


def _analysis(facts: dict[str, Any]) -> Analysis:
    row = _known(Analysis, facts)
    made = {
        "time": float(row["time"]),
        "issues": tuple(map(_issue, row.get("issues", ()))),
        "recommendations": tuple(row.get("recommendations", ())),
        "struck": _all_struck(row),
    }
    return Analysis(**row | made)


def _message(facts: dict[str, Any]) -> Message:
    row = _known(Message, facts)
    return Message(**row | {"time": float(row["time"]), "struck": _all_struck(row)})


def _strict(value: Any) -> Any:
    """Return what JSON has a word for: numbers that are not finite become text."""
    if isinstance(value, dict):
        return {name: _strict(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(one) for one in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _issue(row: Mapping[str, Any]) -> Issue:
    evidence = tuple(map(_evidence, row.get("evidence", ())))
    return Issue(**_known(Issue, row) | {"evidence": evidence})


def _evidence(row: Mapping[str, Any]) -> Evidence:
    value = row.get("value")
    return Evidence(**_known(Evidence, row) | {"value": None if value is None else float(value)})


def _all_struck(row: Mapping[str, Any]) -> tuple[Struck, ...]:
    return tuple(Struck(**_known(Struck, one)) for one in row.get("struck", ()))


def _known(kind: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a row the dataclass has: a later version may have written more."""
    names = {one.name for one in fields(kind)}
    return {name: value for name, value in row.items() if name in names}


def _line(kind: str, facts: dict[str, Any], step: int | None, time: float) -> bytes:
    line = {"kind": kind, "note": facts, "step": step, "time_ns": int(time * 1e9)}
    return json.dumps(line, allow_nan=False, ensure_ascii=True).encode() + b"\n"
