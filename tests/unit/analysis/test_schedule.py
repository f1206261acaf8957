"""When the next analysis is due."""

from __future__ import annotations

from math import inf

import pytest

from training_monitor.monitor.analysing import Schedule


def schedule(*, last: float = -inf, began: float = 1000.0, idle_secs: float = inf) -> Schedule:
    return Schedule(interval_secs=300.0, idle_secs=idle_secs, last=last, began=began)


def due(
    one: Schedule, now: float, *, step: int | None = 7, logged_at: float | None = None
) -> str | None:
    return one.due(now, step=step, logged_at=now if logged_at is None else logged_at)


def test_the_first_one_on_time_comes_an_interval_after_the_begin() -> None:
    one = schedule()
    assert [due(one, at) for at in (1000.0, 1299.0, 1300.0)] == [None, None, "interval"]


def test_without_a_new_step_there_is_none_on_time() -> None:
    one = schedule()
    one.begun(1300.0, 7)
    assert due(one, 9000.0, step=7) is None
    assert due(one, 9000.0, step=8) == "interval"
    assert due(schedule(), 9000.0, step=None) is None


def test_without_metrics_for_long_there_is_none_on_time() -> None:
    one = schedule(idle_secs=60.0)
    assert due(one, 9000.0, logged_at=8900.0) is None
    assert due(one, 9000.0, logged_at=8950.0) == "interval"


def test_what_is_found_at_once_is_not_put_off() -> None:
    one = schedule()
    one.alarm()
    assert due(one, 1001.0) == "finding"


def test_several_things_that_go_wrong_at_once_are_one_matter() -> None:
    one = schedule()
    one.alarm()
    one.begun(1001.0, 7)
    one.alarm()
    assert (due(one, 1030.0), one.pending, due(one, 1061.0)) == (None, "finding", "finding")


def test_a_script_that_forces_one_at_every_step_gets_one_now_and_then() -> None:
    one, made = schedule(), 0
    for at in range(600):
        one.force()
        if due(one, 1000.0 + at) == "forced":
            made += 1
            one.begun(1000.0 + at, at)
    assert made == 30


@pytest.mark.parametrize("kind", ["force", "alarm"])
def test_a_clock_that_is_set_back_holds_nothing_up(kind: str) -> None:
    one = schedule(last=90_000.0, began=90_100.0)
    getattr(one, kind)()
    assert due(one, 5000.0) is not None
    one.begun(5000.0, 7)
    assert due(one, 5300.0, step=8) == "interval"
