"""Memory that the training logs itself."""

import random
from collections.abc import Callable
from math import exp

import pytest

from training_monitor.detect.finding import Finding
from training_monitor.detect.watch import Watch

HOUR = 3600.0
NAMES = ("gpu_mem_gb", "max_memory_allocated", "memory/allocated", "system/gpu_memory_used_mb")


def watched(
    used: Callable[[float], float], *, name: str = NAMES[0], hours: float = 4
) -> list[Finding]:
    watch, dice = Watch(), random.Random(1)
    steps = range(int(hours * HOUR / 10))
    times = [1e9 + 10.0 * step for step in steps]
    values = [used(10.0 * step) + dice.gauss(0, 0.02) for step in steps]
    found = watch.feed(name, list(steps), values, times)
    return [one for one in found if one.kind == "memory_leak"]


@pytest.mark.parametrize("name", NAMES)
def test_a_steady_rise_is_a_leak_whatever_the_unit(name: str) -> None:
    unit = 1024.0 if name.endswith("_mb") else 1.0
    found = watched(lambda time: unit * (20.0 + 4.0 * time / HOUR), name=name)
    assert [one.over for one in found] == [False]
    assert (found[0].severity, found[0].metric) == ("warning", name)
    assert "grows steadily" in found[0].text
    assert found[0].time - 1e9 < 3 * HOUR


def test_a_leak_that_stops_is_over() -> None:
    found = watched(lambda time: 20.0 + 8.0 * min(time, 3 * HOUR) / HOUR, hours=9)
    assert [one.over for one in found] == [False, True]


@pytest.mark.parametrize(
    "used",
    [
        lambda _time: 70.0,
        lambda time: 20.0 + 10.0 * ((time / 70) % 1.0),
        lambda time: 40.0 - 30.0 * exp(-time / HOUR),
        lambda time: 20.0 + 10.0 * (time > HOUR) + 10.0 * (time > 2 * HOUR),
        lambda time: 20.0 + 0.1 * time / HOUR,
        lambda time: max(20.0 + 5.0 * random.Random(int(time)).random() for _ in range(3)),
    ],
    ids=["constant", "sawtooth", "cache", "steps", "hardly", "noise"],
)
def test_memory_that_does_not_leak_is_not_told(used: Callable[[float], float]) -> None:
    assert watched(used) == []


def test_of_groups_without_spread_a_warning_is_told_by_the_name_of_their_share() -> None:
    for name in ("frac_reward_zero_std", "train/frac_reward_zero_std"):
        watch = Watch()
        shares = [0.2] * 30 + [0.95] * 30 + [0.3] * 30
        found = watch.feed(name, range(90), shares, [1e9 + step for step in range(90)])
        assert [(one.kind, one.over) for one in found] == [("flatline", False), ("flatline", True)]
        assert "same reward" in found[0].text


def test_names_that_only_sound_like_it_are_no_share_of_groups() -> None:
    for name in ("num-zeros", "reward/zero_std_count", "rollout/zero_loss_ratio"):
        watch = Watch()
        assert watch.feed(name, range(60), [0.95] * 60, [1e9 + step for step in range(60)]) == []
