"""Whatever is logged: no crash, no nonsense, no memory that grows."""

from __future__ import annotations

import gc
import math
import random
import sys
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from training_monitor.detect.finding import Finding
from training_monitor.detect.forgetting import Forgetting
from training_monitor.detect.gradients import GradientNorm
from training_monitor.detect.hacking import RewardHacking, ZeroSpread
from training_monitor.detect.hardware import Gpu
from training_monitor.detect.memory import Filling, GpuMemory
from training_monitor.detect.overfitting import Overfitting
from training_monitor.detect.plateau import Plateau, PlateauThresholds
from training_monitor.detect.policy import (
    ClippedShare,
    CompletionLength,
    EntropyCollapse,
    KlBlowUp,
)
from training_monitor.detect.reward_ratios import RatioThresholds
from training_monitor.detect.rewards import Reward, RewardThresholds
from training_monitor.detect.schedule import LearningRate
from training_monitor.detect.silence import Silence
from training_monitor.detect.straggler import Stragglers

# To these a value near one is bad,
SHARES = {"zero spread", "clipped"}
# and these are judged by fixed rules that somebody has set.
FIXED = {"plateau by steps", "reward ratios"}

Push = Callable[[int, float, float], list[Finding]]


def overfitting() -> tuple[object, Push]:
    detector = Overfitting("val")

    def push(step: int, value: float, time: float) -> list[Finding]:
        detector.push_train(step, value, time)
        detector.push_headline(step, value, time)
        return detector.push(step, value, time)

    return detector, push


def hacking() -> tuple[object, Push]:
    detector = RewardHacking("reward")

    def push(step: int, value: float, time: float) -> list[Finding]:
        for other in (detector.push_entropy, detector.push_length, detector.push_spread):
            other(value)
        detector.push_part(f"part {step % 10}", value)
        return detector.push(step, value, time)

    return detector, push


def silence() -> tuple[object, Push]:
    detector = Silence()

    def push(step: int, value: float, time: float) -> list[Finding]:
        return detector.push(f"metric {step % 10}", step, time) + detector.tick()

    return detector, push


def stragglers() -> tuple[object, Push]:
    detector = Stragglers()
    return detector, lambda step, value, time: detector.push(
        step, {0: value, 1: value, 2: value}, time, lag_secs={1: value / 100}
    )


def forgetting() -> tuple[object, Push]:
    detector = Forgetting()
    return (
        detector,
        lambda step, value, time: (
            detector.push(f"task {step % 20}", step, value, time)
            + detector.push("task", step, value, time)
        ),
    )


def gpu() -> tuple[object, Push]:
    detector = Gpu("gpu0")
    return detector, lambda _, value, time: detector.push(
        time,
        utilization_percent=50 + value,
        temperature_celsius=value,
        sm_clock_mhz=value,
        throttle_reasons=("sw_power_cap", "unheard of"),
    )


def filling() -> tuple[object, Push]:
    detector = Filling("ram_exhaustion", "host")
    return detector, lambda step, value, time: detector.push(
        step, value, time, capacity_bytes=1e300
    )


def single(detector: object) -> tuple[object, Push]:
    push: Push = detector.push  # type: ignore[attr-defined]
    return detector, push


DETECTORS: dict[str, Callable[[], tuple[object, Push]]] = {
    "overfitting": overfitting,
    "plateau": lambda: single(Plateau("loss")),
    "plateau by steps": lambda: single(
        Plateau("loss", thresholds=PlateauThresholds(steps_warning=500, steps_critical=1000))
    ),
    "schedule": lambda: single(LearningRate("lr")),
    "gradients": lambda: single(GradientNorm("grad_norm", clip_at=1.0)),
    "reward": lambda: single(Reward("reward")),
    "reward ratios": lambda: single(
        Reward("reward", thresholds=RewardThresholds(ratios=RatioThresholds(3.0, 0.5, 2.0)))
    ),
    "entropy": lambda: single(EntropyCollapse("entropy")),
    "kl": lambda: single(KlBlowUp("kl")),
    "length": lambda: single(CompletionLength("length")),
    "clipped": lambda: single(ClippedShare("clipped")),
    "zero spread": lambda: single(ZeroSpread("zero_std")),
    "hacking": hacking,
    "gpu memory": lambda: single(GpuMemory("gpu0", capacity_bytes=1e300)),
    "filling": filling,
    "gpu": gpu,
    "silence": silence,
    "stragglers": stragglers,
    "forgetting": forgetting,
}

