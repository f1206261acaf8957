"""Metrics that do not come any more, ranks that are slow, tasks that are forgotten."""

from __future__ import annotations

import random

import pytest

from training_monitor.detect.finding import Finding
from training_monitor.detect.forgetting import Forgetting
from training_monitor.detect.silence import Silence, SilenceThresholds
from training_monitor.detect.straggler import Stragglers


def logged(*, last_eval: int = 10**9, steps: int = 5000, every: int = 100) -> list[Finding]:
    """Return what is found in a run that logs loss at each step, val_loss now and then."""
    detector, found = Silence(), []
    for step in range(steps):
        found += detector.push("loss", step, float(step))
        if step % every == 0 and step <= last_eval:
            found += detector.push("val_loss", step, float(step))
        found += detector.tick()
    return found


def test_a_metric_that_comes_no_more_is_told_once() -> None:
    found = logged(last_eval=2000)
    assert [(it.kind, it.metric, it.since) for it in found] == [("metric_silent", "val_loss", 2000)]
    assert found[0].step == pytest.approx(2500, abs=10)


def test_metrics_that_come_are_well() -> None:
    assert not logged()


def test_a_few_points_make_no_habit() -> None:
    assert not logged(last_eval=500)


def test_a_metric_that_comes_again_is_over() -> None:
    detector = Silence()
    found = []
    for step in range(4000):
        found += detector.push("loss", step, float(step))
        if step % 50 == 0 and not 1000 < step < 3000:
            found += detector.push("val_loss", step, float(step))
        found += detector.tick()
    assert [it.over for it in found] == [False, True]


def test_a_run_that_stops_as_a_whole_is_not_silent() -> None:
    detector = Silence()
    for step in range(100):
        detector.push("loss", step, float(step))
        detector.push("lr", step, float(step))
    assert not detector.tick()


def test_the_order_in_which_the_metrics_of_a_step_arrive_makes_no_difference() -> None:
    detector = Silence()
    for chunk in range(20):
        for metric in ("a", "b", "c"):
            for step in range(chunk * 100, chunk * 100 + 100):
                detector.push(metric, step, float(step))
        assert not detector.tick()


def test_a_restart_and_a_clock_that_is_set_are_no_silence() -> None:
    detector = Silence(thresholds=SilenceThresholds(secs=5.0))
    found = []
    for start, clock in ((0, 0.0), (50, 1e6), (60, -1e6)):
        for step in range(start, start + 200):
            for metric in ("a", "b"):
                found += detector.push(metric, step, clock + step)
            found += detector.tick()
    assert not found


def looked(slow: dict[int, float], *, looks: int = 30, late: float = 0.0) -> list[Finding]:
    detector, found = Stragglers(), []
    dice = random.Random(6)
    for n in range(looks):
        secs = {rank: slow.get(rank, 1.0) * dice.uniform(0.97, 1.03) for rank in range(8)}
        lags = {rank: late if rank == 3 else 0.01 for rank in range(8)}
        found += detector.push(n * 100, secs, float(n), lag_secs=lags)
    return found


def test_a_slow_rank_is_told_with_its_number() -> None:
    found = looked({5: 1.5})
    assert [(it.kind, it.rank, it.severity) for it in found] == [("straggler", 5, "warning")]
    assert looked({5: 2.5})[0].severity == "critical"


def test_a_rank_that_the_others_wait_for_is_told() -> None:
    assert [it.rank for it in looked({}, late=0.5)] == [3]


def test_ranks_that_are_alike_are_well() -> None:
    assert not looked({})
    assert not looked({5: 1.1})
    assert not looked(dict.fromkeys(range(8), 3.0))


def test_one_rank_alone_and_ranks_that_leave_are_well() -> None:
    detector = Stragglers()
    assert not [it for n in range(50) for it in detector.push(n, {0: 1.0 + n}, float(n))]
    assert not [it for n in range(50) for it in detector.push(n, {0: 1.0, n % 3: 1.0}, float(n))]


def test_a_rank_that_is_fast_again_is_over() -> None:
    detector, found = Stragglers(), []
    for n in range(60):
        found += detector.push(n, {0: 1.0, 1: 1.0, 2: 1.6 if n < 30 else 1.0}, float(n))
    assert [it.over for it in found] == [False, True]


def learned(*, old_falls: bool, new_rises: bool, noise: float = 0.01) -> list[Finding]:
    detector, found = Forgetting({"old_loss": "min"}), []
    dice = random.Random(8)
    for n in range(60):
        later = max(0, n - 20) / 40
        old = 0.8 - 0.4 * later * old_falls + dice.gauss(0, noise)
        new = 0.2 + 0.6 * later * new_rises + dice.gauss(0, noise)
        found += detector.push("new", n, new, float(n))
        found += detector.push("old", n, old, float(n))
        found += detector.push("old_loss", n, 2 - old, float(n))
    return found


def test_an_old_task_that_falls_while_a_new_one_rises_is_forgotten() -> None:
    found = learned(old_falls=True, new_rises=True)
    assert sorted(it.metric for it in found) == ["old", "old_loss"]
    assert {it.kind for it in found} == {"forgetting"}
    assert all(20 < (it.step or 0) < 40 for it in found)


@pytest.mark.parametrize(("old", "new"), [(False, True), (True, False), (False, False)])
def test_one_without_the_other_is_no_forgetting(old: bool, new: bool) -> None:
    assert not learned(old_falls=old, new_rises=new)


def test_noise_is_no_forgetting() -> None:
    assert not learned(old_falls=False, new_rises=True, noise=0.1)
