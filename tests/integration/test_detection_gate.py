"""The figures of detections and predictions do not fall, on made curves and on a few real ones.

The curves are few, so a figure may move by its margin. Whoever makes one better writes it down;
`make bench-detection DATA=DIR` says what many curves give.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from detection import bench, cases, curves, labels, ours, sums, synthetic
from detection.bench import Results

CURVES = Path(__file__).parents[1] / "data" / "curves"
MADE = 4
NAME = ours.NAME

Read = Callable[[Results], float]


def recall(kind: str, size: str | None = None, source: str | None = None) -> Read:
    return lambda results: sums.tally(results, NAME, kind, label=size, source=source).recall


def precision(kind: str) -> Read:
    return lambda results: sums.tally(results, NAME, kind).precision


def event(kind: str, what: str) -> Read:
    return lambda results: float(getattr(sums.events(results, NAME, kind), what))


def heard(*severities: str) -> Read:
    """Return how many findings of these severities a healthy run has."""

    def read(results: Results) -> float:
        quiet = {kind: sums.quiet(results, NAME, kind, role="any") for _, kind, *_ in results.quiet}
        found = sum(one.raw for kind, one in quiet.items() if kind.split()[0] in severities)
        return found / quiet["any"].runs

    return read


def final_error(family: str) -> Read:
    return lambda results: float(np.mean(sums.errors(results, NAME, 0.3, family=family).nmae))


def final_covered(results: Results) -> float:
    return sums.errors(results, NAME, 0.3).coverage(90)


def eta_error(results: Results) -> float:
    return float(np.median(sums.eta(results, NAME, 0.3).ape))


def eta_covered(results: Results) -> float:
    return sums.eta(results, NAME, None).coverage(90)


def changes(results: Results) -> float:
    """Return the most changes of state in a healthy run."""
    return max(max(counts) for (name, _), counts in results.states.items() if name == NAME)


@dataclass(frozen=True)
class Figure:
    measure: str
    recorded: float
    margin: float
    read: Read
    less: bool = False  # less is better

    def holds(self, value: float) -> bool:
        if self.less:
            return value <= self.recorded + self.margin
        return value >= self.recorded - self.margin


FIGURES = (
    # measure                              recorded margin
    Figure("spike, 12 sigma: recall",          0.97, 0.06, recall("spike", "12 sigma")),
    Figure("spike, all sizes: recall",         0.76, 0.05, recall("spike")),
    Figure("spike: precision",                 0.88, 0.06, precision("spike")),
    Figure("spike, real: recall",              1.00, 0.00, event("spike", "recall")),
    Figure("non_finite: recall",               1.00, 0.00, recall("non_finite")),
    Figure("divergence over 50: recall",       1.00, 0.10, recall("divergence", "over 50")),
    Figure("divergence: precision",            0.94, 0.06, precision("divergence")),
    Figure("divergence, real: recall",         1.00, 0.00, event("divergence", "recall")),
    Figure("divergence, real: precision",      0.75, 0.10, event("divergence", "precision")),
    Figure("overfitting: recall",              1.00, 0.13, recall("overfitting")),
    Figure("overfitting, real: recall",        1.00, 0.00, event("overfitting", "recall")),
    Figure("overfitting, real: precision",     1.00, 0.00, event("overfitting", "precision")),
    Figure("throughput_drop: recall",          1.00, 0.10,
           recall("throughput_drop", source="synthetic-llm")),
    Figure("mfu_drop: recall",                 1.00, 0.10,
           recall("mfu_drop", source="synthetic-llm")),
    Figure("reward_drop: recall",              0.38, 0.12, recall("reward_drop")),
    Figure("reward_drop: precision",           1.00, 0.10, precision("reward_drop")),
    Figure("kl_blow_up: recall",               0.94, 0.10, recall("kl_blow_up")),
    Figure("entropy_collapse: recall",         1.00, 0.12, recall("entropy_collapse")),
    Figure("flatline: recall",                 1.00, 0.10, recall("flatline")),
    # Of made agents the steps grow a fifth longer, which is told of their rate and MFU as well.
    Figure("healthy: alarms a run",            0.46, 0.10, heard("warning", "critical"), less=True),
    Figure("healthy: information a run",       0.70, 0.20, heard("info"), less=True),
    Figure("final value, supervised: NMAE",    0.11, 0.02, final_error("supervised"), less=True),
    Figure("final value, LLM: NMAE",           0.07, 0.02, final_error("pretrain"), less=True),
    Figure("final value: coverage of 90 %",    0.87, 0.08, final_covered),
    Figure("time left at 30 %: error",         0.02, 0.01, eta_error, less=True),
    Figure("time left: coverage of 90 %",      0.89, 0.06, eta_covered),
    Figure("changes of state in a run",        5.00, 1.00, changes, less=True),
)  # fmt: skip


@pytest.fixture(scope="module")
def results() -> Results:
    everything = bench.systems()
    assert not everything.missing

    def own(systems: dict[str, object]) -> dict[str, object]:
        return {NAME: systems[NAME]}

    tested = bench.Systems(
        detectors=[one for one in everything.detectors if one.name == NAME],
        predictors=own(dict(everything.predictors)),
        advisors=own(dict(everything.advisors)),
        estimators=own(dict(everything.estimators)),
        machines=[one for one in everything.machines if one.name == NAME],
    )
    runs, extra = [*synthetic.make(MADE), *curves.load(CURVES)], synthetic.traces(MADE)
    known = labels.labels_of([*runs, *extra], CURVES)
    hosts = cases.hosts([*runs, *extra], known)
    return bench.measure(runs, hosts, known, tested, extra=extra)


def test_no_figure_falls_below_what_was_reached(results: Results) -> None:
    seen = [(figure, figure.read(results)) for figure in FIGURES]
    table = [
        f"{figure.measure:36}{value:8.3f}{figure.recorded:8.2f}{figure.margin:6.2f}"
        f"{'' if figure.holds(value) else '  FELL'}"
        for figure, value in seen
    ]
    assert not any(math.isnan(value) for _, value in seen), "\n".join(["", *table])
    assert all(figure.holds(value) for figure, value in seen), "\n".join(["", *table])


def test_the_real_curves_may_be_given_away() -> None:
    rows = (CURVES / "ATTRIBUTION.md").read_text().splitlines()
    licences = {
        row.split("|")[1].strip(" `"): row.split("|")[4].strip() for row in rows if row[:3] == "| `"
    }
    assert {run.id for run in curves.load(CURVES)} == set(licences)
    assert set(licences.values()) <= {"MIT", "Apache-2.0", "CC-BY-4.0"}
    assert sum(path.stat().st_size for path in CURVES.iterdir()) < 62_000
