"""Which runs there are under a root directory, and which one a name or a path means."""

from __future__ import annotations

import os

from training_monitor import _core
from training_monitor.errors import RunNotFoundError, closest, shown
from training_monitor.settings import TABLE

__all__ = [
    "DATABASE_NAME",
    "find_run",
    "is_run_dir",
    "last_used",
    "list_runs",
    "newest_run",
    "root_of",
]

DATABASE_NAME = "training_monitor.db"


def root_of(given: str | os.PathLike[str] | None = None) -> str:
    """Return the root directory as init() reads it: as given, else of the environment, else usual.

    Raises:
        SettingError: It is no path.
    """
    row = TABLE["root_dir"]
    root: str = row.from_environment() if given is None else row.take(given)
    return root


def is_run_dir(path: str) -> bool:
    """Return whether a run was, or is, recorded in the directory `path`.

    What has the name of our database counts here whatever it holds, so that a damaged one can be
    told of. Only `_core.is_run`, which looks inside, says what may be removed.
    """
    return os.path.lexists(os.path.join(path, DATABASE_NAME)) or _core.is_run(path)


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


def find_run(run: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> str:
    """Return the absolute directory of `run`.

    Args:
        run: A run directory, a database file, or a name below the root directory.
        root: The root directory; None means that of the environment, or the default.

    Raises:
        RunNotFoundError: Nothing there was ever recorded; the message names the nearest run.
    """
    text = os.path.expanduser(os.fspath(run))
    root = root_of(root)
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
    """Return when the run was written last, by the newest of its files; else of its directory."""
    database = _core.find_database(run_dir)[0]
    # A log without content is what a reader makes.
    log_time = _written(f"{database}-wal", least_bytes=1)
    times = [log_time, _written(database), _written(os.path.join(run_dir, ".spool"))]
    return max(times) or _written(run_dir)


def _written(path: str, *, least_bytes: int = 0) -> float:
    try:
        facts = os.stat(path)
    except OSError:
        return 0.0
    return facts.st_mtime if facts.st_size >= least_bytes else 0.0
