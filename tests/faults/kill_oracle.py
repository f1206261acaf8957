"""Kill trainer and monitor at bad moments; then ask the database for every accepted point.

The judge shares no code with the recorder. What was accepted it knows from a counter in its own
memory that the trainer bumps after each strict `log()`; what the values must be it computes itself.
After the kills the database has to hold exactly the counted calls, or one more that was cut off
between `log()` and the counter; nothing twice and no other value.

    python tests/faults/kill_oracle.py --trainer 100 --monitor 100 --both 50 --seed 1
"""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import mmap
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from faults import kill_judge
from faults import kill_trainer as trainer
from harness import processes
from harness.faulty import Call, Fault, Faults

Target = Literal["trainer", "monitor", "both"]
Aim = Literal["any", "ring", "commit", "call"]
BLOWS_PER_RUN = 5
LANE_SIZES = (64 << 10, 8 << 20)


@dataclass(frozen=True, slots=True)
class Blow:
    """One kill: whom, at which moment, with which size of lane."""

    target: Target
    aim: Aim
    lane_bytes: int


@dataclass(slots=True)
class Tally:
    """What happened over all runs."""

    blows: Counter[str] = field(default_factory=Counter)
    aimed: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    points: int = 0
    one_more: int = 0
    rates: list[float] = field(default_factory=list)
    absences: list[float] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield the report."""
        yield "kills      " + ", ".join(f"{n} {who}" for who, n in sorted(self.blows.items()))
        yield "aimed      " + ", ".join(f"{n} {what}" for what, n in sorted(self.aimed.items()))
        yield f"accepted   {self.calls:,} calls, {self.points:,} points"
        if self.rates:
            low, middle = min(self.rates), statistics.median(self.rates)
            yield f"rate       {middle:,.0f} calls/s in the middle, {low:,.0f} at least"
        if self.absences:
            yield f"monitor    back after {max(self.absences):.2f} s at most"
        yield f"one more   {self.one_more} (cut off between log() and the counter)"
        yield "lost 0, twice 0, wrong 0"


@dataclass(slots=True)
class Attempt:
    """One trainer process under the judge's eyes."""

    number: int
    seed: int
    process: subprocess.Popen[bytes]
    cells: memoryview
    accepted: int = 0
    was_killed: bool = False

    def rate(self) -> float:
        """Return calls per second since init() returned."""
        secs = (time.monotonic_ns() - self.cells[trainer.STARTED_NS]) / 1e9
        return self.cells[trainer.ACCEPTED] / secs


