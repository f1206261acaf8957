"""How a trainer ended that did not close: what the run says afterwards."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
from pathlib import Path

import pytest

import training_monitor as tm
from harness import processes, reading
from training_monitor.ranks import Rank

START = """
import resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
tm.init("run", root_dir=sys.argv[1], quiet=True)
for step in range(5):
    tm.log({"loss": float(step)}, step)
while tm.health().durable < 5:
    time.sleep(0.01)
print("ready", flush=True)
"""
KEPT_BY_THE_KERNEL = tuple(map(int, platform.release().split(".")[:2])) >= (6, 15)


def start(tmp_path: Path, root: Path, then: str) -> subprocess.Popen[str]:
    process = processes.start_script(tmp_path, START + then, root)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def only_rank(root: Path) -> Rank:
    reading.settled(root / "run")
    assert reading.steps_of(root / "run", "loss") == list(range(5))
    (rank,) = tm.open_run(root / "run").ranks()
    return rank


def findings(root: Path) -> list[tuple[str, str]]:
    found = tm.open_run(root / "run").findings()
    return [(it.source, it.name) for it in found if it.source.endswith("/end")]


@pytest.mark.parametrize("reaped", [False, True], ids=["not waited for", "waited for"])
@pytest.mark.parametrize(
    ("then", "code", "signal_name", "exit_code", "name"),
    [
        ("time.sleep(600)", -signal.SIGKILL, "SIGKILL", None, "killed"),
        ("os.kill(os.getpid(), 11)", -signal.SIGSEGV, "SIGSEGV", None, "crashed"),
        ("os._exit(7)", 7, None, 7, "exited"),
    ],
    ids=["killed", "crashed", "exited"],
)
def test_an_end_without_close_is_told_by_signal_or_exit_code(
    tmp_path: Path,
    root: Path,
    reaped: bool,
    then: str,
    code: int,
    signal_name: str | None,
    exit_code: int | None,
    name: str,
) -> None:
    if reaped and not KEPT_BY_THE_KERNEL:
        pytest.skip("before Linux 6.15 nobody can say how a process ended that was waited for")
    process = start(tmp_path, root, then)
    if name == "killed":
        os.kill(process.pid, signal.SIGKILL)
    if reaped:
        assert process.wait(60) == code
    rank = only_rank(root)
    assert (rank.ended_how, rank.signal, rank.exit_code) == ("died", signal_name, exit_code)
    assert rank.end is not None
    assert f"rank 0 (pid {process.pid} on " in rank.end
    assert rank.end.endswith("its last step was 4")
    assert findings(root) == [("rank0/end", name)]
    told = processes.training_monitor("status", "run", "--root-dir", root)
    assert rank.end in " ".join(told.stdout.split())
    assert process.wait(60) == code


def test_an_exception_that_nobody_catches_is_in_the_run_and_on_the_terminal(
    tmp_path: Path, root: Path
) -> None:
    process = start(
        tmp_path,
        root,
        """
def train():
    raise RuntimeError("out of luck, api_key=sk-abcdefghijklmnopqrstuvwxyz123456")
train()
""",
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "RuntimeError: out of luck" in err
    rank = only_rank(root)
    assert (rank.ended_how, rank.exit_code) == ("died", 1)
    assert rank.exception is not None
    assert rank.exception.startswith("RuntimeError: out of luck")
    assert rank.traceback is not None
    assert "in train" in rank.traceback
    assert "abcdefghijklmnop" not in rank.exception + rank.traceback
    assert rank.end is not None
    assert rank.end.endswith(f"nobody caught {rank.exception}")
    assert findings(root) == [("rank0/end", "exception")]


def test_an_exception_ends_a_with_block_and_is_told(tmp_path: Path, root: Path) -> None:
    body = """
    try:
        with tm.init("run", root_dir=sys.argv[1], quiet=True):
            for step in range(5):
                tm.log({"loss": float(step)}, step)
            {}["missing"]
    except KeyError:
        print("caught outside")
    """
    assert processes.run_script(tmp_path, body, root) == "caught outside\n"
    rank = only_rank(root)
    assert rank.exception == "KeyError: 'missing'"
    assert (rank.ended_how, rank.end) == ("closed", None)
    assert findings(root) == []


def test_an_exception_of_a_thread_is_recorded_and_ends_nothing(tmp_path: Path, root: Path) -> None:
    process = start(
        tmp_path,
        root,
        """
import threading
def work():
    raise ValueError("in a thread")
thread = threading.Thread(target=work, name="loader")
thread.start()
thread.join()
tm.close()
""",
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "ValueError: in a thread" in err
    assert only_rank(root).exception is None
    assert findings(root) == []
    events = reading.stock_query(
        root / "run", "SELECT json_extract(detail, '$.thread') FROM events WHERE kind = 'exception'"
    )
    assert events == [["loader"]]


WORKERS = """
import multiprocessing

