"""Score predictions of the final value at 10, 30 and 50 % of a run."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from detection import roles
from detection.curves import Floats, Run
from detection.labels import Label

__all__ = [
    "CUTS",
    "LEVELS",
    "Errors",
    "Prediction",
    "Predictor",
    "crps",
    "cut_of",
    "score",
    "score_run",
]

CUTS = (0.1, 0.3, 0.5)
LEVELS = (50, 80, 90)
MIN_POINTS = 20
MIN_KNOWN = 3


@dataclass(frozen=True, slots=True)
class Prediction:
    """A value, and intervals by their level in per cent; empty: it gives none."""

    value: float
    intervals: Mapping[int, tuple[float, float]] = field(default_factory=dict)


class Predictor(Protocol):
    """What predicts the last value of a curve; None: it does not want to say.

    `kind` is loss, score, error or reward.
    """

    def __call__(
        self, steps: Floats, values: Floats, *, end: float, goal: str, kind: str
    ) -> Prediction | None: ...


@dataclass(slots=True)
class Errors:
    """What predictions of one predictor were off by, in ranges of the curve."""

    asked: int = 0
    nmae: list[float] = field(default_factory=list)
    mae: list[float] = field(default_factory=list)
    ape: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)  # what the last value would have been off by
    crps: list[float] = field(default_factory=list)
    inside: dict[int, list[bool]] = field(default_factory=lambda: defaultdict(list))
    width: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    seconds: float = 0.0

    def add(self, other: Errors) -> None:
        """Take in the errors of another."""
        self.asked += other.asked
        self.seconds += other.seconds
        for name in ("nmae", "mae", "ape", "last", "crps"):
            getattr(self, name).extend(getattr(other, name))
        for level in other.inside:
            self.inside[level] += other.inside[level]
            self.width[level] += other.width[level]

    @property
    def skill(self) -> float:
        """Return how much smaller the mean error is than that of the last value, as a share."""
        if not self.last or np.mean(self.last) == 0:
            return float("nan")
        return float(1 - np.mean(self.nmae) / np.mean(self.last))

    def coverage(self, level: int) -> float:
        """Return the share of truths inside the interval of a level; NaN: it gave none."""
        return float(np.mean(self.inside[level])) if self.inside.get(level) else float("nan")


# By predictor, share of the run, family and source.
Key = tuple[str, float, str, str]


def cut_of(run: Run, share: float) -> int:
    """Return how many points of the headline metric are known at a share of the steps.

    Curves over sample sizes are cut on a logarithmic axis.
    """
    headline = run.headline
    if headline is None:
        return 0
    steps = headline.steps
    if run.family == "samplesize" and steps[0] > 0:
        steps = np.log(steps)
    known = np.searchsorted(steps, steps[0] + share * (steps[-1] - steps[0]), side="right")
    return int(known)


def score(
    name: str, predictor: Predictor, runs: Iterable[Run], labels: Mapping[str, Label]
) -> dict[Key, Errors]:
    """Score one predictor on all runs that did not diverge."""
    found: dict[Key, Errors] = defaultdict(Errors)
    for run in runs:
        for key, errors in score_run(run, labels[run.id], {name: predictor}).items():
            found[key].add(errors)
    return found


def score_run(run: Run, label: Label, predictors: Mapping[str, Predictor]) -> dict[Key, Errors]:
    """Score predictors on one run."""
    headline = run.headline
    found: dict[Key, Errors] = {}
    if headline is None or len(headline) < MIN_POINTS or label.diverged:
        return found
    truth = float(headline.values[-1])
    span = float(np.subtract(*np.percentile(headline.values, [97, 3])))
    if span <= 0 or not np.isfinite(span):
        return found
    kind = roles.metric_kind(run)
    for share in CUTS:
        known = cut_of(run, share)
        if not MIN_KNOWN <= known < len(headline):
            continue
        past = headline.first(known)
        end = float(headline.steps[-1])
        for name, predictor in predictors.items():
            errors = found.setdefault((name, share, run.family, run.source), Errors())
            start = time.perf_counter()
            said = predictor(
                past.steps,
                past.values,
                end=end,
                goal=run.goal,
                kind=kind,
            )
            errors.seconds += time.perf_counter() - start
            errors.asked += 1
            if said is not None and np.isfinite(said.value):
                _judge(errors, said, truth, span, float(past.values[-1]))
    return found


def _judge(errors: Errors, said: Prediction, truth: float, span: float, last: float) -> None:
    off = abs(said.value - truth)
    errors.mae.append(off)
    errors.nmae.append(off / span)
    errors.last.append(abs(last - truth) / span)
    if truth != 0:
        errors.ape.append(off / abs(truth))
    errors.crps.append(crps(said, truth) / span)
    for level, (low, high) in said.intervals.items():
        errors.inside[level].append(low <= truth <= high)
        errors.width[level].append((high - low) / span)


def crps(said: Prediction, truth: float) -> float:
    """Return the continuous ranked probability score, from the quantiles that were said.

    Without intervals it is the absolute error. The pinball losses of quantiles are integrated
    over their probabilities.
    """
    if not said.intervals:
        return abs(said.value - truth)
    quantiles = {0.5: said.value}
    for level, (low, high) in said.intervals.items():
        quantiles[0.5 - level / 200] = low
        quantiles[0.5 + level / 200] = high
    at = np.array(sorted(quantiles))
    values = np.array([quantiles[tau] for tau in at])
    loss = np.maximum(at * (truth - values), (at - 1) * (truth - values))
    # The loss of a quantile goes to zero at the probabilities 0 and 1.
    edges, losses = np.concatenate([[0], at, [1]]), np.concatenate([[0], loss, [0]])
    return float(2 * np.sum(np.diff(edges) * (losses[1:] + losses[:-1]) / 2))
