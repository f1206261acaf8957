"""Incidents: findings that one cause explains, so that they are told together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from training_monitor.notify.alert import clean, number, rank_of
from training_monitor.notify.causes import can_follow, depth, gravity, is_event, role
from training_monitor.notify.stored import (
    flag,
    items,
    level,
    real,
    text_of,
    whole,
)

if TYPE_CHECKING:
    from training_monitor.notify.alert import Found

__all__ = ["MOST_SYMPTOMS", "Incident", "Symptom"]

# Of one incident so many kinds and metrics are kept; what comes on top is counted.
MOST_SYMPTOMS = 32
_MOST_RANKS = 4096
_NUMBERS = ("value", "reference", "sigma", "threshold")


@dataclass(slots=True)
class Symptom:
    """All findings of one kind about one metric within an incident.

    Attributes:
        kind: That of the findings.
        metric: That of the findings.
        severity: The worst so far; text, advice and numbers are of the finding that had it first.
        text: One sentence with numbers.
        advice: What to do.
        began: Wall clock of the first finding.
        step: Where the worst was found.
        since: The step at which the first one began.
        numbers: What was seen and expected, as JSON.
        ranks: Every rank that was named, and whether it is still so there.
        whole: Whether it is so on all ranks, or has to do with none.
        count: How many findings there were.
        told: The severity in which it was told; empty: it was not.
        release: When it is to be told, on the clock of the policy; None: there is nothing to tell.
    """

    kind: str
    metric: str
    severity: str
    text: str
    advice: str
    began: float
    step: int | None
    since: int | None
    numbers: dict[str, float | str]
    ranks: dict[int, bool] = field(default_factory=dict)
    whole: bool = False
    count: int = 0
    told: str = ""
    release: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        """By this findings are the same."""
        return (self.kind, self.metric)

    @property
    def role(self) -> str:
        """What it stands for on the ladder of causes."""
        return role(self.kind, self.metric)

    @property
    def over(self) -> bool:
        """Whether it has ended wherever it was."""
        return not self.whole and not any(self.ranks.values())

    @classmethod
    def of(cls, finding: Found, wall: float) -> Symptom:
        """Return the symptom that a first finding makes; it is still to be added."""
        step = _whole_or_none(finding.step)
        since = step if finding.since is None else int(finding.since)
        return cls(
            clean(finding.kind, 64),
            clean(finding.metric, 200),
            finding.severity if finding.severity in ("warning", "critical") else "warning",
            clean(finding.text, 500),
            clean(finding.advice, 500),
            wall,
            step,
            since,
            _numbers_of(finding),
        )

    def add(self, finding: Found) -> None:
        """Take in one more finding of the kind and metric; a worse one speaks for all."""
        self.count += 1
        if rank_of(finding.severity) > rank_of(self.severity):
            self.speak_of(finding)
        if finding.rank is None:
            self.whole = True
        elif finding.rank in self.ranks or len(self.ranks) < _MOST_RANKS:
            self.ranks[int(finding.rank)] = True

    def speak_of(self, finding: Found) -> None:
        """Take over severity and words of a finding: it is worse, or what came before is over."""
        self.severity = finding.severity if finding.severity == "critical" else "warning"
        self.text, self.advice = clean(finding.text, 500), clean(finding.advice, 500)
        self.step, self.numbers = _whole_or_none(finding.step), _numbers_of(finding)

    def end(self, rank: int | None) -> None:
        """Take note that it is over on a rank; None: on all."""
        if rank is None:
            self.whole = False
            self.ranks = dict.fromkeys(self.ranks, False)
        elif rank in self.ranks:
            self.ranks[rank] = False

    def to_json(self) -> dict[str, Any]:
        """Tell it to programs."""
        return {
            "kind": self.kind,
            "metric": self.metric,
            "severity": self.severity,
            "text": self.text,
            "advice": self.advice,
            "time": self.began,
            "step": self.step,
            "since": self.since,
            "ranks": sorted(self.ranks),
            "count": self.count,
            "over": self.over,
            **self.numbers,
        }

    def to_state(self) -> dict[str, Any]:
        """Return all of it, for `from_state`."""
        return self.to_json() | {
            "numbers": self.numbers,
            "ranks": [[rank, on] for rank, on in self.ranks.items()],
            "whole": self.whole,
            "told": self.told,
            "release": self.release,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Symptom:
        """Return what was stored.

        Raises:
            TypeError, ValueError, KeyError: Something else was stored.
        """
        numbers = state["numbers"]
        return cls(
            text_of(state["kind"]),
            text_of(state["metric"]),
            level(state["severity"]),
            text_of(state["text"]),
            text_of(state["advice"]),
            real(state["time"]),
            None if state["step"] is None else whole(state["step"]),
            None if state["since"] is None else whole(state["since"]),
            {name: numbers[name] for name in _NUMBERS if name in numbers},
            {whole(rank): flag(on) for rank, on in items(state["ranks"])},
            flag(state["whole"]),
            whole(state["count"]),
            _level_or_none(state["told"]),
            None if state["release"] is None else real(state["release"]),
        )


@dataclass(slots=True)
class Incident:
    """Findings with one cause. Times without a further word are on the clock of the policy.

    Attributes:
        id: Made of the first finding, so that it is the same after a crash.
        opened: When the first finding came.
        latest: When the last new symptom came.
        wall: Wall clock at which the first finding was made.
        symptoms: By kind and metric, in the order of arrival.
        revision: How many alerts there were.
        told: The worst severity that was told; empty: nothing was.
        told_gravity: The gravest kind that was told with that severity.
        told_cause: The role of the likely cause that was told.
        alone: Whether it had an alert of its own; otherwise it was counted in that of another.
        cause_due: When the likely cause, found late, is to be told; None: there is none.
        resolve: When its end is to be told; None: it has not ended.
        beyond: How many findings found no room among the symptoms.
        notes: What else is to be said of it, a line each.
        roles: What its symptoms stand for on the ladder of causes.
    """

    id: str
    opened: float
    latest: float
    wall: float
    symptoms: dict[tuple[str, str], Symptom] = field(default_factory=dict)
    revision: int = 0
    told: str = ""
    told_gravity: int = 0
    told_cause: str = ""
    alone: bool = False
    cause_due: float | None = None
    resolve: float | None = None
    beyond: int = 0
    notes: list[str] = field(default_factory=list)
    roles: set[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.roles = {symptom.role for symptom in self.symptoms.values()}

    def add(self, symptom: Symptom) -> None:
        """Take in a symptom that is new to it."""
        self.symptoms[symptom.key] = symptom
        self.roles.add(symptom.role)

    def absorb(self, other: Incident) -> None:
        """Take in all of another one that was not told."""
        for symptom in other.symptoms.values():
            self.add(symptom)
        self.notes += other.notes
        self.beyond += other.beyond
        self.wall = min(self.wall, other.wall)

    def remove(self, key: tuple[str, str]) -> None:
        """Forget a symptom."""
        del self.symptoms[key]
        self.roles = {symptom.role for symptom in self.symptoms.values()}

    @property
    def severity(self) -> str:
        """The worst of its symptoms."""
        return max((one.severity for one in self.symptoms.values()), key=rank_of)

    @property
    def rank(self) -> int:
        """How bad it is."""
        return rank_of(self.severity)

    @property
    def weight(self) -> tuple[int, int]:
        """How bad it is: severity, and the gravest kind of that severity."""
        return max((rank_of(one.severity), gravity(one.kind)) for one in self.symptoms.values())

    @property
    def told_weight(self) -> tuple[int, int]:
        """The weight that was told."""
        return (rank_of(self.told), self.told_gravity) if self.told else (-1, 0)

    @property
    def over(self) -> bool:
        """Whether everything in it has ended; what only happens is not waited for."""
        lasting = [one for one in self.symptoms.values() if not is_event(one.kind)]
        return bool(lasting) and all(one.over for one in lasting)

    @property
    def due(self) -> float | None:
        """When something of it is to be told; None: there is nothing."""
        times = [one.release for one in self.symptoms.values() if one.release is not None]
        times += [time for time in (self.resolve, self.cause_due) if time is not None]
        return min(times, default=None)

    def ordered(self) -> list[Symptom]:
        """Return its symptoms, the likely cause first, then what followed."""
        roles = self.roles

        def place(symptom: Symptom) -> tuple[int, int, int, float]:
            own = symptom.role
            lonely = not can_follow(own, roles) and not any(
                can_follow(other, {own}) for other in roles
            )
            # What stands on no ladder here is neither cause nor consequence: it comes last, unless
            # all are like that.
            return (int(lonely), depth(own), -rank_of(symptom.severity), symptom.began)

        return sorted(self.symptoms.values(), key=place)

    def to_state(self) -> dict[str, Any]:
        """Return all of it, for `from_state`."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return plain | {
            "notes": self.notes,
            "symptoms": [one.to_state() for one in self.symptoms.values()],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Incident:
        """Return what was stored.

        Raises:
            TypeError, ValueError, KeyError: Something else was stored.
        """
        symptoms = [Symptom.from_state(one) for one in state["symptoms"]][:MOST_SYMPTOMS]
        if not symptoms:
            raise ValueError("an incident without symptoms")
        values = {name: read(state[name]) for name, read in _PLAIN.items()}
        notes = [text_of(note) for note in state["notes"]]
        return cls(symptoms={one.key: one for one in symptoms}, notes=notes, **values)


def _level_or_none(value: object) -> str:
    return "" if value == "" else level(value)


def _time_or_none(value: object) -> float | None:
    return None if value is None else real(value)


_PLAIN: dict[str, Any] = {
    "id": text_of,
    "opened": real,
    "latest": real,
    "wall": real,
    "revision": whole,
    "told": _level_or_none,
    "told_gravity": whole,
    "told_cause": text_of,
    "alone": flag,
    "cause_due": _time_or_none,
    "resolve": _time_or_none,
    "beyond": whole,
}


def _whole_or_none(value: int | None) -> int | None:
    # It may be a number of numpy, which is none to JSON.
    return None if value is None else int(value)


def _numbers_of(finding: Found) -> dict[str, float | str]:
    found = {name: number(getattr(finding, name)) for name in _NUMBERS}
    return {name: value for name, value in found.items() if value is not None}
