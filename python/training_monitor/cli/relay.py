"""`training-monitor relay RUN`: hand what was logged on this node to the monitor, by hand."""

from __future__ import annotations

import os

from training_monitor.catalog import find_run
from training_monitor.cli.flags import reader_of
from training_monitor.cli.options import add_root_dir, add_run
from training_monitor.errors import SettingError
from training_monitor.monitor.endpoint import address_of, candidates
from training_monitor.monitor.keys import read_key
from training_monitor.monitor.relay import serve_relay
from training_monitor.settings import TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = """\
Hand what was, or is, logged on this node to the monitor of the run on another
one, and end when everything is there. Needs the secret of the run: a shared
run directory has it, else TM_RELAY_KEY, the same on every node.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, where its monitor is, and what it is called there."""
    add_run(parser, optional=False)
    parser.add_argument(
        "--connect",
        metavar="HOST[:PORT]",
        help="where the monitor listens (default: TM_MONITOR_ADDRESS, what a shared run directory "
        "says, or MASTER_ADDR)",
    )
    parser.add_argument(
        "--as",
        dest="name",
        metavar="NAME",
        type=reader_of(TABLE["experiment_name"]),
        help="what the run is called there (default: as here)",
    )
    add_root_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Relay until everything is with the monitor; return 1 when something had to stay."""
    run_dir = find_run(arguments.run, arguments.root_dir)
    if arguments.connect is not None:
        address_of(arguments.connect)
        os.environ["TM_MONITOR_ADDRESS"] = arguments.connect
    if not candidates(run_dir, os.environ):
        raise SettingError(
            "where the monitor listens is not known: pass --connect HOST[:PORT], or set "
            "TM_MONITOR_ADDRESS"
        )
    if read_key(run_dir) is None:
        raise SettingError(
            "the secret of the run is not known here: set TM_RELAY_KEY to what .relay.key in the "
            "run directory of the monitor holds"
        )
    return serve_relay(run_dir, arguments.name or os.path.basename(run_dir), foreground=True)
