"""How many points a second, from the first log() to closed, fsynced and readable? How large?"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import page
import training_monitor as tm

ROWS = 20_000


def dicts_of(kind: str) -> list[dict[str, float]]:
    """Return the metrics of one kind of data."""
    noisy = page.noisy_dicts(ROWS)
    if kind == "constant":
        return [dict.fromkeys(page.KEYS, 0.1)] * ROWS
    if kind == "float32-born":
        return [{key: float(np.float32(value)) for key, value in row.items()} for row in noisy]
    return noisy


def fsync_all(directory: Path) -> int:
    """Fsync every file and return their total size; what the monitor removes meanwhile is done."""
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            try:
                fd = os.open(os.path.join(place, name), os.O_RDONLY)
            except FileNotFoundError:
                continue
            os.fsync(fd)
            total += os.fstat(fd).st_size
            os.close(fd)
    return total


def record(root: Path, kind: str, calls: int) -> tuple[float, float, float]:
    """Log at full speed; return points/s, bytes/point and ns per call while logging."""
    dicts = dicts_of(kind)
    run = tm.init(kind, root_dir=root, quiet=True, strict=True)
    log, began = tm.log, time.perf_counter()
    for first in range(0, calls, ROWS):
        for step, metrics in enumerate(dicts, first):
            log(metrics, step)
    logged = time.perf_counter()
    accepted = tm.health().accepted
    while tm.health().durable < accepted:
        time.sleep(0.005)
    tm.close()
    fsync_all(root / kind)
    ended = time.perf_counter()
    assert accepted == calls * len(page.KEYS), accepted
    del run
    wait_for_the_monitor(root / kind)
    database = (root / kind / "training_monitor.db").stat().st_size
    series = tm.open_run(root / kind).series("kl", raw=True)
    assert len(series.step) == calls, len(series.step)
    return accepted / (ended - began), database / accepted, (logged - began) / calls * 1e9


def monitor_of(run_dir: Path) -> int:
    """Return the pid of the run's monitor, once it has started."""
    lock = run_dir / ".monitor.lock"
    deadline = time.monotonic() + 60
    while not (lock.exists() and lock.read_text().strip()):
        if time.monotonic() > deadline:
            sys.exit(f"no monitor of {run_dir} within 60 s")
        time.sleep(0.005)
    return int(lock.read_text().split()[0])


def wait_for_the_monitor(run_dir: Path) -> None:
    """Wait until the monitor has sealed, closed and left."""
    lock = run_dir / ".monitor.lock"
    deadline = time.monotonic() + 60
    while lock.exists() and lock.read_text().strip() and time.monotonic() < deadline:
        if not Path("/proc", lock.read_text().split()[0]).exists():
            return
        time.sleep(0.02)


def json_lines(path: Path, calls: int) -> float:
    """Return points/s of the home-made recorder, to closed and fsynced."""
    dicts = dicts_of("noisy-float64")
    began = time.perf_counter()
    with path.open("w") as file:
        for first in range(0, calls, ROWS):
            for step, metrics in enumerate(dicts, first):
                file.write(json.dumps({"step": step, **metrics}) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return calls * len(page.KEYS) / (time.perf_counter() - began)


def chunks_into_sqlite(path: Path, points: int) -> float:
    """Return points/s of SQLite itself: uncompressed chunks of 1,024 points, synchronous=FULL."""
    chunk = np.random.default_rng(7).bytes(1024 * 12)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE p(key INTEGER, first INTEGER, v BLOB)")
    began = time.perf_counter()
    for first in range(0, points, 1024 * 100):
        database.execute("BEGIN")
        rows = ((key % 10, first, chunk) for key in range(100))
        database.executemany("INSERT INTO p VALUES(?, ?, ?)", rows)
        database.execute("COMMIT")
    database.close()
    return points / (time.perf_counter() - began)


def in_fresh_process(measure: str, *args: object) -> list[float]:
    """Run one measurement in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", measure, *map(str, args)],
        stdout=subprocess.PIPE, text=True, check=True,
        env={**os.environ, "TM_GRACE_SECS": "0.1"},
    )  # fmt: skip
    return [float(word) for word in done.stdout.split()]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=20_000_000)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        what, where, count = args.measure[0], Path(args.measure[1]), int(args.measure[2])
        plain: dict[str, Callable[[Path, int], float]] = {
            "json": json_lines, "sqlite": chunks_into_sqlite
        }  # fmt: skip
        print(*([plain[what](where, count)] if what in plain else record(where, what, count)))
        return
    page.heading("Sustained, first log() to closed, fsynced and readable")
    calls = args.points // len(page.KEYS)
    with page.scratch() as directory:
        rows: list[list[object]] = []
        for kind in ["noisy-float64", "float32-born", "constant"]:
            speed, size, call = in_fresh_process(kind, directory, calls)
            rows.append([f"training_monitor, {kind}", speed / 1e6, size, call])
        (speed,) = in_fresh_process("json", directory / "log.jsonl", calls // 4)
        size = (directory / "log.jsonl").stat().st_size / float(calls // 4 * len(page.KEYS))
        rows.append(["json.dumps + write", speed / 1e6, size, 1e9 * len(page.KEYS) / speed])
        (speed,) = in_fresh_process("sqlite", directory / "limit.db", args.points)
        rows.append(["limit: raw chunks into SQLite", speed / 1e6, 12.0, "-"])
        columns = ["", "M points/s", "bytes/point", "ns/call while logging"]
        page.table(columns, rows)


if __name__ == "__main__":
    main()
