"""`training-monitor export`: write all points of a run into a file."""

from __future__ import annotations

import os
import sys

from training_monitor.bounds import STEP
from training_monitor.catalog import find_run
from training_monitor.cli import render
from training_monitor.cli.options import add_root_dir, add_run, number_of
from training_monitor.cli.progress import Bar
from training_monitor.export import FORMATS, ExportOptions, export_run
from training_monitor.query import RunView

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = """\
Write all points of a run into one file, while it is recorded or afterwards:
key, step, time, value, rank, attempt. JSON lines hold every value exactly;
CSV is safe to open in a spreadsheet; Parquet needs pyarrow.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, the file, the format, and which points."""
    add_run(parser, optional=False)
    parser.add_argument(
        "dest", metavar="DEST", nargs="?", help="file, or - for stdout (default: RUN.FORMAT here)"
    )
    parser.add_argument("--format", choices=FORMATS, help="default: by the ending of DEST, or csv")
    parser.add_argument(
        "--key", action="append", default=[], metavar="KEY",
        help="only this metric, or those of a pattern (loss/*); may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--since", type=number_of(STEP), metavar="STEP", help="only steps from here on"
    )
    parser.add_argument(
        "--raw", action="store_true", help="also what a later value or attempt has replaced"
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    add_root_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the file."""
    view = RunView(find_run(arguments.run, arguments.root_dir))
    render.tell_of_copy(view.copy)
    ending = os.path.splitext(arguments.dest or "")[1].removeprefix(".")
    form = arguments.format or (ending if ending in FORMATS else "csv")
    target = arguments.dest or f"{view.name}.{form}"
    options = ExportOptions(form, tuple(arguments.key), arguments.since, arguments.raw)
    with Bar("points") as bar:
        points = export_run(
            view.database, target, options, overwrite=arguments.force, progress=bar.show
        )
    if target == "-":
        sys.stdout.flush()
    else:
        size = f" ({render.in_bytes(os.stat(target).st_size)})" if os.path.isfile(target) else ""
        print(f"{render.whole(points)} points in {render.safe(target)}{size}")
    return 0
