"""System calls of the monitor that kill it, fail, or say that nothing reached the disk."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import training_monitor as tm
from faults.board.row import Measured, Row, Stage
from harness import processes, reading
from harness.faulty import Call, Fault, Faults

STORED, UNREAD, WORKERS_CALLS = 400, 3000, 50
MOST_OF_A_KIND = 120
# What is in the database when recovery begins, and what is still in ring and chain files.
BASE = f"""
tm.init("run", root_dir=sys.argv[1], strict=True, quiet=True)
for step in range({STORED}):
    tm.log({{"old": float(step)}}, step)
tm.close()
"""
REST = f"""
tm.init("run", root_dir=sys.argv[1], strict=True, quiet=True, start_monitor=False)
for step in range({UNREAD}):
    tm.log({{"new": float(step), "twice": 2.0 * step, "note": "of step " + str(step)}}, step)
if os.fork() == 0:
    for step in range({WORKERS_CALLS}):
        tm.log({{"worker": float(step)}}, step)
    os._exit(0)
os.wait()
os._exit(0)
"""
WANTED: dict[str, list[tuple[int, object]]] = {
    "old": [(step, float(step)) for step in range(STORED)],
    "new": [(step, float(step)) for step in range(UNREAD)],
    "twice": [(step, 2.0 * step) for step in range(UNREAD)],
    "note": [(step, f"of step {step}") for step in range(UNREAD)],
    "worker": [(step, float(step)) for step in range(WORKERS_CALLS)],
}


@dataclass(frozen=True, slots=True)
class Point:
    """One system call of a recovery, and what happens to it."""

    call: Call
    at: int
    fault: Fault
    detail: int = 0

    def __str__(self) -> str:
        code = errno.errorcode.get(self.detail, "")
        return f"{self.call.name} {self.at} {self.fault.name} {code}".strip()


def make_base(directory: Path) -> Path:
    """Leave a run of which one attempt is stored and the next one unread."""
    environment = {"TM_LANE_BYTES": str(64 << 10), "TM_GRACE_SECS": "0.2"}
    processes.run_script(directory, BASE, directory / "runs", env=environment)
    reading.settled(directory / "runs" / "run")
    processes.run_script(directory, REST, directory / "runs", env=environment)
    return directory / "runs" / "run"


def recover(run_dir: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `training-monitor recover`."""
    command = [sys.executable, "-m", "training_monitor", "recover", str(run_dir)]
    return subprocess.run(
        command, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=120
    )


def calls_of_a_recovery(base: Path, directory: Path) -> Counter[Call]:
    """Return how many system calls of each kind a recovery makes that nothing disturbs."""
    run_dir = directory / "whole" / "run"
    shutil.copytree(base, run_dir)
    faults = Faults(directory / "whole" / "faults", below=run_dir)
    done = recover(run_dir, faults.env)
    assert done.returncode == 0, done.stdout + done.stderr
    check(run_dir, "nothing")
    return Counter({call: faults.count(call) for call in Call})


def check(run_dir: Path, what: object) -> None:
    """Check that everything is there, once."""
    for key, wanted in WANTED.items():
        found = reading.raw(run_dir, key)
        assert found == wanted, f"after {what}: {key} has {len(found)} of {len(wanted)} points"
    gaps = tm.open_run(run_dir).gaps
    assert not gaps, f"after {what}: {gaps}"


def strike(base: Path, directory: Path, number: int, point: Point) -> str:
    """Let a recovery meet one point, and the next one finish; return what the first one did."""
    run_dir = directory / str(number) / "run"
    shutil.copytree(base, run_dir)
    faults = Faults(directory / str(number) / "faults", below=run_dir)
    faults.arm(point.call, at=point.at, fault=point.fault, detail=point.detail)
    first = recover(run_dir, faults.env)
    told = "Traceback" in first.stderr or "panicked" in first.stderr
    assert not told, f"{point}: {first.stdout}{first.stderr}"
    killed = first.returncode == -9
    assert killed == (faults.done > 0 and point.fault is not Fault.FAIL), f"{point}: {first}"
    second = recover(run_dir)
    assert second.returncode == 0, f"after {point}: {second.stdout}{second.stderr}"
    check(run_dir, point)
    shutil.rmtree(run_dir.parent)
    if not faults.done:
        return "not met"
    return "killed" if killed else "failed" if first.returncode else "borne"


def points(calls: Counter[Call], stage: Stage) -> list[Point]:
    """Return the points to meet: calls of all kinds in the long form, a few in the short one."""
    rng = stage.rng()
    fates = [
        (Fault.KILL_BEFORE, 0), (Fault.KILL_AFTER, 0),
        (Fault.FAIL, errno.EIO), (Fault.FAIL, errno.ENOSPC),
    ]  # fmt: skip
    every = [
        Point(call, at, *fate)
        for call, count in calls.items()
        for at, fate in zip(chosen(count, stage), itertools.cycle(rng.sample(fates, 4)))
    ]
    return every if stage.full else rng.sample(every, 6)


