"""Clocks that jump: the wall clock by a year either way, the clock since boot over a suspend."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import training_monitor as tm
from faults.board.row import Measured, Row, Stage
from harness import processes, reading
from harness.faulty import Faults

YEAR_SECS = 365 * 86_400.0
# The second attempt repeats steps of the first: its values are the ones that count.
TRAINER = """
import select
offset = float(sys.argv[2])
tm.init("run", root_dir=sys.argv[1], strict=True, quiet=True)
step = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(10):
        tm.log({"loss": step + offset}, step)
        step += 1
    time.sleep(0.002)
tm.close()
print(step)
"""


def attempt(directory: Path, faults: Faults, offset: float, jumps: list[tuple[str, float]]) -> int:
    """Train while the clocks jump; return how many calls were made."""
    script = directory / "train.py"
    script.write_text(processes.PRELUDE + TRAINER)
    process = subprocess.Popen(
        [sys.executable, str(script), str(directory / "runs"), str(offset)],
        env={**os.environ, **faults.env, "TM_GRACE_SECS": "0.2"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    processes.until(
        lambda: processes.monitor_pid(directory / "runs" / "run") or process.poll() is not None,
        "a monitor",
    )
    for clock, secs in jumps:
        time.sleep(0.15)  # the clock jumps between calls and commits, wherever they are
        (faults.wall_is_ahead if clock == "wall" else faults.boot_is_ahead)(secs)
    time.sleep(0.15)
    out, err = process.communicate("\n", timeout=120)
    assert process.returncode == 0, err
    reading.settled(directory / "runs" / "run")
    return int(out)


def jump(stage: Stage, number: int) -> tuple[int, int]:
    """Play one run of two attempts; return how many jumps there were, and how many points."""
    rng, directory = stage.rng(number), stage.directory / f"clock{number}"
    directory.mkdir()
    run_dir = directory / "runs" / "run"
    faults = Faults(directory / "faults", below=run_dir)
    asleep, counts, jumps = 0.0, [], 0
    for offset in (0.0, 0.5):
        plan = []
        for _ in range(stage.size(6, 3)):
            if rng.random() < 0.3:
                asleep += rng.uniform(60, 12 * 3600)  # it never goes back
                plan.append(("boot", asleep))
            else:
                plan.append(("wall", rng.choice([-YEAR_SECS, -3600.0, 0.0, 3600.0, YEAR_SECS])))
        counts.append(attempt(directory, faults, offset, plan))
        jumps += len(plan)
    view = tm.open_run(run_dir)
    stored = view.series("loss", raw=True)
    wanted = [float(s) for s in range(counts[0])] + [s + 0.5 for s in range(counts[1])]
    assert np.asarray(stored.value).tolist() == wanted, "lost, doubled or out of order"
    merged = view.series("loss")
    assert np.asarray(merged.value).tolist() == wanted[counts[0] :], "the last attempt counts"
    # The wall clock is shown as it was when somebody looked at it: only a jump turns it back.
    first = np.asarray(stored.time)[: counts[0]]
    assert int((np.diff(first) < 0).sum()) <= jumps, "time goes back without a jump"
    assert not view.gaps, view.gaps
    shutil.rmtree(directory)
    return jumps, len(wanted)


def clocks(stage: Stage) -> Measured:
    """Let the clocks jump under many runs."""
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda n: jump(stage, n), range(stage.size(20, 1))))
    jumps, points = (sum(column) for column in zip(*found, strict=True))
    text = f"{jumps} jumps in {len(found)} runs, {points:,} points: 0 lost, all in order"
    return Measured(text, True)


ROWS = [Row("27", "clock jumps of a year, suspend", "0 lost, order kept", clocks, 300)]
