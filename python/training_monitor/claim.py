"""Which directory a launch records into."""

from __future__ import annotations

import os

from training_monitor import _core
from training_monitor.errors import RunDirError, SpoolError, StoreError, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.job import Job

__all__ = ["Claim", "claim"]


class Claim:
    """A run directory that is ours.

    Attributes:
        run_dir: Its absolute path; it exists.
        name: Its name under the root directory.
        suffixed: Whether another live job has the name that was asked for.
    """

    __slots__ = ("name", "run_dir", "suffixed")

    def __init__(self, run_dir: str, name: str, suffixed: bool) -> None:
        self.run_dir = run_dir
        self.name = name
        self.suffixed = suffixed


def claim(root_dir: str, name: str, job: Job) -> Claim:
    """Return the run directory of this job: that of its other ranks, or one of its own.

    A launcher may use one key for two launches, say when a script runs two trainings in one step
    of SLURM. When the run under that key is over and has another name, this is another run: its
    key is then extended by the name, in every rank alike.

    Raises:
        RunDirError: The directory cannot be made or written.
    """
    try:
        root = os.path.abspath(root_dir)
        os.makedirs(root, mode=0o700, exist_ok=True)
        claimed = Claim(*_core.claim_run(root, name, job.key))
        if not _is_version_of(name, claimed.name) and _is_over(claimed.run_dir, job.key):
            job.key = f"{job.key}:{name}"
            claimed = Claim(*_core.claim_run(root, name, job.key))
    except (OSError, SpoolError, StoreError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RunDirError(
            f"cannot make the directory of run {name!r} under {shown(root_dir)}: {reason}; choose "
            "a writable place with root_dir= or TM_ROOT_DIR"
        ) from error
    return claimed


def _is_version_of(name: str, claimed: str) -> bool:
    """Return whether `claimed` is `name`, or `name` with a suffix, as in "name-2"."""
    if claimed == name:
        return True
    before, _, number = claimed.rpartition("-")
    return before == name and number.isdecimal()


def _is_over(run_dir: str, job_key: str) -> bool:
    """Return whether the job has recorded here and no longer does; starting up is not over."""
    lives = [row["life"] for row in _core.producers(run_dir) if row["job_key"] == job_key]
    if lives:
        return "alive" not in lives
    try:
        attempts = _core.RunReader(run_dir).attempts()
    except (OSError, StoreError):
        return False
    return any(row["job_key"] == job_key for row in attempts)
