"""The trainer that the kill oracle kills: it logs as fast as told and counts in shared memory.

The values are a pure function of seed and index, so the judge can check each of them without having
been told any.
"""

from __future__ import annotations

import argparse
import mmap
import os
import random
import sys
import time

WIDE = [f"layer{n}/norm" for n in range(8)]
ODD = ["count", "big", "flag"]  # one call in sixteen carries these in place of the floats
ODD_PERIOD, ODD_PHASE = 16, 7
ROWS = 1024
STRIDE = 10**9  # of steps between two attempts
ACCEPTED, STOP, STARTED_NS, CELLS = 0, 1, 2, 8


def table(seed: int) -> list[list[float]]:
    """Return the float values: row `index % ROWS` belongs to call `index`."""
    source = random.Random(seed)
    return [[source.uniform(-1e6, 1e6) for _ in WIDE] for _ in range(ROWS)]


def typed(index: int) -> bool:
    """Return whether this call carries the odd types in place of the floats."""
    return index % ODD_PERIOD == ODD_PHASE


def odd_values(index: int) -> dict[str, object]:
    """Return the metrics of a typed call."""
    return {"count": index, "big": 2**70 + index, "flag": index % 32 == 7}


def run(args: argparse.Namespace) -> None:
    """Log until told to stop, or until killed."""
    import training_monitor as tm

    with open(args.counter, "r+b") as file:
        cells = memoryview(mmap.mmap(file.fileno(), 8 * CELLS)).cast("Q")
    rows = [dict(zip(WIDE, row, strict=True)) for row in table(args.seed)]
    for row in rows:
        row["index"] = 0.0
    tm.init(args.name, root_dir=args.root, strict=True)
    log, first = tm.log, args.attempt * STRIDE
    cells[STARTED_NS] = time.monotonic_ns()
    index = 0
    while not cells[STOP]:
        burst_end = time.perf_counter() + args.burst_calls / args.calls_per_sec
        for index in range(index, index + args.burst_calls):  # noqa: B020
            if typed(index):
                log(odd_values(index), first + index)
            else:
                row = rows[index % ROWS]
                row["index"] = float(index)
                log(row, first + index)
            cells[ACCEPTED] = index + 1
        index += 1
        time.sleep(max(0.0, burst_end - time.perf_counter()))
    if args.farewell == "close":
        tm.close()
    elif args.farewell == "_exit":
        os._exit(0)
    sys.exit(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--counter", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--attempt", type=int, required=True)
    parser.add_argument("--calls-per-sec", type=float, required=True)
    parser.add_argument("--burst-calls", type=int, required=True)
    parser.add_argument("--farewell", choices=["close", "exit", "_exit"], required=True)
    run(parser.parse_args())
