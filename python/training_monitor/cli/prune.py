"""`training-monitor prune`: remove the oldest finished runs."""

from __future__ import annotations

import os
import sys

from training_monitor import _core
from training_monitor.cli import render
from training_monitor.cli.flags import add_setting
from training_monitor.cli.options import add_root_dir, add_yes, is_agreed
from training_monitor.errors import SettingError
from training_monitor.monitor.retention import Limits, doomed_runs, foreign_text, remove
from training_monitor.settings import TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

HELP = """\
Remove finished runs that are too many, too old or too large, the oldest
first. Runs that are recorded, or hold what is not brought home, stay.
Only files of training_monitor are weighed and removed: whatever else is in
the directory of a run, as checkpoints, stays there.
The settings of the same names do this at the start of each run.
"""

_LIMITS = tuple(Limits.__dataclass_fields__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the limits, the root directory, --dry-run and --yes."""
    for name in _LIMITS:
        add_setting(parser, TABLE[name])
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be removed")
    add_yes(parser)
    add_root_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Tell what has to go, ask, and remove it; return 1 when something could not be."""
    limits = Limits(**{name: _limit(arguments, name) for name in _LIMITS})
    if not limits:
        raise SettingError("nothing to do: give --keep-runs, --keep-days or --disk-budget")
    doomed = doomed_runs(arguments.root_dir, limits)
    if not doomed:
        print("no run has to go")
        return 0
    render.print_table(
        ("RUN", "SIZE", "UNUSED", "WHY"),
        [
            (
                item.name,
                render.in_bytes(item.bytes),
                render.in_seconds(item.unused_days * 86_400),
                item.reason,
            )
            for item in doomed
        ],
    )
    for item in doomed:
        if item.foreign:
            print(render.safe(foreign_text(item.dir, item.foreign)))
    if arguments.dry_run:
        return 0
    if not is_agreed(arguments, f"remove {len(doomed)} runs for good?"):
        return 1
    _core.sweep_removed(arguments.root_dir)
    troubles = [trouble for trouble in map(remove, doomed) if trouble]
    for trouble in troubles:
        print(f"training-monitor: {trouble}", file=sys.stderr)
    print(f"removed {len(doomed) - len(troubles)} of {len(doomed)} runs")
    return 1 if troubles else 0


def _limit(arguments: argparse.Namespace, name: str) -> Any:
    """Return the limit from the flag, the environment or the default."""
    row = TABLE[name]
    given = getattr(arguments, name)
    if given is not None:
        return given
    text = os.environ.get(row.variable)
    return row.read(text, row.variable) if text else row.default
