"""Break the connections between nodes in every way; every point has to arrive, once.

One monitor, and a node for each relay: its rank logs without a pause while the proxy in front of
the monitor breaks. After each fault the network heals, and what was logged until then has to be
durable within ten seconds.

    python tests/faults/break_network.py --faults 500 --relays 8 --seed 1
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import training_monitor as tm
from harness import processes
from harness.nodes import TRAIN, Host, rank_env
from harness.processes import finish, until
from harness.proxy import FAULTS, FaultProxy
from training_monitor import _core

CATCH_UP_SECS = 10.0


@dataclass
class Verdict:
    """What came of it."""

    faults: int = 0
    points: int = 0
    lost: int = 0
    twice: int = 0
    wrong: int = 0
    gaps: int = 0
    catch_up_secs: list[float] = field(default_factory=list)

    @property
    def slowest_secs(self) -> float:
        """The longest time from healing to everything durable."""
        return max(self.catch_up_secs, default=0.0)

    @property
    def is_clean(self) -> bool:
        """Whether every promise was kept."""
        spoilt = self.lost + self.twice + self.wrong + self.gaps
        return spoilt == 0 and self.slowest_secs <= CATCH_UP_SECS


def monitor_port(run_dir: Path) -> int:
    """Return where the monitor of a run listens."""
    path = run_dir / ".endpoint.json"
    until(path.exists, "the monitor to listen")
    return int(json.loads(path.read_text())["port"])


def durable_and_accepted(run_dir: Path) -> tuple[int, int]:
    """Return the points of a node that its monitor has, and those that were logged."""
    rows: list[dict[str, Any]] = _core.producers(str(run_dir))
    return sum(row["durable"] for row in rows), sum(row["accepted"] for row in rows)


def break_often(
    host: Host, proxy: FaultProxy, faults: int, rng: random.Random, verdict: Verdict
) -> None:
    """Break and heal the connection of one node so many times."""
    for number in range(faults):
        proxy.apply(FAULTS[number % len(FAULTS)], reset_after=rng.randrange(0, 20_000))
        # Not a wait for anything: a fault lasts as long as it likes.
        time.sleep(rng.uniform(0.05, 2.0))
        _, logged = durable_and_accepted(host.run_dir())
        healed = time.monotonic()
        proxy.heal()
        until(
            lambda: durable_and_accepted(host.run_dir())[0] >= logged,  # noqa: B023
            f"{host.name} to catch up after {FAULTS[number % len(FAULTS)]}",
        )
        verdict.catch_up_secs.append(time.monotonic() - healed)
        verdict.faults += 1


def judge(home: Path, steps: dict[int, int], verdict: Verdict) -> None:
    """Compare what is in the database with what the ranks say."""
    run = tm.open_run(home)
    for rank, count in steps.items():
        for key, value in (("loss", 0.5), (f"own/{rank}", 1.0)):
            series = run.series(key, rank=rank, raw=True)
            stored: dict[int, list[float]] = {}
            for step, found in zip(series.step.tolist(), series.value.tolist(), strict=True):
                stored.setdefault(step, []).append(found)
            verdict.points += count
            verdict.lost += sum(step not in stored for step in range(count))
            verdict.twice += sum(len(values) - 1 for values in stored.values())
            shift = rank if value == 0.5 else 0
            for step, values in stored.items():
                spoilt = [found for found in values if found != step * value + shift]
                verdict.wrong += step >= count or bool(spoilt)
    verdict.gaps = int(run.sql("SELECT count(*) FROM gaps").rows[0][0])


def play(directory: Path, *, faults: int, relays: int, seed: int) -> Verdict:
    """Break the network so often; return what came of it."""
    stop, verdict = directory / "stop", Verdict()
    hosts = [Host(directory, f"host{rank}") for rank in range(relays + 1)]
    quiet = {"TM_SYSTEM_INTERVAL_SECS": "none", "TM_GRACE_SECS": "0.5", "TM_ZMQ_PORT": "0"}
    world = relays + 1
    ranks = [hosts[0].start(TRAIN, stop, env=rank_env(0, world=world, node=0) | quiet)]
    port = monitor_port(hosts[0].run_dir())
    proxies = [FaultProxy(port) for _ in range(relays)]
    for rank, (host, proxy) in enumerate(zip(hosts[1:], proxies, strict=True), start=1):
        env = rank_env(rank, world=world, node=rank) | quiet
        env["TM_MONITOR_ADDRESS"] = f"127.0.0.1:{proxy.port}"
        ranks.append(host.start(TRAIN, stop, env=env))
    threads = []
    for number, (host, proxy) in enumerate(zip(hosts[1:], proxies, strict=True)):
        until(lambda: durable_and_accepted(host.run_dir())[0], "the first points")  # noqa: B023
        share = faults // relays + (number < faults % relays)
        rng = random.Random(seed * 1009 + number)
        work = (host, proxy, share, rng, verdict)
        threads.append(threading.Thread(target=break_often, args=work))
        threads[-1].start()
    for thread in threads:
        thread.join()
    stop.touch()
    steps = {rank: int(finish(process)) for rank, process in enumerate(ranks)}
    until(lambda: not processes.mentioning(directory), "monitor and relays to leave")
    judge(hosts[0].run_dir(), steps, verdict)
    return verdict


def main() -> int:
    """Run as a command; the exit status says whether every promise was kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--faults", type=int, default=500)
    parser.add_argument("--relays", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        try:
            wanted = {"faults": arguments.faults, "relays": arguments.relays}
            verdict = play(directory, **wanted, seed=arguments.seed)
        except (AssertionError, subprocess.SubprocessError):
            for log in processes.files_below(directory, "training_monitor*.log"):
                print(log, Path(log).read_text(), sep="\n", file=sys.stderr)
            raise
        finally:
            processes.end_started()
            processes.kill_all_mentioning(directory)
    waits = sorted(verdict.catch_up_secs)
    print(
        f"{verdict.faults} faults of the network on {arguments.relays} nodes, seed "
        f"{arguments.seed}: {verdict.points:,} points, lost {verdict.lost}, twice "
        f"{verdict.twice}, wrong {verdict.wrong}, gaps {verdict.gaps}; caught up within "
        f"{verdict.slowest_secs:.1f} s (median {waits[len(waits) // 2]:.1f} s); "
        f"{time.monotonic() - began:.0f} s"
    )
    return 0 if verdict.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
