"""Kill compaction, export, backup and migration at random moments; the run must stay what it was.

One run is recorded. For each kill a copy of it is worked on by a process of its own, which gets
SIGKILL somewhere between its first and its last moment. Afterwards every value of every key has to
be there, once; a file that export or backup has put in place has to be whole; and the same work,
done again, has to succeed.

    python tests/faults/kill_upkeep.py --kills 125 --seed 1
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import training_monitor as tm
from harness import processes
from training_monitor import _core

BURSTS, BURST_STEPS, KEYS = 60, 150, 12
POINTS = BURSTS * BURST_STEPS * KEYS
DATABASE = "training_monitor.db"

# The tables of the first format. The columns are those of today: their bytes say what they are.
TO_FORMAT_1 = """
    DROP VIEW analyses; DROP VIEW messages; DROP INDEX events_by_kind;
    DROP VIEW statistics; DROP VIEW system;
    DROP TABLE stats; DROP TABLE stats_state; DROP TABLE rollup;
    DROP TABLE system_cols; DROP TABLE system_chunks; DROP TABLE system_fresh;
    DROP TABLE system_series; DROP TABLE system_sources;
    DROP INDEX groups_open; DROP INDEX groups_loose;
    ALTER TABLE lanes DROP COLUMN stats_lsn;
    ALTER TABLE groups DROP COLUMN rollup_grp;
    ALTER TABLE groups DROP COLUMN compacted;
    ALTER TABLE latest DROP COLUMN order_ns;
    ALTER TABLE recent DROP COLUMN order_ns;
    PRAGMA user_version = 1;
"""

# Says that it begins, and works until compaction has nothing left to do. It looks through our own
# SQLite: two libraries in one process undo each other's locks.
UPKEEP = """
import sys, time
import training_monitor as tm
from training_monitor import _core
print("begin", flush=True)
ingest = _core.Ingest(sys.argv[1])
view, deadline = tm.open_run(sys.argv[1]), time.monotonic() + 5.0
left = "SELECT count(*) FROM groups WHERE compacted = 0"
while time.monotonic() < deadline and list(view.sql(left)) != [(0,)]:
    time.sleep(0.01)
ingest.finish(20.0)
"""
COMMAND = """
import sys
from training_monitor.cli.main import main
print("begin", flush=True)
sys.exit(main(sys.argv[1:]))
"""


@dataclass(frozen=True, slots=True)
class Work:
    """What is killed.

    Attributes:
        name: For people.
        prepare: Makes a copy of the run ready for it.
        command: What works on the copy.
        check: Looks at what lies beside the run; the flag says that nobody was killed.
    """

    name: str
    prepare: Callable[[Path], None]
    command: Callable[[Path], list[str]]
    check: Callable[[Path, bool], None]


class WrongError(AssertionError):
    """The run is not what it was."""


def record(run_dir: Path) -> None:
    """Record a run in many small groups, as a slow training leaves them."""
    source = random.Random(11)
    _core.open_producer(
        run_dir=str(run_dir), job_key="upkeep", rank=0, local_rank=0, world=1, local_world=1,
        strict=True, device_tensors="sync", node_limit_bytes=1 << 30, config_json="{}",
    )  # fmt: skip
    ingest = _core.Ingest(str(run_dir), commit_interval_secs=0.01, idle_seal_secs=0.01)
    for burst in range(BURSTS):
        for step in range(burst * BURST_STEPS, (burst + 1) * BURST_STEPS):
            _core.log({f"key{number}": source.gauss(0, 1) for number in range(KEYS)}, step)
        processes.until(
            lambda accepted=(burst + 1) * BURST_STEPS * KEYS: (  # type: ignore[misc]
                ingest.status()["durable_points"] == accepted
            ),
            "a burst to be durable",
        )
    _core.close_producer(10.0)
    ingest.finish(10.0)


def digest(run_dir: Path) -> dict[str, str]:
    """Return a checksum of each key: steps and values, bit by bit."""
    view = tm.open_run(run_dir)
    sums = {}
    for metric in view.metrics():
        series = view.series(metric.name, raw=True)
        bits = np.asarray(series.step).tobytes() + np.asarray(series.value, np.float64).tobytes()
        sums[metric.name] = hashlib.sha256(bits).hexdigest()
    return sums


def loosen(run_dir: Path) -> None:
    """Give compaction all of its work back."""
    with sqlite3.connect(run_dir / DATABASE) as database:
        database.execute("UPDATE groups SET compacted = 0")


def downgrade(run_dir: Path) -> None:
    """Make the database one of the first format."""
    database = sqlite3.connect(run_dir / DATABASE)
    database.executescript(TO_FORMAT_1)
    database.close()


def leave(run_dir: Path) -> None:
    """Take the run as it is."""
    del run_dir


def upkeep(run_dir: Path) -> list[str]:
    """Return what opens the database for writing, and compacts it."""
    return [sys.executable, "-c", UPKEEP, str(run_dir)]


def export(run_dir: Path) -> list[str]:
    """Return what writes all points into a file."""
    target = run_dir.parent / "points.jsonl"
    return [sys.executable, "-c", COMMAND, "export", str(run_dir), str(target), "--force"]


def backup(run_dir: Path) -> list[str]:
    """Return what copies the run."""
    return [sys.executable, "-c", COMMAND, "backup", str(run_dir), str(run_dir.parent / "copy")]


def nothing_beside(run_dir: Path, done: bool) -> None:
    """Only the run was worked on."""
    del run_dir, done


def whole_export(run_dir: Path, done: bool) -> None:
    """Check that an export is whole or not there."""
    target = run_dir.parent / "points.jsonl"
    if not target.exists():
        if done:
            raise WrongError("the export is not there")
        return
    with target.open("rb") as lines:
        count = sum(1 for _ in lines)
    if count != POINTS:
        raise WrongError(f"the export has {count} of {POINTS} points")


def whole_backup(run_dir: Path, done: bool) -> None:
    """Check that a backup is whole or not there."""
    copy = run_dir.parent / "copy"
    if copy.exists():
        if digest(copy) != digest(run_dir):
            raise WrongError("the backup is not the run")
        shutil.rmtree(copy)
    elif done:
        raise WrongError("the backup is not there")


WORKS = [
    Work("compaction", loosen, upkeep, nothing_beside),
    Work("export", leave, export, whole_export),
    Work("backup", leave, backup, whole_backup),
    Work("migration", downgrade, upkeep, nothing_beside),
]


def begun(command: list[str]) -> subprocess.Popen[bytes]:
    """Start the work, and return when it begins."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if process.stdout is None or process.stdout.readline() != b"begin\n":
        raise WrongError(f"{command} did not begin")
    return process


