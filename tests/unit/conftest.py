"""A producer without a run, for the tests of log(); and the end of runs that have one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import training_monitor as tm
from harness.recorder import Recorder
from training_monitor import _core


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Recorder]:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    yield Recorder(run_dir)
    _core.close_producer(0.0)


@pytest.fixture
def quiet() -> Iterator[None]:
    """Let refusals be told without turning them into errors of the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", _core.TrainingMonitorWarning)
        yield


@pytest.fixture
def closed_afterwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the run, and do not wait long where no monitor was started."""
    yield
    monkeypatch.setattr("training_monitor.run._CLOSE_SECS", 0.1)
    tm.close()