class Run:
    """A run that is struck a few times and then judged."""

    def __init__(self, root: Path, seed: int, blows: list[Blow], tally: Tally) -> None:
        self.rng = random.Random(seed)
        self.root, self.name = root, f"run{seed:x}"
        self.dir = root / self.name
        self.seed, self.blows, self.tally = seed, blows, tally
        self.attempts: list[Attempt] = []
        # The monitors of all attempts are meant, by their command, and not the pollers: whoever
        # kills a poller and then its monitor leaves nobody who would start another one.
        self.faults = Faults(
            root / f"{self.name}.faults", below=self.dir, only="bootstrap.py", never="--pipe"
        )

    @property
    def strikes_inside_calls(self) -> bool:
        """Whether any blow is aimed at a system call."""
        return any(blow.aim == "call" for blow in self.blows)

    def play(self) -> None:
        """Strike all blows, end the last trainer, and judge."""
        current: Attempt | None = None
        for blow in self.blows:
            if current is None:
                current = self.start(blow)
            self.strike(blow, current)
            if blow.target != "monitor":
                self.end(current)
                current = None
        if current:
            current.cells[trainer.STOP] = 1
            self.end(current)
        self.await_rest(killed_both=self.blows[-1].target == "both")
        self.judge()

    def start(self, blow: Blow) -> Attempt:
        """Start a trainer and wait until it logs; only long bursts fill a ring of 8 MiB."""
        bursts = [100_000] if blow.aim == "ring" else [200, 2000, 10_000]
        number = len(self.attempts)
        counter = self.root / f"{self.name}.{number}.counter"
        counter.write_bytes(bytes(8 * trainer.CELLS))
        with counter.open("r+b") as file:
            cells = memoryview(mmap.mmap(file.fileno(), 8 * trainer.CELLS)).cast("Q")
        seed = self.rng.getrandbits(32)
        flags = {
            "--root": self.root, "--name": self.name, "--counter": counter, "--seed": seed,
            "--attempt": number, "--calls-per-sec": self.rng.choice([80_000, 200_000, 400_000]),
            "--burst-calls": self.rng.choice(bursts),
            "--farewell": self.rng.choice(["close", "exit", "_exit"]),
        }  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, trainer.__file__, *map(str, itertools.chain(*flags.items()))],
            env={
                **os.environ,
                **(self.faults.env if self.strikes_inside_calls else {}),
                "TM_LANE_BYTES": str(blow.lane_bytes),
                "TM_GRACE_SECS": "0.5",
                "TM_QUIET": "1",
            },
            stdin=subprocess.DEVNULL,
        )
        attempt = Attempt(number, seed, process, cells)
        self.attempts.append(attempt)
        processes.until(
            lambda: cells[trainer.ACCEPTED] > 0 or self.fail_if_dead(attempt), "the first log()"
        )
        return attempt

    def fail_if_dead(self, attempt: Attempt) -> bool:
        """Stop when a trainer ended by itself: log() or init() raised."""
        if attempt.process.poll() is not None:
            raise kill_judge.WrongError(
                f"{self.name}: trainer ended with {attempt.process.returncode}"
            )
        return False

    def strike(self, blow: Blow, attempt: Attempt) -> None:
        """Wait for the moment that `blow` aims at, and kill."""
        monitor = 0
        if blow.target != "trainer":
            monitor = processes.until(lambda: processes.monitor_pid(self.dir), "a living monitor")
        time.sleep(self.rng.uniform(0.02, 0.5))
        hit = self.aim(blow)
        self.fail_if_dead(attempt)
        self.tally.rates.append(attempt.rate())
        self.tally.blows[blow.target] += 1
        self.tally.aimed[f"{blow.aim if hit else 'any'} at {blow.lane_bytes >> 10} KiB"] += 1
        struck = time.monotonic()
        if blow.target == "both" and self.rng.random() < 0.5:
            for pid in processes.mentioning(self.dir):  # its watchers too
                processes.kill(pid)
        if monitor:
            processes.kill(monitor)
        if blow.target != "monitor":
            processes.kill(attempt.process.pid)
            attempt.was_killed = True
        elif self.rng.random() < 0.5:
            processes.until(
                lambda: processes.monitor_pid(self.dir) not in {0, monitor}, "a new monitor"
            )
            self.tally.absences.append(time.monotonic() - struck)

    def aim(self, blow: Blow) -> bool:
        """Wait for the event and a random moment after it; return whether it came."""
        if blow.aim == "any":
            return True
        if blow.aim == "call":
            return self.strike_inside_call()
        look = self.lane_files if blow.aim == "ring" else self.wal_state
        before, deadline = look(), time.monotonic() + 2.0
        while look() == before:
            if time.monotonic() > deadline:
                return False
        pause_until = time.perf_counter() + self.rng.uniform(
            0, 4e-4 if blow.aim == "ring" else 4e-3
        )
        while time.perf_counter() < pause_until:
            pass
        return True

    def strike_inside_call(self) -> bool:
        """Let the monitor die before or after one of its next system calls on the run's files."""
        kinds = self.rng.choice(
            [(Call.SYNC,), (Call.WRITE,), (Call.UNLINK, Call.OPEN), tuple(Call)]
        )
        fault = self.rng.choice([Fault.KILL_BEFORE, Fault.KILL_AFTER])
        self.faults.arm(*kinds, at=self.rng.randint(1, 40), fault=fault)
        deadline = time.monotonic() + 2.0
        while not self.faults.done and time.monotonic() < deadline:
            time.sleep(0.001)
        self.faults.disarm()
        return self.faults.done > 0

    def lane_files(self) -> object:
        """Return the overflow files: they change when a lane switches, returns or is trimmed."""
        return processes.files_below(self.dir / ".spool", "lane*.*")

    def wal_state(self) -> object:
        """Return size and time of the write-ahead log: they change while a commit is written."""
        try:
            stat = os.stat(self.dir / "training_monitor.db-wal")
        except FileNotFoundError:
            return None
        return stat.st_mtime_ns, stat.st_size

    def end(self, attempt: Attempt) -> None:
        """Wait for the trainer's end and read the judge's counter."""
        code = attempt.process.wait(timeout=30)
        attempt.accepted = attempt.cells[trainer.ACCEPTED]
        if not attempt.was_killed and code != 0:
            raise kill_judge.WrongError(f"{self.name}: trainer ended with {code}")

    def await_rest(self, *, killed_both: bool) -> None:
        """Let the monitor finish; where none is left, bring the points home by hand."""
        processes.until(
            lambda: processes.have_left(self.dir), "the monitor to leave", within_secs=60
        )
        if killed_both:
            done = processes.training_monitor("recover", self.dir, within_secs=60)
            if done.returncode:
                raise kill_judge.WrongError(
                    f"{self.name}: recover failed\n{done.stdout}{done.stderr}"
                )

    def judge(self) -> None:
        """Compare every attempt with what was accepted."""
        evidence = kill_judge.Evidence(self.dir)
        for attempt in self.attempts:
            one_more = evidence.judge(
                attempt.number,
                attempt.seed,
                accepted=attempt.accepted,
                was_killed=attempt.was_killed,
            )
            self.tally.calls += attempt.accepted
            self.tally.points += kill_judge.points_of(attempt.accepted)
            self.tally.one_more += one_more


