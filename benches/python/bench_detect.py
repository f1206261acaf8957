"""What does it cost to judge a point, and to judge a run while it is recorded?"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import page
from training_monitor import _core
from training_monitor.detect.thresholds import Thresholds
from training_monitor.detect.watch import Watch

MIB = 2**20
METRICS = ("train/loss", "lr", "grad_norm", "tokens_per_sec", "mfu", "epoch", "weight_norm",
           "z_loss", "aux_loss", "entropy")  # fmt: skip
# Logs so many metrics so often, and says what the brain has used from the twelfth second on.
TRAINER = """
import math, random, sys, time
import training_monitor as tm
from bench_detect import METRICS, brain_of
root, width, rate, secs = sys.argv[1], *map(int, sys.argv[2:])
tm.init("judged", root_dir=root, quiet=True, config={"max_steps": 10**7})
names = list(METRICS) + [f"layer{n}/norm" for n in range(width - len(METRICS))]
draw, began, step, before = random.Random(1), time.perf_counter(), 0, None
while (now := time.perf_counter() - began) < secs:
    if before is None and now > 12.0:
        before = (now, brain_of(root)[0])
    tm.log({name: 2.0 + math.exp(-step / 1e4) + draw.gauss(0, 0.02) for name in names}, step)
    step += 1
    time.sleep(max(0.0, step / rate - (time.perf_counter() - began)))
used, resident = brain_of(root)
print((used - before[1]) / (now - before[0]), resident, step * width / now)
tm.close()
"""


def brain_of(root: str) -> tuple[float, float]:
    """Return the seconds of CPU and the MiB of the brain of the run below a directory."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes()
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
            pages = int((entry / "statm").read_text().split()[1])
        except OSError:
            continue
        if b"--brain" in words and root.encode() in words:
            ticks = int(stat[11]) + int(stat[12])
            return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / MIB
    return float("nan"), float("nan")


def cpu_ns(work: Callable[[], object], count: int) -> float:
    """Return nanoseconds of CPU per point, the least of three."""
    least = float("inf")
    for _ in range(3):
        began = time.process_time_ns()
        work()
        least = min(least, (time.process_time_ns() - began) / count)
    return least


def screened(bounds: Mapping[str, Any], columns: tuple[bytes, bytes, bytes]) -> None:
    """Look at columns with these detectors."""
    _core.Screen(**bounds).feed(*columns)


def report_points(count: int) -> None:
    """What a point costs, beside one pass over the values."""
    rng, steps = np.random.default_rng(1), np.arange(count)
    values = 2.0 + np.exp(-steps / 1e4) + rng.normal(0.0, 0.02, count)
    times = 1.7e9 + steps * 1e-3
    ok = Thresholds()
    columns = steps.tobytes(), times.tobytes(), values.tobytes()
    kinds: dict[str, dict[str, Any]] = {
        "not finite": {},
        "spikes": {"spike": ok.spike.bounds},
        "spikes and divergence": {"spike": ok.spike.bounds, "divergence": ok.divergence.bounds},
        "slowdown": {"slowdown": ok.slowdown.bounds},
    }
    one_pass = cpu_ns(lambda: np.median(values), count)
    rows = [("np.median of all, for comparison", f"{one_pass:.0f}", "")]
    for name, bounds in kinds.items():
        ns = cpu_ns(partial(screened, bounds, columns), count)
        rows.append((f"screen: {name}", f"{ns:.0f}", "300"))

    def watched() -> None:
        watch = Watch()
        for at in range(0, count, 1000):
            part = slice(at, at + 1000)
            watch.feed("train/loss", steps[part], values[part], times[part])

    rows.append(("all detectors of a training loss", f"{cpu_ns(watched, count):.0f}", ""))
    page.table(("a point", "ns of CPU", "budget"), rows)


def report_brain(secs: int) -> None:
    """What the process costs."""
    rows = []
    for width, rate, budget in ((10, 1000, "2"), (10, 1, ""), (10_000, 10, "")):
        with page.scratch() as directory:
            words = [str(directory), str(width), str(rate), str(secs)]
            paths = os.pathsep.join(str(page.REPOSITORY / name) for name in ("benches/python",))
            done = subprocess.run(
                [sys.executable, "-c", TRAINER, *words], check=True, capture_output=True,
                text=True, env={**os.environ, "PYTHONPATH": paths},
            )  # fmt: skip
        share, resident, points = map(float, done.stdout.split())
        what = f"{width:,} metrics at {rate:,} steps a second ({points:,.0f} points)"
        rows.append((what, f"{share * 100:.2f}", budget, f"{resident:.0f}"))
    page.table(("the brain", "% of a core", "budget", "MiB"), rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--secs", type=int, default=42, help="of each run")
    arguments = parser.parse_args()
    page.heading("Detection")
    report_points(arguments.points)
    report_brain(arguments.secs)


if __name__ == "__main__":
    main()
