"""Nodes of a job: processes with the variables of a launcher, on this host or in namespaces."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from harness.processes import PRELUDE, start_prepared

__all__ = ["KEY", "TRAIN", "Host", "Network", "can_make_networks", "rank_env"]

KEY = "the-secret-of-this-test"


# Logs until the file is there, then says how far it came.
TRAIN = """
run = tm.init("run", quiet=True, strict=True)
rank, step = int(os.environ["RANK"]), 0
while not os.path.exists(sys.argv[1]) or step < 100:
    tm.log({"loss": step * 0.5 + rank, f"own/{rank}": float(step)}, step=step)
    step += 1
    time.sleep(0.001)
tm.close()
print(step)
"""


def rank_env(
    rank: int,
    *,
    world: int,
    node: int,
    local_rank: int = 0,
    local_world: int = 1,
    restarts: int = 0,
) -> dict[str, str]:
    """Return what torchrun would set."""
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": str(local_rank),
        "LOCAL_WORLD_SIZE": str(local_world),
        "GROUP_RANK": str(node),
        "TORCHELASTIC_RUN_ID": "job",
        "TORCHELASTIC_RESTART_COUNT": str(restarts),
        "TM_RELAY_KEY": KEY,
    }


class Host:
    """A place where ranks run, with a root directory that no other host sees."""

    def __init__(self, directory: Path, name: str, command: tuple[str, ...] = ()) -> None:
        self.directory = directory / name
        self.directory.mkdir()
        self.root = self.directory / "runs"
        self.name = name
        self.command = command

    def run_dir(self, name: str = "run") -> Path:
        """Return the directory of a run on this host."""
        return self.root / name

    def start(self, body: str, *args: object, env: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start a training script here."""
        script = self.directory / f"train{env.get('RANK', '')}.py"
        script.write_text(PRELUDE + textwrap.dedent(body))
        argv = [*self.command, sys.executable, str(script), *map(str, args)]
        return start_prepared(argv, {**os.environ, "TM_ROOT_DIR": str(self.root), **env})

    def tool(self, *args: object, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start the command line tool here."""
        argv = [*self.command, sys.executable, "-m", "training_monitor", *map(str, args)]
        return start_prepared(argv, {**os.environ, "TM_ROOT_DIR": str(self.root), **(env or {})})


def can_make_networks() -> bool:
    """Return whether this machine lets us make network namespaces."""
    probe = f"tmprobe{os.getpid()}"
    try:
        made = subprocess.run(["ip", "netns", "add", probe], capture_output=True)
    except OSError:
        return False
    if made.returncode == 0:
        subprocess.run(["ip", "netns", "del", probe], capture_output=True)
    return made.returncode == 0


class Network:
    """Two hosts in network namespaces of their own.

    One cable between them can be cut; the other one is that of the training.
    """

    def __init__(self, directory: Path) -> None:
        self._id = f"tm{os.getpid()}"
        self.addresses = ("10.77.0.1", "10.77.0.2")
        self.training_address = "10.78.0.1"
        names = ("nodea", "nodeb")
        spaces = [f"{self._id}{name}" for name in names]
        for space in spaces:
            _ip("netns", "add", space)
        self._spaces = spaces
        self._end = self._cable("r", self.addresses)
        self._cable("t", (self.training_address, "10.78.0.2"))
        for space in spaces:
            _ip("-n", space, "link", "set", "lo", "up")
        self.hosts = [
            Host(directory, name, ("ip", "netns", "exec", space, *_as_host(name)))
            for name, space in zip(names, spaces, strict=True)
        ]

    def _cable(self, name: str, addresses: tuple[str, str]) -> tuple[str, str]:
        """Connect the two; return where the far end is."""
        ends = (f"{self._id}{name}a", f"{self._id}{name}b")
        _ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for space, end, address in zip(self._spaces, ends, addresses, strict=True):
            _ip("link", "set", end, "netns", space)
            _ip("-n", space, "addr", "add", f"{address}/24", "dev", end)
            _ip("-n", space, "link", "set", end, "up")
        return self._spaces[1], ends[1]

    def cut(self) -> None:
        """Pull the cable."""
        space, end = self._end
        _ip("-n", space, "link", "set", end, "down")

    def heal(self) -> None:
        """Plug it in again."""
        space, end = self._end
        _ip("-n", space, "link", "set", end, "up")

    def close(self) -> None:
        """Take the namespaces away; processes in them have to be gone."""
        for space in self._spaces:
            subprocess.run(["ip", "netns", "del", space], capture_output=True)


def _as_host(name: str) -> tuple[str, ...]:
    return ("unshare", "--uts", "sh", "-c", f'hostname {name}; exec "$@"', "sh")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
