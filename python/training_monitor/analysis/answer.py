"""The answer of an analysis: its form, the tool by which a model gives it, and a patient reader."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite

from training_monitor.analyses import Evidence, Issue
from training_monitor.analysis.lenient import objects_in, read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

__all__ = [
    "REPORT_TOOL",
    "SEVERITIES",
    "STATUSES",
    "Evidence",
    "Issue",
    "Report",
    "ReportError",
    "read_report",
    "report_of_text",
]

STATUSES = ("ok", "warning", "critical")
SEVERITIES = ("info", "warning", "critical")
_MOST_ITEMS = 20
_TITLE_CHARS = 200
_TEXT_CHARS = 4000
_QUOTE_CHARS = 300
_NAME_CHARS = 400
_GRADES = {
    "ok": 0, "okay": 0, "info": 0, "good": 0, "healthy": 0, "fine": 0, "normal": 0, "low": 0,
    "minor": 0, "none": 0, "stable": 0, "success": 0, "green": 0, "note": 0, "information": 0,
    "warning": 1, "warn": 1, "medium": 1, "moderate": 1, "concern": 1, "caution": 1, "yellow": 1,
    "degraded": 1, "attention": 1, "critical": 2, "error": 2, "high": 2, "severe": 2, "fatal": 2,
    "alert": 2, "emergency": 2, "failed": 2, "failure": 2, "red": 2, "urgent": 2, "bad": 2,
}  # fmt: skip
_PLACE = re.compile(r"^(.*?\.?[\w/.-]+?)(?::|#L)(\d+)(?:\s*[-\u2013]\s*L?(\d+))?$")
_LINES = re.compile(r"^\D*(\d+)(?:\s*[-\u2013:]\s*L?(\d+))?\s*$")
_VALUE_AT = re.compile(r"^`?([^\s=@`]+)`?\s*(?:@|at step)\s*(\d[\d,]*)\s*[:=]\s*(\S+)$")
_SAID_STATUS = re.compile(r"\bstatus\b\W{1,6}(ok|warning|critical)\b", re.IGNORECASE)


class ReportError(ValueError):
    """An answer that cannot be read; the message is written for the model that gave it."""


@dataclass(frozen=True, slots=True)
class Report:
    """The final call of an analysis; `status` is ok, warning or critical."""

    status: str
    summary: str
    issues: tuple[Issue, ...]
    recommendations: tuple[str, ...]


def _text(about: str) -> dict[str, Any]:
    return {"type": "string", "description": about}


_EVIDENCE = {
    "type": "object",
    "description": "Either metric, step and value, or file and line.",
    "properties": {
        "metric": _text("exact name of a metric"),
        "step": {"type": "integer"},
        "value": {"type": "number", "description": "the value of the metric at that step"},
        "file": _text("path of a file in the snapshot"),
        "line": {"type": "integer", "description": "line number, from 1"},
        "last_line": {"type": "integer", "description": "last line, if there are several"},
        "quote": _text("the text of that line, copied exactly"),
    },
}
_ISSUE = {
    "type": "object",
    "properties": {
        "title": _text("one short line"),
        "severity": {"type": "string", "enum": list(SEVERITIES)},
        "explanation": _text("what happens and why, with numbers from the run"),
        "evidence": {"type": "array", "items": _EVIDENCE},
    },
    "required": ["title", "severity", "explanation"],
}
# Few levels and few required fields: small local models fill this in.
REPORT_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "report_analysis",
        "description": (
            "Give the result of the analysis. Call this once, at the end. Every number, step and "
            "line is checked against the run; what does not hold is struck."
        ),
        "parameters": {
            "type": "object",
            "properties": {
                "status": {"type": "string", "enum": list(STATUSES)},
                "summary": _text("two to four sentences for a person who looks at a phone"),
                "issues": {"type": "array", "items": _ISSUE},
                "recommendations": {"type": "array", "items": _text("one thing to do")},
            },
            "required": ["status", "summary", "issues", "recommendations"],
        },
    },
}


def read_report(arguments: object) -> Report:
    """Return the report that the arguments of the final call are.

    Numbers may be texts, lists may be missing or be one item, severities may have other words,
    and further fields are left out.

    Args:
        arguments: A dict, or JSON as a server sent it.

    Raises:
        ReportError: Nothing can be made of it.
    """
    if isinstance(arguments, str):
        text: str = arguments
        try:
            found = read_json(text)
        except ValueError:
            found = text
        # A bare word is read as a text.
        arguments = found if isinstance(found, (dict, list)) else next(objects_in(text), text)
    if isinstance(arguments, list) and len(arguments) == 1:
        arguments = arguments[0]
    for wrapper in ("arguments", "parameters", "report", "report_analysis"):
        if isinstance(arguments, dict) and isinstance(arguments.get(wrapper), (dict, str)):
            inner = arguments[wrapper]
            if "summary" not in arguments and "issues" not in arguments:
                return read_report(inner)
    if not isinstance(arguments, dict):
        raise ReportError(
            f"report_analysis expects a JSON object with status, summary, issues and "
            f"recommendations, and got {_kind(arguments)}"
        )
    return _made({str(name).strip().lower(): value for name, value in arguments.items()})


def report_of_text(text: str) -> Report:
    """Return the report in the text of a model that calls no tools.

    JSON in it is taken, in a code fence or not; without any, the text is the summary, and its
    status is what it says as "Status: warning", else ok.

    Raises:
        ReportError: The text is empty.
    """
    for found in objects_in(text):
        with suppress(ReportError):
            return read_report(found)
    if not text.strip():
        raise ReportError("the answer is empty: call report_analysis")
    said = _SAID_STATUS.search(text)
    status = said[1].lower() if said else "ok"
    return Report(status, _cut(text.strip(), _TEXT_CHARS), (), ())


def _made(fields: dict[str, object]) -> Report:
    issues = _items(fields.get("issues"), _issue)
    recommendations = _items(fields.get("recommendations"), _recommendation)
    summary = _string(fields.get("summary"), _TEXT_CHARS)
    if summary is None and not issues:
        raise ReportError(
            'report_analysis needs "summary": a text of two to four sentences; '
            f"got {_kind(fields.get('summary'))}"
            + (f", and the fields {', '.join(sorted(fields)[:8])}" if fields else "")
        )
    worst = max((SEVERITIES.index(issue.severity) for issue in issues), default=0)
    grade = _grade(fields.get("status"), worst)
    return Report(
        STATUSES[grade], summary or "; ".join(one.title for one in issues), issues, recommendations
    )


def _issue(given: object) -> Issue | None:
    if isinstance(given, str):
        title = _string(given, _TITLE_CHARS)
        return None if title is None else Issue(title, "warning", "", ())
    if not isinstance(given, dict):
        return None
    title = _string(given.get("title") or given.get("name") or given.get("issue"), _TITLE_CHARS)
    about = given.get("explanation") or given.get("description") or given.get("details")
    explanation = _string(about, _TEXT_CHARS) or ""
    if title is None and not explanation:
        return None
    return Issue(
        title=title or _cut(explanation.split(". ")[0], _TITLE_CHARS),
        severity=SEVERITIES[_grade(given.get("severity"), 1)],
        explanation=explanation,
        evidence=_items(given.get("evidence"), _evidence),
    )


def _evidence(given: object) -> Evidence | None:
    if isinstance(given, str):
        return _evidence_of_text(given.strip())
    if not isinstance(given, dict):
        return None
    first, last = _lines(given.get("line") or given.get("lines"))
    file = _string(given.get("file") or given.get("path"), _NAME_CHARS)
    place = _PLACE.match(file) if file else None
    if place:
        file = place[1]
        first, last = first or int(place[2]), last or _whole(place[3])
    found = Evidence(
        metric=_string(given.get("metric"), _NAME_CHARS),
        step=_whole(given.get("step")),
        value=_real(given.get("value")),
        file=file,
        line=first,
        last_line=_whole(given.get("last_line")) or last,
        quote=_string(given.get("quote"), _QUOTE_CHARS),
    )
    return None if found == Evidence() else found


def _evidence_of_text(text: str) -> Evidence | None:
    place = _PLACE.match(text)
    if place:
        return Evidence(file=place[1], line=int(place[2]), last_line=_whole(place[3]))
    value = _VALUE_AT.match(text)
    if value:
        return Evidence(metric=value[1], step=_whole(value[2]), value=_real(value[3]))
    quote = _string(text, _QUOTE_CHARS)
    return None if quote is None else Evidence(quote=quote)


def _recommendation(given: object) -> str | None:
    if isinstance(given, dict):
        given = next((value for value in given.values() if isinstance(value, str)), None)
    return _string(given, _TEXT_CHARS)


def _items(given: object, make: Callable[[object], T | None]) -> tuple[T, ...]:
    """Make a tuple of a list, of one item, of JSON in a text, or of nothing."""
    if isinstance(given, str) and given.lstrip()[:1] in ("[", "{"):
        with suppress(ValueError):
            given = read_json(given)
    if given is None or given == "":
        return ()
    many = given if isinstance(given, (list, tuple)) else [given]
    made = (make(one) for one in many)
    return tuple(one for one in made if one is not None)[:_MOST_ITEMS]


def _grade(given: object, otherwise: int) -> int:
    word = given.strip().lower() if isinstance(given, str) else ""
    return _GRADES.get(word, _GRADES.get(word.split(" ")[0], otherwise))


def _string(given: object, most: int) -> str | None:
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        given = str(given)
    if isinstance(given, list) and given and all(isinstance(one, str) for one in given):
        given = "\n".join(given)
    if not isinstance(given, str) or not given.strip():
        return None
    return _cut(given.strip(), most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "\u2026"


def _real(given: object) -> float | None:
    if isinstance(given, bool):
        return None
    if isinstance(given, str):
        given = given.strip().replace(",", "").replace("\u2212", "-")
        share = 0.01 if given.endswith("%") else 1.0
        try:
            return float(given.removesuffix("%")) * share
        except ValueError:
            return None
    try:
        return float(given) if isinstance(given, (int, float)) else None
    except OverflowError:
        return None


def _whole(given: object) -> int | None:
    value = _real(given)
    if value is None or not isfinite(value) or value != int(value) or not 0 <= value < 2**63:
        return None
    return int(value)


def _lines(given: object) -> tuple[int | None, int | None]:
    if isinstance(given, list) and given:
        return _whole(given[0]), _whole(given[-1]) if len(given) > 1 else None
    found = _LINES.match(given) if isinstance(given, str) else None
    if found:
        return int(found[1]), _whole(found[2])
    return _whole(given), None


def _kind(given: object) -> str:
    if given is None:
        return "nothing"
    if isinstance(given, str):
        return f"the text {_cut(given.strip(), 60)!r}"
    if isinstance(given, dict):
        return "an object"
    return "a list" if isinstance(given, list) else f"a {type(given).__name__}"
