"""What does sampling the machine cost, beside an idle Python process?"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import page

TRAINER = """
import os, sys, threading, time
import training_monitor as tm
tm.init("poller", root_dir=sys.argv[1], quiet=True)
stop = threading.Event()
threads = [threading.Thread(target=stop.wait) for _ in range(30)]
for thread in threads: thread.start()
children = [__import__("subprocess").Popen(["sleep", "100000"]) for _ in range(int(sys.argv[2]))]
step = 0
print("ready", flush=True)
while not os.path.exists(sys.argv[3]):
    tm.log({"loss": 1.0}, step)
    step += 1
    time.sleep(0.1)
for child in children: child.kill()
stop.set()
"""
IDLE = "import select\nwhile True: select.select([], [], [], 1.0)"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--secs", type=float, default=60.0)
    parser.add_argument("--children", type=int, default=8)
    args = parser.parse_args()
    page.heading("the poller: CPU and memory at one sample a second")
    with page.scratch() as directory:
        idle = subprocess.Popen([sys.executable, "-c", IDLE])
        stop = directory / "stop"
        trainer = subprocess.Popen(
            [sys.executable, "-c", TRAINER, directory, str(args.children), stop],
            stdout=subprocess.PIPE,
        )
        assert trainer.stdout is not None
        trainer.stdout.readline()
        # What it imports and opens once is not what it costs.
        time.sleep(5.0)
        watched = {"poller": poller_of(directory), "idle Python": idle.pid}
        began, before = time.monotonic(), {name: cpu_secs(pid) for name, pid in watched.items()}
        samples = count(directory)
        time.sleep(args.secs)
        secs = time.monotonic() - began
        rows = [
            [name, (cpu_secs(pid) - before[name]) / secs * 100, rss_mib(pid)]
            for name, pid in watched.items()
        ]
        page.table(["process", "% of a core", "MiB resident"], rows)
        taken = count(directory) - samples
        page.table(["samples of", "taken", "wanted"], [["host", taken, round(secs)]])
        stop.touch()
        trainer.wait()
        idle.kill()
        idle.wait()


def poller_of(directory: Path) -> int:
    """Return the process id of the poller whose run lies in a directory."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            command = (entry / "cmdline").read_bytes()
            if str(directory).encode() in command and b"--samples" in command:
                return int(entry.name)
    raise SystemExit("the poller did not start")


def count(directory: Path) -> int:
    """Return how many samples of the host are in the database."""
    import training_monitor as tm

    named = tm.open_run(directory / "poller").system()
    return len(named.get("host/memory_used_bytes", ()))


def cpu_secs(pid: int) -> float:
    """Return what a process and the commands it waited for have used, to the nanosecond."""
    ran = sum(
        int((task / "schedstat").read_text().split()[0])
        for task in Path(f"/proc/{pid}/task").iterdir()
    )
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    waited_for = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return ran / 1e9 + waited_for


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


if __name__ == "__main__":
    main()
