"""Forked, spawned and forkserver children beside threads that log; none may hang or mix rows."""

from __future__ import annotations

import json
from pathlib import Path

from faults.board.row import Measured, Row, Stage
from harness import processes, reading

# Children end in three ways after they logged; every fourth one has a child of its own.
FORKS = """
import json, threading
tm.init("forks", root_dir=sys.argv[1], strict=True, quiet=True)
forks, stop, counts = int(sys.argv[2]), threading.Event(), [0] * 4

def log_beside(n):
    while not stop.is_set():
        tm.log({f"thread{n}": float(counts[n])}, counts[n])
        counts[n] += 1
        time.sleep(0.0005)

def end(number):
    if number % 3 == 0:
        os._exit(0)
    if number % 3 == 1:
        sys.exit(0)
    raise RuntimeError("a worker that fails")

threads = [threading.Thread(target=log_beside, args=(n,)) for n in range(4)]
for thread in threads:
    thread.start()
longest = hangs = 0
sys.stderr = open(os.devnull, "w")
for number in range(forks):
    tm.log({"parent": float(number)}, number)
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        for n in range(5):
            tm.log({"child": float(number)}, number * 10 + n)
        if number % 4 == 0:
            below = os.fork()
            if below == 0:
                tm.log({"grandchild": float(number)}, number)
                os._exit(0)
            os.waitpid(below, 0)
        for n in range(5, 10):
            tm.log({"child": float(number)}, number * 10 + n)
        end(number)
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() - began > 20:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            hangs += 1
            break
        time.sleep(0.0005)
    longest = max(longest, time.monotonic() - began)
stop.set()
for thread in threads:
    thread.join()
tm.close()
print(json.dumps({"threads": counts, "longest": longest, "hangs": hangs}))
"""

# What starts anew has no run: it logs into nothing, is told so, and ends.
STARTED_ANEW = """
import multiprocessing, warnings

def work(run, number):
    warnings.simplefilter("ignore")
    tm.log({"lost": 1.0}, number)
    run.log({"lost": 1.0}, number)
    if number % 3 == 0:
        os._exit(0)
    if number % 3 == 1:
        sys.exit(0)
    sys.stderr = open(os.devnull, "w")
    raise RuntimeError("a worker that fails")

if __name__ == "__main__":
    run = tm.init("anew", root_dir=sys.argv[1], strict=True, quiet=True)
    for method in ("spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        for number in range(int(sys.argv[2])):
            tm.log({method: float(number)}, number)
            child = context.Process(target=work, args=(run, number))
            child.start()
            child.join(60)
            assert not child.is_alive(), f"a child of {method} hangs"
    tm.close()
"""
QUIET = {"PYTHONWARNINGS": "ignore::DeprecationWarning"}


def forks(stage: Stage) -> Measured:
    """Fork a thousand times beside four threads that log."""
    count = stage.size(1000, 60)
    root = stage.directory / "runs"
    out = processes.run_script(
        stage.directory, FORKS, root, count, env=QUIET, within_secs=stage.size(280, 100)
    )
    told = json.loads(out.splitlines()[-1])
    run_dir = root / "forks"
    reading.settled(run_dir)
    lost = judge(run_dir, count, told["threads"])
    anew = stage.size(40, 3)
    processes.run_script(
        stage.directory, STARTED_ANEW, root, anew, env=QUIET, within_secs=stage.size(200, 60)
    )
    reading.settled(root / "anew")
    for method in ("spawn", "forkserver"):
        wanted = [(n, float(n)) for n in range(anew)]
        assert reading.raw(root / "anew", method) == wanted, method
    text = (
        f"{count:,} forks, {count // 4} of them forked again, {2 * anew} spawned: "
        f"{told['hangs']} hangs, {lost} lost or misattributed; longest child "
        f"{told['longest'] * 1e3:.0f} ms"
    )
    within = told["longest"] <= 2 or not stage.full
    return Measured(text, told["hangs"] == 0 and lost == 0 and within)


def judge(run_dir: Path, count: int, threads: list[int]) -> int:
    """Return how many points are not exactly where they belong."""
    wanted = {
        "parent": [(n, float(n)) for n in range(count)],
        "child": [(n * 10 + i, float(n)) for n in range(count) for i in range(10)],
        "grandchild": [(n, float(n)) for n in range(0, count, 4)],
        **{f"thread{n}": [(i, float(i)) for i in range(many)] for n, many in enumerate(threads)},
    }
    return sum(
        len(set(points) ^ set(found)) + len(found) - len(set(found))
        for key, points in wanted.items()
        for found in [reading.raw(run_dir, key)]
    )


ROWS = [Row("8", "fork beside 4 logging threads", "0 hangs > 2 s, 0 lost, 0 misattributed", forks)]
