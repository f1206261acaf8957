"""What makes a mapped file deadly: cut short, removed, over a quota, on a disk with errors."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import training_monitor as tm
from faults.board.row import Measured, Row, Stage
from harness import processes, reading
from harness.faulty import Call, Fault, Faults

KINDS = ["sparse", "quota", "descriptors", "error", "unlink", "truncate"]
# Logs until everything so far is stored, then meets the fault, then logs on.
TRAINER = """
import json, resource, shutil, warnings
from harness import processes
warnings.simplefilter("ignore")
root, kind = sys.argv[1:]
spool = root + "/run/.spool"
tm.init("run", root_dir=root, quiet=True)
for step in range(200):
    tm.log({"before": float(step)}, step)
processes.until(lambda: tm.health().durable >= 200, "the first points to be stored")
family = [pid for pid in processes.mentioning(root) if "bootstrap" in
          " ".join(processes.commands([pid]).values())]
print("ready", flush=True)
sys.stdin.readline()
untold = tm.health().rejected
lanes = processes.files_below(spool, "lane*")
if kind == "quota":
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
if kind == "descriptors":
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")), 4096))
if kind == "unlink":
    for path in lanes:
        os.unlink(path)
if kind == "truncate":
    for path in lanes:
        os.truncate(path, 0)
sparse = step = 0
for step in range(20_000):
    tm.log({"after": float(step), "twice": 2.0 * step}, step)
    if step % 500 == 0:
        time.sleep(0.002)
        for path in processes.files_below(spool, "lane*"):
            try:
                stat = os.stat(path)
            except OSError:
                continue
            sparse += stat.st_blocks * 512 < stat.st_size and kind != "truncate"
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))
health = tm.health()
print(json.dumps({"rejected": health.rejected - untold, "sparse": sparse}), flush=True)
tm.close()
"""


def meet(stage: Stage, number: int) -> str:
    """Play one run; return how it ended."""
    kind = KINDS[number % len(KINDS)]
    rng, directory = stage.rng(number), stage.directory / f"{kind}{number}"
    directory.mkdir()
    run_dir = directory / "runs" / "run"
    faults = Faults(directory / "faults", below=run_dir, only="train.py")
    script = directory / "train.py"
    script.write_text(processes.PRELUDE + TRAINER)
    environment = {
        **os.environ, **faults.env, "TM_LANE_BYTES": str(64 << 10), "TM_GRACE_SECS": "0.2",
        "PYTHONPATH": os.path.dirname(os.path.dirname(os.path.dirname(__file__))),
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, str(script), str(run_dir.parent), kind], env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    if kind == "error":
        faults.arm(
            Call.ALLOCATE, Call.MAP, Call.OPEN, Call.TRUNCATE, at=rng.randint(1, 3),
            every=rng.randint(1, 3), fault=Fault.FAIL, detail=errno.EIO,
        )  # fmt: skip
    out, err = process.communicate("\n", timeout=120)
    reading.settled(run_dir)
    where = f"{kind} {number}"
    assert reading.raw(run_dir, "before") == [(s, float(s)) for s in range(200)], where
    if process.returncode == -signal.SIGBUS and kind == "truncate":
        return "truncate: ended by SIGBUS, as is told"
    assert process.returncode == 0, f"{where}: {process.returncode} {err}"
    told = json.loads(out)
    assert not told["sparse"], f"{where}: a lane file has holes"
    after = reading.raw(run_dir, "after") if "after" in names(run_dir) else []
    assert all(value == float(step) for step, value in after), f"{where}: a wrong value"
    assert len({step for step, _ in after}) == len(after), f"{where}: twice"
    if kind not in {"unlink", "truncate"}:
        assert len(after) + told["rejected"] == 20_000, f"{where}: {len(after)} {told}"
    shutil.rmtree(directory)
    return f"{kind}: lived"


def names(run_dir: os.PathLike[str]) -> set[str]:
    """Return the metrics of a run."""
    return {metric.name for metric in tm.open_run(run_dir).metrics()}


def matrix(stage: Stage) -> Measured:
    """Meet every kind of fault many times."""
    runs = stage.size(102, 6)
    with ThreadPoolExecutor(3) as pool:
        ends = Counter(pool.map(lambda number: meet(stage, number), range(runs)))
    deaths = sum(count for end, count in ends.items() if "SIGBUS" in end)
    text = (
        f"{runs} runs of {', '.join(KINDS)}: 0 deaths but {deaths} of {runs // len(KINDS)} after "
        "a truncation, which is not promised; 0 lost untold"
    )
    return Measured(text, True)


ROWS = [Row("6", "lanes that a store may not reach", "deaths by truncation only", matrix)]
