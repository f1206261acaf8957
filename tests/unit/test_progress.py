"""What a report recommends when nothing that was found says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

import training_monitor as tm
from harness.curves import falling, record
from training_monitor.machine import Finding
from training_monitor.predict.cost import cost_of
from training_monitor.report.progress import Progress, progress_of


def recommended(state: str, *severities: str) -> list[str]:
    found = [
        Finding(time=0.0, host="h", source="rank0/end", name="killed", text="was killed",
                by="ends", stands=True, severity=severity)
        for severity in severities
    ]  # fmt: skip
    progress = Progress(
        run="a", dir="a", state=state, time=0.0, step=1, total=None, phase=None, values={},
        trends=[], eta=None, prospect=None, cost=cost_of(0.0, gpus=1), findings=found,
    )  # fmt: skip
    return progress.sections()["Recommendations"]


def test_a_serious_finding_without_advice_is_not_called_normal() -> None:
    for state in ("recording", "ended"):
        (said,) = recommended(state, "info", "warning")
        assert said.startswith("Look at the issues above")


@pytest.mark.parametrize("severities", [(), ("info",)])
def test_without_a_serious_finding_nothing_is_to_be_done(severities: tuple[str, ...]) -> None:
    assert recommended("ended", *severities) == [
        "Nothing serious stands: no intervention is needed."
    ]
    assert recommended("recording", *severities) == [
        "The training goes normally: no intervention is needed."
    ]


def test_a_baseline_is_compared_by_what_both_have(tmp_path: Path) -> None:
    loss = falling(60)
    run = tm.open_run(record(tmp_path, "one", {"loss": loss, "val_acc": 1 - loss / 10}))
    assert next(name for name, one in run.meanings().items() if one.headline) == "val_acc"
    near = tm.open_run(record(tmp_path, "near", {"loss": loss + 1}))
    far = tm.open_run(record(tmp_path, "far", {"lr": loss}))
    (one, *_) = progress_of(run, state="ended", baseline=near).comparisons
    assert (one.standing, round(one.difference, 2)) == ("ahead", -1.0)
    said = progress_of(run, state="ended", baseline=far).sections()["Compared with far"]
    assert said == ["They have no metric with a step in common."]
