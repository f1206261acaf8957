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
from training_monitor.monitor.retention import (
    Limits,
    disk_bytes,
    doomed_runs,
    is_finished,
)

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
        out, _ = process.communicate(timeout=60)
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
    os.symlink(root / "one", root / "alias")
    job = root / "one" / ".spool" / "0123456789abcdef"
    job.mkdir(parents=True)
    os.symlink(outside, job / "link")
    os.symlink(outside / "precious", job / "file")
    (job / f"{'ab' * 16}.at").write_text(str(outside))
    disguised = outside / "training_monitor-0" / ("cd" * 16)
    disguised.parent.mkdir()
    os.symlink(outside, disguised)
    (job / f"{'cd' * 16}.at").write_text(str(disguised))
    with pytest.raises(tm.TrainingMonitorError, match="links are not followed"):
        _core.remove_run(root, "alias")
    _core.remove_run(root, "one", force=True)
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
    # Its meta is no meta: whether anything was unread, nobody can tell.
    with pytest.raises(tm.TrainingMonitorError, match="not a producer's meta"):
        _core.remove_run(root, "one")
    _core.remove_run(root, "one", force=True)
    assert not spool.exists()
    assert spool.parent.exists()


def test_what_a_killed_removal_left_is_swept(tmp_path: Path, root: Path) -> None:
    record(tmp_path, root, "one")
    left = root / f".removed-{'0' * 32}"
    left.mkdir()
    (left / "training_monitor.db").write_text("x")
    somebodys = root / ".removed-by-me"
    somebodys.mkdir()
    assert names(root) == ["one"]
    assert _core.sweep_removed(root) == 1
    assert not left.exists()
    assert somebodys.exists()


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
        deadline = time.monotonic() + 60
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


def make_checkpoint(directory: Path) -> None:
    """Make what a library saves a model as."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text('{"model_type": "llama"}')
    (directory / "model.safetensors").write_text("weights")
    (directory / "training_monitor.log").write_text("a copy")
    then = time.time() - 90 * 86_400
    for path in [*directory.iterdir(), directory]:
        os.utime(path, (then, then))


def test_a_checkpoint_beside_the_runs_is_no_run(tmp_path: Path, root: Path) -> None:
    make_checkpoint(root / "llama-ft")
    record(tmp_path, root, "a", "b")
    assert names(root) == ["a", "b"]
    assert doomed_runs(str(root), Limits(keep_runs=2)) == []
    assert [run.name for run in doomed_runs(str(root), Limits(disk_budget=1))] == ["a", "b"]
    done = processes.training_monitor("prune", "--root-dir", root, "--keep-days", 1, "--yes")
    assert "no run has to go" in done.stdout
    processes.run_script(
        tmp_path, "tm.init('new', root_dir=sys.argv[1], quiet=True, keep_runs=1)", root
    )
    reading.settled(root / "new")
    assert names(root) == ["new"]
    assert (root / "llama-ft" / "model.safetensors").read_text() == "weights"
    with pytest.raises(tm.TrainingMonitorError, match="llama-ft is not a run"):
        _core.remove_run(root, "llama-ft")
    assert processes.training_monitor("rm", "llama-ft", "--root-dir", root, "--yes").returncode == 1
    assert len(list((root / "llama-ft").iterdir())) == 3


def test_checkpoints_in_the_directory_of_a_run_outlive_it(tmp_path: Path, root: Path) -> None:
    record(tmp_path, root, "a", "b")
    make_checkpoint(root / "a" / "checkpoint-1")
    os.unlink(root / "a" / "config.json")
    (root / "a" / "config.json").write_text('{"model_type": "llama"}')
    os.symlink(tmp_path, root / "a" / "latest")
    age(root / "a", 9)
    sizes = {run.name: run.bytes for run in doomed_runs(str(root), Limits(disk_budget=1))}
    (root / "a" / "checkpoint-1" / "more").write_bytes(b"x" * 2**20)
    assert {r.name: r.bytes for r in doomed_runs(str(root), Limits(disk_budget=1))} == sizes
    done = processes.training_monitor("prune", "--root-dir", root, "--keep-days", 1, "--yes")
    assert done.returncode == 0, done.stderr
    assert "stays what is not of training_monitor: checkpoint-1, config.json, latest" in done.stdout
    left = ["checkpoint-1", "config.json", "latest"]
    assert sorted(path.name for path in (root / "a").iterdir()) == left
    assert len(list((root / "a" / "checkpoint-1").iterdir())) == 4
    assert names(root) == ["b"]
    (root / "b" / "model.bin").write_text("weights")
    done = processes.training_monitor("rm", "b", "--root-dir", root)
    assert "not of training_monitor: model.bin" in done.stdout
    done = processes.training_monitor("rm", "b", "--root-dir", root, "--yes")
    assert done.returncode == 0, done.stderr
    assert "removed; 1 other files or directories stay" in done.stdout
    assert [path.name for path in (root / "b").iterdir()] == ["model.bin"]
    assert [path.name for path in root.glob(".removed-*")] == []


def test_a_copy_is_a_run_and_reading_it_does_not_make_it_young(tmp_path: Path, root: Path) -> None:
    record(tmp_path, root, "a")
    done = processes.training_monitor("backup", root / "a", root / "copy")
    assert done.returncode == 0, done.stderr
    assert not (root / "copy" / ".spool").exists()
    age(root / "copy", 9)
    for _ in range(2):
        assert processes.training_monitor("runs", "--root-dir", root).returncode == 0
        doomed = doomed_runs(str(root), Limits(keep_days=5))
        assert [run.name for run in doomed] == ["copy"]


def test_a_run_whose_spool_is_out_of_reach_is_not_finished(tmp_path: Path, root: Path) -> None:
    record(tmp_path, root, "a", "b")
    job = root / "a" / ".spool" / "0123456789abcdef"
    job.mkdir()
    elsewhere = f"/nowhere/training_monitor-0/{'ab' * 16}"
    (job / f"{'ab' * 16}.at").write_text(f"{elsewhere}\n")
    age(root / "a", 9)
    row = _core.producers(root / "a")[0]
    assert (row["id"], row["life"], row["dir"]) == ("ab" * 16, "unknown", elsewhere)
    assert not is_finished(str(root / "a"))
    assert doomed_runs(str(root), Limits(keep_days=1)) == []
    # Nor does a newer run go because this one cannot.
    assert doomed_runs(str(root), Limits(keep_runs=1)) == []
    assert doomed_runs(str(root), Limits(disk_budget=disk_bytes(str(root / "b")))) == []
    status = processes.training_monitor("status", "a", "--root-dir", root)
    assert status.returncode == 1
    assert "unknown, no monitor" in status.stdout
    assert f"{elsewhere} is not on this machine" in status.stdout
    done = processes.training_monitor("rm", "a", "--root-dir", root, "--yes")
    assert done.returncode == 1
    assert "may hold unread points" in done.stderr
    assert "--force" in done.stderr
    assert (root / "a" / "training_monitor.db").exists()
    done = processes.training_monitor("rm", "a", "--root-dir", root, "--yes", "--force")
    assert done.returncode == 0, done.stderr
    assert names(root) == ["b"]


def test_a_producer_that_cannot_be_read_is_not_finished(tmp_path: Path, root: Path) -> None:
    record(tmp_path, root, "a")
    producer = root / "a" / ".spool" / "0123456789abcdef" / ("cd" * 16)
    producer.mkdir(parents=True)
    (producer / "meta").write_text("from another world")
    assert [row["life"] for row in _core.producers(root / "a")] == ["unknown"]
    assert not is_finished(str(root / "a"))
