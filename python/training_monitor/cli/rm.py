"""`training-monitor rm`: remove a run."""

from __future__ import annotations

import os

from training_monitor import _core
from training_monitor.catalog import find_run
from training_monitor.cli import render
from training_monitor.cli.options import add_root_dir, add_run, add_yes, is_agreed
from training_monitor.cli.snapshot import take_snapshot
from training_monitor.errors import RunNotFoundError
from training_monitor.monitor.retention import disk_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = """\
Remove a run for good: its directory, its claims and its spools elsewhere.
Refused while it is recorded or monitored. Links are removed, not followed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, the root directory and --yes."""
    add_run(parser, optional=False)
    add_yes(parser)
    add_root_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, and remove it; return 1 when the answer was no."""
    path = find_run(arguments.run, arguments.root_dir)
    if path.endswith(".db"):
        raise RunNotFoundError(f"{path!r} is a database; name the directory of the run")
    snapshot = take_snapshot(path)
    root, name = os.path.split(path)
    left = f", {render.in_bytes(snapshot.backlog_bytes)} of them not brought home yet"
    print(
        f"{render.safe(path)}: {render.whole(snapshot.points)} points, "
        f"{render.in_bytes(disk_bytes(path))}{left if snapshot.backlog_bytes else ''}"
    )
    if not is_agreed(arguments, f"remove run {render.safe(name)} for good?"):
        return 1
    _core.remove_run(root, name)
    print("removed")
    return 0
