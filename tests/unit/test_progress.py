"""What a report recommends when nothing that was found says what to do."""

from __future__ import annotations

import pytest

from training_monitor.machine import Finding
from training_monitor.predict.cost import cost_of
from training_monitor.report.progress import Progress


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
