"""Whether going on is worth it, on curves of which that is known."""

import numpy as np
import pytest

from training_monitor.predict.advice import Stopper, advise

STEPS = np.arange(10, 501, 10)


def test_a_loss_that_falls_steadily_will_go_on_improving() -> None:
    found = advise(STEPS, 5.0 * STEPS**-0.4, end=1000, goal="min")
    assert found is not None
    assert found.p_gain > 0.9
    assert found.expected_gain > 0.0


def test_a_run_that_got_worse_for_most_of_its_time_will_hardly_improve() -> None:
    values = 1.0 + 0.002 * np.abs(STEPS - 60)
    found = advise(STEPS, values, end=560, goal="min")
    assert found is not None
    assert found.p_gain < 0.25
    assert (found.best_value, found.best_step) == (1.0, 60)
    assert found.since_best == pytest.approx(0.88)
    assert found.left == pytest.approx(1.0 - 500 / 560)


def test_a_larger_gain_is_less_likely() -> None:
    values = 2.0 + STEPS**-0.5 + np.random.default_rng(0).normal(0.0, 0.01, STEPS.size)
    chances = [
        found.p_gain
        for gain in (0.0, 0.005, 0.02, 0.1, 0.5)
        if (found := advise(STEPS, values, end=1000, goal="min", gain=gain))
    ]
    assert len(chances) == 5
    assert chances == sorted(chances, reverse=True)
    assert chances[-1] < 0.5 * chances[0]


def test_the_best_value_is_that_of_the_goal() -> None:
    values = np.sin(STEPS / 50.0)
    least = advise(STEPS, values, end=1000, goal="min", kind="score")
    most = advise(STEPS, values, end=1000, goal="max", kind="score")
    assert least is not None
    assert most is not None
    assert least.best_value == values.min()
    assert most.best_value == values.max()


def test_without_a_known_end_it_looks_as_far_ahead_as_the_run_has_come() -> None:
    found = advise(STEPS, 1.0 / STEPS, end=None, goal="min")
    assert found is not None
    assert not found.end_known
    assert found.end == 1000
    assert found.left == 0.5


def test_after_the_end_nothing_is_gained() -> None:
    found = advise(STEPS, 1.0 / STEPS, end=300, goal="min")
    assert found is not None
    assert (found.p_gain, found.expected_gain, found.left) == (0.0, 0.0, 0.0)
    assert found.end == 500


@pytest.mark.parametrize("kind", ["loss", "score", "error", "reward"])
@pytest.mark.parametrize("level", [0.0, 1.0, -1e9, 1e-300])
def test_a_constant_series_has_a_chance_between_0_and_1(kind: str, level: float) -> None:
    found = advise(STEPS, np.full(STEPS.size, level), end=1000, goal="max", kind=kind)
    assert found is not None
    assert 0.0 <= found.p_gain <= 1.0
    assert np.isfinite(found.expected_gain)
    assert np.isnan(found.expected_share) == (level == 0.0)


def test_too_little_tells_nothing() -> None:
    assert advise([10], [1.0], end=100, goal="min") is None
    assert advise(STEPS, np.full(STEPS.size, np.nan), end=100, goal="min") is None


def test_two_low_chances_in_a_row_say_stop() -> None:
    stopper = Stopper()
    assert not stopper.push(10, 0.05)
    assert not stopper.push(20, 0.3)
    assert not stopper.push(30, 0.05)
    assert stopper.push(40, 0.09)


def test_the_same_step_twice_counts_once() -> None:
    stopper = Stopper()
    assert not stopper.push(10, 0.05)
    assert not stopper.push(10, 0.05)
    assert stopper.push(20, 0.05)


def test_stop_stays_until_the_chance_is_clearly_higher() -> None:
    stopper = Stopper()
    stopper.push(10, 0.01)
    assert stopper.push(20, 0.01)
    assert stopper.push(30, 0.15)
    assert not stopper.push(40, 0.25)
    assert not stopper.push(50, 0.05)


def test_a_restart_forgets_what_was_low() -> None:
    stopper = Stopper()
    stopper.push(10, 0.01)
    assert stopper.push(20, 0.01)
    assert not stopper.push(15, 0.01)
    assert stopper.push(25, 0.01)


def test_a_chance_that_is_not_a_number_changes_nothing() -> None:
    stopper = Stopper()
    stopper.push(10, 0.01)
    assert not stopper.push(20, float("nan"))
    assert stopper.push(30, 0.01)
