"""What fills up: the memory of a GPU, that of the host, a disk."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from training_monitor.detect.finding import Finding
from training_monitor.detect.memory import Filling, FillingThresholds, GpuMemory
from training_monitor.detect.trend import Trend

GIB = 2.0**30
HOUR = 3600.0


def sawtooth(time: float) -> float:
    """Return what a step takes on top: up and down every seven seconds."""
    return 4 * GIB * ((time / 7) % 1.0)


def gpu(
    used: Callable[[float], float], *, hours: float = 4, every: float = 10, start: float = 1e9
) -> list[Finding]:
    detector = GpuMemory("gpu0", capacity_bytes=80 * GIB)
    dice, found, time = random.Random(1), [], 0.0
    while time < hours * HOUR:
        value = used(time) + sawtooth(time) + dice.gauss(0, 0.02 * GIB)
        found += detector.push(None, value, start + time)
        time += every
    return found


@pytest.mark.parametrize("percent", [4, 10, 40])
def test_a_leak_is_found_whatever_a_step_takes(percent: float) -> None:
    found = gpu(lambda time: 30 * GIB + percent / 100 * 80 * GIB * time / HOUR, hours=3)
    assert found[0].kind == "memory_leak"
    assert found[0].value == pytest.approx(percent / 100, rel=0.3)
    assert found[0].time - 1e9 < 1.5 * HOUR


def test_time_to_out_of_memory_is_told_before_it_comes() -> None:
    found = gpu(lambda time: 30 * GIB + 16 * GIB * time / HOUR, hours=2.8)
    risks = [it for it in found if it.kind == "out_of_memory_risk"]
    assert [it.severity for it in risks] == ["warning", "critical"]
    # 78.4 GiB are reached, with the 4 GiB that a step takes, after 2.78 hours.
    assert risks[0].time - 1e9 == pytest.approx(0.8 * HOUR, abs=0.3 * HOUR)
    assert 2.4 * HOUR < risks[1].time - 1e9 < 2.75 * HOUR


def warm(time: float) -> float:
    return 20 * GIB + 20 * GIB * (1 - 2.718 ** (-time / 600))


@pytest.mark.parametrize(
    "used",
    [
        lambda _: 60 * GIB,
        lambda time: 20 * GIB if time < 3600 else 60 * GIB,
        lambda time: 20 * GIB + 10 * GIB * min(time // 2400, 2),
        lambda time: 30 * GIB + (25 * GIB if (time % 1800) < 120 else 0),
        lambda time: 79 * GIB - sawtooth(time),
        warm,
    ],
    ids=["constant", "one step", "few steps", "evaluations", "nearly full", "warming up"],
)
def test_other_shapes_are_no_leak(used: Callable[[float], float]) -> None:
    assert not [it for it in gpu(used, hours=4) if it.severity != "info"]


def test_a_leak_that_stops_is_over() -> None:
    found = gpu(lambda time: 30 * GIB + 6 * GIB * min(time / HOUR, 2.0), hours=6)
    assert [it.over for it in found if it.kind == "memory_leak"] == [False, True]


def test_a_leak_that_begins_on_the_third_day_is_found_within_the_hour() -> None:
    begin = 60 * HOUR
    found = gpu(lambda time: 30 * GIB + max(0.0, time - begin) / HOUR * 8 * GIB, hours=62, every=15)
    assert found[0].kind == "memory_leak"
    assert 0 < found[0].time - 1e9 - begin < HOUR


def host(kind: str, used: Callable[[float], float], *, total: float = 500 * GIB) -> list[Finding]:
    detector, found, time = Filling(kind, "host"), [], 0.0
    dice = random.Random(2)
    while time < 5 * HOUR:
        value = min(max(used(time) + dice.gauss(0, 0.2 * GIB), 0.0), total)
        found += detector.push(None, value, 1e9 + time, capacity_bytes=total)
        time += 10.0
    return found


@pytest.mark.parametrize("kind", ["ram_exhaustion", "disk_exhaustion", "shm_exhaustion"])
def test_what_fills_up_is_told_with_the_time_that_is_left(kind: str) -> None:
    found = host(kind, lambda time: 300 * GIB + 40 * GIB * time / HOUR)
    assert [(it.kind, it.severity) for it in found] == [(kind, "warning"), (kind, "critical")]
    assert "is full in" in found[0].text
    assert 2.5 * HOUR < found[0].time - 1e9 < 4 * HOUR
    assert found[0].advice


def test_noise_and_a_slow_rise_are_quiet() -> None:
    assert not host("ram_exhaustion", lambda time: 300 * GIB + 2 * GIB * time / HOUR)


def test_little_space_is_critical_without_any_slope_and_over_when_there_is_more() -> None:
    found = host(
        "disk_exhaustion",
        lambda time: 499.9 * GIB if HOUR < time < 2 * HOUR else 400 * GIB,
    )
    assert [(it.severity, it.over) for it in found] == [("critical", False), ("info", True)]


def test_two_percent_of_a_large_memory_is_enough() -> None:
    assert not host("ram_exhaustion", lambda _: 1970 * GIB, total=2000 * GIB)


def test_floors_can_be_set() -> None:
    detector = Filling("ram_exhaustion", "host", thresholds=FillingThresholds(free_share=0.5,
                       free_bytes=1e15))  # fmt: skip
    assert detector.push(None, 60.0, 0.0, capacity_bytes=100.0)


def test_a_trend_keeps_few_windows_for_days_and_forgets_over_a_pause() -> None:
    trend = Trend()
    for n in range(6_000):
        trend.push(n * 5.0, n * 1.0)
    assert trend.steady
    assert trend.slope == pytest.approx(0.2, rel=0.01)
    assert sum(len(windows) for windows in trend._windows) <= 4 * 36
    trend.push(6_000 * 10.0 + 10 * HOUR, 5.0)
    assert sum(len(windows) for windows in trend._windows) == 0


def test_a_clock_that_is_set_back_starts_the_trend_anew() -> None:
    trend = Trend()
    for n in range(1000):
        trend.push(n * 10.0, n * 1.0)
    trend.push(0.0, 0.0)
    assert not trend.steady
