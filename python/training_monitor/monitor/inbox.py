"""What other processes have to say for the database: the monitor takes it up, or they write it.

A line lies in a file until it is durable, so that neither a kill here nor there loses it; a line
that comes twice is known by its id.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from math import inf

from training_monitor import _core
from training_monitor.errors import StoreError
from training_monitor.monitor.lock import RunLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Inbox", "hand_in"]

_DIRECTORY = ".inbox"
_ENDING = ".jsonl"
_MOST_BYTES = 4 * 2**20
# The writer commits lines after five seconds at the latest; a slow disk takes longer.
_DURABLE_SECS = 30.0
_FINISH_SECS = 20.0
# A monitor that is about to leave may have looked for the last time.
_LEAVING_SECS = 0.5


def hand_in(run_dir: str, lines: bytes) -> None:
    """Bring lines into the database: through the monitor, or here where none is at work.

    Args:
        run_dir: The run directory.
        lines: Lines as `Ingest.add_system` takes them.

    Raises:
        OSError: They cannot be kept.
        StoreError: Nobody is at work on the run, and its database cannot be written.
        ValueError: A line is no note.
    """
    path = _keep(run_dir, lines)
    deadline = time.monotonic() + _LEAVING_SECS
    while (lock := RunLock.take(run_dir)) is None:
        if time.monotonic() > deadline:
            return  # its monitor finds them
        time.sleep(_LEAVING_SECS / 5)
    try:
        ingest = _core.Ingest(run_dir)
        troubles: list[str] = []
        inbox = Inbox(run_dir, troubles.append)
        inbox.take(ingest)
        error = ingest.finish(_FINISH_SECS)["last_error"]
        if error is not None:
            raise StoreError(f"cannot write into {run_dir!r}: {error}; it stays in {path!r}")
        inbox.close()
    finally:
        lock.release()
    if os.path.exists(path):
        os.unlink(path)
        raise ValueError(f"there is what is no note in {lines[:200]!r}")


class Inbox:
    """What lies there for one monitor.

    Args:
        run_dir: The run directory.
        tell: Is told what is wrong with a file.
    """

    def __init__(self, run_dir: str, tell: Callable[[str], object]) -> None:
        self._directory = os.path.join(run_dir, _DIRECTORY)
        self._tell = tell
        self._taken: dict[str, float] = {}

    def take(self, ingest: _core.Ingest) -> None:
        """Hand what is new to the database, and remove what is durable there."""
        now = time.monotonic()
        for name in self._names():
            since = self._taken.get(name)
            if since is None:
                # What cannot be read stays where it is, for somebody to look at.
                self._taken[name] = now if self._hand_on(name, ingest) else inf
            elif now - since > _DURABLE_SECS:
                self._remove(name)

    @property
    def has_more(self) -> bool:
        """Whether something lies there that was not taken."""
        return any(name not in self._taken for name in self._names())

    def close(self) -> None:
        """Remove what was taken: the writer has finished, and all of it is durable."""
        for name in [name for name, since in self._taken.items() if since < inf]:
            self._remove(name)

    def _names(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self._directory) if name.endswith(_ENDING))
        except OSError:
            return []

    def _hand_on(self, name: str, ingest: _core.Ingest) -> bool:
        try:
            with open(os.path.join(self._directory, name), "rb") as file:
                lines = file.read(_MOST_BYTES)
        except OSError as error:
            self._tell(f"cannot read {name!r} in {self._directory!r}: {error}")
            return False
        if ingest.add_system(lines):
            return True
        self._tell(f"{name!r} in {self._directory!r} holds what is no note")
        return False

    def _remove(self, name: str) -> None:
        del self._taken[name]
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._directory, name))


def _keep(run_dir: str, lines: bytes) -> str:
    directory = os.path.join(run_dir, _DIRECTORY)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=directory, prefix=f"{time.time_ns()}-")
    with os.fdopen(handle, "wb") as file:
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())
    path = draft + _ENDING
    os.rename(draft, path)
    return path