def finish(work: Work, run_dir: Path, expected: dict[str, str]) -> float:
    """Do the work to its end; return how long that took."""
    process = begun(work.command(run_dir))
    began = time.perf_counter()
    process.communicate(timeout=120)
    took = time.perf_counter() - began
    if process.returncode:
        raise WrongError(f"{work.name} in {run_dir}: exit status {process.returncode}")
    compare(work, run_dir, expected)
    work.check(run_dir, True)
    return took


def compare(work: Work, run_dir: Path, expected: dict[str, str]) -> None:
    """Check every value of every key."""
    if digest(run_dir) != expected:
        raise WrongError(f"{work.name} changed {run_dir}")


def copied(base: Path, target: Path) -> Path:
    """Return a copy of the run below a directory of its own."""
    run_dir = target / "run"
    shutil.copytree(base, run_dir)
    return run_dir


def play(work: Work, base: Path, root: Path, kills: int, rng: random.Random) -> Counter[str]:
    """Kill one kind of work so often, each time on a fresh copy; return what was hit."""
    expected, tally = digest(base), Counter[str]()
    run_dir = copied(base, root / f"{work.name}-whole")
    work.prepare(run_dir)
    lasts = finish(work, run_dir, expected)
    for number in range(kills):
        run_dir = copied(base, root / f"{work.name}-{number}")
        work.prepare(run_dir)
        process = begun(work.command(run_dir))
        time.sleep(rng.uniform(0, lasts))
        tally["killed at work" if process.poll() is None else "was done before"] += 1
        process.kill()
        process.communicate()
        compare(work, run_dir, expected)
        work.check(run_dir, False)
        finish(work, run_dir, expected)
        shutil.rmtree(run_dir.parent)
    return tally


def main() -> int:
    """Play all works; print what was hit, or where it went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=125, help="of each kind of work")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    args = parser.parse_args()
    print(f"seed       {args.seed}", flush=True)
    rng, began = random.Random(args.seed), time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="kill-upkeep-"))
    record(root / "run")
    for work in WORKS:
        try:
            tally = play(work, root / "run", root, args.kills, rng)
        except AssertionError as verdict:
            print(f"FAILED     {verdict}\nrepeat     --seed {args.seed}; see {root}")
            return 1
        hit = ", ".join(f"{count} {what}" for what, count in sorted(tally.items()))
        print(f"{work.name:<10} {hit}: every value there", flush=True)
    shutil.rmtree(root)
    kills, secs = args.kills * len(WORKS), time.monotonic() - began
    print(f"{kills} kills, lost 0, twice 0, wrong 0 ({secs:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
