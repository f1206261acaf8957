"""A small file in which a run remembers what its next process must know."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["STATE", "StateFile", "locked"]

STATE = ".llm.state"
LOCK = ".llm.lock"
_PATIENCE_SECS = 2.0
_LIMIT_BYTES = 2**20


@contextlib.contextmanager
def locked(path: str, *, patience_secs: float = _PATIENCE_SECS) -> Iterator[None]:
    """Hold the lock at `path`; go on without where there are no locks, or somebody keeps it."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        yield
        return
    try:
        _wait_for(file, patience_secs)
        yield
    finally:
        os.close(file)


def _wait_for(file: int, patience_secs: float) -> None:
    deadline = time.monotonic() + patience_secs
    while not _takes(file) and time.monotonic() < deadline:
        time.sleep(0.005)


def _takes(file: int) -> bool:
    """Take the lock; False while another has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # this file system has no locks
    return True


class StateFile:
    """A JSON object in a file, changed by several processes of a run, whole at any time.

    While it cannot be written all goes on in memory.

    Args:
        run_dir: The run; None: only in memory.
    """

    def __init__(self, run_dir: str | None) -> None:
        self._path = None if run_dir is None else os.path.join(run_dir, STATE)
        self._lock = None if run_dir is None else os.path.join(run_dir, LOCK)
        self._inside = threading.Lock()
        self._memory: dict[str, Any] = {}

    def part(self, name: str) -> dict[str, Any]:
        """Return one part of what is remembered; empty where there is none."""
        with self._inside:
            found = self._read().get(name)
        return dict(found) if isinstance(found, dict) else {}

    def change(self, name: str, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Replace one part by what `edit` makes of it, while nobody else changes the file."""
        with self._inside, self._held():
            whole = self._read()
            part = whole.get(name)
            whole[name] = edit(dict(part) if isinstance(part, dict) else {})
            self._memory = whole
            self._write(whole)

    def _held(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._lock is None else locked(self._lock)

    def _read(self) -> dict[str, Any]:
        if self._path is None:
            return dict(self._memory)
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            with open(file, "rb") as opened:
                told = json.loads(opened.read(_LIMIT_BYTES))
        except (OSError, ValueError, RecursionError):
            return dict(self._memory)
        return told if isinstance(told, dict) else dict(self._memory)

    def _write(self, whole: dict[str, Any]) -> None:
        if self._path is None:
            return
        draft = f"{self._path}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.suppress(OSError):
            with open(os.open(draft, flags, 0o600), "w", encoding="utf-8") as file:
                json.dump(whole, file)
            os.replace(draft, self._path)
