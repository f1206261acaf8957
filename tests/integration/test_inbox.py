"""What other processes have to say reaches the database, with a monitor and without one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import training_monitor as tm
from harness import processes
from training_monitor.analyses import Analysis, Message, analysis_line, message_line
from training_monitor.monitor.inbox import hand_in
from training_monitor.monitor.lock import holder


def analysis(name: str, at: float = 1_767_614_400.0) -> Analysis:
    return Analysis(name, at, 5, 1, "asked", "ok", f"summary of {name}")


def recorded(root: Path) -> Path:
    with tm.init("inbox", root_dir=root, quiet=True) as run:
        tm.log({"loss": 1.0}, 0)
    return Path(run.dir)


def test_without_a_monitor_it_is_written_here(tmp_path: Path) -> None:
    run_dir = recorded(tmp_path)
    processes.until(lambda: holder(str(run_dir)) is None, "the monitor leaves")
    said = message_line(Message("m", 1.0, "user", "?"))
    hand_in(str(run_dir), analysis_line(analysis("a")) + said)
    view = tm.open_run(run_dir)
    assert view.analyses() == [analysis("a")]
    assert [one.text for one in view.messages()] == ["?"]
    assert not list((run_dir / ".inbox").iterdir())


def test_a_monitor_takes_it_up_once_and_removes_it_when_it_is_durable(tmp_path: Path) -> None:
    with tm.init("inbox", root_dir=tmp_path, quiet=True) as run:
        tm.log({"loss": 1.0}, 0)
        processes.until(lambda: holder(run.dir), "a monitor")
        hand_in(run.dir, analysis_line(analysis("a")))
        hand_in(run.dir, analysis_line(analysis("a")))
        database = Path(run.dir) / "training_monitor.db"
        processes.until(database.exists, "the database")
        processes.until(lambda: tm.open_run(run.dir).analyses() == [analysis("a")], "one")
    processes.until(lambda: holder(run.dir) is None, "the monitor leaves")
    assert not list(Path(run.dir, ".inbox").iterdir())
    assert len(tm.open_run(run.dir).analyses()) == 1


def test_a_monitor_that_is_killed_in_between_loses_none(tmp_path: Path) -> None:
    with tm.init("inbox", root_dir=tmp_path, quiet=True) as run:
        tm.log({"loss": 1.0}, 0)
        wanted = []
        for number in range(10):
            pid = processes.until(lambda: holder(run.dir), "a monitor")
            wanted.append(analysis(f"a{number}", 1_767_614_400.0 + number))
            hand_in(run.dir, analysis_line(wanted[-1]))
            if number % 2:
                os.kill(pid, signal.SIGKILL)
    processes.until(lambda: tm.open_run(run.dir).analyses() == wanted, "all")


@pytest.mark.parametrize("lines", [b"{}\n", b"junk", b'{"kind": "unknown", "note": {"id": "1"}}\n'])
def test_what_is_no_note_harms_nothing(tmp_path: Path, lines: bytes) -> None:
    run_dir = recorded(tmp_path)
    processes.until(lambda: holder(str(run_dir)) is None, "the monitor leaves")
    with pytest.raises(ValueError, match="no note"):
        hand_in(str(run_dir), lines)
    hand_in(str(run_dir), analysis_line(analysis("a")))
    assert len(tm.open_run(run_dir).analyses()) == 1
