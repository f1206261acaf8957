"""What do many producers cost, and what happens when the monitor stands still meanwhile?"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

import page
import training_monitor as tm
from bench_overhead import MIB, resident_bytes
from bench_sustained import monitor_of, wait_for_the_monitor
from process_tree import cpu_secs, descendants
from training_monitor.errors import RunNotFoundError

POINTS_PER_CALL = 10
TURN_SECS = 0.01
START_SECS = 60.0

# A rank: says "ready", waits for the word, logs at its rate, says what that took, and waits again
# so that its lanes are measured while nobody leaves.
PRODUCER = """
import os, sys, time
import page
import training_monitor as tm
directory, rate, secs = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
dicts = page.noisy_dicts(1_000)
tm.init("producers", root_dir=directory, quiet=True, start_monitor="auto")
tm.log(dicts[0], 0)
print("ready", flush=True)
sys.stdin.readline()
turn, step = {turn}, 1
began, used = time.perf_counter(), 0.0
while (passed := time.perf_counter() - began) < secs:
    due = int(min(passed + turn, secs) * rate / 10) + 1
    before = time.thread_time()
    for step in range(step, due):
        tm.log(dicts[step % 1_000], step)
    step = max(step, due)
    used += time.thread_time() - before
    time.sleep(turn)
health = tm.health()
print(used, health.accepted, health.rejected, health.backlog_bytes, flush=True)
sys.stdin.readline()
tm.close()
"""


class Ranks:
    """Producers of one run, all at the same point."""

    def __init__(self, directory: Path, count: int, rate: float, secs: float) -> None:
        self.run_dir = directory / "producers"
        self.processes = [
            subprocess.Popen(
                [
                    sys.executable, "-c", PRODUCER.replace("{turn}", str(TURN_SECS)),
                    str(directory), str(rate), str(secs),
                ],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                env={
                    **os.environ, "PYTHONPATH": str(Path(__file__).parent), "TM_RUN_ID": "bench",
                    "TM_GRACE_SECS": "0.5", "RANK": str(rank), "WORLD_SIZE": str(count),
                    "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(count),
                },
            )
            for rank in range(count)
        ]  # fmt: skip
        for process in self.processes:
            assert answer(process) == ["ready"]

    def go(self) -> None:
        """Give the word."""
        for process in self.processes:
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.write("go\n")
                process.stdin.flush()

    def answers(self) -> np.ndarray:
        """Return for each rank: seconds of CPU, accepted points, refused points, backlog."""
        return np.array([[float(word) for word in answer(it)] for it in self.processes])

    def leave(self) -> None:
        """Let them close and end."""
        self.go()
        for process in self.processes:
            process.communicate(timeout=START_SECS)

    def services(self) -> list[int]:
        """Return the monitor and its children, once the monitor has begun to work."""
        deadline = time.monotonic() + START_SECS
        while durable_points(self.run_dir) < len(self.processes):
            if time.monotonic() > deadline:
                sys.exit(f"the monitor did not begin within {START_SECS:g} s")
            time.sleep(0.01)
        monitor = monitor_of(self.run_dir)
        return [monitor, *descendants(monitor)]


def answer(process: subprocess.Popen[str]) -> list[str]:
    """Return the words of the next line of a rank."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        sys.exit(f"a producer ended early, exit code {process.wait()}")
    return line.split()


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Stop processes, and let them go on afterwards, whatever happens."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def durable_points(run_dir: Path) -> int:
    """Return how many points the database has."""
    try:
        return sum(attempt.points for attempt in tm.open_run(run_dir).attempts)
    except RunNotFoundError:
        return 0


def burst(directory: Path, count: int, rate: float, secs: float) -> list[list[object]]:
    """Log with the monitor stopped for all that time, then let it catch up."""
    ranks = Ranks(directory, count, rate, secs)
    services = ranks.services()
    with stopped(services):
        ranks.go()
        answers = ranks.answers()
        spooled = spooled_bytes(ranks.run_dir)
        memory = [resident_bytes(it.pid, f"{ranks.run_dir}/") / MIB for it in ranks.processes]
    began, peak = time.perf_counter(), 0.0
    cpu, accepted = answers[:, 0].sum(), int(answers[:, 1].sum())
    while (durable := durable_points(ranks.run_dir)) < accepted:
        peak = max(peak, resident_bytes(services[0]) / MIB)
        if time.perf_counter() - began > 20 * secs + START_SECS:
            sys.exit(f"{durable:,} of {accepted:,} points durable, and no end in sight")
        time.sleep(0.05)
    caught_up = time.perf_counter() - began
    ranks.leave()
    wait_for_the_monitor(ranks.run_dir)
    stored = sum(metric.count for metric in tm.open_run(ranks.run_dir).metrics())
    return [
        ["points accepted", accepted],
        ["points refused", int(answers[:, 2].sum())],
        ["points in the database afterwards", stored],
        ["points lost", accepted - stored],
        ["M points/s accepted, all producers", accepted / secs / 1e6],
        ["backlog when the monitor goes on, MiB", answers[:, 3].sum() / MIB],
        ["lanes and chain files on the disk then, MiB", spooled / MIB],
        ["s to catch up", caught_up],
        ["M points/s while catching up", accepted / caught_up / 1e6],
        ["largest trainer besides the lanes, MiB", max(memory)],
        ["monitor while catching up, MiB", peak],
        ["CPU of log() a point, ns", cpu / accepted * 1e9],
    ]


def spooled_bytes(run_dir: Path) -> int:
    """Return what the lanes and their chain files take on the disk."""
    return sum(path.stat().st_blocks * 512 for path in (run_dir / ".spool").rglob("*"))


def cost(directory: Path, count: int, rate: float, secs: float) -> tuple[float, float]:
    """Return nanoseconds of CPU a point: of log(), and of the services."""
    ranks = Ranks(directory, count, rate, secs)
    processes = ranks.services()
    before = sum(map(cpu_secs, processes))
    ranks.go()
    answers = ranks.answers()
    accepted = int(answers[:, 1].sum())
    while durable_points(ranks.run_dir) < accepted:
        time.sleep(0.02)
    services = sum(map(cpu_secs, processes)) - before
    ranks.leave()
    wait_for_the_monitor(ranks.run_dir)
    return answers[:, 0].sum() / accepted * 1e9, services / accepted * 1e9


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--producers", type=int, default=64)
    parser.add_argument(
        "--rate", type=float, default=10_000, help="points/s of one producer; the promise: 100000"
    )
    parser.add_argument("--secs", type=float, default=5.0, help="the promise: 30")
    args = parser.parse_args()
    page.heading(
        f"{args.producers} producers of {args.rate:,.0f} points/s, monitor stopped {args.secs:g} s"
    )
    with page.scratch() as directory:
        rows = burst(directory / "burst", args.producers, args.rate, args.secs)
        page.table(["burst", ""], rows)
        counts = [4**power for power in range((args.producers.bit_length() + 1) // 2)]
        costs = [cost(directory / str(it), it, args.rate, args.secs / 2) for it in counts]
        rows = [[count, *ns] for count, ns in zip(counts, costs, strict=True)]
        for column, name in enumerate(("log()", "services")):
            slope, start = np.polyfit(counts, [ns[column] for ns in costs], 1)
            rows.append([f"{name}: {start:.2f} ns + {slope:.3f} ns for each producer", "", ""])
        page.table(["producers", "log(), ns/point", "services, ns/point"], rows)


if __name__ == "__main__":
    main()
