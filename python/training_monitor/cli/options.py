"""The options that several commands share."""

from __future__ import annotations

import argparse
import sys

from training_monitor.catalog import root_of
from training_monitor.cli.flags import reader_of
from training_monitor.errors import SettingError
from training_monitor.settings import TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from training_monitor.bounds import Bound

    T = TypeVar("T")

__all__ = ["add_json", "add_root_dir", "add_run", "add_yes", "is_agreed", "number_of"]


def add_run(parser: argparse.ArgumentParser, *, optional: bool) -> None:
    """Add the run, by name or by path."""
    default = "; default: the one used last" if optional else ""
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="?" if optional else None,
        help=f"name below the root directory, or path{default}",
    )


def add_root_dir(parser: argparse.ArgumentParser) -> None:
    """Add the directory that holds the runs."""
    parser.add_argument(
        "--root-dir",
        metavar="DIR",
        type=reader_of(TABLE["root_dir"]),
        default=root_of(),
        help="directory that holds the runs (default: $TM_ROOT_DIR or ai_logger)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the switch to machine-readable output."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Add the switch that answers the question."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def number_of(bound: Bound[T]) -> Callable[[str], T]:
    """Return what reads a number on the command line, with the errors of argparse."""

    def read(text: str) -> T:
        try:
            return bound.read(text)
        except SettingError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def is_agreed(arguments: argparse.Namespace, question: str) -> bool:
    """Ask on the terminal, unless --yes was given; without a terminal the answer is no."""
    if arguments.yes:
        return True
    if not sys.stdin or not sys.stdin.isatty():
        print("nobody is here to ask; pass --yes", file=sys.stderr)
        return False
    print(f"{question} [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
