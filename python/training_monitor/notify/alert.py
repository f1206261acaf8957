"""What the policy takes and gives: findings, notices and alerts, as values."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from typing import Any, Protocol

__all__ = [
    "SEVERITIES",
    "Alert",
    "Found",
    "Notice",
    "as_json",
    "clean",
    "identity",
    "number",
    "rank_of",
]

# The worst last.
SEVERITIES = ("info", "warning", "critical")
_RANKS = {severity: rank for rank, severity in enumerate(SEVERITIES)}
_TEXT_CHARS = 2_000


class Found(Protocol):
    """A finding, as detectors make them."""

    @property
    def kind(self) -> str: ...  # noqa: D102 -- these are the fields of a finding
    @property
    def severity(self) -> str: ...  # noqa: D102
    @property
    def metric(self) -> str: ...  # noqa: D102
    @property
    def rank(self) -> int | None: ...  # noqa: D102
    @property
    def step(self) -> int | None: ...  # noqa: D102
    @property
    def time(self) -> float: ...  # noqa: D102
    @property
    def text(self) -> str: ...  # noqa: D102
    @property
    def advice(self) -> str: ...  # noqa: D102
    @property
    def value(self) -> float: ...  # noqa: D102
    @property
    def reference(self) -> float: ...  # noqa: D102
    @property
    def sigma(self) -> float: ...  # noqa: D102
    @property
    def threshold(self) -> float: ...  # noqa: D102
    @property
    def since(self) -> int | None: ...  # noqa: D102
    @property
    def over(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell that is no finding: a new phase, advice, an alert of the user.

    Attributes:
        key: What it is about; of one key only one is told per `cooldown_secs`.
        severity: One of SEVERITIES; a notice is told whatever it is.
        title: One line.
        text: What else there is to say; may have several lines.
        short: For a lock screen; empty: the title.
        time: Wall clock, in seconds since 1970.
        step: The step it belongs to.
        cooldown_secs: For so long a further notice of this key is left out.
        kinds: Findings that say the same: this is part of an incident with such a kind.
        facts: Numbers and words for programs; they must be JSON.
    """

    key: str
    severity: str
    title: str
    time: float
    text: str = ""
    short: str = ""
    step: int | None = None
    cooldown_secs: float = 0.0
    kinds: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alert:
    """What is told to a person, once per sink.

    Attributes:
        id: The same for the same news, also after a crash: receivers know by it what they have.
        run: The name of the run.
        incident: The same for all alerts about one incident.
        revision: How many alerts this incident has had, with this one.
        state: "new", "worse", "cause" (the likely cause was found), "again", "over", or "notice".
        severity: One of SEVERITIES: the worst of the incident.
        kind: That of the likely cause; of a notice, its key.
        metric: That of the likely cause.
        time: Wall clock at which this was decided.
        since: Wall clock at which it began.
        step: The step at which it began.
        ranks: The ranks on which the likely cause was seen; empty: it belongs to none, or to all.
        title: One line of at most 120 characters.
        text: The whole, in lines.
        short: For a lock screen: at most 178 characters.
        advice: What to do.
        findings: The likely cause first, then what followed, as JSON objects.
        more: How many further incidents were not told for themselves, to send fewer messages.
        more_since: When the first of these began; None: there are none.
    """

    id: str
    run: str
    incident: str
    revision: int
    state: str
    severity: str
    kind: str
    metric: str
    time: float
    since: float
    step: int | None
    title: str
    text: str
    short: str
    advice: str = ""
    ranks: tuple[int, ...] = ()
    findings: tuple[dict[str, Any], ...] = ()
    more: int = 0
    more_since: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what `json.dumps` takes; `from_json` makes the same alert of it."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Alert:
        """Return the alert that was stored; fields of a later version are left out.

        Raises:
            TypeError, ValueError: Something else was stored.
        """
        names = {one.name for one in fields(cls)}
        known = {name: value for name, value in stored.items() if name in names}
        known["ranks"] = tuple(known.get("ranks", ()))
        known["findings"] = tuple(known.get("findings", ()))
        return cls(**known)


def rank_of(severity: str) -> int:
    """Return how bad a severity is; a word that nobody knows is a warning."""
    return _RANKS.get(severity, 1)


def identity(*parts: object) -> str:
    """Return a short text that only the same parts give."""
    return sha256("\0".join(map(str, parts)).encode("utf-8", "replace")).hexdigest()[:16]


def clean(text: str, most: int = _TEXT_CHARS) -> str:
    """Return a text on one line without control characters, cut to `most` characters.

    Names and texts come from outside: escape sequences and line breaks could forge a message.
    """
    # Far more than is kept is not even looked at.
    line = str(text)[: 4 * most]
    if not line.isprintable():
        line = "".join(char if char.isprintable() else " " for char in line)
    line = " ".join(line.split())
    return line if len(line) <= most else line[: most - 3].rstrip() + "..."


def as_json(value: Any, *, depth: int = 6) -> Any:
    """Return something as JSON can hold it; what it cannot becomes a text."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return number(value)
    if depth and isinstance(value, dict):
        return {str(key): as_json(one, depth=depth - 1) for key, one in value.items()}
    if depth and isinstance(value, (list, tuple)):
        return [as_json(one, depth=depth - 1) for one in value]
    return clean(str(value))


def number(value: float) -> float | str | None:
    """Return a number as JSON can hold it; None where it is unknown (NaN)."""
    value = float(value)
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")
