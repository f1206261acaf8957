"""What do other trackers lose by the same faults, on this machine? `make bench-faults`"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import page
from peers import adapters
from peers.environments import Missing, Ready, environments, last_line
from peers.fault_trial import (
    CELLS,
    CHILD_FIRST,
    CHILD_RETURNED,
    FINISHED,
    HUNG,
    LONGEST_NS,
    RAISED,
    REFUSED,
    RETURNED,
    SCRIPTS,
)
from peers.rounds import environment_of, say
from process_tree import Ended, adopt_orphans, run

COMPARED = [adapters.OURS, adapters.PLAIN, "trackio", "wandb"]
ROUNDS = 3
LIMIT_SECS = 60.0
DISK = "48m"  # more than any of them needs for all of it


@dataclass(frozen=True, slots=True)
class Found:
    """What one script left, added up over its rounds.

    Attributes:
        accepted: Calls that returned and were not refused.
        found: Different ones that the tracker's reader gives back.
        twice: Given back more than once.
        wrong: With another value than was logged.
        refused: Calls that the tracker counts as refused.
        saw: What the training saw of it.
        secs: How long a round took.
    """

    accepted: int
    found: int
    twice: int
    wrong: int
    refused: int
    saw: str
    secs: float


def wrapped(command: list[str], read: list[str], data: Path, script: str) -> list[str]:
    """Return the command; for a full disk it has a small one of its own, and is read there."""
    if not script.startswith("disk"):
        return command
    mount = shlex.join(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(data)])
    home = shlex.join(["mkdir", "-p", str(data / "tmp"), str(data / "home")])
    body = f"{mount} && {home} && {{ {shlex.join(command)}; true; }} && {shlex.join(read)}"
    return ["unshare", "-Urm", "sh", "-c", body]


def one_round(name: str, ready: Ready, script: str, directory: Path) -> Found | str:
    """Play a script once; return what is left, or why there is nothing to tell."""
    data, ledger = directory / "data", directory / "ledger"
    for part in ("data/tmp", "data/home", "cwd"):
        (directory / part).mkdir(parents=True)
    ledger.write_bytes(bytes(8 * CELLS))
    begin = [str(ready.python), "-m", "peers.fault_trial", name]
    read = [*begin, "read", str(data), str(ledger)]
    command = wrapped([*begin, script, str(data), str(ledger)], read, data, script)
    env, began = environment_of(name, data), time.monotonic()

    def play(words: list[str], log: str) -> Ended:
        output = directory / log
        return run(words, cwd=directory / "cwd", env=env, output=output, limit_secs=LIMIT_SECS)

    ended = play(command, "played.log")
    secs = time.monotonic() - began
    if command[0] != "unshare":
        play(read, "read.log")
    result = Path(f"{ledger}.json")
    if not result.exists():
        logs = "\n".join(path.read_text(errors="replace") for path in directory.glob("*.log"))
        return last_line(logs)
    cells = struct.unpack(f"{CELLS}q", ledger.read_bytes())
    return judged(cells, json.loads(result.read_text()), ended, script, secs)


def judged(
    cells: tuple[int, ...], points: list[list[float]], ended: Ended, script: str, secs: float
) -> Found:
    """Compare what the training counted with what the reader gives."""
    child = range(CHILD_FIRST, CHILD_FIRST + cells[CHILD_RETURNED])
    # A refused call has no step that we know: only their number is taken off.
    steps = {*range(cells[RETURNED] + cells[RAISED]), *child}
    # The call that was cut off between log() and the ledger is neither lost nor made up.
    found = {int(step) for step, _ in points} & steps
    stored = [int(step) for step, _ in points]
    wrong = sum(value != step * 0.5 for step, value in points)
    saw = []
    if cells[RAISED]:
        saw.append(f"{cells[RAISED]} exceptions")
    if cells[HUNG]:
        saw.append("the child hung")
    if ended.timed_out or not (cells[FINISHED] or script == "training killed"):
        saw.append("never ended" if ended.timed_out else "died")
    saw.append(f"{cells[LONGEST_NS] / 1e6:.0f} ms at most")
    accepted = cells[RETURNED] + cells[CHILD_RETURNED] - cells[REFUSED]
    twice = len(stored) - len(set(stored))
    return Found(accepted, len(found), twice, wrong, cells[REFUSED], ", ".join(saw), secs)


def sums(rounds: list[Found]) -> Found:
    """Add rounds up; of what the training saw, tell the worst."""
    return Found(
        accepted=sum(it.accepted for it in rounds),
        found=sum(it.found for it in rounds),
        twice=sum(it.twice for it in rounds),
        wrong=sum(it.wrong for it in rounds),
        refused=sum(it.refused for it in rounds),
        saw=max((it.saw for it in rounds), key=len),
        secs=sum(it.secs for it in rounds) / len(rounds),
    )


def rows(names: list[str], rounds: int, *, install: bool, scratch: Path) -> Iterator[list[object]]:
    """Play every script with every tracker, and yield the rows of the table."""
    for name, ready in environments(names, install=install).items():
        if isinstance(ready, Missing):
            yield [name, "-", ready.reason, *["-"] * 7]
            continue
        for script in SCRIPTS:
            played = []
            for number in range(rounds):
                directory = scratch / f"{name}-{number}"
                found = one_round(name, ready, script, directory)
                shutil.rmtree(directory, ignore_errors=True)
                played.append(found)
            yield row(name, ready, script, played)
            say(f"{name}: {script}")


def row(name: str, ready: Ready, script: str, played: list[Found | str]) -> list[object]:
    """Return the row of one script."""
    head = [name, ready.versions.rpartition(" ")[2] or "-", script]
    rounds = [it for it in played if isinstance(it, Found)]
    if not rounds:
        return [*head, *["-"] * 6, f"not read: {played[0]}", "-"]
    it = sums(rounds)
    lost = max(0, it.accepted - it.found)
    return [*head, it.accepted, it.found, lost, it.twice, it.wrong, it.refused, it.saw, it.secs]


COLUMNS = [
    "tracker", "version", "script", "calls accepted", "found", "lost", "twice", "wrong",
    "refused, counted", "the training saw", "s a round",
]  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m peers.faults")
    parser.add_argument("--only", default="", help=f"of {' '.join(COMPARED)}; default: all")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--no-install", action="store_true", help="do not ask pip for anything")
    args = parser.parse_args()
    chosen = args.only.split() or COMPARED
    if unknown := sorted(set(chosen) - set(COMPARED)):
        sys.exit(f"not compared: {', '.join(unknown)}; there are: {', '.join(COMPARED)}")
    if subprocess.run(["unshare", "-Urm", "true"], check=False, capture_output=True).returncode:
        sys.exit("a full disk needs a mount in a user namespace, which is forbidden here")
    page.heading("Faults beside other trackers")
    with page.scratch() as directory:
        adopt_orphans()
        install = not args.no_install
        page.table(COLUMNS, list(rows(chosen, args.rounds, install=install, scratch=directory)))


if __name__ == "__main__":
    main()
