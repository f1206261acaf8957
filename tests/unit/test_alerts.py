"""Alerts: what is kept, how often, and what an odd argument does to a training: nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

import training_monitor as tm
from harness import reading

pytestmark = pytest.mark.usefixtures("closed_afterwards")


@pytest.fixture
def run(root: Path) -> tm.Run:
    return tm.init("unit", root_dir=root, quiet=True, strict=True, start_monitor=False)


def test_alert_is_recorded_and_rate_limited(root: Path) -> None:
    with tm.init("alerts", root_dir=root, quiet=True) as run:
        tm.log({"loss": 1.0}, 7)
        assert tm.alert("diverged", "loss is NaN", level="ERROR")
        assert not tm.alert("diverged", "again")
        assert run.alert("diverged", "at once", wait_duration=0)
        assert tm.alert("other", level="info", wait_duration=timedelta(minutes=1))
    reading.settled(root / "alerts")
    alerts = tm.open_run(root / "alerts").alerts()
    assert [(alert.level, alert.title, alert.text) for alert in alerts] == [
        ("ERROR", "diverged", "loss is NaN"),
        ("WARN", "diverged", "at once"),
        ("INFO", "other", ""),
    ]


def test_alert_with_a_wrong_level(run: tm.Run, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training_monitor.run._CLOSE_SECS", 0.1)
    with pytest.raises(tm.SettingError, match="level='LOUD' is not valid: expected 'INFO', 'WARN'"):
        tm.alert("x", level="LOUD")
    tm.init("lenient", root_dir=root, quiet=True, start_monitor=False)
    assert tm.alert("x", level="LOUD"), "an alert must not end a training"


def test_alert_before_init_is_not_recorded() -> None:
    assert not tm.alert("too early")


@pytest.mark.parametrize("value", [None, "1m", object(), float("nan")])
def test_a_wait_duration_that_is_none_never_stops_a_training(
    value: object, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training_monitor.run._told_of_wait_duration", False)
    tm.init("waits", root_dir=root, quiet=True, start_monitor=False)
    assert tm.alert("a", wait_duration=value)  # type: ignore[arg-type]
    assert not tm.alert("a", wait_duration=value)  # type: ignore[arg-type]
    assert capsys.readouterr().err.count("wait_duration=") == 1


def test_a_wait_duration_that_is_none_is_refused_when_strict(run: tm.Run) -> None:
    with pytest.raises(tm.SettingError, match="wait_duration=None"):
        run.alert("a", wait_duration=None)  # type: ignore[arg-type]


class Mute:
    """Has no text of its own, and says so with an exception."""

    def __init__(self, error: type[Exception] = RuntimeError) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error("no text")

    def __getattr__(self, name: str) -> object:
        raise self.error(name)


@pytest.mark.parametrize("error", [RuntimeError, UnicodeError, RecursionError])
def test_an_object_without_a_text_is_an_alert_all_the_same(
    root: Path, error: type[Exception]
) -> None:
    odd = Mute(error)
    with tm.init("mute", root_dir=root, quiet=True):
        assert tm.alert(odd, odd, odd)  # type: ignore[arg-type]
        assert not tm.alert(odd, wait_duration=60), "the same title"  # type: ignore[arg-type]
    reading.settled(root / "mute")
    (alert,) = tm.open_run(root / "mute").alerts()
    assert "Mute" in alert.title
    assert "Mute" in alert.text
    assert alert.level == "WARN"


@pytest.mark.parametrize("odd", ["\ud800", "loss \udcff is NaN", "\0", "a\nb\x1b[31m", "x" * 10**6])
def test_an_odd_title_is_kept_readable(root: Path, odd: str) -> None:
    with tm.init("odd", root_dir=root, quiet=True):
        assert tm.alert(odd, odd)
    reading.settled(root / "odd")
    (alert,) = tm.open_run(root / "odd").alerts()
    expected = "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in odd)
    assert (alert.title, alert.text) == (expected[:250], expected[:20_000])
