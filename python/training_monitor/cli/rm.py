"""`training-monitor rm`: remove a run."""

from __future__ import annotations

import os

from training_monitor import _core
from training_monitor.catalog import find_run
from training_monitor.cli import render
from training_monitor.cli.options import add_root_dir, add_run, add_yes, is_agreed
from training_monitor.cli.outline import take_outline
from training_monitor.errors import RunNotFoundError
from training_monitor.monitor.retention import disk_bytes, foreign_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = """\
Remove a run for good: its files, its claims and its spools elsewhere. What
else is in its directory, as checkpoints, is named and stays; an empty
directory goes. Links are not followed. Refused while the run is recorded or
monitored, and, without --force, when the spool of one of its processes is on
another machine: nobody can tell from here whether it was brought home.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, the root directory, --force and --yes."""
    add_run(parser, optional=False)
    parser.add_argument(
        "--force", action="store_true", help="also when a spool cannot be read from here"
    )
    add_yes(parser)
    add_root_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, and remove it; return 1 when the answer was no."""
    path = find_run(arguments.run, arguments.root_dir)
    if path.endswith(".db"):
        raise RunNotFoundError(f"{path!r} is a database; name the directory of the run")
    outline = take_outline(path)
    root, name = os.path.split(path)
    left = f", {render.in_bytes(outline.backlog_bytes)} of them not brought home yet"
    print(
        f"{render.safe(path)}: {render.whole(outline.points)} points, "
        f"{render.in_bytes(disk_bytes(path))}{left if outline.backlog_bytes else ''}"
    )
    for trouble in outline.out_of_reach:
        print(render.safe(f"out of reach: {trouble}"))
    foreign = tuple(_core.belongings(path)[1])
    if foreign:
        print(render.safe(foreign_text(path, foreign)))
    if not is_agreed(arguments, f"remove run {render.safe(name)} for good?"):
        return 1
    stays = _core.remove_run(root, name, force=arguments.force)
    print("removed" if not stays else f"removed; {len(stays)} other files or directories stay")
    return 0
