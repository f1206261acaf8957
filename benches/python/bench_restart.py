"""How soon is a brain that was killed up to date again, and what does that take?"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import page
import training_monitor as tm
from bench_detect import METRICS, brain_of

# Logs so many steps at such a rate, with a jump that stays, and then goes on slowly.
TRAINER = """
import math, random, sys, time
import training_monitor as tm
from bench_detect import METRICS
root, count, secs = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
tm.init("long", root_dir=root, quiet=True, strict=True, config={"max_steps": 2 * count})
draw, began = random.Random(1), time.perf_counter()
for step in range(10**9):
    high = 6.0 if step > 0.97 * count else 0.0
    level = 2.0 + 3.0 * math.exp(-5.0 * step / count) + high
    tm.log({name: level + draw.gauss(0, 0.02) for name in METRICS}, step)
    if step == count:
        print("there", flush=True)
    if step > count:
        time.sleep(0.01)
    elif step % 100 == 0:
        time.sleep(max(0.0, step * secs / count - (time.perf_counter() - began)))
"""
_QUIET_SECS = 3.0


def brain_pid(root: str) -> int:
    """Return the pid of the brain of the run below a directory, or 0."""
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if b"--brain" in words and root.encode() in words:
            return int(entry.name)
    return 0


def known(run: Path) -> tuple[list[object], list[object]]:
    """Return what was found in a run, and its phases."""
    view = tm.open_run(run)
    found = [(one.name, one.step, one.over) for one in view.findings() if one.by == "detector"]
    return list(found), [(one.after, one.step) for one in view.phases()]


def is_at_rest(root: str) -> bool:
    """Wait a moment; return whether the brain used hardly anything meanwhile."""
    used = brain_of(root)[0]
    time.sleep(_QUIET_SECS)
    return brain_of(root)[0] - used < 0.1 * _QUIET_SECS


def restarted(root: str) -> tuple[float, float, float]:
    """Kill the brain; return seconds until the next one is up to date, its CPU seconds and MiB."""
    pid = brain_pid(root)
    os.kill(pid, signal.SIGKILL)
    while brain_pid(root) in (0, pid):
        time.sleep(0.01)
    began = time.monotonic()
    while not is_at_rest(root):
        pass
    secs = time.monotonic() - began - _QUIET_SECS
    status = Path(f"/proc/{brain_pid(root)}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return secs, brain_of(root)[0], int(peak.split()[1]) / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--secs", type=float, default=90.0, help="in which they are logged")
    arguments = parser.parse_args()
    page.heading("A brain that is killed")
    with page.scratch() as directory:
        paths = str(page.REPOSITORY / "benches/python")
        steps = arguments.points // len(METRICS)
        words = [sys.executable, "-c", TRAINER, str(directory), str(steps), str(arguments.secs)]
        trainer = subprocess.Popen(
            words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
        )
        assert trainer.stdout is not None
        trainer.stdout.readline()
        while not is_at_rest(str(directory)):
            pass
        before = known(directory / "long")
        secs, cpu, peak = restarted(str(directory))
        same = "yes" if known(directory / "long") == before else "no"
        trainer.terminate()
        trainer.wait()
    rows = [(f"{arguments.points:,}", f"{secs:.1f}", f"{cpu:.1f}", f"{peak:.0f}", same)]
    page.table(("points", "s to be up to date", "s of CPU", "MiB", "findings the same"), rows)


if __name__ == "__main__":
    main()
