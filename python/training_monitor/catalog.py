"""Which runs there are under a root directory, and which one a name or a path means."""

from __future__ import annotations

import contextlib
import os

from training_monitor.errors import RunNotFoundError, closest, shown

__all__ = [
    "DATABASE_NAME",
    "default_root",
    "find_run",
    "is_run_dir",
    "last_used",
    "list_runs",
    "newest_run",
]

DATABASE_NAME = "training_monitor.db"
_MARKS = (DATABASE_NAME, ".spool", "config.json", "training_monitor.log")


def default_root() -> str:
    """Return the root directory that the environment or the default names."""
    return os.environ.get("TM_ROOT_DIR") or "ai_logger"


def is_run_dir(path: str) -> bool:
    """Return whether a run was, or is, recorded in the directory `path`."""
    return any(os.path.exists(os.path.join(path, mark)) for mark in _MARKS)


def list_runs(root: str) -> list[str]:
    """Return the absolute directories of all runs under `root`, the most recently used first."""
    root = os.path.abspath(root)
    try:
        # What begins with a dot is no run: claims, and what a removal is about to delete.
        found = [entry for entry in os.scandir(root) if not entry.name.startswith(".")]
        entries = [entry.path for entry in found if entry.is_dir()]
    except OSError:
        return []
    return sorted(filter(is_run_dir, entries), key=last_used, reverse=True)


def newest_run(root: str) -> str:
    """Return the directory of the run under `root` that was used last.

    Raises:
        RunNotFoundError: There is no run under `root`.
    """
    runs = list_runs(root)
    if not runs:
        raise RunNotFoundError(f"no runs under {root!r}{_root_hint(root)}")
    return runs[0]


def find_run(run: str | os.PathLike[str], root: str | None = None) -> str:
    """Return the absolute directory of `run`.

    Args:
        run: A run directory, a database file, or a name below the root directory.
        root: The root directory; None means that of the environment, or the default.

    Raises:
        RunNotFoundError: Nothing there was ever recorded; the message names the nearest run.
    """
    text = os.path.expanduser(os.fspath(run))
    root = default_root() if root is None else root
    if text.strip():
        for path in (os.path.join(root, text), text):
            if path.endswith(".db") and os.path.isfile(path):
                return os.path.abspath(path)
            if os.path.isdir(path) and is_run_dir(path):
                return os.path.abspath(path)
    names = [os.path.basename(path) for path in list_runs(root)]
    near = closest(os.path.basename(text.rstrip("/")), names)
    hint = f"; did you mean {near!r}?" if near else _root_hint(root, names)
    raise RunNotFoundError(f"no run {text!r} under {root!r}{hint}")


def _root_hint(root: str, names: list[str] | None = None) -> str:
    """Say what is under the root instead, or that another root may be meant."""
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        return f"; there are: {', '.join(shown(name)[1:-1] for name in names[:5])}{more}"
    if os.path.isdir(root):
        return "; nothing was recorded there"
    return ": no such directory; name another with --root-dir, root_dir= or TM_ROOT_DIR"


def last_used(run_dir: str) -> float:
    """Return when the run was written last, by the newest of its files."""
    times = [0.0]
    for name in (DATABASE_NAME, f"{DATABASE_NAME}-wal", ".spool", "config.json"):
        with contextlib.suppress(OSError):
            times.append(os.stat(os.path.join(run_dir, name)).st_mtime)
    return max(times)
