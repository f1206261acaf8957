"""`training-monitor runs`: one line per run."""

from __future__ import annotations

import os

from training_monitor.catalog import list_runs
from training_monitor.cli import render
from training_monitor.cli.options import add_json, add_root_dir
from training_monitor.cli.snapshot import take_snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = "List the runs, the most recently used first."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the root directory and --json."""
    add_root_dir(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the list."""
    snapshots = [take_snapshot(path) for path in list_runs(arguments.root_dir)]
    if arguments.json:
        render.print_json([snapshot.as_dict() for snapshot in snapshots])
        return 0
    if not snapshots:
        print(f"no runs under {render.safe(os.path.abspath(arguments.root_dir))}")
        return 0
    render.print_table(
        ("RUN", "STATE", "ATTEMPT", "LAST STEP", "POINTS", "LAST POINT"),
        [
            (
                snapshot.name,
                snapshot.state,
                render.whole(snapshot.attempts),
                render.whole(snapshot.last_step),
                render.whole(snapshot.points),
                render.ago(snapshot.last_point_at),
            )
            for snapshot in snapshots
        ],
        left=2,
    )
    return 0
