"""Overfitting: the validation gets worse while the training gets better."""

from __future__ import annotations

import random

import pytest

from training_monitor.detect.finding import Finding
from training_monitor.detect.overfitting import Overfitting, OverfittingThresholds


def overfitting_run(
    detector: Overfitting,
    *,
    evals: int = 60,
    turn: int = 20,
    rise: float = 0.01,
    noise: float = 0.002,
    train_floor: float = 0.0,
    per_eval: int = 20,
) -> list[Finding]:
    """Feed a run whose validation loss turns round at evaluation `turn`."""
    dice = random.Random(7)
    found = []
    for n in range(evals):
        for k in range(per_eval):
            step = n * per_eval + k
            loss = max(2.0 / (1 + step / 200), train_floor) + dice.gauss(0, 0.02)
            found += detector.push_train(step, loss, float(step))
        loss = 1.0 + 1.0 / (1 + min(n, turn)) + max(0, n - turn) * rise + dice.gauss(0, noise)
        step = (n + 1) * per_eval
        found += detector.push(step, loss, float(step))
    return found


def test_it_is_watched_first_then_a_warning_then_critical_and_each_is_said_once() -> None:
    found = overfitting_run(Overfitting("val_loss"), evals=90, rise=0.004)
    assert [finding.severity for finding in found] == ["info", "warning", "critical"]
    warning = found[1]
    assert warning.kind == "overfitting"
    assert warning.metric == "val_loss"
    assert warning.since is not None
    assert 19 * 20 <= warning.since <= 23 * 20
    assert warning.step is not None
    assert warning.step <= (20 + 18) * 20
    assert "worse than its best" in warning.text
    assert f"{warning.since:,}" in warning.advice


def test_a_validation_that_rises_while_the_training_stands_still_is_no_overfitting() -> None:
    assert not overfitting_run(Overfitting("val_loss"), train_floor=1.5)


def test_noise_is_no_overfitting() -> None:
    assert not overfitting_run(Overfitting("val_loss"), rise=0.0, noise=0.1)


def test_a_run_that_converges_is_well() -> None:
    assert not overfitting_run(Overfitting("val_loss"), rise=0.0)


def test_one_bad_evaluation_is_no_overfitting() -> None:
    detector = Overfitting("val_loss")
    overfitting_run(detector, rise=0.0)
    assert not detector.push(1300, 3.0, 0.0)
    assert not detector.push(1320, 1.05, 0.0)


def test_a_validation_loss_that_rises_while_the_score_climbs_is_watched_only() -> None:
    detector = Overfitting("val_loss", headline_goal="max")
    dice = random.Random(3)
    found = []
    for n in range(60):
        step = n * 20
        detector.push_train(step, 2.0 / (1 + n / 10) + dice.gauss(0, 0.01), 0.0)
        detector.push_headline(step, 0.3 + 0.01 * n, 0.0)
        found += detector.push(step, 1 + 1 / (1 + min(n, 20)) + 0.01 * max(0, n - 20), 0.0)
    assert [finding.severity for finding in found] == ["info"]


def test_a_score_that_falls_is_judged_like_a_loss_that_rises() -> None:
    detector = Overfitting("val_accuracy", goal="max", train_goal="min")
    found = []
    for n in range(60):
        detector.push_train(n, 2.0 / (1 + n / 10), 0.0)
        found += detector.push(n, 0.8 - 0.5 / (1 + min(n, 20)) - 0.005 * max(0, n - 20), 0.0)
    assert [finding.severity for finding in found][:2] == ["info", "warning"]
    assert found[-1].value < found[-1].reference


def test_a_new_best_ends_it() -> None:
    detector = Overfitting("val_loss")
    overfitting_run(detector)
    for n in range(3):
        detector.push_train(1200 + n, 0.1, 0.0)
    found = detector.push(1220, 0.9, 5.0)
    assert [finding.over for finding in found] == [True]
    assert found[0].severity == "info"


def test_a_run_that_goes_back_starts_anew() -> None:
    detector = Overfitting("val_loss")
    overfitting_run(detector)
    found = detector.push(20, 2.0, 5.0)
    assert [finding.over for finding in found] == [True]
    assert not detector.push(40, 1.9, 5.0)


def test_losses_below_zero_are_judged_by_the_way_they_came() -> None:
    detector = Overfitting("val_nll")
    found = []
    for n in range(90):
        detector.push_train(n, -2.0 + 2.0 / (1 + n / 10), 0.0)
        found += detector.push(n, -1.0 + 2 / (1 + min(n, 20)) + 0.005 * max(0, n - 20), 0.0)
    assert "warning" in [finding.severity for finding in found]


def test_thresholds_can_be_set() -> None:
    never = OverfittingThresholds(watch=9.0, alarm=9.0)
    assert not overfitting_run(Overfitting("val_loss", thresholds=never))


def test_epochs_on_one_side_and_steps_on_the_other_are_paired_by_arrival() -> None:
    detector = Overfitting("val_loss")
    found = []
    for epoch in range(60):
        for k in range(20):
            detector.push_train(epoch * 500 + k, 2.0 / (1 + epoch / 10), 0.0)
        loss = 1 + 1 / (1 + min(epoch, 20)) + 0.01 * max(0, epoch - 20)
        found += detector.push(epoch, loss, 0.0)
    assert {finding.since for finding in found} == {20}


@pytest.mark.parametrize("goal", ["min", "max"])
def test_without_a_train_series_nothing_is_said(goal: str) -> None:
    detector = Overfitting("val_loss", goal=goal)
    assert not [finding for n in range(60) for finding in detector.push(n, 1 + n * 0.1, 0.0)]
