"""All detectors together: whatever is logged breaks nothing, and no nonsense is told of it."""

from __future__ import annotations

import random
import sys
import time
import tracemalloc
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from training_monitor.detect.finding import SEVERITIES, Finding
from training_monitor.detect.watch import Watch

Floats = npt.NDArray[np.float64]

START = 1_700_000_000.0
# One of each kind of metric, of a supervised run and of one that learns from rewards.
TRAINED = (
    "loss", "val_loss", "val/accuracy", "eval_wer", "lr", "grad_norm", "clip_fraction", "step_time",
    "tokens_per_sec", "mfu", "gpu_memory", "epoch", "anything",
)  # fmt: skip
REWARDED = (
    "loss", "reward", "eval/reward", "reward_std", "rewards/format", "kl", "entropy",
    "completion_length", "completions/clipped_ratio", "clip_fraction", "grad_norm",
)  # fmt: skip
NAMES = (*TRAINED, *REWARDED)
# The names of metrics are those of users.
ODD = (
    "",
    " ",
    "loss\nloss",
    "学習/損失",
    "a" * 5000,
    "%s{}",
    "loss" * 100,
    "../..",
    "\x00",
    "Loss!",
)
HARMLESS = frozenset({"info"})


@pytest.fixture(params=[TRAINED, REWARDED], ids=["trained", "rewarded"])
def names(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def dice() -> np.random.Generator:
    return np.random.default_rng(5)


def healthy(name: str, count: int, dice: np.random.Generator) -> Floats:
    """Return what such a metric looks like in a run that goes well."""
    share = np.arange(count) / max(count, 1)
    wobble = dice.normal(0, 1, count)
    if "loss" in name or "wer" in name:
        return 1 + 3 * (1 + 200 * share) ** -0.5 + 0.01 * wobble
    if "accuracy" in name or name == "eval/reward" or name in ("reward", "rewards/format"):
        return 1 - 0.8 * np.exp(-3 * share) + 0.01 * wobble
    if "clip" in name:
        return 0.1 + 0.01 * wobble
    if name in ("lr", "epoch"):
        return 1e-3 * (1 - 0.9 * share) if name == "lr" else np.floor(10 * share)
    return np.exp(0.05 * wobble)


def times_of(count: int) -> Floats:
    return START + np.arange(count, dtype=np.float64)


def fed(watch: Watch, name: str, values: object, steps: object = None, times: object = None
        ) -> list[Finding]:  # fmt: skip
    count = len(np.asarray(values))
    steps = np.arange(count) if steps is None else steps
    found = watch.feed(name, steps, values, times_of(count) if times is None else times)
    return [*found, *watch.tick(START + count)]


def alarms(found: list[Finding]) -> list[tuple[str, str, str]]:
    """Return what is more than an information, and no end of something."""
    return [
        (one.kind, one.severity, one.metric)
        for one in found
        if one.severity not in HARMLESS and not one.over
    ]


def all_of(names: tuple[str, ...]) -> Watch:
    watch = Watch()
    watch.knows(names)
    return watch


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-300, 1e300])
def test_constant_series_are_no_alarm(value: float, names: tuple[str, ...]) -> None:
    watch = all_of(names)
    told = [one for name in names for one in alarms(fed(watch, name, np.full(3000, value)))]
    # A gradient, a rate or a reward that stays zero all the way is one.
    allowed = {"vanishing_gradient", "lr_zero", "flatline", "exploding_gradient"}
    # All completions are clipped, and all of this is a fraction.
    odd = {("length_change", "completions/clipped_ratio")}
    assert {kind for kind, _, name in told if (kind, name) not in odd} <= allowed


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 9.0], [9.0, 1.0], [0.0, 0.0]])
def test_two_points_are_no_alarm(values: list[float], names: tuple[str, ...]) -> None:
    watch = all_of(names)
    assert not [one for name in names for one in alarms(fed(watch, name, values))]


def test_gaps_in_steps_and_times_are_no_alarm(
    dice: np.random.Generator, names: tuple[str, ...]
) -> None:
    watch = all_of(names)
    steps = np.cumsum(dice.integers(1, 2000, 1500))
    for name in names:
        told = alarms(fed(watch, name, healthy(name, 1500, dice), steps, START + steps))
        assert not told


