"""Copies of a run under full write load are sound, and are what was true at some moment."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import training_monitor as tm
from harness import processes, reading
from harness.recorder import Recorder
from training_monitor import _core
from training_monitor.backup import backup_run
from training_monitor.catalog import list_runs

LOAD = """
    tm.init("busy", root_dir=sys.argv[1], quiet=True, config={"lr": 0.1})
    step = 0
    print("logging", flush=True)
    while not os.path.exists(sys.argv[2]):
        for _ in range(500):
            tm.log({"a": float(step), "b": step * 0.5, "n": step}, step)
            step += 1
        while tm.health().backlog_bytes > 4 * 2**20:
            time.sleep(0.001)
    tm.close()
    print(step)
"""


def start_load(directory: Path, root: Path) -> subprocess.Popen[str]:
    process = processes.start_script(directory, LOAD, root, directory / "stop")
    reading.wait_for_points(root / "busy", "a", 1000)
    return process


def check_copy(copy: Path) -> int:
    """Return how many steps the copy holds; they are a prefix of what was logged."""
    assert reading.stock_query(copy, "PRAGMA integrity_check") == [["ok"]]
    view = tm.open_run(copy)
    count = len(view.series("a", raw=True))
    steps = np.arange(count)
    for key, factor in (("a", 1.0), ("b", 0.5), ("n", 1)):
        series = view.series(key, raw=True)
        assert np.array_equal(series.step, steps)
        assert np.array_equal(series.value.astype(np.float64), steps * factor)
    assert (copy / "config.json").read_text().count('"lr"') == 1
    assert not (copy / ".spool").exists()
    assert copy.stat().st_mode & 0o777 == 0o700
    assert (copy / "training_monitor.db").stat().st_mode & 0o777 == 0o600
    return count


@pytest.mark.timeout(300)
def test_copies_under_load_are_sound_prefixes(tmp_path: Path, root: Path) -> None:
    process = start_load(tmp_path, root)
    processes.until((root / "busy" / "config.json").exists, "config.json")
    counts = []
    for number in range(6):
        copy = tmp_path / f"copy{number}"
        done = processes.training_monitor("backup", root / "busy", copy)
        assert done.returncode == 0, done.stderr
        counts.append(check_copy(copy))
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
    (tmp_path / "stop").touch()
    logged = int(processes.finish(process).split()[-1])
    reading.settled(root / "busy")
    assert len(tm.open_run(root / "busy").series("a", raw=True)) == logged
    # A copy is a run: it opens, answers and can be copied.
    assert tm.open_run(tmp_path / "copy0").sql("SELECT count(*) FROM points")[0][0] >= 3000


def has_begun(directory: Path, backup: subprocess.Popen[bytes]) -> bool:
    return any(directory.glob(".copy.partial-*")) or backup.poll() is not None


@pytest.mark.timeout(300)
def test_a_killed_backup_leaves_nothing_under_its_name(tmp_path: Path, root: Path) -> None:
    process = start_load(tmp_path, root)
    target = tmp_path / "copy"
    begun = 0
    for _ in range(12):
        command = [sys.executable, "-m", "training_monitor", "backup", str(root / "busy")]
        backup = subprocess.Popen([*command, str(target)], stdout=subprocess.DEVNULL)
        processes.until(partial(has_begun, tmp_path, backup), "the copy to begin")
        backup.send_signal(signal.SIGKILL)
        backup.wait()
        for left in tmp_path.glob(".copy.partial-*"):
            begun += 1
            subprocess.run(["rm", "-r", left], check=True)
        if target.exists():
            check_copy(target)
            subprocess.run(["rm", "-r", target], check=True)
    assert begun
    (tmp_path / "stop").touch()
    processes.finish(process)


def test_a_killed_backup_is_no_run_and_the_next_one_sweeps_it(tmp_path: Path, root: Path) -> None:
    recorder = Recorder(root / "one")
    _core.log({"a": 1.0}, 0)
    recorder.stored()
    program = (
        "import os, signal, sys\n"
        "from training_monitor.backup import backup_run\n"
        "os.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "backup_run(sys.argv[1], sys.argv[2])\n"
    )
    command = [sys.executable, "-c", program, str(root / "one"), str(root / "copy")]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    (left,) = root.glob(".copy.partial-*")
    assert list_runs(str(root)) == [str(root / "one")]
    (left / "checkpoint").mkdir()
    at_work = root / ".other.partial-1"
    somebodys = root / ".notes.partial-2"
    for directory, name in ((at_work, "training_monitor.db"), (somebodys, "text")):
        directory.mkdir()
        (directory / name).write_text("x")
    for directory in (left, at_work, somebodys):
        os.utime(directory, (0, 0))
    lock = os.open(at_work, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    backup_run(str(root / "one"), str(root / "second"))
    os.close(lock)
    assert not left.exists()
    assert at_work.exists()
    assert somebodys.exists()


def test_directories_that_go_while_they_are_copied_are_left_out(tmp_path: Path, root: Path) -> None:
    """A training deletes its old checkpoints meanwhile."""
    recorder = Recorder(root / "one")
    _core.log({"a": 1.0}, 0)
    recorder.stored()
    program = """
        import shutil
        from pathlib import Path
        from training_monitor.backup import backup_run

        run, target = Path(sys.argv[1]), Path(sys.argv[2])
        for number in range(3):
            (run / f"checkpoint-{number}").mkdir()
            (run / f"checkpoint-{number}" / "model").write_text("weights")
        scandir = os.scandir

        def racing(path):
            # Each checkpoint goes after the run was listed, before it is listed itself.
            if "checkpoint" in str(path) and "partial" not in str(path):
                shutil.rmtree(path)
            return scandir(path)

        os.scandir = racing
        backup_run(str(run), str(target))
        """
    processes.run_script(tmp_path, program, root / "one", tmp_path / "copy")
    assert len(tm.open_run(tmp_path / "copy").series("a")) == 1


def test_ctrl_c_removes_the_half_copy(tmp_path: Path, root: Path) -> None:
    process = start_load(tmp_path, root)
    program = (
        "import sys, signal\n"
        "from training_monitor.backup import backup_run\n"
        "backup_run(sys.argv[1], sys.argv[2], progress=lambda *_: signal.raise_signal(2))\n"
    )
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", program, str(root / "busy"), str(tmp_path / "copy")],
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            assert "KeyboardInterrupt" in done.stderr
            assert not (tmp_path / "copy").exists()
        else:
            # It fitted into one step.
            subprocess.run(["rm", "-r", tmp_path / "copy"], check=True)
        assert not list(tmp_path.glob("copy*"))
    (tmp_path / "stop").touch()
    processes.finish(process)


def test_a_target_that_is_there_is_left_alone(tmp_path: Path, root: Path) -> None:
    processes.run_script(
        tmp_path,
        """
        with tm.init("small", root_dir=sys.argv[1], quiet=True):
            tm.log({"loss": 1.0})
        """,
        root,
    )
    reading.settled(root / "small")
    target = tmp_path / "there"
    target.mkdir()
    (target / "mine").write_text("keep")
    for place in (target, root / "small" / "inside"):
        done = processes.training_monitor("backup", root / "small", place)
        assert done.returncode == 1
    assert os.listdir(target) == ["mine"]
    (target / "mine").unlink()
    os.symlink("/etc/passwd", root / "small" / "link")
    done = processes.training_monitor("backup", root / "small", target)
    assert done.returncode == 0, done.stderr
    assert tm.open_run(target).summary["loss"].last == 1.0
    assert not (target / "link").is_symlink()
