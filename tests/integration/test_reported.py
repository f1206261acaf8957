"""Ends of processes, and what the script itself has to say, are told as findings are."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import training_monitor as tm
from harness import processes

EARLY = {"TM_BRAIN_AFTER_SECS": "0"}
ENDS = """
tm.init("ends", root_dir=sys.argv[1], quiet=True)
tm.log({"loss": 1.0}, 0)
if sys.argv[2] == "alert":
    tm.alert("data ran out", "shard 7 is empty", level="ERROR")
print("logged", flush=True)
while not os.path.exists(sys.argv[3]):
    time.sleep(0.02)
if sys.argv[2] == "exception":
    raise ValueError("labels are all equal")
if sys.argv[2] == "killed":
    os.kill(os.getpid(), 9)
tm.close()
"""


def told(run_dir: Path) -> str:
    path = run_dir / "training_monitor.alerts.log"
    return path.read_text() if path.exists() else ""


def brain(run_dir: Path) -> int:
    pids = processes.commands(processes.mentioning(run_dir))
    return next((pid for pid, words in pids.items() if "--brain" in words), 0)


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ("killed", -signal.SIGKILL, "was killed by SIGKILL"),
        ("exception", 1, "labels are all equal"),
        ("alert", 0, "data ran out"),
    ],
)
def test_it_is_told_once_although_the_brain_is_killed(
    tmp_path: Path, root: Path, how: str, code: int, words: str
) -> None:
    run_dir, end = root / "ends", tmp_path / "end"
    process = processes.start_script(tmp_path, ENDS, root, how, end, env=EARLY)
    processes.until(lambda: brain(run_dir), "a brain")
    if how == "alert":
        processes.until(lambda: words in told(run_dir), "the alert")
    first = processes.until(lambda: brain(run_dir), "a brain")
    os.kill(first, signal.SIGKILL)
    processes.until(lambda: brain(run_dir) not in (0, first), "another brain")
    end.touch()
    processes.finish(process, code=code)
    processes.until(lambda: words in told(run_dir), "an alert about it")
    processes.until(lambda: not processes.mentioning(run_dir), "all of ours are gone")
    lines = [line for line in told(run_dir).splitlines() if words in line]
    assert len(lines) == 1, lines
    if how != "alert":
        assert "critical" in lines[0]
        (alert,) = [one for one in tm.open_run(run_dir).alerts() if words in one.text]
        assert alert.level == "ERROR"


def test_a_training_that_ends_well_is_no_news(tmp_path: Path, root: Path) -> None:
    run_dir, end = root / "ends", tmp_path / "end"
    process = processes.start_script(tmp_path, ENDS, root, "well", end, env=EARLY)
    processes.until(lambda: brain(run_dir), "a brain")
    end.touch()
    processes.finish(process)
    processes.until(lambda: not processes.mentioning(run_dir), "all of ours are gone")
    assert told(run_dir) == ""
