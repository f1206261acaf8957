"""How training ends: nothing hangs, nothing is left, nothing accepted is lost."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import processes, reading

STOP_THE_MONITOR = """
import signal
from pathlib import Path
def stop_family(run_dir):
    lock = Path(run_dir) / ".monitor.lock"
    deadline = time.monotonic() + 60
    while not (lock.exists() and lock.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.005)
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(run_dir).encode() in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGSTOP)
        except OSError:
            pass
"""


@pytest.mark.parametrize("farewell", ["tm.close()", "pass", "sys.exit(0)", "os._exit(0)"])
def test_exit_with_a_stopped_monitor_is_bounded(tmp_path: Path, root: Path, farewell: str) -> None:
    run_dir = root / "stopped"
    process = processes.start_script(
        tmp_path,
        STOP_THE_MONITOR
        + f"""
tm.init("stopped", root_dir=sys.argv[1], strict=True)
stop_family({str(run_dir)!r})
for step in range(10_000):
    tm.log({{"loss": step}}, step)
print("trained", flush=True)
{farewell}
""",
        root,
    )
    assert process.stdout is not None
    began = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert time.monotonic() - began < 30
    if farewell == "tm.close()":
        assert "recover" in err
    for pid in processes.mentioning(run_dir):
        os.kill(pid, signal.SIGCONT)
    reading.settled(run_dir)
    assert reading.steps_of(run_dir, "loss") == list(range(10_000))


def test_pipe_of_the_trainer_closes_when_the_trainer_ends(tmp_path: Path, root: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, training_monitor as tm\n"
        "tm.init('piped', root_dir=sys.argv[1])\ntm.log({'loss': 1.0})\nprint('done')\n"
    )
    done = subprocess.run(
        f"{sys.executable} {script} {root} 2>&1 | cat",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TM_GRACE_SECS": "600"},
    )
    assert "done" in done.stdout
    processes.until(lambda: processes.monitor_pid(root / "piped"), "a monitor beside the pipe")
    processes.kill_all_mentioning(root)


def test_log_in_atexit_and_del_is_stored(tmp_path: Path, root: Path) -> None:
    processes.run_script(
        tmp_path,
        """
        import atexit
        atexit.register(lambda: tm.log({"early_hook": 1.0}, 1))
        tm.init("late", root_dir=sys.argv[1], strict=True)
        atexit.register(lambda: tm.log({"late_hook": 1.0}, 1))

        class Model:
            def __del__(self, log=tm.log):
                log({"del": 1.0}, 1)

        model = Model()
        model.itself = model
        """,
        root,
    )
    reading.settled(root / "late")
    for key in ["early_hook", "late_hook", "del"]:
        assert reading.raw(root / "late", key) == [(1, 1.0)], key


def test_ctrl_c_ends_the_trainer_and_the_monitor_drains(tmp_path: Path, root: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, time, training_monitor as tm\n"
        "tm.init('interrupted', root_dir=sys.argv[1], strict=True)\n"
        "step = 0\n"
        "try:\n"
        "    while True:\n"
        "        tm.log({'loss': step}, step)\n"
        "        step += 1\n"
        "        if step == 1000: print('running', flush=True)\n"
        "        time.sleep(0.0005)\n"
        "finally:\n"
        "    open(sys.argv[2], 'w').write(str(step))\n"
    )
    count = tmp_path / "count"
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, str(script), str(root), str(count)])
    shown = b""
    while b"running" not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, b"\x03")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) != 0
    reading.settled(root / "interrupted")
    accepted = int(count.read_text())
    steps = reading.steps_of(root / "interrupted", "loss")
    assert steps in (list(range(accepted)), list(range(accepted + 1)))


def test_killed_trainers_leave_no_process_behind(tmp_path: Path, root: Path) -> None:
    for number in range(8):
        process = processes.start_script(
            tmp_path,
            """
            tm.init(sys.argv[2], root_dir=sys.argv[1])
            tm.log({"loss": 1.0}, 0)
            print("logged", flush=True)
            time.sleep(60)
            """,
            root,
            f"run{number % 4}",
        )
        assert process.stdout is not None
        while process.stdout.readline() != "logged\n":
            assert process.poll() is None
        process.kill()
        process.communicate()
    processes.until(lambda: processes.have_left(root), "all monitors to leave")
    for number in range(4):
        assert reading.steps_of(root / f"run{number}", "loss") == [0, 0]


def test_ctrl_c_ends_the_waiting_of_close_and_loses_nothing(tmp_path: Path, root: Path) -> None:
    trainer = processes.start_script(
        tmp_path,
        """
        tm.init("run", root_dir=sys.argv[1], quiet=True, start_monitor=False)
        for step in range(100):
            tm.log({"loss": float(step)}, step)
        print("closing", flush=True)
        tm.close()
        """,
        root,
    )
    assert trainer.stdout is not None
    assert trainer.stdout.readline() == "closing\n"
    began = time.monotonic()
    time.sleep(0.3)  # into the wait, which has no event to be seen from outside
    trainer.send_signal(signal.SIGINT)
    _, err = trainer.communicate(timeout=60)
    took = time.monotonic() - began
    assert trainer.returncode == -signal.SIGINT, err
    assert took < 4.0, "the whole wait is 5 seconds"
    assert "close() was interrupted; the monitor, if there is one, brings home what is left" in err
    assert f"or: training-monitor recover {root / 'run'}\n" in err
    done = processes.training_monitor("recover", root / "run")
    assert done.stdout.startswith("run: 100 points brought home\n")


@pytest.mark.parametrize("command", ["status", "runs", "recover x", "query x 1"])
def test_commands_in_a_directory_that_is_gone_say_so(tmp_path: Path, command: str) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["sh", "-c", f"rmdir {gone}; exec {sys.executable} -m training_monitor {command}"],
        cwd=gone, capture_output=True, text=True, env={**os.environ, "PWD": str(gone)},
    )  # fmt: skip
    said = "training-monitor: the working directory was removed: cd elsewhere\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


def test_a_monitor_killed_just_before_close_is_brought_back_by_it(
    tmp_path: Path, root: Path
) -> None:
    said = processes.run_script(
        tmp_path,
        """
        from harness import processes
        from pathlib import Path
        run = tm.init("killed", root_dir=sys.argv[1], quiet=True, strict=True)
        home = Path(run.dir)
        tm.log({"x": 0.0}, 0)
        processes.until(lambda: run.health().durable, "the monitor to be at work")
        for step in range(1, 1000):
            tm.log({"x": float(step)}, step)
        # Its watcher too: nobody is left who would notice.
        processes.kill_all_mentioning(home)
        tm.close()
        """,
        root,
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[1])},
    )
    assert "not yet in the database" not in said
    reading.settled(root / "killed")
    assert reading.steps_of(root / "killed", "x") == list(range(1000))
