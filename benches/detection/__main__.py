"""How often are the detections right, and do the predictions hold? `make bench-detection`"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

from detection import bench, cases, curves, labels, synthetic
from detection.curves import Run
from detection.faults import FAULTS
from detection.page import page

KINDS = frozenset(fault.kind for fault in FAULTS) | {"outlier", "reward_spike", "reward_hacking"}
WORDS = ", ".join([*sorted(KINDS), *bench.PARTS])
# Of lines that are no runs so many are named.
MOST_SHOWN = 10
REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> None:
    """Score and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m detection")
    parser.add_argument("--data", default="", help="a folder of curves; default: made ones")
    parser.add_argument("--every", type=int, default=1, help="take each n-th run of a file only")
    parser.add_argument(
        "--only", default="", help=f"of {', '.join([*sorted(KINDS), *bench.PARTS])}"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--out", type=Path, help="the page; default: standard output")
    args = parser.parse_args()
    only = frozenset(args.only.replace(",", " ").split())
    if args.every < 1 or args.jobs < 1:
        sys.exit("--every and --jobs are 1 or more")
    if unknown := sorted(only - KINDS - frozenset(bench.PARTS)):
        sys.exit(f"nothing is called {', '.join(unknown)}; see --help")
    start = time.perf_counter()
    folder = Path(args.data) if args.data else None
    if folder is not None and not curves.sources(folder):
        sys.exit(f"{folder} holds no *.jsonl or *.jsonl.gz")
    problems: list[str] = []
    if folder:
        runs = curves.load(folder, every=args.every, tell=problems.append)
    else:
        runs = synthetic.make(12)
    for problem in problems[:MOST_SHOWN]:
        print(f"skipped: {problem}", file=sys.stderr)
    if not runs:
        sys.exit(f"{args.data} holds no run that can be read")
    known = labels.labels_of(runs, folder or Path())
    hosts = cases.hosts(runs, known)
    extra = synthetic.traces() if folder and (not only or only & KINDS) else []
    known |= labels.labels_of(extra, Path())
    hosts += cases.hosts(extra, known)
    tested = bench.systems()
    results = bench.measure(runs, hosts, known, tested, extra=extra, only=only, jobs=args.jobs)
    text = page(results, tested, _head(runs, args.data, problems, time.perf_counter() - start))
    if args.out is None:
        print(text)
        return
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text)
    print(f"{args.out}: {len(runs):,} runs in {time.perf_counter() - start:.0f} s", file=sys.stderr)


def _head(runs: list[Run], data: str, problems: list[str], seconds: float) -> list[str]:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True, text=True, cwd=REPOSITORY, check=False,
    )  # fmt: skip
    points = sum(len(series) for run in runs for series in run.series.values())
    skipped = [f"skipped: {problem}" for problem in problems[:MOST_SHOWN]]
    if len(problems) > MOST_SHOWN:
        skipped.append(f"skipped: {len(problems) - MOST_SHOWN:,} more lines")
    if data and not (Path(data) / "labels.tsv").is_file():
        skipped.append("labels: no labels.tsv, made by rules from whole curves")
    return [
        f"curves: {Path(data).name if data else 'made'}, {len(runs):,} runs, {points:,} points",
        f"commit: {done.stdout.strip() or 'none'}, Python {platform.python_version()}",
        f"date: {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, took {seconds:.0f} s",
        f"command: `python -m detection {' '.join(_shown(word) for word in sys.argv[1:])}`",
        *skipped,
    ]


def _shown(word: str) -> str:
    return Path(word).name if "/" in word else word


if __name__ == "__main__":
    main()
