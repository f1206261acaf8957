"""One monitor per run: a lock that the kernel gives back when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time

__all__ = ["RunLock", "holder"]

_NAME = ".monitor.lock"
# `holder` looks at a lock by taking it for a moment: a second look tells a monitor from that.
_PAUSES_SECS = (0.01, 0.05, 0.1)


class RunLock:
    """The lock of a run directory, held."""

    __slots__ = ("_file",)

    def __init__(self, file: int) -> None:
        self._file = file

    @classmethod
    def take(cls, run_dir: str) -> RunLock | None:
        """Return the lock; None when another process holds it."""
        file = os.open(os.path.join(run_dir, _NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for pause_secs in (*_PAUSES_SECS, 0.0):
            if _lock(file, fcntl.LOCK_EX):
                os.ftruncate(file, 0)
                os.pwrite(file, b"%d\n" % os.getpid(), 0)
                return cls(file)
            time.sleep(pause_secs)
        os.close(file)
        return None

    def is_in_place(self, run_dir: str) -> bool:
        """Return whether the run directory still holds this lock: it may have been replaced."""
        try:
            there = os.stat(os.path.join(run_dir, _NAME))
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._file))

    def moved_to(self, run_dir: str) -> str | None:
        """Return where the run directory is now, when it was renamed; None when it was not."""
        try:
            path = os.readlink(f"/proc/self/fd/{self._file}")
        except OSError:
            return None
        there = os.path.dirname(path)
        if self.is_in_place(run_dir) or not self.is_in_place(there):
            return None
        return there

    def take_again(self, run_dir: str) -> bool:
        """Take the lock of the directory that now has the name; return whether that worked."""
        try:
            other = RunLock.take(run_dir)
        except OSError:
            return False
        if other is None:
            return False
        os.close(self._file)
        self._file = other._file
        return True

    def release(self) -> None:
        """Give the lock back; the file stays, or two processes could hold two of that name."""
        os.close(self._file)


def holder(run_dir: str) -> int | None:
    """Return the process that holds the lock of a run; None when nobody does."""
    try:
        file = os.open(os.path.join(run_dir, _NAME), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if _lock(file, fcntl.LOCK_SH):
            return None
        text = os.pread(file, 32, 0).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(file)


def _lock(file: int, kind: int) -> bool:
    """Try to lock without waiting; return whether that worked."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
