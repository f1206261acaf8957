"""How long a run still takes, how it ends, what it costs: from its stored points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import training_monitor as tm
from harness.curves import START, Paper, falling, record
from training_monitor.answers import Attempt
from training_monitor.errors import SettingError
from training_monitor.foresight.beside import compare_runs
from training_monitor.foresight.course import Course

STEPS = np.arange(1000)


def paper(**facts: object) -> Paper:
    curves = {
        "train/loss": (STEPS, falling(1000)),
        "val/loss": (STEPS[99::100], falling(1000)[99::100]),
    }
    return Paper(curves, **facts)  # type: ignore[arg-type]


def attempt(number: int, began: float, ended: float | None) -> Attempt:
    return Attempt(number, "job", START + began, None if ended is None else START + ended, 1, 0, {})


# --- the end, and the time to it


def test_the_end_is_what_was_given_then_what_is_set_then_what_the_config_says() -> None:
    run = paper(config={"max_steps": 2000}, settings={"total_steps": 3000})
    assert [Course(run).total(given).steps for given in (4000, None)] == [4000, 3000]  # type: ignore[union-attr]
    total = Course(paper(config={"max_steps": 2000})).total()
    assert str(total) == "2,000 steps (config max_steps)"


@pytest.mark.parametrize("total", [0, -1, float("nan")])
def test_an_end_that_cannot_be_is_refused(total: float) -> None:
    with pytest.raises(SettingError, match=r"total=.* a number of steps, 1 or more"):
        Course(paper()).eta(total)


def test_the_end_is_found_in_epochs_where_nobody_says_it() -> None:
    run = Paper({"loss": (STEPS, falling(1000)), "epoch": (STEPS, STEPS / 250)},
                config={"epochs": 10})  # fmt: skip
    total = Course(run).total()
    assert total is not None
    assert total.steps == pytest.approx(2500, abs=5)


def test_without_an_end_there_is_no_time_left() -> None:
    course = Course(paper())
    assert course.total() is None
    assert course.eta() is None


def test_time_left_is_that_of_the_remaining_steps() -> None:
    run = paper(config={"max_steps": 2000}, step_secs=3.0)
    eta = Course(run, now=START + 3 * 999).eta()
    assert eta is not None
    assert eta.seconds == pytest.approx(3 * 1001, rel=0.02)
    assert eta.low[80] <= eta.seconds <= eta.high[80]
    assert Course(run, now=START + 3 * 999).eta(1500).total == 1500  # type: ignore[union-attr]


def test_a_run_that_ended_early_has_no_time_left_that_anybody_is_sure_of() -> None:
    config = {"max_steps": 2000}
    eta = Course(paper(config=config, attempts=[attempt(1, 0, 1000)])).eta()
    assert eta is not None
    assert eta.confidence == "low"
    assert Course(paper(config=config), now=START + 999).eta().confidence != "low"  # type: ignore[union-attr]


def test_a_metric_that_comes_seldom_does_not_tell_the_pace() -> None:
    steps = np.arange(0, 1000, 100)
    run = Paper({"a_seldom": (steps, steps), "loss": (STEPS, falling(1000))},
                config={"max_steps": 1001})  # fmt: skip
    eta = Course(run, now=START + 999).eta()
    assert eta is not None
    assert eta.step == 999


# --- the final value, and whether it is worth it


def test_the_final_value_is_that_of_the_headline_unless_another_one_is_named() -> None:
    course = Course(paper(config={"max_steps": 2000}))
    headline = course.prospect()
    assert headline is not None
    assert headline.metric == "val/loss"
    assert headline.forecast is not None
    assert headline.forecast.low_90 < headline.forecast.value < headline.forecast.high_90
    train = course.prospect("train/loss")
    assert train is not None
    assert train.metric == "train/loss"
    assert train.advice is not None


def test_a_flat_metric_near_its_end_gets_the_word_to_stop_and_a_falling_one_does_not() -> None:
    flat = np.concatenate((falling(300), np.full(3000, 2.0)))
    flat += np.random.default_rng(1).normal(0, 1e-4, len(flat))
    stale = Paper({"val/loss": (np.arange(3300), flat)}, config={"max_steps": 4000})
    assert Course(stale).prospect().stop  # type: ignore[union-attr]
    fresh = Paper({"val/loss": (STEPS, 5 - STEPS / 500)}, config={"max_steps": 4000})
    assert not Course(fresh).prospect().stop  # type: ignore[union-attr]


def test_nothing_is_said_of_the_end_of_a_run_that_diverges() -> None:
    run = paper(config={"max_steps": 2000}, phase="DIVERGING")
    found = Course(run).prospect()
    assert found is not None
    assert (found.forecast, found.advice, found.stop) == (None, None, False)
    assert (
        Course(paper(config={"max_steps": 2000}, phase="PLATEAU")).prospect().forecast is not None
    )  # type: ignore[union-attr]


def test_a_metric_that_is_not_there_is_named() -> None:
    with pytest.raises(KeyError, match="no metric 'lss' in run 'paper'"):
        Course(paper()).prospect("lss")


def test_a_metric_without_better_and_worse_says_how_to_define_it() -> None:
    run = Paper({"odd": (STEPS, STEPS)})
    with pytest.raises(tm.SettingError, match=r"define_metric\('odd', kind='loss'\)"):
        Course(run).prospect("odd")
    assert Course(run).prospect() is None


# --- cost


def test_cost_counts_gpus_and_leaves_out_the_time_between_attempts() -> None:
    attempts = [attempt(1, 0, 1800), attempt(2, 90_000, 91_800)]
    run = paper(gpus=4, attempts=attempts)
    cost = Course(run).cost(2.5)
    assert (cost.gpu_hours, cost.spent) == (4.0, 10.0)
    assert cost.to_finish is None, "it is over"


def test_price_is_what_was_given_then_the_variable_then_what_was_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = paper(settings={"cost_per_gpu_hour": 1.0}, attempts=[attempt(1, 0, 3600)])
    assert Course(run).cost().spent == 1.0
    monkeypatch.setenv("TM_COST_PER_GPU_HOUR", "2")
    assert Course(run).cost().spent == 2.0
    assert Course(run).cost(3.0).spent == 3.0
    with pytest.raises(tm.SettingError, match="cost_per_gpu_hour=-1"):
        Course(run).cost(-1.0)


def test_what_is_to_come_is_priced_while_it_runs() -> None:
    run = paper(config={"max_steps": 2000}, step_secs=3.6)
    cost = Course(run, now=START + 3596.4).cost(10.0)
    assert cost.spent == pytest.approx(9.99)
    assert cost.to_finish == pytest.approx(10.01, rel=0.05)


def test_a_killed_attempt_lasted_until_its_last_point() -> None:
    assert Course(paper()).seconds() == 999


# --- beside another run


def test_a_run_that_is_ahead_is_ahead_at_equal_step_time_and_cost() -> None:
    better = Paper({"loss": (STEPS, falling(1000) - 0.5)}, settings={"cost_per_gpu_hour": 1.0})
    worse = Paper({"loss": (STEPS, falling(1000, seed=1))}, settings={"cost_per_gpu_hour": 1.0})
    found = compare_runs(better, worse)
    assert [(one.axis, one.standing) for one in found] == [
        ("step", "ahead"), ("time", "ahead"), ("cost", "ahead"),
    ]  # fmt: skip
    assert all(one.standing == "behind" for one in compare_runs(worse, better, metric="loss"))


def test_a_baseline_without_the_metric_is_named() -> None:
    with pytest.raises(KeyError, match="no metric 'val/loss' in run 'paper'"):
        compare_runs(paper(), Paper({"loss": (STEPS, STEPS)}))


# --- a real one


def test_a_recorded_run_answers(root: Path) -> None:
    curves = {"train/loss": falling(600), "accuracy": np.linspace(0, 0.9, 600)}
    run_dir = record(root, "one", curves, config={"max_steps": 1000}, cost_per_gpu_hour=3600.0)
    record(root, "two", curves)
    run = tm.open_run(run_dir)
    assert run.total().steps == 1000  # type: ignore[union-attr]
    eta = run.eta()
    assert eta is not None
    assert (eta.step, eta.total) == (599, 1000)
    assert run.forecast("train/loss").end == 1000  # type: ignore[union-attr]
    assert run.forecast("train/loss", total=2000).end == 2000  # type: ignore[union-attr]
    best = int(np.argmin(curves["train/loss"]))
    assert run.advice().best_step == best  # type: ignore[union-attr]
    assert run.cost().spent == pytest.approx(run.attempts[0].ended - run.attempts[0].started)  # type: ignore[operator]
    for other in ("two", tm.open_run(root / "two")):
        assert run.compare(other, "train/loss")[0].axis == "step"


def test_a_run_without_metrics_knows_nothing_and_says_so(root: Path) -> None:
    record(root, "text", {"note": ["a", "b"]})
    run = tm.open_run(root / "text")
    assert run.phase == "INITIALIZING"
    assert (run.phases(), run.total(), run.eta(), run.forecast(), run.advice()) == (
        [], None, None, None, None,
    )  # fmt: skip
    assert len(run.replay()) == 0
