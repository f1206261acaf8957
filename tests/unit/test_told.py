"""What was told, beside the alerts of the user's code."""

from __future__ import annotations

from pathlib import Path

import pytest

import training_monitor as tm
from harness import findings, reading
from harness.curves import write
from training_monitor.judge.notes import alert_line

pytestmark = pytest.mark.usefixtures("closed_afterwards")


def test_what_was_told_stands_among_the_alerts_by_time(root: Path) -> None:
    with tm.init("told", root_dir=root, quiet=True, detection=False):
        tm.log({"loss": 1.0}, 0)
        assert tm.alert("mine", "text", level="INFO")
    reading.settled(root / "told")
    (mine,) = tm.open_run(root / "told").alerts()
    notes = [
        findings.alert("b", time=mine.time + 5, severity="critical", ranks=(3,), kind="spike",
                       title="critical: a spike", advice="look"),
        findings.alert("a", time=mine.time - 5, ranks=(1, 2), title="warning: slow"),
        findings.alert("c", time=mine.time, kind="user:mine", title="mine again"),
    ]  # fmt: skip
    write(root / "told", *(alert_line(one.to_json(), time=one.time) for one in notes))
    alerts = tm.open_run(root / "told").alerts()
    assert [(one.by, one.level, one.title, one.rank) for one in alerts] == [
        ("monitor", "WARN", "slow", None),
        ("user", "INFO", "mine", 0),
        ("monitor", "ERROR", "a spike", 3),
    ]
    assert (alerts[2].kind, alerts[2].metric, alerts[2].advice) == ("spike", "loss", "look")
    assert (alerts[2].attempt, alerts[2].step, alerts[2].state) == (1, 7, "new")
