"""What is logged is judged while it is recorded, whoever of ours is killed meanwhile."""

import os
import random
import signal
from pathlib import Path

import training_monitor as tm
from harness import processes
from training_monitor.machine import Finding

# At once, so that the scripts below need not last.
EARLY = {"TM_BRAIN_AFTER_SECS": "0"}

# Healthy but for a jump of 1.5 whenever the file is there that asks for it, and NaN at the end.
TRAINS = """
import math, random
tm.init("judged", root_dir=sys.argv[1], strict=True, config={"max_steps": 10**6})
draw = random.Random(7)
step, jump = 0, 0.0
while True:
    loss = 2.0 + 3.0 * math.exp(-step / 600) + draw.gauss(0, 0.02) + jump
    jump *= 0.7
    tm.log({"train/loss": loss, "lr": 1e-3}, step)
    step += 1
    if step == 300:
        print("begun", flush=True)
    if os.path.exists(sys.argv[2] + "/jump"):
        os.unlink(sys.argv[2] + "/jump")
        jump = 1.5
        print(step, flush=True)
    elif os.path.exists(sys.argv[2] + "/end"):
        break
    time.sleep(0.003)
tm.log({"train/loss": math.nan}, step)
tm.close()
"""


def findings(run_dir: Path) -> list[Finding]:
    try:
        found = tm.open_run(run_dir).findings()
    except tm.RunNotFoundError:
        return []
    return [finding for finding in found if finding.by == "detector"]


def spikes(run_dir: Path) -> list[int | None]:
    """Return the steps at which the spikes began that were found."""
    found = findings(run_dir)
    return [one.since for one in found if one.name == "spike" and not one.over]


def brain_pid(run_dir: Path) -> int:
    """Return the pid of the run's living brain, or 0."""
    pids = processes.commands(processes.mentioning(run_dir))
    return next((pid for pid, words in pids.items() if "--brain" in words), 0)


class Training:
    """A script that logs, and jumps when it is told to."""

    def __init__(self, tmp_path: Path, root: Path, **env: str) -> None:
        self.run_dir = root / "judged"
        self._words = tmp_path
        self._process = processes.start_script(tmp_path, TRAINS, root, tmp_path, env=EARLY | env)
        self._answer("begun")

    def _answer(self, wanted: str | None = None) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line or wanted not in (None, line):
            raise AssertionError(self._process.communicate())
        return line

    def jump(self) -> int:
        (self._words / "jump").touch()
        return int(self._answer())

    def end(self) -> None:
        (self._words / "end").touch()
        processes.finish(self._process)


def test_a_spike_is_found_told_and_over(tmp_path: Path, root: Path) -> None:
    training = Training(tmp_path, root)
    step = training.jump()
    run_dir = training.run_dir
    processes.until(lambda: spikes(run_dir) == [step], f"a spike at {step}")
    (spike,) = (one for one in findings(run_dir) if one.name == "spike" and not one.over)
    assert (spike.severity, spike.source, spike.rank) == ("warning", "train/loss", None)
    assert spike.reference < spike.value
    assert f"at step {step:,}" in spike.text
    assert spike.advice
    log = run_dir / "training_monitor.alerts.log"
    processes.until(lambda: log.exists() and "train/loss jumped" in log.read_text(), "the alert")
    over = processes.until(
        lambda: [one for one in findings(run_dir) if one.name == "spike" and one.over], "its end"
    )
    assert over[0].since == step
    training.end()
    nan = processes.until(
        lambda: [one for one in findings(run_dir) if one.name == "non_finite"], "the NaN"
    )
    assert (nan[0].severity, nan[0].stands) == ("critical", True)
    assert not [one for one in findings(run_dir) if one.name not in ("spike", "non_finite")]


def test_killed_brains_and_monitors_neither_lose_nor_double(tmp_path: Path, root: Path) -> None:
    training = Training(tmp_path, root, TM_ALERTS_PER_HOUR="1000")
    run_dir, draw, steps = training.run_dir, random.Random(3), []
    for number in range(4):
        victim = processes.until(
            (lambda: brain_pid(run_dir))
            if number % 2
            else (lambda: processes.monitor_pid(run_dir)),
            "somebody to kill",
        )
        if draw.random() < 0.5:
            steps.append(training.jump())
            os.kill(victim, signal.SIGKILL)
        else:
            os.kill(victim, signal.SIGKILL)
            steps.append(training.jump())
        processes.until(lambda: spikes(run_dir)[-1:] == steps[-1:], f"a spike at {steps[-1]}")
    training.end()
    processes.until(lambda: processes.have_left(run_dir), "all of ours to leave", within_secs=90)
    assert spikes(run_dir) == steps


def test_detection_can_be_switched_off(tmp_path: Path, root: Path) -> None:
    training = Training(tmp_path, root, TM_DETECTION="0")
    training.jump()
    processes.until(
        lambda: tm.open_run(training.run_dir).series("train/loss").step[-1] > 1000, "more steps"
    )
    assert not brain_pid(training.run_dir)
    training.end()
    assert findings(training.run_dir) == []


def test_an_outbox_that_cannot_be_opened_keeps_nobody_from_judging(
    tmp_path: Path, root: Path
) -> None:
    (root / "judged").mkdir(parents=True)
    (root / "judged" / ".alerts.outbox").mkdir()
    training = Training(tmp_path, root)
    step = training.jump()
    processes.until(lambda: spikes(training.run_dir) == [step], "the spike")
    assert "alerts are not told" in (training.run_dir / "training_monitor.log").read_text()
    training.end()
