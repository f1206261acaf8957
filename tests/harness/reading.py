"""Read a finished run back and compare."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import training_monitor as tm
from harness import processes


def settled(run_dir: Path) -> None:
    """Wait until the monitor has left: everything accepted is durable then."""
    processes.until(
        lambda: processes.have_left(run_dir),
        f"the monitor of {run_dir.name} to leave",
    )


def raw(run_dir: Path, key: str) -> list[tuple[int, Any]]:
    """Return every stored (step, value) of a key, in the order of arrival."""
    series = tm.open_run(run_dir).series(key, raw=True)
    steps = [int(step) for step in series.step]
    return list(zip(steps, list(series.value), strict=True))


def steps_of(run_dir: Path, key: str) -> list[int]:
    """Return the stored steps of a key, sorted, doubles kept."""
    return sorted(step for step, _ in raw(run_dir, key))


def wait_for_points(run_dir: Path, key: str, count: int) -> None:
    """Wait until so many points of a key can be read, monitor running or not."""

    def enough() -> bool:
        try:
            return len(raw(run_dir, key)) >= count
        except (tm.TrainingMonitorError, FileNotFoundError, KeyError):
            return False

    processes.until(enough, f"{count} points of {key}")


def stock_query(run_dir: Path, sql: str) -> list[list[Any]]:
    """Ask the database with the SQLite of Python, in a process of its own.

    Two copies of SQLite in one process would drop each other's locks.
    """
    program = (
        "import json, sqlite3, sys\n"
        "database = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True)\n"
        "print(json.dumps(database.execute(sys.argv[2]).fetchall()))\n"
    )
    command = [sys.executable, "-c", program, str(run_dir / "training_monitor.db"), sql]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows: list[list[Any]] = json.loads(done.stdout)
    return rows
