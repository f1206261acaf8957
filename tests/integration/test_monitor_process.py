"""The monitor and its poller as real processes: start, watch, drain, leave."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import processes, reading
from harness.disk import run_with_small_disk
from training_monitor import spawn
from training_monitor.monitor.lock import RunLock, holder

IDLE_TRAINER = """
tm.init("run", root_dir=sys.argv[1], quiet=True)
tm.log({"loss": 1.0}, 0)
print("ready", flush=True)
while not os.path.exists(sys.argv[2]):
    time.sleep(0.01)
tm.log({"loss": 2.0}, 1)
"""


def start_idle(tmp_path: Path, root: Path) -> subprocess.Popen[str]:
    process = processes.start_script(tmp_path, IDLE_TRAINER, root, tmp_path / "go on")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    processes.until(lambda: family(root / "run").get("poller"), "monitor and poller")
    return process


def end_idle(tmp_path: Path, process: subprocess.Popen[str]) -> None:
    (tmp_path / "go on").touch()
    processes.finish(process)


def family(run_dir: Path) -> dict[str, int]:
    """Return the processes of a run by role."""
    lines = processes.commands(processes.mentioning(run_dir))
    ours = {pid: line for pid, line in lines.items() if "bootstrap.py" in line}
    return {("poller" if "--pipe" in line else "monitor"): pid for pid, line in ours.items()}


def log_of(run_dir: Path) -> str:
    return (run_dir / spawn.LOG_NAME).read_text()


def test_monitor_leaves_when_everything_is_durable(tmp_path: Path, root: Path) -> None:
    process = start_idle(tmp_path, root)
    recording = "recording 1 of 1 producers"
    processes.until(lambda: recording in log_of(root / "run"), "the journal to say so")
    end_idle(tmp_path, process)
    reading.settled(root / "run")
    assert reading.raw(root / "run", "loss") == [(0, 1.0), (1, 2.0)]
    log = log_of(root / "run")
    assert "left: 2 points durable, 0 bytes not brought home" in log
    assert "Traceback" not in log


def test_poller_is_back_when_killed(tmp_path: Path, root: Path) -> None:
    process = start_idle(tmp_path, root)
    before = family(root / "run")
    time.sleep(1.1)
    processes.kill(before["poller"])
    after = processes.until(
        lambda: (now := family(root / "run")).get("poller") not in (None, before["poller"]) and now,
        "another poller",
        within_secs=10,
    )
    assert after["monitor"] == before["monitor"]
    end_idle(tmp_path, process)
    reading.settled(root / "run")
    assert "the poller died: started another one" in log_of(root / "run")


def test_killed_process_group_of_the_monitor_leaves_the_poller(tmp_path: Path, root: Path) -> None:
    process = start_idle(tmp_path, root)
    before = family(root / "run")
    assert os.getpgid(before["monitor"]) != os.getpgid(process.pid)
    os.killpg(os.getpgid(before["monitor"]), signal.SIGKILL)
    processes.until(
        lambda: processes.monitor_pid(root / "run") not in {0, before["monitor"]},
        "another monitor",
        within_secs=10,
    )
    end_idle(tmp_path, process)
    reading.settled(root / "run")
    assert reading.raw(root / "run", "loss") == [(0, 1.0), (1, 2.0)]
    assert "the monitor died after" in log_of(root / "run")


def test_monitor_ignores_interrupt_and_hangup(tmp_path: Path, root: Path) -> None:
    process = start_idle(tmp_path, root)
    monitor = family(root / "run")["monitor"]
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(monitor, number)
    time.sleep(0.5)
    assert processes.monitor_pid(root / "run") == monitor
    end_idle(tmp_path, process)


def test_monitor_drains_and_leaves_on_sigterm(tmp_path: Path, root: Path) -> None:
    process = start_idle(tmp_path, root)
    os.kill(family(root / "run")["monitor"], signal.SIGTERM)
    processes.until(lambda: not family(root / "run"), "monitor and poller to leave", within_secs=10)
    assert reading.raw(root / "run", "loss") == [(0, 1.0)]
    end_idle(tmp_path, process)
    done = processes.training_monitor("recover", root / "run")
    assert done.returncode == 0, done.stdout
    assert reading.raw(root / "run", "loss") == [(0, 1.0), (1, 2.0)]


def test_second_monitor_of_a_run_leaves_quietly(tmp_path: Path, root: Path) -> None:
    process = processes.start_script(
        tmp_path,
        """
        tm.init("run", root_dir=sys.argv[1], quiet=True)
        tm.log({"loss": 1.0}, 0)
        print("ready", flush=True)
        while not os.path.exists(sys.argv[2]):
            time.sleep(0.01)
        """,
        root,
        tmp_path / "stop",
    )
    processes.until(lambda: processes.monitor_pid(root / "run"), "a monitor")
    processes.until(lambda: "recording 1 of 1" in log_of(root / "run"), "the monitor at work")
    done = subprocess.run(
        spawn.monitor_argv(str(root / "run")), capture_output=True, text=True, timeout=60
    )
    assert process.poll() is None, "the training has not ended: its monitor is still needed"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (tmp_path / "stop").touch()
    processes.finish(process)
    reading.settled(root / "run")
    began = [line for line in log_of(root / "run").splitlines() if " monitor " in line]
    assert len([line for line in began if f" of {root / 'run'}:" in line]) == 1, began


def test_lock_tells_its_holder_and_bears_being_looked_at(tmp_path: Path) -> None:
    assert holder(str(tmp_path)) is None
    lock = RunLock.take(str(tmp_path))
    assert lock is not None
    assert holder(str(tmp_path)) == os.getpid()
    assert RunLock.take(str(tmp_path)) is None
    lock.release()
    assert holder(str(tmp_path)) is None


def test_lock_is_taken_on_a_full_disk_and_its_holder_is_then_unknown(
    tmp_path: Path, root: Path
) -> None:
    run_with_small_disk(
        tmp_path,
        root,
        """
        from training_monitor.monitor.lock import RunLock, holder, monitor_text

        mount(root, "64k")
        with open(root / "fill", "wb", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(4096))
                except OSError:
                    break
        lock = RunLock.take(str(root))
        assert lock is not None
        assert RunLock.take(str(root)) is None
        assert holder(str(root)) == 0
        assert monitor_text(holder(str(root))) == "a monitor whose pid is not known"
        lock.release()
        assert holder(str(root)) is None
        """,
    )


def test_recover_never_says_to_kill_a_monitor_that_it_does_not_know(
    tmp_path: Path, root: Path
) -> None:
    script = """
        tm.init("run", root_dir=sys.argv[1], quiet=True, start_monitor=False)
        tm.log({"loss": 1.0}, 0)
        os._exit(0)
        """
    processes.run_script(tmp_path, script, root)
    lock = RunLock.take(str(root / "run"))
    assert lock is not None
    os.truncate(root / "run" / ".monitor.lock", 0)
    done = processes.training_monitor("recover", root / "run", "--timeout", 0.2)
    assert done.returncode == 1
    assert "a monitor whose pid is not known holds the run" in done.stdout
    assert "kill 0" not in done.stdout
    assert (
        "a monitor whose pid is not known"
        in processes.training_monitor("status", root / "run").stdout
    )
    lock.release()


def test_config_json_tells_what_was_started(tmp_path: Path, root: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    git = ["git", "-c", "user.name=n", "-c", "user.email=e", "-C", str(project)]
    subprocess.run([*git, "init", "-q", "-b", "trunk"], check=True)
    (project / "train.txt").write_text("one")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    (project / "train.txt").write_text("two")
    token = "sk-" + "aB3d" * 12
    process = processes.start_script(
        tmp_path,
        """
        tm.init("run", {"lr": 0.1, "inf": float("inf")}, root_dir=sys.argv[1], quiet=True)
        tm.log({"loss": 1.0}, 0)
        """,
        root,
        f"--api-key={token}",
        "two words",
        cwd=project,
        env={"OPENAI_API_KEY": token, "TELEGRAM_BOT_TOKEN": "123456:secret"},
    )
    processes.finish(process)
    reading.settled(root / "run")
    text = (root / "run" / "config.json").read_text()
    config = json.loads(text, parse_constant=pytest.fail)
    assert config["experiment_name"] == "run"
    assert config["attempt"] == 1
    assert config["config"]["lr"] == 0.1
    assert config["training_command"].startswith(str(tmp_path / "train.py"))
    assert config["training_command"].endswith("'two words'")
    assert config["cwd"] == str(project)
    assert config["host"] == os.uname().nodename
    assert config["git"]["branch"] == "trunk"
    assert config["git"]["dirty"] is True
    assert len(config["git"]["commit"]) == 40
    assert set(config["versions"]) == {"training_monitor", "python", "sqlite"}
    assert config["settings"]["max_conversation_history_tokens"] == 5000
    assert token not in text
    assert "123456:secret" not in text


def test_monitor_raises_its_own_oom_score(tmp_path: Path, root: Path) -> None:
    process = start_idle(tmp_path, root)
    score = Path("/proc/self/oom_score_adj").read_text()
    for pid in family(root / "run").values():
        assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) > int(score)
    end_idle(tmp_path, process)


def test_monitor_stays_small_and_imports_nothing_heavy(tmp_path: Path, root: Path) -> None:
    process = start_idle(tmp_path, root)
    monitor = family(root / "run")["monitor"]
    time.sleep(0.5)
    maps = Path(f"/proc/{monitor}/maps").read_text()
    rss_kib = next(
        int(line.split()[1])
        for line in Path(f"/proc/{monitor}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    assert "numpy" not in maps
    assert "_ssl" not in maps
    assert rss_kib < 60 * 1024
    end_idle(tmp_path, process)


def test_startup_of_the_monitor_is_out_of_reach_of_pythonpath(tmp_path: Path, root: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for name in ("json", "select", "signal", "traceback", "training_monitor"):
        (project / f"{name}.py").write_text("raise SystemExit('a file of the user')\n")
    root.mkdir()
    (root / "run").mkdir()
    log = subprocess.run(
        spawn.monitor_argv(str(root / "run")),
        cwd=project,
        env={**os.environ, "PYTHONPATH": f".:{project}", "TM_GRACE_SECS": "0.1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert log.returncode == 0, log.stderr + log_of(root / "run")
    assert "left: 0 points durable" in log_of(root / "run")


def test_log_is_bounded(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom training_monitor.monitor import journal\n"
        "journal._LIMIT_BYTES = 10_000\n"
        "log = journal.Journal(sys.argv[1], echo=False)\n"
        "for number in range(1000): log.info(f'line {number}\\x1b[31m\\n')\n"
        "print('stdout too', flush=True)\n"
    )
    path = tmp_path / "a.log"
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    text = path.read_text()
    assert len(text) < 11_000
    assert (tmp_path / "a.log.1").stat().st_size < 11_000
    assert "line 999?[31m?\n" in text
    assert text.endswith("stdout too\n")
    assert path.stat().st_mode & 0o077 == 0


def test_two_that_write_one_log_lose_no_line_when_it_is_set_aside(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom training_monitor.monitor import journal\n"
        "journal._LIMIT_BYTES = 20_000\n"
        "first, second = (journal.Journal(sys.argv[1], echo=True) for _ in range(2))\n"
        "for number in range(300):\n"
        "    first.info(f'first {number};')\n"
        "    second.info(f'second {number};')\n"
    )
    path = tmp_path / "a.log"
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True)
    assert done.returncode == 0, done.stderr
    older = (tmp_path / "a.log.1").read_text()
    text = older + path.read_text()
    wanted = [f"{who} {number};" for who in ("first", "second") for number in range(300)]
    assert [line for line in wanted if line not in text] == []
    assert len(older) < 20_200


SHORT_TRAINER = """
tm.init("run", root_dir=sys.argv[1], quiet=True)
for step in range(500):
    tm.log({"loss": float(step)}, step)
tm.close()
"""


@pytest.mark.parametrize("pause_secs", [0.0, 0.4, 1.2])
def test_run_deleted_and_started_again_is_a_new_run(
    tmp_path: Path, root: Path, pause_secs: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TM_GRACE_SECS", "4")
    processes.run_script(tmp_path, SHORT_TRAINER, root)
    old = processes.monitor_pid(root / "run")
    assert old
    shutil.rmtree(root / "run")
    time.sleep(pause_secs)  # The old monitor notices within its tick, or does not.
    processes.run_script(tmp_path, SHORT_TRAINER, root)
    processes.until(lambda: not processes.is_alive(old), "the old monitor to leave")
    reading.settled(root / "run")
    assert reading.steps_of(root / "run", "loss") == list(range(500))
