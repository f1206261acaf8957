"""What do import, init() and close() cost a training script?"""

from __future__ import annotations

import argparse
import compileall
import os
import statistics
import subprocess
import sys
from pathlib import Path

import page
import training_monitor as tm

PROGRAM = """
import sys, time
t = time.perf_counter
a = t()
import training_monitor as tm
b = t()
tm.init("life", root_dir=sys.argv[1], quiet=True)
c = t()
dicts = [{f"k{n}": step + n / 7 for n in range(10)} for step in range(1000)]
for first in range(0, 20_000, 1000):
    for step, metrics in enumerate(dicts, first):
        tm.log(metrics, step)
while tm.health().durable == 0:
    time.sleep(0.001)
d = t()
tm.close()
e = t()
print(b - a, c - b, e - d)
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    args = parser.parse_args()
    page.heading("import, init() and close() after 200,000 points")
    # An installed package is compiled; one that is built in place may not be.
    compileall.compile_dir(Path(tm.__file__).parent, quiet=1)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    samples: list[list[float]] = []
    with page.scratch() as directory:
        for number in range(args.rounds):
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM, str(directory / f"run{number}")],
                stdout=subprocess.PIPE, text=True, check=True, env=env,
            )  # fmt: skip
            samples.append([float(word) * 1e3 for word in done.stdout.split()])
    rows = [
        [name, statistics.median(times), min(times), max(times)]
        for name, times in zip(
            ["import", "init()", "close()"], zip(*samples, strict=True), strict=True
        )
    ]
    page.table(["ms", "median", "min", "max"], rows)


if __name__ == "__main__":
    main()
