"""The end of a training whose monitor is dead, stands still, or has a slow disk."""

from __future__ import annotations

import itertools
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faults.board.row import Measured, Row, Stage
from harness import processes, reading
from harness.faulty import Call, Fault, Faults

State = Literal["live", "dead", "stopped", "slow"]
CALLS = 2000
FAREWELLS = ["close", "exit", "_exit", "exception"]
SCRIPT = """
import os, signal, sys, time
from pathlib import Path
import training_monitor as tm
from harness import processes
root, name, state, farewell = sys.argv[1:]
tm.init(name, root_dir=root, strict=True, quiet=True, start_monitor=state != "dead")
run_dir = Path(root, name)
tm.log({"loss": 0.0}, 0)
if state != "dead":
    processes.until(lambda: tm.health().durable, "the first point to be stored")
if state == "stopped":
    for pid in processes.mentioning(run_dir):
        os.kill(pid, signal.SIGSTOP)
for step in range(1, int(os.environ["CALLS"])):
    tm.log({"loss": float(step)}, step)
began = time.monotonic()
print("ends", began, flush=True)
if farewell == "close":
    tm.close()
    print("closed", time.monotonic() - began, flush=True)
elif farewell == "_exit":
    os._exit(0)
elif farewell == "exception":
    sys.stderr = open(os.devnull, "w")
    raise RuntimeError("a training that fails")
"""
LEAVES_SECS = 6.0


@dataclass(frozen=True, slots=True)
class End:
    """How one training ended: the state of its monitor, seconds to its end and within close()."""

    state: State
    whole_secs: float
    close_secs: float | None


def end_one(directory: Path, number: int, state: State, farewell: str) -> End:
    """Run one training to its end, then see that its points come home."""
    script, root, name = directory / "end.py", directory / "runs", f"run{number}"
    faults = Faults(directory / f"{name}.faults", below=root / name, only="bootstrap.py")
    if state == "slow":
        faults.arm(Call.SYNC, at=1, every=1, fault=Fault.SLOW, detail=300_000)
    process = subprocess.Popen(
        [sys.executable, str(script), str(root), name, state, farewell],
        env={
            **os.environ, **(faults.env if state == "slow" else {}), "CALLS": str(CALLS),
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "TM_GRACE_SECS": "0.2",
            "TM_SYSTEM_INTERVAL_SECS": "none",
        },
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise AssertionError(f"{farewell} with a {state} monitor never ended") from None
    ended = time.monotonic()
    assert process.returncode == (farewell == "exception"), out + err
    told = dict(line.split() for line in out.splitlines())
    come_home(root / name, state)
    assert reading.raw(root / name, "loss") == [(s, float(s)) for s in range(CALLS)], name
    closed = told.get("closed")
    return End(state, ended - float(told["ends"]), float(closed) if closed else None)


def come_home(run_dir: Path, state: State) -> None:
    """Bring home what such a monitor left."""
    for pid in processes.mentioning(run_dir) if state == "stopped" else []:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    reading.settled(run_dir)
    if state == "dead":
        done = processes.training_monitor("recover", run_dir)
        assert done.returncode == 0, done.stdout + done.stderr


def plan(count: int) -> Iterator[tuple[State, str]]:
    """Yield states and ways to end, all of them in turn."""
    states: list[State] = ["live", "dead", "stopped", "slow"]
    pairs = [(state, farewell) for farewell in FAREWELLS for state in states]
    yield from itertools.islice(itertools.cycle(pairs), count)


def ends(stage: Stage) -> Measured:
    """End many trainings, a few at a time: most of them wait."""
    (stage.directory / "end.py").write_text(SCRIPT)
    jobs = list(plan(stage.size(300, 8)))
    with ThreadPoolExecutor(stage.size(8, 3)) as pool:
        futures = [
            pool.submit(end_one, stage.directory, number, state, farewell)
            for number, (state, farewell) in enumerate(jobs)
        ]
        found = [future.result() for future in futures]
    longest = max(it.whole_secs for it in found)
    live = [it.close_secs for it in found if it.state == "live" and it.close_secs is not None]
    p50 = statistics.median(live) * 1e3 if live else float("nan")
    text = (
        f"{len(found)} ends, {sum(it.whole_secs <= LEAVES_SECS for it in found)} within 6 s, "
        f"longest {longest:.1f} s; close() with a live monitor {p50:.0f} ms in the middle"
    )
    return Measured(text, not stage.full or (longest <= LEAVES_SECS and p50 <= 50))


ROWS = [
    Row(
        "9", "exit beside a live, dead, stopped, slow monitor", "all <= 6 s; close() p50 <= 50 ms",
        ends, 400,
    )
]  # fmt: skip
