"""Final values and their intervals on curves whose end is known."""

import numpy as np
import pytest

from training_monitor.predict.advice import CLUES, advise
from training_monitor.predict.constants import GATES, ODDS, QUANTILES, SCALES
from training_monitor.predict.families import LEVELS, TRAITS, TRENDS
from training_monitor.predict.forecast import Forecast, forecast
from training_monitor.predict.learning_rate import LearningRate
from training_monitor.predict.past import MAX_POINTS, read_past

STEPS: np.ndarray = np.arange(10, 1001, 10)
END = 1000


def test_the_constants_have_a_row_and_a_column_for_everything() -> None:
    assert set(GATES) == set(SCALES) == set(QUANTILES) == {"loss", "score", "error", "reward"}
    for rows in GATES.values():
        assert np.array(rows).shape == (len(TRAITS), len(LEVELS) + len(TRENDS))
    for bounds_of in QUANTILES.values():
        assert list(bounds_of) == sorted(bounds_of)
        assert bounds_of[2] < 0.0 < bounds_of[3]
    assert {len(row) for row in ODDS.values()} == {len(CLUES)}
    assert {len(row) for row in SCALES.values()} == {len(TRAITS) + 2}


def decays(seed: int, exponent: float = 0.5, noise: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return 2.0 + 3.0 * (STEPS / 10.0) ** -exponent + random.normal(0.0, noise, STEPS.size)


def seen(values: np.ndarray, share: float, **told) -> Forecast:
    chosen = (share * END) >= STEPS
    found = forecast(STEPS[chosen], values[chosen], **{"end": END, "goal": "min", **told})
    assert found is not None
    return found


def bounds(found: Forecast) -> list[float]:
    return [
        found.low_90,
        found.low_80,
        found.low_50,
        found.high_50,
        found.high_80,
        found.high_90,
    ]


@pytest.mark.parametrize("exponent", [0.2, 0.3, 0.5])
def test_a_decaying_loss_is_foreseen_better_than_by_its_last_value(exponent: float) -> None:
    values = decays(0, exponent)
    last = values[STEPS <= 0.3 * END][-1]
    assert abs(seen(values, 0.3).value - values[-1]) < 0.75 * abs(last - values[-1])


def test_a_later_forecast_is_narrower_and_closer() -> None:
    values = decays(1, noise=0.01)
    early, late = seen(values, 0.2), seen(values, 0.9)
    assert late.high_90 - late.low_90 < early.high_90 - early.low_90
    assert abs(late.value - values[-1]) < 0.05


def test_the_bounds_are_in_order_and_hold_the_value() -> None:
    for goal in ("min", "max"):
        for kind in ("loss", "score", "error", "reward"):
            found = seen(decays(2, noise=0.05), 0.3, goal=goal, kind=kind)
            assert bounds(found) == sorted(bounds(found))
            assert found.low_90 < found.value < found.high_90


def test_the_interval_of_90_percent_holds_most_ends_and_that_of_50_fewer() -> None:
    inner, outer = 0, 0
    for seed in range(120):
        random = np.random.default_rng(seed)
        exponent, noise = random.uniform(0.2, 1.5), random.choice([0.002, 0.02, 0.1])
        values = decays(seed, exponent, noise)
        found = seen(values, float(random.uniform(0.15, 0.8)))
        inner += found.low_50 <= values[-1] <= found.high_50
        outer += found.low_90 <= values[-1] <= found.high_90
    # These never gain from a decaying learning rate, as most curves behind the constants do.
    assert outer >= 0.7 * 120
    assert inner < outer


def test_the_forecast_follows_the_unit_of_the_metric() -> None:
    values = decays(3, noise=0.02)
    once, scaled = seen(values, 0.4), seen(1000.0 * values, 0.4)
    assert bounds(scaled) == pytest.approx([1000.0 * bound for bound in bounds(once)])


def test_a_single_spike_moves_the_forecast_little() -> None:
    values = decays(4, noise=0.01)
    spiked = values.copy()
    spiked[15] += 50.0
    chosen = STEPS <= 0.4 * END
    span = values[chosen].max() - values[chosen].min()
    assert abs(seen(spiked, 0.4).value - seen(values, 0.4).value) < 0.1 * span


def test_a_loss_per_step_is_foreseen_through_its_noise() -> None:
    random = np.random.default_rng(5)
    steps = np.arange(1, 100_001)
    clean = 2.0 + 3.0 * (steps / 100.0 + 1.0) ** -0.5
    values = clean + random.normal(0.0, 0.3, steps.size)
    cut = 50_000
    found = forecast(steps[:cut], values[:cut], end=100_000, goal="min")
    assert found is not None
    assert found.value == pytest.approx(clean[-1], abs=0.1)


def test_a_constant_series_stays_where_it_is() -> None:
    found = seen(np.full(STEPS.size, 0.7), 0.3)
    assert found.value == pytest.approx(0.7)
    assert found.low_90 == pytest.approx(0.7, abs=0.07)


@pytest.mark.parametrize("level", [0.0, 1e-300, -1e12, 1e300])
def test_a_constant_of_any_size_has_finite_bounds(level: float) -> None:
    assert np.isfinite(bounds(seen(np.full(STEPS.size, level), 0.3))).all()


def test_two_points_are_enough_and_one_is_not() -> None:
    assert forecast([10, 20], [2.0, 1.0], end=100, goal="min") is not None
    assert forecast([10], [2.0], end=100, goal="min") is None
    assert forecast([], [], end=100, goal="min") is None


def test_nothing_finite_or_no_end_tells_nothing() -> None:
    nothing = np.full(5, np.nan)
    assert forecast(STEPS[:5], nothing, end=END, goal="min") is None
    assert forecast(STEPS[:5], np.full(5, np.inf), end=END, goal="min") is None
    assert forecast(STEPS, decays(0), end=None, goal="min") is None
    assert forecast([-3, -2, -1, 0], [4.0, 3.0, 2.0, 1.0], end=END, goal="min") is None


def test_values_that_are_not_finite_are_skipped() -> None:
    values = decays(6)
    holes = values.copy()
    holes[[3, 11, 20]] = np.nan, np.inf, -np.inf
    kept = np.isfinite(holes) & (STEPS <= 0.3 * END)
    bare = forecast(STEPS[kept], holes[kept], end=END, goal="min")
    assert seen(holes, 0.3) == bare


def test_after_its_end_a_run_ends_at_its_last_value() -> None:
    values = decays(7)
    found = forecast(STEPS, values, end=500, goal="min")
    assert found is not None
    assert set(bounds(found)) == {values[-1]}


def test_after_a_restart_the_later_points_count() -> None:
    values = decays(8)
    lost = np.full(10, 99.0)
    steps = np.concatenate([STEPS[:30], STEPS[30:40], STEPS[30:50]])
    both = np.concatenate([values[:30], lost, values[30:50]])
    plain = forecast(STEPS[:50], values[:50], end=END, goal="min")
    assert forecast(steps, both, end=END, goal="min") == plain


def test_steps_and_values_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="3 steps, but 2 values"):
        forecast([1, 2, 3], [1.0, 2.0], end=10, goal="min")


