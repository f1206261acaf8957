"""A monitor that follows another one goes on where that one was."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import training_monitor as tm
from harness import processes
from training_monitor import _core
from training_monitor.recall import recall

LOGS_AND_HANGS = """
tm.init("run", root_dir=sys.argv[1], strict=True)
for step in range(50):
    tm.log({"loss": float(step), "lr": 0.1}, step)
    time.sleep(0.01)
print("hangs", flush=True)
time.sleep(600)
"""


def journal(run_dir: Path) -> str:
    try:
        return (run_dir / "training_monitor.log").read_text()
    except FileNotFoundError:
        return ""


def stored(run_dir: Path) -> int:
    try:
        return int(_core.RunReader(run_dir).counts()["points"])
    except FileNotFoundError:
        return 0


def told(run_dir: Path) -> list[str]:
    return [found.name for found in tm.open_run(run_dir).findings() if found.source == "steps"]


def start(tmp_path: Path, root: Path, **env: str) -> Path:
    """Start a training that hangs, and kill its monitor once everything is durable."""
    process = processes.start_script(tmp_path, LOGS_AND_HANGS, root, env=env)
    assert process.stdout is not None
    assert process.stdout.readline() == "hangs\n"
    run_dir = root / "run"
    processes.until(lambda: stored(run_dir) == 100, "all points to be durable")
    processes.kill(processes.monitor_pid(run_dir))
    processes.until(lambda: journal(run_dir).count("SQLite") > 1, "the next monitor")
    return run_dir


def test_the_next_monitor_tells_of_a_silence_that_began_before_it(
    tmp_path: Path, root: Path
) -> None:
    # Time enough to kill the first monitor before it tells.
    run_dir = start(tmp_path, root, TM_STUCK_SECS="20")
    assert told(run_dir) == []
    processes.until(lambda: told(run_dir), "the silence to be told")
    assert told(run_dir) == ["stuck"]
    pattern = r"recovered: 100 points of 2 keys, [\d,]+ samples, 0 findings of the last 60 min"
    assert len(re.findall(pattern, journal(run_dir))) == 1, journal(run_dir)


def test_what_is_older_than_the_setting_is_left(tmp_path: Path, root: Path) -> None:
    run_dir = start(tmp_path, root, TM_RECOVERY_MAX_AGE_MIN="0")
    processes.until(
        # The monitor before it may have been killed before it had said so.
        lambda: "recording 1 of" in journal(run_dir).rpartition("SQLite")[2],
        "it to be at work",
    )
    assert "recovered" not in journal(run_dir)


def test_the_flag_of_a_monitor_started_by_hand_counts(tmp_path: Path, root: Path) -> None:
    processes.run_script(
        tmp_path, 'tm.init("run", root_dir=sys.argv[1])\ntm.log({"a": 1.0}, 0)\ntm.close()', root
    )
    processes.until(lambda: not processes.mentioning(root), "the monitor to leave")
    command = [sys.executable, "-m", "training_monitor", "--experiment", "run"]
    by_hand = subprocess.Popen(
        [*command, "--root-dir", str(root), "--recovery-max-age-min", "7"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        said = "recovered: 1 points of 1 keys"
        processes.until(lambda: said in journal(root / "run"), "the line about it")
    finally:
        by_hand.send_signal(signal.SIGINT)
        by_hand.wait(processes.PATIENCE_SECS)
    assert re.search(r"recovered: .* of the last 7 min", journal(root / "run"))


def test_what_is_recalled_is_of_the_last_minutes(tmp_path: Path, root: Path) -> None:
    processes.run_script(
        tmp_path,
        """
        tm.init("run", root_dir=sys.argv[1])
        for step in range(30):
            tm.log({"loss": float(step)}, step)
        tm.alert("look", "here")
        time.sleep(2)
        tm.close()
        """,
        root,
    )
    processes.until(lambda: not processes.mentioning(root), "the monitor to leave")
    view = tm.open_run(root / "run")
    recalled = recall(view, max_age_min=60)
    assert [step.step for step in recalled.steps] == list(range(30))
    assert (recalled.points, recalled.keys, recalled.is_empty) == (30, {"loss"}, False)
    assert [alert.title for alert in recalled.alerts] == ["look"]
    assert (recalled.findings, recalled.analyses, recalled.messages) == ([], [], [])
    assert recalled.sample_count() > 0
    assert any(name.startswith("host/") for name in recalled.system())
    later = recalled.steps[-1].time + 30.0 + 60 * 60.0
    nothing = recall(view, max_age_min=60, now=later)
    assert (nothing.is_empty, nothing.steps, nothing.system()) == (True, [], {})
    assert nothing.sample_count() == 0


@pytest.mark.parametrize("minutes", [0.5, 60.0])
def test_init_hands_the_setting_on(tmp_path: Path, root: Path, minutes: float) -> None:
    out = processes.run_script(
        tmp_path,
        f"""
        from training_monitor.settings import resolve
        from training_monitor.spawn import handed_on
        given = resolve({{"experiment_name": "x", "recovery_max_age_min": {minutes}}})
        print(handed_on(given)["TM_RECOVERY_MAX_AGE_MIN"])
        """,
    )
    assert float(out) == minutes