def test_a_run_that_goes_back_to_a_checkpoint_is_no_alarm(
    dice: np.random.Generator, names: tuple[str, ...]
) -> None:
    watch = all_of(names)
    back = np.concatenate([np.arange(900), np.arange(600, 1500)])
    for name in names:
        values = healthy(name, 1500, dice)[back]
        told = alarms(fed(watch, name, values, back, times_of(len(back))))
        assert not told


def test_epochs_and_steps_in_one_run_are_no_alarm(
    dice: np.random.Generator, names: tuple[str, ...]
) -> None:
    watch = all_of(names)
    mixed = np.arange(1200)
    mixed[::10] = mixed[::10] // 100  # an epoch as the step of each tenth point
    for name in names:
        assert not alarms(fed(watch, name, healthy(name, 1200, dice), mixed))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_never_finite_is_told_once_as_that_alone(
    value: float, names: tuple[str, ...]
) -> None:
    watch = all_of(names)
    for name in names:
        found = fed(watch, name, np.full(500, value))
        assert [one.kind for one in found] == ["non_finite"]
        assert found[0].step == 0
        expected = {"loss": "critical", "grad_norm": "warning"}.get(name)
        assert expected is None or found[0].severity == expected


def test_a_million_points_at_once_are_looked_at(dice: np.random.Generator) -> None:
    watch = Watch()
    values = healthy("loss", 1_000_000, dice)
    values[700_000] = 50.0
    values[900_000:] = 40.0 + values[900_000:]
    times = START + np.arange(1_000_000) / 1000
    found = watch.feed("loss", np.arange(1_000_000), values, times)
    assert ("spike", 700_000) in [(one.kind, one.step) for one in found]
    assert [one.kind for one in found if one.severity == "critical" and one.step >= 900_000]


@pytest.mark.parametrize("jump", [-1e9, -3600.0, 3600.0, 1e9])
def test_a_clock_that_jumps_is_no_alarm(
    jump: float, dice: np.random.Generator, names: tuple[str, ...]
) -> None:
    watch = all_of(names)
    times = times_of(1500)
    times[700:] += jump
    times[900:910] = np.nan
    times[1000] = 0.0
    for name in names:
        assert not alarms(fed(watch, name, healthy(name, 1500, dice), None, times))


def test_metrics_may_have_any_name(dice: np.random.Generator) -> None:
    watch = all_of(ODD)
    for name in ODD:
        assert not alarms(fed(watch, name, healthy("loss", 300, dice)))


def test_steps_beyond_all_bounds_are_taken() -> None:
    watch = Watch()
    steps = [float("nan"), float("inf"), -float("inf"), 1e300, -1e300, 2.0**63, 0.5]
    for name in NAMES:
        assert not alarms(watch.feed(name, steps, [1.0] * len(steps), [START] * len(steps)))


def test_ten_thousand_metrics_take_bounded_memory() -> None:
    names = [f"layer_{n % 100}/head_{n // 100}/weight_norm" for n in range(10_000)]
    watch = Watch()
    tracemalloc.start()
    watch.knows(names)
    for name in names:
        watch.feed(name, [0, 1, 2], [1.0, 2.0, 3.0], [START, START + 1, START + 2])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 60 * 2**20


def test_a_series_takes_no_more_memory_the_longer_it_is(dice: np.random.Generator) -> None:
    watch, sizes = all_of(NAMES), []
    tracemalloc.start()
    for part in range(3):
        for name in NAMES:
            steps = np.arange(part * 400, (part + 1) * 400)
            watch.feed(name, steps, healthy(name, 1200, dice)[steps], START + steps)
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert sizes[2] < sizes[1] + 100_000


