"""What does recording take from a training of 1,000 steps a second, and from an idle one?"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import page
import training_monitor as tm
from process_tree import adopt_orphans, cpu_secs, descendants, run, services_cpu_secs
from workload import one_millisecond, work

Log = Callable[[Mapping[str, float], int], object]
Result = dict[str, float]
OURS, EMPTY = "training_monitor", "empty"
POINTS_PER_CALL = 10
SETTLE_SECS = 1.5
# A monitor looks around more often in its first three seconds.
YOUNG_SECS = 4.0
WIDE_KEYS = 10_000
MIB = 1 << 20


def empty(metrics: Mapping[str, float], step: int) -> None:
    """Do nothing, in the place of log()."""
    del metrics, step


def opened(kind: str, directory: Path) -> Log:
    """Return what logs: ours, or the empty function."""
    if kind == EMPTY:
        return empty
    tm.init("overhead", root_dir=directory, quiet=True)
    return tm.log


def steps(kind: str, directory: Path, size: Mapping[str, float]) -> Result:
    """Do a millisecond of work and one call, over and over; return the mean."""
    log, dicts, amount = opened(kind, directory), page.noisy_dicts(1_000), int(size["work"])
    total = int(size["secs"] * 1e3)
    time.sleep(SETTLE_SECS)
    began = time.perf_counter()
    for step in range(total):
        work(amount)
        log(dicts[step % len(dicts)], step)
    step_ms = (time.perf_counter() - began) / total * 1e3
    tm.close()
    return {"step_ms": step_ms}


def paced(kind: str, directory: Path, size: Mapping[str, float]) -> Result:
    """Log 1,000 dicts a second; return what all our processes used meanwhile."""
    log, dicts = opened(kind, directory), page.noisy_dicts(1_000)
    calls = int(size["secs"] * 1e3)
    settled = int(YOUNG_SECS * 1e3)
    at_pace(log, dicts, range(settled))
    services, own = services_cpu_secs(os.getppid(), os.getpid()), time.process_time()
    at_pace(log, dicts, range(settled, settled + calls))
    own = time.process_time() - own
    services = services_cpu_secs(os.getppid(), os.getpid()) - services
    tm.close()
    points = calls * POINTS_PER_CALL
    return {"own_us": own / points * 1e6, "services_us": services / points * 1e6}


def at_pace(log: Log, dicts: list[dict[str, float]], steps: range) -> None:
    """Log one dict a millisecond."""
    began = time.perf_counter()
    for call, step in enumerate(steps):
        if (wait := began + call * 1e-3 - time.perf_counter()) > 0:
            time.sleep(wait)
        log(dicts[step % len(dicts)], step)


def idle(kind: str, directory: Path, size: Mapping[str, float]) -> Result:
    """Log nothing for a while; return which share of a core our services use."""
    opened(kind, directory)({"loss": 1.0}, 0)
    time.sleep(YOUNG_SECS)
    services = [pid for pid in descendants(os.getppid()) if pid != os.getpid()]
    before, began = {pid: cpu_secs(pid) for pid in services}, time.perf_counter()
    time.sleep(size["secs"])
    result = {"monitor_percent": 0.0, "poller_percent": 0.0, "brain_percent": 0.0}
    for pid in services:
        used = (cpu_secs(pid) - before[pid]) / (time.perf_counter() - began)
        result[f"{service(pid)}_percent"] += used * 100
    tm.close()
    return result


def service(pid: int) -> str:
    """Return which of our services a process is, by its command."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes()
    if b"--brain" in words:
        return "brain"
    return "poller" if b"--pipe" in words else "monitor"


def memory(kind: str, directory: Path, size: Mapping[str, float]) -> Result:
    """Log 10,000 keys; return what the trainer holds besides the lanes, and each service."""
    log = opened(kind, directory)
    metrics = {f"metric/{number}": float(number) for number in range(WIDE_KEYS)}
    for step in range(int(size["calls"])):
        log(metrics, step)
    while kind == OURS and (health := tm.health()).durable < health.accepted:
        time.sleep(0.01)
    services = [pid for pid in descendants(os.getppid()) if pid != os.getpid()]
    result = {
        "trainer_mib": resident_bytes(os.getpid(), without=f"{directory}/") / MIB,
        "services_mib": sum(resident_bytes(pid) for pid in services) / MIB,
        "largest_service_mib": max(map(resident_bytes, services), default=0) / MIB,
    }
    tm.close()
    return result


def resident_bytes(pid: int, without: str = "\0") -> int:
    """Return the memory that a process holds, without mappings of files below `without`."""
    total, counted = 0, True
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            counted = not (len(words) > 5 and words[5].startswith(without))
        elif words[0] == "Rss:" and counted:
            total += int(words[1]) << 10
    return total


