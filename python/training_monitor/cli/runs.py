"""`training-monitor runs`: one line per run."""

from __future__ import annotations

import os

from training_monitor.catalog import list_runs
from training_monitor.cli import render
from training_monitor.cli.options import add_json, add_root_dir
from training_monitor.cli.outline import take_outline

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
    outlines = [take_outline(path) for path in list_runs(arguments.root_dir)]
    if arguments.json:
        render.print_json([outline.as_dict() for outline in outlines])
        return 0
    if not outlines:
        print(f"no runs under {render.safe(os.path.abspath(arguments.root_dir))}")
        return 0
    render.print_table(
        ("RUN", "STATE", "ATTEMPT", "LAST STEP", "POINTS", "LAST POINT"),
        [
            (
                outline.name,
                outline.state,
                render.whole(outline.attempts),
                render.whole(outline.last_step),
                render.whole(outline.points),
                render.ago(outline.last_point_at),
            )
            for outline in outlines
        ],
        left=2,
    )
    return 0
