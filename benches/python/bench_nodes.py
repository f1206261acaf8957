"""What do monitor and relay of a training on two nodes use while next to nothing is logged?"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import page
from process_tree import cpu_secs

KEY = "only-for-this-measurement"
BUDGET_PERCENT = 0.2

# Logs a call every so many seconds, until it is told to end.
TRAIN = """
import os, sys, time
import training_monitor as tm
every, end = float(sys.argv[1]), sys.argv[2]
run = tm.init("run", quiet=True)
step, due = 0, time.monotonic()
while not os.path.exists(end):
    if time.monotonic() >= due:
        tm.log({"loss": 1.0 / (step + 1)}, step)
        step, due = step + 1, due + every
    time.sleep(0.2)
tm.close()
"""


@contextmanager
def trainings(directory: Path, every_secs: float, extra: Mapping[str, str]) -> Iterator[int]:
    """Train on two nodes with directories of their own; yield when both are at work."""
    end, nodes = directory / "end", []
    address: dict[str, str] = {}
    for rank in range(2):
        root = directory / f"node{rank}"
        env = {
            **os.environ, **extra, **address, "TM_ROOT_DIR": str(root), "TM_RELAY_KEY": KEY,
            "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1",
            "GROUP_RANK": str(rank), "TORCHELASTIC_RUN_ID": "job", "TM_GRACE_SECS": "1",
        }  # fmt: skip
        command = [sys.executable, "-c", TRAIN, str(every_secs), str(end)]
        nodes.append(subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL))
        if not rank:
            address = {"TM_MONITOR_ADDRESS": f"127.0.0.1:{listening(root / 'run')}"}
    try:
        yield len(nodes)
    finally:
        end.touch()
        for node in nodes:
            node.wait()


def listening(run_dir: Path) -> int:
    """Wait until the monitor listens for relays; return its port."""
    published = run_dir / ".endpoint.json"
    while not published.exists():
        time.sleep(0.05)
    return int(json.loads(published.read_text())["port"])


def service(pid: int, directory: Path) -> str:
    """Return which of our services a process is; empty when it is none of them."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    if str(directory).encode() not in words or b"bootstrap.py" not in words:
        return ""
    for mark, name in ((b"--brain", "brain"), (b"--pipe", "poller")):
        if mark in words:
            return name
    return "relay" if str(directory / "node1").encode() in words else "monitor"


def shares(directory: Path, young_secs: float, secs: float) -> dict[str, float]:
    """Return which share of a core each of our services uses, in per cent."""
    time.sleep(young_secs)
    everybody = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    services = {pid: name for pid in everybody if (name := service(pid, directory))}
    before, began = {pid: cpu_secs(pid) for pid in services}, time.perf_counter()
    time.sleep(secs)
    took = time.perf_counter() - began
    found: dict[str, float] = {}
    for pid, name in services.items():
        used = (cpu_secs(pid) - before[pid]) / took * 100
        found[name] = found.get(name, 0.0) + used
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--secs", type=float, default=30.0)
    young = "before: at first monitor and relay look around more often"
    parser.add_argument("--young-secs", type=float, default=15.0, help=young)
    args = parser.parse_args()
    page.heading("Two nodes while next to nothing is logged")
    cases = {
        "nothing logged, no samples": (1e6, {"TM_SYSTEM_INTERVAL_SECS": "none"}),
        "nothing logged, a sample a second each": (1e6, {}),
        "a call a second each, no samples": (1.0, {"TM_SYSTEM_INTERVAL_SECS": "none"}),
        "a call and a sample a second each": (1.0, {}),
    }
    rows: list[list[object]] = []
    for name, (every_secs, extra) in cases.items():
        with page.scratch() as directory, trainings(directory, every_secs, extra):
            found = shares(directory, args.young_secs, args.secs)
        hit = all(found.get(who, 0.0) <= BUDGET_PERCENT for who in ("monitor", "relay"))
        rows.append([
            name, *(found.get(who, 0.0) for who in ("monitor", "relay")), BUDGET_PERCENT,
            "hit" if hit else "MISS", found.get("brain", 0.0), found.get("poller", 0.0),
        ])  # fmt: skip
    columns = ["% of a core", "monitor", "relay", "budget", "", "brain", "pollers"]
    page.table(columns, rows)


if __name__ == "__main__":
    main()
