"""`training-monitor query`: answer a SELECT over all points of a run."""

from __future__ import annotations

import csv
import sys

from training_monitor.bounds import COUNT, SECONDS
from training_monitor.catalog import find_run
from training_monitor.cli import render
from training_monitor.cli.options import add_json, add_root_dir, add_run, number_of
from training_monitor.export.csv import guarded
from training_monitor.query import RunView
from training_monitor.tables import DEFAULT_LIMIT, DEFAULT_TIMEOUT_SECS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from training_monitor.tables import Table

HELP = """\
Answer one SELECT over all points and all tables of a run.

  points      key, step, time, value, rank, attempt: what `r.series` shows
  raw_points  the same for everything stored, replaced values too

NaN and None are NULL; the columns kind and bits, which * leaves out, tell
them apart. Other tables: keys, latest, attempts, producers, gaps, alerts ...
"""

_CELL_CHARS = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, the statement, the limits, the root directory and the forms of output."""
    add_run(parser, optional=False)
    parser.add_argument("sql", metavar="SQL", help="one statement that reads")
    parser.add_argument(
        "--limit", type=number_of(COUNT), default=DEFAULT_LIMIT, metavar="ROWS",
        help=f"rows at most, 0 for all (default: {DEFAULT_LIMIT})",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", type=number_of(SECONDS), default=DEFAULT_TIMEOUT_SECS, metavar="SECS",
        help=f"stop after (default: {DEFAULT_TIMEOUT_SECS:g})",
    )  # fmt: skip
    add_root_dir(parser)
    form = parser.add_mutually_exclusive_group()
    add_json(form)  # type: ignore[arg-type]  # a group takes arguments as a parser does
    form.add_argument("--csv", action="store_true", help="print CSV")


def run(arguments: argparse.Namespace) -> int:
    """Print the answer."""
    view = RunView(find_run(arguments.run, arguments.root_dir))
    render.tell_of_copy(view.copy)
    table = view.sql(arguments.sql, limit=arguments.limit or None, timeout_secs=arguments.timeout)
    if arguments.json:
        rows = [[_readable(cell) for cell in row] for row in table]
        render.print_json({"columns": table.columns, "rows": rows, "truncated": table.truncated})
    elif arguments.csv:
        _print_csv(table)
    else:
        _print_table(table)
    if table.truncated and not arguments.json:
        print(f"only the first {len(table):,} rows; more with --limit", file=sys.stderr)
    return 0


def _print_table(table: Table) -> None:
    if not table.rows:
        print("no rows")
        return
    cells = [[_shown(cell) for cell in row] for row in table]
    widths = [max(map(len, column)) for column in zip(table.columns, *cells, strict=True)]
    # The widest columns give way until a line of the terminal holds them all.
    room = render.line_chars() - 2 * (len(widths) - 1)
    while sum(widths) > room and max(widths) > 6:
        widths[widths.index(max(widths))] -= 1
    text = {
        at for at, column in enumerate(zip(*table.rows, strict=True))
        if any(isinstance(cell, (str, bytes)) for cell in column)
    }  # fmt: skip
    render.print_columns(table.columns, cells, widths, left=text)


def _print_csv(table: Table) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([guarded(name) for name in table.columns])
    for row in table:
        plain = (_readable(cell) for cell in row)
        writer.writerow([guarded(cell) if isinstance(cell, str) else cell for cell in plain])


def _shown(cell: object) -> str:
    """Return a cell for a table: short, on one line."""
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.10g}"
    text = render.safe(_readable(cell))
    return text if len(text) <= _CELL_CHARS else f"{text[: _CELL_CHARS - 2]}.."


def _readable(cell: object) -> object:
    return f"x'{cell.hex()}'" if isinstance(cell, bytes) else cell
