"""Gradients that vanish, explode for good, or are clipped all the time."""

from __future__ import annotations

import random

import pytest

from training_monitor.detect.finding import Finding
from training_monitor.detect.gradients import GradientNorm, GradientThresholds


def fed(detector: GradientNorm, level: list[float], *, seed: int = 3) -> list[Finding]:
    dice = random.Random(seed)
    return [
        it
        for n, value in enumerate(level)
        for it in detector.push(n, value * dice.lognormvariate(0, 0.4), 0.0)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_a_norm_that_falls_as_training_goes_on_is_well(seed: int) -> None:
    level = [10 * (1 + n) ** -0.7 for n in range(2000)]
    assert not fed(GradientNorm("grad_norm"), level, seed=seed)


def test_spikes_are_for_others() -> None:
    level = [1.0] * 500
    for n in (100, 200, 201, 300, 301, 302):
        level[n] = 1000.0
    assert not fed(GradientNorm("grad_norm"), level)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_a_norm_that_stays_high_has_exploded_until_it_comes_back(scale: float) -> None:
    level = [scale] * 200 + [scale * 100] * 60 + [scale] * 60
    found = fed(GradientNorm("grad_norm"), level)
    assert [(it.kind, it.over) for it in found] == [
        ("exploding_gradient", False),
        ("exploding_gradient", True),
    ]
    assert 205 <= (found[0].step or 0) <= 220


def test_a_norm_that_vanishes_is_found() -> None:
    found = fed(GradientNorm("grad_norm"), [1.0] * 200 + [1e-6] * 60)
    assert [(it.kind, it.severity) for it in found] == [("vanishing_gradient", "warning")]


def test_small_norms_alone_are_well() -> None:
    assert not fed(GradientNorm("grad_norm"), [1e-7] * 300)


def test_norms_of_exactly_zero_are_critical() -> None:
    found = fed(GradientNorm("grad_norm"), [1.0] * 100 + [0.0] * 30)
    assert [(it.kind, it.severity) for it in found] == [("vanishing_gradient", "critical")]


def test_clipping_at_nearly_each_step_is_told() -> None:
    detector = GradientNorm("grad_norm", clip_at=1.0)
    found = fed(detector, [0.3] * 600 + [8.0] * 1500)
    kinds = [it.kind for it in found]
    assert "gradient_clipping" in kinds
    assert found[kinds.index("gradient_clipping")].severity == "info"


def test_thresholds_can_be_set() -> None:
    ok = GradientThresholds(explode_ratio=1000.0, explode=None)
    level = [1.0] * 200 + [100.0] * 60
    assert not fed(GradientNorm("grad_norm", thresholds=ok), level)