def chosen(count: int, stage: Stage) -> list[int]:
    """Return which calls of a kind are met: all, or so many of the kinds with very many."""
    calls = range(1, count + 1)
    return sorted(stage.rng(count).sample(calls, min(count, MOST_OF_A_KIND)))


def fail_points(stage: Stage) -> Measured:
    """Strike every system call by which a recovery touches the run."""
    base = make_base(stage.directory)
    calls = calls_of_a_recovery(base, stage.directory)
    every = points(calls, stage)
    with ThreadPoolExecutor(3) as pool:
        futures = [
            pool.submit(strike, base, stage.directory, number, point)
            for number, point in enumerate(every)
        ]
        fates = Counter(future.result() for future in futures)
    kinds = ", ".join(f"{count} {fate}" for fate, count in sorted(fates.items()))
    told = ", ".join(f"{count} {call.name.lower()}" for call, count in calls.items() if count)
    text = f"{len(every)} of the calls ({told}): {kinds}; 0 lost, 0 twice"
    return Measured(text, True)


EIO = """
tm.init("run", root_dir=sys.argv[1], strict=True, quiet=True)
import select
step = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(20):
        tm.log({"loss": float(step), "twice": 2.0 * step}, step)
        step += 1
    time.sleep(0.005)
said = sys.stdin.readline()
if said == "durable\\n":
    print(tm.health().durable, flush=True)
    sys.stdin.readline()
else:
    tm.close()
    print(step, flush=True)
"""


def fail_syncs(stage: Stage, number: int) -> tuple[int, int]:
    """Let every nth sync of one run fail; return how many failed, and the points acknowledged."""
    rng, directory = stage.rng(number), stage.directory / f"eio{number}"
    directory.mkdir()
    run_dir = directory / "runs" / "run"
    faults = Faults(directory / "faults", below=run_dir, only="bootstrap.py")
    script = directory / "train.py"
    script.write_text(processes.PRELUDE + EIO)
    every, least = rng.randint(1, 6), rng.randint(1, stage.size(6, 2))
    faults.arm(Call.SYNC, at=rng.randint(1, 6), every=every, fault=Fault.FAIL, detail=errno.EIO)
    process = subprocess.Popen(
        [sys.executable, str(script), str(run_dir.parent)],
        env={**os.environ, **faults.env, "TM_GRACE_SECS": "0.2", "TM_LANE_BYTES": str(64 << 10)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    processes.until(lambda: faults.done >= least or process.poll() is not None, "syncs to fail")
    processes.until(lambda: faults.count(Call.SYNC) >= 8 or process.poll() is not None, "syncs")
    failed = faults.done
    if number % 2:
        faults.disarm()
        out, err = process.communicate("close\n", timeout=120)
        assert process.returncode == 0, err
        reading.settled(run_dir)
        count = int(out)
        assert recover(run_dir).returncode == 0
        acked = 2 * count
    else:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("durable\n")
        process.stdin.flush()
        acked = int(process.stdout.readline())
        processes.kill_all_mentioning(directory)
        process.communicate()
        # What was acknowledged stands in the database alone: the lanes may be gone.
        shutil.rmtree(run_dir / ".spool")
        count = acked // 2
    if count:
        loss, twice = reading.raw(run_dir, "loss"), reading.raw(run_dir, "twice")
        assert loss[:count] == [(s, float(s)) for s in range(count)], f"{number}: acked, then lost"
        assert twice[:count] == [(s, 2.0 * s) for s in range(count)], f"{number}: acked, then lost"
        assert number % 2 == 0 or len(loss) == count, f"{number}: {len(loss)} of {count}"
        assert len({s for s, _ in loss}) == len(loss), f"{number}: twice"
    shutil.rmtree(directory)
    return failed, acked


def failing_syncs(stage: Stage) -> Measured:
    """Let syncs fail in many runs; half of them lose their lanes afterwards."""
    runs = stage.size(100, 2)
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda number: fail_syncs(stage, number), range(runs)))
    failed, acked = (sum(column) for column in zip(*found, strict=True))
    text = f"{runs} runs, {failed:,} syncs failed, {acked:,} points acknowledged, 0 of them lost"
    return Measured(text, True)


ROWS = [
    Row("26", "EIO at every nth fsync", "0 acknowledged, then lost", failing_syncs, 400),
    Row(
        "13",
        "kill, EIO, ENOSPC at system calls",
        "all kinds visited; 0 lost, 0 twice",
        fail_points,
        500,
    ),
]
