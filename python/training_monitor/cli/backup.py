"""`training-monitor backup`: copy a run while it is recorded."""

from __future__ import annotations

from training_monitor.backup import backup_run
from training_monitor.catalog import find_run
from training_monitor.cli import render
from training_monitor.cli.options import add_root_dir, add_run
from training_monitor.cli.progress import Bar
from training_monitor.query import RunView

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = """\
Copy a run into a new directory, while it is recorded or afterwards. The copy
holds what was in the database when it began; it appears whole or not at all.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, the directory and the root directory."""
    add_run(parser, optional=False)
    parser.add_argument("dest", metavar="DEST", help="directory that does not exist, or is empty")
    add_root_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Make the copy."""
    path = find_run(arguments.run, arguments.root_dir)
    render.tell_of_copy(RunView(path).copy)
    with Bar("pages") as bar:
        size = backup_run(path, arguments.dest, progress=bar.show)
    print(f"copied to {render.safe(arguments.dest)} ({render.in_bytes(size)} of database)")
    return 0
