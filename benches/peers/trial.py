"""One scenario of one tracker, in a fresh process of the tracker's environment.

`python -m peers.trial NAME SCENARIO DIRECTORY PLAN`; the result is DIRECTORY/SCENARIO.json.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from peers import adapters
from peers.adapter import Adapter, Log
from peers.plan import Plan
from process_tree import services_cpu_secs
from sample import KEYS, noisy_dicts
from workload import work

CHUNK_CALLS = 50
PACE_SECS = 1e-3
WARM_CALLS = 20

Result = dict[str, Any]
clock = time.perf_counter


def speed(tracker: Adapter, directory: Path, plan: Plan) -> Result:
    """Log in a plain loop; end when all is closed and fsynced."""
    dicts, began = noisy_dicts(plan.dicts), clock()
    tracker.load()
    loaded = clock()
    log = tracker.open(directory)
    opened = clock()
    before = sizes(directory)
    first = clock()
    chunks = full_speed(log, dicts, plan.speed_secs, plan.most_calls)
    logged = clock()
    tracker.close()
    closed = clock()
    fsync_all(directory)
    calls = len(chunks) * CHUNK_CALLS
    return {
        "import_ms": (loaded - began) * 1e3,
        "init_ms": (opened - loaded) * 1e3,
        "close_ms": (closed - logged) * 1e3,
        "points": calls * len(KEYS),
        "call_ns": statistics.median(chunks) / CHUNK_CALLS * 1e9,
        "points_per_sec": calls * len(KEYS) / (clock() - first),
        "bytes_before": before,
    }


def full_speed(log: Log, dicts: list[dict[str, float]], secs: float, most: int) -> list[float]:
    """Log for `secs`, `most` calls at most; return how long each chunk of calls took."""
    chunks: list[float] = []
    now = clock()
    deadline = now + secs
    for first in range(0, most, CHUNK_CALLS):
        at = first % len(dicts)
        chunk, began = dicts[at : at + CHUNK_CALLS], now
        for step, metrics in enumerate(chunk, first):
            log(metrics, step)
        now = clock()
        chunks.append(now - began)
        if now > deadline:
            break
    return chunks


def latency(tracker: Adapter, directory: Path, plan: Plan) -> Result:
    """Time every single call at full speed."""
    log, dicts = started(tracker, directory), noisy_dicts(plan.dicts)
    times: list[int] = []
    note, now = times.append, time.perf_counter_ns
    deadline = clock() + plan.latency_secs
    for step in range(plan.most_calls):
        metrics = dicts[step % len(dicts)]
        began = now()
        log(metrics, step)
        note(now() - began)
        if not step % CHUNK_CALLS and clock() > deadline:
            break
    tracker.close()
    times.sort()
    percentile = {share: times[int(len(times) * share)] for share in (0.5, 0.99, 0.999)}
    return {
        "calls": len(times),
        "p50_us": percentile[0.5] / 1e3,
        "p99_us": percentile[0.99] / 1e3,
        "p999_us": percentile[0.999] / 1e3,
        "max_us": times[-1] / 1e3,
    }


def paced(tracker: Adapter, directory: Path, plan: Plan) -> NoReturn:
    """Log 1,000 dicts a second; tell the CPU until then, the driver knows the rest.

    The services get time to start, and the interpreter ends at once, so that neither start nor
    end is counted.
    """
    log, dicts = started(tracker, directory), noisy_dicts(plan.dicts)
    at_pace(log, dicts, WARM_CALLS, plan.settle_secs)
    time.sleep(plan.settle_secs)
    services = services_cpu_secs(os.getppid(), os.getpid())
    own = time.process_time()
    calls = int(plan.paced_secs / PACE_SECS)
    calls = at_pace(log, dicts, calls, 2 * plan.paced_secs, first=WARM_CALLS)
    tracker.close()
    logging = time.process_time() - own
    atexit._run_exitfuncs()
    save(directory, "paced", {
        "calls": calls,
        "points": calls * len(KEYS),
        "services_before_secs": services,
        "logging_secs": logging,
        "trainer_secs": time.process_time(),
    })  # fmt: skip
    sys.stdout.flush()
    os._exit(0)


def at_pace(
    log: Log, dicts: list[dict[str, float]], calls: int, most_secs: float, *, first: int = 0
) -> int:
    """Log one dict a millisecond from step `first` on; return how many until time was over."""
    began = clock()
    for call in range(calls):
        now = clock()
        if (wait := began + call * PACE_SECS - now) > 0:
            time.sleep(wait)
        elif now - began > most_secs:
            return call
        log(dicts[call % len(dicts)], first + call)
    return calls


def stolen(tracker: Adapter, directory: Path, plan: Plan) -> Result:
    """Do work of a millisecond and one call, over and over."""
    log, dicts = started(tracker, directory), noisy_dicts(plan.stolen_steps)
    for step in range(WARM_CALLS):
        work(plan.work)
        log(dicts[step % len(dicts)], step)
    time.sleep(plan.settle_secs)
    began, steps = clock(), 0
    for step, metrics in enumerate(dicts, WARM_CALLS):
        work(plan.work)
        log(metrics, step)
        steps += 1
        if clock() - began > plan.stolen_steps * PACE_SECS * 4:
            break
    step_ms = (clock() - began) / steps * 1e3
    tracker.close()
    return {"steps": steps, "step_ms": step_ms}


def killed(tracker: Adapter, directory: Path, plan: Plan) -> NoReturn:
    """Log at full speed and die with the last call."""
    log, dicts = started(tracker, directory), noisy_dicts(plan.killed_calls)
    save(directory, "killed", {"points": len(dicts) * len(KEYS)})
    for step, metrics in enumerate(dicts):
        log(metrics, step)
    die()


def killed_paced(tracker: Adapter, directory: Path, plan: Plan) -> NoReturn:
    """Log 1,000 dicts a second and die with the last call."""
    log, dicts = started(tracker, directory), noisy_dicts(plan.killed_paced_calls)
    save(directory, "killed_paced", {"points": len(dicts) * len(KEYS)})
    at_pace(log, dicts, len(dicts), float("inf"))
    die()


def die() -> NoReturn:
    """End as the out-of-memory killer ends a training."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable: SIGKILL cannot be caught")


