"""What does one log() cost? Beside the floor F, json.dumps + write, and an empty call."""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import page
import training_monitor as tm

Log = Callable[[dict[str, Any], int], object]
DICTS = 10_000
BACKLOG_BYTES = 1 << 20
PERCENTILES = (50, 99, 99.9, 99.99)


def wait_until_drained() -> None:
    """Let the monitor catch up, so that the ring and not the disk is measured."""
    while tm.health().backlog_bytes > BACKLOG_BYTES:
        time.sleep(0.01)


def mean_ns(log: Log, dicts: list[dict[str, Any]], rounds: int = 15) -> float:
    """Return the time of one call in a plain loop, less the loop itself; median of the rounds."""
    results = []
    for _ in range(rounds):
        wait_until_drained()
        began = time.perf_counter_ns()
        for step, metrics in enumerate(dicts):
            log(metrics, step)
        middle = time.perf_counter_ns()
        for _step, _metrics in enumerate(dicts):
            pass
        results.append((2 * middle - began - time.perf_counter_ns()) / len(dicts))
    return statistics.median(results)


def latencies_ns(log: Log, dicts: list[dict[str, Any]], calls: int, *, drain: bool) -> np.ndarray:
    """Return the time of every single call, timer included."""
    clock = time.perf_counter_ns
    times = np.empty(calls, dtype=np.int64)
    for first in range(0, calls, len(dicts)):
        if drain:
            wait_until_drained()
        chunk: list[int] = []
        note = chunk.append
        for step, metrics in enumerate(dicts, first):
            began = clock()
            log(metrics, step)
            note(clock() - began)
        times[first : first + len(chunk)] = chunk
    return times


def row(name: str, times: np.ndarray) -> list[object]:
    """Return one line of the latency table."""
    return [
        name,
        *(int(np.percentile(times, p)) for p in PERCENTILES),
        int(times.max()),
        len(times),
    ]


def as_type(
    convert: Callable[[float], object], dicts: list[dict[str, float]]
) -> list[dict[str, Any]]:
    """Return the dicts with every value converted."""
    return [{key: convert(value) for key, value in metrics.items()} for metrics in dicts]


def with_fresh_keys(dicts: list[dict[str, float]]) -> list[dict[str, Any]]:
    """Return the dicts with key strings that were built anew for each."""
    return [{"".join(list(key)): value for key, value in metrics.items()} for metrics in dicts]


def json_writer(path: Path) -> Log:
    """Return the usual home-made recorder: one JSON line per call, buffered."""
    file = path.open("w")

    def log(metrics: dict[str, Any], step: int) -> None:
        file.write(json.dumps({"step": step, **metrics}) + "\n")

    return log


def stop_monitor(run_dir: Path, number: int) -> None:
    """Send a signal to the monitor and its children."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if str(run_dir).encode() in (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), number)
            except OSError:
                continue


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    args = parser.parse_args()
    page.heading("One call of log()")
    with page.scratch() as directory:
        floor = page.build_floor(directory)
        tm.init("bench", root_dir=directory / "runs", quiet=True, strict=True)
        dicts: list[dict[str, Any]] = list(page.noisy_dicts(DICTS))
        to_json = json_writer(directory / "log.jsonl")

        kinds = {
            "10 floats": dicts,
            "10 numpy.float64": as_type(np.float64, dicts),
            "10 numpy.float32": as_type(np.float32, dicts),
            "10 0-d arrays": as_type(np.array, dicts),
            "10 floats, fresh keys": with_fresh_keys(dicts),
        }
        rows: list[list[object]] = []
        for name, values in kinds.items():
            bare, ours = mean_ns(floor.log, values), mean_ns(tm.log, values)
            rows.append([name, ours, bare, ours / bare])
        print("Nanoseconds a call in a plain loop, loop subtracted; F is the bare C floor.\n")
        page.table(["values", "tm.log", "F", "ratio"], rows)
        empty, lines, ours = (mean_ns(log, dicts) for log in (floor.empty, to_json, tm.log))
        page.table(
            ["beside it, 10 floats", "ns", "x tm.log"],
            [
                ["empty C call", empty, empty / ours],
                ["json.dumps + write", lines, lines / ours],
            ],
        )

        print("Nanoseconds of single calls, two clock reads included.\n")
        few = args.calls // 5
        measured = [
            row("empty C call", latencies_ns(floor.empty, dicts, args.calls, drain=False)),
            row("floor F", latencies_ns(floor.log, dicts, args.calls, drain=False)),
            row("tm.log", latencies_ns(tm.log, dicts, args.calls, drain=True)),
            row("json.dumps + write", latencies_ns(to_json, dicts, few, drain=False)),
        ]
        stop_monitor(directory / "runs" / "bench", signal.SIGSTOP)
        measured.append(
            row("tm.log, monitor stopped", latencies_ns(tm.log, dicts, few, drain=False))
        )
        stop_monitor(directory / "runs" / "bench", signal.SIGCONT)
        page.table(["", *(f"p{p}" for p in PERCENTILES), "max", "calls"], measured)
        tm.close()


if __name__ == "__main__":
    main()
