"""How long a run still takes: known answers, and bad input."""

from __future__ import annotations

from itertools import pairwise
from math import inf, isfinite, nan

import numpy as np
import pytest

from training_monitor.predict.eta import GENERATING, LEVELS, EtaEstimator, eta
from training_monitor.predict.rates import MAX_BINS, MAX_PAUSES, Rates


def clock(rates: np.ndarray, *, start: float = 1.7e9) -> np.ndarray:
    """Return the times of points whose steps took `rates`."""
    return start + np.concatenate(([0.0], np.cumsum(rates)))


def test_a_steady_run_is_told_to_the_second() -> None:
    told = eta(range(101), clock(np.full(100, 2.0)), total=1000)
    assert told is not None
    assert told.seconds == pytest.approx(1800.0)
    assert told.rate == pytest.approx(2.0)
    assert told.growth == 1.0
    assert told.confidence == "high"
    assert [part.kind for part in told.parts] == ["steps"]


def test_intervals_hold_the_estimate_and_grow_with_the_level() -> None:
    noise = np.random.default_rng(3).lognormal(0.0, 0.3, 80)
    told = eta(range(81), clock(noise), total=400)
    assert told is not None
    for inner, outer in pairwise(LEVELS):
        assert told.low[outer] < told.low[inner] < told.seconds
        assert told.seconds < told.high[inner] < told.high[outer]


def test_intervals_hold_as_often_as_they_say_on_noise_that_wanders() -> None:
    random = np.random.default_rng(11)
    inside, runs = 0, 200
    for _ in range(runs):
        wander = np.cumsum(random.normal(0.0, 0.003, 300))
        rates = np.exp(wander + random.normal(0.0, 0.1, 300))
        times = clock(rates)
        told = eta(range(91), times[:91], total=300)
        assert told is not None
        inside += told.low[90] <= times[-1] - times[90] <= told.high[90]
    assert inside >= 0.8 * runs


def test_the_slow_first_steps_of_a_compiler_do_not_count() -> None:
    rates = np.full(60, 0.5)
    rates[0] = 90.0
    told = eta(range(61), clock(rates), total=600)
    assert told is not None
    assert told.seconds == pytest.approx(270.0, rel=0.001)


def test_evaluations_are_counted_by_their_period() -> None:
    rates = np.full(950, 1.0)
    rates[199::200] += 300.0  # before steps 200, 400, 600, 800
    told = eta(range(951), clock(rates), total=2000)
    assert told is not None
    assert told.seconds == pytest.approx(1050.0 + 6 * 300.0)
    pauses = next(part for part in told.parts if part.kind == "pauses")
    assert (pauses.count, pauses.period) == (6, 200)
    assert pauses.seconds == pytest.approx(1800.0)


def test_one_evaluation_with_its_points_is_enough_to_expect_the_next() -> None:
    rates = np.full(390, 1.0)
    rates[199] += 300.0
    estimator = EtaEstimator()
    estimator.push_many(range(391), clock(rates))
    without = estimator.estimate(1000)
    estimator.evaluated([200])
    told = estimator.estimate(1000)
    assert without is not None
    assert told is not None
    assert without.seconds == pytest.approx(610.0)
    assert told.seconds == pytest.approx(610.0 + 4 * 300.0)
    assert [part.kind for part in told.parts] == ["steps", "evaluations"]


def test_evaluations_and_checkpoints_are_told_apart() -> None:
    rates = np.full(2100, 1.0)
    rates[99::100] += 50.0
    rates[699::700] += 400.0
    estimator = EtaEstimator()
    estimator.push_many(range(2101), clock(rates))
    estimator.evaluated(range(100, 2101, 100))
    told = estimator.estimate(4000)
    assert told is not None
    assert [(part.kind, part.count) for part in told.parts[1:]] == [
        ("evaluations", 19),
        ("pauses", 2),
    ]
    assert told.seconds == pytest.approx(1900 + 19 * 50 + 2 * 400)
    assert told.parts[2].period == 700


def test_a_machine_that_slept_once_does_not_make_the_rest_longer() -> None:
    rates = np.full(100, 1.0)
    rates[70] = 40_000.0
    told = eta(range(101), clock(rates), total=200)
    assert told is not None
    assert told.seconds == pytest.approx(100.0)


def test_steps_that_grow_longer_are_carried_on() -> None:
    true = 10.0 * np.exp(1.2 * np.arange(300) / 300)
    noise = np.random.default_rng(5).lognormal(0.0, 0.05, 300)
    times = clock(true * noise)
    told = eta(range(151), times[:151], total=300)
    assert told is not None
    left = times[-1] - times[150]
    flat = (times[150] - times[0]) / 150 * 150
    assert told.growth > 1.1
    assert abs(told.seconds / left - 1) < 0.1 < abs(flat / left - 1)


def test_a_run_that_generates_is_expected_to_slow_down() -> None:
    noise = np.random.default_rng(7).lognormal(0.0, 0.1, 20)
    plain = eta(range(21), clock(noise), total=70)
    longer = eta(range(21), clock(noise), total=70, rules=GENERATING)
    assert plain is not None
    assert longer is not None
    assert 1.1 < longer.seconds / plain.seconds < 1.3
    assert longer.high[90] / longer.low[90] > plain.high[90] / plain.low[90]


