"""Does it stay flat? Many points over many keys into one run, then reading them."""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import page
import training_monitor as tm
from bench_overhead import MIB, resident_bytes
from bench_query import timed
from bench_sustained import monitor_of, wait_for_the_monitor

VARIANTS = 97
SAMPLES = 10
BACKLOG_BYTES = 32 << 20
# The backlog is looked at after so many points.
LOOK_POINTS = 10_000
VIEW_POINTS = 2_000
ROUNDS = 5
MOST_SECS = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """How it stood after a part of the points.

    Attributes:
        points: Accepted so far.
        points_per_sec: Since the sample before.
        trainer_mib: Memory of this process besides the lanes.
        monitor_mib: Memory of the monitor.
        file_mib: Size of the database and its log.
    """

    points: int
    points_per_sec: float
    trainer_mib: float
    monitor_mib: float
    file_mib: float


def dicts_of(keys: int, width: int) -> list[list[dict[str, float]]]:
    """Return, for each layout of `width` keys, some dicts of noisy floats."""
    source = random.Random(7)
    names = [f"layer{number // width}/metric{number % width}" for number in range(keys)]
    return [
        [
            {name: 1.0 + 0.1 * source.gauss(0, 1) for name in names[first : first + width]}
            for _ in range(VARIANTS)
        ]
        for first in range(0, keys, width)
    ]


def record(run_dir: Path, layouts: list[list[dict[str, float]]], points: int) -> list[Sample]:
    """Log all points at the rate at which the monitor takes them; look ten times."""
    width = len(layouts[0][0])
    steps = points // (width * len(layouts))
    marks = {steps * part // SAMPLES - 1 for part in range(1, SAMPLES + 1)}
    look_every = max(1, LOOK_POINTS // (width * len(layouts)))
    samples: list[Sample] = []
    began, before = time.perf_counter(), 0
    for step in range(steps):
        for variants in layouts:
            tm.log(variants[step % len(variants)], step)
        while step % look_every == 0 and tm.health().backlog_bytes > BACKLOG_BYTES:
            time.sleep(0.002)
        if step in marks:
            now, done = time.perf_counter(), (step + 1) * width * len(layouts)
            samples.append(sample(run_dir, done, (done - before) / (now - began)))
            began, before = time.perf_counter(), done
    return samples


def sample(run_dir: Path, points: int, rate: float) -> Sample:
    """Look at the processes and the files."""
    files = sum(path.stat().st_size for path in run_dir.glob("training_monitor.db*"))
    trainer = resident_bytes(os.getpid(), without=f"{run_dir}/")
    return Sample(
        points, rate, trainer / MIB, resident_bytes(monitor_of(run_dir)) / MIB, files / MIB
    )


def reading_rows(run_dir: Path, key: str, steps: int) -> list[list[object]]:
    """Time what a reader asks of the finished run."""
    view = tm.open_run(run_dir)
    count = len(view.series(key))
    mean = f"SELECT avg(value) FROM points WHERE key = '{key}'"  # noqa: S608 -- our own key
    window = f" AND step >= {steps // 2} AND step < {steps // 2 + 1000}"
    questions: dict[str, Callable[[], object]] = {
        f"all {count:,} points of one key": partial(view.series, key),
        f"a view of {VIEW_POINTS:,} points of it": partial(
            view.series, key, max_points=VIEW_POINTS
        ),
        "SQL: mean of that key": partial(view.sql, mean, timeout_secs=600.0),
        "SQL: mean of 1,000 steps of it": partial(view.sql, mean + window),
        "metrics(): a line for each key": view.metrics,
        "steps(): the last 20": view.steps,
    }
    rows: list[list[object]] = []
    for name, question in questions.items():
        times: list[float] = []
        while len(times) < ROUNDS and sum(times) < MOST_SECS:
            times.append(timed(question))
        rows.append([name, statistics.median(times) * 1e3, max(times) * 1e3])
    return rows


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10_000_000, help="the promise: 100000000")
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=100, help="keys of one call")
    args = parser.parse_args()
    page.heading(f"{args.points:,} points over {args.keys:,} keys into one run")
    os.environ["TM_GRACE_SECS"] = "0.1"
    with page.scratch() as directory:
        run_dir = directory / "scale"
        layouts = dicts_of(args.keys, args.width)
        tm.init("scale", root_dir=directory, quiet=True, strict=True)
        began = time.perf_counter()
        samples = record(run_dir, layouts, args.points)
        accepted = tm.health().accepted
        while tm.health().durable < accepted:
            time.sleep(0.01)
        durable_secs = time.perf_counter() - began
        tm.close()
        wait_for_the_monitor(run_dir)
        closed_secs = time.perf_counter() - began
        columns = ["points", "M points/s", "trainer, MiB", "monitor, MiB", "files, MiB"]
        page.table(columns, [
            [it.points, it.points_per_sec / 1e6, it.trainer_mib, it.monitor_mib, it.file_mib]
            for it in samples
        ])  # fmt: skip
        size = (run_dir / "training_monitor.db").stat().st_size
        page.table(["all of it", ""], [
            ["points accepted", accepted],
            ["M points/s until durable", accepted / durable_secs / 1e6],
            ["s until sealed, and the monitor gone", closed_secs],
            ["bytes/point", size / accepted],
        ])  # fmt: skip
        steps = args.points // args.keys
        page.table(
            ["reading, ms", "median", "max"],
            reading_rows(run_dir, next(iter(layouts[0][0])), steps),
        )


if __name__ == "__main__":
    main()
