"""Directories with code, and repositories, as tests need them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from training_monitor.snapshot.choosing import Request
from training_monitor.snapshot.limits import Limits
from training_monitor.snapshot.snapshot import Snapshot, open_snapshot
from training_monitor.snapshot.taking import Taken, take


def plant(root: Path, files: dict[str, str | bytes]) -> Path:
    """Write files below a directory; return it."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def git(root: Path, *words: str) -> str:
    """Run git in a directory as nobody in particular."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *who, *words], cwd=root, env=env, check=True, capture_output=True, timeout=60
    )
    return done.stdout.decode()


def repository(root: Path, files: dict[str, str | bytes]) -> Path:
    """Write files below a directory and commit them; return it."""
    plant(root, files)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    return root


def taken(
    run_dir: Path,
    root: Path,
    *,
    script: str | None = "train.py",
    attempt: int = 1,
    limits: Limits | None = None,
    cwd: Path | None = None,
    manifest: str = "snapshot_files.txt",
    paths: tuple[str, ...] | None = None,
) -> tuple[Taken, Snapshot]:
    """Take the code of a script in a directory; return what was said, and what can be read."""
    run_dir.mkdir(exist_ok=True)
    request = Request(
        cwd=str(cwd or root),
        script=None if script is None else str(root / script),
        manifest=manifest,
        manifest_is_given=manifest != "snapshot_files.txt",
        paths=paths,
        spared=(str(run_dir.parent),) if run_dir.parent != root.parent else (),
    )
    said = take(str(run_dir), request, attempt=attempt, job_key="job", limits=limits)
    kept = open_snapshot(str(run_dir))
    assert kept is not None
    return said, kept


def names(snapshot: Snapshot) -> list[str]:
    """Return the paths of a snapshot."""
    return [entry.path for entry in snapshot.entries]
