"""Twenty trainings that start under one name in the same moment, and trainings that are killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import training_monitor as tm
from faults.board.row import Measured, Row, Stage
from harness import processes, reading
from training_monitor import _core

STARTS = 20
# All of them wait at one gate, and live until the last of them has begun.
ROUND = f"""
import json, warnings
root, monitors = sys.argv[1], sys.argv[2] == "True"
gate, opened = os.pipe()
done, finish = os.pipe()
told, tell = os.pipe()
children = []
for who in range({STARTS}):
    pid = os.fork()
    if pid == 0:
        warnings.simplefilter("ignore")
        os.close(opened), os.close(finish)
        os.read(gate, 1)
        run = tm.init("same", {{"who": who}}, root_dir=root, strict=True, quiet=True,
                      start_monitor=monitors)
        for step in range(20):
            tm.log({{"who": float(who)}}, step)
        os.write(tell, (json.dumps([who, str(run.dir)]) + "\\n").encode())
        os.read(done, 1)
        tm.close() if monitors else None
        os._exit(0)
    children.append(pid)
os.close(gate), os.close(opened)
lines = b""
while lines.count(b"\\n") < {STARTS}:
    lines += os.read(told, 65536)
os.close(done), os.close(finish)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
print(lines.decode(), end="")
"""


def same_name(stage: Stage) -> Measured:
    """Start twenty trainings of one name at once, again and again, and count what is whose."""
    rounds, with_monitors = stage.size(50, 2), stage.size(2, 0)
    for number in range(rounds):
        directory = stage.directory / f"round{number}"
        directory.mkdir()
        monitors = number < with_monitors
        out = processes.run_script(directory, ROUND, directory / "runs", monitors)
        dirs = dict(json.loads(line) for line in out.splitlines())
        assert len(set(dirs.values())) == STARTS, f"round {number}: {dirs}"
        for who, name in dirs.items():
            run_dir = Path(name)
            if monitors:
                reading.settled(run_dir)
            else:
                _core.Ingest(name).finish(60.0)
            assert reading.raw(run_dir, "who") == [(s, float(who)) for s in range(20)], run_dir
            assert tm.open_run(run_dir).config == {"who": who}, run_dir
    text = f"{rounds} rounds of {STARTS}: {rounds * STARTS:,} separate runs, 0 mixed rows"
    return Measured(text, True)


KILLED = """
tm.init(sys.argv[2], root_dir=sys.argv[1], quiet=True)
tm.log({"loss": 1.0}, 0)
print("logged", flush=True)
time.sleep(600)
"""


def kill_one(directory: Path, number: int) -> None:
    """Start a training and kill it once it logs."""
    process = subprocess.Popen(
        [sys.executable, str(directory / "killed.py"), str(directory / "runs"), f"run{number}"],
        env={**os.environ, "TM_GRACE_SECS": "0.2"}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"logged\n"
    process.kill()
    process.communicate()


def leftovers(stage: Stage) -> Measured:
    """Kill many trainings; afterwards nothing of ours runs any more."""
    count = stage.size(200, 6)
    (stage.directory / "killed.py").write_text(processes.PRELUDE + KILLED)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: kill_one(stage.directory, number), range(count)))
    processes.until(
        lambda: processes.have_left(stage.directory / "runs"), "all to leave", within_secs=60
    )
    for number in range(count):
        assert reading.raw(stage.directory / "runs" / f"run{number}", "loss") == [(0, 1.0)]
    return Measured(f"{count} killed, 0 processes left, every point stored", True)


ROWS = [
    Row("17", "20 starts of one name at once", "separate runs, 0 mixed rows", same_name, 300),
    Row("18", "trainers killed", "0 processes left", leftovers, 300),
]
