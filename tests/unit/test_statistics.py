"""Statistics, windows and zooms against numpy over the same values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import training_monitor as tm
from harness.recorder import Recorder
from training_monitor import _core
from training_monitor.settings import resolve
from training_monitor.spawn import handed_on

STEPS = 20_000
SPIKE = 12_345


def values() -> np.ndarray:
    noise = np.random.default_rng(7).lognormal(0.0, 1.0, STEPS)
    noise[SPIKE] = 1e9
    noise[777] = np.nan
    return noise


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> tm.RunView:
    recorder = Recorder(tmp_path_factory.mktemp("statistics"))
    ingest = _core.Ingest(str(recorder.run_dir))
    for step, value in enumerate(values().tolist()):
        _core.log({"loss": value, "epoch": step // 1000}, step)
    _core.log({"note": "done", "loss": None}, STEPS)
    assert _core.close_producer(60.0)["durable"]
    ingest.finish(60.0)
    return tm.open_run(recorder.run_dir)


def test_a_summary_has_what_numpy_finds(view: tm.RunView) -> None:
    summary = view.summary
    assert list(summary) == ["epoch", "loss", "note"]
    loss, known = summary["loss"], values()
    finite = known[np.isfinite(known)]
    assert (loss.count, loss.non_finite, loss.last) == (STEPS + 1, 2, None)
    assert (loss.first_step, loss.last_step) == (0, STEPS)
    assert (loss.min, loss.max) == (finite.min(), 1e9)
    assert loss.mean == pytest.approx(finite.mean())
    assert loss.std == pytest.approx(finite.std())
    for name, q in {"p1": 0.01, "p50": 0.5, "p95": 0.95, "p99": 0.99}.items():
        exact = np.quantile(finite, q, method="lower")
        assert getattr(loss, name) == pytest.approx(exact, rel=loss.quantile_error)
    assert loss.quantile_error < 0.01
    assert (summary["note"].count, summary["note"].last, summary["note"].mean) == (1, "done", None)
    assert summary["epoch"].mean == pytest.approx(9.5)


def test_statistics_of_one_metric_and_one_rank(view: tm.RunView) -> None:
    assert view.stats("epoch") == view.stats("epoch", rank=0)
    average = values()[0]
    for value in values()[1:]:
        average = average if math.isnan(value) else average + 0.1 * (value - average)
    assert view.stats("loss").ema_short == pytest.approx(average)
    with pytest.raises(KeyError):
        view.stats("loss", rank=3)
    with pytest.raises(KeyError):
        view.stats("lost")


def test_quantiles_of_a_window_are_exact(view: tm.RunView) -> None:
    window = values()[-999:]
    found = view.quantiles("loss", last=1000, q=(0.05, 0.5, 0.95))
    assert found == pytest.approx(np.quantile(window, (0.05, 0.5, 0.95)).tolist())
    assert math.isnan(view.quantiles("note", q=(0.5,))[0])


def test_the_end_of_a_series_is_that_of_the_whole(view: tm.RunView) -> None:
    whole = view.series("epoch")
    for last in (0, 1, 1000, STEPS, 10 * STEPS):
        part = view.series("epoch", last=last)
        assert part.step.tolist() == whole.step[max(len(whole) - last, 0) :].tolist()
        raw = view.series("epoch", last=last, raw=True)
        assert len(raw) == min(last, STEPS)
        thinned = view.series("epoch", last=last, max_points=50)
        assert len(thinned) <= min(last, 50)
        assert set(thinned.step.tolist()) <= set(part.step.tolist())
        if last:
            assert (thinned.step[0], thinned.step[-1]) == (part.step[0], part.step[-1])


def test_the_raw_end_is_that_of_time_not_of_steps(tmp_path: Path) -> None:
    with tm.init("late", root_dir=tmp_path, quiet=True) as run:
        for step in [*range(5000), 3, 2, 1]:
            tm.log({"loss": float(step)}, step)
    view = tm.open_run(run.dir)
    assert view.series("loss", last=3, raw=True).step.tolist() == [3, 2, 1]
    assert view.series("loss", last=3).step.tolist() == [4997, 4998, 4999]


def test_no_zoom_hides_a_spike_or_a_nan(view: tm.RunView) -> None:
    for most in (10, 100, 1000):
        series = view.series("loss", max_points=most)
        assert len(series) <= most
        assert SPIKE in series.step
        assert np.isnan(series.value.astype(float)).any()
        zoom = view.zoom("loss", buckets=most)
        assert len(zoom) <= most
        assert zoom.count.sum() == STEPS + 1
        assert (zoom.non_finite.sum(), np.nanmax(zoom.max)) == (2, 1e9)
        assert (zoom.first_step[0], zoom.last_step[-1]) == (0, STEPS)


def test_metrics_come_from_the_statistics(view: tm.RunView) -> None:
    metrics = {metric.name: metric for metric in view.metrics()}
    assert (metrics["loss"].max, metrics["loss"].first_step) == (1e9, 0)
    assert (metrics["epoch"].min, metrics["epoch"].max, metrics["epoch"].count) == (0, 19, STEPS)
    assert (metrics["note"].min, metrics["note"].count) == (None, 1)


def test_the_averages_forget_as_they_are_told(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    ingest = _core.Ingest(str(tmp_path), ema_alpha_short=0.5, ema_alpha_long=1.0)
    for step, value in enumerate((0.0, 1.0, 1.0)):
        _core.log({"loss": value}, step)
    _core.close_producer(60.0)
    ingest.finish(60.0)
    found = tm.open_run(recorder.run_dir).stats("loss")
    assert (found.ema_short, found.ema_long) == (0.75, 1.0)


def test_the_settings_of_the_averages_reach_the_monitor() -> None:
    settings = resolve({"experiment_name": "x", "ema_alpha_short": 0.2}, {})
    assert handed_on(settings)["TM_EMA_ALPHA_SHORT"] == "0.2"
    assert handed_on(settings)["TM_EMA_ALPHA_LONG"] == "0.01"


def test_statistics_of_text_count_it_as_a_summary_does(view: tm.RunView) -> None:
    assert view.stats("note") == view.stats("note", rank=0) == view.summary["note"]
    assert (view.stats("note").count, view.stats("note").last) == (1, "done")
    with pytest.raises(KeyError, match="rank 7 has not logged 'note'"):
        view.stats("note", rank=7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.series("loss", last=-1), "last=-1 is not valid: expected a whole number"),
        (lambda r: r.series("loss", last=2**64), "last=18446744073709551616 is not valid"),
        (lambda r: r.series("loss", since=2**63), "since=9223372036854775808 is not valid"),
        (lambda r: r.series("loss", rank=-1), "rank=-1 is not valid: expected a rank"),
        (lambda r: r.series("loss", max_points=-1), "max_points=-1 is not valid"),
        (lambda r: r.series("loss", last=1.5), "last=1.5 is not valid"),
        (lambda r: r.steps(-1), "last=-1 is not valid"),
        (lambda r: r.zoom("loss", buckets=-1), "buckets=-1 is not valid"),
        (lambda r: r.stats("loss", rank=-1), "rank=-1 is not valid"),
        (lambda r: r.system(max_points=-1), "max_points=-1 is not valid"),
        (lambda r: r.sql("SELECT 1", limit=-1), "limit=-1 is not valid"),
        (lambda r: r.sql("SELECT 1", timeout_secs=-1), "timeout_secs=-1 is not valid"),
        (lambda r: r.sql("SELECT 1", timeout_secs=float("nan")), "timeout_secs=nan is not valid"),
    ],
)
def test_a_number_that_is_not_allowed_is_named(
    view: tm.RunView, call: Callable[[tm.RunView], object], message: str
) -> None:
    with pytest.raises(tm.SettingError, match=re.escape(message)):
        call(view)


def test_numbers_of_numpy_are_taken(view: tm.RunView) -> None:
    assert len(view.series("loss", last=np.int32(3), since=np.int64(0))) == 3
    assert len(view.steps(np.int8(2))) == 2
