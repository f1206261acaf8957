"""Python stacks of ranks that hang: by a signal they offered, with py-spy, and on demand."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import training_monitor as tm
from harness import processes
from training_monitor.machine import Finding
from training_monitor.stacks import Stack

# Far longer than the pauses between the calls below, on a slow machine too.
STUCK = {"TM_STUCK_SECS": "3"}

HANGS = """
import threading
tm.init("hangs", root_dir=sys.argv[1], strict=True, stuck_stacks=sys.argv[2] == "offer")

def wait_for_a_peer_that_never_comes():
    threading.Event().wait(600)

for step in range(30):
    tm.log({"loss": 1.0}, step)
    time.sleep(0.01)
print("hangs", flush=True)
wait_for_a_peer_that_never_comes()
"""


def hanging(tmp_path: Path, root: Path, *, offer: bool = True) -> subprocess.Popen[str]:
    word = "offer" if offer else "no"
    process = processes.start_script(tmp_path, HANGS, root, word, env=STUCK)
    assert process.stdout is not None
    assert process.stdout.readline() == "hangs\n", process.communicate()
    return process


def taken(run_dir: Path) -> list[Stack]:
    try:
        return tm.open_run(run_dir).stacks()
    except tm.RunNotFoundError:
        return []


def told(run_dir: Path) -> list[Finding]:
    return [finding for finding in tm.open_run(run_dir).findings() if finding.source == "steps"]


def journal(run_dir: Path) -> str:
    return (run_dir / "training_monitor.log").read_text()


def test_a_rank_that_hangs_is_told_with_its_stacks_once(tmp_path: Path, root: Path) -> None:
    process = hanging(tmp_path, root)
    run_dir = root / "hangs"
    (stack,) = processes.until(lambda: taken(run_dir), "the stacks of the rank")
    assert (stack.rank, stack.pid, stack.how) == (0, process.pid, "faulthandler")
    assert [frame.partition(" ")[0] for frame in stack.frames][-2:] == [
        "wait_for_a_peer_that_never_comes",
        "<module>",
    ]
    (finding,) = told(run_dir)
    assert (finding.name, finding.stacks, finding.stands) == ("stuck", stack.time, True)
    said = processes.training_monitor("status", run_dir).stdout
    assert re.search(r"rank0 is in +wait \(threading\.py:\d+\) < .*never_comes \(train", said)
    facts = json.loads(processes.training_monitor("show", run_dir, "--json").stdout)
    assert facts["stacks"][0]["frames"] == stack.frames
    assert process.poll() is None, "the signal ended the trainer"
    # The next monitor finds the same silence, whose stacks were taken.
    processes.kill(processes.monitor_pid(run_dir))
    processes.until(lambda: journal(run_dir).count("SQLite") > 1, "the next monitor")
    processes.until(
        # The monitor before it may have been killed before it had said so.
        lambda: "recording 1 of" in journal(run_dir).rpartition("SQLite")[2],
        "it to be at work",
    )
    assert len(taken(run_dir)) == 1


def test_stacks_are_private_and_close_takes_the_offer_back(tmp_path: Path, root: Path) -> None:
    out = processes.run_script(
        tmp_path,
        """
        import glob, signal
        def caught():
            text = open("/proc/self/status").read()
            words = dict(line.split(":", 1) for line in text.splitlines())
            return int(words["SigCgt"], 16)
        before = caught()
        for name in ("first", "second"):
            tm.init(name, root_dir=sys.argv[1], strict=True, stuck_stacks=True, start_monitor=False)
            (path,) = glob.glob(f"{sys.argv[1]}/{name}/.spool/*/*/stacks")
            number = int(open(path).readline().split()[1])
            assert os.stat(path).st_mode & 0o777 == 0o600
            assert caught() == before | 1 << number - 1
            os.kill(os.getpid(), number)
            text = open(path).read()
            assert "most recent call first" in text and "in <module>" in text, text
            tm.close()
            assert caught() == before
            # One that is late ends nothing.
            os.kill(os.getpid(), number)
            print(number)
        """,
        root,
        env={"TM_GRACE_SECS": "0"},
    )
    first, second = map(int, out.split())
    assert first == second, "each run sets another signal aside"
    assert signal.SIGRTMIN <= first < signal.SIGRTMAX


def test_a_signal_of_the_user_is_left_alone(tmp_path: Path, root: Path) -> None:
    processes.run_script(
        tmp_path,
        """
        import glob, signal
        mine = signal.SIGRTMAX - 1
        seen = []
        signal.signal(mine, lambda *_: seen.append(1))
        tm.init("mine", root_dir=sys.argv[1], strict=True, stuck_stacks=True, start_monitor=False)
        (path,) = glob.glob(f"{sys.argv[1]}/mine/.spool/*/*/stacks")
        assert int(open(path).readline().split()[1]) != mine
        os.kill(os.getpid(), mine)
        assert seen == [1]
        """,
        root,
    )


def test_a_program_that_closes_whatever_is_open_keeps_its_own_files(
    tmp_path: Path, root: Path
) -> None:
    processes.run_script(
        tmp_path,
        """
        tm.init("closes", root_dir=sys.argv[1], strict=True, stuck_stacks=True, start_monitor=False)
        (fd,) = [fd for fd in os.listdir("/proc/self/fd")
                 if os.path.realpath(f"/proc/self/fd/{fd}").endswith("/stacks")]
        mine = os.open(os.devnull, os.O_RDONLY)
        os.dup2(mine, int(fd))
        tm.close()
        os.fstat(int(fd))
        tm.init("gone", root_dir=sys.argv[1], strict=True, stuck_stacks=True, start_monitor=False)
        (fd,) = [fd for fd in os.listdir("/proc/self/fd")
                 if os.path.realpath(f"/proc/self/fd/{fd}").endswith("/stacks")]
        os.close(int(fd))
        tm.close()
        """,
        root,
    )


def test_a_forked_child_leaves_the_stacks_of_its_parent_alone(tmp_path: Path, root: Path) -> None:
    processes.run_script(
        tmp_path,
        """
        import glob
        tm.init("forks", root_dir=sys.argv[1], strict=True, stuck_stacks=True, start_monitor=False)
        (path,) = glob.glob(f"{sys.argv[1]}/forks/.spool/*/*/stacks")
        number = int(open(path).readline().split()[1])
        os.kill(os.getpid(), number)
        before = open(path).read()
        pid = os.fork()
        if pid == 0:
            tm.log({"loss": 1.0}, 0)
            os.kill(os.getpid(), number)
            tm.close()
            os.kill(os.getpid(), number)
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert open(path).read().startswith(before)
        os.kill(os.getpid(), number)
        assert open(path).read().count("in <module>") >= 2
        """,
        root,
    )


def test_the_command_prints_the_stacks_of_all_ranks_now(tmp_path: Path, root: Path) -> None:
    run_dir = root / "hangs"
    nobody = processes.training_monitor("stacks", run_dir)
    assert nobody.returncode == 1
    process = hanging(tmp_path, root)
    for _ in range(2):
        done = processes.training_monitor("stacks", run_dir)
        assert done.returncode == 0, done
        assert (
            f"rank 0 (pid {process.pid} on {os.uname().nodename}), by faulthandler" in done.stdout
        )
        assert done.stdout.count("in wait_for_a_peer_that_never_comes") == 1, done.stdout
    stopped = time.monotonic()
    process.send_signal(signal.SIGSTOP)
    done = processes.training_monitor("stacks", run_dir)
    process.send_signal(signal.SIGCONT)
    assert time.monotonic() - stopped < 40
    assert (done.returncode, "no answer within 5 s: it is stopped" in done.stdout) == (1, True)
    facts = json.loads(processes.training_monitor("stacks", run_dir, "--json").stdout)
    assert [stack["rank"] for stack in facts["stacks"]] == [0]
    assert process.poll() is None
    process.kill()
    process.communicate()
    processes.until(
        lambda: processes.training_monitor("stacks", run_dir).stdout.startswith("nobody"),
        "nobody to be left",
    )


def test_a_process_that_does_not_catch_the_signal_any_more_is_not_sent_it(
    tmp_path: Path, root: Path
) -> None:
    process = processes.start_script(
        tmp_path,
        """
        import glob, signal
        tm.init("hangs", root_dir=sys.argv[1], strict=True, stuck_stacks=True, start_monitor=False)
        (path,) = glob.glob(f"{sys.argv[1]}/hangs/.spool/*/*/stacks")
        signal.signal(int(open(path).readline().split()[1]), signal.SIG_DFL)
        print("ready", flush=True)
        time.sleep(600)
        """,
        root,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    done = processes.training_monitor("stacks", root / "hangs")
    assert (done.returncode, "it does not wait for signal" in done.stdout) == (1, True), done
    assert process.poll() is None


def py_spy(directory: Path, body: str) -> str:
    """Make a program that stands in for py-spy, and return a PATH with it."""
    directory.mkdir()
    program = directory / "py-spy"
    program.write_text(f"#!{sys.executable}\nimport sys, time\n{body}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return f"{directory}:{os.environ['PATH']}"


ANSWERS = """
assert sys.argv[1:4] == ["dump", "--nonblocking", "--pid"], sys.argv
print(f"Process {sys.argv[4]}: python train.py --api-key=abcdef")
print('Python v3.11.7\\n\\nThread 1 (idle): "MainThread"')
print("    wait (threading.py:1)\\n    step (train.py:2)")
print('Thread 2 (idle): "reader"\\n    read (x.py:3)')
"""


def test_without_an_offer_py_spy_is_asked(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", py_spy(tmp_path / "bin", ANSWERS))
    process = hanging(tmp_path, root, offer=False)
    (stack,) = processes.until(lambda: taken(root / "hangs"), "the stacks of the rank")
    assert (stack.pid, stack.how) == (process.pid, "py-spy")
    assert stack.frames == ["wait (threading.py:1)", "step (train.py:2)"]
    assert "api-key" not in stack.text


def test_what_py_spy_may_not_do_is_told_once_and_is_no_finding(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = "sys.exit('Error: Permission Denied: Try running again with elevated permissions')"
    monkeypatch.setenv("PATH", py_spy(tmp_path / "bin", refused))
    process = hanging(tmp_path, root, offer=False)
    run_dir = root / "hangs"
    said = f"no stacks of rank 0 (pid {process.pid} on {os.uname().nodename}): py-spy: Permission"
    processes.until(lambda: said in journal(run_dir), "the refusal in the journal")
    assert journal(run_dir).count("no stacks of") == 1
    (finding,) = processes.until(lambda: told(run_dir), "the finding")
    assert (finding.name, finding.stacks, taken(run_dir)) == ("stuck", None, [])
