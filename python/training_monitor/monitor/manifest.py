"""config.json: what was started, where, by which versions of everything."""

from __future__ import annotations

import json
import os
import subprocess
import time
from datetime import datetime

from training_monitor import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["write_last_manifest", "write_manifest"]

_GIT_SECS = 5.0


def write_manifest(run_dir: str, attempt: int, launch_json: str) -> bool:
    """Write config.json for one attempt, whole or not at all.

    Args:
        run_dir: The run directory.
        attempt: Which attempt of the run was launched.
        launch_json: What the trainer told about itself in init().

    Returns:
        Whether the file was written: rank 0 speaks for its attempt, and the last launch wins.
    """
    launch = json.loads(launch_json)
    launch.pop("type", None)
    if _is_older(attempt, launch, _read(os.path.join(run_dir, "config.json"))):
        return False
    started = launch.pop("started", None)
    manifest = {
        "experiment_name": launch.pop("experiment_name", os.path.basename(run_dir)),
        "attempt": attempt,
        "config": launch.pop("config", None),
        "training_command": launch.pop("training_command", None),
        "started": _spelled(time.time() if started is None else started),
        "host": launch.pop("host", None),
        "platform": launch.pop("platform", None),
        "versions": {
            "training_monitor": _core.__version__,
            "python": launch.pop("python", None),
            "sqlite": _core.sqlite_version,
        },
        "git": _git_state(launch.get("cwd")),
        **launch,
    }
    _replace(run_dir, json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False))
    return True


def write_last_manifest(run_dir: str) -> int | None:
    """Write config.json for the last attempt in the database, unless it tells of it already.

    Returns:
        The attempt, or None when nothing was written.
    """
    attempts = [row for row in _core.RunReader(run_dir).attempts() if row["config"]]
    if not attempts:
        return None
    last = max(attempts, key=lambda row: int(row["id"]))
    launch, known = json.loads(last["config"]), _read(os.path.join(run_dir, "config.json"))
    same = ("job_key", "pid", "rank")
    if known.get("attempt") == last["id"] and all(known.get(k) == launch.get(k) for k in same):
        return None
    return last["id"] if write_manifest(run_dir, last["id"], last["config"]) else None


def _is_older(attempt: int, launch: dict[str, Any], known: dict[str, Any]) -> bool:
    """Return whether a launch comes before the one that is known.

    A database that was damaged and set aside is followed by one whose attempts count from 1.
    """
    known_attempt = known.get("attempt", -1)
    if attempt > known_attempt:
        return False
    if attempt == known_attempt and launch.get("job_key") == known.get("job_key"):
        return bool(launch.get("rank", 0) > known.get("rank", 0))
    started, known_started = launch.get("started"), _seconds(known.get("started"))
    if started is None or known_started is None:
        return bool(attempt < known_attempt)
    # What is spelled has milliseconds.
    return bool(started < known_started - 0.001)


def _spelled(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="milliseconds")


def _seconds(spelled: object) -> float | None:
    try:
        return datetime.fromisoformat(str(spelled)).timestamp()
    except ValueError:
        return None


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            known = json.load(file)
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _replace(run_dir: str, text: str) -> None:
    """Write beside the file and rename: a reader sees the old or the new one."""
    beside = os.path.join(run_dir, f".config.json.{os.getpid()}")
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(file, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(beside, os.path.join(run_dir, "config.json"))
    except OSError:
        os.unlink(beside)
        raise


def _git_state(cwd: str | None) -> dict[str, object] | None:
    """Return commit, branch and whether files differ; None outside a repository."""
    commit = _git(cwd, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git(cwd, "status", "--porcelain", "--untracked-files=no")
    return {
        "commit": commit,
        "branch": _git(cwd, "symbolic-ref", "--short", "-q", "HEAD"),
        "dirty": None if changes is None else bool(changes),
    }


def _git(cwd: str | None, *words: str) -> str | None:
    """Return what a git command prints; None when it fails, or takes too long."""
    if cwd is None:
        return None
    # No lock that the user's own git would meet, and no program that a repository names.
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", *words]
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_GIT_SECS,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip()