# Several series are in these, samples of minutes in that of the GPU.
MOST_BYTES = {
    "forgetting": 120_000,
    "hacking": 60_000,
    "gpu": 60_000,
    "gpu memory": 30_000,
    "filling": 30_000,
    "reward": 20_000,
    "plateau by steps": 12_000,
    "reward ratios": 12_000,
    "stragglers": 12_000,
}

DICE = random.Random(0)
NOISE = [abs(DICE.gauss(1, 0.1)) for _ in range(300)]
# Neither these nor their noise are any reason for an alarm.
HEALTHY: dict[str, list[tuple[int, float, float]]] = {
    "nothing finite": [(n, v, n) for n in range(300) for v in (math.nan, math.inf, -math.inf)],
    "two points": [(0, 0.4, 0.0), (1, 0.41, 1.0)],
    "few points": [(n, value, float(n)) for n, value in enumerate(NOISE[:8])],
    "gaps": [(7 * n**2, value, float(n)) for n, value in enumerate(NOISE)],
    "half NaN": [(n, math.nan if n % 2 else value, float(n)) for n, value in enumerate(NOISE)],
    "epochs and steps": [
        (n // 50 if n % 50 == 0 else n, value, float(n)) for n, value in enumerate(NOISE)
    ],
    "steps go back": [(n % 100, value, float(n)) for n, value in enumerate(NOISE)],
    "always one step": [(5, value, float(n)) for n, value in enumerate(NOISE)],
    "clock jumps": [
        (n, value, n + (1e6 if 100 < n < 150 else -1e6 if n > 200 else 0))
        for n, value in enumerate(NOISE)
    ],
    "no clock": [(n, value, math.nan) for n, value in enumerate(NOISE)],
}
ODD: dict[str, list[tuple[int, float, float]]] = {
    "constant": [(n, 0.4, float(n)) for n in range(300)],
    "zero": [(n, 0.0, float(n)) for n in range(300)],
    "negative": [(n, -value, float(n)) for n, value in enumerate(NOISE)],
    "huge": [(n, (-1) ** n * 1.7e308 * value % 1.7e308, float(n)) for n, value in enumerate(NOISE)],
    "tiny": [(n, 5e-324 * (n % 3), float(n)) for n in range(300)],
    "from tiny to huge": [(n, 10.0 ** (n - 300), float(n)) for n in range(600)],
    "huge steps": [(2**62 + n, value, 1e18) for n, value in enumerate(NOISE)],
    "negative steps": [(-n, value, -float(n)) for n, value in enumerate(NOISE)],
}


def alarms(push: Push, points: list[tuple[int, float, float]]) -> list[Finding]:
    found = [it for point in points for it in push(*point)]
    for finding in found:
        assert finding.text
        assert "nan" not in finding.text
    return [it for it in found if it.severity != "info"]


@pytest.mark.parametrize("name", DETECTORS)
def test_healthy_points_in_bad_order_are_no_alarm(name: str) -> None:
    for points in HEALTHY.values():
        _, push = DETECTORS[name]()
        found = alarms(push, points)
        assert not found or name in SHARES or name in FIXED


@pytest.mark.parametrize("name", DETECTORS)
def test_odd_points_break_nothing(name: str) -> None:
    for points in ODD.values():
        _, push = DETECTORS[name]()
        alarms(push, points)


@pytest.mark.parametrize("name", DETECTORS)
def test_memory_and_the_cost_of_a_point_do_not_grow(name: str) -> None:
    detector, push = DETECTORS[name]()
    dice, steps = random.Random(1), count()

    def feed(points: int) -> None:
        for step, _ in zip(steps, range(points), strict=False):
            push(step, abs(dice.gauss(1, 0.3)), step * 3.0)

    feed(1200)
    before = size_of(detector)
    feed(1200)
    assert size_of(detector) < before * 1.2 + 512
    assert before < MOST_BYTES.get(name, 6_000)


def size_of(thing: object) -> int:
    """Return the bytes of an object and of all that only it refers to."""
    seen, total = set[int](), 0
    for part in reachable(thing):
        if id(part) not in seen:
            seen.add(id(part))
            total += sys.getsizeof(part)
    return total


def reachable(thing: object) -> Iterator[object]:
    todo, seen = [thing], {id(thing)}
    while todo:
        part = todo.pop()
        yield part
        for other in gc.get_referents(part):
            if id(other) not in seen and not isinstance(other, (type, str)) and not callable(other):
                seen.add(id(other))
                todo.append(other)
