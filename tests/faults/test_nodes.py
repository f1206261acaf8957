"""Several nodes: what ranks log on another one arrives, whatever happens on the way."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

import training_monitor as tm
from faults.break_network import monitor_port, play
from harness import processes, reading
from harness.nodes import KEY, TRAIN, Host, Network, rank_env
from harness.processes import finish, until
from harness.proxy import FAULTS


def relay_pid(run_dir: Path) -> int:
    """Return the pid of the relay of a run directory, or 0."""
    for path in processes.files_below(run_dir, ".relay-*.lock"):
        text = Path(path).read_text().strip()
        if text and processes.is_alive(int(text)):
            return int(text)
    return 0


def compare(home: Path, steps: list[int]) -> None:
    """Check that each rank's points are there, once, with their values."""
    run = tm.open_run(home)
    for rank, count in enumerate(steps):
        own = reading.raw(home, f"own/{rank}")
        assert own == [(step, float(step)) for step in range(count)], rank
        series = run.series("loss", rank=rank)
        assert series.step.tolist() == list(range(count))
        assert series.value.tolist() == [step * 0.5 + rank for step in range(count)]
    assert run.sql("SELECT count(*) FROM gaps").rows == [(0,)]


@pytest.fixture
def hosts(tmp_path: Path) -> list[Host]:
    """Two hosts that share the loopback of this machine, and no directory."""
    return [Host(tmp_path, "one"), Host(tmp_path, "two")]


def test_a_node_that_is_cut_off_loses_nothing_and_catches_up(
    network: Network, tmp_path: Path
) -> None:
    stop = tmp_path / "stop"
    near, far = network.hosts
    master = {"MASTER_ADDR": network.addresses[0], "MASTER_PORT": "29500"}
    ranks = [
        host.start(TRAIN, stop, env=rank_env(rank, world=2, node=rank) | master)
        for rank, host in enumerate(network.hosts)
    ]
    reading.wait_for_points(near.run_dir(), "own/1", 50)
    network.cut()
    # The relay of the node that is cut off is killed as well, and so is the monitor.
    for find, directory in ((relay_pid, far.run_dir()), (processes.monitor_pid, near.run_dir())):
        pid = until(lambda: find(directory), "a process to kill")  # noqa: B023
        os.kill(pid, signal.SIGKILL)
        until(lambda: find(directory) not in (0, pid), "the next one")  # noqa: B023
    before = len(reading.raw(near.run_dir(), "own/1"))
    reading.wait_for_points(near.run_dir(), "own/0", before + 500)
    assert len(reading.raw(near.run_dir(), "own/1")) == before
    healed = time.monotonic()
    network.heal()
    reading.wait_for_points(near.run_dir(), "own/1", before + 500)
    took = time.monotonic() - healed
    stop.touch()
    steps = [int(finish(rank)) for rank in ranks]
    reading.settled(near.run_dir())
    assert took < 10, f"caught up only after {took:.1f} s"
    compare(near.run_dir(), steps)
    facts = tm.open_run(near.run_dir()).sql("SELECT rank, host FROM producers ORDER BY rank").rows
    assert facts == [(0, "nodea"), (1, "nodeb")]


def test_every_way_in_which_a_connection_breaks(tmp_path: Path) -> None:
    verdict = play(tmp_path, faults=len(FAULTS), relays=2, seed=1)
    assert verdict.faults == len(FAULTS)
    assert verdict.is_clean, verdict


def test_who_does_not_have_the_key_is_not_let_in(hosts: list[Host], tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    near, far = hosts
    first = near.start(TRAIN, stop, env=rank_env(0, world=2, node=0) | {"TM_ZMQ_PORT": "0"})
    port = monitor_port(near.run_dir())
    there = {"TM_MONITOR_ADDRESS": f"127.0.0.1:{port}", "TM_RELAY_KEY": "another-secret-entirely"}
    second = far.start(TRAIN, stop, env=rank_env(1, world=2, node=1) | there)
    until(lambda: relay_pid(far.run_dir()), "the relay to start")
    reading.wait_for_points(near.run_dir(), "own/0", 500)
    stop.touch()
    logged = [int(finish(rank)) for rank in (first, second)]
    until(lambda: not processes.monitor_pid(near.run_dir()), "the monitor to leave")
    assert [
        row[0] for row in tm.open_run(near.run_dir()).sql("SELECT rank FROM producers").rows
    ] == [0]
    # What it logged is still where it was logged; by hand, with the right key, it gets there.
    processes.kill_all_mentioning(far.directory)
    monitor = near.tool("--experiment", "run", "--zmq-port", "0", env={"TM_RELAY_KEY": KEY})
    port = monitor_port(near.run_dir())
    relay = far.tool("relay", "run", "--connect", f"127.0.0.1:{port}", env={"TM_RELAY_KEY": KEY})
    finish(relay)
    finish(monitor)
    compare(near.run_dir(), logged)
