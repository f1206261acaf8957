"""A producer without a run, for the tests of log()."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

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
