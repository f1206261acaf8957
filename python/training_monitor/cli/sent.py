"""`training-monitor sent`: what of a run went to a model's server."""

from __future__ import annotations

import os
import sys

from training_monitor.catalog import find_run, newest_run
from training_monitor.cli import render
from training_monitor.cli.options import add_json, add_root_dir, add_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from training_monitor.analysis.model.sent import Sent

HELP = """\
List the requests that went to a model's server: when, what for, where to,
how much. With an id (its first characters will do) print that request, byte
for byte as it was sent.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, an id, the root directory and --json."""
    add_run(parser, optional=True)
    parser.add_argument("--id", metavar="ID", help="print this request, byte for byte")
    add_root_dir(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the list, or one request; the exit status is 1 where there is none of that id."""
    from training_monitor.analysis.model.sent import read_sent

    root = arguments.root_dir
    path = newest_run(root) if arguments.run is None else find_run(arguments.run, root)
    all_sent = read_sent(os.path.dirname(path) if path.endswith(".db") else path)
    if arguments.id is not None:
        return _print_one([one for one in all_sent if one.id.startswith(arguments.id)])
    if arguments.json:
        render.print_json({"sent": [_facts(one) for one in all_sent]})
        return 0
    if not all_sent:
        print("nothing was sent")
        return 0
    rows = [
        (one.id[:8], render.moment(one.time), one.purpose, one.to, render.in_bytes(_size(one)))
        for one in all_sent
    ]
    render.print_table(("ID", "TIME", "PURPOSE", "TO", "SIZE"), rows, left=4)
    return 0


def _print_one(found: list[Sent]) -> int:
    if len(found) != 1 or found[0].content is None:
        whys = ("there is none of that id", "it is damaged", "several ids begin so")
        print(f"training-monitor: {whys[min(len(found), 2)]}", file=sys.stderr)
        return 1
    sys.stdout.flush()
    sys.stdout.buffer.write(found[0].content)
    sys.stdout.buffer.write(b"\n")
    return 0


def _facts(one: Sent) -> dict[str, object]:
    return {"id": one.id, "time": one.time, "purpose": one.purpose, "to": one.to,
            "bytes": _size(one), "body": one.body}  # fmt: skip


def _size(one: Sent) -> int:
    return len(one.content or b"")
