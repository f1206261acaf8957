"""Entropy, KL, lengths and hacked rewards of reinforcement learning."""

from __future__ import annotations

import random
from typing import Protocol

import pytest

from training_monitor.detect.finding import Finding
from training_monitor.detect.hacking import HackingThresholds, RewardHacking, ZeroSpread
from training_monitor.detect.policy import (
    ClippedShare,
    CompletionLength,
    EntropyCollapse,
    KlBlowUp,
    PolicyThresholds,
)


class Detector(Protocol):
    def push(self, step: int, value: float, time: float) -> list[Finding]: ...


def fed(detector: Detector, values: list[float]) -> list[Finding]:
    return [found for n, value in enumerate(values) for found in detector.push(n, value, float(n))]


def noisy(level: list[float], share: float = 0.05, seed: int = 1) -> list[float]:
    dice = random.Random(seed)
    return [value * (1 + dice.gauss(0, share)) for value in level]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_entropy_that_falls_to_half_is_a_warning_to_a_quarter_critical(sign: float) -> None:
    level = [sign * 2.0 * 0.98 ** max(0, n - 60) for n in range(200)]
    found = fed(EntropyCollapse("entropy"), noisy(level))
    assert [finding.severity for finding in found] == ["warning", "critical"]
    assert 90 <= (found[0].step or 0) <= 115
    assert 125 <= (found[1].step or 0) <= 150


def test_an_entropy_that_sinks_a_little_is_well() -> None:
    assert not fed(EntropyCollapse("entropy"), noisy([2.0 - n / 300 for n in range(250)]))


def test_a_small_entropy_that_was_always_small_is_well() -> None:
    assert not fed(EntropyCollapse("entropy"), noisy([0.2] * 250))


def test_an_entropy_that_crosses_zero_is_not_judged() -> None:
    assert not fed(EntropyCollapse("entropy"), [0.5 - n / 50 for n in range(200)])


def test_an_entropy_that_recovers_is_over() -> None:
    level = [2.0] * 60 + [0.4] * 40 + [2.0] * 40
    found = fed(EntropyCollapse("entropy"), noisy(level))
    assert [finding.over for finding in found] == [False, True]


@pytest.mark.parametrize(("factor", "severity"), [(3.0, "warning"), (10.0, "critical")])
def test_a_kl_that_jumps_is_found(factor: float, severity: str) -> None:
    level = [0.01] * 100 + [0.01 * factor] * 40
    found = fed(KlBlowUp("kl"), noisy(level, 0.2))
    assert found[0].severity == severity
    assert 100 <= (found[0].step or 0) <= 106


def test_a_kl_that_grows_slowly_or_spikes_once_is_well() -> None:
    level = [0.001 + 0.0001 * n for n in range(300)]
    level[120] = 0.9
    level[200] = 0.9
    assert not fed(KlBlowUp("kl"), noisy(level, 0.3))


def test_a_cap_on_kl_can_be_set() -> None:
    found = fed(KlBlowUp("kl", thresholds=PolicyThresholds(kl_cap=0.1)), [0.05] * 5 + [0.2] * 5)
    assert [(finding.severity, finding.step) for finding in found] == [("critical", 7)]


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_lengths_that_change_by_half_are_told_once(factor: float) -> None:
    found = fed(CompletionLength("length"), noisy([300.0] * 100 + [300.0 * factor] * 60, 0.08))
    assert [(finding.kind, finding.over) for finding in found] == [("length_change", False)]


def test_lengths_that_grow_slowly_are_well() -> None:
    assert not fed(CompletionLength("length"), noisy([300.0 + n for n in range(400)], 0.08))


def test_a_share_of_clipped_answers_above_half_is_a_warning_until_it_falls() -> None:
    found = fed(ClippedShare("clipped"), [0.1] * 20 + [0.7] * 20 + [0.2] * 20)
    assert [finding.over for finding in found] == [False, True]


def test_groups_without_spread_are_a_flat_line() -> None:
    found = fed(ZeroSpread("frac_reward_zero_std"), [0.3] * 20 + [0.9] * 20)
    assert [(finding.kind, finding.severity) for finding in found] == [("flatline", "warning")]


def hacked(detector: RewardHacking, *, truth: float | None, count: int = 80) -> list[Finding]:
    """Feed a reward that rises; the true one rises by `truth` times as much."""
    dice, found = random.Random(4), []
    for n in range(count):
        gain = max(0.0, (n - 20) / 100)
        if truth is not None:
            detector.push_true(0.1 + truth * gain + dice.gauss(0, 0.01))
        found += detector.push(n, 0.2 + gain + dice.gauss(0, 0.01), float(n))
    return found


def test_a_reward_that_rises_while_the_truth_stands_is_hacked() -> None:
    found = hacked(RewardHacking("reward"), truth=0.0)
    assert [(finding.kind, finding.severity) for finding in found] == [
        ("reward_hacking", "critical")
    ]


def test_a_reward_that_rises_with_the_truth_is_well() -> None:
    assert not hacked(RewardHacking("reward"), truth=0.7)


def test_a_rise_alone_is_no_sign() -> None:
    assert not hacked(RewardHacking("reward"), truth=None)


@pytest.mark.parametrize(("signs", "count"), [(1, 0), (2, 1)])
def test_without_a_truth_two_signs_are_needed(signs: int, count: int) -> None:
    detector, found = RewardHacking("reward"), []
    dice = random.Random(4)
    for n in range(80):
        gain = max(0.0, (n - 20) / 100)
        detector.push_entropy(2.0 - 2.5 * gain)
        if signs > 1:
            detector.push_length(300 * (1 + 2 * gain))
        found += detector.push(n, 0.2 + gain + dice.gauss(0, 0.01), float(n))
    assert [finding.severity for finding in found] == ["warning"] * count


def test_one_part_that_rises_while_another_falls_is_a_sign() -> None:
    ok = HackingThresholds(signs=1)
    detector, found = RewardHacking("reward", thresholds=ok), []
    dice = random.Random(4)
    for n in range(80):
        gain = n / 100
        detector.push_part("format", gain + dice.gauss(0, 0.01))
        detector.push_part("answer", 0.5 - gain / 3 + dice.gauss(0, 0.01))
        found += detector.push(n, 0.2 + gain + dice.gauss(0, 0.01), float(n))
    assert len(found) == 1
    assert "format rises while answer falls" in found[0].text
