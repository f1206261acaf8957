"""Plateau: a series does not get better any more."""

from __future__ import annotations

import math
import random

import pytest

from training_monitor.detect.finding import Finding
from training_monitor.detect.plateau import Plateau, PlateauThresholds


def run(
    detector: Plateau,
    *,
    count: int = 400,
    flat_from: int = 100,
    again: int | None = None,
    noise: float = 0.005,
    stride: int = 10,
    sign: float = 1.0,
) -> list[Finding]:
    """Feed a loss that falls like a power law until `flat_from`, and from `again` on again."""
    dice, found = random.Random(9), []
    for n in range(count):
        gone = min(n, flat_from) + (0 if again is None else 3 * max(0, n - again))
        value = sign * (1 + 4 / (1 + gone / 5) + dice.gauss(0, noise))
        found += detector.push(n * stride, value, float(n))
    return found


@pytest.mark.parametrize(("goal", "sign"), [("min", 1.0), ("max", -1.0)])
def test_a_series_that_has_become_flat_is_told_once(goal: str, sign: float) -> None:
    detector = Plateau("val_loss", goal=goal)
    detector.end = 2000
    found = run(detector, sign=sign, count=200)
    assert [(finding.kind, finding.severity) for finding in found] == [("plateau", "info")]
    assert 1600 < (found[0].step or 0) < 2000


def test_a_series_that_falls_on_is_no_plateau() -> None:
    dice, detector, found = random.Random(9), Plateau("val_loss"), []
    for n in range(400):
        found += detector.push(n, 3 * (1 + n) ** -0.15 + dice.gauss(0, 0.01), 0.0)
    assert not found


@pytest.mark.parametrize("tau", [50, 1000])
def test_a_run_that_has_just_begun_is_no_plateau(tau: float) -> None:
    dice, detector, found = random.Random(9), Plateau("train_loss"), []
    for n in range(79):
        value = 6 if n < 20 else 3 + 3 * math.exp(-(n - 20) / tau)
        found += detector.push(n, value + dice.gauss(0, 0.02), 0.0)
    assert not found


def test_what_has_never_gained_or_gets_worse_is_no_plateau() -> None:
    dice, still, worse = random.Random(9), Plateau("reward", goal="max"), Plateau("val_loss")
    for n in range(600):
        assert not still.push(n, dice.gauss(15, 4), 0.0)
        assert not worse.push(n, 2 + 3 * math.exp(-n / 20) + n / 300, 0.0)


def test_noise_does_not_make_it_come_and_go() -> None:
    found = run(Plateau("val_loss"), count=1000, noise=0.05)
    assert len(found) <= 3


def test_a_gain_ends_it() -> None:
    detector = Plateau("val_loss")
    found = run(detector, count=600, again=400)
    assert [finding.over for finding in found][:2] == [False, True]


def test_a_learning_rate_that_is_still_high_says_that_the_decay_is_ahead() -> None:
    detector = Plateau("val_loss")
    detector.push_lr(0, 3e-4, 0.0)
    found = run(detector)
    assert "decay is still ahead" in found[0].advice
    assert "0.0003" in found[0].text


def test_a_learning_rate_that_has_decayed_does_not() -> None:
    detector = Plateau("val_loss")
    detector.push_lr(0, 3e-4, 0.0)
    detector.push_lr(1, 1e-5, 0.0)
    assert "decay is still ahead" not in run(detector)[0].advice


def test_a_low_probability_of_a_gain_is_a_warning_the_second_time() -> None:
    detector = Plateau("val_loss")
    said = [
        len(detector.push_p_gain(n, p, 0.0)) for n, p in enumerate([0.05, 0.4, 0.05, 0.05, 0.0])
    ]
    assert said == [0, 0, 0, 1, 0]


def test_by_steps_the_specified_windows_can_be_switched_on() -> None:
    ok = PlateauThresholds(steps_warning=500, steps_critical=1000)
    dice, detector, found = random.Random(9), Plateau("loss", thresholds=ok), []
    for step in range(4000):
        value = 1 + 2 * math.exp(-min(step, 1500) / 300) + dice.gauss(0, 0.02)
        found += detector.push(step, value, float(step))
    assert [finding.severity for finding in found] == ["warning", "critical"]
    assert 1500 < (found[0].step or 0) < 2100
    assert 2000 < (found[1].step or 0) < 2700


def test_a_run_that_starts_again_is_judged_anew() -> None:
    detector = Plateau("val_loss")
    run(detector)
    found = detector.push(0, 5.0, 0.0)
    assert [finding.over for finding in found] == [True]
    assert not [it for n in range(30) for it in detector.push(n, 5.0 - n / 10, 0.0)]
