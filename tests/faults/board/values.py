"""Values of every bit pattern, and more keys and points than anybody logs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import training_monitor as tm
from faults.board.row import Measured, Row, Stage
from harness import processes, reading

BITS = """
import numpy as np, warnings
warnings.simplefilter("ignore")  # numpy's own, about signalling NaN
patterns = np.load(sys.argv[2])
doubles, singles = patterns.view(np.float64), patterns.astype(np.uint32).view(np.float32)
plain = doubles.tolist()
tm.init("bits", root_dir=sys.argv[1], strict=True, quiet=True)
for step in range(len(plain) // 4):
    a = 4 * step
    tm.log({"a": plain[a], "b": plain[a + 1], "c": doubles[a + 2], "d": doubles[a + 3],
            "single": singles[a]}, step)
tm.close()
"""


def bits(stage: Stage) -> Measured:
    """Log random bit patterns as floats, numpy doubles and singles; compare the bits."""
    count = stage.size(1_000_000, 20_000)
    source = np.random.default_rng(stage.seed)
    patterns = source.integers(0, 1 << 64, count, dtype=np.uint64)
    # Random bits are a NaN or a subnormal once in a thousand: every eighth is one of them here.
    patterns[::8] = patterns[::8] & np.uint64(0x800F_FFFF_FFFF_FFFF) | np.uint64(0x7FF << 52)
    patterns[4::16] &= np.uint64(0x800F_FFFF_FFFF_FFFF)
    np.save(stage.directory / "patterns.npy", patterns)
    root = stage.directory / "runs"
    processes.run_script(stage.directory, BITS, root, stage.directory / "patterns.npy")
    reading.settled(root / "bits")
    view = tm.open_run(root / "bits")
    with np.errstate(all="ignore"):
        singles = patterns.astype(np.uint32).view(np.float32)[::4].astype(np.float64)
    wanted = {key: patterns[at::4] for at, key in enumerate("abcd")}
    wanted["single"] = singles.view(np.uint64)
    wrong = 0
    for key, expected in wanted.items():
        series = view.series(key, raw=True)
        assert np.array_equal(series.step, np.arange(count // 4)), key
        found: NDArray[np.uint64] = np.ascontiguousarray(series.value).view(np.uint64)
        wrong += int((found != expected).sum())
    return Measured(f"{count:,} patterns, {count // 4:,} singles: {wrong} changed", wrong == 0)


MANY_KEYS = """
import warnings
warnings.simplefilter("ignore")
keys, width = int(sys.argv[2]), 1000
tm.init("keys", root_dir=sys.argv[1], quiet=True)

def kib(pid, field):
    return int(open(f"/proc/{pid}/status").read().split(field + ":")[1].split()[0])

before, untold = kib("self", "RssAnon"), tm.health().rejected
for first in range(0, keys, width):
    tm.log({f"key{n}": float(n) for n in range(first, first + width)}, first // width)
grown, times = kib("self", "RssAnon") - before, []
for step in range(20_000):
    began = time.perf_counter()
    tm.log({"key1": 1.0}, 10**6 + step)
    times.append(time.perf_counter() - began)
while tm.health().durable < tm.health().accepted:
    time.sleep(0.05)
times.sort()
monitor = open(sys.argv[1] + "/keys/.monitor.lock").read().split()[0]
health = tm.health()
print(grown / 1024, kib(monitor, "VmHWM") / 1024, times[len(times) * 99 // 100] * 1e6,
      health.accepted - 20_000, health.rejected - untold)
tm.close()
"""
# More names than this are refused: a name that holds a number of a step would fill any memory.
MOST_KEYS = 1 << 18


def keys(stage: Stage) -> tuple[str, float]:
    """Log more names than are kept; return what is told, and the most memory in MiB."""
    offered = stage.size(1_000_000, 20_000)
    root = stage.directory / "runs"
    out = processes.run_script(stage.directory, MANY_KEYS, root, offered, within_secs=280)
    grown, peak, p99_us, accepted, rejected = map(float, out.split())
    reading.settled(root / "keys")
    listed, kept = len(tm.open_run(root / "keys").metrics()), min(offered, MOST_KEYS)
    assert listed == accepted == kept, f"{listed:,} of {kept:,} keys, {accepted:,} accepted"
    assert accepted + rejected == offered, f"{rejected:,} told"
    text = (
        f"{offered:,} names: {kept:,} kept, the rest told; trainer +{grown:.0f} MiB, monitor "
        f"{peak:.0f} MiB, p99 of log() then {p99_us:.1f} us"
    )
    return text, max(grown, peak)


def points(stage: Stage) -> tuple[str, float]:
    """Log very many points with the bench for that; return what is told, and the most memory."""
    count = stage.size(100_000_000, 1_000_000)
    bench = Path(__file__).resolve().parents[3] / "benches" / "python" / "bench_scale.py"
    command = [sys.executable, str(bench), "--points", str(count), "--keys", "10000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    table = done.stdout.partition("| points |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    trainer, monitor = (max(float(row[at].replace(",", "")) for row in rows) for at in (2, 3))
    text = f"{count:,} points: trainer {trainer:.0f} MiB, monitor {monitor:.0f} MiB at most"
    return text, max(trainer, monitor)


def scale(stage: Stage) -> Measured:
    """Log very many keys in one run, and very many points in another."""
    parts = [keys(stage), points(stage)]
    text = "; ".join(part for part, _ in parts)
    return Measured(text, max(mib for _, mib in parts) <= 300)


ROWS = [
    Row("15", "values of every bit pattern", "all bits kept", bits, 200),
    Row("16", "a million names, 1e8 points", "trainer and monitor <= 300 MiB", scale, 600),
]
