"""The monitor's parts, in this process: its limit, its poller, and config.json."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import training_monitor as tm
from training_monitor import _core
from training_monitor.cli import main
from training_monitor.monitor.journal import Journal
from training_monitor.monitor.lock import RunLock
from training_monitor.monitor.manifest import write_last_manifest, write_manifest
from training_monitor.monitor.poller import Child
from training_monitor.monitor.process import Monitor
from training_monitor.spawn import monitor_log


class Still:
    """A wakeup that has no time to wait, and tells to stop after so many waits."""

    def __init__(self, waits: int) -> None:
        self.waits = waits
        self.stopping = False

    def wait(self, _seconds: float) -> None:
        self.waits -= 1
        self.stopping = self.waits <= 0


class Stores:
    """Opens the store as the monitor does, and keeps with which limits."""

    def __init__(self) -> None:
        self.limits: list[int] = []

    def open(self, run_dir: str, *, node_limit_bytes: int, **others: float) -> _core.Ingest:
        self.limits.append(node_limit_bytes)
        return _core.Ingest(run_dir, node_limit_bytes=node_limit_bytes, **others)


def failing(_argv: list[str]) -> int:
    raise OSError(11, "Resource temporarily unavailable")


def monitored(run_dir: Path, *, waits: int = 1) -> list[int]:
    """Let a monitor without a poller work on a run in this process; return its node limits."""
    lock = RunLock.take(str(run_dir))
    assert lock is not None
    journal = Journal(monitor_log(str(run_dir)), echo=True)
    wakeup: Any = Still(waits)
    poller = Child(str(run_dir), spawn=failing)
    stores = Stores()
    try:
        monitor = Monitor(
            str(run_dir), lock, journal, wakeup, poller, foreground=True, open_store=stores.open
        )
        assert monitor.run() == 0
    finally:
        lock.release()
    return stores.limits


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 8 * 2**30), ("64MiB", 64 * 2**20), ("67108864", 64 * 2**20), ("nonsense", 8 * 2**30)],
)
def test_the_monitor_keeps_to_the_node_limit(
    text: str,
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TM_NODE_LIMIT", text)
    assert monitored(tmp_path) == [expected]


def test_a_node_limit_given_as_an_argument_reaches_the_monitor(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[dict[str, str]] = []
    monkeypatch.setattr(_core, "set_monitor_command", lambda *words: commands.append(words[1]))
    monkeypatch.setattr(_core, "spawn_monitor", lambda: 1)
    monkeypatch.setattr("training_monitor.run._CLOSE_SECS", 0.1)
    monkeypatch.setenv("TM_NODE_LIMIT", "1GiB")
    with tm.init("limited", root_dir=root, quiet=True, node_limit="64MiB"):
        pass
    assert commands[0]["TM_NODE_LIMIT"] == str(64 * 2**20)


def test_the_node_limit_of_a_monitor_started_by_hand(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TM_NODE_LIMIT", "1GiB")
    seen: list[str] = []
    monkeypatch.setattr(
        "training_monitor.cli.watch.serve",
        lambda *_, **__: seen.append(os.environ["TM_NODE_LIMIT"]) or 0,
    )
    words = ["--experiment", "hand", "--root-dir", str(root), "--node-limit", "64MiB"]
    assert main.main(words) == 0
    assert seen == [str(64 * 2**20)]


def test_a_poller_that_cannot_start_does_not_end_the_monitor(tmp_path: Path) -> None:
    files = len(os.listdir("/proc/self/fd"))
    assert len(monitored(tmp_path, waits=3)) == 1
    log = Path(monitor_log(str(tmp_path))).read_text()
    assert log.count("cannot start the poller: [Errno 11]") == 1
    assert "0 points durable" in log
    assert len(os.listdir("/proc/self/fd")) <= files + 1  # the journal stays open


class EndsBehind:
    """A store into which somebody logs while it is being closed."""

    def __init__(self, backlog_bytes: int) -> None:
        self.backlog_bytes = backlog_bytes

    def open(self, run_dir: str, **others: Any) -> Any:
        self.store = _core.Ingest(run_dir, **others)
        return self

    def finish(self, timeout_s: float) -> dict[str, Any]:
        return {**self.store.finish(timeout_s), "backlog_bytes": self.backlog_bytes}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@pytest.mark.parametrize("backlog_bytes", [0, 576])
def test_a_monitor_knows_when_somebody_logged_while_it_left(
    tmp_path: Path, backlog_bytes: int
) -> None:
    lock = RunLock.take(str(tmp_path))
    assert lock is not None
    journal, wakeup = Journal(monitor_log(str(tmp_path)), echo=True), Still(1)
    poller = Child(str(tmp_path), spawn=failing)
    try:
        monitor = Monitor(
            str(tmp_path), lock, journal, wakeup, poller,  # type: ignore[arg-type]
            foreground=True, open_store=EndsBehind(backlog_bytes).open,
        )  # fmt: skip
        assert monitor.run() == 0
    finally:
        lock.release()
    assert monitor.is_behind == bool(backlog_bytes)


def config_json(run_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run_dir / "config.json").read_text())
    return found


@pytest.mark.parametrize("by_hand", [True, False])
def test_what_is_brought_home_at_the_end_has_its_config(
    by_hand: bool,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("training_monitor.run._CLOSE_SECS", 0.1)
    secret = "slack" + "://TokenA/TokenB"
    notify = [secret, "https://example.com/TokenC"]
    with tm.init("late", {"lr": 1}, root_dir=root, quiet=True, start_monitor=False, notify=notify):
        tm.log({"loss": 1.0}, 0)
    if by_hand:
        assert main.main(["recover", "late", "--root-dir", str(root)]) == 0
    else:
        assert monitored(root / "late")
    config = config_json(root / "late")
    assert (config["attempt"], config["config"]) == (1, {"lr": 1})
    assert config["settings"]["notify"] == ["slack://[redacted]", "https://[redacted]"]
    stored = _core.RunReader(str(root / "late")).attempts()[0]["config"]
    assert "Token" not in stored
    assert write_last_manifest(str(root / "late")) is None


def launched(job_key: str, started: float, rank: int = 0) -> str:
    return json.dumps({"job_key": job_key, "started": started, "rank": rank})


def test_the_last_launch_wins_also_after_a_quarantine(tmp_path: Path) -> None:
    def writes(attempt: int, launch: str) -> bool:
        return write_manifest(str(tmp_path), attempt, launch)

    assert writes(3, launched("old", 1000.0, rank=1))
    assert writes(3, launched("old", 1000.0))
    assert not writes(3, launched("old", 1000.5, rank=1))
    assert not writes(2, launched("older", 900.0))
    assert writes(1, launched("new", 2000.0))
    assert (config_json(tmp_path)["attempt"], config_json(tmp_path)["job_key"]) == (1, "new")
