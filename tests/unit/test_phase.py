"""The phase of a training: known courses, schedules, findings, and bad input."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

from training_monitor.predict.decay import Decay
from training_monitor.predict.phase import Phase, PhaseRules, Phases, Transition
from training_monitor.predict.velocity import MAX_BINS, Trail

Course = np.ndarray


def follow(phases: Phases, values: Course, *, start: int = 0, total: int = 0) -> list[Transition]:
    """Push a course step by step and return the changes of the phase."""
    found = []
    for step, value in enumerate(values.tolist(), start):
        if total:
            phases.progress(step / total)
        change = phases.push(step, value)
        if change is not None:
            found.append(change)
    return found


def names(changes: list[Transition]) -> list[str]:
    return [change.after.value for change in changes]


def noisy(values: Course, sigma: float, seed: int = 0) -> Course:
    return values + np.random.default_rng(seed).normal(0.0, sigma, len(values))


def decaying(count: int, *, rate: float = 12.0) -> Course:
    """A loss from 4 to 2 that is flat for the last half."""
    return 2.0 + 2.0 * np.exp(-rate * np.arange(count) / count)


@pytest.mark.parametrize("count", [60, 400, 5000])
def test_a_loss_that_falls_and_settles_goes_through_the_phases_once(count: int) -> None:
    changes = follow(Phases("val_loss"), noisy(decaying(count), 0.004))
    assert names(changes) == ["LEARNING_FAST", "STABLE_CONVERGENCE", "PLATEAU"]
    assert changes[0].before is Phase.INITIALIZING
    assert "val_loss went from" in changes[0].reason
    assert changes[1].reason.startswith("Learning slowed: val_loss went from")
    assert "val_loss has stayed near 2.0" in changes[2].reason
    assert str(changes[2]).startswith("Training went from STABLE_CONVERGENCE to PLATEAU. ")


def test_scores_that_rise_and_values_below_zero_are_the_same_thing() -> None:
    falling = noisy(decaying(400), 0.004)
    rising = follow(Phases(goal="max"), -falling - 50.0)
    below = follow(Phases(goal="min"), falling - 50.0)
    assert names(rising) == names(below)
    assert "PLATEAU" in names(rising)


def test_a_loss_that_keeps_falling_by_powers_is_no_plateau() -> None:
    steps = np.arange(1, 3000)
    changes = follow(Phases(), noisy(2.0 + 8.0 * steps**-0.4, 0.02))
    assert names(changes) == ["LEARNING_FAST", "STABLE_CONVERGENCE"]


def test_the_scale_of_the_metric_does_not_matter() -> None:
    course = noisy(decaying(300), 0.01)
    assert names(follow(Phases(), course)) == names(follow(Phases(), course * 1e-7))


@pytest.mark.parametrize("seed", range(8))
def test_a_healthy_run_changes_its_phase_six_times_at_most(seed: int) -> None:
    random = np.random.default_rng(seed)
    wander = np.cumsum(random.normal(0.0, 0.02, 1000))
    course = decaying(1000, rate=random.uniform(1, 20)) + wander * random.uniform(0, 1)
    phases = Phases(goal="max")
    changes = follow(phases, -noisy(course, 0.1, seed), total=1000)
    changes.append(phases.progress(1.0))  # type: ignore[arg-type]
    assert changes[-1].after is Phase.CONVERGED
    assert len(changes) <= 6


def test_noise_alone_is_never_learning_fast() -> None:
    for seed in range(5):
        changes = follow(Phases(), noisy(np.full(1000, 3.0), 0.1, seed))
        assert names(changes).count("LEARNING_FAST") <= 1
        assert names(changes)[-1] == "PLATEAU"


def test_learning_rates_that_rise_are_the_warmup() -> None:
    phases = Phases()
    course = noisy(decaying(300), 0.004)
    found = []
    for step, value in enumerate(course.tolist()):
        found += [phases.push_lr(step, 1e-3 * min(step / 30, 1.0)), phases.push(step, value)]
    changes = [one for one in found if one is not None]
    assert names(changes)[:2] == ["WARMUP", "LEARNING_FAST"]
    assert changes[0].step < 5
    assert 30 <= changes[1].step <= 36
    assert "learning rate is rising" in changes[0].reason


def test_a_plateau_waits_for_the_decay_that_is_ahead() -> None:
    held = Phases()
    free = Phases()
    course = noisy(decaying(400), 0.004)
    for step, value in enumerate(course.tolist()):
        held.push_lr(step, 0.5 + 0.5 * np.cos(np.pi * step / 1000))
        free.push_lr(step, 1.0)
        held.push(step, value)
        free.push(step, value)
    assert free.phase is Phase.PLATEAU
    assert held.phase is Phase.STABLE_CONVERGENCE
    assert held.flat_but_decay_ahead
    assert not free.flat_but_decay_ahead


def test_a_constant_rate_that_is_known_to_decay_later_waits_too() -> None:
    course = noisy(decaying(400), 0.004)
    phases = Phases(decays=True)
    phases.push_lr(0, 1.0)
    follow(phases, course)
    assert phases.phase is Phase.STABLE_CONVERGENCE
    assert phases.flat_but_decay_ahead


def test_a_drop_of_the_learning_rate_ends_the_plateau() -> None:
    later = np.concatenate((decaying(600), 2.0 - 0.8 * (1 - np.exp(-np.arange(500) / 60))))
    changes = follow(Phases("loss"), noisy(later, 0.004))
    assert names(changes)[2] == "PLATEAU"
    assert names(changes)[3] in ("LEARNING_FAST", "STABLE_CONVERGENCE")
    assert changes[3].step > 600


def test_findings_decide_at_once_and_their_end_gives_the_slope_back() -> None:
    phases = Phases()
    follow(phases, noisy(decaying(100), 0.004)[:40])
    was = phases.phase
    worse = phases.flag("overfitting", "val_loss is 5% above its best.", step=40, time=9.0)
    assert worse == Transition(
        40, 9.0, was, Phase.OVERFITTING_RISK, "val_loss is 5% above its best."
    )
    blown = phases.flag("non_finite", "loss is NaN at step 41.", step=41)
    assert blown is not None
    assert blown.after is Phase.DIVERGING
    assert phases.flag("divergence", "loss has left its course.", step=42) is None
    assert phases.flag("plateau", "flat", step=42) is None
    phases.flag("non_finite", None, step=43)
    assert phases.phase is Phase.DIVERGING
    back = phases.flag("divergence", None, step=44)
    assert back is not None
    assert back.after is Phase.OVERFITTING_RISK
    over = phases.flag("overfitting", None, step=45)
    assert over is not None
    assert over.after in (Phase.LEARNING_FAST, Phase.STABLE_CONVERGENCE)


def test_the_end_is_told_once_and_a_longer_total_takes_it_back() -> None:
    phases = Phases("val_loss")
    follow(phases, noisy(decaying(100), 0.004))
    end = phases.progress(1.0, step=99)
    assert end is not None
    assert end.after is Phase.CONVERGED
    assert end.reason.startswith("All steps are done. val_loss is 2.")
    assert phases.progress(1.0) is None
    phases.progress(0.5)
    again = follow(phases, np.full(10, 2.0), start=100)
    assert phases.phase is not Phase.CONVERGED
    assert len(again) == 1


def test_a_run_that_diverges_is_not_converged_at_its_end() -> None:
    phases = Phases()
    follow(phases, np.full(30, 2.0))
    phases.flag("non_finite", "loss is NaN.")
    assert phases.progress(1.0) is None
    assert phases.phase is Phase.DIVERGING


def test_the_percentages_per_epoch_can_be_had() -> None:
    rules = PhaseRules(fast=0.05, flat=0.01, epoch_steps=10)
    epochs = np.arange(600) / 10
    fast = follow(Phases(rules=rules), noisy(3.0 * 0.9**epochs, 1e-4)[:300])
    steady = follow(Phases(rules=rules), noisy(3.0 * 0.97**epochs, 1e-4))
    slow = follow(Phases(rules=rules), noisy(3.0 * 0.995**epochs, 1e-4))
    assert [names(one)[-1] for one in (fast, steady, slow)] == [
        "LEARNING_FAST",
        "STABLE_CONVERGENCE",
        "PLATEAU",
    ]


def test_no_plateau_in_the_first_tenth_of_a_run() -> None:
    phases = Phases()
    follow(phases, noisy(decaying(300), 0.004), total=4000)
    assert phases.phase is Phase.STABLE_CONVERGENCE


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0], [nan] * 50, [inf, -inf] * 20])
def test_nothing_is_said_where_nothing_is_known(values: list[float]) -> None:
    phases = Phases()
    assert follow(phases, np.array(values)) == []
    assert phases.phase is Phase.INITIALIZING


@pytest.mark.parametrize("value", [0.0, 3.5, -2.0, 1e-300, 1e300])
def test_a_constant_is_a_plateau_and_nothing_else(value: float) -> None:
    assert names(follow(Phases(), np.full(500, value))) == ["PLATEAU"]


def test_steps_that_stand_still_say_nothing() -> None:
    phases = Phases()
    for value in decaying(100):
        assert phases.push(7, value) is None


def test_a_restart_from_a_checkpoint_forgets_what_came_behind_it() -> None:
    phases = Phases()
    course = noisy(decaying(400), 0.004)
    before = names(follow(phases, course))
    assert names(follow(phases, course[200:], start=200)) == []
    assert before[-1] == "PLATEAU"
    assert phases.phase is Phase.PLATEAU


def test_very_many_points_are_kept_in_a_few_bins() -> None:
    trail = Trail(goal="min")
    for step in range(100_000):
        trail.push(step, 1.0 + 1e3 / (step + 1))
    assert len(trail._steps) <= MAX_BINS
    assert trail.count == 100_000
    velocity = trail.velocity()
    assert velocity is not None
    assert velocity.after == pytest.approx(1.01, rel=0.001)


def test_rates_that_are_no_rates_are_left_out() -> None:
    decay = Decay()
    for rate in (nan, inf, -1.0):
        decay.push(rate)
    assert decay.last is None
    assert not decay.warming
    assert not decay.ahead
    assert str(decay) == "unknown"


def test_rates_that_start_at_their_peak_or_cycle_later_are_no_warmup() -> None:
    falling = Decay()
    for rate in (1.0, 0.9, 0.5, 0.6, 0.7, 0.8):
        falling.push(rate)
        assert not falling.warming
    assert falling.ahead
    for rate in (0.2, 0.1):
        falling.push(rate)
    assert falling.spent
    assert not falling.ahead
