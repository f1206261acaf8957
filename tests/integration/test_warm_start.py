"""A brain that starts anew in a long run goes on where the one before it was."""

import itertools
import os
import signal
from pathlib import Path

import training_monitor as tm
from harness import processes
from training_monitor.machine import Finding

# At once, and of more than a thousand points only some of the past: as in a run of millions.
ENV = {"TM_BRAIN_AFTER_SECS": "0", "TM_BRAIN_PAST": "1000 400 600", "TM_ALERTS_PER_HOUR": "1000"}

# Healthy but for three times the loss as long as the file is there that asks for it.
TRAINS = """
import math, random
tm.init("judged", root_dir=sys.argv[1], strict=True, config={"max_steps": 10**6})
draw = random.Random(7)
step = 0
while not os.path.exists(sys.argv[2] + "/end"):
    high = 4.0 if os.path.exists(sys.argv[2] + "/high") else 0.0
    loss = 2.0 + 3.0 * math.exp(-step / 600) + draw.gauss(0, 0.02) + high
    tm.log({"train/loss": loss, "lr": 1e-3}, step)
    step += 1
    if step == 1500:
        print("begun", flush=True)
    time.sleep(0.003)
tm.close()
"""


def found(run_dir: Path, name: str) -> list[Finding]:
    try:
        findings = tm.open_run(run_dir).findings()
    except tm.RunNotFoundError:
        return []
    return [one for one in findings if one.by == "detector" and one.name == name]


def brain_pid(run_dir: Path) -> int:
    """Return the pid of the run's living brain, or 0."""
    pids = processes.commands(processes.mentioning(run_dir))
    return next((pid for pid, words in pids.items() if "--brain" in words), 0)


def points(run_dir: Path) -> int:
    return len(tm.open_run(run_dir).series("train/loss"))


def kill_brain(run_dir: Path) -> None:
    """Kill the brain, and wait until the next one has seen something new."""
    pid = processes.until(lambda: brain_pid(run_dir), "a brain to kill")
    os.kill(pid, signal.SIGKILL)
    processes.until(lambda: brain_pid(run_dir) not in (0, pid), "the next one")


def test_what_stands_goes_on_standing_and_ends_once(tmp_path: Path, root: Path) -> None:
    run_dir = root / "judged"
    training = processes.start_script(tmp_path, TRAINS, root, tmp_path, env=ENV)
    assert training.stdout is not None
    assert training.stdout.readline().strip() == "begun"
    (tmp_path / "high").touch()
    (began,) = processes.until(lambda: found(run_dir, "divergence"), "the divergence")
    count = points(run_dir)
    kill_brain(run_dir)
    processes.until(lambda: points(run_dir) > count + 500, "more points")
    (tmp_path / "high").unlink()
    _, over = processes.until(
        lambda: len(found(run_dir, "divergence")) > 1 and found(run_dir, "divergence"), "its end"
    )
    assert (over.over, over.since, over.rank) == (True, began.since, began.rank)
    phase = tm.open_run(run_dir).phase
    kill_brain(run_dir)
    count = points(run_dir)
    processes.until(lambda: points(run_dir) > count + 1000, "more points")
    (tmp_path / "end").touch()
    processes.finish(training)
    processes.until(lambda: processes.have_left(run_dir), "all of ours to leave", within_secs=90)
    assert len(found(run_dir, "divergence")) == 2
    assert len([one for one in found(run_dir, "spike") if not one.over]) == 2
    phases = tm.open_run(run_dir).phases()
    assert all(one.after == two.before for one, two in itertools.pairwise(phases))
    assert all(one.before != one.after for one in phases)
    assert len(phases) <= 6, phases
    assert phase is not None
    told = (run_dir / "training_monitor.alerts.log").read_text().splitlines()
    begun = [line for line in told if "has left its best" in line and "Over." not in line]
    assert len(begun) == 1, told
    assert len([line for line in told if "Over." in line]) <= 2, told
    log = (run_dir / "training_monitor.log").read_text()
    assert "brain:" not in log, log
