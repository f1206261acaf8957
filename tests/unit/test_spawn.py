"""Starting a process that has nothing to do with this one."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from training_monitor import _core
from training_monitor.errors import SettingError
from training_monitor.settings import resolve
from training_monitor.spawn import handed_on

REPORT = """
import json, os, signal, sys
report = {
    "pid": os.getpid(),
    "parent": os.getppid(),
    "session": os.getsid(0),
    "cwd": os.getcwd(),
    "files": {n: os.readlink(f"/proc/self/fd/{n}") for n in ("0", "1", "2")},
    "count": len(os.listdir("/proc/self/fd")),
    "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
    "usr1": int(signal.getsignal(signal.SIGUSR1)),
    "environment": dict(os.environ),
}
print(json.dumps(report), flush=True)
"""


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, f"nothing in {path}"
        time.sleep(0.01)
    return path.read_text()


def test_the_process_inherits_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    seen: list[int] = []
    on_child = signal.signal(signal.SIGCHLD, lambda number, _frame: seen.append(number))
    on_usr1 = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        with open(tmp_path / "open", "w") as file:
            os.set_inheritable(file.fileno(), True)
            pid = _core.spawn_detached(
                [sys.executable, "-c", REPORT], {"A": "b", "\udc80": "\udc81"}, str(log)
            )
        report = json.loads(wait_for(log))
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGUSR1, on_usr1)
        signal.signal(signal.SIGCHLD, on_child)
    assert report["pid"] == pid
    assert report["parent"] != os.getpid()
    assert report["session"] != os.getsid(0)
    assert report["cwd"] == "/"
    assert report["files"] == {"0": "/dev/null", "1": str(log), "2": str(log)}
    assert report["count"] == 4  # and the directory that it lists
    assert report["blocked"] == []
    assert report["usr1"] == signal.SIG_DFL
    assert report["environment"].items() >= {"A": "b", "\udc80": "\udc81"}.items()
    assert "PATH" not in report["environment"]
    assert seen == []
    assert log.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("argv", "error", "message"),
    [
        (["/nonexistent"], FileNotFoundError, "No such file"),
        (["no-such-program"], FileNotFoundError, "no program no-such-program on PATH"),
        (["/etc/passwd"], PermissionError, "Permission denied"),
        ([], OSError, "an empty command"),
        (["true", "a\0b"], OSError, "NUL"),
    ],
)
def test_what_cannot_be_started_says_why(
    tmp_path: Path, argv: list[str], error: type[OSError], message: str
) -> None:
    with pytest.raises(error, match=message):
        _core.spawn_detached(argv, {}, str(tmp_path / "log"))


def test_threads_may_start_processes_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = ["sh", "-c", "echo x"]

    def start() -> None:
        for _ in range(10):
            _core.spawn_detached(command, {"PATH": os.environ["PATH"]}, str(log))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deadline = time.monotonic() + 60
    while log.read_text() != "x\n" * 80:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)


def test_without_a_command_there_is_no_monitor_to_start(tmp_path: Path) -> None:
    program = "from training_monitor import _core; print(_core.spawn_monitor())"
    log = tmp_path / "log"
    _core.spawn_detached([sys.executable, "-c", program], dict(os.environ), str(log))
    assert wait_for(log) == "0\n"


def test_what_is_handed_on_reads_back_as_it_was() -> None:
    given = {
        "experiment_name": "x", "notify": ["json://a,b", "c"], "gpus": [], "total_steps": 5,
        "alert_command": ["a b", "c"], "idle_timeout_min": 2.5, "system_interval_secs": None,
        "code_snapshot_paths": ["a dir/", "b"], "privacy": "no-code", "detection": False,
    }  # fmt: skip
    settings = resolve(given, {})
    read = resolve({"experiment_name": "x"}, handed_on(settings))
    handed = (given.keys() - {"experiment_name"}) | {"openai_model"}
    assert {name: read.values[name] for name in handed} == {
        name: settings.values[name] for name in handed
    }


def test_a_wrong_json_list_names_the_value() -> None:
    with pytest.raises(SettingError, match=r"TM_NOTIFY='\[a' is not valid: it begins as a JSON"):
        resolve({"experiment_name": "x"}, {"TM_NOTIFY": "[a"})
