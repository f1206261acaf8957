"""At which step a run ends, from what configurations and metrics say."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import numpy as np
import pytest

from training_monitor.predict.total import total_steps


@pytest.mark.parametrize(
    ("config", "steps", "where"),
    [
        ({"max_steps": 5000}, 5000, "config max_steps"),
        ({"max_steps": -1, "num_train_epochs": 3, "steps_per_epoch": 100}, 300, "times"),
        ({"trainer": {"args": {"max-steps": "20_000"}}}, 20_000, "config trainer.args.max-steps"),
        ({"--train-iters": "500,000"}, 500_000, "train-iters"),
        ({"train/max_iters": 600_000.0}, 600_000, "train.max_iters"),
        ({"TOTAL_TIMESTEPS": "1e6"}, 1_000_000, "TOTAL_TIMESTEPS"),
        ({"total_timesteps": "2.5M", "n_epochs": 10, "n_steps": 128}, 2_500_000, "total_timesteps"),
        ({"num_iterations": "300k"}, 300_000, "num_iterations"),
        ({"max_duration": "4000ba"}, 4000, "max_duration"),
        ({"max_duration": "3ep", "num_batches": 50}, 150, "max_duration times"),
        ({"lr_scheduler": {"total_steps": 9}, "trainer": {"max_steps": 7}}, 7, "trainer.max_steps"),
        ({"lr_scheduler": {"total_steps": 9}}, 9, "lr_scheduler.total_steps"),
        ({"a": {"b": {"train_steps": 8}}, "max_steps": 4}, 4, "config max_steps"),
    ],
)
def test_configurations_say_it_in_many_ways(
    config: dict[str, Any], steps: float, where: str
) -> None:
    total = total_steps(config)
    assert total is not None
    assert total.steps == steps
    assert total.origin == "config"
    assert where in total.where
    assert total.exact


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"max_steps": None},
        {"max_steps": "auto"},
        {"max_steps": True},
        {"max_steps": 0},
        {"max_steps": -1},
        {"max_steps": "nan"},
        {"max_steps": inf},
        {"max_steps": [100]},
        {"num_train_epochs": 3},
        {"learning_rate": 100},
    ],
)
def test_what_is_no_number_of_steps_is_none(config: dict[str, Any]) -> None:
    assert total_steps(config) is None


def test_a_total_that_was_passed_is_not_believed() -> None:
    config = {"max_steps": 100, "total_steps": 4000}
    total = total_steps(config, step=101)
    assert total is not None
    assert total.steps == 4000
    assert total_steps(config, step=4001) is None
    assert total_steps(config, step=100) == total_steps(config)


def test_what_the_user_set_comes_first_unless_it_was_passed() -> None:
    total = total_steps({"max_steps": 100}, given=70, step=50)
    assert total is not None
    assert (total.steps, total.origin) == (70, "user")
    later = total_steps({"max_steps": 100}, given=70, step=80)
    assert later is not None
    assert (later.steps, later.origin) == (100, "config")
    assert total_steps(given=nan) is None


def test_fractions_of_an_epoch_say_it() -> None:
    steps = np.arange(10, 400, 10)
    total = total_steps({"num_train_epochs": "3.0"}, step=390, epoch=(steps, steps / 250))
    assert total is not None
    assert total.steps == pytest.approx(750)
    assert (total.origin, total.exact) == ("progress", False)
    assert "num_train_epochs" in str(total)


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("start", [0, 1000])
def test_counted_epochs_say_it_wherever_the_count_begins(base: int, start: int) -> None:
    steps = np.arange(start, start + 1130, 10)
    total = total_steps({"epochs": 30}, epoch=(steps, steps // 200 + base))
    assert total is not None
    assert total.steps == pytest.approx(6000)


def test_one_change_of_the_epoch_is_enough() -> None:
    steps = np.arange(0, 150, 5)
    total = total_steps({"epochs": 10}, epoch=(steps, steps // 100))
    assert total is not None
    assert total.steps == pytest.approx(1000)


@pytest.mark.parametrize("whole", [1.0, 100.0])
def test_progress_says_it(whole: float) -> None:
    steps = np.arange(0, 500, 10)
    total = total_steps(step=490, progress=(steps, whole * steps / 1600))
    assert total is not None
    assert total.steps == pytest.approx(1600)


def test_a_countdown_says_it_when_it_counts_steps() -> None:
    steps = np.arange(0, 500, 10)
    total = total_steps(remaining=(steps, 2000 - steps))
    assert total is not None
    assert total.steps == 2000
    assert total_steps(remaining=(steps, 7200.0 - 3.7 * steps)) is None


def test_only_what_came_after_the_last_restart_counts() -> None:
    steps = np.concatenate((np.arange(0, 300, 10), np.arange(100, 400, 10)))
    total = total_steps(progress=(steps, np.concatenate((steps[:30] / 600, steps[30:] / 800))))
    assert total is not None
    assert total.steps == pytest.approx(800)


@pytest.mark.parametrize(
    "points",
    [
        ([], []),
        ([1], [0.1]),
        ([1, 1], [0.1, 0.2]),
        ([1, 2, 3], [nan, nan, nan]),
        ([1, 2, 3], [0.3, 0.3, 0.3]),
        ([1, 2, 3], [0.3, 0.2, 0.1]),
        ([3, 2, 1], [0.1, 0.2, 0.3]),
        ([1, 2, 3], [-1.0, -0.5, 0.1]),
        ([1, 2, 3], [50.0, 110.0, 140.0]),
    ],
)
def test_nonsense_says_nothing(points: tuple[list[float], list[float]]) -> None:
    assert total_steps(progress=points) is None
    assert total_steps({"epochs": 0}, epoch=points) is None


def test_a_configuration_that_holds_itself_is_survived() -> None:
    config: dict[str, Any] = {"max_steps": 5}
    config["self"] = config
    total = total_steps(config)
    assert total is not None
    assert total.steps == 5
