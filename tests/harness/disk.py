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
PRELUDE = """
import os, signal, subprocess, sys, time
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

root = Path(sys.argv[1])
"""


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
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
