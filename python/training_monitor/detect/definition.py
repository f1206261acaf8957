"""What a user says of a metric: its kind, which way is better, and the metric that is its axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from training_monitor.detect.vocabulary import KINDS
from training_monitor.errors import SettingError, closest, shown

__all__ = ["Definition", "made_definition", "read_definition"]

_GOALS = {"min": "min", "max": "max", "minimize": "min", "maximize": "max", "none": None}
_MOST_CHARS = 1000


@dataclass(frozen=True, slots=True)
class Definition:
    """What a user says of a metric, or of all whose names begin alike.

    Attributes:
        name: Its name; a `*` at the end stands for any ending.
        kind: One of KINDS; None: what the name says.
        goal: "min" or "max": which way is better; None: what the kind says.
        step_metric: The metric that is its axis; None: the step of log().
    """

    name: str
    kind: str | None = None
    goal: str | None = None
    step_metric: str | None = None

    def covers(self, name: str) -> bool:
        """Whether this is about that metric."""
        if self.name.endswith("*"):
            return name.startswith(self.name[:-1])
        return name == self.name

    def facts(self) -> dict[str, str | None]:
        """Return it as the event that a run keeps."""
        return {
            "kind": "definition",
            "name": self.name,
            "metric_kind": self.kind,
            "goal": self.goal,
            "step_metric": self.step_metric,
        }


def made_definition(
    name: object, *, kind: object = None, goal: object = None, step_metric: object = None
) -> Definition:
    """Check what a user says of a metric.

    Raises:
        SettingError: It has a value it may not have; the message says what is allowed.
    """
    metric = _name("name", name)
    if "*" in metric[:-1]:
        raise SettingError(f"name={shown(name)} is not valid: a * may stand at the end only")
    axis = None if step_metric is None else _name("step_metric", step_metric)
    return Definition(metric, _kind(kind), _goal(goal), axis)


def read_definition(facts: dict[str, Any]) -> Definition:
    """Return what was kept, also by a version that knew other kinds."""
    text = {field: facts.get(field) for field in ("metric_kind", "goal", "step_metric")}
    kept = {field: value if isinstance(value, str) else None for field, value in text.items()}
    kind = kept["metric_kind"] if kept["metric_kind"] in KINDS else None
    goal = kept["goal"] if kept["goal"] in ("min", "max") else None
    return Definition(str(facts.get("name", "")), kind, goal, kept["step_metric"])


def _name(word: str, value: object) -> str:
    if isinstance(value, str) and 0 < len(value) <= _MOST_CHARS:
        return value
    raise SettingError(f"{word}={shown(value)} is not valid: expected the name of a metric")


def _kind(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value in KINDS):
        return value
    near = closest(value, list(KINDS)) if isinstance(value, str) else None
    question = f"; did you mean {near!r}?" if near else ""
    raise SettingError(
        f"kind={shown(value)} is not valid: expected one of {', '.join(KINDS)}{question}"
    )


def _goal(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and value in _GOALS:
        return _GOALS[value]
    raise SettingError(f"goal={shown(value)} is not valid: expected 'min' or 'max'")
