"""What is said of a long run is said of its points, and not of its extremes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import training_monitor as tm
from harness.curves import record
from training_monitor.foresight.evenly import evenly
from training_monitor.report.progress import progress_of

COUNT = 20_000


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record a loss that is noise from 1 to 2, and a short one beside it."""
    values = 1 + np.random.default_rng(3).random(COUNT)
    curves = {"loss": values, "short": values[:100]}
    return record(tmp_path_factory.mktemp("runs"), "noisy", curves)


def test_points_are_taken_at_even_distances_up_to_the_last_one(noisy: Path) -> None:
    run = tm.open_run(noisy)
    steps, values = evenly(run, "loss", 4000)
    assert 2000 <= len(steps) <= 4001
    assert (steps[0], steps[-1]) == (0, COUNT - 1)
    assert np.all(np.diff(steps) > 0)
    np.testing.assert_array_equal(values, run.series("loss").value[steps])
    assert np.quantile(values, (0.1, 0.5, 0.9)) == pytest.approx((1.1, 1.5, 1.9), abs=0.04)


def test_a_few_points_are_taken_as_they_are(noisy: Path) -> None:
    run = tm.open_run(noisy)
    steps, values = evenly(run, "short", 4000)
    np.testing.assert_array_equal(steps, np.arange(100))
    np.testing.assert_array_equal(values, run.series("short").value)


def test_noise_has_no_trend(noisy: Path) -> None:
    run = tm.open_run(noisy)
    trends = {one.metric: one for one in progress_of(run, state="ended").trends}
    assert trends["loss"].way == "is steady"
    assert trends["loss"].after == pytest.approx(1.5, abs=0.1)


def test_a_run_beside_itself_is_level(noisy: Path) -> None:
    (one,) = (one for one in tm.open_run(noisy).compare(noisy) if one.axis == "step")
    assert one.difference == 0
    assert one.value == pytest.approx(1.5, abs=0.1)