def fail(key):
    if multiprocessing.get_start_method() == "spawn":
        tm.init("run", root_dir=sys.argv[1], quiet=True)
    tm.log({"worker": 1.0}, 0)
    raise RuntimeError(f"worker is out of luck, api_key={key}")

def leave():
    tm.log({"worker": 1.0}, 0)
    sys.exit(3)

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[2])
    if sys.argv[2] == "fork":
        tm.init("run", root_dir=sys.argv[1], quiet=True)
        tm.log({"loss": 1.0}, 0)
    codes = []
    for target, words in [(fail, ["sk-proj-abcdefghijklmnopqrstuvwxyz01"]), (leave, [])]:
        worker = multiprocessing.Process(target=target, args=words)
        worker.start()
        worker.join()
        codes.append(worker.exitcode)
    print(codes)
    tm.close()
"""


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_an_exception_of_a_worker_is_recorded_and_still_printed(
    tmp_path: Path, root: Path, how: str
) -> None:
    process = processes.start_script(tmp_path, WORKERS, root, how)
    out, err = process.communicate(timeout=processes.PATIENCE_SECS)
    assert (process.returncode, out) == (0, "[1, 3]\n"), err
    assert "RuntimeError: worker is out of luck" in err
    reading.settled(root / "run")
    rows = reading.stock_query(root / "run", "SELECT detail FROM events WHERE kind = 'exception'")
    assert len(rows) == 1, rows
    assert "worker is out of luck" in rows[0][0]
    assert ", in fail" in rows[0][0]
    assert "abcdefghijklmnop" not in rows[0][0]


def test_the_hooks_of_others_are_still_called(tmp_path: Path, root: Path) -> None:
    process = start(
        tmp_path,
        root,
        """
before = sys.excepthook
def mine(kind, error, trace):
    print("mine", kind.__name__, file=sys.stderr)
    before(kind, error, trace)
sys.excepthook = mine
raise LookupError("x")
""",
    )
    _, err = process.communicate(timeout=60)
    assert err.startswith("mine LookupError\nTraceback")
    assert only_rank(root).exception == "LookupError: x"


def test_what_is_killed_after_close_has_no_end_to_tell(tmp_path: Path, root: Path) -> None:
    process = start(tmp_path, root, 'tm.close()\nprint("closed", flush=True)\ntime.sleep(600)')
    assert process.stdout is not None
    assert process.stdout.readline() == "closed\n"
    os.kill(process.pid, signal.SIGKILL)
    rank = only_rank(root)
    assert (rank.ended_how, rank.end, rank.signal) == ("closed", None, None)
    assert findings(root) == []


def test_forked_workers_that_exit_are_no_finding_and_one_that_crashes_is(
    tmp_path: Path, root: Path
) -> None:
    process = start(
        tmp_path,
        root,
        """
for end in ("os._exit(0)", "os._exit(1)", "os.kill(os.getpid(), 15)", "os.kill(os.getpid(), 11)"):
    pid = os.fork()
    if pid == 0:
        tm.log({"worker": 1.0}, 0)
        while tm.health().durable < 1:
            time.sleep(0.01)
        eval(end)
    os.waitpid(pid, 0)
tm.close()
""",
    )
    process.communicate(timeout=60)
    assert process.returncode == 0
    rank = only_rank(root)
    assert (rank.ended_how, rank.processes) == ("closed", 5)
    found = [name for _, name in findings(root)]
    assert found == (["crashed"] if KEPT_BY_THE_KERNEL else [])
    assert rank.end is None


def test_secrets_at_the_places_where_a_text_is_cut_do_not_get_out(
    tmp_path: Path, root: Path
) -> None:
    process = start(
        tmp_path,
        root,
        """
url = "postgres://user:hunter2" + "x" * 30 + "@host/db"
raise RuntimeError("y" * 475 + " " + url + " " + "z" * 15_900)
""",
    )
    process.communicate(timeout=60)
    rank = only_rank(root)
    assert rank.exception is not None
    assert rank.traceback is not None
    assert len(rank.exception) < 600
    assert "hunter2" not in rank.exception + rank.traceback
    assert "xxxx" not in rank.exception + rank.traceback


def test_a_script_that_ends_without_close_is_no_finding(tmp_path: Path, root: Path) -> None:
    process = start(tmp_path, root, "")
    process.communicate(timeout=60)
    assert process.returncode == 0
    rank = only_rank(root)
    assert (rank.ended_how, rank.exit_code) == ("died", 0)
    assert findings(root) == []


def test_ctrl_c_still_ends_by_the_signal_and_is_no_finding(tmp_path: Path, root: Path) -> None:
    process = start(tmp_path, root, "time.sleep(600)")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in err
    rank = only_rank(root)
    assert (rank.signal, rank.exception) == ("SIGINT", "KeyboardInterrupt")
    assert findings(root) == []
