"""Train on the digits, kill the monitor halfway, and count every point afterwards.

Then train once more, with a mistake in the learning rate, and see who notices.

    python examples/demo.py

The training is `digits.py` as it stands there. Beside tm.log() it writes each call to a file of its
own, and that file is what the database is compared with at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path

import training_monitor as tm
from training_monitor.cli import show
from training_monitor.cli.outline import Outline, take_outline
from training_monitor.cli.status import lag_secs
from training_monitor.machine import Finding

HERE = Path(__file__).resolve().parent
WIDTH = 79
LINE_EVERY_SECS = 5.0
LOOK_EVERY_SECS = 0.25
# What the last steps showed is written within seconds.
PATIENCE_SECS = 20.0
MOST_SAID = 4


@dataclass(slots=True)
class Screen:
    """Lines that stay and, on a terminal, one line that is written over."""

    is_terminal: bool = field(default_factory=sys.stdout.isatty)
    began: float = field(default_factory=time.monotonic)
    next_line_at: float = 0.0
    has_live_line: bool = False

    def live(self, text: str) -> None:
        """Show where things are: in place on a terminal, else a line now and then."""
        now = time.monotonic()
        if self.is_terminal:
            self.has_live_line = True
            print(f"\r\033[K{self.stamp()}  {text}"[: WIDTH + 4], end="", flush=True)
        elif now >= self.next_line_at:
            self.next_line_at = now + LINE_EVERY_SECS
            print(f"{self.stamp()}  {text}", flush=True)

    def say(self, text: str) -> None:
        """Print a line that stays."""
        print(f"{self.clear()}{self.stamp()}  {text}", flush=True)

    def title(self, text: str) -> None:
        """Print a heading, bold where colour is wanted."""
        bold = self.is_terminal and not os.environ.get("NO_COLOR")
        print(
            f"{self.clear()}\033[1m{text}\033[0m" if bold else f"{self.clear()}{text}", flush=True
        )

    def clear(self) -> str:
        """Return what removes the live line, if there is one."""
        removal = "\r\033[K" if self.has_live_line else ""
        self.has_live_line = False
        return removal

    def stamp(self) -> str:
        """Return the seconds since the start."""
        return f"{time.monotonic() - self.began:4.0f} s"


def describe(now: Outline, before: Outline, secs: float) -> str:
    """Return step, rate, lag and the price of log() in one line."""
    rate = max(0, now.accepted - before.accepted) / secs
    samples = [p["log_p99_ns"] for p in now.producers if p["log_p99_ns"] is not None]
    p99 = f"{max(samples) / 1e3:.1f} us" if samples else "-"
    lag = lag_secs(now)
    behind = "-" if lag is None else f"{lag:.1f} s"
    return f"step {now.last_step or 0:>6,}  {rate:>6,.0f} points/s  lag {behind}  log() p99 {p99}"


def watch(training: subprocess.Popen[bytes], run_dir: Path, steps: int, screen: Screen) -> None:
    """Follow the training and kill its monitor once it is halfway."""
    before, looked_at = take_outline(str(run_dir)), time.monotonic()
    killed, killed_at = 0, 0.0
    while training.poll() is None:
        time.sleep(LOOK_EVERY_SECS if not killed_at else 0.02)
        now = take_outline(str(run_dir))
        if killed_at and now.monitor not in {None, killed}:
            secs = time.monotonic() - killed_at
            screen.say(f"a new monitor is there after {secs:.1f} s, pid {now.monitor}")
            killed_at = 0.0
        if now.monitor and not killed and (now.last_step or 0) >= steps // 2:
            killed, killed_at = now.monitor, time.monotonic()
            os.kill(killed, signal.SIGKILL)
            screen.say(f"halfway: SIGKILL to the monitor, pid {killed}")
        if time.monotonic() - looked_at >= LOOK_EVERY_SECS:
            screen.live(describe(now, before, time.monotonic() - looked_at))
            before, looked_at = now, time.monotonic()


def wait_until_durable(run_dir: Path) -> None:
    """Wait until the database has everything."""
    deadline = time.monotonic() + 15
    while take_outline(str(run_dir)).backlog_bytes and time.monotonic() < deadline:
        time.sleep(0.05)


def compare(run_dir: Path, record: Path) -> tuple[int, int]:
    """Return how many points of the script's own record are in the database, and of how many."""
    logged: dict[str, dict[int, float]] = {}
    with record.open() as lines:
        for line in lines:
            step, metrics = json.loads(line)
            for key, value in metrics.items():
                logged.setdefault(key, {})[step] = value
    run = tm.open_run(run_dir)
    there = 0
    for key, points in logged.items():
        series = run.series(key)
        stored = dict(zip(map(int, series.step), series.value, strict=True))
        there += sum(stored.get(step) == value for step, value in points.items())
    return there, sum(map(len, logged.values()))


