"""Steps that are slow because they wait for data."""

import numpy as np
import pytest

from training_monitor.detect.finding import Finding
from training_monitor.judge.judge import Judge
from training_monitor.judge.news import News


def run(wait: float, work: float, *, unit: float = 1.0) -> list[Finding]:
    """Return what is found where steps wait and work so long from the middle on, and then not."""
    dice = np.random.default_rng(1)
    waits = np.concatenate((np.full(300, 0.01), np.full(200, wait), np.full(200, 0.01)))
    works = np.concatenate((np.full(300, 0.3), np.full(200, work), np.full(200, 0.3)))
    waits = waits + dice.normal(0, 0.001, 700)
    secs = waits + works + dice.normal(0, 0.005, 700)
    steps, times = np.arange(700), 1e9 + np.cumsum(secs)
    judge, found = Judge(), []
    for start in range(0, 700, 20):
        part = slice(start, start + 20)
        judged = judge.feed(
            [
                News("step_time", 0, 1, steps[part], times[part], secs[part]),
                News("data_time", 0, 1, steps[part], times[part], waits[part] * unit),
            ]
        )
        found += judged.findings
    return found


def test_a_slowdown_that_is_a_wait_for_data_is_a_stall_and_ends_with_it() -> None:
    found = run(0.4, 0.3)
    assert [(one.kind, one.over) for one in found] == [
        ("slowdown", False), ("data_stall", False), ("slowdown", True), ("data_stall", True),
    ]  # fmt: skip
    stall = found[1]
    assert (stall.metric, stall.severity) == ("data_time", found[0].severity)
    assert stall.value == pytest.approx(0.4, rel=0.1)
    assert stall.since == found[0].since


@pytest.mark.parametrize(("wait", "work", "unit"), [(0.01, 0.7, 1.0), (0.4, 0.3, 1000.0)])
def test_work_that_takes_longer_and_waits_in_another_unit_are_none(
    wait: float, work: float, unit: float
) -> None:
    assert {one.kind for one in run(wait, work, unit=unit)} == {"slowdown"}
