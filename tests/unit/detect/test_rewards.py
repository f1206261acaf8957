"""Rewards: a drop, a flat line, a wild value; a rise is learning."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from training_monitor.detect.finding import Finding
from training_monitor.detect.reward_drop import RewardDrop, RewardDropThresholds
from training_monitor.detect.reward_ratios import RatioThresholds
from training_monitor.detect.rewards import (
    Reward,
    RewardFlatline,
    RewardOutlier,
    RewardThresholds,
)


def learning(
    count: int = 400, *, start: float = -1.0, best: float = 1.0, noise: float = 0.1, seed: int = 1
) -> list[float]:
    """Return a reward that rises from start to best, and crosses zero on its way."""
    dice = random.Random(seed)
    way = best - start
    return [start + way * (1 - math.exp(-n / 60)) + dice.gauss(0, noise) for n in range(count)]


def fed(detector: Reward | RewardDrop | RewardFlatline | RewardOutlier, values: list[float]
        ) -> list[Finding]:  # fmt: skip
    return [found for n, value in enumerate(values) for found in detector.push(n, value, float(n))]


def alarms(found: list[Finding]) -> list[str]:
    return [finding.kind for finding in found if finding.severity != "info"]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e6])
def test_learning_is_no_alarm_whatever_its_scale(seed: int, scale: float) -> None:
    values = [value * scale for value in learning(seed=seed)]
    assert not alarms(fed(Reward("reward"), values))


@pytest.mark.parametrize("seed", range(40))
def test_episodes_that_are_won_or_lost_are_no_drop_while_more_of_them_are_won(seed: int) -> None:
    dice = random.Random(seed)
    values = [1000.0 * (dice.random() < 0.2 + 0.6 * n / 800) for n in range(800)]
    assert not alarms(fed(RewardDrop("reward"), values))


@pytest.mark.parametrize("seed", range(5))
def test_episodes_of_which_far_fewer_are_won_are_a_drop(seed: int) -> None:
    dice = random.Random(seed)
    shares = [*(0.1 + 0.8 * n / 300 for n in range(300)), *[0.9] * 100, *[0.1] * 200]
    values = [1000.0 * (dice.random() < share) for share in shares]
    found = [it for it in fed(RewardDrop("reward"), values) if not it.over]
    assert [400 < (it.step or 0) < 480 for it in found[:1]] == [True]


def test_a_sudden_rise_is_no_alarm() -> None:
    values = [0.0 + random.Random(n).gauss(0, 0.01) for n in range(100)]
    assert not alarms(fed(Reward("reward"), values + [value + 5 for value in values]))


@pytest.mark.parametrize("points", [1, 5, 50])
@pytest.mark.parametrize("start", [-100.0, -1.0, 0.0, 50.0])
def test_a_fall_back_by_half_of_the_way_is_a_drop(points: int, start: float) -> None:
    best = start + 10
    values = learning(400, start=start, best=best, noise=0.5)
    for n in range(200, 400):
        values[n] -= 5.0 * min(1.0, (n - 200) / points)
    found = fed(RewardDrop("reward"), values)
    assert [(finding.kind, finding.severity) for finding in found] == [("reward_drop", "warning")]
    assert found[0].step is not None
    assert 200 < found[0].step < 200 + points + 50
    assert found[0].reference == pytest.approx(best, abs=0.8)


def test_a_collapse_to_the_start_is_critical_and_its_end_is_told() -> None:
    values = learning(300)
    values[150:220] = [-1.0 + value / 100 for value in values[150:220]]
    found = fed(RewardDrop("reward"), values)
    assert [finding.severity for finding in found if not finding.over] == ["critical"]
    assert [finding.over for finding in found] == [False, True]


def test_a_reward_that_was_good_from_the_start_may_fall_too() -> None:
    dice = random.Random(5)
    values = [(1.0 if n < 150 else 0.4) + dice.gauss(0, 0.05) for n in range(250)]
    assert "reward_drop" in alarms(fed(Reward("reward"), values))


def test_a_dip_of_eight_points_is_no_drop() -> None:
    values = learning(300)
    values[200:208] = [-1.0] * 8
    assert not fed(RewardDrop("reward"), values)


def test_a_longer_hold_can_be_set() -> None:
    values = learning(300)
    values[200:240] = [-1.0] * 40
    ok = RewardDropThresholds(hold=60, hold_most=60)
    assert not fed(RewardDrop("reward", thresholds=ok), values)


def test_a_fall_late_in_a_run_of_many_episodes_is_a_drop() -> None:
    values = learning(20_000, noise=0.5)
    for n in range(15_000, 20_000):
        values[n] -= 1.5
    found = fed(RewardDrop("reward"), values)
    assert [finding.kind for finding in found] == ["reward_drop"]
    assert found[0].step is not None
    assert 15_000 < found[0].step < 18_500


def test_a_reward_that_stands_still_is_flat() -> None:
    values = [*learning(100), *([0.2] * 40)]
    found = fed(RewardFlatline("reward"), values)
    assert [(finding.kind, finding.severity) for finding in found] == [("flatline", "warning")]
    assert 128 <= (found[0].step or 0) <= 130
    moving = fed(RewardFlatline("reward"), [*values, *learning(60)])
    assert [finding.over for finding in moving] == [False, True]


def test_a_reward_that_stands_at_its_best_is_info() -> None:
    values = [*[min(value, 0.5) for value in learning(100)], *([0.5] * 40)]
    assert [finding.severity for finding in fed(RewardFlatline("reward"), values)] == ["info"]


def test_a_reward_that_never_moved_is_info_first_and_a_warning_later() -> None:
    found = fed(RewardFlatline("reward"), [0.0] * 200)
    assert [(finding.severity, finding.step) for finding in found] == [
        ("info", 29),
        ("warning", 89),
    ]


def test_a_reward_below_all_that_was_seen_is_an_outlier() -> None:
    values = learning(200)
    values[150] = -40.0
    found = fed(RewardOutlier("reward"), values)
    assert [(finding.severity, finding.step, finding.over) for finding in found] == [
        ("warning", 150, False),
        ("info", 151, True),
    ]
    assert found[0].sigma < -8


def test_a_failed_episode_is_no_outlier() -> None:
    values = learning(200)
    values[150] = -1.0
    assert not fed(RewardOutlier("reward"), values)


def test_a_wild_success_is_told_when_it_has_passed() -> None:
    values = learning(200)
    values[150] = 90.0
    found = fed(RewardOutlier("reward"), values)
    assert not alarms(found)
    assert found[0].step == 150
    assert found[0].value == 90.0


@pytest.mark.parametrize(
    ("rules", "kind", "change"),
    [
        (RatioThresholds(std_threshold=3.0), "outlier", lambda n: 6.0 if n == 150 else 0.0),
        (RatioThresholds(drop_threshold=0.5), "reward_drop", lambda n: -0.8 if n > 150 else 0.0),
        (RatioThresholds(spike_threshold=2.0), "spike", lambda n: 3.0 if n > 150 else 0.0),
    ],
)
def test_rules_on_ratios_can_be_switched_on(
    rules: RatioThresholds, kind: str, change: Callable[[int], float]
) -> None:
    dice = random.Random(2)
    values = [1.0 + change(n) + dice.gauss(0, 0.05) for n in range(220)]
    with_them = fed(Reward("reward", thresholds=RewardThresholds(ratios=rules)), values)
    assert kind in [finding.kind for finding in with_them]
    assert "spike" not in [finding.kind for finding in fed(Reward("reward"), values)]


def test_it_makes_no_difference_that_values_that_are_not_finite_come_between() -> None:
    values = learning(300)
    values[150:220] = [-1.0] * 70
    gaps = [it for value in values for it in (value, math.nan, math.inf)]
    plain = [finding.kind for finding in fed(Reward("reward"), values)]
    assert [finding.kind for finding in fed(Reward("reward"), gaps)] == plain


def test_a_dip_within_the_noise_of_a_reward_that_jumps_to_and_fro_is_no_drop() -> None:
    dice = random.Random(3)
    values = [9300 + 5 * math.sin(n / 30) + dice.gauss(0, 0.5) for n in range(400)]
    for n in range(40, 120, 10):
        values[n : n + 3] = [500.0, 300.0, 400.0]
    assert not [one for one in fed(RewardDrop("reward"), values) if not one.over]


def test_a_reward_that_stands_still_now_and_then_is_told_once() -> None:
    dice = random.Random(3)
    stretch = [1.0] * 40 + [dice.uniform(-1, 2) for _ in range(40)]
    found = fed(RewardFlatline("reward"), [dice.uniform(-1, 2) for _ in range(60)] + stretch * 10)
    assert len([finding for finding in found if not finding.over]) == 1, found