def bad_run(dice: np.random.Generator) -> dict[str, Floats]:
    """Return the metrics of a run in which a lot goes wrong."""
    run = {name: healthy(name, 2000, dice) for name in NAMES}
    run["loss"][[300, 301, 640]] *= 8
    run["loss"][800:] += np.linspace(0, 20, 1200)
    run["loss"][[1500, 1501]] = np.nan
    run["grad_norm"][900:1200] *= 100
    run["grad_norm"][1500:1510] = np.inf
    run["lr"][700] *= 50
    run["reward"][1000:1400] = 0.2
    run["entropy"][900:] *= 0.1
    run["kl"][900:] *= 30
    run["step_time"][600:900] *= 2
    run["completions/clipped_ratio"][1200:] = 0.9
    run["tokens_per_sec"][600:900] /= 2
    run["val_loss"][900:] += np.linspace(0, 2, 1100)
    run["completion_length"][700:] *= 4
    run["reward_std"][1200:] = 0.0
    return run


def cut(count: int, seed: int) -> Iterator[slice]:
    draw, place = random.Random(seed), 0
    while place < count:
        size = draw.choice([1, 1, 2, 7, 40, 300])
        yield slice(place, place + size)
        place += size


@pytest.mark.parametrize("spacing", [0.001, 1.0])
def test_findings_do_not_depend_on_the_cuts(names: tuple[str, ...], spacing: float) -> None:
    for name in names:
        told = told_by_cuts(names, name, spacing)
        assert told[0] == told[1] == told[2], name


def told_by_cuts(names: tuple[str, ...], name: str, spacing: float) -> list[list[str]]:
    values = bad_run(np.random.default_rng(1))[name]
    steps = np.concatenate([np.arange(1700), np.arange(1500, 1800)])
    times = START + np.arange(2000) * spacing
    told = []
    for seed in (None, 1, 2):
        watch = all_of(names)
        parts = [slice(0, 2000)] if seed is None else cut(2000, seed)
        found = [
            one
            for part in parts
            for one in watch.feed(name, steps[part], values[part], times[part])
        ]
        # Within one column the findings are in the order of the detectors.
        told.append(sorted(repr(one) for one in found))
    return told


def test_what_is_told_can_be_read(dice: np.random.Generator) -> None:
    run, found = bad_run(dice), []
    for names in (TRAINED, REWARDED):
        watch = all_of(names)
        for name in names:
            found += fed(watch, name, run[name])
    kinds = {"divergence", "non_finite", "lr_jump", "slowdown", "mfu_drop", "entropy_collapse"}
    assert kinds - {one.kind for one in found} <= {"mfu_drop"}
    for one in found:
        assert one.severity in SEVERITIES
        assert 20 < len(one.text) < 250, one.text
        assert one.text == one.text.strip()
        assert one.over or one.advice, one.text
        assert one.since is None or one.step is None or one.since <= one.step
        assert sys.intern(one.kind) == one.kind


def test_what_a_new_name_costs_does_not_grow_with_their_number() -> None:
    def secs(count: int) -> float:
        watch, began = Watch(), time.process_time()
        for number in range(count):
            watch.feed(f"block{number}/loss_{number}", [1], [1.0], [START])
        return (time.process_time() - began) / count

    secs(200)
    # Quadratic would be eight times as much.
    assert secs(4000) < 4 * secs(500)


def test_names_that_come_one_by_one_mean_what_they_mean_together() -> None:
    one_by_one, together = Watch(), Watch()
    together.knows(NAMES)
    for name in NAMES:
        one_by_one.knows((name,))
    assert one_by_one.meanings == together.meanings
    assert one_by_one.headline == together.headline
    assert sum(one.headline for one in one_by_one.meanings.values()) == 1


@pytest.mark.parametrize("cut", [7, 250, 2000])
@pytest.mark.parametrize("jump", [731, 900, 1337])
def test_a_jump_of_the_learning_rate_is_placed_where_it_is_though_points_are_thinned(
    cut: int, jump: int
) -> None:
    steps = np.arange(2000)
    times = START + steps / 500
    values = 0.01 * 0.9999**steps * np.where(steps >= jump, 40.0, 1.0)
    watch = Watch()
    watch.knows(["lr"])
    found: list[Finding] = []
    for at in range(0, 2000, cut):
        part = slice(at, at + cut)
        found += watch.feed("lr", steps[part], values[part], times[part])
    assert [(it.kind, it.step, it.since, it.over) for it in found] == [
        ("lr_jump", jump, jump, False)
    ]
    assert found[0].time == times[jump]
