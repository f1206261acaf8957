"""GPUs that idle, are slowed down or are hot."""

from __future__ import annotations

from typing import Any

import pytest

from training_monitor.detect.finding import Finding
from training_monitor.detect.hardware import Gpu


def fed(detector: Gpu, secs: float, *, start: float = 0.0, every: float = 5.0, **sample: Any
        ) -> list[Finding]:  # fmt: skip
    found, time = [], start
    while time < start + secs:
        found += detector.push(time, **sample)
        time += every
    return found


def test_a_gpu_that_idles_while_training_goes_on_is_told_until_it_works() -> None:
    detector = Gpu("gpu0")
    found = fed(detector, 600, utilization_percent=2)
    found += fed(detector, 600, start=600, utilization_percent=80)
    assert [(it.kind, it.severity, it.over) for it in found] == [
        ("gpu_idle", "warning", False),
        ("gpu_idle", "info", True),
    ]
    assert found[0].time == pytest.approx(300, abs=10)


def test_a_busy_host_is_named_as_the_reason() -> None:
    found = fed(Gpu("gpu0"), 600, utilization_percent=2, host_cpu_percent=97)
    assert "the host 97 %" in found[0].text


@pytest.mark.parametrize(
    "sample",
    [
        {"utilization_percent": 2, "is_training": False},
        {"utilization_percent": 40},
        {"utilization_percent": None},
    ],
)
def test_other_use_is_well(sample: dict[str, Any]) -> None:
    assert not fed(Gpu("gpu0"), 3600, **sample)


def test_an_evaluation_on_the_cpu_is_no_idling() -> None:
    detector, found = Gpu("gpu0"), []
    for n in range(20):
        found += fed(detector, 300, start=n * 400, utilization_percent=90)
        found += fed(detector, 100, start=n * 400 + 300, utilization_percent=0)
    assert not found


def test_a_gpu_that_the_hardware_slows_down_is_told() -> None:
    detector = Gpu("gpu0")
    assert not fed(detector, 300, sm_clock_mhz=1900, throttle_reasons=("sw_power_cap",))
    found = fed(detector, 300, start=300, sm_clock_mhz=1500, throttle_reasons=("hw_thermal",))
    found += fed(detector, 300, start=600, sm_clock_mhz=900, throttle_reasons=("hw_slowdown",))
    found += fed(detector, 300, start=900, sm_clock_mhz=1900, throttle_reasons=())
    assert [(it.kind, it.severity) for it in found if not it.over] == [
        ("gpu_throttled", "warning"),
        ("gpu_throttled", "critical"),
    ]
    assert found[-1].over
    assert "too hot" in found[0].text


@pytest.mark.parametrize(("celsius", "severity"), [(84, "warning"), (89, "critical")])
def test_a_hot_gpu_is_told_against_its_own_limit(celsius: float, severity: str) -> None:
    detector = Gpu("gpu0", limit_celsius=87)
    found = fed(detector, 200, temperature_celsius=celsius)
    found += fed(detector, 200, start=200, temperature_celsius=60)
    assert [(it.severity, it.over) for it in found] == [(severity, False), ("info", True)]


def test_a_clock_that_is_set_back_and_hours_without_samples_are_no_idling() -> None:
    detector = Gpu("gpu0")
    assert not fed(detector, 200, start=10_000, utilization_percent=1)
    assert not fed(detector, 200, start=0, utilization_percent=1)
    assert not fed(detector, 200, start=90_000, utilization_percent=1)
