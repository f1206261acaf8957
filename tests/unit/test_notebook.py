"""What a notebook shows, and what other libraries get."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import training_monitor as tm
from harness.recorder import Recorder
from training_monitor import _core
from training_monitor.errors import MissingLibraryError
from training_monitor.run import Run
from training_monitor.tables import Table

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def view(tmp_path: Path) -> tm.RunView:
    recorder = Recorder(tmp_path / f"run {EVIL.replace('/', '')}")
    for step in range(50):
        _core.log({"loss": 1 / (step + 1), EVIL: step, "mixed": step if step % 2 else "<b>"}, step)
    recorder.stored()
    return tm.open_run(recorder.run_dir)


def test_html_of_a_run_is_escaped(view: tm.RunView) -> None:
    html = view._repr_html_()
    assert "loss" in html
    assert "150" in html
    assert "<img" not in html
    assert "&lt;img" in html
    assert "<b>&lt;b&gt;" not in html


def test_html_of_a_table_is_escaped_and_short(view: tm.RunView) -> None:
    html = view.sql("SELECT key, step, '<script>' AS \"<th>\" FROM points")._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert html.count("<tr>") == 51
    assert "150 rows" in html
    assert "x\\ud800" in Table(["a"], [("x\ud800",)])._repr_html_()


def test_html_of_the_active_run() -> None:
    html = Run("<x>", "/tmp/<y>")._repr_html_()
    assert "&lt;x&gt;" in html
    assert "closed" in html


def test_a_series_becomes_a_frame(view: tm.RunView) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    series = view.series("loss")
    for frame in (series.to_pandas(), series.to_polars()):
        assert list(frame.columns) == ["step", "value", "time", "rank", "attempt"]
        assert list(frame["value"]) == series.value.tolist()
        assert list(frame["step"]) == list(range(50))
    mixed = view.series("mixed")
    assert list(mixed.to_pandas()["value"]) == mixed.value.tolist()
    assert list(mixed.to_polars()["value"]) == mixed.value.tolist()
    table = view.sql("SELECT key, value FROM points WHERE step < 2")
    assert table.to_pandas()["value"].tolist() == [row[1] for row in table]
    assert len(table.to_polars()) == 6


@pytest.mark.parametrize(
    ("library", "call"),
    [
        ("pandas", "r.series('loss').to_pandas()"),
        ("polars", "r.series('loss').to_polars()"),
        ("matplotlib", "r.plot('loss')"),
    ],
)
def test_a_missing_library_is_named(view: tm.RunView, library: str, call: str) -> None:
    program = (
        "import sys, training_monitor as tm\n"
        f"sys.modules[{library!r}] = None\n"
        "r = tm.open_run(sys.argv[1])\n"
        f"try: {call}\n"
        "except ImportError as error: print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", program, view.dir]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{MissingLibraryError.__name__} ")
    assert f"needs {library}, which is not installed: pip install" in done.stdout


def test_plot_draws_a_curve_per_metric(view: tm.RunView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    axes = view.plot("loss", "mixed")
    assert [line.get_label() for line in axes.get_lines()] == ["loss", "mixed"]
    assert np.array_equal(axes.get_lines()[0].get_ydata(), view.series("loss").value)
    assert np.isnan(axes.get_lines()[1].get_ydata()[0])
    assert view.plot("loss", axes=axes) is axes
    with pytest.raises(KeyError):
        view.plot("none")
    pyplot.close("all")


def test_plot_without_names_draws_what_there_is(view: tm.RunView, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib").use("agg")
    axes = view.plot()
    assert [line.get_label() for line in axes.get_lines()] == [EVIL, "loss", "mixed"]
    recorder = Recorder(tmp_path / "many")
    _core.log({f"loss/{number}": 1.0 for number in range(9)}, 0)
    recorder.stored()
    many = tm.open_run(recorder.run_dir)
    with pytest.raises(
        tm.SettingError, match=r"has 9: name those to draw, as in r.plot\('loss/0'\)"
    ):
        many.plot()
    assert len(many.plot("loss/3").get_lines()) == 1
