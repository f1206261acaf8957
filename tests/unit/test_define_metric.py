"""define_metric(): what is checked, what is kept, and what a reader makes of it."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import training_monitor as tm
from harness import reading
from training_monitor.detect.definition import Definition, read_definition

pytestmark = pytest.mark.usefixtures("closed_afterwards")


@pytest.fixture
def run(root: Path) -> tm.Run:
    return tm.init("unit", root_dir=root, quiet=True, strict=True, start_monitor=False)


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training_monitor.definitions._told", False)
    monkeypatch.setattr("training_monitor.foreign._warned", set())


def test_definitions_reach_the_reader_once_and_in_order(root: Path) -> None:
    with tm.init("defined", root_dir=root, quiet=True) as run:
        for step in range(12):
            tm.define_metric("val/*", kind="score")
            run.define_metric("speed", kind="throughput", step_metric="epoch")
            tm.log({"val/a": step, "speed": 3.0, "val_loss": 1 / (step + 1), "epoch": step}, step)
        tm.define_metric("regret_of_mine", goal="minimize")
        tm.define_metric("val/*", kind="error")
        tm.log({"regret_of_mine": 2.0, "note": "a text"}, 12)
    reading.settled(root / "defined")
    view = tm.open_run(root / "defined")
    assert view.definitions() == [
        Definition("val/*", kind="score"),
        Definition("speed", kind="throughput", step_metric="epoch"),
        Definition("regret_of_mine", goal="min"),
        Definition("val/*", kind="error"),
    ]
    meanings = view.meanings()
    assert list(meanings) == [metric.name for metric in view.metrics()]
    assert (meanings["val/a"].kind, meanings["val/a"].goal) == ("error", "min")
    assert (meanings["speed"].kind, meanings["speed"].step_metric) == ("throughput", "epoch")
    assert meanings["val_loss"].source == "name"
    assert meanings["note"].kind == "other"
    assert [name for name, meaning in meanings.items() if meaning.headline] == ["regret_of_mine"]


def test_meanings_of_a_run_without_definitions(root: Path) -> None:
    with tm.init("plain", root_dir=root, quiet=True):
        for step in range(20):
            values = {"loss": 1 / (step + 1), "eval_loss": 2 / (step + 1), "time": 0.5 + step % 3}
            tm.log({**values, "images": 64 * step}, step)
    reading.settled(root / "plain")
    view = tm.open_run(root / "plain")
    meanings = view.meanings()
    assert view.definitions() == []
    assert meanings["eval_loss"].headline
    assert (meanings["time"].kind, meanings["time"].source) == ("step_time", "history")
    assert (meanings["images"].kind, meanings["images"].source) == ("tokens", "history")


@pytest.mark.parametrize(
    ("words", "message"),
    [({"kind": "lss"}, r"kind='lss' is not valid: expected one of loss, score, .*mean 'loss'"),
     ({"kind": 3}, "kind=3 is not valid: expected one of loss, score,"),
     ({"goal": "up"}, "goal='up' is not valid: expected 'min' or 'max'"),
     ({"step_metric": ""}, "step_metric='' is not valid: expected the name of a metric"),
     ({"gaol": "min"}, r"define_metric\(\) has no parameter 'gaol' .*did you mean 'goal'")],
)  # fmt: skip
def test_a_wrong_word_is_named_with_what_is_allowed(
    run: tm.Run, words: dict[str, object], message: str
) -> None:
    for define in (tm.define_metric, run.define_metric):
        with pytest.raises(tm.SettingError, match=message):
            define("loss", **words)


@pytest.mark.parametrize("name", ["", None, 3, "a" * 1001])
def test_a_wrong_name_is_refused(run: tm.Run, name: object) -> None:
    with pytest.raises(tm.SettingError, match="expected the name of a metric"):
        run.define_metric(name)  # type: ignore[arg-type]


def test_a_star_stands_at_the_end_only(run: tm.Run) -> None:
    with pytest.raises(tm.SettingError, match="a \\* may stand at the end only"):
        run.define_metric("*/loss")
    run.define_metric("*", step_metric="epoch")


@pytest.mark.usefixtures("run", "untold")
def test_keywords_of_wandb_warn_once_at_the_line_of_the_user() -> None:
    with pytest.warns(tm.TrainingMonitorWarning, match="summary \\(nearest: goal\\)") as told:
        tm.define_metric("loss", summary="min", hidden=True)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tm.define_metric("acc", summary="max")


@pytest.mark.usefixtures("untold")
def test_before_init_it_warns_once_and_does_nothing() -> None:
    with pytest.warns(tm.TrainingMonitorWarning, match="no run is active; nothing is rec") as told:
        tm.define_metric("loss", kind="loss")
    tm.define_metric("loss", kind="loss")
    assert [warning.filename for warning in told] == [__file__]


@pytest.mark.usefixtures("untold")
def test_after_close_it_warns_once(run: tm.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training_monitor.run._CLOSE_SECS", 0.1)
    run.close()
    with pytest.warns(tm.TrainingMonitorWarning, match="run 'unit' is closed") as told:
        run.define_metric("loss", kind="loss")
    run.define_metric("loss", kind="score")
    assert [warning.filename for warning in told] == [__file__]


def test_disabled_run_takes_it_in_silence(root: Path) -> None:
    run = tm.init("off", root_dir=root, mode="disabled", quiet=True)
    tm.define_metric("loss", kind="loss")
    run.define_metric("loss", goal="min")


def test_what_another_version_kept_is_read_as_far_as_it_is_known() -> None:
    assert read_definition({"name": "a", "metric_kind": "aura", "goal": "up"}) == Definition("a")
    assert read_definition({"name": "a", "goal": "max", "step_metric": 3}) == Definition(
        "a", goal="max"
    )
