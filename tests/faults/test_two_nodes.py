"""A real training on two nodes of four ranks each: cut off, killed, started again, and counted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import training_monitor as tm
from harness import processes, reading
from harness.nodes import Network, rank_env
from harness.processes import finish, until

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "digits_parallel.py"
RANKS, PER_NODE, STEPS = 8, 4, 600
KEYS = ("loss", "accuracy", "grad_norm/own", "grad_norm/averaged", "time/step_ms")


def launch(network: Network, directory: Path, restarts: int) -> list[subprocess.Popen[str]]:
    """Start all ranks, as torchrun would after so many restarts."""
    started = []
    for rank in range(RANKS):
        node = rank // PER_NODE
        env = rank_env(
            rank, world=RANKS, node=node, local_rank=rank % PER_NODE, local_world=PER_NODE,
            restarts=restarts,
        )  # fmt: skip
        env |= {"MASTER_ADDR": network.training_address, "MASTER_PORT": str(29600 + restarts)}
        env |= {"TM_MONITOR_ADDRESS": network.addresses[0], "OMP_NUM_THREADS": "1"}
        host = network.hosts[node]
        command = [*host.command, sys.executable, str(SCRIPT), f"--steps={STEPS}"]
        command += [
            f"--checkpoint={directory / 'weights.npz'}",
            f"--record={ledger(directory, rank, restarts)}",
        ]
        env = {**os.environ, "TM_ROOT_DIR": str(host.root), **env}
        started.append(processes.start_prepared(command, env))
    return started


def ledger(directory: Path, rank: int, restarts: int) -> Path:
    """Return where a rank writes what it logged."""
    return directory / f"rank{rank}.{restarts}.jsonl"


def logged(path: Path) -> dict[int, dict[str, float]]:
    """Return what a rank says it logged; the last line of one that was killed may be half."""
    lines = path.read_text().splitlines() if path.exists() else []
    whole = [json.loads(line) for line in lines if line.endswith("}]")]
    return dict(whole)


def compare(home: Path, directory: Path, rank: int, killed: int) -> int:
    """Compare a rank's points with its ledgers; return how many there are."""
    run = tm.open_run(home)
    count = 0
    for key in KEYS:
        series = run.series(key, rank=rank, raw=True)
        rows = zip(
            series.attempt.tolist(), series.step.tolist(), series.value.tolist(), strict=True
        )
        stored = [(attempt, step, value) for attempt, step, value in rows]
        assert len({row[:2] for row in stored}) == len(stored), f"rank {rank}: {key} came twice"
        for restarts in (0, 1):
            said = logged(ledger(directory, rank, restarts))
            found = {step: value for attempt, step, value in stored if attempt == restarts + 1}
            missing = [step for step in said if found.get(step) != said[step][key]]
            assert not missing, f"rank {rank}, attempt {restarts + 1}: {key} at {missing[:5]}"
            # Killed between log() and its own ledger, a rank has logged one call more than it says.
            more = 1 if (rank, restarts) == (killed, 0) else 0
            assert len(found) - len(said) <= more, f"rank {rank}: {key} has more than was logged"
        count += len(stored)
    return count


@pytest.mark.timeout(240)
def test_a_training_on_two_nodes_is_recorded_whole(network: Network, tmp_path: Path) -> None:
    killed = 6
    near, far = (host.run_dir("digits_parallel") for host in network.hosts)
    ranks = launch(network, tmp_path, restarts=0)
    until(lambda: len(logged(ledger(tmp_path, 7, 0))) > 50, "the training to go on")
    network.cut()
    seen = len(logged(ledger(tmp_path, 7, 0)))
    until(lambda: len(logged(ledger(tmp_path, 7, 0))) > seen + 100, "steps while cut off")
    network.heal()
    os.kill(trainer_of(ranks[killed]), signal.SIGKILL)
    ended = [rank.wait(processes.PATIENCE_SECS) for rank in ranks]
    assert all(ended), "no rank can go on without the others"
    ranks = launch(network, tmp_path, restarts=1)
    for rank in ranks:
        finish(rank, within_secs=120)
    reading.settled(near)
    until(lambda: not processes.mentioning(far), "the relay to leave")
    points = sum(compare(near, tmp_path, rank, killed) for rank in range(RANKS))
    assert points >= RANKS * len(KEYS) * STEPS
    run = tm.open_run(near)
    assert len(run.attempts) == 2
    assert run.sql("SELECT count(*) FROM gaps").rows == [(0,)]
    told = run.sql("SELECT detail FROM events WHERE kind = 'exit'").rows
    texts = [json.loads(str(detail))["text"] for (detail,) in told]
    assert any("rank 6" in text and "nodeb" in text and "SIGKILL" in text for text in texts), texts
    loss = run.across_ranks("loss")
    assert loss.step.tolist() == list(range(STEPS))
    assert loss.mean[-50:].mean() < loss.mean[:50].mean()


def trainer_of(process: subprocess.Popen[str]) -> int:
    """Return the training's own process: `ip netns exec` and `unshare` become it by exec."""
    return process.pid
