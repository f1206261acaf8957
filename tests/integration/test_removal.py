"""Runs go when told to, or when there are too many; never a living one, never a link's end."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

import training_monitor as tm
from harness import processes, reading
from training_monitor import _core
from training_monitor.catalog import list_runs
from training_monitor.monitor.lock import RunLock
from training_monitor.monitor.retention import Limits, doomed_runs

RECORD = """
    with tm.init(sys.argv[2], root_dir=sys.argv[1], quiet=True):
        for step in range(200):
            tm.log({"loss": 1.0}, step)
"""


def record(directory: Path, root: Path, *names: str) -> None:
    for name in names:
        processes.run_script(directory, RECORD, root, name)
        reading.settled(root / name)


def age(run_dir: Path, days: float) -> None:
    """Make a run look unused for so long."""
    then = time.time() - days * 86_400
    for path in [*run_dir.iterdir(), run_dir]:
        os.utime(path, (then, then))


def names(root: Path) -> list[str]:
    return sorted(os.path.basename(path) for path in list_runs(str(root)))


def test_rm_takes_the_run_and_its_claims(tmp_path: Path, root: Path) -> None:
    record(tmp_path, root, "one", "two")
    claims = [json.loads(path.read_text())["name"] for path in (root / ".claims").glob("*.json")]
    assert sorted(claims) == ["one", "two"]
    done = processes.training_monitor("rm", "one", "--root-dir", root, "--yes")
    assert done.returncode == 0, done.stderr
    assert "200 points" in done.stdout
    assert sorted(path.name for path in root.iterdir()) == [".claims", "two"]
    claims = [json.loads(path.read_text())["name"] for path in (root / ".claims").glob("*.json")]
    assert claims == ["two"]
    record(tmp_path, root, "one")
    assert tm.open_run(root / "one").attempts[0].points == 200


def test_rm_asks_and_takes_no_for_an_answer(tmp_path: Path, root: Path) -> None:
    record(tmp_path, root, "one")
    done = processes.training_monitor("rm", "one", "--root-dir", root)
    assert done.returncode == 1
    assert "--yes" in done.stderr
    for answer, left in [(b"n\n", True), (b"\n", True), (b"y\n", False)]:
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "training_monitor", "rm", "one", "--root-dir", str(root)]
        process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE)
        os.close(theirs)
        os.write(ours, answer)
        out, _ = process.communicate(timeout=20)
        os.close(ours)
        assert b"for good? [y/N]" in out
        assert process.returncode == (1 if left else 0)
        assert (root / "one").exists() == left


def test_rm_refuses_what_lives(tmp_path: Path, root: Path) -> None:
    process = processes.start_script(
        tmp_path,
        """
        tm.init("live", root_dir=sys.argv[1], quiet=True)
        tm.log({"loss": 1.0})
        print("up", flush=True)
        sys.stdin.read()
        while not os.path.exists(sys.argv[2]):
            time.sleep(0.01)
        """,
        root,
        tmp_path / "stop",
    )
    assert process.stdout is not None
    process.stdout.readline()
    done = processes.training_monitor("rm", "live", "--root-dir", root, "--yes")
    assert done.returncode == 1
    assert "is being recorded" in done.stderr
    (tmp_path / "stop").touch()
    processes.finish(process)
    reading.settled(root / "live")
    lock = RunLock.take(str(root / "live"))
    assert lock is not None
    with pytest.raises(tm.TrainingMonitorError, match="a monitor is at work"):
        _core.remove_run(root, "live")
    lock.release()
    assert reading.steps_of(root / "live", "loss") == [0]
    _core.remove_run(root, "live")
    assert not (root / "live").exists()


def test_rm_follows_no_link(tmp_path: Path, root: Path) -> None:
    record(tmp_path, root, "one")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    os.symlink(outside, root / "one" / "link")
    os.symlink(outside / "precious", root / "one" / "file")
    os.symlink(root / "one", root / "alias")
    job = root / "one" / ".spool" / "0123456789abcdef"
    job.mkdir(parents=True)
    (job / f"{'ab' * 16}.at").write_text(str(outside))
    disguised = outside / "training_monitor-0" / ("cd" * 16)
    disguised.parent.mkdir()
    os.symlink(outside, disguised)
    (job / f"{'cd' * 16}.at").write_text(str(disguised))
    with pytest.raises(tm.TrainingMonitorError, match="links are not followed"):
        _core.remove_run(root, "alias")
    _core.remove_run(root, "one")
    assert not (root / "one").exists()
    assert (outside / "precious").read_text() == "keep"
    assert disguised.is_symlink()


def test_rm_takes_a_spool_on_another_disk(tmp_path: Path, root: Path) -> None:
    record(tmp_path, root, "one")
    spool = tmp_path / f"training_monitor-{os.getuid()}" / ("ef" * 16)
    spool.mkdir(parents=True)
    (spool / "meta").write_text("left")
    job = root / "one" / ".spool" / "0123456789abcdef"
    job.mkdir(parents=True)
    (job / f"{'ef' * 16}.at").write_text(f"{spool}\n")
    _core.remove_run(root, "one")
    assert not spool.exists()
    assert spool.parent.exists()


def test_what_a_killed_removal_left_is_swept(tmp_path: Path, root: Path) -> None:
    record(tmp_path, root, "one")
    left = root / f".removed-{'0' * 32}"
    left.mkdir()
    (left / "training_monitor.db").write_text("x")
    assert names(root) == ["one"]
    assert _core.sweep_removed(root) == 1
    assert not left.exists()


def test_limits_choose_the_oldest_finished_runs(tmp_path: Path, root: Path) -> None:
    record(tmp_path, root, "a", "b", "c", "d")
    for name, days in [("a", 40), ("b", 30), ("c", 20), ("d", 0)]:
        age(root / name, days)

    def chosen(**limits: float) -> list[str]:
        return [run.name for run in doomed_runs(str(root), Limits(**limits))]  # type: ignore[arg-type]

    assert chosen() == []
    assert chosen(keep_runs=2) == ["a", "b"]
    assert chosen(keep_days=25) == ["a", "b"]
    assert chosen(keep_days=25, keep_runs=1) == ["a", "b", "c"]
    assert chosen(disk_budget=2**40) == []
    assert chosen(disk_budget=1) == ["a", "b", "c", "d"]
    lock = RunLock.take(str(root / "a"))
    assert lock is not None
    age(root / "a", 40)
    assert chosen(keep_runs=2) == ["b", "c"]
    lock.release()


def test_prune_tells_before_it_removes(tmp_path: Path, root: Path) -> None:
    record(tmp_path, root, "a", "b", "c")
    age(root / "a", 9)
    age(root / "b", 8)
    words = ["prune", "--root-dir", root, "--keep-runs", 1]
    done = processes.training_monitor(*words, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["RUN", "a", "b"]
    assert names(root) == ["a", "b", "c"]
    assert processes.training_monitor(*words).returncode == 1
    done = processes.training_monitor(*words, "--yes")
    assert done.returncode == 0, done.stderr
    assert "removed 2 of 2 runs" in done.stdout
    assert names(root) == ["c"]
    assert "no run has to go" in processes.training_monitor(*words).stdout
    done = processes.training_monitor("prune", "--root-dir", root)
    assert done.returncode == 1
    assert "--keep-runs" in done.stderr


def test_the_start_of_a_run_removes_the_oldest_finished_ones(tmp_path: Path, root: Path) -> None:
    record(tmp_path, root, "a", "b", "c")
    age(root / "a", 9)
    age(root / "b", 8)
    processes.run_script(
        tmp_path,
        """
        tm.init("new", root_dir=sys.argv[1], quiet=True, keep_runs=2)
        tm.log({"loss": 1.0})
        deadline = time.monotonic() + 20
        while os.path.exists(f"{sys.argv[1]}/b") and time.monotonic() < deadline:
            time.sleep(0.01)
        tm.close()
        """,
        root,
    )
    reading.settled(root / "new")
    assert names(root) == ["c", "new"]
    log = (root / "new" / "training_monitor.log").read_text()
    assert log.index("removed run a (") < log.index("removed run b (")
    assert "4 runs, and 2 may stay" in log
