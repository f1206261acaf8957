"""How long does a question in SQL take over a million points, and how does an export compare?"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import page
import training_monitor as tm
from training_monitor.export import ExportOptions, export_run

RECORD = """
import sys
import training_monitor as tm
import page
dicts = page.noisy_dicts(10_000)
with tm.init("query", root_dir=sys.argv[1], quiet=True):
    for step in range(int(sys.argv[2]) // 10):
        tm.log(dicts[step % len(dicts)], step)
"""

QUESTIONS = {
    "count of all": "SELECT count(*) FROM points",
    "mean of all values": "SELECT avg(value) FROM points",
    "all columns of all": "SELECT count(key), sum(step), sum(time), sum(value), sum(rank), "
    "sum(attempt) FROM points",
    "mean per key": "SELECT key, avg(value) FROM points GROUP BY key",
    "raw_points, mean": "SELECT avg(value) FROM raw_points",
    "one key": "SELECT avg(value) FROM points WHERE key = 'loss'",
    "one key, 1,000 steps": "SELECT avg(value) FROM points WHERE key = 'loss' "
    "AND step >= 50000 AND step < 51000",
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    page.heading(f"questions in SQL over {args.points:,} points of 10 keys; the budget is 0.5 s")
    with page.scratch() as directory:
        subprocess.run(
            [sys.executable, "-c", RECORD, str(directory), str(args.points)],
            check=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), "TM_GRACE_SECS": "0"},
        )
        view = tm.open_run(directory / "query")
        rows = []
        for name, sql in QUESTIONS.items():
            times = [timed(partial(view.sql, sql)) for _ in range(args.rounds)]
            rows.append([name, statistics.median(times) * 1e3, min(times) * 1e3, max(times) * 1e3])
        page.table(["ms", "median", "min", "max"], rows)
        rows = []
        for form in ("csv", "jsonl", "parquet"):
            target = directory / f"all.{form}"
            secs = timed(partial(export_run, view.database, str(target), ExportOptions(form)))
            rows.append([form, args.points / secs / 1e6, target.stat().st_size / args.points])
        page.table(["export", "M points/s", "bytes a point"], rows)


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