def test_time_that_passed_is_taken_off_but_a_hung_run_comes_no_nearer() -> None:
    estimator = EtaEstimator()
    times = clock(np.full(10, 60.0))
    estimator.push_many(range(0, 110, 10), times)
    last = times[-1]
    said = [estimator.estimate(200, now=last + waited) for waited in (0.0, 30.0, 60.0, 9999.0)]
    assert [round(one.seconds) for one in said if one] == [600, 570, 540, 540]
    assert estimator.estimate(200, now=nan) == estimator.estimate(200)


def test_what_it_says_does_not_depend_on_the_batches() -> None:
    random = np.random.default_rng(1)
    steps = np.cumsum(random.integers(0, 4, 3000)).astype(float)
    times = clock(random.lognormal(0.0, 0.5, 2999))
    steps[1500:] -= 700.0  # back to a checkpoint
    times[2200:] -= 1e5  # a clock set back
    times[900] = nan
    whole = EtaEstimator()
    whole.push_many(steps, times)
    single = EtaEstimator()
    for step, time in zip(steps, times, strict=True):
        single.push(step, time)
    odd = EtaEstimator()
    for part in np.array_split(np.arange(3000), 37):
        odd.push_many(steps[part], times[part])
    assert whole.estimate(9000) == single.estimate(9000) == odd.estimate(9000)


def test_the_gap_before_a_resumed_attempt_is_left_out() -> None:
    estimator = EtaEstimator()
    first = clock(np.full(50, 3.0))
    estimator.push_many(range(51), first)
    estimator.resumed()
    estimator.push_many(range(40, 61), clock(np.full(20, 3.0), start=first[-1] + 86_400))
    told = estimator.estimate(100)
    assert told is not None
    assert told.seconds == pytest.approx(120.0)


def test_gaps_that_come_back_are_expected_again_when_they_are_given() -> None:
    estimator = EtaEstimator()
    for attempt in range(4):
        first = 100 * attempt
        start = 1.7e9 + attempt * 90_000
        estimator.push_many(range(first, first + 101), clock(np.full(100, 10.0), start=start))
        if attempt < 3:
            estimator.resumed(gap_seconds=3600.0)
    told = estimator.estimate(800)
    assert told is not None
    assert told.seconds == pytest.approx(400 * 10.0 + 4 * 3600.0, rel=0.1)


def test_an_estimate_reads_like_a_sentence() -> None:
    told = eta(range(101), clock(np.full(100, 48.0)), total=200)
    assert str(told).startswith("1h 20m (1h 20m")
    assert str(told).endswith("with 80%, confidence high)")


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
def test_a_clock_that_jumps_does_not_count(jump: float) -> None:
    times = clock(np.full(100, 2.0))
    times[60:] += jump
    told = eta(range(101), times, total=200)
    assert told is not None
    assert told.seconds == pytest.approx(200.0)


def test_a_step_that_jumps_ahead_is_not_taken_for_speed() -> None:
    steps = np.concatenate((np.arange(50), np.arange(5000, 5100)))
    told = eta(steps, clock(np.full(149, 2.0)), total=6000)
    assert told is not None
    assert told.seconds == pytest.approx(901 * 2.0)


@pytest.mark.parametrize(
    ("steps", "times", "total"),
    [
        ([], [], 10),
        ([1], [5.0], 10),
        ([1, 1], [5.0, 6.0], 10),
        ([nan, nan, nan], [1.0, 2.0, 3.0], 10),
        ([1, 2], [nan, inf], 10),
        ([1, 2], [1.0, 2.0], nan),
        ([1, 2], [1.0, 2.0], inf),
        ([5, 4, 3], [1.0, 2.0, 3.0], 10),
        ([1, 2, 3], [3.0, 2.0, 1.0], 10),
    ],
)
def test_nothing_is_said_where_nothing_is_known(
    steps: list[float], times: list[float], total: float
) -> None:
    assert eta(steps, times, total=total) is None


@pytest.mark.parametrize("total", [100, 50, -3])
def test_a_total_that_is_behind_leaves_nothing(total: float) -> None:
    told = eta(range(101), clock(np.full(100, 2.0)), total=total)
    assert told is not None
    assert told.seconds == 0.0


def test_times_that_do_not_move_give_no_nonsense() -> None:
    told = eta(range(50), np.full(50, 1e9), total=100)
    assert told is not None
    assert told.seconds == 0.0
    assert all(isfinite(told.high[level]) for level in LEVELS)


def test_two_points_give_an_estimate_of_low_confidence() -> None:
    told = eta([10, 20], [0.0, 50.0], total=100)
    assert told is not None
    assert told.seconds == pytest.approx(400.0)
    assert told.confidence != "high"


def test_times_in_whole_seconds_are_no_pauses() -> None:
    times = np.floor(clock(np.full(5000, 0.07)))
    told = eta(range(5001), times, total=10_000)
    assert told is not None
    assert told.seconds == pytest.approx(350.0, rel=0.02)
    assert [part.kind for part in told.parts] == ["steps"]


def test_very_many_points_are_kept_in_a_few_bins() -> None:
    rates = Rates()
    count = 300_000
    took = np.random.default_rng(2).lognormal(0.0, 0.2, count - 1)
    took[999::1000] += 60.0
    rates.push_many(np.arange(count), clock(took))
    view = rates.view()
    assert len(view.steps) <= MAX_BINS + 2
    assert len(view.pauses) <= MAX_PAUSES
    assert view.increments == count - 1
    assert view.steps.sum() == count - 1
    assert view.seconds.sum() + view.excess.sum() == pytest.approx(took.sum())
