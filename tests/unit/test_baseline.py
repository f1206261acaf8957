"""A run beside a baseline, with known differences."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest

from training_monitor.predict.baseline import AXES, Curve, compare


def falling(count: int, *, every: int = 100, faster: float = 1.0) -> Curve:
    """A loss that falls by 1e-4 per step, `faster` times as fast; a step takes a second."""
    steps = np.arange(1, count + 1) * every
    return Curve(steps, 4.0 - 1e-4 * faster * steps, seconds=steps * 1.0, cost_per_second=0.01)


def test_a_better_run_is_ahead_by_value_and_by_steps() -> None:
    told = compare(falling(100, faster=1.2), falling(200), name="this loss")
    assert told is not None
    assert told.standing == "ahead"
    assert told.difference == pytest.approx(-0.2, rel=0.05)
    assert told.lead == pytest.approx(2000, rel=0.05)
    assert told.text.startswith("0.20 lower than the baseline at step 10,000; the baseline had")
    assert told.text.endswith("steps later")


def test_a_worse_run_is_behind() -> None:
    told = compare(falling(100, faster=0.5), falling(200), name="this loss")
    assert told is not None
    assert told.standing == "behind"
    assert told.lead == pytest.approx(-5000, rel=0.05)
    assert told.text.endswith("steps earlier")


def test_for_scores_higher_is_better() -> None:
    steps = np.arange(50)
    mine, base = Curve(steps, 0.02 * steps), Curve(steps, 0.01 * steps)
    told = compare(mine, base, goal="max", name="this accuracy")
    assert told is not None
    assert (told.standing, told.lead) == ("ahead", None)
    assert told.text.endswith("the baseline never had this accuracy")


@pytest.mark.parametrize(
    ("axis", "standing"), [("step", "level"), ("time", "ahead"), ("cost", "level")]
)
def test_twice_as_fast_for_twice_the_money_is_ahead_in_time_alone(axis: str, standing: str) -> None:
    slow = falling(300)
    steps, values, seconds = (np.asarray(one) for one in (slow.steps, slow.values, slow.seconds))
    fast = Curve(steps[:50], values[:50], seconds[:50] / 2, cost_per_second=0.02)
    told = compare(fast, slow, axis=axis)
    assert told is not None
    assert told.standing == standing
    if axis == "time":
        assert told.lead == pytest.approx(2500, rel=0.05)
        assert "after 41m" in told.text


def test_noise_is_no_lead() -> None:
    random = np.random.default_rng(4)
    steps = np.arange(2000)
    one, two = (Curve(steps, 2.0 + random.normal(0, 0.1, 2000)) for _ in range(2))
    told = compare(one, two)
    assert told is not None
    assert told.standing == "level"
    assert "level with the baseline" in told.text


def test_a_small_difference_is_seen_through_noise() -> None:
    random = np.random.default_rng(4)
    steps = np.arange(20_000)
    two = Curve(steps, 2.0 + random.normal(0, 0.1, 20_000))
    told = compare(Curve(steps, 1.95 + random.normal(0, 0.1, 20_000)), two)
    assert told is not None
    assert told.standing == "ahead"
    assert told.sigma < -5


def test_a_baseline_that_ended_is_compared_where_it_ended() -> None:
    told = compare(falling(300), falling(100, faster=0.9), name="this loss")
    assert told is not None
    assert told.at == 10_000
    assert "at step 10,000, where the baseline ended" in told.text


@pytest.mark.parametrize(
    ("mine", "base"),
    [
        (Curve([], []), falling(5)),
        (falling(5), Curve([1, 2], [nan, nan])),
        (Curve([1, 2], [1.0, 1.0]), Curve([10, 20], [1.0, 1.0])),
        (Curve([10, 20], [1.0, 1.0]), Curve([1, 2], [1.0, 1.0])),
    ],
)
def test_where_nothing_is_in_common_nothing_is_said(mine: Curve, base: Curve) -> None:
    assert compare(mine, base) is None


def test_an_axis_that_a_curve_lacks_is_not_compared() -> None:
    bare = Curve([1, 2, 3], [3.0, 2.0, 1.0])
    assert [compare(bare, bare, axis=axis) is None for axis in AXES] == [False, True, True]


def test_two_points_restarts_and_constants_are_survived() -> None:
    told = compare(Curve([2, 1, 2], [1.0, 5.0, 1.0]), Curve([1, 2], [5.0, 5.0]))
    assert told is not None
    assert told.standing == "ahead"
    flat = Curve(np.arange(1000), np.full(1000, 3.0))
    same = compare(flat, flat)
    assert same is not None
    assert (same.standing, same.difference) == ("level", 0.0)