def start(args: argparse.Namespace, *flags: str) -> subprocess.Popen[bytes]:
    """Start the training."""
    return subprocess.Popen(
        [sys.executable, HERE / "digits.py", f"--root-dir={args.root_dir}", *flags],
        # One thread of BLAS: on a small machine its spinning would be most of what one sees.
        env={**os.environ, "TM_QUIET": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )


def plant(args: argparse.Namespace, screen: Screen) -> bool:
    """Train with a mistake at two thirds; return whether it was noticed."""
    epochs = max(args.epochs // 2, 60)
    mistake = epochs * 11 * 2 // 3
    run_dir = args.root_dir.resolve() / "digits-mistake"
    screen.title(f"The same again, but at step {mistake:,} the learning rate is 40 times too high")
    training = start(args, "--name=digits-mistake", f"--epochs={epochs}", f"--mistake={mistake}")
    told: set[tuple[str, str]] = set()
    deadline = time.monotonic() + PATIENCE_SECS
    while training.poll() is None or (not told and time.monotonic() < deadline):
        time.sleep(LOOK_EVERY_SECS)
        if training.poll() is None:
            deadline = time.monotonic() + PATIENCE_SECS
        for finding in noticed(run_dir):
            about = (finding.name, finding.source)
            if (finding.since or 0) >= mistake and about not in told and len(told) < MOST_SAID:
                told.add(about)
                lines = textwrap.wrap(f"{finding.severity}: {finding.text}", WIDTH - 8)
                screen.say("\n        ".join(lines))
    return bool(told)


def noticed(run_dir: Path) -> list[Finding]:
    """Return what was found in the metrics of a run, those that people should act on."""
    try:
        findings = tm.open_run(run_dir).findings()
    except tm.RunNotFoundError:
        return []
    wanted = [one for one in findings if one.by == "detector" and not one.over]
    return [one for one in wanted if one.severity != "info"]


def shortest(path: Path) -> str:
    """Return the path as one would type it here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def main() -> int:
    """Run the demo; the exit status says whether every point was there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root-dir", type=Path, default=Path("ai_logger"))
    parser.add_argument("--epochs", type=int, default=1000)
    args = parser.parse_args()
    run_dir = args.root_dir.resolve() / "digits"
    args.root_dir.mkdir(parents=True, exist_ok=True)
    record = args.root_dir / "digits.jsonl"
    steps = args.epochs * 11

    screen = Screen()
    screen.title(f"Training a small network on 1,797 handwritten digits, {steps:,} steps")
    training = start(args, f"--epochs={args.epochs}", f"--record={record}")
    watch(training, run_dir, steps, screen)
    if training.returncode:
        screen.say(f"the training failed with exit status {training.returncode}")
        return 1
    screen.say("trained")
    wait_until_durable(run_dir)
    there, logged = compare(run_dir, record)
    verdict = "all there" if there == logged else "NOT all there"
    print()
    screen.title(f"{verdict}: {there:,} of {logged:,} points, each with its value")
    print()
    show.print_metrics(tm.open_run(run_dir).metrics())
    print()
    is_noticed = plant(args, screen)
    screen.title("the mistake was noticed" if is_noticed else "NOBODY noticed the mistake")
    command = shortest(Path(sys.executable).parent / "training-monitor")
    print(f"\nfiles  {shortest(run_dir)}/")
    print(f"       {shortest(record)} (what the script wrote itself)")
    print(f"next   {command} status digits")
    print(f"       {command} show digits --json")
    print("       put the three lines of examples/digits.py into a script of yours")
    return 0 if there == logged and is_noticed else 1


if __name__ == "__main__":
    sys.exit(main())
