"""What a detector under test says, and how it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from detection import roles
from detection.curves import Floats, Run

__all__ = ["Alarm", "Detector", "Places", "Rule", "SeriesDetector", "Together", "cooled", "indexes"]

COOL_DOWN_POINTS = 20

Places = npt.NDArray[np.intp]

# Finite values in, the positions of alarms out; the alarm at i may depend on values[: i + 1] only.
Rule = Callable[[Floats], Places]


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm: `index` is the place in the series of `metric` after which it was raised."""

    kind: str
    severity: str
    metric: str
    step: float
    index: int


class Detector(Protocol):
    """A system under test."""

    @property
    def name(self) -> str:
        """Return the name that stands in the page."""

    @property
    def kinds(self) -> frozenset[str]:
        """Return the kinds of alarms that it can raise; others are not asked of it."""

    def replay(self, run: Run) -> list[Alarm]:
        """Return its alarms on a whole run, each from the past alone, in order."""


@dataclass(frozen=True, slots=True)
class SeriesDetector:
    """A rule that looks at one series alone, at those of some roles."""

    name: str
    kind: str
    roles: frozenset[str]
    rule: Rule
    severity: str = "warning"

    @property
    def kinds(self) -> frozenset[str]:
        """Return the one kind."""
        return frozenset({self.kind})

    def replay(self, run: Run) -> list[Alarm]:
        """Return the alarms on each series of its roles."""
        found = []
        for name, series in run.series.items():
            if roles.role(name) not in self.roles:
                continue
            places = np.flatnonzero(np.isfinite(series.values))
            for index in places[self.rule(series.values[places])]:
                step = float(series.steps[index])
                found.append(Alarm(self.kind, self.severity, name, step, int(index)))
        return found


@dataclass(frozen=True, slots=True)
class Together:
    """Detectors under one name."""

    name: str
    members: tuple[Detector, ...]

    @property
    def kinds(self) -> frozenset[str]:
        """Return the kinds of all of them."""
        return frozenset().union(*(member.kinds for member in self.members))

    def replay(self, run: Run) -> list[Alarm]:
        """Return the alarms of all of them."""
        return [alarm for member in self.members for alarm in member.replay(run)]


def indexes(alarms: Iterable[Alarm], kinds: Iterable[str], metric: str) -> list[int]:
    """Return where these kinds were raised about a metric, in order."""
    wanted = frozenset(kinds)
    return sorted(
        alarm.index for alarm in alarms if alarm.metric == metric and alarm.kind in wanted
    )


def cooled(places: Iterable[int], cool_down: int = COOL_DOWN_POINTS) -> list[int]:
    """Return the places that are left when each silences the `cool_down` points after it."""
    kept: list[int] = []
    for place in places:
        if not kept or place - kept[-1] > cool_down:
            kept.append(place)
    return kept