def test_a_million_points_are_read_as_few() -> None:
    steps = np.arange(1, 1_000_001)
    values = 1.0 / steps
    values[777_777] = -5.0
    past = read_past(steps, values, goal="min")
    assert past is not None
    assert past.values.size <= MAX_POINTS
    assert past.last_step == 1_000_000
    assert (past.best, past.best_step) == (5.0, 777_778)


def cooled(shape: str, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Return learning rates and a loss that moves with their sum and falls once more with them."""
    done = np.clip((STEPS - 20) / (END - 20), 0.0, 1.0)
    fallen = done if shape == "linear" else 0.5 * (1.0 - np.cos(np.pi * done))
    rates = 1.0 - (1.0 - floor) * fallen
    summed = np.cumsum(rates) / STEPS.size
    return 6e-4 * rates, 2.0 + 0.3 * summed**-0.5 - 0.15 * (1.0 - rates)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_a_known_learning_rate_makes_the_forecast_better(shape: str, floor: float) -> None:
    rates, values = cooled(shape, floor)
    now = STEPS <= 0.5 * END
    blind = seen(values, 0.5)
    guided = seen(values, 0.5, lr=LearningRate(STEPS[now], rates[now]))
    told = seen(values, 0.5, lr=LearningRate(STEPS[now], rates[now], shape=shape, floor=floor))
    assert abs(guided.value - values[-1]) < 0.7 * abs(blind.value - values[-1])
    assert guided.value == pytest.approx(told.value, rel=0.01)
    assert guided.method.endswith("learning rate")


@pytest.mark.parametrize(
    "rates",
    [np.full(50, 1e-3), np.zeros(50), np.full(50, np.nan), np.geomspace(1.0, 1e-6, 50)],
    ids=["constant", "zero", "nothing", "another shape"],
)
def test_a_learning_rate_that_tells_nothing_changes_nothing(rates: np.ndarray) -> None:
    values = decays(9)
    told = seen(values, 0.5, lr=LearningRate(STEPS[:50], rates))
    assert told == seen(values, 0.5)


def test_no_bound_is_beyond_what_the_metric_can_be() -> None:
    accuracy = 0.95 - 0.5 * (STEPS / 10.0) ** -0.5 + np.random.default_rng(6).normal(0, 0.03, 100)
    found = seen(np.minimum(accuracy, 1.0), 0.3, goal="max", kind="score", possible=(0.0, 1.0))
    assert seen(np.minimum(accuracy, 1.0), 0.3, goal="max", kind="score").high_90 > 1.0
    assert found.high_90 == 1.0
    assert 0.0 < found.low_90 < found.value <= 1.0
    assert bounds(found) == sorted(bounds(found))


def blown_up(count: int = 100) -> np.ndarray:
    """Return a cross entropy that learns for a third of the time, and then is thousands."""
    random = np.random.default_rng(7)
    third = count // 3
    learns = 2.3 - 1.4 * np.arange(third) / third
    wild = np.exp(random.normal(5.0, 1.5, count - third))
    return np.concatenate([learns, wild])


def test_a_curve_that_blew_up_has_no_forecast_and_no_hope() -> None:
    values = blown_up()
    assert forecast(STEPS, values, end=2 * END, goal="min") is None
    assert advise(STEPS, values, end=2 * END, goal="min") is None
    # Its end is known when it is there.
    assert forecast(STEPS, values, end=END, goal="min") is not None


def test_overfitting_and_noise_are_not_lost() -> None:
    random = np.random.default_rng(8)
    overfit = np.concatenate([np.linspace(2.3, 0.6, 40), np.linspace(0.6, 1.7, 60)])
    for values in (overfit, random.uniform(0.0, 1.0, 100), random.normal(0.0, 1.0, 100)):
        assert forecast(STEPS, values, end=2 * END, goal="min") is not None


def test_no_gain_is_expected_beyond_what_is_possible() -> None:
    values = 1.0 - 0.5 * 0.9 ** np.arange(100)
    chosen = STEPS <= 900
    found = advise(
        STEPS[chosen], values[chosen], end=END, goal="max", kind="score", possible=(0.0, 1.0)
    )
    assert found is not None
    assert found.p_gain == 0.0
    assert found.expected_gain <= 1.0 - values[chosen].max()
