"""Score advice to stop: how often it was wrong, what it saved, does its probability hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import numpy as np

from detection import roles
from detection.curves import Flags, Floats, Run
from detection.labels import Label

__all__ = ["BINS", "GAIN", "Advisor", "Said", "Stops", "places", "score", "score_run"]

GAIN = 0.005
MIN_POINTS = 20
MAX_PLACES = 20
BINS = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)


@dataclass(frozen=True, slots=True)
class Said:
    """What was advised after `index` + 1 points; `p_gain` is NaN where it gives none."""

    index: int
    stop: bool
    p_gain: float = float("nan")


class Advisor(Protocol):
    """What advises to stop, asked with a whole curve, each answer from the past alone."""

    def __call__(
        self, steps: Floats, values: Floats, *, end: float, goal: str, kind: str
    ) -> Sequence[Said]: ...


@dataclass(slots=True)
class Stops:
    """What the advice of one advisor was worth."""

    runs: int = 0
    fired: int = 0
    wrong: int = 0
    saved: list[float] = field(default_factory=list)  # of right advice, as a share of the run
    possible: list[float] = field(default_factory=list)  # what a clairvoyant would have saved
    said: list[tuple[float, bool]] = field(default_factory=list)  # probability, came true

    def add(self, other: Stops) -> None:
        """Take in the counts of another."""
        self.runs += other.runs
        self.fired += other.fired
        self.wrong += other.wrong
        self.saved += other.saved
        self.possible += other.possible
        self.said += other.said

    @property
    def wrong_share(self) -> float:
        """Return the share of the runs that were told to stop too early; NaN: none was told."""
        return self.wrong / self.fired if self.fired else float("nan")

    @property
    def saved_share(self) -> float:
        """Return what right advice saved of what could have been saved; NaN: nothing."""
        possible = sum(self.possible)
        return sum(self.saved) / possible if possible else float("nan")

    @property
    def brier(self) -> float:
        """Return the mean squared error of the probabilities; NaN: it gives none."""
        return (
            float(np.mean([(p - came) ** 2 for p, came in self.said]))
            if self.said
            else float("nan")
        )

    @property
    def base_brier(self) -> float:
        """Return the same for one who always says the share that came true."""
        came = float(np.mean([came for _, came in self.said])) if self.said else float("nan")
        return came * (1 - came)

    def reliability(self) -> list[tuple[float, float, int]]:
        """Return mean probability, share that came true and count, by bins of the probability."""
        rows = []
        p, came = np.array([s[0] for s in self.said]), np.array([s[1] for s in self.said])
        for low, high in pairwise(BINS):
            inside = (p >= low) & ((p < high) | ((high == 1.0) & (p <= high)))
            if inside.any():
                rows.append(
                    (float(p[inside].mean()), float(came[inside].mean()), int(inside.sum()))
                )
        return rows


# By advisor, family, source.
Key = tuple[str, str, str]


def places(count: int) -> list[int]:
    """Return the points of a curve at which an advisor that is slow is asked, some 20."""
    first = max(4, count // 20)
    every = max(1, (count - first) // MAX_PLACES)
    return list(range(first, count - 1, every))


def score(
    name: str, advisor: Advisor, runs: Iterable[Run], labels: Mapping[str, Label]
) -> dict[Key, Stops]:
    """Score one advisor on all runs that did not diverge."""
    found: dict[Key, Stops] = defaultdict(Stops)
    for run in runs:
        for key, stops in score_run(run, labels[run.id], {name: advisor}).items():
            found[key].add(stops)
    return found


def score_run(run: Run, label: Label, advisors: Mapping[str, Advisor]) -> dict[Key, Stops]:
    """Score advisors on one run."""
    headline = run.headline
    if (
        headline is None
        or len(headline) < MIN_POINTS
        or label.diverged
        or run.family == "samplesize"
    ):
        return {}
    steps, values = headline.steps, headline.values
    gains = _gains_after(values if run.goal == "max" else -values)
    possible = 1 - _share(steps, int(np.flatnonzero(~gains)[0]))
    found, kind = {}, roles.metric_kind(run)
    for name, advisor in advisors.items():
        said = advisor(steps, values, end=float(steps[-1]), goal=run.goal, kind=kind)
        stops = Stops(runs=1, possible=[possible])
        stops.said = [(s.p_gain, bool(gains[s.index])) for s in said if np.isfinite(s.p_gain)]
        first = next((s.index for s in said if s.stop and s.index < len(values) - 1), None)
        if first is not None:
            stops.fired, stops.wrong = 1, int(gains[first])
            stops.saved = [] if gains[first] else [1 - _share(steps, first)]
        found[name, run.family, run.source] = stops
    return found


def _gains_after(values: Floats) -> Flags:
    """Return for each point whether the best so far is beaten by more than 0.5 % later."""
    best = np.maximum.accumulate(values)
    final_best = best[-1]
    gains: Flags = final_best - best > GAIN * np.abs(best)
    return gains


def _share(steps: Floats, index: int) -> float:
    return float((steps[index] - steps[0]) / (steps[-1] - steps[0]))
