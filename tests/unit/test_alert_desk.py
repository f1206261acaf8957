"""The desk: from findings to sinks, over restarts."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from harness import findings, processes
from harness.findings import START, found, over
from harness.receiver import receiver
from training_monitor.notify.desk import Desk
from training_monitor.notify.opening import LOG, OUTBOX, STATE, open_desk
from training_monitor.notify.outbox import MemoryStorage, Outbox
from training_monitor.notify.outbox_file import OutboxHeldError
from training_monitor.settings import Settings, resolve


def settings(**given: object) -> Settings:
    return resolve({"experiment_name": "run", **given}, {})


def test_findings_reach_every_sink_and_the_end_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    script = tmp_path / "on_alert.sh"
    script.write_text(f'echo "$TM_ALERT_TITLE" >> {seen}\n')
    with receiver() as server:
        monkeypatch.setenv("TM_ALERT_WEBHOOK", server.url)
        desk = open_desk(str(tmp_path), "run", settings(alert_command=["/bin/sh", str(script)]))
        now = time.time()
        assert desk.is_idle()
        desk.take([found("stuck", "all", severity="critical")], now=now, position=4)
        assert not desk.is_idle()
        assert desk.next_due() == now + 2
        (alert,) = desk.take([], now=now + 2)
        assert desk.close(within_secs=60)
        assert server.ids == [alert.id]
    assert seen.read_text() == "critical: a training that hangs in all\n"
    assert f" {alert.id} " in (tmp_path / LOG).read_text()
    assert {name: one.delivered for name, one in desk.health().items()} == {
        "log_file": 1,
        "command": 1,
        "webhook": 1,
    }
    assert desk.position == 4
    for path in tmp_path.rglob("*"):
        if path.is_file() and path != script:
            assert server.url not in path.read_text(), path


def test_a_sink_that_gets_nothing_is_named_and_the_address_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TM_ALERT_WEBHOOK", "http://127.0.0.1:9/hooks/hidden")
    desk = open_desk(str(tmp_path), "run", settings(alert_command="/no/such/command"))
    assert not desk.troubles
    now = time.time()
    desk.take([found("stuck", "all", severity="critical")], now=now)
    desk.take([], now=now + 2)
    processes.until(lambda: len(desk.troubles) == 2, "both sinks to fail")
    told = "\n".join(desk.troubles)
    assert "alerts do not reach the command: the command cannot be started" in told
    assert "alerts do not reach the webhook: " in told
    assert "hidden" not in told
    desk.close(within_secs=30)


def test_a_run_has_one_desk(tmp_path: Path) -> None:
    findings.holding(str(tmp_path / OUTBOX))
    with pytest.raises(OutboxHeldError):
        open_desk(str(tmp_path), "run", settings())


def test_offline_nothing_leaves_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TM_ALERT_WEBHOOK", "http://127.0.0.1:9/")
    desk = open_desk(str(tmp_path), "run", settings(mode="offline", alert_command="false"))
    assert set(desk.health()) == {"log_file"}
    desk.close(within_secs=30)


def test_settings_are_the_bounds(tmp_path: Path) -> None:
    bounds = settings(alert_cooldown_min=1, alerts_per_hour=1)
    desk = open_desk(str(tmp_path), "run", bounds, now=lambda: START)
    desk.take([found("spike")], now=START)
    assert len(desk.take([], now=START + 10)) == 1
    desk.take([over("spike", at=20), found("spike", at=21)], now=START + 21)
    assert desk.next_due() == START + 70
    assert not desk.take([], now=START + 70), "the only token was used"
    processes.until(lambda: desk.health()["log_file"].delivered == 1, "the log")
    desk.close(within_secs=30)


def test_a_crash_between_outbox_and_state_makes_the_same_alert(tmp_path: Path) -> None:
    path, storage = tmp_path / STATE, MemoryStorage()

    def again() -> Desk:
        return Desk("run", Outbox(storage, ["a"], now=START), str(path))

    desk = again()
    desk.take([found("spike")], now=START, position=1)
    before = path.read_bytes()
    assert len(desk.take([], now=START + 10)) == 1
    path.write_bytes(before)
    desk = again()
    assert desk.position == 1
    assert not desk.take([], now=START + 500), "the outbox knows it"
    assert desk.counts()["told"] == 1
    desk.take([over("spike", at=600)], now=START + 600)
    assert [alert.state for alert in desk.take([], now=START + 610)] == ["over"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"{}", b'{"policy": 3}'])
def test_a_state_that_cannot_be_read_is_told_and_no_obstacle(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / STATE
    path.write_bytes(content)
    desk = Desk("run", Outbox(MemoryStorage(), ["a"], now=START), str(path))
    assert desk.position is None
    assert bool(desk.troubles) == (content != b"{}")
    desk.take([found("spike")], now=START)
    assert len(desk.take([], now=START + 10)) == 1
    assert json.loads(path.read_bytes())["policy"]["version"] == 1


def test_a_state_that_cannot_be_written_does_not_silence_anybody(tmp_path: Path) -> None:
    desk = Desk("run", Outbox(MemoryStorage(), ["a"], now=START), str(tmp_path / "no" / "such"))
    desk.take([found("spike")], now=START)
    assert len(desk.take([], now=START + 10)) == 1
    assert "cannot be written" in desk.troubles[0]
