"""Play the long fault tests and print one board: `make faults`.

python -m faults.board --rows "1 5" --seed 7
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from faults.board import rows
from faults.board.row import Row, Stage, Unfit
from harness import processes
from training_monitor import _core

REPOSITORY = Path(__file__).resolve().parents[3]
Outcome = Literal["hit", "MISS", "not here"]


@dataclass(frozen=True, slots=True)
class Line:
    """A row that was played."""

    row: Row
    figure: str
    outcome: Outcome
    seed: int
    secs: float

    def cells(self) -> list[str]:
        """Return the cells of the table."""
        figure = " ".join(self.figure.split())
        shown = figure if len(figure) < 400 else f"{figure[:397]}..."
        return [
            self.row.name, self.row.what, shown.replace("|", "/"), self.row.target,
            str(self.seed), f"{self.secs:.0f}", self.outcome,
        ]  # fmt: skip


def played(row: Row, seed: int, scratch: Path) -> Line:
    """Play a row in a process of its own, so that one that hangs or dies is one miss."""
    directory = scratch / f"row{row.name}"
    directory.mkdir()
    result = scratch / f"row{row.name}.json"
    command = [sys.executable, "-m", "faults.board", "--alone", row.name, "--seed", str(seed)]
    began = time.monotonic()
    figure = ""
    outcome: Outcome = "MISS"
    process = subprocess.Popen(
        [*command, "--into", str(result)], cwd=directory, stdin=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "TM_GRACE_SECS": "0.5", "PYTHONPATH": str(REPOSITORY / "tests")},
    )  # fmt: skip
    try:
        process.wait(row.limit_secs)
        if result.exists():
            figure, outcome = json.loads(result.read_text())
        else:
            figure = f"ended with {process.returncode}"
    except subprocess.TimeoutExpired:
        figure = f"not done within {row.limit_secs:.0f} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        processes.kill_all_mentioning(directory)
    if outcome != "MISS":
        shutil.rmtree(directory, ignore_errors=True)
    return Line(row, figure, outcome, seed, time.monotonic() - began)


def alone(row: Row, seed: int, into: Path, *, full: bool) -> None:
    """Play one row here and write down what it found."""
    outcome: Outcome
    try:
        measured = row.play(Stage(seed=seed, directory=Path.cwd(), full=full))
        figure, outcome = measured.figure, "hit" if measured.hit else "MISS"
    except Unfit as reason:
        figure, outcome = str(reason), "not here"
    except Exception as verdict:  # the other rows are played all the same
        traceback.print_exc()
        figure, outcome = f"{type(verdict).__name__}: {verdict}", "MISS"
    into.write_text(json.dumps([figure, outcome]))


def board(lines: list[Line], secs: float) -> str:
    """Return the scoreboard as Markdown."""
    columns = ["row", "fault", "measured", "target", "seed", "s", ""]
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=REPOSITORY
    ).stdout.strip()
    text = [
        "### Faults\n",
        f"- machine: {os.cpu_count()} cores, {platform.release()}",
        f"- Python {platform.python_version()}, seed as below",
        f"- version: training_monitor {_core.__version__} ({commit}), {_core.build_profile} build",
        f"- date: {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, {secs:.0f} s\n",
        f"| {' | '.join(columns)} |",
        "|" + " --- |" * len(columns),
        *(f"| {' | '.join(line.cells())} |" for line in lines),
        "",
    ]
    return "\n".join(text)


def main() -> int:
    """Play the rows that were asked for; return 1 when one missed."""
    parser = argparse.ArgumentParser(prog="python -m faults.board")
    parser.add_argument("--rows", default="", help=f"of: {' '.join(rows.BY_NAME)}; default: all")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--alone", choices=list(rows.BY_NAME), help=argparse.SUPPRESS)
    parser.add_argument("--short", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    seed = time.time_ns() % 10**5 if args.seed is None else args.seed
    if args.alone:
        alone(rows.BY_NAME[args.alone], seed, args.into, full=not args.short)
        return 0
    chosen = args.rows.split() or list(rows.BY_NAME)
    if unknown := sorted(set(chosen) - set(rows.BY_NAME)):
        parser.error(f"no row {', '.join(unknown)}; there are: {' '.join(rows.BY_NAME)}")
    scratch, began = Path(tempfile.mkdtemp(prefix="fault-board-")), time.monotonic()
    print(f"seed {seed}", flush=True)
    lines = []
    for name in chosen:
        line = played(rows.BY_NAME[name], seed, scratch)
        print(f"{line.secs:5.0f} s  {' | '.join(line.cells())}", flush=True)
        lines.append(line)
    text = board(lines, time.monotonic() - began)
    out = REPOSITORY / "benches" / "out" / "faults.md"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    print(f"\n{text}")
    if any(line.outcome == "MISS" for line in lines):
        print(f"what missed is left in {scratch}; repeat with SEED={seed}")
        return 1
    shutil.rmtree(scratch, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