MEASURES = {"steps": steps, "paced": paced, "idle": idle, "memory": memory}


class Trials:
    """Runs each measure in a fresh process and keeps its services apart."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.count = 0

    def result(self, measure: str, kind: str, **size: float) -> Any:
        """Return what one measure says, in a process of its own."""
        self.count += 1
        directory = self.directory / f"{measure}{self.count}"
        directory.mkdir()
        output = directory / "output"
        ended = run(
            [sys.executable, __file__, "--measure", measure, kind, directory, json.dumps(size)],
            cwd=directory,
            env={**os.environ, "TM_GRACE_SECS": "1"},
            output=output,
            limit_secs=300,
        )
        if ended.code:
            sys.exit(f"{measure} of {kind}: exit code {ended.code}\n{output.read_text()}")
        return json.loads(output.read_text().splitlines()[-1])


def interval(values: list[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the mean, by resampling."""
    source = random.Random(7)
    means = sorted(statistics.fmean(source.choices(values, k=len(values))) for _ in range(10_000))
    return means[250], means[-251]


def slowdown(trials: Trials, rounds: int, secs: float) -> list[list[object]]:
    """Compare the steps of ours with those of the empty adapter, and the empty one with itself."""
    amount, source = one_millisecond(), random.Random(7)
    ours: list[float] = []
    noise: list[float] = []
    for _ in range(rounds):
        order = [OURS, EMPTY, "again"]
        source.shuffle(order)
        step_ms = {
            name: trials.result(
                "steps", OURS if name == OURS else EMPTY, work=amount, secs=secs
            )["step_ms"]
            for name in order
        }  # fmt: skip
        ours.append((step_ms[OURS] / step_ms[EMPTY] - 1) * 100)
        noise.append((step_ms["again"] / step_ms[EMPTY] - 1) * 100)
    (low, high), (least, most) = interval(ours), interval(noise)
    return [[
        "slowdown of a 1 ms loop, 1,000 steps/s x 10, %", statistics.fmean(ours),
        f"{low:.2f} to {high:.2f}", f"empty beside itself: {least:.2f} to {most:.2f}",
        verdict(low <= max(most, 0.0)),
    ]]  # fmt: skip


def cpu(trials: Trials, secs: float) -> list[list[object]]:
    """Compare what all our processes use with the empty adapter's trainer."""
    ours, bare = (trials.result("paced", kind, secs=secs) for kind in (OURS, EMPTY))
    trainer, services = ours["own_us"] - bare["own_us"], ours["services_us"]
    shares = f"trainer {trainer:.2f}, services {services:.2f}"
    figure = trainer + services
    return [
        [
            "CPU of all processes at 10 k points/s, us/point",
            figure,
            shares,
            "1",
            verdict(figure <= 1),
        ]
    ]


def rest(trials: Trials, secs: float) -> list[list[object]]:
    """Measure the idle services, and the memory of trainer and services."""
    idle = trials.result("idle", OURS, secs=secs)
    share, samples = idle["monitor_percent"], idle["poller_percent"]
    ours, bare = (trials.result("memory", kind, calls=100) for kind in (OURS, EMPTY))
    trainer, monitor = ours["trainer_mib"] - bare["trainer_mib"], ours["largest_service_mib"]
    both = f"all services {ours['services_mib']:.0f}"
    beside = f"empty: {bare['trainer_mib']:.0f} in all"
    return [
        [f"idle monitor over {secs:g} s, % of a core", share, "", "0.2", verdict(share <= 0.2)],
        ["poller, once a second, % of a core", samples, "", "0.5", verdict(samples <= 0.5)],
        ["trainer at 10,000 keys, MiB more", trainer, beside, "8", verdict(trainer <= 8)],
        ["monitor at 10,000 keys, MiB", monitor, both, "150", verdict(monitor <= 150)],
    ]


def verdict(hit: bool) -> str:
    """Return the last cell of a row."""
    return "hit" if hit else "MISS"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="pairs of the slowdown")
    parser.add_argument("--secs", type=float, default=2.0, help="length of one of its loops")
    parser.add_argument("--idle-secs", type=float, default=20.0)
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure, kind, where, size = args.measure
        print(json.dumps(MEASURES[measure](kind, Path(where), json.loads(size))))
        return
    page.heading("What recording takes from the machine")
    with page.scratch() as directory:
        adopt_orphans()
        trials = Trials(directory)
        rows = [
            *slowdown(trials, args.rounds, args.secs),
            *cpu(trials, 5 * args.secs),
            *rest(trials, args.idle_secs),
        ]
    page.table(["", "figure", "95 % interval, parts", "budget", ""], rows)


if __name__ == "__main__":
    main()
