"""One monitor per run: a lock that the kernel gives back when its holder dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time

from training_monitor.errors import RunDirError

__all__ = ["UNKNOWN_PID", "RunLock", "holder", "lock_path", "monitor_text"]

_NAME = ".monitor.lock"
# `holder` looks at a lock by taking it for a moment: a second look tells a monitor from that.
_PAUSES_SECS = (0.01, 0.05, 0.1)
# Somebody holds the lock and could not say who: the disk was full.
UNKNOWN_PID = 0
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class RunLock:
    """The lock of a run directory, held."""

    __slots__ = ("_file",)

    def __init__(self, file: int) -> None:
        self._file = file

    @classmethod
    def take(cls, run_dir: str, path: str | None = None) -> RunLock | None:
        """Return the lock; None when another process holds it.

        Args:
            run_dir: The run directory.
            path: The file in it to lock; None means that of the monitor.

        Raises:
            RunDirError: The file system has no locks; without one, two monitors could write.
            OSError: The file cannot be made or locked.
        """
        file = os.open(path or lock_path(run_dir), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for pause_secs in (*_PAUSES_SECS, 0.0):
                if _lock(file, fcntl.LOCK_EX):
                    break
                time.sleep(pause_secs)
            else:
                os.close(file)
                return None
        except OSError as error:
            os.close(file)
            if error.errno in _WITHOUT_LOCKS:
                raise RunDirError(
                    f"the file system of {run_dir!r} has no file locks ({error.strerror}), so "
                    "that two monitors could write the database: record where it has"
                ) from error
            raise
        except BaseException:
            os.close(file)
            raise
        # The lock counts; who holds it is for people, and a full disk has no room for that.
        with contextlib.suppress(OSError):
            os.ftruncate(file, 0)
            os.pwrite(file, b"%d\n" % os.getpid(), 0)
        return cls(file)

    def is_in_place(self, run_dir: str) -> bool:
        """Return whether the run directory still holds this lock: it may have been replaced."""
        try:
            there = os.stat(lock_path(run_dir))
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
        except OSError:  # RunDirError is one
            return False
        if other is None:
            return False
        os.close(self._file)
        self._file = other._file
        return True

    def pause(self) -> None:
        """Let others have the lock for a while, a `recover` on another machine say."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def resume(self) -> bool:
        """Take the lock back; return False when another process has it now."""
        return _lock(self._file, fcntl.LOCK_EX)

    def release(self) -> None:
        """Give the lock back; the file stays, or two processes could hold two of that name."""
        os.close(self._file)


def lock_path(run_dir: str) -> str:
    """Return the file whose lock the monitor of a run holds."""
    return os.path.join(run_dir, _NAME)


def holder(run_dir: str, path: str | None = None) -> int | None:
    """Return the process that holds the lock of a run, or UNKNOWN_PID; None when nobody does.

    Args:
        run_dir: The run directory.
        path: The file in it that is locked; None means that of the monitor.
    """
    try:
        file = os.open(path or lock_path(run_dir), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if _lock(file, fcntl.LOCK_SH):
            return None
        text = os.pread(file, 32, 0).strip()
        return int(text) if text.isdigit() else UNKNOWN_PID
    except OSError:
        # Where there are no locks nobody can hold one.
        return None
    finally:
        os.close(file)


def monitor_text(pid: int) -> str:
    """Return what a monitor is called in a message."""
    return "a monitor whose pid is not known" if pid == UNKNOWN_PID else f"monitor {pid}"


def _lock(file: int, kind: int) -> bool:
    """Try to lock without waiting; return whether that worked."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
