"""Several processes as the ranks of one job: what is told of each."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import training_monitor as tm
from harness import processes, reading

# Rank 2 is slow, rank 1 logs a metric of its own, rank 3 waits at the end to be killed.
TRAINER = """
rank = int(os.environ["RANK"])
tm.init("job", root_dir=sys.argv[1], quiet=True)
for step in range(20):
    time.sleep(0.09 if rank == 2 else 0.03)
    metrics = {"loss": 10.0 * rank + step}
    if rank == 1:
        metrics["eval"] = 1.0
    tm.log(metrics, step)
print("done", flush=True)
if rank == 3:
    time.sleep(600)
tm.close()
"""


def start_ranks(tmp_path: Path, root: Path, world: int) -> list[subprocess.Popen[str]]:
    job = {"TM_RUN_ID": "one job", "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
    started = []
    for rank in range(world):
        own = tmp_path / f"rank{rank}"
        own.mkdir()
        env = {**job, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        started.append(processes.start_script(own, TRAINER, root, env=env))
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
    return started


def test_each_rank_of_a_job_is_told_with_its_pace_and_its_end(tmp_path: Path, root: Path) -> None:
    started = start_ranks(tmp_path, root, 4)
    processes.kill(started[3].pid)
    for process in started[:3]:
        processes.finish(process)
    reading.settled(root / "job")
    view = tm.open_run(root / "job")
    ranks = view.ranks()
    assert [rank.rank for rank in ranks] == [0, 1, 2, 3]
    assert [rank.pid for rank in ranks] == [process.pid for process in started]
    assert {rank.host for rank in ranks} == {os.uname().nodename}
    assert [rank.last_step for rank in ranks] == [19] * 4
    assert [rank.points for rank in ranks] == [20, 40, 20, 20]
    assert [rank.ended_how for rank in ranks] == ["closed", "closed", "closed", "died"]
    slow = ranks[2]
    assert slow.step_secs is not None
    assert slow.step_secs >= 0.09
    assert slow.straggler is not None
    assert slow.straggler == max(rank.straggler or 0.0 for rank in ranks) > 1.2
    loss = view.across_ranks("loss", since=5)
    assert loss.step.tolist() == list(range(5, 20))
    assert loss.mean.tolist() == [15.0 + step for step in range(5, 20)]
    assert set(loss.min_rank.tolist()) == {0}
    assert set(loss.max_rank.tolist()) == {3}
    assert view.across_ranks("eval").count.tolist() == [1] * 20


def test_commands_print_the_ranks_where_there_are_several(tmp_path: Path, root: Path) -> None:
    started = start_ranks(tmp_path, root, 2)
    for process in started:
        processes.finish(process)
    reading.settled(root / "job")
    for command in ("status", "show"):
        done = processes.training_monitor(command, "job", "--root-dir", root)
        assert done.returncode == 0, done.stderr
        assert "RANK" in done.stdout
        assert "closed" in done.stdout
        asked = processes.training_monitor(command, "job", "--root-dir", root, "--json")
        ranks = json.loads(asked.stdout)["ranks"]
        assert [rank["last_step"] for rank in ranks] == [19, 19]
