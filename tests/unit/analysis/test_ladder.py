"""Trouble leads down the ladder, time and other settings lead up, and each kind is told once."""

import json
from pathlib import Path

import pytest

from harness.conversations import Clock
from training_monitor.analysis.model.ladder import Ladder
from training_monitor.analysis.model.state import StateFile
from training_monitor.analysis.model.trouble import ModelError

DAY = 86400.0


def ladder(run_dir: Path, clock: Clock, **options: object) -> Ladder:
    given = {"model": "m", "to": "http://x/v1", "clock": clock, "state": StateFile(str(run_dir))}
    return Ladder(**(given | options))


def test_refused_tools_are_remembered_for_a_day(tmp_path: Path) -> None:
    clock = Clock()
    one = ladder(tmp_path, clock)
    assert one.rung() == "tools"
    one.failed(ModelError("tools_refused", "no tools"))
    one.worked()
    assert one.rung() == "packed"
    again = ladder(tmp_path, clock)
    assert again.rung() == "packed"
    clock.now += DAY - 1
    assert again.rung() == "packed"
    clock.now += 2
    assert again.rung() == "tools"


@pytest.mark.parametrize("other", [{"model": "n"}, {"to": "http://y/v1"}])
def test_another_model_or_address_starts_anew(other: dict[str, str], tmp_path: Path) -> None:
    clock = Clock()
    ladder(tmp_path, clock).failed(ModelError("tools_refused", "no tools"))
    ladder(tmp_path, clock).failed(ModelError("server", "boom"))
    changed = ladder(tmp_path, clock, **other)
    assert changed.rung() == "tools"
    changed.failed(ModelError("tools_refused", "no tools"))
    assert len(changed.take_notices()) == 1


def test_server_that_is_down_is_left_alone_for_longer_and_longer(tmp_path: Path) -> None:
    clock = Clock()
    pauses = []
    for _ in range(10):
        one = ladder(tmp_path, clock)
        assert one.rung() == "tools"
        one.failed(ModelError("connection", "refused"))
        assert one.rung() == "rules"
        pauses.append(one.paused_secs)
        clock.now += one.paused_secs
    assert pauses == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800, 1800]
    one.worked()
    one.failed(ModelError("server", "boom"))
    assert one.paused_secs == 30


def test_rate_limit_pauses_as_long_as_asked(tmp_path: Path) -> None:
    clock = Clock()
    one = ladder(tmp_path, clock)
    one.failed(ModelError("rate_limit", "slow", retry_after_secs=75.0))
    assert one.paused_secs == 75
    # Somebody who waits may try a server that is down, and still not one that asked to wait.
    assert ladder(tmp_path, clock, impatient=True).rung() == "rules"
    clock.now += 75
    assert one.rung() == "tools"
    one.failed(ModelError("rate_limit", "slow", retry_after_secs=10**6))
    assert one.paused_secs == 3600
    assert "asked again in 60 minutes" not in "".join(one.take_notices())


def test_somebody_who_waits_may_ask_a_server_that_was_down(tmp_path: Path) -> None:
    clock = Clock()
    ladder(tmp_path, clock).failed(ModelError("connection", "refused"))
    assert ladder(tmp_path, clock).rung() == "rules"
    assert ladder(tmp_path, clock, impatient=True).rung() == "tools"


def test_trouble_with_settings_is_tried_again_by_the_next_process(tmp_path: Path) -> None:
    clock = Clock()
    one = ladder(tmp_path, clock)
    one.failed(ModelError("auth", "401"))
    assert (one.rung(), one.paused_secs) == ("rules", 600)
    clock.now += 600
    assert one.rung() == "tools"
    one.failed(ModelError("auth", "401"))
    assert one.paused_secs == 1200
    assert ladder(tmp_path, clock).rung() == "tools"


def test_answers_that_are_none_lead_to_the_packed_prompt(tmp_path: Path) -> None:
    clock = Clock()
    one = ladder(tmp_path, clock)
    for _ in range(3):
        assert one.rung() == "tools"
        one.failed(ModelError("bad_answer", "no JSON"))
        clock.now += one.paused_secs
    assert one.rung() == "packed"


def test_each_kind_is_told_once_a_day_by_all_processes_together(tmp_path: Path) -> None:
    clock = Clock()
    told = []
    for _ in range(5):
        for kind in ("auth", "server", "auth", "rate_limit"):
            one = ladder(tmp_path, clock)
            one.failed(ModelError(kind, f"{kind} happened"))
            told += one.take_notices()
            assert one.take_notices() == []
            clock.now += 3600
    assert [text.partition(" ")[0] for text in told] == ["auth", "server", "rate_limit"]
    assert told[0] == (
        "auth happened. Recording, findings and alerts go on without it; "
        "it is asked again in 10 minutes"
    )
    clock.now += DAY
    one.failed(ModelError("auth", "auth happened"))
    assert len(one.take_notices()) == 1


def test_last_trouble_is_known_until_it_works(tmp_path: Path) -> None:
    one = ladder(tmp_path, Clock())
    assert one.trouble is None
    error = ModelError("server", "boom")
    one.failed(error)
    assert one.trouble is error
    one.worked()
    assert (one.trouble, one.rung()) == (None, "tools")


@pytest.mark.parametrize(
    "part",
    [
        {"rung": "roof"},
        {"rung": 3, "since": "x", "until": None, "failures": "many", "told": 5},
        {"until": 1e300},
        {"until": float("nan"), "since": float("inf"), "rung": "packed"},
        {"failures": 10**400, "told": {"auth": "x", "b": True}},
        {"rung": "packed", "since": 1e12},
    ],
)
def test_damaged_state_leads_to_the_top(part: dict[str, object], tmp_path: Path) -> None:
    who = {"model": "m", "to": "http://x/v1"}
    (tmp_path / ".llm.state").write_text(json.dumps({"ladder": who | part}))
    one = ladder(tmp_path, Clock())
    assert one.rung() == "tools"
    one.failed(ModelError("server", "boom"))
    assert one.rung() == "rules"
    assert len(one.take_notices()) == 1


def test_clock_that_was_set_back_makes_no_pause(tmp_path: Path) -> None:
    clock = Clock()
    ladder(tmp_path, clock).failed(ModelError("server", "boom"))
    clock.now -= 10 * DAY
    assert ladder(tmp_path, clock).rung() == "tools"
