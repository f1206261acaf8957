"""One fault met by one tracker, in a fresh process of the tracker's environment: stdlib only.

`python -m peers.fault_trial NAME SCRIPT DIRECTORY LEDGER`. What the training saw goes into the
ledger, a mapped file that outlives it; `read` asks the tracker's reader and writes LEDGER.json.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from peers import adapters
from peers.adapter import Adapter, Log
from process_tree import descendants
from sample import KEYS

# What the training and its child count, and how the training ended.
RETURNED, RAISED, CHILD_RETURNED, LONGEST_NS, REFUSED, HUNG, FINISHED, CELLS = range(8)
CHILD_FIRST = 1_000_000
PACE_SECS = 1e-3
BEFORE, AFTER, FULL_CALLS, FORK_CALLS = 1000, 1000, 3000, 300
CHILD_PATIENCE_SECS = 15.0


class Training:
    """Logs at a thousand calls a second and notes in the ledger how each call went."""

    def __init__(self, tracker: Adapter, directory: Path, ledger: Path) -> None:
        with ledger.open("r+b") as file:
            self.cells = memoryview(mmap.mmap(file.fileno(), 8 * CELLS)).cast("q")
        self.directory, self.tracker = directory, tracker
        tracker.load()
        self.log: Log = tracker.open(directory)
        self.step = 0

    def train(self, calls: int) -> None:
        """Make so many calls."""
        began = time.perf_counter()
        for call in range(calls):
            if (wait := began + call * PACE_SECS - time.perf_counter()) > 0:
                time.sleep(wait)
            self.call(self.step, RETURNED)
            self.step += 1

    def call(self, step: int, cell: int) -> None:
        """Log one step; an exception that reaches a training would have ended it."""
        metrics = dict.fromkeys(KEYS, float(step)) | {"loss": step * 0.5}
        began = time.perf_counter_ns()
        try:
            self.log(metrics, step)
            self.cells[cell] += 1
        except Exception:  # noqa: BLE001 -- how many reach the training is the figure
            self.cells[RAISED] += 1
        self.cells[LONGEST_NS] = max(self.cells[LONGEST_NS], time.perf_counter_ns() - began)

    def end(self) -> None:
        """Close as the tracker asks for it."""
        self.cells[REFUSED] = self.tracker.refused()
        try:
            self.tracker.close()
        except Exception:  # noqa: BLE001 -- how many reach the training is the figure
            self.cells[RAISED] += 1
        self.cells[FINISHED] = 1


def kill_training(training: Training) -> None:
    """Be killed at a moment that nobody chose."""
    training.train(BEFORE + int.from_bytes(os.urandom(2), "little") % AFTER)
    os.kill(os.getpid(), signal.SIGKILL)


def kill_service(training: Training) -> None:
    """Lose every process of the tracker midway, and train on."""
    training.train(BEFORE)
    for pid in descendants(os.getppid()):
        if pid != os.getpid():
            os.kill(pid, signal.SIGKILL)
    training.train(AFTER)
    training.end()


def full_disk(training: Training) -> None:
    """Train while the disk is full for a while; then there is room again."""
    training.train(BEFORE)
    filler = training.directory / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1 << 9):
            with suppress(OSError):  # until there is no room for so much
                while True:
                    file.write(bytes(size))
    training.train(FULL_CALLS)
    filler.unlink()
    training.train(AFTER)
    training.end()


def fork_and(leave: Callable[[], object], training: Training) -> None:
    """Fork as a DataLoader does; parent and child log, and the child leaves."""
    training.train(FORK_CALLS)
    pid = os.fork()
    if pid == 0:
        for call in range(FORK_CALLS):
            training.call(CHILD_FIRST + call, CHILD_RETURNED)
        leave()
    training.train(FORK_CALLS)
    deadline = time.monotonic() + CHILD_PATIENCE_SECS
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            training.cells[HUNG] = 1
            break
        time.sleep(0.01)
    training.end()


SCRIPTS: dict[str, Callable[[Training], None]] = {
    "training killed": kill_training,
    "service killed": kill_service,
    "disk full 3 s": full_disk,
    "fork, os._exit": lambda training: fork_and(lambda: os._exit(0), training),
    "fork, sys.exit": lambda training: fork_and(lambda: sys.exit(0), training),
}


def main() -> None:
    """Run the script that the command line names, or read what it left."""
    name, script, where, ledger = sys.argv[1:]
    tracker = adapters.adapter(name)
    if script == "read":
        points = tracker.points(Path(where))
        Path(f"{ledger}.json").write_text(json.dumps(points))
        return
    SCRIPTS[script](Training(tracker, Path(where), Path(ledger)))


if __name__ == "__main__":
    main()
