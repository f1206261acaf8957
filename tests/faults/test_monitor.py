"""The monitor: back when killed, deaf to the user's files, private."""

import os
import stat
import time
from pathlib import Path

import pytest

from harness import processes, reading

HOLDS_THE_INTERPRETER = """
import ctypes
tm.init("held", root_dir=sys.argv[1], strict=True)
tm.log({"loss": 1.0}, 0)
print("held", flush=True)
ctypes.PyDLL(None).sleep(int(sys.argv[2]))  # PyDLL keeps the GIL: no Python runs in here
tm.log({"loss": 2.0}, 1)
print("free", flush=True)
tm.close()
"""


@pytest.mark.parametrize("kills", [1, 3])
def test_killed_monitor_is_back_while_the_trainer_sits_in_c(
    tmp_path: Path, root: Path, kills: int
) -> None:
    secs = 4 * kills
    process = processes.start_script(tmp_path, HOLDS_THE_INTERPRETER, root, secs)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    entered = time.monotonic()
    run_dir = root / "held"
    for _ in range(kills):
        monitor = processes.until(lambda: processes.monitor_pid(run_dir), "a monitor")
        reading.wait_for_points(run_dir, "loss", 1)
        processes.kill(monitor)
        processes.until(
            lambda: processes.monitor_pid(run_dir) not in {0, monitor},  # noqa: B023
            "a new monitor",
            within_secs=2.0,
        )
    assert time.monotonic() - entered < secs, "the trainer was not in C any more"
    processes.finish(process)
    reading.settled(run_dir)
    assert reading.raw(run_dir, "loss") == [(0, 1.0), (1, 2.0)]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_monitor_is_back_during_a_call_of_sixty_seconds(tmp_path: Path, root: Path) -> None:
    process = processes.start_script(tmp_path, HOLDS_THE_INTERPRETER, root, 60)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    entered, run_dir = time.monotonic(), root / "held"
    while time.monotonic() - entered < 50:
        monitor = processes.until(lambda: processes.monitor_pid(run_dir), "a monitor")
        processes.kill(monitor)
        processes.until(
            lambda: processes.monitor_pid(run_dir) not in {0, monitor},  # noqa: B023
            "a new monitor",
            within_secs=2.0,
        )
        time.sleep(1.0)
    processes.finish(process)
    reading.settled(run_dir)
    assert reading.raw(run_dir, "loss") == [(0, 1.0), (1, 2.0)]


def test_whole_family_killed_is_replaced_by_the_next_log_and_by_nothing_else(
    tmp_path: Path, root: Path
) -> None:
    process = processes.start_script(
        tmp_path,
        """
        tm.init("family", root_dir=sys.argv[1], strict=True)
        tm.log({"loss": 0.0}, 0)
        print("waits", flush=True)
        while not os.path.exists(sys.argv[2] + "go"):
            time.sleep(0.002)
        step = 1
        while not os.path.exists(sys.argv[2] + "stop"):
            tm.log({"loss": float(step)}, step)
            step += 1
            time.sleep(0.002)
        tm.close()
        print(step)
        """,
        root,
        tmp_path / "then-",
    )
    run_dir = root / "family"
    reading.wait_for_points(run_dir, "loss", 1)
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    for _ in range(100):
        family = [pid for pid in processes.mentioning(run_dir) if pid != process.pid]
        for pid in family:
            processes.kill(pid)
        if not family:
            break
    time.sleep(2.0)  # as long as a watcher that is alive may take
    assert not [pid for pid in processes.mentioning(run_dir) if pid != process.pid]
    (tmp_path / "then-go").touch()
    processes.until(lambda: processes.monitor_pid(run_dir), "log() to start one")
    (tmp_path / "then-stop").touch()
    count = int(processes.finish(process).split()[-1])
    reading.settled(run_dir)
    assert reading.steps_of(run_dir, "loss") == list(range(count))


@pytest.mark.parametrize("name", ["queue", "json", "socket", "sqlite3", "zmq", "training_monitor"])
def test_file_of_the_user_does_not_shadow_the_monitors_imports(
    tmp_path: Path, root: Path, name: str
) -> None:
    workplace = tmp_path / "project"
    workplace.mkdir()
    (workplace / f"{name}.py").write_text("raise SystemExit('a file of the user was imported')\n")
    process = processes.start_script(
        tmp_path,
        """
        tm.init("shadowed", root_dir=sys.argv[1], strict=True)
        tm.log({"loss": 1.0}, 0)
        """,
        root,
        cwd=workplace,
    )
    processes.finish(process)
    reading.settled(root / "shadowed")
    assert reading.raw(root / "shadowed", "loss") == [(0, 1.0)]


def test_everything_in_the_run_directory_is_private_under_umask_zero(
    tmp_path: Path, root: Path
) -> None:
    processes.run_script(
        tmp_path,
        """
        os.umask(0)
        tm.init("private", root_dir=sys.argv[1], strict=True)
        pid = os.fork()
        if pid == 0:
            tm.log({"child": 1.0}, 0)
            os._exit(0)
        os.waitpid(pid, 0)
        tm.log({"loss": 1.0}, 0)
        deadline = time.monotonic() + 60
        while tm.health().durable < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        bad = []
        for directory, names, files in os.walk(sys.argv[1]):
            for path in [directory, *(os.path.join(directory, file) for file in files)]:
                try:
                    info = os.lstat(path)
                except FileNotFoundError:
                    continue
                mode = info.st_mode & 0o777
                if mode & 0o077 and path != sys.argv[1]:
                    bad.append(f"{mode:o} {path}")
        assert not bad, bad
        tm.close()
        """,
        root,
        env={"PYTHONWARNINGS": "ignore::DeprecationWarning"},
    )
    run_dir = root / "private"
    reading.settled(run_dir)
    assert stat.S_IMODE(os.stat(run_dir).st_mode) == 0o700
    for name in ["config.json", "training_monitor.db", "training_monitor.log"]:
        assert stat.S_IMODE(os.stat(run_dir / name).st_mode) == 0o600, name