def read(tracker: Adapter, directory: Path, plan: Plan) -> Result:
    """Count what the tracker's own reader gives back."""
    del plan
    return {"points": tracker.readable(directory)}


def started(tracker: Adapter, directory: Path) -> Log:
    """Import and open."""
    tracker.load()
    return tracker.open(directory)


def sizes(directory: Path) -> dict[str, int]:
    """Return the size of every file below, by its relative name."""
    found = {}
    for parent, _, names in os.walk(directory):
        for name in names:
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                found[str(path.relative_to(directory))] = path.stat().st_size
    return found


def fsync_all(directory: Path) -> None:
    """Bring everything below to the disk; what vanishes meanwhile needs none."""
    for name in sizes(directory):
        try:
            fd = os.open(directory / name, os.O_RDONLY)
        except FileNotFoundError:
            continue
        os.fsync(fd)
        os.close(fd)


def save(directory: Path, scenario: str, result: Result) -> None:
    """Leave the result where the driver looks for it."""
    directory.with_name(f"{scenario}.json").write_text(json.dumps(result))


SCENARIOS: dict[str, Callable[[Adapter, Path, Plan], Result]] = {
    "speed": speed,
    "latency": latency,
    "paced": paced,
    "stolen": stolen,
    "killed": killed,
    "killed_paced": killed_paced,
    "read": read,
}


def main() -> None:
    """Run the scenario that the command line names."""
    name, scenario, where, plan = sys.argv[1:]
    directory = Path(where)
    result = SCENARIOS[scenario](adapters.adapter(name), directory, Plan.of(plan))
    save(directory, scenario, result)


if __name__ == "__main__":
    main()