def plan(counts: dict[Target, int], seed: int, *, fail_points: bool = False) -> list[list[Blow]]:
    """Spread targets, aims and lane sizes evenly, shuffle, and cut into runs."""
    rng = random.Random(seed)
    targets = [target for target, count in counts.items() for _ in range(count)]
    rng.shuffle(targets)
    aims: list[Aim] = ["any", "ring", "commit"]
    if fail_points:
        aims += ["call"] * len(aims)
    choices = list(itertools.product(aims, LANE_SIZES))
    moments = itertools.cycle(rng.sample(choices, len(choices)))
    blows = [Blow(target, *moment) for target, moment in zip(targets, moments, strict=False)]
    return [blows[at : at + BLOWS_PER_RUN] for at in range(0, len(blows), BLOWS_PER_RUN)]


def _give_up(*_: object) -> None:
    raise AssertionError("not done within --limit-secs")


def main() -> int:
    """Play the plan; print the tally, or the seed that failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainer", type=int, default=8)
    parser.add_argument("--monitor", type=int, default=6)
    parser.add_argument("--both", type=int, default=4)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    parser.add_argument("--limit-secs", type=int, default=0, help="fail, and say where, after this")
    parser.add_argument("--dir", type=Path, help="keep the runs here")
    parser.add_argument(
        "--fail-points", action="store_true", help="let half the monitors die inside a system call"
    )
    args = parser.parse_args()
    print(f"seed       {args.seed}", flush=True)
    counts: dict[Target, int] = {
        "trainer": args.trainer, "monitor": args.monitor, "both": args.both
    }  # fmt: skip
    root = Path(args.dir or tempfile.mkdtemp(prefix="kill-oracle-"))
    root.mkdir(parents=True, exist_ok=True)
    began, tally = time.monotonic(), Tally()
    if args.limit_secs:
        faulthandler.dump_traceback_later(args.limit_secs)
        signal.signal(signal.SIGALRM, _give_up)
        signal.alarm(args.limit_secs)
    groups = plan(counts, args.seed, fail_points=args.fail_points)
    for number, blows in enumerate(groups):
        run = Run(root, args.seed * 1000 + number, blows, tally)
        try:
            run.play()
        except BaseException as verdict:
            print(
                f"FAILED     {verdict}\nrepeat     --seed {args.seed}, run {number}; see {run.dir}"
            )
            if not isinstance(verdict, AssertionError):
                raise
            return 1
        finally:  # a trainer that is left behind would log, and hold our output open, for ever
            processes.kill_all_mentioning(run.dir)
        if sys.stdout.isatty():
            print(f"\r{number + 1}/{len(groups)} runs, {tally.points:,} points", end="\r")
        if not args.dir:
            shutil.rmtree(run.dir)
    print("\n".join(tally.lines()))
    print(f"time       {time.monotonic() - began:.0f} s")
    if not args.dir:
        shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
