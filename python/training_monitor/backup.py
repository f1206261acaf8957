"""A copy of a run while it is recorded: its database on one state, and the files beside it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import time

from training_monitor import _core
from training_monitor.catalog import DATABASE_NAME
from training_monitor.errors import RunDirError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["backup_run"]

_PARTIAL = re.compile(r"\..+\.partial-\d+")
_YOUNG_SECS = 60.0
# The spool and the locks belong to living processes; the database is copied by SQLite.
_LEFT_OUT = frozenset(
    {
        *(f"{DATABASE_NAME}{end}" for end in ("", "-wal", "-shm")),
        *("training_monitor.live", ".training_monitor.live.new", ".training_monitor.db.new"),
        *(".spool", ".monitor.lock"),
    }
)


def backup_run(
    path: str, target: str, *, progress: Callable[[int, int], object] | None = None
) -> int:
    """Copy a run into the new directory `target`; return the bytes of its database.

    The copy holds what was durable when it began. It is made under another name and appears whole
    or not at all.

    Args:
        path: The run directory, or its database.
        target: A directory that does not exist, or is empty.
        progress: Called with the pages copied and the pages in all.

    Raises:
        RunDirError: The target is there, or cannot be made.
        StoreError: The database cannot be read or copied.
    """
    run_dir = os.path.dirname(path) if path.endswith(".db") else path
    target = os.path.abspath(target)
    _check(run_dir, target)
    parent, name = os.path.split(target)
    # No run's name starts with a dot: what a kill leaves of us is none.
    partial = os.path.join(parent, f".{name}.partial-{os.getpid()}")
    try:
        os.makedirs(parent, exist_ok=True)
        _sweep(parent)
        os.mkdir(partial, 0o700)
        lock = os.open(partial, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise RunDirError(f"cannot make {target!r}: {error.strerror}") from error
    _is_locked(lock)
    try:
        copy = os.path.join(partial, DATABASE_NAME)
        _core.backup_database(path, copy, progress)
        _copy_files(run_dir, partial)
        size = os.stat(copy).st_size
        _sync(partial)
        # Replaces an empty directory, and nothing else.
        os.rename(partial, target)
        _sync(os.path.dirname(target))
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        os.close(lock)
    return size


def _sweep(parent: str) -> None:
    """Delete what copies that were killed left in a directory; one at work holds its lock."""
    for entry in os.scandir(parent):
        if not _PARTIAL.fullmatch(entry.name) or not entry.is_dir(follow_symlinks=False):
            continue
        # Another one may be about to lock what it has just made.
        with contextlib.suppress(OSError):
            names = os.listdir(entry.path)
            is_old = time.time() - os.lstat(entry.path).st_mtime > _YOUNG_SECS
            file = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if is_old and (not names or DATABASE_NAME in names) and _is_locked(file):
                    shutil.rmtree(entry.path, ignore_errors=True)
            finally:
                os.close(file)


def _is_locked(directory: int) -> bool:
    """Lock a directory that is being made or deleted; return whether that worked."""
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _check(run_dir: str, target: str) -> None:
    if os.path.lexists(target) and not (os.path.isdir(target) and not os.listdir(target)):
        raise RunDirError(f"{target!r} exists; name a directory that does not, or is empty")
    if os.path.realpath(target).startswith(os.path.realpath(run_dir) + os.sep):
        raise RunDirError(f"{target!r} lies inside the run that is copied")


def _copy_files(source: str, target: str) -> None:
    """Copy files and directories; links, sockets and what goes meanwhile stay behind."""
    for entry in _entries(source):
        if entry.name in _LEFT_OUT or entry.name.startswith(f"{DATABASE_NAME}.damaged-"):
            continue
        place = os.path.join(target, entry.name)
        if entry.is_dir(follow_symlinks=False):
            os.mkdir(place, 0o700)
            _copy_files(entry.path, place)
        elif entry.is_file(follow_symlinks=False):
            # A file may go while we copy, a log be set aside for the next one.
            with contextlib.suppress(FileNotFoundError):
                _copy_file(entry.path, place)


def _entries(directory: str) -> list[os.DirEntry[str]]:
    """List a directory; one that a training deletes meanwhile, as an old checkpoint, is empty."""
    with contextlib.suppress(FileNotFoundError):
        return list(os.scandir(directory))
    return []


def _copy_file(source: str, target: str) -> None:
    with open(source, "rb", opener=_no_link) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return
        with open(target, "xb", opener=_private) as copy:
            shutil.copyfileobj(file, copy)
            copy.flush()
            os.fsync(copy.fileno())


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync(directory: str) -> None:
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
