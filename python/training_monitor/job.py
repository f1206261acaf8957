"""Which job this process belongs to, and which rank it is in it.

All ranks of one launch must arrive at the same job key without talking to each other, and two
launches must never share one. So a key is made of what the launcher gives to every rank, and of
what tells this launch from the one before.
"""

from __future__ import annotations

import os
import time

from training_monitor.errors import SettingError, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Job", "Process", "find_job"]

# (rank, world, local rank, local world): the launchers, the first one present wins.
_LAUNCHERS = (
    (("RANK",), ("WORLD_SIZE",), ("LOCAL_RANK",), ("LOCAL_WORLD_SIZE",)),
    (("SLURM_PROCID",), ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"), ("SLURM_LOCALID",), ()),
    (
        ("OMPI_COMM_WORLD_RANK",),
        ("OMPI_COMM_WORLD_SIZE",),
        ("OMPI_COMM_WORLD_LOCAL_RANK",),
        ("OMPI_COMM_WORLD_LOCAL_SIZE",),
    ),
    (("PMI_RANK",), ("PMI_SIZE",), ("MPI_LOCALRANKID",), ("MPI_LOCALNRANKS",)),
    # Last, because a local rank 0 exists on every node.
    (("LOCAL_RANK",), ("WORLD_SIZE",), ("LOCAL_RANK",), ("LOCAL_WORLD_SIZE",)),
    (("SLURM_LOCALID",), ("SLURM_STEP_NUM_TASKS",), ("SLURM_LOCALID",), ()),
)
_LOOPBACK = ("localhost", "127.", "::1", "[::1]")
_RESTARTS = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
# The spool numbers ranks and worlds in 32 bits; a world is one more than its highest rank.
_HIGHEST = 2**31 - 2
# The number of this node: torchrun, SLURM.
_NODES = ("GROUP_RANK", "SLURM_NODEID")
_LOCAL_RANKS = tuple(name for row in _LAUNCHERS for name in row[2])
_MPI_JOBS = ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid")


class Process:
    """The facts that tell this process from every other one on this host, ever."""

    __slots__ = ("boot_id", "parent_pid", "parent_start", "pid", "start")

    def __init__(
        self, pid: int, start: int, parent_pid: int, parent_start: int, boot_id: str
    ) -> None:
        self.pid = pid
        self.start = start
        self.parent_pid = parent_pid
        self.parent_start = parent_start
        self.boot_id = boot_id

    @classmethod
    def current(cls) -> Process:
        """Read them from /proc; where there is none, the clock has to do."""
        pid, parent = os.getpid(), os.getppid()
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                boot_id = file.read().strip()
        except OSError:
            boot_id = os.uname().nodename
        return cls(pid, _start_ticks(pid) or time.time_ns(), parent, _start_ticks(parent), boot_id)


class Job:
    """One launch: its key is the same in all of its ranks."""

    __slots__ = ("is_placed", "key", "local_rank", "local_world", "node", "rank", "world")

    def __init__(
        self,
        key: str,
        rank: int,
        local_rank: int,
        world: int,
        local_world: int,
        node: int | None = None,
        is_placed: bool = False,
    ) -> None:
        self.key = key
        self.rank = rank
        self.local_rank = local_rank
        self.world = world
        self.local_world = local_world
        self.node = node
        self.is_placed = is_placed

    @property
    def on_first_node(self) -> bool:
        """Whether rank 0, and with it the monitor, is on this node."""
        if self.on_one_node or self.rank == 0:
            return True
        if self.node is not None:
            return self.node == 0
        # Launchers number ranks node by node. Where nobody says where a rank is, it is here.
        return not self.is_placed or self.rank == self.local_rank

    @property
    def on_one_node(self) -> bool:
        """Whether every rank runs on this node."""
        return self.local_world >= self.world


def find_job(
    nth_init: int,
    environ: Mapping[str, str] | None = None,
    process: Process | None = None,
) -> Job:
    """Return the job and the rank of this process.

    Args:
        nth_init: How many times this process has called init(), this time included; a second
            run in the same processes is a job of its own.
        environ: The environment; None means that of this process.
        process: Its identity; None means that of this process.

    Raises:
        SettingError: A launcher's variable holds a number that is too large.
    """
    environ = os.environ if environ is None else environ
    process = Process.current() if process is None else process
    rank, local_rank, world, local_world = _ranks(environ)
    key = _launch_key(environ, process, world, local_world)
    if key is None:
        # Nobody else can know this key: a process of its own, and its own job with each init().
        key = f"process:{process.boot_id}:{process.pid}:{process.start}:{nth_init}"
    elif nth_init > 1:
        key = f"{key}:init{nth_init}"
    # A variable may hold bytes of no encoding; the key has to be text.
    key = key.encode("utf-8", "backslashreplace").decode("utf-8")
    node = _number(environ, _NODES)
    is_placed = local_world is not None or _number(environ, _LOCAL_RANKS) is not None
    world, local_world = max(world or 1, rank + 1), max(local_world or 1, 1)
    return Job(key, rank, local_rank, world, local_world, node, is_placed)


def _ranks(environ: Mapping[str, str]) -> tuple[int, int, int | None, int | None]:
    """Return rank, local rank, world and local world; None where the launcher is silent."""
    for rank_names, world_names, local_names, local_world_names in _LAUNCHERS:
        rank = _number(environ, rank_names)
        by_slurm = rank_names == ("SLURM_PROCID",)
        if rank is None or (by_slurm and not _started_by_srun(environ, rank)):
            continue
        world = _number(environ, world_names)
        local_world = _number(environ, local_world_names)
        if by_slurm:
            local_world = _slurm_local_world(environ)
        if local_world is None and _rendezvous(environ).startswith(_LOOPBACK):
            local_world = world
        return rank, _number(environ, local_names) or 0, world, local_world
    return 0, 0, None, None


def _launch_key(
    environ: Mapping[str, str], process: Process, world: int | None, local_world: int | None
) -> str | None:
    """Return the key that the launcher's variables give; None for a process on its own."""
    restarts = next((environ[name] for name in _RESTARTS if environ.get(name)), "0")
    if environ.get("TM_RUN_ID"):
        return f"id:{environ['TM_RUN_ID']}:{restarts}"
    elastic = environ.get("TORCHELASTIC_RUN_ID", "none")
    if elastic.lower() not in ("", "none"):
        return f"elastic:{elastic}:{restarts}"
    if world == 1:
        # In an interactive step, or with MASTER_ADDR in a shell profile, one training follows the
        # other under the same variables: only the process itself tells them apart.
        return None
    step = _slurm_step(environ)
    if step is not None:
        return f"slurm:{step}:{restarts}"
    parent = f"{process.boot_id}:{process.parent_pid}:{process.parent_start}"
    whole_world_here = world is not None and local_world == world
    if world is not None and _rendezvous(environ):
        key = f"master:{_rendezvous(environ)}:{world}:{restarts}"
        return f"{key}:{parent}" if whole_world_here else key
    if world is not None:
        mpi = next((environ[name] for name in _MPI_JOBS if environ.get(name)), "")
        if mpi or whole_world_here:
            return f"mpi:{mpi}:{world}:{restarts}" + (f":{parent}" if whole_world_here else "")
    return None


def _rendezvous(environ: Mapping[str, str]) -> str:
    """Return host and port where the ranks meet; empty when nobody names them."""
    address, port = environ.get("MASTER_ADDR", ""), environ.get("MASTER_PORT", "")
    return f"{address}:{port}" if address and port else ""


def _started_by_srun(environ: Mapping[str, str], rank: int) -> bool:
    """Return whether SLURM_PROCID is the rank of this process.

    In a batch script it is 0 for whatever the script starts, and below mpirun it is the rank of
    the daemon that started us.
    """
    in_step = rank > 0 or _slurm_step(environ) is not None
    return in_step and "OMPI_COMM_WORLD_RANK" not in environ


def _slurm_step(environ: Mapping[str, str]) -> str | None:
    """Return job.step when srun started this process; None in a batch script or a shell."""
    job = environ.get("SLURM_JOB_ID") or environ.get("SLURM_JOBID")
    step = environ.get("SLURM_STEP_ID") or environ.get("SLURM_STEPID")
    # The steps that SLURM makes for itself (batch, extern, interactive) count down from 2**32,
    # which is no whole number by our measure.
    if not job or not step or _whole(step) is None:
        return None
    return f"{job}.{step}"


def _slurm_local_world(environ: Mapping[str, str]) -> int | None:
    """Return the tasks of the step on this node, written as in ``4(x2),3``; None if unknown."""
    text = environ.get("SLURM_STEP_TASKS_PER_NODE") or environ.get("SLURM_TASKS_PER_NODE", "")
    node = _number(environ, ("SLURM_NODEID",)) or 0
    for part in text.split(","):
        tasks, _, repeat = part.partition("(x")
        count = _whole(repeat.rstrip(")")) or 1
        here = _whole(tasks)
        if here is None or node < count:
            return here
        node -= count
    return None


def _number(environ: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    """Return the first of the variables that holds a number; None when none does.

    Raises:
        SettingError: The number is larger than any launcher can mean.
    """
    for name in names:
        text = environ.get(name, "").strip()
        if not text.isdecimal():
            continue
        number = _whole(text)
        if number is None:
            raise SettingError(
                f"{name}={shown(text)} is not valid: expected a whole number from 0 to {_HIGHEST}"
            )
        return number
    return None


def _whole(text: str) -> int | None:
    """Return the number that the digits spell; None when they do not, or when it is too large."""
    # Longer ones Python may refuse to convert.
    if not text.isdecimal() or len(text) > 4000:
        return None
    number = int(text)
    return number if number <= _HIGHEST else None


def _start_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0 when that is unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name of the command may hold blanks and brackets: count from the last one.
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
