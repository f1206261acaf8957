"""SIGKILL of the trainer, of the monitor, of both, and of what works on a run afterwards."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from faults.board.row import Measured, Row, Stage

FAULTS = Path(__file__).resolve().parents[1]


def oracle(stage: Stage, target: str, kills: int, *more: str) -> str:
    """Let the kill oracle strike so often; some judges beside one another, for they often wait."""
    judges = min(os.cpu_count() or 1, 4) + 1 if stage.full else 1
    shares = [kills // judges + (number < kills % judges) for number in range(judges)]
    counts = {"trainer": 0, "monitor": 0, "both": 0}
    started = []
    for number, share in enumerate(shares):
        flags = [f"--{name}={share if name == target else 0}" for name in counts]
        flags.append(f"--seed={stage.seed * 100 + number}")
        command = [sys.executable, str(FAULTS / "kill_oracle.py"), *flags, *more]
        report = stage.directory / f"{number}.report"
        with report.open("wb") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=out, env={**os.environ, "TMPDIR": str(stage.directory)}
            )
            started.append((process, report))
    said = []
    for process, report in started:
        code = process.wait()
        text = report.read_text(errors="replace")
        assert code == 0, text[-2000:]
        assert "lost 0, twice 0, wrong 0" in text, text[-2000:]
        said.append(text)
    return "\n".join(said)


def total(pattern: str, said: str) -> int:
    """Return the sum of a number over all reports."""
    return sum(int(found.replace(",", "")) for found in re.findall(pattern, said))


def figure(said: str, target: str) -> str:
    """Return what a row of kills measured."""
    kills, points = total(rf"(\d+) {target}", said), total(r"([\d,]+) points", said)
    return f"{kills:,} kills, {points:,} points accepted, 0 lost, 0 twice, 0 wrong"


def trainer(stage: Stage) -> Measured:
    """Kill trainers at random, at changes of the ring and during commits."""
    return Measured(figure(oracle(stage, "trainer", stage.size(600, 4)), "trainer"), True)


def monitor(stage: Stage) -> Measured:
    """Kill monitors, half of them inside a system call that touches the run."""
    said = oracle(stage, "monitor", stage.size(200, 4), "--fail-points")
    inside = total(r"(\d+) call at", said)
    back = max(map(float, re.findall(r"back after ([\d.]+) s", said)), default=0.0)
    text = f"{figure(said, 'monitor')}; {inside} inside a system call; back in {back:.2f} s"
    return Measured(text, True)


def both(stage: Stage) -> Measured:
    """Kill trainer and monitor together, half of the time with their watchers."""
    return Measured(figure(oracle(stage, "both", stage.size(150, 4)), "both"), True)


def upkeep(stage: Stage) -> Measured:
    """Kill compaction, export, backup and migration."""
    kills = stage.size(25, 1)
    command = [sys.executable, str(FAULTS / "kill_upkeep.py"), f"--kills={kills}"]
    done = subprocess.run([*command, f"--seed={stage.seed}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return Measured(f"{4 * kills} kills, 0 values lost or changed", True)


def marked_slow(stage: Stage) -> Measured:
    """Run what the other rooms of the tests have marked as slow."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "slow"]
    done = subprocess.run([*command, str(FAULTS.parent)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return Measured(done.stdout.strip().splitlines()[-1].strip("= "), True)


ROWS = [
    Row("1", "trainer killed", "0 lost, 0 twice, 0 wrong", trainer, 900),
    Row("2", "monitor killed", "0 lost, 0 twice, 0 wrong, none raised", monitor, 400),
    Row("3", "trainer and monitor killed", "0 lost, 0 twice after recover", both, 400),
    Row("upkeep", "compaction, export, backup, migration killed", "0 changed", upkeep, 400),
    Row("slow", "a call of 60 s, and what else takes long", "all pass", marked_slow, 300),
]
