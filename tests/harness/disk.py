"""Small disks: a tmpfs in an unprivileged user and mount namespace."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PRELUDE = '''
import atexit, os, signal, subprocess, sys, textwrap, time
from pathlib import Path
import training_monitor as tm
from harness import processes, reading

def mount(target, size, *, remount=False):
    Path(target).mkdir(parents=True, exist_ok=True)
    flags = f"size={size}" + (",remount" if remount else "")
    subprocess.run(["mount", "-t", "tmpfs", "-o", flags, "tmpfs", target], check=True)

def bind(source, target):
    Path(source).mkdir(parents=True, exist_ok=True)
    Path(target).mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", source, target], check=True)

def mount_network(target):
    """A real file system that is not on the list, and counts as one of the network."""
    Path(target).mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "ramfs", "-o", "mode=700", "ramfs", target], check=True)

def mount_fuse(target, size):
    """A file system of a process of its own, as sshfs is; it ends with this script."""
    Path(target).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "harness.fuse", target, str(size)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if server.stdout.readline() != "mounted\\n":
        print("no /dev/fuse here", file=sys.stderr)
        sys.exit(77)
    atexit.register(server.kill)
    return server

def no_local_disk():
    """Leave no directory on a local disk where lanes or a database could go."""
    os.environ.pop("TMPDIR", None)
    for place in ("/var/tmp", "/tmp"):
        mount_network(f"{place}/training_monitor-{os.geteuid()}")

def local_disk(path):
    """Make a directory the place for what cannot lie on a network file system."""
    Path(path).mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = str(path)
    return Path(path) / f"training_monitor-{os.geteuid()}"

def elsewhere(hidden, body):
    """Start a script on what looks like another machine: named otherwise, without our disk."""
    script = textwrap.dedent(ELSEWHERE) + textwrap.dedent(body)
    return subprocess.Popen(
        ["unshare", "-um", sys.executable, "-c", script, str(root), str(hidden)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )

ELSEWHERE = """
    import os, socket, subprocess, sys
    from pathlib import Path
    import training_monitor as tm
    from harness import processes, reading
    root = Path(sys.argv[1])
    socket.sethostname("another")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=700", "tmpfs", sys.argv[2]], check=True)
"""

root = Path(sys.argv[1])
'''


TRAINER = '''
TRAINER = """
import os, sys
import training_monitor as tm
tm.init("net", root_dir=sys.argv[1], strict=True)
print("ready", flush=True)
sys.stdin.readline()
for step in range(int(sys.argv[2]), int(sys.argv[3])):
    tm.log({"loss": step * 0.5, "lr": 1e-3}, step)
print("logged", flush=True)
sys.stdin.readline()
"""

def train(first, end):
    command = [sys.executable, "-c", TRAINER, str(root), str(first), str(end)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\\n"
    return process

def log_all(process):
    process.stdin.write("\\n")
    process.stdin.flush()
    assert process.stdout.readline() == "logged\\n"

def copy_of(run_dir):
    return tm.open_run(run_dir / "training_monitor.db")

def until_stored(path, count):
    def stored():
        try:
            view = tm.open_run(path)
            return not count or len(view.series("loss", raw=True).step) >= count
        except (tm.TrainingMonitorError, OSError, KeyError):
            return False
    processes.until(stored, f"{count} points in {path}")

def kill_all(run_dir, trainer):
    """Kill the trainer, its monitor, and whatever these had started meanwhile."""
    trainer.kill()
    trainer.communicate()
    def are_dead():
        found = processes.mentioning(run_dir)
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not found
    processes.until(are_dead, "all to die")

'''


@cache
def refusal() -> str:
    """Return why this machine lets nobody mount a tmpfs, or an empty string."""
    command = ["unshare", "-Urm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return "no unshare(1) here"
    return done.stderr.strip() if done.returncode else ""


def run_with_small_disk(directory: Path, root: Path, body: str, *, within_secs: float = 150) -> str:
    """Run a script that may mount; what it asserts fails the test that called."""
    if refusal():
        text = f"no tmpfs in a user namespace: {refusal()}"
        # `.ci/run` sets it where namespaces worked when it began.
        if os.environ.get("SMALL_DISKS") == "required":
            pytest.fail(text)
        pytest.skip(text)
    script = directory / "small_disk.py"
    script.write_text(PRELUDE + textwrap.dedent(body))
    done = subprocess.run(
        ["unshare", "-Urm", sys.executable, str(script), str(root)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within_secs,
        cwd=directory,
    )
    if done.returncode == 77:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def run_on_network_disk(directory: Path, root: Path, body: str) -> None:
    """Run a script that may mount, and that knows how to train and to kill a training."""
    run_with_small_disk(directory, root, TRAINER + textwrap.dedent(body))
