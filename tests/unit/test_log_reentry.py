"""Code of the user that runs inside log(): values that log, close, fork or change the dict."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.recorder import Recorder, column
from training_monitor import _core


def with_float(body: Callable[[], object]) -> Any:
    def convert(_self: object) -> float:
        body()
        return 1.0

    return type("O", (), {"__float__": convert})()


def test_a_value_that_logs_while_it_is_converted(run: Recorder) -> None:
    value = with_float(lambda: _core.log({"inner": 2.0}))
    for _ in range(50):
        _core.log({"x": value, "y": 3.0})
    reader = run.stored()
    assert column(reader, "inner") == [2.0] * 50
    assert column(reader, "x") == [1.0] * 50
    assert column(reader, "y") == [3.0] * 50


def test_a_value_that_empties_the_dict_while_it_is_converted(run: Recorder) -> None:
    metrics: dict[str, Any] = {}
    value = with_float(metrics.clear)
    metrics |= {"x": value, **{f"k{index}": float(index) for index in range(100)}}
    _core.log(metrics)
    assert metrics == {}
    reader = run.stored()
    assert column(reader, "x") == [1.0]
    assert column(reader, "k99") == [99.0]


def test_a_value_that_fills_the_dict_while_it_is_converted(run: Recorder) -> None:
    metrics: dict[str, Any] = {}
    value = with_float(lambda: metrics.update({f"new{index}": 1.0 for index in range(1000)}))
    metrics |= {"x": value, "y": 2.0}
    _core.log(metrics)
    assert run.values("y") == [2.0]


def test_a_value_that_closes_the_run_while_it_is_converted(run: Recorder, quiet: None) -> None:
    _core.log({"x": with_float(lambda: _core.close_producer(0.0)), "y": 1.0})
    assert _core.health()["accepted"] == 0


def test_a_value_that_opens_another_run_while_it_is_converted(
    run: Recorder, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()

    def reopen() -> None:
        run.run_dir = other
        run.open()

    _core.log({"x": with_float(reopen), "y": 1.0})
    assert run.values("y") == [1.0]


def test_a_value_that_forks_while_it_is_converted(run: Recorder) -> None:
    children = []

    def fork() -> None:
        if (child := os.fork()) != 0:
            children.append(child)

    parent = os.getpid()
    _core.log({"x": with_float(fork), "y": 1.0})
    if os.getpid() != parent:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
    assert run.values("y") == [1.0, 1.0]  # the parent's and the child's


def test_objects_that_log_when_they_die(run: Recorder) -> None:
    class Dying:
        def __init__(self) -> None:
            self.me = self  # only the collector finds it

        def __del__(self) -> None:
            _core.log({"dead": 1.0})

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for step in range(500):
            Dying()
            _core.log({f"a{step % 7}": {"b": step, "c": [Dying()] and 1.0}, "x": float(step)})
    finally:
        gc.set_threshold(*before)
        gc.collect()
    reader = run.stored()
    assert column(reader, "x") == [float(step) for step in range(500)]
    assert len(column(reader, "dead")) == 1000


def test_keys_are_held_by_the_cache_so_that_no_address_is_mistaken(run: Recorder) -> None:
    kept = []
    for step in range(3_000):
        name = f"name{step}"
        if step % 3:
            kept.append(name)  # lives on: worth a place in the cache
        _core.log({name: float(step)}, step)
        if len(kept) > 100:
            kept.clear()
    reader = run.stored()
    assert [column(reader, f"name{step}") for step in range(3_000)] == [
        [float(step)] for step in range(3_000)
    ]
