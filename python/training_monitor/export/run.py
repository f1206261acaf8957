"""The export of a run: which points, into which file, with how much said about it."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module

from training_monitor import _core
from training_monitor.errors import RunNotFoundError, closest, shown
from training_monitor.export.points import Points

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, BinaryIO, Protocol

    class Writer(Protocol):
        """What each module of a format offers under this name."""

        def __init__(self, file: BinaryIO) -> None: ...

        def write(self, points: Points) -> None:
            """Append one chunk."""

        def close(self) -> None:
            """End the file."""


__all__ = ["FORMATS", "ExportOptions", "export_run"]

# The format, and the module that writes it.
FORMATS = ("csv", "jsonl", "parquet")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export.

    Attributes:
        format: One of FORMATS.
        keys: Names or patterns (``loss/*``) of metrics; empty means all.
        since: Only steps from here on; None means from the beginning.
        raw: Everything that was stored, also what a later value or attempt has replaced.
    """

    format: str
    keys: tuple[str, ...] = ()
    since: int | None = None
    raw: bool = False


def export_run(
    database: str,
    target: str,
    options: ExportOptions,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> int:
    """Write the points of a run into a file, live or finished; return how many there were.

    Memory is that of a chunk. The file appears under its name when it is whole; what is no regular
    file, as a FIFO or a device, is written to as it is. A link stands for the file that it names.

    Args:
        database: The database of the run.
        target: The file; "-" is stdout.
        options: What to write.
        overwrite: Replace a file that is there.
        progress: Called with the points read so far and those of the run.

    Raises:
        FileExistsError: The file is there.
        OSError: The file cannot be written.
        RunNotFoundError: No metric has a name that was asked for.
        MissingLibraryError: The format needs a library that is not installed.
    """
    make = import_module(f"training_monitor.export.{options.format}").Writer
    chosen = _chosen(database, options.keys)
    if target == "-":
        return _write(database, chosen, options, make(sys.stdout.buffer), progress)
    if _is_special(target):
        try:
            with open(target, "wb") as file:
                return _write(database, chosen, options, make(file), progress)
        except OSError as error:
            raise _about(target, error) from error
    if not overwrite and os.path.lexists(target):
        raise FileExistsError(17, "the file exists; pass --force to replace it", target)
    real = os.path.realpath(target)
    partial = f"{real}.partial-{os.getpid()}"
    try:
        with open(partial, "xb", opener=_private) as file:
            points = _write(database, chosen, options, make(file), progress)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, real)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        if isinstance(error, OSError) and error.filename in (None, partial):
            raise _about(target, error) from error
        raise
    return points


def _about(target: str, error: OSError) -> OSError:
    """Return the error with the name by which the user knows the file."""
    return OSError(error.errno, error.strerror, target) if error.errno else error


def _is_special(target: str) -> bool:
    """Return whether there is something that is neither a file nor a directory."""
    try:
        mode = os.stat(target).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _write(
    database: str,
    chosen: dict[str, int] | None,
    options: ExportOptions,
    writer: Writer,
    progress: Callable[[int, int], object],
) -> int:
    written = 0
    names = None if chosen is None else list(chosen)
    stream = _core.PointStream(database, keys=names, since=options.since, raw=options.raw)
    total = stream.total if chosen is None else sum(chosen.values())
    for name, columns, read in stream:
        points = _points(name, columns)
        writer.write(points)
        written += len(points.step)
        progress(read, total)
    writer.close()
    return written


def _points(key: str, columns: Any) -> Points:
    step, time, value, rank, attempt = columns
    return Points(
        key=key,
        step=memoryview(step).cast("q").tolist(),
        time=memoryview(time).cast("d").tolist(),
        value=memoryview(value).cast("d").tolist() if isinstance(value, bytes) else value,
        rank=memoryview(rank).cast("I").tolist(),
        attempt=memoryview(attempt).cast("I").tolist(),
    )


def _chosen(database: str, patterns: tuple[str, ...]) -> dict[str, int] | None:
    """Return the names that are meant, with their points; None for all."""
    if not patterns:
        return None
    counts = {str(row["name"]): int(row["count"]) for row in _core.RunReader(database).metrics()}
    chosen: dict[str, int] = {}
    for pattern in patterns:
        found = [pattern] if pattern in counts else [n for n in counts if fnmatchcase(n, pattern)]
        if not found:
            near = closest(pattern, list(counts))
            hint = f"; did you mean {near!r}?" if near else ""
            raise RunNotFoundError(f"no metric {shown(pattern)} in this run{hint}")
        chosen.update((name, counts[name]) for name in sorted(found))
    return chosen


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
