"""A copy of a run while it is recorded: its database on one state, and the files beside it."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat

from training_monitor import _core
from training_monitor.catalog import DATABASE_NAME
from training_monitor.errors import RunDirError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["backup_run"]

# The spool and the locks belong to living processes; the database is copied by SQLite.
_LEFT_OUT = frozenset(
    {DATABASE_NAME, f"{DATABASE_NAME}-wal", f"{DATABASE_NAME}-shm", ".spool", ".monitor.lock"}
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
    partial = f"{target}.partial-{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.mkdir(partial, 0o700)
    except OSError as error:
        raise RunDirError(f"cannot make {partial!r}: {error.strerror}") from error
    try:
        copy = os.path.join(partial, DATABASE_NAME)
        source = path if path.endswith(".db") else os.path.join(run_dir, DATABASE_NAME)
        _core.backup_database(source, copy, progress)
        _copy_files(run_dir, partial)
        size = os.stat(copy).st_size
        _sync(partial)
        # Replaces an empty directory, and nothing else.
        os.rename(partial, target)
        _sync(os.path.dirname(target))
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return size


def _check(run_dir: str, target: str) -> None:
    if os.path.lexists(target) and not (os.path.isdir(target) and not os.listdir(target)):
        raise RunDirError(f"{target!r} exists; name a directory that does not, or is empty")
    if os.path.realpath(target).startswith(os.path.realpath(run_dir) + os.sep):
        raise RunDirError(f"{target!r} lies inside the run that is copied")


def _copy_files(source: str, target: str) -> None:
    """Copy files and directories; links and sockets stay behind."""
    for entry in os.scandir(source):
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
